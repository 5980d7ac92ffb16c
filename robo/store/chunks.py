"""Chunks of accounts: loaded with one query a table, handed to planners as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.money import nanos_for_cents
from robo.portfolio.chunk import AccountChunk
from robo.store import ledger, lots, orders
from robo.store.accounts import AccountRow, Sleeve, TargetWeight, sleeves, targets
from robo.store.customers import RestrictionRow
from robo.store.database import among, rows_in, select_in
from robo.store.households import JointOwnerRow
from robo.store.transfers import DepositRow

_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_OWNER: Any = JointOwnerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_DEPOSIT: Any = DepositRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_RESTRICTION: Any = RestrictionRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_UNSETTLED: Final = ("requested", "pending", "available")


@dataclass(frozen=True, slots=True)
class Restriction:
    """What a customer may not do with one security; several sources make it stricter."""

    sell_blocked: bool
    """Shares already held may not be traded (now)."""
    to_sell: str
    """`sell` or `sell_within_budget` if the customer asked for it, else empty."""
    keeps: bool = False
    """Shares already held stay: the customer said so."""


NO_RESTRICTION: Final = Restriction(sell_blocked=False, to_sell="")


@dataclass(frozen=True, slots=True)
class RawChunk:
    """What the tables say of some accounts, before prices are known.

    Attributes:
        sleeves: In the order of the accounts; accounts without a sleeve are left out.
        balances: By account.
        targets: By target id.
        open_orders: Orders that have not ended, of these accounts.
        lots: Open lots by account.
        restricted: Securities that may not be bought, by account and security: what its owner
            may not, and of a joint account either.
        hold_until: Latest settlement of deposits that have not settled, ISO; `""` for none,
            `?` where the bank has not said when.
    """

    sleeves: tuple[Sleeve, ...]
    balances: Mapping[AccountId, ledger.AccountBalances]
    targets: Mapping[str, tuple[TargetWeight, ...]]
    open_orders: Sequence[orders.OpenOrder]
    lots: Mapping[AccountId, Sequence[lots.OpenLot]]
    restricted: Mapping[AccountId, Mapping[int, Restriction]]
    hold_until: Mapping[AccountId, str]

    @property
    def account_ids(self) -> tuple[AccountId, ...]:
        """Return the accounts, in the chunk's order."""
        return tuple(sleeve.account_id for sleeve in self.sleeves)

    def security_ids(self) -> list[int]:
        """Return every security that these accounts hold, target or have ordered."""
        found = {weight.security_id for names in self.targets.values() for weight in names}
        for balances in self.balances.values():
            found.update(balances.holdings_nanos)
        found.update(order.security_id for order in self.open_orders)
        return sorted(found)


def read(
    session: Session, account_ids: Sequence[AccountId], *, with_lots: bool = False
) -> RawChunk:
    """Return what the tables say of some accounts."""
    found = sleeves(session, account_ids)
    kept = tuple(found[account] for account in account_ids if account in found)
    ids = [sleeve.account_id for sleeve in kept]
    return RawChunk(
        sleeves=kept,
        balances=ledger.many_account_balances(session, ids),
        targets=targets(session, sorted({sleeve.target_id for sleeve in kept})),
        open_orders=orders.open_orders(session, ids),
        lots=lots.open_lots(session, ids) if with_lots else {},
        restricted=_by_account(session, {sleeve.account_id: sleeve.customer_id for sleeve in kept}),
        hold_until=_hold_until(session, ids),
    )


def build(raw: RawChunk, price_micros: Mapping[int, int]) -> AccountChunk:
    """Return the chunk at prices; holdings are those expected once the open orders have filled.

    A name without a price counts as worth nothing; planners must not trade it.
    """
    security_ids = tuple(raw.security_ids())
    place = {security_id: index for index, security_id in enumerate(security_ids)}
    expected = _expected_holdings(raw, price_micros)
    target_ids = sorted(raw.targets)
    target_place = {target_id: index for index, target_id in enumerate(target_ids)}
    names = [raw.targets[target_id] for target_id in target_ids]
    held = [sorted(expected[sleeve.account_id].items()) for sleeve in raw.sleeves]
    flat = [pair for row in held for pair in row]
    none = np.zeros(0, dtype=np.int64)
    return AccountChunk(
        account_ids=raw.account_ids,
        security_ids=security_ids,
        cash_cents=_ints([raw.balances[account].cash_cents for account in raw.account_ids]),
        target=_ints([target_place.get(sleeve.target_id, -1) for sleeve in raw.sleeves]),
        target_indptr=_indptr([len(row) for row in names]),
        target_security=_ints([place[w.security_id] for row in names for w in row]),
        target_weight_ppm=_ints([w.weight_ppm for row in names for w in row]),
        holding_indptr=_indptr([len(row) for row in held]),
        holding_security=_ints([place[security_id] for security_id, _ in flat]),
        holding_nanos=_ints([nanos for _, nanos in flat]),
        lot_indptr=np.zeros(len(flat) + 1, dtype=np.int64),
        lot_nanos=none,
        lot_basis_cents=none,
        lot_acquired_day=none,
        price_micros=_ints([price_micros.get(security_id, 0) for security_id in security_ids]),
    )


def _expected_holdings(
    raw: RawChunk, price_micros: Mapping[int, int]
) -> dict[AccountId, dict[int, int]]:
    expected = {account: dict(raw.balances[account].holdings_nanos) for account in raw.account_ids}
    for order in raw.open_orders:
        holdings = expected[order.account_id]
        before = holdings.get(order.security_id, 0)
        price = price_micros.get(order.security_id, 0)
        if order.side == "sell":
            holdings[order.security_id] = before - order.open_units
        elif price:
            holdings[order.security_id] = before + nanos_for_cents(order.open_units, price)
    return expected


_UNSETTLED_OF: Final = among(
    select(
        _DEPOSIT.c.account_id, _DEPOSIT.c.settles_on, _DEPOSIT.c.advanced_cents, _DEPOSIT.c.state
    ).where(_DEPOSIT.c.state.in_(_UNSETTLED)),
    _DEPOSIT.c.account_id,
)


def _hold_until(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, str]:
    holds: dict[AccountId, str] = {}
    for account, settles_on, advanced, state in rows_in(session, _UNSETTLED_OF, account_ids):
        if state == "available" or advanced:
            holds[account] = max(holds.get(account, ""), settles_on or "?")
    return holds


def restrictions(
    session: Session, account_ids: Sequence[AccountId]
) -> dict[AccountId, dict[int, Restriction]]:
    """Return account -> security -> what is forbidden; accounts without are left out.

    An employer's shares already held are never traded until the customer says what to do with them;
    `never_trade` blocks selling whatever was said. In a joint account both owners' rules hold, and
    the first says what to do with shares held, or else the second that they stay; of the first
    one's other accounts the second one's are no rules.
    """
    statement = select(_ACCOUNT.c.id, _ACCOUNT.c.customer_id)
    rows = select_in(session, statement, _ACCOUNT.c.id, account_ids)
    return _by_account(session, {AccountId(account): customer for account, customer in rows})


_RESTRICTIONS_OF: Final = among(
    select(
        _RESTRICTION.c.customer_id,
        _RESTRICTION.c.security_id,
        _RESTRICTION.c.verb,
        _RESTRICTION.c.source,
        _RESTRICTION.c.held_choice,
    ),
    _RESTRICTION.c.customer_id,
)


def of_customers(
    session: Session, customer_ids: Sequence[str]
) -> dict[str, dict[int, Restriction]]:
    """Return customer -> security -> what is forbidden in accounts that are theirs alone."""
    found: dict[str, dict[int, Restriction]] = {}
    rows = rows_in(session, _RESTRICTIONS_OF, customer_ids)
    for customer, security_id, verb, source, choice in rows:
        selling = choice in {"sell", "sell_within_budget"}
        blocked = verb == "never_trade" or (source == "employer" and not selling)
        before = found.setdefault(customer, {}).get(security_id, NO_RESTRICTION)
        found[customer][security_id] = Restriction(
            sell_blocked=before.sell_blocked or blocked,
            to_sell=choice if selling and not before.to_sell else before.to_sell,
            keeps=before.keeps or choice == "keep",
        )
    return found


_SECOND_OWNERS: Final = among(
    select(_OWNER.c.account_id, _OWNER.c.customer_id), _OWNER.c.account_id
)


def _by_account(
    session: Session, owner: Mapping[AccountId, str]
) -> dict[AccountId, dict[int, Restriction]]:
    second = dict(rows_in(session, _SECOND_OWNERS, list(owner)))
    people = sorted({*owner.values(), *second.values()})
    by_customer = of_customers(session, people)
    found: dict[AccountId, dict[int, Restriction]] = {}
    for account, customer in owner.items():
        mine = by_customer.get(customer, {})
        if account in second:
            mine = _both(mine, by_customer.get(second[account], {}))
        if mine:
            found[account] = mine
    return found


def _both(
    first: Mapping[int, Restriction], second: Mapping[int, Restriction]
) -> dict[int, Restriction]:
    made = dict(first)
    for security_id, theirs in second.items():
        mine = made.get(security_id, NO_RESTRICTION)
        blocked = mine.sell_blocked or theirs.sell_blocked
        keeps = mine.keeps or (theirs.keeps and not mine.to_sell)
        made[security_id] = Restriction(blocked, mine.to_sell, keeps)
    return made


def customers_who_sell(session: Session) -> list[str]:
    """Return the customers who asked us to sell restricted shares they hold."""
    statement = select(_RESTRICTION.c.customer_id).where(
        _RESTRICTION.c.held_choice.in_(("sell", "sell_within_budget"))
    )
    return sorted(session.connection().execute(statement.distinct()).scalars())


def _ints(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _indptr(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
