"""What other scores change for one account, where its basket cannot be filled or has grown."""

from dataclasses import replace

import pytest

from baskets.catalog import Catalog, catalog
from baskets.facts import load_facts
from baskets.index import large_cap
from robo.core.ids import AccountId
from robo.core.money import PPM
from robo.services import composing
from robo.services.offering import Shelf
from robo.services.screening import Holder, Screens
from robo.services.targeting import WAITS, followed
from robo.store.accounts import Sleeve, TargetWeight

BASKET = catalog().get("theme-water")
TEN = tuple(TargetWeight(one.security_id, one.weight_ppm) for one in BASKET.constituents)
NAMES = [one.security_id for one in TEN]
MEMBERS = [one for one in NAMES if one in large_cap().weights_ppm]
OTHERS = [one for one in NAMES if one not in large_cap().weights_ppm]
FOLLOWED = followed(BASKET, {NAMES[0]: WAITS})
STOOD_IN = FOLLOWED.weights if FOLLOWED else TEN
(UNDERSTUDY,) = {one.security_id for one in STOOD_IN} - set(NAMES)
BENCH = (*BASKET.understudies, *BASKET.bench)
EVERYBODY = frozenset(NAMES) | {one.security_id for one in BENCH}


def test_a_basket_that_is_no_longer_offered_goes_on_without_the_names_that_fail() -> None:
    change = screens(fails={NAMES[0]}, offered=False).change(holder())

    assert change is not None
    assert change.target is not None
    assert [one.security_id for one in change.target] == NAMES[1:]
    assert sum(one.weight_ppm for one in change.target) == PPM
    assert change.leaving == {NAMES[0]}
    again = replace(holder(), target=change.target, held=frozenset(NAMES[1:]))
    assert screens(fails={NAMES[0]}, offered=False).change(again) is None


def test_a_filter_that_cannot_be_judged_changes_nothing() -> None:
    shelf = Screens(shelf_of(offered=False), shelf_of(offered=False))
    shelf._passing = {(True, BASKET.id): None, (False, BASKET.id): None}

    assert shelf.change(holder()) is None


def test_the_customers_own_word_decides_about_names_that_the_customer_restricted() -> None:
    mine = replace(holder(), barred={NAMES[0]: "you asked"}, own=frozenset({NAMES[0]}))

    change = screens(fails={NAMES[0]}).change(mine)

    assert change is not None
    assert change.target is not None
    assert NAMES[0] not in {one.security_id for one in change.target}
    assert change.leaving == frozenset()


def test_an_understudy_that_still_passes_stays_whoever_else_is_named_now() -> None:
    made = screens(fails=set())
    turned = replace(BASKET, understudies=BENCH[::-1], bench=())
    made.after = replace(made.after, catalog=Catalog({BASKET.id: turned}, ()))

    change = made.change(harvester({NAMES[0]: WAITS}))

    assert change is not None
    assert change.target is not None
    assert UNDERSTUDY not in {one.security_id for one in change.target}
    assert change.leaving == frozenset()


@pytest.mark.parametrize("fails", [set(), {NAMES[1]}], ids=["nobody fails", "a name fails"])
def test_where_nobody_knows_what_was_offered_only_what_fails_the_filter_leaves(
    fails: set[int],
) -> None:
    made = screens(fails=fails)
    made.before, made._passing = None, {(True, BASKET.id): EVERYBODY - fails}
    if fails:
        made.after = replace(made.after, catalog=Catalog({}, ()))

    change = made.change(harvester({}))

    assert change is not None
    assert change.leaving == fails


@pytest.mark.parametrize(
    ("name", "theme_ppm", "excluded", "screened", "leaves"),
    [
        (OTHERS[0], 500_000, False, True, True),
        (OTHERS[0], PPM, False, True, True),
        (MEMBERS[0], 500_000, False, True, False),
        (MEMBERS[0], PPM, False, True, True),
        (MEMBERS[0], 500_000, True, True, True),
        (MEMBERS[0], 500_000, True, False, False),
    ],
    ids=[
        "theme only",
        "all theme",
        "held for the index, fails only what is required",
        "a member, but all theme",
        "excluded, for whatever it was held",
        "excluded, but the customer let that go",
    ],
)
def test_a_direct_sleeve_parts_with_what_only_its_theme_held_and_with_what_is_excluded(
    name: int, theme_ppm: int, *, excluded: bool, screened: bool, leaves: bool
) -> None:
    grown = replace(holder("direct_index"), theme_ppm=theme_ppm, screened=screened)
    made = screens(fails={name})
    made.after._excluded[BASKET.id] = frozenset({name} if excluded else ())

    change = made.change(grown)

    if not leaves:
        assert change is None
        return
    assert change is not None
    assert change.leaving == {name}
    assert change.target is not None
    assert name not in {one.security_id for one in change.target}


@pytest.mark.parametrize(("name", "leaves"), [(OTHERS[0], False), (MEMBERS[0], True)])
def test_who_follows_an_index_of_their_own_keeps_what_that_holds_whatever_is_in_ours(
    name: int, *, leaves: bool
) -> None:
    own = composing.text(dict.fromkeys([one for one in NAMES if one != MEMBERS[0]], 1))
    grown = replace(holder("direct_index"), theme_ppm=500_000, index=composing.names(own))

    change = screens(fails={name}).change(grown)

    assert (change.leaving if change else frozenset()) == frozenset({name} if leaves else ())


def test_a_name_that_was_excluded_all_along_is_not_sold_for_other_scores() -> None:
    grown = replace(holder("direct_index"), theme_ppm=500_000)
    made = screens(fails=set())
    for shelf in (made.before, made.after):
        assert shelf is not None
        shelf._excluded[BASKET.id] = frozenset({MEMBERS[0]})

    assert made.change(grown) is None


def test_a_direct_sleeve_of_which_everything_is_excluded_follows_its_basket_anew() -> None:
    held = [one.security_id for one in BENCH[:3]]
    target = tuple(
        TargetWeight(one, ppm) for one, ppm in zip(held, (500_000, 499_999, 1), strict=True)
    )
    grown = replace(holder("direct_index"), theme_ppm=500_000, target=target, held=frozenset(held))
    made = screens(fails=set(held))
    made.after._excluded[BASKET.id] = frozenset(held)

    change = made.change(grown)

    assert change is not None
    assert change.target == TEN
    assert change.leaving == set(held)


def holder(kind: str = "basket") -> Holder:
    sleeve = Sleeve(AccountId("acc"), "firm", "cus", "open", "slv", BASKET.id, "tgt", kind)
    return Holder(sleeve, TEN, frozenset(NAMES), {}, {}, frozenset(), altered=False)


def harvester(waits: dict[int, str]) -> Holder:
    """Return a holder of the understudy for the first name, which waits or has waited."""
    held = frozenset(one.security_id for one in STOOD_IN)
    return replace(holder(), target=STOOD_IN, held=held, waits=waits)


def screens(*, fails: set[int], offered: bool = True) -> Screens:
    """Return what was offered before and after some names came to fail the basket's filter."""
    made = Screens(shelf_of(), shelf_of(offered=offered))
    passes = {(True, BASKET.id): EVERYBODY - fails, (False, BASKET.id): EVERYBODY}
    made._passing = passes
    return made


def shelf_of(*, offered: bool = True) -> Shelf:
    return Shelf(load_facts(), Catalog({BASKET.id: BASKET} if offered else {}, ()))
