"""Keys that never enter the database, and the envelope that keeps personal data shreddable."""

import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from robo.core.errors import BrokenInvariantError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """Secrets of this installation, 32 bytes each.

    Attributes:
        chain: Signs the chains of the books.
        wrap: Encrypts the data keys of customers (the key-encryption key).
        index: Makes blind indexes, so that an e-mail can be found without being readable.
    """

    chain: bytes
    wrap: bytes
    index: bytes

    def __post_init__(self) -> None:
        """Refuse keys of another length."""
        assert all(len(key) == KEY_BYTES for key in (self.chain, self.wrap, self.index))

    def __repr__(self) -> str:
        """Return nothing of the keys."""
        return "Keyring(…)"

    def blind_index(self, kind: str, value: str) -> bytes:
        """Return what stands for a value in an index: equal values meet, nobody can read them."""
        return hmac.digest(self.index, f"{kind}\x1f{value}".encode(), "sha256")

    def new_data_key(self, owner: str) -> bytes:
        """Return a fresh data key, wrapped for storage; the owner's id is bound in."""
        return seal(self.wrap, AESGCM.generate_key(8 * KEY_BYTES), f"data-key:{owner}")

    def open_data_key(self, owner: str, wrapped: bytes) -> bytes:
        """Return a customer's data key."""
        return unseal(self.wrap, wrapped, f"data-key:{owner}")


def seal(key: bytes, plain: bytes, bound_to: str) -> bytes:
    """Return AES-256-GCM cipher text; it opens only with the same `bound_to`, `table:row:field`."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, plain, bound_to.encode())


def unseal(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    """Return the plain bytes.

    Raises:
        BrokenInvariantError: If the key is another, or the cipher text was changed or moved.
    """
    if sealed[:1] != _VERSION:
        message = "sealed bytes have an unknown version"
        raise BrokenInvariantError(message, code="sealed_version")
    nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, body, bound_to.encode())
    except InvalidTag as error:
        message = "sealed bytes do not open: wrong key, changed, or moved to another row"
        raise BrokenInvariantError(message, code="sealed_tampered") from error


def seal_json(key: bytes, value: object, bound_to: str) -> bytes:
    """Return the sealed JSON of a value."""
    return seal(key, json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), bound_to)


def unseal_json(key: bytes, sealed: bytes, bound_to: str) -> object:
    """Return the value of sealed JSON."""
    value: object = json.loads(unseal(key, sealed, bound_to))
    return value
