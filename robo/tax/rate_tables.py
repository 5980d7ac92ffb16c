"""A year's federal figures as values, read from a dated file; a new year is a new file."""

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from robo.core.errors import InvalidInputError
from robo.core.money import CENTS_PER_DOLLAR, PPM, round_ratio

FOLDER: Final = "tables"
_DOLLARS_MAX: Final = 10**9
_YEAR_KEYS: Final = {
    "year",
    "effective_from",
    "sources",
    "ordinary_rates_ppm",
    "long_rates_ppm",
    "niit_rate_ppm",
    "ira",
    "status",
}
_STATUS_KEYS: Final = {
    "ordinary_upper",
    "long_upper",
    "standard_deduction",
    "aged_or_blind",
    "niit_threshold",
    "loss_limit",
    "roth_phase_out",
}
_IRA_KEYS: Final = {"limit", "catch_up", "catch_up_age", "contribute_until"}


class FilingStatus(StrEnum):
    """How a taxpayer files."""

    SINGLE = "single"
    JOINT = "joint"
    SEPARATE = "separate"
    HEAD_OF_HOUSEHOLD = "head_of_household"
    SURVIVING_SPOUSE = "surviving_spouse"


class TaxTableError(InvalidInputError):
    """A dated tax file is missing or not what it must be; `code` says which.

    Codes: `tax_table_missing` (no file for the year), `tax_table_unreadable` (not TOML),
    `tax_table_field` (a field is missing, unknown or of the wrong kind; `fields` names it),
    `tax_table_order` (brackets do not rise), `tax_table_year` (the file is another year's).
    """

    code = "tax_table_field"


@dataclass(frozen=True, slots=True)
class Brackets:
    """Rates that rise with income: `rate_ppm[i]` up to and including `upper_cents[i]`."""

    upper_cents: tuple[int, ...]
    rate_ppm: tuple[int, ...]
    """One more than upper edges."""

    def rate_above(self, income_cents: int) -> int:
        """Return the rate, in ppm, on the next cent after an income."""
        for edge, rate in zip(self.upper_cents, self.rate_ppm, strict=False):
            if income_cents < edge:
                return rate
        return self.rate_ppm[-1]

    def raw(self, low_cents: int, high_cents: int) -> int:
        """Return the tax on what lies between two incomes, in cents times a million, exactly."""
        edges = (0, *self.upper_cents, max(high_cents, *self.upper_cents))
        return sum(
            max(0, min(high_cents, upper) - max(low_cents, lower)) * rate
            for lower, upper, rate in zip(edges, edges[1:], self.rate_ppm, strict=False)
        )

    def tax_cents(self, income_cents: int) -> int:
        """Return the tax on an income, in cents, rounded once."""
        return round_ratio(self.raw(0, income_cents), PPM)


@dataclass(frozen=True, slots=True)
class StatusTable:
    """A year's figures for one filing status, in cents."""

    ordinary: Brackets
    long: Brackets
    standard_deduction_cents: int
    aged_or_blind_cents: int
    """More deduction, each, for who is 65 or blind."""
    niit_threshold_cents: int
    loss_limit_cents: int
    """Net capital loss that other income bears."""
    roth_phase_out_cents: tuple[int, int]
    """From which income a Roth contribution shrinks, and at which it is nothing."""


@dataclass(frozen=True, slots=True)
class YearTable:
    """A year's figures, whom they bind from when, and where they come from."""

    year: int
    effective_from: date
    sources: tuple[str, ...]
    niit_rate_ppm: int
    ira_limit_cents: int
    ira_catch_up_cents: int
    ira_catch_up_age: int
    ira_until: date
    """The last day on which a contribution may count for the year."""
    status: Mapping[FilingStatus, StatusTable]


def years() -> list[int]:
    """Return the years there are files for, rising."""
    return list(_years())


@cache
def _years() -> tuple[int, ...]:
    names = [entry.name for entry in (files("robo.tax") / FOLDER).iterdir()]
    found = (name.removesuffix(".toml") for name in names if name.endswith(".toml"))
    return tuple(sorted(int(name) for name in found if name.isdigit()))


@cache
def load(year: int) -> YearTable:
    """Return the figures of a year.

    Raises:
        TaxTableError: If there is no file for it, or the file is malformed.
    """
    place = files("robo.tax") / FOLDER / f"{year}.toml"
    if not place.is_file():
        message = f"there is no tax table for {year}"
        raise TaxTableError(message, code="tax_table_missing")
    table = parse(place.read_text(encoding="utf-8"))
    if table.year != year:
        message = f"the tax table of {year} is for {table.year}"
        raise TaxTableError(message, code="tax_table_year")
    return table


def nearest(year: int) -> YearTable:
    """Return the figures of a year, or of the nearest year before it that has a file.

    Where all files are of later years, the first of them stands in. The table says which it is.
    """
    known = years()
    return load(max((one for one in known if one <= year), default=known[0]))


def parse(text: str) -> YearTable:
    """Return the figures that a file's text states.

    Raises:
        TaxTableError: If it is malformed; nothing is guessed and no field is ignored.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"a tax table is not TOML: {error}"
        raise TaxTableError(message, code="tax_table_unreadable") from error
    _exactly(found, _YEAR_KEYS, "")
    ira = _table(found["ira"], "ira")
    _exactly(ira, _IRA_KEYS, "ira.")
    statuses = _table(found["status"], "status")
    _exactly(statuses, {status.value for status in FilingStatus}, "status.")
    effective = found["effective_from"]
    sources = found["sources"]
    _check(type(effective) is date, "effective_from", "must be a date")
    _check(type(ira["contribute_until"]) is date, "ira.contribute_until", "must be a date")
    plain = isinstance(sources, list) and sources and all(isinstance(s, str) for s in sources)
    _check(bool(plain), "sources", "must name where the figures come from")
    rates = {
        name: _rates(found[f"{name}_rates_ppm"], f"{name}_rates_ppm")
        for name in ("ordinary", "long")
    }
    return YearTable(
        year=_whole(found["year"], "year"),
        effective_from=effective,
        sources=tuple(sources),
        niit_rate_ppm=_rate(found["niit_rate_ppm"], "niit_rate_ppm"),
        ira_limit_cents=_cents(ira["limit"], "ira.limit"),
        ira_catch_up_cents=_cents(ira["catch_up"], "ira.catch_up"),
        ira_catch_up_age=_whole(ira["catch_up_age"], "ira.catch_up_age"),
        ira_until=ira["contribute_until"],
        status={s: _status(statuses[s.value], f"status.{s.value}", rates) for s in FilingStatus},
    )


def _status(found: object, path: str, rates: Mapping[str, tuple[int, ...]]) -> StatusTable:
    row = _table(found, path)
    _exactly(row, _STATUS_KEYS, f"{path}.")
    brackets = {}
    for name in ("ordinary", "long"):
        edges = _edges(row[f"{name}_upper"], f"{path}.{name}_upper")
        fits = len(edges) + 1 == len(rates[name])
        _check(fits, f"{path}.{name}_upper", f"needs {len(rates[name]) - 1} edges")
        brackets[name] = Brackets(edges, rates[name])
    phase = _edges(row["roth_phase_out"], f"{path}.roth_phase_out")
    _check(len(phase) == len(("from", "to")), f"{path}.roth_phase_out", "needs two figures")
    return StatusTable(
        brackets["ordinary"],
        brackets["long"],
        _cents(row["standard_deduction"], f"{path}.standard_deduction"),
        _cents(row["aged_or_blind"], f"{path}.aged_or_blind"),
        _cents(row["niit_threshold"], f"{path}.niit_threshold"),
        _cents(row["loss_limit"], f"{path}.loss_limit"),
        (phase[0], phase[1]),
    )


def _exactly(found: Mapping[str, Any], keys: set[str], path: str) -> None:
    fields = {f"{path}{key}": ["is missing"] for key in sorted(keys - found.keys())}
    fields |= {f"{path}{key}": ["is unknown"] for key in sorted(found.keys() - keys)}
    if fields:
        message = f"a tax table has missing or unknown fields: {', '.join(fields)}"
        raise TaxTableError(message, fields=fields)


def _table(found: object, path: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        message = f"{path} must be a table"
        raise TaxTableError(message, fields={path: ["must be a table"]})
    return found


def _whole(found: object, path: str) -> int:
    # A float, a quoted number or `true` is a slip of the pen, not a figure.
    fine = type(found) is int and 0 <= found <= _DOLLARS_MAX
    _check(fine, path, "must be a whole number that is not negative")
    assert isinstance(found, int)
    return found


def _cents(found: object, path: str) -> int:
    return _whole(found, path) * CENTS_PER_DOLLAR


def _rate(found: object, path: str) -> int:
    rate = _whole(found, path)
    _check(rate <= PPM, path, "must be at most 1_000_000")
    return rate


def _rates(found: object, path: str) -> tuple[int, ...]:
    _check(isinstance(found, list) and bool(found), path, "must be a list of rates")
    assert isinstance(found, list)
    rates = tuple(_rate(rate, path) for rate in found)
    _rising(rates, path)
    return rates


def _edges(found: object, path: str) -> tuple[int, ...]:
    _check(isinstance(found, list) and bool(found), path, "must be a list of dollars")
    assert isinstance(found, list)
    edges = tuple(_cents(edge, path) for edge in found)
    _rising(edges, path)
    return edges


def _rising(values: Sequence[int], path: str) -> None:
    if any(low >= high for low, high in itertools.pairwise(values)):
        message = f"{path} must rise"
        raise TaxTableError(message, code="tax_table_order", fields={path: ["must rise"]})


def _check(holds: bool, path: str, wish: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        message = f"{path} {wish}"
        raise TaxTableError(message, fields={path: [wish]})
