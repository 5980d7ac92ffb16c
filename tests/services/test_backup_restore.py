"""Backups: made while everything runs, restored into an empty installation, verified clean."""

import stat
import tarfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from world import make_world

from robo.core.clock import FixedClock
from robo.core.errors import ConflictError, InvalidInputError
from robo.core.market_calendar import MarketCalendar
from robo.runtime import load_keyring
from robo.services import anchoring
from robo.services.backing_up import Places, backup, restore
from robo.services.verifying import verify
from robo.store import chains, copying
from robo.store.chains import Link
from robo.store.database import Database
from robo.store.firms import AUDIT
from robo.store.keyring import Keyring

TABLES = ("transfer", "balance", "orders", "fill", "lot", "chain_head", "security", "audit")
KEYS = Keyring(chain=bytes(range(32)), wrap=bytes(32), index=bytes(32))


@dataclass
class Home:
    """A small installation: a database, files of plug-ins, keys and anchors."""

    db: Database
    clock: FixedClock
    places: Places
    rows: int = 0

    def grow(self, count: int) -> None:
        links = [
            Link(AUDIT, f"acc_{n % 7}", (f"aud_{n}", "op", "x", "y", "0", 1))
            for n in range(self.rows, self.rows + count)
        ]
        self.rows += count
        with self.db.write() as session:
            chains.append(session, KEYS.chain, links, 1)


@pytest.fixture
def home(any_database: Database, fixed_clock: FixedClock, tmp_path: Path) -> Home:
    state = tmp_path / "state"
    places = Places(state, state / "anchors", state / "keys")
    for name, content in (
        ("keys/chain.key", KEYS.chain),
        ("operator.key", b"ra_pk_secret"),
        ("mail/1.eml", b"hello"),
        ("simulated_market/x/2026.npz", b"cache"),
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(content)
    made = Home(any_database, fixed_clock, places)
    made.grow(100)
    anchoring.anchor(made.db, KEYS, fixed_clock, places.anchors)
    return made


def other_places(tmp_path: Path) -> Places:
    folder = tmp_path / "second"
    return Places(folder, folder / "anchors", folder / "keys")


def counts(db: Database) -> dict[str, int]:
    with db.read() as session:
        connection = session.connection()
        return {
            table: int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
            for table in TABLES
        }


def test_a_restored_backup_verifies_clean_and_knows_its_broker(
    empty_database: Database, migrated_url: str, tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    archive, restored = tmp_path / "robo.tar.gz", other_places(tmp_path)
    with make_world(tmp_path / "state", short_calendar, url=migrated_url) as world:
        (account,) = world.add_accounts(1)
        world.pay_in(account, 200_00)
        world.trade()
        settings = world.runtime.settings
        anchoring.anchor(world.db, world.runtime.keyring, world.clock, settings.anchors_path)
        places = Places(settings.state_path, settings.anchors_path, settings.keys_path)
        before = counts(world.db)

        backup(world.db, world.clock, places, archive, with_keys=True)
        restore(empty_database, restored, archive)

        assert counts(empty_database) == before
        assert before["fill"] >= 10
        production = replace(settings, state_dir=str(restored.state), env="production")
        assert verify(empty_database, load_keyring(production), restored.anchors) == []
        assert anchoring.latest_number(restored.anchors) == 1
        assert (restored.state / "paper" / "paper.db").stat().st_size > 0
        assert not (restored.state / "simulated_market").exists()


def test_keys_and_the_operators_key_stay_out_unless_asked_for(home: Home, tmp_path: Path) -> None:
    archive = tmp_path / "robo.tar.gz"

    backup(home.db, home.clock, home.places, archive)

    with tarfile.open(archive) as tar:
        names = tar.getnames()
        content = b"".join(
            found.read() for name in names if (found := tar.extractfile(name)) is not None
        )
    assert not [name for name in names if name.endswith(".key")]
    assert b"ra_pk_secret" not in content
    assert KEYS.chain not in content
    assert b"hello" in content
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600


def test_a_backup_replaces_nothing_and_neither_does_a_restore(
    home: Home, empty_database: Database, tmp_path: Path
) -> None:
    archive = tmp_path / "robo.tar.gz"
    backup(home.db, home.clock, home.places, archive)

    with pytest.raises(ConflictError):
        backup(home.db, home.clock, home.places, archive)
    with pytest.raises(ConflictError, match="not empty"):
        restore(home.db, other_places(tmp_path), archive)
    with pytest.raises(ConflictError, match="not empty"):
        restore(empty_database, home.places, archive)


def test_a_damaged_archive_is_refused_and_leaves_the_place_empty(
    home: Home, empty_database: Database, tmp_path: Path
) -> None:
    archive, broken = tmp_path / "robo.tar", tmp_path / "broken.tar"
    backup(home.db, home.clock, home.places, tmp_path / "robo.tar.gz")
    with tarfile.open(tmp_path / "robo.tar.gz") as tar, tarfile.open(archive, "w") as plain:
        for member in tar.getmembers():
            plain.addfile(member, tar.extractfile(member))
    body = bytearray(archive.read_bytes())

    for place in range(0, len(body), len(body) // 25):
        damaged = bytearray(body)
        damaged[place] ^= 0x55
        broken.write_bytes(damaged)
        try:
            restore(empty_database, other_places(tmp_path), broken)
        except InvalidInputError:
            continue
        # The byte lay in padding: then everything that matters must be the same.
        assert counts(empty_database) == counts(home.db)
        break


def test_an_archive_cannot_write_outside(
    home: Home, empty_database: Database, tmp_path: Path
) -> None:
    archive = tmp_path / "robo.tar.gz"
    backup(home.db, home.clock, home.places, archive)
    evil = tmp_path / "evil.tar"
    with tarfile.open(archive) as tar, tarfile.open(evil, "w") as out:
        for member in tar.getmembers():
            content = tar.extractfile(member)
            if member.name == "manifest.json":
                assert content is not None
                text = content.read().decode().replace('"books/', '"../books/', 1).encode()
                member.size = len(text)
                (tmp_path / "manifest").write_bytes(text)
                with (tmp_path / "manifest").open("rb") as changed:
                    out.addfile(member, changed)
                continue
            if member.name.startswith("books/"):
                member.name = f"../{member.name}"
            out.addfile(member, content)

    with pytest.raises(InvalidInputError):
        restore(empty_database, other_places(tmp_path), evil)

    assert not (tmp_path / "books").exists()


def test_a_backup_under_writes_is_one_moment(
    home: Home, empty_database: Database, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            home.grow(5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup(home.db, home.clock, home.places, tmp_path / "a.tar.gz", with_keys=True)
    finally:
        stop.set()
        writer.join()
    restored = other_places(tmp_path)
    restore(empty_database, restored, tmp_path / "a.tar.gz")

    assert verify(empty_database, KEYS, restored.anchors) == []
    assert 100 <= counts(empty_database)["audit"] <= counts(home.db)["audit"]


@pytest.mark.parametrize("when", ["before the snapshot", "after it"])
def test_an_anchor_written_while_a_backup_is_made_does_not_spoil_it(
    home: Home,
    empty_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    dump = copying.dump

    def meanwhile(db: Database, folder: Path) -> copying.Dumped:
        dumped = dump(db, folder) if when == "after it" else None
        home.grow(5)
        anchoring.anchor(db, KEYS, home.clock, home.places.anchors)
        return dumped or dump(db, folder)

    monkeypatch.setattr(copying, "dump", meanwhile)
    restored = other_places(tmp_path)

    backup(home.db, home.clock, home.places, tmp_path / "a.tar.gz")
    restore(empty_database, restored, tmp_path / "a.tar.gz")

    assert verify(empty_database, KEYS, restored.anchors) == []
    assert anchoring.latest_number(home.places.anchors) == 2
    assert anchoring.latest_number(restored.anchors) == (1 if when == "after it" else 2)
