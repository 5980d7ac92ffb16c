"""What free cash buys in sleeves that follow a basket, name by name; nothing is ever sold.

The planner writes it down as orders; a price tag only says it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from robo.core.ids import AccountId, SecurityId
from robo.core.reasons import Reason
from robo.portfolio import allocator
from robo.portfolio.chunk import Slots
from robo.services import weighing
from robo.services.modelling import Model
from robo.services.quoting import Board
from robo.services.weighing import Ppm
from robo.store import chunks
from robo.store.accounts import Sleeve

Bans = Mapping[AccountId, Mapping[SecurityId, date]]
"""Names that a wash sale keeps accounts from buying, until when."""


Named = tuple[int, int, Reason, Ppm]
"""A name that is bought or left out: security, cents, why, what it adds to tracking error."""


def allocate(
    raw: chunks.RawChunk,
    prices: Board,
    minimum_cents: int,
    bans: Bans,
    model: Model | None = None,
) -> Iterator[tuple[Sleeve, list[Named]]]:
    """Yield the basket sleeves that have cash to invest, each with what it buys and leaves out.

    Without a risk model, nothing is said of what that does to risk.
    """
    chunk = chunks.build(raw, prices.price_micros)
    slots = chunk.slots()
    blocked = _blocked(raw, prices, slots, chunk.security_ids, bans)
    # The cash of direct sleeves is put to work by `indexing.invest`.
    follows = np.array([one.kind == "basket" for one in raw.sleeves], dtype=np.bool_)
    rows = np.flatnonzero(follows & (chunk.target >= 0) & (chunk.cash_cents >= minimum_cents))
    buys = allocator.allocate_deposit(
        np.maximum(slots.value_cents[rows], 0),
        chunk.cash_cents[rows],
        slots.weight_ppm[rows],
        minimum_cents=minimum_cents,
        blocked=blocked[rows],
    )
    risks = weighing.of_purchases(model, chunk, slots, rows, buys.buy_cents)
    for place, row in enumerate(rows.tolist()):
        names = [
            (chunk.security_ids[column], cents, allocator.reason_of(code), risk)
            for column, cents, code, risk in zip(
                slots.security[row].tolist(),
                buys.buy_cents[place].tolist(),
                buys.code[place].tolist(),
                risks[place],
                strict=True,
            )
            if column >= 0 and code
        ]
        yield raw.sleeves[row], names


def _blocked(
    raw: chunks.RawChunk, prices: Board, slots: Slots, security_ids: Sequence[int], bans: Bans
) -> NDArray[np.int8]:
    """Return the reason codes of names that may not be bought, in the shape of the slots."""
    by_column = np.zeros(len(security_ids) + 1, dtype=np.int8)  # the last stands for padding
    against = {**prices.unbought, **prices.stopped}
    for column, security_id in enumerate(security_ids):
        if security_id in against:
            by_column[column] = allocator.reason_code(against[security_id])
    blocked = by_column[slots.security]
    place = {security_id: column for column, security_id in enumerate(security_ids)}
    if bans:
        washed = allocator.reason_code(Reason.SKIP_WASH_BUY)
        for row, sleeve in enumerate(raw.sleeves):
            columns = [place[s] for s in bans.get(sleeve.account_id, ()) if s in place]
            if columns:
                blocked[row, np.isin(slots.security[row], columns)] = washed
    if raw.restricted:
        restricted = allocator.reason_code(Reason.SKIP_RESTRICTED)
        for row, sleeve in enumerate(raw.sleeves):
            columns = [place[s] for s in raw.restricted.get(sleeve.account_id, ()) if s in place]
            if columns:
                blocked[row, np.isin(slots.security[row], columns)] = restricted
    return blocked
