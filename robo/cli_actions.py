"""The command about corporate actions that wait for a person: list them, or book one by hand."""

import argparse
import getpass
import re
from typing import Any, Final

from robo.config import Settings
from robo.core.errors import InvalidInputError
from robo.core.money import format_cents, parse_cents
from robo.core.shares import format_nanos, parse_nanos
from robo.runtime import boot
from robo.services import awarding
from robo.services.awarding import Parked, Terms
from robo.services.resolving import Word

_RATIO: Final = re.compile(r"([0-9]{1,10})/([0-9]{1,10})", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    acted = commands.add_parser(
        "actions", help="list corporate actions that wait for a person, or book one by hand"
    )
    acted.add_argument("--firm", default="", help="only this firm's")
    acted.add_argument("--book", metavar="BREAK", help="book the action of this break")
    acted.add_argument("--action", default="", metavar="ID", help="if it may be of several")
    came = acted.add_mutually_exclusive_group()
    came.add_argument("--ratio", metavar="NEW/OLD", help="new shares per old ones, like 3/2")
    came.add_argument("--shares", help="shares that came for all together; went: --shares=-5")
    acted.add_argument("--cash", help="dollars that came for all together, if not as it was told")
    acted.add_argument("--new-security", metavar="ID", help="what came, if not as announced")
    acted.add_argument(
        "--own", metavar="SHARES", help="what the firm itself held: --own=-1 if owed"
    )
    acted.add_argument("--basis-ppm", metavar="PPM", help="the basis that a spin-off takes along")
    acted.add_argument(
        "--firm-takes-rest",
        action="store_true",
        help="the firm keeps, or pays, what --cash differs from what the broker brought",
    )
    acted.add_argument(
        "--despite-positions",
        action="store_true",
        help="book it though the broker's shares are others",
    )
    acted.add_argument("--note", default="", help="why; needed to book")
    acted.set_defaults(do=_actions)


def _actions(settings: Settings, args: argparse.Namespace) -> int:
    made = boot(settings)
    try:
        if args.book:
            word = Word(args.note, f"local:{getpass.getuser()}")
            done = awarding.award(
                made.db,
                made.keyring,
                made.broker,
                made.clock,
                args.book,
                _terms(args),
                word,
                args.action,
            )
            print(f"booked for {len(done.waiting)} accounts: {done.action_id}")
        with made.db.read() as session:
            found = awarding.parked(session, args.firm)
    finally:
        made.close()
    for one in found:
        _print(one)
    print(f"{len(found)} wait for a person")
    return int(bool(found))


def _terms(args: argparse.Namespace) -> Terms:
    """Return what an operator has typed.

    Raises:
        InvalidInputError: If a number cannot be read.
    """
    ratio = None
    if args.ratio is not None:
        read = _RATIO.fullmatch(args.ratio)
        if read is None:
            message = "a ratio is two whole numbers, new per old, like 3/2"
            raise InvalidInputError(message)
        ratio = int(read[1]), int(read[2])
    nanos = _signed(args.shares)
    return Terms(
        ratio,
        nanos,
        None if args.cash is None else parse_cents(args.cash),
        _number(args.new_security),
        _number(args.basis_ppm),
        args.firm_takes_rest,
        args.despite_positions,
        _signed(args.own),
    )


def _signed(told: str | None) -> int | None:
    """Return shares as nanoshares; negative ones went, or are owed."""
    if told is None:
        return None
    return parse_nanos(told.removeprefix("-")) * (-1 if told.startswith("-") else 1)


def _number(told: str | None) -> int | None:
    if told is None:
        return None
    if not _NUMBER.fullmatch(told):
        message = "an id, or parts per million, is a whole number"
        raise InvalidInputError(message)
    return int(told)


def _print(one: Parked) -> None:
    ratio = f"{one.action['ratio_num']}/{one.action['ratio_den']}"
    new = one.action["new_security_id"]
    print(
        f"{one.found.id}  {one.kind.value} of security {one.found.security_id} in "
        f"{one.found.broker_account}: announced {ratio}"
        + (f" into security {new}" if new is not None else "")
        + f", ex {one.action['ex_on']} ({one.action_id}); {len(one.waiting)} accounts wait, "
        f"entitled {format_nanos(one.held)} shares"
        + (f", of them the firm's own {format_nanos(one.own)}" if one.own else "")
        + f"; the broker told {format_nanos(one.found.theirs)} shares on {one.on}, "
        f"cash {format_cents(one.cents)}; {one.found.state}"
    )
