"""What a customer wants of an account: priced before it is saved, then followed.

A preview answers from the day's model and prices without writing: how closely the account would
follow, what tonight's trades would cost in tax and spread, and which names come and go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

import numpy as np
from sqlmodel import Session

from baskets.building import replace_names
from baskets.errors import BuildError
from robo.core.clock import Clock, business_date, to_micros
from robo.core.errors import InvalidInputError, NotFoundError, RefusedError, RestrictedError
from robo.core.ids import AccountId
from robo.core.policy import Policy
from robo.portfolio import ladder
from robo.portfolio.chunk import notional_cents
from robo.portfolio.problem import FloatArray, TaxMode
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import (
    benchmarking,
    composing,
    entitling,
    following,
    gathering,
    modelling,
    offering,
    pricing,
)
from robo.services.enrolling import restricting
from robo.services.mailing import payload
from robo.services.modelling import Model
from robo.services.quoting import Board, board
from robo.store import chunks, direct, leavers, universe
from robo.store.accounts import Sleeve, TargetWeight
from robo.store.chunks import NO_RESTRICTION
from robo.store.database import Database
from robo.store.direct import DirectSleeve
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring

_TOO_FEW: Final = "your restrictions leave too few names of this basket; choose another"
MODES: Final = {"harvest": TaxMode.HARVEST, "neutral": TaxMode.NEUTRAL, "realise": TaxMode.REALISE}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for; None leaves as it is."""

    ladder: str | None = None
    names_max: int | None = None
    """0 lifts the customer's own limit."""
    theme: str | None = None
    stays_ppm: int | None = None
    screen: str | None = None
    tilts: Mapping[str, int] | None = None
    """Dial -> ppm; an empty mapping ends all tilts."""
    index: Mapping[int, int] | None = None
    """Security -> ppm of an index of the customer's own; an empty mapping follows ours again."""
    exclude: tuple[int, ...] = ()
    """Securities not to be bought any more."""
    tax_mode: str | None = None
    """For a preview only: it is saved with the customer's tax choices."""


@dataclass(frozen=True, slots=True)
class PriceTag:
    """What wishes would do; tracking errors are annual, in ppm."""

    names_before: int
    names_after: int
    following_before_ppm: int
    """How far what is held swings from what is followed now."""
    following_after_ppm: int
    """The same after tonight's trades, from what would be followed."""
    from_index_before_ppm: int
    """How far what is followed swings from the index."""
    from_index_after_ppm: int
    tax_cents: int
    """Of tonight's trades; negative where they save tax."""
    cost_cents: int
    short_gain_cents: int
    long_gain_cents: int
    leaving_tax_cents: int
    """What selling everything held of the names that leave would cost in tax today."""
    entering: tuple[int, ...]
    leaving: tuple[int, ...]
    trades: int
    model_id: str
    as_of: date


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """One account as it stands."""

    raw: chunks.RawChunk
    row: DirectSleeve
    model: Model
    seen: Board
    gone: frozenset[int]
    withdrawn_cents: int
    """Taken out since the last review, or too little to count until now."""

    @property
    def sleeve(self) -> Sleeve:
        return self.raw.sleeves[0]

    @property
    def target(self) -> tuple[TargetWeight, ...]:
        return self.raw.targets.get(self.sleeve.target_id, ())


def show(session: Session, account_id: AccountId) -> DirectSleeve:
    """Return what holds for an account now.

    Raises:
        NotFoundError: If there is no such account.
    """
    return _stands(session, account_id)[1]


def preview(
    session: Session,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    account_id: AccountId,
    wishes: Wishes,
) -> PriceTag:
    """Return what wishes would do to an account, without writing anything.

    Raises:
        NotFoundError: If there is no such account.
        RefusedError: If there is no risk model yet (`no_risk_model`), the account is too small
            for a wish (`segment_too_small`), the broker cannot do it (`dense_needs_fractions`), or
            the tilts exclude each other (`tilts_conflict`).
        RestrictedError: If too few names are left of a basket.
        InvalidInputError: If a tilt is none that there is (`unknown_tilt`), or a theme shall stay
            with no share or fade with one (`theme_share`), or an index of one's own cannot be
            followed (`own_index_…`, see `composing`).
    """
    now = clock.now()
    on = business_date(now)
    raw, row = _stands(session, account_id)
    model = modelling.needed(session, prices, now)
    seen = board(prices, sorted({*model.security_ids.tolist(), *raw.security_ids()}), now)
    paid = direct.taken_out(session, [account_id]).get(account_id, 0)
    withdrawn = max(0, paid - row.withdrawn_cents)
    place = _Place(raw, row, model, seen, frozenset(universe.gone(session)), withdrawn)
    book = ladder.of_policy(policy)
    entitling.require(features(row, wishes), _nav(raw, seen), book, can=broker.capabilities)
    composing.require(model, policy, wishes.index)
    after = _wished(policy, place, wishes)
    changed, benchmark = _changed(session, place, after, wishes)
    loaded = gathering.load(
        session, keyring, policy, model, changed, {account_id: after}, on, sells=True
    )
    if wishes.tax_mode is not None:
        loaded = pricing.in_mode(loaded, MODES[wishes.tax_mode])
    night = (
        pricing.basket(session, broker, policy, model, seen, loaded, benchmark[1], now)
        if _stays_a_basket(place.sleeve, after)
        else pricing.direct(session, broker, policy, model, seen, loaded, now)
    )
    names = {one.security_id for one in changed.targets[place.sleeve.target_id]}
    before = {one.security_id for one in place.target}
    held = set(raw.balances[account_id].holdings_nanos)
    return PriceTag(
        names_before=len(before),
        names_after=len(names),
        following_before_ppm=pricing.risk(model, pricing.held(model, seen, loaded) - benchmark[0]),
        following_after_ppm=night.following_ppm,
        from_index_before_ppm=pricing.risk(model, benchmark[0] - model.index),
        from_index_after_ppm=pricing.risk(model, benchmark[1] - model.index),
        tax_cents=night.tax_cents,
        cost_cents=night.cost_cents,
        short_gain_cents=night.short_gain_cents,
        long_gain_cents=night.long_gain_cents,
        leaving_tax_cents=pricing.tax_of(loaded, seen, (before - names) & held, on),
        entering=tuple(sorted(names - before)),
        leaving=tuple(sorted(before - names)),
        trades=night.trades,
        model_id=model.id,
        as_of=model.on,
    )


def save(
    db: Database,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    account_id: AccountId,
    wishes: Wishes,
    asker_id: str | None = None,
) -> DirectSleeve:
    """Keep wishes; the next review of the ladder follows them. Nothing is traded by it.

    Args:
        db: Written to in one transaction.
        broker: Whose capabilities bound the wishes.
        prices: What the account is worth by.
        clock: The time.
        policy: The segments, and what each may use.
        account_id: Whose ladder, theme and tilts change.
        wishes: What is asked for.
        asker_id: The owner who asks, whose own restrictions the names left out become; None where
            nobody says who, which is the first owner.

    Raises:
        NotFoundError: If there is no such account.
        RefusedError: If the account is too small for a wish (`segment_too_small`) or the broker
            cannot do it (`dense_needs_fractions`), or no model knows an index of one's own yet.
        InvalidInputError: If a theme shall stay with no share, or fade with one (`theme_share`),
            or an index of one's own cannot be followed (`own_index_…`, see `composing`).
    """
    with db.read() as session:
        raw, row = _stands(session, account_id)
        if wishes.index:
            composing.require(modelling.needed(session, prices, clock.now()), policy, wishes.index)
    seen = board(prices, raw.security_ids(), clock.now())
    book = ladder.of_policy(policy)
    entitling.require(features(row, wishes), _nav(raw, seen), book, can=broker.capabilities)
    now = to_micros(clock.now())
    with db.write() as session:
        raw, row = _stands(session, account_id)
        sleeve = raw.sleeves[0]
        after = _merged(row, wishes)
        direct.put(session, [after], now)
        if after.screen == "goes":
            leavers.let_stay(session, account_id, following.excluded(session, sleeve))
        asker = asker_id or sleeve.customer_id
        restricting.leave_out(session, asker, wishes.exclude, now)
        # Both hear that their account's choices changed, and each of their own restrictions only.
        heard = {sleeve.customer_id: 0, asker: len(wishes.exclude)}
        events = [
            NewEvent(
                sleeve.firm_id,
                "choices.changed",
                account_id,
                payload(ladder=after.ladder, theme=after.theme, excluded=excluded),
                customer_id=customer_id,
                account_id=account_id,
            )
            for customer_id, excluded in heard.items()
        ]
        emit(session, events, now)
    return after


def features(row: DirectSleeve, wishes: Wishes) -> set[str]:
    """Return what of the segments' words wishes newly ask for; taking a choice back is free."""
    asked = {
        "custom_index": bool(wishes.index) and composing.text(wishes.index) != row.own_index,
        "dense": wishes.ladder == "dense" and row.ladder != "dense",
        "exclusions": bool(wishes.exclude),
        "names": bool(wishes.names_max) and wishes.names_max != row.names_max,
        "tax_mode": wishes.tax_mode is not None,
        "theme": wishes.theme == "stays" and row.theme != "stays",
        "tilts": bool(wishes.tilts) and following.tilts_text(wishes.tilts or {}) != row.tilts,
    }
    return {word for word, is_asked in asked.items() if is_asked}


def _nav(raw: chunks.RawChunk, seen: Board) -> int:
    """Return what an account is worth: cash in every state that is the customer's, and shares."""
    balances = raw.balances[raw.sleeves[0].account_id]
    held = balances.holdings_nanos
    price = [seen.price_micros.get(one, 0) for one in held]
    shares = int(notional_cents(np.array(list(held.values()), dtype=np.int64), price).sum())
    return min(balances.cash_cents + balances.unsettled_cents + shares, ladder.BALANCE_MAX)


def _stands(session: Session, account_id: AccountId) -> tuple[chunks.RawChunk, DirectSleeve]:
    raw = chunks.read(session, [account_id])
    if not raw.sleeves:
        message = "There is no such account."
        raise NotFoundError(message)
    sleeve = raw.sleeves[0]
    names = len(raw.targets.get(sleeve.target_id, ()))
    known = direct.of_accounts(session, [account_id]).get(account_id)
    if known is not None:
        return raw, known
    paid = direct.taken_out(session, [account_id]).get(account_id, 0)
    return raw, replace(following.first_row(sleeve, names), withdrawn_cents=paid)


def _merged(row: DirectSleeve, wishes: Wishes) -> DirectSleeve:
    """Return a row with the wishes in place of what it said, to be reviewed.

    Raises:
        InvalidInputError: If a theme shall stay with no share, or fade with one.
    """
    kept = ("ladder", "names_max", "theme", "stays_ppm", "screen")
    said = {name: getattr(wishes, name) for name in kept if getattr(wishes, name) is not None}
    tilts = row.tilts if wishes.tilts is None else following.tilts_text(wishes.tilts)
    own = row.own_index if wishes.index is None else composing.text(wishes.index)
    merged = replace(row, **said, tilts=tilts, own_index=own)
    anew = row.reviewed_on == direct.ANEW or merged.ladder != row.ladder
    merged = replace(merged, reviewed_on=direct.ANEW if anew else direct.CHANGED)
    if (wishes.theme, wishes.stays_ppm) == (None, None):
        return merged  # what was kept once stays, also a theme that stays without a share
    if merged.theme == "fades" and not wishes.stays_ppm:
        return replace(merged, stays_ppm=0)
    if merged.theme == "stays" and merged.stays_ppm:
        return merged
    message = "This theme fades; say theme: stays with the share that shall stay."
    if merged.theme == "stays":
        message = "A theme that stays needs the share that stays: stays_ppm, above 0."
    raise InvalidInputError(message, code="theme_share", fields={"stays_ppm": [message]})


def _wished(policy: Policy, place: _Place, wishes: Wishes) -> DirectSleeve:
    """Return the row that the wishes lead to, with the names they lead to in the end.

    Raises:
        InvalidInputError: If a tilt is none that there is, or see `_merged`.
    """
    nav = _nav(place.raw, place.seen)
    if wishes.tilts:
        unknown = sorted(wishes.tilts.keys() - set(benchmarking.dials_of(place.model).name))
        if unknown:
            message = f"There is no tilt {unknown[0]!r}."
            raise InvalidInputError(message, code="unknown_tilt", fields={"tilts": [message]})
    after = _merged(place.row, wishes)
    return following.grown(policy, after, nav, place.withdrawn_cents)


def _changed(
    session: Session, place: _Place, after: DirectSleeve, wishes: Wishes
) -> tuple[chunks.RawChunk, FloatArray]:
    """Return the account as if the wishes held, and what it follows before and after, (2, N).

    Raises:
        RefusedError: If the tilts exclude each other.
        RestrictedError: If too few names are left of a basket.
    """
    sleeve = place.sleeve
    mine = dict(place.raw.restricted.get(sleeve.account_id, {}))
    before = frozenset(mine) | place.gone
    mine |= {one: mine.get(one, NO_RESTRICTION) for one in wishes.exclude}
    wished = [
        following.wish(session, sleeve, place.row, place.row.names, before),
        following.wish(session, sleeve, after, after.names, frozenset(mine) | place.gone),
    ]
    made = benchmarking.benchmarks(place.model, wished)
    if not made.is_tilted[made.row[1]]:
        message = f"These tilts cannot be met: {made.refusals[int(made.row[1])]}."
        raise RefusedError(message, code="tilts_conflict")
    benchmark = made.of(np.array([0, 1]))
    target = _target(session, place, after, benchmark[1:], wished[1].excluded)
    changed = replace(
        place.raw,
        targets={**place.raw.targets, sleeve.target_id: target},
        restricted={**place.raw.restricted, sleeve.account_id: mine},
    )
    return changed, benchmark


def _target(
    session: Session,
    place: _Place,
    after: DirectSleeve,
    benchmark: FloatArray,
    barred: frozenset[int],
) -> tuple[TargetWeight, ...]:
    sleeve = place.sleeve
    if _stays_a_basket(sleeve, after):
        basket = offering.of_firm(session, sleeve.firm_id).catalog.baskets.get(sleeve.basket_id)
        if basket is None:
            return place.target
        try:
            final = replace_names(basket, barred)
        except BuildError as error:
            raise RestrictedError(_TOO_FEW, code="basket_too_restricted") from error
        return tuple(TargetWeight(i, ppm) for i, ppm in final.weights_ppm.items())
    kept = [following.kept(place.model, after, benchmark[0], place.target)]
    names = np.array([after.names], dtype=np.int64)
    held = [place.raw.balances[sleeve.account_id].holdings_nanos]
    found = benchmarking.targets(place.model, benchmark, names, kept, held, [barred])[0]
    if found:
        return found
    raise RestrictedError(_TOO_FEW, code="basket_too_restricted")


def _stays_a_basket(sleeve: Sleeve, after: DirectSleeve) -> bool:
    """Return whether the ladder leaves a sleeve with its basket's names."""
    return sleeve.kind == "basket" and after.names <= ladder.BASKET_NAMES
