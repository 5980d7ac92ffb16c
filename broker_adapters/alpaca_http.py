"""The alpaca-py client, hardened: the one module that knows its private parts.

What the stock client does and this one does not: repeat a POST after a 504, wait for ever, follow
the environment's proxies, turn an order that is live into an exception because of a new word in
its body, read numbers as binary floats, lose the status of an error whose body is no JSON. Every
answer that arrives is a `Reply`; everything else is a `NoAnswerError`, and its outcome is unknown.
"""

import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import requests
from urllib3.exceptions import HTTPError

from broker_adapters.alpaca_deadline import ANSWER_SECONDS, TimelyAdapter, whole_within
from broker_adapters.alpaca_pace import Lane, Pace
from robo.core.errors import BrokerUnavailableError, ConfigError

with warnings.catch_warnings():
    # alpaca-py loads its streams, which we do not use, from a part of websockets that is leaving.
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.broker.client import BrokerClient
    from alpaca.trading.client import TradingClient

_PRIVATE: Final = (
    "_session",
    "_retry",
    "_retry_codes",
    "_use_raw_data",
    "_base_url",
    "_get_default_headers",
)
"""Attributes of a client that hardening sets or reads."""
_ONE_REQUEST: Final = ("self", "method", "url", "opts", "retry")
"""Parameters of the method that hardening replaces."""
CONNECT_SECONDS: Final = 3.05
READ_SECONDS: Final = 20.0
_SCHEMES: Final = ("http://", "https://")
_DOWNLOAD_BYTES_MAX: Final = 50_000_000
_KEY: Final[ContextVar[str]] = ContextVar("idempotency_key", default="")


class NoAnswerError(BrokerUnavailableError):
    """The request may or may not have arrived: nothing that could be read came back."""

    code = "no_answer"


@dataclass(frozen=True, slots=True)
class Keys:
    """What Alpaca knows us by; never shown."""

    id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status and its JSON, with decimals exact; None if the body is no JSON."""

    status: int
    body: Any
    location: str = ""
    """Where a redirect points; nobody follows it by itself."""

    @property
    def fine(self) -> bool:
        """Return whether the status says that it was done."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the range of HTTP's own meaning


class AlpacaHttp:
    """Asks Alpaca, paced; one session, so one instance for each process."""

    def __init__(
        self,
        keys: Keys,
        url: str,
        pace: Pace,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        broker: bool = False,
    ) -> None:
        """Build the client, of the Broker API or of the others; nothing is sent.

        Raises:
            ConfigError: If the installed alpaca-py is not built as hardening needs it.
        """
        self._pace, self._answer_seconds = pace, answer_seconds
        kind = _HardenedBroker if broker else _HardenedClient
        self._client = kind(keys, url, (connect_seconds, read_seconds))

    def get(self, path: str, query: Mapping[str, str], lane: Lane, version: str = "") -> Reply:
        """Read something, from another version of the API if one is named.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back.
        """
        return self._ask("get", path, query, lane, **({"api_version": version} if version else {}))

    def post(self, path: str, body: Mapping[str, Any], lane: Lane, key: str = "") -> Reply:
        """Send something, exactly once; `key` goes with it as its Idempotency-Key.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back; it may have been taken.
        """
        refuse_floats(body)
        token = _KEY.set(key)
        try:
            return self._ask("post", path, body, lane)
        finally:
            _KEY.reset(token)

    def delete(self, path: str, lane: Lane) -> Reply:
        """Delete something.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back; it may have been taken.
        """
        return self._ask("delete", path, {}, lane)

    @contextmanager
    def stream(
        self,
        path: str,
        query: Mapping[str, str],
        version: str,
        silence_seconds: float,
        lane: Lane = Lane.HEALING,
    ) -> Iterator[requests.Response]:
        """Yield a response that is read as it comes; it ends when nothing comes for so long.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back.
        """
        self._pace.take(lane)
        try:
            with whole_within(self._answer_seconds):
                response = self._client.open_stream(path, dict(query), version, silence_seconds)
        except requests.RequestException as error:
            message = f"Alpaca did not answer ({type(error).__name__})"
            raise NoAnswerError(message) from None
        with response:
            self._pace.hear(response.status_code, response.headers)
            yield response

    def download(self, reply: Reply) -> bytes:
        """Return what a redirect points at: fetched without our keys, and only so much of it.

        Raises:
            NoAnswerError: If it was not given.
        """
        message = "the document was not given"
        with requests.Session() as plain:
            plain.trust_env = False
            for scheme in _SCHEMES:
                plain.mount(scheme, TimelyAdapter((CONNECT_SECONDS, READ_SECONDS)))
            try:
                with plain.get(reply.location, stream=True) as found:
                    content = found.raw.read(_DOWNLOAD_BYTES_MAX + 1, decode_content=True)
                    status = found.status_code
            except (requests.RequestException, HTTPError):  # what reads below requests is urllib3
                raise NoAnswerError(message) from None
        if status != requests.codes.ok or len(content) > _DOWNLOAD_BYTES_MAX:
            raise NoAnswerError(message)
        return bytes(content)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(
        self, verb: str, path: str, data: Mapping[str, Any], lane: Lane, **options: str
    ) -> Reply:
        self._pace.take(lane)
        response: requests.Response
        try:
            with whole_within(self._answer_seconds):
                response = getattr(self._client, verb)(path, dict(data), **options)
        except requests.RequestException as error:
            # Without its cause, which carries the request and so the keys.
            message = f"Alpaca did not answer ({type(error).__name__})"
            raise NoAnswerError(message) from None
        self._pace.hear(response.status_code, response.headers)
        where = response.headers.get("Location", "")
        return Reply(response.status_code, _json(response.content), where)


class _Hardening:
    """What both hardened clients share: one attempt, timeouts, the plain response as the result."""

    _session: requests.Session
    _base_url: Any

    def _harden(self, timeouts: tuple[float, float]) -> None:
        """Take the private parts of a stock client into hand."""
        require_private_parts(self)
        self._retry = 0
        self._retry_codes: list[int] = []  # a new list: the old one is shared by all clients
        self._session.trust_env = False
        for scheme in _SCHEMES:
            self._session.mount(scheme, TimelyAdapter(timeouts))

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:
        """Return the response, whatever its status: what it means is told elsewhere."""
        del retry
        key = _KEY.get()
        if key:
            opts = {**opts, "headers": {**opts["headers"], "Idempotency-Key": key}}
        return self._session.request(method, url, **opts)

    def open_stream(
        self, path: str, query: dict[str, str], version: str, silence_seconds: float
    ) -> requests.Response:
        """Return a response whose body has not been read."""
        headers: dict[str, str] = self._get_default_headers()  # type: ignore[attr-defined] # RESTClient's
        return self._session.request(
            "GET",
            f"{self._base_url}/{version}{path}",
            params=query,
            headers={**headers, "Accept": "text/event-stream"},
            timeout=(CONNECT_SECONDS, silence_seconds),
            stream=True,
            allow_redirects=False,
        )


class _HardenedClient(_Hardening, TradingClient):
    """The stock client of the Trading API and of market data, hardened."""

    def __init__(self, keys: Keys, url: str, timeouts: tuple[float, float]) -> None:
        """Build it and take its private parts into hand."""
        super().__init__(
            api_key=keys.id, secret_key=keys.secret, raw_data=True, url_override=url.rstrip("/")
        )
        self._harden(timeouts)


class _HardenedBroker(_Hardening, BrokerClient):
    """The stock client of the Broker API, hardened."""

    def __init__(self, keys: Keys, url: str, timeouts: tuple[float, float]) -> None:
        """Build it and take its private parts into hand."""
        super().__init__(
            api_key=keys.id, secret_key=keys.secret, raw_data=True, url_override=url.rstrip("/")
        )
        self._harden(timeouts)


def refuse_floats(body: Any) -> None:
    """Check that nothing in a body is a binary float: numbers go out as decimal text.

    Raises:
        TypeError: If something is.
    """
    if isinstance(body, float):
        message = "a binary float must never reach a broker"
        raise TypeError(message)
    parts = body.values() if isinstance(body, Mapping) else body
    if not isinstance(body, str) and hasattr(parts, "__iter__"):
        for part in parts:
            refuse_floats(part)


def require_private_parts(client: Any) -> None:
    """Check that a client still has the parts that hardening replaces.

    Raises:
        ConfigError: If one has moved; an unhardened client must not send a single order.
    """
    missing = [name for name in _PRIVATE if not hasattr(client, name)]
    stock = (TradingClient._one_request, BrokerClient._one_request)  # noqa: SLF001 - the point
    if any(tuple(inspect.signature(one).parameters) != _ONE_REQUEST for one in stock):
        missing.append("_one_request")
    if missing:
        message = f"this alpaca-py cannot be hardened: {', '.join(missing)} has moved"
        raise ConfigError(message, code="alpaca_client_moved")


def _json(content: bytes) -> Any:
    """Return JSON with exact decimals; None if it is not strictly JSON."""
    try:
        return json.loads(content, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _refuse(word: str) -> Any:
    raise ValueError(word)
