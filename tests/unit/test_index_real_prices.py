"""The index on real prices: its levels against the vendor's returns, and what the buffer saves."""

import csv
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from baskets.index import Index, Member, index_history, note_of, weighed
from baskets.index_level import ActionKind, IndexAction, applied, closed, started
from baskets.index_rules import load_rulebook
from baskets.securities import Security, Universe

SHARED = Path(__file__).parents[3] / "shared" / "data"
REAL = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHARED.is_dir(), reason="real prices are not beside the checkout"),
]
pytestmark = REAL


def table(name, first, last):
    """Return sessions, symbols and closes (T, N) of a stretch of time."""
    from pyarrow import parquet

    found = parquet.read_table(SHARED / name)
    days = [stamp.date() for stamp in found["date"].to_pylist()]
    rows = [place for place, day in enumerate(days) if first <= day <= last]
    symbols = [column for column in found.column_names if column != "date"]
    closes = np.column_stack([found[symbol].to_numpy() for symbol in symbols])
    return [days[row] for row in rows], symbols, closes[rows]


def capitalisations():
    with (SHARED / "fundamentals_2018-02-08.csv").open(encoding="utf-8") as file:
        return {row["Symbol"]: int(row["Market Cap"]) * 100 for row in csv.DictReader(file)}


def actions_between(symbols, first, last):
    """Return ex-date -> actions, splits before dividends: amounts are per share after a split."""
    found: dict[date, list[IndexAction]] = {}
    for name, column, kind in (
        ("splits.csv", "split_factor", ActionKind.SPLIT),
        ("dividends.csv", "dividend", ActionKind.CASH_DIVIDEND),
    ):
        with (SHARED / name).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                on = date.fromisoformat(row["ex_date"])
                if row["ticker"] not in symbols or not first <= on <= last:
                    continue
                amount, number = Decimal(row[column]), symbols.index(row["ticker"]) + 1
                action = IndexAction(kind, number, cash_micros=round(amount * 10**6))
                if kind is ActionKind.SPLIT:
                    ratio = Fraction(amount)
                    num, den = ratio.numerator, ratio.denominator
                    action = IndexAction(kind, number, ratio_num=num, ratio_den=den)
                found.setdefault(on, []).append(action)
    return found


def test_the_total_return_level_earns_what_the_vendors_adjusted_closes_earn():
    first, last = date(2015, 1, 2), date(2016, 12, 30)
    days, symbols, raw = table("close_raw_wide.parquet", first, last)
    _, other, adjusted = table("adj_close_wide.parquet", first, last)
    assert symbols == other
    sizes = capitalisations()
    whole = np.isfinite(raw).all(axis=0) & np.isfinite(adjusted).all(axis=0)
    kept = [n for n, symbol in enumerate(symbols) if whole[n] and symbol in sizes][::3]
    symbols, raw, adjusted = [symbols[n] for n in kept], raw[:, kept], adjusted[:, kept]
    members = weighed(
        Member(n, symbol, symbol, symbol, "x", "x", None, "imported", size, size, n, days[0], 0)
        for n, symbol in enumerate(symbols, 1)
        for size in [sizes[symbol]]
    )
    index = Index(
        "real", "Real", "file", 1, days[0], days[0], None, "shared", days[0], 10**6, "",
        note_of(members), members, (),
    )  # fmt: skip
    micros = np.rint(raw * 1e6).astype(int)
    closes = [dict(enumerate(row.tolist(), 1)) for row in micros]
    actions = actions_between(symbols, days[1], days[-1])

    state = started(index, closes[0], 1000)
    worst, count = 0.0, 0
    for place, day in enumerate(days[1:], 1):
        ready = applied(state, actions.get(day, ()))
        assert (ready.level_nanos, ready.total_nanos) == (state.level_nanos, state.total_nanos)
        weight = np.array([float(line.value) for line in state.lines.values()])
        expected = (weight / weight.sum()) @ (adjusted[place] / adjusted[place - 1])
        count += len(actions.get(day, ()))
        before, state = state.total_nanos, closed(ready, day, closes[place])
        worst = max(worst, abs(state.total_nanos / before - expected))

    print(f"{len(symbols)} names, {len(days)} sessions, {count} actions: worst day {worst:.1e}")
    assert len(symbols) > 100
    assert count > 800
    assert worst < 1e-6
    assert state.total_nanos > state.level_nanos


def reviewed(days, symbols, carried, rules):
    """Return the history of an index on capitalisations carried back by real returns."""
    known = {}
    for place, day in enumerate(days):
        month_ends = place + 1 < len(days) and days[place + 1].month != day.month
        if month_ends or not known:
            rows = [
                Security(
                    n, symbol, symbol, symbol, None, "x", "x", "", None, "large",
                    size, "imported", size, None, None, "shared", day,
                )
                for n, symbol in enumerate(symbols, 1)
                if carried[place, n - 1] > 0
                for size in [int(carried[place, n - 1])]
            ]  # fmt: skip
            known[day] = Universe(tuple(rows), "shared", day)
    return index_history(replace(rules, base_on=days[0]), known, days, days[-10])


def test_the_buffer_saves_more_than_half_of_the_changes():
    days, symbols, adjusted = table("adj_close_wide.parquet", date(2004, 12, 31), date(2021, 4, 21))
    sizes = capitalisations()
    base = days.index(date(2018, 2, 8))
    cap = np.array([sizes.get(symbol, 0) for symbol in symbols], dtype=float)
    carried = np.nan_to_num(cap * adjusted / adjusted[base])
    rules = replace(load_rulebook(), names=200, issuer_ppm_max=10**6)

    changes = {}
    for share in (0, 5, 10, 15):
        part = rules.names * share // 100
        buffered = replace(rules, enter_rank=200 - part, stay_rank=200 + part)
        history = reviewed(days, symbols, carried, buffered)
        years = len(history.indexes[1:]) / 4
        changes[share] = sum(len(one.changes) for one in history.indexes[1:]) / 2 / years

    print({share: round(count, 1) for share, count in changes.items()}, "replaced a year of 200")
    assert changes[10] < changes[0] / 2
