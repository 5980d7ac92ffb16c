"""`make life`: one life on several market seeds, checked, drawn, and set beside rules of others.

Everything printed was counted in this run. The ages at which a balance is reached are reported as
they come; no seed is chosen for them.
"""

import csv
import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

from robo.store import universe
from scheduler import life_check, life_decisions, life_moves, life_rules, life_wash
from scheduler.life_check import Counts
from scheduler.life_moves import Stream
from scheduler.life_pictures import Lines, svg
from scheduler.life_story import BORN, STEP_WEEKS, Life, lived
from scheduler.life_taxes import Saved, saved

SEEDS: Final = (1, 2, 3, 4, 5)
UNTIL_AGE: Final = 55
_AT_ONCE: Final = 5
"""Lives side by side, about 600 MB each: five on two cores end sooner than three rounds of two."""
MARKS: Final = (25_000, 100_000, 500_000, 1_000_000, 2_000_000)
OURS: Final = "ours"
CAPTIONS: Final = {
    "harvested": "Losses meet the gains of their year, then at most $3,000 of other income; the "
    "rest is carried until a year can use it. Losses that a wash sale disallows are left out. Much "
    "of this is tax deferred, not avoided: it comes due when the shares bought again are sold.",
}
_CORES: Final[list[Any]] = []
"""In a process of several: the semaphore of the cores."""
_GIVING_WAY_SECONDS: Final = 0.001
"""So that who waits for a core gets it before who has just had it."""
_YEAR: Final = 13
"""Steps of four weeks."""
_GARBAGE: Final = (50_000, 20, 50)
"""Objects before a search for garbage, and how many small ones go before a larger one."""
_AGAIN_DAYS: Final = 2 * 7 * STEP_WEEKS + life_check.AGAIN_DAYS
"""Time is thinned: of what one look sells the next but one may buy the last; see docs/life.md."""
_SOON_DAYS: Final = 7 * STEP_WEEKS + life_check.AGAIN_DAYS
"""But the next one buys all of it that matters."""


@dataclass(frozen=True, slots=True)
class Told:
    """One account of one seed."""

    name: str
    counts: Counts
    worth: tuple[float, ...]
    """Dollars, by week."""
    saved: Saved
    """Tax saved by losses so far, less tax on gains."""


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


def main(seeds: Sequence[int], until_age: float, out: Path) -> int:
    """Live, check, draw, print; return 0 if nothing was forced, washed, over budget or broken."""
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    context, many = get_context("spawn"), len(seeds)
    cores = context.BoundedSemaphore(os.cpu_count() or 1)
    with ProcessPoolExecutor(min(many, _AT_ONCE), context, _share, (cores,)) as pool:
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


def live(seed: int, until_age: float, out: Path) -> Outcome:
    """Return what a seed came to; its decisions are written beside the pictures."""
    began = time.monotonic()
    with _seldom_collecting(), lived(seed, until_age, _turn) as (life, rt), _turn():
        life_decisions.write(rt.db, life.account_id, out / f"decisions-{seed}.csv")
        _write_weeks(life, out / f"weeks-{seed}.csv")
        with rt.db.read() as session:
            raw: Any = session.connection().connection.driver_connection
            stream = life_moves.read(raw, life.account_id)
            sizes = {one.id: float(one.size_cents) for one in universe.everything(session)}
        return _outcome(life, stream, sizes, began)


def _share(cores: Any) -> None:
    """Take part in the cores that the lives of this run share."""
    _CORES.append(cores)


@contextmanager
def _turn() -> Iterator[None]:
    """Compute while one of the cores is ours: five lives that compute at once slow each other."""
    if not _CORES:
        yield
        return
    with _CORES[0]:
        yield
    time.sleep(_GIVING_WAY_SECONDS)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Look for garbage seldom: a life keeps books of decades, and a search looks at all of them."""
    before = gc.get_threshold()
    gc.set_threshold(*_GARBAGE)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _outcome(life: Life, stream: Stream, sizes: dict[Any, float], began: float) -> Outcome:
    days = [date.fromisoformat(one.on) for one in life.weeks]
    paid = np.diff([0, *(one.paid_in_cents for one in life.weeks)]) / 100
    growth = np.array(life.growth)
    size = np.array([sizes.get(one, 0.0) for one in life.ids])
    others = life_rules.play(days, paid.tolist(), growth, size)
    worth = [one.nav_cents / 100 for one in life.weeks]
    told = [_told(OURS, stream, days, worth)]
    told += [_told(name, one.stream(), days, one.worth) for name, one in others.items()]
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


def _told(name: str, stream: Stream, days: Sequence[date], worth: Iterable[float]) -> Told:
    sold = life_wash.adjust(stream.moved, stream.heirs)
    until = days[-1] - timedelta(days=_AGAIN_DAYS)
    counts = life_check.count(
        stream, again_days=_AGAIN_DAYS, soon_days=_SOON_DAYS, until=until, sold=sold
    )
    return Told(name, counts, tuple(worth), saved(sold, days))


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


def _write_weeks(life: Life, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(life.weeks[0])))
        writer.writeheader()
        writer.writerows(asdict(one) for one in life.weeks)


def _draw(outcomes: Sequence[Outcome], out: Path) -> None:
    """Write the four pictures and a page that shows them."""
    ages = max((one.ages for one in outcomes), key=len)
    fund = next(iter(life_rules.RULES))

    def both(what: Callable[[Told], Sequence[float]]) -> dict[str, Sequence[float]]:
        lines: dict[str, Sequence[float]] = {}
        for one in outcomes:
            by_name = {told.name: told for told in one.told}
            lines[f"seed {one.seed}, ours"] = what(by_name[OURS])
            lines[f"seed {one.seed}, shadow fund"] = what(by_name[fund])
        return lines

    pictures = {
        "value": Lines(
            "Value, on simulated prices", "$", ages, both(lambda one: one.worth), logarithmic=True
        ),
        "tracking": Lines(
            "Tracking error against the index, realised over a year",
            "%",
            ages,
            {f"seed {one.seed}": one.tracking for one in outcomes},
        ),
        "harvested": Lines(
            "Tax saved so far by losses that count, less tax on gains (22 % short, 15 % long)",
            "$",
            ages,
            both(lambda one: one.saved.dollars),
        ),
        "names": Lines("Names held", "", ages, {f"seed {one.seed}": one.names for one in outcomes}),
    }
    for name, lines in pictures.items():
        (out / f"{name}.svg").write_text(svg(lines), encoding="utf-8")
    shown = "\n".join(
        f'<figure><img src="{name}.svg" alt="{name}">'
        f"<figcaption>{CAPTIONS.get(name, '')}</figcaption></figure>"
        for name in pictures
    )
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
    print(
        "\nThe same life under rules of others (means of the seeds in dollars; counts are sums):\n"
    )
    print(
        f"{'':34}{'value':>12}{'tax saved':>11}{'losses left':>12}{'sales':>8}{'forced':>8}"
        f"{'washed':>8}{'deferred':>10}{'years over':>12}{'over budget':>13}"
    )
    for spot, first in enumerate(outcomes[0].told):
        rows = [one.told[spot] for one in outcomes]
        counts = [one.counts for one in rows]
        print(
            f"{first.name:34}{np.mean([one.worth[-1] for one in rows]):>12,.0f}"
            f"{np.mean([one.saved.dollars[-1] for one in rows]):>11,.0f}"
            f"{np.mean([one.saved.carried_cents / 100 for one in rows]):>12,.0f}"
            f"{sum(one.sales for one in counts):>8,}{sum(one.forced for one in counts):>8,}"
            f"{sum(one.washed for one in counts):>8,}"
            f"{np.mean([one.deferred_cents / 100 for one in counts]):>10,.0f}"
            f"{sum(one.over_budget for one in counts):>12,}"
            f"{np.mean([one.over_budget_cents / 100 for one in counts]):>13,.0f}"
        )
    ours = [one.told[0].counts for one in outcomes]
    asked = sum(one.apart_cents for one in ours) / 100
    print(
        f"\nours, apart: {sum(one.apart for one in ours)} sales that the customer or a corporate "
        f"action chose, net gain ${asked:,.0f}; {sum(one.washed_meant for one in ours)} wash sales "
        f"that were meant; losses deferred ${sum(one.deferred_cents for one in ours) / 100:,.0f}; "
        f"{sum(one.young for one in ours)} losses of the last weeks too young to be judged"
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
