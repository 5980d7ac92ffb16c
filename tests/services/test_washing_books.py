"""The books of households folded from the database, against the checker that counts single shares.

Lives are random; a life's bookings go through the tables that real bookings go through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from databases import migrate
from property.tax_unit_shares import UnitShares
from wash_lives import FIRM, Written, lives, write

from robo.core.ids import AccountId
from robo.services.washing import books_of, histories, window
from robo.services.washing.gains import gains
from robo.store import lots
from robo.store.database import Database, connect, insert_many
from robo.tax import arrays, harvest
from robo.tax.gains import Net, is_long
from robo.tax.wash_events import AccountKind, Purchase
from robo.tax.wash_sales import Books, fold

END = date(2026, 3, 2)


@contextmanager
def filled(
    folder: Path, seeds: range, *, since_on: str = "1990-01-01"
) -> Iterator[tuple[Database, list[Written]]]:
    url = f"sqlite:///{folder / 'lives.db'}"
    migrate(url)
    db = connect(url, flush=False)
    with db.write() as session:
        insert_many(session, "firm", ("id", "name", "house", "created_at"), [(FIRM, "Lives", 1, 1)])
        drawn = enumerate(lives(seeds, END))
        written = [write(session, number, days, since_on=since_on) for number, days in drawn]
    try:
        yield db, written
    finally:
        db.close()


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, list[Written]]]:
    with filled(tmp_path_factory.mktemp("lives"), range(300)) as made:
        yield made


def checked(life: Written) -> UnitShares:
    checker, name = UnitShares(), {account: name for name, account in life.accounts.items()}
    for on, events in life.days:
        plain = [
            replace(e, account_id=AccountId(name[e.account_id])) if isinstance(e, Purchase) else e
            for e in events
        ]
        checker.day(on, plain)
    return checker


def rows_of(books: Books) -> list[tuple[object, ...]]:
    return sorted(
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
    )


def test_what_is_booked_folds_to_what_single_shares_say(
    household: tuple[Database, list[Written]],
) -> None:
    db, written = household
    with db.read() as session:
        folded = books_of(session, [life.me for life in written], END)

    washed = 0
    for life in written:
        books, checker = folded[life.me], checked(life)
        assert rows_of(books) == sorted(checker.disposals())
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
        assert sorted(held, key=lambda row: row[0]) == checker.positions()
        washed += any(d.deferred_cents or d.lost_cents for d in books.disposals)
    assert len(written) > 150
    assert washed > 40


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(20))
def test_many_more_lives_fold_to_what_single_shares_say(tmp_path: Path, part: int) -> None:
    with filled(tmp_path, range(10_000 + part * 2_000, 12_000 + part * 2_000)) as (db, written):
        with db.read() as session:
            folded = books_of(session, [life.me for life in written], END)
            accounts = [account for life in written for account in life.accounts.values()]
            today = window(session, accounts, END)
        for life in written:
            assert rows_of(folded[life.me]) == sorted(checked(life).disposals())
            bans = harvest.masks(folded[life.me], END).no_purchase
            assert all(today.no_purchase(one) == bans for one in life.accounts.values())


def test_both_people_of_a_household_have_the_same_books(
    household: tuple[Database, list[Written]],
) -> None:
    db, written = household
    with db.read() as session:
        folded = books_of(session, [p for one in written for p in (one.me, one.spouse)], END)

    for life in written:
        assert folded[life.me] is folded[life.spouse]


def test_the_day_forbids_the_same_without_folding_everything(
    household: tuple[Database, list[Written]],
) -> None:
    db, written = household
    accounts = [account for life in written for account in life.accounts.values()]
    with db.read() as session:
        today = window(session, accounts, END)
        folded = books_of(session, [life.me for life in written], END)
        held = lots.open_lots(session, accounts)

    seen = dict.fromkeys(("no_purchase", "no_loss", "whole_only", "adjusted"), 0)
    for life in written:
        books = folded[life.me]
        wanted = harvest.masks(books, END)
        mine = {lot.id: lot for lot in books.shelf if lot.nanos}
        for account in life.accounts.values():
            open_lots = [lot for lot in held.get(account, []) if lot.nanos]
            found = today.masks(account, open_lots)
            ids = {lot.id for lot in open_lots}
            assert found.no_purchase == wanted.no_purchase
            assert found.no_loss == {k: v for k, v in wanted.no_loss.items() if k in ids}
            assert found.whole_only == {k: v for k, v in wanted.whole_only.items() if k in ids}
            for lot in open_lots:
                piece = next(p for p in mine[lot.id].pieces if p.nanos)  # type: ignore[index] # ids
                added = sum(p.added(p.nanos) for p in mine[lot.id].pieces)  # type: ignore[index] # ids
                told = today.adjusted.get(lot.id)  # type: ignore[call-overload] # ids
                assert (told.added_cents if told else 0) == added
                assert (told.held_from if told else mine[lot.id].bought_on) == piece.held_from  # type: ignore[index] # ids
                seen["adjusted"] += told is not None
            seen["no_purchase"] += bool(found.no_purchase)
            seen["no_loss"] += bool(found.no_loss)
            seen["whole_only"] += bool(found.whole_only)
    assert min(seen.values()) > 10, seen
    spared = [one for one in written if one.me not in today.history.books]
    assert len(spared) > 15, "some households need no folding at all"


def test_arrays_forbid_the_same(household: tuple[Database, list[Written]]) -> None:
    db, written = household
    accounts = [account for life in written[:60] for account in life.accounts.values()]
    with db.read() as session:
        today = window(session, accounts, END)
        held = lots.open_lots(session, accounts)
    flat = sorted(
        ((a, lot) for a in accounts for lot in held.get(a, []) if lot.nanos),
        key=lambda one: (accounts.index(one[0]), one[1].security_id, one[1].id),
    )
    names = sorted({lot.security_id for _, lot in flat})
    holdings = sorted({(accounts.index(a), names.index(lot.security_id)) for a, lot in flat})
    counts = [
        sum((accounts.index(a), names.index(lot.security_id)) == one for a, lot in flat)
        for one in holdings
    ]
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    ids = [lot.id for _, lot in flat]

    found = today.arrays(
        accounts,
        names,
        np.array([one[0] for one in holdings], dtype=np.int64),
        np.array([one[1] for one in holdings], dtype=np.int64),
        indptr,
        ids,
    )

    for row, account in enumerate(accounts):
        told = today.masks(account, [lot for lot in held.get(account, []) if lot.nanos])
        for column, name in enumerate(names):
            never = bool(found.rule[row, column] & arrays.NEVER_BUY)
            assert never == (name in told.no_purchase)
        for place, (owner, lot) in enumerate(flat):
            if owner == account:
                assert bool(found.no_loss[place]) == (lot.id in told.no_loss)
                assert bool(found.whole_only[place]) == (lot.id in told.whole_only)


def test_realised_gains_are_those_of_the_whole_books(
    household: tuple[Database, list[Written]],
) -> None:
    db, written = household
    with db.read() as session:
        history = histories.read(session, [life.me for life in written], END)
        found = gains(session, history, [life.me for life in written], 2000)

    for life in written:
        books = fold(
            {life.accounts[n]: _kind(n) for n in life.accounts},
            [(on, event) for on, events in life.days for event in events],
        )
        wanted: dict[int, Net] = {}
        for sold in books.disposals:
            if sold.account_id == life.accounts["me"]:
                cents = sold.recognised_cents
                net = Net(0, cents) if is_long(sold.held_from, sold.sold_on) else Net(cents, 0)
                wanted[sold.sold_on.year] = wanted.get(sold.sold_on.year, Net()) + net
        assert found[life.me].by_year == wanted


def test_people_who_are_no_household_are_folded_apart(tmp_path: Path) -> None:
    with filled(tmp_path, range(40), since_on="") as (db, written):
        with db.read() as session:
            folded = books_of(session, [p for one in written for p in (one.me, one.spouse)], END)

        for life in written:
            mine = {life.accounts["me"], life.accounts["ira"]}
            assert {d.account_id for d in folded[life.me].disposals} <= mine
            assert {d.account_id for d in folded[life.spouse].disposals} <= {
                life.accounts["spouse"]
            }


def test_a_household_that_began_after_everything_changes_no_sale_before_it(tmp_path: Path) -> None:
    late = (END + timedelta(days=1)).isoformat()
    with filled(tmp_path, range(40), since_on=late) as (db, written):
        with db.read() as session:
            apart = books_of(session, [life.me for life in written], END)
            together = books_of(session, [life.me for life in written], END + timedelta(days=1))

        for life in written:
            mine = {life.accounts["me"], life.accounts["ira"]}
            kept = [d for d in together[life.me].disposals if d.account_id in mine]
            assert kept == apart[life.me].disposals
            assert {lot.account_id for lot in together[life.me].shelf} <= set(
                life.accounts.values()
            )


def _kind(name: str) -> AccountKind:
    return AccountKind.IRA if name == "ira" else AccountKind.TAXABLE
