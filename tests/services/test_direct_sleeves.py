"""Accounts grow into direct sleeves: names one by one, whole books, every trade explained."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from world import World, make_world

from baskets import building
from baskets.facts import load_facts
from robo.core.clock import business_date, to_micros
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.core.reasons import SENTENCES, Reason
from robo.portfolio import ladder
from robo.portfolio.problem import BoolArray
from robo.ports.prices import Quote
from robo.services import (
    following,
    foreseeing,
    gathering,
    graduating,
    indexing,
    investing,
    migrating,
    modelling,
    offering,
    ordering,
    personalising,
)
from robo.services.offering import Shelf
from robo.services.ordering import Plan, Trade
from robo.services.personalising import Wishes
from robo.services.washing.counting import counts
from robo.store import (
    accounts,
    arrivals,
    chunks,
    controls,
    direct,
    effects,
    tax_profiles,
    worths,
)
from robo.store.database import Database
from robo.store.tax_profiles import Choice


@dataclass
class Garden(World):
    """A world whose nights also grow accounts and plan direct sleeves."""

    def night(self) -> None:
        """Go to the next session, review the ladder, plan, trade until all is filled."""
        on = self.next_session()
        r = self.runtime
        graduating.review(self.db, r.prices, r.clock, r.calendar, r.policy, on)
        indexing.plan(
            self.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, on.isoformat()
        )
        self.direct_trade()

    def direct_trade(self) -> None:
        r = self.runtime
        slot = f"{business_date(self.clock.now()).isoformat()}/d{self.windows}"
        graduating.admit(self.db, r.prices, r.clock, r.policy, r.calendar)
        indexing.invest(self.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)
        self.trade()

    def direct(self, account: AccountId) -> direct.DirectSleeve:
        with self.db.read() as session:
            return direct.of_accounts(session, [account])[account]

    def sleeve(self, account: AccountId) -> accounts.Sleeve:
        with self.db.read() as session:
            return accounts.sleeves(session, [account])[account]

    def target(self, account: AccountId) -> tuple[accounts.TargetWeight, ...]:
        with self.db.read() as session:
            target_id = self.sleeve(account).target_id
            return accounts.targets(session, [target_id])[target_id]

    def rows(self, sql: str) -> list[tuple[int, ...]]:
        with self.db.read() as session:
            return [tuple(row) for row in session.connection().exec_driver_sql(sql)]

    def orders(self, account: AccountId) -> list[tuple[str, str, int]]:
        with self.db.read() as session:
            rows = session.connection().exec_driver_sql(
                f"SELECT id, reason, security_id FROM orders WHERE account_id = '{account}'"
            )
            return [(str(i), str(r), int(s)) for i, r, s in rows]


@pytest.fixture
def garden(tmp_path: Path, seasons: MarketCalendar) -> Iterator[Garden]:
    with make_world(tmp_path, seasons, settings={"ROBO_SIM_EVENTS_PPM": "0"}) as world:
        yield Garden(world.runtime, world.clock)


def test_thirty_thousand_dollars_grow_from_ten_names_to_eleven(garden: Garden) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 24_000_00)
    garden.trade()
    ten = set(garden.balances(account).holdings_nanos)
    assert len(ten) == 10
    garden.night()
    assert garden.sleeve(account).kind == "basket"

    garden.pay_in(account, 6_000_00, "raise")
    garden.trade()
    garden.night()
    garden.pay_in(account, 500_00, "first month")
    garden.night()

    assert garden.sleeve(account).kind == "direct_index"
    assert garden.direct(account).names == ladder.book().ladders["standard"].count(30_000_00)
    held = set(garden.balances(account).holdings_nanos)
    assert ten < held
    assert len(held) == 11
    assert held == {one.security_id for one in garden.target(account)}
    assert garden.findings() == []


def test_an_account_whose_split_is_not_booked_is_not_planned_until_it_is_and_says_why(
    garden: Garden,
) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 30_000_00)
    garden.trade()
    split = min(garden.balances(account).holdings_nanos)
    seen: list[tuple[str, bool]] = []

    for cause in ("grow", "go on"):
        garden.announce_split(account, split)
        garden.pay_in(account, 500_00, cause)
        for _ in range(2):
            before = len(garden.orders(account))
            garden.night()
            traded = len(garden.orders(account)) > before
            seen.append((garden.sleeve(account).kind, traded))
            garden.book_splits(account)

    assert seen == [
        ("basket", False),
        ("direct_index", True),
        ("direct_index", False),
        ("direct_index", True),
    ]
    skips = f"SELECT reason FROM skip WHERE security_id = {split}"
    assert garden.rows(skips) == [("wait_action",)] * 2
    assert garden.findings() == []


def test_cash_that_waits_for_a_split_is_told_of_once_a_day_and_writes_nothing_after(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 30_000_00)
    garden.trade()
    split = min(garden.balances(account).holdings_nanos)
    garden.announce_split(account, split)
    garden.pay_in(account, 500_00, "more")
    writes: list[int] = []
    write = Database.write
    monkeypatch.setattr(Database, "write", lambda db: writes.append(1) or write(db))
    r = garden.runtime
    more = (garden.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy)

    investing.plan(*more, "basket")
    told = len(writes)
    investing.plan(*more, "basket again")
    assert told
    assert len(writes) == told, "nothing new to write"
    modelling.ensure(garden.db, r.prices, r.clock, r.calendar, r.policy)
    with garden.db.write() as session:
        sleeve = accounts.sleeves(session, [account])[account]
        accounts.grow(session, [(sleeve.id, sleeve.target_id)], 1)
    told = len(writes)
    indexing.invest(*more, "direct")

    skips = f"SELECT reason FROM skip WHERE security_id = {split}"
    assert garden.rows(skips) == [("wait_action",)]
    assert len(writes) == told


def test_every_trade_of_a_direct_sleeve_says_why_and_what_it_does(garden: Garden) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 400_000_00)
    garden.direct_trade()
    garden.night()

    made = garden.orders(account)
    with garden.db.read() as session:
        known = effects.of_orders(session, [order for order, _, _ in made])

    assert len(garden.balances(account).holdings_nanos) == 28
    assert {reason for _, reason, _ in made} <= {reason.value for reason in SENTENCES}
    assert {order for order, _, _ in made} == set(known)
    assert any((effect.tracking_error_ppm or 0) < 0 for effect in known.values())
    assert garden.findings() == []


def test_cash_that_comes_is_invested_without_selling_anything(garden: Garden) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 100_000_00)
    garden.direct_trade()
    before = garden.balances(account)

    garden.pay_in(account, 1_000_00, "more")
    garden.direct_trade()

    after = garden.balances(account)
    assert all(after.holdings_nanos[s] >= n for s, n in before.holdings_nanos.items())
    assert after.cash_cents < 100
    assert garden.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    # The sale of a name that has to go may never fill: money is invested around it.
    name = max(after.holdings_nanos)
    sale = Trade(name, Reason.SELL_LEFT_OUT, sell_nanos=after.holdings_nanos[name])
    r, known = garden.runtime, garden.orders(account)
    with garden.db.write() as session:
        goes = Plan(garden.sleeve(account), "goes", (sale,), {})
        ordering.write(session, r.keyring, [goes], to_micros(garden.clock.now()))
    garden.pay_in(account, 5_000_00, "again")
    indexing.invest(
        garden.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "around"
    )
    fresh = [one for one in garden.orders(account) if one not in known]
    assert len(fresh) > 1
    assert [reason for _, reason, one in fresh if one == name] == ["sell_left_out"]
    skips = "SELECT security_id FROM skip WHERE reason = 'skip_order_open'"
    assert garden.rows(skips) == [(name,)]
    # What the broker does not trade is not planned over and over: its money goes to the others.
    gone = min(after.holdings_nanos)
    with garden.db.write() as session:
        controls.put_tradability(session, [controls.Tradability(gone, 0, 1, 1)])
    known = garden.orders(account)
    garden.trade()
    garden.pay_in(account, 5_000_00, "once more")
    indexing.invest(garden.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "gone")
    bought = {one for _, _, one in set(garden.orders(account)) - set(known)}
    assert bought
    assert gone not in bought
    untraded = "SELECT security_id FROM skip WHERE reason = 'skip_not_tradable'"
    assert garden.rows(untraded) == [(gone,)]


def test_a_night_twice_writes_nothing_twice(garden: Garden) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 100_000_00)
    garden.direct_trade()
    garden.night()
    count = garden.scalar("SELECT count(*) FROM orders")
    r = garden.runtime
    on = business_date(garden.clock.now())

    again = graduating.review(garden.db, r.prices, r.clock, r.calendar, r.policy, on)
    indexing.plan(
        garden.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, on.isoformat()
    )

    assert again == 0
    assert garden.scalar("SELECT count(*) FROM orders") == count


class Fallen:
    """Prices of which every quote and close has fallen to two fifths."""

    def __init__(self, prices: Any) -> None:
        self._prices = prices

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prices, name)

    def quotes(self, ids: Sequence[SecurityId], at: datetime) -> dict[SecurityId, Quote]:
        found = self._prices.quotes(ids, at)
        return {i: replace(q, price_micros=q.price_micros * 2 // 5) for i, q in found.items()}

    def closes(self, on: date) -> dict[SecurityId, int]:
        return {i: micros * 2 // 5 for i, micros in self._prices.closes(on).items()}


def test_a_fall_of_the_market_takes_no_name_away(garden: Garden) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 100_000_00)
    garden.direct_trade()
    names, held = garden.direct(account).names, garden.balances(account).holdings_nanos
    upright = garden.runtime
    garden.runtime = replace(upright, prices=Fallen(upright.prices))

    for _ in range(3):
        garden.night()
    garden.pay_in(account, 2_000_00, "in the fall")
    garden.night()

    with garden.db.read() as session:
        worth = worths.at_last_marks(session, [account])
    assert 35_000_00 < worth < 45_000_00
    assert ladder.book().ladders["standard"].count(worth) < names - 4
    assert garden.direct(account).names == names == len(garden.target(account))
    assert garden.direct(account).carried_cents >= 100_000_00
    after = garden.balances(account).holdings_nanos
    assert all(after.get(one, 0) >= nanos for one, nanos in held.items())
    assert garden.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    assert garden.findings() == []


@pytest.mark.parametrize(
    ("cents", "nights"),
    [(1_050_00, 4), (99_650_00, 3)],
    ids=["the first rungs", "the last"],
)
def test_the_dense_ladder_adds_a_name_a_night_and_sells_none(
    garden: Garden, cents: int, nights: int
) -> None:
    (account,) = garden.add_accounts(1)
    row = replace(following.first_row(garden.sleeve(account), 10), ladder="dense")
    with garden.db.write() as session:
        direct.put(session, [row], 1)
    garden.pay_in(account, cents)
    garden.direct_trade()
    stairs = ladder.book().ladders["dense"]
    first = int(stairs.count(cents))
    counts, held = [first], [len(garden.balances(account).holdings_nanos)]

    for night in range(nights):
        rung = stairs.reach_cents[min(first + night, 499) - 10]
        nav = garden.direct(account).carried_cents if night else cents
        garden.pay_in(account, max(300_00, int(rung) - nav + 20_00), f"night {night}")
        garden.night()
        counts.append(garden.direct(account).names)
        held.append(len(garden.balances(account).holdings_nanos))

    wanted = [min(first + night, 500) for night in range(nights + 1)]
    assert counts == wanted
    assert held[-1] == counts[-1]
    assert len(garden.target(account)) == counts[-1]
    assert garden.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0
    assert garden.findings() == []


def test_what_is_too_little_for_a_name_waits_in_the_largest_purchase(
    tmp_path: Path, seasons: MarketCalendar
) -> None:
    policy = replace(Policy.default(), order_notional_cents_min=800_00)
    settings = {"ROBO_SIM_EVENTS_PPM": "0"}
    with make_world(tmp_path, seasons, settings=settings, policy=policy) as world:
        garden = Garden(world.runtime, world.clock)
        (account,) = garden.add_accounts(1)
        garden.pay_in(account, 60_000_00)
        garden.direct_trade()
        counts = [len(garden.balances(account).holdings_nanos)]

        for month in range(6):
            garden.pay_in(account, 12_000_00, f"month {month}")
            garden.direct_trade()
            assert garden.balances(account).cash_cents < 800_00
            counts.append(len(garden.balances(account).holdings_nanos))
            garden.next_session()

        # The theme's ten fit at once; the five others weigh less than 1 % and wait for $800 each.
        assert counts[0] == counts[1] == 10
        assert counts == sorted(counts)
        assert counts[-1] == len(garden.target(account)) == 15
        assert garden.scalar("SELECT min(notional_cents) FROM orders") >= 800_00
        assert garden.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == 0


def test_a_restricted_name_is_neither_bought_nor_sold_and_leaves_the_target(
    garden: Garden,
) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 100_000_00)
    garden.direct_trade()
    barred = garden.target(account)[0].security_id
    held = garden.balances(account).holdings_nanos[barred]
    restrict(garden, account, barred)
    before = len(garden.orders(account))

    garden.pay_in(account, 5_000_00, "more")
    garden.night()
    garden.night()

    assert barred not in {one.security_id for one in garden.target(account)}
    assert len(garden.orders(account)) > before
    assert barred not in {security for _, _, security in garden.orders(account)[before:]}
    assert garden.balances(account).holdings_nanos[barred] == held


def test_what_a_basket_excludes_stays_out_of_the_index_unless_its_customer_lets_it_in(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = garden.add_accounts(1, "esg-low-carbon")
    garden.pay_in(account, 100_000_00)
    garden.direct_trade()
    oil = excluded_by("esg-low-carbon")
    names = set(garden.balances(account).holdings_nanos)
    assert len(names) == garden.direct(account).names
    assert not names & oil

    let(garden, account, "goes")
    garden.pay_in(account, 20_000_00, "more")
    garden.night()
    bought = set(garden.balances(account).holdings_nanos) & oil
    before = garden.balances(account).holdings_nanos
    told = "SELECT security_id FROM skip WHERE reason = 'skip_screened'"
    assert bought
    assert garden.rows(told) == []
    let(garden, account, "stays")
    garden.pay_in(account, 20_000_00, "again")
    garden.night()

    held = garden.balances(account).holdings_nanos
    assert not {one.security_id for one in garden.target(account)} & oil
    assert {one: held[one] for one in bought} == {one: before[one] for one in bought}
    assert sorted(garden.rows(told)) == sorted((one,) for one in bought), "told once"
    assert garden.findings() == []
    asked = loaded(garden, account)
    assert bought <= names_in(garden, asked.ask.frozen[0] & asked.screened[0])
    assert not (asked.screened & (asked.ask.buyable | asked.stand_ins)).any()
    assert not bought & names_in(garden, gathering.unfrozen(asked).ask.frozen[0])
    journeys = foreseen(garden, account, monkeypatch)
    assert bought <= names_in(garden, journeys[0].ask.frozen[0]), "the frontier as the night"
    came = min(bought)
    comes = gathering.freed(asked, journeys[0].model, {came})
    assert names_in(garden, comes.ask.frozen[0]) & bought == bought - {came}
    monkeypatch.setattr(arrivals, "securities", lambda _session, ids: {ids[0]: {came}})
    assert bought & names_in(garden, loaded(garden, account).ask.frozen[0]) == bought - {came}


@pytest.mark.parametrize("reason", [Reason.SELL_TRACKING, Reason.SELL_HARVEST])
def test_nothing_stands_in_for_a_name_that_only_an_open_sale_at_home_bars(
    garden: Garden, reason: Reason
) -> None:
    first, second = garden.add_accounts(2)
    same_customer(garden, first, second)
    garden.pay_in(second, 30_000_00)
    garden.direct_trade()
    garden.pay_in(first, 30_000_00)
    r = garden.runtime
    graduating.admit(r.db, r.prices, r.clock, r.policy, r.calendar)
    wanted = {one.security_id for one in garden.target(first)}
    name = min(wanted & garden.balances(second).holdings_nanos.keys())
    sale = Trade(name, reason, sell_nanos=garden.balances(second).holdings_nanos[name])
    with garden.db.write() as session:
        plan = Plan(garden.sleeve(second), "goes", (sale,), {})
        ordering.write(session, r.keyring, [plan], to_micros(garden.clock.now()))

    asked = loaded(garden, first)

    assert name in names_in(garden, asked.ask.tax.no_buy[0])
    assert asked.stand_ins.any() == (reason is Reason.SELL_HARVEST)


def test_losses_of_what_a_basket_excludes_are_harvested_and_its_gains_stay(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 100_000_00)
    garden.direct_trade()
    fallen, risen, *_ = sorted(garden.balances(account).holdings_nanos)
    for name, basis in ((fallen, "basis_cents * 2"), (risen, "1")):
        with garden.db.write() as session:
            session.connection().exec_driver_sql(
                f"UPDATE lot SET basis_cents = {basis}, acquired_on = '2025-11-03' "
                f"WHERE security_id = {name}"
            )
    garden.db._kept.clear()  # what is remembered of lots believes that nothing rewrites them
    monkeypatch.setattr(Shelf, "excluded", lambda _shelf, _basket: frozenset({fallen, risen}))
    mine = f"side = 'sell' AND security_id IN ({fallen}, {risen})"
    sales = f"SELECT security_id, reason FROM orders WHERE {mine}"

    choose(garden, account, Choice(gain_budget_cents=1_000_000_00, number=1))
    tags = [priced(garden, account, mode) for mode in (None, "harvest")]
    garden.night()
    neutral = garden.rows(sales)
    choose(garden, account, Choice(mode="harvest", gain_budget_cents=1_000_000_00, number=2))
    tags += [priced(garden, account, mode) for mode in ("neutral", None)]
    garden.night()

    assert [tag < -500_00 for tag in tags] == [False, True, False, True], "as the nights do"
    assert neutral == []
    assert garden.rows(sales) == [(fallen, Reason.SELL_HARVEST.value)]
    held = garden.balances(account).holdings_nanos
    assert fallen not in held
    assert risen in held


def test_a_night_on_which_everything_is_blocked_tells_why_and_not_again_the_next(
    garden: Garden,
) -> None:
    (account,) = garden.add_accounts(1)
    garden.pay_in(account, 30_000_00)
    garden.direct_trade()
    garden.night()
    names = sorted(garden.balances(account).holdings_nanos)
    before = len(garden.orders(account))
    for name in names:
        restrict(garden, account, name)

    def index() -> list[tuple[int, ...]]:
        on, r = garden.next_session(), garden.runtime
        indexing.plan(
            garden.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, on.isoformat()
        )
        return garden.rows("SELECT security_id FROM skip WHERE reason = 'skip_restricted'")

    first, again = index(), index()
    with garden.db.write() as session:
        session.connection().exec_driver_sql(
            f"DELETE FROM restriction WHERE security_id = {names[0]}"
        )
    index()
    restrict(garden, account, names[0])
    back = index()

    assert len(garden.orders(account)) == before
    assert sorted(first) == [(name,) for name in names]
    assert again == first
    assert sorted(back) == sorted([*first, (names[0],)]), "it had passed, and came back"


def test_a_loss_is_taken_from_the_lots_that_have_it_and_nobody_at_home_buys_it_back(
    garden: Garden,
) -> None:
    first, second = garden.add_accounts(2)
    same_customer(garden, first, second)
    choose(garden, first, Choice(mode="harvest", number=1))
    for account in (first, second):
        garden.pay_in(account, 300_000_00)
    garden.direct_trade()
    for _ in range(31):
        garden.next_session()

    for _ in range(4):
        garden.night()

    sold = garden.rows(
        "SELECT security_id, min(planned_at) FROM orders "
        "WHERE side = 'sell' AND reason = 'sell_harvest' GROUP BY security_id"
    )
    assert sold
    for security, since in sold:
        later = f"security_id = {security} AND side = 'buy' AND planned_at >= {since}"
        assert garden.scalar(f"SELECT count(*) FROM orders WHERE {later}") == 0
    lost = "SELECT sum(proceeds_cents + basis_delta_cents) FROM lot_event WHERE kind = 'close'"
    assert garden.scalar(lost) < 0
    named = "SELECT count(*) FROM orders o WHERE side = 'sell' AND NOT EXISTS"
    assert garden.scalar(f"{named} (SELECT 1 FROM order_lot l WHERE l.order_id = o.id)") == 0
    assert garden.findings() == []


@pytest.mark.soak
@pytest.mark.parametrize(("count", "nights"), [(2, 1), (1, 5)], ids=["one night", "many nights"])
def test_a_target_of_losses_is_never_left_behind(garden: Garden, count: int, nights: int) -> None:
    ids = garden.add_accounts(count)
    same_customer(garden, *ids)
    for account in ids:
        garden.pay_in(account, 300_000_00)
    garden.direct_trade()
    with garden.db.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE lot SET acquired_on = '2025-11-03', basis_cents = basis_cents * 13 / 10"
        )
    choose(garden, ids[0], Choice(target="amount", target_cents=-3_000_00, number=1))

    for _ in range(nights):
        garden.night()

    lost = "SELECT sum(proceeds_cents + basis_delta_cents) FROM lot_event WHERE kind = 'close'"
    assert abs(garden.scalar(lost) + 3_000_00) < 50_00


@pytest.mark.soak
def test_names_bought_of_late_are_harvested_with_all_that_is_fresh_and_never_washed(
    garden: Garden,
) -> None:
    (account,) = garden.add_accounts(1)
    choose(garden, account, Choice(mode="harvest", number=1))
    garden.pay_in(account, 300_000_00)
    garden.direct_trade()
    for _ in range(31):
        garden.next_session()
    garden.pay_in(account, 60_000_00, "late money")
    garden.direct_trade()

    for _ in range(11):
        garden.night()

    together = garden.rows(
        "SELECT o.id, count(*), sum(l.acquired_on >= '2026-04-01') FROM orders o"
        " JOIN order_lot n ON n.order_id = o.id JOIN lot l ON l.id = n.lot_id"
        " WHERE o.reason = 'sell_harvest' GROUP BY o.id"
    )
    assert any(0 < fresh < every for _, every, fresh in together)
    first = garden.rows(
        "SELECT l.acquired_on FROM order_lot n JOIN lot l ON l.id = n.lot_id WHERE n.place = 0"
        f" AND n.order_id IN ({', '.join(repr(i) for i, every, f in together if f)})"
    )
    assert all(str(acquired_on) >= "2026-04-01" for (acquired_on,) in first)
    with garden.db.read() as session:
        customer = garden.sleeve(account).customer_id
        found = counts(session, [customer], business_date(garden.clock.now()))
    assert sum(found.by_kind.values()) == 0
    assert garden.findings() == []


def test_one_model_a_day_is_fitted_and_kept(garden: Garden) -> None:
    r = garden.runtime

    first = modelling.ensure(garden.db, r.prices, r.clock, r.calendar, r.policy)
    second = modelling.ensure(garden.db, r.prices, r.clock, r.calendar, r.policy)

    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert garden.scalar("SELECT count(*) FROM risk_model") == 1
    assert first.index.sum() == pytest.approx(1.0)
    assert (first.index > 0).sum() == 500
    with garden.db.read() as session:
        assert modelling.current(session, r.prices, r.clock.now()) is second


def test_risk_is_fitted_weekly_and_the_index_moves_on_every_day(garden: Garden) -> None:
    r = garden.runtime
    seen = []

    for _ in range(7):
        model = modelling.ensure(garden.db, r.prices, r.clock, r.calendar, r.policy)
        assert model is not None
        seen.append(model)
        garden.next_session()

    fits = [one.fitted_on for one in seen]
    assert len({one.on for one in seen}) == 7
    assert len(set(fits)) == 2
    assert fits[:5] == [seen[0].on] * 5
    assert all((a.index != b.index).any() for a, b in itertools.pairwise(seen))
    ids = seen[0].security_ids.tolist()
    rows = r.prices.total_returns(ids, seen[1].on, 1)
    drifted = seen[0].index * (1.0 + np.array(rows[-1], dtype=np.float64))
    assert seen[1].index == pytest.approx(drifted / drifted.sum())


def test_reasons_of_direct_sleeves_have_sentences() -> None:
    wanted = [one for one in Reason if one.value.startswith(("buy_", "sell_", "skip_"))]

    assert all(SENTENCES[one] for one in wanted)


def same_customer(garden: Garden, *ids: AccountId) -> None:
    customer = garden.sleeve(ids[0]).customer_id
    with garden.db.write() as session:
        for account in ids:
            session.connection().exec_driver_sql(
                f"UPDATE account SET customer_id = '{customer}' WHERE id = '{account}'"
            )


def choose(garden: Garden, account: AccountId, choice: Choice) -> None:
    with garden.db.write() as session:
        tax_profiles.choose(session, garden.sleeve(account).customer_id, choice)


def excluded_by(basket_id: str) -> frozenset[int]:
    return building.excluded(offering.recipes_by_id()[basket_id], load_facts())


def foreseen(
    garden: Garden, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> list[migrating.Journey]:
    """Return the journeys that the account's frontier looks at."""
    found: list[migrating.Journey] = []
    travel = migrating.travel

    def looked_at(journey: migrating.Journey) -> migrating.Road:
        found.append(journey)
        return travel(journey)

    monkeypatch.setattr(migrating, "travel", looked_at)
    r = garden.runtime
    more = (r.keyring, r.prices, r.clock, r.calendar, r.policy, account)
    with garden.db.read() as session:
        foreseeing.foresee(session, *more, foreseeing.Asked(budgets=(0,), years=1))
    return found


def loaded(garden: Garden, account: AccountId) -> gathering.Loaded:
    """Return what a night would ask of an account."""
    r, on = garden.runtime, business_date(garden.clock.now())
    with garden.db.read() as session:
        model = modelling.current(session, r.prices, r.clock.now())
        assert model is not None
        raw = chunks.read(session, [account])
        rows = direct.of_accounts(session, [account])
        return gathering.load(session, r.keyring, r.policy, model, raw, rows, on, sells=True)


def priced(garden: Garden, account: AccountId, mode: str | None) -> int:
    """Return the gain that a price tag foresees with a tax mode, cents."""
    r = garden.runtime
    asked = (r.keyring, r.broker, r.prices, r.clock, r.policy, account)
    with garden.db.read() as session:
        tag = personalising.preview(session, *asked, Wishes(tax_mode=mode))
    return tag.short_gain_cents + tag.long_gain_cents


def names_in(garden: Garden, mask: BoolArray) -> set[int]:
    with garden.db.read() as session:
        model = modelling.current(session, garden.runtime.prices, garden.clock.now())
        assert model is not None
        return set(model.security_ids[mask].tolist())


def let(garden: Garden, account: AccountId, screen: str) -> None:
    """Choose whether what the basket excludes stays out, and have the target made anew."""
    row = replace(garden.direct(account), screen=screen, reviewed_on=direct.CHANGED)
    with garden.db.write() as session:
        direct.put(session, [row], to_micros(garden.clock.now()))


def restrict(garden: Garden, account: AccountId, security_id: int) -> None:
    from robo.services.enrolling import restricting

    customer = garden.sleeve(account).customer_id
    restricting.add(garden.db, garden.clock, customer, security_id, "never_buy")
