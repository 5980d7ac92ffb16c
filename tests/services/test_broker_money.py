"""Money in and out through the broker: asked for once, found again, or put before a person."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from custody_stage import TRANSFERS, Stage, deposited, settled_in, staged, state_of

from broker_adapters.alpaca_pace import Lane
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from robo.core.clock import business_date
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import Activity, ActivityPage, CashKind
from robo.ports.brokerage import CashResult, JournalRequest, Outcome
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import adjusting, funding
from robo.store import cursors, lots, prices, remittances
from robo.store.remittances import Remittance

NO = {"code": 42210000, "message": "the bank does not know this account"}
LOST = Fault(FaultKind.DROP, path=TRANSFERS)
UNHEARD = Fault(FaultKind.DROP_AFTER, path=TRANSFERS)


class Died(BaseException):
    """Our process ended here: nothing after it was written."""


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Stage]:
    """One house for all: each test brings people of its own."""
    folder = tmp_path_factory.mktemp("money")
    with staged(folder, short_calendar, ROBO_PAPER_PARTIAL_PPM="0") as made:
        yield made


@pytest.fixture
def stage(house: Stage) -> Stage:
    house.server.faults.clear()
    return house


def cash(stage: Stage, account: str) -> int:
    return stage.world.balances(AccountId(account)).cash_cents


def test_a_process_that_dies_after_asking_asks_for_no_second_transfer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, account, link = settled_in(stage)
    deposit = deposited(me, account, link)
    desk = stage.world.runtime.broker._transfers
    really = desk.transfer

    def die(request: Any) -> None:
        really(request)
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(desk, "transfer", die)
        with pytest.raises(Died):
            stage.jobs()
    stood = stage.money(deposit).state
    # The adapter's own notes are lost too: what we wrote before asking is enough.
    with desk._file.write() as db:
        db.execute("DELETE FROM transfers WHERE id = ?", (deposit,))
    stage.jobs(2)

    assert stood == "telling"
    assert len(stage.transfers(account)) == 1
    assert state_of(me, account, "deposits", deposit) == "available"
    assert cash(stage, account) == 500_00


def test_what_nobody_can_tell_apart_is_a_persons_to_decide(stage: Stage) -> None:
    me, account, link = settled_in(stage)
    desk = stage.operator()
    stage.server.faults.plan(LOST, Fault(FaultKind.DROP_AFTER, path=TRANSFERS, nth=2))
    first = deposited(me, account, link, "500.00")
    stage.jobs()
    second = deposited(me, account, link, "500.00")
    stage.jobs(2)

    waiting = {one["id"]: one for one in desk.must("GET", "operations/queue")["transfers"]}
    only = stage.transfers(account)[0]["id"]
    claim = {"decision": "claim", "broker_transfer_id": only, "note": "the bank's own line"}
    where = "operations/transfers/{}/decision"
    strange = {**claim, "broker_transfer_id": "trf_of_nobody"}
    desk.must("POST", where.format(second), strange, 422)
    desk.must("POST", where.format(second), claim)
    desk.must("POST", where.format(first), claim, 422)
    again = {"decision": "release", "note": "it never left"}
    desk.must("POST", where.format(first), again)
    desk.must("POST", where.format(first), again, 409)
    stage.jobs(2)

    assert set(waiting) == {first, second}
    assert {one["code"] for one in waiting.values()} == {"several"}
    assert waiting[first]["candidates"][0]["broker_transfer_id"] == only
    assert len(stage.transfers(account)) == 2
    assert cash(stage, account) == 1000_00
    assert desk.must("GET", "operations/queue")["transfers"] == []
    trail = desk.must("GET", "audit?limit=100")["items"]
    assert [one["action"] for one in trail if one["subject"] in {first, second}] == [
        "transfer.claim",
        "transfer.release",
    ]
    assert stage.breaks() == []


def test_a_transfer_that_stays_lost_is_asked_for_again_by_nobody(stage: Stage) -> None:
    me, account, link = settled_in(stage)
    desk = stage.operator()
    stage.server.faults.plan(LOST)
    deposit = deposited(me, account, link)

    stage.jobs(3)
    early = stage.money(deposit).state
    stage.wait(minutes=60)
    stage.jobs()
    late = stage.money(deposit)
    body = {"decision": "abandon", "note": "the customer asked for another one"}
    desk.must("POST", f"operations/transfers/{deposit}/decision", body)
    stage.jobs()
    me.log_in()

    assert (early, late.state, late.code) == ("telling", "ambiguous", "not_found")
    assert stage.transfers(account) == []
    told = me.get(f"/v1/accounts/{account}/deposits/{deposit}").get_json()
    assert (told["state"], told["return_code"]) == ("returned", "abandoned")
    stage.server.faults.clear()
    stage.server.faults.plan(UNHEARD)
    alike = deposited(me, account, link)
    stage.jobs(3)
    file = stage.world.runtime.broker._transfers
    assert file._open() == [], "what was given up is no twin of later ones"
    assert state_of(me, account, "deposits", alike) == "available"
    assert [one["id"] for one in stage.transfers(account)] == [stage.money(alike).broker_id]
    assert stage.world.findings() == []


def test_a_transfer_that_turns_up_late_is_not_asked_for_again_whatever_a_person_saw(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, account, link = settled_in(stage)
    desk = stage.operator()
    stage.server.faults.plan(Fault(FaultKind.DROP_AFTER, path=TRANSFERS))
    with monkeypatch.context() as lagging:
        lagging.setattr(type(stage.world.runtime.broker), "transfers", lambda *_: [])
        lagging.setattr(type(stage.world.runtime.broker._transfers), "transfers", lambda *_: [])
        deposit = deposited(me, account, link)
        stage.jobs(3)
        stage.wait(minutes=60)
        stage.jobs()
    seen = stage.money(deposit)
    body = {"decision": "release", "note": "it is not in the list"}

    desk.must("POST", f"operations/transfers/{deposit}/decision", body, 409)
    abandon = {"decision": "abandon", "note": "it is not in the list"}
    desk.must("POST", f"operations/transfers/{deposit}/decision", abandon, 409)
    stage.jobs(2)

    assert (seen.state, seen.code) == ("ambiguous", "not_found")
    assert len(stage.transfers(account)) == 1


@pytest.mark.parametrize("throttled", [False, True])
def test_a_transfer_that_arrives_after_it_was_released_is_not_asked_for_once_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, throttled: bool
) -> None:
    me, account, link = settled_in(stage)
    desk = stage.operator()
    stage.server.faults.plan(LOST)
    deposit = deposited(me, account, link)
    stage.jobs()
    stage.wait(minutes=61)
    stage.jobs()
    row = stage.money(deposit)
    late = {
        "transfer_type": "ach",
        "relationship_id": row.relationship_id,
        "amount": "500.00",
        "direction": "INCOMING",
    }
    broker = stage.world.runtime.broker
    broker._http.post(f"/accounts/{row.broker_account}/transfers", late, Lane.ORDERS)
    # The list that the decision looks at lags, and so does that of an asking that is not heard.
    stage.server.faults.plan(Fault(FaultKind.MISSING, "GET", TRANSFERS, times=1 + throttled))
    body = {"decision": "release", "note": "it never left"}
    desk.must("POST", f"operations/transfers/{deposit}/decision", body)
    if throttled:
        with monkeypatch.context() as full:
            full.setattr(type(broker), "transfer", lambda *_: CashResult(Outcome.THROTTLED))
            stage.jobs(1, seconds=6)
    stage.jobs(2, seconds=605)
    me.log_in()

    assert (row.state, row.code) == ("ambiguous", "not_found")
    assert len(stage.transfers(account)) == 1
    assert state_of(me, account, "deposits", deposit) == "available"


def test_what_comes_back_is_taken_back_and_what_is_refused_moves_nothing(stage: Stage) -> None:
    me, account, link = settled_in(stage)
    deposit = deposited(me, account, link)
    stage.jobs(3)
    before = cash(stage, account)
    broker_id = stage.transfers(account)[0]["id"]
    stage.local(f"transfers/{broker_id}/status", {"status": "RETURNED"})
    stage.jobs(hear=True)
    stage.server.faults.plan(
        Fault(FaultKind.REFUSE, path=TRANSFERS, status=422, body=json.dumps(NO))
    )
    refused = deposited(me, account, link, "20.00")
    stage.jobs(2)

    assert (before, cash(stage, account)) == (500_00, 0)
    assert state_of(me, account, "deposits", deposit) == "returned"
    assert state_of(me, account, "deposits", refused) == "returned"
    assert stage.money(refused).state == "refused"
    assert stage.breaks() == []
    assert stage.world.findings() == []


def test_money_that_somebody_moved_by_hand_at_the_broker_is_a_break_of_that_account(
    stage: Stage,
) -> None:
    me, account, link = settled_in(stage)
    deposited(me, account, link)
    stage.jobs(3)
    desk, place = stage.operator(), stage.custody(account).broker_account
    present = JournalRequest("jnl_1", stage.server._brokerage.firm_id, str(place), 7_00)
    stage.world.runtime.broker.journal(present)
    stage.wait(seconds=3)

    report = desk.must("POST", "operations/reconciliations")
    found = report["breaks"]
    note = {"note": "a present of the broker's"}
    cleared = desk.must("POST", f"operations/breaks/{found[0]['id']}/clearance", note)

    assert [(one["unit"], one["ours"], one["theirs"]) for one in found] == [
        ("dollars", "500.00", "507.00")
    ]
    assert (found[0]["category"], found[0]["blocks"], found[0]["account_id"]) == (
        "real",
        True,
        account,
    )
    assert cleared["state"] == "cleared"
    assert desk.must("POST", "operations/reconciliations")["breaks"] == []


def test_a_removed_bank_link_ends_at_the_broker_and_another_bank_can_be_linked(
    stage: Stage,
) -> None:
    me, account, link = settled_in(stage)
    place = stage.custody(account).broker_account
    body = {"routing_number": "021000021", "account_number": "777000111"}
    too_many = me.send("POST", f"/v1/customers/{me.id}/bank-links", body)
    assert me.send("DELETE", f"/v1/customers/{me.id}/bank-links/{link}").status_code == 200

    stage.jobs()
    other = me.send("POST", f"/v1/customers/{me.id}/bank-links", body)

    assert too_many.get_json()["code"] == "bank_link_refused"
    assert other.status_code == 201
    states = [one["status"] for one in stage.at_broker(f"/accounts/{place}/ach_relationships")]
    assert sorted(states) == ["CANCELED", "QUEUED"]


def test_a_firms_operator_stops_its_orders_looks_at_what_would_go_and_lets_them_go(
    stage: Stage,
) -> None:
    me, account, link = settled_in(stage)
    deposited(me, account, link)
    stage.jobs(3)
    desk = stage.operator()
    stop = {"stopped": True, "reason": "a drill"}
    assert desk.must("PUT", "operations/kill-switch", {**stop, "reason": " "}, 422)
    stopped = desk.must("PUT", "operations/kill-switch", stop)
    stage.plan()
    held = desk.must("GET", "operations/dry-run")
    stage.send()
    sent_while_stopped = stage.world.scalar("SELECT count(*) FROM block")
    go = desk.must("PUT", "operations/kill-switch", {"stopped": False, "reason": "over"})
    free = desk.must("GET", "operations/dry-run")

    assert (stopped["stopped"], go["stopped"]) == (True, False)
    assert held["sends"] == []
    assert {one["code"] for one in held["waits"]} == {"wait_kill_switch"}
    assert sent_while_stopped == 0
    # An order each, because every customer has an account of his own.
    assert len(free["sends"]) == sum(one["orders"] for one in held["waits"]) >= 10
    assert free["waits"] == []
    actions = [one["action"] for one in desk.must("GET", "audit?limit=100")["items"]]
    assert [one for one in actions if one.startswith("kill")] == [
        "kill_switch.on",
        "kill_switch.off",
    ]


def test_a_transfer_is_written_once_and_told_once(stage: Stage) -> None:
    me, account, link = settled_in(stage)
    deposit = deposited(me, account, link, "30.00")
    r = stage.world.runtime

    stage.jobs(4)
    rail = funding.rail(r.db, r.keyring, r.broker, r.bank, r.clock)
    every = rail.events("17")  # a cursor of another bank, that was used before
    told = [one for one in every if one.transfer_id == deposit]
    with r.db.read() as session:
        row = remittances.get(session, deposit)
        sums = remittances.sums(session, str(stage.custody(account).broker_account))

    assert isinstance(row, Remittance)
    assert [(one.transfer_id, one.kind.value) for one in told] == [
        (deposit, "pending"),
        (deposit, "available"),
    ]
    assert [one.id for one in rail.events(told[0].cursor)] == [told[1].id]
    assert every[0].cursor == "broker/1"
    assert sums == (30_00, 0)
    assert stage.world.balances(AccountId(account)).cash_cents == 30_00


def test_what_happens_in_a_customers_own_account_is_booked_to_him_and_his_firm(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, ann, _), (_, bob, _) = settled_in(stage), settled_in(stage)
    r, now = stage.world.runtime, stage.world.clock.now()
    today = business_date(now)
    held = [("div_1", AccountId(one), 1, 10**9) for one in (ann, bob)]
    paid = CorporateAction(
        "div_1", ActionKind.CASH_DIVIDEND, SecurityId(1), today, today, 1_000_000
    )
    detail = json.dumps(asdict(paid), default=str)
    with r.db.write() as session:
        prices.publish(session, [("div_1", "cash_dividend", 1, str(today), str(today), detail)])
        lots.entitle(session, held)
    at_ann, at_bob = (str(stage.custody(one).broker_account) for one in (ann, bob))
    told = [
        Activity(
            "a1", "div_1", paid.kind, SecurityId(1), today, 1_00, 10**9, 0, broker_account=at_ann
        ),
        Activity("a2", "", CashKind.FEE, SecurityId(0), today, -7, 0, 0, broker_account=at_bob),
    ]
    pages = [ActivityPage(told, "2"), ActivityPage([], "2")]
    monkeypatch.setattr(type(r.broker), "activities", lambda *_: pages.pop(0))

    adjusting.apply_day(r.db, r.keyring, r.broker, r.prices, r.clock, r.policy, today)

    assert (cash(stage, ann), cash(stage, bob)) == (1_00, 0)
    firms = "SELECT amount FROM balance WHERE book = 'firm/firm_house/rounding'"
    assert stage.world.scalar(firms) == -7
    assert stage.world.findings() == []


def test_an_account_that_cannot_be_listed_or_asked_for_holds_up_nobody_else(stage: Stage) -> None:
    me, gone, link = settled_in(stage)
    stage.server.faults.plan(
        *(
            Fault(FaultKind.REFUSE, "GET", path, times=10**6, status=404, body=json.dumps(NO))
            for path in (
                f"/v1/accounts/{stage.custody(gone).broker_account}/transfers",
                f"/v1/trading/accounts/{stage.custody(gone).broker_account}/.*",
            )
        ),
        Fault(
            FaultKind.REFUSE,
            "GET",
            f"/v1/accounts/{stage.custody(gone).broker_account}",
            times=10**6,
            status=403,
            body=json.dumps(NO),
        ),
    )
    waiting = deposited(me, gone, link)
    stage.wait(hours=25)  # the account itself is due too, and is asked for first
    you, other, second = settled_in(stage)
    deposit = deposited(you, other, second)
    stage.jobs(3)
    left_out = stage.world.scalar(
        f"SELECT count(*) FROM job_failure WHERE subject = '{gone}' AND job = 'move-money'"
    )

    assert stage.custody(other).state == "active"
    assert state_of(you, other, "deposits", deposit) == "available"
    assert stage.money(waiting).state == "intended"
    assert stage.money(waiting).look_at > stage.world.clock.now().timestamp() * 10**6
    assert left_out > 0


def test_a_line_that_nobody_can_read_keeps_no_other_transfer_from_being_made_or_found(
    stage: Stage,
) -> None:
    me, account, link = settled_in(stage)
    place = str(stage.custody(account).broker_account)
    wire = {"id": "wire", "account_id": place, "status": "COMPLETE", "direction": "SIDEWAYS"}
    stage.server._shelf.put("transfer", [("wire", place, wire)])

    lost = deposited(me, account, link, "42.00")
    stage.server.faults.plan(UNHEARD)
    stage.jobs(3)

    assert state_of(me, account, "deposits", lost) == "available"
    assert len(stage.transfers(account)) == 2


def test_a_new_line_that_nobody_can_read_may_be_the_lost_one_and_a_person_says_so(
    stage: Stage,
) -> None:
    me, account, link = settled_in(stage)
    place = str(stage.custody(account).broker_account)
    stage.server.faults.plan(LOST)
    deposit = deposited(me, account, link, "42.00")
    stage.jobs()
    wire = {"id": "odd", "account_id": place, "status": "COMPLETE", "direction": None}
    stage.server._shelf.put("transfer", [("odd", place, wire)])
    stage.jobs()
    doubtful = stage.money(deposit)
    claim = {"decision": "claim", "broker_transfer_id": "odd", "note": "the bank says so"}
    stage.operator().must("POST", f"operations/transfers/{deposit}/decision", claim)
    stage.jobs()

    assert (doubtful.state, json.loads(doubtful.candidates)[0]["broker_id"]) == ("ambiguous", "odd")
    assert state_of(me, account, "deposits", deposit) == "available"


def test_a_cursor_that_the_broker_no_longer_takes_begins_anew(stage: Stage) -> None:
    r = stage.world.runtime
    settled_in(stage)
    for stream in ("accounts", "transfers"):
        with r.db.write() as session:
            cursors.move_cursor(session, f"custody/{stream}", "evt-1")

    stage.jobs(hear=True)

    with r.db.read() as session:
        kept = [cursors.cursor(session, f"custody/{one}") for one in ("accounts", "transfers")]
    assert [len(one) for one in kept] == [26, 26]
