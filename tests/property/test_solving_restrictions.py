"""Random rebalances with restrictions: not one order where there may be none."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from baskets.universe import load_universe
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio.problem import Taxes, TaxMode
from robo.services.asking import EPOCH, NO_LIMIT, Aim, Ask, TaxSide, gain_room
from robo.services.modelling import Model
from robo.services.quoting import Board
from robo.services.solving import Solved, solve
from robo.store.lot_chunks import LotChunk

NAMES = 12
ON = date(2026, 3, 2)
TODAY = (ON - EPOCH).days
BATCH = 2_000
SIBLINGS = np.array(sorted(load_universe().by_symbol[one].id for one in ("GOOG", "GOOGL")))
"""Two share classes of one company."""


@pytest.mark.parametrize(
    "batches", [5, pytest.param(500, marks=pytest.mark.soak)], ids=["ten thousand", "a million"]
)
def test_no_random_rebalance_trades_a_restricted_name_or_breaks_a_mask(batches: int) -> None:
    traded = together = 0
    for seed in range(batches):
        rng = np.random.default_rng(seed)
        model, board, ask = drawn(rng, BATCH)

        solved = solve(model, board, ask, Policy.default(), ON)

        together += assert_allowed(model, board, ask, solved)
        traded += solved.account.size
    assert traded > batches * BATCH  # the draws are not so strict that nothing happens
    assert together > batches * BATCH / 20  # lots that only went with all that was fresh


def test_accounts_are_planned_alike_alone_and_in_company() -> None:
    model, board, ask = drawn(np.random.default_rng(7), 40)

    together = solve(model, board, ask, Policy.default(), ON)
    alone = solve(model, board, only(ask, 11), Policy.default(), ON)

    mine = together.account == 11
    assert alone.column.tolist() == together.column[mine].tolist()
    assert alone.buy_cents.tolist() == together.buy_cents[mine].tolist()
    assert alone.sell_nanos.tolist() == together.sell_nanos[mine].tolist()


def assert_allowed(model: Model, board: Board, ask: Ask, solved: Solved) -> int:
    """Return how many lots were sold at a loss only because all that is fresh went with them."""
    a, c = solved.account, solved.column
    buys, sells = solved.buy_cents > 0, solved.sell_nanos > 0
    stopped = np.isin(model.security_ids, sorted(board.stopped))
    assert not (buys & sells).any()
    assert not ask.frozen[a, c].any()
    assert not stopped[c].any()
    assert ask.buyable[a[buys], c[buys]].all()
    assert not ask.tax.no_buy[a[buys], c[buys]].any()
    assert (solved.buy_cents[buys] >= Policy.default().order_notional_cents_min).all()
    spent = np.zeros(ask.cash_cents.size, dtype=np.int64)
    np.add.at(spent, a, solved.buy_cents)
    assert (spent <= ask.cash_cents).all()
    sold, lots, tax = solved.lot_sold_nanos, ask.lots, ask.tax
    assert ((sold >= 0) & (sold <= lots.nanos)).all()
    assert not sold[lots.hold_day > TODAY].any()
    part = sold / lots.nanos
    of_lot = (worth(board, lots) - tax.basis_cents) * part
    washed = (tax.no_loss | tax.whole_only) & (of_lot < 0)
    assert tax.closes[washed].all()
    key = holding_of(lots)
    stays = tax.is_fresh & (sold < lots.nanos)
    assert not np.isin(key[washed], key[stays]).any()
    classes = np.flatnonzero(np.isin(model.security_ids, SIBLINGS))
    losers = lots.account[(of_lot < 0) & np.isin(lots.security_id, SIBLINGS)]
    assert not np.isin(a[buys & np.isin(c, classes)], losers).any()
    gain, loss = np.zeros(ask.cash_cents.size), np.zeros(ask.cash_cents.size)
    # Losses make no room: their sales may not fill when those of gains do.
    np.add.at(gain, lots.account, np.maximum(of_lot, 0))
    np.add.at(loss, lots.account, np.minimum(of_lot, 0))
    aims, most = tax.aim.has, np.minimum(tax.aim.wanted_cents, 0)
    assert (loss[aims] >= most[aims] - NAMES).all()
    assert not washed[tax.aim.has[lots.account]].any()
    if ask.lands:
        assert not sold[tax.aim.has[lots.account]].any()
    limited = tax.taxes.gain_budget_cents >= 0
    assert (gain[limited] <= np.maximum(gain_room(tax.taxes)[limited], 0) + NAMES).all()
    return int(washed.sum())


def drawn(rng: np.random.Generator, count: int) -> tuple[Model, Board, Ask]:
    """Return a market of twelve names and random accounts with hostile wishes."""
    others = rng.choice(5_000, NAMES - 2, replace=False).astype(np.int64) + 1_000_000
    ids = np.sort(np.concatenate([others, SIBLINGS]))
    index = rng.dirichlet(np.ones(NAMES))
    model = Model(
        id="mdl_1",
        on=ON,
        fitted_on=ON,
        source="SIM",
        security_ids=ids,
        exposure=rng.normal(0.1, 0.08, (NAMES, 3)),
        specific_variance=rng.uniform(0.01, 0.1, NAMES),
        index=index,
        membership="",
        sectors=("",) * NAMES,
    )
    price = {int(one): int(rng.integers(10**6, 5 * 10**8)) for one in ids}
    stopped = {int(ids[0]): Reason.SKIP_HALTED} if rng.random() < 0.5 else {}
    lots = drawn_lots(rng, count, ids, price)

    def mask(part: float) -> np.ndarray:
        return rng.random((count, NAMES)) < part

    aim = Aim(
        rng.random(count) < 0.3,
        rng.integers(-(10**6), 10**6, count),
        np.zeros(count, dtype=bool),
        np.full(count, NO_LIMIT),
    )
    taxes = drawn_taxes(rng, count)
    # As the standing of who has a target says it: gains up to what is wanted, none for a loss.
    budget = np.where(aim.has, np.maximum(aim.wanted_cents, 0), taxes.gain_budget_cents)
    ask = Ask(
        cash_cents=rng.integers(0, 10**6, count),
        lots=lots,
        tax=TaxSide(
            taxes=replace(taxes, gain_budget_cents=budget),
            basis_cents=lots.basis_cents,
            held_day=lots.acquired_day,
            **drawn_masks(rng, lots),
            no_buy=mask(0.2),
            aim=aim,
        ),
        benchmark=rng.dirichlet(np.ones(NAMES), count),
        buyable=~mask(0.3),
        frozen=mask(0.25),
        lands=bool(rng.random() < 0.2),
    )
    return model, Board(price, stopped), ask


def drawn_lots(
    rng: np.random.Generator, count: int, ids: np.ndarray, price: dict[int, int]
) -> LotChunk:
    size = count * 10
    account = np.sort(rng.integers(0, count, size))
    security = rng.choice(ids, size)
    order = np.lexsort((security, account))
    account, security = account[order], security[order]
    nanos = rng.integers(10**6, 10**11, size)
    prices = np.array([price[int(one)] for one in security])
    value = nanos / 1e9 * prices / 1e4
    return LotChunk(
        lot_ids=tuple(f"lot_{n}" for n in range(size)),
        account=account,
        security_id=security.astype(np.int64),
        acquired_day=TODAY - rng.integers(0, 900, size),
        nanos=nanos,
        basis_cents=np.maximum(value * rng.uniform(0.4, 1.6, size), 0).astype(np.int64),
        hold_day=np.where(rng.random(size) < 0.1, TODAY + 2, -1).astype(np.int64),
    )


def drawn_masks(rng: np.random.Generator, lots: LotChunk) -> dict[str, np.ndarray]:
    """Return masks as the rules would make them of fresh lots here and elsewhere at home."""
    key = holding_of(lots)
    size = int(key.max()) + 1
    fresh = rng.random(key.size) < 0.3
    here = np.bincount(key, fresh, size)[key]
    elsewhere = (rng.random(size) < 0.15)[key]
    others = (here - fresh > 0) | elsewhere
    return {
        "no_loss": others,
        "whole_only": ~others & fresh,
        "is_fresh": fresh,
        "closes": ~elsewhere & (here > 0),
    }


def holding_of(lots: LotChunk) -> np.ndarray:
    found: np.ndarray = np.unique(lots.account << 32 | lots.security_id, return_inverse=True)[1]
    return found


def drawn_taxes(rng: np.random.Generator, count: int) -> Taxes:
    zero = np.zeros(count, dtype=np.int64)
    return Taxes(
        short_rate_ppm=np.full(count, 350_000, dtype=np.int64),
        long_rate_ppm=np.full(count, 150_000, dtype=np.int64),
        ordinary_rate_ppm=np.full(count, 300_000, dtype=np.int64),
        mode=rng.choice([int(TaxMode.HARVEST), int(TaxMode.NEUTRAL)], count).astype(np.int64),
        year_short_cents=zero,
        year_long_cents=zero,
        ordinary_limit_cents=zero,
        carry_ppm=zero,
        gain_budget_cents=rng.choice([-1, 0, 50_000, 10**7], count).astype(np.int64),
        recapture_ppm=np.full(count, 300_000, dtype=np.int64),
        netting=np.zeros(count, dtype=np.bool_),
    )


def worth(board: Board, lots: LotChunk) -> np.ndarray:
    prices = np.array([board.price_micros[int(one)] for one in lots.security_id])
    return np.rint(lots.nanos / 1e9 * prices / 1e4)


def only(ask: Ask, place: int) -> Ask:
    """Return what is asked of one account alone."""
    mine = ask.lots.account == place
    lots = ask.lots
    rows = slice(place, place + 1)
    taxes = ask.tax.taxes
    one = Taxes(**{name: getattr(taxes, name)[rows] for name in taxes.__dataclass_fields__})
    return Ask(
        cash_cents=ask.cash_cents[rows],
        lots=LotChunk(
            lot_ids=tuple(np.array(lots.lot_ids)[mine]),
            account=np.zeros(int(mine.sum()), dtype=np.int64),
            security_id=lots.security_id[mine],
            acquired_day=lots.acquired_day[mine],
            nanos=lots.nanos[mine],
            basis_cents=lots.basis_cents[mine],
            hold_day=lots.hold_day[mine],
        ),
        tax=TaxSide(
            one,
            ask.tax.basis_cents[mine],
            ask.tax.held_day[mine],
            ask.tax.no_loss[mine],
            ask.tax.whole_only[mine],
            ask.tax.is_fresh[mine],
            ask.tax.closes[mine],
            ask.tax.no_buy[rows],
            Aim(
                ask.tax.aim.has[rows],
                ask.tax.aim.wanted_cents[rows],
                ask.tax.aim.long_only[rows],
                ask.tax.aim.room_cents[rows],
            ),
        ),
        benchmark=ask.benchmark[rows],
        buyable=ask.buyable[rows],
        frozen=ask.frozen[rows],
        lands=ask.lands,
    )
