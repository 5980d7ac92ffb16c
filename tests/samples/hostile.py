"""Hostile inputs, as data: texts, JSON values, bodies, paths, headers, queries, raw requests.

Everything here is an input that a careless server stumbles over. Nothing is random; a number of the
inputs are built by rule so that a limit is met exactly, missed by one, and missed by far.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SURROGATES: Final = (
    r"\ud800",
    r"\udfff",
    r"\udc00\ud800",
    r"a\ud800",
    r"\ud83d",
    r"\ude00\ud83d",
    r"\ud800\u0041",
    r"x\udbff\udbffx",
)
"""JSON escapes of halves of characters; only JSON can carry them."""

CONTROLS: Final = tuple(f"a{chr(code)}b" for code in (*range(32), 0x7F, *range(0x80, 0xA0)))
"""A NUL first of all, then every other control character."""

BIDI: Final = tuple(
    f"pay{mark}yap"
    for mark in "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad\u034f\u061c\u115f\u3164\ufff9\ufffa\ufffb"
)

UNICODE: Final = (
    "\u2028",
    "\u2029",
    "\u0085",
    "\ufffd",
    "\uffff",
    "\ufdd0",
    "\U0010ffff",
    "\U000e0001",
    "\U000e0041\U000e007f",
    "e" + "\u0301" * 200,
    "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349",
    "\ufb03",
    "\u1e9e",
    "\u0130",
    "\u0131",
    "\u00df",
    "\u212a",
    "\u2126",
    "\u03a3\u03c2",
    "\u01c5",
    "\uff11\uff12\uff13",
    "\u0661\u0662\u0663",
    "\u00b2\u00b3\u00b9",
    "\u2460",
    "\u096a",
    "\U0001d7ce",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1fa\U0001f1f8",
    "\u202e\U0001f4a3gnp.exe",
    "\u0627\u0644\u0633\u0644\u0627\u0645",
    "\u05d0\u05d1\u05d2",
    "\u0e33\u0e33\u0e33",
    "\ufdfa" * 18,
    "\u0000\ud7ff".replace("\u0000", ""),
    "\ue000",
    "\U000f0000",
    "\ufe0f",
    "\u180e",
    "\u2800",
    "\uff0e\uff0e\uff0f",
    "\u2024\u2024/",
    "\u2215etc\u2215passwd",
    "\uff07 OR 1=1",
    "\u02bc OR 1=1",
)

INJECTIONS: Final = (
    "' OR '1'='1",
    "'; DROP TABLE customer; --",
    '" OR ""="',
    "1; SELECT pg_sleep(10)--",
    "') UNION SELECT sql FROM sqlite_master --",
    "Robert'); DROP TABLE orders;--",
    "admin'--",
    "1' AND randomblob(100000000) AND '1'='1",
    "%' OR '%'='",
    "_%_%",
    "%s%s%s%s%n",
    "%x.%x.%x",
    "%(key)s",
    "%%",
    "{0}",
    "{}",
    "{0.__class__.__mro__}",
    "{link}",
    "{{7*7}}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{{config.items()}}",
    "{% for x in ().__class__ %}",
    "${jndi:ldap://127.0.0.1/a}",
    "$(touch /tmp/robo-owned)",
    "`id`",
    "; cat /etc/passwd",
    "| id",
    "&& sleep 5",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "</textarea><svg/onload=alert(1)>",
    "<!--#exec cmd='id'-->",
    "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:22/",
    "http://[::1]/",
    "\\\\127.0.0.1\\share",
    "a@example.com\r\nBcc: b@example.com".replace("\r\n", "%0d%0a"),
    "=1+1",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)",
    "-1+1",
    "+1",
    "__proto__",
    "constructor",
    "__class__",
    "O:8:stdClass:0:{}",
    "!!python/object/apply:os.system ['id']",
    "(lambda: 1)()",
    "eval(1)",
    "1e309",
    "NaN",
    "Infinity",
    "-Infinity",
    "null",
    "None",
    "undefined",
    "true",
    "[]",
    "0x41",
    "0b1",
    "1_000",
    "1,000",
    "$5",
    "1e2",
    "+5.00",
    "5.",
    ".5",
    "05.00",
    "-0",
    "-0.00",
    "0.001",
    "0.00",
    "9" * 13 + ".99",
    "9" * 30,
    "1" + "0" * 30,
    "340282366920938463463374607431768211456",
    "9223372036854775808",
    "-9223372036854775809",
    "2147483648",
    "0000-00-00",
    "2026-02-30",
    "9999-12-31",
    "10000-01-01",
    "0001-01-01",
    "2026-W10-1",
    "20260302",
    "2026-03-02T00:00:00Z",
    "-2026-03-02",
    "2026-3-2",
)

LENGTHS: Final = (
    "",
    " ",
    "  ",
    "\u00a0",
    "\u3000",
    "a" * 41,
    "a" * 61,
    "a" * 101,
    "a" * 201,
    "a" * 255,
    "a" * 256,
    "a" * 1_024,
    "a" * 1_025,
    "a" * 4_097,
    "a" * 10_000,
    "a" * 10_001,
    "a" * 60_000,
    "\U0001f600" * 2_600,
    "\u00e9" * 10_001,
)

TEXTS: Final = (*CONTROLS, *BIDI, *UNICODE, *INJECTIONS, *LENGTHS)
"""Texts for any field that takes one."""

NUMBERS: Final = (
    "0",
    "-0",
    "-1",
    "1",
    "-0.0",
    "0.1",
    "1.0",
    "1e2",
    "1E-2",
    "1e400",
    "-1e400",
    "1e-400",
    "1e999999999",
    "1" + "0" * 30,
    "-1" + "0" * 30,
    "9" * 5_000,
    "1." + "9" * 60,
    "0." + "0" * 50 + "1",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "5e-324",
    "3.141592653589793238462643383279502884197169399",
    "12345678901234567890.5",
)
"""JSON numbers."""

NOT_NUMBERS: Final = (
    "NaN",
    "-NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "inf",
    "01",
    "+1",
    "1.",
    ".5",
    "0x10",
    "1_000",
    "1e",
    "--1",
    "1.2.3",
    "0b11",
    "1n",
    "\u0661",
    "1e+",
    "- 1",
    "undefined",
    "True",
    "None",
    "'a'",
)
"""Words that look like JSON values and are none."""

SHAPES: Final = (
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    '{"a":1}',
    '["a"]',
    '{"":""}',
    '{"$ne":null}',
    '{"__proto__":{"x":1}}',
    '{"constructor":{"prototype":{}}}',
    '[1,"a",null,true,{}]',
    "[" + ",".join(["1"] * 1_000) + "]",
    "[" + ",".join(['"a"'] * 200) + "]",
    "{" + ",".join(f'"k{i}":{i}' for i in range(500)) + "}",
    "[" * 31 + "]" * 31,
    '{"a":' * 30 + "1" + "}" * 30,
)
"""JSON values of every shape that is no text."""

VALUES: Final = (
    *(json.dumps(text) for text in TEXTS),
    *(f'"{escape}"' for escape in SURROGATES),
    *NUMBERS,
    *SHAPES,
)
"""Well-formed JSON values, as the text that goes into a body."""


@dataclass(frozen=True, slots=True)
class Body:
    """A whole body and how it calls itself."""

    name: str
    raw: bytes
    kind: str | None = "application/json"


def _deep(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


_VALID: Final = b'{"email":"a@example.com","password":"x"}'


def _deep_bodies() -> Iterator[Body]:
    for depth in (33, 34, 64, 100, 1_000, 10_000, 30_000):
        yield Body(f"{depth} lists", _deep(depth, "[", "]"))
    for depth in (33, 100, 1_000, 10_000):
        yield Body(f"{depth} objects", _deep(depth, '{"a":', "}"))
    yield Body("100k lists", _deep(100_000, "[", "]"))
    yield Body("100k open lists", b"[" * 100_000)
    yield Body("open lists", b"[" * 60_000)
    yield Body("open objects", b'{"a":' * 12_000)
    yield Body("closed lists", b"]" * 1_000)
    yield Body("mixed depth", _deep(500, '[{"a":', "}]"))
    yield Body("brackets in a text", json.dumps({"email": "[" * 5_000}).encode())
    yield Body("brackets after a quote", b'{"email":"\\"' + b"[" * 5_000 + b'"}')


def _wrong_bodies() -> Iterator[Body]:
    for number in NOT_NUMBERS:
        yield Body(f"word {number}", f'{{"email":{number}}}'.encode())
    for key in ("email", "password", "a", "", "\\u0065mail"):
        yield Body(f"twice {key}", f'{{"email":"a@example.com","{key}":1,"{key}":2}}'.encode())
    yield Body("twice, spelt apart", b'{"email":"a@example.com","\\u0065mail":"b@example.com"}')
    yield Body("twice, deep down", b'{"email":{"a":{"b":1,"b":2}}}')
    for escape in SURROGATES:
        yield Body(f"key {escape}", f'{{"{escape}":1}}'.encode())
    yield Body("key with NUL", b'{"\\u0000":1}')
    yield Body("key of 60k", b'{"' + b"k" * 60_000 + b'":1}')
    yield Body("raw NUL", b'{"email":"a\x00b"}')
    yield Body("raw newline", b'{"email":"a\nb"}')
    yield Body("NUL only", b"\x00" * 100)


def _broken_bodies() -> Iterator[Body]:
    yield Body("empty", b"")
    yield Body("space", b" \r\n\t ")
    yield Body("two documents", _VALID + _VALID)
    yield Body("trailing comma", b'{"email":"a@example.com",}')
    yield Body("comment", b'{/* hi */"email":"a@example.com"}')
    yield Body("single quotes", b"{'email':'a@example.com'}")
    yield Body("cut off", _VALID[:-5])
    yield Body("unknown escape", b'{"email":"\\x41"}')
    yield Body("short escape", b'{"email":"\\u12"}')
    yield Body("signed escape", b'{"email":"\\u+041"}')
    yield Body("top null", b"null")
    yield Body("top true", b"true")
    yield Body("top number", b"12")
    yield Body("top text", b'"email"')
    yield Body("top list", b'[["email","a@example.com"]]')


def _encoded_bodies() -> Iterator[Body]:
    yield Body("byte order mark", b"\xef\xbb\xbf" + _VALID)
    yield Body("UTF-16 with mark", _VALID.decode().encode("utf-16"))
    yield Body("UTF-16 LE", _VALID.decode().encode("utf-16-le"))
    yield Body("UTF-16 BE", _VALID.decode().encode("utf-16-be"))
    yield Body("UTF-32", _VALID.decode().encode("utf-32"))
    yield Body("UTF-7", b'{"email":"+AGE-"}')
    for name, raw in (
        ("overlong slash", b"\xc0\xaf"),
        ("overlong NUL", b"\xc0\x80"),
        ("overlong three", b"\xe0\x80\xaf"),
        ("overlong four", b"\xf0\x80\x80\xaf"),
        ("lone continuation", b"\x80"),
        ("lone lead", b"\xc3"),
        ("surrogate bytes", b"\xed\xa0\x80"),
        ("pair in CESU", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("FE FF", b"\xfe\xff"),
        ("latin-1", "caf\u00e9".encode("latin-1")),
    ):
        yield Body(name, b'{"email":"' + raw + b'"}')


def _large_bodies() -> Iterator[Body]:
    for size in (64 * 1024 + 1, 100_000, 1024 * 1024, 10 * 1024 * 1024):
        yield Body(f"{size} bytes of text", b'{"email":"' + b"a" * (size - 12) + b'"}')
    yield Body("64 KiB + 1 of spaces", b" " * (64 * 1024 + 1))
    yield Body("many keys", ("{" + ",".join(f'"k{i}":1' for i in range(5_000)) + "}").encode())
    yield Body("many numbers", b"[" + b"1," * 30_000 + b"1]")
    yield Body("long number", b'{"email":' + b"9" * 60_000 + b"}")
    yield Body("long fraction", b'{"email":0.' + b"9" * 60_000 + b"}")
    yield Body("long exponent", b'{"email":1e' + b"9" * 60_000 + b"}")
    yield Body("gzip", gzip.compress(_VALID, mtime=0))
    yield Body("gzip bomb", gzip.compress(b" " * 1_000_000, mtime=0))


def _foreign_bodies() -> Iterator[Body]:
    for kind in (
        None,
        "",
        "text/plain",
        "text/json",
        "text/html",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "application/problem+json",
        "application/octet-stream",
        "application/jsonx",
        "application/",
        "json",
        "*/*",
        ";",
        "application/json/x",
        "application/x-python-pickle",
        "a" * 500,
    ):
        yield Body(f"type {kind!r:.60}", _VALID, kind)
    yield Body("form", b"email=a%40example.com&password=x", "application/x-www-form-urlencoded")
    part = b'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\na\r\n--x--\r\n'
    yield Body("multipart", part, "multipart/form-data; boundary=x")
    many = part.replace(b"--x--", b"--x") * 800
    yield Body("multipart, many", many, "multipart/form-data; boundary=x")
    yield Body("pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.")
    yield Body("yaml", b"email: !!python/object/apply:os.getcwd []")
    yield Body("xml", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')


BODIES: Final = (
    *_deep_bodies(),
    *_wrong_bodies(),
    *_broken_bodies(),
    *_encoded_bodies(),
    *_large_bodies(),
    *_foreign_bodies(),
)
"""Bodies that no writing route may accept; valid JSON among them has the wrong content type."""

SEGMENTS: Final = (
    "%00",
    "a%00b",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%2f..%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%252e%252e%252f",
    "%c0%ae%c0%ae%c0%af",
    "%ff%fe",
    "%ed%a0%80",
    "%f4%90%80%80",
    "%u0041",
    "%",
    "%zz",
    "%e2%80%ae",
    "%ef%bb%bf",
    "%0d%0aSet-Cookie:%20a=b",
    "%0a",
    "%20",
    "+",
    "*",
    "~",
    "'",
    "%27%20OR%201=1",
    "%22",
    "%3Cscript%3E",
    "{{7*7}}",
    "%7B0%7D",
    "%25s%25n",
    "null",
    "undefined",
    "-1",
    "0",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "1" + "0" * 30,
    "9" * 500,
    "9" * 4_000,
    "9" * 5_000,
    "1e3",
    "0x10",
    "%D9%A1%D9%A2",
    "%F0%9D%9F%8E",
    "me",
    "acc_",
    "acc_" + "0" * 29,
    "acc_" + "0" * 31,
    "acc_" + "0" * 30,
    "acc_" + "0" * 30 + "%0a",
    "acc_" + "0" * 30 + "%00",
    "ACC_" + "0" * 30,
    "acc_" + "A" * 30,
    "acc_" + "\uff10".encode().hex(" ").replace(" ", "%") * 10,
    "cus_" + "f" * 30,
    "cus_" + "0" * 30 + ";x=1",
    "cus_" + "0" * 30 + "%2fprofile",
    "ra_mt_" + "A" * 43,
    "ra_mt_" + "A" * 42 + "%00",
    "ra_mt_" + "%ff" * 43,
    "form_crs%00",
    "theme-water%00",
    "THEME-WATER",
    "theme-water%2f..",
    "a" * 81,
    "a" * 3_000,
)
"""Path segments, percent-encoded, to stand where an id belongs."""

PATHS: Final = (
    "//v1/accounts",
    "/v1//accounts",
    "/v1/accounts/",
    "/v1/accounts//portfolio",
    "/v1/./accounts",
    "/v1/../v1/accounts",
    "/V1/ACCOUNTS",
    "/v1/accounts.json",
    "/v1/accounts;a=b",
    "/v1",
    "/v2/accounts",
    "/.git/config",
    "/.env",
    "/static/..%2f..%2fapp.py",
    "/static/../app.py",
    "/static/%2e%2e/app.py",
    "/static/%00",
    "/static//etc/passwd",
    "/static/",
    "/static/C:%5cwindows",
    "/static/" + "a" * 3_000,
    "/openapi.json/",
    "/openapi.json%00",
    "/docs/..;/v1/accounts",
    "/health/live%2f",
    "/%00",
    "/%ff",
    "/" + "a/" * 1_000,
    "/" + "%41" * 1_000,
    "/v1/%61ccounts",
    "/v1/customers/%2e%2e/accounts",
    "/admin",
    "/metrics/../v1/accounts",
    "/console",
    "/?%00",
    "/*",
)
"""Whole paths."""

QUERIES: Final = (
    "limit=0",
    "limit=-1",
    "limit=101",
    "limit=1e2",
    "limit=1.5",
    "limit=NaN",
    "limit=" + "9" * 30,
    "limit=" + "9" * 5_000,
    "limit=%00",
    "limit=",
    "limit=1&limit=2",
    "limit[]=1",
    "limit=0x10",
    "limit=true",
    "limit=null",
    "limit=%ff",
    "limit=1%00",
    "limit=" + "0" * 300 + "1x",
    "after=",
    "after=%00",
    "after=%ff",
    "after=..%2f..",
    "after='%20OR%201=1",
    "after=A",
    "after=AA",
    "after====",
    "after=bnVsbA",
    "after=W10",
    "after=e30",
    "after=WzFd",
    "after=WyJhIl0",
    "after=WzEsMl0",
    "after=WyJhIiwiYiJd",
    "after=WzEsImEiLDNd",
    "after=W251bGxd",
    "after=W3RydWVd",
    "after=W3RydWUsImEiXQ",
    "after=WzEuNSwiYSJd",
    "after=WzFlNDAwXQ",
    "after=W05hTl0",
    "after=Wy0xLCJhIl0",
    "after=WzkyMjMzNzIwMzY4NTQ3NzU4MDgsImEiXQ",
    "after=WzkyMjMzNzIwMzY4NTQ3NzU4MDcsImEiXQ",
    "after=Wy05MjIzMzcyMDM2ODU0Nzc1ODA4LCJhIl0",
    "after=WzEsIlx1MDAwMCJd",
    "after=WyJcdWQ4MDAiXQ",
    "after=WzEsIlx1ZDgwMCJd",
    "after=W1tdXQ",
    "after=W3siYSI6MX1d",
    "after=W1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW11dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV0",
    "after=" + "A" * 200,
    "after=" + "A" * 201,
    "after=" + "A" * 5_000,
    "after=-1",
    "after=0",
    "after=9223372036854775807",
    "after=9223372036854775808",
    "after=" + "9" * 40,
    "after=1&after=2",
    "after=%F0%9D%9F%8E",
    "unknown=1",
    "__proto__=1",
    "%00=1",
    "%ff=1",
    "=1",
    "&&&",
    "a" * 3_000,
    "limit=5&" + "&".join(f"k{i}=1" for i in range(1_200)),
    "limit=5%26after=1",
    "limit=5;after=1",
    "LIMIT=5",
    "symbols=",
    "symbols=AAPL,AAPL",
    "symbols=,",
    "symbols=AAPL,",
    "symbols=%00",
    "symbols=aapl",
    "symbols=" + ",".join(["A" * 12] * 51),
    "symbols=' OR 1=1",
    "customer_id=",
    "customer_id=%00",
    "customer_id=acc_x",
    "customer_id=1&customer_id=2",
    "symbol=%00",
    "symbol=" + "A" * 13,
)
"""Query strings."""

HEADERS: Final = (
    ("Authorization", ""),
    ("Authorization", "Bearer"),
    ("Authorization", "Bearer "),
    ("Authorization", "bearer ra_at_" + "A" * 43),
    ("Authorization", "Bearer  ra_at_" + "A" * 43),
    ("Authorization", "Bearer ra_at_" + "A" * 43),
    ("Authorization", "Bearer ra_at_" + "A" * 42 + "="),
    ("Authorization", "Bearer ra_at_" + "\u00e9" * 43),
    ("Authorization", "Bearer ra_pk_" + "\u00ff" * 43),
    ("Authorization", "Bearer ra_rt_" + "A" * 43),
    ("Authorization", "Bearer ra_mt_" + "A" * 43),
    ("Authorization", "Bearer " + "A" * 5_000),
    ("Authorization", "Bearer null"),
    ("Authorization", "Bearer ' OR '1'='1"),
    ("Authorization", "Basic YTpi"),
    ("Authorization", "Basic " + "=" * 10),
    ("Authorization", 'Digest username="a"'),
    ("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
    ("Authorization", "Bearer a, Bearer b"),
    ("Authorization", "\u00a0Bearer x"),
    ("Idempotency-Key", ""),
    ("Idempotency-Key", " "),
    ("Idempotency-Key", "short"),
    ("Idempotency-Key", "a" * 129),
    ("Idempotency-Key", "a" * 5_000),
    ("Idempotency-Key", "has a space"),
    ("Idempotency-Key", "tab\there-it-is"),
    ("Idempotency-Key", "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"),
    ("Idempotency-Key", "\u0080\u0080\u0080\u0080\u0080\u0080\u0080\u0080"),
    ("Idempotency-Key", "\u007f" * 10),
)
"""Headers that a writing route must refuse."""

STRANGE_HEADERS: Final = (
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-For", "' OR 1=1"),
    ("X-Forwarded-For", "1.2.3.4, " * 400),
    ("X-Forwarded-For", "::ffff:127.0.0.1%eth0"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "0"),
    ("X-Forwarded-Prefix", "/../.."),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;host=evil.example"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Original-URL", "/v1/audit"),
    ("X-Rewrite-URL", "/v1/audit"),
    ("User-Agent", ""),
    ("User-Agent", "() { :; }; echo owned"),
    ("User-Agent", "a" * 5_000),
    ("User-Agent", "\u00e9\u00ff\u0080"),
    ("User-Agent", "${jndi:ldap://127.0.0.1/a}"),
    ("Accept", "application/xml"),
    ("Accept", "*/*;q=NaN"),
    ("Accept", "text/html;q=-1,,,;;;"),
    ("Accept", "a" * 5_000),
    ("Accept-Encoding", "gzip;q=1e400"),
    ("Accept-Language", "*" * 2_000),
    ("Content-Encoding", "gzip"),
    ("Content-Language", "\u00ff"),
    ("Cookie", "session=" + "A" * 3_000),
    ("Cookie", "=;=;=;\u00ff"),
    ("Cookie", '$Version="1"; a="'),
    ("Origin", "null"),
    ("Origin", "https://evil.example"),
    ("Referer", "javascript:alert(1)"),
    ("Range", "bytes=0-18446744073709551615"),
    ("Range", "bytes=-1-,"),
    ("If-None-Match", '"' * 1_000),
    ("If-Modified-Since", "Mon, 99 Foo 99999 99:99:99"),
    ("If-Match", "*"),
    ("If-Range", "\u00ff"),
    ("Expect", "200-ok"),
    ("Date", "\u00ff"),
    ("Connection", "Authorization, Idempotency-Key"),
    ("Upgrade", "websocket"),
    ("Max-Forwards", "-1"),
    ("TE", "trailers, deflate;q=1e9"),
    ("Via", "1.1 " + "a," * 1_000),
    ("Request-Id", "forged\u00ff"),
    ("X-Request-Id", "forged"),
    ("Access-Control-Request-Method", "DELETE"),
)
"""Headers that nobody needs to obey and nobody may stumble over."""

HOSTS: Final = (
    "",
    "evil.example",
    "evil.example:99999",
    "127.0.0.1:-1",
    "[::1",
    "[::1]:8000",
    "a b",
    "a/b",
    "a@b",
    "\u00e9.example",
    "a" * 300,
    "..",
    "a..b",
    "localhost\\@evil",
    "%00",
    "<script>",
)
"""Values of the Host header."""

METHODS: Final = (
    "TRACE",
    "TRACK",
    "CONNECT",
    "PROPFIND",
    "PURGE",
    "LINK",
    "FOO",
    "get",
    "POST1",
    "G" * 100,
)
"""Methods that no route knows."""


def distinct() -> int:
    """Return how many different inputs there are."""
    found: set[object] = set()
    found.update(("value", value) for value in VALUES)
    found.update(("body", body.raw, body.kind) for body in BODIES)
    found.update(("segment", one) for one in SEGMENTS)
    found.update(("path", one) for one in PATHS)
    found.update(("query", one) for one in QUERIES)
    found.update(("header", *one) for one in (*HEADERS, *STRANGE_HEADERS))
    found.update(("host", one) for one in HOSTS)
    found.update(("method", one) for one in METHODS)
    return len(found)
