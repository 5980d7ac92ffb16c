"""The counter behind the kit's practice servers: the paper broker's market, with late changes.

Orders go to a paper broker with its own file. What a paper broker never does is added here: an
order that is taken and refused a moment later, and a cancel that is taken and comes too late.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from threading import RLock
from typing import Final

from broker_adapters.kit.bench import SeenOrder
from broker_adapters.kit.benches import seen_by
from broker_adapters.paper import PaperBroker
from robo.core.clock import Clock
from robo.ports.broker import (
    Activity,
    BrokerCash,
    BrokerOrder,
    BrokerOrderState,
    Execution,
    OrderTicket,
    Position,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.plugins import PluginContext

_EVERYTHING: Final = 10**9
_LATE: Final = timedelta(seconds=15)


class Counter:
    """Orders by client id; every method is safe for threads."""

    def __init__(self, context: PluginContext) -> None:
        """Open the market of a context."""
        self._paper = PaperBroker(context)
        self._clock: Clock = context.clock
        self._lock = RLock()
        self._doomed: dict[str, BrokerOrder] = {}
        self._cancels: dict[str, datetime] = {}

    def close(self) -> None:
        """Give the file back."""
        self._paper.close()

    def take(self, ticket: OrderTicket, *, doomed: bool = False) -> SubmitResult:
        """Take an order, or refuse it; a doomed one is refused when it is next looked at."""
        with self._lock:
            if ticket.client_id in self._doomed:
                return SubmitResult(SubmitStatus.DUPLICATE)
            if not doomed:
                return self._paper.submit(ticket)
            order = BrokerOrder(
                ticket.client_id,
                f"doomed-{len(self._doomed)}",
                ticket.security_id,
                ticket.side,
                ticket.notional_cents,
                ticket.nanos,
                BrokerOrderState.OPEN,
                0,
                0,
            )
            self._doomed[ticket.client_id] = order
            return SubmitResult(SubmitStatus.ACCEPTED, order.broker_order_id)

    def order(self, client_id: str) -> BrokerOrder | None:
        """Return an order that was taken; one that was refused at once never was here."""
        with self._lock:
            self._look()
            doomed = self._doomed.get(client_id)
            if doomed is not None:
                ended = replace(doomed, state=BrokerOrderState.REJECTED, code="changed_its_mind")
                self._doomed[client_id] = ended
                return doomed
            found = self._paper.find(client_id)
            return None if found is None or found.state is BrokerOrderState.REJECTED else found

    def account_of(self, client_id: str) -> str:
        """Return the account that an order is for."""
        record = self._paper.record(client_id)
        return "" if record is None else record.account

    def orders(self, account: str) -> list[BrokerOrder]:
        """Return every order of an account that was taken, oldest first."""
        with self._lock:
            self._look()
            return [
                one.published()
                for one in self._paper.records()
                if one.account == account and one.state is not BrokerOrderState.REJECTED
            ]

    def cancel(self, client_id: str, *, late: bool = False) -> SubmitResult:
        """Take a cancel, at once or too late for what fills in between."""
        with self._lock:
            self._look()
            found = self._paper.find(client_id)
            if not late or found is None or found.state.final:
                return self._paper.cancel(client_id)
            self._cancels[client_id] = self._clock.now() + _LATE
            return SubmitResult(SubmitStatus.ACCEPTED)

    def executions(self) -> list[Execution]:
        """Return everything that was executed, in order."""
        with self._lock:
            self._look()
            return list(self._paper.executions("", _EVERYTHING).executions)

    def activities(self) -> list[Activity]:
        """Return every activity, in order."""
        with self._lock:
            return list(self._paper.activities("", _EVERYTHING).activities)

    def positions(self, account: str) -> list[Position]:
        """Return the positions of an account."""
        with self._lock:
            self._look()
            return list(self._paper.positions(account))

    def cash(self, account: str) -> BrokerCash:
        """Return the cash of an account."""
        with self._lock:
            self._look()
            return self._paper.cash(account)

    def seen(self) -> list[SeenOrder]:
        """Return the orders that were taken."""
        return seen_by(self._paper)

    def _look(self) -> None:
        """Let cancels that were late take effect."""
        now = self._clock.now()
        for client_id in [one for one, at in self._cancels.items() if at <= now]:
            del self._cancels[client_id]
            self._paper.cancel(client_id)
