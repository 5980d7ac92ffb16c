"""Customers' accounts at Alpaca on the kit's bench: opened, linked and paid into before a case."""

import re
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

from alpaca_benches import FAULTS, START_CENTS, AlpacaTradingBench

from broker_adapters.alpaca_server.faults import Fault, FaultKind
from broker_adapters.alpaca_server.paperwork import document_body
from broker_adapters.alpaca_server.ulids import ulid
from broker_adapters.kit.bench import Ability, Call, SeenOrder, Trouble
from robo.core.clock import iso_instant, to_micros
from robo.ports.broker import Side

_OWN = "/v1/trading/accounts/[^/]+"
_STREAM = "/v1/events/accounts/status"
_OF_STREAMS = {
    Trouble.REPEATED: FaultKind.EVENT_TWICE,
    Trouble.SWAPPED: FaultKind.EVENT_SWAP,
    Trouble.DROPPED: FaultKind.EVENT_DROPPED,
}
_ODD_IDS = ("evt-1", "01F0ILOU000000000000000000", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
"""No ULID, one of letters that none has, one of a far future."""
_PERSON = {
    "identity": {
        "given_name": "Kit",
        "family_name": "Customer",
        "date_of_birth": "1990-01-01",
        "country_of_tax_residence": "USA",
    },
    "disclosures": dict.fromkeys(
        (
            "is_control_person",
            "is_affiliated_exchange_or_finra",
            "is_politically_exposed",
            "immediate_family_exposed",
        ),
        False,
    ),
    "agreements": [
        {
            "agreement": "customer_agreement",
            "signed_at": "2026-01-02T00:00:00Z",
            "ip_address": "::1",
        }
    ],
}


class AlpacaBrokerBench(AlpacaTradingBench):
    """Two customers with an account each."""

    accounts = ()
    abilities = frozenset(Ability) - {Ability.FEES}
    troubles = frozenset({*FAULTS, *_OF_STREAMS, Trouble.ODD, Trouble.LATE_EVENT})
    calls = MappingProxyType(
        {
            Call.SUBMIT: ("POST", f"{_OWN}/orders"),
            Call.FIND: ("GET", f"{_OWN}/orders:by_client_order_id"),
            Call.CANCEL: ("DELETE", f"{_OWN}/orders/.*"),
            Call.EXECUTIONS: ("GET", "/v1/accounts/activities"),
            Call.ACTIVITIES: ("GET", "/v1/accounts/activities"),
            Call.POSITIONS: ("GET", f"{_OWN}/positions"),
            Call.CASH: ("GET", f"{_OWN}/account"),
            Call.TRANSFER: ("POST", "/v1/accounts/[^/]+/transfers"),
            Call.OPEN: ("POST", "/v1/accounts"),
            Call.ACCOUNT: ("GET", "/v1/accounts(/[^/]+)?"),
            Call.JOURNAL: ("POST", "/v1/journals"),
            Call.DOCUMENTS: ("GET", "/v1/accounts/[^/]+/documents.*"),
            Call.EVENTS: ("GET", _STREAM),
        }
    )

    def start(self, tempo):
        super().start(tempo)
        self.accounts = tuple(self._account(name) for name in ("kit-1", "kit-2"))

    def trouble(self, trouble, call, *, nth=1, times=1):
        if call is Call.EVENTS and trouble is Trouble.ODD:
            self._tell_odd_events()
            return
        if call is Call.EVENTS and trouble is Trouble.LATE_EVENT:
            before = to_micros(self.clock.now() - timedelta(seconds=30))
            self._tell_events(before, ulid(before, "late"))
            return
        if call is Call.EVENTS and trouble in _OF_STREAMS:
            kind = _OF_STREAMS[trouble]
            self.server.faults.plan(Fault(kind, "GET", _STREAM, nth=nth, times=times))
            return
        super().trouble(trouble, call, nth=nth, times=times)
        if call is Call.TRANSFER and trouble is Trouble.BUSY:
            planned = self.calls
            path = planned[call][1]
            self.calls = MappingProxyType({**planned, call: ("GET", path)})
            super().trouble(trouble, call, nth=nth, times=times)
            self.calls = planned

    def asked(self, call):
        wanted, path = self.calls[call]
        return sum(
            count
            for (method, asked), count in self._asked.items()
            if method == wanted and re.fullmatch(path, asked)
        )

    def seen(self):
        return [
            SeenOrder(
                row["client_order_id"],
                account,
                row["symbol"],
                Side(row["side"]),
                None if row["notional"] is None else int(Decimal(row["notional"]) * 100),
                None if row["notional"] is not None else int(Decimal(row["qty"]) * 10**9),
            )
            for account in self.accounts
            for row in self._rows(f"/v1/trading/accounts/{account}/orders")
        ]

    def money_moved(self):
        rows = [
            row
            for account in self.accounts
            for row in self._rows(f"/v1/accounts/{account}/transfers")
        ]
        cents = [int(Decimal(row["amount"]) * 100) for row in rows]
        return [one for one in cents if one != START_CENTS]

    def opened(self):
        return [row["id"] for row in self._rows("/v1/accounts")]

    def journaled(self):
        return [int(Decimal(row["net_amount"]) * 100) for row in self._rows("/v1/journals")]

    def put_state(self, broker_account, word):
        self._post(f"/_local/accounts/{broker_account}/status", {"status": word})

    def issue(self, broker_account, on):
        body = document_body(f"{broker_account}/{on}", on)
        self.server._shelf.put("document", [(body["id"], broker_account, body)])
        return f"%PDF-1.4 {body['id']}\n".encode()

    def _tell_odd_events(self):
        self._tell_events(to_micros(self.clock.now()), *_ODD_IDS)
        nothing = {"event_id": "01HCMKXS94ST351NFGEZR57EHV", "at": "yesterday"}
        self.server._shelf.put("odd", [], [("accounts", "nothing", nothing)])

    def _tell_events(self, micros, *ids):
        told = {"account_id": self.accounts[0], "at": iso_instant(micros)}
        states = {"status_from": "ACTIVE", "status_to": "ACTIVE"}
        bodies = [{**told, **states, "event_id": one, "event_ulid": one} for one in ids]
        self.server._shelf.put("odd", [], [("accounts", one["event_id"], one) for one in bodies])

    def _account(self, name):
        contact = {
            "email_address": f"{name}@example.com",
            "phone_number": "555",
            "street_address": ["1 Main"],
            "city": "San Mateo",
        }
        account = self._post("/v1/accounts", {**_PERSON, "contact": contact})["id"]
        self.wait(3)
        bank = self.bank()
        details = {
            "account_owner_name": bank.owner_name,
            "bank_account_type": "CHECKING",
            "bank_account_number": bank.account_number,
            "bank_routing_number": bank.routing_number,
        }
        link = self._post(f"/v1/accounts/{account}/ach_relationships", details)["id"]
        self.wait(2)
        asked = {
            "relationship_id": link,
            "amount": str(START_CENTS // 100),
            "direction": "INCOMING",
        }
        self._post(f"/v1/accounts/{account}/transfers", asked)
        self.wait(3)
        self._rows("/v1/accounts")  # the deposit is there once somebody has looked
        return account

    def _post(self, path, body):
        return self.session.post(self.server.url + path, json=body, timeout=30).json()
