"""Anchors: deltas that add up, files that cannot be changed or removed unnoticed."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from robo.core.clock import FixedClock
from robo.services import anchoring
from robo.services.anchoring import AnchorError, anchor, read_anchors
from robo.store import chains
from robo.store.chains import Link
from robo.store.database import Database
from robo.store.firms import AUDIT
from robo.store.keyring import Keyring

KEYS = Keyring(chain=bytes(range(32)), wrap=bytes(32), index=bytes(32))


class Book:
    """A database in which chains grow."""

    def __init__(self, db: Database, clock: FixedClock, folder: Path) -> None:
        self.db, self.clock, self.folder, self.rows = db, clock, folder, 0

    def grow(self, names: Sequence[str]) -> None:
        links = []
        for name in names:
            self.rows += 1
            links.append(Link(AUDIT, name, (f"aud_{self.rows}", "op", "x", "y", "0", 1)))
        with self.db.write() as session:
            chains.append(session, KEYS.chain, links, 1)

    def anchor(self) -> anchoring.AnchorHeader | None:
        return anchor(self.db, KEYS, self.clock, self.folder)

    def heads(self) -> dict[str, tuple[int, bytes]]:
        with self.db.read() as session:
            return {name: (seq, mac) for name, seq, mac in chains.heads(session)}

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("anchor-*"))


@pytest.fixture
def book(any_database: Database, fixed_clock: FixedClock, tmp_path: Path) -> Book:
    return Book(any_database, fixed_clock, tmp_path / "anchors")


def test_deltas_add_up_to_the_heads(book: Book) -> None:
    book.grow([f"acc_{n}" for n in range(50)])
    sizes = []
    for step in range(6):
        made = book.anchor()
        assert made is not None
        sizes.append((made.number, made.changed, made.full))
        assert read_anchors(book.folder, KEYS) == book.heads()
        book.grow([f"acc_{step}", "acc_new", "Zoe", "a.b"])

    # Chains sort by bytes on both databases, whatever their collation.
    assert sizes == [(1, 50, True), *((n, 4, False) for n in range(2, 7))]


def test_nothing_new_writes_nothing(book: Book) -> None:
    assert book.anchor() is None
    book.grow(["acc_1"])
    assert book.anchor() is not None

    assert book.anchor() is None
    assert len(book.files()) == 1


def test_a_full_anchor_comes_when_deltas_outgrow_it_and_older_files_may_go(book: Book) -> None:
    for _ in range(8):
        book.grow(["acc_1", "acc_2", "acc_3"])
        book.anchor()
    full = [path for path in book.files() if anchoring._header(path).full]
    assert len(full) > 1

    for path in book.files():
        if path < full[-1]:
            path.unlink()

    assert read_anchors(book.folder, KEYS) == book.heads()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_changed_anchor_is_found(book: Book, victim: int) -> None:
    for _ in range(3):
        book.grow(["acc_1", "acc_2"])
        book.anchor()
    path = book.files()[victim]
    path.chmod(0o600)
    content = bytearray(path.read_bytes())

    for place in range(0, len(content), 17):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(AnchorError):
            read_anchors(book.folder, KEYS)


def test_an_anchor_removed_from_the_middle_is_found(book: Book) -> None:
    for _ in range(3):
        book.grow(["acc_1", "acc_2"])
        book.anchor()
    book.files()[1].unlink()

    with pytest.raises(AnchorError) as caught:
        read_anchors(book.folder, KEYS)

    assert caught.value.code == "anchor_missing"


def test_a_delta_without_its_full_anchor_is_found(book: Book) -> None:
    book.grow(["acc_1", "acc_2", "acc_3"])
    book.anchor()
    book.grow(["acc_1"])
    book.anchor()
    book.files()[0].unlink()

    with pytest.raises(AnchorError):
        read_anchors(book.folder, KEYS)


def test_a_crash_leaves_no_half_anchor(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.grow(["acc_1"])

    def crash(*_: object) -> None:
        message = "power"
        raise OSError(message)

    monkeypatch.setattr(anchoring, "_publish", crash)
    with pytest.raises(OSError, match="power"):
        book.anchor()
    monkeypatch.undo()

    assert list(book.folder.iterdir()) == []
    assert book.anchor() is not None


def test_two_processes_that_anchor_at_once_make_one_anchor(book: Book) -> None:
    book.grow(["acc_1"])
    book.anchor()
    second = book.files()[0]
    book.grow(["acc_1"])
    draft = second.with_name("anchor-00000002.txt")
    draft.hardlink_to(second)  # the other process was faster

    with pytest.raises((AnchorError, FileExistsError)):
        book.anchor()
