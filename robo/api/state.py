"""What every request shares: the runtime, and one reading transaction a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from flask import Flask, current_app, g
from sqlmodel import Session

from onboarding.identity_check import IdentityCheck
from robo.core.clock import to_micros
from robo.runtime import Runtime
from robo.services.securing import Hasher
from robo.store.keylocks import KeyLocks

_NAME: Final = "robo"


@dataclass(frozen=True, slots=True)
class State:
    """What the web process holds beside the runtime."""

    runtime: Runtime
    hasher: Hasher
    keylocks: KeyLocks
    identity: IdentityCheck


def install(app: Flask, state: State) -> None:
    """Make the state known to the app, and close every request's reading transaction."""
    app.extensions[_NAME] = state
    app.teardown_request(lambda _error: close_reading())


def state() -> State:
    """Return the state of the app that serves this request."""
    found: State = current_app.extensions[_NAME]
    return found


def runtime() -> Runtime:
    """Return the runtime of the app that serves this request."""
    return state().runtime


def now_micros() -> int:
    """Return the request's instant: the clock is asked once a request."""
    found: int | None = g.get("now_micros")
    if found is None:
        found = g.now_micros = to_micros(runtime().clock.now())
    return found


@contextmanager
def reading() -> Iterator[Session]:
    """Yield the one reading session of this request: one snapshot, one BEGIN, however many reads.

    Writing requests close it before their view runs (see `close_reading`), so that a writer does
    not hold an old snapshot open.
    """
    if "reading" not in g:
        context = runtime().db.read()
        g.reading = (context, context.__enter__())
    yield g.reading[1]


def close_reading() -> None:
    """End the reading transaction, if one was begun."""
    opened = g.pop("reading", None)
    if opened is not None:
        opened[0].__exit__(None, None, None)
