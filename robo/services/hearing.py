"""What the broker tells of executions: read by cursor, accepted once, never believed blindly.

An execution that no block of ours explains, or that would overfill one, is not booked; it is kept
for a person to decide (`strays`), with an event, and holds nobody else up. What a correction brings
beyond the order it replaces is accepted: it did happen, and the firm has the excess. One that comes
after its order had ended is ours all the same: the customer gets it where money or shares are still
there, else the firm does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.money import AMOUNT_CENTS_MAX, NANOS_PER_SHARE, PPM
from robo.core.shares import SHARES_MAX
from robo.ports.broker import Broker, Execution, ExecutionKind
from robo.store import (
    blocks,
    breaks,
    chains,
    controls,
    cursors,
    events,
    inventory,
    strays,
    tellings,
)
from robo.store.database import Database
from robo.store.keyring import Keyring

CURSOR: Final = "executions"
_PRICE_MICROS_MAX: Final = 10**9 * PPM
"""A billion dollars a share: no price is dearer."""


def accept(db: Database, keyring: Keyring, broker: Broker, clock: Clock) -> None:
    """Read and accept every execution and bust that the broker has to tell."""
    while True:
        with db.read() as session:
            after = cursors.cursor(session, CURSOR)
        page = broker.executions(after)
        if not page.executions or page.cursor == after:
            return
        with db.write() as session:
            if cursors.cursor(session, CURSOR) != after:
                continue  # another process read this page meanwhile
            take(session, keyring, page.executions, to_micros(clock.now()))
            cursors.move_cursor(session, CURSOR, page.cursor)


def take(
    session: Session,
    keyring: Keyring,
    told: Sequence[Execution],
    at_micros: int,
    *,
    adopted: bool = False,
) -> list[Execution]:
    """Accept what is new of a page, in the broker's order; return what could not be accepted.

    Args:
        session: The caller's transaction.
        keyring: Signs the chains.
        told: The page.
        at_micros: When it was heard.
        adopted: Whether a person has decided that it happened: it may go beyond its order.
    """
    known = tellings.accepted(session, [one.id for one in told])
    known |= tellings.known_busts(session, [one.id for one in told])
    new = [one for one in told if one.id not in known]
    longer = tellings.under_longer_ids(session, sorted({one.client_id for one in new}))
    shorter = tellings.under_shorter_ids(
        session, [(name, one.client_id) for one in new for name in (one.id, one.busts)]
    )
    known |= longer.keys() | shorter.keys()
    named = shorter | longer
    fresh: dict[str, Execution] = {}
    for one in new:  # a page may repeat itself: the first telling counts
        if one.id not in known:
            fresh.setdefault(one.id, replace(one, busts=named.get(one.busts, one.busts)))
    if not fresh:
        return []
    heard = _Heard(session, list(fresh.values()), adopted=adopted)
    trades = [booked(one) for one in heard.trades]
    busts = [
        inventory.Bust(b.id, b.busts, b.nanos, b.cents, b.fee_cents, to_micros(b.executed_at))
        for b in heard.busts
    ]
    links = [trade.link(heard.firm_of[trade.block_id]) for trade in trades]
    links += [
        bust.link(heard.firm_of[told_.client_id])
        for bust, told_ in zip(busts, heard.busts, strict=True)
    ]
    chains.append(session, keyring.chain, links, at_micros)
    blocks.accept(session, trades, [(b.client_id, b.nanos, b.cents) for b in heard.busts])
    inventory.begin_undoing(session, [bust.id for bust in busts])
    if not adopted:
        _report(session, heard, at_micros)
    return [fresh[i] for i in heard.why]


@dataclass
class _Heard:
    """What is new of a page, sorted into trades, busts, and what cannot be (with why)."""

    session: Session
    told: Sequence[Execution]
    trades: list[Execution] = field(default_factory=list)
    busts: list[Execution] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    firm_of: dict[str, str] = field(default_factory=dict)
    adopted: bool = False
    """Whether a person has said that what is told did happen, even beyond its order."""
    _filled: dict[str, tuple[int, int]] = field(default_factory=dict)
    _corrected: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Block -> nanoshares and cents that were taken back of it."""

    def __post_init__(self) -> None:
        """Sort, keeping the sums of the blocks as the page goes on."""
        ours = blocks.many(self.session, sorted({one.client_id for one in self.told}))
        self.firm_of = {block.id: block.firm_id for block in ours.values()}
        self._filled = {b.id: (b.executed_nanos, b.executed_cents) for b in ours.values()}
        originals = tellings.executions(self.session, [one.busts for one in self.told if one.busts])
        gone = inventory.busted(self.session, list(originals))
        self._corrected = inventory.busted_sums(self.session, list(ours))
        for one in self.told:
            if one.kind is ExecutionKind.BUST:
                same_page = next((t for t in self.trades if t.id == one.busts), None)
                original = booked(same_page) if same_page else originals.get(one.busts)
                self._sort_bust(one, original, again=one.busts in gone)
                gone.add(one.busts)
            else:
                self._sort_trade(one, ours)

    def _sort_trade(self, one: Execution, ours: Mapping[str, blocks.Block]) -> None:
        block = ours.get(one.client_id)
        if block is None:
            self.why[one.id] = "unknown_order"
            return
        nanos, cents = self._filled[block.id]
        nanos, cents = nanos + one.nanos, cents + one.cents
        if (one.security_id, one.side) != (block.security_id, block.side):
            self.why[one.id] = "another_security_or_side"
        elif not _possible(one):
            self.why[one.id] = "impossible_size"
        elif self._too_much(block, nanos, cents):
            self.why[one.id] = "more_than_ordered"
        else:
            self._filled[block.id] = nanos, cents
            self.trades.append(one)

    def _too_much(self, block: blocks.Block, nanos: int, cents: int) -> bool:
        """Return whether a block would have more than it may.

        That is its size and, beyond it, as much as was taken back: what replaces that may be more.
        Twice its size is the most, and what a person may adopt.
        """
        gone_nanos, gone_cents = self._corrected.get(block.id, (0, 0))
        size, told, gone = block.notional_cents, cents, gone_cents
        if size is None:
            size, told, gone = block.nanos, nanos, gone_nanos
        assert size is not None
        return told > size + (size if self.adopted else min(gone, size))

    def _sort_bust(
        self, one: Execution, original: blocks.BookedExecution | None, *, again: bool
    ) -> None:
        if original is None or original.block_id != one.client_id:
            self.why[one.id] = "busts_nothing_of_ours"
        elif again:
            self.why[one.id] = "busted_twice"
        elif (one.nanos, one.cents) != (original.nanos, original.cents):
            self.why[one.id] = "busts_another_amount"
        else:
            nanos, cents = self._filled[one.client_id]
            self._filled[one.client_id] = nanos - one.nanos, cents - one.cents
            gone_nanos, gone_cents = self._corrected.get(one.client_id, (0, 0))
            self._corrected[one.client_id] = gone_nanos + one.nanos, gone_cents + one.cents
            self.busts.append(replace(one, fee_cents=original.fee_cents))


def _possible(one: Execution) -> bool:
    """Return whether a size can be at all: what is beyond fits in no column."""
    fits = 0 < one.nanos <= SHARES_MAX * NANOS_PER_SHARE
    fits = fits and 0 <= one.price_micros <= _PRICE_MICROS_MAX
    return fits and all(0 <= cents <= AMOUNT_CENTS_MAX for cents in (one.cents, one.fee_cents))


def booked(execution: Execution) -> blocks.BookedExecution:
    """Return an execution as the books keep it."""
    return blocks.BookedExecution(
        id=execution.id,
        block_id=execution.client_id,
        security_id=execution.security_id,
        side=execution.side.value,
        nanos=execution.nanos,
        price_micros=execution.price_micros,
        cents=execution.cents,
        fee_cents=execution.fee_cents,
        executed_at=to_micros(execution.executed_at),
        settles_on=execution.settles_on.isoformat(),
    )


def _report(session: Session, heard: _Heard, at_micros: int) -> None:
    """Tell the operators of executions that no order of ours explains; they are never booked."""
    by_id = {one.id: one for one in heard.told}
    before = strays.many(session, list(heard.why))
    kept = [_stray(by_id[i], code, at_micros) for i, code in heard.why.items()]
    strays.add(session, kept)
    _block_names(session, [one for one in kept if one.id not in before], at_micros)
    events.emit(
        session,
        [
            events.NewEvent(
                heard.firm_of.get(by_id[i].client_id, ""),
                "broker.unknown_execution" if code == "unknown_order" else "break.execution",
                i,
                json.dumps({"client_id": by_id[i].client_id, "why": code}),
            )
            for i, code in heard.why.items()
            if i not in before
        ],
        at_micros,
    )


def _block_names(session: Session, fresh: Sequence[strays.Stray], at_micros: int) -> None:
    """Stop the names of strays at once: their orders end, and must not be planned again before."""
    ours = blocks.many(session, sorted({one.client_id for one in fresh}))
    for one in fresh:
        block = ours.get(one.client_id)
        if block is None:
            continue
        owner = controls.owner_of_broker_account(session, block.broker_account)
        found = strays.difference(one, block, owner[1] if owner else None)
        breaks.put(session, [found], at_micros)


def _stray(one: Execution, why: str, at_micros: int) -> strays.Stray:
    return strays.Stray(
        id=one.id,
        client_id=one.client_id,
        busts=one.busts,
        security_id=one.security_id,
        side=one.side.value,
        nanos=one.nanos,
        price_micros=one.price_micros,
        cents=one.cents,
        fee_cents=one.fee_cents,
        executed_at=to_micros(one.executed_at),
        settles_on=one.settles_on.isoformat(),
        why=why,
        heard_at=at_micros,
    )
