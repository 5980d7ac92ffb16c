"""Who the customer is: the fields that CIP and FINRA 4512 ask for, read strictly and kept quietly.

Sources: 31 CFR 1023.220 (name, birth date, address, identification number), FINRA Rule 4512
(occupation, employer, association with a member, trusted contact). Values here are personal data:
errors name fields and never repeat what was typed, and the representation of a profile shows
neither tax id nor birth date.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from onboarding import reading
from onboarding.ages import age_on
from onboarding.errors import InvalidProfileError
from onboarding.postal import Address, address_in, employer_address_in
from onboarding.reading import Faults, Section, refuse

ADDRESS_KINDS = ("residential", "business", "military", "next_of_kin")
RESIDENCIES = ("citizen", "permanent_resident", "visa", "non_resident")
EMPLOYMENT_STATUSES = ("employed", "self_employed", "not_employed", "student", "retired")
AT_WORK = frozenset({"employed", "self_employed"})
TAX_ID_KINDS = ("ssn", "itin", "ein")

AGE_MAX = 120
"""The oldest documented person reached 122; beyond 120 a birth date is a slip of the pen."""

_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[ .'\u2019-])*")
_PHONE = re.compile(r"\+?[0-9(][0-9 ().-]{8,22}[0-9]")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_NOBODY_BORN = date.min


@dataclass(frozen=True, slots=True)
class PersonName:
    """A legal name."""

    given: str
    family: str
    middle: str = ""
    suffix: str = ""

    @property
    def full(self) -> str:
        """The name in one line."""
        return " ".join(
            part for part in (self.given, self.middle, self.family, self.suffix) if part
        )


@dataclass(frozen=True, slots=True)
class TaxId:
    """A taxpayer identification number; its digits stay out of every representation."""

    kind: str
    digits: str = field(repr=False)

    @property
    def masked(self) -> str:
        """The number as it may be shown to its owner."""
        return f"***-**-{self.digits[-4:]}"


@dataclass(frozen=True, slots=True)
class Employment:
    """What the customer does for a living; employer and occupation where there is work."""

    status: str
    occupation: str = ""
    employer_name: str = ""
    employer_address: Address | None = None


@dataclass(frozen=True, slots=True)
class Affiliations:
    """Ties that put duties on us: to brokers, exchanges, listed companies and public office."""

    broker_dealer: bool = False
    broker_dealer_name: str = ""
    exchange: bool = False
    exchange_name: str = ""
    control_person: bool = False
    control_companies: tuple[str, ...] = ()
    """Listed companies the customer directs or owns 10 % of; symbol or name."""
    politically_exposed: bool = False
    family_exposed: bool = False


@dataclass(frozen=True, slots=True)
class TrustedContact:
    """Whom we may ask when we worry about the customer; cannot act for the customer."""

    name: str
    relationship: str
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """One person, with every field that the rules ask for."""

    name: PersonName
    birth_date: date = field(repr=False)
    address: Address
    address_kind: str
    tax_id: TaxId
    citizenship: str
    residency: str
    tax_residence: str
    phone: str
    employment: Employment
    affiliations: Affiliations
    trusted_contact: TrustedContact | None
    """None if the customer declined to name one."""
    mailing_address: Address | None = None

    def to_raw(self) -> dict[str, object]:
        """Plain JSON values that `parse_profile` reads back equal; for encrypted storage."""
        work, ties, contact = self.employment, self.affiliations, self.trusted_contact
        raw: dict[str, object] = {
            "name": _filled(
                given=self.name.given,
                middle=self.name.middle,
                family=self.name.family,
                suffix=self.name.suffix,
            ),
            "birth_date": self.birth_date.isoformat(),
            "address": self.address.to_raw(),
            "address_kind": self.address_kind,
            "tax_id": {"kind": self.tax_id.kind, "number": self.tax_id.digits},
            "citizenship": self.citizenship,
            "residency": self.residency,
            "tax_residence": self.tax_residence,
            "phone": self.phone,
            "employment": _filled(
                status=work.status,
                occupation=work.occupation,
                employer_name=work.employer_name,
                employer_address=work.employer_address.to_raw() if work.employer_address else None,
            ),
            "affiliations": _filled(
                broker_dealer=ties.broker_dealer,
                broker_dealer_name=ties.broker_dealer_name,
                exchange=ties.exchange,
                exchange_name=ties.exchange_name,
                control_person=ties.control_person,
                control_companies=list(ties.control_companies),
                politically_exposed=ties.politically_exposed,
                family_exposed=ties.family_exposed,
            ),
            "trusted_contact": {"declined": True}
            if contact is None
            else _filled(
                name=contact.name,
                relationship=contact.relationship,
                phone=contact.phone,
                email=contact.email,
                is_adult=True,
            ),
        }
        if self.mailing_address is not None:
            raw["mailing_address"] = self.mailing_address.to_raw()
        return raw


_FIELDS = (
    "name", "birth_date", "address", "address_kind", "mailing_address", "tax_id", "citizenship",
    "residency", "tax_residence", "phone", "employment", "affiliations", "trusted_contact",
)  # fmt: skip


def parse_profile(raw: Mapping[str, object], *, on: date) -> Profile:
    """The checked profile; nothing is guessed, dropped or coerced.

    Args:
        raw: As decoded from JSON; see `docs/examples/profile.json`. May be hostile.
        on: Today, against which the birth date is read.

    Raises:
        InvalidProfileError: With every missing, malformed and unknown field at once.
    """
    faults = Faults()
    form = Section(raw, "", faults, _FIELDS)
    kind = form.optional("address_kind", partial(reading.one_of, keys=ADDRESS_KINDS), "residential")
    name = _name(form)
    birth_date = form.required("birth_date", partial(_birth_date, on=on), _NOBODY_BORN)
    address = address_in(form, "address", required=True)
    assert address is not None
    if kind == "military" and not address.is_military and not faults.messages:
        form.fault("address_kind", "A military address has APO, FPO or DPO as its city.")
    profile = Profile(
        name=name,
        birth_date=birth_date,
        address=address,
        address_kind="military" if address.is_military else kind,
        mailing_address=address_in(form, "mailing_address", required=False, street=False),
        tax_id=_tax_id(form),
        citizenship=form.required("citizenship", reading.country_code, ""),
        residency=form.required("residency", partial(reading.one_of, keys=RESIDENCIES), ""),
        tax_residence=form.required("tax_residence", reading.country_code, ""),
        phone=form.required("phone", _phone, ""),
        employment=_employment(form),
        affiliations=_affiliations(form),
        trusted_contact=_trusted_contact(form),
    )
    _check_together(form, profile)
    faults.raise_if_any(InvalidProfileError, "Some fields are missing or not acceptable.")
    return profile


def _name(form: Section) -> PersonName:
    """The legal name."""
    inner = _inner(form, "name", ("given", "middle", "family", "suffix"))
    if inner is None:
        return PersonName("", "")
    return PersonName(
        given=inner.required("given", _name_part, ""),
        family=inner.required("family", _name_part, ""),
        middle=inner.optional("middle", _name_part, ""),
        suffix=inner.optional("suffix", _name_part, ""),
    )


def _tax_id(form: Section) -> TaxId:
    """The identification number; `tax_ids` judges later whether it can be real."""
    inner = _inner(form, "tax_id", ("kind", "number"))
    if inner is None:
        return TaxId("", "")
    kind = inner.required("kind", partial(reading.one_of, keys=TAX_ID_KINDS), "")
    if kind == "ein":
        inner.fault("kind", "A person gives an SSN or an ITIN; an EIN belongs to a business.")
    return TaxId(kind, inner.required("number", _nine_digits, ""))


def _employment(form: Section) -> Employment:
    """Work, with employer and occupation where there is any."""
    known = ("status", "occupation", "employer_name", "employer_address")
    inner = _inner(form, "employment", known)
    if inner is None:
        return Employment("")
    status = inner.required("status", partial(reading.one_of, keys=EMPLOYMENT_STATUSES), "")
    line = partial(reading.text, longest=100)
    if status not in AT_WORK:
        # A retired person may still name the last occupation; an employer would be a contradiction.
        for key in ("employer_name", "employer_address"):
            if inner.has(key):
                inner.fault(key, "Only for people who work.")
        return Employment(status, inner.optional("occupation", line, ""))
    return Employment(
        status,
        occupation=inner.required("occupation", line, ""),
        employer_name=inner.required("employer_name", line, ""),
        employer_address=employer_address_in(inner, "employer_address"),
    )


def _affiliations(form: Section) -> Affiliations:
    """The ties; every yes that needs a name must come with it."""
    flags = ("broker_dealer", "exchange", "control_person", "politically_exposed", "family_exposed")
    names = ("broker_dealer_name", "exchange_name", "control_companies")
    inner = _inner(form, "affiliations", (*flags, *names))
    if inner is None:
        return Affiliations()
    line = partial(reading.text, longest=100)
    ties = Affiliations(
        **{flag: inner.required(flag, reading.yes_or_no, instead=False) for flag in flags},
        broker_dealer_name=inner.optional("broker_dealer_name", line, ""),
        exchange_name=inner.optional("exchange_name", line, ""),
        control_companies=inner.optional("control_companies", _companies, ()),
    )
    for flag, detail in zip(("broker_dealer", "exchange", "control_person"), names, strict=True):
        if getattr(ties, flag) and not inner.has(detail):
            inner.lack(detail)
        if inner.has(detail) and not getattr(ties, flag) and getattr(ties, detail):
            inner.fault(detail, f"Only if {flag} is true.")
    return ties


def _trusted_contact(form: Section) -> TrustedContact | None:
    """The trusted contact, or None if declined; the question must be answered either way."""
    known = ("declined", "name", "relationship", "phone", "email", "is_adult")
    inner = _inner(form, "trusted_contact", known)
    if inner is None:
        return None
    if inner.optional("declined", reading.yes_or_no, instead=False):
        for key in known[1:]:
            if inner.has(key):
                inner.fault(key, "Leave this out if you decline to name someone.")
        return None
    contact = TrustedContact(
        name=inner.required("name", partial(reading.text, longest=100), ""),
        relationship=inner.required("relationship", partial(reading.text, longest=50), ""),
        phone=inner.optional("phone", _phone, ""),
        email=inner.optional("email", _email, ""),
    )
    if not inner.has("phone") and not inner.has("email"):
        inner.fault("phone", "Give a telephone number or an e-mail address.")
    if not inner.required("is_adult", reading.yes_or_no, instead=True):
        inner.fault("is_adult", "A trusted contact must be 18 or older.")
    return contact


def _check_together(form: Section, profile: Profile) -> None:
    """Note what is wrong only in combination."""
    if (profile.residency == "citizen") != (profile.citizenship == "US") and profile.citizenship:
        form.fault("residency", "This does not fit the citizenship.")
    if profile.residency == "non_resident":
        form.fault("residency", "We open accounts for residents of the United States only.")
    if profile.tax_id.kind == "itin" and profile.residency == "citizen":
        form.fault("tax_id.kind", "A citizen has an SSN; an ITIN is for people without one.")


def _inner(form: Section, key: str, known: tuple[str, ...]) -> Section | None:
    """A required object inside the form; noted where it is missing."""
    inner = form.inner(key, known)
    if inner is None:
        form.lack(key)
    return inner


def _name_part(value: object) -> str:
    """One part of a name: letters of any script, spaces, hyphens, apostrophes and full stops."""
    clean = reading.text(value, 60)
    if not _NAME.fullmatch(clean):
        refuse("A name has letters, spaces, hyphens, apostrophes and full stops only.")
    return clean


def _birth_date(value: object, on: date) -> date:
    """A birth date in the past, of someone who can be alive."""
    born = reading.iso_date(value)
    if born >= on:
        refuse("A birth date lies in the past.")
    if age_on(born, on) > AGE_MAX:
        refuse(f"A birth date lies at most {AGE_MAX} years back.")
    return born


def _nine_digits(value: object) -> str:
    """Nine ASCII digits, with or without the usual hyphens."""
    clean = reading.text(value, 11)
    if not re.fullmatch(r"[0-9]{9}|[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{2}-[0-9]{7}", clean):
        refuse("A tax identification number has nine digits.")
    return clean.replace("-", "")


def _phone(value: object) -> str:
    """A telephone number of ten to fifteen digits, kept as digits with a leading plus."""
    clean = reading.text(value, 25)
    digits = re.sub(r"[^0-9]", "", clean)
    if not _PHONE.fullmatch(clean) or not 10 <= len(digits) <= 15:  # noqa: PLR2004  # US and E.164 lengths
        refuse("A telephone number has ten to fifteen digits.")
    return "+" + (digits if clean.startswith("+") or len(digits) > 10 else "1" + digits)  # noqa: PLR2004  # as above


def _email(value: object) -> str:
    """Something that can be an e-mail address; only a message to it proves more."""
    clean = reading.text(value, 254)
    if not _EMAIL.fullmatch(clean):
        refuse("This is not an e-mail address.")
    return clean


def _companies(value: object) -> tuple[str, ...]:
    """Up to twenty company names or symbols."""
    return tuple(dict.fromkeys(reading.text(item, 100) for item in reading.items(value, 20)))


def _filled(**fields: object) -> dict[str, object]:
    """The fields that hold something; false and true both do."""
    return {key: value for key, value in fields.items() if value not in ("", None, [])}
