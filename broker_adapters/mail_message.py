"""Our mails as e-mail messages: checked addresses, no injected headers, stable message ids."""

import hashlib
import re
from email.message import EmailMessage
from typing import Final

from robo.core.errors import InvalidInputError
from robo.ports.mail import Mail

DEFAULT_SENDER: Final = "robo@localhost"
_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,255}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_LINE_MAX: Final = 998
"""Source: RFC 5322, section 2.1.1."""


def as_email(mail: Mail, sender: str) -> EmailMessage:
    """Return a message with plain text; its Message-ID is made from the mail's id.

    Raises:
        InvalidInputError: If the address is none, or the subject holds a control character.
    """
    if not _ADDRESS.fullmatch(mail.to):
        message = "that is no e-mail address"
        raise InvalidInputError(message, code="bad_mail_address")
    if not mail.subject.isprintable() or len(mail.subject) > _LINE_MAX:
        message = "a subject is one line of printable characters"
        raise InvalidInputError(message, code="bad_mail_subject")
    out = EmailMessage()
    out["From"] = sender or DEFAULT_SENDER
    out["To"] = mail.to
    out["Subject"] = mail.subject
    out["Message-ID"] = f"<{message_name(mail.id)}@robo>"
    out.set_content(mail.text)
    return out


def message_name(mail_id: str) -> str:
    """Return the mail's id where it is safe as a file's name, else its hash."""
    if _NAME.fullmatch(mail_id):
        return mail_id
    return "mail-" + hashlib.sha256(mail_id.encode()).hexdigest()[:40]
