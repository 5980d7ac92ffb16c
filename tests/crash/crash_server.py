"""A laboratory in a process of its own: reads commands as JSON lines, answers each with one.

Tests must not fork themselves: their process has threads, and a heap full of other tests.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from crash_episodes import many_kills, outage
from crash_lab import Lab, Report, open_lab, share
from crash_mutants import MUTANTS
from crash_postgres import open_postgres_lab


def _points(lab: Lab, shard: int, shards: int) -> dict[str, Any]:
    report = Report()
    for number in share(lab, shard, shards):
        lab.explore(number, report)
    return {
        "kinds": dict(report.kinds),
        "deaths": report.deaths,
        "heirs": report.heirs,
        "scenes": len(share(lab, shard, shards)),
        "faults": report.faults,
    }


def _kills(lab: Lab, first: int, count: int) -> dict[str, Any]:
    done = [many_kills(lab, seed) for seed in range(first, first + count)]
    return {"deaths": sum(n for n, _ in done), "faults": [w for _, ws in done for w in ws]}


def _sample(lab: Lab, every: int, first: int) -> dict[str, Any]:
    """Kill at every so many points of the play, each time from the beginning of its scene."""
    faults, deaths, place = [], 0, 0
    for number in range(len(lab.play)):
        for point in range(len(lab.points[number])):
            place += 1
            if place % every == first:
                lab.restore(number)
                lab.die_at(number, point)
                faults += [f"{lab.play[number].name} {point}: {w}" for w in lab.heir(number)]
                deaths += 1
    return {"deaths": deaths, "points": place, "faults": faults}


def _outages(lab: Lab, first: int, count: int) -> dict[str, Any]:
    done = [outage(lab, seed) for seed in range(first, first + count)]
    return {"deaths": sum(n for n, _ in done), "faults": [w for _, ws in done for w in ws]}


def _mutant(lab: Lab, name: str, tries_max: int) -> dict[str, Any]:
    mutant = next(one for one in MUTANTS if one.name == name)
    tries, faults = lab.show(mutant, tries_max)
    return {"tries": tries, "faults": faults}


_COMMANDS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "points": _points,
    "kills": _kills,
    "sample": _sample,
    "outages": _outages,
    "mutant": _mutant,
}


def serve(url: str = "") -> None:
    """Answer commands until the input ends; on a server of PostgreSQL if its URL is given."""
    opened = open_postgres_lab(url) if url else open_lab()
    with opened as lab:
        for line in sys.stdin:
            command, *given = json.loads(line)
            try:
                answer = _COMMANDS[command](lab, *given)
            except Exception:  # noqa: BLE001 - the next command may go well
                answer = {"failed": traceback.format_exc()}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
