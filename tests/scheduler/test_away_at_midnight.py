"""Nobody ran at midnight: what was executed since waits for the day's corporate actions."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from acting import SHARE, firms_own, late_fill, lots_of, publish
from desk import Desk, desk_from, write_template

from robo.core.clock import iso_instant, to_micros
from robo.core.ids import AccountId, SecurityId
from robo.ports.broker import CashKind, Side
from robo.ports.prices import ActionKind
from robo.store import jobs as runs
from robo.store.jobs import Lease
from scheduler.jobs import find
from scheduler.when import Slot

CLOSED = "SELECT nanos_delta, basis_delta_cents, proceeds_cents FROM lot_event WHERE kind = 'close'"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("away") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def run(desk: Desk, name: str, day: Any = None) -> int:
    """Run a job as the runner does, for a day that was missed or for now."""
    job, now, on = find(name), desk.clock.now(), day or desk.today()
    assert job is not None
    text = iso_instant(to_micros(now)) if day is None else on.isoformat()
    tools: Any = {name: getattr(desk, name) for name in ("db", "keyring", "broker", "prices")}
    runtime: Any = SimpleNamespace(
        **tools, clock=desk.clock, policy=desk.policy, calendar=desk.calendar
    )
    lease = Lease("runner", to_micros(now), 1, 1)
    if day is not None:
        with desk.db.write() as session:
            assert runs.claim(session, name, text, lease)
    done = job.do(runtime, Slot(text, on, now))
    if day is not None:
        with desk.db.write() as session:
            assert runs.finish(session, name, text, lease, "done")
    return done


def holder_of_ten(desk: Desk) -> AccountId:
    (holder,) = desk.open("firm_a", 1, "holder")
    desk.fund({holder: 100_00})
    desk.broker.fill_at(desk.buy({holder: 100_00}), 10_000_000)
    run(desk, "collect-fills")
    run(desk, "adjust", desk.today())
    return holder


def test_a_sale_of_the_ex_date_that_is_read_before_its_split_is_sold_in_new_shares(desk: Desk):
    holder = holder_of_ten(desk)
    block = desk.sell({holder: 10 * SHARE})
    publish(desk, ActionKind.SPLIT, ratio_num=1, ratio_den=10)
    desk.broker.fill(block, SHARE, 60_00, price_micros=60_000_000)

    read = run(desk, "collect-fills")
    run(desk, "adjust", desk.today())
    run(desk, "collect-fills")

    assert read == 0
    assert desk.rows(CLOSED) == [(-SHARE, -100_00, 60_00)]
    assert (desk.held(holder).holdings_nanos, lots_of(desk, holder)) == ({}, [])
    assert desk.findings() == []


def test_who_sold_on_the_ex_date_has_the_dividend_though_the_sale_is_read_first(desk: Desk):
    holder = holder_of_ten(desk)
    block = desk.sell({holder: 10 * SHARE})
    publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=1_000_000)
    desk.broker.fill_at(block, 10_000_000)

    run(desk, "collect-fills")
    run(desk, "adjust", desk.today())

    assert desk.held(holder).holdings_nanos == {}
    assert desk.rows("SELECT nanos, state FROM entitlement") == [(10 * SHARE, "done")]
    assert desk.held(holder).cash_cents == 10_00
    assert desk.findings() == []


def test_a_sale_of_a_missed_session_is_booked_before_the_split_of_the_next_one(desk: Desk):
    holder = holder_of_ten(desk)
    block = desk.sell({holder: 4 * SHARE})
    desk.next_day()
    sold_on = desk.today()
    desk.broker.fill(block, 4 * SHARE, 40_00, price_micros=10_000_000)
    publish(desk, ActionKind.SPLIT, ratio_num=1, ratio_den=10)
    (told,) = desk.broker.brought
    six = replace(told, nanos_before=6 * SHARE, nanos_delta=-54 * SHARE // 10)
    desk.broker.brought = [six]

    read = run(desk, "collect-fills")
    run(desk, "adjust", sold_on)
    run(desk, "adjust", desk.today())

    assert read == 0
    assert desk.rows(CLOSED) == [(-4 * SHARE, -40_00, 40_00)]
    assert [one[:2] for one in lots_of(desk, holder)] == [(6 * SHARE // 10, 60_00)]
    assert desk.findings() == []


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("seconds", [0, 30], ids=["in an instant", "as time goes on"])
def test_what_a_missed_split_brought_the_firm_counts_at_the_ex_date_after_it(
    desk: Desk, side: Side, seconds: int
):
    holder = holder_of_ten(desk)
    late_fill(desk, side)
    own, others = (1, 1) if side is Side.BUY else (-1, 0)
    publish(desk, ActionKind.SPLIT, ratio_num=10, ratio_den=1)
    split_on = desk.today()
    (paid,) = publish(desk, ActionKind.CASH_DIVIDEND, cash_micros=100_000)
    shares = 10 * (10 + own + others)
    paid = replace(paid, cents=10 * shares, nanos_before=shares * SHARE)
    taxed = replace(paid, id="taxed", kind=CashKind.WITHHOLDING, cents=-2 * shares, nanos_before=0)
    desk.broker.brought[-1:] = [paid, replace(taxed, security_id=SecurityId(0))]

    run(desk, "adjust", split_on)
    desk.clock.advance(timedelta(seconds=seconds))
    run(desk, "adjust", desk.today())

    assert desk.held(holder).cash_cents == 100 * 8
    assert firms_own(desk, "firm_a") == {"S1/9": own * 10 * SHARE, "USD/2": own * (80 - 10_00)}
    assert desk.column("SELECT kind FROM event WHERE kind LIKE 'break.%'") == []
    assert desk.findings() == []
