"""Logs: one JSON object a line, listed fields only, never the text of an error."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from robo import logs
from robo.core.errors import RefusedError


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    target = io.StringIO()
    logs.configure("info", target)
    yield target
    root.handlers, level = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_in_utc(stream: io.StringIO) -> None:
    logs.event(logs.get("scheduler"), "job.done", job="mark-day", slot="2026-03-02", count=3)

    (line,) = lines(stream)
    assert line["event"] == "job.done"
    assert line["at"].endswith("Z")
    assert (line["job"], line["slot"], line["count"]) == ("mark-day", "2026-03-02", 3)
    assert (line["level"], line["logger"]) == ("info", "robo.scheduler")


def test_a_field_that_is_not_listed_is_dropped_and_named(stream: io.StringIO) -> None:
    logs.event(logs.get("api"), "signup", email="maya@example.com", customer_id="cus_1")

    (line,) = lines(stream)
    assert line["dropped"] == ["email"]
    assert line["customer_id"] == "cus_1"
    assert "maya" not in stream.getvalue()


def test_an_errors_text_is_never_written_but_its_kind_code_and_place_are(
    stream: io.StringIO,
) -> None:
    for error in (ValueError("536-22-8726"), RefusedError("536-22-8726", code="too_big")):
        try:
            raise error
        except (ValueError, RefusedError) as caught:
            logs.failure(logs.get("api"), "request.failed", caught)

    first, second = lines(stream)
    assert first["error"] == "ValueError"
    assert second["code"] == "too_big"
    assert any("test_logs.py" in place for place in first["where"])
    assert "536-22" not in stream.getvalue()


def test_other_libraries_are_written_without_their_arguments(stream: io.StringIO) -> None:
    logging.getLogger("somelib").warning("could not insert %s", "536-22-8726")
    logging.getLogger("somelib").info("chatter")

    (line,) = lines(stream)
    assert line["event"] == "could not insert %s"


def test_a_line_break_cannot_forge_a_second_line(stream: io.StringIO) -> None:
    logs.event(logs.get("api"), "x", reason='a\n{"event": "forged"}')

    assert len(stream.getvalue().splitlines()) == 1
