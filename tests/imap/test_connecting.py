"""Every way in which a connection or a login fails, and what a person is told to do."""

from __future__ import annotations

import socket
import ssl
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from support.imap import QUICK, read_all, scripted

from mailarchive.auth import OAuth, OAuthMechanism, Password, scoped
from mailarchive.auth.msal import ClientSecret, MsalTokens
from mailarchive.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConfigurationError,
    MailArchiveError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
    Throttled,
    Transient,
    Unsupported,
)
from mailarchive.sources.imap import FolderChoice, ImapSource
from mailarchive.testing.dovecot import MASTERS, dovecot, free_port
from mailarchive.testing.entra_server import EntraServer
from mailarchive.testing.imap_server import CAPABILITIES, Hangup, ImapServer

if TYPE_CHECKING:
    from support.imap import Mailbox, Numbered

    from mailarchive.auth import Auth
    from mailarchive.testing.imap_server import Command, Talk

SECRETS = ("secret", "alice", "bob", "user-", "admin", "@example.com")


def failure(source: ImapSource, kind: type[MailArchiveError] = SourceError) -> MailArchiveError:
    """The error with which a source does not open; it tells nobody's name and no secret."""
    with pytest.raises(kind) as caught:
        source.__enter__()
    said = "".join(traceback.format_exception(caught.value))
    told = [str(caught.value), *caught.value.suggestions, repr(caught.value)]
    shown = said.splitlines()[-1]
    assert not any(secret in text for secret in SECRETS for text in [*told, shown])
    return caught.value


def test_clear_text_is_refused_unless_it_is_asked_for_twice() -> None:
    """`security="plain"` alone is no permission, and nothing is connected."""
    with pytest.raises(ConfigurationError, match="clear text") as caught:
        ImapSource("127.0.0.1", auth=Password("a", "b"), security="plain")

    assert any("allow_plaintext" in each for each in caught.value.suggestions)


@pytest.mark.parametrize(
    "settings",
    [
        {"security": "tls"},
        {"host": "imap://example.com"},
        {"host": ""},
        {"port": 0},
        {"port": 65_536},
        {"port": -1},
        {"mailbox": ""},
        {"mailbox": "bob\1auth=Bearer x"},
        {"ca_file": "/nonexistent.pem"},
        {"ca_file": __file__},
        {"ca_file": __file__, "ssl_context": ssl.create_default_context()},
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_at_construction(
    settings: dict[str, Any],
) -> None:
    """A typed error with a suggestion comes before any connection."""
    with pytest.raises(ConfigurationError) as caught:
        ImapSource(**{"host": "127.0.0.1", "auth": Password("a", "b"), **settings})

    assert caught.value.suggestions


def test_a_wrong_password_is_told_at_once(mailbox: Mailbox) -> None:
    """By a class of its own, which nobody tries again: that could lock the account."""
    wrong = mailbox.source(auth=Password(mailbox.user, "not the secret"))

    error = failure(wrong, AuthenticationFailed)

    assert not isinstance(error, Transient)
    assert "password" in error.suggestions[0]


def test_a_closed_port_names_the_other_way_in(mailbox: Mailbox) -> None:
    """The suggestion is a setting to change."""
    error = failure(mailbox.source(port=free_port()), SourceUnavailable)

    assert 'security = "starttls" and port = 143' in error.suggestions[0]


def test_tls_on_a_plain_port_names_starttls(mailbox: Mailbox) -> None:
    """The server greets in clear text where TLS was to begin."""
    error = failure(mailbox.source(port=mailbox.server.imap_port), ConfigurationError)

    assert 'security = "starttls" and port = 143' in error.suggestions[0]


@pytest.mark.parametrize("security", ["starttls", "plain"])
def test_clear_text_on_a_tls_port_names_tls(mailbox: Mailbox, security: str) -> None:
    """Both sides wait for the other to begin; the wait is bounded, and then TLS is tried."""
    port = mailbox.server.imaps_port
    source = mailbox.source(
        security=security,
        port=port,
        allow_plaintext=True,
        limits=evolve(QUICK, read_timeout=0.2, connect_timeout=0.2),
    )

    error = failure(source, ConfigurationError)

    assert f'security = "ssl", and leave port at {port}' in error.suggestions[0]


@pytest.mark.parametrize("security", ["starttls", "plain"])
def test_a_server_that_says_nothing_at_all_is_unavailable(security: str) -> None:
    """It answers no handshake either, so no setting is known to be wrong; that wait is bounded."""
    limits = evolve(QUICK, read_timeout=0.2, connect_timeout=0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        source = ImapSource(
            "127.0.0.1",
            port=mute.getsockname()[1],
            auth=Password("alice", "secret"),
            security=security,
            allow_plaintext=True,
            limits=limits,
        )

        error = failure(source, SourceUnavailable)

    assert 'security = "ssl" and port = 993' in error.suggestions[0]


@pytest.mark.parametrize("security", ["ssl", "starttls"])
def test_a_certificate_that_nobody_vouches_for_is_refused(mailbox: Mailbox, security: str) -> None:
    """Verification is on by default, before any password is sent."""
    server = mailbox.server
    port = server.imaps_port if security == "ssl" else server.imap_port

    error = failure(mailbox.source(ca_file=None, security=security, port=port), ConfigurationError)

    assert "ca_file" in error.suggestions[0]


def test_a_certificate_for_another_name_is_refused(mailbox: Mailbox) -> None:
    """A trusted certificate must be for the host that was meant."""
    settings: dict[str, Any] = {
        "port": mailbox.server.imaps_port,
        "ca_file": mailbox.server.ca_file,
        "auth": Password(mailbox.user, mailbox.server.password),
        "limits": QUICK,
    }

    error = failure(ImapSource("localhost", **settings), ConfigurationError)

    assert "another name" in str(error)
    assert "host" in error.suggestions[0]


def test_an_unknown_host_is_told(mailbox: Mailbox) -> None:
    """A name that does not resolve is no certificate and no port trouble."""
    source = ImapSource(
        "nowhere.invalid", auth=Password("a", "b"), ca_file=mailbox.server.ca_file, limits=QUICK
    )

    assert "host name" in str(failure(source, SourceUnavailable))


@pytest.mark.parametrize("host", ["imaps://127.0.0.1", "127.0.0.1:993", "mail.example.com:143"])
def test_a_host_with_a_scheme_or_a_port_is_refused(host: str) -> None:
    """Neither is a name that any resolver knows, and it would only say so of the name."""
    with pytest.raises(ConfigurationError, match="no host name") as caught:
        ImapSource(host, auth=Password("a", "b"))

    assert any("setting of its own, port" in each for each in caught.value.suggestions)


def test_an_ipv6_address_is_a_host() -> None:
    """For all its colons."""
    assert ImapSource("::1", auth=Password("a", "b")).name.startswith("imap:::1/")


def test_a_server_without_starttls_gets_no_password() -> None:
    """STARTTLS never falls back to clear text."""
    with ImapServer({"INBOX": []}) as server:
        error = failure(scripted(server, security="starttls"), ConfigurationError)

        assert "LOGIN" not in {command.name for command in server.commands}
        assert "AUTHENTICATE" not in {command.name for command in server.commands}
    assert 'security = "ssl" and port = 993' in error.suggestions[0]


def test_clear_text_sent_after_starttls_is_not_read_as_if_it_were_protected() -> None:
    """What somebody on the way puts behind the answer to STARTTLS ends the connection."""

    def inject(talk: Talk, command: Command) -> bool:
        if command.name != "STARTTLS":
            return False
        talk.send(command.tag + b" OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
        return True

    with ImapServer({"INBOX": []}, inject, capabilities="IMAP4rev1 STARTTLS") as server:
        failure(scripted(server, security="starttls"), SourceError)

        assert {command.name for command in server.commands} <= {"CAPABILITY", "STARTTLS"}


def test_a_server_that_logs_everybody_in_before_starttls_is_refused() -> None:
    """PREAUTH would make the client skip STARTTLS."""
    with ImapServer(
        {"INBOX": []}, greeting=b"* PREAUTH hello\r\n", capabilities="IMAP4rev1 STARTTLS"
    ) as server:
        error = failure(scripted(server, security="starttls"))

    assert "STARTTLS" in str(error)


def test_logindisabled_is_obeyed() -> None:
    """A real server that takes no password in clear text is sent none."""
    with dovecot(plaintext=False) as server:
        user = server.new_user()
        settings: dict[str, Any] = {"auth": Password(user, server.password), "limits": QUICK}
        plain = ImapSource(
            server.host, port=server.imap_port, security="plain", allow_plaintext=True, **settings
        )

        error = failure(plain, ConfigurationError)

        assert "clear text" in str(error)
        assert "auth failed" not in server.log
        with ImapSource(
            server.host,
            port=server.imap_port,
            security="starttls",
            ca_file=server.ca_file,
            **settings,
        ) as source:
            assert source.folders()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[AUTHENTICATIONFAILED] no such user alice", AuthenticationFailed),
        (b"[AUTHORIZATIONFAILED] alice may not", AccessDenied),
        (b"[UNAVAILABLE] later, alice", SourceUnavailable),
        (b"[LIMIT] too many for alice", Throttled),
        (b"LOGIN failed.", AuthenticationFailed),
        (b"[ALICE] a code of its own", AuthenticationFailed),
        (b"[EXPIRED] alice should have", AuthenticationFailed),
    ],
)
def test_a_refused_login_has_the_type_that_its_code_says(
    text: bytes, kind: type[MailArchiveError]
) -> None:
    """RFC 5530's codes decide; the server's own words, which name people, go nowhere."""

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name == "AUTHENTICATE":
            talk.no(command, text)
            return True
        return False

    with ImapServer({"INBOX": []}, refuse) as server:
        error = failure(scripted(server), kind)

        assert len([c for c in server.commands if c.name == "AUTHENTICATE"]) == 1
        assert server.connections == 1
    assert error.suggestions


def test_a_pause_that_is_asked_for_at_login_is_told_to_the_second() -> None:
    """Exchange names the milliseconds."""

    def throttle(talk: Talk, command: Command) -> bool:
        if command.name == "AUTHENTICATE":
            talk.bad(command, b"Request is throttled. Suggested Backoff Time: 178755 milliseconds")
            return True
        return False

    with ImapServer({"INBOX": []}, throttle) as server:
        error = failure(scripted(server), Throttled)

    assert isinstance(error, Throttled)
    assert error.retry_after == 178.755


@pytest.mark.parametrize("farewell", [False, True])
def test_a_pause_that_is_asked_for_at_the_first_login_is_kept_exactly(farewell: bool) -> None:
    """As at any other command; a run that gave up would be started again too early."""
    waits: list[float] = []
    words = b"Request is throttled. Suggested Backoff Time: 1234 milliseconds"

    def throttle(talk: Talk, command: Command) -> bool:
        if command.name != "AUTHENTICATE" or talk.number > 2:
            return False
        if farewell:
            talk.send(b"* BYE " + words + b"\r\n")
            raise Hangup
        talk.bad(command, words)
        return True

    with (
        ImapServer({"INBOX": []}, throttle) as server,
        scripted(server, sleep=waits.append) as source,
    ):
        assert source.folders()

    assert waits == [1.234, 1.234]


def test_a_pause_of_no_certain_length_at_the_first_login_is_the_callers() -> None:
    """Too many connections may be one's own: nobody knows when they end."""
    waits: list[float] = []

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name == "AUTHENTICATE":
            talk.no(command, b"[LIMIT] too many")
            return True
        return False

    with ImapServer({"INBOX": []}, refuse) as server:
        failure(scripted(server, sleep=waits.append), Throttled)

    assert waits == []


def test_a_server_that_turns_everybody_away_is_unavailable() -> None:
    """A greeting of BYE is no login failure."""
    with ImapServer({"INBOX": []}, greeting=b"* BYE too busy, alice\r\n") as server:
        failure(scripted(server), SourceUnavailable)


@pytest.mark.parametrize(
    ("farewell", "kind"),
    [(b"* BYE\r\n", SourceUnavailable), (b"* bye Too many connections\r\n", Throttled)],
)
def test_a_server_that_turns_everybody_away_after_its_greeting_is_no_other_server(
    farewell: bytes, kind: type[MailArchiveError]
) -> None:
    """One that is shut down says so at the first command: the port and the host are right."""

    def leave(talk: Talk, command: Command) -> bool:
        del command
        talk.send(farewell)
        raise Hangup

    with ImapServer({"INBOX": []}, leave) as server:
        failure(scripted(server), kind)


@pytest.mark.parametrize(
    "greeting",
    [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe\r\n",
        b"* NONSENSE\r\n",
    ],
)
def test_what_is_no_imap_server_is_told_to_be_none(greeting: bytes) -> None:
    """Another protocol on that port is a wrong setting."""
    with ImapServer({"INBOX": []}, greeting=greeting) as server:
        error = failure(scripted(server), ConfigurationError)

    assert "no IMAP server" in str(error)


def test_a_login_that_the_server_does_not_offer_is_unsupported() -> None:
    """Nothing is sent in a form that the server did not ask for."""
    with ImapServer({"INBOX": []}, capabilities="IMAP4rev1 AUTH=GSSAPI") as server:
        failure(scripted(server, auth=OAuth("alice", lambda: "token")), Unsupported)
        failure(scripted(server, mailbox="bob"), Unsupported)

        assert {command.name for command in server.commands} == {"CAPABILITY"}


def test_login_is_used_where_the_server_knows_no_sasl() -> None:
    """User names and passwords reach the server whatever characters they have."""
    secret = 'p"\\ä {3}'
    sent = b'"al\\\\ice" "p\\"\\\\' + "ä".encode() + b' {3}"'
    with ImapServer({"INBOX": []}, capabilities="IMAP4rev1") as server:
        with scripted(server, auth=Password("al\\ice", secret)):
            pass

        (login,) = [command for command in server.commands if command.name == "LOGIN"]
    assert login.arguments == sent


def test_a_master_user_opens_any_mailbox(mailbox: Mailbox, numbered: Numbered) -> None:
    """By a separator in the login name, and by an authorisation identity (SASL PLAIN)."""
    mailbox.put(numbered(2))
    ((master, secret),) = MASTERS.items()

    for auth in (Password(master, secret, master_separator="*"), Password(master, secret)):
        with mailbox.source(auth=auth, mailbox=mailbox.user) as source:
            assert len(read_all(source)) == 2
            assert source.name == mailbox.source().name


def test_a_mailbox_that_is_not_there_is_told(mailbox: Mailbox) -> None:
    """A master's password is right, and yet there is nobody of that name."""
    ((master, secret),) = MASTERS.items()
    source = mailbox.source(auth=Password(master, secret), mailbox="nobody@example.com")

    assert failure(source).code in {"authentication-failed", "access-denied", "mailbox-not-found"}


MAILBOX, SEPARATOR = "check mailbox: ", "master_separator"


@pytest.mark.parametrize(
    ("separator", "whose", "named"),
    [
        (None, None, set()),
        (None, "nobody@example.com", {MAILBOX, SEPARATOR}),
        ("*", "nobody@example.com", {MAILBOX, SEPARATOR}),
        ("%", "", {MAILBOX, SEPARATOR}),
    ],
)
def test_a_refused_login_names_the_settings_of_whose_mailbox_it_is(
    mailbox: Mailbox, separator: str | None, whose: str | None, named: set[str]
) -> None:
    """A wrong mailbox, or a wrong separator, looks to the server like a wrong password."""
    ((master, secret),) = MASTERS.items()
    given = secret if named else "wrong"
    auth = Password(master, given, master_separator=separator)
    mine = mailbox.user if whose == "" else whose
    error = failure(mailbox.source(auth=auth, mailbox=mine))

    told = "; ".join(error.suggestions)
    assert {each for each in (MAILBOX, SEPARATOR) if each in told} == named
    assert error.code in {"authentication-failed", "access-denied"}
    assert "@" not in told


@pytest.mark.parametrize("auth", [OAuth("alice", lambda: "token"), Password("alice", "secret")])
def test_a_login_that_may_not_act_for_another_names_the_mailbox(auth: Auth) -> None:
    """By any kind of login."""

    def refuse(talk: Talk, command: Command) -> bool:
        if command.name != "AUTHENTICATE":
            return False
        talk.no(command, b"[AUTHORIZATIONFAILED] alice may not")
        return True

    capabilities = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2"
    with ImapServer({"INBOX": []}, refuse, capabilities=capabilities) as server:
        error = failure(scripted(server, auth=auth, mailbox="bob"), AccessDenied)

    assert MAILBOX in "; ".join(error.suggestions)


def test_a_login_that_needs_sasl_names_the_way_without() -> None:
    """A server that offers none has no identity to act for but that in the name."""
    with ImapServer({"INBOX": []}, capabilities="IMAP4rev1") as server:
        error = failure(scripted(server, mailbox="bob"), Unsupported)

    assert SEPARATOR in "; ".join(error.suggestions)


def test_a_folder_that_is_not_there_is_told(mailbox: Mailbox) -> None:
    """A name that was meant exactly and fits nothing is a mistake in a setting."""
    with (
        mailbox.source(folders=FolderChoice.only("INBOX", "Journall")) as source,
        pytest.raises(MailboxNotFound) as caught,
    ):
        source.folders()

    assert caught.value.suggestions[0] == 'check the names in folders: "Journall"'
    assert "Journall" not in str(caught.value)


def test_an_address_in_the_name_of_a_folder_is_not_told(mailbox: Mailbox) -> None:
    """Whoever wrote it may read it, and whoever reads the log may not."""
    choice = FolderChoice.only("INBOX", "shared/bob@example.com", "Projects")
    with (
        mailbox.source(folders=choice) as source,
        pytest.raises(MailboxNotFound, match="2 of the chosen folders") as caught,
    ):
        source.folders()

    assert "Projects" in caught.value.suggestions[0]
    assert "@" not in "".join([str(caught.value), *caught.value.suggestions])


@pytest.mark.parametrize("mechanism", list(OAuthMechanism))
def test_a_token_opens_the_mailbox_of_whom_it_belongs_to(
    mailbox: Mailbox, mechanism: OAuthMechanism
) -> None:
    """Against a server that asks whose the token is."""
    server = mailbox.server
    server.tokens["right-" + mechanism] = mailbox.user
    mine = OAuth(mailbox.user, lambda: "right-" + mechanism, mechanism=mechanism)
    unknown = OAuth(mailbox.user, lambda: "expired", mechanism=mechanism)
    others = OAuth(server.new_user(), lambda: "right-" + mechanism, mechanism=mechanism)

    with mailbox.source(auth=mine) as source:
        assert source.folders()
    failure(mailbox.source(auth=unknown), AuthenticationFailed)
    failure(mailbox.source(auth=others), AuthenticationFailed)


def test_a_token_is_asked_for_on_every_connect(mailbox: Mailbox) -> None:
    """A token lives for an hour and a run for longer."""
    mailbox.server.tokens["fresh"] = mailbox.user
    asked = []

    def token() -> str:
        asked.append(1)
        return "fresh"

    source = mailbox.source(auth=OAuth(mailbox.user, token))
    for _ in range(3):
        with source:
            pass

    assert len(asked) == 3


@pytest.mark.parametrize("kind", [OAuth, Password])
def test_a_secret_is_had_before_there_is_a_connection(kind: type[OAuth | Password]) -> None:
    """A person who signs in takes longer than a server waits for a login."""
    connections: list[int] = []

    def had() -> str:
        connections.append(server.connections)
        return "secret"

    with (
        ImapServer({"INBOX": []}) as server,
        scripted(server, auth=kind("alice@example.com", had)) as source,
    ):
        source._line.drop()
        assert source.folders()

    assert connections == [0, 1]


def test_a_refused_token_is_replaced_once(mailbox: Mailbox) -> None:
    """A cached one may have been revoked; a real server takes the other over the same session."""
    mailbox.server.tokens["good"] = mailbox.user
    asked = iter(["revoked", "good"])
    with mailbox.source(auth=OAuth(mailbox.user, lambda: next(asked))) as source:
        assert source.folders()
        assert next(asked, None) is None


@pytest.mark.parametrize("given", [["revoked"] * 9, [f"bad-{number}" for number in range(9)]])
def test_two_refused_tokens_are_enough(mailbox: Mailbox, given: list[str]) -> None:
    """Nor is the same one sent twice."""
    asked = iter(given)
    failure(mailbox.source(auth=OAuth(mailbox.user, lambda: next(asked))), AuthenticationFailed)

    assert len(list(asked)) == 7


def test_an_application_logs_in_by_a_token_of_the_identity_platform(mailbox: Mailbox) -> None:
    """MSAL gets it, a real server asks whose it is, and a revoked one is not used again."""
    with EntraServer() as login:
        credential = ClientSecret(login.secret)
        tokens = MsalTokens(
            login.tenant,
            login.client_id,
            credential,
            cloud=login.cloud(),
            ca_file=login.ca_file,
        )
        scope = login.cloud().exchange_scope
        revoked = tokens(scope)

        def known(scope: str, /, *, refused: str | None = None) -> str:
            token = tokens(scope, refused=refused)
            assert login.is_good(token, login.cloud().exchange)
            if token != revoked:
                mailbox.server.tokens[token] = mailbox.user
            return token

        with mailbox.source(auth=OAuth(mailbox.user, scoped(known, scope))) as source:
            assert source.folders()
        assert tokens(scope) != revoked


@pytest.mark.parametrize("sasl_ir", [True, False])
def test_an_error_told_by_challenge_ends_the_login(sasl_ir: bool) -> None:
    """Some servers say why in a challenge first, and wait for an empty answer."""
    capabilities = "IMAP4rev1 AUTH=XOAUTH2" + (" SASL-IR" if sasl_ir else "")

    def challenge(talk: Talk, command: Command) -> bool:
        if command.name != "AUTHENTICATE":
            return False
        if not sasl_ir:
            talk.send(b"+ \r\n")
        talk.send(b"+ eyJzdGF0dXMiOiI0MDEifQ==\r\n")
        talk.no(command, b"AUTHENTICATE failed.")
        return True

    with ImapServer({"INBOX": []}, challenge, capabilities=capabilities) as server:
        auth = OAuth("alice@example.com", lambda: "token")
        error = failure(scripted(server, auth=auth), AuthenticationFailed)

    assert any("scope" in each for each in error.suggestions)


def test_too_many_connections_of_one_user_ask_for_a_pause() -> None:
    """The server's own limit is told as what it is."""
    with dovecot(connections=1) as server:
        user = server.new_user()
        settings: dict[str, Any] = {
            "auth": Password(user, server.password),
            "ca_file": server.ca_file,
            "port": server.imaps_port,
            "limits": QUICK,
        }
        with ImapSource(server.host, **settings):
            error = failure(ImapSource(server.host, **settings), Transient)

    assert isinstance(error, Throttled | SourceUnavailable)


def test_a_name_holds_no_address_and_no_way_in() -> None:
    """143 and 993 lead to the same mailbox, which keeps its checkpoints."""
    auth = Password("Alice@Example.com", "secret")
    one = ImapSource("IMAP.example.com", auth=auth)
    two = ImapSource(
        "imap.example.com", auth=Password("alice@example.com", "x"), security="starttls"
    )
    other = ImapSource("imap.example.com", auth=auth, mailbox="bob@example.com")

    assert one.name == two.name
    assert one.name != other.name
    assert one.name.startswith("imap:imap.example.com/")
    assert "alice" not in one.name.lower()
    assert other.mailbox is not None
    assert other.mailbox.spec == "bob@example.com"


def test_exchange_renders_what_it_hands_over() -> None:
    """Two readings of one message may differ there, so bytes are no proof of sameness."""
    greeting = b"* OK The Microsoft Exchange IMAP4 service is ready.\r\n"
    with (
        ImapServer({"INBOX": []}, greeting=greeting, capabilities=CAPABILITIES) as server,
        scripted(server) as source,
    ):
        assert source.capabilities.fidelity == "rendered"
        assert source.capabilities.removes


def test_a_server_without_uidplus_removes_nothing() -> None:
    """A plain EXPUNGE would take what others marked."""
    with (
        ImapServer({"INBOX": []}, capabilities="IMAP4rev1 AUTH=PLAIN SASL-IR") as server,
        scripted(server) as source,
        pytest.raises(Unsupported),
    ):
        source.remove(())
