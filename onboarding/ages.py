"""Ages, and from which age a person may contract where; minors are refused with the reason."""

import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from onboarding.errors import MinorError

ACT_NAMES = {
    "UTMA": "Uniform Transfers to Minors Act",
    "UGMA": "Uniform Gifts to Minors Act",
}


@dataclass(frozen=True, slots=True)
class ContractAge:
    """From which age a person may contract, and what applies to someone younger."""

    age: int
    state: str
    custodial_act: str
    source: str
    note: str


def age_on(birth_date: date, day: date) -> int:
    """Full years lived on that day; 29 February has its birthday on 1 March in other years."""
    had_birthday = (day.month, day.day) >= (birth_date.month, birth_date.day)
    return day.year - birth_date.year - (not had_birthday)


def contract_age(state: str, on: date) -> ContractAge:
    """The rule of that state on that day; the general rule where the state has none of its own.

    Military post offices tell nothing about a person's home state, so they follow the general rule.
    """
    table = _table()
    entries = [
        entry
        for entry in table["exception"]
        if state in entry["states"] and entry["effective_from"] <= on
    ]
    newest = max(entries, key=lambda entry: entry["effective_from"], default=None)
    act = next((c["act"] for c in table["custodial"] if state in c["states"]), None)
    return ContractAge(
        age=newest["age"] if newest else table["default_age"],
        state=state,
        custodial_act=act or table["default_custodial_act"],
        source=newest["source"] if newest else "general rule",
        note=newest["note"] if newest else "",
    )


def require_contract_age(birth_date: date, state: str, on: date) -> None:
    """Return if the person may contract.

    Raises:
        MinorError: With the reason and the custodial rule that applies instead.
    """
    rule = contract_age(state, on)
    if age_on(birth_date, on) >= rule.age:
        return
    act = rule.custodial_act
    message = (
        f"In {state} a person must be {rule.age} to open an account. Until then an adult can "
        f"hold investments as custodian under the state's {ACT_NAMES[act]} ({act}); the young "
        "person takes over at the age that act sets. We do not offer custodial accounts yet."
    )
    raise MinorError(message, reasons=["under_contract_age", f"custodial_{act.lower()}"])


@cache
def _table() -> dict[str, Any]:
    """The table of `data/contract_ages.toml`; read once."""
    blob = files("onboarding").joinpath("data/contract_ages.toml").read_bytes()
    return tomllib.loads(blob.decode())
