"""Taxes over HTTP: what is told and chosen, what a year's forms say, and what is refused."""

import csv
import io
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from flask import Flask
from newcomer import Newcomer, cheap_app, investor_to_be
from world import World, make_world

from robo.core.ids import AccountId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.store import households, lots
from robo.store.chains import append
from robo.store.database import bulk

PROFILE = {
    "status": "single",
    "ordinary_income": "60000.00",
    "magi": "76100.00",
    "compensation": "76100.00",
}
_KEYS = count(1)
HEADER = "kind,date,symbol,shares,amount,acquired\n"


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("taxes") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return cheap_app(world)


@pytest.fixture
def me(app: Flask) -> Newcomer:
    return investor_to_be(app)[0]


def ask(me: Newcomer, method: str, what: str, body: Any = None) -> Any:
    reply = me.send(method, f"/v1/customers/{me.id}/{what}", body)
    return reply.get_json()


def upload(me: Newcomer, account: str, text: str) -> Any:
    reply = me.client.post(
        f"/v1/customers/{me.id}/outside-accounts/{account}/imports",
        data=text.encode(),
        content_type="text/csv",
        headers={
            "Authorization": f"Bearer {me.tokens['access_token']}",
            "Idempotency-Key": f"upload-{next(_KEYS):08d}",
        },
    )
    return reply.get_json()


def elsewhere(me: Newcomer, kind: str = "taxable") -> str:
    return str(ask(me, "POST", "outside-accounts", {"kind": kind, "name": "Old broker"})["id"])


def test_a_tax_profile_is_told_kept_and_shown(me: Newcomer) -> None:
    before = ask(me, "GET", "tax-profile")
    told = ask(me, "PUT", "tax-profile", {**PROFILE, "carried_long": "-5000.00"})
    shown = ask(me, "GET", "tax-profile?year=2026")

    assert before["is_assumed"] is True
    assert (told["is_assumed"], told["carried_long"]) == (False, "-5000.00")
    assert shown == told


def test_a_tax_profile_without_a_lot_method_keeps_the_one_told_last(me: Newcomer) -> None:
    first = ask(me, "PUT", "tax-profile", {**PROFILE, "year": 2025})
    ask(me, "PUT", "tax-profile", {**PROFILE, "year": 2025, "lot_method": "fifo"})

    same_year = ask(me, "PUT", "tax-profile", {**PROFILE, "year": 2025})
    next_year = ask(me, "PUT", "tax-profile", PROFILE)
    year_before = ask(me, "PUT", "tax-profile", {**PROFILE, "year": 2024})

    assert first["lot_method"] == "lowest_tax"
    kept = [one["lot_method"] for one in (same_year, next_year, year_before)]
    assert kept == ["fifo"] * 3
    assert ask(me, "GET", "tax-profile")["lot_method"] == "fifo"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("carried_short", "1.00"),
        ("ordinary_income", "-1.00"),
        ("magi", "1e5"),
        ("status", "widowed"),
        ("year", 2027),
        ("surprise", "1"),
    ],
)
def test_a_tax_profile_that_cannot_be_is_refused(me: Newcomer, field: str, value: Any) -> None:
    reply = ask(me, "PUT", "tax-profile", {**PROFILE, field: value})

    assert reply["status"] == 422
    assert field in reply["fields"] or f"{field}_cents" in reply["fields"]


def test_incomes_are_nowhere_in_the_database(world: World, me: Newcomer) -> None:
    ask(me, "PUT", "tax-profile", {**PROFILE, "ordinary_income": "73193.57"})

    with world.db.read() as session:
        connection = session.connection()
        names = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).scalars()
        for name in list(names):
            for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"'):
                assert "7319357" not in repr(tuple(row))
                assert "73193.57" not in repr(tuple(row))


def test_choices_change_any_day_and_what_is_left_out_stays(me: Newcomer) -> None:
    defaults = ask(me, "GET", "tax-choices")
    first = ask(me, "PUT", "tax-choices", {"mode": "harvest", "gain_budget": "1200.00"})
    second = ask(me, "PUT", "tax-choices", {"target": "amount", "target_amount": "-3000.00"})
    third = ask(me, "PUT", "tax-choices", {"target": "zero", "buy_buy_sell": True})
    unlimited = ask(me, "PUT", "tax-choices", {"gain_budget": None})

    assert (defaults["chosen"], defaults["mode"], defaults["gain_budget"]) == (
        False,
        "neutral",
        "0.00",
    )
    assert (first["mode"], first["gain_budget"], first["target"]) == ("harvest", "1200.00", "none")
    assert (second["target_amount"], second["gain_budget"]) == ("-3000.00", "1200.00")
    assert (third["target"], third["target_amount"], third["buy_buy_sell"]) == ("zero", None, True)
    assert (unlimited["gain_budget"], unlimited["target"]) == (None, "zero")


def test_a_target_without_its_amount_is_refused(me: Newcomer) -> None:
    alone = ask(me, "PUT", "tax-choices", {"target": "amount"})
    both = ask(me, "PUT", "tax-choices", {"target": "zero", "target_amount": "1.00"})

    assert (alone["code"], both["code"]) == ("tax_choice", "tax_choice")


def test_the_standing_follows_profile_and_target(me: Newcomer) -> None:
    assumed = ask(me, "GET", "tax-standing")
    ask(me, "PUT", "tax-profile", {**PROFILE, "outside_long": "1000.00"})
    ask(me, "PUT", "tax-choices", {"target": "loss_limit"})
    losing = ask(me, "GET", "tax-standing")
    ask(me, "PUT", "tax-profile", {**PROFILE, "ordinary_income": "40000.00"})
    barred = ask(me, "PUT", "tax-choices", {"target": "zero_bracket"})
    ask(me, "PUT", "tax-choices", {"target": "zero_bracket", "gain_budget": "8000.00"})
    within = ask(me, "GET", "tax-standing")
    ask(me, "PUT", "tax-choices", {"gain_budget": None})
    filling = ask(me, "GET", "tax-standing")

    assert assumed["rates"] == {"short_ppm": 220_000, "long_ppm": 150_000, "ordinary_ppm": 220_000}
    # 1,000 gained elsewhere; 3,000 of loss wanted.
    assert (losing["to_target"], losing["mode"]) == ("-4000.00", "harvest")
    # The 0 % bracket of a single filer ends at 49,450 in 2026: 9,450 above 40,000.
    assert (filling["to_target"], filling["mode"]) == ("9450.00", "neutral")
    assert filling["budget_left"] == "9450.00"
    # A target is no leave to gain more than the budget says.
    assert (barred["code"], list(barred["fields"])) == ("tax_choice", ["gain_budget"])
    assert (within["to_target"], within["budget_left"]) == ("9450.00", "8000.00")


def test_a_file_of_trades_elsewhere_is_taken_once(me: Newcomer) -> None:
    account = elsewhere(me)
    text = HEADER + "lot,2024-02-29,AAPL,10,1500.00,\nsell,02/10/2026,aapl,4,$800.00,2024-02-29\n"
    text += "buy,2026-02-11,NOSUCH,1,1.00,\n"

    taken = upload(me, account, text)
    again = upload(me, account, text)
    listed = ask(me, "GET", "outside-accounts")["items"]
    report = ask(me, "GET", "tax-report?year=2026")

    assert (taken["rows"], taken["skipped_symbols"]) == (3, ["NOSUCH"])
    assert again["code"] == "import_known"
    assert (listed[0]["name"], listed[0]["trades"]) == ("Old broker", 2)
    # Four shares cost 600 and brought 800, held for two years.
    assert [(r["part"], r["gain"], r["sold"]) for r in report["rows"]] == [
        ("II", "200.00", "2026-02-10")
    ]
    assert (report["elsewhere"], report["unknown_accounts"]) == ("some", [])
    assert listed[0]["is_known"]


def test_an_account_elsewhere_without_a_file_is_said_to_be_not_known_wherever_wash_sales_are_told(
    me: Newcomer,
) -> None:
    ask(me, "PUT", "tax-choices", {"elsewhere": "none"})
    silent, spoken = elsewhere(me), elsewhere(me)
    upload(me, spoken, HEADER + "buy,2026-01-15,NOSUCH,1,1.00,\n")

    chosen = ask(me, "GET", "tax-choices")["elsewhere"]
    denied = ask(me, "PUT", "tax-choices", {"elsewhere": "none"})
    places = ("tax-report", "tax-standing", "trading-limits")
    told = [ask(me, "GET", place)["unknown_accounts"] for place in places]
    listed = {one["id"]: one["is_known"] for one in ask(me, "GET", "outside-accounts")["items"]}
    ask(me, "DELETE", f"outside-accounts/{silent}")
    without = ask(me, "GET", "tax-report")["unknown_accounts"]

    assert (chosen, denied["code"]) == ("some", "tax_choice")
    assert list(denied["fields"]) == ["elsewhere"]
    assert told == [[silent]] * 3
    assert (listed, without) == ({silent: False, spoken: True}, [])


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ("buy,2026-01-15,AAPL,1.5\n", "row_2"),
        ("steal,2026-01-15,AAPL,1,1.00,\n", "row_2"),
        ("buy,2026-02-30,AAPL,1,1.00,\n", "row_2"),
        ("buy,2031-01-01,AAPL,1,1.00,\n", "row_2"),
        ("buy,2026-01-15,=cmd|' /C calc'!A0,1,1.00,\n", "row_2"),
        ("buy,2026-01-15,AAPL,-1,1.00,\n", "row_2"),
        ("buy,2026-01-15,AAPL,1e9,1.00,\n", "row_2"),
        ("buy,2026-01-15,AAPL,0.0000000001,1.00,\n", "row_2"),
        ("buy,2026-01-15,AAPL,1,NaN,\n", "row_2"),
        ("buy,2026-01-15,AAPL,1,1.001,\n", "row_2"),
        ("buy,2026-01-15,AAPL,1,1.00,2026-01-01\n", "row_2"),
        ('buy,2026-01-15,AAPL,1,1.00,\nbuy,"2026\n', "row_3"),
        ("buy,2026-01-15,AAPL,1,1.00,\nbuy,2026-01-15,AAPL,x,1.00,\n", "row_3"),
        ("", "csv"),
    ],
)
def test_every_wrong_row_is_named_and_nothing_is_taken(me: Newcomer, rows: str, place: str) -> None:
    account = elsewhere(me)

    reply = upload(me, account, HEADER + rows)

    assert (reply["status"], reply["code"]) == (422, "csv_rows"), reply
    assert place in reply["fields"]
    assert "calc" not in str(reply)
    assert ask(me, "GET", "outside-accounts")["items"][-1]["trades"] == 0


def test_a_header_that_is_none_and_too_many_rows_are_refused(me: Newcomer) -> None:
    account = elsewhere(me)

    header = upload(me, account, "a,b\n1,2\n")
    long = upload(me, account, HEADER + "buy,2026-01-15,AAPL,1,1.00,\n" * 10_001)

    assert header["code"] == "csv_header"
    assert long["fields"] == {"csv": ["A file has at most 10000 rows."]}


def test_another_customers_account_elsewhere_does_not_exist(app: Flask, me: Newcomer) -> None:
    other, _ = investor_to_be(app)
    account = elsewhere(me)

    reply = upload(other, account, HEADER + "buy,2026-01-15,AAPL,1,1.00,\n")
    removed = ask(other, "DELETE", f"outside-accounts/{account}")

    assert (reply["status"], removed["status"]) == (404, 404)


def test_an_outside_purchase_washes_our_loss_and_the_forms_say_so(world: World, app: Flask) -> None:
    me, basket = investor_to_be(app)
    account = me.open(basket).get_json()["id"]
    world.pay_in(AccountId(account), 100_000)
    world.trade()
    symbol = _sell_at_a_loss(world, account)
    outside = elsewhere(me)

    before = ask(me, "GET", "tax-report?year=2026")
    rows = HEADER + f"buy,2026-02-20,{symbol},0.001,1.00,\n"
    upload(me, outside, rows)
    after = ask(me, "GET", "tax-report?year=2026")
    text = me.get(f"/v1/accounts/{account}/tax-report.csv?year=2026")

    washed = [row for row in after["rows"] if row["code"]]
    assert {(row["code"], row["adjustment"]) for row in before["rows"]} == {("", "0.00")}
    assert all(row["gain"].startswith("-") for row in before["rows"])
    assert before["counts"]["unintended"] == 0
    assert after["counts"]["by_kind"]["wash_outside_trade"] == 1
    assert after["counts"]["unintended"] == 0
    assert washed[0]["code"] == "W"
    assert washed[0]["household_wash"] == after["counts"]["deferred"] != "0.00"
    for row in after["rows"]:
        parts = (row["proceeds"], row["basis"], row["adjustment"], row["gain"])
        proceeds, basis, adjustment, gain = (round(float(part) * 100) for part in parts)
        assert gain == proceeds - basis + adjustment
    found = list(csv.DictReader(io.StringIO(text.get_data(as_text=True))))
    assert text.headers["Content-Type"].startswith("text/csv")
    assert [row["gain"] for row in found] == [row["gain"] for row in after["rows"]]


def test_a_joint_accounts_report_tells_its_second_owner_nothing_of_the_first_ones_return(
    world: World, app: Flask
) -> None:
    (me, basket), (other, _) = investor_to_be(app), investor_to_be(app)
    account = me.open(basket).get_json()["id"]
    with world.db.write() as session:
        bulk(session, "UPDATE account SET kind = 'joint' WHERE id = ?", [(account,)])
        households.own_jointly(session, account, other.id, 1)
    world.pay_in(AccountId(account), 100_000)
    world.trade()
    _sell_at_a_loss(world, account)
    ask(me, "PUT", "tax-profile?year=2026", {**PROFILE, "carried_long": "-5000.00"})
    noted = elsewhere(me)
    path = f"/v1/accounts/{account}/tax-report?year=2026"

    mine, theirs = (one.get(path).get_json() for one in (me, other))

    kept = {name for name in mine if theirs[name] != mine[name]}
    assert kept == {
        *("status", "is_assumed", "elsewhere", "unknown_accounts", "carried_in", "carried_out"),
        *("taxed", "deducted", "tax_of_gains"),
    }
    assert {theirs[name] for name in kept} == {None}
    assert (mine["unknown_accounts"], mine["carried_in"]["long"]) == ([noted], "-5000.00")
    assert theirs["rows"]


def _sell_at_a_loss(world: World, account: str) -> str:
    """Write the sale of all of a name for a tenth of its price, as a booking would."""
    with world.db.write() as session:
        rows = (
            session.connection()
            .exec_driver_sql(
                "SELECT l.security_id, s.symbol, l.id, l.nanos, l.basis_cents FROM lot l "
                "JOIN security s ON s.id = l.security_id WHERE l.account_id = ?",
                (account,),
            )
            .all()
        )
        name, symbol = min((row.security_id, row.symbol) for row in rows)
        made = [
            lots.LotEvent(
                child_id("lev", row.id, "loss"),
                row.id,
                AccountId(account),
                name,
                "close",
                -row.nanos,
                -row.basis_cents,
                row.basis_cents // 10,
                child_id("fil", account, "loss"),
                "2026-03-02",
            )
            for row in rows
            if row.security_id == name
        ]
        lots.apply_events(session, made)
        append(session, bytes(32), [event.link() for event in made], 1)
    return str(symbol)


def test_the_room_of_an_ira_follows_from_what_was_told(me: Newcomer) -> None:
    unknown = ask(me, "GET", "ira-room")
    ask(me, "PUT", "tax-profile", {**PROFILE, "magi": "160500.00"})
    known = ask(me, "GET", "ira-room")

    assert unknown["code"] == "tax_profile_missing"
    assert (known["limit"], known["roth_limit"], known["left"], known["until"]) == (
        "7500.00",
        "3750.00",
        "7500.00",
        "2027-04-15",
    )


def test_the_room_of_an_ira_says_which_years_income_it_was_rolled_forward_from(
    me: Newcomer,
) -> None:
    ask(me, "PUT", "tax-profile", {**PROFILE, "magi": "160500.00", "year": 2025})
    rolled, nobody_knows = ask(me, "GET", "ira-room"), ask(me, "GET", "ira-room?year=2027")

    # 160,500 lies in the range of 2026, 153,000 to 168,000; in that of 2025 it left $2,100.
    assert (rolled["tax_year"], rolled["income_of"], rolled["roth_limit"]) == (
        2026,
        2025,
        "3750.00",
    )
    assert nobody_knows["code"] == "ira_limits_missing"


def test_a_joint_return_of_2025_keeps_its_own_figures(me: Newcomer) -> None:
    told = ask(me, "PUT", "tax-profile", {**PROFILE, "status": "joint", "year": 2025})
    report = ask(me, "GET", "tax-report?year=2025")
    later = ask(me, "GET", "tax-profile?year=2026")

    assert (told["year"], report["status"], report["figures_of"]) == (2025, "joint", 2025)
    assert (later["status"], later["is_assumed"]) == ("joint", False)


def test_a_year_without_a_file_says_whose_figures_stand_in(me: Newcomer) -> None:
    assert ask(me, "GET", "tax-report?year=2031")["figures_of"] == 2026
