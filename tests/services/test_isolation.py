"""One bad account is left out and written down; the others trade, are paid and get their fills."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from funds import ScriptedBank, ask, collect, investor, link_of, stored
from sqlalchemy.exc import OperationalError
from world import World, make_world

from robo.core.errors import BrokenInvariantError, InsufficientFundsError
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import BankTransfer
from robo.services import funding, isolating, withdrawing
from robo.services.funding import collecting
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store.database import sqlite_module
from robo.store.transfers import Deposit


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


@dataclass
class Scene:
    """Three accounts that asked for money, two with fresh cash; the first of each turns bad."""

    world: World
    leaving: list[AccountId]
    fresh: list[AccountId]

    @property
    def bad(self) -> set[str]:
        return {self.leaving[0], self.fresh[0]}


@pytest.fixture
def scene(world: World) -> Scene:
    leaving = sorted(world.add_accounts(3))
    for account in leaving:
        world.pay_in(account, 500_00)
    world.trade()
    world.next_session()
    for account in leaving:
        world.pay_in(account, 100_00)
        withdraw(world, account)
    fresh = sorted(world.add_accounts(2))
    for account in fresh:
        world.pay_in(account, 50_00)
    return Scene(world, leaving, fresh)


def withdraw(world: World, account: AccountId) -> None:
    r = world.runtime
    link, wanted = link_of(world, account), child_id("wdr", account)
    withdrawing.request(world.db, r.keyring, r.prices, world.clock, account, wanted, link, 150_00)


def withdraw_all(world: World, account: AccountId) -> None:
    r = world.runtime
    link, wanted = link_of(world, account), child_id("wdr", account)
    withdrawing.request(world.db, r.keyring, r.prices, world.clock, account, wanted, link, None)


def _id(deposit: Deposit) -> str:
    return deposit.id


def tamper(world: World, *statements: str) -> None:
    """Write past every check, as a damaged file or a bad migration would."""
    connection = sqlite_module().connect(world.runtime.settings.state_dir + "/robo.db")
    connection.execute("PRAGMA foreign_keys=OFF")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def mend(world: World, account: AccountId) -> None:
    """Give lots the day of the event that opened them."""
    opened = "SELECT e.on_date FROM lot_event AS e WHERE e.lot_id = lot.id AND e.kind = 'open'"
    sql = f"UPDATE lot SET acquired_on = ({opened}) WHERE account_id = '{account}'"
    tamper(world, sql)


def run_a_day(world: World) -> None:
    """Do what the scheduler does of a day, and pay on the next one."""
    world.trade()
    world.next_session()
    withdrawing.pay(
        world.db, world.runtime.keyring, ScriptedBank(), world.clock, world.runtime.policy
    )


def rows(world: World, sql: str) -> list[tuple[object, ...]]:
    with world.db.read() as session:
        return [tuple(row) for row in session.connection().exec_driver_sql(sql)]


def failures(world: World) -> set[tuple[object, ...]]:
    return set(rows(world, "SELECT job, subject FROM job_failure"))


def assert_the_good_have_all(scene: Scene) -> None:
    for account in scene.leaving[1:]:
        sql = f"SELECT state, promised_cents FROM withdrawal WHERE account_id = '{account}'"
        assert rows(scene.world, sql) == [("sent", 150_00)]
    for account in scene.fresh[1:]:
        balances = scene.world.balances(account)
        assert len(balances.holdings_nanos) == 10
        assert (balances.cash_cents, balances.reserved_cents) == (0, 0)


NO_NAMES = "INSERT INTO target VALUES ('tgt_x', 'theme-water', '1', '', 1)"
FOLLOW = "UPDATE sleeve SET target_id = 'tgt_x' WHERE account_id IN ('{a}', '{b}')"
ABSURD_CASH = "UPDATE balance SET amount = 9000000000000000000 WHERE book = 'customer/{b}/cash'"
ABSURD_SHARES = "UPDATE balance SET amount = 4000000000000000000 WHERE book = '{book}'"
SHARES_FROM_NOWHERE = "INSERT INTO balance VALUES ('customer/{b}/holdings', 'S1/9', {many})"
PLAN, PAY, INVEST = "plan-withdrawals", "pay-withdrawals", "invest-cash"


@pytest.mark.parametrize(
    ("statements", "at_fault"),
    [
        pytest.param(
            ["DELETE FROM sleeve WHERE account_id IN ('{a}', '{b}')"],
            {(PLAN, 0), (PAY, 0)},
            id="no sleeve",
        ),
        pytest.param([NO_NAMES, FOLLOW], {(PLAN, 0)}, id="a target without names"),
        pytest.param([ABSURD_CASH], {(INVEST, 1)}, id="absurd cash"),
        pytest.param(
            [
                ABSURD_SHARES.replace("{book}", "customer/{a}/holdings"),
                SHARES_FROM_NOWHERE.replace("{many}", "4000000000000000000"),
            ],
            {(PLAN, 0), (INVEST, 1)},
            id="absurd holding",
        ),
    ],
)
def test_a_bad_account_is_recorded_and_the_others_trade_and_are_paid(
    scene: Scene, statements: list[str], at_fault: set[tuple[str, int]]
) -> None:
    pair = (scene.leaving[0], scene.fresh[0])
    tamper(scene.world, *(s.format(a=pair[0], b=pair[1]) for s in statements))

    run_a_day(scene.world)

    assert_the_good_have_all(scene)
    assert failures(scene.world) == {(job, pair[place]) for job, place in at_fault}
    for finding in scene.world.findings():
        # A sum over all books tells no account.
        assert any(bad in str(finding) for bad in pair) or "asset_not_zero" in str(finding)


def test_fills_of_an_account_with_a_bad_lot_wait_until_it_is_mended(scene: Scene) -> None:
    world, bad = scene.world, scene.leaving[0]
    r = world.runtime
    # Planned on good lots: whoever plans on bad ones fails then already.
    withdrawing.plan(world.db, r.keyring, r.broker, r.prices, r.clock, r.policy, "before")
    tamper(world, f"UPDATE lot SET acquired_on = 'xx' WHERE account_id = '{bad}'")

    run_a_day(world)

    assert_the_good_have_all(scene)
    assert failures(world) == {("book-fills", bad)}
    assert world.scalar("SELECT count(*) FROM job_failure") == 1  # however often it was tried
    assert world.scalar("SELECT count(*) FROM booking WHERE state = 'open'") > 0
    assert world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL") > 0
    lots = [row[0] for row in rows(world, f"SELECT id FROM lot WHERE account_id = '{bad}'")]
    assert all(any(str(lot) in str(f) for lot in lots) for f in world.findings())

    mend(world, bad)
    run_a_day(world)

    assert world.scalar("SELECT count(*) FROM booking WHERE state = 'open'") == 0
    assert world.scalar("SELECT count(*) FROM block WHERE closed_at IS NULL") == 0
    state = rows(world, f"SELECT state FROM withdrawal WHERE account_id = '{bad}'")
    assert state == [("sent",)]
    assert world.findings() == []


def test_others_in_the_block_of_a_stuck_fill_keep_their_split_when_more_comes(
    scene: Scene,
) -> None:
    world, bad = scene.world, scene.leaving[0]
    tamper(world, f"UPDATE lot SET acquired_on = 'xx' WHERE account_id = '{bad}'")
    run_a_day(world)
    before = rows(world, "SELECT id, nanos, cents FROM fill ORDER BY id")

    run_a_day(world)
    mend(world, bad)
    run_a_day(world)

    after = set(rows(world, "SELECT id, nanos, cents FROM fill"))
    assert set(before) <= after
    assert world.findings() == []


def test_a_broken_invariant_stops_everything(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        message = "the books are wrong"
        raise BrokenInvariantError(message)

    monkeypatch.setattr(withdrawing, "_plan_one", broken)

    with pytest.raises(BrokenInvariantError):
        scene.world.trade()

    assert failures(scene.world) == set()


def test_a_plan_that_cannot_be_read_leaves_the_other_plans_alone(world: World) -> None:
    accounts = [investor(world), investor(world)]
    for place, account in enumerate(accounts):
        funding.create_plan(
            world.db,
            world.clock,
            world.runtime.policy,
            f"pln_{place}",
            account,
            link_of(world, account),
            25_00,
            "weekly",
            1,
        )
    tamper(world, "UPDATE plan SET anchor_on = 'xx' WHERE id = 'pln_0'")

    r = world.runtime
    made = funding.run_plans(
        world.db, r.keyring, world.clock, r.calendar, r.policy, date(2026, 3, 2)
    )

    assert made == 1
    assert rows(world, "SELECT account_id FROM deposit") == [(accounts[1],)]
    assert failures(world) == {("run-plans", accounts[0])}


class MoodyBank(ScriptedBank):
    """A bank that stumbles over one transfer."""

    trips_over = ""

    def request(self, transfer: BankTransfer) -> None:
        if transfer.id == self.trips_over:
            raise KeyError(transfer.id)
        super().request(transfer)


def test_a_deposit_that_the_bank_stumbles_over_holds_no_other_back(world: World) -> None:
    first, second = sorted((ask(world, investor(world), 50_00) for _ in range(2)), key=_id)
    bank = MoodyBank()
    bank.trips_over = first.id

    told = funding.tell_bank(world.db, bank, world.clock)

    assert told == 1
    assert [each.id for each in bank.asked] == [second.id]
    assert failures(world) == {("tell-bank", first.account_id)}


def test_late_cash_of_a_bad_account_holds_no_others_back(world: World) -> None:
    accounts = sorted(world.add_accounts(2))
    for account in accounts:
        world.pay_in(account, 50_00)
        withdraw_all(world, account)
    run_a_day(world)
    for account in accounts:
        world.pay_in(account, 1_00, "late dividend")
    # Both are long closed and paid; the first one's link is gone from a damaged file.
    tamper(
        world,
        "UPDATE account SET state = 'closed'",
        "UPDATE withdrawal SET state = 'paid'",
        f"UPDATE withdrawal SET bank_link_id = 'x' WHERE account_id = '{accounts[0]}'",
    )

    r, bank = world.runtime, ScriptedBank()
    withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)

    assert failures(world) == {(PAY, accounts[0])}
    made = rows(world, "SELECT account_id FROM withdrawal WHERE state = 'sent'")
    assert made == [(accounts[1],)]
    assert len(bank.asked) == 1


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), AssertionError("x")])
def test_bank_news_that_fails_for_one_deposit_is_parked_and_the_rest_applied(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bank = ScriptedBank()
    first, second = (ask(world, investor(world), 50_00) for _ in range(2))
    for deposit in (first, second):
        bank.say(world, deposit.id, "pending", "available")
    apply = collecting._apply

    def stumble(session: object, desk: object, event: collecting.BankEvent) -> None:
        if event.transfer_id == first.id:
            raise error
        apply(session, desk, event)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(collecting, "_apply", stumble)

    assert collect(world, bank) == 4

    assert stored(world, second).state == "available"
    assert stored(world, first).state == "requested"
    assert failures(world) == {("collect-bank", first.account_id)}
    assert world.scalar("SELECT count(*) FROM event WHERE kind = 'bank.event_parked'") == 2


def test_splitting_finds_every_item_at_fault_and_works_on_each_other_once() -> None:
    done: list[int] = []
    bad = {0, 3, 76, 77, 99}
    recorded: dict[int, str] = {}

    def work(part: Sequence[int]) -> None:
        for n in part:
            if n in bad:
                raise ValueError(n)
        done.extend(part)

    def record(item: int, error: Exception) -> None:
        recorded[item] = str(error)

    left = isolating.split(range(100), work, isolating.is_ones_own, record)

    assert done == [n for n in range(100) if n not in bad]
    assert set(left) == bad
    assert recorded == {n: str(n) for n in bad}


def test_what_is_nobodys_own_fault_is_raised_and_never_split() -> None:
    for error in (OperationalError("", {}, Exception()), BrokenInvariantError("x"), OSError()):
        asked: list[int] = []

        def work(part: Sequence[int], error: Exception = error) -> None:
            asked.append(len(part))  # noqa: B023 - used up before the next round
            raise error

        with pytest.raises(type(error)):
            isolating.split(range(8), work, isolating.is_ones_own, lambda *_: None)

        assert asked == [8]


def test_what_is_refused_in_a_turn_is_recorded_once_a_day_without_foreign_words(
    world: World,
) -> None:
    blame = Blame[str](world.db, world.clock, "a-job", str)
    turns = Turns(world.db, world.runtime.policy)

    def write(_session: object, part: Sequence[str]) -> None:
        if "poor" in part:
            message = "there is less"
            raise InsufficientFundsError(message)
        if "odd" in part:
            message = "Jane Roe, 1 Main Street"
            raise ValueError(message)

    left = [turns.each(["fine", "poor", "odd"], write, blame) for _ in range(2)]
    world.clock.advance(timedelta(days=1))
    turns.each(["poor"], write, blame)

    assert left == [["poor", "odd"]] * 2
    found = rows(world, "SELECT subject, slot, code, detail FROM job_failure ORDER BY slot, code")
    assert [row[:3] for row in found] == [
        ("poor", "2026-03-02", "insufficient_funds"),
        ("odd", "2026-03-02", "unexpected"),
        ("poor", "2026-03-03", "insufficient_funds"),
    ]
    assert "Jane" not in str(found)


def test_without_somebody_to_blame_only_a_refusal_is_left_out(world: World) -> None:
    def write(_session: object, part: Sequence[int]) -> None:
        if 1 in part:
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        Turns(world.db, world.runtime.policy).each([0, 1, 2], write)
