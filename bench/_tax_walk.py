"""One walk of the tax study: all replays of a start year, week by week, to the last session."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench._tax_book import COST_PPM, Book
from bench._tax_market import Walk
from bench._tax_plans import NEVER_BUY, Planner
from bench._tax_replays import Replay, Step
from robo.core.ids import LotId
from robo.core.money import PPM
from robo.portfolio.chunk import notional_cents
from robo.tax.arrays import MaskArrays, is_long
from robo.tax.gains import Net
from robo.tax.harvest import YearTarget, to_target_cents
from robo.tax.rate_tables import FilingStatus, YearTable
from robo.tax.rates import Rates, TaxProfile, marginal
from robo.tax.year_target import LAST_SESSIONS, Offer, ask_cents, land, reachable_cents

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST_CENTS: Final = 300_000_00
QUARTER_CENTS: Final = 12_000_00
WEEK: Final = 5
PROFILE: Final = TaxProfile(FilingStatus.SINGLE, 250_000_00, 266_100_00)
"""Losses save 35.8 % short-term and 18.8 % long-term in 2026, net investment income tax too."""
MODEST: Final = TaxProfile(FilingStatus.SINGLE, 30_000_00, 46_100_00)
"""Who has room in the 0 % bracket: $19,450 in 2026."""


@dataclass(frozen=True, slots=True)
class YearEnd:
    """How a year-target replay ended a year."""

    replay: int
    year: int
    target: YearTarget
    wanted_cents: int
    """On the first of the last sessions, before anything is trimmed."""
    allowed: bool
    """The lots could give what was wanted then."""
    missing_cents: int
    """After the last session."""


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk leaves to be told."""

    year: int
    replays: tuple[Replay, ...]
    book: Book
    rates: tuple[Rates, ...]
    tracking_error: FloatArray
    """(weeks, A)"""
    ends: tuple[YearEnd, ...]
    worth_cents: IntArray
    liquidation_tax_cents: FloatArray


def profile_of(replay: Replay) -> TaxProfile:
    """Return whose account a replay is."""
    return MODEST if YearTarget.ZERO_BRACKET in replay.targets else PROFILE


def go(market: Walk, replays: tuple[Replay, ...], table: YearTable) -> Walked:
    """Return a walk's outcome."""
    rates = tuple(marginal(table, profile_of(one), Net()) for one in replays)
    names, years = market.price_micros.shape[1], _year(market.days[-1]) - market.year + 1
    book = Book(len(replays), names, years)
    planner = Planner(market, replays, rates)
    errors: list[FloatArray] = []
    ends: dict[tuple[int, int], YearEnd] = {}
    done = 0
    for step in steps(market):
        if step.weekly:
            book.pay_in(_deposits(market, replays, step))
        _act(planner, book, step, table, errors, ends)
        passed = market.dividend_micros[done + 1 : step.fill + 1].sum(axis=0)
        book.collect(passed)
        done = step.fill
    last = market.price_micros[-1]
    owed = _liquidation(book, rates, last, int(market.days[-1]))
    told = tuple(_ended(one, book, replays, table) for one in ends.values())
    return Walked(
        market.year,
        replays,
        book,
        rates,
        np.array(errors),
        told,
        book.worth_cents(last),
        owed,
    )


def steps(market: Walk) -> Iterator[Step]:
    """Yield the days on which something is planned, in order."""
    year = np.array([_year(day) for day in market.days])
    month = market.days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    last_month, last_year = -1, -1
    for plan in range(market.days.size - 1):
        fill = plan + 1
        ahead = year[fill : fill + LAST_SESSIONS + 1]
        trims = bool(ahead.size <= LAST_SESSIONS or ahead[-1] != year[fill])
        weekly = plan % WEEK == 0
        if not weekly and not trims:
            continue
        begins, december = month[plan] != last_month, month[plan] % 12 == 11
        ends = weekly and december and last_year != year[plan]
        if weekly:
            last_month = month[plan]
            last_year = year[plan] if ends else last_year
        yield Step(plan, fill, weekly, bool(weekly and begins), bool(ends), trims)


def _act(
    planner: Planner,
    book: Book,
    step: Step,
    table: YearTable,
    errors: list[FloatArray],
    ends: dict[tuple[int, int], YearEnd],
) -> None:
    market = planner.walk
    day, price = int(market.days[step.fill]), market.price_micros[step.fill]
    year = _year(day) - market.year
    wanted = _wanted(planner, book, step, table)
    aims = np.array([bool(one.targets) for one in planner.replays])
    sell = np.zeros(book.lots.id.size, dtype=np.int64)
    buy = np.zeros((book.accounts, book.names), dtype=np.int64)
    mask: MaskArrays | None = None
    limited = np.zeros(sell.size, dtype=np.bool_)
    if step.weekly:
        wish = planner.wish(book, step, wanted)
        errors.append(wish.tracking_error)
        sell, buy, limited = wish.sell_nanos, wish.buy_cents, wish.limited
        _keep_within(book, market.price_micros[step.plan], sell, wanted, aims)
    if step.trims and aims.any():
        mask = planner.forbidden(book, day)
        sell[aims[book.lots.account]] = 0
        buy[aims] = 0
        for account in np.flatnonzero(aims):
            _trim(planner, book, step, int(account), int(wanted[account]), mask, sell, buy, ends)
        limited |= mask.no_loss | mask.whole_only
        # What is bought back on the day of its sale must not have been sold at a loss.
        limited |= buy[book.lots.account, book.lots.name] > 0
    book.sell(day, year, sell, price, limited)
    book.buy(day, buy, price)


def _wanted(planner: Planner, book: Book, step: Step, table: YearTable) -> IntArray:
    """Return what each year-target replay still wants to realise this year, (A,)."""
    wanted = np.zeros(book.accounts, dtype=np.int64)
    half = step.fill // 126
    year = _year(planner.walk.days[step.fill]) - planner.walk.year
    for account, one in enumerate(planner.replays):
        if one.targets:
            target = one.targets[min(half, len(one.targets) - 1)]
            wanted[account] = _missing(book, one, account, year, target, table)
            if _month(planner.walk.days[step.fill]) < 7:
                wanted[account] += one.outside_cents
    return wanted


def _missing(
    book: Book, one: Replay, account: int, year: int, target: YearTarget, table: YearTable
) -> int:
    short, long = book.realised[account, year].sum(axis=1)
    realised = Net(int(short), int(long) + one.outside_cents)
    return to_target_cents(target, table, profile_of(one), realised)


def _keep_within(
    book: Book, price: IntArray, sell: IntArray, wanted: IntArray, aims: NDArray[np.bool_]
) -> None:
    """Cut planned losses of year-target replays to what is wanted: a loss taken stays taken."""
    worth, lots = book.lot_worth_cents(price), book.lots
    for account in np.flatnonzero(aims & (wanted < 0)):
        mine = np.flatnonzero((lots.account == account) & (sell > 0))
        offers = [
            Offer(
                LotId(str(row)),
                int(sell[row]),
                round(int(lots.basis_cents[row]) * int(sell[row]) / int(lots.nanos[row])),
                round(int(worth[row]) * int(sell[row]) / int(lots.nanos[row])),
            )
            for row in mine
        ]
        losing = [one for one in offers if one.gain_cents < 0]
        if -sum(one.gain_cents for one in losing) > -wanted[account]:
            sell[[int(one.lot_id) for one in losing]] = 0
            for trim in land(losing, int(wanted[account])).trims:
                sell[int(trim.lot_id)] = trim.nanos


def _trim(
    planner: Planner,
    book: Book,
    step: Step,
    account: int,
    wanted: int,
    mask: MaskArrays,
    sell: IntArray,
    buy: IntArray,
    ends: dict[tuple[int, int], YearEnd],
) -> None:
    """Plan the last sales of a year, and note on the first of these days what the lots allow."""
    market, lots = planner.walk, book.lots
    day, price = int(market.days[step.fill]), market.price_micros[step.plan]
    replay = planner.replays[account]
    target = replay.targets[min(step.fill // 126, len(replay.targets) - 1)]
    mine = np.flatnonzero(lots.account == account)
    worth = notional_cents(lots.nanos[mine], price[lots.name[mine]]) * (PPM - COST_PPM) // PPM
    losing = worth < lots.basis_cents[mine]
    allowed = ~(losing & mask.no_loss[mine])
    if wanted > 0 and target is YearTarget.ZERO_BRACKET:
        allowed &= is_long(lots.day[mine], day)
    offers = [
        Offer(
            LotId(str(row)),
            int(lots.nanos[row]),
            int(lots.basis_cents[row]),
            int(value),
            bool(losing[spot] and mask.whole_only[row]),
        )
        for spot, (row, value) in enumerate(zip(mine, worth, strict=True))
        if allowed[spot]
    ]
    last = step.fill + 1 == market.days.size or _year(market.days[step.fill + 1]) != _year(day)
    found = land(offers, ask_cents(wanted, last=last))
    key = account, _year(day)
    if key not in ends:
        reach = reachable_cents(offers, wanted)
        ends[key] = YearEnd(account, key[1], target, wanted, reach == wanted, 0)
    for trim in found.trims:
        row = int(trim.lot_id)
        sell[row] = trim.nanos
        banned = mask.rule[account, lots.name[row]] & NEVER_BUY
        if trim.gain_cents > 0 and not banned:
            buy[account, lots.name[row]] += trim.worth_cents


def _ended(end: YearEnd, book: Book, replays: tuple[Replay, ...], table: YearTable) -> YearEnd:
    year = end.year - _year(book.fills[0].day)
    left = _missing(book, replays[end.replay], end.replay, year, end.target, table)
    return YearEnd(
        end.replay, end.year, end.target, end.wanted_cents, end.allowed, missing_cents=left
    )


def _deposits(market: Walk, replays: tuple[Replay, ...], step: Step) -> IntArray:
    """Return what comes in, (A,): every quarter the same money, in one, three or many parts."""
    weeks = np.arange(0, market.days.size - 1, WEEK)
    months = market.days[weeks].astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    now = step.plan // WEEK
    inside = np.flatnonzero(months // 3 == months[now] // 3)
    place, count = int(now - inside[0]), inside.size
    fresh = now == 0 or months[now] != months[now - 1]
    cents = {
        "weekly": QUARTER_CENTS * (place + 1) // count - QUARTER_CENTS * place // count,
        "monthly": QUARTER_CENTS // 3 if fresh else 0,
        "quarterly": QUARTER_CENTS if place == 0 else 0,
    }
    first = FIRST_CENTS if now == 0 else 0
    return np.array([cents[one.every] + first for one in replays], dtype=np.int64)


def _liquidation(book: Book, rates: tuple[Rates, ...], price: IntArray, day: int) -> FloatArray:
    """Return the tax on selling everything, (A,): each dollar at its own rate."""
    gain = book.lot_worth_cents(price) - book.lots.basis_cents
    short = np.array([one.short_ppm for one in rates])[book.lots.account]
    long = np.array([one.long_ppm for one in rates])[book.lots.account]
    tax = gain * np.where(is_long(book.lots.day, day), long, short) / PPM
    owed = np.bincount(book.lots.account, weights=tax, minlength=book.accounts)
    return owed.astype(np.float64)


def _year(day: int) -> int:
    return int(np.datetime64(int(day), "D").astype("datetime64[Y]").astype(np.int64)) + 1970


def _month(day: int) -> int:
    return int(np.datetime64(int(day), "D").astype("datetime64[M]").astype(np.int64)) % 12 + 1
