"""What people have realised, year by year, after the wash sales of their households."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import Final

from sqlmodel import Session

from robo.core.reasons import Reason
from robo.services.washing.histories import History
from robo.store import lot_history
from robo.tax.gains import Net, is_long
from robo.tax.wash_events import AccountKind

NOT_CHOSEN: Final = frozenset({"", Reason.SELL_WITHDRAWAL, Reason.SELL_CLOSE_OUT})
"""Reasons of sales that we did not choose: withdrawals, closing, and, without one, mergers."""


@dataclass(slots=True)
class Gains:
    """One person's net gains by year, elsewhere included as far as it was imported."""

    by_year: dict[int, Net] = field(default_factory=dict)
    chosen: dict[int, Net] = field(default_factory=dict)
    """Of sales in our accounts that we chose."""

    def add(self, year: int, net: Net, *, chosen: bool) -> None:
        """Count a sale."""
        self.by_year[year] = self.by_year.get(year, Net()) + net
        if chosen:
            self.chosen[year] = self.chosen.get(year, Net()) + net


def gains(
    session: Session, history: History, customer_ids: Collection[str], first_year: int
) -> dict[str, Gains]:
    """Return what people have realised since the first day of a year, up to the history's day.

    Args:
        session: The one the history was read with.
        history: Of these people.
        customer_ids: Whose; a joint account counts for its first owner.
        first_year: Earlier years are left out.
    """
    made = {customer: Gains() for customer in customer_ids}
    known = history.known
    taxable = [
        account
        for customer in customer_ids
        for account, kind in known.accounts[customer].items()
        if kind is AccountKind.TAXABLE
    ]
    ours = frozenset(known.ours)
    why: dict[str, str] = {}
    wanted = [account for account in taxable if account in ours]
    for row in lot_history.sold(session, wanted, f"{first_year:04d}-01-01"):
        sold_on = date.fromisoformat(row.on_date)
        why[row.cause] = row.reason
        if sold_on > history.on or history.is_folded(row.account_id, row.security_id):
            continue
        net = _net(
            date.fromisoformat(row.acquired_on), sold_on, row.proceeds_cents - row.basis_cents
        )
        chosen = row.reason not in NOT_CHOSEN
        made[history.owner[row.account_id]].add(sold_on.year, net, chosen=chosen)
    for customer in customer_ids:
        mine = frozenset(known.accounts[customer])
        for sold in chain.from_iterable(one.disposals for one in history.books.get(customer, ())):
            if sold.account_id in mine and sold.sold_on.year >= first_year:
                net = _net(sold.held_from, sold.sold_on, sold.recognised_cents)
                chosen = why.get(sold.sale_id, "") not in NOT_CHOSEN and sold.account_id in ours
                made[customer].add(sold.sold_on.year, net, chosen=chosen)
    return made


def _net(held_from: date, sold_on: date, cents: int) -> Net:
    return Net(0, cents) if is_long(held_from, sold_on) else Net(cents, 0)
