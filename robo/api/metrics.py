"""Metrics in Prometheus format, at `/metrics`, for the machine itself and for operators' keys.

What waits is read from the database at each scrape, so it is true for all processes. Requests are
counted by the worker that served them; under `robo serve` the workers share a directory of counters
(PROMETHEUS_MULTIPROC_DIR) and any of them answers for all, otherwise each answers for itself.
"""

import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import text
from sqlmodel import Session

from robo.api.auth import caller_if_any, public
from robo.api.state import reading, runtime
from robo.config import environment
from robo.core.clock import to_micros
from robo.core.errors import PermissionDeniedError
from robo.services import anchoring
from robo.store import breaks, controls, jobs

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
_OWN: Final = CollectorRegistry()
_REQUESTS: Final = Counter(
    "robo_http_requests", "Requests answered.", ("method", "route", "status"), registry=_OWN
)
_SECONDS: Final = Histogram(
    "robo_http_request_seconds",
    "Time to answer.",
    ("route",),
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    registry=_OWN,
)
_MICROS: Final = 1_000_000
_FORWARDED: Final = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")
_WAITING: Final = {
    "orders": ("planned", "sending"),
    "block": ("intended", "open", "unknown"),
    "deposit": ("requested", "pending", "available"),
    "withdrawal": ("requested", "selling", "settling", "sent"),
    "mail": ("waiting",),
    "custody": ("telling", "incomplete", "refused"),
    "remittance": ("telling", "ambiguous"),
}
"""Table -> states in which something still has to happen; each is an indexed question."""


def install(app: Flask) -> None:
    """Serve the metrics and count every request."""
    app.before_request(_begin)
    app.after_request(_count)
    app.add_url_rule("/metrics", "metrics", _metrics)


def _begin() -> None:
    g.metrics_began = time.perf_counter()


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule is not None else "unmatched"
    _REQUESTS.labels(request.method, route, response.status_code).inc()
    began = g.get("metrics_began")
    if began is not None:
        _SECONDS.labels(route).observe(time.perf_counter() - began)
    return response


@public(or_scope="admin:metrics")
def _metrics() -> Response:
    """Return the metrics.

    Raises:
        PermissionDeniedError: To strangers from elsewhere.
    """
    if caller_if_any() is None and not _is_local():
        message = "Metrics are for the machine itself, or for an operator's key."
        raise PermissionDeniedError(message, code="metrics_not_local")
    books = CollectorRegistry()
    books.register(_Books())
    requests = _OWN
    if environment().get(MULTIPROCESS):
        requests = CollectorRegistry()
        MultiProcessCollector(requests)  # type: ignore[no-untyped-call] # the library's
    body = generate_latest(books) + generate_latest(requests)
    return Response(body, content_type=CONTENT_TYPE_LATEST)


def _is_local() -> bool:
    """Return whether the caller is this machine and no proxy speaks for another one."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


class _Books:
    """Reads gauges from the database of the request."""

    def describe(self) -> list[Any]:
        """Return nothing: what there is is known when it is asked for."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the gauges."""
        now = to_micros(runtime().clock.now())
        with reading() as session:
            connection = session.connection()
            waiting = GaugeMetricFamily(
                "robo_waiting", "Things in which something has to happen.", labels=("what", "state")
            )
            for table, states in _WAITING.items():
                counted = dict.fromkeys(states, 0)
                marks = ", ".join(f"'{state}'" for state in states)
                what = f"state, count(*) AS number FROM {table} WHERE state IN ({marks})"
                sql = f"SELECT {what} GROUP BY state"
                counted |= {row.state: row.number for row in connection.execute(text(sql))}
                for state, count in counted.items():
                    waiting.add_metric((table, state), count)
            yield waiting
            yield from _controls(session)
            yield from _jobs(jobs.latest(session), now)
        number = anchoring.latest_number(runtime().settings.anchors_path)
        yield GaugeMetricFamily("robo_anchor_number", "Number of the last anchor.", value=number)


def _controls(session: Session) -> Iterator[Any]:
    found = GaugeMetricFamily(
        "robo_breaks", "Open differences with the broker.", labels=("category", "subject")
    )
    for (category, subject), count in breaks.counts(session).items():
        found.add_metric((category, subject), count)
    yield found
    stopped = GaugeMetricFamily(
        "robo_orders_stopped", "1 where the kill switch is thrown.", labels=("scope",)
    )
    for one in controls.switches(session):
        stopped.add_metric((one.scope,), one.stopped)
    yield stopped


def _jobs(latest: list[tuple[str, str, int, int]], now: int) -> Iterator[Any]:
    age = GaugeMetricFamily(
        "robo_job_age_seconds", "Seconds since a job last ended well.", labels=("job",)
    )
    failing = GaugeMetricFamily(
        "robo_job_failing", "1 where a job's last run failed.", labels=("job",)
    )
    for name, state, finished_at, done_at in latest:
        if done_at:
            age.add_metric((name,), max(0, now - done_at) / _MICROS)
        failing.add_metric((name,), int(state == "failed" and finished_at >= done_at))
    yield age
    yield failing
