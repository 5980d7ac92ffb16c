"""The market of a life: dividends of names that nobody holds stay unsaid, all else is told."""

from collections.abc import Sequence
from datetime import date, timedelta

from robo.core.ids import SecurityId
from robo.ports.prices import ActionKind, CorporateAction
from scheduler.life_market import HeldDividends

DAY = date(2030, 3, 4)


class Market:
    """Two dividends and a split on every day."""

    name = "SIM test"
    simulated = True

    def actions(self, on: date) -> Sequence[CorporateAction]:
        return [
            CorporateAction(
                f"{kind}-{security}-{on}",
                kind,
                SecurityId(security),
                on,
                on,
                0,
                2,
                1,
                None,
                None,
                0,
            )
            for security, kind in (
                (1, ActionKind.CASH_DIVIDEND),
                (2, ActionKind.CASH_DIVIDEND),
                (3, ActionKind.SPLIT),
            )
        ]


def told(market: HeldDividends) -> list[int]:
    return [int(one.security_id) for one in market.actions(DAY)]


def test_everything_is_told_until_it_is_known_what_is_held() -> None:
    assert told(HeldDividends(Market())) == [1, 2, 3]  # type: ignore[arg-type] # a part of a source


def test_dividends_of_names_not_held_are_left_out_and_splits_never() -> None:
    market = HeldDividends(Market())  # type: ignore[arg-type] # a part of a source

    market.held = lambda: {2}

    assert told(market) == [2, 3]


def test_what_was_bought_since_the_last_day_has_its_dividend_and_a_day_is_told_once() -> None:
    market = HeldDividends(Market())  # type: ignore[arg-type] # a part of a source
    held = {2}
    market.held = lambda: held

    before = told(market)
    held.add(1)

    assert told(market) == before == [2, 3]
    assert [int(one.security_id) for one in market.actions(DAY + timedelta(days=1))] == [1, 2, 3]
