"""How fast a portfolio gets where it should be, for each gain budget a year: a tax-budget frontier.

For an account as it stands, or with a portfolio that was sent and not confirmed yet. The planner in
use is let run on with flat prices (`migrating`); the answer says when each budget is there, how far
the account swings from what it follows on the way, and what that costs in tax each year.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock, business_date
from robo.core.errors import InvalidInputError, NotFoundError, RefusedError
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import notional_cents
from robo.core.policy import Policy
from robo.portfolio import ladder
from robo.portfolio.problem import BoolArray, IntArray
from robo.ports.prices import PriceSource
from robo.services import benchmarking, following, gathering, migrating, modelling, personalising
from robo.services.asking import EPOCH, Ask
from robo.services.funding.dates import dates_until
from robo.services.gathering import Loaded
from robo.services.migrating import Journey, Road
from robo.services.modelling import Model
from robo.services.moving import mine_of
from robo.services.quoting import Board, board
from robo.services.taxing import standings
from robo.services.taxing.standings import MODES, Standing
from robo.store import arrivals, chunks, households, plans, universe
from robo.store.arrivals import MoveInLot
from robo.store.direct import DirectSleeve
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk
from robo.tax import rate_tables, rates
from robo.tax.gains import Net

BUDGETS_MAX: Final = 6
YEARS_MAX: Final = 10
_MONTHS: Final = 12
_PARTS: Final = (0, 10, 4)
"""Tried where no budgets are named: nothing, a tenth and a quarter of all gains, and no limit."""
_KINDS: Final = ("individual", "joint")


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to see."""

    budgets: tuple[int | None, ...] = ()
    """Net gain a year in cents, None for no limit; empty for a few steps of our own."""
    tolerance_ppm: int = 10_000
    years: int = 5
    move_in_id: str | None = None


@dataclass(frozen=True, slots=True)
class TaxYear:
    """What the sales of a year bring, and what its tax is more (or less) for them."""

    year: int
    short_gain_cents: int
    long_gain_cents: int
    tax_cents: int


@dataclass(frozen=True, slots=True)
class Point:
    """One budget of the frontier."""

    budget_cents: int | None
    reached_on: date | None
    """None where that is not reached within the years looked at."""
    follows_cents: int | None
    """The budget whose road it is: its own, or a smaller one that leads there sooner."""
    steps: tuple[tuple[date, int], ...]
    """(Day, tracking error in ppm), until it is there."""
    years: tuple[TaxYear, ...]
    tax_cents: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """The answer."""

    points: tuple[Point, ...]
    start_ppm: int
    best_ppm: int
    """Tracking error of a new account with the same money and as many names."""
    tolerance_ppm: int
    names: int
    not_modelled: tuple[int, ...]
    """Securities of which the risk model knows nothing: left out."""
    model_id: str
    as_of: date


def foresee(
    session: Session,
    keyring: Keyring,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    account_id: AccountId,
    asked: Asked,
) -> Frontier:
    """Return the frontier of an account, writing nothing.

    Raises:
        NotFoundError: If there is no such account or transfer.
        RefusedError: If there is no risk model yet (`no_risk_model`), nothing is held
            (`nothing_to_move`), or the account is not taxed (`not_taxable`).
        InvalidInputError: If the budgets are not what they may be.
    """
    now = clock.now()
    on = business_date(now)
    model = modelling.current(session, prices, now)
    if model is None:
        message = "There is too little price history yet to say what this would do."
        raise RefusedError(message, code="no_risk_model")
    raw = chunks.read(session, [account_id])
    if not raw.sleeves:
        message = "There is no such account."
        raise NotFoundError(message)
    _require_taxed(session, account_id)
    more: Sequence[MoveInLot] = ()
    if asked.move_in_id is not None:
        found = mine_of(session, account_id, asked.move_in_id)
        more = arrivals.lots_of(session, found.id) if found.state != "received" else ()
    ids = {*model.security_ids.tolist(), *raw.security_ids(), *(lot.security_id for lot in more)}
    seen = board(prices, sorted(ids), now)
    row, loaded = _loaded(session, keyring, policy, model, raw, seen, more, on)
    _, known = standings.of_accounts(session, keyring, policy, [account_id], on)
    standing = known[account_id]
    ask = _ask(loaded, more, standing, on)
    if not ask.lots.nanos.size:
        message = "Nothing is held that could be moved."
        raise RefusedError(message, code="nothing_to_move")
    first = calendar.on_or_after(on)
    days = _days(calendar, first, asked.years)
    budgets = _budgets(asked, ask, seen)
    journey = Journey(
        model=model,
        board=seen,
        policy=policy,
        ask=ask,
        budget_cents=tuple(-1 if one is None else one for one in budgets),
        chosen_cents=standing.chosen.cents,
        days=days,
        deposit_cents=_deposits(session, account_id, [one for one, _ in days]),
        tolerance_ppm=asked.tolerance_ppm,
    )
    road = migrating.travel(journey)
    unknown = {int(one) for one in ask.lots.security_id.tolist() if int(one) not in model.place}
    return Frontier(
        points=_points(road, journey, budgets, standing),
        start_ppm=road.start_ppm,
        best_ppm=road.best_ppm,
        tolerance_ppm=asked.tolerance_ppm,
        names=row.names,
        not_modelled=tuple(sorted(unknown)),
        model_id=model.id,
        as_of=model.on,
    )


def _require_taxed(session: Session, account_id: AccountId) -> None:
    if households.owners_of(session, [account_id])[account_id].kind not in _KINDS:
        message = "Nothing is taxed in this account: it needs no budget for gains."
        raise RefusedError(message, code="not_taxable")


def _loaded(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    model: Model,
    raw: chunks.RawChunk,
    seen: Board,
    more: Sequence[MoveInLot],
    on: date,
) -> tuple[DirectSleeve, Loaded]:
    """Return the account as the direct sleeve that it is, or becomes with what comes."""
    sleeve = raw.sleeves[0]
    row = personalising.show(session, sleeve.account_id)
    if more or sleeve.kind == "basket":
        row = replace(row, names=_names(policy, raw, row, seen, more))
        barred = frozenset(raw.restricted.get(sleeve.account_id, {})) | universe.gone(session)
        wish = following.wish(session, sleeve, row, row.names, frozenset(barred))
        weight = benchmarking.benchmarks(model, [wish]).of(np.array([0]))
        kept = [following.kept(model, row, weight[0], raw.targets.get(sleeve.target_id, ()))]
        size = np.array([row.names], dtype=np.int64)
        held = [raw.balances[sleeve.account_id].holdings_nanos]
        target = benchmarking.targets(model, weight, size, kept, held, [wish.excluded])[0]
        raw = replace(raw, targets={**raw.targets, sleeve.target_id: target})
    rows = {sleeve.account_id: row}
    loaded = gathering.load(session, keyring, policy, model, raw, rows, on, sells=True)
    # What comes may be sold, whatever the basket excludes; what else it excludes waits every night.
    return row, gathering.freed(loaded, model, {lot.security_id for lot in more})


def _names(
    policy: Policy,
    raw: chunks.RawChunk,
    row: DirectSleeve,
    seen: Board,
    more: Sequence[MoveInLot],
) -> int:
    """Return how many names the account will carry with all that comes."""
    balances = raw.balances[raw.sleeves[0].account_id]
    held = list(balances.holdings_nanos.items())
    held += [(lot.security_id, lot.nanos) for lot in more]
    shares = sum(notional_cents(nanos, seen.price_micros.get(one, 0)) for one, nanos in held)
    nav = min(balances.cash_cents + balances.unsettled_cents + shares, ladder.BALANCE_MAX)
    stairs = ladder.of_policy(policy).stairs(row.ladder)
    count = int(stairs.count(max(nav, row.carried_cents)))
    return min(max(count, row.names), row.names_max or ladder.NO_LIMIT)


def _ask(loaded: Loaded, more: Sequence[MoveInLot], standing: Standing, on: date) -> Ask:
    """Return what is asked for the account, with the lots that are to come, in its own tax mode."""
    ask = loaded.ask
    mode = np.full_like(ask.tax.taxes.mode, int(MODES[standing.choice.mode]))
    ask = replace(ask, tax=replace(ask.tax, taxes=replace(ask.tax.taxes, mode=mode)))
    if not more:
        return ask
    day = [(date.fromisoformat(lot.acquired_on) - EPOCH).days for lot in more]
    new = LotChunk(
        lot_ids=tuple(lot.id for lot in more),
        account=np.zeros(len(more), dtype=np.int64),
        security_id=_ints([lot.security_id for lot in more]),
        acquired_day=_ints(day),
        nanos=_ints([lot.nanos for lot in more]),
        basis_cents=_ints([lot.basis_cents for lot in more]),
        hold_day=_ints([0] * len(more)),
    )
    old, tax = ask.lots, ask.tax
    security = np.concatenate([old.security_id, new.security_id])
    acquired = np.concatenate([old.acquired_day, new.acquired_day])
    order = np.lexsort((acquired, security))
    fresh = np.array(day, dtype=np.int64) > (on - EPOCH).days - migrating.WASH_DAYS

    def whole(old: IntArray, new: IntArray) -> IntArray:
        joined: IntArray = np.concatenate([old, new])[order]
        return joined

    def flags(old: BoolArray, new: BoolArray) -> BoolArray:
        joined: BoolArray = np.concatenate([old, new])[order]
        return joined

    no = np.zeros(len(more), dtype=np.bool_)
    ids = (*old.lot_ids, *new.lot_ids)
    joined = LotChunk(
        lot_ids=tuple(ids[one] for one in order.tolist()),
        account=whole(old.account, new.account),
        security_id=security[order],
        acquired_day=acquired[order],
        nanos=whole(old.nanos, new.nanos),
        basis_cents=whole(old.basis_cents, new.basis_cents),
        hold_day=whole(old.hold_day, new.hold_day),
    )
    side = replace(
        tax,
        basis_cents=whole(tax.basis_cents, new.basis_cents),
        held_day=whole(tax.held_day, new.acquired_day),
        no_loss=flags(tax.no_loss, no),
        whole_only=flags(tax.whole_only, no),
        is_fresh=flags(tax.is_fresh, fresh),
        closes=flags(tax.closes, no),
    )
    return replace(ask, lots=joined, tax=side)


def _budgets(asked: Asked, ask: Ask, seen: Board) -> list[int | None]:
    """Return the budgets looked at, rising, no limit last.

    Raises:
        InvalidInputError: If there are too many or one is negative.
    """
    given: set[int | None] = set(asked.budgets)
    if len(given) > BUDGETS_MAX or any(one is not None and one < 0 for one in given):
        message = f"Name at most {BUDGETS_MAX} budgets, none of them negative."
        raise InvalidInputError(message, code="budgets", fields={"budgets": [message]})
    if not given:
        price = [seen.price_micros.get(one, 0) for one in ask.lots.security_id.tolist()]
        pairs = zip(ask.lots.nanos.tolist(), price, strict=True)
        worth = _ints([notional_cents(nanos, micros) for nanos, micros in pairs])
        gains = int(np.maximum(worth - ask.tax.basis_cents, 0).sum())
        given = {gains // part if part else 0 for part in _PARTS} | {None}
    named = sorted(one for one in given if one is not None)
    return [*named, None] if None in given else [*named]


def _days(calendar: MarketCalendar, first: date, years: int) -> tuple[tuple[date, date], ...]:
    """Return the days that are planned: now, monthly for a year, then quarterly and in January."""
    last = calendar.sessions[-2]
    wanted = {first}
    for month in range(1, years * _MONTHS + 1):
        if month <= _MONTHS or month % 3 == 0:
            wanted.add(_months_on(first, month))
    wanted |= {date(first.year + one, 1, 1) for one in range(1, years + 1)}
    sessions = sorted({calendar.on_or_after(one) for one in wanted if one <= last})
    return tuple((one, calendar.shift(one, 1)) for one in sessions if one <= last)


def _months_on(first: date, months: int) -> date:
    year, month = divmod(first.year * _MONTHS + first.month - 1 + months, _MONTHS)
    begin = date(year, month + 1, 1)
    return begin + timedelta(days=min(first.day, 28) - 1)


def _deposits(session: Session, account_id: AccountId, days: Sequence[date]) -> tuple[int, ...]:
    """Return what recurring plans bring between each two days; nothing before the first."""
    total = [0] * len(days)
    for plan in plans.of_account(session, account_id):
        if plan.state != "active":
            continue
        anchor, start = date.fromisoformat(plan.anchor_on), date.fromisoformat(plan.next_on)
        for nominal in dates_until(plan.cadence, plan.day, anchor, start, days[-1]):
            place = next((n for n, day in enumerate(days) if nominal <= day), None)
            if place:
                total[place] += plan.cents
    return tuple(total)


def _points(
    road: Road, journey: Journey, budgets: Sequence[int | None], standing: Standing
) -> tuple[Point, ...]:
    """Return the answer for each budget."""
    made: list[Point] = []
    days = [after for _, after in journey.days]  # what is sold on one is invested on the next
    for row in migrating.followed(road).tolist():
        own, place = len(made), int(road.reached[row])
        steps = days if place < 0 else days[: place + 1]
        years = _taxes(road, row, standing)
        made.append(
            Point(
                budget_cents=budgets[own],
                reached_on=None if place < 0 else days[place],
                follows_cents=budgets[row],
                steps=tuple(
                    (day, int(road.tracking_error_ppm[row, n])) for n, day in enumerate(steps)
                ),
                years=years,
                tax_cents=sum(one.tax_cents for one in years),
            )
        )
    return tuple(made)


def _taxes(road: Road, row: int, standing: Standing) -> tuple[TaxYear, ...]:
    """Return each year's gains, and how much dearer the year's bill is with them than without."""
    with_, without = standing.told, standing.told
    found = []
    for year in sorted(road.gains_cents):
        short, long = (int(one) for one in road.gains_cents[year][row])
        table = rate_tables.nearest(year)
        base = standing.realised if year == standing.year else Net()
        more = base + Net(short, long)
        tax = rates.bill(table, with_.profile, more).cents
        tax -= rates.bill(table, without.profile, base).cents
        found.append(TaxYear(year, short, long, tax))
        with_ = with_.next_year(rates.closed(table, with_.profile, more).carried)
        without = without.next_year(rates.closed(table, without.profile, base).carried)
    return tuple(
        one for one in found if one.short_gain_cents or one.long_gain_cents or one.tax_cents
    )


def _ints(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)
