"""What the database itself refuses, whoever asks: our code, a slip of it, or a hand at a prompt."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from robo.core.ids import AccountId
from robo.core.money import INT64_MAX
from robo.store.database import Database, insert_many
from robo.store.schema import chain_tables, unguarded


def seed(db: Database) -> Desk:
    """Return a desk whose tables have rows: a buy, a sale, a deposit, a withdrawal, a split."""
    desk = Desk(db)
    desk.found("firm_a", "firm_b")
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    desk.broker.fill_at(desk.sell({account: 1_000_000_000}), 10_000_000, 1)
    desk.collect()
    desk.buy({account: 10_00}, security=2)  # stays open
    (link,) = desk.column("SELECT id FROM bank_link")
    with db.write() as session:
        names = ("id", "account_id", "bank_link_id", "cents", "state", "requested_at")
        insert_many(
            session,
            "deposit",
            (*names, "advanced_cents", "owed_cents", "return_code"),
            [("dep_1", account, link, 5_00, "pending", 1, 0, 0, "")],
        )
        insert_many(
            session,
            "withdrawal",
            (*names, "promised_cents", "closing"),
            [("wdr_1", account, link, 0, "paid", 1, 0, 0)],
        )
        insert_many(
            session,
            "entitlement",
            ("action_id", "account_id", "security_id", "nanos", "state"),
            [("ca_1", account, 1, 5, "waiting")],
        )
        insert_many(
            session,
            "plan",
            (
                *("id", "account_id", "bank_link_id", "cents", "cadence", "day"),
                *("anchor_on", "next_on", "state", "created_at"),
            ),
            [("pln_1", account, link, 5_00, "weekly", 1, "2026-03-02", "2026-03-09", "active", 1)],
        )
    return desk


REFUSED = {
    "a customer's cash below zero": "UPDATE balance SET amount = -1 WHERE book LIKE '%/cash'",
    "a customer's shares below zero": "UPDATE balance SET amount = -1 WHERE book LIKE '%/holdings'",
    "a negative book from the start": (
        "INSERT INTO balance (book, asset, amount) VALUES ('customer/x/cash', 'USD/2', -1)"
    ),
    "a balance without a book": "INSERT INTO balance (asset, amount) VALUES ('USD/2', 1)",
    "a second balance of a book": (
        "INSERT INTO balance SELECT book, asset, amount FROM balance WHERE book LIKE '%/cash'"
    ),
    "a buy filled above its size": (
        "UPDATE orders SET filled_cents = notional_cents + 1 WHERE side = 'buy'"
    ),
    "a sale filled above its size": (
        "UPDATE orders SET filled_nanos = nanos + 1 WHERE side = 'sell'"
    ),
    "an order filled below nothing": "UPDATE orders SET filled_nanos = -1",
    "an order with a negative fee": "UPDATE orders SET fee_cents = -1",
    "an order with negative reserves": "UPDATE orders SET reserved_cents = -1",
    "an order without a size": "UPDATE orders SET notional_cents = NULL WHERE side = 'buy'",
    "a sale without a size": "UPDATE orders SET nanos = NULL WHERE side = 'sell'",
    "an order of nothing": (
        "UPDATE orders SET notional_cents = 0, filled_cents = 0 WHERE side = 'buy'"
    ),
    "an order with two sizes": "UPDATE orders SET nanos = 5 WHERE side = 'buy'",
    "a sale in cents": "UPDATE orders SET side = 'sell' WHERE side = 'buy'",
    "an order in an unknown state": "UPDATE orders SET state = 'lost'",
    "an order that is neither buy nor sale": "UPDATE orders SET side = 'hold'",
    "an order of an unknown account": "UPDATE orders SET account_id = 'acc_nobody'",
    "a block filled above twice its cents": (
        "UPDATE block SET executed_cents = 2 * notional_cents + 1 WHERE side = 'buy'"
    ),
    "a block filled above twice its shares": (
        "UPDATE block SET executed_nanos = 2 * nanos + 1 WHERE side = 'sell'"
    ),
    "a block filled below nothing": "UPDATE block SET executed_cents = -1 WHERE side = 'buy'",
    "a block without a size": "UPDATE block SET notional_cents = NULL, nanos = NULL",
    "a block with two sizes": "UPDATE block SET nanos = 5, notional_cents = 5",
    "a block in an unknown state": "UPDATE block SET state = 'lost'",
    "a lot with shares below zero": "UPDATE lot SET nanos = -1",
    "a lot with basis below zero": "UPDATE lot SET basis_cents = -1",
    "proceeds of nothing": "UPDATE proceed SET cents = 0",
    "proceeds in an unknown state": "UPDATE proceed SET state = 'lost'",
    "a deposit of nothing": "UPDATE deposit SET cents = 0",
    "an advance above the deposit": "UPDATE deposit SET advanced_cents = cents + 1",
    "a negative advance": "UPDATE deposit SET advanced_cents = -1",
    "a debt above the deposit": "UPDATE deposit SET owed_cents = cents + 1",
    "a deposit in an unknown state": "UPDATE deposit SET state = 'lost'",
    "a negative withdrawal": "UPDATE withdrawal SET cents = -1",
    "a negative promise": "UPDATE withdrawal SET promised_cents = -1",
    "a recurring deposit of nothing": "UPDATE plan SET cents = 0",
    "an unknown cadence": "UPDATE plan SET cadence = 'hourly'",
    "an entitlement in an unknown state": "UPDATE entitlement SET state = 'lost'",
    "a second entitlement to an action": (
        "INSERT INTO entitlement SELECT action_id, account_id, security_id, 7, state "
        "FROM entitlement"
    ),
    "a second booking of an execution": (
        "INSERT INTO booking (execution_id, position, state) "
        "SELECT execution_id, position + 9, state FROM booking"
    ),
    "a booking of an execution nobody told": (
        "INSERT INTO booking (execution_id, position, state) VALUES ('nobody', 99, 'open')"
    ),
    "an account of an unknown kind": "UPDATE account SET kind = 'offshore'",
    "an account in an unknown state": "UPDATE account SET state = 'lost'",
    "an account that disappears": "DELETE FROM account",
    "a firm that disappears": "DELETE FROM firm WHERE id = 'firm_a'",
    "two firms of one name": "UPDATE firm SET name = 'same'",
    "a weight of nothing": "UPDATE target_weight SET weight_ppm = 0",
    "a weight above everything": "UPDATE target_weight SET weight_ppm = 1000001",
    "a chain head of nothing": "UPDATE chain_head SET seq = 0",
    "the same cause twice": (
        "UPDATE orders SET batch_id = 'same', security_id = 1, sleeve_id = "
        "(SELECT min(id) FROM sleeve)"
    ),
    "a price of nothing": (
        "INSERT INTO price (on_date, security_id, close_micros, source) VALUES ('d', 1, 0, 's')"
    ),
    "text where an amount stands": "UPDATE balance SET amount = 'a lot'",
    "a fraction where an amount stands": "UPDATE lot SET basis_cents = 'half'",
    "text where an instant stands": "UPDATE orders SET planned_at = 'yesterday'",
    "nothing where something must stand": "UPDATE lot SET acquired_on = NULL",
    "nothing for an id": "UPDATE orders SET id = NULL",
    "more than 64 bits": "UPDATE balance SET amount = 9223372036854775807 + 1",
}
APPEND_ONLY = (
    "acceptance",
    "arrival",
    "audit",
    "bust",
    "execution",
    "fill",
    "inventory",
    "lot_event",
    "transfer",
    "undone",
)
CHAINED_TWICE = {
    "transfer": "kind, source, target, asset, amount, cause, booked_at",
    "execution": "block_id, security_id, side, nanos, price_micros, cents, fee_cents, "
    "executed_at, settles_on",
    "lot_event": "lot_id, account_id, security_id, kind, nanos_delta, basis_delta_cents, "
    "proceeds_cents, cause, on_date",
}


def refuses(desk: Desk, sql: str) -> bool:
    """Return whether the database refuses a statement; nothing of it stays either way."""
    try:
        with desk.db.write() as session:
            session.connection().execute(text(sql))
            session.rollback()
    except DatabaseError:
        return True
    return False


def picture(desk: Desk) -> list[object]:
    return [
        sorted(map(str, desk.rows(f"SELECT * FROM {name}")))
        for name in ("balance", "orders", "block", "lot", "transfer", "fill", "execution")
    ]


def test_the_database_refuses_what_no_code_should_write(any_database: Database) -> None:
    desk = seed(any_database)
    before = picture(desk)

    allowed = [what for what, sql in REFUSED.items() if not refuses(desk, sql)]

    assert allowed == []
    assert picture(desk) == before
    assert desk.scalar("SELECT count(*) FROM orders") == 3


def test_chained_rows_are_neither_changed_nor_removed_nor_numbered_twice(
    any_database: Database,
) -> None:
    desk = seed(any_database)
    before = picture(desk)
    statements = [
        sql
        for name in APPEND_ONLY
        for sql in (
            f"UPDATE {name} SET seq = seq + 1",
            f"UPDATE {name} SET id = id",
            f"DELETE FROM {name}",
        )
    ]
    for name, columns in CHAINED_TWICE.items():
        statements += [
            # The same id again, and another id at the same place of the chain.
            f"INSERT INTO {name} (id, {columns}, chain, seq, mac) {selected} FROM {name}"
            for selected in (
                f"SELECT id, {columns}, chain, seq + 1000, mac",
                f"SELECT 'x' || id, {columns}, chain, seq, mac",
            )
        ]
    statements.append(
        "INSERT INTO fill (id, order_id, account_id, execution_id, nanos, cents, fee_cents, "
        "price_micros, settles_on, chain, seq, mac) SELECT 'x' || id, order_id, account_id, "
        "execution_id, nanos, cents, fee_cents, price_micros, settles_on, chain, seq + 1000, mac "
        "FROM fill"
    )
    if not any_database.is_sqlite:
        statements += [f"TRUNCATE {name} CASCADE" for name in APPEND_ONLY]

    # An empty SQLite table has no row for a trigger to see, so only those with rows count there.
    filled = {n for n in APPEND_ONLY if desk.scalar(f"SELECT count(*) FROM {n}")}
    allowed = [
        sql
        for sql in statements
        if not refuses(desk, sql) and any(f" {name}" in sql for name in filled)
    ]

    assert allowed == []
    assert filled >= {"transfer", "execution", "fill", "lot_event"}
    assert picture(desk) == before
    assert {table.name for table in chain_tables()} == set(APPEND_ONLY)
    with any_database.read() as session:
        assert unguarded(session) == []


def test_what_is_refused_in_the_middle_leaves_no_trace(any_database: Database) -> None:
    desk = seed(any_database)
    account = AccountId(str(desk.column("SELECT id FROM account")[0]))
    before = picture(desk)

    # The same id with the same amount, with another one, and more than 64 bits in one book.
    for cents, cause in ((100_00, "start"), (1, "start"), (INT64_MAX, "too much")):
        with pytest.raises(DatabaseError):
            desk.fund({account: cents}, cause)
    try:
        with any_database.read() as session:
            session.connection().execute(text("UPDATE lot SET nanos = 0"))
    except DatabaseError:
        assert not any_database.is_sqlite  # PostgreSQL refuses, SQLite throws it away

    assert picture(desk) == before
    assert desk.findings() == []


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    template = write_template(tmp_path / "template.db", "firm_a")
    with desk_from(template, tmp_path) as made:
        yield made


TAMPERINGS: dict[str, tuple[str, str]] = {
    "a changed balance": (
        "UPDATE balance SET amount = amount + 1 WHERE book LIKE '%/cash'",
        "balance_differs",
    ),
    "a lot that lost shares": ("UPDATE lot SET nanos = nanos - 1", "holdings_are_not_open_lots"),
    "a lot that lost basis": ("UPDATE lot SET basis_cents = 0", "lot_basis_cents_differ"),
    "an order that forgot a fill": (
        "UPDATE orders SET filled_cents = filled_cents - 1 WHERE filled_cents > 0",
        "order_filled_cents_differ",
    ),
    "an order that reserves less": (
        "UPDATE orders SET reserved_cents = reserved_cents - 1 WHERE reserved_cents > 0",
        "reserved_is_not_open_orders",
    ),
    "a head that was moved back": ("UPDATE chain_head SET seq = 1", "head_differs"),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_the_database_allows_verify_finds(desk: Desk, what: str) -> None:
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.buy({account: 10_00}, security=2)
    desk.collect()
    clean = desk.findings()
    sql, code = TAMPERINGS[what]

    with desk.db.write() as session:
        session.connection().execute(text(sql))

    assert clean == []
    assert code in {getattr(found, "code", "") for found in desk.findings()}
