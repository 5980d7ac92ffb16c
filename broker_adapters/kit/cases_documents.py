"""Statements and other papers (group `documents`)."""

from datetime import date
from typing import Final, cast

from broker_adapters.kit.bench import Ability, Call, Trouble
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import Desk
from robo.core.errors import BrokerUnavailableError
from robo.ports.brokerage import Document, Documents

_DAYS: Final = (date(2026, 2, 28), date(2026, 1, 31), date(2025, 12, 31))
_NONE: Final = "00000000-0000-4000-8000-000000000000"
_NOT_GIVEN: Final = (
    Trouble.BUSY,
    Trouble.LOST_BEFORE,
    Trouble.MOVED,
    Trouble.PAGE_AFTER,
    Trouble.EMPTY_AFTER,
)


def _documents(desk: Desk) -> Documents:
    return cast("Documents", desk.broker)


def _listed(desk: Desk, account: str = "") -> list[Document]:
    return list(_documents(desk).documents(account or desk.account))


@case(231, Need.DOCUMENTS, Ability.PAPERS, Ability.REOPEN)
def documents_are_listed_oldest_first(desk: Desk) -> None:
    """Documents are listed oldest first, under ids that are the same in another process."""
    before = {one.id for one in _listed(desk)}
    for day in _DAYS:
        desk.bench.issue(desk.account, day)

    listed = _listed(desk)
    desk.restart()

    assert [one.on for one in listed] == sorted(one.on for one in listed)
    fresh = [one for one in listed if one.id not in before]
    assert [one.on for one in fresh] == sorted(_DAYS)
    assert len({one.id for one in listed}) == len(listed)
    assert all(one.kind for one in listed)
    assert _listed(desk) == listed


@case(232, Need.DOCUMENTS, Ability.PAPERS)
def a_document_is_what_the_broker_has(desk: Desk) -> None:
    """What is in a document comes to the last byte, each document its own."""
    issued = {desk.bench.issue(desk.account, day) for day in _DAYS}

    ids = [one.id for one in _listed(desk) if one.on in _DAYS]
    fetched = {_documents(desk).document(desk.account, one) for one in ids}

    assert fetched >= issued
    assert len(fetched) == len(ids)


@case(233, Need.DOCUMENTS, Ability.PAPERS, Trouble.BUSY)
def documents_that_cannot_be_had(desk: Desk) -> None:
    """Documents that cannot be had are unavailable: no empty list, no empty or other paper."""
    content = desk.bench.issue(desk.account, _DAYS[0])
    (wanted,) = (one.id for one in _listed(desk) if one.on == _DAYS[0])
    for trouble in (one for one in _NOT_GIVEN if one in desk.bench.troubles):
        for ask in (
            lambda: _listed(desk),
            lambda: _documents(desk).document(desk.account, wanted),
        ):
            desk.unreadable(trouble, Call.DOCUMENTS, ask)
    assert _documents(desk).document(desk.account, wanted) == content


@case(234, Need.DOCUMENTS, Ability.PAPERS, Ability.ACCOUNTS)
def documents_of_others(desk: Desk) -> None:
    """A document that is another account's, or none, is neither listed nor given."""
    other = desk.bench.accounts[1]
    desk.bench.issue(other, _DAYS[0])
    (theirs,) = (one.id for one in _listed(desk, other) if one.on == _DAYS[0])

    assert theirs not in {one.id for one in _listed(desk)}
    for wanted in (theirs, _NONE):
        try:
            told = _documents(desk).document(desk.account, wanted)
        except BrokerUnavailableError:
            continue
        message = f"the adapter gives {told!r}"
        raise AssertionError(message)
