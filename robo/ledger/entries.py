"""Transfers: one source, one target, a positive amount. Nothing unbalanced can be written down."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from robo.core.ids import FirmId, TransferId
from robo.core.money import INT64_MAX
from robo.ledger import chart

FIELD_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount of one asset that moves from one book to another; `id` makes it happen once."""

    id: TransferId
    kind: str
    source: str
    target: str
    asset: str
    amount: int
    cause: str
    """Id of what caused it: a deposit, an order, an execution, a corporate action."""

    def __post_init__(self) -> None:
        """Refuse what no ledger may hold."""
        assert 0 < self.amount <= INT64_MAX, "amounts are positive and fit 64 bits"
        assert self.source != self.target
        one, other = chart.account_of(self.source), chart.account_of(self.target)
        assert one is None or other is None or one == other, "never between two customers"


def chain_of(transfer: Transfer, firm_id: FirmId) -> str:
    """Return the one chain a transfer belongs to: the customer account it names, else the firm."""
    account = chart.account_of(transfer.source) or chart.account_of(transfer.target)
    if account is not None:
        return account
    return chart.firm_of(transfer.source) or chart.firm_of(transfer.target) or firm_id


def fold(transfers: Iterable[Transfer]) -> dict[tuple[str, str], int]:
    """Return the balance of every (book, asset) after the transfers; zero balances included."""
    balances: dict[tuple[str, str], int] = {}
    for transfer in transfers:
        source, target = (transfer.source, transfer.asset), (transfer.target, transfer.asset)
        balances[source] = balances.get(source, 0) - transfer.amount
        balances[target] = balances.get(target, 0) + transfer.amount
    return balances


def zero_sums(balances: dict[tuple[str, str], int]) -> dict[str, int]:
    """Return the assets whose balances do not sum to zero; an empty answer is a clean ledger."""
    sums: dict[str, int] = {}
    for (_, asset), amount in balances.items():
        sums[asset] = sums.get(asset, 0) + amount
    return {asset: amount for asset, amount in sums.items() if amount}
