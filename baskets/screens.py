"""The filter language: exclude, require and tilt over a security, with the reason for every reject.

A comparison with a band has three outcomes, not two: it holds, it does not, or it depends on where
in the band the truth lies. In **strict** mode (the default) "it depends" rejects, in an exclude as
in a require; in **lenient** mode the centre decides. A field that is not known follows the
comparison's policy: exclude (default), allow, or ask. See `docs/screens.md`.
"""

import operator
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from baskets.errors import ScreenError
from baskets.facts import Facts
from baskets.screen_fields import SCORE_PREFIX, Field, closest, fields_of
from baskets.screen_literals import thresholds, tilt_ppm
from baskets.screen_parser import (
    Action,
    Comparison,
    Expression,
    Joined,
    Mode,
    Not,
    Statement,
    UnknownPolicy,
    comparisons_of,
    parse,
)
from baskets.securities import Security
from baskets.values import SCORE_MILLI, WHOLE_PPM, Band, FieldKind, Value, dollars, percent

_ORDERS: Final = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_ABOUT_KNOWING: Final = frozenset({"known", "unknown"})
_AMONG: Final = frozenset({"in", "not in", "=", "!="})


class Truth(StrEnum):
    """The outcome of a test."""

    FALSE = "false"
    TRUE = "true"
    DEPENDS = "depends"
    """On where in its band the truth lies, or on something that is not known."""
    ASK = "ask"


class Outcome(StrEnum):
    """What a screen decides about a security."""

    PASS = "pass"  # noqa: S105  the word of the trade, not a password
    REJECT = "reject"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one comparison saw."""

    comparison: str
    field: str
    shown: str
    """The value as a customer reads it, or `not known`."""
    truth: Truth
    source: str = ""
    basis: str = ""
    quality: int | None = None
    note: str = ""

    def sentence(self) -> str:
        """Return the evidence in one clause."""
        detail = f", {self.basis}, quality {self.quality}" if self.basis else ""
        note = f": {self.note}" if self.note else ""
        origin = f" ({self.source}{detail}{note})" if self.source else ""
        return f"{self.field} is {self.shown}{origin}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a statement rejects, or asks about, a security; `code` is stable."""

    code: str
    statement: str
    line: int
    evidence: tuple[Evidence, ...]

    def sentence(self) -> str:
        """Return the reason in one sentence."""
        seen = "; ".join(piece.sentence() for piece in self.evidence)
        return f"`{self.statement}` - {seen}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a screen says about one security."""

    security: Security
    outcome: Outcome
    findings: tuple[Finding, ...]
    """Why it is rejected or asked about; empty if it passes."""
    allowed_unknown: tuple[str, ...]
    """Fields that are not known and were let through because the screen says so."""
    tilt_ppm: int
    """Multiplier of the weight; 1_000_000 leaves it as it is."""


@dataclass(frozen=True, slots=True)
class _Test:
    """A comparison bound to its field."""

    comparison: Comparison
    field: Field
    thresholds: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class _Opposite:
    """The opposite of what is bound."""

    inner: "_Bound"


@dataclass(frozen=True, slots=True)
class _Several:
    """What is bound and joined by one word."""

    decisive: Truth
    """The outcome of a part that settles all of it."""
    parts: tuple["_Bound", ...]


_Bound = _Test | _Opposite | _Several
"""An expression whose comparisons know their fields: nothing is looked up for each security."""

_Seen = tuple[_Test, Value | None, Truth, bool]
"""A test, what it saw, its outcome, and whether an even number of `not`s stands above it."""


@dataclass(slots=True)
class _Walk:
    """What is collected while one statement is evaluated for one security."""

    security: Security
    action: Action
    allowed: list[str]
    seen: list[_Seen]


@dataclass(frozen=True)
class Screen:
    """A screen whose fields exist, have data, and suit their thresholds."""

    text: str
    statements: tuple[Statement, ...]
    _bound: tuple[_Bound, ...]
    """What each statement tests."""

    @property
    def fields(self) -> frozenset[str]:
        """Return the names of the fields that it reads."""
        comparisons = [one for said in self.statements for one in comparisons_of(said.expression)]
        return frozenset(comparison.field for comparison in comparisons)

    def judge(self, security: Security) -> Verdict:
        """Return what every statement says about a security."""
        findings: list[Finding] = []
        allowed: list[str] = []
        tilt = WHOLE_PPM
        for statement, bound in zip(self.statements, self._bound, strict=True):
            walk = _Walk(security, statement.action, allowed, [])
            truth = _truth(bound, walk, positive=True)
            if statement.tilt is None:
                finding = _finding(statement, truth, walk.seen)
                findings += [] if finding is None else [finding]
            elif truth is Truth.TRUE:
                tilt = tilt * (WHOLE_PPM + tilt_ppm(statement.tilt)) // WHOLE_PPM
        outcome = Outcome.PASS
        if findings:
            asking = all(finding.code == "needs_answer" for finding in findings)
            outcome = Outcome.ASK if asking else Outcome.REJECT
        return Verdict(security, outcome, tuple(findings), tuple(dict.fromkeys(allowed)), tilt)


def _truth(bound: _Bound, walk: _Walk, *, positive: bool) -> Truth:
    """Return an expression's outcome; `positive` is False below an odd number of `not`s."""
    if isinstance(bound, _Test):
        value = bound.field.read(walk.security)
        if value is None and bound.comparison.test not in _ABOUT_KNOWING:
            policy = bound.comparison.unknown
            truth = _unknown(policy, walk.action, positive=positive)
            if policy is UnknownPolicy.ALLOW:
                walk.allowed.append(bound.field.name)
        else:
            truth = _outcome(bound, value)
        walk.seen.append((bound, value, truth, positive))
        return truth
    if isinstance(bound, _Opposite):
        inner = _truth(bound.inner, walk, positive=not positive)
        if inner is Truth.TRUE:
            return Truth.FALSE
        return Truth.TRUE if inner is Truth.FALSE else inner
    parts = [_truth(part, walk, positive=positive) for part in bound.parts]
    for outcome in (bound.decisive, Truth.DEPENDS, Truth.ASK):
        if outcome in parts:
            return outcome
    return parts[0]


def screen_of(text: str, facts: Facts) -> Screen:
    """Return a screen ready to judge securities.

    Raises:
        ScreenError: With line, column and a stable code: `screen_syntax`, `screen_too_long`,
            `screen_unknown_field`, `screen_field_without_data`, `screen_wrong_value`.
    """
    statements = parse(text)
    fields = fields_of(facts)
    return Screen(text, statements, tuple(_bound(statement, fields) for statement in statements))


def exclusions_of(text: str, facts: Facts) -> Screen:
    """Return only what a screen excludes, ready to judge securities.

    What it requires says who is picked, not what somebody will not own. A statement that asks for
    figures which nobody delivers says nothing; the others hold.

    Raises:
        ScreenError: If the text does not fit the grammar.
    """
    fields = fields_of(facts)
    known: dict[Statement, _Bound] = {}
    for statement in parse(text):
        if statement.action is Action.EXCLUDE:
            with suppress(ScreenError):
                known[statement] = _bound(statement, fields)
    return Screen(text, tuple(known), tuple(known.values()))


def _bound(statement: Statement, fields: Mapping[str, Field]) -> _Bound:
    """Return a statement's expression with the fields that it names.

    Raises:
        ScreenError: If a field does not exist, has no data, or does not suit its threshold.
    """
    if statement.tilt is not None:
        tilt_ppm(statement.tilt)
    return _bind(statement.expression, fields)


def _bind(expression: Expression, fields: Mapping[str, Field]) -> _Bound:
    if isinstance(expression, Not):
        return _Opposite(_bind(expression.inner, fields))
    if isinstance(expression, Joined):
        decisive = Truth.FALSE if expression.word == "and" else Truth.TRUE
        return _Several(decisive, tuple(_bind(part, fields) for part in expression.parts))
    found = _field(expression, fields)
    return _Test(expression, found, thresholds(expression, found))


def _field(comparison: Comparison, fields: Mapping[str, Field]) -> Field:
    """Return the field a comparison names.

    Raises:
        ScreenError: If there is none, or it has no data: absent data must never read as passed.
    """
    name = comparison.field
    field = fields.get(name)
    if field is None:
        imported = name.startswith(SCORE_PREFIX)
        raise ScreenError(
            f"no rows for `{name}` have been imported"
            if imported
            else f"there is no field `{name}`{closest(name, fields)}",
            code="screen_field_without_data" if imported else "screen_unknown_field",
            place=comparison.place,
            found=name,
            expected="a field",
        )
    if field.missing:
        raise ScreenError(
            field.missing, code="screen_field_without_data", place=comparison.place, found=name
        )
    return field


def _unknown(policy: UnknownPolicy, action: Action, *, positive: bool) -> Truth:
    """Return the outcome of a test of something not known.

    "Allow" means whatever lets the name pass: not excluded, not failing a requirement, not tilted.
    """
    if policy is UnknownPolicy.EXCLUDE:
        return Truth.DEPENDS
    if policy is UnknownPolicy.ASK:
        return Truth.ASK
    passes = action is Action.REQUIRE
    return Truth.TRUE if passes is positive else Truth.FALSE


def _outcome(test: _Test, value: Value | None) -> Truth:
    """Return the outcome of a test of a known value."""
    sign = test.comparison.test
    if sign in _ABOUT_KNOWING:
        return _truth_of((value is not None) is (sign == "known"))
    if value is None:
        return Truth.DEPENDS
    if isinstance(value, Band):
        return _band_outcome(sign, value, test.thresholds, test.comparison.mode)
    known: int | str | None = value.text.lower()
    if test.field.kind is FieldKind.GRADE and test.field.scale is not None:
        known = test.field.scale.place(value.text)
    if sign in _AMONG:
        return _truth_of((known in test.thresholds) is (sign in {"in", "="}))
    assert isinstance(known, int)
    return _band_outcome(sign, Band.exactly(known, value.origin), test.thresholds, Mode.STRICT)


def _band_outcome(sign: str, band: Band, limits: tuple[int | str, ...], mode: Mode) -> Truth:
    """Return whether a band compares so, in all of it, in none of it, or in part."""
    low, high = (band.central, band.central) if mode is Mode.LENIENT else (band.low, band.high)
    if sign in _AMONG:
        inside = [limit for limit in limits if isinstance(limit, int) and low <= limit <= high]
        if inside and low < high:
            return Truth.DEPENDS
        return _truth_of(bool(inside) is (sign in {"in", "="}))
    limit = limits[0]
    assert isinstance(limit, int)
    compare = _ORDERS[sign]
    if not compare(low, limit):
        return Truth.DEPENDS if compare(high, limit) else Truth.FALSE
    return Truth.TRUE if compare(high, limit) else Truth.DEPENDS


def _truth_of(holds: bool) -> Truth:  # noqa: FBT001  a conversion of exactly this
    return Truth.TRUE if holds else Truth.FALSE


def _evidence(test: _Test, value: Value | None, truth: Truth) -> Evidence:
    text = test.comparison.text
    if value is None:
        return Evidence(text, test.field.name, "not known", truth)
    origin = value.origin
    return Evidence(
        text,
        test.field.name,
        shown(test.field.kind, value),
        truth,
        origin.source,
        origin.basis,
        origin.quality,
        origin.note,
    )


def shown(kind: FieldKind, value: Value) -> str:
    """Return a value as a customer reads it."""
    if not isinstance(value, Band):
        return value.text
    ends = [_shown_number(kind, number) for number in (value.low, value.high)]
    if value.low == value.high:
        return ends[0]
    return f"{ends[0]} to {ends[1]} (most likely {_shown_number(kind, value.central)})"


def _shown_number(kind: FieldKind, number: int) -> str:
    if kind is FieldKind.SHARE:
        return percent(number)
    if kind is FieldKind.MONEY:
        return dollars(number)
    return f"{number / SCORE_MILLI:g}" if kind is FieldKind.SCORE else str(number)


def _finding(statement: Statement, truth: Truth, seen: list[_Seen]) -> Finding | None:
    """Return why a statement does not let a security pass, or None if it does."""
    passing = Truth.TRUE if statement.action is Action.REQUIRE else Truth.FALSE
    if truth is passing:
        return None
    harmless = {True: passing, False: Truth.FALSE if passing is Truth.TRUE else Truth.TRUE}
    telling = tuple(
        _evidence(test, value, outcome)
        for test, value, outcome, positive in seen
        if outcome is not harmless[positive]
    )
    code = _code(statement.action, truth, telling)
    return Finding(code, statement.text, statement.place.line, telling)


def _code(action: Action, truth: Truth, telling: tuple[Evidence, ...]) -> str:
    if truth is Truth.ASK:
        return "needs_answer"
    doing = "excluded" if action is Action.EXCLUDE else "required"
    if truth is not Truth.DEPENDS:
        return "excluded" if doing == "excluded" else "required_not_met"
    unknown = all(not piece.source for piece in telling if piece.truth is Truth.DEPENDS)
    return f"{doing}_{'unknown' if unknown else 'uncertain'}"
