"""Alpaca's Trading API as our broker: one account that all customers of a firm share.

Play money by default. An order is sent once; an outcome that was not seen is UNKNOWN, and who asks
again asks with the same client id, which Alpaca accepts only once, for ever. Executions and other
activities come from our own journal of what Alpaca told (`alpaca_journal`). See docs/alpaca.md.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Final

from broker_adapters.alpaca_activities import Reading
from broker_adapters.alpaca_fields import rows_of
from broker_adapters.alpaca_groups import IN_PARTS
from broker_adapters.alpaca_hearing import AlpacaHearing
from broker_adapters.alpaca_orders import OrderDesk, answered, capabilities
from broker_adapters.alpaca_pace import Lane
from broker_adapters.alpaca_settings import AlpacaSettings, read_trading
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
from robo.ports.plugins import PluginContext
from robo.ports.terms import Group

_WHOSE: Final = "whose"
"""The mark that names the firm's account which uses this one."""
_LOOK_SECONDS_MAX: Final = 1.0
"""An order whose account had to be looked at for longer is not sent: meanwhile a kill switch may
have been thrown. Told again, it needs no look."""
_NOBODYS: Final = "this account at Alpaca was used, and ROBO_ALPACA_OWNER does not say by whom"


class OwnerUnknownError(BrokerUnavailableError):
    """Whose the shared account is was forgotten; an operator says so."""

    code = "owner_unknown"


def create(context: PluginContext) -> Broker:
    """Return the adapter of a context.

    Raises:
        ConfigError: If a setting is wrong or missing, or real money is not allowed.
    """
    return AlpacaTrading(context, read_trading(context.settings))


class AlpacaTrading(AlpacaHearing):
    """A Broker over one account at Alpaca; safe for threads."""

    def __init__(self, context: PluginContext, given: AlpacaSettings) -> None:
        """Build the client; nothing is sent before the first call."""
        super().__init__(context, given, "trading", "/account/activities", lambda _: "/orders")
        self._desk = OrderDesk(self._http, self._journal, context.clock, self._symbols.security)

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
        began = monotonic()
        try:
            whose = self._claimed(ticket.broker_account)
        except BrokerUnavailableError as error:
            # Not sent; an account of whom we do not know may be another firm's.
            known = isinstance(error, OwnerUnknownError)
            refusal = Refusal.ACCOUNT if known else Refusal.RATE
            return SubmitResult(SubmitStatus.THROTTLED, None, error.code, str(error), refusal)
        if whose != ticket.broker_account:
            detail = "Another firm's account uses this account at Alpaca."
            return SubmitResult(
                SubmitStatus.REJECTED, None, "unknown_account", detail, Refusal.ACCOUNT
            )
        if monotonic() - began > _LOOK_SECONDS_MAX:
            return SubmitResult(SubmitStatus.THROTTLED, code="looked_long", refusal=Refusal.RATE)
        self._symbols.learn(ticket.symbol, ticket.security_id)
        return self._desk.submit(ticket)

    def find(self, client_id: str) -> BrokerOrder | None:
        """Return the order with that client id; one None right after an order is no proof."""
        return self._desk.shown(client_id)

    def cancel(self, client_id: str) -> SubmitResult:
        """Ask for an order to be cancelled; late fills may still come."""
        return self._desk.cancel(client_id)

    def positions(self, broker_account: str) -> Sequence[Position]:
        """Return every position that is not zero; one in no security of ours has the id 0.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        if not self._mine(broker_account):
            return []
        return self._positions_at("")

    def cash(self, broker_account: str) -> BrokerCash:
        """Return the net cash of trading: the account's, less what was moved in from outside.

        Raises:
            BrokerUnavailableError: If Alpaca did not answer.
        """
        if not self._mine(broker_account):
            return BrokerCash(0, 0)
        return self._cash_at("", self._everything, self._settings.opening_cents)

    def mass_status(self, broker_account: str) -> MassStatus:
        """Return all open orders, positions and cash, after a thorough reading of activities.

        Raises:
            BrokerUnavailableError: If any part was not answered.
        """
        mine = self._mine(broker_account)
        with self._lock:
            if mine:
                self._puller.pull(thoroughly=True, whole=True)
            moving = self._everything().moving if mine else frozenset()
        return MassStatus(
            broker_account=broker_account,
            as_of=self._clock.now(),
            open_orders=self._desk.open_orders() if mine else [],
            positions=self.positions(broker_account),
            cash=self.cash(broker_account),
            moving=moving,
        )

    def _everything(self, after: int = 0) -> Reading:
        whose = self._whose()
        if not whose and self._journal.executions("", 1)[0]:
            raise OwnerUnknownError(_NOBODYS)
        return self._reader.read(self._journal.others(after, IN_PARTS), whose)

    def _whose(self) -> str:
        """Return the firm's account that uses this one; empty if nobody has told us."""
        return self._settings.owner or self._journal.mark(_WHOSE)

    def _claimed(self, broker_account: str) -> str:
        """Return whose this account is; the first one's that trades in one that nobody used.

        Raises:
            OwnerUnknownError: If somebody has used it, and nobody has told us who.
            BrokerUnavailableError: If Alpaca did not answer.
        """
        whose = self._whose()
        if whose:
            return whose
        self._require_fresh(Lane.AT_ONCE)
        with self._marking:
            whose = self._journal.mark(_WHOSE)
            if not whose:
                self._journal.note(_WHOSE, broker_account)
        return whose or broker_account

    def _mine(self, broker_account: str) -> bool:
        whose = self._whose() or self._require_fresh(Lane.ORDERS)
        return whose in {"", broker_account}

    def _require_fresh(self, lane: Lane) -> str:
        """Check that no order was ever sent to this account; return who has sent one meanwhile.

        Raises:
            OwnerUnknownError: If one was: the file that knew for whom is lost.
            BrokerUnavailableError: If Alpaca did not answer.
        """
        query = {"status": "all", "limit": "1"}
        used = rows_of(answered(self._http.get("/orders", query, lane)))
        whose = self._journal.mark(_WHOSE)  # another process may have begun just now
        if used and not whose:
            raise OwnerUnknownError(_NOBODYS)
        return whose
