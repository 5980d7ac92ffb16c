"""The ledger and the whole desk under random sequences, against a model made of a dict."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from desk import Desk, desk_from, write_template
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy.exc import IntegrityError

from robo.core.errors import InsufficientFundsError
from robo.core.ids import AccountId, FirmId, SecurityId, child_id
from robo.core.money import INT64_MAX
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer, chain_of, fold
from robo.store import chains, ledger
from robo.store.database import Database
from robo.store.schema import chain_tables

FIRMS = ("firm_a", "firm_b")
places = st.integers(0, 3)
amounts = st.integers(1, 60) | st.integers(1, 10**12)
firms = st.sampled_from([FirmId(f) for f in FIRMS])
securities = st.sampled_from([SecurityId(1), SecurityId(2)])


class LedgerMachine(RuleBasedStateMachine):
    """Posts what the recipes make; refusals must change nothing, ids must work once."""

    examples: ClassVar[int] = 0

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        type(self).examples += 1
        # Accounts of its own, so that examples may share a database.
        made = type(self).examples
        self.accounts = [AccountId(child_id("acc", "machine", made, n)) for n in range(4)]
        self.money: dict[tuple[str, str], int] = defaultdict(int)
        self.posted: list[list[Transfer]] = []
        self.rows: dict[str, int] = defaultdict(int)
        self.causes = 0
        self.street = self.street_now()

    def street_now(self) -> dict[tuple[str, str], int]:
        """Return the books that examples share: the street's and the firms'."""
        rows = self.desk.rows(
            "SELECT book, asset, amount FROM balance WHERE book NOT LIKE 'customer/%'"
        )
        return {(str(b), str(a)): int(str(n)) for b, a, n in rows}

    def cause(self) -> str:
        self.causes += 1
        return f"{self.accounts[0]}/{self.causes}"

    def post(self, made: Sequence[Transfer], firm: FirmId) -> None:
        """Post, and hold the outcome against the model's."""
        net = {key: amount for key, amount in fold(made).items() if amount}
        broke = any(
            key[0].startswith("customer/") and amount < 0 and self.money[key] + amount < 0
            for key, amount in net.items()
        )
        before = self.counts()
        try:
            with self.desk.db.write() as session:
                ledger.post(session, self.desk.keyring.chain, made, firm, self.desk.now)
        except InsufficientFundsError:
            assert broke, "refused what the model allows"
            assert self.counts() == before
            return
        assert not broke, "allowed what the model refuses"
        for key, amount in net.items():
            self.money[key] += amount
        self.posted.append(list(made))
        for transfer in made:
            self.rows[chain_of(transfer, firm)] += 1

    def counts(self) -> list[tuple[object, ...]]:
        return self.desk.rows(
            "SELECT (SELECT count(*) FROM transfer), (SELECT sum(seq) FROM chain_head), "
            "(SELECT count(*) FROM balance)"
        )

    @rule(place=places, cents=amounts)
    def deposit(self, place: int, cents: int) -> None:
        self.post(recipes.deposit(self.accounts[place], cents, self.cause()), FirmId("firm_a"))

    @rule(place=places, cents=amounts, firm=firms)
    def advance(self, place: int, cents: int, firm: FirmId) -> None:
        self.post(recipes.advance(firm, self.accounts[place], cents, self.cause()), firm)

    @rule(cents=amounts, firm=firms)
    def repay(self, cents: int, firm: FirmId) -> None:
        self.post(recipes.repay_advance(firm, cents, self.cause()), firm)

    @rule(place=places, cents=amounts)
    def reserve(self, place: int, cents: int) -> None:
        self.post(recipes.reserve(self.accounts[place], cents, self.cause()), FirmId("firm_a"))

    @rule(place=places, cents=amounts)
    def release(self, place: int, cents: int) -> None:
        self.post(recipes.release(self.accounts[place], cents, self.cause()), FirmId("firm_b"))

    @rule(place=places, security=securities, cents=amounts, nanos=amounts)
    def buy(self, place: int, security: SecurityId, cents: int, nanos: int) -> None:
        made = recipes.buy(self.accounts[place], security, nanos, cents, self.cause())
        self.post(made, FirmId("firm_a"))

    @rule(place=places, security=securities, nanos=amounts, cents=amounts, fee=st.integers(0, 70))
    def sell(self, place: int, security: SecurityId, nanos: int, cents: int, fee: int) -> None:
        cause, mine = self.cause(), min(fee, cents)
        made = recipes.sell(self.accounts[place], security, nanos, cents, mine, cause)
        made += recipes.absorb_fee(FirmId("firm_a"), fee - mine, cause)
        self.post(made, FirmId("firm_a"))

    @rule(place=places, cents=amounts)
    def settle(self, place: int, cents: int) -> None:
        self.post(recipes.settle(self.accounts[place], cents, self.cause()), FirmId(""))

    @rule(place=places, cents=amounts)
    def promise(self, place: int, cents: int) -> None:
        made = recipes.promise_withdrawal(self.accounts[place], cents, self.cause())
        self.post(made, FirmId("firm_a"))

    @rule(place=places, cents=amounts, paid=st.booleans())
    def withdraw(self, place: int, cents: int, *, paid: bool) -> None:
        make = recipes.pay_withdrawal if paid else recipes.undo_withdrawal
        self.post(make(self.accounts[place], cents, self.cause()), FirmId("firm_a"))

    @rule(place=places, back=amounts, owed=st.integers(0, 50), firm=firms, lent=st.booleans())
    def take_back(self, place: int, back: int, owed: int, firm: FirmId, *, lent: bool) -> None:
        make = recipes.undo_advance if lent else recipes.return_deposit
        self.post(make(firm, self.accounts[place], back, owed, self.cause()), firm)

    @rule(place=places, cents=amounts, firm=firms)
    def cure(self, place: int, cents: int, firm: FirmId) -> None:
        self.post(recipes.cure(firm, self.accounts[place], cents, self.cause()), firm)

    @rule(
        parts=st.lists(
            st.tuples(places, st.sampled_from(["deposit", "reserve", "release"]), amounts),
            min_size=2,
            max_size=6,
        )
    )
    def several_at_once(self, parts: list[tuple[int, str, int]]) -> None:
        """Many accounts in one transaction: one that lacks money refuses all of them."""
        made = [
            transfer
            for place, name, cents in parts
            for transfer in getattr(recipes, name)(self.accounts[place], cents, self.cause())
        ]
        self.post(made, FirmId("firm_a"))

    @rule(place=places, over=st.integers(0, 1))
    def all_there_is_or_one_more(self, place: int, over: int) -> None:
        account = self.accounts[place]
        cents = self.money[chart.cash(account), chart.USD] + over
        if cents:
            self.post(recipes.promise_withdrawal(account, cents, self.cause()), FirmId("firm_a"))
        for security in (SecurityId(1), SecurityId(2)):
            nanos = self.money[chart.holdings(account), chart.shares(security)] + over
            if nanos:
                out = recipes.shares_out(account, security, nanos, self.cause())
                self.post(out, FirmId("firm_b"))

    @rule(data=st.data())
    def use_an_id_again(self, data: st.DataObject) -> None:
        if not self.posted:
            return
        again = data.draw(st.sampled_from(self.posted))
        mine = recipes.deposit(self.accounts[0], 5, self.cause())
        before = self.counts()
        with pytest.raises((IntegrityError, InsufficientFundsError)):
            self.post_raw([*mine, *again])
        assert self.counts() == before

    @rule(place=places)
    def too_much_for_the_database(self, place: int) -> None:
        """Amounts that together exceed 64 bits are refused by the database, never wrapped."""
        first, more = self.cause(), self.cause()
        account = self.accounts[place]
        made = recipes.deposit(account, INT64_MAX, first) + recipes.deposit(
            account, INT64_MAX, more
        )
        before = self.counts()
        with pytest.raises(Exception, match=r"(?i)out of range|too large|cannot store|overflow"):
            self.post_raw(made)
        assert self.counts() == before

    def post_raw(self, made: Sequence[Transfer]) -> None:
        with self.desk.db.write() as session:
            ledger.post(session, self.desk.keyring.chain, made, FirmId("firm_a"), self.desk.now)

    @invariant()
    def the_books_are_the_model(self) -> None:
        found = self.street_now()
        for place in self.accounts:
            rows = self.desk.rows(
                f"SELECT book, asset, amount FROM balance WHERE book LIKE 'customer/{place}/%'"
            )
            for book, asset, amount in rows:
                assert int(str(amount)) >= 0
                assert self.money[str(book), str(asset)] == amount
        for key, amount in self.money.items():
            if not key[0].startswith("customer/"):
                assert found.get(key, 0) - self.street.get(key, 0) == amount
        folded = fold(t for made in self.posted for t in made)
        assert {k: v for k, v in folded.items() if v} == {k: v for k, v in self.money.items() if v}

    @invariant()
    def every_asset_sums_to_zero_and_balances_are_their_transfers(self) -> None:
        with self.desk.db.read() as session:
            assert ledger.asset_sums(session) == {}
            assert ledger.differing_balances(session) == []

    @invariant()
    def every_chain_holds_and_has_as_many_rows_as_it_should(self) -> None:
        with self.desk.db.read() as session:
            key = self.desk.keyring.chain
            assert list(chains.check_chains(session, key, chain_tables(), {})) == []
            lengths = {name: seq for name, seq, _ in chains.heads(session)}
        for account in self.accounts:
            assert lengths.get(account, 0) == self.rows[account]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("machine") / "template.db", *FIRMS)


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def test_the_ledger_is_its_model_whatever_happens(desk: Desk) -> None:
    run_state_machine_as_test(
        lambda: LedgerMachine(desk), settings=settings(max_examples=25, stateful_step_count=20)
    )


@pytest.mark.postgres
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_the_ledger_is_its_model_on_postgresql_too(any_database: Database) -> None:
    desk = Desk(any_database)
    desk.found(*FIRMS)

    run_state_machine_as_test(
        lambda: LedgerMachine(desk), settings=settings(max_examples=4, stateful_step_count=15)
    )
