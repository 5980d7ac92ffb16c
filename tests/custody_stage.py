"""A house whose broker keeps an account for each customer, over sockets: people, jobs, a desk."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from alpaca_ground import quick_heartbeat
from alpaca_world import market, open_world
from newcomer import Newcomer, cheap_app, investor_to_be, mails_to, token_in
from world import FIRM, START, World, make_world

from broker_adapters import alpaca_broker
from broker_adapters.alpaca_pace import Lane
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.clock import NEW_YORK, FixedClock, business_date
from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import Bank
from robo.runtime import Runtime
from robo.services import (
    adjusting,
    finishing,
    funding,
    investing,
    keeping,
    licensing,
    reconciling,
    trading,
    withdrawing,
)
from robo.store import custody, remittances

ACCOUNTS, TRANSFERS = r"/v1/accounts", r"/v1/accounts/[^/]+/transfers"
ROUTING, NUMBER = "021000021", "5550109876"


def carried(r: Runtime, *, hear: bool) -> Bank:
    """Do what the runner does for accounts and money at the broker, and return who tells of it."""
    if hear:
        keeping.hear_accounts(r.db, r.broker, r.clock)
        funding.hear_transfers(r.db, r.broker, r.clock)
    keeping.apply(r.db, r.keyring, r.broker, r.clock, r.policy)
    keeping.end(r.db, r.broker, r.clock, r.policy)
    keeping.watch(r.db, r.broker, r.clock, r.policy)
    rail = funding.rail(r.db, r.keyring, r.broker, r.bank, r.clock)
    funding.tell_bank(r.db, rail, r.clock)
    withdrawing.pay(r.db, r.keyring, rail, r.clock, r.policy)
    funding.carry(r.db, r.broker, r.clock, r.calendar, r.policy)
    return rail


@dataclass
class Stage:
    """A database, a server, and what runs between them."""

    world: World
    server: AlpacaServer
    app: Any = field(init=False)
    slots: int = 0

    def __post_init__(self) -> None:
        self.app = cheap_app(self.world)

    def wait(self, **delta: float) -> None:
        self.world.clock.advance(timedelta(**delta))

    def jobs(self, times: int = 1, *, hear: bool = False, seconds: float = 0) -> None:
        """Do what the runner does every few seconds, with time passing in between.

        Who hears no events has to wait for the next look, a minute later.
        """
        r = self.world.runtime
        for _ in range(times):
            self.wait(seconds=seconds or (5 if hear else 61))
            rail = carried(r, hear=hear)
            funding.collect(r.db, r.keyring, rail, r.clock, r.calendar, r.policy)

    def plan(self) -> None:
        """Plan what withdrawals need and what cash buys."""
        r = self.world.runtime
        self.slots += 1
        slot = f"{business_date(r.clock.now()).isoformat()}/t{self.slots}"
        withdrawing.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.policy, slot)
        investing.plan(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, r.policy, slot)

    def send(self) -> None:
        r = self.world.runtime
        trading.send(r.db, r.broker, r.clock, r.policy, f"window/{self.slots}")

    def trade(self) -> None:
        """Plan, send, and collect until nothing is open."""
        self.plan()
        self.send()
        r = self.world.runtime
        while True:
            finishing.collect(r.db, r.keyring, r.broker, r.clock, r.policy)
            if not self.world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL"):
                return
            self.wait(minutes=9)

    def next_session(self, count: int = 1) -> None:
        r = self.world.runtime
        for _ in range(count):
            today = business_date(r.clock.now())
            following = r.calendar.shift(today, 1)
            r.clock.set(datetime.combine(following, time(10), tzinfo=NEW_YORK))
            adjusting.apply_day(r.db, r.keyring, r.broker, r.prices, r.clock, r.policy, following)
            self.world.settle(following)

    def breaks(self) -> list[Any]:
        r = self.world.runtime
        found = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy)
        assert found.unheard == ()
        return list(found.found)

    def at_broker(self, path: str) -> list[Mapping[str, Any]]:
        return list(self.world.runtime.broker._http.get(path, {}, Lane.READS).body)

    def custody(self, account_id: str) -> custody.Custody:
        with self.world.db.read() as session:
            found = custody.get(session, account_id)
        assert found is not None
        return found

    def transfers(self, account_id: str) -> list[Mapping[str, Any]]:
        place = self.custody(account_id).broker_account
        return self.at_broker(f"/accounts/{place}/transfers")

    def money(self, transfer_id: str) -> remittances.Remittance:
        with self.world.db.read() as session:
            found = remittances.get(session, transfer_id)
        assert found is not None
        return found

    def local(self, path: str, body: Any) -> Any:
        url = f"{self.server.url}/_local/{path}"
        with urlopen(Request(url, json.dumps(body).encode(), method="POST")) as answer:
            return json.loads(answer.read() or b"null")

    def operator(self) -> "Desk":
        r = self.world.runtime
        scopes = ["firm:operate", "firm:read"]
        key = licensing.create_key(r.db, r.keyring, r.clock, FIRM, "desk", scopes)
        return Desk(Newcomer(self.app), key)


@dataclass
class Desk:
    """A firm's operator, by its key."""

    person: Newcomer
    key: str

    def must(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        reply = self.person.send(method, f"/v1/{path}", body, token=self.key)
        assert reply.status_code == status, reply.get_json()
        return reply.get_json()


@contextmanager
def staged(tmp_path: Path, calendar: MarketCalendar, **settings: str) -> Iterator[Stage]:
    folder, clock = tmp_path / "state", FixedClock(START)
    with make_world(folder, calendar):
        pass
    context = market(folder, calendar, clock, **settings)
    server = AlpacaServer(replace(context, state_dir=tmp_path / "server"), per_minute=1_000_000)
    with (
        quick_heartbeat(),
        open_world(folder, calendar, server.url, clock, make=alpaca_broker.create) as world,
    ):
        world.runtime.broker._events._silence = 10.0  # a busy machine is no silent stream
        yield Stage(world, server)
    server.close()


def opened(stage: Stage, **profile: Any) -> tuple[Newcomer, str]:
    """Return a person with an account of ours, and the account's id."""
    me, basket = investor_to_be(stage.app)
    if profile:
        assert me.put_profile(**profile).status_code == 200
    made = me.open(basket)
    assert made.status_code == 201, made.get_json()
    mail = mails_to(stage.world, me.email)[0]
    me.send("POST", "/v1/email-verifications/use", {"token": token_in(mail)}, token="-")
    return me, str(made.get_json()["id"])


def linked(me: Newcomer, status: int = 201) -> str:
    body = {"routing_number": ROUTING, "account_number": NUMBER}
    reply = me.send("POST", f"/v1/customers/{me.id}/bank-links", body)
    assert reply.status_code == status, reply.get_json()
    return str(reply.get_json().get("id") or reply.get_json()["code"])


def deposited(me: Newcomer, account_id: str, link: str, amount: str = "500.00") -> str:
    body = {"bank_link_id": link, "amount": amount}
    reply = me.send("POST", f"/v1/accounts/{account_id}/deposits", body)
    assert reply.status_code == 201, reply.get_json()
    return str(reply.get_json()["id"])


def state_of(me: Newcomer, account_id: str, what: str, one: str) -> str:
    return str(me.get(f"/v1/accounts/{account_id}/{what}/{one}").get_json()["state"])


def settled_in(stage: Stage) -> tuple[Newcomer, str, str]:
    """Return a person whose account is open at the broker and whose bank is linked there."""
    me, account = opened(stage)
    stage.jobs(3)
    return me, account, linked(me)
