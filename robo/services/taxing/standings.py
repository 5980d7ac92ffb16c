"""Where customers stand with their taxes: rates, what is realised, what is still wanted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.services.taxing import profiles
from robo.services.taxing.profiles import Told
from robo.services.washing import histories, windows
from robo.services.washing.gains import Gains, gains
from robo.services.washing.histories import History
from robo.services.washing.windows import Window
from robo.store import tax_profiles
from robo.store.keyring import Keyring
from robo.store.tax_profiles import Choice
from robo.tax import rate_tables, rates
from robo.tax.gains import Net
from robo.tax.harvest import Mode, YearTarget, to_target_cents
from robo.tax.rate_tables import YearTable
from robo.tax.rates import Rates, TaxProfile
from robo.tax.year_target import mode_towards

MODES = {"harvest": Mode.HARVEST, "neutral": Mode.NEUTRAL, "realise": Mode.REALISE}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one customer stands in a tax year.

    Attributes:
        year: The tax year.
        table: The year's figures, or those of the nearest year before it that has any.
        told: What the customer told us, rolled forward to the year; assumed if `is_assumed`.
        choice: What the customer chose.
        realised: This year's net gains so far, elsewhere included, after wash sales.
        chosen: The part of it that comes from sales we chose.
        rates: On the next dollar.
        mode: What to do about taxes today: the customer's choice, or what leads to their target.
        recapture_ppm: See `harvest.tax_per_dollar`.
        to_target_cents: Net gain still to realise to land on the target; None without one.
        allowed_cents: Net gain that the customer's budget still allows; None for no limit.
        budget_left_cents: Net gain that sales we choose may still bring; None for no limit: what is
            allowed, and with a target no more than is still wanted.
    """

    customer_id: str
    year: int
    table: YearTable
    told: Told
    is_assumed: bool
    choice: Choice
    realised: Net
    chosen: Net
    rates: Rates
    mode: Mode
    recapture_ppm: int
    to_target_cents: int | None
    allowed_cents: int | None
    budget_left_cents: int | None

    @property
    def profile(self) -> TaxProfile:
        """Return what the customer told us as the rules want it."""
        return self.told.profile


def of_accounts(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    account_ids: Sequence[AccountId],
    on: date,
) -> tuple[Window, dict[AccountId, Standing]]:
    """Return what a day forbids some accounts, and where their owners stand: one read for both."""
    window = windows.window(session, account_ids, on)
    owner = {account: window.history.owner[account] for account in account_ids}
    found = of_history(session, keyring, policy, window.history, set(owner.values()))
    return window, {account: found[customer] for account, customer in owner.items()}


def standings(
    session: Session, keyring: Keyring, policy: Policy, customer_ids: Collection[str], on: date
) -> dict[str, Standing]:
    """Return where customers stand on a day.

    Args:
        session: Of one snapshot.
        keyring: Opens what they told us.
        policy: Says what to assume of those who told us nothing.
        customer_ids: Who.
        on: The day; its sales so far count.
    """
    history = histories.read(session, customer_ids, on)
    return of_history(session, keyring, policy, history, customer_ids)


def of_history(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    history: History,
    customer_ids: Collection[str],
) -> dict[str, Standing]:
    """Return standings of people whose history was read."""
    ids = sorted(customer_ids)
    known = profiles.told(session, keyring, ids)
    choices = tax_profiles.choices(session, ids)
    year = history.on.year
    first = min((min(mine) for mine in known.values()), default=year)
    realised = gains(session, history, ids, min(first, year))
    return {
        one: _standing(
            one, year, known.get(one, {}), choices.get(one, Choice()), realised[one], policy
        )
        for one in ids
    }


def rolled(
    told: Mapping[int, Told], realised: Mapping[int, Net], year: int, policy: Policy
) -> tuple[Told, bool]:
    """Return what is true of a year from what was told of it or of years before.

    Losses that the years between could not use are carried forward. Where nothing was told of the
    year or before, but something later, only what does not belong to a year is taken from there.

    Returns:
        What is true, and whether it is only assumed.
    """
    before = [one for one in told if one <= year]
    if not before:
        later = told[min(told)] if told else profiles.assumed(policy)
        return later.next_year(Net()), True
    first = max(before)
    found = told[first]
    for one in range(first, year):
        net = realised.get(one, Net()) + found.outside
        left = rates.closed(rate_tables.nearest(one), found.profile, net).carried
        found = found.next_year(left)
    return found, False


def _standing(
    customer_id: str,
    year: int,
    told: Mapping[int, Told],
    choice: Choice,
    mine: Gains,
    policy: Policy,
) -> Standing:
    table = rate_tables.nearest(year)
    found, is_assumed = rolled(told, mine.by_year, year, policy)
    profile = found.profile
    realised = mine.by_year.get(year, Net()) + found.outside
    chosen = mine.chosen.get(year, Net())
    wanted = missing(choice, table, profile, realised)
    mode = MODES[choice.mode] if wanted is None else mode_towards(wanted)
    budget = choice.gain_budget_cents
    allowed = None if budget is None else max(0, budget - chosen.cents)
    # A target is no leave to gain more than the budget allows: the customer changes either.
    limits = [one for one in (allowed, wanted) if one is not None]
    return Standing(
        customer_id=customer_id,
        year=year,
        table=table,
        told=found,
        is_assumed=is_assumed,
        choice=choice,
        realised=realised,
        chosen=chosen,
        rates=rates.marginal(table, profile, realised),
        mode=mode,
        recapture_ppm=policy.recapture_ppm,
        to_target_cents=wanted,
        allowed_cents=allowed,
        budget_left_cents=max(0, min(limits)) if limits else None,
    )


def missing(choice: Choice, table: YearTable, profile: TaxProfile, realised: Net) -> int | None:
    """Return the net gain still to realise to land on a customer's target; None without one."""
    if choice.target == "none":
        return None
    if choice.target == "amount":
        assert choice.target_cents is not None
        return choice.target_cents - (realised + profile.carried).cents
    return to_target_cents(YearTarget(choice.target), table, profile, realised)
