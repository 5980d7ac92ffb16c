"""What customers told us of their taxes, year by year; sealed like everything personal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from sqlmodel import Session

from robo.core.errors import BrokenInvariantError, InvalidInputError
from robo.core.policy import Policy
from robo.services.sealing import Vault
from robo.store import tax_profiles
from robo.store.keyring import Keyring, unseal_json
from robo.store.tax_profiles import PROFILE
from robo.tax.gains import Net
from robo.tax.rate_tables import FilingStatus
from robo.tax.rates import StateRates, TaxProfile
from robo.tax.selection import LotMethod

_CENTS_MAX = 10**14
"""A trillion dollars: more is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a customer told us of one tax year, in cents.

    Attributes:
        ordinary_cents: Taxable ordinary income after deductions, without capital gains.
        magi_cents: Modified adjusted gross income without capital gains.
        investment_cents: Interest, dividends and rent in it.
        compensation_cents: Earned income, which limits contributions to IRAs.
        carried_short_cents: Short-term loss carried in from the year before, not positive.
        carried_long_cents: Long-term loss carried in, not positive.
        outside_short_cents: Net short-term gain realised elsewhere and not imported.
        outside_long_cents: Net long-term gain realised elsewhere and not imported.
        lot_method: Which lots a withdrawal from a basket sells; it holds until told otherwise.
    """

    status: FilingStatus
    ordinary_cents: int
    magi_cents: int
    investment_cents: int = 0
    compensation_cents: int = 0
    state: StateRates = field(default_factory=StateRates)
    carried_short_cents: int = 0
    carried_long_cents: int = 0
    outside_short_cents: int = 0
    outside_long_cents: int = 0
    lot_method: LotMethod = LotMethod.LOWEST_TAX

    def __post_init__(self) -> None:
        """Refuse amounts that are none.

        Raises:
            InvalidInputError: Naming each field.
        """
        wrong: dict[str, list[str]] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if not one.name.endswith("_cents"):
                continue
            if abs(value) > _CENTS_MAX:
                wrong[one.name] = ["This is more than there is."]
            elif one.name.startswith("carried") and value > 0:
                wrong[one.name] = ["A carried loss is zero or negative."]
            elif not one.name.startswith(("carried", "outside")) and value < 0:
                wrong[one.name] = ["This must not be negative."]
        if wrong:
            message = "Some amounts are not acceptable."
            raise InvalidInputError(message, code="tax_profile_amount", fields=wrong)

    @property
    def outside(self) -> Net:
        """Return what was realised elsewhere and not imported."""
        return Net(self.outside_short_cents, self.outside_long_cents)

    @property
    def profile(self) -> TaxProfile:
        """Return it as the rules want it."""
        return TaxProfile(
            self.status,
            self.ordinary_cents,
            self.magi_cents,
            self.investment_cents,
            self.state,
            Net(self.carried_short_cents, self.carried_long_cents),
        )

    def next_year(self, carried: Net) -> Self:
        """Return what stays true in the next year, with the losses carried into it."""
        return replace(
            self,
            carried_short_cents=carried.short_cents,
            carried_long_cents=carried.long_cents,
            outside_short_cents=0,
            outside_long_cents=0,
        )

    def to_raw(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "status": self.status.value, "lot_method": self.lot_method.value}

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> Self:
        """Return what was kept."""
        more = {**raw, "status": FilingStatus(raw["status"]), "state": StateRates(**raw["state"])}
        more["lot_method"] = LotMethod(raw.get("lot_method", LotMethod.LOWEST_TAX))
        return cls(**more)


def assumed(policy: Policy) -> Told:
    """Return what we assume of somebody who has told us nothing."""
    income = policy.assumed_income_cents
    return Told(FilingStatus.SINGLE, income, income)


def last_method(told: Mapping[int, Told], year: int) -> LotMethod:
    """Return the lot method that holds for a year: told of it, of one before, or of one after.

    Args:
        told: What a customer told us, by year.
        year: The tax year.
    """
    before = [one for one in told if one <= year]
    if not told:
        return LotMethod.LOWEST_TAX
    return told[max(before) if before else min(told)].lot_method


def keep(session: Session, vault: Vault, year: int, told: Told, at_micros: int) -> None:
    """Seal what a customer told us of a year; what it replaces goes to the history."""
    vault.write(session, f"{PROFILE}:{year}", told.to_raw(), at_micros)


def told(
    session: Session, keyring: Keyring, customer_ids: Sequence[str]
) -> dict[str, dict[int, Told]]:
    """Return customer -> year -> what they told us; nobody who has told us nothing."""
    found: dict[str, dict[int, Told]] = {}
    for customer, (wrapped, sealed) in tax_profiles.sealed_profiles(session, customer_ids).items():
        key = keyring.open_data_key(customer, wrapped)
        years: dict[int, Told] = {}
        for name, content in sealed.items():
            raw = unseal_json(key, content, f"personal:{customer}:{name}")
            if not isinstance(raw, dict):
                message = f"{name} of a customer does not hold a tax profile"
                raise BrokenInvariantError(message, code="tax_profile_content")
            years[int(name.rpartition(":")[2])] = Told.from_raw(raw)
        found[customer] = years
    return found
