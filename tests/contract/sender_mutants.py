"""What a sloppy sender does to orders, and the numbered checks that must catch it.

The kit holds adapters to their part; what lies above the port (the order of sells and buys, when
a cursor moves, what a silence means) is the sender's, and is switched wrong here, one at a time.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from desk import broker_equals_books

from robo.core.errors import BrokerUnavailableError
from robo.core.reasons import Reason
from robo.ports.broker import ExecutionPage, Side, SubmitResult, SubmitStatus
from robo.services import healing, hearing, telling, trading
from robo.services.ordering import Trade
from robo.store import cursors

BUY, SELL = Reason.BUY_UNDERWEIGHT, Reason.SELL_WITHDRAWAL
PRICE = 10_000_000
CHECKS = {}
"""Number -> check; its docstring is its sentence."""
MUTANTS = {}
"""Name -> (what is wrong, number of the check that catches it, how to switch it on)."""


def check(number):
    def note(play):
        CHECKS[number] = play
        return play

    return note


def mutant(number):
    def note(switch_on):
        fault = switch_on.__doc__.strip().splitlines()[0]
        MUTANTS[switch_on.__name__] = (fault, number, switch_on)
        return switch_on

    return note


def bought(desk, count=2, cents=1_00):
    """Let accounts buy and fill; return them."""
    accounts = desk.open("firm_a", count)
    desk.fund(dict.fromkeys(accounts, 100_00))
    desk.plan({one: [Trade(1, BUY, buy_cents=cents)] for one in accounts}, "start")
    desk.send()
    for client_id in desk.broker.orders:
        desk.broker.fill_at(client_id, PRICE)
    desk.collect()
    return accounts


@check("S-01")
def sells_are_told_before_buys(desk):
    """In a window every sell is told before the first buy."""
    first, second = bought(desk)
    told = len(desk.broker.told)
    desk.plan({first: [Trade(2, BUY, buy_cents=2_00)]}, "buys")
    desk.plan({second: [Trade(1, SELL, sell_nanos=50_000)]}, "sells")

    desk.send()

    assert [one.side for one in desk.broker.told[told:]] == [Side.SELL, Side.BUY]


@check("S-02")
def a_cursor_moves_with_what_it_read(desk):
    """If a page's booking fails, the page is read again: its executions are booked in the end."""
    accounts = desk.open("firm_a", 2)
    desk.fund(dict.fromkeys(accounts, 100_00))
    desk.plan({one: [Trade(1, BUY, buy_cents=1_00)] for one in accounts}, "start")
    desk.send()
    desk.broker.fill_at(next(iter(desk.broker.orders)), PRICE)
    take = hearing.take

    def crash(*given):
        hearing.take = take
        raise RuntimeError(given)

    hearing.take = crash
    with suppress(RuntimeError):
        desk.collect()
    desk.collect()

    broker_equals_books(desk, "firm_a")
    assert desk.column("SELECT state FROM orders") == ["filled", "filled"]


@check("S-03")
def a_silence_is_healed_by_asking(desk):
    """An order whose answer was lost is asked for, not told again."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.plan({account: [Trade(1, BUY, buy_cents=1_00)]}, "start")
    desk.broker.vanish = 1

    desk.send()
    desk.send()

    assert len(desk.broker.told) == 1
    assert desk.column("SELECT state FROM block") == ["open"]


@check("S-04")
def a_silence_is_no_refusal(desk):
    """An order whose answer was lost is not freed to be planned again while it may be live."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.plan({account: [Trade(1, BUY, buy_cents=1_00)]}, "start")
    desk.broker.vanish = 1

    desk.send()
    desk.collect()

    assert desk.column("SELECT state FROM orders") == ["sending"]
    assert desk.held(account).cash_cents == 99_00


@check("S-05")
def a_repetition_is_booked_once(desk):
    """Executions that are told again are booked once."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.plan({account: [Trade(1, BUY, buy_cents=8_00)]}, "start")
    desk.send()
    (client_id,) = desk.broker.orders
    desk.broker.rewind = 1
    for _ in range(3):
        desk.broker.fill(client_id, 100_000_000, 1_00)
        desk.collect()

    assert desk.scalar("SELECT sum(executed_cents) FROM block") == 3_00
    broker_equals_books(desk, "firm_a")
    assert desk.findings() == []


@check("S-06")
def a_strangers_order_is_not_adopted(desk):
    """An order of another size under our id is put before a person, never taken for ours."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.plan({account: [Trade(1, BUY, buy_cents=1_00)]}, "start")
    desk.broker.vanish = 1
    desk.send()
    (client_id,) = desk.broker.orders
    order = desk.broker.orders[client_id]
    desk.broker.orders[client_id] = replace(order, notional_cents=7_00)

    desk.send()

    assert desk.column("SELECT state FROM block") == ["unknown"]
    assert "break.order" in desk.column("SELECT kind FROM event")


@check("S-07")
def a_running_total_overfills_nothing(desk):
    """Running totals told as executions cannot make us book more than was ordered."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.plan({account: [Trade(1, BUY, buy_cents=4_00)]}, "start")
    desk.send()
    (client_id,) = desk.broker.orders
    for cents in (1_00, 2_00, 3_00, 4_00):
        desk.broker.fill(client_id, cents * 1_000_000, cents)
    desk.collect()

    booked = desk.scalar("SELECT sum(executed_cents) FROM block")
    assert booked <= 4_00
    assert "break.execution" in desk.column("SELECT kind FROM event")


@check("S-08")
def a_throttle_is_told_again_with_the_same_id(desk):
    """What the broker was too busy to take is told again under the same id."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.plan({account: [Trade(1, BUY, buy_cents=1_00)]}, "start")
    desk.broker.answers = [SubmitStatus.THROTTLED]

    desk.send()
    desk.send()

    assert len({one.client_id for one in desk.broker.told}) == 1
    assert len(desk.broker.orders) == 1


@check("S-09")
def a_refusal_is_no_proof_after_a_silence(desk):
    """A refusal of a second telling ends nothing while the first may have arrived."""
    (account,) = desk.open("firm_a", 1)
    desk.fund({account: 100_00})
    desk.broker.can = {"find_lag_seconds": 60}
    desk.plan({account: [Trade(1, BUY, buy_cents=1_00)]}, "start")
    desk.broker.vanish = 1
    desk.send()
    desk.broker.lag = dict.fromkeys(desk.broker.orders, 4)
    desk.broker.answers = [SubmitStatus.REJECTED]
    for _ in range(5):
        desk.clock.advance(timedelta(seconds=40))
        desk.send()
        desk.collect()

    assert len(desk.broker.told) == 2
    assert desk.column("SELECT state FROM orders") == ["sending"]
    assert desk.column("SELECT code FROM block") == ["adopted"]


# the faults


@mutant("S-01")
def buys_before_sells(patch):
    """Buys are told first."""
    tell_all = trading._tell_all

    def turned(db, broker, todo, gate):
        return tell_all(db, broker, sorted(todo, key=lambda one: one.side), gate)

    patch.setattr(trading, "_tell_all", turned)


@mutant("S-02")
def cursor_before_commit(patch):
    """The cursor is moved on its own, before what it read is booked."""

    def hasty(db, keyring, broker, _clock):
        while True:
            with db.read() as session:
                after = cursors.cursor(session, hearing.CURSOR)
            page = broker.executions(after)
            if not page.executions:
                return
            with db.write() as session:
                cursors.move_cursor(session, hearing.CURSOR, page.cursor)
            with db.write() as session:
                hearing.take(session, keyring, page.executions, 1)

    patch.setattr(hearing, "accept", hasty)


@mutant("S-03")
def told_again_blindly(patch):
    """An order that was not heard of is told again without asking."""
    patch.setattr(healing, "verdict", lambda *_: healing.Verdict(healing.Step.TELL))


@mutant("S-04")
def silence_is_a_refusal(patch):
    """No answer means rejected."""
    tell = telling.tell

    class Denying:
        def __init__(self, broker):
            self._broker = broker

        def submit(self, ticket):
            try:
                return self._broker.submit(ticket)
            except BrokerUnavailableError:
                return SubmitResult(SubmitStatus.REJECTED, code="failed")

        def __getattr__(self, name):
            return getattr(self._broker, name)

    patch.setattr(trading, "_tell", lambda broker, block: tell(Denying(broker), block))


@mutant("S-05")
def executions_by_place(patch):
    """An execution's place on the page is its id, so a repetition is a new one."""
    accept = hearing.accept

    def renamed(db, keyring, broker, clock):
        class Renaming:
            def executions(self, after):
                page = broker.executions(after)
                named = [replace(one, id=f"{after}#{i}") for i, one in enumerate(page.executions)]
                return ExecutionPage(named, page.cursor)

        accept(db, keyring, Renaming(), clock)

    patch.setattr(hearing, "accept", renamed)


@mutant("S-06")
def whatever_has_our_id_is_ours(patch):
    """A duplicate's size is not compared."""
    patch.setattr(telling, "same", lambda *_: True)


@mutant("S-07")
def sizes_are_not_doubted(patch):
    """What the broker tells is booked, however much it is."""

    def believe(self, one, _ours):
        self.trades.append(one)

    patch.setattr(hearing._Heard, "_sort_trade", believe)


@mutant("S-08")
def new_id_after_a_throttle(patch):
    """What was throttled is told again under a new id."""
    ticket, told = telling.ticket, set()

    def renamed(block):
        made = ticket(block)
        name = f"{made.client_id}-{len(told)}" if block.id in told else made.client_id
        told.add(block.id)
        return replace(made, client_id=name)

    patch.setattr(telling, "ticket", renamed)


@mutant("S-09")
def refusals_are_always_final(patch):
    """A refusal ends an order whatever was not heard before."""

    def final(block, result):
        return telling.rejected(block.id, result.code)

    patch.setattr(telling, "_refused", final)
