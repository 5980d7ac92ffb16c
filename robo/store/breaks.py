"""Breaks: differences between the broker and the books, what they are, and what they block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import and_, column, exists, func, select, table
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, bounded, check, integer, one_of, text
from robo.store.database import bulk, select_in

SUBJECTS: Final = ("position", "cash", "order", "execution", "activity", "lot")
CATEGORIES: Final = (
    "timing",
    "corporate_action",
    "missing_execution",
    "unknown_activity",
    "real",
)
STATES: Final = ("open", "repaired", "gone", "cleared")


class BreakRow(SQLModel, table=True):
    """One difference; the same difference is one row, however often it is seen.

    open -> repaired (by us, journaled) | gone (not there any more) | cleared (by an operator)
    """

    __tablename__ = "recon_break"
    __table_args__ = (
        one_of("recon_break_subject", "subject", *SUBJECTS),
        one_of("recon_break_category", "category", *CATEGORIES),
        one_of("recon_break_state", "state", *STATES),
        check("recon_break_blocks", "blocks IN (0, 1)"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    broker_account: str = text()
    account_id: str | None = text(null=True, to="account.id")
    """The customer account concerned, where it is only one's."""
    security_id: int | None = integer(null=True)
    subject: str = text()
    reference: str = text()
    """The broker's or our id of what differs; empty for positions and cash."""
    category: str = text()
    ours: int = integer()
    theirs: int = integer()
    repair: str = text()
    """What would mend it: a stable code."""
    state: str = text(default="open", index=True)
    blocks: int = integer()
    found_at: int = integer()
    seen_at: int = integer()
    closed_at: int | None = integer(null=True)
    closed_by: str = text(default="")
    note: str = text(default="")


_BREAK: Any = BreakRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
# Of what was told and of what was published only what says that they are of each other is needed.
_TOLD: Any = table(
    "broker_activity",
    *map(column, ("id", "broker_account", "kind", "security_id", "on_date", "cents")),
)
_ACTION: Any = table("action", *map(column, ("id", "kind", "security_id", "ex_on")))
_SAME: Final = and_(
    _ACTION.c.security_id == _TOLD.c.security_id,
    _ACTION.c.kind == _TOLD.c.kind,
    _ACTION.c.ex_on <= _TOLD.c.on_date,
)
"""That what the broker told is of an action: it says its kind and day, not the action."""


@dataclass(frozen=True, slots=True)
class Break:
    """A difference as reconciling found it; `ours` and `theirs` in cents or nanoshares."""

    id: str
    firm_id: str
    broker_account: str
    account_id: str | None
    security_id: int | None
    """None: all of the account is concerned; 0: a name that is on no list of ours."""
    subject: str
    reference: str
    category: str
    ours: int
    theirs: int
    repair: str
    blocks: int


@dataclass(frozen=True, slots=True)
class KnownBreak(Break):
    """A difference with what became of it."""

    state: str = "open"
    found_at: int = 0
    seen_at: int = 0
    closed_at: int | None = None
    closed_by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Divided:
    """A break of what the broker divided otherwise than the books say, and an action it may be."""

    found: KnownBreak
    action_id: str
    kind: str
    on_date: str
    """When it came."""
    cents: int
    """The cash that came with it."""


_COLUMNS: Final = [_BREAK.c[name] for name in KnownBreak.__dataclass_fields__]


def get(session: Session, break_id: str) -> KnownBreak | None:
    """Return a break, or None."""
    row = session.connection().execute(select(*_COLUMNS).where(_BREAK.c.id == break_id)).first()
    return None if row is None else KnownBreak(*row)


def listed(session: Session, state: str, firm_id: str = "", limit: int = 1_000) -> list[KnownBreak]:
    """Return the breaks in a state, newest first: a firm's, or everybody's."""
    statement = select(*_COLUMNS).where(_BREAK.c.state == state)
    if firm_id:
        statement = statement.where(_BREAK.c.firm_id == firm_id)
    ordered = statement.order_by(_BREAK.c.found_at.desc(), _BREAK.c.id).limit(limit)
    return [KnownBreak(*row) for row in session.connection().execute(ordered)]


def of_activity(session: Session, activity_id: str) -> list[KnownBreak]:
    """Return the open breaks of what the broker told: one, or each firm's of what is nobody's."""
    statement = select(*_COLUMNS).where(
        _BREAK.c.state == "open", _BREAK.c.subject == "activity", _BREAK.c.reference == activity_id
    )
    rows = session.connection().execute(statement.order_by(_BREAK.c.id))
    return [KnownBreak(*row) for row in rows]


def decided(session: Session, action_ids: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """Return (action, firm, account, or None for all of the firm's) that persons have cleared.

    Those of some corporate actions whose shares were divided otherwise than the books say.
    """
    if not action_ids:
        return []
    names = (_ACTION.c.id, _BREAK.c.firm_id, _BREAK.c.account_id)
    statement = _divided(*names).where(_BREAK.c.state == "cleared")
    return [
        (row[0], row[1], row[2]) for row in select_in(session, statement, _ACTION.c.id, action_ids)
    ]


def brought(session: Session, action_id: str) -> set[str]:
    """Return the broker's accounts in which an action has been brought, and waits for nobody.

    Whoever of them has not got it by then will not: it did not fit, or a person has cleared it.
    """
    asked = exists().where(
        _BREAK.c.reference == _TOLD.c.id,
        _BREAK.c.subject == "activity",
        _BREAK.c.state == "open",
    )
    statement = select(_TOLD.c.broker_account).join(_ACTION, _SAME)
    rows = session.connection().execute(statement.where(_ACTION.c.id == action_id, ~asked))
    return set(rows.scalars())


def told_of(session: Session, action_id: str) -> set[str]:
    """Return the broker's accounts of which it has told an action, whatever became of it."""
    statement = select(_TOLD.c.broker_account).join(_ACTION, _SAME)
    return set(session.connection().execute(statement.where(_ACTION.c.id == action_id)).scalars())


def _divided(*names: Any) -> Any:
    """Select from breaks of what was divided otherwise, what was told, and actions of its kind."""
    return (
        select(*names)
        .select_from(_BREAK)
        .join(_TOLD, _TOLD.c.id == _BREAK.c.reference)
        .join(_ACTION, _SAME)
        .where(_BREAK.c.subject == "activity", _BREAK.c.category == "real")
    )


def parked(session: Session, *, break_id: str = "", firm_id: str = "") -> list[Divided]:
    """Return the breaks of what was divided otherwise, each with every action that it may be of.

    Oldest first, announcements of one break too. By id: whatever became of it; else those that are
    open, or cleared and not booked for all that.
    """
    told = (_ACTION.c.id, _TOLD.c.kind, _TOLD.c.on_date, _TOLD.c.cents)
    statement = _divided(*_COLUMNS, *told)
    if break_id:
        statement = statement.where(_BREAK.c.id == break_id)
    else:
        statement = statement.where(_BREAK.c.state.in_(["open", "cleared"]))
    if firm_id:
        statement = statement.where(_BREAK.c.firm_id == firm_id)
    ordered = statement.order_by(_BREAK.c.found_at, _BREAK.c.id, _ACTION.c.ex_on, _ACTION.c.id)
    width = len(_COLUMNS)
    return [
        Divided(KnownBreak(*row[:width]), *row[width:])
        for row in session.connection().execute(ordered)
    ]


def put(session: Session, found: Sequence[Break], at_micros: int) -> list[Break]:
    """Write what was found; return what was not open before: new, or back again.

    A break that an operator cleared stays cleared while its figures stay what they were.
    """
    fresh: list[Break] = []
    for told in found:
        one = replace(told, ours=bounded(told.ours), theirs=bounded(told.theirs))
        known = get(session, one.id)
        same = known is not None and (known.ours, known.theirs) == (one.ours, one.theirs)
        if known is None or known.state not in {"open", "cleared"} or not same:
            fresh.append(one)
        cleared = known is not None and known.state == "cleared" and same
        if not cleared:
            _write(session, one, at_micros)
    return fresh


def _write(session: Session, one: Break, at_micros: int) -> None:
    names = list(Break.__dataclass_fields__)
    marks = ", ".join("?" * len(names))
    bulk(
        session,
        f"INSERT INTO recon_break ({', '.join(names)}, state, found_at, seen_at, closed_by, note) "  # noqa: S608 - names are ours
        f"VALUES ({marks}, 'open', ?, ?, '', '') ON CONFLICT (id) DO UPDATE SET state = 'open', "
        "found_at = CASE WHEN recon_break.state = 'open' THEN recon_break.found_at "
        "ELSE excluded.found_at END, category = excluded.category, "
        "ours = excluded.ours, theirs = excluded.theirs, "
        "repair = excluded.repair, blocks = excluded.blocks, seen_at = excluded.seen_at, "
        "closed_at = NULL, closed_by = '', note = ''",
        [(*(getattr(one, name) for name in names), at_micros, at_micros)],
    )


def close(session: Session, break_id: str, state: str, by: str, note: str, at_micros: int) -> bool:
    """End an open break; return False where it was not open."""
    changed = bulk(
        session,
        "UPDATE recon_break SET state = ?, blocks = 0, closed_at = ?, closed_by = ?, note = ? "
        "WHERE id = ? AND state = 'open'",
        [(state, at_micros, by, note, break_id)],
    )
    return changed == 1


@dataclass(frozen=True, slots=True)
class Blocked:
    """What may not trade until an operator has looked."""

    accounts: frozenset[str] = frozenset()
    """The broker's accounts as a whole: their cash is in doubt."""
    names: frozenset[tuple[str, int]] = frozenset()
    """(The broker's account, security): what is held there is in doubt."""

    def covers(self, broker_account: str, security_id: int) -> bool:
        """Return whether an order there may not be sent."""
        return broker_account in self.accounts or (broker_account, security_id) in self.names

    def __bool__(self) -> bool:
        """Return whether anything is blocked."""
        return bool(self.accounts or self.names)


_BLOCKING: Final = select(_BREAK.c.broker_account, _BREAK.c.security_id).where(
    _BREAK.c.state == "open", _BREAK.c.blocks == 1
)


def blocked(session: Session) -> Blocked:
    """Return what open breaks block.

    A name that is none of ours (security 0) stops nothing: nothing of ours is ever traded in it.
    """
    rows = session.connection().execute(_BLOCKING).all()
    return Blocked(
        frozenset(account for account, security in rows if security is None),
        frozenset((account, security) for account, security in rows if security is not None),
    )


def counts(session: Session) -> Mapping[tuple[str, str], int]:
    """Return (category, subject) -> how many breaks are open."""
    columns = (_BREAK.c.category, _BREAK.c.subject)
    statement = select(*columns, func.count()).where(_BREAK.c.state == "open").group_by(*columns)
    return {(row[0], row[1]): int(row[2]) for row in session.connection().execute(statement)}
