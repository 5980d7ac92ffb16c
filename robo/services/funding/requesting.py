"""Asking for deposits: the intention is written first, then the bank is told until it knows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Final

from sqlmodel import Session

from onboarding import agreements
from onboarding.progress import Facts, Step, missing_before
from robo.core.clock import NEW_YORK, Clock, business_date, to_micros
from robo.core.errors import (
    BelowMinimumError,
    BrokerRejectedError,
    BrokerUnavailableError,
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    OutOfOrderError,
    RefusedError,
)
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.ports.funding import Bank, BankTransfer, TransferDirection
from robo.services.funding import notes
from robo.services.isolating import Blame
from robo.services.taxing import contributing
from robo.store import accounts, custody, households, payers, people, transfers
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.payers import Payer
from robo.store.transfers import Deposit, Link

_PAGE: Final = 500
_AGREED: Final = frozenset({"accepted", "demonstrated"})


@dataclass(frozen=True, slots=True)
class DepositOrder:
    """What somebody asks for; the id is the idempotency key."""

    deposit_id: str
    account_id: str
    bank_link_id: str
    cents: int
    plan_id: str | None = None
    tax_year: int | None = None
    """Of a deposit into an IRA: the year it counts for; None for this year."""


def request_deposit(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    deposit_id: str,
    account_id: str,
    bank_link_id: str,
    cents: int,
    plan_id: str | None = None,
) -> Deposit:
    """Write down that money shall come from a bank; asking twice with one id is asking once.

    Raises:
        NotFoundError: If there is no such account, or no such link of the same customer.
        BelowMinimumError: If the amount is too small to be invested.
        RefusedError: If the amount or the day's sum is too large (`deposit_too_large`,
            `deposit_daily_limit`), or a limit of the law on IRAs is reached.
        OutOfOrderError: If identity or agreements come first.
        ConflictError: If the account is not open.
        IdempotencyMismatchError: If the id was used for another deposit.
    """
    order = DepositOrder(deposit_id, account_id, bank_link_id, cents, plan_id)
    with db.write() as session:
        return write_request(session, keyring, clock.now(), policy, order)


def request_and_tell(
    db: Database,
    keyring: Keyring,
    bank: Bank,
    clock: Clock,
    policy: Policy,
    order: DepositOrder,
    beside: Callable[[Session, Deposit], None],
) -> Deposit:
    """Write a deposit down, tell the bank at once if it answers, return the deposit as it is then.

    Args:
        db: Owns the transactions.
        keyring: Opens what an IRA's owner told us of their income.
        bank: Called outside of them.
        clock: Says when.
        policy: Says how much.
        order: What is asked for.
        beside: Writes what shall be true together with the deposit.

    Raises:
        RoboError: As `request_deposit`.
    """
    with db.write() as session:
        deposit, link = _written(session, keyring, clock.now(), policy, order)
        beside(session, deposit)
    if deposit.state != "requested":
        return deposit
    try:
        took = _tell(db, bank, clock, deposit, link.token)
    except BrokerUnavailableError:
        return deposit
    if took:
        return deposit
    with db.read() as session:
        return _existing(session, deposit.id)


def write_request(
    session: Session, keyring: Keyring, now: datetime, policy: Policy, order: DepositOrder
) -> Deposit:
    """Write one deposit in the caller's transaction; see `request_deposit` for what it refuses."""
    return _written(session, keyring, now, policy, order)[0]


def _written(
    session: Session, keyring: Keyring, now: datetime, policy: Policy, order: DepositOrder
) -> tuple[Deposit, Link]:
    """Return the deposit, written now or before, and the link it comes through."""
    known = transfers.deposit(session, order.deposit_id)
    if known is not None:
        used = transfers.link(session, known.bank_link_id)
        assert used is not None
        return _the_same(known, order), used
    payer = payers.payer(session, order.account_id)
    link = require_link(session, payer, order.bank_link_id)
    require_amount(order.cents, policy)
    require_ready(session, payer, business_date(now))
    _require_daily_room(session, payer, now, order.cents, policy)
    year = _tax_year(session, keyring, payer, order, business_date(now))
    made = Deposit(
        id=order.deposit_id,
        account_id=order.account_id,
        bank_link_id=order.bank_link_id,
        plan_id=order.plan_id,
        cents=order.cents,
        requested_at=to_micros(now),
    )
    transfers.add_deposits(session, [made])
    if year is not None:
        contributing.note(session, payer, made.id, year, made.cents)
    notes.deposit(session, payer, made, "requested", to_micros(now))
    return made, link


def _tax_year(
    session: Session, keyring: Keyring, payer: Payer, order: DepositOrder, today: date
) -> int | None:
    """Return the year that a deposit into an IRA counts for, None for any other account.

    Raises:
        RoboError: As `contributing.check`, or if a year is named for an account that has none.
    """
    if contributing.is_ira(payer.kind):
        return contributing.check(session, keyring, payer, order.tax_year, order.cents, today)
    if order.tax_year is not None:
        message = "Only deposits into an IRA count for a tax year."
        raise InvalidInputError(message, code="not_an_ira", fields={"tax_year": [message]})
    return None


def tell_bank(db: Database, bank: Bank, clock: Clock) -> int:
    """Tell the bank of every deposit it has not confirmed; return how many it took.

    The bank is called outside any transaction. A deposit stays `requested` until the bank's own
    events say more, so that telling again after a crash, or after silence, is always right.
    """
    told, after = 0, ""
    blame = Blame[tuple[Deposit, str]](db, clock, "tell-bank", lambda one: one[0].account_id)

    def tell(one: tuple[Deposit, str]) -> None:
        nonlocal told
        told += _tell(db, bank, clock, *one)

    while True:
        with db.read() as session:
            waiting = transfers.untold_deposits(session, after, _PAGE)
        try:
            blame.each(waiting, tell)
        except BrokerUnavailableError:
            return told
        if len(waiting) < _PAGE:
            return told
        after = waiting[-1][0].id


def require_link(session: Session, payer: Payer, bank_link_id: str) -> Link:
    """Return an active link of an owner of the account.

    Raises:
        NotFoundError: If there is none; another customer's looks the same.
    """
    found = transfers.link(session, bank_link_id)
    mine = {payer.customer_id}
    if payer.kind == "joint":
        mine.add(households.second_owner(session, payer.account_id) or payer.customer_id)
    if found is None or found.customer_id not in mine or found.state != "active":
        message = "there is no such bank link"
        raise NotFoundError(message, code="bank_link_not_found")
    return found


def require_ready(session: Session, payer: Payer, today: date) -> None:
    """Return if this account may take money in.

    Raises:
        ConflictError: If the account or its customer is not open for business, or the account at
            the broker is not (`custody_not_active`).
        OutOfOrderError: If answers that proceed, agreements or the identity come first; what a
            deposit needs is written in `onboarding.progress`. Missing documents are named in
            the message and under `agreements` in `fields`.
    """
    if payer.account_state != "open" or payer.customer_state != "active":
        message = "the account is not open for deposits"
        raise ConflictError(message, code="account_not_open")
    kept = custody.get(session, payer.account_id)
    if kept is not None and kept.state != "active":
        message = "the account is not open at the broker"
        raise ConflictError(message, code="custody_not_active")
    latest = people.latest_submission(session, payer.customer_id)
    documents = _missing_documents(session, payer, today)
    facts = Facts(
        suitability=latest is not None and latest.decision == "proceed",
        agreements=not documents,
        identity=payer.identity_state == "accepted",
        bank_link=True,  # the very one was looked up before
    )
    missing = [step.value for step in missing_before(Step.DEPOSIT, facts)]
    if missing:
        message = "Before the deposit comes: " + ", ".join(missing) + "."
        if documents:
            place = f"/v1/customers/{payer.customer_id}/agreements"
            message += f" Missing of {place}: {', '.join(documents)}."
        named = {"agreements": documents} if documents else None
        raise OutOfOrderError(message, reasons=missing, fields=named)


def require_amount(cents: int, policy: Policy) -> None:
    """Return if a single deposit may be this large.

    Raises:
        BelowMinimumError: If it is too small to be invested.
        RefusedError: If it is too large (`deposit_too_large`).
    """
    if cents < policy.deposit_cents_min:
        message = f"a deposit is at least ${format_cents(policy.deposit_cents_min)}"
        raise BelowMinimumError(message, code="deposit_too_small")
    if cents > policy.deposit_cents_max:
        message = f"a deposit is at most ${format_cents(policy.deposit_cents_max)}"
        raise RefusedError(message, code="deposit_too_large")


def require_payout(session: Session, account_id: str) -> None:
    """Return if money of this account may leave: to somebody known, whose e-mail answers.

    Agreements do not matter here: nobody's money is held back for a new version of a text.

    Raises:
        OutOfOrderError: If identity or a verified e-mail come first.
    """
    payer = payers.payer(session, account_id)
    missing = [] if payer.email_verified_at is not None else ["email"]
    if payer.identity_state != "accepted":
        missing.append("identity")
    if missing:
        message = "Before the withdrawal comes: " + ", ".join(missing) + "."
        raise OutOfOrderError(message, reasons=missing)


def _missing_documents(session: Session, payer: Payer, today: date) -> list[str]:
    """Return the documents in force that were not accepted in their present version.

    Consent to electronic delivery is a choice, never a condition, so paper customers and those
    still opening their proof are asked for everything else only.
    """
    rows = payers.acceptances(session, payer.customer_id)
    accepted = {(document, version) for document, version, kind, _ in rows if kind in _AGREED}
    shown = accepted | {(document, version) for document, version, _, _ in rows}
    return [
        document
        for document, version, action in _in_force(payer.kind, today)
        if (document, version) not in (shown if action == "deliver" else accepted)
    ]


@lru_cache(maxsize=16)
def _in_force(kind: str, today: date) -> tuple[tuple[str, str, str], ...]:
    """Return (document, version, action) of what a kind of account accepts on a day."""
    found = agreements.required_agreements(kind, today, paper=True)
    return tuple((each.id, str(each.version), each.action) for each in found)


def _the_same(known: Deposit, order: DepositOrder) -> Deposit:
    asked = (order.account_id, order.bank_link_id, order.cents, order.plan_id)
    if (known.account_id, known.bank_link_id, known.cents, known.plan_id) != asked:
        message = "this id belongs to another deposit"
        raise IdempotencyMismatchError(message)
    return known


def _require_daily_room(
    session: Session, payer: Payer, now: datetime, cents: int, policy: Policy
) -> None:
    """Refuse what would exceed the customer's limit of this New York day, over all accounts."""
    midnight = now.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
    owned = accounts.accounts_of_customer(session, payer.customer_id)
    asked = transfers.asked_since(session, owned, to_micros(midnight))
    if asked + cents > policy.deposit_daily_cents_max:
        message = f"deposits of one day are at most ${format_cents(policy.deposit_daily_cents_max)}"
        raise RefusedError(message, code="deposit_daily_limit")


def _existing(session: Session, deposit_id: str) -> Deposit:
    found = transfers.deposit(session, deposit_id)
    if found is None:
        message = "there is no such deposit"
        raise NotFoundError(message)
    return found


def _tell(db: Database, bank: Bank, clock: Clock, deposit: Deposit, token: str) -> bool:
    """Ask for one pull; return whether the bank took it. A clear no ends the deposit.

    Raises:
        BrokerUnavailableError: If the outcome is unknown: it will be asked for again.
    """
    pull = BankTransfer(deposit.id, TransferDirection.PULL, token, deposit.cents)
    try:
        bank.request(pull)
    except (BrokerRejectedError, ConflictError, InvalidInputError, NotFoundError) as error:
        _fail(db, clock, deposit.id, error.code)
        return False
    return True


def _fail(db: Database, clock: Clock, deposit_id: str, code: str) -> None:
    at = to_micros(clock.now())
    with db.write() as session:
        deposit = _existing(session, deposit_id)
        if deposit.state != "requested":
            return
        failed = replace(deposit, state="failed", return_code=code)
        transfers.save_deposit(session, failed)
        payer = payers.payer(session, deposit.account_id)
        notes.deposit(session, payer, failed, "failed", at, code=code)
