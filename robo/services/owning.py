"""What the firm takes of an execution for itself: fractions of whole shares, and what is too much.

A block that was told in shares may cost more than its orders' cents, and a broker of whole shares
leaves a fraction over. The customers get what is theirs; the rest goes to the firm's own book, at
the same price and on its own account. A broker-dealer fills the fraction of a block from what it
holds, so that it never holds a whole share of a name; an adviser takes only what is too much.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlmodel import Session

from robo.core.ids import FirmId, SecurityId, child_id
from robo.core.money import NANOS_PER_SHARE, nanos_for_cents, notional_cents, round_ratio
from robo.ledger import recipes
from robo.ledger.entries import Transfer
from robo.store import blocks, events, inventory, ledger, orders
from robo.store.database import Database
from robo.store.keyring import Keyring


def transfers_of(part: inventory.Taken) -> list[Transfer]:
    """Return what a part that the firm takes moves on its own book."""
    recipe = recipes.own_buy if part.side == "buy" else recipes.own_sell
    security, firm_id = SecurityId(part.security_id), FirmId(part.firm_id)
    return recipe(firm_id, security, part.nanos, part.cents, part.fee_cents, part.id)


def customers_part(
    execution: blocks.BookedExecution, own: inventory.Taken | None
) -> blocks.BookedExecution:
    """Return an execution as far as it is the customers': less, or more, by what is the firm's."""
    if own is None:
        return execution
    sign = -1 if own.side == execution.side else 1
    return replace(
        execution,
        nanos=execution.nanos + sign * own.nanos,
        cents=execution.cents + sign * own.cents,
        fee_cents=execution.fee_cents + sign * own.fee_cents,
    )


def concerned(session: Session, block_ids: Sequence[str]) -> set[str]:
    """Return the blocks whose executions may be the firm's in part; see `settle`."""
    principals = set(inventory.principals(session))
    busted = inventory.busted_blocks(session, block_ids)
    return {
        block.id
        for block in blocks.many(session, block_ids).values()
        if _may_own(block, principals, busted)
    }


def _may_own(block: blocks.Block, principals: Collection[str], busted: Collection[str]) -> bool:
    """Return whether the firm may take a part: of shares bought, or of anything it deals in.

    And of whatever a correction brings beyond what its orders want: more than was ordered, or what
    customers had kept of the trade that was taken back.
    """
    if block.id in busted or block.exceeded:
        return True
    if block.notional_cents is not None:
        return False
    return block.side == "buy" or block.firm_id in principals


def settle(
    db: Database,
    keyring: Keyring,
    block_id: str,
    mine: Sequence[blocks.BookedExecution],
    at_micros: int,
) -> None:
    """Write the firm's part of a block's executions, each once, before the customers' is split."""
    with db.read() as session:
        block = blocks.get(session, block_id)
        assert block is not None
        principals = inventory.principals(session)
        if not _may_own(block, principals, inventory.busted_blocks(session, [block_id])):
            return
        deals = block.notional_cents is None and block.firm_id in principals
        # In an account of the customer's own, what is left over stays the customer's.
        deals = deals and block.broker_account == f"omnibus/{block.firm_id}"
        members = orders.of_block(session, block_id)
        booked = blocks.fills_of_blocks(session, [block_id])
        fills = [booked.get(one.id, {}) for one in mine]
        known = {one.execution_id: one for one in inventory.parts(session, [e.id for e in mine])}
        own = inventory.held(session, block.firm_id).get(block.security_id, 0)
        diverted = inventory.diverted(session, block_id)
    unit = 1 if block.side == "buy" else 0
    left = sum(order.open_units for order in members)
    left += sum(pair[unit] for some in fills for pair in some.values())
    now = {one.id for one in mine}
    gone = [part for part in diverted if part.execution_id not in now]
    left -= sum(part.cents if unit else part.nanos for part in gone)
    for number, one in enumerate(mine):
        last = block.executed_nanos == block.nanos and number == len(mine) - 1
        part = known.get(one.id) or _part(block, one, left, own, fraction=deals and last)
        whole = customers_part(one, part)
        left -= whole.cents if unit else whole.nanos
        if part is not None and one.id not in known:
            _write(db, keyring, block, part, at_micros)


def _part(
    block: blocks.Block,
    one: blocks.BookedExecution,
    open_units: int,
    own_nanos: int,
    *,
    fraction: bool,
) -> inventory.Taken | None:
    """Return the firm's part of an execution, or None.

    Args:
        block: In shares.
        one: The execution.
        open_units: Cents (buys) or nanoshares (sells) that the orders still want.
        own_nanos: What the firm holds of it.
        fraction: Whether the firm fills what the whole shares leave over: the last execution only.
    """
    if one.side == "buy":
        nanos, cents, why = _of_buy(one, open_units, own_nanos, fraction=fraction)
    else:
        nanos, cents, why = _of_sell(one, open_units, fraction=fraction)
    if nanos == 0 and cents == 0:
        return None
    other = "sell" if one.side == "buy" else "buy"
    return inventory.Taken(
        id=child_id("inv", one.id),
        firm_id=block.firm_id,
        execution_id=one.id,
        order_id="",
        security_id=one.security_id,
        side=one.side if nanos > 0 else other,
        nanos=abs(nanos),
        cents=abs(cents),
        fee_cents=0,
        why=why,
    )


def _of_buy(
    one: blocks.BookedExecution, open_cents: int, own_nanos: int, *, fraction: bool
) -> tuple[int, int, str]:
    """Return (nanoshares, cents, why) that the firm buys of it; negative where it sells."""
    if one.cents > open_cents:
        mine = one.nanos - one.nanos * open_cents // one.cents
        return mine, one.cents - open_cents, "excess"
    if not fraction:
        return 0, 0, ""
    wanted = nanos_for_cents(open_cents, one.price_micros)
    if wanted <= one.nanos:
        cents = min(open_cents, round_ratio(one.cents * wanted, one.nanos))
        return one.nanos - wanted, one.cents - cents, "whole_share"
    extra = min(wanted - one.nanos, max(own_nanos, 0))
    cents = min(open_cents - one.cents, notional_cents(extra, one.price_micros))
    return -extra, -cents, "whole_share"


def _of_sell(
    one: blocks.BookedExecution, open_nanos: int, *, fraction: bool
) -> tuple[int, int, str]:
    """Return (nanoshares, cents, why) that the firm sells in it; negative where it buys."""
    if one.nanos > open_nanos:
        mine = one.nanos - open_nanos
        # Whole shares are rounded by less than one; anything more is a correction's.
        why = "whole_share" if mine < NANOS_PER_SHARE else "excess"
        return mine, one.cents * mine // one.nanos, why
    if not fraction:
        return 0, 0, ""
    rest = open_nanos - one.nanos
    return -rest, -notional_cents(rest, one.price_micros), "whole_share"


def _write(
    db: Database, keyring: Keyring, block: blocks.Block, part: inventory.Taken, at_micros: int
) -> None:
    with db.write() as session:
        if inventory.known(session, [part.id]):
            return
        firm_id = FirmId(block.firm_id)
        also = [part.link()]
        ledger.post(session, keyring.chain, transfers_of(part), firm_id, at_micros, also=also)
        inventory.mark_mixed(session, block.id)
        events.emit(
            session,
            [events.NewEvent(firm_id, "inventory.taken", part.id, f'{{"why":"{part.why}"}}')],
            at_micros,
        )
