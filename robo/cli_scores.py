"""Commands about vendors' score files: check one, try it on the baskets, put it to use."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from robo.core.clock import Clock, business_date
from robo.core.errors import InvalidInputError
from robo.runtime import DatabaseClock, SystemClock, load_keyring, open_database
from robo.services import importing, licensing
from robo.store import scores
from robo.store.database import Database
from robo.store.schema import require_current
from robo.store.scores import Delivery

_SHOWN = 50
_BYTES_MAX = 256 * 1024 * 1024


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    parser = commands.add_parser("scores", help="check vendors' score files and put them to use")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, words, do in (
        ("check", "report coverage and every fault of a file", _check),
        ("baskets", "build all baskets on a file's facts", _baskets),
        ("activate", "put a file to use: what the server offers is built on it", _activate),
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
        if do is _activate:
            verb.add_argument("--yes", action="store_true", help="do not ask")
            _add_firm(verb)
    listing = verbs.add_parser("list", help="what a firm has imported, and what of it is in use")
    listing.set_defaults(do=_list)
    stop = verbs.add_parser("deactivate", help="put a vendor's scores out of use; they are kept")
    stop.add_argument("vendor")
    stop.add_argument("--as-of", type=date.fromisoformat, help="only those of one date")
    stop.set_defaults(do=_deactivate)
    for verb in (listing, stop):
        _add_firm(verb)


def _add_firm(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--firm", default="", help="the firm that bought them; the house if not said")


def _check(_settings: Settings, args: argparse.Namespace) -> int:
    report = _read(args)
    _print_coverage(report)
    for problem in report.problems[:_SHOWN]:
        print(f"line {problem.line} {problem.column}: {problem.code}: {problem.detail}")
    print(
        f"{len(report.rows)} rows, {len(report.problems)} faults, "
        f"{report.outside_universe} about companies outside the universe"
    )
    return 0 if report.clean else 1


def _print_coverage(report: ImportReport) -> None:
    for each in report.coverage:
        print(f"{each.vendor:16} {each.metric:32} {each.securities:5} of {each.universe}")


def _activate(settings: Settings, args: argparse.Namespace) -> int:
    """Report coverage and effect first, ask, and only then put the rows to use."""
    report = _read(args)
    if not report.clean:
        print("robo: the file has faults: `robo scores check` lists them", file=sys.stderr)
        return 1
    with _opened(settings, args) as (db, clock, firm_id):
        _print_coverage(report)
        with db.read() as session:
            effect = importing.effect(session, firm_id, report.rows, business_date(clock.now()))
        print(
            f"{len(report.rows)} rows; of {effect.offered} baskets on offer {len(effect.changed)}"
            f" change; no longer on offer: {' '.join(effect.gone) or 'none'};"
            f" newly on offer: {' '.join(effect.new) or 'none'}. Nothing is traded by this."
        )
        if not args.yes and not _confirmed():
            print("robo: nothing was changed", file=sys.stderr)
            return 1
        made = importing.activate(db, load_keyring(settings), clock, firm_id, report.rows)
    for each in made:
        print(f"{_words(each)} is in use; a running server builds on it from its next request")
    return 0


def _confirmed() -> bool:
    """Return whether somebody at a terminal says yes; nobody there means no."""
    return sys.stdin.isatty() and input("Put them to use? [y/N] ").strip().lower() in {"y", "yes"}


def _list(settings: Settings, args: argparse.Namespace) -> int:
    with _opened(settings, args) as (db, _clock, firm_id), db.read() as session:
        for each in scores.deliveries(session, firm_id):
            use = "in use" if each.active else "not in use"
            print(f"{_words(each)}, {each.row_count} rows, {use}")
    return 0


def _deactivate(settings: Settings, args: argparse.Namespace) -> int:
    with _opened(settings, args) as (db, clock, firm_id):
        keyring = load_keyring(settings)
        for each in importing.deactivate(db, keyring, clock, firm_id, args.vendor, args.as_of):
            print(f"{_words(each)} is not in use any more; the rows are kept")
    return 0


def _words(delivery: Delivery) -> str:
    version = f" version {delivery.version}" if delivery.version else ""
    return f"{delivery.vendor}{version} as of {delivery.as_of}"


@contextmanager
def _opened(settings: Settings, args: argparse.Namespace) -> Iterator[tuple[Database, Clock, str]]:
    """Yield the database, its clock and the firm meant.

    Raises:
        InvalidInputError: If there is no such firm.
    """
    db = open_database(settings)
    try:
        require_current(db)
        with db.read() as session:
            known = {str(row["id"]) for row in licensing.firms(session)}
            firm_id = args.firm or licensing.house(session) or ""
        if firm_id not in known:
            message = "there is no such firm: `robo firms list` names them"
            raise InvalidInputError(message, code="no_such_firm")
        yield db, DatabaseClock(db) if settings.clock == "sim" else SystemClock(), firm_id
    finally:
        db.close()


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
        # A file in the long form may hold any vendor's labels, a wide one only its own.
        bands = {
            place: found
            for each in mappings().values()
            for place, found in each.label_bands.items()
        }
        return import_rows(_cells(args), load_universe(), label_bands=bands)
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
