"""Recurring plans: the only SQL on them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session

from robo.store.database import bulk, insert_many
from robo.store.transfers import PlanRow


@dataclass(frozen=True, slots=True)
class Plan:
    """A recurring deposit as it is stored; the row's columns say what each field means."""

    id: str
    account_id: str
    bank_link_id: str
    cents: int
    cadence: str
    day: int
    anchor_on: str
    next_on: str
    created_at: int
    state: str = "active"


_PLAN: Any = PlanRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_COLUMNS: Final = tuple(field.name for field in fields(Plan))
_SELECT: Any = select(*(_PLAN.c[name] for name in _COLUMNS))
_MUTABLE: Final = ("bank_link_id", "cents", "cadence", "day", "anchor_on", "next_on", "state")


def add(session: Session, plan: Plan) -> None:
    """Write a new plan."""
    insert_many(session, "plan", _COLUMNS, [tuple(getattr(plan, name) for name in _COLUMNS)])


def save(session: Session, plans: Sequence[Plan]) -> None:
    """Write what may change of plans."""
    marks = ", ".join(f"{name} = ?" for name in _MUTABLE)
    rows = [(*(getattr(plan, name) for name in _MUTABLE), plan.id) for plan in plans]
    bulk(session, f"UPDATE plan SET {marks} WHERE id = ?", rows)  # noqa: S608 - names are ours


def get(session: Session, plan_id: str) -> Plan | None:
    """Return a plan, ended or not."""
    row = session.connection().execute(_SELECT.where(_PLAN.c.id == plan_id)).first()
    return Plan(*row) if row is not None else None


def of_account(session: Session, account_id: str) -> list[Plan]:
    """Return an account's plans that have not ended, oldest first."""
    statement = _SELECT.where(_PLAN.c.account_id == account_id, _PLAN.c.state != "ended")
    rows = session.connection().execute(statement.order_by(_PLAN.c.created_at, _PLAN.c.id))
    return [Plan(*row) for row in rows]


def pause_of_link(session: Session, link_id: str) -> list[Plan]:
    """Pause the active plans that draw on a bank link; return them as they are now."""
    statement = _SELECT.where(_PLAN.c.bank_link_id == link_id, _PLAN.c.state == "active")
    rows = session.connection().execute(statement.order_by(_PLAN.c.id)).all()
    paused = [replace(Plan(*row), state="paused") for row in rows]
    save(session, paused)
    return paused


def count(session: Session, account_id: str) -> int:
    """Return how many plans of an account have not ended."""
    statement = select(func.count()).where(
        _PLAN.c.account_id == account_id, _PLAN.c.state != "ended"
    )
    return int(session.connection().execute(statement).scalar_one())


def due(session: Session, on: str, after: str, limit: int) -> list[Plan]:
    """Return active plans whose nominal date has come, by id from after one on."""
    statement = _SELECT.where(_PLAN.c.next_on <= on, _PLAN.c.state == "active", _PLAN.c.id > after)
    rows = session.connection().execute(statement.order_by(_PLAN.c.id).limit(limit))
    return [Plan(*row) for row in rows]
