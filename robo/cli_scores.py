"""Commands about vendors' score files: check one, and see which baskets it would change."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from baskets import cli_text
from baskets.catalog import catalog_of, recipes
from baskets.errors import BasketsError
from baskets.facts import load_facts
from baskets.import_cells import Cells
from baskets.imports import ImportReport, import_rows
from baskets.scores import ScoreTable
from baskets.universe import load_universe
from baskets.vendor_files import long_csv, mappings, wide_csv
from robo.config import Settings
from robo.core.errors import InvalidInputError

_SHOWN = 50
_BYTES_MAX = 256 * 1024 * 1024


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    scores = commands.add_parser("scores", help="check vendors' score files, try them on baskets")
    verbs = scores.add_subparsers(required=True, metavar="VERB")
    for name, words, do in (
        ("check", "report coverage and every fault of a file", _check),
        ("baskets", "build all baskets on a file's facts", _baskets),
    ):
        verb = verbs.add_parser(name, help=words)
        verb.add_argument("file", type=Path, help="CSV or Parquet")
        verb.add_argument(
            "--vendor",
            choices=sorted(mappings()),
            help="the wide file of this vendor; without it the long form is read",
        )
        verb.add_argument("--as-of", type=date.fromisoformat, help="where the file has no date")
        verb.set_defaults(do=do)


def _check(_settings: Settings, args: argparse.Namespace) -> int:
    report = _read(args)
    for each in report.coverage:
        print(f"{each.vendor:16} {each.metric:32} {each.securities:5} of {each.universe}")
    for problem in report.problems[:_SHOWN]:
        print(f"line {problem.line} {problem.column}: {problem.code}: {problem.detail}")
    print(
        f"{len(report.rows)} rows, {len(report.problems)} faults, "
        f"{report.outside_universe} about companies outside the universe"
    )
    return 0 if report.clean else 1


def _baskets(_settings: Settings, args: argparse.Namespace) -> int:
    report = _read(args)
    if not report.clean:
        print("robo: the file has faults: `robo scores check` lists them", file=sys.stderr)
        return 1
    try:
        table = ScoreTable().append(report.rows)
    except BasketsError as error:
        print(f"robo: {error.detail}", file=sys.stderr)
        return 2
    newest = max((row.key.as_of for row in report.rows), default=date.max)
    facts = load_facts().with_scores(table, newest)
    for line in cli_text.list_lines(catalog_of(recipes(), facts)):
        print(line)
    return 0


def _read(args: argparse.Namespace) -> ImportReport:
    """Return the report of a file.

    Raises:
        InvalidInputError: If it cannot be read as what it says it is.
    """
    try:
        return import_rows(_cells(args), load_universe())
    except BasketsError as error:
        raise InvalidInputError(error.detail, code=error.code) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{args.file} cannot be read: {error.__class__.__name__}"
        raise InvalidInputError(message, code="unreadable_file") from error


def _cells(args: argparse.Namespace) -> Iterable[Cells]:
    if args.file.stat().st_size > _BYTES_MAX:
        message = f"{args.file} is larger than {_BYTES_MAX} bytes"
        raise InvalidInputError(message, code="file_too_large")
    if args.file.suffix == ".parquet":
        return _parquet(args.file)
    text = args.file.read_text(encoding="utf-8-sig")
    if args.vendor is None:
        return long_csv(text)
    return wide_csv(text, mappings()[args.vendor], args.as_of)


def _parquet(path: Path) -> Iterator[Cells]:
    """Yield the rows of a Parquet file in the long form, as text."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - a tenth of a second, only for such files

    table = pq.read_table(path)
    for number, row in enumerate(table.to_pylist(), start=1):
        yield Cells(number, {k: "" if v is None else str(v) for k, v in row.items()})
