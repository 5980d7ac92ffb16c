"""A preview of Form 8949 and Schedule D, with what no broker's form can know shown apart.

A broker reports wash sales only within one account and one security (26 CFR 1.6045-1(d)(6)). A
household owes more: replacements in other accounts, in a spouse's, in an IRA. So a row states the
basis as the broker does, and one adjustment that is the sum of three named parts:

* `wash_cents`: the loss disallowed because of the same account, which the broker reports (W);
* `household_wash_cents`: the loss disallowed because of another account, for good in an IRA, or
  a loss that the broker does not see for want of the basis below (W);
* `household_basis_cents`: basis that an earlier wash sale elsewhere put on these shares; it lowers
  the gain, so it is not positive, and the basis on the broker's form is wrong by it (B).

Gain = proceeds - basis + adjustment in every row and in every total, to the cent. It is a
preview: it knows what our books and the household's imports know, and is no tax advice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, timedelta
from enum import StrEnum

from robo.core.ids import AccountId, SecurityId
from robo.tax.gains import Net, Year, is_long
from robo.tax.rate_tables import YearTable
from robo.tax.rates import TaxProfile, closed
from robo.tax.wash_events import Disposal
from robo.tax.wash_sales import WINDOW


class Part(StrEnum):
    """The part of Form 8949 that a row belongs to."""

    SHORT = "I"
    LONG = "II"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of Form 8949 that hold money, of one row or summed; letters are the form's."""

    proceeds_cents: int
    basis_cents: int
    """(e), as the broker states it: wash sales of the same account are in it."""
    wash_cents: int
    household_wash_cents: int
    household_basis_cents: int
    lost_cents: int
    """The part of `household_wash_cents` that an IRA's purchase took for good."""

    @property
    def adjustment_cents(self) -> int:
        """Return (g), what is added to proceeds less basis."""
        return self.wash_cents + self.household_wash_cents + self.household_basis_cents

    @property
    def gain_cents(self) -> int:
        """Return (h); summed over a part, a line of Schedule D."""
        return self.proceeds_cents - self.basis_cents + self.adjustment_cents


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRow(Columns):
    """One row of Form 8949.

    Attributes:
        held_from: The acquisition date with holding periods of wash sales added; decides the part.
        code: (f): W, B, BW or nothing.
        final_from: The first day on which no purchase can change this row any more.
    """

    part: Part
    account_id: AccountId
    security_id: SecurityId
    sale_id: str
    nanos: int
    acquired_on: date
    held_from: date
    sold_on: date
    final_from: date

    @property
    def code(self) -> str:
        """Return (f); letters in alphabetical order, as the form wants them."""
        wrong_basis = "B" if self.household_basis_cents else ""
        return wrong_basis + ("W" if self.wash_cents or self.household_wash_cents else "")


@dataclass(frozen=True, slots=True)
class ScheduleD:
    """A year's sales: rows, sums by part, and how they net."""

    year: int
    rows: tuple[FormRow, ...]
    short: Columns
    long: Columns
    carried_in: Net
    closed: Year
    """What is taxed, deducted and carried to the next year."""

    @property
    def realised(self) -> Net:
        """Return the year's own net gains, before what was carried in."""
        return Net(self.short.gain_cents, self.long.gain_cents)


def form_row(sold: Disposal, final_from: date) -> FormRow:
    """Return the row of one disposal."""
    elsewhere = sold.added_elsewhere_cents
    return FormRow(
        part=Part.LONG if is_long(sold.held_from, sold.sold_on) else Part.SHORT,
        account_id=sold.account_id,
        security_id=sold.security_id,
        sale_id=sold.sale_id,
        nanos=sold.nanos,
        acquired_on=sold.bought_on,
        held_from=sold.held_from,
        sold_on=sold.sold_on,
        proceeds_cents=sold.proceeds_cents,
        basis_cents=sold.basis_cents + sold.added_cents - elsewhere,
        wash_cents=sold.deferred_cents - sold.elsewhere_cents,
        household_wash_cents=sold.elsewhere_cents + sold.lost_cents,
        household_basis_cents=-elsewhere,
        lost_cents=sold.lost_cents,
        final_from=final_from,
    )


def schedule_d(
    disposals: Iterable[Disposal],
    accounts: Iterable[AccountId],
    table: YearTable,
    profile: TaxProfile,
) -> ScheduleD:
    """Return the report of one return for the table's year.

    Args:
        disposals: The household's, of any year; see `Books.disposals`.
        accounts: Those on this return: a spouse who files alone has their own.
        table: The year.
        profile: Filing status and what is carried in.
    """
    mine = frozenset(accounts)
    rows = sorted(
        (
            form_row(sold, first_final_day(sold.sold_on))
            for sold in disposals
            if sold.account_id in mine and sold.sold_on.year == table.year
        ),
        key=lambda row: (row.part, row.sold_on, row.sale_id, row.acquired_on, row.held_from),
    )
    short = _total(row for row in rows if row.part is Part.SHORT)
    long = _total(row for row in rows if row.part is Part.LONG)
    realised = Net(short.gain_cents, long.gain_cents)
    year = closed(table, profile, realised)
    return ScheduleD(table.year, tuple(rows), short, long, profile.carried, year)


def first_final_day(sold_on: date) -> date:
    """Return the first day on which a purchase cannot touch a sale any more."""
    return sold_on + WINDOW + timedelta(days=1)


def _total(rows: Iterable[FormRow]) -> Columns:
    part = tuple(rows)
    names = [column.name for column in fields(Columns)]
    return Columns(**{name: sum(getattr(row, name) for row in part) for name in names})
