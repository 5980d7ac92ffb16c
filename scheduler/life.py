"""`make life`: one life on several market seeds, checked, drawn, and set beside rules of others.

Everything printed was counted in this run. The ages at which a balance is reached are reported as
they come; no seed is chosen for them.
"""

import csv
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import text

from robo.core.money import PPM
from robo.runtime import Runtime
from robo.store import universe
from scheduler import life_check, life_rules
from scheduler.life_check import Counts
from scheduler.life_pictures import Lines, svg
from scheduler.life_story import BORN, Life, lived

SEEDS: Final = (1, 2, 3, 4, 5)
UNTIL_AGE: Final = 55
BUDGET_CENTS: Final = 0
SHORT_PPM, LONG_PPM = 220_000, 150_000
"""Rates of somebody in the middle: those the services assume where a customer has told nothing."""
MARKS: Final = (25_000, 100_000, 500_000, 1_000_000, 2_000_000)
OURS: Final = "ours"
_YEAR: Final = 13
"""Steps of four weeks."""
_DECISIONS: Final = """
    SELECT o.planned_at, 'order', o.side, o.security_id, o.reason, o.state, o.notional_cents,
           o.nanos, o.filled_cents, o.filled_nanos, e.tax_cents, e.cost_cents, e.tracking_error_ppm
    FROM orders o LEFT JOIN trade_effect e ON e.order_id = o.id WHERE o.account_id = :account
    UNION ALL
    SELECT s.at, 'skip', '', s.security_id, s.reason, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM skip s WHERE s.account_id = :account ORDER BY 1
"""
_COLUMNS: Final = (
    "at_micros",
    "decision",
    "side",
    "symbol",
    "reason",
    "state",
    "buy_cents",
    "sell_nanos",
    "filled_cents",
    "filled_nanos",
    "tax_cents",
    "cost_cents",
    "tracking_error_ppm",
)


@dataclass(frozen=True, slots=True)
class Told:
    """One account of one seed."""

    name: str
    counts: Counts
    worth: tuple[float, ...]
    """Dollars, by week."""
    harvested: tuple[float, ...]
    """Tax saved by losses so far, less tax on gains, dollars by week."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One seed: our account first, then the rules of others."""

    seed: int
    ages: tuple[float, ...]
    names: tuple[int, ...]
    tracking: tuple[float, ...]
    """Realised over a year against the index, annual, per cent; NaN before there is a year."""
    paid_in: float
    told: tuple[Told, ...]
    acts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    troubles: tuple[str, ...]
    seconds: float


def main(seeds: Sequence[int], until_age: int, out: Path) -> int:
    """Live, check, draw, print; return 0 if nothing was forced, washed, over budget or broken."""
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        many = len(seeds)
        outcomes = list(pool.map(live, seeds, [until_age] * many, [out] * many))
    _draw(outcomes, out)
    _print(outcomes, out, time.monotonic() - began)
    ours = [one.told[0].counts for one in outcomes]
    findings = sum(len(one.findings) + len(one.troubles) for one in outcomes)
    forced, washed = sum(one.forced for one in ours), sum(one.washed for one in ours)
    over = sum(one.over_budget for one in ours)
    print(f"forced sales: {forced}")
    print(f"unintended wash sales: {washed}")
    print(f"gains over budget: {over}")
    return int(bool(forced or washed or over or findings))


def live(seed: int, until_age: int, out: Path) -> Outcome:
    """Return what a seed came to; its decisions are written beside the pictures."""
    began = time.monotonic()
    with lived(seed, until_age) as (life, rt):
        _write_decisions(rt, life, out / f"decisions-{seed}.csv")
        _write_weeks(life, out / f"weeks-{seed}.csv")
        with rt.db.read() as session:
            raw: Any = session.connection().connection.driver_connection
            moved = life_check.moves(raw, life.account_id)
            sizes = {one.id: float(one.size_cents) for one in universe.everything(session)}
        return _outcome(life, moved, sizes, began)


def _outcome(
    life: Life, moved: Sequence[life_check.Moved], sizes: dict[Any, float], began: float
) -> Outcome:
    days = [date.fromisoformat(one.on) for one in life.weeks]
    paid = np.diff([0, *(one.paid_in_cents for one in life.weeks)]) / 100
    growth = np.array(life.growth)
    size = np.array([sizes.get(one, 0.0) for one in life.ids])
    others = life_rules.play(days, paid.tolist(), growth, size)
    worth = [one.nav_cents / 100 for one in life.weeks]
    told = [_told(OURS, moved, days, worth)]
    told += [_told(name, one.moved, days, one.worth) for name, one in others.items()]
    return Outcome(
        seed=life.seed,
        ages=tuple((day - BORN).days / 365.25 for day in days),
        names=tuple(one.names for one in life.weeks),
        tracking=tuple(_tracking(worth, paid.tolist(), growth, size)),
        paid_in=life.weeks[-1].paid_in_cents / 100,
        told=tuple(told),
        acts=tuple(life.acts),
        findings=tuple(life.findings),
        troubles=tuple(life.troubles),
        seconds=time.monotonic() - began,
    )


def _told(
    name: str,
    moved: Sequence[life_check.Moved],
    days: Sequence[date],
    worth: Iterable[float],
) -> Told:
    counts = life_check.count(moved, BUDGET_CENTS, harvests=True)
    saved, spot, sum_saved = [], 0, 0.0
    sales = [(one.on, one) for one in moved if one.kind == "sell"]
    since: dict[str, date] = {}
    for one in moved:
        since.setdefault(one.lot_id, one.on)
    for day in days:
        while spot < len(sales) and sales[spot][0] <= day:
            one = sales[spot][1]
            rate = LONG_PPM if life_check.is_long(since[one.lot_id], one.on) else SHORT_PPM
            sum_saved -= one.gain_cents / 100 * rate / PPM
            spot += 1
        saved.append(sum_saved)
    return Told(name, counts, tuple(worth), tuple(saved))


def _tracking(worth: Sequence[float], paid: Sequence[float], growth: Any, size: Any) -> list[float]:
    """Return the standard deviation over a year of the return difference to the index."""
    level = np.cumprod(1.0 + np.maximum(growth, -1.0), axis=0) * size
    index = level.sum(axis=1)
    errors = [float("nan")]
    for now in range(1, len(worth)):
        base = worth[now - 1] + paid[now] / 2
        own = (worth[now] - worth[now - 1] - paid[now]) / base
        errors.append(own - float(index[now] / index[now - 1] - 1.0))
    return [
        float("nan")
        if now < _YEAR
        else float(np.std(errors[now - _YEAR + 1 : now + 1]) * np.sqrt(_YEAR) * 100)
        for now in range(len(errors))
    ]


def _write_decisions(rt: Runtime, life: Life, path: Path) -> None:
    with rt.db.read() as session, path.open("w", encoding="utf-8", newline="") as file:
        symbol = {one.id: one.symbol for one in universe.everything(session)}
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        rows = session.connection().execute(text(_DECISIONS), {"account": life.account_id})
        writer.writerows([*row[:3], symbol.get(row[3], row[3]), *row[4:]] for row in rows)


def _write_weeks(life: Life, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(life.weeks[0])))
        writer.writeheader()
        writer.writerows(asdict(one) for one in life.weeks)


def _draw(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write the four pictures and a page that shows them."""
    ages = max((one.ages for one in outcomes), key=len)
    fund = next(iter(life_rules.RULES))

    def both(what: str) -> dict[str, Sequence[float]]:
        lines: dict[str, Sequence[float]] = {}
        for one in outcomes:
            by_name = {told.name: told for told in one.told}
            lines[f"seed {one.seed}, ours"] = getattr(by_name[OURS], what)
            lines[f"seed {one.seed}, shadow fund"] = getattr(by_name[fund], what)
        return lines

    pictures = {
        "value": Lines("Value, on simulated prices", "$", ages, both("worth"), logarithmic=True),
        "tracking": Lines(
            "Tracking error against the index, realised over a year",
            "%",
            ages,
            {f"seed {one.seed}": one.tracking for one in outcomes},
        ),
        "harvested": Lines(
            "Tax saved so far by losses, less tax on gains", "$", ages, both("harvested")
        ),
        "names": Lines("Names held", "", ages, {f"seed {one.seed}": one.names for one in outcomes}),
    }
    for name, lines in pictures.items():
        (out / f"{name}.svg").write_text(svg(lines), encoding="utf-8")
    shown = "\n".join(f'<p><img src="{name}.svg" alt="{name}"></p>' for name in pictures)
    page = f"<!doctype html><title>A life</title><h1>A life, on simulated prices</h1>\n{shown}\n"
    (out / "index.html").write_text(page, encoding="utf-8")


def _print(outcomes: Sequence[Outcome], out: Path, seconds: float) -> None:
    print("One life on simulated prices (SIM); ages at which a balance was first reached:\n")
    print(f"{'seed':>4}  " + "".join(f"{f'${mark:,}':>12}" for mark in MARKS) + "   at the end")
    for one in outcomes:
        worth = one.told[0].worth
        ages = [
            next((a for a, w in zip(one.ages, worth, strict=True) if w >= m), None) for m in MARKS
        ]
        reached = "".join(f"{'-' if age is None else f'{age:.1f}':>12}" for age in ages)
        end = f"${worth[-1]:,.0f} of ${one.paid_in:,.0f} paid in, {one.names[-1]} names"
        print(f"{one.seed:>4}  {reached}   {end}, age {one.ages[-1]:.1f}")
    print("\nThe same life under rules of others (mean of the seeds; counts are sums):\n")
    print(
        f"{'':36}{'value':>12}{'tax saved':>11}{'sales':>8}{'forced':>8}{'washed':>8}"
        f"{'years over':>12}{'over budget':>13}"
    )
    for spot, first in enumerate(outcomes[0].told):
        rows = [one.told[spot] for one in outcomes]
        counts = [one.counts for one in rows]
        print(
            f"{first.name:36}{np.mean([one.worth[-1] for one in rows]):>12,.0f}"
            f"{np.mean([one.harvested[-1] for one in rows]):>11,.0f}"
            f"{sum(one.sales for one in counts):>8,}{sum(one.forced for one in counts):>8,}"
            f"{sum(one.washed for one in counts):>8,}{sum(one.over_budget for one in counts):>12,}"
            f"{np.mean([one.over_budget_cents / 100 for one in counts]):>13,.0f}"
        )
    print()
    for one in outcomes:
        for on, act in one.acts:
            print(f"seed {one.seed}  {on}  {act}")
    found = [(one.seed, line) for one in outcomes for line in one.findings]
    broken = [(one.seed, line) for one in outcomes for line in one.troubles]
    print(f"\nrobo verify: {len(found)} findings; failed jobs and open breaks: {len(broken)}")
    for seed, line in (*found, *broken):
        print(f"  seed {seed}: {line}")
    print(f"pictures, decisions and weeks in {out}; {seconds:.0f} s")
