"""What is read of the journal's other rows: as much as is asked for, however long it has become."""

from pathlib import Path

from broker_adapters.alpaca_groups import IN_PARTS
from broker_adapters.alpaca_journal import AlpacaJournal


def test_only_new_rows_parts_of_events_and_corrected_ones_are_read_again(tmp_path: Path) -> None:
    journal = AlpacaJournal(tmp_path / "journal.db")
    usual = [
        (f"20260302000000000::row-{n}", {"activity_type": "DIV", "account_id": f"acc-{n % 50}"})
        for n in range(1_000)
    ]
    split = ("part-1", {"activity_type": "SPLIT", "account_id": "acc-1"})
    journal.write([], [*usual, split])

    journal.write([], [("row-7#correct", {"activity_type": "DIV"}), ("part-2", {"a": None})])
    found = [key for _, key, _ in journal.others(1_001, IN_PARTS)]

    assert found == ["20260302000000000::row-7", "part-1", "row-7#correct", "part-2"]
    assert len(journal.others()) == 1_003


def test_an_accounts_rows_are_read_without_those_of_others(tmp_path: Path) -> None:
    journal = AlpacaJournal(tmp_path / "journal.db")
    journal.write([], [(f"row-{n}", {"account_id": f"acc-{n % 50}"}) for n in range(200)])
    journal.write([], [("odd", ["no", "object"])])

    found = [key for _, key, _ in journal.others_of("acc-3")]

    assert found == ["row-3", "row-53", "row-103", "row-153"]
