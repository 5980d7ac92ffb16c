"""The simulated market for one household's life: dividends of names that nobody holds stay unsaid.

Five hundred names pay two thousand dividends a year, and a life has one account. What is announced
and paid to nobody costs most of a life's time; splits, mergers and all else are told as they are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final

from robo.core.ids import SecurityId
from robo.plugins import load
from robo.ports.plugins import PluginContext
from robo.ports.prices import ActionKind, CorporateAction, PriceSource, Quote

_DAYS_KEPT: Final = 100
"""Longer than a life's step: who makes up for missed sessions asks for each of them again."""


def create(context: PluginContext) -> PriceSource:
    """Return the simulated market of a context, to be told what is held."""
    return HeldDividends(load("robo.prices", "simulated")(context))


class HeldDividends:
    """A price source that leaves out cash dividends of names not held."""

    def __init__(self, market: PriceSource) -> None:
        """Begin with nobody to ask what is held: then nothing is left out."""
        self._market = market
        self.held: Callable[[], Collection[int]] | None = None
        """Answers what is held or being bought now: who remembers it misses what came since."""
        self._told: dict[date, Sequence[CorporateAction]] = {}

    @property
    def name(self) -> str:
        """Return the market's name."""
        return self._market.name

    @property
    def simulated(self) -> bool:
        """Return True: these prices are invented."""
        return self._market.simulated

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return the market's quotes."""
        return self._market.quotes(security_ids, at)

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        """Return the market's closes."""
        return self._market.closes(on)

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        """Return the market's total returns."""
        return self._market.total_returns(security_ids, last, count)

    def actions(self, on: date) -> Sequence[CorporateAction]:
        """Return the market's actions that concern somebody: the same to broker and books."""
        if on in self._told:
            return self._told[on]
        found = self._market.actions(on)
        if self.held is None or not found:
            return found  # a day that has not begun has none yet
        held = self.held()
        if len(self._told) >= _DAYS_KEPT:
            del self._told[next(iter(self._told))]
        self._told[on] = [
            one
            for one in found
            if one.kind is not ActionKind.CASH_DIVIDEND or one.security_id in held
        ]
        return self._told[on]
