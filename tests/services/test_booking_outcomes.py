"""Outcomes that we did not see: never failed, never a second order, healed by asking."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from desk import Answer, Desk, broker_equals_books, desk_from, write_template
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.core.errors import BrokerRejectedError, BrokerUnavailableError
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.reasons import Reason
from robo.ports.broker import BrokerOrder, BrokerOrderState, OrderTicket, Side, SubmitStatus
from robo.services import trading
from robo.services.ordering import Trade
from robo.services.turns import Turns
from robo.store import blocks, orders

AWAY = BrokerUnavailableError("the line is dead")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("unknown") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def ordered(desk: Desk, *securities: int, count: int = 3) -> list[AccountId]:
    """Plan one buy of $1 for each account and security."""
    accounts = desk.open("firm_a", count)
    desk.fund(dict.fromkeys(accounts, 100_00))
    trades = [Trade(s, Reason.BUY_UNDERWEIGHT, buy_cents=1_00) for s in securities or (1,)]
    desk.plan(dict.fromkeys(accounts, trades), "cause")
    return accounts


def known(desk: Desk) -> list[tuple[object, ...]]:
    return desk.rows("SELECT state, code FROM block ORDER BY security_id")


def test_an_order_that_never_arrived_is_told_again_under_the_same_id(desk: Desk) -> None:
    ordered(desk)
    desk.broker.answers = [AWAY]

    desk.send()
    unseen = known(desk)
    desk.send()

    assert unseen == [("unknown", "broker_unavailable")]
    assert known(desk) == [("open", "")]
    assert len({t.client_id for t in desk.broker.told}) == 1
    assert desk.broker.told[0] == desk.broker.told[1]
    assert desk.findings() == []


def test_an_order_whose_answer_was_lost_is_adopted_not_told_again(desk: Desk) -> None:
    ordered(desk)
    desk.broker.vanish = 1

    desk.send()
    unseen = known(desk)
    desk.send()

    assert unseen == [("unknown", "broker_unavailable")]
    assert known(desk) == [("open", "adopted")]
    assert len(desk.broker.told) == 1


@pytest.mark.parametrize("status", [SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED])
def test_an_answer_that_says_nothing_is_asked_for_again(desk: Desk, status: SubmitStatus) -> None:
    accounts = ordered(desk)
    desk.broker.answers = [status] * 3

    for _ in range(4):
        desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.fill_at(client_id, 10_000_000)
    desk.collect()

    assert len(desk.broker.told) == 4
    assert len({t.client_id for t in desk.broker.told}) == 1
    assert desk.column("SELECT state FROM orders") == ["filled"] * len(accounts)
    assert desk.findings() == []


def test_a_broker_whose_list_lags_behind_is_not_given_a_second_order(desk: Desk) -> None:
    accounts = ordered(desk)
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.lag = {client_id: 5}

    seen = []
    for _ in range(4):
        desk.send()  # it says it knows nothing, is told again, and says that it knows it
        seen.append(known(desk)[0])
    desk.broker.fill_at(client_id, 10_000_000)
    desk.collect()
    desk.collect()

    assert seen[0] == ("unknown", "duplicate")
    assert seen[-1] == ("open", "adopted")
    assert len(desk.broker.orders) == 1
    assert desk.column("SELECT state FROM orders") == ["filled"] * len(accounts)
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_while_the_broker_does_not_answer_nothing_is_told_and_nothing_is_given_back(
    desk: Desk,
) -> None:
    accounts = ordered(desk)
    desk.broker.vanish = 1
    desk.send()
    told = len(desk.broker.told)
    desk.broker.away = True

    desk.send()
    with pytest.raises(BrokerUnavailableError):
        desk.collect()

    assert len(desk.broker.told) == told
    assert known(desk) == [("unknown", "broker_unavailable")]
    assert [desk.held(a).reserved_cents for a in accounts] == [1_00] * 3


def test_fills_of_an_order_that_we_think_unknown_are_booked_at_once(desk: Desk) -> None:
    accounts = ordered(desk)
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.fill_at(client_id, 10_000_000)

    desk.collect()
    booked = desk.column("SELECT state FROM orders")
    desk.send()
    desk.collect()

    assert booked == ["filled"] * len(accounts)
    assert known(desk)[0][0] == "filled"
    assert desk.findings() == []


def foreign(client_id: str, **changes: object) -> BrokerOrder:
    order = BrokerOrder(
        client_id=client_id,
        broker_order_id="foreign",
        security_id=SecurityId(1),
        side=Side.BUY,
        notional_cents=3_00,
        nanos=None,
        state=BrokerOrderState.OPEN,
        filled_nanos=0,
        filled_cents=0,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"security_id": SecurityId(2)},
        {"side": Side.SELL},
        {"notional_cents": 3_01},
        {"notional_cents": None, "nanos": 5},
    ],
)
def test_a_foreign_order_under_our_id_is_never_adopted_and_reported_once(
    desk: Desk, changes: dict[str, object]
) -> None:
    accounts = ordered(desk)
    client_id = child_id("blk", "firm_a", "w", 1, "buy")
    desk.broker.orders[client_id] = foreign(client_id, **changes)

    for _ in range(3):
        desk.send("w")
    desk.collect()

    assert known(desk) == [("unknown", "client_id_mismatch")]
    assert len(desk.broker.told) == 1
    reported = desk.rows("SELECT subject, payload FROM event WHERE kind = 'break.order'")
    assert [(s, json.loads(str(p))["why"]) for s, p in reported] == [
        (client_id, "client_id_mismatch")
    ]
    assert [desk.held(a).reserved_cents for a in accounts] == [1_00] * 3
    assert desk.findings() == []


def test_a_duplicate_that_says_the_same_is_ours(desk: Desk) -> None:
    ordered(desk)
    client_id = child_id("blk", "firm_a", "w", 1, "buy")
    desk.broker.orders[client_id] = foreign(client_id)

    desk.send("w")

    assert known(desk) == [("open", "adopted")]


@pytest.mark.parametrize("raised", [True, False])
def test_a_rejection_gives_everything_back_and_says_why(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, raised: bool
) -> None:
    accounts = ordered(desk)
    desk.broker.answers = [SubmitStatus.REJECTED]
    if raised:

        def reject(_ticket: OrderTicket) -> None:
            message = "not with us"
            raise BrokerRejectedError(message, code='no "such" thing')

        monkeypatch.setattr(desk.broker, "submit", reject)

    desk.send()
    desk.collect()
    desk.collect()

    assert desk.column("SELECT state FROM orders") == ["rejected"] * 3
    assert [desk.held(a).cash_cents for a in accounts] == [100_00] * 3
    payloads = desk.column("SELECT payload FROM event WHERE kind = 'order.rejected'")
    assert {json.loads(str(p))["code"] for p in payloads} == {'rejected:no "such" thing'}
    assert desk.findings() == []


def test_one_blocks_bad_answer_does_not_touch_the_others(desk: Desk) -> None:
    ordered(desk, 1, 2, 3, 4)
    desk.broker.answers = [SubmitStatus.ACCEPTED, SubmitStatus.REJECTED, AWAY]

    desk.send()
    desk.collect()

    assert [state for state, _ in known(desk)] == ["open", "rejected", "unknown", "open"]
    assert desk.findings() == []


def test_a_window_killed_between_assigning_and_writing_is_completed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered(desk, 1, 2)
    real = blocks.write

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(blocks, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.send()
    monkeypatch.setattr(blocks, "write", real)
    assigned = desk.column("SELECT DISTINCT state FROM orders")
    desk.send()

    assert assigned == ["sending"]
    assert [state for state, _ in known(desk)] == ["open", "open"]
    assert [t.notional_cents for t in desk.broker.told] == [3_00, 3_00]
    assert desk.findings() == []


def test_a_window_killed_while_assigning_is_completed_and_nobody_is_sent_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robo.services.turns._MOST", 2)
    monkeypatch.setattr(trading, "Turns", lambda db, policy: Turns(db, policy, size=2))
    accounts = ordered(desk, count=5)
    real, calls = orders.assign, []

    def killed(*args: object) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(orders, "assign", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.send("w")
    desk.send("w")
    desk.send("next")
    for client_id in list(desk.broker.orders):
        desk.broker.fill_at(client_id, 10_000_000)
    desk.collect()

    assert sum(t.notional_cents or 0 for t in desk.broker.told) == 5_00
    assert desk.column("SELECT state FROM orders") == ["filled"] * len(accounts)
    assert desk.findings() == []


def test_sells_are_told_before_buys_and_firms_never_share_an_order(desk: Desk) -> None:
    mine = ordered(desk, 1, count=2)
    desk.send()
    desk.broker.fill_at(next(iter(desk.broker.orders)), 10_000_000)
    desk.collect()
    (theirs,) = desk.open("firm_b", 1)
    desk.fund({theirs: 10_00})
    desk.plan({theirs: [Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=1_00)]}, "b")
    desk.plan({mine[0]: [Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=2_00)]}, "a")
    desk.plan({mine[1]: [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=5)]}, "s")
    told = len(desk.broker.told)

    desk.send()

    assert [
        (t.broker_account, t.side.value, t.notional_cents, t.nanos)
        for t in sorted(
            desk.broker.told[told:], key=lambda t: (t.side is Side.BUY, t.broker_account)
        )
    ] == [
        ("omnibus/firm_a", "sell", None, 5),
        ("omnibus/firm_a", "buy", 2_00, None),
        ("omnibus/firm_b", "buy", 1_00, None),
    ]
    assert desk.broker.told[told].side is Side.SELL


def test_an_order_that_never_arrived_is_not_sent_on_another_day(desk: Desk) -> None:
    accounts = ordered(desk, 1, 2)
    desk.broker.answers = [SubmitStatus.THROTTLED, AWAY]
    desk.send()
    desk.next_day()

    desk.send()
    desk.collect()

    assert desk.broker.orders == {}
    assert desk.column("SELECT state FROM orders") == ["rejected"] * 6
    assert [desk.held(a).cash_cents for a in accounts] == [100_00] * 3
    assert desk.findings() == []


def test_an_order_that_did_arrive_is_adopted_on_another_day(desk: Desk) -> None:
    ordered(desk)
    desk.broker.vanish = 1
    desk.send()
    desk.next_day()

    desk.send()

    assert known(desk) == [("open", "adopted")]


answers = st.lists(
    st.sampled_from(
        [
            SubmitStatus.ACCEPTED,
            SubmitStatus.UNKNOWN,
            SubmitStatus.THROTTLED,
            SubmitStatus.REJECTED,
            AWAY,
        ]
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(answers, st.integers(0, 3), st.integers(0, 3), st.data())
def test_whatever_the_broker_answers_every_order_ends_once(
    template: Path, said: list[Answer], vanish: int, lag: int, data: st.DataObject
) -> None:
    with desk_from(template, template.parent) as desk:
        accounts = ordered(desk, 1, 2, 3, count=2)
        desk.broker.answers = list(said)
        desk.broker.vanish = vanish
        for _ in range(8 + len(said)):
            desk.send(data.draw(st.sampled_from(["", "w1"])))
            for client_id in desk.broker.orders:
                desk.broker.lag.setdefault(client_id, lag)
                order = desk.broker.orders[client_id]
                if not order.state.final and data.draw(st.booleans()):
                    desk.broker.fill_at(client_id, 10_000_000)
            desk.collect()
        for client_id, order in list(desk.broker.orders.items()):
            if not order.state.final:
                desk.broker.fill_at(client_id, 10_000_000)
        for _ in range(lag + 2):
            desk.send()
            desk.collect()

        ended = set(desk.column("SELECT DISTINCT state FROM orders"))
        assert ended <= {"filled", "rejected"}
        assert desk.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL") == 0
        spent = desk.scalar("SELECT sum(filled_cents) FROM orders")
        assert sum(desk.held(a).cash_cents for a in accounts) == 2 * 100_00 - spent
        assert all(desk.held(a).reserved_cents == 0 for a in accounts)
        assert len(desk.broker.orders) <= 3
        broker_equals_books(desk, "firm_a")
        assert desk.findings() == []
