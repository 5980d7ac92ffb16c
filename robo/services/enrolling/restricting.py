"""What a customer must not buy, own or trade: from answers and profile, and added by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlmodel import Session

from baskets.facts import load_facts
from onboarding.companies import CompanyIndex, company_index
from onboarding.identity import Profile
from onboarding.questionnaire import Answers
from onboarding.restrictions import (
    HeldChoice,
    Restriction,
    Restrictions,
    Verb,
    build_restrictions,
    share_of_universe,
)
from robo.core.clock import Clock, to_micros
from robo.core.errors import NotFoundError
from robo.core.ids import SecurityId, child_id
from robo.services import offering, targeting
from robo.services.mailing import payload
from robo.store import accounts, households, owners, people
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.people import OWN, StoredRestriction
from robo.store.universe import by_id

_SOURCES: Final[Mapping[str, str]] = {
    "employer": "employer",
    "household_employer": "household",
    "control_person": "employer",
    "named_never_own": "named",
    "named_never_buy": "named",
    "company_unclear": "named",
    "country": "country",
    "industry": "industry",
    "activity": "activity",
    "activity_unknown": "activity",
}
"""Code of a restriction -> what kind of answer it comes from; one row each security and source."""
_LEFT_OUT: Final = "You asked us to leave this company out."
_STRENGTH: Final = (Verb.NEVER_BUY, Verb.NEVER_OWN, Verb.NEVER_TRADE)


def derive(
    session: Session, customer_id: str, answers: Answers, profile: Profile | None
) -> Restrictions:
    """Return the restrictions that follow from answers and profile, with the choices made so far.

    Args:
        session: The caller's transaction.
        customer_id: Whose choices about held shares count.
        answers: Complete and checked.
        profile: None before there is one.
    """
    facts = offering.of_customer(session, customer_id).facts
    ties = profile.affiliations if profile else None
    return build_restrictions(
        answers,
        facts.universe.securities,
        share_of=share_of_universe(facts.universe, facts.involvement),
        choices=choices(session, customer_id),
        employer_name=profile.employment.employer_name if profile else "",
        control_companies=ties.control_companies if ties else (),
        index=_index(),
    )


def choices(session: Session, customer_id: str) -> dict[int, HeldChoice]:
    """Return what a customer said about shares already held."""
    return {
        row.security_id: HeldChoice(row.held_choice)
        for row in people.restrictions(session, customer_id)
        if row.held_choice != "none"
    }


def keep(session: Session, customer_id: str, made: Restrictions, at_micros: int) -> None:
    """Write restrictions in place of those that followed from earlier answers, and retarget.

    Of several of one source for a security the strictest is kept. Accounts follow at once: a name
    that may not be bought is replaced in the target, and nothing is sold by that.
    """
    chosen = choices(session, customer_id)
    listed = by_id(session, [entry.security_id for entry in made.entries])
    strictest: dict[tuple[int, str], Restriction] = {}
    for entry in made.entries:
        place = (entry.security_id, _SOURCES[entry.code])
        held = strictest.get(place)
        if held is None or _STRENGTH.index(entry.verb) > _STRENGTH.index(held.verb):
            strictest[place] = entry
    rows = [
        StoredRestriction(
            id=child_id("rst", customer_id, security_id, source),
            security_id=security_id,
            verb=entry.verb.value,
            source=source,
            reason=entry.sentence,
            held_choice=chosen[security_id].value if security_id in chosen else "none",
            created_at=at_micros,
        )
        for (security_id, source), entry in strictest.items()
        if security_id in listed
    ]
    people.replace_restrictions(session, customer_id, rows)
    retarget(session, customer_id, at_micros)


def retarget(session: Session, customer_id: str, at_micros: int) -> None:
    """Point a customer's accounts at what their baskets mean under today's restrictions."""
    found = accounts.accounts_of_customer(session, customer_id)
    found += sorted(households.owned_jointly(session, [customer_id]))
    if found:
        targeting.refresh(session, found, at_micros)


@dataclass(frozen=True, slots=True)
class Shown:
    """A restriction as the customer sees it."""

    security_id: int
    symbol: str
    name: str
    verb: str
    source: str
    reason: str
    held_choice: str
    created_at: int


def shown(session: Session, customer_id: str) -> list[Shown]:
    """Return a customer's restrictions with today's names of the securities."""
    rows = people.restrictions(session, customer_id)
    named = by_id(session, [row.security_id for row in rows])
    return [
        Shown(
            security_id=row.security_id,
            symbol=named[SecurityId(row.security_id)].symbol,
            name=named[SecurityId(row.security_id)].name,
            verb=row.verb,
            source=row.source,
            reason=row.reason,
            held_choice=row.held_choice,
            created_at=row.created_at,
        )
        for row in rows
    ]


def add(db: Database, clock: Clock, customer_id: str, security_id: int, verb: str) -> list[Shown]:
    """Add a restriction of the customer's own; adding it again changes its verb. Return all.

    What they chose to do with shares held is about the name, and stays.

    Raises:
        NotFoundError: If there is no such security.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        if not by_id(session, [security_id]):
            message = "There is no such security."
            raise NotFoundError(message, code="no_such_security")
        chosen = choices(session, customer_id)
        row = _own(customer_id, security_id, verb, now, chosen)
        people.put_restrictions(session, customer_id, [row])
        _changed(session, customer_id, security_id, "added", now)
        return shown(session, customer_id)


def leave_out(
    session: Session, customer_id: str, security_ids: Iterable[int], at_micros: int
) -> None:
    """Bar a customer from buying securities, and point their accounts at what follows.

    What they asked of a security before is as strict or stricter, and stays with what they chose to
    do with shares held: a request not to buy takes nothing back.
    """
    known = {
        one.security_id for one in people.restrictions(session, customer_id) if one.source == OWN
    }
    chosen = choices(session, customer_id)
    rows = [
        _own(customer_id, one, Verb.NEVER_BUY.value, at_micros, chosen)
        for one in security_ids
        if one not in known
    ]
    if rows:
        people.put_restrictions(session, customer_id, rows)
        retarget(session, customer_id, at_micros)


def _own(
    customer_id: str, security_id: int, verb: str, now: int, chosen: Mapping[int, HeldChoice]
) -> StoredRestriction:
    return StoredRestriction(
        id=child_id("rst", customer_id, security_id, OWN),
        security_id=security_id,
        verb=verb,
        source=OWN,
        reason=_LEFT_OUT,
        held_choice=chosen[security_id].value if security_id in chosen else "none",
        created_at=now,
    )


def remove(db: Database, clock: Clock, customer_id: str, security_id: int) -> None:
    """Remove a restriction that the customer added; those from answers change with the answers.

    Raises:
        NotFoundError: If the customer added none for this security.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        if not people.remove_restriction(session, customer_id, security_id, OWN):
            message = "You added no restriction for this security."
            raise NotFoundError(message, code="no_such_restriction")
        _changed(session, customer_id, security_id, "removed", now)


def choose(
    db: Database, clock: Clock, customer_id: str, security_id: int, choice: HeldChoice
) -> list[Shown]:
    """Keep what to do with shares already held of a restricted name; return all restrictions.

    Raises:
        NotFoundError: If the security is not restricted.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        if not people.choose_held(session, customer_id, security_id, choice.value):
            message = "This security is not restricted for you."
            raise NotFoundError(message, code="no_such_restriction")
        _changed(session, customer_id, security_id, f"chosen_{choice.value}", now)
        return shown(session, customer_id)


def _changed(session: Session, customer_id: str, security_id: int, what: str, now: int) -> None:
    retarget(session, customer_id, now)
    customer = owners.find_customer(session, customer_id)
    assert customer is not None
    event = NewEvent(
        customer.firm_id,
        "restriction.changed",
        customer_id,
        payload(security_id=security_id, what=what),
        customer_id=customer_id,
    )
    emit(session, [event], now)


@cache
def _index() -> CompanyIndex:
    return company_index(load_facts().universe.securities)


def suggestions(made: Restrictions) -> Sequence[tuple[str, str, list[str]]]:
    """Return (field, text, names it may mean) of every company that the answers left unclear."""
    return [
        (one.field, one.text, [company.name for company in one.candidates])
        for one in made.questions
    ]
