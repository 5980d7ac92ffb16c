"""Executions on their way into the journal: whose they are, what they take back, what waits.

An execution whose order cannot be looked up, or a bust that came before what it takes back, waits
in the journal and is tried again; nobody else's waits for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from broker_adapters.alpaca_entries import BUST, REST, KnownOrder, Stuck, Told, own_part
from broker_adapters.alpaca_fields import UnreadableError, optional_text
from broker_adapters.alpaca_http import AlpacaHttp, NoAnswerError
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_orders import known_order
from broker_adapters.alpaca_pace import ThrottledError
from broker_adapters.alpaca_wire import WireFill, parse_amendment, parse_fill
from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar

_SECOND: Final = 1_000_000
_SOON, _LATER = 5 * _SECOND, 3_600 * _SECOND
"""A row that waits is tried again after as long again as it has waited, within these bounds."""
_RETRIES: Final = 20
"""Rows that one pull tries again."""


class _WaitError(Exception):
    """The row cannot be booked yet."""


class FillDesk:
    """Writes executions; not for two threads at once."""

    def __init__(
        self,
        http: AlpacaHttp,
        journal: AlpacaJournal,
        clock: Clock,
        calendar: MarketCalendar,
        security: Callable[[str], SecurityId],
        orders: Callable[[str], str],
        remembered: Callable[[str, str], None],
    ) -> None:
        """Take what names a symbol, where orders are, and who hears of one we had forgotten."""
        self._http, self._journal = http, journal
        self._clock, self._calendar = clock, calendar
        self._security, self._orders = security, orders
        self._remembered = remembered
        self._silent = False

    def write(
        self,
        trades: Sequence[tuple[str, Mapping[str, Any]]],
        others: Sequence[tuple[str, Any]],
        marks: Sequence[tuple[str, str]],
        source: str,
    ) -> None:
        """Write executions and everything else of a page, and how far was read.

        Raises:
            ThrottledError: If an order could not be asked for; the page is read again.
        """
        self._silent = False
        now = to_micros(self._clock.now())
        ready: list[Told] = []
        unread: list[tuple[str, Any]] = []
        stuck: list[Stuck] = []
        for key, row in trades:
            if row.get("type") not in {"fill", "partial_fill"}:
                self._journal.write(ready)  # what it takes back may stand before it on this page
                ready = []
            try:
                ready += self._told(row, source)
            except UnreadableError:
                # One row that nobody can read must not keep the others from being booked.
                unread.append((f"{key}#unreadable", row))
            except _WaitError:
                stuck.append(Stuck(key, row, source, now, now + _SOON))
        self._journal.write(ready, [*others, *unread], marks, stuck)

    def settle(self) -> None:
        """Try again what waits and is due."""
        self._silent = False
        now = to_micros(self._clock.now())
        for one in self._journal.stuck(now, _RETRIES):
            ready: list[Told] = []
            others: list[tuple[str, Any]] = []
            again: list[Stuck] = []
            waited = now - one.told_at
            try:
                ready = self._told(one.body, one.source)
            except UnreadableError:
                others = [(f"{one.id}#unreadable", one.body)]
            except ThrottledError:
                return
            except _WaitError:
                again = [replace(one, again_at=now + min(_LATER, max(_SOON, waited)))]
                # After an hour a person hears of it; it is tried all the same.
                others = [(f"{one.id}#waiting", one.body)] if waited >= _LATER else []
            self._journal.write(ready, others, stuck=again, free=[] if again else [one.id])

    def _told(self, row: Mapping[str, Any], source: str) -> list[Told]:
        """Return what a row books.

        Raises:
            UnreadableError: If not every field can be read, or it takes back more than there is.
            _WaitError: If its order, or what it takes back, is not known yet.
            ThrottledError: If nothing could be asked.
        """
        own = {**row, "id": own_part(str(row.get("id") or ""))}
        amendment = parse_amendment(own)
        if amendment is None:
            fill = parse_fill(own)
            fills = [] if fill is None else [fill]
        else:
            fills = self._amended(amendment[0], amendment[1], corrected=amendment[2])
        if not fills:
            return []
        settles_on = self._settles_on(fills[0])
        order = self._order(fills[0].order_id, optional_text(row, "account_id"))
        return [Told(one, order, settles_on, source) for one in fills]

    def _settles_on(self, fill: WireFill) -> date:
        try:
            return self._calendar.settles_on(business_date(fill.at))
        except (InvalidInputError, OverflowError) as error:
            message = "Alpaca told an execution of no day that we know"
            raise UnreadableError(message) from error

    def _amended(self, before: str, told: WireFill, *, corrected: bool) -> list[WireFill]:
        """Return the bust, and what is left or happened instead."""
        left = self._journal.living(own_part(before))
        if left is None:
            raise _WaitError
        if left.nanos == 0 or (not corrected and not 0 < told.nanos <= left.nanos):
            message = "Alpaca took back more of an execution than there was"
            raise UnreadableError(message, code="busts_too_much")
        back = replace(told, id=f"{told.id}{BUST}", busts=left.id)
        if corrected:
            return [back, told]
        rest = replace(told, id=f"{told.id}{REST}", nanos=left.nanos - told.nanos, price=left.price)
        return [back, rest] if rest.nanos else [back]

    def _order(self, order_id: str, account_id: str) -> KnownOrder:
        known = self._journal.order(order_id)
        if known is not None:
            return known
        if self._silent:
            raise _WaitError
        try:
            found = known_order(
                self._http, self._journal, self._security, self._orders(account_id), order_id
            )
        except ThrottledError:
            raise
        except NoAnswerError as error:
            self._silent = True  # one long silence is enough for a page
            raise _WaitError from error
        except BrokerUnavailableError as error:
            raise _WaitError from error
        self._remembered(found.client_id, account_id)
        return found
