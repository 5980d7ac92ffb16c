"""Prices from files: what is read, what is refused and where, and real data where it is present."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from broker_adapters import imported_prices
from broker_adapters.imported_prices import ImportedPrices
from broker_adapters.price_files import canonical_symbol, parse_price
from robo.core.clock import FixedClock
from robo.core.errors import ConfigError, NotFoundError
from robo.core.ids import SecurityId
from robo.ports.plugins import ListedSecurity
from robo.ports.prices import ActionKind

SYMBOLS = ("AAA", "BRK.B", "CCC", "DDD", "EEE", "FFF")
SECURITIES = [
    ListedSecurity(SecurityId(i), symbol, "technology", 0) for i, symbol in enumerate(SYMBOLS, 1)
]
AAA, BRK = SecurityId(1), SecurityId(2)
LONG = "date,symbol,open,close,volume\n"
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def load(plugin_context, tmp_path: Path) -> Callable[..., ImportedPrices]:
    def factory(text: str, actions: str = "", **more: str) -> ImportedPrices:
        (tmp_path / "prices.csv").write_text(text, "utf-8")
        settings = {
            "ROBO_PRICES_FILE": str(tmp_path / "prices.csv"),
            "ROBO_PRICES_ADJUSTMENT": "raw",
            **more,
        }
        if actions:
            (tmp_path / "actions.csv").write_text(actions, "utf-8")
            settings["ROBO_ACTIONS_FILE"] = str(tmp_path / "actions.csv")
        source = imported_prices.create(plugin_context(settings, SECURITIES))
        assert isinstance(source, ImportedPrices)
        return source

    return factory


def test_a_long_file_gives_closes_and_quotes(load):
    source = load(
        LONG + "2026-02-26,AAA,1,10.5,9\n2026-02-27,BRK.B,1,500,9\n2026-02-27,AAA,1,10.25,9\n"
    )

    assert source.closes(date(2026, 2, 26)) == {AAA: 10_500_000}
    assert source.closes(date(2026, 2, 27)) == {AAA: 10_250_000, BRK: 500_000_000}
    quote = source.quotes([AAA], datetime(2026, 3, 1, tzinfo=UTC))[AAA]
    assert (quote.price_micros, quote.as_of) == (10_250_000, datetime(2026, 2, 27, 21, tzinfo=UTC))
    assert not source.simulated
    assert source.name == "IMPORTED-prices"


def test_a_wide_file_gives_the_same(load):
    source = load("date,AAA,BRK-B,unknown\n2026-02-26,10.5,,1\n2026-02-27,10.25,500,1\n")

    assert source.closes(date(2026, 2, 27)) == {AAA: 10_250_000, BRK: 500_000_000}
    assert source.closes(date(2026, 2, 26)) == {AAA: 10_500_000}
    assert source.unknown_symbols == {"unknown"}


def test_a_session_is_not_quoted_before_it_closes(load):
    source = load(LONG + "2026-02-26,AAA,1,10,9\n2026-02-27,AAA,1,11,9\n")

    midday = datetime(2026, 2, 27, 17, 0, tzinfo=UTC)
    assert source.quotes([AAA], midday)[AAA].price_micros == 10_000_000
    assert source.quotes([AAA], midday + timedelta(hours=5))[AAA].price_micros == 11_000_000
    assert source.quotes([AAA], datetime(2026, 2, 26, 17, 0, tzinfo=UTC)) == {}


def test_a_name_that_left_the_file_has_no_quote_after_ten_days(load):
    source = load(LONG + "2026-02-10,AAA,1,10,9\n")

    assert source.quotes([AAA], datetime(2026, 2, 20, 12, 0, tzinfo=UTC))
    assert source.quotes([AAA], datetime(2026, 2, 21, 23, 0, tzinfo=UTC)) == {}


def test_a_day_that_is_missing_or_not_closed_yet_is_not_found(load):
    source = load(LONG + "2026-02-27,AAA,1,10,9\n2026-03-02,AAA,1,10,9\n")

    for day in (date(2026, 2, 26), date(2026, 3, 2)):
        with pytest.raises(NotFoundError):
            source.closes(day)
        with pytest.raises(NotFoundError):
            source.total_returns([AAA], day, 1)


@pytest.mark.parametrize("symbol", ["BRK.B", "BRK-B", "BRK/B", "brk.b", " BRK B "])
def test_every_notation_of_a_share_class_is_one_symbol(symbol: str):
    assert canonical_symbol(symbol) == "BRK.B"


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("12.34", 12_340_000),
        ("1\u00a0234.5", 1_234_500_000),
        ("\u202f7", 7_000_000),
        ("1e2", 100_000_000),
        ("0.0000001", 1),
        ("", None),
        ("NaN", None),
        ("n/a", None),
    ],
)
def test_numbers_as_vendors_write_them(text: str, micros: int | None):
    assert parse_price(text) == micros


@pytest.mark.parametrize("text", ["\u22125", "-5", "0", "inf", "1e400", "5,5", "abc", "\u0665x"])
def test_what_is_no_price_is_refused(text: str):
    with pytest.raises(ValueError, match="is no"):
        parse_price(text)


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('{"Note": "limit reached"}\n', "line 1", "error page"),
        ("<html>\n", "line 1", "error page"),
        ("", "line 1", "error page"),
        ("date,AAA,AAA\n", "line 1", "twice"),
        (LONG + "2026-02-27,AAA,1,10,9\n2026-02-27,AAA,1,10,9\n", "line 3", "twice"),
        ("date,AAA\n2026-02-27,10\n2026-02-27,10\n", "line 3", "twice"),
        ("date,BRK.B,BRK-B\n2026-02-27,10,11\n", "line 2", "twice"),
        (LONG + "2026-02-28,AAA,1,10,9\n", "line 2", "no trading session"),
        (LONG + "2026-02-16,AAA,1,10,9\n", "line 2", "no trading session"),
        (LONG + "2026-02-27 10:00:00,AAA,1,10,9\n", "line 2", "no date"),
        (LONG + "27.02.2026,AAA,1,10,9\n", "line 2", "no date"),
        (LONG + "2031-02-27,AAA,1,10,9\n", "line 2", "beyond the calendar"),
        (LONG + "2026-02-27,AAA,1,\u22125,9\n", "line 2", "no possible price"),
        (LONG + "2026-02-27,AAA,1,ten,9\n", "line 2", "no number"),
        (LONG + "2026-02-27,AAA,1\n", "line 2", "3 cells under 5 columns"),
        ("date,symbol,price\n2026-02-27,AAA,1\n", "line 2", "needs a close column"),
        ("date,symbol,close,currency\n2026-02-27,AAA,1,EUR\n", "line 2", "EUR is not USD"),
    ],
)
def test_a_fault_is_named_with_its_line(load, text: str, place: str, what: str):
    with pytest.raises(ConfigError) as caught:
        load(text)

    assert place in caught.value.detail
    assert what in caught.value.detail
    assert caught.value.code == "bad_price_file"


def test_all_faults_are_reported_at_once(load):
    rows = "".join(f"2026-02-27,AAA,1,bad{i},9\n" for i in range(30))
    with pytest.raises(ConfigError, match="and 10 more"):
        load(LONG + rows)


def test_a_file_without_any_known_name_is_refused(load):
    with pytest.raises(ConfigError, match="no row"):
        load(LONG + "2026-02-27,QQQ,1,10,9\n")


def test_a_session_that_repeats_the_one_before_is_stale(load):
    header = "date," + ",".join(SYMBOLS) + "\n"
    with pytest.raises(ConfigError, match=r"6 of 6 closes repeat those of 2026-02-25: stale"):
        load(header + "2026-02-25,1,2,3,4,5,6\n2026-02-26,1,2,3,4,5,6\n2026-02-27,2,3,4,5,6,7\n")


def test_a_jump_like_a_split_without_a_split_is_refused(load):
    prices = LONG + "2026-02-26,AAA,1,100,9\n2026-02-27,AAA,1,50.4,9\n"
    split = "ex_date,type,symbol,ratio\n2026-02-27,stock_split,AAA,2\n"

    with pytest.raises(ConfigError, match=r"AAA moves by -49\.6% like a split"):
        load(prices)
    assert load(prices, ROBO_PRICES_JUMPS="allow").closes(date(2026, 2, 27))
    assert load(prices, ROBO_PRICES_ADJUSTMENT="total_return").closes(date(2026, 2, 27))
    ((value,),) = load(prices, split).total_returns([AAA], date(2026, 2, 27), 1)
    assert value == pytest.approx(2 * 50.4 / 100 - 1)


def test_a_split_that_the_prices_show_a_day_late_is_a_lag(load):
    prices = LONG + "2026-02-25,AAA,1,100,9\n2026-02-26,AAA,1,101,9\n2026-02-27,AAA,1,50,9\n"
    split = "ex_date,type,symbol,ratio\n2026-02-26,stock_split,AAA,2\n"

    with pytest.raises(ConfigError, match="AAA jumps on 2026-02-27, its split is dated 2026-02-26"):
        load(prices, split)


def test_actions_are_told_on_their_ex_date_and_returns_contain_them(load):
    source = load(
        LONG + "2026-02-26,AAA,1,100,9\n2026-02-27,AAA,1,99,9\n",
        "ex_date,type,symbol,cash,pay_date\n2026-02-27,cash_dividend,aaa,1.5,2026-03-16\n",
    )

    (action,) = source.actions(date(2026, 2, 27))
    assert (action.kind, action.cash_micros) == (ActionKind.CASH_DIVIDEND, 1_500_000)
    assert action.pay_on == date(2026, 3, 16)
    ((value,),) = source.total_returns([AAA], date(2026, 2, 27), 1)
    assert value == pytest.approx((99 + 1.5) / 100 - 1)
    before_opening = datetime(2026, 2, 27, 12, 0, tzinfo=UTC)
    assert source.quotes([AAA], before_opening)[AAA].price_micros == 98_500_000


def test_a_split_halves_the_last_quote_before_the_opening(load):
    source = load(
        LONG + "2026-02-26,AAA,1,100,9\n2026-02-27,AAA,1,51,9\n",
        "ex_date,type,symbol,ratio\n2026-02-27,stock_split,AAA,2:1\n",
    )

    before_opening = datetime(2026, 2, 27, 12, 0, tzinfo=UTC)
    assert source.quotes([AAA], before_opening)[AAA].price_micros == 50_000_000


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("2026-02-27,explosion,AAA,,,,", "is none of"),
        ("2026-02-27,stock_split,AAA,,,,", "ratio is missing"),
        ("2026-02-27,stock_split,AAA,0,,,", "no possible ratio"),
        ("2026-02-27,stock_split,AAA,1/0,,,", "no ratio like"),
        ("2026-02-27,cash_dividend,AAA,,,,", "needs cash"),
        ("2026-02-27,cash_dividend,AAA,,-1,,", "no possible price"),
        ("someday,cash_dividend,AAA,,1,,", "no date"),
        ("2026-02-27,cash_dividend,AAA,,1,EUR,", "not USD"),
        ("2026-02-27,spin_off,AAA,1/4,,,1.5", "between 0 and 1"),
    ],
)
def test_a_fault_in_the_actions_is_named_with_its_line(load, row: str, what: str):
    header = "ex_date,type,symbol,ratio,cash,currency,basis_allocation\n"
    with pytest.raises(ConfigError) as caught:
        load(LONG + "2026-02-27,AAA,1,99,9\n", header + row + "\n")
    assert what in caught.value.detail
    assert "line 2" in caught.value.detail
    assert caught.value.code == "bad_actions_file"


def test_every_type_of_action_is_understood(load):
    header = "ex_date,type,symbol,new_symbol,ratio,cash,basis_allocation\n"
    rows = [
        "2026-02-27,cash_dividend,AAA,,,1,",
        "2026-02-27,reverse_split,BRK/B,,1/10,,",
        "2026-02-27,spin_off,CCC,EEE,0.25,,0.125",
        "2026-02-27,cash_merger,DDD,,,25,",
        "2026-02-27,stock_merger,EEE,AAA,1.5,,",
        "2026-02-27,name_change,FFF,GGG,,,",
        "2026-02-27,stock_dividend,FFF,,1.05,,",
        "2026-02-27,delisting,AAA,,,0.5,",
        "2026-02-27,delisting,NOBODY,,,0.5,",
    ]
    source = load(LONG + "2026-02-27,AAA,1,99,9\n", header + "\n".join(rows))

    found = {(a.kind, a.security_id): a for a in source.actions(date(2026, 2, 27))}
    assert len(found) == 8
    spin = found[ActionKind.SPIN_OFF, SecurityId(3)]
    assert (spin.ratio_num, spin.ratio_den, spin.basis_ppm) == (1, 4, 125_000)
    assert spin.new_security_id == SecurityId(5)
    reverse = found[ActionKind.SPLIT, BRK]
    assert (reverse.ratio_num, reverse.ratio_den) == (1, 10)
    renamed = found[ActionKind.SYMBOL_CHANGE, SecurityId(6)]
    assert (renamed.new_symbol, renamed.new_security_id) == ("GGG", None)


@pytest.mark.parametrize(
    ("adjustment", "row"),
    [
        ("split", "2026-02-27,stock_split,AAA,2,"),
        ("total_return", "2026-02-27,cash_dividend,AAA,,1"),
        ("total_return", "2026-02-27,stock_split,AAA,2,"),
    ],
)
def test_actions_that_are_in_the_prices_already_are_refused(load, adjustment: str, row: str):
    with pytest.raises(ConfigError, match="already contain"):
        load(
            LONG + "2026-02-27,AAA,1,99,9\n",
            "ex_date,type,symbol,ratio,cash\n" + row + "\n",
            ROBO_PRICES_ADJUSTMENT=adjustment,
        )


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "ROBO_PRICES_FILE"),
        ({"ROBO_PRICES_FILE": "/no/such.csv"}, "ROBO_PRICES_ADJUSTMENT"),
        (
            {"ROBO_PRICES_FILE": "/no/such.csv", "ROBO_PRICES_ADJUSTMENT": "raw"},
            "cannot be read",
        ),
    ],
)
def test_what_is_missing_is_named(plugin_context, settings: dict[str, str], what: str):
    with pytest.raises(ConfigError, match=what):
        imported_prices.create(plugin_context(settings, SECURITIES))


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="real prices are not beside the checkout")
def test_real_raw_closes_with_real_actions_give_the_vendors_adjusted_returns(
    plugin_context, make_calendar, tmp_path: Path
):
    from pyarrow import csv, parquet

    names = ["AAPL", "MSFT", "JNJ", "KO", "JPM", "XOM", "NVDA", "GE", "date"]
    raw = parquet.read_table(SHARED / "close_raw_wide.parquet", columns=names)
    adjusted = parquet.read_table(SHARED / "adj_close_wide.parquet", columns=names)
    parquet.write_table(raw, tmp_path / "raw.parquet")
    lines = ["ex_date,type,symbol,ratio,cash"]
    lines += [
        f"{row['ex_date']},cash_dividend,{row['ticker']},,{row['dividend']}"
        for row in csv.read_csv(SHARED / "dividends.csv").to_pylist()
        if row["ticker"] in names
    ]
    lines += [
        f"{row['ex_date']},stock_split,{row['ticker']},{row['split_factor']},"
        for row in csv.read_csv(SHARED / "splits.csv").to_pylist()
        if row["ticker"] in names
    ]
    (tmp_path / "actions.csv").write_text("\n".join(lines))
    days = [day.date() for day in raw["date"].to_pylist()]
    sessions = make_calendar("1999-11-01", "2021-04-30")
    settings = {
        "ROBO_PRICES_FILE": str(tmp_path / "raw.parquet"),
        "ROBO_PRICES_ADJUSTMENT": "raw",
        "ROBO_ACTIONS_FILE": str(tmp_path / "actions.csv"),
    }
    securities = [ListedSecurity(SecurityId(i), s, "", 0) for i, s in enumerate(names[:-1], 1)]
    clock = FixedClock(datetime(2021, 5, 1, tzinfo=UTC))
    source = imported_prices.create(
        plugin_context(settings, securities, clock=clock, calendar=sessions)
    )

    rows = source.total_returns([s.id for s in securities], days[-1], len(days) - 1)
    mine = np.array(rows, dtype=np.float64)
    levels = np.column_stack([adjusted[name].to_numpy() for name in names[:-1]])
    theirs = levels[1:] / levels[:-1] - 1.0
    error = np.abs(mine - theirs)
    print(f"{error.size} returns, {len(lines) - 1} actions, largest difference {error.max():.1e}")
    # The vendor states some split factors to seven digits only.
    assert error.max() < 5e-6
    assert np.median(error) < 1e-10
