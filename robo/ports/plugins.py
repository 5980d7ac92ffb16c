"""What a plug-in factory is given: `create(context: PluginContext)`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robo.core.clock import Clock
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.prices import PriceSource


@dataclass(frozen=True, slots=True)
class ListedSecurity:
    """As much of a security as a simulated market needs."""

    id: SecurityId
    symbol: str
    sector: str
    """Our own sector key, for example `technology`; empty if unknown."""
    size_cents: int
    """Size estimate (not a market capitalisation unless imported); 0 if unknown."""


@dataclass(frozen=True, slots=True)
class PluginContext:
    """Everything a plug-in may know of us."""

    settings: Mapping[str, str] = field(repr=False)
    """The ROBO_* settings of plug-ins, never shown: some are keys."""
    clock: Clock
    state_dir: Path
    """A directory that survives restarts; a plug-in keeps its files under its own name."""
    calendar: MarketCalendar
    securities: Sequence[ListedSecurity]
    prices: PriceSource | None = None
    """Set for brokers, None for price sources."""
