"""Direct sleeves: what a customer chose for one, and how far its account has grown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import case, func, select
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.database import among, bulk, rows_in
from robo.store.transfers import DepositRow, WithdrawalRow

ANEW: Final = ""
"""`reviewed_on` of who was never reviewed, or chose another ladder since: its count holds."""
CHANGED: Final = "changed"
"""`reviewed_on` of who chose something else since: another target is made, the count stays."""
OURS: Final = "{}"
"""`own_index` of who follows our index."""
_PAID: Final = ("sent", "paid")


class DirectSleeveRow(SQLModel, table=True):
    """Choices for a sleeve, and what its account carries; written when either first exists."""

    __tablename__ = "direct_sleeve"
    __table_args__ = (
        one_of("direct_theme", "theme", "fades", "stays"),
        one_of("direct_screen", "screen", "stays", "goes"),
        check("direct_names", "names > 0 AND names_max >= 0"),
        check("direct_stays", "stays_ppm >= 0 AND stays_ppm <= 1000000"),
        check("direct_amounts", "carried_cents >= 0 AND withdrawn_cents >= 0"),
        STRICT,
    )
    sleeve_id: str = text(key=True, to="sleeve.id")
    account_id: str = text(to="account.id", unique=True)
    ladder: str = text(default="standard")
    """The customer's choice; `standard` for the ladder of the account's segment."""
    names_max: int = integer(default=0)
    """The customer's own limit; 0 for none."""
    theme: str = text(default="fades")
    stays_ppm: int = integer(default=0)
    """The least share of a theme that stays; 0 where it fades."""
    tilts: str = text(default="{}")
    """Dial -> ppm asked for, canonical JSON."""
    names: int = integer()
    """How many names the account carries; more may be held."""
    carried_cents: int = integer(default=0)
    """The balance that the count rests on: follows the market up, never down."""
    withdrawn_cents: int = integer(default=0)
    """All that was taken out and that the count has been lowered for; see `taken_out`."""
    reviewed_on: str = text(default="")
    """The day of the last review, or `ANEW` or `CHANGED`."""
    screen: str = text(default="stays")
    """Whether what the basket excludes stays excluded when the account outgrows its ten names."""
    own_index: str = text(default=OURS)
    """Security -> ppm of the customer's own index, canonical JSON; `OURS` for none."""
    changed_at: int = integer()


_DIRECT: Any = DirectSleeveRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_WITHDRAWAL: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class DirectSleeve:
    """One row; see `DirectSleeveRow` for what each field means."""

    sleeve_id: str
    account_id: AccountId
    ladder: str
    names_max: int
    theme: str
    stays_ppm: int
    tilts: str
    names: int
    carried_cents: int
    withdrawn_cents: int
    reviewed_on: str
    screen: str = "stays"
    own_index: str = OURS


_COLUMNS: Final = tuple(field.name for field in fields(DirectSleeve))
_SELECT: Any = select(*(_DIRECT.c[name] for name in _COLUMNS))


_OF_ACCOUNTS: Final = among(_SELECT, _DIRECT.c.account_id)


def of_accounts(
    session: Session, account_ids: Sequence[AccountId]
) -> dict[AccountId, DirectSleeve]:
    """Return what is known of accounts' sleeves; those that never chose nor grew are left out."""
    rows = rows_in(session, _OF_ACCOUNTS, account_ids)
    return {row[1]: DirectSleeve(*row) for row in rows}


def chose_ladder(session: Session, ladder: str) -> list[AccountId]:
    """Return the accounts whose customers chose a ladder."""
    statement = select(_DIRECT.c.account_id).where(_DIRECT.c.ladder == ladder)
    rows = session.connection().execute(statement.order_by(_DIRECT.c.account_id))
    return [AccountId(account) for account in rows.scalars()]


def own_indexes(session: Session) -> list[str]:
    """Return the indexes of customers' own that are followed, each once, as they are kept."""
    statement = select(_DIRECT.c.own_index).where(_DIRECT.c.own_index != OURS).distinct()
    return sorted(session.connection().execute(statement).scalars())


def put(session: Session, rows: Sequence[DirectSleeve], at_micros: int) -> None:
    """Write rows, in place of those that were there."""
    names = (*_COLUMNS, "changed_at")
    marks = ", ".join("?" * len(names))
    changes = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
    bulk(
        session,
        f"INSERT INTO direct_sleeve ({', '.join(names)}) VALUES ({marks}) "  # noqa: S608 - names are ours
        f"ON CONFLICT (sleeve_id) DO UPDATE SET {changes}",
        [(*(getattr(one, name) for name in _COLUMNS), at_micros) for one in rows],
    )


_PAID_OUT: Final = among(
    select(_WITHDRAWAL.c.account_id, func.sum(_WITHDRAWAL.c.promised_cents))
    .where(_WITHDRAWAL.c.state.in_(_PAID))
    .group_by(_WITHDRAWAL.c.account_id),
    _WITHDRAWAL.c.account_id,
)
# Before the bank confirmed a deposit, only what was lent of it had been at work.
_AT_WORK: Final = case(
    (_DEPOSIT.c.available_at.is_(None), _DEPOSIT.c.advanced_cents), else_=_DEPOSIT.c.cents
)
_CAME_BACK: Final = among(
    select(_DEPOSIT.c.account_id, func.sum(_AT_WORK))
    .where(_DEPOSIT.c.state == "returned")
    .group_by(_DEPOSIT.c.account_id),
    _DEPOSIT.c.account_id,
)


def taken_out(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, int]:
    """Return all that ever left accounts, in cents; those that nothing left are left out.

    What was paid out, and deposits that came back after they had been at work: money that was never
    the customer's carries no names.
    """
    found: Counter[AccountId] = Counter()
    for asked in (_PAID_OUT, _CAME_BACK):
        for account, cents in rows_in(session, asked, account_ids):
            found[AccountId(account)] += int(cents)
    return dict(found)
