"""A numbered case, what it needs, and the one list that all of them are in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from broker_adapters.kit.bench import Ability, Bench, Tempo, Trouble
from broker_adapters.kit.desk import Desk
from robo.ports.broker import Capabilities
from robo.ports.terms import Group

_SHARE_DIGITS: Final = 9


class Need(StrEnum):
    """What a broker must be able to do (or unable to) for a case to mean anything."""

    DOLLARS = "orders in dollars"
    NO_DOLLARS = "no orders in dollars"
    FRACTIONS = "parts of a share"
    WHOLE_ONLY = "whole shares only"
    COARSE = "fewer than nine decimals of a share"
    MINIMUM = "a smallest order in dollars"
    SETTLES = "settlement after the trade"
    ASSETS = "group assets"
    FUNDING = "group funding"
    ONBOARDING = "group onboarding"
    JOURNALS = "group journals"
    DOCUMENTS = "group documents"
    EVENTS = "group events"


_HAS: Final[dict[Need, Callable[[Capabilities], bool]]] = {
    Need.DOLLARS: lambda caps: caps.notional,
    Need.NO_DOLLARS: lambda caps: not caps.notional,
    Need.FRACTIONS: lambda caps: caps.fractional,
    Need.WHOLE_ONLY: lambda caps: not caps.fractional,
    Need.COARSE: lambda caps: caps.fractional and caps.share_decimals < _SHARE_DIGITS,
    Need.MINIMUM: lambda caps: caps.notional and caps.buy_notional_cents_min > 1,
    Need.SETTLES: lambda caps: caps.settlement_days > 0,
    Need.ASSETS: lambda caps: Group.ASSETS in caps.groups,
    Need.FUNDING: lambda caps: Group.FUNDING in caps.groups,
    Need.ONBOARDING: lambda caps: Group.ONBOARDING in caps.groups,
    Need.JOURNALS: lambda caps: Group.JOURNALS in caps.groups,
    Need.DOCUMENTS: lambda caps: Group.DOCUMENTS in caps.groups,
    Need.EVENTS: lambda caps: Group.EVENTS in caps.groups,
}
Needed = Need | Ability | Trouble
Play = Callable[[Desk], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that every adapter must do; the sentence is the first line of its docstring."""

    number: int
    area: str
    play: Play
    tempo: Tempo
    needs: Sequence[Needed]

    @property
    def id(self) -> str:
        """Return the case's name for ever, for example `K-014`."""
        return f"K-{self.number:03d}"

    @property
    def sentence(self) -> str:
        """Return what it asks for."""
        return (self.play.__doc__ or "").strip().splitlines()[0]

    def missing(self, capabilities: Capabilities, bench: Bench) -> str:
        """Return why the case says nothing about this broker or cannot be tried; else nothing."""
        for need in self.needs:
            if isinstance(need, Need):
                if not _HAS[need](capabilities):
                    return f"capabilities: only for a broker with {need.value}"
            elif need not in (bench.abilities if isinstance(need, Ability) else bench.troubles):
                return f"bench: it cannot provoke {need.value}"
        return ""


_CASES: Final[dict[int, Case]] = {}


def case(number: int, *needs: Needed, tempo: Tempo = Tempo.PROMPT) -> Callable[[Play], Play]:
    """Return a decorator that puts a function on the list; its module's docstring is the area.

    Args:
        number: Its own for ever; a case that goes takes its number with it.
        needs: What broker and bench must offer; the first that is missing is the skip's reason.
        tempo: How the market fills.
    """

    def note(play: Play) -> Play:
        assert number not in _CASES, number
        area = (play.__globals__.get("__doc__") or "").strip().splitlines()[0].rstrip(".")
        wanted = (Ability.PARTS, *needs) if tempo is Tempo.PARTS else needs
        _CASES[number] = Case(number, area, play, tempo, wanted)
        return play

    return note


def noted() -> list[Case]:
    """Return what has been put on the list so far, by number."""
    return [_CASES[number] for number in sorted(_CASES)]
