"""Fields of the tax resource, and how its values are shown."""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import Any, Final

import marshmallow as ma
from marshmallow import fields

from robo.api.wire import (
    Cents,
    Day,
    Flag,
    Id,
    Ppm,
    Schema,
    Shares,
    Text,
    UnknownAccounts,
    Whole,
    Word,
)
from robo.services.taxing import filing
from robo.services.taxing.filing import TaxReport
from robo.services.taxing.profiles import Told
from robo.services.taxing.standings import Standing
from robo.services.washing.counting import WashKind
from robo.store.tax_profiles import Choice
from robo.tax.gains import Net
from robo.tax.rate_tables import FilingStatus
from robo.tax.rates import Rates, StateRates
from robo.tax.reports import Columns
from robo.tax.selection import LotMethod

_MODES: Final = ("harvest", "neutral", "realise")
_TARGETS: Final = ("none", "loss_limit", "zero", "zero_bracket", "amount")
_METHODS: Final = tuple(method.value for method in LotMethod)
_METHOD: Final = {
    "description": "Which lots a withdrawal from a basket sells. Left out: as you said last."
}
_STATUSES: Final = tuple(status.value for status in FilingStatus)


class YearQuery(Schema):
    """Which tax year; this one if left out."""

    year = fields.Integer(load_default=None, validate=ma.validate.Range(min=1990, max=2200))


class StateFields(Schema):
    """What the customer's state takes of the next dollar, and where that is from."""

    short_ppm = Ppm(load_default=0)
    long_ppm = Ppm(load_default=0)
    ordinary_ppm = Ppm(load_default=0)
    source = Text(shortest=0, longest=200, load_default="")


class ProfileFields(Schema):
    """What a customer tells us of a tax year."""

    status = Word(*_STATUSES, required=True)
    ordinary_income = Cents(
        zero=True,
        required=True,
        metadata={"description": "Taxable ordinary income after deductions, without gains."},
    )
    magi = Cents(
        zero=True,
        required=True,
        metadata={"description": "Modified adjusted gross income without gains."},
    )
    investment_income = Cents(zero=True, load_default=0)
    compensation = Cents(
        zero=True, load_default=0, metadata={"description": "Earned income; it limits IRAs."}
    )
    state = fields.Nested(StateFields, load_default=dict)
    carried_short = Cents(
        signed=True, load_default=0, metadata={"description": "Loss carried in: 0 or negative."}
    )
    carried_long = Cents(signed=True, load_default=0)
    outside_short = Cents(
        signed=True,
        load_default=0,
        metadata={"description": "Net gain realised elsewhere and not imported."},
    )
    outside_long = Cents(signed=True, load_default=0)
    lot_method = Word(*_METHODS, metadata=_METHOD)


class TaxProfileRequest(ProfileFields):
    """What a customer tells us; of this year if none is named."""

    year = Whole(least=1990, most=2200, load_default=None, allow_none=True)


class TaxProfileReply(ProfileFields):
    """What holds for a year."""

    year = Whole(required=True)
    is_assumed = Flag(required=True, metadata={"description": "Nothing was told of it."})


class ChoiceFields(Schema):
    """What a customer chose."""

    mode = Word(*_MODES)
    target = Word(*_TARGETS, metadata={"description": "Where net gains of the year shall end."})
    target_amount = Cents(signed=True, attribute="target_cents", allow_none=True)
    gain_budget = Cents(
        zero=True,
        attribute="gain_budget_cents",
        allow_none=True,
        metadata={"description": "Net gain a year of sales we choose, at most; null: no limit."},
    )
    buy_buy_sell = Flag(
        metadata={"description": "Losses may be deferred into shares bought before the sale."}
    )
    elsewhere = Word(
        "unknown", "none", "some", metadata={"description": "Whether you trade elsewhere."}
    )


class TaxChoicesRequest(ChoiceFields):
    """Any of the choices; what is left out stays."""


class TaxChoicesReply(ChoiceFields):
    """The choices that hold."""

    chosen = Flag(required=True, metadata={"description": "False: these are the defaults."})


class NetFields(Schema):
    """Net gains by holding period."""

    short = Cents(signed=True, required=True)
    long = Cents(signed=True, required=True)
    total = Cents(signed=True, required=True)


class YearlyGainReply(Schema):
    """One year's net gains."""

    year = Whole(required=True)
    short = Cents(signed=True, required=True)
    long = Cents(signed=True, required=True)


class RatesFields(Schema):
    """Tax on the next dollar, state and net investment income tax included."""

    short_ppm = Ppm(required=True)
    long_ppm = Ppm(required=True)
    ordinary_ppm = Ppm(required=True)


class TaxStandingReply(Schema):
    """Where a year stands."""

    year = Whole(required=True)
    figures_of = Whole(required=True)
    is_assumed = Flag(required=True)
    realised = fields.Nested(NetFields, required=True)
    chosen = fields.Nested(NetFields, required=True)
    rates = fields.Nested(RatesFields, required=True)
    mode = Word(*_MODES, required=True, metadata={"description": "What we do about taxes today."})
    to_target = Cents(signed=True, required=True, allow_none=True)
    budget_left = Cents(zero=True, required=True, allow_none=True)
    unknown_accounts = UnknownAccounts()


class SumFields(Schema):
    """The columns of Form 8949 that hold money; gain = proceeds - basis + adjustment."""

    proceeds = Cents(zero=True, required=True)
    basis = Cents(zero=True, required=True)
    adjustment = Cents(signed=True, required=True)
    gain = Cents(signed=True, required=True)
    wash = Cents(zero=True, required=True, metadata={"description": "Same account; code W."})
    household_wash = Cents(
        zero=True, required=True, metadata={"description": "Another account; code W."}
    )
    household_basis = Cents(
        signed=True, required=True, metadata={"description": "Basis from elsewhere; code B."}
    )
    lost = Cents(zero=True, required=True, metadata={"description": "Gone for good, in an IRA."})


class FormRowReply(SumFields):
    """One row of Form 8949."""

    part = Word("I", "II", required=True)
    account_id = Id(required=True)
    security_id = Whole(required=True)
    description = Text(required=True)
    shares = Shares(required=True)
    acquired = Day(required=True)
    held_from = Day(required=True)
    sold = Day(required=True)
    code = Text(required=True, shortest=0)
    final_from = Day(required=True)


class WashSaleReply(Schema):
    """A disallowed loss."""

    kind = Word(*(kind.value for kind in WashKind), required=True)
    account_id = Id(required=True)
    security_id = Whole(required=True)
    symbol = Text(required=True, shortest=0)
    sold = Day(required=True)
    disallowed = Day(required=True)
    shares = Shares(required=True)
    amount = Cents(zero=True, required=True)
    lost = Flag(required=True)


class WashCountsReply(Schema):
    """How many wash sales there were, by kind, and what they came to."""

    by_kind = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    intended = fields.Integer(
        required=True,
        metadata={"description": "Sales of the kinds withdrawal, outside_trade and opted_in."},
    )
    unintended = fields.Integer(
        required=True, metadata={"description": "Sales of any other kind: all that nobody meant."}
    )
    deferred = Cents(zero=True, required=True)
    lost = Cents(zero=True, required=True)


class TaxReportReply(Schema):
    """A preview of Form 8949 and Schedule D. It is arithmetic, not tax advice."""

    year = Whole(required=True)
    figures_of = Whole(required=True)
    as_of = Day(required=True)
    status = Word(*_STATUSES, required=True)
    is_assumed = Flag(required=True)
    elsewhere = Word("unknown", "none", "some", required=True)
    unknown_accounts = UnknownAccounts()
    rows = fields.List(fields.Nested(FormRowReply), required=True)
    short = fields.Nested(SumFields, required=True)
    long = fields.Nested(SumFields, required=True)
    outside = fields.Nested(NetFields, required=True)
    carried_in = fields.Nested(NetFields, required=True)
    carried_out = fields.Nested(NetFields, required=True)
    taxed = fields.Nested(NetFields, required=True)
    deducted = Cents(zero=True, required=True)
    tax_of_gains = Cents(
        signed=True,
        required=True,
        metadata={"description": "The year's tax with these gains, less without them."},
    )
    wash_sales = fields.List(fields.Nested(WashSaleReply), required=True)
    counts = fields.Nested(WashCountsReply, required=True)


class IraRoomReply(Schema):
    """What may still go into IRAs for a year."""

    tax_year = Whole(required=True)
    limit = Cents(zero=True, required=True)
    roth_limit = Cents(zero=True, required=True)
    traditional = Cents(zero=True, required=True)
    roth = Cents(zero=True, required=True)
    left = Cents(zero=True, required=True)
    roth_left = Cents(zero=True, required=True)
    until = Day(required=True)
    income_of = Whole(required=True, metadata={"description": "The year whose income you told us."})


_AMOUNTS: Final = {
    "ordinary_income": "ordinary_cents",
    "magi": "magi_cents",
    "investment_income": "investment_cents",
    "compensation": "compensation_cents",
    "carried_short": "carried_short_cents",
    "carried_long": "carried_long_cents",
    "outside_short": "outside_short_cents",
    "outside_long": "outside_long_cents",
}


def told_of(body: dict[str, Any]) -> Told:
    """Return what a request tells; what it leaves out of lots is for `choosing.tell` to keep."""
    amounts = {ours: body[name] for name, ours in _AMOUNTS.items()}
    state = StateRates(**{**asdict(StateRates()), **body["state"]})
    method = LotMethod(body.get("lot_method", LotMethod.LOWEST_TAX))
    return Told(status=FilingStatus(body["status"]), state=state, lot_method=method, **amounts)


def profile_json(year: int, told: Told, *, is_assumed: bool) -> dict[str, Any]:
    """Return what holds for a year, as it is shown."""
    return {
        "year": year,
        "is_assumed": is_assumed,
        "status": told.status.value,
        "state": told.state,
        "lot_method": told.lot_method.value,
        **{name: getattr(told, ours) for name, ours in _AMOUNTS.items()},
    }


def choice_json(made: Choice) -> dict[str, Any]:
    """Return choices as they are shown."""
    return {**asdict(made), "chosen": made.number > 0}


def standing_json(found: Standing, unknown: Sequence[str]) -> dict[str, Any]:
    """Return where a year stands, as it is shown; and which accounts elsewhere are not in it."""
    rates: Rates = found.rates
    return {
        "year": found.year,
        "figures_of": found.table.year,
        "is_assumed": found.is_assumed,
        "realised": net_json(found.realised),
        "chosen": net_json(found.chosen),
        "rates": rates,
        "mode": found.mode.name.lower(),
        "to_target": found.to_target_cents,
        "budget_left": found.budget_left_cents,
        "unknown_accounts": list(unknown),
    }


def net_json(net: Net) -> dict[str, Any]:
    """Return net gains as they are shown."""
    return {"short": net.short_cents, "long": net.long_cents, "total": net.cents}


def report_json(made: TaxReport) -> dict[str, Any]:
    """Return a report as it is shown."""
    schedule = made.schedule
    rows = [
        {
            **_sums(row),
            "part": row.part.value,
            "account_id": row.account_id,
            "security_id": row.security_id,
            "description": filing.describe(made, row),
            "shares": row.nanos,
            "acquired": row.acquired_on,
            "held_from": row.held_from,
            "sold": row.sold_on,
            "code": row.code,
            "final_from": row.final_from,
        }
        for row in schedule.rows
    ]
    wash = [
        {
            "kind": one.kind.value,
            "account_id": one.account_id,
            "security_id": one.security_id,
            "symbol": made.symbols.get(int(one.security_id), ""),
            "sold": one.sold_on,
            "disallowed": one.disallowed_on,
            "shares": one.nanos,
            "amount": one.cents,
            "lost": one.lost,
        }
        for one in made.wash
    ]
    return {
        "year": made.year,
        "figures_of": made.figures_of,
        "as_of": made.as_of,
        "status": made.told.status.value,
        "is_assumed": made.is_assumed,
        "elsewhere": made.elsewhere,
        "unknown_accounts": list(made.unknown_accounts),
        "rows": rows,
        "short": _sums(schedule.short),
        "long": _sums(schedule.long),
        "outside": net_json(made.told.outside if made.whole else Net()),
        "carried_in": net_json(schedule.carried_in),
        "carried_out": net_json(made.closed.carried),
        "taxed": net_json(made.closed.taxed),
        "deducted": made.closed.deducted_cents,
        "tax_of_gains": made.bill.cents - made.without.cents,
        "wash_sales": wash,
        "counts": {
            "by_kind": {kind.value: count for kind, count in made.counts.by_kind.items()},
            "intended": made.counts.intended,
            "unintended": made.counts.unintended,
            "deferred": made.counts.deferred_cents,
            "lost": made.counts.lost_cents,
        },
    }


def _sums(row: Columns) -> dict[str, Any]:
    made = {one.name.removesuffix("_cents"): getattr(row, one.name) for one in fields_of(Columns)}
    return {**made, "adjustment": row.adjustment_cents, "gain": row.gain_cents}
