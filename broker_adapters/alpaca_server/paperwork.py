"""Bodies of the `/v1` half, with the keys and types of Alpaca's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Self

from broker_adapters.alpaca_server.bodies import uuid_of
from robo.core.clock import business_date, iso_instant, to_micros
from robo.core.money import format_cents

CHANGEABLE: Final = frozenset({"contact", "identity", "disclosures", "trusted_contact"})
"""Parts of an account that a PATCH may change."""
_EXPIRES: Final = timedelta(days=7)
_CONTACT: Final = ("email_address", "phone_number", "street_address", "city")
_IDENTITY: Final = ("given_name", "family_name", "date_of_birth", "country_of_tax_residence")
_DISCLOSURES: Final = (
    "is_control_person",
    "is_affiliated_exchange_or_finra",
    "is_politically_exposed",
    "immediate_family_exposed",
)
_ABROAD: Final = (
    "visa_type",
    "visa_expiration_date",
    "date_of_departure_from_usa",
    "permanent_resident",
)


@dataclass(frozen=True, slots=True)
class AccountForm:
    """An application that is complete."""

    email: str
    given_name: str
    body: dict[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self | None:
        """Return an application, or None if something is missing."""
        contact, identity = fields.get("contact"), fields.get("identity")
        disclosures, agreements = fields.get("disclosures"), fields.get("agreements")
        parts = ((contact, _CONTACT), (identity, _IDENTITY), (disclosures, _DISCLOSURES))
        for part, needed in parts:
            if not isinstance(part, dict) or any(part.get(name) is None for name in needed):
                return None
        signed = isinstance(agreements, list) and all(
            isinstance(one, dict) and one.get("signed_at") and one.get("ip_address")
            for one in agreements
        )
        if not signed or not agreements or not isinstance(contact, dict):
            return None
        assert isinstance(identity, dict)
        whole = {
            "contact": contact,
            "identity": {name: value for name, value in identity.items() if name != "tax_id"},
            "disclosures": disclosures,
            "agreements": agreements,
            "trusted_contact": fields.get("trusted_contact"),
        }
        return cls(str(contact["email_address"]), str(identity["given_name"]), whole)


def account_body(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return an account's body."""
    person = kept["identity"]
    birth = dict.fromkeys(_ABROAD)
    identity = {
        "tax_id_type": "USA_SSN",
        "country_of_citizenship": "USA",
        "country_of_birth": "USA",
        "funding_source": [],
        **birth,
        **person,
    }
    doubt: dict[str, Any] = {"IDENTITY_VERIFICATION": {}}
    rejected = doubt if kept["status"] == "REJECTED" else {}
    asked = doubt if kept["status"] == "ACTION_REQUIRED" else {}
    return {
        "id": kept["id"],
        "account_number": kept["account_number"],
        "status": kept["status"],
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "last_equity": "0",
        "created_at": kept["created_at"],
        "contact": {"unit": "", "state": "", "postal_code": "0", **kept["contact"]},
        "identity": identity,
        "disclosures": {"is_discretionary": False, **kept["disclosures"]},
        "agreements": [{"revision": None, **one} for one in kept["agreements"]],
        "documents": [],
        "trusted_contact": kept.get("trusted_contact")
        or {"given_name": "", "family_name": "", "email_address": ""},
        "account_type": "trading",
        "account_sub_type": "",
        "trading_configurations": None,
        "kyc_results": {
            "reject": rejected,
            "accept": {},
            "indeterminate": asked,
            "additional_information": "",
            "summary": "fail" if rejected or asked else "pass",
        },
    }


def relationship_body(
    identity: str, account_id: str, fields: Mapping[str, Any], at: str
) -> dict[str, Any] | None:
    """Return a bank link's body; the number is shown by its last digits. None if not complete."""
    needed = ("account_owner_name", "bank_account_type", "bank_account_number")
    named = {name: str(fields.get(name) or "") for name in (*needed, "bank_routing_number")}
    if not all(named.values()):
        return None
    number = named["bank_account_number"]
    return {
        "id": identity,
        "account_id": account_id,
        "created_at": at,
        "updated_at": at,
        "status": "QUEUED",
        **named,
        "bank_account_number": number[-4:].rjust(len(number), "*"),
        "nickname": str(fields.get("nickname") or ""),
    }


def transfer_body(
    identity: str, account_id: str, fields: Mapping[str, Any], cents: int, now: datetime
) -> dict[str, Any]:
    """Return a transfer's body; nothing of the request that could name it comes back."""
    at = iso_instant(to_micros(now))
    return {
        "id": identity,
        "relationship_id": str(fields["relationship_id"]),
        "account_id": account_id,
        "type": "ach",
        "status": "QUEUED",
        "currency": "USD",
        "reason": None,
        "amount": format_cents(cents),
        "instant_amount": "0",
        "direction": fields["direction"],
        "created_at": at,
        "updated_at": at,
        "expires_at": iso_instant(to_micros(now + _EXPIRES)),
        "hold_until": None,
        "requested_amount": format_cents(cents),
        "fee": "0",
        "fee_payment_method": "user",
    }


def journal_body(
    identity: str, fields: Mapping[str, Any], cents: int, now: datetime
) -> dict[str, Any]:
    """Return a journal's body."""
    day = business_date(now).isoformat()
    return {
        "id": identity,
        "entry_type": "JNLC",
        "from_account": str(fields["from_account"]),
        "to_account": str(fields["to_account"]),
        "symbol": "",
        "qty": None,
        "price": None,
        "status": "queued",
        "settle_date": day,
        "system_date": day,
        "net_amount": format_cents(cents),
        "description": str(fields.get("description") or ""),
        "currency": "USD",
        "created_at": iso_instant(to_micros(now)),
    }


def document_body(key: str, on: date) -> dict[str, Any]:
    """Return a document's body."""
    return {
        "id": uuid_of("document", key),
        "name": "",
        "type": "account_statement",
        "sub_type": "",
        "date": on.isoformat(),
    }
