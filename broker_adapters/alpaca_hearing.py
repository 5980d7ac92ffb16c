"""What both Alpaca adapters share: the client, the journal, and what is read through them.

The Trading API and the Broker API tell the same things of an account; where an account is, and
which rows are whose, is the adapter's own. See docs/alpaca.md.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from threading import Lock, RLock
from typing import Final

from broker_adapters.alpaca_activities import ALONE, ActivityReader, Reading
from broker_adapters.alpaca_fields import rows_of
from broker_adapters.alpaca_fills import FillDesk
from broker_adapters.alpaca_http import AlpacaHttp
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_orders import answered, assets
from broker_adapters.alpaca_pace import Lane, Pace
from broker_adapters.alpaca_pull import Puller
from broker_adapters.alpaca_settings import AlpacaSettings
from broker_adapters.alpaca_symbols import Symbols
from broker_adapters.alpaca_wire import parse_account, parse_position
from robo.core.clock import business_date
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.ports.broker import ActivityPage, BrokerCash, ExecutionPage, Position
from robo.ports.brokerage import Asset
from robo.ports.plugins import PluginContext

_SHARES_LATE_DAYS: Final = 4
"""A long weekend: so long after cash of a spin-off its shares may still be told."""


class AlpacaHearing(ABC):
    """Owns lock, client, journal, symbols, puller and reader of one set of keys."""

    def __init__(
        self,
        context: PluginContext,
        given: AlpacaSettings,
        kind: str,
        activities: str,
        orders: Callable[[str], str],
    ) -> None:
        """Build the client; nothing is sent before the first call.

        Args:
            context: Where the journal is kept, clock, sessions, securities, corporate actions.
            given: Keys, address and pace.
            kind: Names the files: `trading` or `broker`, which also chooses the client.
            activities: The path of the list of activities.
            orders: Account -> the path of its orders.
        """
        self._settings, self._clock = given, context.clock
        self._lock = RLock()
        self._marking = Lock()
        """Held while a mark is looked at and set, never while Alpaca is asked: an order must not
        wait for the end of a long reading, which holds the other lock."""
        self._http = AlpacaHttp(
            given.keys, given.url, Pace(given.per_minute), broker=kind == "broker"
        )
        name = hashlib.sha256(f"{given.url} {given.keys.id}".encode()).hexdigest()[:16]
        self._folder, self._name = context.state_dir / "alpaca", name
        self._journal = AlpacaJournal(self._folder / f"{kind}-{name}.db")
        actions = context.prices.actions if context.prices is not None else lambda _: ()
        self._symbols = Symbols(context.securities, self._journal, context.clock, actions)
        security = self._symbols.security
        fills = FillDesk(
            self._http,
            self._journal,
            context.clock,
            context.calendar,
            security,
            orders,
            self._remember,
        )
        self._puller = Puller(self._http, self._journal, context.clock, fills, activities)
        self._reader = ActivityReader(security, actions)

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
            reading = self._everything(start)
            if self._stands_alone(reading):
                reading = self._everything(start)
        page = [one for one in reading.activities if one[0] > start][:limit]
        if unheard is not None and not page:
            raise unheard
        cursor = self._journal.cursor(page[-1][0], page[-1][1]) if page else after
        return ActivityPage([one for _, _, one in page], cursor)

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

    def _remember(self, client_id: str, broker_account: str) -> None:
        """Take note of an order that was looked up because our file did not know it."""
        del client_id, broker_account  # one account for all: there is nothing to tell apart

    @abstractmethod
    def _everything(self, after: int = 0) -> Reading:
        """Return what the journal holds beside executions, of whichever account.

        What has a number up to `after` may be left out, as long as everything later is right.
        """

    def _pulled(self) -> BrokerUnavailableError | None:
        """Read what is new; return why not, if it was not answered."""
        try:
            self._puller.pull()
        except BrokerUnavailableError as error:
            return error
        return None

    def _stands_alone(self, reading: Reading) -> bool:
        """Write that cash of spin-offs has waited long enough for shares; return if any has."""
        today = business_date(self._clock.now())
        long = [one for one in reading.alone if (today - one.on).days > _SHARES_LATE_DAYS]
        if long:
            self._journal.write([], [(one.key + ALONE, one.body) for one in long])
        return bool(long)

    def _positions_at(self, prefix: str) -> list[Position]:
        """Return every position below a path; one in no security of ours has the id 0."""
        rows = rows_of(answered(self._http.get(f"{prefix}/positions", {}, Lane.READS)))
        found = [parse_position(row) for row in rows]
        return [
            Position(self._symbols.security(one.symbol), one.nanos, one.symbol)
            for one in found
            if one.nanos
        ]

    def _cash_at(
        self, prefix: str, read: Callable[[], Reading], base_cents: int, *, heard: bool = False
    ) -> BrokerCash:
        """Return the net cash of trading: the account's, less what was moved in from outside.

        `heard` says that everything was read a moment ago; what has come since is told as an
        activity that nobody has read.
        """
        with self._lock:
            if not heard:
                self._puller.pull(whole=True)
            base_cents += read().outside_cents
        account = parse_account(answered(self._http.get(f"{prefix}/account", {}, Lane.READS)))
        return BrokerCash(
            total_cents=account.cash_cents - base_cents,
            settled_cents=account.withdrawable_cents - base_cents,
            spendable_cents=0 if account.blocked else account.spendable_cents,
        )
