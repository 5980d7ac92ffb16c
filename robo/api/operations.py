"""What a firm's operators decide: doubtful transfers, breaks, the kill switch, a dry run.

Everything is the firm's own, told by its key; what belongs to another firm does not exist.
"""

import json
from dataclasses import asdict
from typing import Any

from robo.api.auth import caller, owned_account, owned_by_firm, requires
from robo.api.operations_fields import (
    BreakQuery,
    BreakReply,
    ClearanceRequest,
    DecisionRequest,
    DoubtReply,
    DryRunReply,
    ExecutionDecisionRequest,
    OrderDecisionRequest,
    QueueReply,
    ReconciliationReply,
    RefusedReply,
    RetryRequest,
    StrayReply,
    StuckOrderReply,
    SwitchReply,
    SwitchRequest,
)
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import blueprint, page_of, paged
from robo.core.errors import NotFoundError
from robo.core.ids import SecurityId
from robo.core.money import format_cents
from robo.core.shares import format_nanos
from robo.services import (
    funding,
    guarding,
    keeping,
    operating,
    reconciling,
    rehearsing,
    resolving,
    switching,
)
from robo.store import blocks, breaks, controls, remittances, strays, universe
from robo.store.breaks import KnownBreak
from robo.store.controls import EVERYBODY
from robo.store.remittances import Remittance
from robo.store.strays import Stray

BLUEPRINT = blueprint("operations", "For a firm's operators: what waits for a decision.")
_IN_DOLLARS = frozenset({"cash", "activity"})


@BLUEPRINT.route("/operations/queue")
@requires("firm:operate")
@BLUEPRINT.response(200, QueueReply)
def get_queue() -> dict[str, Any]:
    """List what waits for a person: doubts, differences, and accounts that stand still."""
    r = runtime()
    with reading() as session:
        found = operating.queue(session, r.calendar, r.policy, caller().firm_id, r.clock.now())
        return {
            "transfers": [_doubt(one) for one in found.transfers],
            "applications": found.applications,
            "breaks": [_break(one) for one in found.breaks],
            "orders": [
                {**asdict(one), "orders_behind": found.behind.get(one.id, 0)}
                for one in found.orders
            ],
            "executions": [_stray(one) for one in found.executions],
            "accounts": found.accounts,
        }


@BLUEPRINT.route("/operations/broker-orders/<id:block_id>/decision", methods=["POST"])
@requires("firm:operate")
@BLUEPRINT.arguments(OrderDecisionRequest)
@BLUEPRINT.response(200, StuckOrderReply)
def decide_order(body: dict[str, Any], block_id: str) -> Any:
    """Say what a broker order is that never ends, or that the broker has another one for."""
    with reading() as session:
        found = blocks.get(session, block_id)
    owned_by_firm("" if found is None else found.firm_id)
    close_reading()
    r = runtime()
    return resolving.order(
        r.db,
        r.keyring,
        r.broker,
        r.clock,
        r.calendar,
        r.policy,
        block_id,
        resolving.OrderVerdict(body["decision"]),
        resolving.Word(body["note"], caller().actor),
    )


@BLUEPRINT.route("/operations/executions/decision", methods=["POST"])
@requires("firm:operate")
@BLUEPRINT.arguments(ExecutionDecisionRequest)
@BLUEPRINT.response(200, StrayReply)
def decide_execution(body: dict[str, Any]) -> dict[str, Any]:
    """Say what an execution is that could not be booked; its id is the broker's."""
    with reading() as session:
        stray = strays.get(session, body["execution_id"])
        block = None if stray is None else blocks.get(session, stray.client_id)
    owned_by_firm("" if block is None else block.firm_id)
    close_reading()
    r = runtime()
    return _stray(
        resolving.execution(
            r.db,
            r.keyring,
            r.clock,
            body["execution_id"],
            resolving.ExecutionVerdict(body["decision"]),
            resolving.Word(body["note"], caller().actor),
        )
    )


@BLUEPRINT.route("/operations/transfers/<id:transfer_id>/decision", methods=["POST"])
@requires("firm:operate")
@BLUEPRINT.arguments(DecisionRequest)
@BLUEPRINT.response(200, DoubtReply)
def decide_transfer(body: dict[str, Any], transfer_id: str) -> dict[str, Any]:
    """Say what became of a transfer whose answer was lost."""
    r = runtime()
    with reading() as session:
        row = remittances.get(session, transfer_id)
    if row is None:
        message = "There is no such transfer."
        raise NotFoundError(message)
    owned_account(row.account_id)
    close_reading()
    decision = funding.Decision(
        funding.Verdict(body["decision"]),
        body["note"],
        caller().actor,
        body["broker_transfer_id"],
    )
    return _doubt(
        funding.decide(
            r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy, transfer_id, decision
        )
    )


@BLUEPRINT.route("/operations/applications/<id:application_id>/retry", methods=["POST"])
@requires("firm:operate")
@BLUEPRINT.arguments(RetryRequest)
@BLUEPRINT.response(200, RefusedReply)
def retry_application(body: dict[str, Any], application_id: str) -> Any:
    """Let an application go to the broker again, because its cause was mended."""
    owned_account(application_id)
    close_reading()
    r = runtime()
    return keeping.retry(
        r.db, r.keyring, r.clock, application_id, body["note"], actor=caller().actor
    )


@BLUEPRINT.route("/operations/breaks")
@requires("firm:operate")
@BLUEPRINT.arguments(BreakQuery, location="query")
@BLUEPRINT.response(200, page_of(BreakReply))
def list_breaks(query: dict[str, Any]) -> dict[str, Any]:
    """List the newest differences between the broker and the books."""
    with reading() as session:
        found = breaks.listed(session, query["state"], caller().firm_id, query["limit"])
    return paged([_break(one) for one in found], None)


@BLUEPRINT.route("/operations/breaks/<id:break_id>/clearance", methods=["POST"])
@requires("firm:operate")
@BLUEPRINT.arguments(ClearanceRequest)
@BLUEPRINT.response(200, BreakReply)
def clear_break(body: dict[str, Any], break_id: str) -> dict[str, Any]:
    """Let trading go on in spite of a difference."""
    with reading() as session:
        found = breaks.get(session, break_id)
    owned_by_firm("" if found is None else found.firm_id)
    close_reading()
    r = runtime()
    cleared = reconciling.clear(
        r.db, r.keyring, r.clock, break_id, body["note"], actor=caller().actor
    )
    return _break(cleared)


@BLUEPRINT.route("/operations/reconciliations", methods=["POST"])
@requires("firm:operate")
@BLUEPRINT.response(200, ReconciliationReply)
def reconcile() -> dict[str, Any]:
    """Compare the firm's accounts with the broker now; mend what can be, name the rest."""
    close_reading()
    r = runtime()
    firm_id = caller().firm_id
    report = reconciling.reconcile(
        r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy, firm_id
    )
    return {
        "accounts": report.places,
        "unheard": list(report.unheard),
        "repaired": report.repaired,
        "breaks": [_break(one) for one in report.found],
    }


@BLUEPRINT.route("/operations/dry-run")
@requires("firm:operate")
@BLUEPRINT.response(200, DryRunReply)
def dry_run() -> dict[str, Any]:
    """Return what the next window would send, and why the rest would wait; nothing is written."""
    r = runtime()
    desk = guarding.Desk(r.keyring, r.prices, r.calendar)
    found = rehearsing.rehearse(r.db, r.broker, r.clock, r.policy, desk, caller().firm_id)
    return {"sends": found.sends, "waits": found.waits, "unresolved": found.unresolved}


@BLUEPRINT.route("/operations/kill-switch", methods=["GET"])
@requires("firm:operate")
@BLUEPRINT.response(200, SwitchReply)
def get_switch() -> dict[str, Any]:
    """Return whether new orders of the firm are stopped."""
    return _switch(caller().firm_id)


@BLUEPRINT.route("/operations/kill-switch", methods=["PUT"])
@requires("firm:operate")
@BLUEPRINT.arguments(SwitchRequest)
@BLUEPRINT.response(200, SwitchReply)
def turn_switch(body: dict[str, Any]) -> dict[str, Any]:
    """Stop the firm's new orders, or let them go again."""
    return _turn(caller().firm_id, body)


@BLUEPRINT.route("/operations/kill-switch/everybody", methods=["PUT"])
@requires("admin:trading")
@BLUEPRINT.arguments(SwitchRequest)
@BLUEPRINT.response(200, SwitchReply)
def turn_switch_for_everybody(body: dict[str, Any]) -> dict[str, Any]:
    """Stop all new orders of every firm, or let them go again."""
    return _turn(EVERYBODY, body)


def _turn(scope: str, body: dict[str, Any]) -> dict[str, Any]:
    close_reading()
    r = runtime()
    switching.turn(
        r.db,
        r.keyring,
        r.clock,
        scope,
        stop=body["stopped"],
        reason=body["reason"],
        actor=caller().actor,
    )
    return _switch(scope)


def _switch(scope: str) -> dict[str, Any]:
    """Return one switch; where everybody's is thrown, a firm's orders are stopped too."""
    with reading() as session:
        known = {one.scope: one for one in controls.switches(session)}
    mine, all_of_us = known.get(scope), known.get(EVERYBODY)
    return {
        "stopped": bool(mine and mine.stopped),
        "everybody_stopped": bool(all_of_us and all_of_us.stopped),
        "reason": mine.reason if mine else "",
        "changed_at": mine.changed_at if mine else None,
    }


def _doubt(one: Remittance) -> dict[str, Any]:
    return {
        "id": one.id,
        "account_id": one.account_id,
        "direction": {"pull": "in", "push": "out"}[one.direction],
        "cents": one.cents,
        "state": one.state,
        "code": one.code,
        "requested_at": one.requested_at,
        "told_at": one.told_at,
        "candidates": [
            {"broker_transfer_id": each["broker_id"], "created_at": each["created_at"]}
            for each in json.loads(one.candidates)
        ],
    }


def _stray(one: Stray) -> dict[str, Any]:
    return {
        "id": one.id,
        "order_id": one.client_id,
        "takes_back": one.busts,
        "side": one.side,
        "amount": format_cents(one.cents),
        "shares": format_nanos(one.nanos),
        "why": one.why,
        "heard_at": one.heard_at,
        "state": one.state,
    }


def _break(one: KnownBreak) -> dict[str, Any]:
    shown = format_cents if one.subject in _IN_DOLLARS else format_nanos
    with reading() as session:
        ids = [] if one.security_id is None else [SecurityId(one.security_id)]
        names = universe.by_id(session, ids)
    return {
        "id": one.id,
        "account_id": one.account_id,
        "broker_account": one.broker_account,
        "symbol": next((each.symbol for each in names.values()), None),
        "subject": one.subject,
        "category": one.category,
        "unit": "dollars" if one.subject in _IN_DOLLARS else "shares",
        "ours": shown(one.ours),
        "theirs": shown(one.theirs),
        "repair": one.repair,
        "blocks": bool(one.blocks),
        "state": one.state,
        "found_at": one.found_at,
        "closed_at": one.closed_at,
        "closed_by": one.closed_by,
    }
