"""What is booked for one account, and what was imported of another firm's, as tax events."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Final

from robo.core.ids import AccountId, LotId, SecurityId, child_id
from robo.core.money import PPM, round_ratio
from robo.ports.prices import ActionKind
from robo.store.lot_history import Action
from robo.store.lots import LotEvent
from robo.store.outside_trades import OutsideTrade
from robo.tax import lots as tax_lots
from robo.tax.wash_events import Event, Move, Purchase, Rescale, Sale, Succession

Dated = tuple[date, Event]
_ACTION: Final = "act_"
_UNDONE: Final = "und_"
"""What takes an execution back that did not happen after all."""


@dataclass(slots=True)
class _Parent:
    lot_id: LotId
    security_id: int
    basis_cents: int
    leaving: bool


@dataclass(slots=True)
class Stream:
    """The events of one of our accounts, as far as its rows were fed; goes on where it stopped."""

    account_id: AccountId
    _days: dict[int, date] = field(default_factory=dict)
    """By name, the last day on which anything happened to its lots."""
    _names: dict[str, int] = field(default_factory=dict)
    _nanos: dict[str, int] = field(default_factory=dict)
    _parents: dict[str, _Parent] = field(default_factory=dict)

    def copy(self) -> "Stream":
        """Return a stream that can go on without changing this one."""
        return Stream(
            self.account_id,
            dict(self._days),
            dict(self._names),
            dict(self._nanos),
            dict(self._parents),
        )

    def feed(
        self,
        rows: Iterable[LotEvent],
        elsewhere: Mapping[str, str] | None = None,
        actions: Sequence[Action] = (),
    ) -> list[Dated]:
        """Return the events of the next rows, days rising.

        Args:
            rows: As they were booked, without executions that were taken back.
            elsewhere: Lot -> when its shares were bought at another firm.
            actions: Of all names; splits since then are told of what was bought there.
        """
        made: list[Dated] = []
        nanos, parents = self._nanos, self._parents
        for row in rows:
            day = self._day(date.fromisoformat(row.on_date), row.security_id)
            self._names[row.lot_id] = row.security_id
            nanos[row.lot_id] = nanos.get(row.lot_id, 0) + row.nanos_delta
            lot, security = LotId(row.lot_id), SecurityId(row.security_id)
            match row.kind:
                case "open" if row.cause.startswith(_ACTION):
                    parent = parents.pop(row.lot_id, None) or self._silent_parent(row)
                    day = self._day(day, row.security_id, parent.security_id)
                    leaving, basis = parent.leaving, row.basis_delta_cents
                    move = Move(parent.lot_id, lot, security, row.nanos_delta, basis, leaving)
                    made.append((day, move))
                case "open" if elsewhere and row.lot_id in elsewhere:
                    since = date.fromisoformat(elsewhere[row.lot_id])
                    made += _brought(self.account_id, row, since, actions)
                case "open":
                    share, cents = row.nanos_delta, row.basis_delta_cents
                    made.append((day, Purchase(self.account_id, security, lot, share, cents)))
                case "close":
                    basis = -row.basis_delta_cents
                    sold = Sale(row.cause, lot, -row.nanos_delta, basis, row.proceeds_cents)
                    made.append((day, sold))
                case "split":
                    made.append((day, Rescale(lot, nanos[row.lot_id])))
                case _:
                    heir = child_id("lot", row.cause, row.lot_id)
                    leaving = row.kind == "merge"
                    parents[heir] = _Parent(lot, row.security_id, -row.basis_delta_cents, leaving)
        made.sort(key=lambda one: one[0])  # stable: a day keeps the books' order
        return made

    def _day(self, on: date, *security_ids: int) -> date:
        """Return when something counts that happened to names on a day: no earlier than before."""
        day = max(on, *(self._days.get(one, on) for one in security_ids))
        self._days |= dict.fromkeys(security_ids, day)
        return day

    def _silent_parent(self, row: LotEvent) -> _Parent:
        """Return the lot from which shares were spun off without any of its basis: it says nothing.

        Raises:
            ValueError: If there is none.
        """
        for lot_id in self._nanos:
            if child_id("lot", row.cause, lot_id) == row.lot_id:
                return _Parent(LotId(lot_id), self._names[lot_id], 0, leaving=False)
        message = f"lot {row.lot_id} came from no lot of its account"
        raise ValueError(message)


def booked(
    account_id: AccountId,
    rows: Iterable[LotEvent],
    elsewhere: Mapping[str, str] | None = None,
    actions: Sequence[Action] = (),
) -> list[Dated]:
    """Return the events of one of our accounts, days rising.

    A trade counts on its day, however late it is booked, unless something has happened to its name
    since: then on the day of that, because the lots had changed. Shares that came from another firm
    count from the day on which they were bought there.

    Args:
        account_id: Whose.
        rows: In the order in which they were booked.
        elsewhere: Lot -> when its shares were bought at another firm.
        actions: Of all names; splits since then are told of what was bought there.
    """
    return Stream(account_id).feed(happened(rows), elsewhere, actions)


def _brought(
    account_id: AccountId, row: LotEvent, since: date, actions: Sequence[Action]
) -> list[Dated]:
    """Return a lot that arrived as it was bought elsewhere, and the splits it has been through."""
    lot, security = LotId(row.lot_id), SecurityId(row.security_id)
    ratios: list[tuple[date, int, int]] = []
    for action in actions:
        ex_on = date.fromisoformat(action.ex_on)
        named = action.kind == ActionKind.SPLIT and action.security_id == row.security_id
        if named and since < ex_on and action.ex_on <= row.on_date:
            detail = json.loads(action.detail)
            ratios.append((ex_on, int(detail["ratio_num"]), int(detail["ratio_den"])))
    counts = [row.nanos_delta]
    for _, num, den in reversed(ratios):
        counts.append(max(1, counts[-1] * den // num))
    bought = Purchase(account_id, security, lot, counts.pop(), row.basis_delta_cents)
    made: list[Dated] = [(since, bought)]
    for ex_on, _, _ in ratios:
        made.append((ex_on, Rescale(lot, counts.pop())))
    return made


def takes_back(rows: Iterable[LotEvent]) -> bool:
    """Return whether any of some rows takes an execution back."""
    return any(row.cause.startswith(_UNDONE) for row in rows)


def happened(rows: Iterable[LotEvent]) -> list[LotEvent]:
    """Return what happened without executions that were taken back, and what took them back.

    A purchase taken back closes its lot without a gain; a sale taken back is closed by what it
    was, with the signs turned.
    """
    kept: list[LotEvent] = []
    for row in rows:
        if not row.cause.startswith(_UNDONE):
            kept.append(row)
            continue
        for place in reversed(range(len(kept))):
            if _takes_back(row, kept[place]):
                del kept[place]
                break
        else:
            message = f"lot event {row.id} takes back nothing that happened"
            raise ValueError(message)
    return kept


def _takes_back(row: LotEvent, other: LotEvent) -> bool:
    same = row.lot_id == other.lot_id
    if row.nanos_delta < 0 or (row.nanos_delta == 0 and other.kind == "open"):
        return same and other.kind == "open"
    turned = (-other.nanos_delta, -other.basis_delta_cents, -other.proceeds_cents)
    amounts = (row.nanos_delta, row.basis_delta_cents, row.proceeds_cents)
    return same and other.kind == "close" and turned == amounts


def successions(actions: Iterable[Action]) -> list[Dated]:
    """Return splits and stock mergers, told once a household, in the order of their ex-dates."""
    made: list[Dated] = []
    for action in actions:
        detail = json.loads(action.detail)
        ratio = int(detail["ratio_num"]), int(detail["ratio_den"])
        old = SecurityId(action.security_id)
        if action.kind == ActionKind.SPLIT:
            made.append((date.fromisoformat(action.ex_on), Succession(old, old, *ratio)))
        elif action.kind == ActionKind.STOCK_MERGER and detail["new_security_id"] is not None:
            heir = SecurityId(int(detail["new_security_id"]))
            made.append((date.fromisoformat(action.ex_on), Succession(old, heir, *ratio)))
    return made


def outside(trades: Sequence[OutsideTrade], actions: Sequence[Action]) -> list[Dated]:
    """Return the events of one outside account, days rising; sales take the oldest lots first.

    We follow splits and mergers there as if its firm had done what ours did. An account that sells
    more than it was said to hold sells what it holds: what was imported may be incomplete.

    Args:
        trades: In the order in which they happened.
        actions: Of all names traded, in the order of ex-dates.
    """
    shelf: dict[str, tax_lots.Lot] = {}
    made: list[Dated] = []
    waiting = list(actions)
    for day, todays in groupby(trades, key=lambda trade: trade.on_date):
        while waiting and waiting[0].ex_on <= day:
            made += _acted(waiting.pop(0), shelf)
        for trade in todays:
            made += _traded(trade, shelf)
    for action in waiting:
        made += _acted(action, shelf)
    return made


def _traded(trade: OutsideTrade, shelf: dict[str, tax_lots.Lot]) -> list[Dated]:
    on, security = date.fromisoformat(trade.on_date), SecurityId(trade.security_id)
    if trade.kind != "sell":
        new = LotId(trade.id)
        shelf[trade.id] = tax_lots.Lot(new, security, on, trade.nanos, trade.cents)
        account = AccountId(trade.account_id)
        return [(on, Purchase(account, security, new, trade.nanos, trade.cents))]
    wanted = trade.acquired_on
    held = [
        lot
        for lot in tax_lots.fifo(shelf.values())
        if lot.security_id == security and (wanted is None or lot.acquired_on.isoformat() == wanted)
    ]
    nanos = min(trade.nanos, sum(lot.nanos for lot in held))
    if nanos == 0:
        return []
    cents = round_ratio(trade.cents * nanos, trade.nanos)
    made: list[Dated] = []
    for closing in tax_lots.close(held, nanos, cents):
        lot = shelf.pop(closing.lot_id)
        left = lot.nanos - closing.nanos
        if left or lot.basis_cents - closing.basis_cents:
            shelf[lot.id] = tax_lots.Lot(
                lot.id, security, lot.acquired_on, left, lot.basis_cents - closing.basis_cents
            )
        sold = closing.nanos, closing.basis_cents, closing.proceeds_cents
        made.append((on, Sale(trade.id, lot.id, *sold)))
    return made


def _acted(action: Action, shelf: dict[str, tax_lots.Lot]) -> list[Dated]:
    """Let a corporate action happen to what is held of its name."""
    on, detail = date.fromisoformat(action.ex_on), json.loads(action.detail)
    held = [lot for lot in shelf.values() if lot.security_id == action.security_id]
    num, den = int(detail["ratio_num"]), int(detail["ratio_den"])
    made: list[Dated] = []
    for lot in held:
        fresh = lot.nanos * num // den
        match action.kind:
            case ActionKind.SPLIT if lot.nanos:
                shelf[lot.id] = tax_lots.Lot(
                    lot.id, lot.security_id, lot.acquired_on, fresh, lot.basis_cents
                )
                made.append((on, Rescale(lot.id, fresh)))
            case ActionKind.CASH_MERGER | ActionKind.DELISTING:
                del shelf[lot.id]
                cents = lot.nanos * int(detail["cash_micros"]) // 10**13
                sale = Sale(f"{action.id}/{lot.id}", lot.id, lot.nanos, lot.basis_cents, cents)
                made.append((on, sale))
            case ActionKind.STOCK_MERGER | ActionKind.SPIN_OFF:
                if detail["new_security_id"] is not None:
                    made.append((on, _moved(action, detail, lot, fresh, shelf)))
    return made


def _moved(
    action: Action,
    detail: Mapping[str, object],
    lot: tax_lots.Lot,
    fresh: int,
    shelf: dict[str, tax_lots.Lot],
) -> Move:
    heir = SecurityId(int(str(detail["new_security_id"])))
    new = LotId(child_id("lot", action.id, lot.id))
    leaving = action.kind == ActionKind.STOCK_MERGER
    part = PPM if leaving else int(str(detail["basis_ppm"]))
    basis = round_ratio(lot.basis_cents * part, PPM)
    del shelf[lot.id]
    if not leaving:
        shelf[lot.id] = tax_lots.Lot(
            lot.id, lot.security_id, lot.acquired_on, lot.nanos, lot.basis_cents - basis
        )
    shelf[new] = tax_lots.Lot(new, heir, lot.acquired_on, fresh, basis)
    return Move(lot.id, new, heir, fresh, basis, leaving)
