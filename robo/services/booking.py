"""The one booker: an execution of a block becomes fills, money, shares and lots, exactly once.

A block of ten thousand orders takes several short transactions. The split is a function of what was
open of each order *before* the execution, and executions of a block are booked strictly one after
another, so a crash between two transactions is repaired by computing the same split again and
leaving out the orders that have their fill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import BrokenInvariantError
from robo.core.ids import AccountId, FirmId, LotId, SecurityId, child_id
from robo.ledger import recipes
from robo.ledger.entries import Transfer
from robo.portfolio import blocks as splitting
from robo.services.turns import Turns
from robo.store import blocks, events, ledger, lots, orders
from robo.store.chains import Link
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.tax import lots as tax_lots


@dataclass(frozen=True, slots=True)
class _Share:
    order: orders.BlockOrder
    part: blocks.Part


def book(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    execution: blocks.BookedExecution,
    turns: Turns,
) -> None:
    """Book an accepted execution to the orders of its block; doing it twice changes nothing.

    `turns` is shared by the executions of a run, so that what it learnt of their cost is kept.
    """
    with db.read() as session:
        block = blocks.get(session, execution.block_id)
        assert block is not None
        members = orders.of_block(session, block.id)
        done = blocks.fills_of(session, execution.id)
    shares = [s for s in _split(execution, members, done) if s.order.id not in done]
    at_micros = to_micros(clock.now())

    def write(session: Session, part: Sequence[_Share]) -> None:
        _write(session, keyring, FirmId(block.firm_id), execution, part, at_micros)

    turns.each(shares, write)
    if turns.refused:
        message = "a fill would overdraw an account"
        raise BrokenInvariantError(message)
    with db.write() as session:
        blocks.finish(session, execution.id)


def _split(
    execution: blocks.BookedExecution,
    members: Sequence[orders.BlockOrder],
    done: dict[str, tuple[int, int]],
) -> list[_Share]:
    buying = execution.side == "buy"
    before = [
        order.open_units + done.get(order.id, (0, 0))[1 if buying else 0] for order in members
    ]
    keys = splitting.tie_keys(execution.id, [order.id for order in members])
    if buying:
        bought = splitting.split_buy(before, execution.cents, execution.nanos, keys)
        nanos, cents, fees = bought.nanos.tolist(), bought.cents.tolist(), [0] * len(members)
    else:
        sold = splitting.split_sell(
            before, execution.nanos, execution.cents, execution.fee_cents, keys
        )
        nanos, cents, fees = sold.nanos.tolist(), sold.gross_cents.tolist(), sold.fee_cents.tolist()
    return [
        _Share(order, blocks.Part(n, c, f))
        for order, n, c, f in zip(members, nanos, cents, fees, strict=True)
        if n or c
    ]


def _write(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    execution: blocks.BookedExecution,
    shares: Sequence[_Share],
    at_micros: int,
) -> None:
    transfers: list[Transfer] = []
    fills: list[Link] = []
    lot_events: list[lots.LotEvent] = []
    holds: dict[str, str] = {}
    proceeds: list[tuple[str, AccountId, int, str, str]] = []
    on = business_date(from_micros(execution.executed_at))
    selling = execution.side == "sell"
    sellers = sorted({share.order.account_id for share in shares}) if selling else []
    open_lots = lots.open_lots(session, sellers)
    for share in shares:
        order, part = share.order, share.part
        fill_id = child_id("fil", execution.id, order.id)
        fills.append(blocks.fill_link(order.account_id, fill_id, order.id, execution, part))
        security = SecurityId(order.security_id)
        if selling:
            net = part.cents - part.fee_cents
            transfers += recipes.sell(
                order.account_id, security, part.nanos, part.cents, part.fee_cents, fill_id
            )
            closed = _close(
                open_lots.get(order.account_id, []), order, part.nanos, net, fill_id, on
            )
            lot_events += closed
            if net > 0:
                proceed_id = child_id("pro", fill_id)
                proceeds.append((proceed_id, order.account_id, net, execution.settles_on, fill_id))
        else:
            transfers += recipes.buy(order.account_id, security, part.nanos, part.cents, fill_id)
            lot_events.append(_open(order, part, fill_id, on))
            holds[lot_events[-1].lot_id] = order.hold_until
    also = [*fills, *(event.link() for event in lot_events)]
    ledger.post(session, keyring.chain, transfers, firm_id, at_micros, also=also)
    lots.apply_events(session, lot_events, holds)
    lots.add_proceeds(session, proceeds)
    orders.advance(session, [_progress(s, selling=selling) for s in shares], at_micros)
    events.emit(session, [_event(s, firm_id) for s in shares], at_micros)


def _open(order: orders.BlockOrder, part: blocks.Part, fill_id: str, on: date) -> lots.LotEvent:
    return lots.LotEvent(
        id=child_id("lev", fill_id, "open"),
        lot_id=child_id("lot", fill_id),
        account_id=order.account_id,
        security_id=order.security_id,
        kind="open",
        nanos_delta=part.nanos,
        basis_delta_cents=part.cents,
        proceeds_cents=0,
        cause=fill_id,
        on_date=on.isoformat(),
    )


def _close(
    held: list[lots.OpenLot],
    order: orders.BlockOrder,
    nanos: int,
    net_cents: int,
    fill_id: str,
    on: date,
) -> list[lots.LotEvent]:
    """Close lots first in first out, those free to sell before those on hold; keep `held` true."""
    if nanos == 0:
        return []
    mine = [lot for lot in held if lot.security_id == order.security_id]
    today = on.isoformat()
    mine.sort(key=lambda lot: (lot.hold_until > today, lot.acquired_on, lot.id))
    pure = [
        tax_lots.Lot(
            LotId(lot.id),
            SecurityId(lot.security_id),
            date.fromisoformat(lot.acquired_on),
            lot.nanos,
            lot.basis_cents,
        )
        for lot in mine
    ]
    closings = tax_lots.close(pure, nanos, max(net_cents, 0))
    left = {closing.lot_id: closing for closing in closings}
    for place, lot in enumerate(held):
        if LotId(lot.id) in left:
            closing = left[LotId(lot.id)]
            held[place] = lots.OpenLot(
                lot.id,
                lot.account_id,
                lot.security_id,
                lot.acquired_on,
                lot.nanos - closing.nanos,
                lot.basis_cents - closing.basis_cents,
                lot.hold_until,
            )
    return [
        lots.LotEvent(
            id=child_id("lev", fill_id, closing.lot_id),
            lot_id=closing.lot_id,
            account_id=order.account_id,
            security_id=order.security_id,
            kind="close",
            nanos_delta=-closing.nanos,
            basis_delta_cents=-closing.basis_cents,
            proceeds_cents=closing.proceeds_cents,
            cause=fill_id,
            on_date=today,
        )
        for closing in closings
    ]


def _progress(share: _Share, *, selling: bool) -> orders.Progress:
    part = share.part
    released = 0 if selling else part.cents
    return orders.Progress(share.order.id, part.nanos, part.cents, part.fee_cents, released)


def _event(share: _Share, firm_id: FirmId) -> events.NewEvent:
    order, part = share.order, share.part
    payload = (
        f'{{"security_id":{order.security_id},"side":"{order.side}",'
        f'"nanos":"{part.nanos}","cents":"{part.cents}"}}'
    )
    return events.NewEvent(
        firm_id, "order.executed", order.id, payload, account_id=order.account_id
    )


def close_block(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    block: blocks.Block,
    turns: Turns,
    *,
    rejected: bool,
    code: str,
) -> None:
    """End a block that is final at the broker: free what its orders reserve, then close it."""
    with db.read() as session:
        members = [o for o in orders.of_block(session, block.id) if o.state == "sending"]
    at_micros = to_micros(clock.now())
    firm_id = FirmId(block.firm_id)

    def write(session: Session, part: Sequence[orders.BlockOrder]) -> None:
        transfers = [
            transfer
            for order in part
            for transfer in recipes.release(order.account_id, order.reserved_cents, order.id)
        ]
        ledger.post(session, keyring.chain, transfers, firm_id, at_micros)
        endings = [(order.id, _ending(order, rejected=rejected), code) for order in part]
        orders.end(session, endings, at_micros)
        events.emit(
            session,
            [
                events.NewEvent(
                    firm_id,
                    f"order.{state}",
                    order_id,
                    f'{{"code":"{code}"}}',
                    account_id=order.account_id,
                )
                for order, (order_id, state, _) in zip(part, endings, strict=True)
            ],
            at_micros,
        )

    turns.each(members, write)
    state = "rejected" if rejected else "canceled"
    if block.executed_nanos or block.executed_cents:
        complete = (
            block.executed_cents == block.notional_cents or block.executed_nanos == block.nanos
        )
        state = "filled" if complete else "partial"
    with db.write() as session:
        blocks.close(session, block.id, state, code, at_micros)


def _ending(order: orders.BlockOrder, *, rejected: bool) -> str:
    if order.filled_nanos or order.filled_cents:
        return "partial"
    return "rejected" if rejected else "canceled"
