"""Settled cash: when proceeds become free, what may leave, and until when lots must be held."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokenInvariantError
from robo.core.ids import AccountId, FirmId
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.services.funding import returning
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import ledger, proceeds, transfers, withdrawals
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.proceeds import Proceed

_PAGE: Final = 20_000


def settle_proceeds(db: Database, keyring: Keyring, clock: Clock, policy: Policy, on: date) -> int:
    """Turn sale proceeds that settle by a date into free cash; return how many settled.

    Accounts that owe for a returned deposit are cured with it in the same transaction.

    Raises:
        BrokenInvariantError: If an account's unsettled cash is less than its proceeds; everyone
            else was settled.
    """
    done = 0

    def write(session: Session, part: Sequence[Proceed]) -> None:
        nonlocal done
        waiting = set(proceeds.settled(session, [proceed.id for proceed in part]))
        mine = [proceed for proceed in part if proceed.id in waiting]
        made = [
            transfer
            for proceed in mine
            for transfer in recipes.settle(proceed.account_id, proceed.cents, proceed.id)
        ]
        at_micros = to_micros(clock.now())
        # Every transfer names an account and goes to its chain: no firm's chain is touched.
        ledger.post(session, keyring.chain, made, FirmId(""), at_micros)
        touched = sorted({proceed.account_id for proceed in mine})
        returning.cure(session, keyring, touched, at_micros)
        done += len(mine)

    blame = Blame[Proceed](db, clock, "settle-proceeds", lambda one: one.account_id)
    turns = Turns(db, policy)
    while True:
        with db.read() as session:
            due = proceeds.due(session, on.isoformat(), _PAGE)
        left = turns.each(due, write, blame)
        if turns.refused:
            message = "an account has less unsettled cash than proceeds"
            raise BrokenInvariantError(message)
        if len(due) < _PAGE or len(left) == len(due):
            return done


def hold_until(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, str]:
    """Return until when what accounts buy now must be held, as ISO dates; empty for no hold.

    The latest date on which money at work, or proceeds of sales, become final.
    """
    held = dict.fromkeys(account_ids, "")
    held.update(proceeds.holds(session, account_ids))
    for deposit in transfers.unsettled_deposits(session, account_ids):
        account = AccountId(deposit.account_id)
        held[account] = max(held[account], deposit.settles_on or "")
    return held


def withdrawable_cents(session: Session, account_id: AccountId) -> int:
    """Return the free cash that is final, without deposits that have not settled."""
    return withdrawals.settled_cash(session, [account_id])[account_id]
