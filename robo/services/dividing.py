"""What a corporate action means for one account, from the broker's totals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from robo.core.ids import AccountId, LotId, SecurityId, child_id
from robo.core.money import PPM, round_ratio, split_cents
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind
from robo.store import lots
from robo.tax import lots as tax_lots


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
    proceeds: list[tuple[str, AccountId, int, str, str]] = field(default_factory=list)

    def add(self, other: "Booked") -> None:
        """Take what another one writes."""
        self.transfers += other.transfers
        self.lot_events += other.lot_events
        self.acquired_on |= other.acquired_on
        self.proceeds += other.proceeds


def divide(activity: Activity, held: Sequence[tuple[AccountId, int]]) -> list[Part]:
    """Split the broker's totals over the accounts by what each held, to the last unit."""
    weights = [nanos for _, nanos in held]
    after = split_cents(max(sum(weights) + activity.nanos_delta, 0), weights)
    if activity.nanos_delta == 0:
        after = weights
    cents = split_cents(activity.cents, weights)
    fresh = split_cents(activity.new_nanos, weights)
    return [
        Part(account, nanos, money, left - nanos, new)
        for (account, nanos), money, left, new in zip(held, cents, after, fresh, strict=True)
    ]


def book(
    activity: Activity, action: Mapping[str, Any], part: Part, held: Sequence[lots.OpenLot]
) -> Booked:
    """Return what one account's part writes; ids are children of activity and account."""
    made = Booked()
    cause = child_id("act", activity.id, part.account_id)
    security, account = activity.security_id, part.account_id
    match activity.kind:
        case ActionKind.CASH_DIVIDEND:
            made.transfers += recipes.dividend(account, part.cents, cause)
        case ActionKind.SPLIT:
            _move_shares(made, account, security, part.nanos_delta, cause)
            _rescale(made, activity, part, held, cause)
        case ActionKind.CASH_MERGER | ActionKind.DELISTING:
            _move_shares(made, account, security, part.nanos_delta, cause)
            _cash_out(made, activity, str(action["pay_on"]), part, held, cause)
        case ActionKind.STOCK_MERGER | ActionKind.SPIN_OFF:
            _move_shares(made, account, security, part.nanos_delta, cause)
            new_security = activity.new_security_id
            assert new_security is not None
            _move_shares(made, account, new_security, part.new_nanos, cause)
            moved_ppm = PPM if part.nanos_delta else int(action["basis_ppm"])
            _carry_over(made, activity, part, held, cause, moved_ppm)
            made.transfers += recipes.dividend(account, part.cents, cause)
        case ActionKind.SYMBOL_CHANGE:
            pass  # the universe knows; the books speak of ids
    return made


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
    after = tax_lots.rescale([_pure(lot) for lot in held], part.nanos + part.nanos_delta)
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
    if not held:
        return
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


def _pure(lot: lots.OpenLot) -> tax_lots.Lot:
    return tax_lots.Lot(
        LotId(lot.id),
        SecurityId(lot.security_id),
        date.fromisoformat(lot.acquired_on),
        lot.nanos,
        lot.basis_cents,
    )
