"""What customers trade elsewhere: accounts at other firms, and their trades from CSV files.

A file is taken whole or not at all, and every wrong row is named. It is data from outside: bounded
in every direction, and nothing in it is repeated but row numbers and column names.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    RoboError,
)
from robo.core.ids import child_id
from robo.core.money import parse_cents
from robo.core.shares import parse_nanos
from robo.services import licensing
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.services.taxing import choosing
from robo.store import outside_trades, owners, universe
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring
from robo.store.outside_trades import OutsideAccount, OutsideTrade

COLUMNS: Final = ("kind", "date", "symbol", "shares", "amount")
OPTIONAL: Final = ("acquired",)
ACCOUNTS_MAX: Final = 20
ROWS_MAX: Final = 10_000
TRADES_MAX: Final = 50_000
_ERRORS_MAX: Final = 50
_KINDS: Final = {"lot": "lot", "buy": "buy", "reinvest": "buy", "sell": "sell"}
_FIRST: Final = date(1970, 1, 1)
_US: Final = "%m/%d/%Y"
_SHARES: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_AMOUNT: Final = re.compile(r"\$?([0-9]{1,3}(,[0-9]{3}){0,4}|[0-9]{1,13})(\.[0-9]{1,2})?")
_SYMBOL: Final = re.compile(r"[A-Z][A-Z0-9.\-]{0,11}")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An account at another firm as its owner sees it."""

    id: str
    kind: str
    name: str
    trades: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    id: str
    rows: int
    skipped_symbols: tuple[str, ...]
    """Symbols that we do not trade and so cannot buy or sell within 30 days of anything."""


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    on: date
    symbol: str
    nanos: int
    cents: int
    acquired_on: date | None


def add_account(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    account_id: str,
    kind: str,
    name: str,
    *,
    actor: str,
) -> Elsewhere:
    """Return an account at another firm, noted now or before.

    Raises:
        RefusedError: If there are too many.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        known = outside_trades.account(session, account_id)
        vault = Vault.open(session, keyring, customer.id)
        if known is None:
            if len(outside_trades.accounts_of(session, [customer.id])) >= ACCOUNTS_MAX:
                message = f"A customer notes at most {ACCOUNTS_MAX} accounts elsewhere."
                raise RefusedError(message, code="too_many_outside_accounts")
            sealed = vault.seal_json(name, _bound(account_id))
            known = OutsideAccount(account_id, customer.id, kind, sealed, "active", now)
            outside_trades.add_account(session, known)
            _note(session, keyring, customer, actor, "outside_account.added", account_id, {}, now)
        return _shown(session, vault, known)


def accounts(session: Session, keyring: Keyring, customer_id: str) -> list[Elsewhere]:
    """Return a customer's accounts at other firms."""
    vault = Vault.open(session, keyring, customer_id)
    found = outside_trades.accounts_of(session, [customer_id])
    return [_shown(session, vault, one) for one in found]


def remove_account(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    account_id: str,
    *,
    actor: str,
) -> None:
    """Forget an account at another firm, once: what was imported of it counts no more.

    Raises:
        NotFoundError: If the customer has no such account.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        found = outside_trades.account(session, account_id)
        if found is not None and (found.customer_id, found.state) == (customer.id, "removed"):
            return
        _mine(session, customer.id, account_id)
        outside_trades.remove_account(session, account_id)
        _note(session, keyring, customer, actor, "outside_account.removed", account_id, {}, now)


def import_trades(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer: owners.Customer,
    account_id: str,
    import_id: str,
    text: str,
    *,
    actor: str,
) -> Imported:
    """Take a file of trades of an account elsewhere, whole or not at all.

    Raises:
        NotFoundError: If the customer has no such account.
        InvalidInputError: Naming every wrong row, up to a bound.
        ConflictError: If the same file was taken before, or there are too many trades.
    """
    now, today = to_micros(clock.now()), business_date(clock.now())
    rows = parse(text, today)
    mac = keyring.blind_index(
        "outside-import", f"{account_id}\x1f{sha256(text.encode()).hexdigest()}"
    )
    with db.write() as session:
        _mine(session, customer.id, account_id)
        listed = universe.by_symbol(session, sorted({row.symbol for row in rows.values()}))
        skipped = tuple(sorted({row.symbol for row in rows.values()} - listed.keys()))
        before = outside_trades.find_import(session, account_id, mac)
        if before == import_id:
            return Imported(import_id, len(rows), skipped)
        if before is not None:
            message = "This very file was imported before."
            raise ConflictError(message, code="import_known")
        trades = [
            OutsideTrade(
                child_id("otr", import_id, place),
                account_id,
                import_id,
                place,
                row.kind,
                row.on.isoformat(),
                listed[row.symbol].id,
                row.nanos,
                row.cents,
                None if row.acquired_on is None else row.acquired_on.isoformat(),
            )
            for place, row in rows.items()
            if row.symbol in listed
        ]
        if outside_trades.count_trades(session, account_id) + len(trades) > TRADES_MAX:
            message = f"An account holds at most {TRADES_MAX} imported trades."
            raise ConflictError(message, code="too_many_outside_trades")
        outside_trades.add_import(session, import_id, account_id, mac, trades, now)
        detail = {"rows": len(trades)}
        _note(session, keyring, customer, actor, "outside_trades.imported", import_id, detail, now)
    choosing.choose(db, keyring, clock, customer, {"elsewhere": "some"}, actor=actor)
    return Imported(import_id, len(rows), skipped)


def parse(text: str, today: date) -> dict[int, _Row]:
    """Return the rows of a file by their line, counted from the header as 1.

    Raises:
        InvalidInputError: Naming every wrong row, up to a bound; no cell is repeated.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    wrong: dict[str, list[str]] = {}
    rows: dict[int, _Row] = {}
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _require_header(header)
        for place, cells in enumerate(reader, start=2):
            if place > ROWS_MAX + 1:
                wrong["csv"] = [f"A file has at most {ROWS_MAX} rows."]
                break
            if not any(cell.strip() for cell in cells):
                continue
            found, errors = _row(dict(zip(header, cells, strict=False)), len(cells), header, today)
            if found is not None:
                rows[place] = found
            elif len(wrong) < _ERRORS_MAX:
                wrong[f"row_{place}"] = errors
    except csv.Error:
        wrong[f"row_{reader.line_num}"] = ["This line is not CSV."]
    if not rows and not wrong:
        wrong["csv"] = ["There are no rows."]
    if wrong:
        message = "The file was not taken: some rows are not acceptable."
        raise InvalidInputError(message, code="csv_rows", fields=wrong)
    return rows


def _require_header(header: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in header]
    unknown = len([name for name in header if name not in (*COLUMNS, *OPTIONAL)])
    if missing or unknown or len(set(header)) != len(header):
        message = f"The header must name {', '.join(COLUMNS)}, and may name {OPTIONAL[0]}."
        raise InvalidInputError(message, code="csv_header", fields={"row_1": [message]})


def _row(
    cells: Mapping[str, str], count: int, header: list[str], today: date
) -> tuple[_Row | None, list[str]]:
    """Return a row, or what is wrong with it."""
    if count != len(header):
        return None, [f"It has {count} cells, the header {len(header)}."]
    cell = {name: value.strip() for name, value in cells.items()}
    errors: list[str] = []
    kind = _KINDS.get(cell["kind"].lower())
    on = _day(cell["date"])
    symbol = cell["symbol"].upper()
    nanos = _nanos(cell["shares"])
    cents = _cents(cell["amount"])
    acquired = _day(cell["acquired"]) if cell.get("acquired") else None
    if kind is None:
        errors.append(f"kind: one of {', '.join(_KINDS)}.")
    if on is None or not _FIRST <= on <= today:
        errors.append("date: YYYY-MM-DD or MM/DD/YYYY, not in the future.")
    if not _SYMBOL.fullmatch(symbol):
        errors.append("symbol: letters, digits, dots and dashes.")
    if nanos <= 0:
        errors.append("shares: a positive number of at most nine decimals.")
    if cents is None:
        errors.append("amount: dollars with at most two decimals, not negative.")
    if cell.get("acquired") and (acquired is None or kind != "sell" or (on and acquired > on)):
        errors.append("acquired: of a sale only, the date of the lot that was sold.")
    if errors:
        return None, errors
    assert kind is not None
    assert on is not None
    assert cents is not None
    return _Row(kind, on, symbol, nanos, cents, acquired), []


def _day(text: str) -> date | None:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
        if re.fullmatch(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}", text):
            return datetime.strptime(text, _US).date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
    return None


def _nanos(text: str) -> int:
    """Return the nanoshares of a positive number, zero for anything else."""
    try:
        return parse_nanos(text) if _SHARES.fullmatch(text) else 0
    except RoboError:
        return 0


def _cents(text: str) -> int | None:
    if not _AMOUNT.fullmatch(text):
        return None
    try:
        return parse_cents(text.removeprefix("$").replace(",", ""))
    except RoboError:
        return None


def _mine(session: Session, customer_id: str, account_id: str) -> OutsideAccount:
    found = outside_trades.account(session, account_id)
    if found is None or found.customer_id != customer_id or found.state != "active":
        message = "There is no such account."
        raise NotFoundError(message)
    return found


def _shown(session: Session, vault: Vault, one: OutsideAccount) -> Elsewhere:
    name = str(vault.unseal_json(one.sealed_name, _bound(one.id)))
    trades = outside_trades.count_trades(session, one.id)
    return Elsewhere(one.id, one.kind, name, trades, one.created_at)


def _bound(account_id: str) -> str:
    return f"outside_account:{account_id}:sealed_name"


def _note(
    session: Session,
    keyring: Keyring,
    customer: owners.Customer,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, object],
    now: int,
) -> None:
    licensing.record(session, keyring, customer.firm_id, actor, action, subject, detail, now)
    told = NewEvent(customer.firm_id, action, subject, payload(**detail), customer_id=customer.id)
    emit(session, [told], now)
