"""What the event feed says about money: ids, codes, and amounts as decimal strings."""

import json

from sqlmodel import Session

from robo.core.money import format_cents
from robo.ports.funding import BankEvent
from robo.store.events import NewEvent, emit
from robo.store.payers import Payer, house_firm
from robo.store.transfers import Deposit


def deposit(
    session: Session, payer: Payer, subject: Deposit, what: str, at_micros: int, **more: str
) -> None:
    """Append `deposit.<what>` to the feed; `more` is added to id and amount."""
    payload = {"account_id": payer.account_id, "amount": format_cents(subject.cents), **more}
    if subject.plan_id is not None:
        payload["plan_id"] = subject.plan_id
    write(session, payer, f"deposit.{what}", subject.id, at_micros, payload)


def write(
    session: Session,
    payer: Payer,
    kind: str,
    subject: str,
    at_micros: int,
    payload: dict[str, str],
) -> None:
    """Append one event of an account to the feed."""
    text = json.dumps(payload, separators=(",", ":"), sort_keys=True)
    event = NewEvent(payer.firm_id, kind, subject, text, payer.customer_id, payer.account_id)
    emit(session, [event], at_micros)


def parked(session: Session, event: BankEvent, why: str, at_micros: int) -> None:
    """Put a bank event that could not be applied before the operator of the house firm."""
    payload = {"event_id": event.id, "what": event.kind.value, "code": event.code, "why": why}
    text = json.dumps(payload, separators=(",", ":"), sort_keys=True)
    firm_id = house_firm(session)
    emit(session, [NewEvent(firm_id, "bank.event_parked", event.transfer_id, text)], at_micros)
