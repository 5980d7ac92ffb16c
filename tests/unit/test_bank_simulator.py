"""The simulated bank: links, the life of a transfer, returns by account number."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker_adapters import bank_simulator
from broker_adapters.bank_simulator import SimulatedBank
from robo.core.clock import FixedClock
from robo.core.errors import (
    ConfigError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
)
from robo.ports.funding import BankEventKind, BankTransfer, TransferDirection

ROUTING = "021000021"
PENDING, AVAILABLE = BankEventKind.PENDING, BankEventKind.AVAILABLE
SETTLED, RETURNED = BankEventKind.SETTLED, BankEventKind.RETURNED


@pytest.fixture
def make(plugin_context) -> Callable[..., SimulatedBank]:
    def factory(settings: Mapping[str, str] | None = None) -> SimulatedBank:
        bank = bank_simulator.create(plugin_context(settings or {}))
        assert isinstance(bank, SimulatedBank)
        return bank

    return factory


def pull(bank: SimulatedBank, account: str, cents: int = 10_000, name: str = "dep_1") -> None:
    token = bank.link(f"link-{account[-4:]}", ROUTING, account).token
    bank.request(BankTransfer(name, TransferDirection.PULL, token, cents))


def kinds(bank: SimulatedBank) -> list[BankEventKind]:
    return [event.kind for event in bank.events("")]


def test_a_link_shows_a_token_and_the_last_digits_only(make):
    link = make().link("l1", ROUTING, "000123456789")

    assert link.mask == "6789"
    assert link.token.startswith("bnk_")
    assert "123456789" not in link.token


def test_linking_again_gives_the_same_link_and_another_account_is_refused(make):
    bank = make()
    first = bank.link("l1", ROUTING, "000123456789")

    assert make().link("l1", ROUTING, "000123456789") == first
    assert bank.link("l2", ROUTING, "000123456789").token == first.token
    with pytest.raises(IdempotencyMismatchError):
        bank.link("l1", ROUTING, "000123456780")


def test_no_file_of_the_bank_holds_an_account_number(make, tmp_path: Path):
    bank = make()
    pull(bank, "982451653982")
    bank.events("")
    bank.close()

    raw = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert raw
    assert b"982451653982" not in raw
    assert b"98245165" not in raw


@pytest.mark.parametrize(
    "routing",
    ["021000022", "02100002", "0210000210", "000000000", "", "abcdefghi", "\u0660\u0662" * 5],
)
def test_a_routing_number_that_fails_its_checksum_is_refused(make, routing: str):
    with pytest.raises(InvalidInputError) as caught:
        make().link("l1", routing, "12345678")
    assert caught.value.code == "bad_routing_number"


@pytest.mark.parametrize("account", ["", "123", "1" * 18, "12 34", "12\u0661456", "-1234"])
def test_an_account_number_is_four_to_seventeen_digits(make, account: str):
    with pytest.raises(InvalidInputError) as caught:
        make().link("l1", ROUTING, account)
    assert caught.value.code == "bad_account_number"


def test_by_default_money_is_available_at_once_and_settles_at_the_next_opening(
    make, fixed_clock: FixedClock
):
    bank = make()
    pull(bank, "12345678")
    assert kinds(bank) == [PENDING, AVAILABLE]

    fixed_clock.set(datetime(2026, 3, 3, 14, 29, 59, tzinfo=UTC))
    assert kinds(bank) == [PENDING, AVAILABLE]
    fixed_clock.set(datetime(2026, 3, 3, 14, 30, tzinfo=UTC))

    events = bank.events("")
    assert [event.kind for event in events] == [PENDING, AVAILABLE, SETTLED]
    assert events[-1].at == datetime(2026, 3, 3, 14, 30, tzinfo=UTC)


def test_a_friday_transfer_settles_on_monday(make, fixed_clock: FixedClock):
    fixed_clock.set(datetime(2026, 3, 6, 18, 0, tzinfo=UTC))
    bank = make()
    pull(bank, "12345678")
    fixed_clock.advance(timedelta(days=10))

    assert bank.events("")[-1].at == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)


def test_how_long_money_takes_is_a_setting(make, fixed_clock: FixedClock):
    bank = make({"ROBO_BANK_AVAILABLE_SECONDS": "3600", "ROBO_BANK_SETTLE_DAYS": "3"})
    start = fixed_clock.now()
    pull(bank, "12345678")
    assert kinds(bank) == [PENDING]
    fixed_clock.advance(timedelta(days=20))

    pending, available, settled = bank.events("")
    assert (pending.at, available.at) == (start, start + timedelta(hours=1))
    assert settled.at == datetime(2026, 3, 5, 14, 30, tzinfo=UTC)


def test_money_never_settles_before_it_is_available(make, fixed_clock: FixedClock):
    bank = make({"ROBO_BANK_AVAILABLE_SECONDS": str(5 * 86_400), "ROBO_BANK_SETTLE_DAYS": "1"})
    pull(bank, "12345678")
    fixed_clock.advance(timedelta(days=6))

    assert kinds(bank) == [PENDING, AVAILABLE, SETTLED]


@pytest.mark.parametrize(
    ("ending", "story", "code", "after_days"),
    [
        ("0001", [PENDING, RETURNED], "R01", 0),
        ("0002", [PENDING, AVAILABLE, RETURNED], "R01", 0),
        ("0003", [PENDING, RETURNED], "R03", 0),
        ("0007", [PENDING, AVAILABLE, SETTLED, RETURNED], "R07", 20),
        ("0010", [PENDING, AVAILABLE, SETTLED, RETURNED], "R10", 10),
        ("0060", [PENDING, AVAILABLE, SETTLED, RETURNED], "R10", 55),
    ],
)
def test_an_account_number_says_how_its_transfers_come_back(
    make, fixed_clock: FixedClock, ending: str, story, code: str, after_days: int
):
    bank, start = make(), fixed_clock.now()
    pull(bank, f"55550{ending}")
    fixed_clock.advance(timedelta(days=59))

    events = bank.events("")
    assert [event.kind for event in events] == story
    assert events[-1].code == code
    assert timedelta(0) <= events[-1].at - start - timedelta(days=after_days) < timedelta(minutes=1)
    assert all(event.code == "" for event in events[:-1])


def test_the_same_request_changes_nothing_and_another_body_is_refused(make):
    bank = make()
    pull(bank, "12345678", 500)
    pull(bank, "12345678", 500)

    assert len(bank.events("")) == 2
    with pytest.raises(IdempotencyMismatchError):
        pull(bank, "12345678", 501)


def test_unknown_tokens_and_empty_amounts_are_refused(make):
    bank = make()

    with pytest.raises(NotFoundError):
        bank.request(BankTransfer("dep_1", TransferDirection.PUSH, "bnk_unknown", 100))
    with pytest.raises(InvalidInputError):
        bank.request(BankTransfer("dep_1", TransferDirection.PUSH, "bnk_unknown", 0))
    assert bank.events("") == []


def test_events_are_replayed_from_any_cursor_and_survive_a_restart(make, fixed_clock: FixedClock):
    bank = make()
    for index in range(5):
        pull(bank, "12345678", 100 + index, f"dep_{index}")
        pull(bank, "55550002", 100 + index, f"bad_{index}")
    fixed_clock.advance(timedelta(days=9))
    everything = list(bank.events(""))

    paged, cursor, again = [], "", make()
    while page := again.events(cursor, 4):
        paged += page
        cursor = page[-1].cursor

    assert paged == everything
    assert len({event.id for event in everything}) == len(everything) == 30
    assert again.events(cursor) == []
    with pytest.raises(InvalidInputError):
        again.events("x")


@pytest.mark.parametrize("name", ["ROBO_BANK_AVAILABLE_SECONDS", "ROBO_BANK_SETTLE_DAYS"])
def test_a_wrong_setting_names_itself(make, name: str):
    with pytest.raises(ConfigError, match=name):
        make({name: "soon"})
