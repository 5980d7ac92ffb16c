"""Levels: no corporate action moves them, and they are what a portfolio that follows them earns."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from baskets.errors import BuildError
from baskets.index import Index, Member, note_of, weighed
from baskets.index_level import (
    POINT_NANOS,
    ActionKind,
    IndexAction,
    applied,
    closed,
    reconstituted,
    started,
)

DAY = date(2026, 7, 13)
NEW = 900
"""Permanent ids from here on are spun off or renamed."""


def index_of(sizes, on=DAY):
    members = weighed(
        Member(
            security_id=number,
            symbol=f"S{number}",
            name=f"S{number}",
            cik=f"{number:010d}",
            sector="x",
            group="x",
            country=None,
            basis="estimate",
            size_cents=size,
            index_cents=size,
            rank=1,
            entered_on=on,
            weight_ppm=0,
        )
        for number, size in sizes.items()
    )
    return Index(
        id="test",
        name="Test",
        kind="rulebook",
        version=1,
        effective_on=on,
        reference_on=on,
        announced_on=None,
        universe_source="test",
        universe_as_of=on,
        issuer_ppm_max=1_000_000,
        screen="",
        note=note_of(members),
        members=members,
        changes=(),
    )


SIZES = st.dictionaries(
    st.integers(1, 12), st.integers(10**9, 10**14), min_size=3, max_size=12
).filter(lambda sizes: min(sizes.values()) * 10**5 > sum(sizes.values()))
PRICES = st.integers(10_000, 10**10)
RATIOS = st.integers(1, 60)


@st.composite
def worlds(draw):
    """Return an index, its closes, and one to eight actions that its members can bear."""
    sizes = draw(SIZES)
    closes = {number: draw(PRICES) for number in sizes}
    actions = []
    alive = set(sizes)
    for place in range(draw(st.integers(1, 8))):
        if len(alive) < 2:
            break
        kind = draw(st.sampled_from(list(ActionKind)))
        who = draw(st.sampled_from(sorted(alive)))
        action = IndexAction(
            kind,
            who,
            cash_micros=draw(st.integers(0, 100)) if "dividend" in kind else 0,
            ratio_num=draw(RATIOS),
            ratio_den=draw(RATIOS),
            new_security_id=NEW + place,
        )
        if kind is ActionKind.STOCK_MERGER:
            action = replace(action, new_security_id=draw(st.sampled_from(sorted(alive - {who}))))
        if kind in {ActionKind.CASH_MERGER, ActionKind.STOCK_MERGER, ActionKind.DELISTING}:
            alive.discard(who)
        if kind is ActionKind.SYMBOL_CHANGE:
            alive = (alive - {who}) | {NEW + place}
        actions.append(action)
    return index_of(sizes), closes, actions


@given(worlds())
def test_actions_alone_move_neither_level_by_a_billionth_of_a_point(world):
    index, closes, actions = world
    state = started(index, closes, 1000)
    try:
        after = applied(state, actions)
    except BuildError as error:
        if error.code != "dividend_exceeds_price":
            raise
        return

    assert (after.level_nanos, after.total_nanos) == (1000 * POINT_NANOS, 1000 * POINT_NANOS)
    # Not carried but computed: the value at the adjusted closes over the new divisors.
    assert after.value / after.divisor == after.level_nanos
    assert after.value / after.total_divisor == after.total_nanos


@given(worlds(), st.integers(1, 4))
def test_it_does_not_matter_whether_actions_are_applied_at_once_or_one_by_one(world, pieces):
    index, closes, actions = world
    state = started(index, closes, 1000)
    try:
        together = applied(state, actions)
    except BuildError:
        return

    apart = state
    for start in range(0, len(actions), pieces):
        apart = applied(apart, actions[start : start + pieces])

    assert apart == together


@given(SIZES, st.data())
def test_a_review_moves_neither_level_and_its_weights_are_those_of_the_index(sizes, data):
    closes = {number: data.draw(PRICES) for number in range(1, 25)}
    state = started(index_of(sizes), closes, 1000)
    following = {number: data.draw(PRICES) for number in closes}
    moved = closed(state, DAY + timedelta(1), following)
    new = index_of(data.draw(SIZES), DAY + timedelta(1))

    after = reconstituted(moved, new, following)

    assert (after.level_nanos, after.total_nanos) == (moved.level_nanos, moved.total_nanos)
    assert round(after.value / after.divisor) == moved.level_nanos
    assert after.lines.keys() == new.weights_ppm.keys()
    for number, weight in new.weights_ppm.items():
        assert abs(after.weights_ppm[number] - weight) <= 1


@given(SIZES, st.data())
def test_a_review_at_which_nobody_comes_or_goes_trades_nothing(sizes, data):
    closes = [{number: data.draw(st.integers(10**7, 10**8)) for number in sizes} for _ in range(3)]
    state = started(index_of(sizes), closes[0], 1000)
    # Measured at the founding's closes, carried to the reference date's.
    measured = {
        number: size * closes[1][number] * 10**9 // closes[0][number]
        for number, size in sizes.items()
    }
    assume(min(measured.values()) * 10**5 > sum(measured.values()))
    moved = closed(state, DAY + timedelta(1), closes[2])

    after = reconstituted(moved, index_of(measured, moved.on), closes[2], sized_at=closes[1])

    for number, weight in moved.weights_ppm.items():
        assert abs(after.weights_ppm[number] - weight) <= 1


STEPS = (
    ActionKind.SPLIT,
    ActionKind.SPIN_OFF,
    ActionKind.CASH_DIVIDEND,
    ActionKind.SPECIAL_DIVIDEND,
    ActionKind.DELISTING,
)


@settings(max_examples=60)
@given(SIZES, st.data())
def test_the_levels_earn_what_a_portfolio_that_holds_the_index_earns(sizes, data):
    closes = {number: data.draw(PRICES) for number in sizes}
    state = started(index_of(sizes), closes, 1000)
    held = {number: Fraction(line.shares_nanos) for number, line in state.lines.items()}
    price_return = total_return = Fraction(1)
    for place in range(data.draw(st.integers(1, 6))):
        kind, who = data.draw(st.sampled_from(STEPS)), data.draw(st.sampled_from(sorted(held)))
        if kind is ActionKind.DELISTING and len(held) == 1:
            continue
        num, den, cash = data.draw(RATIOS), data.draw(RATIOS), data.draw(st.integers(0, 100))
        action = IndexAction(kind, who, cash, num, den, NEW + place)

        # By hand, with shares: what is invested at the old closes, and what is paid out of it.
        paid = Fraction(0)
        if kind is ActionKind.DELISTING:
            del held[who]
        invested = sum(shares * closes[number] for number, shares in held.items())
        if kind is ActionKind.SPLIT:
            held[who] *= Fraction(num, den)
        elif kind is ActionKind.SPIN_OFF:
            held[NEW + place] = held[who] * Fraction(num, den)
        elif kind is not ActionKind.DELISTING:
            paid = held[who] * cash
        closes = {number: data.draw(PRICES) for number in held}
        value = sum(shares * closes[number] for number, shares in held.items())
        special = paid if kind is ActionKind.SPECIAL_DIVIDEND else 0
        price_return *= value / (invested - special)
        total_return *= (value + paid - special) / (invested - special)
        state = closed(applied(state, [action]), state.on + timedelta(1), closes)

    for level, growth in ((state.level_nanos, price_return), (state.total_nanos, total_return)):
        expected = 1000 * POINT_NANOS * growth
        assert abs(level - expected) <= 10 + expected / 10**9


def test_a_split_by_hand():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 30_000_000, 2: 10_000_000}, 1000)

    split = applied(state, [IndexAction(ActionKind.SPLIT, 1, ratio_num=3)])
    after = closed(split, DAY + timedelta(1), {1: 11_000_000, 2: 10_000_000})

    # Half of the index went from $10 to $11: 5 %.
    assert after.level_nanos == after.total_nanos == 1050 * POINT_NANOS


def test_an_ordinary_dividend_is_in_the_total_return_only_a_special_one_in_both():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 20_000_000, 2: 10_000_000}, 1000)
    after = {1: 18_000_000, 2: 10_000_000}
    ordinary = IndexAction(ActionKind.CASH_DIVIDEND, 1, 2_000_000)
    special = replace(ordinary, kind=ActionKind.SPECIAL_DIVIDEND)

    plain = closed(applied(state, [ordinary]), DAY + timedelta(1), after)
    extra = closed(applied(state, [special]), DAY + timedelta(1), after)

    assert (plain.level_nanos, plain.total_nanos) == (950 * POINT_NANOS, 1000 * POINT_NANOS)
    assert extra.level_nanos == extra.total_nanos == 1000 * POINT_NANOS


def test_a_spin_off_joins_at_nothing_and_takes_its_value_from_the_parent():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 20_000_000, 2: 10_000_000}, 1000)
    action = IndexAction(ActionKind.SPIN_OFF, 1, ratio_den=4, new_security_id=NEW)

    after = applied(state, [action])
    held = closed(after, DAY + timedelta(1), {1: 15_000_000, 2: 10_000_000, NEW: 20_000_000})
    late = closed(after, DAY + timedelta(1), {1: 15_000_000, 2: 10_000_000})

    assert after.weights_ppm[NEW] == 0
    assert held.level_nanos == 1000 * POINT_NANOS
    assert held.weights_ppm == {1: 375_000, 2: 500_000, NEW: 125_000}
    assert late.stale == (NEW,)


def test_a_reinvested_dividend_stays_reinvested_when_nothing_more_happens():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 20_000_000, 2: 10_000_000}, 1000)
    paid = applied(state, [IndexAction(ActionKind.CASH_DIVIDEND, 1, 2_000_000)])
    first = closed(paid, DAY + timedelta(1), {1: 18_000_000, 2: 10_000_000})

    second = closed(first, DAY + timedelta(2), {1: 27_000_000, 2: 15_000_000})

    # Everything gained a half on the second day.
    assert second.level_nanos == 1425 * POINT_NANOS
    assert second.total_nanos == 1500 * POINT_NANOS


def test_two_parents_that_spin_off_the_same_company_give_it_the_shares_of_both():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 20_000_000, 2: 10_000_000}, 1000)
    actions = [IndexAction(ActionKind.SPIN_OFF, parent, new_security_id=NEW) for parent in (1, 2)]

    after = applied(state, actions)

    both = state.lines[1].shares_nanos + state.lines[2].shares_nanos
    assert after.lines[NEW].shares_nanos == both


def test_a_merger_paid_in_shares_makes_the_acquirer_weigh_more():
    state = started(index_of({1: 10**12, 2: 10**12, 3: 10**12}), dict.fromkeys((1, 2, 3), 10**7), 1)

    after = applied(state, [IndexAction(ActionKind.STOCK_MERGER, 1, new_security_id=2)])

    assert after.weights_ppm == {2: 666_667, 3: 333_333}


def test_a_delisting_worth_nothing_hurts_once_and_is_gone():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 10**7, 2: 10**7}, 1000)

    worthless = closed(state, DAY + timedelta(1), {1: 0, 2: 10**7})
    after = applied(worthless, [IndexAction(ActionKind.DELISTING, 1)])

    assert worthless.level_nanos == after.level_nanos == 500 * POINT_NANOS
    assert after.weights_ppm == {2: 1_000_000}


def test_a_new_symbol_changes_nothing_and_a_new_id_only_the_name():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 10**7, 2: 10**7}, 1000)

    same = applied(state, [IndexAction(ActionKind.SYMBOL_CHANGE, 1)])
    moved = applied(state, [IndexAction(ActionKind.SYMBOL_CHANGE, 1, new_security_id=NEW)])

    assert same == state
    assert moved.lines[NEW] == state.lines[1]
    assert moved.divisor == state.divisor


def test_actions_of_names_outside_the_index_change_nothing():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 10**7, 2: 10**7}, 1000)

    assert applied(state, [IndexAction(ActionKind.SPLIT, 77, ratio_num=2)]) == state


def test_a_halted_name_keeps_its_last_close_and_is_named():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 10**7, 2: 10**7}, 1000)

    after = closed(state, DAY + timedelta(1), {2: 12_000_000})

    assert after.stale == (1,)
    assert after.level_nanos == 1100 * POINT_NANOS


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        (ActionKind.SPLIT, {"ratio_num": 0}, "action_malformed"),
        (ActionKind.SPLIT, {"ratio_den": -1}, "action_malformed"),
        (ActionKind.CASH_DIVIDEND, {"cash_micros": -1}, "action_malformed"),
        (ActionKind.CASH_DIVIDEND, {"cash_micros": 10**7}, "dividend_exceeds_price"),
        (ActionKind.SPECIAL_DIVIDEND, {"cash_micros": 10**8}, "dividend_exceeds_price"),
        (ActionKind.SPIN_OFF, {}, "action_malformed"),
        (ActionKind.SPIN_OFF, {"new_security_id": 1}, "action_malformed"),
        (ActionKind.SYMBOL_CHANGE, {"new_security_id": 2}, "action_malformed"),
    ],
)
def test_an_action_that_cannot_be_is_refused(kind, change, code):
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 10**7, 2: 10**7}, 1000)

    with pytest.raises(BuildError) as refused:
        applied(state, [IndexAction(kind, 1, **change)])

    assert refused.value.code == code


def test_closes_that_cannot_be_are_refused():
    state = started(index_of({1: 10**12, 2: 10**12}), {1: 10**7, 2: 10**7}, 1000)
    tomorrow = DAY + timedelta(1)
    for on, closes, code in (
        (DAY, {1: 1, 2: 1}, "session_order"),
        (tomorrow, {1: -1}, "price_malformed"),
        (tomorrow, {1: 1.5}, "price_malformed"),
        (tomorrow, {1: True}, "price_malformed"),
        (tomorrow, {1: 0, 2: 0}, "index_worthless"),
    ):
        with pytest.raises(BuildError) as refused:
            closed(state, on, closes)
        assert refused.value.code == code


def test_a_founding_or_review_needs_every_price_and_its_own_day():
    index = index_of({1: 10**12, 2: 10**12})
    state = started(index, {1: 10**7, 2: 10**7}, 1000)
    pending = applied(state, [IndexAction(ActionKind.CASH_DIVIDEND, 1, 1)])

    for attempt, code in (
        (lambda: started(index, {1: 10**7}, 1000), "price_missing"),
        (lambda: started(index, {1: 10**7, 2: 0}, 1000), "price_missing"),
        (lambda: reconstituted(state, index_of({3: 10**12}), {}), "price_missing"),
        (lambda: reconstituted(state, index_of({1: 1}, DAY + timedelta(1)), {}), "session_order"),
        (lambda: reconstituted(pending, index, {}), "session_order"),
    ):
        with pytest.raises(BuildError) as refused:
            attempt()
        assert refused.value.code == code


def test_an_index_that_everybody_left_is_refused():
    state = started(index_of({1: 10**12}), {1: 10**7}, 1000)

    with pytest.raises(BuildError) as refused:
        applied(state, [IndexAction(ActionKind.CASH_MERGER, 1)])

    assert refused.value.code == "index_empty"
