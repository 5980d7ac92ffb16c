"""The timetable: every job, when it runs, what happens to missed sessions, what must come before.

The order is the order within a wake-up, after what a session is due: bad news and settled money
first, then plans, then trades, then what follows from them. `adjust` wants yesterday's executions
booked, and nothing is planned or sent on shares that it has not seen to. Each function may run
twice for the same slot; the second time it finds nothing left to do.
"""

from datetime import date, timedelta
from typing import Final

from robo.core.clock import business_date, day_begins, to_micros
from robo.core.policy import Policy
from robo.ports.funding import Bank
from robo.runtime import Runtime
from robo.services import (
    adjusting,
    anchoring,
    awaiting,
    chasing,
    finishing,
    funding,
    graduating,
    guarding,
    harvesting,
    indexing,
    investing,
    keeping,
    landing,
    mailing,
    marking,
    receiving,
    reconciling,
    rescoring,
    trading,
    unwinding,
    withdrawing,
)
from robo.store import jobs as runs
from robo.store import tokens
from scheduler.runner import Job
from scheduler.when import AtClose, AtOpen, CatchUp, Every, Slot

_MONEY: Final = Every(2)
"""Seconds from a deposit to its orders, at most, beside what bank and broker take."""
_DAY_BEGINS: Final = AtOpen(-570)
"""Midnight in New York: from then on quotes and the broker's positions are in the day's terms, and
nothing may be planned on yesterday's shares."""
_FAILURES_KEPT: Final = timedelta(days=365)


def _adjust(rt: Runtime, slot: Slot) -> int:
    # Who makes up for several sessions has read the executions of all of them.
    _book_until(rt, slot.on)
    brought = adjusting.apply_day(
        rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.policy, slot.on
    )
    _book_until(rt, rt.calendar.shift(slot.on, 1))
    return brought


def _book_until(rt: Runtime, on: date) -> int:
    return finishing.book_until(rt.db, rt.keyring, rt.clock, rt.policy, day_begins(on))


def _bring_actions(rt: Runtime, _slot: Slot) -> int:
    on = rt.calendar.on_or_before(business_date(rt.clock.now()))
    with rt.db.read() as session:
        if runs.last_slot(session, awaiting.ANNOUNCING) != on.isoformat():
            return 0  # the day's adjust brings it all, and must not be run beside
    return adjusting.bring(rt.db, rt.keyring, rt.broker, rt.clock, rt.policy, on)


def _settle(rt: Runtime, slot: Slot) -> int:
    return funding.settle_proceeds(rt.db, rt.keyring, rt.clock, rt.policy, slot.on)


def _run_plans(rt: Runtime, slot: Slot) -> int:
    return funding.run_plans(rt.db, rt.keyring, rt.clock, rt.calendar, rt.policy, slot.on)


def _rail(rt: Runtime) -> Bank:
    return funding.rail(rt.db, rt.keyring, rt.broker, rt.bank, rt.clock)


def _open_at_broker(rt: Runtime, _slot: Slot) -> int:
    moved = keeping.apply(rt.db, rt.keyring, rt.broker, rt.clock, rt.policy)
    moved += keeping.end(rt.db, rt.broker, rt.clock, rt.policy)
    return moved + keeping.watch(rt.db, rt.broker, rt.clock, rt.policy)


def _hear_broker(rt: Runtime, _slot: Slot) -> int:
    heard = keeping.hear_accounts(rt.db, rt.broker, rt.clock)
    return heard + funding.hear_transfers(rt.db, rt.broker, rt.clock)


def _move_money(rt: Runtime, _slot: Slot) -> int:
    return funding.carry(rt.db, rt.broker, rt.clock, rt.calendar, rt.policy)


def _tell_bank(rt: Runtime, _slot: Slot) -> int:
    return funding.tell_bank(rt.db, _rail(rt), rt.clock)


def _collect_bank(rt: Runtime, _slot: Slot) -> int:
    return funding.collect(rt.db, rt.keyring, _rail(rt), rt.clock, rt.calendar, rt.policy)


def _collect_fills(rt: Runtime, _slot: Slot) -> int:
    with rt.db.read() as session:
        until = awaiting.day_to_come(session, rt.calendar)
    return finishing.collect(rt.db, rt.keyring, rt.broker, rt.clock, rt.policy, until)


def _receive_positions(rt: Runtime, _slot: Slot) -> int:
    return receiving.ask(rt.db, rt.keyring, rt.broker, rt.clock)


def _book_positions(rt: Runtime, _slot: Slot) -> int:
    return receiving.book(rt.db, rt.keyring, rt.broker, rt.clock)


def _plan_withdrawals(rt: Runtime, slot: Slot) -> int:
    return withdrawing.plan(rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.policy, slot.text)


def _invest_cash(rt: Runtime, slot: Slot) -> int:
    return investing.plan(
        rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.calendar, rt.policy, slot.text
    )


def _admit(rt: Runtime, _slot: Slot) -> int:
    return graduating.admit(rt.db, rt.prices, rt.clock, rt.policy, rt.calendar)


def _rescore(rt: Runtime, slot: Slot) -> int:
    done = rescoring.apply(rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.policy, slot.on)
    return done.customers + done.accounts + done.plans


def _graduate(rt: Runtime, slot: Slot) -> int:
    return graduating.review(rt.db, rt.prices, rt.clock, rt.calendar, rt.policy, slot.on)


def _index(rt: Runtime, slot: Slot) -> int:
    return indexing.plan(
        rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.calendar, rt.policy, slot.text
    )


def _harvest(rt: Runtime, slot: Slot) -> int:
    return harvesting.plan(
        rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.calendar, rt.policy, slot.text
    )


def _land(rt: Runtime, slot: Slot) -> int:
    return landing.plan(
        rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.calendar, rt.policy, slot.text
    )


def _invest_direct(rt: Runtime, slot: Slot) -> int:
    return indexing.invest(
        rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.calendar, rt.policy, slot.text
    )


def _sell_restricted(rt: Runtime, _slot: Slot) -> int:
    return unwinding.plan(rt.db, rt.keyring, rt.broker, rt.prices, rt.clock, rt.policy)


def _send(rt: Runtime, slot: Slot) -> int:
    desk = guarding.Desk(rt.keyring, rt.prices, rt.calendar)
    return trading.send(rt.db, rt.broker, rt.clock, rt.policy, slot.text, desk)


def _reconcile(rt: Runtime, _slot: Slot) -> int:
    found = reconciling.reconcile(
        rt.db, rt.keyring, rt.broker, rt.clock, rt.calendar, rt.policy, sparing=True
    )
    return len(found.found)


def _chase(rt: Runtime, _slot: Slot) -> int:
    return chasing.chase(rt.db, rt.keyring, rt.broker, rt.clock, rt.calendar, rt.policy)


def _pay(rt: Runtime, _slot: Slot) -> int:
    return withdrawing.pay(rt.db, rt.keyring, _rail(rt), rt.clock, rt.policy)


def _mark_day(rt: Runtime, slot: Slot) -> int:
    return marking.mark_day(rt.db, rt.prices, slot.on)


def _deliver_mail(rt: Runtime, _slot: Slot) -> int:
    return mailing.deliver(rt.db, rt.keyring, rt.mailer, rt.clock)


def _anchor(rt: Runtime, _slot: Slot) -> int:
    made = anchoring.anchor(rt.db, rt.keyring, rt.clock, rt.settings.anchors_path)
    return made.changed if made else 0


def _housekeeping(rt: Runtime, _slot: Slot) -> int:
    now = rt.clock.now()
    with rt.db.write() as session:
        old = runs.forget_failures(session, to_micros(now - _FAILURES_KEPT))
        return old + tokens.sweep(session, to_micros(now))


TIMETABLE: Final = (
    Job(
        "adjust",
        _DAY_BEGINS,
        _adjust,
        CatchUp.EACH,
        after=("collect-fills", "book-positions", "bring-actions"),
    ),
    Job("reconcile", AtOpen(-85), _reconcile, CatchUp.LATEST, after=("adjust",)),
    Job("settle-proceeds", AtOpen(-80), _settle, CatchUp.EACH, after=("adjust",)),
    # Once for all sessions missed, so that it sees all dates at once and leaves the old ones out.
    Job("run-plans", AtOpen(-75), _run_plans, CatchUp.LATEST),
    # Yesterday's closes are marked by then, and settled money is there; before the day trades.
    Job("rescore", AtOpen(-74), _rescore, CatchUp.LATEST, after=("adjust",)),
    Job("graduate", AtOpen(-72), _graduate, CatchUp.LATEST, after=("adjust", "rescore")),
    # Before the planners that trade for other ends: they leave its accounts alone.
    Job("land", AtOpen(-71), _land, CatchUp.LATEST, after=("adjust", "rescore")),
    Job("index", AtOpen(-70), _index, CatchUp.LATEST, after=("adjust", "graduate", "land")),
    Job("harvest", AtOpen(-68), _harvest, CatchUp.LATEST, after=("adjust", "index")),
    # These do nothing but where the broker keeps an account for each customer. Events cost a pause
    # of the stream to read, and only say what to look at sooner.
    Job("hear-broker", Every(30), _hear_broker),
    Job("open-at-broker", Every(4), _open_at_broker),
    Job("tell-bank", _MONEY, _tell_bank),
    Job("move-money", _MONEY, _move_money),
    Job("collect-bank", _MONEY, _collect_bank),
    Job("collect-fills", _MONEY, _collect_fills),
    # Shares from other firms come after a day's corporate actions; what a crash left between the
    # broker and the books is booked before the next day's.
    Job("book-positions", _MONEY, _book_positions),
    # What the broker tells of actions after midnight; beside no `adjust`.
    Job("bring-actions", Every(600), _bring_actions),
    Job("receive-positions", _MONEY, _receive_positions, after=("adjust",)),
    Job("plan-withdrawals", _MONEY, _plan_withdrawals, after=("adjust",)),
    Job("sell-restricted", _MONEY, _sell_restricted, after=("adjust",)),
    Job("admit", _MONEY, _admit, after=("adjust",)),
    Job("invest-cash", _MONEY, _invest_cash, after=("adjust",)),
    Job("invest-direct", _MONEY, _invest_direct, after=("adjust",)),
    Job("trade-window", _MONEY, _send, after=("adjust",)),
    Job("book-fills", _MONEY, _collect_fills),
    Job("chase-executions", Every(900), _chase),
    Job("pay-withdrawals", _MONEY, _pay),
    Job("mark-day", AtClose(15), _mark_day, CatchUp.EACH, after=("adjust",)),
    Job("deliver-mail", _MONEY, _deliver_mail),
    Job("anchor", Every(30 * Policy.default().anchor_minutes_max), _anchor),
    Job("housekeeping", Every(3_600), _housekeeping),
)


def find(name: str) -> Job | None:
    """Return the job of that name."""
    return next((job for job in TIMETABLE if job.name == name), None)
