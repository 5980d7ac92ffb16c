"""Vendors' scores are put to use, or out of it, by the firm that bought them.

Nothing is traded by it: baskets, filters and recommendations change at once, sleeves keep the
target they have until it is resolved again for another reason, and then only buy differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from itertools import groupby

from sqlmodel import Session

from baskets.errors import ImportFileError
from baskets.scores import ScoreRow, ScoreTable
from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import ConflictError, InvalidInputError, NotFoundError
from robo.core.ids import child_id
from robo.services import licensing, offering
from robo.store import scores
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.scores import Delivery


@dataclass(frozen=True, slots=True)
class Effect:
    """What putting a file to use would change for everybody who chooses a basket from then on."""

    offered: int
    changed: tuple[str, ...]
    """Baskets whose names, weights or notes differ."""
    gone: tuple[str, ...]
    """Baskets that could not be offered any more."""
    new: tuple[str, ...]


def effect(session: Session, firm_id: str, rows: Sequence[ScoreRow], on: date) -> Effect:
    """Return what these rows would change, without writing anything.

    Raises:
        InvalidInputError: If there are none, or some are not in force yet.
        ConflictError: If a row contradicts one that was delivered for the same date.
    """
    _require_in_force(rows, on)
    _require_consistent(session, firm_id, rows)
    before = offering.of_firm(session, firm_id).catalog
    known = [
        offering.row_of(vendor, version, as_of, stored)
        for vendor, version, as_of, stored in scores.newest(session, firm_id)
    ]
    after = offering.built_on([*known, *rows]).catalog
    both = before.baskets.keys() & after.baskets.keys()
    return Effect(
        offered=len(after.baskets),
        changed=tuple(
            each
            for each in sorted(both)
            if before.baskets[each].version != after.baskets[each].version
        ),
        gone=tuple(sorted(before.baskets.keys() - both)),
        new=tuple(sorted(after.baskets.keys() - both)),
    )


def activate(
    db: Database, keyring: Keyring, clock: Clock, firm_id: str, rows: Sequence[ScoreRow]
) -> list[Delivery]:
    """Write rows that passed every check and put them to use; return their deliveries.

    Rows are appended: a new date never overwrites an older one, and the same file twice is the
    same delivery. A delivery that was out of use is put to use again.

    Raises:
        InvalidInputError: If there are none, or some are not in force yet.
        ConflictError: If a row contradicts one that was delivered for the same date, in use or not.
    """
    now = clock.now()
    _require_in_force(rows, business_date(now))
    at = to_micros(now)
    with db.write() as session:
        _require_consistent(session, firm_id, rows)
        known = {each.id: each for each in scores.deliveries(session, firm_id)}
        made = []
        for delivery, part in _deliveries(firm_id, rows, at):
            if delivery.id not in known:
                scores.add(session, delivery, [offering.stored_of(row) for row in part])
            made.append(delivery)
        ids = [each.id for each in made]
        scores.switch(session, ids, active=True, at_micros=at)
        _record(session, keyring, firm_id, "scores.activated", made, at)
    return made


def deactivate(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    firm_id: str,
    vendor: str,
    as_of: date | None = None,
) -> list[Delivery]:
    """Put a vendor's deliveries, or those of one date, out of use; the rows stay.

    Raises:
        NotFoundError: If none of them is in use.
    """
    at = to_micros(clock.now())
    day = as_of.isoformat() if as_of else ""
    with db.write() as session:
        found = [
            each
            for each in scores.deliveries(session, firm_id)
            if each.active and each.vendor == vendor and day in {"", each.as_of}
        ]
        if not found:
            message = f"no scores of {vendor[:40]!r} are in use here"
            raise NotFoundError(message, code="no_such_scores")
        scores.switch(session, [each.id for each in found], active=False, at_micros=at)
        _record(session, keyring, firm_id, "scores.deactivated", found, at)
    return found


def _require_in_force(rows: Sequence[ScoreRow], on: date) -> None:
    if not rows:
        message = "the file says nothing about companies that we follow"
        raise InvalidInputError(message, code="no_rows")
    last = max(max(row.key.as_of, row.effective_from or row.key.as_of) for row in rows)
    if last > on:
        message = f"some rows are in force from {last} only; put the file to use on that day"
        raise InvalidInputError(message, code="not_in_force_yet")


def _require_consistent(session: Session, firm_id: str, rows: Sequence[ScoreRow]) -> None:
    """Refuse rows that say something else of the same company, metric and date than before."""
    dates = {(row.key.vendor, row.key.as_of.isoformat()) for row in rows}
    table = ScoreTable().append(rows)
    try:
        for each in scores.deliveries(session, firm_id):
            if (each.vendor, each.as_of) in dates:
                table = table.append(
                    offering.row_of(each.vendor, each.version, each.as_of, stored)
                    for stored in scores.rows_of(session, each.id)
                )
    except ImportFileError as error:
        raise ConflictError(error.detail, code=error.code) from error


def _deliveries(
    firm_id: str, rows: Sequence[ScoreRow], at_micros: int
) -> list[tuple[Delivery, list[ScoreRow]]]:
    """Return a file's rows by vendor and date, each with an id made from all that it says."""
    found = []
    ordered = sorted(rows, key=lambda row: (row.key.vendor, row.key.as_of, *_place(row)))
    for (vendor, day), several in groupby(ordered, lambda row: (row.key.vendor, row.key.as_of)):
        part = list(several)
        version = " ".join(sorted({row.vendor_version for row in part} - {""}))
        content = sha256(repr([version, *map(offering.stored_of, part)]).encode()).hexdigest()
        as_of = day.isoformat()
        number = child_id("scd", firm_id, vendor, as_of, content)
        made = Delivery(number, firm_id, vendor, version, as_of, len(part), 1, at_micros, at_micros)
        found.append((made, part))
    return found


def _place(row: ScoreRow) -> tuple[int, str, str]:
    return row.key.security_id, row.key.metric, row.key.part


def _record(
    session: Session,
    keyring: Keyring,
    firm_id: str,
    action: str,
    made: Sequence[Delivery],
    at_micros: int,
) -> None:
    """Append to the audit trail: of the scores themselves only what they are and how many."""
    for each in made:
        detail = {"vendor": each.vendor, "as_of": each.as_of, "rows": each.row_count}
        licensing.record(
            session, keyring, firm_id, licensing.LOCAL, action, each.id, detail, at_micros
        )
