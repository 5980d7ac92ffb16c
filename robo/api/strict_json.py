"""Reads JSON from strangers: what is ambiguous, endless or unprintable is refused, not repaired."""

import json
import unicodedata
from typing import Any, Final, NoReturn

from robo.core.errors import InvalidInputError

DEPTH_MAX: Final = 32
TEXT_MAX: Final = 10_000
"""Characters of one string; every field sets a smaller bound of its own."""
INT_MAX: Final = 2**63 - 1
_INT_DIGITS_MAX: Final = 19
_NUMBER_MAX: Final = 40
"""Characters of one number; none that we ask for is longer."""


def parse(raw: bytes) -> Any:
    """Return the value of a JSON document.

    Raises:
        InvalidInputError: With code `malformed_json` if it is no JSON at all (NaN and Infinity are
            none); or `json_duplicate_key`, `json_too_deep`, `json_number`, `bad_text` if it is JSON
            that two readers could understand differently or that no field of ours can hold.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("malformed_json", "The body is not UTF-8.")
    _check_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: line {error.lineno}, column {error.colno}."
        raise InvalidInputError(message, code="malformed_json") from None
    _check_texts(value)
    return value


def check_text(text: str) -> None:
    """Return if a text is printable and not absurdly long.

    Raises:
        InvalidInputError: If it holds a control character, half of a surrogate pair, or too much.
    """
    if len(text) > TEXT_MAX:
        _refuse("bad_text", f"A text is longer than {TEXT_MAX} characters.")
    # The fast way first: all printable, which a space-only difference makes true for most words.
    if text.isprintable():
        return
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        _refuse("bad_text", "A text holds a control character or half of a character.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        _refuse("json_duplicate_key", "An object names the same key twice.")
    return made


def _constant(_word: str) -> NoReturn:
    _refuse("malformed_json", "NaN and Infinity are no JSON.")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _INT_DIGITS_MAX:
        _refuse("json_number", "A whole number is too large.")
    value = int(digits)
    if not -INT_MAX - 1 <= value <= INT_MAX:
        _refuse("json_number", "A whole number is too large.")
    return value


def _number(text: str) -> float:
    value = float(text) if len(text) <= _NUMBER_MAX else float("inf")
    if value - value != 0:
        _refuse("json_number", "A number is too large or too long.")
    return value


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser recurses into it; brackets in strings do not count."""
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif inside:
            escaped = character == "\\"
            inside = character != '"'
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                _refuse("json_too_deep", f"The body is nested more than {DEPTH_MAX} deep.")
        elif character in "]}":
            depth -= 1


def _check_texts(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            check_text(item)
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _refuse(code: str, detail: str) -> NoReturn:
    raise InvalidInputError(detail, code=code)
