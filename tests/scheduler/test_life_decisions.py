"""The file of every decision: ours in orders, skips, targets and ladder, and the customer's."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, desk_from, write_template

from robo.core.ids import AccountId
from robo.core.reasons import Reason
from robo.services import ordering
from robo.store import accounts, direct, events
from scheduler import life_decisions


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_template(tmp_path_factory.mktemp("decisions") / "template.db", "firm_a")


@pytest.fixture
def desk(template: Path, tmp_path: Path) -> Iterator[Desk]:
    with desk_from(template, tmp_path) as made:
        yield made


def lines(desk: Desk, account: AccountId, folder: Path) -> list[dict[str, str]]:
    path = folder / "decisions.csv"
    life_decisions.write(desk.db, account, path)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_targets_ladder_and_the_customers_acts_stand_beside_orders_and_skips(
    desk: Desk, tmp_path: Path
) -> None:
    life_decisions.watch(desk.db)
    (account,) = desk.open("firm_a", 1, follows=(1, 2))
    with desk.db.read() as session:
        sleeve = accounts.sleeves(session, [account])[account]
    desk.fund({account: 10_00})
    with desk.db.write() as session:
        trade = ordering.Trade(1, Reason.BUY_NEW_NAME, buy_cents=5_00)
        skipped = {2: Reason.SKIP_WASH_BUY}
        plan = ordering.Plan(sleeve, "first", (trade,), skipped)
        ordering.write(session, desk.keyring, [plan], desk.now)
    desk.next_day()
    with desk.db.write() as session:
        half = accounts.TargetWeight
        weights = [half(1, 500_000), half(3, 500_000, "in place of SYM2")]
        target = accounts.put_target(session, "test", "2", weights, desk.now)
        accounts.retarget(session, [(sleeve.id, target)], desk.now)
    desk.next_day()
    for names, carried in ((10, 100), (11, 200), (11, 300)):
        row = direct.DirectSleeve(
            sleeve.id, account, "standard", 0, "fades", 0, "{}", names, carried, 0, ""
        )
        with desk.db.write() as session:
            direct.put(session, [row], desk.now)
    desk.next_day()
    with desk.db.write() as session:
        said = events.NewEvent("firm_a", "restriction.changed", "x", customer_id=sleeve.customer_id)
        heard = events.NewEvent("firm_a", "order.executed", "y", customer_id=sleeve.customer_id)
        events.emit(session, [said, heard], desk.now)

    found = lines(desk, account, tmp_path)

    assert [(one["decision"], one["symbol"], one["reason"]) for one in found] == [
        ("order", "SYM1", "buy_new_name"),
        ("skip", "SYM2", "skip_wash_buy"),
        ("target", "", f"{sleeve.target_id} to {target}"),
        ("target_name", "SYM2", "leaves"),
        ("stand_in", "SYM3", "comes"),
        ("ladder", "", "0 to 10 names"),
        ("ladder", "", "10 to 11 names"),
        ("customer", "", "restriction.changed"),
    ]
    assert found[4]["detail"] == "0 to 500000 ppm; in place of SYM2"
    assert list(found[0]) == list(life_decisions.COLUMNS)
