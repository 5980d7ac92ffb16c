"""Money in and out: bank links, deposits, withdrawals, recurring plans."""

from sqlmodel import SQLModel

from robo.store.columns import STRICT, check, integer, one_of, text


class BankLinkRow(SQLModel, table=True):
    """A linked bank account: the bank's token, a name, the last digits; never the number."""

    __tablename__ = "bank_link"
    __table_args__ = (one_of("bank_link_state", "state", "active", "removed"), STRICT)
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    token: str = text()
    bank_name: str = text()
    mask: str = text()
    state: str = text(default="active")
    created_at: int = integer()


class DepositRow(SQLModel, table=True):
    """Money asked for from a bank: requested, pending, available, settled, or returned."""

    __tablename__ = "deposit"
    __table_args__ = (
        check("deposit_cents", "cents > 0"),
        check("deposit_advance", "advanced_cents >= 0 AND advanced_cents <= cents"),
        check("deposit_owed", "owed_cents >= 0 AND owed_cents <= cents"),
        one_of(
            "deposit_state",
            "state",
            "requested",
            "pending",
            "available",
            "settled",
            "returned",
            "failed",
        ),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    bank_link_id: str = text(to="bank_link.id")
    plan_id: str | None = text(null=True)
    cents: int = integer()
    state: str = text(default="requested", index=True)
    advanced_cents: int = integer(default=0)
    """Lent by the firm before the bank confirmed."""
    owed_cents: int = integer(default=0)
    """After a return: what is invested and still to be brought back."""
    return_code: str = text(default="")
    requested_at: int = integer()
    available_at: int | None = integer(null=True)
    settles_on: str | None = text(null=True)
    """When the money is expected to be final; lots bought with it are not sold before."""
    settled_at: int | None = integer(null=True)
    returned_at: int | None = integer(null=True)
    cure_until: str | None = text(null=True)


class WithdrawalRow(SQLModel, table=True):
    """Money on its way to a customer: requested, selling, settling, sent, paid."""

    __tablename__ = "withdrawal"
    __table_args__ = (
        check("withdrawal_cents", "cents >= 0"),
        check("withdrawal_promised", "promised_cents >= 0"),
        one_of(
            "withdrawal_state",
            "state",
            "requested",
            "selling",
            "settling",
            "sent",
            "paid",
            "failed",
            "canceled",
        ),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    bank_link_id: str = text(to="bank_link.id")
    cents: int = integer()
    """What was asked for; for a close-out it is known only at the end."""
    promised_cents: int = integer(default=0)
    """What lies in the outgoing book for it."""
    closing: int = integer(default=0)
    """1 = sell everything, pay everything, close the account."""
    state: str = text(default="requested", index=True)
    requested_at: int = integer()
    paid_at: int | None = integer(null=True)


class PlanRow(SQLModel, table=True):
    """A recurring deposit."""

    __tablename__ = "plan"
    __table_args__ = (
        check("plan_cents", "cents > 0"),
        one_of("plan_cadence", "cadence", "weekly", "biweekly", "monthly"),
        one_of("plan_state", "state", "active", "paused", "ended"),
        STRICT,
    )
    id: str = text(key=True)
    account_id: str = text(to="account.id", index=True)
    bank_link_id: str = text(to="bank_link.id")
    cents: int = integer()
    cadence: str = text()
    day: int = integer()
    """1 (Monday) to 5 for weeks, 1 to 31 for months (the last day stands in for missing ones)."""
    anchor_on: str = text()
    """The first nominal date; later ones are counted from it."""
    next_on: str = text(index=True)
    """The next nominal date; the money moves on the first session on or after it."""
    state: str = text(default="active")
    created_at: int = integer()
