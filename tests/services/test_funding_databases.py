"""The same story of money on SQLite and on PostgreSQL: every query here runs on both."""

from pathlib import Path

from funds import ScriptedBank, ask, collect, customer_of, investor, link_of, stored
from world import FIRM, World, make_world

from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.services import funding, reporting, withdrawing
from robo.store.plans import Plan
from robo.store.transfers import Deposit


def live(world: World, account: AccountId, first: Deposit) -> tuple[int, Plan]:
    """Deposit, trade, plan, withdraw, and have the first deposit returned."""
    bank, r = ScriptedBank(), world.runtime
    link = link_of(world, account)
    funding.tell_bank(world.db, bank, world.clock)
    bank.say(world, first.id, "pending", "available", "settled")
    collect(world, bank)
    world.trade()
    plan = funding.create_plan(
        world.db, world.clock, r.policy, "pln_1", account, link, 25_00, "weekly", 2
    )
    today = world.next_session()
    planned = funding.run_plans(world.db, r.keyring, world.clock, r.calendar, r.policy, today)
    changed = funding.change_plan(
        world.db,
        world.clock,
        r.policy,
        account,
        plan.id,
        funding.PlanChange(cents=30_00),
    )
    withdrawing.request(world.db, r.keyring, r.prices, r.clock, account, "wdr_1", link, 50_00)
    world.trade()
    world.next_session()
    withdrawing.pay(world.db, r.keyring, bank, world.clock, r.policy)
    bank.say(world, "wdr_1", "settled")
    bank.say(world, first.id, "returned", code="R10")
    collect(world, bank)
    return planned, changed


def test_deposit_trade_plan_withdrawal_and_return(
    tmp_path: Path, short_calendar: MarketCalendar, any_database_url: str
) -> None:
    with make_world(tmp_path / "state", short_calendar, url=any_database_url) as world:
        r, account = world.runtime, investor(world)
        first = ask(world, account, 300_00)

        planned, plan = live(world, account, first)

        with world.db.read() as session:
            owner = customer_of(session, account)
            view = reporting.portfolio(session, r.prices, r.clock, r.calendar, account)
            told, _ = reporting.activity(session, account, None, 100)
            orders, _ = reporting.order_lines(session, account, None, 100)
            lots, _ = reporting.lots(session, account, None, 100)
            listed, _ = reporting.accounts(session, FIRM, owner, "", 10)
            deposits, more = reporting.deposits(session, account, None, 1)
            rest, _ = reporting.deposits(session, account, more, 10)
            withdrawals, _ = reporting.withdrawals(session, account, None, 10)
            hold = funding.hold_until(session, [account])[account]
            links = funding.linked(session, owner)
        funding.end_plan(world.db, world.clock, account, plan.id)

        assert (planned, plan.cents) == (1, 30_00)
        assert stored(world, first).owed_cents == view.flows.owed_cents > 200_00
        assert view.flows.withdrawn_cents == 50_00
        assert view.nav_cents == view.invested_cents + view.cash.total_cents
        assert {"advance", "buy", "sell", "paid", "returned"} <= {item.kind for item in told}
        assert len(orders) >= 20
        assert sum(lot.basis_cents for lot in lots) == view.basis_cents
        assert [each.account_id for each in listed] == [account]
        assert [each.cents for each in (*deposits, *rest)] == [25_00, 300_00]
        assert [each.state for each in withdrawals] == ["paid"]
        assert (hold, [each.id for each in links]) == ("", [link_of(world, account)])
        assert world.findings() == []
