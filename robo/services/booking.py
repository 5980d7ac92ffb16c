"""The one booker: executions of blocks become fills, money, shares and lots, exactly once.

A block of ten thousand orders takes several short transactions. The split of an execution is a
function of what was open of each order *before* it, and the executions of a block are split in the
order in which the broker told them. A crash between two transactions is repaired by computing the
same splits again and leaving out the orders that have their fill.

Executions that wait together are written account by account, not block by block: the ten fills of
an account touch the same pages of the database, which halves what is written to disk.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import BrokenInvariantError
from robo.core.ids import AccountId, FirmId, SecurityId, child_id
from robo.core.money import format_cents
from robo.core.shares import format_nanos
from robo.ledger import recipes
from robo.services import awaiting, diverting, emptying, owning
from robo.services.apportioning import ByAccount, Share, SplitExecution, missing_of
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import blocks, effects, events, inventory, ledger, lots, orders, tellings
from robo.store.chains import Link
from robo.store.database import Database
from robo.store.keyring import Keyring

_JOB: Final = "book-fills"
_SHARES_MAX: Final = 2_000_000
"""Shares of executions split together; bounds the memory of a night to about a gigabyte."""


def book(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    executions: Sequence[blocks.BookedExecution],
    turns: Turns,
) -> int:
    """Book accepted executions to the orders of their blocks; return how many are booked whole.

    Doing it twice changes nothing. Sales that must wait for a split are left out (`awaiting`), and
    so is an execution of which somebody's part failed.

    Args:
        db: Owns short transactions.
        keyring: Signs the chains.
        clock: When the books learn of it.
        executions: In the order in which the broker told them.
        turns: Shared by what a run writes, so that what it learnt of its cost is kept.

    Raises:
        BrokenInvariantError: If a fill would overdraw an account.
    """
    at_micros = to_micros(clock.now())

    def write(session: Session, part: Sequence[Sequence[Share]]) -> None:
        wanted = [share for shares in part for share in shares]
        # Another booker, started by hand or after a lost lease, may have come first.
        known = blocks.known_fills(session, [share.fill_id for share in wanted])
        late = [share.fill_id for share in wanted if diverting.is_late(share)]
        known |= inventory.known(session, late)
        fresh = [share for share in wanted if share.fill_id not in known]
        if fresh:
            _write(session, keyring, fresh, at_micros)

    blame = Blame[Sequence[Share]](db, clock, _JOB, lambda shares: shares[0].order.account_id)
    with db.read() as session:
        days = turns.policy.action_days_max
        held = awaiting.held(session, executions, business_date(clock.now()), days)
    count = 0
    for group in _groups(db, [one for one in executions if one.id not in held]):
        missing, stuck = _missing_shares(db, keyring, clock, group)
        left = turns.each(ByAccount(missing), write, blame)
        if turns.refused:
            message = "a fill would overdraw an account"
            raise BrokenInvariantError(message)
        # The split of a block's next execution needs all fills of this one: none may be finished.
        stuck |= {share.execution.block_id for shares in left for share in shares}
        with db.write() as session:
            booked = [e for e in group if e.block_id not in stuck]
            blocks.finish(session, [e.id for e in booked])
            tellings.restate(session, sorted({e.block_id for e in booked}))
        count += len(booked)
    return count


def _groups(
    db: Database, executions: Sequence[blocks.BookedExecution]
) -> Iterator[list[blocks.BookedExecution]]:
    """Yield executions of as many whole blocks as may be held in memory together."""
    by_block: dict[str, list[blocks.BookedExecution]] = {}
    for execution in executions:
        by_block.setdefault(execution.block_id, []).append(execution)
    with db.read() as session:
        sizes = tellings.order_counts(session, list(by_block))
    group: list[blocks.BookedExecution] = []
    count = 0
    for block_id, mine in by_block.items():
        if group and count + sizes[block_id] * len(mine) > _SHARES_MAX:
            yield group
            group, count = [], 0
        group += mine
        count += sizes[block_id] * len(mine)
    if group:
        yield group


def _missing_shares(
    db: Database, keyring: Keyring, clock: Clock, group: Sequence[blocks.BookedExecution]
) -> tuple[list[SplitExecution], set[str]]:
    """Return the shares that have no fill yet, in the broker's order, and blocks that cannot be."""
    by_block: dict[str, list[blocks.BookedExecution]] = {}
    for execution in group:
        by_block.setdefault(execution.block_id, []).append(execution)
    missing: list[SplitExecution] = []
    with db.read() as session:
        own = owning.concerned(session, list(by_block))

    def add(ids: Sequence[str]) -> None:
        for block_id in ids:
            if block_id in own:
                owning.settle(db, keyring, block_id, by_block[block_id], to_micros(clock.now()))
        missing.extend(missing_of(db, {block_id: by_block[block_id] for block_id in ids}))

    stuck = Blame[str](db, clock, _JOB, str).together(list(by_block), add)
    return missing, set(stuck)


def _write(session: Session, keyring: Keyring, told: Sequence[Share], at_micros: int) -> None:
    shares, taken = diverting.place(session, told, business_date(from_micros(at_micros)))
    transfers = [transfer for part in taken for transfer in owning.transfers_of(part)]
    fills: list[Link] = [part.link() for part in taken]
    lot_events: list[lots.LotEvent] = []
    holds: dict[str, str] = {}
    proceeds: list[tuple[str, AccountId, int, str, str]] = []
    open_lots = _open_lots(session, shares)
    sales = sorted({share.order.id for share in shares if share.execution.side == "sell"})
    named = effects.named_lots(session, sales)
    for share in shares:
        order, part, execution = share.order, share.part, share.execution
        on = business_date(from_micros(execution.executed_at))
        fill_id = share.fill_id
        fills.append(blocks.fill_link(order.account_id, fill_id, order.id, execution, part))
        security = SecurityId(order.security_id)
        if execution.side == "sell":
            # A fee above the proceeds is the firm's: a customer's books never go below zero.
            fee_cents = min(part.fee_cents, part.cents)
            net = part.cents - fee_cents
            transfers += recipes.sell(
                order.account_id, security, part.nanos, part.cents, fee_cents, fill_id
            )
            over = part.fee_cents - fee_cents
            transfers += recipes.absorb_fee(share.firm_id, over, fill_id)
            held = open_lots.get(order.account_id, {})
            first = named.get(order.id, [])
            lot_events += _close(held, first, order, part.nanos, net, fill_id, on)
            if net > 0:
                proceed_id = child_id("pro", fill_id)
                proceeds.append((proceed_id, order.account_id, net, execution.settles_on, fill_id))
        else:
            if diverting.is_late(share):  # what it had reserved was given back
                transfers += recipes.reserve(order.account_id, part.cents, fill_id)
            transfers += recipes.buy(order.account_id, security, part.nanos, part.cents, fill_id)
            lot_events.append(_open(order, part, fill_id, on))
            holds[lot_events[-1].lot_id] = order.hold_until
    also = [*fills, *(event.link() for event in lot_events)]
    # The firm would matter for transfers that name no account and no firm; there are none.
    ledger.post(session, keyring.chain, transfers, told[0].firm_id, at_micros, also=also)
    lots.apply_events(session, lot_events, holds)
    lots.add_proceeds(session, proceeds)
    orders.advance(session, [_progress(share) for share in shares], at_micros)
    orders.restate(session, [s.order.id for s in shares if diverting.is_late(s)])
    events.emit(session, [_event(share) for share in shares], at_micros)


def _open_lots(
    session: Session, shares: Sequence[Share]
) -> dict[AccountId, dict[int, list[lots.OpenLot]]]:
    """Return the open lots of who sells, by security."""
    sellers = sorted({one.order.account_id for one in shares if one.execution.side == "sell"})
    found: dict[AccountId, dict[int, list[lots.OpenLot]]] = {}
    for account_id, held in lots.open_lots(session, sellers).items():
        by_name = found.setdefault(account_id, {})
        for lot in held:
            by_name.setdefault(lot.security_id, []).append(lot)
    return found


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
    held: Mapping[int, list[lots.OpenLot]],
    first: list[tuple[str, int]],
    order: orders.BlockOrder,
    nanos: int,
    net_cents: int,
    fill_id: str,
    on: date,
) -> list[lots.LotEvent]:
    """Close the shares it means; keeps `held` and `first` true, see `emptying.close`."""
    closings = emptying.close(held.get(order.security_id, []), first, nanos, net_cents, on)
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
            on_date=on.isoformat(),
        )
        for closing in closings
    ]


def _progress(share: Share) -> orders.Progress:
    part = share.part
    reserved = share.execution.side == "buy" and not diverting.is_late(share)
    released = part.cents if reserved else 0
    return orders.Progress(share.order.id, part.nanos, part.cents, part.fee_cents, released)


def _event(share: Share) -> events.NewEvent:
    order, part = share.order, share.part
    payload = (
        f'{{"security_id":{order.security_id},"side":"{order.side}",'
        f'"shares":"{format_nanos(part.nanos)}","amount":"{format_cents(part.cents)}"}}'
    )
    return events.NewEvent(
        share.firm_id, "order.executed", order.id, payload, account_id=order.account_id
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
    told = json.dumps({"code": code}, separators=(",", ":"))

    def write(session: Session, listed: Sequence[orders.BlockOrder]) -> None:
        # As they are now: another booker may have ended some since they were listed.
        reserved = orders.still_sending(session, [order.id for order in listed])
        part = [order for order in listed if order.id in reserved]
        transfers = [
            transfer
            for order in part
            for transfer in recipes.release(order.account_id, reserved[order.id], order.id)
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
                    told,
                    account_id=order.account_id,
                )
                for order, (order_id, state, _) in zip(part, endings, strict=True)
            ],
            at_micros,
        )

    blame = Blame[orders.BlockOrder](db, clock, _JOB, lambda order: order.account_id)
    left = turns.each(members, write, blame)
    if turns.refused:
        message = "an order reserves more than its account has reserved"
        raise BrokenInvariantError(message)
    if left:
        return  # the block ends once the last of its orders has
    with db.write() as session:
        blocks.close(session, [(block.id, _end_state(block, rejected=rejected), code)], at_micros)


def close_complete(
    db: Database, clock: Clock, ended: Sequence[tuple[blocks.Block, str, bool]]
) -> list[blocks.Block]:
    """Close blocks none of whose orders can still trade, together; return the others.

    Args:
        db: Owns one reading and one writing transaction.
        clock: When.
        ended: Blocks that are final at the broker and fully booked; the broker's code, and whether
            it rejected them.
    """
    with db.read() as session:
        trading = tellings.with_open_orders(session, [block.id for block, _, _ in ended])
    done = [
        (block.id, _end_state(block, rejected=rejected), code)
        for block, code, rejected in ended
        if block.id not in trading
    ]
    if done:
        with db.write() as session:
            blocks.close(session, done, to_micros(clock.now()))
    return [block for block, _, _ in ended if block.id in trading]


def _end_state(block: blocks.Block, *, rejected: bool) -> str:
    if not (block.executed_nanos or block.executed_cents):
        return "rejected" if rejected else "canceled"
    equal = block.executed_cents == block.notional_cents or block.executed_nanos == block.nanos
    return "filled" if equal or block.exceeded else "partial"


def _ending(order: orders.BlockOrder, *, rejected: bool) -> str:
    if order.filled_nanos or order.filled_cents:
        return "partial"
    return "rejected" if rejected else "canceled"
