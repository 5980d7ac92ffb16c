"""Which line of the broker's list a transfer became whose answer was lost; pure.

A line can be it if it moves the same cents the same way over the same link, was not there before,
was made no earlier than it was asked for, and is nobody else's. One such line, and no other open
request that it could be: it is ours. Anything else is not ours to decide, a new line that cannot be
read (0 cents) least of all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from robo.core.clock import from_micros
from robo.ports.brokerage import CashTransfer
from robo.store.remittances import Remittance

_SKEW: Final = timedelta(minutes=5)
"""How far the broker's clock and ours may be apart."""


@dataclass(frozen=True, slots=True)
class Match:
    """What the list says: `found` is ours; else `candidates` could be."""

    found: CashTransfer | None = None
    candidates: tuple[CashTransfer, ...] = ()


def match(
    row: Remittance,
    listed: Sequence[CashTransfer],
    claimed: Mapping[str, str],
    twins: Sequence[Remittance],
) -> Match:
    """Return which of the broker's transfers a request became.

    Args:
        row: The request.
        listed: The broker's whole list of the account.
        claimed: The broker's transfer -> ours, for those that are known.
        twins: Other open requests that could become the same line.
    """
    named = [one for one in listed if one.reference == row.id]
    if named:
        return Match(named[0])
    free = [one for one in listed if could_be(row, one, claimed)]
    if len(free) == 1 and not twins:
        return Match(free[0])
    strange = [one for one in listed if may_hide(row, one, claimed)]
    return Match(None, tuple(free or strange))


def could_be(row: Remittance, one: CashTransfer, claimed: Mapping[str, str]) -> bool:
    """Return whether a transfer at the broker could be a request's."""
    return (
        _is_new(row, one, claimed)
        and one.reference in {"", row.id}
        and one.relationship_id == row.relationship_id
        and one.direction.value == row.direction
        and one.cents == row.cents
        and row.told_at is not None
        and one.created_at >= from_micros(row.told_at) - _SKEW
    )


def may_hide(row: Remittance, one: CashTransfer, claimed: Mapping[str, str]) -> bool:
    """Return whether a line that cannot be read may be a request's: only a person can say."""
    return not one.cents and _is_new(row, one, claimed)


def _is_new(row: Remittance, one: CashTransfer, claimed: Mapping[str, str]) -> bool:
    """Return whether a line was not there before, and is nobody else's."""
    return claimed.get(one.broker_id, row.id) == row.id and one.broker_id not in json.loads(
        row.before
    )
