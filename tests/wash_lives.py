"""Random lives of households, written to the database as the bookings of their accounts."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from property.tax_unit_shares import Life
from sqlmodel import Session

from robo.core.ids import AccountId, FirmId, LotId, SecurityId, child_id
from robo.store import households, lots
from robo.store.chains import append
from robo.store.database import insert_many
from robo.store.prices import publish
from robo.tax.wash_events import Event, Move, Purchase, Rescale, Sale, Succession

FIRM = FirmId("firm_lives")
Days = list[tuple[date, list[Event]]]
_KINDS = {"me": "individual", "spouse": "individual", "ira": "traditional_ira"}


@dataclass
class Written:
    """A life as the database has it: its people, accounts, and days with the database's ids."""

    me: str
    spouse: str
    accounts: dict[str, AccountId]
    days: Days = field(default_factory=list)

    @property
    def last(self) -> date:
        return self.days[-1][0]


def lives(seeds: Sequence[int], end: date, *, days: int = 10) -> Iterator[Days]:
    """Yield lives that end about a day, some of them calm; empty lots make no life."""
    for seed in seeds:
        drawn = [(on, _kept(events)) for on, events in Life(seed).days(days)]
        drawn = [(on, events) for on, events in drawn if events]
        if not drawn or _ghostly(drawn):
            continue
        first, slow = drawn[0][0], (1, 1, 8, 40)[seed % 4]
        last = first + (drawn[-1][0] - first) * slow
        shift = end - timedelta(days=seed % 45) - last
        yield [(first + (on - first) * slow + shift, events) for on, events in drawn]


def _kept(events: Sequence[Event]) -> list[Event]:
    """What happens to names first, as on an ex-date."""
    told = [event for event in events if isinstance(event, Succession)]
    rest = [event for event in events if not isinstance(event, Succession)]
    return [*told, *rest]


def _ghostly(days: Days) -> bool:
    """Whether a corporate action leaves a lot without shares, or as it was: bookings skip those."""
    held: dict[str, int] = {}
    for _, events in days:
        for event in events:
            match event:
                case Purchase():
                    held[event.lot_id] = event.nanos
                case Sale():
                    held[event.lot_id] -= event.nanos
                case Rescale():
                    if event.nanos in {0, held[event.lot_id]}:
                        return True
                    held[event.lot_id] = event.nanos
                case Move():
                    if event.nanos == 0 or held[event.lot_id] == 0:
                        return True
                    held[event.new_lot_id] = event.nanos
    return False


def write(session: Session, number: int, days: Days, *, since_on: str = "1990-01-01") -> Written:
    """Write one life: two people of one household, three accounts, all that happened."""
    me, spouse = child_id("cus", "life", number, "me"), child_id("cus", "life", number, "spouse")
    insert_many(
        session,
        "customer",
        ("id", "firm_id", "email_index", "state", "created_at", "identity_state", "identity_codes",
         "delivery"),
        [(c, FIRM, c.encode(), "active", 1, "accepted", "", "paper") for c in (me, spouse)],
    )  # fmt: skip
    made = Written(me, spouse, {})
    for name, kind in _KINDS.items():
        account = AccountId(child_id("acc", "life", number, name))
        made.accounts[name] = account
        owner = spouse if name == "spouse" else me
        insert_many(
            session,
            "account",
            ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
            [(account, FIRM, owner, kind, "open", 1)],
        )
    if since_on:
        households.form(session, child_id("hh", number), FIRM, [me, spouse], since_on, 1)
    _book(session, made, number, days)
    return made


def _book(session: Session, made: Written, number: int, days: Days) -> None:
    ids: dict[str, LotId] = {}
    owner: dict[str, AccountId] = {}
    names: dict[str, SecurityId] = {}
    held: dict[str, int] = {}
    bought: dict[str, str] = {}
    for turn, (on, events) in enumerate(days):
        rows: list[lots.LotEvent] = []
        acquired: dict[str, str] = {}
        told: list[Event] = []
        for place, event in enumerate(events):
            cause = child_id("fil", "life", number, turn, place)
            changed = _renamed(made, number, event, cause, ids, owner, names)
            told.append(changed)
            if isinstance(changed, Purchase):
                bought[changed.lot_id] = on.isoformat()
            elif isinstance(changed, Move):
                acquired[changed.new_lot_id] = bought[changed.new_lot_id] = bought[changed.lot_id]
            rows += _rows(changed, cause, on, owner, names, held)
            if isinstance(changed, Succession):
                kind = "split" if changed.security_id == changed.successor_id else "stock_merger"
                ratio = changed.ratio_num, changed.ratio_den
                _announce(
                    session, kind, changed.security_id, changed.successor_id, ratio, on, cause
                )
            elif isinstance(changed, Move) and not changed.leaving:
                old = names[changed.lot_id]
                _announce(session, "spin_off", old, changed.security_id, (1, 1), on, cause)
        # Each account books its own, in the order in which things happen to it.
        mine = {account: (_owner(made, account), account) for account in made.accounts.values()}
        rows.sort(key=lambda row: mine[row.account_id])
        told.sort(key=lambda e: ("", "") if isinstance(e, Succession) else mine[_account(e, owner)])
        lots.apply_events(session, rows, acquired_on=acquired)
        append(session, bytes(32), [row.link() for row in rows], 1)
        made.days.append((on, told))


def _owner(made: Written, account: AccountId) -> str:
    return made.spouse if account == made.accounts["spouse"] else made.me


def _renamed(
    made: Written,
    number: int,
    event: Event,
    cause: str,
    ids: dict[str, LotId],
    owner: dict[str, AccountId],
    names: dict[str, SecurityId],
) -> Event:
    """The same event with ids of the database."""
    own = 1_000 * (number + 1)
    match event:
        case Purchase():
            lot = ids[event.lot_id] = LotId(child_id("lot", cause))
            account, name = made.accounts[event.account_id], SecurityId(own + event.security_id)
            owner[lot], names[lot] = account, name
            return replace(event, account_id=account, security_id=name, lot_id=lot)
        case Sale():
            return replace(event, id=cause, lot_id=ids[event.lot_id])
        case Rescale():
            return replace(event, lot_id=ids[event.lot_id])
        case Move():
            old = ids[event.lot_id]
            new = ids[event.new_lot_id] = LotId(child_id("lot", _act(cause), old))
            name = SecurityId(own + event.security_id)
            owner[new], names[new] = owner[old], name
            return replace(event, lot_id=old, new_lot_id=new, security_id=name)
        case Succession():
            heir = SecurityId(own + event.successor_id)
            return replace(
                event, security_id=SecurityId(own + event.security_id), successor_id=heir
            )


def _act(cause: str) -> str:
    return cause.replace("fil_", "act_")


def _account(event: Event, owner: dict[str, AccountId]) -> AccountId:
    return event.account_id if isinstance(event, Purchase) else owner[event.lot_id]  # type: ignore[union-attr] # successions are told apart


def _rows(
    event: Event,
    cause: str,
    on: date,
    owner: dict[str, AccountId],
    names: dict[str, SecurityId],
    held: dict[str, int],
) -> list[lots.LotEvent]:
    if isinstance(event, Succession):
        return []

    def row(lot: str, kind: str, nanos: int, basis: int, of: str, proceeds: int = 0) -> Any:
        held[lot] = held.get(lot, 0) + nanos
        return lots.LotEvent(
            child_id("lev", of, lot, kind), lot, owner[lot], names[lot], kind, nanos, basis,
            proceeds, of, on.isoformat(),
        )  # fmt: skip

    match event:
        case Purchase():
            return [row(event.lot_id, "open", event.nanos, event.basis_cents, cause)]
        case Sale():
            return [
                row(
                    event.lot_id, "close", -event.nanos, -event.basis_cents, cause,
                    event.proceeds_cents,
                )
            ]  # fmt: skip
        case Rescale():
            return [row(event.lot_id, "split", event.nanos - held[event.lot_id], 0, _act(cause))]
        case Move():
            gone = -held[event.lot_id] if event.leaving else 0
            kind, of = "merge" if event.leaving else "basis", _act(cause)
            made = []
            if gone or event.basis_cents:
                made.append(row(event.lot_id, kind, gone, -event.basis_cents, of))
            made.append(row(event.new_lot_id, "open", event.nanos, event.basis_cents, of))
            return made


def _announce(
    session: Session, kind: str, old: int, new: int, ratio: tuple[int, int], on: date, cause: str
) -> None:
    heir = None if kind == "split" else new
    detail = {"ratio_num": ratio[0], "ratio_den": ratio[1], "new_security_id": heir}
    day = on.isoformat()
    publish(session, [(_act(cause), kind, old, day, day, json.dumps(detail))])
