"""Alpaca's announcements of corporate actions as ours."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any, Final

from broker_adapters.alpaca_fields import UnreadableError, optional_decimal
from robo.core.ids import SecurityId, child_id
from robo.core.money import PPM, round_ratio
from robo.ports.prices import ActionKind, CorporateAction

_OWN_IDS_FROM: Final = 2_000_000_000
_OWN_IDS: Final = 1_000_000_000
Lookup = Callable[[str], SecurityId | None]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where a kind of announcement keeps what we want."""

    kind: ActionKind
    symbol: str = "symbol"
    ex_on: tuple[str, ...] = ("ex_date",)
    pay_on: tuple[str, ...] = ("payable_date", "process_date")
    cash: str = ""
    ratio: tuple[str, str] = ("", "")
    new_symbol: str = ""


_EFFECTIVE: Final = ("effective_date", "process_date")
_RATES: Final = ("new_rate", "old_rate")
_SHAPES: Final = {
    "cash_dividends": _Shape(ActionKind.CASH_DIVIDEND, cash="rate"),
    "forward_splits": _Shape(ActionKind.SPLIT, ratio=_RATES),
    "reverse_splits": _Shape(ActionKind.SPLIT, ratio=_RATES),
    "stock_dividends": _Shape(ActionKind.SPLIT, ratio=("rate", "")),
    "unit_splits": _Shape(
        ActionKind.STOCK_MERGER, "old_symbol", _EFFECTIVE, ratio=_RATES, new_symbol="new_symbol"
    ),
    "spin_offs": _Shape(
        ActionKind.SPIN_OFF,
        "source_symbol",
        ratio=("new_rate", "source_rate"),
        new_symbol="new_symbol",
    ),
    "cash_mergers": _Shape(ActionKind.CASH_MERGER, "acquiree_symbol", _EFFECTIVE, cash="rate"),
    "stock_mergers": _Shape(
        ActionKind.STOCK_MERGER,
        "acquiree_symbol",
        _EFFECTIVE,
        ratio=("acquirer_rate", "acquiree_rate"),
        new_symbol="acquirer_symbol",
    ),
    "stock_and_cash_mergers": _Shape(
        ActionKind.STOCK_MERGER,
        "acquiree_symbol",
        _EFFECTIVE,
        cash="cash_rate",
        ratio=("acquirer_rate", "acquiree_rate"),
        new_symbol="acquirer_symbol",
    ),
    "redemptions": _Shape(ActionKind.CASH_MERGER, ex_on=("process_date",), cash="rate"),
    "name_changes": _Shape(
        ActionKind.SYMBOL_CHANGE, "old_symbol", ("process_date",), new_symbol="new_symbol"
    ),
    "worthless_removals": _Shape(ActionKind.DELISTING, ex_on=("process_date",)),
}
"""Rights and partial calls are not ours to act on; a group that is new is passed over."""


def parse_action(group: str, body: Any, lookup: Lookup) -> CorporateAction | None:
    """Return an announcement as ours; None if it is of no kind, or no security, of ours.

    Args:
        group: Alpaca's name for the kind.
        body: The announcement.
        lookup: Returns the security of a symbol.

    Raises:
        UnreadableError: If it concerns us and its day, its rate or its ratio cannot be read.
    """
    shape = _SHAPES.get(group)
    if shape is None or not isinstance(body, Mapping):
        return None
    security_id = lookup(str(body.get(shape.symbol) or ""))
    if security_id is None:
        return None
    ex_on = _day(body, shape.ex_on)
    ratio = _ratio(body, shape, group)
    cash = Fraction(optional_decimal(body, shape.cash) or 0) if shape.cash else Fraction(0)
    new_symbol = str(body.get(shape.new_symbol) or "") or None if shape.new_symbol else None
    new_id = None
    if new_symbol and shape.kind is not ActionKind.SYMBOL_CHANGE:
        new_id = lookup(new_symbol) or own_id(str(body.get("new_cusip") or new_symbol))
    return CorporateAction(
        id=str(body.get("id") or child_id("act", group, security_id, ex_on.isoformat())),
        kind=shape.kind,
        security_id=security_id,
        ex_on=ex_on,
        pay_on=_day(body, (*shape.pay_on, *shape.ex_on)),
        cash_micros=round_ratio((cash * PPM).numerator, (cash * PPM).denominator),
        ratio_num=ratio.numerator,
        ratio_den=ratio.denominator,
        new_security_id=new_id,
        new_symbol=new_symbol,
    )


def own_id(word: str) -> SecurityId:
    """Return the permanent id that we give to a company we had not listed.

    Made of its CUSIP, or its symbol, so that every process gives the same; far above the ids of
    the committed list.
    """
    digest = hashlib.sha256(word.encode()).digest()
    return SecurityId(_OWN_IDS_FROM + int.from_bytes(digest[:8], "big") % _OWN_IDS)


def _ratio(body: Mapping[str, Any], shape: _Shape, group: str) -> Fraction:
    new, old = shape.ratio
    if not new:
        return Fraction(1)
    top = Fraction(optional_decimal(body, new) or 0)
    if group == "stock_dividends":
        return 1 + top
    bottom = Fraction(optional_decimal(body, old) or 0)
    if top <= 0 or bottom <= 0:
        message = "an announcement has no ratio"
        raise UnreadableError(message)
    return top / bottom


def _day(body: Mapping[str, Any], names: tuple[str, ...]) -> date:
    for name in names:
        text = body.get(name)
        if isinstance(text, str) and text:
            try:
                return date.fromisoformat(text[:10])
            except ValueError:
                break
    message = "an announcement has no day"
    raise UnreadableError(message)
