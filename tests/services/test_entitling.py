"""Who may use what: the segments' words are asked where a customer chooses, and nowhere else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from world import World, make_world

from robo.core.errors import ConfigError, RefusedError
from robo.core.ids import AccountId
from robo.core.market_calendar import MarketCalendar
from robo.portfolio import ladder
from robo.runtime import with_ladders
from robo.services import composing, entitling, personalising
from robo.services.personalising import Wishes
from robo.store import direct, worths

SMALL = ladder.book().segments[0]
BOOK = replace(
    ladder.book(),
    segments=(
        replace(SMALL, may_use=SMALL.may_use - {"gain_budget", "dense", "names"}),
        *ladder.book().segments[1:],
    ),
)
"""Of a firm that keeps more for larger accounts."""


@pytest.fixture
def world(tmp_path: Path, short_calendar: MarketCalendar) -> Iterator[World]:
    with make_world(tmp_path, short_calendar, settings={"ROBO_SIM_EVENTS_PPM": "0"}) as made:
        yield made


@pytest.mark.parametrize("word", ["exclusions", "theme", "tax_mode", "gain_budget", "names"])
def test_everybody_may_use_what_makes_an_account_personal(word: str) -> None:
    entitling.require([word], 100_00)


@pytest.mark.parametrize(
    ("word", "cents", "code"),
    [
        ("tilts", 249_999_99, "segment_too_small"),
        ("custom_index", 4_999_999_99, "segment_too_small"),
        ("time travel", 10**12, "segment_unknown"),
    ],
)
def test_what_begins_later_is_refused_until_then(word: str, cents: int, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        entitling.require([word], cents)

    assert refused.value.code == code
    if code == "segment_too_small":
        entitling.require([word], cents + 1)


@pytest.mark.parametrize("word", ["gain_budget", "dense", "names"])
def test_a_firms_own_segments_are_obeyed(word: str) -> None:
    with pytest.raises(RefusedError, match=r"from \$250000\.00 on"):
        entitling.require([word], 1_000_00, BOOK)


def test_only_what_is_newly_asked_for_counts(world: World) -> None:
    (account,) = world.add_accounts(1)
    row = replace(
        direct_row(world, account), ladder="dense", names_max=20, theme="stays", tilts='{"a":1}'
    )

    same = Wishes(ladder="dense", names_max=20, theme="stays", tilts={"a": 1})
    back = Wishes(ladder="standard", names_max=0, theme="fades", tilts={})
    new = Wishes(names_max=30, tilts={"a": 2}, exclude=(1,), tax_mode="harvest")

    assert personalising.features(row, same) == set()
    assert personalising.features(row, back) == set()
    own = dict.fromkeys(range(10), 100_000)
    mine = replace(row, own_index=composing.text(own))
    assert personalising.features(row, Wishes(index=own)) == {"custom_index"}
    assert personalising.features(mine, Wishes(index=own)) == set()
    assert personalising.features(mine, Wishes(index={})) == set()
    assert personalising.features(row, new) == {"names", "tilts", "exclusions", "tax_mode"}


def test_a_tilt_that_is_saved_without_a_preview_is_refused_too(world: World) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 1_000_00)
    r = world.runtime

    with pytest.raises(RefusedError) as refused:
        personalising.save(
            world.db,
            r.broker,
            r.prices,
            r.clock,
            r.policy,
            account,
            Wishes(tilts={"sector technology": 1_000}),
        )

    assert refused.value.code == "segment_too_small"
    assert world.scalar("SELECT count(*) FROM direct_sleeve") == 0


@pytest.mark.parametrize("fractional", [True, False])
def test_small_positions_need_a_broker_with_fractional_shares(
    world: World, *, fractional: bool
) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 5_000_00)
    r = world.runtime
    broker: Any = SimpleNamespace(
        capabilities=replace(r.broker.capabilities, fractional=fractional)
    )
    asked = world.db, broker, r.prices, r.clock, r.policy, account, Wishes(ladder="dense")

    if fractional:
        assert personalising.save(*asked).ladder == "dense"
        return
    with pytest.raises(RefusedError) as refused:
        personalising.save(*asked)

    assert refused.value.code == "dense_needs_fractions"
    assert world.scalar("SELECT count(*) FROM direct_sleeve") == 0


OWN = """
version = 7
segment = [
    {id = "all", from = 0, ladder = "plain", may_use = ["exclusions"]},
    {id = "more", from = 2_000, ladder = "wide", may_use = ["exclusions", "tilts", "tax_mode"]},
]
[ladder.plain]
sentence = "Ten names for long."
position_min = 0
steps = [[1_000_000, 10], [2_000_000, 500]]
[ladder.wide]
sentence = "Thirty names soon."
position_min = 0
steps = [[1_000, 10], [5_000, 30], [2_000_000, 500]]
"""


def test_a_firms_own_table_is_obeyed_where_it_is_loaded(world: World, tmp_path: Path) -> None:
    (account,) = world.add_accounts(1)
    world.pay_in(account, 1_900_00)
    place = tmp_path / "ladders.toml"
    place.write_text(OWN, encoding="utf-8")
    r = world.runtime
    policy = with_ladders(replace(r.settings, ladders=str(place)), r.policy)
    asked = world.db, r.broker, r.prices, r.clock, policy, account

    for wish, code in (
        (Wishes(theme="stays", stays_ppm=1), "segment_unknown"),
        (Wishes(ladder="dense"), "segment_unknown"),
        (Wishes(tilts={"sector technology": 1_000}), "segment_too_small"),
    ):
        with pytest.raises(RefusedError) as refused:
            personalising.save(*asked, wish)
        assert refused.value.code == code
    world.pay_in(account, 200_00, "more")
    saved = personalising.save(*asked, Wishes(tilts={"sector technology": 1_000}))

    assert saved.tilts == '{"sector technology":1000}'
    assert ladder.of_policy(policy).default.count([1_999_99, 5_000_00]).tolist() == [10, 30]


@pytest.mark.parametrize(
    "text", ["", "version = 1", "version = 1\nladder = 3\nsegment = []", OWN.replace("10]", "[]]")]
)
def test_a_table_that_is_none_ends_the_start(world: World, tmp_path: Path, text: str) -> None:
    place = tmp_path / "ladders.toml"
    place.write_text(text, encoding="utf-8")
    settings = replace(world.runtime.settings, ladders=str(place))

    with pytest.raises(ConfigError, match="ROBO_LADDERS"):
        with_ladders(settings, world.runtime.policy)
    with pytest.raises(ConfigError, match="ROBO_LADDERS"):
        with_ladders(replace(settings, ladders=str(tmp_path / "nowhere")), world.runtime.policy)


def test_a_customers_accounts_count_together(world: World) -> None:
    first, second = world.add_accounts(2)
    with world.db.write() as session:
        session.connection().exec_driver_sql(
            f"UPDATE account SET customer_id = (SELECT customer_id FROM account"
            f" WHERE id = '{first}') WHERE id = '{second}'"
        )
    for account in (first, second):
        world.pay_in(account, 125_000_00)
        world.trade()
    world.next_session()

    with world.db.read() as session:
        both = worths.at_last_marks(session, [first, second])
        customer = str(
            session.connection().exec_driver_sql("SELECT customer_id FROM account").scalar()
        )
        assert both > worths.at_last_marks(session, [first]) > 100_000_00
        if both < 250_000_00:
            with pytest.raises(RefusedError):
                entitling.require_of_customer(session, customer, ["gain_budget"], BOOK)
    world.pay_in(first, 10_000_00, "more")
    with world.db.read() as session:
        entitling.require_of_customer(session, customer, ["gain_budget"], BOOK)


def direct_row(world: World, account: AccountId) -> direct.DirectSleeve:
    with world.db.read() as session:
        return personalising.show(session, account)
