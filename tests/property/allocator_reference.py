"""The allocator once more, written from the objective alone: Python integers, no shared code.

Costs are in millionths: sum of 1e6 x^2 - 2 gap x, where gap = weight x NAV - 1e6 x holding; the
sum of squared deviations from target differs from it by a constant and a factor.
"""

from itertools import combinations

import numpy as np

MILLION = 1_000_000


def gaps(values: list[int], cash: int, weights: list[int]) -> list[int]:
    nav = cash + sum(values)
    return [w * nav - MILLION * h for w, h in zip(weights, values, strict=True)]


def cost(amounts: list[int], gap: list[int]) -> int:
    return sum(MILLION * x * x - 2 * g * x for x, g in zip(amounts, gap, strict=True))


def pour(gap: list[int], least: int, total: int) -> list[int]:
    """Return the best integer split over all names given, each at least `least`.

    The t-th cent costs 1e6 (2t - 1) - 2 gap more; take the cheapest cents until all are given.
    """

    def taken(price: int) -> list[int]:
        return [max(least, (price + 2 * g + MILLION) // (2 * MILLION)) for g in gap]

    low = -2 * MILLION * (total + 1) - 2 * max(gap)
    high = 2 * MILLION * (total + 1) - 2 * min(gap)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(taken(middle)) <= total:
            low = middle
        else:
            high = middle - 1
    amounts, dearer = taken(low), taken(low + 1)
    for i, more in enumerate(dearer):
        if sum(amounts) < total and more > amounts[i]:
            amounts[i] += 1
    assert sum(amounts) == total
    return amounts


def best_buys(gap: list[int], free: list[int], minimum: int, cash: int) -> tuple[int, int]:
    """Return how much can be invested and the least cost, over every set of names that trade."""
    best = (0, 0)
    for size in range(1, len(free) + 1):
        if size * minimum > cash or cash == 0:
            break
        for chosen in combinations(free, size):
            picked = [gap[i] for i in chosen]
            found = (-cash, cost(pour(picked, minimum, cash), picked))
            best = min(best, found)
    return -best[0], best[1]


def least_cost_of_all_sets(gap: np.ndarray, minimum: int, cash: int) -> int:
    """Return the least cost over all 2^n sets at once; small amounts only (int64)."""
    n = gap.size
    chosen = (np.arange(1, 1 << n)[:, None] >> np.arange(n)) & 1 == 1
    chosen = chosen[chosen.sum(axis=1) * minimum <= cash]

    def taken(price: np.ndarray) -> np.ndarray:
        amounts = np.maximum(minimum, (price[:, None] + 2 * gap + MILLION) // (2 * MILLION))
        return np.where(chosen, amounts, 0)

    reach = 2 * MILLION * (cash + 1) + 2 * int(np.abs(gap).max())
    low = np.full(len(chosen), -reach)
    high = np.full(len(chosen), reach)
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = taken(middle).sum(axis=1) <= cash
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    amounts = taken(low)
    rises = taken(low + 1) > amounts
    amounts += rises & (np.cumsum(rises, axis=1) <= (cash - amounts.sum(axis=1))[:, None])
    assert (amounts.sum(axis=1) == cash).all()
    return int((MILLION * amounts * amounts - 2 * gap * amounts).sum(axis=1).min())


def least_cost_by_dynamic_programming(gap: np.ndarray, minimum: int, cash: int) -> int:
    """Return the least cost of spending exactly `cash`, name by name, cent by cent."""
    beyond = np.int64(2**62)
    best = np.full(cash + 1, beyond)
    best[0] = 0
    trades = np.arange(minimum, cash + 1)
    for g in gap:
        price = MILLION * trades * trades - 2 * int(g) * trades
        following = best.copy()
        for spent in np.flatnonzero(best[: cash - minimum + 1] < beyond):
            room = cash - minimum - spent + 1
            reach = slice(spent + minimum, cash + 1)
            following[reach] = np.minimum(following[reach], best[spent] + price[:room])
        best = following
    return int(best[cash])


def certified_bound(gap: list[int], minimum: int, cash: int) -> int:
    """Return a lower bound on the cost: the Lagrangian relaxation of the budget, maximised.

    Valid at any integer price of a cent, because each name is then minimised on its own.
    """

    def bound(price: int) -> int:
        total = -price * cash
        for g in gap:
            best = max(minimum, (2 * g - price + MILLION) // (2 * MILLION))
            total += min(0, MILLION * best * best + (price - 2 * g) * best)
        return total

    low = 2 * min(gap) - 2 * MILLION * (cash + minimum)
    high = 2 * max(gap) + 2 * MILLION * (cash + minimum)
    while high - low > 2:  # the bound is concave in the price
        third = (high - low) // 3
        if bound(low + third) < bound(high - third):
            low += third
        else:
            high -= third
    return max(bound(price) for price in range(low, high + 1))
