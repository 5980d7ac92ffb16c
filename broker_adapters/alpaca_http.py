"""The alpaca-py client, hardened: the one module that knows its private parts.

What the stock client does and this one does not: repeat a POST after a 504, wait for ever, follow
the environment's proxies, turn an order that is live into an exception because of a new word in
its body, read numbers as binary floats, lose the status of an error whose body is no JSON. Every
answer that arrives is a `Reply`; everything else is a `NoAnswerError`, and its outcome is unknown.
"""

import inspect
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from broker_adapters.alpaca_pace import Lane, Pace
from robo.core.errors import BrokerUnavailableError, ConfigError

with warnings.catch_warnings():
    # alpaca-py loads its streams, which we do not use, from a part of websockets that is leaving.
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.trading.client import TradingClient

_PRIVATE: Final = ("_session", "_retry", "_retry_codes", "_use_raw_data", "_base_url")
"""Attributes of a client that hardening sets or reads."""
_ONE_REQUEST: Final = ("self", "method", "url", "opts", "retry")
"""Parameters of the method that hardening replaces."""
CONNECT_SECONDS: Final = 3.05
READ_SECONDS: Final = 20.0


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
    ) -> None:
        """Build the client; nothing is sent.

        Raises:
            ConfigError: If the installed alpaca-py is not built as hardening needs it.
        """
        self._pace = pace
        self._client = _HardenedClient(keys, url, (connect_seconds, read_seconds))

    def get(self, path: str, query: Mapping[str, str], lane: Lane) -> Reply:
        """Read something.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back.
        """
        return self._ask("get", path, query, lane)

    def post(self, path: str, body: Mapping[str, str], lane: Lane) -> Reply:
        """Send something, exactly once.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back; it may have been taken.
        """
        return self._ask("post", path, body, lane)

    def delete(self, path: str, lane: Lane) -> Reply:
        """Delete something.

        Raises:
            ThrottledError: If nothing was sent, because the broker would refuse it.
            NoAnswerError: If no answer came back; it may have been taken.
        """
        return self._ask("delete", path, {}, lane)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, verb: str, path: str, data: Mapping[str, str], lane: Lane) -> Reply:
        self._pace.take(lane)
        response: requests.Response
        try:
            response = getattr(self._client, verb)(path, dict(data))
        except requests.RequestException as error:
            # Without its cause, which carries the request and so the keys.
            message = f"Alpaca did not answer ({type(error).__name__})"
            raise NoAnswerError(message) from None
        self._pace.hear(response.status_code, response.headers)
        return Reply(response.status_code, _json(response.content))


class _HardenedClient(TradingClient):
    """The stock client, with one attempt, timeouts and the plain response as the result."""

    def __init__(self, keys: Keys, url: str, timeouts: tuple[float, float]) -> None:
        """Build it and take its private parts into hand."""
        super().__init__(
            api_key=keys.id, secret_key=keys.secret, raw_data=True, url_override=url.rstrip("/")
        )
        require_private_parts(self)
        self._retry = 0
        self._retry_codes: list[int] = []  # a new list: the old one is shared by all clients
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _TimeoutAdapter(timeouts))

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:
        """Return the response, whatever its status: what it means is told elsewhere."""
        del retry
        return self._session.request(method, url, **opts)


class _TimeoutAdapter(HTTPAdapter):
    """Gives every request a timeout, and repeats none."""

    def __init__(self, timeouts: tuple[float, float]) -> None:
        """Remember (connect, read) in seconds."""
        super().__init__(max_retries=0)
        self._timeouts = timeouts

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override] # requests calls it by keywords
        """Send with our timeouts."""
        return super().send(request, **{**options, "timeout": self._timeouts})


def require_private_parts(client: TradingClient) -> None:
    """Check that a client still has the parts that hardening replaces.

    Raises:
        ConfigError: If one has moved; an unhardened client must not send a single order.
    """
    missing = [name for name in _PRIVATE if not hasattr(client, name)]
    found = inspect.signature(TradingClient._one_request).parameters  # noqa: SLF001 - the point
    if tuple(found) != _ONE_REQUEST:
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
