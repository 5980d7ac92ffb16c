"""A bench whose broker is a practice server on a real socket."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from broker_adapters.kit.bench import Bench, Call, SeenOrder, Tempo, Trouble
from broker_adapters.kit.benches import paper_settings
from broker_adapters.kit.counter import Counter
from broker_adapters.kit.wire import Service, WireServer
from robo.ports.broker import Broker
from robo.ports.plugins import PluginContext


class CounterService(Service, Protocol):
    """A service whose market is a counter of the kit."""

    @property
    def counter(self) -> Counter:
        """Return where its orders go."""
        ...


class WireBench(Bench):
    """Starts the server with the first adapter; its troubles are the server's."""

    def __init__(self, create: Callable[[PluginContext], Broker], folder: Path) -> None:
        """Keep the factory and the folder; nothing listens yet."""
        super().__init__(create, folder)
        self.url = ""
        self._server: WireServer | None = None
        self._service: CounterService | None = None

    def serve(self, market: PluginContext) -> CounterService:
        """Return what the server serves over a market."""
        raise NotImplementedError(market)

    @property
    def service(self) -> CounterService:
        """Return what is being served."""
        assert self._service is not None
        return self._service

    @property
    def server(self) -> WireServer:
        """Return the server."""
        assert self._server is not None
        return self._server

    def open(self, tempo: Tempo) -> Broker:
        """Return a new adapter, which finds the server in its settings."""
        if self._server is None:
            self._service = self.serve(self.market(paper_settings(tempo), self.folder / "broker"))
            self._server = WireServer(self._service)
            self.url = self._server.url
        return super().open(tempo)

    def close(self) -> None:
        """Close the adapters, the server and its market."""
        super().close()
        if self._server is not None:
            self._server.close()
            self.service.counter.close()

    def trouble(self, trouble: Trouble, call: Call, *, nth: int = 1, times: int = 1) -> None:
        """Plan trouble at the server."""
        self.server.plan(trouble, call, nth, times)

    def calm(self) -> None:
        """Forget all planned trouble."""
        self.server.calm()

    def asked(self, call: Call) -> int:
        """Return how many requests of a kind have come."""
        return self.server.asked(call)

    def seen(self) -> list[SeenOrder]:
        """Return the orders that the broker has taken."""
        return self.service.counter.seen()
