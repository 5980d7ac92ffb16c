"""Withdrawals as services see them, and how much of an account's cash has really settled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.ledger import chart
from robo.store import ledger
from robo.store.accounts import AccountRow
from robo.store.database import bulk, insert_many, select_in
from robo.store.lots import ProceedRow
from robo.store.transfers import DepositRow, WithdrawalRow

_WITHDRAWAL: Any = WithdrawalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_BALANCE: Any = ledger.BalanceRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PROCEED: Any = ProceedRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


_GIVEN_BACK: Final = frozenset({"release", "withdraw_undone"})
"""Inflows of cash that was there before."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Money on its way to a customer."""

    id: str
    account_id: AccountId
    bank_link_id: str
    cents: int
    promised_cents: int
    closing: int
    state: str
    requested_at: int
    paid_at: int | None = None

    @property
    def is_running(self) -> bool:
        """Return whether it was not sent yet, nor given up."""
        return self.state in {"requested", "selling", "settling"}

    def need_cents(self, settled_cents: int) -> int | None:
        """Return what sales must bring beside cash that has settled; None for everything."""
        return None if self.closing else self.cents - self.promised_cents - settled_cents

    @property
    def known_cents(self) -> int | None:
        """Return what was asked for; None for a closing that is not through, or never was."""
        ended = not self.is_running and self.state != "canceled"
        return self.cents if not self.closing or self.cents or ended else None


_NAMES = tuple(Withdrawal.__dataclass_fields__)
_SELECT: Any = select(*(_WITHDRAWAL.c[name] for name in _NAMES))


def add(session: Session, withdrawal: Withdrawal) -> None:
    """Write a withdrawal."""
    insert_many(
        session, "withdrawal", _NAMES, [tuple(getattr(withdrawal, name) for name in _NAMES)]
    )


def save(session: Session, withdrawal: Withdrawal) -> None:
    """Write what changes of a withdrawal: amounts, state, payment."""
    w = withdrawal
    bulk(
        session,
        "UPDATE withdrawal SET cents = ?, promised_cents = ?, state = ?, paid_at = ? WHERE id = ?",
        [(w.cents, w.promised_cents, w.state, w.paid_at, w.id)],
    )


def get(session: Session, withdrawal_id: str) -> Withdrawal | None:
    """Return a withdrawal, or None."""
    row = session.connection().execute(_SELECT.where(_WITHDRAWAL.c.id == withdrawal_id)).first()
    return None if row is None else Withdrawal(*row)


def of_accounts(session: Session, account_ids: Sequence[AccountId]) -> list[Withdrawal]:
    """Return the withdrawals of accounts, newest first."""
    rows = select_in(session, _SELECT, _WITHDRAWAL.c.account_id, account_ids)
    return sorted((Withdrawal(*row) for row in rows), key=lambda w: (-w.requested_at, w.id))


def in_states(session: Session, *states: str) -> list[Withdrawal]:
    """Return withdrawals in some states, oldest first."""
    statement = _SELECT.where(_WITHDRAWAL.c.state.in_(states))
    statement = statement.order_by(_WITHDRAWAL.c.requested_at, _WITHDRAWAL.c.id)
    return [Withdrawal(*row) for row in session.connection().execute(statement)]


def untold(session: Session, before_micros: int) -> list[Withdrawal]:
    """Return sent withdrawals that the bank was not told of since an instant, oldest first."""
    last = _WITHDRAWAL.c.told_at
    statement = _SELECT.where(
        _WITHDRAWAL.c.state == "sent", last.is_(None) | (last <= before_micros)
    ).order_by(_WITHDRAWAL.c.requested_at, _WITHDRAWAL.c.id)
    return [Withdrawal(*row) for row in session.connection().execute(statement)]


def note_told(session: Session, withdrawal_ids: Sequence[str], at_micros: int) -> None:
    """Remember that the bank took the requests of withdrawals."""
    bulk(
        session,
        "UPDATE withdrawal SET told_at = ? WHERE id = ?",
        [(at_micros, each) for each in withdrawal_ids],
    )


def settled_cash(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, int]:
    """Return the free cash that no bank can take back.

    Money is spent in the order in which it came, so what lies in the cash book is what came last.
    Of that, deposits that have not settled do not count. Cash that orders gave back may stem from
    one of them and does not count either, as far as unsettled deposits could explain it.
    """
    found = ledger.many_account_balances(session, account_ids)
    cash = {account: balances.cash_cents for account, balances in found.items()}
    unsettled = _unsettled_by_account(session, account_ids)
    for account, deposits in unsettled.items():
        inflows = ledger.inflows(session, chart.cash(account), account)
        cash[account] -= _still_there(inflows, cash[account], deposits)
    return cash


def _unsettled_by_account(
    session: Session, account_ids: Sequence[AccountId]
) -> dict[AccountId, dict[str, int]]:
    """Return account -> deposit -> the cents it brought that the bank may still take back."""
    columns = (
        _DEPOSIT.c.account_id,
        _DEPOSIT.c.id,
        _DEPOSIT.c.state,
        _DEPOSIT.c.cents,
        _DEPOSIT.c.advanced_cents,
    )
    statement = select(*columns).where(_DEPOSIT.c.state.in_(("requested", "pending", "available")))
    found: dict[AccountId, dict[str, int]] = {}
    rows = select_in(session, statement, _DEPOSIT.c.account_id, account_ids)
    for account, deposit_id, state, cents, advanced in rows:
        brought = cents if state == "available" else advanced
        if brought:
            found.setdefault(account, {})[deposit_id] = brought
    return found


def _still_there(inflows: Iterable[ledger.Inflow], cash: int, deposits: Mapping[str, int]) -> int:
    """Return how much of the cash may be unsettled; inflows come newest first."""
    left, unsettled, doubtful = cash, 0, 0
    for inflow in inflows:
        if left <= 0:
            break
        part = min(left, inflow.cents)
        left -= part
        if inflow.cause in deposits:
            unsettled += part
        elif inflow.kind in _GIVEN_BACK:
            doubtful += part
    return min(sum(deposits.values()), unsettled + doubtful)


def waiting_proceeds(session: Session, account_id: AccountId) -> int:
    """Return the cents of sales that have not settled."""
    statement = select(func.coalesce(func.sum(_PROCEED.c.cents), 0)).where(
        _PROCEED.c.account_id == account_id, _PROCEED.c.state == "waiting"
    )
    return int(session.connection().execute(statement).scalar_one())


def unsettled_deposits(session: Session, account_id: AccountId) -> bool:
    """Return whether money of the account is still on its way in."""
    statement = select(func.count()).where(
        _DEPOSIT.c.account_id == account_id,
        _DEPOSIT.c.state.in_(("requested", "pending", "available")),
    )
    return bool(session.connection().execute(statement).scalar_one())


def end_plans(session: Session, account_id: AccountId) -> None:
    """End the recurring deposits of an account that is closing."""
    bulk(session, "UPDATE plan SET state = 'ended' WHERE account_id = ?", [(account_id,)])


def closed_with_cash(session: Session) -> dict[AccountId, int]:
    """Return the cents in closed accounts that have cash, such as a late dividend."""
    book = chart.CUSTOMER_PREFIX + _ACCOUNT.c.id + "/cash"
    statement = (
        select(_ACCOUNT.c.id, _BALANCE.c.amount)
        .join(_BALANCE, (_BALANCE.c.book == book) & (_BALANCE.c.asset == chart.USD))
        .where(_ACCOUNT.c.state == "closed", _BALANCE.c.amount > 0)
        .order_by(_ACCOUNT.c.id)
    )
    rows = session.connection().execute(statement)
    return {AccountId(account): int(cents) for account, cents in rows}
