"""Returns that a risk model may trust: what is wrong with prices is found, dropped and reported.

A close is believed until it contradicts itself. What is dropped becomes NaN, "no return seen",
never a zero and never a guess; every cell dropped has a finding that says why. Real extremes
(a bankruptcy scare, a bid) stay: the risk model clips them for its own fit, accounts never do.

Notation: T sessions, N names; row t of the returns leads from close t to close t + 1. A jump
is measured in log returns against the name's own ordinary day, the median of |return| over the
60 sessions before, and against the other names on the same day.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

STALE_SESSIONS: Final = 5
"""A close that stands still this often is not traded: liquid shares repeat one in a hundred."""
ORDINARY_SESSIONS: Final = 60
ORDINARY_LEAST: Final = 20
"""Sessions that an ordinary day is judged from, and the least that will do."""
CALM_SESSIONS: Final = 20
"""How long after a jump calm is looked for."""
SPIKE_JUMP: Final = 0.2
SPIKE_DAYS: Final = 20.0
SPIKE_CROWD: Final = 10.0
SPIKE_RETURN: Final = 0.15
"""A bad print jumps at least 0.2, 20 ordinary days and 10 times what others do that day, and
the next close takes all but 0.15 of it back."""
SPLICE_JUMP: Final = 0.55
SPLICE_DAYS: Final = 50.0
SPLICE_CALM: Final = 1.75
"""A splice moves the level by at least 0.55 and 50 ordinary days, and afterwards all is as calm
as before (at most 1.75 times). Real shocks of that size are followed by unrest."""
MISMATCH_JUMP: Final = 0.22
MISMATCH_GAP: Final = 0.2
"""Adjusted and raw closes disagree: the adjusted one jumps by 0.22 where the raw one does
something else by 0.2: a split or spin-off booked on the wrong day or with the wrong factor."""


class Fault(IntEnum):
    """Why a return was dropped."""

    NOT_A_PRICE = 1
    """A close that is zero, negative or infinite."""
    GAP = 2
    """No close for some sessions between two closes: the return over the gap has no day."""
    STALE = 3
    """The close stood still; the return that ended it belongs to several days."""
    SPIKE = 4
    """A bad print: a jump that the next close takes back."""
    SPLICE = 5
    """Another company's prices, or a split not adjusted for: a lone jump amid calm."""
    MISMATCH = 6
    """Adjusted and raw closes tell different stories."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One return that was dropped: it leads from close `session` to the next of `name`."""

    name: int
    session: int
    fault: Fault
    log_return: float
    """What the prices said; NaN where they said nothing."""


@dataclass(frozen=True, slots=True)
class CleanReturns:
    """Returns with what was wrong removed."""

    simple: FloatArray
    """Shape (T - 1, N), 0.01 for one per cent; NaN where none is known."""
    findings: tuple[Finding, ...]
    """By session, then by name; one for each return dropped, except before a listing."""

    def count(self) -> dict[Fault, int]:
        """Return how many returns each fault cost."""
        kinds = [finding.fault for finding in self.findings]
        return {fault: kinds.count(fault) for fault in Fault}


def clean_returns(adjusted: ArrayLike, raw: ArrayLike | None = None) -> CleanReturns:
    """Return the returns that hold up, and what was dropped and why.

    Args:
        adjusted: Closes adjusted for splits and dividends, shape (T, N), oldest first; NaN
            where there is none (before a listing, a halt, after a delisting).
        raw: The closes as they were printed, same shape; None where nobody kept them, then
            misdated splits are found only if they look like a spike or a splice.

    Raises:
        ValueError: If the shapes are not (T, N) and equal, or there are fewer than two sessions.
    """
    price = np.asarray(adjusted, dtype=np.float64)
    if price.ndim != 2 or price.shape[0] < 2:  # noqa: PLR2004 - sessions by names, two closes
        message = "adjusted must be closes of shape (T, N) with at least two sessions"
        raise ValueError(message)
    wrong = ~np.isnan(price) & ~((price > 0) & np.isfinite(price))
    good = ~np.isnan(price) & ~wrong
    log = _log_returns(price, good)
    verdict = np.zeros(log.shape, dtype=np.int8)
    if raw is not None:
        verdict[_mismatches(log, _raw_log_returns(raw, price.shape))] = Fault.MISMATCH
    for name, session, fault in _jumps(log):
        verdict[session, name] = fault
    verdict[_stale(log)] = Fault.STALE
    inside = _seen_before(good)[:-1] & _seen_after(good)[1:]
    missing = inside & np.isnan(log)
    verdict[missing] = Fault.GAP
    verdict[missing & (wrong[1:] | wrong[:-1])] = Fault.NOT_A_PRICE
    findings = tuple(
        Finding(int(name), int(session), Fault(int(verdict[session, name])), log[session, name])
        for session, name in np.argwhere(verdict > 0)
    )
    simple = np.where(verdict > 0, np.nan, np.expm1(log))
    return CleanReturns(np.asarray(simple, dtype=np.float64), findings)


def _log_returns(price: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    level = np.log(np.where(good, price, 1.0))
    change = np.diff(level, axis=0)
    return np.where(good[1:] & good[:-1], change, np.nan)


def _raw_log_returns(raw: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    price = np.asarray(raw, dtype=np.float64)
    if price.shape != shape:
        message = "raw must have the shape of adjusted"
        raise ValueError(message)
    return _log_returns(price, np.isfinite(price) & (price > 0))


def _mismatches(log: FloatArray, raw: FloatArray) -> NDArray[np.bool_]:
    apart = np.abs(np.nan_to_num(log - raw)) > MISMATCH_GAP
    return apart & (np.abs(np.nan_to_num(log)) > MISMATCH_JUMP)


def _stale(log: FloatArray) -> NDArray[np.bool_]:
    """Return the returns within a long run of equal closes, and the one that ends it."""
    still = np.zeros((log.shape[0] + 1, log.shape[1]), dtype=bool)
    still[:-1] = log == 0
    run = np.zeros(log.shape[1], dtype=np.int64)
    marked = np.zeros(log.shape, dtype=bool)
    for session in range(log.shape[0] + 1):
        over = np.flatnonzero(~still[session] & (run >= STALE_SESSIONS))
        for name in over:
            marked[session - run[name] : session + 1, name] = True
        run = np.where(still[session], run + 1, 0)
    return marked & ~np.isnan(log)


def _jumps(log: FloatArray) -> list[tuple[int, int, Fault]]:
    """Return (name, session, fault) of each spike and splice."""
    found: list[tuple[int, int, Fault]] = []
    crowd = np.array([_middle(np.abs(row)) for row in log])
    for session, name in np.argwhere(np.abs(np.nan_to_num(log)) > SPIKE_JUMP):
        own = log[:, name]
        size = abs(own[session])
        before = _ordinary(own[max(0, session - ORDINARY_SESSIONS) : session])
        after = _ordinary(own[session + 1 : session + 1 + CALM_SESSIONS])
        usual = after if np.isnan(before) else before
        calm = not np.isnan(before) and after <= SPLICE_CALM * before
        young = np.isnan(before)
        if _is_spike(own, session, usual, crowd):
            found += [(name, session, Fault.SPIKE), (name, session + 1, Fault.SPIKE)]
        elif size > SPLICE_JUMP and size > SPLICE_DAYS * usual and (calm or young):
            found.append((name, session, Fault.SPLICE))
    return found


def _is_spike(own: FloatArray, session: int, usual: float, crowd: FloatArray) -> bool:
    jump = own[session]
    back = own[session + 1] if session + 1 < own.size else np.nan
    lone = abs(jump) > SPIKE_DAYS * usual and abs(jump) > SPIKE_CROWD * crowd[session]
    return bool(lone and abs(jump + back) < SPIKE_RETURN * abs(jump))


def _ordinary(part: FloatArray) -> float:
    """Return the median of |return|; NaN from too few."""
    seen = np.abs(part[~np.isnan(part)])
    return float(np.median(seen)) if seen.size >= ORDINARY_LEAST else float("nan")


def _middle(row: FloatArray) -> float:
    seen = row[~np.isnan(row)]
    return float(np.median(seen)) if seen.size > 1 else 0.0


def _seen_before(good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.accumulate(good, axis=0))


def _seen_after(good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.accumulate(good[::-1], axis=0)[::-1])
