"""The settings of the Alpaca adapters (`ROBO_ALPACA_…`): keys, addresses, and what may be real."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from broker_adapters import settings
from broker_adapters.alpaca_http import Keys
from robo.core.errors import ConfigError

_PREFIX: Final = "ROBO_ALPACA_"
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PER_MINUTE: Final = 200
"""What Alpaca's Trading API allows an account; the headers of its answers correct it."""
_KEY_LENGTH_MAX: Final = 512
TRADING_PAPER: Final = "https://paper-api.alpaca.markets"
TRADING_LIVE: Final = "https://api.alpaca.markets"
BROKER_SANDBOX: Final = "https://broker-api.sandbox.alpaca.markets"
BROKER_LIVE: Final = "https://broker-api.alpaca.markets"
DATA: Final = "https://data.alpaca.markets"
_LIVE: Final = frozenset({"no", "yes"})
_OF_RECORD: Final = "declared"


@dataclass(frozen=True, slots=True)
class AlpacaSettings:
    """What an adapter was told, checked."""

    keys: Keys
    url: str
    live: bool
    per_minute: int
    opening_cents: int
    """Cash that the account held before we traded, which no activity explains."""
    owner: str = ""
    """The firm's account that uses the shared one, if it is said; else our file remembers it."""


def read_trading(given: Mapping[str, str]) -> AlpacaSettings:
    """Return the settings of the one account that all customers share.

    Raises:
        ConfigError: If a key is missing, an address is not what it should be, or real money is
            asked for without the declaration that pooling customers' orders needs.
    """
    live = _live(given)
    if live and given.get(f"{_PREFIX}BROKER_OF_RECORD", "").strip() != _OF_RECORD:
        message = (
            "ROBO_ALPACA_LIVE=yes pools customers in one ordinary account, which is lawful only for"
            " the broker of record of those customers: a firm that is one sets"
            " ROBO_ALPACA_BROKER_OF_RECORD=declared; every other uses ROBO_BROKER=alpaca_broker"
        )
        raise ConfigError(message, code="not_broker_of_record")
    url = _address(given, "URL", TRADING_LIVE if live else TRADING_PAPER)
    _agree(url, live=live, paper=TRADING_PAPER)
    return _settings(given, url, live=live)


def read_broker(given: Mapping[str, str]) -> AlpacaSettings:
    """Return the settings of the Broker API: an account for each customer.

    Raises:
        ConfigError: If a key is missing, or an address is not what it should be.
    """
    live = _live(given)
    url = _address(given, "BROKER_URL", BROKER_LIVE if live else BROKER_SANDBOX)
    _agree(url, live=live, paper=BROKER_SANDBOX)
    return _settings(given, url, live=live)


def read_data(given: Mapping[str, str]) -> AlpacaSettings:
    """Return the settings of the market data.

    Raises:
        ConfigError: If a key is missing, or the address is not what it should be.
    """
    return _settings(given, _address(given, "DATA_URL", DATA), live=False)


def _settings(given: Mapping[str, str], url: str, *, live: bool) -> AlpacaSettings:
    return AlpacaSettings(
        keys=Keys(_secret(given, "KEY"), _secret(given, "SECRET")),
        url=url,
        live=live,
        per_minute=settings.integer(
            given, f"{_PREFIX}PER_MINUTE", _PER_MINUTE, lowest=1, highest=1_000_000
        ),
        opening_cents=settings.integer(
            given, f"{_PREFIX}OPENING_CENTS", 0, lowest=-(10**15), highest=10**15
        ),
        owner=given.get(f"{_PREFIX}OWNER", "").strip(),
    )


def _live(given: Mapping[str, str]) -> bool:
    return settings.choice(given, f"{_PREFIX}LIVE", "no", sorted(_LIVE)) == "yes"


def _secret(given: Mapping[str, str], name: str) -> str:
    """Return a key from the setting itself, or from the file that `…_FILE` names."""
    direct = given.get(f"{_PREFIX}{name}", "").strip()
    path = given.get(f"{_PREFIX}{name}_FILE", "").strip()
    if bool(direct) == bool(path):
        message = f"set either {_PREFIX}{name} or {_PREFIX}{name}_FILE"
        raise ConfigError(message, code="bad_setting")
    if path:
        try:
            direct = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            message = f"the file that {_PREFIX}{name}_FILE names cannot be read"
            raise ConfigError(message, code="bad_setting") from None
    if not (direct.isascii() and direct.isprintable() and 0 < len(direct) <= _KEY_LENGTH_MAX):
        message = f"{_PREFIX}{name} is no key"
        raise ConfigError(message, code="bad_setting")
    return direct


def _address(given: Mapping[str, str], name: str, usual: str) -> str:
    """Return an address that keys may be sent to: HTTPS, or this machine."""
    text = (given.get(f"{_PREFIX}{name}", "").strip() or usual).rstrip("/")
    parts = urlsplit(text)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)
    if not safe or not parts.hostname or parts.path or parts.query or parts.username:
        message = f"{_PREFIX}{name} must be https://host, or http:// on this machine"
        raise ConfigError(message, code="bad_setting")
    return text


def _agree(url: str, *, live: bool, paper: str) -> None:
    """Check that real money is where it was asked for, and nowhere else.

    Raises:
        ConfigError: If the address and ROBO_ALPACA_LIVE contradict each other.
    """
    play = url == paper or urlsplit(url).hostname in _LOCAL
    if live and url == paper:
        message = "ROBO_ALPACA_LIVE=yes, but the address is that of play money"
        raise ConfigError(message, code="bad_setting")
    if not live and not play:
        message = "an address of real money needs ROBO_ALPACA_LIVE=yes"
        raise ConfigError(message, code="bad_setting")
