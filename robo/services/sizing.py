"""How large the broker order of a block is: as ordered, or in the units that the broker takes.

Orders are cents (buys) and nanoshares (sells). Where a broker, or a name at it, takes whole shares
only, or no dollars, the block is rounded to what can be sent; what is left of the orders when it
ends goes back to their accounts and is planned again. A firm that is a broker-dealer may fill the
fraction from its own book instead, at most one share a name; an adviser never does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from robo.core.money import NANOS_PER_SHARE, PPM, nanos_for_cents
from robo.core.reasons import Reason
from robo.ports.broker import AccountModel, Capabilities
from robo.store.blocks import Block, BlockSum, Outcome
from robo.store.controls import Tradability
from robo.store.windows import WaitingOrder


@dataclass(frozen=True, slots=True)
class Size:
    """Exactly one of the two is set."""

    notional_cents: int | None
    nanos: int | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is needed to size blocks.

    Attributes:
        capabilities: The broker's; None = everything is taken as ordered.
        price_micros: Security -> price, for buys that must be told in shares.
        whole: Securities that trade in whole shares only.
        own_nanos: (Firm, security) -> what a broker-dealer firm holds for itself; names of other
            firms are absent, and theirs are rounded down. Empty where the broker keeps an account
            each: a fraction in a customer's account cannot be the firm's.
        margin_ppm: So much less is bought than the money is worth, so that a rising price fits.
    """

    capabilities: Capabilities | None = None
    price_micros: Mapping[int, int] = field(default_factory=dict)
    whole: frozenset[int] = frozenset()
    own_nanos: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    margin_ppm: int = 0

    def deals(self, firm_id: str, security_id: int) -> bool:
        """Return whether blocks of a name count on what a firm holds for itself."""
        own = self.own_nanos.get(firm_id)
        return own is not None and (not self._takes_dollars(security_id) or security_id in own)

    def step(self, security_id: int) -> int:
        """Return the least part of a share that is taken of a name, in nanoshares."""
        caps = self.capabilities
        if security_id in self.whole:
            return NANOS_PER_SHARE
        return 1 if caps is None else caps.step_nanos

    def as_ordered(self, one: BlockSum | WaitingOrder) -> bool:
        """Return whether cents are told to the broker as they are."""
        if self.capabilities is None:
            return True
        return one.notional_cents is not None and self._takes_dollars(one.security_id)

    def _takes_dollars(self, security_id: int) -> bool:
        caps = self.capabilities
        return caps is None or (caps.fractional and caps.notional and security_id not in self.whole)

    def of(self, block: BlockSum) -> Size | None:
        """Return the size of a block's broker order; None if nothing of it can be sent.

        What a firm holds for itself beyond a fraction (a trade was taken back, a price ran away)
        goes with the block as far as that leaves the street something to do.
        """
        if self.as_ordered(block):
            return Size(block.notional_cents, block.nanos)
        step = self.step(block.security_id)
        own = self.own_nanos.get(block.firm_id)
        mine = 0 if own is None else own.get(block.security_id, 0)
        if block.nanos is not None:
            nanos = (block.nanos + mine) // step * step
            most = block.nanos
        else:
            most = self._wanted(block)
            nanos = -((mine - most) // step) * step if own is not None else most // step * step
        if nanos <= 0 and own is not None and most >= step:
            nanos = step
        return Size(None, nanos) if nanos > 0 else None

    def _wanted(self, block: BlockSum) -> int:
        """Return the nanoshares that a block's cents pay for, with a margin."""
        price = self.price_micros.get(block.security_id, 0)
        if not price or block.notional_cents is None:
            return 0
        wanted = nanos_for_cents(block.notional_cents, price)
        return wanted - wanted * self.margin_ppm // PPM


AS_ORDERED: Final = Sizes()


def too_small(sizes: Sizes, waiting: Sequence[WaitingOrder]) -> dict[str, Reason]:
    """Return the orders whose block would be less than the least that the broker takes."""
    caps = sizes.capabilities
    assert caps is not None
    if caps.notional and caps.step_nanos == 1 and not sizes.whole:
        return {}  # every size is taken
    totals: dict[tuple[str, int, str], list[WaitingOrder]] = {}
    for one in waiting:
        fine = one.side == "sell" and sizes.step(one.security_id) == 1
        if not fine and not sizes.as_ordered(one):
            place = one.account_id if caps.account_model is AccountModel.SEGREGATED else one.firm_id
            totals.setdefault((place, one.security_id, one.side), []).append(one)
    found: dict[str, Reason] = {}
    for mine in totals.values():
        first = mine[0]
        cents = sum(one.notional_cents or 0 for one in mine) or None
        nanos = sum(one.nanos or 0 for one in mine) or None
        summed = BlockSum(
            "", first.firm_id, first.security_id, first.side, cents, nanos, first.account_id
        )
        if sizes.of(summed) is None:
            # It waits where others' orders may make it a share; planners leave alone what never is.
            # What buys no part of a share they would plan again at once: that is for tomorrow.
            never = sizes.step(first.security_id) == NANOS_PER_SHARE and (
                caps.fractional
                if first.side == "buy"
                else caps.account_model is AccountModel.SEGREGATED
            )
            why = Reason.REFUSE_WHOLE_SHARES if never else Reason.WAIT_WHOLE_SHARES
            found |= {one.id: why for one in mine}
    return found


def in_turn(
    sizes: Sizes, begun: Iterable[Block | BlockSum], waiting: Sequence[WaitingOrder]
) -> dict[str, Reason]:
    """Return the orders that wait for their turn, because the firm deals in their name.

    A block is sized by what the firm holds of the name, and leaves it with another fraction. So
    there is one at a time, of either side, and sales go first: two would each count on the same.

    Args:
        sizes: Says what a firm deals in.
        begun: Blocks that have not ended, and those that are about to be written.
        waiting: What else could be sent.
    """
    sides: dict[tuple[str, int], set[str]] = {}
    for block in begun:
        sides.setdefault((block.firm_id, block.security_id), set()).add(block.side)
    sold = {(one.firm_id, one.security_id) for one in waiting if one.side == "sell"}
    found: dict[str, Reason] = {}
    for one in waiting:
        key = one.firm_id, one.security_id
        if not sizes.deals(*key):
            continue
        if key in sides:
            same = one.side in sides[key]
            found[one.id] = Reason.WAIT_OWN_BOOK if same else Reason.WAIT_OPPOSITE
        elif one.side == "buy" and key in sold:
            found[one.id] = Reason.WAIT_OPPOSITE
    return found


def learnt(
    outcomes: Sequence[Outcome], told: Mapping[str, Block], at_micros: int
) -> list[Tradability]:
    """Return what refusals teach of names: whole shares only from now on, or not traded at all."""
    found: list[Tradability] = []
    for outcome in outcomes:
        block = told.get(outcome.block_id)
        why = outcome.code.removeprefix("rejected:")
        if block is not None and why in {"not_fractionable", "whole_shares_only"}:
            found.append(Tradability(block.security_id, 1, 0, at_micros))
        elif block is not None and why == "not_tradable":
            found.append(Tradability(block.security_id, 0, 0, at_micros))
    return found
