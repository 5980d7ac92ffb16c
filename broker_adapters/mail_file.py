"""Mail as files: one .eml a message in an outbox directory; the default, and what tests read."""

import secrets
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from broker_adapters.mail_message import as_email, message_name
from robo.core.clock import Clock
from robo.ports.mail import Mail, Mailer
from robo.ports.plugins import PluginContext

_PRIVATE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700


def create(context: PluginContext) -> Mailer:
    """Return the file mailer; `ROBO_MAIL_OUTBOX` names another directory than `outbox`."""
    given = context.settings.get("ROBO_MAIL_OUTBOX", "").strip()
    sender = context.settings.get("ROBO_MAIL_FROM", "").strip()
    return FileMailer(Path(given) if given else context.state_dir / "outbox", context.clock, sender)


class FileMailer:
    """A Mailer that writes a message once, whole, readable by its owner only."""

    def __init__(self, directory: Path, clock: Clock, sender: str = "") -> None:
        """Use that directory; it is made with the first message."""
        self._directory = directory
        self._clock = clock
        self._sender = sender

    def send(self, mail: Mail) -> None:
        """Write one message; the same id again changes nothing.

        Raises:
            InvalidInputError: If the address or subject could smuggle in a header.
            OSError: If the file could not be written.
        """
        message = as_email(mail, self._sender)
        path = self._directory / f"{message_name(mail.id)}.eml"
        if path.exists():
            return
        message["Date"] = format_datetime(self._clock.now())
        self._directory.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_DIRECTORY)
        self._write(path, message)

    @staticmethod
    def _write(path: Path, message: EmailMessage) -> None:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.touch(mode=_PRIVATE)
        try:
            draft.write_bytes(message.as_bytes())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
