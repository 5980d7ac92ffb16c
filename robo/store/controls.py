"""The kill switch, what the broker says it trades, and which of its accounts is whose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, column, exists, select, table
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.columns import STRICT, check, integer, text
from robo.store.database import bulk, select_in

EVERYBODY: Final = "*"
"""The scope of the switch that stops all firms."""


class KillSwitchRow(SQLModel, table=True):
    """Whether new orders are stopped: for everybody (`*`) or for one firm."""

    __tablename__ = "kill_switch"
    __table_args__ = (check("kill_switch_stopped", "stopped IN (0, 1)"), STRICT)
    scope: str = text(key=True)
    stopped: int = integer()
    actor: str = text()
    reason: str = text()
    changed_at: int = integer()


class BrokerAccountRow(SQLModel, table=True):
    """The broker's account of a customer account, where the broker keeps one each."""

    __tablename__ = "broker_account"
    __table_args__ = (STRICT,)
    account_id: str = text(key=True, to="account.id")
    broker: str = text()
    reference: str = text(unique=True)
    """What the broker calls it; orders, positions and cash are asked for by it."""
    opened_at: int = integer()


class TradabilityRow(SQLModel, table=True):
    """What the broker last said of a security; names without a row trade in fractions."""

    __tablename__ = "tradability"
    __table_args__ = (
        check("tradability_flags", "tradable IN (0, 1) AND fractionable IN (0, 1)"),
        STRICT,
    )
    security_id: int = integer(key=True)
    tradable: int = integer()
    fractionable: int = integer()
    seen_at: int = integer()


_TRADABILITY: Any = TradabilityRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = table("account", column("id"), column("firm_id"))
_CUSTODY: Any = table("custody", column("account_id"), column("state"))
_SWITCH: Any = KillSwitchRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BROKER_ACCOUNT: Any = BrokerAccountRow.__table__  # type: ignore[attr-defined] # the same


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """One switch as it stands."""

    scope: str
    stopped: int
    actor: str
    reason: str
    changed_at: int


def switches(session: Session) -> list[KillSwitch]:
    """Return every switch that was ever used, by scope."""
    columns = [_SWITCH.c[name] for name in KillSwitch.__dataclass_fields__]
    rows = session.connection().execute(select(*columns).order_by(_SWITCH.c.scope))
    return [KillSwitch(*row) for row in rows]


_STOPPED: Final = select(_SWITCH.c.scope).where(_SWITCH.c.stopped == 1)


def stopped(session: Session) -> frozenset[str]:
    """Return the scopes in which no new order may be sent."""
    return frozenset(session.connection().execute(_STOPPED).scalars())


def turn(
    session: Session, scope: str, *, stop: bool, actor: str, reason: str, at_micros: int
) -> bool:
    """Turn a switch; return False where it stood so already."""
    changed = bulk(
        session,
        "INSERT INTO kill_switch (scope, stopped, actor, reason, changed_at) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (scope) DO UPDATE SET stopped = excluded.stopped, "
        "actor = excluded.actor, reason = excluded.reason, changed_at = excluded.changed_at "
        "WHERE kill_switch.stopped <> excluded.stopped",
        [(scope, int(stop), actor, reason, at_micros)],
    )
    return changed == 1


def link_account(
    session: Session, account_id: AccountId, broker: str, reference: str, at_micros: int
) -> None:
    """Remember which account of the broker is a customer account's; never another one later."""
    bulk(
        session,
        "INSERT INTO broker_account (account_id, broker, reference, opened_at) "
        "VALUES (?, ?, ?, ?) ON CONFLICT (account_id) DO NOTHING",
        [(account_id, broker, reference, at_micros)],
    )


def broker_accounts(session: Session, account_ids: Sequence[str]) -> dict[AccountId, str]:
    """Return account -> the broker's account, for those that have one which may trade."""
    columns = (_BROKER_ACCOUNT.c.account_id, _BROKER_ACCOUNT.c.reference)
    stopped_there = exists().where(
        _CUSTODY.c.account_id == columns[0], _CUSTODY.c.state != "active"
    )
    rows = select_in(session, select(*columns).where(~stopped_there), columns[0], list(account_ids))
    return {AccountId(row[0]): row[1] for row in rows}


def references(session: Session) -> set[str]:
    """Return what the broker calls the accounts that it keeps, or has kept, for our customers."""
    return set(session.connection().execute(select(_BROKER_ACCOUNT.c.reference)).scalars())


def owners_of_broker_accounts(session: Session) -> list[tuple[str, str, AccountId]]:
    """Return (the broker's account, firm, ours) of accounts kept apart and not closed there."""
    statement = (
        select(_BROKER_ACCOUNT.c.reference, _ACCOUNT.c.firm_id, _ACCOUNT.c.id)
        .join(_ACCOUNT, _ACCOUNT.c.id == _BROKER_ACCOUNT.c.account_id)
        .where(
            ~exists().where(
                _CUSTODY.c.account_id == _BROKER_ACCOUNT.c.account_id, _CUSTODY.c.state == "closed"
            )
        )
        .order_by(_BROKER_ACCOUNT.c.reference)
    )
    rows = session.connection().execute(statement)
    return [(row[0], row[1], AccountId(row[2])) for row in rows]


_KEPT_FOR: Final = (
    select(_ACCOUNT.c.firm_id, _ACCOUNT.c.id)
    .join(_BROKER_ACCOUNT, _BROKER_ACCOUNT.c.account_id == _ACCOUNT.c.id)
    .where(_BROKER_ACCOUNT.c.reference == bindparam("reference"))
)


def owner_of_broker_account(session: Session, broker_account: str) -> tuple[str, AccountId] | None:
    """Return (firm, account) that an account at the broker is kept for; None for a shared one."""
    row = session.connection().execute(_KEPT_FOR, {"reference": broker_account}).first()
    return None if row is None else (row[0], AccountId(row[1]))


@dataclass(frozen=True, slots=True)
class Tradability:
    """What the broker said of a security, and when."""

    security_id: int
    tradable: int
    fractionable: int
    seen_at: int


_TRADABILITIES: Final = select(*(_TRADABILITY.c[name] for name in Tradability.__dataclass_fields__))


def tradabilities(session: Session) -> dict[int, Tradability]:
    """Return what the broker said of each security that it was ever asked about."""
    return {row[0]: Tradability(*row) for row in session.connection().execute(_TRADABILITIES)}


def put_tradability(session: Session, said: Sequence[Tradability]) -> None:
    """Remember what the broker said of securities."""
    bulk(
        session,
        "INSERT INTO tradability (security_id, tradable, fractionable, seen_at) "
        "VALUES (?, ?, ?, ?) ON CONFLICT (security_id) DO UPDATE SET "
        "tradable = excluded.tradable, fractionable = excluded.fractionable, "
        "seen_at = excluded.seen_at",
        [(one.security_id, one.tradable, one.fractionable, one.seen_at) for one in said],
    )
