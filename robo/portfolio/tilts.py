"""Tilts: an index with more of this and less of that, and otherwise changed as little as possible.

Notation: A accounts, N names, R dials; `w` base weights, `x` tilted weights, `r` an ask.

* A **share** dial is a set of names (a sector, a group, a country). Asking r changes the set's
  weight in the index, before any exclusion, from w_S to (1 + r) w_S: +30 % of a sector that weighs
  20 % is 26 %. -100 % is out entirely: every name of the set has weight zero.
* An **exposure** dial is a number per name (a factor, a score). With the mean and standard
  deviation that the base weights give it, asking r moves the weighted mean by r standard
  deviations: +30 % is 0.3 of them. What is not known of a name counts as the mean.

All asks hold at once, each to within half a point, together with exclusions and caps; what one set
gains all other names give in proportion, because of all weights that do so the answer is the one
with the least relative entropy to the index,

    min sum x log(x / w)   s.t.   |G x - g| <= 0.005,  sum x = 1,  0 <= x <= u,

and asks are met exactly wherever that is possible. Its dual has one variable for each ask and
x = min(u, w exp(G' y)): a name's weight is multiplied, never invented. Where no such weights exist
the dual grows without end, in a direction that proves it (Farkas): then the asks are refused, with
a set of them of which any may be dropped to make the others possible.

Source: Csiszar (1975), "I-divergence geometry of probability distributions".
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.core.money import PPM
from robo.portfolio.checks import ints, require
from robo.portfolio.dials import Dial, Dials
from robo.portfolio.entropy import Programmes, nearest
from robo.portfolio.entropy_edge import settle
from robo.portfolio.problem import BoolArray, FloatArray, IntArray

NOT_ASKED: Final = int(np.iinfo(np.int64).min)
"""In the place of an ask: the dial may end anywhere. Zero is an ask: keep it where it is."""
LANDING: Final = 0.005
"""Half a point: how far from its ask a dial may land."""
OUT_PPM: Final = -PPM
ASK_PPM_MAX: Final = PPM
_SUM_ERROR_MAX: Final = 1e-6
_SPREAD_MIN: Final = 1e-12
_LEAST: Final = 1e-300
"""Less than this is nothing: its logarithm would have no digits."""
_MARGIN: Final = 1e-7
"""The band is drawn a hair inside half a point, so that what lands in it is inside for certain."""
_PERCENT_PPM: Final = 10_000
_BATCH: Final = 256
_BATCH_NUMBERS: Final = 8_000_000
"""Accounts at a time, and numbers in their rows: 64 MB and a few times that in between."""
_ASKS_USUAL: Final = 16


class Outcome(IntEnum):
    """What became of an account's asks."""

    LANDED = 0
    CONFLICT = 1
    """The asks named in `conflict` exclude each other, the exclusions and the caps."""
    NO_ROOM = 2
    """Exclusions and caps alone leave no way to invest everything."""
    UNSETTLED = 3
    """Neither weights nor a proof that there are none; no such case is known."""


@dataclass(frozen=True, slots=True)
class Tilted:
    """The tilted weights of every account and how they came out."""

    weight: FloatArray
    """x, shape (A, N): sums to 1; NaN in the rows of an account that has none."""
    outcome: IntArray
    """`Outcome`, shape (A,)."""
    reached: FloatArray
    """Where every dial stands, asked or not, shape (A, R): 0.3 is +30 %. NaN where it has no
    meaning: a set that the index does not hold, a number that does not vary, a refusal."""
    conflict: BoolArray
    """Shape (A, R): asks that conflict; without any one of them the others are possible."""
    active_share: FloatArray
    """Half the sum of |x - w|, shape (A,): what part of the index was moved."""


@dataclass(frozen=True, slots=True)
class _Scaled:
    """Dials on the scale of their asks: the weighted sum of `row`, less `offset`, is the place."""

    row: FloatArray
    """Shape (A, R, N) or (1, R, N); zero in a dial that has no meaning."""
    offset: FloatArray
    """Shape (R,): 1 for a share, 0 for an exposure."""
    meant: BoolArray
    """Shape (A, R) or (1, R): whether the dial has a meaning."""

    def of(self, x: FloatArray) -> FloatArray:
        """Return where the dials stand at these weights, shape (A, R)."""
        place = np.matmul(self.row, x[:, :, None])[:, :, 0] - self.offset
        return np.where(self.meant, place, np.nan)


def tilt(
    base: ArrayLike,
    dials: Dials,
    ask_ppm: ArrayLike,
    *,
    excluded: ArrayLike | None = None,
    upper_ppm: ArrayLike | None = None,
) -> Tilted:
    """Return the weights closest to the index that meet every account's asks, or a refusal.

    Args:
        base: w, shape (N,) or (A, N): not negative, each row sums to 1.
        dials: What can be asked for.
        ask_ppm: r, shape (R,) or (A, R): -1_000_000 to 1_000_000, or `NOT_ASKED`.
        excluded: Names that must have weight zero, shape (N,) or (A, N).
        upper_ppm: Most of a name, shape (N,) or (A, N).

    Raises:
        ValueError: If shapes do not fit or a number is out of its bounds.
    """
    w, ask, room = _checked(base, dials, ask_ppm, excluded, upper_ppm)
    weight = np.full(room.shape, np.nan)
    outcome = np.full(len(room), Outcome.LANDED, dtype=np.int64)
    reached = np.full(ask.shape, np.nan)
    conflict = np.zeros(ask.shape, dtype=np.bool_)
    # An index of one's own makes all dials one's own; else only those that are asked are copied.
    rows = len(dials.name) if len(w) > 1 else _ASKS_USUAL
    size = max(1, min(_BATCH, _BATCH_NUMBERS // (max(rows, 1) * w.shape[1])))
    for start in range(0, len(room), size):
        part = slice(start, start + size)
        batch = _Batch(w if len(w) == 1 else w[part], dials, ask[part], room[part])
        x, found, disproved = batch.solve(ask[part] != NOT_ASKED)
        weight[part] = np.where(found[:, None], x, np.nan)
        conflict[part] = batch.conflicts(disproved)
        named = conflict[part].any(axis=1)
        failed = np.where(named, Outcome.CONFLICT, Outcome.NO_ROOM)
        failed = np.where(disproved, failed, Outcome.UNSETTLED)
        outcome[part] = np.where(found, Outcome.LANDED, failed)
        reached[part] = batch.scaled.of(weight[part])
    active = 0.5 * np.abs(weight - w).sum(axis=1)
    return Tilted(weight, outcome, reached, conflict, active)


def reach(
    base: ArrayLike,
    dials: Dials,
    *,
    excluded: ArrayLike | None = None,
    upper_ppm: ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return how far each dial can be turned down and up when nothing else is asked.

    Args:
        base: As for `tilt`.
        dials: As for `tilt`.
        excluded: As for `tilt`.
        upper_ppm: As for `tilt`.

    Returns:
        Lowest and highest place, each (A, R), 0.3 for +30 %; NaN where a dial has no meaning or
        exclusions and caps leave no way to invest everything. They may lie beyond the -100 % and
        +100 % that can be asked.
    """
    nothing = np.full(len(dials.name), NOT_ASKED)
    w, _, room = _checked(base, dials, nothing, excluded, upper_ppm)
    scaled = _scale(w, dials)
    ends = np.empty((2, len(room), len(dials.name)))
    for place in range(len(dials.name)):
        order = np.broadcast_to(np.argsort(scaled.row[:, place], axis=1, kind="stable"), room.shape)
        for end, way in enumerate((order, order[:, ::-1])):
            # Fill the names from one end of the dial to the other until everything is invested.
            filled = np.minimum(np.cumsum(np.take_along_axis(room, way, axis=1), axis=1), 1.0)
            x = np.zeros_like(room)
            np.put_along_axis(x, way, np.diff(filled, axis=1, prepend=0.0), axis=1)
            x[filled[:, -1] < 1.0 - _SUM_ERROR_MAX] = np.nan
            ends[end, :, place] = scaled.of(x)[:, place]
    return ends[0], ends[1]


def refusal(tilted: Tilted, dials: Dials, ask_ppm: ArrayLike, account: int = 0) -> str:
    """Return in a sentence why an account's asks are refused; empty if they are not.

    Args:
        tilted: What `tilt` returned.
        dials: What it was given.
        ask_ppm: What it was given.
        account: Which account.
    """
    ask = np.broadcast_to(np.asarray(ask_ppm), tilted.conflict.shape)[account]
    names = [
        f"{dials.name[row]} {int(ask[row]) / _PERCENT_PPM:+g} %"
        for row in np.flatnonzero(tilted.conflict[account])
    ]
    match Outcome(int(tilted.outcome[account])):
        case Outcome.LANDED:
            return ""
        case Outcome.NO_ROOM:
            return "the exclusions and caps alone leave no way to invest everything"
        case Outcome.UNSETTLED:
            return "no weights were found, and no proof that there are none"
    if len(names) == 1:
        return f"{names[0]} cannot be reached within the exclusions and caps"
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} cannot all be met; without any one of them the others can"


class _Batch:
    """Some accounts, their asks and the room each name has."""

    def __init__(self, w: FloatArray, dials: Dials, ask: IntArray, room: FloatArray) -> None:
        """Put the dials on the scale of their asks."""
        self.w, self.dials, self.ask, self.room = w, dials, ask, room
        self.scaled = _scale(w, dials)
        wish = np.where(ask == NOT_ASKED, 0, ask) / PPM
        # Nothing to take less of is met; nothing to take more of, or to move, is not.
        nothing = np.where(dials.kind == Dial.SHARE, np.maximum(wish, 0.0), wish)
        self.goal = np.where(self.scaled.meant, wish + self.scaled.offset, nothing)

    def solve(
        self, asked: BoolArray, chosen: IntArray | None = None
    ) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Return weights, whether they were found, and whether there are proved to be none.

        Args:
            asked: Which asks count, shape (a, R).
            chosen: The a accounts; None for all.
        """
        who = np.arange(len(self.room)) if chosen is None else chosen
        out = asked & (self.dials.kind == Dial.SHARE) & (self.ask[who] == OUT_PPM)
        # Parts of a name are out with the name, and what is out needs no row.
        barred = np.matmul(out.astype(np.float64), _filled(self.dials.value)) > 0
        room = np.where(barred, 0.0, self.room[who])
        rows = asked & ~out
        count = rows.sum(axis=1)
        weight = np.zeros_like(room)
        found, disproved = (np.zeros(len(who), dtype=np.bool_) for _ in range(2))
        # Accounts with as many asks together: no padding, so nobody's digits depend on others.
        for each in np.unique(count):
            some = np.flatnonzero(count == each)
            asks = self._programmes(who[some], rows[some], room[some])
            answer = nearest(asks)
            weight[some], found[some] = answer.weight, answer.found
            disproved[some] = answer.disproved
            open_ = ~(answer.found | answer.disproved)
            if open_.any():
                rare = settle(asks.only(open_))
                weight[some[open_]], found[some[open_]] = rare.weight, rare.found
                disproved[some[open_]] = rare.disproved
        return weight, found, disproved

    def conflicts(self, disproved: BoolArray) -> BoolArray:
        """Return an irreducible set of asks of each account that has none that fit.

        One ask after the other is left out; where the rest is still impossible, it stays out.
        """
        kept: BoolArray = (self.ask != NOT_ASKED) & disproved[:, None]
        for row in range(self.ask.shape[1]):
            who = np.flatnonzero(kept[:, row])
            if who.size:
                trial = kept[who]
                trial[:, row] = False
                _, _, still = self.solve(trial, who)
                kept[who[still], row] = False
        return kept

    def _programmes(self, who: IntArray, rows: BoolArray, room: FloatArray) -> Programmes:
        count = int(rows[0].sum())
        place = np.nonzero(rows)[1].reshape(len(who), count)
        shared = len(self.scaled.row) == 1
        row = self.scaled.row[0, place] if shared else self.scaled.row[who[:, None], place]
        goal = np.take_along_axis(self.goal[who], place, axis=1)
        w = np.broadcast_to(self.w, self.room.shape)[who]
        ones = np.ones((len(who), 1, w.shape[1]))
        whole, band = np.ones((len(who), 1)), LANDING - _MARGIN
        return Programmes(
            np.ascontiguousarray(w),
            np.concatenate([row, ones], axis=1),
            np.concatenate([goal, whole], axis=1),
            np.concatenate([goal - band, whole], axis=1),
            np.concatenate([goal + band, whole], axis=1),
            room,
        )


def _filled(value: FloatArray) -> FloatArray:
    return np.where(np.isnan(value), 0.0, value)


def _scale(w: FloatArray, dials: Dials) -> _Scaled:
    """Return the dials on the scale of their asks, by the weights of the index itself."""
    share = dials.kind == Dial.SHARE
    known = ~np.isnan(dials.value)
    value = _filled(dials.value)
    # A product for each account, not one for all: its last digits must not depend on how many.
    each = w[:, None, :]
    mass = np.matmul(each, known.T.astype(np.float64))[:, 0, :]
    mean = np.matmul(each, value.T)[:, 0, :] / np.where(mass > 0, mass, 1.0)
    centred = np.where(known, value - mean[:, :, None], 0.0)
    spread = np.sqrt(np.matmul(centred**2, w[:, :, None])[:, :, 0])
    by = np.where(share, mean, spread)
    # A spread of rounding errors is none.
    meant = by > np.where(share, 0.0, _SPREAD_MIN * np.abs(value).max(axis=1, initial=0.0))
    row = np.where(share[:, None], value, centred) / np.where(meant, by, 1.0)[:, :, None]
    return _Scaled(np.where(meant[:, :, None], row, 0.0), share.astype(np.float64), meant)


def _checked(
    base: ArrayLike,
    dials: Dials,
    ask_ppm: ArrayLike,
    excluded: ArrayLike | None,
    upper_ppm: ArrayLike | None,
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return base weights (1 or A, N), asks (A, R) and the room of each name (A, N)."""
    count, names = dials.value.shape
    w = _rows("base", np.asarray(base, dtype=np.float64), names)
    ask = _rows("ask_ppm", ints("ask_ppm", ask_ppm), count)
    out = _rows("excluded", np.asarray(False if excluded is None else excluded), names)
    most = _rows("upper_ppm", ints("upper_ppm", PPM if upper_ppm is None else upper_ppm), names)
    require("excluded", out.dtype == np.bool_, "must be booleans")
    require("upper_ppm", bool((most >= 0).all()), "must not be negative")
    bounded = (ask == NOT_ASKED) | (np.abs(np.maximum(ask, -2 * PPM)) <= ASK_PPM_MAX)
    require("ask_ppm", bool(bounded.all()), "must be -1000000 to 1000000, or NOT_ASKED")
    sound = np.isfinite(w).all() and (w >= 0).all()
    sums = bool(sound) and bool((np.abs(w.sum(axis=1) - 1.0) <= _SUM_ERROR_MAX).all())
    require("base", sums, "must be finite, not negative, and each row must sum to 1")
    rows = {len(part) for part in (w, ask, out, most)} - {1}
    require("base", len(rows) <= 1, "and the other arguments have different numbers of accounts")
    shape = (max(rows, default=1), names)
    w = np.where(w < _LEAST, 0.0, w)
    w = w / w.sum(axis=1, keepdims=True)
    room = np.where(out | (w == 0), 0.0, np.minimum(most / PPM, 1.0))
    return (
        w,
        np.ascontiguousarray(np.broadcast_to(ask, (shape[0], count))),
        np.ascontiguousarray(np.broadcast_to(room, shape)),
    )


def _rows(name: str, values: NDArray[Any], columns: int) -> NDArray[Any]:
    """Return values as rows: one for all accounts, or one each."""
    if values.ndim == 0:
        values = np.full((1, columns), values)
    rows = values.reshape(1, -1) if values.ndim == 1 else values
    fits = rows.ndim == 2 and rows.shape[1] == columns and len(rows) > 0  # noqa: PLR2004 - (A, N)
    require(name, fits, f"must have {columns} columns and at least one row")
    return rows
