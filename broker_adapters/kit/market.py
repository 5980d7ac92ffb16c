"""The kit's own market: three names, prices that a case changes, and the sessions of 2026."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.plugins import ListedSecurity
from robo.ports.prices import CorporateAction, Quote

APPLE: Final = SecurityId(1)
BANK: Final = SecurityId(2)
COAL: Final = SecurityId(3)
CHILD: Final = SecurityId(900)
"""A company that a spin-off brings into being."""
UNLISTED: Final = SecurityId(77)
_SIZE_CENTS: Final = 10**13
LISTED: Final = tuple(
    ListedSecurity(security_id, symbol, "technology", _SIZE_CENTS)
    for security_id, symbol in ((APPLE, "AAA"), (BANK, "BBB"), (COAL, "CCC"), (CHILD, "KID"))
)
MICROS: Final = {APPLE: 100_000_000, BANK: 50_000_000, COAL: 10_000_000}
_HALF_SPREAD_MICROS: Final = 10_000
OPENING: Final = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""Monday 2 March 2026, 10:00 in New York: the market is open."""
_HOLIDAYS: Final = frozenset(
    date(2026, month, day)
    for month, day in (
        (1, 1),
        (1, 19),
        (2, 16),
        (4, 3),
        (5, 25),
        (6, 19),
        (7, 3),
        (9, 7),
        (11, 26),
        (12, 25),
    )
)
"""Days of 2026 on which the New York Stock Exchange is shut (its published calendar)."""
_SATURDAY: Final = 5


def sessions_of_2026() -> MarketCalendar:
    """Return the exchange's sessions of 2026; no session of the kit's ends early."""
    days = (date(2026, 1, 1) + timedelta(days=count) for count in range(365))
    return MarketCalendar(
        tuple(day for day in days if day.weekday() < _SATURDAY and day not in _HOLIDAYS)
    )


@dataclass
class ScriptedPrices:
    """A price a name, changed by the case; halts and corporate actions on demand."""

    micros: dict[SecurityId, int] = field(default_factory=lambda: dict(MICROS))
    halted: set[SecurityId] = field(default_factory=set)
    by_day: dict[date, list[CorporateAction]] = field(default_factory=dict)
    name: str = "SIM-kit"
    simulated: bool = True

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return the scripted price with a cent on either side."""
        return {
            one: Quote(
                one,
                price,
                price - _HALF_SPREAD_MICROS,
                price + _HALF_SPREAD_MICROS,
                at,
                halted=one in self.halted,
            )
            for one in security_ids
            if (price := self.micros.get(one))
        }

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        """Return nothing: brokers do not ask for closes."""
        raise NotImplementedError(on)

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        """Return nothing: brokers do not ask for returns."""
        raise NotImplementedError(security_ids, last, count)

    def actions(self, on: date) -> Sequence[CorporateAction]:
        """Return the actions that were planned for a day."""
        return self.by_day.get(on, [])

    def plan(self, action: CorporateAction) -> None:
        """Add an action at its ex-date."""
        self.by_day.setdefault(action.ex_on, []).append(action)
