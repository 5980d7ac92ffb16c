"""Households that form and end: two books become one, and one becomes two.

The books of a household know no people, only accounts. Who counts together is decided outside; on
the day it changes, books are joined or parted before the day's events. What was replaced before
stays replaced, wherever it sits.
"""

from collections.abc import Collection
from dataclasses import replace

from robo.core.ids import AccountId
from robo.tax.wash_lots import Claim
from robo.tax.wash_sales import Books


def join(one: Books, other: Books) -> Books:
    """Return the books of two households that count together from now on.

    Shares that either bought in the last 30 days may replace what the other sells from now on, and
    purchases from now on replace what either has sold: stricter than need be for 30 days.

    Args:
        one: Its purchases of a day come before those of the other.
        other: Has no account of the first.

    Raises:
        ValueError: If an account is in both.
    """
    both = one.kinds.keys() & other.kinds.keys()
    if both:
        message = f"{sorted(both)} are in both households"
        raise ValueError(message)
    made, rest = one.copy(), other.copy()
    rows, places = len(made.disposals), made.places
    made.kinds |= rest.kinds
    made.day = max(made.day, rest.day)
    made.disposals += rest.disposals
    made.matches += [replace(match, disposal=match.disposal + rows) for match in rest.matches]
    for lot in rest.shelf:
        lot.place += places
        made.shelf.put(lot)
    made.places += rest.places
    for name, claims in rest.waiting.items():
        moved = [_renumbered(claim, rows, places) for claim in claims]
        made.waiting[name] = sorted(
            [*made.waiting.get(name, []), *moved], key=lambda claim: claim.order
        )
    return made


def part(books: Books, accounts: Collection[AccountId]) -> Books:
    """Return what is left of a household's books for those who leave with some of its accounts.

    Their sales keep what was disallowed, and their lots what was added, whoever's sales or shares
    the other side of it were.
    """
    mine = frozenset(accounts)
    whole = books.copy()
    made = Books({account: kind for account, kind in books.kinds.items() if account in mine})
    made.day, made.places = whole.day, whole.places
    number: dict[int, int] = {}
    for row, sold in enumerate(whole.disposals):
        if sold.account_id in mine:
            number[row] = len(made.disposals)
            made.disposals.append(sold)
    made.matches = [
        replace(match, disposal=number[match.disposal])
        for match in whole.matches
        if match.disposal in number
    ]
    for lot in whole.shelf:
        if lot.account_id in mine:
            made.shelf.put(lot)
    for name, claims in whole.waiting.items():
        kept = [
            _renumbered(claim, number[claim.disposal] - claim.disposal, 0)
            for claim in claims
            if claim.disposal in number
        ]
        if kept:
            made.waiting[name] = kept
    return made


def _renumbered(claim: Claim, rows: int, places: int) -> Claim:
    sold_on, bought_on, place, row = claim.order
    return replace(claim, order=(sold_on, bought_on, place + places, row + rows))
