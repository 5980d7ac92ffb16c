"""Bringing an existing portfolio: a file of lots becomes a draft, is looked at, and is asked for.

Nothing moves here. A file is taken whole or not at all; what it says is the customer's word until
the broker has received the shares (`receiving`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import (
    ConflictError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
)
from robo.core.ids import AccountId, child_id
from robo.core.money import NANOS_PER_SHARE, format_cents, notional_cents
from robo.core.policy import Policy
from robo.core.shares import SHARES_MAX
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.ports.terms import Group
from robo.services import licensing, tabulating
from robo.services.mailing import payload
from robo.services.quoting import board
from robo.services.receiving import in_kind, stale
from robo.services.tabulating import FIRST_DAY, SYMBOL, Sheet
from robo.store import arrivals, ledger, owners, universe
from robo.store.arrivals import MoveIn, MoveInLot
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring
from robo.store.universe import Listing
from robo.tax import gains

COLUMNS: Final = ("symbol", "shares", "basis", "acquired")
OPTIONAL: Final = ("term", "notes")
ROWS_MAX: Final = 2_000
"""Lots a file may have: they arrive in one transaction."""
_NOTES_MAX: Final = 500
_LISTED_MAX: Final = 50
_TERMS: Final = ("short", "long")
_KINDS: Final = ("individual", "joint")
_LIVE: Final = frozenset({"active", "halted"})


@dataclass(frozen=True, slots=True)
class _Row:
    symbol: str
    nanos: int
    basis_cents: int
    acquired_on: date


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody sends."""

    id: str
    text: str
    leave_out: bool
    """Whether what we do not trade stays behind; else a file that names any of it is refused."""


def upload(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    account: owners.Account,
    sent: Upload,
    *,
    actor: str,
) -> MoveIn:
    """Return the draft that a file makes, whole or not at all; the same id is one draft.

    Raises:
        InvalidInputError: Naming every wrong row (`csv_rows`), the header (`csv_header`), or the
            symbols that we do not trade (`unknown_symbols`).
        ConflictError: If the same file was taken before, there are too many, or the account is not
            open.
        RefusedError: If the account cannot receive positions.
    """
    now, today = to_micros(clock.now()), business_date(clock.now())
    rows = parse(sent.text, today)
    mac = keyring.blind_index(
        "move-in", f"{account.id}\x1f{sha256(sent.text.encode()).hexdigest()}"
    )
    with db.write() as session:
        known = arrivals.find(session, sent.id)
        if known is not None:
            return _the_same(known, account.id, mac)
        _require_open(account)
        mine = arrivals.of_account(session, account.id)
        if any(one.content_mac == mac and one.state in arrivals.LIVING for one in mine):
            message = "This very file was taken before."
            raise ConflictError(message, code="import_known")
        if sum(one.state != "canceled" for one in mine) >= policy.move_ins_max:
            message = f"An account has at most {policy.move_ins_max} transfers of positions."
            raise ConflictError(message, code="too_many_move_ins")
        listed, unknown = _listed(session, rows.values())
        if unknown and not sent.leave_out:
            raise _unknown(unknown)
        kept = {place: row for place, row in rows.items() if row.symbol in listed}
        _require_size(session, account, kept, listed)
        made = MoveIn(
            id=sent.id,
            account_id=AccountId(account.id),
            content_mac=mac,
            state="draft",
            left_out=json.dumps(unknown, separators=(",", ":")),
            code="",
            received_on="",
            created_at=now,
            requested_at=None,
            ended_at=None,
            admitted_at=None,
        )
        arrivals.add(session, made, _lots(made.id, kept, listed))
        detail = {"lots": len(kept), "left_out": len(unknown)}
        _note(session, keyring, account, made.id, "move_in.drafted", detail, actor, now)
    return made


def confirm(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    account: owners.Account,
    move_in_id: str,
    *,
    actor: str,
) -> MoveIn:
    """Return a draft as asked for; the broker hears of it from the job that receives positions.

    Raises:
        NotFoundError: If the account has no such transfer.
        ConflictError: If it is no draft any more (`not_a_draft`).
        RefusedError: If the broker cannot receive positions (`in_kind_not_supported`), only whole
            shares (`whole_shares_only`), a name has no price (`no_price`), the whole is too large
            (`move_in_too_large`), or shares have changed since the file (`stale_positions`).
    """
    now = to_micros(clock.now())
    with db.read() as session:
        lots = arrivals.lots_of(session, mine_of(session, account.id, move_in_id).id)
    seen = board(prices, sorted({lot.security_id for lot in lots}), clock.now())
    _require_movable(broker, policy, lots, seen.price_micros)
    with db.write() as session:
        found = mine_of(session, account.id, move_in_id)
        if found.state == "requested":
            return found
        _require_draft(found)
        _require_open(account)
        if stale(session, found, lots):
            message = "A corporate action has changed shares since the file was made: send it anew."
            raise RefusedError(message, code="stale_positions")
        arrivals.change(session, found.id, "requested", at_micros=now)
        detail = {"lots": len(lots)}
        _note(session, keyring, account, found.id, "move_in.requested", detail, actor, now)
    return replace(found, state="requested", requested_at=now)


def cancel(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    account: owners.Account,
    move_in_id: str,
    *,
    actor: str,
) -> None:
    """Drop a draft; what was asked for is on its way and stays.

    Raises:
        NotFoundError: If the account has no such transfer.
        ConflictError: If it is no draft any more.
    """
    now = to_micros(clock.now())
    with db.write() as session:
        found = mine_of(session, account.id, move_in_id)
        if found.state == "canceled":
            return
        _require_draft(found)
        arrivals.change(session, found.id, "canceled", at_micros=now)
        _note(session, keyring, account, found.id, "move_in.canceled", {}, actor, now)


def require_none_coming(session: Session, account_id: str) -> None:
    """Return if nothing is on its way into an account.

    Raises:
        ConflictError: If positions were asked for and have not come: the account cannot close.
    """
    if any(one.state == "requested" for one in arrivals.of_account(session, account_id)):
        message = "Positions are on their way into this account; wait until they are here."
        raise ConflictError(message, code="move_in_open")


def listing(session: Session, account_id: str) -> list[MoveIn]:
    """Return an account's transfers of positions, newest first."""
    return arrivals.of_account(session, account_id)


def parse(text: str, today: date) -> dict[int, _Row]:
    """Return the lots of a file by their line, counted from the header as 1.

    Raises:
        InvalidInputError: Naming every wrong row, up to a bound; no cell is repeated.
    """
    sheet = Sheet(COLUMNS, OPTIONAL, ROWS_MAX, lambda cell: _row(cell, today))
    return tabulating.rows(text, sheet)


def _row(cell: Mapping[str, str], today: date) -> tuple[_Row | None, list[str]]:
    """Return a row, or what is wrong with it."""
    errors: list[str] = []
    symbol, nanos = cell["symbol"].upper(), tabulating.nanos(cell["shares"])
    basis, acquired = tabulating.cents(cell["basis"]), tabulating.day(cell["acquired"])
    term = cell.get("term", "").lower()
    if not SYMBOL.fullmatch(symbol):
        errors.append("symbol: letters, digits, dots and dashes.")
    if nanos <= 0:
        errors.append("shares: a positive number of at most nine decimals.")
    if basis is None:
        errors.append("basis: dollars of the whole lot, at most two decimals, not negative.")
    if acquired is None or not FIRST_DAY <= acquired <= today:
        errors.append("acquired: YYYY-MM-DD or MM/DD/YYYY, not in the future.")
    elif term in _TERMS and (term == "long") != gains.is_long(acquired, today):
        errors.append("term: the date acquired says otherwise.")
    if term and term not in _TERMS:
        errors.append("term: short, long, or nothing.")
    if len(cell.get("notes", "")) > _NOTES_MAX:
        errors.append(f"notes: at most {_NOTES_MAX} characters.")
    if errors:
        return None, errors
    assert basis is not None
    assert acquired is not None
    return _Row(symbol, nanos, basis, acquired), []


def _lots(
    move_in_id: str, rows: Mapping[int, _Row], listed: Mapping[str, Listing]
) -> list[MoveInLot]:
    return [
        MoveInLot(
            id=child_id("mil", move_in_id, place),
            move_in_id=move_in_id,
            place=place,
            security_id=int(listed[row.symbol].id),
            nanos=row.nanos,
            basis_cents=row.basis_cents,
            acquired_on=row.acquired_on.isoformat(),
        )
        for place, row in rows.items()
    ]


def _listed(session: Session, rows: Iterable[_Row]) -> tuple[dict[str, Listing], list[str]]:
    """Return the securities that live under the symbols of rows, and the symbols of none."""
    symbols = sorted({row.symbol for row in rows})
    found = universe.by_symbol(session, symbols)
    listed = {symbol: one for symbol, one in found.items() if one.state in _LIVE}
    return listed, [symbol for symbol in symbols if symbol not in listed]


def _unknown(symbols: Sequence[str]) -> InvalidInputError:
    shown = ", ".join(symbols[:_LISTED_MAX])
    more = "" if len(symbols) <= _LISTED_MAX else f" and {len(symbols) - _LISTED_MAX} more"
    message = "The file names what cannot be held here: send it again with unlisted=leave_out."
    return InvalidInputError(
        message, code="unknown_symbols", fields={"symbols": [f"{shown}{more}"]}
    )


def _require_size(
    session: Session,
    account: owners.Account,
    rows: Mapping[int, _Row],
    listed: Mapping[str, Listing],
) -> None:
    """Refuse a file of nothing that we trade, and holdings larger than the books can count."""
    if not rows:
        raise tabulating.refusal({"csv": ["Nothing in it can be held here."]})
    held = ledger.account_balances(session, AccountId(account.id)).holdings_nanos
    total = {one: held.get(int(listed[one].id), 0) for one in listed}
    for row in rows.values():
        total[row.symbol] += row.nanos
    if any(nanos > SHARES_MAX * NANOS_PER_SHARE for nanos in total.values()):
        raise tabulating.refusal({"csv": ["A position is larger than a billion shares."]})


def _require_movable(
    broker: Broker, policy: Policy, lots: Sequence[MoveInLot], price_micros: Mapping[int, int]
) -> None:
    if Group.IN_KIND not in broker.capabilities.groups:
        message = "The broker in use cannot receive positions from other firms."
        raise RefusedError(message, code="in_kind_not_supported")
    unit = 10 ** (9 - in_kind(broker).in_kind_decimals)
    total: dict[int, int] = {}
    for lot in lots:
        total[lot.security_id] = total.get(lot.security_id, 0) + lot.nanos
    if any(lot.nanos % unit for lot in lots):
        message = "The broker takes fewer decimals of a share: leave fractions to the other firm."
        raise RefusedError(message, code="whole_shares_only")
    if any(one not in price_micros for one in total):
        message = "Something in it has no price at present."
        raise RefusedError(message, code="no_price")
    worth = sum(notional_cents(nanos, price_micros[one]) for one, nanos in total.items())
    if worth > policy.move_in_cents_max:
        message = f"A transfer is worth at most ${format_cents(policy.move_in_cents_max)}."
        raise RefusedError(message, code="move_in_too_large")


def mine_of(session: Session, account_id: str, move_in_id: str) -> MoveIn:
    """Return a transfer of an account.

    Raises:
        NotFoundError: If the account has no such transfer.
    """
    found = arrivals.find(session, move_in_id)
    if found is None or found.account_id != account_id:
        message = "There is no such transfer."
        raise NotFoundError(message)
    return found


def _the_same(known: MoveIn, account_id: str, mac: bytes) -> MoveIn:
    if (known.account_id, known.content_mac) != (account_id, mac):
        message = "This key was used for another file."
        raise IdempotencyMismatchError(message)
    return known


def _require_draft(found: MoveIn) -> None:
    if found.state != "draft":
        message = f"This transfer is {found.state} already."
        raise ConflictError(message, code="not_a_draft")


def _require_open(account: owners.Account) -> None:
    """Refuse accounts that are not open, and IRAs: moving those is a rollover, which has rules."""
    if account.state != "open":
        message = "This account is not open."
        raise ConflictError(message, code="account_not_open")
    if account.kind not in _KINDS:
        message = "Positions can be brought into taxable accounts only."
        raise RefusedError(message, code="in_kind_kind")


def _note(
    session: Session,
    keyring: Keyring,
    account: owners.Account,
    move_in_id: str,
    action: str,
    detail: Mapping[str, object],
    actor: str,
    now: int,
) -> None:
    licensing.record(
        session, keyring, account.firm_id, actor, action, move_in_id, dict(detail), now
    )
    told = NewEvent(account.firm_id, action, move_in_id, payload(**detail), account_id=account.id)
    emit(session, [told], now)
