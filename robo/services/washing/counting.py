"""Which wash sales there were, and whether they were meant.

Meant are only those that a withdrawal made, a trade elsewhere, or a customer who accepts that
losses are deferred into shares bought before. Everything else on a sale or purchase that we chose
is unintended, and there should be none. So is what two people who have since said that they count
together had sent before they said so: nobody could know, but nobody meant it. It has a kind of its
own, so that a fault of a plan can be told from it.

The later of sale and purchase makes a wash sale: whose that was, and what was known when it was
sent, decides. A trade elsewhere that had been imported before excuses nothing.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from typing import Final

from sqlmodel import Session

from robo.core.clock import NEW_YORK, to_micros
from robo.core.ids import AccountId, SecurityId
from robo.core.reasons import Reason
from robo.services.washing.folding import People, fold, people
from robo.store import arrivals, lot_history, outside_trades, tax_profiles
from robo.store.lot_history import Sent
from robo.store.tax_profiles import Choice
from robo.tax.wash_events import Disposal, Match
from robo.tax.wash_sales import Books


class WashKind(StrEnum):
    """Why a loss was disallowed."""

    WITHDRAWAL = "wash_withdrawal"
    """A withdrawal, or closing, sold at a loss what had been bought within 30 days before."""
    OUTSIDE_TRADE = "wash_outside_trade"
    """The sale or the purchase was elsewhere."""
    OPTED_IN = "wash_opted_in"
    """Buy-buy-sell: the customer accepts that a loss is deferred into shares bought before."""
    BEFORE_HOUSEHOLD = "wash_before_household"
    """The other side was somebody's with whom there was no household yet when the order went out.

    The two have said since that they counted together by then, or orders crossed as they said so.
    We chose that order, so nobody meant it: it is counted as unintended, on a line of its own.
    """
    UNINTENDED = "wash_unintended"
    """We chose the sale or the purchase; a merger paid in cash soon after a purchase, too."""


INTENDED: Final = frozenset({WashKind.WITHDRAWAL, WashKind.OUTSIDE_TRADE, WashKind.OPTED_IN})
"""All others are unintended."""
_OUT: Final = frozenset({Reason.SELL_WITHDRAWAL, Reason.SELL_CLOSE_OUT})


@dataclass(frozen=True, slots=True)
class WashSale:
    """A disallowed loss of one of somebody's sales; whose purchase it was is not told."""

    kind: WashKind
    account_id: AccountId
    security_id: SecurityId
    sale_id: str
    sold_on: date
    disallowed_on: date
    nanos: int
    cents: int
    lost: bool
    """Gone for good: the purchase was an IRA's."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many wash sales there were, by kind, and what they came to."""

    by_kind: Mapping[WashKind, int]
    intended: int
    """Sales with a loss disallowed by a kind of `INTENDED`."""
    unintended: int
    """Sales with one that nobody meant: by any other kind."""
    deferred_cents: int
    lost_cents: int


@dataclass(frozen=True, slots=True)
class _Sides:
    """What tells wash sales of one person's sales apart."""

    customer_id: str
    known: People
    arrived: Mapping[str, str]
    """Lot -> when it came in kind from another firm, for those that did."""
    sales: Mapping[str, Sent]
    """Sale -> its order, where it had one."""
    buys: Mapping[str, Sent]
    """Lot -> the order that bought it, where one did."""
    imported: Mapping[str, int]
    """Trade elsewhere -> when we learnt of it."""
    choices: Sequence[Choice]

    def kind(self, match: Match, sold: Disposal) -> WashKind:
        """Return why a loss was disallowed."""
        sale, buy = self.sales.get(sold.sale_id), self.buys.get(match.lot_id)
        sold_last = match.bought_first
        if sale is not None and buy is not None:
            # The law counts days; what came first within one is what was executed first.
            sold_last = sold_last and buy.executed_at < sale.executed_at
        later = sale if sold_last else buy
        at = _day_of(match.on) if later is None else later.sent_at
        if self._elsewhere(match, sold) and not self._knew(match, sold, later, sold_last=sold_last):
            return WashKind.OUTSIDE_TRADE
        reason, chosen = ("", at) if sale is None else (sale.reason, sale.planned_at)
        if sold_last and reason in _OUT:
            return WashKind.WITHDRAWAL
        if sold_last and not match.lost and self._accepts(chosen):
            return WashKind.OPTED_IN
        if self._joined_at(match) > at:
            return WashKind.BEFORE_HOUSEHOLD
        return WashKind.UNINTENDED

    def _elsewhere(self, match: Match, sold: Disposal) -> bool:
        # What came in kind after the sale was bought at another firm.
        brought = sold.sold_on.isoformat() < self.arrived.get(match.lot_id, "")
        return brought or bool({sold.account_id, match.account_id} & set(self.known.elsewhere))

    def _knew(self, match: Match, sold: Disposal, later: Sent | None, *, sold_last: bool) -> bool:
        """Return whether our later order went out when the trade elsewhere was known to us."""
        if later is None:
            return False  # the later one was itself elsewhere, or nobody's order
        told = self.imported.get(match.lot_id if sold_last else sold.sale_id)
        return told is not None and max(told, self._joined_at(match)) <= later.sent_at

    def _joined_at(self, match: Match) -> int:
        """Return since when we knew that who bought counts with who sold."""
        if match.account_id in self.known.accounts[self.customer_id]:
            return 0
        day = match.on.isoformat()
        for mine in self.known.memberships.get(self.customer_id, ()):
            if mine.since_on <= day and (mine.left_on is None or day < mine.left_on):
                return mine.joined_at
        return 0

    def _accepts(self, at: int) -> bool:
        """Return whether the customer accepted deferral at an instant."""
        made = [one for one in self.choices if one.at <= at]
        return bool(made and made[-1].buy_buy_sell)


def wash_sales(
    session: Session,
    books: Books,
    known: People,
    customer_id: str,
    accounts: Collection[AccountId],
) -> list[WashSale]:
    """Return the disallowed losses of one person's sales, in the order in which they became so.

    Args:
        session: The one the books were read with.
        books: Of the person's household.
        known: The people the books were folded for.
        customer_id: Whose choices count.
        accounts: Of the person's own, those elsewhere included, which are asked about.
    """
    mine = frozenset(accounts)
    rows = [
        (match, books.disposals[match.disposal])
        for match in books.matches
        if books.disposals[match.disposal].account_id in mine
    ]
    if not rows:
        return []
    lots, sales = [match.lot_id for match, _ in rows], [sold.sale_id for _, sold in rows]
    sides = _Sides(
        customer_id,
        known,
        arrivals.arrived_on(session, sorted({match.account_id for match, _ in rows})),
        lot_history.sent(session, sales),
        lot_history.opened(session, lots),
        outside_trades.imported_at(session, [*lots, *sales]) if known.elsewhere else {},
        tax_profiles.history(session, [customer_id]).get(customer_id, ()),
    )
    return [_told(match, sold, sides.kind(match, sold)) for match, sold in rows]


def counts(session: Session, customer_ids: Collection[str], on: date) -> Counts:
    """Return the wash sales of people, whole households folded, each sale counted once."""
    known = people(session, customer_ids)
    folded = fold(session, known, customer_ids, on)
    found: list[WashSale] = []
    for customer in customer_ids:
        found += wash_sales(session, folded[customer], known, customer, known.accounts[customer])
    return counted(found)


def counted(found: Collection[WashSale]) -> Counts:
    """Return how many of each kind there are; sales count once a kind, whatever their parts."""
    once = {(one.kind, one.account_id, one.sale_id) for one in found}
    tally = Counter(kind for kind, _, _ in once)
    meant = {(one.kind in INTENDED, one.account_id, one.sale_id) for one in found}
    return Counts(
        {kind: tally[kind] for kind in WashKind},
        sum(1 for wanted, _, _ in meant if wanted),
        sum(1 for wanted, _, _ in meant if not wanted),
        sum(one.cents for one in found if not one.lost),
        sum(one.cents for one in found if one.lost),
    )


def _told(match: Match, sold: Disposal, kind: WashKind) -> WashSale:
    return WashSale(
        kind,
        sold.account_id,
        sold.security_id,
        sold.sale_id,
        sold.sold_on,
        match.on,
        match.nanos,
        match.cents,
        match.lost,
    )


def _day_of(on: date) -> int:
    """Return the first instant of a day in New York, for what had no order."""
    return to_micros(datetime.combine(on, time(), NEW_YORK))
