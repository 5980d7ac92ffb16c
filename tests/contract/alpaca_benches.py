"""The Alpaca adapters on the kit's bench: real sockets, the Alpaca-shaped server, its faults."""

import calendar
import time
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from unittest.mock import patch

import requests

from broker_adapters.alpaca_server import events
from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.server import AlpacaServer
from broker_adapters.kit.bench import OF_GROUPS, Ability, Bench, Call, SeenOrder, Trouble
from broker_adapters.kit.benches import paper_settings
from broker_adapters.kit.wire import LATE_SECONDS
from robo.ports.broker import Side

START_CENTS = 10**13
_PAGE = "<html><body>Please wait</body></html>"
_AMOUNTS = ("filled_qty", "qty", "price", "cash", "cash_withdrawable", "net_amount")
FAULTS = {
    Trouble.BUSY: {"kind": FaultKind.REFUSE, "status": 503},
    Trouble.LIMIT: {"kind": FaultKind.REFUSE, "status": 429, "body": '{"message":"too many"}'},
    Trouble.LOCKED: {
        "kind": FaultKind.REFUSE,
        "status": 401,
        "body": '{"message":"unauthorized."}',
    },
    Trouble.MOVED: {"kind": FaultKind.REFUSE, "status": 302, "headers": {"Location": "/login"}},
    Trouble.UNSEEN: {
        "kind": FaultKind.REFUSE,
        "status": 404,
        "body": '{"code":40410000,"message":"order not found"}',
    },
    Trouble.LOST_BEFORE: {"kind": FaultKind.DROP},
    Trouble.LOST_AFTER: {"kind": FaultKind.DROP_AFTER},
    Trouble.ERROR_AFTER: {"kind": FaultKind.FAIL_AFTER, "status": 500, "body": '{"message":"no"}'},
    Trouble.GATEWAY_AFTER: {"kind": FaultKind.FAIL_AFTER, "status": 504, "body": _PAGE},
    Trouble.PAGE_AFTER: {"kind": FaultKind.FAIL_AFTER, "status": 200, "body": _PAGE},
    Trouble.EMPTY_AFTER: {"kind": FaultKind.FAIL_AFTER, "status": 200},
    Trouble.SHAPE_AFTER: {"kind": FaultKind.FAIL_AFTER, "status": 200, "body": '{"items":"none"}'},
    Trouble.LATE_AFTER: {"kind": FaultKind.DELAY_AFTER, "seconds": LATE_SECONDS},
    Trouble.HALF_AFTER: {"kind": FaultKind.TRUNCATE},
    Trouble.NEW_WORD: {"kind": FaultKind.EDIT, "edit": {"status": "held_for_the_eclipse"}},
    Trouble.NO_AMOUNTS: {"kind": FaultKind.EDIT, "edit": dict.fromkeys(_AMOUNTS)},
    Trouble.NOT_NUMBERS: {"kind": FaultKind.EDIT, "edit": dict.fromkeys(_AMOUNTS, "NaN")},
    Trouble.REPEATED: {"kind": FaultKind.REPEAT},
    Trouble.REJECT_LATER: {"kind": FaultKind.REJECT_LATER},
    Trouble.CANCEL_LATER: {"kind": FaultKind.CANCEL_LATER, "seconds": 15.0},
}


class AlpacaTradingBench(Bench):
    """One account that all customers share."""

    accounts = ("omnibus/firm_1",)
    abilities = frozenset(Ability) - {Ability.ACCOUNTS, Ability.FEES, *OF_GROUPS}
    troubles = frozenset(FAULTS)
    secrets = ("key-id-5e1f", "secret-9a7b")
    page = 100
    calls = MappingProxyType(
        {
            Call.SUBMIT: ("POST", "/v2/orders"),
            Call.FIND: ("GET", "/v2/orders:by_client_order_id"),
            Call.CANCEL: ("DELETE", "/v2/orders/.*"),
            Call.EXECUTIONS: ("GET", "/v2/account/activities.*"),
            Call.ACTIVITIES: ("GET", "/v2/account/activities.*"),
            Call.POSITIONS: ("GET", "/v2/positions"),
            Call.CASH: ("GET", "/v2/account"),
        }
    )

    def __init__(self, create, folder):
        super().__init__(create, folder)
        self.server = None
        self._asked = {}
        self.quick = patch.multiple(events, _HEARTBEAT_SECONDS=0.04, _PAUSE_SECONDS=0.02)
        self.session = requests.Session()
        self.session.trust_env = False

    def start(self, tempo):
        self.quick.start()
        given = {**paper_settings(tempo), "ROBO_PAPER_START_CENTS": str(START_CENTS)}
        market = self.market(given, self.folder / "server")
        self.server = AlpacaServer(market, per_minute=10**6)
        faults, meet = self.server.faults, self.server.faults.meet

        def counted(method, path):
            self._asked[method, path] = self._asked.get((method, path), 0) + 1
            return meet(method, path)

        faults.meet = counted

    def open(self, tempo):
        if self.server is None:
            self.start(tempo)
        broker = super().open(tempo)
        for scheme in ("http://", "https://"):
            broker._http._client._session.adapters[scheme]._timeouts = (10.0, self.patience_seconds)
        return broker

    def settings(self, _tempo):
        return {
            "ROBO_ALPACA_KEY": self.secrets[0],
            "ROBO_ALPACA_SECRET": self.secrets[1],
            "ROBO_ALPACA_URL": self.server.url,
            "ROBO_ALPACA_BROKER_URL": self.server.url,
            "ROBO_ALPACA_PER_MINUTE": str(10**6),
            "ROBO_ALPACA_OPENING_CENTS": str(START_CENTS),
        }

    def close(self):
        super().close()
        self.session.close()
        if self.server is not None:
            self.server.close()
            self.quick.stop()

    def trouble(self, trouble, call, *, nth=1, times=1):
        if call in self.calls:
            method, path = self.calls[call]
            fault = Fault(method=method, path=path, nth=nth, times=times, **FAULTS[trouble])
            if trouble is Trouble.LIMIT:  # as of a minute that ends now: else the pace waits it out
                soon = {"X-Ratelimit-Reset": str(calendar.timegm(time.gmtime()))}
                fault = replace(fault, headers=soon)
            self.server.faults.plan(fault)
            if trouble is Trouble.BUSY and "activities" in path:
                # One of two sources is enough: a broker that is down answers neither.
                self.server.faults.plan(replace(fault, path="/v2beta1/events/activities"))

    def calm(self):
        self.server.faults.clear()

    def asked(self, call):
        method, path = self.calls[call]
        return self._asked.get((method, path), 0)

    def seen(self):
        return [_seen(row, self.accounts[0]) for row in self._rows("/v2/orders")]

    def _rows(self, path):
        query = {"status": "all", "limit": "500", "direction": "asc"}
        return self.session.get(self.server.url + path, params=query, timeout=30).json()


def _seen(row, account):
    notional, quantity = row["notional"], row["qty"]
    return SeenOrder(
        row["client_order_id"],
        account,
        row["symbol"],
        Side(row["side"]),
        None if notional is None else int(Decimal(notional) * 100),
        None if notional is not None else int(Decimal(quantity) * 10**9),
    )
