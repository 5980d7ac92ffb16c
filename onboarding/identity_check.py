"""Checks that a profile can be a real, permitted person: accept, ask a person to look, or reject.

The port is `IdentityCheck`; `LocalIdentityCheck` decides by rules alone, without asking anyone
outside. It cannot know that a person exists: a firm puts a real service behind the same port before
going live.
"""

import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Protocol

from onboarding.ages import age_on, contract_age
from onboarding.identity import Profile
from onboarding.postal import is_po_box
from onboarding.tax_ids import was_never_issued

REVIEW_AGE_MIN = 100
"""A customer this old is possible, and worth a look for a mistyped year or a stolen identity."""


class Outcome(StrEnum):
    """What an identity check says."""

    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"


class IdentityReason(StrEnum):
    """Why; stable codes. `SENTENCES` has the words."""

    TAX_ID_NEVER_ISSUED = "tax_id_never_issued"
    TAX_ID_VOID = "tax_id_void"
    TAX_ID_PLACEHOLDER = "tax_id_placeholder"
    NAME_PLACEHOLDER = "name_placeholder"
    LISTED_PERSON = "listed_person"
    LISTED_NAME = "listed_name"
    UNDER_CONTRACT_AGE = "under_contract_age"
    AGE_UNUSUAL = "age_unusual"
    ADDRESS_PO_BOX = "address_po_box"
    ADDRESS_NOT_OWN = "address_not_own"
    FOREIGN_TAX_RESIDENCE = "foreign_tax_residence"
    VISA_HOLDER = "visa_holder"
    POLITICALLY_EXPOSED = "politically_exposed"
    MEMBER_AFFILIATION = "member_affiliation"


SENTENCES: dict[IdentityReason, str] = {
    IdentityReason.TAX_ID_NEVER_ISSUED: "No such tax identification number has been issued.",
    IdentityReason.TAX_ID_VOID: "This number is known from printed examples and belongs to nobody.",
    IdentityReason.TAX_ID_PLACEHOLDER: "This number looks like one typed to try the form.",
    IdentityReason.NAME_PLACEHOLDER: "This name looks like one typed to try the form.",
    IdentityReason.LISTED_PERSON: "We cannot open this account.",
    IdentityReason.LISTED_NAME: "We need to look at this application ourselves.",
    IdentityReason.UNDER_CONTRACT_AGE: "The person is too young to contract in this state.",
    IdentityReason.AGE_UNUSUAL: "Please confirm the birth date.",
    IdentityReason.ADDRESS_PO_BOX: "We need a street address, not a post office box.",
    IdentityReason.ADDRESS_NOT_OWN: "The address is that of a next of kin; we confirm it.",
    IdentityReason.FOREIGN_TAX_RESIDENCE: "Tax residence abroad needs further forms.",
    IdentityReason.VISA_HOLDER: "We need to see the visa.",
    IdentityReason.POLITICALLY_EXPOSED: "A public office asks for a closer look.",
    IdentityReason.MEMBER_AFFILIATION: "Your firm must consent to the account (FINRA Rule 3210).",
}

REJECTING = frozenset(
    {
        IdentityReason.TAX_ID_NEVER_ISSUED,
        IdentityReason.TAX_ID_VOID,
        IdentityReason.LISTED_PERSON,
        IdentityReason.UNDER_CONTRACT_AGE,
        IdentityReason.ADDRESS_PO_BOX,
    }
)
"""All other reasons ask a person to look."""


@dataclass(frozen=True, slots=True)
class IdentityResult:
    """The outcome and every reason for it; accepted if there is none."""

    outcome: Outcome
    reasons: tuple[IdentityReason, ...]
    list_version: str
    """Which lists were looked at; kept as evidence."""


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """One entry of a list of people whom we must not serve."""

    name: str
    birth_year: int | None
    reference: str


@dataclass(frozen=True, slots=True)
class ScreeningLists:
    """Names and numbers that a profile is compared with."""

    version: str
    placeholder_names: frozenset[frozenset[str]]
    void_tax_ids: frozenset[str]
    placeholder_tax_ids: frozenset[str]
    listed: tuple[tuple[frozenset[str], ListedPerson], ...]


class IdentityCheck(Protocol):
    """Anything that can say whether a profile is a real, permitted person."""

    def check(self, profile: Profile, on: date) -> IdentityResult:
        """The outcome for this profile on that day; the same question may be asked again."""
        ...


class LocalIdentityCheck:
    """Decides by rules and local lists, without asking anyone outside."""

    def __init__(self, lists: ScreeningLists | None = None) -> None:
        """Use these lists, or those that come with the product."""
        self._lists = lists or load_screening_lists()

    def check(self, profile: Profile, on: date) -> IdentityResult:
        """The outcome for this profile on that day; every reason is listed."""
        found = (
            *self._number(profile),
            *self._name(profile),
            *_person(profile, on),
            *_ties(profile),
        )
        return IdentityResult(_outcome(found), found, self._lists.version)

    def _number(self, profile: Profile) -> tuple[IdentityReason, ...]:
        """What is wrong with the tax id."""
        digits = profile.tax_id.digits
        if was_never_issued(profile.tax_id.kind, digits):
            return (IdentityReason.TAX_ID_NEVER_ISSUED,)
        if digits in self._lists.void_tax_ids:
            return (IdentityReason.TAX_ID_VOID,)
        if digits in self._lists.placeholder_tax_ids:
            return (IdentityReason.TAX_ID_PLACEHOLDER,)
        return ()

    def _name(self, profile: Profile) -> tuple[IdentityReason, ...]:
        """What the name and birth year match."""
        words = name_words(profile.name.full)
        found: list[IdentityReason] = []
        if words in self._lists.placeholder_names:
            found.append(IdentityReason.NAME_PLACEHOLDER)
        matches = [person for listed, person in self._lists.listed if _same_name(listed, words)]
        if any(person.birth_year == profile.birth_date.year for person in matches):
            found.append(IdentityReason.LISTED_PERSON)
        elif matches:
            found.append(IdentityReason.LISTED_NAME)
        return tuple(found)


def name_words(name: str) -> frozenset[str]:
    """The words of a name without case, accents, punctuation and order."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return frozenset("".join(c if c.isalnum() else " " for c in letters).split())


def screening_lists(
    version: str,
    *,
    placeholder_names: Sequence[str] = (),
    void_tax_ids: Sequence[str] = (),
    placeholder_tax_ids: Sequence[str] = (),
    listed: Sequence[ListedPerson] = (),
) -> ScreeningLists:
    """Lists made ready for comparison; a firm passes its own here."""
    return ScreeningLists(
        version=version,
        placeholder_names=frozenset(name_words(name) for name in placeholder_names),
        void_tax_ids=frozenset(void_tax_ids),
        placeholder_tax_ids=frozenset(placeholder_tax_ids),
        listed=tuple((name_words(person.name), person) for person in listed),
    )


@cache
def load_screening_lists() -> ScreeningLists:
    """The lists of `data/screening.toml`; read once."""
    blob = files("onboarding").joinpath("data/screening.toml").read_bytes()
    raw = tomllib.loads(blob.decode())
    return screening_lists(
        raw["version"],
        placeholder_names=raw["placeholder_names"],
        void_tax_ids=raw["void_tax_ids"],
        placeholder_tax_ids=raw["placeholder_tax_ids"],
        listed=[
            ListedPerson(entry["name"], entry.get("birth_year"), entry["reference"])
            for entry in raw["listed"]
        ],
    )


def _same_name(listed: frozenset[str], words: frozenset[str]) -> bool:
    """Whether all words of the shorter name are in the longer; one word alone is no match."""
    shorter, longer = sorted((listed, words), key=len)
    return len(shorter) > 1 and shorter <= longer


def _person(profile: Profile, on: date) -> tuple[IdentityReason, ...]:
    """What age and address say."""
    found: list[IdentityReason] = []
    age = age_on(profile.birth_date, on)
    if age < contract_age(profile.address.state, on).age:
        found.append(IdentityReason.UNDER_CONTRACT_AGE)
    if age >= REVIEW_AGE_MIN:
        found.append(IdentityReason.AGE_UNUSUAL)
    if is_po_box(profile.address.line1) and not profile.address.is_military:
        found.append(IdentityReason.ADDRESS_PO_BOX)
    if profile.address_kind == "next_of_kin":
        found.append(IdentityReason.ADDRESS_NOT_OWN)
    return tuple(found)


def _ties(profile: Profile) -> tuple[IdentityReason, ...]:
    """What residence, office and affiliation say."""
    ties = profile.affiliations
    found: list[IdentityReason] = []
    if profile.tax_residence != "US":
        found.append(IdentityReason.FOREIGN_TAX_RESIDENCE)
    if profile.residency == "visa":
        found.append(IdentityReason.VISA_HOLDER)
    if ties.politically_exposed or ties.family_exposed:
        found.append(IdentityReason.POLITICALLY_EXPOSED)
    if ties.broker_dealer or ties.exchange:
        found.append(IdentityReason.MEMBER_AFFILIATION)
    return tuple(found)


def _outcome(found: Sequence[IdentityReason]) -> Outcome:
    """Reject if any reason rejects, else review if there is any reason at all."""
    if any(reason in REJECTING for reason in found):
        return Outcome.REJECT
    return Outcome.REVIEW if found else Outcome.ACCEPT
