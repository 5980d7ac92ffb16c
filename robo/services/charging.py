"""Cash that the broker moves without an order or a corporate action of ours: fees, interest, tax.

Fees and interest are the firm's. Tax withheld from a dividend, and a dividend taken back, are taken
from those who had it, the firm itself among them; where customers' cash is gone it carries theirs.
Cash from outside is no result of trading. What nobody can explain is kept as unknown and becomes a
break for a person.
"""

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.ids import AccountId, FirmId, TransferId, child_id
from robo.core.money import split_cents
from robo.core.policy import Policy
from robo.ledger import chart, recipes
from robo.ledger.entries import Transfer
from robo.ports.broker import Activity, CashKind
from robo.ports.prices import ActionKind
from robo.services.turns import Turns
from robo.store import events, ledger
from robo.store.database import Database
from robo.store.keyring import Keyring

_OUTSIDE: Final = frozenset({CashKind.DEPOSIT, CashKind.WITHDRAWAL, CashKind.JOURNAL})
_FIRMS: Final = frozenset({CashKind.FEE, CashKind.INTEREST})


def concerns(activity: Activity) -> bool:
    """Return whether an activity is cash to be charged or credited rather than an action."""
    back = bool(activity.takes_back) and activity.kind is ActionKind.CASH_DIVIDEND
    return isinstance(activity.kind, CashKind) or back


def is_shared(activity: Activity) -> bool:
    """Return whether an activity falls on everybody who had the dividend that it is of."""
    return activity.kind not in _FIRMS and state_of(activity) == "booked"


def state_of(activity: Activity) -> str:
    """Return how an activity is kept: booked, outside, or unknown."""
    if activity.kind in _OUTSIDE:
        return "outside"
    shares = bool(activity.nanos_delta or activity.new_nanos)
    known = not isinstance(activity.kind, CashKind) or activity.kind in _FIRMS
    withheld = activity.kind is CashKind.WITHHOLDING
    return (
        "booked"
        if (known or withheld) and not (shares and not _is_action(activity))
        else ("unknown")
    )


def _is_action(activity: Activity) -> bool:
    return isinstance(activity.kind, ActionKind)


def charge(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    policy: Policy,
    firm_id: FirmId,
    activity: Activity,
    entitled: Sequence[tuple[AccountId, int]],
) -> None:
    """Book an activity that `concerns` said yes to; twice changes nothing.

    Args:
        db: Owns short transactions.
        keyring: Signs the chains.
        clock: When the books learn of it.
        policy: How long a turn may be.
        firm_id: Whose account at the broker it is.
        activity: What was told.
        entitled: (Account, nanoshares) of those who had the dividend concerned; else empty.
    """
    if state_of(activity) != "booked" or activity.cents == 0:
        return
    at_micros = to_micros(clock.now())
    cause = child_id("chg", activity.id)
    if activity.kind in _FIRMS or not entitled:
        with db.write() as session:
            _post(session, keyring, firm_id, _firms(firm_id, activity.cents, cause), at_micros)
        return
    parts = split_cents(abs(activity.cents), [nanos for _, nanos in entitled])
    shares = [
        (account, cents, child_id("chg", activity.id, account))
        for (account, _), cents in zip(entitled, parts, strict=True)
        if cents
    ]

    def write(session: Session, some: Sequence[tuple[AccountId, int, str]]) -> None:
        balances = ledger.many_account_balances(session, [account for account, _, _ in some])
        made: list[Transfer] = []
        for account, cents, part in some:
            if activity.cents > 0:  # tax given back
                made += recipes.dividend(account, cents, part)
                continue
            there = max(0, min(cents, balances[account].cash_cents))
            made += recipes.move(
                "charge", chart.cash(account), chart.STREET_MARKET, chart.USD, there, part
            )
            made += _firms(firm_id, there - cents, part)
        _post(session, keyring, firm_id, made, at_micros)
        events.emit(
            session,
            [
                events.NewEvent(firm_id, "cash.charged", activity.id, account_id=account)
                for account, _, _ in some
            ],
            at_micros,
        )

    with db.read() as session:
        done = ledger.known(session, [i for one in shares for i in _ids(firm_id, *one)])
    Turns(db, policy).each([one for one in shares if not done & set(_ids(firm_id, *one))], write)


def take(
    session: Session,
    keyring: Keyring,
    firm_id: str,
    activity_id: str,
    cents: int,
    at_micros: int,
) -> None:
    """Book an activity that nobody could explain on the firm, because a person said so."""
    credit(session, keyring, FirmId(firm_id), cents, child_id("chg", activity_id), at_micros)


def credit(
    session: Session, keyring: Keyring, firm_id: FirmId, cents: int, cause: str, at_micros: int
) -> None:
    """Book cash that comes to a firm, or (negative) that it pays, once for its cause."""
    _post(session, keyring, firm_id, _firms(firm_id, cents, cause), at_micros)


def _firms(firm_id: FirmId, cents: int, cause: str) -> list[Transfer]:
    """Return cash that comes to the firm, or (negative) that it pays."""
    own, street = chart.rounding(firm_id), chart.STREET_MARKET
    if cents < 0:
        return recipes.move("charge", own, street, chart.USD, -cents, cause)
    return recipes.move("credit", street, own, chart.USD, cents, cause)


def _ids(firm_id: FirmId, account: AccountId, cents: int, cause: str) -> list[TransferId]:
    """Return the ids of the transfers that booking a share of a charge may have made."""
    mine = recipes.move("charge", chart.cash(account), chart.STREET_MARKET, chart.USD, cents, cause)
    back = recipes.dividend(account, cents, cause)
    return [one.id for one in (*mine, *back, *_firms(firm_id, -cents, cause))]


def _post(
    session: Session,
    keyring: Keyring,
    firm_id: FirmId,
    transfers: Sequence[Transfer],
    at_micros: int,
) -> None:
    known = ledger.known(session, [one.id for one in transfers])
    fresh = [one for one in transfers if one.id not in known]
    ledger.post(session, keyring.chain, fresh, firm_id, at_micros)
