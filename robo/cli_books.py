"""Commands about the books: verify, anchor, backup, restore, events."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robo.config import Settings
from robo.core.clock import iso_instant
from robo.runtime import SystemClock, load_keyring, open_database
from robo.services import anchoring, backing_up, verifying
from robo.services.backing_up import Places
from robo.services.verifying import Finding
from robo.store import events
from robo.store.schema import require_current

_PAGE = 500


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    verify = commands.add_parser("verify", help="prove that the books are right; 1 = they are not")
    verify.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    verify.set_defaults(do=_verify)
    commands.add_parser("anchor", help="write an anchor now").set_defaults(do=_anchor)
    backup = commands.add_parser("backup", help="write everything but the keys into one archive")
    backup.add_argument("file", type=Path)
    backup.add_argument(
        "--with-keys", action="store_true", help="put the keys in too: guard the file like them"
    )
    backup.set_defaults(do=_backup)
    restore = commands.add_parser("restore", help="fill an empty installation from an archive")
    restore.add_argument("file", type=Path)
    restore.set_defaults(do=_restore)
    feed = commands.add_parser("events", help="print the event feed of a firm as JSON lines")
    feed.add_argument("--firm", required=True, help="the firm's id (`robo firms list`)")
    feed.add_argument("--after", type=int, default=0, help="start after this number")
    feed.set_defaults(do=_events)


def _verify(settings: Settings, args: argparse.Namespace) -> int:
    return report(_findings(settings), as_json=args.json)


def report(findings: list[Finding], *, as_json: bool = False) -> int:
    """Print findings; return the exit status, 1 if there is any."""
    if as_json:
        print(json.dumps({"clean": not findings, "findings": [asdict(one) for one in findings]}))
    else:
        for one in findings:
            print(f"{one.code:36} {one.subject}: {one.detail}")
        print("clean" if not findings else f"{len(findings)} findings")
    return int(bool(findings))


def _findings(settings: Settings) -> list[Finding]:
    db = open_database(settings)
    try:
        require_current(db)
        return verifying.verify(db, load_keyring(settings), settings.anchors_path)
    finally:
        db.close()


def _anchor(settings: Settings, _args: argparse.Namespace) -> int:
    db = open_database(settings)
    try:
        require_current(db)
        made = anchoring.anchor(db, load_keyring(settings), SystemClock(), settings.anchors_path)
    finally:
        db.close()
    print(f"anchor {made.number}: {made.changed} chains" if made else "nothing changed")
    return 0


def _places(settings: Settings) -> Places:
    return Places(settings.state_path, settings.anchors_path, settings.keys_path)


def _backup(settings: Settings, args: argparse.Namespace) -> int:
    db = open_database(settings)
    try:
        places = _places(settings)
        made = backing_up.backup(db, SystemClock(), places, args.file, with_keys=args.with_keys)
    finally:
        db.close()
    print(backing_up.as_text(made))
    if not args.with_keys:
        print(
            f"The keys are NOT in it. Without {settings.keys_path} the archive can be restored, "
            "but neither verified nor read in full: keep a copy of them elsewhere.",
            file=sys.stderr,
        )
    return 0


def _restore(settings: Settings, args: argparse.Namespace) -> int:
    db = open_database(settings)
    try:
        made = backing_up.restore(db, _places(settings), args.file)
    finally:
        db.close()
    print(backing_up.as_text(made))
    if not any(settings.keys_path.glob("*.key")):
        print(f"Put the keys into {settings.keys_path}, then run `robo verify`.")
        return 0
    return report(_findings(settings))


def _events(settings: Settings, args: argparse.Namespace) -> int:
    db = open_database(settings)
    after = args.after
    try:
        while True:
            with db.read() as session:
                page = events.page(
                    session, firm_id=args.firm, customer_id=None, after=after, limit=_PAGE
                )
            for row in page:
                found = {**row._mapping, "at": iso_instant(row.at)}  # noqa: SLF001 - its public name
                print(json.dumps({**found, "payload": json.loads(row.payload)}))
            if len(page) < _PAGE:
                return 0
            after = page[-1].seq
    finally:
        db.close()
