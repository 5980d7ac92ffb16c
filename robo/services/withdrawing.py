"""Money out: what is sold for it and why, settled cash only, a close-out that leaves nothing.

requested (something must be sold) -> selling -> settling -> sent -> paid | failed
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import (
    BrokerRejectedError,
    BrokerUnavailableError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from robo.core.ids import AccountId, FirmId, child_id
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ledger import recipes
from robo.ports.broker import Broker
from robo.ports.funding import Bank, BankTransfer, TransferDirection
from robo.ports.prices import PriceSource
from robo.services import estimating, inquiring, ordering, paying_out, raising, selling
from robo.services.isolating import Blame
from robo.services.quoting import board
from robo.services.taxing import contributing, standings
from robo.store import (
    accounts,
    chunks,
    events,
    households,
    ledger,
    tax_profiles,
    transfers,
    withdrawals,
)
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.withdrawals import Withdrawal

_JOB: Final = "pay-withdrawals"
_OPEN: Final = paying_out.OPEN


def request(
    db: Database,
    keyring: Keyring,
    prices: PriceSource,
    clock: Clock,
    account_id: AccountId,
    withdrawal_id: str,
    bank_link_id: str,
    cents: int | None,
    confirmed: str = "",
) -> Withdrawal:
    """Write down a withdrawal and promise it the settled cash there is; None closes the account.

    Asking twice with the same id gives the same withdrawal.

    Raises:
        NotFoundError: If the account or the bank link does not exist.
        ConflictError: If the id was used for another request, or the account is closing.
        BelowMinimumError: If less than a cent is asked for.
        InsufficientFundsError: If cash and what may be sold are worth less.
        RestrictedError: If closing would trade shares that the customer said to leave alone.
        RefusedError: If a returned deposit is still owed, or what leaving an IRA means was not
            confirmed (`ira_notice`).
    """
    with db.read() as session:
        raw = chunks.read(session, [account_id], with_lots=True)
    worth = selling.worth(raw, prices, clock.now())
    at_micros = to_micros(clock.now())
    with db.write() as session:
        existing = withdrawals.get(session, withdrawal_id)
        if existing is not None:
            return paying_out.same(existing, account_id, bank_link_id, cents)
        sleeve = paying_out.sleeve_of(session, account_id, bank_link_id, cents)
        kind = households.owners_of(session, [account_id])[account_id].kind
        contributing.require_notice(kind, confirmed)
        settled = withdrawals.settled_cash(session, [account_id])[account_id]
        paying_out.refuse(session, account_id, cents, settled, worth)
        closing = cents is None
        promised = settled if cents is None else min(cents, settled)
        made = Withdrawal(
            id=withdrawal_id,
            account_id=account_id,
            bank_link_id=bank_link_id,
            cents=cents or 0,
            promised_cents=promised,
            closing=int(closing),
            state="requested" if closing or promised < (cents or 0) else "settling",
            requested_at=at_micros,
        )
        firm_id = FirmId(sleeve.firm_id)
        if closing:
            ordering.cancel_planned(
                session, keyring, firm_id, account_id, Reason.SELL_CLOSE_OUT, at_micros
            )
            accounts.set_state(session, account_id, "closing", at_micros)
            withdrawals.end_plans(session, account_id)
        withdrawals.add(session, made)
        if contributing.is_ira(kind):
            tax_profiles.distribute(session, made.id, account_id, confirmed, at_micros)
        moved = recipes.promise_withdrawal(account_id, promised, withdrawal_id)
        ledger.post(session, keyring.chain, moved, firm_id, at_micros)
        _emit(session, sleeve, made, "requested", at_micros)
    return made


def plan(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    slot: str,
) -> int:
    """Plan the sales that withdrawals need; return how many withdrawals got orders."""
    with db.read() as session:
        todo = withdrawals.in_states(session, "requested")
    blame = Blame[Withdrawal](db, clock, "plan-withdrawals", lambda one: one.account_id)
    return blame.each(
        todo, lambda one: _plan_one(db, keyring, broker, prices, clock, policy, one, slot)
    )


def _plan_one(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    withdrawal: Withdrawal,
    slot: str,
) -> int:
    now = clock.now()
    with db.read() as session:
        raw = chunks.read(session, [withdrawal.account_id], with_lots=True)
        settled = withdrawals.settled_cash(session, [withdrawal.account_id])
        waiting = withdrawals.waiting_proceeds(session, withdrawal.account_id)
        mine = [withdrawal.account_id]
        window, found = standings.of_accounts(session, keyring, policy, mine, business_date(now))
        if raw.open_orders or waiting:
            return 0  # what is on its way decides how much is still needed
        need = withdrawal.need_cents(settled[withdrawal.account_id])
        if need is not None and need <= 0:
            return 0  # `pay` promises it what has settled since
        cause = f"{withdrawal.id}/{slot}"
        limits = inquiring.limits(session, broker, now)
        made = need and raising.plan(
            session, keyring, prices, clock, policy, raw, need, cause, limits
        )
    if not made:
        seen = limits.on(board(prices, raw.security_ids(), now))
        taxed = window, found[withdrawal.account_id]
        made = estimating.sales(db, prices, now, policy, raw, seen, *taxed, cause, need)
    if not made.trades:
        # Nothing can be sold: say so once a day, not once a slot.
        made = replace(made, cause=f"{withdrawal.id}/{business_date(now).isoformat()}/kept")
    with db.write() as session:
        current = withdrawals.get(session, withdrawal.id)
        if current is None or current.state != "requested":
            return 0
        if not ordering.unwritten(session, [made]):
            return 0  # this slot has sold for it before, and brought too little
        ordering.write(session, keyring, [made], to_micros(now))
        if made.trades:
            withdrawals.save(session, replace(current, state="selling"))
        elif paying_out.is_all(current, made.skips, policy, to_micros(now)):
            short = replace(current, cents=current.promised_cents, state="settling")
            withdrawals.save(session, short)
    return int(bool(made.trades))


def pay(db: Database, keyring: Keyring, bank: Bank, clock: Clock, policy: Policy) -> int:
    """Promise what has settled, send what is complete, tell the bank; return how many it was told.

    The bank is told once, and again only where it has said nothing for `bank_retell_minutes`.
    """
    _sweep(db, clock, policy)
    with db.read() as session:
        todo = withdrawals.in_states(session, *_OPEN)
    blame = Blame[Withdrawal](db, clock, _JOB, lambda one: one.account_id)

    def advance(one: Withdrawal) -> None:
        with db.write() as session:
            _advance(session, keyring, policy, one.id, to_micros(clock.now()))

    blame.each(todo, advance)
    with db.read() as session:
        silent = clock.now() - timedelta(minutes=policy.bank_retell_minutes)
        sent = withdrawals.untold(session, to_micros(silent))
        tokens = {one.id: transfers.link(session, one.bank_link_id) for one in sent}

    took: list[str] = []

    def tell(one: Withdrawal) -> None:
        link = tokens[one.id]
        assert link is not None
        if _tell(db, keyring, bank, clock, policy, one, link.token):
            took.append(one.id)

    blame.each(sent, tell)
    if took:
        # Not before the bank has it: a crash up to here tells it once more, under the same id.
        with db.write() as session:
            withdrawals.note_told(session, took, to_micros(clock.now()))
    return len(sent)


def _tell(
    db: Database,
    keyring: Keyring,
    bank: Bank,
    clock: Clock,
    policy: Policy,
    one: Withdrawal,
    token: str,
) -> bool:
    """Tell the bank, idempotently by id; return whether it took the request."""
    try:
        bank.request(BankTransfer(one.id, TransferDirection.PUSH, token, one.promised_cents))
    except BrokerUnavailableError:
        return False  # the next run asks again, under the same id
    except (BrokerRejectedError, ConflictError, InvalidInputError, NotFoundError):
        with db.write() as session:
            current = withdrawals.get(session, one.id)
            if current is not None and current.state == "sent":
                _fail(session, keyring, policy, current, to_micros(clock.now()))
        return False
    return True


def _advance(
    session: Session, keyring: Keyring, policy: Policy, withdrawal_id: str, at_micros: int
) -> None:
    """Bring one withdrawal as far as settled cash allows."""
    one = withdrawals.get(session, withdrawal_id)
    if one is None or one.state not in _OPEN:
        return
    raw = chunks.read(session, [one.account_id])
    sleeve, balances = raw.sleeves[0], raw.balances[one.account_id]
    settled = withdrawals.settled_cash(session, [one.account_id])[one.account_id]
    more = settled if one.closing else min(one.cents - one.promised_cents, settled)
    if more:
        cause = paying_out.promise_cause(session, one, more)
        moved = recipes.promise_withdrawal(one.account_id, more, cause)
        ledger.post(session, keyring.chain, moved, FirmId(sleeve.firm_id), at_micros)
        one = replace(one, promised_cents=one.promised_cents + more)
    coming = bool(raw.open_orders) or withdrawals.waiting_proceeds(session, one.account_id) > 0
    done = one.promised_cents >= one.cents and not one.closing
    if one.closing:
        arriving = withdrawals.unsettled_deposits(session, one.account_id)
        coming = coming or arriving
        done = not coming and not balances.holdings_nanos
        part = paying_out.part_of(session, one, policy, at_micros)
        if part is not None and not done and not arriving:
            withdrawals.add(session, part)
            one = replace(one, promised_cents=0)
            _emit(session, sleeve, part, "sent", at_micros)
    if done:
        _finish(session, sleeve, one, at_micros)
    elif coming or one.state == "requested":
        state = one.state if raw.open_orders or one.state == "requested" else "settling"
        withdrawals.save(session, replace(one, state=state))
    elif balances.holdings_nanos:
        withdrawals.save(session, replace(one, state="requested"))  # sales brought too little
    else:
        # Nothing is left to sell: pay what there is rather than hold it back.
        _finish(session, sleeve, replace(one, cents=one.promised_cents), at_micros)


def _finish(session: Session, sleeve: accounts.Sleeve, one: Withdrawal, at_micros: int) -> None:
    one = replace(one, cents=max(one.cents, one.promised_cents))
    if one.promised_cents:
        withdrawals.save(session, replace(one, state="sent"))
        _emit(session, sleeve, one, "sent", at_micros)
        return
    withdrawals.save(session, replace(one, state="paid", paid_at=at_micros))
    if one.closing:
        accounts.set_state(session, one.account_id, "closed", at_micros)
    _emit(session, sleeve, one, "paid", at_micros)


def _sweep(db: Database, clock: Clock, policy: Policy) -> None:
    """Send after a closed account what came late, such as a dividend of shares sold since."""
    with db.read() as session:
        late = withdrawals.closed_with_cash(session)
        before = withdrawals.of_accounts(session, list(late))
    at_micros = to_micros(clock.now())

    def send(account_id: AccountId) -> None:
        mine = [w for w in before if w.account_id == account_id]
        if not mine or any(w.state in (*_OPEN, "sent") for w in mine):
            return
        if not paying_out.may_follow(mine, late[account_id], policy):
            return
        made = Withdrawal(
            id=child_id("wdr", account_id, "late", len(mine)),
            account_id=account_id,
            bank_link_id=mine[0].bank_link_id,
            cents=0,
            promised_cents=0,
            closing=1,
            state="settling",
            requested_at=at_micros,
        )
        with db.write() as session:
            if withdrawals.get(session, made.id) is None:
                withdrawals.add(session, made)

    Blame[AccountId](db, clock, _JOB, str).each(sorted(late), send)


def cancel(
    db: Database, keyring: Keyring, clock: Clock, account_id: AccountId, withdrawal_id: str
) -> Withdrawal:
    """Cancel a withdrawal that has not been sent; what was promised becomes free cash again.

    Orders that the broker knows of still fill; what they bring is invested again.

    Raises:
        NotFoundError: If the account has no such withdrawal.
        ConflictError: If it was sent, or closes the account.
    """
    at_micros = to_micros(clock.now())
    with db.write() as session:
        one = withdrawals.get(session, withdrawal_id)
        if one is None or one.account_id != account_id:
            message = "there is no such withdrawal"
            raise NotFoundError(message)
        if one.state == "canceled":
            return one
        if one.state not in _OPEN or one.closing:
            message = "the money is on its way, or the account is closing"
            raise ConflictError(message, code="withdrawal_sent")
        sleeve = accounts.sleeves(session, [account_id])[account_id]
        firm_id = FirmId(sleeve.firm_id)
        ordering.cancel_planned(
            session, keyring, firm_id, account_id, Reason.SELL_WITHDRAWAL, at_micros
        )
        moved = recipes.undo_withdrawal(account_id, one.promised_cents, one.id)
        ledger.post(session, keyring.chain, moved, firm_id, at_micros)
        one = replace(one, promised_cents=0, state="canceled")
        withdrawals.save(session, one)
        _emit(session, sleeve, one, "canceled", at_micros)
    return one


def _fail(
    session: Session, keyring: Keyring, policy: Policy, one: Withdrawal, at_micros: int
) -> None:
    """Give back what the bank would not take.

    A part of a closing is refused for its amount, or for what the bank knows of the link. Neither
    is a reason to stop selling: the money leaves with the next part or the rest, and the feed says
    it to a person. A closing that is refused whole waits, blocked, for another bank; one that is
    refused its last cents is over without them.
    """
    sleeve = accounts.sleeves(session, [one.account_id])[one.account_id]
    firm_id = FirmId(sleeve.firm_id)
    back = recipes.undo_withdrawal(one.account_id, one.promised_cents, one.id)
    ledger.post(session, keyring.chain, back, firm_id, at_micros)
    failed = replace(one, state="failed", promised_cents=0)
    withdrawals.save(session, failed)
    if paying_out.is_part(session, one):
        _emit(session, sleeve, one, "part_refused", at_micros)
    elif paying_out.is_little(session, one, sleeve.state, policy):
        paying_out.keep_little(session, keyring, sleeve.customer_id, one, at_micros)
        _emit(session, sleeve, one, "cents_kept", at_micros)
    elif one.closing:
        stopped = paying_out.stop_closing(session, keyring, firm_id, one.account_id, at_micros)
        for rest in stopped:
            _emit(session, sleeve, rest, "canceled", at_micros)
    _emit(session, sleeve, failed, "failed", at_micros)


def _emit(
    session: Session, sleeve: accounts.Sleeve, one: Withdrawal, what: str, at_micros: int
) -> None:
    """Write an event of a withdrawal."""
    amount = "null" if one.known_cents is None else f'"{format_cents(one.known_cents)}"'
    event = events.NewEvent(
        sleeve.firm_id,
        f"withdrawal.{what}",
        one.id,
        f'{{"amount":{amount},"promised":"{format_cents(one.promised_cents)}"}}',
        customer_id=sleeve.customer_id,
        account_id=sleeve.account_id,
    )
    events.emit(session, [event], at_micros)
