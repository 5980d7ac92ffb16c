"""What happened to an account, in plain words: money and shares that moved, orders and skips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session

from robo.core.errors import NotFoundError
from robo.core.money import INT64_MAX, format_cents
from robo.core.reasons import SENTENCES, Reason, shown
from robo.core.shares import format_nanos
from robo.ledger import chart
from robo.store import effects, histories, views
from robo.store.effects import PlanEffect, TradeEffect
from robo.store.histories import ShownFill, ShownOrder, ShownSkip

_INNER: Final = ("reserve", "release")
"""Money that only changes between free and promised to orders: noise to whoever owns it."""
_SENTENCES: Final[Mapping[str, str]] = {
    "deposit": "${amount} arrived from your bank.",
    "advance": "${amount} of your deposit was made available before the bank confirmed it.",
    "advance_undone": "${amount} made available early went back: the deposit was returned.",
    "returned": "${amount} went back to your bank: the deposit was returned.",
    "cure": "${amount} went towards the deposit that was returned.",
    "buy": "Bought {shares} of {symbol} for ${amount}.",
    "sell": "Sold {shares} of {symbol} for ${amount}.",
    "fee": "${amount} of regulatory fees were passed on.",
    "settle": "${amount} from sales settled and is free cash now.",
    "dividend": "A dividend, or another payment on a holding, brought ${amount}.",
    "action": "A corporate action changed your shares of {symbol} by {shares}.",
    "move_in": "{shares} of {symbol} came from your account at another firm.",
    "withdraw": "${amount} was set aside for your withdrawal.",
    "withdraw_undone": "${amount} set aside for a withdrawal is free cash again.",
    "withdraw_returned": "${amount} came back: your bank did not take the withdrawal.",
    "paid": "${amount} was paid to your bank.",
}
_OTHER: Final = "${amount} moved."
_LEGS_MAX: Final = 4
"""Transfers of one kind and cause stand together; a merger with cash has the most legs."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One thing that happened; both legs of a trade are one activity."""

    seq: int
    """Its last place in the account's chain; pages continue below the last one shown."""
    kind: str
    at_micros: int
    cause: str
    cents: int
    """Cash of the account that came in (or, negative, left)."""
    nanos: int
    """Shares that came in (or, negative, left)."""
    security_id: int | None
    symbol: str
    sentence: str


@dataclass(frozen=True, slots=True)
class OrderLine:
    """An order, or a name that was looked at and left alone, with the sentence that says why."""

    at_micros: int
    symbol: str
    reason: str
    sentence: str
    order: ShownOrder | None
    skip: ShownSkip | None
    outcome: str
    """Why it ended as it did, for orders that were rejected or cancelled."""
    effect: TradeEffect | None = None
    """What its plan expected it to do; None for a skip, and where nobody worked it out."""


def activity(
    session: Session, account_id: str, before: int | None, limit: int
) -> tuple[list[Activity], int | None]:
    """Return a page of what happened, newest first, and where the next page starts.

    Args:
        session: A reading session.
        account_id: The account.
        before: The number that the page before ended with; None for the newest.
        limit: How many activities at most.
    """
    start = INT64_MAX if before is None else before
    # With as many rows as that, either there is a group too many, or nothing more to come: the
    # groups that are shown are always whole.
    rows = histories.transfers_before(session, account_id, start, _LEGS_MAX * limit + 1, _INNER)
    groups = _grouped(rows)
    more = len(groups) > limit
    groups = groups[:limit]
    ids = sorted({i for group in groups for row in group if (i := _security(row)) is not None})
    names = views.names(session, ids)
    told = [_told(group, account_id, names) for group in groups]
    return told, (groups[-1][-1].seq if more else None)


def order_lines(
    session: Session, account_id: str, before: tuple[int, str] | None, limit: int
) -> tuple[list[OrderLine], tuple[int, str] | None]:
    """Return a page of orders and skips, newest first, and where the next page starts.

    Args:
        session: A reading session.
        account_id: The account.
        before: The (instant, key) that the page before ended with; None for the newest.
        limit: How many lines at most.
    """
    at, key = before or (INT64_MAX, "~")
    orders = histories.orders_before(session, account_id, (at, _order_bound(key)), limit + 1)
    skips = histories.skips_before(session, account_id, (at, *_skip_bound(key)), limit + 1)
    keyed: list[tuple[tuple[int, str], ShownOrder | ShownSkip]] = [
        *(((order.planned_at, _order_key(order)), order) for order in orders),
        *(((skip.at, _skip_key(skip)), skip) for skip in skips),
    ]
    keyed.sort(key=lambda pair: pair[0], reverse=True)
    page = keyed[:limit]
    names = views.names(session, sorted({row.security_id for _, row in page}))
    mine = [row.id for _, row in page if isinstance(row, ShownOrder)]
    known = effects.of_orders(session, mine)
    lines = [line(row, names, known) for _, row in page]
    return lines, (page[-1][0] if len(keyed) > limit else None)


def order_line(
    session: Session, account_id: str, order_id: str
) -> tuple[OrderLine, list[ShownFill], PlanEffect | None]:
    """Return one order of an account with its fills, and what its plan was expected to do.

    Raises:
        NotFoundError: If the account has no such order.
    """
    found = histories.order(session, account_id, order_id)
    if found is None:
        message = "there is no such order"
        raise NotFoundError(message)
    names = views.names(session, [found.security_id])
    told = line(found, names, effects.of_orders(session, [order_id]))
    plan = effects.of_batches(session, [found.batch_id]).get(found.batch_id)
    return told, histories.fills(session, order_id), plan


def line(
    row: ShownOrder | ShownSkip,
    names: Mapping[int, tuple[str, str]],
    known: Mapping[str, TradeEffect],
) -> OrderLine:
    """Return an order or a skip with its sentences."""
    symbol = names.get(row.security_id, (f"#{row.security_id}", ""))[0]
    sentence, reason = _sentence(row.reason), shown(row.reason)
    if isinstance(row, ShownOrder):
        outcome = _sentence(row.code) if row.code else ""
        effect = known.get(row.id)
        return OrderLine(row.planned_at, symbol, reason, sentence, row, None, outcome, effect)
    return OrderLine(row.at, symbol, reason, sentence, None, row, "")


# Orders sort after skips of the same instant; within each, by their own keys. The keys are what
# cursors carry, so they say which of the two lists a page ended in.
_ORDER_MARK: Final = "o:"
_SKIP_MARK: Final = "s:"
_SECURITY_DIGITS: Final = 10


def _order_key(order: ShownOrder) -> str:
    return _ORDER_MARK + order.id


def _skip_key(skip: ShownSkip) -> str:
    return f"{_SKIP_MARK}{skip.batch_id}:{skip.security_id:0{_SECURITY_DIGITS}d}"


def _order_bound(key: str) -> str:
    """Return the id below which orders of the cursor's instant are still to come."""
    if key.startswith(_ORDER_MARK):
        return key.removeprefix(_ORDER_MARK)
    return "" if key < _ORDER_MARK else "~"


def _skip_bound(key: str) -> tuple[str, int]:
    """Return the (batch, security) below which skips of the cursor's instant are still to come."""
    if key.startswith(_SKIP_MARK):
        batch_id, _, digits = key.removeprefix(_SKIP_MARK).rpartition(":")
        return batch_id, int(digits) if _is_security(digits) else 0
    return ("", 0) if key < _SKIP_MARK else ("~", 0)


def _is_security(digits: str) -> bool:
    return digits.isascii() and digits.isdecimal() and len(digits) <= _SECURITY_DIGITS


def _sentence(code: str) -> str:
    try:
        return SENTENCES[Reason(code.partition(":")[0])]  # behind it: what it waited for
    except ValueError:
        return ""


def _grouped(rows: Sequence[Any]) -> list[list[Any]]:
    """Return neighbours of one kind and cause together: the legs of one trade."""
    groups: list[list[Any]] = []
    for row in rows:
        if groups and (groups[-1][0].kind, groups[-1][0].cause) == (row.kind, row.cause):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _security(row: Any) -> int | None:
    return None if row.asset == chart.USD else int(chart.security_of(row.asset))


def _told(group: Sequence[Any], account_id: str, names: Mapping[int, tuple[str, str]]) -> Activity:
    mine = f"{chart.CUSTOMER_PREFIX}{account_id}/"
    cents = nanos = 0
    security: int | None = None
    for row in group:
        inner = row.source.startswith(mine) and row.target.startswith(mine)
        signed = row.amount if row.target.startswith(mine) else -row.amount
        if row.asset == chart.USD:
            cents += row.amount if inner else signed
        else:
            nanos += signed
            security = _security(row)
    symbol = names.get(security, ("", ""))[0] if security is not None else ""
    first = group[0]
    words = _SENTENCES.get(first.kind, _OTHER)
    shares = nanos if first.kind == "action" else abs(nanos)
    sentence = words.replace("{symbol}", symbol or "a holding").replace(
        "{shares}", f"{format_nanos(shares)} shares"
    )
    return Activity(
        seq=first.seq,
        kind=first.kind,
        at_micros=first.booked_at,
        cause=first.cause,
        cents=cents,
        nanos=nanos,
        security_id=security,
        symbol=symbol,
        sentence=sentence.replace("{amount}", format_cents(abs(cents))),
    )
