"""What waits for a person: transfers that could be several, applications refused, real breaks."""

from dataclasses import dataclass

from sqlmodel import Session

from robo.store import breaks, custody, remittances
from robo.store.breaks import KnownBreak
from robo.store.custody import Custody
from robo.store.remittances import Remittance

LIMIT = 100


@dataclass(frozen=True, slots=True)
class Queue:
    """A firm's open questions, oldest first, at most a hundred of a kind."""

    transfers: tuple[Remittance, ...]
    applications: tuple[Custody, ...]
    breaks: tuple[KnownBreak, ...]


def queue(session: Session, firm_id: str) -> Queue:
    """Return what a firm's operators have to decide; every firm's for ''."""
    open_breaks = breaks.listed(session, "open", firm_id)
    real = [one for one in open_breaks if one.blocks or one.category == "unknown_activity"]
    return Queue(
        tuple(remittances.doubtful(session, firm_id, LIMIT)),
        tuple(custody.refused(session, firm_id, LIMIT)),
        tuple(sorted(real, key=lambda one: (one.found_at, one.id))[:LIMIT]),
    )
