"""Which wash sales there were, and whether they were meant.

Meant are only those that a withdrawal made, a trade elsewhere, or a customer who accepts that
losses are deferred into shares bought before. Everything else on a sale or purchase that we chose
is unintended, and there should be none.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from sqlmodel import Session

from robo.core.clock import business_date, from_micros
from robo.core.ids import AccountId, SecurityId
from robo.core.reasons import Reason
from robo.services.washing.folding import fold, people
from robo.store import arrivals, lot_history, tax_profiles
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
    CORPORATE_ACTION = "wash_corporate_action"
    """Nobody chose the sale: a merger paid in cash."""
    UNINTENDED = "wash_unintended"
    """We chose the sale or the purchase."""


INTENDED: Final = (WashKind.WITHDRAWAL, WashKind.OUTSIDE_TRADE, WashKind.OPTED_IN)
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
    deferred_cents: int
    lost_cents: int

    @property
    def unintended(self) -> int:
        """Return how many nobody meant."""
        return self.by_kind[WashKind.UNINTENDED]


@dataclass(slots=True)
class _Context:
    """What tells wash sales apart."""

    elsewhere: frozenset[AccountId]
    arrived: Mapping[str, str]
    """Lot -> when it came in kind from another firm, for those that did."""
    reasons: Mapping[str, str]
    choices: Mapping[str, Sequence[Choice]] = field(default_factory=dict)

    def opted_in(self, customer_id: str, on: date) -> bool:
        """Return whether a customer accepted deferral on a day."""
        made = [
            one
            for one in self.choices.get(customer_id, ())
            if business_date(from_micros(one.at)) <= on
        ]
        return bool(made and made[-1].buy_buy_sell)


def wash_sales(
    session: Session,
    books: Books,
    customer_id: str,
    accounts: Collection[AccountId],
    elsewhere: Collection[AccountId],
) -> list[WashSale]:
    """Return the disallowed losses of one person's sales, in the order in which they became so.

    Args:
        session: The one the books were read with.
        books: Of the person's household.
        customer_id: Whose choices count.
        accounts: The person's own, those elsewhere included.
        elsewhere: All accounts of the household at other firms.
    """
    mine = frozenset(accounts)
    rows = [
        (match, books.disposals[match.disposal])
        for match in books.matches
        if books.disposals[match.disposal].account_id in mine
    ]
    if not rows:
        return []
    context = _Context(
        frozenset(elsewhere),
        arrivals.arrived_on(session, sorted({match.account_id for match, _ in rows})),
        lot_history.reasons(session, [sold.sale_id for _, sold in rows]),
        tax_profiles.history(session, [customer_id]),
    )
    return [_told(match, sold, customer_id, context) for match, sold in rows]


def counts(session: Session, customer_ids: Collection[str], on: date) -> Counts:
    """Return the wash sales of people, whole households folded, each sale counted once."""
    known = people(session, customer_ids)
    folded = fold(session, known, customer_ids, on)
    found: list[WashSale] = []
    for customer in customer_ids:
        mine = known.accounts[customer]
        found += wash_sales(session, folded[customer], customer, mine, known.elsewhere)
    return counted(found)


def counted(found: Collection[WashSale]) -> Counts:
    """Return how many of each kind there are; sales count once a kind, whatever their parts."""
    once = {(one.kind, one.account_id, one.sale_id) for one in found}
    tally = Counter(kind for kind, _, _ in once)
    return Counts(
        {kind: tally[kind] for kind in WashKind},
        sum(one.cents for one in found if not one.lost),
        sum(one.cents for one in found if one.lost),
    )


def _told(match: Match, sold: Disposal, customer_id: str, context: _Context) -> WashSale:
    return WashSale(
        _kind(match, sold, customer_id, context),
        sold.account_id,
        sold.security_id,
        sold.sale_id,
        sold.sold_on,
        match.on,
        match.nanos,
        match.cents,
        match.lost,
    )


def _kind(match: Match, sold: Disposal, customer_id: str, context: _Context) -> WashKind:
    # What came in kind after the sale was bought at another firm.
    brought = sold.sold_on.isoformat() < context.arrived.get(match.lot_id, "")
    if brought or {sold.account_id, match.account_id} & context.elsewhere:
        return WashKind.OUTSIDE_TRADE
    if not match.bought_first:
        return WashKind.UNINTENDED  # buying after a loss is never allowed
    reason = context.reasons.get(sold.sale_id, "")
    if reason in _OUT:
        return WashKind.WITHDRAWAL
    if not reason:
        return WashKind.CORPORATE_ACTION
    if not match.lost and context.opted_in(customer_id, sold.sold_on):
        return WashKind.OPTED_IN
    return WashKind.UNINTENDED
