"""Sloppy adapters: each has one fault that real adapters have had, and nothing else wrong."""

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import requests
from alpaca_benches import AlpacaTradingBench
from alpaca_broker_bench import AlpacaBrokerBench
from drivewealth_adapter import DriveWealthBroker
from drivewealth_server import DriveWealthBench

from broker_adapters import alpaca_broker, alpaca_trading
from broker_adapters.kit.practice import PracticeBench
from broker_adapters.kit.template import TemplateBroker
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.core.shares import parse_nanos
from robo.ports.broker import (
    BrokerCash,
    BrokerOrderState,
    ExecutionPage,
    MassStatus,
    Refusal,
    SubmitResult,
    SubmitStatus,
)

MUTANTS = {}
"""Name -> Mutant."""


@dataclass(frozen=True)
class Mutant:
    name: str
    fault: str
    case_id: str
    bench: type
    create: Callable


def mutant(case_id, bench=PracticeBench):
    """Put a factory or an adapter class on the list, with the case that must catch it."""

    def note(create):
        fault = create.__doc__.strip().splitlines()[0]
        MUTANTS[create.__name__] = Mutant(create.__name__, fault, case_id, bench, create)
        return create

    return note


# answers that were not heard


@mutant("K-033", AlpacaTradingBench)
def stock_retries_on(context):
    """The client repeats a POST after 429 and 504, as alpaca-py does by itself."""
    broker = alpaca_trading.create(context)
    client = broker._http._client

    def patient(method, url, opts, _retry):
        for _ in range(4):
            response = client._session.request(method, url, **opts)
            if response.status_code not in {429, 504}:
                break
        return response

    client._one_request = patient
    return broker


@mutant("K-041")
class RetriesWhenThrottled(TemplateBroker):
    """It repeats an order after "too many requests"."""

    def submit(self, ticket):
        result = super().submit(ticket)
        return super().submit(ticket) if result.status is SubmitStatus.THROTTLED else result


@mutant("K-031")
class CatchAllFailed(TemplateBroker):
    """Whatever goes wrong is called rejected."""

    def submit(self, ticket):
        result = super().submit(ticket)
        if result.status is SubmitStatus.UNKNOWN:
            return replace(result, status=SubmitStatus.REJECTED, refusal=Refusal.OTHER)
        return result


@mutant("K-036")
class UnreadableIsRejected(TemplateBroker):
    """An answer that cannot be parsed is called rejected; the connection's end is not."""

    def submit(self, ticket):
        ask, told = self._wire.ask, []

        def hear(*given):
            try:
                answer = ask(*given)
            except BrokerUnavailableError:
                told.append(SubmitStatus.REJECTED)
                raise
            return answer

        self._wire.ask = hear
        result = super().submit(ticket)
        self._wire.ask = ask
        return replace(result, status=told[0]) if told else result


@mutant("K-031")
class NewIdPerRetry(TemplateBroker):
    """It tells an order again under a new id when no answer came."""

    def submit(self, ticket):
        result = super().submit(ticket)
        if result.status is SubmitStatus.UNKNOWN:
            return super().submit(replace(ticket, client_id=f"{ticket.client_id}-2"))
        return result


@mutant("K-011")
class NoClientId(TemplateBroker):
    """It lets the broker name the order, and remembers nothing."""

    def submit(self, ticket):
        return super().submit(replace(ticket, client_id=secrets.token_hex(8)))


@mutant("K-042")
class KeysRefusedIsRejected(TemplateBroker):
    """A 401 is an order that was refused."""

    def submit(self, ticket):
        result = super().submit(ticket)
        if result.refusal is Refusal.CREDENTIALS:
            return replace(result, status=SubmitStatus.REJECTED)
        return result


@mutant("K-043")
class FollowsRedirects(TemplateBroker):
    """It follows a redirect and believes what the log-in page says."""

    def __init__(self, context):
        super().__init__(context)
        self._wire.ask = self._followed(self._wire)

    @staticmethod
    def _followed(wire):
        def ask(method, path, query, body=None):
            answer = requests.request(
                method,
                wire._url + path,
                params=query,
                json=body,
                headers={"X-Practice-Key": wire._key},
                timeout=wire._seconds,
                proxies={"http": ""},
            )
            return answer.status_code, json.loads(answer.content)

        return ask


@mutant("K-034")
class WaitsForEver(TemplateBroker):
    """It has no time limit."""

    def __init__(self, context):
        super().__init__(context)
        self._wire._seconds = None


@mutant("K-044")
class NewWordIsRejected(TemplateBroker):
    """A state that it does not know is a rejected order."""

    def _order(self, row):
        order = super()._order(row)
        known = row["state"] in set(BrokerOrderState)
        return order if known else replace(order, state=BrokerOrderState.REJECTED)


@mutant("K-012")
class DuplicateIsNew(TemplateBroker):
    """An id that is taken already is called accepted, unseen."""

    def submit(self, ticket):
        result = super().submit(ticket)
        if result.status is SubmitStatus.DUPLICATE:
            return replace(result, status=SubmitStatus.ACCEPTED)
        return result


@mutant("K-012")
class DuplicateIsRejected(TemplateBroker):
    """An id that is taken already is called rejected, so that the order is given up while live."""

    def submit(self, ticket):
        result = super().submit(ticket)
        if result.status is SubmitStatus.DUPLICATE:
            return replace(result, status=SubmitStatus.REJECTED)
        return result


# readings that failed


@mutant("K-051")
class PositionsEmptyOnError(TemplateBroker):
    """Positions that cannot be read are an empty list."""

    def positions(self, broker_account):
        try:
            return super().positions(broker_account)
        except BrokerUnavailableError:
            return []


@mutant("K-052")
class CashZeroOnError(TemplateBroker):
    """Cash that cannot be read is zero."""

    def cash(self, broker_account):
        try:
            return super().cash(broker_account)
        except BrokerUnavailableError:
            return BrokerCash(0, 0)


@mutant("K-053")
class ExecutionsEmptyOnError(TemplateBroker):
    """Executions that cannot be read are an empty page."""

    def executions(self, after, limit=1000):
        try:
            return super().executions(after, limit)
        except BrokerUnavailableError:
            return ExecutionPage([], after)


@mutant("K-054")
class AbsentOnError(TemplateBroker):
    """An order that cannot be looked up does not exist."""

    def find(self, client_id):
        try:
            return super().find(client_id)
        except BrokerUnavailableError:
            return None


@mutant("K-056")
class HalfStatus(TemplateBroker):
    """A mass status leaves out what could not be read."""

    def mass_status(self, broker_account):
        positions, cash = [], BrokerCash(0, 0)
        with suppress(BrokerUnavailableError):
            positions = self.positions(broker_account)
        with suppress(BrokerUnavailableError):
            cash = self.cash(broker_account)
        return MassStatus(broker_account, self._clock.now(), [], positions, cash)


@mutant("K-059")
class AnswersFromMemory(TemplateBroker):
    """When positions cannot be read it says what they were."""

    def positions(self, broker_account):
        try:
            self.last = super().positions(broker_account)
        except BrokerUnavailableError:
            return self.last
        return self.last


# pages


@mutant("K-092")
class PageSizeIgnored(TemplateBroker):
    """It hands out whatever page the broker sends, however long."""

    def executions(self, after, _limit=1000):
        return super().executions(after, 1000)


@mutant("K-100")
class FirstPageOnly(TemplateBroker):
    """It takes the first page for all there is."""

    def executions(self, after, limit=1000):
        page = super().executions(after, limit)
        if after:
            return ExecutionPage([], after)
        return page


@mutant("K-098")
class CursorMovedByReading(TemplateBroker):
    """It keeps the cursor itself and moves it when a page is read, before anything is booked."""

    mine = ""

    def executions(self, _after, limit=1000):
        page = super().executions(self.mine, limit)
        self.mine = page.cursor
        return page


@mutant("K-099")
class BadCursorIsTheStart(TemplateBroker):
    """A cursor that it does not know means "from the start"."""

    def executions(self, after, limit=1000):
        try:
            return super().executions(after, limit)
        except InvalidInputError:
            return super().executions("", limit)


@mutant("K-101")
class IdsOfRows(TemplateBroker):
    """An execution's id is its place on the page."""

    def executions(self, after, limit=1000):
        page = super().executions(after, limit)
        named = [replace(one, id=f"{after}-{i}") for i, one in enumerate(page.executions)]
        return ExecutionPage(named, page.cursor)


# amounts


@mutant("K-064")
class CumulativeAsIncremental(TemplateBroker):
    """The order's running total is told as each execution's own shares."""

    def executions(self, after, limit=1000):
        page = super().executions(after, limit)
        totals, told = {}, []
        for one in page.executions:
            totals[one.client_id] = totals.get(one.client_id, 0) + one.nanos
            told.append(replace(one, nanos=totals[one.client_id]))
        return ExecutionPage(told, page.cursor)


@mutant("K-142")
class FloatQuantities(TemplateBroker):
    """Shares go through a binary float on their way out."""

    def submit(self, ticket):
        if ticket.nanos is None:
            return super().submit(ticket)
        nanos = parse_nanos(format(Decimal(repr(float(Decimal(ticket.nanos) / 10**9))), "f"))
        return super().submit(replace(ticket, nanos=nanos))


@mutant("K-143")
class FloatDollars(TemplateBroker):
    """Dollars become cents by a float that is cut off."""

    def submit(self, ticket):
        if ticket.notional_cents is None:
            return super().submit(ticket)
        dollars = ticket.notional_cents / 100
        return super().submit(replace(ticket, notional_cents=int(dollars * 100)))


@mutant("K-141")
class SixDecimals(TemplateBroker):
    """Shares are rounded to six decimals."""

    def submit(self, ticket):
        if ticket.nanos is None:
            return super().submit(ticket)
        return super().submit(replace(ticket, nanos=ticket.nanos // 1000 * 1000))


@mutant("K-144")
class DollarsIntoShares(TemplateBroker):
    """It turns dollars into shares at a price of its own."""

    def submit(self, ticket):
        if ticket.notional_cents is None:
            return super().submit(ticket)
        nanos = ticket.notional_cents * 10**9 // 10_000
        return super().submit(replace(ticket, notional_cents=None, nanos=nanos))


@mutant("K-113")
class CashInDollars(TemplateBroker):
    """Cash comes in dollars instead of cents."""

    def cash(self, broker_account):
        cash = super().cash(broker_account)
        return BrokerCash(cash.total_cents // 100, cash.settled_cents // 100)


@mutant("K-074")
class FeesForgotten(TemplateBroker):
    """Fees are left out."""

    def _execution(self, row):
        return replace(super()._execution(row), fee_cents=0)


@mutant("K-071")
class SettlesAtOnce(TemplateBroker):
    """Everything settles on its day."""

    def _execution(self, row):
        one = super()._execution(row)
        return replace(one, settles_on=one.executed_at.date())


@mutant("K-070")
class LocalTimes(TemplateBroker):
    """Times are New York's, without saying so."""

    def _execution(self, row):
        one = super()._execution(row)
        return replace(one, executed_at=(one.executed_at - timedelta(hours=5)).replace(tzinfo=None))


# ids


@mutant("K-019")
class IdsCut(TemplateBroker):
    """Ids are cut to what the broker's column holds."""

    def submit(self, ticket):
        return super().submit(replace(ticket, client_id=ticket.client_id[:48]))


@mutant("K-021")
class IdsLowered(TemplateBroker):
    """Ids lose their case."""

    def submit(self, ticket):
        return super().submit(replace(ticket, client_id=ticket.client_id.lower()))

    def find(self, client_id):
        return super().find(client_id.lower())


@mutant("K-191")
class AddressNotQuoted(TemplateBroker):
    """The id is pasted into the address."""

    def find(self, client_id):
        status, body = self._wire.ask("GET", f"/orders?id={client_id}", {})
        return None if status == 404 else self._read(body, self._order)


@mutant("K-025")
class OneAccountForAll(TemplateBroker):
    """Every account's positions are the first one's."""

    def positions(self, broker_account):
        del broker_account
        return super().positions("kit-1")


# cancels and refusals


@mutant("K-086")
class CancelTakenIsCanceled(TemplateBroker):
    """An order whose cancel was taken is called cancelled at once."""

    def cancel(self, client_id):
        result = super().cancel(client_id)
        self.cancelled = getattr(self, "cancelled", set()) | {client_id}
        return result

    def find(self, client_id):
        order = super().find(client_id)
        if order is not None and client_id in getattr(self, "cancelled", set()):
            return replace(order, state=BrokerOrderState.CANCELED)
        return order


@mutant("K-081")
class CanceledHasNothing(TemplateBroker):
    """A cancelled order has filled nothing."""

    def _order(self, row):
        order = super()._order(row)
        if order.state is BrokerOrderState.CANCELED:
            return replace(order, filled_nanos=0, filled_cents=0)
        return order


@mutant("K-065")
class PartIsAll(TemplateBroker):
    """An order that has filled in part is called filled."""

    def _order(self, row):
        order = super()._order(row)
        if order.state is BrokerOrderState.OPEN and order.filled_nanos:
            return replace(order, state=BrokerOrderState.FILLED)
        return order


@mutant("K-123")
class EveryNoIsTheSame(TemplateBroker):
    """Refusals are not told apart."""

    def submit(self, ticket):
        result = super().submit(ticket)
        if result.status is SubmitStatus.REJECTED:
            return SubmitResult(SubmitStatus.REJECTED, code="failed", refusal=Refusal.OTHER)
        return result


@mutant("K-196")
class KeysInErrors(TemplateBroker):
    """Its errors repeat the request with its keys."""

    def positions(self, broker_account):
        try:
            return super().positions(broker_account)
        except BrokerUnavailableError as error:
            message = f"no answer to GET /positions with {self._wire._key}"
            raise BrokerUnavailableError(message) from error


# money


@mutant("K-204", DriveWealthBench)
class TransfersRetried(DriveWealthBroker):
    """A transfer whose answer is lost is asked for again, as a new one."""

    def transfer(self, request):
        result = super().transfer(request)
        if result.outcome.value == "unknown":
            return super().transfer(replace(request, id=f"{request.id}-again"))
        return result


@mutant("K-204", AlpacaBrokerBench)
def transfers_retried_at_alpaca(context):
    """A transfer is asked for again when its answer is lost, at a broker that knows no ids."""
    broker = alpaca_broker.create(context)
    post = broker._http.post

    def insisting(path, body, lane, **more):
        try:
            return post(path, body, lane, **more)
        except BrokerUnavailableError:
            if not path.endswith("/transfers"):
                raise
            return post(path, body, lane, **more)

    broker._http.post = insisting
    return broker
