"""Nothing stands in for another share class of its own company."""

from datetime import date

import numpy as np

from baskets.security_ids import with_siblings
from baskets.universe import load_universe
from robo.services import following, targeting
from robo.services.modelling import Model

GOOG, GOOGL, MSFT, XOM = (
    load_universe().by_symbol[one].id for one in ("GOOG", "GOOGL", "MSFT", "XOM")
)
IDS = np.array(sorted([GOOG, GOOGL, MSFT, XOM]), dtype=np.int64)


def model() -> Model:
    """Return a market in which both classes of one company swing alike, and others nearly so."""
    alike = np.array([[0.2, 0.0] if one in {GOOG, GOOGL} else [0.15, 0.1] for one in IDS])
    return Model(
        id="mdl_classes",
        on=date(2026, 3, 2),
        fitted_on=date(2026, 3, 2),
        source="SIM",
        security_ids=IDS,
        exposure=alike,
        specific_variance=np.full(IDS.size, 1e-6),
        index=np.full(IDS.size, 0.25),
        membership="",
        sectors=("",) * IDS.size,
    )


def only(*names: int) -> np.ndarray:
    return np.isin(IDS, names)[None, :]


def test_the_index_name_most_alike_stands_in_unless_it_is_the_same_company() -> None:
    none = np.zeros((1, IDS.size), dtype=np.bool_)

    chosen = following.stand_ins(model(), only(GOOGL), only(GOOGL), none)

    assert IDS[chosen[0]].tolist() in ([MSFT], [XOM])


def test_a_name_that_may_not_be_bought_bars_every_share_class_of_its_company() -> None:
    assert IDS[following.of_companies(model(), only(GOOGL, XOM))[0]].tolist() == sorted(
        [GOOG, GOOGL, XOM]
    )


def test_a_baskets_understudy_is_no_share_class_of_what_was_sold_at_a_loss() -> None:
    assert targeting.waits([GOOGL, XOM], kept=[XOM]).keys() == {GOOG, GOOGL}
    assert with_siblings([MSFT, 999_999_999]) == {MSFT, 999_999_999}
