"""What is remembered of an account's lots and goes on with its trades is what they say whole."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, desk_from, write_template

from robo.core.clock import business_date
from robo.services.washing import histories

PRICES = ((10, 20), (8, 30), (9, 7), (6, 25), (12, 5))
"""Dollars a share at which each round buys one name, then sells what it holds of it."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    template = write_template(tmp_path / "template.db", "firm_a")
    with desk_from(template, tmp_path) as made:
        yield made


def holder_of_ten_shares(desk: Desk) -> str:
    account = desk.open("firm_a", 1)[0]
    desk.fund({account: 1_000_00})
    desk.broker.fill_at(desk.buy({account: 100_00}), 10_000_000)
    desk.collect()
    return account


def told(desk: Desk, account: str, few: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(histories, "_FEW", few)
    customer = str(desk.column(f"SELECT customer_id FROM account WHERE id = '{account}'")[0])
    with desk.db.read() as session:
        one = histories.read(session, [customer], business_date(desk.clock.now()))
    return [one.losses, one.fresh, one.folded]


def test_what_goes_on_with_trades_is_what_is_read_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = desk.open("firm_a", 1)[0]
    desk.fund({account: 1_000_00})
    whole: list[int] = []
    read_whole = histories._whole

    def counted(*given: Any) -> object:
        whole.append(1)
        return read_whole(*given)

    monkeypatch.setattr(histories, "_whole", counted)

    losses = []
    for bought_at, sold_at in PRICES:
        desk.broker.fill_at(desk.buy({account: 50_00}), bought_at * 1_000_000)
        desk.collect()
        assert told(desk, account, 16, monkeypatch) == told(desk, account, 0, monkeypatch)
        desk.broker.fill_at(desk.sell({account: 3_000_000_000}), sold_at * 1_000_000)
        desk.collect()
        remembered = told(desk, account, 16, monkeypatch)
        assert remembered == told(desk, account, 0, monkeypatch)
        losses.append(len(remembered[0]))

    assert losses[-1] > losses[0]
    assert len(whole) == 1, "read once, then it went on"


def test_a_slow_request_with_an_older_snapshot_takes_no_trade_into_account_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = holder_of_ten_shares(desk)
    told(desk, account, 16, monkeypatch)
    customer = str(desk.column("SELECT customer_id FROM account")[0])
    today = business_date(desk.clock.now())
    with desk.db.read() as old:
        assert histories.read(old, [customer], today).losses == []
        desk.broker.fill_at(desk.sell({account: 5_000_000_000}), 8_000_000)
        desk.collect()
        with desk.db.read() as new:
            sold = histories.read(new, [customer], today).losses
        of_before = histories.read(old, [customer], today).losses

    assert (len(sold), of_before) == (1, [])
    assert told(desk, account, 16, monkeypatch) == told(desk, account, 0, monkeypatch)


def test_a_purchase_soon_after_a_remembered_loss_is_folded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = holder_of_ten_shares(desk)
    desk.clock.advance(timedelta(days=42))
    desk.broker.at = desk.clock.now()
    desk.broker.fill_at(desk.sell({account: 10_000_000_000}), 8_000_000)
    desk.collect()
    before = told(desk, account, 16, monkeypatch)
    desk.clock.advance(timedelta(days=7))
    desk.broker.at = desk.clock.now()
    desk.broker.fill_at(desk.buy({account: 50_00}), 9_000_000)
    desk.collect()
    after = told(desk, account, 16, monkeypatch)

    assert len(before[0]) == 1
    assert not any(before[2].values())
    assert any(after[2].values())
    assert after == told(desk, account, 0, monkeypatch)
