"""Masks: who obeys them has no wash sale, and what they forbid would be one."""

import random
from collections.abc import Iterator
from datetime import date

import pytest
from tax_unit_shares import KINDS

from robo.core.ids import LotId, SecurityId
from robo.tax.harvest import Masks, masks
from robo.tax.wash_events import AccountKind, Event, Move, Purchase, Rescale, Sale, Succession
from robo.tax.wash_lots import Lot
from robo.tax.wash_sales import Books

NAMES = [SecurityId(1), SecurityId(2)]
ACCOUNTS = list(KINDS)
FIRST = 738_000


class Trader:
    """Trades for three accounts of a household at random, but never against the masks of the day.

    Several trades a day, each asked about with those before it; splits and mergers between them.
    """

    def __init__(self, seed: int, *, buy_buy_sell: bool) -> None:
        self.dice = random.Random(seed)
        self.books = Books(KINDS)
        self.on = FIRST + seed % 1_461
        self.accepts = buy_buy_sell
        self.count = 0

    def next_id(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def days(self, most: int) -> Iterator[date]:
        """Let days happen; yield each morning, before anything is planned."""
        for _ in range(most):
            self.on += self.dice.choice((1, 3, 8, 17, 30, 31))
            today = date.fromordinal(self.on)
            if self.dice.random() < 0.1:
                self.books.apply(today, self.act())
                continue
            yield today
            self.books.apply(today, self.trades(today))

    def trades(self, today: date) -> list[Event]:
        events: list[Event] = []
        bought: set[SecurityId] = set()
        lost: set[SecurityId] = set()
        touched: set[LotId] = set()
        for _ in range(self.dice.choice((1, 2, 2, 3))):
            mask = masks(
                self.books,
                today,
                buy_buy_sell=self.accepts,
                planned_purchases=bought,
                planned_loss_sales=lost,
            )
            name = self.dice.choice(NAMES)
            if self.dice.random() < 0.5:
                lots = [lot for lot in self.books.shelf if lot.security_id == name and lot.nanos]
                lots = [lot for lot in lots if lot.id not in touched and self.taxed(lot)]
                if lots:
                    lot = self.dice.choice(lots)
                    touched.add(lot.id)
                    events.append(self.sale(lot, mask, lost))
            elif name not in mask.no_purchase:
                account, nanos = self.dice.choice(ACCOUNTS), self.dice.randint(1, 5)
                cents = self.dice.randint(0, 500)
                events.append(Purchase(account, name, LotId(self.next_id()), nanos, cents))
                bought.add(name)
        return events

    def sale(self, lot: Lot, mask: Masks, lost: set[SecurityId]) -> Sale:
        """Of a lot, or a part; for any price where a loss is allowed, for a gain elsewhere."""
        gain = lot.id in mask.no_loss
        whole = gain or lot.id in mask.whole_only or self.dice.random() < 0.5
        nanos = lot.nanos if whole else self.dice.randint(1, lot.nanos)
        basis = lot.basis_cents if nanos == lot.nanos else lot.basis_cents * nanos // lot.nanos
        added = sum(piece.added(piece.nanos) for piece in lot.pieces)
        # High enough that every piece gains, where a loss is forbidden.
        dear = (basis + added + 1) * 100 * nanos
        proceeds = dear if gain else self.dice.randint(0, 90) * nanos
        if not gain:
            lost.add(lot.security_id)
        return Sale(self.next_id(), lot.id, nanos, basis, proceeds)

    def act(self) -> list[Event]:
        """A split of a name, or its merger into the other one."""
        old, other = self.dice.sample(NAMES, 2)
        new = self.dice.choice((old, other))
        num, den = self.dice.choice(((2, 1), (3, 2), (1, 2), (1, 3)))
        events: list[Event] = [Succession(old, new, num, den)]
        for lot in [lot for lot in self.books.shelf if lot.security_id == old and lot.nanos]:
            nanos = lot.nanos * num // den
            if new == old:
                events.append(Rescale(lot.id, nanos))
            else:
                heir = LotId(self.next_id())
                events.append(Move(lot.id, heir, new, nanos, lot.basis_cents, leaving=True))
        return events

    def taxed(self, lot: Lot) -> bool:
        return KINDS[lot.account_id] is AccountKind.TAXABLE


def lived(seed: int, *, buy_buy_sell: bool) -> Books:
    trader = Trader(seed, buy_buy_sell=buy_buy_sell)
    for _ in trader.days(12):
        pass
    return trader.books


def obeys(seeds: range) -> dict[str, int]:
    """Check that no stream has an unintended wash sale; return what happened in them.

    Every fourth household accepts deferral: its wash sales are all of the kind that it accepts.
    """
    seen = dict.fromkeys(("streams", "sales", "losses", "deferred"), 0)
    for seed in seeds:
        accepts = seed % 4 == 0
        books = lived(seed, buy_buy_sell=accepts)
        meant = [one for one in books.matches if one.bought_first and not one.lost]
        assert len(books.matches) == (len(meant) if accepts else 0), seed
        seen["streams"] += 1
        seen["sales"] += len(books.disposals)
        seen["losses"] += sum(row.gain_cents < 0 for row in books.disposals)
        seen["deferred"] += len(meant)
    return seen


def test_ten_thousand_streams_that_obey_the_masks_have_no_unintended_wash_sale() -> None:
    seen = obeys(range(10_000))

    assert seen["losses"] > 10_000
    assert seen["deferred"] > 1_000


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(20))
def test_a_million_streams_that_obey_the_masks_have_no_unintended_wash_sale(part: int) -> None:
    seen = obeys(range(10**6 + part * 50_000, 10**6 + (part + 1) * 50_000))

    print(part, seen)
    assert seen["streams"] == 50_000
    assert seen["losses"] > 50_000


@pytest.mark.parametrize("accepts", [False, True])
def test_what_the_masks_forbid_would_be_a_wash_sale(accepts: bool) -> None:  # noqa: FBT001 - a case
    tried = 0
    for seed in range(150):
        trader = Trader(seed, buy_buy_sell=accepts)
        for today in trader.days(12):
            mask = masks(trader.books, today, buy_buy_sell=accepts)
            tried += sum(1 for _ in forbidden(trader.books, today, mask))

    assert tried > 500


def forbidden(books: Books, today: date, mask: Masks) -> Iterator[Event]:
    """Try each thing that a day forbids, and check that it makes a wash sale."""
    events: list[Event] = [
        Purchase(account, name, LotId("try"), 1, 1)
        for name in mask.no_purchase
        for account in ACCOUNTS
    ]
    events += [
        Sale("try", lot.id, lot.nanos, lot.basis_cents, 0)
        for lot in books.shelf
        if lot.id in mask.no_loss and lot.nanos and lot.basis_cents
    ]
    for event in events:
        tried = books.copy()
        tried.apply(today, [event])
        assert len(tried.matches) > len(books.matches)
        yield event


def test_a_fresh_lot_alone_may_be_sold_at_a_loss_whole_but_not_in_part() -> None:
    books, on = Books(KINDS), date(2026, 6, 1)
    books.apply(on, [Purchase(ACCOUNTS[0], NAMES[0], LotId("a"), 4, 400)])
    day = date(2026, 6, 5)

    mask = masks(books, day)
    whole, part = books.copy(), books.copy()
    whole.apply(day, [Sale("s", LotId("a"), 4, 400, 1)])
    part.apply(day, [Sale("s", LotId("a"), 2, 200, 1)])

    assert mask.no_loss == {}
    assert mask.whole_only == {LotId("a"): date(2026, 7, 2)}
    assert (len(whole.matches), len(part.matches)) == (0, 1)


def test_planned_trades_of_the_day_are_masked_too() -> None:
    books, on = Books(KINDS), date(2026, 1, 5)
    books.apply(on, [Purchase(ACCOUNTS[0], NAMES[0], LotId("a"), 4, 400)])
    day, after = date(2026, 6, 5), date(2026, 7, 6)

    assert masks(books, day).no_loss == masks(books, day).no_purchase == {}
    assert masks(books, day, planned_purchases=NAMES).no_loss == {LotId("a"): after}
    # Bought later that day, it would be buy-sell-buy: nobody can accept that.
    mask = masks(books, day, buy_buy_sell=True, planned_purchases=NAMES)
    assert mask.no_loss == {LotId("a"): after}
    assert masks(books, day, planned_loss_sales=NAMES[1:]).no_purchase == {NAMES[1]: after}
