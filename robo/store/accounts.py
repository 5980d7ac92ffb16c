"""Accounts, sleeves, and the targets they follow (shared: a million customers, few targets)."""

from sqlmodel import SQLModel

from robo.store.columns import STRICT, check, integer, one_of, text


class AccountRow(SQLModel, table=True):
    """One pot of money of one customer."""

    __tablename__ = "account"
    __table_args__ = (
        one_of("account_kind", "kind", "individual", "joint", "traditional_ira", "roth_ira"),
        one_of("account_state", "state", "open", "blocked", "closing", "closed"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id", index=True)
    customer_id: str = text(to="customer.id", index=True)
    kind: str = text()
    state: str = text(default="open")
    opened_at: int = integer()
    closed_at: int | None = integer(null=True)


class SleeveRow(SQLModel, table=True):
    """The part of an account that follows one target."""

    __tablename__ = "sleeve"
    __table_args__ = (one_of("sleeve_kind", "kind", "basket", "direct_index", "model"), STRICT)
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    kind: str = text(default="basket")
    basket_id: str = text()
    target_id: str = text(to="target.id", index=True)
    changed_at: int = integer()


class TargetRow(SQLModel, table=True):
    """A set of target weights; its id is the hash of its content, so equal targets are one."""

    __tablename__ = "target"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    basket_id: str = text()
    basket_version: str = text()
    created_at: int = integer()


class TargetWeightRow(SQLModel, table=True):
    """One name of a target."""

    __tablename__ = "target_weight"
    __table_args__ = (
        check("target_weight_range", "weight_ppm > 0 AND weight_ppm <= 1000000"),
        STRICT,
    )
    target_id: str = text(key=True, to="target.id")
    security_id: int = integer(key=True)
    weight_ppm: int = integer()
    position: int = integer()
    """Order in the basket: ties go to the earlier name."""
    note: str = text(default="")
    """Why this name stands in for another, empty for a name of the basket itself."""
