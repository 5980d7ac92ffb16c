"""What the checker of a life reads from real books: whose a sale was, and what became of lots."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, desk_from, write_template

from onboarding.restrictions import HeldChoice
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.reasons import Reason
from robo.ports.broker import Activity
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import ordering
from robo.services.enrolling import restricting
from robo.store import accounts, tax_profiles
from robo.store.database import bulk, insert_many
from robo.store.tax_profiles import Choice
from scheduler import life_moves
from scheduler.life_moves import ACTION, ASKED, BUY, CAME, LEFT, SELL, SPLIT, WITHDRAWN, Stream

NAME = 1
SHARE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("moves") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    # What a restriction does to targets is not read here, and the catalog takes seconds to load.
    monkeypatch.setattr(restricting, "retarget", lambda *_: None)
    with desk_from(template, tmp_path) as made:
        yield made


def opened(desk: Desk) -> AccountId:
    (account,) = desk.open("firm_a", 1)
    return account


def customer_of(desk: Desk, account: AccountId) -> str:
    with desk.db.read() as session:
        return accounts.sleeves(session, [account])[account].customer_id


def buy(desk: Desk, account: AccountId, shares: int, dollars: int, name: int = NAME) -> None:
    cents = shares * dollars * 100
    desk.fund({account: cents}, f"{name}/{desk.windows}")
    block = desk.buy({account: cents}, name)
    desk.broker.fill_at(block, dollars * 1_000_000)
    desk.collect()


def sell(desk: Desk, account: AccountId, shares: int, reason: Reason, name: int = NAME) -> None:
    """Sell at eight dollars a share."""
    trade = ordering.Trade(name, reason, sell_nanos=shares * SHARE)
    desk.plan({account: [trade]}, f"sale/{desk.windows}")
    desk.send()
    for block in desk.column("SELECT id FROM block WHERE closed_at IS NULL"):
        desk.broker.fill_at(str(block), 8_000_000)
    desk.collect()


def later(desk: Desk, days: int) -> None:
    desk.clock.advance(timedelta(days=days))
    desk.broker.at = desk.clock.now()


def read(desk: Desk, account: AccountId) -> Stream:
    with desk.db.read() as session:
        raw: Any = session.connection().connection.driver_connection
        return life_moves.read(raw, account)


def kinds(desk: Desk, account: AccountId) -> list[str]:
    return [one.kind for one in read(desk, account).moved if one.kind in life_moves.SALES]


def act(desk: Desk, kind: ActionKind, *, num: int = 1, den: int = 1, cash_micros: int = 0) -> None:
    """Let a corporate action happen to all shares of the name; the heir is name 2."""
    later(desk, 1)
    number, day = len(desk.prices.published) + 1, desk.today()
    heir = SecurityId(2) if kind is ActionKind.STOCK_MERGER else None
    action = CorporateAction(
        f"ca-{number}",
        kind,
        SecurityId(NAME),
        day,
        day,
        cash_micros=cash_micros,
        ratio_num=num,
        ratio_den=den,
        new_security_id=heir,
    )
    held = desk.scalar(f"SELECT sum(nanos) FROM lot WHERE security_id = {NAME}")
    splits = kind is ActionKind.SPLIT
    told = Activity(
        id=f"ac-{number}",
        action_id=action.id,
        kind=kind,
        security_id=SecurityId(NAME),
        on=day,
        cents=held * cash_micros // 10**13,
        nanos_before=held,
        nanos_delta=held * num // den - held if splits else -held,
        new_security_id=heir,
        new_nanos=0 if heir is None else held * num // den,
        broker_account="omnibus/firm_a",
    )
    desk.prices.published.append(action)
    desk.broker.brought.append(told)
    desk.adjust()


def test_a_sale_is_the_customers_from_when_it_was_asked_for_until_that_was_taken_back(
    desk: Desk,
) -> None:
    account = opened(desk)
    customer = customer_of(desk, account)
    buy(desk, account, 100, 10)

    def said(choice: HeldChoice) -> None:
        restricting.choose(desk.db, desk.clock, customer, NAME, choice)

    sell(desk, account, 1, Reason.SELL_HARVEST)
    later(desk, 1)
    restricting.add(desk.db, desk.clock, customer, NAME, "never_own")
    sell(desk, account, 1, Reason.SELL_TRACKING)
    later(desk, 1)
    said(HeldChoice.SELL)
    sell(desk, account, 1, Reason.SELL_RESTRICTION_CHOICE)
    later(desk, 1)
    said(HeldChoice.KEEP)
    sell(desk, account, 1, Reason.SELL_RESTRICTION_CHOICE)
    later(desk, 1)
    said(HeldChoice.SELL)
    restricting.remove(desk.db, desk.clock, customer, NAME)
    sell(desk, account, 1, Reason.SELL_RESTRICTION_CHOICE)

    assert kinds(desk, account) == [SELL, SELL, ASKED, SELL, SELL]


def test_what_an_activity_excludes_is_nobodys_word_to_sell(desk: Desk) -> None:
    account = opened(desk)
    customer = customer_of(desk, account)
    buy(desk, account, 10, 10)
    row = (child_id("rst", 1), customer, NAME, "never_own", "activity", "x", "sell", desk.now)
    columns = ("id", "customer_id", "security_id", "verb", "source", "reason", "held_choice")
    with desk.db.write() as session:
        insert_many(session, "restriction", (*columns, "created_at"), [row])
    restricting.choose(desk.db, desk.clock, customer, NAME, HeldChoice.SELL)

    sell(desk, account, 1, Reason.SELL_RESTRICTION_CHOICE)

    assert kinds(desk, account) == [SELL]


@pytest.mark.parametrize(("paid", "whose"), [(10, ASKED), (8, ASKED), (7, SELL)])
def test_who_wants_no_gains_has_not_asked_for_a_sale_at_a_gain(
    desk: Desk, paid: int, whose: str
) -> None:
    account = opened(desk)
    customer = customer_of(desk, account)
    buy(desk, account, 10, paid)
    restricting.add(desk.db, desk.clock, customer, NAME, "never_own")
    restricting.choose(desk.db, desk.clock, customer, NAME, HeldChoice.SELL_WITHIN_BUDGET)

    sell(desk, account, 1, Reason.SELL_RESTRICTION_CHOICE)

    assert kinds(desk, account) == [whose]


def test_a_sale_is_a_withdrawals_only_while_one_waits_and_up_to_its_amount(desk: Desk) -> None:
    account = opened(desk)
    buy(desk, account, 100, 10)
    sell(desk, account, 1, Reason.SELL_WITHDRAWAL)
    later(desk, 1)
    link = child_id("lnk", customer_of(desk, account))
    columns = ("id", "account_id", "bank_link_id", "cents", "promised_cents", "closing", "state")
    row = ("wdr_1", account, link, 10_00, 0, 0, "selling", desk.now)
    with desk.db.write() as session:
        insert_many(session, "withdrawal", (*columns, "requested_at"), [row])

    # Eight dollars each: the second sale fills up the ten dollars, the third has no excuse.
    for _ in range(3):
        sell(desk, account, 1, Reason.SELL_WITHDRAWAL)
    sell(desk, account, 1, Reason.SELL_HARVEST)

    assert kinds(desk, account) == [SELL, WITHDRAWN, WITHDRAWN, SELL, SELL]


def test_corporate_actions_are_read_with_what_came_of_each_lot(desk: Desk) -> None:
    account = opened(desk)
    buy(desk, account, 10, 10)
    act(desk, ActionKind.SPLIT, num=2)
    act(desk, ActionKind.STOCK_MERGER, num=1, den=4)
    later(desk, 1)
    buy(desk, account, 10, 10)
    act(desk, ActionKind.CASH_MERGER, cash_micros=9_000_000)

    found = read(desk, account)

    lots = [one for one in found.moved if one.kind != life_moves.MONEY]
    assert [(one.kind, one.security_id, one.nanos // SHARE) for one in lots] == [
        (BUY, 1, 10),
        (SPLIT, 1, 10),
        (LEFT, 1, -20),
        (CAME, 2, 5),
        (BUY, 1, 10),
        (ACTION, 1, -10),
    ]
    came = lots[3]
    assert (came.of_lot, came.since, came.basis_cents) == (lots[0].lot_id, date(2026, 3, 2), 100_00)
    assert lots[5].gain_cents == -10_00
    ratios = [(one.old, one.new, one.ratio_num, one.ratio_den) for one in found.heirs]
    assert ratios == [(1, 1, 2, 1), (1, 2, 1, 4)]


def test_money_and_trades_come_to_the_accounts_cash(desk: Desk) -> None:
    account = opened(desk)
    buy(desk, account, 10, 10)
    desk.fund({account: 12_34}, "more")
    sell(desk, account, 3, Reason.SELL_HARVEST)

    found = read(desk, account).moved

    balances = desk.held(account)
    cash = sum(one.proceeds_cents - (one.basis_cents if one.kind == BUY else 0) for one in found)
    assert cash == balances.cash_cents + balances.unsettled_cents == 36_34


def test_choices_about_taxes_hold_from_their_day(desk: Desk) -> None:
    account = opened(desk)
    made = Choice(mode="harvest", gain_budget_cents=5_00, buy_buy_sell=1, number=1, at=desk.now)
    with desk.db.write() as session:
        tax_profiles.choose(session, customer_of(desk, account), made)

    (wish,) = read(desk, account).wishes

    assert (wish.on, wish.harvests, wish.budget_cents, wish.defers) == (
        desk.today(),
        True,
        500,
        True,
    )


def test_who_has_another_account_is_refused_rather_than_miscounted(desk: Desk) -> None:
    one, other = desk.open("firm_a", 2)
    read(desk, one)
    with desk.db.write() as session:
        bulk(
            session,
            "UPDATE account SET customer_id = ? WHERE id = ?",
            [(customer_of(desk, one), other)],
        )

    with pytest.raises(ValueError, match="elsewhere too"):
        read(desk, one)
    with pytest.raises(ValueError, match="no account"):
        read(desk, AccountId("acc_nobody"))
