"""Money into IRAs: for which year it counts, how much the law lets in, what leaving it means.

The limits rest on what a customer told us of a year, or of the last one before it that they told
us of: what stays true is rolled forward as the tax profile is, and held to the new year's limits.
Incomes stay sealed; of years that were told, the two limits that follow are kept readable.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlmodel import Session

from robo.core.errors import InvalidInputError, RefusedError
from robo.core.money import format_cents
from robo.services.sealing import BIRTH_DATE, Vault
from robo.services.taxing import profiles
from robo.services.taxing.profiles import Told
from robo.services.washing.folding import IRAS
from robo.store import tax_profiles
from robo.store.keyring import Keyring
from robo.store.payers import Payer
from robo.store.tax_profiles import Contribution
from robo.tax import rate_tables, rates
from robo.tax.gains import Net
from robo.tax.rate_tables import YearTable

ROTH: Final = "roth_ira"
NOTICE: Final = "ira_distribution_1"
"""The version of the notice that a withdrawal from an IRA must confirm."""
NOTICE_TEXT: Final = (
    "Money taken from a traditional IRA is usually taxed as income; earnings of a Roth IRA may be. "
    "Before age 59½ there is usually an additional tax of 10 %. No federal income tax is withheld. "
    "It cannot be put back beyond the yearly limit, except by a rollover within 60 days."
)


@dataclass(frozen=True, slots=True)
class Room:
    """What a customer may still put into IRAs for a year, in cents."""

    tax_year: int
    limit_cents: int
    roth_limit_cents: int
    traditional_cents: int
    """Put in so far."""
    roth_cents: int
    until: date
    """The last day on which it may count for the year."""
    income_of: int
    """The year that the customer told us the income of; before `tax_year` if it was rolled."""

    @property
    def left_cents(self) -> int:
        """Return what may still go into a traditional IRA."""
        return max(0, self.limit_cents - self.traditional_cents - self.roth_cents)

    @property
    def roth_left_cents(self) -> int:
        """Return what may still go into a Roth IRA."""
        return min(self.left_cents, max(0, self.roth_limit_cents - self.roth_cents))


def allow(session: Session, vault: Vault, year: int, told: Told) -> None:
    """Keep the limits that follow from what a customer told us of a year, if there are any yet.

    Gains of this year in our accounts are not known yet and not counted as income.
    """
    if year in rate_tables.years():
        limits = _limits(session, vault, rate_tables.load(year), told)
        tax_profiles.allow(session, vault.customer_id, year, *limits)


def room(session: Session, keyring: Keyring, customer_id: str, year: int) -> Room:
    """Return what a customer may still put into IRAs for a year.

    Raises:
        RefusedError: If the year's limits are not known here (`ira_limits_missing`), or the
            customer has not told us of the year, nor of one before it (`tax_profile_missing`).
    """
    if year not in rate_tables.years():
        # Those of another year would be a guess, and what is over a limit is taxed every year.
        message = f"The limits of {year} are not known here yet."
        raise RefusedError(message, code="ira_limits_missing", reasons=[str(year)])
    table, income_of = rate_tables.load(year), year
    limits = tax_profiles.allowance(session, customer_id, year)
    if limits is None:
        income_of, told = _rolled(session, keyring, customer_id, year)
        limits = _limits(session, Vault.open(session, keyring, customer_id), table, told)
    so_far = tax_profiles.contributed(session, customer_id, year)
    roth = so_far.pop(ROTH, 0)
    return Room(year, *limits, sum(so_far.values()), roth, table.ira_until, income_of)


def _rolled(session: Session, keyring: Keyring, customer_id: str, year: int) -> tuple[int, Told]:
    """Return the last year up to one that a customer told us of, and what stays true of it."""
    known = profiles.told(session, keyring, [customer_id]).get(customer_id, {})
    last = max((one for one in known if one <= year), default=None)
    if last is None:
        place = f"/v1/customers/{customer_id}/tax-profile"
        message = f"Tell us your income of {year} first: PUT {place}."
        raise RefusedError(message, code="tax_profile_missing", reasons=[str(year)])
    return last, known[last] if last == year else known[last].next_year(Net())


def _limits(session: Session, vault: Vault, table: YearTable, told: Told) -> tuple[int, int]:
    """Return what may go into all IRAs for a year, and of that into Roth IRAs, in cents."""
    born = vault.read(session, BIRTH_DATE)
    age = table.year - date.fromisoformat(born).year if isinstance(born, str) else 0
    limit = rates.ira_limit_cents(table, age, told.compensation_cents)
    magi = told.magi_cents + max(0, told.outside.cents)
    return limit, rates.roth_limit_cents(table.status[told.status], limit, magi)


def check(
    session: Session,
    keyring: Keyring,
    payer: Payer,
    tax_year: int | None,
    cents: int,
    today: date,
) -> int:
    """Return the year for which a deposit into an IRA counts, if the law lets it in.

    Args:
        session: The caller's transaction, in which the deposit is written.
        keyring: Opens what the customer told us.
        payer: The account and its owner.
        tax_year: As designated; None for this year.
        cents: How much.
        today: In New York.

    Raises:
        InvalidInputError: If nothing may count for that year today (`tax_year`).
        RefusedError: If it is over a limit (`ira_limit`, `roth_limit`), or `room` does not know it.
    """
    year = today.year if tax_year is None else tax_year
    if not (year == today.year or (year == today.year - 1 and today <= _until(year))):
        message = "A contribution counts for this year, or until the filing date for the last."
        raise InvalidInputError(message, code="tax_year", fields={"tax_year": [message]})
    left = room(session, keyring, payer.customer_id, year)
    if cents > left.left_cents:
        message = f"For {year} ${format_cents(left.left_cents)} more may go into your IRAs."
        raise RefusedError(message, code="ira_limit", reasons=[format_cents(left.left_cents)])
    if payer.kind == ROTH and cents > left.roth_left_cents:
        message = (
            f"At your income ${format_cents(left.roth_left_cents)} more may go into Roth IRAs."
        )
        raise RefusedError(message, code="roth_limit", reasons=[format_cents(left.roth_left_cents)])
    return year


def note(session: Session, payer: Payer, deposit_id: str, tax_year: int, cents: int) -> None:
    """Write for which year a deposit counts."""
    made = Contribution(
        deposit_id, payer.account_id, payer.customer_id, payer.kind, tax_year, cents
    )
    tax_profiles.contribute(session, made)


def is_ira(kind: str) -> bool:
    """Return whether a kind of account is an IRA."""
    return kind in IRAS


def require_notice(kind: str, confirmed: str) -> None:
    """Return if money may leave an account of a kind with what the customer confirmed.

    Raises:
        RefusedError: With the notice as its detail (`ira_notice`); `reasons` says how to confirm.
    """
    if is_ira(kind) and confirmed != NOTICE:
        raise RefusedError(NOTICE_TEXT, code="ira_notice", reasons=[NOTICE])


def shown(found: Room) -> dict[str, Any]:
    """Return room as it is shown."""
    return {
        "tax_year": found.tax_year,
        "limit": found.limit_cents,
        "roth_limit": found.roth_limit_cents,
        "traditional": found.traditional_cents,
        "roth": found.roth_cents,
        "left": found.left_cents,
        "roth_left": found.roth_left_cents,
        "until": found.until,
        "income_of": found.income_of,
    }


def _until(year: int) -> date:
    """Return the last day for a year's contributions: 15 April, until the year's file says it."""
    table = rate_tables.nearest(year)
    return table.ira_until if table.year == year else date(year + 1, 4, 15)
