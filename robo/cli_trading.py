"""Commands about trading: the kill switch, reconciliation, breaks, a dry run."""

import argparse
import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from robo.config import Settings
from robo.core.clock import iso_instant
from robo.core.ids import FirmId
from robo.core.money import format_cents
from robo.core.shares import format_nanos
from robo.ledger import chart
from robo.runtime import Runtime, SystemClock, boot, load_keyring, open_database
from robo.services import guarding, operating, reconciling, rehearsing, resolving, switching
from robo.store import breaks, inventory, ledger
from robo.store.controls import EVERYBODY
from robo.store.schema import require_current


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    switch = commands.add_parser("kill-switch", help="stop all new orders, or let them go again")
    switch.add_argument("do_what", choices=("on", "off", "status"), metavar="on|off|status")
    switch.add_argument("--firm", default=EVERYBODY, help="only this firm's orders")
    switch.add_argument("--reason", default="", help="why; needed for on and off")
    switch.set_defaults(do=_kill_switch)
    compare = commands.add_parser(
        "reconcile", help="compare the books with the broker now; 1 = something differs"
    )
    compare.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    compare.set_defaults(do=_reconcile)
    listed = commands.add_parser("breaks", help="list differences with the broker, or clear one")
    listed.add_argument("--state", default="open", choices=breaks.STATES)
    listed.add_argument("--clear", metavar="ID", help="let trading go on in spite of it")
    listed.add_argument("--note", default="", help="why it may be cleared")
    listed.set_defaults(do=_breaks)
    decided = commands.add_parser(
        "decide", help="list orders and executions that wait for a person, or settle one"
    )
    which = decided.add_mutually_exclusive_group()
    which.add_argument("--adopt-order", metavar="ID", help="what the broker has by it is ours")
    which.add_argument("--end-order", metavar="ID", help="it is not there, not ours, or over")
    which.add_argument("--adopt-execution", metavar="ID", help="it happened: book it")
    which.add_argument("--dismiss-execution", metavar="ID", help="it did not, or is not ours")
    decided.add_argument("--note", default="", help="why")
    decided.set_defaults(do=_decide)
    own = commands.add_parser("inventory", help="what a firm holds for itself, and whether it may")
    own.add_argument("firm", help="the firm's id (`robo firms list`)")
    own.add_argument(
        "--broker-dealer",
        choices=("yes", "no"),
        help="whether it may fill fractions of whole shares from its own book",
    )
    own.set_defaults(do=_inventory)
    dry = commands.add_parser("dry-run", help="print what the next window would send, and why")
    dry.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    dry.set_defaults(do=_dry_run)


@contextmanager
def _runtime(settings: Settings) -> Iterator[Runtime]:
    made = boot(settings)
    try:
        yield made
    finally:
        made.close()


def _actor() -> str:
    return f"local:{getpass.getuser()}"


def _kill_switch(settings: Settings, args: argparse.Namespace) -> int:
    # Neither broker nor prices are built: it must work when they do not.
    db = open_database(settings)
    try:
        require_current(db)
        if args.do_what != "status":
            stop = args.do_what == "on"
            changed = switching.turn(
                db,
                load_keyring(settings),
                SystemClock(),
                args.firm,
                stop=stop,
                reason=args.reason,
                actor=_actor(),
            )
            print("changed" if changed else "it stood so already")
        standing = switching.standing(db)
    finally:
        db.close()
    for one in standing:
        word = "STOPPED" if one.stopped else "running"
        since = iso_instant(one.changed_at)
        print(f"{word:8} {one.scope:24} since {since} by {one.actor}: {one.reason}")
    if not standing:
        print("running: the switch was never used")
    return int(any(one.stopped for one in standing))


def _reconcile(settings: Settings, args: argparse.Namespace) -> int:
    with _runtime(settings) as r:
        report = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy)
    if args.json:
        print(json.dumps(asdict(report)))
    else:
        for one in report.found:
            _print_break(one)
        for place in report.unheard:
            print(f"no answer about {place}")
        print(
            f"{report.places} accounts compared, {report.repaired} breaks repaired, "
            f"{len(report.found)} open"
        )
    return int(bool(report.found or report.unheard))


def _print_break(one: breaks.KnownBreak) -> None:
    shown = format_cents if one.subject in {"cash", "activity"} else format_nanos
    what = f"security {one.security_id}" if one.security_id else one.reference or "account"
    print(
        f"{one.id}  {one.category:18} {one.subject:9} {one.broker_account} {what}: "
        f"books {shown(one.ours)}, broker {shown(one.theirs)}; {one.repair}"
        + ("  BLOCKS" if one.blocks else "")
    )


def _breaks(settings: Settings, args: argparse.Namespace) -> int:
    db = open_database(settings)
    try:
        require_current(db)
        if args.clear:
            keyring = load_keyring(settings)
            reconciling.clear(db, keyring, SystemClock(), args.clear, args.note, actor=_actor())
        with db.read() as session:
            found = breaks.listed(session, args.state)
    finally:
        db.close()
    for one in found:
        _print_break(one)
    print(f"{len(found)} {args.state}")
    return 0


def _decide(settings: Settings, args: argparse.Namespace) -> int:
    with _runtime(settings) as r:
        word = resolving.Word(args.note, _actor())
        orders = {
            resolving.OrderVerdict.ADOPT: args.adopt_order,
            resolving.OrderVerdict.END: args.end_order,
        }
        executions = {
            resolving.ExecutionVerdict.ADOPT: args.adopt_execution,
            resolving.ExecutionVerdict.DISMISS: args.dismiss_execution,
        }
        for told, block_id in orders.items():
            if block_id:
                resolving.order(
                    r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy, block_id, told, word
                )
        for verdict, stray_id in executions.items():
            if stray_id:
                resolving.execution(r.db, r.keyring, r.clock, stray_id, verdict, word)
        with r.db.read() as session:
            found = operating.queue(session, r.calendar, r.policy, "", r.clock.now())
    for block in found.orders:
        held = f", {found.behind[block.id]} orders wait for it" if block.id in found.behind else ""
        place = f"{block.broker_account} {block.side} {block.symbol}"
        print(f"order {block.id}  {place}: {block.code}{held}")
    for one in found.executions:
        print(f"execution {one.id}  of {one.client_id}: {format_nanos(one.nanos)}, {one.why}")
    for still in found.accounts:
        print(f"account {still.broker_account}  {still.orders} orders in vain: {still.code}")
    print(f"{len(found.orders)} orders, {len(found.executions)} executions")
    return 0


def _inventory(settings: Settings, args: argparse.Namespace) -> int:
    db = open_database(settings)
    try:
        require_current(db)
        if args.broker_dealer:
            principal = args.broker_dealer == "yes"
            keyring = load_keyring(settings)
            switching.set_principal(
                db, keyring, SystemClock(), args.firm, principal=principal, actor=_actor()
            )
        with db.read() as session:
            may = args.firm in inventory.principals(session)
            held = inventory.held(session, args.firm)
            cash = ledger.balance(session, chart.inventory(FirmId(args.firm)))
    finally:
        db.close()
    print("a broker-dealer" if may else "an adviser: it holds nothing for itself")
    for security_id, nanos in held.items():
        print(f"security {security_id}: {format_nanos(nanos)} shares")
    print(f"cash paid and received: {format_cents(cash)}")
    return 0


def _dry_run(settings: Settings, args: argparse.Namespace) -> int:
    with _runtime(settings) as r:
        desk = guarding.Desk(r.keyring, r.prices, r.calendar)
        found = rehearsing.rehearse(r.db, r.broker, r.clock, r.policy, desk)
        at = r.clock.now()
    if args.json:
        print(json.dumps(asdict(found)))
        return 0
    for one in found.sends:
        size = (
            format_cents(one.notional_cents)
            if one.notional_cents is not None
            else (f"{format_nanos(one.nanos or 0)} shares")
        )
        print(f"send  {one.side:4} {one.symbol:8} {size:>16}  {one.orders} orders, {one.firm_id}")
    for held in found.waits:
        print(f"{held.code:24} {held.side:4} {held.symbol:8} {held.orders} orders: {held.sentence}")
    print(
        f"{len(found.sends)} broker orders at {at.isoformat()}, "
        f"{sum(one.orders for one in found.waits)} orders held back, "
        f"{found.unresolved} to be healed first"
    )
    return 0
