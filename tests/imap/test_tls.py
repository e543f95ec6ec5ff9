"""What a server does before there is TLS, and which of it may be over in a moment."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.imap import QUICK, read_all, scripted
from support.ports import port_of, relay
from typing_extensions import override

from mailarchive.auth import ClientCertificate, Password
from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConfigurationError,
    SourceUnavailable,
    Throttled,
    Unsupported,
)
from mailarchive.sources._imap_errors import Place, Security, not_connected
from mailarchive.sources.imap import ImapSource
from mailarchive.testing.certificates import self_signed
from mailarchive.testing.imap_server import CAPABILITIES, ImapServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from support.imap import Mailbox, Numbered

    from mailarchive.testing.imap_server import Command, Talk

LOOPBACK = IPv4Address("127.0.0.1")
PLACE = Place("test", "mail.example.com", 993, Security.SSL)


def imap_on(port: int, **settings: Any) -> ImapSource:
    """A source that begins with TLS there."""
    given = {"auth": Password("alice@example.com", "secret"), "limits": QUICK, **settings}
    return ImapSource("127.0.0.1", port=port, **given)


def test_an_end_in_the_middle_of_the_handshake_is_put_up_with(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """As by a server that just starts: in a run it is tried again, and everything is read."""
    mailbox.put(numbered(3))
    served: list[int] = []

    def serve(sock: socket.socket, number: int) -> None:
        served.append(number)
        if number in {2, 3}:
            sock.recv(1 << 16)
        else:
            relay(sock, mailbox.server.imaps_port)

    with port_of(serve) as port, mailbox.source(port=port) as source:
        source._line.drop()
        assert len(read_all(source)) == 3

    assert served == [1, 2, 3, 4]


@pytest.mark.parametrize("close_notify", [b"", b"\x15\x03\x03\x00\x02\x01\x00"])
def test_a_port_that_hangs_up_at_the_handshake_is_unavailable(close_notify: bytes) -> None:
    """Whether with a farewell of TLS or without; the other way in is named all the same."""

    def serve(sock: socket.socket, number: int) -> None:
        del number
        sock.recv(1 << 16)
        sock.sendall(close_notify)

    with (
        port_of(serve) as port,
        pytest.raises(SourceUnavailable, match="broke off") as caught,
        imap_on(port),
    ):
        pass

    assert 'security = "starttls" and port = 143' in caught.value.suggestions[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("own", [False, True])
def test_a_server_that_wants_another_client_certificate_is_no_plain_port(
    tmp_path: Path, version: ssl.TLSVersion, own: bool
) -> None:
    """It says so after the handshake in TLS 1.3, and within it before that."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.load_verify_locations(certificate)
    server.verify_mode, server.maximum_version = ssl.CERT_REQUIRED, version
    client = ssl.create_default_context(cafile=certificate)
    if own:
        (tmp_path / "client").mkdir()
        client.load_cert_chain(*self_signed(tmp_path / "client", ["DNS:client"]))

    def serve(sock: socket.socket, number: int) -> None:
        del number
        with server.wrap_socket(sock, server_side=True) as protected:
            protected.recv(1)

    with (
        port_of(serve) as port,
        pytest.raises(ConfigurationError) as caught,
        imap_on(port, ssl_context=client),
    ):
        pass

    assert "does not begin with TLS" not in str(caught.value)
    assert any("client's certificate" in each for each in (str(caught.value), *_todo(caught)))
    assert any("give certificate and key" in each for each in _todo(caught))


def _todo(caught: pytest.ExceptionInfo[ConfigurationError]) -> tuple[str, ...]:
    return tuple(caught.value.suggestions)


def test_two_sides_without_a_common_version_of_tls_are_told_so(tmp_path: Path) -> None:
    """A server that answers a handshake with an alert speaks TLS on this port."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client = ssl.create_default_context(cafile=certificate)
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    with (
        port_of(lambda sock, _: server.wrap_socket(sock, server_side=True)) as port,
        pytest.raises(ConfigurationError, match="no version of TLS") as caught,
        imap_on(port, ssl_context=client),
    ):
        pass

    assert "update the server" in caught.value.suggestions[0]


def expired(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback that was good for a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *private))
    return folder / "cert.pem", folder / "key.pem"


def test_a_certificate_that_has_expired_is_not_mended_by_trusting_it(tmp_path: Path) -> None:
    """No ca_file helps: it is the server's to renew, or the clock that is wrong."""
    certificate, key = expired(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    with (
        port_of(lambda sock, _: server.wrap_socket(sock, server_side=True)) as port,
        pytest.raises(ConfigurationError, match="has expired") as caught,
        imap_on(port, ca_file=certificate),
    ):
        pass

    assert not any("ca_file" in each for each in caught.value.suggestions)
    assert any("clock" in each for each in caught.value.suggestions)


def refusing(status: bytes, text: bytes) -> Callable[[Talk, Command], bool]:
    """Offer STARTTLS and not do it."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "STARTTLS":
            return False
        talk.send(command.tag + b" " + status + b" " + text + b"\r\n")
        return True

    return lie


@pytest.mark.parametrize("status", [b"NO", b"BAD"])
def test_a_server_that_cannot_begin_tls_now_is_an_imap_server(status: bytes) -> None:
    """It offered STARTTLS: it is tried again in a run, and gets nothing in clear text."""
    capabilities = f"{CAPABILITIES} STARTTLS"
    lie = refusing(status, b"[UNAVAILABLE] no TLS at the moment")
    with ImapServer({"INBOX": []}, lie, capabilities=capabilities) as server:
        with (
            pytest.raises(SourceUnavailable, match="offers STARTTLS and refuses it"),
            scripted(server, security="starttls"),
        ):
            pass

        assert {command.name for command in server.commands} <= {"CAPABILITY", "STARTTLS"}


def test_nonsense_instead_of_an_answer_to_starttls_is_no_imap() -> None:
    """It is no refusal, which may be over in a moment."""

    def babble(talk: Talk, command: Command) -> bool:
        if command.name != "STARTTLS":
            return False
        talk.send(b"220 ready for what you like\r\n")
        return True

    with (
        ImapServer({"INBOX": []}, babble, capabilities=f"{CAPABILITIES} STARTTLS") as server,
        pytest.raises(ConfigurationError, match="no IMAP server"),
        scripted(server, security="starttls"),
    ):
        pass


@pytest.mark.parametrize("status", [b"NO", b"BAD"])
def test_a_pause_that_is_asked_for_at_starttls_is_told_to_the_second(status: bytes) -> None:
    """Wherever the server asks for it."""
    lie = refusing(status, b"Request is throttled. Suggested Backoff Time: 700000 milliseconds")
    with (
        ImapServer({"INBOX": []}, lie, capabilities=f"{CAPABILITIES} STARTTLS") as server,
        pytest.raises(Throttled) as caught,
        scripted(server, security="starttls"),
    ):
        pass

    assert caught.value.retry_after == 700


class Noting(ssl.SSLContext):
    """A context that notes how long a handshake may take."""

    noted: ClassVar[list[float | None]] = []

    @override
    def wrap_socket(self, sock: socket.socket, *rest: Any, **settings: Any) -> ssl.SSLSocket:
        """Note it, and go on."""
        self.noted.append(sock.gettimeout())
        return super().wrap_socket(sock, *rest, **settings)


@pytest.mark.parametrize("security", ["ssl", "starttls"])
def test_tls_may_take_as_long_as_the_connection(mailbox: Mailbox, security: str) -> None:
    """STARTTLS was waited for as long as for any answer, which is eight times that."""
    server = mailbox.server
    context = Noting(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(server.ca_file)
    Noting.noted.clear()
    settings = {
        "port": server.imaps_port if security == "ssl" else server.imap_port,
        "limits": evolve(QUICK, connect_timeout=3, read_timeout=4),
    }
    with mailbox.source(
        security=security, ca_file=None, ssl_context=context, **settings
    ) as source:
        assert source._line.session().wire._sock.gettimeout() == 4

    assert Noting.noted == [3]


@pytest.mark.parametrize("offered", ["", " AUTH=EXTERNAL"])
def test_a_certificate_that_logs_nobody_in_is_no_wrong_password(offered: str) -> None:
    """There is none; what may be wrong is the certificate, and whose it is."""

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name != "AUTHENTICATE":
            return False
        talk.no(command, b"[AUTHENTICATIONFAILED] no")
        return True

    with (
        ImapServer({"INBOX": []}, refuse, capabilities=CAPABILITIES + offered) as server,
        pytest.raises((AuthenticationFailed, Unsupported)) as caught,
        scripted(server, auth=ClientCertificate("alice@example.com")),
    ):
        pass

    assert any("give certificate and key" in each for each in caught.value.suggestions)
    assert not any("password" in each for each in caught.value.suggestions)


@pytest.mark.parametrize(
    "host", ["mail..example.com", ".example.com", "...", f"{'a' * 64}.example.com"]
)
def test_a_host_that_cannot_be_looked_up_is_refused(host: str) -> None:
    """It was taken for a server that is none."""
    with pytest.raises(ConfigurationError, match="no host name"):
        ImapSource(host, auth=Password("a", "b"))


def test_a_host_may_end_in_a_dot() -> None:
    """Which says that it is whole."""
    assert ImapSource("mail.example.com.", auth=Password("a", "b")).name


def test_a_mailbox_that_is_not_connected_at_the_login_is_no_wrong_password() -> None:
    """Exchange may say so at the first command after it, which asks what the server can do."""

    def detached(talk: Talk, command: Command) -> bool:
        names = [each.name for each in server.commands]
        if command.name != "CAPABILITY" or "AUTHENTICATE" not in names:
            return False
        talk.bad(command, b"User is authenticated but not connected.")
        return True

    with (
        ImapServer({"INBOX": []}, detached) as server,
        pytest.raises(AccessDenied, match="opens no mailbox"),
        scripted(server),
    ):
        pass


@pytest.mark.parametrize("reason", ["SSLV3_ALERT_HANDSHAKE_FAILURE", None])
def test_every_reason_of_openssl_is_an_error_of_ours(reason: str | None) -> None:
    """Also none at all, as where a program's own library is at work."""
    error = ssl.SSLError()
    if reason is not None:
        error.reason = reason

    for security in Security:
        found = not_connected(evolve(PLACE, security=security), error)

        assert isinstance(found, ConfigurationError)
        assert found.suggestions
