"""The rows of one corporate action of Alpaca's: which belong together, and when they are all there.

The list of activities says in words what an event is ("Name Change from YTEN to YTENQ"), the
stream gives its rows a `group_id` and no words. Where one of them told one row and the other the
other, they are put together if nothing else could be meant.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any, Final

_WAY: Final = re.compile(r"\b(REMOVE|ADD)\b[, ]*")
IN_PARTS: Final = frozenset({"SPLIT", "MA", "NC", "SPIN", "REORG"})
"""Types of rows of which several make one event."""

_RATIO: Final = re.compile(
    r"([0-9.]+) ([A-Z0-9./]+) (?:and \S+ )?for ([0-9.]+) ([A-Z0-9./]+)", re.ASCII
)
"""How the words of a merger say what comes for what goes."""
_DUST_NANOS: Final = 1_000
"""So far shares that come may be from what the words say: they are rounded."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row, read."""

    seq: int
    key: str
    type: str
    sub_type: str
    on: date
    symbol: str
    cents: int
    nanos: int
    text: str
    body: Mapping[str, Any]


def group_of(row: Row, owner: str) -> tuple[str, ...]:
    """Return what the rows of one event have in common."""
    named = str(row.body.get("group_id") or "") or _WAY.sub("", row.text)
    whose = row.symbol if row.type == "SPLIT" else ""
    if whose and row.sub_type != "USPLIT":
        named = ""  # the list and the stream name it differently, and a name splits once a day
    return row.type, row.sub_type, row.on.isoformat(), named, whose, owner


def is_complete(group: Sequence[Row]) -> bool:
    """Return whether everything that an event brings has been told."""
    first = group[0]
    gone = any(row.nanos < 0 for row in group)
    came = any(row.nanos > 0 for row in group)
    paid = any(row.cents for row in group)
    if first.type == "SPIN":
        return "basis" not in first.text.lower() and came
    if first.type == "REORG":
        return gone
    if first.type == "MA":
        needs = {"CMA": (gone, paid), "SMA": (gone, came), "SCMA": (gone, came, paid)}
        return all(needs.get(first.sub_type, (gone, came or paid)))
    return gone and came


def is_only_basis(group: Sequence[Row]) -> bool:
    """Return whether rows only move what shares cost: they go and come back the same."""
    return group[0].type == "SPIN" and not any((sum(r.nanos for r in group), *_cents(group)))


def is_cash_alone(group: Sequence[Row]) -> bool:
    """Return whether rows are the cash of a spin-off and, so far, no share of what is new.

    Who was entitled to less than one share gets no more; for others shares come beside it.
    """
    return group[0].type == "SPIN" and any(_cents(group)) and not any(r.nanos for r in group)


def _cents(group: Sequence[Row]) -> list[int]:
    return [row.cents for row in group]


def other_half(
    named: tuple[str, ...], waiting: Mapping[tuple[str, ...], list[Row]]
) -> tuple[str, ...] | None:
    """Return the group that one that is not complete belongs to by what both say; else None.

    One of them has words and the other none; together they are everything that the event brings,
    in names that the words say or that both have. If two would do, a person must look: None.
    """
    fits = [
        other
        for other in waiting
        if other != named and _alike(named, other) and _fit(waiting[other], waiting[named])
    ]
    return fits[0] if len(fits) == 1 else None


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether two groups are of one kind, day and account."""
    return (*one[:3], one[5]) == (*other[:3], other[5])


def _fit(one: Sequence[Row], other: Sequence[Row]) -> bool:
    """Return whether two halves are the whole of one event."""
    worded, silent = (one, other) if _has_words(one) else (other, one)
    if not _has_words(worded) or _has_words(silent) or not is_complete([*one, *other]):
        return False
    said = {*worded[0].text.split(), *(row.symbol for row in worded)}
    return all(row.symbol in said for row in silent) and _in_proportion(worded[0], [*one, *other])


def _has_words(group: Sequence[Row]) -> bool:
    return not group[0].body.get("group_id") and bool(group[0].text)


def _in_proportion(worded: Row, rows: Sequence[Row]) -> bool:
    """Return whether what comes is as much as the words say for what goes."""
    gone = -sum(row.nanos for row in rows if row.nanos < 0)
    came = sum(row.nanos for row in rows if row.nanos > 0)
    if worded.type == "NC":
        return gone == came
    ratio = _RATIO.search(worded.text)
    if worded.type != "MA" or ratio is None or not came:
        return True
    try:
        exact = gone * Fraction(ratio[1]) / Fraction(ratio[3])
    except (ValueError, ZeroDivisionError):
        return False
    return abs(exact - came) <= _DUST_NANOS
