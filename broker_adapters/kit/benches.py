"""The benches of brokers that are in this package."""

from collections.abc import Mapping

from broker_adapters.kit.bench import OF_GROUPS, Ability, Bench, SeenOrder, Tempo
from broker_adapters.paper import PaperBroker
from robo.ports.broker import BrokerOrderState

_IN_PARTS = {"ROBO_PAPER_PARTIAL_PPM": "1000000", "ROBO_PAPER_PARTIAL_SECONDS": "20"}


def paper_settings(tempo: Tempo) -> Mapping[str, str]:
    """Return the paper broker's settings for a tempo."""
    return _IN_PARTS if tempo is Tempo.PARTS else {"ROBO_PAPER_PARTIAL_PPM": "0"}


def seen_by(paper: PaperBroker) -> list[SeenOrder]:
    """Return the orders that a paper broker has taken."""
    return [
        SeenOrder(one.client_id, one.account, one.symbol, one.side, one.notional_cents, one.nanos)
        for one in paper.records()
        if one.state is not BrokerOrderState.REJECTED
    ]


class PaperBench(Bench):
    """The paper broker: everything but a wire, which it does not have."""

    accounts = ("kit-1", "kit-2")
    abilities = frozenset(Ability) - {Ability.COUNTS, *OF_GROUPS}
    page = 100

    def settings(self, tempo: Tempo) -> Mapping[str, str]:
        """Return the paper broker's settings for a tempo."""
        return paper_settings(tempo)

    def seen(self) -> list[SeenOrder]:
        """Return the orders in the paper broker's file."""
        broker = self.made[-1]
        assert isinstance(broker, PaperBroker)
        return seen_by(broker)
