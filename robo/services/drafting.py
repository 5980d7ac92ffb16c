"""From what was solved to what is written: orders with reason, lots and effect, and what stays."""

from collections.abc import Mapping

import numpy as np

from robo.core.reasons import Reason
from robo.portfolio.problem import BoolArray
from robo.services import gathering, solving
from robo.services.asking import named_lots
from robo.services.gathering import Loaded
from robo.services.modelling import Model
from robo.services.ordering import Plan, Trade
from robo.services.quoting import Board
from robo.services.solving import Solved
from robo.store.effects import PlanEffect, TradeEffect


def plans(
    loaded: Loaded, model: Model, solved: Solved, cause: str, seen: Board, settles: str
) -> list[Plan]:
    """Return the plans of accounts, for `ordering`."""
    names = model.security_ids
    named = named_lots(loaded.ask, solved.lot_sold_nanos)
    skips = _skips(loaded, model, solved, seen)
    sold = np.flatnonzero(solved.lot_sold_nanos).tolist()
    gains = {loaded.ask.lots.lot_ids[one]: int(solved.lot_gain_cents[one]) for one in sold}
    starts = np.searchsorted(solved.account, np.arange(len(loaded.raw.sleeves) + 1))
    made = []
    for place, sleeve in enumerate(loaded.raw.sleeves):
        mine = range(int(starts[place]), int(starts[place + 1]))
        trades = tuple(
            _trade(loaded, solved, one, int(names[solved.column[one]]), named, gains)
            for one in mine
        )
        hold = loaded.raw.hold_until.get(sleeve.account_id, "")
        made.append(
            Plan(
                sleeve=sleeve,
                cause=cause,
                trades=trades,
                skips=skips.get(place, {}),
                hold_until=settles if hold == "?" else hold,
                effect=_effect(solved, place, model) if trades else None,
            )
        )
    return made


def _trade(
    loaded: Loaded,
    solved: Solved,
    one: int,
    security_id: int,
    named: Mapping[tuple[int, int], tuple[tuple[str, int], ...]],
    gains: Mapping[str, int],
) -> Trade:
    account, column = int(solved.account[one]), int(solved.column[one])
    reason = solved.reason[one]
    if reason is Reason.BUY_NEW_NAME and loaded.stand_ins[account, column]:
        reason = Reason.BUY_STAND_IN
    lots = named.get((account, security_id), ())
    return Trade(
        security_id=security_id,
        reason=reason,
        buy_cents=int(solved.buy_cents[one]),
        sell_nanos=int(solved.sell_nanos[one]),
        lots=lots,
        gains=tuple(gains[lot_id] for lot_id, _ in lots),
        effect=TradeEffect(
            int(solved.trade_tax_cents[one]),
            int(solved.trade_cost_cents[one]),
            int(solved.trade_risk_ppm[one]),
        ),
    )


def _effect(solved: Solved, place: int, model: Model) -> PlanEffect:
    return PlanEffect(
        before_ppm=int(solved.before_ppm[place]),
        after_ppm=int(solved.after_ppm[place]),
        tax_cents=int(solved.tax_cents[place]),
        cost_cents=int(solved.cost_cents[place]),
        short_gain_cents=int(solved.short_gain_cents[place]),
        long_gain_cents=int(solved.long_gain_cents[place]),
        model_id=model.id,
    )


def _skips(
    loaded: Loaded, model: Model, solved: Solved, seen: Board
) -> dict[int, dict[int, Reason]]:
    """Return place -> security -> why a name of the target, or one that is held, was left alone."""
    ask = loaded.ask
    names = model.security_ids.tolist()
    mine = gathering.held(model, ask.lots, len(loaded.raw.sleeves))
    concerned = ask.buyable | loaded.target | mine
    against = {**seen.unbought, **seen.stopped}
    stopped = np.array([one in against for one in names], dtype=np.bool_)
    traded = np.zeros(concerned.shape, dtype=np.bool_)
    traded[solved.account, solved.column] = True
    found: dict[int, dict[int, Reason]] = {}

    def note(mask: BoolArray, reason: Reason | None) -> None:
        for place, column in np.argwhere(mask & concerned & ~traded).tolist():
            why = reason or against[names[column]]
            found.setdefault(place, {}).setdefault(names[column], why)

    note(np.broadcast_to(stopped, concerned.shape), None)
    note(gathering.on_the_way(model, loaded.raw), Reason.SKIP_ORDER_OPEN)
    note(loaded.screened, Reason.SKIP_SCREENED)
    note(ask.frozen, Reason.SKIP_RESTRICTED)
    note(ask.tax.no_buy, Reason.SKIP_WASH_BUY)
    failed = ~solving.is_solved(solved)
    note(np.broadcast_to(failed[:, None], concerned.shape), Reason.SKIP_NO_PLAN)
    return found
