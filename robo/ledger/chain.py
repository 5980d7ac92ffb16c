"""Chains of message codes: each row's code covers its own words and the code before it."""

import hmac
from collections.abc import Iterable, Sequence
from typing import Final

GENESIS: Final = bytes(32)
_FIELD = "\x1f"
_NONE = "\x00"


def payload(table: str, chain: str, seq: int, values: Iterable[object]) -> bytes:
    """Return the canonical bytes of a chained row.

    Fields are joined by the unit separator; None has a sign of its own. Values are ids, codes and
    integers that we wrote, none of which may contain either sign.
    """
    words = [_NONE if value is None else str(value) for value in values]
    return _FIELD.join((table, chain, str(seq), *words)).encode()


def link(key: bytes, previous: bytes, row: bytes) -> bytes:
    """Return the code of a row: HMAC-SHA256 over the previous code and the row's bytes."""
    return hmac.digest(key, previous + row, "sha256")


def extend(
    key: bytes,
    chain: str,
    seq: int,
    previous: bytes,
    rows: Sequence[tuple[str, tuple[object, ...]]],
) -> list[tuple[int, bytes]]:
    """Return (seq, code) of each row appended to a chain whose head is (seq, previous).

    Args:
        key: Secret kept outside the database.
        chain: The chain's name.
        seq: Number of rows already in the chain.
        previous: Code of the last row, GENESIS for an empty chain.
        rows: (table, values) in the order they are appended.
    """
    links: list[tuple[int, bytes]] = []
    for table, values in rows:
        seq += 1
        previous = link(key, previous, payload(table, chain, seq, values))
        links.append((seq, previous))
    return links
