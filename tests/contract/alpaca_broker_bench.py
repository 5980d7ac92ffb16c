"""Customers' accounts at Alpaca on the kit's bench: opened, linked and paid into before a case."""

import re
from decimal import Decimal
from types import MappingProxyType

from alpaca_benches import START_CENTS, AlpacaTradingBench

from broker_adapters.kit.bench import Ability, Call, SeenOrder, Trouble
from robo.ports.broker import Side

_OWN = "/v1/trading/accounts/[^/]+"
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
        }
    )

    def start(self, tempo):
        super().start(tempo)
        self.accounts = tuple(self._account(name) for name in ("kit-1", "kit-2"))

    def trouble(self, trouble, call, *, nth=1, times=1):
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
