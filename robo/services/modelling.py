"""The market as plans see it: one risk model and one index a day, fitted once, kept for everybody.

The first process that needs a day's model fits it from the price source's returns and keeps it;
others read it. What it says of the index drifts with prices from one day to the next, as an
index held untouched does, and starts anew when its membership changes.
"""

import io
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import Final

import numpy as np
from sqlmodel import Session

from baskets.catalog import catalog
from baskets.index import Index, large_cap
from baskets.security_ids import companies
from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import RefusedError
from robo.core.ids import SecurityId, child_id
from robo.core.market_calendar import MarketCalendar
from robo.core.policy import Policy
from robo.portfolio.checks import require
from robo.portfolio.factor_model import fit_factors
from robo.portfolio.problem import FloatArray, IntArray
from robo.portfolio.returns import clean_returns
from robo.portfolio.sampling_cache import digest
from robo.ports.prices import PriceSource
from robo.store import direct, ledger, models, universe
from robo.store.database import Database
from robo.store.models import StoredModel

SESSIONS: Final = 1_000
"""Returns a fit asks for; fewer are used where history is short."""
SESSIONS_MIN: Final = 60
"""What the factor model needs at least."""
_KEPT: Final = timedelta(days=30)
_FIELDS: Final = (
    "security_ids",
    "exposure",
    "specific_variance",
    "index",
    "membership",
    "sectors",
    "fitted_on",
)
_FORMAT: Final = "2"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What swings with what, and what the index holds, as of one session's close."""

    id: str
    on: date
    """The last session that its index knows."""
    fitted_on: date
    """The last session that its risk was fitted on."""
    source: str
    security_ids: IntArray
    """Shape (N,), rising."""
    exposure: FloatArray
    specific_variance: FloatArray
    index: FloatArray
    """US Large Cap 500, shape (N,), sums to 1."""
    membership: str
    """Which membership the index's weights began from."""
    sectors: tuple[str, ...]
    """Of every name, N of them."""

    @property
    def place(self) -> Mapping[int, int]:
        """Return security -> column."""
        return _places(self.id, tuple(self.security_ids.tolist()))

    @property
    def sector(self) -> IntArray:
        """Return a number for each name's sector, shape (N,)."""
        return _numbers(self.sectors)

    @property
    def company(self) -> IntArray:
        """Return a number for each name's company, shape (N,): share classes have the same."""
        return _companies(tuple(self.security_ids.tolist()))

    def columns(self, security_ids: Sequence[int] | IntArray) -> IntArray:
        """Return the columns of securities, -1 where the model does not know one."""
        wanted = np.asarray(security_ids, dtype=np.int64)
        place = np.searchsorted(self.security_ids, wanted)
        place = np.minimum(place, self.security_ids.size - 1)
        return np.where(self.security_ids[place] == wanted, place, -1)


@lru_cache(maxsize=4)
def _numbers(sectors: tuple[str, ...]) -> IntArray:
    found = np.unique(np.array(sectors), return_inverse=True)[1].astype(np.int64)
    found.flags.writeable = False
    return found


@lru_cache(maxsize=4)
def _companies(security_ids: tuple[int, ...]) -> IntArray:
    known = companies()
    labels = [known.get(one) or f"alone {one}" for one in security_ids]
    found = np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)
    found.flags.writeable = False
    return found


@lru_cache(maxsize=4)
def _places(_model_id: str, security_ids: tuple[int, ...]) -> Mapping[int, int]:
    return {security_id: column for column, security_id in enumerate(security_ids)}


class _Held:
    """The models that this process has read, newest last."""

    def __init__(self) -> None:
        self._by_id: dict[str, Model] = {}
        self._lock = Lock()

    def get(self, stored: StoredModel) -> Model:
        """Return a stored model, decoded once."""
        with self._lock:
            found = self._by_id.get(stored.id)
            if found is None:
                if len(self._by_id) > 2:  # noqa: PLR2004 - today's, yesterday's, another source's
                    self._by_id.clear()
                found = self._by_id[stored.id] = decoded(stored)
            return found


_HELD: Final = _Held()


def current(session: Session, prices: PriceSource, at: datetime) -> Model | None:
    """Return the newest model there is; None where none was ever fitted."""
    stored = models.latest(session, prices.name, business_date(at).isoformat())
    return None if stored is None else _HELD.get(stored)


def needed(session: Session, prices: PriceSource, at: datetime) -> Model:
    """Return the newest model there is.

    Raises:
        RefusedError: If none was ever fitted.
    """
    found = current(session, prices, at)
    if found is None:
        message = "There is too little price history yet to say what this would do."
        raise RefusedError(message, code="no_risk_model")
    return found


def ensure(
    db: Database, prices: PriceSource, clock: Clock, calendar: MarketCalendar, policy: Policy
) -> Model | None:
    """Return the model of the last closed session, made and kept if it is not there.

    Risk is fitted again every `model_sessions` sessions, and when a name is held or a member that
    it does not know; in between only the index's weights move on. None where there is too little
    history to fit one; then an older one may be `current`.
    """
    now = clock.now()
    on = last_closed(calendar, now)
    with db.read() as session:
        before = current(session, prices, now)
        if before is not None and before.on == on:
            return before
        names, gone = _names(session), universe.gone(session)
        made = _moved(prices, on, calendar, policy, before, names, _membership(gone))
        listed = universe.everything(session) if made is None else ()
    if made is None:
        sectors = {one.id: one.sector for one in listed}
        sizes = {one.id: one.size_cents for one in listed}
        passed = _passed(calendar, before.on, on) if before else 0
        made = fitted(prices, on, names, sectors, sizes, _membership(gone), before, passed)
    if made is None:
        return before
    stored = encoded(made)
    with db.write() as session:
        models.keep(session, stored, to_micros(now), (on - _KEPT).isoformat())
    return _HELD.get(stored)


def _passed(calendar: MarketCalendar, first: date, last: date) -> int:
    """Return how many sessions lie after a day, up to another one."""
    days = calendar.sessions
    return bisect_right(days, last) - bisect_right(days, first)


def _moved(
    prices: PriceSource,
    on: date,
    calendar: MarketCalendar,
    policy: Policy,
    before: Model | None,
    names: Sequence[int],
    members: Mapping[int, int],
) -> Model | None:
    """Return an earlier model with the index of a later day; None where it must be fitted again."""
    if before is None or before.membership != _digest_of(members) or before.on > on:
        return None
    if _passed(calendar, before.fitted_on, on) >= policy.model_sessions:
        return None
    if not before.place.keys() >= set(names):
        return None
    ids = [SecurityId(one) for one in before.security_ids.tolist()]
    rows = prices.total_returns(ids, on, _passed(calendar, before.on, on))
    since = np.array(rows, dtype=np.float64)
    index = _index(before.security_ids, members, before.membership, before, since)
    moved = replace(before, on=on, index=index)
    return replace(moved, id=_id_of(moved))


def is_stale(model: Model, calendar: MarketCalendar, policy: Policy, now: datetime) -> bool:
    """Return whether a model is too old even where no account trades by it."""
    return _passed(calendar, model.on, last_closed(calendar, now)) >= policy.idle_model_sessions


def last_closed(calendar: MarketCalendar, now: datetime) -> date:
    """Return the last session that has closed."""
    day = calendar.on_or_before(business_date(now))
    return day if calendar.closes_at(day) <= now else calendar.shift(day, -1)


def fitted(
    prices: PriceSource,
    on: date,
    names: Sequence[int],
    sectors: Mapping[SecurityId, str],
    sizes: Mapping[SecurityId, int],
    members: Mapping[int, int],
    before: Model | None = None,
    passed: int = 0,
) -> Model | None:
    """Return the model of a session; None if the source knows too few returns.

    Args:
        prices: Where the returns come from.
        on: A closed session.
        names: The securities to model, rising.
        sectors: Security -> sector.
        sizes: Security -> size in cents.
        members: The index's membership: security -> weight in ppm.
        before: An earlier model, whose index drifts on; None starts from the membership.
        passed: Sessions since it.
    """
    ids = [SecurityId(one) for one in names]
    rows = prices.total_returns(ids, on, SESSIONS)
    if len(rows) < SESSIONS_MIN:
        return None
    returns = np.array(rows, dtype=np.float64)
    level = np.cumprod(1.0 + np.where(np.isnan(returns), 0.0, returns), axis=0)
    level = np.vstack([np.ones(len(ids)), level])
    seen = np.vstack([~np.isnan(returns[:1]), ~np.isnan(returns)])
    cleaned = clean_returns(np.where(seen, level, np.nan)).simple
    labels = sorted({sectors.get(one, "") for one in ids})
    sector = np.array([labels.index(sectors.get(one, "")) for one in ids], dtype=np.int64)
    size = np.array([float(sizes.get(one, 0)) for one in ids])
    try:
        model = fit_factors(cleaned, sector, np.maximum(size, 1.0))
    except ValueError:
        return None
    ordered = np.array(names, dtype=np.int64)
    membership = _digest_of(members)
    made = Model(
        id="",
        on=on,
        fitted_on=on,
        source=prices.name,
        security_ids=ordered,
        exposure=model.exposure,
        specific_variance=model.specific_variance,
        index=_index(ordered, members, membership, before, returns[-passed:] if passed else None),
        membership=membership,
        sectors=tuple(sectors.get(one, "") for one in ids),
    )
    return replace(made, id=_id_of(made))


def _id_of(model: Model) -> str:
    days = model.on.isoformat(), model.fitted_on.isoformat()
    names = digest(model.security_ids)
    return child_id("mdl", model.source, *days, _FORMAT, names, model.membership)


def _digest_of(members: Mapping[int, int]) -> str:
    return digest(np.array(sorted(members.items()), dtype=np.int64))


def _index(
    names: IntArray,
    members: Mapping[int, int],
    membership: str,
    before: Model | None,
    since: FloatArray | None,
) -> FloatArray:
    """Return the index's weights: those of an earlier day, drifted, or the membership's own."""
    weight = np.array([float(members.get(one, 0)) for one in names.tolist()])
    if before is not None and before.membership == membership and since is not None:
        then = dict(zip(before.security_ids.tolist(), before.index.tolist(), strict=True))
        held = np.array([then.get(one, 0.0) for one in names.tolist()])
        weight = np.where(weight > 0, held, 0.0) * np.prod(1.0 + np.nan_to_num(since), axis=0)
    require("index", weight.sum() > 0, "has no member that the model knows")
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def _names(session: Session) -> list[int]:
    """Return what plans may speak of: all indexes, the baskets and their benches, what is held."""
    wanted = set(large_cap().weights_ppm)
    for basket in catalog().all():
        wanted.update(basket.weights_ppm)
        wanted.update(row.security_id for row in (*basket.understudies, *basket.bench))
    for own in direct.own_indexes(session):
        wanted.update(int(one) for one in json.loads(own))
    wanted.update(ledger.held_securities(session))
    known = {int(one.id) for one in universe.everything(session)}
    return sorted((wanted & known) - universe.gone(session))


def _membership(gone: set[int]) -> dict[int, int]:
    found: Index = large_cap().without(gone)
    return found.weights_ppm


def encoded(model: Model) -> StoredModel:
    """Return a model as it is kept; `decoded` gives it back."""
    held = io.BytesIO()
    arrays = {
        "security_ids": model.security_ids,
        "exposure": model.exposure,
        "specific_variance": model.specific_variance,
        "index": model.index,
        "membership": np.array(model.membership),
        "sectors": np.array(model.sectors),
        "fitted_on": np.array(model.fitted_on.isoformat()),
    }
    np.savez(held, allow_pickle=False, **arrays)
    return StoredModel(model.id, model.on.isoformat(), model.source, held.getvalue())


def decoded(stored: StoredModel) -> Model:
    """Return the model of a row."""
    with np.load(io.BytesIO(stored.content), allow_pickle=False) as found:
        ids, exposure, variance, index, membership, sectors, fitted_on = (
            found[name] for name in _FIELDS
        )
    return Model(
        id=stored.id,
        on=date.fromisoformat(stored.on_date),
        fitted_on=date.fromisoformat(str(fitted_on)),
        source=stored.source,
        security_ids=np.asarray(ids, dtype=np.int64),
        exposure=np.asarray(exposure, dtype=np.float64),
        specific_variance=np.asarray(variance, dtype=np.float64),
        index=np.asarray(index, dtype=np.float64),
        membership=str(membership),
        sectors=tuple(sectors.tolist()),
    )
