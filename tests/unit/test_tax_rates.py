"""Federal figures from dated files: golden cases, marginal rates, limits, and refused files."""

from importlib.resources import files

import pytest

from robo.core.errors import InvalidInputError
from robo.tax.gains import Net
from robo.tax.rate_tables import FilingStatus, TaxTableError, load, parse, years
from robo.tax.rates import (
    StateRates,
    TaxProfile,
    bill,
    ira_limit_cents,
    marginal,
    roth_limit_cents,
    zero_bracket_room_cents,
)

SINGLE = FilingStatus.SINGLE


def text(year: int = 2026) -> str:
    return (files("robo.tax") / "tables" / f"{year}.toml").read_text(encoding="utf-8")


def single(ordinary: int, magi: int | None = None, **more: object) -> TaxProfile:
    whole = ordinary if magi is None else magi
    return TaxProfile(SINGLE, ordinary * 100, whole * 100, **more)  # type: ignore[arg-type] # test


def test_both_years_ship_and_are_about_themselves() -> None:
    assert {2025, 2026} <= set(years())
    for year in years():
        table = load(year)
        assert table.year == year == table.effective_from.year
        assert set(table.status) == set(FilingStatus)
        assert table.sources


@pytest.mark.parametrize(("year", "tax"), [(2025, 16_914_00), (2026, 16_712_00)])
def test_ordinary_tax_on_100_000_single(year: int, tax: int) -> None:
    assert load(year).status[SINGLE].ordinary.tax_cents(100_000_00) == tax


@pytest.mark.parametrize(
    ("status", "edges"),
    [
        (SINGLE, (1_240_00, 5_800_00, 17_966_00, 41_024_00, 58_448_00, 192_979_25)),
        (FilingStatus.JOINT, (2_480_00, 11_600_00, 35_932_00, 82_048_00, 116_896_00, 206_583_50)),
        (FilingStatus.SURVIVING_SPOUSE, (2_480_00,)),
    ],
)
def test_cumulative_tax_of_2026_at_the_edges(status: FilingStatus, edges: tuple[int, ...]) -> None:
    brackets = load(2026).status[status].ordinary

    assert tuple(map(brackets.tax_cents, brackets.upper_cents))[: len(edges)] == edges


def test_the_head_of_households_last_edge_and_the_two_cells_others_copy_wrongly() -> None:
    head = FilingStatus.HEAD_OF_HOUSEHOLD
    brackets = load(2026).status[head].ordinary

    assert brackets.tax_cents(brackets.upper_cents[-1]) == 191_171_00
    assert brackets.upper_cents[3] == 201_750_00
    assert load(2025).status[head].ordinary.upper_cents[4] == 250_500_00


@pytest.mark.parametrize(
    ("ordinary", "gain", "tax"),
    # 9,450 of the 20,000 at 0 %, 10,550 at 15 %; 45,500 of 100,000 at 15 %, 54,500 at 20 %.
    [(40_000, 20_000, 1_582_50), (500_000, 100_000, 17_725_00)],
)
def test_long_gains_stack_on_ordinary_income(ordinary: int, gain: int, tax: int) -> None:
    assert bill(load(2026), single(ordinary), Net(0, gain * 100)).long_cents == tax


def test_net_investment_income_tax_takes_the_lesser_of_income_and_excess() -> None:
    # MAGI 190,000 + 50,000 gain: 40,000 over the threshold; 3.8 % of it.
    assert bill(load(2026), single(180_000, 190_000), Net(0, 50_000_00)).niit_cents == 1_520_00
    assert bill(load(2026), single(300_000), Net(0, 10_000_00)).niit_cents == 380_00
    assert bill(load(2026), single(150_000), Net(0, 10_000_00)).niit_cents == 0


def test_a_loss_saves_ordinary_tax_up_to_the_limit() -> None:
    before = bill(load(2026), single(90_000), Net())
    after = bill(load(2026), single(90_000), Net(-10_000_00, 0))
    separate = TaxProfile(FilingStatus.SEPARATE, 90_000_00, 90_000_00)

    assert before.cents - after.cents == 660_00  # 22 % of 3,000
    saved = bill(load(2026), separate, Net()).cents - bill(load(2026), separate, Net(-(9**9))).cents
    assert saved == 330_00  # 22 % of 1,500


def test_a_state_is_the_customers_data() -> None:
    state = StateRates(93_000, 50_000, 93_000, "the customer's own figures for 2026")
    profile = single(90_000, state=state)

    assert bill(load(2026), profile, Net(1_000_00, 2_000_00)).state_cents == 193_00
    assert bill(load(2026), profile, Net(-1_000_00, 0)).state_cents == -93_00


def test_marginal_rates_step_at_the_edges() -> None:
    table = load(2026)

    low = marginal(table, single(30_000), Net())
    at_edge = marginal(table, single(49_450), Net())
    high = marginal(table, single(700_000), Net())

    assert (low.short_ppm, low.long_ppm, low.ordinary_ppm) == (120_000, 0, 120_000)
    assert at_edge.long_ppm == 150_000
    assert (high.short_ppm, high.long_ppm, high.ordinary_ppm) == (408_000, 238_000, 370_000)


def test_losses_carried_in_count_first() -> None:
    profile = single(700_000, carried=Net(-5_000_00, 0))

    assert bill(load(2026), profile, Net(0, 5_000_00)).long_cents == 0


def test_room_in_the_zero_bracket_includes_losses_to_use_up() -> None:
    table = load(2026)

    assert zero_bracket_room_cents(table, single(40_000), Net()) == 9_450_00
    assert zero_bracket_room_cents(table, single(40_000), Net(1_000_00, 2_000_00)) == 6_450_00
    assert zero_bracket_room_cents(table, single(40_000), Net(-4_000_00, 0)) == 13_450_00
    assert zero_bracket_room_cents(table, single(60_000), Net()) == 0


def test_room_in_the_zero_bracket_is_exactly_what_costs_nothing() -> None:
    table, profile = load(2026), single(40_000)
    room = zero_bracket_room_cents(table, profile, Net())

    assert bill(table, profile, Net(0, room)).long_cents == 0
    assert bill(table, profile, Net(0, room + 1_00)).long_cents == 15


def test_ira_limits_by_age_earnings_and_income() -> None:
    assert ira_limit_cents(load(2025), 49, 10**9) == 7_000_00
    assert ira_limit_cents(load(2025), 50, 10**9) == 8_000_00
    assert ira_limit_cents(load(2026), 50, 10**9) == 8_600_00
    assert ira_limit_cents(load(2026), 30, 1_234_56) == 1_234_56
    status = load(2026).status[SINGLE]
    assert roth_limit_cents(status, 7_500_00, 153_000_00) == 7_500_00
    assert roth_limit_cents(status, 7_500_00, 160_500_00) == 3_750_00
    assert roth_limit_cents(status, 7_500_00, 167_999_00) == 200_00
    assert roth_limit_cents(status, 7_500_00, 168_000_00) == 0
    assert roth_limit_cents(status, 7_500_00, 153_001_00) == 7_500_00  # 7,499.50, up to $10


@pytest.mark.parametrize(
    ("old", "new", "code", "field"),
    [
        ("year = 2026", "year = ", "tax_table_unreadable", None),
        ("year = 2026", "", "tax_table_field", "year"),
        ("year = 2026", "year = 2026\nextra = 1", "tax_table_field", "extra"),
        ("limit = 7_500", "limit = 7_500.5", "tax_table_field", "ira.limit"),
        ("limit = 7_500", "limit = true", "tax_table_field", "ira.limit"),
        ("limit = 7_500", "limit = -1", "tax_table_field", "ira.limit"),
        ("[12_400, 50_400", "[50_400, 12_400", "tax_table_order", "status.single.ordinary_upper"),
        ("[12_400, 50_400", "[50_400", "tax_table_field", "status.single.ordinary_upper"),
        ("[49_450, 545_500]", "49_450", "tax_table_field", "status.single.long_upper"),
        ("[153_000, 168_000]", "[153_000]", "tax_table_field", "status.single.roth_phase_out"),
        ("[status.single]", "[status.alone]", "tax_table_field", "status.single"),
        ("niit_rate_ppm = 38_000", "niit_rate_ppm = 3_800_000", "tax_table_field", "niit_rate_ppm"),
        ("effective_from = 2026-01-01", 'effective_from = "x"', "tax_table_field", None),
        ("370_000]", "350_000]", "tax_table_order", "ordinary_rates_ppm"),
    ],
)
def test_a_malformed_file_is_refused_with_a_stable_code(
    old: str, new: str, code: str, field: str | None
) -> None:
    assert old in text()

    with pytest.raises(TaxTableError) as caught:
        parse(text().replace(old, new, 1))

    assert caught.value.code == code
    assert field is None or field in caught.value.fields


def test_a_year_without_a_file_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(1900)

    assert caught.value.code == "tax_table_missing"


def test_a_profile_refuses_what_is_no_income() -> None:
    with pytest.raises(ValueError, match="ordinary_cents"):
        single(-1)
    with pytest.raises(ValueError, match="carried"):
        single(1, carried=Net(1, 0))
    with pytest.raises(ValueError, match="short_ppm"):
        StateRates(short_ppm=2_000_000)
