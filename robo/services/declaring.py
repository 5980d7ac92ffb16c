"""What customers trade elsewhere: accounts at other firms, and their trades from CSV files.

A file is taken whole or not at all, and every wrong row is named. It is data from outside: bounded
in every direction, and nothing in it is repeated but row numbers and column names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
)
from robo.core.ids import child_id
from robo.services import licensing, rechecking, tabulating
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.services.tabulating import FIRST_DAY, SYMBOL, Sheet
from robo.services.taxing import choosing
from robo.services.washing.folding import people
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
_KINDS: Final = {"lot": "lot", "buy": "buy", "reinvest": "buy", "sell": "sell"}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An account at another firm as its owner sees it."""

    id: str
    kind: str
    name: str
    trades: int
    is_known: bool
    """Whether a file was taken: until one is, what is traded there is not known."""
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
    """Return an account at another firm, noted now or before; its owner trades elsewhere by it.

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
        shown = _shown(session, vault, known)
    if known.state == "active":
        choosing.choose(db, keyring, clock, customer, {"elsewhere": "some"}, actor=actor)
    return shown


def accounts(session: Session, keyring: Keyring, customer_id: str) -> list[Elsewhere]:
    """Return a customer's accounts at other firms."""
    vault = Vault.open(session, keyring, customer_id)
    found = outside_trades.accounts_of(session, [customer_id])
    return [_shown(session, vault, one) for one in found]


def unknown(session: Session, customer_id: str) -> list[str]:
    """Return a customer's accounts elsewhere whose trades are not known: no file was taken."""
    return outside_trades.unknown(session, [customer_id]).get(customer_id, [])


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
        together = people(session, [customer.id]).together(customer.id, today)
        rechecking.take_back(session, keyring, together, today, now)
        detail = {"rows": len(trades)}
        _note(session, keyring, customer, actor, "outside_trades.imported", import_id, detail, now)
    choosing.choose(db, keyring, clock, customer, {"elsewhere": "some"}, actor=actor)
    return Imported(import_id, len(rows), skipped)


def parse(text: str, today: date) -> dict[int, _Row]:
    """Return the rows of a file by their line, counted from the header as 1.

    Raises:
        InvalidInputError: Naming every wrong row, up to a bound; no cell is repeated.
    """
    sheet = Sheet(COLUMNS, OPTIONAL, ROWS_MAX, lambda cell: _row(cell, today))
    return tabulating.rows(text, sheet)


def _row(cell: Mapping[str, str], today: date) -> tuple[_Row | None, list[str]]:
    """Return a row, or what is wrong with it."""
    errors: list[str] = []
    kind = _KINDS.get(cell["kind"].lower())
    on = tabulating.day(cell["date"])
    symbol = cell["symbol"].upper()
    nanos = tabulating.nanos(cell["shares"])
    cents = tabulating.cents(cell["amount"])
    acquired = tabulating.day(cell["acquired"]) if cell.get("acquired") else None
    if kind is None:
        errors.append(f"kind: one of {', '.join(_KINDS)}.")
    if on is None or not FIRST_DAY <= on <= today:
        errors.append("date: YYYY-MM-DD or MM/DD/YYYY, not in the future.")
    if not SYMBOL.fullmatch(symbol):
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


def _mine(session: Session, customer_id: str, account_id: str) -> OutsideAccount:
    found = outside_trades.account(session, account_id)
    if found is None or found.customer_id != customer_id or found.state != "active":
        message = "There is no such account."
        raise NotFoundError(message)
    return found


def _shown(session: Session, vault: Vault, one: OutsideAccount) -> Elsewhere:
    name = str(vault.unseal_json(one.sealed_name, _bound(one.id)))
    trades = outside_trades.count_trades(session, one.id)
    unknown = outside_trades.unknown(session, [one.customer_id]).get(one.customer_id, ())
    return Elsewhere(one.id, one.kind, name, trades, one.id not in unknown, one.created_at)


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
