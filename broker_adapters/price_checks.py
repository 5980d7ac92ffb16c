"""Faults of a price file that no single row shows: stale sessions, lag, jumps without a split."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from broker_adapters.price_files import Problems
from robo.ports.prices import ActionKind, CorporateAction

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_RATIOS: Final = (2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 50.0)
"""3-for-2 is left out: NVDA fell by about a third twice, without any split."""
_RATIO_TOLERANCE: Final = 0.03
_LAG_RATIO_MIN: Final = 1.4
_LAG_TOLERANCE: Final = 0.20
_STALE_NAMES_MIN: Final = 5
_STALE_PART: Final = 0.9
_TOUCHING: Final = frozenset(
    {ActionKind.SPLIT, ActionKind.SPIN_OFF, ActionKind.CASH_MERGER, ActionKind.STOCK_MERGER}
)


def check_prices(
    sessions: Sequence[date],
    symbols: Sequence[str],
    close: IntArray,
    actions: Mapping[date, Sequence[CorporateAction]],
    columns: Mapping[int, int],
    problems: Problems,
    *,
    refuse_jumps: bool,
) -> None:
    """Note what is wrong with a whole table.

    Args:
        sessions: D sessions, oldest first.
        symbols: N symbols.
        close: Shape (D, N) micro-dollars, 0 where there is none.
        actions: By ex-date.
        columns: Security id -> column.
        problems: Takes the findings.
        refuse_jumps: Whether a jump by a split's ratio needs a split in `actions`.
    """
    if len(sessions) > 1:
        ratio = _ratios(close)
        _check_stale(sessions, ratio, problems)
        _check_lag(sessions, symbols, ratio, actions, columns, problems)
        if refuse_jumps:
            _check_jumps(sessions, symbols, ratio, actions, columns, problems)


def _ratios(close: IntArray) -> FloatArray:
    """Return yesterday over today, shape (D, N): 2.0 for a 2-for-1 split; NaN without both."""
    out = np.full(close.shape, np.nan)
    before, after = close[:-1].astype(np.float64), close[1:].astype(np.float64)
    np.divide(before, after, out=out[1:], where=(before > 0) & (after > 0))
    return out


def _check_stale(sessions: Sequence[date], ratio: FloatArray, problems: Problems) -> None:
    known = np.isfinite(ratio).sum(axis=1)
    same = (ratio == 1.0).sum(axis=1)
    stale = (known >= _STALE_NAMES_MIN) & (same >= _STALE_PART * known)
    for row in np.nonzero(stale)[0].tolist():
        day, before = sessions[row].isoformat(), sessions[row - 1].isoformat()
        problems.add(day, f"{same[row]} of {known[row]} closes repeat those of {before}: stale")


def _check_lag(
    sessions: Sequence[date],
    symbols: Sequence[str],
    ratio: FloatArray,
    actions: Mapping[date, Sequence[CorporateAction]],
    columns: Mapping[int, int],
    problems: Problems,
) -> None:
    """Note splits whose jump stands on the session before or after their ex-date."""
    for row, day in enumerate(sessions):
        for action in actions.get(day, ()):
            column = columns.get(int(action.security_id))
            wanted = action.ratio_num / action.ratio_den
            small = max(wanted, 1.0 / wanted) < _LAG_RATIO_MIN
            if action.kind is not ActionKind.SPLIT or column is None or small:
                continue
            if _near(ratio[row, column], wanted) or np.isnan(ratio[row, column]):
                continue
            for other in (row - 1, row + 1):
                if 0 <= other < len(sessions) and _near(ratio[other, column], wanted):
                    what = f"{symbols[column]} jumps on {sessions[other].isoformat()}"
                    problems.add(
                        day.isoformat(), f"{what}, its split is dated {day.isoformat()}: lag"
                    )


def _check_jumps(
    sessions: Sequence[date],
    symbols: Sequence[str],
    ratio: FloatArray,
    actions: Mapping[date, Sequence[CorporateAction]],
    columns: Mapping[int, int],
    problems: Problems,
) -> None:
    steep = np.nonzero(np.isfinite(ratio) & (np.abs(np.log(ratio)) > np.log(_LAG_RATIO_MIN)))
    for row, column in zip(steep[0].tolist(), steep[1].tolist(), strict=True):
        explained = any(
            columns.get(int(action.security_id)) == column and action.kind in _TOUCHING
            for action in actions.get(sessions[row], ())
        )
        jump = float(ratio[row, column])
        if not explained and any(_split_like(jump, wanted) for wanted in _RATIOS):
            what = f"{symbols[column]} moves by {1 / jump - 1:+.1%} like a split, and has none"
            problems.add(sessions[row].isoformat(), what)


def _near(value: float, wanted: float) -> bool:
    return abs(value / wanted - 1.0) <= _LAG_TOLERANCE


def _split_like(jump: float, ratio: float) -> bool:
    return min(abs(jump / ratio - 1.0), abs(jump * ratio - 1.0)) <= _RATIO_TOLERANCE
