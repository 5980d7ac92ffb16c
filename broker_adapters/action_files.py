"""Corporate actions from a CSV file.

Columns: ex_date, type, symbol, and as the type needs them new_symbol, ratio (new shares for one
old: `2`, `1.5`, `3/2` or `3:2`), cash, currency, pay_date, basis_allocation (0 to 1).
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from broker_adapters.price_files import (
    Problems,
    canonical_symbol,
    parse_day,
    parse_price,
    table_rows,
)
from robo.core.ids import SecurityId
from robo.core.money import PPM
from robo.ports.prices import ActionKind, CorporateAction

_KINDS: Final = {
    "cash_dividend": ActionKind.CASH_DIVIDEND,
    "stock_split": ActionKind.SPLIT,
    "reverse_split": ActionKind.SPLIT,
    "stock_dividend": ActionKind.SPLIT,
    "spin_off": ActionKind.SPIN_OFF,
    "cash_merger": ActionKind.CASH_MERGER,
    "stock_merger": ActionKind.STOCK_MERGER,
    "name_change": ActionKind.SYMBOL_CHANGE,
    "delisting": ActionKind.DELISTING,
}
_NEEDS_CASH: Final = frozenset({ActionKind.CASH_DIVIDEND, ActionKind.CASH_MERGER})
_NEEDS_RATIO: Final = frozenset({ActionKind.SPLIT, ActionKind.SPIN_OFF, ActionKind.STOCK_MERGER})
_RATIO_DENOMINATOR_MAX: Final = 100_000
_RATIO_MAX: Final = 10_000


def read_actions(
    path: Path, symbols: Mapping[str, SecurityId], feed: str
) -> dict[date, list[CorporateAction]]:
    """Return a file's actions by ex-date; those of unknown symbols are left out.

    Raises:
        ConfigError: Listing what is wrong with the file and where.
    """
    problems = Problems(path.name)
    out: dict[date, list[CorporateAction]] = {}
    seen: set[str] = set()
    for place, row in table_rows(path, problems):
        identity = symbols.get(canonical_symbol(str(row.get("symbol", ""))))
        if identity is None:
            continue
        try:
            action = _action(row, identity, symbols, feed)
        except ValueError as error:
            problems.add(place, str(error))
            continue
        if action.id in seen:
            problems.add(place, "the same action occurs twice")
        seen.add(action.id)
        out.setdefault(action.ex_on, []).append(action)
    problems.stop("bad_actions_file")
    return out


def _action(
    row: Mapping[str, Any], identity: SecurityId, symbols: Mapping[str, SecurityId], feed: str
) -> CorporateAction:
    kind = _KINDS.get(_text(row, "type").lower())
    if kind is None:
        message = f"type {_text(row, 'type')[:30]!r} is none of {', '.join(_KINDS)}"
        raise ValueError(message)
    if (_text(row, "currency") or "USD").upper() != "USD":
        message = "the currency is not USD"
        raise ValueError(message)
    ex_on = parse_day(row.get("ex_date", ""))
    cash = parse_price(_text(row, "cash")) or 0
    if kind in _NEEDS_CASH and not cash:
        message = f"a {kind.value} needs cash"
        raise ValueError(message)
    ratio = _ratio(_text(row, "ratio"), needed=kind in _NEEDS_RATIO)
    new_symbol = _text(row, "new_symbol")
    return CorporateAction(
        id=f"{feed}-{kind.value}-{identity}-{ex_on.isoformat()}",
        kind=kind,
        security_id=identity,
        ex_on=ex_on,
        pay_on=parse_day(_text(row, "pay_date")) if _text(row, "pay_date") else ex_on,
        cash_micros=cash,
        ratio_num=ratio.numerator,
        ratio_den=ratio.denominator,
        new_security_id=symbols.get(canonical_symbol(new_symbol)) if new_symbol else None,
        new_symbol=new_symbol or None,
        basis_ppm=_part_ppm(_text(row, "basis_allocation")),
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()


def _ratio(text: str, *, needed: bool) -> Fraction:
    if not text:
        if needed:
            message = "a ratio is missing"
            raise ValueError(message)
        return Fraction(1)
    try:
        value = Fraction(text.replace(":", "/")).limit_denominator(_RATIO_DENOMINATOR_MAX)
    except (ValueError, ZeroDivisionError):
        message = f"{text[:30]!r} is no ratio like 2, 1.5 or 3/2"
        raise ValueError(message) from None
    if not Fraction(1, _RATIO_MAX) <= value <= _RATIO_MAX:
        message = f"{text[:30]!r} is no possible ratio"
        raise ValueError(message)
    return value


def _part_ppm(text: str) -> int:
    if not text:
        return 0
    try:
        part = Decimal(text)
    except InvalidOperation:
        part = Decimal(-1)
    if not 0 <= part <= 1:
        message = "a basis allocation lies between 0 and 1"
        raise ValueError(message)
    return int((part * PPM).to_integral_value())
