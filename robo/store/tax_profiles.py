"""What customers choose about their taxes, contributions to IRAs, distributions from them.

Incomes are sealed with the customer's other records; here is only what a night has to read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session, SQLModel

from robo.store.columns import STRICT, check, integer, one_of, text
from robo.store.customers import CustomerRow, PersonalRow
from robo.store.database import among, bulk, insert_many, rows_in, select_in
from robo.store.transfers import DepositRow


class TaxChoiceRow(SQLModel, table=True):
    """What a customer chose, from one instant on; rows are added, never changed."""

    __tablename__ = "tax_choice"
    __table_args__ = (
        one_of("tax_choice_mode", "mode", "harvest", "neutral", "realise"),
        one_of(
            "tax_choice_target", "target", "none", "loss_limit", "zero", "zero_bracket", "amount"
        ),
        one_of("tax_choice_elsewhere", "elsewhere", "unknown", "none", "some"),
        check("tax_choice_budget", "gain_budget_cents IS NULL OR gain_budget_cents >= 0"),
        check("tax_choice_amount", "(target = 'amount') = (target_cents IS NOT NULL)"),
        check("tax_choice_flag", "buy_buy_sell IN (0, 1)"),
        STRICT,
    )
    customer_id: str = text(key=True, to="customer.id")
    number: int = integer(key=True)
    """1 for the first choice of a customer."""
    mode: str = text()
    target: str = text()
    target_cents: int | None = integer(null=True)
    """Net realised gain of the year, where `target` is an amount; negative for a loss."""
    gain_budget_cents: int | None = integer(null=True)
    """Net gain of sales we choose, at most, in a year; NULL for no limit."""
    buy_buy_sell: int = integer()
    """1 = losses may be deferred into shares bought before."""
    elsewhere: str = text()
    """Whether the customer trades elsewhere: unknown, none, some."""
    at: int = integer()


class ContributionRow(SQLModel, table=True):
    """A deposit into an IRA and the tax year it counts for."""

    __tablename__ = "contribution"
    __table_args__ = (check("contribution_cents", "cents > 0"), STRICT)
    deposit_id: str = text(key=True, to="deposit.id")
    account_id: str = text(to="account.id")
    customer_id: str = text(to="customer.id", index=True)
    kind: str = text()
    """Of the account."""
    tax_year: int = integer()
    cents: int = integer()


class AllowanceRow(SQLModel, table=True):
    """What a customer may put into IRAs for a year, by what they told us; incomes stay sealed."""

    __tablename__ = "ira_allowance"
    __table_args__ = (
        check("ira_allowance_cents", "ira_cents >= 0 AND roth_cents >= 0"),
        STRICT,
    )
    customer_id: str = text(key=True, to="customer.id")
    tax_year: int = integer(key=True)
    ira_cents: int = integer()
    """Into all of them together."""
    roth_cents: int = integer()
    """Of that, into Roth IRAs."""


class DistributionRow(SQLModel, table=True):
    """A withdrawal from an IRA whose consequences the customer has confirmed."""

    __tablename__ = "distribution"
    __table_args__ = (STRICT,)
    withdrawal_id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    notice: str = text()
    """Which notice was confirmed."""
    at: int = integer()


_CHOICE: Any = TaxChoiceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CONTRIBUTION: Any = ContributionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ALLOWANCE: Any = AllowanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PERSONAL: Any = PersonalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_CUSTOMER: Any = CustomerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late

PROFILE: Final = "tax_profile"
"""Sealed records of this name and a year, `tax_profile:2026`, hold what a customer told us."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a customer chose; the defaults are those of somebody who has chosen nothing."""

    mode: str = "neutral"
    target: str = "none"
    target_cents: int | None = None
    gain_budget_cents: int | None = 0
    buy_buy_sell: int = 0
    elsewhere: str = "unknown"
    number: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class Contribution:
    """A deposit into an IRA."""

    deposit_id: str
    account_id: str
    customer_id: str
    kind: str
    tax_year: int
    cents: int


_LATER: Final = _CHOICE.alias()
# Of these people only: a subquery for everybody would be worked out again for each chunk.
_NEWEST: Final = select(func.max(_LATER.c.number)).where(
    _LATER.c.customer_id == _CHOICE.c.customer_id
)
_CHOICES_OF: Final = among(
    select(_CHOICE.c.customer_id, *(_CHOICE.c[name] for name in Choice.__dataclass_fields__)).where(
        _CHOICE.c.number == _NEWEST.scalar_subquery()
    ),
    _CHOICE.c.customer_id,
)


def choices(session: Session, customer_ids: Sequence[str]) -> dict[str, Choice]:
    """Return the present choices of those who have made any."""
    rows = rows_in(session, _CHOICES_OF, sorted(set(customer_ids)))
    return {row[0]: Choice(*row[1:]) for row in rows}


def harvesters(session: Session) -> list[str]:
    """Return the customers whose present choice may take losses: they harvest, or have a target."""
    newest = select(_CHOICE.c.customer_id, func.max(_CHOICE.c.number).label("number"))
    last = newest.group_by(_CHOICE.c.customer_id).subquery()
    statement = (
        select(_CHOICE.c.customer_id)
        .join(
            last,
            (last.c.customer_id == _CHOICE.c.customer_id) & (last.c.number == _CHOICE.c.number),
        )
        .where((_CHOICE.c.mode == "harvest") | (_CHOICE.c.target != "none"))
        .order_by(_CHOICE.c.customer_id)
    )
    return list(session.connection().execute(statement).scalars())


def history(session: Session, customer_ids: Sequence[str]) -> dict[str, list[Choice]]:
    """Return all choices of those who have made any, oldest first."""
    columns = [_CHOICE.c[name] for name in Choice.__dataclass_fields__]
    statement = select(_CHOICE.c.customer_id, *columns)
    found: dict[str, list[Choice]] = {}
    for row in select_in(session, statement, _CHOICE.c.customer_id, sorted(set(customer_ids))):
        found.setdefault(row[0], []).append(Choice(*row[1:]))
    for mine in found.values():
        mine.sort(key=lambda one: one.number)
    return found


def choose(session: Session, customer_id: str, made: Choice) -> None:
    """Write a choice; its number must be the one after the last."""
    columns = tuple(Choice.__dataclass_fields__)
    values = tuple(getattr(made, name) for name in columns)
    insert_many(session, "tax_choice", ("customer_id", *columns), [(customer_id, *values)])


_SEALED_OF: Final = among(
    select(_PERSONAL.c.customer_id, _CUSTOMER.c.data_key, _PERSONAL.c.field, _PERSONAL.c.sealed)
    .join(_CUSTOMER, _CUSTOMER.c.id == _PERSONAL.c.customer_id)
    .where(_PERSONAL.c.field.like(f"{PROFILE}:%"), _CUSTOMER.c.data_key.is_not(None)),
    _PERSONAL.c.customer_id,
)


def sealed_profiles(
    session: Session, customer_ids: Sequence[str]
) -> dict[str, tuple[bytes, dict[str, bytes]]]:
    """Return customer -> wrapped data key, and sealed tax profile by field.

    Only of those who have one and whose key was not shredded.
    """
    found: dict[str, tuple[bytes, dict[str, bytes]]] = {}
    ids = sorted(set(customer_ids))
    for customer, key, field, sealed in rows_in(session, _SEALED_OF, ids):
        found.setdefault(customer, (bytes(key), {}))[1][field] = bytes(sealed)
    return found


def contribute(session: Session, made: Contribution) -> None:
    """Write for which year a deposit counts."""
    columns = tuple(Contribution.__dataclass_fields__)
    values = tuple(getattr(made, name) for name in columns)
    insert_many(session, "contribution", columns, [values])


def contributed(session: Session, customer_id: str, tax_year: int) -> dict[str, int]:
    """Return kind of IRA -> cents that count for a year; deposits that failed do not."""
    statement = (
        select(_CONTRIBUTION.c.kind, func.sum(_CONTRIBUTION.c.cents))
        .join(_DEPOSIT, _DEPOSIT.c.id == _CONTRIBUTION.c.deposit_id)
        .where(
            _CONTRIBUTION.c.customer_id == customer_id,
            _CONTRIBUTION.c.tax_year == tax_year,
            _DEPOSIT.c.state.not_in(("failed", "returned")),
        )
        .group_by(_CONTRIBUTION.c.kind)
    )
    return {kind: int(cents) for kind, cents in session.connection().execute(statement)}


def contribution(session: Session, deposit_id: str) -> Contribution | None:
    """Return for which year a deposit counts, None if it is none into an IRA."""
    columns = [_CONTRIBUTION.c[name] for name in Contribution.__dataclass_fields__]
    statement = select(*columns).where(_CONTRIBUTION.c.deposit_id == deposit_id)
    row = session.connection().execute(statement).first()
    return None if row is None else Contribution(*row)


def allow(
    session: Session, customer_id: str, tax_year: int, ira_cents: int, roth_cents: int
) -> None:
    """Write what a customer may put into IRAs for a year, in place of what was said before."""
    bulk(
        session,
        "INSERT INTO ira_allowance (customer_id, tax_year, ira_cents, roth_cents) "
        "VALUES (?, ?, ?, ?) ON CONFLICT (customer_id, tax_year) DO UPDATE SET "
        "ira_cents = excluded.ira_cents, roth_cents = excluded.roth_cents",
        [(customer_id, tax_year, ira_cents, roth_cents)],
    )


def allowance(session: Session, customer_id: str, tax_year: int) -> tuple[int, int] | None:
    """Return what may go into all IRAs and into Roth IRAs for a year, None if nobody told us."""
    statement = select(_ALLOWANCE.c.ira_cents, _ALLOWANCE.c.roth_cents).where(
        _ALLOWANCE.c.customer_id == customer_id, _ALLOWANCE.c.tax_year == tax_year
    )
    row = session.connection().execute(statement).first()
    return None if row is None else (row[0], row[1])


def distribute(
    session: Session, withdrawal_id: str, account_id: str, notice: str, at_micros: int
) -> None:
    """Write that a customer has confirmed what a withdrawal from an IRA means."""
    insert_many(
        session,
        "distribution",
        ("withdrawal_id", "account_id", "notice", "at"),
        [(withdrawal_id, account_id, notice, at_micros)],
    )
