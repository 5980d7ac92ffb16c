"""Recurring plans: chosen, changed, and turned into deposits on their dates.

Catching up: after downtime each missed date is made up for once, but only the newest
`plan_catch_up_max` of them; older ones are skipped and reported as `plan.skipped`, because nobody
expects a quarter's deposits on one morning. The deposit's id follows from plan and nominal date, so
running a day twice asks for nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
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
from robo.core.ids import child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.services.funding import notes, requesting
from robo.services.funding.dates import (
    MONTHDAY_MAX,
    WEEKDAY_MAX,
    dates_until,
    first_date,
    next_date,
)
from robo.services.isolating import Blame
from robo.services.turns import Turns
from robo.store import payers, plans
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.plans import Plan

_PAGE: Final = 5_000
_CADENCES: Final = ("weekly", "biweekly", "monthly")


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What somebody wants changed about a plan; None leaves a field as it is."""

    cents: int | None = None
    cadence: str | None = None
    day: int | None = None
    bank_link_id: str | None = None
    state: str | None = None
    """`active` or `paused`."""


def create_plan(
    db: Database,
    clock: Clock,
    policy: Policy,
    plan_id: str,
    account_id: str,
    bank_link_id: str,
    cents: int,
    cadence: str,
    day: int,
    start_on: date | None = None,
) -> Plan:
    """Write a recurring deposit; its first nominal date is on or after the start, or today.

    Raises:
        InvalidInputError: If cadence and day do not fit, or the start lies in the past.
        RefusedError: If there are too many plans, or a deposit of it would be refused.
        IdempotencyMismatchError: If the id was used for another plan.
    """
    _require_day(cadence, day)
    now = clock.now()
    today = business_date(now)
    start = start_on or today
    if not today <= start <= date(today.year + 2, 1, 1):
        message = "a plan starts today or later, within two years"
        raise InvalidInputError(message, code="bad_start", fields={"start_on": [message]})
    with db.write() as session:
        known = plans.get(session, plan_id)
        if known is not None:
            return _the_same(known, account_id, bank_link_id, cents)
        payer = payers.payer(session, account_id)
        requesting.require_link(session, payer, bank_link_id)
        requesting.require_ready(session, payer, today)
        requesting.require_amount(cents, policy)
        if plans.count(session, account_id) >= policy.plans_max:
            message = "this account has as many plans as it may have"
            raise RefusedError(message, code="too_many_plans")
        first = first_date(cadence, day, start).isoformat()
        made = Plan(
            id=plan_id,
            account_id=account_id,
            bank_link_id=bank_link_id,
            cents=cents,
            cadence=cadence,
            day=day,
            anchor_on=first,
            next_on=first,
            created_at=to_micros(now),
        )
        plans.add(session, made)
        _note(session, made, "created", now, amount=format_cents(cents), next_on=first)
    return made


def change_plan(
    db: Database, clock: Clock, policy: Policy, account_id: str, plan_id: str, change: PlanChange
) -> Plan:
    """Change, pause or resume a plan; dates that passed while it was paused are not made up for.

    Pausing is always allowed. Everything else is checked as a new plan is, because it asks for
    money again, and perhaps for more.

    Raises:
        NotFoundError: If the account has no such plan.
        ConflictError: If it has ended, or the account takes no deposits.
        OutOfOrderError: If answers that proceed, agreements or the identity come first.
        InvalidInputError: If cadence and day do not fit.
    """
    now = clock.now()
    with db.write() as session:
        plan = _owned(session, account_id, plan_id)
        changed = _changed(session, policy, plan, change, business_date(now))
        if changed != plan:
            plans.save(session, [changed])
            _note(
                session,
                changed,
                "changed",
                now,
                amount=format_cents(changed.cents),
                next_on=changed.next_on,
                state=changed.state,
            )
    return changed


def end_plan(db: Database, clock: Clock, account_id: str, plan_id: str) -> Plan:
    """End a plan; deposits already asked for go on. Ending twice is ending once.

    Raises:
        NotFoundError: If the account has no such plan.
    """
    with db.write() as session:
        plan = plans.get(session, plan_id)
        if plan is None or plan.account_id != account_id:
            message = "there is no such plan"
            raise NotFoundError(message)
        if plan.state == "ended":
            return plan
        ended = replace(plan, state="ended")
        plans.save(session, [ended])
        _note(session, ended, "ended", clock.now())
    return ended


def run_plans(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    on: date,
) -> int:
    """Ask for the deposits of every plan whose session has come by a date; return how many.

    A deposit that is refused (limits, a closed account, a new agreement) is reported as
    `plan.skipped` and the plan goes on with its next date. Tell the bank afterwards.
    """
    made = 0

    def write(session: Session, part: Sequence[Plan]) -> None:
        nonlocal made
        count = 0
        for seen in part:
            plan = plans.get(session, seen.id)
            if plan == seen:
                count += _run_one(session, keyring, clock.now(), calendar, policy, plan, on)
        made += count

    blame = Blame[Plan](db, clock, "run-plans", lambda plan: plan.account_id)
    turns = Turns(db, policy)
    after = ""
    while True:
        with db.read() as session:
            due = plans.due(session, on.isoformat(), after, _PAGE)
        turns.each(due, write, blame)
        if len(due) < _PAGE:
            return made
        after = due[-1].id


def _run_one(
    session: Session,
    keyring: Keyring,
    now: datetime,
    calendar: MarketCalendar,
    policy: Policy,
    plan: Plan,
    on: date,
) -> int:
    """Ask for what one plan is due, and move it on; return how many deposits were asked for."""
    first, anchor = date.fromisoformat(plan.next_on), date.fromisoformat(plan.anchor_on)
    nominal = dates_until(plan.cadence, plan.day, anchor, first, on)
    due = [day for day in nominal if calendar.on_or_after(day) <= on]
    if not due:
        return 0
    late = due[: -policy.plan_catch_up_max]
    if late:
        count, last = str(len(late)), late[-1].isoformat()
        _note(session, plan, "skipped", now, reason="missed", dates=count, last_on=last)
    made = sum(
        _deposit_of(session, keyring, now, policy, plan, day)
        for day in due[-policy.plan_catch_up_max :]
    )
    upcoming = next_date(plan.cadence, plan.day, anchor, due[-1])
    plans.save(session, [replace(plan, next_on=upcoming.isoformat())])
    return made


def _deposit_of(
    session: Session, keyring: Keyring, now: datetime, policy: Policy, plan: Plan, nominal: date
) -> bool:
    on = nominal.isoformat()
    order = requesting.DepositOrder(
        child_id("dep", plan.id, on), plan.account_id, plan.bank_link_id, plan.cents, plan.id
    )
    try:
        requesting.write_request(session, keyring, now, policy, order)
    except (RefusedError, ConflictError, NotFoundError) as error:
        _note(session, plan, "skipped", now, reason=error.code, nominal_on=on)
        return False
    return True


def _changed(session: Session, policy: Policy, plan: Plan, change: PlanChange, today: date) -> Plan:
    cadence, day = change.cadence or plan.cadence, change.day or plan.day
    made = plan
    if change != PlanChange(state="paused"):
        requesting.require_ready(session, payers.payer(session, plan.account_id), today)
    if change.cents is not None:
        requesting.require_amount(change.cents, policy)
        made = replace(made, cents=change.cents)
    if change.bank_link_id is not None:
        payer = payers.payer(session, plan.account_id)
        requesting.require_link(session, payer, change.bank_link_id)
        made = replace(made, bank_link_id=change.bank_link_id)
    if (cadence, day) != (plan.cadence, plan.day):
        _require_day(cadence, day)
        first = first_date(cadence, day, today).isoformat()
        made = replace(made, cadence=cadence, day=day, anchor_on=first, next_on=first)
    if change.state is not None:
        if change.state == "active":
            payer = payers.payer(session, plan.account_id)
            requesting.require_link(session, payer, made.bank_link_id)
        made = replace(made, state=change.state)
        anchor, upcoming = date.fromisoformat(made.anchor_on), date.fromisoformat(made.next_on)
        if change.state == "active" and plan.state == "paused" and upcoming < today:
            upcoming = next_date(cadence, day, anchor, date.fromordinal(today.toordinal() - 1))
            made = replace(made, next_on=upcoming.isoformat())
    return made


def _owned(session: Session, account_id: str, plan_id: str) -> Plan:
    plan = plans.get(session, plan_id)
    if plan is None or plan.account_id != account_id:
        message = "there is no such plan"
        raise NotFoundError(message)
    if plan.state == "ended":
        message = "the plan has ended; make a new one"
        raise ConflictError(message, code="plan_ended")
    return plan


def _require_day(cadence: str, day: int) -> None:
    assert cadence in _CADENCES
    most = MONTHDAY_MAX if cadence == "monthly" else WEEKDAY_MAX
    if not 1 <= day <= most:
        message = f"for a {cadence} plan the day is 1 to {most}"
        raise InvalidInputError(message, code="bad_day", fields={"day": [message]})


def _the_same(known: Plan, account_id: str, bank_link_id: str, cents: int) -> Plan:
    if (known.account_id, known.bank_link_id, known.cents) != (account_id, bank_link_id, cents):
        message = "this id belongs to another plan"
        raise IdempotencyMismatchError(message)
    return known


def _note(session: Session, plan: Plan, what: str, now: datetime, **payload: str) -> None:
    payer = payers.payer(session, plan.account_id)
    notes.write(session, payer, f"plan.{what}", plan.id, to_micros(now), payload)
