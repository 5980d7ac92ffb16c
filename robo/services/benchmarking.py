"""What a direct sleeve follows, and which names it holds for it.

A sleeve follows its theme and the index in the shares that its ladder says, without the names its
customer may not own, tilted as the customer asked. Its target is a sample of that: the names it
has and the one that the ladder adds, weighed so that they follow it best.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np

from robo.core.money import PPM
from robo.portfolio.dials import Dials, sets_of
from robo.portfolio.problem import BoolArray, FloatArray, IntArray
from robo.portfolio.projections import shown_ppm, without
from robo.portfolio.sampling import sample
from robo.portfolio.tilts import NOT_ASKED, Outcome, refusal, tilt
from robo.services import composing
from robo.services.modelling import Model
from robo.store.accounts import TargetWeight
from robo.store.direct import OURS

_WEIGHT_MIN_PPM: Final = 1
_STAYS_MIN: Final = 2e-4
"""Two basis points: what a name weighs at least that an account keeps."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What decides a benchmark; equal wishes, equal benchmarks."""

    theme: tuple[tuple[int, int], ...]
    """(security, ppm) of the basket; empty where it is not offered any more."""
    theme_ppm: int
    excluded: frozenset[int]
    tilts: str = "{}"
    own_index: str = OURS
    """An index of the customer's own in the place of ours, as it is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Benchmarks:
    """Benchmarks of accounts, each computed once."""

    weight: FloatArray
    """Shape (B, N), each row sums to 1."""
    row: IntArray
    """Account -> its row, shape (A,)."""
    is_tilted: BoolArray
    """Whether the tilts asked for could be met, shape (B,); true where none were asked for."""
    refusals: Mapping[int, str] = field(default_factory=dict)
    """Row -> why its tilts could not be met."""

    def of(self, places: IntArray) -> FloatArray:
        """Return the benchmarks of some accounts, shape (places, N)."""
        return self.weight[self.row[places]]


def benchmarks(model: Model, wishes: Sequence[Wish]) -> Benchmarks:
    """Return what accounts follow.

    A theme's names that the model does not know, and what everybody excludes, give their share to
    the rest; who excludes everything follows the index.
    """
    distinct = list(dict.fromkeys(wishes))
    number = {wish: place for place, wish in enumerate(distinct)}
    weight = np.array([_mixed(model, wish) for wish in distinct]).reshape(
        len(distinct), model.index.size
    )
    excluded = np.array([_mask(model, wish.excluded) for wish in distinct])
    excluded = excluded.reshape(weight.shape)
    left, some = without(weight, excluded, sector=model.sector)
    left = np.where(some[:, None], left, model.index)
    fine, why = np.ones(len(distinct), dtype=np.bool_), {}
    asked = [place for place, wish in enumerate(distinct) if wish.tilts != "{}"]
    if asked:
        dials = dials_of(model)
        ask = np.array([_ask(dials, distinct[place].tilts) for place in asked], dtype=np.int64)
        done = tilt(left[asked], dials, ask, excluded=excluded[asked])
        met = done.outcome == Outcome.LANDED
        left[asked] = np.where(met[:, None], done.weight, left[asked])
        fine[asked] = met
        why = {
            place: refusal(done, dials, ask, row) for row, place in enumerate(asked) if not met[row]
        }
    row = np.array([number[wish] for wish in wishes], dtype=np.int64)
    return Benchmarks(left, row, fine, why)


def dials_of(model: Model) -> Dials:
    """Return what a benchmark can be tilted by: sectors."""
    return _dials(model.sectors)


@lru_cache(maxsize=4)
def _dials(sectors: tuple[str, ...]) -> Dials:
    return sets_of("sector", [one or None for one in sectors])


def targets(
    model: Model,
    weight: FloatArray,
    names: IntArray,
    kept: Sequence[Collection[int]],
    held: Sequence[Collection[int]],
    excluded: Sequence[Collection[int]],
) -> list[tuple[TargetWeight, ...]]:
    """Return the targets of accounts: so many names at most, those kept among them as they fit.

    A target that shrinks takes no name that was not in it. What is held stays before what is not,
    so that nothing is bought back; and of more than fit, those stay that follow best. What leaves
    may still be held: a target says what is bought, and no sale follows from it. A target that
    grows takes what is held beyond it before anything new.

    Args:
        model: The day's.
        weight: Benchmarks, shape (A, N).
        names: How many names each may buy, shape (A,).
        kept: Securities that were in the target, an entry an account.
        held: Securities of which there are shares, an entry an account.
        excluded: Securities that may not be in it, an entry an account.
    """
    out = np.array([_mask(model, one) for one in excluded]).reshape(weight.shape)
    must = np.array([_mask(model, one) for one in kept]).reshape(weight.shape) & ~out
    open_ = np.where(out, 0.0, weight) > 0
    for row, bought in enumerate(must):
        own, room = _mask(model, held[row]), int(names[row])
        if int(bought.sum()) > room:
            own &= bought
            fits = int(own.sum()) <= room
            out[row] = ~(bought if fits else own)
            must[row] = own if fits else False
        elif int(bought.sum()) < room and (more := own & open_[row] & ~bought).any():
            whole = bought | more
            if int(whole.sum()) <= room:
                must[row] = whole
            else:
                out[row] = ~whole
    size = np.minimum(names, (~out).sum(axis=1))
    chosen = np.where(out, 0.0, weight)
    # Who may hold half of the names holds the largest: the nightly plan weighs them, and a search
    # among so many costs ten times as much as among thirty.
    few = size * 2 < open_.sum(axis=1)
    for count in np.unique(size[few & (size > 0)]).tolist():
        rows = np.flatnonzero(few & (size == count))
        chosen[rows] = _sampled(model, weight[rows], must[rows], out[rows], count)
    for row in np.flatnonzero(~few).tolist():
        rank = np.lexsort((-chosen[row], ~must[row]))
        chosen[row, rank[int(size[row]) :]] = 0.0
    return [_target(model, row) for row in chosen]


def _sampled(
    model: Model, weight: FloatArray, must: BoolArray, out: BoolArray, count: int
) -> FloatArray:
    """Return the best samples found, shape (A, N); equal questions are asked once."""
    whole = must.sum(axis=1) == count
    asked = np.concatenate([weight, must, out], axis=1)
    _, first, back = np.unique(asked, axis=0, return_index=True, return_inverse=True)
    # Who keeps all names has nothing to search: the others are left out, and the rest is weighed.
    settled = whole[first][:, None]
    found = sample(
        model.exposure,
        model.specific_variance,
        weight[first],
        count,
        excluded=out[first] | (settled & ~must[first]),
        required=must[first] & ~settled,
    )
    chosen = np.zeros((first.size, weight.shape[1] + 1))
    np.put_along_axis(chosen, found.member, found.weight, axis=1)
    found_weight = chosen[back.reshape(-1), :-1]
    # A name that stays keeps a place even where the best weight would be none.
    least = np.where(must, np.minimum(_STAYS_MIN, np.where(weight > 0, weight, _STAYS_MIN)), 0.0)
    found_weight = np.maximum(found_weight, least)
    return np.asarray(found_weight / found_weight.sum(axis=1, keepdims=True))


def _target(model: Model, weight: FloatArray) -> tuple[TargetWeight, ...]:
    """Return a row of weights as a target: largest first, whole ppm, nothing of less than one."""
    if not weight.sum() > 0:
        return ()
    shown = shown_ppm(weight / weight.sum())
    columns = np.flatnonzero(shown >= _WEIGHT_MIN_PPM)
    order = columns[np.lexsort((columns, -shown[columns]))]
    ids = model.security_ids
    return tuple(TargetWeight(int(ids[one]), int(shown[one])) for one in order.tolist())


def _mixed(model: Model, wish: Wish) -> FloatArray:
    """Return theme and index in their shares, shape (N,)."""
    index = composing.weights(model, wish.own_index)
    theme = np.zeros(model.index.size)
    columns = model.columns([security_id for security_id, _ in wish.theme])
    for column, (_, ppm) in zip(columns.tolist(), wish.theme, strict=True):
        if column >= 0:
            theme[column] += ppm
    if not theme.sum() > 0:
        return index
    part = wish.theme_ppm / PPM
    return np.asarray(part * theme / theme.sum() + (1.0 - part) * index)


def _mask(model: Model, security_ids: Collection[int]) -> BoolArray:
    mask = np.zeros(model.index.size, dtype=np.bool_)
    columns = model.columns(sorted(security_ids))
    mask[columns[columns >= 0]] = True
    return mask


def _ask(dials: Dials, tilts: str) -> list[int]:
    wanted: dict[str, int] = json.loads(tilts)
    return [int(wanted.get(name, NOT_ASKED)) for name in dials.name]
