"""Tax lots, what happened to them, and proceeds that wait for settlement."""

from typing import Final

from sqlmodel import SQLModel

from robo.store.chains import ChainTable, chained
from robo.store.columns import STRICT, blob, check, integer, one_of, text

LOT_EVENTS: Final = ChainTable(
    "lot_event",
    (
        "id",
        "lot_id",
        "account_id",
        "security_id",
        "kind",
        "nanos_delta",
        "basis_delta_cents",
        "proceeds_cents",
        "cause",
        "on_date",
    ),
)


class LotRow(SQLModel, table=True):
    """Shares bought together, with basis and date; what is still open of them."""

    __tablename__ = "lot"
    __table_args__ = (
        check("lot_open", "nanos >= 0 AND basis_cents >= 0"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    security_id: int = integer()
    acquired_on: str = text()
    nanos: int = integer()
    basis_cents: int = integer()
    hold_until: str = text(default="")
    """Not to be sold before this date: bought with money that settles then."""
    opened_by: str = text()
    """The fill or corporate action."""


class LotEventRow(SQLModel, table=True):
    """What happened to a lot; append-only and chained. A lot is the sum of its events."""

    __tablename__ = "lot_event"
    __table_args__ = chained(
        "lot_event", one_of("lot_event_kind", "kind", "open", "close", "split", "merge", "basis")
    )
    id: str = text(key=True)
    lot_id: str = text(index=True)
    account_id: str = text(to="account.id", index=True)
    security_id: int = integer()
    kind: str = text()
    nanos_delta: int = integer()
    basis_delta_cents: int = integer()
    proceeds_cents: int = integer()
    """Net of fees; zero unless closed."""
    cause: str = text()
    on_date: str = text()
    chain: str = text()
    seq: int = integer()
    mac: bytes = blob()


class ProceedRow(SQLModel, table=True):
    """Unsettled cash by settlement date."""

    __tablename__ = "proceed"
    __table_args__ = (
        check("proceed_cents", "cents > 0"),
        one_of("proceed_state", "state", "waiting", "settled"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    cents: int = integer()
    settles_on: str = text(index=True)
    state: str = text(default="waiting", index=True)
    cause: str = text()


class EntitlementRow(SQLModel, table=True):
    """What an account held when a corporate action went ex; paid or applied once."""

    __tablename__ = "entitlement"
    __table_args__ = (one_of("entitlement_state", "state", "waiting", "done"), STRICT)
    action_id: str = text(key=True)
    account_id: str = text(key=True, to="account.id")
    security_id: int = integer()
    nanos: int = integer()
    state: str = text(default="waiting")
