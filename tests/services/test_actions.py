"""Corporate actions over many accounts: everything the broker brought, nothing more, once."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from acting import NEW, SHARE, basis, firms_own, holders, late_fill, lots_of, publish
from desk import TRADED, Desk, breaking, broker_equals_books, desk_from, write_template
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from robo.core.clock import day_begins
from robo.core.ids import AccountId, SecurityId, child_id
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.core.reasons import Reason
from robo.ports.broker import AccountModel, Activity, BrokerOrderState, CashKind, Side
from robo.ports.prices import ActionKind
from robo.services import (
    adjusting,
    dividing,
    finishing,
    guarding,
    operating,
    receiving,
    reconciling,
    trading,
)
from robo.services.ordering import Trade
from robo.services.turns import Turns
from robo.store import arrivals, ledger
from robo.store.database import Database, insert_many

Lots = dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("actions") / "template.db"
    return write_template(path, "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def breaks(desk: Desk) -> list[str]:
    return [str(k) for k in desk.column("SELECT kind FROM event WHERE kind LIKE 'break.%'")]


def test_dividend_cents_add_up_to_the_brokers_and_are_paid_once(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_000, 333_333_333, 1, 2_500_000_000])
    others = holders(desk, "firm_b", [777_777_777])
    told = publish(desk, ActionKind.CASH_DIVIDEND, ("firm_a", "firm_b"), cash_micros=238_900)

    desk.adjust()
    desk.adjust()

    paid = [desk.held(a).cash_cents for a in accounts]
    assert sum(paid) == told[0].cents
    assert desk.held(others[0]).cash_cents == told[1].cents
    total = sum([1_000_000_000, 333_333_333, 1, 2_500_000_000])
    for cents, nanos in zip(paid, [1_000_000_000, 333_333_333, 1, 2_500_000_000], strict=True):
        assert abs(cents - Fraction(told[0].cents * nanos, total)) < 1
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    assert (desk.findings(), breaks(desk)) == ([], [])


@pytest.mark.parametrize(("num", "den"), [(2, 1), (3, 2), (1, 10), (1, 3), (7, 5), (1, 1000)])
def test_a_split_conserves_basis_and_gives_out_the_brokers_shares(
    desk: Desk, num: int, den: int
) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_001, 333_333_333, 7, 999])
    before = [basis(desk, a) for a in accounts]
    (told,) = publish(desk, ActionKind.SPLIT, ratio_num=num, ratio_den=den)

    desk.adjust()
    desk.adjust()

    held = [desk.held(a).holdings_nanos.get(1, 0) for a in accounts]
    assert sum(held) == told.nanos_before + told.nanos_delta
    assert [basis(desk, a) for a in accounts] == before
    for account, nanos in zip(accounts, held, strict=True):
        assert sum(n for n, _, _ in lots_of(desk, account)) == nanos
    for nanos, old in zip(held, [1_000_000_001, 333_333_333, 7, 999], strict=True):
        assert abs(nanos - Fraction(old * num, den)) <= 1
    assert (desk.findings(), breaks(desk)) == ([], [])


def test_cash_in_lieu_of_a_splits_fractions_reaches_the_customers(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [5, 6, 7])
    publish(desk, ActionKind.SPLIT, ratio_num=1, ratio_den=10, cents=11)

    desk.adjust()

    assert sum(desk.held(a).cash_cents for a in accounts) == 11
    assert desk.scalar("SELECT sum(amount) FROM balance WHERE book LIKE '%/holdings'") == 1
    assert desk.findings() == []


def test_a_cash_merger_closes_the_lots_and_the_cash_waits_for_the_pay_date(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_001, 333_333_333, 7])
    paid = [basis(desk, a) for a in accounts]
    (told,) = publish(desk, ActionKind.CASH_MERGER, cash_micros=41_170_000)

    desk.adjust()
    desk.adjust()

    assert [desk.held(a).holdings_nanos for a in accounts] == [{}, {}, {}]
    assert [lots_of(desk, a) for a in accounts] == [[], [], []]
    assert sum(desk.held(a).unsettled_cents for a in accounts) == told.cents
    closed = desk.rows(
        "SELECT account_id, sum(proceeds_cents), -sum(basis_delta_cents) FROM lot_event "
        "WHERE kind = 'close' GROUP BY account_id"
    )
    assert {a: (p, b) for a, p, b in closed} == {
        a: (desk.held(a).unsettled_cents, b) for a, b in zip(accounts, paid, strict=True)
    }
    settle = (desk.today() + timedelta(days=1)).isoformat()
    assert set(desk.column("SELECT settles_on FROM proceed")) == {settle}
    assert desk.column("SELECT state FROM security WHERE id = 1") == ["merged"]
    assert (desk.findings(), breaks(desk)) == ([], [])


def test_a_delisting_for_nothing_is_a_loss_of_everything(desk: Desk) -> None:
    (account,) = holders(desk, "firm_a", [1_000_000_000])
    publish(desk, ActionKind.DELISTING)

    desk.adjust()

    assert desk.held(account) == ledger.AccountBalances(0, 0, 0, 0, {})
    assert desk.rows(
        "SELECT proceeds_cents, basis_delta_cents FROM lot_event WHERE kind = 'close'"
    ) == [(0, -10_00)]
    assert desk.column("SELECT state FROM security WHERE id = 1") == ["delisted"]
    assert desk.findings() == []


def test_a_stock_merger_carries_basis_and_holding_period_over(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_001, 333_333_333, 1])
    before = [basis(desk, a) for a in accounts]
    bought = lots_of(desk, accounts[0])[0][2]
    (told,) = publish(
        desk,
        ActionKind.STOCK_MERGER,
        ratio_num=3,
        ratio_den=8,
        new_security_id=NEW,
        new_symbol="NEWCO",
        cents=5,
    )

    desk.adjust()
    desk.adjust()

    assert [desk.held(a).holdings_nanos.get(1, 0) for a in accounts] == [0, 0, 0]
    assert sum(desk.held(a).holdings_nanos.get(NEW, 0) for a in accounts) == told.new_nanos
    assert [basis(desk, a, NEW) for a in accounts] == before
    assert lots_of(desk, accounts[0], NEW)[0][2] == bought
    assert sum(desk.held(a).cash_cents for a in accounts) == 5
    assert desk.column(f"SELECT symbol FROM security WHERE id = {NEW}") == ["NEWCO"]
    assert (desk.findings(), breaks(desk)) == ([], [])


def test_a_spin_off_moves_its_part_of_the_basis_lot_by_lot(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_000, 333_333_333, 3])
    before = [basis(desk, a) for a in accounts]
    (told,) = publish(
        desk,
        ActionKind.SPIN_OFF,
        ratio_num=1,
        ratio_den=4,
        new_security_id=NEW,
        new_symbol="SPUN",
        basis_ppm=123_457,
    )

    desk.adjust()
    desk.adjust()

    for account, cents in zip(accounts, before, strict=True):
        moved = basis(desk, account, NEW)
        assert basis(desk, account) + moved == cents
        assert abs(moved - Fraction(cents * 123_457, PPM)) <= Fraction(1, 2)
    assert sum(desk.held(a).holdings_nanos.get(NEW, 0) for a in accounts) == told.new_nanos
    assert [desk.held(a).holdings_nanos[1] for a in accounts] == [1_000_000_000, 333_333_333, 3]
    assert (desk.findings(), breaks(desk)) == ([], [])


EACH: list[tuple[ActionKind, dict[str, Any], tuple[int, Fraction | int, int]]] = [
    (ActionKind.SPLIT, {"ratio_num": 2, "ratio_den": 1}, (2, 0, 0)),
    (
        ActionKind.SPIN_OFF,
        {"ratio_num": 1, "ratio_den": 2, "new_security_id": NEW, "basis_ppm": 200_000},
        (1, Fraction(1, 2), 0),
    ),
    (
        ActionKind.STOCK_MERGER,
        {"ratio_num": 3, "ratio_den": 1, "new_security_id": NEW},
        (0, 3, 0),
    ),
    (ActionKind.CASH_MERGER, {"cash_micros": 12_000_000}, (0, 0, 12_00)),
    (ActionKind.CASH_DIVIDEND, {"cash_micros": 250_000}, (1, 0, 25)),
]
"""Actions, and what each old share becomes: shares of it, of what is new, cents."""


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize(("kind", "more", "each"), EACH)
def test_what_the_firm_holds_for_itself_gets_its_own_part_of_an_action_and_no_customers(
    desk: Desk,
    side: Side,
    kind: ActionKind,
    more: dict[str, Any],
    each: tuple[int, Fraction | int, int],
) -> None:
    (account,) = holders(desk, "firm_a", [10 * SHARE])
    late_fill(desk, side)
    before = firms_own(desk, "firm_a")
    own = 1 if side is Side.BUY else -1
    assert before == {"S1/9": own * SHARE, "USD/2": -own * 10_00}
    others = 1 if side is Side.BUY else 0
    (told,) = publish(desk, kind, **more)
    assert told.nanos_before == (10 + others + own) * SHARE

    desk.adjust()
    desk.adjust()

    old, new, cents = each
    held = desk.held(account)
    assert held.holdings_nanos == {k: n * 10 * SHARE for k, n in ((1, old), (NEW, new)) if n}
    assert held.cash_cents + held.unsettled_cents == 10 * cents
    expected = {
        "S1/9": own * old * SHARE,
        f"S{NEW}/9": own * new * SHARE,
        "USD/2": own * (cents - 10_00),
    }
    assert firms_own(desk, "firm_a") == {k: v for k, v in expected.items() if v}
    assert (desk.findings(), breaks(desk)) == ([], [])
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("kind", "more", "each"), EACH)
def test_what_a_firm_owes_its_customers_of_an_action_it_gives_though_the_broker_holds_nothing(
    desk: Desk,
    kind: ActionKind,
    more: dict[str, Any],
    each: tuple[int, Fraction | int, int],
    *,
    told: bool,
) -> None:
    (account,) = holders(desk, "firm_a", [SHARE])
    late_fill(desk, Side.SELL)
    (nothing,) = publish(desk, kind, **more)
    assert nothing.nanos_before == 0
    if not told:
        desk.broker.brought = []

    desk.adjust()
    desk.next_day()  # a dividend is paid then
    desk.adjust()
    desk.adjust()

    old, new, cents = each
    held = desk.held(account)
    assert held.holdings_nanos == {k: n * SHARE for k, n in ((1, old), (NEW, new)) if n}
    assert held.cash_cents + held.unsettled_cents == cents
    expected = {"S1/9": -old * SHARE, f"S{NEW}/9": -new * SHARE, "USD/2": 10_00 - cents}
    assert firms_own(desk, "firm_a") == {k: v for k, v in expected.items() if v}
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    assert (desk.findings(), breaks(desk), compared(desk)) == ([], [], [])


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("back", [True, False], ids=["taken back", "taxed"])
def test_what_is_taken_of_a_dividend_falls_on_what_the_firm_holds_for_itself_too(
    desk: Desk, side: Side, *, back: bool
) -> None:
    (account,) = holders(desk, "firm_a", [10 * SHARE])
    late_fill(desk, side)
    own, others = (1, 1) if side is Side.BUY else (-1, 0)
    (paid,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.adjust()
    had = desk.held(account).cash_cents, firms_own(desk, "firm_a")["USD/2"]
    taken = -paid.cents if back else -20 * (10 + own + others)
    told = replace(paid, id="taken", cents=taken, nanos_before=0)
    if back:
        told = replace(told, takes_back=paid.id)
    else:
        told = replace(told, kind=CashKind.WITHHOLDING, security_id=SecurityId(0))
    desk.broker.brought.append(told)

    desk.adjust()
    desk.adjust()

    each = 100 if back else 20
    left = desk.held(account).cash_cents, firms_own(desk, "firm_a")["USD/2"]
    assert left == (had[0] - 10 * each, had[1] - own * each)
    assert (desk.findings(), breaks(desk), compared(desk)) == ([], [], [])


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_what_a_split_brought_the_firm_takes_no_part_in_a_dividend_that_went_ex_before_it(
    desk: Desk, side: Side
) -> None:
    (account,) = holders(desk, "firm_a", [10 * SHARE])
    late_fill(desk, side)
    own, others = (1, 1) if side is Side.BUY else (-1, 0)
    (paid,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.brought = []
    desk.adjust()
    publish(desk, ActionKind.SPLIT, ratio_num=10, ratio_den=1)
    desk.adjust()
    had = desk.held(account).cash_cents, firms_own(desk, "firm_a")["USD/2"]
    desk.next_day()
    taxed = -20 * (10 + own + others)
    desk.broker.brought += [
        replace(paid, on=desk.today()),
        replace(
            paid,
            id="taxed",
            cents=taxed,
            nanos_before=0,
            kind=CashKind.WITHHOLDING,
            security_id=SecurityId(0),
            on=desk.today(),
        ),
    ]

    desk.adjust()

    left = desk.held(account).cash_cents, firms_own(desk, "firm_a")["USD/2"]
    assert left == (had[0] + 10 * 80, had[1] + own * 80)
    (later,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=100_000)
    desk.adjust()
    assert desk.held(account).cash_cents == left[0] + 10_00
    assert later.cents == 10 * 100 * (10 + own + others) // 10
    assert (desk.findings(), breaks(desk), compared(desk)) == ([], [], [])


@pytest.mark.parametrize("own", [0, 1])
def test_a_dividend_of_other_shares_is_a_persons_and_waits_where_the_firm_may_have_a_part(
    desk: Desk, own: int
) -> None:
    accounts = holders(desk, "firm_a", [10 * SHARE, 30 * SHARE])
    if own:
        late_fill(desk, Side.BUY)
    (told,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.brought = [replace(told, nanos_before=told.nanos_before + 9 * SHARE)]

    desk.adjust()
    desk.adjust()

    assert [desk.held(one).cash_cents for one in accounts] == [[10_00, 30_00], [0, 0]][own]
    found = "SELECT subject, category, blocks, state FROM recon_break"
    assert desk.rows(found) == [("activity", "real", 0, "open")]
    assert len(open_questions(desk)) == 1
    assert sorted(breaks(desk)) == ["break.action", "break.found"]
    assert desk.findings() == []


def test_a_split_of_what_only_the_firm_holds_is_the_firms(desk: Desk) -> None:
    late_fill(desk, Side.BUY)
    desk.sell({AccountId(str(desk.column("SELECT id FROM account")[0])): SHARE}, cause="out")
    desk.broker.fill_at(str(desk.column("SELECT id FROM block WHERE side = 'sell'")[0]), 10_000_000)
    desk.collect()
    publish(desk, ActionKind.SPLIT, ratio_num=3, ratio_den=1)

    desk.adjust()
    desk.adjust()

    assert firms_own(desk, "firm_a") == {"S1/9": 3 * SHARE, "USD/2": -10_00}
    assert (desk.findings(), breaks(desk)) == ([], [])


def test_a_symbol_change_changes_the_symbol_and_nothing_else(desk: Desk) -> None:
    (account,) = holders(desk, "firm_a", [1_000_000_000])
    before = desk.held(account), lots_of(desk, account)
    publish(desk, ActionKind.SYMBOL_CHANGE, new_symbol="META")

    desk.adjust()

    assert desk.column("SELECT symbol FROM security WHERE id = 1") == ["META"]
    assert (desk.held(account), lots_of(desk, account)) == before
    assert desk.column("SELECT state FROM entitlement") == ["done"]
    assert desk.findings() == []


def test_who_sold_after_the_ex_date_is_paid_and_who_bought_is_not(desk: Desk) -> None:
    (seller,) = holders(desk, "firm_a", [1_000_000_000])
    told = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.brought, later = [], desk.broker.brought
    desk.adjust()
    sold = desk.sell({seller: 1_000_000_000})
    desk.broker.fill_at(sold, 10_000_000)
    desk.collect()
    buyer = holders(desk, "firm_a", [500_000_000])[0]

    desk.next_day()
    desk.broker.brought = later
    desk.adjust()

    assert desk.held(seller).cash_cents == told[0].cents == 100
    assert desk.held(buyer).cash_cents == 0
    assert (desk.findings(), breaks(desk)) == ([], [])


def test_a_split_that_comes_late_is_booked_before_what_was_sold_after_it(desk: Desk) -> None:
    (account,) = holders(desk, "firm_a", [1_000_000_000])
    publish(desk, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    desk.broker.brought, later = [], desk.broker.brought
    desk.adjust()
    desk.fund({account: 10_00}, "more")
    desk.broker.fill(desk.buy({account: 10_00}), 2_000_000_000, 10_00)
    desk.broker.fill(desk.sell({account: 300_000_000}), 300_000_000, 1_50)
    desk.collect()

    desk.broker.brought = later
    desk.adjust()
    desk.collect()

    # One share became two, three tenths of a new one were sold, two were bought: 1.7 + 2.
    assert desk.held(account).holdings_nanos == {1: 3_700_000_000}
    assert [n for n, _, _ in lots_of(desk, account)] == [1_700_000_000, 2_000_000_000]
    assert basis(desk, account) == 8_50 + 10_00
    assert (desk.findings(), breaks(desk)) == ([], [])


def compared(desk: Desk) -> list[tuple[object, ...]]:
    """Compare with the broker; return what differs and is open."""
    tools = desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    reconciling.reconcile(*tools)
    return desk.rows("SELECT subject, category, blocks FROM recon_break WHERE state = 'open'")


def holder_of_ten(desk: Desk, cents: int, *, apart: bool) -> AccountId:
    """Return an account that brought so much and holds ten shares, bought at $10."""
    (holder,) = desk.open("firm_a", 1, "holder")
    if apart:
        desk.broker.can = {"account_model": AccountModel.SEGREGATED}
        with desk.db.write() as session:
            names = ("account_id", "broker", "reference", "opened_at")
            insert_many(session, "broker_account", names, [(holder, "scripted", "acc-0", 1)])
    desk.fund({holder: cents})
    desk.broker.fill_at(desk.buy({holder: 100_00}), 10_000_000)
    desk.collect()
    return holder


def sold_before_its_split(desk: Desk, *, apart: bool = False) -> tuple[AccountId, list[Activity]]:
    """Have ten shares' sale fill as one new share, at a loss, before their 1:10 split is told."""
    holder = holder_of_ten(desk, 100_00, apart=apart)
    block = desk.sell({holder: 10 * SHARE})
    publish(desk, ActionKind.SPLIT, ratio_num=1, ratio_den=10)
    place = "acc-0" if apart else "omnibus/firm_a"
    told = [replace(one, broker_account=place) for one in desk.broker.brought]
    desk.broker.brought = []
    desk.adjust()
    desk.broker.fill(block, SHARE, 60_00, price_micros=60_000_000)
    desk.broker.end(block, BrokerOrderState.CANCELED)
    assert desk.collect() == 0
    assert lots_of(desk, holder)[0][:2] == (10 * SHARE, 100_00)
    return holder, told


LOSS = "SELECT nanos_delta, basis_delta_cents, proceeds_cents FROM lot_event WHERE kind = 'close'"


@pytest.mark.parametrize("apart", [False, True], ids=["shared", "apart"])
def test_a_sale_in_new_shares_waits_for_its_split_and_has_the_basis_of_the_new_share(
    desk: Desk, *, apart: bool
) -> None:
    holder, told = sold_before_its_split(desk, apart=apart)
    for _ in range(4):  # longer than any order may be without its end
        desk.next_day()
    desk.broker.brought, desk.broker.limit = told, 0  # it has divided them, and tells nobody
    waiting = compared(desk), open_orders(desk)

    desk.broker.limit = 1
    bring(desk)
    booked = desk.collect()

    assert waiting == ([("position", "corporate_action", 0)], [])
    assert booked == 1
    assert desk.rows(LOSS) == [(-SHARE, -100_00, 60_00)]
    assert (desk.held(holder).holdings_nanos, lots_of(desk, holder)) == ({}, [])
    assert desk.held(holder).unsettled_cents == 60_00
    assert desk.column("SELECT state FROM orders WHERE side = 'sell'") == ["partial"]
    assert (compared(desk), desk.findings(), desk.collect()) == ([], [], 0)


def test_a_sale_that_waits_for_a_split_and_is_taken_back_is_undone_after_it(desk: Desk) -> None:
    holder, told = sold_before_its_split(desk)
    desk.broker.bust(desk.broker.done[-1])
    desk.collect()
    waiting = desk.rows(LOSS)

    desk.broker.brought = told
    bring(desk)
    desk.collect()
    desk.collect()

    assert waiting == []
    assert [one[:2] for one in lots_of(desk, holder)] == [(SHARE, 100_00)]
    assert desk.held(holder).holdings_nanos == {1: SHARE}
    assert (compared(desk), desk.findings()) == ([], [])


def test_a_sale_waits_for_a_split_no_longer_than_anybody_waits_for_it(desk: Desk) -> None:
    holder, _ = sold_before_its_split(desk)
    for _ in range(desk.policy.action_days_max):
        desk.next_day()
    before = desk.collect()

    desk.next_day()

    assert (before, desk.collect()) == (0, 1)
    assert desk.held(holder).holdings_nanos == {1: 9 * SHARE}


def test_a_sale_waits_for_a_parked_split_until_a_person_has_cleared_it(desk: Desk) -> None:
    holder, told = sold_before_its_split(desk)
    desk.broker.brought = [replace(one, nanos_before=11 * SHARE) for one in told]
    bring(desk)
    before = desk.collect()
    (asked,) = desk.column("SELECT id FROM recon_break WHERE subject = 'activity'")

    reconciling.clear(desk.db, desk.keyring, desk.clock, str(asked), "looked", actor="op")

    assert (before, desk.collect()) == (0, 1)
    assert desk.held(holder).holdings_nanos == {1: 9 * SHARE}


def test_a_sale_before_a_spin_off_is_booked_leaves_it_whole_and_has_the_parents_basis(
    desk: Desk,
) -> None:
    (holder,) = holders(desk, "firm_a", [10 * SHARE])
    block = desk.sell({holder: 4 * SHARE})
    publish(desk, ActionKind.SPIN_OFF, **KEEPS)
    desk.broker.brought, told = [], desk.broker.brought
    desk.adjust()
    desk.broker.fill_at(block, 9_000_000)
    desk.collect()

    desk.broker.brought = told
    bring(desk)
    desk.collect()

    # A fifth of the basis of 100 dollars is the new name's; four tenths of the rest were sold.
    assert desk.rows(LOSS) == [(-4 * SHARE, -32_00, 36_00)]
    assert desk.held(holder).holdings_nanos == {1: 6 * SHARE, NEW: 10 * SHARE // 4}
    assert (basis(desk, holder), basis(desk, holder, NEW)) == (48_00, 20_00)
    assert (breaks(desk), compared(desk), desk.findings()) == ([], [], [])


def guarded(desk: Desk, window: str) -> list[tuple[str, int]]:
    """Send what the guards let through; return its sides and names."""
    told = len(desk.broker.told)
    tools = guarding.Desk(desk.keyring, desk.prices, desk.calendar)
    trading.send(desk.db, desk.broker, desk.clock, desk.policy, window, tools)
    return [(one.side.value, one.security_id) for one in desk.broker.told[told:]]


def bring(desk: Desk) -> int:
    day = desk.today()
    return adjusting.bring(desk.db, desk.keyring, desk.broker, desk.clock, desk.policy, day)


def test_a_split_that_is_told_after_midnight_holds_its_name_for_all_and_is_booked_on_its_day(
    desk: Desk,
) -> None:
    (holder,), (elsewhere,) = holders(desk, "firm_a", [10 * SHARE]), desk.open("firm_b", 1)
    (other,) = desk.open("firm_a", 1, "other")
    desk.fund({holder: 50_00, other: 50_00, elsewhere: 50_00}, "more")
    publish(desk, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    desk.broker.brought, later = [], desk.broker.brought
    desk.adjust()
    trades = [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=4 * SHARE)]
    buys = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=10_00) for n in (1, 2)]
    desk.plan({holder: trades, other: [buys[0]], elsewhere: [buys[0]]}, "morning")
    desk.plan({holder: [buys[1]]}, "beside")
    sent = guarded(desk, "w")
    waits = desk.rows("SELECT side, code FROM orders WHERE state = 'planned' ORDER BY side")

    desk.broker.brought = later
    brought = bring(desk)

    places = {one.security_id: one.broker_account for one in desk.broker.told}
    assert sorted(sent) == [("buy", 1), ("buy", 2)]
    assert places == {1: "omnibus/firm_b", 2: "omnibus/firm_a"}
    assert waits == [("buy", "wait_action"), ("sell", "wait_action")]
    assert (brought, desk.held(holder).holdings_nanos) == (1, {1: 20 * SHARE})
    assert desk.column("SELECT state FROM orders WHERE side = 'sell'") == ["canceled"]
    # What the other one wants to spend means the same in the new terms.
    assert guarded(desk, "after") == [("buy", 1)]
    assert (desk.findings(), breaks(desk)) == ([], [])


KEEPS: dict[str, Any] = {
    "ratio_num": 1,
    "ratio_den": 4,
    "new_security_id": NEW,
    "basis_ppm": 200_000,
}


@pytest.mark.parametrize(("days", "sent"), [(10, []), (11, [("sell", 1)])])
def test_a_spin_off_that_does_not_come_holds_its_name_for_its_days(
    desk: Desk, days: int, sent: list[tuple[str, int]]
) -> None:
    (holder,) = holders(desk, "firm_a", [10 * SHARE])
    publish(desk, ActionKind.SPIN_OFF, **KEEPS)
    desk.broker.brought = []
    desk.adjust()
    for _ in range(days):
        desk.next_day()

    desk.plan({holder: [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=SHARE)]}, "late")

    assert guarded(desk, "w") == sent


@pytest.mark.parametrize(
    ("new_nanos", "cents", "booked"),
    [
        (2 * SHARE, 5_00, True),
        (2_500_000_900, 0, True),
        (2_499_999_001, 0, True),
        (2_500_001_001, 0, False),
        (2 * SHARE, 0, False),
        (SHARE, 15_00, False),
        (3 * SHARE, 5_00, False),
        (2_400_000_000, 1_00, False),
        (0, 25_00, False),
        (0, 0, False),
    ],
)
def test_a_spin_off_of_which_nobody_says_what_was_held_is_whole_shares_and_cash_or_the_ratio(
    desk: Desk, new_nanos: int, cents: int, *, booked: bool
) -> None:
    first, second = holders(desk, "firm_a", [3_333_333_333, 6_666_666_667])
    (told,) = publish(desk, ActionKind.SPIN_OFF, **KEEPS, new_nanos=new_nanos, cents=cents)
    desk.broker.brought = [replace(told, nanos_before=0)]

    desk.adjust()

    came = sum(desk.held(one).holdings_nanos.get(NEW, 0) for one in (first, second))
    paid = sum(desk.held(one).cash_cents for one in (first, second))
    assert (came, paid) == ((new_nanos, cents) if booked else (0, 0))
    assert breaks(desk) == ([] if booked else ["break.action", "break.found"])
    assert desk.findings() == []


def test_a_spin_off_of_less_than_a_share_may_bring_cash_alone_which_is_a_sale_of_that(
    desk: Desk,
) -> None:
    first, second = holders(desk, "firm_a", [SHARE, 2 * SHARE])
    bought = lots_of(desk, first)[0][2]
    (told,) = publish(desk, ActionKind.SPIN_OFF, **KEEPS, new_nanos=0, cents=9_00)
    desk.broker.brought = [replace(told, nanos_before=0)]

    desk.adjust()
    desk.adjust()

    assert [desk.held(one).cash_cents for one in (first, second)] == [3_00, 6_00]
    assert [desk.held(one).holdings_nanos for one in (first, second)] == [
        {1: SHARE},
        {1: 2 * SHARE},
    ]
    # A fifth of the basis went with a quarter of a share and of half a share.
    assert [basis(desk, one) for one in (first, second)] == [8_00, 16_00]
    assert [lots_of(desk, one, NEW) for one in (first, second)] == [[], []]
    sold = desk.rows(
        "SELECT lot_event.nanos_delta, basis_delta_cents, proceeds_cents, lot.acquired_on "
        "FROM lot_event JOIN lot ON lot.id = lot_id WHERE kind = 'close' ORDER BY proceeds_cents"
    )
    assert sold == [(-SHARE // 4, -2_00, 3_00, bought), (-SHARE // 2, -4_00, 6_00, bought)]
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    assert (desk.findings(), breaks(desk)) == ([], [])


@pytest.mark.parametrize("before", [0, 3 * SHARE])
def test_cash_alone_that_is_said_to_be_of_another_name_than_was_announced_is_a_persons(
    desk: Desk, before: int
) -> None:
    (holder,) = holders(desk, "firm_a", [3 * SHARE])
    (told,) = publish(desk, ActionKind.SPIN_OFF, **KEEPS, new_nanos=0, cents=9_00)
    other = replace(told, nanos_before=before, new_security_id=SecurityId(1))
    desk.broker.brought = [other]

    desk.adjust()

    assert (desk.held(holder).cash_cents, basis(desk, holder)) == (0, 30_00)
    assert breaks(desk) == ["break.action", "break.found"]
    assert desk.findings() == []


def arrive(desk: Desk, account: AccountId, nanos: int) -> None:
    """Have shares of security 1 come in that were bought at another firm years ago."""
    one = arrivals.MoveIn(
        "mvi-1", account, b"m", "requested", "[]", "", "", desk.now, desk.now, None, None
    )
    lot = arrivals.MoveInLot("mil-1", one.id, 1, 1, nanos, 5_00, "2020-01-02")
    with desk.db.write() as session:
        arrivals.add(session, one, [lot])
        receiving._book(session, desk.keyring, one, desk.today(), desk.now)


@pytest.mark.parametrize("delta", [10 * SHARE, 14 * SHARE])
def test_shares_that_arrived_since_do_not_keep_a_split_back_if_it_left_them_alone(
    desk: Desk, delta: int
) -> None:
    (holder,), (other,) = holders(desk, "firm_a", [10 * SHARE]), desk.open("firm_a", 1, "other")
    publish(desk, ActionKind.SPLIT, ratio_num=2, ratio_den=1, nanos_delta=delta)
    desk.broker.brought, told = [], desk.broker.brought
    desk.adjust()
    arrive(desk, other, 4 * SHARE)
    desk.broker.brought = [replace(one, nanos_before=14 * SHARE) for one in told]

    bring(desk)

    booked = delta == 10 * SHARE
    assert desk.held(holder).holdings_nanos == {1: (20 if booked else 10) * SHARE}
    assert desk.held(other).holdings_nanos == {1: 4 * SHARE}
    assert breaks(desk) == ([] if booked else ["break.action", "break.found"])
    assert desk.findings() == []


def test_what_was_bought_between_the_ex_date_of_a_dividend_in_shares_and_its_payment_has_none(
    desk: Desk,
) -> None:
    first, second = holders(desk, "firm_a", [10 * SHARE, 3 * SHARE])
    publish(desk, ActionKind.SPLIT, ratio_num=11, ratio_den=10)
    desk.broker.brought, told = [], desk.broker.brought
    desk.adjust()
    for _ in range(desk.policy.action_days_max + 1):
        desk.next_day()
    desk.fund({first: 20_00}, "between")
    desk.broker.fill(desk.buy({first: 20_00}), 2 * SHARE, 20_00)
    desk.collect()
    desk.next_day()
    desk.broker.brought = [replace(one, on=desk.today()) for one in told]

    desk.adjust()

    lots = [nanos for nanos, _, _ in lots_of(desk, first)]
    assert lots == [11 * SHARE, 2 * SHARE]
    assert [n for n, _, _ in lots_of(desk, second)] == [3_300_000_000]
    assert (desk.findings(), breaks(desk)) == ([], [])
    broker_equals_books(desk, "firm_a")


def traded_beside(desk: Desk, before: int, kind: ActionKind, **more: Any) -> AccountId:
    """Have a holder of ten shares, of whose split the broker says that it divided so many.

    Another one's order of the evening before has bought a share that morning; we have not heard.
    """
    (holder,), (other,) = holders(desk, "firm_a", [10 * SHARE]), desk.open("firm_a", 1, "other")
    desk.fund({other: 10_00}, "more")
    block = desk.buy({other: 10_00})
    publish(desk, kind, **more)
    desk.broker.brought, told = [], desk.broker.brought
    desk.adjust()
    desk.broker.fill_at(block, 10_000_000)
    desk.broker.brought = [replace(one, nanos_before=before) for one in told]
    assert bring(desk) == 1
    desk.collect()
    assert desk.held(other).holdings_nanos == {1: SHARE}
    return holder


@pytest.mark.parametrize(
    ("kind", "before", "more", "after"),
    [
        (ActionKind.SPLIT, 11, {"ratio_num": 2, "ratio_den": 1}, {1: 20 * SHARE}),
        (ActionKind.SPIN_OFF, 11, KEEPS, {1: 10 * SHARE, NEW: 10 * SHARE // 4}),
        (ActionKind.SPIN_OFF, 0, KEEPS, {1: 10 * SHARE, NEW: 10 * SHARE // 4}),
    ],
)
def test_what_others_traded_since_in_a_shared_account_does_not_keep_an_action_back(
    desk: Desk, kind: ActionKind, before: int, more: dict[str, Any], after: dict[int, int]
) -> None:
    holder = traded_beside(desk, before * SHARE, kind, **more)

    assert desk.held(holder).holdings_nanos == after
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    assert (desk.findings(), breaks(desk)) == ([], [])
    broker_equals_books(desk, "firm_a")


@pytest.mark.parametrize("apart", [False, True], ids=["shared", "apart"])
def test_what_was_executed_before_a_split_and_told_after_it_is_counted_in(
    desk: Desk, *, apart: bool
) -> None:
    holder = holder_of_ten(desk, 110_00, apart=apart)
    desk.broker.fill_at(desk.buy({holder: 10_00}), 10_000_000)  # the evening before
    (told,) = publish(desk, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    place = "acc-0" if apart else "omnibus/firm_a"
    desk.broker.brought = [
        replace(told, nanos_before=11 * SHARE, nanos_delta=11 * SHARE, broker_account=place)
    ]
    desk.broker.away = True
    desk.adjust()
    parked = breaks(desk), desk.held(holder).holdings_nanos

    desk.broker.away = False
    still = bring(desk)
    desk.collect()

    assert (still, bring(desk), bring(desk)) == (0, 1, 0)
    assert parked[1] == {1: 10 * SHARE}
    assert desk.held(holder).holdings_nanos == {1: 22 * SHARE}
    assert desk.column("SELECT state FROM entitlement") == ["done"]
    assert desk.column("SELECT state FROM recon_break WHERE subject = 'activity'") == ["repaired"]
    assert desk.column("SELECT count(*) FROM parked_activity") == [0]
    assert desk.findings() == []


@pytest.mark.parametrize("kind", [ActionKind.SPLIT, ActionKind.CASH_DIVIDEND])
def test_what_was_executed_before_and_booked_before_the_broker_tells_asks_nobody(
    desk: Desk, kind: ActionKind
) -> None:
    holder = holder_of_ten(desk, 110_00, apart=False)
    desk.broker.fill_at(desk.buy({holder: 10_00}), 10_000_000)  # the evening before
    split = kind is ActionKind.SPLIT
    (told,) = publish(desk, kind, **({"ratio_num": 2} if split else {"cash_micros": 1_000_000}))
    desk.broker.brought = []
    desk.adjust()
    desk.collect()

    desk.broker.brought = [
        replace(
            told,
            nanos_before=11 * SHARE,
            nanos_delta=11 * SHARE if split else 0,
            cents=0 if split else 11_00,
        )
    ]
    desk.next_day()
    bring(desk)

    assert desk.column("SELECT nanos FROM entitlement") == [11 * SHARE]
    assert desk.column("SELECT state FROM entitlement") == ["done"]
    assert breaks(desk) == []
    assert desk.held(holder).holdings_nanos == {1: (22 if split else 11) * SHARE}
    assert desk.findings() == []


def test_what_is_taken_back_before_a_days_actions_are_announced_has_nothing_booked_before_them(
    desk: Desk,
) -> None:
    holder = holder_of_ten(desk, 100_00, apart=False)
    block = desk.sell({holder: 2 * SHARE})
    publish(desk, ActionKind.SPLIT, ratio_num=1, ratio_den=10)  # nobody was there at midnight
    for taken_back in (False, True):
        told = desk.broker.fill(block, SHARE // 10, 10_00, price_micros=100_000_000)
        if taken_back:
            desk.broker.bust(told)
    midnight = day_begins(desk.today())

    finishing.collect(desk.db, desk.keyring, desk.broker, desk.clock, desk.policy, midnight)
    early = lots_of(desk, holder)
    desk.adjust()
    desk.collect()

    assert [nanos for nanos, _, _ in early] == [10 * SHARE]
    assert desk.held(holder).holdings_nanos == {1: 9 * SHARE // 10}
    assert basis(desk, holder) == 90_00
    assert (desk.findings(), breaks(desk)) == ([], [])


@pytest.mark.parametrize(("sold", "before"), [(4, 16), (4, 20), (10, 0)])
def test_a_sale_after_the_ex_date_takes_nothing_of_a_dividend_whatever_the_broker_says_it_had(
    desk: Desk, sold: int, before: int
) -> None:
    some = holders(desk, "firm_a", [10 * SHARE] * (2 if before else 1))
    told = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.brought = []
    desk.adjust()
    desk.broker.fill_at(desk.sell({some[0]: sold * SHARE}), 10_000_000)
    desk.collect()
    desk.next_day()

    desk.broker.brought = [replace(one, nanos_before=before * SHARE) for one in told]
    bring(desk)

    assert [desk.held(one).cash_cents for one in some] == [10_00 for _ in some]
    assert set(desk.column("SELECT nanos FROM entitlement")) == {10 * SHARE}
    assert desk.findings() == []


def test_what_was_executed_before_a_dividend_counts_in_though_some_was_sold_since(
    desk: Desk,
) -> None:
    holder, other = holder_of_ten(desk, 110_00, apart=False), holders(desk, "firm_a", [SHARE])[0]
    desk.broker.fill_at(desk.buy({holder: 10_00}), 10_000_000)  # the evening before
    told = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.brought = []
    desk.adjust()
    desk.collect()
    desk.broker.fill_at(desk.sell({holder: 4 * SHARE}), 10_000_000)
    desk.collect()
    desk.next_day()

    desk.broker.brought = [replace(one, nanos_before=12 * SHARE, cents=12_00) for one in told]
    bring(desk)

    assert [desk.held(one).cash_cents for one in (holder, other)] == [11_00, 1_00]
    assert (breaks(desk), desk.findings()) == ([], [])


@pytest.mark.parametrize(
    ("before", "delta"), [(12 * SHARE, 10 * SHARE), (11 * SHARE, 11 * SHARE)], ids=["more", "all"]
)
def test_a_split_of_something_else_stops_its_name_until_a_person_has_looked(
    desk: Desk, before: int, delta: int
) -> None:
    holder = traded_beside(
        desk, before, ActionKind.SPLIT, ratio_num=2, ratio_den=1, nanos_delta=delta
    )
    queues = [open_questions(desk)]
    reconciling.reconcile(
        desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    )
    for _ in range(desk.policy.action_days_max + 1):
        desk.next_day()
    desk.plan({holder: [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=4 * SHARE)]}, "late")

    sent = guarded(desk, "w")
    queues.append(open_questions(desk))

    assert desk.held(holder).holdings_nanos == {1: 10 * SHARE}
    assert sent == []
    assert desk.column("SELECT code FROM orders WHERE side = 'sell'") == ["wait_break"]
    assert queues == [[("activity", 1, 10 * SHARE, before)]] * 2


def test_a_parked_split_that_a_person_clears_holds_nobody_any_more(desk: Desk) -> None:
    holder = traded_beside(desk, 12 * SHARE, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    (other,) = desk.open("firm_a", 1, "third")
    desk.fund({other: 50_00}, "third")
    desk.next_day()
    buy = Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=10_00)
    desk.plan({holder: [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=SHARE)], other: [buy]}, "x")
    (asked,) = desk.column("SELECT id FROM recon_break WHERE subject = 'activity'")
    before = guarded(desk, "before")

    reconciling.clear(desk.db, desk.keyring, desk.clock, str(asked), "looked", actor="op")

    assert before == []
    assert sorted(guarded(desk, "after")) == [("buy", 1), ("sell", 1)]
    assert desk.held(holder).holdings_nanos == {1: 10 * SHARE}
    assert "waiting" in desk.column("SELECT state FROM entitlement")


def test_what_a_person_cleared_of_one_action_does_not_release_the_next_of_its_name(
    desk: Desk,
) -> None:
    holder = traded_beside(desk, 12 * SHARE, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    clear_the_activity(desk)
    publish(desk, ActionKind.SPLIT, ratio_num=3, ratio_den=1)
    desk.broker.brought = []
    desk.adjust()

    desk.plan({holder: [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=SHARE)]}, "late")

    assert guarded(desk, "w") == []
    assert desk.column("SELECT code FROM orders WHERE side = 'sell'") == ["wait_action"]


def test_a_split_that_is_told_again_as_it_was_held_is_booked_though_the_first_was_cleared(
    desk: Desk,
) -> None:
    holder = traded_beside(desk, 12 * SHARE, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    clear_the_activity(desk)
    desk.broker.brought += [
        replace(one, id="again", nanos_before=11 * SHARE) for one in desk.broker.brought
    ]

    assert bring(desk) == 1

    assert desk.held(holder).holdings_nanos == {1: 20 * SHARE}
    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}


def clear_the_activity(desk: Desk) -> None:
    (asked,) = desk.column("SELECT id FROM recon_break WHERE subject = 'activity'")
    reconciling.clear(desk.db, desk.keyring, desk.clock, str(asked), "looked", actor="op")


def asked_of_persons(desk: Desk) -> operating.Queue:
    with desk.db.read() as session:
        return operating.queue(session, desk.calendar, desk.policy, "firm_a", desk.clock.now())


def open_questions(desk: Desk) -> list[tuple[str, int | None, int, int]]:
    found = asked_of_persons(desk).breaks
    return [(one.subject, one.security_id, one.ours, one.theirs) for one in found]


def open_orders(desk: Desk) -> list[str]:
    return [one.id for one in asked_of_persons(desk).orders]


def test_who_makes_up_for_missed_sessions_loses_no_action_of_the_later_ones(desk: Desk) -> None:
    (account,) = holders(desk, "firm_a", [5_000_000_000])
    missed = desk.today()
    (split,) = publish(desk, ActionKind.SPLIT, ratio_num=2, ratio_den=1)
    # All of it lies at the broker already when the first missed session is made up for.
    desk.adjust(missed)
    assert desk.held(account).holdings_nanos == {1: 5_000_000_000}

    desk.adjust()
    desk.adjust()

    assert split.nanos_delta == 5_000_000_000
    assert desk.held(account).holdings_nanos == {1: 10_000_000_000}
    assert (desk.findings(), breaks(desk)) == ([], [])


def stumbling_on(account: AccountId) -> Callable[..., dividing.Booked]:
    """Return how actions are booked, but for one account."""
    book = dividing.book

    def stumble(activity: Activity, action: Any, part: dividing.Part, mine: Any) -> dividing.Booked:
        if part.account_id == account:
            raise KeyError(account)
        return book(activity, action, part, mine)

    return stumble


def test_an_action_that_breaks_on_one_account_reaches_every_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = holders(desk, "firm_a", [1_000_000_000, 2_000_000_000, 4_000_000_000])
    publish(desk, ActionKind.SPLIT, ratio_num=2)
    monkeypatch.setattr(dividing, "book", stumbling_on(second))
    desk.adjust()

    states = dict(desk.rows("SELECT account_id, state FROM entitlement"))  # type: ignore[arg-type]
    assert states == {first: "done", second: "waiting", third: "done"}
    assert desk.held(third).holdings_nanos == {1: 8_000_000_000}
    assert desk.rows("SELECT job, subject FROM job_failure") == [("adjust", second)]
    (told,) = desk.rows("SELECT account_id, payload FROM event WHERE kind = 'break.entitlement'")
    assert (told[0], json.loads(str(told[1]))["why"]) == (second, "unexpected")


def test_an_account_that_an_action_does_not_fit_is_reported_and_holds_up_nobody(
    desk: Desk,
) -> None:
    seller, keeper = holders(desk, "firm_a", [1_000_000_000, 2_000_000_000])
    publish(desk, ActionKind.CASH_MERGER, cash_micros=5_000_000)
    desk.broker.brought, later = [], desk.broker.brought
    desk.adjust()
    desk.broker.fill(desk.sell({seller: 1_000_000_000}), 1_000_000_000, 5_00)
    desk.collect()

    desk.broker.brought = later
    desk.adjust()
    desk.adjust()

    assert breaks(desk) == ["break.entitlement", "break.found"]
    assert open_questions(desk) == [("activity", 1, 2 * SHARE, 3 * SHARE)]
    (told,) = desk.rows("SELECT account_id, payload FROM event WHERE kind = 'break.entitlement'")
    assert told[0] == seller
    assert json.loads(str(told[1]))["why"] in {"action_does_not_fit", "insufficient_funds"}
    states = dict(desk.rows("SELECT account_id, state FROM entitlement"))  # type: ignore[arg-type]
    assert states == {seller: "waiting", keeper: "done"}
    assert desk.held(keeper).holdings_nanos == {}
    assert desk.findings() == []


@contextmanager
def reading(desk: Desk, table: str) -> Iterator[list[str]]:
    """Yield what is asked of a table meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if f"FROM {table}" in statement:
            asked.append(statement)

    event.listen(desk.db.engine, "before_cursor_execute", note)
    yield asked
    event.remove(desk.db.engine, "before_cursor_execute", note)


def test_one_who_was_refused_an_action_does_not_have_everybodys_entitlements_read_every_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller, *keepers = holders(desk, "firm_a", [SHARE, 2 * SHARE, 3 * SHARE])
    publish(desk, ActionKind.SPLIT, ratio_num=2)
    monkeypatch.setattr(dividing, "book", stumbling_on(seller))
    desk.adjust()
    desk.fund({keepers[0]: 10_00, seller: 10_00}, "more")
    desk.plan({keepers[0]: [Trade(2, Reason.BUY_UNDERWEIGHT, buy_cents=2_00)]}, "beside")

    with reading(desk, "entitlement") as beside:
        sent = guarded(desk, "w")
    buy = Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=2_00)
    desk.plan({keepers[0]: [buy], seller: [buy]}, "within")
    with reading(desk, "entitlement") as within:
        sent += guarded(desk, "v")

    assert sent == [("buy", 2), ("buy", 1)]
    assert desk.rows("SELECT account_id, code FROM orders WHERE state = 'planned'") == [
        (seller, "wait_action")
    ]
    assert beside == []
    assert within
    assert all("account_id IN" in one or "LIMIT" in one for one in within)


def test_orders_planned_before_a_split_are_cancelled_not_sent_in_old_shares(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_000, 2_000_000_000])
    desk.fund({accounts[1]: 5_00}, "more")
    desk.plan(
        {
            accounts[0]: [Trade(1, Reason.SELL_WITHDRAWAL, sell_nanos=1_000_000_000)],
            accounts[1]: [
                Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=2_00),
                Trade(2, Reason.BUY_UNDERWEIGHT, buy_cents=3_00),
            ],
        },
        "yesterday",
    )
    publish(desk, ActionKind.SPLIT, ratio_num=1, ratio_den=10)

    desk.adjust()
    told = len(desk.broker.told)
    desk.send()

    assert [t.security_id for t in desk.broker.told[told:]] == [2]
    assert desk.held(accounts[1]).cash_cents == 2_00
    assert desk.held(accounts[1]).reserved_cents == 3_00
    assert desk.findings() == []


def test_what_the_broker_brings_for_an_action_nobody_published_is_a_break(desk: Desk) -> None:
    (account,) = holders(desk, "firm_a", [1_000_000_000])
    publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.prices.published.clear()

    desk.adjust()
    desk.adjust()

    assert breaks(desk) == ["break.action"]
    assert desk.held(account).cash_cents == 0
    assert desk.findings() == []


def test_a_broker_that_held_something_else_is_a_break_and_its_cash_is_still_split(
    desk: Desk,
) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_000, 2_000_000_000])
    (told,) = publish(desk, ActionKind.CASH_MERGER, cash_micros=10_000_000, nanos_delta=-5)

    desk.broker.brought = [Activity(**{**fields_of(told), "nanos_before": 5})]
    desk.adjust()

    assert breaks(desk) == ["break.action"]
    assert [desk.held(a).holdings_nanos for a in accounts] == [{}, {}]
    assert sum(desk.held(a).unsettled_cents for a in accounts) == told.cents
    assert desk.findings() == []


def fields_of(activity: Activity) -> dict[str, Any]:
    return {name: getattr(activity, name) for name in Activity.__dataclass_fields__}


KINDS: dict[ActionKind, dict[str, Any]] = {
    ActionKind.CASH_DIVIDEND: {"cash_micros": 238_900},
    ActionKind.SPLIT: {"ratio_num": 3, "ratio_den": 2},
    ActionKind.CASH_MERGER: {"cash_micros": 41_170_000},
    ActionKind.DELISTING: {"cash_micros": 120_000},
    ActionKind.STOCK_MERGER: {"ratio_num": 3, "ratio_den": 8, "new_security_id": NEW, "cents": 5},
    ActionKind.SPIN_OFF: {
        "ratio_num": 1,
        "ratio_den": 4,
        "new_security_id": NEW,
        "basis_ppm": 200_000,
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_between_turns_is_finished_by_the_next_run_and_nothing_happens_twice(
    desk: Desk, kind: ActionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = holders(desk, "firm_a", [100_000_001 * (n + 1) for n in range(6)])
    (told,) = publish(desk, kind, **KINDS[kind])
    expected = {p.account_id: p for p in dividing.divide(told, held_by(desk, accounts))}
    monkeypatch.setattr("robo.services.turns._MOST", 1)
    monkeypatch.setattr(adjusting, "Turns", one_by_one)
    real = ledger.post

    for at in (1, 2, 3, 1):
        monkeypatch.setattr(ledger, "post", breaking(real, at, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            desk.adjust()
    monkeypatch.setattr(ledger, "post", real)
    desk.adjust()

    assert set(desk.column("SELECT state FROM entitlement")) == {"done"}
    for account in accounts:
        held, part = desk.held(account), expected[account]
        assert held.holdings_nanos.get(1, 0) == part.nanos + part.nanos_delta
        assert held.holdings_nanos.get(NEW, 0) == part.new_nanos
        assert held.cash_cents + held.unsettled_cents == part.cents
    assert desk.scalar("SELECT count(*) FROM event WHERE kind = 'action.applied'") == 6
    assert (desk.findings(), breaks(desk)) == ([], [])


def one_by_one(db: Database, policy: Policy) -> Turns:
    """Return turns of one item each: every account has a transaction of its own."""
    return Turns(db, policy, size=1)


def held_by(desk: Desk, accounts: list[AccountId]) -> list[tuple[AccountId, int]]:
    return [(a, desk.held(a).holdings_nanos[1]) for a in accounts]


holdings = st.lists(st.integers(1, 10**12) | st.integers(1, 5), min_size=1, max_size=30)


@settings(max_examples=200)
@given(holdings, st.integers(0, 10**9) | st.integers(0, 5), st.integers(1, 50), st.integers(1, 50))
def test_parts_add_up_to_what_the_broker_brought(
    nanos: list[int], cents: int, num: int, den: int
) -> None:
    total = sum(nanos)
    told = Activity(
        "ac",
        "ca",
        ActionKind.SPLIT,
        SecurityId(1),
        TRADED,
        cents,
        total,
        total * num // den - total,
    )
    held = [(AccountId(child_id("acc", n)), one) for n, one in enumerate(nanos)]

    parts = {p.account_id: p for p in dividing.divide(told, held)}

    assert sum(p.cents for p in parts.values()) == cents
    assert sum(p.nanos_delta for p in parts.values()) == told.nanos_delta
    assert all(p.nanos + p.nanos_delta >= 0 for p in parts.values())
    backwards = {p.account_id: p for p in dividing.divide(told, held[::-1])}
    assert backwards == parts


def test_the_odd_cent_of_a_dividend_is_not_always_the_same_accounts() -> None:
    held = [(AccountId(child_id("acc", n)), 10**9) for n in range(10)]
    won = dict.fromkeys((a for a, _ in held), 0)

    for number in range(2_000):
        told = Activity(
            f"ac-{number}", "ca", ActionKind.CASH_DIVIDEND, SecurityId(1), TRADED, 3, 10**10, 0
        )
        for part in dividing.divide(told, held):
            won[part.account_id] += part.cents

    # Each wins 3 of 10: mean 600, standard deviation sqrt(2,000 x 0.3 x 0.7) = 20.5.
    assert max(abs(count - 600) for count in won.values()) < 5 * 20.5


def test_a_fee_that_was_told_under_a_longer_id_is_charged_once(desk: Desk) -> None:
    (told,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=0)
    fee = replace(told, id="20260303000000000::fee", action_id="", kind=CashKind.FEE, cents=-3_00)
    desk.broker.brought = [fee]
    desk.adjust()
    desk.broker.brought += [replace(fee, id="fee"), replace(fee, id="another", cents=-2_00)]

    assert bring(desk) == 1

    assert desk.scalar("SELECT amount FROM balance WHERE book = 'firm/firm_a/rounding'") == -5_00
    assert desk.findings() == []


def test_activities_that_come_one_a_page_are_all_applied(desk: Desk) -> None:
    accounts = holders(desk, "firm_a", [1_000_000_000, 333_333_333])
    others = holders(desk, "firm_b", [500_000_000])
    desk.broker.limit = 1
    both = ("firm_a", "firm_b")
    paid = []

    for kind in (ActionKind.CASH_DIVIDEND, ActionKind.SPLIT, ActionKind.CASH_DIVIDEND):
        paid += publish(desk, kind, both, **KINDS[kind])
        desk.adjust()

    held = [desk.held(a) for a in accounts]
    assert sum(h.holdings_nanos[1] for h in held) == 1_333_333_333 * 3 // 2
    assert sum(h.cash_cents for h in held) == sum(p.cents for p in paid[::2])
    assert desk.held(others[0]).holdings_nanos == {1: 750_000_000}
    assert desk.held(others[0]).cash_cents == sum(p.cents for p in paid[1::2])
    assert (desk.findings(), breaks(desk)) == ([], [])
