"""Many orders through the Alpaca-shaped server, with faults of every kind and SIGKILLs of us.

Run as a program it is one process of ours for one round: it plans, sends and collects, and kills
itself at the order that it was told. `soak` is the harness: it starts the server, deals faults from
a seed, starts processes, and in the end compares books and broker to the last digit.

`python broker_soak.py FOLDER URL KILL INSTANT ROUND NAMES`
"""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from alpaca_world import OPENING_CENTS, market, open_world, sessions
from world import START, World, make_world

from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.server import AlpacaServer
from robo.core.clock import FixedClock
from robo.core.errors import BrokerUnavailableError
from robo.core.market_calendar import MarketCalendar
from robo.core.reasons import Reason
from robo.services import guarding, ordering, reconciling, trading
from robo.store import accounts, ledger, universe

PACE: Final = timedelta(seconds=45)
"""Between rounds; three of them prove that an order never arrived."""
_CUSTOMERS: Final = 3
_ORDERS: Final = "/v2/orders"
_ACTIVITIES: Final = "/v2/account/activities"
_BY_ID: Final = "/v2/orders:by_client_order_id"


def faults(dice: random.Random, count: int, orders: int) -> list[Fault]:
    """Return faults of every kind, spread over the calls of a round."""
    lost = {"status": "brand_new_word", "submitted_at": None}
    kinds = (
        Fault(FaultKind.REFUSE, status=429, headers={"X-Ratelimit-Reset": "soon"}),
        Fault(FaultKind.REFUSE, status=503),
        Fault(FaultKind.REFUSE, status=422, body='{"code": 40010000, "message": "no"}'),
        Fault(
            FaultKind.REFUSE,
            status=403,
            body='{"code": 40310000, "message": "potential wash trade detected. use complex '
            'orders", "reject_reason": "opposite side market/stop order exists"}',
        ),
        Fault(FaultKind.FAIL_AFTER, status=504, body="<html>gateway</html>"),
        Fault(FaultKind.FAIL_AFTER, status=500),
        Fault(FaultKind.FAIL_AFTER, status=200, body="not json"),
        Fault(FaultKind.FAIL_AFTER, status=200, body="{}"),
        Fault(FaultKind.DROP),
        Fault(FaultKind.DROP_AFTER),
        Fault(FaultKind.TRUNCATE),
        Fault(FaultKind.EDIT, edit=lost),
        Fault(FaultKind.DELAY, seconds=0.05),
        Fault(FaultKind.DELAY_AFTER, seconds=0.05),
        Fault(FaultKind.REJECT_LATER),
        Fault(FaultKind.REFUSE, "GET", _BY_ID, status=404),
        Fault(FaultKind.REFUSE, "GET", _BY_ID, status=500),
        Fault(FaultKind.DROP, "GET", _BY_ID),
        Fault(FaultKind.REFUSE, "GET", _ACTIVITIES, status=500),
        Fault(FaultKind.TRUNCATE, "GET", _ACTIVITIES),
        Fault(FaultKind.REPEAT, "GET", _ACTIVITIES),
        Fault(FaultKind.DROP_AFTER, "GET", _ACTIVITIES),
    )
    return [
        replace(
            one,
            nth=dice.randint(1, orders if one.method == "POST" else 4),
            times=dice.choice((1, 1, 2)),
        )
        for one in (dice.choice(kinds) for _ in range(count))
    ]


def work(world: World, number: int, names: int) -> None:
    """Do one round of our own: plan orders in many names, send, collect."""
    r = world.runtime
    _plan(world, number, names)
    desk = guarding.Desk(r.keyring, r.prices, r.calendar)
    # The runner tries a job again whose broker did not answer.
    with contextlib.suppress(BrokerUnavailableError):
        trading.send(r.db, r.broker, r.clock, r.policy, f"round-{number:05d}", desk)
    for _ in range(2):
        with contextlib.suppress(BrokerUnavailableError):
            trading.collect(r.db, r.keyring, r.broker, r.clock, r.policy)


def _plan(world: World, number: int, names: int) -> None:
    """Plan buys of as many names for every account, and every other round sells of some."""
    if names == 0:
        return
    dice = random.Random(number)
    with world.db.read() as session:
        listed = [one.id for one in universe.listed(session)]
        owners = world.accounts or _accounts(world)
        sleeves = accounts.sleeves(session, owners)
        balances = ledger.many_account_balances(session, owners)
    plans = []
    for account, sleeve in sleeves.items():
        mine = balances[account]
        cents = 1_00 + dice.randrange(50)
        buys = [
            ordering.Trade(i, Reason.BUY_UNDERWEIGHT, buy_cents=cents)
            for i in dice.sample(listed, names)
        ][: mine.cash_cents // cents]
        sells = [
            ordering.Trade(i, Reason.SELL_WITHDRAWAL, sell_nanos=1 + nanos // 3)
            for i, nanos in mine.holdings_nanos.items()
            if number % 2 and dice.random() < 0.2
        ]
        plans.append(ordering.Plan(sleeve, f"buys-{number}", tuple(buys), {}))
        plans.append(ordering.Plan(sleeve, f"sells-{number}", tuple(sells), {}))
    with world.db.write() as session:
        fresh = ordering.unwritten(session, [one for one in plans if one.trades])
        ordering.write(session, world.runtime.keyring, fresh, 1)


def _accounts(world: World) -> list[accounts.AccountId]:
    with world.db.read() as session:
        rows = session.connection().exec_driver_sql("SELECT id FROM account ORDER BY id")
        return [accounts.AccountId(row[0]) for row in rows]


@dataclass
class Soak:
    """One run of the harness; everything in it follows from the seed."""

    folder: Path
    calendar: MarketCalendar
    seed: int
    rounds: int
    names: int
    faults_a_round: int = 12
    clock: FixedClock = field(default_factory=lambda: FixedClock(START))
    killed: int = 0

    def run(self) -> dict[str, int]:
        """Play all rounds, heal, compare; return what was counted.

        Raises:
            AssertionError: If anything differs; the seed plays it again.
        """
        dice = random.Random(self.seed)
        state = self.folder / "state"
        with make_world(state, self.calendar) as world:
            for account in world.add_accounts(_CUSTOMERS):
                world.pay_in(account, 500_000_00)
        given = {
            "ROBO_PAPER_START_CENTS": str(OPENING_CENTS),
            "ROBO_PAPER_PARTIAL_PPM": "300000",
            "ROBO_PAPER_SEED": str(self.seed),
        }
        context = replace(
            market(state, self.calendar, self.clock, **given), state_dir=self.folder / "server"
        )
        server = AlpacaServer(context, per_minute=10_000_000)
        try:
            for number in range(1, self.rounds + 1):
                server.faults.plan(*faults(dice, self.faults_a_round, self.names))
                # Early: a throttle may end the run before a later order is told.
                kill = 1 + dice.randrange(1 + self.names // 5) if dice.random() < 0.7 else 10**9
                self._child(server, kill, number, self.names)
                self.clock.advance(PACE)
            server.faults.clear()
            with open_world(state, self.calendar, server.url, self.clock) as world:
                return self._heal_and_compare(world)
        finally:
            server.close()

    def _child(self, server: AlpacaServer, kill: int, number: int, names: int) -> None:
        args = (
            str(self.folder / "state"),
            server.url,
            str(kill),
            self.clock.now().isoformat(),
            str(number),
            str(names),
        )
        made = subprocess.run(
            [sys.executable, __file__, *args],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},  # noqa: TID251 - a child's
            capture_output=True,
            check=False,
            timeout=900,
        )
        assert made.returncode in {0, -signal.SIGKILL}, (self.seed, number, made.stderr[-3000:])
        self.killed += made.returncode == -signal.SIGKILL

    def _heal_and_compare(self, world: World) -> dict[str, int]:
        for number in range(12):
            work(world, self.rounds + 1 + number, 0)
            waiting = world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL")
            planned = world.scalar(
                "SELECT count(*) FROM orders WHERE state IN ('planned', 'sending')"
            )
            if not waiting and not planned:
                break
            world.clock.advance(PACE)
        r = world.runtime
        report = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.policy)
        assert report.found == (), (self.seed, report.found[:3])
        assert world.findings() == [], self.seed
        counted = self._equal(world)
        assert waiting == 0, (self.seed, waiting)
        return {**counted, "killed": self.killed, "rounds": self.rounds}

    def _equal(self, world: World) -> dict[str, int]:
        """Compare orders, executions, positions and cash with the broker's own file."""
        file = self.folder / "server" / "paper" / "paper.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as theirs:
            orders = [row[0] for row in theirs.execute("SELECT client_id FROM orders")]
            # Cents follow from an order's fills together; cash is compared as a whole.
            columns = "client_id, security_id, side, nanos, price_micros"
            told = sorted(theirs.execute(f"SELECT {columns} FROM executions"))
        with world.db.read() as session:
            run = session.connection().exec_driver_sql
            blocks = {row[0] for row in run("SELECT id FROM block")}
            mine = "block_id, security_id, side, nanos, price_micros"
            ours = sorted(tuple(row) for row in run(f"SELECT {mine} FROM execution"))
        assert len(orders) == len(set(orders)), self.seed
        assert set(orders) <= blocks, self.seed
        odd = sorted(set(ours) ^ set(told))
        assert ours == told, (self.seed, len(ours), len(told), odd[:6])
        return {"orders": len(orders), "blocks": len(blocks), "executions": len(ours)}


def main() -> None:
    folder, url, kill, instant, number, names = sys.argv[1:]
    clock = FixedClock(datetime.fromisoformat(instant))
    with open_world(Path(folder), sessions(), url, clock, int(kill)) as world:
        work(world, int(number), int(names))


if __name__ == "__main__":
    main()
