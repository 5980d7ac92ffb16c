"""Small households written straight into the tables: lots, sales and orders, a line each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from robo.config import Settings
from robo.core.ids import AccountId, FirmId, child_id
from robo.ledger import recipes
from robo.runtime import load_keyring
from robo.services.washing import Window, counting, window
from robo.services.washing.counting import WashKind
from robo.store import households, ledger, lots, orders, outside_trades, tax_profiles
from robo.store.chains import append
from robo.store.database import Database, connect, insert_many
from robo.store.keyring import Keyring
from robo.store.lots import OpenLot
from robo.store.outside_trades import OutsideAccount, OutsideTrade
from robo.store.schema import upgrade
from robo.store.tax_profiles import Choice
from robo.tax.harvest import Masks

FIRM = FirmId("firm_homes")
SHARE = 10**9
_DAY = 86_400_000_000


def micros(on: date, hour: int = 12) -> int:
    """An hour in New York of a day, in winter."""
    return (on - date(1970, 1, 1)).days * _DAY + (hour + 5) * 3_600_000_000


@dataclass
class Homes:
    """People of one firm; every id is made of a counter."""

    db: Database
    keyring: Keyring
    made: int = 0

    def number(self) -> int:
        self.made += 1
        return self.made

    def person(self) -> str:
        customer = child_id("cus", "home", self.number())
        columns = ("id", "firm_id", "email_index", "state", "created_at", "identity_state")
        rest = ("identity_codes", "delivery", "external_ref", "data_key")
        key = self.keyring.new_data_key(customer)
        row = (customer, FIRM, customer.encode(), "active", 1, "accepted")
        with self.db.write() as session:
            insert_many(
                session, "customer", (*columns, *rest), [(*row, "", "paper", customer, key)]
            )
        return customer

    def account(self, customer: str, kind: str = "individual") -> AccountId:
        account = AccountId(child_id("acc", "home", self.number()))
        with self.db.write() as session:
            insert_many(
                session,
                "account",
                ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
                [(account, FIRM, customer, kind, "open", 1)],
            )
            insert_many(
                session,
                "sleeve",
                ("id", "account_id", "kind", "basket_id", "target_id", "changed_at"),
                [(f"slv_{account}", account, "basket", "b", "tgt_none", 1)],
            )
        return account

    def joint(self, first: str, second: str) -> AccountId:
        account = self.account(first, "joint")
        with self.db.write() as session:
            households.own_jointly(session, account, second, 1)
        return account

    def restrict(self, customer: str, name: int, verb: str, source: str) -> None:
        columns = ("id", "customer_id", "security_id", "verb", "source", "reason", "held_choice")
        row = (child_id("rst", self.number()), customer, name, verb, source, "x", "none", 1)
        with self.db.write() as session:
            insert_many(session, "restriction", (*columns, "created_at"), [row])

    def home(self, people: list[str], since: date, joined: date | None = None) -> str:
        home = child_id("hh", "home", self.number())
        with self.db.write() as session:
            at = micros(joined or since)
            households.form(session, home, FIRM, people, since.isoformat(), at)
        return home

    def accepts(self, customer: str, on: date, hour: int = 12) -> None:
        choice = Choice(buy_buy_sell=1, number=1, at=micros(on, hour))
        with self.db.write() as session:
            tax_profiles.choose(session, customer, choice)

    def buy(
        self, account: AccountId, name: int, on: date, cents: int = 10_000, hour: int = 12
    ) -> str:
        """One share, sent and bought at an hour of the day."""
        fill = self._filled(account, name, on, "buy", cents, "buy_tracking", hour)
        lot = child_id("lot", fill)
        self._event(lot, account, name, "open", SHARE, cents, 0, fill, on)
        return lot

    def sell(self, account: AccountId, lot: str, on: date, cents: int, reason: str = "") -> str:
        """What is left of a lot, for what; without a reason, a merger paid in cash."""
        with self.db.read() as session:
            (one,) = [one for one in lots.open_lots(session, [account])[account] if one.id == lot]
        name = one.security_id
        fill = child_id("act", self.number())
        if reason:
            fill = self._filled(account, name, on, "sell", cents, reason, 12)
        paid = one.basis_cents
        self._event(lot, account, name, "close", -one.nanos, -paid, cents, fill, on)
        return fill

    def order(
        self, account: AccountId, side: str, name: int, on: date, state: str = "planned"
    ) -> str:
        """An open order."""
        return self._order(account, name, on, side, f"{side}_tracking", state)

    def leaves(self, home: str, on: date) -> None:
        with self.db.write() as session:
            households.dissolve(session, home, on.isoformat(), micros(on))

    def corrupt(self, account: AccountId, lot: str, name: int, on: date) -> None:
        """A row says that a share of a lot was sold, which the lot itself knows nothing of."""
        cause = child_id("fil", self.number())
        row = lots.LotEvent(
            child_id("lev", cause, lot), lot, account, name, "close", -SHARE, -1, 0, cause,
            on.isoformat(),
        )  # fmt: skip
        with self.db.write() as session:
            append(session, bytes(32), [row.link()], 1)

    def elsewhere(self, customer: str) -> AccountId:
        """An account at another firm."""
        account = AccountId(child_id("oac", self.number()))
        one = OutsideAccount(account, customer, "taxable", b"", "active", 1)
        with self.db.write() as session:
            outside_trades.add_account(session, one)
        return account

    def imports(
        self, account: AccountId, name: int, told: date, *rows: tuple[str, date, int]
    ) -> None:
        """A file taken on a day: a share of a name, bought or sold for so much."""
        made = child_id("imp", self.number())
        trades = [
            OutsideTrade(
                child_id("otr", made, place), account, made, place, kind, on.isoformat(), name,
                SHARE, cents, None,
            )
            for place, (kind, on, cents) in enumerate(rows)
        ]  # fmt: skip
        with self.db.write() as session:
            outside_trades.add_import(session, made, account, b"", trades, micros(told))

    def kinds(self, customer: str, on: date) -> dict[WashKind, int]:
        """How many wash sales of somebody's sales there were, by kind."""
        with self.db.read() as session:
            found = counting.counts(session, [customer], on)
        return {kind: count for kind, count in found.by_kind.items() if count}

    def open_orders(self, account: AccountId) -> set[str]:
        with self.db.read() as session:
            return {one.id for one in orders.open_orders(session, [account])}

    def window(self, account: AccountId, on: date) -> Window:
        with self.db.read() as session:
            return window(session, [account], on)

    def masks(self, account: AccountId, on: date) -> Masks:
        return self.window(account, on).masks(account, self.held(account))

    def held(self, account: AccountId) -> list[OpenLot]:
        with self.db.read() as session:
            return lots.open_lots(session, [account]).get(account, [])

    def _event(
        self, lot: str, account: AccountId, name: int, kind: str, nanos: int, basis: int,
        proceeds: int, cause: str, on: date,
    ) -> None:  # fmt: skip
        made = lots.LotEvent(
            child_id("lev", cause, lot), lot, account, name, kind, nanos, basis, proceeds, cause,
            on.isoformat(),
        )  # fmt: skip
        with self.db.write() as session:
            lots.apply_events(session, [made])
            append(session, bytes(32), [made.link()], 1)

    def _order(
        self, account: AccountId, name: int, on: date, side: str, reason: str, state: str
    ) -> str:
        order = child_id("ord", "home", self.number())
        cents, nanos = (10_000, None) if side == "buy" else (None, SHARE)
        columns = (
            "id", "firm_id", "account_id", "sleeve_id", "batch_id", "security_id", "side",
            "notional_cents", "nanos", "reason", "state", "planned_at", "reserved_cents",
            "filled_nanos", "filled_cents", "fee_cents", "hold_until", "code", "capacity",
            "closed_at",
        )  # fmt: skip
        row = (
            order, FIRM, account, f"slv_{account}", order, name, side, cents, nanos, reason,
            state, micros(on), cents or 0, 0, 0, 0, "", "", "agency",
            micros(on) if state == "filled" else None,
        )  # fmt: skip
        with self.db.write() as session:
            insert_many(session, "orders", columns, [row])
            if side == "buy" and state != "filled":
                paid = recipes.deposit(account, 10_000, order)
                paid += recipes.reserve(account, 10_000, order)
                ledger.post(session, self.keyring.chain, paid, FIRM, micros(on))
        return order

    def _filled(
        self, account: AccountId, name: int, on: date, side: str, cents: int, reason: str,
        hour: int,
    ) -> str:  # fmt: skip
        order, number = self._order(account, name, on, side, reason, "filled"), self.number()
        block, execution = child_id("blk", number), child_id("exe", number)
        fill = child_id("fil", number)
        at = micros(on, hour)
        with self.db.write() as session:
            insert_many(
                session,
                "block",
                ("id", "firm_id", "window", "broker", "broker_account", "security_id", "symbol",
                 "side", "nanos", "state", "executed_nanos", "executed_cents", "attempts",
                 "told_at", "asks", "asked_at", "code", "created_at"),
                [(block, FIRM, on.isoformat(), "b", "b", name, "X", side, SHARE, "filled", SHARE,
                  cents, 1, 0, 0, 0, "", at)],
            )  # fmt: skip
            insert_many(
                session,
                "execution",
                ("id", "block_id", "security_id", "side", "nanos", "price_micros", "cents",
                 "fee_cents", "executed_at", "settles_on", "chain", "seq", "mac"),
                [(execution, block, name, side, SHARE, 1, cents, 0, at, on.isoformat(),
                  execution, 1, b"")],
            )  # fmt: skip
            insert_many(
                session,
                "fill",
                ("id", "order_id", "account_id", "execution_id", "nanos", "cents", "fee_cents",
                 "price_micros", "settles_on", "chain", "seq", "mac"),
                [(fill, order, account, execution, SHARE, cents, 0, 1, on.isoformat(), fill, 1,
                  b"")],
            )  # fmt: skip
            session.connection().exec_driver_sql(
                f"UPDATE orders SET block_id = '{block}' WHERE id = '{order}'"
            )
        return fill


@contextmanager
def homes(folder: Path) -> Iterator[Homes]:
    """Yield an empty firm."""
    db = connect(f"sqlite:///{folder / 'homes.db'}", flush=False)
    upgrade(db)
    with db.write() as session:
        insert_many(session, "firm", ("id", "name", "house", "created_at"), [(FIRM, "H", 1, 1)])
        insert_many(
            session,
            "target",
            ("id", "basket_id", "basket_version", "score_note", "created_at"),
            [("tgt_none", "b", "1", "", 1)],
        )
    try:
        yield Homes(db, load_keyring(Settings(state_dir=str(folder))))
    finally:
        db.close()
