"""The chart: names of books and assets, each of a customer's account, a firm or the street.

```
customer/{account}/cash         free to invest
customer/{account}/reserved     promised to orders
customer/{account}/unsettled    sold, not settled
customer/{account}/outgoing     promised to a withdrawal
customer/{account}/holdings     shares (one balance per security)
firm/{firm}/advance             deposits we invest before the bank confirms (negative = lent)
firm/{firm}/receivable          returned deposits that are still owed to us (negative = owed)
firm/{firm}/rounding            cents that rounding left over
firm/{firm}/inventory           shares the firm holds for itself, and what it paid for them
street/bank                     the world's money (negative = we hold it)
street/market                   the world's shares and the cash paid for them
street/fees                     regulatory fees paid
street/transfers                shares that came from accounts at other firms (negative = came)
```

Books of customers are never negative; the database refuses it.
"""

from typing import Final

from robo.core.ids import AccountId, FirmId, SecurityId

USD: Final = "USD/2"
STREET_BANK: Final = "street/bank"
STREET_MARKET: Final = "street/market"
STREET_FEES: Final = "street/fees"
STREET_TRANSFERS: Final = "street/transfers"
CUSTOMER_PREFIX: Final = "customer/"
FIRM_PREFIX: Final = "firm/"


def cash(account_id: AccountId) -> str:
    """Return the book of money that is free to invest."""
    return f"customer/{account_id}/cash"


def reserved(account_id: AccountId) -> str:
    """Return the book of money that is promised to orders."""
    return f"customer/{account_id}/reserved"


def unsettled(account_id: AccountId) -> str:
    """Return the book of proceeds that have not settled."""
    return f"customer/{account_id}/unsettled"


def outgoing(account_id: AccountId) -> str:
    """Return the book of money that is promised to a withdrawal."""
    return f"customer/{account_id}/outgoing"


def holdings(account_id: AccountId) -> str:
    """Return the book of shares."""
    return f"customer/{account_id}/holdings"


def advance(firm_id: FirmId) -> str:
    """Return the firm's book of advanced deposits; negative is what it lends."""
    return f"firm/{firm_id}/advance"


def receivable(firm_id: FirmId) -> str:
    """Return the firm's book of returned deposits; negative is what customers owe."""
    return f"firm/{firm_id}/receivable"


def inventory(firm_id: FirmId) -> str:
    """Return the firm's own shares (one balance a security) and the cash paid for them."""
    return f"firm/{firm_id}/inventory"


def rounding(firm_id: FirmId) -> str:
    """Return the firm's book of left-over cents."""
    return f"firm/{firm_id}/rounding"


def shares(security_id: SecurityId) -> str:
    """Return the asset of a security, counted in nanoshares."""
    return f"S{security_id}/9"


def security_of(asset: str) -> SecurityId:
    """Return the security of a share asset."""
    assert asset.startswith("S")
    assert asset.endswith("/9")
    return SecurityId(int(asset[1:-2]))


def account_of(book: str) -> AccountId | None:
    """Return the customer account that a book belongs to, or None."""
    if not book.startswith(CUSTOMER_PREFIX):
        return None
    return AccountId(book.split("/", 2)[1])


def firm_of(book: str) -> FirmId | None:
    """Return the firm that a book belongs to, or None."""
    if not book.startswith(FIRM_PREFIX):
        return None
    return FirmId(book.split("/", 2)[1])
