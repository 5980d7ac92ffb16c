"""People of a soak: customers who came through the API, and the jobs that keep their accounts.

Everything here is the real services: accounts are applied for, links made, deposits and withdrawals
asked for, carried, followed and booked as the runner does it. Amounts are alike on purpose: what
tells two transfers apart is the services' business.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from custody_stage import Stage, carried, deposited, linked, opened
from soak_books import reading
from world import World

from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.errors import BrokerUnavailableError, ConflictError, InvalidInputError
from robo.core.ids import AccountId
from robo.core.money import parse_cents
from robo.services import funding, withdrawing
from robo.services.funding import Decision, Verdict

OPENED_AT: Final = datetime.fromisoformat("2026-02-25T10:00:00-05:00")
SETTLED_AT: Final = datetime.fromisoformat("2026-03-05T10:00:00-05:00")
"""Their first deposits have settled when trading begins."""
_FIRST: Final = ("250000.00", "250000.00")
_DEPOSIT_CENTS: Final = 120_00
_WITHDRAWAL_CENTS: Final = 45_00
_HEALING: Final = 24
_ENDED: Final = frozenset({"done", "settled", "refused", "failed", "returned"})


@dataclass(frozen=True, slots=True)
class Person:
    """A customer's account, and the bank link that money comes through."""

    account: str
    link: str


def settle_in(world: World, server: AlpacaServer, count: int, late: int) -> list[Person]:
    """Bring people through the API, their money to the broker, and some who only have applied."""
    stage = Stage(world, server)
    came = [opened(stage) for _ in range(count)]
    stage.jobs(3)
    people = []
    for me, account in came:
        link = linked(me)
        for amount in _FIRST:
            deposited(me, account, link, amount)
        people.append(Person(account, link))
    stage.jobs(4)
    for person in people:
        assert world.balances(AccountId(person.account)).cash_cents == 500_000_00
    world.clock.set(SETTLED_AT)
    stage.jobs(1)
    for _ in range(late):
        opened(stage)
    return people


def write(folder: Path, people: Sequence[Person]) -> None:
    """Keep people where every process finds them."""
    (folder / "people.json").write_text(json.dumps([asdict(one) for one in people]))


def read(folder: Path) -> list[Person]:
    """Return the people of a world; none where the broker keeps one account for all."""
    file = folder / "people.json"
    return [Person(**one) for one in json.loads(file.read_text())] if file.exists() else []


def ask(world: World, people: Sequence[Person], number: int) -> None:
    """Ask for a deposit and a withdrawal of everybody."""
    r = world.runtime
    for place, one in enumerate(people):
        account, tail = AccountId(one.account), f"{number:05d}_{place}"
        funding.request_deposit(
            r.db, r.keyring, r.clock, r.policy, f"dep_{tail}", account, one.link, _DEPOSIT_CENTS
        )
        # One that still waits for settled cash must be sent before another.
        with contextlib.suppress(ConflictError):
            withdrawing.request(
                r.db,
                r.keyring,
                r.prices,
                r.clock,
                account,
                f"wdr_{tail}",
                one.link,
                _WITHDRAWAL_CENTS,
            )


def jobs(world: World, *, hear: bool) -> None:
    """Do what the runner does for accounts and money where the broker keeps them."""
    r = world.runtime
    rail = carried(r, hear=hear)
    with contextlib.suppress(BrokerUnavailableError):
        funding.collect(r.db, r.keyring, rail, r.clock, r.calendar, r.policy)


def heal(world: World) -> int:
    """Run the jobs until every transfer has ended; return how many a person had to decide."""
    decided = 0
    for number in range(_HEALING):
        jobs(world, hear=number % 4 == 0)
        world.clock.advance(timedelta(minutes=3))
        if number and not _open(world):
            break
        if number == _HEALING // 6:
            # What is lost may still turn up for an hour; then a person looks.
            world.clock.advance(timedelta(hours=1))
        if number > _HEALING // 6:
            decided += _decide(world)
    return decided


def compare(world: World, shelf: Path) -> Counter[str]:
    """Compare with the server's own file: every transfer once, one account for each customer."""
    with reading(shelf) as theirs:
        rows = theirs.execute(
            "SELECT kind, id, account, body FROM things WHERE kind IN ('transfer', 'account')"
        ).fetchall()
    told = [(one, account, json.loads(body)) for kind, one, account, body in rows if kind[0] == "t"]
    there = {
        one: (account, body["direction"] == "INCOMING", parse_cents(str(body["amount"])))
        for one, account, body in told
    }
    names = "id, broker_id, broker_account, direction, cents, state"
    ours = _rows(world, f"SELECT {names} FROM remittance")
    odd = [row for row in ours if row[5] not in _ENDED]
    assert not odd, odd[:3]
    mine = {row[1]: (row[2], row[3] == "pull", row[4]) for row in ours if row[5] != "refused"}
    assert len(mine) == sum(row[5] != "refused" for row in ours)
    assert mine == there, sorted(set(mine.items()) ^ set(there.items()), key=str)[:4]
    kept = _rows(world, "SELECT account_id, state, broker_account FROM custody")
    assert {row[1] for row in kept} == {"active"}, kept
    accounts = {one for kind, one, _, _ in rows if kind == "account"}
    assert {row[2] for row in kept} == accounts, (len(kept), len(accounts))
    asked = _rows(world, "SELECT count(*) FROM deposit UNION ALL SELECT count(*) FROM withdrawal")
    assert sum(row[0] for row in asked) == len(ours)
    return Counter({"transfers": len(ours), "accounts": len(kept)})


def _open(world: World) -> list[tuple[Any, ...]]:
    names = ", ".join(f"'{one}'" for one in sorted(_ENDED))
    waiting = _rows(world, f"SELECT id FROM remittance WHERE state NOT IN ({names})")
    sent = "SELECT id FROM deposit WHERE state = 'requested' UNION ALL SELECT id FROM withdrawal"
    waiting += _rows(world, f"{sent} WHERE state NOT IN ('paid', 'failed', 'canceled')")
    return waiting + _rows(world, "SELECT account_id FROM custody WHERE state <> 'active'")


def _decide(world: World) -> int:
    """Decide as a person does who has looked: it is the one that is there, or it never arrived."""
    r = world.runtime
    found = _rows(world, "SELECT id, candidates FROM remittance WHERE state = 'ambiguous'")
    taken: set[str] = set()
    for identity, text in found:
        told = [one["broker_id"] for one in json.loads(text)]
        free = [one for one in told if one not in taken]
        if told and not free:
            continue  # the next look says what is left
        what = Verdict.CLAIM if free else Verdict.RELEASE
        decision = Decision(what, "looked", "operator", free[0] if free else "")
        # What the page showed may be somebody else's by now, or may have turned up since.
        with contextlib.suppress(InvalidInputError, ConflictError):
            funding.decide(
                r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy, identity, decision
            )
            taken.update(free[:1])
    return len(taken)


def _rows(world: World, sql: str) -> list[tuple[Any, ...]]:
    with world.db.read() as session:
        return [tuple(row) for row in session.connection().exec_driver_sql(sql)]
