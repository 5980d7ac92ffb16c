"""Ids: the same cause makes the same id for ever, and no two causes meet."""

import re
from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from robo.core.ids import ID_LENGTH_MAX, child_id, new_id

SHAPE = re.compile(r"[a-z]{1,5}_[0-9a-f]{30}")


def test_ids_of_last_year_are_the_ids_of_next_year() -> None:
    # Frozen: a change would let yesterday's causes happen a second time.
    cause = "bat_000102030405060708090a0b0c0d0e"
    assert child_id("ord", "slv_1", "bat_1", 7) == "ord_eebfab6f2e2fa1b9543a9979c4be74"
    assert child_id("tr", cause, "buy", 1) == "tr_000102030405257ed351cdb5442c6a"
    assert child_id("lot", "") == "lot_e3b0c44298fc074a7cb3b6b928dfc9"


def test_children_of_one_cause_lie_together() -> None:
    cause = child_id("bat", "slv", "2026-03-02")

    children = {child_id("ord", cause, n) for n in range(1_000)}

    assert len(children) == 1_000
    assert {child[4:16] for child in children} == {cause[4:16]}


parts = st.lists(st.text(max_size=6), min_size=1, max_size=4)


@given(parts, parts)
def test_different_parts_make_different_ids(one: list[str], other: list[str]) -> None:
    assert (child_id("x", *one) == child_id("x", *other)) == (one == other)


def test_no_way_to_cut_a_text_into_parts_gives_the_id_of_another_way() -> None:
    # All cuts of texts over an alphabet of what the encoding itself uses: digits and colons.
    seen: dict[str, tuple[str, ...]] = {}
    for length in range(1, 6):
        for letters in product("1:2", repeat=length):
            for mask in range(2 ** (length - 1)):
                cut: list[str] = [""]
                for place, letter in enumerate(letters):
                    if place and mask >> (place - 1) & 1:
                        cut.append("")
                    cut[-1] += letter
                key = tuple(cut)
                assert seen.setdefault(child_id("id", *key), key) == key
    assert len(seen) == sum(3**n * 2 ** (n - 1) for n in range(1, 6))


def test_the_prefix_is_part_of_what_is_hashed() -> None:
    assert child_id("lot", "a")[16:] != child_id("lev", "a")[16:]
    assert child_id("a", "b", "c")[14:] != child_id("ab", "b", "c")[15:]


@given(st.integers() | st.text(min_size=30, max_size=30) | st.text())
@example("x" * 30)
@example("\x00" * 30)
@example("exe_" + "\x1f" * 30)
@example("exe_" + "F" * 30)
@example("_")
def test_ids_are_short_and_plain_whatever_caused_them(part: int | str) -> None:
    found = child_id("order", part)

    assert SHAPE.fullmatch(found)
    assert len(found) <= ID_LENGTH_MAX


def test_fresh_ids_do_not_meet() -> None:
    made = {new_id("acc") for _ in range(10_000)}

    assert len(made) == 10_000
    assert all(SHAPE.fullmatch(one) for one in made)
