"""Alpaca's activities that are no executions, as ours: what belongs together becomes one.

Alpaca tells a split as two rows, minutes apart (the old shares REMOVEd, the new ones ADDed), a
merger as up to three. Our books want one activity with what was there before and what came of it,
so the rows of an event are held until they are complete; meanwhile the name is "moving". The
activity takes the number of the row that completed it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from broker_adapters.alpaca_entries import own_part
from broker_adapters.alpaca_fields import UnreadableError, optional_decimal
from broker_adapters.alpaca_groups import (
    IN_PARTS,
    Row,
    group_of,
    is_cash_alone,
    is_complete,
    is_only_basis,
    other_half,
)
from broker_adapters.alpaca_wire import cents_of
from robo.core.ids import SecurityId
from robo.core.money import AMOUNT_CENTS_MAX, NANOS_PER_SHARE
from robo.core.shares import SHARES_MAX
from robo.ports.broker import Activity, CashKind
from robo.ports.prices import ActionKind, CorporateAction

_POSITION: Final = re.compile(r"Pos QTY: *([0-9.]+)", re.ASCII)
_PAYING_DAYS: Final = 120
"""How long before its payment a dividend may have gone ex."""
_ACTING_DAYS: Final = 7
_DIVIDENDS: Final = frozenset({"DIV", "DIVCGL", "DIVCGS", "DIVROC", "DIVTXEX", "CGD"})
_KINDS: Final = {
    **dict.fromkeys(("DIVNRA", "DIVFT", "DIVTW", "INTNRA", "INTTW"), CashKind.WITHHOLDING),
    **dict.fromkeys(("FEE", "CFEE", "DIVFEE", "PTC", "PTR"), CashKind.FEE),
    "INT": CashKind.INTEREST,
    "CSD": CashKind.DEPOSIT,
    "CSW": CashKind.WITHDRAWAL,
    **dict.fromkeys(("JNL", "JNLC", "JNLS", "ACATC", "ACATS", "TRANS"), CashKind.JOURNAL),
}
FROM_OUTSIDE: Final = frozenset({CashKind.DEPOSIT, CashKind.WITHDRAWAL, CashKind.JOURNAL})
"""Cash of these kinds was moved in or out; it is no result of trading."""
_YEARS: Final = range(1990, 2200)
ALONE: Final = "#alone"
"""What a key of ours ends with that says: to the row of this key, nothing more will come."""
_OF_SOURCES: Final = ("#silent", "#dropped")
"""What a key ends with that tells of a source: it has failed for long, or left something out."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal's rows amount to."""

    activities: Sequence[tuple[int, str, Activity]]
    """(number, key, activity) in the order of their numbers."""
    moving: frozenset[SecurityId]
    """Names whose event is not complete yet."""
    outside_cents: int
    """Net cash that was moved in from outside, or out."""
    alone: Sequence[Row] = ()
    """Cash of spin-offs that waits for the shares beside it, a row for each."""


class ActivityReader:
    """Turns rows into activities; needs our names for securities and corporate actions."""

    def __init__(
        self,
        security: Callable[[str], SecurityId],
        actions: Callable[[date], Sequence[CorporateAction]],
    ) -> None:
        """Take what names a symbol, and what lists the corporate actions of an ex-date."""
        self._security = security
        self._actions = actions
        self._by_day: dict[date, Sequence[CorporateAction]] = {}
        self._looked_again: set[str] = set()
        """Rows that fitted nothing that we knew of, and were looked at anew once."""

    def read(self, rows: Sequence[tuple[int, str, Any]], broker_account: str) -> Reading:
        """Return the activities of all rows; an event's rows are put together.

        Args:
            rows: (number, key, body) in the order of hearing.
            broker_account: Whose they are; empty if each row says so itself.
        """
        waiting: dict[tuple[str, ...], list[Row]] = {}
        made: list[tuple[int, str, Activity]] = []
        first: dict[str, Row] = {}
        spun: set[tuple[str, str]] = set()
        for seq, key, body in rows:
            try:
                row = _row(seq, key, body)
            except UnreadableError:
                made.append((seq, key, self._strange(key, body, broker_account)))
                continue
            whose = broker_account or str(row.body.get("account_id") or "")
            before = first.get(_base(key))
            if row.key.endswith("#correct") and before is not None:
                made.append((seq, key, self._corrected(row, before, whose)))
                continue
            first.setdefault(_base(key), row)
            if key.endswith(ALONE):
                rest = _group_with(_base(key), waiting)
                if rest is not None:
                    made.append((seq, key, self._event(waiting.pop(rest), whose)))
            elif (whose, row.symbol) in spun and is_cash_alone([row]):
                # The shares are told: cash in lieu of parts of one. To whom is a person's to say.
                made.append((seq, key, self._single(row, whose)))
            elif row.type in IN_PARTS and not row.key.partition("#")[2]:
                named = group_of(row, "" if broker_account else whose)
                group = waiting.setdefault(named, [])
                group.append(row)
                rest = None if is_complete(group) else other_half(named, waiting)
                if rest is not None:  # the list told one part of it, the stream the other
                    group = sorted([*waiting.pop(rest), *group], key=lambda one: one.seq)
                if is_complete(group):
                    made.append((seq, key, self._event(group, whose)))
                    del waiting[named]
                    spun |= {(whose, one.symbol) for one in group if one.type == "SPIN"}
            else:
                made.append((seq, key, self._single(row, whose)))
        moving = {
            self._security(row.symbol)
            for group in waiting.values()
            for row in group
            if not is_only_basis(group)
        }
        outside = sum(one.cents for _, _, one in made if one.kind in FROM_OUTSIDE)
        alone = [group[-1] for group in waiting.values() if is_cash_alone(group)]
        return Reading(made, frozenset(moving), outside, alone)

    def _single(self, row: Row, broker_account: str) -> Activity:
        security_id = self._security(row.symbol) if row.symbol else SecurityId(0)
        dividend = row.type in _DIVIDENDS
        in_shares = dividend and row.sub_type == "SDIV"
        kind: ActionKind | CashKind = _KINDS.get(row.type, CashKind.OTHER)
        if in_shares:
            kind = ActionKind.SPLIT  # a dividend in shares leaves everybody the same part
        elif dividend:
            kind = ActionKind.CASH_DIVIDEND
        paying = (dividend and not in_shares) or kind is CashKind.WITHHOLDING
        back = row.key.partition("#")[2] == "canceled"
        sign = -1 if back else 1
        return Activity(
            id=row.key,
            action_id=self._action_id(row, ActionKind.CASH_DIVIDEND if paying else kind),
            kind=kind,
            security_id=security_id,
            on=row.on,
            cents=sign * row.cents,
            nanos_before=_held(row, in_shares=in_shares) if dividend else 0,
            nanos_delta=0 if dividend and not in_shares else sign * row.nanos,
            broker_account=broker_account,
            takes_back=row.key.partition("#")[0] if back else _previous(row),
            detail=f"{row.type} {row.sub_type}".strip(),
        )

    def _corrected(self, row: Row, before: Row, broker_account: str) -> Activity:
        """Return what a row that is told again as corrected changes: for a person, never twice."""
        return Activity(
            id=row.key,
            action_id="",
            kind=CashKind.OTHER,
            security_id=self._security(row.symbol) if row.symbol else SecurityId(0),
            on=row.on,
            cents=row.cents - before.cents,
            nanos_before=0,
            nanos_delta=row.nanos - before.nanos,
            broker_account=broker_account,
            detail=f"corrected {row.type} {row.sub_type}".strip(),
        )

    def _event(self, group: Sequence[Row], broker_account: str) -> Activity:
        """Return the one activity of an event's rows."""
        last, kind = group[-1], _event_kind(group[0])
        gone = -sum(row.nanos for row in group if row.nanos < 0)
        came = sum(row.nanos for row in group if row.nanos > 0)
        old = next((row for row in group if row.nanos < 0), group[0])
        new = next((row for row in group if row.nanos > 0 and row.symbol != old.symbol), None)
        before = gone
        if kind is ActionKind.SPIN_OFF:
            old, new = group[0], group[0]
            parent = _parent(group[0])
            old_id, before = self._security(parent), 0
        else:
            old_id = self._security(old.symbol)
        same = kind in {ActionKind.SPLIT, ActionKind.SYMBOL_CHANGE}
        delta = came - gone if same else -gone
        new_id = self._security(new.symbol) if new is not None and not same else None
        return Activity(
            id=last.key,
            action_id=self._action_id(old, kind, old_id),
            kind=kind,
            security_id=old_id,
            on=last.on,
            cents=sum(row.cents for row in group),
            nanos_before=before,
            nanos_delta=delta,
            new_security_id=new_id,
            new_nanos=came if new_id is not None else 0,
            broker_account=broker_account,
            detail=f"{last.type} {last.sub_type}".strip(),
        )

    def _strange(self, key: str, body: Any, broker_account: str) -> Activity:
        """Return a row that cannot be read as something for a person."""
        row: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        word, what = row.get("activity_type", ""), "unreadable"
        if key.endswith("#waiting"):
            what = "waiting"  # what it belongs to cannot be looked up; it is tried again
        elif key.endswith(_OF_SOURCES):
            what = key.rpartition("#")[2]  # no row of Alpaca's: a source that cannot be trusted
        return Activity(
            id=key,
            action_id="",
            kind=CashKind.OTHER,
            security_id=SecurityId(0),
            on=date.min,
            cents=0,
            nanos_before=0,
            nanos_delta=0,
            broker_account=broker_account or str(row.get("account_id") or ""),
            detail=f"{what} {word}".strip(),
        )

    def _action_id(
        self, row: Row, kind: ActionKind | CashKind, security_id: SecurityId | None = None
    ) -> str:
        """Return our id of the corporate action that a row tells of; empty if none fits."""
        if not isinstance(kind, ActionKind) or not (row.symbol or security_id):
            return ""
        named = self._security(row.symbol) if security_id is None else security_id
        # A dividend in shares is announced as a split, and comes on the day that it is paid.
        in_shares = kind is ActionKind.SPLIT and row.sub_type == "SDIV"
        paying = kind is ActionKind.CASH_DIVIDEND or in_shares
        days = [row.on - timedelta(days=n) for n in range(_PAYING_DAYS if paying else _ACTING_DAYS)]
        kept = [day for day in days if day in self._by_day]
        found = self._fitting(row, kind, named, days, paying=paying)
        if not found and kept and row.key not in self._looked_again:
            # It may have been announced since another row made us look at that day.
            self._looked_again.add(row.key)
            for day in kept:
                del self._by_day[day]
            found = self._fitting(row, kind, named, days, paying=paying)
        return found

    def _fitting(
        self, row: Row, kind: ActionKind, named: SecurityId, days: Sequence[date], *, paying: bool
    ) -> str:
        """Return the id of the action of some ex-days that fits a row best; empty if none does."""
        in_shares = kind is ActionKind.SPLIT and paying
        fits: list[tuple[int, str]] = []
        for day_of in days:
            for action in self._on(day_of):
                alike = action.kind is kind or {action.kind, kind} <= _ALIKE
                if action.security_id == named and alike:
                    meant = {action.pay_on if paying else action.ex_on}
                    if in_shares:  # a source may know no other day than the one it went ex
                        meant.add(action.ex_on)
                    fits.append((min(abs((day - row.on).days) for day in meant), action.id))
        best = min(fits, default=(_ACTING_DAYS, ""))
        return best[1] if best[0] < _ACTING_DAYS else ""

    def _on(self, day: date) -> Sequence[CorporateAction]:
        if day not in self._by_day:
            self._by_day[day] = self._actions(day)
        return self._by_day[day]


def _group_with(
    base: str, waiting: Mapping[tuple[str, ...], Sequence[Row]]
) -> tuple[str, ...] | None:
    """Return the group that still waits with a row; None if it has become an event."""
    fits = (named for named, rows in waiting.items() if base in {_base(one.key) for one in rows})
    return next(fits, None)


_ALIKE: Final = frozenset({ActionKind.DELISTING, ActionKind.CASH_MERGER})
"""Both take the shares and may pay for them; brokers and sources differ in the word."""


def _row(seq: int, key: str, body: Any) -> Row:
    """Read a row strictly where money is.

    Raises:
        UnreadableError: If its type, day, cash or shares cannot be read.
    """
    if not isinstance(body, Mapping) or key.endswith(("#unreadable", "#waiting", *_OF_SOURCES)):
        message = "an activity cannot be read"
        raise UnreadableError(message)
    cash = optional_decimal(body, "net_amount") or Decimal(0)
    shares = Fraction(optional_decimal(body, "qty") or Decimal(0)) * NANOS_PER_SHARE
    day = body.get("date") or body.get("settle_date") or body.get("system_date")
    try:
        on = date.fromisoformat(str(day)[:10])
    except ValueError as error:
        message = "an activity has no day"
        raise UnreadableError(message) from error
    if shares.denominator != 1:
        message = "an activity has parts of a nanoshare"
        raise UnreadableError(message)
    sane = abs(cents_of(Fraction(cash))) <= AMOUNT_CENTS_MAX and on.year in _YEARS
    if not sane or abs(shares) > SHARES_MAX * NANOS_PER_SHARE:
        message = "an activity is beyond all sense"
        raise UnreadableError(message)
    return Row(
        seq=seq,
        key=key,
        type=str(body.get("activity_type") or body.get("entry_type") or ""),
        sub_type=str(body.get("activity_sub_type") or body.get("entry_sub_type") or ""),
        on=on,
        symbol=str(body.get("symbol") or ""),
        cents=cents_of(Fraction(cash)),
        nanos=shares.numerator,
        text=str(body.get("description") or ""),
        body=body,
    )


def _held(row: Row, *, in_shares: bool) -> int:
    """Return the position that a dividend was paid for: in its text, or as its quantity.

    The quantity of a dividend in shares is what came: without the text nothing is said of it.
    """
    found = _POSITION.search(row.text)
    exact = Fraction(found.group(1)) * NANOS_PER_SHARE if found else Fraction(1, 2)
    if exact.denominator == 1:
        return exact.numerator
    return 0 if in_shares else abs(row.nanos)


def _base(key: str) -> str:
    """Return what the tellings of one row have in common."""
    return own_part(key).partition("#")[0]


def _previous(row: Row) -> str:
    return str(row.body.get("previous_id") or "")


def _event_kind(row: Row) -> ActionKind:
    if row.type == "MA":
        return ActionKind.CASH_MERGER if row.sub_type == "CMA" else ActionKind.STOCK_MERGER
    return {
        "SPLIT": ActionKind.SPLIT,
        "NC": ActionKind.SYMBOL_CHANGE,
        "SPIN": ActionKind.SPIN_OFF,
        "REORG": ActionKind.DELISTING,
    }[row.type]


def _parent(row: Row) -> str:
    """Return the symbol of the company that was split off from."""
    found = re.search(r"Initiating Symbol: *([A-Z0-9./]+)", row.text)
    return found.group(1) if found else row.symbol
