"""The accounts of a walk of the tax study, and the days on which something is planned."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from robo.tax.harvest import YearTarget

PATIENCE: Final = 0.3
"""Chosen among 0, 0.3, 0.6 and 1 on the walks that start in 2007 and 2012."""


class Policy(Enum):
    """How a replay harvests."""

    HOLD = "deposits only"
    OURS = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    THRESHOLD = "5 % rule"
    FORESIGHT = "foresight"
    TARGET = "year target"


@dataclass(frozen=True, slots=True)
class Replay:
    """One account of a walk.

    Attributes:
        every: Deposits: weekly, monthly or quarterly; the same money a quarter.
        measured: Whether to count what could be harvested without wash masks.
        closes: Whether shares bought of late may go with the rest of their name at a loss: nothing
            that could replace what is sold is then left. Without it, they block all of it.
        patience: A loss is taken when it is deeper than so many monthly volatilities of its name.
        targets: Of a year-target replay, by half-year of the walk; the last one stays.
    """

    policy: Policy
    every: str = "monthly"
    risk_aversion: float = 40.0
    threshold: float = 0.05
    measured: bool = False
    closes: bool = True
    patience: float = PATIENCE
    targets: tuple[YearTarget, ...] = ()
    outside_cents: int = 0
    """Long-term gain realised elsewhere, told to us every July."""


@dataclass(slots=True)
class Step:
    """A plan at one session's close, filled at the next's."""

    plan: int
    fill: int
    weekly: bool
    month_begins: bool
    year_ends: bool
    """The first weekly step of December."""
    trims: bool
    """One of the last sessions of a year."""
