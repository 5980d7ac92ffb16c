"""The list of an account's activities, sorted as Alpaca sorts it: by an id that begins with time.

Executions carry New York's time; everything else carries midnight of its day, so that a dividend
booked at noon sorts before the morning's fills, and a reader that only asks for what comes after
its last row never sees it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from broker_adapters.alpaca_server.bodies import uuid_of
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
    """An account's rows in the order of their ids."""

    def __init__(self) -> None:
        """Begin with none."""
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
            timely = row.created > after and (not until or row.created < until)
            if wanted and timely and row.created.startswith(day):
                found.append(dict(row.build()))
            if len(found) >= most:
                break
        return found


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
