"""What the bank says, applied in its order and exactly once: cursor and money in one transaction.

A deposit only moves forwards: requested, pending, available, settled; news that comes late or
twice changes nothing, and news that skips a step takes the steps in between. A return may follow
any of them. An event that cannot be applied is put before the operator as `bank.event_parked`,
so that one deposit never holds up everybody's money.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.ports.funding import Bank, BankEvent, BankEventKind
from robo.services import isolating
from robo.services.funding import notes, paying, returning
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import accounts, cursors, ledger, payers, remittances, transfers, withdrawals
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.payers import Payer
from robo.store.transfers import Deposit

_JOB: Final = "collect-bank"
_CURSOR: Final = "bank"
_PAGE: Final = 1_000
_STEPS: Final = ("requested", "pending", "available", "settled")
_LATE_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class _Desk:
    """What applying an event needs besides the event."""

    keyring: Keyring
    clock: Clock
    calendar: MarketCalendar
    policy: Policy

    @property
    def at_micros(self) -> int:
        """Return the instant that is written down."""
        return to_micros(self.clock.now())


def collect(
    db: Database,
    keyring: Keyring,
    bank: Bank,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
) -> int:
    """Apply what the bank says since the last time; return how many events were new.

    Afterwards holds of money that is late are prolonged, cash of accounts that owe is taken first,
    and cure windows that ended are reported.

    Raises:
        BrokerUnavailableError: If the bank does not answer; nothing is lost.
        BrokenInvariantError: If the books would become wrong.
    """
    desk = _Desk(keyring, clock, calendar, policy)
    applied = 0
    while True:
        with db.read() as session:
            position = cursors.cursor(session, _CURSOR)
        events = bank.events(position, _PAGE)
        count = _apply_page(db, desk, position, events)
        applied += count
        if count < len(events) or len(events) < _PAGE:
            break
    _prolong_late(db, desk)
    returning.sweep_cures(db, keyring, clock, policy)
    returning.report_overdue(db, clock)
    return applied


def _apply_page(db: Database, desk: _Desk, position: str, events: Sequence[BankEvent]) -> int:
    """Apply events in turns; stop without harm where another process was faster."""
    applied = 0

    def write(session: Session, part: Sequence[BankEvent]) -> None:
        nonlocal position, applied
        if cursors.cursor(session, _CURSOR) != position:
            return
        cursors.move_cursor(session, _CURSOR, part[-1].cursor)
        for event in part:
            _apply_or_park(session, desk, event)
        position = part[-1].cursor
        applied += len(part)

    Turns(db, desk.policy).each(events, write)
    return applied


def _apply_or_park(session: Session, desk: _Desk, event: BankEvent) -> None:
    try:
        with session.begin_nested():
            _apply(session, desk, event)
    except Exception as error:
        if not isolating.is_ones_own(error):
            raise
        isolating.note(session, desk.clock, _JOB, _account_of(session, event), error)
        notes.parked(session, event, isolating.code_of(error), desk.at_micros)


def _account_of(session: Session, event: BankEvent) -> str:
    """Return the account that an event is about, or the transfer that nobody knows."""
    moved = transfers.deposit(session, event.transfer_id) or withdrawals.get(
        session, event.transfer_id
    )
    return moved.account_id if moved is not None else event.transfer_id


def _apply(session: Session, desk: _Desk, event: BankEvent) -> None:
    deposit = transfers.deposit(session, event.transfer_id)
    if deposit is None:
        _apply_outgoing(session, desk, event)
        return
    payer = payers.payer(session, deposit.account_id)
    if deposit.state == "failed":
        notes.parked(session, event, "deposit_failed", desk.at_micros)
    elif deposit.state == "returned":
        return
    elif event.kind is BankEventKind.RETURNED:
        returning.take_back(
            session, desk.keyring, desk.policy, payer, deposit, event, desk.at_micros
        )
    else:
        for step in _STEPS[_STEPS.index(deposit.state) + 1 : _STEPS.index(event.kind.value) + 1]:
            deposit = _MOVES[step](session, desk, payer, deposit, event)


def _apply_outgoing(session: Session, desk: _Desk, event: BankEvent) -> None:
    withdrawal = withdrawals.get(session, event.transfer_id)
    if withdrawal is None:
        notes.parked(session, event, "unknown_transfer", desk.at_micros)
    else:
        paying.apply(session, desk.keyring, desk.policy, withdrawal, event, desk.at_micros)
        returning.cure(session, desk.keyring, [withdrawal.account_id], desk.at_micros)


def _pending(
    session: Session, desk: _Desk, payer: Payer, deposit: Deposit, event: BankEvent
) -> Deposit:
    """Lend what the policy allows, so that it can be invested today."""
    lent = 0
    if event.kind is BankEventKind.PENDING:
        lent = _to_lend(session, desk.policy, payer, deposit)
    moved = replace(
        deposit,
        state="pending",
        advanced_cents=lent,
        settles_on=_settles_on(desk, event) if lent else None,
    )
    made = recipes.advance(payer.firm_id, payer.account_id, lent, deposit.id)
    ledger.post(session, desk.keyring.chain, made, payer.firm_id, desk.at_micros)
    transfers.save_deposit(session, moved)
    notes.deposit(session, payer, moved, "pending", desk.at_micros, advanced=format_cents(lent))
    return moved


def _available(
    session: Session, desk: _Desk, payer: Payer, deposit: Deposit, event: BankEvent
) -> Deposit:
    """Book the bank's money: the advance first, the rest to the account; debts are cured first."""
    settles_on = max(deposit.settles_on or "", _settles_on(desk, event))
    moved = replace(
        deposit, state="available", available_at=to_micros(event.at), settles_on=settles_on
    )
    made = [
        *recipes.repay_advance(payer.firm_id, deposit.advanced_cents, deposit.id),
        *recipes.deposit(payer.account_id, deposit.cents - deposit.advanced_cents, deposit.id),
    ]
    ledger.post(session, desk.keyring.chain, made, payer.firm_id, desk.at_micros)
    transfers.save_deposit(session, moved)
    notes.deposit(session, payer, moved, "available", desk.at_micros, settles_on=settles_on)
    returning.cure(session, desk.keyring, [payer.account_id], desk.at_micros)
    return moved


def _settled(
    session: Session, desk: _Desk, payer: Payer, deposit: Deposit, event: BankEvent
) -> Deposit:
    """Make the money final; holds end today once no other money of the account is open."""
    moved = replace(deposit, state="settled", settled_at=to_micros(event.at))
    transfers.save_deposit(session, moved)
    if not transfers.unsettled_deposits(session, [payer.account_id]):
        today = business_date(desk.clock.now()).isoformat()
        transfers.release_holds(session, payer.account_id, today)
    notes.deposit(session, payer, moved, "settled", desk.at_micros)
    return moved


_MOVES: Final = {"pending": _pending, "available": _available, "settled": _settled}


def _to_lend(session: Session, policy: Policy, payer: Payer, deposit: Deposit) -> int:
    """Return how much of a pending deposit the firm lends this customer now."""
    if remittances.get(session, deposit.id) is not None:
        return 0  # it would lie in the firm's account, not in the customer's at the broker
    owned = accounts.accounts_of_customer(session, payer.customer_id)
    lent, settled, owed = transfers.advance_history(session, owned)
    if owed or settled < policy.advance_lifetime_deposits_min or payer.account_state != "open":
        return 0
    return max(0, min(deposit.cents, policy.advance_cents_max - lent))


def _settles_on(desk: _Desk, event: BankEvent) -> str:
    day = business_date(event.at)
    return desk.calendar.shift(day, desk.policy.deposit_settle_sessions).isoformat()


def _prolong_late(db: Database, desk: _Desk) -> None:
    """Move holds on by a session where the bank has not yet said that the money is final."""
    today = business_date(desk.clock.now())
    with db.read() as session:
        late = transfers.late_deposits(session, today.isoformat(), _LATE_MAX)
    if not late:
        return
    # A hold that ends today would already let the lots go; the money must come before.
    until = desk.calendar.on_or_after(today + timedelta(days=1)).isoformat()

    def write(session: Session, part: Sequence[Deposit]) -> None:
        for seen in part:
            deposit = transfers.deposit(session, seen.id)
            if deposit == seen and deposit.settles_on is not None:
                transfers.prolong_holds(
                    session, AccountId(deposit.account_id), deposit.settles_on, until
                )
                transfers.save_deposit(session, replace(deposit, settles_on=until))

    blame = Blame[Deposit](db, desk.clock, _JOB, lambda one: one.account_id)
    Turns(db, desk.policy).each(late, write, blame)
