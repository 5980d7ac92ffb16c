"""Mail through an SMTP server: STARTTLS or TLS from the first byte, always with a timeout.

Settings: ROBO_SMTP_HOST, ROBO_SMTP_PORT, ROBO_SMTP_TLS (`starttls`, `implicit`, `none`),
ROBO_SMTP_USER, ROBO_SMTP_PASSWORD_FILE, ROBO_SMTP_CA_FILE, ROBO_SMTP_TIMEOUT_SECONDS,
ROBO_MAIL_FROM. `none` is refused with a user: a password never travels in the clear.
"""

import smtplib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker_adapters import settings
from broker_adapters.mail_message import as_email
from robo.core.errors import ConfigError
from robo.ports.mail import Mail, Mailer
from robo.ports.plugins import PluginContext

_PORTS: Final = {"starttls": 587, "implicit": 465, "none": 25}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where and how mail is handed over."""

    host: str
    port: int
    tls: str
    user: str
    password: str
    sender: str
    timeout_seconds: int
    ca_file: str

    def __repr__(self) -> str:
        """Return a text without the password."""
        return f"SmtpServer({self.host}:{self.port}, tls={self.tls})"


def create(context: PluginContext) -> Mailer:
    """Return the SMTP mailer.

    Raises:
        ConfigError: If the host is missing, a setting is wrong, or a password would go unencrypted.
    """
    given = context.settings
    host = given.get("ROBO_SMTP_HOST", "").strip()
    if not host:
        message = "ROBO_SMTP_HOST must name the mail server"
        raise ConfigError(message, code="bad_setting")
    tls = settings.choice(given, "ROBO_SMTP_TLS", "starttls", tuple(_PORTS))
    user = given.get("ROBO_SMTP_USER", "").strip()
    if user and tls == "none":
        message = "ROBO_SMTP_USER needs ROBO_SMTP_TLS=starttls or implicit"
        raise ConfigError(message, code="bad_setting")
    server = SmtpServer(
        host=host,
        port=settings.integer(given, "ROBO_SMTP_PORT", _PORTS[tls], lowest=1, highest=65_535),
        tls=tls,
        user=user,
        password=_password(given.get("ROBO_SMTP_PASSWORD_FILE", "").strip()) if user else "",
        sender=given.get("ROBO_MAIL_FROM", "").strip(),
        timeout_seconds=settings.integer(
            given, "ROBO_SMTP_TIMEOUT_SECONDS", 10, lowest=1, highest=120
        ),
        ca_file=given.get("ROBO_SMTP_CA_FILE", "").strip(),
    )
    return SmtpMailer(server)


class SmtpMailer:
    """A Mailer that opens one connection a message; after a crash an id may be sent twice."""

    def __init__(self, server: SmtpServer) -> None:
        """Connect to nothing yet."""
        self._server = server

    def send(self, mail: Mail) -> None:
        """Hand one message to the server.

        Raises:
            InvalidInputError: If the address or subject could smuggle in a header.
            OSError: If the server did not take it (smtplib's errors are OSErrors).
        """
        message = as_email(mail, self._server.sender)
        with self._connect() as connection:
            if self._server.tls == "starttls":
                connection.starttls(context=self._trust())
            if self._server.user:
                connection.login(self._server.user, self._server.password)
            connection.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.tls == "implicit":
            return smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_seconds, context=self._trust()
            )
        return smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._server.ca_file or None)


def _password(path: str) -> str:
    if not path:
        message = "ROBO_SMTP_USER needs ROBO_SMTP_PASSWORD_FILE"
        raise ConfigError(message, code="bad_setting")
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        message = "ROBO_SMTP_PASSWORD_FILE cannot be read"
        raise ConfigError(message, code="bad_setting") from error
