"""Choose m of N names that follow a benchmark best, for many accounts, each with a proof.

An account asks for at most m names h >= 0 with sum 1 that have the least ex-ante tracking error
sqrt((h - w)'S(h - w)) to its benchmark w, S = X X' + diag(d), without its excluded names, with
its required ones and with no weight above its cap. It gets names, weights, the tracking error
and a lower bound that no choice of m names can beat. docs/sampling.md has the mathematics.

Notation is `problem`'s: A accounts, N names, K factors, X exposure, d specific variance, w the
benchmark, h what is held; here m is the number of names.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio import sampling_bounds, sampling_kernels, sampling_lift
from robo.portfolio.problem import BoolArray
from robo.portfolio.sampling_cache import digest
from robo.portfolio.sampling_kernels import EXCLUDED, REQUIRED, FloatArray, IntArray, StateArray
from robo.portfolio.sampling_lift import Lift, Relaxed, certify, decompositions, narrowed
from robo.portfolio.sampling_question import SUM_TOLERANCE, Question, checked, roomy

CANDIDATES: Final = 50
"""Names beyond m that the search looks among: those of highest one-name gain."""
KICKED: Final = 80
"""The search is thrown off its best names to look again this often for one name, less for more."""
REQUIRED_MIN: Final = 0.001
"""Least weight of a required name: it is held, not only named."""
_BLOCK: Final = 256
"""Accounts worked on at a time: bounds the memory, changes no result."""
LIFTED: Final = 200
"""Names the stronger bound speaks of at least; who holds another has the plain bound."""
LIFT_SIZE_MAX: Final = 60
"""Up to this many names the stronger bound is looked for unless told otherwise."""
_ROUNDING: Final = 1e-12
"""Taken off every bound, in units of w'Sw / 2: more than the arithmetic can have got wrong."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What each account should hold."""

    member: IntArray
    """Names by rising index, shape (A, m); -1 where an account needs fewer."""
    weight: FloatArray
    """h of the members, shape (A, m); each row sums to 1."""
    tracking_error: FloatArray
    """Annual, ex ante, shape (A,)."""
    bound: FloatArray
    """Certified, shape (A,): no m allowed names have a smaller tracking error."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """An account that many resemble: excludes one group or nothing; found once, and well."""

    excluded: BoolArray
    """Shape (N,)."""
    duals: FloatArray
    """Where its bound was found, shape (1, K + 2)."""
    favourite: IntArray
    """Its best names, shape (E, m): E is 0 or 1."""
    lift: Lift | None = None
    lift_duals: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What accounts of one benchmark share, so that each starts near its own answer."""

    digest: str
    """Of the question it was made for."""
    covariances: FloatArray
    c: FloatArray
    """S w, shape (1, N)."""
    constant: FloatArray
    """w'Sw / 2, shape (1,)."""
    scenarios: tuple[Scenario, ...]
    """The first excludes nothing."""


def sample(
    exposure: ArrayLike,
    specific_variance: ArrayLike,
    benchmark: ArrayLike,
    size: int,
    *,
    excluded: ArrayLike | None = None,
    required: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    required_min: float = REQUIRED_MIN,
    kicks: int | None = None,
    plan: Plan | None = None,
) -> Sample:
    """Return for each account at most `size` names and weights, and how good they can be at all.

    An account's answer depends on its own row only, so any split of a batch gives the same bytes.

    Args:
        exposure: X, shape (N, K), annual, so that S = X X' + diag(d).
        specific_variance: d, shape (N,), annual, positive.
        benchmark: w, shape (N,) for all, or (A, N) or (1, N) where tilts make it the account's
            own, found without what a plan shares; not negative, rows sum to 1.
        size: m, from 1 to N.
        excluded: Names an account never holds, booleans of shape (N,) or (A, N).
        required: Names an account must hold, the same shapes.
        upper: Most of a name as a fraction, shape (N,); None for no cap.
        required_min: Least weight of a required name.
        kicks: How often to look again for a slightly smaller tracking error; 0 for the fastest
            answer, None for what pays at this size.
        plan: From `prepare` for the same market, benchmark, size and caps: better bounds.

    Raises:
        ValueError: If an array has another shape or holds what it may not, or if an account
            cannot be met: a name both excluded and required, more than `size` required, or caps
            and exclusions that leave no way to invest everything. The first such row is named.
    """
    ask = checked(
        exposure, specific_variance, benchmark, size, excluded, required, upper, required_min
    )
    if plan is not None and plan.digest != _digest(ask):
        message = "plan was made for another market, benchmark, size or cap"
        raise ValueError(message)
    kicks = max(1, KICKED // size) if kicks is None else kicks
    accounts = ask.state.shape[0]
    settled = Sample(
        np.empty((accounts, ask.size), np.int64),
        np.empty((accounts, ask.size)),
        np.empty(accounts),
        np.empty(accounts),
    )
    if ask.tilted:
        covariances = _covariances(ask)
        for first in range(0, accounts, _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, accounts))
            c, constant, start = _pull(ask, ask.benchmark[rows])
            own = Plan("", covariances, c, constant, ())
            alone = Scenario(np.empty(0, np.bool_), start, np.empty((0, ask.size), np.int64))
            _fill(ask, own, alone, ask.benchmark[rows], rows, kicks, settled)
        return settled
    plan = plan or _bare(ask)
    kind = _nearest(plan, ask.state)
    for number, scenario in enumerate(plan.scenarios):
        alike = np.flatnonzero(kind == number)
        for first in range(0, alike.size, _BLOCK):
            rows = alike[first : first + _BLOCK]
            _fill(ask, plan, scenario, ask.benchmark, rows, kicks, settled)
    return settled


def prepare(
    exposure: ArrayLike,
    specific_variance: ArrayLike,
    benchmark: ArrayLike,
    size: int,
    *,
    upper: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    lift_steps: int | None = None,
    kicks: int = 100,
) -> Plan:
    """Return what every account of a benchmark can start from: better bounds, better names.

    Takes nine seconds of CPU per group at N = 500 where the stronger bound is looked for;
    `sample` takes the result as `plan`.

    Args:
        exposure: X, as in `sample`, like the arguments that follow.
        specific_variance: d.
        benchmark: w, shape (N,).
        size: m.
        upper: Most of a name.
        groups: What accounts often exclude together, such as a sector in each row: booleans of
            shape (G, N). One more certificate each.
        lift_steps: Effort for the stronger bound, 0 for none. None decides by size: beyond 60
            names it gains little.
        kicks: Effort for the names.

    Raises:
        ValueError: As `sample`, or if the benchmark is not one for all.
    """
    ask = checked(exposure, specific_variance, benchmark, size, groups, None, upper, 0.0)
    if ask.tilted:
        message = "a plan needs one benchmark, of shape (N,)"
        raise ValueError(message)
    plan = _bare(ask)
    if lift_steps is None:
        lift_steps = sampling_lift.STEPS if size <= LIFT_SIZE_MAX else 0
    out = [np.zeros(ask.specific.size, np.bool_), *(ask.state == EXCLUDED)]
    kinds = [mask for number, mask in enumerate(out) if number == 0 or mask.any()]
    found = tuple(_prepare_one(ask, plan, mask, lift_steps, kicks) for mask in kinds)
    return replace(plan, scenarios=found)


def _bare(ask: Question) -> Plan:
    """Return the plan that knows no more than the duals of the account without wishes."""
    c, constant, start = _pull(ask, ask.benchmark)
    nothing = np.zeros((1, ask.specific.size), np.uint8)
    _, _, duals = _bound(ask, c, constant, nothing, start)
    empty = Scenario(nothing[0] > 0, duals, np.empty((0, ask.size), np.int64))
    return Plan(_digest(ask), _covariances(ask), c, constant, (empty,))


def _prepare_one(
    ask: Question, plan: Plan, mask: BoolArray, lift_steps: int, kicks: int
) -> Scenario:
    """Return a scenario with the best names and the best lift found."""
    state = np.where(mask, np.uint8(EXCLUDED), np.uint8(0)).reshape(1, -1)
    settled = Sample(
        np.empty((1, ask.size), np.int64), np.empty((1, ask.size)), np.empty(1), np.empty(1)
    )
    only = replace(ask, state=state)
    _fill(only, plan, plan.scenarios[0], ask.benchmark, np.zeros(1, np.int64), kicks, settled)
    bound, gain, duals = _bound(only, plan.c, plan.constant, state, plan.scenarios[0].duals)
    scenario = Scenario(mask, duals, settled.member)
    rank = np.argsort(-gain[0], kind="stable")[: max(ask.size + CANDIDATES, LIFTED)]
    pool = np.sort(rank[~mask[rank]])
    if lift_steps == 0 or pool.size <= ask.size or not gain[0, pool].any():
        return scenario
    part = plan.covariances[np.ix_(pool, pool)]
    plain = Relaxed(plan.c[0, pool], ask.specific[pool], gain[0, pool], float(duals[0, -1]))
    best = float(bound[0])
    for apart, delta in decompositions(part, plain, ask.size, lift_steps):
        lift = certify(part, plain.c, plan.constant, pool, apart, delta)
        if lift is None:
            continue
        h = _held(settled, ask.specific.size)[pool]
        start = np.append(lift.factor @ h, [0.0, 0.0]).reshape(1, -1)
        higher, _, found = _bound_lifted(only, lift, start, state)
        if higher[0] > best:
            best = float(higher[0])
            lift, nu = narrowed(lift, found[0, :-2])
            start = np.append(nu, found[0, -2:]).reshape(1, -1)
            scenario = replace(scenario, lift=lift, lift_duals=start)
    return scenario


def _held(settled: Sample, names: int) -> FloatArray:
    """Return the weights of the first account over all names, shape (N,)."""
    h = np.zeros(names)
    held = settled.member[0] >= 0
    h[settled.member[0, held]] = settled.weight[0, held]
    return h


def _nearest(plan: Plan, state: StateArray) -> IntArray:
    """Return for each account the scenario with the most names among those it excludes all of."""
    out = state == EXCLUDED
    kind, most = np.zeros(len(state), np.int64), np.zeros(len(state), np.int64)
    for number, scenario in enumerate(plan.scenarios[1:], start=1):
        count = int(scenario.excluded.sum())
        fits = out[:, scenario.excluded].all(axis=1) & (count > most)
        kind[fits], most[fits] = number, count
    return kind


def _fill(
    ask: Question,
    plan: Plan,
    scenario: Scenario,
    benchmark: FloatArray,
    rows: IntArray,
    kicks: int,
    settled: Sample,
) -> None:
    """Solve the accounts of some rows into the sample."""
    state = ask.state[rows]
    bound, gain, duals = _bound(ask, plan.c, plan.constant, state, scenario.duals)
    if scenario.lift is not None and scenario.lift_duals is not None:
        bound = np.maximum(
            bound, _lifted(ask, scenario.lift, scenario.lift_duals, state, bound, gain, duals)
        )
    member, weight, variance = _search(ask, plan, scenario, benchmark, state, gain, kicks)
    short = np.flatnonzero(np.abs(weight.sum(axis=1) - 1.0) > SUM_TOLERANCE)
    if short.size:
        left = roomy(state[short], ask.upper, ask.size, member[short])
        own = plan if len(plan.c) == 1 else replace(plan, c=plan.c[short])
        w = benchmark if len(benchmark) == 1 else benchmark[short]
        again = _search(ask, own, scenario, w, left, gain[short], 0)
        member[short], weight[short], variance[short] = again
    settled.member[rows], settled.weight[rows] = member, weight
    settled.tracking_error[rows] = np.sqrt(variance)
    settled.bound[rows] = np.sqrt(np.maximum(2.0 * (bound - _ROUNDING * plan.constant), 0.0))


def _search(
    ask: Question,
    plan: Plan,
    scenario: Scenario,
    benchmark: FloatArray,
    state: StateArray,
    gain: FloatArray,
    kicks: int,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return names, weights and squared tracking errors of accounts in these states."""
    shape = (len(state), ask.size)
    member, weight, variance = np.empty(shape, np.int64), np.empty(shape), np.empty(shape[0])
    sampling_kernels.search_rows(
        ask.factor,
        ask.specific,
        plan.covariances,
        benchmark,
        plan.c,
        ask.upper,
        state,
        gain,
        scenario.favourite,
        np.array([ask.size, ask.size + CANDIDATES, kicks], dtype=np.int64),
        ask.least,
        member,
        weight,
        variance,
    )
    return member, weight, variance


def _lifted(
    ask: Question,
    lift: Lift,
    start: FloatArray,
    state: StateArray,
    bound: FloatArray,
    gain: FloatArray,
    duals: FloatArray,
) -> FloatArray:
    """Return the lifted bound where it stands, minus infinity where a required name lies outside.

    The lift speaks of choices from its pool. A choice with a name from outside gives up the last
    gain that found a place for that name's, by the plain bound's own duals.
    """
    inside = np.zeros(state.shape[1], np.bool_)
    inside[lift.pool] = True
    within, _, _ = _bound_lifted(ask, lift, start, state)
    best_outside = gain[:, ~inside].max(axis=1, initial=0.0)
    beyond = bound + np.maximum(duals[:, -1] - best_outside, 0.0)
    stands = ~(state[:, ~inside] == REQUIRED).any(axis=1)
    return np.where(stands, np.minimum(within, beyond), -np.inf)


def _bound_lifted(
    ask: Question, lift: Lift, start: FloatArray, state: StateArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the bound of choices from the lift's pool, with its gains and duals."""
    part = replace(
        ask,
        factor=lift.factor,
        loading=lift.loading,
        specific=lift.delta,
        upper=ask.upper[lift.pool],
    )
    own = np.ascontiguousarray(state[:, lift.pool])
    return _bound(part, lift.c, lift.constant, own, start)


def _covariances(ask: Question) -> FloatArray:
    covariances = np.empty((ask.specific.size, ask.specific.size))
    sampling_kernels.covariance(ask.factor, ask.specific, covariances)
    return covariances


def _digest(ask: Question) -> str:
    """Return a digest of what a plan depends on."""
    return digest(ask.loading, ask.specific, ask.benchmark, ask.upper, np.array([ask.size]))


def _pull(ask: Question, benchmark: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return c = S w, w'Sw / 2 and cold duals that know only nu = X'w, a row each."""
    rows, rank = benchmark.shape[0], ask.factor.shape[0]
    c, seen, constant = np.empty(benchmark.shape), np.empty((rows, rank)), np.empty(rows)
    sampling_kernels.pull(ask.factor, ask.specific, benchmark, c, seen, constant)
    start = np.zeros((rows, rank + 2))
    start[:, :rank] = seen
    return c, constant, start


def _bound(
    ask: Question, c: FloatArray, constant: FloatArray, state: StateArray, start: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the perspective bound on half the squared error, gains (A, N) and duals (A, K + 2)."""
    rows = state.shape[0]
    bound, gain = np.empty(rows), np.empty(state.shape)
    duals = np.empty((rows, start.shape[1]))
    sampling_bounds.bound_rows(
        ask.factor,
        ask.loading,
        c,
        constant,
        ask.specific,
        ask.upper,
        state,
        ask.size,
        ask.least,
        start,
        bound,
        gain,
        duals,
    )
    return bound, gain, duals
