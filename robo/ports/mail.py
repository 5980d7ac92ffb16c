"""How people are told things."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """One message; `id` makes sending it idempotent where the adapter can."""

    id: str
    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """The way out for messages."""

    def send(self, mail: Mail) -> None:
        """Deliver or queue one message.

        Raises:
            OSError: If it could not be handed over; the caller keeps it and tries again.
        """
        ...
