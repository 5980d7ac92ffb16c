"""What an account is worth now, to the cent: five small queries on one snapshot, then arithmetic.

Everything adds up exactly: NAV = cash by state + the holdings' values; the weights of holdings and
cash sum to 1,000,000 ppm; the total gain is NAV - what is owed - (paid in - paid out).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock
from robo.core.errors import NotFoundError
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.core.money import PPM, notional_cents, round_ratio, split_cents
from robo.ledger import chart
from robo.ports.prices import PriceSource
from robo.services.reporting.pricing import PriceBoard, board
from robo.store import views, withdrawals
from robo.store.views import Flows, Following, LotSum

_TARGETS_KEPT: Final = 4_096
_NO_LOTS: Final = LotSum(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Holding:
    """One name of a portfolio; a target that is not held yet has zero shares."""

    security_id: int
    symbol: str
    name: str
    nanos: int
    price_micros: int | None
    """None where the name has neither a quote nor a marked close: it is valued at nothing."""
    price_as_of: str
    """A date for names valued at an old close; empty for names with a quote of the day."""
    value_cents: int
    weight_ppm: int
    target_ppm: int
    drift_ppm: int
    basis_cents: int
    gain_cents: int
    """Unrealised: value minus basis."""
    day_change_cents: int | None
    """Since the close of the session before; None where no close is comparable."""
    note: str
    """Why this name stands in for another; empty for a name of the basket itself."""


@dataclass(frozen=True, slots=True)
class Cash:
    """Cents by state; `total_cents` is their sum."""

    free_cents: int
    reserved_cents: int
    unsettled_cents: int
    outgoing_cents: int
    total_cents: int


@dataclass(frozen=True, slots=True)
class PortfolioView:
    """An account at market."""

    account: Following
    prices: PriceBoard
    nav_cents: int
    cash: Cash
    cash_ppm: int
    holdings: tuple[Holding, ...]
    invested_cents: int
    basis_cents: int
    gain_cents: int
    """Unrealised, over all holdings."""
    day_change_cents: int | None
    flows: Flows
    total_gain_cents: int
    total_gain_ppm: int | None
    """Of everything paid in; None if nothing was."""
    withdrawable_cents: int
    """Cash that no bank can take back: what a withdrawal could promise at once."""
    score_note: str
    """On whose figures the target rests, as they were when it was set."""


def portfolio(
    session: Session,
    prices: PriceSource,
    clock: Clock,
    calendar: MarketCalendar,
    account_id: str,
) -> PortfolioView:
    """Return what an account holds and is worth.

    Raises:
        NotFoundError: If there is no such account.
    """
    account = views.following(session, account_id)
    if account is None:
        message = "there is no such account"
        raise NotFoundError(message)
    books = views.books(session, account_id)
    target = _target(session, account.target_id)
    held = {
        int(chart.security_of(asset)): amount
        for (book, asset), amount in books.items()
        if book == "holdings" and amount
    }
    ids = list(dict.fromkeys([*target, *sorted(held)]))
    priced = board(prices, calendar, ids, clock.now())
    cash = _cash(books)
    holdings, cash_ppm = _holdings(session, account_id, ids, held, target, priced, cash)
    flows = views.flows(session, account_id)
    # The rule that the withdrawal itself follows; without unsettled deposits all cash is settled.
    settled = cash.free_cents
    if flows.unsettled_cents:
        settled = withdrawals.settled_cash(session, [AccountId(account_id)])[AccountId(account_id)]
    return _view(account, priced, holdings, cash, cash_ppm, flows, settled)


def _view(
    account: Following,
    priced: PriceBoard,
    holdings: list[Holding],
    cash: Cash,
    cash_ppm: int,
    flows: Flows,
    settled_cents: int,
) -> PortfolioView:
    invested = sum(holding.value_cents for holding in holdings)
    nav = invested + cash.total_cents
    brought = flows.deposited_cents + flows.moved_in_cents
    gain = nav - flows.owed_cents - brought + flows.withdrawn_cents
    changes = [h.day_change_cents for h in holdings if h.day_change_cents is not None]
    basis = sum(holding.basis_cents for holding in holdings)
    return PortfolioView(
        account=account,
        prices=priced,
        nav_cents=nav,
        cash=cash,
        cash_ppm=cash_ppm,
        holdings=tuple(holdings),
        invested_cents=invested,
        basis_cents=basis,
        gain_cents=invested - basis,
        day_change_cents=sum(changes) if changes or not holdings else None,
        flows=flows,
        total_gain_cents=gain,
        total_gain_ppm=round_ratio(gain * PPM, brought) if brought else None,
        withdrawable_cents=settled_cents,
        score_note=account.score_note,
    )


def _holdings(
    session: Session,
    account_id: str,
    ids: list[int],
    held: Mapping[int, int],
    target: Mapping[int, tuple[int, str]],
    priced: PriceBoard,
    cash: Cash,
) -> tuple[list[Holding], int]:
    """Return targeted and held names, targets in their order first, and the weight of the cash."""
    lots = views.lot_sums(session, account_id, priced.session.isoformat()) if held else {}
    names = views.names(session, ids)
    prices = _prices(session, ids, held, priced)
    values = [
        notional_cents(held.get(security, 0), price) if price is not None else 0
        for security, (price, _) in zip(ids, prices, strict=True)
    ]
    *weights, cash_ppm = _weights(values, cash.total_cents)
    rows: list[Holding] = []
    for security, (price, as_of), value, weight in zip(ids, prices, values, weights, strict=True):
        nanos, lot = held.get(security, 0), lots.get(security, _NO_LOTS)
        target_ppm, note = target.get(security, (0, ""))
        symbol, name = names.get(security, (f"#{security}", ""))
        rows.append(
            Holding(
                security_id=security,
                symbol=symbol,
                name=name,
                nanos=nanos,
                price_micros=price,
                price_as_of=as_of,
                value_cents=value,
                weight_ppm=weight,
                target_ppm=target_ppm,
                drift_ppm=weight - target_ppm,
                basis_cents=lot.basis_cents,
                gain_cents=value - lot.basis_cents,
                day_change_cents=_day_change(
                    nanos, value, lot, priced.previous_micros.get(security)
                ),
                note=note,
            )
        )
    return rows, cash_ppm


def _prices(
    session: Session, ids: list[int], held: Mapping[int, int], priced: PriceBoard
) -> list[tuple[int | None, str]]:
    """Return each name's price, with the date of the old close that stands in for a quote."""
    quotes = {int(security): quote.price_micros for security, quote in priced.quotes.items()}
    unquoted = [security for security in held if security not in quotes]
    old = views.last_closes(session, unquoted) if unquoted else {}
    nothing: tuple[int | None, str] = (None, "")
    return [
        (quotes[security], "") if security in quotes else old.get(security, nothing)
        for security in ids
    ]


def _day_change(nanos: int, value_cents: int, lot: LotSum, previous: int | None) -> int | None:
    """Return what the day did: to older shares since the last close, to new ones since bought."""
    older = nanos - lot.new_nanos
    if not older:
        return value_cents - lot.new_basis_cents
    if previous is None:
        return None
    return value_cents - notional_cents(older, previous) - lot.new_basis_cents


def _weights(values: list[int], cash_cents: int) -> list[int]:
    """Return each part's share of NAV in ppm, cash last; they sum to a million, or are all zero."""
    parts = [*values, cash_cents]
    return split_cents(PPM, parts) if sum(parts) else [0] * len(parts)


def _cash(books: Mapping[tuple[str, str], int]) -> Cash:
    free, reserved, unsettled, outgoing = (
        books.get((word, chart.USD), 0) for word in ("cash", "reserved", "unsettled", "outgoing")
    )
    return Cash(free, reserved, unsettled, outgoing, free + reserved + unsettled + outgoing)


class _Targets:
    """Targets are immutable and shared by many accounts, so each is read once a process."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, tuple[int, str]]] = {}

    def get(self, session: Session, target_id: str) -> dict[int, tuple[int, str]]:
        found = self._known.get(target_id)
        if found is None:
            found = {i: (ppm, note) for i, ppm, note in views.target_names(session, target_id)}
            if len(self._known) >= _TARGETS_KEPT:
                self._known.clear()
            if found:
                self._known[target_id] = found
        return found


_TARGETS: Final = _Targets()


def _target(session: Session, target_id: str) -> dict[int, tuple[int, str]]:
    return _TARGETS.get(session, target_id) if target_id else {}
