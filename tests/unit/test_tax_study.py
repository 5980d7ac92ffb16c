"""The tax study's own machinery: its books, its second look at wash sales, and a small walk."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench import _tax_check, _tax_plans
from bench._tax_book import Fill
from bench._tax_market import REFIT, Walk
from bench._tax_plans import Planner
from bench._tax_replays import Policy, Replay
from bench._tax_walk import Walked, go, steps
from robo.portfolio.factor_model import FactorModel
from robo.tax import rate_tables
from robo.tax.arrays import MaskArrays
from robo.tax.harvest import YearTarget

NAMES, SESSIONS = 12, 65
FIRST_DAY = 14_883  # 1 October 2010: the quarter and the year end with the last session
REPLAYS = (
    Replay(Policy.HOLD),
    Replay(Policy.OURS, "weekly", measured=True),
    Replay(Policy.OURS, "quarterly", closes=False),
    Replay(Policy.MONTHLY),
    Replay(Policy.YEARLY),
    Replay(Policy.THRESHOLD),
    Replay(Policy.FORESIGHT),
    Replay(Policy.TARGET, targets=(YearTarget.ZERO,), outside_cents=-4_000_00),
    Replay(Policy.TARGET, targets=(YearTarget.LOSS_LIMIT,)),
)


def fill(day: int, lot: int, nanos: int, cents: int, basis: int) -> Fill:
    one = [np.array([value]) for value in (0, 7, lot, nanos, cents, basis)]
    return Fill(day, *one)


@pytest.fixture(scope="module", autouse=True)
def _small_trades() -> Iterator[None]:
    """Allow trades of any size: proofs with a least size take seconds for few names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tax_plans, "TRADE_MIN_CENTS", 0)
        yield


@pytest.fixture(scope="module")
def market() -> Walk:
    """Return a year that falls and recovers, of invented prices."""
    dice = np.random.default_rng(5)
    days = [FIRST_DAY + 7 * (n // 5) + n % 5 + 3 for n in range(SESSIONS)]
    slope = np.where(np.arange(SESSIONS) < SESSIONS // 2, -0.001, 0.0015)
    moves = slope[:, None] + dice.normal(0.0, 0.02, (SESSIONS, NAMES))
    price = np.round(1e8 * np.exp(np.cumsum(moves, axis=0))).astype(np.int64)
    weight = price / price.sum(axis=1, keepdims=True)
    model = FactorModel(
        exposure=np.full((NAMES, 2), 0.1),
        specific_variance=np.full(NAMES, 0.06),
        observations=np.full(NAMES, 500),
        sessions=500,
        spikes=0,
        market_volatility=0.2,
        restlessness=(1.0, 1.0),
    )
    return Walk(
        year=2010,
        days=np.array(days),
        price_micros=price,
        dividend_micros=np.zeros_like(price),
        benchmark=weight,
        models=(model,) * (SESSIONS // REFIT + 1),
    )


@pytest.fixture(scope="module")
def walked(market: Walk) -> Walked:
    return go(market, REPLAYS, rate_tables.load(2026))


def test_a_purchase_within_thirty_days_of_a_loss_is_found_by_both_counts() -> None:
    fills = [
        fill(100, 1, 10, 1_000, 1_000),
        fill(140, 1, -10, 800, 1_000),
        fill(170, 2, 10, 900, 900),
    ]

    trades = _tax_check.by_name(fills)

    assert _tax_check.washed_by_the_letter(trades) == 1
    assert _tax_check.washed_by_units(trades) == 1


def test_shares_sold_whole_with_the_others_of_their_name_wash_nothing() -> None:
    fills = [
        fill(100, 1, 10, 1_000, 1_000),
        fill(130, 2, 10, 900, 900),
        fill(140, 1, -10, 800, 1_000),
        fill(140, 2, -10, 800, 900),
        fill(171, 3, 10, 900, 900),
    ]

    trades = _tax_check.by_name(fills)

    assert _tax_check.washed_by_the_letter(trades) == 0
    assert _tax_check.washed_by_units(trades) == 0


def test_what_is_left_of_a_young_lot_washes_what_was_sold_of_it() -> None:
    fills = [fill(130, 1, 10, 1_000, 1_000), fill(140, 1, -4, 300, 400)]

    assert _tax_check.washed_by_the_letter(_tax_check.by_name(fills)) == 1


def test_no_policy_has_a_wash_sale(walked: Walked) -> None:
    trades = _tax_check.by_name(walked.book.fills)

    assert _tax_check.washed_by_the_letter(trades) == 0
    assert _tax_check.washed_by_units(trades) == 0


def test_without_masks_the_same_walk_has_wash_sales(
    market: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_planner: Planner, book: object, _day: int) -> MaskArrays:
        lots = book.lots.id.size  # type: ignore[attr-defined] # any book
        none = np.zeros(lots, dtype=np.bool_)
        return MaskArrays(np.zeros((1, NAMES), dtype=np.uint8), none, none, none, none)

    monkeypatch.setattr(Planner, "forbidden", nothing)

    walked = go(market, (Replay(Policy.OURS),), rate_tables.load(2026))

    assert _tax_check.washed_by_the_letter(_tax_check.by_name(walked.book.fills)) > 0


def test_money_and_shares_of_a_walk_add_up(walked: Walked) -> None:
    book = walked.book
    for account in range(len(REPLAYS)):
        mine = [
            SimpleNamespace(
                nanos=one.nanos[at], cents=one.cents[at], basis=one.basis_cents[at], lot=one.lot[at]
            )
            for one in book.fills
            for at in [one.account == account]
        ]
        bought = sum(int(one.cents[one.nanos > 0].sum()) for one in mine)
        sold = sum(int(one.cents[one.nanos < 0].sum()) for one in mine)
        given_up = sum(int(one.basis[one.nanos < 0].sum()) for one in mine)
        held = book.lots.account == account
        assert book.cash_cents[account] == book.paid_in_cents[account] - bought + sold
        assert int(book.lots.basis_cents[held].sum()) == bought - given_up
        assert int(book.realised[account].sum()) == sold - given_up
        assert book.cash_cents[account] >= 0


def test_the_same_money_is_paid_in_however_often(walked: Walked) -> None:
    paid = dict(zip(REPLAYS, walked.book.paid_in_cents.tolist(), strict=True))

    assert paid[REPLAYS[1]] == paid[REPLAYS[2]] == paid[REPLAYS[3]]


def test_the_year_lands_on_its_target_where_the_lots_allow_it(walked: Walked) -> None:
    allowed = [end for end in walked.ends if end.allowed]

    assert allowed
    assert all(abs(end.missing_cents) <= 25_00 for end in allowed)


def test_plans_see_nothing_of_the_day_they_are_filled_on(market: Walk) -> None:
    first, *_ = steps(market)
    changed = market.price_micros.copy()
    changed[first.fill :] *= 3
    later = replace(market, price_micros=changed)

    made = [_first_purchases(one, first.fill) for one in (market, later)]

    assert made[0].tolist() == made[1].tolist()


def _first_purchases(market: Walk, fill_session: int) -> np.ndarray:
    book = go(market, (Replay(Policy.OURS),), rate_tables.load(2026)).book
    assert book.fills[1].day == market.days[fill_session]
    return book.fills[1].cents
