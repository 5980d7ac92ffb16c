"""Who misses a hard wish because a trade of the plan came to nothing when it landed.

Whole cents and nanoshares move a plan by a cent a trade, which no wish is measured by. A trade
that landing drops is more than that: a purchase of exactly the minimum that cannot be paid, or a
sale that cannot reach it. Then the landed trades are judged again, by the evaluator, and whoever
breaks a wish by more than the cents trades nothing and is `UNDECIDED`.
"""

from dataclasses import replace

import numpy as np

from robo.portfolio import evaluator
from robo.portfolio import positions as positions_of
from robo.portfolio.fallback import lots_of, only
from robo.portfolio.problem import IntArray, Problem, Solution, Status


def find(problem: Problem, solution: Solution, accounts: IntArray) -> IntArray:
    """Return which of some accounts break a rule or hard wish with their landed trades."""
    return np.array([a for a in accounts.tolist() if _misses(problem, solution, a)], dtype=np.int64)


def undo(problem: Problem, planned: Solution, accounts: IntArray) -> None:
    """Write that accounts have no plan: they hold what they have; their bounds stay true."""
    held = positions_of.read(problem).held
    for account in accounts.tolist():
        planned.status[account] = Status.UNDECIDED
        planned.objective[account] = 0.0
        planned.holding[account] = held[account]
        planned.lot_sold[lots_of(problem, account)] = 0.0


def _misses(problem: Problem, solution: Solution, account: int) -> bool:
    alone = only(problem, account)
    mine = slice(account, account + 1)
    trades = slice(*solution.trade_indptr[[account, account + 1]].tolist())
    lots = lots_of(problem, account)
    his = replace(
        solution,
        trade_indptr=solution.trade_indptr[[account, account + 1]] - trades.start,
        trade_name=solution.trade_name[trades],
        buy_cents=solution.buy_cents[trades],
        sell_nanos=solution.sell_nanos[trades],
        lot_sold_nanos=solution.lot_sold_nanos[lots],
        status=solution.status[mine],
    )
    tolerance = evaluator.cent_tolerance(alone, his)
    return bool(evaluator.evaluate(alone, evaluator.landed(alone, his), tolerance).violations)
