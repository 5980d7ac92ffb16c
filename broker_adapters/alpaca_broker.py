"""Alpaca's Broker API as our broker: an account of his own for each customer.

Orders, executions and positions are those of the Trading API, an account at a time; accounts, bank
links, transfers, journals, documents and events are the optional groups of `robo.ports.brokerage`.
See docs/alpaca.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from broker_adapters.alpaca_activities import Reading
from broker_adapters.alpaca_custody import Custody
from broker_adapters.alpaca_events import EventReader
from broker_adapters.alpaca_groups import IN_PARTS
from broker_adapters.alpaca_hearing import AlpacaHearing
from broker_adapters.alpaca_orders import OrderDesk, capabilities
from broker_adapters.alpaca_settings import AlpacaSettings, read_broker
from broker_adapters.alpaca_transfers import TransferDesk
from robo.core.clock import to_micros
from robo.core.errors import BrokerUnavailableError
from robo.ports import precheck
from robo.ports.broker import (
    AccountModel,
    Broker,
    BrokerCash,
    BrokerOrder,
    Capabilities,
    MassStatus,
    OrderTicket,
    Position,
    Refusal,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.brokerage import (
    Application,
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
_FORGOT: Final = "forgot"
"""The mark that says when an order was met that our file had not sent: was it lost? Each kind of id
has its own: what a person orders by hand at Alpaca was never in our file."""
_DOUBT_MICROS: Final = 5 * 86_400 * 1_000_000
"""So long an order that was open when the file was lost may still be there: a long weekend."""


def create(context: PluginContext) -> Broker:
    """Return the adapter of a context.

    Raises:
        ConfigError: If a setting is wrong or missing.
    """
    return AlpacaBroker(context, read_broker(context.settings))


class AlpacaBroker(AlpacaHearing):
    """A Broker with an account for each customer, all groups but `in_kind`; safe for threads."""

    def __init__(self, context: PluginContext, given: AlpacaSettings) -> None:
        """Build the client; nothing is sent before the first call."""
        super().__init__(
            context,
            given,
            "broker",
            "/accounts/activities",
            lambda account: f"{_prefix(account)}/orders",
        )
        transfers = self._folder / f"transfers-{self._name}.db"
        self._transfers = TransferDesk(self._http, context.clock, transfers)
        self._custody, self._events = Custody(self._http), EventReader(self._http, context.clock)

    @property
    def capabilities(self) -> Capabilities:
        """Return what this broker can do; it offers every optional group."""
        groups = frozenset(Group) - {Group.IN_KIND}
        known = capabilities("alpaca_broker", self._settings, AccountModel.SEGREGATED, groups)
        return replace(known, accounts_per_customer_max=1)  # an e-mail address opens one

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        """Send an order of one customer once; what was not seen is UNKNOWN."""
        fault = precheck.check(ticket, self.capabilities)
        if fault is not None:
            return precheck.refused(fault)
        mark = _WHERE + ticket.client_id
        with self._marking:
            known = self._journal.mark(mark)
            if known not in {"", ticket.broker_account}:
                detail = "This client id belongs to an order of another account."
                code = "client_id_mismatch"
                return SubmitResult(
                    SubmitStatus.REJECTED, None, code, detail, Refusal.CLIENT_ID_TAKEN
                )
            self._symbols.learn(ticket.symbol, ticket.security_id)
            self._journal.note(mark, ticket.broker_account)
        return self._desk(ticket.broker_account).submit(ticket)

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id; one None right after an order is no proof.

        An order can only be asked for where it was sent. If our file has forgotten orders, one that
        it does not know may be there all the same.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer, or we do not know where to ask.
        """
        account = self._account_of(client_id)
        if not account:
            return None
        order = self._desk(account).shown(client_id)
        return None if order is None else replace(order, broker_account=account)

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for an order to be cancelled; late fills may still come."""
        account = self._account_of(client_id)
        if not account:
            detail = "There is no order with this id."
            return SubmitResult(
                SubmitStatus.REJECTED, None, "unknown_order", detail, Refusal.ORDER_STATE
            )
        return self._desk(account).cancel(client_id)

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return a customer's positions; one in no security of ours has the id 0.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        return self._positions_at(_prefix(broker_account))

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the net cash of a customer's trading: the account's, less what was paid in.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        return self._cash_at(
            _prefix(broker_account), lambda: self._reading(broker_account), base_cents=0
        )

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return a customer's open orders, positions and cash, after a thorough reading.

        Raises:
            BrokerUnavailableError: If any part was not answered.
        """
        with self._lock:
            self._puller.pull(whole=True)
            self._puller.sweep(broker_account)
            moving = self._reading(broker_account).moving
        still = self._desk(broker_account).open_orders()
        for one in still:
            self._remember(one.client_id, broker_account)
        return MassStatus(
            broker_account=broker_account,
            as_of=self._clock.now(),
            open_orders=[replace(one, broker_account=broker_account) for one in still],
            positions=self.positions(broker_account),
            cash=self._cash_at(
                _prefix(broker_account),
                lambda: self._reading(broker_account),
                base_cents=0,
                heard=True,
            ),
            moving=moving,
        )

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
        super().close()
        self._transfers.close()

    def _account_of(self, client_id: str) -> str:
        """Return the account that an order was sent for; empty if it was never sent.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer, or we do not know.
        """
        account = self._journal.mark(_WHERE + client_id)
        if account:
            return account
        with self._lock:
            if not self._puller.is_fresh():
                self._puller.pull()  # what has executed says whose it is
        account = self._journal.mark(_WHERE + client_id)
        for forgot in () if account else (_FORGOT, _forgot(client_id)):
            since = to_micros(self._clock.now()) - int(self._journal.mark(forgot) or 0)
            if 0 <= since < _DOUBT_MICROS:
                message = "our file has forgotten orders; this may be one of them"
                raise BrokerUnavailableError(message, code="order_forgotten")
        return account

    def _remember(self, client_id: str, broker_account: str) -> None:
        """Note the account of an order that our file did not know, and that it forgets."""
        if broker_account and not self._journal.mark(_WHERE + client_id):
            now = to_micros(self._clock.now())
            marks = [(_WHERE + client_id, broker_account), (_forgot(client_id), str(now))]
            self._journal.write([], marks=marks)

    def _desk(self, broker_account: str) -> OrderDesk:
        security, prefix = self._symbols.security, _prefix(broker_account)
        return OrderDesk(self._http, self._journal, self._clock, security, prefix)

    def _everything(self, after: int = 0) -> Reading:
        return self._reader.read(self._journal.others(after, IN_PARTS), "")

    def _reading(self, broker_account: str) -> Reading:
        return self._reader.read(self._journal.others_of(broker_account), broker_account)


def _forgot(client_id: str) -> str:
    """Return the mark of orders with ids of one kind: what stands before the first underscore."""
    kind, underscore, _ = client_id.partition("_")
    return f"{_FORGOT} {kind if underscore else ''}"


def _prefix(account: str) -> str:
    return f"/trading/accounts/{account}"
