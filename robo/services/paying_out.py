"""Whether money may leave an account: whose it is, what is owed, what it is worth.

And how the money of an account that is closing leaves it, where a part of it cannot be sold yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlmodel import Session

from robo.core.clock import business_date, from_micros
from robo.core.errors import (
    BelowMinimumError,
    ConflictError,
    InsufficientFundsError,
    NotFoundError,
    RefusedError,
    RestrictedError,
)
from robo.core.ids import AccountId, FirmId, child_id
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ledger import recipes
from robo.services import mailing, selling
from robo.services.sealing import Vault
from robo.store import accounts, households, ledger, people, transfers, withdrawals
from robo.store.keyring import Keyring
from robo.store.withdrawals import Withdrawal

OPEN: Final = ("requested", "selling", "settling")
"""States of a withdrawal that was not sent."""
_FOR_GOOD: Final = frozenset({Reason.SKIP_RESTRICTED, Reason.SKIP_NOT_OVERWEIGHT})
"""Why a name is not sold however long we wait."""
_PERHAPS: Final = frozenset({Reason.SKIP_NOT_TRADABLE, Reason.SKIP_WHOLE_SHARES})
"""Why it may not be sold however long we wait."""


def sleeve_of(
    session: Session, account_id: AccountId, bank_link_id: str, cents: int | None
) -> accounts.Sleeve:
    """Return the sleeve of an account whose money may go to a bank; None asks for all of it.

    A closed account is closed once more for cents that stayed in it, see `keep_little`.

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
    left = cents is None and sleeve.state == "closed"
    left = left and ledger.account_balances(session, account_id).cash_cents > 0
    if sleeve.state not in {"open", "blocked"} and not left:
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


def promise_cause(session: Session, one: Withdrawal, more_cents: int) -> str:
    """Return the cause of promising more to a withdrawal: another each time."""
    parts = len(_parts(_by_id(session, one.account_id), one))
    place = f"{parts}/" if parts else ""
    return f"{one.id}/{place}{one.promised_cents + more_cents}"


def is_all(one: Withdrawal, skips: Mapping[int, Reason], policy: Policy, at_micros: int) -> bool:
    """Return whether a withdrawal pays what there is, not nothing: no more will be sold for it.

    What the broker does not trade, or not in fractions, may come back tomorrow and may never: the
    rest of the account does not stand still for it.
    """
    long = _waited(one.requested_at, at_micros) >= policy.close_part_days
    hopeless = _FOR_GOOD | (_PERHAPS if long else frozenset())
    return not one.closing and hopeless.issuperset(skips.values())


def _waited(since_micros: int, at_micros: int) -> int:
    """Return the days between the business dates of two instants."""
    return (business_date(from_micros(at_micros)) - business_date(from_micros(since_micros))).days


def part_of(session: Session, one: Withdrawal, policy: Policy, at_micros: int) -> Withdrawal | None:
    """Return the settled part of a closing that need not wait for what cannot be sold; or None.

    A name that is halted or restricted may stay so for months. What has settled then leaves as a
    withdrawal of its own, and the closing goes on without it. Each part waits anew, also after one
    that was refused: neither a bank nor a customer wants a transfer for every dividend.
    """
    if one.promised_cents < policy.close_part_cents_min:
        return None
    parts = _parts(_by_id(session, one.account_id), one)
    since = max([one.requested_at, *(part.requested_at for part in parts)])
    if _waited(since, at_micros) < policy.close_part_days:
        return None
    if withdrawals.waiting_proceeds(session, one.account_id):
        return None  # more settles soon, and leaves with it
    return replace(
        one,
        id=child_id("wdr", one.id, "part", len(parts)),
        cents=one.promised_cents,
        state="sent",
        requested_at=at_micros,
    )


def is_part(session: Session, one: Withdrawal) -> bool:
    """Return whether a withdrawal left before the rest of its closing."""
    mine = _by_id(session, one.account_id)
    closings = [each for each in mine.values() if each.closing]
    return any(one.id == part.id for rest in closings for part in _parts(mine, rest))


def _by_id(session: Session, account_id: AccountId) -> dict[str, Withdrawal]:
    return {each.id: each for each in withdrawals.of_accounts(session, [account_id])}


def _parts(mine: Mapping[str, Withdrawal], one: Withdrawal) -> list[Withdrawal]:
    """Return what left before the rest of a closing, among the withdrawals of its account."""
    parts: list[Withdrawal] = []
    while (made := mine.get(child_id("wdr", one.id, "part", len(parts)))) is not None:
        parts.append(made)
    return parts


def closes(session: Session, account_id: AccountId) -> list[Withdrawal]:
    """Return the closing of an account that has not been sent, if there is one."""
    mine = withdrawals.of_accounts(session, [account_id])
    return [w for w in mine if w.closing and w.state in OPEN]


def is_little(session: Session, one: Withdrawal, account_state: str, policy: Policy) -> bool:
    """Return whether a closing ends without this money, which the bank has just given back.

    Only if it is all there is: an account that waits, blocked, with what came back before, or that
    still holds anything, must not be closed for the last cents that follow.
    """
    if not one.closing or account_state not in {"closing", "closed"}:
        return False
    has = ledger.account_balances(session, one.account_id)
    cents = has.cash_cents + has.unsettled_cents + has.reserved_cents
    return cents < policy.close_part_cents_min and not has.holdings_nanos


def may_follow(before: Sequence[Withdrawal], cents: int, policy: Policy) -> bool:
    """Return whether what came after a closing is sent on; cents that were refused wait for more.

    Args:
        before: The account's withdrawals, newest first.
        cents: What lies in it.
        policy: Says what is little.
    """
    return cents >= policy.close_part_cents_min or before[0].state != "failed"


def keep_little(
    session: Session, keyring: Keyring, customer_id: str, one: Withdrawal, at_micros: int
) -> None:
    """Close an account whose last cents no bank takes; they stay its customer's, in its cash.

    The customer is told. They leave with what comes later, or when the customer closes the account
    once more with another bank; until then the books show them.
    """
    accounts.set_state(session, one.account_id, "closed", at_micros)
    if people.data_key(session, customer_id) is None:
        return  # a firm's own customer has no mail of ours
    vault = Vault.open(session, keyring, customer_id)
    values = {"amount": format_cents(one.promised_cents)}
    mailing.queue(session, vault, "cents_kept", one.id, at_micros, values)


def stop_closing(
    session: Session, keyring: Keyring, firm_id: FirmId, account_id: AccountId, at_micros: int
) -> list[Withdrawal]:
    """Cancel the rest of a closing whose money the bank did not take; return what was cancelled.

    The account waits, blocked, for another bank: its money must not be invested again.
    """
    stopped = closes(session, account_id)
    for one in stopped:
        moved = recipes.undo_withdrawal(account_id, one.promised_cents, f"{one.id}/stopped")
        ledger.post(session, keyring.chain, moved, firm_id, at_micros)
        withdrawals.save(session, replace(one, promised_cents=0, state="canceled"))
    accounts.set_state(session, account_id, "blocked", at_micros)
    return stopped
