"""Which lots a withdrawal sells, by the method in its customer's tax profile."""

from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import cast

import pytest
from wash_homes import SHARE, Homes, homes

from robo.core.ids import AccountId
from robo.services.picking import Picks, as_told
from robo.services.taxing.profiles import Told
from robo.services.taxing.standings import Standing
from robo.tax.rate_tables import FilingStatus
from robo.tax.rates import Rates
from robo.tax.selection import LotMethod

NAME, TODAY = 7, date(2026, 3, 2)
OLDEST, OLD, LATER = date(2024, 1, 8), date(2025, 9, 2), date(2025, 9, 15)
"""Long-term, and short-term twice."""
PRICE = 100_000_000
"""$100 a share."""


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    with homes(tmp_path_factory.mktemp("methods")) as one:
        yield one


def standing(method: LotMethod) -> Standing:
    told = Told(FilingStatus.SINGLE, 1, 1, lot_method=method)
    return cast("Standing", SimpleNamespace(told=told, rates=Rates(370_000, 200_000, 370_000)))


def picked(made: Homes, account: AccountId, method: LotMethod, nanos: int) -> Picks:
    pick = as_told(made.window(account, TODAY), standing(method), account)
    return pick(made.held(account), nanos, PRICE)


def test_each_method_names_its_own_lots_whole_ones_first(made: Homes) -> None:
    account = made.account(made.person())
    first = made.buy(account, NAME, OLDEST, 5_000)
    dearest = made.buy(account, NAME, OLD, 9_000)
    short = made.buy(account, NAME, LATER, 7_000)
    half = SHARE // 2

    found = {method: picked(made, account, method, SHARE + half) for method in LotMethod}

    assert found == {
        LotMethod.FIFO: ((first, SHARE), (dearest, half)),
        LotMethod.HIFO: ((dearest, SHARE), (short, half)),
        # A gain of 10 at 37 %, then 50 at 20 %, which is less than 30 at 37 %.
        LotMethod.LOWEST_TAX: ((dearest, SHARE), (first, half)),
    }


def test_the_dearest_are_so_after_wash_sales_and_the_oldest_by_their_own_purchase(
    made: Homes,
) -> None:
    """A loss of 80 goes to shares that cost 45: they stand at 125, held since long before."""
    account = made.account(made.person())
    lost = made.buy(account, NAME, OLDEST, 16_000)
    plain = made.buy(account, NAME, date(2025, 7, 1), 12_000)
    made.sell(account, lost, LATER, 8_000, "sell_withdrawal")
    replaced = made.buy(account, NAME, date(2025, 9, 16), 4_500)

    oldest = picked(made, account, LotMethod.FIFO, SHARE)
    dearest = picked(made, account, LotMethod.HIFO, SHARE)

    assert oldest == ((plain, SHARE),)
    assert dearest == ((replaced, SHARE),)


def test_an_ira_sells_the_oldest_whatever_was_told(made: Homes) -> None:
    account = made.account(made.person(), "roth_ira")
    made.buy(account, NAME, OLDEST, 5_000)

    assert picked(made, account, LotMethod.HIFO, SHARE) == ()


def test_what_was_kept_before_there_was_a_choice_means_least_tax() -> None:
    raw = Told(FilingStatus.SINGLE, 1, 1, lot_method=LotMethod.FIFO).to_raw()

    assert Told.from_raw(raw).lot_method is LotMethod.FIFO
    del raw["lot_method"]
    assert Told.from_raw(raw).lot_method is LotMethod.LOWEST_TAX
