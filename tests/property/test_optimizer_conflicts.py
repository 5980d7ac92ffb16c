"""Conflicts are real, irreducible, and one of those that a search over all subsets finds."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from optimizer_problems import only, small

from bench import exact
from robo.portfolio import conflicts, positions
from robo.portfolio.conflicts import Wish, WishKind
from robo.portfolio.problem import Problem, Rule

SEEDS = range(120)
"""360 accounts; two in five cannot be served."""
SUBSETS_MAX = 8
"""With more wishes a search over all subsets takes too long."""


@pytest.fixture(scope="module")
def found() -> dict[tuple[int, int], tuple[Wish, ...]]:
    answers = {}
    for seed in SEEDS:
        for account, wishes in conflicts.find(small(seed), range(3)).items():
            answers[seed, account] = wishes
    return answers


def minimal_conflicts(problem: Problem, account: int, wishes: tuple[Wish, ...]) -> list[set[Wish]]:
    """Return every irreducible conflict, by trying all subsets from the smallest up."""
    minimal: list[set[Wish]] = []
    for size in range(1, len(wishes) + 1):
        for some in map(set, combinations(wishes, size)):
            known = any(smaller <= some for smaller in minimal)
            if not known and conflicts.is_feasible(problem, account, tuple(some)) is False:
                minimal.append(some)
    return minimal


def test_every_conflict_is_one_and_none_of_its_wishes_can_be_spared(
    found: dict[tuple[int, int], tuple[Wish, ...]],
) -> None:
    kinds = set()
    for (seed, account), wishes in found.items():
        if wishes:
            problem = small(seed)
            assert conflicts.is_feasible(problem, account, wishes) is False
            for one in wishes:
                rest = tuple(other for other in wishes if other != one)
                assert conflicts.is_feasible(problem, account, rest) is True
            kinds |= {wish.kind for wish in wishes}

    assert len(kinds) >= 9, kinds


def test_the_conflict_is_among_those_that_all_subsets_show(
    found: dict[tuple[int, int], tuple[Wish, ...]],
) -> None:
    checked = 0
    for (seed, account), answer in found.items():
        problem = small(seed)
        wishes = conflicts.wishes(problem, account)
        if answer and len(wishes) <= SUBSETS_MAX:
            assert set(answer) in minimal_conflicts(problem, account, wishes)
            checked += 1
            if checked == 20:
                break

    assert checked == 20


def test_scip_agrees_on_who_can_be_served(
    found: dict[tuple[int, int], tuple[Wish, ...]],
) -> None:
    for seed in range(12):
        problem = small(seed)
        for account in range(3):
            served = exact.solve(problem, account, seconds=10).feasible

            assert served == (not found[seed, account]), (seed, account)


def narrowed(problem: Problem, wishes: tuple[Wish, ...]) -> Problem:
    """Return a one-account problem with no hard wishes but these."""
    names = problem.market.price_micros.size
    of = {kind: [wish for wish in wishes if wish.kind == kind] for kind in WishKind}

    def whole(kind: WishKind, value: Any) -> Any:
        return value if of[kind] else None

    def bounds(kind: WishKind, value: Any, none: int) -> Any:
        row = np.full((1, names), none, dtype=np.int64)
        for wish in of[kind]:
            row[0, wish.where] = np.broadcast_to(value, row.shape)[0, wish.where]
        return row

    rule = np.zeros((1, names), dtype=np.uint8)
    for kind, bit in (
        (WishKind.NEVER_BUY, Rule.NEVER_BUY),
        (WishKind.NEVER_SELL, Rule.NEVER_SELL),
        (WishKind.NEVER_SELL_AT_LOSS, Rule.NEVER_SELL_AT_LOSS),
        (WishKind.NEVER_OWN, Rule.NEVER_OWN),
    ):
        for wish in of[kind]:
            rule[0, wish.where] |= np.uint8(bit)
    accounts, wants = problem.accounts, problem.wants
    lot_name = np.repeat(accounts.holding_name, np.diff(accounts.lot_indptr))
    kept = {wish.where for wish in of[WishKind.BLOCKED_LOTS]}
    blocked = accounts.lot_is_blocked & np.isin(lot_name, sorted(kept))
    rows = wants.rows
    if rows is not None:
        low, high = np.full(rows.low.shape, -np.inf), np.full(rows.high.shape, np.inf)
        for wish in of[WishKind.ROW_LOW]:
            low[0, wish.where] = rows.low[0, wish.where]
        for wish in of[WishKind.ROW_HIGH]:
            high[0, wish.where] = rows.high[0, wish.where]
        rows = replace(rows, low=low, high=high)
    budget = problem.taxes.gain_budget_cents
    return replace(
        problem,
        accounts=replace(accounts, rule=rule, lot_is_blocked=blocked),
        taxes=replace(
            problem.taxes,
            gain_budget_cents=budget if of[WishKind.GAIN_BUDGET] else np.full_like(budget, -1),
        ),
        wants=replace(
            wants,
            rows=rows,
            trade_min_cents=whole(WishKind.TRADE_MIN, wants.trade_min_cents),
            turnover_max_ppm=whole(WishKind.TURNOVER, wants.turnover_max_ppm),
            tracking_error_max_ppm=whole(WishKind.TRACKING_ERROR, wants.tracking_error_max_ppm),
            active_max_ppm=(wants.active_max_ppm if of[WishKind.ACTIVE_CAP] else np.array([10**9])),
            upper_ppm=bounds(
                WishKind.UPPER, 0 if wants.upper_ppm is None else wants.upper_ppm, 10**6
            ),
            lower_ppm=bounds(WishKind.LOWER, 0 if wants.lower_ppm is None else wants.lower_ppm, 0),
        ),
    )


@pytest.mark.parametrize("is_capped", [False, True], ids=["without a cap", "with the active cap"])
def test_scip_cannot_meet_the_conflict_either_and_can_meet_all_but_any_one(
    found: dict[tuple[int, int], tuple[Wish, ...]],
    is_capped: bool,  # noqa: FBT001 - the case
) -> None:
    checked = 0
    for (seed, account), wishes in found.items():
        if not wishes or is_capped != any(wish.kind == WishKind.ACTIVE_CAP for wish in wishes):
            continue
        problem = only(small(seed), account)
        assert not exact.solve(narrowed(problem, wishes), 0, seconds=10).feasible
        for one in wishes:
            rest = tuple(other for other in wishes if other != one)
            assert exact.solve(narrowed(problem, rest), 0, seconds=10).feasible, (
                seed,
                account,
                one,
            )
        checked += 1
        if checked == 6:
            break

    assert checked == 6


def asked(**wants: Any) -> Problem:
    """Return one account that can be served, with some wishes of its own."""
    problem = only(small(3, features=False), 0)
    free = {"active_max_ppm": np.array([10**6]), **wants}
    return replace(problem, wants=replace(problem.wants, **free))


def test_a_name_that_must_go_and_may_not_be_sold_is_named_with_both_wishes() -> None:
    problem = asked()
    name = int(problem.accounts.holding_name[0])
    rule = np.zeros((1, problem.market.price_micros.size), dtype=np.uint8)
    rule[0, name] = Rule.NEVER_OWN | Rule.NEVER_SELL

    answer = conflicts.find(replace(problem, accounts=replace(problem.accounts, rule=rule)), [0])

    expected = {Wish(WishKind.NEVER_OWN, name, 0.0), Wish(WishKind.NEVER_SELL, name, 0.0)}
    assert set(answer[0]) == expected


def test_a_minimum_trade_conflicts_with_a_turnover_that_allows_no_trade_of_its_size() -> None:
    problem = asked()
    name = int(problem.accounts.holding_name[0])
    names = problem.market.price_micros.size
    held = positions.read(problem).held[0, name]
    upper = np.full((1, names), 10**6, dtype=np.int64)
    upper[0, name] = int((held - 0.01) * 1e6)
    value = int(positions.read(problem).value_cents[0])

    problem = replace(
        problem,
        wants=replace(
            problem.wants,
            upper_ppm=upper,
            trade_min_cents=np.array([value // 20]),
            turnover_max_ppm=np.array([30_000]),
        ),
    )
    answer = conflicts.find(problem, [0])

    # 1 % has to go, a trade is 5 % or more, and 3 % may be turned over.
    kinds = {wish.kind for wish in answer[0]}
    assert kinds == {WishKind.UPPER, WishKind.TRADE_MIN, WishKind.TURNOVER}


def test_an_account_that_can_be_served_has_no_conflict() -> None:
    assert conflicts.find(asked(), [0]) == {0: ()}
