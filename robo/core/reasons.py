"""Why something was bought, sold, skipped or rejected: one closed list, shown to customers."""

from enum import StrEnum


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
    BUY_TRACKING = "buy_tracking"
    BUY_STAND_IN = "buy_stand_in"
    SELL_HARVEST = "sell_harvest"
    SELL_TRACKING = "sell_tracking"
    SELL_GAIN_WANTED = "sell_gain_wanted"
    SELL_LEFT_OUT = "sell_left_out"
    SKIP_GAIN_LIMIT = "skip_gain_limit"
    SKIP_WASH_BUY = "skip_wash_buy"
    SKIP_WASH_LOSS = "skip_wash_loss"
    SKIP_NO_PLAN = "skip_no_plan"
    SKIP_KEPT = "skip_kept"


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
    Reason.BUY_TRACKING: "Bought because it brings the account closer to what it follows.",
    Reason.BUY_STAND_IN: "Bought to stand in for a name that may not be bought now.",
    Reason.SELL_HARVEST: "Sold to take a loss that is worth more than it costs.",
    Reason.SELL_TRACKING: (
        "Sold because it brings the account closer to what it follows, within your tax limit."
    ),
    Reason.SELL_GAIN_WANTED: "Sold to realise a gain that you asked for this year.",
    Reason.SELL_LEFT_OUT: "Sold because it no longer passes what you asked for.",
    Reason.SKIP_GAIN_LIMIT: "Not sold: the gain would go beyond what you allow this year.",
    Reason.SKIP_WASH_BUY: "Not bought: it was sold at a loss within 30 days.",
    Reason.SKIP_WASH_LOSS: "Not sold: bought within 30 days, so the loss would not count now.",
    Reason.SKIP_NO_PLAN: "Not traded: what was asked for cannot all be met together.",
    Reason.SKIP_KEPT: "Not sold: selling would cost more than it is worth.",
}
