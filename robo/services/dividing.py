"""What a corporate action means for one account, from the broker's totals."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from itertools import accumulate
from typing import Any, Final

from robo.core.errors import RefusedError
from robo.core.ids import AccountId, LotId, SecurityId, child_id
from robo.core.money import NANOS_PER_SHARE, PPM, round_ratio, split_cents
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind
from robo.store import lots
from robo.tax import lots as tax_lots

LEAVING: Final = frozenset({ActionKind.CASH_MERGER, ActionKind.STOCK_MERGER, ActionKind.DELISTING})
"""Actions after which nobody holds the security any more."""
_DUST_NANOS: Final = 1_000
"""A broker may count shares to six decimals; everybody is given exactly what it brought."""


@dataclass(frozen=True, slots=True)
class Part:
    """One account's part of an activity."""

    account_id: AccountId
    nanos: int
    """What it held when the action went ex."""
    cents: int
    nanos_delta: int
    new_nanos: int


@dataclass(slots=True)
class Booked:
    """Everything that applying an activity to some accounts writes."""

    transfers: list[Transfer] = field(default_factory=list)
    lot_events: list[lots.LotEvent] = field(default_factory=list)
    acquired_on: dict[str, str] = field(default_factory=dict)
    hold_until: dict[str, str] = field(default_factory=dict)
    proceeds: list[tuple[str, AccountId, int, str, str]] = field(default_factory=list)

    def add(self, other: "Booked") -> None:
        """Take what another one writes."""
        self.transfers += other.transfers
        self.lot_events += other.lot_events
        self.acquired_on |= other.acquired_on
        self.hold_until |= other.hold_until
        self.proceeds += other.proceeds


def is_of(
    activity: Activity,
    action: Mapping[str, Any],
    held: int,
    traded: Sequence[int],
    arrived: Sequence[int] = (),
) -> bool:
    """Return whether shares that the broker divided are those of everybody who was entitled.

    It may say what it had when it divided them, with all that traded since the action went ex, or
    arrived from other firms; if so, what it brought must be, to a nanoshare, what was held before
    by the action's ratio: what came since came in the new terms. Of a spin-off, and of a dividend
    in shares, it may not say what it had: then only that, and it may have rounded more coarsely, or
    brought whole shares of what is new and cash in lieu of the rest: cash alone for less than one.

    Args:
        activity: What the broker brought.
        action: The action as it was published.
        held: Nanoshares of everybody who was entitled.
        traded: What came since, or went (negative), in that account of the broker's, in order.
        arrived: What came there since from accounts at other firms, in order.
    """
    split = activity.kind is ActionKind.SPLIT
    if not may_be(activity, action):
        return False
    if activity.nanos_before == held:
        return True
    if activity.kind not in {ActionKind.SPLIT, ActionKind.SPIN_OFF}:
        return False
    came = held + activity.nanos_delta if split else activity.new_nanos
    unsaid = activity.nanos_before == 0
    since = {
        one + other
        for one in accumulate(traded, initial=0)
        for other in accumulate(arrived, initial=0)
    }
    if not unsaid and activity.nanos_before - held not in since:
        return False
    exact = Fraction(held * int(action["ratio_num"]), int(action["ratio_den"]))
    whole = int(exact) // NANOS_PER_SHARE * NANOS_PER_SHARE
    if unsaid and not split and activity.cents > 0 and came == whole:
        return True
    return abs(came - exact) <= (_DUST_NANOS if unsaid else 1)


def divide(activity: Activity, held: Sequence[tuple[AccountId, int]]) -> list[Part]:
    """Split the broker's totals over the accounts by what each held, to the last unit.

    Ties go by a hash of activity and account, so that no account is always first.
    """
    held = sorted(held, key=lambda one: _tie_key(activity.id, one[0]))
    weights = [nanos for _, nanos in held]
    if activity.kind in LEAVING:
        after = [0] * len(held)  # whatever the broker held of it, the security is no more
    elif activity.nanos_delta:
        after = split_cents(max(sum(weights) + activity.nanos_delta, 0), weights)
    else:
        after = weights
    cents = split_cents(activity.cents, weights)
    fresh = split_cents(activity.new_nanos, weights)
    return [
        Part(account, nanos, money, left - nanos, new)
        for (account, nanos), money, left, new in zip(held, cents, after, fresh, strict=True)
    ]


def _tie_key(activity_id: str, account_id: str) -> bytes:
    return hashlib.blake2b(f"{activity_id}/{account_id}".encode(), digest_size=16).digest()


def book(
    activity: Activity, action: Mapping[str, Any], part: Part, held: Sequence[lots.OpenLot]
) -> Booked:
    """Return what one account's part writes; ids are children of activity and account.

    Args:
        activity: What the broker brought.
        action: The action as it was published.
        part: The account's part of it.
        held: The account's open lots of the security, as they are now.

    Raises:
        RefusedError: If the account has traded since the ex-date so that the action does not fit.
    """
    made = Booked()
    cause = child_id("act", activity.id, part.account_id)
    security, account = activity.security_id, part.account_id
    if activity.kind is ActionKind.SYMBOL_CHANGE:
        return made  # the universe knows; the books speak of ids
    if activity.kind is not ActionKind.CASH_DIVIDEND:
        held = _entitled(activity, str(action["ex_on"]), part, held)
    _move_shares(made, account, security, part.nanos_delta, cause)
    match activity.kind:
        case ActionKind.SPLIT:
            _rescale(made, activity, part, held, cause)
        case ActionKind.CASH_MERGER | ActionKind.DELISTING:
            _cash_out(made, activity, str(action["pay_on"]), part, held, cause)
            return made
        case ActionKind.STOCK_MERGER | ActionKind.SPIN_OFF:
            new_security = activity.new_security_id
            assert new_security is not None
            _move_shares(made, account, new_security, part.new_nanos, cause)
            moved_ppm = PPM if part.nanos_delta else int(action["basis_ppm"])
            if pays_alone(activity):
                _sell_at_once(made, activity, action, part, held, cause, moved_ppm)
            else:
                _carry_over(made, activity, part, held, cause, moved_ppm)
    # A dividend, or the cash that stands in for fractions of a share.
    made.transfers += recipes.dividend(account, part.cents, cause)
    return made


def may_be(activity: Activity, action: Mapping[str, Any]) -> bool:
    """Return whether what came is anything that can be booked of an action.

    The basis of a spin-off that brings nothing would move to nothing; what is sold at once for
    cash alone must be what was announced.
    """
    if activity.kind is not ActionKind.SPIN_OFF:
        return True
    if pays_alone(activity):
        return activity.new_security_id == action.get("new_security_id") is not None
    return activity.new_security_id is not None and activity.new_nanos > 0


def pays_alone(activity: Activity) -> bool:
    """Return whether a spin-off brought cash and no share of what is new."""
    return activity.kind is ActionKind.SPIN_OFF and activity.cents > 0 and not activity.new_nanos


def _entitled(
    activity: Activity, ex_on: str, part: Part, held: Sequence[lots.OpenLot]
) -> Sequence[lots.OpenLot]:
    """Return the lots that the action is about: those bought before the ex-date.

    A dividend in shares comes weeks later, and what was bought in between came without it.

    Raises:
        RefusedError: If they are not what was held then. A split alone can still be applied to what
            is left of them.
    """
    mine = [lot for lot in held if lot.acquired_on < ex_on]
    there = sum(lot.nanos for lot in mine)
    fits = there == part.nanos
    if activity.kind is ActionKind.SPLIT:
        fits = there > 0 and there + part.nanos_delta >= 0
    if not fits:
        message = "the account's lots are not what it held on the ex-date"
        raise RefusedError(message, code="action_does_not_fit")
    return mine


def _move_shares(
    made: Booked, account: AccountId, security: SecurityId, nanos: int, cause: str
) -> None:
    if nanos > 0:
        made.transfers += recipes.shares_in(account, security, nanos, cause)
    elif nanos < 0:
        made.transfers += recipes.shares_out(account, security, -nanos, cause)


def _event(
    activity: Activity,
    part: Part,
    cause: str,
    lot_id: str,
    kind: str,
    nanos: int,
    basis_cents: int,
    *,
    proceeds_cents: int = 0,
    security_id: int | None = None,
) -> lots.LotEvent:
    return lots.LotEvent(
        id=child_id("lev", cause, lot_id, kind),
        lot_id=lot_id,
        account_id=part.account_id,
        security_id=activity.security_id if security_id is None else security_id,
        kind=kind,
        nanos_delta=nanos,
        basis_delta_cents=basis_cents,
        proceeds_cents=proceeds_cents,
        cause=cause,
        on_date=activity.on.isoformat(),
    )


def _rescale(
    made: Booked, activity: Activity, part: Part, held: Sequence[lots.OpenLot], cause: str
) -> None:
    there = sum(lot.nanos for lot in held)
    after = tax_lots.rescale([_pure(lot) for lot in held], there + part.nanos_delta)
    for lot, nanos in zip(held, after, strict=True):
        if nanos != lot.nanos:
            made.lot_events.append(
                _event(activity, part, cause, lot.id, "split", nanos - lot.nanos, 0)
            )


def _cash_out(
    made: Booked,
    activity: Activity,
    pay_on: str,
    part: Part,
    held: Sequence[lots.OpenLot],
    cause: str,
) -> None:
    waiting = chart.unsettled(part.account_id)
    made.transfers += recipes.move(
        "merger", chart.STREET_MARKET, waiting, chart.USD, part.cents, cause
    )
    if part.cents:
        made.proceeds.append((child_id("pro", cause), part.account_id, part.cents, pay_on, cause))
    for closing in tax_lots.close([_pure(lot) for lot in held], part.nanos, part.cents):
        made.lot_events.append(
            _event(
                activity,
                part,
                cause,
                closing.lot_id,
                "close",
                -closing.nanos,
                -closing.basis_cents,
                proceeds_cents=closing.proceeds_cents,
            )
        )


def _carry_over(
    made: Booked,
    activity: Activity,
    part: Part,
    held: Sequence[lots.OpenLot],
    cause: str,
    moved_ppm: int,
) -> None:
    """Move shares' basis and holding period to the new security, lot by lot."""
    fresh = split_cents(part.new_nanos, [lot.nanos for lot in held])
    leaving = bool(part.nanos_delta)
    for lot, nanos in zip(held, fresh, strict=True):
        basis = round_ratio(lot.basis_cents * moved_ppm, PPM)
        gone = -lot.nanos if leaving else 0
        kind = "merge" if leaving else "basis"
        if gone or basis:
            made.lot_events.append(_event(activity, part, cause, lot.id, kind, gone, -basis))
        lot_id = child_id("lot", cause, lot.id)
        made.lot_events.append(
            _event(
                activity,
                part,
                cause,
                lot_id,
                "open",
                nanos,
                basis,
                security_id=activity.new_security_id,
            )
        )
        made.acquired_on[lot_id] = lot.acquired_on
        made.hold_until[lot_id] = lot.hold_until  # still bought with money that settles later


def _sell_at_once(
    made: Booked,
    activity: Activity,
    action: Mapping[str, Any],
    part: Part,
    held: Sequence[lots.OpenLot],
    cause: str,
    moved_ppm: int,
) -> None:
    """Book the new security as received and sold for the cash that came in lieu of it.

    Its part of the basis leaves with it, lot by lot; the difference is a gain or a loss as old as
    the lot. The cash itself is the caller's. Of less than a nanoshare there is only the cash.
    """
    new_security = activity.new_security_id
    assert new_security is not None
    exact = part.nanos * int(action["ratio_num"]) // int(action["ratio_den"])
    if exact == 0:
        return
    fresh = split_cents(exact, [lot.nanos for lot in held])
    paid = split_cents(part.cents, [lot.nanos for lot in held])
    one = replace(part, new_nanos=exact)
    _carry_over(made, activity, one, held, cause, moved_ppm)
    opened = {e.lot_id: e for e in made.lot_events if e.kind == "open"}
    for lot, nanos, cents in zip(held, fresh, paid, strict=True):
        new = opened[child_id("lot", cause, lot.id)]
        made.lot_events.append(
            _event(
                activity,
                part,
                cause,
                new.lot_id,
                "close",
                -nanos,
                -new.basis_delta_cents,
                proceeds_cents=cents,
                security_id=new_security,
            )
        )
    _move_shares(made, part.account_id, new_security, exact, cause)
    _move_shares(made, part.account_id, new_security, -exact, cause)


def _pure(lot: lots.OpenLot) -> tax_lots.Lot:
    return tax_lots.Lot(
        LotId(lot.id),
        SecurityId(lot.security_id),
        date.fromisoformat(lot.acquired_on),
        lot.nanos,
        lot.basis_cents,
    )
