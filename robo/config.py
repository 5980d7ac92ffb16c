"""The one reader of the environment: all problems at once, unknown names refused."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from robo.core.errors import ConfigError

PREFIX: Final = "ROBO_"
PLUGIN_PREFIXES: Final = (
    "ROBO_ALPACA_",
    "ROBO_PAPER_",
    "ROBO_SIM_",
    "ROBO_PRICES_",
    "ROBO_ACTIONS_",
    "ROBO_BANK_",
    "ROBO_SMTP_",
    "ROBO_MAIL_",
)
"""Settings of plug-ins: passed on, checked by the plug-in that reads them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process was told. Names are ROBO_ + the upper-case field name."""

    state_dir: str = ".state"
    """Directory of everything the embedded default keeps: database, keys, anchors, paper broker."""
    database_url: str = ""
    """Empty = SQLite in the state directory."""
    broker: str = "paper"
    prices: str = "simulated"
    bank: str = "simulated"
    mailer: str = "file"
    runner: str = "default"
    clock: str = "real"
    """`real` or `sim`; sim is refused unless prices and broker are both simulated."""
    env: str = "development"
    """`production` makes no keys by itself and refuses an SQLite older than is safe."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 2
    threads: int = 4
    public_url: str = ""
    """What links in mails start with; empty = http://host:port."""
    proxy_hops: int = 0
    """How many proxies in front may be believed about the caller's address."""
    keys_dir: str = ""
    """Directory of the keys; empty = keys/ in the state directory (made on first run)."""
    anchors_dir: str = ""
    """Directory of the anchors; empty = anchors/ in the state directory. Put it elsewhere."""
    universe: str = "packaged"
    """`packaged` (1,505 names) or `minimal` (about 150)."""
    ladders: str = ""
    """File with the firm's own table of ladders and segments; empty = ours."""
    requests_per_minute: int = 1200
    """Per caller and process; the shield in front of everything."""
    signups_per_hour: int = 600
    """Per network address."""
    logins_per_minute: int = 60
    """Per network address."""
    log_level: str = "info"
    plugins: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Set by `read`; never shown, because some are keys."""

    @property
    def state_path(self) -> Path:
        """Return the state directory."""
        return Path(self.state_dir)

    @property
    def keys_path(self) -> Path:
        """Return the directory of the keys."""
        return Path(self.keys_dir) if self.keys_dir else self.state_path / "keys"

    @property
    def anchors_path(self) -> Path:
        """Return the directory of the anchors."""
        return Path(self.anchors_dir) if self.anchors_dir else self.state_path / "anchors"

    @property
    def url(self) -> str:
        """Return the database's URL."""
        return self.database_url or f"sqlite:///{(self.state_path / 'robo.db').absolute()}"

    @property
    def base_url(self) -> str:
        """Return what links to this server start with."""
        return self.public_url or f"http://{self.host}:{self.port}"


_CHOICES: Final = {
    "clock": ("real", "sim"),
    "env": ("development", "production"),
    "universe": ("packaged", "minimal"),
    "log_level": ("debug", "info", "warning", "error"),
}
_NUMBERS: Final = {
    "port": (1, 65_535),
    "workers": (1, 64),
    "threads": (1, 64),
    "proxy_hops": (0, 8),
    "requests_per_minute": (1, 10_000_000),
    "signups_per_hour": (1, 10_000_000),
    "logins_per_minute": (1, 10_000_000),
}


def environment() -> Mapping[str, str]:
    """Return the process's environment; nothing else in the project looks at it."""
    return os.environ  # noqa: TID251 - this is the one reader


def read(source: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment.

    Args:
        source: The environment; the process's own unless given.

    Raises:
        ConfigError: Listing every problem: unknown names, bad numbers, bad words.
    """
    source = environment() if source is None else source
    known = {PREFIX + field.name.upper(): field.name for field in fields(Settings)}
    known.pop(PREFIX + "PLUGINS")
    values: dict[str, str | int] = {}
    plugins: dict[str, str] = {}
    problems: list[str] = []
    for name, raw in sorted(source.items()):
        if not name.startswith(PREFIX):
            continue
        if name.startswith(PLUGIN_PREFIXES):
            plugins[name] = raw
        elif name not in known:
            problems.append(f"{name} is not a setting")
        elif (problem := _take(known[name], raw.strip(), values)) is not None:
            problems.append(f"{name} {problem}")
    if values.get("clock") == "sim" and not _simulated(values):
        problems.append("ROBO_CLOCK=sim needs simulated prices and ROBO_BROKER=paper")
    if problems:
        raise ConfigError("; ".join(problems))
    return Settings(**values, plugins=plugins)  # type: ignore[arg-type] # checked by name above


def _take(field: str, raw: str, values: dict[str, str | int]) -> str | None:
    if field in _NUMBERS:
        low, high = _NUMBERS[field]
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            return f"must be a whole number from {low} to {high}"
        values[field] = int(raw)
        return None
    if field in _CHOICES and raw not in _CHOICES[field]:
        return f"must be one of {', '.join(_CHOICES[field])}"
    values[field] = raw
    return None


def _simulated(values: Mapping[str, str | int]) -> bool:
    return values.get("prices", "simulated") in {"simulated", "imported"} and (
        values.get("broker", "paper") == "paper"
    )
