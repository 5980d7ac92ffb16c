"""Checks a written value against the field beside it and turns it into the field's unit."""

import difflib
from dataclasses import dataclass

from baskets.errors import ScreenError
from baskets.screen_fields import NO, YES, Field
from baskets.screen_lexer import TokenKind
from baskets.screen_parser import Comparison, Literal
from baskets.values import PERCENT_PPM, SCORE_MILLI, WHOLE_PPM, FieldKind

DIGITS_MAX = 15
ORDERED = frozenset({"<", "<=", ">", ">="})
_ENDINGS = {"%": "%", "tn": "tn", "bn": "bn", "m": "m", "k": "k"}
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "bn": 10**9, "tn": 10**12}
_EXPECTED = {
    FieldKind.SHARE: "a percentage such as `5%`",
    FieldKind.MONEY: "dollars such as `$5bn` or `$300m`",
    FieldKind.COUNT: "a whole number such as `500`",
    FieldKind.SCORE: "a number such as `3` or `62.5`",
    FieldKind.FLAG: "`yes` or `no`",
    FieldKind.WORD: "a name, in quotes if it has spaces",
    FieldKind.GRADE: "a grade such as `BBB+`",
}
_WORDS_SHOWN_MAX = 12
TILT_PPM_MIN, TILT_PPM_MAX = -900_000, 3 * WHOLE_PPM


@dataclass(frozen=True, slots=True)
class _Amount:
    """A written number, exact: digits and the count of them behind the point."""

    digits: int
    behind: int
    dollars: bool
    ending: str

    def times(self, factor: int) -> int | None:
        """Return the number in a unit that is `factor` times smaller; None if it is not whole."""
        scaled = self.digits * factor
        whole, rest = divmod(scaled, 10**self.behind)
        return None if rest else whole


def thresholds(comparison: Comparison, field: Field) -> tuple[int | str, ...]:
    """Return the literals of a comparison in the field's unit; words come in lower case.

    Raises:
        ScreenError: If the comparison or a literal does not suit the kind of field.
    """
    if comparison.test in ORDERED and field.kind in {FieldKind.WORD, FieldKind.FLAG}:
        raise _wrong(comparison.literals[0], f"`{comparison.test}` orders numbers and grades only")
    if comparison.test in {"in", "not in"} and field.kind in {
        FieldKind.SHARE,
        FieldKind.MONEY,
        FieldKind.SCORE,
    }:
        raise _wrong(comparison.literals[0], f"`{field.name}` is a measure; compare it with `>=`")
    return tuple(_value(literal, field) for literal in comparison.literals)


def tilt_ppm(literal: Literal) -> int:
    """Return a tilt in ppm of the weight.

    Raises:
        ScreenError: If it is no percentage between -90 % and +300 %.
    """
    amount = _amount(literal)
    ppm = amount.times(PERCENT_PPM) if amount and amount.ending == "%" else None
    if ppm is None or not TILT_PPM_MIN <= ppm <= TILT_PPM_MAX:
        raise _wrong(literal, "expected a percentage between -90% and +300%, such as `+20%`")
    return ppm


def _value(literal: Literal, field: Field) -> int | str:
    if field.kind in {FieldKind.WORD, FieldKind.FLAG, FieldKind.GRADE}:
        return _word(literal, field)
    amount = _amount(literal)
    number = None if amount is None else _number(amount, field.kind)
    if number is None:
        raise _wrong(literal, f"`{field.name}` wants {_EXPECTED[field.kind]}")
    return number


def _number(amount: _Amount, kind: FieldKind) -> int | None:
    """Return an amount in the kind's unit; None if it is written for another kind."""
    if kind is FieldKind.SHARE:
        right = amount.ending == "%" and not amount.dollars
        ppm = amount.times(PERCENT_PPM) if right else None
        return ppm if ppm is not None and 0 <= ppm <= WHOLE_PPM else None
    if kind is FieldKind.MONEY:
        right = amount.dollars and amount.ending != "%"
        return amount.times(100 * _MULTIPLES[amount.ending]) if right else None
    if amount.dollars or amount.ending == "%":
        return None
    unit = SCORE_MILLI if kind is FieldKind.SCORE else 1
    return amount.times(unit * _MULTIPLES[amount.ending])


def _word(literal: Literal, field: Field) -> int | str:
    word = literal.text.strip().lower()
    if field.kind is FieldKind.FLAG:
        if word not in {YES, NO}:
            raise _wrong(literal, f"`{field.name}` wants `yes` or `no`")
        return word
    if field.kind is FieldKind.GRADE and field.scale is not None:
        place = field.scale.place(literal.text)
        if place is None:
            grades = ", ".join(reversed(field.scale.grades))
            raise _wrong(literal, f"`{field.name}` wants one of {grades}")
        return place
    if not word or (field.vocabulary is not None and word not in field.vocabulary):
        raise _wrong(literal, f"`{field.name}` wants {_expected_words(word, field)}")
    return word


def _expected_words(word: str, field: Field) -> str:
    """Return the words a closed field can hold; of a long list only those near the one found."""
    words = sorted(field.vocabulary or ())
    if len(words) > _WORDS_SHOWN_MAX:
        near = difflib.get_close_matches(word, words, n=3, cutoff=0.4)
        return f"one of its {len(words)} names" + (f", such as {' or '.join(near)}" if near else "")
    return f"one of {', '.join(words)}" if words else _EXPECTED[field.kind]


def _amount(literal: Literal) -> _Amount | None:
    """Return a literal as a number; None if it is a word.

    Raises:
        ScreenError: If it has more digits than any real threshold.
    """
    if literal.kind is not TokenKind.AMOUNT:
        return None
    text = literal.text.lstrip("+-")
    dollars, text = text.startswith("$"), text.removeprefix("$")
    ending = next((end for end in _ENDINGS if text.endswith(end)), "")
    whole, _, fraction = text.removesuffix(ending).partition(".")
    if len(whole) + len(fraction) > DIGITS_MAX:
        raise _wrong(literal, f"a number has at most {DIGITS_MAX} digits")
    sign = -1 if literal.text.startswith("-") else 1
    return _Amount(sign * int(whole + fraction), len(fraction), dollars, ending)


def _wrong(literal: Literal, why: str) -> ScreenError:
    return ScreenError(
        f"`{literal.text}`: {why}",
        code="screen_wrong_value",
        place=literal.place,
        found=literal.text,
        expected=why,
    )
