"""Money as text and as integers: what is accepted, what is refused, what every rounding gives."""

import pytest

from robo.core.errors import InvalidInputError
from robo.core.money import (
    AMOUNT_CENTS_MAX,
    notional_cents,
    parse_cents,
    parse_micros,
    split_cents,
)
from robo.core.shares import SHARES_MAX, parse_nanos

HOSTILE = (
    "",
    " ",
    "-",
    "+",
    ".",
    "-.",
    ".5",
    "5.",
    "+5",
    "--5",
    "-+5",
    "5-",
    " 5",
    "5 ",
    "5\n",
    "\t5",
    "5\x00",
    "\x005",
    "1,000",
    "1_000",
    "1e2",
    "1E2",
    "1e400",
    "0x10",
    "0b1",
    "1.2.3",
    "1..2",
    "1.-2",
    "1.+2",
    "1. 2",
    "1.2e1",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "$5",
    "5$",
    "5 USD",
    "\u0665",  # an Arabic-Indic five
    "\uff15",  # a full-width five
    "\u00b2",  # superscript two: `isdigit` says yes
    "\u2460",  # circled one
    "\u0967.\u0968",
    "5\u200b",
    "\u22125",  # a minus sign that is not ASCII's
    "\ud800",  # half a surrogate pair
    "1" * 40,
    "-" + "9" * 5_000,
    "0" * 5_000 + "1",
    "1." + "0" * 5_000,
    "null",
    "true",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("parse", [parse_cents, parse_micros, parse_nanos])
def test_hostile_text_is_refused_with_a_code_and_never_guessed_at(text: str, parse) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse(text)

    assert refused.value.code in {"bad_decimal", "amount_too_large"}
    if len(text) > 3:  # the sentence says what is wanted; it never repeats what was sent
        assert text not in refused.value.detail


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("0", 0),
        ("-0", 0),
        ("-0.00", 0),
        ("0.01", 1),
        ("0.1", 10),
        ("25", 2_500),
        ("25.5", 2_550),
        ("25.50", 2_550),
        ("-12.05", -1_205),
        ("007", 700),
        ("10000000000000.00", AMOUNT_CENTS_MAX),
        ("-10000000000000.00", -AMOUNT_CENTS_MAX),
    ],
)
def test_plain_decimals_are_read_to_the_cent(text: str, cents: int) -> None:
    assert parse_cents(text) == cents


@pytest.mark.parametrize("text", ["10000000000000.01", "-10000000000000.01", "9999999999999999"])
def test_more_than_ten_trillion_dollars_is_too_large(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_cents(text)

    assert refused.value.code == "amount_too_large"


@pytest.mark.parametrize("text", ["0.001", "1.999", "0.0000000"])
def test_a_fraction_of_a_cent_is_refused_not_rounded(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_cents(text)


def test_the_least_share_count_and_the_most_are_read_and_one_more_is_not() -> None:
    assert parse_nanos("0.000000001") == 1
    assert parse_nanos("1000000000") == SHARES_MAX * 10**9
    with pytest.raises(InvalidInputError):
        parse_nanos("1000000000.000000001")
    with pytest.raises(InvalidInputError):
        parse_nanos("-1")
    with pytest.raises(InvalidInputError):
        parse_nanos("0.0000000001")


def test_notionals_beyond_sixty_four_bits_are_exact() -> None:
    # A billion shares at a million dollars: the raw product is 10^30, the notional 10^17 cents.
    assert notional_cents(10**18, 10**12) == 10**17
    # $9,223.38 of one share at $9,223.372037 is where an int64 product would wrap.
    assert notional_cents(10**9, 9_223_372_037) == 922_337


@pytest.mark.parametrize(
    ("total", "weight"), [(-1, [1]), (1, [0]), (1, []), (0, [0, 0]), (5, [2, -1]), (1, [-1])]
)
def test_a_split_that_cannot_be_is_refused(total: int, weight: list[int]) -> None:
    with pytest.raises(ValueError, match="weight"):
        split_cents(total, weight)
