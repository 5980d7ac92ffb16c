"""Which names an account follows: its basket, with what the customer may not own replaced."""

from collections.abc import Sequence

from sqlmodel import Session

from baskets.basket import Basket
from baskets.building import replace_names
from baskets.errors import BuildError
from robo.core.errors import RestrictedError
from robo.core.ids import AccountId
from robo.services import offering
from robo.store import accounts, chunks, people, universe


def resolve(
    session: Session,
    customer_id: str,
    basket: Basket,
    at_micros: int,
    account_id: AccountId | None = None,
) -> str:
    """Return the id of the target that a customer's account follows, written if it is new.

    Names that an owner of it may not buy, and names that no longer trade, are replaced by the
    basket's understudies, each with the reason.

    Raises:
        RestrictedError: If too few names are left to fill the basket.
    """
    final = personal(session, customer_id, basket, account_id)
    weights = [
        accounts.TargetWeight(one.security_id, one.weight_ppm, one.reason)
        for one in final.constituents
    ]
    return accounts.put_target(
        session, final.id, final.version, weights, at_micros, final.data_note
    )


def personal(
    session: Session, customer_id: str, basket: Basket, account_id: AccountId | None = None
) -> Basket:
    """Return a basket as this customer may hold it, or the account, which may have two owners.

    Raises:
        RestrictedError: If too few names are left to fill the basket.
    """
    barred = set(chunks.of_customers(session, [customer_id]).get(customer_id, {}))
    if account_id is not None:
        barred |= chunks.restrictions(session, [account_id]).get(account_id, {}).keys()
    gone = universe.gone(session)
    reasons: dict[int, str] = {}
    for row in people.restrictions(session, customer_id):
        reasons.setdefault(row.security_id, row.reason.rstrip("."))
    reasons |= dict.fromkeys(gone, "it no longer trades")
    try:
        return replace_names(basket, barred | gone, reasons)
    except BuildError as error:
        message = "your restrictions leave too few names of this basket; choose another"
        raise RestrictedError(message, code="basket_too_restricted") from error


def refresh(session: Session, account_ids: Sequence[AccountId], at_micros: int) -> int:
    """Point accounts at what their basket means today; return how many changed.

    Called when restrictions change and when a name stops trading. Nothing is sold: a name that left
    the target is simply bought no more. An account whose basket can no longer be filled, or is not
    offered any more on the firm's scores, keeps its target; the names it may not buy are skipped,
    with the reason.
    """
    changes: list[tuple[str, str]] = []
    for sleeve in accounts.sleeves(session, account_ids).values():
        if sleeve.kind != "basket":
            continue  # its target is a sample: the next review of its ladder makes another
        basket = offering.of_firm(session, sleeve.firm_id).catalog.baskets.get(sleeve.basket_id)
        if basket is None:
            continue
        try:
            target_id = resolve(session, sleeve.customer_id, basket, at_micros, sleeve.account_id)
        except RestrictedError:
            continue
        if target_id != sleeve.target_id:
            changes.append((sleeve.id, target_id))
    accounts.retarget(session, changes, at_micros)
    return len(changes)
