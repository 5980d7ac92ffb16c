"""What a plan of direct sleeves needs, gathered from the tables: balances, lots, wishes, taxes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.portfolio.problem import BoolArray
from robo.services import assessing, following, readying
from robo.services.asking import Ask
from robo.services.modelling import Model
from robo.store import arrivals, chunks, lot_chunks, universe
from robo.store.direct import DirectSleeve
from robo.store.keyring import Keyring
from robo.store.lot_chunks import LotChunk

_LEAVING: Final = frozenset({Reason.SELL_LEFT_OUT, Reason.SELL_RESTRICTION_CHOICE})
"""Why names are sold that have to go, in orders that name the lots."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What the tables say of some direct sleeves, and what is asked of them."""

    raw: chunks.RawChunk
    ask: Ask
    stand_ins: BoolArray
    """Names that are bought only because others may not be, (A, N)."""
    target: BoolArray
    """Names of the target, (A, N)."""
    screened: BoolArray
    """Names that the account's basket excludes and nothing else bars: not bought any more, (A, N).

    What is held of them is sold for a withdrawal, and where it came with a portfolio from another
    firm: that is on its way to what the account follows. Else scores sell it, by `leaving`, and who
    harvests takes its losses.
    """


def plannable(
    session: Session, account_ids: Sequence[AccountId], on: date, policy: Policy
) -> chunks.RawChunk:
    """Return those accounts that may be planned now: open, and with nothing to wait for."""
    ready = readying.ready(session, account_ids, on, policy)
    raw = chunks.read(session, [one for one in account_ids if one in ready])
    waiting = busy(raw)
    if not waiting:
        return raw
    return chunks.read(session, [one for one in raw.account_ids if one not in waiting])


def busy(raw: chunks.RawChunk) -> set[AccountId]:
    """Return the accounts whose plans have to wait until orders have ended.

    The sale of a name that has to go is nothing to wait for: it may be tried every morning and
    never fill, and the account would have no other plan for ever. Plans go on around that name.
    """
    return {one.account_id for one in raw.open_orders if one.reason not in _LEAVING}


def leaving(raw: chunks.RawChunk) -> set[tuple[AccountId, int]]:
    """Return the names whose shares are on their way out, by account: for others to leave alone."""
    return {(one.account_id, one.security_id) for one in raw.open_orders if one.reason in _LEAVING}


def on_the_way(model: Model, raw: chunks.RawChunk) -> BoolArray:
    """Return the names that `leaving` has, (A, N)."""
    mask = np.zeros((len(raw.sleeves), model.security_ids.size), dtype=np.bool_)
    gone = sorted(leaving(raw))
    place = {account: row for row, account in enumerate(raw.account_ids)}
    columns = model.columns([name for _, name in gone])
    for (account, _), column in zip(gone, columns.tolist(), strict=True):
        if column >= 0:
            mask[place[account], column] = True
    return mask


def load(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    model: Model,
    raw: chunks.RawChunk,
    rows: Mapping[AccountId, DirectSleeve],
    on: date,
    *,
    sells: bool,
    lands: bool = False,
) -> Loaded:
    """Return what is asked of direct sleeves.

    Args:
        session: Of the snapshot that `raw` was read in.
        keyring: Opens what customers told us of their taxes.
        policy: Business numbers.
        model: The day's.
        raw: The accounts.
        rows: What their customers chose.
        on: The day of the trade.
        sells: False to put cash to work only.
        lands: It is one of the year's last sessions.
    """
    ids = list(raw.account_ids)
    lots = lot_chunks.read(session, ids)
    lots, tax = assessing.tax_side(session, keyring, policy, model.security_ids, ids, lots, on)
    # What only an open sale bars may end at a gain: it waits a day, and nothing stands in for it.
    open_ = following.masks_of(model, tax.undecided)
    lost = following.of_companies(model, tax.no_buy & ~open_)
    # Another share class would be a replacement of what was sold at a loss, whoever chooses it.
    tax = replace(tax, no_buy=following.of_companies(model, tax.no_buy) if open_.any() else lost)
    gone = frozenset(universe.gone(session))
    target, frozen = following.targets(model, raw), following.frozen(model, raw)
    frozen |= on_the_way(model, raw)
    mine = held(model, lots, len(ids))
    screened = following.screened(session, model, raw, rows) & ~frozen
    missing = lost & ~mine
    barred = frozen | screened
    spare = following.stand_ins(model, target & ~barred, missing, barred | tax.no_buy)
    stays = screened & ~_arrived(session, model, raw, screened & mine)
    ask = Ask(
        cash_cents=np.array([raw.balances[one].cash_cents for one in ids], dtype=np.int64),
        lots=lots,
        tax=tax,
        benchmark=following.weights(session, model, raw, rows, gone),
        buyable=(target | spare) & ~screened,
        frozen=frozen | stays,
        sheds=stays,
        sells=sells,
        lands=lands,
    )
    return Loaded(raw, ask, spare & ~target, target, screened)


def unfrozen(loaded: Loaded) -> Loaded:
    """Return the same, with what only a basket's exclusions keep from trading free to be sold."""
    return replace(loaded, ask=replace(loaded.ask, frozen=loaded.ask.frozen & ~loaded.screened))


def freed(loaded: Loaded, model: Model, names: Collection[int]) -> Loaded:
    """Return the same with some names as free as if they had come with a portfolio already."""
    columns = model.columns(sorted(names))
    comes = np.zeros_like(loaded.screened)
    comes[:, columns[columns >= 0]] = True
    frozen = loaded.ask.frozen & ~(loaded.screened & comes)
    return replace(loaded, ask=replace(loaded.ask, frozen=frozen))


def _arrived(
    session: Session, model: Model, raw: chunks.RawChunk, concerned: BoolArray
) -> BoolArray:
    """Return which of the names concerned came with a portfolio from another firm, (A, N)."""
    mask = np.zeros_like(concerned)
    places = np.flatnonzero(concerned.any(axis=1)).tolist()
    if places:
        ids = {raw.account_ids[place]: place for place in places}
        for account, names in arrivals.securities(session, list(ids)).items():
            columns = model.columns(sorted(names))
            mask[ids[account], columns[columns >= 0]] = True
    return mask


def held(model: Model, lots: LotChunk, count: int) -> BoolArray:
    """Return which of the model's names accounts hold, (A, N)."""
    mask = np.zeros((count, model.security_ids.size), dtype=np.bool_)
    columns = model.columns(lots.security_id.tolist())
    known = columns >= 0
    mask[lots.account[known], columns[known]] = True
    return mask
