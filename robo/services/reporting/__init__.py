"""What an account is worth and what happened to it: reads only; see docs/money.md."""

from robo.services.reporting.listing import (
    LotLine,
    WithdrawalLine,
    account,
    accounts,
    deposit,
    deposits,
    lots,
    plans,
    withdrawal,
    withdrawal_line,
    withdrawals,
)
from robo.services.reporting.pricing import PriceBoard, PriceLine, price_lines
from robo.services.reporting.telling import (
    Activity,
    OrderLine,
    activity,
    order_line,
    order_lines,
)
from robo.services.reporting.valuing import Holding, PortfolioView, portfolio

__all__ = [
    "Activity",
    "Holding",
    "LotLine",
    "OrderLine",
    "PortfolioView",
    "PriceBoard",
    "PriceLine",
    "WithdrawalLine",
    "account",
    "accounts",
    "activity",
    "deposit",
    "deposits",
    "lots",
    "order_line",
    "order_lines",
    "plans",
    "portfolio",
    "price_lines",
    "withdrawal",
    "withdrawal_line",
    "withdrawals",
]
