"""Marked closes and corporate actions as they were published to us."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, column, func, select, table
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, check, integer, text
from robo.store.database import among, bulk, rows_in


class PriceRow(SQLModel, table=True):
    """The raw close of a session."""

    __tablename__ = "price"
    __table_args__ = (check("price_positive", "close_micros > 0"), STRICT)
    on_date: str = text(key=True)
    security_id: int = integer(key=True)
    close_micros: int = integer()
    source: str = text()


class ActionRow(SQLModel, table=True):
    """A corporate action that was seen, and how far it was applied."""

    __tablename__ = "action"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    kind: str = text()
    security_id: int = integer(index=True)
    ex_on: str = text(index=True)
    pay_on: str = text()
    detail: str = text()
    """The action as canonical JSON."""
    state: str = text(default="seen")
    """seen, entitled, done."""


# The lots' module stands beside this one; two columns of entitlements are all that is needed.
_ENTITLEMENT: Any = table("entitlement", column("action_id"), column("state"))
_PRICE: Any = PriceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACTION: Any = ActionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


def mark(session: Session, on_date: str, closes: Mapping[int, int], source: str) -> int:
    """Write the closes of a session; a close that is there stays as it is."""
    return bulk(
        session,
        "INSERT INTO price (on_date, security_id, close_micros, source) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (on_date, security_id) DO NOTHING",
        [(on_date, security_id, micros, source) for security_id, micros in sorted(closes.items())],
    )


def publish(session: Session, rows: Sequence[tuple[str, str, int, str, str, str]]) -> None:
    """Write corporate actions that were seen: (id, kind, security, ex, pay, canonical JSON)."""
    bulk(
        session,
        "INSERT INTO action (id, kind, security_id, ex_on, pay_on, detail, state) "
        "VALUES (?, ?, ?, ?, ?, ?, 'seen') ON CONFLICT (id) DO NOTHING",
        rows,
    )


_SEEN: Final = among(select(_ACTION.c.id), _ACTION.c.id)
_DETAIL: Final = select(_ACTION.c.detail).where(_ACTION.c.id == bindparam("action_id"))


def seen(session: Session, action_ids: Sequence[str]) -> set[str]:
    """Return which of the actions were published before."""
    return {row[0] for row in rows_in(session, _SEEN, action_ids)}


def set_action_state(session: Session, action_id: str, state: str) -> None:
    """Remember how far an action was applied."""
    bulk(session, "UPDATE action SET state = ? WHERE id = ?", [(state, action_id)])


def action_detail(session: Session, action_id: str) -> str:
    """Return an action as it was published, canonical JSON; empty if it was never seen."""
    return session.connection().execute(_DETAIL, {"action_id": action_id}).scalar() or ""


_LAST_DAY: Final = select(func.max(_PRICE.c.on_date))
_CLOSES: Final = select(_PRICE.c.security_id, _PRICE.c.close_micros).where(
    _PRICE.c.on_date == bindparam("on")
)


def last_marks(session: Session) -> tuple[str, dict[int, int]]:
    """Return the last marked day and its closes, security -> micro-dollars; empty before the first.

    Only names marked that day: an older close says nothing of a price today.
    """
    last = session.connection().execute(_LAST_DAY).scalar()
    if last is None:
        return "", {}
    return last, {row[0]: row[1] for row in session.connection().execute(_CLOSES, {"on": last})}


def actions_between(session: Session, after: str, until: str) -> list[tuple[str, int, str, str]]:
    """Return (ex-date, security, kind, canonical JSON) of actions gone ex after a day, in order."""
    columns = (_ACTION.c.ex_on, _ACTION.c.security_id, _ACTION.c.kind, _ACTION.c.detail)
    statement = select(*columns).where(_ACTION.c.ex_on > after, _ACTION.c.ex_on <= until)
    rows = session.connection().execute(statement.order_by(_ACTION.c.ex_on, _ACTION.c.id))
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def acting(
    session: Session,
    kinds: Collection[str],
    since: str,
    until: str,
    security_ids: Collection[int] | None = None,
) -> list[tuple[str, int]]:
    """Return (action, security) of some kinds that went ex in a span of days; of names, if given.

    Several names are told apart here: of a few days there are few actions, of names there may be
    more than fit into a question.
    """
    return [
        (action, security_id)
        for action, security_id, _ in changing(session, kinds, since, until)
        if security_ids is None or security_id in security_ids
    ]


_CHANGING: Final = (
    select(_ACTION.c.id, _ACTION.c.security_id, _ACTION.c.ex_on)
    .where(
        _ACTION.c.ex_on >= bindparam("since"),
        _ACTION.c.ex_on <= bindparam("until"),
        _ACTION.c.kind.in_(bindparam("kinds", expanding=True)),
    )
    .order_by(_ACTION.c.ex_on, _ACTION.c.id)
)


def changing(
    session: Session, kinds: Collection[str], since: str, until: str
) -> list[tuple[str, int, str]]:
    """Return (action, security, ex-date) of some kinds that went ex in a span of days, in order."""
    asked = {"since": since, "until": until, "kinds": sorted(kinds)}
    rows = session.connection().execute(_CHANGING, asked)
    return [(row[0], int(row[1]), row[2]) for row in rows]


def unapplied_actions(session: Session, since: str, until: str) -> set[int]:
    """Return the securities whose actions went ex in a span of days and are not fully applied.

    An action is applied once nobody who is entitled waits any more; a dividend waits for its pay
    date, and says nothing of positions until then.
    """
    waiting = select(_ENTITLEMENT.c.action_id).where(_ENTITLEMENT.c.state == "waiting")
    statement = select(_ACTION.c.security_id).where(
        _ACTION.c.ex_on >= since, _ACTION.c.ex_on <= until, _ACTION.c.id.in_(waiting)
    )
    return {int(one) for one in session.connection().execute(statement).scalars()}
