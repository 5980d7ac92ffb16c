"""Identifiers. The id is the idempotency key: the same cause can only ever make the same id."""

import base64
import hashlib
import secrets
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
_BODY_BYTES: Final = 15
"""120 bits: collisions stay out of reach at 10^12 ids, and the text is 24 characters."""


def child_id(prefix: str, *parts: str | int) -> str:
    """Return the one id that these parts can ever make, for example `ord_4q2…`.

    Args:
        prefix: Two to five lower-case letters naming the kind of thing.
        parts: What caused it, outermost first. Lengths are hashed too, so that
            ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in (prefix, *parts):
        raw = str(part).encode()
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return f"{prefix}_{_encode(digest.digest()[:_BODY_BYTES])}"


def new_id(prefix: str) -> str:
    """Return a fresh random id; only for things that nothing we know of has caused."""
    return f"{prefix}_{_encode(secrets.token_bytes(_BODY_BYTES))}"


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
