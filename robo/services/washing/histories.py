"""Which households' history has to be folded, and what the rest of it says without folding.

Where nobody of a household ever bought a name within 30 days of selling it at a loss, no loss was
ever disallowed: then what was paid is the basis, every loss of the last 30 days still waits for a
purchase, and every share bought in them is fresh. Only the other names are folded: few, because
what we trade keeps to the masks. Names that corporate actions touch near a loss, names of which an
execution was taken back, and names traded elsewhere are folded too. Property-tested equal to
folding everything.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.services.washing import remembering
from robo.services.washing.folding import People, kin, people, spread
from robo.store import lot_history, outside_trades
from robo.store.database import kept
from robo.store.lot_history import Bought, Closed
from robo.store.lots import LotEvent
from robo.tax.wash_events import AccountKind
from robo.tax.wash_sales import WINDOW, Books

IntArray = NDArray[np.int64]
_FEW: Final = 16
"""People whose rows are remembered together: one household's, not a night's."""
_QUESTIONS_MAX: Final = 500
_TRADES: Final = ("open", "close")


@dataclass(frozen=True, slots=True)
class History:
    """What happened to some people up to a day, as far as wash sales turn on it.

    Attributes:
        on: The last day.
        known: The people, those they ever shared a household with, and their accounts.
        owner: Our account -> its first owner.
        losses: Sales at a loss from taxable accounts, ever.
        fresh: Lots bought in the 30 days up to `on` of which something is left.
        folded: By person, the names that were folded: the same for people ever connected.
        books: By person: of the folded names only, one for each group of names tied together.
    """

    on: date
    known: People
    owner: dict[AccountId, str]
    losses: list[Closed]
    fresh: list[Bought]
    folded: dict[str, frozenset[int]]
    books: dict[str, tuple[Books, ...]]

    def is_folded(self, account_id: AccountId, security_id: int) -> bool:
        """Return whether a name's truth about an account is in the books."""
        return security_id in self.folded.get(self.owner[account_id], ())


def read(session: Session, customer_ids: Collection[str], on: date) -> History:
    """Return the history of some people up to a day; a few queries for thousands of them."""
    known = people(session, customer_ids)
    owner = {account: who for who, mine in known.accounts.items() for account in mine}
    rows = _rows(session, known, owner, on)
    doubtful = set(rows.doubtful)
    doubtful |= _acted(session, owner, rows.losses, rows.moved)
    doubtful |= {
        (owner[AccountId(trade.account_id)], trade.security_id)
        for trade in outside_trades.trades_of(session, known.elsewhere)
    }
    names = _names(session, known, doubtful)
    books = remembering.fold(session, known, names, on, customer_ids) if names else {}
    return History(on, known, owner, rows.losses, rows.fresh, names, books)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What follows from what happened to lots alone.

    Attributes:
        losses: As in a history.
        fresh: As in a history.
        moved: Lots that corporate actions made of shares bought in the 30 days.
        doubtful: (Person, name) to fold: bought near a loss, or an execution was taken back.
    """

    losses: list[Closed]
    fresh: list[Bought]
    moved: list[Bought]
    doubtful: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class _Lots:
    """All that happened to lots of some people, whatever the day that is asked for.

    Attributes:
        people: Their households and accounts.
        seen: By account, the number of the last row that this has seen.
        losses: Of taxable accounts, days rising.
        bought: Sold ones too.
        moved: Lots that corporate actions opened.
        taken_back: (Person, name) of which an execution was taken back.
        near: (Person, name) of which somebody bought near one of the losses.
    """

    people: object
    seen: dict[str, int]
    losses: list[Closed]
    bought: list[Bought]
    moved: list[Bought]
    taken_back: frozenset[tuple[str, int]]
    near: frozenset[tuple[str, int]]


@dataclass(slots=True)
class _Memory:
    """What a few people's lots said last."""

    lock: Lock = field(default_factory=Lock)
    found: OrderedDict[tuple[str, ...], _Lots] = field(default_factory=OrderedDict)

    def put(self, persons: tuple[str, ...], one: _Lots) -> None:
        with self.lock:
            self.found[persons] = one
            self.found.move_to_end(persons)
            while len(self.found) > _QUESTIONS_MAX:
                self.found.popitem(last=False)


def _rows(session: Session, known: People, owner: dict[AccountId, str], on: date) -> _Rows:
    """Return what the lots of some people say; asked again for few of them, it is remembered.

    A lot is the sum of its rows, which are never changed: while no row has come, nothing has.
    """
    persons = tuple(known.accounts)
    memory = kept(session, "wash_rows", _Memory) if len(persons) <= _FEW else None
    if memory is None:
        return _read(session, known, owner, on)
    people_now = (known.memberships, known.accounts)
    seen = lot_history.reached(session, known.ours)
    with memory.lock:
        before = memory.found.get(persons)
    one = None
    if before is not None and before.people == people_now:
        if before.seen == seen:
            return _up_to(known, owner, before, on)
        if any(number > seen.get(account, 0) for account, number in before.seen.items()):
            # An older snapshot than the one that is remembered: it cannot take trades back.
            return _up_to(known, owner, _whole(session, known, owner, seen), on)
        one = _onward(session, known, owner, before, seen)
    if one is None:
        one = _whole(session, known, owner, seen)
    memory.put(persons, one)
    return _up_to(known, owner, one, on)


def _whole(
    session: Session, known: People, owner: dict[AccountId, str], seen: dict[str, int]
) -> _Lots:
    losses = [one for one in _losses(session, known, owner) if one.nanos]
    bought = lot_history.bought(session, known.ours)
    return _Lots(
        (known.memberships, known.accounts),
        seen,
        losses,
        bought,
        lot_history.moved(session, known.ours, ""),
        _taken_back(session, known, owner),
        frozenset(_doubtful(known, owner, losses, bought)),
    )


def _onward(
    session: Session,
    known: People,
    owner: dict[AccountId, str],
    before: _Lots,
    seen: dict[str, int],
) -> _Lots | None:
    """Return what lots say after the trades that came; None if anything else came.

    For one account, as most people have: its lots stay in the order in which they were bought.
    """
    if len(known.ours) != 1 or seen.keys() != before.seen.keys():
        return None
    account = known.ours[0]
    news = lot_history.events_after(session, account, before.seen[account])
    if not all(row.cause.startswith("fil_") and row.kind in _TRADES for row in news):
        return None
    lots = {lot.lot_id: lot for lot in before.bought}
    moved = {lot.lot_id: lot for lot in before.moved}
    losses: list[Closed] = []
    fresh: list[Bought] = []
    for row in news:
        if row.kind == "open":
            if row.lot_id in lots:
                return None
            mine = Bought(account, row.security_id, row.lot_id, row.on_date, row.nanos_delta)
            fresh.append(mine)
            lots[row.lot_id] = mine
            continue
        place = lots if row.lot_id in lots else moved
        if row.lot_id not in place:
            return None
        lot = place[row.lot_id]
        place[row.lot_id] = replace(lot, nanos=lot.nanos + row.nanos_delta)
        if row.nanos_delta and row.proceeds_cents < -row.basis_delta_cents:
            losses.append(_closed(row, lot))
    if known.accounts[owner[account]][account] is not AccountKind.TAXABLE:
        losses = []
    bought = list(lots.values())
    sold = {one.security_id for one in losses}
    came = {one.security_id for one in fresh}
    beside = [one for one in bought if one.security_id in sold]
    earlier = [one for one in before.losses if one.security_id in came]
    near = _doubtful(known, owner, losses, beside) | _doubtful(known, owner, earlier, fresh)
    losses = [*before.losses, *losses]
    losses.sort(key=lambda one: (one.on_date, one.account_id, one.lot_id))
    return _Lots(
        before.people,
        seen,
        losses,
        bought,
        list(moved.values()),
        before.taken_back,
        before.near | near,
    )


def _closed(row: LotEvent, lot: Bought) -> Closed:
    """Return a sale as `lot_history.closed` reads it."""
    return Closed(
        row.account_id,
        row.security_id,
        row.lot_id,
        row.on_date,
        lot.acquired_on,
        -row.nanos_delta,
        -row.basis_delta_cents,
        row.proceeds_cents,
    )


def _up_to(known: People, owner: dict[AccountId, str], one: _Lots, on: date) -> _Rows:
    """Return what lots said on a day."""
    last, first = on.isoformat(), (on - WINDOW).isoformat()
    losses = [loss for loss in one.losses if loss.on_date <= last]
    is_all = len(losses) == len(one.losses)
    near = one.near if is_all else _doubtful(known, owner, losses, one.bought)
    fresh = [lot for lot in one.bought if lot.nanos and first <= lot.acquired_on <= last]
    moved = [lot for lot in one.moved if lot.acquired_on >= first]
    return _Rows(losses, fresh, moved, one.taken_back | near)


def _read(session: Session, known: People, owner: dict[AccountId, str], on: date) -> _Rows:
    last = on.isoformat()
    losses = [one for one in _losses(session, known, owner) if one.nanos and one.on_date <= last]
    first = (on - WINDOW).isoformat()
    sellers = {owner[one.account_id] for one in losses}
    circles = {one: known.ever_with(one) for one in sellers}
    near = {other for circle in circles.values() for other in circle}
    lots = lot_history.bought(session, [a for a in known.ours if owner[a] in near])
    recent = lot_history.bought(session, known.ours, first)
    doubtful = _doubtful(known, owner, losses, lots)
    doubtful |= _taken_back(session, known, owner)
    fresh = [one for one in recent if one.nanos and one.acquired_on <= last]
    moved = lot_history.moved(session, known.ours, first)
    return _Rows(losses, fresh, moved, frozenset(doubtful))


def _losses(session: Session, known: People, owner: dict[AccountId, str]) -> list[Closed]:
    taxable = [a for a in known.ours if known.accounts[owner[a]][a] is AccountKind.TAXABLE]
    return lot_history.closed(session, taxable, losses=True)


def _taken_back(
    session: Session, known: People, owner: dict[AccountId, str]
) -> frozenset[tuple[str, int]]:
    found = lot_history.taken_back(session, known.ours)
    return frozenset((owner[one], name) for one, name in found)


def _names(
    session: Session, known: People, doubtful: Iterable[tuple[str, int]]
) -> dict[str, frozenset[int]]:
    """Return by person the names to fold: everybody's of those they were ever connected with."""
    by_circle: dict[frozenset[str], set[int]] = {}
    for customer, name in doubtful:
        by_circle.setdefault(known.ever_with(customer), set()).add(name)
    near = kin(session) if by_circle else {}
    return {
        person: frozenset(spread(near, names))
        for circle, names in by_circle.items()
        for person in circle
    }


def _doubtful(
    known: People, owner: dict[AccountId, str], losses: list[Closed], lots: Iterable[Bought]
) -> set[tuple[str, int]]:
    """Return (person, name) where somebody bought within 30 days of a loss."""
    if not losses:
        return set()
    circles: dict[str, int] = {}
    numbers: dict[frozenset[str], int] = {}
    for customer in known.accounts:
        circle = known.ever_with(customer)
        circles[customer] = numbers.setdefault(circle, len(numbers))
    bought = [(circles[owner[one.account_id]], one.security_id, one.acquired_on) for one in lots]
    keys, days = _sorted(bought)
    sold = [(circles[owner[one.account_id]], one.security_id, one.on_date) for one in losses]
    loss_keys, loss_days = _keyed(sold)
    # A lot of the same key bought in [day - 30, day + 30] lies between these two places.
    low = _places(keys, days, loss_keys, loss_days - WINDOW.days, "left")
    high = _places(keys, days, loss_keys, loss_days + WINDOW.days, "right")
    return {
        (owner[losses[place].account_id], losses[place].security_id)
        for place in np.flatnonzero(high > low).tolist()
    }


def _keyed(rows: list[tuple[int, int, str]]) -> tuple[IntArray, IntArray]:
    circle = np.array([row[0] for row in rows], dtype=np.int64)
    name = np.array([row[1] for row in rows], dtype=np.int64)
    days = np.array([row[2] for row in rows], dtype="datetime64[D]").astype(np.int64)
    return (circle << 32) | name, days


def _sorted(rows: list[tuple[int, int, str]]) -> tuple[IntArray, IntArray]:
    keys, days = _keyed(rows)
    order = np.lexsort((days, keys))
    return keys[order], days[order]


def _places(keys: IntArray, days: IntArray, wanted: IntArray, day: IntArray, side: str) -> IntArray:
    """Return where (key, day) would stand among sorted pairs."""
    found = np.empty(wanted.size, dtype=np.int64)
    starts = np.searchsorted(keys, wanted, "left")
    ends = np.searchsorted(keys, wanted, "right")
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        mine = days[start:end]
        found[place] = start + int(
            np.searchsorted(mine, day[place], "left" if side == "left" else "right")
        )
    return found


def _acted(
    session: Session,
    owner: dict[AccountId, str],
    losses: list[Closed],
    received: Iterable[Bought],
) -> set[tuple[str, int]]:
    """Return (person, name) where a corporate action stands near a loss or a purchase."""
    found = {(owner[one.account_id], one.security_id) for one in received}
    if not losses:
        return found
    # Shares that a merger made of others replace as those would have, which bear another name.
    near = kin(session)
    ties = {name: spread(near, (name,)) for name in {one.security_id for one in losses}}
    dates: dict[int, list[date]] = {}
    for action in lot_history.actions_of(session, sorted(set().union(*ties.values()))):
        dates.setdefault(action.security_id, []).append(date.fromisoformat(action.ex_on))
    acted = {
        name: [ex_on for tied in all_tied for ex_on in dates.get(tied, ())]
        for name, all_tied in ties.items()
    }
    month = WINDOW + timedelta(days=1)
    for loss in losses:
        if not (near_to := acted[loss.security_id]):
            continue  # most names, and decades have thousands of losses
        sold_on = date.fromisoformat(loss.on_date)
        if any(abs(ex_on - sold_on) <= month for ex_on in near_to):
            found.add((owner[loss.account_id], loss.security_id))
    return found
