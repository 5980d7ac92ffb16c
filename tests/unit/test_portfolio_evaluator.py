"""The evaluator against arithmetic done by hand, and every breach it must see."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robo.portfolio import evaluator
from robo.portfolio.evaluator import Breach, Plan
from robo.portfolio.problem import (
    HARD,
    Accounts,
    Duals,
    Market,
    Problem,
    Rows,
    Rule,
    Solution,
    Taxes,
    TaxMode,
    Wants,
)

# $10,000: $1,000 cash; 30 long shares at $100 that cost $80; 20 short ones that cost $125;
# 80 shares at $50 that cost $50; nothing of the third name at $10.
GAIN, LOSS, EVEN = 0, 1, 2


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def problem(
    *, taxes: dict[str, Any] | None = None, lots: dict[str, Any] | None = None, **wants: Any
) -> Problem:
    accounts = Accounts(
        cash_cents=ints(100_000),
        holding_indptr=ints(0, 2),
        holding_name=ints(0, 1),
        lot_indptr=ints(0, 2, 3),
        lot_nanos=ints(30 * 10**9, 20 * 10**9, 80 * 10**9),
        lot_basis_cents=ints(240_000, 250_000, 400_000),
        lot_acquired_day=ints(100, 900, 500),
        lot_is_long=np.array([True, False, True]),
        lot_is_blocked=np.zeros(3, dtype=np.bool_),
        lot_wait=np.zeros(3, dtype=np.bool_),
        rule=np.zeros(3, dtype=np.uint8),
    )
    position = Taxes(
        short_rate_ppm=ints(370_000),
        long_rate_ppm=ints(200_000),
        ordinary_rate_ppm=ints(300_000),
        mode=ints(int(TaxMode.HARVEST)),
        year_short_cents=ints(0),
        year_long_cents=ints(0),
        ordinary_limit_cents=ints(10_000),
        carry_ppm=ints(500_000),
        gain_budget_cents=ints(-1),
        recapture_ppm=ints(0),
        netting=np.array([False]),
    )
    asked = Wants(
        benchmark=np.array([0.5, 0.4, 0.1]),
        risk_aversion=np.array([10.0]),
        cash_ppm=ints(100_000),
        cash_price_ppm=ints(10_000),
        active_max_ppm=ints(1_000_000),
    )
    return Problem(
        market=Market(
            exposure=np.array([[0.2], [0.1], [0.3]]),
            specific_variance=np.array([0.04, 0.04, 0.09]),
            price_micros=ints(100_000_000, 50_000_000, 10_000_000),
            cost_ppm=ints(1_000, 1_000, 1_000),
        ),
        accounts=replace(accounts, **(lots or {})),
        taxes=replace(position, **(taxes or {})),
        wants=replace(asked, **wants),
    )


def plan(buy: tuple[float, ...] = (0, 0, 0.05), sell: tuple[float, ...] = (0, 0.1, 0)) -> Plan:
    return Plan(np.array([buy], dtype=np.float64), np.array(sell, dtype=np.float64))


def test_every_term_of_the_objective_is_the_hand_computed_one() -> None:
    asked = problem(
        alpha=np.array([0.01, 0.0, 0.02]),
        new_line_ppm=ints(100),
        trade_cost_ppm=ints(50),
        rows=Rows(np.array([[0.0, 0, 1]]), np.array([0.08]), np.array([np.inf]), np.array([0.3])),
    )

    found = evaluator.evaluate(asked, plan())

    # x = (-0.1, 0, -0.05): X'x = -0.035; TE^2 = 0.001225 + 0.04 * 0.01 + 0.09 * 0.0025
    after = found.after
    assert found.tracking_error[0] == pytest.approx(np.sqrt(0.00185), abs=1e-15)
    assert after.risk[0] == pytest.approx(10 / 2 * 0.00185, abs=1e-15)
    assert after.tax[0] == pytest.approx(0.37 * -0.25 * 0.1, abs=1e-15)
    assert after.cost[0] == pytest.approx(0.001 * 0.15, abs=1e-15)
    assert found.cash[0] == pytest.approx(0.1 + 0.1 * 0.999 - 0.05 * 1.001, abs=1e-15)
    assert after.cash[0] == pytest.approx(0.01 * 0.04985, abs=1e-15)
    assert after.alpha[0] == pytest.approx(-(0.01 * 0.4 + 0.02 * 0.05), abs=1e-15)
    assert after.rows[0] == pytest.approx(0.3 * 0.03, abs=1e-15)
    assert after.trades[0] == pytest.approx(2 * 50e-6, abs=1e-15)
    assert after.lines[0] == pytest.approx(100e-6, abs=1e-15)
    terms = [getattr(after, name)[0] for name in after.__dataclass_fields__]
    assert found.objective[0] == pytest.approx(sum(terms), abs=1e-15)
    assert found.turnover[0] == pytest.approx(0.15, abs=1e-15)
    assert found.net_gain[0] == pytest.approx(-0.025, abs=1e-15)
    assert found.violations == ()


def test_before_is_what_doing_nothing_costs() -> None:
    found = evaluator.evaluate(problem(), plan())

    # x = (0, 0, -0.1): TE^2 = 0.03^2 + 0.09 * 0.01
    assert found.before.risk[0] == pytest.approx(5 * (0.0009 + 0.0009), abs=1e-15)
    assert found.before.total[0] == pytest.approx(0.009, abs=1e-15)


@pytest.mark.parametrize(
    ("mode", "sell", "taxes", "lots", "tax"),
    [
        (TaxMode.HARVEST, (0.1, 0, 0), {}, {}, 0.2 * 0.2 * 0.1),
        (
            TaxMode.HARVEST,
            (0, 0.1, 0),
            {"recapture_ppm": ints(300_000)},
            {},
            -(0.37 - 0.06) * 0.025,
        ),
        (TaxMode.NEUTRAL, (0.1, 0.1, 0), {}, {}, 0.004),
        (TaxMode.REALISE, (0.1, 0, 0), {"recapture_ppm": ints(300_000)}, {}, -0.06 * 0.02),
        (  # the year has used 0.005 of the budget of 0.015; 0.01 of the gain is beyond
            TaxMode.REALISE,
            (0.1, 0, 0),
            {
                "recapture_ppm": ints(300_000),
                "gain_budget_cents": ints(15_000),
                "year_long_cents": ints(5_000),
            },
            {},
            -0.06 * 0.02 + (0.2 + 0.06) * 0.01,
        ),
        (  # a short gain that waits pays its rate and the rate it could have saved
            TaxMode.HARVEST,
            (0.1, 0, 0),
            {},
            {"lot_is_long": np.array([False, False, True]), "lot_wait": np.array([True] * 3)},
            (0.37 + 0.17) * 0.02,
        ),
        (  # what must go is nobody's choice: it pays its tax and earns no credit
            TaxMode.REALISE,
            (0.3, 0.2, 0),
            {"recapture_ppm": ints(300_000)},
            {"rule": np.array([8, 0, 0], dtype=np.uint8)},
            0.2 * 0.06 - (0.37 - 0.06) * 0.05,
        ),
    ],
)
def test_tax_lot_by_lot_is_what_the_customer_wants(
    mode: TaxMode, sell: tuple[float, ...], taxes: Any, lots: Any, tax: float
) -> None:
    asked = problem(taxes={"mode": ints(int(mode)), **taxes}, lots=lots)

    found = evaluator.evaluate(asked, plan((0, 0, 0), sell))

    assert found.after.tax[0] == pytest.approx(tax, abs=1e-15)


@pytest.mark.parametrize(
    ("short", "long", "sell", "tax"),
    [
        # rates: short 0.37, long 0.20, ordinary 0.30 up to 0.01, then 0.10
        (0, 0, (0.1, 0, 0), 0.2 * 0.02),
        (0, 0, (0, 0.02, 0), -0.3 * 0.005),
        (0, 0, (0, 0.2, 0), -0.3 * 0.01 - 0.1 * 0.04),
        (50_000, 0, (0, 0.1, 0), -0.37 * 0.025),
        (0, 50_000, (0, 0.1, 0), -0.2 * 0.025),
        (-50_000, 0, (0.1, 0, 0), 0.1 * 0.02),  # a carried loss is worth less by it
        (-15_000, 0, (0.1, 0, 0), 0.1 * 0.005 + 0.3 * 0.01 + 0.2 * 0.005),
        (10_000, 0, (0, 0.1, 0), -0.37 * 0.01 - 0.3 * 0.01 - 0.1 * 0.005),
        (30_000, -20_000, (0.1, 0, 0), 0.37 * 0.02),  # a long gain frees a short one
    ],
)
def test_short_and_long_net_within_the_year(
    short: int, long: int, sell: tuple[float, ...], tax: float
) -> None:
    asked = problem(
        taxes={
            "netting": np.array([True]),
            "year_short_cents": ints(short),
            "year_long_cents": ints(long),
        }
    )

    found = evaluator.evaluate(asked, plan((0, 0, 0), sell))

    assert found.after.tax[0] == pytest.approx(tax, abs=1e-15)


NO_RULE = np.zeros(3, dtype=np.uint8)


def with_rule(name: int, rule: int) -> dict[str, Any]:
    row = NO_RULE.copy()
    row[name] = rule
    return {"rule": row}


@pytest.mark.parametrize(
    ("asked", "buy", "sell", "breach", "where", "size"),
    [
        (problem(), (0, 0, 0.2), (0, 0, 0), Breach.NEGATIVE_CASH, -1, 0.1002),
        (problem(), (0, 0, -0.05), (0, 0, 0), Breach.NEGATIVE_BUY, 2, 0.05),
        (problem(), (0, 0, -0.05), (0, 0, 0), Breach.NEGATIVE_HOLDING, 2, 0.05),
        (problem(), (0, 0, 0), (-0.02, 0, 0), Breach.NEGATIVE_SALE, GAIN, 0.02),
        (problem(), (0, 0, 0), (0, 0.25, 0), Breach.OVERSOLD_LOT, LOSS, 0.05),
        (
            problem(lots={"lot_is_blocked": np.array([False, True, False])}),
            *((0, 0, 0), (0, 0.1, 0), Breach.SOLD_BARRED_LOT, LOSS, 0.1),
        ),
        (
            problem(lots=with_rule(0, Rule.NEVER_SELL_AT_LOSS)),
            *((0, 0, 0), (0.1, 0.03, 0), Breach.SOLD_BARRED_LOT, LOSS, 0.03),
        ),
        (
            problem(lots=with_rule(0, Rule.NEVER_SELL)),
            *((0, 0, 0), (0.1, 0, 0), Breach.SOLD_BARRED_LOT, GAIN, 0.1),
        ),
        (
            problem(lots=with_rule(2, Rule.NEVER_BUY)),
            *((0, 0, 0.05), (0, 0, 0), Breach.NEVER_BUY, 2, 0.05),
        ),
        (
            problem(lots=with_rule(1, Rule.NEVER_OWN)),
            *((0, 0, 0), (0, 0, 0.1), Breach.NEVER_OWN, 1, 0.3),
        ),
        (problem(), (0.02, 0, 0), (0, 0.1, 0), Breach.BOUGHT_WHAT_IT_SOLD_AT_LOSS, 0, 0.02),
        (problem(), (0.02, 0, 0), (0.1, 0, 0), Breach.BOUGHT_AND_SOLD, 0, 0.02),
        (
            problem(active_max_ppm=ints(30_000)),
            *((0, 0, 0), (0, 0, 0), Breach.ACTIVE_CAP, 2, 0.07),
        ),
        (
            problem(upper_ppm=ints(1_000_000, 350_000, 1_000_000)),
            *((0, 0, 0), (0, 0, 0), Breach.UPPER, 1, 0.05),
        ),
        (problem(lower_ppm=ints(0, 0, 80_000)), (0, 0, 0.05), (0, 0, 0), Breach.LOWER, 2, 0.03),
        (
            problem(
                rows=Rows(
                    np.array([[1.0, 1, 0]]), np.array([-np.inf]), np.array([0.8]), np.array([HARD])
                )
            ),
            *((0, 0, 0), (0, 0.05, 0), Breach.ROW, 0, 0.05),
        ),
        (
            problem(turnover_max_ppm=ints(100_000)),
            (0, 0, 0.05),
            (0, 0.1, 0),
            Breach.TURNOVER,
            -1,
            0.05,
        ),
        (
            problem(tracking_error_max_ppm=ints(40_000)),
            *((0, 0, 0.05), (0, 0.1, 0), Breach.TRACKING_ERROR, -1, np.sqrt(0.00185) - 0.04),
        ),
        (
            problem(taxes={"gain_budget_cents": ints(20_000), "year_short_cents": ints(10_000)}),
            *((0, 0, 0), (0.1, 0, 0), Breach.GAIN_BUDGET, -1, 0.01),
        ),
        (
            problem(trade_min_cents=ints(60_000)),
            *((0, 0, 0.05), (0, 0, 0), Breach.SMALL_TRADE, 2, 0.01),
        ),
        (
            problem(trade_min_cents=ints(60_000)),
            *((0, 0, 0), (0, 0, 0.02), Breach.SMALL_TRADE, 1, 0.02),
        ),
        (problem(), (0, 0, np.nan), (0, 0, 0), Breach.NOT_A_NUMBER, 2, np.nan),
    ],
)
def test_each_breach_is_seen_where_it_is_and_as_large_as_it_is(
    asked: Problem, buy: Any, sell: Any, breach: Breach, where: int, size: float
) -> None:
    found = evaluator.evaluate(asked, plan(buy, sell))

    seen = {(one.breach, one.where): one.size for one in found.violations}
    assert (breach, where) in seen
    assert seen[breach, where] == pytest.approx(size, abs=1e-14, nan_ok=True)


@pytest.mark.parametrize(
    ("asked", "buy", "sell"),
    [
        # The cap would have the second name at 0.3 or less, and none of the third at 0.07 or more.
        (
            problem(active_max_ppm=ints(30_000), lots=with_rule(2, Rule.NEVER_BUY)),
            *((0, 0, 0), (0, 0, 0)),
        ),
        (
            problem(
                active_max_ppm=ints(30_000),
                benchmark=np.array([0.5, 0.3, 0.2]),
                lots={"rule": np.array([0, 2, 1], dtype=np.uint8)},
            ),
            *((0, 0, 0), (0, 0, 0)),
        ),
        (problem(trade_min_cents=ints(600_000)), (0, 0, 0), (0, 0, 0.4)),
        (problem(taxes={"mode": ints(2)}), (0.1, 0, 0), (0.1, 0, 0)),
    ],
    ids=["cannot be bought", "cannot be sold", "closes the position", "seeks gains"],
)
def test_what_a_rule_makes_impossible_or_lawful_is_no_breach(
    asked: Problem, buy: Any, sell: Any
) -> None:
    assert evaluator.evaluate(asked, plan(buy, sell)).violations == ()


def test_who_buys_back_a_gain_may_not_if_trades_have_a_price() -> None:
    asked = problem(taxes={"mode": ints(2)}, trade_cost_ppm=ints(50))

    found = evaluator.evaluate(asked, plan((0.1, 0, 0), (0.1, 0, 0)))

    assert [one.breach for one in found.violations] == [Breach.BOUGHT_AND_SOLD]


def landing(trades: list[tuple[int, int, int]], lots: tuple[int, int, int]) -> Solution:
    name, buy, sell = zip(*trades, strict=True) if trades else ((), (), ())
    return Solution(
        trade_indptr=ints(0, len(trades)),
        trade_name=ints(*name),
        buy_cents=ints(*buy),
        sell_nanos=ints(*sell),
        lot_sold_nanos=ints(*lots),
        objective=np.zeros(1),
        bound=np.zeros(1),
        status=ints(0),
        duals=Duals(np.zeros((1, 0))),
        holding=np.zeros((1, 3)),
        lot_sold=np.zeros(3),
    )


BILLION = 10**9


@pytest.mark.parametrize(
    ("asked", "trades", "lots", "breaches"),
    [
        (problem(), [(2, 99_900, 0)], (0, 0, 0), []),
        # $999.01 and its cost of $0.99901 are a thousandth of a cent too much.
        (problem(), [(2, 99_901, 0)], (0, 0, 0), [Breach.NEGATIVE_CASH]),
        (problem(), [(0, 0, 5 * BILLION)], (0, 5 * BILLION, 0), []),
        (problem(), [(0, 0, 5 * BILLION)], (0, 5 * BILLION - 1, 0), [Breach.LOTS_DIFFER]),
        (problem(), [], (1, 0, 0), [Breach.LOTS_DIFFER]),
        (problem(), [(0, 0, 21 * BILLION)], (0, 21 * BILLION, 0), [Breach.OVERSOLD_LOT]),
        (
            problem(lots={"lot_is_blocked": np.array([False, True, False])}),
            *([(0, 0, 1)], (0, 1, 0), [Breach.SOLD_BARRED_LOT]),
        ),
        (problem(), [(0, 1, BILLION)], (BILLION, 0, 0), [Breach.BOUGHT_AND_SOLD]),
        (
            problem(taxes={"mode": ints(2)}),
            *([(0, 1, BILLION)], (0, BILLION, 0), [Breach.BOUGHT_WHAT_IT_SOLD_AT_LOSS]),
        ),
        (problem(lots=with_rule(2, 1)), [(2, 1, 0)], (0, 0, 0), [Breach.NEVER_BUY]),
        (problem(lots=with_rule(1, 8)), [(1, 0, 80 * BILLION)], (0, 0, 80 * BILLION), []),
        (
            problem(lots=with_rule(1, 8)),
            *([(1, 0, 80 * BILLION - 1)], (0, 0, 80 * BILLION - 1), [Breach.NEVER_OWN]),
        ),
        (
            problem(trade_min_cents=ints(10_000)),
            *([(0, 0, BILLION - 1), (2, 9_999, 0)], (BILLION - 1, 0, 0), [Breach.SMALL_TRADE] * 2),
        ),
        (
            problem(trade_min_cents=ints(10_000)),
            *([(0, 0, BILLION), (2, 10_000, 0)], (BILLION, 0, 0), []),
        ),
        (
            problem(trade_min_cents=ints(500_000)),
            *([(1, 0, 80 * BILLION)], (0, 0, 80 * BILLION), []),
        ),
    ],
)
def test_a_landing_is_checked_to_the_last_cent_and_nanoshare(
    asked: Problem, trades: Any, lots: Any, breaches: list[Breach]
) -> None:
    found = evaluator.landing(asked, landing(trades, lots))

    assert [one.breach for one in found] == breaches


def test_a_landed_plan_is_what_its_cents_and_shares_are_worth() -> None:
    asked = problem()

    found = evaluator.landed(
        asked, landing([(0, 0, 5 * BILLION), (2, 50_000, 0)], (0, 5 * BILLION, 0))
    )

    assert found.bought == pytest.approx(np.array([[0, 0, 0.05]]), abs=1e-15)
    assert found.lot_sold == pytest.approx(np.array([0, 0.05, 0]), abs=1e-15)


def test_an_account_worth_nothing_costs_nothing_and_breaks_nothing() -> None:
    empty = problem(
        lower_ppm=ints(500_000, 0, 0),
        lots={
            "cash_cents": ints(0),
            "holding_indptr": ints(0, 0),
            "holding_name": ints(),
            "lot_indptr": ints(0),
            **{
                name: np.zeros(0, dtype=kind)
                for name, kind in (
                    ("lot_nanos", np.int64),
                    ("lot_basis_cents", np.int64),
                    ("lot_acquired_day", np.int64),
                    ("lot_is_long", np.bool_),
                    ("lot_is_blocked", np.bool_),
                    ("lot_wait", np.bool_),
                )
            },
        },
    )

    found = evaluator.evaluate(empty, Plan(np.zeros((1, 3)), np.zeros(0)))

    assert found.objective[0] == 0
    assert found.violations == ()


def test_a_plan_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="plan: needs"):
        evaluator.evaluate(problem(), Plan(np.zeros((1, 2)), np.zeros(3)))
