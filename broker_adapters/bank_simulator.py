"""A simulated bank: links by routing number, pulls and pushes that take their time or come back.

How a transfer ends is written in the last four digits of the account number (docs/paper-broker.md
has the table). Nothing raw is kept: a linked account is a keyed token, a mask and its behaviour.
"""

import hmac
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from broker_adapters import settings
from broker_adapters.durable_file import DurableFile
from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import IdempotencyMismatchError, InvalidInputError, NotFoundError
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.ports.funding import Bank, BankEvent, BankEventKind, BankLink, BankTransfer
from robo.ports.plugins import PluginContext

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS secret (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS links (
    link_id TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    bank_name TEXT NOT NULL,
    mask TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_token ON links (token);
CREATE TABLE IF NOT EXISTS transfers (
    id TEXT PRIMARY KEY,
    direction TEXT NOT NULL,
    token TEXT NOT NULL,
    cents INTEGER NOT NULL CHECK (cents > 0),
    requested_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (
    transfer_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    at INTEGER NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (at, transfer_id, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    transfer_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT
"""

_ROUTING_DIGITS: Final = 9
_ROUTING_WEIGHTS: Final = (3, 7, 1, 3, 7, 1, 3, 7, 1)
_ACCOUNT_DIGITS_MIN, _ACCOUNT_DIGITS_MAX = 4, 17
_MASK_DIGITS: Final = 4
_CURSOR_DIGITS_MAX: Final = 18
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Fate:
    """How transfers of an account come back."""

    code: str
    """Nacha return code."""
    after: BankEventKind
    """The last good news before the return."""
    days: int = 0
    """Days from the request to the return, for returns that come late."""


FATES: Final[dict[str, Fate]] = {
    "0001": Fate("R01", BankEventKind.PENDING),
    "0002": Fate("R01", BankEventKind.AVAILABLE),
    "0003": Fate("R03", BankEventKind.PENDING),
    "0007": Fate("R07", BankEventKind.SETTLED, 20),
    "0010": Fate("R10", BankEventKind.SETTLED, 10),
    "0060": Fate("R10", BankEventKind.SETTLED, 55),
}
"""By the last four digits. R01 insufficient funds, R03 no account, R07 authorisation revoked,
R10 not authorised by the customer."""


@dataclass(frozen=True, slots=True)
class BankConfig:
    """How long money takes."""

    available_seconds: int
    settle_sessions: int


def create(context: PluginContext) -> Bank:
    """Return the bank simulator.

    Raises:
        ConfigError: If ROBO_BANK_AVAILABLE_SECONDS or ROBO_BANK_SETTLE_DAYS is wrong.
    """
    given = context.settings
    config = BankConfig(
        available_seconds=settings.integer(
            given, "ROBO_BANK_AVAILABLE_SECONDS", 0, lowest=0, highest=30 * 86_400
        ),
        settle_sessions=settings.integer(given, "ROBO_BANK_SETTLE_DAYS", 1, lowest=0, highest=30),
    )
    file = DurableFile(context.state_dir / "bank" / "bank.db", _SCHEMA)
    return SimulatedBank(file, context.clock, context.calendar, config)


class SimulatedBank:
    """A Bank in a file; events happen when somebody asks, stamped with when they were due."""

    def __init__(
        self, file: DurableFile, clock: Clock, calendar: MarketCalendar, config: BankConfig
    ) -> None:
        """Open nothing yet."""
        self._file = file
        self._clock = clock
        self._calendar = calendar
        self._config = config

    def link(self, link_id: str, routing_number: str, account_number: str) -> BankLink:
        """Tokenise a bank account; the same link id with the same numbers is the same link.

        Raises:
            InvalidInputError: If the numbers are not a bank account.
            IdempotencyMismatchError: If the link id was used for another account.
        """
        check_routing_number(routing_number)
        check_account_number(account_number)
        mask = account_number[-_MASK_DIGITS:]
        bank_name = f"Simulated Bank {routing_number[:4]}"
        with self._file.write() as connection:
            token = _token(connection, routing_number, account_number)
            row = connection.execute(
                "SELECT token FROM links WHERE link_id = ?", (link_id,)
            ).fetchone()
            if row is not None and row[0] != token:
                message = "this link id belongs to another bank account"
                raise IdempotencyMismatchError(message)
            if row is None:
                connection.execute(
                    "INSERT INTO links (link_id, token, bank_name, mask) VALUES (?, ?, ?, ?)",
                    (link_id, token, bank_name, mask),
                )
        return BankLink(token=token, bank_name=bank_name, mask=mask)

    def request(self, transfer: BankTransfer) -> None:
        """Ask for a transfer; a second request with the same id and content changes nothing.

        Raises:
            NotFoundError: If the token is unknown.
            InvalidInputError: If the amount is not positive.
            IdempotencyMismatchError: If the id was used for another transfer.
        """
        if transfer.cents <= 0:
            message = "a transfer moves a positive amount"
            raise InvalidInputError(message, code="bad_amount")
        body = (transfer.direction.value, transfer.bank_token, transfer.cents)
        now = self._clock.now()
        with self._file.write() as connection:
            row = connection.execute(
                "SELECT direction, token, cents FROM transfers WHERE id = ?", (transfer.id,)
            ).fetchone()
            if row is not None:
                if tuple(row) != body:
                    message = "this transfer id belongs to another transfer"
                    raise IdempotencyMismatchError(message)
                return
            fate = FATES.get(_mask(connection, transfer.bank_token))
            connection.execute(
                "INSERT INTO transfers (id, direction, token, cents, requested_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (transfer.id, *body, to_micros(now)),
            )
            connection.executemany(
                "INSERT INTO plans (transfer_id, kind, code, at, step) VALUES (?, ?, ?, ?, ?)",
                [
                    (transfer.id, kind.value, code, to_micros(at), step)
                    for step, (kind, code, at) in enumerate(self._plan(now, fate))
                ],
            )

    def events(self, after: str, limit: int = 1000) -> Sequence[BankEvent]:
        """Return what happened after a cursor, oldest first.

        Raises:
            InvalidInputError: If the cursor is not one of ours.
        """
        sequence = _sequence(after)
        now = to_micros(self._clock.now())
        with self._happened(now) as connection:
            rows = connection.execute(
                "SELECT seq, id, transfer_id, kind, code, at FROM events WHERE seq > ?"
                " ORDER BY seq LIMIT ?",
                (sequence, limit),
            ).fetchall()
        return [
            BankEvent(identity, transfer_id, BankEventKind(kind), code, from_micros(at), str(seq))
            for seq, identity, transfer_id, kind, code, at in rows
        ]

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    @contextmanager
    def _happened(self, now: int) -> Iterator[sqlite3.Connection]:
        """Yield the tables after everything planned up to now became an event."""
        with self._file.read() as connection:
            waits = connection.execute("SELECT 1 FROM plans WHERE at <= ? LIMIT 1", (now,))
            if waits.fetchone() is None:
                yield connection
                return
        with self._file.write() as connection:
            _publish(connection, now)
            yield connection

    def _plan(
        self, now: datetime, fate: Fate | None
    ) -> Iterator[tuple[BankEventKind, str, datetime]]:
        """Yield a transfer's whole story: (what, return code, when)."""
        available = now + timedelta(seconds=self._config.available_seconds)
        settled = max(available, self._settles_at(now))
        story = (
            (BankEventKind.PENDING, now),
            (BankEventKind.AVAILABLE, available),
            (BankEventKind.SETTLED, settled),
        )
        for kind, at in story:
            yield kind, "", at
            if fate is not None and kind is fate.after:
                late = now + timedelta(days=fate.days)
                yield BankEventKind.RETURNED, fate.code, max(late, at + _SECOND)
                return

    def _settles_at(self, now: datetime) -> datetime:
        """Return the opening of the session on which a transfer settles."""
        if self._config.settle_sessions == 0:
            return now
        day = self._calendar.shift(business_date(now), self._config.settle_sessions)
        return self._calendar.opens_at(day)


def check_routing_number(routing_number: str) -> None:
    """Accept nine digits whose weighted sum is a multiple of ten.

    Raises:
        InvalidInputError: If they are anything else. Source: ABA routing number policy.
    """
    plain = routing_number.isascii() and routing_number.isdigit()
    if (
        not plain
        or len(routing_number) != _ROUTING_DIGITS
        or routing_number == "0" * _ROUTING_DIGITS
        or sum(int(d) * w for d, w in zip(routing_number, _ROUTING_WEIGHTS, strict=True)) % 10
    ):
        message = "that is no routing number: nine digits with a valid checksum"
        raise InvalidInputError(message, code="bad_routing_number")


def check_account_number(account_number: str) -> None:
    """Accept 4 to 17 digits.

    Raises:
        InvalidInputError: If they are anything else.
    """
    plain = account_number.isascii() and account_number.isdigit()
    if not plain or not _ACCOUNT_DIGITS_MIN <= len(account_number) <= _ACCOUNT_DIGITS_MAX:
        message = "that is no account number: 4 to 17 digits"
        raise InvalidInputError(message, code="bad_account_number")


def _token(connection: sqlite3.Connection, routing_number: str, account_number: str) -> str:
    """Return the account's token: an HMAC under a key made with the file."""
    row = connection.execute("SELECT key FROM secret").fetchone()
    key = bytes(row[0]) if row else secrets.token_bytes(32)
    if row is None:
        connection.execute("INSERT INTO secret (one, key) VALUES (1, ?)", (key,))
    text = f"{routing_number}:{account_number}".encode()
    return "bnk_" + hmac.new(key, text, sha256).hexdigest()[:32]


def _mask(connection: sqlite3.Connection, token: str) -> str:
    row = connection.execute("SELECT mask FROM links WHERE token = ? LIMIT 1", (token,)).fetchone()
    if row is None:
        message = "the bank knows no account with this token"
        raise NotFoundError(message, code="unknown_bank_token")
    return str(row[0])


def _publish(connection: sqlite3.Connection, now: int) -> None:
    rows = connection.execute(
        "SELECT transfer_id, kind, code, at FROM plans WHERE at <= ?"
        " ORDER BY at, transfer_id, step",
        (now,),
    ).fetchall()
    connection.executemany(
        "INSERT INTO events (id, transfer_id, kind, code, at) VALUES (?, ?, ?, ?, ?)",
        [(child_id("bev", row[0], row[1]), *row) for row in rows],
    )
    connection.execute("DELETE FROM plans WHERE at <= ?", (now,))


def _sequence(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _CURSOR_DIGITS_MAX):
        message = "that is no cursor of this bank"
        raise InvalidInputError(message, code="bad_cursor")
    return int(cursor)
