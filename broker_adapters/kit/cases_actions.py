"""Corporate actions and other activities."""

from dataclasses import replace
from datetime import UTC, date, datetime

from broker_adapters.kit.bench import Ability
from broker_adapters.kit.case import Need, case
from broker_adapters.kit.desk import SHARE, Desk
from broker_adapters.kit.market import APPLE, BANK, CHILD
from robo.core.money import MICROS_PER_CENT
from robo.ports.broker import Activity, Side
from robo.ports.prices import ActionKind, CorporateAction

_EX = date(2026, 3, 3)
_PAY = date(2026, 3, 6)
_MERGER_CENTS = 12_500
_LAST_CENTS = 250
_HALF_DOLLAR = 50
_DIVIDENDS = 3


def _plan(desk: Desk, action: CorporateAction) -> None:
    desk.bench.prices.plan(action)


def _action(kind: ActionKind) -> CorporateAction:
    return CorporateAction(
        id=f"act-{kind.value}", kind=kind, security_id=APPLE, ex_on=_EX, pay_on=_EX
    )


def _day(desk: Desk, on: date) -> None:
    noon = datetime(on.year, on.month, on.day, 17, 0, tzinfo=UTC)
    desk.wait((noon - desk.bench.clock.now()).total_seconds())


def _told(desk: Desk, kind: ActionKind) -> list[Activity]:
    return [one for one in desk.activities() if one.kind is kind]


@case(161, Ability.ACTIONS)
def a_dividend_is_paid_to_who_held(desk: Desk) -> None:
    """A dividend is owed to who held before the ex-date and paid on the pay date."""
    desk.hold(APPLE, 10)
    _plan(desk, replace(_action(ActionKind.CASH_DIVIDEND), cash_micros=330_000, pay_on=_PAY))
    _day(desk, _EX)
    desk.filled(desk.shares("b2", 5 * SHARE))
    assert _told(desk, ActionKind.CASH_DIVIDEND) == []
    _day(desk, _PAY)

    (paid,) = _told(desk, ActionKind.CASH_DIVIDEND)
    assert (paid.security_id, paid.cents, paid.nanos_delta) == (APPLE, 330, 0)
    desk.books_agree()


@case(162, Ability.ACTIONS)
def a_split_multiplies_shares(desk: Desk) -> None:
    """A split changes the shares by its ratio and no cash."""
    desk.hold(APPLE, 4)
    cash = desk.cents()
    _plan(desk, replace(_action(ActionKind.SPLIT), ratio_num=3, ratio_den=2))
    desk.bench.prices.micros[APPLE] = desk.bench.prices.micros[APPLE] * 2 // 3
    _day(desk, _EX)

    told = _told(desk, ActionKind.SPLIT)
    assert sum(one.nanos_delta for one in told) == 2 * SHARE
    assert desk.held() == 6 * SHARE
    assert desk.cents() == cash
    desk.books_agree()


@case(163, Ability.ACTIONS)
def a_cash_merger_pays_for_the_shares(desk: Desk) -> None:
    """A cash merger takes the shares and pays for them."""
    desk.hold(APPLE, 4)
    _plan(
        desk, replace(_action(ActionKind.CASH_MERGER), cash_micros=_MERGER_CENTS * MICROS_PER_CENT)
    )
    _day(desk, _EX)

    told = _told(desk, ActionKind.CASH_MERGER)
    assert sum(one.cents for one in told) == 4 * _MERGER_CENTS
    assert sum(one.nanos_delta for one in told) == -4 * SHARE
    assert desk.held() == 0
    desk.books_agree()


@case(164, Ability.ACTIONS)
def a_stock_merger_exchanges_shares(desk: Desk) -> None:
    """A stock merger exchanges shares for those of another company."""
    desk.hold(APPLE, 3)
    _plan(
        desk,
        replace(_action(ActionKind.STOCK_MERGER), ratio_num=2, ratio_den=3, new_security_id=BANK),
    )
    _day(desk, _EX)

    assert (desk.held(APPLE), desk.held(BANK)) == (0, 2 * SHARE)
    desk.books_agree()


@case(165, Ability.ACTIONS, Need.FRACTIONS)
def a_spin_off_brings_a_new_name(desk: Desk) -> None:
    """A spin-off brings shares of a new company beside the old ones, and they can be sold."""
    desk.hold(APPLE, 10)
    _plan(
        desk,
        replace(
            _action(ActionKind.SPIN_OFF),
            ratio_num=1,
            ratio_den=4,
            new_security_id=CHILD,
            basis_ppm=150_000,
        ),
    )
    _day(desk, _EX)
    desk.bench.prices.micros[CHILD] = 20_000_000

    assert (desk.held(APPLE), desk.held(CHILD)) == (10 * SHARE, 10 * SHARE // 4)
    desk.filled(desk.shares("s1", 10 * SHARE // 4, CHILD, Side.SELL))
    assert desk.held(CHILD) == 0
    desk.books_agree()


@case(166, Ability.ACTIONS)
def a_delisting_pays_the_last_price(desk: Desk) -> None:
    """A delisting takes the shares at their last price."""
    desk.hold(APPLE, 2)
    _plan(desk, replace(_action(ActionKind.DELISTING), cash_micros=_LAST_CENTS * MICROS_PER_CENT))
    _day(desk, _EX)

    assert sum(one.cents for one in desk.activities()) == 2 * _LAST_CENTS
    assert desk.held() == 0
    desk.books_agree()


@case(167, Ability.ACTIONS)
def a_new_symbol_moves_nothing(desk: Desk) -> None:
    """A change of symbol moves neither shares nor cash."""
    desk.hold(APPLE, 3)
    cash = desk.cents()
    _plan(desk, replace(_action(ActionKind.SYMBOL_CHANGE), new_symbol="NEW"))
    _day(desk, _EX)

    assert sum(one.nanos_delta + one.new_nanos + one.cents for one in desk.activities()) == 0
    assert (desk.held(), desk.cents()) == (3 * SHARE, cash)


@case(168, Ability.ACTIONS, Ability.REOPEN)
def actions_that_passed_meanwhile_are_told_in_order(desk: Desk) -> None:
    """What happened while nobody asked is told in the order in which it happened."""
    desk.hold(APPLE, 1)
    _plan(desk, replace(_action(ActionKind.SPLIT), ratio_num=2))
    _plan(
        desk,
        replace(
            _action(ActionKind.CASH_DIVIDEND),
            ex_on=date(2026, 3, 4),
            pay_on=_PAY,
            cash_micros=_HALF_DOLLAR * MICROS_PER_CENT,
        ),
    )
    _day(desk, date(2026, 6, 1))
    desk.restart()

    told = desk.activities()
    kinds = [one.kind for one in told]
    assert kinds.index(ActionKind.SPLIT) < kinds.index(ActionKind.CASH_DIVIDEND)
    # Two shares after the split, half a dollar each.
    assert sum(one.cents for one in told) == 2 * _HALF_DOLLAR
    desk.books_agree()


@case(169, Ability.ACTIONS)
def activities_have_cursors_too(desk: Desk) -> None:
    """Activities are paged like executions: any page size, the same list, ids that stay."""
    desk.hold(APPLE, 10)
    for index in range(_DIVIDENDS):
        action = replace(
            _action(ActionKind.CASH_DIVIDEND),
            id=f"act-{index}",
            ex_on=date(2026, 3, 3 + index),
            pay_on=date(2026, 3, 9),
            cash_micros=100_000 * (1 + index),
        )
        _plan(desk, action)
    _day(desk, date(2026, 3, 10))
    everything = desk.activities()

    assert len({one.id for one in everything}) == len(everything) == _DIVIDENDS
    assert desk.activities(limit=1) == everything
    desk.books_agree()


@case(170, Ability.ACTIONS)
def an_activity_says_where_it_was(desk: Desk) -> None:
    """An activity names the account it happened in, the action it was, and its day."""
    desk.hold(APPLE, 10)
    _plan(desk, replace(_action(ActionKind.CASH_DIVIDEND), cash_micros=100_000, pay_on=_PAY))
    _day(desk, _PAY)

    (paid,) = _told(desk, ActionKind.CASH_DIVIDEND)
    assert paid.broker_account == desk.account
    assert paid.on == _PAY
    assert paid.action_id in {"", "act-cash_dividend"}
