"""Brings the baskets room's universe into the books."""

from robo.core.ids import SecurityId
from robo.store import universe
from robo.store.database import Database
from robo.store.universe import Listing


def sync_universe(db: Database, name: str = "packaged") -> int:
    """Write the names of a universe that the books do not know yet; return how many they were.

    Args:
        db: Owns one writing transaction.
        name: `packaged`, or `minimal` for the short list written by hand.
    """
    from baskets.universe import load_universe  # noqa: PLC0415 - reads its packages: half a second
    from baskets.universe_sources import MinimalUniverse  # noqa: PLC0415 - the same

    loaded = MinimalUniverse().load() if name == "minimal" else load_universe()
    listings = [
        Listing(
            id=SecurityId(security.id),
            symbol=security.symbol,
            name=security.name,
            sector=security.sector,
            group_key=security.group,
            country=security.country or "",
            size_cents=max(1, security.seed_size_cents),
        )
        for security in loaded.securities
    ]
    with db.write() as session:
        return universe.sync(session, listings)
