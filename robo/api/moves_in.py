"""Positions brought from accounts at other firms: a file, a look at it, a confirmation."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marshmallow import fields

from robo.api import idempotency
from robo.api.auth import caller, owned_account, requires
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import (
    Cents,
    Day,
    Flag,
    Id,
    Instant,
    Schema,
    Shares,
    Text,
    Whole,
    Word,
    blueprint,
    csv_text,
    upload,
)
from robo.services import describing, moving
from robo.services.describing import Shown
from robo.store.arrivals import STATES, MoveIn

BLUEPRINT = blueprint("transfers-in", "Positions brought from accounts at other firms")
_CSV_BODY: Final = {
    "required": True,
    "content": {
        "text/csv": {
            "schema": {"type": "string"},
            "example": "symbol,shares,basis,acquired\nAAPL,10.5,1500.00,2019-05-06\n",
        }
    },
}


class MoveInQuery(Schema):
    """What to do with symbols that we do not trade."""

    unlisted = Word("refuse", "leave_out", load_default="refuse")


class MoveInReply(Schema):
    """A transfer of positions and how far it has come."""

    id = Id(required=True)
    account_id = Id(required=True)
    state = Word(*STATES, required=True)
    code = Text(required=True, shortest=0, metadata={"description": "Why it was refused."})
    created_at = Instant(required=True)
    requested_at = Instant(required=True, allow_none=True)
    received_on = Day(required=True, allow_none=True)


class BroughtReply(Schema):
    """One name of it; gains are at today's price."""

    security_id = Whole(required=True)
    symbol = Text(required=True)
    shares = Shares(required=True)
    lots = Whole(required=True)
    basis = Cents(zero=True, required=True)
    value = Cents(zero=True, required=True, allow_none=True)
    short_gain = Cents(signed=True, required=True)
    long_gain = Cents(signed=True, required=True)
    restricted = Flag(
        required=True,
        metadata={"description": "You may not buy it: it is left alone until you say otherwise."},
    )
    washes = Flag(
        required=True,
        metadata={"description": "Bought within 30 days of a loss taken here: that is deferred."},
    )


class MoveInDetailReply(MoveInReply):
    """A transfer with what it brings."""

    lots = Whole(required=True)
    left_out = fields.List(fields.String(), required=True)
    value = Cents(zero=True, required=True)
    basis = Cents(zero=True, required=True)
    short_gain = Cents(signed=True, required=True)
    long_gain = Cents(signed=True, required=True)
    positions = fields.List(fields.Nested(BroughtReply), required=True)


class MovesInReply(Schema):
    """All of them."""

    items = fields.List(fields.Nested(MoveInReply), required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/transfers-in", methods=["POST"])
@upload
@BLUEPRINT.arguments(MoveInQuery, location="query")
@BLUEPRINT.doc(requestBody=_CSV_BODY)  # type: ignore[untyped-decorator] # flask-smorest leaves it untyped
@BLUEPRINT.response(201, MoveInDetailReply)
@requires("transfers:write")
def create_move_in(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """Read a file of lots, whole or not at all, and say what it would bring; nothing moves yet.

    The header is symbol,shares,basis,acquired and may add term (short or long, checked against the
    date) and notes (not kept). Basis is what was paid for the whole lot. Wrong rows are named in
    `fields`; symbols that cannot be held here are listed and refused, or with `unlisted=leave_out`
    left behind.
    """
    account = owned_account(account_id)
    close_reading()
    text = csv_text()
    r = runtime()
    sent = moving.Upload(idempotency.request_id("mvi"), text, query["unlisted"] == "leave_out")
    made = moving.upload(r.db, r.keyring, r.clock, r.policy, account, sent, actor=caller().actor)
    return _detail(account_id, made.id)


@BLUEPRINT.route("/accounts/<id:account_id>/transfers-in")
@BLUEPRINT.response(200, MovesInReply)
@requires("transfers:read")
def list_moves_in(account_id: str) -> dict[str, Any]:
    """List an account's transfers of positions, newest first."""
    account = owned_account(account_id)
    with reading() as session:
        return {"items": [_row(one) for one in moving.listing(session, account.id)]}


@BLUEPRINT.route("/accounts/<id:account_id>/transfers-in/<id:transfer_in_id>")
@BLUEPRINT.response(200, MoveInDetailReply)
@requires("transfers:read")
def get_move_in(account_id: str, transfer_in_id: str) -> dict[str, Any]:
    """Return one transfer of positions with what it brings, at today's prices."""
    return _detail(account_id, transfer_in_id)


@BLUEPRINT.route(
    "/accounts/<id:account_id>/transfers-in/<id:transfer_in_id>/confirmation", methods=["POST"]
)
@BLUEPRINT.response(200, MoveInReply)
@requires("transfers:write")
def confirm_move_in(account_id: str, transfer_in_id: str) -> dict[str, Any]:
    """Ask for the positions: they are booked when the broker has received them."""
    account = owned_account(account_id)
    close_reading()
    r = runtime()
    made = moving.confirm(
        r.db,
        r.keyring,
        r.broker,
        r.prices,
        r.clock,
        r.policy,
        account,
        transfer_in_id,
        actor=caller().actor,
    )
    return _row(made)


@BLUEPRINT.route("/accounts/<id:account_id>/transfers-in/<id:transfer_in_id>", methods=["DELETE"])
@BLUEPRINT.response(204)
@requires("transfers:write")
def cancel_move_in(account_id: str, transfer_in_id: str) -> None:
    """Drop a file that was not confirmed; it may be sent again."""
    account = owned_account(account_id)
    close_reading()
    r, actor = runtime(), caller().actor
    moving.cancel(r.db, r.keyring, r.clock, account, transfer_in_id, actor=actor)


def _detail(account_id: str, transfer_in_id: str) -> dict[str, Any]:
    account = owned_account(account_id)
    r = runtime()
    with reading() as session:
        return _shown(describing.show(session, r.prices, r.clock, account, transfer_in_id))


def _row(one: MoveIn) -> dict[str, Any]:
    return {
        "id": one.id,
        "account_id": one.account_id,
        "state": one.state,
        "code": one.code,
        "created_at": one.created_at,
        "requested_at": one.requested_at,
        "received_on": one.received_on or None,
    }


def _shown(shown: Shown) -> dict[str, Any]:
    positions: Sequence[Mapping[str, Any]] = [
        {
            "security_id": one.security_id,
            "symbol": one.symbol,
            "shares": one.nanos,
            "lots": one.lots,
            "basis": one.basis_cents,
            "value": one.value_cents,
            "short_gain": one.short_gain_cents,
            "long_gain": one.long_gain_cents,
            "restricted": one.restricted,
            "washes": one.washes,
        }
        for one in shown.positions
    ]
    return _row(shown.move_in) | {
        "lots": shown.lots,
        "left_out": list(shown.left_out),
        "value": sum(one.value_cents or 0 for one in shown.positions),
        "basis": sum(one.basis_cents for one in shown.positions),
        "short_gain": sum(one.short_gain_cents for one in shown.positions),
        "long_gain": sum(one.long_gain_cents for one in shown.positions),
        "positions": positions,
    }
