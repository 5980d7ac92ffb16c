"""The wire: exact decimals, strict JSON, honest cursors; nothing repaired, nothing guessed."""

import json
from datetime import date
from typing import Any

import marshmallow as ma
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.api import strict_json
from robo.api.wire import (
    Cents,
    Day,
    Flag,
    Id,
    Instant,
    Ppm,
    Price,
    Schema,
    Shares,
    Text,
    Whole,
    Word,
    decode_cursor,
    encode_cursor,
)
from robo.core.errors import InvalidInputError
from robo.core.ids import child_id


class Everything(Schema):
    amount = Cents()
    signed = Cents(signed=True)
    zero = Cents(zero=True)
    shares = Shares()
    price = Price()
    day = Day()
    at = Instant()
    part = Ppm()
    count = Whole(least=0, most=10)
    big = Whole()
    flag = Flag()
    word = Word("one", "two")
    text = Text(longest=5)
    id = Id()


SCHEMA = Everything()


def refused(**fields: Any) -> bool:
    try:
        SCHEMA.load(fields)
    except ma.ValidationError:
        return True
    return False


@given(st.integers(1, 10**15 - 1))
def test_amounts_survive_the_wire_to_the_cent(cents: int) -> None:
    wire = SCHEMA.dump({"amount": cents})

    assert SCHEMA.load(wire) == {"amount": cents}
    assert isinstance(wire["amount"], str)


@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 10**17), st.integers(0, 10**11))
def test_signed_amounts_shares_and_prices_survive_too(cents: int, nanos: int, micros: int) -> None:
    values = {"signed": cents, "shares": nanos, "price": micros}

    assert SCHEMA.load(json.loads(json.dumps(SCHEMA.dump(values)))) == values


@given(st.integers(0, 4 * 10**15))
def test_instants_survive_to_the_microsecond(micros: int) -> None:
    assert SCHEMA.load(SCHEMA.dump({"at": micros})) == {"at": micros}


@pytest.mark.parametrize(
    "amount",
    [
        25,
        25.0,
        True,
        None,
        "",
        " 25",
        "25 ",
        "+25",
        "-25",
        "0",
        "0.00",
        "007",
        "1,000",
        "1e3",
        "1.005",
        "25.",
        ".5",
        "٢٥",
        "NaN",
        "Infinity",
        "9" * 14,
        "9" * 400,
        ["25"],
        {"cents": 25},
        "25\n",
    ],
)
def test_only_plain_positive_decimal_strings_are_amounts(amount: Any) -> None:
    assert refused(amount=amount)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signed", "--1"),
        ("shares", "-1"),
        ("shares", "0.0000000001"),
        ("price", "1.0000001"),
        ("day", "2026-02-30"),
        ("day", "2026-2-3"),
        ("day", "20260203"),
        ("day", 20260203),
        ("at", "2026-03-02"),
        ("at", "2026-03-02T15:00:00"),
        ("at", "2026-13-02T15:00:00Z"),
        ("at", "0001-01-01T00:00:00+23:59"),
        ("part", 1_000_001),
        ("part", -1),
        ("count", 11),
        ("count", 1.5),
        ("count", 1.0),
        ("count", True),
        ("big", 2**63),
        ("big", 10**30),
        ("flag", "true"),
        ("flag", 1),
        ("word", "three"),
        ("text", "abcdef"),
        ("text", ""),
        ("text", "a\x00b"),
        ("text", "a\nb"),
        ("text", "a\ud800"),
        ("text", 5),
        ("id", "acc_UPPER"),
        ("id", "../../etc"),
        ("unknown", 1),
    ],
)
def test_everything_else_is_as_strict(field: str, value: Any) -> None:
    assert refused(**{field: value})


def test_dates_and_ids_come_back_as_they_went() -> None:
    values = {"day": date(2026, 3, 2), "id": child_id("acc", "x"), "zero": 0, "word": "one"}

    assert SCHEMA.load(SCHEMA.dump(values)) == values


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=8),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_strict_json_reads_what_it_should(value: Any) -> None:
    assert strict_json.parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"{'a': 1}", "malformed_json"),
        (b'{"a": 1,}', "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"NaN", "malformed_json"),
        (b"-Infinity", "malformed_json"),
        (b"[1] [2]", "malformed_json"),
        (b'"\n"', "malformed_json"),
        (b'{"a": 1, "a": 2}', "json_duplicate_key"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "json_duplicate_key"),
        (b"[" * 33 + b"]" * 33, "json_too_deep"),
        (b'{"a":' * 60_000, "json_too_deep"),
        (b"[" * 1_000_000, "json_too_deep"),
        (b"9223372036854775808", "json_number"),
        (b"-9223372036854775809", "json_number"),
        (b"1" * 5000, "json_number"),
        (b"1e400", "json_number"),
        (b"-1e400", "json_number"),
        (b"0." + b"1" * 5000, "json_number"),
        (b'"\\u0000"', "bad_text"),
        (b'{"a\\u0007": 1}', "bad_text"),
        (b'["\\ud800"]', "bad_text"),
        (b'"' + b"x" * 10_001 + b'"', "bad_text"),
    ],
)
def test_strict_json_refuses_what_two_readers_could_read_differently(raw: bytes, code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        strict_json.parse(raw)

    assert caught.value.code == code


def test_brackets_inside_strings_are_not_depth() -> None:
    value = ["[" * 100, '"\\"[[[' * 10]

    assert strict_json.parse(json.dumps(value).encode()) == value


@given(st.integers(0, 2**62), st.text(st.characters(blacklist_categories=["Cc", "Cs"]), max_size=9))
def test_cursors_come_back_and_are_safe_in_an_address(number: int, word: str) -> None:
    cursor = encode_cursor(number, word)

    assert decode_cursor(cursor, int, str) == (number, word)
    assert all(character.isalnum() or character in "-_" for character in cursor)


@pytest.mark.parametrize("cursor", ["", "!", "bm8", "W10", "WzFd", "WyJhIl0", "e30", "W3RydWVd"])
def test_cursors_of_other_lists_are_refused(cursor: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_cursor(cursor, int, str)

    assert caught.value.code == "bad_cursor"
