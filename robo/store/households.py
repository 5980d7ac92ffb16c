"""Households: who counts together for wash sales, who was asked, who owns jointly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Index, select
from sqlalchemy import text as words
from sqlmodel import Session, SQLModel

from robo.core.ids import AccountId
from robo.store.accounts import AccountRow
from robo.store.columns import STRICT, blob, check, integer, one_of, text
from robo.store.database import among, bulk, insert_many, rows_in, select_in


class HouseholdRow(SQLModel, table=True):
    """Two people of one firm whose trades count together."""

    __tablename__ = "household"
    __table_args__ = (STRICT,)
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    created_at: int = integer()


class MemberRow(SQLModel, table=True):
    """One person's time in a household; a person is in one at a time."""

    __tablename__ = "household_member"
    __table_args__ = (
        Index(
            "ux_household_member_now",
            "customer_id",
            unique=True,
            sqlite_where=words("left_at IS NULL"),
            postgresql_where=words("left_at IS NULL"),
        ),
        check("household_member_left", "(left_at IS NULL) = (left_on IS NULL)"),
        STRICT,
    )
    household_id: str = text(key=True, to="household.id")
    customer_id: str = text(key=True, to="customer.id", index=True)
    since_on: str = text()
    """From which day the two count together; both said so, and it may lie before `joined_at`."""
    joined_at: int = integer()
    left_on: str | None = text(null=True)
    """The first day on which they do not."""
    left_at: int | None = integer(null=True)


class InvitationRow(SQLModel, table=True):
    """One person asks another, known to us or not, to form a household."""

    __tablename__ = "household_invitation"
    __table_args__ = (
        one_of("household_invitation_state", "state", "open", "accepted", "declined", "withdrawn"),
        STRICT,
    )
    id: str = text(key=True)
    firm_id: str = text(to="firm.id")
    inviter_id: str = text(to="customer.id", index=True)
    invitee_index: bytes = blob()
    """Blind index of the address asked, so that nobody learns whether it is a customer's."""
    since_on: str = text()
    sealed_from: bytes = blob()
    """How the inviter signs it; opened with the inviter's key."""
    state: str = text(default="open")
    created_at: int = integer()
    expires_at: int = integer()
    decided_at: int | None = integer(null=True)


class JointProposalRow(SQLModel, table=True):
    """An account that two members of a household mean to own together; it opens when both agree."""

    __tablename__ = "joint_proposal"
    __table_args__ = (
        one_of("joint_proposal_state", "state", "open", "accepted", "declined", "withdrawn"),
        STRICT,
    )
    id: str = text(key=True)
    household_id: str = text(to="household.id")
    proposer_id: str = text(to="customer.id", index=True)
    partner_id: str = text(to="customer.id", index=True)
    basket_id: str = text()
    state: str = text(default="open")
    account_id: str | None = text(null=True, to="account.id")
    created_at: int = integer()
    decided_at: int | None = integer(null=True)


class JointOwnerRow(SQLModel, table=True):
    """The second owner of a joint account; the first is the account's customer."""

    __tablename__ = "joint_owner"
    __table_args__ = (STRICT,)
    account_id: str = text(key=True, to="account.id")
    customer_id: str = text(to="customer.id", index=True)
    agreed_at: int = integer()


_MEMBER: Any = MemberRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_INVITATION: Any = InvitationRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_PROPOSAL: Any = JointProposalRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_OWNER: Any = JointOwnerRow.__table__  # type: ignore[attr-defined] # SQLModel types it late
_ACCOUNT: Any = AccountRow.__table__  # type: ignore[attr-defined] # SQLModel types it late


@dataclass(frozen=True, slots=True)
class Membership:
    """One person's time in a household; dates are ISO, `left_on` is the first day without."""

    household_id: str
    customer_id: str
    since_on: str
    joined_at: int
    left_on: str | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as it is kept."""

    id: str
    firm_id: str
    inviter_id: str
    invitee_index: bytes
    since_on: str
    sealed_from: bytes
    state: str
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A joint account that somebody proposed."""

    id: str
    household_id: str
    proposer_id: str
    partner_id: str
    basket_id: str
    state: str
    account_id: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Owned:
    """An account, closed ones too, with whose it is."""

    id: AccountId
    customer_id: str
    kind: str
    state: str


_MEMBERS: Final = select(*(_MEMBER.c[name] for name in Membership.__dataclass_fields__))
_OF_MEMBERS: Final = among(_MEMBERS, _MEMBER.c.customer_id)
_OF_HOUSEHOLDS: Final = among(_MEMBERS, _MEMBER.c.household_id)


def memberships(session: Session, customer_ids: Sequence[str]) -> list[Membership]:
    """Return every membership, past ones too, of these people's households, in order of time.

    Those of the people they share or shared a household with are among them.
    """
    mine = rows_in(session, _OF_MEMBERS, sorted(set(customer_ids)))
    ids = sorted({row[0] for row in mine})
    rows = rows_in(session, _OF_HOUSEHOLDS, ids)
    found = [Membership(*row) for row in rows]
    return sorted(found, key=lambda one: (one.since_on, one.joined_at, one.customer_id))


def present(session: Session, customer_id: str) -> list[Membership]:
    """Return the members of somebody's present household, the person too; empty for none."""
    mine = select(_MEMBER.c.household_id).where(
        _MEMBER.c.customer_id == customer_id, _MEMBER.c.left_at.is_(None)
    )
    columns = [_MEMBER.c[name] for name in Membership.__dataclass_fields__]
    statement = select(*columns).where(
        _MEMBER.c.household_id.in_(mine), _MEMBER.c.left_at.is_(None)
    )
    rows = session.connection().execute(statement.order_by(_MEMBER.c.customer_id))
    return [Membership(*row) for row in rows]


def form(
    session: Session,
    household_id: str,
    firm_id: str,
    customer_ids: Sequence[str],
    since_on: str,
    at_micros: int,
) -> None:
    """Write a household and its members.

    Raises:
        IntegrityError: If one of them is in a household.
    """
    insert_many(
        session,
        "household",
        ("id", "firm_id", "created_at"),
        [(household_id, firm_id, at_micros)],
    )
    insert_many(
        session,
        "household_member",
        ("household_id", "customer_id", "since_on", "joined_at"),
        [(household_id, customer, since_on, at_micros) for customer in customer_ids],
    )


def joined_since(session: Session, at_micros: int) -> dict[str, int]:
    """Return who is in a household that was formed since an instant, and when that was."""
    columns = (_MEMBER.c.customer_id, _MEMBER.c.joined_at)
    statement = select(*columns).where(
        _MEMBER.c.joined_at >= at_micros, _MEMBER.c.left_at.is_(None)
    )
    return {row[0]: int(row[1]) for row in session.connection().execute(statement)}


def dissolve(session: Session, household_id: str, left_on: str, at_micros: int) -> None:
    """End everybody's time in a household."""
    bulk(
        session,
        "UPDATE household_member SET left_on = ?, left_at = ? "
        "WHERE household_id = ? AND left_at IS NULL",
        [(left_on, at_micros, household_id)],
    )


def invite(session: Session, one: Invitation) -> None:
    """Write an invitation."""
    columns = tuple(Invitation.__dataclass_fields__)
    values = tuple(getattr(one, name) for name in columns)
    insert_many(session, "household_invitation", columns, [values])


def invitation(session: Session, invitation_id: str) -> Invitation | None:
    """Return one invitation."""
    found = _invitations(session, _INVITATION.c.id == invitation_id)
    return found[0] if found else None


def invitations_of(session: Session, customer_id: str) -> list[Invitation]:
    """Return the invitations that somebody has sent and nobody has answered."""
    return _invitations(
        session, _INVITATION.c.inviter_id == customer_id, _INVITATION.c.state == "open"
    )


def invitations_to(session: Session, firm_id: str, index: bytes, now: int) -> list[Invitation]:
    """Return the invitations to an address that may still be accepted."""
    return _invitations(
        session,
        _INVITATION.c.firm_id == firm_id,
        _INVITATION.c.invitee_index == index,
        _INVITATION.c.state == "open",
        _INVITATION.c.expires_at > now,
    )


def _invitations(session: Session, *conditions: Any) -> list[Invitation]:
    columns = [_INVITATION.c[name] for name in Invitation.__dataclass_fields__]
    statement = select(*columns).where(*conditions)
    rows = session.connection().execute(
        statement.order_by(_INVITATION.c.created_at, _INVITATION.c.id)
    )
    return [Invitation(*row) for row in rows]


def decide(session: Session, invitation_id: str, state: str, at_micros: int) -> bool:
    """Move an open invitation to its last state; return whether it was open."""
    changed = bulk(
        session,
        "UPDATE household_invitation SET state = ?, decided_at = ? WHERE id = ? AND state = 'open'",
        [(state, at_micros, invitation_id)],
    )
    return changed == 1


def propose(session: Session, one: Proposal) -> None:
    """Write a proposal of a joint account."""
    columns = tuple(Proposal.__dataclass_fields__)
    values = tuple(getattr(one, name) for name in columns)
    insert_many(session, "joint_proposal", columns, [values])


def proposal(session: Session, proposal_id: str) -> Proposal | None:
    """Return one proposal."""
    found = _proposals(session, _PROPOSAL.c.id == proposal_id)
    return found[0] if found else None


def open_proposals(session: Session, customer_id: str) -> list[Proposal]:
    """Return the proposals that somebody has made or been made, not decided yet."""
    about = (_PROPOSAL.c.proposer_id == customer_id) | (_PROPOSAL.c.partner_id == customer_id)
    return _proposals(session, about, _PROPOSAL.c.state == "open")


def _proposals(session: Session, *conditions: Any) -> list[Proposal]:
    columns = [_PROPOSAL.c[name] for name in Proposal.__dataclass_fields__]
    statement = select(*columns).where(*conditions).order_by(_PROPOSAL.c.created_at, _PROPOSAL.c.id)
    return [Proposal(*row) for row in session.connection().execute(statement)]


def close_proposal(
    session: Session, proposal_id: str, state: str, account_id: str | None, at_micros: int
) -> bool:
    """Move an open proposal to its last state; return whether it was open."""
    changed = bulk(
        session,
        "UPDATE joint_proposal SET state = ?, account_id = ?, decided_at = ? "
        "WHERE id = ? AND state = 'open'",
        [(state, account_id, at_micros, proposal_id)],
    )
    return changed == 1


def close_proposals_of(session: Session, household_id: str, at_micros: int) -> None:
    """Withdraw what a household that ends had proposed."""
    bulk(
        session,
        "UPDATE joint_proposal SET state = 'withdrawn', decided_at = ? "
        "WHERE household_id = ? AND state = 'open'",
        [(at_micros, household_id)],
    )


def own_jointly(session: Session, account_id: str, customer_id: str, at_micros: int) -> None:
    """Write the second owner of an account."""
    insert_many(
        session,
        "joint_owner",
        ("account_id", "customer_id", "agreed_at"),
        [(account_id, customer_id, at_micros)],
    )


def second_owner(session: Session, account_id: str) -> str | None:
    """Return the second owner of an account, None if it has one owner."""
    statement = select(_OWNER.c.customer_id).where(_OWNER.c.account_id == account_id)
    found: str | None = session.connection().execute(statement).scalar()
    return found


def second_owners(session: Session, account_ids: Sequence[AccountId]) -> dict[AccountId, str]:
    """Return the second owners of accounts; those with one owner are left out."""
    statement = select(_OWNER.c.account_id, _OWNER.c.customer_id)
    rows = select_in(session, statement, _OWNER.c.account_id, account_ids)
    return {AccountId(account): customer for account, customer in rows}


_SECOND_OWNED: Final = among(
    select(_OWNER.c.account_id, _OWNER.c.customer_id), _OWNER.c.customer_id
)


def owned_jointly(session: Session, customer_ids: Sequence[str]) -> dict[AccountId, str]:
    """Return the accounts of which one of these is the second owner, and which one."""
    rows = rows_in(session, _SECOND_OWNED, sorted(set(customer_ids)))
    return {AccountId(account): customer for account, customer in rows}


_OWNED: Final = select(*(_ACCOUNT.c[name] for name in Owned.__dataclass_fields__))
_OWNED_BY: Final = among(_OWNED, _ACCOUNT.c.customer_id)
_OWNED_ONES: Final = among(_OWNED, _ACCOUNT.c.id)


def accounts_of(session: Session, customer_ids: Sequence[str]) -> list[Owned]:
    """Return the accounts whose first owner is one of these, closed ones too, by id."""
    rows = rows_in(session, _OWNED_BY, sorted(set(customer_ids)))
    return sorted((Owned(*row) for row in rows), key=lambda one: one.id)


def owners_of(session: Session, account_ids: Sequence[str]) -> dict[AccountId, Owned]:
    """Return accounts with their first owners."""
    rows = rows_in(session, _OWNED_ONES, list(account_ids))
    return {AccountId(row[0]): Owned(*row) for row in rows}
