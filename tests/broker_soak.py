"""Many orders through the Alpaca-shaped server, with faults of every kind and SIGKILLs of us.

A `Soak` is a world: a server, a database, an adapter. The harness deals faults from a seed, lets
processes of ours live and die (`soak_life`), restarts the server now and then, walks past a
cut-off, a close and a midnight with a split, takes executions back, and in the end compares books
and broker to the last digit (`soak_books`, `soak_people`). `many` plays worlds of both adapters,
two at a time.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final

import soak_books
import soak_faults
import soak_life
import soak_people
from alpaca_world import OPENING_CENTS, market, open_world
from nyse import nyse
from soak_books import reading
from soak_faults import Calls
from soak_life import STEPS, Life
from world import World, make_world

from broker_adapters.alpaca_server import trading as floor_trading
from broker_adapters.alpaca_server.bodies import price_text, uuid_of
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.config import Settings
from robo.core.clock import NEW_YORK, FixedClock
from robo.core.market_calendar import MarketCalendar
from robo.services import reconciling
from robo.store.database import connect

PACE: Final = timedelta(seconds=45)
"""Between rounds; three of them prove that an order never arrived."""
FRIDAY: Final = "2026-03-06"
MONDAY: Final = "2026-03-09"
TUESDAY: Final = "2026-03-10"
_PAID_IN_CENTS: Final = 500_000_00
_PATIENT_SECONDS: Final = 30.0
_HEALING_MAX: Final = 24
_PATIENCE: Final = timedelta(minutes=10)
_HEALING_FROM: Final = 10_000
_HELD_SECONDS: Final = 0.5
"""So long after nobody waits for it any more a request that was held back acts: before the clock
moves on, or an order that was told in time would be taken in the night."""
_RESTART_EVERY: Final = 4
_CANCELS: Final = 2
"""Orders that somebody cancels at the broker after each round."""
_DOUBTFUL: Final = 0.5
"""Part of the rounds in which the list lags and what is told again is refused."""
ADAPTERS: Final = ("alpaca_trading", "alpaca_broker")
_AT_ONCE: Final = 2
_MEMORY: Final = Path("/dev/shm")


def new_york(day: str, time: str) -> datetime:
    """Return an instant in New York, in the winter half of the year or the summer half."""
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=NEW_YORK).astimezone(UTC)


@dataclass
class Soak:
    """One world; everything in it follows from the seed."""

    folder: Path
    calendar: MarketCalendar
    seed: int
    rounds: int
    names: int
    adapter: str = "alpaca_trading"
    faults_a_round: int = 12
    customers: int = 3
    late: int = 2
    """Customers of whom the broker hears only while everything goes wrong."""
    patience_seconds: float = 1.0
    """So long our processes wait for an answer; a busy machine needs more."""
    clock: FixedClock = field(default_factory=lambda: FixedClock(new_york(FRIDAY, "10:00")))
    counted: Counter[str] = field(default_factory=Counter)
    amended: list[tuple[str, tuple[Any, ...] | None]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def apart(self) -> bool:
        return self.adapter == "alpaca_broker"

    def run(self) -> Counter[str]:
        """Play all rounds, heal, compare; return what was counted.

        Raises:
            AssertionError: If anything differs; the seed plays it again.
        """
        dice = random.Random(self.seed)
        with make_world(self.state, self.calendar) as world:
            for account in [] if self.apart else world.add_accounts(self.customers):
                world.pay_in(account, _PAID_IN_CENTS)
        server = self._serve()
        port = int(server.url.rpartition(":")[2])
        try:
            if self.apart:
                self._settle_in(server)
            with _nursery(self.folder) as nursery:
                for number, (instant, names) in enumerate(self._timetable(), 1):
                    if instant > self.clock.now():
                        self.clock.set(instant)
                    if names == self.names and instant == new_york(MONDAY, "10:00"):
                        self._amend(server, dice)
                    self._deal(server, dice, names)
                    self._live(nursery, server, number, names, dice)
                    self._cancel(server, dice)
                    self._count_doubts()
                    self.clock.advance(PACE)
                    if number % _RESTART_EVERY == 0 and not (self.apart and self.amended):
                        self._count_faults(server)
                        server.close()
                        server = self._serve(port)
            self._count_faults(server)
            server.faults.clear()
            self._amend(server, dice)
            with self._open(server) as world:
                self._heal_and_compare(world, server)
        finally:
            server.close()
        return self.counted

    def _timetable(self) -> Iterator[tuple[datetime, int]]:
        """Yield when a process of ours lives, and how many names it trades.

        The last round of Friday comes two minutes before the cut-off; what is planned after it, and
        on Monday before the open, must not be told before the open.
        """
        friday = (self.rounds + 1) // 2
        few = max(2, self.names // 20)
        for _ in range(friday - 1):
            yield new_york(FRIDAY, "10:00"), self.names
        yield new_york(FRIDAY, "15:53"), self.names
        yield new_york(FRIDAY, "15:56"), few
        if self.rounds > 2:
            yield new_york(FRIDAY, "16:02"), 0
        yield new_york(MONDAY, "00:05"), few
        for _ in range(self.rounds - friday):
            yield new_york(MONDAY, "10:00"), self.names

    def _serve(self, port: int = 0) -> AlpacaServer:
        given = {
            "ROBO_PAPER_START_CENTS": str(OPENING_CENTS),
            "ROBO_PAPER_PARTIAL_PPM": "300000",
            "ROBO_PAPER_PARTIAL_SECONDS": "600",
            "ROBO_PAPER_HOURS": "session",
            "ROBO_PAPER_SEED": str(self.seed),
        }
        context = market(self.state, self.calendar, self.clock, **given)
        context = replace(context, state_dir=self.folder / "server")
        assert context.prices is not None
        # The first prices of a market take longer than a process of ours waits for an answer.
        context.prices.quotes([one.id for one in context.securities], self.clock.now())
        return AlpacaServer(context, port, per_minute=10_000_000)

    @contextmanager
    def _open(self, server: AlpacaServer) -> Iterator[World]:
        """Open the world where nothing is late on purpose; a busy machine may take its time."""
        create = soak_life.make(self.adapter, _PATIENT_SECONDS)
        with open_world(self.state, self.calendar, server.url, self.clock, make=create) as world:
            yield world

    def _settle_in(self, server: AlpacaServer) -> None:
        """Bring customers whose accounts and money are at the broker before trading begins."""
        self.clock.set(soak_people.OPENED_AT)
        with self._open(server) as world:
            people = soak_people.settle_in(world, server, self.customers, self.late)
        soak_people.write(self.state, people)
        assert self.clock.now() < new_york(FRIDAY, "10:00")
        self.clock.set(new_york(FRIDAY, "10:00"))

    def _deal(self, server: AlpacaServer, dice: random.Random, names: int) -> None:
        orders = names * (self.customers if self.apart else 2)
        calls = Calls(max(1, orders), self.patience_seconds)
        count = self.faults_a_round if names == self.names else self.faults_a_round // 4
        server.faults.plan(*soak_faults.of_orders(dice, count, calls))
        if self.apart:
            server.faults.plan(*soak_faults.of_money(dice, 2 + count // 3, calls))
        else:
            server.faults.plan(*soak_faults.of_streams(dice, 1 + count // 6))
        if dice.random() < _DOUBTFUL:
            server.faults.plan(*soak_faults.of_doubts(dice))

    def _live(
        self,
        nursery: subprocess.Popen[str],
        server: AlpacaServer,
        number: int,
        names: int,
        dice: random.Random,
    ) -> None:
        """Let a process of ours live a round; it may be killed at any of its steps."""
        step = dice.choice(STEPS)
        requests = step in {"asking", "answered"}
        orders = names * (self.customers if self.apart else 1)
        nth = 1 + dice.randrange(2 * orders + 30 if requests else 30 + orders // 8)
        life = Life(
            str(self.state),
            server.url,
            self.adapter,
            self.patience_seconds,
            self.clock.now().isoformat(),
            number,
            names,
            step,
            nth if dice.random() < 0.7 else 0,
        )
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        nursery.stdin.write(soak_life.told(life) + "\n")
        nursery.stdin.flush()
        held = server.faults.dealt[FaultKind.DELAY.value]
        code = int(nursery.stdout.readline() or "1")
        if server.faults.dealt[FaultKind.DELAY.value] > held:
            sleep(_HELD_SECONDS)
        log = (self.folder / "lives.log").read_text()
        assert code in {0, -signal.SIGKILL}, (self.seed, self.adapter, life, log[-3000:])
        if code:
            self.counted[f"killed {step}"] += 1
            self.counted["killed"] += 1

    def _cancel(self, server: AlpacaServer, dice: random.Random) -> None:
        """Do what a person does at Alpaca who cancels orders of ours: at once, or heard late."""
        books = [*server._books.values(), *server._brokerage.books.values()]
        with server._lock:
            living = [
                (book, one.client_id)
                for book in books
                for one in server._exchange.open_records(book.account)
            ]
        for book, client_id in dice.sample(living, min(_CANCELS, len(living))):
            place = "/v1/trading/accounts/" + book.account_id if self.apart else "/v2"
            path = f"{place}/orders/{uuid_of('order', client_id)}"
            late = float(dice.choice((0, 30, 90)))
            server.faults.plan(Fault(FaultKind.CANCEL_LATER, "DELETE", path, seconds=late))
            asked = HTTPConnection(server.url.removeprefix("http://"), timeout=_PATIENT_SECONDS)
            asked.request("DELETE", path)
            status = asked.getresponse().status
            asked.close()
            assert status in {204, 422}, (path, status)
            self.counted["cancels"] += status == 204

    def _count_doubts(self) -> None:
        """Count blocks of which a second telling was refused, and the first may have arrived."""
        db = connect(Settings(state_dir=str(self.state)).url)
        with db.read() as session:
            told = "SELECT count(*) FROM block WHERE code LIKE 'declined:%'"
            self.counted["declined"] += session.connection().exec_driver_sql(told).scalar() or 0
        db.close()

    def _amend(self, server: AlpacaServer, dice: random.Random) -> None:
        """Let the broker take back one execution, and correct the price of another."""
        columns = "e.id, e.account, e.client_id, e.security_id, e.side, e.nanos, e.price_micros"
        with reading(self.folder / "server" / "paper" / "paper.db") as theirs:
            bought = f"e.side = 'buy' AND e.security_id % {soak_life.KEPT} = 0"
            query = f"SELECT {columns} FROM executions e WHERE {bought} ORDER BY e.seq"
            told = theirs.execute(query).fetchall()
        done = {one for one, _ in self.amended}
        left = [row for row in told if row[0] not in done]
        if len(left) < 2:
            return
        for dearer_ppm, row in zip(
            (0, dice.choice((-2_000, 3_000))), dice.sample(left, 2), strict=True
        ):
            identity, place, client_id, security_id, side, nanos, price = row
            body = {"execution_id": uuid_of("execution", identity)}
            instead = None
            if dearer_ppm:
                price += price * dearer_ppm // 1_000_000
                body["price"] = price_text(price)
                instead = (client_id, security_id, side, nanos, price)
            book = server._books.get(place) or server._brokerage.books[place.removeprefix("v1/")]
            with server._lock:
                status, answer = floor_trading.amend(server._floor, book, body)
            assert status == 200, answer
            self.amended.append((identity, instead))

    def _count_faults(self, server: AlpacaServer) -> None:
        for kind, count in server.faults.dealt.items():
            self.counted[f"fault {kind}"] += count
            self.counted["faults"] += count

    def _there(self, server: AlpacaServer) -> list[soak_books.Place]:
        """Return what the server's own books hold: the broker's accounts, but the firm's own."""
        opening = 0 if self.apart else OPENING_CENTS
        books = server._brokerage.books if self.apart else server._books
        with server._lock:
            server._exchange.look()
            return [
                soak_books.Place(
                    book.account_id if self.apart else "",
                    book.cash_cents() - opening,
                    dict(book._holdings()),
                )
                for book in books.values()
            ]

    def _heal_and_compare(self, world: World, broker: AlpacaServer) -> None:
        where = (self.seed, self.adapter)
        if self.apart:
            self.counted["decided by a person"] += soak_people.heal(world)
        for number in range(_HEALING_MAX):
            soak_life.work(world, self.state, _HEALING_FROM + number, 0)
            waiting = world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL")
            planned = world.scalar(
                "SELECT count(*) FROM orders WHERE state IN ('planned', 'sending')"
            )
            if not waiting and not planned:
                break
            # What fills in parts takes its time.
            world.clock.advance(PACE if number < _HEALING_MAX // 3 else _PATIENCE)
        assert waiting == 0, (*where, waiting, soak_books.unended(world))
        # What the broker told of Monday's split after midnight is brought on the next.
        self.clock.set(new_york(TUESDAY, "10:00"))
        for number in range(2):
            soak_life.work(world, self.state, 2 * _HEALING_FROM + number, 0)
            world.clock.advance(timedelta(minutes=16))
        r = world.runtime
        self._clear_notices(world)
        report = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy)
        assert report.unheard == (), (*where, report.unheard)
        assert report.places == (self.customers + self.late if self.apart else 1), (*where, report)
        assert report.found == (), (*where, report.found[:3])
        assert world.findings() == [], where
        server = self.folder / "server"
        try:
            self.counted += soak_books.compare_orders(
                world, self.state, server, self.calendar, apart=self.apart
            )
            self.counted += soak_books.compare_executions(world, server, self.amended)
            soak_books.compare_places(world, self._there(broker))
            if self.apart:
                self.counted += soak_people.compare(world, server / "paper" / "alpaca.db")
        except AssertionError as error:
            raise AssertionError(*where, *error.args) from error
        splits = world.scalar("SELECT count(*) FROM action WHERE kind = 'split'")
        assert splits > 0, where
        self.counted.update(rounds=self.rounds, splits=splits)

    def _clear_notices(self, world: World) -> None:
        """Do what a person does who is told that a source of Alpaca's was silent for an hour."""
        r = world.runtime
        report = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy)
        for one in report.found:
            if one.subject == "activity" and one.reference.endswith(("#silent", "#dropped")):
                note = "it answers again"
                reconciling.clear(r.db, r.keyring, r.clock, one.id, note, actor="operator")
                self.counted["notices cleared"] += 1


@contextmanager
def _nursery(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield the process that our processes are forked from."""
    here = Path(__file__).parent
    with (folder / "lives.log").open("w") as log:
        nursery = subprocess.Popen(
            [sys.executable, soak_life.__file__],
            env={**os.environ, "PYTHONPATH": f"{here}:{here.parent}"},  # noqa: TID251 - a child's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with nursery:
            yield nursery


def play(adapter: str, seed: int, size: dict[str, int]) -> Counter[str]:
    """Play one world, in a directory of its own."""
    place = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        return Soak(Path(folder), nyse(), seed, adapter=adapter, **size).run()  # type: ignore[arg-type] # numbers all


def many(seed: int, orders_min: int, **size: int) -> Counter[str]:
    """Play worlds of both adapters, two side by side, until so many orders were at the broker.

    Raises:
        AssertionError: If a world differs; it names its seed, and
            `python broker_soak.py SEED 1 ROUNDS NAMES FAULTS ADAPTER` plays it again.
    """
    total: Counter[str] = Counter()
    began = perf_counter()
    playing: dict[Future[Counter[str]], tuple[str, int]] = {}
    started = 0
    with ProcessPoolExecutor(_AT_ONCE, get_context("spawn")) as pool:
        while playing or total["orders"] < orders_min:
            while len(playing) < _AT_ONCE and total["orders"] < orders_min:
                adapter, mine = ADAPTERS[started % len(ADAPTERS)], seed + started
                playing[pool.submit(play, adapter, mine, size)] = adapter, mine
                started += 1
                print(f"plays {adapter}, seed {mine}", flush=True)
            done, _ = wait(playing, return_when=FIRST_COMPLETED)
            for one in done:
                adapter, mine = playing.pop(one)
                total += one.result()
                total["worlds"] += 1
                spent = perf_counter() - began
                print(f"{adapter}, seed {mine} is equal; {spent:.0f} s:", flush=True)
                print(f"  {dict(sorted(total.items()))}", flush=True)
    return total


def main() -> None:
    """Play as the command line says: seed, orders, rounds, names, faults a round, one adapter."""
    seed, orders_min, rounds, names, faults = map(int, sys.argv[1:6])
    size = {"rounds": rounds, "names": names, "faults_a_round": faults}
    if sys.argv[6:]:
        print(dict(sorted(play(sys.argv[6], seed, size).items())))
        return
    many(seed, orders_min, **size)


if __name__ == "__main__":
    main()
