"""The books of wash sales against a checker that counts single shares, over random lives."""

from datetime import date
from typing import Any

import pytest
from tax_unit_shares import KINDS, Life, UnitShares

from robo.tax.wash_sales import Books, fold

COUNTED = {"washed": 0, "lost": 0, "matches": 0, "rows": 0, "elsewhere": 0, "mixed": 0}


def told(books: Books) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    rows = [
        (
            d.sale_id,
            d.lot_id,
            d.nanos,
            d.held_from.toordinal(),
            d.proceeds_cents,
            d.basis_cents,
            d.added_cents,
            d.deferred_cents,
            d.lost_cents,
            d.added_elsewhere_cents,
            d.elsewhere_cents,
        )
        for d in books.disposals
    ]
    held = [
        (
            p.lot_id,
            p.security_id,
            p.nanos,
            p.held_from.toordinal(),
            p.basis_cents,
            p.added_cents,
            p.spare,
            p.elsewhere_cents,
        )
        for p in books.positions()
    ]
    return rows, sorted(held, key=lambda row: row[0])


def compare(seed: int, days: int, *, hostile: bool = False) -> Books:
    books, checker = Books(KINDS), UnitShares()
    for on, events in Life(seed, hostile=hostile).days(days):
        books.apply(on, events)
        checker.day(on, events)
    rows, held = told(books)
    assert rows == checker.disposals(), f"seed {seed}"
    assert held == checker.positions(), f"seed {seed}"
    return books


def run(seeds: range, days: int) -> dict[str, int]:
    counted = dict.fromkeys(COUNTED, 0)
    for seed in seeds:
        books = compare(seed, days)
        counted["rows"] += len(books.disposals)
        counted["matches"] += len(books.matches)
        counted["washed"] += any(d.deferred_cents for d in books.disposals)
        counted["lost"] += any(d.lost_cents for d in books.disposals)
        counted["elsewhere"] += any(d.elsewhere_cents for d in books.disposals)
        counted["mixed"] += any(0 < d.elsewhere_cents < d.deferred_cents for d in books.disposals)
    return counted


def test_ten_thousand_lives_have_the_same_basis_to_the_cent() -> None:
    counted = run(range(10_000), 8)

    assert counted["washed"] > 2_000
    assert counted["lost"] > 500
    assert counted["elsewhere"] > 500
    assert counted["mixed"] > 20


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(20))
def test_a_million_lives_have_the_same_basis_to_the_cent(part: int) -> None:
    counted = run(range(10**6 + part * 50_000, 10**6 + (part + 1) * 50_000), 12)

    print(part, counted)
    assert counted["washed"] > 10_000


def test_actions_after_trades_and_mergers_of_living_names_have_the_same_basis() -> None:
    for seed in range(6_000):
        compare(seed, 12, hostile=True)


def test_books_kept_day_by_day_equal_books_computed_again() -> None:
    for seed in range(300):
        kept = Books(KINDS)
        dated = []
        for on, events in Life(seed).days(8):
            before = told(kept)
            today = kept.copy()
            today.apply(on, events)
            assert told(kept) == before
            kept = today
            dated += [(on, event) for event in events]
            again = fold(KINDS, dated)
            assert told(again) == told(kept)
            assert again.matches == kept.matches
            assert again.bans(on) == kept.bans(on)
            assert again.fresh(on) == kept.fresh(on)


def test_no_cent_is_lost_or_made_except_in_the_ira() -> None:
    for seed in range(300):
        books = fold(KINDS, [(on, e) for on, events in Life(seed).days(10) for e in events])
        deferred = sum(d.deferred_cents for d in books.disposals)
        carried = sum(d.added_cents for d in books.disposals)

        # Dollars deferred are either in an open lot or were given back by a sale since.
        assert deferred == carried + sum(p.added_cents for p in books.positions())
        assert all(d.disallowed_cents <= max(0, -d.gain_cents) for d in books.disposals)
        for d in books.disposals:
            assert 0 <= d.elsewhere_cents <= d.deferred_cents
            assert 0 <= d.added_elsewhere_cents <= d.added_cents
            # No broker reports more than the loss that it sees.
            seen = d.basis_cents + d.added_cents - d.added_elsewhere_cents - d.proceeds_cents
            assert d.deferred_cents - d.elsewhere_cents <= max(0, seen)
        assert sum(m.cents for m in books.matches if not m.lost) == deferred


def test_a_day_comes_whole_and_in_order() -> None:
    books = Books(KINDS)
    books.apply(date(2026, 1, 2), [])

    with pytest.raises(ValueError, match="is not after"):
        books.apply(date(2026, 1, 2), [])
