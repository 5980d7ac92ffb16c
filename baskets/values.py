"""What a field of a security can hold: a number with its uncertainty, a word, or nothing known.

Numbers are integers in the unit of their field: shares of revenue, yields and volatilities in
parts per million, money in cents, scores in thousandths.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

WHOLE_PPM = 1_000_000
PERCENT_PPM = 10_000
SCORE_MILLI = 1_000
RULE_SOURCE = "RULE"
"""Source of everything our own published rules say; no vendor's opinion."""

QUALITIES = range(1, 6)
"""1 reported by the company ... 5 a guess from its group."""


class FieldKind(StrEnum):
    """What a field's values are and which literals may stand beside it."""

    SHARE = "share"
    MONEY = "money"
    COUNT = "count"
    SCORE = "score"
    FLAG = "flag"
    WORD = "word"
    GRADE = "grade"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from and how good it is."""

    source: str
    basis: str
    quality: int
    note: str = ""
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """A number that lies between `low` and `high`, most likely at `central`."""

    low: int
    central: int
    high: int
    origin: Origin

    def __post_init__(self) -> None:
        """Refuse a band whose ends are the wrong way round."""
        if not self.low <= self.central <= self.high:
            message = f"band {self.low}..{self.central}..{self.high} is not in order"
            raise ValueError(message)

    @classmethod
    def exactly(cls, number: int, origin: Origin) -> "Band":
        """Return a number without uncertainty."""
        return cls(number, number, number, origin)


@dataclass(frozen=True, slots=True)
class Word:
    """A name, a code or a label."""

    text: str
    origin: Origin


Value = Band | Word
"""What is known. A field that is not known is None: the third state, never zero."""


class Scale:
    """An ordered list of grades, worst first; a grade's number is its place."""

    def __init__(self, name: str, *worst_first: str) -> None:
        """Name the scale and order its grades."""
        self.name = name
        self.grades = worst_first
        self._places = {grade.upper(): place for place, grade in enumerate(worst_first)}

    def place(self, grade: str) -> int | None:
        """Return a grade's place, 0 for the worst; None if it is not of this scale."""
        return self._places.get(grade.strip().upper())


_CREDIT = "D C CC CCC- CCC CCC+ B- B B+ BB- BB BB+ BBB- BBB BBB+ A- A A+ AA- AA AA+ AAA"
_LETTERS = "D- D D+ C- C C+ B- B B+ A- A A+"

SCALES = {
    scale.name: scale
    for scale in (
        Scale("credit", *_CREDIT.split()),
        Scale("aaa_ccc", "CCC", "B", "BB", "BBB", "A", "AA", "AAA"),
        Scale("a_d", *_LETTERS.split()),
        Scale("risk_category", "Severe", "High", "Medium", "Low", "Negligible"),
        Scale("conduct", "Fail", "Watch List", "Pass"),
        Scale("light", "Red", "Orange", "Yellow", "Green"),
    )
}
"""Scales of grades by name, each worst first, so that `>=` always means "at least as good"."""


def percent(ppm: int) -> str:
    """Return parts per million as a percentage a customer can read: 50000 -> `5 %`."""
    whole, rest = divmod(abs(ppm), PERCENT_PPM)
    fraction = f".{rest:04d}".rstrip("0") if rest else ""
    return f"{'-' if ppm < 0 else ''}{whole}{fraction} %"


def dollars(cents: int) -> str:
    """Return cents in words of size: 123400000000 -> `$1.23bn`."""
    amount = abs(cents) // 100
    sign = "-" if cents < 0 else ""
    for limit, ending in ((10**12, "tn"), (10**9, "bn"), (10**6, "m")):
        if amount >= limit:
            return f"{sign}${amount * 100 // limit / 100:g}{ending}"
    return f"{sign}${amount:,}"
