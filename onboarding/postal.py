"""Postal addresses in the United States; street addresses exclude post office boxes.

CIP asks for a residential or business street address; an APO or FPO number, or the street of a next
of kin, will do for those without one. Source: 31 CFR 1023.220(a)(2)(i)(A)(3).
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import partial

from onboarding import reading
from onboarding.reading import Section, refuse

_STATE_CODES = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO "
    "MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY"
)
STATES = frozenset(_STATE_CODES.split())
TERRITORIES = frozenset({"AS", "GU", "MP", "PR", "VI"})
MILITARY_STATES = frozenset({"AA", "AE", "AP"})
MILITARY_CITIES = frozenset({"APO", "FPO", "DPO"})

_ZIP = re.compile(r"[0-9]{5}(-[0-9]{4})?")
_PO_BOX = re.compile(
    r"\bP\s*O\s*(B|BX|BOX)\b|\bPOB(OX)?\b|\bPOST(AL)?\s*(OFFICE)?\s*BOX\b|^\s*(BOX|BX)\b"
    r"|\bGENERAL\s+DELIVERY\b|\b(PMB|CALLER|LOCKBOX)\b|\bPRIVATE\s+MAIL\s*BOX\b"
)
_MILITARY_LINE = re.compile(r"\b(PSC|CMR|UNIT|USS|USNS|USCGC)\b")
_LINE_LENGTH_MAX = 100
_KEYS = ("line1", "line2", "city", "state", "postal_code", "country")


@dataclass(frozen=True, slots=True)
class Address:
    """One address in the United States, its territories, or a military post office."""

    line1: str
    city: str
    state: str
    postal_code: str
    line2: str = ""
    country: str = "US"

    @property
    def is_military(self) -> bool:
        """Whether it is an APO, FPO or DPO address."""
        return self.state in MILITARY_STATES

    def to_raw(self) -> dict[str, str]:
        """Plain JSON values that read back to an equal value."""
        raw = {
            "line1": self.line1,
            "line2": self.line2,
            "city": self.city,
            "state": self.state,
            "postal_code": self.postal_code,
            "country": self.country,
        }
        return {key: value for key, value in raw.items() if value}


def address_in(form: Section, key: str, *, required: bool, street: bool = True) -> Address | None:
    """The address under `key`; an empty one stands in where a required one is faulty.

    Args:
        form: The document around it.
        key: Where it lies.
        required: Whether it must be there.
        street: Whether post office boxes are refused; a mailing address may be one.
    """
    inner = form.inner(key, _KEYS)
    if inner is None:
        if required:
            form.lack(key)
            return Address("", "", "", "")
        return None
    line = partial(reading.text, longest=_LINE_LENGTH_MAX)
    address = Address(
        line1=inner.required("line1", line, ""),
        line2=inner.optional("line2", line, ""),
        city=inner.required("city", line, ""),
        state=inner.required("state", _state, ""),
        postal_code=inner.required("postal_code", _postal_code, ""),
        country=inner.optional("country", _united_states, "US"),
    )
    _check(inner, address, street=street)
    return address


def employer_address_in(form: Section, key: str) -> Address:
    """The employer's address; a post office box will do, it identifies nobody."""
    address = address_in(form, key, required=True, street=False)
    assert address is not None
    return address


def is_po_box(line: str) -> bool:
    """Whether a line names a box or counter instead of a place where someone lives or works.

    Rural routes and highway contracts ("RR 2 Box 15") describe a place and pass.
    """
    plain = unicodedata.normalize("NFKC", line).upper()
    plain = re.sub(r"[.,#/\\_-]", " ", plain)
    return _PO_BOX.search(plain) is not None


def _check(inner: Section, address: Address, *, street: bool) -> None:
    """Note what is wrong only in combination."""
    military_city = address.city.upper() in MILITARY_CITIES
    if address.city and address.state and military_city != address.is_military:
        inner.fault("state", "APO, FPO and DPO go with AA, AE and AP, and only with them.")
    if not street:
        return
    for key, line in (("line1", address.line1), ("line2", address.line2)):
        if is_po_box(line) and not (address.is_military and _MILITARY_LINE.search(line.upper())):
            inner.fault(key, "We need the street where you live or work, not a post office box.")


def _state(value: object) -> str:
    """A two-letter state, territory or military code, in capitals."""
    code = value.upper() if isinstance(value, str) and value.isascii() else ""
    if code not in STATES | TERRITORIES | MILITARY_STATES:
        refuse("This must be a two-letter state, such as CA.")
    return code


def _postal_code(value: object) -> str:
    """A ZIP or ZIP+4 code."""
    clean = reading.text(value, 10)
    if not _ZIP.fullmatch(clean):
        refuse("A ZIP code has five digits, or nine with a hyphen.")
    return clean


def _united_states(value: object) -> str:
    """US; nothing else."""
    if reading.country_code(value) != "US":
        refuse("We open accounts for addresses in the United States only.")
    return "US"
