"""`Idempotency-Key`: the same key and the same request always get the first reply, byte for byte.

A lock keeps two requests with one key apart; it dies with its process. What a request creates takes
its id from the key (`request_id`), so a retry after a crash between the effect and the stored reply
finds the thing and makes nothing twice.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

from flask import Flask, Response, current_app, g, request
from sqlmodel import Session

from robo.api import auth
from robo.api.state import close_reading, now_micros, runtime, state
from robo.api.wire import View, json_body
from robo.core.errors import ConflictError, IdempotencyMismatchError, InvalidInputError
from robo.core.ids import child_id
from robo.services import securing
from robo.store import replies
from robo.store.keyring import seal, unseal

HEADER: Final = "Idempotency-Key"
KEY_PATTERN: Final = "[!-~]{8,128}"
_KEY: Final = re.compile(KEY_PATTERN)
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOUR: Final = 3_600_000_000
_KEPT_HEADERS: Final = ("Content-Type", "Location", "Cache-Control", "WWW-Authenticate")
_PASSING: Final = frozenset({401, 403, 408, 413, 415, 429})
"""Replies about the caller or the moment, not about the request: asking again may go better."""
_WAIT_SECONDS: Final = 1


def exempt(view: View) -> View:
    """Mark a writing view that needs no key: sessions and tokens."""
    view.__dict__["robo_key"] = "exempt"
    return view


def scoped_by(field: str) -> Callable[[View], View]:
    """Mark a public view whose keys are scoped by a field of its body: `email` or `token`."""

    def mark(view: View) -> View:
        view.__dict__["robo_key"] = field
        return view

    return mark


def unstored(view: View) -> View:
    """Mark a view whose replies hold secrets shown once: they are neither kept nor replayed."""
    view.__dict__["robo_unstored"] = True
    return view


def needs_key(view: Any, method: str) -> bool:
    """Return whether a request to this view must carry a key."""
    return method in _WRITES and auth.mark_of(view, method, "robo_key") != "exempt"


def install(app: Flask) -> None:
    """Guard every writing request; must be installed after `auth`."""
    app.before_request(_before)
    app.after_request(_after)
    app.teardown_request(lambda _error: _release())


def request_id(prefix: str) -> str:
    """Return the id of what this request creates: the same caller and key always make the same."""
    scope, key = g.idempotency
    return child_id(prefix, scope, key)


def _before() -> Response | None:
    if request.endpoint is None or request.method not in _WRITES:
        return None
    close_reading()
    view = current_app.view_functions[request.endpoint]
    if not needs_key(view, request.method):
        return None
    key = request.headers.get(HEADER, "")
    if not _KEY.fullmatch(key):
        message = "Send an Idempotency-Key header of 8 to 128 visible ASCII characters."
        raise InvalidInputError(message, code="idempotency_key", fields={HEADER: [message]})
    scope = _scope(auth.mark_of(view, request.method, "robo_key"))
    g.idempotency = (scope, key)
    scope_key = runtime().keyring.blind_index("idempotency", f"{scope}\x1f{key}")
    g.scope_key, g.request_sha256 = scope_key, _fingerprint()
    hold = state().keylocks.hold(scope_key)
    got = hold.__enter__()
    g.keylock = hold
    if not got:
        message = "A request with this key is being worked on."
        raise ConflictError(message, code="in_progress")
    return _replay(scope_key)


def _replay(scope_key: bytes) -> Response | None:
    """Return the stored reply, None if there is none.

    Raises:
        IdempotencyMismatchError: If the key was used for another request.
    """
    with runtime().db.read() as session:
        stored = replies.find(session, scope_key, now_micros())
    if stored is None:
        view = current_app.view_functions[str(request.endpoint)]
        g.store_reply = not auth.mark_of(view, request.method, "robo_unstored")
        return None
    if stored.request_sha256 != g.request_sha256:
        message = "This Idempotency-Key was used for another request."
        raise IdempotencyMismatchError(message)
    reply = Response(
        unseal(runtime().keyring.wrap, stored.sealed, _bound(scope_key)), status=stored.status
    )
    for name, value in json.loads(stored.headers).items():
        reply.headers[name] = value
    reply.headers["Idempotent-Replayed"] = "true"
    return reply


def keep(session: Session, reply: Response) -> None:
    """Store the reply that this request is about to give, in the transaction that makes it true.

    One flush to disk instead of two. Should the request answer otherwise in the end, that answer
    takes this one's place before it is sent.
    """
    if not g.get("store_reply", False):
        return
    g.kept_reply = _content(reply)
    _put(session, *g.kept_reply)


def _after(reply: Response) -> Response:
    if not g.pop("store_reply", False):
        return reply
    if reply.status_code >= 500 or reply.status_code in _PASSING:  # noqa: PLR2004 - HTTP's classes
        return reply
    content = _content(reply)
    if content != g.pop("kept_reply", None):
        with runtime().db.write() as session:
            _put(session, *content)
    return reply


def _content(reply: Response) -> tuple[int, str, bytes]:
    """Return what of a reply is stored: status, headers, body."""
    headers = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
    return reply.status_code, json.dumps(headers), reply.get_data()


def _put(session: Session, status: int, headers: str, body: bytes) -> None:
    now = now_micros()
    sealed = seal(runtime().keyring.wrap, body, _bound(g.scope_key))
    stored = replies.StoredReply(g.request_sha256, status, headers, sealed)
    until = now + runtime().policy.idempotency_hours * _HOUR
    replies.put(session, g.scope_key, stored, now, until)


def _release() -> None:
    hold = g.pop("keylock", None)
    if hold is not None:
        hold.__exit__(None, None, None)


def _scope(mark: str | None) -> str:
    """Return whose keys these are: the caller's, or before login what the body says it is about."""
    who = auth.caller_if_any()
    if who is not None:
        return who.name
    assert mark is not None, "a public writing view says what its keys are scoped by"
    body = json_body()
    value = body.get(mark) if isinstance(body, dict) else None
    if not isinstance(value, str):
        message = "This is missing."
        raise InvalidInputError(message, code="validation_failed", fields={mark: [message]})
    plain = securing.normal_email(value) if mark == "email" else value
    return runtime().keyring.blind_index(f"key-scope:{mark}", plain).hex()


def _fingerprint() -> bytes:
    """Return what stands for what makes two requests the same: method, path, query and body.

    Keyed: bodies hold passwords, tax ids and bank numbers, few enough for a plain hash to be tried
    out by whoever reads the database.
    """
    head = (request.method, request.path, request.query_string.decode("latin-1"))
    body = hashlib.sha256(request.get_data(cache=True)).hexdigest()
    return runtime().keyring.blind_index("idempotent-request", "\x1f".join((*head, body)))


def _bound(scope_key: bytes) -> str:
    return f"idempotency:{scope_key.hex()}:reply"
