"""Gains: short or long by the calendar, and how a year's gains and losses net; whole cents."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

_ONE_DAY: Final = timedelta(days=1)


def long_from(held_from: date) -> date:
    """Return the first day on which a sale is long-term: held for more than one year.

    The year is counted from the day after the acquisition, by the calendar and not by days. Shares
    acquired on 29 February count from 1 March, so they are long-term from 1 March of the next
    year; acquired on 28 February of a leap year they count from 29 February, whose year is over
    with the next 28 February, so from 1 March as well.

    Args:
        held_from: When the shares were acquired; earlier where a wash sale added a holding period.

    Source: 26 U.S.C. 1222; Rev. Rul. 66-7 (months counted from the day after).
    """
    first = held_from + _ONE_DAY
    if (first.month, first.day) == (2, 29):
        return date(first.year + 1, 3, 1)
    return first.replace(year=first.year + 1)


def is_long(held_from: date, sold_on: date) -> bool:
    """Return whether shares sold on a day were held for more than one year."""
    return sold_on >= long_from(held_from)


def tacked(bought_on: date, held_from: date, sold_on: date) -> date:
    """Return since when a replacement counts as held: its purchase less the days the sold was.

    Args:
        bought_on: When the replacement was bought.
        held_from: Since when the shares sold at a loss counted as held.
        sold_on: When they were sold.

    Source: 26 U.S.C. 1223(3). Days between the two holdings do not count.
    """
    return bought_on - (sold_on - held_from)


@dataclass(frozen=True, slots=True)
class Net:
    """Net gains by holding period, in cents; negative for losses."""

    short_cents: int = 0
    long_cents: int = 0

    @property
    def cents(self) -> int:
        """Return both together."""
        return self.short_cents + self.long_cents

    def __add__(self, other: "Net") -> "Net":
        return Net(self.short_cents + other.short_cents, self.long_cents + other.long_cents)


def total(gains: Iterable[tuple[date, date, int]]) -> Net:
    """Return the net of sales, each told as (held from, sold on, gain in cents)."""
    short = long = 0
    for held_from, sold_on, cents in gains:
        if is_long(held_from, sold_on):
            long += cents
        else:
            short += cents
    return Net(short, long)


@dataclass(frozen=True, slots=True)
class Year:
    """What a year's gains come to once short and long have been netted.

    Attributes:
        taxed: What is taxed at the short and at the long rate; neither is negative.
        deducted_cents: Net loss that lowers this year's other income.
        carried: What goes to the next year: zero or negative, each keeping its holding period.
    """

    taxed: Net
    deducted_cents: int
    carried: Net


def close_year(realised: Net, carried: Net, limit_cents: int) -> Year:
    """Net a year: within each holding period first, then across; a loss is deducted, then carried.

    The deduction uses up short-term losses before long-term ones. It is not reduced for a
    taxable income below it, which the caller knows: hand in the smaller limit then.

    Args:
        realised: The year's own gains and losses, after wash sales.
        carried: Losses from the year before: zero or negative.
        limit_cents: The most that may be deducted from other income.

    Raises:
        ValueError: If what is carried is a gain, or the limit is negative.

    Source: 26 U.S.C. 1211(b), 1212(b); Schedule D's capital loss carryover worksheet.
    """
    if max(carried.short_cents, carried.long_cents) > 0:
        message = "carried must be losses: zero or negative"
        raise ValueError(message)
    if limit_cents < 0:
        message = "limit_cents must not be negative"
        raise ValueError(message)
    both = realised + carried
    short, long = both.short_cents, both.long_cents
    if short < 0 < long or long < 0 < short:
        # One of them pays for the other, as far as it goes.
        moved = min(abs(short), abs(long))
        short += moved if short < 0 else -moved
        long += moved if long < 0 else -moved
    taxed = Net(max(short, 0), max(long, 0))
    short, long = min(short, 0), min(long, 0)
    deducted = min(-(short + long), limit_cents)
    from_short = min(-short, deducted)
    return Year(taxed, deducted, Net(short + from_short, long + deducted - from_short))
