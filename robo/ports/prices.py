"""Where prices and corporate actions come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from robo.core.ids import SecurityId


@dataclass(frozen=True, slots=True)
class Quote:
    """What a share costs at an instant."""

    security_id: SecurityId
    price_micros: int
    """Last price, or the middle; dollars per share in 1e-6."""
    bid_micros: int
    ask_micros: int
    as_of: datetime
    """The instant the price was formed, UTC."""
    halted: bool = False


class ActionKind(StrEnum):
    """Kinds of corporate action."""

    CASH_DIVIDEND = "cash_dividend"
    SPLIT = "split"
    CASH_MERGER = "cash_merger"
    STOCK_MERGER = "stock_merger"
    SPIN_OFF = "spin_off"
    SYMBOL_CHANGE = "symbol_change"
    DELISTING = "delisting"


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """One corporate action; `id` never changes once published."""

    id: str
    kind: ActionKind
    security_id: SecurityId
    ex_on: date
    pay_on: date
    cash_micros: int = 0
    """Dollars per share in 1e-6: a dividend, or a cash merger's price (a delisting's last)."""
    ratio_num: int = 1
    """New shares ..."""
    ratio_den: int = 1
    """... per old shares: a 3-for-2 split is 3/2."""
    new_security_id: SecurityId | None = None
    new_symbol: str | None = None
    basis_ppm: int = 0
    """Part of the old basis that moves to the new security (spin-off)."""


class PriceSource(Protocol):
    """Prices by permanent security id. Every method is deterministic for a past instant."""

    @property
    def name(self) -> str:
        """Return the feed's name; simulated feeds start with `SIM`."""
        ...

    @property
    def simulated(self) -> bool:
        """Return whether the prices are invented."""
        ...

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return the latest quote at or before an instant; names without a price are left out."""
        ...

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        """Return the raw (unadjusted) closes of a session in micro-dollars.

        Raises:
            NotFoundError: If the day is no session of this feed or has not closed yet.
        """
        ...

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        """Return total simple daily returns, one row per session (oldest first), one column a name.

        Args:
            security_ids: The columns.
            last: The last session, inclusive.
            count: How many sessions; None stands where a name has no return.
        """
        ...

    def actions(self, on: date) -> Sequence[CorporateAction]:
        """Return the actions whose ex-date is that day."""
        ...
