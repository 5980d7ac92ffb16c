"""Messages to customers: written as sealed rows with what caused them, sent by a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from robo.core.clock import Clock, to_micros
from robo.core.errors import BrokenInvariantError
from robo.core.ids import child_id
from robo.ports.mail import Mail, Mailer
from robo.services.sealing import EMAIL, Vault
from robo.store import papers
from robo.store.database import Database
from robo.store.keyring import Keyring, unseal_json

_ATTEMPTS_MAX: Final = 12
_FIRST_PAUSE_MICROS: Final = 30_000_000
"""Half a minute after the first miss, then twice as long each time: about a day in all."""
_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Letter:
    """The words of one kind of message; `{link}` and the like are filled in."""

    subject: str
    text: str


_FOOTER: Final = (
    "\n\nIf this was not you, reset your password at once and tell us; we never ask for it by mail."
)
LETTERS: Final[Mapping[str, Letter]] = {
    "email_verify": Letter(
        "Confirm your e-mail address",
        "Welcome. Please confirm that this address is yours:\n\n{link}\n\n"
        "The link works for three days. If you did not sign up, ignore this message.",
    ),
    "sign_up_again": Letter(
        "You already have an account",
        "Somebody, perhaps you, tried to sign up with this address. You already have an account: "
        "log in as usual, or reset your password if you forgot it." + _FOOTER,
    ),
    "password_reset": Letter(
        "Reset your password",
        "Somebody, hopefully you, asked for a new password:\n\n{link}\n\n"
        "The link works once, for half an hour. If it was not you, ignore this message: "
        "nothing has changed.",
    ),
    "password_changed": Letter(
        "Your password was changed",
        "The password of your account was changed, and other sessions were ended." + _FOOTER,
    ),
    "second_factor_added": Letter(
        "Two-step login is on",
        "An authenticator app was added to your account. Keep your recovery codes safe." + _FOOTER,
    ),
    "second_factor_removed": Letter(
        "Two-step login is off",
        "The authenticator app was removed from your account." + _FOOTER,
    ),
    "recovery_code_used": Letter(
        "A recovery code was used",
        "Somebody logged in with one of your recovery codes; {left} are left." + _FOOTER,
    ),
    "token_reused": Letter(
        "We ended one of your sessions",
        "A login token was used twice, which can mean that it was copied. We ended that session; "
        "log in again to go on." + _FOOTER,
    ),
    "locked": Letter(
        "Your login is paused",
        "There were too many failed logins, so we pause logins for a while. Resetting your "
        "password opens your account at once." + _FOOTER,
    ),
    "bank_linked": Letter(
        "A bank account was linked",
        "The account {mask} at {bank} was linked to your account." + _FOOTER,
    ),
    "bank_removed": Letter(
        "A bank account was removed",
        "The account {mask} at {bank} is no longer linked to your account." + _FOOTER,
    ),
    "document": Letter(
        "{title}",
        "You asked to get documents electronically. Open this one to show that you can:\n\n"
        "{link}\n\nUntil you do, we send paper. You can go back to paper at any time.",
    ),
    "household_invited": Letter(
        "You were invited to a household",
        "A customer who signs as {name} asks whether your trades and theirs count together for "
        "wash sales, as those of spouses do. Log in to accept or decline. Neither of you will see "
        "what the other holds, only which names may not be traded until when." + _FOOTER,
    ),
    "household_formed": Letter(
        "Your household was formed",
        "Your trades and those of the other member count together for wash sales from now on."
        + _FOOTER,
    ),
    "household_ended": Letter(
        "Your household has ended",
        "Your trades and those of the other member do not count together any more." + _FOOTER,
    ),
    "withdrawal_requested": Letter(
        "A withdrawal was requested",
        "A withdrawal of ${amount} was requested." + _FOOTER,
    ),
    "closure_requested": Letter(
        "Your account is being closed",
        "You asked us to sell everything, pay it out and close the account." + _FOOTER,
    ),
    "cents_kept": Letter(
        "Your account is closed; a little is left",
        "Your account is closed. Your bank does not take the ${amount} that was left. It stays "
        "yours and in your account's books: it leaves with whatever still comes, or when you close "
        "the account once more with another bank.",
    ),
}


def queue(
    session: Session,
    vault: Vault,
    kind: str,
    cause: str,
    at_micros: int,
    values: Mapping[str, str] | None = None,
) -> bool:
    """Write a message to a customer; the same cause writes it once. Return whether it is new.

    A customer without an e-mail address (a firm's own) gets none: the firm tells them.
    """
    to = vault.read(session, EMAIL)
    if to is None:
        return False
    letter = LETTERS[kind]
    mail_id = child_id("mail", vault.customer_id, kind, cause)
    content = {
        "to": to,
        "subject": letter.subject.format(**(values or {})),
        "text": letter.text.format(**(values or {})),
    }
    sealed = vault.seal_json(content, f"mail:{mail_id}:content")
    return papers.put_mail(session, mail_id, vault.customer_id, kind, sealed, at_micros)


def notify(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer_id: str,
    kind: str,
    cause: str,
    values: Mapping[str, str] | None = None,
) -> bool:
    """Write a message in a transaction of its own, see `queue`."""
    with db.write() as session:
        vault = Vault.open(session, keyring, customer_id)
        return queue(session, vault, kind, cause, to_micros(clock.now()), values)


def deliver(db: Database, keyring: Keyring, mailer: Mailer, clock: Clock) -> int:
    """Send every message that is due, each outside any transaction; return how many went.

    A crash after sending and before the row says so sends the same id again: the adapter drops it
    where it can. What cannot be sent is tried again for about a day, then given up.
    """
    sent = 0
    after = ""
    while True:
        with db.read() as session:
            batch = papers.waiting_mail(session, after, _BATCH)
        if not batch:
            return sent
        for waiting in batch:
            sent += _send(db, keyring, mailer, clock, waiting)
        after = batch[-1].id


def _send(
    db: Database, keyring: Keyring, mailer: Mailer, clock: Clock, waiting: papers.WaitingMail
) -> bool:
    now = to_micros(clock.now())
    pause = _FIRST_PAUSE_MICROS * (2**waiting.attempts - 1)
    if now < waiting.created_at + pause:
        return False
    mail = _opened(keyring, waiting)
    try:
        if mail is not None:
            mailer.send(mail)
    except OSError:
        with db.write() as session:
            papers.mail_missed(session, waiting.id, given_up=waiting.attempts + 1 >= _ATTEMPTS_MAX)
        return False
    with db.write() as session:
        if mail is None:
            papers.mail_missed(session, waiting.id, given_up=True)
        else:
            papers.mail_sent(session, waiting.id, now)
    return mail is not None


def _opened(keyring: Keyring, waiting: papers.WaitingMail) -> Mail | None:
    """Return a message, None if its reader was shredded."""
    if waiting.data_key is None:
        return None
    key = keyring.open_data_key(waiting.customer_id, waiting.data_key)
    content = unseal_json(key, waiting.sealed, f"mail:{waiting.id}:content")
    if not isinstance(content, dict):
        message = f"mail {waiting.id} does not hold a message"
        raise BrokenInvariantError(message, code="mail_content")
    return Mail(waiting.id, str(content["to"]), str(content["subject"]), str(content["text"]))


def payload(**values: object) -> str:
    """Return an event's payload as canonical JSON."""
    return json.dumps(values, separators=(",", ":"), sort_keys=True)
