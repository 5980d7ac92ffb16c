"""Documents: delivered, accepted, opened as proof, withdrawn; chained, evidence sealed."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from onboarding import agreements
from onboarding.agreements import Agreement
from onboarding.edelivery import ConsentState, EDelivery
from robo.core.clock import Clock, business_date, from_micros, iso_instant, to_micros
from robo.core.errors import AuthenticationError, NotFoundError
from robo.core.ids import child_id
from robo.core.policy import Policy
from robo.services import mailing, securing
from robo.services.enrolling import standing
from robo.services.enrolling.refusing import translated
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.services.securing import MAIL_PREFIX, digest
from robo.services.throttling import Gate, attempt
from robo.store import owners, papers, people, tokens
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring
from robo.store.papers import Acceptance

CONSENT: Final = "consent"
_MAILS_AN_HOUR: Final = 5
_HOUR_SECONDS: Final = 3_600
_DAY: Final = 86_400_000_000
_DOCUMENT: Final = "document"
_STATES: Final = {
    "paper": ConsentState.PAPER,
    "pending": ConsentState.REQUESTED,
    "electronic": ConsentState.DEMONSTRATED,
}


@dataclass(frozen=True, slots=True)
class Where:
    """From where and with what something was done; sealed as evidence."""

    address: str
    user_agent: str
    actor: str


@dataclass(frozen=True, slots=True)
class Signature:
    """Which text is accepted."""

    agreement_id: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One document in force, and where this customer stands with it."""

    agreement: Agreement
    required: bool
    """Consent to electronic delivery is offered, never required: paper is the other choice."""
    state: str
    """open, delivered, accepted, pending (to be opened), demonstrated."""


def listed(
    session: Session, customer: owners.Customer, at_micros: int, kind: str = standing.KIND
) -> list[Listed]:
    """Return the documents in force for a kind of account, in the order in which they are shown."""
    rows = papers.acceptances(session, customer.id)
    on = business_date(from_micros(at_micros))
    return [
        Listed(one, one.action != CONSENT, _state(one, rows, customer.delivery))
        for one in agreements.required_agreements(kind, on)
    ]


def deliver(
    db: Database, keyring: Keyring, clock: Clock, customer_id: str, agreement_id: str, where: Where
) -> Agreement:
    """Return a document's text in force, noting that it was delivered; once per version.

    Raises:
        NotFoundError: If there is no such document.
    """
    now = to_micros(clock.now())
    agreement = in_force(agreement_id, now)
    with db.read() as session:
        row_id = _id(customer_id, agreement, "delivered", 0)
        known = bool(papers.known(session, [row_id]))
    if not known:
        with db.write() as session:
            _note(session, keyring, customer_id, [(agreement, "delivered", 0)], where, now)
    return agreement


def in_force(agreement_id: str, at_micros: int) -> Agreement:
    """Return the version of a document that is in force.

    Raises:
        NotFoundError: If there is no such document.
    """
    on = business_date(from_micros(at_micros))
    for one in agreements.required_agreements(_kind_of(agreement_id), on):
        if one.id == agreement_id:
            return one
    message = "There is no such document."
    raise NotFoundError(message, code="no_such_agreement")


def _kind_of(agreement_id: str) -> str:
    """Return a kind of account that needs a document: everybody's where it is everybody's."""
    kinds = {k for one in agreements.load_agreements() if one.id == agreement_id for k in one.kinds}
    return next((kind for kind in standing.KINDS if kind in kinds), standing.KIND)


def accept(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    customer_id: str,
    signatures: Sequence[Signature],
    where: Where,
    *,
    base_url: str,
) -> list[Listed]:
    """Accept several texts at once and return where the customer stands with every document.

    Accepting the consent to electronic delivery mails that very document; it counts once the link
    in it was opened. Until then, accepting again mails it again: the last one may have got lost or
    expired. What was accepted before is accepted still.

    Raises:
        RateLimitedError: If that mail was asked for too often.
        NotFoundError: If a document does not exist.
        ConflictError: If a text is not the one in force.
        OutOfOrderError: If a document comes before another that it requires.
    """
    now = to_micros(clock.now())
    on = business_date(clock.now())
    order = {one.id: one.order for one in agreements.load_agreements()}
    consents = {one.id for one in agreements.load_agreements() if one.action == CONSENT}
    if any(one.agreement_id in consents for one in signatures):
        attempt(db, keyring, now, Gate("document-mail", customer_id, _MAILS_AN_HOUR, _HOUR_SECONDS))
    with db.write() as session:
        rows = papers.acceptances(session, customer_id)
        held = standing.held_documents(rows)
        withdrawn = sum(row.kind == "withdrawn" for row in rows)
        made: list[tuple[Agreement, str, int]] = []
        for one in sorted(signatures, key=lambda s: order.get(s.agreement_id, 0)):
            with translated():
                agreement = agreements.acceptable(
                    one.agreement_id,
                    one.version,
                    one.sha256,
                    held,
                    on,
                    kind=_kind_of(one.agreement_id),
                )
            held.append(agreements.Accepted(agreement.id, agreement.version))
            again = withdrawn if agreement.action == CONSENT else 0
            made.append((agreement, "accepted", again))
        fresh = _note(session, keyring, customer_id, made, where, now)
        before = owners.find_customer(session, customer_id)
        waiting = before is not None and before.delivery == "pending"
        for agreement in {one[0].id: one[0] for one in made}.values():
            if agreement.action == CONSENT and (waiting or agreement in fresh):
                _ask_proof(session, keyring, policy, customer_id, agreement, now, base_url)
        customer = owners.find_customer(session, customer_id)
        assert customer is not None
        return listed(session, customer, now)


def open_document(
    db: Database, keyring: Keyring, clock: Clock, token: str, where: Where, *, seen: bool = True
) -> Agreement:
    """Return a document that was mailed; the first opening completes the consent it is about.

    Only what is `seen` counts: a request for the headers alone shows nobody anything.

    The link can be opened again while it lasts. After a withdrawal it still shows the document, and
    demonstrates nothing.

    Raises:
        AuthenticationError: If the link is unknown or has expired.
    """
    now = to_micros(clock.now())
    with db.read() as session:
        found = tokens.find_single_use(session, digest(token), _DOCUMENT, now)
    if found is None:
        message = "This link does not work any more."
        raise AuthenticationError(message, code="bad_token")
    agreement_id, _, version = found.subject.partition(":")
    agreement = next(
        one
        for one in agreements.load_agreements()
        if (one.id, str(one.version)) == (agreement_id, version)
    )
    if seen and found.used_at is None:
        with db.write() as session:
            if tokens.use_single_use(session, digest(token), now):
                _demonstrate(session, keyring, found.customer_id, agreement, where, now)
    return agreement


def withdraw_consent(
    db: Database, keyring: Keyring, clock: Clock, customer_id: str, where: Where
) -> owners.Customer:
    """Go back to paper and return the customer; a customer on paper stays on paper.

    Raises:
        ConflictError: If there never was a consent to withdraw.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        customer = owners.find_customer(session, customer_id)
        assert customer is not None
        rows = papers.acceptances(session, customer_id)
        withdrawn = sum(row.kind == "withdrawn" for row in rows)
        before = _consent(rows, customer.delivery)
        if customer.delivery == "paper" and withdrawn:
            return customer
        with translated():
            before.withdraw(from_micros(now))
        agreement = next(
            one
            for one in agreements.load_agreements()
            if one.action == CONSENT and one.version == before.version
        )
        people.set_delivery(session, customer_id, "paper")
        tokens.cancel_single_use(session, customer_id, _DOCUMENT, now)
        _note(session, keyring, customer_id, [(agreement, "withdrawn", withdrawn)], where, now)
        changed = owners.find_customer(session, customer_id)
        assert changed is not None
        return changed


def _demonstrate(
    session: Session,
    keyring: Keyring,
    customer_id: str,
    agreement: Agreement,
    where: Where,
    now: int,
) -> None:
    customer = owners.find_customer(session, customer_id)
    assert customer is not None
    rows = papers.acceptances(session, customer_id)
    with translated():
        after = _consent(rows, customer.delivery).demonstrate(agreement.version, from_micros(now))
    assert after.covers(agreement.version)
    people.set_delivery(session, customer_id, "electronic")
    again = sum(row.kind == "withdrawn" for row in rows)
    _note(session, keyring, customer_id, [(agreement, "demonstrated", again)], where, now)


def _consent(rows: Sequence[Acceptance], delivery: str) -> EDelivery:
    """Return the state of the consent, from what is kept."""
    ids = {one.id for one in agreements.load_agreements() if one.action == CONSENT}
    versions = [r.version for r in rows if r.kind == "accepted" and r.agreement_id in ids]
    state = _STATES[delivery]
    return EDelivery(state, versions[-1] if versions else None)


def _ask_proof(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    customer_id: str,
    agreement: Agreement,
    now: int,
    base_url: str,
) -> None:
    """Mail the document with the link that carries the proof; until it is opened we send paper."""
    token = securing.new_token(MAIL_PREFIX)
    people.set_delivery(session, customer_id, "pending")
    tokens.cancel_single_use(session, customer_id, _DOCUMENT, now)
    tokens.add_single_use(
        session,
        digest(token),
        customer_id,
        purpose=_DOCUMENT,
        subject=f"{agreement.id}:{agreement.version}",
        expires_at=now + policy.document_mail_days * _DAY,
    )
    vault = Vault.open(session, keyring, customer_id)
    values = {"title": agreement.title, "link": f"{base_url}/v1/documents/{token}"}
    mailing.queue(session, vault, _DOCUMENT, digest(token).hex(), now, values)


def _note(
    session: Session,
    keyring: Keyring,
    customer_id: str,
    steps: Sequence[tuple[Agreement, str, int]],
    where: Where,
    now: int,
) -> list[Agreement]:
    """Append steps that are new, with their evidence; return the documents they were about."""
    customer = owners.find_customer(session, customer_id)
    vault = Vault.open(session, keyring, customer_id)
    assert customer is not None
    ids = [_id(customer_id, agreement, kind, again) for agreement, kind, again in steps]
    known = papers.known(session, ids)
    made: list[tuple[Acceptance, bytes]] = []
    fresh: list[Agreement] = []
    for row_id, (agreement, kind, _) in zip(ids, steps, strict=True):
        if row_id in known:
            continue
        known.add(row_id)
        evidence = {
            "address": where.address,
            "user_agent": where.user_agent,
            "actor": where.actor,
            "at": iso_instant(now),
        }
        sealed = vault.seal_json(evidence, f"evidence:{row_id}:sealed")
        made.append(
            (
                Acceptance(
                    row_id,
                    customer_id,
                    agreement.id,
                    agreement.version,
                    agreement.sha256,
                    sha256(sealed).hexdigest(),
                    kind,
                    now,
                ),
                sealed,
            )
        )
        fresh.append(agreement)
    if made:
        papers.add(session, keyring.chain, customer.firm_id, made, now)
        emit(session, [_event(customer, one) for one, _ in made], now)
    return fresh


def _event(customer: owners.Customer, one: Acceptance) -> NewEvent:
    return NewEvent(
        customer.firm_id,
        f"agreement.{one.kind}",
        one.id,
        payload(agreement_id=one.agreement_id, version=one.version),
        customer_id=customer.id,
    )


def _id(customer_id: str, agreement: Agreement, kind: str, again: int) -> str:
    return child_id("acp", customer_id, agreement.id, agreement.version, kind, again)


def _state(one: Agreement, rows: Sequence[Acceptance], delivery: str) -> str:
    kinds = {row.kind for row in rows if (row.agreement_id, row.version) == (one.id, one.version)}
    if one.action == CONSENT and "accepted" in kinds:
        return {"pending": "pending", "electronic": "demonstrated"}.get(delivery, "open")
    if "accepted" in kinds:
        return "accepted"
    return "delivered" if "delivered" in kinds else "open"
