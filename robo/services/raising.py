"""The step that raises money from a direct sleeve: least tax and least drift, nothing bought."""

from dataclasses import replace

import numpy as np
from sqlmodel import Session

from robo.core.clock import Clock, business_date
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import TaxMode
from robo.ports.prices import PriceSource
from robo.services import drafting, gathering, modelling, solving
from robo.services.asking import Ask
from robo.services.inquiring import Limits
from robo.services.ordering import Plan
from robo.services.quoting import board
from robo.store import chunks, direct
from robo.store.accounts import DIRECT
from robo.store.keyring import Keyring


def plan(
    session: Session,
    keyring: Keyring,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    raw: chunks.RawChunk,
    need_cents: int,
    cause: str,
    limits: Limits,
) -> Plan | None:
    """Return the sales of one direct sleeve that raise money, by the optimizer.

    Lots go that cost the least tax for what they do to tracking; no budget for gains holds, because
    the customer chose the sale. Losses that would be washed are left alone as long as others do.

    Args:
        session: Of one snapshot.
        keyring: Opens what the customer told us of their taxes.
        prices: For a board of the day.
        clock: Says the day.
        policy: Margins; a little more is sold than needed (`sell_margin_ppm`).
        raw: The account.
        need_cents: To raise, positive.
        cause: Names the batch.
        limits: What the broker does not trade.

    Returns:
        None where the sleeve is none, there is no risk model, or it cannot be raised like this.
    """
    now = clock.now()
    if raw.sleeves[0].kind != DIRECT:
        return None
    model = modelling.current(session, prices, now)
    if model is None:
        return None
    rows = direct.of_accounts(session, raw.account_ids)
    on = business_date(now)
    loaded = gathering.load(session, keyring, policy, model, raw, rows, on, sells=True)
    loaded = gathering.unfrozen(loaded)
    wanted = need_cents + need_cents * policy.sell_margin_ppm // PPM + 1
    first = replace(loaded.ask, need_cents=np.array([wanted], dtype=np.int64))
    seen = limits.on(board(prices, model.security_ids.tolist(), now))
    for ask in (first, _careless(first)):
        solved = solving.solve(model, seen, ask, policy, on)
        price = [seen.price_micros.get(int(model.security_ids[one]), 0) for one in solved.column]
        raised = notional_cents(solved.sell_nanos, np.array(price, dtype=np.int64)).sum()
        if solving.is_solved(solved)[0] and raised >= need_cents:
            break
    else:
        return None
    (made,) = drafting.plans(replace(loaded, ask=ask), model, solved, cause, seen, "")
    return replace(made, skips={})


def _careless(ask: Ask) -> Ask:
    """Return the same without wash masks: what is lost then only moves, and counts as nothing."""
    tax, none = ask.tax, np.zeros_like(ask.tax.no_loss)
    mode = np.full_like(tax.taxes.mode, int(TaxMode.NEUTRAL))
    taxes = replace(tax.taxes, mode=mode)
    return replace(ask, tax=replace(tax, taxes=taxes, no_loss=none, whole_only=none))
