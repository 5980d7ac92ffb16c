"""What a broker is told of a person, out of the sealed profile; it goes over the port only.

Nothing of it is written down here or named in an error: what is missing is told by codes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session

from onboarding.identity import Profile
from onboarding.reading import three_letters
from robo.core.clock import from_micros
from robo.ports.brokerage import Application
from robo.services.enrolling.identifying import read_profile
from robo.services.sealing import EMAIL, Vault
from robo.store import owners, papers
from robo.store.keyring import Keyring

_SIGNED: Final = "account_agreement"
"""The document of ours by which a customer asks for an account."""
_SOURCES: Final = {
    "employed": "employment_income",
    "self_employed": "business_income",
    "not_employed": "savings",
    "student": "savings",
    "retired": "savings",
}


@dataclass(frozen=True, slots=True)
class Introduction:
    """An application, or what is missing for it."""

    application: Application | None
    missing: tuple[str, ...] = ()


def introduce(session: Session, keyring: Keyring, account_id: str, at_micros: int) -> Introduction:
    """Return what the broker is to be told for an account, or the codes of what is missing.

    Raises:
        NotFoundError: If the customer's data were destroyed.
    """
    account = owners.find_account(session, account_id)
    assert account is not None
    vault = Vault.open(session, keyring, account.customer_id)
    profile = read_profile(session, vault, at_micros)
    email = vault.read(session, EMAIL)
    signed = _signed(session, vault, account.customer_id)
    lacks = (
        ("email", not isinstance(email, str)),
        ("profile", profile is None),
        ("tax_id", profile is not None and profile.tax_id.kind == "ein"),
        ("agreements", signed is None),
    )
    missing = tuple(name for name, is_missing in lacks if is_missing)
    if missing:
        return Introduction(None, missing)
    assert isinstance(email, str)
    assert profile is not None
    assert signed is not None
    return Introduction(_application(account_id, email, profile, *signed))


def owner_name(session: Session, keyring: Keyring, customer_id: str, at_micros: int) -> str:
    """Return a person's name as it stands on a bank account; empty if there is no profile.

    Raises:
        NotFoundError: If the customer's data were destroyed.
    """
    profile = read_profile(session, Vault.open(session, keyring, customer_id), at_micros)
    return "" if profile is None else f"{profile.name.given} {profile.name.family}"


def _signed(session: Session, vault: Vault, customer_id: str) -> tuple[datetime, str] | None:
    """Return when and from which address the account was asked for; the newest counts."""
    rows = [
        row
        for row in papers.acceptances(session, customer_id)
        if (row.agreement_id, row.kind) == (_SIGNED, "accepted")
    ]
    if not rows:
        return None
    sealed = papers.evidence(session, rows[-1].id)
    if sealed is None:
        return None
    found = vault.unseal_json(sealed, f"evidence:{rows[-1].id}:sealed")
    assert isinstance(found, dict)
    return from_micros(rows[-1].at), str(found["address"])


def _application(
    account_id: str, email: str, profile: Profile, agreed_at: datetime, agreed_from: str
) -> Application:
    where, ties, longer = profile.address, profile.affiliations, three_letters()
    return Application(
        reference=account_id,
        email=email,
        phone=profile.phone,
        street=[line for line in (where.line1, where.line2) if line],
        city=where.city,
        state=where.state,
        postal_code=where.postal_code,
        country=longer[where.country],
        given_name=profile.name.given,
        family_name=profile.name.family,
        born_on=profile.birth_date,
        tax_id=profile.tax_id.digits,
        tax_country=longer[profile.tax_residence],
        citizen_country=longer[profile.citizenship],
        funding_sources=[_SOURCES[profile.employment.status]],
        control_person=ties.control_person,
        finra_affiliated=ties.broker_dealer or ties.exchange,
        politically_exposed=ties.politically_exposed,
        family_exposed=ties.family_exposed,
        agreed_at=agreed_at,
        agreed_from=agreed_from,
    )
