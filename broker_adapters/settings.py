"""Typed readers of the plug-in settings: a wrong value names itself and stops the start."""

from collections.abc import Mapping, Sequence

from robo.core.errors import ConfigError


def integer(
    settings: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int
) -> int:
    """Return a whole number within bounds.

    Raises:
        ConfigError: If the text is not a plain whole number, or lies outside the bounds.
    """
    text = settings.get(name, "").strip()
    if not text:
        return default
    body = text.removeprefix("-")
    if not (body.isascii() and body.isdigit() and len(body) <= len(str(2**64))):
        message = f"{name} must be a whole number"
        raise ConfigError(message, code="bad_setting")
    value = int(text)
    if not lowest <= value <= highest:
        message = f"{name} must lie between {lowest} and {highest}"
        raise ConfigError(message, code="bad_setting")
    return value


def choice(settings: Mapping[str, str], name: str, default: str, options: Sequence[str]) -> str:
    """Return one of the allowed words.

    Raises:
        ConfigError: If the text is none of them.
    """
    text = settings.get(name, "").strip() or default
    if text not in options:
        message = f"{name} must be one of {', '.join(options)}"
        raise ConfigError(message, code="bad_setting")
    return text


def words(settings: Mapping[str, str], name: str) -> frozenset[str]:
    """Return the comma-separated words of a setting."""
    return frozenset(word.strip() for word in settings.get(name, "").split(",") if word.strip())
