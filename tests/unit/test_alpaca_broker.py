"""An account for each customer at Alpaca, over sockets: money moves once, or a person looks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from alpaca_ground import APPLE, BANK, SHARE, Ground, by_shares, by_value, ground_at
from applicants import ANN

from broker_adapters import alpaca_broker, alpaca_transfers
from broker_adapters.alpaca_broker import AlpacaBroker
from broker_adapters.alpaca_custody import state_of
from broker_adapters.alpaca_events import earlier
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.ulids import ulid
from robo.core.clock import iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import AccountModel, BrokerOrderState, CashKind, Side, SubmitStatus
from robo.ports.brokerage import (
    BankDetails,
    CashRequest,
    CashState,
    CustodyState,
    JournalRequest,
    Outcome,
)
from robo.ports.funding import TransferDirection
from robo.ports.terms import Group

DETAILS = BankDetails("lnk_1", "Ann Doe", "021000021", "123456789")
TRANSFERS = r"/v1/accounts/[^/]+/transfers"


@pytest.fixture
def ground(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Ground]:
    with ground_at(tmp_path, short_calendar) as made:
        yield made


def open_broker(ground: Ground) -> AlpacaBroker:
    context = ground.context("adapter", **ground.adapter_settings())
    made = alpaca_broker.create(context)
    assert isinstance(made, AlpacaBroker)
    made._events._silence = 10.0  # a busy machine is no silent stream
    ground.opened.append(made)
    return made


@pytest.fixture
def broker(ground: Ground) -> AlpacaBroker:
    return open_broker(ground)


def opened(ground: Ground, broker: AlpacaBroker, **changes: Any) -> str:
    """Open an account, and return its id once it is active."""
    result = broker.open_account(replace(ANN, **changes))
    assert result.account is not None, result
    ground.wait(seconds=3)
    return result.account.broker_account


def linked(ground: Ground, broker: AlpacaBroker, account: str) -> str:
    result = broker.link_bank(account, DETAILS)
    assert result.relationship is not None, result
    ground.wait(seconds=2)
    return result.relationship.id


def request(account: str, link: str, cents: int = 50_000, name: str = "dep_1") -> CashRequest:
    return CashRequest(name, account, link, TransferDirection.PULL, cents)


def local(ground: Ground, path: str, body: Any) -> Any:
    asked = Request(f"{ground.server.url}/_local/{path}", json.dumps(body).encode(), method="POST")
    with urlopen(asked) as answer:
        return json.loads(answer.read() or b"null")


def funded(ground: Ground, broker: AlpacaBroker, **changes: Any) -> str:
    account = opened(ground, broker, **changes)
    link = linked(ground, broker, account)
    broker.transfer(request(account, link, 50_000, f"dep_{account}"))
    ground.wait(seconds=5)
    return account


# Accounts


def test_an_account_is_applied_for_approved_and_active(ground: Ground, broker: AlpacaBroker):
    result = broker.open_account(ANN)
    assert result.account is not None
    states = [result.account.state]
    for _ in range(3):
        account = broker.account(result.account.broker_account)
        assert account is not None
        states.append(account.state)
        ground.wait(seconds=1)

    assert result.outcome is Outcome.TAKEN
    assert result.account.reference == "cus_1"
    assert states == [
        CustodyState.SUBMITTED,
        CustodyState.SUBMITTED,
        CustodyState.APPROVED,
        CustodyState.ACTIVE,
    ]
    assert broker.account("nobody") is None
    assert broker.capabilities.account_model is AccountModel.SEGREGATED
    assert broker.capabilities.groups == frozenset(Group) - {Group.IN_KIND}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.DROP_AFTER, path="/v1/accounts"),
        Fault(FaultKind.FAIL_AFTER, path="/v1/accounts", status=504),
        Fault(FaultKind.TRUNCATE, path="/v1/accounts"),
        Fault(FaultKind.EDIT, path="/v1/accounts", edit={"status": None}),
        Fault(FaultKind.DROP, path="/v1/accounts"),
    ],
)
def test_an_application_whose_answer_was_lost_opens_one_account(
    ground: Ground, broker: AlpacaBroker, fault: Fault
):
    ground.server.faults.plan(fault)

    first = broker.open_account(ANN)
    again = broker.open_account(ANN)

    assert first.outcome is Outcome.UNKNOWN
    assert again.outcome is Outcome.TAKEN
    assert len(ground.server._shelf.all("account")) == 1


def test_another_persons_email_is_refused_and_a_state_that_nobody_knows_is_not_active(
    ground: Ground, broker: AlpacaBroker
):
    account = opened(ground, broker)

    result = broker.open_account(replace(ANN, given_name="Bob", email="ANN@example.com"))
    local(ground, f"accounts/{account}/status", {"status": "BRAND_NEW"})
    found = broker.account(account)

    assert (result.outcome, result.code) == (Outcome.REFUSED, "email_taken")
    assert found is not None
    assert (found.state, found.word) == (CustodyState.UNKNOWN, "BRAND_NEW")
    assert state_of("ACCOUNT_CLOSED_PENDING") is CustodyState.CLOSED


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("FixtureRejected", CustodyState.REJECTED),
        ("FixtureActionRequired", CustodyState.ACTION_REQUIRED),
        ("FixtureReview", CustodyState.REVIEW),
    ],
)
def test_a_person_who_is_not_let_in_at_once_is_told_apart(
    ground: Ground, broker: AlpacaBroker, name: str, state: CustodyState
):
    account = opened(ground, broker, given_name=name)

    found = broker.account(account)

    assert found is not None
    assert found.state is state
    asked = ("IDENTITY_VERIFICATION",) if state is not CustodyState.REVIEW else ()
    assert found.asks == asked
    assert broker.submit(for_account(by_value("c1", APPLE, 500), account)).status is (
        SubmitStatus.THROTTLED
    )


def test_nothing_of_a_person_is_in_a_text_that_could_be_logged(broker: AlpacaBroker):
    said = repr(ANN) + repr(DETAILS) + repr(broker.open_account(ANN))

    for secret in ("ann@", "666-55", "San Mateo", "Doe", "123456789", "1990"):
        assert secret not in said


# Money


def test_a_bank_account_that_only_ends_like_the_linked_one_is_another(
    ground: Ground, broker: AlpacaBroker
):
    account = opened(ground, broker)
    linked(ground, broker, account)
    shown = {"bank_account_number": DETAILS.account_number}
    links = r"/v1/accounts/[^/]+/ach_relationships"
    ground.server.faults.plan(Fault(FaultKind.EDIT, "GET", links, times=9, edit=shown))

    same = broker.link_bank(account, DETAILS)
    other = broker.link_bank(account, replace(DETAILS, account_number="987656789"))

    assert (same.outcome, same.code) == (Outcome.TAKEN, "found")
    assert other.outcome is not Outcome.TAKEN


def test_money_comes_in_and_is_no_result_of_trading(ground: Ground, broker: AlpacaBroker):
    account = opened(ground, broker)
    link = linked(ground, broker, account)

    first = broker.transfer(request(account, link))
    ground.wait(seconds=5)
    again = broker.transfer(request(account, link))

    assert (first.outcome, again.outcome) == (Outcome.TAKEN, Outcome.TAKEN)
    assert first.transfer is not None
    assert again.transfer is not None
    assert (first.transfer.state, again.transfer.state) == (CashState.PENDING, CashState.DONE)
    assert again.transfer.reference == "dep_1"
    assert len(broker.transfers(account)) == 1
    cash = broker.cash(account)
    assert (cash.total_cents, cash.spendable_cents) == (0, 50_000)
    (deposit,) = broker.activities("").activities
    assert (deposit.kind, deposit.cents, deposit.broker_account) == (
        CashKind.DEPOSIT,
        50_000,
        account,
    )


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(FaultKind.DROP_AFTER, path=TRANSFERS), Outcome.TAKEN),
        (Fault(FaultKind.FAIL_AFTER, path=TRANSFERS, status=504), Outcome.TAKEN),
        (Fault(FaultKind.FAIL_AFTER, path=TRANSFERS, status=200, body="{}"), Outcome.TAKEN),
        (Fault(FaultKind.TRUNCATE, path=TRANSFERS), Outcome.TAKEN),
        (Fault(FaultKind.EDIT, path=TRANSFERS, edit={"amount": None}), Outcome.TAKEN),
        (Fault(FaultKind.DROP, path=TRANSFERS), Outcome.UNKNOWN),
        (Fault(FaultKind.REFUSE, path=TRANSFERS, status=503), Outcome.UNKNOWN),
    ],
)
def test_a_transfer_whose_answer_was_lost_is_found_and_never_asked_for_twice(
    ground: Ground, broker: AlpacaBroker, fault: Fault, outcome: Outcome
):
    account = opened(ground, broker)
    link = linked(ground, broker, account)
    ground.server.faults.plan(fault)

    first = broker.transfer(request(account, link))
    again = [broker.transfer(request(account, link)) for _ in range(3)]

    assert first.outcome is outcome
    assert {one.outcome for one in again} == {outcome}
    assert len(broker.transfers(account)) == (1 if outcome is Outcome.TAKEN else 0)


def test_what_stays_lost_or_could_be_two_things_is_a_persons_to_decide(
    ground: Ground, broker: AlpacaBroker
):
    account = opened(ground, broker)
    link = linked(ground, broker, account)
    ground.server.faults.plan(Fault(FaultKind.DROP, path=TRANSFERS))
    lost = request(account, link)
    assert broker.transfer(lost).outcome is Outcome.UNKNOWN

    # Somebody else's transfer of the same amount: it could be ours, and nobody can know.
    ground.wait(minutes=1)
    twin = request(account, link, name="dep_2")
    ground.server.faults.plan(Fault(FaultKind.DROP_AFTER, path=TRANSFERS))
    assert broker.transfer(twin).outcome is Outcome.AMBIGUOUS
    told = broker.transfer(lost)

    assert (told.outcome, len(told.candidates)) == (Outcome.AMBIGUOUS, 1)
    broker.claim_transfer("dep_2", told.candidates[0].broker_id)
    assert broker.transfer(twin).outcome is Outcome.TAKEN
    assert broker.transfer(lost).outcome is Outcome.UNKNOWN
    ground.wait(hours=2)
    assert (broker.transfer(lost).outcome, broker.transfer(lost).code) == (
        Outcome.AMBIGUOUS,
        "not_found",
    )
    with pytest.raises(InvalidInputError):
        broker.claim_transfer("dep_1", told.candidates[0].broker_id)
    broker.release_transfer("dep_1")
    assert broker.transfer(lost).outcome is Outcome.TAKEN
    assert len(broker.transfers(account)) == 2
    with pytest.raises(InvalidInputError):
        broker.release_transfer("dep_1")


def test_a_restart_forgets_no_request(ground: Ground, broker: AlpacaBroker):
    account = opened(ground, broker)
    link = linked(ground, broker, account)
    ground.server.faults.plan(
        Fault(FaultKind.DROP_AFTER, path=TRANSFERS),
        Fault(FaultKind.REFUSE, "GET", TRANSFERS, nth=2, times=1),
    )
    assert broker.transfer(request(account, link)).outcome is Outcome.UNKNOWN
    broker.close()

    again = open_broker(ground)

    assert again.transfer(request(account, link)).outcome is Outcome.TAKEN
    assert again.transfer(request(account, link, 40_000)).code == "id_mismatch"
    assert len(again.transfers(account)) == 1


def test_a_refused_transfer_stays_refused_and_a_throttled_one_may_be_asked_again(
    ground: Ground, broker: AlpacaBroker
):
    account = opened(ground, broker)
    link = linked(ground, broker, account)
    push = CashRequest("wdr_1", account, link, TransferDirection.PUSH, 70_000)
    ground.server.faults.plan(Fault(FaultKind.REFUSE, path=TRANSFERS, status=429))

    throttled = broker.transfer(request(account, link))
    broker._http._pace = Pace(1_000_000)  # a new minute
    refused = [broker.transfer(push) for _ in range(2)]
    taken = broker.transfer(request(account, link))

    assert throttled.outcome is Outcome.THROTTLED
    assert [(one.outcome, one.code) for one in refused] == [
        (Outcome.REFUSED, "insufficient_funds")
    ] * 2
    assert taken.outcome is Outcome.TAKEN


def test_more_transfers_than_a_page_are_all_seen_and_a_return_is_told(
    ground: Ground, broker: AlpacaBroker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alpaca_transfers, "_PAGE", 5)
    account = opened(ground, broker)
    link = linked(ground, broker, account)
    for index in range(13):
        result = broker.transfer(request(account, link, 100 + index, f"dep_{index}"))
        assert result.outcome is Outcome.TAKEN
    ground.wait(seconds=5)
    first = broker.transfers(account)[0]

    local(ground, f"transfers/{first.broker_id}/status", {"status": "RETURNED"})
    after = {one.broker_id: one for one in broker.transfers(account)}

    assert len(after) == 13
    assert after[first.broker_id].state is CashState.RETURNED
    total = sum(100 + index for index in range(13))
    assert broker.cash(account).spendable_cents == total - first.cents
    assert broker.cash(account).total_cents == 0


def test_a_journal_moves_cash_once_whatever_is_lost(ground: Ground, broker: AlpacaBroker):
    source = funded(ground, broker)
    target = opened(ground, broker, email="bob@example.com")
    ground.server.faults.plan(Fault(FaultKind.DROP_AFTER, path="/v1/journals"))
    asked = JournalRequest("jnl_1", source, target, 1_234)

    first = broker.journal(asked)
    again = [broker.journal(asked) for _ in range(2)]
    other = broker.journal(replace(asked, cents=1_235))
    ground.wait(seconds=2)
    done = broker.journal(asked)

    assert first.outcome is Outcome.UNKNOWN
    assert {one.outcome for one in again} == {Outcome.TAKEN}
    assert other.outcome is Outcome.REFUSED
    assert done.journal is not None
    assert (done.journal.state, done.journal.cents) == (CashState.DONE, 1_234)
    assert broker.cash(source).spendable_cents == 50_000 - 1_234
    assert broker.cash(target).spendable_cents == 1_234
    assert broker.cash(target).total_cents == 0


# Orders


def for_account(ticket: Any, account: str) -> Any:
    return replace(ticket, broker_account=account)


def test_each_customer_has_orders_positions_and_cash_of_his_own(
    ground: Ground, broker: AlpacaBroker
):
    ann, bob = funded(ground, broker), funded(ground, broker, email="bob@example.com")
    assert broker.submit(for_account(by_value("c1", APPLE, 1_000), ann)).status is (
        SubmitStatus.ACCEPTED
    )
    broker.submit(for_account(by_value("c2", BANK, 2_000), bob))

    order = broker.find("c1")
    executions = broker.executions("").executions

    assert order is not None
    assert (order.state, order.filled_cents) == (BrokerOrderState.FILLED, 1_000)
    assert {(one.client_id, one.cents) for one in executions} == {("c1", 1_000), ("c2", 2_000)}
    assert [one.security_id for one in broker.positions(ann)] == [APPLE]
    assert [one.security_id for one in broker.positions(bob)] == [BANK]
    assert (broker.cash(ann).total_cents, broker.cash(bob).total_cents) == (-1_000, -2_000)
    status = broker.mass_status(ann)
    assert (status.cash.total_cents, len(status.positions)) == (-1_000, 1)
    wrong = broker.submit(for_account(by_value("c1", APPLE, 1_000), bob))
    assert (wrong.status, wrong.code) == (SubmitStatus.REJECTED, "client_id_mismatch")
    assert broker.find("never") is None
    assert broker.cancel("never").code == "unknown_order"


def test_an_order_whose_answer_was_lost_is_healed_after_a_restart(
    ground: Ground, broker: AlpacaBroker
):
    account = funded(ground, broker)
    path = r"/v1/trading/accounts/[^/]+/orders"
    ground.server.faults.plan(Fault(FaultKind.DROP_AFTER, path=path))
    ticket = for_account(by_value("c1", APPLE, 1_000), account)
    assert broker.submit(ticket).status is SubmitStatus.UNKNOWN
    broker.close()

    again = open_broker(ground)

    found = again.find("c1")
    assert found is not None
    assert again.submit(ticket).status is SubmitStatus.DUPLICATE
    sale = for_account(by_shares("s1", APPLE, SHARE // 100, Side.SELL), account)
    assert again.submit(sale).status is SubmitStatus.ACCEPTED
    assert len(again.executions("").executions) == 2


# Documents and events


def test_an_execution_whose_order_cannot_be_looked_up_holds_up_nobody_and_is_tried_again(
    ground: Ground, broker: AlpacaBroker
):
    ann = funded(ground, broker)
    bob = funded(ground, broker, email="bob@example.com")
    for account in (ann, bob):
        broker.submit(replace(by_value(f"c-{account}", APPLE, 1_000), broker_account=account))
    broker.close()
    for path in (ground.folder / "adapter" / "alpaca").iterdir():
        path.unlink()  # which order is whose is forgotten
    refused = f"/v1/trading/accounts/{ann}/orders/.*"
    ground.server.faults.plan(Fault(FaultKind.REFUSE, "GET", refused, times=10**6, status=404))

    again = open_broker(ground)
    first = again.executions("")
    ground.wait(minutes=65)
    again.executions("")
    (told,) = [one for one in again.activities("").activities if one.kind is CashKind.OTHER]
    ground.server.faults.clear()
    ground.wait(minutes=65)
    later = again.executions(first.cursor)

    assert [one.client_id for one in first.executions] == [f"c-{bob}"]
    assert (told.detail, told.broker_account) == ("waiting FILL", ann)
    assert [(one.client_id, one.cents) for one in later.executions] == [(f"c-{ann}", 1_000)]


def test_an_order_that_our_file_may_have_forgotten_is_never_said_not_to_be(
    ground: Ground, broker: AlpacaBroker
):
    ann = funded(ground, broker)
    bob = funded(ground, broker, email="bob@example.com")
    broker.submit(replace(by_value("old", APPLE, 1_000), broker_account=ann))
    unsent = broker.find("never-sent")
    ground.feed.halted.add(BANK)
    broker.submit(replace(by_value("parked", BANK, 1_000), broker_account=bob))
    broker.close()
    for path in (ground.folder / "adapter" / "alpaca").iterdir():
        path.unlink()

    again = open_broker(ground)
    executed = again.find("old")
    with pytest.raises(BrokerUnavailableError) as forgotten:
        again.find("parked")
    again.mass_status(bob)
    known = again.find("parked")

    assert unsent is None
    assert executed is not None
    assert (executed.broker_account, executed.filled_cents) == (ann, 1_000)
    assert forgotten.value.code == "order_forgotten"
    assert known is not None
    assert (known.broker_account, known.state) == (bob, BrokerOrderState.OPEN)


def test_what_a_person_orders_at_alpaca_makes_nobody_doubt_our_file_and_many_questions_are_one(
    ground: Ground, broker: AlpacaBroker, monkeypatch: pytest.MonkeyPatch
):
    account = funded(ground, broker)
    broker.submit(replace(by_value("blk_1", APPLE, 1_000), broker_account=account))
    ground.feed.halted.add(BANK)
    body = {"symbol": "BBB", "notional": "5", "side": "buy", "type": "market"}
    path = f"/trading/accounts/{account}/orders"
    by_hand = {**body, "time_in_force": "day", "client_order_id": "dashboard-1"}
    broker._http.post(path, by_hand, Lane.ORDERS)
    broker.mass_status(account)
    ground.wait(minutes=10)
    asked = []
    get = broker._http.get
    monkeypatch.setattr(broker._http, "get", lambda *args: asked.append(args) or get(*args))

    found = [broker.find(f"blk_never_sent_{place}") for place in range(20)]

    assert found == [None] * 20
    assert len(asked) < 5


@pytest.mark.parametrize("setting", ["ROBO_PAPER_LIST_UNTIL", ""])
def test_what_every_account_executes_is_told_by_either_source(
    tmp_path: Path, short_calendar: MarketCalendar, setting: str
):
    given = {setting: "2026-02-11"} if setting else {"ROBO_PAPER_ACTIVITY_STREAM": "no"}
    with ground_at(tmp_path, short_calendar, **given) as ground:
        broker = open_broker(ground)
        ann = funded(ground, broker)
        broker.submit(replace(by_value("c1", APPLE, 1_000), broker_account=ann))

        status = broker.mass_status(ann)

        assert [one.client_id for one in broker.executions("").executions] == ["c1"]
        assert status.cash.total_cents == -1_000


def test_documents_are_listed_and_fetched_from_where_the_broker_points(
    ground: Ground, broker: AlpacaBroker
):
    account = opened(ground, broker)

    (document,) = broker.documents(account)

    assert document.kind == "account_statement"
    assert broker.document(account, document.id).startswith(b"%PDF")
    with pytest.raises(BrokerUnavailableError):
        broker.document(account, "none")


def test_a_mass_status_reads_the_last_days_of_its_own_account_and_of_no_other(
    ground: Ground, broker: AlpacaBroker, monkeypatch: pytest.MonkeyPatch
):
    ann = funded(ground, broker)
    bob = funded(ground, broker, email="bob@example.com")
    for account in (ann, bob):
        broker.submit(replace(by_value(f"c-{account}", APPLE, 1_000), broker_account=account))
    broker.executions("")
    asked: list[str] = []
    get = broker._http.get

    def noted(path: str, query: Any, lane: Any, version: str = "") -> Any:
        if path == "/accounts/activities" and "after" in query:
            asked.append(query.get("account_id", "everybody"))
        return get(path, query, lane, version)

    monkeypatch.setattr(broker._http, "get", noted)
    for account in (ann, bob):
        broker.mass_status(account)

    assert asked == [ann, bob]


def test_events_are_told_once_from_any_cursor(ground: Ground, broker: AlpacaBroker):
    account = opened(ground, broker)

    first = broker.custody_events("accounts", "")
    nothing = broker.custody_events("accounts", first.cursor)
    local(ground, f"accounts/{account}/status", {"status": "ACTION_REQUIRED"})
    later = broker.custody_events("accounts", first.cursor)

    assert [one.word_to for one in first.events] == ["SUBMITTED", "APPROVED", "ACTIVE"]
    assert {one.broker_account for one in first.events} == {account}
    assert list(nothing.events) == []
    assert [one.word_to for one in later.events] == ["ACTION_REQUIRED"]
    assert not later.gap
    # A new process goes back a few minutes: everything again, and whoever keeps ids knows them.
    again = open_broker(ground).custody_events("accounts", later.cursor)
    assert [one.id for one in again.events] == [one.id for one in (*first.events, *later.events)]


@pytest.mark.parametrize(
    ("kind", "count", "gap"),
    [
        (FaultKind.EVENT_TWICE, 3, False),
        (FaultKind.EVENT_SWAP, 3, False),
        (FaultKind.EVENT_DROPPED, 2, True),
        (FaultKind.EVENT_SILENT, 0, False),
        (FaultKind.TRUNCATE, 0, False),
    ],
)
def test_an_ugly_stream_loses_nothing_for_good(
    ground: Ground, broker: AlpacaBroker, kind: FaultKind, count: int, gap: object
):
    opened(ground, broker)
    ground.server.faults.plan(Fault(kind, "GET", "/v1/events/accounts/status", seconds=2.0))

    broker._events._silence = 0.5 if kind is FaultKind.EVENT_SILENT else 10.0
    page = broker.custody_events("accounts", "")
    broker._events._silence = 10.0
    rest = broker.custody_events("accounts", page.cursor)

    assert (len(page.events), page.gap) == (count, gap)
    words = {one.word_to for one in (*page.events, *rest.events)}
    assert words == {"SUBMITTED", "APPROVED", "ACTIVE"}


def test_an_event_with_an_id_that_nobody_can_read_is_handed_out_once_and_stops_nothing(
    ground: Ground, broker: AlpacaBroker
):
    account = opened(ground, broker)
    shelf, at = ground.server._shelf, iso_instant(to_micros(ground.clock.now()))
    body = {"account_id": account, "at": at, "status_from": "", "status_to": "ACTIVE"}
    odd = ("evt-1", "01F0ILOU000000000000000000", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
    events = [("accounts", one, {**body, "event_id": one, "event_ulid": one}) for one in odd]
    nothing = {"event_id": "01HCMKXS94ST351NFGEZR57EHV", "at": "yesterday"}
    shelf.put("odd", [], [*events, ("accounts", "nothing", nothing)])

    first = broker.custody_events("accounts", "")
    again = [broker.custody_events("accounts", first.cursor) for _ in range(3)]
    local(ground, f"accounts/{account}/status", {"status": "ACTION_REQUIRED"})
    later = broker.custody_events("accounts", first.cursor)

    assert {one.id for one in first.events} >= set(odd)
    assert first.cursor not in odd
    assert earlier(first.cursor)
    assert [(list(one.events), one.gap) for one in again] == [([], False)] * 3
    assert [one.word_to for one in later.events] == ["ACTION_REQUIRED"]


def test_a_stream_that_is_refused_is_an_error_and_a_foolish_cursor_too(
    ground: Ground, broker: AlpacaBroker
):
    ground.server.faults.plan(
        Fault(FaultKind.REFUSE, "GET", "/v1/events/accounts/status", status=401)
    )

    with pytest.raises(BrokerUnavailableError):
        broker.custody_events("accounts", "")
    for stream, cursor in (("nothing", ""), ("accounts", "7")):
        with pytest.raises(InvalidInputError):
            broker.custody_events(stream, cursor)
    later, sooner = ulid(1_800_000_000_000_000, "a"), ulid(1_799_999_820_000_000, "b")
    assert earlier(later)[:10] == sooner[:10]


# The stock client


def test_the_stock_broker_client_reads_the_servers_bodies(ground: Ground, broker: AlpacaBroker):
    from alpaca.broker.client import BrokerClient
    from alpaca.broker.requests import CreateJournalRequest, ListAccountsRequest
    from alpaca.trading.requests import GetOrdersRequest

    account = funded(ground, broker)
    broker.submit(for_account(by_value("c1", APPLE, 1_000), account))
    client = BrokerClient("a", "b", url_override=ground.server.url)
    client._session.trust_env = False

    found = client.get_account_by_id(account)
    listed = client.list_accounts(ListAccountsRequest(query="ann@example.com"))
    (link,) = client.get_ach_relationships_for_account(account)
    (transfer,) = client.get_transfers_for_account(account)
    orders = client.get_orders_for_account(account, GetOrdersRequest(status="all"))
    (position,) = client.get_all_positions_for_account(account)
    trade = client.get_trade_account_by_id(account)
    journal = client.create_journal(
        CreateJournalRequest(
            entry_type="JNLC",
            from_account=account,
            to_account=ground.server._brokerage.firm_id,
            amount=1.5,
        )
    )
    (document,) = client.get_trade_documents_for_account(account)
    clock = client.get_clock()
    client._session.close()

    assert (str(found.id), found.status.value) == (account, "ACTIVE")
    assert [str(one.id) for one in listed] == [account]
    assert (link.status.value, transfer.amount) == ("APPROVED", "500.00")
    assert [one.client_order_id for one in orders] == ["c1"]
    assert (position.symbol, trade.cash) == ("AAA", "490.00")
    assert (journal.net_amount, document.type.value) == (1.5, "account_statement")
    assert clock.is_open
