"""Accounts at other firms, and their trades from CSV files."""

from typing import Any, Final

from marshmallow import fields

from robo.api import idempotency
from robo.api.auth import caller, owned_customer, requires
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import Flag, Id, Instant, Schema, Text, Whole, Word, blueprint, csv_text, upload
from robo.services import declaring
from robo.services.declaring import Elsewhere, Imported

BLUEPRINT = blueprint("outside", "What a household trades elsewhere.")
_CSV_BODY: Final = {
    "required": True,
    "content": {
        "text/csv": {
            "schema": {"type": "string"},
            "example": "kind,date,symbol,shares,amount\nbuy,2026-01-15,AAPL,1.5,345.15\n",
        }
    },
}


class OutsideAccountRequest(Schema):
    """An account at another firm."""

    kind = Word("taxable", "ira", required=True)
    name = Text(longest=80, required=True)


class OutsideAccountReply(Schema):
    """An account at another firm, and how much of it was imported."""

    id = Id(required=True)
    kind = Word("taxable", "ira", required=True)
    name = Text(required=True)
    trades = Whole(required=True)
    is_known = Flag(
        required=True,
        metadata={"description": "False until a file was taken: its trades are not known."},
    )
    created_at = Instant(required=True)


class OutsideAccountsReply(Schema):
    """All of them."""

    items = fields.List(fields.Nested(OutsideAccountReply), required=True)


class OutsideImportReply(Schema):
    """What became of the file."""

    id = Id(required=True)
    rows = Whole(required=True)
    skipped_symbols = fields.List(fields.String(), required=True)


@BLUEPRINT.route("/customers/<id:customer_id>/outside-accounts")
@BLUEPRINT.response(200, OutsideAccountsReply)
@requires("customers:read")
def list_outside(customer_id: str) -> dict[str, Any]:
    """List one's accounts at other firms."""
    customer = owned_customer(customer_id)
    with reading() as session:
        return {"items": declaring.accounts(session, runtime().keyring, customer.id)}


@BLUEPRINT.route("/customers/<id:customer_id>/outside-accounts", methods=["POST"])
@BLUEPRINT.arguments(OutsideAccountRequest)
@BLUEPRINT.response(201, OutsideAccountReply)
@requires("customers:write")
def add_outside(body: dict[str, Any], customer_id: str) -> Elsewhere:
    """Note an account at another firm."""
    customer = owned_customer(customer_id)
    close_reading()
    r, made = runtime(), idempotency.request_id("out")
    kind, name = body["kind"], body["name"]
    return declaring.add_account(
        r.db, r.keyring, r.clock, customer, made, kind, name, actor=caller().actor
    )


@BLUEPRINT.route("/customers/<id:customer_id>/outside-accounts/<id:outside_id>", methods=["DELETE"])
@BLUEPRINT.response(204)
@requires("customers:write")
def remove_outside(customer_id: str, outside_id: str) -> None:
    """Forget an account at another firm and its trades."""
    customer = owned_customer(customer_id)
    close_reading()
    r, actor = runtime(), caller().actor
    declaring.remove_account(r.db, r.keyring, r.clock, customer, outside_id, actor=actor)


@BLUEPRINT.route(
    "/customers/<id:customer_id>/outside-accounts/<id:outside_id>/imports", methods=["POST"]
)
@upload
@BLUEPRINT.doc(requestBody=_CSV_BODY)  # type: ignore[untyped-decorator] # flask-smorest leaves it untyped
@BLUEPRINT.response(201, OutsideImportReply)
@requires("customers:write")
def import_outside(customer_id: str, outside_id: str) -> Imported:
    """Import trades from a CSV file, whole or not at all; wrong rows are named in `fields`.

    The header is kind,date,symbol,shares,amount and may add acquired, of a sale the date of the lot
    that was sold. Kinds are lot (held at the beginning), buy, reinvest and sell; the amount is what
    was paid or received in all.
    """
    customer = owned_customer(customer_id)
    close_reading()
    text = csv_text()
    r, made = runtime(), idempotency.request_id("imp")
    return declaring.import_trades(
        r.db, r.keyring, r.clock, customer, outside_id, made, text, actor=caller().actor
    )
