"""What the bank says about money on its way out: it arrived, or it came back."""

from dataclasses import replace

from sqlmodel import Session

from robo.core.clock import to_micros
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.ledger import chart, recipes
from robo.ports.funding import BankEvent, BankEventKind
from robo.services import paying_out
from robo.services.funding import notes
from robo.store import accounts, ledger, payers, withdrawals
from robo.store.keyring import Keyring
from robo.store.payers import Payer
from robo.store.withdrawals import Withdrawal

OPEN = ("requested", "selling", "settling")


def apply(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    withdrawal: Withdrawal,
    event: BankEvent,
    at_micros: int,
) -> None:
    """Finish a withdrawal that was sent, or take back one that did not arrive."""
    payer = payers.payer(session, withdrawal.account_id)
    if event.kind is BankEventKind.SETTLED and withdrawal.state == "sent":
        _arrived(session, keyring, payer, withdrawal, event, at_micros)
    elif event.kind is BankEventKind.RETURNED and withdrawal.state in {"sent", "paid"}:
        _came_back(session, keyring, policy, payer, withdrawal, event, at_micros)


def cancel_open(session: Session, keyring: Keyring, payer: Payer, at_micros: int) -> int:
    """Cancel withdrawals that were not sent, because a deposit came back; return the cents freed.

    An account that was closing is open again: it can be closed once nothing is owed.
    """
    freed = 0
    for one in withdrawals.of_accounts(session, [payer.account_id]):
        if one.state not in OPEN:
            continue
        cause = f"{one.id}/deposit_returned"
        made = recipes.undo_withdrawal(payer.account_id, one.promised_cents, cause)
        ledger.post(session, keyring.chain, made, payer.firm_id, at_micros)
        freed += one.promised_cents
        withdrawals.save(session, replace(one, promised_cents=0, state="canceled"))
        if one.closing:
            accounts.set_state(session, payer.account_id, "open", at_micros)
        more = {"reason": "deposit_returned"}
        notes.write(session, payer, "withdrawal.canceled", one.id, at_micros, more)
    return freed


def _arrived(
    session: Session,
    keyring: Keyring,
    payer: Payer,
    one: Withdrawal,
    event: BankEvent,
    at_micros: int,
) -> None:
    made = recipes.pay_withdrawal(payer.account_id, one.promised_cents, one.id)
    ledger.post(session, keyring.chain, made, payer.firm_id, at_micros)
    withdrawals.save(session, replace(one, state="paid", paid_at=to_micros(event.at)))
    more = paying_out.closes(session, payer.account_id)
    if one.closing and payer.account_state == "closing" and not more:
        accounts.set_state(session, payer.account_id, "closed", at_micros)
    _note(session, payer, one, "paid", at_micros)


def _came_back(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    payer: Payer,
    one: Withdrawal,
    event: BankEvent,
    at_micros: int,
) -> None:
    """Give the account its money back; one that was closing waits, blocked, for another bank.

    But not for its last cents: it is closed without them.
    """
    if one.state == "sent":
        made = recipes.undo_withdrawal(payer.account_id, one.promised_cents, f"{one.id}/returned")
    else:
        cash = chart.cash(payer.account_id)
        made = recipes.move(
            "withdraw_returned", chart.STREET_BANK, cash, chart.USD, one.promised_cents, one.id
        )
    ledger.post(session, keyring.chain, made, payer.firm_id, at_micros)
    withdrawals.save(session, replace(one, state="failed", paid_at=None))
    little = paying_out.is_little(session, one, payer.account_state, policy)
    if little and not paying_out.closes(session, payer.account_id):
        paying_out.keep_little(session, keyring, payer.customer_id, one, at_micros)
        _note(session, payer, one, "cents_kept", at_micros, code=event.code)
    elif one.closing:
        for rest in paying_out.stop_closing(
            session, keyring, payer.firm_id, payer.account_id, at_micros
        ):
            notes.write(session, payer, "withdrawal.canceled", rest.id, at_micros, {})
    _note(session, payer, one, "failed", at_micros, code=event.code)


def _note(
    session: Session, payer: Payer, one: Withdrawal, what: str, at_micros: int, **more: str
) -> None:
    payload = {"amount": format_cents(one.promised_cents), **more}
    notes.write(session, payer, f"withdrawal.{what}", one.id, at_micros, payload)
