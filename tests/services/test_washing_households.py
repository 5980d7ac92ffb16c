"""What members of a household may do, what they learn of each other, and what counts as meant."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pytest
from wash_homes import Homes, homes, micros

from robo.core.clock import FixedClock, from_micros
from robo.core.ids import AccountId, SecurityId
from robo.core.reasons import Reason
from robo.services import limiting, pairing, rechecking
from robo.services.pairing import Invited
from robo.services.washing import counting
from robo.services.washing.counting import WashKind
from robo.store import chunks, owners, windows

OLD = date(2025, 11, 3)
"""Long before: what was bought then is not fresh."""
TODAY = date(2026, 3, 2)
BEFORE, AFTER, LATE = date(2026, 2, 23), date(2026, 2, 25), date(2026, 2, 26)
"""Three days of one window: a trade, the other one, and something that comes to light."""
NAME = 7


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    with homes(tmp_path_factory.mktemp("homes")) as one:
        yield one


@pytest.mark.parametrize("accepts", [False, True])
def test_an_open_purchase_forbids_a_sale_at_a_loss_whatever_the_customer_accepts(
    made: Homes,
    accepts: bool,  # noqa: FBT001 - a case
) -> None:
    customer = made.person()
    seller, buyer = made.account(customer), made.account(customer)
    if accepts:
        made.accepts(customer, OLD)
    lot = made.buy(seller, NAME, OLD)
    before = made.masks(seller, TODAY).no_loss
    made.order(buyer, "buy", NAME, TODAY)

    today = made.window(seller, TODAY)
    forbidden = today.masks(seller, made.held(seller)).no_loss
    found = today.arrays(
        [seller], [NAME], np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([0, 1]), [lot]
    )

    assert before == {}
    assert set(forbidden) == {lot}
    assert found.no_loss.tolist() == [True]
    assert today.fresh_beside(seller, NAME, {lot})


def test_who_accepts_deferral_may_sell_at_a_loss_beside_what_was_bought_before(
    made: Homes,
) -> None:
    customer = made.person()
    account = made.account(customer)
    made.accepts(customer, OLD)
    made.buy(account, NAME, OLD)
    made.buy(account, NAME, date(2026, 2, 27))

    assert made.masks(account, TODAY).no_loss == {}


def test_a_purchase_soon_after_a_loss_elsewhere_is_excused_only_if_the_loss_was_not_known(
    made: Homes,
) -> None:
    for told, kind in ((BEFORE, WashKind.UNINTENDED), (LATE, WashKind.OUTSIDE_TRADE)):
        customer = made.person()
        account, theirs = made.account(customer), made.elsewhere(customer)
        made.imports(theirs, NAME, told, ("lot", OLD, 10_000), ("sell", BEFORE, 5_000))
        made.buy(account, NAME, AFTER)

        assert made.kinds(customer, TODAY) == {kind: 1}


def test_a_loss_soon_after_a_purchase_elsewhere_is_excused_only_if_the_purchase_was_not_known(
    made: Homes,
) -> None:
    for told, kind in ((BEFORE, WashKind.UNINTENDED), (LATE, WashKind.OUTSIDE_TRADE)):
        customer = made.person()
        account, theirs = made.account(customer), made.elsewhere(customer)
        lot = made.buy(account, NAME, OLD)
        made.imports(theirs, NAME, told, ("buy", BEFORE, 10_000))
        made.sell(account, lot, AFTER, 5_000, "sell_harvest")

        assert made.kinds(customer, TODAY) == {kind: 1}


def test_a_sale_elsewhere_after_our_purchase_is_nothing_that_we_chose(made: Homes) -> None:
    customer = made.person()
    account, theirs = made.account(customer), made.elsewhere(customer)
    made.imports(theirs, NAME, LATE, ("lot", OLD, 10_000), ("sell", AFTER, 5_000))
    made.buy(account, NAME, BEFORE)

    assert made.kinds(customer, TODAY) == {WashKind.OUTSIDE_TRADE: 1}


def test_a_merger_paid_in_cash_does_not_excuse_what_we_had_just_bought(made: Homes) -> None:
    customer = made.person()
    account, other = made.account(customer), made.account(customer)
    lot = made.buy(account, NAME, OLD)
    made.buy(other, NAME, BEFORE)
    made.sell(account, lot, AFTER, 5_000)

    assert made.kinds(customer, TODAY) == {WashKind.UNINTENDED: 1}


@pytest.mark.parametrize(
    ("hour", "kind"),
    [(11, WashKind.WITHDRAWAL), (12, WashKind.UNINTENDED), (14, WashKind.UNINTENDED)],
)
def test_within_a_day_a_withdrawal_excuses_what_was_bought_before_it_only(
    made: Homes, hour: int, kind: WashKind
) -> None:
    customer = made.person()
    account = made.account(customer)
    lot = made.buy(account, NAME, OLD)
    made.buy(account, NAME, AFTER, hour=hour)
    made.sell(account, lot, AFTER, 5_000, "sell_withdrawal")

    assert made.kinds(customer, TODAY) == {kind: 1}


@pytest.mark.parametrize(("hour", "kind"), [(11, WashKind.OPTED_IN), (13, WashKind.UNINTENDED)])
def test_deferral_is_meant_only_if_it_was_accepted_when_the_sale_was_planned(
    made: Homes, hour: int, kind: WashKind
) -> None:
    customer = made.person()
    account = made.account(customer)
    made.accepts(customer, AFTER, hour)
    lot = made.buy(account, NAME, OLD)
    made.buy(account, NAME, BEFORE)
    made.sell(account, lot, AFTER, 5_000, "sell_harvest")

    assert made.kinds(customer, TODAY) == {kind: 1}


def test_what_crossed_before_two_people_were_a_household_is_unintended_on_its_own_line(
    made: Homes,
) -> None:
    for joined, kind in ((LATE, WashKind.BEFORE_HOUSEHOLD), (BEFORE, WashKind.UNINTENDED)):
        one, other = made.person(), made.person()
        mine, theirs = made.account(one), made.account(other)
        made.home([one, other], OLD, joined)
        lot = made.buy(mine, NAME, OLD)
        made.sell(mine, lot, BEFORE, 5_000, "sell_harvest")
        made.buy(theirs, NAME, AFTER)

        assert made.kinds(one, TODAY) == {kind: 1}
        assert made.kinds(other, TODAY) == {}
        with made.db.read() as session:
            found = counting.counts(session, [one], TODAY)
        assert (found.intended, found.unintended) == (0, 1)


def test_every_wash_sale_is_in_one_of_the_two_counts_and_a_sale_once_in_each() -> None:
    def sale(name: str, kind: WashKind) -> counting.WashSale:
        account, security = AccountId("acc"), SecurityId(NAME)
        return counting.WashSale(kind, account, security, name, OLD, OLD, 1, 1_00, lost=False)

    each = [sale(kind.value, kind) for kind in WashKind]
    parts = [sale("one", kind) for kind in (*WashKind, *WashKind)]

    found, of_parts = counting.counted(each), counting.counted(parts)

    assert (found.intended, found.unintended) == (3, len(WashKind) - 3)
    assert (of_parts.intended, of_parts.unintended) == (1, 1)


@pytest.mark.parametrize("state", ["planned", "sending"])
def test_who_forms_a_household_takes_back_planned_orders_that_would_wash(
    made: Homes, state: str
) -> None:
    """One sells a name that the other is about to buy, and holds one that the other would sell."""
    one, other = made.person(), made.person()
    mine, theirs = made.account(one), made.account(other)
    made.buy(mine, NAME, OLD)
    made.buy(theirs, NAME + 1, OLD)
    made.buy(mine, NAME + 1, BEFORE)
    kept = made.order(mine, "sell", NAME, TODAY, state)
    fine = made.order(theirs, "buy", NAME + 2, TODAY)
    buy = made.order(theirs, "buy", NAME, TODAY)
    sell = made.order(theirs, "sell", NAME + 1, TODAY)
    assert made.open_orders(theirs) == {fine, buy, sell}

    accepted(made, one, other)

    assert made.open_orders(mine) == {kept}
    assert made.open_orders(theirs) == {fine}
    with made.db.read() as session:
        rows = session.connection().exec_driver_sql(
            f"SELECT code, reserved_cents FROM orders WHERE id IN ('{buy}', '{sell}') ORDER BY 1"
        )
        assert [tuple(row) for row in rows] == [("skip_wash_buy", 0), ("skip_wash_loss", 0)]


def test_a_plan_read_before_a_household_formed_and_written_after_it_is_looked_at_again(
    made: Homes,
) -> None:
    one, other, third = made.person(), made.person(), made.person()
    mine, theirs, alone = made.account(one), made.account(other), made.account(third)
    sent = made.order(mine, "sell", NAME, TODAY, "sending")
    made.home([one, other], OLD, TODAY)
    late = made.order(theirs, "buy", NAME, TODAY)
    fine = made.order(theirs, "buy", NAME + 1, TODAY)
    stranger = made.order(alone, "buy", NAME, TODAY)

    with made.db.read() as session:
        waiting = windows.waiting(session, micros(TODAY, 13))
        found = rechecking.overtaken(session, waiting, TODAY, micros(TODAY, 13))

    ids = {order.id for order in waiting}
    assert {late, fine, stranger} <= ids
    assert sent not in ids
    assert found == {late: Reason.SKIP_WASH_BUY}


def test_a_loss_elsewhere_that_becomes_known_takes_back_the_purchase_that_was_planned(
    made: Homes,
) -> None:
    customer = made.person()
    account = made.account(customer)
    made.order(account, "buy", NAME, TODAY)
    made.imports(
        made.elsewhere(customer), NAME, TODAY, ("lot", OLD, 10_000), ("sell", AFTER, 5_000)
    )

    with made.db.write() as session:
        taken = rechecking.take_back(session, made.keyring, [customer], TODAY, micros(TODAY, 13))

    assert taken == 1
    assert made.open_orders(account) == set()


def test_what_a_second_owner_may_not_buy_is_no_rule_of_the_first_ones_own_accounts(
    made: Homes,
) -> None:
    one, other = made.person(), made.person()
    own, shared, theirs = made.account(one), made.joint(one, other), made.account(other)
    made.restrict(other, NAME, "never_own", "employer")
    made.restrict(one, NAME + 1, "never_own", "own")
    orders = [made.order(account, "buy", NAME, TODAY) for account in (own, shared, theirs)]

    with made.db.read() as session:
        raw = chunks.read(session, [own, shared, theirs])
        told = chunks.restrictions(session, [own, shared, theirs])
        refused = {row[0] for row in windows.planned_against_restrictions(session)}
    with made.db.write() as session:
        for order in orders:
            sending = f"UPDATE orders SET state = 'sending', block_id = id WHERE id = '{order}'"
            session.connection().exec_driver_sql(sending)
        stopped = set(windows.restricted_since(session, 0))

    assert raw.restricted == told
    assert {account: set(names) for account, names in told.items()} == {
        own: {NAME + 1},
        shared: {NAME, NAME + 1},
        theirs: {NAME},
    }
    assert told[shared][NAME].sell_blocked
    assert refused & set(orders) == set(orders[1:])
    assert stopped == set(orders[1:])


def test_trading_limits_tell_of_nobodys_open_orders(made: Homes) -> None:
    one, other = made.person(), made.person()
    mine, theirs = made.account(one), made.account(other)
    made.home([one, other], OLD)
    lot = made.buy(theirs, NAME, OLD)
    made.buy(mine, NAME + 1, OLD)
    made.order(theirs, "sell", NAME, TODAY)
    made.order(theirs, "buy", NAME + 1, TODAY)

    open_only = limits_of(made, one)
    made.sell(theirs, lot, TODAY, 5_000, "sell_harvest")

    assert open_only == {}
    assert limits_of(made, one) == {NAME: date(2026, 4, 2)}
    # Plans go by all of it.
    mask = made.masks(mine, TODAY)
    assert (set(mask.no_purchase), len(mask.no_loss)) == ({NAME}, 1)


def test_a_name_that_was_sold_at_a_loss_and_is_being_sold_waits_for_the_later_day(
    made: Homes,
) -> None:
    one = made.person()
    mine = made.account(one)
    lot = made.buy(mine, NAME, OLD)
    made.buy(mine, NAME, OLD)
    made.sell(mine, lot, BEFORE, 5_000, "sell_withdrawal")
    sold = dict(made.masks(mine, TODAY).no_purchase)

    made.order(mine, "sell", NAME, TODAY)

    assert sold == {NAME: BEFORE + timedelta(days=31)}
    assert made.masks(mine, TODAY).no_purchase == {NAME: TODAY + timedelta(days=31)}


def limits_of(made: Homes, customer: str) -> dict[int, date]:
    with made.db.read() as session:
        return {row.security_id: row.until for row in limiting.limits(session, customer, TODAY)}


@pytest.mark.parametrize("present", [False, True])
def test_a_row_that_does_not_fit_stops_who_counts_together_now_and_nobody_who_has_left(
    made: Homes,
    present: bool,  # noqa: FBT001 - a case
) -> None:
    one, other = made.person(), made.person()
    mine, theirs = made.account(one), made.account(other)
    home = made.home([one, other], OLD)
    lot = made.buy(theirs, NAME, OLD)
    made.buy(mine, NAME, BEFORE)
    made.sell(theirs, lot, BEFORE, 5_000, "sell_withdrawal")
    made.corrupt(theirs, lot, NAME, BEFORE)
    if not present:
        made.leaves(home, AFTER)

    with pytest.raises(ValueError, match="is not held"):
        made.window(theirs, TODAY)
    if present:
        with pytest.raises(ValueError, match="is not held"):
            made.window(mine, TODAY)
        return
    assert set(made.masks(mine, TODAY).whole_only) == {made.held(mine)[0].id}
    assert made.kinds(one, TODAY) == {}
    assert limits_of(made, one) == {}


def accepted(made: Homes, inviter: str, invitee: str) -> None:
    """One invites the other by the firm's reference, who accepts, as of long ago."""
    clock = FixedClock(from_micros(micros(TODAY, 13)))
    with made.db.read() as session:
        found = [owners.find_customer(session, one) for one in (inviter, invitee)]
    asks, agrees = found
    assert asks is not None
    assert agrees is not None
    wanted = Invited(f"inv_{invitee}", invitee, is_reference=True, signed="A", since_on=OLD)
    pairing.invite(made.db, made.keyring, clock, asks, wanted, actor="test")
    pairing.accept(made.db, made.keyring, clock, agrees, wanted.id, actor="test")
