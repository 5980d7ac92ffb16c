"""What the law lets into IRAs, year by year, and what leaving one asks for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from funds import accept_agreements, link_of
from world import World, make_world

from robo.core.errors import InvalidInputError, RefusedError
from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.services import funding, withdrawing
from robo.services.sealing import BIRTH_DATE, Vault
from robo.services.taxing import choosing, contributing
from robo.services.taxing.profiles import Told
from robo.store import households, owners, transfers
from robo.store.database import bulk
from robo.tax.rate_tables import FilingStatus, load

ME = Told(FilingStatus.SINGLE, 60_000_00, 75_000_00, compensation_cents=75_000_00)


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path / "state", short_calendar) as made:
        yield made


def ira(world: World, kind: str, told: Told | None = ME, *, born: str = "1990-05-05") -> AccountId:
    """Open an account, make an IRA of it, and tell us the owner's income."""
    (account,) = world.add_accounts(1)
    accept_agreements(world, account)
    with world.db.write() as session:
        bulk(session, "UPDATE account SET kind = ? WHERE id = ?", [(kind, account)])
        customer = households.owners_of(session, [account])[account].customer_id
        key = world.runtime.keyring.new_data_key(customer)
        bulk(session, "UPDATE customer SET data_key = ? WHERE id = ?", [(key, customer)])
        vault = Vault.open(session, world.runtime.keyring, customer)
        vault.write(session, BIRTH_DATE, born, 1)
    _sign_ira(world, account, customer)
    if told is not None:
        tell(world, customer, 2026, told)
    return account


def _sign_ira(world: World, account: AccountId, customer: str) -> None:
    from robo.store import papers
    from robo.store.papers import Acceptance

    with world.db.write() as session:
        made = Acceptance(
            child_id("acp", account, "ira"), customer, "ira_agreement", 1, "0" * 64, "0" * 64,
            "accepted", 1,
        )  # fmt: skip
        papers.add(session, world.runtime.keyring.chain, "firm_house", [(made, b"")], 1)


def owner_of(world: World, account: AccountId) -> owners.Customer:
    with world.db.read() as session:
        customer = households.owners_of(session, [account])[account].customer_id
        found = owners.find_customer(session, customer)
    assert found is not None
    return found


def tell(world: World, customer_id: str, year: int, told: Told) -> None:
    r = world.runtime
    with world.db.read() as session:
        customer = owners.find_customer(session, customer_id)
    assert customer is not None
    choosing.tell(world.db, r.keyring, r.clock, customer, year, told, actor="test")


def deposit(world: World, account: AccountId, cents: int, year: int | None = None) -> str:
    made = child_id("dep", account, cents, str(year), str(world.clock.now()))
    order = funding.DepositOrder(made, account, link_of(world, account), cents, tax_year=year)
    with world.db.write() as session:
        from robo.services.funding.requesting import write_request

        return write_request(
            session, world.runtime.keyring, world.clock.now(), Policy.default(), order
        ).id


def skipped(world: World) -> list[str]:
    """Return what was told of dates on which a plan asked for nothing."""
    with world.db.read() as session:
        told = session.connection().exec_driver_sql(
            "SELECT payload FROM event WHERE kind = 'plan.skipped' ORDER BY seq"
        )
        return [str(row[0]) for row in told]


def test_7500_dollars_go_into_all_iras_of_2026_and_not_a_cent_more(world: World) -> None:
    account = ira(world, "traditional_ira")

    deposit(world, account, 7_000_00)
    with pytest.raises(RefusedError) as over:
        deposit(world, account, 500_01)
    deposit(world, account, 500_00)

    assert (over.value.code, over.value.reasons) == ("ira_limit", ("500.00",))


def test_who_is_fifty_this_year_may_put_in_1100_more(world: World) -> None:
    account = ira(world, "traditional_ira", born="1976-12-31")

    deposit(world, account, 8_600_00)

    with pytest.raises(RefusedError, match="more may go"):
        deposit(world, account, 1_00)


def test_nobody_puts_in_more_than_they_earned(world: World) -> None:
    account = ira(world, "traditional_ira", replace(ME, compensation_cents=2_000_00))

    with pytest.raises(RefusedError, match="more may go"):
        deposit(world, account, 2_000_01)
    deposit(world, account, 2_000_00)


@pytest.mark.parametrize(
    ("magi", "limit"),
    [
        (153_000_00, 7_500_00),
        # 7,500 x 7,500 / 15,000 = 3,750
        (160_500_00, 3_750_00),
        (167_999_00, 200_00),
        (168_000_00, 0),
    ],
)
def test_a_roth_takes_less_as_income_passes_through_the_range(
    world: World, magi: int, limit: int
) -> None:
    account = ira(world, "roth_ira", replace(ME, magi_cents=magi))

    with pytest.raises(RefusedError) as over:
        deposit(world, account, limit + 100)

    assert over.value.code == ("ira_limit" if limit == 7_500_00 else "roth_limit")
    if limit:
        deposit(world, account, limit)


def test_the_roth_ranges_of_2025_and_2026_are_the_published_ones() -> None:
    # Notices 2024-80 and 2025-67.
    wanted = {
        2025: {"single": (150_000, 165_000), "joint": (236_000, 246_000), "separate": (0, 10_000)},
        2026: {"single": (153_000, 168_000), "joint": (242_000, 252_000), "separate": (0, 10_000)},
    }

    for year, rows in wanted.items():
        for status, (low, high) in rows.items():
            found = load(year).status[FilingStatus(status)].roth_phase_out_cents
            assert found == (low * 100, high * 100)
    assert [load(y).ira_until for y in (2025, 2026)] == [date(2026, 4, 15), date(2027, 4, 15)]


def test_money_counts_for_last_year_until_its_filing_date(world: World) -> None:
    account = ira(world, "traditional_ira")
    tell(world, owner_of(world, account).id, 2025, ME)

    deposit(world, account, 7_000_00, 2025)
    with pytest.raises(RefusedError) as over:
        deposit(world, account, 1_00, 2025)
    deposit(world, account, 7_500_00)
    world.clock.set(datetime(2026, 4, 16, 15, tzinfo=UTC))
    with pytest.raises(InvalidInputError) as late:
        deposit(world, account, 1_00, 2025)

    assert (over.value.code, late.value.code) == ("ira_limit", "tax_year")


def test_income_comes_first(world: World) -> None:
    account = ira(world, "roth_ira", None)

    with pytest.raises(RefusedError) as unknown:
        deposit(world, account, 1_00)

    assert unknown.value.code == "tax_profile_missing"


def test_what_was_told_of_last_year_is_held_to_the_limits_of_this_one(world: World) -> None:
    account = ira(world, "roth_ira", None, born="1976-12-31")
    # Gains elsewhere belong to their year: with them it was beyond the range of both years.
    told = replace(ME, magi_cents=160_500_00, outside_long_cents=50_000_00)
    tell(world, owner_of(world, account).id, 2025, told)

    # Fifty in 2026, not in 2025: 8,600 x 7,500 / 15,000 = 4,300.
    with pytest.raises(RefusedError) as over:
        deposit(world, account, 4_300_01)
    deposit(world, account, 4_300_00)
    with pytest.raises(RefusedError) as last_year:
        deposit(world, account, 1_00, 2025)

    assert (over.value.code, over.value.reasons) == ("roth_limit", ("4300.00",))
    assert (last_year.value.code, last_year.value.reasons) == ("roth_limit", ("0.00",))


def test_a_plan_goes_on_in_january_and_stops_at_the_new_years_limit(world: World) -> None:
    account = ira(world, "traditional_ira", None)
    tell(world, owner_of(world, account).id, 2025, replace(ME, compensation_cents=30_00))
    r = world.runtime
    funding.create_plan(
        world.db, r.clock, r.policy, "pln_1", account, link_of(world, account), 25_00, "weekly", 1
    )

    for day in (date(2026, 3, 2), date(2026, 3, 9)):
        world.clock.set(datetime(day.year, day.month, day.day, 14, tzinfo=UTC))
        funding.run_plans(world.db, r.keyring, r.clock, r.calendar, r.policy, day)

    told = skipped(world)
    assert world.scalar("SELECT sum(cents) FROM contribution WHERE tax_year = 2026") == 25_00
    assert ["ira_limit" in one for one in told] == [True]


def test_a_correction_of_last_year_is_rolled_forward_too_and_nothing_backward(
    world: World,
) -> None:
    account = ira(world, "traditional_ira", None)
    customer = owner_of(world, account).id
    tell(world, customer, 2025, ME)
    tell(world, customer, 2025, replace(ME, compensation_cents=1_000_00))

    with pytest.raises(RefusedError, match=r"1000\.00 more"):
        deposit(world, account, 1_000_01)

    other = ira(world, "traditional_ira")
    with pytest.raises(RefusedError) as backward:
        deposit(world, other, 1_00, 2025)
    assert backward.value.code == "tax_profile_missing"


def test_a_year_whose_limits_are_not_known_here_takes_nothing_in(world: World) -> None:
    account = ira(world, "traditional_ira")
    world.clock.set(datetime(2027, 1, 4, 15, tzinfo=UTC))
    tell(world, owner_of(world, account).id, 2027, ME)

    with pytest.raises(RefusedError) as unknown:
        deposit(world, account, 1_00)
    deposit(world, account, 1_00, 2026)

    assert (unknown.value.code, unknown.value.reasons) == ("ira_limits_missing", ("2027",))


def test_a_deposit_that_came_back_makes_room_again(world: World) -> None:
    account = ira(world, "traditional_ira")
    made = deposit(world, account, 7_500_00)

    with world.db.write() as session:
        one = transfers.deposit(session, made)
        assert one is not None
        transfers.save_deposit(session, replace(one, state="failed"))

    assert deposit(world, account, 7_400_00)


def test_a_year_named_for_another_account_is_refused(world: World) -> None:
    (account,) = world.add_accounts(1)
    accept_agreements(world, account)

    with pytest.raises(InvalidInputError) as refused:
        deposit(world, account, 10_00, 2026)

    assert refused.value.code == "not_an_ira"


def test_leaving_an_ira_asks_for_the_notice(world: World) -> None:
    account = ira(world, "traditional_ira")
    world.pay_in(account, 500_00)
    r = world.runtime

    def take(number: int, confirmed: str = "") -> str:
        made = child_id("wdr", account, number)
        link = link_of(world, account)
        return withdrawing.request(
            world.db, r.keyring, r.prices, r.clock, account, made, link, 100_00, confirmed
        ).state

    with pytest.raises(RefusedError) as unconfirmed:
        take(1)
    state = take(2, contributing.NOTICE)

    assert unconfirmed.value.code == "ira_notice"
    assert "10 %" in unconfirmed.value.detail
    assert state == "settling"
    assert world.scalar("SELECT count(*) FROM distribution") == 1
