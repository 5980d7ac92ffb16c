"""Reads values from outside: strict types, bounds on everything, every fault collected.

A parser takes one raw value and returns a clean one or raises `BadValueError` with a sentence that
never repeats the value, because values here are personal data.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import NoReturn, TypeVar

from onboarding.errors import OnboardingError

T = TypeVar("T")

MISSING = "This is missing."
UNKNOWN = "We do not know this field."

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PRINTABLE_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_UNKNOWN_KEYS_MAX = 20
"""A hostile body may hold a million unknown keys; the answer need not repeat them all."""


class BadValueError(ValueError):
    """One value is not acceptable; the message is for the person who typed it."""


def refuse(message: str) -> NoReturn:
    """Raise the fault of one value, as a sentence for the person who typed it."""
    raise BadValueError(message)


class Faults:
    """Everything that is wrong with one document, so that a person mends it in one go."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        self.messages: dict[str, list[str]] = {}
        self.missing: list[str] = []

    def add(self, path: str, message: str) -> None:
        """Note one fault of one field."""
        self.messages.setdefault(path, []).append(message)

    def lack(self, path: str) -> None:
        """Note that a required field is not there."""
        self.missing.append(path)
        self.add(path, MISSING)

    def read(self, path: str, parse: Callable[[object], T], value: object, instead: T) -> T:
        """The parsed value, or `instead` after noting why it cannot be parsed."""
        try:
            return parse(value)
        except BadValueError as fault:
            self.add(path, str(fault))
            return instead

    def unknown_keys(self, raw: Mapping[object, object], known: Collection[str], path: str) -> None:
        """Refuse keys that we did not ask for: a misspelt field must not be lost in silence."""
        strangers = [key for key in raw if not isinstance(key, str) or key not in known]
        for key in strangers[:_UNKNOWN_KEYS_MAX]:
            self.add(path + _printable(key), UNKNOWN)

    def raise_if_any(self, error: type[OnboardingError], detail: str) -> None:
        """Raise once with the complete list, or return if nothing is wrong."""
        if self.messages:
            raise error(detail, fields=self.messages, missing=self.missing)


class Section:
    """One JSON object of a document: reads its fields, noting faults under its path."""

    def __init__(self, raw: object, path: str, faults: Faults, known: Collection[str]) -> None:
        """Accept only an object whose keys we know; anything else is noted and read as empty."""
        self._prefix = f"{path}." if path else ""
        self._faults = faults
        self._raw = mapping(raw, path or "document", faults)
        self._is_object = isinstance(raw, Mapping)
        faults.unknown_keys(self._raw, known, self._prefix)

    def has(self, key: str) -> bool:
        """Whether the field was sent with something in it."""
        return self._raw.get(key) is not None

    def required(self, key: str, parse: Callable[[object], T], instead: T) -> T:
        """The parsed field; `instead` stands in where it is missing or bad, which is noted."""
        if self.has(key):
            return self._faults.read(self._prefix + key, parse, self._raw[key], instead)
        if self._is_object:
            self._faults.lack(self._prefix + key)
        return instead

    def optional(self, key: str, parse: Callable[[object], T], instead: T) -> T:
        """The parsed field, or `instead` where it was not sent."""
        if self.has(key):
            return self._faults.read(self._prefix + key, parse, self._raw[key], instead)
        return instead

    def inner(self, key: str, known: Collection[str]) -> "Section | None":
        """The object under `key`, or None where it was not sent."""
        if not self.has(key):
            return None
        return Section(self._raw[key], self._prefix + key, self._faults, known)

    def lack(self, key: str) -> None:
        """Note that a field, needed because of another answer, is not there."""
        self._faults.lack(self._prefix + key)

    def fault(self, key: str, message: str) -> None:
        """Note a fault that involves more than the field itself."""
        self._faults.add(self._prefix + key, message)


def mapping(raw: object, path: str, faults: Faults) -> Mapping[object, object]:
    """The object itself, or an empty one after noting that something else was sent."""
    if isinstance(raw, Mapping):
        return raw
    faults.add(path, "This must be an object with named fields.")
    return {}


def text(value: object, longest: int) -> str:
    """One line of printable text in Unicode NFC with single spaces, not empty.

    Control, formatting, private and unassigned characters and lone surrogates are refused: they
    have no place in a name, and they break logs, statements and databases later.
    """
    if not isinstance(value, str):
        refuse("This must be text.")
    if len(value) > longest:
        refuse(f"This must be at most {longest} characters long.")
    if any(unicodedata.category(character).startswith("C") for character in value):
        refuse("This contains characters that cannot be printed.")
    clean = " ".join(unicodedata.normalize("NFC", value).split())
    if not clean:
        refuse("This must not be empty.")
    if len(clean) > longest:
        refuse(f"This must be at most {longest} characters long.")
    return clean


def whole_number(value: object, minimum: int, maximum: int) -> int:
    """An integer within its bounds, from a JSON integer or its decimal digits as text.

    Fractions and floats are refused even when whole: a float is not how an amount is sent.
    """
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        refuse("This must be a whole number.")
    if not minimum <= value <= maximum:
        refuse(f"This must be from {minimum} to {maximum}.")
    return value


def yes_or_no(value: object) -> bool:
    """A JSON true or false; nothing else counts as an answer."""
    if not isinstance(value, bool):
        refuse("This must be true or false.")
    return value


def iso_date(value: object) -> date:
    """A calendar date written YYYY-MM-DD."""
    if not isinstance(value, str) or not _ISO_DATE.fullmatch(value):
        refuse("This must be a date written YYYY-MM-DD.")
    try:
        return date.fromisoformat(value)
    except ValueError:
        refuse("This date does not exist.")


def one_of(value: object, keys: Collection[str]) -> str:
    """One of the keys we offered."""
    if not isinstance(value, str) or value not in keys:
        refuse(f"This must be one of: {', '.join(keys)}.")
    return value


def items(value: object, most: int) -> list[object]:
    """A JSON list no longer than `most`."""
    if not isinstance(value, list | tuple):
        refuse("This must be a list.")
    if len(value) > most:
        refuse(f"This must have at most {most} entries.")
    return list(value)


def country_code(value: object) -> str:
    """An ISO 3166-1 alpha-2 code in capitals."""
    code = value.upper() if isinstance(value, str) and len(value) == len("US") else ""
    if code not in country_codes():
        refuse("This must be a two-letter country code, such as US.")
    return code


@cache
def country_codes() -> frozenset[str]:
    """The 249 officially assigned codes of ISO 3166-1 alpha-2."""
    text_file = files("onboarding").joinpath("data/country_codes.txt")
    return frozenset(text_file.read_text(encoding="ascii").split())


@cache
def three_letters() -> Mapping[str, str]:
    """Alpha-2 to alpha-3 codes of ISO 3166-1, for brokers that ask for the longer ones."""
    text_file = files("onboarding").joinpath("data/country_codes_3.txt")
    lines = text_file.read_text(encoding="ascii").splitlines()
    return dict(line.split() for line in lines)


def _printable(key: object) -> str:
    """The key itself if it is harmless to print, else a fixed word."""
    return key if isinstance(key, str) and _PRINTABLE_KEY.fullmatch(key) else "(unprintable)"
