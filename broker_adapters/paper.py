"""The paper broker: in-process, durable, idempotent, seeded, and as awkward as a real one.

It keeps its state in its own file under the state directory; see docs/paper-broker.md for what
it models and which settings (`ROBO_PAPER_…`) make it kinder or worse.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from broker_adapters.durable_file import DurableFile
from broker_adapters.paper_engine import BUY_CENTS_MIN, PaperEngine
from broker_adapters.paper_move_ins import move_in, moved_in
from broker_adapters.paper_schema import SCHEMA
from broker_adapters.paper_store import PaperOrder, PaperTables
from robo.core.clock import business_date
from robo.core.errors import InvalidInputError
from robo.core.ids import SecurityId
from robo.ports import precheck
from robo.ports.broker import (
    AccountModel,
    ActivityPage,
    Broker,
    BrokerCash,
    BrokerOrder,
    BrokerOrderState,
    Capabilities,
    ExecutionPage,
    MassStatus,
    OrderTicket,
    Position,
    Refusal,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.brokerage import Asset
from robo.ports.in_kind import MoveIn, MoveInRequest
from robo.ports.plugins import PluginContext
from robo.ports.terms import ClientIdRule, Group

_CLIENT_ID_LENGTH_MAX: Final = 128
_ORDERS_PER_SECOND_MAX: Final = 100_000
"""No throttle: the disk is the limit."""
_CURSOR_DIGITS_MAX: Final = 18


def create(context: PluginContext) -> Broker:
    """Return the paper broker of a context.

    Raises:
        ConfigError: If there is no price source, or a setting is wrong.
    """
    return PaperBroker(context)


class PaperBroker:
    """A Broker that keeps one omnibus account for each name it is told."""

    def __init__(self, context: PluginContext) -> None:
        """Read the settings; the file is opened at the first call."""
        self._engine = PaperEngine(context)
        self._clock = context.clock
        self._file = DurableFile(context.state_dir / "paper" / "paper.db", SCHEMA)

    @property
    def capabilities(self) -> Capabilities:
        """Return what this broker can do."""
        return Capabilities(
            name="paper",
            simulated=True,
            account_model=AccountModel.OMNIBUS,
            fractional=True,
            notional=True,
            share_decimals=9,
            buy_notional_cents_min=BUY_CENTS_MIN,
            client_id_length_max=_CLIENT_ID_LENGTH_MAX,
            settlement_days=1,
            orders_per_second_max=_ORDERS_PER_SECOND_MAX,
            always_open=self._engine.config.always_open,
            find_lag_seconds=0,
            client_id_rule=ClientIdRule.REPLAYED,
            groups=frozenset({Group.ASSETS, Group.IN_KIND}),
        )

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order; on disk before the answer is given, and filled as far as it can be."""
        return self.submit_many([ticket])[0]

    def submit_many(self, tickets: Sequence[OrderTicket]) -> list[SubmitResult]:
        """Send several orders in one transaction: all are on disk, or none is.

        Raises:
            BrokerUnavailableError: If the file did not take them.
        """
        now = self._clock.now()
        with self._file.write() as connection:
            tables = PaperTables(connection)
            self._engine.advance(tables, now)
            return [self._submit(tables, ticket, now) for ticket in tickets]

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id, or None."""
        with self._looked_at() as tables:
            order = tables.order(client_id)
        return None if order is None else order.published()

    def record(self, client_id: str) -> PaperOrder | None:
        """Return an order with everything the file keeps of it, or None."""
        with self._looked_at() as tables:
            return tables.order(client_id)

    def records(self) -> list[PaperOrder]:
        """Return every order with everything the file keeps of it, oldest first."""
        with self._looked_at() as tables:
            return tables.all_orders()

    def open_records(self) -> list[PaperOrder]:
        """Return every order that may still fill, oldest first."""
        with self._looked_at() as tables:
            return tables.unended()

    def cancel(self, client_id: str) -> SubmitResult:
        """Cancel what is left of an order; what was due before now has filled first."""
        now = self._clock.now()
        with self._file.write() as connection:
            tables = PaperTables(connection)
            self._engine.advance(tables, now)
            order = tables.order(client_id)
            if order is None:
                return _rejected("unknown_order", "There is no order with this id.")
            if order.state.final:
                detail = f"The order is {order.state.value}."
                return _rejected("not_cancelable", detail, order.broker_order_id)
            self._engine.cancel(tables, order)
            return SubmitResult(SubmitStatus.ACCEPTED, order.broker_order_id)

    def executions(self, after: str, limit: int = 1000) -> ExecutionPage:
        """Return executions after a cursor, oldest first.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
        """
        with self._looked_at() as tables:
            rows = tables.executions(_sequence(after), limit)
        cursor = str(rows[-1][0]) if rows else after
        return ExecutionPage([execution for _, execution in rows], cursor)

    def activities(self, after: str, limit: int = 1000) -> ActivityPage:
        """Return corporate-action activities after a cursor, oldest first.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
        """
        with self._looked_at() as tables:
            rows = tables.activities(_sequence(after), limit)
        cursor = str(rows[-1][0]) if rows else after
        return ActivityPage([activity for _, activity in rows], cursor)

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return every position that is not zero, by security id."""
        with self._looked_at() as tables:
            return tables.positions(broker_account)

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the net cash of trading; negative while customers own more than they sold."""
        today = business_date(self._clock.now())
        with self._looked_at() as tables:
            total, settled = tables.cash(broker_account, today)
        return BrokerCash(total_cents=total, settled_cents=settled)

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return all open orders, positions and cash of an account, of one instant."""
        now = self._clock.now()
        with self._looked_at() as tables:
            total, settled = tables.cash(broker_account, business_date(now))
            orders = [one for one in tables.unended() if one.account == broker_account]
            positions = tables.positions(broker_account)
        return MassStatus(
            broker_account=broker_account,
            as_of=now,
            open_orders=[one.published() for one in orders],
            positions=positions,
            cash=BrokerCash(total, settled),
        )

    def assets(self, security_ids: Sequence[SecurityId]) -> Sequence[Asset]:
        """Return whether each security has a price, and whether it trades in fractions."""
        return self._engine.assets(security_ids, self._clock.now())

    @property
    def in_kind_decimals(self) -> int:
        """Return how many decimals of a share can be brought from another firm: all of them."""
        return self.capabilities.share_decimals

    def move_in(self, request: MoveInRequest) -> MoveIn:
        """Ask for positions from another firm; what is due arrives now, after the day's actions."""
        now = self._clock.now()
        with self._file.write() as connection:
            tables = PaperTables(connection)
            self._engine.advance(tables, now)
            return move_in(connection, self._engine, request, now)

    def moved_in(self, request_id: str) -> MoveIn | None:
        """Return how far a transfer is, None if it was never asked for."""
        with self._file.read() as connection:
            return moved_in(connection, request_id)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    @contextmanager
    def _looked_at(self) -> Iterator[PaperTables]:
        """Yield the tables after everything due has happened; takes no lock if nothing is due."""
        now = self._clock.now()
        with self._file.read() as connection:
            tables = PaperTables(connection)
            if not self._engine.work_waits(tables, now):
                yield tables
                return
        with self._file.write() as connection:
            tables = PaperTables(connection)
            self._engine.advance(tables, now)
            yield tables

    def _submit(self, tables: PaperTables, ticket: OrderTicket, now: datetime) -> SubmitResult:
        fault = precheck.check(ticket, self.capabilities)
        if fault in {"client_id_length", "client_id_alphabet"}:
            return precheck.refused(fault)
        order = tables.order(ticket.client_id)
        if order is not None and not order.matches(ticket):
            detail = "Another order has this client id."
            return _rejected("client_id_mismatch", detail, order.broker_order_id)
        status = SubmitStatus.ACCEPTED if order is None else SubmitStatus.DUPLICATE
        order = order or self._engine.accept(tables, ticket, now)
        if order.state is BrokerOrderState.REJECTED:
            return _rejected(order.code, order.detail, order.broker_order_id)
        return SubmitResult(status, order.broker_order_id)


_KINDS: Final = {
    "client_id_length": Refusal.CLIENT_ID,
    "client_id_mismatch": Refusal.CLIENT_ID_TAKEN,
    "unknown_order": Refusal.ORDER_STATE,
    "not_cancelable": Refusal.ORDER_STATE,
    "no_price": Refusal.NOT_TRADABLE,
    "unknown_security": Refusal.UNKNOWN_SECURITY,
    "below_minimum": Refusal.MINIMUM,
    "not_fractionable": Refusal.NOT_FRACTIONABLE,
    "insufficient_position": Refusal.POSITION,
}


def _rejected(code: str, detail: str, broker_order_id: str | None = None) -> SubmitResult:
    kind = _KINDS.get(code, Refusal.OTHER)
    return SubmitResult(SubmitStatus.REJECTED, broker_order_id, code, detail, kind)


def _sequence(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _CURSOR_DIGITS_MAX):
        message = "that is no cursor of this broker"
        raise InvalidInputError(message, code="bad_cursor")
    return int(cursor)
