"""Guards between plan and broker: waits that end with the day, refusals, sizes, the dry run."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from desk import Desk, broker_equals_books, desk_from, write_template
from hypothesis import given, settings
from hypothesis import strategies as st

from robo.core.ids import AccountId, FirmId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import notional_cents
from robo.core.reasons import Reason
from robo.ledger import chart
from robo.ports.broker import AccountModel, BrokerOrderState, Refusal, SubmitResult, SubmitStatus
from robo.ports.brokerage import Asset
from robo.ports.terms import Group
from robo.services import guarding, investing, operating, rehearsing, trading
from robo.services.funding import settling
from robo.services.ordering import Trade
from robo.store import controls, firms, inventory, ledger, prices, windows
from robo.store.database import insert_many

SHARE = 10**9
WEEK = [date(2026, 2, 26), date(2026, 2, 27), *(date(2026, 3, d) for d in (2, 3, 4, 5, 6, 9, 10))]
CALENDAR = MarketCalendar(WEEK)
BUY = Reason.BUY_UNDERWEIGHT
SELL = Reason.SELL_WITHDRAWAL


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("guards") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def tools(desk: Desk) -> guarding.Desk:
    return guarding.Desk(desk.keyring, desk.prices, CALENDAR)


def send(desk: Desk) -> int:
    """Send as the timetable does: with every guard on."""
    desk.windows += 1
    return trading.send(
        desk.db, desk.broker, desk.clock, desk.policy, f"g{desk.windows}", tools(desk)
    )


def funded(desk: Desk, count: int = 1, cents: int = 1_000_00) -> list[AccountId]:
    accounts = desk.open("firm_a", count)
    desk.fund(dict.fromkeys(accounts, cents))
    return accounts


def buys(desk: Desk, accounts: list[AccountId], cents: int = 10_00, security: int = 1) -> None:
    desk.windows += 1
    trade = Trade(security, BUY, buy_cents=cents)
    desk.plan({account: [trade] for account in accounts}, f"p{desk.windows}")


def holding(desk: Desk, cents: int = 500_00) -> AccountId:
    (account,) = funded(desk)
    desk.broker.fill_at(desk.buy({account: cents}), 10_000_000)
    desk.collect()
    return account


def codes(desk: Desk) -> list[object]:
    return desk.column(
        "SELECT code FROM orders WHERE state IN ('planned', 'canceled') ORDER BY planned_at, id"
    )


def mark(desk: Desk, price_micros: int, on: str = "2026-02-27") -> None:
    with desk.db.write() as session:
        prices.mark(session, on, {1: price_micros}, "test")


def test_what_nothing_speaks_against_is_sent(desk: Desk) -> None:
    buys(desk, funded(desk))
    mark(desk, 10_000_000)

    assert send(desk) == 1


def test_a_halted_name_waits_and_goes_when_it_trades_again(desk: Desk) -> None:
    buys(desk, funded(desk))
    desk.prices.halted = {1}
    held = send(desk), codes(desk)
    desk.prices.halted = set()

    assert held == (0, ["wait_halted"])
    assert send(desk) == 1
    assert desk.column("SELECT code FROM orders") == [""]


def test_a_price_far_from_its_mark_is_not_believed(desk: Desk) -> None:
    buys(desk, funded(desk))
    mark(desk, 5_000_000)

    assert (send(desk), codes(desk)) == (0, ["wait_collar"])


def test_a_mark_older_than_the_last_session_says_nothing(desk: Desk) -> None:
    buys(desk, funded(desk))
    mark(desk, 5_000_000, "2026-02-26")

    assert send(desk) == 1


def test_a_split_moves_the_mark_with_it_and_a_spin_off_takes_it_away(desk: Desk) -> None:
    buys(desk, funded(desk))
    mark(desk, 20_000_000)
    row = ("s", "split", 1, "2026-03-02", "2026-03-02", '{"ratio_num": 2, "ratio_den": 1}')
    with desk.db.write() as session:
        prices.publish(session, [row])

    assert send(desk) == 1


def test_outside_the_session_and_just_before_its_end_nothing_is_sent(desk: Desk) -> None:
    desk.broker.can = {"always_open": False}
    desk.clock.set(datetime(2026, 3, 2, 14, 0, tzinfo=UTC))  # 9:00 in New York
    buys(desk, funded(desk))
    early = send(desk), codes(desk)
    desk.clock.set(datetime(2026, 3, 2, 20, 56, tzinfo=UTC))
    late = send(desk), codes(desk)
    desk.clock.set(datetime(2026, 3, 2, 20, 54, tzinfo=UTC))

    assert early == (0, ["wait_market_closed"])
    assert late == (0, ["wait_cut_off"])
    assert send(desk) == 1


def test_a_stale_price_of_a_real_feed_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.broker.can = {"always_open": False}
    buys(desk, funded(desk))
    quotes = desk.prices.quotes

    def old(ids: list[SecurityId], at: datetime) -> dict[SecurityId, object]:
        found = quotes(ids, at)
        return {i: replace(q, as_of=at - timedelta(minutes=16)) for i, q in found.items()}

    monkeypatch.setattr(desk.prices, "quotes", old)
    simulated = send(desk)
    desk.prices.simulated = False
    buys(desk, desk_accounts(desk))

    assert simulated == 1
    assert (send(desk), codes(desk)) == (0, ["wait_stale_price"])


def desk_accounts(desk: Desk) -> list[AccountId]:
    return [AccountId(str(one)) for one in desk.column("SELECT id FROM account")]


def test_what_waits_is_cancelled_when_its_day_is_over_and_its_cash_is_free(desk: Desk) -> None:
    (account,) = funded(desk)
    buys(desk, [account])
    desk.prices.halted = {1}
    send(desk)
    reserved = desk.held(account).reserved_cents
    desk.next_day()

    send(desk)

    assert reserved == 10_00
    assert desk.held(account).cash_cents == 1_000_00
    assert desk.rows("SELECT state, code FROM orders") == [
        ("canceled", "reject_expired:wait_halted")
    ]
    assert desk.findings() == []


def test_a_restricted_name_is_refused_for_its_customer_only(desk: Desk) -> None:
    accounts = funded(desk, 2)
    (customer,) = desk.column(f"SELECT customer_id FROM account WHERE id = '{accounts[0]}'")
    with desk.db.write() as session:
        insert_many(
            session,
            "restriction",
            (
                "id",
                "customer_id",
                "security_id",
                "verb",
                "source",
                "reason",
                "created_at",
                "held_choice",
            ),
            [("r", customer, 1, "never_buy", "named", "asked", 1, "none")],
        )
    buys(desk, accounts)

    send(desk)

    assert [one.notional_cents for one in desk.broker.told] == [10_00]
    assert desk.held(accounts[0]).cash_cents == 1_000_00
    assert "refuse_restricted" in codes(desk)


def test_an_order_beyond_any_sense_is_refused(desk: Desk) -> None:
    desk.policy = replace(desk.policy, order_cents_max=50_00)
    buys(desk, funded(desk), 50_01)

    assert (send(desk), codes(desk)) == (0, ["refuse_notional"])


def test_the_same_order_planned_over_and_over_is_stopped(desk: Desk) -> None:
    accounts = funded(desk)
    for _ in range(5):
        buys(desk, accounts)

    send(desk)

    assert [one.notional_cents for one in desk.broker.told] == [30_00]
    assert codes(desk) == ["refuse_duplicate"] * 2


def test_shares_that_are_promised_already_are_not_sold_again(desk: Desk) -> None:
    account = holding(desk)
    desk.plan({account: [Trade(1, SELL, sell_nanos=30 * SHARE)]}, "first")
    send(desk)
    told = len(desk.broker.told)
    desk.plan({account: [Trade(1, SELL, sell_nanos=30 * SHARE)]}, "second")

    send(desk)

    assert len(desk.broker.told) == told
    assert codes(desk) == ["refuse_duplicate"]


def test_an_account_that_churns_is_stopped(desk: Desk) -> None:
    desk.policy = replace(desk.policy, turnover_ppm_max=1_000_000)
    account = holding(desk)  # worth 1,000.00, has bought for 500.00 today
    desk.plan({account: [Trade(1, SELL, sell_nanos=50 * SHARE)]}, "sells all")  # another 500.00
    first = send(desk)
    for one in list(desk.broker.orders):
        if not desk.broker.orders[one].state.final:
            desk.broker.fill_at(one, 10_000_000)
    desk.collect()
    buys(desk, [account], 100_00, 2)
    send(desk)
    desk.broker.fill_at(desk.broker.told[-1].client_id, 10_000_000)
    desk.collect()
    desk.plan({account: [Trade(2, SELL, sell_nanos=10 * SHARE)]}, "and again")

    assert first == 1
    assert (send(desk), codes(desk)) == (0, ["refuse_turnover"])


def test_a_firms_day_and_a_block_have_limits_and_the_rest_waits(desk: Desk) -> None:
    desk.policy = replace(desk.policy, block_cents_max=25_00, firm_turnover_cents_max=45_00)
    accounts = funded(desk, 3)
    buys(desk, accounts, 10_00, 1)
    send(desk)
    buys(desk, accounts, 10_00, 2)
    send(desk)

    told = [one.notional_cents or 0 for one in desk.broker.told]
    assert max(told) <= 25_00
    assert sum(told) == 40_00
    assert codes(desk) == ["wait_turnover"] * 2


@pytest.mark.parametrize("model", list(AccountModel))
def test_what_is_bought_waits_until_what_its_plan_sells_is_sold(
    desk: Desk, model: AccountModel
) -> None:
    account = holding(desk)
    desk.broker.can = {"account_model": model}
    with desk.db.write() as session:
        controls.link_account(session, account, "scripted", f"broker-{account}", 1)
    desk.plan(
        {
            account: [
                Trade(1, SELL, sell_nanos=10 * SHARE),
                Trade(2, BUY, buy_cents=50_00),
            ]
        },
        "both",
    )
    send(desk)
    first = [one.side.value for one in desk.broker.told[1:]]
    send(desk)
    while_open = len(desk.broker.told)
    desk.broker.fill_at(desk.broker.told[1].client_id, 10_000_000)
    desk.collect()
    send(desk)

    assert (first, while_open) == (["sell"], 2)
    assert desk.broker.told[-1].side.value == "buy"
    assert {one.broker_account for one in desk.broker.told[1:]} == {
        f"broker-{account}" if model is AccountModel.SEGREGATED else "omnibus/firm_a"
    }


@pytest.mark.parametrize("model", list(AccountModel))
def test_what_a_sale_brought_is_not_spent_on_its_day_and_is_there_once_it_has_settled(
    desk: Desk, model: AccountModel
) -> None:
    account = holding(desk)
    desk.broker.can = {"account_model": model}
    with desk.db.write() as session:
        controls.link_account(session, account, "scripted", f"broker-{account}", 1)
    before = desk.held(account).cash_cents
    desk.broker.fill_at(desk.sell({account: 10 * SHARE}), 9_990_000)
    desk.collect()
    on_its_day = desk.held(account)

    desk.next_day()
    settling.settle_proceeds(desk.db, desk.keyring, desk.clock, desk.policy, desk.today())

    settled = desk.held(account).cash_cents
    investing.plan(
        *(desk.db, desk.keyring, desk.broker, desk.prices, desk.clock),
        *(desk.calendar, desk.policy, "next"),
    )

    assert (on_its_day.cash_cents, on_its_day.unsettled_cents) == (before, 99_90)
    # Ten shares at 10.00 were expected to bring 100.00: what is bought is what they brought.
    assert settled == desk.held(account).reserved_cents == before + 99_90


def test_a_name_that_the_broker_keeps_refusing_rests_until_tomorrow(desk: Desk) -> None:
    accounts = funded(desk)
    for _ in range(4):
        desk.broker.answers = [SubmitStatus.REJECTED]
        buys(desk, accounts)
        send(desk)
        desk.collect()

    assert len(desk.broker.told) == desk.policy.rejections_max
    assert "wait_refused" in codes(desk)


def assets(desk: Desk, monkeypatch: pytest.MonkeyPatch, *said: Asset) -> list[int]:
    desk.broker.can = {**desk.broker.can, "groups": frozenset({Group.ASSETS})}
    asked: list[int] = []

    def answer(ids: list[SecurityId]) -> list[Asset]:
        asked.extend(ids)
        return [one for one in said if one.security_id in ids]

    monkeypatch.setattr(desk.broker, "assets", answer, raising=False)
    return asked


def test_a_name_that_the_broker_does_not_trade_is_skipped_and_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = funded(desk)
    gone = Asset(SecurityId(1), "SYM1", tradable=False, fractionable=True)
    asked = assets(desk, monkeypatch, gone, Asset(SecurityId(2), "SYM2", True, True))  # noqa: FBT003
    desk.plan({account: [Trade(n, BUY, buy_cents=10_00) for n in (1, 2)]}, "two")

    send(desk)
    buys(desk, [account], 10_00, 2)
    send(desk)

    assert [one.security_id for one in desk.broker.told] == [2, 2]
    assert codes(desk) == ["refuse_not_tradable"]
    assert asked == [1, 2]  # believed for an hour
    assert desk.held(account).reserved_cents == 20_00


def test_a_name_that_stops_being_fractionable_becomes_whole_shares(desk: Desk) -> None:
    (account,) = funded(desk)
    no = SubmitResult(SubmitStatus.REJECTED, None, "42210000", "", Refusal.NOT_FRACTIONABLE)
    desk.broker.answers = [no]
    buys(desk, [account], 35_00)
    send(desk)
    desk.collect()
    buys(desk, [account], 35_00)
    send(desk)
    desk.broker.fill_at(desk.broker.told[-1].client_id, 10_000_000)
    desk.collect()

    last = desk.broker.told[-1]
    assert (last.notional_cents, last.nanos) == (None, 3 * SHARE)
    assert desk.held(account).holdings_nanos == {1: 3 * SHARE}
    assert desk.held(account).reserved_cents == 0
    assert desk.held(account).cash_cents == 970_00
    assert desk.findings() == []


def test_less_than_a_whole_share_waits_for_other_orders_and_for_no_longer_than_the_day(
    desk: Desk,
) -> None:
    first, second = funded(desk, 2)
    desk.broker.can = {"fractional": False, "notional": False}
    buys(desk, [first], 9_00)
    alone = send(desk), codes(desk)
    buys(desk, [second], 3_00)
    together = send(desk)
    buys(desk, [first], 4_00)
    send(desk)
    desk.next_day()
    send(desk)

    assert alone == (0, ["wait_whole_shares"])
    assert together == 1
    assert [one.nanos for one in desk.broker.told] == [SHARE]
    assert codes(desk) == ["reject_expired:wait_whole_shares"]


def test_less_than_a_share_of_a_name_that_is_no_longer_fractionable_frees_its_cash_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = funded(desk)
    whole = Asset(SecurityId(1), "SYM1", tradable=True, fractionable=False)
    assets(desk, monkeypatch, whole)
    buys(desk, [account], 9_00)

    assert (send(desk), codes(desk)) == (0, ["refuse_whole_shares"])
    assert desk.held(account).cash_cents == 1_000_00


def own(desk: Desk) -> tuple[dict[int, int], int]:
    with desk.db.read() as session:
        book = chart.inventory(FirmId("firm_a"))
        return inventory.held(session, "firm_a"), ledger.balance(session, book)


def whole_shares(desk: Desk, *, principal: bool) -> None:
    desk.broker.can = {"fractional": False, "notional": False}
    with desk.db.write() as session:
        firms.set_principal(session, "firm_a", principal=principal)


def fill_all(desk: Desk, price_micros: int = 10_000_000) -> None:
    for one in list(desk.broker.orders):
        if not desk.broker.orders[one].state.final:
            desk.broker.fill_at(one, price_micros)
    desk.collect()


def test_an_adviser_buys_whole_shares_and_splits_them_and_holds_nothing_itself(desk: Desk) -> None:
    whole_shares(desk, principal=False)
    accounts = funded(desk, 3)
    buys(desk, accounts, 25_00)  # 7.5 shares, less one percent: 7

    send(desk)
    fill_all(desk)

    assert [one.nanos for one in desk.broker.told] == [7 * SHARE]
    held = [desk.held(a).holdings_nanos[1] for a in accounts]
    assert sum(held) == 7 * SHARE
    assert max(held) - min(held) <= 1
    assert own(desk) == ({}, 0)
    assert [desk.held(a).reserved_cents for a in accounts] == [0] * 3
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_a_broker_dealer_fills_the_fraction_from_its_own_book_at_the_same_price(
    desk: Desk,
) -> None:
    whole_shares(desk, principal=True)
    accounts = funded(desk, 3)
    buys(desk, accounts, 25_00)

    send(desk)
    fill_all(desk)
    first = own(desk)
    buys(desk, accounts, 25_00)
    send(desk)
    fill_all(desk)

    assert [one.nanos for one in desk.broker.told] == [8 * SHARE, 7 * SHARE]
    assert first == ({1: SHARE // 2}, -5_00)
    assert [desk.held(a).holdings_nanos for a in accounts] == [{1: 5 * SHARE}] * 3
    assert own(desk) == ({}, 0)
    assert set(desk.column("SELECT capacity FROM orders")) == {"mixed"}
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_a_fraction_that_is_sold_goes_to_the_broker_dealers_book(desk: Desk) -> None:
    (account,) = funded(desk)
    desk.broker.fill_at(desk.buy({account: 25_00}), 10_000_000)
    desk.collect()
    whole_shares(desk, principal=True)
    desk.plan({account: [Trade(1, SELL, sell_nanos=2_500_000_000)]}, "all")

    send(desk)
    fill_all(desk, 12_000_000)

    assert desk.held(account).holdings_nanos == {}
    assert desk.held(account).unsettled_cents == 30_00
    assert own(desk) == ({1: SHARE // 2}, -6_00)
    assert desk.findings() == []


def test_the_queue_says_how_many_orders_wait_for_one_that_only_a_person_ends(desk: Desk) -> None:
    whole_shares(desk, principal=True)
    first, second = funded(desk, 2)
    taken = Refusal.CLIENT_ID_TAKEN
    desk.broker.answers = [
        SubmitResult(SubmitStatus.REJECTED, None, "client_id_mismatch", "", taken)
    ]
    buys(desk, [first], 25_00)
    send(desk)
    seen = []
    for _ in range(2):
        with desk.db.read() as session:
            args = session, CALENDAR, desk.policy, "firm_a", desk.clock.now()
            seen.append(operating.queue(*args))
        buys(desk, [first, second], 25_00)
        buys(desk, [second], 25_00, 2)
        send(desk)

    assert [one.code for one in seen[0].orders] == ["client_id_mismatch"]
    assert seen[0].behind == {}
    assert codes(desk) == ["wait_own_book"] * 5  # one of them for a block that ends by itself
    assert seen[1].behind == {seen[0].orders[0].id: 2}


def test_what_costs_more_than_the_orders_money_is_the_firms(desk: Desk) -> None:
    whole_shares(desk, principal=False)
    accounts = funded(desk, 2)
    buys(desk, accounts, 50_00)  # nine shares at about ten dollars
    send(desk)

    fill_all(desk, 12_500_000)  # 112.50 for orders of 100.00

    assert [desk.held(a).cash_cents for a in accounts] == [950_00] * 2
    assert sum(desk.held(a).holdings_nanos[1] for a in accounts) == 8 * SHARE
    assert own(desk) == ({1: SHARE}, -12_50)
    assert desk.findings() == []


def test_what_is_bought_and_sold_in_one_window_does_not_count_on_the_same_fraction(
    desk: Desk,
) -> None:
    buyer, seller = funded(desk, 2)
    desk.broker.fill_at(desk.buy({seller: 19_00}), 10_000_000)
    desk.collect()
    whole_shares(desk, principal=True)
    buys(desk, [buyer], 15_00)
    send(desk)
    fill_all(desk)
    half = own(desk)[0]
    desk.plan({seller: [Trade(1, SELL, sell_nanos=1_400_000_000)]}, "sells")
    buys(desk, [buyer], 16_00)

    seen = []
    for _ in range(2):
        send(desk)
        seen.append((desk.broker.told[-1].side.value, codes(desk)))
    fill_all(desk)
    sold = own(desk)[0]
    buys(desk, [buyer], 3_00)
    send(desk)
    buys(desk, [buyer], 40_00)
    send(desk)
    late = desk.broker.told[-1].side.value, codes(desk)
    fill_all(desk)

    assert half == {1: SHARE // 2}
    assert seen == [("sell", ["wait_opposite"])] * 2
    assert sold == {1: 900_000_000}
    assert late == ("buy", ["wait_own_book"])
    assert all(0 <= nanos < SHARE for nanos in own(desk)[0].values())
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_broker_dealer_never_holds_a_whole_share_of_a_name(
    template: Path, data: st.DataObject
) -> None:
    """Both sides in a window, windows that overlap, blocks that fill in parts or only in part."""
    with desk_from(template, template.parent) as desk:
        whole_shares(desk, principal=True)
        accounts = funded(desk, 3)
        for _ in range(8):
            trade_at_random(desk, accounts, data)
            send(desk)
            for one, order in list(desk.broker.orders.items()):
                if order.state.final:
                    continue
                assert order.nanos is not None
                price = data.draw(st.integers(9_950_000, 10_100_000))
                left = order.nanos - order.filled_nanos
                part = data.draw(st.integers(0, left // SHARE)) * SHARE
                if part:
                    cents = notional_cents(part, price)
                    desk.broker.fill(one, part, cents, price_micros=price)
                if data.draw(st.integers(0, 4)) == 0 and not desk.broker.orders[one].state.final:
                    desk.broker.end(one, BrokerOrderState.CANCELED)
            desk.collect()
            held, _ = own(desk)
            assert all(0 <= nanos < SHARE for nanos in held.values())
            broker_equals_books(desk, "firm_a")
        assert desk.findings() == []


def trade_at_random(desk: Desk, accounts: list[AccountId], data: st.DataObject) -> None:
    """Plan a purchase or a sale of one name, or neither, for each account."""
    with desk.db.read() as session:
        promised = windows.open_sells(session)
    for account in accounts:
        desk.windows += 1
        mine = desk.held(account)
        free = mine.holdings_nanos.get(1, 0) - promised.get((account, 1), 0)
        wish = data.draw(st.sampled_from(["buy", "buy", "sell", "nothing"]))
        if wish == "buy" and mine.cash_cents:
            cents = data.draw(st.integers(1, min(80_00, mine.cash_cents)))
            desk.plan({account: [Trade(1, BUY, buy_cents=cents)]}, f"p{desk.windows}")
        elif wish == "sell" and free > 0:
            nanos = data.draw(st.integers(1, free))
            desk.plan({account: [Trade(1, SELL, sell_nanos=nanos)]}, f"p{desk.windows}")


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_what_a_bust_leaves_on_the_firms_book_goes_with_the_next_orders(
    desk: Desk, side: str
) -> None:
    (account,) = funded(desk)
    desk.broker.fill_at(desk.buy({account: 200_00}), 10_000_000)
    desk.collect()
    whole_shares(desk, principal=True)
    told = []
    for cents in (12_00, 18_00, 12_00):  # the firm has 0.8 of a share, 0.0, 0.8
        buys(desk, [account], cents)
        send(desk)
        told.append(desk.broker.fill_at(desk.broker.told[-1].client_id, 10_000_000))
        desk.collect()
    first = own(desk)[0]
    desk.broker.bust(told[1])  # and gets back what it gave
    desk.collect()
    surplus = own(desk)[0]
    if side == "buy":
        buys(desk, [account], 45_00)
    else:
        desk.plan({account: [Trade(1, SELL, sell_nanos=2_500_000_000)]}, "sells")
    send(desk)
    fill_all(desk)

    assert first == {1: 800_000_000}
    assert surplus == {1: 1_600_000_000}
    assert all(0 <= nanos < SHARE for nanos in own(desk)[0].values())
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_a_firm_fills_no_fraction_in_a_customers_own_account_at_the_broker(desk: Desk) -> None:
    whole_shares(desk, principal=True)
    accounts = funded(desk, 2)
    desk.broker.can |= {"account_model": AccountModel.SEGREGATED}
    with desk.db.write() as session:
        for number, one in enumerate(accounts):
            controls.link_account(session, one, "scripted", f"acc-{number}", 1)
    buys(desk, accounts, 25_00)
    send(desk)
    fill_all(desk)

    assert [one.nanos for one in desk.broker.told] == [2 * SHARE] * 2
    assert [desk.held(one).holdings_nanos for one in accounts] == [{1: 2 * SHARE}] * 2
    assert own(desk) == ({}, 0)
    assert desk.findings() == []


def test_a_dry_run_says_what_would_be_sent_and_why_the_rest_would_wait(desk: Desk) -> None:
    accounts = funded(desk, 2)
    buys(desk, accounts, 10_00, 1)
    buys(desk, accounts, 10_00, 2)
    desk.prices.halted = {2}
    before = desk.rows("SELECT id, state, code FROM orders ORDER BY id")

    found = rehearsing.rehearse(desk.db, desk.broker, desk.clock, desk.policy, tools(desk))

    (would,) = found.sends
    (waits,) = found.waits
    assert (would.symbol, would.side, would.orders, would.notional_cents) == (
        "SYM1",
        "buy",
        2,
        20_00,
    )
    assert (waits.code, waits.symbol, waits.orders, waits.cents) == (
        "wait_halted",
        "SYM2",
        2,
        20_00,
    )
    assert waits.sentence
    assert desk.rows("SELECT id, state, code FROM orders ORDER BY id") == before
    assert desk.broker.told == []


def test_however_many_customers_a_window_has_one_order_a_name(desk: Desk) -> None:
    accounts = funded(desk, 50)
    desk.plan({a: [Trade(n, BUY, buy_cents=1_00) for n in range(1, 7)] for a in accounts}, "all")

    assert send(desk) == 6
    assert [one.notional_cents for one in desk.broker.told] == [50_00] * 6
