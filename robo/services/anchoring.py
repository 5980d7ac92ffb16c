"""Anchors: the heads of all chains, written outside the database so that it cannot forget them.

An anchor is one file, `anchor-00000007.txt`: a header, one line for each chain that moved since the
anchor before, a signature. The header holds the hash of the previous file, so anchors form a chain
of their own; the signature is an HMAC with the key of the chains. Now and then an anchor is full,
it repeats every head, and older files may then be archived.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from heapq import merge
from itertools import chain, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, iso_instant, to_micros
from robo.core.errors import BrokenInvariantError
from robo.store import chains, jobs
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.schema import chain_tables

_PREFIX: Final = "anchor-"
_SUFFIX: Final = ".txt"
_DIGITS: Final = 8
_FIRST_PREVIOUS: Final = "0" * 64
_DOMAIN: Final = b"robo-anchor\x1f"
_BATCH: Final = 5_000
_DELTAS_MAX: Final = 64
"""A full anchor after so many deltas, so that reading never opens more files."""
COUNTER: Final = "anchor"
"""The database's counter that remembers how many anchors there must be."""

Head = tuple[str, int, bytes]
"""Chain, count of its rows, code of the last."""


@dataclass(frozen=True, slots=True)
class AnchorHeader:
    """The first line of an anchor."""

    number: int
    previous: str
    """SHA-256 of the previous file, zeros for the first."""
    at: str
    chains: int
    rows: int
    """Chained rows in the whole database."""
    changed: int
    full: bool


class AnchorError(BrokenInvariantError):
    """An anchor was changed, removed, or signed with another key."""

    code = "anchor_damaged"


def anchor(db: Database, keyring: Keyring, clock: Clock, directory: Path) -> AnchorHeader | None:
    """Write what changed since the last anchor; return None where nothing did.

    The heads are read in one snapshot and merged with the files already there, both in order of
    chain, so that memory does not grow with the number of accounts and no clock decides what is
    new.

    Raises:
        AnchorError: If the anchors that are there are damaged.
        FileExistsError: If another process wrote this anchor at the same time.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = directory / f".draft-{secrets.token_hex(4)}"
    try:
        header = _write_draft(db, keyring, clock, directory, draft)
        if header is not None:
            _publish(draft, directory / _name(header.number))
    finally:
        draft.unlink(missing_ok=True)
    # Also where nothing changed: a crash after publishing leaves the counter one behind.
    number = header.number if header is not None else latest_number(directory)
    with db.write() as session:
        jobs.raise_counter(session, COUNTER, number)
    return header


def read_anchors(directory: Path, keyring: Keyring) -> dict[str, tuple[int, bytes]]:
    """Return chain -> (count, code) as the anchors tell it; empty if there are none.

    Raises:
        AnchorError: If a file is missing between others, changed, or signed with another key.
    """
    files = _proved(_files(directory), keyring)
    return {name: (seq, mac) for name, seq, mac in _current(_since_full(files))}


def latest_number(directory: Path) -> int:
    """Return the number of the newest anchor, zero if there is none."""
    return max((_number(path) for path in _files(directory)), default=0)


def files_until(directory: Path, number: int) -> list[Path]:
    """Return the anchors up to a number, oldest first."""
    return [path for path in _files(directory) if _number(path) <= number]


def _write_draft(
    db: Database, keyring: Keyring, clock: Clock, directory: Path, draft: Path
) -> AnchorHeader | None:
    # Older files are proved by `verify`; the next anchor hangs on those since the last full one.
    known = _proved(_since_full(_files(directory)), keyring)
    full = not known or _full_is_due(known)
    body = draft.with_name(draft.name + ".body")
    counts = _Counts()
    try:
        with db.read() as session, body.open("w", encoding="ascii") as out:
            moved: list[Head] = []
            for head, old in _beside(chains.heads(session), _current(known)):
                if counts.take(head, old) or full:
                    out.write(_line(head))
                if old is not None and head != old:
                    moved.append(old)
                if len(moved) >= _BATCH:
                    _require_kept(session, moved)
                    moved = []
            _require_kept(session, moved)
        if not counts.changed:
            return None
        header = AnchorHeader(
            number=_number(known[-1]) + 1 if known else 1,
            previous=_digest(known[-1]) if known else _FIRST_PREVIOUS,
            at=iso_instant(to_micros(clock.now())),
            chains=counts.chains,
            rows=counts.rows,
            changed=counts.changed,
            full=full,
        )
        _sign(keyring.chain, header, body, draft)
        return header
    finally:
        body.unlink(missing_ok=True)


@dataclass(slots=True)
class _Counts:
    chains: int = 0
    rows: int = 0
    changed: int = 0

    def take(self, head: Head, old: Head | None) -> bool:
        """Count a head; return whether it moved."""
        self.chains += 1
        self.rows += head[1]
        self.changed += head != old
        return head != old


def _require_kept(session: Session, olds: Sequence[Head]) -> None:
    """Refuse to anchor over lost rows: the next anchor would hide what the last one proves."""
    found = chains.codes_at(session, chain_tables(), [(name, seq) for name, seq, _ in olds])
    for name, seq, mac in olds:
        if found.get((name, seq)) != mac:
            message = f"chain {name} lost or changed row {seq}, which was anchored"
            raise AnchorError(message, code="anchored_row_missing")


def _full_is_due(known: Sequence[Path]) -> bool:
    headers = [_header(path) for path in known]
    return len(known) > _DELTAS_MAX or sum(h.changed for h in headers[1:]) > headers[-1].chains


def _beside(heads: Iterable[Head], olds: Iterable[Head]) -> Iterator[tuple[Head, Head | None]]:
    """Yield each head with what was anchored of its chain; both come in order of chain.

    Raises:
        AnchorError: If a chain that was anchored is gone.
    """
    remaining = iter(olds)
    old = next(remaining, None)
    for head in heads:
        _require_reached(old, head[0])
        if old is not None and old[0] == head[0]:
            yield head, old
            old = next(remaining, None)
        else:
            yield head, None
    _require_reached(old, None)


def _require_reached(old: Head | None, name: str | None) -> None:
    if old is not None and (name is None or old[0] < name):
        message = f"chain {old[0]} was anchored and is gone"
        raise AnchorError(message, code="anchored_row_missing")


def _sign(key: bytes, header: AnchorHeader, body: Path, draft: Path) -> None:
    mac = hmac.new(key, _DOMAIN, "sha256")
    draft.touch(mode=0o600)
    with draft.open("wb") as out, body.open("rb") as lines:
        for line in chain((json.dumps(asdict(header)).encode() + b"\n",), lines):
            mac.update(line)
            out.write(line)
        out.write(f"hmac {mac.hexdigest()}\n".encode())
        out.flush()
        os.fsync(out.fileno())
    draft.chmod(0o400)


def _publish(draft: Path, final: Path) -> None:
    """Give the draft its name, atomically and never over another file."""
    final.hardlink_to(draft)
    handle = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _proved(files: Sequence[Path], keyring: Keyring) -> Sequence[Path]:
    """Return the files after checking each signature, and that each follows the one before."""
    for path in files:
        _check_signature(path, keyring.chain)
    for older, newer in pairwise(files):
        if _number(newer) != _number(older) + 1 or _header(newer).previous != _digest(older):
            message = f"{newer.name} does not follow {older.name}"
            raise AnchorError(message, code="anchor_missing")
    return files


def _since_full(files: Sequence[Path]) -> Sequence[Path]:
    """Return the files from the newest full anchor on."""
    for index in range(len(files) - 1, -1, -1):
        if _header(files[index]).full:
            return files[index:]
    if files:
        message = f"{files[0].name} is not complete, and what came before it is missing"
        raise AnchorError(message, code="anchor_missing")
    return files


def _check_signature(path: Path, key: bytes) -> None:
    mac = hmac.new(key, _DOMAIN, "sha256")
    signed = b""
    with path.open("rb") as lines:
        for line in lines:
            if signed:
                mac.update(signed)
            signed = line
    if not hmac.compare_digest(signed, f"hmac {mac.hexdigest()}\n".encode()):
        message = f"{path.name} was changed, or signed with another key"
        raise AnchorError(message)
    if _header(path).number != _number(path):
        message = f"{path.name} bears another anchor's number"
        raise AnchorError(message)


def _current(files: Sequence[Path]) -> Iterator[Head]:
    """Yield the newest anchored head of each chain, in order of chain."""
    with ExitStack() as stack:
        streams = []
        for age, path in enumerate(reversed(files)):
            lines = stack.enter_context(path.open(encoding="ascii"))
            streams.append(_aged(lines, age))
        for _, group in groupby(merge(*streams), key=itemgetter(0)):
            name, _, seq, mac = next(group)
            yield name, seq, mac


def _aged(lines: Iterable[str], age: int) -> Iterator[tuple[str, int, int, bytes]]:
    for line in lines:
        if not line.startswith(("{", "hmac ")):
            name, seq, mac = _parsed(line)
            yield name, age, seq, mac


def _parsed(line: str) -> Head:
    name, seq, mac = line.split(" ")
    return name, int(seq), bytes.fromhex(mac)


def _line(head: Head) -> str:
    name, seq, mac = head
    assert " " not in name
    return f"{name} {seq} {mac.hex()}\n"


def _header(path: Path) -> AnchorHeader:
    try:
        with path.open(encoding="ascii") as lines:
            return AnchorHeader(**json.loads(next(lines)))
    except (ValueError, TypeError, StopIteration) as error:
        message = f"{path.name} has no header"
        raise AnchorError(message) from error


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _name(number: int) -> str:
    return f"{_PREFIX}{number:0{_DIGITS}d}{_SUFFIX}"


def _number(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{_PREFIX}{'[0-9]' * _DIGITS}{_SUFFIX}"))
