"""What customers tell us of their taxes and choose: kept, audited, told to the feed."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import InvalidInputError
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.portfolio import ladder
from robo.services import entitling, licensing
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.services.taxing import contributing, profiles
from robo.services.taxing.profiles import Told
from robo.store import outside_trades, owners, tax_profiles
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring
from robo.store.tax_profiles import Choice

_BACK: Final = 6
"""Tax years before this one that may still be told: returns can be amended for three."""
_LIMIT_CENTS: Final = 10**12


def tell(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    year: int,
    told: Told,
    *,
    actor: str,
    keeps_lots: bool = False,
) -> Told:
    """Keep what a customer tells us of a tax year, and what follows from it for their IRAs.

    Args:
        db: Owns the transaction.
        keyring: Seals it, and signs the audit trail.
        clock: Says when.
        customer: Whose.
        year: Of which tax year.
        told: What they say.
        actor: Who asked.
        keeps_lots: They said nothing of lots: what they said last holds on.

    Raises:
        InvalidInputError: If the year is none that can be told today.
    """
    now, today = to_micros(clock.now()), business_date(clock.now())
    if not today.year - _BACK <= year <= today.year:
        message = f"Tell us of {today.year - _BACK} to {today.year}."
        raise InvalidInputError(message, code="tax_year", fields={"year": [message]})
    with db.write() as session:
        vault = Vault.open(session, keyring, customer.id)
        if keeps_lots:
            known = profiles.told(session, keyring, [customer.id]).get(customer.id, {})
            told = replace(told, lot_method=profiles.last_method(known, year))
        profiles.keep(session, vault, year, told, now)
        contributing.allow(session, vault, year, told)
        # Of incomes not even a hash: they are few enough to be tried out.
        _note(session, keyring, customer, actor, "tax_profile.updated", {"year": year}, now)
    return told


def choose(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    changes: Mapping[str, Any],
    *,
    actor: str,
    policy: Policy | None = None,
) -> Choice:
    """Change what a customer chose; what is not named stays. The same choice writes nothing.

    Args:
        db: Owns the transaction.
        keyring: Signs the audit trail.
        clock: Says when.
        customer: Whose.
        changes: Fields of `Choice`.
        actor: Who asked.
        policy: Whose segments hold; those that ship with us if left out.

    Raises:
        InvalidInputError: If target and amount do not fit together, an amount is out of range, or
            what is said of trades elsewhere does not fit the accounts noted there.
        RefusedError: If the customer's accounts are too small for it (`segment_too_small`).
    """
    now = to_micros(clock.now())
    with db.write() as session:
        before = tax_profiles.choices(session, [customer.id]).get(customer.id, Choice())
        made = replace(before, **changes)
        if "target" in changes and "target_cents" not in changes and made.target != "amount":
            made = replace(made, target_cents=None)
        _check(made)
        if "elsewhere" in changes:
            _check_elsewhere(session, customer.id, made)
        if (before.target, before.target_cents) != (made.target, made.target_cents):
            _check_budget(made)
        book = ladder.of_policy(policy) if policy else None
        entitling.require_of_customer(session, customer.id, _features(before, made), book)
        same = replace(made, buy_buy_sell=int(made.buy_buy_sell)) == before
        if same and before.number:
            return before
        made = replace(made, buy_buy_sell=int(made.buy_buy_sell), number=before.number + 1, at=now)
        tax_profiles.choose(session, customer.id, made)
        detail = {k: v for k, v in asdict(made).items() if k not in {"number", "at"}}
        _note(session, keyring, customer, actor, "tax_choice.changed", detail, now)
    return made


def current(session: Session, customer_id: str) -> Choice:
    """Return what a customer chose, or what holds for somebody who chose nothing."""
    return tax_profiles.choices(session, [customer_id]).get(customer_id, Choice())


def _features(before: Choice, made: Choice) -> set[str]:
    """Return what of the segments' words is newly asked for; a smaller budget asks for nothing."""
    had, wants = before.gain_budget_cents, made.gain_budget_cents
    more = had is not None and (wants is None or wants > had)
    another = made.mode != before.mode or made.target != before.target
    return {word for word, asked in (("gain_budget", more), ("tax_mode", another)) if asked}


def _check(made: Choice) -> None:
    wrong: dict[str, list[str]] = {}
    if (made.target == "amount") != (made.target_cents is not None):
        wrong["target_amount"] = ["Send it with the target `amount`, and only then."]
    for name, cents in (
        ("target_amount", made.target_cents),
        ("gain_budget", made.gain_budget_cents),
    ):
        if cents is not None and abs(cents) > _LIMIT_CENTS:
            wrong[name] = [f"This is at most ${format_cents(_LIMIT_CENTS)}."]
    if wrong:
        message = "These choices do not fit together."
        raise InvalidInputError(message, code="tax_choice", fields=wrong)


def _check_elsewhere(session: Session, customer_id: str, made: Choice) -> None:
    """Return if what is said of trades elsewhere fits the accounts noted there."""
    if made.elsewhere != "some" and outside_trades.accounts_of(session, [customer_id]):
        wrong = ["You noted accounts at other firms: remove them first."]
        message = "These choices do not fit together."
        raise InvalidInputError(message, code="tax_choice", fields={"elsewhere": wrong})


def _check_budget(made: Choice) -> None:
    """Return if the budget leaves room for the gains that a new target asks for."""
    budget = made.gain_budget_cents
    wants = made.target_cents or 0
    if made.target == "zero_bracket":
        wants = 1
    if budget is not None and budget < wants:
        wrong = ["This target realises gains: send with it how much, or null for no limit."]
        message = "These choices do not fit together."
        raise InvalidInputError(message, code="tax_choice", fields={"gain_budget": wrong})


def _note(
    session: Session,
    keyring: Keyring,
    customer: owners.Customer,
    actor: str,
    action: str,
    detail: Mapping[str, Any],
    now: int,
) -> None:
    licensing.record(
        session, keyring, customer.firm_id, actor, action, customer.id, dict(detail), now
    )
    told = payload(**detail) if action.startswith("tax_choice") else payload(year=detail["year"])
    event = NewEvent(customer.firm_id, action, customer.id, told, customer_id=customer.id)
    emit(session, [event], now)
