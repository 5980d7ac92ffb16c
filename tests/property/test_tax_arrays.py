"""The array face against the scalar one: same days, same order, same tax, same masks."""

import random
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tax_unit_shares import KINDS, Life

from robo.core.ids import LotId, SecurityId
from robo.core.money import PPM
from robo.tax import arrays, gains, harvest, selection
from robo.tax.lots import Lot
from robo.tax.rates import Rates
from robo.tax.wash_events import AccountKind, Fresh
from robo.tax.wash_sales import Books

EPOCH = date(1970, 1, 1)
days = st.integers(0, 40_000)
ppm = st.integers(0, 500_000)
BIG = 10**18


def ints(*values: int) -> arrays.IntArray:
    return np.array(values, dtype=np.int64)


@given(held=st.lists(days, min_size=1), on=days, ahead=st.integers(0, 60))
def test_long_and_waiting_are_the_calendars(held: list[int], on: int, ahead: int) -> None:
    dates, today = [EPOCH + timedelta(days=d) for d in held], EPOCH + timedelta(days=on)

    assert arrays.long_day(ints(*held)).tolist() == [
        (gains.long_from(d) - EPOCH).days for d in dates
    ]
    assert arrays.is_long(ints(*held), on).tolist() == [gains.is_long(d, today) for d in dates]
    assert arrays.waits(ints(*held), on, ahead).tolist() == [
        harvest.waits(d, today, ahead) for d in dates
    ]


def test_long_day_is_right_on_every_day_of_a_century() -> None:
    held = np.arange(0, 36_525, dtype=np.int64)

    expected = [(gains.long_from(EPOCH + timedelta(days=int(d))) - EPOCH).days for d in held]
    assert arrays.long_day(held).tolist() == expected


@given(
    lots=st.lists(
        st.tuples(st.integers(1, 10**12), st.integers(0, 10**12), st.booleans(), st.booleans()),
        min_size=1,
    ),
    rates=st.tuples(ppm, ppm, st.integers(0, PPM)),
    mode=st.sampled_from(harvest.Mode),
)
def test_tax_per_dollar_is_the_scalar_one(
    lots: list[tuple[int, int, bool, bool]], rates: tuple[int, int, int], mode: harvest.Mode
) -> None:
    short, long, recapture = rates
    worth, basis = ints(*[x[0] for x in lots]), ints(*[x[1] for x in lots])
    olds, wait = np.array([x[2] for x in lots]), np.array([x[3] for x in lots])
    made = arrays.RateArrays(ints(short), ints(long), ints(recapture), ints(mode))
    zeros = np.zeros(len(lots), dtype=np.int64)

    tax = arrays.tax_per_dollar(worth - basis, worth, olds, wait, zeros, made)

    for one, (w, b, old, waiting) in zip(tax, lots, strict=True):
        exact = harvest.tax_per_dollar(
            w - b,
            w,
            long=old,
            waiting=waiting,
            mode=mode,
            rates=Rates(short, long, 0),
            recapture_ppm=recapture,
        )
        assert float(one) == pytest.approx(float(exact), rel=1e-12, abs=1e-15)


holdings = st.lists(
    st.lists(
        st.tuples(st.integers(1, BIG), st.integers(0, 10**15), st.integers(0, 50)), max_size=8
    ),
    min_size=1,
    max_size=5,
)
near_ties = st.lists(
    st.lists(
        st.tuples(st.integers(BIG - 3, BIG), st.integers(10**15 - 3, 10**15), st.integers(0, 2)),
        max_size=8,
    ),
    min_size=1,
    max_size=3,
)


@given(found=holdings | near_ties, part=st.integers(1, 100))
def test_orders_and_takes_are_the_scalar_ones(
    found: list[list[tuple[int, int, int]]], part: int
) -> None:
    flat = [lot for held in found for lot in held]
    indptr = np.cumsum([0, *[len(held) for held in found]]).astype(np.int64)
    nanos, basis, bought = (ints(*[lot[k] for lot in flat]) for k in range(3))
    made = [
        [
            Lot(LotId(f"{n:03}"), SecurityId(1), EPOCH + timedelta(days=d), q, c)
            for n, (q, c, d) in enumerate(held)
        ]
        for held in found
    ]
    wanted = [-(-sum(lot.nanos for lot in held) * part // 100) for held in made]
    scalar = {
        arrays.Method.FIFO: selection.first_in,
        arrays.Method.HIFO: selection.highest_basis,
    }
    for method, choose in scalar.items():
        spots = arrays.order(method, indptr, bought, nanos, basis)
        sold = arrays.take(spots, indptr, nanos, ints(*wanted))

        for h, lots in enumerate(made):
            picks = {p.lot_id: p.nanos for p in choose(lots, wanted[h])} if lots else {}
            mine = sold[indptr[h] : indptr[h + 1]].tolist()
            assert mine == [picks.get(lot.id, 0) for lot in lots]


def test_lowest_tax_order_costs_no_more_than_the_exact_choice() -> None:
    rates, today = Rates(370_000, 200_000, 350_000), date(2026, 7, 1)
    on = (today - EPOCH).days
    made = arrays.RateArrays(ints(370_000), ints(200_000), ints(0), ints(0))
    for seed in range(100):
        dice = random.Random(seed)
        count = dice.randint(1, 20)
        nanos = ints(*[dice.randint(1, 10**6) for _ in range(count)])
        basis = nanos * ints(*[dice.randint(60, 140) for _ in range(count)])
        held = ints(*[on - dice.randint(0, 800) for _ in range(count)])
        wanted = dice.randint(1, int(nanos.sum()))
        lots = [
            Lot(LotId(f"{n:02}"), SecurityId(1), EPOCH + timedelta(days=int(d)), int(q), int(c))
            for n, (d, q, c) in enumerate(zip(held, nanos, basis, strict=True))
        ]

        zeros = np.zeros(count, dtype=np.int64)
        young = np.zeros(count, dtype=np.bool_)
        tax = arrays.tax_per_dollar(
            nanos * 100 - basis, nanos * 100, arrays.is_long(held, on), young, zeros, made
        )
        indptr = ints(0, count)
        spots = arrays.order(arrays.Method.LOWEST_TAX, indptr, held, nanos, basis, tax)
        sold = arrays.take(spots, indptr, nanos, ints(wanted))

        mine = [selection.Pick(lot.id, int(q)) for lot, q in zip(lots, sold, strict=True) if q]
        best = selection.lowest_tax(lots, wanted, 100 * wanted, today, rates)
        costs = [
            short * rates.short_ppm + long * rates.long_ppm
            for picks in (mine, best)
            for short, long in [selection.gains_of(lots, picks, 100 * wanted, today)]
        ]
        assert abs(costs[0] - costs[1]) <= Fraction(1, 10**6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="sell_nanos of holding 1"):
        arrays.take(ints(0, 1), ints(0, 1, 2), ints(5, 5), ints(5, 6))
    with pytest.raises(ValueError, match="lot_tax"):
        arrays.order(arrays.Method.LOWEST_TAX, ints(0, 1), ints(0), ints(1), ints(1))
    with pytest.raises(ValueError, match="lot_nanos"):
        arrays.order(arrays.Method.FIFO, ints(0, 1), ints(0), ints(0), ints(1))
    made = arrays.RateArrays(ints(0), ints(0), ints(0), ints(0))
    no = np.zeros(1, dtype=np.bool_)
    with pytest.raises(ValueError, match="worth_cents"):
        arrays.tax_per_dollar(ints(1), ints(0), no, no, ints(0), made)


@settings(max_examples=60)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=3),
    accept=st.booleans(),
    planned=st.sets(st.integers(1, 2)),
)
def test_masks_of_households_are_the_scalar_ones(
    seeds: list[int],
    accept: bool,  # noqa: FBT001 - drawn
    planned: set[int],
) -> None:
    houses = []
    for seed in seeds:
        books = Books(KINDS)
        for on, events in Life(seed).days(8):
            books.apply(on, events)
        houses.append(books)
    today = max(books.day for books in houses)
    names = 1 + max([2, *[lot.security_id for books in houses for lot in books.shelf]])
    names = max([names, *[name + 1 for books in houses for name in books.waiting]])
    kinds = list(KINDS)
    held = sorted(
        {
            (len(kinds) * h + kinds.index(lot.account_id), lot.security_id)
            for h, books in enumerate(houses)
            for lot in books.shelf
        }
    )
    lots = [
        [
            lot
            for lot in houses[account // len(kinds)].shelf
            if (kinds.index(lot.account_id), lot.security_id) == (account % len(kinds), name)
        ]
        for account, name in held
    ]
    flat = [lot for group in lots for lot in group]
    place = {id(lot): n for n, lot in enumerate(flat)}
    spot = {(h, lot.id): place[id(lot)] for h, books in enumerate(houses) for lot in books.shelf}
    accounts = len(kinds) * len(houses)
    owners = arrays.Owners(
        ints(*[a // len(kinds) for a in range(accounts)]),
        np.array([KINDS[kinds[a % len(kinds)]] is AccountKind.IRA for a in range(accounts)]),
        np.full(accounts, accept),
        ints(*[a for a, _ in held]),
        ints(*[n for _, n in held]),
        ints(*np.cumsum([0, *[len(group) for group in lots]])),
    )
    # Everything ever banned or fresh goes in: the arrays leave out what is over.
    bans = [(h, n, d) for h, b in enumerate(houses) for n, d in b.bans(b.day).items()]
    fresh = [(h, f) for h, b in enumerate(houses) for f in b.fresh(b.day)]
    day = (today - EPOCH).days
    rows: list[tuple[int, ...]] = [
        (h, f.security_id, (f.bought_on - EPOCH).days, spot[h, f.lot_id], f.in_ira, False)
        for h, f in fresh
    ]
    rows += [(h, n, day, -1, False, True) for h in range(len(houses)) for n in planned]
    house, name, bought, lot, in_ira, is_open = columns(rows, 6)

    made = arrays.masks(
        owners,
        arrays.Bans(*[ints(*c) for c in columns([(h, n, (d - EPOCH).days) for h, n, d in bans])]),
        arrays.FreshLots(
            ints(*house),
            ints(*name),
            ints(*bought),
            ints(*lot),
            np.array(in_ira, dtype=np.bool_),
            np.array(is_open, dtype=np.bool_),
        ),
        names,
        day,
    )

    ahead = [SecurityId(name) for name in planned]
    scalar = [
        harvest.masks(books, today, buy_buy_sell=accept, planned_purchases=ahead)
        for books in houses
    ]
    for (h, lot_id), n in spot.items():
        assert made.no_loss[n] == (lot_id in scalar[h].no_loss)
        assert made.whole_only[n] == (lot_id in scalar[h].whole_only)
        assert made.is_fresh[n] == (lot_id in fresh_lots(houses[h], today))
        assert made.closes[n] == (
            flat[n].security_id not in planned and closes(houses[h], lot_id, today)
        )
    for account in range(accounts):
        mask = scalar[account // len(kinds)]
        never = {n for n in range(names) if made.rule[account, n] & arrays.NEVER_BUY}
        assert never == set(mask.no_purchase)
    for (account, one), group in zip(held, lots, strict=True):
        blocked = all(lot.id in scalar[account // len(kinds)].no_loss for lot in group)
        assert bool(made.rule[account, one] & arrays.NEVER_SELL_AT_LOSS) == blocked


def fresh_lots(books: Books, today: date) -> dict[LotId, Fresh]:
    month = timedelta(days=30)
    return {one.lot_id: one for one in books.fresh(books.day) if one.bought_on + month >= today}


def closes(books: Books, lot_id: LotId, today: date) -> bool:
    """Whether all that could replace a lot's shares lies beside it, in its own taxable account."""
    (mine,) = [lot for lot in books.shelf if lot.id == lot_id]
    where = {lot.id: lot.account_id for lot in books.shelf}
    fresh = fresh_lots(books, today).values()
    beside = [where[one.lot_id] for one in fresh if one.security_id == mine.security_id]
    taxed = books.kinds[mine.account_id] is AccountKind.TAXABLE
    return taxed and bool(beside) and set(beside) == {mine.account_id}


def columns(rows: list[tuple[int, ...]], width: int = 3) -> list[tuple[int, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
