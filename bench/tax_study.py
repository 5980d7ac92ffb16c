"""Harvesting on real prices, walked forward: benefit, masks, foresight, the year's target.

From the first session of each start year, three years: $300,000, and $12,000 a quarter in weekly,
monthly or quarterly deposits of the same money. Plans are made at one close with a risk model that
has seen nothing later, filled at the next close at 5 bp, under the household's wash masks of
`robo/tax`. Survivorship and weights: see `_real_history` and `_tax_market`; docs/tax-study.md.

* Benefit: tax that harvested losses save at the customer's rates, less tax on gains realised, per
  dollar paid in. Recapture: what more than a holder without harvests is owed on selling everything.
* At equal tracking error: the benefit of our plans for several risk aversions, interpolated at the
  mean ex-ante tracking error of the other's.
* Harvestable: of each lot, the deepest loss that a planner without wash masks asks for.
* Perfect foresight: every lot bought, sold on the session that saves most tax; no masks, no
  tracking error, nothing bought again. A bound for these lots, that nobody can reach.
"""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench import _tax_check
from bench._real_history import MISSING, History, load
from bench._tax_market import Walk, dividend_yields, walk
from bench._tax_replays import Policy, Replay
from bench._tax_walk import Walked, YearEnd, go
from bench.report import Figure
from robo.core.money import PPM
from robo.tax import rate_tables
from robo.tax.arrays import long_day
from robo.tax.harvest import YearTarget

FloatArray = NDArray[np.float64]

STARTS: Final = tuple(range(2004, 2019, 2))
QUICK_STARTS: Final = (2007, 2012)
YEARS: Final = 3
TAX_YEAR: Final = 2026
AVERSIONS: Final = (2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
QUICK_AVERSIONS: Final = (5.0, 20.0, 40.0, 160.0)
USUAL: Final = 40.0
EVERY: Final = ("weekly", "monthly", "quarterly")
CLOSE_CENTS: Final = 25_00
OUTSIDE_CENTS: Final = {"weekly": 8_000_00, "monthly": 0, "quarterly": -5_000_00}
PROCESSES: Final = 2


@dataclass(frozen=True, slots=True)
class Told:
    """What one replay came to, per dollar paid in."""

    replay: Replay
    benefit: float
    recapture: float
    tracking_error: float
    harvested: float
    harvestable: float
    foresight: float
    """The bound, where it was asked for."""


@dataclass(frozen=True, slots=True)
class Year:
    """What one start year came to."""

    start: int
    names: int
    told: tuple[Told, ...]
    ends: tuple[tuple[Replay, YearEnd], ...]
    fills: int
    washed_by_the_letter: int
    washed_by_units: int

    def of(self, policy: Policy, **wanted: object) -> list[Told]:
        """Return the replays of a policy with these attributes."""
        return [
            one
            for one in self.told
            if one.replay.policy is policy
            and all(getattr(one.replay, name) == value for name, value in wanted.items())
        ]


def run(*, quick: bool = False) -> list[Figure]:
    """Return the study's figures; eight start years, or two with `quick`."""
    if load() is None:
        return [Figure("harvesting on real prices", None, "", MISSING)]
    starts = QUICK_STARTS if quick else STARTS
    context = get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_settle) as pool:
        years = list(pool.map(study, starts, [quick] * len(starts)))
    return [
        *_benefits(years),
        *_masks(years),
        *_targets(years),
        Figure("orders filled", sum(one.fills for one in years), "fills"),
        Figure("wash sales, by the letter", sum(one.washed_by_the_letter for one in years), ""),
        Figure("wash sales, single shares counted", sum(one.washed_by_units for one in years), ""),
    ]


def replays(*, quick: bool = False) -> tuple[Replay, ...]:
    """Return the accounts of every walk; `quick` leaves out every other risk aversion."""
    aversions = QUICK_AVERSIONS if quick else AVERSIONS
    frontier = [Replay(Policy.OURS, risk_aversion=one) for one in aversions if one != USUAL]
    measured = [Replay(Policy.OURS, every, measured=True) for every in EVERY]
    others = (Policy.MONTHLY, Policy.YEARLY, Policy.THRESHOLD, Policy.FORESIGHT)
    targets = [
        Replay(Policy.TARGET, every, targets=(target,), outside_cents=OUTSIDE_CENTS[every])
        for every in (EVERY[:1] if quick else EVERY)
        for target in YearTarget
    ]
    changing = (YearTarget.ZERO, YearTarget.LOSS_LIMIT) * YEARS
    return (
        *(Replay(Policy.HOLD, every) for every in EVERY),
        *frontier,
        *measured,
        Replay(Policy.OURS, closes=False),
        *(Replay(policy) for policy in others),
        *targets,
        Replay(Policy.TARGET, targets=changing),
    )


def study(start: int, quick: bool = False) -> Year:  # noqa: FBT001, FBT002 - mapped over
    """Return what a start year came to."""
    history, yields = _history()
    market = walk(history, yields, start, YEARS)
    walked = go(market, replays(quick=quick), rate_tables.load(TAX_YEAR))
    trades = _tax_check.by_name(walked.book.fills)
    return Year(
        start,
        market.price_micros.shape[1],
        tuple(_told(market, walked, number) for number in range(len(walked.replays))),
        tuple((walked.replays[one.replay], one) for one in walked.ends),
        sum(one.lot.size for one in walked.book.fills),
        _tax_check.washed_by_the_letter(trades),
        _tax_check.washed_by_units(trades),
    )


def _told(market: Walk, walked: Walked, number: int) -> Told:
    replay, rates, book = walked.replays[number], walked.rates[number], walked.book
    paid = float(book.paid_in_cents[number])
    realised = book.realised[number].sum(axis=(0, 2))
    saved = -(realised * np.array([rates.short_ppm, rates.long_ppm])).sum() / PPM
    holder = walked.replays.index(Replay(Policy.HOLD, replay.every))
    more = walked.liquidation_tax_cents[number] - walked.liquidation_tax_cents[holder]
    bound = foresight_cents(market, walked, number) if replay.measured else 0.0
    return Told(
        replay,
        float(saved / paid),
        float(more / paid),
        float(walked.tracking_error[:, number].mean()),
        float(book.harvested[number]),
        float(book.harvestable[number]),
        bound / paid,
    )


def foresight_cents(market: Walk, walked: Walked, number: int) -> float:
    """Return the most tax that the lots of a replay could have saved, each sold on its best day."""
    rates, total = walked.rates[number], 0.0
    for fill in walked.book.fills:
        mine = (fill.account == number) & (fill.nanos > 0)
        if not mine.any():
            continue
        first = int(np.searchsorted(market.days, fill.day)) + 1
        turns = int(long_day(np.array([fill.day]))[0])
        turn = max(int(np.searchsorted(market.days, turns)), first)
        names, nanos = fill.name[mine], fill.nanos[mine]
        paid = fill.cents[mine].astype(np.float64)
        best = np.zeros(paid.size)
        for rows, rate in (
            (slice(first, turn), rates.short_ppm),
            (slice(turn, None), rates.long_ppm),
        ):
            ahead = market.price_micros[rows, names]
            if ahead.shape[0]:
                worth = ahead.min(axis=0) * (nanos / 1e9) / 1e4
                best = np.maximum(best, (paid - worth) * rate / PPM)
        total += float(best.sum())
    return total


def _benefits(years: Sequence[Year]) -> Iterable[Figure]:
    """Yield benefits at equal tracking error, by rule and by start year."""
    usual = [one.of(Policy.OURS, every="monthly", measured=True)[0] for one in years]
    yield Figure("ours, three-year benefit", _mean(one.benefit for one in usual) * 100, "%")
    yield Figure("ours, recapture on selling", _mean(one.recapture for one in usual) * 100, "%")
    yield Figure("ours, ex-ante TE", _mean(one.tracking_error for one in usual) * 1e4, "bp")
    for policy in (Policy.THRESHOLD, Policy.MONTHLY, Policy.YEARLY, Policy.FORESIGHT):
        theirs = [one.of(policy)[0] for one in years]
        ours = [at_error(one, peer.tracking_error) for one, peer in zip(years, theirs, strict=True)]
        mine, other = _mean(ours), _mean(one.benefit for one in theirs)
        error = _mean(one.tracking_error for one in theirs) * 1e4
        yield Figure(f"{policy.value}, three-year benefit", other * 100, "%", f"TE {error:.0f} bp")
        yield Figure("  ours at its TE", mine * 100, "%", policy.value, mine / other)
        better = sum(a > b.benefit for a, b in zip(ours, theirs, strict=True))
        yield Figure("  start years in which ours is higher", better, f"of {len(years)}")
    blunt = [one.of(Policy.OURS, closes=False)[0] for one in years]
    ours = [at_error(one, peer.tracking_error) for one, peer in zip(years, blunt, strict=True)]
    other = _mean(one.benefit for one in blunt)
    yield Figure("without closing fresh names", other * 100, "%")
    yield Figure("  ours at its TE", _mean(ours) * 100, "%", "", _mean(ours) / other)
    for one in years:
        peer = one.of(Policy.THRESHOLD)[0]
        mine = at_error(one, peer.tracking_error)
        against = f"5 % rule, TE {peer.tracking_error * 1e4:.0f} bp"
        yield Figure(
            f"start {one.start}: ours at equal TE", mine * 100, "%", against, mine / peer.benefit
        )


def at_error(year: Year, error: float) -> float:
    """Return our benefit at a tracking error: between the frontier's points, never beyond them."""
    points = year.of(Policy.OURS, every="monthly", closes=True)
    points += year.of(Policy.HOLD, every="monthly")
    points.sort(key=lambda one: one.tracking_error)
    x = [one.tracking_error for one in points]
    return float(np.interp(error, x, [one.benefit for one in points]))


def _masks(years: Sequence[Year]) -> Iterable[Figure]:
    """Yield what wash masks leave of what could be harvested, and the gap to foresight."""
    shares = {}
    for every in EVERY:
        mine = [one.of(Policy.OURS, every=every, measured=True)[0] for one in years]
        taken, there = sum(one.harvested for one in mine), sum(one.harvestable for one in mine)
        shares[every] = 100 * taken / there
        yield Figure(f"harvested of harvestable, {every} deposits", shares[every], "%")
    yield Figure("  largest difference", max(shares.values()) - min(shares.values()), "pp")
    usual = [one.of(Policy.OURS, every="monthly", measured=True)[0] for one in years]
    bound, ours = _mean(one.foresight for one in usual), _mean(one.benefit for one in usual)
    yield Figure("perfect foresight for the same lots", bound * 100, "%")
    yield Figure("  ours", ours * 100, "%", "perfect foresight", ours / bound)


def _targets(years: Sequence[Year]) -> Iterable[Figure]:
    """Yield how often the year ended on its target, where the lots allowed it."""
    ends = [end for one in years for end in one.ends]
    groups = {
        target.value: [end for _, end in ends if end.target is target] for target in YearTarget
    }
    groups["all"] = [end for _, end in ends]
    for name, found in groups.items():
        allowed = [one for one in found if one.allowed]
        hit = sum(abs(one.missing_cents) <= CLOSE_CENTS for one in allowed)
        yield Figure(f"year target {name}: replays", len(found), "years")
        yield Figure("  lots did not allow it", 100 * (1 - len(allowed) / len(found)), "%")
        if allowed:
            yield Figure("  hit within $25 where they did", 100 * hit / len(allowed), "%")


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


@cache
def _history() -> tuple[History, FloatArray]:
    history = load()
    assert history is not None
    return history, dividend_yields(history)


def _settle() -> None:
    """Let a spawned process find this package as its parent did."""
    root = str(Path(__file__).parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
