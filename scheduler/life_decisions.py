"""Every decision of a life as a CSV: ours and the customer's, in the order of time.

Orders and skips are rows of the books. Targets and the ladder keep only how they stand, so the
database of a life, which is thrown away, gets triggers that write down how they came to stand so.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from robo.store import universe
from robo.store.database import Database

COLUMNS: Final = (
    "at_micros",
    "decision",
    "side",
    "symbol",
    "reason",
    "state",
    "buy_cents",
    "sell_nanos",
    "filled_cents",
    "filled_nanos",
    "tax_cents",
    "cost_cents",
    "tracking_error_ppm",
    "detail",
)
_WATCH: Final = (
    """
    CREATE TABLE life_change (
        n INTEGER PRIMARY KEY, at INTEGER, account_id TEXT, what TEXT, old TEXT, new TEXT,
        detail TEXT)
    """,
    """
    CREATE TRIGGER life_target AFTER UPDATE ON sleeve
    WHEN OLD.target_id <> NEW.target_id OR OLD.kind <> NEW.kind BEGIN
        INSERT INTO life_change (at, account_id, what, old, new, detail) VALUES
            (NEW.changed_at, NEW.account_id, 'target', OLD.target_id, NEW.target_id, NEW.kind);
    END
    """,
    """
    CREATE TRIGGER life_first AFTER INSERT ON direct_sleeve BEGIN
        INSERT INTO life_change (at, account_id, what, old, new, detail) VALUES
            (NEW.changed_at, NEW.account_id, 'ladder', '0', NEW.names,
             NEW.ladder || ', carries ' || NEW.carried_cents || ' cents');
    END
    """,
    """
    CREATE TRIGGER life_ladder AFTER UPDATE ON direct_sleeve
    WHEN OLD.names <> NEW.names OR OLD.ladder <> NEW.ladder OR OLD.theme <> NEW.theme BEGIN
        INSERT INTO life_change (at, account_id, what, old, new, detail) VALUES
            (NEW.changed_at, NEW.account_id, 'ladder', OLD.names, NEW.names,
             NEW.ladder || ', carries ' || NEW.carried_cents || ' cents');
    END
    """,
)
_ORDERS: Final = text("""
    SELECT o.planned_at, 'order', o.side, o.security_id, o.reason, o.state, o.notional_cents,
           o.nanos, o.filled_cents, o.filled_nanos, e.tax_cents, e.cost_cents,
           e.tracking_error_ppm, o.code
    FROM orders o LEFT JOIN trade_effect e ON e.order_id = o.id WHERE o.account_id = :account
    UNION ALL
    SELECT k.at, 'skip', '', k.security_id, k.reason, '', NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, '' FROM skip k WHERE k.account_id = :account
""")
_CHANGES: Final = text(
    "SELECT at, what, old, new, detail FROM life_change WHERE account_id = :account ORDER BY n"
)
_WEIGHTS: Final = text(
    "SELECT security_id, weight_ppm, note FROM target_weight WHERE target_id = :target"
)
_ACTS: Final = text("""
    SELECT at, kind, payload FROM event
    WHERE customer_id = (SELECT customer_id FROM account WHERE id = :account)
      AND (kind IN ('account.opened', 'answers.submitted', 'choices.changed', 'profile.updated',
                    'restriction.changed', 'tax_choice.changed', 'tax_profile.updated',
                    'withdrawal.requested', 'withdrawal.canceled')
           OR (kind LIKE 'plan.%' AND kind <> 'plan.skipped')
           OR (kind = 'deposit.requested' AND payload NOT LIKE '%"plan_id":"pln%'))
    ORDER BY seq
""")


def watch(db: Database) -> None:
    """Let a life's own database write down how targets and the ladder change."""
    with db.write() as session:
        for words in _WATCH:
            session.connection().exec_driver_sql(words)


def write(db: Database, account_id: str, path: Path) -> int:
    """Write every decision of an account; return how many there are.

    A change of target is a line for each name that comes, goes, or stands in for another one.
    """
    with db.read() as session:
        symbol = {int(one.id): one.symbol for one in universe.everything(session)}
        connection = session.connection()
        lines = [
            [*row[:3], symbol.get(row[3], row[3]), *row[4:]]
            for row in connection.execute(_ORDERS, {"account": account_id})
        ]
        for at, what, old, new, detail in connection.execute(_CHANGES, {"account": account_id}):
            if what == "ladder":
                lines.append(_line(at, "ladder", reason=f"{old} to {new} names", detail=detail))
                continue
            before, after = (_weights(connection, target) for target in (old, new))
            lines.append(_line(at, "target", reason=f"{old} to {new}", detail=detail))
            lines += _target(at, before, after, symbol)
        for at, kind, payload in connection.execute(_ACTS, {"account": account_id}):
            lines.append(_line(at, "customer", reason=kind, detail=payload))
    lines.sort(key=lambda line: line[0])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    return len(lines)


def _target(
    at: int,
    before: Mapping[int, tuple[int, str]],
    after: Mapping[int, tuple[int, str]],
    symbol: Mapping[int, str],
) -> list[list[Any]]:
    """Return a line for every name that a change of target is about."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        weight, note = after.get(name, (0, ""))
        had, noted = before.get(name, (0, ""))
        if name in before and name in after and note == noted:
            continue
        what = "stand_in" if note and note != noted else "target_name"
        reason = "leaves" if not weight else "comes" if not had else "stays"
        words = f"{had} to {weight} ppm{'; ' if note else ''}{note}"
        lines.append(
            _line(at, what, symbol=symbol.get(name, str(name)), reason=reason, detail=words)
        )
    return lines


def _weights(connection: Any, target_id: str) -> dict[int, tuple[int, str]]:
    rows = connection.execute(_WEIGHTS, {"target": target_id})
    return {int(name): (int(weight), str(note)) for name, weight, note in rows}


def _line(
    at: int, decision: str, *, symbol: str = "", reason: str = "", detail: str = ""
) -> list[Any]:
    return [at, decision, "", symbol, reason, *[""] * 8, detail]
