"""Recurring deposits: weekly, every other week, monthly, on a chosen day."""

from typing import Any

import marshmallow as ma

from robo.api.auth import owned_account, requires
from robo.api.idempotency import request_id
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import Cents, Day, Id, Instant, Schema, Whole, Word, blueprint, page_of, paged
from robo.services import funding, reporting
from robo.services.funding import PlanChange
from robo.store.plans import Plan

BLUEPRINT = blueprint("plans", "Recurring deposits")
_CADENCES = ("weekly", "biweekly", "monthly")
_DAY = {
    "description": "1 (Monday) to 5 for weeks; 1 to 31 for months, whose last day stands in.",
    "example": 5,
}


class PlanRequest(Schema):
    """A recurring deposit."""

    bank_link_id = Id(required=True)
    amount = Cents(required=True)
    cadence = Word(*_CADENCES, required=True)
    day = Whole(required=True, least=1, most=31, metadata=_DAY)
    start_on = Day(load_default=None, allow_none=True)


class PlanChangeRequest(Schema):
    """What shall change; what is left out stays."""

    bank_link_id = Id()
    amount = Cents()
    cadence = Word(*_CADENCES)
    day = Whole(least=1, most=31, metadata=_DAY)
    state = Word("active", "paused")

    @ma.validates_schema
    def something(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a change that changes nothing."""
        if not data:
            message = "Name at least one field to change."
            raise ma.ValidationError(message)


class PlanReply(Schema):
    """A recurring deposit and its next date."""

    id = Id(required=True)
    account_id = Id(required=True)
    bank_link_id = Id(required=True)
    amount = Cents(attribute="cents", required=True)
    cadence = Word(*_CADENCES, required=True)
    day = Whole(required=True, metadata=_DAY)
    anchor_on = Day(required=True, metadata={"description": "The first nominal date."})
    next_on = Day(
        required=True,
        metadata={
            "description": "The next nominal date; the money moves on the first session from then."
        },
    )
    state = Word("active", "paused", "ended", required=True)
    created_at = Instant(required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/plans", methods=["POST"])
@BLUEPRINT.arguments(PlanRequest)
@BLUEPRINT.response(201, PlanReply)
@requires("transfers:write")
def create_plan(body: dict[str, Any], account_id: str) -> Plan:
    """Set up a recurring deposit."""
    owned_account(account_id)
    close_reading()
    r = runtime()
    return funding.create_plan(
        r.db,
        r.clock,
        r.policy,
        request_id("pln"),
        account_id,
        body["bank_link_id"],
        body["amount"],
        body["cadence"],
        body["day"],
        body["start_on"],
    )


@BLUEPRINT.route("/accounts/<id:account_id>/plans")
@BLUEPRINT.response(200, page_of(PlanReply))
@requires("transfers:read")
def list_plans(account_id: str) -> dict[str, Any]:
    """List an account's plans that have not ended; there are few, so one page holds them all."""
    owned_account(account_id)
    with reading() as session:
        return paged(reporting.plans(session, account_id), None)


@BLUEPRINT.route("/accounts/<id:account_id>/plans/<id:plan_id>", methods=["PATCH"])
@BLUEPRINT.arguments(PlanChangeRequest)
@BLUEPRINT.response(200, PlanReply)
@requires("transfers:write")
def change_plan(body: dict[str, Any], account_id: str, plan_id: str) -> Plan:
    """Change, pause or resume a plan."""
    owned_account(account_id)
    close_reading()
    r = runtime()
    change = PlanChange(
        cents=body.get("amount"),
        cadence=body.get("cadence"),
        day=body.get("day"),
        bank_link_id=body.get("bank_link_id"),
        state=body.get("state"),
    )
    return funding.change_plan(r.db, r.clock, r.policy, account_id, plan_id, change)


@BLUEPRINT.route("/accounts/<id:account_id>/plans/<id:plan_id>", methods=["DELETE"])
@BLUEPRINT.response(200, PlanReply)
@requires("transfers:write")
def end_plan(account_id: str, plan_id: str) -> Plan:
    """End a plan; deposits already asked for go on."""
    owned_account(account_id)
    close_reading()
    r = runtime()
    return funding.end_plan(r.db, r.clock, account_id, plan_id)
