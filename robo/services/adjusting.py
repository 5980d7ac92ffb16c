"""Corporate actions on the books: who was entitled on the ex-date gets what the broker brought.

The price source announces an action; on its ex-date we remember who holds how much. The broker's
activity says what came in for all of them; it is split by largest remainder over what each held, so
that our holdings and cash stay equal to the broker's to the last nanoshare and cent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.ids import AccountId, FirmId
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import AccountModel, Activity, Broker
from robo.ports.prices import ActionKind, CorporateAction, PriceSource
from robo.services import (
    charging,
    crediting,
    dividing,
    ordering,
    parking,
    partaking,
    targeting,
    unparking,
)
from robo.services.comparing import Place
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import (
    accounts,
    activities,
    controls,
    cursors,
    events,
    lots,
    prices,
    universe,
)
from robo.store.database import Database
from robo.store.keyring import Keyring

_JOB: Final = "adjust"
_GONE: Final = {
    ActionKind.CASH_MERGER: "merged",
    ActionKind.STOCK_MERGER: "merged",
    ActionKind.DELISTING: "delisted",
}
_REPRICING: Final = {*_GONE, ActionKind.SPLIT, ActionKind.SPIN_OFF}
"""Actions after which an order planned before would mean another share, or none."""
_SHARES_DIVIDED: Final = {ActionKind.SPLIT, ActionKind.STOCK_MERGER, ActionKind.SPIN_OFF}
_PAGE: Final = 500


def apply_day(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    source: PriceSource,
    clock: Clock,
    policy: Policy,
    on: date,
) -> int:
    """Apply the actions that go ex on a day and what the broker has brought; return both counts.

    Runs before the day's first trade; twice changes nothing.
    """
    at_micros = to_micros(clock.now())
    announced = source.actions(on)

    def announce(session: Session, part: Sequence[CorporateAction]) -> None:
        _announce(session, keyring, part, at_micros)

    # An action that cannot be written stops the day: without it prices and shares disagree for all.
    Turns(db, policy).each(announced, announce)
    brought = bring(db, keyring, broker, clock, policy, on)
    brought += _give_what_is_owed(db, keyring, broker, clock, policy, on)
    _leave_dead_names(db, clock)
    return len(announced) + brought


def _announce(
    session: Session, keyring: Keyring, part: Sequence[CorporateAction], at_micros: int
) -> None:
    """Remember actions that go ex on one day, who is entitled, and what they do to the universe."""
    known = prices.seen(session, [action.id for action in part])
    new = [action for action in part if action.id not in known]
    if not new:
        return
    rows = [_row(action) for action in new]
    prices.publish(session, rows)
    # What was bought on the ex-date itself came without the right, even if it is booked already.
    held = lots.held_before(session, [a.security_id for a in new], new[0].ex_on.isoformat())
    lots.entitle(
        session,
        [
            (action.id, account, action.security_id, nanos)
            for action in new
            for account, nanos in held.get(action.security_id, ())
        ],
    )
    for action in new:
        _change(session, keyring, action, at_micros)
    told = [events.NewEvent("", f"action.{kind}", name, detail) for name, kind, *_, detail in rows]
    events.emit(session, told, at_micros)


def _row(action: CorporateAction) -> tuple[str, str, int, str, str, str]:
    """Return an action as it is kept."""
    detail = json.dumps(asdict(action), default=str, sort_keys=True, separators=(",", ":"))
    ex_on, pay_on = action.ex_on.isoformat(), action.pay_on.isoformat()
    return action.id, action.kind.value, action.security_id, ex_on, pay_on, detail


def _change(session: Session, keyring: Keyring, action: CorporateAction, at_micros: int) -> None:
    """Do to orders and to the universe what an action does to them."""
    if action.kind in _REPRICING:
        ordering.cancel_planned_of_security(
            session, keyring, action.security_id, Reason.REJECT_EXPIRED, at_micros
        )
    if action.kind is ActionKind.SYMBOL_CHANGE and action.new_symbol:
        universe.rename(session, action.security_id, action.new_symbol)
    if action.kind in _GONE:
        universe.set_state(session, action.security_id, _GONE[action.kind])
    new_id = action.new_security_id
    if new_id is not None and not universe.by_id(session, [new_id]):
        parent = universe.by_id(session, [action.security_id])[action.security_id]
        symbol = action.new_symbol or f"{parent.symbol}.N"
        universe.add(
            session,
            [universe.Listing(new_id, symbol, f"{parent.name} (new)", parent.sector)],
        )


def bring(
    db: Database, keyring: Keyring, broker: Broker, clock: Clock, policy: Policy, on: date
) -> int:
    """Apply the broker's activities up to a day in its order, each once; return how many.

    What it tells only after the day has begun is booked when it is told; until then nobody trades
    the name in that account of the broker's (`judging`). Who makes up for missed sessions reads of
    later days too. Nobody is entitled to those yet: they wait for their day, and the cursor with
    them.
    """
    with db.read() as session:
        parked = unparking.kept(session)
        after = cursors.cursor(session, activities.CURSOR)
    count = _again(db, keyring, broker, clock, policy, parked)
    while True:
        page = broker.activities(after)
        due = [one for one in page.activities if one.on <= on]
        if not due:
            return count
        with db.read() as session:
            done = activities.noted(session, [(one.id, one.broker_account) for one in due])
        for activity in due:
            if activity.id in done:
                continue
            _apply(db, keyring, broker, clock, policy, activity)
            count += 1
        whole = len(due) == len(page.activities)
        with db.write() as session:
            activities.note(session, [_noted(one) for one in due], to_micros(clock.now()))
            if whole:
                cursors.move_cursor(session, activities.CURSOR, page.cursor)
        if not whole:
            return count
        after = page.cursor


def _give_what_is_owed(
    db: Database, keyring: Keyring, broker: Broker, clock: Clock, policy: Policy, on: date
) -> int:
    """Book actions of customers' shares that their firm owes them, all of them; return how many.

    At the broker there is nothing of the name, so it tells nothing.
    """
    if broker.capabilities.account_model is AccountModel.SEGREGATED:
        return 0
    due: list[Activity] = []
    with db.read() as session:
        for firm_id, told in partaking.owed(session, on):
            mine = crediting.entitled(session, told.action_id, firm_id, None)
            action = json.loads(prices.action_detail(session, told.action_id))
            own = partaking.held_then(session, firm_id, told, action)
            waits = any(state == "waiting" for _, _, state in mine)
            if waits and sum(nanos for _, nanos, _ in mine) + own == 0:
                due.append(told)
    for told in due:
        _apply(db, keyring, broker, clock, policy, told)
    return len(due)


def _again(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    policy: Policy,
    parked: Sequence[tuple[str, Activity]],
) -> int:
    """Book what was parked, each with its break, and fits by now; return how many."""
    count = 0
    for break_id, activity in parked:
        if _is_counted_anew(db, activity):
            _apply(db, keyring, broker, clock, policy, activity)
            with db.write() as session:
                at_micros = to_micros(clock.now())
                unparking.end(session, keyring, break_id, activity, at_micros)
            count += 1
    return count


def _noted(one: Activity) -> tuple[str, str, str, int, str, int, str]:
    """Return an activity as it is kept for comparing with the broker."""
    state, on = charging.state_of(one), one.on.isoformat()
    return one.id, one.broker_account, one.kind.value, one.security_id, on, one.cents, state


def _whose(session: Session, broker_account: str) -> tuple[FirmId, AccountId | None]:
    """Return the firm of an account at the broker, and the customer's account it is kept for."""
    kept = controls.owner_of_broker_account(session, broker_account)
    if kept is not None:
        return FirmId(kept[0]), kept[1]
    return FirmId(broker_account.rpartition("/")[2]), None


def _apply(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    clock: Clock,
    policy: Policy,
    activity: Activity,
) -> None:
    at_micros = to_micros(clock.now())
    with db.read() as session:
        firm_id, only = _whose(session, activity.broker_account)
        mine = crediting.entitled(session, activity.action_id, firm_id, only)
        detail = prices.action_detail(session, activity.action_id)
    customers = sum(nanos for _, nanos, _ in mine)
    action = json.loads(detail) if detail else {}
    if charging.concerns(activity):
        had = [(account, nanos) for account, nanos, _ in mine]
        if charging.is_shared(activity) and only is None:
            activity = partaking.charged(
                db, keyring, firm_id, activity, action, customers, at_micros
            )
        charging.charge(db, keyring, clock, policy, firm_id, activity, had)
        return
    waiting = {account for account, _, state in mine if state == "waiting"}
    # What the firm holds for itself lies among its customers' shares and is divided with them.
    own = partaking.held(db, firm_id, activity, action) if only is None else 0
    held = customers + own
    place = Place(activity.broker_account, firm_id, only)
    # Of nothing comes nothing: what customers then get is the firm's, which owes them the shares.
    came = activity.nanos_delta or activity.new_nanos or activity.cents
    fits = held == activity.nanos_before and (
        dividing.may_be(activity, action) or not (held or came)
    )
    if not fits and _is_counted_anew(db, activity):
        _apply(db, keyring, broker, clock, policy, activity)
        return
    if not fits and (waiting or own) and activity.kind in _SHARES_DIVIDED:
        fits = parking.traded_since(db, keyring, broker, clock, place, activity, action, held)
    # Cash too, where the firm may not have held what we think: it would take its customers', or
    # give them its own. Else cash is theirs whatever the broker held, by what each of them did.
    parked = not fits and (activity.kind in _SHARES_DIVIDED or own != 0)
    ask = bool(waiting) and (parked or _doubtful(activity, held, only))
    if (not fits or not detail) and (waiting or not mine):
        with db.write() as session:
            parking.report(session, place, activity, held, at_micros, ask=ask)
            if ask and parked:
                unparking.keep(session, activity)
    if not (waiting or own) or not detail or parked:
        # What is divided by a wrong list would move one customer's to another: a person must look.
        return
    told = activity
    activity, firms_part = partaking.apart(told, own, customers, action)
    partaking.take(db, keyring, firm_id, activity, firms_part, at_micros)
    if not waiting:
        return
    parts = dividing.divide(activity, [(account, nanos) for account, nanos, _ in mine])
    todo = [part for part in parts if part.account_id in waiting]
    left = _give(db, keyring, clock, policy, firm_id, activity, action, todo)
    if left:
        with db.write() as session:
            parking.leave(session, place, told, left, at_micros)


def _is_counted_anew(db: Database, activity: Activity) -> bool:
    """Return whether what was executed before the ex-date, and booked since, makes it fit."""
    with db.write() as session:
        return unparking.recount(session, activity, *_whose(session, activity.broker_account))


def _doubtful(activity: Activity, held: int, only: AccountId | None) -> bool:
    """Return whether a dividend of several customers was paid for other shares than they held."""
    dividend = activity.kind is ActionKind.CASH_DIVIDEND
    return dividend and only is None and held != activity.nanos_before


def _give(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    firm_id: FirmId,
    activity: Activity,
    action: Mapping[str, Any],
    todo: Sequence[dividing.Part],
) -> list[tuple[dividing.Part, str]]:
    """Book the parts of an activity that wait; return those that could not be, each with why."""
    at_micros = to_micros(clock.now())
    waiting = {part.account_id for part in todo}
    if activity.kind in _REPRICING:
        with db.write() as session:
            crediting.drop_planned(session, keyring, activity, waiting, at_micros)

    def write(session: Session, some: Sequence[dividing.Part]) -> None:
        crediting.give(session, keyring, firm_id, activity, action, some, at_micros)

    blame = Blame[dividing.Part](db, clock, _JOB, lambda part: part.account_id)
    turns = Turns(db, policy)
    left = turns.each(todo, write, blame)
    why = {id(part): error.code for part, error in turns.refused}
    return [(part, why.get(id(part), "unexpected")) for part in left]


def _leave_dead_names(db: Database, clock: Clock) -> None:
    """Point accounts whose target holds a name that is gone at its stand-in."""
    at_micros = to_micros(clock.now())
    blame = Blame[AccountId](db, clock, _JOB, str)

    def refresh(some: Sequence[AccountId]) -> None:
        with db.write() as session:
            targeting.refresh(session, some, at_micros)

    after: AccountId | str = ""
    while True:
        with db.read() as session:
            gone = sorted(universe.gone(session))
            found = accounts.accounts_of_target(session, gone, after, _PAGE) if gone else []
        if not found:
            return
        blame.together(found, refresh)
        after = found[-1]
