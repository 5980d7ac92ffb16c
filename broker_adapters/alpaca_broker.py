"""Alpaca's Broker API as our broker: an account of his own for each customer.

Orders, executions and positions are those of the Trading API, an account at a time; accounts, bank
links, transfers, journals, documents and events are the optional groups of `robo.ports.brokerage`.
See docs/alpaca.md.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from threading import RLock
from typing import Any, Final

from broker_adapters.alpaca_activities import ActivityReader, Reading
from broker_adapters.alpaca_custody import Custody
from broker_adapters.alpaca_events import EventReader
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_orders import OrderDesk, answered, assets, capabilities
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_pull import Puller
from broker_adapters.alpaca_settings import AlpacaSettings, read_broker
from broker_adapters.alpaca_symbols import Symbols
from broker_adapters.alpaca_transfers import TransferDesk
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
from robo.ports.brokerage import (
    Application,
    Asset,
    BankDetails,
    CashRequest,
    CashResult,
    CashTransfer,
    CustodyAccount,
    CustodyEventPage,
    Document,
    JournalRequest,
    JournalResult,
    LinkResult,
    OpenResult,
    Relationship,
)
from robo.ports.plugins import PluginContext
from robo.ports.terms import Group

_WHERE: Final = "account of "
"""The mark that remembers which account an order was sent for."""


def create(context: PluginContext) -> Broker:
    """Return the adapter of a context.

    Raises:
        ConfigError: If a setting is wrong or missing.
    """
    return AlpacaBroker(context, read_broker(context.settings))


class AlpacaBroker:
    """A Broker with an account for each customer, all groups but `in_kind`; safe for threads."""

    def __init__(self, context: PluginContext, given: AlpacaSettings) -> None:
        """Build the client; nothing is sent before the first call."""
        self._settings, self._clock = given, context.clock
        self._lock = RLock()
        self._http = AlpacaHttp(given.keys, given.url, Pace(given.per_minute), broker=True)
        name = hashlib.sha256(f"{given.url} {given.keys.id}".encode()).hexdigest()[:16]
        folder = context.state_dir / "alpaca"
        self._journal = AlpacaJournal(folder / f"broker-{name}.db")
        self._transfers = TransferDesk(self._http, context.clock, folder / f"transfers-{name}.db")
        self._custody, self._events = Custody(self._http), EventReader(self._http)
        actions = context.prices.actions if context.prices is not None else lambda _: ()
        self._symbols = Symbols(context.securities, self._journal, context.clock, actions)
        self._puller = Puller(
            self._http,
            self._journal,
            context.clock,
            context.calendar,
            self._symbols.security,
            "/accounts/activities",
            lambda account: f"{_prefix(account)}/orders",
        )
        self._reader = ActivityReader(self._symbols.security, actions)

    @property
    def capabilities(self) -> Capabilities:
        """Return what this broker can do; it offers every group but `in_kind`."""
        groups = frozenset(Group) - {Group.IN_KIND}
        known = capabilities("alpaca_broker", self._settings, AccountModel.SEGREGATED, groups)
        return replace(known, accounts_per_customer_max=1)  # an e-mail address opens one

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order of one customer once; what was not seen is UNKNOWN."""
        fault = precheck.check(ticket, self.capabilities)
        if fault is not None:
            return precheck.refused(fault)
        mark = _WHERE + ticket.client_id
        with self._lock:
            known = self._journal.mark(mark)
            if known not in {"", ticket.broker_account}:
                detail = "This client id belongs to an order of another account."
                code = "client_id_mismatch"
                return SubmitResult(SubmitStatus.REJECTED, None, code, detail, Refusal.CLIENT_ID)
            self._symbols.learn(ticket.symbol, ticket.security_id)
            self._journal.note(mark, ticket.broker_account)
        return self._desk(ticket.broker_account).submit(ticket)

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id; one None right after an order is no proof.

        An order whose account nobody remembers (the file was lost) cannot be asked for; it is found
        once it has executed.
        """
        account = self._journal.mark(_WHERE + client_id)
        if not account:
            return None
        desk = self._desk(account)
        order = desk.find(client_id)
        return None if order is None else desk.published(order)

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for an order to be cancelled; late fills may still come."""
        account = self._journal.mark(_WHERE + client_id)
        if not account:
            detail = "There is no order with this id."
            return SubmitResult(
                SubmitStatus.REJECTED, None, "unknown_order", detail, Refusal.ORDER_STATE
            )
        return self._desk(account).cancel(client_id)

    def executions(self, after: str, limit: int = 1000) -> ExecutionPage:
        """Return executions of all accounts after a cursor, in the order of hearing.

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
        """Return everything else that moved cash or shares, of all accounts, after a cursor.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
            BrokerUnavailableError: If Alpaca did not answer and nothing waits in our journal.
        """
        with self._lock:
            unheard = self._pulled()
            start = self._journal.others_start(after)
            reading = self._reader.read(self._journal.others(), "")
        page = [one for one in reading.activities if one[0] > start][:limit]
        if unheard is not None and not page:
            raise unheard
        cursor = self._journal.cursor(page[-1][0], page[-1][1]) if page else after
        return ActivityPage([one for _, _, one in page], cursor)

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return a customer's positions; one in no security of ours has the id 0.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        rows = rows_of(self._get(f"{_prefix(broker_account)}/positions"))
        found = [parse_position(row) for row in rows]
        return [
            Position(self._symbols.security(one.symbol), one.nanos, one.symbol)
            for one in found
            if one.nanos
        ]

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the net cash of a customer's trading: the account's, less what was paid in.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        with self._lock:
            self._puller.pull()
            outside = self._reading(broker_account).outside_cents
        account = parse_account(self._get(f"{_prefix(broker_account)}/account"))
        return BrokerCash(
            total_cents=account.cash_cents - outside,
            settled_cents=account.withdrawable_cents - outside,
            spendable_cents=0 if account.blocked else account.spendable_cents,
        )

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return a customer's open orders, positions and cash, after a thorough reading.

        Raises:
            BrokerUnavailableError: If any part was not answered.
        """
        with self._lock:
            self._puller.pull(thoroughly=True)
            moving = self._reading(broker_account).moving
        return MassStatus(
            broker_account=broker_account,
            as_of=self._clock.now(),
            open_orders=self._desk(broker_account).open_orders(),
            positions=self.positions(broker_account),
            cash=self.cash(broker_account),
            moving=moving,
        )

    def assets(self, security_ids: Sequence[SecurityId]) -> Sequence[Asset]:
        """Return whether each security can be traded now, and in fractions."""
        return assets(self._http, [(one, self._symbols.symbol(one)) for one in security_ids])

    def open_account(self, application: Application) -> OpenResult:
        """Apply for an account unless there is one with this e-mail address."""
        return self._custody.open_account(application)

    def find_account(self, application: Application) -> OpenResult | None:
        """Return what became of an application, found by its e-mail address."""
        return self._custody.find_account(application)

    def account(self, broker_account: str) -> CustodyAccount | None:
        """Return an account; None if Alpaca says that there is none."""
        return self._custody.account(broker_account)

    def close_account(self, broker_account: str) -> OpenResult:
        """Close an account that holds nothing."""
        return self._custody.close_account(broker_account)

    def link_bank(self, broker_account: str, details: BankDetails) -> LinkResult:
        """Link a bank account unless it is linked already."""
        return self._custody.link_bank(broker_account, details)

    def unlink_bank(self, broker_account: str, relationship_id: str) -> LinkResult:
        """End a bank link; one that has ended is ended."""
        return self._custody.unlink_bank(broker_account, relationship_id)

    def relationships(self, broker_account: str) -> Sequence[Relationship]:
        """Return the bank accounts that are linked."""
        return self._custody.relationships(broker_account)

    def transfer(self, request: CashRequest) -> CashResult:
        """Ask for a transfer at most once, or find out what came of it."""
        with self._lock:
            return self._transfers.transfer(request)

    def transfers(self, broker_account: str) -> Sequence[CashTransfer]:
        """Return all transfers of an account."""
        return self._transfers.transfers(broker_account)

    def claim_transfer(self, request_id: str, broker_id: str) -> None:
        """Let a person say which transfer at Alpaca a request became."""
        self._transfers.claim(request_id, broker_id)

    def release_transfer(self, request_id: str) -> None:
        """Let a person say that a request never arrived: it may be asked for once more."""
        self._transfers.release(request_id)

    def journal(self, request: JournalRequest) -> JournalResult:
        """Move cash between accounts; the same id moves it once."""
        return self._custody.journal(request)

    def documents(self, broker_account: str) -> Sequence[Document]:
        """Return an account's documents, oldest first."""
        return self._custody.documents(broker_account)

    def document(self, broker_account: str, document_id: str) -> bytes:
        """Return a document's content."""
        return self._custody.document(broker_account, document_id)

    def custody_events(self, stream: str, after: str, limit: int = 1000) -> CustodyEventPage:
        """Return events of `accounts`, `transfers` or `journals` after a cursor."""
        return self._events.page(stream, after, limit)

    def close(self) -> None:
        """Give connections and files back."""
        self._http.close()
        self._journal.close()
        self._transfers.close()

    def _desk(self, broker_account: str) -> OrderDesk:
        security, prefix = self._symbols.security, _prefix(broker_account)
        return OrderDesk(self._http, self._journal, security, prefix)

    def _pulled(self) -> BrokerUnavailableError | None:
        """Read what is new; return why not, if it was not answered."""
        try:
            self._puller.pull()
        except BrokerUnavailableError as error:
            return error
        return None

    def _reading(self, broker_account: str) -> Reading:
        rows = [row for row in self._journal.others() if row[2].get("account_id") == broker_account]
        return self._reader.read(rows, broker_account)

    def _get(self, path: str) -> Any:
        return answered(self._http.get(path, {}, Lane.READS))


def _prefix(account: str) -> str:
    return f"/trading/accounts/{account}"
