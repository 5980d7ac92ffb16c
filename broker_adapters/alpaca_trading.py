"""Alpaca's Trading API as our broker: one account that all customers of a firm share.

Play money by default. An order is sent once; an outcome that was not seen is UNKNOWN, and who asks
again asks with the same client id, which Alpaca accepts only once, for ever. Executions and other
activities come from our own journal of what Alpaca told (`alpaca_journal`). See docs/alpaca.md.
"""

import hashlib
from collections.abc import Sequence
from threading import RLock
from typing import Final

from broker_adapters.alpaca_activities import ActivityReader, Reading
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_orders import OrderDesk, answered, assets, capabilities
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_pull import Puller
from broker_adapters.alpaca_settings import AlpacaSettings, read_trading
from broker_adapters.alpaca_symbols import Symbols
from broker_adapters.alpaca_wire import parse_account, parse_position, rows_of
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.ports import precheck
from robo.ports.broker import (
    AccountModel,
    ActivityPage,
    Broker,
    BrokerCash,
    BrokerOrder,
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
from robo.ports.plugins import PluginContext
from robo.ports.terms import Group

_WHOSE: Final = "whose"
"""The mark that names the firm's account which uses this one."""


def create(context: PluginContext) -> Broker:
    """Return the adapter of a context.

    Raises:
        ConfigError: If a setting is wrong or missing, or real money is not allowed.
    """
    return AlpacaTrading(context, read_trading(context.settings))


class AlpacaTrading:
    """A Broker over one account at Alpaca; safe for threads."""

    def __init__(self, context: PluginContext, given: AlpacaSettings) -> None:
        """Build the client; nothing is sent before the first call."""
        self._settings = given
        self._clock = context.clock
        self._lock = RLock()
        self._http = AlpacaHttp(given.keys, given.url, Pace(given.per_minute))
        name = hashlib.sha256(f"{given.url} {given.keys.id}".encode()).hexdigest()[:16]
        self._journal = AlpacaJournal(context.state_dir / "alpaca" / f"trading-{name}.db")
        actions = context.prices.actions if context.prices is not None else lambda _: ()
        self._symbols = Symbols(context.securities, self._journal, context.clock, actions)
        self._desk = OrderDesk(self._http, self._journal, self._symbols.security)
        self._puller = Puller(
            self._http, self._journal, context.clock, context.calendar, self._symbols.security
        )
        self._reader = ActivityReader(self._symbols.security, actions)

    @property
    def capabilities(self) -> Capabilities:
        """Return what this broker can do: the strict subset of what Alpaca takes."""
        groups = frozenset({Group.ASSETS})
        return capabilities("alpaca_trading", self._settings, AccountModel.OMNIBUS, groups)

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order once; what was not seen is UNKNOWN."""
        fault = precheck.check(ticket, self.capabilities)
        if fault is not None:
            return precheck.refused(fault)
        if not self._ours(ticket.broker_account):
            detail = "Another firm's account uses this account at Alpaca."
            return SubmitResult(
                SubmitStatus.REJECTED, None, "unknown_account", detail, Refusal.ACCOUNT
            )
        self._symbols.learn(ticket.symbol, ticket.security_id)
        return self._desk.submit(ticket)

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id; one None right after an order is no proof."""
        order = self._desk.find(client_id)
        return None if order is None else self._desk.published(order)

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for an order to be cancelled; late fills may still come."""
        return self._desk.cancel(client_id)

    def executions(self, after: str, limit: int = 1000) -> ExecutionPage:
        """Return executions after a cursor, in the order in which Alpaca told them.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
            BrokerUnavailableError: If Alpaca did not answer and nothing waits in our journal.
        """
        with self._lock:
            unheard = self._pulled()
            told, cursor = self._journal.executions(after, limit)
        if unheard is not None and not told:
            raise unheard
        return ExecutionPage(told, cursor)

    def activities(self, after: str, limit: int = 1000) -> ActivityPage:
        """Return everything else that moved cash or shares, after a cursor.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
            BrokerUnavailableError: If Alpaca did not answer and nothing waits in our journal.
        """
        with self._lock:
            unheard = self._pulled()
            start = self._journal.others_start(after)
            reading = self._reading()
        page = [one for one in reading.activities if one[0] > start][:limit]
        if unheard is not None and not page:
            raise unheard
        cursor = self._journal.cursor(page[-1][0], page[-1][1]) if page else after
        return ActivityPage([one for _, _, one in page], cursor)

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return every position that is not zero; one in no security of ours has the id 0.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        if not self._mine(broker_account):
            return []
        rows = rows_of(answered(self._http.get("/positions", {}, Lane.READS)))
        found = [parse_position(row) for row in rows]
        return [
            Position(self._symbols.security(one.symbol), one.nanos, one.symbol)
            for one in found
            if one.nanos
        ]

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the net cash of trading: the account's, less what was moved in from outside.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        if not self._mine(broker_account):
            return BrokerCash(0, 0)
        with self._lock:
            self._puller.pull()
            outside = self._reading().outside_cents
        account = parse_account(answered(self._http.get("/account", {}, Lane.READS)))
        base = self._settings.opening_cents + outside
        return BrokerCash(
            total_cents=account.cash_cents - base,
            settled_cents=account.withdrawable_cents - base,
            spendable_cents=0 if account.blocked else account.spendable_cents,
        )

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return all open orders, positions and cash, after a thorough reading of activities.

        Raises:
            BrokerUnavailableError: If any part was not answered.
        """
        mine = self._mine(broker_account)
        with self._lock:
            if mine:
                self._puller.pull(thoroughly=True)
            moving = self._reading().moving if mine else frozenset()
        return MassStatus(
            broker_account=broker_account,
            as_of=self._clock.now(),
            open_orders=self._desk.open_orders() if mine else [],
            positions=self.positions(broker_account),
            cash=self.cash(broker_account),
            moving=moving,
        )

    def assets(self, security_ids: Sequence[SecurityId]) -> Sequence[Asset]:
        """Return whether each security can be traded now, and in fractions.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        return assets(self._http, [(one, self._symbols.symbol(one)) for one in security_ids])

    def close(self) -> None:
        """Give connections and the journal back."""
        self._http.close()
        self._journal.close()

    def _pulled(self) -> BrokerUnavailableError | None:
        """Read what is new; return why not, if it was not answered."""
        try:
            self._puller.pull()
        except BrokerUnavailableError as error:
            return error
        return None

    def _reading(self) -> Reading:
        return self._reader.read(self._journal.others(), self._journal.mark(_WHOSE))

    def _ours(self, broker_account: str) -> bool:
        """Return whether a ticket's account is the one that uses this one; the first one is."""
        with self._lock:
            whose = self._journal.mark(_WHOSE)
            if not whose:
                self._journal.note(_WHOSE, broker_account)
        return whose in {"", broker_account}

    def _mine(self, broker_account: str) -> bool:
        return self._journal.mark(_WHOSE) in {"", broker_account}
