"""Executions that did not happen after all: their fills are undone, each once.

The customer's shares and cash go back the way they came. Where that cannot be, because what was
bought has been sold or is being sold, or what was brought has been spent, the firm takes the part
on its own book: the customer keeps what was told to be done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import FirmId, SecurityId, child_id
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer
from robo.services import booking, owning
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import blocks, events, inventory, ledger, lots, tellings, undone, windows
from robo.store.chains import Link
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.undone import Filled

_JOB: Final = "book-fills"


@dataclass(slots=True)
class _Back:
    """Everything that undoing some fills writes."""

    transfers: list[Transfer] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    lot_events: list[lots.LotEvent] = field(default_factory=list)
    spent_proceeds: list[str] = field(default_factory=list)
    regress: list[undone.Regress] = field(default_factory=list)
    told: list[events.NewEvent] = field(default_factory=list)


def undo(
    db: Database, keyring: Keyring, clock: Clock, turns: Turns, until_micros: int | None = None
) -> int:
    """Undo what the broker took back, oldest first; return how many busts were dealt with.

    A trade that was told after a bust may only fit once the bust is undone. So each bust first has
    what was told up to the execution that it takes back booked, and later trades wait. With an
    instant given, busts wait whose executions must not be booked yet (`awaiting.day_to_come`).
    """
    count = 0
    stuck: set[str] = set()
    while True:
        with db.read() as session:
            waiting = [one for one in inventory.open_busts(session) if one.id not in stuck]
            if not waiting:
                return count
            place = tellings.positions(session, [one.execution_id for one in waiting])
            bust = min(waiting, key=lambda one: place[one.execution_id])
            original = tellings.executions(session, [bust.execution_id])[bust.execution_id]
            unbooked = [e for e in blocks.unbooked(session) if e.block_id == original.block_id]
            places = tellings.positions(session, [one.id for one in unbooked])
        first = [one for one in unbooked if places[one.id] <= place[original.id]]
        if until_micros is not None and any(one.executed_at >= until_micros for one in first):
            stuck.add(bust.id)
            continue
        booking.book(db, keyring, clock, first, turns)
        if _undo_one(db, keyring, clock, turns, bust, original):
            count += 1
        else:
            stuck.add(bust.id)


def _undo_one(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    turns: Turns,
    bust: inventory.Bust,
    original: blocks.BookedExecution,
) -> int:
    with db.read() as session:
        if tellings.is_unbooked(session, original.id):
            return 0  # somebody's part of it could not be booked; a person is told of that
        block = blocks.get(session, original.block_id)
        assert block is not None
        fills = undone.fills_of(session, original)
    firm_id = FirmId(block.firm_id)
    at_micros = to_micros(clock.now())
    today = business_date(clock.now()).isoformat()

    def write(session: Session, part: Sequence[Filled]) -> None:
        gone = undone.known(session, [one.id for one in part])
        gone |= inventory.known(session, [child_id("inv", bust.id, one.id) for one in part])
        back = _Back()
        for one in part:
            if one.id not in gone and child_id("inv", bust.id, one.id) not in gone:
                _back(session, back, firm_id, bust, original, one, today)
        also = [*back.links, *(event.link() for event in back.lot_events)]
        ledger.post(session, keyring.chain, back.transfers, firm_id, at_micros, also=also)
        lots.apply_events(session, back.lot_events)
        undone.spend_proceeds(session, back.spent_proceeds)
        undone.regress(session, back.regress, at_micros)
        events.emit(session, back.told, at_micros)

    blame = Blame[Filled](db, clock, _JOB, lambda one: one.account_id)
    # One at a time within an account: what the first takes back, the second cannot.
    left = turns.each(fills, write, blame)
    if left:
        return 0
    with db.write() as session:
        own = undone.firms_part(session, original.id)
        _firm_back(session, keyring, firm_id, bust, own, at_micros)
        inventory.end_undoing(session, [bust.id])
        tellings.restate(session, [original.block_id])
    return 1


def _back(
    session: Session,
    back: _Back,
    firm_id: FirmId,
    bust: inventory.Bust,
    original: blocks.BookedExecution,
    fill: Filled,
    today: str,
) -> None:
    """Add what undoing one fill writes."""
    undone_id = child_id("und", fill.id, bust.id)
    fits = _sale if original.side == "sell" else _purchase
    if not fits(session, back, original, fill, undone_id, today):
        _firm_takes(back, firm_id, bust, original, fill)
        return
    back.links.append(undone.link(undone_id, fill, bust.id))
    back.regress.append(undone.Regress(fill.order_id, fill.nanos, fill.cents, fill.fee_cents))
    back.told.append(
        events.NewEvent(firm_id, "order.busted", fill.order_id, account_id=fill.account_id)
    )


def _purchase(
    session: Session,
    back: _Back,
    original: blocks.BookedExecution,
    fill: Filled,
    undone_id: str,
    today: str,
) -> bool:
    """Give a purchase back: its own lot closes without a gain.

    False if the lot has changed, or if a sale that is under way needs the shares: it may have
    filled at the broker already.
    """
    lot_id = child_id("lot", fill.id)
    if undone.lot(session, lot_id) != (fill.nanos, fill.cents):
        return False
    asset = chart.shares(SecurityId(original.security_id))
    account, market = fill.account_id, chart.STREET_MARKET
    held = ledger.balance(session, chart.holdings(account), asset)
    selling = windows.open_sells(session).get((account, original.security_id), 0)
    if held - fill.nanos < selling:
        return False
    # What the order could still spend is promised to it again; else it is free to be planned.
    target = chart.reserved(account) if fill.sending else chart.cash(account)
    back.transfers += [
        *recipes.move("bust", chart.holdings(account), market, asset, fill.nanos, undone_id),
        *recipes.move("bust", market, target, chart.USD, fill.cents, undone_id),
    ]
    back.lot_events.append(
        lots.LotEvent(
            id=child_id("lev", undone_id, lot_id),
            lot_id=lot_id,
            account_id=account,
            security_id=original.security_id,
            kind="close",
            nanos_delta=-fill.nanos,
            basis_delta_cents=-fill.cents,
            proceeds_cents=fill.cents,
            cause=undone_id,
            on_date=today,
        )
    )
    return True


def _sale(
    session: Session,
    back: _Back,
    original: blocks.BookedExecution,
    fill: Filled,
    undone_id: str,
    _today: str,
) -> bool:
    """Take a sale back: its lots are as they were. False if its proceeds have been settled."""
    fee = min(fill.fee_cents, fill.cents)
    proceed_id = child_id("pro", fill.id)
    if not undone.is_waiting(session, proceed_id, fill.cents - fee):
        return False
    asset = chart.shares(SecurityId(original.security_id))
    account, market = fill.account_id, chart.STREET_MARKET
    waiting, fees = chart.unsettled(account), chart.STREET_FEES
    back.transfers += [
        *recipes.move("bust", fees, waiting, chart.USD, fee, undone_id),
        *recipes.move("bust", waiting, market, chart.USD, fill.cents, undone_id),
        *recipes.move("bust", market, chart.holdings(account), asset, fill.nanos, undone_id),
        *recipes.move(
            "bust", fees, chart.rounding(fill.firm_id), chart.USD, fill.fee_cents - fee, undone_id
        ),
    ]
    back.spent_proceeds.append(proceed_id)
    back.lot_events += [
        lots.LotEvent(
            id=child_id("lev", undone_id, closed.lot_id),
            lot_id=closed.lot_id,
            account_id=account,
            security_id=closed.security_id,
            kind="close",
            nanos_delta=-closed.nanos_delta,
            basis_delta_cents=-closed.basis_delta_cents,
            proceeds_cents=-closed.proceeds_cents,
            cause=undone_id,
            on_date=closed.on_date,
        )
        for closed in undone.closings(session, fill)
    ]
    return True


def _firm_takes(
    back: _Back,
    firm_id: FirmId,
    bust: inventory.Bust,
    original: blocks.BookedExecution,
    fill: Filled,
) -> None:
    """The customer keeps what was done; the firm owes the street what was taken back."""
    part = inventory.Taken(
        id=child_id("inv", bust.id, fill.id),
        firm_id=firm_id,
        execution_id=bust.id,
        order_id=fill.order_id,
        security_id=original.security_id,
        side="sell" if original.side == "buy" else "buy",
        nanos=fill.nanos,
        cents=fill.cents,
        fee_cents=fill.fee_cents,
        why="bust",
    )
    back.links.append(part.link())
    back.transfers += owning.transfers_of(part)


def _firm_back(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    bust: inventory.Bust,
    own: Sequence[inventory.Taken],
    at_micros: int,
) -> None:
    """Undo what the firm itself had of the execution."""
    parts = [
        inventory.Taken(
            id=child_id("inv", bust.id, one.id),
            firm_id=firm_id,
            execution_id=bust.id,
            order_id=one.order_id,
            security_id=one.security_id,
            side="sell" if one.side == "buy" else "buy",
            nanos=one.nanos,
            cents=one.cents,
            fee_cents=one.fee_cents,
            why="bust",
        )
        for one in own
    ]
    known = inventory.known(session, [part.id for part in parts])
    fresh = [part for part in parts if part.id not in known]
    transfers = [transfer for part in fresh for transfer in owning.transfers_of(part)]
    ledger.post(
        session, keyring.chain, transfers, firm_id, at_micros, also=[p.link() for p in fresh]
    )
