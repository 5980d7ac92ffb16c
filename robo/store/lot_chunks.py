"""Open lots of many accounts as arrays: one query, no object a lot."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.store.database import among, rows_in
from robo.store.lots import LotRow

IntArray = NDArray[np.int64]
_LOT: Any = LotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_COLUMNS = ("account_id", "security_id", "acquired_on", "id", "nanos", "basis_cents", "hold_until")
_EPOCH = date(1970, 1, 1)
_NO_DAY = -(10**6)


@dataclass(frozen=True, slots=True, eq=False)
class LotChunk:
    """Lots with shares in them, by account, security, acquisition and id; arrays of shape (L,)."""

    lot_ids: tuple[str, ...]
    account: IntArray
    """Position among the accounts asked for."""
    security_id: IntArray
    acquired_day: IntArray
    """Days since 1970-01-01."""
    nanos: IntArray
    basis_cents: IntArray
    hold_day: IntArray
    """Not to be sold before this day; far in the past where nothing holds it."""


# The database sorts what is an account's; the accounts are then put in the order asked for.
_OPEN_OF: Final = among(
    select(*(_LOT.c[name] for name in _COLUMNS))
    .where(_LOT.c.nanos > 0)
    .order_by(*(_LOT.c[name] for name in _COLUMNS[:4])),
    _LOT.c.account_id,
)


def read(session: Session, account_ids: Sequence[AccountId]) -> LotChunk:
    """Return the open lots of accounts."""
    rows = rows_in(session, _OPEN_OF, account_ids)
    place = {account: number for number, account in enumerate(account_ids)}
    order = np.argsort(_ints([place[row[0]] for row in rows]), kind="stable").tolist()
    columns = list(zip(*(rows[one] for one in order), strict=True)) or [()] * len(_COLUMNS)
    owner, security, acquired, ids, nanos, basis, hold = columns
    return LotChunk(
        lot_ids=tuple(ids),
        account=_ints([place[one] for one in owner]),
        security_id=_ints(security),
        acquired_day=_days(acquired),
        nanos=_ints(nanos),
        basis_cents=_ints(basis),
        hold_day=_days(hold),
    )


def _ints(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _days(values: Sequence[str]) -> IntArray:
    """Return ISO dates as days since 1970-01-01; an empty text is long ago."""
    return _ints([_day(value) for value in values])


@lru_cache(maxsize=1_024)
def _day(value: str) -> int:
    return (date.fromisoformat(value) - _EPOCH).days if value else _NO_DAY
