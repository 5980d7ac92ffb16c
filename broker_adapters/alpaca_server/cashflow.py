"""What cash a transfer or a journal has moved by now, and the rows that tell of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from broker_adapters.alpaca_server.exchange import scaled
from broker_adapters.alpaca_server.rows import row_id
from robo.core.clock import business_date
from robo.core.money import format_cents

Move = tuple[str, int, dict[str, Any]]


def moves(kind: str, body: Mapping[str, Any]) -> list[Move]:
    """Return (account, cents, row) for each account whose cash a thing has moved by now.

    A row's id hangs on the thing and the way alone: told twice, it is one row.
    """
    if kind == "transfer":
        return _of_transfer(body)
    if kind == "journal" and body["status"] == "executed":
        cents = scaled(body["net_amount"], 2) or 0
        return [
            _move(body, str(body["from_account"]), "JNLC", -cents),
            _move(body, str(body["to_account"]), "JNLC", cents),
        ]
    return []


def _of_transfer(body: Mapping[str, Any]) -> list[Move]:
    """Incoming cash is there once the transfer is complete; outgoing goes when it is asked for."""
    incoming, returned = body["direction"] == "INCOMING", bool(body.get("returned"))
    gone = not incoming and body["status"] not in {"CANCELED", "REJECTED"}
    if not (gone or returned or (incoming and body["status"] == "COMPLETE")):
        return []
    cents, account = scaled(body["amount"], 2) or 0, str(body["account_id"])
    there = _move(body, account, *(("CSD", cents) if incoming else ("CSW", -cents)))
    back = _move(body, account, *(("CSW", -cents) if incoming else ("CSD", cents)))
    return [there, back] if returned else [there]


def _move(body: Mapping[str, Any], account: str, word: str, cents: int) -> Move:
    day = business_date(datetime.fromisoformat(str(body["created_at"])))
    row = {
        "id": row_id(day, f"{body['id']}/{word}/{account}"),
        "account_id": account,
        "activity_type": word,
        "date": day.isoformat(),
        "net_amount": format_cents(cents),
        "status": "executed",
        "description": f"Journal ID: {body['id']}" if word == "JNLC" else "type: ach",
        "created_at": str(body["created_at"]),
    }
    return account, cents, row
