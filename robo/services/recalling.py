"""What plans say of names they leave alone: each reason once, until it changes or has passed.

A name may be blocked for months, and every night finds it blocked again. What an account was told
is kept, so that the books grow with news and not with nights.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlmodel import Session

from robo.services.ordering import Plan
from robo.store import standing


def news(session: Session, plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans that trade, or that leave other names alone than was told, or say why else.

    Args:
        session: Of any snapshot; what is written is compared again.
        plans: Of different accounts.
    """
    known = standing.of_accounts(session, [one.sleeve.account_id for one in plans])
    return [
        one for one in plans if one.trades or _said(one) != known.get(one.sleeve.account_id, {})
    ]


def tell(session: Session, plans: Sequence[Plan]) -> list[Plan]:
    """Return plans with the skips that are new, and remember all, in the caller's transaction.

    A reason that has passed is forgotten: should it come back, it is told again.
    """
    known = standing.of_accounts(session, [one.sleeve.account_id for one in plans])
    made, gone = [], set()
    for one in plans:
        told = known.get(one.sleeve.account_id, {})
        skips = {name: why for name, why in one.skips.items() if told.get(name) != why.value}
        made.append(replace(one, skips=skips))
        gone |= {(one.sleeve.account_id, name) for name in told.keys() - one.skips.keys()}
    standing.put(session, {one.sleeve.account_id: _said(one) for one in made})
    standing.remove(session, gone)
    return made


def _said(plan: Plan) -> dict[int, str]:
    return {name: why.value for name, why in plan.skips.items()}
