"""The kill switch: no new order leaves while it is thrown, from any process; journaled.

Every sender looks at the row before each order that it tells, so what is not on its way when the
switch is thrown stays here. What the broker has already is not touched.
"""

from dataclasses import asdict

from robo.core.clock import Clock, to_micros
from robo.core.errors import InvalidInputError, NotFoundError, RefusedError
from robo.services import licensing
from robo.store import controls, events, firms, inventory
from robo.store.controls import EVERYBODY, KillSwitch
from robo.store.database import Database
from robo.store.keyring import Keyring

_REASON_MAX = 500


def turn(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    scope: str,
    *,
    stop: bool,
    reason: str,
    actor: str,
) -> bool:
    """Stop all new orders, or let them go again; return False where it stood so already.

    Args:
        db: Owns one writing transaction.
        keyring: Signs the audit trail.
        clock: When.
        scope: A firm's id, or `*` for everybody.
        stop: True stops.
        reason: Why; kept on the switch, only its hash in the audit trail.
        actor: Who.

    Raises:
        NotFoundError: If there is no such firm.
        InvalidInputError: If the reason is empty or too long.
    """
    told = reason.strip()
    if not 0 < len(told) <= _REASON_MAX:
        message = f"Say why, in at most {_REASON_MAX} characters."
        raise InvalidInputError(message, code="reason_missing", fields={"reason": [message]})
    at_micros = to_micros(clock.now())
    with db.write() as session:
        known = firms.ids(session)
        if scope != EVERYBODY and scope not in known:
            message = "There is no such firm."
            raise NotFoundError(message)
        if not controls.turn(
            session, scope, stop=stop, actor=actor, reason=told, at_micros=at_micros
        ):
            return False
        verb = "kill_switch.on" if stop else "kill_switch.off"
        detail = {"scope": scope, "reason": told}
        # A switch for everybody is in everybody's trail.
        for firm_id in known if scope == EVERYBODY else [scope]:
            licensing.record(session, keyring, firm_id, actor, verb, scope, detail, at_micros)
            events.emit(session, [events.NewEvent(firm_id, verb, scope)], at_micros)
    return True


def set_principal(
    db: Database, keyring: Keyring, clock: Clock, firm_id: str, *, principal: bool, actor: str
) -> bool:
    """Say whether a firm is a broker-dealer that may hold fractions itself; journaled.

    Raises:
        NotFoundError: If there is no such firm.
        RefusedError: If it still holds shares for itself and would have to stop.
    """
    at_micros = to_micros(clock.now())
    with db.write() as session:
        if firm_id not in firms.ids(session):
            message = "There is no such firm."
            raise NotFoundError(message)
        if not principal and inventory.held(session, firm_id):
            message = "It holds shares for itself: those must be sold first."
            raise RefusedError(message, code="inventory_held")
        if not firms.set_principal(session, firm_id, principal=principal):
            return False
        verb = "principal.on" if principal else "principal.off"
        licensing.record(session, keyring, firm_id, actor, verb, firm_id, {}, at_micros)
    return True


def standing(db: Database) -> list[KillSwitch]:
    """Return every switch that was ever used, as it stands."""
    with db.read() as session:
        return controls.switches(session)


def as_words(one: KillSwitch) -> dict[str, object]:
    """Return a switch for printing."""
    return {**asdict(one), "stopped": bool(one.stopped)}
