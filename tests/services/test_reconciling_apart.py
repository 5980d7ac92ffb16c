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
from sqlalchemy import event

from robo.core.errors import BrokerUnavailableError
from robo.core.ids import AccountId, SecurityId
from robo.core.market_calendar import MarketCalendar
from robo.ports.broker import AccountModel, Activity, CashKind, OrderTicket, Side
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import reconciling, trusting
from robo.services.comparing import Place
from robo.store import activities, breaks
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


def still_open(desk: Desk) -> set[str]:
    with desk.db.read() as session:
        return {one.broker_account for one in breaks.listed(session, "open")}


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


@pytest.mark.parametrize("move", [fill_unheard, fill_booked, order_open, fee_unread, fee_booked])
def test_an_account_in_which_anything_has_moved_is_compared_and_only_that_one(
    desk: Desk, move: Callable[[Desk, AccountId], None]
) -> None:
    first, _ = agreed(desk)
    before = compared(desk)

    move(desk, first)

    assert (before, compared(desk)) == (set(), {"acc-0"})


def tell_read(desk: Desk, made: Activity) -> None:
    desk.broker.brought.append(replace(made, broker_account="acc-0"))
    desk.adjust()


def shares_journaled(desk: Desk, _: AccountId) -> None:
    tell_read(desk, Activity("act-9", "", CashKind.JOURNAL, SecurityId(1), TRADED, 0, 0, 5 * SHARE))


def split_of_no_source(desk: Desk, _: AccountId) -> None:
    ten = 10 * SHARE
    tell_read(desk, Activity("act-9", "", ActionKind.SPLIT, SecurityId(1), TRADED, 0, ten, ten))


def sold_by_hand(desk: Desk, _: AccountId) -> None:
    told = {"side": Side.SELL, "security_id": SecurityId(1)}
    desk.broker.done.append(desk.broker.execution("by-hand", 5 * SHARE, 50_00, **told))
    ticket = OrderTicket("by-hand", "acc-0", SecurityId(1), "S1", Side.SELL, None, 5 * SHARE)
    desk.broker.told.append(ticket)
    desk.collect()


@pytest.mark.parametrize("move", [shares_journaled, split_of_no_source, sold_by_hand])
def test_what_was_told_and_read_and_moved_nothing_in_the_books_is_looked_at(
    desk: Desk, move: Callable[[Desk, AccountId], None]
) -> None:
    first, _ = agreed(desk)
    before = compared(desk)

    move(desk, first)
    asked = compared(desk)

    assert before == set()
    assert asked >= {"acc-0"}
    assert still_open(desk) == {"acc-0"}


def put(sql: str) -> Callable[[Desk, AccountId], None]:
    """Return a change of the books that nothing told of explains."""

    def change(desk: Desk, account: AccountId) -> None:
        with desk.db.write() as session:
            bulk(session, sql, [(account,)])

    return change


REMITTED = (
    "INSERT INTO remittance (id, account_id, token, direction, cents, state, broker_account, "
    "relationship_id, before, candidates, word, code, requested_at, look_at, changed_at) "
    "VALUES ('dep_1', ?, 't', 'pull', 5, 'done', 'acc-0', '', '[]', '[]', '', '', 1, 1, 1)"
)
REFUSED = (
    "INSERT INTO stray (id, client_id, busts, security_id, side, nanos, price_micros, cents, "
    "fee_cents, executed_at, settles_on, why, heard_at, state, closed_by) SELECT 'exe-9', id, '', "
    "1, 'buy', 1, 1, 1, 0, 1, '2026-03-03', ?, 1, 'dismissed', '' FROM block "
    "WHERE broker_account = 'acc-0'"
)
HELD = "UPDATE balance SET amount = amount + 1 WHERE book = 'customer/' || ? || '/holdings'"
NOTED = (
    "INSERT INTO broker_activity (id, broker_account, kind, security_id, on_date, cents, state, "
    "seen_at) VALUES ('act-7', 'acc-0', ?, 0, '2026-03-02', 0, 'outside', 1)"
)


def break_found(desk: Desk, account: AccountId) -> None:
    facts = ("acc-0", account, 1, "position", "", "real", 0, 1, "ask_operator", 1)
    with desk.db.write() as session:
        breaks.put(session, [breaks.Break("brk_1", "firm_a", *facts)], 1)


@pytest.mark.parametrize(
    "move",
    [
        put("UPDATE lot SET nanos = nanos + 1 WHERE account_id = ?"),
        put(HELD),
        put(REFUSED),
        put(REMITTED),
        put(NOTED),
        break_found,
    ],
    ids=["lots", "holdings", "stray", "remittance", "activity", "break"],
)
def test_an_account_that_only_our_own_books_speak_of_is_compared(
    desk: Desk, move: Callable[[Desk, AccountId], None]
) -> None:
    first, _ = agreed(desk)

    move(desk, first)

    assert compared(desk) == {"acc-0"}


def test_who_waits_for_a_split_is_compared_every_night(desk: Desk) -> None:
    agreed(desk)
    today = desk.today()
    split = CorporateAction("act_1", ActionKind.SPLIT, SecurityId(1), today, today, ratio_num=2)
    desk.prices.published.append(split)
    desk.adjust()

    assert [compared(desk), compared(desk)] == [{"acc-0", "acc-1"}] * 2
    assert still_open(desk) == set()


def test_while_nobody_knows_whose_an_execution_is_all_are_compared(desk: Desk) -> None:
    agreed(desk)
    desk.broker.done.append(desk.broker.execution("by-hand", SHARE, 10_00))
    desk.collect()

    assert [compared(desk), compared(desk)] == [{"acc-0", "acc-1"}] * 2
    put("UPDATE stray SET state = 'dismissed' WHERE '' <> ?")(desk, AccountId("acc"))

    assert [compared(desk), compared(desk)] == [{"acc-0", "acc-1"}, set()]
    assert still_open(desk) == set()


@pytest.mark.parametrize("read", [False, True])
def test_what_is_told_of_an_account_that_is_none_of_ours_may_be_of_any(
    desk: Desk, *, read: bool
) -> None:
    agreed(desk)

    tell(desk, "acc-9", 0)
    if read:
        desk.adjust()

    assert compared(desk) == {"acc-0", "acc-1"}


def test_what_stands_on_the_next_page_is_told_too(desk: Desk) -> None:
    agreed(desk)
    desk.broker.limit = 1

    for place in ("acc-1", "acc-0"):
        tell(desk, place)

    assert compared(desk) == {"acc-0", "acc-1"}


@pytest.mark.parametrize(("count", "asked"), [(999, {"acc-0"}), (1_000, {"acc-0", "acc-1"})])
def test_a_thousand_things_unread_are_no_calm_night(
    desk: Desk, count: int, asked: set[str]
) -> None:
    agreed(desk)

    for _ in range(count):
        tell(desk, "acc-0", 0)

    assert compared(desk) == asked


@pytest.mark.parametrize("limit", [1, 1_000])
def test_a_list_that_does_not_end_is_no_calm_night(desk: Desk, limit: int) -> None:
    agreed(desk)
    desk.broker.limit = limit
    real = desk.broker.executions
    desk.broker.executions = (  # type: ignore[method-assign] # the list goes on and on
        lambda after, limit=1_000: replace(real(after, limit), cursor=str(int(after or 0) + 1))
    )

    assert compared(desk) == {"acc-0", "acc-1"}


def test_with_no_days_nobody_is_ever_left_out(desk: Desk) -> None:
    agreed(desk)
    desk.policy = replace(desk.policy, compare_days_max=0)

    assert compared(desk) == {"acc-0", "acc-1"}


def test_what_came_between_the_answer_and_the_books_is_new_in_the_next_night(desk: Desk) -> None:
    agreed(desk)
    real = desk.broker.mass_status

    def status(place: str) -> Any:
        answer = real(place)
        if place == "acc-0":
            put(NOTED)(desk, AccountId("JNLC"))
        return answer

    desk.broker.mass_status = status  # type: ignore[method-assign] # another process reads on
    reconciling.reconcile(
        desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    )
    desk.broker.mass_status = real  # type: ignore[method-assign]

    assert still_open(desk) == set()
    assert compared(desk) == {"acc-0"}


def test_a_difference_that_a_person_has_cleared_is_still_no_agreement(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed(desk)
    real = desk.broker.cash
    with monkeypatch.context() as patched:
        patched.setattr(desk.broker, "cash", lambda place: replace(real(place), total_cents=-1))
        compared(desk, sparing=False)
    with desk.db.read() as session:
        found = breaks.listed(session, "open")

    for one in found:
        reconciling.clear(desk.db, desk.keyring, desk.clock, one.id, "looked", actor="op")

    assert len(found) == 2
    assert compared(desk) == {"acc-0", "acc-1"}


def test_one_account_is_asked_for_without_a_look_at_what_is_anothers(desk: Desk) -> None:
    first, _ = holders(desk)
    asked: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        raw = connection.connection.driver_connection
        rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
        asked.extend(row[-1] for row in rows)

    place = Place("acc-0", "firm_a", first)
    with desk.db.read() as session:
        event.listen(session.connection(), "before_cursor_execute", explain)
        trusting.books(session, place, "")
        assert activities.unknown(session) == []

    assert {one for one in asked if one.startswith("SEARCH block")}
    scans = [one for one in asked if one.startswith("SCAN")]
    assert scans in ([], ["SCAN broker_activity USING INDEX ix_broker_activity_unknown"])


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


def test_what_ended_meanwhile_is_read_once_for_all_accounts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = desk.open("firm_a", 3)
    keep_apart(desk.db, {one: f"acc-{number}" for number, one in enumerate(accounts)})
    desk.fund(dict.fromkeys(accounts, 200_00))
    for account in accounts:
        desk.buy({account: 50_00})
    desk.clock.advance(timedelta(days=5))
    asked: list[str] = []
    find = desk.broker.find

    def counted(client_id: str) -> object:
        asked.append(client_id)
        return find(client_id)

    monkeypatch.setattr(desk.broker, "find", counted)
    args = desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy
    found = reconciling.reconcile(*args).found

    real = [one for one in found if (one.subject, one.category) == ("order", "real")]
    assert len(real) == len(accounts)
    assert len(asked) <= len(accounts), "each order once, however many accounts there are"
