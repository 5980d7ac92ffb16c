"""Screens with a name that ship with us: published thresholds and our own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

from baskets.data_files import read_toml
from baskets.facts import Facts
from baskets.screens import Outcome, screen_of
from baskets.values import WHOLE_PPM


@dataclass(frozen=True, slots=True)
class Preset:
    """A named screen, where its thresholds come from, and what it cannot see."""

    id: str
    name: str
    source: str
    note: str
    screen: str


@cache
def presets() -> Mapping[str, Preset]:
    """Return every preset by id."""
    return {
        key: Preset(key, row["name"], row["source"], row["note"], row["screen"])
        for key, row in read_toml("presets.toml").items()
    }


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a screen excludes the same companies as somebody else's list."""

    both: tuple[str, ...]
    missed: tuple[str, ...]
    """On the list, but not excluded by the screen."""
    extra: tuple[str, ...]
    """Excluded by the screen, but not on the list."""

    @property
    def precision_ppm(self) -> int | None:
        """Return how many of the screen's are on the list; None if it excludes nobody."""
        excluded = len(self.both) + len(self.extra)
        return WHOLE_PPM * len(self.both) // excluded if excluded else None

    @property
    def recall_ppm(self) -> int | None:
        """Return how many of the list's the screen excludes; None if the list is empty."""
        listed = len(self.both) + len(self.missed)
        return WHOLE_PPM * len(self.both) // listed if listed else None


def agreement(screen: str, facts: Facts, listed: Collection[str]) -> Agreement:
    """Return how a screen compares with a list of excluded symbols, over the universe we follow.

    Raises:
        ScreenError: If the screen is wrong or needs data that is not there.
    """
    ready = screen_of(screen, facts)
    universe = facts.universe.securities
    ours = {row.symbol for row in universe if ready.judge(row).outcome is not Outcome.PASS}
    theirs = {row.symbol for row in universe} & set(listed)
    return Agreement(
        tuple(sorted(ours & theirs)), tuple(sorted(theirs - ours)), tuple(sorted(ours - theirs))
    )
