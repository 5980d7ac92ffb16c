"""What a case works with: tickets that fit the broker, answers as values, and sums of its own."""

import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from broker_adapters.kit.bench import Ability, Bench, Call, SeenOrder, Tempo, Trouble
from broker_adapters.kit.market import APPLE, MICROS
from robo.core.errors import BrokerRejectedError, BrokerUnavailableError
from robo.core.ids import SecurityId
from robo.core.money import NANOS_PER_SHARE, notional_cents
from robo.ports.broker import (
    Activity,
    Broker,
    BrokerOrder,
    BrokerOrderState,
    Capabilities,
    Execution,
    ExecutionKind,
    OrderTicket,
    Side,
    SubmitResult,
    SubmitStatus,
)

SHARE: Final = NANOS_PER_SHARE
_DOLLARS: Final = 10_00
_PAGES_MAX: Final = 2_000
_WAITS: Final = 60
_WAIT_SECONDS: Final = 10.0
_PAGE: Final = 1_000
ALWAYS: Final = 100
"""More often than any adapter repeats a reading."""


@contextmanager
def overheard(level: int) -> Iterator[io.StringIO]:
    """Yield what every logger says from a level on."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


class Desk:
    """An adapter under test with its bench; remembers what it sent, and adds up what came back."""

    def __init__(self, bench: Bench, tempo: Tempo) -> None:
        """Open the adapter; nothing is asked of the broker yet."""
        self.bench = bench
        self.tempo = tempo
        self.broker: Broker = bench.open(tempo)
        self.account = bench.accounts[0]
        self._symbols = {one.id: one.symbol for one in bench.securities}
        self._sent: dict[str, OrderTicket] = {}
        self._since = self._activities_since = ""
        self._cash: dict[str, int] = {}
        self._held: dict[str, dict[SecurityId, int]] = {}

    @property
    def capabilities(self) -> Capabilities:
        """Return what the adapter says it can do."""
        return self.broker.capabilities

    def start(self) -> None:
        """Note where an account that is not new stands before the case begins."""
        self._since = self._end_of(executions=True)
        self._activities_since = self._end_of(executions=False)
        for account in self.bench.accounts:
            self._cash[account] = self.broker.cash(account).total_cents
            self._held[account] = self.positions(account)

    def restart(self) -> None:
        """Forget the process and keep what is on disk and at the broker."""
        self.broker = self.bench.open(self.tempo)

    def wait(self, seconds: float = 60.0) -> None:
        """Let the market go on."""
        self.bench.wait(seconds)

    # tickets

    def order(
        self,
        name: str,
        security_id: SecurityId = APPLE,
        *,
        times: int = 1,
        account: str = "",
    ) -> OrderTicket:
        """Return a buy in the size that suits this broker: ten dollars, or a share."""
        if self.capabilities.notional:
            return self.dollars(name, _DOLLARS * times, security_id, account=account)
        return self.shares(name, SHARE * times, security_id, account=account)

    def dollars(
        self,
        name: str,
        cents: int,
        security_id: SecurityId = APPLE,
        side: Side = Side.BUY,
        *,
        account: str = "",
    ) -> OrderTicket:
        """Return a ticket in dollars."""
        return self._ticket(name, security_id, side, cents, None, account)

    def shares(
        self,
        name: str,
        nanos: int,
        security_id: SecurityId = APPLE,
        side: Side = Side.BUY,
        *,
        account: str = "",
    ) -> OrderTicket:
        """Return a ticket in shares."""
        return self._ticket(name, security_id, side, None, nanos, account)

    def _ticket(
        self,
        name: str,
        security_id: SecurityId,
        side: Side,
        cents: int | None,
        nanos: int | None,
        account: str,
    ) -> OrderTicket:
        symbol = self._symbols.get(security_id, "ZZZZ")
        where = account or self.account
        return OrderTicket(name, where, security_id, symbol, side, cents, nanos)

    # telling

    def send(self, ticket: OrderTicket) -> SubmitResult:
        """Return the answer as the sender of `robo` reads it: an absent one is UNKNOWN."""
        self._sent.setdefault(ticket.client_id, ticket)
        self.bench.tick()
        try:
            return self.broker.submit(ticket)
        except BrokerUnavailableError as error:
            return SubmitResult(SubmitStatus.UNKNOWN, code=error.code)
        except BrokerRejectedError as error:
            return SubmitResult(SubmitStatus.REJECTED, code=error.code)

    def accepted(self, *tickets: OrderTicket) -> None:
        """Send tickets, all of which must be accepted."""
        for ticket in tickets:
            result = self.send(ticket)
            assert result.status is SubmitStatus.ACCEPTED, (ticket, result)

    def refused(self, ticket: OrderTicket) -> SubmitResult:
        """Send a ticket that must be refused as a value, and return the refusal."""
        result = self.send(ticket)
        assert result.status is SubmitStatus.REJECTED, (ticket, result)
        return result

    def found(self, ticket: OrderTicket) -> BrokerOrder:
        """Return an order that the broker must know."""
        order = self.broker.find(ticket.client_id)
        assert order is not None, ticket
        assert order.client_id == ticket.client_id
        return order

    def ended(self, ticket: OrderTicket) -> BrokerOrder:
        """Wait until an order is final, and return it."""
        for _ in range(_WAITS):
            order = self.found(ticket)
            if order.state.final:
                return order
            self.wait(_WAIT_SECONDS)
        message = f"{ticket.client_id} never ended"
        raise AssertionError(message)

    def filled(self, *tickets: OrderTicket) -> list[BrokerOrder]:
        """Send tickets and wait until each is filled."""
        self.accepted(*tickets)
        orders = [self.ended(ticket) for ticket in tickets]
        assert {order.state for order in orders} <= {BrokerOrderState.FILLED}, orders
        return orders

    def hold(self, security_id: SecurityId, shares: int, account: str = "") -> None:
        """Buy whole shares and wait until they are there."""
        name = f"hold-{security_id}-{account or self.account}"
        self.filled(self.shares(name, shares * SHARE, security_id, account=account))

    # reading

    def executions(self, limit: int = _PAGE) -> list[Execution]:
        """Return what has been executed since the case began, page by page."""
        return self.executions_after(self._since, limit)

    def executions_after(self, cursor: str, limit: int = _PAGE) -> list[Execution]:
        """Return everything after a cursor, page by page."""
        out: list[Execution] = []
        for _ in range(_PAGES_MAX):
            page = self.broker.executions(cursor, limit)
            if not page.executions:
                return out
            out += page.executions
            cursor = page.cursor
        message = "the pages of executions never end"
        raise AssertionError(message)

    def of(self, ticket: OrderTicket) -> list[Execution]:
        """Return the executions of one ticket."""
        return [one for one in self.executions() if one.client_id == ticket.client_id]

    def activities(self, limit: int = _PAGE) -> list[Activity]:
        """Return what moved without an order since the case began, page by page."""
        cursor, out = self._activities_since, list[Activity]()
        for _ in range(_PAGES_MAX):
            page = self.broker.activities(cursor, limit)
            if not page.activities:
                return out
            out += page.activities
            cursor = page.cursor
        message = "the pages of activities never end"
        raise AssertionError(message)

    def positions(self, account: str = "") -> dict[SecurityId, int]:
        """Return nanoshares by security."""
        told = self.broker.positions(account or self.account)
        held = {one.security_id: one.nanos for one in told}
        assert len(held) == len(told), "a name stands twice"
        return held

    def held(self, security_id: SecurityId = APPLE, account: str = "") -> int:
        """Return the nanoshares of one name that the case has brought in."""
        where = account or self.account
        return self.positions(where).get(security_id, 0) - self._held[where].get(security_id, 0)

    def cents(self, account: str = "") -> int:
        """Return the cash that the case has brought in (or, negative, spent)."""
        where = account or self.account
        return self.broker.cash(where).total_cents - self._cash[where]

    # the other side of the wire

    def trouble(self, trouble: Trouble, call: Call, *, nth: int = 1, times: int = 1) -> None:
        """Plan trouble."""
        self.bench.trouble(trouble, call, nth=nth, times=times)

    def unreadable(self, trouble: Trouble, call: Call, read: Callable[[], object]) -> None:
        """Assert that a reading is "unavailable" while there is trouble; then end the trouble."""
        self.trouble(trouble, call, times=ALWAYS)
        try:
            told = read()
        except BrokerUnavailableError:
            self.bench.calm()
            return
        message = f"{call.value} cannot be read ({trouble.value}), and the adapter says {told!r}"
        raise AssertionError(message)

    def sightings(self, ticket: OrderTicket) -> list[SeenOrder]:
        """Return the orders that the broker itself has for what a ticket was for."""
        return [
            one
            for one in self.bench.seen()
            if (one.symbol, one.side, one.broker_account)
            == (ticket.symbol, ticket.side, ticket.broker_account)
        ]

    def exactly_one(self, ticket: OrderTicket) -> None:
        """Assert that the broker has one order for a ticket, of its size, if it can be seen."""
        if Ability.LEDGER in self.bench.abilities:
            (seen,) = self.sightings(ticket)
            assert seen.client_id == ticket.client_id
            assert (seen.notional_cents, seen.nanos) == (ticket.notional_cents, ticket.nanos)
        same(ticket, self.found(ticket))

    def nothing_arrived(self) -> None:
        """Assert that no order is at the broker."""
        if Ability.LEDGER in self.bench.abilities:
            assert self.bench.seen() == []
        assert self.executions() == []

    # sums

    def books_agree(self) -> None:
        """Assert that positions and cash are the fold of what happened, account by account."""
        executions, activities = self.executions(), self.activities()
        for account in self.bench.accounts:
            mine = [e for e in executions if self._sent[e.client_id].broker_account == account]
            moved = [a for a in activities if (a.broker_account or self.account) == account]
            shares = Counter(self._held[account])
            shares.update(fold(mine, moved))
            assert self.positions(account) == {i: nanos for i, nanos in shares.items() if nanos}
            assert self.cents(account) == net_cents(mine, moved)

    def _end_of(self, *, executions: bool) -> str:
        cursor = ""
        for _ in range(_PAGES_MAX):
            if executions:
                page = self.broker.executions(cursor, _PAGE)
                empty, after = not page.executions, page.cursor
            else:
                told = self.broker.activities(cursor, _PAGE)
                empty, after = not told.activities, told.cursor
            if empty:
                return cursor
            cursor = after
        message = "the pages never end"
        raise AssertionError(message)


def same(ticket: OrderTicket, order: BrokerOrder) -> None:
    """Assert that an order says what its ticket said."""
    assert order.client_id == ticket.client_id
    assert order.security_id == ticket.security_id
    assert order.side is ticket.side
    assert (order.notional_cents, order.nanos) == (ticket.notional_cents, ticket.nanos)


def changed(ticket: OrderTicket, security_id: SecurityId, symbol: str) -> OrderTicket:
    """Return the ticket for another security under the same id."""
    return replace(ticket, security_id=security_id, symbol=symbol)


def fold(executions: Iterable[Execution], activities: Iterable[Activity]) -> Counter[SecurityId]:
    """Return positions recomputed from what happened, sharing nothing with the adapter."""
    out: Counter[SecurityId] = Counter()
    for execution in executions:
        sign = 1 if execution.side is Side.BUY else -1
        out[execution.security_id] += sign * _once(execution) * execution.nanos
    for activity in activities:
        out[activity.security_id] += activity.nanos_delta
        if activity.new_security_id is not None:
            out[activity.new_security_id] += activity.new_nanos
    return out


def net_cents(executions: Sequence[Execution], activities: Sequence[Activity]) -> int:
    """Return the cash that executions and activities brought."""
    trading = sum(
        _once(e) * (-e.cents - e.fee_cents if e.side is Side.BUY else e.cents - e.fee_cents)
        for e in executions
    )
    return trading + sum(a.cents for a in activities)


def _once(execution: Execution) -> int:
    return 1 if execution.kind is ExecutionKind.TRADE else -1


def worth_cents(nanos: int, security_id: SecurityId = APPLE) -> int:
    """Return what shares cost at the kit's first price."""
    return notional_cents(nanos, MICROS[security_id])
