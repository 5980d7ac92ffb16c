"""JSON logs: one object a line on standard error, events instead of sentences, UTC.

`event(LOG, "job.done", job="mark-day", slot="2026-03-02")`. Only the fields listed here are ever
written, so that a name, an address or a secret cannot slip in by a new call. Messages of other
libraries are written without their arguments, and exceptions without their text: an error of the
database, for example, quotes the values of the row.
"""

import json
import logging
import sys
import traceback
from typing import Final, TextIO

from robo.core.clock import iso_instant
from robo.core.errors import RoboError

FIELDS: Final = frozenset(
    {
        "account_id", "action", "actor", "attempts", "batch", "block_id", "broker", "bytes",
        "chains", "child", "clock", "code", "count", "customer_id", "database", "deposit_id",
        "error", "exit_status", "failed", "firm_id", "job", "key_id", "kind", "ms", "number",
        "order_id", "outcome", "owner", "pid", "port", "prices", "reason", "request_id", "route",
        "rows", "security_id", "seconds", "signal", "skipped", "slot", "state", "status",
        "subject", "symbol", "threads", "version", "window", "withdrawal_id", "workers",
    }
)  # fmt: skip
"""What may be written: ids, codes, counts and durations."""
_TEXT_MAX: Final = 200
_FRAMES_MAX: Final = 6
_MICROS: Final = 1_000_000
_OURS: Final = "robo."
CRITICAL: Final = logging.CRITICAL
ERROR: Final = logging.ERROR
Value = str | int | float | bool | None


def get(name: str) -> logging.Logger:
    """Return the logger of a part of ours, for example `get("scheduler")`."""
    return logging.getLogger(_OURS + name)


def event(logger: logging.Logger, name: str, /, level: int = logging.INFO, **fields: Value) -> None:
    """Log an event; fields that are not listed are left out, and their names are told."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"robo_fields": fields}, stacklevel=2)


def failure(logger: logging.Logger, name: str, error: BaseException, /, **fields: Value) -> None:
    """Log an event with what went wrong: the kind, our code, and where; never the text."""
    logger.error(
        name,
        extra={"robo_fields": fields},
        exc_info=(type(error), error, error.__traceback__),
        stacklevel=2,
    )


class JsonFormatter(logging.Formatter):
    """Makes one line of a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, object] = {
            "at": iso_instant(int(record.created * _MICROS)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": str(record.msg)[:_TEXT_MAX],
            "process": record.process,
        }
        fields: dict[str, Value] = getattr(record, "robo_fields", {})
        line |= {key: _short(value) for key, value in fields.items() if key in FIELDS}
        dropped = sorted(fields.keys() - FIELDS)
        if dropped:
            line["dropped"] = dropped
        if record.exc_info and record.exc_info[1] is not None:
            line |= describe(record.exc_info[1])
        return json.dumps(line)


def describe(error: BaseException) -> dict[str, object]:
    """Return the kind of an error, our code of it, and the innermost frames; never its text."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    places = [
        f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in frames
    ]
    found: dict[str, object] = {"error": type(error).__name__, "where": places}
    if isinstance(error, RoboError):
        found["code"] = error.code
    return found


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send everything that is logged to one stream, a JSON object a line."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS.rstrip(".")).setLevel(level.upper())
    logging.getLogger("gunicorn").setLevel(logging.INFO)
    # It warns each second that a run takes longer than a second.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _short(value: Value) -> Value:
    return value[:_TEXT_MAX] if isinstance(value, str) else value
