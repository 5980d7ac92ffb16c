"""Cleaning and risk on real prices: known faults are found, forecasts hold in the years after."""

import numpy as np
import pytest

from bench import _real_history as real
from bench import risk as judge
from robo.portfolio.returns import Fault

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not real.FOLDER.is_dir(), reason=real.MISSING),
]


@pytest.fixture(scope="module")
def history() -> real.History:
    loaded = real.load()
    assert loaded is not None
    return loaded


@pytest.fixture(scope="module")
def quarters(history: real.History) -> list[judge.Quarter]:
    """Return every portfolio from 2013 on, six quarters with monthly refits."""
    return list(judge.walk(history, 2013, 6, judge.fitted, step=judge.MONTH))


def test_the_known_faults_of_the_real_prices_are_found(history: real.History) -> None:
    found = {
        (history.names[one.name], str(history.days[one.session + 1]), one.fault)
        for one in history.cleaned.findings
    }

    # A misdated split; the ticker of two companies; a bad print.
    assert {
        ("IRM", "2006-02-02", Fault.SPIKE),
        ("IRM", "2006-02-03", Fault.SPIKE),
        ("FMC", "2002-01-02", Fault.SPLICE),
        ("KSU", "2000-07-13", Fault.MISMATCH),
        ("CMCSA", "2004-08-02", Fault.SPIKE),
    } <= found


def test_real_shocks_are_left_alone(history: real.History) -> None:
    dropped = {
        (history.names[one.name], str(history.days[one.session + 1]))
        for one in history.cleaned.findings
    }

    assert not dropped & {
        ("AIG", "2008-09-15"),
        ("APA", "2020-03-09"),
        ("HAL", "2001-12-07"),
        ("REGN", "2003-03-31"),
        ("COF", "2002-07-17"),
    }


def test_cleaning_costs_next_to_nothing(history: real.History) -> None:
    seen = np.isfinite(history.simple).sum()

    assert len(history.cleaned.findings) < 2e-4 * seen


@pytest.mark.parametrize("family", ["index", "sectors", "ten names", "30-150 names"])
def test_the_forecast_of_what_swings_is_right_on_average(
    quarters: list[judge.Quarter], family: str
) -> None:
    mine = [quarter for quarter in quarters if quarter.family == family]

    assert 0.9 < judge.bias(mine) < 1.2


@pytest.mark.parametrize("size", judge.SIZES)
def test_the_forecast_tracking_error_holds_in_most_quarters(
    quarters: list[judge.Quarter], size: int
) -> None:
    mine = [quarter for quarter in quarters if quarter.family.startswith(f"TE {size}")]

    alone = judge.ratios(mine, "monthly", told=False)
    told = judge.ratios(mine, "monthly")

    assert judge.inside(alone) > 0.8
    assert judge.inside(told) > 0.85
    assert 0.9 < float(np.median(told)) < 1.1


def test_a_new_listing_has_a_forecast_on_its_second_day(history: real.History) -> None:
    # Facebook's first close was on 2012-05-18.
    name = history.names.index("FB")
    session = int(np.searchsorted(history.days, np.datetime64("2012-05-21")))
    live = history.live(session)

    model = judge.fitted(history, session, live)
    place = int(np.flatnonzero(live == name)[0])
    own = float(np.sqrt(model.covariance()[place, place]))

    assert model.observations[place] == 1
    assert 0.15 < own < 0.6
