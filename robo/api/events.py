"""The event feed: what happened, in commit order, replayable from the start."""

import json
from typing import Any

import marshmallow as ma
from marshmallow import fields

from robo.api.auth import caller, requires
from robo.api.state import reading
from robo.api.wire import PAGE_MAX, Instant, Schema, Text, Whole, blueprint
from robo.store import events

BLUEPRINT = blueprint("events", "The event feed")
_SEQ_MAX = 2**63 - 1


class EventQuery(Schema):
    """Where to go on: `after` is the `next` of the page before, 0 for the start."""

    after = fields.Integer(load_default=0, validate=ma.validate.Range(min=0, max=_SEQ_MAX))
    limit = fields.Integer(load_default=50, validate=ma.validate.Range(min=1, max=PAGE_MAX))


class EventReply(Schema):
    """One event; amounts in its payload are decimal strings."""

    seq = Whole(required=True)
    kind = Text(required=True)
    subject = Text(required=True, metadata={"description": "Id of what it is about."})
    customer_id = Text(required=True, allow_none=True)
    account_id = Text(required=True, allow_none=True)
    at = Instant(required=True)
    payload = fields.Dict(keys=fields.String(), required=True)


class EventFeed(Schema):
    """A page of events; asking again after `next` gives what came since, never less."""

    items = fields.List(fields.Nested(EventReply), required=True)
    next = Whole(required=True)


@BLUEPRINT.route("/events")
@BLUEPRINT.arguments(EventQuery, location="query")
@BLUEPRINT.response(200, EventFeed)
@requires("events:read")
def list_events(query: dict[str, Any]) -> dict[str, Any]:
    """List events after a number, oldest first: a firm's, or a customer's own."""
    who = caller()
    with reading() as session:
        rows = events.page(
            session,
            firm_id=who.firm_id,
            customer_id=who.customer_id,
            after=query["after"],
            limit=query["limit"],
        )
    items = [
        {
            "seq": row.seq,
            "kind": row.kind,
            "subject": row.subject,
            "customer_id": row.customer_id,
            "account_id": row.account_id,
            "at": row.at,
            "payload": json.loads(row.payload),
        }
        for row in rows
    ]
    return {"items": items, "next": items[-1]["seq"] if items else query["after"]}
