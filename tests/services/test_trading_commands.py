"""What an operator types about trading, against a real state directory."""

import json
from collections.abc import Iterator
from datetime import date

import pytest

from robo import cli, config
from robo.core.errors import RefusedError
from robo.core.ids import AccountId, child_id
from robo.ports.prices import ActionKind
from robo.runtime import SystemClock, load_keyring, open_database
from robo.services import awarding, switching
from robo.store import breaks, chains, inventory, strays
from robo.store.database import Database


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the house firm's id of a new installation, which these tests share in their order."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ROBO_STATE_DIR", str(tmp_path_factory.mktemp("home") / "state"))
        patched.setenv("ROBO_UNIVERSE", "minimal")
        assert cli.main(["migrate"]) == 0
        db = opened()
        with db.read() as session:
            firm_id = session.connection().exec_driver_sql("SELECT id FROM firm").scalar_one()
        db.close()
        yield str(firm_id)


def opened() -> Database:
    return open_database(config.read())


@pytest.mark.usefixtures("home")
def test_the_switch_is_thrown_shown_and_let_go(
    capsys: pytest.CaptureFixture[str],
) -> None:
    statuses = [
        cli.main(["kill-switch", "status"]),
        cli.main(["kill-switch", "on", "--reason", "a drill"]),
        cli.main(["kill-switch", "status"]),
        cli.main(["kill-switch", "off", "--reason", "over"]),
        cli.main(["kill-switch", "on", "--firm", "firm_none", "--reason", "x"]),
        cli.main(["kill-switch", "on"]),
    ]

    told = capsys.readouterr()
    assert statuses == [0, 1, 1, 0, 2, 2]
    assert "STOPPED" in told.out
    assert "a drill" in told.out
    assert "Say why" in told.err


@pytest.mark.usefixtures("home")
def test_an_empty_house_reconciles_and_has_nothing_to_send(
    capsys: pytest.CaptureFixture[str],
) -> None:
    statuses = [cli.main(["reconcile"]), cli.main(["dry-run", "--json"]), cli.main(["breaks"])]

    told = capsys.readouterr().out
    assert statuses == [0, 0, 0]
    assert "1 accounts compared, 0 breaks repaired, 0 open" in told
    found = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert found == [{"sends": [], "waits": [], "unresolved": 0}]


def test_a_break_is_listed_and_cleared_with_a_note(
    home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    db = opened()
    one = breaks.Break(
        child_id("brk", "x"),
        home,
        f"omnibus/{home}",
        None,
        7,
        "position",
        "",
        "real",
        1,
        2,
        "ask_operator",
        1,
    )
    with db.write() as session:
        breaks.put(session, [one], 1)
    db.close()

    statuses = [
        cli.main(["breaks"]),
        cli.main(["breaks", "--clear", one.id]),
        cli.main(["breaks", "--clear", one.id, "--note", "counted"]),
        cli.main(["breaks", "--state", "cleared"]),
    ]

    told = capsys.readouterr()
    assert statuses == [0, 2, 0, 0]
    assert "BLOCKS" in told.out
    assert "1 cleared" in told.out


def test_an_execution_that_waits_for_a_person_is_listed_and_dismissed(
    home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home
    db = opened()
    odd = strays.Stray(
        "exe_1", "of nobody", "", 1, "buy", -5, 1, -1, 0, 1, "2026-03-03", "unknown_order", 1
    )
    with db.write() as session:
        strays.add(session, [odd])
    db.close()

    statuses = [
        cli.main(["decide"]),
        cli.main(["decide", "--end-order", "blk_none", "--note", "looked"]),
        cli.main(["decide", "--adopt-execution", "exe_1", "--note", "looked"]),
        cli.main(["decide", "--dismiss-execution", "exe_1", "--note", "none of ours"]),
    ]

    told = capsys.readouterr().out
    assert statuses == [0, 2, 2, 0]
    assert "unknown_order" in told
    assert "0 orders, 1 executions" in told
    assert told.endswith("0 orders, 0 executions\n")


def test_a_firm_becomes_a_broker_dealer_and_stops_only_when_it_holds_nothing(
    home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inventory", home, "--broker-dealer", "yes"]) == 0
    db = opened()
    keyring = load_keyring(config.read())
    part = inventory.Taken("inv_1", home, "exe_1", "", 7, "buy", 5, 1, 0, "whole_share")
    with db.write() as session:
        chains.append(session, keyring.chain, [part.link()], 1)
    with pytest.raises(RefusedError):
        switching.set_principal(db, keyring, SystemClock(), home, principal=False, actor="x")
    db.close()

    assert "a broker-dealer" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
def test_actions_that_wait_for_a_person_are_listed_and_what_is_typed_of_them_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = ["actions", "--book", "brk_none", "--note", "statement"]
    given: list[object] = []
    refused = [
        cli.main(["actions"]),
        cli.main([*book, "--ratio", "2/1"]),
        *(cli.main([*book, *bad]) for bad in (["--ratio", "2"], ["--shares", "1e3"])),
        *(cli.main([*book, *bad]) for bad in (["--cash", "x"], ["--new-security", "-1"])),
    ]
    told = capsys.readouterr()
    found = awarding.Parked(
        breaks.KnownBreak(
            *("brk_1", "f", "omnibus/f", None, 7, "activity", "r", "real", 0, 2 * 10**9, "ask", 1)
        ),
        "ca-1",
        {"ratio_num": 1, "ratio_den": 4, "new_security_id": 9, "ex_on": "2026-03-02"},
        ActionKind.SPIN_OFF,
        date(2026, 3, 3),
        5_00,
        ((AccountId("acc_1"), 10**9, "waiting"),),
        10**9,
    )
    monkeypatch.setattr(awarding, "parked", lambda *_: [found])

    def award(*args: object) -> awarding.Parked:
        given.append(args[5])
        return found

    monkeypatch.setattr(awarding, "award", award)

    typed = ["--shares=-1.5", "--cash", "2.50", "--new-security", "9", "--basis-ppm", "7"]
    assert refused == [0, 2, 2, 2, 2, 2]
    assert "0 wait for a person" in told.out
    assert "No such corporate action is parked" in told.err
    assert cli.main([*book, *typed, "--firm-takes-rest"]) == 1
    assert given == [awarding.Terms(None, -1_500_000_000, 2_50, 9, 7, firm_takes_rest=True)]
    out = capsys.readouterr().out
    assert "announced 1/4 into security 9, ex 2026-03-02 (ca-1); 1 accounts wait" in out
    assert "entitled 2 shares, of them the firm's own 1; the broker told 2 shares" in out
