"""A deposit and the reply to it are written together; what the bank says at once may replace it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from callers import Caller, customer
from flask import Flask
from funds import ScriptedBank, investor, link_of
from sqlalchemy import event
from world import World, make_world

from robo.app import create_app
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import BankTransfer


class FaintingBank(ScriptedBank):
    """A bank whose adapter breaks in a way that nobody has thought of."""

    def request(self, transfer: BankTransfer) -> None:
        del transfer
        message = "the line went dead"
        raise RuntimeError(message)


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("replies") / "state", short_calendar) as made:
        yield made


@contextmanager
def counted_writes(world: World) -> Iterator[list[str]]:
    """Keep the begin of every writing transaction."""
    begun: list[str] = []

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == "BEGIN IMMEDIATE":
            begun.append(statement)

    event.listen(world.db.engine, "before_cursor_execute", look)
    try:
        yield begun
    finally:
        event.remove(world.db.engine, "before_cursor_execute", look)


def app_with(world: World, bank: ScriptedBank) -> Flask:
    return create_app(replace(world.runtime, bank=bank))


def ask(world: World, me: Caller, account: AccountId) -> Any:
    body = {"bank_link_id": link_of(world, account), "amount": "25.00"}
    return me.post(f"/v1/accounts/{account}/deposits", body, key="the-very-same-key")


def test_a_deposit_and_its_reply_are_one_transaction(world: World) -> None:
    account = investor(world)
    me = customer(world, app_with(world, ScriptedBank()), account)

    with counted_writes(world) as begun:
        first = ask(world, me, account)
    second = ask(world, me, account)

    assert first.status_code == 201
    assert len(begun) == 1
    assert (second.data, second.headers["Idempotent-Replayed"]) == (first.data, "true")


def test_a_deposit_that_the_bank_refuses_is_always_answered_as_refused(world: World) -> None:
    account, bank = investor(world), ScriptedBank()
    bank.refuses = True
    me = customer(world, app_with(world, bank), account)

    first = ask(world, me, account)
    second = ask(world, me, account)

    assert first.json["state"] == "failed"
    assert second.data == first.data


def test_a_bank_that_is_away_is_told_later_and_the_reply_stays(world: World) -> None:
    account, bank = investor(world), ScriptedBank()
    bank.away = True
    me = customer(world, app_with(world, bank), account)

    first = ask(world, me, account)
    bank.away = False
    second = ask(world, me, account)

    assert (first.status_code, first.json["state"]) == (201, "requested")
    assert second.data == first.data
    assert not bank.asked


def test_a_crash_after_the_deposit_was_written_is_answered_by_the_deposit(world: World) -> None:
    account = investor(world)
    me = customer(world, app_with(world, FaintingBank()), account)

    first = ask(world, me, account)
    second = ask(world, me, account)
    deposits = me.get(f"/v1/accounts/{account}/deposits").json["items"]

    assert first.status_code == 500
    assert (second.status_code, second.json["state"]) == (201, "requested")
    assert [deposit["id"] for deposit in deposits] == [second.json["id"]]


def test_a_refused_deposit_stores_its_refusal_and_nothing_else(world: World) -> None:
    account = investor(world)
    me = customer(world, app_with(world, ScriptedBank()), account)
    body = {"bank_link_id": "lnk_000000000000000000000000000000", "amount": "25.00"}

    first = me.post(f"/v1/accounts/{account}/deposits", body, key="key-of-a-refusal")
    second = me.post(f"/v1/accounts/{account}/deposits", body, key="key-of-a-refusal")

    assert first.status_code == second.status_code == 404
    assert second.data == first.data
    assert not me.get(f"/v1/accounts/{account}/deposits").json["items"]
