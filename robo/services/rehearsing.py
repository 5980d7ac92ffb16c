"""A dry run: what the next window would send, and why the rest would wait; nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass

from robo.core.clock import Clock, to_micros
from robo.core.ids import SecurityId
from robo.core.policy import Policy
from robo.core.reasons import SENTENCES, Reason
from robo.ports.broker import AccountModel, Broker
from robo.services import guarding
from robo.services.sizing import Sizes
from robo.store import blocks, universe, windows
from robo.store.database import Database


@dataclass(frozen=True, slots=True)
class WouldSend:
    """One broker order that would be told."""

    firm_id: str
    symbol: str
    side: str
    orders: int
    notional_cents: int | None
    nanos: int | None


@dataclass(frozen=True, slots=True)
class WouldWait:
    """Orders that would not be sent, for one reason."""

    code: str
    sentence: str
    symbol: str
    side: str
    orders: int
    cents: int
    nanos: int


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a window would do, and the blocks that are to be healed first."""

    sends: tuple[WouldSend, ...]
    waits: tuple[WouldWait, ...]
    unresolved: int


def rehearse(
    db: Database,
    broker: Broker,
    clock: Clock,
    policy: Policy,
    desk: guarding.Desk,
    firm_id: str = "",
) -> Rehearsal:
    """Return what the next window would send and what it would hold back or refuse, and why.

    All orders are judged together, because limits are shared; a firm's own are shown.
    """
    judged = guarding.judge(db, broker, clock, policy, desk)
    against = {order.id: reason for order, reason in judged.against}
    apart = broker.capabilities.account_model is AccountModel.SEGREGATED
    with db.read() as session:
        every = windows.waiting(session, to_micros(clock.now()))
        waiting = [one for one in every if firm_id in {"", one.firm_id}]
        names = universe.by_id(session, sorted({one.security_id for one in waiting}))
        to_heal = blocks.in_states(session, "intended", "unknown")
        unresolved = sum(firm_id in {"", one.firm_id} for one in to_heal)
    symbol = {int(i): one.symbol for i, one in names.items()}
    groups: dict[tuple[str, int, str], list[windows.WaitingOrder]] = {}
    held: dict[tuple[Reason, int, str], list[windows.WaitingOrder]] = {}
    for one in waiting:
        reason = against.get(one.id)
        if reason is not None:
            held.setdefault((reason, one.security_id, one.side), []).append(one)
        else:
            whose = one.account_id if apart else one.firm_id
            groups.setdefault((whose, one.security_id, one.side), []).append(one)
    sends = [_send(mine, symbol, judged.sizes) for mine in groups.values()]
    sends.sort(key=lambda one: (one.side != "sell", one.symbol))
    return Rehearsal(
        tuple(sends),
        tuple(
            WouldWait(
                code=reason.value,
                sentence=SENTENCES[reason],
                symbol=symbol[SecurityId(security_id)],
                side=side,
                orders=len(mine),
                cents=sum(one.notional_cents or 0 for one in mine),
                nanos=sum(one.nanos or 0 for one in mine),
            )
            for (reason, security_id, side), mine in sorted(held.items())
        ),
        unresolved,
    )


def _send(mine: list[windows.WaitingOrder], symbol: Mapping[int, str], sizes: Sizes) -> WouldSend:
    first = mine[0]
    cents = sum(one.notional_cents or 0 for one in mine) or None
    nanos = sum(one.nanos or 0 for one in mine) or None
    summed = blocks.BlockSum(
        "", first.firm_id, first.security_id, first.side, cents, nanos, first.account_id
    )
    size = sizes.of(summed)
    return WouldSend(
        first.firm_id,
        symbol[first.security_id],
        first.side,
        len(mine),
        size.notional_cents if size else None,
        size.nanos if size else None,
    )
