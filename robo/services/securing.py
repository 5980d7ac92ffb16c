"""Secrets: password hashes, tokens, one-time codes; shared by everything that signs people in."""

import hashlib
import hmac
import secrets
import threading
from base64 import b32encode, urlsafe_b64encode
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final, NoReturn

import pyotp
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from robo.core.errors import InvalidInputError
from robo.core.policy import Policy

ACCESS_PREFIX: Final = "ra_at_"
REFRESH_PREFIX: Final = "ra_rt_"
KEY_PREFIX: Final = "ra_pk_"
MAIL_PREFIX: Final = "ra_mt_"
"""Prefixes let secret scanners find a token that was pasted somewhere."""
_TOKEN_BYTES: Final = 32
_TOKEN_CHARS: Final = 43
RECOVERY_CODES: Final = 10
_CONTEXT_WORD_MIN: Final = 4
_TOTP_SECONDS: Final = 30
_TOTP_DRIFT_STEPS: Final = 1


@dataclass(slots=True)
class Hasher:
    """Argon2id with a bound on how many hashes run at once.

    The default costs (19 MiB, 2 passes, 1 lane) are the smallest that OWASP accepts and cost about
    27 ms here; the semaphore keeps a storm of logins from taking all memory and both cores.
    """

    memory_kib: int = 19_456
    passes: int = 2
    at_once: int = 2
    _argon: PasswordHasher = field(init=False, repr=False)
    _turn: threading.BoundedSemaphore = field(init=False, repr=False)
    _dummy: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the hasher, and the hash that stands in for customers who do not exist."""
        self._argon = PasswordHasher(
            time_cost=self.passes, memory_cost=self.memory_kib, parallelism=1, type=Type.ID
        )
        self._turn = threading.BoundedSemaphore(self.at_once)
        self._dummy = self._argon.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """Return the hash of a password, parameters and salt inside."""
        with self._turn:
            return self._argon.hash(password)

    def verify(self, password: str, hashed: str | None) -> bool:
        """Return whether a password fits; a missing hash costs the same time and never fits."""
        with self._turn:
            try:
                self._argon.verify(hashed or self._dummy, password)
            except (VerificationError, InvalidHashError):
                return False
        return hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Return whether a hash was made with other costs than today's."""
        return self._argon.check_needs_rehash(hashed)


def new_token(prefix: str) -> str:
    """Return a fresh secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(_TOKEN_BYTES)


def successor_token(key: bytes, prefix: str, token: str) -> str:
    """Return the one token that follows another.

    Derived, not drawn, so that a repeated refresh gets the very same answer although we keep
    hashes only; without the key nobody can tell it from a random one.
    """
    raw = hmac.digest(key, f"successor\x1f{prefix}\x1f{token}".encode(), "sha256")
    return prefix + urlsafe_b64encode(raw).decode().rstrip("=")


def digest(token: str) -> bytes:
    """Return what is stored of a token; it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def looks_like(prefix: str, token: str) -> bool:
    """Return whether a text has the form of one of our tokens."""
    return token.startswith(prefix) and len(token) == len(prefix) + _TOKEN_CHARS


def normal_email(email: str) -> str:
    """Return the form under which an e-mail address is looked up; both parts in lower case.

    Raises:
        InvalidInputError: If it is not an address that mail could reach.
    """
    clean = email.strip().casefold()
    local, _, domain = clean.rpartition("@")
    labels = domain.split(".")
    fine = (
        clean.isascii()
        and clean.isprintable()
        and 0 < len(local) <= 64  # noqa: PLR2004 - RFC 5321
        and len(clean) <= 254  # noqa: PLR2004 - RFC 5321
        and all(character.isalnum() or character in "!#$%&'*+/=?^_`{|}~.-" for character in local)
        and not (local.startswith(".") or local.endswith(".") or ".." in local)
        and len(labels) > 1
        and all(_is_label(label) for label in labels)
    )
    if not fine:
        _refuse_field("email", "This is not an e-mail address.")
    return clean


def _is_label(label: str) -> bool:
    return (
        0 < len(label) <= 63  # noqa: PLR2004 - RFC 1035
        and not label.startswith("-")
        and not label.endswith("-")
        and label.replace("-", "").isalnum()
    )


def check_password(password: str, policy: Policy, *, second_factor: bool, email: str) -> None:
    """Return if a password may be used: long enough, and not one that is tried first.

    No rules about kinds of characters and no rotation: NIST SP 800-63B-4 forbids both.

    Raises:
        InvalidInputError: With the reason, on the field `password`.
    """
    least = policy.password_length_min_mfa if second_factor else policy.password_length_min
    if len(password) < least:
        _refuse_field("password", f"Use at least {least} characters; a few words work well.")
    if len(password) > policy.password_length_max:
        _refuse_field("password", f"Use at most {policy.password_length_max} characters.")
    plain = password.casefold()
    local = email.partition("@")[0]
    words = {"robo", "advisor", "robo-advisor", "roboadvisor", "basket", local}
    guessed = {plain, plain.strip(_DECORATION)} & common_passwords()
    if guessed or _is_repetition(plain) or _is_run(plain) or _is_keyboard_walk(plain):
        _refuse_field("password", "This password is among the first that attackers try.")
    rest = plain
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= _CONTEXT_WORD_MIN:
            rest = rest.replace(word, "")
    if len(rest.strip("0123456789!.-_ ")) * 2 < len(plain) and rest != plain:
        _refuse_field("password", "This is mostly your e-mail address or our name.")


_DECORATION: Final = "0123456789!?.,-_*#$@ "
"""What people put around a word to make it long enough."""
_ROWS: Final = (
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
)
_ROW_MIN: Final = 4


@cache
def common_passwords() -> frozenset[str]:
    """Return the passwords that are refused whatever their length, in lower case."""
    text = files("robo.services").joinpath("data/common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def _is_repetition(plain: str) -> bool:
    """Return whether a text is a short piece over and over, such as `abcabcabcabc`."""
    doubled = (plain + plain)[1:-1]
    return plain in doubled


def _is_keyboard_walk(plain: str) -> bool:
    """Return whether a text is whole or begun rows of a keyboard: `qwertyuiopasdfgh`."""
    rest = plain.strip(_DECORATION)
    if not rest:
        return False  # figures alone are judged as a run or a repetition
    while rest:
        steps = [length for row in _ROWS if (length := _shared(rest, row)) >= _ROW_MIN]
        if not steps:
            return False
        rest = rest[max(steps) :]
    return True


def _shared(text: str, row: str) -> int:
    return next((n for n in range(min(len(text), len(row)), 0, -1) if text[:n] == row[:n]), 0)


def _is_run(plain: str) -> bool:
    """Return whether each character follows its neighbour, up or down: `abcdef`, `98765`."""
    steps = {ord(b) - ord(a) for a, b in pairwise(plain)}
    return len(steps) == 1 and steps <= {-1, 0, 1}


def new_totp_secret() -> str:
    """Return a fresh shared secret of 160 bits for an authenticator app."""
    return pyotp.random_base32()


def totp_uri(secret: str, email: str, issuer: str) -> str:
    """Return the address that an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def totp_step(secret: str, code: str, at_micros: int, last_step: int) -> int | None:
    """Return the time step that a code belongs to, or None if it fits none that is still unused.

    Args:
        secret: The shared secret.
        code: Six digits.
        at_micros: Now.
        last_step: The last accepted step: a code works once.
    """
    now = at_micros // 1_000_000 // _TOTP_SECONDS
    machine = pyotp.TOTP(secret)
    found: int | None = None
    for step in range(now - _TOTP_DRIFT_STEPS, now + _TOTP_DRIFT_STEPS + 1):
        fits = hmac.compare_digest(machine.generate_otp(step).encode(), code.encode())
        if fits and step > last_step:
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Return ten one-time codes of 80 random bits, in groups of four."""
    made = []
    for _ in range(RECOVERY_CODES):
        raw = b32encode(secrets.token_bytes(10)).decode().lower()
        made.append("-".join(raw[i : i + 4] for i in range(0, len(raw), 4)))
    return made


def normal_recovery_code(code: str) -> str:
    """Return a recovery code as it is hashed: lower case, groups joined by hyphens."""
    plain = "".join(character for character in code.lower() if character.isalnum())
    return "-".join(plain[i : i + 4] for i in range(0, len(plain), 4))


def _refuse_field(name: str, message: str) -> NoReturn:
    raise InvalidInputError(message, code=f"bad_{name}", fields={name: [message]})
