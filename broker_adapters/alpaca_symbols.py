"""Which security a symbol of Alpaca's is, after companies have been renamed and split up."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

from broker_adapters.alpaca_journal import AlpacaJournal
from robo.core.clock import Clock, business_date
from robo.core.ids import SecurityId
from robo.ports.plugins import ListedSecurity
from robo.ports.prices import ActionKind, CorporateAction

_BACK_DAYS: Final = 30
UNKNOWN: Final = SecurityId(0)


class Symbols:
    """Names securities both ways; what it learns outlives the process."""

    def __init__(
        self,
        listed: Sequence[ListedSecurity],
        journal: AlpacaJournal,
        clock: Clock,
        actions: Callable[[date], Sequence[CorporateAction]],
    ) -> None:
        """Begin with what is listed."""
        self._ids = {one.symbol: one.id for one in listed}
        self._symbols = {one.id: one.symbol for one in listed}
        self._journal, self._clock, self._actions = journal, clock, actions
        self._looked_on: dict[str, date] = {}

    def security(self, symbol: str) -> SecurityId:
        """Return the security of a symbol, 0 if it is none of ours.

        A symbol that nobody has told us is looked for among the corporate actions of the last
        weeks, once a day.
        """
        found = self._ids.get(symbol)
        today = business_date(self._clock.now())
        if found is not None or not symbol or self._looked_on.get(symbol) == today:
            return found or UNKNOWN
        self._looked_on[symbol] = today
        noted = self._journal.mark(_mark(symbol))
        named = SecurityId(int(noted)) if noted else self._renamed(symbol, today)
        if named != UNKNOWN:
            self.learn(symbol, named)
        return named

    def symbol(self, security_id: SecurityId) -> str:
        """Return a security's symbol, empty if there is none."""
        return self._symbols.get(security_id, "")

    def learn(self, symbol: str, security_id: SecurityId) -> None:
        """Remember what a symbol stands for: an order for a security is told with it."""
        if self._ids.get(symbol) == security_id:
            return
        self._ids[symbol] = security_id
        self._symbols[security_id] = symbol
        self._journal.note(_mark(symbol), str(security_id))

    def _renamed(self, symbol: str, today: date) -> SecurityId:
        for back in range(_BACK_DAYS):
            for action in self._actions(today - timedelta(days=back)):
                parent = self._symbols.get(action.security_id, "")
                if symbol not in {action.new_symbol, f"{parent}.N"}:
                    continue
                if action.kind is ActionKind.SYMBOL_CHANGE:
                    return action.security_id
                if action.new_security_id is not None:
                    return action.new_security_id
        return UNKNOWN


def _mark(symbol: str) -> str:
    return f"symbol {symbol}"
