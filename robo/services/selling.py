"""What is sold to raise money: the most overweight first, free lots only, restrictions kept."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from robo.core.clock import business_date
from robo.core.money import PPM, notional_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio import allocator
from robo.portfolio.chunk import notional_cents as chunk_notional
from robo.ports.prices import PriceSource
from robo.services.ordering import Plan, Trade
from robo.services.picking import Picker, oldest_first
from robo.services.quoting import Board, board
from robo.store import chunks
from robo.store.lots import OpenLot


@dataclass(frozen=True, slots=True)
class Worth:
    """What an account could raise by selling, and names it may not touch."""

    sellable_cents: int
    blocked: tuple[int, ...]


def worth(raw: chunks.RawChunk, prices: PriceSource, at: datetime) -> Worth:
    """Return what selling everything free to sell would bring at today's prices, without costs."""
    if not raw.sleeves:
        return Worth(0, ())
    now = board(prices, raw.security_ids(), at)
    held = raw.balances[raw.sleeves[0].account_id].holdings_nanos
    barred = _barred(raw)
    cents = sum(
        notional_cents(nanos, now.price_micros.get(security_id, 0), "down")
        for security_id, nanos in held.items()
        if security_id not in barred
    )
    return Worth(cents, tuple(s for s in held if s in barred))


def _barred(raw: chunks.RawChunk) -> set[int]:
    mine = raw.restricted.get(raw.sleeves[0].account_id, {})
    return {security_id for security_id, rule in mine.items() if rule.sell_blocked}


def plan(
    raw: chunks.RawChunk,
    now: Board,
    at: datetime,
    policy: Policy,
    cause: str,
    need_cents: int | None,
    pick: Picker = oldest_first,
) -> Plan:
    """Return the sales that raise the money; None sells all that may be sold.

    A little more is sold than needed (`sell_margin_ppm`), so that a falling price or a fee does not
    leave the withdrawal short; what is left over is invested again. `pick` names the lots.

    Of a name that goes in whole shares only, whole shares are sold, one too many rather than one
    too few; a fraction of it stays, for the account's other names to pay. So it is with the least
    part of a share where the broker takes no smaller one.
    """
    free = _free_nanos(raw, business_date(at).isoformat())
    if need_cents is None:
        return _everything(raw, now, free, cause)
    chunk = chunks.build(raw, now.price_micros)
    slots = chunk.slots()
    names = [chunk.security_ids[column] for column in slots.security[0].tolist() if column >= 0]
    step = np.array([[now.step(s) for s in names]], dtype=np.int64)
    free_nanos = np.array([[free.get(security_id, 0) for security_id in names]], dtype=np.int64)
    free_nanos -= free_nanos % step
    price = np.array([[now.price_micros.get(s, 0) for s in names]], dtype=np.int64)
    value = np.maximum(slots.value_cents[:, : len(names)], 0)
    sellable = np.minimum(value, chunk_notional(free_nanos, price))
    stops = np.array([[_stop(raw, now, free, s, now.is_too_little) for s in names]], dtype=np.int8)
    wanted = need_cents + need_cents * policy.sell_margin_ppm // PPM + 1
    sells = allocator.allocate_withdrawal(
        value,
        sellable,
        np.array([wanted], dtype=np.int64),
        slots.weight_ppm[:, : len(names)],
        blocked=stops,
    )
    nanos = allocator.sell_nanos(
        sells.sell_cents,
        np.where(stops == 0, free_nanos, 0),
        price,
        dust_cents=1,
        everything=sells.close_out[:, None],
    )
    nanos += -nanos % step
    trades: list[Trade] = []
    skips: dict[int, Reason] = {}
    for place, security_id in enumerate(names):
        if nanos[0, place] > 0:
            sold = int(nanos[0, place])
            held = _free_lots(raw, security_id, business_date(at).isoformat())
            meant = pick(held, sold, now.price_micros[security_id])
            why = Reason.SELL_WITHDRAWAL
            trades.append(Trade(security_id, why, sell_nanos=sold, lots=meant))
        elif sells.code[0, place]:
            skips[security_id] = allocator.reason_of(int(sells.code[0, place]))
    return Plan(raw.sleeves[0], cause, tuple(trades), skips)


def _stop(
    raw: chunks.RawChunk,
    now: Board,
    free: dict[int, int],
    security_id: int,
    is_little: Callable[[int, int], bool],
) -> int:
    if security_id in _barred(raw):
        return allocator.reason_code(Reason.SKIP_RESTRICTED)
    if security_id in now.stopped:
        return allocator.reason_code(now.stopped[security_id])
    held = raw.balances[raw.sleeves[0].account_id].holdings_nanos.get(security_id, 0)
    if held and not free.get(security_id, 0):
        return allocator.reason_code(Reason.SKIP_UNSETTLED)
    if is_little(security_id, free.get(security_id, 0)):
        return allocator.reason_code(Reason.SKIP_WHOLE_SHARES)
    return 0


def _everything(raw: chunks.RawChunk, now: Board, free: dict[int, int], cause: str) -> Plan:
    trades: list[Trade] = []
    skips: dict[int, Reason] = {}
    for security_id in raw.balances[raw.sleeves[0].account_id].holdings_nanos:
        code = _stop(raw, now, free, security_id, now.is_stuck)
        goes = free.get(security_id, 0)
        if not now.shared:
            goes -= goes % now.step(security_id)
        if code:
            skips[security_id] = allocator.reason_of(code)
        elif goes:
            trades.append(Trade(security_id, Reason.SELL_CLOSE_OUT, sell_nanos=goes))
    return Plan(raw.sleeves[0], cause, tuple(trades), skips)


def _free_lots(raw: chunks.RawChunk, security_id: int, today: str) -> list[OpenLot]:
    """Return the lots of a name that may be sold today."""
    mine = raw.lots.get(raw.sleeves[0].account_id, ())
    return [lot for lot in mine if lot.security_id == security_id and lot.hold_until <= today]


def _free_nanos(raw: chunks.RawChunk, today: str) -> dict[int, int]:
    """Return the nanoshares in lots that may be sold today, less what open orders sell already."""
    account = raw.sleeves[0].account_id
    free: dict[int, int] = {}
    for lot in raw.lots.get(account, ()):
        if lot.hold_until <= today:
            free[lot.security_id] = free.get(lot.security_id, 0) + lot.nanos
    for order in raw.open_orders:
        if order.side == "sell":
            free[order.security_id] = free.get(order.security_id, 0) - order.open_units
    return {security_id: nanos for security_id, nanos in free.items() if nanos > 0}
