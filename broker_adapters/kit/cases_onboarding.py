"""Accounts of customers (group `onboarding`)."""

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Final, cast

from broker_adapters.kit.bench import UNHEARD, Ability, Call, Trouble
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import Desk, overheard
from robo.core.errors import BrokerUnavailableError, RoboError
from robo.ports.brokerage import (
    Application,
    CustodyAccount,
    CustodyState,
    Onboarding,
    OpenResult,
    Outcome,
)

_WAITS: Final = 30
_WAIT_SECONDS: Final = 2.0
_UNTOLD: Final = (Trouble.LOST_BEFORE, Trouble.BUSY)
_NOBODY: Final = "00000000-0000-4000-8000-000000000000"
NEW_WORD: Final = "HELD_FOR_THE_ECLIPSE"


def _onboarding(desk: Desk) -> Onboarding:
    return cast("Onboarding", desk.broker)


def applied(desk: Desk, person: Application) -> str:
    """Apply for an account, which must be taken; return it."""
    result = _onboarding(desk).open_account(person)
    assert result.outcome is Outcome.TAKEN, result
    assert result.account is not None
    assert result.account.broker_account
    return result.account.broker_account


def _applied_in(desk: Desk, trouble: Trouble, person: Application) -> OpenResult:
    """Apply for an account in the middle of trouble, which is over then."""
    desk.trouble(trouble, Call.OPEN)
    result = _onboarding(desk).open_account(person)
    desk.bench.calm()
    return result


def active(desk: Desk, broker_account: str) -> CustodyAccount:
    """Wait until an account may trade, and return it."""
    for _ in range(_WAITS):
        account = _onboarding(desk).account(broker_account)
        assert account is not None, broker_account
        if account.state is CustodyState.ACTIVE:
            return account
        desk.wait(_WAIT_SECONDS)
    message = f"{broker_account} never became active"
    raise AssertionError(message)


@case(211, Need.ONBOARDING)
def an_account_is_applied_for_and_becomes_active(desk: Desk) -> None:
    """An account that is applied for carries our reference, and in time may trade."""
    person = desk.bench.person("ann")
    result = _onboarding(desk).open_account(person)
    assert result.outcome is Outcome.TAKEN, result
    assert result.account is not None

    account = active(desk, result.account.broker_account)

    assert result.account.reference == person.reference
    assert account.broker_account == result.account.broker_account
    assert account.word
    assert not account.asks


@case(212, Need.ONBOARDING, Ability.LEDGER, Ability.REOPEN)
def one_application_is_one_account(desk: Desk) -> None:
    """An application that is made again, also by another process, opens no second account."""
    before, person = set(desk.bench.opened()), desk.bench.person("ann")

    first = applied(desk, person)
    again = applied(desk, person)
    desk.restart()
    later = applied(desk, person)

    assert (again, later) == (first, first)
    assert set(desk.bench.opened()) - before == {first}


@case(213, Need.ONBOARDING, Trouble.LOST_AFTER, Ability.LEDGER)
def an_application_whose_answer_is_lost(desk: Desk) -> None:
    """An application whose answer is lost or senseless is unknown, found, and never doubled."""
    for trouble in (one for one in UNHEARD if one in desk.bench.troubles):
        before, person = set(desk.bench.opened()), desk.bench.person(trouble.value)
        first = _applied_in(desk, trouble, person)
        assert first.outcome in {Outcome.UNKNOWN, Outcome.TAKEN}, (trouble, first)
        found = _onboarding(desk).find_account(person)

        assert found is not None, trouble
        assert found.outcome is Outcome.TAKEN, (trouble, found)
        assert found.account is not None
        assert applied(desk, person) == found.account.broker_account
        assert set(desk.bench.opened()) - before == {found.account.broker_account}, trouble


@case(214, Need.ONBOARDING, Trouble.LOST_BEFORE, Ability.LEDGER)
def an_application_that_never_arrived(desk: Desk) -> None:
    """An application that never arrived is not refused, is not found, and can be made again."""
    for trouble in (one for one in _UNTOLD if one in desk.bench.troubles):
        before, person = set(desk.bench.opened()), desk.bench.person(trouble.value)
        first = _applied_in(desk, trouble, person)

        assert first.outcome in {Outcome.UNKNOWN, Outcome.THROTTLED}, (trouble, first)
        assert _onboarding(desk).find_account(person) is None
        account = applied(desk, person)
        assert set(desk.bench.opened()) - before == {account}


@case(215, Need.ONBOARDING)
def two_people_have_two_accounts(desk: Desk) -> None:
    """Two people have two accounts, and nobody is given another's by his e-mail address."""
    ann, bob = desk.bench.person("ann"), desk.bench.person("bob")
    first, second = applied(desk, ann), applied(desk, bob)

    stranger = replace(bob, reference="kit-stranger", email=ann.email, given_name="Mallory")
    result = _onboarding(desk).open_account(stranger)

    assert first != second
    assert result.account is None or result.account.broker_account not in {first, second}


@case(216, Need.ONBOARDING)
def an_account_that_nobody_has(desk: Desk) -> None:
    """An account that does not exist is none, and that is an answer and no error."""
    assert _onboarding(desk).account(_NOBODY) is None
    assert _onboarding(desk).find_account(desk.bench.person("nobody")) is None


@case(217, Need.ONBOARDING, Trouble.BUSY)
def accounts_that_cannot_be_read(desk: Desk) -> None:
    """Accounts that cannot be read are unavailable: neither none nor as they were."""
    person = desk.bench.person("ann")
    account = applied(desk, person)
    for trouble in (Trouble.BUSY, Trouble.LOST_BEFORE, Trouble.PAGE_AFTER, Trouble.SHAPE_AFTER):
        if trouble not in desk.bench.troubles:
            continue
        for ask in (
            lambda: _onboarding(desk).account(account),
            lambda: _onboarding(desk).find_account(person),
        ):
            desk.unreadable(trouble, Call.ACCOUNT, ask)


@case(218, Need.ONBOARDING, Ability.STATES)
def a_state_that_nobody_knows(desk: Desk) -> None:
    """A state in a word that nobody has heard is unknown: not active, and nothing final."""
    account = applied(desk, desk.bench.person("ann"))
    active(desk, account)

    desk.bench.put_state(account, NEW_WORD)
    told = _onboarding(desk).account(account)

    assert told is not None
    assert (told.state, told.word) == (CustodyState.UNKNOWN, NEW_WORD)


@case(219, Need.ONBOARDING)
def nothing_of_a_person_is_shown(desk: Desk) -> None:
    """Nothing of a person is in what is logged, in errors or in what the adapter prints."""
    person, shown = desk.bench.person("ann"), list[str]()
    with overheard(logging.INFO) as stream:
        shown.append(repr(person))
        if Trouble.LOST_AFTER in desk.bench.troubles:
            desk.trouble(Trouble.LOST_AFTER, Call.OPEN)
        shown.append(repr(_onboarding(desk).open_account(person)))
        desk.bench.calm()
        shown.append(repr(_onboarding(desk).find_account(person)))
        shown.append(repr(_onboarding(desk).open_account(replace(person, given_name=""))))
        if Trouble.BUSY in desk.bench.troubles:
            desk.trouble(Trouble.BUSY, Call.ACCOUNT, times=100)
            try:
                _onboarding(desk).find_account(person)
            except RoboError as error:
                shown += [str(error), repr(error), repr(error.__cause__)]
            desk.bench.calm()
    shown += [stream.getvalue(), str(vars(desk.broker))]

    words = (person.email, person.phone, *person.street, person.family_name, person.tax_id)
    for word in (*words, person.born_on.isoformat()):
        assert all(word not in text for text in shown), "something of a person is shown"


@case(220, Need.ONBOARDING)
def an_account_that_holds_something_stays_open(desk: Desk) -> None:
    """An account that holds money is not closed; one that holds nothing is, and stays closed."""
    desk.accepted(desk.order("c1"))
    empty = applied(desk, desk.bench.person("ann"))
    active(desk, empty)

    full = _onboarding(desk).close_account(desk.account)
    closed = _onboarding(desk).close_account(empty)
    desk.wait()

    assert full.outcome is Outcome.REFUSED, full
    assert closed.outcome is Outcome.TAKEN, closed
    active(desk, desk.account)
    with suppress(BrokerUnavailableError):
        _onboarding(desk).close_account(empty)
    told = _onboarding(desk).account(empty)
    assert told is None or told.state is CustodyState.CLOSED
