"""Landing on the year's target by specific lots: exact, with the least that has to be sold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.core.ids import LotId
from robo.tax.harvest import Mode
from robo.tax.year_target import Closing, Offer, land, mode_towards, reachable_cents

SHARE = 10**9


def offer(name: str, basis: int, worth: int, *, shares: int = 10, whole: bool = False) -> Offer:
    return Offer(LotId(name), shares * SHARE, basis, worth, whole)


OFFERS = st.lists(
    st.builds(
        offer,
        st.uuids().map(str),
        st.integers(0, 500_000),
        st.integers(0, 500_000),
        shares=st.integers(1, 400),
    ),
    max_size=12,
)


def test_the_lot_with_most_gain_for_a_dollar_goes_first_and_is_split() -> None:
    # Gains: 100 of 1,000 (0.10 a dollar) and 300 of 900 (0.33 a dollar). For 150: half the second.
    offers = [offer("low", 90_000, 100_000), offer("high", 60_000, 90_000)]

    landing = land(offers, 15_000)

    assert [(one.lot_id, one.nanos) for one in landing.trims] == [("high", 5 * SHARE)]
    assert landing.trims[0].worth_cents == 45_000
    assert landing.missing_cents == 0


def test_a_wanted_loss_takes_losses_only() -> None:
    offers = [offer("gain", 50_000, 90_000), offer("loss", 90_000, 50_000)]

    landing = land(offers, -30_000)

    # A quarter of the lot stays: 40,000 of loss on ten shares, 30,000 on 7.5 of them.
    assert [(one.lot_id, one.nanos) for one in landing.trims] == [("loss", 75 * SHARE // 10)]


def test_what_the_lots_do_not_allow_is_told() -> None:
    landing = land([offer("loss", 90_000, 50_000)], -100_000)

    assert landing.missing_cents == -60_000
    assert reachable_cents([offer("loss", 90_000, 50_000)], -100_000) == -40_000


def test_a_lot_that_may_only_go_whole_is_not_split() -> None:
    offers = [
        offer("whole", 90_000, 10_000, whole=True),
        offer("other", 90_000, 50_000),
    ]

    landing = land(offers, -40_000)

    assert [one.lot_id for one in landing.trims] == ["other"]
    assert landing.missing_cents == 0


def test_nothing_wanted_sells_nothing() -> None:
    assert land([offer("gain", 1, 90_000)], 0).trims == ()


def test_losses_are_sought_only_while_some_are_wanted() -> None:
    assert mode_towards(-1) is Mode.HARVEST
    assert mode_towards(0) is Mode.NEUTRAL
    assert mode_towards(1) is Mode.NEUTRAL


@pytest.mark.parametrize(("nanos", "worth"), [(0, 5), (5, -1)])
def test_offers_that_are_none_are_refused(nanos: int, worth: int) -> None:
    with pytest.raises(ValueError, match="an offer needs shares"):
        land([Offer(LotId("bad"), nanos, 1, worth)], 1)


@given(OFFERS, st.integers(-2_000_000, 2_000_000))
def test_the_year_lands_within_a_cent_wherever_the_lots_allow_it(
    offers: list[Offer], wanted: int
) -> None:
    landing = land(offers, wanted)

    # A part's worth and basis are rounded by themselves: a cent in all, half a cent each.
    assert abs(landing.missing_cents - (wanted - reachable_cents(offers, wanted))) <= 1
    by_lot = {one.lot_id: one for one in offers}
    for trim in landing.trims:
        assert 0 < trim.nanos <= by_lot[trim.lot_id].nanos
        assert trim.gain_cents * wanted >= 0


@given(OFFERS, st.integers(1, 2_000_000))
def test_no_lot_left_brings_more_for_a_dollar_than_one_sold(
    offers: list[Offer], wanted: int
) -> None:
    landing = land(offers, wanted)

    sold = {trim.lot_id: trim.nanos for trim in landing.trims}
    taken = [one for one in offers if one.lot_id in sold]
    left = [one for one in offers if sold.get(one.lot_id, 0) < one.nanos and one.gain_cents > 0]
    for one in taken:
        for other in left:
            # a / b >= c / d for positive worths, without dividing.
            assert (
                one.gain_cents * max(other.worth_cents, 1)
                >= other.gain_cents * max(one.worth_cents, 1)
                or abs(landing.missing_cents) <= 1
            )


NAMES = st.lists(
    st.builds(
        Closing,
        st.lists(st.builds(offer, st.uuids().map(str), st.integers(0, 9_000), st.just(5_000)))
        .filter(bool)
        .map(tuple),
        st.lists(st.builds(offer, st.uuids().map(str), st.integers(0, 90_000), st.just(4_000))).map(
            tuple
        ),
    ),
    max_size=4,
)


def test_a_name_bought_of_late_goes_with_all_that_is_fresh_and_the_rest_in_part() -> None:
    # The fresh lot loses 10.00; of the 90.00 that the old one loses 45.00 are wanted as well.
    name = Closing((offer("new", 6_000, 5_000),), (offer("old", 10_000, 1_000),))

    landing = land([], -5_500, [name])

    assert [(one.lot_id, one.nanos) for one in landing.trims] == [
        ("new", 10 * SHARE),
        ("old", 5 * SHARE),
    ]
    assert landing.missing_cents == 0
    assert reachable_cents([], -50_000, [name]) == -10_000


def test_a_name_stays_where_its_fresh_shares_lose_more_than_is_wanted() -> None:
    name = Closing((offer("new", 6_000, 5_000),), (offer("old", 10_000, 1_000),))

    assert land([], -900, [name]).trims == ()
    assert land([], 900, [name]).trims == ()


def test_a_small_gain_of_what_is_fresh_is_paid_for_the_losses_it_frees() -> None:
    name = Closing((offer("new", 4_900, 5_000),), (offer("old", 10_000, 1_000),))

    landing = land([], -900, [name])

    assert sum(one.gain_cents for one in landing.trims) == -900
    assert landing.trims[0].lot_id == "new"


@given(OFFERS, NAMES, st.integers(-(10**6), 0))
def test_nothing_fresh_of_a_name_that_sells_at_a_loss_ever_stays(
    offers: list[Offer], names: list[Closing], wanted: int
) -> None:
    landing = land(offers, wanted, names)

    sold = {one.lot_id: one.nanos for one in landing.trims}
    assert landing.missing_cents <= 0 or not wanted
    for name in names:
        if any(one.lot_id in sold for one in (*name.fresh, *name.rest)):
            assert all(sold.get(one.lot_id) == one.nanos for one in name.fresh)
