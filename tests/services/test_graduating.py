"""How many names an account carries: by what stays in it, once a session, at prices that last."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from world import FIRM, World, make_world

from robo.core.clock import business_date, to_micros
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.ports.prices import Quote
from robo.services import graduating, indexing, marking
from robo.store import accounts, direct, ledger
from robo.store.database import insert_many
from robo.store.direct import DirectSleeve

SEGMENTED = """
version = 1
segment = [
    {id = "small", from = 0, ladder = "plain", may_use = []},
    {id = "large", from = 100_000, ladder = "wide", may_use = []},
    {id = "larger", from = 300_000, ladder = "narrow", may_use = []},
]
[ladder.plain]
sentence = ""
position_min = 0
steps = [[25_000, 10], [100_000, 20]]
[ladder.wide]
sentence = ""
position_min = 0
steps = [[50_000, 29], [150_000, 31]]
[ladder.narrow]
sentence = ""
position_min = 0
steps = [[25_000, 10], [1_000_000, 20]]
"""
QUIET = {"ROBO_SIM_EVENTS_PPM": "0"}


@pytest.fixture
def world(tmp_path: Path, seasons: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path, seasons, settings=QUIET) as made:
        yield made


class Wrong:
    """Prices of which every quote is ten times too high, and so are the closes of some days."""

    def __init__(self, prices: Any, *closes_of: date) -> None:
        self._prices = prices
        self._closes_of = closes_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prices, name)

    def quotes(self, ids: Sequence[SecurityId], at: datetime) -> Mapping[SecurityId, Quote]:
        found = self._prices.quotes(ids, at)
        return {one: replace(q, price_micros=10 * q.price_micros) for one, q in found.items()}

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        found: Mapping[SecurityId, int] = self._prices.closes(on)
        return {
            one: 10 * micros if on in self._closes_of else micros for one, micros in found.items()
        }


def review(world: World, prices: Any = None) -> int:
    r, on = world.runtime, business_date(world.clock.now())
    return graduating.review(world.db, prices or r.prices, r.clock, r.calendar, r.policy, on)


def admit(world: World) -> int:
    r = world.runtime
    return graduating.admit(world.db, r.prices, r.clock, r.policy, r.calendar)


def grown(world: World, account: AccountId) -> DirectSleeve:
    with world.db.read() as session:
        return direct.of_accounts(session, [account])[account]


def followed(world: World, account: AccountId) -> int:
    """Return how many names the account's target has."""
    with world.db.read() as session:
        target = accounts.sleeves(session, [account])[account].target_id
        return len(accounts.targets(session, [target])[target])


def link_of(world: World) -> str:
    with world.db.read() as session:
        return str(session.connection().exec_driver_sql("SELECT id FROM bank_link").scalar())


def come_back(world: World, account: AccountId, cents: int) -> None:
    """Let a deposit that was at work be returned, as `funding` writes it."""
    now = to_micros(world.clock.now())
    row = {
        "id": "dep_1",
        "account_id": account,
        "bank_link_id": link_of(world),
        "cents": cents,
        "state": "returned",
        "advanced_cents": 0,
        "owed_cents": 0,
        "return_code": "R01",
        "requested_at": now,
        "available_at": now,
    }
    made = recipes.return_deposit(FIRM, account, cents, 0, "returned")
    with world.db.write() as session:
        insert_many(session, "deposit", tuple(row), [tuple(row.values())])
        ledger.post(session, world.runtime.keyring.chain, made, FIRM, now)


def test_a_deposit_that_comes_back_takes_its_names_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 2_000_000_00)
    with monkeypatch.context() as patched:
        # What holds no shares is worth its cash: no source is asked for a week of closes.
        patched.delattr(graduating, "least_closes")
        admit(world)
    assert (grown(world, account).names, followed(world, account)) == (80, 80)

    come_back(world, account, 2_000_000_00)
    world.pay_in(account, 100_00, "again")
    world.next_session()
    review(world)

    assert (grown(world, account).names, followed(world, account)) == (10, 10)
    assert grown(world, account).carried_cents == 100_00


def test_an_account_grows_by_one_name_a_session_however_often_it_is_reviewed(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 24_000_00)
    world.trade()
    world.pay_in(account, 1_000_000_00, "heritage")
    world.next_session()

    first = review(world), grown(world, account).names
    again = review(world), grown(world, account).names
    world.next_session()
    later = review(world), grown(world, account).names

    assert first == (1, 11)
    assert again == (0, 11)
    assert later == (1, 12)


def test_a_price_that_was_never_a_close_adds_no_names(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 100_000_00)
    admit(world)
    r = world.runtime
    indexing.invest(world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, "first")
    world.trade()
    names = grown(world, account).names
    world.next_session()

    review(world, Wrong(world.runtime.prices))

    assert len(world.balances(account).holdings_nanos) == names
    assert grown(world, account).names <= names + 1
    assert grown(world, account).carried_cents < 150_000_00


def test_a_wrong_price_that_is_a_close_too_adds_no_names_but_a_real_rise_does(
    world: World,
) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 20_000_00)
    world.trade()
    r = world.runtime
    days = [world.next_session() for _ in range(5)]
    world.clock.set(r.calendar.closes_at(days[-1]) + timedelta(minutes=5))
    marking.mark_day(world.db, Wrong(r.prices, days[-1]), days[-1])
    world.next_session()

    review(world, Wrong(r.prices, *days[1:]))
    after_wrong = grown(world, account)
    review(world, Wrong(r.prices, *days))
    after_real = grown(world, account)

    # Bought at $20,000; at ten times that, $200,000 for a week, eleven names are carried.
    assert (after_wrong.names, after_wrong.carried_cents < 30_000_00) == (10, True)
    assert (after_real.names, after_real.carried_cents > 150_000_00) == (11, True)


def test_a_firms_own_last_balance_is_where_the_whole_index_is_held(
    tmp_path: Path, seasons: MarketCalendar
) -> None:
    policy = replace(Policy.default(), ladder_all_cents=2_100_000_00)
    with make_world(tmp_path, seasons, settings=QUIET, policy=policy) as world:
        (account,) = world.add_accounts(1)
        world.pay_in(account, 2_050_000_00)

        admit(world)

        # 80 names at $2.0 million, 500 at $2.1 million; log(2.05 / 2) / log(2.1 / 2) = 0.506.
        assert grown(world, account).names == 80 + int(420 * 0.5061)

        # Another table, in which the large have a ladder of their own, and more names at once.
        first, second = world.add_accounts(2)
        world.pay_in(first, 99_000_00)
        world.pay_in(second, 120_000_00)
        r, own = world.runtime, replace(policy, ladders=SEGMENTED)
        graduating.admit(world.db, r.prices, r.clock, own, r.calendar)
        assert [grown(world, one).names for one in (first, second)] == [19, 30]
        assert (followed(world, first), followed(world, second)) == (19, 30)
        # A segment whose ladder carries less (13 names) takes nothing of what the others reached.
        indexing.invest(world.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, own, "first")
        world.trade()
        world.pay_in(second, 200_000_00, "to the next segment")
        on = world.next_session()
        graduating.review(world.db, r.prices, r.clock, r.calendar, own, on)
        assert grown(world, second).carried_cents > 300_000_00
        assert (grown(world, second).names, followed(world, second)) == (31, 31)
