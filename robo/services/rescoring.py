"""New scores reach the accounts whose screens they cross, by the next window, and no others.

Where a firm put other deliveries to use since the last run, baskets and personal exclusions are
worked out again. An account is touched only if the scores change its target or its customer's
exclusions: the target no longer holds the name, and what is held of it is written down to be sold,
in the same transaction. Until it has gone, every run sells of it what the customer's tax mode,
target and budget allow, or tells why it stays.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlmodel import Session

from onboarding.questionnaire import parse_answers
from onboarding.restrictions import activity_wishes, by_activity, share_of_universe
from robo.core.clock import Clock, to_micros
from robo.core.errors import NotFoundError
from robo.core.ids import AccountId, child_id
from robo.core.policy import Policy
from robo.ports.broker import Broker
from robo.ports.prices import PriceSource
from robo.services import composing, following, offering, targeting
from robo.services.isolating import Blame
from robo.services.leaving import Leaving
from robo.services.offering import Shelf
from robo.services.screening import Change, Holder, Screens
from robo.services.sealing import Vault
from robo.services.turns import Turns
from robo.services.washing.bans import purchase_bans
from robo.store import (
    accounts,
    barred,
    chunks,
    cursors,
    direct,
    households,
    leavers,
    people,
    scores,
    universe,
)
from robo.store.accounts import Sleeve
from robo.store.database import Database
from robo.store.keyring import Keyring
from robo.store.leavers import Leaver
from robo.store.people import StoredRestriction
from robo.store.tax_profiles import harvesters

_JOB: Final = "rescore"
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Reached:
    """What a run did: customers whose exclusions changed, accounts whose target did, plans."""

    customers: int
    accounts: int
    plans: int


def apply(
    db: Database,
    keyring: Keyring,
    broker: Broker,
    prices: PriceSource,
    clock: Clock,
    policy: Policy,
    on: date,
) -> Reached:
    """Bring every account in line with the scores in use; twice changes nothing.

    Names that have to go and are still held are tried again every day, because budgets renew and
    wash-sale windows end. A customer that could not be brought in line is tried again by the next
    run, against the scores that it was last in line with, and nobody else with it.
    """
    run = _Run(db, keyring, prices, clock, policy, on)
    with db.read() as session:
        listed = scores.firms(session)
    for firm_id in listed:
        with db.read() as session:
            active = " ".join(scores.active_ids(session, firm_id))
            before = cursors.cursor(session, f"rescored/{firm_id}")
            late = Behind.of(session, firm_id)
        missed = {
            customer: since
            for since, some in late.by_scores().items()
            for customer in run.bring(firm_id, since, active, [some])
        }
        if before != active:
            others = run.customers_of(firm_id, late.since.keys())
            missed |= dict.fromkeys(run.bring(firm_id, before, active, others), before)
        if before != active or missed != late.since:
            with db.write() as session:
                cursors.move_cursor(session, f"rescored/{firm_id}", active)
                Behind(missed).put(session, firm_id)
    leaving = Leaving(db, keyring, broker, prices, clock, policy, Turns(db, policy), on)
    return Reached(run.customers, run.accounts, leaving.part())


@dataclass(frozen=True, slots=True)
class Behind:
    """Customers that could not be brought in line, with the deliveries they last were."""

    since: Mapping[str, str]

    @classmethod
    def of(cls, session: Session, firm_id: str) -> "Behind":
        """Return those of a firm."""
        rows = cursors.cursor(session, f"unscored/{firm_id}").splitlines()
        return cls({row.split()[0]: " ".join(row.split()[1:]) for row in rows})

    def put(self, session: Session, firm_id: str) -> None:
        """Keep them in place of those that were kept."""
        rows = [f"{customer} {since}" for customer, since in sorted(self.since.items())]
        cursors.move_cursor(session, f"unscored/{firm_id}", "\n".join(rows))

    def by_scores(self) -> dict[str, list[str]]:
        """Return the customers of each set of deliveries."""
        found: dict[str, list[str]] = {}
        for customer, since in self.since.items():
            found.setdefault(since, []).append(customer)
        return found


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
        self._known: dict[tuple[object, ...], dict[int, tuple[str, str]]] = {}
        self.customers = self.accounts = 0

    def bring(
        self, firm_id: str, before: str, active: str, pages: Iterable[Sequence[str]]
    ) -> list[str]:
        """Bring some of a firm's customers in line with its deliveries; return who is not.

        Args:
            firm_id: Whose.
            before: The deliveries that were in use when their accounts were last in line.
            active: Those in use.
            pages: The customers.
        """
        with self._db.read() as session:
            known = {one.id for one in scores.deliveries(session, firm_id)}
            then = before.split()
            old = offering.of_deliveries(session, firm_id, then) if known >= set(then) else None
            screens = Screens(old, offering.of_deliveries(session, firm_id, active.split()))
            waiting = frozenset(harvesters(session))

        def write(session: Session, part: Sequence[str]) -> None:
            altered = self._exclude(session, screens.after, part)
            moved = self._retarget(session, screens, part, waiting, altered)
            self.customers += len(altered)
            self.accounts += moved

        blame = Blame[str](self._db, self._clock, _JOB, str)
        return [left for page in pages for left in self._turns.each(page, write, blame)]

    def customers_of(self, firm_id: str, but: Collection[str]) -> Iterator[list[str]]:
        """Yield the customers of a firm but some, a page at a time."""
        after = ""
        while True:
            with self._db.read() as session:
                page = barred.customers_of(session, firm_id, after, _PAGE)
            if not page:
                return
            after = page[-1]
            yield [one for one in page if one not in but]

    def _exclude(self, session: Session, shelf: Shelf, customers: Sequence[str]) -> set[str]:
        """Work out again what activities exclude; return the customers for whom that changed."""
        held = barred.by_activity(session, customers)
        listed = {int(one.id) for one in universe.everything(session)}
        now = to_micros(self._clock.now())
        changed: set[str] = set()
        for customer in customers:
            wanted = self._wanted(session, shelf, customer, listed)
            if wanted is None or wanted == held.get(customer, {}):
                continue
            changed.add(customer)
            before = held.get(customer, {})
            # The word about shares held is about the name, whatever else comes to exclude it.
            said = {
                one.security_id: one.held_choice
                for one in people.restrictions(session, customer)
                if one.held_choice != "none"
            }
            barred.remove(session, {customer: sorted(before.keys() - wanted.keys())})
            rows = [
                StoredRestriction(
                    id=child_id("rst", customer, security, "activity"),
                    security_id=security,
                    verb=verb,
                    source="activity",
                    reason=reason,
                    held_choice=said.get(security, "none"),
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

    def _retarget(
        self,
        session: Session,
        screens: Screens,
        customers: Sequence[str],
        waiting: Collection[str],
        altered: Collection[str],
    ) -> int:
        """Point accounts at what their baskets mean now and write down what has to go; how many."""
        mine = accounts.of_customers(session, customers)
        # Of a joint account each owner's turn asks: one may come before what excludes the other's.
        shared = households.owned_jointly(session, customers)
        raw = chunks.read(session, sorted({*mine, *shared}))
        holders = self._holders(session, raw, waiting, altered)
        leaving = leavers.by_screen(session, raw.account_ids)
        for one in holders:
            pending = leaving.get(one.sleeve.account_id, set())
            leavers.let_stay(session, one.sleeve.account_id, screens.let_in(one, pending))
        found = [
            (one.sleeve, change) for one in holders if (change := screens.change(one)) is not None
        ]
        now, since = to_micros(self._clock.now()), self._on.isoformat()
        moved = [
            (sleeve.id, _put(session, sleeve, change, now))
            for sleeve, change in found
            if change.target is not None
        ]
        accounts.retarget(session, moved, now)
        leavers.add(
            session,
            [
                Leaver(sleeve.account_id, security, "screen", since)
                for sleeve, change in found
                for security in sorted(change.leaving)
            ],
        )
        return len(moved)

    def _holders(
        self,
        session: Session,
        raw: chunks.RawChunk,
        waiting: Collection[str],
        altered: Collection[str],
    ) -> list[Holder]:
        """Return accounts as their screens see them."""
        second = households.second_owners(session, raw.account_ids)
        customers = sorted({one.customer_id for one in raw.sleeves} | set(second.values()))
        why = targeting.barred(session, raw)
        activity = barred.by_activity(session, customers)
        gone = dict.fromkeys(universe.gone(session), targeting.GONE)
        rows = direct.of_accounts(session, raw.account_ids)
        waits = self._waits(session, raw, waiting)
        bought = {(one.account_id, one.security_id) for one in raw.open_orders if one.side == "buy"}
        found = []
        for sleeve in raw.sleeves:
            account = sleeve.account_id
            owners = {sleeve.customer_id, second.get(account, sleeve.customer_id)}
            mine = why.get(account, {})
            target = raw.targets.get(sleeve.target_id, ())
            row = rows.get(account) or following.first_row(sleeve, len(target))
            wish = following.wish(session, sleeve, row, row.names, frozenset())
            held = {s for s, nanos in raw.balances[account].holdings_nanos.items() if nanos > 0}
            found.append(
                Holder(
                    sleeve=sleeve,
                    target=target,
                    held=frozenset(held | {s for owner, s in bought if owner == account}),
                    waits=waits.get(account, {}),
                    barred={**mine, **gone},
                    own=mine.keys() - {name for one in owners for name in activity.get(one, ())},
                    altered=not owners.isdisjoint(altered),
                    theme_ppm=wish.theme_ppm,
                    screened=row.screen == "stays",
                    index=composing.names(row.own_index),
                )
            )
        return found

    def _waits(
        self, session: Session, raw: chunks.RawChunk, waiting: Collection[str]
    ) -> dict[AccountId, dict[int, str]]:
        """Return the names that wait to be bought again, of accounts that have understudies."""
        ids = [
            one.account_id
            for one in raw.sleeves
            if one.kind == "basket"
            and (
                one.customer_id in waiting
                or targeting.waits_for_names(raw.targets.get(one.target_id, ()))
            )
        ]
        if not ids:
            return {}
        leaving: dict[tuple[AccountId, int], int] = {}
        for order in raw.open_orders:
            if order.side == "sell":
                key = order.account_id, order.security_id
                leaving[key] = leaving.get(key, 0) + order.open_units
        bans = purchase_bans(session, ids, self._on, {account for account, _ in leaving})
        return {
            account: targeting.waits(
                names,
                {
                    name
                    for name, nanos in raw.balances[account].holdings_nanos.items()
                    if nanos > leaving.get((account, name), 0)
                },
            )
            for account, names in bans.items()
        }


def _put(session: Session, sleeve: Sleeve, change: Change, at_micros: int) -> str:
    """Return the id of an account's new target, written if it is new."""
    assert change.target is not None
    version, note = change.version()
    return accounts.put_target(session, sleeve.basket_id, version, change.target, at_micros, note)
