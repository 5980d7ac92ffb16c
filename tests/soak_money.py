"""Money and events in a soak: transfers and journals that are asked for until they are answered,
and streams of events that are read by a stored cursor, through faults and kills."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from world import World

from broker_adapters.alpaca_broker import AlpacaBroker
from broker_adapters.alpaca_events import STREAMS
from broker_adapters.durable_file import DurableFile, sqlite_module
from robo.core.errors import BrokerUnavailableError
from robo.core.money import parse_cents
from robo.ports.brokerage import CashRequest, CashResult, JournalRequest, JournalResult, Outcome
from robo.ports.funding import TransferDirection

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL,
    cents INTEGER NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    stream TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (stream, id)
) STRICT;
CREATE TABLE IF NOT EXISTS cursors (stream TEXT PRIMARY KEY, cursor TEXT NOT NULL) STRICT
"""
_PAGE: Final = 7
_PAGES_MAX: Final = 40
_BEYOND_PATIENCE: Final = timedelta(minutes=61)


@dataclass(frozen=True, slots=True)
class Place:
    """A customer's account at the broker, and the bank account that is linked to it."""

    account: str
    link: str


@contextmanager
def reading(file: Path) -> Iterator[Any]:
    """Yield a connection that reads a file of the server, which runs in this process.

    It has to be the server's own SQLite: of two copies of it in one process, one that closes a file
    takes away the other's locks on it, and the other dies.
    """
    found = sqlite_module().connect(f"file:{file}?mode=ro", uri=True)
    try:
        yield found
    finally:
        found.close()


class Till:
    """Our side: what was asked for, and which events were heard; survives SIGKILL."""

    def __init__(self, folder: Path, places: Sequence[Place]) -> None:
        self._file, self._places = DurableFile(folder / "till.db", _SCHEMA), places

    def close(self) -> None:
        self._file.close()

    def work(self, broker: AlpacaBroker, number: int) -> None:
        """Ask for this round's money, once more for what is open, and read a stream."""
        self._note(number)
        self._ask_all(broker)
        with contextlib.suppress(BrokerUnavailableError):
            self._read(broker, sorted(STREAMS)[number % len(STREAMS)])

    def heal(self, broker: AlpacaBroker, world: World) -> None:
        """Ask until everything is answered; decide as a person would what is ambiguous."""
        for _ in range(3):
            self._ask_all(broker)
            world.clock.advance(_BEYOND_PATIENCE)
            for request in self._open("transfer"):
                result = broker.transfer(self._cash(request))
                assert len(result.candidates) <= 1, result
                if result.outcome is Outcome.AMBIGUOUS and result.candidates:
                    broker.claim_transfer(request[0], result.candidates[0].broker_id)
                elif result.outcome is Outcome.AMBIGUOUS:
                    broker.release_transfer(request[0])
        self._ask_all(broker)
        for stream in STREAMS:
            self._read(broker, stream)

    def compare(self, shelf: Path) -> dict[str, int]:
        """Compare with the server's own file: money once each, and every event heard."""
        assert self._open("transfer") + self._open("journal") == []
        with reading(shelf) as theirs:
            rows = theirs.execute(
                "SELECT kind, body FROM things WHERE kind IN ('transfer', 'journal')"
            )
            told = [(kind, json.loads(body)) for kind, body in rows]
            heard = set(theirs.execute("SELECT stream, id FROM events"))
        there = Counter(
            (kind, parse_cents(str(body["amount" if kind == "transfer" else "net_amount"])))
            for kind, body in told
        )
        with self._file.read() as db:
            asked = db.execute("SELECT kind, cents, state FROM requests").fetchall()
            ours = set(db.execute("SELECT stream, id FROM events").fetchall())
        for kind, cents, state in asked:
            assert there[kind, cents] == (state == "taken"), (kind, cents, state)
        assert there.total() == len(self._places) + sum(row[2] == "taken" for row in asked)
        assert ours == heard, (len(ours), len(heard), sorted(ours ^ heard)[:4])
        return {"transfers and journals": len(asked), "events": len(ours)}

    def _note(self, number: int) -> None:
        """Write down what will be asked for; amounts tell requests apart at the broker."""
        rows = []
        for place, one in enumerate(self._places):
            after = self._places[(place + 1) % len(self._places)].account
            cents = 10_000 + number * 100 + place
            rows.append((f"dep-{cents}", "transfer", one.account, one.link, cents, "open"))
            rows.append((f"jnl-{cents}", "journal", one.account, after, cents, "open"))
        with self._file.write() as db:
            db.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _open(self, kind: str) -> list[tuple[str, str, str, int]]:
        query = (
            "SELECT id, source, target, cents FROM requests WHERE kind = ? AND state = 'open'"
            " ORDER BY id"
        )
        with self._file.read() as db:
            return db.execute(query, (kind,)).fetchall()

    def _ask_all(self, broker: AlpacaBroker) -> None:
        for request in self._open("transfer"):
            self._heard(request[0], broker.transfer(self._cash(request)))
        for identity, source, target, cents in self._open("journal"):
            asked = JournalRequest(identity, source, target, cents)
            self._heard(identity, broker.journal(asked))

    @staticmethod
    def _cash(request: tuple[str, str, str, int]) -> CashRequest:
        identity, account, link, cents = request
        return CashRequest(identity, account, link, TransferDirection.PULL, cents)

    def _heard(self, identity: str, result: CashResult | JournalResult) -> None:
        word = {Outcome.TAKEN: "taken", Outcome.REFUSED: "refused"}.get(result.outcome)
        if word is not None:
            with self._file.write() as db:
                db.execute("UPDATE requests SET state = ? WHERE id = ?", (word, identity))

    def _read(self, broker: AlpacaBroker, stream: str) -> None:
        """Read pages of a stream; events and cursor are written together."""
        for _ in range(_PAGES_MAX):
            with self._file.read() as db:
                row = db.execute("SELECT cursor FROM cursors WHERE stream = ?", (stream,))
                after = next((one[0] for one in row), "")
            page = broker.custody_events(stream, after, _PAGE)
            # Messages were dropped: everything is read again, and what is known is passed over.
            cursor = "" if page.gap else page.cursor
            with self._file.write() as db:
                db.executemany(
                    "INSERT OR IGNORE INTO events VALUES (?, ?)",
                    [(stream, one.id) for one in page.events],
                )
                db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (stream, cursor))
            if not page.events and not page.gap:
                return
