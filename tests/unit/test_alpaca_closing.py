"""Positions closed and orders replaced by the stock client, over real sockets; the command too."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from alpaca.common.exceptions import APIError
from alpaca_ground import Ground, ground_at

from broker_adapters.alpaca_http import TradingClient
from robo.config import environment
from robo.core.market_calendar import MarketCalendar

BEFORE_OPEN = datetime(2026, 3, 2, 13, 0, tzinfo=UTC)


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar, ROBO_PAPER_HOURS="session") as made:
        yield made


@pytest.fixture
def client(ground: Ground) -> Iterator[TradingClient]:
    made = TradingClient("a", "b", url_override=ground.server.url)
    made._session.trust_env = False
    yield made
    made._session.close()


def asked(name: str, **fields: Any) -> Any:
    from alpaca.trading import requests

    return getattr(requests, name)(**fields)


def order(client: TradingClient, symbol: str, shares: float, side: str = "buy") -> Any:
    fields = {"symbol": symbol, "qty": shares, "side": side, "time_in_force": "day"}
    return client.submit_order(asked("MarketOrderRequest", **fields))


def held(client: TradingClient) -> dict[str, str]:
    return {one.symbol: one.qty for one in client.get_all_positions()}


def test_a_position_is_closed_by_shares_by_per_cent_and_whole(client: TradingClient):
    order(client, "AAA", 8)

    client.close_position("AAA", asked("ClosePositionRequest", qty="2.5"))
    after_shares = held(client)
    client.close_position("AAA", asked("ClosePositionRequest", percentage="50"))
    after_half = held(client)
    client.close_position("AAA")

    assert [after_shares, after_half, held(client)] == [{"AAA": "5.5"}, {"AAA": "2.75"}, {}]


def test_more_than_is_held_is_not_closed(client: TradingClient):
    order(client, "AAA", 1)

    with pytest.raises(APIError) as caught:
        client.close_position("AAA", asked("ClosePositionRequest", qty="1.5"))

    assert caught.value.code == 40310000
    assert held(client) == {"AAA": "1"}


def test_all_positions_are_closed_with_a_status_each_and_open_orders_first(
    ground: Ground, client: TradingClient
):
    order(client, "AAA", 1)
    order(client, "BBB", 2)
    ground.wait(hours=8)
    order(client, "AAA", 1, "sell")

    told = client.close_all_positions(cancel_orders=True)

    assert sorted((one.symbol, one.status, one.body.side.value) for one in told) == [
        ("AAA", 200, "sell"),
        ("BBB", 200, "sell"),
    ]
    ground.wait(hours=16)
    assert held(client) == {}


def test_an_order_in_shares_is_replaced_by_one_of_another_size_and_both_say_so(
    ground: Ground, client: TradingClient
):
    ground.clock.set(BEFORE_OPEN)
    old = order(client, "AAA", 2)

    new = client.replace_order_by_id(
        old.id, asked("ReplaceOrderRequest", qty=3, client_order_id="second")
    )

    before = client.get_order_by_id(old.id)
    assert (before.status.value, before.replaced_by) == ("replaced", new.id)
    assert (new.client_order_id, new.replaces) == ("second", old.id)
    ground.wait(hours=2)
    assert held(client) == {"AAA": "3"}
    with pytest.raises(APIError, match="not replaceable: it is filled"):
        client.replace_order_by_id(new.id, asked("ReplaceOrderRequest", qty=4))


def test_a_replacement_that_could_not_be_taken_leaves_the_order_as_it_was(
    ground: Ground, client: TradingClient
):
    order(client, "AAA", 2)
    ground.wait(hours=16)
    old = order(client, "AAA", 1, "sell")

    for wanted in (
        asked("ReplaceOrderRequest", qty=3),
        asked("ReplaceOrderRequest", limit_price=5),
        asked("ReplaceOrderRequest", qty=1, client_order_id=str(old.client_order_id)),
    ):
        with pytest.raises(APIError):
            client.replace_order_by_id(old.id, wanted)

    assert client.get_order_by_id(old.id).status.value == "new"


def test_orders_and_assets_are_chosen_as_the_stock_client_asks(client: TradingClient):
    order(client, "AAA", 1)
    order(client, "BBB", 1)
    order(client, "AAA", 1, "sell")

    def found(**wanted: Any) -> list[str]:
        ended = client.get_orders(asked("GetOrdersRequest", status="closed", **wanted))
        return [f"{one.side.value} {one.symbol}" for one in ended]

    assert found(symbols=["BBB"]) == ["buy BBB"]
    assert found(side="sell") == ["sell AAA"]
    assert client.get_all_assets(asked("GetAssetsRequest", asset_class="crypto")) == []
    assert len(client.get_all_assets(asked("GetAssetsRequest", status="active"))) == 3


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path):
    command = [sys.executable, "-m", "robo", "paper-server", "--port", "0"]
    settings = {**environment(), "ROBO_STATE_DIR": str(tmp_path), "ROBO_UNIVERSE": "minimal"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=settings, text=True) as served:
        assert served.stdout is not None
        url = served.stdout.readline().split(" on ")[1].split(";")[0]
        with urlopen(Request(f"{url}/v2/clock")) as answer:
            clock = json.loads(answer.read())
        served.send_signal(signal.SIGTERM)
        ended = served.wait(20)

    assert {"timestamp", "is_open", "next_open", "next_close"} == clock.keys()
    assert ended == 0
