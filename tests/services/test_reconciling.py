"""The broker against the books: each kind of difference is named, mended or kept, and blocks."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from desk import SETTLES, TRADED, Desk, desk_from, write_template

from robo.core.errors import InvalidInputError, NotFoundError
from robo.core.ids import AccountId, FirmId, SecurityId
from robo.core.reasons import Reason
from robo.ledger import chart
from robo.ports.broker import (
    Activity,
    BrokerCash,
    BrokerOrder,
    BrokerOrderState,
    CashKind,
    ExecutionPage,
    MassStatus,
    Position,
)
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import chasing, reconciling
from robo.services.ordering import Trade
from robo.store import breaks
from robo.store.schema import downgrade, upgrade

SHARE = 10**9
PLACE = "omnibus/firm_a"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("recon") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def holding(desk: Desk, firm: str = "firm_a") -> AccountId:
    """Return an account that holds ten shares of security 1."""
    (account,) = desk.open(firm, 1)
    desk.fund({account: 200_00})
    desk.broker.fill_at(desk.buy({account: 100_00}), 10_000_000)
    desk.collect()
    return account


def look(desk: Desk) -> reconciling.Report:
    return reconciling.reconcile(
        desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    )


def found(desk: Desk) -> list[tuple[str, str, str, int]]:
    return [(b.category, b.subject, b.repair, b.blocks) for b in look(desk).found]


def pretend(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, nanos: int = 0, cents: int = 0, moving: int = 0
) -> None:
    """Let the broker have more (or less) than it told us of."""
    real = desk.broker.mass_status

    def status(place: str) -> MassStatus:
        told = real(place)
        if place != PLACE:
            return told
        held = {p.security_id: p.nanos for p in told.positions}
        held[SecurityId(1)] = held.get(SecurityId(1), 0) + nanos
        return replace(
            told,
            positions=[Position(s, n) for s, n in held.items() if n],
            cash=BrokerCash(told.cash.total_cents + cents, told.cash.settled_cents),
            moving=frozenset({SecurityId(moving)} if moving else ()),
        )

    monkeypatch.setattr(desk.broker, "mass_status", status)


def test_books_that_agree_have_no_breaks(desk: Desk) -> None:
    holding(desk)
    holding(desk, "firm_b")

    report = look(desk)

    assert (report.places, report.found, report.repaired, report.unheard) == (2, (), 0, ())


def test_executions_that_we_have_not_read_are_read_booked_and_journaled(desk: Desk) -> None:
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.broker.fill_at(desk.buy({account: 100_00}), 10_000_000)

    report = look(desk)

    assert report.found == ()
    assert report.repaired > 0
    assert desk.held(account).holdings_nanos == {1: 10 * SHARE}
    kept = set(desk.rows("SELECT category, state, closed_by FROM recon_break"))
    assert {("missing_execution", "repaired", "reconciler")} <= kept
    assert desk.scalar("SELECT count(*) FROM audit WHERE action = 'break.repaired'") > 0
    assert desk.findings() == []


def late_fill(desk: Desk, monkeypatch: pytest.MonkeyPatch, *, ended: bool) -> None:
    """Let an order be (partly) filled at the broker, which does not tell the execution."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    block = desk.buy({account: 100_00})
    desk.broker.fill(block, 4 * SHARE, 40_00)
    if ended:
        desk.broker.end(block, BrokerOrderState.CANCELED)
    monkeypatch.setattr(desk.broker, "executions", lambda after: ExecutionPage([], after))


def chase(desk: Desk, **later: int) -> list[tuple[str, str, int, int, int]]:
    desk.clock.advance(timedelta(**later))
    desk.collect()
    chasing.chase(desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy)
    with desk.db.read() as session:
        return [
            (one.category, one.subject, one.ours, one.theirs, one.blocks)
            for one in breaks.listed(session, "open")
        ]


@pytest.mark.parametrize("ended", [True, False])
def test_executions_that_do_not_come_for_an_hour_are_a_break_until_they_come(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    with monkeypatch.context() as patched:
        late_fill(desk, patched, ended=ended)
        soon = chase(desk, minutes=59)
        after_an_hour = chase(desk, minutes=2)
        events = desk.scalar("SELECT count(*) FROM event WHERE kind = 'break.found'")
        again = chase(desk, minutes=15)

    assert soon == []
    assert after_an_hour == [("missing_execution", "execution", 0, 4 * SHARE, 0)] == again
    assert events == 1 == desk.scalar("SELECT count(*) FROM event WHERE kind = 'break.found'")
    assert chase(desk, minutes=15) == []
    assert desk.rows("SELECT state, closed_by FROM recon_break") == [("repaired", "reconciler")]
    assert desk.findings() == []


def test_executions_that_never_come_stop_their_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_fill(desk, monkeypatch, ended=True)
    chase(desk, hours=2)

    assert chase(desk, hours=25) == [("real", "execution", 0, 4 * SHARE, 1)]


def test_a_broker_that_does_not_answer_for_an_order_ends_no_break_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_fill(desk, monkeypatch, ended=True)
    seen = chase(desk, hours=2)

    monkeypatch.setattr(desk.broker, "away", True)
    desk.clock.advance(timedelta(minutes=15))
    chasing.chase(desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy)

    with desk.db.read() as session:
        assert len(seen) == len(breaks.listed(session, "open")) == 1


def untold_orders(desk: Desk, count: int) -> list[str]:
    """Return orders of an hour ago that are filled, of which nobody has told us."""
    accounts = desk.open("firm_a", count)
    desk.fund(dict.fromkeys(accounts, 10_00))
    made = [desk.buy({account: 10_00}) for account in accounts]
    for block in made:
        desk.broker.fill_at(block, 10_000_000)
    desk.clock.advance(timedelta(minutes=61))
    return made


def chased(desk: Desk) -> int:
    return chasing.chase(desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy)


def asking(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that every order is put in that the broker is asked for."""
    asked: list[str] = []
    find = desk.broker.find
    monkeypatch.setattr(desk.broker, "find", lambda i: asked.append(i) or find(i))
    return asked


def test_a_silent_feed_costs_one_question_an_order_and_a_run_has_a_limit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = untold_orders(desk, 5)
    monkeypatch.setattr(desk.broker, "executions", lambda after: ExecutionPage([], after))
    desk.policy = replace(desk.policy, chase_asks_max=2)
    asked, runs = asking(desk, monkeypatch), []

    for _ in range(3):
        runs.append((chased(desk), sorted(asked)))
        asked.clear()

    assert [(found, len(some)) for found, some in runs] == [(2, 2)] * 3
    # All have had their turn, and the first one its second.
    assert len({one for _, some in runs for one in some}) == 5
    with desk.db.read() as session:
        assert {one.reference for one in breaks.listed(session, "open")} == set(made)


def test_an_order_that_the_broker_cannot_be_asked_for_keeps_no_other_from_its_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    untold_orders(desk, 3)
    monkeypatch.setattr(desk.broker, "executions", lambda after: ExecutionPage([], after))
    asked = asking(desk, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(desk.broker, "away", True)
        assert (chased(desk), len(asked)) == (0, 1)

    assert chased(desk) == 3
    assert asked[0] == asked[3]


def test_executions_that_lie_unread_are_read_and_no_break(desk: Desk) -> None:
    untold_orders(desk, 1)

    assert chased(desk) == 0
    assert desk.scalar("SELECT count(*) FROM recon_break") == 0


def test_an_order_that_trades_while_we_look_is_no_break(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    block = desk.buy({account: 100_00})
    desk.broker.fill(block, 4 * SHARE, 40_00)
    desk.clock.advance(timedelta(minutes=61))
    find = desk.broker.find

    def trade_on(client_id: str) -> BrokerOrder | None:
        said = find(client_id)
        desk.broker.fill(block, SHARE, 10_00)
        return said

    monkeypatch.setattr(desk.broker, "find", trade_on)

    assert [chased(desk) for _ in range(2)] == [0, 0]
    assert desk.scalar("SELECT count(*) FROM recon_break") == 0


@pytest.mark.parametrize("nanos", [1, -SHARE])
def test_a_position_that_nothing_explains_is_real_and_blocks_its_name_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, nanos: int
) -> None:
    account = holding(desk)
    holding(desk, "firm_b")
    pretend(desk, monkeypatch, nanos=nanos)

    seen = found(desk)
    buys = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=5_00) for n in (1, 2)]
    desk.plan({account: buys}, "after")
    told = len(desk.broker.told)
    desk.send()

    assert seen == [("real", "position", "ask_operator", 1)]
    assert [one.security_id for one in desk.broker.told[told:]] == [2]


def test_a_cent_that_nothing_explains_blocks_the_account_and_no_other_firm(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = holding(desk), holding(desk, "firm_b")
    pretend(desk, monkeypatch, cents=-1)
    seen = found(desk)
    for account in (mine, theirs):
        desk.plan({account: [Trade(2, Reason.BUY_UNDERWEIGHT, buy_cents=5_00)]}, "after")
    told = len(desk.broker.told)
    desk.send()

    assert seen == [("real", "cash", "ask_operator", 1)]
    assert [one.broker_account for one in desk.broker.told[told:]] == ["omnibus/firm_b"]


def test_a_break_that_has_gone_is_closed_and_what_it_held_back_is_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = holding(desk)
    with monkeypatch.context() as patched:
        pretend(desk, patched, nanos=5)
        look(desk)
    desk.plan({account: [Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=5_00)]}, "after")
    told = len(desk.broker.told)
    desk.send()
    held = len(desk.broker.told) - told
    look(desk)
    desk.send()

    assert (held, len(desk.broker.told) - told) == (0, 1)
    assert desk.column("SELECT state FROM recon_break") == ["gone"]


def test_an_operator_clears_a_break_and_it_stays_cleared_until_it_changes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding(desk)
    with monkeypatch.context() as patched:
        pretend(desk, patched, nanos=5)
        (one,) = look(desk).found
        args = desk.db, desk.keyring, desk.clock
        cleared = reconciling.clear(*args, one.id, "counted by hand", actor="key_1")
        again = look(desk).found
    pretend(desk, monkeypatch, nanos=6)
    changed = look(desk).found

    assert (cleared.state, cleared.closed_by, cleared.note) == (
        "cleared",
        "key_1",
        "counted by hand",
    )
    assert again == ()
    assert [(b.id, b.blocks) for b in changed] == [(one.id, 1)]
    assert desk.scalar("SELECT count(*) FROM audit WHERE action = 'break.cleared'") == 1
    assert desk.findings() == []


def test_clearing_needs_a_break_and_a_reason(desk: Desk) -> None:
    with pytest.raises(NotFoundError):
        reconciling.clear(desk.db, desk.keyring, desk.clock, "brk_none", "why", actor="x")
    with pytest.raises(InvalidInputError):
        reconciling.clear(desk.db, desk.keyring, desk.clock, "brk_none", " ", actor="x")


def test_a_broker_that_does_not_answer_is_not_an_empty_one(desk: Desk) -> None:
    holding(desk)
    desk.broker.away = True

    report = look(desk)

    assert report.unheard == (PLACE, "omnibus/firm_b")
    assert report.found == ()


def test_a_position_in_the_middle_of_a_corporate_action_waits_for_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = holding(desk)
    pretend(desk, monkeypatch, nanos=-10 * SHARE, moving=1)  # REMOVEd and not ADDed yet

    seen = found(desk)
    desk.plan({account: [Trade(2, Reason.BUY_UNDERWEIGHT, buy_cents=5_00)]}, "after")
    told = len(desk.broker.told)
    desk.send()

    assert seen == [("corporate_action", "position", "apply_actions", 0)]
    assert len(desk.broker.told) == told + 1


def test_what_trades_while_we_look_is_timing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    account = holding(desk)
    desk.sell({account: SHARE})
    pretend(desk, monkeypatch, nanos=-SHARE // 2, cents=5_00)

    assert sorted(found(desk)) == [
        ("timing", "cash", "look_again", 0),
        ("timing", "position", "look_again", 0),
    ]


def test_an_order_of_nobodys_at_the_broker_is_real(desk: Desk) -> None:
    account = holding(desk)
    block = desk.buy({account: 10_00}, security=2)
    stranger = replace(desk.broker.orders[block], client_id="by-hand", broker_order_id="x")
    desk.broker.orders["by-hand"] = stranger
    desk.broker.told.append(replace(desk.broker.told[-1], client_id="by-hand"))

    assert found(desk) == [("real", "order", "cancel_at_broker", 1)]


def activity(desk: Desk, kind: CashKind | ActionKind, cents: int, **more: object) -> Activity:
    made = Activity(
        id=f"act-{len(desk.broker.brought)}",
        action_id="",
        kind=kind,
        security_id=SecurityId(0),
        on=TRADED,
        cents=cents,
        nanos_before=0,
        nanos_delta=0,
        broker_account=PLACE,
    )
    desk.broker.brought.append(replace(made, **more))  # type: ignore[arg-type]
    return desk.broker.brought[-1]


@pytest.mark.parametrize(("kind", "cents"), [(CashKind.FEE, -37), (CashKind.INTEREST, 12)])
def test_fees_and_interest_are_the_firms(desk: Desk, kind: CashKind, cents: int) -> None:
    account = holding(desk)
    activity(desk, kind, cents)

    desk.adjust()
    desk.adjust()

    book = "SELECT amount FROM balance WHERE book = 'firm/firm_a/rounding'"
    assert desk.column(book) == [cents]
    assert desk.held(account).cash_cents == 100_00
    assert look(desk).found == ()
    assert desk.findings() == []


def test_what_the_broker_cannot_explain_is_an_unknown_activity_until_a_person_books_it(
    desk: Desk,
) -> None:
    holding(desk)
    activity(desk, CashKind.OTHER, -5, detail="ADJ")
    desk.adjust()

    seen = found(desk)
    (one,) = [b for b in look(desk).found if b.subject == "activity"]
    reconciling.clear(desk.db, desk.keyring, desk.clock, one.id, "a wire fee", actor="key_1")

    assert sorted(seen) == [
        ("unknown_activity", "activity", "book_to_firm", 0),
        ("unknown_activity", "cash", "book_to_firm", 0),
    ]
    assert look(desk).found == ()
    assert desk.findings() == []


def dividend(desk: Desk) -> list[AccountId]:
    """Return two accounts that had a dividend of 10.00 and 20.00, with tax still to be taken."""
    accounts = desk.open("firm_a", 2)
    desk.fund(dict.fromkeys(accounts, 300_00))
    desk.broker.fill_at(desk.buy({accounts[0]: 100_00, accounts[1]: 200_00}), 10_000_000)
    desk.collect()
    desk.next_day()
    desk.prices.published.append(
        CorporateAction("div", ActionKind.CASH_DIVIDEND, SecurityId(1), SETTLES, SETTLES, 1_000_000)
    )
    desk.adjust()
    activity(
        desk,
        ActionKind.CASH_DIVIDEND,
        30_00,
        action_id="div",
        security_id=SecurityId(1),
        nanos_before=30 * SHARE,
    )
    desk.adjust()
    return accounts


def test_what_the_broker_tells_of_no_account_is_a_break_of_every_firm_until_a_person_has_looked(
    desk: Desk,
) -> None:
    account = holding(desk)
    told = replace(activity(desk, CashKind.OTHER, 0), id="stream-1#silent", broker_account="")
    desk.broker.brought[-1] = told
    desk.adjust()

    seen = look(desk).found
    desk.plan({account: [Trade(2, Reason.BUY_UNDERWEIGHT, buy_cents=5_00)]}, "after")
    orders = len(desk.broker.told)
    desk.send()
    cleared = reconciling.clear(
        desk.db, desk.keyring, desk.clock, seen[0].id, "seen at Alpaca", actor="key_1"
    )

    assert {(one.firm_id, one.category, one.reference, one.blocks) for one in seen} == {
        (firm, "unknown_activity", "stream-1#silent", 0) for firm in ("firm_a", "firm_b")
    }
    assert len(desk.broker.told) == orders + 1
    assert cleared.state == "cleared"
    assert look(desk).found == ()
    assert desk.findings() == []


def test_cents_of_no_account_are_booked_on_the_one_firm_that_clears_them_first(desk: Desk) -> None:
    told = replace(activity(desk, CashKind.OTHER, -5_00), broker_account="")
    desk.broker.brought[-1] = told
    desk.adjust()
    args = desk.db, desk.keyring, desk.clock

    seen = [one for one in look(desk).found if one.subject == "activity"]
    ended = [reconciling.clear(*args, one.id, "seen", actor=one.firm_id) for one in seen]

    assert {one.firm_id for one in seen} == {"firm_a", "firm_b"}
    assert [(one.state, one.closed_by) for one in ended] == [
        ("cleared", seen[0].firm_id),
        ("gone", "reconciler"),
    ]
    assert desk.rows("SELECT book, amount FROM balance WHERE amount <> 0 ORDER BY amount") == [
        (chart.rounding(FirmId(seen[0].firm_id)), -5_00),
        (chart.STREET_MARKET, 5_00),
    ]
    assert look(desk).found == ()
    assert desk.findings() == []


def test_tax_withheld_is_taken_from_those_who_had_the_dividend(desk: Desk) -> None:
    accounts = dividend(desk)
    activity(desk, CashKind.WITHHOLDING, -4_50, action_id="div", security_id=SecurityId(1))

    desk.adjust()
    desk.adjust()

    assert [desk.held(a).cash_cents for a in accounts] == [200_00 + 8_50, 100_00 + 17_00]
    assert look(desk).found == ()
    assert desk.findings() == []


def test_a_dividend_that_is_taken_back_and_paid_anew_is_booked_both_ways(desk: Desk) -> None:
    accounts = dividend(desk)
    first = desk.broker.brought[-1]
    activity(
        desk,
        ActionKind.CASH_DIVIDEND,
        -30_00,
        action_id="div",
        security_id=SecurityId(1),
        takes_back=first.id,
    )

    desk.adjust()

    assert [desk.held(a).cash_cents for a in accounts] == [200_00, 100_00]
    assert look(desk).found == ()
    assert desk.findings() == []


def test_a_charge_that_an_account_cannot_pay_is_carried_by_the_firm(desk: Desk) -> None:
    accounts = dividend(desk)
    desk.broker.fill_at(desk.buy({accounts[1]: 120_00}, security=2), 10_000_000)
    desk.collect()
    activity(desk, CashKind.WITHHOLDING, -30_00, action_id="div", security_id=SecurityId(1))

    desk.adjust()

    assert [desk.held(a).cash_cents for a in accounts] == [200_00, 0]
    assert desk.column("SELECT amount FROM balance WHERE book = 'firm/firm_a/rounding'") == [-20_00]
    assert look(desk).found == ()
    assert desk.findings() == []


def test_cash_from_outside_is_no_result_of_trading(desk: Desk) -> None:
    holding(desk)
    activity(desk, CashKind.DEPOSIT, 0)
    desk.adjust()

    assert look(desk).found == ()
    assert desk.column("SELECT state FROM broker_activity") == ["outside"]


def test_lots_that_are_not_the_holdings_are_real(desk: Desk) -> None:
    holding(desk)
    with desk.db.write() as session:
        session.connection().exec_driver_sql("UPDATE lot SET nanos = nanos - 1")

    assert found(desk) == [("real", "lot", "verify", 1)]


def test_breaks_are_counted_for_the_metrics(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    holding(desk)
    pretend(desk, monkeypatch, nanos=5, cents=7)
    look(desk)
    desk.clock.advance(timedelta(minutes=1))
    look(desk)

    with desk.db.read() as session:
        assert breaks.counts(session) == {("real", "cash"): 1, ("real", "position"): 1}
        blocked = breaks.blocked(session)
    assert blocked.covers(PLACE, 3)
    assert not blocked.covers("omnibus/firm_b", 1)
    assert desk.scalar("SELECT count(*) FROM event WHERE kind = 'break.found'") == 2


def test_what_actions_brought_before_the_upgrade_is_no_break_after_it(desk: Desk) -> None:
    dividend(desk)
    desk.adjust()
    downgrade(desk.db, "0001")
    upgrade(desk.db)

    assert look(desk).found == ()
