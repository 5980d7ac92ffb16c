"""Group `in_kind` of a broker: positions that a customer brings from an account elsewhere.

What really happens (an ACATS transfer in the United States) takes days and concerns whole shares;
fractions are sold by the other firm and come as cash. Basis and dates follow as that firm states
them; here they are what the customer told us.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol

from robo.core.ids import SecurityId


class MoveInState(StrEnum):
    """How far positions are that a customer brings from another firm."""

    PENDING = "pending"
    """Taken; the other firm has not delivered."""
    RECEIVED = "received"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SharesIn:
    """Shares of one security that are to come."""

    security_id: SecurityId
    symbol: str
    nanos: int


@dataclass(frozen=True, slots=True)
class MoveInRequest:
    """Positions to be brought from another firm, all or none; `id` is ours."""

    id: str
    broker_account: str
    positions: Sequence[SharesIn]
    """One entry a security."""


@dataclass(frozen=True, slots=True)
class MoveIn:
    """A transfer of positions as the broker knows it."""

    id: str
    state: MoveInState
    on: date | None = None
    """The business date on which the shares arrived, once they have."""
    code: str = ""
    """Why it was refused."""


class InKind(Protocol):
    """Positions from an account of the same owner at another firm."""

    @property
    def in_kind_decimals(self) -> int:
        """Return how many decimals of a share can be brought: 0 for whole shares only."""
        ...

    def move_in(self, request: MoveInRequest) -> MoveIn:
        """Ask for a transfer, or hear again how far it is: the same id asks once.

        The shares arrive during one of these calls, never between two of them: who calls after a
        day's corporate actions knows that they came with the rights of the days that follow.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...

    def moved_in(self, request_id: str) -> MoveIn | None:
        """Return a transfer as it stands, moving nothing; None if it was never asked for.

        Raises:
            BrokerUnavailableError: If the broker did not answer.
        """
        ...
