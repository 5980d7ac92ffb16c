"""Taxes: what we are told, what is chosen, where that leaves the year, and its forms."""

from typing import Any, Final

from flask import Response
from marshmallow import fields

from robo.api.auth import caller, is_second_owner, owned_account, owned_customer, requires
from robo.api.state import close_reading, now_micros, reading, runtime
from robo.api.tax_fields import (
    IraRoomReply,
    NetFields,
    TaxChoicesReply,
    TaxChoicesRequest,
    TaxProfileReply,
    TaxProfileRequest,
    TaxReportReply,
    TaxStandingReply,
    YearlyGainReply,
    YearQuery,
    choice_json,
    profile_json,
    report_json,
    standing_json,
    told_of,
)
from robo.api.wire import Cents, Flag, Schema, UnknownAccounts, Word, blueprint
from robo.core.clock import business_date, from_micros
from robo.core.ids import AccountId
from robo.services import declaring
from robo.services.taxing import choosing, contributing, filing, standings
from robo.services.taxing.filing import TaxReport
from robo.tax.rate_tables import FilingStatus

BLUEPRINT = blueprint("taxes", "Tax profile, choices, realised gains, Form 8949 previews, IRAs.")
_OF_THE_FIRST: Final = (
    *("status", "is_assumed", "elsewhere", "unknown_accounts"),
    *("carried_in", "carried_out", "taxed", "deducted", "tax_of_gains"),
)
"""What of an account's report is of its first owner's return, or of their accounts elsewhere."""
_OF_ONE: Final = {
    "description": "Null for the second owner of a joint account: it is of the first one's return."
}


class AccountTaxReportReply(TaxReportReply):
    """One account's part of the forms; what is of the first owner's return is told to them only."""

    status = Word(
        *(one.value for one in FilingStatus), required=True, allow_none=True, metadata=_OF_ONE
    )
    is_assumed = Flag(required=True, allow_none=True, metadata=_OF_ONE)
    elsewhere = Word("unknown", "none", "some", required=True, allow_none=True, metadata=_OF_ONE)
    unknown_accounts = UnknownAccounts(allow_none=True)
    carried_in = fields.Nested(NetFields, required=True, allow_none=True, metadata=_OF_ONE)
    carried_out = fields.Nested(NetFields, required=True, allow_none=True, metadata=_OF_ONE)
    taxed = fields.Nested(NetFields, required=True, allow_none=True, metadata=_OF_ONE)
    deducted = Cents(zero=True, required=True, allow_none=True, metadata=_OF_ONE)
    tax_of_gains = Cents(signed=True, required=True, allow_none=True, metadata=_OF_ONE)


class RealisedGainsReply(Schema):
    """Realised gains by year, newest first."""

    items = fields.List(fields.Nested(YearlyGainReply), required=True)


@BLUEPRINT.route("/customers/<id:customer_id>/tax-profile")
@BLUEPRINT.arguments(YearQuery, location="query")
@BLUEPRINT.response(200, TaxProfileReply)
@requires("customers:read")
def get_tax_profile(query: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Show what holds for a tax year: as told of it, rolled forward from before, or assumed."""
    customer = owned_customer(customer_id)
    r, on = runtime(), business_date(from_micros(now_micros()))
    year = query["year"] or on.year
    with reading() as session:
        made = filing.report(session, r.keyring, r.policy, customer.id, year, on)
    return profile_json(made.year, made.told, is_assumed=made.is_assumed)


@BLUEPRINT.route("/customers/<id:customer_id>/tax-profile", methods=["PUT"])
@BLUEPRINT.arguments(TaxProfileRequest)
@BLUEPRINT.response(200, TaxProfileReply)
@requires("customers:write")
def put_tax_profile(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Tell us of a tax year; incomes are sealed. Limits on IRAs follow from it."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    year = body["year"] or business_date(r.clock.now()).year
    told = choosing.tell(
        r.db,
        r.keyring,
        r.clock,
        customer,
        year,
        told_of(body),
        actor=caller().actor,
        keeps_lots="lot_method" not in body,
    )
    return profile_json(year, told, is_assumed=False)


@BLUEPRINT.route("/customers/<id:customer_id>/tax-choices")
@BLUEPRINT.response(200, TaxChoicesReply)
@requires("customers:read")
def get_tax_choices(customer_id: str) -> dict[str, Any]:
    """Show the tax mode, the year's target, the gain budget, and what was declared."""
    customer = owned_customer(customer_id)
    with reading() as session:
        return choice_json(choosing.current(session, customer.id))


@BLUEPRINT.route("/customers/<id:customer_id>/tax-choices", methods=["PUT"])
@BLUEPRINT.arguments(TaxChoicesRequest)
@BLUEPRINT.response(200, TaxChoicesReply)
@requires("customers:write")
def put_tax_choices(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Change any of them, any day; what is left out stays as it is."""
    customer = owned_customer(customer_id)
    close_reading()
    r = runtime()
    made = choosing.choose(
        r.db, r.keyring, r.clock, customer, body, actor=caller().actor, policy=r.policy
    )
    return choice_json(made)


@BLUEPRINT.route("/customers/<id:customer_id>/tax-standing")
@BLUEPRINT.response(200, TaxStandingReply)
@requires("portfolio:read")
def get_standing(customer_id: str) -> dict[str, Any]:
    """Show where the year stands: realised gains, rates on the next dollar, what is left."""
    customer = owned_customer(customer_id)
    r, on = runtime(), business_date(from_micros(now_micros()))
    with reading() as session:
        found = standings.standings(session, r.keyring, r.policy, [customer.id], on)
        return standing_json(found[customer.id], declaring.unknown(session, customer.id))


@BLUEPRINT.route("/customers/<id:customer_id>/realised-gains")
@BLUEPRINT.response(200, RealisedGainsReply)
@requires("portfolio:read")
def list_realised(customer_id: str) -> dict[str, Any]:
    """List realised gains by year, after wash sales."""
    customer = owned_customer(customer_id)
    on = business_date(from_micros(now_micros()))
    with reading() as session:
        rows = filing.realised(session, customer.id, on)
    return {
        "items": [{"year": year, "short": n.short_cents, "long": n.long_cents} for year, n in rows]
    }


@BLUEPRINT.route("/customers/<id:customer_id>/tax-report")
@BLUEPRINT.arguments(YearQuery, location="query")
@BLUEPRINT.response(200, TaxReportReply)
@requires("portfolio:read")
def get_tax_report(query: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Preview Form 8949 and Schedule D of a customer's accounts, household adjustments apart."""
    return report_json(_report(owned_customer(customer_id).id, query["year"], None))


@BLUEPRINT.route("/accounts/<id:account_id>/tax-report")
@BLUEPRINT.arguments(YearQuery, location="query")
@BLUEPRINT.response(200, AccountTaxReportReply)
@requires("portfolio:read")
def get_account_tax_report(query: dict[str, Any], account_id: str) -> dict[str, Any]:
    """Preview one account's part of the forms; netting and tax are then of it alone."""
    account = owned_account(account_id)
    said = report_json(_report(account.customer_id, query["year"], AccountId(account.id)))
    return said | dict.fromkeys(_OF_THE_FIRST) if is_second_owner(account) else said


@BLUEPRINT.route("/customers/<id:customer_id>/tax-report.csv")
@BLUEPRINT.arguments(YearQuery, location="query")
@BLUEPRINT.response(
    200, {"type": "string"}, content_type="text/csv", description="Rows of Form 8949."
)
@requires("portfolio:read")
def get_tax_report_csv(query: dict[str, Any], customer_id: str) -> Response:
    """Get the rows of Form 8949 as CSV."""
    return _csv(_report(owned_customer(customer_id).id, query["year"], None))


@BLUEPRINT.route("/accounts/<id:account_id>/tax-report.csv")
@BLUEPRINT.arguments(YearQuery, location="query")
@BLUEPRINT.response(
    200, {"type": "string"}, content_type="text/csv", description="Rows of Form 8949."
)
@requires("portfolio:read")
def get_account_tax_report_csv(query: dict[str, Any], account_id: str) -> Response:
    """Get one account's rows of Form 8949 as CSV."""
    account = owned_account(account_id)
    return _csv(_report(account.customer_id, query["year"], AccountId(account.id)))


@BLUEPRINT.route("/customers/<id:customer_id>/ira-room")
@BLUEPRINT.arguments(YearQuery, location="query")
@BLUEPRINT.response(200, IraRoomReply)
@requires("transfers:read")
def get_ira_room(query: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Show what may still go into IRAs for a tax year."""
    customer = owned_customer(customer_id)
    year = query["year"] or business_date(from_micros(now_micros())).year
    with reading() as session:
        return contributing.shown(contributing.room(session, runtime().keyring, customer.id, year))


def _report(customer_id: str, year: int | None, account_id: AccountId | None) -> TaxReport:
    r, on = runtime(), business_date(from_micros(now_micros()))
    with reading() as session:
        return filing.report(
            session, r.keyring, r.policy, customer_id, year or on.year, on, account_id
        )


def _csv(made: TaxReport) -> Response:
    name = f"form-8949-{made.year}.csv"
    reply = Response(filing.to_csv(made), content_type="text/csv; charset=utf-8")
    reply.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return reply
