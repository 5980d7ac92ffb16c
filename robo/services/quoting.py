"""Prices for plans: fresh quotes as integers, and the reason why a name cannot be traded now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from robo.core.errors import BrokerUnavailableError, NotFoundError
from robo.core.ids import SecurityId
from robo.core.money import NANOS_PER_SHARE, round_ratio
from robo.core.reasons import Reason
from robo.ports.prices import ActionKind, PriceSource


@dataclass(frozen=True, slots=True)
class Board:
    """Prices at an instant (dollars per share in 1e-6), and names that may not be traded."""

    price_micros: dict[int, int]
    stopped: dict[int, Reason]
    unbought: Mapping[int, Reason] = field(default_factory=dict)
    """Names that may be sold and are not to be bought, and why."""
    whole: frozenset[int] = frozenset()
    """Names of which a sale has to be of a share at least: the broker takes whole shares only."""
    step_nanos: int = 1
    """The least part of a share that the broker takes of the other names."""
    shared: bool = False
    """Orders of other accounts may make a share of what is less, sooner or later."""

    def step(self, security_id: int) -> int:
        """Return the nanoshares that a sale of a name has to be a multiple of."""
        return NANOS_PER_SHARE if security_id in self.whole else self.step_nanos

    def is_too_little(self, security_id: int, sell_nanos: int) -> bool:
        """Return whether a sale would be less than the broker takes, or wait for others' sales."""
        return 0 < sell_nanos < self.step(security_id)

    def is_stuck(self, security_id: int, sell_nanos: int) -> bool:
        """Return whether a sale would be less than the broker takes, however long it waits."""
        return not self.shared and self.is_too_little(security_id, sell_nanos)


def board(prices: PriceSource, security_ids: Sequence[int], at: datetime) -> Board:
    """Return what the names cost; names without a price or halted are stopped with the reason."""
    quotes = prices.quotes([SecurityId(security_id) for security_id in security_ids], at)
    price_micros: dict[int, int] = {}
    stopped: dict[int, Reason] = {}
    for security_id in security_ids:
        quote = quotes.get(SecurityId(security_id))
        if quote is None or quote.price_micros <= 0:
            stopped[security_id] = Reason.SKIP_NO_PRICE
            continue
        price_micros[security_id] = quote.price_micros
        if quote.halted:
            stopped[security_id] = Reason.SKIP_HALTED
    return Board(price_micros, stopped)


def least_closes(
    prices: PriceSource, days: Sequence[date], actions: Sequence[tuple[str, int, str, str]]
) -> dict[int, int]:
    """Return the least close of each name over some sessions, in the terms of the last split.

    Args:
        prices: Where closes come from; a session that it does not have, or not yet, is left out.
        days: Sessions that have closed.
        actions: What went ex since the first, as `store.prices.actions_between` tells it.

    Raises:
        BrokerUnavailableError: If the source told of no session because it did not answer.
    """
    found: dict[int, int] = {}
    away: BrokerUnavailableError | None = None
    for day in days:
        try:
            closes: Mapping[SecurityId, int] = prices.closes(day)
        except NotFoundError:
            continue
        except BrokerUnavailableError as error:
            away = error
            continue
        since = [told for told in actions if told[0] > day.isoformat()]
        for name, micros in after_splits(closes, since).items():
            found[name] = min(micros, found.get(name, micros))
    if away is not None and not found:
        raise away
    return found


def after_splits(
    close_micros: Mapping[SecurityId, int] | Mapping[int, int],
    actions: Sequence[tuple[str, int, str, str]],
) -> dict[int, int]:
    """Return closes in the terms that the splits among some actions have brought."""
    found: dict[int, int] = {int(name): micros for name, micros in close_micros.items()}
    for _, name, kind, detail in actions:
        if kind == ActionKind.SPLIT.value and name in found:
            told = json.loads(detail)
            ratio = int(told["ratio_den"]), int(told["ratio_num"])
            found[name] = round_ratio(found[name] * ratio[0], ratio[1])
    return found
