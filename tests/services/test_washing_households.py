"""What members of a household may do, what they learn of each other, and what counts as meant."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest
from wash_homes import Homes, homes

OLD = date(2025, 11, 3)
"""Long before: what was bought then is not fresh."""
TODAY = date(2026, 3, 2)
NAME = 7


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    with homes(tmp_path_factory.mktemp("homes")) as one:
        yield one


@pytest.mark.parametrize("accepts", [False, True])
def test_an_open_purchase_forbids_a_sale_at_a_loss_whatever_the_customer_accepts(
    made: Homes,
    accepts: bool,  # noqa: FBT001 - a case
) -> None:
    customer = made.person()
    seller, buyer = made.account(customer), made.account(customer)
    if accepts:
        made.accepts(customer, OLD)
    lot = made.buy(seller, NAME, OLD)
    before = made.masks(seller, TODAY).no_loss
    made.order(buyer, "buy", NAME, TODAY)

    today = made.window(seller, TODAY)
    forbidden = today.masks(seller, made.held(seller)).no_loss
    found = today.arrays(
        [seller], [NAME], np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([0, 1]), [lot]
    )

    assert before == {}
    assert set(forbidden) == {lot}
    assert found.no_loss.tolist() == [True]
    assert today.fresh_beside(seller, NAME, {lot})


def test_who_accepts_deferral_may_sell_at_a_loss_beside_what_was_bought_before(
    made: Homes,
) -> None:
    customer = made.person()
    account = made.account(customer)
    made.accepts(customer, OLD)
    made.buy(account, NAME, OLD)
    made.buy(account, NAME, date(2026, 2, 27))

    assert made.masks(account, TODAY).no_loss == {}
