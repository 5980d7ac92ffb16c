"""The paper broker's tables; the file itself refuses what the code should never write."""

from typing import Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS orders (
    seq INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL UNIQUE,
    broker_order_id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    security_id INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    notional_cents INTEGER CHECK (notional_cents > 0),
    nanos INTEGER CHECK (nanos > 0),
    state TEXT NOT NULL,
    filled_nanos INTEGER NOT NULL DEFAULT 0 CHECK (filled_nanos >= 0),
    filled_cents INTEGER NOT NULL DEFAULT 0 CHECK (filled_cents >= 0),
    fee_cents INTEGER NOT NULL DEFAULT 0 CHECK (fee_cents >= 0),
    slices INTEGER NOT NULL,
    slice INTEGER NOT NULL DEFAULT 0,
    submitted_at INTEGER NOT NULL,
    due_at INTEGER,
    expires_at INTEGER,
    code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    CHECK ((notional_cents IS NULL) <> (nanos IS NULL)),
    CHECK (filled_cents <= notional_cents),
    CHECK (filled_nanos <= nanos),
    CHECK ((state = 'open') = (due_at IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS orders_due ON orders (due_at, seq) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS executions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    account TEXT NOT NULL,
    security_id INTEGER NOT NULL,
    side TEXT NOT NULL,
    nanos INTEGER NOT NULL CHECK (nanos > 0),
    price_micros INTEGER NOT NULL CHECK (price_micros > 0),
    cents INTEGER NOT NULL CHECK (cents >= 0),
    fee_cents INTEGER NOT NULL CHECK (fee_cents >= 0 AND fee_cents <= cents),
    executed_at INTEGER NOT NULL,
    settles_on INTEGER NOT NULL,
    feed TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS positions (
    account TEXT NOT NULL,
    security_id INTEGER NOT NULL,
    nanos INTEGER NOT NULL CHECK (nanos > 0),
    PRIMARY KEY (account, security_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cash (
    account TEXT NOT NULL,
    settles_on INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    PRIMARY KEY (account, settles_on)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entitlements (
    action_id TEXT NOT NULL,
    account TEXT NOT NULL,
    security_id INTEGER NOT NULL,
    nanos INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    pay_on INTEGER NOT NULL,
    PRIMARY KEY (action_id, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS activities (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    action_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    security_id INTEGER NOT NULL,
    on_day INTEGER NOT NULL,
    cents INTEGER NOT NULL CHECK (cents >= 0),
    nanos_before INTEGER NOT NULL,
    nanos_delta INTEGER NOT NULL,
    new_security_id INTEGER,
    new_nanos INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS move_ins (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    positions TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'received', 'refused')),
    due_at INTEGER NOT NULL,
    on_day INTEGER CHECK ((state = 'received') = (on_day IS NOT NULL)),
    code TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    day INTEGER NOT NULL
) STRICT
"""
