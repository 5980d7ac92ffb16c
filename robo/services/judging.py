"""What the guards say of every planned order, from the books and the market; writes nothing.

The first reason that applies wins: the kill switch, a break, the market, the name, the customer's
restrictions, what has come to light of their household, what must happen before it, its size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import business_date, day_begins, to_micros
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio import guards
from robo.portfolio.allocator import reason_of
from robo.portfolio.chunk import notional_cents
from robo.ports.broker import AccountModel, Broker
from robo.ports.prices import ActionKind, PriceSource, Quote
from robo.ports.terms import Group
from robo.services import quoting, rechecking, sizing
from robo.services.sizing import Sizes
from robo.store import (
    blocks,
    breaks,
    chunks,
    controls,
    inventory,
    ledger,
    prices,
    tellings,
    windows,
)
from robo.store.windows import WaitingOrder

Against = list[tuple[WaitingOrder, Reason]]
_REPRICING: Final = frozenset(
    kind.value
    for kind in (
        ActionKind.CASH_MERGER,
        ActionKind.STOCK_MERGER,
        ActionKind.SPIN_OFF,
        ActionKind.DELISTING,
        ActionKind.CASH_DIVIDEND,
    )
)
"""After these the last close says nothing certain of the price; after a split it does."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The orders that something speaks against, and the units in which the rest is sent."""

    against: Against = field(default_factory=list)
    sizes: Sizes = sizing.AS_ORDERED


@dataclass(frozen=True, slots=True)
class Bench:
    """What the guards look at beside the books, at one instant."""

    broker: Broker
    policy: Policy
    prices: PriceSource
    calendar: MarketCalendar
    now: datetime
    said: Mapping[int, controls.Tradability]
    """What the broker says of names."""

    @property
    def midnight(self) -> int:
        """Return when the business day began."""
        return day_begins(business_date(self.now))


def nothing_is_held(session: Session, broker: Broker) -> bool:
    """Return whether the books alone can have nothing against any order."""
    shared = broker.capabilities.account_model is AccountModel.OMNIBUS
    return shared and not controls.stopped(session) and not breaks.blocked(session)


def by_books(session: Session, broker: Broker, waiting: Sequence[WaitingOrder]) -> Judged:
    """Judge by the books alone: the kill switch, breaks, accounts that are not open yet."""
    found = _held(session, broker, waiting)
    return Judged([(one, found[one.id]) for one in waiting if one.id in found])


def by_everything(session: Session, bench: Bench, waiting: Sequence[WaitingOrder]) -> Judged:
    """Judge by the books and the market."""
    caps = bench.broker.capabilities
    sums = blocks.unwritten(session)
    ids = sorted({one.security_id for one in waiting} | {one.security_id for one in sums})
    if not ids:
        return Judged()
    quotes = bench.prices.quotes([SecurityId(i) for i in ids], bench.now)
    price = {i: q.price_micros for i in ids if (q := quotes.get(SecurityId(i))) is not None}
    whole = frozenset(i for i, said in bench.said.items() if not said.fractionable)
    shared = caps.account_model is AccountModel.OMNIBUS
    owners = inventory.principals(session) if shared else []
    sizes = Sizes(
        caps,
        price,
        whole,
        {firm: inventory.held(session, firm) for firm in owners},
        bench.policy.whole_share_margin_ppm,
    )
    found = _held(session, bench.broker, waiting)
    found |= _by_name(session, bench, quotes, [one for one in waiting if one.id not in found])
    for look in (_by_action, _by_customer, _by_household, _by_turn, _by_size):
        left = [one for one in waiting if one.id not in found]
        found |= look(session, bench, price, left)
    left = [one for one in waiting if one.id not in found]
    found |= sizing.too_small(sizes, left)
    if owners:
        left = [one for one in waiting if one.id not in found]
        found |= sizing.in_turn(sizes, [*blocks.in_states(session, *blocks.OPEN), *sums], left)
    return Judged([(one, found[one.id]) for one in waiting if one.id in found], sizes)


def _held(session: Session, broker: Broker, waiting: Sequence[WaitingOrder]) -> dict[str, Reason]:
    if not waiting:
        return {}
    scopes = controls.stopped(session)
    if controls.EVERYBODY in scopes:
        return {one.id: Reason.WAIT_KILL_SWITCH for one in waiting}
    found = {one.id: Reason.WAIT_KILL_SWITCH for one in waiting if one.firm_id in scopes}
    doubted = breaks.blocked(session)
    apart = broker.capabilities.account_model is AccountModel.SEGREGATED
    if not apart and not doubted:
        return found
    places = _places(session, broker, waiting)
    for one in waiting:
        place = places.get(one.account_id)
        if place is None:
            found.setdefault(one.id, Reason.WAIT_NO_ACCOUNT)
        elif doubted.covers(place, one.security_id):
            found.setdefault(one.id, Reason.WAIT_BREAK)
    return found


def _by_name(
    session: Session,
    bench: Bench,
    quotes: Mapping[SecurityId, Quote],
    waiting: Sequence[WaitingOrder],
) -> dict[str, Reason]:
    ids = sorted({one.security_id for one in waiting})
    stopped = names_against(session, bench, quotes, ids)
    asked = Group.ASSETS in bench.broker.capabilities.groups
    gone = {i for i, said in bench.said.items() if not said.tradable}
    refused = tellings.refusals_since(session, bench.midnight)
    tired = {key for key, count in refused.items() if count >= bench.policy.rejections_max}
    # Where every customer has an account, what one is refused says nothing of the others.
    places = _places(session, bench.broker, waiting) if tired else {}
    found: dict[str, Reason] = {}
    for one in waiting:
        if one.security_id in gone:
            found[one.id] = Reason.REFUSE_NOT_TRADABLE
        elif one.security_id in stopped:
            found[one.id] = stopped[one.security_id]
        elif asked and one.security_id not in bench.said:
            found[one.id] = Reason.WAIT_UNANSWERED
        elif (places.get(one.account_id, ""), one.security_id, one.side) in tired:
            found[one.id] = Reason.WAIT_REFUSED
    return found


def names_against(
    session: Session,
    bench: Bench,
    quotes: Mapping[SecurityId, Quote],
    security_ids: Sequence[int],
) -> dict[int, Reason]:
    """Return what speaks against sending anything in a name now: the market, its price, a halt."""
    found = [quotes.get(SecurityId(i)) for i in security_ids]
    marks = _marks(session, bench)
    ages = [int((bench.now - q.as_of).total_seconds()) if q else 0 for q in found]
    codes = guards.name_codes(
        [q.price_micros if q else 0 for q in found],
        [marks.get(i, 0) for i in security_ids],
        [max(0, age) for age in ages],
        [q.halted if q else False for q in found],
        market(bench),
        bench.policy.collar_ppm,
    )
    return {i: reason_of(c) for i, c in zip(security_ids, codes.tolist(), strict=True) if c}


def _places(
    session: Session, broker: Broker, waiting: Sequence[WaitingOrder]
) -> Mapping[AccountId, str]:
    """Return account -> where its orders go at the broker; accounts without a place are absent."""
    ids = sorted({one.account_id for one in waiting})
    if broker.capabilities.account_model is AccountModel.SEGREGATED:
        return controls.broker_accounts(session, ids)
    return {one.account_id: f"omnibus/{one.firm_id}" for one in waiting}


def market(bench: Bench) -> guards.Market:
    """Return whether the market takes orders now."""
    if bench.broker.capabilities.always_open:
        return guards.Market()
    if not bench.calendar.is_open(bench.now):
        return guards.Market(closed=True)
    closes = bench.calendar.closes_at(business_date(bench.now))
    late = bench.now >= closes - timedelta(minutes=bench.policy.cut_off_minutes)
    # Closes of yesterday are all that a source of daily prices has.
    age = 0 if bench.prices.simulated else bench.policy.quote_age_seconds_max
    return guards.Market(cut_off=late, age_seconds_max=age)


def _marks(session: Session, bench: Bench) -> dict[int, int]:
    """Return the closes of the last session in today's terms; older ones say nothing."""
    marked_on, marks = prices.last_marks(session)
    day = business_date(bench.now)
    if marked_on < bench.calendar.shift(day, -1).isoformat():
        return {}
    today = day.isoformat()
    actions = prices.actions_between(session, marked_on, today)
    repriced = {security_id for _, security_id, kind, _ in actions if kind in _REPRICING}
    known = {name: micros for name, micros in marks.items() if name not in repriced}
    return quoting.after_splits(known, actions)


def _by_action(
    session: Session, bench: Bench, _price: Mapping[int, int], waiting: Sequence[WaitingOrder]
) -> dict[str, Reason]:
    shared = bench.broker.capabilities.account_model is AccountModel.OMNIBUS
    return rechecking.unbooked(session, waiting, bench.now, bench.policy, shared=shared)


def _by_customer(
    session: Session, _bench: Bench, _price: Mapping[int, int], waiting: Sequence[WaitingOrder]
) -> dict[str, Reason]:
    mine = {one.id for one in waiting}
    rows = [row for row in windows.planned_against_restrictions(session) if row[0] in mine]
    rules = chunks.restrictions(session, sorted({account for _, _, account, _ in rows}))
    return {
        order_id: Reason.REFUSE_RESTRICTED
        for order_id, side, account, security_id in rows
        if side == "buy" or rules[account][security_id].sell_blocked
    }


def _by_household(
    session: Session, bench: Bench, _price: Mapping[int, int], waiting: Sequence[WaitingOrder]
) -> dict[str, Reason]:
    return rechecking.overtaken(session, waiting, business_date(bench.now), to_micros(bench.now))


def _by_turn(
    session: Session, _bench: Bench, _price: Mapping[int, int], waiting: Sequence[WaitingOrder]
) -> dict[str, Reason]:
    """What is sold first must have been sold before what is bought with it is sent."""
    if not any(one.side == "buy" for one in waiting):
        return {}
    selling = windows.open_sells_of_batches(session)
    return {
        one.id: Reason.WAIT_SELLS
        for one in waiting
        if one.side == "buy" and one.batch_id in selling
    }


def _by_size(
    session: Session, bench: Bench, price: Mapping[int, int], waiting: Sequence[WaitingOrder]
) -> dict[str, Reason]:
    if not waiting:
        return {}
    policy = bench.policy
    worth = notional_cents(
        [one.nanos or 0 for one in waiting], [price.get(one.security_id, 0) for one in waiting]
    )
    worth += np.array([one.notional_cents or 0 for one in waiting], dtype=np.int64)
    sellers = sorted({one.account_id for one in waiting if one.side == "sell"})
    ids = sorted({one.account_id for one in waiting})
    row = {account: place for place, account in enumerate(ids)}
    day, value, twice = _sellers(session, bench, price, sellers)
    same = {
        key: place
        for place, key in enumerate(
            sorted(
                {
                    (o.account_id, o.security_id, o.side, o.notional_cents or o.nanos or 0)
                    for o in waiting
                }
            )
        )
    }
    codes = guards.order_codes(
        worth,
        [row[one.account_id] for one in waiting],
        [
            same[o.account_id, o.security_id, o.side, o.notional_cents or o.nanos or 0]
            for o in waiting
        ],
        [day.get(account, 0) for account in ids],
        [value.get(account, 0) for account in ids],
        order_cents_max=policy.order_cents_max,
        same_orders_max=policy.same_orders_max,
        turnover_ppm_max=policy.turnover_ppm_max,
    )
    found = {
        one.id: reason_of(code) for one, code in zip(waiting, codes.tolist(), strict=True) if code
    }
    for one in waiting:
        if one.side == "sell" and (one.account_id, one.security_id) in twice:
            found.setdefault(one.id, Reason.REFUSE_DUPLICATE)
    return found | _by_firm(session, bench, waiting, worth.tolist(), found)


def _by_firm(
    session: Session,
    bench: Bench,
    waiting: Sequence[WaitingOrder],
    worth: Sequence[int],
    found: Mapping[str, Reason],
) -> dict[str, Reason]:
    """A firm's day and a block have limits; what is beyond waits, those first in line go."""
    spent = tellings.firm_turnover_since(session, bench.midnight)
    block: dict[tuple[str, int, str], int] = {}
    late: dict[str, Reason] = {}
    for one, cents in zip(waiting, worth, strict=True):
        if one.id in found:
            continue
        key = (one.firm_id, one.security_id, one.side)
        firm, mine = spent.get(one.firm_id, 0) + cents, block.get(key, 0) + cents
        if firm > bench.policy.firm_turnover_cents_max or mine > bench.policy.block_cents_max:
            late[one.id] = Reason.WAIT_TURNOVER
            continue
        spent[one.firm_id], block[key] = firm, mine
    return late


def _sellers(
    session: Session, bench: Bench, price: Mapping[int, int], sellers: Sequence[AccountId]
) -> tuple[dict[str, int], dict[str, int], set[tuple[str, int]]]:
    """Return what accounts that sell have sent today and are worth, and what they sell twice.

    Buys alone cannot turn an account over: their cash is reserved, and can be so only once.
    """
    if not sellers:
        return {}, {}, set()
    balances = ledger.many_account_balances(session, list(sellers))
    promised = windows.open_sells(session)
    twice = {
        key
        for key, nanos in promised.items()
        if AccountId(key[0]) in balances
        and nanos > balances[AccountId(key[0])].holdings_nanos.get(key[1], 0)
    }
    held = [
        (account, security, nanos)
        for account, mine in balances.items()
        for security, nanos in mine.holdings_nanos.items()
    ]
    traded = windows.traded_since(session, sellers, bench.midnight)
    named = {security for _, security, _ in held} | {security for _, security, _, _ in traded}
    missing = sorted(named - price.keys())
    quotes = bench.prices.quotes([SecurityId(i) for i in missing], bench.now)
    known = dict(price) | {int(i): q.price_micros for i, q in quotes.items()}
    cents = notional_cents([n for _, _, n in held], [known.get(s, 0) for _, s, _ in held])
    value: dict[str, int] = {
        account: mine.cash_cents + mine.reserved_cents + mine.unsettled_cents
        for account, mine in balances.items()
    }
    for (account, _, _), worth in zip(held, cents.tolist(), strict=True):
        value[account] += worth
    day: dict[str, int] = {}
    for account, security, spent, sold in traded:
        brought = int(notional_cents(sold, known.get(security, 0)))
        day[account] = day.get(account, 0) + spent + brought
    return day, value, twice
