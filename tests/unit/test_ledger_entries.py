"""Transfers, recipes and chains, without a database."""

import hashlib
import hmac
from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo.core.ids import AccountId, FirmId, SecurityId, TransferId
from robo.core.money import INT64_MAX
from robo.ledger import chain, chart, recipes
from robo.ledger.entries import Transfer, chain_of, fold, zero_sums

A, B, F = AccountId("acc_1"), AccountId("acc_2"), FirmId("firm_1")
S = SecurityId(7)

EVENTS: dict[str, Callable[[], list[Transfer]]] = {
    "deposit": lambda: recipes.deposit(A, 5, "c"),
    "advance": lambda: recipes.advance(F, A, 5, "c"),
    "repay_advance": lambda: recipes.repay_advance(F, 5, "c"),
    "undo_advance": lambda: recipes.undo_advance(F, A, 2, 3, "c"),
    "reserve": lambda: recipes.reserve(A, 5, "c"),
    "release": lambda: recipes.release(A, 5, "c"),
    "buy": lambda: recipes.buy(A, S, 70, 5, "c"),
    "sell": lambda: recipes.sell(A, S, 70, 5, 2, "c"),
    "absorb_fee": lambda: recipes.absorb_fee(F, 5, "c"),
    "own_buy": lambda: recipes.own_buy(F, S, 70, 5, 2, "c"),
    "own_sell": lambda: recipes.own_sell(F, S, 70, 5, 2, "c"),
    "settle": lambda: recipes.settle(A, 5, "c"),
    "dividend": lambda: recipes.dividend(A, 5, "c"),
    "shares_in": lambda: recipes.shares_in(A, S, 70, "c"),
    "arrive": lambda: recipes.arrive(A, S, 70, "c"),
    "shares_out": lambda: recipes.shares_out(A, S, 70, "c"),
    "promise_withdrawal": lambda: recipes.promise_withdrawal(A, 5, "c"),
    "pay_withdrawal": lambda: recipes.pay_withdrawal(A, 5, "c"),
    "undo_withdrawal": lambda: recipes.undo_withdrawal(A, 5, "c"),
    "return_deposit": lambda: recipes.return_deposit(F, A, 2, 3, "c"),
    "cure": lambda: recipes.cure(F, A, 5, "c"),
}
CASH, RESERVED = chart.cash(A), chart.reserved(A)
INVENTORY = chart.inventory(F)
EXPECTED = {
    "deposit": {(CASH, "USD/2"): 5, ("street/bank", "USD/2"): -5},
    "advance": {(CASH, "USD/2"): 5, ("firm/firm_1/advance", "USD/2"): -5},
    "undo_advance": {
        (CASH, "USD/2"): -2,
        ("firm/firm_1/receivable", "USD/2"): -3,
        ("firm/firm_1/advance", "USD/2"): 5,
    },
    "buy": {
        (RESERVED, "USD/2"): -5,
        ("street/market", "USD/2"): 5,
        ("street/market", "S7/9"): -70,
        ("customer/acc_1/holdings", "S7/9"): 70,
    },
    "own_buy": {
        (INVENTORY, "USD/2"): -3,
        ("street/market", "USD/2"): 5,
        ("street/fees", "USD/2"): -2,
        ("street/market", "S7/9"): -70,
        (INVENTORY, "S7/9"): 70,
    },
    "own_sell": {
        (INVENTORY, "USD/2"): 3,
        ("street/market", "USD/2"): -5,
        ("street/fees", "USD/2"): 2,
        ("street/market", "S7/9"): 70,
        (INVENTORY, "S7/9"): -70,
    },
    "sell": {
        ("customer/acc_1/holdings", "S7/9"): -70,
        ("street/market", "S7/9"): 70,
        ("street/market", "USD/2"): -5,
        ("customer/acc_1/unsettled", "USD/2"): 3,
        ("street/fees", "USD/2"): 2,
    },
    "arrive": {
        ("customer/acc_1/holdings", "S7/9"): 70,
        (chart.STREET_TRANSFERS, "S7/9"): -70,
    },
    "return_deposit": {
        (CASH, "USD/2"): -2,
        ("firm/firm_1/receivable", "USD/2"): -3,
        ("street/bank", "USD/2"): 5,
    },
}


@pytest.mark.parametrize("name", EVENTS)
def test_every_recipe_balances_in_every_asset_and_makes_each_id_once(name: str) -> None:
    made = EVENTS[name]()

    assert made
    assert zero_sums(fold(made)) == {}
    assert len({t.id for t in made}) == len(made)
    assert [t.id for t in EVENTS[name]()] == [t.id for t in made]
    assert {t.cause for t in made} == {"c"}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe_moves_what_the_chart_says(name: str) -> None:
    assert fold(EVENTS[name]()) == EXPECTED[name]


def test_no_two_recipes_of_one_cause_share_an_id() -> None:
    made = [t.id for event in EVENTS.values() for t in event()]

    assert len(set(made)) == len(made)


def test_the_recipes_tested_here_are_all_there_are() -> None:
    there = {
        name
        for name, thing in vars(recipes).items()
        if callable(thing) and getattr(thing, "__module__", "") == recipes.__name__
    }

    assert there == set(EVENTS) | {"move", "total"}


def test_nothing_moves_nothing() -> None:
    assert recipes.deposit(A, 0, "c") == []
    assert len(recipes.sell(A, S, 70, 0, 0, "c")) == 1


@pytest.mark.parametrize("amount", [0, -1, INT64_MAX + 1, -(2**63)])
def test_an_amount_that_no_ledger_may_hold_cannot_be_written_down(amount: int) -> None:
    with pytest.raises(AssertionError):
        Transfer(TransferId("t"), "k", "street/bank", CASH, chart.USD, amount, "c")


def test_a_book_cannot_pay_itself_and_customers_cannot_pay_each_other() -> None:
    books = [CASH, RESERVED, chart.cash(B), "street/bank", chart.advance(F)]
    for source, target in permutations(books, 2):
        between = chart.account_of(source), chart.account_of(target)
        allowed = None in between or between[0] == between[1]
        if allowed:
            Transfer(TransferId("t"), "k", source, target, chart.USD, 1, "c")
        else:
            with pytest.raises(AssertionError):
                Transfer(TransferId("t"), "k", source, target, chart.USD, 1, "c")
    with pytest.raises(AssertionError):
        Transfer(TransferId("t"), "k", CASH, CASH, chart.USD, 1, "c")


def test_each_transfer_has_exactly_one_chain() -> None:
    other = FirmId("firm_9")
    one = {name: {chain_of(t, other) for t in event()} for name, event in EVENTS.items()}

    assert one.pop("repay_advance") == {F}
    assert one.pop("absorb_fee") == one.pop("own_buy") == one.pop("own_sell") == {F}
    # Taking a deposit back names the account in one transfer and only the firm in the other.
    assert one.pop("return_deposit") == one.pop("undo_advance") == {A, F}
    assert set(map(frozenset, one.values())) == {frozenset({A})}
    street = Transfer(TransferId("t"), "k", "street/bank", "street/fees", chart.USD, 1, "c")
    assert chain_of(street, other) == other


@given(st.integers(1, 2**31))
def test_the_asset_of_a_security_is_read_back(number: int) -> None:
    assert chart.security_of(chart.shares(SecurityId(number))) == number


@pytest.mark.parametrize("book", [chart.cash, chart.reserved, chart.holdings, chart.outgoing])
def test_the_account_of_a_book_is_read_back(book) -> None:
    assert chart.account_of(book(A)) == A
    assert chart.firm_of(book(A)) is None
    assert chart.firm_of(chart.rounding(F)) == F
    assert chart.account_of(chart.STREET_MARKET) is None


def test_a_chain_is_what_its_description_says() -> None:
    key = b"k" * 32
    rows = [("transfer", ("id", None, 5)), ("fill", ("",))]

    made = chain.extend(key, "acc_1", 3, b"p" * 32, rows)

    words = ["transfer", "acc_1", "4", "id", "\x00", "5"], ["fill", "acc_1", "5", ""]
    first = hmac.new(key, b"p" * 32 + "\x1f".join(words[0]).encode(), hashlib.sha256).digest()
    second = hmac.new(key, first + "\x1f".join(words[1]).encode(), hashlib.sha256).digest()
    assert made == [(4, first), (5, second)]


fields = st.none() | st.integers() | st.text("ab01", max_size=3)


@given(st.lists(fields, max_size=4), st.lists(fields, max_size=4), st.integers(1, 3))
def test_different_rows_never_have_the_same_bytes(one: list, other: list, seq: int) -> None:
    mine, theirs = chain.payload("t", "c", seq, one), chain.payload("t", "c", 1, other)

    def words(row: list) -> list[str | None]:
        return [None if value is None else str(value) for value in row]

    # A column is either a number or a text, so 1 and "1" never stand in the same place.
    assert (mine == theirs) == (words(one) == words(other) and seq == 1)


@given(st.lists(st.tuples(st.just("t"), st.tuples(st.integers(0, 9))), max_size=8), st.data())
def test_appending_in_pieces_is_appending_at_once(rows: list, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    key = b"k" * 32

    whole = chain.extend(key, "c", 0, chain.GENESIS, rows)
    first = chain.extend(key, "c", 0, chain.GENESIS, rows[:cut])
    seq, mac = first[-1] if first else (0, chain.GENESIS)
    rest = chain.extend(key, "c", seq, mac, rows[cut:])

    assert first + rest == whole
    assert [number for number, _ in whole] == list(range(1, len(rows) + 1))
