"""Passwords, second factors, sessions, single-use tokens, throttles; hashes only."""

from sqlmodel import SQLModel

from robo.store.columns import STRICT, blob, integer, one_of, text


class CredentialRow(SQLModel, table=True):
    """How a customer proves who they are."""

    __tablename__ = "credential"
    __table_args__ = (STRICT,)
    customer_id: str = text(key=True, to="customer.id")
    password_hash: str = text()
    """Argon2id, with its own parameters."""
    failures: int = integer(default=0)
    """Consecutive failed logins."""
    locked_until: int | None = integer(null=True)
    totp_sealed: bytes | None = blob(null=True)
    totp_enrolled_at: int | None = integer(null=True)
    totp_last_step: int = integer(default=0)
    """The last accepted time step: a code works once."""
    changed_at: int = integer()


class RecoveryCodeRow(SQLModel, table=True):
    """A hashed one-time code for a lost second factor."""

    __tablename__ = "recovery_code"
    __table_args__ = (STRICT,)
    code_sha256: bytes = blob(key=True)
    customer_id: str = text(to="customer.id", index=True)
    used_at: int | None = integer(null=True)


class TokenFamilyRow(SQLModel, table=True):
    """A login; every access and refresh token descends from one."""

    __tablename__ = "token_family"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    scopes: str = text()
    label: str = text(default="")
    """What the customer sees in the list of sessions; no address of the network."""
    created_at: int = integer()
    last_used_at: int = integer()
    expires_at: int = integer()
    """Absolute end, however often it is refreshed."""
    revoked_at: int | None = integer(null=True)
    revoked_why: str | None = text(null=True)


class AccessTokenRow(SQLModel, table=True):
    """A short-lived bearer token."""

    __tablename__ = "access_token"
    __table_args__ = (STRICT,)
    token_sha256: bytes = blob(key=True)
    family_id: str = text(to="token_family.id", index=True)
    issued_at: int = integer()
    expires_at: int = integer(index=True)
    stepped_up_at: int | None = integer(null=True)
    """When a password or second factor was shown last; sensitive actions look at it."""


class RefreshTokenRow(SQLModel, table=True):
    """A refresh token; used once, and its reuse revokes the family."""

    __tablename__ = "refresh_token"
    __table_args__ = (STRICT,)
    token_sha256: bytes = blob(key=True)
    family_id: str = text(to="token_family.id", index=True)
    issued_at: int = integer()
    expires_at: int = integer(index=True)
    used_at: int | None = integer(null=True)


class SingleUseTokenRow(SQLModel, table=True):
    """A token sent by mail: it works once, until it expires."""

    __tablename__ = "single_use_token"
    __table_args__ = (
        one_of("single_use_purpose", "purpose", "email_verify", "password_reset", "document"),
        STRICT,
    )
    token_sha256: bytes = blob(key=True)
    customer_id: str = text(to="customer.id", index=True)
    purpose: str = text()
    subject: str = text(default="")
    """What it is about, for example the agreement that was delivered."""
    expires_at: int = integer(index=True)
    used_at: int | None = integer(null=True)


class ThrottleRow(SQLModel, table=True):
    """A counter of attempts in a window, shared by all processes and kept over restarts."""

    __tablename__ = "throttle"
    __table_args__ = (STRICT,)
    bucket: str = text(key=True)
    window_start: int = integer()
    count: int = integer()


class IdempotencyRow(SQLModel, table=True):
    """A stored reply, sealed, scoped to its caller."""

    __tablename__ = "idempotency"
    __table_args__ = (STRICT,)
    scope_key: bytes = blob(key=True)
    """HMAC of caller and key."""
    request_sha256: bytes = blob()
    status: int = integer()
    headers: str = text()
    reply: bytes = blob()
    """Sealed body."""
    created_at: int = integer()
    expires_at: int = integer(index=True)
