"""Which names an account follows: its basket, with what it may not own or buy replaced."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from baskets.basket import Basket
from baskets.building import replace_names
from baskets.errors import BuildError
from baskets.security_ids import with_siblings
from robo.core.errors import RestrictedError
from robo.core.ids import AccountId
from robo.core.money import PPM, split_cents
from robo.services import offering
from robo.store import accounts, chunks, households, people, universe
from robo.store.accounts import TargetWeight

GONE: Final = "it no longer trades"
BARRED: Final = "an owner of this account may not buy it"
WAITS: Final = "it may not be traded until the day that your trading limits say"
"""By a loss of the household's: not whose, because that may be another person's."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What a sleeve follows: a basket with names replaced, and its weights."""

    basket: Basket
    weights: tuple[TargetWeight, ...]

    def put(self, session: Session, at_micros: int) -> str:
        """Return the id of the target, written if it is new."""
        made = self.basket
        return accounts.put_target(
            session, made.id, made.version, self.weights, at_micros, made.data_note
        )


def followed(basket: Basket, why: Mapping[int, str]) -> Followed | None:
    """Return a basket without some names, each with its reason; None if it cannot be filled."""
    try:
        final = replace_names(basket, why.keys(), why)
    except BuildError:
        return None
    return Followed(final, _weights(final))


def _weights(basket: Basket) -> tuple[TargetWeight, ...]:
    return tuple(
        TargetWeight(one.security_id, one.weight_ppm, one.reason) for one in basket.constituents
    )


def lessened(
    weights: Sequence[TargetWeight], leaving: Collection[int]
) -> tuple[TargetWeight, ...] | None:
    """Return a target without some names whose share the others take; None if none is left."""
    staying = [one for one in weights if one.security_id not in leaving]
    if not staying:
        return None
    parts = split_cents(PPM, [one.weight_ppm for one in staying])
    return tuple(
        TargetWeight(one.security_id, ppm, one.note)
        for one, ppm in zip(staying, parts, strict=True)
    )


def waits(banned: Iterable[int], kept: Collection[int]) -> dict[int, str]:
    """Return the names that wait to be bought again, with all share classes of their companies.

    What is kept needs no understudy; and another share class of what was sold is none.
    """
    return {name: WAITS for name in sorted(with_siblings(banned)) if name not in kept}


def waits_for_names(weights: Sequence[TargetWeight]) -> bool:
    """Return whether a target has an understudy for a name that was sold at a loss."""
    return any(one.note.endswith(f"{WAITS}.") for one in weights)


def barred(session: Session, raw: chunks.RawChunk) -> dict[AccountId, dict[int, str]]:
    """Return account -> security -> why it may not be bought, as targets note it."""
    mine = [one for one in raw.sleeves if one.account_id in raw.restricted]
    shared = households.second_owners(session, [one.account_id for one in mine])
    return {
        one.account_id: _reasons(
            session,
            one.customer_id,
            raw.restricted[one.account_id],
            shared=one.account_id in shared,
        )
        for one in mine
    }


def _reasons(
    session: Session, customer_id: str, rules: Iterable[int], *, shared: bool
) -> dict[int, str]:
    """Return why names may not be bought: of two owners neither is told the other's reasons."""
    if shared:
        return dict.fromkeys(rules, BARRED)
    found: dict[int, str] = {}
    for row in people.restrictions(session, customer_id):
        found.setdefault(row.security_id, row.reason.rstrip("."))
    return {**dict.fromkeys(rules, BARRED), **found}


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
    return Followed(final, _weights(final)).put(session, at_micros)


def personal(
    session: Session, customer_id: str, basket: Basket, account_id: AccountId | None = None
) -> Basket:
    """Return a basket as this customer may hold it, or the account, which may have two owners.

    Raises:
        RestrictedError: If too few names are left to fill the basket.
    """
    ids = [] if account_id is None else [account_id]
    rules = [one for mine in chunks.restrictions(session, ids).values() for one in mine]
    shared = bool(households.second_owners(session, ids))
    reasons = _reasons(session, customer_id, rules, shared=shared)
    reasons |= dict.fromkeys(universe.gone(session), GONE)
    try:
        return replace_names(basket, reasons.keys(), reasons)
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
