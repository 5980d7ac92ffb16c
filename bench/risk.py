"""The risk model judged on real prices, out of sample: bias statistics and tracking errors.

From the first session of each start year the model is refitted every 7 sessions (weekly, the
default; 0.14 s of CPU a fit) on the past only. Every 63 sessions portfolios are chosen and then
left alone, drifting with prices. A forecast is compared with what followed: `quarterly` with the
one made on the first day, `monthly` with those of days 0, 21 and 42, `weekly` with all nine.
Realised figures are root mean squares of daily (active) returns, annual.

* Bias statistic: root mean square of (realised / forecast) over the 21-session spells of a walk.
* Ratio of a quarter: realised over expected tracking error (`expected_error.py`: the model's and
  that of the positions over the last weeks); inside is 0.8 to 1.25. `model alone` is printed too.
* Attainable: the share inside if every forecast were right every day; days drawn at random from
  the portfolio's own daily returns over their weekly forecasts, so only chance is left.

The constants of the model were chosen on 2001-11 to 2007-12, those of the expected error on the
walk from 2004 to 2007; walks from 2008 on judge them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench._real_history import MISSING, History, load
from bench.report import Figure, cpu_seconds
from robo.portfolio.expected_error import expected_tracking_error
from robo.portfolio.factor_model import FactorModel, fit_factors
from robo.portfolio.sampling import sample

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

STARTS: Final = {2004: 16, 2008: 16, 2012: 16, 2016: 21}
"""Start year -> quarters."""
QUICK_STARTS: Final = {2012: 4}
STEP, MONTH, QUARTER = 7, 21, 63
YEAR: Final = 252
LOW, HIGH = 0.8, 1.25
SIZES: Final = (30, 40, 80, 150)
ACCOUNTS: Final = 8
"""Per size: the index as it is, and seven accounts that exclude 1 to 25 names."""
SCORE_TILT_ERROR: Final = 0.01
"""The score tilt goes as far as one per cent of forecast tracking error."""
HARVEST_LOSS: Final = 0.05
"""Names that fell by this within the last quarter are harvested ..."""
HARVEST_SHARE: Final = 0.25
"""... with this chance: accounts bought on different days, and not all lots show a loss."""
REFITS: Final = {"monthly": MONTH, "quarterly": QUARTER, "weekly": STEP}
"""Sessions between two forecasts."""


@dataclass(frozen=True, slots=True)
class Quarter:
    """One portfolio over 63 sessions."""

    family: str
    start: int
    forecast: FloatArray
    """Annual variances on days 0, 7, ..., shape (9,), or fewer and further apart."""
    daily: FloatArray
    """Returns, active where the family tracks, shape (63,)."""
    told: FloatArray
    """Expected tracking errors, squared, as `forecast`; empty where the family does not track."""

    def made(self, every: int, *, told: bool = False) -> FloatArray:
        """Return the forecasts of days 0, `every`, ..., annual variances."""
        made = self.told if told else self.forecast
        return made[:: every * made.size // QUARTER]


@dataclass(slots=True)
class Held:
    """A portfolio on its way through a quarter; weights over all names of the history."""

    family: str
    weight: FloatArray
    active: bool
    forecast: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    daily: list[FloatArray] = field(default_factory=list)


def run(*, quick: bool = False) -> list[Figure]:
    """Return bias statistics, tracking ratios and the fit's speed."""
    history = load()
    if history is None:
        return [Figure("risk on real prices", None, "", MISSING)]
    starts = QUICK_STARTS if quick else STARTS
    quarters = [
        quarter for year, count in starts.items() for quarter in walk(history, year, count, fitted)
    ]
    return [
        *_cleaning(history),
        *_speed(),
        *_biases(quarters),
        *_ratios(quarters),
    ]


def fitted(history: History, session: int, live: NDArray[np.int64]) -> FactorModel:
    """Return the model of the past of a session, that session's close included."""
    return fit_factors(
        history.simple[: session + 1, live],
        history.sector[live],
        # A name without a close that day weighs nothing in the market, and is still forecast.
        np.nan_to_num(history.capitalisation[session, live]),
    )


Fit = Callable[[History, int, NDArray[np.int64]], FactorModel]


def walk(
    history: History, year: int, count: int, fit: Fit, *, step: int = STEP
) -> Iterable[Quarter]:
    """Yield every portfolio of every quarter from the first session of a year."""
    for number in range(count):
        first = history.on(year) + number * QUARTER - 1
        if first + QUARTER >= history.days.size:
            return
        held: list[Held] = []
        live = history.live(first)
        benchmark = np.zeros(len(history.names))
        size = history.capitalisation[first, live]
        benchmark[live] = size / size.sum()
        for session in range(first, first + QUARTER, step):
            model = fit(history, session, live)
            held = held or choose(history, live, model, benchmark[live], first)
            _forecast(held, model, benchmark, live, history.simple[: session + 1, live])
            benchmark = _advance(held, benchmark, history.simple[session + 1 :][:step])
        yield from (
            Quarter(
                one.family,
                year,
                np.array(one.forecast),
                np.concatenate(one.daily),
                np.array(one.told),
            )
            for one in held
        )


def choose(
    history: History,
    live: NDArray[np.int64],
    model: FactorModel,
    benchmark: FloatArray,
    first: int,
) -> list[Held]:
    """Return the portfolios of a quarter."""
    rng = np.random.default_rng(first)
    sector = history.sector[live]
    count = live.size
    chosen = [("index", benchmark, False)]
    for code in range(len(history.sector_names)):
        inside = np.where(sector == code, benchmark, 0.0)
        if np.count_nonzero(inside) >= 10:
            chosen.append(("sectors", inside / inside.sum(), False))
    for size in (10,) * 10 + (30, 60, 100, 150) * 3:
        some = np.zeros(count)
        some[rng.choice(count, size, replace=False)] = 1.0
        some *= 1.0 if size == 10 else benchmark
        family = "ten names" if size == 10 else "30-150 names"
        chosen.append((family, some / some.sum(), False))
    excluded = np.zeros((ACCOUNTS, count), dtype=bool)
    for account in excluded[1:]:
        account[rng.choice(count, rng.integers(1, 26), replace=False)] = True
    for size in SIZES:
        best = sample(model.exposure, model.specific_variance, benchmark, size, excluded=excluded)
        for account, (member, weight) in enumerate(zip(best.member, best.weight, strict=True)):
            some = np.zeros(count)
            some[member[member >= 0]] = weight[member >= 0]
            chosen.append((f"TE {size}" + (" personal" if account else ""), some, True))
    whole = [*excluded[1:], *_harvested(history, live, first, rng)]
    covariance = model.covariance()
    for number, out in enumerate(whole):
        family = "TE all personal" if number < ACCOUNTS - 1 else "TE all harvested"
        chosen.append((family, least_error(covariance, benchmark, None, ~out), True))
    chosen += [(name, some, True) for name, some in _tilts(history, live, model, benchmark)]
    held = []
    for family, some, active in chosen:
        weight = np.zeros(len(history.names))
        weight[live] = some
        held.append(Held(family, weight, active))
    return held


def _harvested(
    history: History, live: NDArray[np.int64], first: int, rng: np.random.Generator
) -> BoolArray:
    """Return what accounts that hold all names have sold at a loss and may not buy back yet.

    Each sold a quarter of the names that lost at least `HARVEST_LOSS` over the last quarter.
    """
    growth = np.prod(1.0 + np.nan_to_num(history.simple[first - QUARTER + 1 : first + 1, live]), 0)
    lost = growth < 1.0 - HARVEST_LOSS
    return np.asarray(lost & (rng.random((ACCOUNTS - 1, live.size)) < HARVEST_SHARE))


def _tilts(
    history: History, live: NDArray[np.int64], model: FactorModel, benchmark: FloatArray
) -> list[tuple[str, FloatArray]]:
    """Return all names, tilted three ways, each with the least tracking error for its wish."""
    covariance = model.covariance()
    score = np.random.default_rng(7).normal(size=len(history.names))[live]
    energy = history.sector[live] == history.sector_names.index("Energy")
    technology = history.sector[live] == history.sector_names.index("Information Technology")
    low, high = 0.0, 1.0
    for _ in range(12):
        pull = (low + high) / 2
        scored = least_error(covariance, benchmark, pull * 0.1 * score)
        active = scored - benchmark
        near = active @ covariance @ active < SCORE_TILT_ERROR**2
        low, high = (pull, high) if near else (low, pull)
    wish = benchmark * np.where(technology, 1.25, np.where(energy, 0.5, 1.0))
    return [
        ("TE all, score tilt", scored),
        ("TE all, sector tilt", wish / wish.sum()),
        ("TE all, no energy", least_error(covariance, benchmark, None, ~energy)),
    ]


def least_error(
    covariance: FloatArray,
    benchmark: FloatArray,
    pull: FloatArray | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Return weights >= 0 with sum 1 of least x'Sx / 2 - pull'x; names are only ever dropped.

    Dropping names one way is not always the optimum, and near enough for a portfolio to judge.
    """
    target = covariance @ benchmark + (0.0 if pull is None else pull)
    names = np.flatnonzero(np.ones(benchmark.size, dtype=bool) if allowed is None else allowed)
    while True:
        sides = np.column_stack([target[names], np.ones(names.size)])
        free, budget = np.linalg.solve(covariance[np.ix_(names, names)], sides).T
        weight = free + budget * (1.0 - free.sum()) / budget.sum()
        if weight.min() >= -1e-12:
            break
        names = names[weight > 0]
    whole = np.zeros_like(benchmark)
    whole[names] = np.maximum(weight, 0.0)
    return np.asarray(whole / whole.sum())


def _forecast(
    held: list[Held],
    model: FactorModel,
    benchmark: FloatArray,
    live: NDArray[np.int64],
    past: FloatArray,
) -> None:
    tracking = [one for one in held if one.active]
    weight = np.array([one.weight[live] for one in tracking])
    told = expected_tracking_error(model, past, weight, benchmark[live])
    for one, error in zip(tracking, told, strict=True):
        one.told.append(float(error**2))
    for one in held:
        x = (one.weight - benchmark if one.active else one.weight)[live]
        common = x @ model.exposure
        one.forecast.append(float(common @ common + x * x @ model.specific_variance))


def _advance(held: list[Held], benchmark: FloatArray, returns: FloatArray) -> FloatArray:
    """Let every portfolio drift through some sessions; a return not known counts as none."""
    r = np.nan_to_num(returns)
    growth = np.cumprod(1.0 + r, axis=0)
    before = np.vstack([np.ones(r.shape[1]), growth[:-1]])

    def daily(weight: FloatArray) -> FloatArray:
        value = weight * before
        return np.asarray((value * r).sum(axis=1) / value.sum(axis=1))

    index = daily(benchmark)
    for one in held:
        one.daily.append(daily(one.weight) - (index if one.active else 0.0))
        one.weight = one.weight * growth[-1] / (one.weight @ growth[-1])
    return np.asarray(benchmark * growth[-1] / (benchmark @ growth[-1]))


def bias(quarters: list[Quarter]) -> float:
    """Return the bias statistic of monthly refits."""
    ratio = [
        YEAR * float(np.mean(spell**2)) / variance
        for quarter in quarters
        for spell, variance in zip(
            quarter.daily.reshape(-1, MONTH), quarter.made(MONTH), strict=True
        )
    ]
    return float(np.sqrt(np.mean(ratio)))


def ratios(quarters: list[Quarter], refits: str = "weekly", *, told: bool = True) -> FloatArray:
    """Return realised over expected tracking error of each quarter, or over the model's alone."""
    every = REFITS[refits]
    return np.array(
        [
            np.sqrt(YEAR * np.mean(quarter.daily**2) / np.mean(quarter.made(every, told=told)))
            for quarter in quarters
        ]
    )


def inside(ratio: FloatArray) -> float:
    """Return the share of quarters between 0.8 and 1.25."""
    return float(np.mean((ratio >= LOW) & (ratio <= HIGH)))


def attainable(quarters: list[Quarter]) -> float:
    """Return the share inside if each day's forecast were right and only chance were left."""
    unit = np.concatenate(
        [
            (quarter.daily.reshape(-1, STEP) / np.sqrt(quarter.told / YEAR)[:, None]).ravel()
            for quarter in quarters
        ]
    )
    unit /= np.sqrt(np.mean(unit**2))
    drawn = np.random.default_rng(1).choice(unit, (4_000, QUARTER))
    return inside(np.sqrt(np.mean(drawn**2, axis=1)))


def _of(quarters: list[Quarter], family: str, start: int | None = None) -> list[Quarter]:
    return [
        quarter
        for quarter in quarters
        if quarter.family == family and start in {None, quarter.start}
    ]


def _families(quarters: list[Quarter], *, active: bool) -> list[str]:
    return [
        family
        for family in dict.fromkeys(quarter.family for quarter in quarters)
        if family.startswith("TE") == active
    ]


def _starts(quarters: list[Quarter]) -> list[int]:
    return list(dict.fromkeys(quarter.start for quarter in quarters))


def _biases(quarters: list[Quarter]) -> Iterable[Figure]:
    for active in (False, True):
        for family in _families(quarters, active=active):
            for start in _starts(quarters):
                value = bias(_of(quarters, family, start))
                yield Figure(f"bias, {family}, from {start}", value, "realised/forecast")
            yield Figure(f"bias, {family}, all", bias(_of(quarters, family)), "realised/forecast")


def _ratios(quarters: list[Quarter]) -> Iterable[Figure]:
    for family in _families(quarters, active=True):
        for start in _starts(quarters):
            ratio = ratios(_of(quarters, family, start))
            note = f"{ratio.size} quarters, weekly refits, median ratio {np.median(ratio):.2f}"
            yield Figure(f"{family}, from {start}", inside(ratio), "share inside", note)
        mine = _of(quarters, family)
        for refits in REFITS:
            ratio = ratios(mine, refits)
            note = f"{ratio.size} quarters, median ratio {np.median(ratio):.2f}"
            yield Figure(f"{family}, all, {refits} refits", inside(ratio), "share inside", note)
        ratio = ratios(mine, told=False)
        note = f"{ratio.size} quarters, weekly refits, median ratio {np.median(ratio):.2f}"
        yield Figure(f"{family}, all, model alone", inside(ratio), "share inside", note)
        yield Figure(f"{family}, attainable", attainable(mine), "share inside", "chance alone")
        level = float(np.sqrt(YEAR * np.mean([np.mean(one.daily**2) for one in mine])))
        yield Figure(f"{family}, realised", level, "tracking error a year")


def _cleaning(history: History) -> Iterable[Figure]:
    for fault, count in history.cleaned.count().items():
        word = fault.name.lower().replace("_", " ")
        yield Figure(f"returns dropped: {word}", count, f"of {history.cleaned.simple.size}")


def _speed() -> Iterable[Figure]:
    rng = np.random.default_rng(0)
    returns = rng.standard_t(5, (1000, 500)) * 0.01
    sector, size = rng.integers(0, 11, 500), rng.pareto(1.0, 500) + 0.01
    seconds = cpu_seconds(lambda: fit_factors(returns, sector, size), repeats=3)
    yield Figure("fit, 500 names x 1,000 sessions", seconds, "CPU s")
