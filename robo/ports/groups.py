"""A broker's optional groups, as protocols: asked for here, so that nobody else casts."""

from typing import cast

from robo.ports.broker import AccountModel, Broker
from robo.ports.brokerage import Events, Funding, Onboarding
from robo.ports.terms import Group


def keeps_apart(broker: Broker) -> bool:
    """Return whether the broker keeps an account for each customer account."""
    return broker.capabilities.account_model is AccountModel.SEGREGATED


def onboarding(broker: Broker) -> Onboarding | None:
    """Return how accounts are opened there; None where it keeps none each, or opens none for us."""
    offered = keeps_apart(broker) and Group.ONBOARDING in broker.capabilities.groups
    return cast("Onboarding", broker) if offered else None


def funding(broker: Broker) -> Funding | None:
    """Return how money moves in and out there; None where customers' money sits at a bank."""
    offered = keeps_apart(broker) and Group.FUNDING in broker.capabilities.groups
    return cast("Funding", broker) if offered else None


def events(broker: Broker) -> Events | None:
    """Return what tells of accounts and transfers, if it does."""
    return cast("Events", broker) if Group.EVENTS in broker.capabilities.groups else None
