"""Who may use what: some choices begin with larger accounts, as `tables/ladders.toml` says.

Asked only of what a customer newly chooses: what was allowed once stays when a balance falls.
"""

from collections.abc import Collection
from typing import Final

from sqlmodel import Session

from robo.core.errors import RefusedError
from robo.core.money import format_cents
from robo.portfolio import ladder
from robo.portfolio.ladder import Book
from robo.ports.broker import Capabilities
from robo.store import accounts, worths

_CALLED: Final = {
    "custom_index": "An index of your own",
    "dense": "The dense ladder",
    "gain_budget": "A budget for gains",
    "names": "A limit of names",
    "tax_mode": "Another tax mode",
    "theme": "A theme that stays",
    "tilts": "Tilts",
}


def require(
    features: Collection[str],
    balance_cents: int,
    book: Book | None = None,
    *,
    can: Capabilities | None = None,
) -> None:
    """Refuse features that do not belong to a balance's segment, or that a broker cannot do.

    Args:
        features: Words of `tables/ladders.toml`.
        balance_cents: What the account is worth; for choices of a customer, all accounts.
        book: Ladders and segments; those that ship with us if left out.
        can: What the account's broker can do, where a feature may depend on it.

    Raises:
        RefusedError: If one may not be used yet (`segment_too_small`) or by nobody
            (`segment_unknown`), or if small positions are asked for where only whole shares trade
            (`dense_needs_fractions`): most of them would never hold a share.
    """
    found = book or ladder.book()
    allowed = found.segment(balance_cents).may_use
    for feature in sorted(set(features) - allowed):
        name, begins = _CALLED.get(feature, feature), found.begins_cents(feature)
        if begins is None:
            message = f"{name} cannot be chosen."
            raise RefusedError(message, code="segment_unknown")
        message = (
            f"{name}: from ${format_cents(begins)} on. "
            "Exclusions, themes and the tax mode work at every size."
        )
        raise RefusedError(message, code="segment_too_small")
    if can is not None and "dense" in features and not can.fractional:
        message = "The dense ladder needs a broker with fractional shares."
        raise RefusedError(message, code="dense_needs_fractions")


def require_of_customer(
    session: Session, customer_id: str, features: Collection[str], book: Book | None = None
) -> None:
    """Refuse features that do not belong to what a customer's accounts come to together.

    Raises:
        RefusedError: See `require`.
    """
    found = book or ladder.book()
    if not set(features) - found.segments[0].may_use:
        return  # everybody may: nothing has to be added up
    mine = accounts.of_customers(session, [customer_id])
    require(features, worths.at_last_marks(session, mine), found)
