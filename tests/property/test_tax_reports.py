"""Form 8949 and Schedule D: rows by hand, and totals that tie to the cent over random lives."""

from datetime import date, timedelta

from tax_unit_shares import KINDS, Life

from robo.core.ids import AccountId, LotId, SecurityId
from robo.tax.gains import Net, is_long
from robo.tax.rate_tables import FilingStatus, YearTable, load
from robo.tax.rates import TaxProfile
from robo.tax.reports import Part, schedule_d
from robo.tax.wash_events import AccountKind, Event, Move, Purchase, Sale
from robo.tax.wash_sales import Books, fold

ME, SPOUSE, IRA = KINDS
SOLD = date(2026, 6, 1)
PROFILE = TaxProfile(FilingStatus.JOINT, 90_000_00, 90_000_00)


def buy(lot: str, cents: int, account: AccountId = ME) -> Purchase:
    return Purchase(account, SecurityId(1), LotId(lot), 10, cents)


def sell(lot: str, basis: int, proceeds: int) -> Sale:
    return Sale(f"sale of {lot}", LotId(lot), 10, basis, proceeds)


def test_adjustments_of_the_household_stand_apart_from_the_brokers() -> None:
    dated: list[tuple[date, Event]] = [
        (date(2024, 3, 1), buy("a", 1_000_00)),
        (date(2024, 3, 1), buy("b", 1_000_00)),
        (date(2024, 3, 1), buy("c", 1_000_00)),
        (SOLD, sell("a", 1_000_00, 900_00)),
        (SOLD + timedelta(days=1), buy("same", 900_00)),
        (SOLD + timedelta(days=40), sell("b", 1_000_00, 800_00)),
        (SOLD + timedelta(days=41), buy("spouse", 800_00, SPOUSE)),
        (SOLD + timedelta(days=80), sell("c", 1_000_00, 700_00)),
        (SOLD + timedelta(days=81), buy("ira", 700_00, IRA)),
        (SOLD + timedelta(days=150), sell("same", 900_00, 1_200_00)),
        (SOLD + timedelta(days=150), sell("spouse", 800_00, 1_200_00)),
    ]

    report = schedule_d(fold(KINDS, dated).disposals, [ME, SPOUSE], load(2026), PROFILE)

    told = {
        row.sale_id: (
            row.code,
            row.basis_cents,
            row.wash_cents,
            row.household_wash_cents,
            row.household_basis_cents,
            row.gain_cents,
        )
        for row in report.rows
    }
    assert told == {
        "sale of a": ("W", 1_000_00, 100_00, 0, 0, 0),
        "sale of b": ("W", 1_000_00, 0, 200_00, 0, 0),
        "sale of c": ("W", 1_000_00, 0, 300_00, 0, 0),
        # The broker adds $100 to the basis of "same", and knows nothing of the spouse's $200.
        "sale of same": ("", 1_000_00, 0, 0, 0, 200_00),
        "sale of spouse": ("B", 800_00, 0, 0, -200_00, 200_00),
    }
    # All are long: the replacements have the years of what was sold before them.
    assert {row.part for row in report.rows} == {Part.LONG}
    assert report.long.gain_cents == 400_00
    assert report.long.lost_cents == 300_00
    assert report.rows[0].final_from == SOLD + timedelta(days=31)


def test_a_second_wash_keeps_apart_what_the_broker_does_not_know() -> None:
    """A loss of $500 goes to the spouse, whose $100 as the broker sees it then is washed again."""
    dated: list[tuple[date, Event]] = [
        (date(2026, 1, 5), buy("a", 1_500_00)),
        (date(2026, 3, 2), sell("a", 1_500_00, 1_000_00)),
        (date(2026, 3, 3), buy("b", 500_00, SPOUSE)),
        (date(2026, 5, 4), sell("b", 500_00, 400_00)),
        (date(2026, 5, 5), buy("c", 400_00, SPOUSE)),
        (date(2026, 7, 6), sell("c", 400_00, 1_100_00)),
    ]

    report = schedule_d(fold(KINDS, dated).disposals, [ME, SPOUSE], load(2026), PROFILE)

    told = [
        (r.code, r.basis_cents, r.wash_cents, r.household_wash_cents, r.household_basis_cents)
        for r in report.rows
    ]
    assert told == [
        ("W", 1_500_00, 0, 500_00, 0),
        ("BW", 500_00, 100_00, 500_00, -500_00),
        ("B", 500_00, 0, 0, -500_00),
    ]
    assert [row.gain_cents for row in report.rows] == [0, 0, 100_00]
    assert sum(row.gain_cents for row in report.rows) == 2_500_00 - 2_400_00


def test_losses_carried_in_and_the_limit_close_the_year() -> None:
    books = fold(
        KINDS,
        [(date(2026, 1, 5), buy("a", 9_000_00)), (SOLD, sell("a", 9_000_00, 1_000_00))],
    )
    profile = TaxProfile(FilingStatus.JOINT, 90_000_00, 90_000_00, carried=Net(0, -500_00))

    report = schedule_d(books.disposals, [ME], load(2026), profile)

    assert report.realised == Net(-8_000_00, 0)
    assert report.closed.deducted_cents == 3_000_00
    assert report.closed.carried == Net(-5_000_00, -500_00)


def reports(books: Books, tables: list[YearTable]) -> list[tuple[int, int]]:
    """Check both years' reports of a household; return what they tell and what they lost."""
    found = []
    for table in tables:
        report = schedule_d(books.disposals, [ME, SPOUSE], table, PROFILE)
        for part, total in ((Part.SHORT, report.short), (Part.LONG, report.long)):
            rows = [row for row in report.rows if row.part is part]
            assert total.gain_cents == sum(row.gain_cents for row in rows)
            assert total.gain_cents == (
                total.proceeds_cents - total.basis_cents + total.adjustment_cents
            )
        sold = [d for d in books.disposals if d.sold_on.year == table.year]
        assert report.realised.long_cents == sum(
            d.recognised_cents for d in sold if is_long(d.held_from, d.sold_on)
        )
        assert report.realised.cents == sum(d.recognised_cents for d in sold)
        lost = report.short.lost_cents + report.long.lost_cents
        found.append((report.realised.cents, lost))
    return found


def test_totals_tie_to_the_cent_and_to_the_cash() -> None:
    tables = [load(2025), load(2026)]
    mixed = 0
    for seed in range(400):
        life = Life(seed)
        life.on += 366  # lives begin in 2025
        books, cash = Books(KINDS), 0
        for on, events in life.days(12):
            if on.year > 2026:
                break
            kinds = {lot.id: books.kinds[lot.account_id] for lot in books.shelf}
            for event in events:
                if isinstance(event, Purchase):
                    kinds[event.lot_id] = KINDS[event.account_id]
                elif isinstance(event, Move):
                    kinds[event.new_lot_id] = kinds[event.lot_id]
                elif isinstance(event, Sale) and kinds[event.lot_id] is AccountKind.TAXABLE:
                    cash += event.proceeds_cents
                    cash -= event.basis_cents
            books.apply(on, events)
        told = reports(books, tables)
        waiting = sum(p.added_cents for p in books.positions())

        # Proceeds less basis is what was recognised, less what still waits or is gone for good.
        assert cash == sum(gain - lost for gain, lost in told) - waiting
        mixed += waiting > 0
    assert mixed > 50
