"""An existing portfolio comes here: a file, a confirmation, shares at the broker, lots."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from world import FIRM, World, make_world

from robo.core.clock import business_date
from robo.core.errors import ConflictError, InvalidInputError, RefusedError, RoboError
from robo.core.ids import AccountId, LotId, SecurityId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.money import NANOS_PER_SHARE
from robo.core.reasons import Reason
from robo.ports.broker import Capabilities
from robo.ports.terms import Group
from robo.services import (
    describing,
    finishing,
    moving,
    ordering,
    receiving,
    reconciling,
    reporting,
    trading,
)
from robo.services.moving import Upload
from robo.services.ordering import Plan, Trade
from robo.services.washing import counting, windows
from robo.store import accounts, arrivals, events, ledger, lot_history, lots, owners, universe
from robo.store.arrivals import MoveIn

HEADER = "symbol,shares,basis,acquired\n"
GOOD = (
    HEADER + "AAPL,10,1500.00,2019-05-06\nAAPL,2.5,700.00,2026-02-20\nMSFT,4,$1,200.50,03/01/2024\n"
)
GOOD = GOOD.replace("$1,200.50", '"$1,200.50"')
_NUMBERS = count(1)


@dataclass
class Mover:
    """Somebody with an account here who brings files."""

    world: World
    account: AccountId

    @property
    def owned(self) -> owners.Account:
        with self.world.db.read() as session:
            found = owners.find_account(session, self.account)
        assert found is not None
        return found

    def upload(self, text: str = GOOD, *, leave_out: bool = False, name: str = "") -> MoveIn:
        r = self.world.runtime
        move_in_id = child_id("mvi", self.account, name or str(next(_NUMBERS)))
        sent = Upload(move_in_id, text, leave_out)
        return moving.upload(r.db, r.keyring, r.clock, r.policy, self.owned, sent, actor="test")

    def confirm(self, made: MoveIn) -> MoveIn:
        r = self.world.runtime
        return moving.confirm(
            r.db, r.keyring, r.broker, r.prices, r.clock, r.policy, self.owned, made.id, actor="t"
        )

    def receive(self) -> int:
        r = self.world.runtime
        return receiving.ask(r.db, r.keyring, r.broker, r.clock)

    def bring(self, text: str = GOOD) -> MoveIn:
        made = self.upload(text)
        self.confirm(made)
        self.receive()
        return self.stored(made)

    def stored(self, made: MoveIn) -> MoveIn:
        with self.world.db.read() as session:
            found = arrivals.find(session, made.id)
        assert found is not None
        return found

    def security(self, symbol: str) -> SecurityId:
        with self.world.db.read() as session:
            return universe.by_symbol(session, [symbol])[symbol].id

    def lots(self) -> list[tuple[int, str, int, int]]:
        with self.world.db.read() as session:
            found = lots.open_lots(session, [self.account]).get(self.account, [])
        return [(one.security_id, one.acquired_on, one.nanos, one.basis_cents) for one in found]

    def breaks(self) -> list[Any]:
        r = self.world.runtime
        report = reconciling.reconcile(r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy)
        return list(report.found)


@pytest.fixture
def mover(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[Mover]:
    with make_world(tmp_path, short_calendar) as world:
        (account,) = world.add_accounts(1)
        yield Mover(world, account)


def test_a_file_becomes_lots_with_their_own_dates_and_the_broker_holds_the_shares(
    mover: Mover,
) -> None:
    made = mover.bring()

    apple, microsoft = mover.security("AAPL"), mover.security("MSFT")
    assert (made.state, made.received_on) == ("received", "2026-03-02")
    assert mover.lots() == [
        (apple, "2019-05-06", 10 * NANOS_PER_SHARE, 1500_00),
        (microsoft, "2024-03-01", 4 * NANOS_PER_SHARE, 1200_50),
        (apple, "2026-02-20", 2_500_000_000, 700_00),
    ]
    broker = mover.world.runtime.broker
    at_broker = {one.security_id: one.nanos for one in broker.positions(f"omnibus/{FIRM}")}
    assert at_broker == {apple: 12_500_000_000, microsoft: 4 * NANOS_PER_SHARE}
    assert mover.world.balances(mover.account).holdings_nanos == at_broker
    assert mover.breaks() == []
    assert mover.world.findings() == []


def test_a_draft_says_what_it_brings_and_moves_nothing(mover: Mover) -> None:
    made = mover.upload()

    r = mover.world.runtime
    with r.db.read() as session:
        shown = describing.show(session, r.prices, r.clock, mover.owned, made.id)

    apple = next(one for one in shown.positions if one.symbol == "AAPL")
    assert (apple.lots, apple.basis_cents) == (2, 2200_00)
    assert apple.value_cents is not None
    assert apple.short_gain_cents + apple.long_gain_cents == apple.value_cents - apple.basis_cents
    assert mover.receive() == 0
    assert mover.lots() == []


def test_asking_and_booking_twice_brings_it_once(mover: Mover) -> None:
    made = mover.upload(name="once")
    again = mover.upload(name="once")
    mover.confirm(made)
    mover.confirm(made)

    r = mover.world.runtime
    ended = [
        mover.receive(),
        mover.receive(),
        receiving.book(r.db, r.keyring, r.broker, r.clock),
    ]

    assert again == made
    assert ended == [1, 0, 0]
    assert len(mover.lots()) == 3
    assert mover.world.findings() == []


@pytest.mark.parametrize("step", ["apply_events", "post", "change", "emit"])
def test_a_crash_while_booking_is_made_good_before_the_next_days_actions(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    where: Any = {"apply_events": lots, "post": ledger, "change": arrivals, "emit": events}[step]
    whole = getattr(where, step)

    def dies(*given: Any, **named: Any) -> None:
        whole(*given, **named)
        message = "the plug was pulled"
        raise OSError(message)

    made = mover.upload()
    mover.confirm(made)
    monkeypatch.setattr(where, step, dies)
    with pytest.raises(OSError, match="plug"):
        mover.receive()
    monkeypatch.undo()
    assert mover.lots() == []

    mover.world.clock.advance(timedelta(days=1))
    r = mover.world.runtime
    receiving.book(r.db, r.keyring, r.broker, r.clock)

    assert mover.stored(made).received_on == "2026-03-02"
    assert len(mover.lots()) == 3
    assert mover.breaks() == []
    assert mover.world.findings() == []


def test_positions_that_the_other_firm_has_not_delivered_are_waited_for(
    tmp_path: Path, short_calendar: MarketCalendar
) -> None:
    slow = {"ROBO_PAPER_MOVE_IN_SECONDS": "86400"}
    with make_world(tmp_path, short_calendar, settings=slow) as world:
        mover = Mover(world, *world.add_accounts(1))
        made = mover.bring()
        waiting = made.state
        with pytest.raises(ConflictError, match="on their way"):
            closes(mover)
        breaks = mover.breaks()
        world.next_session()
        mover.receive()

        assert (waiting, breaks) == ("requested", [])
        assert mover.stored(made).received_on == "2026-03-03"
        assert mover.breaks() == []


def closes(mover: Mover) -> None:
    with mover.world.db.read() as session:
        moving.require_none_coming(session, mover.account)


def test_what_the_broker_refuses_is_refused_with_its_code(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mover.upload()
    mover.confirm(made)
    engine = mover.world.runtime.broker._engine  # type: ignore[attr-defined] # the paper broker's
    monkeypatch.setattr(engine._prices, "quotes", lambda *_: {})

    mover.receive()

    assert (mover.stored(made).state, mover.stored(made).code) == ("refused", "no_price")
    assert mover.lots() == []
    assert mover.upload().state == "draft"  # the same file may be sent again


def test_a_broker_that_takes_whole_shares_only_or_nothing_says_so(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mover.upload()
    broker = type(mover.world.runtime.broker)
    monkeypatch.setattr(broker, "in_kind_decimals", 0)
    with pytest.raises(RefusedError) as fractions:
        mover.confirm(made)

    capabilities = mover.world.runtime.broker.capabilities
    fields = {name: getattr(capabilities, name) for name in Capabilities.__dataclass_fields__}
    without = Capabilities(**{**fields, "groups": capabilities.groups - {Group.IN_KIND}})
    monkeypatch.setattr(broker, "capabilities", without)
    with pytest.raises(RefusedError) as unable:
        mover.confirm(made)

    assert (fractions.value.code, unable.value.code) == (
        "whole_shares_only",
        "in_kind_not_supported",
    )
    assert mover.receive() == 0


def test_a_file_that_names_what_cannot_be_held_is_refused_or_leaves_it_behind(
    mover: Mover,
) -> None:
    text = GOOD + "ZZTOP,1,10.00,2020-01-01\n"
    with pytest.raises(InvalidInputError) as refused:
        mover.upload(text)

    made = mover.upload(text, leave_out=True)

    assert refused.value.code == "unknown_symbols"
    assert refused.value.fields == {"symbols": ["ZZTOP"]}
    assert made.left_out == '["ZZTOP"]'


def test_the_same_file_is_taken_once_until_it_is_canceled(mover: Mover) -> None:
    made = mover.upload()
    with pytest.raises(ConflictError) as twice:
        mover.upload()

    r = mover.world.runtime
    moving.cancel(r.db, r.keyring, r.clock, mover.owned, made.id, actor="test")

    assert twice.value.code == "import_known"
    assert mover.upload().state == "draft"


def test_too_much_at_once_and_what_has_split_since_is_refused(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, huge = mover.upload(), mover.upload(HEADER + "AAPL,10000000,1.00,2020-01-01\n")
    with pytest.raises(RefusedError) as large:
        mover.confirm(huge)
    ex_on = (business_date(mover.world.clock.now()) + timedelta(days=1)).isoformat()
    split = lot_history.Action("act_1", "split", mover.security("AAPL"), ex_on, "{}")
    monkeypatch.setattr(lot_history, "actions_of", lambda *_: [split])
    with pytest.raises(RefusedError) as old:
        mover.confirm(made)

    assert (large.value.code, old.value.code) == ("move_in_too_large", "stale_positions")


HOSTILE = {
    "": "csv_header",
    "symbol,shares,basis\nAAPL,1,1\n": "csv_header",
    HEADER.replace("acquired", "acquired,evil"): "csv_header",
    HEADER: "csv_rows",
    HEADER + "AAPL,-1,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,0,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,1e9,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,NaN,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,1.0000000001,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,1,-10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,1,10.001,2020-01-01\n": "row_2",
    HEADER + "AAPL,1,99999999999999999999,2020-01-01\n": "row_2",
    HEADER + "AAPL,1,10.00,2020-02-30\n": "row_2",
    HEADER + "AAPL,1,10.00,2026-03-03\n": "row_2",
    HEADER + "AAPL,1,10.00,1900-01-01\n": "row_2",
    HEADER + "=cmd|'/c calc'!A0,1,10.00,2020-01-01\n": "row_2",
    HEADER + "<script>,1,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,1,10.00\n": "row_2",
    HEADER + "AAPL,1,10.00,2020-01-01,extra\n": "row_2",
    HEADER + 'AAPL,"1,10.00,2020-01-01\n': "row_2",
    HEADER + "\x00,1,10.00,2020-01-01\n": "row_2",
    HEADER + "AAPL,1,10.00,2020-01-01\nMSFT,x,1.00,2020-01-01\n": "row_3",
    HEADER + "AAPL,900000000,1.00,2020-01-01\nAAPL,900000000,1.00,2020-01-01\n": "csv",
    "symbol,shares,basis,acquired,term\nAAPL,1,10.00,2020-01-01,short\n": "row_2",
    "symbol,shares,basis,acquired,term\nAAPL,1,10.00,2020-01-01,forever\n": "row_2",
    "symbol,shares,basis,acquired,notes\nAAPL,1,10.00,2020-01-01," + "x" * 501 + "\n": "row_2",
}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_file_is_refused_whole_naming_the_row_and_repeating_nothing(
    mover: Mover, text: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        mover.upload(text)

    named = {refused.value.code, *refused.value.fields}
    said = " ".join([refused.value.detail, *map(str, refused.value.fields.values())])
    assert HOSTILE[text] in named
    assert not any(cell in said for cell in ("AAPL", "MSFT", "cmd", "script", "evil", "xxx"))
    assert mover.world.scalar("SELECT count(*) FROM move_in") == 0


def test_a_file_of_too_many_rows_is_refused_before_anything_is_written(mover: Mover) -> None:
    rows = "AAPL,1,1.00,2020-01-01\n" * (moving.ROWS_MAX + 1)

    with pytest.raises(InvalidInputError) as refused:
        mover.upload(HEADER + rows)

    assert list(refused.value.fields) == ["csv"]


def test_shares_bought_elsewhere_within_thirty_days_of_a_loss_here_replace_it(
    mover: Mover,
) -> None:
    """Bought for $100,000 and sold: a loss. Bought elsewhere a day later, it comes here."""
    world, apple = mover.world, mover.security("AAPL")
    mover.bring(HEADER + "AAPL,1,100000.00,2020-01-01\n")
    sell_all(mover, apple)
    on = business_date(world.clock.now())
    with world.db.read() as session:
        before = windows.window(session, [mover.account], on)
        lost = before.history.losses
    assert [one.security_id for one in lost] == [apple]

    world.clock.advance(timedelta(days=40))  # it comes too late to replace, and was bought in time
    mover.bring(HEADER + f"AAPL,1,300.00,{on + timedelta(days=1)}\n")
    today = business_date(world.clock.now())
    with world.db.read() as session:
        customer = mover.owned.customer_id
        found = counting.counts(session, [customer], today)
        after = windows.window(session, [mover.account], today)
        (lot,) = lots.open_lots(session, [mover.account])[mover.account]

    assert found.by_kind[counting.WashKind.OUTSIDE_TRADE] == 1
    assert found.unintended == 0
    adjusted = after.adjusted[LotId(lot.id)]
    assert adjusted.added_cents == found.deferred_cents > 0
    assert world.findings() == []


def sell_all(mover: Mover, security_id: SecurityId) -> None:
    """Sell everything of a name through the funnel, as a withdrawal would."""
    world, r = mover.world, mover.world.runtime
    nanos = world.balances(mover.account).holdings_nanos[security_id]
    with world.db.write() as session:
        sleeve = accounts.sleeves(session, [mover.account])[mover.account]
        trade = Trade(security_id, Reason.SELL_LEFT_OUT, sell_nanos=nanos)
        plan = Plan(sleeve=sleeve, cause="test", trades=(trade,), skips={}, hold_until="")
        ordering.write(session, r.keyring, [plan], 1)
    trading.send(world.db, r.broker, r.clock, r.policy, "test")
    for _ in range(20):
        finishing.collect(world.db, r.keyring, r.broker, r.clock, r.policy)
        world.clock.advance(timedelta(seconds=5))


def test_what_came_counts_as_paid_in_at_its_basis_so_that_gains_add_up(mover: Mover) -> None:
    mover.bring()
    r = mover.world.runtime

    with r.db.read() as session:
        view = reporting.portfolio(session, r.prices, r.clock, r.calendar, mover.account)

    assert view.flows.moved_in_cents == 1500_00 + 700_00 + 1200_50
    assert view.total_gain_cents == view.gain_cents == view.nav_cents - view.flows.moved_in_cents


def test_tampering_with_what_arrived_is_found(mover: Mover) -> None:
    mover.bring()
    with mover.world.db.write() as session:
        run = session.connection().exec_driver_sql
        run("UPDATE lot SET acquired_on = '2025-05-06' WHERE acquired_on = '2019-05-06'")

    found = {one.code for one in mover.world.findings()}  # type: ignore[attr-defined] # findings

    assert found == {"arrival_was_not_bought_then"}


def test_nobody_brings_positions_into_an_ira_or_a_closed_account(mover: Mover) -> None:
    for column, value, code in (("kind", "roth_ira", "in_kind_kind"), ("state", "closed", "")):
        with mover.world.db.write() as session:
            run = session.connection().exec_driver_sql
            run(f"UPDATE account SET {column} = '{value}' WHERE id = '{mover.account}'")
        with pytest.raises(RoboError) as refused:
            mover.upload()

        assert refused.value.code == (code or "account_not_open")
