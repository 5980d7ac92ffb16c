"""What waits at a broker that keeps an account each, asked of both databases."""

from dataclasses import replace

import pytest

from robo.core.ids import AccountId
from robo.store import controls, custody, remittances
from robo.store.custody import Custody
from robo.store.database import Database, bulk, insert_many
from robo.store.remittances import Link, Remittance
from robo.store.schema import upgrade

FIRM, ANN, BOB = "firm_house", AccountId("acc_ann"), AccountId("acc_bob")


@pytest.fixture
def db(any_database: Database) -> Database:
    upgrade(any_database)
    with any_database.write() as session:
        insert_many(session, "firm", ("id", "name", "house", "created_at"), [(FIRM, "House", 1, 1)])
        names = (
            *("id", "firm_id", "email_index", "state", "created_at"),
            *("identity_state", "identity_codes", "delivery"),
        )
        people = (("ann", "accepted"), ("bob", "review"))
        insert_many(
            session,
            "customer",
            names,
            [
                (f"cus_{n}", FIRM, n.encode(), "active", 1, stood, "", "paper")
                for n, stood in people
            ],
        )
        insert_many(
            session,
            "account",
            ("id", "firm_id", "customer_id", "kind", "state", "opened_at"),
            [
                (account, FIRM, f"cus_{account[4:]}", "individual", "open", 1)
                for account in (ANN, BOB)
            ],
        )
    return any_database


def test_only_accounts_of_accepted_people_are_applied_for_once(db: Database) -> None:
    with db.write() as session:
        first = custody.without(session, {"individual"}, 10)
        joint = custody.without(session, {"joint"}, 10)
        custody.add(session, [Custody(ANN, "scripted", 1, 1, 1)])
        second = custody.without(session, {"individual"}, 10)
        due = custody.due(session, 1, 10, "intended")

    assert (first, joint, second) == ([ANN], [], [])
    assert [one.account_id for one in due] == [ANN]


def test_an_account_trades_while_it_is_active_and_is_closed_when_nothing_is_left(
    db: Database,
) -> None:
    with db.write() as session:
        row = Custody(ANN, "scripted", 1, custody.NEVER, 1, "active", "there")
        custody.add(session, [row])
        controls.link_account(session, ANN, "scripted", "there", 1)
        active = controls.broker_accounts(session, [ANN])
        custody.save(session, replace(row, state="restricted"))
        restricted = controls.broker_accounts(session, [ANN])
        left = [one.account_id for one in custody.to_close(session, 1, 10)]
        bulk(session, "UPDATE account SET state = 'closed' WHERE id = ?", [(ANN,)])
        cash = ("customer/acc_ann/cash", "USD/2", 1)
        insert_many(session, "balance", ("book", "asset", "amount"), [cash])
        rich = custody.to_close(session, 1, 10)
        bulk(session, "UPDATE balance SET amount = 0 WHERE book = ?", [(cash[0],)])
        empty = [one.account_id for one in custody.to_close(session, 1, 10)]
        kept = controls.owners_of_broker_accounts(session)
        custody.save(session, replace(row, state="closed"))
        gone = controls.owners_of_broker_accounts(session)

    assert (active, restricted) == ({ANN: "there"}, {})
    assert (left, rich, empty) == ([], [], [ANN])
    assert (kept, gone) == ([("there", FIRM, ANN)], [])


def test_a_step_of_a_transfer_is_told_once_and_twins_are_seen(db: Database) -> None:
    row = Remittance("dep_1", ANN, "ach_1", "pull", 500, 1, 1, 1, "telling", "there", "rel")
    with db.write() as session:
        remittances.add(session, row)
        remittances.add(session, replace(row, id="dep_2"))
        remittances.save(session, replace(row, state="ambiguous"))
        twins = [one.id for one in remittances.alike(session, row)]
        doubtful = [one.id for one in remittances.doubtful(session, FIRM, 10)]
        elsewhere = remittances.doubtful(session, "firm_other", 10)
        told = ("bev_1", "dep_1", "pending", "", 1)
        remittances.tell(session, [told])
        remittances.tell(session, [told, ("bev_2", "dep_1", "available", "", 2)])
        news = [(one.seq, one.kind) for one in remittances.news(session, 0, 10)]
        remittances.save(session, replace(row, state="done", broker_id="trf_1"))

        assert (twins, doubtful, elsewhere) == (["dep_2"], ["dep_1"], [])
        assert news == [(1, "pending"), (2, "available")]
        assert remittances.claimed(session, "there") == {"trf_1": "dep_1"}
        assert remittances.sums(session, "there") == (500, 1)


def test_a_link_is_left_over_once_no_bank_link_and_no_transfer_needs_it(db: Database) -> None:
    link = Link(ANN, "ach_1", "there", "rel", 1, 1)
    row = Remittance("dep_1", ANN, "ach_1", "pull", 500, 1, 1, 1)
    with db.write() as session:
        remittances.put_link(session, link)
        names = ("id", "customer_id", "token", "bank_name", "mask", "state", "created_at")
        insert_many(
            session, "bank_link", names, [("lnk", "cus_ann", "ach_1", "B", "1", "active", 1)]
        )
        used = remittances.links_left_over(session, 10)
        bulk(session, "UPDATE bank_link SET state = 'removed' WHERE id = ?", [("lnk",)])
        remittances.add(session, row)
        needed = remittances.links_left_over(session, 10)
        remittances.save(session, replace(row, state="done"))
        unused = remittances.links_left_over(session, 10)
        remittances.put_link(session, replace(link, state="removed"))

        assert (used, needed, unused) == ([], [], [link])
        assert remittances.find_link(session, ANN, "ach_1") is None
