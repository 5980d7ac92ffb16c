"""What the books say happened to an account's lots and money, read with plain SQL.

Nothing of ours is imported here: the standard library and a DB-API connection. What a customer
asked for is taken from what the customer did, with its time, and never from an order alone.
"""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

BUY: Final = "buy"
SELL: Final = "sell"
"""A sale that we chose."""
ASKED: Final = "asked"
"""A sale of a name of which the customer had told us to sell what is held."""
WITHDRAWN: Final = "withdrawn"
"""A sale for a withdrawal or a closure."""
ACTION: Final = "action"
"""Shares that a corporate action paid out in cash."""
SPLIT: Final = "split"
LEFT: Final = "left"
"""Basis, and all shares or none of them, that a merger or a spin-off took out of a lot."""
CAME: Final = "came"
"""The lot into which they went: `of_lot` says from where."""
MONEY: Final = "money"
"""Money in or out otherwise than by trades: `proceeds_cents`, negative for out."""
SALES: Final = (SELL, ASKED, WITHDRAWN, ACTION)

_NEW_YORK: Final = ZoneInfo("America/New_York")
_ALWAYS: Final = 2**62
_OWNER: Final = "SELECT customer_id FROM account WHERE id = ?"
_EVENTS: Final = """
    SELECT e.on_date, e.security_id, e.lot_id, e.kind, e.nanos_delta, e.basis_delta_cents,
           e.proceeds_cents, e.cause, f.id, o.reason, o.planned_at, l.acquired_on
    FROM lot_event e JOIN lot l ON l.id = e.lot_id
    LEFT JOIN fill f ON f.id = e.cause LEFT JOIN orders o ON o.id = f.order_id
    WHERE e.account_id = ? ORDER BY e.seq
"""
_ACTIONS: Final = """
    SELECT ex_on, kind, security_id, detail FROM action
    WHERE kind IN ('split', 'stock_merger') ORDER BY ex_on, id
"""
_CHANGES: Final = """
    SELECT at, payload FROM event
    WHERE customer_id = ? AND kind = 'restriction.changed' ORDER BY seq
"""
_OWN: Final = """
    SELECT security_id, min(created_at) FROM restriction
    WHERE customer_id = ? AND source <> 'activity' GROUP BY security_id
"""
_WITHDRAWALS: Final = """
    SELECT requested_at, coalesce(paid_at, ?), cents, closing FROM withdrawal
    WHERE account_id = ? AND state NOT IN ('failed', 'canceled') ORDER BY requested_at, id
"""
_WISHES: Final = """
    SELECT at, mode, target, gain_budget_cents, buy_buy_sell FROM tax_choice
    WHERE customer_id = ? ORDER BY number
"""
_MONEY: Final = """
    SELECT booked_at, amount * (CASE WHEN target LIKE ? THEN 1 ELSE -1 END) FROM transfer
    WHERE asset = 'USD/2' AND kind NOT IN ('buy', 'sell', 'fee', 'merger')
      AND (source LIKE ?) <> (target LIKE ?) ORDER BY booked_at
"""
_OTHERS: Final = """
    SELECT (SELECT count(*) FROM account WHERE customer_id = :customer AND id <> :account)
         + (SELECT count(*) FROM household_member WHERE customer_id = :customer)
         + (SELECT count(*) FROM outside_account WHERE customer_id = :customer)
         + (SELECT count(*) FROM joint_owner WHERE account_id = :account)
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """What happened to one lot, or to the account's money, on one day.

    Attributes:
        nanos: Shares that came, or left where negative.
        basis_cents: Paid for what came; given up, as a positive number, for what left.
        proceeds_cents: For what was sold, after costs.
        kind: One of the words above.
        of_lot: Of a lot that `CAME`: the one it came out of, empty if no basis came along.
        since: Of such a lot: when its shares had been bought.
    """

    on: date
    security_id: int
    lot_id: str
    nanos: int
    basis_cents: int
    proceeds_cents: int
    kind: str
    of_lot: str = ""
    since: date | None = None

    @property
    def gain_cents(self) -> int:
        """Return what a sale brought above the books' basis, wash sales apart."""
        return self.proceeds_cents - self.basis_cents


@dataclass(frozen=True, slots=True)
class Heir:
    """A split, or a merger into shares: what `old` shares are equal to from a day on."""

    on: date
    old: int
    new: int
    ratio_num: int
    ratio_den: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a customer chose about taxes, from a day on."""

    on: date
    harvests: bool
    budget_cents: int | None
    """Net gain of sales we choose in a year, at most; None for no limit."""
    defers: bool = False
    """Whether losses may be deferred into shares bought before (buy-buy-sell)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """All that a checker needs of an account's life, in the order of time."""

    moved: Sequence[Moved]
    heirs: Sequence[Heir] = ()
    wishes: Sequence[Wish] = ()


@dataclass(slots=True)
class _Asked:
    """What a customer said of one name: from an instant on, whether to sell what is held."""

    own_since: int
    at: list[int] = field(default_factory=list)
    choice: list[str] = field(default_factory=list)

    def holds(self, at: int) -> str:
        """Return the choice at an instant."""
        spot = bisect_right(self.at, at)
        return self.choice[spot - 1] if spot else ""


@dataclass(slots=True)
class _Withdrawal:
    requested_at: int
    ended_at: int
    cents: int
    closing: bool
    raised_cents: int = 0


def read(connection: Any, account_id: str) -> Stream:
    """Return an account's life from the books; a plain DB-API connection to SQLite.

    Raises:
        ValueError: If something happened that this reading does not know, or the customer has
            other accounts whose purchases count too: better no count than a wrong one.
    """
    customer = _customer(connection, account_id)
    both = {"customer": customer, "account": account_id}
    if connection.execute(_OTHERS, both).fetchone()[0]:
        message = "the customer trades elsewhere too: what is bought there could wash a loss here"
        raise ValueError(message)
    moved = [*moves(connection, account_id), *_money(connection, account_id)]
    moved.sort(key=lambda one: one.on)  # stable: a day keeps the books' order
    wishes = [
        Wish(_day(at), mode == "harvest" or target != "none", budget, bool(defers))
        for at, mode, target, budget, defers in connection.execute(_WISHES, [customer])
    ]
    return Stream(moved, heirs(connection), wishes)


def moves(connection: Any, account_id: str) -> list[Moved]:
    """Return what happened to the lots of an account, days rising, in the order of the books.

    Raises:
        ValueError: If something has a cause that is neither a fill nor a corporate action.
    """
    said = _said(connection, _customer(connection, account_id))
    withdrawals = [
        _Withdrawal(int(at), int(ended), int(cents), bool(closing))
        for at, ended, cents, closing in connection.execute(_WITHDRAWALS, [_ALWAYS, account_id])
    ]
    found: list[Moved] = []
    parent: tuple[str, str] = "", ""
    days: dict[int, date] = {}
    for row in connection.execute(_EVENTS, [account_id]).fetchall():
        on, security, lot, kind, nanos, basis, proceeds, cause, fill, reason, planned, since = row
        # A trade counts on its day, however late it is booked, unless its name has moved since.
        day = max(date.fromisoformat(on), days.get(int(security), date.min))
        nanos, basis, proceeds = int(nanos), abs(int(basis)), int(proceeds)
        told = _kind(kind, cause, fill)
        of_lot = parent[0] if told == CAME and parent[1] == cause else ""
        if of_lot:  # with what it came out of
            day = max(day, found[-1].on)
        days[int(security)] = day
        parent = (lot, cause) if told == LEFT else ("", "")
        if told == SELL and _withdrawn(withdrawals, reason, planned, proceeds):
            told = WITHDRAWN
        elif told == SELL and int(security) in said:
            told = _of_wish(said[int(security)].holds(planned), proceeds - basis)
        acquired = date.fromisoformat(since) if told == CAME else None
        found.append(Moved(day, int(security), lot, nanos, basis, proceeds, told, of_lot, acquired))
    return sorted(found, key=lambda one: one.on)  # stable: a day keeps the books' order


def heirs(connection: Any) -> list[Heir]:
    """Return splits and mergers into shares of all names, in the order of their days."""
    found = []
    for ex_on, kind, old, text in connection.execute(_ACTIONS):
        detail = json.loads(text)
        new = old if kind == "split" else detail["new_security_id"]
        if new is not None:
            ratio = int(detail["ratio_num"]), int(detail["ratio_den"])
            found.append(Heir(date.fromisoformat(ex_on), int(old), int(new), *ratio))
    return found


def _kind(kind: str, cause: str, fill: str | None) -> str:
    if fill is not None and kind in {"open", "close"}:
        return BUY if kind == "open" else SELL
    if fill is None and cause.startswith("act_"):
        return {"open": CAME, "close": ACTION, "split": SPLIT, "merge": LEFT, "basis": LEFT}[kind]
    message = f"nobody here knows what a {kind} by {cause} is"
    raise ValueError(message)


def _of_wish(choice: str, gain_cents: int) -> str:
    """Return whose a sale is where the customer said something of the name.

    Who wants it sold without gains has not asked for a sale at a gain.
    """
    asked = choice == "sell" or (choice == "sell_within_budget" and gain_cents <= 0)
    return ASKED if asked else SELL


def _said(connection: Any, customer: str) -> dict[int, _Asked]:
    """Return what the customer said of names, each from the instant on which it was said.

    Only of names that the customer has ruled out in person: an exclusion by activity follows
    score files, which nobody sends us to sell.
    """
    said = {
        int(security): _Asked(int(since))
        for security, since in connection.execute(_OWN, [customer])
    }
    for at, text in connection.execute(_CHANGES, [customer]):
        detail = json.loads(text)
        security, what = int(detail["security_id"]), str(detail["what"])
        mine = said.setdefault(security, _Asked(_ALWAYS))
        choice = ""
        if what == "added":
            mine.own_since = min(mine.own_since, int(at))
        elif what.startswith("chosen_") and int(at) >= mine.own_since:
            choice = what.removeprefix("chosen_")
        mine.at.append(int(at))
        mine.choice.append(choice)
    return said


def _withdrawn(
    withdrawals: Sequence[_Withdrawal], reason: str, planned_at: int, cents: int
) -> bool:
    """Return whether a sale was for a withdrawal: called so, and one was waiting for its money."""
    if reason not in {"sell_withdrawal", "sell_close_out"}:
        return False
    for one in withdrawals:
        waits = one.closing or one.raised_cents < one.cents
        if one.requested_at <= planned_at <= one.ended_at and waits:
            one.raised_cents += cents
            return True
    return False


def _money(connection: Any, account_id: str) -> list[Moved]:
    mine = f"customer/{account_id}/%"
    return [
        Moved(_day(at), 0, "", 0, 0, int(cents), MONEY)
        for at, cents in connection.execute(_MONEY, [mine, mine, mine])
    ]


def _day(at_micros: int) -> date:
    """Return the date in New York of an instant."""
    return datetime.fromtimestamp(int(at_micros) / 1_000_000, UTC).astimezone(_NEW_YORK).date()


def _customer(connection: Any, account_id: str) -> str:
    row = connection.execute(_OWNER, [account_id]).fetchone()
    if row is None:
        message = f"there is no account {account_id}"
        raise ValueError(message)
    return str(row[0])
