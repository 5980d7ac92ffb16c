"""What a year's Form 8949 and Schedule D would say, with the household's adjustments apart."""

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from sqlmodel import Session

from robo.core.ids import AccountId
from robo.core.money import format_cents
from robo.core.policy import Policy
from robo.core.shares import format_nanos
from robo.services.taxing import profiles
from robo.services.taxing.profiles import Told
from robo.services.taxing.standings import rolled
from robo.services.washing.counting import Counts, WashSale, counted, wash_sales
from robo.services.washing.folding import fold, people
from robo.store import outside_trades, tax_profiles, universe
from robo.store.keyring import Keyring
from robo.store.tax_profiles import Choice
from robo.tax import rate_tables
from robo.tax.gains import Net, Year, is_long
from robo.tax.rates import Bill, bill, closed
from robo.tax.reports import FormRow, ScheduleD, schedule_d
from robo.tax.wash_events import AccountKind
from robo.tax.wash_sales import Books

COLUMNS: Final = (
    "part",
    "account",
    "description",
    "acquired",
    "sold",
    "proceeds",
    "basis",
    "code",
    "adjustment",
    "gain",
    "wash",
    "household_wash",
    "household_basis",
    "lost",
    "final_from",
)
"""Columns of the CSV; `adjustment` is the sum of the three after `gain`; `lost` is part of it."""


@dataclass(frozen=True, slots=True)
class TaxReport:
    """A preview of a year, as our books and the household's imports know it today.

    Attributes:
        year: The tax year.
        figures_of: The year whose figures stand in, where the year has none yet.
        as_of: The last day that counts: purchases of 30 days after a sale can still change it.
        is_assumed: Whether status and income are assumed, because nothing was told.
        told: What holds for the year: status, incomes, losses carried in, gains elsewhere.
        whole: Whether it is the customer's report, not that of one account.
        schedule: Rows and sums of what is booked and imported.
        closed: How the year nets, gains elsewhere that were only told included.
        bill: The tax of the year with these gains, by what was told.
        without: The tax of the year without them.
        wash: Disallowed losses of the year's sales.
        counts: The same, counted.
        elsewhere: Whether the customer trades elsewhere: unknown, none, some.
        unknown_accounts: Their accounts elsewhere of which no file was taken. What was traded there
            is not known, so wash sales with it are missing from all that is worked out here.
        symbols: Of the names in the rows.
    """

    year: int
    figures_of: int
    as_of: date
    is_assumed: bool
    told: Told
    whole: bool
    schedule: ScheduleD
    closed: Year
    bill: Bill
    without: Bill
    wash: tuple[WashSale, ...]
    counts: Counts
    elsewhere: str
    unknown_accounts: tuple[str, ...]
    symbols: Mapping[int, str]


def report(
    session: Session,
    keyring: Keyring,
    policy: Policy,
    customer_id: str,
    year: int,
    on: date,
    account_id: AccountId | None = None,
) -> TaxReport:
    """Return a customer's report of a year, or the part of it that one account makes.

    Accounts elsewhere are part of it as far as they were imported; a joint account is reported
    under its first owner.

    Args:
        session: Of one snapshot.
        keyring: Opens what the customer told us.
        policy: Says what to assume otherwise.
        customer_id: Whose.
        year: The tax year.
        on: Today.
        account_id: Only this account's sales; netting and bill are then of these alone.
    """
    known = people(session, [customer_id])
    books = fold(session, known, [customer_id], on)[customer_id]
    mine = known.accounts[customer_id]
    wanted = set(mine) if account_id is None else {account_id}
    told = profiles.told(session, keyring, [customer_id]).get(customer_id, {})
    found, is_assumed = rolled(told, by_year(books, mine), year, policy)
    figures = rate_tables.nearest(year)
    table, profile = replace(figures, year=year), found.profile
    schedule = schedule_d(books.disposals, wanted, table, profile)
    net = schedule.realised + (found.outside if account_id is None else Net())
    wash = [
        one
        for one in wash_sales(session, books, known, customer_id, wanted)
        if one.sold_on.year == year
    ]
    names = {int(row.security_id) for row in schedule.rows} | {int(w.security_id) for w in wash}
    listed = universe.by_id(session, sorted(names))
    noted = set(mine) & set(known.elsewhere)
    choice = tax_profiles.choices(session, [customer_id]).get(customer_id, Choice())
    return TaxReport(
        year=year,
        figures_of=figures.year,
        as_of=on,
        is_assumed=is_assumed,
        told=found,
        whole=account_id is None,
        schedule=schedule,
        closed=closed(table, profile, net),
        bill=bill(table, profile, net),
        without=bill(table, profile, Net()),
        wash=tuple(wash),
        counts=counted(wash),
        # Whoever noted an account there said so, whatever was chosen before.
        elsewhere="some" if noted else choice.elsewhere,
        unknown_accounts=tuple(outside_trades.unknown(session, [customer_id]).get(customer_id, ())),
        symbols={int(name): one.symbol for name, one in listed.items()},
    )


def by_year(
    books: Books, accounts: Mapping[AccountId, AccountKind] | Collection[AccountId]
) -> dict[int, Net]:
    """Return year -> net gains of some accounts, after wash sales."""
    found: dict[int, Net] = {}
    for sold in books.disposals:
        if sold.account_id in accounts:
            cents = sold.recognised_cents
            net = Net(0, cents) if is_long(sold.held_from, sold.sold_on) else Net(cents, 0)
            found[sold.sold_on.year] = found.get(sold.sold_on.year, Net()) + net
    return found


def realised(
    session: Session, customer_id: str, on: date, account_id: AccountId | None = None
) -> list[tuple[int, Net]]:
    """Return (year, net gains) of a customer or one of their accounts, newest first."""
    known = people(session, [customer_id])
    books = fold(session, known, [customer_id], on)[customer_id]
    wanted = known.accounts[customer_id] if account_id is None else {account_id}
    return sorted(by_year(books, wanted).items(), reverse=True)


def to_csv(made: TaxReport) -> str:
    """Return the rows of Form 8949 as CSV with a header; amounts are dollars."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in made.schedule.rows:
        writer.writerow(_cells(made, row))
    return out.getvalue()


def describe(made: TaxReport, row: FormRow) -> str:
    """Return column (a): how many shares of what."""
    symbol = made.symbols.get(int(row.security_id), str(row.security_id))
    return f"{format_nanos(row.nanos)} sh. {symbol}"


def _cells(made: TaxReport, row: FormRow) -> list[str]:
    return [
        row.part.value,
        row.account_id,
        describe(made, row),
        row.acquired_on.isoformat(),
        row.sold_on.isoformat(),
        format_cents(row.proceeds_cents),
        format_cents(row.basis_cents),
        row.code,
        format_cents(row.adjustment_cents),
        format_cents(row.gain_cents),
        format_cents(row.wash_cents),
        format_cents(row.household_wash_cents),
        format_cents(row.household_basis_cents),
        format_cents(row.lost_cents),
        row.final_from.isoformat(),
    ]
