"""The HTTP API: one module a resource, `BLUEPRINT` in each; order is the order in the docs."""

from typing import Final

MODULES: Final[tuple[str, ...]] = (
    "robo.api.sessions",
    "robo.api.passwords",
    "robo.api.second_factor",
    "robo.api.customers",
    "robo.api.questionnaire",
    "robo.api.agreements",
    "robo.api.banks",
    "robo.api.transfers",
    "robo.api.moves_in",
    "robo.api.plans",
    "robo.api.portfolio",
    "robo.api.choices",
    "robo.api.frontiers",
    "robo.api.households",
    "robo.api.taxes",
    "robo.api.outside",
    "robo.api.orders",
    "robo.api.activity",
    "robo.api.baskets",
    "robo.api.prices",
    "robo.api.events",
    "robo.api.custody",
    "robo.api.operations",
    "robo.api.admin",
)
"""Modules whose `BLUEPRINT` the app registers."""
