"""What the sender does when the outside is slow, silent, strict, or told to stop."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from desk import Desk, broker_equals_books, desk_from, write_template

from broker_adapters.alpaca_verdicts import classify
from robo.core.errors import InvalidInputError, NotFoundError
from robo.core.ids import AccountId
from robo.core.reasons import Reason
from robo.ports.broker import (
    AccountModel,
    BrokerOrderState,
    OrderTicket,
    Refusal,
    SubmitResult,
    SubmitStatus,
)
from robo.ports.terms import ClientIdRule
from robo.services import operating, resolving, switching
from robo.services.ordering import Trade
from robo.store import blocks, controls
from robo.store.database import bulk

SHARE = 10**9
LAGGING = {"find_lag_seconds": 60}
WASH = SubmitResult(SubmitStatus.REJECTED, None, "40310000", "", Refusal.OPPOSITE_ORDER)
WASH_OF_ALPACA = classify(
    403, {"code": 40310000, "message": "potential wash trade detected"}
).result()
HELD = classify(
    403, {"code": 40310000, "message": "new orders are rejected by user request"}
).result()
NO_FUNDS = classify(403, {"code": 40310000, "message": "insufficient buying power"}).result()
STRANGER = SubmitResult(SubmitStatus.REJECTED, "o-1", "40910000", "", Refusal.CLIENT_ID_TAKEN)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("once") / "template.db", "firm_a", "firm_b")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def funded(desk: Desk, count: int, firm: str = "firm_a", cents: int = 100_00) -> list[AccountId]:
    accounts = desk.open(firm, count)
    desk.fund(dict.fromkeys(accounts, cents))
    return accounts


def planned(desk: Desk, accounts: list[AccountId], cents: int = 10_00, cause: str = "one") -> None:
    buy = [Trade(1, Reason.BUY_UNDERWEIGHT, buy_cents=cents)]
    desk.plan(dict.fromkeys(accounts, buy), cause)


def known(desk: Desk) -> list[tuple[object, ...]]:
    return desk.rows("SELECT state, code FROM block ORDER BY created_at, side DESC, security_id")


def stop(desk: Desk, scope: str = controls.EVERYBODY, *, on: bool = True) -> bool:
    return switching.turn(
        desk.db, desk.keyring, desk.clock, scope, stop=on, reason="a test", actor="local"
    )


def lost(desk: Desk) -> None:
    """Send an order that never arrives, and whose answer never comes."""
    planned(desk, funded(desk, 2))
    desk.broker.answers = [SubmitStatus.UNKNOWN]
    desk.send()


def test_one_not_found_is_no_proof_where_lists_lag(desk: Desk) -> None:
    desk.broker.can = LAGGING
    lost(desk)

    told = []
    for _ in range(8):
        desk.clock.advance(timedelta(seconds=15))
        desk.send()
        told.append(len(desk.broker.told))

    # First asked after 15 seconds; sixty more must pass, and it must have said so three times.
    assert told == [1, 1, 1, 1, 2, 2, 2, 2]
    assert len({one.client_id for one in desk.broker.told}) == 1
    assert known(desk) == [("open", "")]


def test_a_slow_list_that_shows_the_order_in_the_end_is_believed_then(desk: Desk) -> None:
    desk.broker.can = LAGGING
    planned(desk, funded(desk, 2))
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.lag = {client_id: 3}

    for _ in range(5):
        desk.clock.advance(timedelta(seconds=15))
        desk.send()

    assert len(desk.broker.told) == 1
    assert known(desk) == [("open", "adopted")]


def test_many_quick_answers_prove_no_more_than_one(desk: Desk) -> None:
    desk.broker.can = LAGGING
    lost(desk)

    for _ in range(10):
        desk.send()

    assert len(desk.broker.told) == 1


def test_what_was_proven_before_a_second_telling_proves_nothing_after_it(desk: Desk) -> None:
    desk.broker.can = LAGGING
    lost(desk)
    for _ in range(3):
        desk.clock.advance(timedelta(seconds=40))
        desk.broker.answers = [SubmitStatus.UNKNOWN]
        desk.send()
    told = len(desk.broker.told)
    desk.send()

    assert told == 2
    assert len(desk.broker.told) == 2
    assert desk.column("SELECT asks FROM block") == [1]


def test_what_was_throttled_is_told_again_without_asking_and_ends_the_run(desk: Desk) -> None:
    accounts = funded(desk, 1)
    trades = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=5_00) for n in (1, 2, 3)]
    desk.plan({accounts[0]: trades}, "three")
    desk.broker.can = LAGGING
    desk.broker.answers = [SubmitStatus.ACCEPTED, SubmitStatus.THROTTLED]

    desk.send()
    first = len(desk.broker.told)
    desk.send()

    assert first == 2
    assert [state for state, _ in known(desk)] == ["open"] * 3
    assert len(desk.broker.orders) == 3


def test_the_kill_switch_stops_every_new_order_and_lets_them_go_again_under_their_ids(
    desk: Desk,
) -> None:
    planned(desk, funded(desk, 2))
    stop(desk)
    desk.send()
    nothing = (len(desk.broker.told), desk.column("SELECT DISTINCT code FROM orders"))
    stop(desk, on=False)
    desk.send()

    assert nothing == (0, ["wait_kill_switch"])
    assert [state for state, _ in known(desk)] == ["open"]
    actions = desk.column("SELECT action FROM audit ORDER BY seq")
    assert actions[:2] == ["kill_switch.on", "kill_switch.on"]  # in the trail of each firm
    assert desk.findings() == []


def test_the_switch_is_looked_at_before_each_order_not_once_a_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = funded(desk, 1)
    trades = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=5_00) for n in (1, 2, 3)]
    desk.plan({account: trades}, "three")
    submit = desk.broker.submit

    def thrown_after_the_first(ticket: object) -> SubmitResult:
        answer = submit(ticket)  # type: ignore[arg-type]
        stop(desk)
        return answer

    monkeypatch.setattr(desk.broker, "submit", thrown_after_the_first)
    desk.send()
    told = len(desk.broker.told)
    desk.send()
    stop(desk, on=False)
    desk.send()

    assert told == 1
    assert len(desk.broker.told) == 2  # thrown again after the second, by our broker
    assert [code for _, code in known(desk)].count("stopped") == 1


def test_one_firms_switch_leaves_the_others_alone(desk: Desk) -> None:
    planned(desk, funded(desk, 1))
    planned(desk, funded(desk, 1, "firm_b"))
    stop(desk, "firm_a")

    desk.send()

    assert [one.broker_account for one in desk.broker.told] == ["omnibus/firm_b"]


def test_a_switch_needs_a_reason_and_a_firm_that_exists_and_turns_once(desk: Desk) -> None:
    with pytest.raises(InvalidInputError):
        switching.turn(desk.db, desk.keyring, desk.clock, "*", stop=True, reason=" ", actor="x")
    with pytest.raises(NotFoundError):
        stop(desk, "firm_z")

    assert [stop(desk), stop(desk), stop(desk, on=False)] == [True, False, True]


def test_a_stopped_order_is_not_sent_on_another_day(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    planned(desk, [account])
    desk.broker.answers = [SubmitStatus.THROTTLED]
    desk.send()
    stop(desk)
    desk.send()
    desk.next_day()
    stop(desk, on=False)

    desk.send()
    desk.collect()

    assert desk.column("SELECT state FROM orders") == ["rejected"]
    assert desk.held(account).cash_cents == 100_00


@pytest.mark.parametrize("answer", [WASH, WASH_OF_ALPACA])
def test_a_wash_trade_waits_for_the_opposite_order_and_keeps_its_id(
    desk: Desk, answer: SubmitResult
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.fill_at(desk.buy({account: 50_00}), 10_000_000)
    desk.collect()
    sale = desk.sell({account: 2 * SHARE})
    planned(desk, [account], cause="buys back")
    desk.broker.answers = [answer]
    desk.send()
    desk.send()
    while_open = len(desk.broker.told)
    desk.broker.fill_at(sale, 10_000_000)
    desk.collect()
    desk.send()

    assert while_open == 3  # the purchase before, the sale, and the one that was refused
    assert desk.broker.told[2] == desk.broker.told[3]
    assert len(desk.broker.orders) == 3
    assert desk.findings() == []


@pytest.mark.parametrize("answer", [WASH_OF_ALPACA, HELD])
def test_what_one_account_has_to_wait_for_stops_nobody_behind_it(
    desk: Desk, answer: SubmitResult
) -> None:
    planned(desk, [*funded(desk, 1), *funded(desk, 1, "firm_b")])
    desk.broker.answers = [answer]

    desk.send()

    assert len(desk.broker.told) == 2
    assert sorted(desk.column("SELECT state FROM block")) == ["intended", "open"]


def test_a_stopped_accounts_order_is_told_again_after_a_while_and_not_at_once(desk: Desk) -> None:
    planned(desk, funded(desk, 1))
    desk.broker.answers = [HELD]
    desk.send()
    desk.send()
    at_once = len(desk.broker.told)

    desk.clock.advance(timedelta(minutes=5))
    desk.send()

    assert at_once == 1
    assert len(desk.broker.told) == 2
    assert desk.column("SELECT state FROM block") == ["open"]


def test_an_order_of_somebody_elses_under_our_id_frees_no_cash_and_is_put_before_a_person(
    desk: Desk,
) -> None:
    planned(desk, funded(desk, 1))
    desk.broker.answers = [STRANGER]

    desk.send()
    desk.collect()

    assert desk.rows("SELECT state, code FROM block") == [("unknown", "client_id_mismatch")]
    assert desk.column("SELECT state FROM orders") == ["sending"]
    assert "break.order" in desk.column("SELECT kind FROM event")


def test_what_expires_at_the_close_gives_its_cash_back_once_and_keeps_what_it_got(
    desk: Desk,
) -> None:
    accounts = funded(desk, 2)
    block = desk.buy(dict.fromkeys(accounts, 10_00))
    desk.broker.fill(block, SHARE, 10_00)
    desk.broker.end(block, BrokerOrderState.EXPIRED, "expired")

    desk.collect()
    desk.collect()

    assert desk.column("SELECT state FROM orders") == ["partial"] * 2
    assert [desk.held(a).cash_cents for a in accounts] == [95_00] * 2
    assert desk.scalar("SELECT count(*) FROM transfer WHERE kind = 'release'") == 2
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


def test_what_is_rejected_after_it_was_accepted_gives_everything_back(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    block = desk.buy({account: 10_00})
    desk.broker.end(block, BrokerOrderState.REJECTED, "halted_for_good")

    desk.collect()

    assert desk.rows("SELECT state, code FROM orders") == [("rejected", "halted_for_good")]
    assert desk.held(account).cash_cents == 100_00


def test_ten_thousand_open_orders_cost_one_list_and_not_a_question_each(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = funded(desk, 30)
    desk.broker.can = {"account_model": AccountModel.SEGREGATED}
    with desk.db.write() as session:
        for account in accounts:
            controls.link_account(session, account, "scripted", f"broker-{account}", 1)
    planned(desk, accounts)
    desk.send()
    with desk.db.write() as session:  # as if one customer had thirty
        bulk(session, "UPDATE block SET broker_account = ?", [("all",)])
    desk.broker.told = [replace(one, broker_account="all") for one in desk.broker.told]
    last = desk.broker.told[-1].client_id
    desk.broker.fill_at(last, 10_000_000)
    asked: list[str] = []
    find = desk.broker.find
    monkeypatch.setattr(desk.broker, "find", lambda i: asked.append(i) or find(i))  # type: ignore[func-returns-value]

    desk.collect()

    assert asked == [last]


def test_where_the_broker_keeps_an_account_each_an_order_is_a_block(desk: Desk) -> None:
    accounts = funded(desk, 3)
    desk.broker.can = {"account_model": AccountModel.SEGREGATED}
    with desk.db.write() as session:
        for account in accounts[:2]:
            controls.link_account(session, account, "scripted", f"broker-{account}", 1)
    planned(desk, accounts)

    desk.send()
    for one in list(desk.broker.orders):
        desk.broker.fill_at(one, 10_000_000)
    desk.collect()

    assert sorted(t.broker_account for t in desk.broker.told) == sorted(
        f"broker-{a}" for a in accounts[:2]
    )
    assert [desk.held(a).holdings_nanos for a in accounts] == [{1: SHARE}, {1: SHARE}, {}]
    waits = desk.rows("SELECT state, code FROM orders WHERE block_id IS NULL")
    assert waits == [("planned", "wait_no_account")]
    assert desk.findings() == []


def segregated(desk: Desk, count: int) -> list[str]:
    """Open accounts with accounts of their own at the broker, and plan an order in each."""
    accounts = funded(desk, count)
    desk.broker.can = {"account_model": AccountModel.SEGREGATED}
    with desk.db.write() as session:
        for account in accounts:
            controls.link_account(session, account, "scripted", f"broker-{account}", 1)
    planned(desk, accounts)
    return [f"broker-{account}" for account in accounts]


@pytest.mark.parametrize("everywhere", [False, True])
def test_keys_that_one_account_refuses_stop_that_account_and_those_that_all_refuse_the_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, everywhere: bool
) -> None:
    places = segregated(desk, 6)
    refused = classify(401, {"message": "unauthorized."}).result()
    submit, asked = desk.broker.submit, []

    def submit_at(ticket: OrderTicket) -> SubmitResult:
        asked.append(ticket.broker_account)
        return refused if everywhere or ticket.broker_account == asked[0] else submit(ticket)

    monkeypatch.setattr(desk.broker, "submit", submit_at)
    desk.send()
    first = len(asked)
    desk.send()

    assert first == (3 if everywhere else 6)
    assert len(asked) == 6  # and no account was asked twice
    assert sorted(asked) == sorted(places)
    assert len(desk.broker.orders) == (0 if everywhere else 5)
    assert len(desk.column("SELECT 1 FROM event WHERE kind = 'break.order'")) == (
        6 if everywhere else 1
    )
    assert desk.findings() == []


def test_a_break_holds_back_its_own_name_and_nobody_else(desk: Desk) -> None:
    accounts = funded(desk, 1)
    both = [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=5_00) for n in (1, 2)]
    desk.plan({accounts[0]: both}, "two")
    (theirs,) = funded(desk, 1, "firm_b")
    planned(desk, [theirs])
    with desk.db.write() as session:
        bulk(
            session,
            "INSERT INTO recon_break (id, firm_id, broker_account, security_id, subject, "
            "reference, category, ours, theirs, repair, state, blocks, found_at, seen_at, "
            "closed_by, note) VALUES ('b', 'firm_a', 'omnibus/firm_a', 1, 'position', '', 'real', "
            "0, 1, 'ask_operator', 'open', 1, 1, 1, '', '')",
            [()],
        )

    desk.send()

    told = [(one.broker_account, one.security_id) for one in desk.broker.told]
    assert sorted(told) == [("omnibus/firm_a", 2), ("omnibus/firm_b", 1)]
    assert desk.rows("SELECT code FROM orders WHERE state = 'planned'") == [("wait_break",)]


def test_a_foreign_order_is_reported_once_and_never_told_over(desk: Desk) -> None:
    planned(desk, funded(desk, 1))
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.orders[client_id] = replace(desk.broker.orders[client_id], notional_cents=1)

    for _ in range(3):
        desk.send()

    why = desk.column("SELECT payload FROM event WHERE kind = 'break.order'")
    assert [json.loads(str(one))["why"] for one in why] == ["client_id_mismatch"]
    assert len(desk.broker.told) == 1


def declined(desk: Desk, account: AccountId, lag: int) -> None:
    """Lose an answer, let the list lag, and have the second telling refused for want of cash."""
    desk.broker.can = LAGGING
    planned(desk, [account])
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.lag = {client_id: lag}
    desk.broker.answers = [NO_FUNDS]
    for _ in range(5):
        desk.clock.advance(timedelta(seconds=20))
        desk.send()
        desk.collect()


def test_a_refusal_of_a_second_telling_frees_nothing_while_the_first_may_have_arrived(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    declined(desk, account, lag=12)
    refused = (len(desk.broker.told), known(desk), desk.held(account).cash_cents)

    for _ in range(30):
        desk.clock.advance(timedelta(seconds=20))
        desk.send()
        desk.collect()

    assert refused == (2, [("unknown", "declined:funds")], 90_00)
    assert known(desk) == [("open", "adopted")]
    assert desk.held(account).cash_cents == 90_00
    assert len(desk.broker.told) == 2
    assert len(desk.broker.orders) == 1


def test_a_refusal_of_a_second_telling_ends_it_when_the_broker_has_had_none_for_ten_minutes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = funded(desk, 1)
    declined(desk, account, lag=10_000)
    asked: list[str] = []
    find = desk.broker.find
    monkeypatch.setattr(desk.broker, "find", lambda i: asked.append(i) or find(i))  # type: ignore[func-returns-value]
    states = []
    for _ in range(70):
        desk.clock.advance(timedelta(seconds=10))
        desk.send()
        desk.collect()
        states.append(desk.column("SELECT state FROM orders")[0])

    assert states.count("sending") == 59  # ten minutes after the first question, which came before
    assert states[-1] == "rejected"
    assert desk.rows("SELECT state, code FROM block") == [("rejected", "rejected:funds")]
    assert desk.held(account).cash_cents == 100_00
    assert len(desk.broker.told) == 2
    assert len(asked) < 35  # a question every twenty seconds, and one before its cash is freed
    assert desk.findings() == []


BLIND = {"find_by_client_id": False, "find_lag_seconds": 60}


def heal_for_a_day(desk: Desk) -> list[int]:
    """Let the sender run for an hour, and on the next day; return how often it had told by then."""
    told = []
    for _ in range(60):
        desk.clock.advance(timedelta(minutes=1))
        desk.send()
        desk.collect()
        told.append(len(desk.broker.told))
    desk.next_day()
    desk.send()
    desk.collect()
    return [*told, len(desk.broker.told)]


def test_where_ids_are_taken_twice_and_nothing_is_looked_up_by_them_nothing_is_told_again(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.can = {**BLIND, "client_id_rule": ClientIdRule.NONE}
    planned(desk, [account])
    desk.broker.answers = [SubmitStatus.UNKNOWN]
    desk.send()

    told = heal_for_a_day(desk)
    with desk.db.read() as session:
        args = session, desk.calendar, desk.policy, "firm_a", desk.clock.now()
        waiting = [one.code for one in operating.queue(*args).orders]

    assert set(told) == {1}
    assert known(desk) == [("unknown", "no_lookup")]
    assert waiting == ["no_lookup"]
    assert desk.held(account).cash_cents == 90_00
    assert len(desk.column("SELECT 1 FROM event WHERE kind = 'break.order'")) == 1
    resolving.order(
        *(desk.db, desk.keyring, desk.broker, desk.clock, desk.calendar, desk.policy),
        str(desk.column("SELECT id FROM block")[0]),
        resolving.OrderVerdict.END,
        resolving.Word("looked at the broker's page", "key_1"),
    )
    desk.collect()
    assert desk.held(account).cash_cents == 100_00


def test_where_ids_are_unique_an_order_that_cannot_be_looked_up_is_told_again_and_not_twice(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.can = BLIND
    planned(desk, [account])
    desk.broker.vanish = 1
    desk.send()
    desk.broker.lag = dict.fromkeys(desk.broker.orders, 10_000)

    told = heal_for_a_day(desk)

    assert (told[0], told[-1]) == (2, 2)  # the second was called a duplicate
    assert known(desk) == [("unknown", "no_lookup")]
    assert desk.held(account).cash_cents == 90_00


def die_before_writing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send what is planned, and end between the broker's answer and the writing of it."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(blocks, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            desk.send()


@pytest.mark.parametrize("throttled", [False, True])
def test_a_refusal_after_a_death_while_telling_frees_nothing_where_nothing_is_looked_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, throttled: bool
) -> None:
    (account,) = funded(desk, 1)
    desk.broker.can = BLIND
    planned(desk, [account])
    if throttled:
        desk.broker.answers = [SubmitStatus.THROTTLED]
        desk.send()
    die_before_writing(desk, monkeypatch)
    died = known(desk)
    desk.broker.lag = dict.fromkeys(desk.broker.orders, 10_000)
    desk.broker.answers = [NO_FUNDS]

    heal_for_a_day(desk)

    assert died == [("intended", "")]
    assert known(desk) == [("unknown", "no_lookup")]
    assert desk.held(account).cash_cents == 90_00
    assert len(desk.broker.orders) == 1


def test_what_died_before_it_was_told_is_told_where_nothing_is_looked_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(desk, funded(desk, 1))
    desk.broker.can = BLIND
    die_before_writing(desk, monkeypatch)
    desk.broker.orders.clear()

    for _ in range(3):
        desk.clock.advance(timedelta(seconds=40))
        desk.send()

    assert len(desk.broker.told) == 2
    assert known(desk) == [("open", "")]


def test_where_ids_are_taken_twice_the_broker_must_say_none_for_ten_minutes(desk: Desk) -> None:
    desk.broker.can = {**LAGGING, "client_id_rule": ClientIdRule.NONE}
    lost(desk)

    told = heal_for_a_day(desk)

    assert [told.count(1), told[-1]] == [10, 2]


def test_what_turns_up_just_before_a_refused_order_ends_is_ours_again(desk: Desk) -> None:
    (account,) = funded(desk, 1)
    declined(desk, account, lag=10_000)
    for _ in range(40):
        desk.clock.advance(timedelta(seconds=20))
        desk.send()
    ending = known(desk)
    desk.broker.lag.clear()

    desk.collect()

    assert ending == [("open", "rejected:funds")]
    assert known(desk) == [("open", "adopted")]
    assert desk.held(account).cash_cents == 90_00


def test_a_refused_order_that_has_traded_and_is_not_shown_is_asked_for_every_five_minutes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = funded(desk, 1)
    declined(desk, account, lag=10_000)
    for _ in range(40):
        desk.clock.advance(timedelta(seconds=20))
        desk.send()
    ending = known(desk)
    desk.broker.fill(next(iter(desk.broker.orders)), SHARE // 2, 5_00)
    asked: list[str] = []
    find = desk.broker.find
    monkeypatch.setattr(desk.broker, "find", lambda i: asked.append(i) or find(i))  # type: ignore[func-returns-value]
    for _ in range(60):
        desk.clock.advance(timedelta(seconds=10))
        desk.collect()
    hidden = (len(asked), known(desk), desk.held(account).cash_cents)
    desk.broker.lag.clear()
    desk.clock.advance(timedelta(minutes=5))
    desk.collect()

    assert ending == [("open", "rejected:funds")]
    assert hidden == (2, ending, 90_00)
    assert known(desk) == [("open", "adopted")]
    assert desk.findings() == []


def test_an_id_that_was_taken_once_is_not_forgotten_over_a_later_silence_or_refusal(
    desk: Desk,
) -> None:
    (account,) = funded(desk, 1)
    planned(desk, [account])
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.lag = {client_id: 10_000}
    desk.send()
    desk.broker.answers = [SubmitStatus.UNKNOWN, NO_FUNDS]
    codes = [known(desk)]
    for _ in range(2):
        desk.send()
        desk.collect()
        codes.append(known(desk))
    desk.next_day()
    desk.send()
    desk.collect()

    assert codes == [[("unknown", "duplicate")]] * 3
    assert known(desk) == [("unknown", "duplicate")]
    assert desk.held(account).cash_cents == 90_00
