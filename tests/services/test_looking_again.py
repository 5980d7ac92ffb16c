"""What is told again, or late in a long run, is looked at again; what broker said once is kept."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template

from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.ports.broker import (
    AccountModel,
    BrokerOrder,
    OrderTicket,
    Refusal,
    SubmitResult,
    SubmitStatus,
)
from robo.services import guarding, operating, trading
from robo.services.ordering import Trade
from robo.store import controls
from robo.store.database import bulk, insert_many

CALENDAR = MarketCalendar([date(2026, 2, 27), *(date(2026, 3, d) for d in (2, 3, 4, 5))])
LATE = datetime(2026, 3, 2, 20, 50, tzinfo=UTC)
"""15:50 in New York: five minutes before the cut-off."""
LAGGING = {"find_lag_seconds": 60, "always_open": False}
WASH = SubmitResult(SubmitStatus.THROTTLED, None, "wash_trade", "", Refusal.OPPOSITE_ORDER)
HELD = SubmitResult(SubmitStatus.THROTTLED, None, "account_stopped", "", Refusal.ACCOUNT)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("again") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        made.broker.can = {"always_open": False}
        made.clock.set(LATE)
        yield made


def send(desk: Desk) -> int:
    """Send as the timetable does: with every guard on."""
    desk.windows += 1
    tools = guarding.Desk(desk.keyring, desk.prices, CALENDAR)
    return trading.send(desk.db, desk.broker, desk.clock, desk.policy, f"a{desk.windows}", tools)


def planned(desk: Desk, names: int = 1, firm: str = "firm_a", name: str = "") -> AccountId:
    (account,) = desk.open(firm, 1, name)
    desk.fund({account: 100_00})
    buys = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=5_00) for n in range(1, names + 1)]
    desk.plan({account: buys}, "one")
    return account


def apart(desk: Desk, accounts: list[AccountId]) -> None:
    """Let the broker keep an account each."""
    desk.broker.can |= {"account_model": AccountModel.SEGREGATED}
    with desk.db.write() as session:
        for account in accounts:
            controls.link_account(session, account, "scripted", f"broker-{account}", 1)


def closes(desk: Desk) -> None:
    desk.clock.set(LATE + timedelta(minutes=15))


def nears_its_close(desk: Desk) -> None:
    desk.clock.set(LATE + timedelta(minutes=6))


def halts(desk: Desk) -> None:
    desk.prices.halted = set(range(1, 7))


def breaks(desk: Desk) -> None:
    with desk.db.write() as session:
        bulk(
            session,
            "INSERT INTO recon_break (id, firm_id, broker_account, security_id, subject, "
            "reference, category, ours, theirs, repair, state, blocks, found_at, seen_at, "
            "closed_by, note) VALUES ('b', 'firm_a', 'omnibus/firm_a', 1, 'position', '', 'real', "
            "0, 1, 'ask_operator', 'open', 1, 1, 1, '', '')",
            [()],
        )


def restricts(desk: Desk) -> None:
    (customer,) = desk.column("SELECT customer_id FROM account")
    names = ("id", "customer_id", "security_id", "verb", "source", "reason", "created_at")
    row = ("r", customer, 1, "never_buy", "named", "asked", desk.now + 1, "none")
    with desk.db.write() as session:
        insert_many(session, "restriction", (*names, "held_choice"), [row])


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (closes, "wait_market_closed"),
        (nears_its_close, "wait_cut_off"),
        (halts, "wait_halted"),
        (breaks, "wait_break"),
        (restricts, "rejected:refuse_restricted"),
    ],
)
def test_what_a_throttle_put_off_is_looked_at_again_before_it_is_told(
    desk: Desk, happens: Callable[[Desk], None], code: str
) -> None:
    account = planned(desk)
    desk.broker.answers = [SubmitStatus.THROTTLED]
    send(desk)
    happens(desk)

    for _ in range(3):
        send(desk)

    assert len(desk.broker.told) == 1
    assert desk.column("SELECT code FROM block") == [code]
    desk.next_day()  # and it ends with its day, or at once, and its cash is free
    send(desk)
    desk.collect()
    assert desk.held(account).cash_cents == 100_00
    assert desk.findings() == []


def test_what_waited_goes_under_its_id_when_nothing_speaks_against_it_any_more(
    desk: Desk,
) -> None:
    planned(desk)
    desk.broker.answers = [SubmitStatus.THROTTLED]
    send(desk)
    halts(desk)
    send(desk)
    desk.prices.halted = set()

    send(desk)

    assert len({one.client_id for one in desk.broker.told}) == 1
    assert desk.column("SELECT state FROM block") == ["open"]


@pytest.mark.parametrize("happens", [nears_its_close, halts])
def test_a_run_that_lasts_stops_telling_when_the_market_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Desk], None]
) -> None:
    planned(desk, 6)
    submit = desk.broker.submit

    def slow(ticket: OrderTicket) -> SubmitResult:
        desk.clock.advance(timedelta(minutes=1))
        if len(desk.broker.told) == 2:
            happens(desk)
        return submit(ticket)

    monkeypatch.setattr(desk.broker, "submit", slow)

    send(desk)

    assert len(desk.broker.told) == 3
    assert len(set(desk.column("SELECT code FROM block"))) == 2


def test_an_order_that_may_be_there_is_not_given_up_because_it_may_not_be_told_again(
    desk: Desk,
) -> None:
    planned(desk)
    desk.broker.can = LAGGING
    desk.broker.vanish = 1
    desk.broker.lag = {}
    send(desk)
    (client_id,) = desk.broker.orders
    desk.broker.lag[client_id] = 3
    closes(desk)
    for _ in range(3):
        desk.clock.advance(timedelta(seconds=40))
        send(desk)

    send(desk)

    assert len(desk.broker.told) == 1
    assert desk.rows("SELECT state, code FROM block") == [("open", "adopted")]


def test_that_our_id_is_taken_is_never_forgotten_whatever_comes_of_telling_again(
    desk: Desk,
) -> None:
    account = planned(desk)
    desk.broker.can = {**LAGGING, "always_open": True}
    desk.broker.vanish = 1
    send(desk)
    (client_id,) = desk.broker.orders
    desk.broker.lag[client_id] = 7  # thrice, once at the duplicate, thrice again
    desk.broker.answers = [SubmitStatus.DUPLICATE, SubmitStatus.THROTTLED]
    while len(desk.broker.told) < 3:
        desk.clock.advance(timedelta(seconds=40))
        send(desk)
    before = desk.rows("SELECT state, code FROM block")
    desk.next_day()

    send(desk)
    desk.collect()

    assert before == [("unknown", "duplicate")]
    assert desk.rows("SELECT state, code FROM block") == [("open", "adopted")]
    assert desk.held(account).cash_cents == 95_00


def test_a_telling_again_that_was_put_off_is_asked_about_before_its_order_ends(
    desk: Desk,
) -> None:
    planned(desk)
    desk.broker.can = {**LAGGING, "always_open": True}
    desk.broker.vanish = 1
    send(desk)
    (client_id,) = desk.broker.orders
    desk.broker.lag[client_id] = 3
    desk.broker.answers = [SubmitStatus.THROTTLED]
    while len(desk.broker.told) == 1:
        desk.clock.advance(timedelta(seconds=40))
        send(desk)
    desk.next_day()

    send(desk)

    assert desk.rows("SELECT state, code FROM block") == [("open", "adopted")]


def test_a_stopped_account_costs_one_request_a_while_and_nobody_elses_turn(desk: Desk) -> None:
    stopped, other = planned(desk, 6), planned(desk, 1, name="other")
    apart(desk, [stopped, other])
    submit = desk.broker.submit

    def refusing(ticket: OrderTicket) -> SubmitResult:
        answer = submit(ticket)
        return HELD if ticket.broker_account == f"broker-{stopped}" else answer

    desk.broker.submit = refusing  # type: ignore[method-assign]
    for _ in range(30):
        send(desk)
        desk.clock.advance(timedelta(seconds=2))
    desk.clock.advance(timedelta(minutes=2))
    desk.plan({stopped: [Trade(6, Reason.BUY_UNDERWEIGHT, buy_cents=1_00)]}, "later")
    send(desk)

    where = [one.broker_account for one in desk.broker.told]
    assert sorted(where) == sorted([f"broker-{other}", f"broker-{stopped}"])


def test_an_order_in_the_way_that_is_none_of_ours_is_not_tried_every_two_seconds(
    desk: Desk,
) -> None:
    planned(desk)
    desk.broker.answers = [WASH] * 100
    for _ in range(32):
        send(desk)
        desk.clock.advance(timedelta(seconds=2))

    assert len(desk.broker.told) == 3  # at once, once more, and again after a minute


def test_a_strangers_order_under_our_id_is_not_asked_about_every_two_seconds(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(desk)
    taken = SubmitResult(SubmitStatus.REJECTED, "x", "409", "", Refusal.CLIENT_ID_TAKEN)
    desk.broker.answers = [taken]
    asked: list[str] = []
    find = desk.broker.find

    def noted(client_id: str) -> BrokerOrder | None:
        asked.append(client_id)
        return find(client_id)

    monkeypatch.setattr(desk.broker, "find", noted)
    for _ in range(10):
        send(desk)
        desk.clock.advance(timedelta(seconds=2))

    assert desk.rows("SELECT state, code FROM block") == [("unknown", "client_id_mismatch")]
    assert asked == []


def test_an_order_of_another_account_under_our_id_is_not_adopted(desk: Desk) -> None:
    planned(desk)
    desk.broker.vanish = 1
    send(desk)
    (client_id,) = desk.broker.orders
    order = desk.broker.orders[client_id]
    desk.broker.orders[client_id] = replace(order, broker_account="omnibus/firm_b")

    send(desk)

    assert desk.rows("SELECT state, code FROM block") == [("unknown", "client_id_mismatch")]


@pytest.mark.parametrize("model", list(AccountModel))
def test_what_some_customers_are_refused_stops_nobody_elses_orders_where_accounts_are_apart(
    desk: Desk, model: AccountModel
) -> None:
    accounts = [planned(desk, name=f"n{n}") for n in range(4)]
    if model is AccountModel.SEGREGATED:
        apart(desk, accounts)
    desk.broker.answers = [SubmitStatus.REJECTED] * 3
    with desk.db.write() as session:
        bulk(session, "UPDATE orders SET planned_at = planned_at + 1", [()])
    desk.policy = replace(desk.policy, rejections_max=3 if model is AccountModel.SEGREGATED else 1)
    desk.clock.advance(timedelta(seconds=1))
    send(desk)
    desk.collect()
    later = planned(desk, name="later")
    if model is AccountModel.SEGREGATED:
        apart(desk, [later])
    told = len(desk.broker.told)

    send(desk)

    assert len(desk.broker.told) - told == (1 if model is AccountModel.SEGREGATED else 0)


def test_what_was_refused_uses_up_nothing_of_a_firms_day(desk: Desk) -> None:
    desk.policy = replace(desk.policy, firm_turnover_cents_max=9_00)
    account = planned(desk)
    desk.broker.answers = [SubmitStatus.REJECTED]
    send(desk)
    desk.collect()
    desk.plan({account: [Trade(2, Reason.BUY_UNDERWEIGHT, buy_cents=5_00)]}, "again")

    assert send(desk) == 1


def test_what_one_customer_restricts_ends_his_order_and_nobody_elses(desk: Desk) -> None:
    first, *others = [planned(desk, name=name) for name in ("one", "two", "three")]
    desk.broker.answers = [SubmitStatus.THROTTLED]
    send(desk)
    (old,) = desk.column("SELECT id FROM block")
    customer = desk.column(f"SELECT customer_id FROM account WHERE id = '{first}'")[0]
    names = ("id", "customer_id", "security_id", "verb", "source", "reason", "created_at")
    row = ("res_1", customer, 1, "never_buy", "named", "asked", desk.now + 1, "none")
    with desk.db.write() as session:
        insert_many(session, "restriction", (*names, "held_choice"), [row])

    send(desk)
    told = [one.notional_cents for one in desk.broker.told[1:]]
    desk.collect()
    send(desk)

    assert told == [10_00]
    ended = f"SELECT account_id, state, code FROM orders WHERE block_id = '{old}'"
    assert desk.rows(ended) == [(first, "rejected", "rejected:refuse_restricted")]
    assert desk.column("SELECT account_id FROM event WHERE kind = 'order.rejected'") == [first]
    assert desk.rows("SELECT DISTINCT state, notional_cents FROM block WHERE state = 'open'") == [
        ("open", 10_00)
    ]
    assert [desk.held(one).reserved_cents for one in (first, *others)] == [0, 5_00, 5_00]
    assert desk.findings() == []


def test_what_the_broker_called_a_duplicate_and_never_shows_is_told_on_no_other_day(
    desk: Desk,
) -> None:
    account = planned(desk)
    desk.broker.can = {"find_lag_seconds": 60}
    desk.broker.answers = [SubmitResult(SubmitStatus.DUPLICATE)]
    send(desk)

    for _ in range(2):
        desk.next_day()
        for _ in range(4):
            send(desk)
            desk.clock.advance(timedelta(seconds=61))

    assert len(desk.broker.told) == 1
    assert desk.rows("SELECT state, code FROM block") == [("unknown", "duplicate")]
    assert desk.held(account).reserved_cents == 5_00
    with desk.db.read() as session:
        waiting = operating.queue(
            session, desk.calendar, desk.policy, "firm_a", desk.clock.now()
        ).orders
    assert [one.code for one in waiting] == ["duplicate"]
