"""Customers, their personal data (sealed, shreddable), answers and restrictions."""

from sqlalchemy import UniqueConstraint
from sqlmodel import SQLModel

from robo.store.columns import STRICT, blob, integer, one_of, text


class CustomerRow(SQLModel, table=True):
    """A person we advise. Nothing here identifies them without the keys."""

    __tablename__ = "customer"
    __table_args__ = (
        UniqueConstraint("firm_id", "email_index", name="uq_customer_email"),
        UniqueConstraint("firm_id", "external_ref", name="uq_customer_ref"),
        one_of("customer_state", "state", "active", "locked", "closed", "shredded"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    email_index: bytes = blob()
    """Blind index of the normalised e-mail."""
    external_ref: str | None = text(null=True)
    """The firm's own name for the customer."""
    state: str = text(default="active")
    data_key: bytes | None = blob(null=True)
    """Wrapped data key; set to NULL to shred everything sealed with it."""
    email_verified_at: int | None = integer(null=True)
    created_at: int = integer()
    identity_state: str = text(default="none")
    """none, accepted, review, rejected."""
    identity_codes: str = text(default="")
    delivery: str = text(default="paper")
    """paper, pending (consented, not demonstrated), electronic."""


class PersonalRow(SQLModel, table=True):
    """One sealed record of a customer: `email`, `profile`, `tax_id`, `birth_date` and so on."""

    __tablename__ = "personal"
    __table_args__ = (STRICT,)
    customer_id: str = text(key=True, to="customer.id")
    field: str = text(key=True)
    sealed: bytes = blob()
    changed_at: int = integer()


class PersonalHistoryRow(SQLModel, table=True):
    """Superseded sealed records; kept six years by FINRA Rule 4512, shredded with the key."""

    __tablename__ = "personal_history"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    field: str = text()
    sealed: bytes = blob()
    replaced_at: int = integer()


class AnswersRow(SQLModel, table=True):
    """A submitted questionnaire: sealed answers, and what followed from them."""

    __tablename__ = "answers"
    __table_args__ = (
        one_of("answers_decision", "decision", "proceed", "clarify", "not_yet"),
        STRICT,
    )
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    questionnaire_sha256: str = text()
    sealed: bytes = blob()
    decision: str = text()
    reasons: str = text(default="")
    """Space-separated codes of the rules that spoke."""
    score: int | None = integer(null=True)
    band: str | None = text(null=True)
    created_at: int = integer()


class RestrictionRow(SQLModel, table=True):
    """One security a customer may not buy, own or trade, with the reason."""

    __tablename__ = "restriction"
    __table_args__ = (
        UniqueConstraint("customer_id", "security_id", "source", name="uq_restriction"),
        one_of("restriction_verb", "verb", "never_buy", "never_own", "never_trade"),
        one_of("restriction_choice", "held_choice", "none", "sell", "sell_within_budget", "keep"),
        STRICT,
    )
    id: str = text(key=True)
    customer_id: str = text(to="customer.id", index=True)
    security_id: int = integer()
    verb: str = text()
    source: str = text()
    """employer, household, named, country, industry, activity."""
    reason: str = text()
    held_choice: str = text(default="none")
    """What the customer said about shares already held."""
    created_at: int = integer()
