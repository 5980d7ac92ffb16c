"""What a gain costs a taxpayer: the whole bill, and the rates on the next dollar.

A bill is federal income tax on ordinary income, tax on long-term gains stacked on top of it, the
net investment income tax and the customer's state. Everything is computed exactly and rounded
once to the cent, half away from zero.
"""

from dataclasses import dataclass, field
from typing import Final

from robo.core.money import PPM, round_ratio
from robo.tax.gains import Net, Year, close_year
from robo.tax.rate_tables import FilingStatus, StatusTable, YearTable

_ROTH_STEP_CENTS: Final = 10_00
_ROTH_LEAST_CENTS: Final = 200_00
"""A reduced limit rounds up to $10 and is at least $200 until it is nothing: 26 U.S.C. 408A(c)."""


@dataclass(frozen=True, slots=True)
class StateRates:
    """What a customer's state takes of the next dollar; data of the customer, not of the code."""

    short_ppm: int = 0
    long_ppm: int = 0
    ordinary_ppm: int = 0
    """What a dollar deducted from other income saves."""
    source: str = ""
    """Where the figures come from and as of when."""

    def __post_init__(self) -> None:
        """Refuse what is no rate.

        Raises:
            ValueError: If one lies outside 0 to 1_000_000.
        """
        for name in ("short_ppm", "long_ppm", "ordinary_ppm"):
            if not 0 <= getattr(self, name) <= PPM:
                message = f"{name} must be 0 to 1_000_000"
                raise ValueError(message)


@dataclass(frozen=True, slots=True)
class TaxProfile:
    """What we know of a customer's taxes this year, apart from the gains of our accounts."""

    status: FilingStatus
    ordinary_cents: int
    """Taxable ordinary income after deductions, without capital gains."""
    magi_cents: int
    """Modified adjusted gross income without capital gains."""
    investment_cents: int = 0
    """Net investment income without capital gains: interest, dividends, rent."""
    state: StateRates = field(default_factory=StateRates)
    carried: Net = field(default_factory=Net)
    """Losses carried from the year before: zero or negative."""

    def __post_init__(self) -> None:
        """Refuse amounts that are none.

        Raises:
            ValueError: If an income is negative, or what is carried is a gain.
        """
        for name in ("ordinary_cents", "magi_cents", "investment_cents"):
            if getattr(self, name) < 0:
                message = f"{name} must not be negative"
                raise ValueError(message)
        if max(self.carried.short_cents, self.carried.long_cents) > 0:
            message = "carried must be losses: zero or negative"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Rates:
    """Tax on the next dollar, in ppm; NIIT and state included where they apply."""

    short_ppm: int
    long_ppm: int
    ordinary_ppm: int
    """What a dollar of net loss saves within the yearly limit."""


@dataclass(frozen=True, slots=True)
class Bill:
    """A year's tax in cents, by kind; each rounded once."""

    ordinary_cents: int
    """On ordinary income and short-term gains."""
    long_cents: int
    niit_cents: int
    state_cents: int
    """On the gains only, less what a deducted loss saves: the rest of the state's tax is not ours
    to know. Negative where the loss saves more."""

    @property
    def cents(self) -> int:
        """Return all of it."""
        return self.ordinary_cents + self.long_cents + self.niit_cents + self.state_cents


def closed(table: YearTable, profile: TaxProfile, realised: Net) -> Year:
    """Return how the year's gains net for a customer, with losses carried in and the limit."""
    limit = table.status[profile.status].loss_limit_cents
    return close_year(realised, profile.carried, limit)


def bill(table: YearTable, profile: TaxProfile, realised: Net) -> Bill:
    """Return the year's tax with these gains; the difference of two bills is what a gain costs.

    Source: 26 U.S.C. 1(h), 1(j), 1211(b), 1411; the stacking of Schedule D's tax worksheet.
    """
    status, year = table.status[profile.status], closed(table, profile, realised)
    short, long = year.taxed.short_cents, year.taxed.long_cents
    net = profile.ordinary_cents + short - year.deducted_cents
    # A deduction beyond ordinary income lowers nothing but what long gains begin from.
    long = max(0, long + min(net, 0))
    ordinary = max(net, 0)
    gains = year.taxed.cents - year.deducted_cents
    over = max(0, profile.magi_cents + gains - status.niit_threshold_cents)
    niit = table.niit_rate_ppm * min(over, max(0, profile.investment_cents + gains))
    state = profile.state
    state_raw = (
        year.taxed.short_cents * state.short_ppm
        + year.taxed.long_cents * state.long_ppm
        - year.deducted_cents * state.ordinary_ppm
    )
    return Bill(
        status.ordinary.tax_cents(ordinary),
        round_ratio(status.long.raw(ordinary, ordinary + long), PPM),
        round_ratio(niit, PPM),
        round_ratio(state_raw, PPM),
    )


def marginal(table: YearTable, profile: TaxProfile, realised: Net) -> Rates:
    """Return what the next dollar of each kind is taxed after this year's gains.

    The rates are those of a dollar that stands alone; how dollars net is for who plans. A short
    dollar that lifts long ones into a higher bracket is counted at its own rate only: `bill` is
    exact.
    """
    status, year = table.status[profile.status], closed(table, profile, realised)
    base = max(0, profile.ordinary_cents + year.taxed.short_cents - year.deducted_cents)
    top = base + year.taxed.long_cents
    gains = year.taxed.cents - year.deducted_cents
    over = profile.magi_cents + gains >= status.niit_threshold_cents
    niit = table.niit_rate_ppm if over else 0
    ordinary, state = status.ordinary.rate_above(base), profile.state
    return Rates(
        min(PPM, ordinary + niit + state.short_ppm),
        min(PPM, status.long.rate_above(top) + niit + state.long_ppm),
        min(PPM, ordinary + state.ordinary_ppm),
    )


def zero_bracket_room_cents(table: YearTable, profile: TaxProfile, realised: Net) -> int:
    """Return how much more long-term gain the federal 0 % bracket takes this year.

    Losses that the year has beyond its gains are room too: the gain uses them up first.
    """
    status, year = table.status[profile.status], closed(table, profile, realised)
    edge = status.long.upper_cents[0]
    used = profile.ordinary_cents + year.taxed.cents
    unused = year.deducted_cents - year.carried.cents
    return max(0, edge - used) + unused


def ira_limit_cents(table: YearTable, age: int, compensation_cents: int) -> int:
    """Return the most that may go into all IRAs of a person for the year, traditional and Roth.

    Args:
        table: The year the contribution counts for.
        age: At the end of that year.
        compensation_cents: Earned income; on a joint return both spouses' less the other's
            contributions.

    Source: 26 U.S.C. 219(b), (c).
    """
    most = table.ira_limit_cents
    if age >= table.ira_catch_up_age:
        most += table.ira_catch_up_cents
    return max(0, min(most, compensation_cents))


def roth_limit_cents(status: StatusTable, limit_cents: int, magi_cents: int) -> int:
    """Return how much of an IRA limit may go into a Roth at an income.

    Source: 26 U.S.C. 408A(c)(3): the limit shrinks evenly over the phase-out.
    """
    low, high = status.roth_phase_out_cents
    if magi_cents >= high:
        return 0
    if magi_cents <= low:
        return limit_cents
    left = -(-limit_cents * (high - magi_cents) // (high - low))
    stepped = -(-left // _ROTH_STEP_CENTS) * _ROTH_STEP_CENTS
    return min(limit_cents, max(stepped, _ROTH_LEAST_CENTS))
