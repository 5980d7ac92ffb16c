"""What an account is worth and what happened to it: reads only; see docs/money.md."""

from robo.services.reporting.pricing import PriceBoard
from robo.services.reporting.telling import Activity, OrderLine, activity, order_lines
from robo.services.reporting.valuing import Holding, PortfolioView, portfolio

__all__ = [
    "Activity",
    "Holding",
    "OrderLine",
    "PortfolioView",
    "PriceBoard",
    "activity",
    "order_lines",
    "portfolio",
]
