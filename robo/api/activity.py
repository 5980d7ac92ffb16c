"""What happened to an account, in plain words."""

from typing import Any

from robo.api.auth import owned_account, requires
from robo.api.state import reading
from robo.api.wire import (
    Cents,
    Instant,
    PageQuery,
    Schema,
    Text,
    blueprint,
    decode_cursor,
    encode_cursor,
    page_of,
    paged,
)
from robo.core.shares import format_nanos
from robo.services import reporting

BLUEPRINT = blueprint("activity", "What happened to an account")


class ActivityReply(Schema):
    """Money or shares that moved."""

    kind = Text(required=True)
    sentence = Text(required=True, longest=300)
    at = Instant(attribute="at_micros", required=True)
    amount = Cents(
        attribute="cents",
        signed=True,
        required=True,
        metadata={"description": "Cash that came in; negative for cash that left."},
    )
    shares = Text(
        required=True,
        metadata={"description": "Shares that came in; negative for shares that left."},
    )
    symbol = Text(required=True, shortest=0)
    cause = Text(required=True, metadata={"description": "Id of what caused it."})


@BLUEPRINT.route("/accounts/<id:account_id>/activity")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(ActivityReply))
@requires("portfolio:read")
def list_activity(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """List what happened, newest first; the two sides of a trade are one line."""
    owned_account(account_id)
    before = None if query["after"] is None else decode_cursor(query["after"], int)[0]
    with reading() as session:
        found, more = reporting.activity(session, account_id, before, query["limit"])
    items = [
        {
            "kind": item.kind,
            "sentence": item.sentence,
            "at_micros": item.at_micros,
            "cents": item.cents,
            "shares": format_nanos(item.nanos),
            "symbol": item.symbol,
            "cause": item.cause,
        }
        for item in found
    ]
    return paged(items, encode_cursor(more) if more is not None else None)
