"""The hardened client over real sockets, and how it is paced."""

import inspect
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from threading import Event, Thread
from typing import Any

import pytest
import requests
from alpaca.common.rest import RESTClient

from broker_adapters import alpaca_http
from broker_adapters.alpaca_http import AlpacaHttp, Keys, NoAnswerError, require_private_parts
from broker_adapters.alpaca_pace import Lane, Pace, ThrottledError
from robo.core.errors import ConfigError

TradingClient = alpaca_http.TradingClient
KEYS = Keys("key-id-7", "very-secret-9")
type_of_answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Drip:
    """An answer that comes byte by byte, faster than any pause that a client would mind."""

    content: bytes
    pause_seconds: float = 0.003


A_MINUTE = 20_000
"""So many bytes drip for a minute."""
SIZED = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % A_MINUTE


class Script(ThreadingHTTPServer):
    """Answers from a list; None closes the connection, an Event is waited for first."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Script

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0)
        if isinstance(answer, Event):
            answer.wait(5)
            return
        if answer is None:
            return
        if isinstance(answer, Drip):
            with suppress(OSError):  # the client will not wait for all of it
                for place in range(len(answer.content)):
                    self.wfile.write(answer.content[place : place + 1])
                    time.sleep(answer.pause_seconds)
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def opened(url: str, **options: Any) -> Iterator[AlpacaHttp]:
    http = AlpacaHttp(KEYS, url, Pace(200), **options)
    try:
        yield http
    finally:
        http.close()


def answered(status: int, content: bytes = b"{}", **headers: str) -> type_of_answer:
    return status, headers, content


@pytest.mark.parametrize("status", [200, 408, 429, 500, 502, 503, 504])
def test_a_post_is_sent_once_whatever_the_answer(script: Script, status: int):
    script.answers = [answered(status), answered(200)]

    with opened(script.url + "/") as http:
        reply = http.post("/orders", {"qty": "0.000000001"}, Lane.ORDERS)

    assert reply.status == status
    ((verb, path, headers, body),) = script.seen
    assert (verb, path) == ("POST", "/v2/orders")
    assert json.loads(body) == {"qty": "0.000000001"}
    assert headers["APCA-API-KEY-ID"] == "key-id-7"


def test_the_stock_client_does_repeat_a_post_so_hardening_is_not_for_nothing(
    script: Script, monkeypatch: pytest.MonkeyPatch
):
    script.answers = [answered(504), answered(200, b'{"id": "second"}')]
    monkeypatch.setattr("alpaca.common.rest.time.sleep", lambda _: None)
    client = TradingClient("a", "b", raw_data=True, url_override=script.url)
    client._session.trust_env = False

    assert client.post("/orders", {}) == {"id": "second"}
    client._session.close()
    assert [verb for verb, *_ in script.seen] == ["POST", "POST"]


def test_a_socket_that_stays_silent_is_no_answer_after_the_timeout(script: Script):
    silent = Event()
    script.answers = [silent]

    with opened(script.url, read_seconds=0.2) as http, pytest.raises(NoAnswerError):
        http.get("/account", {}, Lane.READS)

    silent.set()
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"HTTP/1.0 200 OK\r\nX-Long: " + b"a" * A_MINUTE, id="headers"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + b" " * A_MINUTE, id="body to the end"),
        pytest.param(SIZED + b" " * A_MINUTE, id="body"),
    ],
)
def test_an_answer_that_drips_byte_by_byte_is_cut_off_at_its_deadline(
    script: Script, content: bytes
):
    script.answers = [Drip(content), (200, {}, b"{}")]
    http = AlpacaHttp(KEYS, script.url, Pace(1_000), answer_seconds=0.4)
    began = time.monotonic()

    with pytest.raises(NoAnswerError):
        http.get("/account", {}, Lane.READS)

    assert 0.3 < time.monotonic() - began < 30
    http._answer_seconds = 60.0  # this one may be slow on a busy machine
    assert http.get("/account", {}, Lane.READS).body == {}
    http.close()


def test_a_stream_that_drips_comments_for_ever_ends_at_its_deadline(script: Script):
    told = b"HTTP/1.0 200 OK\r\n\r\n" + b"data: {}\n\n" + b":\n" * A_MINUTE
    script.answers = [Drip(told)]
    http = AlpacaHttp(KEYS, script.url, Pace(1_000), answer_seconds=0.4)
    began = time.monotonic()

    with (
        http.stream("/events", {}, "v2", 0.3) as response,
        pytest.raises(requests.RequestException),
    ):
        list(response.iter_content(1))

    assert 0.3 < time.monotonic() - began < 30
    http.close()


def test_a_connection_that_breaks_before_or_inside_the_answer_is_no_answer(script: Script):
    script.answers = [None, (200, {"Content-Length": "100"}, b'{"id"')]

    with opened(script.url, read_seconds=0.5) as http:
        for _ in range(2):
            with pytest.raises(NoAnswerError) as caught:
                http.post("/orders", {}, Lane.ORDERS)
            assert caught.value.__cause__ is None

    assert len(script.seen) == 2


def test_nobody_listening_is_no_answer():
    with opened("http://127.0.0.1:9", connect_seconds=0.5) as http, pytest.raises(NoAnswerError):
        http.get("/account", {}, Lane.READS)


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b'{"qty": 123456789.123456789}', {"qty": Decimal("123456789.123456789")}),
        (b'"restricted"', "restricted"),
        (b"<html>busy</html>", None),
        (b"", None),
        (b'{"qty": NaN}', None),
        (b"[" * 100_000, None),
        (b"\xff\xfe", None),
    ],
)
def test_a_body_is_exact_json_or_nothing(script: Script, content: bytes, body: Any):
    script.answers = [answered(200, content)]

    with opened(script.url) as http:
        assert http.get("/account", {}, Lane.READS).body == body


def test_a_redirect_is_not_followed(script: Script):
    script.answers = [answered(301, b"", Location=script.url + "/elsewhere")]

    with opened(script.url) as http:
        reply = http.get("/account", {}, Lane.READS)

    assert (reply.status, reply.fine, len(script.seen)) == (301, False, 1)


def test_a_proxy_of_the_environment_is_not_used(script: Script, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    script.answers = [answered(200)]

    with opened(script.url) as http:
        assert http.get("/account", {}, Lane.READS).fine


def test_keys_are_in_no_text_that_could_be_logged(script: Script, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    script.answers = [answered(401, b'{"message": "unauthorized."}'), None]

    with opened(script.url) as http:
        said = [repr(http.get("/account", {}, Lane.READS))]
        with pytest.raises(NoAnswerError) as caught:
            http.get("/account", {}, Lane.READS)
        said += [repr(KEYS), repr(http), str(vars(http)), repr(caught.value), caplog.text]

    assert caplog.text
    for secret in ("very-secret-9", "key-id-7"):
        assert secret not in "".join(said)


# The canary


def test_the_private_parts_of_alpaca_py_are_where_hardening_expects_them():
    assert version("alpaca-py").startswith("0.44."), "measure the retry and timeout rules again"
    client = TradingClient("a", "b", raw_data=True)
    require_private_parts(client)
    client._session.close()
    source = inspect.getsource(RESTClient._request)
    assert "self._one_request(method, url, opts, retry)" in source
    assert '"allow_redirects": False' in source
    assert "self._session.request(method, url, **opts)" in inspect.getsource(
        RESTClient._one_request
    )


@pytest.mark.parametrize("name", ["_session", "_retry_codes", "_retry", "_base_url"])
def test_a_client_whose_parts_have_moved_is_refused(name: str):
    client = TradingClient("a", "b", raw_data=True)
    client._session.close()
    delattr(client, name)

    with pytest.raises(ConfigError, match=name):
        require_private_parts(client)


def test_a_client_that_asks_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alpaca_http, "_ONE_REQUEST", ("self", "request"))

    with pytest.raises(ConfigError, match="_one_request"):
        AlpacaHttp(KEYS, "http://127.0.0.1:9", Pace(200))


def test_hardening_one_client_leaves_all_others_alone():
    with opened("http://127.0.0.1:9"):
        stock = TradingClient("a", "b")
        stock._session.close()
        assert (stock._retry, sorted(stock._retry_codes)) == (3, [429, 504])


# The pace


class Watch:
    """A monotonic clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def pace(self, per_minute: int) -> Pace:
        return Pace(per_minute, lambda: self.now, self.sleep)


def headers(left: str, reset: str, limit: str = "20") -> dict[str, str]:
    return {
        "X-Ratelimit-Limit": limit,
        "X-Ratelimit-Remaining": left,
        "X-Ratelimit-Reset": reset,
        "Date": formatdate(1_800_000_000, usegmt=True),
    }


def count_until_throttled(take: Callable[[], None]) -> int:
    count = 0
    while True:
        try:
            take()
        except ThrottledError:
            return count
        count += 1


def test_healing_leaves_half_reads_leave_some_and_orders_use_all():
    watch = Watch()
    pace = watch.pace(20)

    assert count_until_throttled(lambda: pace.take(Lane.HEALING)) == 10
    for _ in range(7):
        pace.take(Lane.READS)
    assert watch.slept == []
    for _ in range(3):
        pace.take(Lane.ORDERS)
    assert watch.slept == []
    with pytest.raises(ThrottledError):
        pace.take(Lane.AT_ONCE)
    assert watch.slept == []
    pace.take(Lane.ORDERS)
    assert watch.slept == [60.0]


def test_the_brokers_count_wins_when_others_use_the_same_account():
    watch = Watch()
    pace = watch.pace(20)

    pace.hear(200, headers("0", "1800000042"))
    pace.take(Lane.ORDERS)

    assert watch.slept == [42.0]


def test_a_limit_that_was_raised_counts_at_once():
    pace = Watch().pace(20)

    pace.hear(200, headers("99", "1800000042", limit="100"))

    assert count_until_throttled(lambda: pace.take(Lane.HEALING)) == 49


@pytest.mark.parametrize(
    "odd",
    [
        {},
        headers("-5", "soon"),
        headers("0x10", "99999999999999999999"),
        headers("\u0663", "1700000000"),
        {**headers("7", "1800000042"), "Date": "yesterday"},
    ],
)
def test_a_429_with_odd_headers_still_stops_the_minute(odd: dict[str, str]):
    watch = Watch()
    pace = watch.pace(20)

    pace.hear(429, odd)
    pace.take(Lane.ORDERS)

    assert len(watch.slept) == 1
    assert 0 < watch.slept[0] <= 60


def test_what_is_throttled_before_sending_was_never_sent(script: Script):
    watch = Watch()
    http = AlpacaHttp(KEYS, script.url, watch.pace(2))
    script.answers = [answered(200)]
    http.get("/account", {}, Lane.ORDERS)

    with pytest.raises(ThrottledError):
        http.get("/account", {}, Lane.HEALING)

    http.close()
    assert len(script.seen) == 1
