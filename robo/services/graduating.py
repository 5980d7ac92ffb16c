"""Accounts grow: how many names a balance carries, and what a growing account holds for it.

A basket sleeve that its ladder carries past ten names becomes a direct sleeve. Nothing is traded
here: the target gains a name, and cash that comes and trades worth their cost bring it in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.portfolio import ladder
from robo.portfolio.chunk import notional_cents
from robo.portfolio.ladder import NO_LIMIT, Carried
from robo.portfolio.problem import IntArray
from robo.ports.prices import PriceSource
from robo.services import benchmarking, following, modelling, readying
from robo.services.isolating import Blame
from robo.services.modelling import Model, last_closed
from robo.services.quoting import board, least_closes
from robo.services.turns import Turns
from robo.store import accounts, arrivals, chunks, direct, universe, worths
from robo.store import prices as marks
from robo.store.accounts import DIRECT, Sleeve, TargetWeight
from robo.store.database import Database
from robo.store.direct import DirectSleeve

_JOB: Final = "graduate"
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Grown:
    """What a review found of one account; `target` is None where it keeps what it has."""

    sleeve: Sleeve
    row: DirectSleeve
    target: tuple[TargetWeight, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Page:
    """What the tables say of some accounts."""

    raw: chunks.RawChunk
    rows: tuple[DirectSleeve, ...]
    withdrawn: IntArray
    gone: frozenset[int]
    screens: Mapping[AccountId, frozenset[int]]
    """What their baskets exclude; accounts without such names are left out."""
    nav_cents: IntArray


def review(
    db: Database,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    on: date,
) -> int:
    """Review every account large enough to grow, or grown already; return how many changed target.

    Without enough history for a risk model nothing grows. Twice a day finds nothing left to do: an
    account whose target was made today waits for tomorrow before it grows again.
    """
    now = clock.now()
    first = _first_cents(policy)
    with db.read() as session:
        near = worths.at_least(session, last_closed(calendar, now).isoformat(), first)
        chosen = direct.chose_ladder(session, "dense")
        found = sorted({*near, *chosen, *_all_direct(session)})
        known = modelling.current(session, prices, now)
    if not found and known is not None and not modelling.is_stale(known, calendar, policy, now):
        return 0  # the model in store answers previews; nobody trades by it
    model = modelling.ensure(db, prices, clock, calendar, policy)
    if model is None:
        return 0
    return _review(db, prices, clock, policy, calendar, model, found, on)


def admit(
    db: Database, prices: PriceSource, clock: Clock, policy: Policy, calendar: MarketCalendar
) -> int:
    """Give new accounts with much cash and no shares what their balance carries, at once.

    Otherwise their first purchase would be the ten names of a small account. So with accounts that
    received a portfolio from another firm: they become direct sleeves of the size they have now,
    and nothing of what came is sold for it.
    """
    moved = _admit_moved(db, prices, clock, policy, calendar)
    first = _first_cents(policy)
    with db.read() as session:
        rich = worths.cash_at_least(session, first)
        fresh = [
            account
            for account, sleeve in accounts.sleeves(session, rich).items()
            if sleeve.kind == "basket"
        ]
    if not fresh:
        return moved
    model = modelling.ensure(db, prices, clock, calendar, policy)
    if model is None:
        return moved
    on = business_date(clock.now())
    return moved + _review(db, prices, clock, policy, calendar, model, fresh, on, empty_only=True)


def _admit_moved(
    db: Database, prices: PriceSource, clock: Clock, policy: Policy, calendar: MarketCalendar
) -> int:
    """Start the ladder of accounts that received positions where they stand with them."""
    with db.read() as session:
        moved = arrivals.not_admitted(session)
    if not moved:
        return 0
    model = modelling.ensure(db, prices, clock, calendar, policy)
    if model is None:
        return 0
    on = business_date(clock.now())
    changed = _review(db, prices, clock, policy, calendar, model, moved, on, moved=True)
    with db.write() as session:
        kinds = accounts.sleeves(session, moved)
        done = [one for one in moved if one in kinds and kinds[one].kind == DIRECT]
        arrivals.admit(session, done, to_micros(clock.now()))
    return changed


def _first_cents(policy: Policy) -> int:
    """Return the balance from which an account holds more than ten names."""
    return ladder.of_policy(policy).default.steps[0][0]


def _all_direct(session: Session) -> list[AccountId]:
    found: list[AccountId] = []
    while page := accounts.of_kind(session, DIRECT, found[-1] if found else "", 10_000):
        found += page
    return found


def _review(
    db: Database,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    calendar: MarketCalendar,
    model: Model,
    found: Sequence[AccountId],
    on: date,
    *,
    empty_only: bool = False,
    moved: bool = False,
) -> int:
    turns, changed = Turns(db, policy), 0
    blame = Blame[AccountId](db, clock, _JOB, str)
    grown: list[Grown] = []
    # They only correct what holdings are worth; a source may have to read all names for a day anew.
    closes = {} if empty_only else _least_closes(db, prices, clock, policy, calendar)

    def look(part: Sequence[AccountId]) -> None:
        page = _read(db, prices, clock, policy, part, closes, empty_only=empty_only)
        if page.raw.sleeves:
            grown.extend(_grown(db, policy, model, page, on, moved=moved))

    def write(session: Session, part: Sequence[Grown]) -> None:
        nonlocal changed
        changed += _write(session, part, model, to_micros(clock.now()))

    for start in range(0, len(found), _PAGE):
        grown.clear()
        blame.together(found[start : start + _PAGE], look)
        turns.each(list(grown), write, Blame(db, clock, _JOB, lambda one: one.sleeve.account_id))
    return changed


def _read(
    db: Database,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    account_ids: Sequence[AccountId],
    closes: dict[int, int],
    *,
    empty_only: bool,
) -> _Page:
    with db.read() as session:
        ready = readying.ready(session, account_ids, business_date(clock.now()), policy)
        raw = chunks.read(session, [one for one in account_ids if one in ready])
        if empty_only:
            ids = [one for one in raw.account_ids if not raw.balances[one].holdings_nanos]
            raw = chunks.read(session, ids)
        ids = list(raw.account_ids)
        rows = direct.of_accounts(session, ids)
        paid = direct.taken_out(session, ids)
        gone = frozenset(universe.gone(session))
        screens = following.screens(session, raw, rows)
    now = board(prices, raw.security_ids(), clock.now())
    known = [
        rows.get(one.account_id)
        or replace(
            following.first_row(one, len(raw.targets.get(one.target_id, ()))),
            withdrawn_cents=paid.get(one.account_id, 0),
        )
        for one in raw.sleeves
    ]
    nav = _navs(raw, _believed(now.price_micros, closes, policy))
    withdrawn = np.array(
        [max(0, paid.get(row.account_id, 0) - row.withdrawn_cents) for row in known],
        dtype=np.int64,
    )
    marked = [replace(row, withdrawn_cents=paid.get(row.account_id, 0)) for row in known]
    return _Page(raw, tuple(marked), withdrawn, gone, screens, nav)


def _least_closes(
    db: Database, prices: PriceSource, clock: Clock, policy: Policy, calendar: MarketCalendar
) -> dict[int, int]:
    """Return the least of each name's last closes, in today's terms.

    From the source and not from our marks: those know a name only since somebody holds it.
    """
    now = clock.now()
    last = last_closed(calendar, now)
    days = [calendar.shift(last, -back) for back in range(policy.ladder_closes)]
    with db.read() as session:
        today = business_date(now).isoformat()
        actions = marks.actions_between(session, days[-1].isoformat(), today)
    return least_closes(prices, days, actions)


def _believed(
    price_micros: dict[int, int], closes: dict[int, int], policy: Policy
) -> dict[int, int]:
    """Return prices, with the least of a name's last closes in place of one far above it."""
    most = PPM + policy.ladder_rise_ppm_max
    return {
        name: closes[name] if name in closes and micros * PPM > closes[name] * most else micros
        for name, micros in price_micros.items()
    }


def _navs(raw: chunks.RawChunk, price_micros: dict[int, int]) -> IntArray:
    """Return NAV in cents, (A,): cash in every state that is the customer's, and shares."""
    chunk = chunks.build(raw, price_micros)
    owner = np.repeat(np.arange(len(raw.sleeves)), np.diff(chunk.holding_indptr))
    nav = np.zeros(len(raw.sleeves), dtype=np.int64)
    price = chunk.price_micros[chunk.holding_security]
    np.add.at(nav, owner, notional_cents(np.maximum(chunk.holding_nanos, 0), price))
    own = [raw.balances[one] for one in raw.account_ids]
    cash = [one.cash_cents + one.unsettled_cents for one in own]
    return np.minimum(nav + np.array(cash, dtype=np.int64), ladder.BALANCE_MAX)


def _grown(
    db: Database, policy: Policy, model: Model, page: _Page, on: date, *, moved: bool = False
) -> list[Grown]:
    """Return what changes for the accounts of a page; `moved` starts them where they stand."""
    count, rested, waits = _carried(page, policy, on, moved=moved)
    asked = [
        place
        for place, (row, sleeve) in enumerate(zip(page.rows, page.raw.sleeves, strict=True))
        if moved or _asks(page, row, sleeve, int(count[place]), on)
    ]
    new = _targets(db, model, page, asked, count) if asked else {}
    today = on.isoformat()
    grown = []
    for place, row in enumerate(page.rows):
        # A name that no target could be made with is none that the account has grown by.
        names = int(count[place]) if place in new else min(int(count[place]), row.names)
        if page.raw.sleeves[place].kind != DIRECT and place not in new:
            names = row.names
        after = replace(
            row,
            names=names,
            carried_cents=int(rested[place]),
            withdrawn_cents=row.withdrawn_cents - int(waits[place]),
            reviewed_on=today if place in new else row.reviewed_on,
        )
        grown.append(Grown(page.raw.sleeves[place], after, new.get(place)))
    return grown


def _carried(
    page: _Page, policy: Policy, on: date, *, moved: bool = False
) -> tuple[IntArray, IntArray, IntArray]:
    """Return how many names accounts carry now, on what balance, and what waits, (A,) each."""
    rows, size = page.rows, len(page.rows)
    count = np.zeros(size, dtype=np.int64)
    rested, waits = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    names = np.array([row.names for row in rows], dtype=np.int64)
    before = np.array([row.carried_cents for row in rows], dtype=np.int64)
    limit = np.array([row.names_max or NO_LIMIT for row in rows], dtype=np.int64)
    ids = page.raw.account_ids
    empty = np.array([moved or not page.raw.balances[one].holdings_nanos for one in ids])
    today = np.array([row.reviewed_on == on.isoformat() for row in rows], dtype=np.bool_)
    anew = np.array([row.reviewed_on == direct.ANEW for row in rows], dtype=np.bool_)
    book = ladder.of_policy(policy)
    for name in sorted({row.ladder for row in rows}):
        mine = np.array([row.ladder == name for row in rows], dtype=np.bool_)
        after = ladder.review(
            book.stairs(name),
            Carried(names[mine], before[mine]),
            page.nav_cents[mine],
            page.withdrawn[mine],
            limit[mine],
            empty[mine],
            anew[mine],
        )
        count[mine], rested[mine] = after.count, after.balance_cents
        waits[mine] = after.uncounted_cents
    return np.where(today & ~empty, np.minimum(count, names), count), rested, waits


def _asks(page: _Page, row: DirectSleeve, sleeve: Sleeve, count: int, on: date) -> bool:
    """Return whether an account needs another target.

    Because its count changed, because it holds a name that it may not, or because a month has
    passed and what it follows has drifted.
    """
    if sleeve.kind != DIRECT:
        return count > row.names
    target = {one.security_id for one in page.raw.targets.get(sleeve.target_id, ())}
    mine = page.raw.restricted.get(sleeve.account_id, {}).keys()
    barred = (mine, page.gone, page.screens.get(sleeve.account_id, frozenset()))
    holds = any(not target.isdisjoint(some) for some in barred)
    return count != row.names or holds or row.reviewed_on[:7] != on.isoformat()[:7]


def _targets(
    db: Database, model: Model, page: _Page, asked: Sequence[int], count: IntArray
) -> dict[int, tuple[TargetWeight, ...]]:
    """Return place -> target of the accounts that need another one."""
    places = np.array(asked, dtype=np.int64)
    with db.read() as session:
        wishes = []
        for place in asked:
            sleeve = page.raw.sleeves[place]
            barred = frozenset(page.raw.restricted.get(sleeve.account_id, {})) | page.gone
            names = int(count[place])
            wishes.append(following.wish(session, sleeve, page.rows[place], names, barred))
    made = benchmarking.benchmarks(model, wishes)
    weight = made.of(np.arange(places.size))
    kept = [
        following.kept(
            model,
            page.rows[place],
            weight[row],
            page.raw.targets.get(page.raw.sleeves[place].target_id, ()),
        )
        for row, place in enumerate(asked)
    ]
    balances = page.raw.balances
    found = benchmarking.targets(
        model,
        weight,
        count[places],
        kept,
        [balances[page.raw.account_ids[place]].holdings_nanos for place in asked],
        [wish.excluded for wish in wishes],
    )
    return {place: target for place, target in zip(asked, found, strict=True) if target}


def _write(session: Session, part: Sequence[Grown], model: Model, at_micros: int) -> int:
    """Write rows and targets; return how many sleeves changed their target."""
    before = direct.of_accounts(session, [one.sleeve.account_id for one in part])
    rows = [one.row for one in part if before.get(one.sleeve.account_id) != one.row]
    direct.put(session, rows, at_micros)
    changes = [
        (
            one.sleeve.id,
            accounts.put_target(
                session, one.sleeve.basket_id, f"{one.row.names}@{model.id}", one.target, at_micros
            ),
        )
        for one in part
        if one.target is not None
    ]
    accounts.grow(session, changes, at_micros)
    return len(changes)
