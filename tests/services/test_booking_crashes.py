"""Booking that is interrupted anywhere finishes exactly once when it runs again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, breaking, broker_equals_books, desk_from, write_template

from robo.core.errors import BrokenInvariantError, InsufficientFundsError
from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.ports.broker import BrokerOrderState
from robo.services import finishing
from robo.services.turns import Turns
from robo.store import blocks, cursors, events, ledger, lots, orders
from robo.store.database import Database

SMALL = 3
"""Accounts a turn, so that a few accounts make several transactions."""


def in_threes(db: Database, policy: Policy) -> Turns:
    return Turns(db, policy, size=SMALL)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("crash") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("robo.services.turns._MOST", SMALL)
    monkeypatch.setattr(finishing, "Turns", in_threes)
    with desk_from(template, tmp_path) as made:
        yield made


def story(desk: Desk) -> list[AccountId]:
    """Buy two securities, sell one of them in the same round, leave a third order unfinished."""
    accounts = desk.open("firm_a", 7)
    desk.fund(dict.fromkeys(accounts, 100_00))
    bought = desk.buy({a: 10_00 + n for n, a in enumerate(accounts)}, security=1)
    desk.broker.fill_at(bought, 7_000_000)
    desk.collect()
    first = desk.buy({a: 20_00 + n for n, a in enumerate(accounts)}, security=2)
    second = desk.sell({a: 900_000_001 + n for n, a in enumerate(accounts)}, security=1)
    third = desk.buy(dict.fromkeys(accounts[:4], 30_00), security=3)
    broker = desk.broker
    broker.fill(first, 1_000_000_007, 50_01)
    broker.fill(second, 3_000_000_000, 21_00, 2)
    broker.fill(first, 500_000_000, 40_00)
    broker.fill_at(second, 8_000_000, 3)
    broker.fill(third, 1_000, 17)
    broker.end(third, BrokerOrderState.CANCELED, "enough")
    broker.fill_at(first, 9_000_000)
    return accounts


def picture(desk: Desk, accounts: list[AccountId]) -> dict[str, Any]:
    """Return everything that must not depend on how often booking was interrupted."""
    lot_columns = "account_id, security_id, acquired_on, nanos, basis_cents"
    return {
        "balances": [desk.held(a) for a in accounts],
        "orders": desk.rows(
            "SELECT id, state, filled_nanos, filled_cents, fee_cents, reserved_cents, code "
            "FROM orders ORDER BY id"
        ),
        "fills": desk.rows("SELECT id, nanos, cents, fee_cents FROM fill ORDER BY id"),
        "lots": desk.rows(f"SELECT id, {lot_columns} FROM lot ORDER BY id"),
        "proceeds": desk.rows("SELECT id, cents, settles_on, state FROM proceed ORDER BY id"),
        "blocks": desk.rows("SELECT id, state, executed_nanos, executed_cents FROM block"),
        "events": sorted(desk.rows("SELECT kind, subject, payload FROM event")),
        "books": desk.rows("SELECT book, asset, amount FROM balance ORDER BY book, asset"),
    }


@pytest.fixture(scope="module")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the picture after a run that nothing interrupts."""
    with desk_from(template, tmp_path_factory.mktemp("calm")) as desk:
        accounts = story(desk)
        desk.collect()
        desk.collect()
        return picture(desk, accounts)


STEPS = {
    "transfers": (ledger, "post"),
    "lots": (lots, "apply_events"),
    "proceeds": (lots, "add_proceeds"),
    "orders": (orders, "advance"),
    "endings": (orders, "end"),
    "events": (events, "emit"),
    "accepted": (blocks, "accept"),
    "cursor": (cursors, "move_cursor"),
    "finished": (blocks, "finish"),
    "closed": (blocks, "close"),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_exception_at_any_call_of_any_step_is_mended_by_the_next_run(
    desk: Desk, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    accounts = story(desk)
    module, name = STEPS[step]
    real = getattr(module, name)
    interruptions = 0

    for at in (1, 2, 3, 1, 2, 4):
        monkeypatch.setattr(module, name, breaking(real, at, KeyboardInterrupt()))
        try:
            desk.collect()
        except KeyboardInterrupt:
            interruptions += 1
        assert desk.findings() == []  # what is half booked is right as far as it goes
    monkeypatch.setattr(module, name, real)
    desk.collect()
    desk.collect()

    assert interruptions > 0
    assert picture(desk, accounts) == undisturbed
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_executions_that_come_between_two_crashed_runs_are_booked_in_their_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = desk.open("firm_a", 7)
    desk.fund(dict.fromkeys(accounts, 100_00))
    block = desk.buy({a: 10_00 + n for n, a in enumerate(accounts)})
    real = ledger.post
    for cents in (3_33, 20_00, 7, 5_00):
        desk.broker.fill(block, cents * 10**6, cents)
        monkeypatch.setattr(ledger, "post", breaking(real, 2, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            desk.collect()
    monkeypatch.setattr(ledger, "post", real)
    desk.broker.fill_at(block, 10_000_000)

    desk.collect()

    assert set(desk.column("SELECT state FROM orders")) == {"filled"}
    assert set(desk.column("SELECT state FROM booking")) == {"done"}
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_two_runs_at_once_book_each_execution_once(
    desk: Desk, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = story(desk)
    real, inner = ledger.post, []

    def other_run_first(*args: Any, **more: Any) -> None:
        if not inner:
            inner.append(1)
            raise InterruptedError  # as if this process stood still here ...
        real(*args, **more)

    monkeypatch.setattr(ledger, "post", other_run_first)
    with pytest.raises(InterruptedError):
        desk.collect()
    desk.collect()  # ... while another one did the work,
    desk.collect()  # and then went on.

    assert picture(desk, accounts) == undisturbed


def test_a_fill_that_would_overdraw_an_account_stops_everything_and_is_not_lost(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = desk.open("firm_a", 7)
    desk.fund(dict.fromkeys(accounts, 100_00))
    block = desk.buy(dict.fromkeys(accounts, 10_00))
    desk.broker.fill_at(block, 7_000_000)
    real = ledger.post

    def overdrawn(session: Any, key: bytes, transfers: Any, *rest: Any, **more: Any) -> None:
        if any(accounts[3] in t.source for t in transfers):
            raise InsufficientFundsError("no")  # noqa: EM101 - a stub
        real(session, key, transfers, *rest, **more)

    monkeypatch.setattr(ledger, "post", overdrawn)
    with pytest.raises(BrokenInvariantError):
        desk.collect()
    got = {a: bool(desk.held(a).holdings_nanos) for a in accounts}
    monkeypatch.setattr(ledger, "post", real)
    desk.collect()

    assert got == {a: a != accounts[3] for a in accounts}  # one is at fault, the others are booked
    assert all(desk.held(a).holdings_nanos for a in accounts)
    assert desk.findings() == []


def test_a_refusal_is_narrowed_down_to_the_one_item_at_fault(desk: Desk) -> None:
    done: list[int] = []
    turns = Turns(desk.db, desk.policy, size=64)

    def write(_session: object, part: Any) -> None:
        if 13 in part:
            raise InsufficientFundsError("unlucky")  # noqa: EM101 - a stub
        done.extend(part)

    turns.each(list(range(40)), write)

    assert sorted(done) == [n for n in range(40) if n != 13]
    assert [item for item, _ in turns.refused] == [13]


def test_the_size_of_a_turn_follows_what_it_costs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robo.services.turns._MOST", 20_000)
    policy = Policy.default()
    turns = Turns(desk.db, policy)
    turns._learn(write_ms=100.0, commit_ms=0.0, count=64)
    slow = turns.size
    turns._learn(write_ms=1.0, commit_ms=0.0, count=slow)
    quick = turns.size
    turns._learn(write_ms=10.0, commit_ms=10_000.0, count=quick)
    drowned = turns.size

    # 0.6 x 50 ms is aimed at: 64 items took 100 ms, so 19 fit; then at most twice as many. Where
    # the disk takes all of it, writing still gets 5 ms: half of what 38 items took.
    assert (slow, quick, drowned) == (19, 38, 19)
