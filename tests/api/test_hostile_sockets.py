"""Raw bytes over real sockets against gunicorn: what no well-behaved client would send.

The server must answer or hang up, never fail, never stand still for others, and afterwards serve
as before.
"""

import socket
import threading
import time
from contextlib import ExitStack

import pytest
from live import Live, Reply

HEAD = b"Host: 127.0.0.1\r\nConnection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
LOGIN = b'{"email":"nobody@example.com","password":"not the right one"}'
SIZED = b"Content-Length: %d\r\n" % len(LOGIN)


def get(
    path: bytes = b"/v1/questionnaire", more: bytes = b"", version: bytes = b"HTTP/1.1"
) -> bytes:
    return b"GET " + path + b" " + version + b"\r\n" + HEAD + more + b"\r\n"


def post(more: bytes, body: bytes = LOGIN, path: bytes = b"/v1/sessions") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HEAD + JSON + more + b"\r\n" + body


REQUESTS: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"G",
    "blank lines": b"\r\n" * 200,
    "zeros": b"\x00" * 4_096,
    "every byte": bytes(range(256)) * 8,
    "a TLS hello": bytes.fromhex("160301020001000 1fc0303".replace(" ", "")) + b"\x00" * 200,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/questionnaire\r\n",
    "HTTP/9.9": get(version=b"HTTP/9.9"),
    "HTTP/1.1.1": get(version=b"HTTP/1.1.1"),
    "no version": get(version=b""),
    "lower-case version": get(version=b"http/1.1"),
    "no method": b" / HTTP/1.1\r\n" + HEAD + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": get(more=b"Host: evil.example\r\n"),
    "long request line": get(b"/" + b"a" * 10_000),
    "very long request line": get(b"/" + b"a" * 200_000),
    "raw bytes in the path": get(b"/v1/\xff\xfe\x80"),
    "NUL in the path": get(b"/v1/\x00accounts"),
    "control in the path": get(b"/v1/\x01\x1faccounts"),
    "space in the path": get(b"/v1/a b c"),
    "percent NUL": get(b"/v1/agreements/%00"),
    "dots": get(b"/static/../../../../etc/passwd"),
    "encoded dots": get(b"/static/%2e%2e/%2e%2e/etc/passwd"),
    "absolute": get(b"http://evil.example/v1/questionnaire"),
    "authority": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n",
    "fragment": get(b"/v1/questionnaire#x"),
    "a thousand headers": get(more=b"".join(b"X-%d: 1\r\n" % n for n in range(1_000))),
    "a header of 100 KiB": get(more=b"X-Long: " + b"a" * 102_400 + b"\r\n"),
    "a header name of 100 KiB": get(more=b"a" * 102_400 + b": 1\r\n"),
    "NUL in a header": get(more=b"X-A: a\x00b\r\n"),
    "bare CR in a header": get(more=b"X-A: a\rX-B: b\r\n"),
    "bare LF in a header": get(more=b"X-A: a\nX-B: b\r\n"),
    "folded header": get(more=b"X-A: a\r\n b\r\n"),
    "header without colon": get(more=b"X-A\r\n"),
    "header with space": get(more=b"X A: 1\r\n"),
    "header space before colon": get(more=b"Content-Length : 5\r\n"),
    "empty header name": get(more=b": 1\r\n"),
    "underscores": get(more=b"Content_Length: 5\r\nX_Forwarded_For: 1.2.3.4\r\n"),
    "latin-1 token": get(b"/v1/accounts", b"Authorization: Bearer ra_at_" + b"\xe9" * 43 + b"\r\n"),
    "length too large": post(b"Content-Length: 1000\r\n"),
    "length too small": post(b"Content-Length: 5\r\n"),
    "length negative": post(b"Content-Length: -1\r\n"),
    "length signed": post(b"Content-Length: +61\r\n"),
    "length hexadecimal": post(b"Content-Length: 0x10\r\n"),
    "length no number": post(b"Content-Length: many\r\n"),
    "length empty": post(b"Content-Length: \r\n"),
    "length huge": post(b"Content-Length: 99999999999999999999\r\n"),
    "length of 10 GiB": post(b"Content-Length: 10737418240\r\n"),
    "length Arabic": post("Content-Length: \u0666\r\n".encode()),
    "two lengths": post(b"Content-Length: 5\r\n" + SIZED),
    "length list": post(b"Content-Length: 5, 61\r\n"),
    "no length": post(b""),
    "length and chunks": post(SIZED + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks": post(
        b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(LOGIN), LOGIN)
    ),
    "chunk negative": post(b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"),
    "chunk no number": post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n"),
    "chunk huge": post(b"Transfer-Encoding: chunked\r\n", b"FFFFFFFFFFFFFFFFF\r\nx"),
    "chunk cut off": post(b"Transfer-Encoding: chunked\r\n", b"100\r\nx"),
    "chunks of 1 MiB": post(
        b"Transfer-Encoding: chunked\r\n",
        (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 16 + b"0\r\n\r\n",
    ),
    "chunk line of 64 KiB": post(
        b"Transfer-Encoding: chunked\r\n", b"1;" + b"a" * 65_536 + b"\r\nx"
    ),
    "trailers": post(b"Transfer-Encoding: chunked\r\n", b"0\r\nAuthorization: Bearer x\r\n\r\n"),
    "encoding unknown": post(b"Transfer-Encoding: xchunked\r\n"),
    "encoding twice": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    "encoding obscured": post(b"Transfer-Encoding:\x0bchunked\r\n"),
    "body of 10 MiB": post(b"Content-Length: 10485760\r\n", b" " * 10_485_760),
    "body of 64 KiB and one": post(b"Content-Length: 65537\r\n", b" " * 65_537),
    "expects": post(b"Expect: 100-continue\r\n" + SIZED),
    "expects much": post(b"Expect: 1000-continue\r\n" + SIZED),
    "upgrade": get(more=b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
    "websocket": get(more=b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n"),
    "proxy line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(),
}
SMUGGLED = b"GET /v1/agreements HTTP/1.1\r\nHost: smuggled\r\n\r\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_the_server_answers_or_hangs_up(live: Live, name: str) -> None:
    got = live.raw(REQUESTS[name])

    statuses = [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:]]
    fine = {501} if name == "encoding unknown" else set()  # what RFC 9112 asks of a server
    assert all(100 <= status < 500 or status in fine for status in statuses), got[:500]
    assert b"Traceback" not in got
    assert b"root:" not in got
    assert live.send("GET", "/health/live").status == 200


@pytest.mark.parametrize(
    "name",
    ["length too small", "length and chunks", "two lengths", "length list", "encoding twice"],
)
def test_nothing_is_smuggled_behind_an_ambiguous_length(live: Live, name: str) -> None:
    ambiguous = REQUESTS[name].replace(b"Connection: close\r\n", b"")

    got = live.raw(ambiguous + SMUGGLED)

    assert b"form_crs" not in got, got[:2_000]


def test_refusals_over_the_wire_are_problems(live: Live) -> None:
    for name in (
        "body of 64 KiB and one",
        "percent NUL",
        "latin-1 token",
        "no length",
        "long request line",
        "a thousand headers",
        "HTTP/9.9",
        "encoding unknown",
        "length negative",
        "NUL in a header",
    ):
        head, _, body = live.raw(REQUESTS[name]).partition(b"\r\n\r\n")
        assert b"application/problem+json" in head, (name, head)
        assert body.startswith(b'{"type":"/problems/'), (name, body)
        assert b"aaaa" not in body, name


def test_half_requests_do_not_shut_others_out_for_long(live: Live) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", live.port)))
            wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        time.sleep(0.2)
        began = time.monotonic()
        status = live.send("GET", "/health/live").status
        waited = time.monotonic() - began

    print(f"answered after {waited:.1f} s beside eight half requests on eight threads")
    assert status == 200
    assert waited < 60


def test_one_key_sent_to_two_processes_at_once_has_one_effect(
    live: Live,
) -> None:
    me = live.investor("socket@example.com")
    path = f"/v1/accounts/{me.account_id}/deposits"
    body = {"bank_link_id": me.link_id, "amount": "12.34"}
    replies: list[Reply] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        for _ in range(6_000):  # a minute at least
            reply = live.send("POST", path, body, token=me.token, key="the-same-key")
            if reply.status != 409:
                replies.append(reply)
                return
            assert reply.json()["code"] == "in_progress"
            time.sleep(0.01)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other = live.send("POST", path, {**body, "amount": "12.35"}, token=me.token, key="the-same-key")

    assert [reply.status for reply in replies] == [201] * 8
    assert len({reply.body for reply in replies}) == 1
    assert (other.status, other.json()["code"]) == (409, "idempotency_mismatch")
    listed = live.must("GET", path, token=me.token)["items"]
    assert [one["amount"] for one in listed] == ["12.34"]


def test_nothing_of_it_was_a_failure_of_ours(live: Live) -> None:
    """Runs last in this file: the log of everything above holds no failed request."""
    for line in live.told().splitlines():
        assert '"request.failed"' not in line, line
        assert "Traceback" not in line, line
