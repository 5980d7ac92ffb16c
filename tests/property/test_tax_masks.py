"""Masks: who obeys them has no wash sale, and what they forbid would be one."""

import random
from datetime import date

from tax_unit_shares import KINDS

from robo.core.ids import AccountId, LotId, SecurityId
from robo.tax.harvest import masks
from robo.tax.wash_events import AccountKind, Event, Purchase, Sale
from robo.tax.wash_sales import Books

NAMES = [SecurityId(1), SecurityId(2)]


def trade(seed: int, days: int, *, buy_buy_sell: bool) -> tuple[Books, int]:
    """Trade at random, but never against the masks; check a little of what they forbid."""
    dice, books, on, forbidden = random.Random(seed), Books(KINDS), 738_000 + seed, 0
    for _ in range(days):
        on += dice.choice((1, 3, 8, 17, 30, 31))
        today, events = date.fromordinal(on), []
        name, other = dice.sample(NAMES, 2)
        mask = masks(books, today, buy_buy_sell=buy_buy_sell)
        events = sale_of(dice, books, name, mask.no_loss.keys(), mask.whole_only.keys())
        for one in (name, other):
            if one == name and events and not buy_buy_sell:
                continue  # sold today: bought another day
            if one == name and events and is_loss(books, events):
                continue
            account = dice.choice(list(KINDS))
            if KINDS[account] is AccountKind.IRA and one == name and events:
                continue
            buy = Purchase(
                account, one, LotId(f"{on}{one}"), dice.randint(1, 5), dice.randint(0, 500)
            )
            if one not in mask.no_purchase:
                events.append(buy)
            else:
                forbidden += 1
                tried = books.copy()
                tried.apply(today, [buy])
                assert len(tried.matches) > len(books.matches)
        forbidden += forbidden_sales_wash(books, today, mask.no_loss.keys())
        books.apply(today, events)
    return books, forbidden


def is_loss(books: Books, events: list[Event]) -> bool:
    tried = books.copy()
    tried.apply(date.max.replace(year=9000), events)
    return any(row.gain_cents < 0 for row in tried.disposals[len(books.disposals) :])


def sale_of(
    dice: random.Random, books: Books, name: SecurityId, no_loss: object, whole_only: object
) -> list[Event]:
    lots = [lot for lot in books.shelf if lot.security_id == name and lot.nanos]
    lots = [lot for lot in lots if books.kinds[lot.account_id] is AccountKind.TAXABLE]
    if not lots or dice.random() < 0.4:
        return []
    lot = dice.choice(lots)
    added = sum(p.added_cents for p in books.positions() if p.lot_id == lot.id)
    gain = lot.id in no_loss  # type: ignore[operator] # a set
    whole = gain or lot.id in whole_only or dice.random() < 0.5  # type: ignore[operator] # a set
    nanos = lot.nanos if whole else dice.randint(1, lot.nanos)
    basis = lot.basis_cents if nanos == lot.nanos else lot.basis_cents * nanos // lot.nanos
    # High enough that every piece gains, where a loss is forbidden.
    proceeds = (basis + added + 1) * 100 * nanos if gain else dice.randint(0, 90) * nanos
    return [Sale(f"s{lot.id}", lot.id, nanos, basis, proceeds)]


def forbidden_sales_wash(books: Books, today: date, no_loss: object) -> int:
    count = 0
    for lot in list(books.shelf):
        if lot.id in no_loss and lot.basis_cents:  # type: ignore[operator] # a set
            tried = books.copy()
            tried.apply(today, [Sale("try", lot.id, lot.nanos, lot.basis_cents, 0)])
            assert len(tried.matches) > len(books.matches)
            count += 1
    return count


def test_who_obeys_the_masks_has_no_wash_sale() -> None:
    forbidden = 0
    for seed in range(600):
        books, tried = trade(seed, 12, buy_buy_sell=False)
        assert books.matches == [], seed
        forbidden += tried

    assert forbidden > 1_000


def test_buy_buy_sell_by_choice_defers_but_never_loses_and_buy_sell_buy_never() -> None:
    deferred = 0
    for seed in range(600):
        books, _ = trade(seed, 12, buy_buy_sell=True)
        assert all(match.bought_first and not match.lost for match in books.matches), seed
        deferred += len(books.matches)

    assert deferred > 100


def test_a_fresh_lot_alone_may_be_sold_at_a_loss_whole_but_not_in_part() -> None:
    books, on = Books(KINDS), date(2026, 6, 1)
    books.apply(on, [Purchase(AccountId("me"), NAMES[0], LotId("a"), 4, 400)])
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
    books.apply(on, [Purchase(AccountId("me"), NAMES[0], LotId("a"), 4, 400)])
    day, after = date(2026, 6, 5), date(2026, 7, 6)

    assert masks(books, day).no_loss == masks(books, day).no_purchase == {}
    assert masks(books, day, planned_purchases=NAMES).no_loss == {LotId("a"): after}
    # Bought later that day, it would be buy-sell-buy: nobody can accept that.
    mask = masks(books, day, buy_buy_sell=True, planned_purchases=NAMES)
    assert mask.no_loss == {LotId("a"): after}
    assert masks(books, day, planned_loss_sales=NAMES[1:]).no_purchase == {NAMES[1]: after}
