"""Baskets: what is in them and why, for everybody and for one customer; filters checked."""

from typing import Any

from marshmallow import fields
from sqlmodel import Session

from baskets.basket import Candidate, Constituent
from robo.api import limits
from robo.api.auth import caller, caller_if_any, owned_customer, public, requires
from robo.api.idempotency import exempt
from robo.api.state import reading, runtime
from robo.api.wire import (
    Day,
    Flag,
    Id,
    PageQuery,
    Ppm,
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
from robo.services import offering, previewing
from robo.services.offering import Shelf
from robo.services.previewing import Preview

BLUEPRINT = blueprint("baskets", "Baskets and filters")
_LONG = 4_000
_FILTER_MAX = 1_000
"""Each comparison is made for every security: this much text costs about half a second."""
_AROUND = 1_000
"""What a sentence may say around a quoted word that is itself as long as a text may be."""


class RiskReply(Schema):
    """Predicted annual figures; model numbers, not promises."""

    volatility_ppm = Whole(required=True, metadata={"description": "180000 is 18 % a year."})
    tracking_error_ppm = Whole(required=True, metadata={"description": "To the index."})
    target_error_ppm = Whole(
        required=True, metadata={"description": "To the basket as everybody is offered it."}
    )
    index = Text(required=True)
    method = Text(required=True)
    source = Text(required=True, metadata={"description": "Starts with SIM if invented."})
    simulated = Flag(required=True)
    as_of = Day(required=True)
    sessions = Whole(required=True)


class NameReply(Schema):
    """A company that could be in the basket."""

    symbol = Text(required=True)
    security_id = Whole(required=True)
    name = Text(required=True)
    sector = Text(required=True)
    group = Text(required=True)
    country = Text(required=True, allow_none=True)
    sentence = Text(required=True, longest=_LONG)
    source = Text(required=True, longest=_LONG)
    not_known = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Screened fields that are not known of it, and let through."},
    )


class ConstituentReply(NameReply):
    """A company in the basket."""

    weight_ppm = Ppm(required=True)
    replaces = Text(required=True, shortest=0)
    reason = Text(required=True, shortest=0, longest=_LONG)


class RejectReply(Schema):
    """A company that was considered and is not in."""

    symbol = Text(required=True)
    name = Text(required=True, shortest=0)
    code = Text(required=True)
    reason = Text(required=True, longest=_LONG)


class RejectListPage(page_of(RejectReply)):  # type: ignore[misc] # made at run time
    """A page of rejects, and on whose opinions they rest."""

    score_note = Text(
        required=True, longest=_LONG, metadata={"description": "On whose opinions it rests."}
    )


class RejectQuery(PageQuery):
    """Which page, and perhaps which company."""

    symbol = Text(load_default=None, longest=12, pattern=r"[A-Z0-9.\-]{1,12}")


class RejectCount(Schema):
    """How many companies are not in for one reason."""

    code = Text(required=True)
    count = Whole(required=True)


class BasketSummaryReply(Schema):
    """A basket on offer."""

    id = Text(required=True)
    name = Text(required=True)
    family = Word("esg", "theme", required=True)
    version = Text(required=True)
    as_of = Day(required=True)
    sentence = Text(required=True, longest=_LONG)
    values = fields.List(fields.String(), required=True)
    risk_hint = Text(required=True, shortest=0)
    score_note = Text(
        required=True, longest=_LONG, metadata={"description": "On whose opinions it rests."}
    )
    symbols = fields.List(fields.String(), required=True)
    risk = fields.Nested(RiskReply, required=True, allow_none=True)


class BasketReply(BasketSummaryReply):
    """A basket with every name and reason."""

    method = Word("equal", "size", "sqrt_size", required=True)
    screen = Text(required=True, shortest=0, longest=20_000)
    sector_ppm_max = Ppm(required=True)
    sectors_note = Text(required=True, shortest=0, longest=_LONG)
    universe_source = Text(required=True, longest=_LONG)
    universe_as_of = Day(required=True)
    constituents = fields.List(fields.Nested(ConstituentReply), required=True)
    understudies = fields.List(fields.Nested(NameReply), required=True)
    survivors = Whole(required=True)
    reject_counts = fields.List(fields.Nested(RejectCount), required=True)


class BasketListReply(Schema):
    """Every basket on offer."""

    catalog_version = Text(required=True)
    items = fields.List(fields.Nested(BasketSummaryReply), required=True)


class ExplainQuery(Schema):
    """For whom."""

    customer_id = Id(required=True)


class ReplacedReply(Schema):
    """A name that this customer may not buy, and who stands in for it."""

    symbol = Text(required=True)
    stand_in = Text(required=True)
    weight_ppm = Ppm(required=True)
    reason = Text(required=True, longest=_LONG)


class ExplanationReply(Schema):
    """A basket as one customer may hold it."""

    basket = fields.Nested(BasketReply, required=True)
    replaced = fields.List(fields.Nested(ReplacedReply), required=True)


class ScreenRequest(Schema):
    """A filter in the filter language."""

    filter = Text(
        required=True,
        shortest=0,
        longest=_FILTER_MAX,
        metadata={
            "description": "Statements separated by `;`.",
            "example": "exclude thermal_coal.any >= 5%",
        },
    )


class ScreenProblemReply(Schema):
    """What is wrong with a filter, and where."""

    code = Text(required=True)
    detail = Text(required=True, longest=_LONG + _AROUND)
    line = Whole(required=True)
    column = Whole(required=True)
    found = Text(required=True, shortest=0, longest=_LONG)
    expected = Text(required=True, shortest=0, longest=_LONG)


class ScreenSampleReply(Schema):
    """One of the names that a filter rejects."""

    symbol = Text(required=True)
    reason = Text(required=True, longest=_LONG)


class ScreenReply(Schema):
    """What a filter does to the universe, or where its text is wrong."""

    valid = Flag(required=True)
    problem = fields.Nested(ScreenProblemReply, required=True, allow_none=True)
    statements = Whole(required=True)
    passing = Whole(required=True)
    rejected = Whole(required=True)
    asking = Whole(required=True)
    samples = fields.List(fields.Nested(ScreenSampleReply), required=True)
    score_note = Text(
        required=True, longest=_LONG, metadata={"description": "On whose opinions it rests."}
    )


@BLUEPRINT.route("/baskets")
@BLUEPRINT.response(200, BasketListReply)
@public(or_scope="baskets:read")
def list_baskets() -> dict[str, Any]:
    """List the baskets on offer with their predicted risk."""
    r = runtime()
    with reading() as session:
        shelf = _shelf(session)
        found = previewing.previews(session, r.prices, r.clock, r.calendar, shelf.catalog)
    return {
        "catalog_version": shelf.catalog.version,
        "items": [_summary(each) for each in found],
    }


@BLUEPRINT.route("/baskets/<string(maxlength=80):basket_id>")
@BLUEPRINT.response(200, BasketReply)
@public(or_scope="baskets:read")
def get_basket(basket_id: str) -> dict[str, Any]:
    """Return a basket: names, weights, understudies, rejects, sources, predicted risk."""
    r = runtime()
    with reading() as session:
        catalog = _shelf(session).catalog
        found = previewing.preview(session, r.prices, r.clock, r.calendar, catalog, basket_id)
    return _whole(found)


@BLUEPRINT.route("/baskets/<string(maxlength=80):basket_id>/rejects")
@BLUEPRINT.arguments(RejectQuery, location="query")
@BLUEPRINT.response(200, RejectListPage)
@public(or_scope="baskets:read")
def list_basket_rejects(query: dict[str, Any], basket_id: str) -> dict[str, Any]:
    """List who was considered and is not in, each with its reason."""
    start = 0 if query["after"] is None else decode_cursor(query["after"], int)[0]
    with reading() as session:
        shelf = _shelf(session)
    page = previewing.rejects(
        shelf,
        basket_id,
        query["symbol"],
        max(0, start),
        query["limit"],
        stranger=caller_if_any() is None,
    )
    more = encode_cursor(page.more) if page.more is not None else None
    return {**paged(page.items, more), "score_note": page.score_note}


@BLUEPRINT.route("/baskets/<string(maxlength=80):basket_id>/explain")
@BLUEPRINT.arguments(ExplainQuery, location="query")
@BLUEPRINT.response(200, ExplanationReply)
@requires("baskets:read")
def explain_basket(query: dict[str, Any], basket_id: str) -> dict[str, Any]:
    """Return a basket as one customer may hold it: who was replaced by whom, and why."""
    customer = owned_customer(query["customer_id"])
    r = runtime()
    with reading() as session:
        found = previewing.explain(session, r.prices, r.clock, r.calendar, basket_id, customer.id)
    return {"basket": _whole(found.preview), "replaced": found.replaced}


@BLUEPRINT.route("/screens/check", methods=["POST"])
@exempt
@BLUEPRINT.arguments(ScreenRequest)
@BLUEPRINT.response(200, ScreenReply)
@requires("baskets:read")
def check_screen(body: dict[str, Any]) -> dict[str, Any]:
    """Check a filter: how many names pass, or the place where its text is wrong."""
    limits.count_costly(caller().name)
    with reading() as session:
        facts = offering.of_firm(session, caller().firm_id).facts
    found = previewing.check_screen(body["filter"], facts)
    error = found.error
    problem = error and {
        "code": error.code,
        "detail": error.detail,
        "line": error.place.line,
        "column": error.place.column,
        "found": error.found,
        "expected": error.expected,
    }
    return {
        "valid": error is None,
        "problem": problem,
        "statements": found.statements,
        "passing": found.passing,
        "rejected": found.rejected,
        "asking": found.asking,
        "samples": [{"symbol": symbol, "reason": why} for symbol, why in found.samples],
        "score_note": found.score_note,
    }


def _shelf(session: Session) -> Shelf:
    """Return what the caller's firm offers, to a stranger what the house does."""
    who = caller_if_any()
    return offering.of_house(session) if who is None else offering.of_firm(session, who.firm_id)


def _summary(preview: Preview) -> dict[str, Any]:
    basket = preview.basket
    return {
        "id": basket.id,
        "name": basket.name,
        "family": basket.family,
        "version": basket.version,
        "as_of": basket.as_of,
        "sentence": basket.sentence,
        "values": basket.values,
        "risk_hint": basket.risk_hint,
        "score_note": basket.data_note,
        "symbols": [row.symbol for row in basket.constituents],
        "risk": preview.risk,
    }


def _whole(preview: Preview) -> dict[str, Any]:
    basket = preview.basket
    return {
        **_summary(preview),
        "method": basket.method,
        "screen": basket.screen,
        "sector_ppm_max": basket.sector_ppm_max,
        "sectors_note": basket.sectors_note,
        "universe_source": basket.universe_source,
        "universe_as_of": basket.universe_as_of,
        "constituents": [_constituent(row) for row in basket.constituents],
        "understudies": [_name(row) for row in basket.understudies],
        "survivors": basket.survivors,
        "reject_counts": [
            {"code": code, "count": count} for code, count in previewing.reject_counts(basket)
        ],
    }


def _name(row: Candidate) -> dict[str, Any]:
    return {
        "symbol": row.symbol,
        "security_id": row.security_id,
        "name": row.name,
        "sector": row.sector,
        "group": row.group,
        "country": row.country,
        "sentence": row.sentence,
        "source": row.source,
        "not_known": row.allowed_unknown,
    }


def _constituent(row: Constituent) -> dict[str, Any]:
    return {
        **_name(row.candidate),
        "weight_ppm": row.weight_ppm,
        "replaces": row.replaces,
        "reason": row.reason,
    }
