"""Daily closes from CSV or Parquet, long or wide, each fault named with its line.

Long files have `date`, `symbol` (or `ticker`) and `close`; wide ones a `date` and one column a
symbol. Numbers may carry no-break spaces and the typographic minus, as vendors' files do.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from robo.core.errors import ConfigError
from robo.core.ids import SecurityId

PROBLEMS_SHOWN: Final = 20
_MICROS: Final = 1_000_000
_PRICE_MICROS_MAX: Final = 10**13
_MISSING: Final = frozenset({"", "nan", "null", "none", "n/a", "na", "-", "."})
_SPACES: Final = dict.fromkeys(map(ord, "\u00a0\u202f\u2009 \t"))
_MINUS: Final = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-"})
_CLASS_MARK: Final = re.compile(r"[-/ ]")
_SYMBOL_NAMES: Final = ("symbol", "ticker")


@dataclass(slots=True)
class Problems:
    """What is wrong with a file; reported all at once."""

    file: str
    found: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, place: str, what: str) -> None:
        """Note a problem at a place such as `line 12`."""
        self.count += 1
        if len(self.found) < PROBLEMS_SHOWN:
            self.found.append(f"{self.file}, {place}: {what}")

    def stop(self, code: str) -> None:
        """Raise if there is any problem.

        Raises:
            ConfigError: Listing the first problems and how many there are.
        """
        if self.count:
            more = self.count - len(self.found)
            tail = f"; and {more} more" if more else ""
            raise ConfigError("; ".join(self.found) + tail, code=code)


@dataclass(slots=True)
class PriceTable:
    """Closes by (session, security) in micro-dollars, and where each came from."""

    closes: dict[date, dict[SecurityId, int]] = field(default_factory=dict)
    unknown_symbols: set[str] = field(default_factory=set)
    """Symbols in the file that the universe does not have."""
    rows_before_calendar: int = 0


def canonical_symbol(symbol: str) -> str:
    """Return a symbol with its class after a dot: BRK-B, BRK/B and brk.b are all BRK.B."""
    return _CLASS_MARK.sub(".", symbol.strip().upper())


def parse_price(text: str) -> int | None:
    """Return micro-dollars of a vendor's number, None where it says that there is none.

    Raises:
        ValueError: If it is no number, not positive, or beyond ten million dollars.
    """
    plain = text.translate(_SPACES).translate(_MINUS)
    if plain.lower() in _MISSING:
        return None
    try:
        value = Decimal(plain)
    except InvalidOperation:
        message = f"{text[:40]!r} is no number"
        raise ValueError(message) from None
    if not value.is_finite() or value <= 0 or value * _MICROS > _PRICE_MICROS_MAX:
        message = f"{text[:40]!r} is no possible price"
        raise ValueError(message)
    return max(1, int((value * _MICROS).to_integral_value()))


def _price(value: Any) -> int | None:
    """Return micro-dollars of a cell; Parquet's floats take the short way, to the micro-dollar."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if 0.0 < value * _MICROS <= _PRICE_MICROS_MAX:
            return max(1, round(value * _MICROS))
    return parse_price("" if value is None else str(value))


def parse_day(value: Any) -> date:
    """Return a date from ISO text or a date value.

    Raises:
        ValueError: If it is none, or carries a time of day (intraday rows are no closes).
    """
    if isinstance(value, datetime):
        if (value.hour, value.minute, value.second) != (0, 0, 0):
            message = f"{value} has a time of day; closes have a date only"
            raise ValueError(message)
        return value.date()
    if isinstance(value, date):
        return value
    text = str(value).strip()
    for ending in ("T00:00:00", " 00:00:00"):
        text = text.removesuffix(ending)
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"{text[:40]!r} is no date like 2026-03-02"
        raise ValueError(message) from None


def read_prices(
    path: Path, symbols: Mapping[str, SecurityId], sessions: Sequence[date]
) -> PriceTable:
    """Return a file's closes.

    Args:
        path: `.csv` or `.parquet`.
        symbols: Canonical symbol -> id.
        sessions: The calendar's sessions; older rows are counted and left out.

    Raises:
        ConfigError: Listing what is wrong with the file and where.
    """
    problems = Problems(path.name)
    reader = _Reader(symbols, sessions, problems)
    for place, row in table_rows(path, problems):
        reader.take(place, row)
    problems.stop("bad_price_file")
    return reader.table


def table_rows(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row by lower-case column name, symbols keep their case) of a table.

    Raises:
        ConfigError: If the file cannot be read or is no table.
    """
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet_rows(path)
        else:
            yield from _csv_rows(path, problems)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.add("start", f"cannot be read ({type(error).__name__})")
        problems.stop("bad_price_file")


def _csv_rows(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = [_column_name(name) for name in next(reader, [])]
        if not {"date", "ex_date"} & set(header):
            start = ",".join(header)[:60]
            problems.add("line 1", f"no date column in {start!r}; is this an error page?")
            problems.stop("bad_price_file")
        if len(set(header)) != len(header):
            twice = sorted({name for name in header if header.count(name) > 1})
            problems.add("line 1", f"columns occur twice: {', '.join(twice)}")
            problems.stop("bad_price_file")
        for cells in reader:
            if not cells:
                continue
            place = f"line {reader.line_num}"
            if len(cells) != len(header):
                problems.add(place, f"{len(cells)} cells under {len(header)} columns")
                continue
            yield place, dict(zip(header, cells, strict=True))


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from pyarrow import parquet  # noqa: PLC0415 - half a second that only Parquet users pay

    table = parquet.read_table(path)
    names = [_column_name(name) for name in table.schema.names]
    columns = [column.to_pylist() for column in table.columns]
    for index, values in enumerate(zip(*columns, strict=True)):
        yield f"row {index + 1}", dict(zip(names, values, strict=True))


def _column_name(name: str) -> str:
    plain = name.strip().lstrip("\ufeff")
    return plain.lower() if plain.islower() or plain.lower() in _KNOWN_COLUMNS else plain


_KNOWN_COLUMNS: Final = frozenset(
    {"date", "ex_date", "symbol", "ticker", "close", "open", "high", "low", "volume", "currency"}
)


class _Reader:
    """Takes rows in any order and notes what is wrong with them."""

    def __init__(
        self, symbols: Mapping[str, SecurityId], sessions: Sequence[date], problems: Problems
    ) -> None:
        self.table = PriceTable()
        self._symbols = symbols
        self._sessions = frozenset(sessions)
        self._first, self._last = sessions[0], sessions[-1]
        self._problems = problems
        self._wide: list[tuple[str, SecurityId]] | None = None

    def take(self, place: str, row: Mapping[str, Any]) -> None:
        day = self._session(place, row)
        if day is None:
            return
        currency = str(row.get("currency") or "USD").strip().upper()
        if currency != "USD":
            self._problems.add(place, f"currency {currency[:8]} is not USD")
            return
        symbol_column = next((name for name in _SYMBOL_NAMES if name in row), None)
        if symbol_column is None:
            self._take_wide(place, day, row)
        elif "close" not in row:
            self._problems.add(place, "a long table needs a close column")
        elif (identity := self._identity(str(row[symbol_column]))) is not None:
            self._put(place, day, identity, str(row[symbol_column]), row["close"])

    def _session(self, place: str, row: Mapping[str, Any]) -> date | None:
        try:
            day = parse_day(row.get("date", ""))
        except ValueError as error:
            self._problems.add(place, str(error))
            return None
        if day < self._first:
            self.table.rows_before_calendar += 1
            return None
        if day not in self._sessions:
            what = "is beyond the calendar" if day > self._last else "is no trading session"
            self._problems.add(place, f"{day.isoformat()} {what}")
            return None
        return day

    def _identity(self, symbol: str) -> SecurityId | None:
        identity = self._symbols.get(canonical_symbol(symbol))
        if identity is None:
            self.table.unknown_symbols.add(symbol)
        return identity

    def _take_wide(self, place: str, day: date, row: Mapping[str, Any]) -> None:
        if self._wide is None:
            named = [(name, self._identity(name)) for name in row if name not in _KNOWN_COLUMNS]
            self._wide = [(name, identity) for name, identity in named if identity is not None]
        if day in self.table.closes:
            self._problems.add(place, f"session {day.isoformat()} occurs twice")
            return
        self.table.closes[day] = {}
        for name, identity in self._wide:
            self._put(place, day, identity, name, row[name])

    def _put(self, place: str, day: date, identity: SecurityId, symbol: str, value: Any) -> None:
        try:
            price = _price(value)
        except ValueError as error:
            self._problems.add(place, f"{symbol}: {error}")
            return
        session = self.table.closes.setdefault(day, {})
        if identity in session:
            self._problems.add(place, f"{symbol} occurs twice on {day.isoformat()}")
        elif price is not None:
            session[identity] = price
