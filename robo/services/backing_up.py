"""Backups: one archive with the books, the anchors and the embedded simulators, and their hashes.

Order matters. After the database come the anchors that it counts, none younger: a restored database
is never older than its anchors, and misses none that it knows of. The broker's own file comes last,
so that the database never knows an execution that its broker does not.
Keys are left out unless asked for: an archive without them cannot be read by a thief.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from robo.core.clock import Clock, iso_instant, to_micros
from robo.core.errors import ConflictError, InvalidInputError
from robo.services import anchoring
from robo.store import copying
from robo.store.database import Database

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_SKIPPED: Final = frozenset(
    {"simulated_market", "metrics", "robo.db", "keys", "anchors", "operator.key"}
)
"""Rebuilt from the seed, copied on their own terms, or secret."""
_SIDE_FILES: Final = ("-wal", "-shm", "-journal", ".lock")


@dataclass(frozen=True, slots=True)
class Places:
    """Directories that a backup reads and a restore fills."""

    state: Path
    anchors: Path
    keys: Path


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in an archive."""

    format: int
    made_at: str
    dialect: str
    revision: str
    with_keys: bool
    sha256: dict[str, str]


def backup(
    db: Database, clock: Clock, places: Places, target: Path, *, with_keys: bool = False
) -> Manifest:
    """Write an archive that only its owner may read; it appears whole or not at all.

    Args:
        db: Read in one snapshot, while everything goes on.
        clock: Dates the archive.
        places: What to copy beside the database.
        target: The archive; must not exist.
        with_keys: Whether the keys go in as well.

    Raises:
        ConflictError: If the target exists.
    """
    if target.exists():
        message = f"{target} exists; a backup never replaces a file"
        raise ConflictError(message)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
        staged = Path(folder) / "content"
        staged.mkdir()
        dumped = copying.dump(db, staged / "books")
        counted = dumped.counters.get(anchoring.COUNTER, 0)
        _copy(anchoring.files_until(places.anchors, counted), places.anchors, staged / "anchors")
        if with_keys:
            _copy_tree(places.keys, staged / "keys")
        _copy_state(places, staged / "state")
        manifest = Manifest(
            format=FORMAT,
            made_at=iso_instant(to_micros(clock.now())),
            dialect="sqlite" if db.is_sqlite else "postgresql",
            revision=dumped.revision,
            with_keys=with_keys,
            sha256={_inside(path, staged): _digest(path) for path in _all_files(staged)},
        )
        (staged / _MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
        archive = Path(folder) / "archive"
        archive.touch(mode=0o600)
        with tarfile.open(archive, "w:gz", compresslevel=3) as tar:
            for path in _all_files(staged):
                tar.add(path, _inside(path, staged), recursive=False)
        _flush(archive)
        target.hardlink_to(archive)
    return manifest


def restore(db: Database, places: Places, archive: Path) -> Manifest:
    """Fill an empty installation from an archive.

    Anchors and keys that are there already stay: they may be newer, and then they prove more.

    Args:
        db: Empty: no table of ours.
        places: Where the other files go.
        archive: Made by `backup` from the same kind of database.

    Raises:
        ConflictError: If the database or the state directory is not empty.
        InvalidInputError: If the archive is damaged, or of another kind of database.
    """
    if not copying.is_empty(db):
        message = "the database is not empty: restore into a new one"
        raise ConflictError(message)
    if any(_state_files(places)):
        message = f"{places.state} is not empty: restore into a new state directory"
        raise ConflictError(message)
    places.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=places.state, prefix=".restore-") as folder:
        staged = Path(folder)
        manifest = _unpack(archive, staged)
        if (manifest.dialect == "sqlite") != db.is_sqlite:
            message = f"the archive is of {manifest.dialect}"
            raise InvalidInputError(message, code="archive_dialect")
        for name, place in (("keys", places.keys), ("anchors", places.anchors)):
            if not place.exists() or not any(place.iterdir()):
                _copy_tree(staged / name, place)
        _copy_tree(staged / "state", places.state)
        # The database comes last: a crash before leaves an installation that is visibly empty.
        copying.load(db, staged / "books", manifest.revision)
    return manifest


def _unpack(archive: Path, staged: Path) -> Manifest:
    """Extract what the manifest lists, nothing else, and check every hash."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            content = tar.extractfile(_MANIFEST)
            manifest = Manifest(**json.loads(content.read() if content else b"{}"))
            if manifest.format != FORMAT:
                message = f"the archive has format {manifest.format}, this code reads {FORMAT}"
                raise InvalidInputError(message, code="archive_format")
            for name in manifest.sha256:
                _extract(tar, name, staged)
    except (tarfile.TarError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        message = f"the archive cannot be read: {type(error).__name__}"
        raise InvalidInputError(message, code="archive_damaged") from error
    damaged = [n for n, digest in manifest.sha256.items() if _digest(staged / n) != digest]
    if damaged:
        message = f"the archive is damaged: {', '.join(damaged)}"
        raise InvalidInputError(message, code="archive_damaged")
    return manifest


def _extract(tar: tarfile.TarFile, name: str, staged: Path) -> None:
    parts = PurePosixPath(name).parts
    member = tar.extractfile(name)
    if member is None or ".." in parts or PurePosixPath(name).is_absolute():
        message = f"the archive holds a name that is not a file: {name}"
        raise InvalidInputError(message, code="archive_damaged")
    target = staged.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.touch(mode=0o600)
    with target.open("wb") as out:
        shutil.copyfileobj(member, out)


def _state_files(places: Places) -> Iterator[Path]:
    """Yield what plug-ins keep in the state directory, without what can be made again."""
    if not places.state.exists():
        return
    for top in sorted(places.state.iterdir()):
        apart = top in {places.anchors, places.keys}
        if apart or top.name in _SKIPPED or top.name.startswith(("robo.db-", ".")):
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and not path.name.endswith(_SIDE_FILES):
                yield path


def _copy_state(places: Places, target: Path) -> None:
    for path in _state_files(places):
        copy = target / path.relative_to(places.state)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".db":
            copying.copy_sqlite(path, copy)
        else:
            shutil.copyfile(path, copy)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy files with their permissions; nothing where there is no source."""
    if source.exists():
        _copy(_all_files(source), source, target)


def _copy(files: Sequence[Path], source: Path, target: Path) -> None:
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(path, copy)
        copy.chmod(0o600)


def _all_files(folder: Path) -> Sequence[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as content:
        os.fsync(content.fileno())


def as_text(manifest: Manifest) -> str:
    """Return a manifest as one JSON line, without the list of files."""
    told: dict[str, Any] = asdict(manifest)
    told["files"] = len(told.pop("sha256"))
    return json.dumps(told)
