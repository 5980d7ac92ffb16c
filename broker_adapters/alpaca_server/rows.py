"""The list of an account's activities, sorted as Alpaca sorts it: by an id that begins with time.

Executions carry New York's time; everything else carries midnight of its day, so that a dividend
booked at noon sorts before the morning's fills, and a reader that only asks for what comes after
its last row never sees it.
"""

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from broker_adapters.alpaca_server.bodies import uuid_of
from broker_adapters.alpaca_server.ulids import ulid
from robo.core.clock import iso_instant, to_micros
from robo.core.money import NANOS_PER_SHARE, format_cents
from robo.core.shares import format_nanos
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind

_PAGE_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its id, when it was made, when it shows, and how its body is made."""

    id: str
    created: str
    shows_at: datetime
    type: str
    symbol: str
    build: Callable[[], Mapping[str, Any]]


class Rows:
    """An account's rows in the order of their ids, and in that in which they become known."""

    def __init__(self, listed_until: str = "") -> None:
        """Begin with none; the list leaves out what was made after a day, if one is named."""
        self._until = listed_until
        self._stream: list[tuple[str, Row]] = []
        self._keys: list[str] = []
        self._rows: list[Row] = []
        self._late: list[Row] = []

    def add(self, row: Row, now: datetime) -> None:
        """Put a row where it belongs; a row that is there already changes nothing."""
        place = bisect_left(self._keys, row.id)
        if place < len(self._keys) and self._keys[place] == row.id:
            return
        self._keys.insert(place, row.id)
        self._rows.insert(place, row)
        insort(self._stream, (_event_id(row), row), key=lambda one: one[0])
        if row.shows_at > now:
            self._late.append(row)

    def hidden(self, now: datetime) -> set[str]:
        """Return symbols of rows that do not show yet."""
        self._late = [row for row in self._late if row.shows_at > now]
        return {row.symbol for row in self._late}

    def page(self, query: Mapping[str, str], types: Sequence[str], now: datetime) -> list[Any]:
        """Return a page: `direction`, `after`, `until`, `date`, `page_token`, `page_size`."""
        rising = query.get("direction", "desc") == "asc"
        token, after, until, day = (
            query.get(name, "") for name in ("page_token", "after", "until", "date")
        )
        places = range(len(self._rows))
        if token:
            start = bisect_right(self._keys, token)
            places = places[start:] if rising else places[: bisect_left(self._keys, token)]
        size = query.get("page_size", "")
        most = min(int(size), _PAGE_MAX) if size.isascii() and size.isdigit() else _PAGE_MAX
        found: list[Any] = []
        for place in places if rising else reversed(places):
            row = self._rows[place]
            wanted = (not types or row.type in types) and row.shows_at <= now
            if self._until and row.created[:10] > self._until:
                continue
            timely = row.created > after and (not until or row.created < until)
            if wanted and timely and row.created.startswith(day):
                found.append(dict(row.build()))
            if len(found) >= most:
                break
        return found

    def events(self, since: str, now: datetime) -> list[dict[str, Any]]:
        """Return what the stream of activities tells after an id."""
        place = bisect_right(self._stream, since, key=lambda one: one[0])
        return [
            event_of(identity, row.build(), row.created)
            for identity, row in self._stream[place:]
            if row.shows_at <= now
        ]


def _event_id(row: Row) -> str:
    """Return the id of the event that tells a row: it begins with when it became known."""
    made = datetime.fromisoformat(row.created)
    known = made if row.type == "FILL" else max(made, row.shows_at)
    return ulid(to_micros(known), row.id)


def event_of(identity: str, row: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return a row in the words of the stream of activities: an envelope and details."""
    ref = str(row["id"]).rpartition("::")[2]
    envelope = {
        "account_id": row.get("account_id"),
        "event_id": identity,
        "ref_id": ref,
        "at": at,
        "currency": "USD",
        "status": row.get("status") or "executed",
        "qty": row.get("qty") or "0",
        "price": row.get("price") or "0",
        "executed_at": row.get("transaction_time") or at,
        "settle_date": row.get("date") or at[:10],
    }
    previous = row.get("previous_execution_id") or row.get("previous_id")
    if previous:
        envelope["previous_id"] = previous
    if row["activity_type"] == "FILL":
        named = ("order_id", "side", "symbol", "cum_qty", "leaves_qty", "order_status")
        details = {name: row.get(name) for name in named}
        return {
            **envelope,
            "activity_type": "TRD",
            "details": {**details, "execution_type": row.get("type")},
        }
    more = {
        "activity_type": row["activity_type"],
        "activity_subtype": row.get("activity_sub_type") or "",
        "net_amount": row.get("net_amount") or "0",
    }
    return {**envelope, **more, "details": _details(row)}


def _details(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event says in fields where the list says it in words."""
    symbol, text = row.get("symbol") or "", str(row.get("description") or "")
    comes = bool(str(row.get("qty") or "0").strip("-0.")) and not str(row["qty"]).startswith("-")
    known = {"group_id": row.get("group_id"), "system_date": row.get("date")}
    kind = row["activity_type"]
    if kind == "MA":
        return {**known, ("acquirer_symbol" if comes else "acquiree_symbol"): symbol}
    if kind == "NC":
        return {**known, "old_symbol": symbol, "new_symbol": symbol}
    if kind == "SPIN":
        source = text.rpartition("Initiating Symbol: ")[2]
        return {**known, "new_symbol": symbol, "source_symbol": source}
    held = re.search(r"Pos QTY: ([0-9.]+)", text)
    entitled = {"entitled_qty": held.group(1)} if held else {}
    return {**known, **entitled, "symbol": symbol}


def row_id(day: date, key: str) -> str:
    """Return the id of a row that is no execution."""
    return f"{day:%Y%m%d}000000000::{uuid_of('activity', key)}"


def told(
    activity: Activity, symbols: Callable[[int], str], account_id: str
) -> list[tuple[dict[str, Any], bool]]:
    """Return what Alpaca would tell of a corporate action: its rows, and which show only later."""
    symbol = symbols(activity.security_id)
    shares, cents = activity.nanos_delta, activity.cents
    kind = activity.kind
    if kind is ActionKind.CASH_DIVIDEND:
        per_share = cents * NANOS_PER_SHARE // max(1, activity.nanos_before)
        text = f"Cash DIV @ {per_share / 100}, Pos QTY: {format_nanos(activity.nanos_before)}"
        body = _body(activity, account_id, "DIV", "CDIV", symbol, 0, cents, text, 0)
        return [({**body, "per_share_amount": format_cents(per_share)}, False)]
    if kind is ActionKind.SPLIT:
        whole = activity.nanos_before + shares
        sub = "FSPLIT" if shares >= 0 else "RSPLIT"
        span = f"From QTY:{format_nanos(-activity.nanos_before)}, To QTY:{format_nanos(whole)}"
        return [
            (
                _body(
                    activity,
                    account_id,
                    "SPLIT",
                    sub,
                    symbol,
                    -activity.nanos_before,
                    0,
                    f"REMOVE, {span}",
                    0,
                ),
                False,
            ),
            (_body(activity, account_id, "SPLIT", sub, symbol, whole, 0, f"ADD, {span}", 1), True),
        ]
    return _merged(activity, symbols, account_id)


def _merged(
    activity: Activity, symbols: Callable[[int], str], account_id: str
) -> list[tuple[dict[str, Any], bool]]:
    """Return the rows of an action by which a name goes, changes or has a child."""
    symbol = symbols(activity.security_id)
    new = "" if activity.new_security_id is None else symbols(activity.new_security_id)
    gone, cents, came = activity.nanos_delta, activity.cents, activity.new_nanos
    kind = activity.kind
    plan: list[tuple[str, str, str, int, int, str]]
    if kind is ActionKind.CASH_MERGER:
        text = "Cash Merger"
        plan = [("MA", "CMA", symbol, gone, 0, text), ("MA", "CMA", symbol, 0, cents, text)]
    elif kind is ActionKind.STOCK_MERGER:
        sub, text = ("SCMA" if cents else "SMA"), f"Stock Merger {new} for {symbol}"
        plan = [("MA", sub, symbol, gone, 0, text), ("MA", sub, new, came, 0, text)]
        plan += [("MA", sub, symbol, 0, cents, text)] if cents else []
    elif kind is ActionKind.SPIN_OFF:
        text = f"Target Symbol: {new}, Initiating Symbol: {symbol}"
        plan = [("SPIN", "", new, came, 0, text)]
    elif kind is ActionKind.DELISTING:
        plan = [("REORG", "", symbol, gone, cents, f"Removal - {symbol}")]
    else:
        held, text = activity.nanos_before, f"Name Change of {symbol}"
        plan = [("NC", "SNC", symbol, -held, 0, text), ("NC", "SNC", symbol, held, 0, text)]
    return [
        (_body(activity, account_id, *one, place), place > 0 and one[4] == 0)
        for place, one in enumerate(plan)
    ]


def _body(
    activity: Activity,
    account_id: str,
    kind: str,
    sub: str,
    symbol: str,
    nanos: int,
    cents: int,
    text: str,
    place: int,
) -> dict[str, Any]:
    return {
        "id": row_id(activity.on, f"{activity.id}/{place}"),
        "account_id": account_id,
        "activity_type": kind,
        "activity_sub_type": sub,
        "date": activity.on.isoformat(),
        "net_amount": format_cents(cents),
        "symbol": symbol,
        "qty": format_nanos(nanos),
        "price": None,
        "status": "executed",
        "description": text,
        "group_id": uuid_of("group", activity.id),
        "created_at": iso_instant(
            to_micros(datetime.fromisoformat(f"{activity.on}T05:00:00+00:00"))
        ),
    }
