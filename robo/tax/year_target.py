"""Landing on the year's target: which shares to sell so that net realised gains end where wanted.

`harvest.to_target_cents` says how much is missing. Here the specific shares are named: the lots
that bring most gain (or loss) for a dollar sold go first, so that least is traded, and one of them
is split so that the sum is right to the cent that the split allows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from robo.core.ids import LotId
from robo.core.money import PPM, round_ratio
from robo.tax.harvest import Mode

LAST_SESSIONS: Final = 4
"""Sessions at the year's end on which to trim. A price that moves by m between plan and fill leaves
m of what was missing, so each session after the first corrects the one before."""

MARGIN_PPM: Final = 50_000
"""What is left for a later session where one is left: a gain sold too dear cannot be unsold."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Shares of one lot that may be sold today: masks and holds have been looked at.

    Attributes:
        worth_cents: Of all of it at market, after the cost of selling it; not negative.
        whole: Only all of it may go: what stayed would wash the loss (`Masks.whole_only`).
    """

    lot_id: LotId
    nanos: int
    basis_cents: int
    worth_cents: int
    whole: bool = False

    @property
    def gain_cents(self) -> int:
        """Return what selling all of it realises; negative for a loss."""
        return self.worth_cents - self.basis_cents


@dataclass(frozen=True, slots=True)
class Closing:
    """Shares of one name whose losses count only if all that was bought of late goes the same day.

    Shares sold are not their own replacement: once nothing fresh is left, the rest may follow.

    Attributes:
        fresh: All of it, or none; first, so that a fill that stops early leaves little to wash.
        rest: May follow, in part too.
    """

    fresh: tuple[Offer, ...]
    rest: tuple[Offer, ...] = ()

    @property
    def gain_cents(self) -> int:
        """Return what selling all of it realises."""
        return sum(one.gain_cents for one in (*self.fresh, *self.rest))

    @property
    def worth_cents(self) -> int:
        """Return what all of it is worth."""
        return sum(one.worth_cents for one in (*self.fresh, *self.rest))


@dataclass(frozen=True, slots=True)
class Trim:
    """Shares to sell, and what that realises at the prices it was asked with."""

    lot_id: LotId
    nanos: int
    worth_cents: int
    gain_cents: int


@dataclass(frozen=True, slots=True)
class Landing:
    """What to sell, and how far from the target it leaves the year."""

    trims: tuple[Trim, ...]
    missing_cents: int
    """What is still to realise after it; beyond a few cents the lots did not allow more."""


def land(offers: Iterable[Offer], wanted_cents: int, closings: Iterable[Closing] = ()) -> Landing:
    """Return the sales whose gains (or losses) sum to what is wanted, least dollars sold first.

    Gains are only sold for a wanted gain and losses for a wanted loss: both at once would trade
    more for the same sum. Whoever sells a gain may buy the same name back; whoever sells a loss
    may not, for 30 days.

    Args:
        offers: What may be sold; at most one a lot. For a target of long-term gains, long lots.
        wanted_cents: Net gain to realise, negative for a loss; see `harvest.to_target_cents`.
        closings: Names of which some was bought of late; for a wanted loss only.

    Raises:
        ValueError: If an offer has no shares, or is worth less than nothing.
    """
    sign = 1 if wanted_cents > 0 else -1
    useful: list[Offer | Closing] = [one for one in _checked(offers) if one.gain_cents * sign > 0]
    for name in closings if wanted_cents < 0 else ():
        _checked(name.fresh + name.rest)
        if name.gain_cents < 0:
            useful.append(name)
    useful.sort(key=lambda one: (-_per_dollar(one, sign), _id(one)))
    left = wanted_cents
    trims: list[Trim] = []
    for one in useful:
        if left == 0:
            break
        made = _closed(one, left) if isinstance(one, Closing) else _trimmed(one, left, sign)
        trims += made
        left -= sum(trim.gain_cents for trim in made)
    return Landing(tuple(trims), left)


def _trimmed(one: Offer, left: int, sign: int) -> list[Trim]:
    """Return what is sold of one lot."""
    enough = one.gain_cents * sign >= left * sign
    if enough and one.gain_cents != left and one.whole:
        return []
    trim = _part(one, left) if enough else _all(one)
    return [trim] if trim.nanos else []


def _closed(name: Closing, left: int) -> list[Trim]:
    """Return what is sold of a name: nothing, or all that is fresh and of the rest what is needed.

    Nothing where that would lose more than is wanted, or less than nothing.
    """
    trims = [_all(one) for one in name.fresh]
    left -= sum(trim.gain_cents for trim in trims)
    if left > 0:
        return []
    losing = [one for one in name.rest if one.gain_cents < 0]
    losing.sort(key=lambda one: (-_per_dollar(one, -1), one.lot_id))
    for one in losing:
        if left == 0:
            break
        made = _trimmed(one, left, -1)
        trims += made
        left -= sum(trim.gain_cents for trim in made)
    return trims if sum(trim.gain_cents for trim in trims) < 0 else []


def reachable_cents(
    offers: Iterable[Offer], wanted_cents: int, closings: Iterable[Closing] = ()
) -> int:
    """Return how much of a wanted gain (or loss) the lots could give, no more than is wanted."""
    gains = [one.gain_cents for one in _checked(offers)]
    if wanted_cents > 0:
        return min(wanted_cents, sum(gain for gain in gains if gain > 0))
    gains += [min(0, one.gain_cents) for one in closings]
    return max(wanted_cents, sum(gain for gain in gains if gain < 0))


def ask_cents(wanted_cents: int, *, last: bool) -> int:
    """Return how much to realise in a session: all in the year's last, a little less before."""
    return wanted_cents if last else round_ratio(wanted_cents * (PPM - MARGIN_PPM), PPM)


def mode_towards(to_target_cents: int) -> Mode:
    """Return how to plan during the year: losses are sought while some are wanted.

    While none are wanted, trades are neutral, with what is missing as the gain budget: gains taken
    for the sake of risk use it up, and the last sessions take the rest.
    """
    return Mode.HARVEST if to_target_cents < 0 else Mode.NEUTRAL


def _checked(offers: Iterable[Offer]) -> list[Offer]:
    found = list(offers)
    if any(one.nanos <= 0 or one.worth_cents < 0 for one in found):
        message = "an offer needs shares, and a worth that is not negative"
        raise ValueError(message)
    return found


def _id(one: Offer | Closing) -> LotId:
    return one.fresh[0].lot_id if isinstance(one, Closing) else one.lot_id


def _per_dollar(one: Offer | Closing, sign: int) -> float:
    """Return gain or loss per dollar sold: an order, not an amount."""
    return one.gain_cents * sign / max(one.worth_cents, 1)


def _all(one: Offer) -> Trim:
    return Trim(one.lot_id, one.nanos, one.worth_cents, one.gain_cents)


def _part(one: Offer, wanted_cents: int) -> Trim:
    """Return the part of a lot that realises what is wanted, which is no more than all of it."""
    nanos = min(one.nanos, round_ratio(one.nanos * abs(wanted_cents), abs(one.gain_cents)))
    if nanos == one.nanos:
        return _all(one)
    worth = round_ratio(one.worth_cents * nanos, one.nanos)
    basis = round_ratio(one.basis_cents * nanos, one.nanos)
    return Trim(one.lot_id, nanos, worth, worth - basis)
