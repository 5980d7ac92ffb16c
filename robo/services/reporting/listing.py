"""Lists of what an account has: deposits, withdrawals, plans, lots, accounts of a caller."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session

from robo.core.errors import NotFoundError
from robo.core.ids import AccountId
from robo.core.money import INT64_MAX
from robo.store import histories, transfers, views, worths
from robo.store import plans as plan_store
from robo.store import withdrawals as withdrawal_store
from robo.store.plans import Plan
from robo.store.transfers import Deposit
from robo.store.views import Following
from robo.store.withdrawals import Withdrawal

Place = tuple[int, str]
"""(instant, id) of the last row of a page."""


@dataclass(frozen=True, slots=True)
class LotLine:
    """An open lot with the symbol it is of."""

    id: str
    security_id: int
    symbol: str
    acquired_on: str
    nanos: int
    basis_cents: int
    hold_until: str | None
    """Not to be sold before this date; None for no hold."""


@dataclass(frozen=True, slots=True)
class WithdrawalLine:
    """A withdrawal as its customer sees it."""

    id: str
    account_id: AccountId
    bank_link_id: str
    amount_cents: int | None
    """What was asked for; None for a closing that is not through, or never was."""
    estimate_cents: int | None
    """About what a closing that runs will pay, shares at the last marks; None for all others."""
    promised_cents: int
    closing: int
    state: str
    requested_at: int
    paid_at: int | None


def accounts(
    session: Session, firm_id: str, customer_id: str | None, after: str, limit: int
) -> tuple[list[Following], str | None]:
    """Return a page of the accounts of a firm, or of one customer, by id."""
    found = views.followings(session, firm_id, customer_id, after, limit + 1)
    page = found[:limit]
    return page, (page[-1].account_id if len(found) > limit else None)


def account(session: Session, account_id: str) -> Following:
    """Return one account with what it follows.

    Raises:
        NotFoundError: If there is no such account.
    """
    found = views.following(session, account_id)
    if found is None:
        message = "there is no such account"
        raise NotFoundError(message)
    return found


def deposits(
    session: Session, account_id: str, after: Place | None, limit: int
) -> tuple[list[Deposit], Place | None]:
    """Return a page of an account's deposits, newest first."""
    found = transfers.deposits_of_account(session, account_id, after, limit + 1)
    page = found[:limit]
    return page, ((page[-1].requested_at, page[-1].id) if len(found) > limit else None)


def deposit(session: Session, account_id: str, deposit_id: str) -> Deposit:
    """Return one deposit of an account.

    Raises:
        NotFoundError: If the account has no such deposit.
    """
    found = transfers.deposit(session, deposit_id)
    if found is None or found.account_id != account_id:
        message = "there is no such deposit"
        raise NotFoundError(message)
    return found


def withdrawals(
    session: Session, account_id: str, after: Place | None, limit: int
) -> tuple[list[WithdrawalLine], Place | None]:
    """Return a page of an account's withdrawals, newest first."""
    found = histories.withdrawals_before(session, account_id, after or (INT64_MAX, "~"), limit + 1)
    page = [withdrawal_line(session, one) for one in found[:limit]]
    return page, ((page[-1].requested_at, page[-1].id) if len(found) > limit else None)


def withdrawal(session: Session, account_id: str, withdrawal_id: str) -> WithdrawalLine:
    """Return one withdrawal of an account.

    Raises:
        NotFoundError: If the account has no such withdrawal.
    """
    found = withdrawal_store.get(session, withdrawal_id)
    if found is None or found.account_id != account_id:
        message = "there is no such withdrawal"
        raise NotFoundError(message)
    return withdrawal_line(session, found)


def withdrawal_line(session: Session, one: Withdrawal) -> WithdrawalLine:
    """Return a withdrawal as it is shown: a closing that runs with an estimate in place of zero."""
    estimate = None
    if one.closing and one.is_running:
        estimate = worths.at_last_marks(session, [one.account_id]) + one.promised_cents
    return WithdrawalLine(
        id=one.id,
        account_id=one.account_id,
        bank_link_id=one.bank_link_id,
        amount_cents=one.known_cents,
        estimate_cents=estimate,
        promised_cents=one.promised_cents,
        closing=one.closing,
        state=one.state,
        requested_at=one.requested_at,
        paid_at=one.paid_at,
    )


def plans(session: Session, account_id: str) -> Sequence[Plan]:
    """Return an account's plans that have not ended, oldest first."""
    return plan_store.of_account(session, account_id)


def lots(
    session: Session, account_id: str, after: tuple[str, str] | None, limit: int
) -> tuple[list[LotLine], tuple[str, str] | None]:
    """Return a page of an account's open lots, oldest first."""
    found = histories.open_lots_after(session, account_id, after or ("", ""), limit + 1)
    page = found[:limit]
    names = views.names(session, sorted({row.security_id for row in page}))
    lines = [
        LotLine(
            row.id,
            row.security_id,
            names.get(row.security_id, ("", ""))[0],
            row.acquired_on,
            row.nanos,
            row.basis_cents,
            row.hold_until or None,
        )
        for row in page
    ]
    return lines, ((page[-1].acquired_on, page[-1].id) if len(found) > limit else None)
