"""Securities as the books know them; the permanent id comes from the baskets room."""

from sqlmodel import SQLModel

from robo.store.columns import STRICT, integer, one_of, text


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
