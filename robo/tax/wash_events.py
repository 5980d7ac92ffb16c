"""What the wash-sale history of a household is made from, and what it tells."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from robo.core.ids import AccountId, LotId, SecurityId


class AccountKind(StrEnum):
    """What an account is to the tax."""

    TAXABLE = "taxable"
    """The taxpayer's, the spouse's, or a corporation's that they control."""
    IRA = "ira"
    """Traditional or Roth: its sales are not taxed, but its purchases replace."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """Shares bought; a reinvested dividend is one too."""

    account_id: AccountId
    security_id: SecurityId
    lot_id: LotId
    nanos: int
    basis_cents: int


@dataclass(frozen=True, slots=True)
class Sale:
    """Shares that leave one lot for money: a sale, or a cash merger."""

    id: str
    """What caused it; several lots may leave for one cause."""
    lot_id: LotId
    nanos: int
    basis_cents: int
    """What the books take for the shares, before wash sales; see `lots.close`."""
    proceeds_cents: int


@dataclass(frozen=True, slots=True)
class Rescale:
    """A split: the same lot holds another number of shares. Tell `Succession` too, once."""

    lot_id: LotId
    nanos: int
    """What it holds after."""


@dataclass(frozen=True, slots=True)
class Move:
    """Basis and holding period go on in a new lot: a stock merger or a spin-off."""

    lot_id: LotId
    new_lot_id: LotId
    security_id: SecurityId
    """Of the new lot."""
    nanos: int
    """Of the new lot."""
    basis_cents: int
    """How much of the old lot's basis, before wash sales, goes along."""
    leaving: bool
    """True for a merger: nothing is left of the old lot."""


@dataclass(frozen=True, slots=True)
class Succession:
    """A split or a merger, told once a household: what shares sold before are equal to now."""

    security_id: SecurityId
    successor_id: SecurityId
    """The same security for a split; a ticker change is none, ids are permanent."""
    ratio_num: int
    """New shares ..."""
    ratio_den: int
    """... per old shares."""


Event = Purchase | Sale | Rescale | Move | Succession


@dataclass(frozen=True, slots=True)
class Disposal:
    """Taxable shares sold that stood alike; its loss may still be disallowed for 30 days.

    Attributes:
        bought_on: When they were really bought.
        held_from: Since when they count as held; earlier where they replaced others.
        basis_cents: By the books, before wash sales.
        added_cents: What earlier wash sales added to that.
        added_elsewhere_cents: The part of that which the broker does not know of: it came from
            another account or security, now or by a wash sale before.
        deferred_cents: The part of the loss that went into the basis of replacements.
        elsewhere_cents: The part of that which the broker does not report: its replacement sits
            in another account, or the loss is one of basis that it does not know of.
        lost_cents: The part of the loss that an IRA's purchase took for good.
    """

    sale_id: str
    account_id: AccountId
    security_id: SecurityId
    lot_id: LotId
    nanos: int
    bought_on: date
    held_from: date
    sold_on: date
    proceeds_cents: int
    basis_cents: int
    added_cents: int = 0
    added_elsewhere_cents: int = 0
    deferred_cents: int = 0
    elsewhere_cents: int = 0
    lost_cents: int = 0

    @property
    def gain_cents(self) -> int:
        """Return proceeds less adjusted basis; negative for a loss, allowed or not."""
        return self.proceeds_cents - self.basis_cents - self.added_cents

    @property
    def disallowed_cents(self) -> int:
        """Return the part of the loss that does not count now, not negative."""
        return self.deferred_cents + self.lost_cents

    @property
    def recognised_cents(self) -> int:
        """Return the gain or loss that counts."""
        return self.gain_cents + self.disallowed_cents


@dataclass(frozen=True, slots=True)
class Match:
    """Shares sold at a loss and the shares that replace them.

    Attributes:
        disposal: Position of the sold shares in `Books.disposals`.
        on: When the loss became disallowed: the later of sale and purchase.
        nanos: How many shares, counted as on that day.
        bought_first: True for buy-buy-sell, False for buy-sell-buy. Within a day the purchase
            counts as first; only executions know better.
        lost: The replacement sits in an IRA.
    """

    disposal: int
    sale_id: str
    lot_id: LotId
    account_id: AccountId
    on: date
    nanos: int
    cents: int
    bought_first: bool
    lost: bool


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of an open lot that stand alike; `added_cents` is what wash sales put on them."""

    account_id: AccountId
    security_id: SecurityId
    lot_id: LotId
    nanos: int
    bought_on: date
    held_from: date
    basis_cents: int
    added_cents: int
    spare: bool
    """May still replace shares sold at a loss."""
    elsewhere_cents: int = 0
    """The part of `added_cents` that the account's broker does not know of."""

    @property
    def adjusted_cents(self) -> int:
        """Return the basis for tax."""
        return self.basis_cents + self.added_cents


@dataclass(frozen=True, slots=True)
class Fresh:
    """Shares bought within the last 30 days that would replace others sold at a loss now."""

    account_id: AccountId
    security_id: SecurityId
    lot_id: LotId
    nanos: int
    bought_on: date
    in_ira: bool
