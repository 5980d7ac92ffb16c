"""A target that shrinks: what is held stays before what is not, and nothing new comes in."""

from collections.abc import Collection
from datetime import date

import numpy as np
import pytest

from robo.services import benchmarking
from robo.services.modelling import Model

NAMES = 60
RNG = np.random.default_rng(4)
MODEL = Model(
    id="mdl_shrinks",
    on=date(2026, 3, 2),
    fitted_on=date(2026, 3, 2),
    source="SIM",
    security_ids=np.arange(1, NAMES + 1),
    exposure=RNG.normal(0.15, 0.05, (NAMES, 3)),
    specific_variance=np.full(NAMES, 0.04),
    index=np.full(NAMES, 1 / NAMES),
    membership="",
    sectors=("",) * NAMES,
)
KEPT = range(21, 41)


def target(names: int, held: Collection[int], excluded: tuple[int, ...] = ()) -> set[int]:
    weight, count = MODEL.index[None, :], np.array([names])
    made = benchmarking.targets(MODEL, weight, count, [KEPT], [held], [excluded])
    return {one.security_id for one in made[0]}


def test_a_name_that_a_withdrawal_sold_out_is_not_bought_back() -> None:
    left = target(15, held=range(21, 37))

    assert len(left) == 15
    assert left < set(range(21, 37))


def test_names_that_wait_to_be_bought_again_stay_while_there_is_a_place() -> None:
    left = target(15, held=range(21, 31))

    assert len(left) == 15
    assert set(range(21, 31)) < left < set(KEPT)


@pytest.mark.parametrize("names", [20, 22])
def test_a_target_that_does_not_shrink_keeps_its_names_held_or_not(names: int) -> None:
    left = target(names, held=range(0))

    assert len(left) == names
    assert left >= set(KEPT)


@pytest.mark.parametrize(("names", "beyond"), [(24, range(51, 55)), (24, range(51, 61))])
def test_a_target_that_grows_takes_what_is_held_beyond_it_before_what_is_new(
    names: int, beyond: range
) -> None:
    made = target(names, held=range(1, 1), excluded=())
    held = [*KEPT, *beyond]

    left = target(names, held=held)

    assert len(left) == names
    assert set(KEPT) < left <= set(held)
    assert left != made, "else chance would have chosen what is held"


def test_a_target_that_grows_past_what_is_held_takes_new_names_too() -> None:
    left = target(26, held=[*KEPT, 51, 52, 59], excluded=(59,))

    assert len(left) == 26
    assert {*KEPT, 51, 52} < left
    assert 59 not in left


def test_what_may_not_be_bought_leaves_first() -> None:
    left = target(18, held=range(21, 41), excluded=(21, 22))

    assert left == set(range(23, 41))


def test_more_than_half_of_the_market_shrinks_alike() -> None:
    weight, count = MODEL.index[None, :], np.array([40])
    kept = [range(1, 51)]

    made = benchmarking.targets(MODEL, weight, count, kept, [range(1, 46)], [()])

    left = {one.security_id for one in made[0]}
    assert len(left) == 40
    assert left < set(range(1, 46))
