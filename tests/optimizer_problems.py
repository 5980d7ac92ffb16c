"""Small hostile problems for the optimizer's tests: every feature on and off, every corner."""

from dataclasses import replace
from typing import Any

import numpy as np

from robo.portfolio.problem import (
    HARD,
    Accounts,
    Market,
    Problem,
    Rows,
    Rule,
    Taxes,
    TaxMode,
    Wants,
)

CORNERS = ("plain", "empty", "blocked", "no cash", "one lot", "huge", "tiny", "ties", "all cash")


def small(
    seed: int,
    accounts: int = 3,
    *,
    convex: bool = False,
    features: bool = True,
    names: tuple[int, int] = (3, 12),
) -> Problem:
    """Return a seeded problem of some small accounts, each in a corner of its own."""
    rng = np.random.default_rng([seed, 77])
    count = int(rng.integers(names[0], names[1] + 1))
    market = _market(rng, count)
    drawn = [
        _account(rng, market, CORNERS[int(rng.integers(len(CORNERS)))]) for _ in range(accounts)
    ]
    return Problem(
        market=market,
        accounts=_joined(rng, drawn, count, features=features),
        taxes=_taxes(rng, drawn, convex=convex, features=features),
        wants=_wants(rng, drawn, count, convex=convex, features=features),
    )


def _market(rng: np.random.Generator, names: int) -> Market:
    factors = int(rng.integers(1, 5))
    exposure = rng.normal(0, 0.1, (names, factors))
    exposure[:, 0] += 0.16
    specific = rng.uniform(0.01, 0.1, names)
    price = np.floor(10 ** rng.uniform(6, 9.5, names)).astype(np.int64)
    cost = rng.choice([0, 100, 500, 3000], names) if rng.random() < 0.3 else np.full(names, 500)
    if rng.random() < 0.2:  # two names that nothing tells apart
        exposure[1], specific[1], price[1], cost[1] = exposure[0], specific[0], price[0], cost[0]
    return Market(exposure, specific, price, cost.astype(np.int64))


def _account(rng: np.random.Generator, market: Market, corner: str) -> dict[str, Any]:
    names = market.price_micros.size
    exponent = {"huge": 10.9, "tiny": 2.2}.get(corner, float(rng.uniform(5, 8.5)))
    value = 10**exponent  # cents
    weight = rng.dirichlet(np.full(names, 1.5))
    part = np.where(rng.random(names) < 0.8, weight * np.exp(rng.normal(0, 0.5, names)), 0.0)
    cash = {"no cash": 0.0, "empty": 1.0, "all cash": 1.0}.get(corner, float(rng.uniform(0, 0.2)))
    if corner == "ties":
        weight, part = np.full(names, 1 / names), np.full(names, 1.0)
    if corner == "one lot":
        part = part * 0
        part[int(rng.integers(names))] = 1.0
    part = part * (1 - cash) / max(part.sum(), 1e-12) * (corner not in {"empty", "all cash"})
    lots = []
    for name in np.flatnonzero(part > 0).tolist():
        number = 1 if corner == "one lot" else int(rng.integers(1, 5))
        split = np.full(number, 1 / number) if corner == "ties" else rng.dirichlet(np.ones(number))
        for share in split:
            nanos = int(share * part[name] * value * 1e13 / int(market.price_micros[name]))
            if nanos <= 0:
                continue
            cents = nanos * int(market.price_micros[name]) / 1e13
            ratio = 1.25 if corner == "ties" else float(np.exp(rng.normal(0, 0.35)))
            age = int(rng.integers(0, 2000))
            stuck = corner == "blocked" or bool(rng.random() < 0.08)
            lots.append((name, nanos, int(cents * ratio), age, stuck))
    free = 0 if corner == "empty" and rng.random() < 0.5 else int(value * cash)
    return {"weight": weight, "lots": lots, "cash": free, "corner": corner}


def _joined(
    rng: np.random.Generator, drawn: list[dict[str, Any]], names: int, *, features: bool
) -> Accounts:
    indptr, holding_name, lot_indptr, lots = [0], [], [0], []
    for account in drawn:
        held = sorted({lot[0] for lot in account["lots"]})
        for name in held:
            holding_name.append(name)
            lots += [lot for lot in account["lots"] if lot[0] == name]
            lot_indptr.append(len(lots))
        indptr.append(len(holding_name))
    choice = [0, int(Rule.NEVER_BUY), int(Rule.NEVER_SELL), int(Rule.NEVER_SELL_AT_LOSS)]
    choice += [int(Rule.NEVER_TRADE), int(Rule.NEVER_OWN | Rule.NEVER_BUY), int(Rule.NEVER_OWN)]
    odds = [0.72, 0.06, 0.04, 0.06, 0.03, 0.05, 0.04]
    rule = rng.choice(choice, (len(drawn), names), p=odds).astype(np.uint8)
    if not features:
        rule[:] = 0
    age = np.array([lot[3] for lot in lots], dtype=np.int64)
    return Accounts(
        cash_cents=np.array([account["cash"] for account in drawn], dtype=np.int64),
        holding_indptr=np.array(indptr, dtype=np.int64),
        holding_name=np.array(holding_name, dtype=np.int64),
        lot_indptr=np.array(lot_indptr, dtype=np.int64),
        lot_nanos=np.array([lot[1] for lot in lots], dtype=np.int64),
        lot_basis_cents=np.array([lot[2] for lot in lots], dtype=np.int64),
        lot_acquired_day=20_000 - age,
        lot_is_long=age > 365,
        lot_is_blocked=np.array([lot[4] and features for lot in lots], dtype=np.bool_),
        lot_wait=(age > 320) & (age <= 365),
        rule=rule,
    )


def _taxes(
    rng: np.random.Generator, drawn: list[dict[str, Any]], *, convex: bool, features: bool
) -> Taxes:
    count = len(drawn)
    value = np.array([_value(account) for account in drawn])
    modes = [int(TaxMode.HARVEST), int(TaxMode.NEUTRAL), int(TaxMode.REALISE)]
    mode = rng.choice(modes, count, p=[0.6, 0.2, 0.2])
    budget = np.where(rng.random(count) < 0.3, value * rng.uniform(0, 0.05, count), -1)

    def every(number: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.full(count, number, dtype=np.int64)

    nets = rng.random(count) < 0.4
    return Taxes(
        short_rate_ppm=every(370_000),
        long_rate_ppm=every(200_000),
        ordinary_rate_ppm=every(320_000),
        mode=every(int(TaxMode.NEUTRAL)) if convex else mode.astype(np.int64),
        year_short_cents=(value * rng.normal(0, 0.02, count)).astype(np.int64),
        year_long_cents=(value * rng.normal(0, 0.02, count)).astype(np.int64),
        ordinary_limit_cents=every(300_000),
        carry_ppm=every(int(rng.choice([0, 600_000, 1_000_000]))),
        gain_budget_cents=budget.astype(np.int64) if features else every(-1),
        recapture_ppm=every(int(rng.choice([0, 0, 300_000]))),
        netting=nets & features & (not convex),
    )


def _wants(
    rng: np.random.Generator,
    drawn: list[dict[str, Any]],
    names: int,
    *,
    convex: bool,
    features: bool,
) -> Wants:
    count = len(drawn)
    value = np.array([_value(account) for account in drawn])

    def maybe(odds: float, numbers: Any) -> Any:
        drawn_anyway = rng.random() < odds
        return np.asarray(numbers).astype(np.int64) if drawn_anyway and features else None

    nonconvex = 0.0 if convex else 0.3
    return Wants(
        benchmark=np.stack([account["weight"] for account in drawn]),
        risk_aversion=rng.choice([5.0, 40.0, 200.0], count),
        cash_ppm=rng.choice([0, 5_000, 20_000], count),
        cash_price_ppm=rng.choice([1_000, 10_000, 50_000], count),
        active_max_ppm=rng.choice([20_000, 100_000, 1_000_000], count),
        alpha=rng.normal(0, 0.01, names) if features and rng.random() < 0.25 else None,
        upper_ppm=maybe(0.15, rng.uniform(2e5, 8e5, (count, names))),
        lower_ppm=maybe(0.1, rng.uniform(0, 2e4, (count, names))),
        trade_min_cents=maybe(nonconvex, value * rng.uniform(0, 0.03, count)),
        trade_cost_ppm=maybe(nonconvex, rng.uniform(0, 300, count)),
        new_line_ppm=maybe(nonconvex, rng.uniform(0, 1000, count)),
        turnover_max_ppm=maybe(0.25, rng.uniform(0, 6e5, count)),
        tracking_error_max_ppm=maybe(0.25, rng.uniform(5_000, 150_000, count)),
        rows=_rows(rng, drawn, names) if features and rng.random() < 0.4 else None,
    )


def _rows(rng: np.random.Generator, drawn: list[dict[str, Any]], names: int) -> Rows:
    number = int(rng.integers(1, 4))
    weight = np.where(rng.random((number, names)) < 0.5, 1.0, 0.0)
    if rng.random() < 0.3:
        weight[0] = rng.normal(0, 1, names)
    level = np.stack([account["weight"] for account in drawn]) @ weight.T
    width = rng.uniform(0, 0.08, level.shape)
    high = np.where(rng.random(level.shape) < 0.7, level + width, np.inf)
    price = np.where(rng.random(number) < 0.5, HARD, rng.uniform(0.005, 0.3, number))
    return Rows(
        weight, np.where(rng.random(level.shape) < 0.7, level - width, -np.inf), high, price
    )


def _value(account: dict[str, Any]) -> float:
    return float(account["cash"] + sum(lot[2] for lot in account["lots"]))


def only(problem: Problem, index: int) -> Problem:
    """Return one account of a problem as a problem of its own."""
    return taken(problem, [index])


def taken(problem: Problem, order: list[int]) -> Problem:
    """Return some accounts of a problem, in an order, as a problem of their own."""
    old = problem.accounts
    count = old.cash_cents.size
    holdings = [h for a in order for h in range(old.holding_indptr[a], old.holding_indptr[a + 1])]
    lots = [lot for h in holdings for lot in range(old.lot_indptr[h], old.lot_indptr[h + 1])]
    lots_of = np.diff(old.lot_indptr)[holdings] if holdings else np.zeros(0, dtype=np.int64)
    names = problem.market.price_micros.size

    def rows(value: Any) -> Any:
        if value is None or not isinstance(value, np.ndarray):
            return value
        return value[order] if value.shape[:1] == (count,) and value.shape != (names,) else value

    def parts(source: Any, skip: frozenset[str] = frozenset()) -> Any:
        fields = [name for name in source.__dataclass_fields__ if name not in skip]
        return replace(source, **{name: rows(getattr(source, name)) for name in fields})

    per_lot = {
        name: getattr(old, name)[lots]
        for name in old.__dataclass_fields__
        if name.startswith("lot_") and name != "lot_indptr"
    }
    accounts = Accounts(
        cash_cents=old.cash_cents[order],
        holding_indptr=np.concatenate([[0], np.cumsum(np.diff(old.holding_indptr)[order])]),
        holding_name=old.holding_name[holdings],
        lot_indptr=np.concatenate([[0], np.cumsum(lots_of)]).astype(np.int64),
        rule=rows(old.rule),
        **per_lot,
    )
    wants = parts(problem.wants, frozenset({"rows", "alpha"}))
    wide = problem.wants.rows
    if wide is not None:
        sliced = {name: getattr(wide, name) for name in ("low", "high")}
        sliced = {name: v[order] if v.ndim == 2 else v for name, v in sliced.items()}
        wants = replace(wants, rows=replace(wide, **sliced))
    alpha = problem.wants.alpha
    if alpha is not None and alpha.ndim == 2:
        wants = replace(wants, alpha=alpha[order])
    return Problem(problem.market, accounts, parts(problem.taxes), wants)
