"""A firm whose accounts have lots: bought through the real pipeline, sessions apart."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Final

from sqlmodel import Session

from bench import seeding
from bench.seeding import Customer
from robo.core.clock import NEW_YORK, FixedClock, business_date, to_micros
from robo.core.policy import Policy
from robo.ledger import recipes
from robo.runtime import Runtime
from robo.services import adjusting, graduating, indexing, marking
from robo.services.funding import settle_proceeds
from robo.services.turns import Turns
from robo.store import ledger, tax_profiles
from robo.store.tax_profiles import Choice

ALONE: Final = replace(Policy.default(), write_lock_ms_max=5_000)
"""While nobody else writes, seeding may hold the lock for long."""
_PART: Final = 5_000


def buy(runtime: Runtime, brought: Sequence[tuple[Customer, int]], name: str) -> None:
    """Pay in what customers bring, in cents, and invest it as a new account's or a grown one's."""
    r = runtime
    at = to_micros(r.clock.now())
    paid = [
        transfer
        for c, cents in brought
        for transfer in recipes.deposit(c.account_id, cents, f"{name}/{c.id}")
    ]
    for start in range(0, len(paid), _PART):
        with r.db.write() as session:
            part = paid[start : start + _PART]
            ledger.post(session, r.keyring.chain, part, seeding.FIRM, at)
    graduating.admit(r.db, r.prices, r.clock, ALONE, r.calendar)
    indexing.invest(r.db, r.keyring, r.broker, r.prices, r.clock, r.calendar, ALONE, name)
    seeding.invest(r, name, ALONE)


def let_pass(runtime: Runtime, sessions: int) -> None:
    """Let sessions pass: corporate actions, settlement, and the marks of the last day."""
    r, clock = runtime, runtime.clock
    assert isinstance(clock, FixedClock)
    for _ in range(sessions):
        on = r.calendar.shift(business_date(clock.now()), 1)
        clock.set(datetime.combine(on, time(10), tzinfo=NEW_YORK))
        adjusting.apply_day(r.db, r.keyring, r.broker, r.prices, clock, ALONE, on)
    settle_proceeds(r.db, r.keyring, clock, ALONE, on)
    marking.mark_day(r.db, r.prices, r.calendar.shift(on, -1))
    clock.advance(timedelta(minutes=1))


def harvest_all(runtime: Runtime, everybody: Sequence[Customer]) -> None:
    """Let every customer choose to harvest losses."""

    def write(session: Session, part: Sequence[Customer]) -> None:
        for c in part:
            tax_profiles.choose(session, c.id, Choice(mode="harvest", number=1))

    Turns(runtime.db, ALONE).each(everybody, write)
