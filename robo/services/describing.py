"""What a portfolio that is brought here means, before it is confirmed and afterwards.

Name by name: what it is worth, the gains that come with it, what the customer may not buy, and
which losses taken here bringing it would defer. It writes nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date
from robo.core.ids import AccountId, SecurityId
from robo.core.money import notional_cents
from robo.ports.prices import PriceSource
from robo.services.moving import mine_of
from robo.services.quoting import board
from robo.services.washing import windows
from robo.store import arrivals, chunks, owners, universe
from robo.store.arrivals import MoveIn, MoveInLot
from robo.tax import gains

_BAN_AND_WINDOW: Final = 61
"""Days from 30 before a loss to the first on which its name may be bought again."""


@dataclass(frozen=True, slots=True)
class Brought:
    """One name of a draft, or of what arrived; gains are at today's price."""

    security_id: int
    symbol: str
    nanos: int
    lots: int
    basis_cents: int
    value_cents: int | None
    """None without a price: the broker will not take it."""
    short_gain_cents: int
    long_gain_cents: int
    restricted: bool
    """The customer may not buy it: it is neither bought nor sold until they say so."""
    washes: bool
    """Bought within 30 days of a loss taken here: that loss is deferred by bringing it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A transfer of positions as its owner sees it."""

    move_in: MoveIn
    left_out: tuple[str, ...]
    lots: int
    positions: tuple[Brought, ...]


def show(
    session: Session, prices: PriceSource, clock: Clock, account: owners.Account, move_in_id: str
) -> Shown:
    """Return a transfer with what its lots are worth and what they would mean.

    Raises:
        NotFoundError: If the account has no such transfer.
    """
    found = mine_of(session, account.id, move_in_id)
    lots = arrivals.lots_of(session, found.id)
    ids = sorted({lot.security_id for lot in lots})
    today = business_date(clock.now())
    price = board(prices, ids, clock.now()).price_micros
    mine = AccountId(account.id)
    barred = chunks.restrictions(session, [mine]).get(mine, {})
    bans = windows.window(session, [mine], today, planned=False).no_purchase(mine)
    named = universe.by_id(session, ids)
    positions = tuple(
        _brought(
            [lot for lot in lots if lot.security_id == one],
            named[SecurityId(one)].symbol,
            price.get(one),
            today,
            restricted=one in barred,
            banned_until=bans.get(SecurityId(one)),
        )
        for one in ids
    )
    left_out = tuple(str(one) for one in json.loads(found.left_out))
    return Shown(found, left_out, len(lots), positions)


def _brought(
    lots: Sequence[MoveInLot],
    symbol: str,
    price_micros: int | None,
    today: date,
    *,
    restricted: bool,
    banned_until: date | None,
) -> Brought:
    """Return one name summed over its lots."""
    gain = {True: 0, False: 0}
    value = 0
    for lot in lots:
        worth = 0 if price_micros is None else notional_cents(lot.nanos, price_micros)
        value += worth
        if price_micros is not None:
            is_long = gains.is_long(date.fromisoformat(lot.acquired_on), today)
            gain[is_long] += worth - lot.basis_cents
    # A ban ends 30 days after the loss; what was bought within 30 days before it replaces too.
    washed = banned_until is not None and any(
        (banned_until - date.fromisoformat(lot.acquired_on)).days <= _BAN_AND_WINDOW for lot in lots
    )
    return Brought(
        security_id=lots[0].security_id,
        symbol=symbol,
        nanos=sum(lot.nanos for lot in lots),
        lots=len(lots),
        basis_cents=sum(lot.basis_cents for lot in lots),
        value_cents=None if price_micros is None else value,
        short_gain_cents=gain[False],
        long_gain_cents=gain[True],
        restricted=restricted,
        washes=washed,
    )
