"""A wash-sale checker that counts single shares, and random lives of a household to check.

It shares no code with the books: every nanoshare is an object that carries its own cents, lists are
scanned from one end to the other, days are numbers, and rounding is integer division written out.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from robo.core.ids import AccountId, LotId, SecurityId
from robo.tax.lots import Lot, close
from robo.tax.wash_events import (
    AccountKind,
    Event,
    Move,
    Purchase,
    Rescale,
    Sale,
    Succession,
)

KINDS = {
    AccountId("me"): AccountKind.TAXABLE,
    AccountId("spouse"): AccountKind.TAXABLE,
    AccountId("ira"): AccountKind.IRA,
}
IRA = "ira"


def after(cents: int, k: int, n: int) -> int:
    """Cents on the first k of n shares, half up; cents are never negative here."""
    return (2 * cents * k + n) // (2 * n)


def dealt(cents: int, n: int) -> list[int]:
    return [after(cents, k + 1, n) - after(cents, k, n) for k in range(n)]


def seen(told: int, cents: list[int]) -> list[int]:
    """What a broker knows of the cents on each share, of `told` on all: by the cents before it."""
    whole, before, made = sum(cents), 0, []
    for one in cents:
        first, last = (after(told, c, whole) if whole else 0 for c in (before, before + one))
        made.append(last - first)
        before += one
    return made


def hamilton(total: int, weights: list[int]) -> list[int]:
    whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1)
    got = [total * w // whole for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in order[: total - sum(got)]:
        got[i] += 1
    return got


@dataclass(slots=True, eq=False)
class Unit:
    """One nanoshare; a ghost (size 0) is what a reverse split left of a group: only cents."""

    lot: str
    tag: Any
    held: int
    cents: int = 0
    size: int = 1
    used: bool = False
    known: int = 0
    """Of the cents, what the account's broker put there too."""


@dataclass(slots=True, eq=False)
class Bought:
    account: str
    name: int
    day: int
    seq: int
    basis: int
    units: list[Unit] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class SoldUnit:
    row: int
    day: int
    turn: tuple[int, ...]
    name: int
    cents: int
    known: int
    replaced: bool = False


class UnitShares:
    """The same household, one share at a time."""

    def __init__(self) -> None:
        self.lots: dict[str, Bought] = {}
        self.rows: list[dict[str, Any]] = []
        self.sold: list[SoldUnit] = []
        self.where: list[tuple[str, int]] = []
        """Account and name of each row, as when it was sold."""
        self.seq = 0

    def day(self, on: date, events: list[Event]) -> None:
        today = on.toordinal()
        losers: list[tuple[int, ...]] = []
        for event in events:
            if isinstance(event, Purchase):
                self.seq += 1
                units = [Unit(event.lot_id, "new", today) for _ in range(event.nanos)]
                self.lots[event.lot_id] = Bought(
                    event.account_id,
                    event.security_id,
                    today,
                    self.seq,
                    event.basis_cents,
                    units,
                )
                waiting = [
                    u
                    for u in self.sold
                    if u.name == event.security_id
                    and not u.replaced
                    and today - 30 <= u.day < today
                ]
                self.marry(sorted(waiting, key=lambda u: u.turn), units)
            elif isinstance(event, Sale):
                losers += self.sell(event, today)
            elif isinstance(event, Rescale):
                self.lots[event.lot_id].units = self.regroup(
                    self.lots[event.lot_id].units, event.nanos
                )
            elif isinstance(event, Move):
                self.move(event)
            elif isinstance(event, Succession):
                self.succeed(event)
        for *_, row in sorted(losers):
            waiting = [u for u in self.sold if u.row == row and not u.replaced]
            held = sorted(
                (lot for lot in self.lots.values() if waiting and lot.name == waiting[0].name),
                key=lambda lot: (lot.day, lot.seq),
            )
            units = [u for lot in held if today - 30 <= lot.day <= today for u in lot.units]
            self.marry(waiting, units)

    def marry(self, waiting: list[SoldUnit], units: list[Unit]) -> None:
        free = [u for u in units if not u.used and u.size]
        for gone, unit in zip(waiting, free, strict=False):
            row, lot = self.rows[gone.row], self.lots[unit.lot]
            gone.replaced = unit.used = True
            unit.tag = gone.row
            if lot.account == IRA:
                row["lost"] += gone.cents
            else:
                row["deferred"] += gone.cents
                unit.cents = gone.cents
                unit.known = gone.known if self.where[gone.row] == (lot.account, lot.name) else 0
                row["elsewhere"] += unit.cents - unit.known
                unit.held = lot.day - (gone.day - row["held"])

    def sell(self, event: Sale, today: int) -> list[tuple[int, ...]]:
        lot = self.lots[event.lot_id]
        taken: list[Unit] = []
        while lot.units and (lot.units[0].size == 0 or sum(u.size for u in taken) < event.nanos):
            taken.append(lot.units.pop(0))
        lot.basis -= event.basis_cents
        if not lot.units:
            del self.lots[event.lot_id]
        if lot.account == IRA:
            return []
        groups = [taken[a:b] for a, b in runs(taken)]
        sizes = [sum(u.size for u in group) for group in groups]
        basis, money = hamilton(event.basis_cents, sizes), hamilton(event.proceeds_cents, sizes)
        losers = []
        for group, size, paid, got in zip(groups, sizes, basis, money, strict=True):
            added = sum(u.cents for u in group)
            strange = added - sum(u.known for u in group)
            number = len(self.rows)
            self.where.append((lot.account, lot.name))
            self.rows.append(
                {
                    "sale": event.id,
                    "lot": event.lot_id,
                    "nanos": size,
                    "held": group[0].held,
                    "proceeds": got,
                    "basis": paid,
                    "added": added,
                    "deferred": 0,
                    "lost": 0,
                    "added_elsewhere": strange,
                    "elsewhere": 0,
                }
            )
            if got < paid + added and size:
                turn = (today, lot.day, lot.seq, number)
                losers.append(turn)
                loss = dealt(paid + added - got, size)
                told = seen(max(0, paid + added - strange - got), loss)
                self.sold += [
                    SoldUnit(number, today, turn, lot.name, cents, known)
                    for cents, known in zip(loss, told, strict=True)
                ]
        return losers

    def regroup(self, units: list[Unit], total: int) -> list[Unit]:
        """Give each group its part of a new total, and deal what it carries out again."""
        groups = [units[a:b] for a, b in runs(units)]
        sizes = hamilton(total, [sum(u.size for u in group) for group in groups])
        made = []
        for group, size in zip(groups, sizes, strict=True):
            carried = sum(u.cents for u in group), sum(u.known for u in group)
            made += regrown(group, size, *carried)
        return made

    def move(self, event: Move) -> None:
        old = self.lots[event.lot_id]
        groups = [old.units[a:b] for a, b in runs(old.units)]
        sizes = hamilton(event.nanos, [sum(u.size for u in group) for group in groups])
        fresh: list[Unit] = []
        stay: list[Unit] = []
        for group, size in zip(groups, sizes, strict=True):
            whole, told = sum(u.cents for u in group), sum(u.known for u in group)
            goes = whole
            if not event.leaving:
                goes = after(whole, event.basis_cents, old.basis) if old.basis else 0
            tells = after(told, goes, whole) if whole else 0
            moved = regrown(group, size, goes, tells)
            for unit in moved:
                unit.lot = event.new_lot_id
                unit.used = unit.used or not event.leaving
            fresh += moved
            stay += regrown(group, sum(u.size for u in group), whole - goes, told - tells)
        old.basis -= event.basis_cents
        old.units = stay
        if event.leaving:
            del self.lots[event.lot_id]
        self.lots[event.new_lot_id] = Bought(
            old.account, event.security_id, old.day, old.seq, event.basis_cents, fresh
        )

    def succeed(self, event: Succession) -> None:
        rest: list[SoldUnit] = []
        for row in sorted({u.row for u in self.sold}):
            mine = [u for u in self.sold if u.row == row]
            left = [u for u in mine if not u.replaced and u.name == event.security_id]
            rest += [u for u in mine if u not in left]
            if left:
                n, den = len(left) * event.ratio_num, event.ratio_den
                size = max(1, (2 * n + den) // (2 * den))
                loss = dealt(sum(u.cents for u in left), size)
                told = seen(sum(u.known for u in left), loss)
                rest += [
                    SoldUnit(row, left[0].day, left[0].turn, event.successor_id, cents, known)
                    for cents, known in zip(loss, told, strict=True)
                ]
        self.sold = rest

    def disposals(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows]

    def positions(self) -> list[tuple[Any, ...]]:
        found = []
        for name in sorted(self.lots):
            lot = self.lots[name]
            groups = [lot.units[a:b] for a, b in runs(lot.units)]
            sizes = [sum(u.size for u in group) for group in groups]
            for group, size, paid in zip(groups, sizes, hamilton(lot.basis, sizes), strict=True):
                added = sum(u.cents for u in group)
                strange = added - sum(u.known for u in group)
                first = group[0]
                row = name, lot.name, size, first.held, paid, added, not first.used, strange
                found.append(row)
        return found


def runs(units: list[Unit]) -> Iterator[tuple[int, int]]:
    start = 0
    for i in range(1, len(units) + 1):
        if i == len(units) or units[i].tag != units[start].tag or units[i].size == 0:
            yield start, i
            start = i


def regrown(group: list[Unit], size: int, cents: int, known: int) -> list[Unit]:
    like = group[0]
    if size == 0:
        return [Unit(like.lot, like.tag, like.held, cents, 0, like.used, known)]
    each = dealt(cents, size)
    return [
        Unit(like.lot, like.tag, like.held, c, 1, like.used, k)
        for c, k in zip(each, seen(known, each), strict=True)
    ]


class Life:
    """Draws what happens to a household; knows its lots as the books of a broker do."""

    def __init__(self, seed: int, *, hostile: bool = False) -> None:
        """Begin a life; a hostile one splits after trades and merges names that both live."""
        self.hostile = hostile
        self.dice = random.Random(seed)
        self.on = date(2024, 1, 1).toordinal() + self.dice.randrange(400)
        self.held: dict[str, list[Any]] = {}  # lot -> [account, name, nanos, basis]
        self.names = [1, 2] if self.dice.random() < 0.3 else [1]
        if hostile:
            self.names = [1, 2, 3]
        self.count = 0

    def next_id(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def days(self, most: int) -> Iterator[tuple[date, list[Event]]]:
        dice = self.dice
        for _ in range(dice.randint(2, most)):
            self.on += dice.choice((1, 1, 2, 5, 9, 14, 15, 29, 30, 31))
            events: list[Event] = []
            if dice.random() < 0.18:
                self.act(events)
            for _ in range(dice.choice((1, 1, 2, 3))):
                if self.held and dice.random() < 0.5:
                    self.sell(events)
                else:
                    self.buy(events)
            if self.hostile and dice.random() < 0.3:
                self.act(events)
            if events:
                yield date.fromordinal(self.on), events

    def buy(self, events: list[Event]) -> None:
        account = self.dice.choice(("me", "me", "me", "spouse", "ira"))
        name, lot = self.dice.choice(self.names), self.next_id("l")
        nanos, cents = self.dice.randint(1, 7), self.dice.randint(0, 900)
        self.held[lot] = [account, name, nanos, cents]
        events.append(
            Purchase(AccountId(account), SecurityId(name), LotId(lot), nanos, cents),
        )

    def sell(self, events: list[Event]) -> None:
        """Sell from one or two lots of an account and name, basis as the books give it up."""
        account, name, *_ = self.held[self.dice.choice(list(self.held))]
        mine = [lot for lot, row in self.held.items() if row[:2] == [account, name]]
        picked = self.dice.sample(mine, min(len(mine), self.dice.choice((1, 1, 2))))
        pure = [
            Lot(LotId(lot), SecurityId(name), date.min, self.held[lot][2], self.held[lot][3])
            for lot in picked
        ]
        there = sum(lot.nanos for lot in pure)
        if not there:
            return
        wanted = there if self.dice.random() < 0.4 else self.dice.randint(1, there)
        cause = self.next_id("s")
        for part in close(pure, wanted, self.dice.randint(0, 120) * wanted):
            row = self.held[part.lot_id]
            row[2] -= part.nanos
            row[3] -= part.basis_cents
            if row[2:] == [0, 0]:
                del self.held[part.lot_id]
            if part.nanos or part.basis_cents or row[2] == 0:
                events.append(
                    Sale(cause, part.lot_id, part.nanos, part.basis_cents, part.proceeds_cents)
                )

    def act(self, events: list[Event]) -> None:
        name = self.dice.choice(self.names)
        num, den = self.dice.choice(((2, 1), (3, 2), (1, 2), (1, 3), (1, 20), (1, 1)))
        kind = self.dice.choice(("split", "split", "merger", "spin"))
        new = name if kind == "split" else max(self.names) + 1
        others = [one for one in self.names if one != name]
        if self.hostile and kind != "split" and others:
            new = others[0]
        for lot in [lot for lot, row in self.held.items() if row[1] == name]:
            account, _, nanos, basis = self.held[lot]
            many = nanos * num // den
            if kind == "split":
                events.append(Rescale(LotId(lot), many))
                self.held[lot][2] = many
                continue
            cents = basis if kind == "merger" else basis * self.dice.randint(0, 3) // 3
            fresh = self.next_id("l")
            events.append(
                Move(LotId(lot), LotId(fresh), SecurityId(new), many, cents, kind == "merger")
            )
            self.held[fresh] = [account, new, many, cents]
            self.held[lot][3] -= cents
            if kind == "merger":
                del self.held[lot]
        if kind == "merger":
            self.names.remove(name)
        if new not in self.names:
            self.names.append(new)
        if kind != "spin":
            events.append(Succession(SecurityId(name), SecurityId(new), num, den))
