"""Recipes: from an event to its transfers. The ids are children of the cause, so twice is once."""

from collections.abc import Iterable

from robo.core.ids import AccountId, FirmId, SecurityId, TransferId, child_id
from robo.ledger import chart
from robo.ledger.entries import Transfer


def move(
    kind: str, source: str, target: str, asset: str, amount: int, cause: str
) -> list[Transfer]:
    """Return the transfer, or nothing for an amount of zero; the id follows from its parts."""
    if amount == 0:
        return []
    transfer_id = TransferId(child_id("tr", cause, kind, source, target, asset))
    return [Transfer(transfer_id, kind, source, target, asset, amount, cause)]


def deposit(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return money arriving from the bank."""
    return move("deposit", chart.STREET_BANK, chart.cash(account_id), chart.USD, cents, cause)


def advance(firm_id: FirmId, account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return the firm lending a pending deposit."""
    return move("advance", chart.advance(firm_id), chart.cash(account_id), chart.USD, cents, cause)


def repay_advance(firm_id: FirmId, cents: int, cause: str) -> list[Transfer]:
    """Return the bank's money filling the advance."""
    return move(
        "advance_repaid", chart.STREET_BANK, chart.advance(firm_id), chart.USD, cents, cause
    )


def undo_advance(
    firm_id: FirmId, account_id: AccountId, cash_cents: int, owed_cents: int, cause: str
) -> list[Transfer]:
    """Return a lent deposit that never came: free cash goes back, the rest becomes receivable."""
    lent = chart.advance(firm_id)
    return [
        *move("advance_undone", chart.cash(account_id), lent, chart.USD, cash_cents, cause),
        *move("advance_undone", chart.receivable(firm_id), lent, chart.USD, owed_cents, cause),
    ]


def reserve(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return free cash becoming promised to orders."""
    source, target = chart.cash(account_id), chart.reserved(account_id)
    return move("reserve", source, target, chart.USD, cents, cause)


def release(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return promised cash becoming free again."""
    source, target = chart.reserved(account_id), chart.cash(account_id)
    return move("release", source, target, chart.USD, cents, cause)


def buy(
    account_id: AccountId, security_id: SecurityId, nanos: int, cents: int, cause: str
) -> list[Transfer]:
    """Return shares bought with reserved cash."""
    asset = chart.shares(security_id)
    return [
        *move("buy", chart.reserved(account_id), chart.STREET_MARKET, chart.USD, cents, cause),
        *move("buy", chart.STREET_MARKET, chart.holdings(account_id), asset, nanos, cause),
    ]


def sell(
    account_id: AccountId,
    security_id: SecurityId,
    nanos: int,
    cents: int,
    fee_cents: int,
    cause: str,
) -> list[Transfer]:
    """Return shares sold: gross proceeds arrive unsettled, then the fee leaves them."""
    asset, waiting = chart.shares(security_id), chart.unsettled(account_id)
    return [
        *move("sell", chart.holdings(account_id), chart.STREET_MARKET, asset, nanos, cause),
        *move("sell", chart.STREET_MARKET, waiting, chart.USD, cents, cause),
        *move("fee", waiting, chart.STREET_FEES, chart.USD, fee_cents, cause),
    ]


def absorb_fee(firm_id: FirmId, cents: int, cause: str) -> list[Transfer]:
    """Return the part of a fee that a sale did not bring in: the firm pays it."""
    return move("fee", chart.rounding(firm_id), chart.STREET_FEES, chart.USD, cents, cause)


def own_buy(
    firm_id: FirmId, security_id: SecurityId, nanos: int, cents: int, fee_cents: int, cause: str
) -> list[Transfer]:
    """Return shares coming to the firm's own book, and the cash that leaves it.

    Args:
        firm_id: Whose book.
        security_id: What.
        nanos: Nanoshares that come.
        cents: What they cost.
        fee_cents: Fees that come back with them (a sale that was taken back).
        cause: What it follows from.
    """
    own, asset = chart.inventory(firm_id), chart.shares(security_id)
    return [
        *move("own_buy", own, chart.STREET_MARKET, chart.USD, cents, cause),
        *move("own_buy", chart.STREET_MARKET, own, asset, nanos, cause),
        *move("own_fee", chart.STREET_FEES, own, chart.USD, fee_cents, cause),
    ]


def own_sell(
    firm_id: FirmId, security_id: SecurityId, nanos: int, cents: int, fee_cents: int, cause: str
) -> list[Transfer]:
    """Return shares leaving the firm's own book, which may go below nothing, for cash less fees."""
    own, asset = chart.inventory(firm_id), chart.shares(security_id)
    return [
        *move("own_sell", own, chart.STREET_MARKET, asset, nanos, cause),
        *move("own_sell", chart.STREET_MARKET, own, chart.USD, cents, cause),
        *move("own_fee", own, chart.STREET_FEES, chart.USD, fee_cents, cause),
    ]


def settle(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return proceeds becoming free cash on their settlement date."""
    source, target = chart.unsettled(account_id), chart.cash(account_id)
    return move("settle", source, target, chart.USD, cents, cause)


def dividend(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return a cash dividend, or a merger's cash."""
    return move("dividend", chart.STREET_MARKET, chart.cash(account_id), chart.USD, cents, cause)


def shares_in(
    account_id: AccountId, security_id: SecurityId, nanos: int, cause: str
) -> list[Transfer]:
    """Return shares that a corporate action gives."""
    asset = chart.shares(security_id)
    return move("action", chart.STREET_MARKET, chart.holdings(account_id), asset, nanos, cause)


def shares_out(
    account_id: AccountId, security_id: SecurityId, nanos: int, cause: str
) -> list[Transfer]:
    """Return shares that a corporate action takes."""
    asset = chart.shares(security_id)
    return move("action", chart.holdings(account_id), chart.STREET_MARKET, asset, nanos, cause)


def arrive(
    account_id: AccountId, security_id: SecurityId, nanos: int, cause: str
) -> list[Transfer]:
    """Return shares that come from the customer's account at another firm."""
    asset = chart.shares(security_id)
    return move("move_in", chart.STREET_TRANSFERS, chart.holdings(account_id), asset, nanos, cause)


def promise_withdrawal(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return settled cash becoming promised to a withdrawal."""
    source, target = chart.cash(account_id), chart.outgoing(account_id)
    return move("withdraw", source, target, chart.USD, cents, cause)


def pay_withdrawal(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return promised money leaving for the bank."""
    return move("paid", chart.outgoing(account_id), chart.STREET_BANK, chart.USD, cents, cause)


def undo_withdrawal(account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return promised money becoming free again."""
    source, target = chart.outgoing(account_id), chart.cash(account_id)
    return move("withdraw_undone", source, target, chart.USD, cents, cause)


def return_deposit(
    firm_id: FirmId, account_id: AccountId, cash_cents: int, owed_cents: int, cause: str
) -> list[Transfer]:
    """Return a returned deposit: free cash goes back first, the firm carries what is invested."""
    return [
        *move("returned", chart.cash(account_id), chart.STREET_BANK, chart.USD, cash_cents, cause),
        *move(
            "returned", chart.receivable(firm_id), chart.STREET_BANK, chart.USD, owed_cents, cause
        ),
    ]


def cure(firm_id: FirmId, account_id: AccountId, cents: int, cause: str) -> list[Transfer]:
    """Return a customer's cash filling what a returned deposit left owing."""
    return move("cure", chart.cash(account_id), chart.receivable(firm_id), chart.USD, cents, cause)


def total(transfers: Iterable[Transfer], book: str, asset: str) -> int:
    """Return the net amount that transfers bring to a book."""
    return sum(
        (t.amount if t.target == book else 0) - (t.amount if t.source == book else 0)
        for t in transfers
        if t.asset == asset
    )
