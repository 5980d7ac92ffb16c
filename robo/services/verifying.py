"""Proves that the books agree with themselves, with their chains, and with the anchors outside.

Every rule is one SQL statement that finds only what breaks it, so that a clean database of any
size answers with no rows. What can and cannot be found is written in docs/tamper-evidence.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from robo.services import anchoring
from robo.store import chains, jobs, ledger
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.schema import chain_tables, unguarded

Anchors = Mapping[str, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be: a stable code, what it is about, and the figures."""

    code: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """A statement that returns (subject, kept, proved) for everything that breaks it."""

    code: str
    sql: str


def _equal(code: str, kept: str, proved: str) -> _Rule:
    """Return the rule that two lists of (subject, amount) are one; zero is the same as absent."""
    # One pass and a grouping: a full outer join of two derived tables has no index to use, and took
    # minutes for a few thousand accounts.
    lines = (
        "SELECT subject, sum(kept), sum(proved) FROM (",
        f"SELECT subject, amount AS kept, 0 AS proved FROM ({kept}) AS k UNION ALL",  # noqa: S608 - our own words
        f"SELECT subject, 0 AS kept, amount AS proved FROM ({proved}) AS p) AS both_sides",  # noqa: S608 - our own words
        "GROUP BY subject HAVING sum(kept) <> sum(proved)",
    )
    return _Rule(code, " ".join(lines))


def _cents_in(book: str) -> str:
    return (
        "SELECT substr(book, 10, length(book) - 9 - length('/" + book + "')) AS subject, amount "
        f"FROM balance WHERE book LIKE 'customer/%/{book}' AND asset = 'USD/2' AND amount <> 0"
    )


_HELD: Final = (
    "SELECT substr(book, 10, length(book) - 18) || ' ' || asset AS subject, amount "
    "FROM balance WHERE book LIKE 'customer/%/holdings' AND amount <> 0"
)
_OPEN_LOTS: Final = (
    "SELECT account_id || ' S' || CAST(security_id AS TEXT) || '/9' AS subject, "
    "sum(nanos) AS amount FROM lot WHERE nanos <> 0 GROUP BY account_id, security_id"
)
_FILLED_SHARES: Final = (
    "SELECT f.id AS subject, CASE o.side WHEN 'buy' THEN f.nanos ELSE -f.nanos END AS amount "
    "FROM fill AS f JOIN orders AS o ON o.id = f.order_id WHERE f.nanos <> 0"
)
_UNDONE_SHARES: Final = (
    "SELECT u.id AS subject, CASE o.side WHEN 'buy' THEN -u.nanos ELSE u.nanos END AS amount "
    "FROM undone AS u JOIN orders AS o ON o.id = u.order_id WHERE u.nanos <> 0"
)
_UNDONE_LOTS: Final = (
    "SELECT e.cause AS subject, sum(e.nanos_delta) AS amount FROM lot_event AS e "
    "JOIN undone AS u ON u.id = e.cause GROUP BY e.cause"
)
_OWN: Final = (
    "SELECT 'firm/' || firm_id || '/inventory S' || CAST(security_id AS TEXT) || '/9' AS subject, "
    "sum(CASE side WHEN 'buy' THEN nanos ELSE -nanos END) AS amount "
    "FROM inventory GROUP BY firm_id, security_id"
)
_OWN_KEPT: Final = (
    "SELECT book || ' ' || asset AS subject, amount FROM balance "
    "WHERE book LIKE 'firm/%/inventory' AND asset <> 'USD/2' AND amount <> 0"
)
_FILL_LOTS: Final = (
    "SELECT e.cause AS subject, sum(e.nanos_delta) AS amount FROM lot_event AS e "
    "JOIN fill AS f ON f.id = e.cause GROUP BY e.cause"
)


def _of_lots(column: str, delta: str) -> _Rule:
    kept = f"SELECT id AS subject, {column} AS amount FROM lot"  # noqa: S608 - our own words
    proved = f"SELECT lot_id AS subject, sum({delta}) AS amount FROM lot_event GROUP BY lot_id"  # noqa: S608 - our own words
    return _equal(f"lot_{column}_differ", kept, proved)


def _arrivals(column: str, delta: str) -> _Rule:
    """Return the rule that what arrived from another firm is the first event of its lot."""
    return _equal(
        f"arrival_{column}_differ",
        f"SELECT id AS subject, {column} AS amount FROM arrival",  # noqa: S608 - our own words
        f"SELECT e.cause AS subject, sum(e.{delta}) AS amount FROM lot_event AS e "  # noqa: S608 - our own words
        "WHERE substr(e.cause, 1, 4) = 'arr_' GROUP BY e.cause",
    )


def _of_orders(kept: str, filled: str) -> _Rule:
    return _equal(
        f"order_{kept}_differ",
        f"SELECT id AS subject, {kept} AS amount FROM orders",  # noqa: S608 - our own words
        f"SELECT order_id AS subject, sum({filled}) AS amount FROM ("  # noqa: S608 - our own words
        f"SELECT order_id, {filled} FROM fill UNION ALL "
        f"SELECT order_id, -{filled} FROM undone) AS booked GROUP BY order_id",
    )


def _of_executions(column: str) -> _Rule:
    """Return the rule that a booked execution is the sum of its parts, and an open one no less.

    The firm's part counts against the customers' where it was on the other side of them.
    """
    return _Rule(
        f"execution_{column}_differ",
        f"SELECT e.id, e.{column}, coalesce(f.booked, 0) FROM execution AS e "  # noqa: S608 - our own words
        "LEFT JOIN booking AS b ON b.execution_id = e.id "
        "LEFT JOIN (SELECT execution_id, sum(part) AS booked FROM ("
        f"SELECT execution_id, {column} AS part FROM fill UNION ALL "
        f"SELECT i.execution_id, CASE WHEN i.side = x.side THEN i.{column} ELSE -i.{column} END "
        "FROM inventory AS i JOIN execution AS x ON x.id = i.execution_id) AS parts "
        "GROUP BY execution_id) AS f ON f.execution_id = e.id "
        f"WHERE coalesce(f.booked, 0) > e.{column} "
        f"OR (b.state = 'done' AND coalesce(f.booked, 0) <> e.{column})",
    )


def _of_busts(column: str) -> _Rule:
    """Return the rule that a bust that was dealt with is the sum of what was undone of it."""
    return _Rule(
        f"bust_{column}_differ",
        f"SELECT b.id, b.{column}, coalesce(f.booked, 0) FROM bust AS b "  # noqa: S608 - our own words
        "JOIN undoing AS d ON d.bust_id = b.id JOIN execution AS e ON e.id = b.execution_id "
        "LEFT JOIN (SELECT bust_id, sum(part) AS booked FROM ("
        f"SELECT bust_id, {column} AS part FROM undone UNION ALL "
        f"SELECT i.execution_id, CASE WHEN i.side = x.side THEN -i.{column} ELSE i.{column} END "
        "FROM inventory AS i JOIN bust AS t ON t.id = i.execution_id "
        "JOIN execution AS x ON x.id = t.execution_id) AS parts "
        "GROUP BY bust_id) AS f ON f.bust_id = b.id "
        f"WHERE d.state = 'done' AND coalesce(f.booked, 0) <> b.{column}",
    )


def _of_blocks(kept: str, column: str) -> _Rule:
    return _equal(
        f"block_{kept}_differ",
        f"SELECT id AS subject, {kept} AS amount FROM block",  # noqa: S608 - our own words
        f"SELECT block_id AS subject, sum({column}) AS amount FROM ("  # noqa: S608 - our own words
        f"SELECT block_id, {column} FROM execution UNION ALL SELECT e.block_id, -b.{column} "
        "FROM bust AS b JOIN execution AS e ON e.id = b.execution_id) AS told GROUP BY block_id",
    )


RULES: Final = (
    _equal("holdings_are_not_open_lots", _HELD, _OPEN_LOTS),
    _of_lots("nanos", "nanos_delta"),
    _of_lots("basis_cents", "basis_delta_cents"),
    _equal("fill_is_not_its_lots", _FILLED_SHARES, _FILL_LOTS),
    _equal("undone_fill_is_not_its_lots", _UNDONE_SHARES, _UNDONE_LOTS),
    _equal("own_shares_differ", _OWN_KEPT, _OWN),
    _of_busts("nanos"),
    _of_busts("cents"),
    _of_busts("fee_cents"),
    _of_orders("filled_nanos", "nanos"),
    _of_orders("filled_cents", "cents"),
    _of_orders("fee_cents", "fee_cents"),
    _of_executions("nanos"),
    _of_executions("cents"),
    _of_executions("fee_cents"),
    _of_blocks("executed_nanos", "nanos"),
    _of_blocks("executed_cents", "cents"),
    _equal(
        "reserved_is_not_open_orders",
        _cents_in("reserved"),
        "SELECT account_id AS subject, sum(reserved_cents) AS amount FROM orders "
        "WHERE state IN ('planned', 'sending') GROUP BY account_id",
    ),
    _Rule(
        "final_order_reserves_cash",
        "SELECT id, reserved_cents, 0 FROM orders "
        "WHERE reserved_cents <> 0 AND state NOT IN ('planned', 'sending')",
    ),
    _equal(
        "unsettled_is_not_waiting_proceeds",
        _cents_in("unsettled"),
        "SELECT account_id AS subject, sum(cents) AS amount FROM proceed "
        "WHERE state = 'waiting' GROUP BY account_id",
    ),
    _equal(
        "outgoing_is_not_promised",
        _cents_in("outgoing"),
        "SELECT account_id AS subject, sum(promised_cents) AS amount FROM withdrawal "
        "WHERE state NOT IN ('paid', 'failed', 'canceled') GROUP BY account_id",
    ),
    _Rule(
        "order_is_not_what_was_executed",
        "SELECT o.id, o.security_id, e.security_id FROM fill AS f JOIN orders AS o "
        "ON o.id = f.order_id JOIN execution AS e ON e.id = f.execution_id "
        "WHERE o.security_id <> e.security_id OR o.side <> e.side",
    ),
    _Rule(
        "lot_was_not_bought_then",
        "SELECT l.id, 1, 0 FROM lot AS l JOIN lot_event AS e ON e.lot_id = l.id "
        "WHERE e.kind = 'open' AND (l.acquired_on > e.on_date "
        "OR (l.acquired_on <> e.on_date AND substr(e.cause, 1, 4) = 'fil_'))",
    ),
    _arrivals("nanos", "nanos_delta"),
    _arrivals("basis_cents", "basis_delta_cents"),
    _equal(
        "transfers_are_not_arrivals",
        "SELECT asset AS subject, -amount AS amount FROM balance WHERE book = 'street/transfers'",
        "SELECT 'S' || CAST(security_id AS TEXT) || '/9' AS subject, sum(nanos) AS amount "
        "FROM arrival GROUP BY security_id",
    ),
    _equal(
        "move_in_is_not_its_arrivals",
        "SELECT m.id AS subject, sum(l.nanos) AS amount FROM move_in AS m "
        "JOIN move_in_lot AS l ON l.move_in_id = m.id WHERE m.state = 'received' GROUP BY m.id",
        "SELECT move_in_id AS subject, sum(nanos) AS amount FROM arrival GROUP BY move_in_id",
    ),
    _Rule(
        "arrival_was_not_bought_then",
        "SELECT a.id, 1, 0 FROM arrival AS a JOIN lot AS l ON l.id = a.lot_id "
        "WHERE l.acquired_on <> a.acquired_on OR l.account_id <> a.account_id",
    ),
    _Rule(
        "closed_account_is_not_empty",
        "SELECT a.id || ' ' || b.book || ' ' || b.asset, b.amount, 0 FROM account AS a "
        # Cash may still come, such as a late dividend; it is sent after the customer.
        "JOIN balance AS b ON b.book IN ('customer/' || a.id || '/reserved', "
        "'customer/' || a.id || '/holdings') "
        "WHERE a.state = 'closed' AND b.amount <> 0",
    ),
)


def verify(db: Database, keyring: Keyring, directory: Path) -> list[Finding]:
    """Return everything that is wrong with the books; an empty list is a clean database.

    Args:
        db: Read in one snapshot.
        keyring: Holds the key of the chains.
        directory: Where the anchors are.
    """
    found: list[Finding] = []
    anchors: Anchors = {}
    # Anchors first: what is anchored must then be in the later snapshot of the database.
    try:
        anchors = anchoring.read_anchors(directory, keyring)
    except anchoring.AnchorError as error:
        found.append(Finding(error.code, "anchors", error.detail))
    number = anchoring.latest_number(directory)
    with db.read() as session:
        made = jobs.counter(session, anchoring.COUNTER)
        if made > number:
            detail = f"the database knows of {made} anchors, there are {number}"
            found.append(Finding("anchor_missing", "anchors", detail))
        found.extend(check(session, keyring, anchors))
    return found


def check(session: Session, keyring: Keyring, anchors: Anchors) -> Iterator[Finding]:
    """Yield what is wrong in one snapshot of the database."""
    for table in unguarded(session):
        yield Finding("trigger_missing", table, "rows of this table could be changed unnoticed")
    for fault in chains.check_chains(session, keyring.chain, chain_tables(), dict(anchors)):
        yield Finding(fault.code, fault.chain, f"from row {fault.seq} on")
    for book, asset, kept, summed in ledger.differing_balances(session):
        detail = f"{kept} is kept, the transfers make {summed}"
        yield Finding("balance_differs", f"{book} {asset}", detail)
    for asset, total in ledger.asset_sums(session).items():
        yield Finding("asset_not_zero", asset, f"all balances together make {total}")
    for rule in RULES:
        for subject, kept, proved in session.connection().execute(text(rule.sql)):
            yield Finding(rule.code, str(subject), f"{kept} is kept, {proved} is proved")
