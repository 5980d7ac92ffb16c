"""The way from sign-up to the first deposit: resumable at every step, and none can be skipped.

The state is not stored. It is read off facts (is there a profile? are all current agreements
accepted?), so a customer who comes back, or whose agreements have a new version, stands exactly
where the facts say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from onboarding.errors import StepMissingError


class Step(StrEnum):
    """One step, in the order in which they are offered."""

    SIGN_UP = "sign_up"
    FORM_CRS = "form_crs"
    PROFILE = "profile"
    ANSWERS = "answers"
    SUITABILITY = "suitability"
    AGREEMENTS = "agreements"
    ACCOUNT = "account"
    IDENTITY = "identity"
    BANK_LINK = "bank_link"
    DEPOSIT = "deposit"
    EMAIL = "email"
    WITHDRAWAL = "withdrawal"


REQUIRES: Mapping[Step, tuple[Step, ...]] = MappingProxyType(
    {
        Step.SIGN_UP: (),
        # The relationship summary is the first document a customer sees.
        Step.FORM_CRS: (Step.SIGN_UP,),
        Step.PROFILE: (Step.FORM_CRS,),
        Step.ANSWERS: (Step.PROFILE,),
        Step.SUITABILITY: (Step.ANSWERS,),
        Step.AGREEMENTS: (Step.PROFILE,),
        Step.ACCOUNT: (Step.SUITABILITY, Step.AGREEMENTS),
        Step.IDENTITY: (Step.ACCOUNT,),
        Step.BANK_LINK: (Step.ACCOUNT,),
        # All that an open account once proved and that can lapse: it must hold today.
        Step.DEPOSIT: (Step.SUITABILITY, Step.AGREEMENTS, Step.IDENTITY, Step.BANK_LINK),
        Step.EMAIL: (Step.SIGN_UP,),
        # Money leaves only to someone whose e-mail answers; it may leave whatever the answers say.
        Step.WITHDRAWAL: (Step.EMAIL, Step.IDENTITY, Step.BANK_LINK),
    }
)
"""Step -> what must be done just before it; what that needs in turn follows from the table."""

_OWN_FACTS_ONLY = frozenset({Step.DEPOSIT, Step.WITHDRAWAL})
"""Steps that look only at what they name: nobody's money is held back for a new agreement."""

REPEATABLE = frozenset({Step.DEPOSIT, Step.WITHDRAWAL})
"""Steps that are never over."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true about a customer now; a field for every step, all false at the start.

    `suitability` is true while the present answers proceed; `agreements` while every agreement
    required today is accepted in its present version; `identity` once the check has accepted.
    """

    sign_up: bool = False
    form_crs: bool = False
    profile: bool = False
    answers: bool = False
    suitability: bool = False
    agreements: bool = False
    account: bool = False
    identity: bool = False
    bank_link: bool = False
    deposit: bool = False
    email: bool = False
    withdrawal: bool = False

    def holds(self, step: Step) -> bool:
        """Whether the step is done."""
        return bool(getattr(self, step.value))


assert [field.name for field in fields(Facts)] == [step.value for step in Step]


def next_steps(facts: Facts) -> tuple[Step, ...]:
    """The steps the customer can do now, in order: not done, and nothing before them missing."""
    return tuple(
        step
        for step in Step
        if (step in REPEATABLE or not facts.holds(step)) and not missing_before(step, facts)
    )


def missing_before(step: Step, facts: Facts) -> tuple[Step, ...]:
    """Everything that must still be done before the step, in the order in which to do it."""
    wanted = REQUIRES[step] if step in _OWN_FACTS_ONLY else _ancestors(step)
    return tuple(earlier for earlier in Step if earlier in wanted and not facts.holds(earlier))


def require(step: Step, facts: Facts) -> None:
    """Return if the step may be taken now.

    Raises:
        StepMissingError: With the missing steps in order as `reasons`.
    """
    missing = missing_before(step, facts)
    if missing:
        names = ", ".join(name.value for name in missing)
        message = f"Before {step.value} comes: {names}."
        raise StepMissingError(message, reasons=[name.value for name in missing])


@cache
def _ancestors(step: Step) -> frozenset[Step]:
    """All steps that come before, directly or not."""
    direct = REQUIRES[step]
    return frozenset(direct).union(*(_ancestors(earlier) for earlier in direct))
