"""Accounts that the broker keeps for each customer: applied for, followed, closed; docs/custody.md.

Nothing here runs where the broker keeps one account for all (`robo.ports.groups`).
"""

from robo.services.keeping.applying import apply, retry
from robo.services.keeping.ending import end
from robo.services.keeping.listening import hear_accounts
from robo.services.keeping.standing import Standing, require_offered, standing
from robo.services.keeping.watching import watch

__all__ = [
    "Standing",
    "apply",
    "end",
    "hear_accounts",
    "require_offered",
    "retry",
    "standing",
    "watch",
]
