"""Money in: linked banks, deposits, returns, settlement, recurring plans; see docs/money.md."""

from robo.services.funding.carrying import carry
from robo.services.funding.collecting import collect
from robo.services.funding.deciding import Decision, Verdict, decide
from robo.services.funding.hearing import hear_transfers
from robo.services.funding.linking import link_bank, linked, remove_link
from robo.services.funding.planning import (
    PlanChange,
    change_plan,
    create_plan,
    end_plan,
    run_plans,
)
from robo.services.funding.rails import rail
from robo.services.funding.requesting import (
    DepositOrder,
    request_and_tell,
    request_deposit,
    require_payout,
    tell_bank,
)
from robo.services.funding.returning import cure, report_overdue, sweep_cures
from robo.services.funding.settling import hold_until, settle_proceeds, withdrawable_cents

__all__ = [
    "Decision",
    "DepositOrder",
    "PlanChange",
    "Verdict",
    "carry",
    "change_plan",
    "collect",
    "create_plan",
    "cure",
    "decide",
    "end_plan",
    "hear_transfers",
    "hold_until",
    "link_bank",
    "linked",
    "rail",
    "remove_link",
    "report_overdue",
    "request_and_tell",
    "request_deposit",
    "require_payout",
    "run_plans",
    "settle_proceeds",
    "sweep_cures",
    "tell_bank",
    "withdrawable_cents",
]
