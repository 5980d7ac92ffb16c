"""The level of an index: carried through every corporate action by its divisor, exactly.

Notation: a line i has `S_i` index shares (nanoshares) at the close `p_i` (micro-dollars); the
index's value is V = sum(S_i p_i), an integer in 1e-15 dollars as long as prices are the market's;
`D` is the divisor and the level V / D, published in billionths of a point.

A session's close **publishes** the level as a whole number of billionths. What happens between
that close and the next opening (actions, reviews) is applied to the closes, which gives V'; the
divisor becomes D' = V' / level. The level before and after is therefore the same number, not
nearly the same; and because D' starts from the published integer, fractions never grow long.

Two levels are carried: price return, and total return, which adds the ordinary dividends of the
session to the value of its close and reinvests them there in the whole index, without tax:
(V + dividends) / D, and then D' = V / level.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction

from baskets.errors import BuildError
from baskets.index import Index
from baskets.index_weights import shares_ppm

POINT_NANOS = 1_000_000_000
_NANOS_MICROS_PER_CENT = 1_000_000_000 * 10_000
"""A nanoshare at a micro-dollar is this part of a cent."""


class ActionKind(StrEnum):
    """What can happen to a member between two sessions."""

    CASH_DIVIDEND = "cash_dividend"
    """Ordinary: only the total return level takes it up."""
    SPECIAL_DIVIDEND = "special_dividend"
    """Both divisors take it up."""
    SPLIT = "split"
    """Also a reverse split and a stock dividend."""
    SPIN_OFF = "spin_off"
    """The new name joins with the parent's shares, at price zero until it trades."""
    CASH_MERGER = "cash_merger"
    """Leaves at its last close."""
    STOCK_MERGER = "stock_merger"
    """Leaves; an acquirer that is a member issues the new shares."""
    DELISTING = "delisting"
    """Leaves at its last close; a last value after it is handed in as that session's price."""
    SYMBOL_CHANGE = "symbol_change"
    """Nothing, or where the line has a new permanent id, the same shares under the new one."""
    SHARE_CHANGE = "share_change"
    """A buy-back or issue: index shares times the ratio."""


@dataclass(frozen=True, slots=True)
class IndexAction:
    """One corporate action; the same words and units as the price sources use."""

    kind: ActionKind
    security_id: int
    cash_micros: int = 0
    """Dollars per share in 1e-6: a dividend's amount."""
    ratio_num: int = 1
    """New shares ..."""
    ratio_den: int = 1
    """... per old shares."""
    new_security_id: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no action can have."""
        if self.ratio_num <= 0 or self.ratio_den <= 0 or self.cash_micros < 0:
            message = f"{self.kind} of {self.security_id}: its ratio or cash cannot be"
            raise BuildError(message, code="action_malformed")

    @property
    def ratio(self) -> Fraction:
        """Return new shares per old share."""
        return Fraction(self.ratio_num, self.ratio_den)


@dataclass(frozen=True, slots=True)
class Line:
    """A member's index shares and last close."""

    shares_nanos: int
    price_micros: Fraction
    """Whole, unless an action adjusted it: a close of $10 after a split of 3 for 1."""

    @property
    def value(self) -> Fraction:
        """Return what the line is worth, in 1e-15 dollars."""
        return self.shares_nanos * self.price_micros


Lines = Mapping[int, Line]


@dataclass(frozen=True)
class IndexState:
    """An index after a session's close and what was applied since."""

    index_id: str
    on: date
    lines: Lines
    """By permanent id, in order."""
    level_nanos: int
    """Price return, billionths of a point, published at the close of `on`."""
    total_nanos: int
    """Total return."""
    divisor: Fraction
    total_divisor: Fraction
    """Differs from `divisor` by all dividends reinvested so far."""
    ordinary: Fraction = Fraction(0)
    """Ordinary dividends, in 1e-15 dollars, gone ex since the close of `on`."""
    stale: tuple[int, ...] = ()
    """Members without a price on `on`: halted, or not yet trading. Their last close stands."""

    @property
    def value(self) -> Fraction:
        """Return what all lines are worth, in 1e-15 dollars."""
        return _value(self.lines)

    @property
    def weights_ppm(self) -> dict[int, int]:
        """Return permanent id -> weight at the closes; sums to 1_000_000."""
        parts = shares_ppm([line.value for line in self.lines.values()])
        return dict(zip(self.lines, parts, strict=True))


def started(
    index: Index,
    closes: Mapping[int, int],
    points: int,
    sized_at: Mapping[int, int] | None = None,
) -> IndexState:
    """Return an index at its founding: both levels are `points`.

    Args:
        index: Its members.
        closes: Permanent id -> close in micro-dollars on the index's effective date.
        points: The base level.
        sized_at: As for `reconstituted`.

    Raises:
        BuildError: If a member has no price above zero (code `price_missing`).
    """
    lines = _bought(index, closes, sized_at or closes)
    level = points * POINT_NANOS
    divisor = _value(lines) / level
    return IndexState(index.id, index.effective_on, lines, level, level, divisor, divisor)


def closed(state: IndexState, on: date, closes: Mapping[int, int]) -> IndexState:
    """Return the index after a session: new closes, both levels published.

    Args:
        state: The index with everything applied that goes ex on this session.
        on: The session, after the state's.
        closes: Permanent id -> close in micro-dollars; a member that is not there keeps its last.

    Raises:
        BuildError: If the session is not later (code `session_order`), a price is negative or not
            whole (code `price_malformed`), or the level rounds to zero (code `index_worthless`).
    """
    if on <= state.on:
        message = f"{state.index_id}: {on} is not after {state.on}"
        raise BuildError(message, code="session_order")
    lines = {
        number: Line(line.shares_nanos, Fraction(_price(closes[number], number)))
        if number in closes
        else line
        for number, line in state.lines.items()
    }
    value = _value(lines)
    level = round(value / state.divisor)
    total = round((value + state.ordinary) / state.total_divisor)
    if not level or not total:
        message = f"{state.index_id}: nothing is worth anything on {on}"
        raise BuildError(message, code="index_worthless")
    return replace(
        state,
        on=on,
        lines=lines,
        level_nanos=level,
        total_nanos=total,
        total_divisor=value / total if state.ordinary else state.total_divisor,
        ordinary=Fraction(0),
        stale=tuple(number for number in lines if number not in closes),
    )


def applied(state: IndexState, actions: Iterable[IndexAction]) -> IndexState:
    """Return the index after what goes ex before the next session; neither level moves.

    Actions are applied in the order given, each in shares and dollars as they are by then; those
    of names that are no members change nothing.

    Raises:
        BuildError: If dividends are more than the price (code `dividend_exceeds_price`), a
            spin-off names no new security (code `action_malformed`), or nobody is left
            (code `index_empty`).
    """
    lines = dict(state.lines)
    ordinary = state.ordinary
    for action in actions:
        line = lines.get(action.security_id)
        if line is None:
            continue
        if action.kind is ActionKind.CASH_DIVIDEND:
            _less(line, action)
            ordinary += line.shares_nanos * action.cash_micros
        else:
            _APPLIED[action.kind](lines, line, action)
    return _carried(state, lines, ordinary)


def reconstituted(
    state: IndexState,
    index: Index,
    closes: Mapping[int, int],
    sized_at: Mapping[int, int] | None = None,
) -> IndexState:
    """Return the index with the members and weights of a review, at the same levels.

    Args:
        state: The index after the close of the review's effective date.
        index: The membership after the review.
        closes: Permanent id -> that session's close; for the members that `state` does not hold.
        sized_at: Permanent id -> close of the reference date, adjusted for splits since. A size
            over the price it was measured at is a number of shares, so that weights have moved
            with prices by the effective date and who stays is not traded. None: the sizes are
            those of the effective date.

    Raises:
        BuildError: If the dates differ or dividends of the next session were applied before
            (code `session_order`), or a member has no price above zero (code `price_missing`).
    """
    if index.effective_on != state.on or state.ordinary:
        message = f"{index.id} changes at the close of {index.effective_on}, before what follows"
        raise BuildError(message, code="session_order")
    held = {number: line.price_micros for number, line in state.lines.items()}
    prices: dict[int, int | Fraction] = {**closes, **held}
    return _carried(state, _bought(index, prices, sized_at or prices), Fraction(0))


def _carried(state: IndexState, lines: dict[int, Line], ordinary: Fraction) -> IndexState:
    """Return the state with other lines and the divisors that leave both levels where they are."""
    value = _value(lines)
    if not value:
        message = f"{state.index_id}: nobody is left"
        raise BuildError(message, code="index_empty")
    # Published levels, not V / D: the rounding of the close is settled here once and for all.
    return replace(
        state,
        lines={number: lines[number] for number in sorted(lines)},
        divisor=value / state.level_nanos,
        total_divisor=value / state.total_nanos,
        ordinary=ordinary,
    )


def _bought(
    index: Index, closes: Mapping[int, int | Fraction], sized_at: Mapping[int, int | Fraction]
) -> dict[int, Line]:
    """Return the index shares that each member's counting size was when it was measured."""
    lines: dict[int, Line] = {}
    for row in sorted(index.members, key=lambda row: row.security_id):
        price, then = (prices.get(row.security_id, 0) for prices in (closes, sized_at))
        if price <= 0 or then <= 0:
            message = f"{index.id}: {row.symbol} has no price on {index.effective_on} or before"
            raise BuildError(message, code="price_missing")
        shares = int(row.index_cents * _NANOS_MICROS_PER_CENT / Fraction(then))
        lines[row.security_id] = Line(shares, Fraction(price))
    return lines


def _value(lines: Lines) -> Fraction:
    return sum((line.value for line in lines.values()), Fraction(0))


def _price(price: int, number: int) -> int:
    if type(price) is not int or price < 0:
        message = f"{number}: {price!r} is no price in micro-dollars"
        raise BuildError(message, code="price_malformed")
    return price


def _less(line: Line, action: IndexAction) -> Fraction:
    """Return the close without a dividend."""
    if action.cash_micros >= line.price_micros:
        message = f"{action.security_id}: {action.kind} of {action.cash_micros} exceeds its price"
        raise BuildError(message, code="dividend_exceeds_price")
    return line.price_micros - action.cash_micros


def _special(lines: dict[int, Line], line: Line, action: IndexAction) -> None:
    lines[action.security_id] = replace(line, price_micros=_less(line, action))


def _split(lines: dict[int, Line], line: Line, action: IndexAction) -> None:
    shares = int(line.shares_nanos * action.ratio)
    lines[action.security_id] = Line(shares, line.price_micros / action.ratio)


def _spin_off(lines: dict[int, Line], line: Line, action: IndexAction) -> None:
    child = action.new_security_id
    if child is None or child == action.security_id:
        message = f"the spin-off of {action.security_id} names no new security"
        raise BuildError(message, code="action_malformed")
    there = lines.get(child, Line(0, Fraction(0)))
    new = int(line.shares_nanos * action.ratio)
    lines[child] = Line(there.shares_nanos + new, there.price_micros)


def _leaves(lines: dict[int, Line], _line: Line, action: IndexAction) -> None:
    del lines[action.security_id]


def _taken_over(lines: dict[int, Line], line: Line, action: IndexAction) -> None:
    del lines[action.security_id]
    acquirer = lines.get(action.new_security_id or 0)
    if acquirer is not None and action.new_security_id is not None:
        issued = int(line.shares_nanos * action.ratio)
        lines[action.new_security_id] = replace(
            acquirer, shares_nanos=acquirer.shares_nanos + issued
        )


def _renamed(lines: dict[int, Line], line: Line, action: IndexAction) -> None:
    number = action.new_security_id
    if number is None or number == action.security_id:
        return
    if number in lines:
        message = f"{action.security_id} cannot be renamed {number}, which is a member already"
        raise BuildError(message, code="action_malformed")
    del lines[action.security_id]
    lines[number] = line


def _reshared(lines: dict[int, Line], line: Line, action: IndexAction) -> None:
    lines[action.security_id] = replace(line, shares_nanos=int(line.shares_nanos * action.ratio))


_APPLIED: Mapping[ActionKind, Callable[[dict[int, Line], Line, IndexAction], None]] = {
    ActionKind.SPECIAL_DIVIDEND: _special,
    ActionKind.SPLIT: _split,
    ActionKind.SPIN_OFF: _spin_off,
    ActionKind.CASH_MERGER: _leaves,
    ActionKind.STOCK_MERGER: _taken_over,
    ActionKind.DELISTING: _leaves,
    ActionKind.SYMBOL_CHANGE: _renamed,
    ActionKind.SHARE_CHANGE: _reshared,
}
