"""Many accounts apart: what a night's comparison may leave out, and what it costs at the broker."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from applicants import ANN
from custody_stage import staged
from desk import TRADED, Desk, desk_from, write_template

from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import AccountModel, Activity, CashKind
from robo.services import reconciling
from robo.store.database import Database, bulk, insert_many

SHARE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("apart") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        made.broker.can = {"account_model": AccountModel.SEGREGATED}
        yield made


def keep_apart(db: Database, places: dict[AccountId, str]) -> None:
    names = ("account_id", "broker", "reference", "opened_at")
    rows = [(account, "scripted", place, 1) for account, place in places.items()]
    with db.write() as session:
        insert_many(session, "broker_account", names, rows)


def holders(desk: Desk, count: int = 2) -> list[AccountId]:
    """Return accounts that hold ten shares each, in `acc-0`, `acc-1`, ... at the broker."""
    accounts = desk.open("firm_a", count)
    keep_apart(desk.db, {account: f"acc-{n}" for n, account in enumerate(accounts)})
    desk.fund(dict.fromkeys(accounts, 200_00))
    for account in accounts:
        desk.broker.fill_at(desk.buy({account: 100_00}), 10_000_000)
    desk.collect()
    return accounts


def compared(desk: Desk, *, sparing: bool = True) -> set[str]:
    """Return the accounts that the broker is asked for in a comparison."""
    asked: set[str] = set()
    real = desk.broker.mass_status

    def status(place: str) -> Any:
        asked.add(place)
        return real(place)

    desk.broker.mass_status = status  # type: ignore[method-assign] # who is asked for
    r = (desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy)
    report = reconciling.reconcile(*r, sparing=sparing)
    desk.broker.mass_status = real  # type: ignore[method-assign]
    assert report.spared == (2 - len(asked) if sparing else 0)
    return asked


def calm_night(desk: Desk) -> None:
    """Move to a night in which it is the turn of neither account."""
    turns = {zlib.crc32(place.encode()) % 5 for place in ("acc-0", "acc-1")}
    while True:
        desk.next_day()
        if desk.today().toordinal() % 5 not in turns and desk.calendar.is_session(desk.today()):
            return


def agreed(desk: Desk) -> list[AccountId]:
    accounts = holders(desk)
    calm_night(desk)
    assert compared(desk) == {"acc-0", "acc-1"}, "what never agreed is never left out"
    return accounts


def test_an_account_of_which_nothing_is_told_is_left_out_for_five_days_at_most(desk: Desk) -> None:
    agreed(desk)
    last = dict.fromkeys(("acc-0", "acc-1"), desk.today())
    longest, asked = timedelta(), 0

    for _ in range(9):
        following = desk.calendar.shift(desk.today(), 1)
        desk.clock.advance(following - desk.today())
        desk.broker.at = desk.clock.now()
        for place in compared(desk):
            longest = max(longest, desk.today() - last[place])
            last[place], asked = desk.today(), asked + 1

    assert longest <= timedelta(days=5)
    assert asked <= 9, "of eighteen"
    assert compared(desk, sparing=False) == {"acc-0", "acc-1"}


def fill_unheard(desk: Desk, account: AccountId) -> None:
    desk.fund({account: 10_00}, "more")
    desk.broker.fill_at(desk.buy({account: 10_00}), 10_000_000)


def fill_booked(desk: Desk, account: AccountId) -> None:
    fill_unheard(desk, account)
    desk.collect()


def order_open(desk: Desk, account: AccountId) -> None:
    desk.fund({account: 10_00}, "more")
    desk.buy({account: 10_00})


def tell(desk: Desk, place: str, cents: int = -5) -> None:
    made = Activity("act-1", "", CashKind.FEE, SecurityId(0), TRADED, cents, 0, 0)
    desk.broker.brought.append(replace(made, broker_account=place))


def fee_unread(desk: Desk, _: AccountId) -> None:
    tell(desk, "acc-0")


def fee_booked(desk: Desk, _: AccountId) -> None:
    tell(desk, "acc-0")
    desk.adjust()


def lots_changed(desk: Desk, account: AccountId) -> None:
    with desk.db.write() as session:
        bulk(session, "UPDATE lot SET nanos = nanos + 1 WHERE account_id = ?", [(account,)])


@pytest.mark.parametrize(
    "move", [fill_unheard, fill_booked, order_open, fee_unread, fee_booked, lots_changed]
)
def test_an_account_in_which_anything_has_moved_is_compared_and_only_that_one(
    desk: Desk, move: Callable[[Desk, AccountId], None]
) -> None:
    first, _ = agreed(desk)
    before = compared(desk)

    move(desk, first)

    assert (before, compared(desk)) == (set(), {"acc-0"})


def test_what_differs_is_compared_every_night(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed(desk)
    real = desk.broker.cash

    with monkeypatch.context() as patched:
        patched.setattr(desk.broker, "cash", lambda place: replace(real(place), total_cents=-1))
        compared(desk, sparing=False)

    assert compared(desk) == {"acc-0", "acc-1"}
    assert compared(desk) == set()


@pytest.mark.parametrize("why", ["silent", "of_nobody"])
def test_where_the_broker_may_not_have_told_everything_nothing_is_left_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    agreed(desk)
    if why == "of_nobody":
        tell(desk, "", 0)
        assert compared(desk) == {"acc-0", "acc-1"}
        return

    def silent(*_: object) -> None:
        message = "no answer"
        raise BrokerUnavailableError(message)

    monkeypatch.setattr(desk.broker, "activities", silent)
    report = reconciling.reconcile(
        desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy, sparing=True
    )

    assert (report.spared, report.unheard) == (0, ("acc-0", "acc-1"))


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_a_night_costs_a_fraction_of_the_requests_of_a_whole_comparison(
    tmp_path: Path, short_calendar: MarketCalendar, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    with staged(tmp_path, short_calendar) as stage:
        r, sent = stage.world.runtime, [0]
        places: dict[AccountId, str] = {}
        for n, account in enumerate(stage.world.add_accounts(count)):
            made = r.broker.open_account(replace(ANN, email=f"ann{n}@example.com"))
            places[account] = made.account.broker_account
        keep_apart(stage.world.db, places)
        stage.wait(seconds=3)
        real = stage.server.quota

        def counted() -> Any:
            sent[0] += 1
            return real()

        monkeypatch.setattr(stage.server, "quota", counted)

        def night(*, sparing: bool) -> tuple[int, int, int]:
            sent[0] = 0
            report = reconciling.reconcile(
                r.db, r.keyring, r.broker, r.clock, r.calendar, r.policy, sparing=sparing
            )
            assert (report.found, report.unheard) == ((), ())
            return report.places, report.spared, sent[0]

        whole = night(sparing=False)
        stage.wait(days=1)
        calm = night(sparing=True)

    print(f"accounts, left out, requests: whole {whole}, calm {calm}")
    assert whole[:2] == (count, 0)
    assert calm[0] + calm[1] == count
    assert whole[2] <= 10 * count
    assert calm[2] <= 10 * calm[0] + 6
    assert calm[0] <= count // 2
