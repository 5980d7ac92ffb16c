"""What the optimizer refuses at its border: every malformed argument, by its name."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from bench import instances
from bench.instances import Recipe
from robo.core.errors import RoboError
from robo.portfolio import border, conflicts, optimizer
from robo.portfolio.border import ProblemError
from robo.portfolio.problem import HARD, Duals, Problem, Rows, Status
from robo.portfolio.rebalance import rebalance

NAMES = 8


def drawn(accounts: int = 2, **switches: Any) -> Problem:
    """Return a problem with every optional argument set."""
    recipe = Recipe(accounts=accounts, names=NAMES, factors=3, hard_rows=2, seed=3, **switches)
    problem = instances.draw(recipe)

    def every(number: int, *shape: int) -> np.ndarray:
        return np.full((accounts, *shape), number, dtype=np.int64)

    wants = replace(
        problem.wants,
        alpha=np.full((accounts, NAMES), 0.01),
        upper_ppm=every(900_000, NAMES),
        lower_ppm=every(0, NAMES),
        trade_min_cents=every(100),
        trade_cost_ppm=every(1),
        new_line_ppm=every(1),
        turnover_max_ppm=every(2_000_000),
        tracking_error_max_ppm=every(900_000),
    )
    return replace(problem, wants=wants)


def arguments() -> list[tuple[str, str]]:
    """Return every array of a problem as (part, field)."""
    problem = drawn()
    parts = ("market", "accounts", "taxes", "wants")
    found = [(part, one.name) for part in parts for one in fields(getattr(problem, part))]
    found.remove(("wants", "rows"))
    return found + [("rows", one.name) for one in fields(Rows)]


def put(problem: Problem, part: str, name: str, value: Any) -> Problem:
    if part == "rows":
        rows = replace(problem.wants.rows, **{name: value})
        return replace(problem, wants=replace(problem.wants, rows=rows))
    return replace(problem, **{part: replace(getattr(problem, part), **{name: value})})


def get(problem: Problem, part: str, name: str) -> Any:
    return getattr(problem.wants.rows if part == "rows" else getattr(problem, part), name)


def spoilt(value: np.ndarray) -> list[Any]:
    """Return what nobody means by an array like this."""
    huge = np.where(np.ones(value.shape, bool), 2**62, 0)
    wrong = [
        "text",
        object(),
        value.astype(object),
        value.astype(np.complex128),
        value[..., None, None],
        np.concatenate([value, value, value[:1]]),
        np.array(0),
        np.array([]) if value.size > 1 else np.zeros((0, 3)),
        huge,
        -huge,
    ]
    if value.dtype.kind == "f":
        for bad in (np.nan, 1e200, -1e200):
            other = value.copy()
            other.flat[0] = bad
            wrong.append(other)
    else:
        wrong += [value.astype(np.float64) + 0.5, np.full(value.shape, np.nan)]
        wrong += [np.full(value.shape, 2**64 - 1, dtype=np.uint64), value.astype("U9")]
    return wrong


@pytest.mark.parametrize(("part", "name"), arguments())
def test_no_hostile_value_gets_past_the_border(part: str, name: str) -> None:
    problem = drawn()
    value = np.asarray(get(problem, part, name))
    # These say how many there are of everything: another may be called too long or too short.
    counts = {"price_micros", "cash_cents", "holding_name", "lot_nanos", "weight"}

    for bad in spoilt(value):
        # A day is any whole number; it only breaks ties.
        is_whole = isinstance(bad, np.ndarray) and bad.dtype == np.int64
        if name == "lot_acquired_day" and is_whole and bad.shape == value.shape:
            continue
        with pytest.raises(ProblemError) as caught:
            optimizer.solve(put(problem, part, name, bad))
        assert caught.value.code == "malformed_problem"
        assert isinstance(caught.value, RoboError)
        assert isinstance(caught.value, ValueError)
        if name not in counts:
            assert name in {field.removeprefix("rows.") for field in caught.value.fields}


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("taxes", "mode", np.array([1.5, 0.0]), "mode must be integers"),
        ("taxes", "mode", np.array([0, 3]), "mode must be a TaxMode, from 0 to 2"),
        ("accounts", "rule", np.full((2, NAMES), 256), "rule must be from 0 to 15"),
        ("accounts", "rule", np.full((2, NAMES), -1), "rule must be from 0 to 15"),
        ("market", "specific_variance", np.full(NAMES, 1e-310), "specific_variance must be from"),
        ("market", "exposure", np.full((NAMES, 3), 1e200), "exposure must be from -100.0 to"),
        ("market", "price_micros", np.full(NAMES, 10**12 + 1), "price_micros must be from 1 to"),
        ("accounts", "cash_cents", np.full(2, 10**15 + 1), "cash_cents must be from 0 to"),
        ("wants", "cash_ppm", np.full(2, 1_000_001), "cash_ppm must be from 0 to 1000000"),
        ("wants", "benchmark", np.full(NAMES, 0.2), "benchmark must sum to 1"),
        ("wants", "risk_aversion", None, "risk_aversion is missing"),
        ("wants", "active_max_ppm", None, "active_max_ppm is missing"),
        ("rows", "price", np.full(2, np.nan), "rows.price must be from 0 to"),
        ("rows", "low", np.full(2, np.inf), "rows.low must be finite, or -inf for no bound"),
        ("rows", "weight", np.ones(NAMES), "rows.weight must have 8 columns"),
    ],
)
def test_the_message_says_what_is_wrong(part: str, name: str, value: Any, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        optimizer.solve(put(drawn(), part, name, value))


def lots_of(nanos: list[int], cash: int = 0) -> Problem:
    """Return one account with lots of one name."""
    problem = drawn(accounts=1)
    count = len(nanos)
    no = np.zeros(count, dtype=np.bool_)
    accounts = replace(
        problem.accounts,
        cash_cents=np.array([cash]),
        holding_indptr=np.array([0, 1]),
        holding_name=np.array([0]),
        lot_indptr=np.array([0, count]),
        lot_nanos=np.array(nanos),
        lot_basis_cents=np.zeros(count, dtype=np.int64),
        lot_acquired_day=np.arange(count),
        lot_is_long=no,
        lot_is_blocked=no,
        lot_wait=no,
    )
    return replace(problem, accounts=accounts)


def test_shares_that_would_overflow_together_are_refused() -> None:
    with pytest.raises(ProblemError, match="lot_nanos must be from 1 to"):
        optimizer.solve(lots_of([10**18 + 1]))
    with pytest.raises(ProblemError, match="lot_nanos of a name must be"):
        optimizer.solve(lots_of([10**18] * 10))
    with pytest.raises(ProblemError, match="accounts must be worth"):
        optimizer.solve(lots_of([10**18], cash=10**15))


def test_the_parts_of_a_problem_must_be_what_they_are_called() -> None:
    problem = drawn()

    with pytest.raises(ProblemError, match="taxes must be Taxes"):
        optimizer.solve(replace(problem, taxes=None))
    with pytest.raises(ProblemError, match="rows must be Rows"):
        optimizer.solve(replace(problem, wants=replace(problem.wants, rows=[1, 2])))
    with pytest.raises(ProblemError, match="mode"):
        conflicts.find(put(drawn(), "taxes", "mode", np.array([1.5, 0.0])), [0])


def laid_out(value: Any, how: str) -> Any:
    """Return the same numbers in another layout."""
    if value is None:
        return None
    array = np.array(value)
    if how == "read-only":
        array.flags.writeable = False
    elif how == "strided":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        array = wide[..., ::2]
    elif how == "big-endian" and array.dtype != np.bool_:
        array = array.astype(array.dtype.newbyteorder(">"))
    elif how == "list":
        return array.tolist() if array.size else array
    elif how == "fortran":
        array = np.asfortranarray(array)
    return array


@pytest.mark.parametrize("how", ["read-only", "strided", "big-endian", "list", "fortran"])
def test_the_layout_of_the_numbers_changes_nothing(how: str) -> None:
    problem = other = drawn()
    for part, name in arguments():
        other = put(other, part, name, laid_out(get(problem, part, name), how))

    plain, again = optimizer.solve(problem), optimizer.solve(other)

    assert plain.holding.tobytes() == again.holding.tobytes()
    assert plain.buy_cents.tobytes() == again.buy_cents.tobytes()
    assert plain.lot_sold_nanos.tobytes() == again.lot_sold_nanos.tobytes()


def test_no_accounts_are_no_trades() -> None:
    problem = drawn()
    none = np.zeros(0, dtype=np.int64)
    no = np.zeros(0, dtype=np.bool_)
    for part in ("accounts", "taxes", "wants"):
        for one in fields(getattr(problem, part)):
            value = getattr(getattr(problem, part), one.name)
            if isinstance(value, np.ndarray) and one.name != "benchmark":
                empty = value[:0]
                if one.name.endswith("_indptr"):
                    empty = np.zeros(1, dtype=np.int64)
                problem = put(problem, part, one.name, empty)
    problem = put(problem, "rows", "low", np.full(2, -np.inf))
    problem = put(problem, "rows", "high", np.full(2, np.inf))
    problem = put(problem, "accounts", "holding_name", none)
    problem = put(problem, "accounts", "lot_is_long", no)

    solution = optimizer.solve(problem)

    assert solution.trade_name.size == solution.status.size == solution.duals.value.shape[0] == 0


@pytest.mark.parametrize("factors", [0, 1, 30])
def test_one_name_is_bought_with_what_there_is(factors: int) -> None:
    problem = instances.draw(Recipe(accounts=3, names=1, factors=1, active_max_ppm=1_000_000))
    problem = put(problem, "market", "exposure", np.full((1, factors), 0.1))

    solution = optimizer.solve(problem)

    assert (solution.status == Status.SOLVED).all()


@pytest.mark.parametrize("variance", border.SPECIFIC_VARIANCE)
@pytest.mark.parametrize("exposure", [0.0, 1e-9, border.EXPOSURE_MAX])
@pytest.mark.parametrize("aversion", border.RISK_AVERSION)
def test_numbers_at_the_edge_of_their_range_are_answered(
    variance: float, exposure: float, aversion: float
) -> None:
    problem = instances.draw(Recipe(accounts=2, names=NAMES, factors=3))
    signs = np.where(np.arange(3 * NAMES).reshape(NAMES, 3) % 2, 1.0, -1.0)
    problem = put(problem, "market", "exposure", exposure * signs)
    problem = put(problem, "market", "specific_variance", np.full(NAMES, variance))
    problem = put(problem, "wants", "risk_aversion", np.full(2, aversion))

    solution = optimizer.solve(problem)

    assert np.isfinite(solution.holding).all()
    assert (solution.bound <= solution.objective + 1e-9 * (1 + np.abs(solution.objective))).all()


def test_warm_prices_of_any_size_are_only_a_start() -> None:
    problem = drawn()
    cold = optimizer.solve(problem)

    for far in (1e300, -1e300, 1e15):
        start = Duals(np.full_like(cold.duals.value, far))
        solution = optimizer.solve(problem, start)
        assert solution.status.tolist() == cold.status.tolist()
        np.testing.assert_allclose(solution.objective, cold.objective, atol=1e-8)
    for bad in (np.nan, np.inf):
        with pytest.raises(ProblemError, match="warm must be finite"):
            optimizer.solve(problem, Duals(np.full_like(cold.duals.value, bad)))
    with pytest.raises(ProblemError, match="warm"):
        optimizer.solve(problem, Duals("yesterday"))


def test_hard_is_a_price_and_no_number() -> None:
    priced = put(drawn(), "rows", "price", np.array([HARD, 0.5]))

    assert (optimizer.solve(priced).status != Status.UNDECIDED).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1.0])
@pytest.mark.parametrize("what", ["cash", "prices", "lot_shares", "lot_basis", "cost", "trade_min"])
def test_a_newcomers_number_that_is_none_is_refused_by_its_name(what: str, bad: float) -> None:
    given: dict[str, Any] = {
        "prices": [10.0, 20.0],
        "cash": 100.0,
        "lot_shares": [1.0],
        "lot_basis": [9.0],
        "cost": 0.001,
        "trade_min": 0.0,
    }
    given[what] = [bad, *given[what][1:]] if isinstance(given[what], list) else bad

    with pytest.raises(ProblemError):
        rebalance([0.5, 0.5], [[0.2], [0.2]], [0.04, 0.04], lot_name=[0], **given)
