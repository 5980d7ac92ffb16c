"""Events by a cursor of ours (group `events`)."""

from datetime import UTC, timedelta
from typing import Final, cast

from broker_adapters.kit.bench import Ability, Call, Trouble
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.cases_onboarding import NEW_WORD, active, applied
from broker_adapters.kit.desk import Desk
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.ports.brokerage import (
    CashRequest,
    CashState,
    CustodyEvent,
    CustodyEventPage,
    Events,
    Funding,
    JournalRequest,
    Journals,
)
from robo.ports.funding import TransferDirection
from robo.ports.terms import Group

_PAGES_MAX: Final = 500
_PAGE: Final = 1_000
_SHORT: Final = 2
_CENTS: Final = 50_00


class _Teller:
    """The stream that a broker with this group has, and something that it tells of."""

    def __init__(self, desk: Desk) -> None:
        """Choose the stream: accounts where they are opened there, else transfers."""
        self.desk = desk
        opens = Group.ONBOARDING in desk.capabilities.groups
        self.stream = "accounts" if opens else "transfers"

    def happens(self, name: str) -> str:
        """Let something happen from beginning to end; return what events call it."""
        if self.stream == "accounts":
            account = applied(self.desk, self.desk.bench.person(name))
            active(self.desk, account)
            return account
        return self.transferred(name)

    def transferred(self, name: str) -> str:
        """Let money come in; return the transfer's id at the broker."""
        desk, funding = self.desk, cast("Funding", self.desk.broker)
        link = funding.link_bank(desk.account, desk.bench.bank()).relationship
        assert link is not None
        pull = TransferDirection.PULL
        told = funding.transfer(CashRequest(name, desk.account, link.id, pull, _CENTS)).transfer
        assert told is not None
        desk.wait()
        return told.broker_id

    def page(self, cursor: str, limit: int = _PAGE) -> CustodyEventPage:
        """Return a page; the cursors here are the adapter's own, which it must take."""
        try:
            return cast("Events", self.desk.broker).custody_events(self.stream, cursor, limit)
        except InvalidInputError as error:
            message = f"it refuses {cursor!r}, which it gave itself"
            raise AssertionError(message) from error

    def read(self, cursor: str, limit: int = _PAGE) -> tuple[list[CustodyEvent], str]:
        """Return every event after a cursor, page by page, and the last cursor."""
        out: list[CustodyEvent] = []
        for _ in range(_PAGES_MAX):
            page = self.page(cursor, limit)
            assert len(page.events) <= limit
            out += page.events
            if not page.events and page.cursor == cursor:
                return out, cursor
            cursor = page.cursor
        message = "the pages of events never end"
        raise AssertionError(message)

    def about(self, events: list[CustodyEvent], subject: str) -> list[str]:
        """Return the states that something came into, each event once, in the order of time."""
        mine = {one.id: one for one in events if subject in {one.subject, one.broker_account}}
        return [one.word_to for one in sorted(mine.values(), key=lambda one: (one.at, one.id))]


@case(241, Need.EVENTS)
def every_step_is_told(desk: Desk) -> None:
    """Each step of what happens at the broker is told: of what, from which state to which, when."""
    teller, before = _Teller(desk), desk.bench.clock.now()
    _, start = teller.read("")

    subject = teller.happens("ann")
    events, _ = teller.read(start)

    mine = [one for one in events if subject in {one.subject, one.broker_account}]
    assert mine
    assert len({one.id for one in mine}) == len(mine)
    # What comes from where nothing has been is the first step, and there is one of it.
    assert len({one.word_from for one in mine} - {one.word_to for one in mine}) == 1
    assert all(one.subject and one.broker_account and one.id and one.word_to for one in mine)
    late = desk.bench.clock.now() + timedelta(minutes=1)
    for one in mine:
        assert one.at.utcoffset() == UTC.utcoffset(None)
        assert before - timedelta(minutes=1) <= one.at <= late


@case(242, Need.EVENTS)
def reading_moves_no_cursor_of_events(desk: Desk) -> None:
    """A page of events whose booking failed is asked again and says the same."""
    teller = _Teller(desk)
    teller.happens("ann")
    _, start = teller.read("")
    teller.happens("bob")

    first = teller.page(start)
    again = [teller.page(start) for _ in range(2)]

    assert first.events
    for page in again:
        assert {one.id for one in page.events} == {one.id for one in first.events}
    assert teller.read(first.cursor)[0] == []


@case(243, Need.EVENTS, Ability.REOPEN)
def a_stored_cursor_goes_on(desk: Desk) -> None:
    """A cursor that was stored goes on in another process: what came since is told, all of it."""
    teller = _Teller(desk)
    teller.happens("ann")
    old, start = teller.read("")
    subject = teller.happens("bob")
    before = teller.about(teller.read(start)[0], subject)

    desk.restart()
    told, _ = teller.read(start)

    assert before
    assert teller.about(told, subject) == before
    known = {one.id: one for one in old}
    assert all(known[one.id] == one for one in told if one.id in known)


@case(244, Need.EVENTS, Ability.REOPEN)
def what_was_read_and_not_stored(desk: Desk) -> None:
    """What a process read and did not live to store is told to the next, from the old cursor."""
    teller = _Teller(desk)
    _, start = teller.read("")
    subject = teller.happens("ann")
    lost, _ = teller.read(start)

    desk.restart()

    assert teller.about(lost, subject)
    for cursor in (start, ""):
        assert teller.about(teller.read(cursor)[0], subject) == teller.about(lost, subject)


@case(245, Need.EVENTS, Ability.REOPEN)
def events_in_short_pages(desk: Desk) -> None:
    """In pages of any length come the same events, and every process comes to the end."""
    teller = _Teller(desk)
    for name in ("ann", "bob"):
        teller.happens(name)

    everything = {one.id for one in teller.read("")[0]}
    desk.restart()
    short, end = teller.read("", _SHORT)
    desk.restart()

    assert {one.id for one in short} == everything
    _, end = teller.read(end, 1)
    assert list(teller.page(end).events) == []


@case(246, Need.EVENTS)
def the_end_of_events_stays_the_end(desk: Desk) -> None:
    """At the end there is nothing, and the cursor is the one it was asked with."""
    teller = _Teller(desk)
    teller.happens("ann")
    _, end = teller.read("")

    for _ in range(2):
        page = teller.page(end)
        assert (list(page.events), page.cursor, page.gap) == ([], end, False)


@case(247, Need.EVENTS)
def foolish_cursors_of_events(desk: Desk) -> None:
    """A cursor or a stream that is not the broker's is refused, never read as "from the start"."""
    teller = _Teller(desk)
    teller.happens("ann")

    for stream, cursor in ((teller.stream, "nonsense"), ("gossip", "")):
        try:
            told = cast("Events", desk.broker).custody_events(stream, cursor)
        except InvalidInputError:
            continue
        message = f"{stream!r} after {cursor!r} is read as {told!r}"
        raise AssertionError(message)


@case(248, Need.EVENTS, Trouble.BUSY)
def events_that_cannot_be_read(desk: Desk) -> None:
    """Events that cannot be read are unavailable, never none; afterwards nothing is missing."""
    teller = _Teller(desk)
    _, start = teller.read("")
    subject = teller.happens("ann")
    for trouble in (Trouble.BUSY, Trouble.LOCKED, Trouble.LOST_BEFORE):
        if trouble in desk.bench.troubles:
            desk.unreadable(trouble, Call.EVENTS, lambda: teller.page(start))
    assert teller.about(teller.read(start)[0], subject)


@case(249, Need.EVENTS, Trouble.SWAPPED)
def events_out_of_order_and_twice(desk: Desk) -> None:
    """Events that come twice or in another order are known by their ids, and none is lost."""
    teller = _Teller(desk)
    _, start = teller.read("")
    subject = teller.happens("ann")
    for trouble in (Trouble.SWAPPED, Trouble.REPEATED):
        desk.restart()
        desk.trouble(trouble, Call.EVENTS, times=100)
        told, _ = teller.read(start, _SHORT)
        desk.bench.calm()

        desk.restart()
        assert teller.about(told, subject) == teller.about(teller.read(start)[0], subject)
        same = {one.id: one for one in told}
        assert all(same[one.id] == one for one in told)


@case(250, Need.EVENTS, Trouble.HALF_AFTER)
def events_that_break_off(desk: Desk) -> None:
    """What breaks off in the middle of an event is told later: nothing is lost for good."""
    teller = _Teller(desk)
    _, start = teller.read("")
    subject = teller.happens("ann")
    told, cursor = list[CustodyEvent](), start

    desk.trouble(Trouble.HALF_AFTER, Call.EVENTS)
    try:
        page = teller.page(start)
        told, cursor = list(page.events), page.cursor
    except BrokerUnavailableError:
        pass
    desk.bench.calm()
    told += teller.read(cursor)[0]

    desk.restart()
    assert teller.about(told, subject) == teller.about(teller.read(start)[0], subject)


@case(251, Need.EVENTS, Trouble.DROPPED)
def events_that_the_broker_left_out(desk: Desk) -> None:
    """When the broker says that it left out events, whoever asks hears so, or gets them."""
    teller = _Teller(desk)
    _, start = teller.read("")
    subject = teller.happens("ann")

    desk.trouble(Trouble.DROPPED, Call.EVENTS)
    page = teller.page(start)
    desk.bench.calm()

    desk.restart()
    whole = teller.about(teller.read(start)[0], subject)
    assert page.gap or teller.about(list(page.events), subject) == whole


@case(252, Need.EVENTS, Trouble.ODD, Ability.REOPEN)
def events_that_nobody_can_read(desk: Desk) -> None:
    """Events that nobody can read stop nothing: not the rest, not the cursor, in no process."""
    teller = _Teller(desk)
    _, start = teller.read("")
    first = teller.happens("ann")
    desk.trouble(Trouble.ODD, Call.EVENTS)
    second = teller.happens("bob")

    told, cursor = teller.read(start)
    assert teller.about(told, first)
    assert teller.about(told, second)
    page = teller.page(start)
    assert teller.about(list(page.events), second), "it was read, and not stored"
    third = teller.happens("cid")
    assert teller.about(teller.read(cursor)[0], third)
    desk.restart()
    told, cursor = teller.read(cursor)
    assert teller.about(told, third)
    assert teller.page(cursor).cursor == cursor


@case(253, Need.EVENTS, Need.ONBOARDING, Ability.STATES)
def an_event_in_a_new_word(desk: Desk) -> None:
    """An event in a word that nobody has heard is told as it is, and what follows it too."""
    teller = _Teller(desk)
    account = teller.happens("ann")
    before, start = teller.read("")

    desk.bench.put_state(account, NEW_WORD)
    subject = teller.happens("bob")
    told, _ = teller.read(start)

    assert NEW_WORD in teller.about(told, account)
    assert NEW_WORD not in teller.about(before, account)
    assert teller.about(told, subject)


@case(254, Need.EVENTS, Need.ONBOARDING, Need.FUNDING)
def events_of_transfers(desk: Desk) -> None:
    """A transfer's steps are told under its id at the broker, with its account, to the last."""
    teller = _Teller(desk)
    teller.stream = "transfers"

    subject = teller.transferred("t1")
    mine = [one for one in teller.read("")[0] if one.subject == subject]

    (told,) = (
        one
        for one in cast("Funding", desk.broker).transfers(desk.account)
        if one.broker_id == subject
    )
    assert {one.broker_account for one in mine} == {desk.account}
    assert told.state is CashState.DONE
    assert told.word in {one.word_to for one in mine}


@case(255, Need.EVENTS, Need.JOURNALS, Ability.ACCOUNTS)
def events_of_journals(desk: Desk) -> None:
    """A journal's steps are told under its id at the broker, to the last."""
    teller, journals = _Teller(desk), cast("Journals", desk.broker)
    teller.stream = "journals"
    request = JournalRequest("j1", desk.bench.accounts[0], desk.bench.accounts[1], _CENTS)
    journals.journal(request)
    desk.wait()

    told = journals.journal(request).journal
    assert told is not None
    mine = [one for one in teller.read("")[0] if one.subject == told.broker_id]

    assert told.word in {one.word_to for one in mine}


@case(256, Need.EVENTS, Trouble.LATE_EVENT, Ability.REOPEN)
def an_event_that_is_told_late(desk: Desk) -> None:
    """An event that is told after later ones comes, and again if its page was not booked."""
    teller = _Teller(desk)
    subject = teller.happens("ann")
    known, end = teller.read("")

    desk.trouble(Trouble.LATE_EVENT, Call.EVENTS)
    pages = [teller.page(end) for _ in range(3)]

    late = {one.id for one in pages[0].events} - {one.id for one in known}
    assert late
    assert all({one.id for one in page.events} >= late for page in pages)
    assert not late & {one.id for one in teller.read(pages[-1].cursor)[0]}
    desk.restart()
    assert teller.about(teller.read("")[0], subject) == teller.about(known, subject)
