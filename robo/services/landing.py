"""The year's last sessions: what lands customers' net realised gains on the targets they set.

All taxable accounts of a customer count together, direct sleeves and baskets alike. Each of the
sessions corrects the one before, because prices move between plan and fill. What the lots do not
allow is told, with the amount, and each name that stays has its reason; so is what the customer's
budget for gains does not allow, which holds here as everywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM, format_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import ordering, readying, shelving, weighing
from robo.services.isolating import Blame
from robo.services.mailing import payload
from robo.services.ordering import Plan, Trade
from robo.services.queueing import waves
from robo.services.shelving import Shelf
from robo.services.turns import Turns
from robo.store import accounts, events, households, tax_profiles
from robo.store.database import Database
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.events import NewEvent
from robo.store.keyring import Keyring
from robo.tax.year_target import (
    LAST_SESSIONS,
    Landing,
    Offer,
    Trim,
    ask_cents,
    land,
    reachable_cents,
)

_JOB: Final = "land"
_PAGE: Final = 200
_SHORT_CENTS: Final = 25_00
"""A target is reached within so much; beyond it, what stopped us is told."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What one customer's accounts sell, and what they are told of it."""

    plans: tuple[Plan, ...]
    event: NewEvent

    @property
    def account_id(self) -> AccountId:
        return AccountId(str(self.event.account_id))


def plan(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    slot: str,
) -> int:
    """Plan the year's last sales of customers who set a target; return how many accounts sell.

    On other days it does nothing. The same slot plans an account once.
    """
    on = business_date(clock.now())
    left = calendar.sessions_left_in_year(on)
    if left >= LAST_SESSIONS:
        return 0
    with db.read() as session:
        chosen = tax_profiles.choices(session, tax_profiles.harvesters(session))
        aiming = sorted(one for one, choice in chosen.items() if choice.target != "none")
        owned = _owned(session, aiming, on, policy)
        turns = waves(session, [mine[0] for mine in owned.values()], on)
    by_first = {mine[0]: mine for mine in owned.values()}
    planned = 0

    def write(session: Session, part: Sequence[_Made]) -> None:
        nonlocal planned
        at = to_micros(clock.now())
        fresh = ordering.unwritten(session, [one for made in part for one in made.plans])
        ordering.write(session, keyring, fresh, at)
        events.emit(session, [made.event for made in part], at)
        planned += sum(1 for one in fresh if one.trades)

    for wave in turns:
        for start in range(0, len(wave), _PAGE):
            found: list[_Made] = []

            def look(part: Sequence[AccountId], found: list[_Made] = found) -> None:
                mine = [account for first in part for account in by_first[first]]
                with db.read() as session:
                    shelf = shelving.read(session, keyring, broker, prices, clock, policy, mine, on)
                    made = _landed(shelf, policy, on, f"land/{slot}", last=left == 0)
                    plans = [plan for one in made for plan in one.plans]
                    now = clock.now()
                    told = iter(weighing.weighed(session, prices, now, shelf.raw, plans))
                found.extend(
                    replace(one, plans=tuple(islice(told, len(one.plans)))) for one in made
                )

            Blame[AccountId](db, clock, _JOB, str).together(wave[start : start + _PAGE], look)
            Turns(db, policy).each(found, write, Blame(db, clock, _JOB, lambda one: one.account_id))
    return planned


def _owned(
    session: Session, customer_ids: Sequence[str], on: date, policy: Policy
) -> dict[str, list[AccountId]]:
    """Return customer -> accounts that are open and sell for nothing else."""
    mine = accounts.of_customers(session, customer_ids)
    ready = readying.ready(session, mine, on, policy)
    found: dict[str, list[AccountId]] = {}
    for account, owner in households.owners_of(session, mine).items():
        if account in ready:
            found.setdefault(owner.customer_id, []).append(account)
    return found


def _landed(shelf: Shelf, policy: Policy, on: date, cause: str, *, last: bool) -> list[_Made]:
    """Return what each customer's accounts sell today."""
    places: dict[str, list[int]] = {}
    for place, sleeve in enumerate(shelf.raw.sleeves):
        if shelf.tax.aim.has[place]:
            places.setdefault(sleeve.customer_id, []).append(place)
    made = []
    for mine in places.values():
        wanted = int(shelf.tax.aim.wanted_cents[mine[0]])
        # What is this close is left to the last session.
        if abs(wanted) >= (policy.order_notional_cents_min if last else _SHORT_CENTS):
            made.append(_of_one(shelf, mine, wanted, policy, on, cause, last=last))
    return made


def _of_one(
    shelf: Shelf,
    places: Sequence[int],
    wanted: int,
    policy: Policy,
    on: date,
    cause: str,
    *,
    last: bool,
) -> _Made:
    """Return what one customer's accounts sell."""
    mine = np.flatnonzero(np.isin(shelf.lots.account, places))
    offers, closings, kept = shelving.offered(shelf, mine, wanted)
    reach = reachable_cents(offers, wanted, closings)
    asked = ask_cents(wanted, last=last)
    room = int(shelf.tax.aim.room_cents[places[0]])
    found = _within(offers, asked, room, policy) if wanted > 0 else land(offers, asked, closings)
    short, barred = wanted - reach, max(0, reach - room) if wanted > 0 else 0
    told = dict(kept) if abs(short) > _SHORT_CENTS else {}
    if barred > _SHORT_CENTS:
        told |= dict.fromkeys((_name(shelf, one) for one in offers), Reason.SKIP_GAIN_LIMIT)
    plans, gains = _plans(shelf, places, found, told, policy, cause)
    sleeve = shelf.raw.sleeves[places[0]]
    event = NewEvent(
        sleeve.firm_id,
        f"tax_target.{'short' if max(abs(short), barred) > _SHORT_CENTS else 'planned'}",
        sleeve.customer_id,
        payload(
            year=on.year,
            wanted=format_cents(wanted),
            planned=format_cents(gains),
            not_allowed_by_lots=format_cents(short),
            not_allowed_by_budget=format_cents(barred),
        ),
        customer_id=sleeve.customer_id,
        account_id=sleeve.account_id,
    )
    return _Made(plans, event)


def _within(offers: Iterable[Offer], asked: int, room: int, policy: Policy) -> Landing:
    """Return the sales of a wanted gain that stay within a budget even if prices rise."""
    found = land(offers, min(asked, room))
    worth = sum(one.worth_cents for one in found.trims)
    most = room - worth * policy.price_margin_ppm // PPM
    if sum(one.gain_cents for one in found.trims) <= most:
        return found
    # Less is sold for less, so what it may rise by is less too.
    return land(offers, max(0, most))


def _name(shelf: Shelf, one: Offer) -> tuple[int, int]:
    lot = int(one.lot_id)
    return int(shelf.lots.account[lot]), int(shelf.lots.security_id[lot])


def _plans(
    shelf: Shelf,
    places: Sequence[int],
    found: Landing,
    kept: Mapping[tuple[int, int], Reason],
    policy: Policy,
    cause: str,
) -> tuple[tuple[Plan, ...], int]:
    """Return the plans of a customer's accounts, and the net gain they expect."""
    lots, total = shelf.lots, 0
    sold: dict[int, dict[int, list[Trim]]] = {place: {} for place in places}
    for trim in found.trims:
        lot = int(trim.lot_id)
        names = sold[int(lots.account[lot])]
        names.setdefault(int(lots.security_id[lot]), []).append(trim)
    plans = []
    for place, names in sold.items():
        worth_it = {
            security: trims
            for security, trims in names.items()
            if sum(one.worth_cents for one in trims) >= policy.order_notional_cents_min
            and not shelf.seen.is_too_little(security, sum(one.nanos for one in trims))
        }
        total += sum(one.gain_cents for trims in worth_it.values() for one in trims)
        skips = {
            security: why
            for (where, security), why in kept.items()
            if where == place and security not in worth_it
        }
        effect = _effect(shelf, place, worth_it, policy) if worth_it else None
        trades = tuple(_trade(shelf, place, *one, policy) for one in worth_it.items())
        plans.append(Plan(shelf.raw.sleeves[place], cause, trades, skips, effect=effect))
    return tuple(plans), total


def _trade(
    shelf: Shelf, place: int, security_id: int, trims: Sequence[Trim], policy: Policy
) -> Trade:
    # The booking takes whole lots in this order: the one that is split must come last.
    ordered = sorted(trims, key=lambda one: one.nanos < int(shelf.lots.nanos[int(one.lot_id)]))
    named = tuple((shelf.lots.lot_ids[int(one.lot_id)], one.nanos) for one in ordered)
    return Trade(
        security_id=security_id,
        reason=Reason.SELL_YEAR_TARGET,
        sell_nanos=sum(nanos for _, nanos in named),
        lots=named,
        gains=tuple(one.gain_cents for one in ordered),
        effect=TradeEffect(_tax(shelf, place, trims), _cost(trims, policy), None),
    )


def _effect(
    shelf: Shelf, place: int, names: Mapping[int, Sequence[Trim]], policy: Policy
) -> PlanEffect:
    trims = [one for some in names.values() for one in some]
    long = sum(one.gain_cents for one in trims if shelf.long[int(one.lot_id)])
    return PlanEffect(
        before_ppm=None,
        after_ppm=None,
        tax_cents=_tax(shelf, place, trims),
        cost_cents=_cost(trims, policy),
        short_gain_cents=sum(one.gain_cents for one in trims) - long,
        long_gain_cents=long,
        model_id="",
    )


def _tax(shelf: Shelf, place: int, trims: Sequence[Trim]) -> int:
    """Return the tax of sales at the rates on the next dollar; negative where they save tax."""
    taxes = shelf.tax.taxes
    short, long = int(taxes.short_rate_ppm[place]), int(taxes.long_rate_ppm[place])
    due = sum(one.gain_cents * (long if shelf.long[int(one.lot_id)] else short) for one in trims)
    return due // PPM


def _cost(trims: Sequence[Trim], policy: Policy) -> int:
    worth = sum(one.worth_cents for one in trims)
    return -(-worth * policy.trade_cost_ppm // PPM)
