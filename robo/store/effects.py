"""What a trade does: the lots it means, its tax, its effect on risk; and the sums of a plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.core.money import round_ratio
from robo.store.accounts import AccountRow
from robo.store.columns import KEYED, STRICT, check, integer, text
from robo.store.database import among, insert_many, rows_in, select_in
from robo.store.orders import OrderRow, is_open


class OrderLotRow(SQLModel, table=True):
    """Shares of one lot that a sale means: specific identification, written before the trade."""

    __tablename__ = "order_lot"
    __table_args__ = (check("order_lot_nanos", "nanos > 0"), KEYED)
    order_id: str = text(key=True, to="orders.id")
    lot_id: str = text(key=True, to="lot.id")
    place: int = integer()
    """The order in which the lots go."""
    nanos: int = integer()
    gain_cents: int | None = integer(null=True)
    """What the plan expects these shares to realise; NULL where nobody worked it out."""


class TradeEffectRow(SQLModel, table=True):
    """What one order was expected to do, as of its plan."""

    __tablename__ = "trade_effect"
    __table_args__ = (KEYED,)
    order_id: str = text(key=True, to="orders.id")
    tax_cents: int = integer()
    """Tax of the lots it sells; negative where it saves tax."""
    cost_cents: int = integer()
    tracking_error_ppm: int | None = integer(null=True)
    """Annual tracking error of the plan, less that of the plan without this trade; NULL where no
    risk model could say."""


class PlanEffectRow(SQLModel, table=True):
    """What one plan of an account was expected to do."""

    __tablename__ = "plan_effect"
    __table_args__ = (STRICT,)
    batch_id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    before_ppm: int | None = integer(null=True)
    """Annual tracking error of what was held; NULL where no risk model could say."""
    after_ppm: int | None = integer(null=True)
    tax_cents: int = integer()
    cost_cents: int = integer()
    short_gain_cents: int = integer()
    long_gain_cents: int = integer()
    model_id: str = text()
    at: int = integer()


_LOT: Any = OrderLotRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_TRADE: Any = TradeEffectRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ORDER: Any = OrderRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PLAN: Any = PlanEffectRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class TradeEffect:
    """What an order does; see `TradeEffectRow`."""

    tax_cents: int
    cost_cents: int
    tracking_error_ppm: int | None


@dataclass(frozen=True, slots=True)
class PlanEffect:
    """What a plan does; see `PlanEffectRow`."""

    before_ppm: int | None
    after_ppm: int | None
    tax_cents: int
    cost_cents: int
    short_gain_cents: int
    long_gain_cents: int
    model_id: str


_TAXED: Final = ("individual", "joint")
_PLAN_FIELDS: Final = tuple(field.name for field in fields(PlanEffect))


def name_lots(session: Session, rows: Sequence[tuple[str, str, int, int, int | None]]) -> None:
    """Write which lots sales mean: (order, lot, place, nanoshares, cents expected to be gained)."""
    insert_many(session, "order_lot", ("order_id", "lot_id", "place", "nanos", "gain_cents"), rows)


def named_lots(session: Session, order_ids: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Return order -> lots and nanoshares that sales still mean, in the order in which they go.

    What was filled so far has gone; orders that mean no lots are left out.
    """
    columns = (_LOT.c.order_id, _LOT.c.place, _LOT.c.lot_id, _LOT.c.nanos, _ORDER.c.filled_nanos)
    statement = select(*columns).join(_ORDER, _ORDER.c.id == _LOT.c.order_id)
    rows = sorted(select_in(session, statement, _LOT.c.order_id, order_ids), key=lambda r: r[:2])
    found: dict[str, list[tuple[str, int]]] = {}
    gone: dict[str, int] = {}
    for order_id, _, lot_id, nanos, filled in rows:
        done = min(int(nanos), gone.setdefault(order_id, int(filled)))
        gone[order_id] -= done
        found.setdefault(order_id, []).append((lot_id, int(nanos) - done))
    return found


def write(
    session: Session,
    trades: Sequence[tuple[str, TradeEffect]],
    plans: Sequence[tuple[str, AccountId, PlanEffect]],
    at_micros: int,
) -> None:
    """Write the effects of orders (order, effect) and of plans (batch, account, effect)."""
    insert_many(
        session,
        "trade_effect",
        ("order_id", "tax_cents", "cost_cents", "tracking_error_ppm"),
        [
            (order_id, one.tax_cents, one.cost_cents, one.tracking_error_ppm)
            for order_id, one in trades
        ],
    )
    insert_many(
        session,
        "plan_effect",
        ("batch_id", "account_id", *_PLAN_FIELDS, "at"),
        [
            (batch_id, account, *(getattr(one, name) for name in _PLAN_FIELDS), at_micros)
            for batch_id, account, one in plans
        ],
    )


def open_gains(session: Session, customer_ids: Sequence[str]) -> dict[str, int]:
    """Return customer -> gains, in cents, that plans expect of shares which are still to be sold.

    Losses are left out: they make no room before they are taken.
    """
    found: dict[str, int] = {}
    for customer, cents in _open_lots(session, customer_ids):
        found[customer] = found.get(customer, 0) + max(0, cents)
    return found


def open_nets(session: Session, customer_ids: Sequence[str]) -> dict[str, int]:
    """Return customer -> gains less losses that plans expect of shares still to be sold.

    What an order has sold already is realised, and not counted again.
    """
    found: dict[str, int] = {}
    for customer, cents in _open_lots(session, customer_ids):
        found[customer] = found.get(customer, 0) + cents
    return found


_OPEN_LOTS_OF: Final = among(
    select(
        _ACCOUNT.c.customer_id,
        _ORDER.c.id,
        _ORDER.c.filled_nanos,
        _LOT.c.place,
        _LOT.c.nanos,
        _LOT.c.gain_cents,
    )
    .select_from(_ACCOUNT)
    .join(_ORDER, _ORDER.c.account_id == _ACCOUNT.c.id)
    .join(_LOT, _LOT.c.order_id == _ORDER.c.id)
    .where(is_open(), _ORDER.c.side == "sell", _ACCOUNT.c.kind.in_(_TAXED)),
    _ACCOUNT.c.customer_id,
)


def _open_lots(session: Session, customer_ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield customer and cents expected of what is left to sell, lot by lot; IRAs realise none.

    An order closes its lots in the order in which it names them, as the booking does.
    """
    rows = rows_in(session, _OPEN_LOTS_OF, sorted(set(customer_ids)))
    sold: dict[str, int] = {}
    for customer, order, filled, _, nanos, gain in sorted(rows, key=lambda row: (row[1], row[3])):
        done = min(int(nanos), sold.setdefault(order, int(filled)))
        sold[order] -= done
        if gain is not None and done < nanos:
            yield customer, round_ratio(int(gain) * (int(nanos) - done), int(nanos))


def of_orders(session: Session, order_ids: Sequence[str]) -> dict[str, TradeEffect]:
    """Return the effects of orders; those that never had one are left out."""
    columns = (
        _TRADE.c.order_id,
        _TRADE.c.tax_cents,
        _TRADE.c.cost_cents,
        _TRADE.c.tracking_error_ppm,
    )
    rows = select_in(session, select(*columns), _TRADE.c.order_id, order_ids)
    return {order_id: TradeEffect(*rest) for order_id, *rest in rows}


def of_batches(session: Session, batch_ids: Sequence[str]) -> dict[str, PlanEffect]:
    """Return the effects of plans by batch."""
    columns = (_PLAN.c.batch_id, *(_PLAN.c[name] for name in _PLAN_FIELDS))
    rows = select_in(session, select(*columns), _PLAN.c.batch_id, batch_ids)
    return {batch_id: PlanEffect(*rest) for batch_id, *rest in rows}
