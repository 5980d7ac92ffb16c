"""Sloppy adapters of the optional groups: accounts, journals, documents, events."""

import logging
from dataclasses import replace

from alpaca_broker_bench import AlpacaBrokerBench
from broker_mutants import MUTANTS, mutant

from broker_adapters.alpaca_broker import AlpacaBroker
from broker_adapters.alpaca_settings import read_broker
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.ports.brokerage import CustodyState, Outcome

__all__ = ["MUTANTS"]


class Sloppy(AlpacaBroker):
    """What a mutant is made from, as an adapter's factory would."""

    def __init__(self, context):
        super().__init__(context, read_broker(context.settings))


@mutant("K-213", AlpacaBrokerBench)
class UnheardApplicationIsRefused(Sloppy):
    """An application whose answer did not come is called refused."""

    def open_account(self, application):
        result = super().open_account(application)
        unheard = result.outcome is Outcome.UNKNOWN
        return replace(result, outcome=Outcome.REFUSED) if unheard else result


@mutant("K-217", AlpacaBrokerBench)
class UnreadAccountIsNone(Sloppy):
    """An account that cannot be read does not exist."""

    def account(self, broker_account):
        try:
            return super().account(broker_account)
        except BrokerUnavailableError:
            return None


@mutant("K-218", AlpacaBrokerBench)
class NewWordIsActive(Sloppy):
    """An account in a state that nobody knows may trade."""

    def account(self, broker_account):
        told = super().account(broker_account)
        odd = told is not None and told.state is CustodyState.UNKNOWN
        return replace(told, state=CustodyState.ACTIVE) if odd else told


@mutant("K-219", AlpacaBrokerBench)
class PeopleInLogs(Sloppy):
    """It logs whom it applies for."""

    def open_account(self, application):
        logging.getLogger("sloppy").info("applying for %s", application.email)
        return super().open_account(application)


@mutant("K-222", AlpacaBrokerBench)
class JournalsRetried(Sloppy):
    """A journal whose answer is lost is asked for again under a new id."""

    def journal(self, request):
        result = super().journal(request)
        if result.outcome is Outcome.UNKNOWN:
            return super().journal(replace(request, id=f"{request.id}-again"))
        return result


@mutant("K-233", AlpacaBrokerBench)
class UnreadDocumentsAreNone(Sloppy):
    """Documents that cannot be listed are an empty list."""

    def documents(self, broker_account):
        try:
            return super().documents(broker_account)
        except BrokerUnavailableError:
            return []


@mutant("K-242", AlpacaBrokerBench)
class EventsMovedByReading(Sloppy):
    """It keeps the cursor of events itself and moves it when a page is read."""

    def custody_events(self, stream, after, limit=1000):
        self.read = getattr(self, "read", {})
        page = super().custody_events(stream, max(after, self.read.get(stream, "")), limit)
        self.read[stream] = page.cursor
        return page


@mutant("K-247", AlpacaBrokerBench)
class FoolishCursorIsTheStart(Sloppy):
    """A cursor of events that it cannot read means "from the start"."""

    def custody_events(self, stream, after, limit=1000):
        try:
            return super().custody_events(stream, after, limit)
        except InvalidInputError:
            return super().custody_events("accounts", "", limit)


@mutant("K-252", AlpacaBrokerBench)
class CursorOfAnOddEvent(Sloppy):
    """It goes on from the last id that was told, whatever that is."""

    def custody_events(self, stream, after, limit=1000):
        page = super().custody_events(stream, after, limit)
        return replace(page, cursor=max([page.cursor, *(one.id for one in page.events)]))


@mutant("K-256", AlpacaBrokerBench)
class EventsToldOnce(Sloppy):
    """What it has handed out once it never tells again."""

    def custody_events(self, stream, after, limit=1000):
        page = super().custody_events(stream, after, limit)
        self.told = getattr(self, "told", set())
        fresh = [one for one in page.events if one.id not in self.told]
        self.told |= {one.id for one in page.events}
        return replace(page, events=fresh)
