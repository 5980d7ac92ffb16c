"""How large the broker order of a block is: as ordered, or in the units that the broker takes.

Orders are cents (buys) and nanoshares (sells). Where a broker, or a name at it, takes whole shares
only, or no dollars, the block is rounded to what can be sent; what is left of the orders when it
ends goes back to their accounts and is planned again. A firm that is a broker-dealer may fill the
fraction from its own book instead, at most one share a name; an adviser never does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from robo.core.money import NANOS_PER_SHARE, PPM, nanos_for_cents
from robo.core.reasons import Reason
from robo.ports.broker import AccountModel, Capabilities
from robo.store.blocks import Block, BlockSum, Outcome
from robo.store.controls import Tradability
from robo.store.windows import WaitingOrder

_DECIMALS: Final = 9


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
            firms are absent, and theirs are rounded down.
        margin_ppm: So much less is bought than the money is worth, so that a rising price fits.
    """

    capabilities: Capabilities | None = None
    price_micros: Mapping[int, int] = field(default_factory=dict)
    whole: frozenset[int] = frozenset()
    own_nanos: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    margin_ppm: int = 0

    def of(self, block: BlockSum) -> Size | None:
        """Return the size of a block's broker order; None if nothing of it can be sent."""
        caps = self.capabilities
        if caps is None:
            return Size(block.notional_cents, block.nanos)
        fractional = caps.fractional and block.security_id not in self.whole
        if block.notional_cents is not None and fractional and caps.notional:
            return Size(block.notional_cents, None)
        step = 10 ** (_DECIMALS - caps.share_decimals) if fractional else NANOS_PER_SHARE
        own = self.own_nanos.get(block.firm_id)
        mine = 0 if own is None else own.get(block.security_id, 0)
        if block.nanos is not None:
            nanos = (block.nanos + (0 if own is None else mine)) // step * step
        else:
            nanos = self._bought(block, step, mine, round_up=own is not None)
        return Size(None, nanos) if nanos > 0 else None

    def _bought(self, block: BlockSum, step: int, mine: int, *, round_up: bool) -> int:
        price = self.price_micros.get(block.security_id, 0)
        if not price or block.notional_cents is None:
            return 0
        wanted = nanos_for_cents(block.notional_cents, price)
        wanted -= wanted * self.margin_ppm // PPM
        if round_up:
            return -((mine - wanted) // step) * step
        return wanted // step * step


AS_ORDERED: Final = Sizes()


def too_small(sizes: Sizes, waiting: Sequence[WaitingOrder]) -> dict[str, Reason]:
    """Return the orders whose block would be less than the least that the broker takes."""
    totals: dict[tuple[str, int, str], list[WaitingOrder]] = {}
    for one in waiting:
        caps = sizes.capabilities
        assert caps is not None
        plain = caps.fractional and caps.notional and one.security_id not in sizes.whole
        if not plain:
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
            assert sizes.capabilities is not None
            # It waits where others' orders may make it a share; planners leave alone what never is.
            never = (
                sizes.capabilities.fractional
                if first.side == "buy"
                else sizes.capabilities.account_model is AccountModel.SEGREGATED
            )
            why = Reason.REFUSE_WHOLE_SHARES if never else Reason.WAIT_WHOLE_SHARES
            found |= {one.id: why for one in mine}
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
