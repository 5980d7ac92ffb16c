"""Real prices from a file: daily closes and, for raw ones, corporate actions.

Settings: ROBO_PRICES_FILE, ROBO_PRICES_ADJUSTMENT (`raw`, `split` or `total_return`; declared,
never guessed), ROBO_ACTIONS_FILE, ROBO_PRICES_JUMPS (`refuse` or `allow`). A file that is adjusted
for something must not come with the actions it is adjusted for: they would count twice.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from broker_adapters import settings
from broker_adapters.action_files import read_actions
from broker_adapters.price_checks import check_prices
from broker_adapters.price_files import PriceTable, Problems, canonical_symbol, read_prices
from robo.core.clock import business_date
from robo.core.errors import ConfigError, NotFoundError
from robo.core.ids import SecurityId
from robo.core.money import round_ratio
from robo.ports.plugins import PluginContext
from robo.ports.prices import ActionKind, CorporateAction, PriceSource, Quote

IntArray = NDArray[np.int64]
_ADJUSTMENTS: Final = ("raw", "split", "total_return")
_ALREADY_IN: Final = {
    "raw": frozenset[ActionKind](),
    "split": frozenset({ActionKind.SPLIT}),
    "total_return": frozenset({ActionKind.SPLIT, ActionKind.CASH_DIVIDEND, ActionKind.SPIN_OFF}),
}
_STALE_DAYS: Final = timedelta(days=10)
"""A close older than this is no price: the name has left the file."""


def create(context: PluginContext) -> PriceSource:
    """Return the prices of the file that the settings name.

    Raises:
        ConfigError: If the file is missing or wrong; lists what is wrong and where.
    """
    path = _path(context, "ROBO_PRICES_FILE")
    if path is None:
        message = "ROBO_PRICES_FILE must name a CSV or Parquet file"
        raise ConfigError(message, code="bad_setting")
    adjustment = settings.choice(context.settings, "ROBO_PRICES_ADJUSTMENT", "", _ADJUSTMENTS)
    jumps = settings.choice(context.settings, "ROBO_PRICES_JUMPS", "refuse", ("refuse", "allow"))
    symbols = {canonical_symbol(security.symbol): security.id for security in context.securities}
    table = read_prices(path, symbols, context.calendar.sessions)
    name = f"IMPORTED-{path.stem}"
    actions_path = _path(context, "ROBO_ACTIONS_FILE")
    actions = read_actions(actions_path, symbols, name) if actions_path else {}
    _refuse_double_counting(actions, adjustment)
    source = ImportedPrices(context, name, table, actions)
    source.check(Problems(path.name), refuse_jumps=jumps == "refuse" and adjustment == "raw")
    return source


class ImportedPrices:
    """A PriceSource over a table in memory."""

    def __init__(
        self,
        context: PluginContext,
        name: str,
        table: PriceTable,
        actions: Mapping[date, Sequence[CorporateAction]],
    ) -> None:
        """Lay the table out as arrays; sessions in order, names by id."""
        self._name = name
        self._clock = context.clock
        self._calendar = context.calendar
        self._actions = actions
        self._sessions = sorted(table.closes)
        if not self._sessions:
            message = "the price file has no row for a known symbol and session"
            raise ConfigError(message, code="bad_price_file")
        self._ids = sorted({i for session in table.closes.values() for i in session})
        self._column = {identity: column for column, identity in enumerate(self._ids)}
        self._close = np.zeros((len(self._sessions), len(self._ids)), dtype=np.int64)
        for row, day in enumerate(self._sessions):
            session = table.closes[day]
            columns = [self._column[identity] for identity in session]
            self._close[row, columns] = list(session.values())
        symbol_of = {security.id: security.symbol for security in context.securities}
        self._symbols = [symbol_of[identity] for identity in self._ids]
        self.unknown_symbols = frozenset(table.unknown_symbols)
        self.rows_before_calendar = table.rows_before_calendar

    @property
    def name(self) -> str:
        """Return the feed's name: IMPORTED and the file's."""
        return self._name

    @property
    def simulated(self) -> bool:
        """Return False: somebody vouches for these prices."""
        return False

    def check(self, problems: Problems, *, refuse_jumps: bool) -> None:
        """Refuse a table with faults that no single row shows.

        Raises:
            ConfigError: Listing them.
        """
        check_prices(
            self._sessions,
            self._symbols,
            self._close,
            self._actions,
            {int(identity): column for identity, column in self._column.items()},
            problems,
            refuse_jumps=refuse_jumps,
        )
        problems.stop("bad_price_file")

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        """Return each name's last close at an instant, in that day's terms; no spread is known."""
        today = business_date(at)
        row = bisect_right(self._sessions, today) - 1
        if row >= 0 and self._sessions[row] == today and at < self._calendar.closes_at(today):
            row -= 1
        if row < 0 or today - self._sessions[row] > _STALE_DAYS:
            return {}
        as_of = self._calendar.closes_at(self._sessions[row])
        out: dict[SecurityId, Quote] = {}
        for security_id in security_ids:
            column = self._column.get(security_id)
            price = 0 if column is None else int(self._close[row, column])
            price = self._in_terms_of(today, self._sessions[row], security_id, price)
            if price > 0:
                out[security_id] = Quote(security_id, price, price, price, as_of)
        return out

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        """Return the closes of a session that has closed.

        Raises:
            NotFoundError: If the file has no such session, or it has not closed yet.
        """
        prices = self._close[self._closed_session(on)].tolist()
        return {i: price for i, price in zip(self._ids, prices, strict=True) if price}

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        """Return total simple returns, actions included; fewer rows where history is short.

        Raises:
            NotFoundError: If the file has no such session, or it has not closed yet.
        """
        end = self._closed_session(last) + 1
        return [self._returns(row, security_ids) for row in range(max(0, end - count), end)]

    def actions(self, on: date) -> Sequence[CorporateAction]:
        """Return the actions with that ex-date; a day that has not begun has none yet."""
        if on > business_date(self._clock.now()):
            return ()
        return tuple(self._actions.get(on, ()))

    def _returns(self, row: int, security_ids: Sequence[SecurityId]) -> list[float | None]:
        ratio, cash = self._day_terms(self._sessions[row])
        out: list[float | None] = []
        for identity in security_ids:
            column = self._column.get(identity)
            before = int(self._close[row - 1, column]) if row and column is not None else 0
            after = int(self._close[row, column]) if column is not None else 0
            if not before or not after:
                out.append(None)
                continue
            num, den = ratio.get(identity, (1, 1))
            out.append((after * num / den + cash.get(identity, 0)) / before - 1.0)
        return out

    def _day_terms(self, day: date) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        ratio: dict[int, tuple[int, int]] = {}
        cash: dict[int, int] = {}
        for action in self._actions.get(day, ()):
            if action.kind is ActionKind.SPLIT:
                ratio[action.security_id] = (action.ratio_num, action.ratio_den)
            elif action.kind is ActionKind.CASH_DIVIDEND:
                cash[action.security_id] = action.cash_micros
        return ratio, cash

    def _in_terms_of(self, today: date, day: date, identity: SecurityId, price: int) -> int:
        """Return an older close after the splits and dividends that happened up to today."""
        while day < today:
            day += timedelta(days=1)
            for action in self._actions.get(day, ()):
                if action.security_id != identity:
                    continue
                if action.kind is ActionKind.SPLIT:
                    price = round_ratio(price * action.ratio_den, action.ratio_num)
                elif action.kind is ActionKind.CASH_DIVIDEND:
                    price -= action.cash_micros
                elif action.kind in {ActionKind.CASH_MERGER, ActionKind.STOCK_MERGER}:
                    return 0
        return price

    def _closed_session(self, on: date) -> int:
        row = bisect_right(self._sessions, on) - 1
        if row < 0 or self._sessions[row] != on:
            message = f"the price file has no session {on.isoformat()}"
            raise NotFoundError(message, code="no_session")
        if self._clock.now() < self._calendar.closes_at(on):
            message = f"the session of {on.isoformat()} has not closed yet"
            raise NotFoundError(message, code="session_not_closed")
        return row


def _path(context: PluginContext, setting: str) -> Path | None:
    text = context.settings.get(setting, "").strip()
    return Path(text) if text else None


def _refuse_double_counting(
    actions: Mapping[date, Sequence[CorporateAction]], adjustment: str
) -> None:
    kinds = {action.kind for group in actions.values() for action in group}
    twice = sorted(kind.value for kind in kinds & _ALREADY_IN[adjustment])
    if twice:
        message = f"prices adjusted for {adjustment} already contain: {', '.join(twice)}"
        raise ConfigError(message, code="actions_counted_twice")
