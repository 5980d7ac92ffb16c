"""The server itself: real sockets, Alpaca's paths and headers, and faults on request."""

import calendar
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from selectors import EVENT_READ, DefaultSelector
from socket import socketpair
from threading import Lock, RLock, Thread
from typing import Any, Final

from broker_adapters import settings
from broker_adapters.alpaca_server import bodies, trading
from broker_adapters.alpaca_server.book import Book
from broker_adapters.alpaca_server.brokerage import Brokerage
from broker_adapters.alpaca_server.data import MarketData
from broker_adapters.alpaca_server.events import ACTIVITIES, STREAMS, EventLog, stream
from broker_adapters.alpaca_server.exchange import BAD, Answer, Exchange, refused
from broker_adapters.alpaca_server.faults import Fault, Faults, read_fault
from broker_adapters.alpaca_server.router import Request, Router
from broker_adapters.alpaca_server.shelf import Shelf
from broker_adapters.alpaca_server.sockets import Handler
from robo.ports.plugins import PluginContext

ACCOUNT: Final = "alpaca"
START_CENTS: Final = 100_000_00
_WINDOW_SECONDS: Final = 60
_STEP_SECONDS: Final = 0.01


class AlpacaServer:
    """Serves until it is closed; `url` is what a client is pointed at."""

    def __init__(
        self, context: PluginContext, port: int = 0, *, per_minute: int = 200, secret: str = ""
    ) -> None:
        """Bind the socket and serve from a thread of its own.

        Args:
            context: The market: prices, sessions, clock, securities, and where state is kept.
            port: 0 for any that is free.
            per_minute: Requests a minute before it answers 429.
            secret: The secret key that callers must show; empty for any.

        Raises:
            OSError: If the port is taken.
        """
        self.faults = Faults()
        self.secret = secret
        self._lock = RLock()
        self._alive = True
        self._quota = _Quota(per_minute)
        self._shelf = Shelf(context.state_dir / "paper" / "alpaca.db")
        self._log = EventLog(self._shelf, context.clock)
        self._exchange = Exchange(context)
        told = settings.choice(context.settings, "ROBO_PAPER_ACTIVITY_STREAM", "yes", ("yes", "no"))
        self._tells_activities = told == "yes"
        self._floor = trading.Floor(self._exchange, context.calendar, self._log, self._shelf)
        self._router = Router()
        self._books: dict[str, Book] = {}
        self._open_books(context)
        self._add_routes(context)
        self._http = _Server(self)
        try:
            self._http.listen(port)
        except OSError:
            self._close_files()
            raise
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(target=self._http.serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and give the files back."""
        self._alive = False
        self._http.end()
        self._thread.join()
        self._http.server_close()
        with self._lock:
            self._close_files()

    def answer(self, request: Request) -> Answer:
        """Act on a request and return what it is answered."""
        with self._lock:
            if not self._alive:
                return 503, None
            self._exchange.look()
            self._brokerage.advance()
            return self._router.answer(request)

    def stream(self, request: Request) -> Iterator[bytes] | None:
        """Return the text of a stream of events; None if the path is none."""
        name = STREAMS.get(request.path) if request.method == "GET" else None
        if name is None or (name == ACTIVITIES and not self._tells_activities):
            return None

        def after(since: str) -> list[dict[str, Any]]:
            if name != ACTIVITIES:
                return self._log.after(name, since)
            with self._lock:
                # Two hosts of Alpaca's in one: who shows a partner's password sees all accounts.
                rows = self._exchange.rows if request.partner else self._books[ACCOUNT].rows
                return rows.events(since, self._exchange.now())

        return stream(after, request.query, request.fault, self._look, self._sleep, self._running)

    def quota(self) -> tuple[bool, dict[str, str]]:
        """Count a request; return whether there was one left, and the headers that say so."""
        return self._quota.take()

    def _open_books(self, context: PluginContext) -> None:
        start = settings.integer(
            context.settings, "ROBO_PAPER_START_CENTS", START_CENTS, lowest=0, highest=10**15
        )
        book = Book(self._exchange, self._shelf, ACCOUNT, bodies.uuid_of("account", "paper"), start)
        self._books[ACCOUNT] = book
        self._exchange.open(book)
        self._brokerage = Brokerage(self._floor, {}, book.account_id, book)
        self._brokerage.reopen()
        trading.tell_fills(self._floor)
        self._exchange.look()
        self._exchange.reopen()
        for row in self._shelf.all("row", ACCOUNT):
            trading.replay_row(self._floor, book, row)
        for kept in self._shelf.all("amendment", ACCOUNT):
            trading.replay_amendment(self._floor, book, kept)

    def _add_routes(self, context: PluginContext) -> None:
        trading.add_trading(self._router, self._floor, "/v2", lambda _: self._books[ACCOUNT])
        trading.add_market(self._router, self._floor, "/v2")
        assert context.prices is not None
        MarketData(self._exchange, context.prices, context.calendar).add(self._router)
        own = "/v1/trading/accounts/{}"
        trading.add_trading(self._router, self._floor, own, self._brokerage.book)
        trading.add_market(self._router, self._floor, "/v1")
        self._brokerage.add(self._router)
        local = self._router.add
        local("POST", "/_local/faults", self._plan)
        local("DELETE", "/_local/faults", self._clear)
        local(
            "POST",
            "/_local/activities",
            lambda asked: trading.inject(self._floor, self._books[ACCOUNT], asked.body),
        )
        local(
            "POST",
            "/_local/amendments",
            lambda asked: trading.amend(self._floor, self._books[ACCOUNT], asked.body),
        )

    def _plan(self, asked: Request) -> Answer:
        bodies_ = asked.body if isinstance(asked.body, list) else [asked.body]
        try:
            faults: list[Fault] = [read_fault(one) for one in bodies_]
        except ValueError as error:
            return refused(422, BAD, str(error))
        self.faults.plan(*faults)
        return 200, {"planned": len(faults)}

    def _clear(self, _: Request) -> Answer:
        self.faults.clear()
        return 204, None

    def _look(self) -> None:
        with self._lock:
            if self._alive:
                self._exchange.look()
                self._brokerage.advance()

    def _sleep(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while self._alive and time.monotonic() < ends:
            time.sleep(min(_STEP_SECONDS, seconds))

    def _running(self) -> bool:
        return self._alive

    def _close_files(self) -> None:
        self._exchange.close()
        self._shelf.close()


class _Quota:
    """So many requests a minute."""

    def __init__(self, per_minute: int) -> None:
        self._limit = per_minute
        self._lock = Lock()
        self._used = 0
        self._until = 0

    def take(self) -> tuple[bool, dict[str, str]]:
        now = calendar.timegm(time.gmtime())  # as the Date header: the network's time, not ours
        with self._lock:
            if now >= self._until:
                self._used, self._until = 0, now + _WINDOW_SECONDS
            self._used += 1
            left = self._limit - self._used
            return left >= 0, {
                "X-Ratelimit-Limit": str(self._limit),
                "X-Ratelimit-Remaining": str(max(0, left)),
                "X-Ratelimit-Reset": str(self._until),
            }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    timeout = 0  # a connection that is gone again is not waited for

    def __init__(self, owner: AlpacaServer) -> None:
        self.owner: Any = owner
        self._told, self._ending = socketpair()
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)

    def serve(self) -> None:
        """Take connections until `end` is called, which is heard at once."""
        with DefaultSelector() as selector:
            selector.register(self.socket, EVENT_READ)
            selector.register(self._ending, EVENT_READ)
            while all(key.fileobj is not self._ending for key, _ in selector.select()):
                self.handle_request()

    def end(self) -> None:
        """Let `serve` return."""
        self._told.sendall(b"!")

    def server_close(self) -> None:
        """Give every socket back."""
        super().server_close()
        self._told.close()
        self._ending.close()

    def listen(self, port: int) -> None:
        self.server_address = ("127.0.0.1", port)
        try:
            self.server_bind()
            self.server_activate()
        except OSError:
            self.server_close()
            raise
