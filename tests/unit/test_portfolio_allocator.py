"""The allocator by hand: small accounts whose answer can be checked on paper."""

import numpy as np
import pytest

from robo.core.reasons import SENTENCES, Reason
from robo.portfolio import allocator
from robo.portfolio.jit import Kernel

TENTH = [100_000] * 10


def reasons(codes) -> list[Reason]:
    return [allocator.reason_of(int(code)) for code in codes]


def test_a_hundred_dollars_into_ten_names_is_ten_dollars_each() -> None:
    got = allocator.allocate_deposit([[0] * 10], [10_000], TENTH, minimum_cents=100)

    assert got.buy_cents.tolist() == [[1_000] * 10]
    assert set(reasons(got.code[0])) == {Reason.BUY_NEW_NAME}


def test_one_dollar_buys_the_first_name_whole() -> None:
    got = allocator.allocate_deposit([[0] * 10], [100], TENTH, minimum_cents=100)

    assert got.buy_cents.tolist() == [[100] + [0] * 9]
    assert reasons(got.code[0]) == [Reason.BUY_NEW_NAME] + [Reason.SKIP_BELOW_MINIMUM] * 9


def test_five_dollars_buy_five_names_of_a_dollar() -> None:
    got = allocator.allocate_deposit([[0] * 10], [500], TENTH, minimum_cents=100)

    assert got.buy_cents.tolist() == [[100] * 5 + [0] * 5]


def test_ninety_nine_cents_are_carried_to_the_next_deposit() -> None:
    got = allocator.allocate_deposit([[0, 0]], [99], [500_000, 500_000], minimum_cents=100)

    assert got.carried_cents.tolist() == [99]
    assert reasons(got.code[0]) == [Reason.SKIP_BELOW_MINIMUM] * 2


def test_a_deposit_buys_the_most_underweight_and_leaves_the_rest_alone() -> None:
    # NAV 700 + 100: targets 400, 240, 160; gaps -100, +140, +60. Water level 50 below the gaps
    # would give 90 and 10; 10 is under the minimum of 100, so all goes to the second.
    got = allocator.allocate_deposit(
        [[500, 100, 100]], [100], [500_000, 300_000, 200_000], minimum_cents=100
    )

    assert got.buy_cents.tolist() == [[0, 100, 0]]
    assert reasons(got.code[0]) == [
        Reason.SKIP_AT_TARGET,
        Reason.BUY_UNDERWEIGHT,
        Reason.SKIP_BELOW_MINIMUM,
    ]


def test_a_name_far_from_the_water_level_is_skipped_for_lack_of_cash() -> None:
    # NAV 1200: targets 480, 480, 240; gaps 380, 80, -360; the first alone can take the dollar.
    got = allocator.allocate_deposit(
        [[100, 400, 600]], [100], [400_000, 400_000, 200_000], minimum_cents=1
    )

    assert got.buy_cents.tolist() == [[100, 0, 0]]
    assert reasons(got.code[0]) == [
        Reason.BUY_UNDERWEIGHT,
        Reason.SKIP_NO_CASH,
        Reason.SKIP_AT_TARGET,
    ]


def test_cash_goes_to_names_that_may_be_bought_even_past_their_weights() -> None:
    halted = allocator.blocked_by(Reason.SKIP_HALTED, [True, False])

    got = allocator.allocate_deposit(
        [[0, 500]], [500], [500_000, 500_000], minimum_cents=100, blocked=halted
    )

    assert got.buy_cents.tolist() == [[0, 500]]
    assert reasons(got.code[0]) == [Reason.SKIP_HALTED, Reason.BUY_UNDERWEIGHT]


def test_a_name_outside_the_target_is_never_bought() -> None:
    got = allocator.allocate_deposit([[0, 0]], [500], [0, 1_000_000], minimum_cents=100)

    assert got.buy_cents.tolist() == [[0, 500]]


def test_a_withdrawal_sells_the_most_overweight_first() -> None:
    # After it NAV is 900: targets 450 and 450; overweights 250 and -150.
    got = allocator.allocate_withdrawal([[700, 300]], [[700, 300]], [100], [500_000, 500_000])

    assert got.sell_cents.tolist() == [[100, 0]]
    assert reasons(got.code[0]) == [Reason.SELL_WITHDRAWAL, Reason.SKIP_NOT_OVERWEIGHT]


def test_unsettled_shares_are_not_sold_and_the_shortfall_is_told() -> None:
    got = allocator.allocate_withdrawal([[700, 300]], [[0, 300]], [500], [500_000, 500_000])

    assert got.sell_cents.tolist() == [[0, 300]]
    assert got.short_cents.tolist() == [200]
    assert got.close_out.tolist() == [True]
    assert reasons(got.code[0]) == [Reason.SKIP_UNSETTLED, Reason.SELL_WITHDRAWAL]


def test_a_close_out_sells_every_nanoshare() -> None:
    sold = allocator.sell_nanos([0, 5], [123, 456_789], [10**8, 10**8], everything=True)

    assert sold.tolist() == [123, 456_789]


def test_a_remainder_worth_less_than_a_cent_is_sold_too() -> None:
    # 1 share at $1 is 100 cents; keeping back 0.995 cents' worth would be dust.
    held, price = 1_000_000_000, 1_000_000

    sold = allocator.sell_nanos([99, 100, 50], [held, held - 50_000, held], [price] * 3)

    assert sold.tolist() == [990_000_000, held - 50_000, 500_000_000]


def test_every_reason_has_a_code_and_a_sentence() -> None:
    for reason in Reason:
        assert allocator.reason_of(allocator.reason_code(reason)) is reason
        assert SENTENCES[reason]


@pytest.mark.parametrize(
    ("values", "cash", "weights", "minimum"),
    [
        ([[1, 1]], [1], [500_000, 500_001], 100),
        ([[1, -1]], [1], [500_000, 500_000], 100),
        ([[1, 1]], [-1], [500_000, 500_000], 100),
        ([[1, 10**15]], [1], [500_000, 500_000], 100),
        ([[1, 1, 1]], [1], [500_000, 500_000], 100),
        ([[1, 1]], [1, 1], [500_000, 500_000], 100),
        ([[1, 1]], [1], [1_500_000, -500_000], 100),
        ([[1, 1]], [1], [500_000, 500_000], 10**6),
        ([[1, 1]], [1], [500_000, 500_000], -1),
        ([[1.5, 1.0]], [1], [500_000, 500_000], 100),
    ],
)
def test_malformed_or_oversized_accounts_are_refused(values, cash, weights, minimum) -> None:
    with pytest.raises(ValueError, match=r"must|account|minimum|differ"):
        allocator.allocate_deposit(values, cash, weights, minimum_cents=minimum)


def test_selling_more_than_is_held_is_refused() -> None:
    with pytest.raises(ValueError, match="account 0"):
        allocator.allocate_withdrawal([[5]], [[6]], [1], [1_000_000])


def test_read_only_and_unsorted_memory_is_accepted_without_compiling_again() -> None:
    values = np.zeros((4, 2), dtype=np.int64, order="F")
    values.setflags(write=False)
    cash = np.broadcast_to(np.int64(500), 4)

    got = allocator.allocate_deposit(values, cash, [500_000, 500_000], minimum_cents=100)

    assert got.buy_cents.tolist() == [[250, 250]] * 4


def test_a_kernel_compiles_where_no_cache_can_be_written(monkeypatch) -> None:
    # What a read-only install under a read-only home looks like to the compiler.
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])

    made = Kernel(lambda number: number + 1, "int64(int64)")

    assert made(41) == 42
