"""Where a customer stands on the way from sign-up to the first deposit, read off facts."""

from datetime import date
from typing import Any

from sqlalchemy import exists, select
from sqlmodel import Session

from onboarding import agreements
from onboarding.agreements import Accepted
from onboarding.progress import Facts, Step, missing_before, next_steps
from robo.core.errors import OutOfOrderError
from robo.services.sealing import PROFILE
from robo.store import owners, papers, people
from robo.store.accounts import AccountRow
from robo.store.customers import PersonalRow
from robo.store.transfers import BankLinkRow, DepositRow

_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PERSONAL: Any = PersonalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_LINK: Any = BankLinkRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

KIND = "individual"
"""The kind of account whose documents everybody accepts on the way to a first deposit."""
ALONE = (KIND, "traditional_ira", "roth_ira")
"""Kinds that one person opens; a joint account is proposed to the other owner."""
KINDS = (*ALONE, "joint")


def require_documents(session: Session, customer_id: str, kind: str, on: date) -> None:
    """Return if a customer has accepted what an account of a kind needs beside everybody's.

    Raises:
        OutOfOrderError: Naming the documents that are missing.
    """
    held = held_documents(papers.acceptances(session, customer_id))
    missing = [each.id for each in agreements.missing(held, on, kind=kind, paper=True)]
    if missing:
        place = f"/v1/customers/{customer_id}/agreements?kind={kind}"
        message = f"Accept first, of {place}: {', '.join(missing)}."
        raise OutOfOrderError(message, reasons=["agreements"], fields={"agreements": missing})


def facts(session: Session, customer_id: str, on: date) -> Facts:
    """Return what is true about a customer on a day."""
    customer = owners.find_customer(session, customer_id)
    if customer is None:
        return Facts()
    held = held_documents(papers.acceptances(session, customer_id))
    shown = {(row.agreement_id, row.version) for row in held}
    present = {a.id: a.version for a in agreements.required_agreements(KIND, on)}
    submission = people.latest_submission(session, customer_id)
    mine = (_PERSONAL.c.customer_id == customer_id) & (_PERSONAL.c.field == PROFILE)
    row = (
        session.connection()
        .execute(
            select(
                exists().where(mine),
                exists().where(_ACCOUNT.c.customer_id == customer_id),
                exists().where(_LINK.c.customer_id == customer_id, _LINK.c.state == "active"),
                exists().where(
                    _DEPOSIT.c.account_id == _ACCOUNT.c.id, _ACCOUNT.c.customer_id == customer_id
                ),
            )
        )
        .one()
    )
    return Facts(
        sign_up=True,
        form_crs=("form_crs", present.get("form_crs")) in shown,
        profile=row[0],
        answers=submission is not None,
        suitability=submission is not None and submission.decision == "proceed",
        agreements=not agreements.missing(held, on, kind=KIND, paper=True),
        account=row[1],
        identity=customer.identity_state == "accepted",
        bank_link=row[2],
        deposit=row[3],
        email=customer.email_verified_at is not None,
    )


def held_documents(rows: list[papers.Acceptance]) -> list[Accepted]:
    """Return which versions a customer was given, or accepted where that is asked."""
    actions = {(a.id, a.version): a.action for a in agreements.load_agreements()}
    return [
        Accepted(row.agreement_id, row.version)
        for row in rows
        if row.kind == "accepted"
        or (row.kind == "delivered" and actions.get((row.agreement_id, row.version)) == "deliver")
    ]


def require(session: Session, customer_id: str, step: Step, on: date) -> None:
    """Return if a customer may take a step on a day.

    Raises:
        OutOfOrderError: With the missing steps, in order, as `reasons`.
    """
    missing = missing_before(step, facts(session, customer_id, on))
    if missing:
        names = [each.value for each in missing]
        message = f"Before {step.value} comes: {', '.join(names)}."
        documents: list[str] = []
        if Step.AGREEMENTS in missing:
            held = held_documents(papers.acceptances(session, customer_id))
            documents = [each.id for each in agreements.missing(held, on, kind=KIND, paper=True)]
            place = f"/v1/customers/{customer_id}/agreements"
            message += f" Missing of {place}: {', '.join(documents)}."
        fields = {"agreements": documents} if documents else None
        raise OutOfOrderError(message, reasons=names, fields=fields)


def progress(session: Session, customer_id: str, on: date) -> tuple[list[str], list[str]]:
    """Return the steps that are done, and those that may be taken now, in order."""
    known = facts(session, customer_id, on)
    done = [step.value for step in Step if known.holds(step)]
    return done, [step.value for step in next_steps(known)]
