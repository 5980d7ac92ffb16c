"""Accounts that buy, sell, withdraw and live through corporate actions in any order.

Everything goes through the real services. After every step `verify` must find nothing, and shares
and basis must be conserved to the last unit; at the end the sales are replayed lot by lot.
"""

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, desk_from, write_template
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from robo.core.errors import BrokerUnavailableError, ConflictError, RefusedError
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.money import nanos_for_cents, notional_cents
from robo.core.reasons import Reason
from robo.ledger import chart
from robo.ports.broker import Activity, BrokerOrder, BrokerOrderState, SubmitStatus
from robo.ports.funding import BankEvent, BankLink, BankTransfer
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import funding, investing, withdrawing
from robo.services.dividing import LEAVING
from robo.services.ordering import Trade
from robo.store.database import sqlite_module

DAYS = MarketCalendar(tuple(date(2026, 1, 1) + timedelta(days=n) for n in range(400)))
FIRMS = ("firm_a", "firm_a", "firm_b")
PRICES = st.sampled_from([100, 730_000, 10_000_000, 123_456_789, 10**12])
AWAY = BrokerUnavailableError("no answer")
KINDS = st.sampled_from(list(ActionKind))
RATIOS = st.sampled_from([(2, 1), (3, 2), (1, 10), (7, 3), (1, 1_000), (1, 1)])
CASH = st.sampled_from([0, 1, 238_900, 41_000_000])
places = st.integers(0, len(FIRMS) - 1)


class Till:
    """A bank that takes what it is told to pay, unless it is away."""

    def __init__(self) -> None:
        self.paid: dict[str, int] = {}
        self.away = False

    def link(self, link_id: str, routing_number: str, account_number: str) -> BankLink:
        return BankLink(link_id, routing_number, account_number)

    def request(self, transfer: BankTransfer) -> None:
        if self.away:
            raise AWAY
        assert self.paid.setdefault(transfer.id, transfer.cents) == transfer.cents

    def events(self, after: str, limit: int = 1000) -> Sequence[BankEvent]:  # noqa: ARG002 - a stub
        return []


class DeskMachine(RuleBasedStateMachine):
    """Three accounts of two firms, six securities, one broker that is often unhelpful."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.bank = Till()
        self.accounts = [
            desk.open(firm, 1, f"{n}", follows=(1, 2))[0] for n, firm in enumerate(FIRMS)
        ]
        self.paid_in: dict[AccountId, int] = defaultdict(int)
        self.alive = [1, 2, 3, 4]
        self.steps = 0
        self.watcher = sqlite_module().connect(desk.db.engine.url.database)
        self.checked = -1
        for place, account in enumerate(self.accounts):
            self.pay_in(place, 300_00 + place)
            trades = [Trade(s, Reason.BUY_NEW_NAME, buy_cents=70_00 + s) for s in self.alive]
            desk.plan({account: trades}, self.step())
        self.fill_everything(9_870_000)

    def step(self) -> str:
        self.steps += 1
        return f"step-{self.steps}"

    def is_open(self, account: AccountId) -> bool:
        return self.desk.column(f"SELECT state FROM account WHERE id = '{account}'") == ["open"]

    @rule(place=places, cents=st.integers(1, 900_00))
    def pay_in(self, place: int, cents: int) -> None:
        account = self.accounts[place]
        if self.is_open(account):
            self.desk.fund({account: cents}, self.step())
            self.paid_in[account] += cents

    @rule()
    def invest(self) -> None:
        d = self.desk
        args = d.db, d.keyring, d.broker, d.prices, d.clock, DAYS, d.policy
        investing.plan(*args, self.step())

    @rule(place=places, data=st.data(), part=st.integers(1, 100), hold=st.booleans())
    def buy(self, place: int, data: st.DataObject, part: int, *, hold: bool) -> None:
        account = self.accounts[place]
        cents = self.desk.held(account).cash_cents * part // 100
        security = data.draw(st.sampled_from(self.alive))
        if cents and self.is_open(account):
            until = (self.desk.today() + timedelta(days=2)).isoformat() if hold else ""
            trade = Trade(security, Reason.BUY_UNDERWEIGHT, buy_cents=cents)
            self.desk.plan({account: [trade]}, self.step(), until)

    @rule(place=places, data=st.data(), part=st.integers(1, 100))
    def sell(self, place: int, data: st.DataObject, part: int) -> None:
        account = self.accounts[place]
        held = self.desk.held(account).holdings_nanos
        if not held:
            return
        security = data.draw(st.sampled_from(sorted(held)))
        open_sells = self.desk.scalar(
            "SELECT sum(nanos - filled_nanos) FROM orders WHERE side = 'sell' AND "
            f"state IN ('planned', 'sending') AND account_id = '{account}' "
            f"AND security_id = {security}"
        )
        nanos = (held[security] - open_sells) * part // 100
        if nanos > 0:
            trade = Trade(security, Reason.SELL_WITHDRAWAL, sell_nanos=nanos)
            self.desk.plan({account: [trade]}, self.step())

    @rule(
        answers=st.lists(
            st.sampled_from(
                [SubmitStatus.ACCEPTED, SubmitStatus.REJECTED, SubmitStatus.THROTTLED, AWAY]
            ),
            max_size=3,
        ),
        vanish=st.integers(0, 1),
    )
    def send(self, answers: list[Any], vanish: int) -> None:
        self.desk.broker.answers, self.desk.broker.vanish = list(answers), vanish
        self.desk.send()

    def working(self) -> list[BrokerOrder]:
        return [o for o in self.desk.broker.orders.values() if not o.state.final]

    @rule(data=st.data(), price=PRICES, fee=st.integers(0, 3))
    @precondition(lambda self: self.working())
    def fill(self, data: st.DataObject, price: int, fee: int) -> None:
        order = data.draw(st.sampled_from(self.working()))
        if order.notional_cents is not None:
            cents = data.draw(st.integers(0, order.notional_cents - order.filled_cents))
            nanos, fee = nanos_for_cents(cents, price) or 1, 0
        else:
            nanos = data.draw(st.integers(1, (order.nanos or 0) - order.filled_nanos))
            cents = notional_cents(nanos, price)
        self.desk.broker.fill(order.client_id, nanos, cents, fee, price_micros=price)

    @rule(data=st.data(), price=PRICES)
    @precondition(lambda self: self.working())
    def fill_whole(self, data: st.DataObject, price: int) -> None:
        order = data.draw(st.sampled_from(self.working()))
        if order.nanos is not None or order.notional_cents != order.filled_cents:
            made = self.desk.broker
            if order.notional_cents is None or nanos_for_cents(
                order.notional_cents - order.filled_cents, price
            ):
                made.fill_at(order.client_id, price)

    @rule(price=PRICES)
    def fill_everything(self, price: int) -> None:
        """A good hour: all that is planned is sent, filled and booked."""
        self.desk.broker.answers, self.desk.broker.vanish = [], 0
        self.desk.send()
        for order in self.working():
            if order.nanos is not None or nanos_for_cents(order.notional_cents or 0, price):
                self.desk.broker.fill_at(order.client_id, price)
        self.desk.collect()

    @rule(place=places, data=st.data(), part=st.integers(20, 100), price=PRICES)
    def buy_at_once(self, place: int, data: st.DataObject, part: int, price: int) -> None:
        self.buy(place, data, part, hold=data.draw(st.booleans()))
        self.fill_everything(price)

    @rule(place=places, data=st.data(), part=st.integers(1, 100), price=PRICES)
    def sell_at_once(self, place: int, data: st.DataObject, part: int, price: int) -> None:
        self.sell(place, data, part)
        self.fill_everything(price)

    @rule(
        data=st.data(),
        state=st.sampled_from(
            [BrokerOrderState.CANCELED, BrokerOrderState.EXPIRED, BrokerOrderState.REJECTED]
        ),
    )
    @precondition(lambda self: self.working())
    def end(self, data: st.DataObject, state: BrokerOrderState) -> None:
        order = data.draw(st.sampled_from(self.working()))
        self.desk.broker.end(order.client_id, state, "it's over")

    @rule(limit=st.sampled_from([1, 2, 1000]), rewind=st.integers(0, 2))
    def collect(self, limit: int, rewind: int) -> None:
        self.desk.broker.limit, self.desk.broker.rewind = limit, rewind
        self.desk.collect()

    @rule(place=places, cents=st.none() | st.integers(1, 500_00))
    def withdraw(self, place: int, cents: int | None) -> None:
        d, account = self.desk, self.accounts[place]
        (customer,) = d.column(f"SELECT customer_id FROM account WHERE id = '{account}'")
        with suppress(RefusedError, ConflictError):
            withdrawing.request(
                d.db,
                d.keyring,
                d.prices,
                d.clock,
                account,
                child_id("wdr", self.step()),
                child_id("lnk", str(customer)),
                cents,
            )

    @rule()
    def raise_money(self) -> None:
        d = self.desk
        withdrawing.plan(d.db, d.keyring, d.broker, d.prices, d.clock, d.policy, self.step())

    @rule(away=st.booleans())
    def pay_out(self, *, away: bool) -> None:
        self.bank.away = away
        withdrawing.pay(
            self.desk.db, self.desk.keyring, self.bank, self.desk.clock, self.desk.policy
        )

    @rule(data=st.data())
    def cancel_withdrawal(self, data: st.DataObject) -> None:
        d = self.desk
        rows = d.rows("SELECT account_id, id FROM withdrawal")
        if rows:
            account, one = data.draw(st.sampled_from(sorted(rows)))
            with suppress(ConflictError):
                withdrawing.cancel(d.db, d.keyring, d.clock, AccountId(str(account)), str(one))

    @rule(
        kind=KINDS, ratio=RATIOS, cash=st.sampled_from([0, 1, 238_900, 41_000_000]), data=st.data()
    )
    def next_day(
        self, kind: ActionKind, ratio: tuple[int, int], cash: int, data: st.DataObject
    ) -> None:
        """End the day's orders, then live through an action on one of the names."""
        for order in self.working():
            self.desk.broker.end(order.client_id, BrokerOrderState.EXPIRED)
        self.desk.broker.away, self.desk.broker.limit, self.desk.broker.rewind = False, 1000, 0
        self.desk.collect()
        self.desk.next_day()
        # A name of the target must live: the desk's target is no basket with understudies.
        names = [s for s in self.alive if kind not in LEAVING or s > 2]
        if names:
            self.act(kind, data.draw(st.sampled_from(names)), ratio, cash)
        self.desk.adjust()
        d = self.desk
        funding.settle_proceeds(d.db, d.keyring, d.clock, d.policy, d.today())

    def act(self, kind: ActionKind, security: int, ratio: tuple[int, int], cash: int) -> None:
        number, day = len(self.desk.prices.published) + 1, self.desk.today()
        new = SecurityId(70 + number)
        moves = kind in {ActionKind.STOCK_MERGER, ActionKind.SPIN_OFF}
        action = CorporateAction(
            id=f"ca-{number}",
            kind=kind,
            security_id=SecurityId(security),
            ex_on=day,
            pay_on=day + timedelta(days=1),
            ratio_num=ratio[0],
            ratio_den=ratio[1],
            new_security_id=new if moves else None,
            new_symbol=f"NEW{number}",
            basis_ppm=123_456,
        )
        self.desk.prices.published.append(action)
        for firm in sorted(set(FIRMS)):
            told = f"omnibus/{firm}"
            positions = {p.security_id: p.nanos for p in self.desk.broker.positions(told)}
            held = positions.get(SecurityId(security), 0)
            if not held:
                continue
            after = held * ratio[0] // ratio[1]
            delta = -held if kind in LEAVING else after - held if kind is ActionKind.SPLIT else 0
            self.desk.broker.brought.append(
                Activity(
                    id=f"ac-{number}-{firm}",
                    action_id=action.id,
                    kind=kind,
                    security_id=SecurityId(security),
                    on=day,
                    cents=0 if kind is ActionKind.SYMBOL_CHANGE else notional_cents(held, cash),
                    nanos_before=held,
                    nanos_delta=delta,
                    new_security_id=new if moves else None,
                    new_nanos=after if moves else 0,
                    broker_account=told,
                )
            )
        if kind in LEAVING:
            self.alive.remove(security)

    @invariant()
    def the_books_are_right(self) -> None:
        # What the broker does alone changes no row; rows that are the same are as right as before.
        (version,) = self.watcher.execute("PRAGMA data_version").fetchone()
        if version != self.checked:
            self.checked = version
            self.verify_finds_nothing()
            self.basis_is_conserved()
            self.proceeds_are_conserved()
        self.nobody_is_paid_out_more_than_came_in_and_was_earned()

    def verify_finds_nothing(self) -> None:
        assert self.desk.findings() == []
        assert self.desk.column("SELECT kind FROM event WHERE kind LIKE 'break.%'") == []

    def basis_is_conserved(self) -> None:
        paid = self.sums(
            "SELECT fill.account_id, sum(fill.cents) FROM fill JOIN orders ON orders.id = order_id "
            "WHERE side = 'buy' GROUP BY 1"
        )
        left = self.sums("SELECT account_id, sum(basis_cents) FROM lot GROUP BY 1")
        given_up = self.sums(
            "SELECT account_id, -sum(basis_delta_cents) FROM lot_event "
            "WHERE kind = 'close' GROUP BY 1"
        )
        left.update(given_up)  # added, whatever the signs
        assert left == paid

    def proceeds_are_conserved(self) -> None:
        closed = self.sums(
            "SELECT account_id, sum(proceeds_cents) FROM lot_event WHERE kind = 'close' GROUP BY 1"
        )
        waiting = self.sums("SELECT account_id, sum(cents) FROM proceed GROUP BY 1")
        assert waiting == closed

    def sums(self, sql: str) -> Counter[str]:
        return Counter({str(account): int(str(cents)) for account, cents in self.desk.rows(sql)})

    def nobody_is_paid_out_more_than_came_in_and_was_earned(self) -> None:
        paid = self.desk.scalar("SELECT sum(promised_cents) FROM withdrawal WHERE state = 'sent'")
        assert sum(self.bank.paid.values()) <= paid
        bank = (
            self.desk.scalar(f"SELECT amount FROM balance WHERE book = '{chart.STREET_BANK}'")
            if self.paid_in
            else 0
        )
        assert bank == -sum(self.paid_in.values())

    def teardown(self) -> None:
        """Finish the day, then compare with the broker and replay the sales."""
        for order in self.working():
            self.desk.broker.end(order.client_id, BrokerOrderState.EXPIRED)
        self.desk.broker.answers, self.desk.broker.vanish = [], 0
        self.desk.send()
        for order in self.working():
            self.desk.broker.end(order.client_id, BrokerOrderState.EXPIRED)
        self.desk.collect()
        assert self.desk.findings() == []
        assert self.desk.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL") == 0
        self.watcher.close()
        for firm in set(FIRMS):
            self.broker_is_right(firm)
        replay_sales(self.desk)

    def broker_is_right(self, firm: str) -> None:
        theirs = {p.security_id: p.nanos for p in self.desk.broker.positions(f"omnibus/{firm}")}
        ours: dict[int, int] = defaultdict(int)
        for account, owner in zip(self.accounts, FIRMS, strict=True):
            if owner == firm:
                for security, nanos in self.desk.held(account).holdings_nanos.items():
                    ours[security] += nanos
        assert ours == theirs


def replay_sales(desk: Desk) -> None:
    """Check every sale against first in, first out, free lots before those on hold."""
    lots = {
        str(i): (str(acquired), str(hold), int(str(security)), str(account))
        for i, acquired, hold, security, account in desk.rows(
            "SELECT id, acquired_on, hold_until, security_id, account_id FROM lot"
        )
    }
    left: dict[str, int] = defaultdict(int)
    sold: dict[str, list[tuple[str, int]]] = defaultdict(list)
    rows = desk.rows(
        "SELECT chain, seq, lot_id, kind, nanos_delta, cause, on_date FROM lot_event "
        "ORDER BY chain, seq"
    )
    for _, _, lot_id, kind, delta, cause, on in rows:
        if kind == "close":
            check_first_in_first_out(str(lot_id), str(on), lots, left)
            sold[str(cause)].append((str(lot_id), int(str(delta))))
        left[str(lot_id)] += int(str(delta))
    assert all(nanos >= 0 for nanos in left.values())


def check_first_in_first_out(
    lot_id: str, on: str, lots: dict[str, tuple[str, str, int, str]], left: dict[str, int]
) -> None:
    acquired, hold, security, account = lots[lot_id]
    mine = (hold > on, acquired, lot_id)
    before = [
        other
        for other, nanos in left.items()
        if nanos
        and other != lot_id
        and lots[other][2:] == (security, account)
        and (lots[other][1] > on, lots[other][0], other) < mine
    ]
    assert before == [], f"{lot_id} was sold before {before}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("lots") / "template.db", *sorted(set(FIRMS)))


def machines(template: Path, folder: Path) -> Generator[DeskMachine]:
    """Yield machines, each at a desk of its own."""
    while True:
        with desk_from(template, folder) as desk:
            yield DeskMachine(desk)


def live_through(template: Path, folder: Path, lives: int) -> None:
    made = machines(template, folder)
    try:
        run_state_machine_as_test(
            lambda: next(made), settings=settings(max_examples=lives, stateful_step_count=30)
        )
    finally:
        made.close()


def test_whatever_happens_at_the_desk_the_books_are_right(template: Path, tmp_path: Path) -> None:
    live_through(template, tmp_path, 16)


@pytest.mark.soak
def test_whatever_happens_at_the_desk_for_long_the_books_are_right(
    template: Path, tmp_path: Path
) -> None:
    live_through(template, tmp_path, 400)
