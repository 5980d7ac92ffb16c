"""Simulated years on disk: written whole or not at all, checked on reading, rebuilt when damaged.

A file is the SHA-256 of its body and the body, a NumPy archive without pickles. Several processes
may write the same file: each writes a private one and renames it, and both contents are equal.
"""

import hashlib
import io
import os
import secrets
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from broker_adapters.market_model import SIM_VERSION
from broker_adapters.market_years import MarketState, MarketYear
from robo.ports.plugins import ListedSecurity

_DIGEST_BYTES: Final = 32
_PRIVATE: Final = 0o600


def universe_digest(securities: Sequence[ListedSecurity], *parts: str | int) -> str:
    """Return a short name for everything that the prices depend on; symbols are not part of it."""
    digest = hashlib.sha256(repr((SIM_VERSION, *parts)).encode())
    for security in securities:
        line = (int(security.id), security.sector, security.size_cents)
        digest.update(repr(line).encode())
    return digest.hexdigest()[:16]


def sessions_digest(sessions: Sequence[date]) -> str:
    """Return a short name for the sessions of a year as far as they are known."""
    text = ",".join(day.isoformat() for day in sessions)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class YearCache:
    """One directory per universe, one file per year."""

    def __init__(self, directory: Path) -> None:
        """Use that directory; it is made when the first year is written."""
        self._directory = directory

    def read(self, sessions: Sequence[date]) -> MarketYear | None:
        """Return a year, or None if it is not there or damaged."""
        try:
            raw = self._path(sessions).read_bytes()
        except OSError:
            return None
        body = raw[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != raw[:_DIGEST_BYTES]:
            return None
        try:
            return _unpack(body, sessions)
        except (KeyError, ValueError, OSError, zipfile.BadZipFile):
            return None

    def write(self, year: MarketYear) -> None:
        """Write a year and remove what was kept of it for a shorter calendar.

        A full or read-only disk is no reason to have no prices, so failure is silent: the year is
        simply computed again next time.
        """
        path = self._path(year.sessions)
        body = _pack(year)
        private = path.with_suffix(f".{os.getpid()}-{secrets.token_hex(4)}")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            private.touch(mode=_PRIVATE)
            private.write_bytes(hashlib.sha256(body).digest() + body)
            private.replace(path)
            for old in self._directory.glob(f"{year.sessions[0].year}-*.sim"):
                if old != path:
                    old.unlink(missing_ok=True)
        except OSError:
            with suppress(OSError):
                private.unlink()

    def _path(self, sessions: Sequence[date]) -> Path:
        return self._directory / f"{sessions[0].year}-{sessions_digest(sessions)}.sim"


def _pack(year: MarketYear) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        close=year.close,
        variance=year.variance,
        halts=year.halts,
        before=year.before,
        changes=year.changes,
        actions=year.actions,
        after_price=year.after.price,
        after_close=year.after.close,
        after_variance=np.array([year.after.variance]),
    )
    return buffer.getvalue()


def _unpack(body: bytes, sessions: Sequence[date]) -> MarketYear:
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        year = MarketYear(
            sessions=tuple(sessions),
            close=file["close"],
            variance=file["variance"],
            halts=file["halts"],
            before=file["before"],
            changes=file["changes"],
            actions=file["actions"],
            after=MarketState(
                price=file["after_price"],
                close=file["after_close"],
                variance=float(file["after_variance"][0]),
            ),
        )
    if year.close.shape != (len(sessions), len(year.before)):
        message = "the cached year has another shape"
        raise ValueError(message)
    return year
