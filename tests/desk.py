"""A trading desk for tests: real database and services, a broker whose every word the test writes.

No market, no bank, no baskets: accounts follow a target of a few securities numbered from 1, and
money appears by `fund`. Works on SQLite and on PostgreSQL alike.
"""

import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from databases import migrate
from nyse import nyse
from sqlalchemy import event, text

from robo.core.clock import FixedClock, business_date, to_micros
from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId, FirmId, SecurityId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.money import nanos_for_cents, notional_cents
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ledger import recipes
from robo.ports.broker import (
    AccountModel,
    Activity,
    ActivityPage,
    BrokerCash,
    BrokerOrder,
    BrokerOrderState,
    Capabilities,
    Execution,
    ExecutionKind,
    ExecutionPage,
    MassStatus,
    OrderTicket,
    Position,
    Side,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.prices import CorporateAction, Quote
from robo.services import adjusting, finishing, ordering, trading
from robo.services.verifying import check
from robo.store import accounts, inventory, ledger, universe
from robo.store.database import Database, connect, insert_many
from robo.store.keyring import Keyring

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
TRADED = date(2026, 3, 2)
SETTLES = date(2026, 3, 3)
SECURITIES = 6
KEYRING = Keyring(chain=b"c" * 32, wrap=b"w" * 32, index=b"i" * 32)

Answer = SubmitStatus | SubmitResult | BrokerUnavailableError


USUAL = Capabilities(
    name="scripted",
    simulated=True,
    account_model=AccountModel.OMNIBUS,
    fractional=True,
    notional=True,
    share_decimals=9,
    buy_notional_cents_min=1,
    client_id_length_max=128,
    settlement_days=1,
    orders_per_second_max=1_000,
    always_open=True,
    find_lag_seconds=0,
)
"""What a broker of the tests can do, unless a test says otherwise: everything, at once."""


@dataclass
class ScriptedBroker:
    """A broker that keeps orders, fills them when told, and misbehaves when told.

    Attributes:
        answers: What `submit` says next, in order: a status, or an error raised *before* the order
            arrives. Nothing left means accepted.
        vanish: How many accepted orders' answers get lost on the way back.
        lag: How many times `find` still says that it knows no such order, by client id.
        limit: Executions a page; `rewind` makes pages start that many executions too early.
        at: When it says that executions happened.
        can: Capabilities other than usual.
    """

    answers: list[Answer] = field(default_factory=list)
    vanish: int = 0
    lag: dict[str, int] = field(default_factory=dict)
    away: bool = False
    limit: int = 1000
    rewind: int = 0
    at: datetime = START
    can: dict[str, object] = field(default_factory=dict)
    orders: dict[str, BrokerOrder] = field(default_factory=dict)
    told: list[OrderTicket] = field(default_factory=list)
    done: list[Execution] = field(default_factory=list)
    brought: list[Activity] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return replace(USUAL, **self.can)  # type: ignore[arg-type]

    def submit(self, ticket: OrderTicket) -> SubmitResult:
        self.told.append(ticket)
        answer = self.answers.pop(0) if self.answers else SubmitStatus.ACCEPTED
        if isinstance(answer, BrokerUnavailableError):
            raise answer
        if isinstance(answer, SubmitResult):
            return answer
        if answer is SubmitStatus.REJECTED:
            return SubmitResult(answer, None, 'no "such" thing', "refused")
        if answer in {SubmitStatus.UNKNOWN, SubmitStatus.THROTTLED}:
            return SubmitResult(answer)
        if ticket.client_id in self.orders:
            return SubmitResult(SubmitStatus.DUPLICATE, f"bo-{ticket.client_id}")
        self.orders[ticket.client_id] = BrokerOrder(
            client_id=ticket.client_id,
            broker_order_id=f"bo-{ticket.client_id}",
            security_id=ticket.security_id,
            side=ticket.side,
            notional_cents=ticket.notional_cents,
            nanos=ticket.nanos,
            state=BrokerOrderState.OPEN,
            filled_nanos=0,
            filled_cents=0,
        )
        if self.vanish:
            self.vanish -= 1
            message = "the line broke after the order had arrived"
            raise BrokerUnavailableError(message)
        return SubmitResult(answer, f"bo-{ticket.client_id}")

    def find(self, client_id: str) -> BrokerOrder | None:
        if self.away:
            message = "no answer"
            raise BrokerUnavailableError(message)
        if self.lag.get(client_id, 0):
            self.lag[client_id] -= 1
            return None
        return self.orders.get(client_id)

    def cancel(self, client_id: str) -> SubmitResult:
        self.end(client_id, BrokerOrderState.CANCELED)
        return SubmitResult(SubmitStatus.ACCEPTED)

    def executions(self, after: str, limit: int = 1000) -> ExecutionPage:
        if self.away:
            message = "no answer"
            raise BrokerUnavailableError(message)
        start = int(after or 0)
        first = max(0, start - self.rewind)
        found = self.done[first : start + min(limit, self.limit)]
        end = min(len(self.done), start + min(limit, self.limit))
        return ExecutionPage(found if end > start else [], str(end))

    def activities(self, after: str, limit: int = 1000) -> ActivityPage:
        start = int(after or 0)
        found = self.brought[start : start + min(limit, self.limit)]
        return ActivityPage(found, str(start + len(found)))

    def positions(self, broker_account: str) -> Sequence[Position]:
        held: dict[int, int] = {}
        for one in self.done:
            if self._account(one.client_id) == broker_account:
                sign = 1 if one.side is Side.BUY else -1
                sign = -sign if one.kind is ExecutionKind.BUST else sign
                held[one.security_id] = held.get(one.security_id, 0) + sign * one.nanos
        for act in self.brought:
            if act.broker_account == broker_account:
                held[act.security_id] = held.get(act.security_id, 0) + act.nanos_delta
                if act.new_security_id is not None:
                    held[act.new_security_id] = held.get(act.new_security_id, 0) + act.new_nanos
        return [Position(SecurityId(s), n) for s, n in sorted(held.items()) if n]

    def cash(self, broker_account: str) -> BrokerCash:
        traded = sum(
            (-1 if e.kind is ExecutionKind.BUST else 1)
            * (-e.cents if e.side is Side.BUY else e.cents - e.fee_cents)
            for e in self.done
            if self._account(e.client_id) == broker_account
        )
        brought = sum(a.cents for a in self.brought if a.broker_account == broker_account)
        return BrokerCash(traded + brought, traded + brought)

    def mass_status(self, broker_account: str) -> MassStatus:
        if self.away:
            message = "no answer"
            raise BrokerUnavailableError(message)
        mine = [o for o in self.orders.values() if self._account(o.client_id) == broker_account]
        return MassStatus(
            broker_account=broker_account,
            as_of=self.at,
            open_orders=[one for one in mine if not one.state.final],
            positions=self.positions(broker_account),
            cash=self.cash(broker_account),
        )

    def _account(self, client_id: str) -> str:
        return next((t.broker_account for t in self.told if t.client_id == client_id), "")

    def execution(
        self,
        client_id: str,
        nanos: int,
        cents: int,
        fee_cents: int = 0,
        *,
        price_micros: int = 10_000_000,
        name: str = "",
        **changes: object,
    ) -> Execution:
        """Return an execution of an order that is not told to anybody yet."""
        order = self.orders.get(client_id)
        made = Execution(
            id=name or f"exe-{len(self.done) + 1}",
            client_id=client_id,
            security_id=order.security_id if order else SecurityId(1),
            side=order.side if order else Side.BUY,
            nanos=nanos,
            price_micros=price_micros,
            cents=cents,
            fee_cents=fee_cents,
            executed_at=self.at,
            settles_on=self.at.date() + timedelta(days=1),
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def fill(
        self, client_id: str, nanos: int, cents: int, fee_cents: int = 0, **more: object
    ) -> Execution:
        """Execute a part of an order; the last unit ends it."""
        made = self.execution(client_id, nanos, cents, fee_cents, **more)  # type: ignore[arg-type]
        self.done.append(made)
        before = self.orders[client_id]
        filled = replace(
            before,
            filled_nanos=before.filled_nanos + nanos,
            filled_cents=before.filled_cents + cents,
        )
        whole = filled.filled_cents == filled.notional_cents or filled.filled_nanos == filled.nanos
        state = BrokerOrderState.FILLED if whole else before.state
        self.orders[client_id] = replace(filled, state=state)
        return made

    def bust(self, told: Execution) -> Execution:
        """Take an execution back; its order keeps its state, as brokers do."""
        made = replace(
            told,
            id=f"{told.id}-bust",
            kind=ExecutionKind.BUST,
            busts=told.id,
            executed_at=self.at,
        )
        self.done.append(made)
        order = self.orders[told.client_id]
        self.orders[told.client_id] = replace(
            order,
            filled_nanos=order.filled_nanos - told.nanos,
            filled_cents=order.filled_cents - told.cents,
        )
        return made

    def fill_at(self, client_id: str, price_micros: int, fee_cents: int = 0) -> Execution:
        """Execute all that is left of an order at a price."""
        order = self.orders[client_id]
        if order.notional_cents is not None:
            cents = order.notional_cents - order.filled_cents
            nanos = nanos_for_cents(cents, price_micros)
        else:
            assert order.nanos is not None
            nanos = order.nanos - order.filled_nanos
            cents = notional_cents(nanos, price_micros)
        return self.fill(client_id, nanos, cents, fee_cents, price_micros=price_micros)

    def end(self, client_id: str, state: BrokerOrderState, code: str = "") -> None:
        """End an order with something left."""
        self.orders[client_id] = replace(self.orders[client_id], state=state, code=code)


@dataclass
class ScriptedPrices:
    """A feed with one price for everything, and the actions that the test publishes."""

    price_micros: int = 10_000_000
    published: list[CorporateAction] = field(default_factory=list)
    halted: set[int] = field(default_factory=set)
    name: str = "SIM scripted"
    simulated: bool = True

    def quotes(
        self, security_ids: Sequence[SecurityId], at: datetime
    ) -> Mapping[SecurityId, Quote]:
        p = self.price_micros
        return {s: Quote(s, p, p, p, at, s in self.halted) for s in security_ids}

    def closes(self, on: date) -> Mapping[SecurityId, int]:
        assert on
        return {SecurityId(n): self.price_micros for n in range(1, SECURITIES + 1)}

    def total_returns(
        self, security_ids: Sequence[SecurityId], last: date, count: int
    ) -> Sequence[Sequence[float | None]]:
        assert last
        return [[0.0] * len(security_ids)] * count

    def actions(self, on: date) -> Sequence[CorporateAction]:
        return [one for one in self.published if one.ex_on == on]


@dataclass
class Desk:
    """The books, and short ways to do what jobs do."""

    db: Database
    broker: ScriptedBroker = field(default_factory=ScriptedBroker)
    prices: ScriptedPrices = field(default_factory=ScriptedPrices)
    clock: FixedClock = field(default_factory=lambda: FixedClock(START))
    policy: Policy = field(default_factory=Policy.default)
    keyring: Keyring = KEYRING
    calendar: MarketCalendar = field(default_factory=nyse)
    windows: int = 0

    @property
    def now(self) -> int:
        return to_micros(self.clock.now())

    def found(self, *firms: str, securities: int = SECURITIES) -> None:
        """Write firms and securities."""
        with self.db.write() as session:
            insert_many(
                session,
                "firm",
                ("id", "name", "house", "created_at"),
                [(f, f.title(), 0, 1) for f in firms],
            )
            known = {one.id for one in universe.everything(session)}
            universe.add(
                session,
                [
                    universe.Listing(SecurityId(n), f"SYM{n}", f"Company {n}", size_cents=1)
                    for n in range(1, securities + 1)
                    if n not in known
                ],
            )

    def open(
        self, firm: str, count: int, name: str = "", follows: tuple[int, int] = (901, 902)
    ) -> list[AccountId]:
        """Open accounts of as many customers, half and half in two securities."""
        ids = [AccountId(child_id("acc", firm, name, n)) for n in range(count)]
        with self.db.write() as session:
            customers = [child_id("cus", account) for account in ids]
            names = ("id", "firm_id", "email_index", "state", "created_at")
            more = ("identity_state", "identity_codes", "delivery")
            insert_many(
                session,
                "customer",
                (*names, *more),
                [(c, firm, c.encode(), "active", 1, "accepted", "", "paper") for c in customers],
            )
            insert_many(
                session,
                "account",
                ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
                [
                    (a, firm, c, "individual", "open", 1)
                    for a, c in zip(ids, customers, strict=True)
                ],
            )
            weights = [accounts.TargetWeight(security, 500_000) for security in follows]
            target = accounts.put_target(session, "test", "1", weights, 1)
            insert_many(
                session,
                "sleeve",
                ("id", "account_id", "kind", "basket_id", "target_id", "changed_at"),
                [(child_id("slv", a), a, "basket", "test", target, 1) for a in ids],
            )
            insert_many(
                session,
                "bank_link",
                ("id", "customer_id", "token", "bank_name", "mask", "state", "created_at"),
                [(child_id("lnk", c), c, "tok", "Bank", "1234", "active", 1) for c in customers],
            )
        return ids

    def fund(self, amounts: Mapping[AccountId, int], cause: str = "start") -> None:
        """Put settled cash into accounts."""
        with self.db.write() as session:
            transfers = [
                t for a, cents in amounts.items() for t in recipes.deposit(a, cents, f"{cause}/{a}")
            ]
            ledger.post(session, self.keyring.chain, transfers, FirmId(""), self.now)

    def plan(
        self, trades: Mapping[AccountId, Sequence[ordering.Trade]], cause: str, hold: str = ""
    ) -> None:
        """Write orders of accounts."""
        with self.db.write() as session:
            sleeves = accounts.sleeves(session, list(trades))
            plans = [
                ordering.Plan(sleeves[a], cause, tuple(some), {}, hold)
                for a, some in trades.items()
            ]
            ordering.write(session, self.keyring, plans, self.now)

    def buy(
        self, amounts: Mapping[AccountId, int], security: int = 1, cause: str = "", hold: str = ""
    ) -> str:
        """Plan and send buys of one security; return the block's id."""
        why = Reason.BUY_UNDERWEIGHT
        trades = {a: [ordering.Trade(security, why, buy_cents=c)] for a, c in amounts.items()}
        return self._trade(trades, cause, hold)

    def sell(
        self,
        nanos: Mapping[AccountId, int],
        security: int = 1,
        cause: str = "",
        why: Reason = Reason.SELL_WITHDRAWAL,
    ) -> str:
        """Plan and send sells of one security; return the block's id."""
        trades = {a: [ordering.Trade(security, why, sell_nanos=n)] for a, n in nanos.items()}
        return self._trade(trades, cause, "")

    def _trade(
        self, trades: Mapping[AccountId, Sequence[ordering.Trade]], cause: str, hold: str
    ) -> str:
        self.plan(trades, cause or f"cause-{self.windows}", hold)
        before = set(self.column("SELECT id FROM block"))
        self.send()
        (made,) = set(self.column("SELECT id FROM block")) - before
        return str(made)

    def send(self, window: str = "") -> int:
        """Send what is planned in a new window, or in the one named."""
        self.windows += 1
        return trading.send(
            self.db, self.broker, self.clock, self.policy, window or f"w{self.windows}"
        )

    def collect(self) -> int:
        return finishing.collect(self.db, self.keyring, self.broker, self.clock, self.policy)

    def adjust(self, on: date | None = None) -> int:
        """Apply the corporate actions of today, or of a session that was missed."""
        args = self.db, self.keyring, self.broker, self.prices, self.clock, self.policy
        return adjusting.apply_day(*args, on or self.today())

    def held(self, account: AccountId) -> ledger.AccountBalances:
        with self.db.read() as session:
            return ledger.account_balances(session, account)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self.db.read() as session:
            return [tuple(row) for row in session.connection().execute(text(sql))]

    def column(self, sql: str) -> list[object]:
        return [row[0] for row in self.rows(sql)]

    def scalar(self, sql: str) -> int:
        (value,) = self.column(sql)
        return int(value or 0)  # type: ignore[call-overload, no-any-return]

    def findings(self) -> list[object]:
        """Return what verify finds in the books; empty for clean ones."""
        with self.db.read() as session:
            return list(check(session, self.keyring, {}))

    def next_day(self) -> None:
        self.clock.advance(timedelta(days=1))
        self.broker.at = self.clock.now()

    def today(self) -> date:
        return business_date(self.clock.now())


def _careless(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF").close()


def quick(path: Path) -> Database:
    """Return a SQLite file that does not wait for the disk: these tests do not pull the plug."""
    db = connect(f"sqlite:///{path}")
    event.listen(db.engine, "connect", _careless)
    return db


def write_template(path: Path, *firms: str) -> Path:
    """Write a migrated file with firms and securities in it, to be copied for every test."""
    migrate(f"sqlite:///{path}")
    db = quick(path)
    Desk(db).found(*firms)
    db.close()
    return path


@contextmanager
def desk_from(template: Path, folder: Path) -> Iterator[Desk]:
    """Yield a desk of its own for one test or example."""
    path = folder / f"{secrets.token_hex(6)}.db"
    path.write_bytes(template.read_bytes())
    made = Desk(quick(path))
    try:
        yield made
    finally:
        made.db.close()
        for left in folder.glob(f"{path.name}*"):
            left.unlink()


def broker_equals_books(desk: Desk, firm: str) -> None:
    """Compare the customers' holdings of a firm with the broker's positions."""
    theirs = {p.security_id: p.nanos for p in desk.broker.positions(f"omnibus/{firm}")}
    ours: dict[int, int] = {}
    for account in desk.column(f"SELECT id FROM account WHERE firm_id = '{firm}'"):
        for security, nanos in desk.held(AccountId(str(account))).holdings_nanos.items():
            ours[security] = ours.get(security, 0) + nanos
    with desk.db.read() as session:
        for security, nanos in inventory.held(session, firm).items():
            ours[security] = ours.get(security, 0) + nanos
    assert {security: nanos for security, nanos in ours.items() if nanos} == theirs


def breaking(function: Callable[..., None], at: int, error: Exception) -> Callable[..., None]:
    """Return the function, except that its n-th call raises after having done its work."""
    calls = 0

    def broken(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        function(*args, **kwargs)
        if calls == at:
            raise error

    return broken


def in_parts(total: int, cuts: Iterable[int]) -> list[int]:
    """Cut a total at places, each taken modulo the total; empty parts are left out."""
    edges = sorted({0, total, *(cut % (total + 1) for cut in cuts)})
    return [b - a for a, b in itertools.pairwise(edges) if b > a]
