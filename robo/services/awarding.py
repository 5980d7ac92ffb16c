"""A parked corporate action that a person books by hand, in the terms that the broker has booked.

What the broker divided was not what those entitled held, so nobody has got it (`parking`). A person
has looked, and says what came: it is booked by the same code as any other, for everybody whom it
fits in that account of the broker's, in one transaction or not at all. It must leave the books with
the shares that the broker has, unless the person says that it may differ all the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, NoReturn

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError
from robo.core.ids import AccountId, FirmId, SecurityId, child_id
from robo.core.money import AMOUNT_CENTS_MAX, NANOS_PER_SHARE, PPM
from robo.core.shares import SHARES_MAX, format_nanos
from robo.ports.broker import Activity, Broker, MassStatus
from robo.ports.prices import ActionKind
from robo.services import (
    charging,
    comparing,
    crediting,
    dividing,
    journaling,
    licensing,
    partaking,
)
from robo.services.comparing import Place
from robo.services.resolving import Word
from robo.store import breaks, prices, universe
from robo.store.breaks import KnownBreak
from robo.store.database import Database
from robo.store.keyring import Keyring

_TERM_MAX: Final = 10**9
_CASH_ALONE: Final = frozenset(
    {ActionKind.CASH_DIVIDEND, ActionKind.CASH_MERGER, ActionKind.DELISTING}
)
"""Actions that bring no shares; what was held of a merger goes."""
_NANOS_MAX: Final = SHARES_MAX * NANOS_PER_SHARE


@dataclass(frozen=True, slots=True)
class Terms:
    """What came by an action, as a person says it: a ratio or a number of shares, and cash."""

    ratio: tuple[int, int] | None = None
    """New shares per old shares: of a split what becomes of them, else what comes of them."""
    nanos: int | None = None
    """Nanoshares that came (of a split: came, or negative went) for all of them together."""
    cents: int | None = None
    """Cash for all of them together; what the broker brought, if left out."""
    new_security_id: int | None = None
    """What came of a merger or a spin-off; what was announced, if left out."""
    basis_ppm: int | None = None
    """How much of the basis moves by a spin-off; what was announced, if left out."""
    firm_takes_rest: bool = False
    """Whether the firm pays, or keeps, what the cash differs from what the broker brought."""
    despite_positions: bool = False
    """Whether the books may then have other shares than the broker."""
    own_nanos: int | None = None
    """What the firm itself held there on the ex-date; what the books say, if left out."""


@dataclass(frozen=True, slots=True)
class Parked:
    """An action that waits for a person in one account at the broker."""

    found: KnownBreak
    action_id: str
    action: Mapping[str, Any]
    """As it was published."""
    kind: ActionKind
    on: date
    cents: int
    """What the broker brought in cash."""
    entitled: tuple[tuple[AccountId, int, str], ...]
    """(Account, nanoshares, state) of those whom it concerns there."""
    own: int
    """What the firm itself held there, nanoshares."""

    @property
    def place(self) -> Place:
        """Return the account at the broker."""
        one = self.found
        only = None if one.account_id is None else AccountId(one.account_id)
        return Place(one.broker_account, one.firm_id, only)

    @property
    def held(self) -> int:
        """Return nanoshares of everybody who was entitled, the firm among them."""
        return self.own + sum(nanos for _, nanos, _ in self.entitled)

    @property
    def waiting(self) -> frozenset[AccountId]:
        """Return who has not got it."""
        return frozenset(account for account, _, state in self.entitled if state == "waiting")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one booking writes."""

    activity: Activity
    """The customers' part of what came."""
    action: Mapping[str, Any]
    parts: Sequence[dividing.Part]
    own: partaking.Own
    rest_cents: int
    """What the broker brought beyond it; negative is what the firm pays."""


def parked(session: Session, firm_id: str = "") -> list[Parked]:
    """Return the actions that wait for a person, oldest first; every firm's for ''."""
    every = _told(session, breaks.parked(session, firm_id=firm_id))
    return [one for one in every.values() if one.waiting]


def award(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    break_id: str,
    terms: Terms,
    word: Word,
    action_id: str = "",
) -> Parked:
    """Book a parked action as a person says that it came, and end its break; all of it or nothing.

    Args:
        db: Owns its transactions.
        keyring: Signs the chains.
        broker: What it has afterwards is compared with.
        clock: The present instant.
        break_id: The break that says that it is parked.
        terms: What came.
        word: Who says so, and why.
        action_id: Which announcement it is of; the latest before it came, if left out.

    Raises:
        NotFoundError: If no such action is parked.
        InvalidInputError: If the terms are not of its kind, or beyond all sense; the note is
            missing.
        ConflictError: If it is booked already, has changed meanwhile, or would leave the books with
            other shares or other cash than the broker.
        RefusedError: If it does not fit an account.
        BrokerUnavailableError: If the broker did not answer; nothing was booked.
    """
    note = word.checked()
    with db.read() as session:
        seen = _one(session, break_id, action_id)
        plan = _plan(session, seen, terms)
    status = broker.mass_status(seen.found.broker_account)
    at_micros = to_micros(clock.now())
    with db.write() as session:
        if _one(session, break_id, action_id) != seen:
            message = "It has changed meanwhile: look again."
            raise ConflictError(message, code="changed")
        if not terms.despite_positions:
            _compare(session, seen, plan, status)
        _write(session, keyring, seen, plan, at_micros)
        detail = {
            "note": note,
            "action": seen.action_id,
            "shares": plan.activity.nanos_delta + plan.activity.new_nanos,
            "new_security": plan.activity.new_security_id,
            "cents": plan.activity.cents,
            "rest_cents": plan.rest_cents,
            "own": [plan.own.nanos_delta, plan.own.new_nanos, plan.own.cents],
        }
        firm, what = seen.found.firm_id, "action.awarded"
        licensing.record(session, keyring, firm, word.actor, what, break_id, detail, at_micros)
        journaling.close(session, keyring, seen.found, "repaired", word.actor, note, at_micros)
    return seen


def _told(session: Session, rows: Sequence[breaks.Divided]) -> dict[str, Parked]:
    """Return break -> the action that it is of: the latest of which somebody there waits."""
    made: dict[str, Parked] = {}
    for row in rows:  # oldest announcement first
        one = _parked(session, row)
        if one.found.id not in made or one.waiting:
            made[one.found.id] = one
    return made


def _parked(session: Session, row: breaks.Divided) -> Parked:
    one = row.found
    only = None if one.account_id is None else AccountId(one.account_id)
    mine = tuple(crediting.entitled(session, row.action_id, FirmId(one.firm_id), only))
    action = json.loads(prices.action_detail(session, row.action_id))
    assert one.security_id is not None
    bare = _activity(one, row.action_id, row.kind, row.on_date, row.cents)
    own = 0
    if one.account_id is None:
        own = partaking.held_then(session, FirmId(one.firm_id), bare, action)
    kind, on = ActionKind(row.kind), date.fromisoformat(row.on_date)
    return Parked(one, row.action_id, action, kind, on, row.cents, mine, own)


def _activity(one: KnownBreak, action_id: str, kind: str, on: str, cents: int) -> Activity:
    """Return what the broker told as far as it is kept: under its id, so that it counts once."""
    return Activity(
        id=one.reference,
        action_id=action_id,
        kind=ActionKind(kind),
        security_id=SecurityId(one.security_id or 0),
        on=date.fromisoformat(on),
        cents=cents,
        nanos_before=0,
        nanos_delta=0,
        broker_account=one.broker_account,
    )


def _one(session: Session, break_id: str, action_id: str) -> Parked:
    rows = breaks.parked(session, break_id=break_id)
    if action_id:
        rows = [row for row in rows if row.action_id == action_id]
    found = _told(session, rows).get(break_id)
    if found is None:
        message = "No such corporate action is parked."
        raise NotFoundError(message, code="not_parked")
    if not found.waiting:
        message = "Everybody has got this action already."
        raise ConflictError(message, code="already_booked")
    return found


def _plan(session: Session, seen: Parked, terms: Terms) -> _Plan:
    """Return what terms mean for everybody who waits.

    Raises:
        InvalidInputError: If they are not of the action's kind, or beyond all sense.
        ConflictError: If the cash is not what the broker brought, and nobody takes the rest.
    """
    new_id, cents = _checked(session, seen, terms)
    if terms.own_nanos is not None:
        seen = replace(seen, own=terms.own_nanos)
    num, den = terms.ratio or (int(seen.action["ratio_num"]), int(seen.action["ratio_den"]))
    basis = int(seen.action["basis_ppm"]) if terms.basis_ppm is None else terms.basis_ppm
    action = {**seen.action, "ratio_num": num, "ratio_den": den, "basis_ppm": basis}
    split = seen.kind is ActionKind.SPLIT
    came = 0 if seen.kind in _CASH_ALONE else terms.nanos
    if came is None:
        came = seen.held * num // den - (seen.held if split else 0)
    if not -seen.held <= came <= _NANOS_MAX or (came < 0 and not split):
        _refuse("shares", "More shares than can be, or fewer than nothing.")
    if came == 0 and cents == 0 and seen.kind not in dividing.LEAVING:
        _refuse("shares", "An action that brings nothing cannot be booked.")
    told = replace(
        _activity(seen.found, seen.action_id, seen.kind, seen.on.isoformat(), cents),
        nanos_before=seen.held,
        nanos_delta=came if split else -seen.held if seen.kind in dividing.LEAVING else 0,
        new_security_id=None if new_id is None else SecurityId(new_id),
        new_nanos=0 if split else came,
    )
    whole = [(account, nanos) for account, nanos, _ in seen.entitled]
    mine, own = partaking.apart(told, seen.own, sum(nanos for _, nanos in whole))
    if len(seen.waiting) < len(whole):
        own = partaking.Own(0, 0, 0)  # it took its part with the others'
    parts = [one for one in dividing.divide(mine, whole) if one.account_id in seen.waiting]
    rest = seen.cents - cents
    if rest and not terms.firm_takes_rest:
        message = "The broker brought other cash: say that the firm takes the rest, or pays it."
        raise ConflictError(message, code="cash_differs")
    return _Plan(mine, action, parts, own, rest)


def _checked(session: Session, seen: Parked, terms: Terms) -> tuple[int | None, int]:
    """Return the security that comes, if one does, and the cash; terms of no sense are refused."""
    alone = seen.kind in _CASH_ALONE
    _check_shares(seen, terms, alone=alone)
    if terms.ratio is not None and not all(0 < one <= _TERM_MAX for one in terms.ratio):
        _refuse("ratio", "A ratio is two whole numbers above nothing.")
    cents = seen.cents if terms.cents is None else terms.cents
    if not 0 <= cents <= AMOUNT_CENTS_MAX:
        _refuse("cash", "Cash that came is not negative, nor beyond all sense.")
    if terms.basis_ppm is not None and not (
        seen.kind is ActionKind.SPIN_OFF and 0 <= terms.basis_ppm <= PPM
    ):
        _refuse("basis_ppm", "Of a spin-off only: at most a million.")
    if alone:
        return None, cents
    if seen.kind is ActionKind.SPLIT:
        if terms.new_security_id is not None:
            _refuse("new_security", "A split brings no other security.")
        return None, cents
    new_id = terms.new_security_id
    if new_id is None:
        new_id = seen.action["new_security_id"]
    if new_id is None or new_id == seen.found.security_id or not universe.by_id(session, [new_id]):
        _refuse("new_security", "Say which security came, one that is listed.")
    return int(new_id), cents


def _check_shares(seen: Parked, terms: Terms, *, alone: bool) -> None:
    """Refuse shares that cannot have come, or that the firm cannot have held.

    In an account of a customer's own it holds nothing.
    """
    if alone and (terms.ratio, terms.nanos, terms.new_security_id) != (None, None, None):
        _refuse("ratio", "It brings cash alone: no shares come of it.")
    if not alone and (terms.ratio is None) == (terms.nanos is None):
        _refuse("ratio", "Say a ratio, or how many shares came: one of them.")
    own, customers = terms.own_nanos, seen.held - seen.own
    if own is None:
        return
    if seen.found.account_id is not None or not -customers < own <= _NANOS_MAX:
        _refuse(
            "own", "The firm holds some among all its customers', and owes less than they hold."
        )


def _refuse(name: str, message: str) -> NoReturn:
    raise InvalidInputError(message, code="terms_unfit", fields={name: [message]})


def _compare(session: Session, seen: Parked, plan: _Plan, status: MassStatus) -> None:
    """Refuse a booking that would leave the books with other shares than the broker has.

    Raises:
        ConflictError: If it would, or its names are in the middle of moving there.
    """
    if seen.kind is ActionKind.CASH_DIVIDEND:
        return  # it moves none
    names = {int(plan.activity.security_id), int(plan.activity.new_security_id or 0)} - {0}
    if names & {int(one) for one in status.moving}:
        message = "The broker is in the middle of it: try again when it has ended."
        raise ConflictError(message, code="still_moving")
    ours = dict(comparing.expected(session, seen.place))
    brings = {
        plan.activity.security_id: plan.own.nanos_delta + sum(p.nanos_delta for p in plan.parts)
    }
    new_id = plan.activity.new_security_id
    if new_id is not None and not dividing.pays_alone(plan.activity):
        brings[new_id] = plan.own.new_nanos + sum(part.new_nanos for part in plan.parts)
    theirs = dict.fromkeys(names, 0)
    for one in status.positions:
        if one.security_id in names:
            theirs[one.security_id] += one.nanos
    for name in sorted(names):
        after = ours.get(name, 0) + brings.get(SecurityId(name), 0)
        if after != theirs[name]:
            message = (
                f"Of security {name} the books would have {format_nanos(after)} shares, "
                f"and the broker has {format_nanos(theirs[name])}."
            )
            raise ConflictError(message, code="position_differs")


def _write(session: Session, keyring: Keyring, seen: Parked, plan: _Plan, at_micros: int) -> None:
    firm_id = FirmId(seen.found.firm_id)
    if seen.kind is not ActionKind.CASH_DIVIDEND:
        crediting.drop_planned(session, keyring, plan.activity, seen.waiting, at_micros)
    partaking.write(session, keyring, firm_id, plan.activity, plan.own, at_micros)
    crediting.give(session, keyring, firm_id, plan.activity, plan.action, plan.parts, at_micros)
    cause = child_id("act", plan.activity.id, firm_id, "rest")
    charging.credit(session, keyring, firm_id, plan.rest_cents, cause, at_micros)
