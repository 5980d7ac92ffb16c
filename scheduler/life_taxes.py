"""What losses have saved in taxes, less the tax on gains: what this customer could really use."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from robo.core.money import PPM
from robo.tax.gains import Net, close_year
from scheduler.life_check import is_long
from scheduler.life_wash import Sold

SHORT_PPM, LONG_PPM = 220_000, 150_000
"""Rates of somebody in the middle: those the services assume where a customer has told nothing."""
LIMIT_CENTS: Final = 3_000_00
"""Net losses that lower a year's other income, at most. Source: 26 U.S.C. 1211(b)."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Tax saved so far, day by day, and what waits for a year that can use it."""

    dollars: tuple[float, ...]
    carried_cents: int
    """Losses carried out of the last year, not negative."""


def saved(sold: Sequence[Sold], days: Sequence[date]) -> Saved:
    """Return what sales have saved in taxes up to each day, as if the year ended on it.

    Losses meet the year's gains first, then other income up to the limit; the rest is carried.
    Losses that wash sales took out are not there, and what they added to a basis is. Later sales
    of shares bought cheaply are not foreseen: most of it is tax deferred, not tax avoided.

    Args:
        sold: All sales, whoever chose them, in the order of time.
        days: Rising.
    """
    lines: list[float] = []
    before, carried, year = 0.0, Net(), Net()
    spot, now = (
        0,
        min((one.year for one in (*days[:1], *(sale.moved.on for sale in sold[:1]))), default=0),
    )
    for day in days:
        for turn in range(now, day.year):
            while spot < len(sold) and sold[spot].moved.on.year <= turn:
                year += _net(sold[spot])
                spot += 1
            cents, carried = _closed(year, carried)
            before += cents
            year = Net()
        now = day.year
        while spot < len(sold) and sold[spot].moved.on <= day:
            year += _net(sold[spot])
            spot += 1
        lines.append((before + _closed(year, carried)[0]) / 100)
    left = _closed(year, carried)[1]
    return Saved(tuple(lines), -left.cents)


def _net(one: Sold) -> Net:
    cents = one.counted_cents
    return Net(0, cents) if is_long(one.since, one.moved.on) else Net(cents, 0)


def _closed(year: Net, carried: Net) -> tuple[float, Net]:
    """Return a year's tax saved, in cents and negative where tax is due, and what is carried."""
    told = close_year(year, carried, LIMIT_CENTS)
    saved_cents = (told.deducted_cents - told.taxed.short_cents) * SHORT_PPM / PPM
    return saved_cents - told.taxed.long_cents * LONG_PPM / PPM, told.carried
