"""Deposits that come back, and how what they leave owing is cured; nothing is ever sold for it.

What goes back, in this order: free cash; then what orders reserve that no window has taken; the
rest stays invested, and the firm carries it as a receivable that the customer has a cure window to
bring back. The next cash of the account, from wherever it comes, fills the receivable first.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId, child_id
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer
from robo.ports.funding import BankEvent
from robo.services import ordering
from robo.services.funding import notes, paying
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import ledger, payers, transfers
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.payers import Payer
from robo.store.transfers import Deposit

_JOB: Final = "collect-bank"


def take_back(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    payer: Payer,
    deposit: Deposit,
    event: BankEvent,
    at_micros: int,
) -> Deposit:
    """Return a deposit to where it came from, and write down what cannot go back yet."""
    at_work = _at_work(deposit)
    cash = _cash_for(session, keyring, payer, at_work, at_micros)
    back = min(at_work, cash)
    owed = at_work - back
    ledger.post(
        session, keyring.chain, _reverse(payer, deposit, back, owed), payer.firm_id, at_micros
    )
    until = business_date(event.at) + timedelta(days=policy.cure_window_days)
    returned = replace(
        deposit,
        state="returned",
        owed_cents=owed,
        return_code=event.code,
        returned_at=to_micros(event.at),
        cure_until=until.isoformat() if owed else None,
    )
    transfers.save_deposit(session, returned)
    more = {"code": event.code, "taken_back": format_cents(back), "owed": format_cents(owed)}
    if owed:
        more["cure_until"] = until.isoformat()
    notes.deposit(session, payer, returned, "returned", at_micros, **more)
    return returned


def cure(
    session: Session, keyring: Keyring, account_ids: Sequence[AccountId], at_micros: int
) -> int:
    """Fill what these accounts owe from their free cash, oldest first; return the cents filled."""
    owing = transfers.owed_deposits(session, account_ids)
    if not owing:
        return 0
    owners = payers.payers(session, [deposit.account_id for deposit in owing])
    cash: dict[AccountId, int] = {}
    filled = 0
    for deposit in owing:
        payer = owners[AccountId(deposit.account_id)]
        account = payer.account_id
        if account not in cash:
            cash[account] = ledger.balance(session, chart.cash(account))
        cents = min(cash[account], deposit.owed_cents)
        if cents:
            cash[account] -= cents
            filled += cents
            _fill(session, keyring, payer, deposit, cents, at_micros)
    return filled


def sweep_cures(db: Database, keyring: Keyring, clock: Clock, policy: Policy) -> int:
    """Cure every account that owes and has cash again, whatever brought it; return the cents."""
    with db.read() as session:
        accounts = [AccountId(account) for account in transfers.owing_accounts(session)]
    filled = 0

    def write(session: Session, part: Sequence[AccountId]) -> None:
        nonlocal filled
        cents = cure(session, keyring, part, to_micros(clock.now()))
        filled += cents

    Turns(db, policy).each(accounts, write, Blame[AccountId](db, clock, _JOB, str))
    return filled


def report_overdue(db: Database, clock: Clock) -> int:
    """Put deposits whose cure window has ended before the operator, once each; return how many.

    Nothing is sold: what happens next is a person's decision.
    """
    today = business_date(clock.now()).isoformat()
    with db.read() as session:
        overdue = transfers.overdue_cures(session, today)

    def report(seen: Deposit) -> int:
        with db.write() as session:
            return int(_report(session, seen, to_micros(clock.now())))

    return Blame[Deposit](db, clock, _JOB, lambda one: one.account_id).each(overdue, report)


def _report(session: Session, seen: Deposit, at_micros: int) -> bool:
    """Report one deposit, unless something happened to it meanwhile; return whether it was."""
    if transfers.deposit(session, seen.id) != seen:
        return False
    payer = payers.payer(session, seen.account_id)
    transfers.save_deposit(session, replace(seen, cure_until=None))
    more = {"owed": format_cents(seen.owed_cents), "window_ended": seen.cure_until or ""}
    notes.deposit(session, payer, seen, "cure_overdue", at_micros, **more)
    return True


def _at_work(deposit: Deposit) -> int:
    """Return the cents of a deposit that reached the account: all, what was lent, or nothing."""
    if deposit.state in {"available", "settled"}:
        return deposit.cents
    return deposit.advanced_cents if deposit.state == "pending" else 0


def _cash_for(session: Session, keyring: Keyring, payer: Payer, wanted: int, at_micros: int) -> int:
    """Return the account's free cash; if it is too little, untouched orders give back theirs.

    The same goes for withdrawals that were not sent: nobody is paid out of what they owe.
    """
    cash = ledger.balance(session, chart.cash(payer.account_id))
    if cash < wanted:
        cash += ordering.cancel_planned(
            session,
            keyring,
            payer.firm_id,
            payer.account_id,
            Reason.REJECT_UNFUNDED,
            at_micros,
        )
    if cash < wanted:
        cash += paying.cancel_open(session, keyring, payer, at_micros)
    return cash


def _reverse(payer: Payer, deposit: Deposit, back: int, owed: int) -> list[Transfer]:
    """Return the transfers that undo a deposit: towards the bank, or towards the firm's advance."""
    if deposit.state == "pending":
        return recipes.undo_advance(payer.firm_id, payer.account_id, back, owed, deposit.id)
    return recipes.return_deposit(payer.firm_id, payer.account_id, back, owed, deposit.id)


def _fill(
    session: Session,
    keyring: Keyring,
    payer: Payer,
    deposit: Deposit,
    cents: int,
    at_micros: int,
) -> None:
    # What is owed only falls, so each filling of one deposit has a cause, and ids, of its own.
    cause = child_id("cur", deposit.id, deposit.owed_cents)
    made = recipes.cure(payer.firm_id, payer.account_id, cents, cause)
    ledger.post(session, keyring.chain, made, payer.firm_id, at_micros)
    left = deposit.owed_cents - cents
    cured = replace(deposit, owed_cents=left, cure_until=deposit.cure_until if left else None)
    transfers.save_deposit(session, cured)
    more = {"filled": format_cents(cents), "owed": format_cents(left)}
    notes.deposit(session, payer, cured, "cure_paid" if left else "cured", at_micros, **more)
