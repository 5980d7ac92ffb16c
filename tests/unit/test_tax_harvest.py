"""What a dollar sold costs in tax, which losses are worth taking, and the year's target."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from robo.core.ids import LotId, SecurityId
from robo.tax.gains import Net
from robo.tax.harvest import (
    Masks,
    Mode,
    YearTarget,
    harvests,
    tax_per_dollar,
    to_target_cents,
    waits,
)
from robo.tax.lots import Lot
from robo.tax.rate_tables import FilingStatus, load
from robo.tax.rates import Rates, TaxProfile

RATES = Rates(370_000, 200_000, 350_000)
TODAY = date(2026, 7, 1)


@pytest.mark.parametrize(
    ("mode", "long", "waiting", "gain", "tax"),
    [
        # Half of it gain: 37 %, 20 %, and 37 + (37 - 20) where a year is nearly over.
        (Mode.HARVEST, False, False, 50, Fraction(185, 1000)),
        (Mode.HARVEST, True, False, 50, Fraction(1, 10)),
        (Mode.HARVEST, False, True, 50, Fraction(27, 100)),
        # A quarter comes back at 20 %: a short loss saves 37 - 5 = 32 cents a dollar.
        (Mode.HARVEST, False, False, -50, Fraction(-16, 100)),
        (Mode.NEUTRAL, False, False, -50, Fraction(0)),
        (Mode.NEUTRAL, True, False, 50, Fraction(1, 10)),
        (Mode.REALISE, True, False, 50, Fraction(-25, 1000)),
        (Mode.REALISE, True, False, -50, Fraction(25, 1000)),
    ],
)
def test_tax_of_a_dollar_by_hand(
    mode: Mode,
    long: bool,  # noqa: FBT001 - a column of the table
    waiting: bool,  # noqa: FBT001 - a column of the table
    gain: int,
    tax: Fraction,
) -> None:
    assert (
        tax_per_dollar(
            gain, 100, long=long, waiting=waiting, mode=mode, rates=RATES, recapture_ppm=250_000
        )
        == tax
    )


def test_waiting_ends_with_the_year() -> None:
    bought = date(2025, 7, 10)  # long from 11 July 2026

    assert waits(bought, TODAY, 10)
    assert not waits(bought, TODAY, 9)
    assert not waits(bought, date(2026, 7, 11), 10)


def lot(name: str, cents: int, bought: date = TODAY - timedelta(days=90)) -> Lot:
    return Lot(LotId(name), SecurityId(1), bought, 10, cents)


def test_losses_worth_more_than_they_cost_come_best_first() -> None:
    # $100 lost at 37 - 5 = 32 %: $32 saved; selling $900 at 0.1 % costs 90 cents.
    lots = [
        (lot("small", 901_00), 900_00),
        (lot("good", 1_000_00), 900_00),
        (lot("best", 1_100_00), 900_00),
        (lot("gain", 800_00), 900_00),
        (lot("washed", 5_000_00), 900_00),
    ]
    masks = Masks({}, {LotId("washed"): TODAY}, {})

    found = harvests(
        lots,
        TODAY,
        RATES,
        recapture_ppm=250_000,
        cost_ppm=1_000,
        net_cents_min=1_00,
        forbidden=masks,
    )

    assert [(one.lot.id, one.saved_cents, one.cost_cents) for one in found] == [
        ("best", 64_00, 90),
        ("good", 32_00, 90),
    ]
    assert found[1].net_cents == 31_10


@pytest.mark.parametrize(
    ("target", "realised", "left"),
    [
        (YearTarget.ZERO, Net(1_000_00, -200_00), -800_00),
        (YearTarget.LOSS_LIMIT, Net(1_000_00, 0), -4_000_00),
        (YearTarget.LOSS_LIMIT, Net(-5_000_00, 0), 2_000_00),
        (YearTarget.ZERO_BRACKET, Net(), 9_450_00),
        (YearTarget.ZERO_BRACKET, Net(0, -4_000_00), 13_450_00),
        (YearTarget.ZERO_BRACKET, Net(0, 10_000_00), -550_00),
    ],
)
def test_what_is_left_to_the_years_target(target: YearTarget, realised: Net, left: int) -> None:
    profile = TaxProfile(FilingStatus.SINGLE, 40_000_00, 40_000_00)

    assert to_target_cents(target, load(2026), profile, realised) == left


def test_a_lot_worth_nothing_has_no_tax_per_dollar() -> None:
    with pytest.raises(ValueError, match="worth_cents"):
        tax_per_dollar(
            -1, 0, long=True, waiting=False, mode=Mode.HARVEST, rates=RATES, recapture_ppm=0
        )
