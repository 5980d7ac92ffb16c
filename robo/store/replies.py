"""Stored replies of idempotent requests: sealed, scoped to their caller, gone after a day."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlmodel import Session

from robo.store.credentials import IdempotencyRow
from robo.store.database import bulk

_REPLY: Any = IdempotencyRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_FIND: Final[Any] = select(
    _REPLY.c.request_sha256, _REPLY.c.status, _REPLY.c.headers, _REPLY.c.reply
).where(_REPLY.c.scope_key == bindparam("scope_key"), _REPLY.c.expires_at > bindparam("now"))


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What was answered to a request with this key; `sealed` opens with the scope key bound in."""

    request_sha256: bytes
    status: int
    headers: str
    sealed: bytes


def find(session: Session, scope_key: bytes, now: int) -> StoredReply | None:
    """Return the reply stored under a key, unless it has expired."""
    row = session.connection().execute(_FIND, {"scope_key": scope_key, "now": now}).first()
    return None if row is None else StoredReply(*row)


def put(
    session: Session, scope_key: bytes, reply: StoredReply, at_micros: int, expires_at: int
) -> None:
    """Store a reply; an expired one under the same key is replaced."""
    bulk(
        session,
        "INSERT INTO idempotency "
        "(scope_key, request_sha256, status, headers, reply, created_at, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (scope_key) DO UPDATE SET "
        "request_sha256 = excluded.request_sha256, status = excluded.status, "
        "headers = excluded.headers, reply = excluded.reply, "
        "created_at = excluded.created_at, expires_at = excluded.expires_at",
        [
            (
                scope_key,
                reply.request_sha256,
                reply.status,
                reply.headers,
                reply.sealed,
                at_micros,
                expires_at,
            )
        ],
    )
