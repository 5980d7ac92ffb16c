"""What may be bought and sold on a day without a wash sale, and which losses are worth taking."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Final

from robo.core.ids import LotId, SecurityId
from robo.core.money import PPM, round_ratio
from robo.tax.gains import Net, is_long
from robo.tax.lots import Lot
from robo.tax.rate_tables import YearTable
from robo.tax.rates import Rates, TaxProfile, zero_bracket_room_cents
from robo.tax.wash_events import AccountKind, Fresh
from robo.tax.wash_sales import WINDOW, Books

_NEXT_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Masks:
    """What a household may not do on a day; every date is the first on which it may.

    Attributes:
        no_purchase: Names sold at a loss and not replaced yet: buying them washes that sale. It
            holds in every account, and for dividends and plans too.
        no_loss: Lots that may not be sold at a loss, because others of their name are fresh.
        whole_only: Fresh lots that may be sold at a loss whole, but not in part: what is left of
            them would replace what is sold. With their date, like the others.
    """

    no_purchase: Mapping[SecurityId, date]
    no_loss: Mapping[LotId, date]
    whole_only: Mapping[LotId, date]


def masks(
    books: Books,
    on: date,
    *,
    buy_buy_sell: bool = False,
    planned_purchases: Collection[SecurityId] = (),
    planned_loss_sales: Collection[SecurityId] = (),
) -> Masks:
    """Return what may not be bought, and which taxable lots may not be sold at a loss, on a day.

    Each lot is judged as if it were sold alone. Selling at a loss and buying a name on one day is
    a wash sale too: plan one side, then ask again with what is planned.

    Args:
        books: The household's, up to the day before or to the day itself.
        on: The day of the trade.
        buy_buy_sell: The customer accepts that a loss is deferred into shares bought before the
            sale. An IRA's purchase still forbids it: there the loss is gone. Buying after a sale
            at a loss is never allowed.
        planned_purchases: Names bought that day, anywhere in the household. They may come after
            the sale, so they forbid it whatever the customer accepts.
        planned_loss_sales: Names sold at a loss that day, anywhere in the household.
    """
    after = on + WINDOW + _NEXT_DAY
    no_purchase = books.bans(on) | dict.fromkeys(planned_loss_sales, after)
    fresh: dict[SecurityId, list[Fresh]] = {}
    for one in books.fresh(on):
        if one.in_ira or not buy_buy_sell:
            fresh.setdefault(one.security_id, []).append(one)
    planned = frozenset(planned_purchases)
    no_loss: dict[LotId, date] = {}
    whole_only: dict[LotId, date] = {}
    for lot in books.shelf:
        if books.kinds[lot.account_id] is AccountKind.IRA:
            continue
        found = fresh.get(lot.security_id, [])
        others = [one.bought_on for one in found if one.lot_id != lot.id]
        if lot.security_id in planned:
            others.append(on)
        if others:
            no_loss[lot.id] = max(others) + WINDOW + _NEXT_DAY
        elif found:
            whole_only[lot.id] = lot.bought_on + WINDOW + _NEXT_DAY
    return Masks(no_purchase, no_loss, whole_only)


class Mode(IntEnum):
    """What a customer wants from taxes; the numbers are those of the optimizer's `TaxMode`."""

    HARVEST = 0
    NEUTRAL = 1
    REALISE = 2


def waits(held_from: date, on: date, days: int) -> bool:
    """Return whether shares are short-term on a day, but long-term at most so many days later."""
    return not is_long(held_from, on) and is_long(held_from, on + timedelta(days=days))


def tax_per_dollar(
    gain_cents: int,
    worth_cents: int,
    *,
    long: bool,
    waiting: bool,
    mode: Mode,
    rates: Rates,
    recapture_ppm: int,
) -> Fraction:
    """Return the tax of selling a dollar's worth of a lot, exactly; negative where it saves tax.

    With g the gain per dollar, r the short or long rate and back = recapture x long rate:
    a gain costs r g, and what it would save by waiting to become long-term, (short - long) g; a
    loss saves (r - back) g when harvesting, because a lower basis brings some of it back, and
    nothing when neutral; when realising, both are only worth what the changed basis is: -back g.

    Args:
        gain_cents: Of the whole lot.
        worth_cents: Of the whole lot at market, positive.
        long: Held for more than a year.
        waiting: Short-term now, long-term soon; see `waits`.
        mode: What the customer wants.
        rates: On the next dollar.
        recapture_ppm: Share of the long-term tax on a loss that comes back later.

    Raises:
        ValueError: If the lot is worth nothing.
    """
    if worth_cents <= 0:
        message = "worth_cents must be positive"
        raise ValueError(message)
    gain = Fraction(gain_cents, worth_cents)
    back = Fraction(recapture_ppm * rates.long_ppm, PPM)
    if mode is Mode.REALISE:
        return -back * gain / PPM
    rate = rates.long_ppm if long else rates.short_ppm
    if gain >= 0:
        more = rates.short_ppm - rates.long_ppm if waiting else 0
        return (rate + more) * gain / PPM
    return Fraction(0) if mode is Mode.NEUTRAL else (rate - back) * gain / PPM


@dataclass(frozen=True, slots=True)
class Harvest:
    """A loss worth taking: the tax it saves after what comes back later, and what it costs."""

    lot: Lot
    worth_cents: int
    loss_cents: int
    saved_cents: int
    cost_cents: int

    @property
    def net_cents(self) -> int:
        """Return what is left of the saving."""
        return self.saved_cents - self.cost_cents


def harvests(
    lots: Iterable[tuple[Lot, int]],
    on: date,
    rates: Rates,
    *,
    recapture_ppm: int,
    cost_ppm: int,
    net_cents_min: int,
    forbidden: Masks,
) -> list[Harvest]:
    """Return the whole lots whose loss is worth more than its cost, best first; ties by lot id.

    All of them may be sold on one day: where anything of a name is fresh, masks leave at most one
    lot of it, and that one is taken whole.

    Args:
        lots: Lots and what each is worth in cents; adjusted basis and `acquired_on` as held from.
        on: The day.
        rates: On the next dollar.
        recapture_ppm: See `tax_per_dollar`.
        cost_ppm: Of selling and of buying a substitute, together, per dollar sold.
        net_cents_min: The least net saving for which it is worth the trouble.
        forbidden: The day's masks. A name that may not be bought may still be sold.
    """
    found = []
    for lot, worth in lots:
        if worth <= 0 or worth >= lot.basis_cents or lot.id in forbidden.no_loss:
            continue
        long = is_long(lot.acquired_on, on)
        tax = tax_per_dollar(
            worth - lot.basis_cents,
            worth,
            long=long,
            waiting=False,
            mode=Mode.HARVEST,
            rates=rates,
            recapture_ppm=recapture_ppm,
        )
        saved = -tax * worth
        made = Harvest(
            lot,
            worth,
            lot.basis_cents - worth,
            saved.numerator // saved.denominator,
            round_ratio(worth * cost_ppm, PPM, "up"),
        )
        if made.net_cents >= net_cents_min:
            found.append(made)
    found.sort(key=lambda one: (-one.net_cents, one.lot.id))
    return found


class YearTarget(StrEnum):
    """Where the customer wants the year's net realised gain to end."""

    LOSS_LIMIT = "loss_limit"
    """As much loss as other income bears this year: -$3,000, by status."""
    ZERO = "zero"
    ZERO_BRACKET = "zero_bracket"
    """As much long-term gain as the federal 0 % bracket takes."""


def to_target_cents(
    target: YearTarget, table: YearTable, profile: TaxProfile, realised: Net
) -> int:
    """Return the net gain still to realise this year to land on the target; negative for losses.

    Losses carried in count: a target of zero uses them up.
    """
    if target is YearTarget.ZERO_BRACKET:
        room = zero_bracket_room_cents(table, profile, realised)
        if room:
            return room
    net = (realised + profile.carried).cents
    limit = table.status[profile.status].loss_limit_cents
    wanted = -limit if target is YearTarget.LOSS_LIMIT else 0
    if target is YearTarget.ZERO_BRACKET:
        # No room: what was realised beyond the bracket would have to be undone by losses.
        edge = table.status[profile.status].long.upper_cents[0]
        wanted = max(0, edge - profile.ordinary_cents)
    return wanted - net
