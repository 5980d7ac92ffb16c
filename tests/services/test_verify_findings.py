"""`robo verify` finds what was done to the books; each case tampers with a copy of real ones."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from world import World, make_world

from robo.core.clock import to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.ledger import chain as codes
from robo.services import anchoring, withdrawing
from robo.services.verifying import verify
from robo.store import chains
from robo.store.chains import Link
from robo.store.database import Database, connect
from robo.store.firms import AUDIT
from robo.store.keyring import Keyring
from robo.store.schema import chain_tables


@dataclass(frozen=True)
class Books:
    """A database and its anchors, to be copied and tampered with."""

    folder: Path
    keyring: Keyring
    old: AccountId
    """Nothing happened to it since the last anchor."""
    young: AccountId
    """It traded after the last anchor."""

    def copy(self, target: Path) -> "Copy":
        shutil.copytree(self.folder, target)
        return Copy(connect(f"sqlite:///{target / 'robo.db'}"), self.keyring, target / "anchors")


@dataclass(frozen=True)
class Copy:
    db: Database
    keyring: Keyring
    anchors: Path

    def run(self, *statements: str) -> None:
        """Do what somebody with the database's file, but without the key, could do."""
        with self.db.write() as session:
            connection = session.connection()
            triggers = connection.exec_driver_sql(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            ).all()
            for name, _ in triggers:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            for statement in statements:
                changed = connection.exec_driver_sql(statement).rowcount
                assert changed, f"nothing was tampered with: {statement}"
            for _, sql in triggers:
                connection.exec_driver_sql(sql)

    def codes(self) -> set[str]:
        return {finding.code for finding in verify(self.db, self.keyring, self.anchors)}


@pytest.fixture(scope="module")
def books(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Books]:
    folder = tmp_path_factory.mktemp("books") / "state"
    with make_world(folder, short_calendar) as world:
        old, young = world.add_accounts(2)
        for account in (old, young):
            world.pay_in(account, 500_00)
        _audit(world)
        world.trade()
        world.next_session()
        _ask(world, old, 120_00)
        world.trade()
        anchoring.anchor(world.db, world.runtime.keyring, world.clock, folder / "anchors")
        world.pay_in(young, 250_00, "after the anchor")
        world.trade()
        _ask(world, young, 60_00)
        world.trade()
        assert world.findings() == []
        world.db.close()
        with connect(f"sqlite:///{folder / 'robo.db'}").engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        yield Books(folder, world.runtime.keyring, old, young)


def _audit(world: World) -> None:
    now = to_micros(world.clock.now())
    rows = [
        Link(AUDIT, "firm_audited", (f"aud_{n}", "op", "looked", "x", "0", now)) for n in range(3)
    ]
    with world.db.write() as session:
        chains.append(session, world.runtime.keyring.chain, rows, now)


def _ask(world: World, account: AccountId, cents: int) -> None:
    link = "SELECT b.id FROM bank_link AS b JOIN account AS a ON a.customer_id = b.customer_id "
    with world.db.read() as session:
        found = session.connection().exec_driver_sql(f"{link} WHERE a.id = '{account}'")
        link_id = found.scalar_one()
    r = world.runtime
    withdrawing.request(
        world.db, r.keyring, r.prices, r.clock, account, f"wdr_{account}", link_id, cents
    )


@pytest.fixture
def copy(books: Books, tmp_path: Path) -> Iterator[Copy]:
    made = books.copy(tmp_path / "copy")
    yield made
    made.db.close()


CASES: dict[str, tuple[Sequence[str], set[str]]] = {
    "an old amount is changed": (
        ["UPDATE transfer SET amount = amount + 1 WHERE id = (SELECT min(id) FROM transfer)"],
        {"row_changed", "balance_differs"},
    ),
    "a young amount is changed, and its balances with it": (
        [
            (
                "UPDATE transfer SET amount = amount + 500 WHERE chain = '{young}' "
                "AND cause LIKE 'after the anchor%'"
            ),
            "UPDATE balance SET amount = amount + 500 WHERE book = 'customer/{young}/cash'",
            "UPDATE balance SET amount = amount - 500 WHERE book = 'street/bank'",
        ],
        {"row_changed"},
    ),
    "a row moves to another account's chain": (
        [
            (
                "UPDATE fill SET chain = '{young}', seq = 100000 WHERE chain = '{old}' AND seq = "
                "(SELECT max(seq) FROM fill WHERE chain = '{old}')"
            )
        ],
        {"row_missing"},
    ),
    "a row in the middle is removed": (
        ["DELETE FROM lot_event WHERE id = (SELECT min(id) FROM lot_event)"],
        {"row_missing", "lot_nanos_differ", "lot_basis_cents_differ", "fill_is_not_its_lots"},
    ),
    "the whole chain of an account vanishes, and its head": (
        [
            "DELETE FROM transfer WHERE chain = '{old}'",
            "DELETE FROM fill WHERE chain = '{old}'",
            "DELETE FROM lot_event WHERE chain = '{old}'",
            "DELETE FROM chain_head WHERE chain = '{old}'",
        ],
        {
            "anchored_row_missing",
            "balance_differs",
            "lot_nanos_differ",
            "lot_basis_cents_differ",
            "order_filled_nanos_differ",
            "order_filled_cents_differ",
            "order_fee_cents_differ",
            "execution_nanos_differ",
            "execution_cents_differ",
            "execution_fee_cents_differ",
        },
    ),
    "only a head is removed": (
        ["DELETE FROM chain_head WHERE chain = '{old}'"],
        {"head_missing"},
    ),
    "a head is set back": (
        ["UPDATE chain_head SET seq = seq - 1 WHERE chain = '{old}'"],
        {"head_differs"},
    ),
    "the operators' audit trail loses its last row, and its head goes back": (
        [
            "DELETE FROM audit WHERE id = 'aud_2'",
            (
                "UPDATE chain_head SET seq = 2, mac = (SELECT mac FROM audit WHERE id = 'aud_1') "
                "WHERE chain = 'firm_audited' AND seq = 3"
            ),
        ],
        {"anchored_row_missing"},
    ),
    "an execution's price is changed": (
        ["UPDATE execution SET price_micros = price_micros + 1"],
        {"row_changed"},
    ),
    "an execution's shares are changed": (
        ["UPDATE execution SET nanos = nanos + 7 WHERE id = (SELECT min(id) FROM execution)"],
        {"row_changed", "execution_nanos_differ", "block_executed_nanos_differ"},
    ),
    "a balance is raised": (
        ["UPDATE balance SET amount = amount + 100 WHERE book = 'customer/{old}/cash'"],
        {"balance_differs", "asset_not_zero"},
    ),
    "a balance row is removed": (
        ["DELETE FROM balance WHERE book = 'street/market' AND asset = 'USD/2'"],
        {"balance_differs", "asset_not_zero"},
    ),
    "shares appear in a lot": (
        [
            (
                "UPDATE lot SET nanos = nanos + 1000 WHERE id = (SELECT min(id) FROM lot "
                "WHERE nanos > 0)"
            )
        ],
        {"lot_nanos_differ", "holdings_are_not_open_lots"},
    ),
    "a basis is lowered": (
        [
            (
                "UPDATE lot SET basis_cents = basis_cents - 1 WHERE id = (SELECT min(id) FROM lot "
                "WHERE basis_cents > 0)"
            )
        ],
        {"lot_basis_cents_differ"},
    ),
    "a lot is removed": (
        [
            (
                "DELETE FROM lot WHERE id = (SELECT min(id) FROM lot WHERE nanos > 0 "
                "AND id NOT IN (SELECT lot_id FROM order_lot))"
            )
        ],
        {"lot_nanos_differ", "lot_basis_cents_differ", "holdings_are_not_open_lots"},
    ),
    "an order claims more than its fills": (
        [
            (
                "UPDATE orders SET filled_cents = filled_cents - 1 WHERE id = (SELECT min(id) "
                "FROM orders WHERE filled_cents > 1)"
            )
        ],
        {"order_filled_cents_differ"},
    ),
    "a finished order holds cash": (
        ["UPDATE orders SET reserved_cents = 5 WHERE id = (SELECT min(id) FROM orders)"],
        {"final_order_reserves_cash"},
    ),
    "an open order that reserves nothing of the ledger": (
        [
            (
                "UPDATE orders SET state = 'planned', reserved_cents = 5 "
                "WHERE id = (SELECT min(id) FROM orders)"
            )
        ],
        {"reserved_is_not_open_orders"},
    ),
    "waiting proceeds are called settled": (
        ["UPDATE proceed SET state = 'settled' WHERE state = 'waiting'"],
        {"unsettled_is_not_waiting_proceeds"},
    ),
    "a withdrawal promises what is not there": (
        ["UPDATE withdrawal SET promised_cents = promised_cents + 100"],
        {"outgoing_is_not_promised"},
    ),
    "a full account is called closed": (
        ["UPDATE account SET state = 'closed' WHERE id = '{old}'"],
        {"closed_account_is_not_empty"},
    ),
    "a block claims fewer cents than it executed": (
        ["UPDATE block SET executed_cents = executed_cents - 1 WHERE executed_cents > 1"],
        {"block_executed_cents_differ"},
    ),
    "the database forgets an anchor counter": (
        ["UPDATE counter SET value = 9 WHERE name = 'anchor'"],
        {"anchor_missing"},
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_was_tampered_with_is_found(books: Books, copy: Copy, case: str) -> None:
    statements, expected = CASES[case]
    assert copy.codes() == set()

    copy.run(*(s.format(old=books.old, young=books.young) for s in statements))

    assert copy.codes() == expected


def test_dropped_triggers_are_found(copy: Copy) -> None:
    with copy.db.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER transfer_no_update")

    assert copy.codes() == {"trigger_missing"}


def test_another_key_fits_no_row_and_no_anchor(copy: Copy) -> None:
    other = Keyring(chain=bytes(32), wrap=copy.keyring.wrap, index=copy.keyring.index)

    found = {finding.code for finding in verify(copy.db, other, copy.anchors)}

    assert found == {"anchor_damaged", "row_changed"}


def _rolled_back(copy: Copy, account: AccountId, count: int) -> None:
    """Cut the last rows off a chain and set its head back, as one without the key can."""
    with copy.db.read() as session:
        head = {chain: seq for chain, seq, _ in chains.heads(session)}[account]
        places = [(account, head - count)]
        mac = chains.codes_at(session, chain_tables(), places)[account, head - count]
    tables = ("transfer", "fill", "lot_event")
    with copy.db.write() as session:
        for table in tables:
            for verb in ("update", "delete"):
                session.connection().exec_driver_sql(f"DROP TRIGGER {table}_no_{verb}")
        for table in tables:
            session.connection().exec_driver_sql(
                f"DELETE FROM {table} WHERE chain = '{account}' AND seq > {head - count}"
            )
        session.connection().exec_driver_sql(
            f"UPDATE chain_head SET seq = {head - count}, mac = x'{mac.hex()}' "
            f"WHERE chain = '{account}'"
        )


def test_a_tail_that_was_anchored_cannot_be_cut_off(books: Books, copy: Copy) -> None:
    _rolled_back(copy, books.old, 1)

    assert "anchored_row_missing" in copy.codes()


def test_cutting_a_young_tail_is_found_by_the_sums_and_not_by_the_chain(
    books: Books, copy: Copy
) -> None:
    _rolled_back(copy, books.young, 1)

    found = copy.codes()

    assert found - {"trigger_missing"}, "the sums no longer agree"
    assert not found & {"anchored_row_missing", "row_missing", "head_differs", "row_changed"}


def test_the_next_anchor_refuses_to_cover_up_a_loss(
    books: Books, copy: Copy, world_clock: object
) -> None:
    _rolled_back(copy, books.old, 1)
    with copy.db.write() as session:
        rows = [Link(AUDIT, books.old, (f"aud_x{n}", "op", "x", "y", "0", 1)) for n in range(5)]
        chains.append(session, copy.keyring.chain, rows, 1)

    with pytest.raises(anchoring.AnchorError) as caught:
        anchoring.anchor(copy.db, copy.keyring, world_clock, copy.anchors)  # type: ignore[arg-type]

    assert caught.value.code == "anchored_row_missing"
    assert "row_changed" in copy.codes() or "anchor_differs" in copy.codes()


@pytest.fixture
def world_clock(fixed_clock: object) -> object:
    return fixed_clock


def test_the_rules_speak_both_dialects(
    any_database_url: str, tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    with make_world(tmp_path / "state", short_calendar, url=any_database_url) as world:
        (account,) = world.add_accounts(1)
        world.pay_in(account, 100_00)
        world.trade()
        anchoring.anchor(
            world.db, world.runtime.keyring, world.clock, world.runtime.settings.anchors_path
        )
        clean = world.findings()
        with world.db.write() as session:
            session.connection().exec_driver_sql("UPDATE lot SET nanos = nanos + 1")

        found = {f.code for f in world.findings()}  # type: ignore[attr-defined]

    assert clean == []
    assert found == {"lot_nanos_differ", "holdings_are_not_open_lots"}


def _rewritten(copy: Copy, account: AccountId) -> None:
    """Change a chain's first row and sign everything after it anew, as one with the key can."""
    with copy.db.read() as session:
        rows = sorted(
            (seq, table, values)
            for table in chain_tables()
            for chain, seq, _, values, _ in chains._stream(session, table)
            if chain == account
        )
    first = rows[0]
    at = first[1].columns.index("cause")
    values = (*first[2][:at], "another cause", *first[2][at + 1 :])
    rows[0] = (first[0], first[1], values)
    contents = [(table.name, row) for _, table, row in rows]
    made = codes.extend(copy.keyring.chain, account, 0, codes.GENESIS, contents)
    updates = [f"UPDATE transfer SET cause = 'another cause' WHERE id = '{first[2][0]}'"]
    for (_, table, row), (_, mac) in zip(rows, made, strict=True):
        updates.append(f"UPDATE {table.name} SET mac = x'{mac.hex()}' WHERE id = '{row[0]}'")
    updates.append(f"UPDATE chain_head SET mac = x'{mac.hex()}' WHERE chain = '{account}'")
    copy.run(*updates)


def test_history_rewritten_with_the_key_differs_from_its_anchor(books: Books, copy: Copy) -> None:
    _rewritten(copy, books.old)

    assert copy.codes() == {"anchor_differs"}


def test_without_the_anchor_the_same_rewriting_is_not_found(books: Books, copy: Copy) -> None:
    _rewritten(copy, books.old)
    for path in copy.anchors.glob("anchor-*"):
        path.unlink()

    assert copy.codes() == {"anchor_missing"}, "only that anchors are gone is found"
