"""The server's bodies beside Alpaca's recorded ones: the same keys with the same JSON types.

And the recorded bodies themselves, read by our parsers: ids and amounts as in the JSON's text.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from alpaca_ground import APPLE, BANK, CHILD, TUESDAY, Ground, ground_at

from broker_adapters.alpaca_custody import _account, _document, _journal, _relationship
from broker_adapters.alpaca_transfers import _transfer
from robo.core.market_calendar import MarketCalendar
from robo.ports.brokerage import CashState
from robo.ports.prices import ActionKind, CorporateAction

FACTS = Path(__file__).parents[3] / "shared" / "facts"
SHAPES, EXCHANGES = FACTS / "alpaca_shapes.json", FACTS / "alpaca_exchanges.json"
pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHAPES.exists(), reason="the recorded bodies are not here"),
]
ORDER = {"symbol": "AAA", "side": "buy", "type": "market", "time_in_force": "day"}
PERSON: dict[str, Any] = {
    "contact": {
        "email_address": "ann@example.com",
        "phone_number": "555",
        "street_address": ["1 Main"],
        "city": "San Mateo",
        "state": "CA",
        "postal_code": "94401",
    },
    "identity": {
        "given_name": "Ann",
        "family_name": "Doe",
        "date_of_birth": "1990-01-01",
        "country_of_tax_residence": "USA",
        "funding_source": ["employment_income"],
        "middle_name": "",
    },
    "disclosures": {
        "is_control_person": False,
        "is_affiliated_exchange_or_finra": False,
        "is_politically_exposed": False,
        "immediate_family_exposed": False,
    },
    "agreements": [
        {
            "agreement": "customer_agreement",
            "signed_at": "2026-03-02T00:00:00Z",
            "ip_address": "::1",
        }
    ],
}
BANK_LINK = {
    "account_owner_name": "Ann Doe",
    "bank_account_type": "CHECKING",
    "bank_account_number": "123456789",
    "bank_routing_number": "021000021",
}
EXAMPLES = {"AAPL", "TSLA", "SPY"}
NOT_HERE = {
    "$.documents[]",  # a recorded account had papers uploaded; ours has none
    "$.kyc_results.accept.IDENTITY_VERIFICATION",
    "$.kyc_results.reject.IDENTITY_VERIFICATION",
    "$.kyc_results.indeterminate.IDENTITY_VERIFICATION",
    "$[].kyc_results.reject.IDENTITY_VERIFICATION",
    "$[].unit",
    "$[].body.code",  # of an order or a position that could not be ended
    "$[].body.message",
    "$[].body.available",
    "$[].body.existing_qty",
    "$[].body.held_for_orders",
    "$[].body.symbol",
}
KINDS_NOT_HERE = ("unit_splits", "stock_dividends", "redemptions", "rights_distributions")
"""Announcements that the simulated market never makes."""


def ask(ground: Ground, method: str, path: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    with urlopen(Request(ground.server.url + path, content, method=method)) as answer:
        return json.loads(answer.read() or b"null")


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar) as made:
        yield made


def paths(body: Any, at: str = "$") -> dict[str, set[str]]:
    """Return every key path of a body with its JSON types."""
    found: dict[str, set[str]] = {at: {kind(body)}}
    parts: list[tuple[str, Any]] = []
    if isinstance(body, Mapping):
        parts = [(f"{at}.{name}", value) for name, value in body.items()]
    elif isinstance(body, list):
        parts = [(f"{at}[]", value) for value in body]
    for path, value in parts:
        for name, kinds in paths(value, path).items():
            found.setdefault(name, set()).update(kinds)
    return found


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {type(None): "null", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "number")


def check(shape: str, body: Any, **renamed: str) -> int:
    """Compare a body with a recorded shape; return how many keys were compared."""
    wanted = json.loads(SHAPES.read_text(encoding="utf-8"))[shape]["types"]
    ours = paths(body)
    compared = 0
    for recorded_path, kinds in wanted.items():
        path = recorded_path
        for old, new in renamed.items():
            path = path.replace(f".{old}", f".{new}")
        skipped = any(path.startswith(one) for one in NOT_HERE)
        if skipped or any(f".{one}" in path for one in (*KINDS_NOT_HERE, *EXAMPLES)):
            continue
        known = {"string" if one == "decimal-string" else one for one in kinds}
        assert path in ours, f"{shape}: {path} is missing"
        told = ours[path] - {"null"}  # Alpaca documents all of these as nullable
        if known == {"null"} or not told:
            continue
        if path.endswith((".qty", ".filled_qty", ".filled_avg_price", ".net_amount")):
            known |= {"string"}  # text in every documented answer; the recorded samples have both
        assert told <= known, f"{shape}: {path} is {told}, recorded as {known}"
        compared += 1
    return compared


def test_trading_bodies_have_the_recorded_keys_and_types(ground: Ground):
    made = ask(ground, "POST", "/v2/orders", {**ORDER, "notional": "25.50"})
    compared = check("trading POST /v2/orders", made)
    order = ask(ground, "GET", f"/v2/orders/{made['id']}")
    client_id = f"client_order_id={made['client_order_id']}"
    for shape, body in (
        ("GET /v2/account", ask(ground, "GET", "/v2/account")),
        ("GET /v2/orders", ask(ground, "GET", "/v2/orders?status=all")),
        ("GET /v2/orders/{id}", order),
        (
            "GET /v2/orders:by_client_order_id",
            ask(ground, "GET", f"/v2/orders:by_client_order_id?{client_id}"),
        ),
        ("GET /v2/positions", ask(ground, "GET", "/v2/positions")),
        ("GET /v2/positions/{symbol}", ask(ground, "GET", "/v2/positions/AAA")),
        ("GET /v2/assets", ask(ground, "GET", "/v2/assets")),
        ("GET /v2/assets/{symbol}", ask(ground, "GET", "/v2/assets/AAA")),
    ):
        compared += check(f"trading {shape}", body)
    assert compared > 150


def test_bodies_of_changes_have_the_recorded_keys_and_types(
    tmp_path: Path, short_calendar: MarketCalendar
):
    with ground_at(tmp_path, short_calendar, ROBO_PAPER_HOURS="session") as ground:
        ask(ground, "POST", "/v2/orders", {**ORDER, "qty": "4"})
        ask(ground, "POST", "/v2/orders", {**ORDER, "qty": "4", "symbol": "BBB"})
        ground.wait(hours=8)
        waiting = ask(ground, "POST", "/v2/orders", {**ORDER, "qty": "1"})
        compared = 0
        for shape, method, path, body in (
            ("PATCH /v2/orders/{id}", "PATCH", f"/v2/orders/{waiting['id']}", {"qty": "2"}),
            ("DELETE /v2/positions/{symbol}", "DELETE", "/v2/positions/AAA", None),
            ("DELETE /v2/positions", "DELETE", "/v2/positions", None),
            ("GET /v2/account/configurations", "GET", "/v2/account/configurations", None),
        ):
            compared += check(f"trading {shape}", ask(ground, method, path, body))
        ask(ground, "POST", "/v2/orders", {**ORDER, "notional": "5"})
        canceled = ask(ground, "DELETE", "/v2/orders")
    assert compared > 65
    # Recorded bodies have a refusal beside it, which one caller alone cannot bring about.
    assert {(*one, one["status"]) for one in canceled} == {("id", "status", 200)}


def test_broker_bodies_have_the_recorded_keys_and_types(ground: Ground):
    account = ask(ground, "POST", "/v1/accounts", PERSON)
    own = f"/v1/accounts/{account['id']}"
    ground.wait(seconds=3)
    link = ask(ground, "POST", f"{own}/ach_relationships", BANK_LINK)
    ground.wait(seconds=2)
    asked = {"relationship_id": link["id"], "amount": "50.00", "direction": "INCOMING"}
    transfer = ask(ground, "POST", f"{own}/transfers", asked)
    ground.wait(seconds=3)
    firm = ask(ground, "GET", "/v2/account")["id"]
    moved = {"from_account": account["id"], "to_account": firm, "entry_type": "JNLC"}
    journal = ask(ground, "POST", "/v1/journals", {**moved, "amount": "1.50"})
    ground.wait(seconds=2)
    trading = f"/v1/trading/accounts/{account['id']}"
    ask(ground, "POST", f"{trading}/orders", {**ORDER, "notional": "5.00"})
    compared = 0
    for shape, body in (
        ("POST /v1/accounts", account),
        ("GET /v1/accounts", ask(ground, "GET", "/v1/accounts")),
        ("GET /v1/accounts/{id}", ask(ground, "GET", own)),
        ("POST /v1/accounts/{id}/ach_relationships", link),
        (
            "GET /v1/accounts/{id}/ach_relationships",
            ask(ground, "GET", f"{own}/ach_relationships"),
        ),
        ("POST /v1/accounts/{id}/transfers", transfer),
        ("GET /v1/accounts/{id}/transfers", ask(ground, "GET", f"{own}/transfers")),
        ("POST /v1/journals", journal),
        ("GET /v1/journals", ask(ground, "GET", "/v1/journals")),
        ("GET /v1/accounts/{id}/documents", ask(ground, "GET", f"{own}/documents")),
        ("GET /v1/accounts/activities", ask(ground, "GET", "/v1/accounts/activities")),
        ("GET /v1/trading/accounts/{id}/account", ask(ground, "GET", f"{trading}/account")),
        ("GET /v1/trading/accounts/{id}/positions", ask(ground, "GET", f"{trading}/positions")),
        (
            "GET /v1/trading/accounts/{id}/positions/{symbol}",
            ask(ground, "GET", f"{trading}/positions/AAA"),
        ),
        (
            "PATCH /v1/accounts/{id}",
            ask(ground, "PATCH", own, {"contact": {"city": "San Carlos"}}),
        ),
        ("GET /v1/clock", ask(ground, "GET", "/v1/clock")),
        ("GET /v1/calendar", ask(ground, "GET", "/v1/calendar?start=2026-03-02&end=2026-03-04")),
    ):
        compared += check(f"broker {shape}", body)
    everybody = ask(ground, "GET", "/v1/accounts/positions")
    recorded_name = "02c64fbb-35f0-4403-9015-e5eac4b7ef70"
    renamed = {recorded_name: str(account["id"])}
    compared += check("broker GET /v1/accounts/positions", everybody, **renamed)
    assert ask(ground, "GET", own)["contact"]["city"] == "San Carlos"
    assert compared > 230


def test_market_data_has_the_recorded_keys_and_types(ground: Ground):
    base = CorporateAction("a", ActionKind.SPLIT, APPLE, TUESDAY, TUESDAY)
    ground.feed.plan(base)
    compared = 0
    symbol = {"AAPL": "AAA"}
    for shape, path in (
        ("/v2/stocks/bars", "?timeframe=1Day&start=2026-02-26&end=2026-02-27&symbols=AAA"),
        ("/v2/stocks/bars/latest", "?symbols=AAA"),
        ("/v2/stocks/quotes/latest", "?symbols=AAA"),
        ("/v2/stocks/trades/latest", "?symbols=AAA"),
        ("/v2/stocks/snapshots", "?symbols=AAA"),
    ):
        renamed = {"SPY": "AAA"} if shape.endswith("bars/latest") else symbol
        compared += check(f"data GET {shape}", ask(ground, "GET", shape + path), **renamed)
    assert compared > 60


def test_announcements_have_the_recorded_keys_and_types(ground: Ground):
    whole = {"ratio_num": 1, "ratio_den": 1}
    for number, (what, terms) in enumerate(
        (
            (ActionKind.CASH_DIVIDEND, {"cash_micros": 500_000}),
            (ActionKind.SPLIT, {"ratio_num": 2, "ratio_den": 1}),
            (ActionKind.SPLIT, {"ratio_num": 1, "ratio_den": 10}),
            (ActionKind.SPIN_OFF, {**whole, "new_security_id": CHILD, "new_symbol": "NEW"}),
            (ActionKind.SYMBOL_CHANGE, {"new_symbol": "AAB"}),
            (ActionKind.STOCK_MERGER, {**whole, "new_security_id": BANK}),
            (ActionKind.STOCK_MERGER, {**whole, "new_security_id": BANK, "cash_micros": 10**6}),
            (ActionKind.CASH_MERGER, {"cash_micros": 10**6}),
            (ActionKind.DELISTING, {}),
        )
    ):
        action = CorporateAction(f"a{number}", what, APPLE, TUESDAY, TUESDAY)
        ground.feed.plan(replace(action, **terms))
    ground.wait(days=1)

    told = ask(ground, "GET", "/v1/corporate-actions?start=2026-03-03&end=2026-03-03")

    assert len(told["corporate_actions"]) == 9
    assert check("data GET /v1/corporate-actions", told) > 70


def test_what_is_not_simulated_says_so_by_name(ground: Ground):
    for method, path in (
        ("GET", "/v2/watchlists"),
        ("POST", "/v1/rebalancing/portfolios"),
        ("PATCH", "/v2/account/configurations"),
        ("GET", "/v1/events/nta"),
    ):
        with pytest.raises(HTTPError) as caught:
            ask(ground, method, path, {})
        assert caught.value.code == 501
        assert f"{method} {path}" in json.loads(caught.value.read())["message"]


# What Alpaca answered others, read by us


def recorded(*endings: str) -> list[Any]:
    """Return recorded objects of answers whose path ends so."""
    exchanges = json.loads(EXCHANGES.read_text(encoding="utf-8"), parse_float=Decimal)
    found: list[Any] = []
    for exchange in exchanges:
        path = exchange["path"].partition("?")[0]
        if exchange["status"] == 200 and path.endswith(endings):
            body = exchange["response"]
            found += body if isinstance(body, list) else [body]
    return [one for one in found if one]


def test_recorded_transfers_and_journals_are_read_with_equal_ids_and_amounts():
    transfers = [one for one in recorded("/transfers") if "direction" in one]
    journals = [one for one in recorded("/journals") if one.get("entry_type") == "JNLC"]

    for body in transfers:
        told = _transfer(body, body["account_id"], {})
        asked = body.get("requested_amount") or body["amount"]
        assert told.broker_id == body["id"]
        assert Fraction(told.cents, 100) == Fraction(asked)
        assert told.state is not CashState.UNKNOWN
    for body in journals:
        journal = _journal(body)
        assert (journal.broker_id, journal.word) == (body["id"], body["status"])
        assert Fraction(journal.cents, 100) == abs(Fraction(body["net_amount"]))
    assert min(len(transfers), len(journals)) > 2


def test_recorded_accounts_links_and_documents_are_read_with_equal_ids():
    accounts = [one for one in recorded("/accounts") if "contact" in one]
    links = [one for one in recorded("/ach_relationships") if "bank_account_type" in one]
    documents = [one for one in recorded("/documents") if "date" in one]

    for body in accounts:
        account = _account(body, "")
        assert (account.broker_account, account.word) == (body["id"], body["status"])
    for body in links:
        assert _relationship(body, "a").id == body["id"]
    for body in documents:
        document = _document(body)
        assert (document.id, document.on.isoformat()) == (body["id"], body["date"][:10])
    assert min(len(accounts), len(links), len(documents)) > 0
