"""The bank of those whose broker moves the money itself: what is asked of it is written down.

It is a `Bank` like any other, so deposits, returns and withdrawals are booked as always. Asking is
a row; `carrying` takes it to the broker, and what came of it is told from rows again.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, from_micros, to_micros
from robo.core.errors import (
    BrokerUnavailableError,
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
)
from robo.ports import groups
from robo.ports.broker import Broker
from robo.ports.brokerage import BankDetails, Funding, Outcome
from robo.ports.funding import Bank, BankEvent, BankEventKind, BankLink, BankTransfer
from robo.services import introducing
from robo.store import accounts, controls, remittances, transfers, withdrawals
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.remittances import Remittance

_CURSOR: Final = "broker/"
"""What our cursors begin with: those of a bank that was used before mean nothing here."""
_MASK_DIGITS: Final = 4
_ACCOUNT_DIGITS_MIN, _ACCOUNT_DIGITS_MAX = 4, 17
_ROUTING_DIGITS: Final = 9
_ROUTING_WEIGHTS: Final = (3, 7, 1, 3, 7, 1, 3, 7, 1)


def rail(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    bank: Bank,
    clock: Clock,
    customer_id: str = "",
) -> Bank:
    """Return where money moves: the broker itself where it moves money, else the bank.

    Args:
        db: Where requests and news are written.
        keyring: Makes tokens of bank accounts.
        broker: Asked for its groups only.
        bank: Of everybody whose broker moves no money.
        clock: When.
        customer_id: Whose bank accounts are linked; only for linking.
    """
    offered = groups.funding(broker)
    if offered is None:
        return bank
    return BrokerRail(db, keyring, offered, clock, customer_id)


@dataclass(frozen=True, slots=True)
class BrokerRail:
    """A `Bank` that writes down what the broker is to be asked for."""

    db: Database
    keyring: Keyring
    offered: Funding
    clock: Clock
    customer_id: str = ""

    def link(self, link_id: str, routing_number: str, account_number: str) -> BankLink:
        """Link a bank account to the customer's accounts at the broker, once each.

        A link whose answer was lost is found by the broker when it is asked again.

        Raises:
            InvalidInputError: If the numbers are no bank account.
            ConflictError: If no account of the customer is open at the broker yet
                (`custody_not_active`).
            RefusedError: If the broker does not take the link.
            BrokerUnavailableError: If it did not answer: ask again.
        """
        check_numbers(routing_number, account_number)
        now = to_micros(self.clock.now())
        token = self._token(routing_number, account_number)
        with self.db.read() as session:
            mine = accounts.accounts_of_customer(session, self.customer_id)
            places = controls.broker_accounts(session, mine)
            there = {one: remittances.find_link(session, one, token) for one in places}
            owner = introducing.owner_name(session, self.keyring, self.customer_id, now)
        if not places:
            message = "The account at the broker is not open yet; link the bank once it is."
            raise ConflictError(message, code="custody_not_active")
        details = BankDetails(link_id, owner, routing_number, account_number)
        for account_id, place in sorted(places.items()):
            if there[account_id] is None:
                self._link(account_id, place, token, details)
        mask = account_number[-_MASK_DIGITS:]
        return BankLink(token, f"Bank {routing_number[:_MASK_DIGITS]}", mask)

    def request(self, transfer: BankTransfer) -> None:
        """Write down a transfer that the broker is to be asked for; once for an id.

        Raises:
            NotFoundError: If there is no such deposit or withdrawal, or no such link.
            IdempotencyMismatchError: If the id was used for another transfer.
        """
        asked = (transfer.direction.value, transfer.bank_token, transfer.cents)
        with self.db.read() as session:  # told every few seconds: a read keeps nobody waiting
            if _is_known(session, transfer.id, asked):
                return
        with self.db.write() as session:
            if _is_known(session, transfer.id, asked):
                return
            cause = transfers.deposit(session, transfer.id) or withdrawals.get(session, transfer.id)
            if cause is None:
                message = "there is no such deposit or withdrawal"
                raise NotFoundError(message)
            account_id = str(cause.account_id)
            if remittances.find_link(session, account_id, transfer.bank_token) is None:
                message = "the broker knows no such bank link of this account"
                raise NotFoundError(message, code="unknown_bank_token")
            now = to_micros(self.clock.now())
            direction, token, cents = asked
            made = Remittance(transfer.id, account_id, token, direction, cents, now, now, now)
            remittances.add(session, made)

    def events(self, after: str, limit: int = 1000) -> Sequence[BankEvent]:
        """Return what happened after a cursor; one of another bank's starts from the beginning."""
        number = after.removeprefix(_CURSOR)
        start = int(number) if after.startswith(_CURSOR) and number.isdigit() else 0
        with self.db.read() as session:
            found = remittances.news(session, start, limit)
        return [
            BankEvent(
                one.id,
                one.transfer_id,
                BankEventKind(one.kind),
                one.code,
                from_micros(one.at),
                f"{_CURSOR}{one.seq}",
            )
            for one in found
        ]

    def _link(self, account_id: str, place: str, token: str, details: BankDetails) -> None:
        result = self.offered.link_bank(place, details)
        if result.outcome is Outcome.REFUSED:
            message = "The broker does not take this bank account; remove the other one first."
            raise RefusedError(message, code="bank_link_refused", reasons=[result.code])
        if result.outcome is not Outcome.TAKEN or result.relationship is None:
            message = "the broker did not say whether it took the bank link"
            raise BrokerUnavailableError(message, code=result.code or "link_unknown")
        made = remittances.Link(
            account_id,
            token,
            place,
            result.relationship.id,
            int(result.relationship.usable),
            to_micros(self.clock.now()),
        )
        with self.db.write() as session:
            remittances.put_link(session, made)

    def _token(self, routing_number: str, account_number: str) -> str:
        text = f"{routing_number}:{account_number}".encode()
        return "ach_" + hmac.new(self.keyring.index, text, sha256).hexdigest()[:32]


def _is_known(session: Session, transfer_id: str, asked: tuple[str, str, int]) -> bool:
    """Return whether a transfer was written down before.

    Raises:
        IdempotencyMismatchError: If its id was used for another one.
    """
    known = remittances.get(session, transfer_id)
    if known is None:
        return False
    if (known.direction, known.token, known.cents) != asked:
        message = "this transfer id belongs to another transfer"
        raise IdempotencyMismatchError(message)
    return True


def check_numbers(routing_number: str, account_number: str) -> None:
    """Accept nine digits whose weighted sum is a multiple of ten, and 4 to 17 digits.

    Raises:
        InvalidInputError: If they are anything else. Source: ABA routing number policy.
    """
    plain = routing_number.isascii() and routing_number.isdigit()
    if (
        not plain
        or len(routing_number) != _ROUTING_DIGITS
        or not int(routing_number)
        or sum(int(d) * w for d, w in zip(routing_number, _ROUTING_WEIGHTS, strict=True)) % 10
    ):
        message = "that is no routing number: nine digits with a valid checksum"
        raise InvalidInputError(message, code="bad_routing_number")
    plain = account_number.isascii() and account_number.isdigit()
    if not plain or not _ACCOUNT_DIGITS_MIN <= len(account_number) <= _ACCOUNT_DIGITS_MAX:
        message = "that is no account number: 4 to 17 digits"
        raise InvalidInputError(message, code="bad_account_number")
