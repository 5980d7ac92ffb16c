"""What shares cost: the very prices portfolios are valued with, and where they come from."""

from typing import Any

import marshmallow as ma
from marshmallow import fields

from robo.api.auth import requires
from robo.api.state import reading, runtime
from robo.api.wire import Flag, Instant, Price, Schema, Text, Whole, blueprint
from robo.services import reporting

BLUEPRINT = blueprint("prices", "Prices and their source")


class PriceQuery(Schema):
    """Which symbols."""

    symbols = Text(
        required=True,
        longest=600,
        pattern=r"[A-Z0-9.\-]{1,12}(,[A-Z0-9.\-]{1,12}){0,49}",
        metadata={"description": "Up to 50 symbols, separated by commas.", "example": "AAPL,MSFT"},
    )

    @ma.validates("symbols")
    def distinct(self, value: str, **_: Any) -> None:
        """Refuse a symbol that is given twice."""
        words = value.split(",")
        if len(set(words)) != len(words):
            message = "A symbol was given twice."
            raise ma.ValidationError(message)


class PriceReply(Schema):
    """What one share costs now."""

    symbol = Text(required=True)
    security_id = Whole(required=True)
    price = Price(attribute="price_micros", required=True)
    bid = Price(attribute="bid_micros", required=True)
    ask = Price(attribute="ask_micros", required=True)
    as_of = Instant(attribute="as_of_micros", required=True)
    halted = Flag(required=True)


class PricesReply(Schema):
    """Prices, their source, and symbols without one."""

    source = Text(required=True, metadata={"description": "Starts with SIM if invented."})
    simulated = Flag(required=True)
    items = fields.List(fields.Nested(PriceReply), required=True)
    missing = fields.List(fields.String(), required=True)


@BLUEPRINT.route("/prices")
@BLUEPRINT.arguments(PriceQuery, location="query")
@BLUEPRINT.response(200, PricesReply)
@requires("baskets:read")
def list_prices(query: dict[str, Any]) -> dict[str, Any]:
    """Return the prices that portfolios are valued with now."""
    r = runtime()
    symbols = query["symbols"].split(",")
    with reading() as session:
        items, missing = reporting.price_lines(session, r.prices, r.clock, symbols)
    return {
        "source": r.prices.name,
        "simulated": r.prices.simulated,
        "items": items,
        "missing": missing,
    }
