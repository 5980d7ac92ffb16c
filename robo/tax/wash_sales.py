"""Wash sales of a household, day by day: a fold over purchases, sales and corporate actions.

The law counts days, so do we. On a day:

1. Lots change in the order in which things happened. Shares bought replace shares sold at a loss
   in the 30 days before, the earliest sale first, whatever becomes of them later.
2. When the day ends, its losses look for shares bought in the last 30 days, today included, that
   the household still holds: the shares sold are not their own replacement, but what is left of
   their lot may be. Losses go in the order in which their shares were bought; the earliest
   purchase replaces first, in stream order within a day. A share replaces once.
3. What is not replaced waits 30 days for purchases.

A lot is a row of shares: replacements take the first that are spare, sales take the first. What a
replacement takes on belongs to its lot, in whichever account of the household that sits: the
disallowed loss is added to its basis and the days that the sold shares were held to its holding
period. In an IRA both are gone.

Rounding: of a loss of E cents on N nanoshares, the first k carry E * k / N cents, half away from
zero, and any later run of them the difference of two such numbers. So nothing is lost or made,
every cent is within one of its exact share, and it does not matter how shares are taken.

A broker reports what lies within one of its accounts. So beside what a replacement takes on stands
the part that its broker knows of: of the loss that the broker saw, in the same account.

Splits scale what waits and what is held; a merger's successor counts as the same name, whose
shares replace as the old ones would have; a spun-off share is not bought and replaces nothing.

Source: 26 U.S.C. 1091, 1223(3); 26 CFR 1.1091-1(b)-(e), 1.1091-2; Rev. Rul. 2008-5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import groupby
from typing import Final, Self

from robo.core.ids import AccountId, SecurityId
from robo.core.money import round_ratio
from robo.tax.gains import tacked
from robo.tax.wash_events import (
    AccountKind,
    Disposal,
    Event,
    Fresh,
    Match,
    Move,
    Position,
    Purchase,
    Rescale,
    Sale,
    Succession,
)
from robo.tax.wash_lots import (
    Claim,
    Lot,
    Piece,
    Shelf,
    known_of,
    part_of,
    ratio_of,
    require,
    rescale,
    settle,
    spread,
    take,
)

WINDOW: Final = timedelta(days=30)
"""Days before and after a loss sale. Source: 26 U.S.C. 1091(a)."""


class Books:
    """The household's lots, sales and wash sales at the end of the last day applied.

    The same days in the same order give the same books, however many calls they come in. Keep a
    copy as of yesterday and apply today to a copy of it: a day comes whole.
    """

    def __init__(self, kinds: Mapping[AccountId, AccountKind]) -> None:
        """Begin with nothing held.

        Args:
            kinds: Every account of the household, outside ones too.
        """
        self.kinds = dict(kinds)
        self.day = date.min
        self.disposals: list[Disposal] = []
        self.matches: list[Match] = []
        self.shelf = Shelf()
        self.waiting: dict[SecurityId, list[Claim]] = {}
        self.places = 0

    def copy(self) -> Self:
        """Return books that can go on without changing these."""
        made = type(self)(self.kinds)
        made.day, made.places = self.day, self.places
        made.disposals, made.matches = list(self.disposals), list(self.matches)
        made.shelf = self.shelf.copy()
        made.waiting = {
            name: [replace(claim) for claim in claims] for name, claims in self.waiting.items()
        }
        return made

    def apply(self, on: date, events: Sequence[Event]) -> None:
        """Let a whole day happen.

        Args:
            on: After the last day applied.
            events: In the order in which they happened, of all accounts. The books are of no use
                after an error: apply to a copy.

        Raises:
            ValueError: If the day is not later, or an event does not fit what is held.
        """
        require(on > self.day, f"{on} is not after {self.day}")
        self.day = on
        claims: list[Claim] = []
        for event in events:
            match event:
                case Purchase():
                    self._buy(event)
                case Sale():
                    claims += self._sell(event)
                case Rescale():
                    rescale(self.shelf.get(event.lot_id), event.nanos)
                case Move():
                    self._move(event)
                case Succession():
                    self._succeed(event, claims)
        for claim in sorted(claims, key=lambda one: one.order):
            self._look_back(claim)
            if claim.left:
                self._wait(claim)

    def positions(self) -> list[Position]:
        """Return what is held, in the order of purchase; empty lots with a basis left included."""
        found = []
        for lot in sorted(self.shelf, key=lambda one: (one.bought_on, one.place, one.id)):
            basis = spread(lot.basis_cents, [piece.nanos for piece in lot.pieces])
            found += [
                Position(
                    lot.account_id,
                    lot.security_id,
                    lot.id,
                    piece.nanos,
                    lot.bought_on,
                    piece.held_from,
                    cents,
                    piece.added(piece.nanos),
                    piece.spare,
                    piece.added(piece.nanos) - piece.known(piece.nanos),
                )
                for piece, cents in zip(lot.pieces, basis, strict=True)
            ]
        return found

    def bans(self, on: date) -> dict[SecurityId, date]:
        """Return the names whose purchase on a day would be a wash sale, and until when.

        The day named is the first on which the name may be bought again. It holds for every
        account of the household, and says nothing about who sold.
        """
        return {
            name: last + WINDOW + timedelta(days=1)
            for name, claims in sorted(self.waiting.items())
            if claims and (last := max(claim.sold_on for claim in claims)) + WINDOW >= on
        }

    def fresh(self, on: date) -> list[Fresh]:
        """Return shares that would replace others sold at a loss on a day, earliest first."""
        found = []
        for lot in self.shelf:
            spare = sum(piece.nanos for piece in lot.pieces if piece.spare)
            if spare and on - WINDOW <= lot.bought_on <= on:
                ira = self.kinds[lot.account_id] is AccountKind.IRA
                one = Fresh(lot.account_id, lot.security_id, lot.id, spare, lot.bought_on, ira)
                found.append((lot.bought_on, lot.place, one))
        return [one for _, _, one in sorted(found, key=lambda key: key[:2])]

    def _buy(self, event: Purchase) -> None:
        require(min(event.nanos, event.basis_cents) >= 0, f"purchase {event.lot_id} is negative")
        require(event.account_id in self.kinds, f"{event.account_id} is not the household's")
        self.places += 1
        lot = Lot(
            event.lot_id,
            event.account_id,
            event.security_id,
            self.day,
            self.places,
            event.nanos,
            event.basis_cents,
            [Piece(event.nanos, self.day, spare=True)],
        )
        self.shelf.put(lot)
        waiting = self.waiting.get(event.security_id)
        if not waiting:
            return
        for claim in waiting:
            if claim.sold_on + WINDOW >= self.day:
                self._replace(claim, lot, bought_first=False)
        left = [c for c in waiting if c.left and c.sold_on + WINDOW >= self.day]
        self.waiting[event.security_id] = left

    def _sell(self, event: Sale) -> list[Claim]:
        lot = self.shelf.get(event.lot_id)
        fine = 0 <= event.nanos <= lot.nanos and 0 <= event.basis_cents <= lot.basis_cents
        require(fine and event.proceeds_cents >= 0, f"lot {lot.id} does not hold what is sold")
        require(event.nanos > 0 or lot.nanos == 0, f"nothing of lot {lot.id} is sold")
        taken = take(lot, event.nanos)
        parts = [piece.nanos for piece, *_ in taken]
        basis, proceeds = spread(event.basis_cents, parts), spread(event.proceeds_cents, parts)
        lot.nanos -= event.nanos
        lot.basis_cents -= event.basis_cents
        if not lot.pieces:
            require(lot.basis_cents == 0, f"lot {lot.id} leaves a basis behind")
            self.shelf.drop(lot)
        if self.kinds[lot.account_id] is AccountKind.IRA:
            return []
        claims = []
        for spot, (piece, added, known) in enumerate(taken):
            made = Disposal(
                event.id,
                lot.account_id,
                lot.security_id,
                lot.id,
                piece.nanos,
                lot.bought_on,
                piece.held_from,
                self.day,
                proceeds[spot],
                basis[spot],
                added,
                added - known,
            )
            loss = -made.gain_cents
            if loss > 0 and piece.nanos:
                order = self.day, lot.bought_on, lot.place, len(self.disposals)
                seen = max(0, loss - made.added_elsewhere_cents)
                claims.append(Claim(order, lot.security_id, piece.nanos, loss, piece.nanos, seen))
            self.disposals.append(made)
        return claims

    def _wait(self, claim: Claim) -> None:
        others = self.waiting.get(claim.security_id, [])
        young = [one for one in others if one.sold_on + WINDOW >= self.day]
        self.waiting[claim.security_id] = [*young, claim]

    def _look_back(self, claim: Claim) -> None:
        for lot in self.shelf.bought_since(claim.security_id, self.day - WINDOW):
            self._replace(claim, lot, bought_first=True)
            if not claim.left:
                return

    def _replace(self, claim: Claim, lot: Lot, *, bought_first: bool) -> None:
        """Match what a claim has left with the spare shares of a lot."""
        sold = self.disposals[claim.disposal]
        elsewhere = (lot.account_id, lot.security_id) != (sold.account_id, sold.security_id)
        lost = self.kinds[lot.account_id] is AccountKind.IRA
        pieces: list[Piece] = []
        for piece in lot.pieces:
            nanos = min(piece.nanos, claim.left) if piece.spare else 0
            if nanos == 0:
                pieces.append(piece)
                continue
            cents = part_of(claim.cents, claim.gone, nanos, claim.run)
            spot = claim.gone, nanos, claim.run
            known = 0 if elsewhere else known_of(claim.broker_cents, claim.cents, spot)
            used = Piece(nanos, piece.held_from, spare=False)
            if not lost:
                used.held_from = tacked(lot.bought_on, sold.held_from, sold.sold_on)
                used.cents, used.run, used.gone = claim.cents, claim.run, claim.gone
                used.broker_cents = 0 if elsewhere else claim.broker_cents
            pieces.append(used)
            claim.left -= nanos
            claim.gone += nanos
            piece.nanos -= nanos
            if piece.nanos:
                pieces.append(piece)
            deferred, gone_for_good = (0, cents) if lost else (cents, 0)
            sold = self.disposals[claim.disposal] = replace(
                sold,
                deferred_cents=sold.deferred_cents + deferred,
                elsewhere_cents=sold.elsewhere_cents + deferred - known,
                lost_cents=sold.lost_cents + gone_for_good,
            )
            row = claim.disposal, sold.sale_id, lot.id, lot.account_id, self.day, nanos, cents
            self.matches.append(Match(*row, bought_first=bought_first, lost=lost))
        lot.pieces = pieces

    def _move(self, event: Move) -> None:
        old = self.shelf.get(event.lot_id)
        require(0 <= event.basis_cents <= old.basis_cents, f"lot {old.id} lacks the basis moved")
        fresh = spread(event.nanos, [piece.nanos for piece in old.pieces])
        pieces = []
        for piece, nanos in zip(old.pieces, fresh, strict=True):
            added, known = piece.added(piece.nanos), piece.known(piece.nanos)
            moved = added if event.leaving else ratio_of(added, event.basis_cents, old.basis_cents)
            with_it = ratio_of(known, moved, added)
            spare = piece.spare and event.leaving
            pieces.append(Piece(nanos, piece.held_from, spare, moved, nanos, 0, with_it))
            settle(piece, piece.nanos, added - moved, known - with_it)
        new = replace(
            old,
            id=event.new_lot_id,
            security_id=event.security_id,
            nanos=event.nanos,
            basis_cents=event.basis_cents,
            pieces=pieces,
        )
        old.basis_cents -= event.basis_cents
        if event.leaving:
            require(old.basis_cents == 0, f"lot {old.id} leaves a basis behind")
            self.shelf.drop(old)
        self.shelf.put(new)

    def _succeed(self, event: Succession, todays: Sequence[Claim]) -> None:
        require(min(event.ratio_num, event.ratio_den) > 0, "ratio must be positive")
        old = self.waiting.pop(event.security_id, [])
        for claim in (*old, *todays):
            if claim.security_id == event.security_id:
                claim.security_id = event.successor_id
                spot = claim.gone, claim.left, claim.run
                claim.broker_cents = known_of(claim.broker_cents, claim.cents, spot)
                claim.cents = part_of(claim.cents, *spot)
                # Sold at a loss, a share can be replaced, however small a split makes it.
                claim.left = max(1, round_ratio(claim.left * event.ratio_num, event.ratio_den))
                claim.run, claim.gone = claim.left, 0
        joined = self.waiting.get(event.successor_id, []) + old
        if joined:
            joined.sort(key=lambda one: one.order)
            self.waiting[event.successor_id] = joined


def fold(kinds: Mapping[AccountId, AccountKind], dated: Iterable[tuple[date, Event]]) -> Books:
    """Return the books of a household after everything that happened, in the order of time.

    Raises:
        ValueError: If the days do not rise, or an event does not fit what is held.
    """
    books = Books(kinds)
    for on, events in groupby(dated, key=lambda one: one[0]):
        books.apply(on, [event for _, event in events])
    return books
