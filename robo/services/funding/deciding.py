"""What a person decides about a transfer that nobody else can: it is this one, it never arrived.

Every decision is in the firm's audit trail, with its reason.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.ports.broker import Broker
from robo.ports.brokerage import CashTransfer
from robo.services import licensing
from robo.services.funding import carrying, matching, notes, steps
from robo.store import payers, remittances
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.remittances import Remittance

_NOTE_MAX: Final = 500


class Verdict(StrEnum):
    """What is decided of a transfer that is ambiguous."""

    CLAIM = "claim"
    """It became this one of the broker's transfers."""
    RELEASE = "release"
    """It never arrived: ask for it once more. Refused where the broker's list has one that could be
    it: lists lag, and a second transfer cannot be taken back."""
    ABANDON = "abandon"
    """It never arrived, and is not asked for again: the money stays where it was. Refused where the
    broker's list has one like it that is nobody else's; one that cannot be read is no reason."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision; `broker_id` names the broker's transfer for CLAIM, else it is empty."""

    verdict: Verdict
    note: str
    actor: str
    broker_id: str = ""


def decide(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    transfer_id: str,
    decision: Decision,
) -> Remittance:
    """Settle a transfer that is ambiguous, and return it.

    Raises:
        NotFoundError: If there is no such transfer.
        ConflictError: If it is not ambiguous (any more), or is to be asked for again, or
            abandoned, though the broker has one that could be it.
        InvalidInputError: If the note is missing, or the broker's transfer could not be this one.
        BrokerUnavailableError: If the broker did not answer; nothing was decided.
    """
    if not 0 < len(decision.note.strip()) <= _NOTE_MAX:
        message = f"Say why, in at most {_NOTE_MAX} characters."
        raise InvalidInputError(message, code="note_missing", fields={"note": [message]})
    desk = carrying.desk_of(db, broker, clock, calendar, policy)
    with db.read() as session:
        seen = _doubtful(session, transfer_id)
    if desk is None:
        message = "This broker moves no money."
        raise ConflictError(message, code="no_funding")
    told: CashTransfer | None = None
    if decision.verdict is Verdict.CLAIM:
        listed = desk.offered.transfers(seen.broker_account)
        told = next((one for one in listed if one.broker_id == decision.broker_id), None)
    elif decision.verdict is Verdict.RELEASE:
        _require_absent(desk, seen, hidden=True)
        # The adapter first: as long as it remembers the request, it would never ask again.
        with suppress(InvalidInputError):
            desk.offered.release_transfer(transfer_id)
    else:
        _require_absent(desk, seen, hidden=False)
    with db.write() as session:
        row = _doubtful(session, transfer_id)
        moved = _settle(session, desk, row, decision, told)
        _record(session, keyring, row, decision, to_micros(clock.now()))
    # Afterwards: what the adapter has forgotten it would ask for, if the books still wanted it.
    with suppress(InvalidInputError):
        if told is not None:
            desk.offered.claim_transfer(transfer_id, told.broker_id)
        elif decision.verdict is Verdict.ABANDON:
            desk.offered.release_transfer(transfer_id)
    return moved


def _require_absent(desk: carrying.Desk, row: Remittance, *, hidden: bool) -> None:
    """Look at the broker's list once more: what a person saw may be minutes old.

    Args:
        desk: What every transfer needs.
        row: The request.
        hidden: Whether a new line that cannot be read counts too.

    Raises:
        ConflictError: If the list has one that could be this one.
    """
    listed = desk.offered.transfers(row.broker_account)
    with desk.db.read() as session:
        claimed = remittances.claimed(session, row.broker_account)
    there = matching.match(row, listed, claimed, ())
    could = [one for one in there.candidates if hidden or matching.could_be(row, one, claimed)]
    if there.found is not None or could:
        message = "The broker has a transfer that could be this one: claim it if it is."
        raise ConflictError(message, code="transfer_found")


def _settle(
    session: Session,
    desk: carrying.Desk,
    row: Remittance,
    decision: Decision,
    told: CashTransfer | None,
) -> Remittance:
    if decision.verdict is Verdict.ABANDON:
        return steps.refuse(session, desk.clock, row, "abandoned")
    if decision.verdict is Verdict.RELEASE:
        now = desk.at_micros
        again = replace(
            row, state="intended", candidates="[]", code="", look_at=now, changed_at=now
        )
        remittances.save(session, again)
        return again
    claimed = remittances.claimed(session, row.broker_account)
    fits = told is not None and (
        matching.could_be(row, told, claimed) or matching.may_hide(row, told, claimed)
    )
    if told is None or not fits:
        message = "That transfer of the broker's cannot be this one."
        raise InvalidInputError(
            message, code="transfer_mismatch", fields={"broker_transfer_id": [message]}
        )
    return steps.adopt(session, desk.clock, desk.calendar, desk.policy, row, told)


def _doubtful(session: Session, transfer_id: str) -> Remittance:
    row = remittances.get(session, transfer_id)
    if row is None:
        message = "There is no such transfer."
        raise NotFoundError(message)
    if row.state != "ambiguous":
        message = "This transfer waits for no decision."
        raise ConflictError(message, code="not_ambiguous")
    return row


def _record(
    session: Session, keyring: Keyring, row: Remittance, decision: Decision, at_micros: int
) -> None:
    payer = payers.payer(session, row.account_id)
    detail = {"note": decision.note.strip(), "broker_id": decision.broker_id, "code": row.code}
    action = f"transfer.{decision.verdict.value}"
    licensing.record(
        session, keyring, payer.firm_id, decision.actor, action, row.id, detail, at_micros
    )
    notes.write(session, payer, "transfer.decided", row.id, at_micros, {"what": decision.verdict})
