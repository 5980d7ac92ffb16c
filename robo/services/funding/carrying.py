"""Taking transfers to the broker, each at most once, and finding out what came of them.

The intention, and which transfers there were, are written before the broker is asked. Where nothing
at the broker keeps a request from being made twice, it is asked for once; what became of a request
whose answer was lost is found in the list (`matching`), or put before a person (`deciding`).
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, iso_instant, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import CashRequest, CashResult, CashTransfer, Funding, Outcome
from robo.ports.funding import TransferDirection
from robo.ports.terms import MoneyIdempotency
from robo.services.funding import matching, notes, steps
from robo.services.isolating import Blame, growing_pause
from robo.store import custody, payers, remittances
from robo.store.database import Database
from robo.store.remittances import Link, Remittance

_JOB: Final = "move-money"
_BATCH: Final = 20
"""Transfers of one run: each costs a listing, and the broker allows so many requests a minute."""
_SECOND: Final = 1_000_000
_SOON: Final = 5 * _SECOND
_LATER: Final = 600 * _SECOND
_DAY: Final = 86_400 * _SECOND
_CANDIDATES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Desk:
    """What every transfer needs."""

    db: Database
    offered: Funding
    clock: Clock
    calendar: MarketCalendar
    policy: Policy
    repeatable: bool
    """Whether the broker keeps a request with our id from being made twice."""

    @property
    def at_micros(self) -> int:
        """Return the instant that is written down."""
        return to_micros(self.clock.now())


def desk_of(
    db: Database, broker: Broker, clock: Clock, calendar: MarketCalendar, policy: Policy
) -> Desk | None:
    """Return what transfers through a broker need; None where it moves no money."""
    offered = groups.funding(broker)
    if offered is None:
        return None
    repeatable = broker.capabilities.money_idempotency is not MoneyIdempotency.NONE
    return Desk(db, offered, clock, calendar, policy, repeatable)


def carry(
    db: Database, broker: Broker, clock: Clock, calendar: MarketCalendar, policy: Policy
) -> int:
    """Go on with every transfer that is due, end links that nobody needs; return how many moved.

    What the broker does not answer for is put off, so that one account that cannot be listed holds
    up nobody else; a broker that answers nothing at all ends the run.
    """
    desk = desk_of(db, broker, clock, calendar, policy)
    if desk is None:
        return 0
    with db.read() as session:
        todo = remittances.due(session, desk.at_micros, _BATCH)
        unused = remittances.links_left_over(session, _BATCH)
    try:
        moved = Blame[Remittance](db, clock, _JOB, lambda one: one.account_id).in_turn(
            todo, lambda one: _go_on(desk, one), lambda one: _put_off(desk, one)
        )
        Blame[Link](db, clock, _JOB, lambda one: one.account_id).each(
            unused, lambda one: _unlink(desk, one)
        )
    except BrokerUnavailableError:
        return 0
    return moved


def _go_on(desk: Desk, row: Remittance) -> int:
    if row.state == "intended":
        return _ask(desk, row)
    if row.state == "telling" and desk.repeatable:
        return _heard(desk, row.id, desk.offered.transfer(_request(row)))
    if row.state in {"telling", "ambiguous"}:
        return _find(desk, row)
    return _follow(desk, row)


def _put_off(desk: Desk, seen: Remittance) -> None:
    """Look at a transfer later that the broker did not answer for; what it is stays as it is."""
    now = desk.at_micros
    with desk.db.write() as session:
        row = remittances.get(session, seen.id)
        if row is None or row.look_at > now:
            return
        again = now + growing_pause(row.changed_at, now, _SOON, _LATER)
        if row.state == "settled":
            # Only a return could follow, which an event tells: once that is over, nobody asks.
            last = steps.next_look(row, desk.clock, desk.calendar, desk.policy)
            again = custody.NEVER if last == custody.NEVER else now + _DAY
        remittances.save(session, replace(row, look_at=again))


def _ask(desk: Desk, row: Remittance) -> int:
    """Ask for a transfer, once: the row says so before the broker hears of it."""
    link = _usable(desk, row)
    if link is None:
        return 0
    listed = desk.offered.transfers(link.broker_account)
    before = [one.broker_id for one in listed]
    now = desk.at_micros
    with desk.db.write() as session:
        if remittances.get(session, row.id) != row or _came_late(session, row, listed, now):
            return 0
        telling = replace(
            row,
            state="telling",
            broker_account=link.broker_account,
            relationship_id=link.relationship_id,
            # Asked for once more, it keeps what the first asking knew: that may still turn up.
            before=row.before if row.told_at else json.dumps(before),
            told_at=row.told_at or now,
            look_at=now + _SOON,
            changed_at=now,
        )
        remittances.save(session, telling)
    return _heard(desk, row.id, desk.offered.transfer(_request(telling)), row)


def _came_late(session: Session, row: Remittance, listed: Sequence[CashTransfer], now: int) -> bool:
    """Return whether a transfer that is to be asked for once more has arrived after all."""
    if row.told_at is None:
        return False
    claimed = remittances.claimed(session, row.broker_account)
    found = matching.match(row, listed, claimed, remittances.alike(session, row))
    late = found.candidates if found.found is None else (found.found,)
    if late:
        remittances.save(session, _doubt(row, late, now))
    return bool(late)


def _usable(desk: Desk, row: Remittance) -> Link | None:
    """Return the link that a transfer goes over, once the broker has approved it."""
    with desk.db.read() as session:
        link = remittances.find_link(session, row.account_id, row.token)
    if link is not None and link.usable:
        return link
    told = [] if link is None else desk.offered.relationships(link.broker_account)
    mine = next((one for one in told if link and one.id == link.relationship_id), None)
    with desk.db.write() as session:
        if remittances.get(session, row.id) != row:
            return None
        if link is None or mine is None:
            steps.refuse(session, desk.clock, row, "link_gone")
            return None
        if not mine.usable:
            remittances.save(session, replace(row, look_at=desk.at_micros + _SOON))
            return None
        ready = replace(link, usable=1)
        remittances.put_link(session, ready)
    return ready


def _heard(
    desk: Desk, transfer_id: str, result: CashResult, before: Remittance | None = None
) -> int:
    """Write what the broker said to a request; silence changes nothing.

    Args:
        desk: What every transfer needs.
        transfer_id: The request's.
        result: What the broker said.
        before: The row as it was before this telling; None if it had been told without an answer.
    """
    with desk.db.write() as session:
        row = remittances.get(session, transfer_id)
        if row is None or row.state != "telling":
            return 0
        if result.outcome is Outcome.TAKEN and result.transfer is not None:
            steps.adopt(session, desk.clock, desk.calendar, desk.policy, row, result.transfer)
            return 1
        if result.outcome is Outcome.REFUSED:
            steps.refuse(session, desk.clock, row, result.code)
            return 1
        if result.outcome is Outcome.THROTTLED:
            # Not sent, and the adapter knows that: it may be asked for again. Of an earlier asking
            # that proves nothing, so the row is again what it was, with what it knew of that one.
            later = desk.at_micros + _SOON
            remittances.save(session, replace(before or row, look_at=later))
        elif result.outcome is Outcome.AMBIGUOUS and desk.repeatable:
            remittances.save(session, _doubt(row, result.candidates, desk.at_micros))
    return 0


def _find(desk: Desk, row: Remittance) -> int:
    """Find a request whose answer was lost in the broker's list, or put it before a person."""
    listed = desk.offered.transfers(row.broker_account)
    now = desk.at_micros
    with desk.db.write() as session:
        if remittances.get(session, row.id) != row:
            return 0
        claimed = remittances.claimed(session, row.broker_account)
        found = matching.match(row, listed, claimed, remittances.alike(session, row))
        if found.found is not None:
            steps.adopt(session, desk.clock, desk.calendar, desk.policy, row, found.found)
        else:
            # The last telling's instant: `told_at` is the first one's.
            lost = now - row.changed_at > desk.policy.transfer_lost_minutes * 60 * _SECOND
            if row.state == "ambiguous" or found.candidates or lost:
                moved = _doubt(row, found.candidates, now)
                remittances.save(session, moved)
                if row.state != "ambiguous":
                    payer = payers.payer(session, row.account_id)
                    more = {"code": moved.code}
                    notes.write(session, payer, "transfer.ambiguous", row.id, now, more)
            else:
                remittances.save(session, replace(row, look_at=now + _SOON))
    if found.found is not None:
        # The adapter may know it already, or have lost its notes; ours count.
        with suppress(InvalidInputError):
            desk.offered.claim_transfer(row.id, found.found.broker_id)
    return int(found.found is not None)


def _doubt(row: Remittance, candidates: Sequence[CashTransfer], now: int) -> Remittance:
    shown = [
        {"broker_id": one.broker_id, "created_at": iso_instant(to_micros(one.created_at))}
        for one in candidates[:_CANDIDATES_MAX]
    ]
    return replace(
        row,
        state="ambiguous",
        code="several" if candidates else "not_found",
        candidates=json.dumps(shown),
        look_at=now + _LATER,
        changed_at=now if row.state != "ambiguous" else row.changed_at,
    )


def _follow(desk: Desk, row: Remittance) -> int:
    """Look how far a transfer is that the broker has."""
    listed = desk.offered.transfers(row.broker_account)
    mine = next((one for one in listed if one.broker_id == row.broker_id), None)
    with desk.db.write() as session:
        if remittances.get(session, row.id) != row:
            return 0
        if mine is None:
            remittances.save(session, replace(row, look_at=desk.at_micros + _LATER))
            return 0
        moved = steps.adopt(session, desk.clock, desk.calendar, desk.policy, row, mine)
    return int(moved.state != row.state)


def _unlink(desk: Desk, link: Link) -> int:
    """End a link at the broker whose bank link was removed; asking twice does no harm."""
    result = desk.offered.unlink_bank(link.broker_account, link.relationship_id)
    if result.outcome is not Outcome.TAKEN:
        return 0
    with desk.db.write() as session:
        remittances.put_link(session, replace(link, state="removed", usable=0))
    return 1


def _request(row: Remittance) -> CashRequest:
    return CashRequest(
        row.id,
        row.broker_account,
        row.relationship_id,
        TransferDirection(row.direction),
        row.cents,
    )
