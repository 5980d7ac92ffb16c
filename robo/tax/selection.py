"""Which lots a sale takes: named by hand, oldest first, dearest first, or at the least tax.

Every choice is a list of picks whose nanoshares sum exactly to the sale; `book` turns it into
closings with the cents of `lots.close`. Gains are compared exactly, as fractions of the proceeds
before rounding, so a choice does not depend on how cents fall.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Final

from robo.core.ids import LotId
from robo.core.money import PPM, split_cents
from robo.tax.gains import Net, is_long
from robo.tax.lots import Closing, Lot, close, fifo
from robo.tax.rates import Rates

_CENT_PPM: Final = Fraction(1, PPM)


class LotMethod(StrEnum):
    """How a customer wants the lots of a sale chosen."""

    LOWEST_TAX = "lowest_tax"
    FIFO = "fifo"
    HIFO = "hifo"


@dataclass(frozen=True, slots=True)
class Pick:
    """So much of one lot."""

    lot_id: LotId
    nanos: int


@dataclass(frozen=True, slots=True)
class YearSoFar:
    """Where a sale finds the year, when its gains net with what was realised before.

    Attributes:
        realised: Net gains so far, losses carried in included.
        limit_cents: Net loss that other income bears this year.
        carry_ppm: What a dollar of tax saved in a later year is worth now.
    """

    realised: Net
    limit_cents: int
    carry_ppm: int = 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A lot, its exact gain a nanoshare in cents, and whether it would be long-term."""

    lot: Lot
    gain: Fraction
    long: bool


Plan = tuple[int, ...]
"""Nanoshares of each candidate."""


def specific(lots: Sequence[Lot], picks: Sequence[Pick]) -> list[Pick]:
    """Return the picks as they were named, after checking that the lots hold them.

    Raises:
        ValueError: If a lot is unknown or named twice, or holds less than is picked.
    """
    held = {lot.id: lot.nanos for lot in lots}
    named = [pick.lot_id for pick in picks]
    if len(set(named)) != len(named) or not all(
        lot_id in held and 0 < pick.nanos <= held[lot_id]
        for lot_id, pick in zip(named, picks, strict=True)
    ):
        message = "picks must name lots once each, and no more than they hold"
        raise ValueError(message)
    return list(picks)


def first_in(lots: Sequence[Lot], nanos: int) -> list[Pick]:
    """Return the oldest shares."""
    return _in_order(fifo(lots), nanos)


def highest_basis(lots: Sequence[Lot], nanos: int) -> list[Pick]:
    """Return the shares with the highest basis a share; ties go to the older lot, then by id."""
    ordered = sorted(
        (lot for lot in lots if lot.nanos),
        key=lambda lot: (-Fraction(lot.basis_cents, lot.nanos), lot.acquired_on, lot.id),
    )
    return _in_order(ordered, nanos)


def lowest_tax(
    lots: Sequence[Lot],
    nanos: int,
    proceeds_cents: int,
    on: date,
    rates: Rates,
    *,
    year: YearSoFar | None = None,
    deferred: Collection[LotId] = frozenset(),
) -> list[Pick]:
    """Return the shares whose sale costs the least tax; among equals the oldest.

    Without a year each dollar is taxed at the rate of its holding period, and the answer is exact.
    With a year the sale's gains net with it (see `year_tax`); the answer is then within one
    nanoshare a lot of the exact one, which may need fractions of nanoshares. It takes as long
    as there are pairs of a short and a long lot: for tens of lots, not hundreds.

    Args:
        lots: Of one security; those of which nothing may be sold left out.
        nanos: Nanoshares to sell, positive.
        proceeds_cents: Net proceeds of all of them.
        on: The day of the sale.
        rates: On the next dollar; the short rate is not below the long one.
        year: For netting with the year so far.
        deferred: Lots whose loss would be a wash sale: it counts as no loss.

    Raises:
        ValueError: If the lots hold less than is sold, or the short rate is below the long one.
    """
    found = _candidates(lots, nanos, proceeds_cents, on, deferred)
    if rates.short_ppm < rates.long_ppm:
        message = "rates: the short rate must not be below the long one"
        raise ValueError(message)
    if year is None:
        short, long = Fraction(rates.short_ppm), Fraction(rates.long_ppm)
        best = _greedy(found, nanos, short, long)
    else:
        best = _least_netted(found, nanos, rates, year)
    return [Pick(one.lot.id, part) for one, part in zip(found, best, strict=True) if part]


def year_tax(short: Fraction, long: Fraction, rates: Rates, year: YearSoFar) -> Fraction:
    """Return a year's tax in cents on net gains, exactly; negative where losses save tax.

    Where one kind is a loss and both together are not, what is left is taxed at the other's
    rate. A net loss saves the ordinary rate up to the limit, and beyond it the long rate times
    `carry_ppm`, never more than the ordinary rate.
    """
    net = short + long
    if net >= 0:
        if short >= 0 and long >= 0:
            return (short * rates.short_ppm + long * rates.long_ppm) * _CENT_PPM
        return net * (rates.short_ppm if short > 0 else rates.long_ppm) * _CENT_PPM
    within = min(-net, Fraction(year.limit_cents))
    later = min(Fraction(rates.long_ppm * year.carry_ppm, PPM), Fraction(rates.ordinary_ppm))
    return -(within * rates.ordinary_ppm + (-net - within) * later) * _CENT_PPM


def gains_of(
    lots: Sequence[Lot],
    picks: Sequence[Pick],
    proceeds_cents: int,
    on: date,
    deferred: Collection[LotId] = frozenset(),
) -> tuple[Fraction, Fraction]:
    """Return the exact short and long gain, in cents, of selling these picks together."""
    nanos = sum(pick.nanos for pick in picks)
    found = {one.lot.id: one for one in _candidates(lots, nanos, proceeds_cents, on, deferred)}
    sums = [Fraction(0), Fraction(0)]
    for pick in picks:
        one = found[pick.lot_id]
        sums[one.long] += one.gain * pick.nanos
    return sums[0], sums[1]


def book(lots: Sequence[Lot], picks: Sequence[Pick], proceeds_cents: int) -> list[Closing]:
    """Return what a sale of these picks closes; proceeds and basis are conserved to the cent.

    Raises:
        ValueError: If the picks do not fit the lots, or there is none.
    """
    held: Mapping[LotId, Lot] = {lot.id: lot for lot in lots}
    chosen = specific(lots, picks)
    if not chosen:
        message = "a sale needs at least one pick"
        raise ValueError(message)
    cents = split_cents(proceeds_cents, [pick.nanos for pick in chosen])
    return [
        replace(close([held[pick.lot_id]], pick.nanos, 0)[0], proceeds_cents=part)
        for pick, part in zip(chosen, cents, strict=True)
    ]


def _in_order(ordered: Sequence[Lot], nanos: int) -> list[Pick]:
    picks: list[Pick] = []
    left = nanos
    for lot in ordered:
        part = min(lot.nanos, left)
        if part:
            picks.append(Pick(lot.id, part))
        left -= part
    if left or nanos <= 0:
        message = "the lots hold less than is sold"
        raise ValueError(message)
    return picks


def _candidates(
    lots: Sequence[Lot],
    nanos: int,
    proceeds_cents: int,
    on: date,
    deferred: Collection[LotId],
) -> list[_Candidate]:
    if nanos <= 0 or sum(lot.nanos for lot in lots) < nanos:
        message = "the lots hold less than is sold"
        raise ValueError(message)
    price = Fraction(proceeds_cents, nanos)
    found = []
    for lot in fifo(lots):
        if lot.nanos:
            gain = price - Fraction(lot.basis_cents, lot.nanos)
            gain = max(gain, Fraction(0)) if lot.id in deferred else gain
            found.append(_Candidate(lot, gain, is_long(lot.acquired_on, on)))
    return found


def _greedy(found: Sequence[_Candidate], nanos: int, short: Fraction, long: Fraction) -> Plan:
    """Return the plan with the least weighted gain: cheapest nanoshare first, then the oldest."""
    costs = [one.gain * (long if one.long else short) for one in found]
    plan = [0] * len(found)
    for spot in sorted(range(len(found)), key=lambda i: (costs[i], i)):
        plan[spot] = min(found[spot].lot.nanos, nanos)
        nanos -= plan[spot]
    return tuple(plan)


def _least_netted(found: Sequence[_Candidate], nanos: int, rates: Rates, year: YearSoFar) -> Plan:
    """Return the plan with the least tax of the year.

    A year's tax never falls when a gain rises, and is linear between the lines where short, long
    or both change sign or the limit is used up. So its least value over all plans lies on the
    lower left edge of what short and long gains can be: at a corner, where some weighting of the
    two kinds is least, or where an edge between two corners crosses such a line.
    """
    corners = _corners(found, nanos, rates)
    realised = year.realised

    def sums(plan: Plan) -> tuple[Fraction, Fraction]:
        made = [Fraction(realised.short_cents), Fraction(realised.long_cents)]
        for one, part in zip(found, plan, strict=True):
            made[one.long] += one.gain * part
        return made[0], made[1]

    plans = list(corners)
    for one, other in pairwise(corners):
        plans += _crossings(one, other, sums, year.limit_cents)
    return min(plans, key=lambda plan: year_tax(*sums(plan), rates, year))


def _corners(found: Sequence[_Candidate], nanos: int, rates: Rates) -> list[Plan]:
    """Return the plans that are least for weights of short and long gains, in that order.

    A long dollar never weighs more than a short one, nor less than at their rates: other corners
    cannot be the least.
    """
    shorts = {one.gain for one in found if not one.long and one.gain}
    longs = {one.gain for one in found if one.long and one.gain}
    least = Fraction(rates.long_ppm, rates.short_ppm) if rates.short_ppm else Fraction(1)
    # Weights (1, r): a short and a long nanoshare change places where gain = r * gain.
    turns = sorted({r for s in shorts for g in longs if least < (r := s / g) < 1})
    weights = [(low + high) / 2 for low, high in pairwise([least, *turns, Fraction(1)])]
    plans = [_greedy(found, nanos, Fraction(1), weight) for weight in weights]
    return list(dict.fromkeys(plans))


def _crossings(
    one: Plan,
    other: Plan,
    sums: Callable[[Plan], tuple[Fraction, Fraction]],
    limit_cents: int,
) -> list[Plan]:
    """Return the plans between two corners where the year's tax may bend."""
    (short, long), (short_to, long_to) = sums(one), sums(other)
    lines = (
        (short, short_to),
        (long, long_to),
        (short + long, short_to + long_to),
        (short + long + limit_cents, short_to + long_to + limit_cents),
    )
    made: list[Plan] = []
    for start, end in lines:
        if start * end < 0:
            between = partial(_between, one, other)
            made += between(start / (start - end))
    return made


def _between(one: Plan, other: Plan, part: Fraction) -> list[Plan]:
    """Return a plan a part of the way from one to another, in whole nanoshares that still sum."""
    exact = [a + (b - a) * part for a, b in zip(one, other, strict=True)]
    whole = [value.numerator // value.denominator for value in exact]
    rests = [value - floor for value, floor in zip(exact, whole, strict=True)]
    missing = sum(one) - sum(whole)
    made = []
    # Towards either end: one side of the line may be cheaper by a nanoshare's tax.
    for sign in (1, -1):
        order = sorted(range(len(exact)), key=lambda i: (-rests[i], sign * i))
        up = set(order[:missing])
        made.append(tuple(floor + (i in up) for i, floor in enumerate(whole)))
    return made
