"""The paper broker's own tables and the only SQL on them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from robo.core.clock import from_micros, to_micros
from robo.core.ids import SecurityId
from robo.ports.broker import (
    Activity,
    BrokerOrder,
    BrokerOrderState,
    Execution,
    OrderTicket,
    Position,
    Side,
)
from robo.ports.prices import ActionKind

_ORDER_COLUMNS: Final = (
    "seq, client_id, broker_order_id, account, security_id, symbol, side, notional_cents, nanos,"
    " state, filled_nanos, filled_cents, fee_cents, slices, slice, submitted_at, due_at,"
    " expires_at, code, detail"
)


@dataclass(slots=True)
class PaperOrder:
    """An order as the file keeps it; instants are micro-seconds since 1970."""

    seq: int
    client_id: str
    broker_order_id: str
    account: str
    security_id: SecurityId
    symbol: str
    side: Side
    notional_cents: int | None
    nanos: int | None
    state: BrokerOrderState
    filled_nanos: int
    filled_cents: int
    fee_cents: int
    slices: int
    slice: int
    submitted_at: int
    due_at: int | None
    expires_at: int | None
    code: str
    detail: str

    def matches(self, ticket: OrderTicket) -> bool:
        """Return whether a ticket says what this order was made from.

        The symbol may differ: a company can change it between an order and its repetition.
        """
        return (
            self.account == ticket.broker_account
            and self.security_id == ticket.security_id
            and self.side is ticket.side
            and self.notional_cents == ticket.notional_cents
            and self.nanos == ticket.nanos
        )

    def published(self) -> BrokerOrder:
        """Return the order as the port shows it."""
        return BrokerOrder(
            client_id=self.client_id,
            broker_order_id=self.broker_order_id,
            security_id=self.security_id,
            side=self.side,
            notional_cents=self.notional_cents,
            nanos=self.nanos,
            state=self.state,
            filled_nanos=self.filled_nanos,
            filled_cents=self.filled_cents,
            code=self.code,
            detail=self.detail,
        )


class PaperTables:
    """The tables inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Join a transaction."""
        self._connection = connection

    def day(self) -> date | None:
        """Return the last day whose corporate actions are done, None on the first use."""
        row = self._connection.execute("SELECT day FROM progress").fetchone()
        return date.fromordinal(row[0]) if row else None

    def set_day(self, day: date) -> None:
        """Record that a day's corporate actions are done."""
        self._connection.execute(
            "INSERT INTO progress (one, day) VALUES (1, ?)"
            " ON CONFLICT (one) DO UPDATE SET day = excluded.day",
            (day.toordinal(),),
        )

    def insert_order(self, order: PaperOrder) -> None:
        """Write a new order; its `seq` is ignored."""
        marks = ", ".join("?" * 20)
        self._connection.execute(
            f"INSERT INTO orders ({_ORDER_COLUMNS}) VALUES ({marks})",  # noqa: S608 - constants
            (None, *_order_values(order)),
        )

    def update_order(self, order: PaperOrder) -> None:
        """Write what changed on an order."""
        self._connection.execute(
            "UPDATE orders SET state = ?, filled_nanos = ?, filled_cents = ?, fee_cents = ?,"
            " slice = ?, due_at = ?, code = ?, detail = ? WHERE client_id = ?",
            (
                order.state.value,
                order.filled_nanos,
                order.filled_cents,
                order.fee_cents,
                order.slice,
                order.due_at,
                order.code,
                order.detail,
                order.client_id,
            ),
        )

    def order(self, client_id: str) -> PaperOrder | None:
        """Return an order by client id."""
        return _first(self._orders("client_id = ?", client_id))

    def all_orders(self) -> list[PaperOrder]:
        """Return every order, oldest first."""
        return self._orders("TRUE ORDER BY seq")

    def next_due(self) -> PaperOrder | None:
        """Return the open order whose turn comes first."""
        return _first(self._orders("due_at IS NOT NULL ORDER BY due_at, seq LIMIT 1"))

    def unended(self) -> list[PaperOrder]:
        """Return every open order, oldest first."""
        return self._orders("due_at IS NOT NULL ORDER BY seq")

    def open_orders(self, security_id: SecurityId) -> list[PaperOrder]:
        """Return the open orders of a security, oldest first."""
        return self._orders("due_at IS NOT NULL AND security_id = ? ORDER BY seq", security_id)

    def add_execution(self, execution: Execution, account: str, feed: str) -> None:
        """Append an execution, with the feed that priced it."""
        self._connection.execute(
            "INSERT INTO executions (id, client_id, account, security_id, side, nanos,"
            " price_micros, cents, fee_cents, executed_at, settles_on, feed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                execution.id,
                execution.client_id,
                account,
                execution.security_id,
                execution.side.value,
                execution.nanos,
                execution.price_micros,
                execution.cents,
                execution.fee_cents,
                to_micros(execution.executed_at),
                execution.settles_on.toordinal(),
                feed,
            ),
        )

    def executions(self, after: int, limit: int) -> list[tuple[int, Execution]]:
        """Return (sequence, execution) after a sequence number."""
        rows = self._connection.execute(
            "SELECT seq, id, client_id, security_id, side, nanos, price_micros, cents, fee_cents,"
            " executed_at, settles_on FROM executions WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        )
        return [(row[0], _execution(row[1:])) for row in rows]

    def position(self, account: str, security_id: SecurityId) -> int:
        """Return the nanoshares an account holds of a security."""
        row = self._connection.execute(
            "SELECT nanos FROM positions WHERE account = ? AND security_id = ?",
            (account, security_id),
        ).fetchone()
        return int(row[0]) if row else 0

    def move_position(self, account: str, security_id: SecurityId, delta_nanos: int) -> None:
        """Add to (or take from) a position; the file refuses a negative one."""
        nanos = self.position(account, security_id) + delta_nanos
        if nanos == 0:
            self._connection.execute(
                "DELETE FROM positions WHERE account = ? AND security_id = ?",
                (account, security_id),
            )
            return
        self._connection.execute(
            "INSERT INTO positions (account, security_id, nanos) VALUES (?, ?, ?)"
            " ON CONFLICT (account, security_id) DO UPDATE SET nanos = excluded.nanos",
            (account, security_id, nanos),
        )

    def positions(self, account: str) -> list[Position]:
        """Return an account's positions by security id."""
        rows = self._connection.execute(
            "SELECT security_id, nanos FROM positions WHERE account = ? ORDER BY security_id",
            (account,),
        )
        return [Position(SecurityId(security_id), nanos) for security_id, nanos in rows]

    def holders(self, security_id: SecurityId) -> list[tuple[str, int]]:
        """Return (account, nanoshares) of everybody who holds a security."""
        return self._connection.execute(
            "SELECT account, nanos FROM positions WHERE security_id = ? ORDER BY account",
            (security_id,),
        ).fetchall()

    def anything_held(self) -> bool:
        """Return whether any account holds anything, or is owed anything."""
        row = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM positions) OR EXISTS (SELECT 1 FROM entitlements)"
        ).fetchone()
        return bool(row[0])

    def move_cash(self, account: str, settles_on: date, cents: int) -> None:
        """Add to an account's cash of a settlement date."""
        self._connection.execute(
            "INSERT INTO cash (account, settles_on, cents) VALUES (?, ?, ?)"
            " ON CONFLICT (account, settles_on) DO UPDATE SET cents = cents + excluded.cents",
            (account, settles_on.toordinal(), cents),
        )

    def cash(self, account: str, today: date) -> tuple[int, int]:
        """Return (all cash, the part that has settled by today)."""
        row = self._connection.execute(
            "SELECT coalesce(sum(cents), 0), coalesce(sum(cents) FILTER (WHERE settles_on <= ?), 0)"
            " FROM cash WHERE account = ?",
            (today.toordinal(), account),
        ).fetchone()
        return int(row[0]), int(row[1])

    def add_entitlement(
        self,
        action_id: str,
        account: str,
        security_id: SecurityId,
        nanos: int,
        cents: int,
        on: date,
    ) -> None:
        """Remember a dividend that will be paid on a day."""
        self._connection.execute(
            "INSERT INTO entitlements (action_id, account, security_id, nanos, cents, pay_on)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (action_id, account, security_id, nanos, cents, on.toordinal()),
        )

    def take_entitlements(self, today: date) -> list[tuple[str, str, SecurityId, int, int, date]]:
        """Return and forget (action, account, security, nanos, cents, pay day) due by today."""
        due = (today.toordinal(),)
        rows = self._connection.execute(
            "SELECT action_id, account, security_id, nanos, cents, pay_on FROM entitlements"
            " WHERE pay_on <= ? ORDER BY pay_on, action_id, account",
            due,
        ).fetchall()
        if rows:
            self._connection.execute("DELETE FROM entitlements WHERE pay_on <= ?", due)
        return [(*row[:5], date.fromordinal(row[5])) for row in rows]

    def add_activity(self, activity: Activity) -> None:
        """Append an activity."""
        self._connection.execute(
            "INSERT INTO activities (id, account, action_id, kind, security_id, on_day, cents,"
            " nanos_before, nanos_delta, new_security_id, new_nanos)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                activity.id,
                activity.broker_account,
                activity.action_id,
                activity.kind.value,
                activity.security_id,
                activity.on.toordinal(),
                activity.cents,
                activity.nanos_before,
                activity.nanos_delta,
                activity.new_security_id,
                activity.new_nanos,
            ),
        )

    def activities(self, after: int, limit: int) -> list[tuple[int, Activity]]:
        """Return (sequence, activity) after a sequence number."""
        rows = self._connection.execute(
            "SELECT seq, id, action_id, kind, security_id, on_day, cents, nanos_before,"
            " nanos_delta, new_security_id, new_nanos, account FROM activities"
            " WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        ).fetchall()
        return [(row[0], _activity(row[1:])) for row in rows]

    def _orders(self, where: str, *values: str | int) -> list[PaperOrder]:
        rows = self._connection.execute(
            f"SELECT {_ORDER_COLUMNS} FROM orders WHERE {where}",  # noqa: S608 - constants
            values,
        ).fetchall()
        return [_order(row) for row in rows]


def _first(orders: Sequence[PaperOrder]) -> PaperOrder | None:
    return orders[0] if orders else None


def _order(row: Sequence[Any]) -> PaperOrder:
    values = list(row)
    values[6], values[9] = Side(values[6]), BrokerOrderState(values[9])
    return PaperOrder(*values)


def _order_values(order: PaperOrder) -> tuple[str | int | None, ...]:
    return (
        order.client_id,
        order.broker_order_id,
        order.account,
        order.security_id,
        order.symbol,
        order.side.value,
        order.notional_cents,
        order.nanos,
        order.state.value,
        order.filled_nanos,
        order.filled_cents,
        order.fee_cents,
        order.slices,
        order.slice,
        order.submitted_at,
        order.due_at,
        order.expires_at,
        order.code,
        order.detail,
    )


def _execution(row: Sequence[Any]) -> Execution:
    identity, client_id, security_id, side, nanos, price, cents, fee, executed_at, settles_on = row
    return Execution(
        id=identity,
        client_id=client_id,
        security_id=SecurityId(security_id),
        side=Side(side),
        nanos=nanos,
        price_micros=price,
        cents=cents,
        fee_cents=fee,
        executed_at=from_micros(executed_at),
        settles_on=date.fromordinal(settles_on),
    )


def _activity(row: Sequence[Any]) -> Activity:
    identity, action_id, kind, security_id, on, cents, before, delta, new_id, new, account = row
    return Activity(
        id=identity,
        action_id=action_id,
        kind=ActionKind(kind),
        security_id=SecurityId(security_id),
        on=date.fromordinal(on),
        cents=cents,
        nanos_before=before,
        nanos_delta=delta,
        new_security_id=None if new_id is None else SecurityId(new_id),
        new_nanos=new,
        broker_account=account,
    )
