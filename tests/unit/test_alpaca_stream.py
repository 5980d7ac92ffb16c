"""The stream of activities where it is late, or leaves events out: nothing is passed over."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker_adapters import alpaca_stream
from broker_adapters.alpaca_entries import own_part
from broker_adapters.alpaca_events import id_at
from broker_adapters.alpaca_fills import FillDesk
from broker_adapters.alpaca_journal import AlpacaJournal
from broker_adapters.alpaca_pull import Puller
from robo.core.clock import FixedClock
from robo.core.errors import BrokerUnavailableError
from robo.core.market_calendar import MarketCalendar

BEGINS = datetime(2026, 3, 2, 15, tzinfo=UTC)
DROPPED = ": you are reading too slowly, dropped 3 messages\n\n"


@dataclass
class Wire:
    """Alpaca's stream of fees, and no list; it leaves events out of long answers if told to."""

    events: list[dict[str, Any]] = field(default_factory=list)
    most: int = 10**9
    """Events that an answer may hold before some are left out."""
    broken: bool = False
    """Whether every answer says that something was left out."""

    def book(self, at: datetime, name: int) -> None:
        event = id_at(at)[:10] + f"{name:016d}"
        row = {"event_id": event, "ref_id": f"r{name}", "account_id": "a", "activity_type": "FEE"}
        self.events.append({**row, "net_amount": "-1", "settle_date": "2026-03-02"})

    def get(self, *_: Any) -> Any:
        return SimpleNamespace(fine=False, status=404)

    @contextmanager
    def stream(self, _path: str, query: Mapping[str, str], *_: Any) -> Iterator[Any]:
        first, last = query.get("since_id", ""), query.get("until_id", "~")
        told = [f"data: {json.dumps(e)}\n\n" for e in self.events if first <= e["event_id"] <= last]
        if self.broken:
            told = [DROPPED, *told]
        elif len(told) > self.most:
            told = [*told[: self.most // 2], DROPPED, *told[-self.most // 2 :]]
        body = "".join(told).encode()
        raw = SimpleNamespace(chunked=True)
        yield SimpleNamespace(status_code=200, raw=raw, iter_content=lambda _: iter([body]))


@dataclass
class Reader:
    """A puller of a wire with a journal of its own."""

    wire: Wire
    clock: FixedClock
    journal: AlpacaJournal
    puller: Puller

    def pull(self) -> None:
        self.clock.advance(timedelta(seconds=2))
        with suppress(BrokerUnavailableError):  # it says that something was left out
            self.puller.pull()

    def known(self) -> list[str]:
        return [own_part(key) for _, key, _ in self.journal.others()]


@pytest.fixture
def reader(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Reader]:
    wire, clock = Wire(), FixedClock(BEGINS)
    journal = AlpacaJournal(tmp_path / "journal.db")
    fills = FillDesk(wire, journal, clock, short_calendar, lambda _: 0, str, lambda *_: None)
    yield Reader(wire, clock, journal, Puller(wire, journal, clock, fills))
    journal.close()


def test_what_is_told_late_of_another_account_is_found_though_its_id_is_minutes_older(
    reader: Reader,
):
    reader.clock.advance(timedelta(minutes=10))
    reader.wire.book(BEGINS + timedelta(minutes=9), 1)
    reader.pull()
    reader.wire.book(BEGINS + timedelta(minutes=7), 2)
    reader.wire.book(BEGINS - timedelta(minutes=45), 3)

    for _ in range(16):
        reader.pull()
    soon = reader.known()
    reader.clock.advance(timedelta(minutes=15))
    reader.pull()

    reader.wire.book(BEGINS - timedelta(hours=20), 4)
    reader.pull()
    later = reader.known()
    reader.clock.advance(timedelta(hours=6))
    reader.wire.book(BEGINS + timedelta(hours=6), 5)
    reader.pull()
    reader.wire.book(BEGINS - timedelta(hours=15), 6)
    reader.pull()

    assert soon == ["r1", "r2"]
    assert sorted(later) == ["r1", "r2", "r3"]
    assert sorted(reader.known()) == ["r1", "r2", "r3", "r4", "r5"]  # and the next in six hours


def test_more_events_than_a_stretch_holds_in_what_is_read_again_stop_nothing(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alpaca_stream, "_EVENTS_MAX", 100)
    reader.clock.advance(timedelta(minutes=10))
    for n in range(150):
        reader.wire.book(BEGINS + timedelta(minutes=8, milliseconds=n), n)
    reader.pull()
    reader.wire.book(BEGINS + timedelta(minutes=10), 9_999)
    reader.clock.advance(timedelta(minutes=1))

    reader.pull()

    assert len(reader.known()) == 151


def test_a_backlog_that_alpaca_tells_with_gaps_is_read_whole_in_shorter_stretches(reader: Reader):
    for n in range(600):
        reader.wire.book(BEGINS + timedelta(seconds=n), n)
    reader.clock.advance(timedelta(minutes=11))
    reader.wire.most = 50

    for _ in range(40):
        reader.pull()

    assert len(reader.known()) == 600


def test_a_stream_that_leaves_something_out_for_ever_goes_on_and_a_person_hears_of_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(alpaca_stream, "_EVENTS_MAX", 100)
    for n in range(150):
        reader.wire.book(BEGINS + timedelta(seconds=n), n)
    reader.clock.advance(timedelta(hours=1))
    reader.wire.broken = True

    for _ in range(30):
        reader.pull()

    known = reader.known()
    assert len([one for one in known if one.startswith("r")]) == 150
    assert any(one.endswith("#dropped") for one in known)
