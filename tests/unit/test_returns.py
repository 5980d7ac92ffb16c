"""What is wrong with prices is found, dropped and reported; what is merely wild stays."""

import numpy as np
import pytest

from robo.portfolio.returns import Fault, clean_returns

SESSIONS, NAMES = 200, 12


def calm_prices(seed: int = 7) -> np.ndarray:
    """Return closes of names that move by 1 % a day."""
    rng = np.random.default_rng(seed)
    return 50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, (SESSIONS, NAMES)), axis=0))


def found(cleaned) -> set[tuple[int, int, Fault]]:
    return {(finding.name, finding.session, finding.fault) for finding in cleaned.findings}


def test_good_prices_give_every_return_and_no_finding() -> None:
    price = calm_prices()

    cleaned = clean_returns(price)

    assert cleaned.findings == ()
    assert cleaned.simple == pytest.approx(price[1:] / price[:-1] - 1)


def test_before_a_listing_there_is_nothing_to_report() -> None:
    price = calm_prices()
    price[:80, 2] = np.nan
    price[150:, 3] = np.nan

    cleaned = clean_returns(price)

    assert cleaned.findings == ()
    assert np.isnan(cleaned.simple[:80, 2]).all()
    assert np.isfinite(cleaned.simple[80:, 2]).all()
    assert np.isnan(cleaned.simple[149:, 3]).all()


def test_a_gap_costs_the_return_over_it() -> None:
    price = calm_prices()
    price[100:103, 4] = np.nan

    cleaned = clean_returns(price)

    assert found(cleaned) == {(4, session, Fault.GAP) for session in (99, 100, 101, 102)}


@pytest.mark.parametrize("close", [0.0, -5.0, np.inf])
def test_what_is_not_a_price_is_not_used(close: float) -> None:
    price = calm_prices()
    price[100, 4] = close

    cleaned = clean_returns(price)

    assert found(cleaned) == {(4, session, Fault.NOT_A_PRICE) for session in (99, 100)}
    assert np.isnan(cleaned.simple[99:101, 4]).all()


def test_a_close_that_stands_still_for_a_week_is_stale_with_the_jump_that_ends_it() -> None:
    price = calm_prices()
    price[101:106, 5] = price[100, 5]

    cleaned = clean_returns(price)

    assert found(cleaned) == {(5, session, Fault.STALE) for session in range(100, 106)}


def test_four_equal_closes_are_chance() -> None:
    price = calm_prices()
    price[101:105, 5] = price[100, 5]

    assert clean_returns(price).findings == ()


def test_a_stale_feed_that_never_moves_again_is_dropped_to_the_end() -> None:
    price = calm_prices()
    price[150:, 5] = price[150, 5]

    cleaned = clean_returns(price)

    assert found(cleaned) == {(5, session, Fault.STALE) for session in range(150, 199)}


def test_a_bad_print_is_dropped_on_both_sides() -> None:
    price = calm_prices()
    price[120, 6] *= 0.6

    assert found(clean_returns(price)) == {(6, 119, Fault.SPIKE), (6, 120, Fault.SPIKE)}


def test_a_crash_that_all_names_share_is_no_bad_print() -> None:
    price = calm_prices()
    price[120] *= 0.75

    assert clean_returns(price).findings == ()


def test_a_fall_that_stays_with_unrest_after_it_is_real() -> None:
    price = calm_prices()
    rng = np.random.default_rng(1)
    price[120:, 6] *= 0.4 * np.exp(np.cumsum(rng.normal(0, 0.05, SESSIONS - 120)))

    assert clean_returns(price).findings == ()


def test_a_level_that_moves_amid_calm_is_another_company_or_a_split() -> None:
    price = calm_prices()
    price[120:, 6] /= 2.1

    assert found(clean_returns(price)) == {(6, 119, Fault.SPLICE)}


def test_the_first_days_of_a_listing_may_belong_to_another_company() -> None:
    price = calm_prices()
    price[:60, 6] = np.nan
    price[62:, 6] /= 3.0

    assert found(clean_returns(price)) == {(6, 61, Fault.SPLICE)}


def test_a_split_booked_on_the_wrong_day_contradicts_the_raw_close() -> None:
    raw = calm_prices()
    adjusted = raw.copy()
    adjusted[120:, 7] *= 1.5

    cleaned = clean_returns(adjusted, raw)

    assert found(cleaned) == {(7, 119, Fault.MISMATCH)}
    assert cleaned.count()[Fault.MISMATCH] == 1


def test_a_split_booked_on_its_day_is_nothing() -> None:
    adjusted = calm_prices()
    raw = adjusted.copy()
    raw[:120, 7] *= 2.0

    assert clean_returns(adjusted, raw).findings == ()


@pytest.mark.parametrize("shape", [(5,), (1, 4), (2, 3, 4)])
def test_prices_that_are_no_table_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="adjusted"):
        clean_returns(np.ones(shape))


def test_raw_closes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="raw"):
        clean_returns(np.ones((5, 3)), np.ones((5, 2)))
