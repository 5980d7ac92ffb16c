"""Mail as files and through a real SMTP conversation, plain and encrypted."""

import base64
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import BinaryIO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker_adapters import mail_file, mail_smtp
from robo.core.errors import ConfigError, InvalidInputError
from robo.ports.mail import Mail

MAIL = Mail(
    "ml_1", "ada@example.com", "Grüße", "Zeile eins\n.\nfrom here: https://x.example/?a=b\n"
)


# Files


def test_a_mail_becomes_one_private_file_that_mail_programs_can_read(
    plugin_context, tmp_path: Path
):
    mail_file.create(plugin_context()).send(MAIL)

    (path,) = (tmp_path / "state" / "outbox").iterdir()
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    body = message.get_body()
    assert path.name == "ml_1.eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (message["To"], message["Subject"]) == ("ada@example.com", "Grüße")
    assert message["Date"] == "Mon, 02 Mar 2026 15:00:00 +0000"
    assert body is not None
    assert body.get_content() == MAIL.text


def test_the_same_mail_again_changes_nothing(plugin_context, tmp_path: Path):
    mailer = mail_file.create(plugin_context())
    mailer.send(MAIL)
    (path,) = (tmp_path / "state" / "outbox").iterdir()
    before = path.stat().st_mtime_ns

    mailer.send(MAIL)

    assert [p.stat().st_mtime_ns for p in path.parent.iterdir()] == [before]


def test_the_outbox_and_the_sender_are_settings(plugin_context, tmp_path: Path):
    settings = {"ROBO_MAIL_OUTBOX": str(tmp_path / "out"), "ROBO_MAIL_FROM": "us@example.com"}

    mail_file.create(plugin_context(settings)).send(MAIL)

    assert b"From: us@example.com" in (tmp_path / "out" / "ml_1.eml").read_bytes()


def test_an_id_that_is_no_file_name_does_not_leave_the_outbox(plugin_context, tmp_path: Path):
    mailer = mail_file.create(plugin_context())

    for mail_id in ("../../etc/passwd", "a/b", "", "x" * 300, "\0"):
        mailer.send(Mail(mail_id, "a@example.com", "s", "t"))

    names = [p.name for p in (tmp_path / "state" / "outbox").iterdir()]
    assert len(names) == 5
    assert all(name.startswith("mail-") for name in names)


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("a@example.com\nBcc: all@example.com", "s"),
        ("a@example.com", "s\r\nBcc: all@example.com"),
        ("a@example.com, b@example.com", "s"),
        ("nobody", "s"),
        ("", "s"),
        ("a@example.com", "\0"),
        ("a@example.com", "x" * 999),
    ],
)
def test_nothing_can_be_smuggled_into_a_header(plugin_context, tmp_path: Path, to, subject):
    with pytest.raises(InvalidInputError):
        mail_file.create(plugin_context()).send(Mail("ml_1", to, subject, "text"))
    assert not (tmp_path / "state").exists()


def test_an_outbox_that_cannot_be_written_is_an_oserror(plugin_context, tmp_path: Path):
    (tmp_path / "blocked").write_text("")
    mailer = mail_file.create(plugin_context({"ROBO_MAIL_OUTBOX": str(tmp_path / "blocked/x")}))

    with pytest.raises(OSError, match="Not a directory"):
        mailer.send(MAIL)


# SMTP


class SmtpServer(threading.Thread):
    """A server that speaks just enough SMTP to take one message a connection."""

    def __init__(self, context: ssl.SSLContext | None, *, implicit: bool, refuse: bool) -> None:
        super().__init__(daemon=True)
        self._context, self._implicit, self._refuse = context, implicit, refuse
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.received: list[bytes] = []
        self.encrypted: list[bool] = []
        self.logins: list[bytes] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            try:
                if self._implicit and self._context:
                    connection = self._context.wrap_socket(connection, server_side=True)
                self._talk(connection)
            except OSError:
                pass
            finally:
                connection.close()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join(5)

    def _talk(self, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 test\r\n")
        while line := lines.readline():
            word = line.split(maxsplit=1)[0].upper()
            if word in {b"EHLO", b"HELO"}:
                offer = b"250-test\r\n250-AUTH PLAIN\r\n"
                offer += b"250-STARTTLS\r\n" if self._context else b""
                connection.sendall(offer + b"250 8BITMIME\r\n")
            elif word == b"STARTTLS" and self._context:
                connection.sendall(b"220 go\r\n")
                lines.close()
                connection = self._context.wrap_socket(connection, server_side=True)
                lines = connection.makefile("rb")
            elif word == b"AUTH":
                self.logins.append(base64.b64decode(line.split()[-1]))
                connection.sendall(b"235 welcome\r\n")
            elif word == b"RCPT" and self._refuse:
                connection.sendall(b"550 unknown\r\n")
            elif word == b"DATA":
                connection.sendall(b"354 go\r\n")
                self.received.append(_until_dot(lines))
                self.encrypted.append(isinstance(connection, ssl.SSLSocket))
                connection.sendall(b"250 kept\r\n")
            elif word == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            else:
                connection.sendall(b"250 fine\r\n")
        lines.close()
        connection.close()


def _until_dot(lines: BinaryIO) -> bytes:
    out = b""
    while (line := lines.readline()) not in {b".\r\n", b""}:
        out += line.removeprefix(b".") if line.startswith(b"..") else line
    return out


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)  # noqa: TID251 - a certificate must be valid now, for OpenSSL
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def serve(certificate: Path) -> Iterator:
    servers: list[SmtpServer] = []

    def start(tls: str, *, refuse: bool = False) -> SmtpServer:
        context = None
        if tls != "none":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        servers.append(SmtpServer(context, implicit=tls == "implicit", refuse=refuse))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def _settings(server: SmtpServer, tls: str, **more: str) -> dict[str, str]:
    return {
        "ROBO_SMTP_HOST": "localhost" if tls != "none" else "127.0.0.1",
        "ROBO_SMTP_PORT": str(server.port),
        "ROBO_SMTP_TLS": tls,
        "ROBO_SMTP_TIMEOUT_SECONDS": "60",
        **more,
    }


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_a_mail_arrives_whole_and_encrypted_where_it_should_be(
    plugin_context, serve, certificate: Path, tmp_path: Path, tls: str
):
    server = serve(tls)
    settings = _settings(server, tls, ROBO_SMTP_CA_FILE=str(certificate))
    if tls != "none":
        (tmp_path / "password").write_text("secret\n")
        settings["ROBO_SMTP_USER"] = "robo"
        settings["ROBO_SMTP_PASSWORD_FILE"] = str(tmp_path / "password")

    mail_smtp.create(plugin_context(settings)).send(MAIL)

    message = message_from_bytes(server.received[0], policy=policy.default)
    assert (message["To"], message["Subject"]) == ("ada@example.com", "Grüße")
    assert message["Message-ID"] == "<ml_1@robo>"
    assert message.get_content().replace("\r\n", "\n") == MAIL.text
    assert server.encrypted == [tls != "none"]
    assert server.logins == ([] if tls == "none" else [b"\0robo\0secret"])


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_that_nobody_vouches_for_gets_no_mail(plugin_context, serve, tls: str):
    server = serve(tls)

    with pytest.raises(ssl.SSLError):
        mail_smtp.create(plugin_context(_settings(server, tls))).send(MAIL)
    assert server.received == []


def test_a_server_without_starttls_gets_no_mail_in_the_clear(plugin_context, serve):
    server = serve("none")

    with pytest.raises(OSError, match="STARTTLS"):
        mail_smtp.create(plugin_context(_settings(server, "starttls"))).send(MAIL)
    assert server.received == []


def test_a_refused_recipient_is_an_oserror(plugin_context, serve):
    server = serve("none", refuse=True)

    with pytest.raises(OSError, match=r"ada@example\.com"):
        mail_smtp.create(plugin_context(_settings(server, "none"))).send(MAIL)


def test_a_silent_server_is_given_up_after_the_timeout(plugin_context):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "ROBO_SMTP_HOST": "127.0.0.1",
            "ROBO_SMTP_PORT": str(silent.getsockname()[1]),
            "ROBO_SMTP_TLS": "none",
            "ROBO_SMTP_TIMEOUT_SECONDS": "1",
        }
        with pytest.raises(OSError, match="timed out"):
            mail_smtp.create(plugin_context(settings)).send(MAIL)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ROBO_SMTP_HOST": "x", "ROBO_SMTP_PORT": "0"},
        {"ROBO_SMTP_HOST": "x", "ROBO_SMTP_TLS": "maybe"},
        {"ROBO_SMTP_HOST": "x", "ROBO_SMTP_TLS": "none", "ROBO_SMTP_USER": "robo"},
        {"ROBO_SMTP_HOST": "x", "ROBO_SMTP_USER": "robo"},
        {"ROBO_SMTP_HOST": "x", "ROBO_SMTP_USER": "robo", "ROBO_SMTP_PASSWORD_FILE": "/no/file"},
    ],
)
def test_a_server_that_cannot_be_used_safely_stops_the_start(plugin_context, settings):
    with pytest.raises(ConfigError, match="ROBO_SMTP"):
        mail_smtp.create(plugin_context(settings))


def test_the_password_is_in_no_text_of_the_server():
    server = mail_smtp.SmtpServer("h", 25, "none", "u", "hush", "", 1, "")

    assert "hush" not in repr(server)
    assert "hush" not in str(server)
