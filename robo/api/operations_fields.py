"""Schemas of what a firm's operators decide."""

from marshmallow import fields, validate

from robo.api.wire import PAGE_MAX, Cents, Flag, Id, Instant, Schema, Shares, Text, Word
from robo.store import breaks, custody, remittances, strays

_REASON_MAX = 500


class CandidateReply(Schema):
    """A transfer at the broker that could be the one in doubt."""

    broker_transfer_id = fields.String(required=True)
    created_at = fields.String(required=True)


class DoubtReply(Schema):
    """A transfer that a person has to decide, or what became of it."""

    id = Id(required=True, metadata={"description": "The deposit's or withdrawal's id."})
    account_id = Id(required=True)
    direction = Word("in", "out", required=True)
    amount = Cents(attribute="cents", required=True)
    state = Word(*remittances.STATES, required=True)
    code = fields.String(
        required=True,
        metadata={"description": "`several` could be it, or it was `not_found` for an hour."},
    )
    requested_at = Instant(required=True)
    told_at = Instant(required=True, allow_none=True)
    candidates = fields.List(fields.Nested(CandidateReply), required=True)


class RefusedReply(Schema):
    """An application for an account at the broker."""

    account_id = Id(
        required=True, metadata={"description": "The account's id is the application's."}
    )
    state = Word(*custody.STATES, required=True)
    code = fields.String(required=True, metadata={"description": "Why it was refused."})
    changed_at = Instant(required=True)


class BreakReply(Schema):
    """A difference between the broker and the books."""

    id = Id(required=True)
    account_id = Id(required=True, allow_none=True)
    broker_account = fields.String(required=True)
    symbol = fields.String(required=True, allow_none=True)
    subject = Word(*breaks.SUBJECTS, required=True)
    category = Word(*breaks.CATEGORIES, required=True)
    unit = Word("dollars", "shares", required=True)
    ours = fields.String(required=True)
    theirs = fields.String(required=True)
    repair = fields.String(required=True, metadata={"description": "What would mend it."})
    blocks = fields.Boolean(required=True)
    state = Word(*breaks.STATES, required=True)
    found_at = Instant(required=True)
    closed_at = Instant(required=True, allow_none=True)
    closed_by = fields.String(required=True)


class StuckOrderReply(Schema):
    """A broker order that a person has to decide, or what became of it."""

    id = Id(required=True)
    broker_account = fields.String(required=True)
    symbol = fields.String(required=True)
    side = Word("buy", "sell", required=True)
    amount = Cents(attribute="notional_cents", required=True, allow_none=True)
    shares = Shares(attribute="nanos", required=True, allow_none=True)
    state = fields.String(required=True)
    code = fields.String(
        required=True,
        metadata={
            "description": "`client_id_mismatch`: the broker has another order by its id; "
            "`no_lookup`: it may have arrived, and nobody can ask for it."
        },
    )
    created_at = Instant(required=True)


class QueuedOrderReply(StuckOrderReply):
    """A broker order that a person has to decide, and what stands still until then."""

    orders_behind = fields.Integer(
        required=True,
        metadata={
            "description": "Customers' orders in this name, of either side, that wait for its end "
            "(`wait_own_book`, `wait_opposite`): the firm fills fractions of it from its own book."
        },
    )


class StrayReply(Schema):
    """An execution that the broker told and that could not be booked, or what became of it."""

    id = fields.String(required=True, metadata={"description": "The broker's."})
    order_id = fields.String(required=True)
    takes_back = fields.String(required=True, metadata={"description": "Empty for a trade."})
    side = Word("buy", "sell", required=True)
    amount = fields.String(required=True)
    shares = fields.String(required=True)
    why = fields.String(required=True)
    heard_at = Instant(required=True)
    state = Word(*strays.STATES, required=True)


class StandstillReply(Schema):
    """An account at the broker in which nothing was taken for days; it ends with the next order."""

    broker_account = fields.String(
        required=True, metadata={"description": "Empty where none is open yet."}
    )
    account_id = Id(
        required=True, allow_none=True, metadata={"description": "Null for a firm's shared one."}
    )
    code = fields.String(required=True, metadata={"description": "Why, the last time."})
    said = fields.String(
        required=True,
        metadata={"description": "The broker's own code for it; empty where it gave none."},
    )
    since = Instant(required=True)
    last = Instant(required=True)
    orders = fields.Integer(required=True, metadata={"description": "Broker orders in vain."})


class OrderDecisionRequest(Schema):
    """What a broker order is: ours after all, or to be ended."""

    decision = Word("adopt", "end", required=True)
    note = Text(longest=_REASON_MAX, required=True)


class ExecutionDecisionRequest(Schema):
    """What an execution is: it happened, or is dismissed."""

    execution_id = Text(longest=200, required=True)
    decision = Word("adopt", "dismiss", required=True)
    note = Text(longest=_REASON_MAX, required=True)


class QueueReply(Schema):
    """What waits for a person, oldest first, at most a hundred of a kind."""

    transfers = fields.List(fields.Nested(DoubtReply), required=True)
    applications = fields.List(fields.Nested(RefusedReply), required=True)
    breaks = fields.List(fields.Nested(BreakReply), required=True)
    orders = fields.List(fields.Nested(QueuedOrderReply), required=True)
    executions = fields.List(fields.Nested(StrayReply), required=True)
    accounts = fields.List(fields.Nested(StandstillReply), required=True)


class DecisionRequest(Schema):
    """What became of a transfer whose answer was lost."""

    decision = Word("claim", "release", "abandon", required=True)
    broker_transfer_id = Text(longest=100, shortest=0, load_default="")
    note = Text(longest=_REASON_MAX, required=True)


class RetryRequest(Schema):
    """Why an application may go to the broker again."""

    note = Text(longest=_REASON_MAX, required=True)


class ClearanceRequest(Schema):
    """Why trading may go on."""

    note = Text(longest=_REASON_MAX, required=True)


class BreakQuery(Schema):
    """Which differences."""

    state = Word(*breaks.STATES, load_default="open")
    limit = fields.Integer(load_default=PAGE_MAX, validate=validate.Range(min=1, max=PAGE_MAX))


class ReconciliationReply(Schema):
    """What a comparison with the broker found."""

    accounts = fields.Integer(required=True)
    unheard = fields.List(
        fields.String(), required=True, metadata={"description": "The broker did not answer."}
    )
    repaired = fields.Integer(required=True)
    breaks = fields.List(fields.Nested(BreakReply), required=True)


class WouldSendReply(Schema):
    """An order that the next window would send: dollars or shares."""

    symbol = fields.String(required=True)
    side = Word("buy", "sell", required=True)
    orders = fields.Integer(required=True)
    amount = Cents(attribute="notional_cents", required=True, allow_none=True)
    shares = Shares(attribute="nanos", required=True, allow_none=True)


class WouldWaitReply(Schema):
    """Orders that the next window would not send, for one reason."""

    code = fields.String(required=True)
    sentence = fields.String(required=True)
    symbol = fields.String(required=True)
    side = Word("buy", "sell", required=True)
    orders = fields.Integer(required=True)
    amount = Cents(attribute="cents", zero=True, required=True)
    shares = Shares(attribute="nanos", required=True)


class DryRunReply(Schema):
    """What the next window would do."""

    sends = fields.List(fields.Nested(WouldSendReply), required=True)
    waits = fields.List(fields.Nested(WouldWaitReply), required=True)
    unresolved = fields.Integer(
        required=True, metadata={"description": "Orders whose fate is to be found out first."}
    )


class SwitchRequest(Schema):
    """Stop new orders, or let them go again."""

    stopped = Flag(required=True)
    reason = Text(longest=_REASON_MAX, required=True)


class SwitchReply(Schema):
    """A kill switch as it stands."""

    stopped = fields.Boolean(required=True)
    everybody_stopped = fields.Boolean(
        required=True, metadata={"description": "Whether all firms' orders are stopped."}
    )
    reason = fields.String(required=True)
    changed_at = Instant(required=True, allow_none=True)
