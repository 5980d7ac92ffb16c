"""The ledger's tables on both databases: balances, refusals, chains, bulk."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DatabaseError, IntegrityError

from robo.core.errors import InsufficientFundsError
from robo.core.ids import AccountId, FirmId, TransferId
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer, fold
from robo.store import chains, ledger
from robo.store.database import Database
from robo.store.schema import chain_tables

KEY = bytes(range(32))
FIRM = FirmId("firm_1")
ONE, TWO = AccountId("acc_1"), AccountId("acc_2")


def post(db: Database, transfers: list[Transfer]) -> None:
    with db.write() as session:
        ledger.post(session, KEY, transfers, FIRM, 1)


def kept(db: Database) -> dict[tuple[str, str], int]:
    with db.read() as session:
        rows = session.connection().exec_driver_sql("SELECT book, asset, amount FROM balance")
        return {(book, asset): amount for book, asset, amount in rows if amount}


def faults(db: Database) -> list[str]:
    with db.read() as session:
        found = chains.check_chains(session, KEY, chain_tables(), {})
        return [fault.code for fault in found] + [
            book for book, *_ in ledger.differing_balances(session)
        ]


def test_balances_are_the_sum_of_transfers(any_database: Database) -> None:
    moved = [
        *recipes.deposit(ONE, 100_00, "d1"),
        *recipes.deposit(TWO, 50_00, "d2"),
        *recipes.reserve(ONE, 40_00, "o1"),
    ]

    post(any_database, moved)

    assert kept(any_database) == {key: n for key, n in fold(moved).items() if n}
    assert faults(any_database) == []


def test_a_customers_book_never_falls_below_zero_and_nothing_is_written(
    any_database: Database,
) -> None:
    post(any_database, recipes.deposit(ONE, 100_00, "d1"))
    before = kept(any_database)

    with pytest.raises(InsufficientFundsError):
        post(
            any_database,
            [*recipes.deposit(TWO, 5_00, "d2"), *recipes.reserve(ONE, 100_01, "o1")],
        )

    assert kept(any_database) == before
    assert faults(any_database) == []


def test_the_database_itself_refuses_what_code_should_never_write(any_database: Database) -> None:
    transfer = (
        "INSERT INTO transfer (id, kind, source, target, asset, amount, cause, booked_at, chain, "
        "seq, mac) VALUES ('t', 'k', 'a', '{target}', 'USD/2', {amount}, 'c', 1, 'x', 1, '')"
    )
    for statement in (
        "INSERT INTO balance (book, asset, amount) VALUES ('customer/a/cash', 'USD/2', -1)",
        transfer.format(target="b", amount=0),
        transfer.format(target="a", amount=5),
    ):
        with pytest.raises(DatabaseError), any_database.write() as session:
            session.connection().exec_driver_sql(statement)


def test_an_amount_that_is_no_integer_is_refused(any_database: Database) -> None:
    with pytest.raises(DatabaseError), any_database.write() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO balance (book, asset, amount) VALUES ('street/x', 'USD/2', '12.5x')"
        )


def test_an_id_moves_money_once(any_database: Database) -> None:
    post(any_database, recipes.deposit(ONE, 100_00, "d1"))

    with pytest.raises(IntegrityError):
        post(any_database, recipes.deposit(ONE, 100_00, "d1"))

    assert kept(any_database)[chart.cash(ONE), chart.USD] == 100_00
    assert faults(any_database) == []


def test_a_block_of_ten_thousand_customers_is_booked_in_bulk(any_database: Database) -> None:
    accounts = [AccountId(f"acc_{n:05d}") for n in range(10_000)]
    moved = [t for account in accounts for t in recipes.deposit(account, 1_00, f"d/{account}")]
    statements = 0

    def seen(*_: object) -> None:
        nonlocal statements
        statements += 1

    from sqlalchemy import event

    event.listen(any_database.engine, "before_cursor_execute", seen)
    post(any_database, moved)
    event.remove(any_database.engine, "before_cursor_execute", seen)

    assert statements < 20, "the count of statements does not grow with the customers"
    assert kept(any_database)[chart.STREET_BANK, chart.USD] == -10_000_00
    with any_database.read() as session:
        heads = list(chains.heads(session))
    assert [chain for chain, _, _ in heads] == accounts
    assert faults(any_database) == []


NUMBERS = count()
AMOUNTS = st.integers(min_value=1, max_value=10**15)
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["deposit", "reserve", "release", "promise", "pay"]),
        st.sampled_from([ONE, TWO]),
        AMOUNTS,
    ),
    max_size=12,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moves=MOVES)
def test_any_sequence_keeps_the_books_whole(
    any_database: Database, moves: list[tuple[str, AccountId, int]]
) -> None:
    makers = {
        "deposit": recipes.deposit,
        "reserve": recipes.reserve,
        "release": recipes.release,
        "promise": recipes.promise_withdrawal,
        "pay": recipes.pay_withdrawal,
    }
    model = kept(any_database)

    for name, account, amount in moves:
        (transfer,) = makers[name](account, amount, f"move/{next(NUMBERS)}")
        source, target = (transfer.source, chart.USD), (transfer.target, chart.USD)
        possible = transfer.source == chart.STREET_BANK or model.get(source, 0) >= amount
        if possible:
            post(any_database, [transfer])
            model[source] = model.get(source, 0) - amount
            model[target] = model.get(target, 0) + amount
        else:
            with pytest.raises(InsufficientFundsError):
                post(any_database, [transfer])

    assert kept(any_database) == {key: n for key, n in model.items() if n}
    assert faults(any_database) == []


def test_a_transfer_belongs_to_the_chain_of_the_account_it_names(any_database: Database) -> None:
    firm = recipes.repay_advance(FIRM, 5_00, "x")
    post(any_database, [*recipes.deposit(ONE, 9_00, "d"), *firm])

    with any_database.read() as session:
        rows = session.connection().exec_driver_sql("SELECT id, chain FROM transfer")
        chain_of = {TransferId(row.id): row.chain for row in rows}

    assert sorted(chain_of.values()) == ["acc_1", "firm_1"]
    assert chain_of[firm[0].id] == "firm_1"
