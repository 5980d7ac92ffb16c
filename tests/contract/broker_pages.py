"""Rewrites the generated parts of docs/brokers.md: `python tests/contract/broker_pages.py`."""

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "brokers.md"
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "contract")]

import sender_mutants  # noqa: E402 - after the paths, for the script
from broker_table import BROKERS  # noqa: E402 - the same
from group_mutants import MUTANTS  # noqa: E402 - the same

from broker_adapters.kit.bench import Tempo  # noqa: E402 - the same
from broker_adapters.kit.catalog import cases  # noqa: E402 - the same
from broker_adapters.kit.listing import listing  # noqa: E402 - the same
from broker_adapters.kit.loading import bench_of  # noqa: E402 - the same


def skips(name: str) -> dict[str, list[str]]:
    """Return reason -> cases that say nothing about a broker, or cannot be tried on it."""
    with tempfile.TemporaryDirectory() as folder:
        bench = bench_of(*BROKERS[name], Path(folder))
        capabilities = bench.open(Tempo.PROMPT).capabilities
        found: dict[str, list[str]] = {}
        for case in cases():
            why = case.missing(capabilities, bench)
            if why:
                found.setdefault(why, []).append(case.id)
        bench.close()
    return found


def brokers() -> str:
    """Return who runs how many cases, and why not the others."""
    lines = ["| broker | cases run | not tried, and why |", "|---|--:|---|"]
    for name in BROKERS:
        left = skips(name)
        count = len(cases()) - sum(map(len, left.values()))
        lines.append(f"| `{name}` | {count} | {_why(left)} |")
    return "\n".join(lines)


def _why(left: dict[str, list[str]]) -> str:
    """Return the reasons in one line: those of the capabilities, then those of the bench."""
    said = []
    for start in ("capabilities: only for a broker with ", "bench: it cannot provoke "):
        some = {why: cases for why, cases in left.items() if why.startswith(start)}
        if some:
            words = ", ".join(why.removeprefix(start).replace("_", " ") for why in some)
            said.append(f"{start}{words} ({sum(map(len, some.values()))})")
    return "; ".join(said)


def mutants() -> str:
    """Return what is switched wrong, and what catches it."""
    lines = ["| wrong | caught by |", "|---|---|"]
    lines += [f"| {one.fault} | {one.case_id} |" for one in MUTANTS.values()]
    lines += [f"| {fault} | {number} |" for fault, number, _ in sender_mutants.MUTANTS.values()]
    return "\n".join(lines)


def checks() -> str:
    """Return the numbered checks of the sender."""
    lines = ["| check | |", "|---|---|"]
    lines += [f"| {number} | {play.__doc__} |" for number, play in sender_mutants.CHECKS.items()]
    return "\n".join(lines)


def rewritten(text: str) -> str:
    """Return the page with its generated parts made again."""
    parts = {"brokers": brokers(), "sender": checks(), "mutants": mutants()}
    for name, content in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)"
        text = re.sub(pattern, lambda m, c=content: f"{m[1]}\n{c}\n{m[2]}", text, flags=re.DOTALL)
    start, _, rest = text.partition("<!-- cases:")
    return start + listing() + rest.partition("<!-- end of cases -->\n")[2]


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
