"""Restricted shares sold by the customer's word: no unmeant wash sale, no gain over a budget."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template

from robo.core.ids import AccountId, child_id
from robo.services import unwinding
from robo.services.washing.counting import counts
from robo.store import accounts, lots, tax_profiles
from robo.store.database import insert_many
from robo.store.tax_profiles import Choice

NAME = 1


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("unwinding") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def test_a_small_gain_waits_while_a_purchase_that_is_still_on_hold_is_fresh(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    buy(desk, account, 100)
    later(desk, 60)
    buy(desk, account, 100, hold=(desk.today() + timedelta(days=5)).isoformat())
    restrict(desk, account, "sell")
    price(desk, 100.3)

    early = unwind(desk)
    fill(desk, 99)
    kept = texts(desk, "SELECT reason FROM skip")
    later(desk, 31)
    price(desk, 100.3)
    late = unwind(desk)
    fill(desk, 99)

    assert (early, kept) == (0, ["skip_wash_loss"])
    assert late == 1
    assert held(desk, account) == []
    assert unintended(desk, account) == 0


def test_a_gain_that_outlasts_a_fall_does_not_wait(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    buy(desk, account, 80)
    later(desk, 60)
    buy(desk, account, 100, hold=(desk.today() + timedelta(days=5)).isoformat())
    restrict(desk, account, "sell")
    price(desk, 100)

    planned = unwind(desk)
    fill(desk, 91)

    assert planned == 1
    assert [one.basis_cents for one in held(desk, account)] == [1_000_00]
    assert unintended(desk, account) == 0


def test_what_was_bought_of_late_goes_first(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    buy(desk, account, 100)
    later(desk, 60)
    buy(desk, account, 90)
    restrict(desk, account, "sell")
    price(desk, 80)

    unwind(desk)

    bases = "SELECT l.basis_cents FROM order_lot n JOIN lot l ON l.id = n.lot_id ORDER BY n.place"
    assert desk.column(bases) == [900_00, 1_000_00]


def test_a_gain_that_a_rise_would_bring_counts_against_a_budget_of_nothing(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    buy(desk, account, 100)
    later(desk, 60)
    restrict(desk, account, "sell_within_budget")
    price(desk, 100)

    at_cost = unwind(desk)
    skipped = texts(desk, "SELECT reason FROM skip")
    later(desk, 1)
    price(desk, 97)
    below = unwind(desk)

    assert (at_cost, skipped) == (0, ["skip_gain_limit"])
    assert below == 1


def test_a_budget_pays_for_gains_once_over_all_accounts_and_names(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    choose(desk, account, Choice(gain_budget_cents=300_00, number=1))
    for dollars in (90, 80):
        buy(desk, account, dollars)
    buy(desk, account, 90, name=2)
    later(desk, 60)
    for name in (NAME, 2):
        restrict(desk, account, "sell_within_budget", name)
    price(desk, 100)

    planned = unwind(desk)

    # 10 shares of each lot: 100.00 gained in two of them, 200.00 in the third, and 20.00 each for a
    # rise. 120 + 120 fit under 300, 220 more do not.
    assert planned == 1
    bases = "SELECT l.basis_cents FROM order_lot n JOIN lot l ON l.id = n.lot_id ORDER BY l.id"
    assert desk.column(bases) == [900_00, 900_00]
    assert desk.scalar("SELECT short_gain_cents FROM plan_effect") == 200_00


def test_a_loss_that_was_moved_onto_a_lot_counts_as_its_basis(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    buy(desk, account, 150)
    later(desk, 10)
    buy(desk, account, 90)
    price(desk, 100)
    block = desk.sell({account: 10 * 10**9})
    desk.broker.fill_at(block, 100_000_000)
    desk.collect()
    later(desk, 60)
    restrict(desk, account, "sell_within_budget")

    # Paid 90.00, and 50.00 a share disallowed of the shares it replaced: sold at 100.00 at a loss.
    planned = unwind(desk)

    assert planned == 1


def buy(desk: Desk, account: AccountId, dollars: int, *, name: int = NAME, hold: str = "") -> None:
    """Buy ten shares."""
    desk.fund({account: dollars * 10_00}, f"{name}/{dollars}/{desk.windows}")
    block = desk.buy({account: dollars * 10_00}, name, hold=hold)
    desk.broker.fill_at(block, dollars * 1_000_000)
    desk.collect()


def later(desk: Desk, days: int) -> None:
    desk.clock.advance(timedelta(days=days))
    desk.broker.at = desk.clock.now()


def price(desk: Desk, dollars: float) -> None:
    desk.prices.price_micros = round(dollars * 1_000_000)


def restrict(desk: Desk, account: AccountId, choice: str, name: int = NAME) -> None:
    columns = ("id", "customer_id", "security_id", "verb", "source", "reason", "held_choice")
    customer = owner(desk, account)
    row = (child_id("rst", name), customer, name, "never_own", "own", "x", choice, 1)
    with desk.db.write() as session:
        insert_many(session, "restriction", (*columns, "created_at"), [row])


def choose(desk: Desk, account: AccountId, choice: Choice) -> None:
    customer = owner(desk, account)
    with desk.db.write() as session:
        tax_profiles.choose(session, customer, choice)


def unwind(desk: Desk) -> int:
    """Plan twice, as the job comes again, and return how many accounts sell."""
    made = [
        unwinding.plan(desk.db, desk.keyring, desk.broker, desk.prices, desk.clock, desk.policy)
        for _ in range(2)
    ]
    assert made[1] == 0
    return made[0]


def fill(desk: Desk, dollars: int) -> None:
    """Send what is planned and fill it."""
    desk.send()
    for block in desk.column("SELECT id FROM block WHERE closed_at IS NULL"):
        desk.broker.fill_at(str(block), dollars * 1_000_000)
    desk.collect()


def held(desk: Desk, account: AccountId) -> list[lots.OpenLot]:
    with desk.db.read() as session:
        return lots.open_lots(session, [account]).get(account, [])


def owner(desk: Desk, account: AccountId) -> str:
    with desk.db.read() as session:
        return accounts.sleeves(session, [account])[account].customer_id


def unintended(desk: Desk, account: AccountId) -> int:
    with desk.db.read() as session:
        return counts(session, [owner(desk, account)], desk.today()).unintended


def texts(desk: Desk, sql: str) -> list[str]:
    return [str(one) for one in desk.column(sql)]
