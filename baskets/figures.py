"""Reads published company figures written by people, and estimates size from them.

The sentences come from encyclopaedia infoboxes: `US$ -536 million (2024)`, `$ (240) million
(FY23)`, `22,726,418,000 United States dollar (2022)`. What cannot be read for certain is None,
never zero.
"""

import math
import re
from dataclasses import dataclass

FISCAL_YEAR_MIN = 2021
"""Older figures say too little about a company of 2026; they count as not known."""

EARNINGS_MULTIPLE = 22
"""Price to earnings, a round long-run figure for large US companies."""

PRICE_TO_SALES_PERCENT = {
    "communication": 250,
    "consumer_discretionary": 130,
    "consumer_staples": 110,
    "energy": 110,
    "financials": 280,
    "health_care": 220,
    "industrials": 190,
    "technology": 520,
    "materials": 190,
    "real_estate": 650,
    "utilities": 220,
}
"""Price to sales by sector, in percent: round house assumptions, stated wherever size is shown."""

SIDES_RATIO_MAX = 8
"""Winsorising: the sales side may differ from the earnings side by this factor at most."""

_CENTS_BARE_MIN = 100_000_000
"""A number without `million` or `billion` is believed from a million dollars on."""

_SCALES = {"t": 10**12, "b": 10**9, "m": 10**6}
_SCALE = r"(?P<scale>trillion|billions?|bn|b|millions?|mm|m)?"
_AMOUNT = re.compile(
    r"^(?P<minus>-)?\s*(?:us|usd)?\s*\$?\s*(?:us\s*\$)?\s*\$?\s*(?P<open>\()?\s*(?P<inner>-)?\s*\$?\s*"
    rf"(?P<number>\d[\d,]*(?:\.\d+)?)\s*\)?\s*{_SCALE}(?![a-z])",
)
_YEAR = re.compile(r"\b(19[5-9]\d|20[0-4]\d)\b|\bfy\s?'?(\d{2})\b")
_DASHES = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00a0": " ", "\u2009": " "})
_FOREIGN = re.compile(r"[€£¥₹₩]|\beuros?\b|\bchf\b|\bgbp\b|\bjpy\b|\bcad\b|\bc\$|\bq[1-4]\b")


@dataclass(frozen=True, slots=True)
class Figure:
    """A published amount and the fiscal year it belongs to."""

    cents: int
    fiscal_year: int


def parse_figure(text: object) -> Figure | None:
    """Return the first dollar amount of a published sentence with its fiscal year.

    None if it is not dollars, is a quarter's, has no year, is older than `FISCAL_YEAR_MIN`, or
    reads as less than a million without saying so.
    """
    if not isinstance(text, str):
        return None
    plain = text.translate(_DASHES).strip().lower()
    found = _AMOUNT.match(plain)
    if found is None or _FOREIGN.search(plain):
        return None
    year = _fiscal_year(plain[found.end() :])
    whole, _, fraction = found["number"].replace(",", "").partition(".")
    units = int(whole + fraction) * 100 * _SCALES.get((found["scale"] or " ")[0], 1)
    cents = units // 10 ** len(fraction)
    if year is None or year < FISCAL_YEAR_MIN or (not found["scale"] and cents < _CENTS_BARE_MIN):
        return None
    negative = bool(found["minus"] or found["inner"] or found["open"])
    return Figure(-cents if negative else cents, year)


def _fiscal_year(rest: str) -> int | None:
    """Return the first year that a sentence names after its amount."""
    found = _YEAR.search(rest)
    if found is None:
        return None
    return int(found[1]) if found[1] else 2000 + int(found[2])


def plausible(net_income: Figure | None, revenue: Figure | None) -> bool:
    """Return whether net income fits revenue; a typing error of a thousand does not."""
    if net_income is None or revenue is None:
        return True
    return abs(net_income.cents) <= 2 * abs(revenue.cents)


def size_estimate_cents(sector: str, net_income: Figure | None, revenue: Figure | None) -> int:
    """Return a company's size estimate in cents, three significant digits; 0 if nothing is known.

    exp(0.6 ln(22 x net income) + 0.4 ln(price-to-sales x revenue)), the sales side held within a
    factor of eight of the earnings side. A loss-maker has the sales side alone. This is **not** a
    market capitalisation and is labelled so wherever it is shown.
    """
    earning = EARNINGS_MULTIPLE * net_income.cents if net_income and net_income.cents > 0 else 0
    factor = PRICE_TO_SALES_PERCENT.get(sector, 0)
    selling = revenue.cents * factor // 100 if revenue and revenue.cents > 0 else 0
    if earning and selling:
        selling = max(earning // SIDES_RATIO_MAX, min(selling, earning * SIDES_RATIO_MAX))
        return round_digits(round(math.exp(0.6 * math.log(earning) + 0.4 * math.log(selling))))
    return round_digits(earning or selling)


def round_digits(amount: int, digits: int = 3) -> int:
    """Return a positive amount rounded to so many significant digits.

    Logarithms may differ in the last bit between machines; three digits never do in practice, and
    an estimate deserves no more.
    """
    step = int(10 ** max(0, len(str(amount)) - digits))
    return (amount + step // 2) // step * step
