"""What direct sleeves follow and may buy, as arrays over the model's names."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.portfolio import ladder
from robo.portfolio.ladder import Carried
from robo.portfolio.problem import BoolArray, FloatArray, IntArray
from robo.services import benchmarking, offering
from robo.services.benchmarking import Wish
from robo.services.modelling import Model
from robo.services.offering import Shelf
from robo.store import chunks, direct
from robo.store.accounts import DIRECT, Sleeve, TargetWeight
from robo.store.direct import OURS, DirectSleeve

_NEIGHBOURS: Final = 40
"""How many of the names that swing most like another are looked among for a stand-in."""


def first_row(sleeve: Sleeve, names: int) -> DirectSleeve:
    """Return what a sleeve says that nobody chose anything for and that never grew."""
    return DirectSleeve(
        sleeve_id=sleeve.id,
        account_id=sleeve.account_id,
        ladder=ladder.SEGMENTS_OWN,
        names_max=0,
        theme="fades",
        stays_ppm=0,
        tilts="{}",
        names=max(1, names),
        carried_cents=0,
        withdrawn_cents=0,
        reviewed_on="",
    )


def grown(policy: Policy, row: DirectSleeve, nav_cents: int, withdrawn_cents: int) -> DirectSleeve:
    """Return a row with the names that its reviews lead to if nothing else happens.

    Args:
        policy: The ladders.
        row: What was chosen, and what the last review said.
        nav_cents: What the account is worth.
        withdrawn_cents: Taken out since that review, or too little to count until then.
    """
    stairs = ladder.of_policy(policy).stairs(row.ladder)
    before = Carried(np.array([row.names]), np.array([row.carried_cents]))
    limit, no = [ladder.NO_LIMIT], [False]
    after = ladder.review(stairs, before, [nav_cents], [withdrawn_cents], limit, no)
    reached = int(stairs.count(max(nav_cents, int(after.balance_cents[0]))))
    names = reached if row.reviewed_on == direct.ANEW else max(reached, int(after.count[0]))
    return replace(row, names=min(names, row.names_max or ladder.NO_LIMIT))


def wish(
    session: Session,
    sleeve: Sleeve,
    row: DirectSleeve,
    names: int,
    barred: frozenset[int],
) -> Wish:
    """Return what one sleeve wishes to follow with so many names.

    Without the barred ones, and without what its basket excludes: the theme fades, values do not.
    """
    return _wish(offering.of_firm(session, sleeve.firm_id), sleeve, row, names, barred)


def _wish(
    shelf: Shelf, sleeve: Sleeve, row: DirectSleeve, names: int, barred: frozenset[int]
) -> Wish:
    basket = shelf.catalog.baskets.get(sleeve.basket_id)
    theme = tuple(basket.weights_ppm.items()) if basket else ()
    stays = row.stays_ppm if row.theme == "stays" else 0
    excluded = barred | _screen(shelf, sleeve, row)
    share_ppm = int(ladder.theme_ppm(names, stays))
    return Wish(theme, share_ppm, excluded, row.tilts, row.own_index)


def _screen(shelf: Shelf, sleeve: Sleeve, row: DirectSleeve | None) -> frozenset[int]:
    """Return what the basket of a sleeve excludes, unless its customer let that go."""
    let_go = row is not None and row.screen == "goes"
    return frozenset() if let_go else shelf.excluded(sleeve.basket_id)


def _shelves(session: Session, sleeves: Iterable[Sleeve]) -> dict[str, Shelf]:
    """Return firm -> what it offers; each is asked about once."""
    return {firm: offering.of_firm(session, firm) for firm in {one.firm_id for one in sleeves}}


def excluded(session: Session, sleeve: Sleeve) -> frozenset[int]:
    """Return what the basket of a direct sleeve excludes, let go or not; of a basket nothing.

    A small account holds its basket, whatever was chosen for the index's share.
    """
    shelf = offering.of_firm(session, sleeve.firm_id)
    return shelf.excluded(sleeve.basket_id) if sleeve.kind == DIRECT else frozenset()


def screens(
    session: Session, raw: chunks.RawChunk, rows: Mapping[AccountId, DirectSleeve]
) -> dict[AccountId, frozenset[int]]:
    """Return what the baskets of accounts exclude; accounts without such names are left out."""
    shelves = _shelves(session, raw.sleeves)
    found = {
        one.account_id: _screen(shelves[one.firm_id], one, rows.get(one.account_id))
        for one in raw.sleeves
    }
    return {account: names for account, names in found.items() if names}


def screened(
    session: Session, model: Model, raw: chunks.RawChunk, rows: Mapping[AccountId, DirectSleeve]
) -> BoolArray:
    """Return the names that the baskets of accounts exclude, (A, N)."""
    mask = np.zeros((len(raw.sleeves), model.security_ids.size), dtype=np.bool_)
    columns: dict[frozenset[int], IntArray] = {}
    found = screens(session, raw, rows)
    for place, sleeve in enumerate(raw.sleeves):
        names = found.get(sleeve.account_id)
        if names is not None:
            if names not in columns:
                mine = model.columns(sorted(names))
                columns[names] = mine[mine >= 0]
            mask[place, columns[names]] = True
    return mask


def weights(
    session: Session,
    model: Model,
    raw: chunks.RawChunk,
    rows: Mapping[AccountId, DirectSleeve],
    gone: frozenset[int],
) -> FloatArray:
    """Return the benchmarks of sleeves, (A, N)."""
    wishes = []
    shelves = _shelves(session, raw.sleeves)
    for sleeve in raw.sleeves:
        row = rows.get(sleeve.account_id) or first_row(sleeve, len(raw.targets[sleeve.target_id]))
        barred = frozenset(raw.restricted.get(sleeve.account_id, {})) | gone
        wishes.append(_wish(shelves[sleeve.firm_id], sleeve, row, row.names, barred))
    return benchmarking.benchmarks(model, wishes).of(np.arange(len(wishes)))


def kept(
    model: Model, row: DirectSleeve, weight: FloatArray, target: Iterable[TargetWeight]
) -> set[int]:
    """Return the names of a target that the next one keeps as they fit.

    All of them; but who follows an index of their own keeps none that it does not hold.

    Args:
        model: The day's.
        row: What the account's customer chose.
        weight: The account's benchmark, shape (N,).
        target: What the account aims at now.
    """
    names = {one.security_id for one in target}
    if row.own_index == OURS:
        return names
    return names.intersection(model.security_ids[weight > 0].tolist())


def targets(model: Model, raw: chunks.RawChunk) -> BoolArray:
    """Return the names of the targets, (A, N)."""
    mask = np.zeros((len(raw.sleeves), model.security_ids.size), dtype=np.bool_)
    columns = {
        target_id: model.columns([one.security_id for one in names])
        for target_id, names in raw.targets.items()
    }
    for place, sleeve in enumerate(raw.sleeves):
        mine = columns.get(sleeve.target_id, np.zeros(0, dtype=np.int64))
        mask[place, mine[mine >= 0]] = True
    return mask


def frozen(model: Model, raw: chunks.RawChunk) -> BoolArray:
    """Return the names that are restricted for an account: neither bought nor sold, (A, N).

    Shares already held are sold only if the customer said so, by the job that unwinds them.
    """
    mask = np.zeros((len(raw.sleeves), model.security_ids.size), dtype=np.bool_)
    for place, sleeve in enumerate(raw.sleeves):
        barred = raw.restricted.get(sleeve.account_id)
        if barred:
            columns = model.columns(sorted(barred))
            mask[place, columns[columns >= 0]] = True
    return mask


def stand_ins(model: Model, target: BoolArray, missing: BoolArray, barred: BoolArray) -> BoolArray:
    """Return the names that may be bought in the place of others, (A, N).

    Never another share class of the same company: that may be substantially identical.

    Args:
        model: The day's.
        target: Names of the target, (A, N).
        missing: Names that may not be bought now and are not held, (A, N).
        barred: Names that may not be bought at all, (A, N).
    """
    chosen = np.zeros(target.shape, dtype=np.bool_)
    accounts, columns = np.nonzero(target & missing)
    if not accounts.size:
        return chosen
    neighbours = _neighbours(model, np.unique(columns))
    for account, column in zip(accounts.tolist(), columns.tolist(), strict=True):
        taken = target[account] | barred[account] | chosen[account]
        taken = taken | (model.company == model.company[column])
        for other in neighbours[column].tolist():
            if not taken[other]:
                chosen[account, other] = True
                break
    return chosen


def masks_of(model: Model, names: Sequence[Collection[int]]) -> BoolArray:
    """Return which names stand in each account's list, (A, N)."""
    mask = np.zeros((len(names), model.security_ids.size), dtype=np.bool_)
    for place, some in enumerate(names):
        columns = model.columns(sorted(some))
        mask[place, columns[columns >= 0]] = True
    return mask


def of_companies(model: Model, mask: BoolArray) -> BoolArray:
    """Return a mask of names, (A, N), widened to all share classes of their companies."""
    wide = mask.copy()
    number, count = np.unique(model.company, return_counts=True)
    for company in number[count > 1].tolist():
        classes = np.flatnonzero(model.company == company)
        wide[:, classes] |= mask[:, classes].any(axis=1, keepdims=True)
    return wide


def _neighbours(model: Model, columns: IntArray) -> dict[int, IntArray]:
    """Return column -> the index's names that swing most like it, nearest first."""
    deviation = np.sqrt((model.exposure**2).sum(axis=1) + model.specific_variance)
    common = model.exposure[columns] @ model.exposure.T
    alike = common / deviation[columns][:, None] / deviation
    alike[np.arange(columns.size), columns] = -np.inf
    alike[:, model.index <= 0] = -np.inf
    order = np.argsort(-alike, axis=1, kind="stable")[:, :_NEIGHBOURS]
    return {int(column): row for column, row in zip(columns.tolist(), order, strict=True)}


def tilts_of(row: DirectSleeve) -> dict[str, int]:
    """Return the tilts of a row."""
    found: dict[str, int] = json.loads(row.tilts)
    return found


def tilts_text(tilts: Mapping[str, int]) -> str:
    """Return tilts as they are kept: canonical JSON."""
    return json.dumps(dict(tilts), sort_keys=True, separators=(",", ":"))
