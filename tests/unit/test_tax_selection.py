"""Lot selection by hand, and each method against every choice of whole lots and one part."""

import random
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pytest

from robo.core.ids import LotId, SecurityId
from robo.tax.gains import Net
from robo.tax.lots import Lot
from robo.tax.rates import Rates
from robo.tax.selection import (
    Pick,
    YearSoFar,
    book,
    first_in,
    gains_of,
    highest_basis,
    lowest_tax,
    specific,
    year_tax,
)

TODAY = date(2026, 7, 1)
RATES = Rates(370_000, 200_000, 350_000)
SHORT, LONG = TODAY - timedelta(days=50), TODAY - timedelta(days=800)


def lot(name: str, nanos: int, cents: int, bought: date = LONG) -> Lot:
    return Lot(LotId(name), SecurityId(1), bought, nanos, cents)


def picked(picks: Sequence[Pick]) -> dict[str, int]:
    return {pick.lot_id: pick.nanos for pick in picks}


def test_methods_by_hand() -> None:
    # At $10 a share: a gains 2 short, b gains 3 long, c loses 1 long, d loses 1 short.
    lots = [
        lot("a", 1, 8_00, SHORT),
        lot("b", 1, 7_00, LONG),
        lot("c", 1, 11_00, LONG + timedelta(days=1)),
        lot("d", 1, 11_00, SHORT + timedelta(days=1)),
    ]

    assert picked(first_in(lots, 2)) == {"b": 1, "c": 1}
    assert picked(highest_basis(lots, 2)) == {"c": 1, "d": 1}
    assert picked(lowest_tax(lots, 1, 10_00, TODAY, RATES)) == {"d": 1}
    # 2 at 37 % is 74 cents, 3 at 20 % is 60: the larger gain is the cheaper one.
    assert picked(lowest_tax(lots, 3, 30_00, TODAY, RATES)) == {"b": 1, "c": 1, "d": 1}


def test_highest_basis_is_by_share_and_ties_are_the_older() -> None:
    lots = [lot("a", 4, 12), lot("b", 1, 3, SHORT), lot("c", 3, 10)]

    assert picked(highest_basis(lots, 4)) == {"c": 3, "a": 1}


def test_a_loss_that_would_be_washed_counts_as_none() -> None:
    lots = [lot("washed", 1, 20_00), lot("plain", 1, 11_00, SHORT)]

    assert picked(lowest_tax(lots, 1, 10_00, TODAY, RATES)) == {"washed": 1}
    assert picked(lowest_tax(lots, 1, 10_00, TODAY, RATES, deferred={LotId("washed")})) == {
        "plain": 1
    }


def test_netting_sells_a_short_gain_where_the_year_has_a_loss_for_it() -> None:
    lots = [lot("short", 1, 7_00, SHORT), lot("long", 1, 6_00)]

    # Alone: 3 at 37 % is dearer than 4 at 20 %. In a year with more losses than the limit
    # takes, neither is taxed now and the smaller gain uses up less of what is carried.
    year = YearSoFar(Net(-10_000_00, 0), 3_000_00, carry_ppm=500_000)
    assert picked(lowest_tax(lots, 1, 10_00, TODAY, RATES)) == {"long": 1}
    assert picked(lowest_tax(lots, 1, 10_00, TODAY, RATES, year=year)) == {"short": 1}


def test_specific_picks_are_checked_and_booked_to_the_cent() -> None:
    lots = [lot("a", 3, 10), lot("b", 2, 7)]

    booked = book(lots, specific(lots, [Pick(LotId("b"), 2), Pick(LotId("a"), 1)]), 10)

    assert [(c.lot_id, c.nanos, c.basis_cents, c.proceeds_cents) for c in booked] == [
        ("b", 2, 7, 7),
        ("a", 1, 3, 3),
    ]
    for wrong in ([Pick(LotId("x"), 1)], [Pick(LotId("a"), 4)], [Pick(LotId("a"), 1)] * 2):
        with pytest.raises(ValueError, match="picks"):
            specific(lots, wrong)
    with pytest.raises(ValueError, match="at least one"):
        book(lots, [], 10)


def test_more_than_is_held_is_refused() -> None:
    for nanos in (0, 3):
        with pytest.raises(ValueError, match="hold less"):
            first_in([lot("a", 2, 1)], nanos)
        with pytest.raises(ValueError, match="hold less"):
            lowest_tax([lot("a", 2, 1)], nanos, 5, TODAY, RATES)


def test_booking_twenty_lots_conserves_cents() -> None:
    dice = random.Random(5)
    lots = [lot(f"{n}", dice.randint(1, 10**9), dice.randint(0, 10**6)) for n in range(20)]
    nanos = sum(one.nanos for one in lots) // 3

    for picks in (first_in(lots, nanos), highest_basis(lots, nanos)):
        booked = book(lots, picks, 123_457)

        assert sum(c.nanos for c in booked) == nanos
        assert sum(c.proceeds_cents for c in booked) == 123_457


def drawn(dice: random.Random, count: int, nanos_max: int, dearest: int = 140) -> list[Lot]:
    """Lots whose gain is a whole number of cents a nanoshare at a price of 100."""
    lots = []
    for n in range(count):
        nanos = dice.randint(1, nanos_max)
        bought = TODAY - timedelta(days=dice.choice((10, 200, 400, 900)))
        lots.append(lot(f"{n:02}", nanos, nanos * dice.randint(60, dearest), bought))
    return lots


def is_old(one: Lot) -> bool:
    return (TODAY - one.acquired_on).days > 366


def subsets(values: Sequence[int]) -> np.ndarray:
    """Return the sum of every subset; bit i of the place says whether value i is in it."""
    sums = np.zeros(1, dtype=np.int64)
    for value in values:
        sums = np.concatenate((sums, sums + value))
    return sums


def enumerated(lots: Sequence[Lot], nanos: int) -> tuple[np.ndarray, np.ndarray]:
    """Return short and long gain of every choice of whole lots and a part of one more."""
    gain = [100 - one.basis_cents // one.nanos for one in lots]
    size = subsets([one.nanos for one in lots])
    sums = [
        subsets([g * one.nanos * (is_old(one) == old) for g, one in zip(gain, lots, strict=True)])
        for old in (False, True)
    ]
    place = np.arange(size.size)
    found: list[list[np.ndarray]] = [[], []]
    for spot, one in enumerate(lots):
        rest = nanos - size
        fits = np.flatnonzero((rest > 0) & (rest <= one.nanos) & ((place >> spot & 1) == 0))
        for old in (0, 1):
            extra = gain[spot] * rest[fits] if is_old(one) == bool(old) else 0
            found[old].append(sums[old][fits] + extra)
    return np.concatenate(found[0]), np.concatenate(found[1])


@pytest.mark.parametrize(("count", "seed"), [(20, 1), (20, 2), *[(12, s) for s in range(25)]])
def test_lowest_tax_is_the_least_of_all_choices(count: int, seed: int) -> None:
    dice = random.Random(seed)
    lots = drawn(dice, count, 50)
    nanos = dice.randint(1, sum(one.nanos for one in lots))

    picks = lowest_tax(lots, nanos, 100 * nanos, TODAY, RATES)

    short, long = enumerated(lots, nanos)
    least = int((short * RATES.short_ppm + long * RATES.long_ppm).min())
    mine = gains_of(lots, picks, 100 * nanos, TODAY)
    assert mine[0] * RATES.short_ppm + mine[1] * RATES.long_ppm == least


def least_of_all(lots: Sequence[Lot], nanos: int, each: Sequence[int]) -> int:
    """Return the least sum over all choices, where a nanoshare of each lot counts so much.

    A sum is linear in the shares of two lots that change places, so no choice with parts of two
    lots is below all those with a part of one.
    """
    size = subsets([one.nanos for one in lots])
    sums = subsets([value * one.nanos for value, one in zip(each, lots, strict=True)])
    place, least = np.arange(size.size), []
    for spot, (value, one) in enumerate(zip(each, lots, strict=True)):
        rest = nanos - size
        fits = (rest > 0) & (rest <= one.nanos) & ((place >> spot & 1) == 0)
        least.append(int((sums[fits] + value * rest[fits]).min(initial=np.iinfo(np.int64).max)))
    return min(least)


def summed(lots: Sequence[Lot], picks: Sequence[Pick], each: Sequence[int]) -> int:
    value = {one.id: worth for one, worth in zip(lots, each, strict=True)}
    return sum(value[pick.lot_id] * pick.nanos for pick in picks)


DRAWN = [(20, 11), *[(n, s) for n in (1, 2, 7, 12) for s in range(8)]]


@pytest.mark.parametrize(("count", "seed"), DRAWN)
def test_highest_basis_is_the_most_of_all_choices(count: int, seed: int) -> None:
    dice = random.Random(seed)
    lots = drawn(dice, count, 50)
    nanos = dice.randint(1, sum(one.nanos for one in lots))
    less = [-one.basis_cents // one.nanos for one in lots]

    picks = highest_basis(lots, nanos)

    assert summed(lots, picks, less) == least_of_all(lots, nanos, less)
    assert sum(pick.nanos for pick in specific(lots, picks)) == nanos


@pytest.mark.parametrize(("count", "seed"), DRAWN)
def test_first_in_is_the_oldest_of_all_choices_and_leaves_no_older_share(
    count: int, seed: int
) -> None:
    dice = random.Random(seed)
    lots = drawn(dice, count, 50)
    nanos = dice.randint(1, sum(one.nanos for one in lots))
    # Days of the purchase, and among those of one day the place of the id.
    days = [(one.acquired_on - LONG).days * 100 + spot for spot, one in enumerate(lots)]

    picks = first_in(lots, nanos)

    assert summed(lots, picks, days) == least_of_all(lots, nanos, days)
    assert sum(pick.nanos for pick in specific(lots, picks)) == nanos
    sold = picked(picks)
    left = [day for one, day in zip(lots, days, strict=True) if sold.get(one.id, 0) < one.nanos]
    touched = [day for one, day in zip(lots, days, strict=True) if one.id in sold]
    assert max(touched) <= min(left, default=max(touched))


def years_drawn(dice: random.Random, scale: int) -> YearSoFar:
    so_far = Net(dice.randint(-scale, scale), dice.randint(-scale, scale))
    return YearSoFar(so_far, scale // 4, dice.choice((0, 500_000, 1_000_000)))


def taxes(short: np.ndarray, long: np.ndarray, year: YearSoFar) -> np.ndarray:
    """The year's tax in floats, by cases: another way to write it."""
    s, g = short + year.realised.short_cents, long + year.realised.long_cents
    net, loss = s + g, np.maximum(-(s + g), 0)
    both = np.where((s >= 0) & (g >= 0), s * 0.37 + g * 0.2, net * np.where(s > 0, 0.37, 0.2))
    within = np.minimum(loss, year.limit_cents)
    return np.where(net >= 0, both, -within * 0.35 - (loss - within) * 0.2 * year.carry_ppm / 1e6)


@pytest.mark.parametrize(("count", "seed"), [(20, 3), *[(11, s) for s in range(40)]])
def test_lowest_tax_with_netting_is_not_above_any_choice(count: int, seed: int) -> None:
    dice = random.Random(seed)
    lots = drawn(dice, count, 10**6)
    nanos = dice.randint(1, sum(one.nanos for one in lots))
    year = years_drawn(dice, 40 * 10**6)

    picks = lowest_tax(lots, nanos, 100 * nanos, TODAY, RATES, year=year)

    short, long = gains_of(lots, picks, 100 * nanos, TODAY)
    mine = year_tax(short + year.realised.short_cents, long + year.realised.long_cents, RATES, year)
    least = taxes(*enumerated(lots, nanos), year).min()
    assert float(mine) <= least + 40 * count  # a nanoshare's gain is at most 40 cents here


def test_netting_uses_a_short_loss_up_and_no_more() -> None:
    # $1 of short loss so far. 5 short at 20 cents use it up; 5 long at 30 cents cost 20 %: 30.
    # All short: 100 at 37 % is 37. All long: 300 - 100 at 20 % is 40.
    lots = [lot("short", 10, 800, SHORT), lot("long", 10, 700)]
    year = YearSoFar(Net(-1_00, 0), 0)

    picks = lowest_tax(lots, 10, 10_00, TODAY, RATES, year=year)

    assert picked(picks) == {"short": 5, "long": 5}


def test_lowest_tax_with_netting_is_the_best_of_all_whole_counts() -> None:
    between = 0
    for seed in range(120):
        dice = random.Random(seed)
        lots = drawn(dice, 4, 60, 140 if seed % 2 else 75)
        nanos = dice.randint(1, sum(one.nanos for one in lots))
        year = years_drawn(dice, 2_000)
        if seed % 2 == 0:  # gains only, and a short loss to use up
            year = YearSoFar(Net(-dice.randint(1, 2_000), 0), 0)
        gain = [100 - one.basis_cents // one.nanos for one in lots]
        grid = np.meshgrid(*[np.arange(one.nanos + 1) for one in lots[1:]], indexing="ij")
        first = nanos - sum(grid)
        fits = (first >= 0) & (first <= lots[0].nanos)
        counts = [first[fits], *[axis[fits] for axis in grid]]
        sums = [
            sum(g * c for g, c, o in zip(gain, counts, lots, strict=True) if is_old(o) == old)
            + np.zeros(int(fits.sum()))
            for old in (False, True)
        ]

        picks = lowest_tax(lots, nanos, 100 * nanos, TODAY, RATES, year=year)

        short, long = gains_of(lots, picks, 100 * nanos, TODAY)
        mine = year_tax(
            short + year.realised.short_cents, long + year.realised.long_cents, RATES, year
        )
        whole = {one.id: one.nanos for one in lots}
        between += sum(pick.nanos < whole[pick.lot_id] for pick in picks) > 1
        assert sum(pick.nanos for pick in picks) == nanos
        # Half a nanoshare's gain to either side of a bend, 40 cents at most.
        assert float(mine) <= taxes(*sums, year).min() + 40 * 0.37, seed
    assert between > 0


def test_a_short_rate_below_the_long_one_is_refused() -> None:
    with pytest.raises(ValueError, match="rates"):
        lowest_tax([lot("a", 2, 1)], 1, 5, TODAY, Rates(1, 2, 0))
