"""Identifiers. The id is the idempotency key: the same cause can only ever make the same id."""

import hashlib
import secrets
from functools import lru_cache
from typing import Final, NewType

FirmId = NewType("FirmId", str)
CustomerId = NewType("CustomerId", str)
HouseholdId = NewType("HouseholdId", str)
AccountId = NewType("AccountId", str)
SleeveId = NewType("SleeveId", str)
BatchId = NewType("BatchId", str)
OrderId = NewType("OrderId", str)
BlockId = NewType("BlockId", str)
ExecutionId = NewType("ExecutionId", str)
TransferId = NewType("TransferId", str)
LotId = NewType("LotId", str)
DepositId = NewType("DepositId", str)
WithdrawalId = NewType("WithdrawalId", str)
SecurityId = NewType("SecurityId", int)

ID_LENGTH_MAX: Final = 40
_BODY_LENGTH: Final = 30
"""120 bits in hexadecimal: collisions stay out of reach at 10^12 ids."""
_SHARED: Final = 12
_DIGITS: Final = frozenset("0123456789abcdef")


def child_id(prefix: str, *parts: str | int) -> str:
    """Return the one id that these parts can ever make, for example `ord_5e1f…`.

    Children of one cause begin alike: the first twelve digits are those of the first part (if it is
    such an id itself) or its hash. A batch's rows then lie together in the database's indexes, so
    that booking a block touches a few of their pages instead of one a row.

    Args:
        prefix: Two to five lower-case letters naming the kind of thing.
        parts: What caused it, outermost first, at least one. Lengths are hashed too, so that
            ("ab", "c") and ("a", "bc") differ.
    """
    # Spelt piece by piece, not joined from a list: a night makes ten million ids.
    spelt = f"{len(prefix)}:{prefix}"
    for part in parts:
        word = str(part)
        spelt += f"{len(word)}:{word}"
    whole = hashlib.sha256(spelt.encode()).hexdigest()
    return f"{prefix}_{_shared_digits(str(parts[0]))}{whole[: _BODY_LENGTH - _SHARED]}"


@lru_cache(maxsize=8_192)  # a batch makes many children of one cause, one after the other
def _shared_digits(cause: str) -> str:
    body = cause.rpartition("_")[2]
    if len(body) != _BODY_LENGTH or not _DIGITS.issuperset(body):  # a broker's id may be anything
        body = hashlib.sha256(cause.encode()).hexdigest()
    return body[:_SHARED]


def new_id(prefix: str) -> str:
    """Return a fresh random id; only for things that nothing we know of has caused."""
    return f"{prefix}_{secrets.token_hex(_BODY_LENGTH // 2)}"
