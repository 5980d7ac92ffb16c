"""How fast a portfolio gets where it should be, for each gain budget a year."""

from typing import Any, Final

from marshmallow import fields

from robo.api.auth import is_second_owner, owned_account, requires
from robo.api.state import reading, runtime
from robo.api.wire import Cents, Day, Id, Ppm, Schema, Text, Whole, blueprint
from robo.core.ids import AccountId
from robo.services import foreseeing
from robo.services.foreseeing import Asked, Frontier
from robo.store import universe

BLUEPRINT = blueprint("frontiers", "What a budget for gains costs in time and tracking")
_TE: Final = "Annual standard deviation of a return difference, in ppm; the model's forecast."
_BUDGET: Final = {"description": "Net gain that may be realised a year; null for no limit."}
_TAX: Final = {
    "description": "Null for the second owner of a joint account: it tells the first one's rates."
}


class FrontierRequest(Schema):
    """What to look at; everything may be left out."""

    budgets = fields.List(
        Cents(zero=True, allow_none=True),
        load_default=list,
        metadata={
            "description": "Yearly net gains to compare, null for no limit; a few if left out.",
            "example": ["0.00", "5000.00", None],
        },
    )
    tolerance_ppm = Ppm(
        load_default=10_000,
        metadata={"description": "There is who swings at most so much more than a new account."},
    )
    years = Whole(least=1, most=foreseeing.YEARS_MAX, load_default=5)
    transfer_in_id = Id(
        load_default=None,
        allow_none=True,
        metadata={"description": "A file of positions to count as if it had come."},
    )


class FrontierStepReply(Schema):
    """How far the account swings on a day."""

    on = Day(required=True)
    tracking_error_ppm = Whole(required=True, metadata={"description": _TE})


class FrontierYearReply(Schema):
    """What the sales of a year bring, and what they add to the year's tax."""

    year = Whole(required=True)
    short_gain = Cents(signed=True, required=True)
    long_gain = Cents(signed=True, required=True)
    tax = Cents(signed=True, required=True, allow_none=True, metadata=_TAX)


class FrontierPointReply(Schema):
    """One budget: when it is there, how it gets there, what that costs."""

    budget = Cents(zero=True, required=True, allow_none=True, metadata=_BUDGET)
    reached_on = Day(
        required=True,
        allow_none=True,
        metadata={"description": "Null where it is not there within the years looked at."},
    )
    follows = Cents(
        zero=True,
        required=True,
        allow_none=True,
        metadata={"description": "The budget whose road this is; a smaller one that is sooner."},
    )
    tax = Cents(signed=True, required=True, allow_none=True, metadata=_TAX)
    steps = fields.List(fields.Nested(FrontierStepReply), required=True)
    years = fields.List(fields.Nested(FrontierYearReply), required=True)


class FrontierReply(Schema):
    """A tax-budget frontier; prices stand still in it, and nothing in it is a promise."""

    account_id = Id(required=True)
    start_ppm = Whole(required=True, metadata={"description": _TE})
    best_ppm = Whole(
        required=True,
        metadata={"description": "Of a new account with the same money and as many names."},
    )
    tolerance_ppm = Whole(required=True)
    names = Whole(required=True)
    not_modelled = fields.List(
        Text(longest=20),
        required=True,
        metadata={"description": "Symbols that the risk model does not know: left out."},
    )
    points = fields.List(fields.Nested(FrontierPointReply), required=True)
    model_id = Id(required=True)
    as_of = Day(required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/tax-budget-frontier", methods=["POST"])
@BLUEPRINT.arguments(FrontierRequest)
@BLUEPRINT.response(200, FrontierReply)
@requires("portfolio:read")
def foresee_budgets(body: dict[str, Any], account_id: str) -> dict[str, Any]:
    """Compare budgets for gains: date reached, tracking error on the way, tax. Writes nothing.

    A choice is saved with the customer's tax choices (`gain_budget`).
    """
    account = owned_account(account_id)
    asked = Asked(
        tuple(body["budgets"]), body["tolerance_ppm"], body["years"], body["transfer_in_id"]
    )
    r = runtime()
    with reading() as session:
        found = foreseeing.foresee(
            session,
            r.keyring,
            r.prices,
            r.clock,
            r.calendar,
            r.policy,
            AccountId(account.id),
            asked,
        )
        named = universe.by_id(session, found.not_modelled)
    symbols = sorted(one.symbol for one in named.values())
    return _json(account.id, found, symbols, untaxed=is_second_owner(account))


def _json(account_id: str, found: Frontier, unknown: list[str], *, untaxed: bool) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "start_ppm": found.start_ppm,
        "best_ppm": found.best_ppm,
        "tolerance_ppm": found.tolerance_ppm,
        "names": found.names,
        "not_modelled": unknown,
        "model_id": found.model_id,
        "as_of": found.as_of,
        "points": [
            {
                "budget": one.budget_cents,
                "reached_on": one.reached_on,
                "follows": one.follows_cents,
                "tax": None if untaxed else one.tax_cents,
                "steps": [{"on": on, "tracking_error_ppm": ppm} for on, ppm in one.steps],
                "years": [
                    {
                        "year": year.year,
                        "short_gain": year.short_gain_cents,
                        "long_gain": year.long_gain_cents,
                        "tax": None if untaxed else year.tax_cents,
                    }
                    for year in one.years
                ],
            }
            for one in found.points
        ],
    }
