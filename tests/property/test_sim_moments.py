"""The simulated market behaves like the real one, and its past never changes."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from broker_adapters.market_model import SECTORS
from broker_adapters.simulated_market import SimulatedMarket
from robo.core.clock import FixedClock
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.plugins import ListedSecurity, PluginContext

# How many names of each sector the real moments were measured on, scaled up to about 500.
_COUNTS = (60, 64, 38, 84, 37, 76, 23, 35, 52, 16, 15)
_LAST = date(2024, 12, 31)


def _universe() -> list[ListedSecurity]:
    out: list[ListedSecurity] = []
    for (sector, *_), count in zip(SECTORS, _COUNTS, strict=True):
        for _ in range(count):
            identity = SecurityId(len(out) + 1)
            size = 10 ** (11 + (identity % 7) // 2)
            out.append(ListedSecurity(identity, f"T{identity}", sector, size))
    return out


def _market(
    directory: Path,
    calendar: MarketCalendar,
    securities: list[ListedSecurity],
    settings: dict[str, str] | None = None,
) -> SimulatedMarket:
    clock = FixedClock(datetime(2027, 12, 31, 23, 0, tzinfo=UTC))
    context = PluginContext(settings or {}, clock, directory, calendar, securities)
    return SimulatedMarket(context)


@pytest.fixture(scope="module")
def returns(tmp_path_factory: pytest.TempPathFactory, calendar: MarketCalendar) -> np.ndarray:
    """Total returns of 500 names over the ten years from 2015 to 2024, as the port gives them."""
    universe = _universe()
    market = _market(tmp_path_factory.mktemp("sim"), calendar, universe)
    rows = market.total_returns([s.id for s in universe], _LAST, 2_510)
    return np.array(rows[1:], dtype=np.float64)


def _kurtosis(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    return (centred**4).mean(axis=0) / (centred**2).mean(axis=0) ** 2 - 3.0


def _echo(values: np.ndarray, lag: int) -> float:
    """Autocorrelation of absolute values."""
    size = np.abs(values) - np.abs(values).mean()
    return float((size[lag:] * size[:-lag]).mean() / (size**2).mean())


def test_the_moments_lie_near_those_of_large_us_companies(returns: np.ndarray):
    assert np.isfinite(returns).all()
    names = returns.shape[1]
    correlation = (np.corrcoef(returns.T).sum() - names) / (names * (names - 1))
    market = returns.mean(axis=1)
    share = np.linalg.eigvalsh(np.cov(returns.T))[::-1]
    beta = np.array([np.cov(column, market)[0, 1] for column in returns.T]) / market.var()
    # name: (measured here, real figure of 2011 to 2019, lowest, highest accepted)
    table = {
        "average correlation": (correlation, 0.345, 0.28, 0.42),
        "median volatility": (np.median(returns.std(axis=0)) * 252**0.5, 0.246, 0.20, 0.28),
        "first component": (share[0] / share.sum(), 0.359, 0.29, 0.44),
        "market volatility": (market.std() * 252**0.5, 0.148, 0.11, 0.185),
        "median kurtosis": (np.median(_kurtosis(returns)), 5.9, 3.5, 9.0),
        "echo of |market|, lag 1": (_echo(market, 1), 0.23, 0.08, 0.33),
        "echo of |market|, lag 20": (_echo(market, 20), 0.13, 0.03, 0.22),
        "spread of beta": (beta.std(), 0.30, 0.22, 0.38),
        "mean market return": (market.mean() * 252, 0.07, -0.03, 0.17),
    }
    for what, (found, real, low, high) in table.items():
        print(f"{what:28s} {found:7.3f}   real {real:6.3f}   accepted {low} to {high}")
        assert low <= found <= high, what


def test_a_longer_calendar_changes_no_earlier_price(tmp_path: Path, calendar: MarketCalendar):
    universe = _universe()[:60]
    short = MarketCalendar(
        tuple(d for d in calendar.sessions if d <= date(2016, 8, 17)), calendar.half_days
    )
    longer = _market(tmp_path / "long", calendar, universe)
    cut = _market(tmp_path / "short", short, universe)

    for day in (short.sessions[0], date(2015, 12, 31), date(2016, 1, 4), short.sessions[-1]):
        assert longer.closes(day) == cut.closes(day)
    for day in short.sessions:
        assert longer.actions(day) == cut.actions(day)


def test_more_names_change_no_price_of_the_others(tmp_path: Path, calendar: MarketCalendar):
    everybody = _universe()
    few = everybody[3:400:9]
    settings = {"ROBO_SIM_EVENTS_PPM": "20000000"}
    large = _market(tmp_path / "large", calendar, [*everybody, _stranger()], settings)
    small = _market(tmp_path / "small", calendar, list(reversed(few)), settings)

    for day in (date(2015, 1, 2), date(2017, 6, 1), date(2018, 12, 31)):
        theirs = large.closes(day)
        assert all(theirs[identity] == price for identity, price in small.closes(day).items())
    ids = {s.id for s in few}
    at = datetime(2018, 6, 1, 17, 3, tzinfo=UTC)
    assert small.quotes(sorted(ids), at) == large.quotes(sorted(ids), at)
    for day in (d for d in calendar.sessions if d.year == 2018):
        mine = {a.id: a for a in small.actions(day)}
        theirs_too = {a.id: a for a in large.actions(day) if a.security_id in ids}
        assert mine.items() >= theirs_too.items()


def _stranger() -> ListedSecurity:
    """A name whose id lies far from all others."""
    return ListedSecurity(SecurityId(77_777_777), "FAR", "energy", 10**12)


def test_another_seed_is_another_market(tmp_path: Path, calendar: MarketCalendar):
    universe = _universe()[:20]
    day = date(2015, 3, 2)

    one = _market(tmp_path, calendar, universe, {"ROBO_SIM_SEED": "1"}).closes(day)
    two = _market(tmp_path, calendar, universe, {"ROBO_SIM_SEED": "2"}).closes(day)

    assert sum(one[i] != two[i] for i in one) > 15


def test_a_change_of_symbol_in_the_universe_moves_no_price(
    tmp_path: Path, calendar: MarketCalendar
):
    universe = _universe()[:20]
    renamed = [replace(universe[0], symbol="OTHER"), *universe[1:]]
    day = date(2015, 3, 2)

    assert _market(tmp_path, calendar, universe).closes(day) == (
        _market(tmp_path, calendar, renamed).closes(day)
    )
