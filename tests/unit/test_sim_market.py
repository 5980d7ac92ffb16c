"""The simulated market through its port: quotes, closes, actions, cache."""

import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from broker_adapters import simulated_market
from broker_adapters.market_actions import SPIN_OFF_IDS
from broker_adapters.simulated_market import SimulatedMarket
from robo.core.clock import FixedClock
from robo.core.errors import ConfigError, NotFoundError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.plugins import ListedSecurity, PluginContext
from robo.ports.prices import ActionKind

MONDAY = date(2026, 3, 2)
OPENING = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
CLOSING = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)
RENAME = ActionKind.SYMBOL_CHANGE
EVENTFUL = {"ROBO_SIM_EVENTS_PPM": "20000000"}


def _securities(count: int = 40) -> list[ListedSecurity]:
    return [
        ListedSecurity(SecurityId(i), f"T{i}", "technology", 10 ** (11 + i % 4))
        for i in range(1, count + 1)
    ]


@pytest.fixture
def end_of_2027() -> FixedClock:
    return FixedClock(datetime(2027, 12, 31, 23, 0, tzinfo=UTC))


@pytest.fixture
def market(plugin_context) -> SimulatedMarket:
    return SimulatedMarket(plugin_context(securities=_securities()))


@pytest.fixture
def eventful(plugin_context, end_of_2027: FixedClock) -> SimulatedMarket:
    """Two years in which mergers, delistings and spin-offs happen often."""
    context = plugin_context(EVENTFUL, _securities(400), clock=end_of_2027)
    return SimulatedMarket(context)


def _actions(market: SimulatedMarket, calendar: MarketCalendar, kind: ActionKind):
    return [a for day in calendar.sessions for a in market.actions(day) if a.kind is kind]


def test_the_feed_says_that_it_is_simulated(market: SimulatedMarket):
    assert market.name.startswith("SIM")
    assert market.simulated


def test_a_past_instant_always_has_the_same_quote(plugin_context, market: SimulatedMarket):
    at = datetime(2026, 2, 11, 16, 42, 7, tzinfo=UTC)
    ids = [s.id for s in _securities()]
    fresh = SimulatedMarket(plugin_context(securities=_securities()))

    assert market.quotes(ids, at) == fresh.quotes(ids, at)
    assert len(market.quotes(ids, at)) == 40
    assert {q.as_of for q in market.quotes(ids, at).values()} == {at.replace(second=0)}


def test_bid_and_ask_enclose_the_price_by_at_least_a_cent_and_more_for_small_companies(
    market: SimulatedMarket,
):
    quotes = market.quotes([s.id for s in _securities()], CLOSING - timedelta(days=4))

    widths: Counter[int] = Counter()
    for security in _securities():
        quote = quotes[security.id]
        assert quote.bid_micros < quote.price_micros < quote.ask_micros
        assert quote.ask_micros - quote.bid_micros >= 10_000
        width = (quote.ask_micros - quote.bid_micros) * 1_000_000 // quote.price_micros
        widths[security.size_cents] += width
    assert widths[10**11] > widths[10**13]


def test_outside_sessions_the_last_close_is_quoted(
    plugin_context, market: SimulatedMarket, short_calendar: MarketCalendar
):
    clock = FixedClock(datetime(2026, 6, 1, tzinfo=UTC))
    market = SimulatedMarket(plugin_context(securities=_securities(), clock=clock))
    friday = date(2026, 2, 27)
    closes = market.closes(friday)
    saturday = datetime(2026, 2, 28, 18, 0, tzinfo=UTC)

    for at in (short_calendar.closes_at(friday), saturday):
        quotes = market.quotes(list(closes), at)
        assert {i: q.price_micros for i, q in quotes.items()} == dict(closes)
        assert {q.as_of for q in quotes.values()} == {short_calendar.closes_at(friday)}


def test_the_path_of_a_day_moves_in_small_steps_and_ends_at_the_close(plugin_context):
    clock = FixedClock(datetime(2026, 6, 1, tzinfo=UTC))
    market = SimulatedMarket(plugin_context(securities=_securities(), clock=clock))
    ids = [s.id for s in _securities()]

    minutes = [market.quotes(ids, OPENING + timedelta(minutes=m)) for m in range(391)]

    for identity in ids:
        path = [quotes[identity].price_micros for quotes in minutes]
        steps = [abs(b / a - 1) for a, b in pairwise(path)]
        assert max(steps) < 0.01
        assert len(set(path)) > 20
        assert path[-1] == market.closes(MONDAY)[identity]


def test_a_half_day_ends_at_one_o_clock(plugin_context, short_calendar: MarketCalendar):
    day = date(2026, 11, 27)
    clock = FixedClock(datetime(2026, 11, 27, 18, 0, tzinfo=UTC))
    market = SimulatedMarket(plugin_context(securities=_securities(), clock=clock))

    assert day in short_calendar.half_days
    assert (
        market.quotes([SecurityId(1)], clock.now())[SecurityId(1)].price_micros
        == (market.closes(day)[SecurityId(1)])
    )


def test_the_future_is_not_told(plugin_context, fixed_clock: FixedClock):
    market = SimulatedMarket(plugin_context(securities=_securities()))
    now = market.quotes([SecurityId(1)], fixed_clock.now())

    later = market.quotes([SecurityId(1)], fixed_clock.now() + timedelta(days=30))

    assert later == now
    assert all(not market.actions(MONDAY + timedelta(days=d)) for d in range(1, 60))
    for not_yet in (MONDAY, MONDAY + timedelta(days=1)):
        with pytest.raises(NotFoundError, match="not closed"):
            market.closes(not_yet)
        with pytest.raises(NotFoundError, match="not closed"):
            market.total_returns([SecurityId(1)], not_yet, 5)
    with pytest.raises(NotFoundError, match="no session"):
        market.closes(date(2026, 3, 1))


def test_quotes_follow_the_clock_into_the_next_year(plugin_context, fixed_clock: FixedClock):
    market = SimulatedMarket(plugin_context(securities=_securities()))
    market.quotes([SecurityId(1)], fixed_clock.now())

    fixed_clock.set(datetime(2027, 5, 3, 15, 0, tzinfo=UTC))

    (quote,) = market.quotes([SecurityId(1)], fixed_clock.now()).values()
    assert quote.as_of == fixed_clock.now()


def test_names_without_a_price_are_left_out(market: SimulatedMarket, fixed_clock: FixedClock):
    assert market.quotes([SecurityId(999)], fixed_clock.now()) == {}
    assert market.total_returns([SecurityId(999)], date(2026, 2, 27), 3) == [[None]] * 3


def test_total_returns_are_closes_plus_what_was_received(
    eventful: SimulatedMarket, short_calendar: MarketCalendar
):
    days = short_calendar.sessions[100:300]
    ids = [SecurityId(i) for i in range(1, 401)]
    rows = eventful.total_returns(ids, days[-1], len(days) - 1)
    checked: Counter[ActionKind] = Counter()
    for before, day, row in zip(days, days[1:], rows, strict=False):
        last, close = eventful.closes(before), eventful.closes(day)
        actions = {a.security_id: a for a in eventful.actions(day)}
        for identity, value in zip(ids, row, strict=True):
            if identity not in last or identity not in close:
                assert value is None
                continue
            worth = float(close[identity])
            action = actions.get(identity)
            if action is not None and action.kind is ActionKind.CASH_DIVIDEND:
                worth += action.cash_micros
            elif action is not None and action.kind is ActionKind.SPLIT:
                worth *= action.ratio_num / action.ratio_den
            elif action is not None and action.kind is ActionKind.SPIN_OFF:
                worth += last[identity] * action.basis_ppm / 1e6
            if action is not None:
                checked[action.kind] += 1
            assert value == pytest.approx(worth / last[identity] - 1.0, abs=2e-6)
    print("returns checked across actions:", dict(checked))
    assert checked[ActionKind.CASH_DIVIDEND] > 100
    assert checked[ActionKind.SPLIT] >= 2
    assert checked[ActionKind.SPIN_OFF] >= 2


def test_every_kind_of_action_happens_and_ids_are_unique(
    eventful: SimulatedMarket, short_calendar: MarketCalendar
):
    actions = [a for day in short_calendar.sessions for a in eventful.actions(day)]

    kinds = Counter(a.kind for a in actions)
    assert len({a.id for a in actions}) == len(actions)
    assert set(kinds) == set(ActionKind) - {ActionKind.STOCK_MERGER}
    assert all(a.pay_on >= a.ex_on and a.pay_on.weekday() < 5 for a in actions)


def test_a_quarter_of_the_year_yield_is_paid_by_most_names(
    plugin_context, end_of_2027: FixedClock, short_calendar: MarketCalendar
):
    market = SimulatedMarket(plugin_context(securities=_securities(300), clock=end_of_2027))
    paid = _actions(market, short_calendar, ActionKind.CASH_DIVIDEND)
    price = market.closes(date(2026, 12, 31))

    payers = {a.security_id for a in paid}
    yearly: Counter[SecurityId] = Counter()
    for action in paid:
        if action.ex_on.year == 2026:
            yearly[action.security_id] += action.cash_micros
    yields = sorted(yearly[i] / price[i] for i in payers)
    # Real shares of 2019: 81 % pay, the median yields 2.0 %.
    assert 0.74 <= len(payers) / 300 <= 0.88
    assert 0.015 <= yields[len(yields) // 2] <= 0.027


def test_about_three_names_in_a_hundred_split_in_a_year(plugin_context, calendar: MarketCalendar):
    clock = FixedClock(datetime(2021, 1, 4, 23, 0, tzinfo=UTC))
    context = plugin_context(securities=_securities(500), clock=clock, calendar=calendar)
    market = SimulatedMarket(context)
    days = [d for d in calendar.sessions if d.year < 2021]

    splits = sum(
        a.kind is ActionKind.SPLIT and a.ratio_num > a.ratio_den
        for day in days
        for a in market.actions(day)
    )
    # 500 names, six years: 3 % a year would be 90.
    assert 60 <= splits <= 120


def test_a_split_divides_the_quote_before_the_opening_of_its_ex_date(
    eventful: SimulatedMarket, short_calendar: MarketCalendar
):
    split = _actions(eventful, short_calendar, ActionKind.SPLIT)[0]
    before = short_calendar.shift(split.ex_on, -1)
    midnight = short_calendar.opens_at(split.ex_on) - timedelta(hours=9)

    close = eventful.closes(before)[split.security_id]
    quote = eventful.quotes([split.security_id], midnight)[split.security_id]
    expected = close * split.ratio_den / split.ratio_num
    assert quote.price_micros == pytest.approx(expected, abs=5_001)
    assert quote.as_of == short_calendar.closes_at(before)


def test_a_merged_company_pays_its_offer_and_is_quoted_no_more(
    eventful: SimulatedMarket, short_calendar: MarketCalendar
):
    mergers = _actions(eventful, short_calendar, ActionKind.CASH_MERGER)
    for merger in mergers:
        before = short_calendar.shift(merger.ex_on, -1)
        last = eventful.closes(before)[merger.security_id]
        assert 0.98 < last / merger.cash_micros <= 1.0
        assert merger.security_id not in eventful.closes(merger.ex_on)
        opening = short_calendar.opens_at(merger.ex_on)
        for at in (opening - timedelta(hours=9), opening, opening + timedelta(days=30)):
            assert eventful.quotes([merger.security_id], at) == {}
    assert len(mergers) >= 5


def test_no_listed_name_leaves_before_the_universe_was_listed(
    plugin_context, calendar: MarketCalendar
):
    clock = FixedClock(datetime(2026, 12, 31, 23, 0, tzinfo=UTC))
    context = plugin_context(EVENTFUL, _securities(60), clock=clock, calendar=calendar)
    market = SimulatedMarket(context)

    assert {s.id for s in _securities(60)} <= set(market.closes(date(2026, 12, 31)))


def test_a_spun_off_company_is_quoted_from_its_first_day(
    eventful: SimulatedMarket, short_calendar: MarketCalendar
):
    spin = _actions(eventful, short_calendar, ActionKind.SPIN_OFF)[0]
    child = spin.new_security_id
    assert child == SPIN_OFF_IDS + spin.security_id
    midnight = short_calendar.opens_at(spin.ex_on) - timedelta(hours=9)
    last = eventful.closes(short_calendar.shift(spin.ex_on, -1))[spin.security_id]

    quotes = eventful.quotes([spin.security_id, child], midnight)
    received = quotes[child].price_micros * spin.ratio_num / spin.ratio_den
    assert quotes[spin.security_id].price_micros + received == pytest.approx(last, abs=10_000)
    assert received / last == pytest.approx(spin.basis_ppm / 1e6, abs=1e-3)
    assert child in eventful.closes(spin.ex_on)
    assert eventful.quotes([child], midnight - timedelta(days=1)) == {}


def test_a_restart_with_what_actions_made_of_the_universe_changes_nothing(
    plugin_context, end_of_2027: FixedClock, short_calendar: MarketCalendar
):
    universe = _securities(400)
    before = SimulatedMarket(plugin_context(EVENTFUL, universe, clock=end_of_2027))
    renamed = {a.security_id: a.new_symbol for a in _actions(before, short_calendar, RENAME)}
    children = [
        ListedSecurity(SecurityId(a.new_security_id), a.new_symbol, "technology", 0)
        for a in _actions(before, short_calendar, ActionKind.SPIN_OFF)
    ]
    today = [replace(s, symbol=renamed.get(s.id, s.symbol)) for s in universe] + children
    after = SimulatedMarket(plugin_context(EVENTFUL, today, clock=end_of_2027))

    assert renamed
    assert children
    for day in short_calendar.sessions[::7]:
        assert after.closes(day) == before.closes(day)
    for day in short_calendar.sessions:
        assert after.actions(day) == before.actions(day)
    cached = end_of_2027.now().year
    assert len(list(after._cache._directory.parent.glob(f"*/{cached}-*.sim"))) == 1


def test_a_halt_freezes_the_price_and_ends(plugin_context, end_of_2027: FixedClock):
    market = SimulatedMarket(plugin_context(securities=_securities(900), clock=end_of_2027))
    ids = [SecurityId(i) for i in range(1, 901)]
    frozen: dict[SecurityId, set[int]] = {}
    day_of: dict[SecurityId, date] = {}
    for day in market._sessions[:60]:
        opening = market._calendar.opens_at(day)
        for minute in range(0, 390, 30):
            quotes = market.quotes(ids, opening + timedelta(minutes=minute))
            for identity, quote in quotes.items():
                if quote.halted:
                    frozen.setdefault(identity, set()).add(quote.price_micros)
                    day_of[identity] = day
    assert frozen
    assert all(len(prices) == 1 for prices in frozen.values())
    for identity, day in day_of.items():
        after = market._calendar.closes_at(day) + timedelta(minutes=1)
        assert not market.quotes([identity], after)[identity].halted


def test_prices_come_from_the_cache_and_a_damaged_file_is_rebuilt(plugin_context):
    day = date(2026, 2, 27)
    context = plugin_context(securities=_securities())
    expected = SimulatedMarket(context).closes(day)
    (file,) = (context.state_dir / "simulated_market").glob("*/2026-*.sim")
    whole = file.read_bytes()

    for damage in (b"", whole[:100], whole[:-1], whole[:5000] + b"\0\1" + whole[5002:], b"x" * 99):
        file.write_bytes(damage)
        assert SimulatedMarket(context).closes(day) == expected
        assert file.read_bytes() == whole


def test_a_directory_that_cannot_be_written_is_no_reason_to_have_no_prices(
    plugin_context, tmp_path: Path
):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a directory should be")
    context = plugin_context(securities=_securities(), state_dir=blocked)

    assert len(SimulatedMarket(context).closes(date(2026, 2, 27))) == 40


def test_threads_that_ask_first_at_once_get_the_same_prices(plugin_context):
    market = SimulatedMarket(plugin_context(securities=_securities()))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(market.closes(date(2026, 2, 27))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert all(closes == found[0] for closes in found)


_PROCESS = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from broker_adapters.simulated_market import SimulatedMarket
from robo.core.clock import FixedClock
from robo.core.market_calendar import MarketCalendar
from robo.ports.plugins import ListedSecurity, PluginContext
days = tuple(date(2026, 1, d) for d in (5, 6, 7, 8, 9))
names = [ListedSecurity(i, f"T{i}", "technology", 10**12) for i in range(1, 50)]
clock = FixedClock(datetime(2026, 1, 12, tzinfo=UTC))
market = SimulatedMarket(PluginContext({}, clock, Path(sys.argv[1]), MarketCalendar(days), names))
print(sorted(market.closes(days[-1]).items()))
"""


def test_processes_that_start_at_once_share_one_cache(tmp_path: Path):
    children = [
        subprocess.Popen([sys.executable, "-c", _PROCESS, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = {child.communicate()[0] for child in children}

    assert len(answers) == 1
    assert [c.returncode for c in children] == [0, 0, 0]
    assert [f.suffix for f in (tmp_path / "simulated_market").glob("*/*")] == [".sim"]


@pytest.mark.parametrize(
    "settings",
    [{"ROBO_SIM_SEED": "x"}, {"ROBO_SIM_SEED": "-1"}, {"ROBO_SIM_EVENTS_PPM": "99999999999"}],
)
def test_a_wrong_setting_names_itself(plugin_context, settings: dict[str, str]):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        simulated_market.create(plugin_context(settings, _securities()))


def test_the_same_id_twice_is_refused(plugin_context):
    with pytest.raises(ConfigError, match="twice"):
        simulated_market.create(plugin_context(securities=[*_securities(3), _securities(1)[0]]))


def test_a_calendar_that_ends_before_the_epoch_is_refused(plugin_context):
    early = MarketCalendar((date(2014, 1, 2), date(2014, 1, 3)))
    with pytest.raises(ConfigError, match="begins"):
        simulated_market.create(plugin_context(securities=_securities(), calendar=early))


def test_a_universe_of_nobody_has_no_prices(plugin_context, fixed_clock: FixedClock):
    market = simulated_market.create(plugin_context())

    assert market.quotes([SecurityId(1)], fixed_clock.now()) == {}
    assert market.closes(date(2026, 2, 27)) == {}
    assert market.actions(date(2026, 2, 27)) == []


def test_the_context_is_not_asked_for_prices_it_does_not_have(plugin_context):
    context: PluginContext = plugin_context(securities=_securities())

    assert context.prices is None
    assert simulated_market.create(context).simulated
