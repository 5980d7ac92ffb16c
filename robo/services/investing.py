"""Free cash becomes buy orders: what is most underweight first, nothing sold, the rest carried."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, business_date, to_micros
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import allocating, inquiring, modelling, ordering, readying, weighing
from robo.services.allocating import Bans
from robo.services.isolating import Blame
from robo.services.modelling import Model
from robo.services.ordering import Plan, Trade
from robo.services.quoting import Board, board
from robo.services.turns import Turns
from robo.services.washing.bans import purchase_bans
from robo.store import accounts, chunks
from robo.store.database import Database
from robo.store.effects import TradeEffect
from robo.store.keyring import Keyring

_JOB: Final = "invest-cash"
_PAGE: Final = 2_000
_SKIPS: Final = frozenset(reason for reason in Reason if reason.value.startswith("skip_"))


def plan(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    policy: Policy,
    slot: str,
) -> int:
    """Plan the free cash of every account; return how many accounts got orders.

    Running the same slot again plans only what the first run did not reach: an account's batch is
    written once, and money that came since waits for the next slot.
    """
    minimum = max(policy.order_notional_cents_min, broker.capabilities.buy_notional_cents_min)
    turns = Turns(db, policy)
    planned = 0

    def plans_of(part: Sequence[AccountId]) -> None:
        now = clock.now()
        raw, bans, waiting = _read(db, part, business_date(now), policy)
        plans.extend(waiting)
        prices_now = board(prices, raw.security_ids(), now)
        with db.read() as session:
            prices_now = inquiring.limits(session, broker, now).on(prices_now)
            model = modelling.current(session, prices, now)
        settles = _guess(calendar, policy, business_date(now))
        if raw.sleeves:
            plans.extend(_plans(raw, prices_now, model, policy, minimum, slot, settles, bans))

    def write_part(session: Session, part: Sequence[Plan]) -> None:
        ids = [one.sleeve.account_id for one in part]
        # The action may have been announced since they were read.
        on = business_date(clock.now())
        ready = readying.ready(session, ids, on, policy)
        kept = [p for p in part if p.sleeve.account_id in ready or not p.trades]
        fresh = ordering.unwritten(session, kept)
        ordering.write(session, keyring, fresh, to_micros(clock.now()))
        nonlocal planned
        planned += sum(1 for one in fresh if one.trades)

    for page in _pages(db):
        plans: list[Plan] = []
        Blame[AccountId](db, clock, _JOB, str).together(page, plans_of)
        with db.read() as session:
            news = ordering.untold(session, plans)
        turns.each(news, write_part, Blame(db, clock, _JOB, lambda one: one.sleeve.account_id))
    return planned


def _pages(db: Database) -> Iterator[list[AccountId]]:
    after: AccountId | str = ""
    while True:
        with db.read() as session:
            found = accounts.investable(session, after, _PAGE)
        if not found:
            return
        after = found[-1]
        yield found


def _read(
    db: Database, account_ids: Sequence[AccountId], on: date, policy: Policy
) -> tuple[chunks.RawChunk, Bans, list[Plan]]:
    """Return those accounts that may be planned, what they may not buy, and why others wait."""
    with db.read() as session:
        ready = readying.ready(session, account_ids, on, policy)
        kept = [account for account in account_ids if account in ready]
        raw = chunks.read(session, kept)
        selling = {one.account_id for one in raw.open_orders if one.side == "sell"}
        waiting = readying.reasons(session, account_ids, on, policy)
        return raw, purchase_bans(session, kept, on, selling), waiting


def _guess(calendar: MarketCalendar, policy: Policy, today: date) -> str:
    """Return when money whose bank is still silent will have settled at the latest."""
    return calendar.shift(today, policy.deposit_settle_sessions).isoformat()


def _plans(
    raw: chunks.RawChunk,
    prices: Board,
    model: Model | None,
    policy: Policy,
    minimum_cents: int,
    slot: str,
    settles: str,
    bans: Bans,
) -> list[Plan]:
    plans: list[Plan] = []
    for sleeve, names in allocating.allocate(raw, prices, minimum_cents, bans, model):
        hold = raw.hold_until.get(sleeve.account_id, "")
        trades = tuple(
            Trade(
                security,
                why,
                buy_cents=cents,
                # A purchase realises nothing.
                effect=TradeEffect(0, weighing.cost_cents(cents, policy), risk),
            )
            for security, cents, why, risk in names
            if cents
        )
        plans.append(
            Plan(
                sleeve=sleeve,
                # Nothing could be bought: say so once a day, not once a slot.
                cause=slot if trades else slot[:10],
                trades=trades,
                skips={
                    security: why
                    for security, cents, why, _ in names
                    if not cents and why in _SKIPS
                },
                hold_until=settles if hold == "?" else hold,
            )
        )
    return plans
