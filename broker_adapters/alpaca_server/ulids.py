"""Ids of events: they sort by the millisecond that they begin with."""

import hashlib
from typing import Final

_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH: Final = 26
_RANDOM_BITS: Final = 80


def ulid(micros: int, key: str) -> str:
    """Return an id that sorts by its millisecond; what follows hangs on the key alone."""
    digest = hashlib.sha256(key.encode()).digest()
    number = (micros // 1000) << _RANDOM_BITS
    number |= int.from_bytes(digest[:10], "big")
    letters = [_LETTERS[(number >> (5 * place)) & 31] for place in range(_LENGTH)]
    return "".join(reversed(letters))
