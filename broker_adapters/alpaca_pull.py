"""Reads Alpaca's activities into our journal: quickly by page, thoroughly by sweep.

A pull asks only for what comes after the last row that was seen. Alpaca sorts by an id that begins
with the day, so a dividend that is booked at noon sorts before the morning's fills: a sweep reads
the last days again, and what is known already is passed over by its id.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_journal import AlpacaJournal, KnownOrder
from broker_adapters.alpaca_pace import Lane, ThrottledError
from broker_adapters.alpaca_wire import (
    UnreadableError,
    WireFill,
    parse_amendment,
    parse_fill,
    parse_order,
    rows_of,
)
from robo.core.clock import Clock, business_date, iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.core.market_calendar import MarketCalendar

_PAGE: Final = 100
"""The most activities that Alpaca puts on a page."""
_SWEEP_EVERY: Final = timedelta(minutes=15)
_SWEEP_BACK: Final = timedelta(days=4)
"""A long weekend: rows are booked late, not later than that."""
_MOMENT: Final = timedelta(seconds=2)
_STAMP_DIGITS: Final = 17
_TOKEN: Final = "token"  # noqa: S105 - the name of a mark


class Puller:
    """Keeps the journal up to date; not for two threads at once."""

    def __init__(
        self,
        http: AlpacaHttp,
        journal: AlpacaJournal,
        clock: Clock,
        calendar: MarketCalendar,
        security: Callable[[str], SecurityId],
        activities: str = "/account/activities",
        orders: Callable[[str], str] = lambda _: "/orders",
    ) -> None:
        """Take what it reads with, where activities are, and where an account's orders are."""
        self._http, self._journal = http, journal
        self._clock, self._calendar = clock, calendar
        self._security = security
        self._activities, self._orders = activities, orders
        self._swept_at: datetime | None = None

    def pull(self, *, thoroughly: bool = False) -> None:
        """Read what is new; with what came late too, if asked to, or now and then.

        Raises:
            BrokerUnavailableError: If a page, or an order that a row belongs to, was not answered.
        """
        now = self._clock.now()
        token = self._journal.mark(_TOKEN)
        due = self._swept_at is None or not timedelta() <= now - self._swept_at < _SWEEP_EVERY
        if token and thoroughly:
            self._read(self._lately(), Lane.READS, keep=False)
        elif token and due:
            try:
                self._read(self._lately(), Lane.HEALING, keep=False)
            except ThrottledError:
                now = self._swept_at or now - _SWEEP_EVERY  # it has time until the next round
        self._swept_at = now
        self._read({"page_token": token} if token else {}, Lane.READS, keep=True)

    def sweep(self, account_id: str) -> None:
        """Read the last days of one account again, where the list is of many: a page or two.

        Raises:
            BrokerUnavailableError: If a page, or an order that a row belongs to, was not answered.
        """
        self._read({"account_id": account_id, **self._lately()}, Lane.READS, keep=False)

    def _lately(self) -> dict[str, str]:
        return {"after": iso_instant(to_micros(self._clock.now() - _SWEEP_BACK))}

    def order_of(self, order_id: str, account_id: str = "") -> KnownOrder:
        """Return what we called an order, asking Alpaca if we have forgotten.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer, or does not know it.
        """
        known = self._journal.order(order_id)
        if known is not None:
            return known
        reply = self._http.get(f"{self._orders(account_id)}/{order_id}", {}, Lane.READS)
        if not reply.fine:
            message = "an execution's order could not be looked up"
            raise BrokerUnavailableError(message, code="order_not_found")
        order = parse_order(reply.body)
        security_id = self._security(order.symbol)
        known = KnownOrder(order.id, order.client_id, security_id)
        self._journal.learn(known)
        return known

    def _read(self, query: Mapping[str, str], lane: Lane, *, keep: bool) -> None:
        """Read pages to the end; `keep` notes where to go on: a moment before the last row."""
        asked = {"direction": "asc", "page_size": str(_PAGE), **query}
        while True:
            reply = self._http.get(self._activities, asked, lane)
            if not reply.fine:
                message = "the activities were not answered"
                raise BrokerUnavailableError(message, code=f"http_{reply.status}")
            rows = rows_of(reply.body)
            last = _identity(rows[-1]) if rows else ""
            settled = _before(rows) if keep and rows else ""
            self._write(rows, [(_TOKEN, settled)] if settled else [])
            if len(rows) < _PAGE or asked.get("page_token") == last:
                return
            asked["page_token"] = last

    def _write(self, rows: Sequence[Any], marks: Sequence[tuple[str, str]]) -> None:
        keys = [_key(row) for row in rows]
        known = self._journal.known(keys)
        fills: list[WireFill] = []
        owners: dict[str, str] = {}
        others: list[tuple[str, Any]] = []
        for key, row in zip(keys, rows, strict=True):
            if key in known or row.get("status") == "pending":
                continue
            if row.get("activity_type") != "FILL":
                others.append((key, row))
                continue
            try:
                fills += self._fills(row, fills)
                owners[str(row.get("order_id"))] = str(row.get("account_id") or "")
            except UnreadableError:
                # One row that nobody can read must not keep the others from being booked.
                others.append((f"{key}#unreadable", row))
        if not (fills or others or marks):
            return
        told = [
            (
                fill,
                self.order_of(fill.order_id, owners[fill.order_id]),
                self._calendar.settles_on(business_date(fill.at)),
            )
            for fill in fills
        ]
        self._journal.write(told, others, marks)

    def _fills(self, row: Any, before: Sequence[WireFill]) -> list[WireFill]:
        amendment = parse_amendment(row)
        if amendment is None:
            fill = parse_fill(row)
            return [] if fill is None else [fill]
        tail, back, instead = amendment
        first = self._journal.execution_id(tail) or next(
            (one.id for one in before if one.id == tail or one.id.endswith(f"::{tail}")), ""
        )
        if not first:
            message = "Alpaca took back an execution that it had not told"
            raise UnreadableError(message, code="unknown_execution")
        taken = replace(back, busts=first)
        return [taken] if instead is None else [taken, instead]


def _before(rows: Sequence[Any]) -> str:
    """Return the id of the last row that is a moment older than the newest; empty if none is.

    Rows of one instant are in no order: one that is told later may stand before one told now.
    """
    ids = [_identity(row) for row in rows]
    newest = _stamp(ids[-1])
    if newest is None:
        return ids[-1]
    for one in reversed(ids):
        at = _stamp(one)
        if at is None or newest - at >= _MOMENT:
            return one
    return ""


def _stamp(identity: str) -> datetime | None:
    """Return the instant that an id begins with (in New York, without its zone), or None."""
    digits = identity[:_STAMP_DIGITS]
    if not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return datetime.strptime(f"{digits}000", "%Y%m%d%H%M%S%f")  # noqa: DTZ007 - only compared
    except ValueError:
        return None


def _identity(row: Any) -> str:
    if not isinstance(row, Mapping) or not isinstance(row.get("id"), str) or not row["id"]:
        message = "an activity has no id"
        raise UnreadableError(message)
    return str(row["id"])


def _key(row: Any) -> str:
    """Return what makes a row one row: it may be told again when it is corrected or cancelled."""
    identity = _identity(row)
    status = row.get("status", "executed")
    return identity if status in {"executed", None, "pending"} else f"{identity}#{status}"
