"""Batches give way: who waits for the writer's turn is seen by every process, and goes first."""

import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy.exc import PendingRollbackError

from robo.core.policy import Policy
from robo.services.turns import Turns
from robo.store import beginning, waiting
from robo.store.beginning import DatabaseBusyError
from robo.store.database import Database, _frames_to_copy, connect
from robo.store.waiting import WaitingRoom

WAITS = """
import sys, time
from pathlib import Path
from robo.store.waiting import WaitingRoom
with WaitingRoom(Path(sys.argv[1])).inside():
    print("inside", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "robo.db-waiting"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    db = connect(f"sqlite:///{tmp_path / 'robo.db'}")
    with db.write() as session:
        session.connection().exec_driver_sql("CREATE TABLE note (who TEXT NOT NULL)")
    return db


def note(database: Database, who: str) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql("INSERT INTO note VALUES (?)", (who,))


def test_a_room_that_nobody_entered_is_empty_and_costs_no_file(place: Path) -> None:
    room = WaitingRoom(place)

    assert room.empty()
    assert not place.exists()


def test_a_room_is_full_until_the_last_of_several_has_left(place: Path) -> None:
    room = WaitingRoom(place)
    first, second = room.inside(), room.inside()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not WaitingRoom(place).empty()

    second.__exit__(None, None, None)
    assert WaitingRoom(place).empty()


def test_another_process_is_seen_waiting_and_leaves_nothing_behind_when_it_is_killed(
    place: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        seen = not WaitingRoom(place).empty()
        process.kill()

    assert seen
    assert WaitingRoom(place).empty()


def test_letting_others_go_first_ends_when_they_are_gone_and_ends_anyway(place: Path) -> None:
    room = WaitingRoom(place)
    began = time.monotonic()
    room.let_go_first(60.0)
    assert time.monotonic() - began < 30

    with room.inside():
        began = time.monotonic()
        room.let_go_first(0.05)
        assert time.monotonic() - began >= 0.05


def test_a_system_without_such_locks_pauses_long_enough_for_one_to_get_in(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_HAS_FILE_LOCKS", False)
    began = time.monotonic()

    with WaitingRoom(place).inside():
        WaitingRoom(place).let_go_first(60.0)

    assert 0.004 <= time.monotonic() - began < 30


def test_a_writer_that_finds_the_database_taken_is_seen_and_one_that_does_not_is_not(
    database: Database, tmp_path: Path
) -> None:
    room = WaitingRoom(tmp_path / "robo.db-waiting")
    other = threading.Thread(target=note, args=(database, "person"))

    with database.write() as session:
        session.connection()
        assert room.empty()
        other.start()
        until = time.monotonic() + 60
        while room.empty() and time.monotonic() < until:
            time.sleep(0.001)
        assert not room.empty()

    other.join()
    assert room.empty()


def test_whoever_got_no_turn_and_goes_on_all_the_same_writes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "_WRITER_WAIT_SECONDS", 0.0)
    other = connect(str(database.engine.url))

    with other.write() as holds:
        holds.connection().exec_driver_sql("INSERT INTO note VALUES ('holds')")
        with suppress(PendingRollbackError), database.write() as session:
            with suppress(DatabaseBusyError):
                session.connection()
            holds.rollback()
            session.connection().exec_driver_sql("INSERT INTO note VALUES ('astray')")
            session.rollback()

    note(database, "later")
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT who FROM note").all() == [("later",)]


def test_a_person_waits_for_one_turn_of_a_batch_and_not_for_the_batch(database: Database) -> None:
    began, over = threading.Event(), threading.Event()
    turns_begun: list[object] = []
    turns_waited: list[int] = []

    def slowly(session: object, part: object) -> None:
        turns_begun.append(part)
        began.set()
        time.sleep(0 if over.is_set() else 0.01)
        session.connection().exec_driver_sql("INSERT INTO note VALUES ('batch')")  # type: ignore[attr-defined]

    # A limit that one item takes up whole, so that each item is a turn.
    turns = Turns(database, replace(Policy.default(), write_lock_ms_max=10), size=1)
    batch = threading.Thread(target=turns.each, args=(list(range(400)), slowly))
    batch.start()
    began.wait()
    for _ in range(13):
        before = len(turns_begun)
        note(database, "person")
        turns_waited.append(len(turns_begun) - before)
        time.sleep(0.02)  # the batch goes on
    over.set()
    batch.join()

    with database.read() as session:
        count = session.connection().exec_driver_sql("SELECT count(*) FROM note").scalar()
    assert count == len(turns_begun) + 13
    # Each of the thirteen waits for two turns at most; without giving way for nearly all of the
    # batch. On a busy machine now and then one is late to say that it waits.
    assert sum(turns_waited) <= 100, turns_waited


def test_a_batch_does_not_begin_a_turn_while_somebody_waits(
    database: Database, tmp_path: Path
) -> None:
    begun = threading.Event()

    def write(session: object, part: object) -> None:
        del session, part
        begun.set()

    batch = threading.Thread(target=Turns(database, Policy.default()).each, args=([1], write))
    with WaitingRoom(tmp_path / "robo.db-waiting").inside():
        batch.start()
        assert not begun.wait(0.1)

    assert begun.wait(60)
    batch.join()


def test_a_grown_log_is_copied_back_beside_a_writer_and_by_no_commit(database: Database) -> None:
    def waiting() -> int:
        with closing(database.engine.raw_connection()) as connection:
            return _frames_to_copy(connection.driver_connection)

    with database.write() as session:
        many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        session.connection().exec_driver_sql(
            f"{many} INSERT INTO note SELECT hex(randomblob(2000)) FROM n"
        )
    grown = waiting()

    with database.write() as session:
        session.connection().exec_driver_sql("INSERT INTO note VALUES ('uncommitted')")
        database.tidy()
        left = waiting()

    assert grown > 4_000, "a commit copied its own log back"
    assert left == 0
    with database.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM note").scalar() == 5_001


_TAKE: Final = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except OSError:
        sys.exit(3)
"""
"""Asks for what SQLite asks for when it wonders whether a log's index is anybody's (byte 128)."""


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_looking_at_the_log_ends_none_of_the_locks_on_it(
    database: Database, tmp_path: Path
) -> None:
    with database.write() as session:
        session.connection().exec_driver_sql("INSERT INTO note VALUES ('held')")

    with database.read() as session:
        session.connection().exec_driver_sql("SELECT count(*) FROM note").scalar()
        database.tidy()
        taken = subprocess.run(
            [sys.executable, "-c", _TAKE, str(tmp_path / "robo.db-shm")], check=False
        )

    assert taken.returncode == 3, "another process would have begun the log anew under our feet"
