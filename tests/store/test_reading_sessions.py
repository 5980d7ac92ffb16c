"""What a reading session is told: of one snapshot, asked once, and of those asked about alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, desk_from, write_template
from sqlalchemy import event
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.store import breaks, effects, orders, scores, standstills, tax_profiles, universe
from robo.store.database import insert_many
from robo.store.tax_profiles import Choice

NAMES = ("order_id", "lot_id", "place", "nanos", "gain_cents")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("reading") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def two_sellers(desk: Desk) -> None:
    accounts = desk.open("firm_a", 2)
    desk.fund(dict.fromkeys(accounts, 100_00))
    desk.broker.fill_at(desk.buy(dict.fromkeys(accounts, 50_00)), 10_000_000)
    desk.collect()
    desk.sell(dict.fromkeys(accounts, 1_000_000_000))


def test_a_reading_session_sees_the_names_that_were_gone_when_it_began(desk: Desk) -> None:
    with desk.db.read() as session:
        before = universe.gone(session)
        with desk.db.write() as other:
            universe.set_state(other, 2, "delisted")
        during = universe.gone(session)
    with desk.db.read() as session:
        after = universe.gone(session)

    assert (before, during, after) == (set(), set(), {2})


def test_what_a_caller_does_to_an_answer_is_not_the_next_ones(desk: Desk) -> None:
    with desk.db.read() as session:
        universe.gone(session).add(99)

        assert universe.gone(session) == set()


def test_a_writing_session_sees_what_it_has_just_written(desk: Desk) -> None:
    with desk.db.write() as session:
        assert universe.gone(session) == set()
        universe.set_state(session, 2, "delisted")

        assert universe.gone(session) == {2}


def test_firms_are_told_of_their_own_scores_in_one_session(desk: Desk) -> None:
    with desk.db.read() as session:
        assert scores.active_ids(session, "firm_a") == ()
        assert scores.active_ids(session, "firm_b") == ()


def test_open_sales_of_others_take_nothing_of_a_customers_budget(desk: Desk) -> None:
    two_sellers(desk)
    sells = desk.rows("SELECT id, account_id FROM orders WHERE side = 'sell'")
    customers = [
        str(desk.column(f"SELECT customer_id FROM account WHERE id = '{account}'")[0])
        for _, account in sells
    ]
    with desk.db.write() as session:
        rows = [
            (order, lot, 0, 500_000_000, 7_00 + place)
            for place, (order, account) in enumerate(sells)
            for lot in desk.column(f"SELECT id FROM lot WHERE account_id = '{account}'")
        ]
        insert_many(session, "order_lot", NAMES, rows)

    with desk.db.read() as session:
        first = effects.open_gains(session, customers[:1])
        both = effects.open_gains(session, customers)

    assert first == {customers[0]: 7_00}
    assert both == {customers[0]: 7_00, customers[1]: 7_01}


def test_the_newest_choice_of_each_customer_counts(desk: Desk) -> None:
    desk.open("firm_a", 2)
    one, other = (str(each) for each in desk.column("SELECT id FROM customer ORDER BY id"))
    with desk.db.write() as session:
        tax_profiles.choose(session, one, Choice(mode="harvest", number=1))
        tax_profiles.choose(session, one, Choice(mode="realise", number=2))
        tax_profiles.choose(session, other, Choice(mode="harvest", number=1))

    with desk.db.read() as session:
        both = tax_profiles.choices(session, [one, other])

    assert {who: made.mode for who, made in both.items()} == {one: "realise", other: "harvest"}


def plans(desk: Desk, read: Callable[[Session], object]) -> list[str]:
    """Return the lines of SQLite's plans for what is read."""
    asked: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        raw = connection.connection.driver_connection
        rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
        asked.extend(row[-1] for row in rows)

    with desk.db.read() as session:
        event.listen(session.connection(), "before_cursor_execute", explain)
        read(session)
    return asked


@pytest.mark.parametrize(
    "read",
    [
        lambda session: breaks.brought(session, "ca-1"),
        lambda session: breaks.told_of(session, "ca-1"),
    ],
    ids=["brought", "told"],
)
def test_what_was_told_of_an_action_is_found_without_a_look_at_anything_else_that_was(
    desk: Desk, read: Callable[[Session], object]
) -> None:
    asked = plans(desk, read)

    assert [one for one in asked if one.startswith("SEARCH broker_activity USING INDEX")]
    assert [one for one in asked if one.startswith("SCAN")] == []


@pytest.mark.parametrize("page", [1, 500])
def test_open_orders_of_accounts_are_found_without_a_look_at_any_others(
    desk: Desk, page: int
) -> None:
    accounts = [AccountId(f"acc_{place}") for place in range(page)]

    asked = plans(desk, lambda session: orders.open_orders(session, accounts))

    assert asked == ["SEARCH orders USING INDEX ix_orders_open (account_id=?)"]


@pytest.mark.parametrize("firm", ["", "firm_a"])
def test_what_stands_still_is_found_without_a_look_at_orders_of_other_years(
    desk: Desk, firm: str
) -> None:
    asked = plans(desk, lambda session: standstills.listed(session, firm, 10**15, 10**9, 100))

    looked_at = {one for one in asked if " orders " in one}
    assert {one.split("INDEX ")[1].split(" AND code")[0] for one in looked_at} == {
        "ix_orders_unsent (state=? AND planned_at>?)",
        "ix_orders_window (state=?" + (" AND firm_id=?)" if firm else ")"),
    }, asked
