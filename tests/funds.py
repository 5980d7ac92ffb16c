"""Money for tests: agreements accepted, a bank whose news the test writes, short ways to ask."""

from collections.abc import Sequence
from datetime import timedelta

from sqlmodel import Session
from world import FIRM, World

from onboarding.agreements import required_agreements
from robo.core.clock import business_date, to_micros
from robo.core.errors import BrokerRejectedError, BrokerUnavailableError
from robo.core.ids import AccountId, child_id
from robo.ports.funding import BankEvent, BankEventKind, BankLink, BankTransfer
from robo.services import funding
from robo.store import people, transfers
from robo.store.chains import Link, append
from robo.store.documents import ACCEPTANCES
from robo.store.people import Submission
from robo.store.transfers import Deposit


class ScriptedBank:
    """A bank that says what the test tells it to say, in that order."""

    def __init__(self) -> None:
        self.asked: list[BankTransfer] = []
        self.told: list[BankEvent] = []
        self.away = False
        self.refuses = False

    def link(self, link_id: str, routing_number: str, account_number: str) -> BankLink:
        assert len(routing_number) == 9
        return BankLink(f"tok_{link_id}", "Scripted Bank", account_number[-4:])

    def request(self, transfer: BankTransfer) -> None:
        if self.away:
            message = "no answer"
            raise BrokerUnavailableError(message)
        if self.refuses:
            message = "not this account"
            raise BrokerRejectedError(message, code="bank_refused")
        self.asked.append(transfer)

    def events(self, after: str, limit: int = 1000) -> Sequence[BankEvent]:
        start = int(after or 0)
        return self.told[start : start + limit]

    def say(self, world: World, transfer_id: str, *kinds: str, code: str = "") -> None:
        """Add events about a transfer at the world's present instant."""
        for kind in kinds:
            number = len(self.told) + 1
            self.told.append(
                BankEvent(
                    id=f"bev_{number}",
                    transfer_id=transfer_id,
                    kind=BankEventKind(kind),
                    code=code if kind == "returned" else "",
                    at=world.clock.now(),
                    cursor=str(number),
                )
            )


def accept_agreements(world: World, *account_ids: AccountId) -> None:
    """Accept every document in force for the customers of accounts."""
    now = world.clock.now()
    with world.db.write() as session:
        rows = [
            Link(
                ACCEPTANCES,
                FIRM,
                (
                    child_id("acp", customer, document.id),
                    customer,
                    document.id,
                    str(document.version),
                    document.sha256,
                    "",
                    "delivered" if document.action == "deliver" else "accepted",
                    to_micros(now),
                ),
            )
            for customer in (customer_of(session, account) for account in account_ids)
            for document in required_agreements("individual", business_date(now), paper=True)
        ]
        append(session, world.runtime.keyring.chain, rows, to_micros(now))
        for account in account_ids:
            answer(session, customer_of(session, account), "proceed", to_micros(now))


def answer(session: Session, customer_id: str, decision: str, at_micros: int) -> None:
    """Write that a customer answered with this decision; nobody reads the answers themselves."""
    made = Submission(
        child_id("ans", customer_id, at_micros, decision),
        customer_id,
        "",
        b"",
        decision,
        "",
        50,
        "growth",
        at_micros,
    )
    people.add_submission(session, made)


def customer_of(session: Session, account_id: AccountId) -> str:
    found = session.connection().exec_driver_sql(
        f"SELECT customer_id FROM account WHERE id = '{account_id}'"
    )
    return str(found.scalar_one())


def link_of(world: World, account_id: AccountId) -> str:
    with world.db.read() as session:
        return child_id("lnk", customer_of(session, account_id))


def investor(world: World) -> AccountId:
    """Return a new account that may deposit at once."""
    (account,) = world.add_accounts(1)
    accept_agreements(world, account)
    return account


def ask(world: World, account: AccountId, cents: int, name: str = "1") -> Deposit:
    """Ask for a deposit named after the account and a word."""
    return funding.request_deposit(
        world.db,
        world.runtime.keyring,
        world.clock,
        world.runtime.policy,
        child_id("dep", account, name),
        account,
        link_of(world, account),
        cents,
    )


def collect(world: World, bank: ScriptedBank) -> int:
    r = world.runtime
    return funding.collect(world.db, r.keyring, bank, r.clock, r.calendar, r.policy)


def stored(world: World, deposit: Deposit) -> Deposit:
    with world.db.read() as session:
        found = transfers.deposit(session, deposit.id)
    assert found is not None
    return found


def kinds(world: World) -> list[str]:
    """Return the kinds of all events, oldest first."""
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql("SELECT kind FROM event ORDER BY seq")
        return [row[0] for row in rows]


def book(world: World, name: str) -> int:
    """Return the cents of a book."""
    return world.scalar(f"SELECT amount FROM balance WHERE book = '{name}' AND asset = 'USD/2'")


def later(world: World, **delta: int) -> None:
    world.clock.advance(timedelta(**delta))
