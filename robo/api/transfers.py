"""Deposits, withdrawals and closing an account."""

from typing import Any

from flask import Response, current_app
from sqlmodel import Session

from robo.api.auth import owned_account, requires, stepped_up
from robo.api.idempotency import keep, request_id
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import (
    Cents,
    Day,
    Flag,
    Id,
    Instant,
    PageQuery,
    Schema,
    Text,
    Whole,
    Word,
    blueprint,
    decode_cursor,
    encode_cursor,
    page_of,
    paged,
)
from robo.core.ids import AccountId
from robo.core.money import format_cents
from robo.services import funding, mailing, moving, reporting, withdrawing
from robo.services.reporting import WithdrawalLine
from robo.store.transfers import Deposit
from robo.store.withdrawals import Withdrawal

BLUEPRINT = blueprint("transfers", "Deposits, withdrawals, closing")


class DepositRequest(Schema):
    """Money to bring in from a linked bank."""

    bank_link_id = Id(required=True)
    amount = Cents(required=True)
    tax_year = Whole(
        least=1990,
        most=2200,
        load_default=None,
        allow_none=True,
        metadata={"description": "Into an IRA: the year it counts for; this year if left out."},
    )


class DepositReply(Schema):
    """A deposit and how far it has come."""

    id = Id(required=True)
    account_id = Id(required=True)
    bank_link_id = Id(required=True)
    plan_id = Id(required=True, allow_none=True)
    amount = Cents(attribute="cents", required=True)
    state = Word(
        "requested", "pending", "available", "settled", "returned", "failed", required=True
    )
    advanced = Cents(
        attribute="advanced_cents",
        zero=True,
        required=True,
        metadata={"description": "What was lent while the deposit was pending."},
    )
    owed = Cents(
        attribute="owed_cents",
        zero=True,
        required=True,
        metadata={"description": "After a return: what is invested and still to be brought back."},
    )
    return_code = Text(required=True, shortest=0, metadata={"example": "R01"})
    requested_at = Instant(required=True)
    available_at = Instant(required=True, allow_none=True)
    settles_on = Day(required=True, allow_none=True)
    settled_at = Instant(required=True, allow_none=True)
    returned_at = Instant(required=True, allow_none=True)
    cure_until = Day(required=True, allow_none=True)


def _confirm() -> Text:
    notice = (
        "From an IRA: confirms the notice of this name, which a refusal with `ira_notice` states."
    )
    return Text(longest=40, load_default="", shortest=0, metadata={"description": notice})


class WithdrawalRequest(Schema):
    """Money to send to a linked bank."""

    bank_link_id = Id(required=True)
    amount = Cents(required=True)
    confirm = _confirm()


class ClosureRequest(Schema):
    """Where everything goes when the account closes."""

    bank_link_id = Id(required=True)
    confirm = _confirm()


class WithdrawalReply(Schema):
    """A withdrawal and how far it has come."""

    id = Id(required=True)
    account_id = Id(required=True)
    bank_link_id = Id(required=True)
    amount = Cents(
        attribute="amount_cents",
        zero=True,
        required=True,
        allow_none=True,
        metadata={"description": "What was asked for; null for a closure until all is sold."},
    )
    estimate = Cents(
        attribute="estimate_cents",
        zero=True,
        required=True,
        allow_none=True,
        metadata={
            "description": "About what a running closure will pay, shares at the last marked "
            "closes, what is set aside included; no promise. Null for everything else."
        },
    )
    promised = Cents(
        attribute="promised_cents",
        zero=True,
        required=True,
        metadata={"description": "What is set aside for it."},
    )
    closing = Flag(required=True)
    state = Word(
        "requested", "selling", "settling", "sent", "paid", "failed", "canceled", required=True
    )
    requested_at = Instant(required=True)
    paid_at = Instant(required=True, allow_none=True)


@BLUEPRINT.route("/accounts/<id:account_id>/deposits", methods=["POST"])
@BLUEPRINT.arguments(DepositRequest)
@BLUEPRINT.response(201, DepositReply)
@requires("transfers:write")
def create_deposit(body: dict[str, Any], account_id: str) -> Deposit:
    """Ask a linked bank for money."""
    owned_account(account_id)
    close_reading()
    r = runtime()
    order = funding.DepositOrder(
        request_id("dep"),
        account_id,
        body["bank_link_id"],
        body["amount"],
        tax_year=body["tax_year"],
    )
    rail = funding.rail(r.db, r.keyring, r.broker, r.bank, r.clock)
    return funding.request_and_tell(r.db, r.keyring, rail, r.clock, r.policy, order, _keep_reply)


@BLUEPRINT.route("/accounts/<id:account_id>/deposits")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(DepositReply))
@requires("transfers:read")
def list_deposits(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """List an account's deposits, newest first."""
    owned_account(account_id)
    after = None if query["after"] is None else decode_cursor(query["after"], int, str)
    with reading() as session:
        items, more = reporting.deposits(session, account_id, after, query["limit"])
    return paged(items, encode_cursor(*more) if more else None)


@BLUEPRINT.route("/accounts/<id:account_id>/deposits/<id:deposit_id>")
@BLUEPRINT.response(200, DepositReply)
@requires("transfers:read")
def get_deposit(account_id: str, deposit_id: str) -> Deposit:
    """Return one deposit."""
    owned_account(account_id)
    with reading() as session:
        return reporting.deposit(session, account_id, deposit_id)


@BLUEPRINT.route("/accounts/<id:account_id>/withdrawals", methods=["POST"])
@BLUEPRINT.arguments(WithdrawalRequest)
@BLUEPRINT.response(201, WithdrawalReply)
@requires("transfers:write")
def create_withdrawal(body: dict[str, Any], account_id: str) -> WithdrawalLine:
    """Send money to a linked bank; what is overweight is sold for it if cash does not do."""
    return _withdraw(account_id, body["bank_link_id"], body["amount"], body["confirm"])


@BLUEPRINT.route("/accounts/<id:account_id>/closure", methods=["POST"])
@BLUEPRINT.arguments(ClosureRequest)
@BLUEPRINT.response(201, WithdrawalReply)
@requires("transfers:write")
def close_account(body: dict[str, Any], account_id: str) -> WithdrawalLine:
    """Sell everything, pay everything out, and close the account."""
    return _withdraw(account_id, body["bank_link_id"], None, body["confirm"])


@BLUEPRINT.route("/accounts/<id:account_id>/withdrawals")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, page_of(WithdrawalReply))
@requires("transfers:read")
def list_withdrawals(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """List an account's withdrawals, newest first."""
    owned_account(account_id)
    after = None if query["after"] is None else decode_cursor(query["after"], int, str)
    with reading() as session:
        items, more = reporting.withdrawals(session, account_id, after, query["limit"])
    return paged(items, encode_cursor(*more) if more else None)


@BLUEPRINT.route("/accounts/<id:account_id>/withdrawals/<id:withdrawal_id>")
@BLUEPRINT.response(200, WithdrawalReply)
@requires("transfers:read")
def get_withdrawal(account_id: str, withdrawal_id: str) -> WithdrawalLine:
    """Return one withdrawal."""
    owned_account(account_id)
    with reading() as session:
        return reporting.withdrawal(session, account_id, withdrawal_id)


@BLUEPRINT.route("/accounts/<id:account_id>/withdrawals/<id:withdrawal_id>", methods=["DELETE"])
@BLUEPRINT.response(200, WithdrawalReply)
@requires("transfers:write")
def cancel_withdrawal(account_id: str, withdrawal_id: str) -> WithdrawalLine:
    """Cancel a withdrawal that has not been sent."""
    owned_account(account_id)
    close_reading()
    r = runtime()
    made = withdrawing.cancel(r.db, r.keyring, r.clock, AccountId(account_id), withdrawal_id)
    return _shown(made)


def _keep_reply(session: Session, deposit: Deposit) -> None:
    """Store the reply to a deposit together with it; nearly always the bank changes nothing."""
    body = current_app.json.dumps(DepositReply().dump(deposit))
    keep(session, Response(body, status=201, mimetype="application/json"))


def _withdraw(
    account_id: str, bank_link_id: str, cents: int | None, confirmed: str
) -> WithdrawalLine:
    account = owned_account(account_id)
    with reading() as session:
        funding.require_payout(session, account_id)
        if cents is None:
            moving.require_none_coming(session, account_id)
    close_reading()
    stepped_up()
    r = runtime()
    made = withdrawing.request(
        r.db,
        r.keyring,
        r.prices,
        r.clock,
        AccountId(account_id),
        request_id("wdr"),
        bank_link_id,
        cents,
        confirmed,
    )
    kind = "withdrawal_requested" if cents is not None else "closure_requested"
    values = {"amount": format_cents(made.cents)}
    mailing.notify(r.db, r.keyring, r.clock, account.customer_id, kind, made.id, values)
    return _shown(made)


def _shown(made: Withdrawal) -> WithdrawalLine:
    with reading() as session:
        return reporting.withdrawal_line(session, made)
