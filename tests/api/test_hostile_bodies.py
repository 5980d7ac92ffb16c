"""Hostile bodies and values against every route that writes.

Whatever is sent: never a failure of ours, every refusal a problem with a stable code, nothing
written by what was refused, and no secret given back or logged.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator

import pytest
from hostile_ground import SECRETS, Listener, Rows, Write, judged, writes
from samples import hostile
from story import Ground, elsewhere, standing
from werkzeug.test import TestResponse

from robo.core.market_calendar import MarketCalendar

NAMES = (
    *("sign up", "add", "log in", "refresh", "step up", "password", "ask reset", "reset", "verify"),
    *("confirm", "remove", "profile", "answers", "restrict", "held", "accept", "open", "link"),
    *("deposit", "withdraw", "close", "plan", "change plan", "decide", "screen"),
)
FULL = {
    ("sign up", "email"),
    ("sign up", "password"),
    ("add", "external_ref"),
    ("profile", "tax_id", "number"),
    ("profile", "birth_date"),
    ("answers", "answers", "employers", 0),
    ("answers", "answers", "horizon_years"),
    ("restrict", "symbol"),
    ("deposit", "amount"),
    ("plan", "day"),
    ("screen", "filter"),
}
"""Fields of every type that meet every value; the others share the values out among them."""
EVERY = 24
"""Each other field meets one value in so many, from a start of its own."""


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Ground]:
    with standing(tmp_path_factory.mktemp("hostile") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def requests(ground: Ground) -> dict[str, Write]:
    return {one.name: one for one in writes(ground, ground.investor())}


@pytest.fixture(autouse=True)
def _fresh(ground: Ground, requests: dict[str, Write]) -> Iterator[None]:
    """Log the customers in again, and hear what is logged meanwhile."""
    for who in {id(one.who): one.who for one in requests.values()}.values():
        if who.email:
            ground.log_in(who)
    with Listener.listening() as listener:
        yield
    for line in listener.lines:
        assert not [one for one in SECRETS if one in line], line
        assert '"level":"error"' not in line.replace(" ", ""), line


def send(write: Write, raw: bytes, kind: str | None, what: object) -> TestResponse:
    headers = {} if kind is None else {"Content-Type": kind}
    if not write.who.token:
        write.who.address = elsewhere()  # attempts of strangers are counted by address
    reply = write.who.send(write.method, write.path, data=raw, headers=headers)
    judged(reply, what, SECRETS)
    return reply


def test_the_corpus_is_as_large_as_promised() -> None:
    print(f"{hostile.distinct()} distinct hostile inputs")
    assert hostile.distinct() >= 500


def test_every_write_is_named(requests: dict[str, Write]) -> None:
    assert sorted(requests) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_cannot_be_read_is_refused_and_writes_nothing(
    ground: Ground, requests: dict[str, Write], name: str
) -> None:
    write, rows = requests[name], Rows(ground)
    before = rows.now()

    for body in hostile.BODIES:
        reply = send(write, body.raw, body.kind, (name, body.name))
        assert reply.status_code in {400, 413, 415, 422}, (body.name, reply.get_data())

    assert rows.now() == before


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_value_is_refused_whole_or_taken_as_text(
    ground: Ground, requests: dict[str, Write], name: str
) -> None:
    write, rows = requests[name], Rows(ground)
    before, seen = rows.now(), Counter[int]()

    for number, leaf in enumerate(write.leaves()):
        step = 1 if (name, *leaf) in FULL else EVERY
        for value in hostile.VALUES[number % step :: step]:
            reply = send(write, write.text_with(leaf, value), "application/json", (leaf, value))
            seen[reply.status_code] += 1
            after = rows.now()
            if reply.status_code >= 400:
                assert after == before, (leaf, value)
            before = after

    print(f"{name}: {dict(seen)}")
    assert sum(seen.values()) > 10


def test_a_name_that_is_taken_comes_back_as_it_was_sent(requests: dict[str, Write]) -> None:
    write, leaf, taken = requests["profile"], ("name", "given"), 0

    for value in hostile.VALUES:
        reply = send(write, write.text_with(leaf, value), "application/json", value)
        if reply.status_code == 200:
            taken += 1
            shown = write.who.must("GET", write.path)["name"]["given"]
            assert shown == " ".join(unicodedata.normalize("NFC", json.loads(value)).split())

    print(f"{taken} strange names taken and given back")
    assert taken > 20
