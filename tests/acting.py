"""Corporate actions on a desk of tests: who holds what, and what the broker made of an action."""

from datetime import timedelta
from typing import Any

from desk import Desk

from robo.core.ids import AccountId, SecurityId
from robo.core.money import notional_cents
from robo.ports.broker import Activity, BrokerOrderState, Side
from robo.ports.prices import ActionKind, CorporateAction
from robo.services import dividing

NEW = SecurityId(77)
SHARE = 10**9


def holders(desk: Desk, firm: str, nanos: list[int]) -> list[AccountId]:
    """Return accounts that hold so many nanoshares of security 1, bought at $10, a day ago."""
    accounts = desk.open(firm, len(nanos), f"{desk.windows}")
    cents = {a: max(1, notional_cents(n, 10_000_000)) for a, n in zip(accounts, nanos, strict=True)}
    desk.fund(cents, f"for-{desk.windows}")
    for account, units in zip(accounts, nanos, strict=True):
        block = desk.buy({account: cents[account]})
        desk.broker.fill(block, units, cents[account])
    desk.collect()
    return accounts


def publish(
    desk: Desk, kind: ActionKind, firms: tuple[str, ...] = ("firm_a",), **more: Any
) -> list[Activity]:
    """Move to the next day, publish an action of security 1 and what the broker made of it."""
    desk.next_day()
    number = len(desk.prices.published) + 1
    day = desk.today()
    changes = {k: more.pop(k) for k in ("cents", "nanos_delta", "new_nanos") if k in more}
    action = CorporateAction(
        f"ca-{number}", kind, SecurityId(1), day, day + timedelta(days=1), **more
    )
    desk.prices.published.append(action)
    made = []
    for firm in firms:
        rows = desk.rows(
            "SELECT balance.amount FROM balance JOIN account ON balance.book = 'customer/' || "
            f"account.id || '/holdings' WHERE account.firm_id = '{firm}' AND asset = 'S1/9'"
        )
        held = sum(int(str(row[0])) for row in rows) + firms_own(desk, firm).get("S1/9", 0)
        num, den = action.ratio_num, action.ratio_den
        leaving = kind in dividing.LEAVING
        delta = -held if leaving else held * num // den - held if kind is ActionKind.SPLIT else 0
        activity = Activity(
            id=f"ac-{number}-{firm}",
            action_id=action.id,
            kind=kind,
            security_id=SecurityId(1),
            on=day,
            cents=changes.get("cents", notional_cents(held, action.cash_micros)),
            nanos_before=held,
            nanos_delta=changes.get("nanos_delta", delta),
            new_security_id=action.new_security_id,
            new_nanos=changes.get(
                "new_nanos", held * num // den if action.new_security_id is not None else 0
            ),
            broker_account=f"omnibus/{firm}",
        )
        made.append(activity)
    desk.broker.brought += made
    return made


def firms_own(desk: Desk, firm: str) -> dict[str, int]:
    """Return what stands in a firm's own book, by asset."""
    book = f"SELECT asset, amount FROM balance WHERE book = 'firm/{firm}/inventory' AND amount <> 0"
    return {str(asset): int(str(amount)) for asset, amount in desk.rows(book)}


def late_fill(desk: Desk, side: Side) -> None:
    """Have a firm take a share that came, or went, after its customer's order had ended."""
    (other,) = desk.open("firm_a", 1, "late")
    desk.fund({other: 10_00}, "late")
    if side is Side.SELL:
        desk.broker.fill_at(desk.buy({other: 10_00}), 10_000_000)
        desk.collect()
    blocks = []
    for again in ("once", "again"):
        given = {other: 10_00 if side is Side.BUY else SHARE}
        blocks.append((desk.buy if side is Side.BUY else desk.sell)(given, cause=again))
        if again == "once":
            desk.broker.end(blocks[0], BrokerOrderState.CANCELED)
            desk.collect()
    for block in reversed(blocks):
        desk.broker.fill_at(block, 10_000_000)
        desk.collect()


def lots_of(desk: Desk, account: AccountId, security: int = 1) -> list[tuple[int, int, str]]:
    rows = desk.rows(
        "SELECT nanos, basis_cents, acquired_on FROM lot WHERE (nanos > 0 OR basis_cents > 0) AND "
        f"account_id = '{account}' AND security_id = {security} ORDER BY acquired_on, id"
    )
    return [(int(str(n)), int(str(b)), str(d)) for n, b, d in rows]


def basis(desk: Desk, account: AccountId, security: int = 1) -> int:
    return sum(cents for _, cents, _ in lots_of(desk, account, security))
