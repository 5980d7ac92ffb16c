"""Why something was bought, sold, skipped or rejected: one closed list, shown to customers."""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """A stable code; `SENTENCES` holds the sentence that a customer sees."""

    BUY_UNDERWEIGHT = "buy_underweight"
    BUY_NEW_NAME = "buy_new_name"
    SELL_WITHDRAWAL = "sell_withdrawal"
    SELL_CLOSE_OUT = "sell_close_out"
    SELL_RESTRICTION_CHOICE = "sell_restriction_choice"
    SKIP_BELOW_MINIMUM = "skip_below_minimum"
    SKIP_AT_TARGET = "skip_at_target"
    SKIP_NO_CASH = "skip_no_cash"
    SKIP_UNSETTLED = "skip_unsettled"
    SKIP_NOT_OVERWEIGHT = "skip_not_overweight"
    SKIP_RESTRICTED = "skip_restricted"
    SKIP_HALTED = "skip_halted"
    SKIP_NO_PRICE = "skip_no_price"
    REJECT_UNFUNDED = "reject_unfunded"
    REJECT_EXPIRED = "reject_expired"
    WAIT_KILL_SWITCH = "wait_kill_switch"
    WAIT_MARKET_CLOSED = "wait_market_closed"
    WAIT_CUT_OFF = "wait_cut_off"
    WAIT_HALTED = "wait_halted"
    WAIT_NO_PRICE = "wait_no_price"
    WAIT_STALE_PRICE = "wait_stale_price"
    WAIT_COLLAR = "wait_collar"
    WAIT_BREAK = "wait_break"
    WAIT_OPPOSITE = "wait_opposite"
    WAIT_SELLS = "wait_sells"
    WAIT_REFUSED = "wait_refused"
    WAIT_TURNOVER = "wait_turnover"
    WAIT_NO_ACCOUNT = "wait_no_account"
    WAIT_ACTION = "wait_action"
    WAIT_WHOLE_SHARES = "wait_whole_shares"
    WAIT_OWN_BOOK = "wait_own_book"
    WAIT_UNANSWERED = "wait_unanswered"
    REFUSE_RESTRICTED = "refuse_restricted"
    REFUSE_DUPLICATE = "refuse_duplicate"
    REFUSE_NOTIONAL = "refuse_notional"
    REFUSE_TURNOVER = "refuse_turnover"
    REFUSE_NOT_TRADABLE = "refuse_not_tradable"
    REFUSE_WHOLE_SHARES = "refuse_whole_shares"
    SKIP_NOT_TRADABLE = "skip_not_tradable"
    SKIP_WHOLE_SHARES = "skip_whole_shares"
    BUY_TRACKING = "buy_tracking"
    BUY_STAND_IN = "buy_stand_in"
    SELL_HARVEST = "sell_harvest"
    SELL_TRACKING = "sell_tracking"
    SELL_GAIN_WANTED = "sell_gain_wanted"
    SELL_LEFT_OUT = "sell_left_out"
    SELL_YEAR_TARGET = "sell_year_target"
    SKIP_GAIN_LIMIT = "skip_gain_limit"
    SKIP_WASH_BUY = "skip_wash_buy"
    SKIP_WASH_LOSS = "skip_wash_loss"
    SKIP_NO_PLAN = "skip_no_plan"
    SKIP_KEPT = "skip_kept"
    SKIP_ORDER_OPEN = "skip_order_open"
    SKIP_ACCOUNT_BUSY = "skip_account_busy"
    SKIP_GAINS_WANTED = "skip_gains_wanted"
    SKIP_YEAR_TARGET = "skip_year_target"
    SKIP_SCREENED = "skip_screened"
    SKIP_TRADING_LIMIT = "skip_trading_limit"


_LIMIT: Final = (
    "Not traded: it may not be bought, or sold at a loss, before the day that your trading limits"
    " say."
)
"""Neither whose trade is behind it nor what it was: that may be another person's."""
SENTENCES: dict[Reason, str] = {
    Reason.BUY_UNDERWEIGHT: "Bought because it was furthest below its target weight.",
    Reason.BUY_NEW_NAME: "Bought to open the position your basket calls for.",
    Reason.SELL_WITHDRAWAL: "Sold to pay your withdrawal; it was furthest above its target.",
    Reason.SELL_CLOSE_OUT: "Sold because you asked us to close the account.",
    Reason.SELL_RESTRICTION_CHOICE: "Sold because you told us to sell this restricted name.",
    Reason.SKIP_BELOW_MINIMUM: "Not traded: less than the broker's smallest order; carried over.",
    Reason.SKIP_AT_TARGET: "Not traded: already at or above its target weight.",
    Reason.SKIP_NO_CASH: "Not traded: no cash was left after the names further below target.",
    Reason.SKIP_UNSETTLED: "Not sold: bought with money that has not settled yet.",
    Reason.SKIP_NOT_OVERWEIGHT: "Not sold: other names were further above their targets.",
    Reason.SKIP_RESTRICTED: "Not traded: restricted for you.",
    Reason.SKIP_HALTED: "Not traded: the market halted this name.",
    Reason.SKIP_NO_PRICE: "Not traded: no fresh price.",
    Reason.REJECT_UNFUNDED: "Cancelled before it was sent: the deposit behind it was returned.",
    Reason.REJECT_EXPIRED: "The order expired at the close; what is left is planned again.",
    Reason.WAIT_KILL_SWITCH: "Waiting: an operator has stopped all new orders.",
    Reason.WAIT_MARKET_CLOSED: "Waiting: the market is closed.",
    Reason.WAIT_CUT_OFF: "Waiting: the market closes too soon for it to fill.",
    Reason.WAIT_HALTED: "Waiting: the market halted this name.",
    Reason.WAIT_NO_PRICE: "Waiting: no price.",
    Reason.WAIT_STALE_PRICE: "Waiting: the last price is too old.",
    Reason.WAIT_COLLAR: "Waiting: the price is too far from the last close to be believed.",
    Reason.WAIT_BREAK: "Waiting: the broker's records and ours differ here; a person is looking.",
    Reason.WAIT_OPPOSITE: "Waiting: an order of the other side in this name must end first.",
    Reason.WAIT_SELLS: "Waiting: what is sold first must have been sold.",
    Reason.WAIT_REFUSED: "Waiting until tomorrow: the broker keeps refusing this name.",
    Reason.WAIT_TURNOVER: "Waiting: the firm has traded more today than it may unasked.",
    Reason.WAIT_NO_ACCOUNT: "Waiting: the account is not open at the broker yet.",
    Reason.WAIT_ACTION: "Waiting: the broker has not booked a corporate action of this name yet.",
    Reason.WAIT_WHOLE_SHARES: "Waiting: all orders together are still less than the broker takes.",
    Reason.WAIT_OWN_BOOK: "Waiting: an earlier order in this name must end first.",
    Reason.WAIT_UNANSWERED: "Waiting: the broker has not said yet whether it trades this name.",
    Reason.REFUSE_RESTRICTED: "Cancelled before it was sent: the name is restricted for you.",
    Reason.REFUSE_DUPLICATE: "Cancelled before it was sent: the same order was there already.",
    Reason.REFUSE_NOTIONAL: "Cancelled before it was sent: larger than one order may be.",
    Reason.REFUSE_TURNOVER: "Cancelled before it was sent: the account traded too much today.",
    Reason.REFUSE_NOT_TRADABLE: "Cancelled before it was sent: the broker does not trade it.",
    Reason.REFUSE_WHOLE_SHARES: "Cancelled before it was sent: less than the broker takes.",
    Reason.SKIP_NOT_TRADABLE: "Not traded: the broker does not trade this name at present.",
    Reason.SKIP_WHOLE_SHARES: "Not traded: the broker takes no part of a share of it that small.",
    Reason.BUY_TRACKING: "Bought because it brings the account closer to what it follows.",
    Reason.BUY_STAND_IN: "Bought to stand in for a name that may not be bought now.",
    Reason.SELL_HARVEST: "Sold to take a loss that is worth more than it costs.",
    Reason.SELL_TRACKING: (
        "Sold because it brings the account closer to what it follows, within your tax limit."
    ),
    Reason.SELL_GAIN_WANTED: "Sold to realise a gain that you asked for this year.",
    Reason.SELL_LEFT_OUT: "Sold because it no longer passes what you asked for.",
    Reason.SELL_YEAR_TARGET: "Sold so that this year's net gain or loss ends on your target.",
    Reason.SKIP_GAIN_LIMIT: "Not sold: the gain would go beyond what you allow this year.",
    Reason.SKIP_WASH_BUY: _LIMIT,
    Reason.SKIP_WASH_LOSS: _LIMIT,
    Reason.SKIP_TRADING_LIMIT: _LIMIT,
    Reason.SKIP_NO_PLAN: "Not traded: what was asked for cannot all be met together.",
    Reason.SKIP_KEPT: "Not sold: selling would cost more than it is worth.",
    Reason.SKIP_ORDER_OPEN: "Not sold yet: another order in this name has to end first.",
    Reason.SKIP_ACCOUNT_BUSY: (
        "Not sold yet: the account is blocked, owes for a returned deposit, or is paying out."
    ),
    Reason.SKIP_GAINS_WANTED: "Not sold: a loss would take away from the gains you want.",
    Reason.SKIP_YEAR_TARGET: (
        "Not sold: it would take this year's net gain or loss away from your target."
    ),
    Reason.SKIP_SCREENED: "Not traded: your basket leaves this company out.",
}


def shown(code: str) -> str:
    """Return the code that a customer sees: one for all limits that wash sales set.

    A name that was sold at a loss and one that was bought look alike, and so do one's own trades
    and those of whom one shares a household with: by contrast one would tell the other.
    """
    limits = (Reason.SKIP_WASH_BUY, Reason.SKIP_WASH_LOSS)
    return Reason.SKIP_TRADING_LIMIT.value if code in limits else code
