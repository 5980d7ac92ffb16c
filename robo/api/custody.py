"""How an account stands at the broker, where the broker keeps one for each customer."""

from typing import Any

from marshmallow import fields

from robo.api.auth import owned_account, requires
from robo.api.state import reading, runtime
from robo.api.wire import Id, Schema, Text, Word, blueprint
from robo.services import keeping
from robo.services.keeping.standing import NOT_KEPT, WAITING
from robo.store.custody import STATES

BLUEPRINT = blueprint("custody", "How an account stands at the broker")


class AskedReply(Schema):
    """Something the customer has to give."""

    code = Text(required=True, longest=64)
    text = Text(required=True)


class CustodyReply(Schema):
    """An account at the broker; it trades, and takes money, only when it is active."""

    account_id = Id(required=True)
    state = Word(NOT_KEPT, WAITING, *STATES, required=True)
    sentence = Text(required=True)
    usable = fields.Boolean(
        required=True, metadata={"description": "Whether it may trade and take money in."}
    )
    asks = fields.List(fields.Nested(AskedReply), required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/custody")
@requires("accounts:read")
@BLUEPRINT.response(200, CustodyReply)
def get_custody(account_id: str) -> dict[str, Any]:
    """Return how an account stands at the broker, and what the customer has to do."""
    owned_account(account_id)
    with reading() as session:
        found = keeping.standing(session, runtime().broker, account_id)
    return {
        "account_id": account_id,
        "state": found.state,
        "sentence": found.sentence,
        "usable": found.state in {NOT_KEPT, "active"},
        "asks": [{"code": code, "text": text} for code, text in found.asks],
    }
