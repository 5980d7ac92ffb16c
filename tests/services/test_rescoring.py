"""A new score file reaches exactly the accounts whose screens it crosses, by the next window."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from newcomer import cheap_app, investor_to_be
from world import FIRM, World, make_world

from baskets.catalog import catalog
from baskets.import_cells import Cells
from baskets.imports import import_rows
from baskets.universe import load_universe
from robo.core.clock import business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.services import (
    following,
    harvesting,
    importing,
    ordering,
    parting,
    personalising,
    rescoring,
    targeting,
)
from robo.services.ordering import Plan, Trade
from robo.services.personalising import Wishes
from robo.services.rescoring import Reached
from robo.services.screening import Change, Holder, Screens
from robo.store import accounts, direct, households, ledger, people, tax_profiles
from robo.store.accounts import TargetWeight
from robo.store.database import Database
from robo.store.people import StoredRestriction
from robo.store.tax_profiles import Choice

CLEAN = "esg-low-carbon"
LEADER, SECOND = catalog().get(CLEAN).constituents[:2]
OTHER = "theme-water"
MEMBER = load_universe().by_symbol["HD"]
"""In the index and in neither basket; the first basket excludes it only after a scandal."""
NOBODYS = "XOM"
"""Passes no filter of the basket, before or after."""


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@pytest.mark.parametrize(
    "count", [40, pytest.param(10_000, marks=pytest.mark.soak)], ids=["forty", "ten thousand"]
)
def test_every_affected_account_is_reached_and_no_other(world: World, count: int) -> None:
    affected = invested(world, count, CLEAN)
    others = [*invested(world, 5, OTHER), *invested(world, 2, CLEAN)]
    grown, careless, elsewhere = affected[::5], others[-2:], others[:2]
    grow(world, grown)
    grow(world, elsewhere)
    grow(world, careless, screen="goes")
    before = {account: target_of(world.db, account) for account in others}

    deliver(world, [LEADER.symbol, MEMBER.symbol])
    done = rescore(world)

    assert done.accounts == count
    for account in affected:
        assert not {LEADER.security_id, MEMBER.id} & target_of(world.db, account).keys()
    assert reached(world) == set(affected)
    assert reached(world, MEMBER.id) == set(grown), "what the index's share held is excluded too"
    assert {account: target_of(world.db, account) for account in others} == before
    assert world.findings() == []


def test_a_second_run_finds_nothing_left_to_do(world: World) -> None:
    invested(world, 3, CLEAN)
    scandal(world)
    rescore(world)
    orders = world.scalar("SELECT count(*) FROM orders")

    again = rescore(world)

    assert again == Reached(0, 0, 0)
    assert world.scalar("SELECT count(*) FROM orders") == orders


def test_what_is_held_goes_only_as_far_as_the_customers_budget_reaches(world: World) -> None:
    frugal, generous = invested(world, 2, CLEAN)
    choose(world, generous, Choice(gain_budget_cents=1_000_000_00, number=1))
    make_a_gain(world)

    scandal(world)
    rescore(world)

    sold = column(world, "SELECT account_id FROM orders WHERE side = 'sell'")
    kept = column(world, "SELECT account_id FROM skip WHERE reason = 'skip_gain_limit'")
    assert sold == [generous]
    assert kept == [frugal]
    world.trade()
    world.next_session()
    choose(world, frugal, Choice(gain_budget_cents=1_000_000_00, number=1))
    rescore(world)
    assert told(world, frugal) == {"skip_gain_limit", "sell_left_out"}, "asked again every day"


def test_what_waits_for_the_budget_stays_where_the_exclusion_is_let_go_meanwhile(
    world: World,
) -> None:
    strict, lenient = invested(world, 2, CLEAN)
    grow(world, [strict, lenient])
    make_a_gain(world, MEMBER.id)
    scandal(world, MEMBER.symbol)
    rescore(world)
    kept = column(world, "SELECT account_id FROM skip WHERE reason = 'skip_gain_limit'")
    assert sorted(kept) == sorted([strict, lenient])

    r = world.runtime
    for account, wishes in ((strict, Wishes()), (lenient, Wishes(screen="goes"))):
        personalising.save(r.db, r.broker, r.prices, r.clock, r.policy, account, wishes)
        choose(world, account, Choice(gain_budget_cents=1_000_000_00, number=1))
    world.next_session()
    rescore(world)

    sold = column(world, "SELECT account_id FROM orders WHERE side = 'sell'")
    assert sold == [strict]


def test_what_waits_for_the_budget_stays_where_other_scores_let_the_name_in_again(
    world: World,
) -> None:
    back, out = invested(world, 2, CLEAN)
    grow(world, [back, out])
    make_a_gain(world, MEMBER.id)
    make_a_gain(world)
    deliver(world, [LEADER.symbol, MEMBER.symbol])
    rescore(world)
    pending = "SELECT count(*) FROM leaver WHERE security_id = "
    assert world.scalar(pending + str(MEMBER.id)) == 2

    world.next_session()
    scandal(world, MEMBER.symbol, "0", "2026-02-28")
    choose(world, back, Choice(gain_budget_cents=1_000_000_00, number=1))
    rescore(world)

    sold = column(world, "SELECT security_id FROM orders WHERE side = 'sell'")
    assert sold == [LEADER.security_id]
    assert world.scalar(pending + str(MEMBER.id)) == 0
    assert world.scalar(pending + str(LEADER.security_id)) == 2
    assert MEMBER.id not in target_of(world.db, back), "bought again once the target is made anew"


def test_a_loss_makes_no_room_for_a_gain_that_leaves_beside_it(world: World) -> None:
    (account,) = invested(world, 1, CLEAN)
    make_a_loss(world)
    make_a_loss(world)
    make_a_gain(world, SECOND.security_id)

    scandal(world)
    scandal(world, SECOND.symbol)
    rescore(world)

    # The loss may be halted when the gain fills, and the budget is 0.
    assert column(world, "SELECT security_id FROM orders WHERE side = 'sell'") == [
        LEADER.security_id
    ]
    assert column(world, "SELECT security_id FROM skip WHERE reason = 'skip_gain_limit'") == [
        SECOND.security_id
    ]
    assert account in reached(world, SECOND.security_id)


def test_other_scores_leave_a_harvesters_understudy_where_it_is(world: World) -> None:
    account, understudy = harvested(world)
    sales = world.scalar("SELECT count(*) FROM orders WHERE side = 'sell'")
    before = target_of(world.db, account)

    scandal(world, NOBODYS)
    done = rescore(world)

    assert done == Reached(0, 0, 0)
    assert target_of(world.db, account) == before
    assert world.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") == sales
    assert understudy in world.balances(account).holdings_nanos


@pytest.mark.soak  # test_screening.py has the cheap one
def test_other_understudies_let_in_again_leave_the_one_that_is_held_where_it_is(
    world: World,
) -> None:
    first = catalog().get(CLEAN).understudies[0]
    scandal(world, first.symbol, as_of="2026-02-26")
    rescore(world)
    account, understudy = harvested(world)
    _rewrite(world, "basis_cents = basis_cents * 2, acquired_on = '2025-11-03'", understudy)
    before = sales(world)

    scandal(world, first.symbol, "0", "2026-03-02")
    rescore(world)

    assert understudy != first.security_id
    assert first.security_id in target_of(world.db, account)
    assert column(world, "SELECT security_id FROM leaver") == []
    assert sales(world) == before
    assert understudy in world.balances(account).holdings_nanos


def test_scores_of_one_name_change_that_name_and_not_the_understudy_of_another(
    world: World,
) -> None:
    account, understudy = harvested(world, SECOND.security_id)

    scandal(world)
    done = rescore(world)

    assert done.accounts == 1
    assert understudy in target_of(world.db, account)
    assert not {LEADER.security_id, SECOND.security_id} & target_of(world.db, account).keys()
    assert account in reached(world)
    assert column(world, "SELECT security_id FROM leaver") == [LEADER.security_id]


def test_a_name_held_beside_the_target_leaves_too_when_it_fails_the_screen(world: World) -> None:
    (account,) = invested(world, 1, CLEAN)
    make_a_loss(world)
    with world.db.write() as session:
        sleeve = accounts.sleeves(session, [account])[account]
        (names,) = accounts.targets(session, [sleeve.target_id]).values()
        rest = targeting.lessened(names, {LEADER.security_id})
        assert rest is not None
        other = accounts.put_target(session, CLEAN, "1", rest, 1)
        accounts.retarget(session, [(sleeve.id, other)], 1)

    scandal(world)
    rescore(world)

    assert told(world, account) == {"sell_left_out"}


def test_a_customer_whose_write_fails_is_tried_again_alone_until_it_is_brought_in_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared, victim = invested(world, 2, CLEAN)
    scandal(world)
    asked: list[AccountId] = []
    change = Screens.change

    def breaks(screens: Screens, one: Holder) -> Change | None:
        asked.append(one.sleeve.account_id)
        if one.sleeve.account_id == victim:
            message = "a row that nobody can read"
            raise ValueError(message)
        return change(screens, one)

    monkeypatch.setattr(Screens, "change", breaks)
    first = rescore(world)
    reached_first = reached(world)
    asked.clear()
    again = rescore(world)
    asked_again = set(asked)
    scandal(world, SECOND.symbol)
    rescore(world)
    monkeypatch.setattr(Screens, "change", change)
    last = rescore(world)

    assert (first.accounts, again.accounts, last.accounts) == (1, 0, 1)
    assert reached_first == {spared}
    assert asked_again == {victim}
    assert reached(world) == {spared, victim}, "against the scores that it was last in line with"
    assert rescore(world) == Reached(0, 0, 0)


def test_what_leaves_is_known_after_a_crash_between_the_target_and_the_sale(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    affected = invested(world, 2, CLEAN)
    scandal(world)
    with monkeypatch.context() as patch:
        patch.setattr(parting, "plans", dies)
        with pytest.raises(OSError, match="the plug"):
            rescore(world)
    assert reached(world) == set()

    again = rescore(world)

    assert again == Reached(0, 0, 2)
    assert reached(world) == set(affected)


def test_an_open_order_in_the_name_is_told_and_the_name_goes_when_it_has_ended(
    world: World,
) -> None:
    (account,) = invested(world, 1, CLEAN)
    make_a_loss(world)
    order(world, account, LEADER.security_id)

    scandal(world)
    rescore(world)
    waits = column(world, f"SELECT reason FROM skip WHERE security_id = {LEADER.security_id}")
    world.trade()
    world.next_session()
    make_a_loss(world)
    rescore(world)

    assert waits == ["skip_order_open"]
    assert "sell_left_out" in column(world, "SELECT reason FROM orders WHERE side = 'sell'")
    world.trade()
    world.next_session()
    assert rescore(world) == Reached(0, 0, 0)
    assert column(world, "SELECT security_id FROM leaver") == []


def test_two_score_files_on_one_day_both_reach_the_account(world: World) -> None:
    (account,) = invested(world, 1, CLEAN)
    scandal(world)
    rescore(world)

    scandal(world, SECOND.symbol)
    rescore(world)

    assert account in reached(world)
    assert account in reached(world, SECOND.security_id)


def test_an_account_that_may_not_trade_is_told_why_and_sells_once_it_may(world: World) -> None:
    (account,) = invested(world, 1, CLEAN)
    make_a_loss(world)
    state(world, account, "blocked")

    scandal(world)
    rescore(world)
    blocked = column(world, "SELECT reason FROM skip") + sales(world)
    again = rescore(world)
    state(world, account, "open")
    rescore(world)

    assert "skip_account_busy" in blocked
    assert "sell_left_out" not in blocked
    assert again == Reached(0, 0, 0), "what was told is not told every day"
    assert sales(world) == ["sell_left_out"]


def test_what_leaves_is_sold_as_the_customers_mode_and_target_say(world: World) -> None:
    wishes = {
        "sell_left_out": Choice(mode="harvest", number=1),
        "skip_gains_wanted": Choice(mode="realise", gain_budget_cents=None, number=1),
        "skip_year_target": Choice(target="zero", number=1),
        "sell_left_out ": Choice(target="amount", target_cents=-1_000_00, number=1),
        "skip_year_target ": Choice(target="amount", target_cents=-1_00, number=1),
    }
    affected = invested(world, len(wishes), CLEAN)
    for account, choice in zip(affected, wishes.values(), strict=True):
        choose(world, account, choice)
    make_a_loss(world)

    scandal(world)
    rescore(world)

    for account, why in zip(affected, wishes, strict=True):
        assert told(world, account) == {why.strip()}, why
        assert LEADER.security_id not in target_of(world.db, account)


def test_a_gain_leaves_only_where_the_years_target_still_wants_it(world: World) -> None:
    wishes = {
        "skip_year_target": Choice(target="zero", gain_budget_cents=None, number=1),
        "sell_left_out": Choice(
            target="amount", target_cents=1_000_00, gain_budget_cents=None, number=1
        ),
        "skip_year_target ": Choice(
            target="amount", target_cents=10_00, gain_budget_cents=None, number=1
        ),
    }
    affected = invested(world, len(wishes), CLEAN)
    for account, choice in zip(affected, wishes.values(), strict=True):
        choose(world, account, choice)
    make_a_gain(world)

    scandal(world)
    rescore(world)

    assert [told(world, account) for account in affected] == [{why.strip()} for why in wishes]


def test_a_loss_is_sold_and_another_name_takes_its_place_while_the_night_goes_on_around_it(
    world: World,
) -> None:
    (account,) = invested(world, 1, CLEAN)
    choose(world, account, Choice(mode="harvest", number=1))
    make_a_loss(world)
    make_a_loss(world, SECOND.security_id)

    scandal(world)
    rescore(world)
    # The leaver may be refused every morning; nobody waits for it to fill.
    assert harvest(world) == 1
    world.trade()
    world.next_session()
    world.trade()

    held = world.balances(account).holdings_nanos
    assert LEADER.security_id not in held
    assert held.keys() == target_of(world.db, account).keys()
    sold = "SELECT reason || security_id FROM orders WHERE side = 'sell' ORDER BY reason"
    assert column(world, sold) == [
        f"sell_harvest{SECOND.security_id}",
        f"sell_left_out{LEADER.security_id}",
    ]


def test_a_customers_own_exclusion_follows_the_new_figures(world: World) -> None:
    app = cheap_app(world)
    person, basket = investor_to_be(app)
    person.answer(activities_excluded=["oil_gas"], activity_threshold_percent=5)
    account = AccountId(person.open(basket).get_json()["id"])
    world.pay_in(account, 1_000_00)
    world.trade()
    name = next(iter(target_of(world.db, account)))
    assert name not in barred(world, person.id)

    scandal(world, symbol_of(name))
    done = rescore(world)

    assert done.customers == 1
    assert name in barred(world, person.id)
    assert name not in target_of(world.db, account)
    assert account in reached(world, name)


def test_a_joint_account_follows_what_the_scores_exclude_for_its_second_owner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sorted(invested(world, 20, CLEAN), key=lambda account: owner_of(world, account))
    shared, own = found[0], found[-1]
    second = owner_of(world, own)
    with world.db.write() as session:
        households.own_jointly(session, shared, second, 1)
    oil = {LEADER.security_id: ("never_buy", "12 % of its sales is oil.")}
    monkeypatch.setattr(
        rescoring._Run, "_wanted", lambda _run, _s, _shelf, who, _l: oil if who == second else None
    )

    scandal(world, NOBODYS)
    done = rescore(world)

    assert done == Reached(1, 2, 2)
    assert reached(world) == {shared, own}
    for account in (shared, own):
        assert LEADER.security_id not in target_of(world.db, account)


def test_keep_what_i_hold_is_kept_whatever_else_excludes_the_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, in_person, late = invested(world, 3, CLEAN)
    owners = {account: owner_of(world, account) for account in (asked, in_person, late)}
    make_a_gain(world)
    restrict(world, owners[asked], "activity", "keep")
    restrict(world, owners[in_person], "named", "keep")
    oil = {LEADER.security_id: ("never_buy", "12 % of its sales is oil.")}
    meant = {owners[asked]: oil, owners[in_person]: oil}
    monkeypatch.setattr(rescoring._Run, "_wanted", lambda _run, _s, _shelf, who, _l: meant.get(who))

    scandal(world)
    rescore(world)
    restrict(world, owners[late], "named", "keep")
    _rewrite(world, "basis_cents = 1000000")
    rescore(world)

    assert sales(world) == []
    assert told(world, late) == {"skip_gain_limit", "skip_restricted"}
    assert set(column(world, "SELECT held_choice FROM restriction")) == {"keep"}
    for account in owners:
        assert "skip_restricted" in told(world, account)
        assert LEADER.security_id not in target_of(world.db, account)


def harvested(world: World, name: int = LEADER.security_id) -> tuple[AccountId, int]:
    """Return an account that took a loss in a name, and the understudy that it holds for it."""
    (account,) = invested(world, 1, CLEAN)
    choose(world, account, Choice(mode="harvest", number=1))
    make_a_loss(world, name)
    harvest(world)
    world.trade()
    world.next_session()
    world.trade()
    (understudy,) = target_of(world.db, account).keys() - catalog().get(CLEAN).weights_ppm.keys()
    assert understudy in world.balances(account).holdings_nanos
    return account, understudy


def grow(world: World, ids: Sequence[AccountId], screen: str = "stays") -> None:
    """Turn accounts into direct sleeves of forty names that hold a member of the index as well."""
    now = to_micros(world.clock.now())
    with world.db.write() as session:
        found = accounts.sleeves(session, ids)
        for account in ids:
            (names,) = accounts.targets(session, [found[account].target_id]).values()
            more = (*names[1:], TargetWeight(names[0].security_id, names[0].weight_ppm - 1))
            target = accounts.put_target(
                session, found[account].basket_id, "grown", (*more, TargetWeight(MEMBER.id, 1)), now
            )
            accounts.grow(session, [(found[account].id, target)], now)
            row = replace(following.first_row(found[account], 40), screen=screen)
            direct.put(session, [row], now)
    for account in ids:
        order(world, account, MEMBER.id)
    world.trade()


def owner_of(world: World, account: AccountId) -> str:
    with world.db.read() as session:
        return accounts.sleeves(session, [account])[account].customer_id


def restrict(world: World, owner: str, source: str, choice: str) -> None:
    """Let a customer not want the leader, with a word about what is held of it."""
    name = LEADER.security_id
    row = StoredRestriction(f"rst_{owner}{source}", name, "never_buy", source, "No.", choice, 1)
    with world.db.write() as session:
        people.put_restrictions(session, owner, [row])


def dies(*_args: object) -> None:
    message = "the plug"
    raise OSError(message)


def order(world: World, account: AccountId, security_id: int) -> None:
    """Write an order to buy, which no window has taken yet."""
    world.pay_in(account, 10_00, "more")
    buy = Trade(security_id, Reason.BUY_UNDERWEIGHT, buy_cents=10_00)
    with world.db.write() as session:
        sleeve = accounts.sleeves(session, [account])[account]
        now = to_micros(world.clock.now())
        ordering.write(session, world.runtime.keyring, [Plan(sleeve, "more", (buy,), {})], now)


def state(world: World, account: AccountId, name: str) -> None:
    with world.db.write() as session:
        accounts.set_state(session, account, name, to_micros(world.clock.now()))


def sales(world: World) -> list[str]:
    return column(world, "SELECT reason FROM orders WHERE side = 'sell'")


def told(world: World, account: AccountId) -> set[str]:
    """Return the reasons of the account's sales and skips of the leader."""
    where = f"WHERE account_id = '{account}' AND security_id = {LEADER.security_id}"
    sold = f"SELECT reason FROM orders {where} AND side = 'sell'"
    return set(column(world, f"{sold} UNION SELECT reason FROM skip {where}"))


def scandal(
    world: World, symbol: str = LEADER.symbol, percent: str = "77", as_of: str = "2026-02-27"
) -> None:
    """Put a file to use that says 77 % of a company's revenue is oil and gas, or another figure."""
    deliver(world, [symbol], percent, as_of)


def deliver(
    world: World, symbols: Sequence[str], percent: str = "77", as_of: str = "2026-02-27"
) -> None:
    rows = [
        {
            "vendor": "rater",
            "vendor_version": "w9",
            "as_of": as_of,
            "id_type": "ticker",
            "id": symbol,
            "metric": "oil_gas",
            "value_num": percent,
            "unit": "pct_revenue",
            "scale": "percent",
            "basis": "reported",
            "quality": "2",
        }
        for symbol in symbols
    ]
    cells = [Cells(place, row) for place, row in enumerate(rows, start=2)]
    report = import_rows(cells, load_universe())
    assert report.clean
    importing.activate(world.db, world.runtime.keyring, world.clock, FIRM, report.rows)


def rescore(world: World) -> Reached:
    r = world.runtime
    on = business_date(world.clock.now())
    return rescoring.apply(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, on)


def harvest(world: World) -> int:
    r = world.runtime
    slot = business_date(world.clock.now()).isoformat()
    return harvesting.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)


def invested(world: World, count: int, basket_id: str) -> list[AccountId]:
    found = world.add_accounts(count, basket_id)
    for account in found:
        world.pay_in(account, 500_00)
    world.trade()
    return found


def choose(world: World, account: AccountId, choice: Choice) -> None:
    with world.db.write() as session:
        owner = accounts.sleeves(session, [account])[account].customer_id
        tax_profiles.choose(session, owner, choice)


def make_a_gain(world: World, security_id: int = LEADER.security_id) -> None:
    """Let the shares have cost nearly nothing, long ago."""
    _rewrite(world, "basis_cents = 1, acquired_on = '2025-11-03'", security_id)


def make_a_loss(world: World, security_id: int = LEADER.security_id) -> None:
    _rewrite(world, "acquired_on = '2025-11-03', basis_cents = basis_cents * 2", security_id)


def _rewrite(world: World, change: str, security_id: int = LEADER.security_id) -> None:
    with world.db.write() as session:
        session.connection().exec_driver_sql(
            f"UPDATE lot SET {change} WHERE security_id = {security_id}"
        )
    world.db._kept.clear()  # what is remembered of lots believes that nothing rewrites them


def target_of(db: Database, account: AccountId) -> dict[int, int]:
    with db.read() as session:
        target_id = accounts.sleeves(session, [account])[account].target_id
        return {
            one.security_id: one.weight_ppm
            for one in accounts.targets(session, [target_id])[target_id]
        }


def reached(world: World, security_id: int = LEADER.security_id) -> set[AccountId]:
    """Return the accounts with an order or a reasoned skip for what they hold of the name."""
    told = (
        f"SELECT account_id FROM orders WHERE side = 'sell' AND security_id = {security_id} "
        f"UNION SELECT account_id FROM skip WHERE security_id = {security_id} AND reason <> ''"
    )
    with world.db.read() as session:
        holders = {account for account, _ in ledger.holders(session, security_id)}
    return {AccountId(one) for one in column(world, told)} & holders


def barred(world: World, customer_id: str) -> set[int]:
    found = column(
        world, f"SELECT security_id FROM restriction WHERE customer_id = '{customer_id}'"
    )
    return {int(one) for one in found}


def symbol_of(security_id: int) -> str:
    return load_universe().by_id[security_id].symbol


def column(world: World, sql: str) -> list[Any]:
    with world.db.read() as session:
        return [row[0] for row in session.connection().exec_driver_sql(sql)]
