"""Whether money may leave an account: whose it is, what is owed, what it is worth."""

from typing import Final

from sqlmodel import Session

from robo.core.errors import (
    BelowMinimumError,
    ConflictError,
    InsufficientFundsError,
    NotFoundError,
    RefusedError,
    RestrictedError,
)
from robo.core.ids import AccountId
from robo.services import selling
from robo.store import accounts, households, transfers, withdrawals
from robo.store.withdrawals import Withdrawal

OPEN: Final = ("requested", "selling", "settling")
"""States of a withdrawal that was not sent."""


def sleeve_of(session: Session, account_id: AccountId, bank_link_id: str) -> accounts.Sleeve:
    """Return the sleeve of an account whose money may go to a bank.

    Raises:
        NotFoundError: If account or link do not exist, or are different people's.
        RefusedError: If the link was removed.
        ConflictError: If the account is closing or closed.
    """
    sleeve = accounts.sleeves(session, [account_id]).get(account_id)
    link = transfers.link(session, bank_link_id)
    second = households.second_owner(session, account_id)
    if sleeve is None or link is None or link.customer_id not in {sleeve.customer_id, second}:
        message = "there is no such account or bank link"
        raise NotFoundError(message)
    if link.state != "active":
        message = "the bank link was removed"
        raise RefusedError(message, code="bank_link_removed")
    if sleeve.state not in {"open", "blocked"}:
        message = "the account is closing or closed"
        raise ConflictError(message, code="account_closing")
    return sleeve


def refuse(
    session: Session, account_id: AccountId, cents: int | None, settled: int, worth: selling.Worth
) -> None:
    """Return if so much may be withdrawn; None for all of it.

    Raises:
        RoboError: As `withdrawing.request`.
    """
    if transfers.owed_deposits(session, [account_id]):
        message = "a returned deposit has to be brought back first"
        raise RefusedError(message, code="deposit_owed")
    if any(w.state in OPEN for w in withdrawals.of_accounts(session, [account_id])):
        message = "another withdrawal is being prepared; it must be sent first"
        raise ConflictError(message, code="withdrawal_open")
    if cents is None:
        if worth.blocked:
            message = "some shares are restricted: say first whether to sell them"
            raise RestrictedError(message, reasons=[str(s) for s in worth.blocked])
        return
    if cents < 1:
        message = "a withdrawal is at least one cent"
        raise BelowMinimumError(message)
    if cents > settled + worth.sellable_cents:
        message = "settled cash and what may be sold are worth less than that"
        raise InsufficientFundsError(message)


def same(
    existing: Withdrawal, account_id: AccountId, bank_link_id: str, cents: int | None
) -> Withdrawal:
    """Return a withdrawal that exists, if it is the one asked for.

    Raises:
        ConflictError: If it is another.
    """
    wanted = (account_id, bank_link_id, cents is None)
    same = (existing.account_id, existing.bank_link_id, bool(existing.closing)) == wanted
    if not same or (cents is not None and existing.cents != cents):
        message = "this id belongs to another withdrawal"
        raise ConflictError(message)
    return existing
