"""Positions that customers bring to the paper broker from other firms: simulated, all or none.

Nobody is asked: whatever is listed and has a price arrives, as if another firm had delivered it.
The same request is one transfer, however often it is sent.
"""

import json
import sqlite3
from datetime import date, datetime
from typing import Final

from broker_adapters.paper_engine import PaperEngine
from broker_adapters.paper_store import PaperTables
from robo.core.clock import business_date, to_micros
from robo.core.money import NANOS_PER_SHARE
from robo.core.shares import SHARES_MAX
from robo.ports.in_kind import MoveIn, MoveInRequest, MoveInState

_MICROS_PER_SECOND: Final = 1_000_000


def move_in(
    connection: sqlite3.Connection, engine: PaperEngine, request: MoveInRequest, now: datetime
) -> MoveIn:
    """Return how far a transfer is; a new one is taken or refused, and one that is due arrives."""
    told = _spelt(request)
    row = connection.execute(
        "SELECT account, positions FROM move_ins WHERE id = ?", (request.id,)
    ).fetchone()
    if row is None:
        code = _refusal(PaperTables(connection), engine, request, now)
        due = to_micros(now) + engine.config.move_in_seconds * _MICROS_PER_SECOND
        state = MoveInState.REFUSED if code else MoveInState.PENDING
        connection.execute(
            "INSERT INTO move_ins (id, account, positions, state, due_at, code)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (request.id, request.broker_account, told, state.value, due, code),
        )
    elif row != (request.broker_account, told):
        return MoveIn(request.id, MoveInState.REFUSED, code="request_mismatch")
    _deliver(connection, request, now)
    found = moved_in(connection, request.id)
    assert found is not None
    return found


def moved_in(connection: sqlite3.Connection, request_id: str) -> MoveIn | None:
    """Return a transfer as it stands; None if it was never asked for."""
    row = connection.execute(
        "SELECT state, on_day, code FROM move_ins WHERE id = ?", (request_id,)
    ).fetchone()
    if row is None:
        return None
    on = None if row[1] is None else date.fromordinal(row[1])
    return MoveIn(request_id, MoveInState(row[0]), on, row[2])


def _deliver(connection: sqlite3.Connection, request: MoveInRequest, now: datetime) -> None:
    """Let the shares of a request arrive if they are due."""
    arrived = connection.execute(
        "UPDATE move_ins SET state = 'received', on_day = ?"
        " WHERE id = ? AND state = 'pending' AND due_at <= ?",
        (business_date(now).toordinal(), request.id, to_micros(now)),
    ).rowcount
    if arrived:
        tables = PaperTables(connection)
        for one in request.positions:
            tables.move_position(request.broker_account, one.security_id, one.nanos)


def _refusal(
    tables: PaperTables, engine: PaperEngine, request: MoveInRequest, now: datetime
) -> str:
    """Return why a request is refused, empty if it is not."""
    if not request.positions or any(one.nanos <= 0 for one in request.positions):
        return "nothing_to_move"
    ids = [one.security_id for one in request.positions]
    if len(set(ids)) != len(ids):
        return "named_twice"
    if not all(one.tradable for one in engine.assets(ids, now)):
        return "no_price"
    held = {one: tables.position(request.broker_account, one) for one in ids}
    most = SHARES_MAX * NANOS_PER_SHARE
    if any(one.nanos + held[one.security_id] > most for one in request.positions):
        return "position_too_large"
    return ""


def _spelt(request: MoveInRequest) -> str:
    rows = sorted((int(one.security_id), one.nanos) for one in request.positions)
    return json.dumps(rows, separators=(",", ":"))
