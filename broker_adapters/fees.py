"""Regulatory fees on sales, from a dated data file; each fee is rounded up to the cent an order."""

import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Final

from robo.core.money import CENTS_PER_DOLLAR, MICROS_PER_CENT, NANOS_PER_SHARE, round_ratio

_MILLION_DOLLARS_IN_CENTS: Final = 1_000_000 * CENTS_PER_DOLLAR


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Rates by the first day they hold, oldest first."""

    sec_from: Sequence[date]
    sec_cents_per_million: Sequence[int]
    taf_from: Sequence[date]
    taf_micros_per_share: Sequence[int]
    taf_cents_max: Sequence[int]

    def sale_fee_cents(self, on: date, cents: int, nanos: int) -> int:
        """Return the fees of one sell order, never more than it brought.

        Args:
            on: The trade's date.
            cents: Gross proceeds of all its executions so far.
            nanos: Shares sold so far.
        """
        if cents <= 0:
            return 0
        sec = self.sec_cents_per_million[_row(self.sec_from, on)]
        taf = _row(self.taf_from, on)
        activity = nanos * self.taf_micros_per_share[taf]
        fee = round_ratio(cents * sec, _MILLION_DOLLARS_IN_CENTS, "up")
        fee += min(
            round_ratio(activity, NANOS_PER_SHARE * MICROS_PER_CENT, "up"), self.taf_cents_max[taf]
        )
        return min(fee, cents)


@lru_cache(maxsize=1)
def schedule() -> FeeSchedule:
    """Return the rates that come with this package."""
    document = tomllib.loads((files("broker_adapters") / "data" / "fees.toml").read_text("utf-8"))
    sec, taf = document["sec"], document["taf"]
    return FeeSchedule(
        sec_from=[row["from"] for row in sec],
        sec_cents_per_million=[row["cents_per_million"] for row in sec],
        taf_from=[row["from"] for row in taf],
        taf_micros_per_share=[row["micros_per_share"] for row in taf],
        taf_cents_max=[row["cents_max"] for row in taf],
    )


def _row(starts: Sequence[date], on: date) -> int:
    return max(0, bisect_right(starts, on) - 1)
