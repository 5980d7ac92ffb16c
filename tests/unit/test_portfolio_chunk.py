"""Chunks, slots and drift by hand."""

from dataclasses import replace

import numpy as np
import pytest

from robo.portfolio import drift, kernels
from robo.portfolio.chunk import AccountChunk


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def two_accounts() -> AccountChunk:
    """Account a targets securities 0 and 2 and holds 1 and 2; account b has no target."""
    return AccountChunk(
        account_ids=("acc_a", "acc_b"),
        security_ids=(11, 12, 13),
        cash_cents=ints(500, 7),
        target=ints(0, -1),
        target_indptr=ints(0, 2),
        target_security=ints(0, 2),
        target_weight_ppm=ints(400_000, 600_000),
        holding_indptr=ints(0, 2, 3),
        holding_security=ints(1, 2, 1),
        holding_nanos=ints(10**9, 2 * 10**9, 5 * 10**8),
        lot_indptr=ints(0, 1, 3, 4),
        lot_nanos=ints(10**9, 10**9, 10**9, 5 * 10**8),
        lot_basis_cents=ints(900, 100, 200, 450),
        lot_acquired_day=ints(1, 2, 3, 4),
        price_micros=ints(1_000_000, 10_000_000, 2_500_000),
    )


def test_values_and_nav_are_shares_times_prices_plus_cash() -> None:
    chunk = two_accounts()

    assert chunk.value_cents().tolist() == [1_000, 500, 500]
    assert chunk.nav_cents().tolist() == [2_000, 507]


def test_slots_hold_what_is_targeted_or_held_side_by_side() -> None:
    slots = two_accounts().slots()

    assert slots.security.tolist() == [[0, 1, 2], [1, -1, -1]]
    assert slots.weight_ppm.tolist() == [[400_000, 0, 600_000], [0, 0, 0]]
    assert slots.value_cents.tolist() == [[0, 1_000, 500], [500, 0, 0]]
    assert slots.holding_nanos.tolist() == [[0, 10**9, 2 * 10**9], [5 * 10**8, 0, 0]]


def test_taking_accounts_keeps_their_holdings_and_lots() -> None:
    taken = two_accounts().take(ints(1, 0))

    assert taken.account_ids == ("acc_b", "acc_a")
    assert taken.holding_indptr.tolist() == [0, 1, 3]
    assert taken.holding_security.tolist() == [1, 1, 2]
    assert taken.lot_indptr.tolist() == [0, 1, 2, 4]
    assert taken.lot_basis_cents.tolist() == [450, 900, 100, 200]
    assert taken.nav_cents().tolist() == [507, 2_000]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cash_cents", ints(1)),
        ("holding_indptr", ints(0, 2, 2)),
        ("holding_indptr", ints(0, 4, 3)),
        ("holding_security", ints(1, 2, 3)),
        ("target", ints(0, 1)),
        ("lot_basis_cents", ints(1, 2)),
        ("price_micros", np.array([1.0, 2.0, 3.0])),
    ],
)
def test_contradictory_arrays_are_refused(field: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must|cover"):
        replace(two_accounts(), **{field: value})


def test_a_name_held_twice_in_one_account_is_refused() -> None:
    chunk = replace(two_accounts(), holding_security=ints(1, 1, 1))

    with pytest.raises(ValueError, match="repeat"):
        chunk.slots()


def test_weights_sum_to_a_million_with_cash() -> None:
    # Thirds: 333,333 each, the odd millionth to the first column.
    got = drift.weights([[100, 100], [0, 0]], [100, 0])

    assert got.weight_ppm.tolist() == [[333_334, 333_333], [0, 0]]
    assert got.cash_ppm.tolist() == [333_333, 0]


def test_drift_is_weight_minus_target() -> None:
    got = drift.drift_ppm([[300, 100]], [500_000, 500_000])

    assert got.tolist() == [[250_000, -250_000]]


def test_weights_of_any_size_sum_to_a_million() -> None:
    rng = np.random.default_rng(1)
    values = np.floor(10 ** rng.uniform(0, 13, (100_000, 10))).astype(np.int64)

    got = drift.weights(values)

    assert (got.weight_ppm.sum(axis=1) == 1_000_000).all()
    exact = values / values.sum(axis=1, keepdims=True) * 1_000_000
    assert np.abs(got.weight_ppm - exact).max() < 1.000001


def test_warming_loads_every_kernel() -> None:
    assert kernels.warm() >= 7
