"""Transfers at a broker that knows no idempotency: asked for once, then matched by listing.

Before a transfer is asked for, our own file notes that it will be, and which transfers there were.
From then on nothing ever asks for it again: what came of it is found in Alpaca's list, by link,
direction, amount and time, among those that are nobody else's. Two that could be it, or none at
all, are AMBIGUOUS: `claim` and `release` are what a person decides with.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from broker_adapters.alpaca_fields import (
    UnreadableError,
    parse_instant,
    required_decimal,
    required_text,
    rows_of,
)
from broker_adapters.alpaca_http import AlpacaHttp, NoAnswerError, Reply
from broker_adapters.alpaca_orders import answered
from broker_adapters.alpaca_pace import Lane, ThrottledError
from broker_adapters.alpaca_verdicts import classify
from broker_adapters.alpaca_wire import cents_of
from broker_adapters.durable_file import DurableFile
from robo.core.clock import Clock, from_micros, to_micros
from robo.core.errors import BrokerUnavailableError, InvalidInputError
from robo.core.money import format_cents
from robo.ports.broker import SubmitStatus
from robo.ports.brokerage import CashRequest, CashResult, CashState, CashTransfer, Outcome
from robo.ports.funding import TransferDirection

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS transfers (
    id TEXT PRIMARY KEY,
    broker_account TEXT NOT NULL,
    relationship_id TEXT NOT NULL,
    direction TEXT NOT NULL,
    cents INTEGER NOT NULL CHECK (cents > 0),
    told_at INTEGER NOT NULL,
    before TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('told', 'claimed', 'refused')),
    broker_id TEXT UNIQUE,
    code TEXT NOT NULL DEFAULT ''
) STRICT
"""
_PAGE: Final = 100
_PAGES_MAX: Final = 100
_SKEW: Final = timedelta(minutes=5)
"""How far Alpaca's clock and ours may be apart."""
_PATIENCE: Final = timedelta(hours=1)
"""So long a lost request may still turn up; after that a person decides."""
_DIRECTIONS: Final = {TransferDirection.PULL: "INCOMING", TransferDirection.PUSH: "OUTGOING"}
_WAYS: Final = {word: way for way, word in _DIRECTIONS.items()}
_STATES: Final = {
    **dict.fromkeys(
        ("QUEUED", "APPROVAL_PENDING", "PENDING", "SENT_TO_CLEARING", "APPROVED"),
        CashState.PENDING,
    ),
    **dict.fromkeys(("SETTLED", "COMPLETE", "EXECUTED"), CashState.DONE),
    **dict.fromkeys(("REJECTED", "CANCELED", "EXPIRED"), CashState.FAILED),
    "RETURNED": CashState.RETURNED,
}


@dataclass(frozen=True, slots=True)
class _Known:
    """A request that was made."""

    id: str
    broker_account: str
    relationship_id: str
    direction: str
    cents: int
    told_at: datetime
    before: frozenset[str]
    state: str
    broker_id: str
    code: str

    def asked_for(self, request: CashRequest) -> bool:
        """Return whether this is the request that was made under its id."""
        return (
            self.broker_account == request.broker_account
            and self.relationship_id == request.relationship_id
            and self.direction == _DIRECTIONS[request.direction]
            and self.cents == request.cents
        )

    def could_be(self, transfer: CashTransfer) -> bool:
        """Return whether a transfer of Alpaca's could be this one."""
        return (
            transfer.broker_id not in self.before
            and transfer.relationship_id == self.relationship_id
            and _DIRECTIONS[transfer.direction] == self.direction
            and transfer.cents == self.cents
            and transfer.created_at >= self.told_at - _SKEW
        )

    def may_hide(self, transfer: CashTransfer, names: Mapping[str, str]) -> bool:
        """Return whether a transfer that cannot be read is new, and nobody's."""
        return transfer.broker_id not in self.before and transfer.broker_id not in names


class TransferDesk:
    """Asks for transfers, each at most once in the life of its file."""

    def __init__(self, http: AlpacaHttp, clock: Clock, path: Path) -> None:
        """Take the client, the time, and where the file is."""
        self._http, self._clock = http, clock
        self._file = DurableFile(path, _SCHEMA)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def transfer(self, request: CashRequest) -> CashResult:
        """Ask for a transfer, or find out what came of it."""
        known = self._known(request.id)
        if known is not None and not known.asked_for(request):
            return CashResult(Outcome.REFUSED, code="id_mismatch")
        if known is None:
            try:
                before = [one.broker_id for one in self.transfers(request.broker_account)]
            except BrokerUnavailableError as error:
                return CashResult(Outcome.THROTTLED, code=error.code)
            if not self._note(request, before):
                known = self._known(request.id)  # another process asks for it just now
            else:
                return self._ask(request)
        if known is not None and known.state == "refused":
            return CashResult(Outcome.REFUSED, code=known.code)
        return self._look(request.id)

    def transfers(self, broker_account: str) -> Sequence[CashTransfer]:
        """Return all transfers of an account, over all pages.

        Raises:
            BrokerUnavailableError: If a page was not answered.
        """
        found: dict[str, CashTransfer] = {}
        names = self._names()
        for page in range(_PAGES_MAX):
            query = {"limit": str(_PAGE), "offset": str(page * _PAGE)}
            reply = self._http.get(f"/accounts/{broker_account}/transfers", query, Lane.READS)
            rows = rows_of(answered(reply))
            told = [_transfer(row, broker_account, names) for row in rows]
            fresh = {one.broker_id: one for one in told if one.broker_id not in found}
            found |= fresh
            if len(rows) < _PAGE or not fresh:
                return sorted(found.values(), key=lambda one: (one.created_at, one.broker_id))
        message = "there are more transfers than can be"
        raise BrokerUnavailableError(message, code="too_many_transfers")

    def claim(self, request_id: str, broker_id: str) -> None:
        """Let a person say which transfer at the broker a request became.

        Raises:
            InvalidInputError: If the request waits for no decision, or the transfer is another's.
        """
        with self._file.write() as db:
            taken = db.execute("SELECT 1 FROM transfers WHERE broker_id = ?", (broker_id,))
            if taken.fetchone() is not None or not _moved(db, request_id, "claimed", broker_id):
                message = "that transfer, or that request, is settled already"
                raise InvalidInputError(message, code="not_open")

    def release(self, request_id: str) -> None:
        """Let a person say that a request never arrived: it may be asked for once more.

        Raises:
            InvalidInputError: If the request waits for no decision.
        """
        with self._file.write() as db:
            done = db.execute(
                "DELETE FROM transfers WHERE id = ? AND state = 'told'", (request_id,)
            )
            if done.rowcount != 1:
                message = "that request waits for nothing"
                raise InvalidInputError(message, code="not_open")

    def _ask(self, request: CashRequest) -> CashResult:
        """Ask once; the file knows already that we do."""
        body = {
            "transfer_type": "ach",
            "relationship_id": request.relationship_id,
            "amount": format_cents(request.cents),
            "direction": _DIRECTIONS[request.direction],
            "timing": "immediate",
        }
        path = f"/accounts/{request.broker_account}/transfers"
        try:
            reply = self._http.post(path, body, Lane.ORDERS)
        except ThrottledError as error:
            self.release(request.id)
            return CashResult(Outcome.THROTTLED, code=error.code)
        except NoAnswerError:
            return self._look(request.id)
        return self._told(request, reply)

    def _told(self, request: CashRequest, reply: Reply) -> CashResult:
        if not reply.fine:
            verdict = classify(reply.status, reply.body, of_order=False)
            if verdict.status is SubmitStatus.THROTTLED:
                self.release(request.id)
                return CashResult(Outcome.THROTTLED, code=verdict.code)
            if verdict.status is SubmitStatus.REJECTED:
                with self._file.write() as db:
                    _moved(db, request.id, "refused", None, verdict.code)
                return CashResult(Outcome.REFUSED, code=verdict.code)
            return self._look(request.id)
        known = self._known(request.id)
        try:
            transfer = _transfer(reply.body, request.broker_account, self._names())
        except UnreadableError:
            return self._look(request.id)
        if known is None or not known.could_be(transfer):
            return self._look(request.id)
        self.claim(request.id, transfer.broker_id)
        return self._look(request.id)

    def _look(self, request_id: str) -> CashResult:
        """Find a request's transfer in Alpaca's list."""
        known = self._known(request_id)
        assert known is not None
        try:
            listed = self.transfers(known.broker_account)
        except BrokerUnavailableError as error:
            return CashResult(Outcome.UNKNOWN, code=error.code)
        if known.state == "claimed":
            mine = next((one for one in listed if one.broker_id == known.broker_id), None)
            code = "" if mine is not None else "not_listed"
            return CashResult(Outcome.TAKEN, mine, code)
        names = self._names()
        free = [one for one in listed if known.could_be(one) and one.broker_id not in names]
        twins = [one for one in self._open() if one.id != known.id and _alike(one, known)]
        if len(free) == 1 and not twins:
            self.claim(known.id, free[0].broker_id)
            return CashResult(Outcome.TAKEN, free[0], "matched")
        # A line that cannot be read could be anything: a person compares.
        strange = [one for one in listed if not one.cents and known.may_hide(one, names)]
        if free or strange:
            return CashResult(Outcome.AMBIGUOUS, None, "several", free or strange)
        lost = self._clock.now() - known.told_at > _PATIENCE
        return CashResult(Outcome.AMBIGUOUS if lost else Outcome.UNKNOWN, None, "not_found")

    def _note(self, request: CashRequest, before: Sequence[str]) -> bool:
        """Write that a request will be made; return whether nobody else has written it."""
        with self._file.write() as db:
            done = db.execute(
                "INSERT OR IGNORE INTO transfers (id, broker_account, relationship_id, direction,"
                " cents, told_at, before, state) VALUES (?, ?, ?, ?, ?, ?, ?, 'told')",
                (
                    request.id,
                    request.broker_account,
                    request.relationship_id,
                    _DIRECTIONS[request.direction],
                    request.cents,
                    to_micros(self._clock.now()),
                    json.dumps(list(before)),
                ),
            )
            return done.rowcount == 1

    def _known(self, request_id: str) -> _Known | None:
        return next((one for one in self._all("id = ?", request_id)), None)

    def _open(self) -> list[_Known]:
        return self._all("state = ?", "told")

    def _names(self) -> Mapping[str, str]:
        """Return which transfers at the broker are whose: their id -> ours."""
        return {one.broker_id: one.id for one in self._all("state = ?", "claimed")}

    def _all(self, where: str, value: str) -> list[_Known]:
        columns = (
            "id, broker_account, relationship_id, direction, cents, told_at, before, state,"
            " broker_id, code"
        )
        query = f"SELECT {columns} FROM transfers WHERE {where} ORDER BY told_at"  # noqa: S608 - constants
        with self._file.read() as db:
            rows = db.execute(query, (value,)).fetchall()
        return [
            _Known(
                row[0],
                row[1],
                row[2],
                row[3],
                row[4],
                told_at=from_micros(row[5]),
                before=frozenset(json.loads(row[6])),
                state=row[7],
                broker_id=row[8] or "",
                code=row[9],
            )
            for row in rows
        ]


def _moved(db: Any, request_id: str, state: str, broker_id: str | None, code: str = "") -> bool:
    done = db.execute(
        "UPDATE transfers SET state = ?, broker_id = ?, code = ? WHERE id = ? AND state = 'told'",
        (state, broker_id, code, request_id),
    )
    return bool(done.rowcount == 1)


def _alike(one: _Known, other: _Known) -> bool:
    """Return whether two requests could become the same line of Alpaca's list."""
    return (one.broker_account, one.relationship_id, one.direction, one.cents) == (
        other.broker_account,
        other.relationship_id,
        other.direction,
        other.cents,
    )


def _transfer(row: Any, broker_account: str, names: Mapping[str, str]) -> CashTransfer:
    """Return a transfer's body; with no amount (0 cents) if what it is cannot be read.

    A wire made by hand, or a new word for a direction, must not keep the account's other transfers
    from being seen; one without an amount is never taken for a request's.

    Raises:
        UnreadableError: If it has no id or no status, or is another account's.
    """
    if not isinstance(row, Mapping):
        message = "a transfer should be an object"
        raise UnreadableError(message)
    broker_id, word = required_text(row, "id"), required_text(row, "status")
    if str(row.get("account_id") or broker_account) != broker_account:
        message = "a transfer is another account's"
        raise UnreadableError(message)
    try:
        direction, cents, at = _size(row)
    except UnreadableError:
        direction, cents, at = TransferDirection.PULL, 0, from_micros(0)
    return CashTransfer(
        broker_id=broker_id,
        reference=names.get(broker_id, ""),
        broker_account=broker_account,
        relationship_id=str(row.get("relationship_id") or row.get("bank_id") or ""),
        direction=direction,
        cents=cents,
        state=_STATES.get(word.upper(), CashState.UNKNOWN),
        word=word,
        created_at=at,
    )


def _size(row: Mapping[str, Any]) -> tuple[TransferDirection, int, datetime]:
    """Return which way a transfer goes, its cents and when it was made.

    Raises:
        UnreadableError: If one of them cannot be read.
    """
    direction = _WAYS.get(required_text(row, "direction"))
    # The fee, if there is one, is taken off `amount`; what was asked for is beside it.
    asked = "requested_amount" if row.get("requested_amount") else "amount"
    cents = cents_of(Fraction(required_decimal(row, asked)))
    if direction is None or cents <= 0:
        message = "a transfer goes no way that we know, or is nothing"
        raise UnreadableError(message)
    return direction, cents, parse_instant(row, "created_at")
