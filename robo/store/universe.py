"""Securities as the books know them; the permanent id comes from the baskets room."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.core.ids import SecurityId
from robo.ports.plugins import ListedSecurity
from robo.store.columns import STRICT, integer, one_of, text
from robo.store.database import among, bulk, insert_many, once, rows_in, select_in


class SecurityRow(SQLModel, table=True):
    """What can be held; its symbol may change, its id never does."""

    __tablename__ = "security"
    __table_args__ = (
        one_of("security_state", "state", "active", "halted", "delisted", "merged"),
        STRICT,
    )
    id: int = integer(key=True)
    symbol: str = text(index=True)
    name: str = text()
    sector: str = text(default="")
    group_key: str = text(default="")
    country: str = text(default="")
    size_cents: int = integer(default=0)
    state: str = text(default="active")


@dataclass(frozen=True, slots=True)
class Listing:
    """One security as it is stored."""

    id: SecurityId
    symbol: str
    name: str
    sector: str = ""
    group_key: str = ""
    country: str = ""
    size_cents: int = 0
    """The size seed it came with; 0 for what a corporate action brought."""
    state: str = "active"


_SECURITY: Any = SecurityRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_COLUMNS = ("id", "symbol", "name", "sector", "group_key", "country", "size_cents", "state")
_SELECT: Any = select(*(_SECURITY.c[name] for name in _COLUMNS))


def sync(session: Session, securities: Iterable[Listing]) -> int:
    """Add the securities that are new, refresh what others are called, return how many were new.

    Symbols, states, sectors and size seeds of known securities stay: the first two move by
    corporate actions only, and the others are what a simulated market's prices hang on.
    """
    given = list(securities)
    known = {row.id for row in session.connection().execute(select(_SECURITY.c.id))}
    bulk(
        session,
        "UPDATE security SET name = ?, group_key = ?, country = ? WHERE id = ? "
        "AND (name <> ? OR group_key <> ? OR country <> ?)",
        [
            (s.name, s.group_key, s.country, s.id, s.name, s.group_key, s.country)
            for s in given
            if s.id in known
        ],
    )
    fresh = [s for s in given if s.id not in known]
    add(session, fresh)
    return len(fresh)


def add(session: Session, securities: Sequence[Listing]) -> None:
    """Insert securities; a corporate action's new names come with a size seed of zero."""
    insert_many(
        session,
        "security",
        _COLUMNS,
        [tuple(getattr(s, name) for name in _COLUMNS) for s in securities],
    )


def rename(session: Session, security_id: SecurityId, symbol: str) -> None:
    """Give a security another symbol from now on."""
    bulk(session, "UPDATE security SET symbol = ? WHERE id = ?", [(symbol, security_id)])


def set_state(session: Session, security_id: SecurityId, state: str) -> None:
    """Mark a security active, halted, delisted or merged."""
    bulk(session, "UPDATE security SET state = ? WHERE id = ?", [(state, security_id)])


def listed(session: Session) -> tuple[ListedSecurity, ...]:
    """Return what plug-ins may know: every name of the universe, dead or alive, by id.

    Names that corporate actions brought are left out: a simulated market makes them itself.
    """
    statement = select(
        _SECURITY.c.id, _SECURITY.c.symbol, _SECURITY.c.sector, _SECURITY.c.size_cents
    )
    rows = session.connection().execute(
        statement.where(_SECURITY.c.size_cents > 0).order_by(_SECURITY.c.id)
    )
    return tuple(ListedSecurity(SecurityId(i), symbol, sec, size) for i, symbol, sec, size in rows)


_THOSE: Final = among(_SELECT, _SECURITY.c.id)


def by_id(session: Session, security_ids: Sequence[int]) -> dict[SecurityId, Listing]:
    """Return the securities of those ids that exist."""
    rows = rows_in(session, _THOSE, list(security_ids))
    return {SecurityId(row.id): Listing(*row) for row in rows}


def by_symbol(session: Session, symbols: Sequence[str]) -> dict[str, Listing]:
    """Return the securities that trade under those symbols today; a living one wins."""
    rows = select_in(session, _SELECT, _SECURITY.c.symbol, list(symbols))
    ranked = sorted(rows, key=lambda row: (row.state in {"active", "halted"}, row.id))
    return {row.symbol: Listing(*row) for row in ranked}


def everything(session: Session) -> tuple[Listing, ...]:
    """Return every security by id."""
    rows = session.connection().execute(_SELECT.order_by(_SECURITY.c.id))
    return tuple(Listing(*row) for row in rows)


_GONE: Final = select(_SECURITY.c.id).where(_SECURITY.c.state.in_(("delisted", "merged")))


def gone(session: Session) -> set[int]:
    """Return the securities that trade no more."""
    return set(once(session, ("gone",), lambda: _gone(session)))


def _gone(session: Session) -> frozenset[int]:
    return frozenset(session.connection().execute(_GONE).scalars())
