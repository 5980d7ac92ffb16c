"""What onboarding refuses, each refusal with a stable code; no HTTP and no personal data inside."""

from collections.abc import Mapping, Sequence


class OnboardingError(Exception):
    """Base of every refusal of this room; `code` is stable and machine-readable."""

    code = "onboarding"

    def __init__(
        self,
        detail: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        missing: Sequence[str] = (),
        reasons: Sequence[str] = (),
    ) -> None:
        """Keep a sentence for people, and which fields, steps or rules are at fault for programs.

        Args:
            detail: One plain sentence. Never contains personal data.
            fields: Field path -> what is wrong with it; includes the missing ones.
            missing: The field paths that are simply not there.
            reasons: Stable reason codes, when several rules say no at once.
        """
        super().__init__(detail)
        self.detail = detail
        self.fields = {path: tuple(messages) for path, messages in (fields or {}).items()}
        self.missing = tuple(missing)
        self.reasons = tuple(reasons)


class InvalidAnswersError(OnboardingError):
    """The questionnaire's answers are incomplete or malformed; `fields` lists everything."""

    code = "invalid_answers"


class InvalidProfileError(OnboardingError):
    """The profile is incomplete or malformed; `fields` lists everything."""

    code = "invalid_profile"


class UnknownRuleError(OnboardingError):
    """A confirmation names a rule that we do not have; `reasons` lists the unknown names."""

    code = "unknown_rule"


class MinorError(OnboardingError):
    """The person is too young to contract where they live; `reasons` names the custodial rule."""

    code = "minor"


class AgreementError(OnboardingError):
    """An acceptance is out of order, out of date, or for a text other than the one we showed."""

    code = "agreement_refused"


class ConsentError(OnboardingError):
    """A step of the e-delivery consent does not follow from the present one."""

    code = "consent_out_of_order"


class StepMissingError(OnboardingError):
    """A step of onboarding would be skipped; `reasons` lists, in order, what comes first."""

    code = "step_missing"
