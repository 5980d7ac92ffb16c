"""Whatever is held and at whatever price: a portfolio's cents and ppm add up exactly."""

from dataclasses import replace
from datetime import UTC, date, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from robo.core.money import PPM, notional_cents
from robo.services.reporting.pricing import PriceBoard
from robo.services.reporting.valuing import Cash, Holding, _day_change, _view, _weights
from robo.store.views import Flows, Following, LotSum

ACCOUNT = Following("acc", "firm", "cus", "individual", "open", 1, None, "slv", "", "tgt", "v", "")
BOARD = PriceBoard(
    "SIM",
    simulated=True,
    as_of=datetime(2026, 3, 2, tzinfo=UTC),
    session=date(2026, 3, 2),
    quotes={},
    previous_micros={},
)
amounts = st.integers(0, 10**13)


@st.composite
def holdings(draw: st.DrawFn) -> Holding:
    nanos = draw(st.integers(0, 10**15))
    price = draw(st.one_of(st.none(), st.integers(1, 10**10)))
    value = notional_cents(nanos, price) if price is not None else 0
    basis = draw(amounts)
    return Holding(
        security_id=draw(st.integers(1, 2000)),
        symbol="X",
        name="X",
        nanos=nanos,
        price_micros=price,
        price_as_of="",
        value_cents=value,
        weight_ppm=0,
        target_ppm=draw(st.integers(0, PPM)),
        drift_ppm=0,
        basis_cents=basis,
        gain_cents=value - basis,
        day_change_cents=draw(st.one_of(st.none(), st.integers(-(10**12), 10**12))),
        note="",
    )


@st.composite
def cash(draw: st.DrawFn) -> Cash:
    states = [draw(amounts) for _ in range(4)]
    return Cash(*states, total_cents=sum(states))


flows = st.builds(Flows, amounts, amounts, amounts, amounts, amounts)


@settings(deadline=None)
@given(st.lists(holdings(), max_size=30), cash(), flows)
def test_everything_adds_up(held: list[Holding], money: Cash, moved: Flows) -> None:
    *weights, cash_ppm = _weights([h.value_cents for h in held], money.total_cents)
    held = [
        replace(h, weight_ppm=weight, drift_ppm=weight - h.target_ppm)
        for h, weight in zip(held, weights, strict=True)
    ]
    view = _view(ACCOUNT, BOARD, held, money, cash_ppm, moved, money.free_cents)

    assert view.nav_cents == sum(h.value_cents for h in view.holdings) + view.cash.total_cents
    total = sum(h.weight_ppm for h in view.holdings) + view.cash_ppm
    assert total == (PPM if view.nav_cents else 0)
    assert all(0 <= h.weight_ppm <= PPM for h in view.holdings)
    assert view.gain_cents == sum(h.gain_cents for h in view.holdings)
    assert all(h.drift_ppm == h.weight_ppm - h.target_ppm for h in view.holdings)
    for h in view.holdings:
        # Largest remainder: no weight is a whole ppm or more away from the exact share.
        assert abs(h.weight_ppm * view.nav_cents - h.value_cents * PPM) < max(view.nav_cents, 1)
    paid = moved.deposited_cents - moved.withdrawn_cents
    assert view.total_gain_cents == view.nav_cents - moved.owed_cents - paid
    assert view.withdrawable_cents == money.free_cents
    if all(h.day_change_cents is None for h in held) and held:
        assert view.day_change_cents is None


@settings(deadline=None)
@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    amounts,
)
def test_the_days_change_is_old_shares_since_the_close_plus_new_ones_since_bought(
    old: int, new: int, price: int, close: int, paid: int
) -> None:
    value = notional_cents(old + new, price)

    change = _day_change(old + new, value, LotSum(old + new, paid, new, paid), close)

    exact = (
        (old * price - old * close + new * price) / 10**13 - paid
        if old
        else new * price / 10**13 - paid
    )
    assert change is not None
    assert abs(change - exact) <= 1 + abs(exact) * 1e-9
