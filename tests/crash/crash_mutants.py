"""Wrong protocols, one line each: undisturbed they work, and only a crash shows what is wrong.

Most are a cut: one transaction made two, at a place where the truth needs one. The others are a
broker that forgets which ids it knows, with and without the question that makes it harmless.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from crash_stage import Stage

from broker_adapters.paper import PaperBroker
from robo.core.ids import new_id
from robo.services import adjusting, booking, hearing, ordering, trading, withdrawing
from robo.services.funding import collecting


@dataclass(frozen=True)
class Mutant:
    """A way to be wrong, applied in a child, and the scene in which a crash shows it."""

    name: str
    scene: str
    day: int
    apply: Callable[[Stage], None]


def _cut(module: Any, name: str, *, after: bool = False) -> Callable[[Stage], None]:
    """Return the mutation that ends the transaction before (or after) a call and starts another."""

    def apply(_stage: Stage) -> None:
        whole = getattr(module, name)

        def in_two(session: Any, *args: Any, **kwargs: Any) -> Any:
            if not after:
                _two(session)
            answer = whole(session, *args, **kwargs)
            if after:
                _two(session)
            return answer

        setattr(module, name, in_two)

    return apply


def _two(session: Any) -> None:
    session.connection().exec_driver_sql("COMMIT")
    session.connection().exec_driver_sql("BEGIN IMMEDIATE")


def _forgetful_broker(_stage: Stage) -> None:
    """Let the broker take an id that it knows as a new order, as a broker without ids would."""
    submit = PaperBroker._submit

    def forgetful(self: PaperBroker, tables: Any, ticket: Any, now: Any) -> Any:
        if tables.order(ticket.client_id) is not None:
            ticket = replace(ticket, client_id=new_id("blk"))
        return submit(self, tables, ticket, now)

    PaperBroker._submit = forgetful  # type: ignore[method-assign]


def _no_question(stage: Stage) -> None:
    """Tell a block again without asking whether the broker has it."""
    _forgetful_broker(stage)
    heal = trading.heal

    def hasty(db: Any, broker: Any, clock: Any, policy: Any, *desk: Any) -> Any:
        class Deaf:
            def find(self, _client_id: str) -> None:
                return None

            def __getattr__(self, name: str) -> Any:
                return getattr(broker, name)

        return heal(db, Deaf(), clock, policy, *desk)

    trading.heal = hasty


def _told_before_written(stage: Stage) -> None:
    """Tell the broker of blocks first and write them down afterwards."""
    _forgetful_broker(stage)
    intend, write = trading._intend, trading.blocks.write

    def unwritten(db: Any, broker: Any, window: str, now_micros: int, sizes: Any) -> Any:
        args = db, broker, window, now_micros, sizes
        trading.blocks.write = lambda *_: None
        outcomes = [trading._tell(broker, one) for one in intend(*args)]
        trading.blocks.write = write
        intend(*args)
        trading._record(db, outcomes, now_micros)
        return []

    trading._intend = unwritten


def _ids_of_our_own(stage: Stage) -> None:
    """Take an execution that comes again for a new one, and move the cursor on its own."""
    _cut(hearing.cursors, "move_cursor")(stage)
    accepted, booked = hearing.tellings.accepted, hearing.booked
    known: set[str] = set()

    def nothing_known(session: Any, ids: Any) -> set[str]:
        known.update(accepted(session, ids))
        return set()

    def booked_again(execution: Any) -> Any:
        made = booked(execution)
        return replace(made, id=new_id("pex")) if made.id in known else made

    hearing.tellings.accepted, hearing.booked = nothing_known, booked_again


MUTANTS: Final = (
    Mutant(
        "cash reserved before its orders are written",
        "invest-cash",
        2,
        _cut(ordering.orders, "write"),
    ),
    Mutant("a resend without a question", "trade-window", 2, _no_question),
    Mutant("the broker told before the block is written", "trade-window", 2, _told_before_written),
    Mutant("an execution that comes again taken for a new one", "book-fills", 2, _ids_of_our_own),
    Mutant("a fill before its order's progress", "book-fills", 2, _cut(booking.orders, "advance")),
    Mutant("shares before their lots", "book-fills", 2, _cut(booking.lots, "apply_events")),
    Mutant(
        "the bank's news read before it is applied",
        "collect-bank",
        2,
        _cut(collecting.cursors, "move_cursor", after=True),
    ),
    Mutant(
        "a withdrawal before its promise",
        "ask to withdraw",
        4,
        _cut(withdrawing.withdrawals, "add", after=True),
    ),
    Mutant("an action applied before it is marked", "adjust", 3, _cut(adjusting.lots, "fulfil")),
    Mutant(
        "a forgetful broker, asked before it is told again", "trade-window", 2, _forgetful_broker
    ),
)
