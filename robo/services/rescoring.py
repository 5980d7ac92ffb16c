"""New scores reach the accounts whose screens they cross, by the next window, and no others.

Where a firm put other deliveries to use since the last run, baskets and personal exclusions are
worked out again. An account is touched only if its target or its customer's exclusions differ:
the target no longer holds the name, and what is held of it is sold as far as the customer's tax
mode and budget allow, or kept with the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Final

from sqlmodel import Session

from baskets.basket import Basket
from baskets.building import replace_names
from baskets.errors import BuildError
from onboarding.questionnaire import parse_answers
from onboarding.restrictions import activity_wishes, by_activity, share_of_universe
from robo.core.clock import Clock, to_micros
from robo.core.errors import NotFoundError
from robo.core.ids import AccountId, child_id
from robo.core.policy import Policy
from robo.ports.prices import PriceSource
from robo.services import offering, ordering, parting
from robo.services.isolating import Blame
from robo.services.offering import Shelf
from robo.services.ordering import Plan
from robo.services.queueing import waves
from robo.services.quoting import board
from robo.services.sealing import Vault
from robo.services.turns import Turns
from robo.store import accounts, barred, cursors, people, scores, universe
from robo.store.accounts import Sleeve, TargetWeight
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.people import StoredRestriction

_JOB: Final = "rescore"
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Reached:
    """What a run did: customers whose exclusions changed, accounts whose target did, plans."""

    customers: int
    accounts: int
    plans: int


@dataclass(slots=True)
class _Changes:
    """What changes for some accounts: (sleeve, target id), and names that leave each."""

    targets: list[tuple[Sleeve, str]] = field(default_factory=list)
    leaving: dict[AccountId, set[int]] = field(default_factory=dict)


def apply(
    db: Database, keyring: Keyring, prices: PriceSource, clock: Clock, policy: Policy, on: date
) -> Reached:
    """Bring every account in line with the scores in use; twice changes nothing.

    Names that activities exclude and that are still held are tried again every day, because
    budgets renew and wash-sale windows end.
    """
    run = _Run(db, keyring, prices, clock, policy, on)
    with db.read() as session:
        listed = scores.firms(session)
    customers = moved = 0
    for firm_id in listed:
        with db.read() as session:
            active = sha256(" ".join(scores.active_ids(session, firm_id)).encode()).hexdigest()
            before = cursors.cursor(session, f"rescored/{firm_id}")
        if before == active:
            continue
        customers += run.exclude(firm_id)
        moved += run.retarget(firm_id)
        with db.write() as session:
            cursors.move_cursor(session, f"rescored/{firm_id}", active)
    return Reached(customers, moved, run.part())


class _Run:
    """One run: what it needs, and what leaves which account."""

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        prices: PriceSource,
        clock: Clock,
        policy: Policy,
        on: date,
    ) -> None:
        self._db, self._keyring, self._prices = db, keyring, prices
        self._clock, self._policy, self._on = clock, policy, on
        self._turns = Turns(db, policy)
        self._leaving: dict[AccountId, set[int]] = {}
        self._known: dict[tuple[object, ...], dict[int, tuple[str, str]]] = {}

    def exclude(self, firm_id: str) -> int:
        """Work out again what customers' activities exclude; return how many customers changed."""
        changed = 0
        with self._db.read() as session:
            shelf = offering.of_firm(session, firm_id)

        def write(session: Session, part: Sequence[str]) -> None:
            nonlocal changed
            changed += self._exclude(session, shelf, part)

        blame = Blame[str](self._db, self._clock, _JOB, str)
        for page in self._customers(firm_id):
            self._turns.each(page, write, blame)
        return changed

    def _customers(self, firm_id: str) -> Iterator[list[str]]:
        after = ""
        while True:
            with self._db.read() as session:
                page = barred.customers_of(session, firm_id, after, _PAGE)
            if not page:
                return
            after = page[-1]
            yield page

    def _exclude(self, session: Session, shelf: Shelf, customers: Sequence[str]) -> int:
        held = barred.by_activity(session, customers)
        listed = {int(one.id) for one in universe.everything(session)}
        now = to_micros(self._clock.now())
        changed = 0
        for customer in customers:
            wanted = self._wanted(session, shelf, customer, listed)
            if wanted is None or wanted == held.get(customer, {}):
                continue
            changed += 1
            before = held.get(customer, {})
            barred.remove(session, {customer: sorted(before.keys() - wanted.keys())})
            rows = [
                StoredRestriction(
                    id=child_id("rst", customer, security, "activity"),
                    security_id=security,
                    verb=verb,
                    source="activity",
                    reason=reason,
                    held_choice="none",
                    created_at=now,
                )
                for security, (verb, reason) in sorted(wanted.items())
                if before.get(security) != (verb, reason)
            ]
            people.put_restrictions(session, customer, rows)
        return changed

    def _wanted(
        self, session: Session, shelf: Shelf, customer: str, listed: set[int]
    ) -> dict[int, tuple[str, str]] | None:
        """Return what a customer's activities exclude now; None without answers."""
        found = people.latest_submission(session, customer)
        if found is None:
            return None
        try:
            vault = Vault.open(session, self._keyring, customer)
        except NotFoundError:
            return None  # shredded: nothing is known of this person any more
        content = vault.unseal_json(found.sealed, f"answers:{found.id}:sealed")
        assert isinstance(content, dict)
        answers = parse_answers(content["answers"])
        wishes = activity_wishes(answers)
        if wishes not in self._known:
            facts = shelf.facts
            share = share_of_universe(facts.universe, facts.involvement)
            self._known[wishes] = {
                one.security_id: (one.verb.value, one.sentence)
                for one in by_activity(answers, facts.universe.securities, share)
                if one.security_id in listed
            }
        return self._known[wishes]

    def retarget(self, firm_id: str) -> int:
        """Point basket sleeves at what their baskets mean now; return how many changed."""
        moved = 0
        blame = Blame[tuple[Sleeve, str]](
            self._db, self._clock, _JOB, lambda one: one[0].account_id
        )
        for page in self._customers(firm_id):
            with self._db.write() as session:
                found = self._changes(session, firm_id, page)

            def write(session: Session, part: Sequence[tuple[Sleeve, str]]) -> None:
                now = to_micros(self._clock.now())
                accounts.retarget(session, [(one.id, target) for one, target in part], now)

            left = self._turns.each(found.targets, write, blame)
            failed = {one.account_id for one, _ in left}
            moved += len(found.targets) - len(left)
            for account, names in found.leaving.items():
                if account not in failed:
                    self._leaving.setdefault(account, set()).update(names)
        return moved

    def _changes(self, session: Session, firm_id: str, customers: Sequence[str]) -> _Changes:
        """Return what changes for the accounts of some customers; targets are written if new."""
        offered = offering.of_firm(session, firm_id).catalog.baskets
        gone = universe.gone(session)
        why = _reasons(session, customers)
        owned = accounts.of_customers(session, customers)
        sleeves = accounts.sleeves(session, owned)
        now = to_micros(self._clock.now())
        fresh: dict[tuple[object, ...], str | None] = {}
        made = _Changes()
        for sleeve in sleeves.values():
            basket = offered.get(sleeve.basket_id)
            if sleeve.kind != "basket" or basket is None:
                continue
            mine = {**why.get(sleeve.customer_id, {}), **dict.fromkeys(gone, _GONE)}
            met = tuple(sorted((s, mine[s]) for s in mine if s in _candidates(basket)))
            key = (basket.id, met)
            if key not in fresh:
                fresh[key] = _target(session, basket, dict(met), now)
            target = fresh[key]
            if target is not None and target != sleeve.target_id:
                made.targets.append((sleeve, target))
        return self._with_leavers(session, made)

    def _with_leavers(self, session: Session, made: _Changes) -> _Changes:
        """Add the names that are in the old target of an account and not in the new one."""
        ids = {target for one, new in made.targets for target in (one.target_id, new)}
        names = {
            target: {one.security_id for one in weights}
            for target, weights in accounts.targets(session, sorted(ids)).items()
        }
        for sleeve, new in made.targets:
            made.leaving[sleeve.account_id] = names.get(sleeve.target_id, set()) - names[new]
        return made

    def part(self) -> int:
        """Plan the sales of names that left, or that activities exclude; return how many plans."""
        with self._db.read() as session:
            for account, names in barred.holders(session).items():
                self._leaving.setdefault(account, set()).update(names)
            turns = waves(session, sorted(self._leaving), self._on)
        written = 0

        def write(session: Session, part: Sequence[Plan]) -> None:
            nonlocal written
            fresh = ordering.unwritten(session, part)
            ordering.write(session, self._keyring, fresh, to_micros(self._clock.now()))
            written += len(fresh)

        blame = Blame[Plan](self._db, self._clock, _JOB, lambda one: one.sleeve.account_id)
        for wave in turns:
            for start in range(0, len(wave), _PAGE):
                self._turns.each(self._plans(wave[start : start + _PAGE]), write, blame)
        return written

    def _plans(self, account_ids: Sequence[AccountId]) -> list[Plan]:
        leaving = {one: self._leaving[one] for one in account_ids}
        names = sorted({security for some in leaving.values() for security in some})
        seen = board(self._prices, names, self._clock.now())
        cause = f"rescore/{self._on.isoformat()}"
        with self._db.read() as session:
            return parting.plans(
                session, self._keyring, self._policy, leaving, seen, self._on, cause
            )


_GONE: Final = "it no longer trades"


def _reasons(session: Session, customers: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return customer -> security -> why it may not be bought, as targets note it."""
    found: dict[str, dict[int, str]] = {}
    for customer in customers:
        for row in people.restrictions(session, customer):
            mine = found.setdefault(customer, {})
            mine.setdefault(row.security_id, row.reason.rstrip("."))
    return found


def _candidates(basket: Basket) -> set[int]:
    waiting = {one.security_id for one in (*basket.understudies, *basket.bench)}
    return waiting | {one.security_id for one in basket.constituents}


def _target(session: Session, basket: Basket, barred_why: dict[int, str], now: int) -> str | None:
    """Return the target of a basket without some names, None if it cannot be filled."""
    try:
        final = replace_names(basket, barred_why.keys(), barred_why)
    except BuildError:
        return None
    weights = [
        TargetWeight(one.security_id, one.weight_ppm, one.reason) for one in final.constituents
    ]
    return accounts.put_target(session, final.id, final.version, weights, now, final.data_note)
