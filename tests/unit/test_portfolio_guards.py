"""Guards over arrays: each reason where it applies, and the first that applies."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robo.core.reasons import SENTENCES, Reason
from robo.portfolio import guards
from robo.portfolio.allocator import reason_of
from robo.portfolio.guards import Market

PRICE = 100_000_000


def names(
    price: int = PRICE,
    mark: int = PRICE,
    age: int = 0,
    *,
    halted: bool = False,
    market: Market | None = None,
) -> str:
    codes = guards.name_codes([price], [mark], [age], [halted], market or Market(), 250_000)
    (code,) = codes.tolist()
    return reason_of(code).value if code else ""


def test_nothing_speaks_against_a_fresh_price_near_its_mark() -> None:
    assert names() == ""
    assert names(mark=0) == ""


def test_each_reason_of_a_name_and_of_the_market() -> None:
    assert names(price=0) == "wait_no_price"
    assert names(halted=True) == "wait_halted"
    assert names(age=901, market=Market(age_seconds_max=900)) == "wait_stale_price"
    assert names(age=900, market=Market(age_seconds_max=900)) == ""
    assert names(market=Market(closed=True)) == "wait_market_closed"
    assert names(market=Market(cut_off=True)) == "wait_cut_off"
    assert names(price=0, market=Market(closed=True)) == "wait_market_closed"


def test_the_collar_is_a_part_of_the_mark_both_ways_and_inclusive() -> None:
    assert [names(price=p) for p in (75_000_000, 125_000_000)] == ["", ""]
    assert {names(price=p) for p in (74_999_999, 125_000_001)} == {"wait_collar"}


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(0, 1_000_000))
def test_the_collar_is_exact_for_every_price(price: int, mark: int, collar: int) -> None:
    codes = guards.name_codes([price], [mark], [0], [False], Market(), collar)

    # Python's integers do not wrap; the limit is rounded down to a micro-dollar.
    assert bool(codes[0]) == (abs(price - mark) > mark * collar // 1_000_000)


def orders(cents: list[int], account: list[int], same: list[int], **more: object) -> list[str]:
    day = more.get("day", [0] * (max(account) + 1))
    value = more.get("value", [0] * (max(account) + 1))
    codes = guards.order_codes(
        cents,
        account,
        same,
        day,  # type: ignore[arg-type]
        value,  # type: ignore[arg-type]
        order_cents_max=1_000,
        same_orders_max=2,
        turnover_ppm_max=2_000_000,
    )
    return [reason_of(code).value if code else "" for code in codes.tolist()]


def test_an_order_may_be_as_large_as_the_limit() -> None:
    assert orders([1_000, 1_001], [0, 1], [0, 1]) == ["", "refuse_notional"]


def test_the_third_of_the_same_orders_is_a_plan_made_twice_wherever_it_stands() -> None:
    assert orders([5] * 5, [0, 1, 0, 0, 0], [7, 3, 7, 7, 7]) == [
        "",
        "",
        "",
        "refuse_duplicate",
        "refuse_duplicate",
    ]


def test_an_account_may_trade_twice_its_value_a_day_and_what_came_before_counts() -> None:
    # Worth 100: 200 may be traded; 150 was, so 50 fits and the next does not.
    assert orders([50, 1], [0, 0], [0, 1], day=[150], value=[100]) == ["", "refuse_turnover"]
    assert orders([900], [0], [0], day=[0], value=[0]) == [""]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), min_size=1, max_size=40))
def test_running_sums_and_ranks_are_what_a_loop_says(rows: list[tuple[int, int]]) -> None:
    account = np.array([a for a, _ in rows])
    cents = np.array([c for _, c in rows])

    running, rank = guards._running(cents, account, 5), guards._rank(account)

    for place in range(len(rows)):
        before = account[: place + 1] == account[place]
        assert running[place] == cents[: place + 1][before].sum()
        assert rank[place] == before.sum() - 1


def test_every_reason_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
