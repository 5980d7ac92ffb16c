"""What no rule can settle waits for a person, stops its own name only, and ends when he decides."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import Desk, broker_equals_books, desk_from, write_template

from broker_adapters.alpaca_verdicts import classify
from robo.core.errors import BrokerUnavailableError, ConflictError, InvalidInputError, NotFoundError
from robo.core.ids import AccountId, FirmId, SecurityId
from robo.core.reasons import Reason
from robo.ledger import chart
from robo.ports.broker import (
    AccountModel,
    BrokerCash,
    BrokerOrderState,
    MassStatus,
    Position,
    Refusal,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.services import guarding, operating, reconciling, resolving, trading
from robo.services.ordering import Trade
from robo.services.resolving import ExecutionVerdict, OrderVerdict, Word
from robo.store import inventory, ledger
from robo.store.database import bulk, insert_many

SHARE = 10**9
PLACE = "omnibus/firm_a"
LOOKED = Word("looked at the broker's page", "key_1")
TAKEN = SubmitResult(SubmitStatus.REJECTED, "x", "409", "", Refusal.CLIENT_ID_TAKEN)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("person") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def funded(desk: Desk) -> AccountId:
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    return account


def look(desk: Desk) -> list[tuple[str, str, str, int]]:
    found = reconciling.reconcile(
        desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    ).found
    return sorted((b.category, b.subject, b.repair, b.blocks) for b in found)


def queue(desk: Desk, firm: str = "firm_a") -> operating.Queue:
    with desk.db.read() as session:
        return operating.queue(session, desk.calendar, desk.policy, firm, desk.clock.now())


def buys(desk: Desk, account: AccountId, *securities: int) -> list[int]:
    """Plan and send buys; return the names that were told."""
    told = len(desk.broker.told)
    trades = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=1_00) for n in securities]
    desk.windows += 1
    desk.plan({account: trades}, f"more {desk.windows}")
    desk.send()
    return [one.security_id for one in desk.broker.told[told:]]


def overfilled(desk: Desk) -> tuple[AccountId, str]:
    """Return an account and its order of $3.00 that the broker has filled for $3.01."""
    account = funded(desk)
    block = desk.buy({account: 3_00})
    desk.broker.fill(block, 301_000_000, 3_01)
    desk.broker.end(block, BrokerOrderState.FILLED)
    desk.collect()
    desk.collect()
    return account, block


def test_an_execution_beyond_its_order_ends_it_stops_its_name_and_hides_no_other_difference(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _ = overfilled(desk)
    ended = desk.column("SELECT state FROM orders")
    names = buys(desk, account, 1, 2)  # at once, not only once somebody has reconciled
    for client_id in list(desk.broker.orders):
        if not desk.broker.orders[client_id].state.final:
            desk.broker.fill_at(client_id, 10_000_000)
    desk.collect()
    first = look(desk)
    real = desk.broker.mass_status

    def status(place: str) -> MassStatus:
        told = real(place)
        more = 1_000_00 if place == PLACE else 0
        return replace(told, cash=BrokerCash(told.cash.total_cents + more, told.cash.settled_cents))

    monkeypatch.setattr(desk.broker, "mass_status", status)

    assert ended == ["canceled"]
    assert names == [2]
    assert first == [
        ("missing_execution", "cash", "ask_operator", 0),
        ("missing_execution", "position", "ask_operator", 0),
        ("real", "execution", "ask_operator", 1),
    ]
    assert ("real", "cash", "ask_operator", 1) in look(desk)
    assert [one.why for one in queue(desk).executions] == ["more_than_ordered"]
    assert queue(desk, "firm_b").executions == ()


def test_an_execution_that_a_person_adopts_is_booked_and_the_firm_has_the_excess(
    desk: Desk,
) -> None:
    account, _ = overfilled(desk)
    (stray,) = queue(desk).executions

    args = desk.db, desk.keyring, desk.clock, stray.id
    adopted = resolving.execution(*args, ExecutionVerdict.ADOPT, LOOKED)
    desk.collect()
    with pytest.raises(ConflictError):
        resolving.execution(*args, ExecutionVerdict.DISMISS, LOOKED)

    assert adopted.state == "adopted"
    assert desk.held(account).cash_cents == 97_00
    with desk.db.read() as session:
        assert ledger.balance(session, chart.inventory(FirmId("firm_a"))) == -1
        assert (
            sum(inventory.held(session, "firm_a").values())
            == 301_000_000 - 301_000_000 * 300 // 301
        )
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []
    assert look(desk) == []
    assert queue(desk).executions == ()
    assert buys(desk, account, 1) == [1]


def test_what_a_person_dismisses_is_a_real_difference_where_the_broker_still_has_it(
    desk: Desk,
) -> None:
    overfilled(desk)
    (stray,) = queue(desk).executions

    resolving.execution(
        desk.db, desk.keyring, desk.clock, stray.id, ExecutionVerdict.DISMISS, LOOKED
    )

    assert look(desk) == [
        ("real", "cash", "ask_operator", 1),
        ("real", "position", "ask_operator", 1),
    ]
    assert desk.scalar("SELECT count(*) FROM audit WHERE action = 'execution.dismiss'") == 1


def test_what_no_order_of_ours_can_hold_cannot_be_adopted(desk: Desk) -> None:
    account = funded(desk)
    block = desk.buy({account: 3_00})
    desk.broker.done.append(desk.broker.execution(block, SHARE, 6_01, name="far too much"))
    desk.collect()

    args = desk.db, desk.keyring, desk.clock
    with pytest.raises(ConflictError, match="twice"):
        resolving.execution(*args, "far too much", ExecutionVerdict.ADOPT, LOOKED)
    with pytest.raises(NotFoundError):
        resolving.execution(*args, "never told", ExecutionVerdict.ADOPT, LOOKED)
    with pytest.raises(InvalidInputError):
        resolving.execution(*args, "far too much", ExecutionVerdict.DISMISS, Word(" ", "x"))


def settle(desk: Desk, verdict: OrderVerdict) -> None:
    (block,) = queue(desk).orders
    args = desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    resolving.order(*args, block.id, verdict, LOOKED)


def test_a_strangers_order_under_our_id_waits_for_a_person_who_ends_ours(desk: Desk) -> None:
    account = funded(desk)
    desk.broker.answers = [TAKEN]
    block = desk.buy({account: 3_00})
    seen = look(desk)
    names = buys(desk, account, 1, 2)

    settle(desk, OrderVerdict.END)
    desk.collect()

    assert ("real", "order", "ask_operator", 1) in seen
    assert names == [2]
    assert desk.rows(f"SELECT state, code FROM block WHERE id = '{block}'") == [
        ("rejected", "rejected:operator")
    ]
    assert desk.held(account).cash_cents == 98_00  # the buys of a dollar have theirs
    assert desk.scalar("SELECT count(*) FROM audit WHERE action = 'order.end'") == 1
    assert queue(desk).orders == ()


def test_an_order_that_lives_at_the_broker_can_be_adopted_and_not_ended(desk: Desk) -> None:
    account = funded(desk)
    block = desk.buy({account: 3_00})
    desk.clock.advance(timedelta(hours=31))
    with pytest.raises(ConflictError, match="alive"):
        settle(desk, OrderVerdict.END)
    desk.broker.orders[block] = replace(desk.broker.orders[block], notional_cents=2_00)

    settle(desk, OrderVerdict.ADOPT)
    desk.broker.fill_at(block, 10_000_000)
    desk.collect()

    assert desk.rows("SELECT state, executed_cents FROM block") == [("partial", 2_00)]
    assert desk.held(account).cash_cents == 98_00
    assert desk.findings() == []


@pytest.mark.parametrize("change", [{"notional_cents": 2_99}, {"security_id": SecurityId(2)}])
def test_what_lives_under_our_id_in_our_account_cannot_be_ended_whatever_its_size_or_name(
    desk: Desk, change: dict[str, object]
) -> None:
    block = desk.buy({funded(desk): 3_00})
    desk.clock.advance(timedelta(hours=31))
    order = replace(desk.broker.orders[block], **change)  # type: ignore[arg-type] # as the case says
    desk.broker.orders[block] = order
    with pytest.raises(ConflictError) as alive:
        settle(desk, OrderVerdict.END)
    desk.broker.orders[block] = replace(order, side=Side.SELL)

    settle(desk, OrderVerdict.END)

    assert alive.value.code == "order_is_live"


def test_an_order_whose_executions_were_not_told_cannot_be_ended_until_they_are(
    desk: Desk,
) -> None:
    account = funded(desk)
    block = desk.buy({account: 90_00})
    desk.broker.fill(block, 4 * SHARE, 40_00)
    desk.broker.end(block, BrokerOrderState.CANCELED)
    unheard = desk.broker.done.pop()
    desk.collect()
    desk.clock.advance(timedelta(hours=31))
    with pytest.raises(ConflictError) as missing:
        settle(desk, OrderVerdict.END)
    desk.broker.done.append(unheard)
    desk.collect()

    assert missing.value.code == "executions_missing"
    assert queue(desk).orders == ()
    assert desk.rows("SELECT state FROM block") == [("partial",)]
    assert desk.held(account).cash_cents == 60_00
    assert desk.held(account).reserved_cents == 0


def test_an_order_that_turns_up_after_a_person_ended_it_is_ours_again(desk: Desk) -> None:
    account = funded(desk)
    block = desk.buy({account: 90_00})
    desk.clock.advance(timedelta(hours=31))
    there = desk.broker.orders.pop(block)
    settle(desk, OrderVerdict.END)
    desk.broker.away = True
    with pytest.raises(BrokerUnavailableError):
        desk.collect()
    desk.broker.away, desk.broker.orders[block] = False, there
    desk.collect()
    reserved = desk.held(account).reserved_cents
    desk.broker.fill_at(block, 10_000_000)
    desk.collect()

    assert reserved == 90_00
    assert desk.rows("SELECT state, code FROM block") == [("filled", "")]
    assert desk.held(account).holdings_nanos == {1: 9 * SHARE}


def test_an_order_of_another_name_cannot_be_adopted_and_a_healthy_one_not_be_touched(
    desk: Desk,
) -> None:
    block = desk.buy({funded(desk): 3_00})
    args = desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy, block
    with pytest.raises(ConflictError, match="no decision"):
        resolving.order(*args, OrderVerdict.END, LOOKED)
    desk.clock.advance(timedelta(hours=31))
    desk.broker.orders[block] = replace(desk.broker.orders[block], security_id=SecurityId(2))

    with pytest.raises(ConflictError, match="another name"):
        settle(desk, OrderVerdict.ADOPT)


def test_an_order_without_an_end_is_real_after_a_day_and_explains_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.buy({funded(desk): 3_00})
    real = desk.broker.mass_status
    monkeypatch.setattr(
        desk.broker,
        "mass_status",
        lambda place: replace(real(place), cash=BrokerCash(7 if place == PLACE else 0, 0)),
    )
    young = look(desk)
    desk.clock.advance(timedelta(hours=31))

    assert young == [("timing", "cash", "look_again", 0)]
    assert look(desk) == [
        ("real", "cash", "ask_operator", 1),
        ("real", "order", "ask_operator", 1),
    ]


def test_an_execution_that_never_comes_is_in_the_queue_at_once_and_real_after_a_day(
    desk: Desk,
) -> None:
    block = desk.buy({funded(desk): 3_00})
    desk.broker.fill_at(block, 10_000_000)
    desk.broker.done.clear()
    positions = [Position(SecurityId(1), 300_000_000)]
    desk.broker.positions = lambda place: positions if place == PLACE else []  # type: ignore[method-assign]
    look(desk)
    waiting = {one.category for one in queue(desk).breaks}
    desk.clock.advance(timedelta(hours=31))
    look(desk)

    assert waiting == {"missing_execution"}
    assert {(one.subject, one.category) for one in queue(desk).breaks} >= {("position", "real")}


def test_a_name_that_is_on_no_list_of_ours_is_a_persons_and_stops_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = funded(desk)
    real = desk.broker.mass_status
    spun_off = [Position(SecurityId(0), SHARE, "XYZ"), Position(SecurityId(0), SHARE, "XYZW")]
    monkeypatch.setattr(
        desk.broker,
        "mass_status",
        lambda place: replace(real(place), positions=spun_off if place == PLACE else []),
    )

    seen = look(desk)

    assert seen == [("real", "position", "ask_operator", 1)] * 2
    assert sorted(one.reference for one in queue(desk).breaks) == ["XYZ", "XYZW"]
    assert buys(desk, account, 1) == [1]


def test_an_account_that_the_broker_stops_for_days_is_in_the_queue_until_it_takes_an_order(
    desk: Desk,
) -> None:
    account, shown = funded(desk), []
    held = SubmitResult(SubmitStatus.THROTTLED, None, "owner_unknown", "", Refusal.ACCOUNT)
    for _ in range(2):
        desk.broker.answers = [held]
        desk.buy({account: 3_00})
        desk.collect()
        shown.append(queue(desk).accounts)
        desk.next_day()
        desk.send()
        desk.collect()
    shown.append(queue(desk).accounts)
    others = queue(desk, "firm_b").accounts
    desk.buy({account: 3_00})

    assert [len(one) for one in shown] == [0, 1, 1]
    (still,) = shown[-1]
    assert (still.broker_account, still.code, still.orders) == (PLACE, "account_stopped", 2)
    assert still.said == "owner_unknown"
    assert desk.column("SELECT DISTINCT code FROM orders WHERE state = 'rejected'") == [
        "rejected:expired:account_stopped"
    ]
    assert (others, queue(desk).accounts) == ((), ())


@pytest.mark.parametrize("apart", [False, True])
def test_orders_that_the_guards_hold_back_for_days_are_in_the_queue(
    desk: Desk, *, apart: bool
) -> None:
    account, shown = funded(desk), []
    if apart:
        desk.broker.can = {"account_model": AccountModel.SEGREGATED}
        with desk.db.write() as session:
            kept = [(account, "scripted", "acc-1", 1)]
            names = ("account_id", "broker", "reference", "opened_at")
            insert_many(session, "broker_account", names, kept)
    desk.prices.halted = {1}
    tools = guarding.Desk(desk.keyring, desk.prices, desk.calendar)
    for day in range(3):
        trading.send(desk.db, desk.broker, desk.clock, desk.policy, f"w{day}", tools)
        desk.plan({account: [Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=3_00)]}, f"day-{day}")
        trading.send(desk.db, desk.broker, desk.clock, desk.policy, f"x{day}", tools)
        shown.append(queue(desk).accounts)
        desk.next_day()
    others = queue(desk, "firm_b").accounts
    desk.prices.halted = set()
    trading.send(desk.db, desk.broker, desk.clock, desk.policy, "w", tools)
    desk.buy({account: 3_00})

    assert [[(s.code, s.orders) for s in one] for one in shown] == [
        [],
        [("wait_halted", 2)],
        [("wait_halted", 3)],
    ]
    (still,) = shown[-1]
    assert still.broker_account == ("acc-1" if apart else PLACE)
    assert still.account_id == (account if apart else None)
    assert (others, queue(desk).accounts) == ((), ())


def test_an_order_of_which_nobody_can_say_whether_it_was_told_is_in_the_queue_after_a_day(
    desk: Desk,
) -> None:
    account = funded(desk)
    block = desk.buy({account: 3_00})
    del desk.broker.orders[block]
    with desk.db.write() as session:
        bulk(
            session, "UPDATE block SET state = 'intended', code = '', broker_order_id = NULL", [()]
        )
    desk.clock.advance(timedelta(hours=31))
    desk.broker.away = True
    desk.send()

    waiting = [one.id for one in queue(desk).orders]
    desk.broker.away = False
    settle(desk, OrderVerdict.END)
    desk.collect()

    assert waiting == [block]
    assert desk.held(account).cash_cents == 100_00


def test_an_order_of_a_friday_evening_waits_for_monday_without_anybody(desk: Desk) -> None:
    account = funded(desk)
    desk.clock.set(datetime(2026, 3, 6, 21, 30, tzinfo=UTC))
    desk.buy({account: 3_00})

    desk.clock.set(datetime(2026, 3, 9, 12, 30, tzinfo=UTC))
    before_the_open = look(desk), queue(desk).orders
    desk.clock.set(datetime(2026, 3, 10, 19, 59, tzinfo=UTC))
    the_day_after = look(desk)
    desk.clock.set(datetime(2026, 3, 10, 20, 0, tzinfo=UTC))

    assert (before_the_open, the_day_after) == (([], ()), [])
    assert look(desk) == [("real", "order", "ask_operator", 1)]
    assert len(queue(desk).orders) == 1


def test_an_order_that_was_filled_while_nobody_listened_for_days_is_booked_and_no_break(
    desk: Desk,
) -> None:
    block = desk.buy({funded(desk): 3_00})
    desk.broker.fill_at(block, 10_000_000)
    desk.clock.advance(timedelta(days=5))

    found = look(desk)

    assert found == []
    assert desk.rows("SELECT state FROM block") == [("filled",)]
    assert desk.rows("SELECT count(*) FROM recon_break WHERE category = 'real'") == [(0,)]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside names that are taken"])
def test_an_answer_that_nobody_understands_is_in_the_queue_when_it_comes_for_days(
    desk: Desk, *, beside: bool
) -> None:
    funded_one, shown = funded(desk), []
    veiled = classify(422, {"code": 40010001, "message": "this order cannot be placed"}).result()
    for _ in range(2):
        desk.broker.answers = [veiled]
        buys(desk, funded_one, *((1, 2) if beside else (1,)))
        shown.append(queue(desk).accounts)
        desk.next_day()
        desk.send()
        desk.collect()
    shown.append(queue(desk).accounts)
    others = queue(desk, "firm_b").accounts
    buys(desk, funded_one, 1)

    assert [len(one) for one in shown] == [0, 0, 1]
    (still,) = shown[-1]
    assert (still.broker_account, still.code, still.orders) == (PLACE, "unclear", 2)
    assert still.said == "unclear_40010001"
    assert desk.column("SELECT DISTINCT code FROM orders WHERE state = 'rejected'") == [
        "rejected:expired:unclear"
    ]
    assert (others, queue(desk).accounts) == ((), ())


def test_two_names_that_are_not_understood_on_a_day_each_are_no_standstill(desk: Desk) -> None:
    account = funded(desk)
    veiled = classify(422, {"code": 40010001, "message": "this order cannot be placed"}).result()
    for names in ((1, 2), (3, 4)):
        desk.broker.answers = [veiled]
        buys(desk, account, *names)
        desk.next_day()
        desk.send()
        desk.collect()

    codes = desk.column("SELECT code FROM block ORDER BY code DESC LIMIT 3")
    assert codes == ["rejected:expired:unclear"] * 2 + [""]
    assert queue(desk).accounts == ()
