"""Books that go on from where they stood are those that are folded from the beginning."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session
from wash_lives import FIRM, Written, lives, write

from robo.core.ids import AccountId
from robo.services.washing import books_of, histories, remembering, streams
from robo.store import lot_history
from robo.store.database import Database, connect, insert_many
from robo.store.lot_history import Closed
from robo.store.lots import LotEvent
from robo.store.schema import upgrade
from robo.tax.wash_sales import Books

END = date(2026, 3, 2)
SEEDS = range(40)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[tuple[Database, list[Written]]]:
    """A database in which everything has happened, of which `until` shows the first days."""
    db = connect(f"sqlite:///{tmp_path / 'lives.db'}", flush=False)
    upgrade(db)
    with db.write() as session:
        insert_many(session, "firm", ("id", "name", "house", "created_at"), [(FIRM, "Lives", 1, 1)])
        drawn = enumerate(lives(SEEDS, END))
        written = [write(session, number, days) for number, days in drawn]
    run(
        db,
        "CREATE TABLE told AS SELECT * FROM lot_event",
        *(f"DROP TRIGGER {name}" for name in triggers(db)),
        "DELETE FROM lot_event",
        "DELETE FROM chain_head",
    )
    try:
        yield db, written
    finally:
        db.close()


def run(db: Database, *statements: str) -> None:
    with closing(db.engine.raw_connection()) as connection:
        raw: Any = connection.driver_connection
        for one in statements:
            raw.execute(one)
        raw.commit()


def triggers(db: Database) -> list[str]:
    with db.read() as session:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'lot_event'"
        return [row[0] for row in session.connection().exec_driver_sql(sql)]


def until(db: Database, day: date) -> None:
    """Let what happened up to a day be booked."""
    run(
        db,
        f"INSERT INTO lot_event SELECT * FROM told WHERE on_date <= '{day}' "
        "AND id NOT IN (SELECT id FROM lot_event)",
        "INSERT OR REPLACE INTO chain_head (chain, seq, mac, changed_at) "
        "SELECT chain, max(seq), mac, 1 FROM lot_event GROUP BY chain",
    )


def told(books: Sequence[Books], names: frozenset[int], on: date) -> list[object]:
    held = [p for one in books for p in one.positions() if p.security_id in names]
    rows = [d for one in books for d in one.disposals if d.security_id in names]
    bans = {k: v for one in books for k, v in one.bans(on).items() if k in names}
    fresh = [f for one in books for f in one.fresh(on) if f.security_id in names]
    return [sorted(map(repr, some)) for some in (held, rows, bans.items(), fresh)]


def test_books_kept_from_day_to_day_equal_books_folded_whole(
    books: tuple[Database, list[Written]], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, written = books
    began: list[str] = []
    first = remembering._from_the_beginning

    def counted(*asked: Any) -> Any:
        began.append("")
        return first(*asked)

    monkeypatch.setattr(remembering, "_from_the_beginning", counted)
    days = sorted({on for life in written for on, _ in life.days})
    steps = sorted({*days[-60::5], *days[-9:], END, END + timedelta(days=3)})
    compared = 0
    for on in steps:
        for day in (on, on):  # a second look on the same day, with nothing new
            until(db, day)
            with db.read() as session:
                history = histories.read(session, [one.me for one in written], day)
                whole = books_of(session, [one.me for one in written], day)
            for life in written:
                names = history.folded.get(life.me, frozenset())
                if names:
                    mine = told(history.books[life.me], names, day)
                    assert mine == told([whole[life.me]], names, day), (life.me, day)
                    compared += 1
    assert compared > 300
    assert len(began) < compared / 4, "most of them went on"


def test_a_day_before_the_last_one_is_folded_from_the_beginning(
    books: tuple[Database, list[Written]],
) -> None:
    db, written = books
    persons = [one.me for one in written]
    for day in (END - timedelta(days=40), END, END - timedelta(days=20)):
        until(db, day)
        with db.read() as session:
            history = histories.read(session, persons, day)
            whole = books_of(session, persons, day)
        for life in written:
            names = history.folded.get(life.me, frozenset())
            assert told(history.books.get(life.me, ()), names, day) == told(
                [whole[life.me]], names, day
            )


def test_what_is_booked_late_is_folded_from_the_beginning(
    books: tuple[Database, list[Written]],
) -> None:
    db, written = books
    persons = [one.me for one in written]
    spouses = ", ".join(f"'{one.accounts['spouse']}'" for one in written)
    until(db, END)
    run(db, f"CREATE TABLE late AS SELECT * FROM lot_event WHERE chain IN ({spouses})")
    run(db, f"DELETE FROM lot_event WHERE chain IN ({spouses})")
    run(db, f"DELETE FROM chain_head WHERE chain IN ({spouses})")
    with db.read() as session:
        histories.read(session, persons, END)
        kept = [frozenset(names) for names in histories.read(session, persons, END).folded.values()]
    assert any(kept)

    run(db, "INSERT INTO lot_event SELECT * FROM late")
    until(db, END)

    with db.read() as session:
        history = histories.read(session, persons, END)
        whole = books_of(session, persons, END)
    for life in written:
        names = history.folded.get(life.me, frozenset())
        assert told(history.books.get(life.me, ()), names, END) == told(
            [whole[life.me]], names, END
        )


def test_lots_are_read_again_only_once_something_happened_to_them(
    books: tuple[Database, list[Written]], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, written = books
    reads: list[int] = []
    closed = lot_history.closed

    def counted(session: Session, accounts: Sequence[str], *, losses: bool) -> list[Closed]:
        reads.append(len(accounts))
        return closed(session, accounts, losses=losses)

    monkeypatch.setattr(lot_history, "closed", counted)
    asked = [life.me for life in written[:8]]

    def told_of(person: str, day: date, few: int) -> list[object]:
        monkeypatch.setattr(histories, "_FEW", few)
        with db.read() as session:
            one = histories.read(session, [person], day)
        return [one.losses, one.fresh, one.folded]

    for back in (60, 30, 0):
        end = END - timedelta(days=back)
        until(db, end)
        for person in asked:
            told_of(person, end, few=16)
            for day in (end, end - timedelta(days=9), end):
                reads.clear()
                remembered = told_of(person, day, few=16)
                assert not reads
                assert remembered == told_of(person, day, few=0)


def test_a_writing_session_keeps_nothing(books: tuple[Database, list[Written]]) -> None:
    db, written = books
    until(db, END)
    persons = [one.me for one in written]
    with db.write() as session:
        inside = histories.read(session, persons, END)
    assert any(inside.books.values())

    with db.read() as session:
        assert db._kept == {}, "nothing was kept"
        outside = histories.read(session, persons, END)

    assert outside.books.keys() == inside.books.keys()


def test_a_trade_counts_on_its_day_though_another_name_was_booked_before_it() -> None:
    account = AccountId("acc_1")

    def row(number: int, lot: str, name: int, kind: str, nanos: int, on: str) -> LotEvent:
        cents = nanos if kind == "open" else -40
        return LotEvent(
            f"lev_{number}", lot, account, name, kind, nanos, cents, 30, f"fil_{number}", on
        )

    rows = [
        row(1, "lot_a", 1, "open", 80, "2026-07-23"),
        row(2, "lot_a", 1, "close", -40, "2026-08-17"),
        row(3, "lot_b", 2, "open", 50, "2026-08-20"),
        row(4, "lot_a", 1, "close", -40, "2026-08-17"),  # executed that day, heard of later
        row(5, "lot_b", 2, "close", -50, "2026-08-19"),  # its lot did not exist before
    ]

    told = streams.booked(account, rows)

    assert [(on.day, type(event).__name__) for on, event in told] == [
        (23, "Purchase"),
        (17, "Sale"),
        (17, "Sale"),
        (20, "Purchase"),
        (20, "Sale"),
    ]
