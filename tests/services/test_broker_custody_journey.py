"""From sign-up to closing through the broker's own accounts and transfers, over sockets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from custody_stage import (
    ACCOUNTS,
    TRANSFERS,
    Stage,
    deposited,
    linked,
    opened,
    staged,
    state_of,
)

from broker_adapters.alpaca_server.faults import Fault, FaultKind
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.ports.brokerage import Application
from robo.store import controls


class Died(BaseException):
    """Our process ended here: nothing after it was written."""


@pytest.fixture
def stage(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Stage]:
    with staged(tmp_path, short_calendar, ROBO_PAPER_PARTIAL_PPM="500000") as made:
        yield made


def test_from_sign_up_to_a_closed_account_through_the_broker(stage: Stage) -> None:
    stage.server.faults.plan(
        Fault(FaultKind.DROP_AFTER, path=ACCOUNTS),
        Fault(FaultKind.DROP_AFTER, path=TRANSFERS),
        Fault(FaultKind.FAIL_AFTER, path=TRANSFERS, status=504, nth=2),
        Fault(FaultKind.EVENT_TWICE, "GET", r"/v./events/.*", nth=1, times=2),
        Fault(FaultKind.EVENT_SWAP, "GET", r"/v./events/.*", nth=3, times=2),
        Fault(FaultKind.EVENT_SILENT, "GET", r"/v./events/.*", nth=5, times=2, seconds=0.5),
        Fault(FaultKind.EVENT_DROPPED, "GET", r"/v./events/.*", nth=7, times=2),
    )
    me, account = opened(stage)
    assert me.get(f"/v1/accounts/{account}/custody").get_json()["state"] == "waiting"
    assert linked(me, 409) == "custody_not_active"

    stage.jobs(4, hear=True)
    stood = me.get(f"/v1/accounts/{account}/custody").get_json()
    link = linked(me)
    deposit = deposited(me, account, link)
    stage.jobs(4, hear=True)

    assert (stood["state"], stood["usable"], stood["asks"]) == ("active", True, [])
    assert state_of(me, account, "deposits", deposit) == "available"
    assert len(stage.at_broker("/accounts")) == 1
    assert [one["amount"] for one in stage.transfers(account)] == ["500.00"]

    stage.trade()
    held = stage.world.balances(AccountId(account)).holdings_nanos
    assert len(held) == 10
    stage.next_session(6)
    stage.jobs(2)
    me.log_in()
    assert state_of(me, account, "deposits", deposit) == "settled"
    assert stage.breaks() == []

    body = {"bank_link_id": link}
    closing = me.send("POST", f"/v1/accounts/{account}/closure", body)
    assert closing.status_code == 201, closing.get_json()
    for _ in range(2):
        stage.trade()
        stage.next_session()
        stage.jobs(3)

    me.log_in()
    assert state_of(me, account, "withdrawals", closing.get_json()["id"]) == "paid"
    assert len(stage.transfers(account)) == 2
    assert stage.custody(account).state == "closed"
    assert stage.at_broker("/accounts")[0]["status"] == "ACCOUNT_CLOSED"
    assert stage.world.findings() == []
    assert stage.breaks() == []


def test_a_process_that_dies_after_telling_opens_no_second_account(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, account = opened(stage)
    broker = stage.world.runtime.broker
    really = broker._custody.open_account

    def die(application: Any) -> None:
        really(application)
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(broker._custody, "open_account", die)
        with pytest.raises(Died):
            stage.jobs()
    stood = stage.custody(account)
    stage.wait(seconds=20)
    stage.jobs(2)

    assert (stood.state, stood.broker_account) == ("telling", None)
    assert stage.custody(account).state == "active"
    assert len(stage.at_broker("/accounts")) == 1


def test_an_application_that_never_arrived_is_made_again_only_when_that_is_sure(
    stage: Stage,
) -> None:
    stage.server.faults.plan(Fault(FaultKind.DROP, path=ACCOUNTS))
    _, account = opened(stage)
    told = []

    for _ in range(16):
        stage.jobs(seconds=5)
        told.append(stage.custody(account).state)

    # Three times "there is none", over a minute: nobody applies a second time before.
    assert told[:12] == ["telling"] * 12
    assert told[-1] == "submitted"
    assert len(stage.at_broker("/accounts")) == 1


def test_an_application_that_cannot_be_looked_for_keeps_nobody_else_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.server.faults.plan(Fault(FaultKind.DROP, path=ACCOUNTS))
    me, first = opened(stage)
    stage.jobs(1, seconds=1)
    broker = stage.world.runtime.broker
    really = broker._custody.find_account

    def unreadable(application: Application) -> Any:
        if application.email == me.email:
            message = "the rows of this address cannot be read"
            raise BrokerUnavailableError(message)
        return really(application)

    monkeypatch.setattr(broker._custody, "find_account", unreadable)
    _, second = opened(stage)
    stage.wait(minutes=5)
    stage.jobs(3)

    assert stage.custody(first).state == "telling"
    assert stage.custody(second).state == "active"


def test_what_the_broker_says_of_a_person_is_shown_and_decides_what_may_be_done(
    stage: Stage,
) -> None:
    asked, waiting = opened(stage, name={"given": "FixtureActionRequired", "family": "Okafor"})
    refused, gone = opened(stage, name={"given": "FixtureRejected", "family": "Okafor"})

    def stood(me: Any, account: str) -> Any:
        return me.get(f"/v1/accounts/{account}/custody").get_json()

    stage.jobs(2)
    needed, rejected = stood(asked, waiting), stood(refused, gone)
    place = stage.custody(waiting).broker_account
    stage.local(f"accounts/{place}/status", {"status": "ACTIVE"})
    stage.wait(seconds=60)
    stage.jobs()
    link = linked(asked)
    stage.local(f"accounts/{place}/status", {"status": "LIMITED"})
    stage.jobs(hear=True)
    body = {"bank_link_id": link, "amount": "10.00"}
    turned_down = asked.send("POST", f"/v1/accounts/{waiting}/deposits", body)
    with stage.world.db.read() as session:
        tradable = controls.broker_accounts(session, [waiting, gone])

    assert (needed["state"], needed["usable"]) == ("action_required", False)
    assert needed["asks"] == [
        {"code": "IDENTITY_VERIFICATION", "text": "a document that proves who you are"}
    ]
    assert rejected["state"] == "rejected"
    assert stage.custody(waiting).state == "restricted"
    assert turned_down.get_json()["code"] == "custody_not_active"
    assert tradable == {}


def test_one_person_has_one_account_there_and_nobody_shares_it(stage: Stage) -> None:
    me, account = opened(stage)
    stage.jobs(3)
    again = me.open("theme-water")

    assert again.get_json()["code"] == "broker_account_limit"
    assert me.open("theme-water", "roth_ira").get_json()["code"] == "kind_not_offered"
    assert stage.custody(account).state == "active"
    assert len(stage.at_broker("/accounts")) == 1


def test_what_goes_to_the_broker_of_a_person_stays_nowhere_else(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.server.faults.plan(
        Fault(FaultKind.FAIL_AFTER, path=ACCOUNTS, status=422, body='{"message": "Okafor"}')
    )
    me, _ = opened(stage)
    stage.jobs(2)
    secrets = ("Okafor", me.email, "536-22-8726", "536228726", "742 Alder", "2001-03-14")

    with stage.world.db.read() as session:
        connection = session.connection()
        kept = "".join(
            repr(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
            for table in ("custody", "event", "job_failure")
        )

    assert not [one for one in secrets if one in kept + caplog.text]
