"""Cash between accounts (group `journals`)."""

from dataclasses import replace
from typing import Final, cast

from broker_adapters.kit.bench import UNHEARD, Ability, Call, Trouble
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import Desk
from robo.ports.brokerage import CashState, JournalRequest, JournalResult, Journals, Outcome

_CENTS: Final = 12_34
_ALL_MONEY_CENTS: Final = 10**16
_UNHEARD: Final = (*UNHEARD, Trouble.NO_AMOUNTS, Trouble.NOT_NUMBERS)


def _ask(desk: Desk, request: JournalRequest) -> JournalResult:
    return cast("Journals", desk.broker).journal(request)


def _request(desk: Desk, name: str, cents: int = _CENTS) -> JournalRequest:
    return JournalRequest(name, desk.bench.accounts[0], desk.bench.accounts[1], cents)


def _taken(desk: Desk, request: JournalRequest) -> str:
    """Ask for a journal, which must be taken as it was asked for; return its id."""
    result = _ask(desk, request)
    assert result.outcome is Outcome.TAKEN, result
    told = result.journal
    assert told is not None
    assert (told.source, told.target, told.cents) == (request.source, request.target, request.cents)
    return told.broker_id


@case(221, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER)
def a_journal_is_made_once(desk: Desk) -> None:
    """The same journal asked for three times moves cash once, and in time is done."""
    request = _request(desk, "j1")

    ids = {_taken(desk, request) for _ in range(3)}
    desk.wait()
    told = _ask(desk, request).journal

    assert len(ids) == 1
    assert desk.bench.journaled() == [_CENTS]
    assert told is not None
    assert told.state is CashState.DONE


@case(222, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER, Trouble.LOST_AFTER)
def a_journal_whose_answer_is_lost(desk: Desk) -> None:
    """A journal whose answer is lost or senseless is not refused, and is never made again."""
    for count, trouble in enumerate(one for one in _UNHEARD if one in desk.bench.troubles):
        request = _request(desk, f"j-{trouble}", _CENTS + count)
        desk.trouble(trouble, Call.JOURNAL)
        first = _ask(desk, request)
        desk.bench.calm()

        assert first.outcome in {Outcome.UNKNOWN, Outcome.AMBIGUOUS, Outcome.TAKEN}, trouble
        assert first.journal is None or first.journal.cents == request.cents, trouble
        _taken(desk, request)
        moved = [one for one in desk.bench.journaled() if one == request.cents]
        assert moved == [request.cents], trouble


@case(223, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER, Trouble.LOST_BEFORE)
def a_journal_that_never_arrived(desk: Desk) -> None:
    """A journal that never arrived is not refused, and is made once when it is asked for again."""
    request = _request(desk, "j1")
    desk.trouble(Trouble.LOST_BEFORE, Call.JOURNAL)
    first = _ask(desk, request)
    desk.bench.calm()

    assert first.outcome in {Outcome.UNKNOWN, Outcome.AMBIGUOUS}, first
    _taken(desk, request)
    assert desk.bench.journaled() == [_CENTS]


@case(224, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER)
def a_journal_keeps_its_amount(desk: Desk) -> None:
    """The same journal id with another amount, or the other way round, moves nothing more."""
    request = _request(desk, "j1")
    _taken(desk, request)

    others = [
        replace(request, cents=2 * _CENTS),
        replace(request, source=request.target, target=request.source),
    ]

    assert all(_ask(desk, one).outcome is not Outcome.TAKEN for one in others)
    assert desk.bench.journaled() == [_CENTS]


@case(225, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER)
def two_equal_journals_are_two(desk: Desk) -> None:
    """Two journals of one amount with two ids are two."""
    ids = {_taken(desk, _request(desk, name)) for name in ("j1", "J1")}

    assert len(ids) == 2  # noqa: PLR2004 - two
    assert desk.bench.journaled() == [_CENTS, _CENTS]


@case(226, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER)
def a_journal_that_cannot_be(desk: Desk) -> None:
    """More than there is, to oneself or to nobody: refused as a value, and nothing moves."""
    source = desk.bench.accounts[0]
    for request in (
        _request(desk, "much", _ALL_MONEY_CENTS),
        replace(_request(desk, "self"), target=source),
        replace(_request(desk, "nobody"), target="00000000-0000-4000-8000-000000000000"),
    ):
        assert _ask(desk, request).outcome is Outcome.REFUSED, request

    assert desk.bench.journaled() == []


@case(227, Need.JOURNALS, Ability.ACCOUNTS, Ability.LEDGER, Ability.REOPEN)
def a_journal_in_another_process(desk: Desk) -> None:
    """What one process journaled, another cannot move again under the same id."""
    request = _request(desk, "j1")
    first = _taken(desk, request)

    desk.restart()

    assert _taken(desk, request) == first
    assert desk.bench.journaled() == [_CENTS]


@case(228, Need.JOURNALS, Ability.ACCOUNTS, Trouble.NEW_WORD)
def a_journal_in_a_state_that_nobody_knows(desk: Desk) -> None:
    """A journal in a state that nobody has heard of is neither done nor failed."""
    desk.trouble(Trouble.NEW_WORD, Call.JOURNAL)

    told = _ask(desk, _request(desk, "j1"))

    assert told.outcome in {Outcome.TAKEN, Outcome.UNKNOWN}, told
    assert told.journal is None or told.journal.state in {CashState.UNKNOWN, CashState.PENDING}
