"""Many orders through the Alpaca-shaped server, with faults of every kind and SIGKILLs of us.

`World` of a soak: a server, a database, an adapter. The harness deals faults from a seed, lets
processes of ours live and die (`soak_life`), restarts the server now and then, and in the end
compares books and broker to the last digit. `many` plays worlds of both adapters in turn.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Final

import soak_faults
import soak_life
from alpaca_world import OPENING_CENTS, funded, market, open_world, sessions
from soak_faults import Calls
from soak_life import STEPS, Life
from soak_money import reading
from world import START, World, make_world

from broker_adapters.alpaca_broker import AlpacaBroker
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.clock import FixedClock, to_micros
from robo.core.market_calendar import MarketCalendar
from robo.services import reconciling
from robo.store import controls

PACE: Final = timedelta(seconds=45)
"""Between rounds; three of them prove that an order never arrived."""
_PAID_IN_CENTS: Final = 500_000_00
_HEALING_MAX: Final = 14
_RESTART_EVERY: Final = 4
_MEMORY: Final = Path("/dev/shm")


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
    patience_seconds: float = 1.0
    """So long our processes wait for an answer; a busy machine needs more."""
    clock: FixedClock = field(default_factory=lambda: FixedClock(START))
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def run(self) -> Counter[str]:
        """Play all rounds, heal, compare; return what was counted.

        Raises:
            AssertionError: If anything differs; the seed plays it again.
        """
        dice = random.Random(self.seed)
        with make_world(self.state, self.calendar) as world:
            for account in world.add_accounts(self.customers):
                world.pay_in(account, _PAID_IN_CENTS)
        server = self._serve()
        port = int(server.url.rpartition(":")[2])
        try:
            if self.adapter == "alpaca_broker":
                self._open_places(server)
            with _nursery(self.folder) as nursery:
                for number in range(1, self.rounds + 1):
                    self._deal(server, dice)
                    self._live(nursery, server, number, dice)
                    self.clock.advance(PACE)
                    if number % _RESTART_EVERY == 0:
                        self._count_faults(server)
                        server.close()
                        server = self._serve(port)
            self._count_faults(server)
            server.faults.clear()
            with self._open(server) as world:
                self._heal_and_compare(world)
        finally:
            server.close()
        return self.counted

    def _serve(self, port: int = 0) -> AlpacaServer:
        given = {
            "ROBO_PAPER_START_CENTS": str(OPENING_CENTS),
            "ROBO_PAPER_PARTIAL_PPM": "300000",
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
        create = soak_life.make(self.adapter, self.patience_seconds)
        with open_world(self.state, self.calendar, server.url, self.clock, make=create) as world:
            yield world

    def _open_places(self, server: AlpacaServer) -> None:
        """Open an account at the broker for each customer, and pay in."""
        places = []
        with self._open(server) as world:
            now = to_micros(self.clock.now())
            for place, account in enumerate(soak_life.everybody(world)):
                there, link = funded(world, f"soak-{place}", _PAID_IN_CENTS)
                places.append((there, link))
                with world.db.write() as session:
                    controls.link_account(session, account, "alpaca_broker", there, now)
        (self.state / "places.json").write_text(json.dumps(places))

    def _deal(self, server: AlpacaServer, dice: random.Random) -> None:
        orders = self.names * (self.customers if self.adapter == "alpaca_broker" else 2)
        calls = Calls(orders, self.patience_seconds)
        server.faults.plan(*soak_faults.of_orders(dice, self.faults_a_round, calls))
        if self.adapter == "alpaca_broker":
            server.faults.plan(*soak_faults.of_money(dice, 2 + self.faults_a_round // 3, calls))

    def _live(
        self, nursery: subprocess.Popen[str], server: AlpacaServer, number: int, dice: random.Random
    ) -> None:
        """Let a process of ours live a round; it may be killed at any of its steps."""
        step = dice.choice(STEPS)
        requests = step in {"asking", "answered"}
        nth = 1 + dice.randrange(2 * self.names + 20 if requests else 12 + self.names // 10)
        life = Life(
            str(self.state),
            server.url,
            self.adapter,
            self.patience_seconds,
            self.clock.now().isoformat(),
            number,
            self.names,
            step,
            nth if dice.random() < 0.8 else 0,
        )
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        nursery.stdin.write(soak_life.told(life) + "\n")
        nursery.stdin.flush()
        code = int(nursery.stdout.readline() or "1")
        log = (self.folder / "lives.log").read_text()
        assert code in {0, -signal.SIGKILL}, (self.seed, self.adapter, life, log[-3000:])
        if code:
            self.counted[f"killed {step}"] += 1
            self.counted["killed"] += 1

    def _count_faults(self, server: AlpacaServer) -> None:
        for kind, count in server.faults.dealt.items():
            self.counted[f"fault {kind}"] += count
            self.counted["faults"] += count

    def _heal_and_compare(self, world: World) -> None:
        for number in range(_HEALING_MAX):
            soak_life.work(world, self.rounds + 1 + number, 0)
            waiting = world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL")
            planned = world.scalar(
                "SELECT count(*) FROM orders WHERE state IN ('planned', 'sending')"
            )
            if not waiting and not planned:
                break
            world.clock.advance(PACE)
        r = world.runtime
        report = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.policy)
        assert report.found == (), (self.seed, self.adapter, report.found[:3])
        assert world.findings() == [], (self.seed, self.adapter)
        self._compare_orders(world)
        assert waiting == 0, (self.seed, self.adapter, waiting)
        self.counted["rounds"] += self.rounds
        with soak_life.till_of(self.state) as till:
            if till is not None:
                assert isinstance(r.broker, AlpacaBroker)
                till.heal(r.broker, world)
                shelf = self.folder / "server" / "paper" / "alpaca.db"
                self.counted.update(till.compare(shelf))

    def _compare_orders(self, world: World) -> None:
        """Compare orders, executions, positions and cash with the broker's own file."""
        with reading(self.folder / "server" / "paper" / "paper.db") as theirs:
            orders = [row[0] for row in theirs.execute("SELECT client_id FROM orders")]
            # Cents follow from an order's fills together; cash is compared as a whole.
            columns = "client_id, security_id, side, nanos, price_micros"
            told = sorted(theirs.execute(f"SELECT {columns} FROM executions"))
        with world.db.read() as session:
            run = session.connection().exec_driver_sql
            blocks = {row[0] for row in run("SELECT id FROM block")}
            mine = "block_id, security_id, side, nanos, price_micros"
            ours = sorted(tuple(row) for row in run(f"SELECT {mine} FROM execution"))
        assert len(orders) == len(set(orders)), (self.seed, self.adapter)
        assert set(orders) <= blocks, (self.seed, self.adapter)
        odd = sorted(set(ours) ^ set(told))
        assert ours == told, (self.seed, self.adapter, len(ours), len(told), odd[:6])
        self.counted.update(orders=len(orders), blocks=len(blocks), executions=len(ours))


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


def many(calendar: MarketCalendar, seed: int, orders_min: int, **size: int) -> Counter[str]:
    """Play worlds of both adapters in turn until so many orders were at the broker.

    Raises:
        AssertionError: If a world differs; the last seed that was printed plays it again.
    """
    total: Counter[str] = Counter()
    began = perf_counter()
    while total["orders"] < orders_min:
        adapter = ("alpaca_trading", "alpaca_broker")[total["worlds"] % 2]
        mine = seed + total["worlds"]
        print(f"world {total['worlds']}: {adapter}, seed {mine}", flush=True)
        place = _MEMORY if _MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(dir=place) as folder:
            total += Soak(Path(folder), calendar, mine, adapter=adapter, **size).run()
        total["worlds"] += 1
        spent = perf_counter() - began
        print(
            f"  {total['orders']} orders, {spent:.0f} s: {dict(sorted(total.items()))}", flush=True
        )
    return total


def main() -> None:
    """Play as the command line says: seed, orders, rounds, names, faults a round."""
    seed, orders_min, rounds, names, faults = map(int, sys.argv[1:])
    many(sessions(), seed, orders_min, rounds=rounds, names=names, faults_a_round=faults)


if __name__ == "__main__":
    main()
