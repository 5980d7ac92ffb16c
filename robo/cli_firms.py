"""Commands about firms and their API keys."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from robo.config import Settings
from robo.core.clock import iso_instant
from robo.core.ids import FirmId
from robo.runtime import SystemClock, load_keyring, make_keys, open_database
from robo.services import licensing
from robo.store.database import Database
from robo.store.schema import require_current


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    firms = commands.add_parser("firms", help="create or list firms")
    verbs = firms.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="create a firm; prints its id")
    create.add_argument("name")
    create.set_defaults(do=_on_database(_create_firm))
    verbs.add_parser("list", help="every firm").set_defaults(do=_on_database(_list_firms))

    keys = commands.add_parser("keys", help="create, revoke or list API keys")
    verbs = keys.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("init", help="write the installation's own keys, where missing").set_defaults(
        do=_init_keys
    )
    create = verbs.add_parser("create", help="create a key; prints its secret, once")
    create.add_argument("firm", help="the firm's id")
    create.add_argument("name", help="what the key is for")
    create.add_argument(
        "--scope", action="append", choices=licensing.SCOPES, help="repeat; all of a firm's if none"
    )
    create.set_defaults(do=_on_database(_create_key))
    revoke = verbs.add_parser("revoke", help="revoke a key at once")
    revoke.add_argument("key", help="the key's id")
    revoke.set_defaults(do=_on_database(_revoke_key))
    listing = verbs.add_parser("list", help="a firm's keys, without their secrets")
    listing.add_argument("firm", help="the firm's id")
    listing.set_defaults(do=_on_database(_list_keys))


def _on_database(
    act: Callable[[Settings, Database, argparse.Namespace], None],
) -> Callable[[Settings, argparse.Namespace], int]:
    def do(settings: Settings, args: argparse.Namespace) -> int:
        with _database(settings) as db:
            act(settings, db, args)
        return 0

    return do


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    db = open_database(settings)
    try:
        require_current(db)
        yield db
    finally:
        db.close()


def _init_keys(settings: Settings, _args: argparse.Namespace) -> int:
    for path in make_keys(settings):
        print(path)
    return 0


def _create_firm(settings: Settings, db: Database, args: argparse.Namespace) -> None:
    print(licensing.create_firm(db, load_keyring(settings), SystemClock(), args.name))


def _list_firms(_settings: Settings, db: Database, _args: argparse.Namespace) -> None:
    with db.read() as session:
        _print(licensing.firms(session))


def _create_key(settings: Settings, db: Database, args: argparse.Namespace) -> None:
    keyring = load_keyring(settings)
    scopes = args.scope or licensing.FIRM_SCOPES
    firm_id = FirmId(args.firm)
    print(licensing.create_key(db, keyring, SystemClock(), firm_id, args.name, scopes))


def _revoke_key(settings: Settings, db: Database, args: argparse.Namespace) -> None:
    licensing.revoke_key(db, load_keyring(settings), SystemClock(), args.key)
    print(f"{args.key} is revoked")


def _list_keys(_settings: Settings, db: Database, args: argparse.Namespace) -> None:
    with db.read() as session:
        _print(licensing.keys(session, args.firm))


def _print(rows: Iterable[Mapping[Any, Any]]) -> None:
    for row in rows:
        found = {str(key): value for key, value in row.items()}
        for key in found.keys() & {"created_at", "last_used_at", "revoked_at"}:
            found[key] = None if found[key] is None else iso_instant(found[key])
        print(json.dumps(found))
