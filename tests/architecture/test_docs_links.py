"""What the pages say exists: links, paths, modules, commands, settings, jobs, packages."""

import argparse
import importlib
import importlib.metadata
import re
import tomllib
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from robo import cli
from robo.config import PLUGIN_PREFIXES, PREFIX, Settings
from scheduler import commands
from scheduler.jobs import TIMETABLE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOMS = ("baskets", "onboarding", "robo", "broker_adapters", "scheduler")
FOLDERS = (*ROOMS, "bench", "docs", "tests")
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
DOTTED = re.compile(rf"(?:{'|'.join(ROOMS)})(?:\.[A-Za-z_]\w*)+")
SLASHED = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./*-]*")
FILE_ENDS = (".py", ".md", ".toml", ".csv", ".json", ".txt", ".html", ".js", ".css", ".mako")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", read(page))


def spans(page: Path) -> list[str]:
    return CODE.findall(prose(page))


def by_page(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: wrong for name, wrong in found.items() if wrong}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def anchors(page: Path) -> frozenset[str]:
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text) for text in HEADING.findall(prose(page))]
    words = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in plain]
    return frozenset(words)


def is_broken(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    goal = (page.parent / path).resolve() if path else page
    if not goal.exists() or ROOT not in (goal, *goal.parents):
        return True
    return bool(anchor) and goal.suffix == ".md" and anchor not in anchors(goal)


def test_every_relative_link_leads_somewhere() -> None:
    broken = {
        name_of(page): [
            target
            for target in LINK.findall(prose(page))
            if not re.match(r"[a-z]+:", target) and is_broken(page, target)
        ]
        for page in PAGES
    }

    assert by_page(broken) == {}


def test_every_page_of_the_docs_can_be_reached_from_its_index() -> None:
    index = DOCS / "README.md"
    seen, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(prose(page)):
            goal = (page.parent / target.partition("#")[0]).resolve()
            if goal.suffix == ".md" and goal.exists() and goal not in seen:
                seen.add(goal)
                waiting.append(goal)

    assert sorted(map(name_of, set(DOCS.rglob("*.md")) - seen)) == []


def resolves(dotted: str) -> bool:
    """Return whether a dotted path is a module, or an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part) and part not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, part, None)
        return True
    return False


def is_dotted(span: str) -> bool:
    return DOTTED.fullmatch(span) is not None and not f".{span}".endswith(FILE_ENDS)


def groups() -> set[str]:
    return set(project()["project"]["entry-points"])


def test_every_module_and_name_that_a_page_mentions_exists() -> None:
    missing = {
        name_of(page): sorted(
            {
                span
                for span in spans(page)
                if is_dotted(span) and span not in groups() and not resolves(span)
            }
        )
        for page in PAGES
    }

    assert by_page(missing) == {}


def test_every_file_and_folder_that_a_page_mentions_exists() -> None:
    missing = {
        name_of(page): sorted(
            {
                span
                for span in spans(page)
                if SLASHED.fullmatch(span) and not list(ROOT.glob(span.rstrip("/")))
            }
        )
        for page in PAGES
    }

    assert by_page(missing) == {}


def test_every_page_that_the_code_refers_to_exists() -> None:
    sources = [
        path
        for room in (*ROOMS, "bench")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".toml", ".html"}
    ]
    missing = {
        name_of(path): sorted(
            name
            for name in set(re.findall(r"docs/[\w/-]+\.md", read(path)))
            if not (ROOT / name).exists()
        )
        for path in sources
    }

    assert by_page(missing) == {}


def commands_of(page: Path) -> list[str]:
    """Return what a page shows to be typed: code in backticks, and lines of fenced blocks."""
    fenced = [line.strip() for block in FENCE.finditer(read(page)) for line in block[0].split("\n")]
    return [*spans(page), *fenced]


def test_every_make_target_that_a_page_mentions_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    missing = {
        name_of(page): sorted(
            {
                found[1]
                for line in commands_of(page)
                if (found := re.match(r"make ([a-z-]+)", line)) and found[1] not in targets
            }
        )
        for page in PAGES
    }

    assert by_page(missing) == {}


def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser; sub-parsers are the action that has them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def unknown_command(parser: argparse.ArgumentParser, words: list[str]) -> bool:
    """Return whether the leading plain words of a line name no command of the parser."""
    known = choices(parser)
    for word in words:
        if not known:
            return False
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", word):
            return False
        if word not in known:
            return True
        known = choices(known[word])
    return False


@pytest.fixture(scope="module")
def scheduler_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m scheduler`."""
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers()
    commands._add_jobs(sub)
    commands._add_time(sub)
    for name in ("_add_demo",):
        getattr(commands, name, lambda _: None)(sub)
    return parser


def test_every_command_that_a_page_mentions_exists(
    scheduler_parser: argparse.ArgumentParser,
) -> None:
    starts = (
        (re.compile(r"^(?:\.venv/bin/)?robo (.+)"), cli._parser()),
        (re.compile(r"^(?:\.venv/bin/)?python -m scheduler (.+)"), scheduler_parser),
    )
    missing = {
        name_of(page): [
            line
            for line in commands_of(page)
            for start, parser in starts
            if (found := start.match(line)) and unknown_command(parser, found[1].split())
        ]
        for page in PAGES
    }

    assert by_page(missing) == {}


def test_every_setting_that_a_page_mentions_exists() -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    missing = {
        name_of(page): sorted(
            {
                name
                for name in re.findall(r"\bROBO_[A-Z_]*[A-Z]\b", read(page))
                if name not in known and not name.startswith(PLUGIN_PREFIXES)
            }
        )
        for page in PAGES
    }

    assert by_page(missing) == {}


@cache
def project() -> dict[str, Any]:
    return tomllib.loads(read(ROOT / "pyproject.toml"))


def test_the_architecture_names_every_job_contract_and_entry_point() -> None:
    page = read(DOCS / "architecture.md")
    jobs = [f"`{job.name}`" for job in TIMETABLE]
    contracts = [c["name"] for c in project()["tool"]["importlinter"]["contracts"]]
    loaded = [f"`{group}`" for group in groups()]

    assert [name for name in [*jobs, *contracts, *loaded] if name not in page] == []


def direct_dependencies() -> list[str]:
    found = project()["project"]
    lists = [found["dependencies"], *found["optional-dependencies"].values()]
    names = [re.match(r"[\w.-]+", line) for lines in lists for line in lines]
    return sorted({name.group().lower() for name in names if name})


def rows_of_dependencies() -> dict[str, str]:
    """Return package -> the licence that the page gives it."""
    lines = re.findall(
        r"^\| ([\w.-]+) \| .*? \| (.*?) \| .*? \|$", read(DOCS / "dependencies.md"), re.MULTILINE
    )
    return {name: licence for name, licence in lines if name != "package"}


def test_the_page_of_dependencies_lists_exactly_the_direct_ones() -> None:
    assert sorted(rows_of_dependencies()) == direct_dependencies()


def test_licences_are_what_the_installed_packages_state() -> None:
    stated: dict[str, str] = {}
    for name in direct_dependencies():
        try:
            expression = importlib.metadata.metadata(name).get("License-Expression")
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
        if expression:
            stated[name] = expression

    told = rows_of_dependencies()

    assert {name: told[name] for name in stated} == stated
