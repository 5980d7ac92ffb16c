"""Which orders of an account took the place of others, and how both are told."""

from collections.abc import Mapping
from typing import Any, Final

from broker_adapters.alpaca_server.shelf import Shelf

_KIND: Final = "replaced"


class Replacements:
    """Pairs of orders, kept in the server's file."""

    def __init__(self, shelf: Shelf, account: str) -> None:
        """Begin with what the file knows of an account."""
        self._shelf, self._account = shelf, account
        self._after: dict[str, Mapping[str, Any]] = {}
        self._before: dict[str, str] = {}
        for kept in shelf.all(_KIND, account):
            self._know(kept)

    def remember(self, old_id: str, new_id: str, at: str) -> None:
        """Keep that an order was replaced by another at an instant."""
        kept = {"old": old_id, "new": new_id, "at": at}
        self._shelf.put(_KIND, [(old_id, self._account, kept)])
        self._know(kept)

    def told(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return an order's body with what it replaces, and what replaced it."""
        after = self._after.get(body["id"])
        if after is not None:
            ended = {"status": "replaced", "canceled_at": None, "updated_at": after["at"]}
            body = {**body, **ended, "replaced_at": after["at"], "replaced_by": after["new"]}
        return {**body, "replaces": self._before.get(body["id"])}

    def _know(self, kept: Mapping[str, Any]) -> None:
        self._after[str(kept["old"])] = kept
        self._before[str(kept["new"])] = str(kept["old"])
