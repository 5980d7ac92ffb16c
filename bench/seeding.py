"""Firms for benchmarks: real database, real market, broker and bank; accounts that follow baskets.

What is not measured is written in bulk through the store's own functions; what is bought is bought
by the real pipeline: planned, sent to the paper broker, executed, booked, chained.
"""

import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Final

from sqlmodel import Session

from baskets.catalog import catalog
from onboarding.agreements import Agreement, required_agreements
from robo.config import Settings
from robo.core.clock import FixedClock, business_date, to_micros
from robo.core.ids import AccountId, FirmId, child_id
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.portfolio.jit import load_all
from robo.runtime import Runtime, SystemClock, boot, open_database
from robo.services import finishing, investing, securing, targeting, trading
from robo.services.listing import sync_universe
from robo.services.turns import Turns
from robo.store import chains, ledger, people, tokens, transfers
from robo.store.database import Database, insert_many
from robo.store.documents import ACCEPTANCES
from robo.store.people import Submission
from robo.store.schema import upgrade
from robo.store.transfers import Deposit, Link

FIRM: Final = FirmId("firm_bench")
CENTS: Final = 100_00
_CUSTOMER_COLUMNS: Final = (
    "id",
    "firm_id",
    "email_index",
    "state",
    "created_at",
    "email_verified_at",
    "identity_state",
    "identity_codes",
    "delivery",
)
_PART: Final = 5_000
_HOUR: Final = 3_600_000_000
_ALONE: Final = replace(Policy.default(), write_lock_ms_max=5_000)
"""While nobody else writes, seeding may hold the lock for long."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer with one account and one bank link."""

    id: str
    account_id: AccountId
    link_id: str


def settings_of(folder: Path) -> Settings:
    """Return the settings of a firm that keeps everything in a folder."""
    return Settings(state_dir=str(folder), plugins={})


def found(folder: Path, at: datetime) -> None:
    """Make the database of a new firm."""
    db = open_database(settings_of(folder))
    upgrade(db)
    sync_universe(db)
    with db.write() as session:
        row = (FIRM, "Bench", 1, to_micros(at))
        insert_many(session, "firm", ("id", "name", "house", "created_at"), [row])
    db.close()


@contextmanager
def running(folder: Path, at: datetime, policy: Policy | None = None) -> Iterator[Runtime]:
    """Yield the runtime of a firm whose clock stands still until it is advanced."""
    runtime = boot(settings_of(folder), policy=policy, clock=FixedClock(at))
    try:
        yield runtime
    finally:
        runtime.close()


def open_accounts(runtime: Runtime, count: int) -> list[Customer]:
    """Write customers, each with an account that follows one of all baskets in turn."""
    made = customers(count)
    offered = catalog().all()
    now = to_micros(runtime.clock.now())
    token = runtime.bank.link("lnk_all", "021000021", "123456789").token
    with runtime.db.write() as session:
        targets = [targeting.resolve(session, "none", basket, now) for basket in offered]
    for start in range(0, count, _PART):
        part = made[start : start + _PART]
        follow = [(start + n) % len(offered) for n in range(len(part))]
        with runtime.db.write() as session:
            insert_many(
                session,
                "customer",
                _CUSTOMER_COLUMNS,
                [
                    (c.id, FIRM, c.id.encode(), "active", now, now, "accepted", "", "paper")
                    for c in part
                ],
            )
            insert_many(
                session,
                "account",
                ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
                [(c.account_id, FIRM, c.id, "individual", "open", now) for c in part],
            )
            insert_many(
                session,
                "sleeve",
                ("id", "account_id", "kind", "basket_id", "target_id", "changed_at"),
                [
                    (child_id("slv", c.id), c.account_id, "basket", offered[f].id, targets[f], now)
                    for c, f in zip(part, follow, strict=True)
                ],
            )
            for c in part:
                transfers.add_link(
                    session, Link(c.link_id, c.id, token, "Bank", "6789", "active", now)
                )
    return made


def agree(runtime: Runtime, everybody: Sequence[Customer]) -> None:
    """Answer all questions and accept every document in force, chained like all acceptances."""
    now = runtime.clock.now()
    documents = required_agreements("individual", business_date(now), paper=True)
    for start in range(0, len(everybody), _PART):
        links = [
            _acceptance(c.id, document, to_micros(now))
            for c in everybody[start : start + _PART]
            for document in documents
        ]
        with runtime.db.write() as session:
            chains.append(session, runtime.keyring.chain, links, to_micros(now))
            for c in everybody[start : start + _PART]:
                people.add_submission(session, _answers(c.id, to_micros(now)))


def _acceptance(customer_id: str, document: Agreement, at_micros: int) -> chains.Link:
    kind = "delivered" if document.action == "deliver" else "accepted"
    name = child_id("acp", customer_id, document.id)
    text = (document.id, str(document.version), document.sha256)
    return chains.Link(ACCEPTANCES, FIRM, (name, customer_id, *text, "", kind, at_micros))


def _answers(customer_id: str, at_micros: int) -> Submission:
    """Return answers that let a customer go on; nobody reads the sealed answers themselves."""
    name = child_id("ans", customer_id)
    return Submission(name, customer_id, "", b"", "proceed", "", 50, "growth", at_micros)


def pay_in(runtime: Runtime, everybody: Sequence[Customer], name: str, policy: Policy) -> None:
    """Settle a hundred dollars for every customer, in turns as a batch would."""
    now = runtime.clock.now()
    at, day = to_micros(now), business_date(now).isoformat()

    def write(session: Session, part: Sequence[Customer]) -> None:
        made = [
            Deposit(
                id=child_id("dep", c.account_id, name),
                account_id=c.account_id,
                bank_link_id=c.link_id,
                plan_id=None,
                cents=CENTS,
                requested_at=at,
                state="settled",
                available_at=at,
                settles_on=day,
                settled_at=at,
            )
            for c in part
        ]
        transfers.add_deposits(session, made)
        paid = [t for d in made for t in recipes.deposit(AccountId(d.account_id), CENTS, d.id)]
        ledger.post(session, runtime.keyring.chain, paid, FIRM, at)

    Turns(runtime.db, policy).each(everybody, write)


def invest(runtime: Runtime, slot: str, policy: Policy) -> dict[str, float]:
    """Plan, send, execute and book everything that is free; return the seconds of each stage."""
    r, took, clock = runtime, dict[str, float](), runtime.clock
    assert isinstance(clock, FixedClock)
    began = perf_counter()
    investing.plan(r.db, r.keyring, r.broker, r.prices, clock, r.calendar, policy, slot)
    took["invest-cash"] = perf_counter() - began
    began = perf_counter()
    trading.send(r.db, r.broker, clock, policy, slot)
    took["trade-window: send"] = perf_counter() - began
    began = perf_counter()
    while scalar(r.db, "SELECT count(*) FROM block WHERE closed_at IS NULL"):
        finishing.collect(r.db, r.keyring, r.broker, clock, policy)
        clock.advance(timedelta(minutes=1))  # orders the market fills in parts need time
    took["trade-window: book"] = perf_counter() - began
    return took


def seed(folder: Path, count: int, at: datetime) -> None:
    """Make a firm whose customers all own their baskets, through the real pipeline."""
    found(folder, at)
    with running(folder, at, _ALONE) as runtime:
        everybody = open_accounts(runtime, count)
        agree(runtime, everybody)
        pay_in(runtime, everybody, "seed", _ALONE)
        invest(runtime, "seed", _ALONE)


def sign_in(db: Database, everybody: Sequence[Customer], at: datetime, path: Path) -> None:
    """Give every customer a session of two hours; write [account, token, link] lines to a file."""
    now = to_micros(at)
    with db.write() as session, path.open("w", encoding="utf-8") as file:
        for c in everybody:
            token = securing.new_token(securing.ACCESS_PREFIX)
            family = child_id("fam", c.id, secrets.token_hex(8))
            tokens.open_family(
                session,
                family,
                c.id,
                scopes="customer",
                label="bench",
                at_micros=now,
                expires_at=now + 24 * _HOUR,
            )
            tokens.add_access(
                session,
                securing.digest(token),
                family,
                issued_at=now,
                expires_at=now + 2 * _HOUR,
                stepped_up_at=None,
            )
            file.write(json.dumps([c.account_id, token, c.link_id]) + "\n")


def scalar(db: Database, sql: str) -> int:
    """Return the one number that a statement finds."""
    with db.read() as session:
        return int(session.connection().exec_driver_sql(sql).scalar_one())


def fsync_ms(folder: Path) -> float:
    """Return the median of forty durable writes of one page."""
    path = folder / "fsync"
    times: list[float] = []
    with path.open("wb") as file:
        for _ in range(40):
            began = perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append((perf_counter() - began) * 1000)
    return sorted(times)[len(times) // 2]


def nights(folder: Path, count: int, seconds: float) -> dict[str, float]:
    """Pay in, plan, trade and book for every account, again and again until a time is over.

    Says `ready` and waits for a line before it begins. Returns accounts done, seconds, and the
    longest time the write lock was held, in milliseconds.
    """
    policy = Policy.default()
    with running(folder, SystemClock().now()) as runtime:
        everybody = customers(count)
        load_all()
        print("ready", flush=True)
        sys.stdin.readline()
        began, done = perf_counter(), 0
        while not done or perf_counter() - began < seconds:
            name = secrets.token_hex(4)
            pay_in(runtime, everybody, name, policy)
            invest(runtime, name, policy)
            done += count
        took = perf_counter() - began
        longest = runtime.db.longest_write_ms
    return {"accounts": done, "seconds": took, "longest_ms": longest}


def customers(count: int) -> list[Customer]:
    """Return the customers that a firm of this size has; the same numbers are the same people."""
    # Each begins its own way, as random ids do; children of one cause would all lie together.
    ids = [child_id("cus", f"bench {number}") for number in range(count)]
    return [Customer(i, AccountId(child_id("acc", i)), child_id("lnk", i)) for i in ids]


def main() -> int:
    """Run nights: FOLDER ACCOUNTS SECONDS."""
    folder, count, seconds = sys.argv[1:]
    print(json.dumps(nights(Path(folder), int(count), float(seconds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
