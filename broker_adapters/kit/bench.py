"""What the kit needs beside an adapter: a market that moves when told, and a wire that misbehaves.

An adapter's author inherits from `Bench` and says in data what can be provoked. What cannot be is
skipped with that as the reason, and counted; nothing is ever passed because it could not be tried.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from broker_adapters.kit.market import LISTED, OPENING, ScriptedPrices, sessions_of_2026
from robo.core.clock import FixedClock
from robo.core.ids import SecurityId
from robo.ports.broker import Broker, Side
from robo.ports.brokerage import Application, BankDetails
from robo.ports.plugins import ListedSecurity, PluginContext

_MOMENT: Final = timedelta(milliseconds=5)


class Tempo(StrEnum):
    """How the market fills orders."""

    PROMPT = "prompt"
    """At once and whole."""
    PARTS = "parts"
    """In two to four parts, seconds apart."""


class Ability(StrEnum):
    """What a bench can provoke."""

    TIME = "time"
    """Move the clock of the market forward."""
    PARTS = "parts"
    """Fill in parts (`Tempo.PARTS`)."""
    HALTS = "halts"
    """Halt a name, so that its orders stay open; and let it trade again."""
    PRICES = "prices"
    """Take a name's price away."""
    ACTIONS = "actions"
    """Make corporate actions happen."""
    REOPEN = "reopen"
    """Make a second adapter over the same state, as a restarted process does."""
    ACCOUNTS = "accounts"
    """Offer two accounts."""
    LEDGER = "ledger"
    """Show what arrived at the broker, from the broker's own side."""
    COUNTS = "counts"
    """Count the requests that arrived."""
    PAGES = "pages"
    """Hold more executions than one page of the broker's own."""
    FEES = "fees"
    """Charge a fee on sales."""
    STATES = "states"
    """Put an account at the broker into a state, in whatever word."""
    PAPERS = "papers"
    """Let the broker issue a document for an account."""


OF_GROUPS: Final = frozenset({Ability.STATES, Ability.PAPERS})
"""What only means something at a broker with the optional groups."""


class Trouble(StrEnum):
    """What goes wrong between us and the broker; `…_after` means that it had acted first."""

    BUSY = "busy"
    """It answers that it cannot serve now (503), and does nothing."""
    LIMIT = "limit"
    """Too many requests (429); nothing is done."""
    LOCKED = "locked"
    """The keys are not taken (401); nothing is done."""
    MOVED = "moved"
    """A redirect, as of a gateway's log-in page; nothing is done."""
    LOST_BEFORE = "lost_before"
    """The connection closes; nothing is done."""
    LOST_AFTER = "lost_after"
    """It acts, and the connection closes without an answer."""
    ERROR_AFTER = "error_after"
    """It acts, and answers 500."""
    GATEWAY_AFTER = "gateway_after"
    """It acts, and a gateway answers 504."""
    LATE_AFTER = "late_after"
    """It acts, and answers after the adapter's patience has ended."""
    HALF_AFTER = "half_after"
    """It acts, and its answer breaks off."""
    PAGE_AFTER = "page_after"
    """It acts, and a page of HTML comes with status 200."""
    EMPTY_AFTER = "empty_after"
    """It acts, and an empty body comes with status 200."""
    SHAPE_AFTER = "shape_after"
    """It acts, and JSON of quite another shape comes with status 200."""
    NEW_WORD = "new_word"
    """The state of an order is a word that nobody has heard."""
    NO_AMOUNTS = "no_amounts"
    """The amounts of an answer are null."""
    NOT_NUMBERS = "not_numbers"
    """The amounts of an answer are `NaN`."""
    UNSEEN = "unseen"
    """A lookup right after an order says that there is none."""
    REPEATED = "repeated"
    """A page repeats rows: executions those of the page before it, events each one."""
    SWAPPED = "swapped"
    """Events come in another order than they happened in."""
    LATE_EVENT = "late_event"
    """An event of a moment ago is told only now, after later ones."""
    DROPPED = "dropped"
    """It leaves out events, and says so."""
    ODD = "odd"
    """Among events stand some that nobody can read."""
    REJECT_LATER = "reject_later"
    """An order is taken, and refused a moment later."""
    CANCEL_LATER = "cancel_later"
    """A cancel is taken, and the order goes on filling for a while."""


UNHEARD: Final = (
    Trouble.LOST_AFTER,
    Trouble.ERROR_AFTER,
    Trouble.GATEWAY_AFTER,
    Trouble.HALF_AFTER,
    Trouble.EMPTY_AFTER,
    Trouble.SHAPE_AFTER,
)
"""The broker has acted, and its answer is lost or says nothing."""


class Call(StrEnum):
    """Which of the adapter's calls the trouble meets."""

    SUBMIT = "submit"
    FIND = "find"
    CANCEL = "cancel"
    EXECUTIONS = "executions"
    ACTIVITIES = "activities"
    POSITIONS = "positions"
    CASH = "cash"
    TRANSFER = "transfer"
    OPEN = "open"
    """An application for an account."""
    ACCOUNT = "account"
    """The state of accounts, one or many."""
    JOURNAL = "journal"
    DOCUMENTS = "documents"
    """Their list, and what is in one."""
    EVENTS = "events"
    """Of accounts if it has the group `onboarding`, else of transfers."""


@dataclass(frozen=True, slots=True)
class SeenOrder:
    """An order as the broker itself keeps it: the other side of the wire."""

    client_id: str
    broker_account: str
    symbol: str
    side: Side
    notional_cents: int | None
    nanos: int | None


class Bench:
    """Makes adapters of one broker and moves the market around them; inherit and widen.

    This one fits a broker inside the process that takes prices and time from its context. A bench
    lives for one case: a fresh folder, a fresh market.
    """

    accounts: Sequence[str] = ("kit-1",)
    """Broker accounts that exist and have money."""
    abilities: frozenset[Ability] = frozenset({Ability.TIME, Ability.REOPEN})
    troubles: frozenset[Trouble] = frozenset()
    secrets: Sequence[str] = ()
    """Words that must never be shown: keys, tokens."""
    securities: Sequence[ListedSecurity] = LISTED
    """Three names that can be bought; the first costs about a hundred dollars a share."""
    patience_seconds: float = 10.0
    """The time limit to give an adapter that has one; short in the cases that wait for it."""
    page: int = 0
    """Rows in one page of the broker's own, if `Ability.PAGES`."""

    def __init__(self, create: Callable[[PluginContext], Broker], folder: Path) -> None:
        """Keep the factory and the folder; nothing is opened yet."""
        self.create = create
        self.folder = folder
        self.clock = FixedClock(OPENING)
        self.prices = ScriptedPrices()
        self.made: list[Broker] = []

    def settings(self, tempo: Tempo) -> Mapping[str, str]:
        """Return the ROBO_* settings that the adapter is given."""
        return {"ROBO_KIT_TEMPO": tempo.value}

    def context(self, tempo: Tempo) -> PluginContext:
        """Return what the factory is given."""
        return self.market(self.settings(tempo), self.folder)

    def market(self, settings: Mapping[str, str], folder: Path) -> PluginContext:
        """Return a context on this bench's market; a practice server is given one of its own."""
        return PluginContext(
            settings=settings,
            clock=self.clock,
            state_dir=folder,
            calendar=sessions_of_2026(),
            securities=self.securities,
            prices=self.prices,
        )

    def open(self, tempo: Tempo) -> Broker:
        """Return a new adapter; a second one shares the state of the first (`Ability.REOPEN`)."""
        broker = self.create(self.context(tempo))
        self.made.append(broker)
        return broker

    def close(self) -> None:
        """Give everything back."""
        for broker in self.made:
            closing = getattr(broker, "close", None)
            if closing is not None:
                closing()
        self.made.clear()

    def wait(self, seconds: float) -> None:
        """Let time pass; a bench on a real sandbox sleeps here."""
        self.clock.advance(timedelta(seconds=seconds))

    def tick(self) -> None:
        """Let a moment pass between two orders: no two arrive in one instant of the market's."""
        self.clock.advance(_MOMENT)

    def halt(self, security_id: SecurityId) -> None:
        """Halt a name (`Ability.HALTS`)."""
        self.prices.halted.add(security_id)

    def resume(self, security_id: SecurityId) -> None:
        """Let a halted name trade again."""
        self.prices.halted.discard(security_id)

    def trouble(self, trouble: Trouble, call: Call, *, nth: int = 1, times: int = 1) -> None:
        """Plan trouble for the nth such call from now on, and `times - 1` calls after it."""
        raise NotImplementedError(trouble, call, nth, times)

    def calm(self) -> None:
        """Forget all planned trouble."""

    def asked(self, call: Call) -> int:
        """Return how many requests of that kind have arrived (`Ability.COUNTS`)."""
        raise NotImplementedError(call)

    def seen(self) -> list[SeenOrder]:
        """Return every order at the broker, refused ones left out (`Ability.LEDGER`)."""
        raise NotImplementedError

    def money_moved(self) -> list[int]:
        """Return the cents of every bank transfer at the broker, from its own side."""
        raise NotImplementedError

    def opened(self) -> list[str]:
        """Return every customer's account at the broker, from its own side (`Ability.LEDGER`)."""
        raise NotImplementedError

    def journaled(self) -> list[int]:
        """Return the cents of every journal at the broker, from its own side (`Ability.LEDGER`)."""
        raise NotImplementedError

    def put_state(self, broker_account: str, word: str) -> None:
        """Put an account into a state in the broker's own word (`Ability.STATES`)."""
        raise NotImplementedError(broker_account, word)

    def issue(self, broker_account: str, on: date) -> bytes:
        """Let the broker issue a document of a day; return what is in it (`Ability.PAPERS`)."""
        raise NotImplementedError(broker_account, on)

    def person(self, name: str) -> Application:
        """Return somebody whom this broker's sandbox lets in; each name is another person."""
        return Application(
            reference=f"kit-{name}",
            email=f"kit-{name}@example.com",
            phone="555-666-7788",
            street=("20 N San Mateo Dr",),
            city="San Mateo",
            state="CA",
            postal_code="94401",
            country="USA",
            given_name=name.capitalize(),
            family_name="Kitsson",
            born_on=date(1990, 1, 31),
            tax_id="666-55-4321",
            tax_country="USA",
            funding_sources=("employment_income",),
            control_person=False,
            finra_affiliated=False,
            politically_exposed=False,
            family_exposed=False,
            agreed_at=OPENING,
            agreed_from="192.0.2.77",
        )

    def bank(self) -> BankDetails:
        """Return a bank account that this broker's sandbox links at once."""
        return BankDetails("kit-bank", "Kit Customer", "021000021", "000123456789")
