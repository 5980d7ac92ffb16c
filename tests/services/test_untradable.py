"""Names that stop trading, or trade in whole shares only: the money goes elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template
from funds import ScriptedBank

from robo.core.errors import BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.ports.broker import AccountModel
from robo.ports.brokerage import Asset
from robo.ports.terms import Group
from robo.services import guarding, investing, operating, trading, withdrawing
from robo.services.funding import settling
from robo.store import controls

SHARE = 10**9
APART, SHARED = AccountModel.SEGREGATED, AccountModel.OMNIBUS


class House:
    """A desk whose broker says what it trades, and one account that follows names 1 and 2."""

    def __init__(self, desk: Desk, model: AccountModel) -> None:
        self.desk, self.slot, self.asked = desk, 0, 0
        self.no: dict[int, Asset] = {}
        self.mute: set[int] = set()
        desk.broker.can = {"account_model": model, "groups": frozenset({Group.ASSETS})}
        desk.broker.assets = self._assets  # type: ignore[attr-defined] # the group promises it
        (self.account,) = desk.open("firm_a", 1, follows=(1, 2))
        self.bank = ScriptedBank()
        if model is APART:
            with desk.db.write() as session:
                controls.link_account(session, self.account, "scripted", "acc-1", 1)

    def _assets(self, ids: Sequence[SecurityId]) -> list[Asset]:
        self.asked += 1
        if self.mute & set(ids):
            message = "one of these cannot be looked up"
            raise BrokerUnavailableError(message, code="http_500")
        yes = {one: Asset(one, f"SYM{one}", tradable=True, fractionable=True) for one in ids}
        return [self.no.get(one, yes[one]) for one in ids]

    def says(self, security: int, *, tradable: bool = True, fractionable: bool = True) -> None:
        """Let the broker say it from now on, and be asked for it once more."""
        name = SecurityId(security)
        self.no[security] = Asset(name, f"SYM{name}", tradable=tradable, fractionable=fractionable)
        self.desk.clock.advance(timedelta(minutes=self.desk.policy.tradability_minutes + 1))

    def work(self, times: int = 1) -> None:
        """Do what the runner does every two seconds; everything that is sent fills at $10."""
        d = self.desk
        tools = guarding.Desk(d.keyring, d.prices, d.calendar)
        for _ in range(times):
            self.slot += 1
            slot = f"{d.today().isoformat()}/{self.slot}"
            withdrawing.plan(d.db, d.keyring, d.broker, d.prices, d.clock, d.policy, slot)
            investing.plan(d.db, d.keyring, d.broker, d.prices, d.clock, d.calendar, d.policy, slot)
            trading.send(d.db, d.broker, d.clock, d.policy, f"w{self.slot}", tools)
            for one, order in list(d.broker.orders.items()):
                if not order.state.final:
                    d.broker.fill_at(one, 10_000_000)
            d.collect()
            withdrawing.pay(d.db, d.keyring, self.bank, d.clock, d.policy)
            d.clock.advance(timedelta(seconds=2))

    def days(self, count: int) -> None:
        """Let days pass on which the runner works."""
        d = self.desk
        for _ in range(count):
            d.next_day()
            settling.settle_proceeds(d.db, d.keyring, d.clock, d.policy, d.today())
            self.work(3)

    def pays_in(self, cents: int, cause: str = "start") -> None:
        self.desk.fund({self.account: cents}, cause)
        self.work()

    def asks(self, cents: int | None) -> None:
        d = self.desk
        (link,) = d.column("SELECT id FROM bank_link")
        withdrawing.request(
            d.db, d.keyring, d.prices, d.clock, self.account, "wdr_1", str(link), cents
        )

    def sold(self) -> dict[int, int]:
        rows = self.desk.rows(
            "SELECT security_id, sum(filled_nanos) FROM orders "
            "WHERE side = 'sell' AND filled_nanos > 0 GROUP BY security_id"
        )
        return {int(str(name)): int(str(nanos)) for name, nanos in rows}

    def skips(self) -> set[tuple[object, ...]]:
        return set(self.desk.rows("SELECT DISTINCT security_id, reason FROM skip"))

    def open_orders(self) -> int:
        return self.desk.scalar("SELECT count(*) FROM orders WHERE state IN ('planned', 'sending')")

    def queue(self) -> list[tuple[str, object, str]]:
        d = self.desk
        with d.db.read() as session:
            found = operating.queue(session, d.calendar, d.policy, "firm_a", d.clock.now())
        return [(one.broker_account, one.account_id, one.code) for one in found.accounts]

    def paid(self) -> list[int]:
        """Return what the bank was asked to pay; it is asked again while it is silent."""
        return list({one.id: one.cents for one in self.bank.asked}.values())


Make = Callable[[AccountModel], House]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("untradable") / "template.db", "firm_a")


@pytest.fixture
def house(template: Path, tmp_path: Path) -> Iterator[Make]:
    with desk_from(template, tmp_path) as desk:
        yield lambda model: House(desk, model)


def test_money_for_a_name_that_stops_trading_goes_to_the_others_until_it_trades_again(
    house: Make,
) -> None:
    made = house(SHARED)
    made.says(1, tradable=False)
    made.pays_in(40_00)
    made.work()
    elsewhere = made.desk.held(made.account).holdings_nanos
    asked = made.asked
    made.work(3)
    no_more = made.asked - asked
    made.says(1)
    made.work()
    made.pays_in(40_00, "more")

    assert elsewhere == {2: 4 * SHARE}
    assert (1, "skip_not_tradable") in made.skips()
    assert no_more == 0
    assert made.desk.held(made.account).holdings_nanos == {1: 4 * SHARE, 2: 4 * SHARE}


def test_a_name_that_nobody_wants_and_nobody_can_look_up_keeps_no_other_from_trading(
    house: Make,
) -> None:
    made = house(SHARED)
    made.says(1, tradable=False)
    made.pays_in(40_00)
    made.work()
    made.mute = {1}
    made.says(2)
    asked = made.asked
    made.pays_in(40_00, "more")
    made.work(3)
    in_vain = made.asked - asked
    bought = made.desk.held(made.account).holdings_nanos
    made.mute = set()
    made.says(1)
    made.work()
    made.pays_in(40_00, "later")
    made.pays_in(40_00, "last")

    assert bought == {2: 8 * SHARE}
    assert in_vain == 2  # name 2, name 1; then it rests
    assert made.desk.held(made.account).holdings_nanos == {1: 8 * SHARE, 2: 8 * SHARE}


def test_a_name_of_which_the_broker_has_never_said_anything_waits_and_the_others_trade(
    house: Make,
) -> None:
    made = house(SHARED)
    made.mute = {1}
    made.pays_in(40_00)
    made.work()
    waits = made.desk.rows("SELECT security_id, code FROM orders WHERE state = 'planned'")
    bought = made.desk.held(made.account).holdings_nanos
    made.mute = set()
    made.work()
    later = made.desk.held(made.account).holdings_nanos
    # Known once, it is what it was.
    made.mute = {1}
    made.says(2)
    made.pays_in(40_00, "more")

    assert waits == [(1, "wait_unanswered")]
    assert bought == {2: 2 * SHARE}
    assert later == {1: 2 * SHARE, 2: 2 * SHARE}
    assert made.desk.held(made.account).holdings_nanos == {1: 4 * SHARE, 2: 4 * SHARE}


def test_a_broker_that_says_nothing_of_any_name_is_asked_a_few_times_in_turn(
    house: Make,
) -> None:
    made = house(SHARED)
    made.mute = set(range(1, 21))
    asked: set[int] = set()
    said = made._assets

    def assets(ids: Sequence[SecurityId]) -> list[Asset]:
        asked.update(ids if len(ids) == 1 else ())
        return said(ids)

    made.desk.broker.assets = assets  # type: ignore[attr-defined] # the group promises it
    with made.desk.db.write() as session:
        names = [controls.Tradability(i, 0, 0, 0) for i in made.mute]
        controls.put_tradability(session, names)
    times = []
    for _ in range(8):
        before = made.asked
        made.work()
        times.append(made.asked - before)

    assert max(times) == 4  # all together, then three of them
    assert asked == made.mute


@pytest.mark.parametrize("model", [APART, SHARED])
def test_a_withdrawal_is_paid_by_other_names_where_the_most_overweight_stops_trading(
    house: Make, model: AccountModel
) -> None:
    made = house(model)
    made.pays_in(100_00)
    made.says(1, tradable=False)
    made.asks(20_00)
    made.work(3)
    left_open = made.open_orders()
    made.days(2)

    assert left_open == 0
    assert set(made.sold()) == {2}
    assert made.paid() == [20_00]
    assert "refuse_not_tradable" in made.desk.column("SELECT code FROM orders WHERE side = 'sell'")
    assert made.desk.findings() == []


@pytest.mark.parametrize("model", [APART, SHARED])
def test_a_withdrawal_sells_whole_shares_of_a_name_that_is_no_longer_fractionable(
    house: Make, model: AccountModel
) -> None:
    made = house(model)
    made.pays_in(30_00)  # a share and a half of each
    made.says(1, fractionable=False)
    made.asks(12_00)
    made.work(4)
    made.days(2)

    assert made.sold()[1] == SHARE
    assert made.paid() == [12_00]
    assert made.desk.findings() == []


def test_less_than_a_share_of_such_a_name_keeps_a_withdrawal_only_for_days(house: Make) -> None:
    made = house(APART)
    made.pays_in(15_00)  # three quarters of a share of each
    made.says(1, fractionable=False)
    made.asks(10_00)
    made.work(4)
    left_open = made.open_orders()
    made.days(made.desk.policy.close_part_days + 1)
    made.pays_in(10_00, "later")

    assert left_open == 0
    assert made.sold() == {2: SHARE * 3 // 4}
    assert (1, "skip_whole_shares") in made.skips()
    assert made.paid() == [7_50]
    # The portfolio goes on.
    assert made.desk.held(made.account).holdings_nanos == {1: SHARE * 3 // 4, 2: SHARE}
    assert made.desk.scalar("SELECT count(*) FROM skip") < 12  # said daily, not every two seconds


@pytest.mark.parametrize(
    ("model", "tradable", "code", "stays"),
    [
        (APART, False, "skip_not_tradable", SHARE * 3 // 2),
        (APART, True, "skip_whole_shares", SHARE // 2),
        (SHARED, False, "skip_not_tradable", SHARE * 3 // 2),
        (SHARED, True, "wait_whole_shares", SHARE // 2),
    ],
)
def test_a_close_out_sells_what_it_can_and_the_rest_is_in_the_operators_queue_until_it_goes(
    house: Make, model: AccountModel, *, tradable: bool, code: str, stays: int
) -> None:
    made = house(model)
    made.pays_in(30_00)
    made.says(1, tradable=tradable, fractionable=False)
    made.asks(None)
    made.work(4)
    at_once = made.sold(), made.queue()
    made.days(4)
    still = made.desk.held(made.account).holdings_nanos
    waiting = made.queue()
    parts = sum(made.paid())
    made.says(1)
    made.work(3)
    made.days(1)

    assert at_once == ({2: SHARE * 3 // 2} | ({1: SHARE} if tradable else {}), [])
    assert still == {1: stays}
    place = "acc-1" if model is APART else "omnibus/firm_a"
    assert [(one[0], one[2]) for one in waiting if one[1]] == [(place, code)]
    assert parts == (25_00 if tradable else 15_00)
    assert made.desk.held(made.account).holdings_nanos == {}
    assert sum(made.paid()) == 30_00
    assert [one for one in made.queue() if one[1]] == []
    assert made.desk.findings() == []


@pytest.mark.parametrize("notional", [True, False])
def test_dust_below_the_brokers_least_part_of_a_share_is_planned_by_nobody_and_is_in_the_queue(
    house: Make, *, notional: bool
) -> None:
    made = house(APART)
    made.desk.broker.can |= {"notional": notional, "share_decimals": 4}
    made.pays_in(100_07)
    made.work(3)
    made.days(2)
    # The broker takes coarser parts from now on.
    made.desk.broker.can |= {"share_decimals": 2}
    made.asks(None)
    made.work(3)
    made.days(2)
    left = made.desk.held(made.account).holdings_nanos
    orders = made.desk.scalar("SELECT count(*) FROM orders")
    made.work(5)

    assert left
    assert all(0 < nanos < SHARE // 100 for nanos in left.values())
    assert made.desk.scalar("SELECT count(*) FROM orders") == orders
    assert made.open_orders() == 0
    assert {one for one in made.skips() if one[1] == "skip_whole_shares"} == {
        (name, "skip_whole_shares") for name in left
    }
    assert [(one[0], one[2]) for one in made.queue() if one[1]] == [("acc-1", "skip_whole_shares")]
    assert made.desk.findings() == []


def test_money_for_less_than_the_brokers_least_part_of_a_share_is_tried_once_a_day(
    house: Make,
) -> None:
    made = house(APART)
    made.desk.broker.can |= {"notional": False, "share_decimals": 1}
    made.desk.prices.price_micros = 1_000_000_000
    made.pays_in(40_00)  # the least part of each is 100.00
    made.work(5)
    orders = made.desk.rows("SELECT DISTINCT code FROM orders"), made.open_orders()

    assert orders == ([("wait_whole_shares",)], 2)
    assert made.desk.scalar("SELECT count(*) FROM orders") == 2
