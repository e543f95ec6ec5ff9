"""Logins and TLS: as exchangelib does them, and nothing by the environment."""

from __future__ import annotations

import pickle
import ssl
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from exchangelib.transport import AUTH_TYPE_MAP, GSSAPI
from support.ews import ALICE, SECRET, Desk, read
from support.ports import hang_up, port_of

from mailarchive.auth import Kerberos, OAuth, Password, TokenProvider
from mailarchive.errors import (
    AuthenticationFailed,
    ConfigurationError,
    SourceError,
    SourceUnavailable,
)
from mailarchive.sources import _ews_connect
from mailarchive.testing import ews_faults as faults
from mailarchive.testing._http_server import Answer, HttpServer
from mailarchive.testing.certificates import self_signed
from mailarchive.testing.ews_server import EwsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.ews import Clock

    from mailarchive.testing.ews_server import Call


def with_ntlm(desk: Desk, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server take NTLM, with the one password that it then knows."""
    passwords = here / "passwords"
    passwords.write_text(f"EXAMPLE:alice:{SECRET}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(passwords))
    desk.server.ntlm = True
    desk.server.add_user("EXAMPLE\\alice", mailbox=ALICE)


@pytest.mark.parametrize("method", ["ntlm", None])
def test_ntlm_logs_in(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str | None
) -> None:
    """Where it is named, and where the server offers it beside Basic."""
    with_ntlm(desk, tmp_path, monkeypatch)
    whole = desk.deliver(6)
    seen: set[str] = set()
    desk.server.fault = lambda call: bool(seen.add(call.user))  # type: ignore[func-returns-value]  # notes who it is
    auth = Password("EXAMPLE\\alice", SECRET)
    with desk.source(auth=auth, method=method) as source:
        assert len(read(source)) == len(whole)

    assert seen == {"example\\alice"}


def test_a_wrong_password_by_ntlm_is_refused(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what often stands behind it."""
    with_ntlm(desk, tmp_path, monkeypatch)
    auth = Password("EXAMPLE\\alice", "wrong")
    with pytest.raises(AuthenticationFailed) as caught, desk.source(auth=auth, method=None):
        pass

    assert any("Extended Protection" in each for each in caught.value.suggestions)
    assert "ntlm" in str(caught.value)
    assert desk.clock.waits == []


def test_without_a_method_no_secret_is_sent_before_the_server_says_how(desk: Desk) -> None:
    """The first request carries no login."""
    seen: list[bool] = []
    who = desk.server.who

    def watched(header: str) -> str | None:
        seen.append(bool(header))
        return who(header)

    desk.server.who = watched  # type: ignore[method-assign, assignment]  # watches
    with desk.source(method=None):
        pass

    assert seen[:2] == [False, True]
    assert desk.server.refused_logins == 0


def test_a_token_provider_is_asked_for_the_servers_scope(desk: Desk) -> None:
    """And told of the token that was refused."""
    asked: list[tuple[str, str | None]] = []

    def provide(scope: str, /, *, refused: str | None = None) -> str:
        asked.append((scope, refused))
        return desk.server.token(ALICE) if refused else "old"

    provider: TokenProvider = provide
    desk.deliver(2)
    with desk.source(auth=provider, method=None) as source:
        assert len(read(source)) == 2

    scope = "https://127.0.0.1/.default"
    assert asked == [(scope, None), (scope, "old")]


def test_kerberos_says_what_to_install(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not there."""
    monkeypatch.setattr(_ews_connect, "AUTH_TYPE_MAP", {})
    with pytest.raises(ConfigurationError) as caught, desk.source(auth=Kerberos(), method=None):
        pass

    assert caught.value.suggestions == ("pip install 'mailarchive[kerberos]'",)


def test_kerberos_takes_the_systems_ticket(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By exchangelib's own class for it, which is made without a secret."""
    made: list[dict[str, object]] = []

    class Ticket:
        """What the system's ticket would be asked through."""

        def __init__(self, **keywords: object) -> None:
            made.append(keywords)

        def __call__(self, request: object) -> object:
            return request

    monkeypatch.setitem(AUTH_TYPE_MAP, GSSAPI, Ticket)
    with (
        pytest.raises(AuthenticationFailed, match="kerberos"),
        desk.source(auth=Kerberos(), method=None),
    ):
        pass

    assert made == [{}]


@pytest.fixture
def https(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    """The same server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path, ["IP:127.0.0.1"]))
    with EwsServer(clock=clock, tls=context) as server:
        yield Desk(server, server.add_mailbox(ALICE, password=SECRET), clock)


def test_tls_trusts_the_authority_that_is_named(https: Desk, tmp_path: Path) -> None:
    """By a file or by a context."""
    https.deliver(2)
    file = tmp_path / "cert.pem"
    context = ssl.create_default_context(cafile=file)
    for settings in ({"ca_file": file}, {"ssl_context": context}):
        with https.source(allow_plaintext=False, **settings) as source:
            assert len(read(source)) == 2


def test_an_unknown_certificate_is_refused(https: Desk) -> None:
    """With the setting to change, and at once."""
    with pytest.raises(ConfigurationError, match="not trusted") as caught, https.source():
        pass

    assert any("ca_file" in each for each in caught.value.suggestions)
    assert https.clock.waits == []
    assert https.server.calls == []


def test_a_certificate_for_another_name_is_refused(https: Desk, tmp_path: Path) -> None:
    """Whoever signed it."""
    url = https.server.url.replace("127.0.0.1", "localhost")
    ca_file = tmp_path / "cert.pem"
    with (
        pytest.raises(ConfigurationError, match="another name"),
        https.source(url=url, ca_file=ca_file),
    ):
        pass


def test_a_port_without_tls_is_said_so(desk: Desk) -> None:
    """It speaks HTTP in clear text."""
    url = desk.server.url.replace("http:", "https:")
    with pytest.raises(ConfigurationError, match="no TLS"), desk.source(url=url):
        pass


def test_an_end_in_the_middle_of_the_handshake_is_no_wrong_port(desk: Desk) -> None:
    """As by a server that just starts: no setting is wrong for that."""
    with (
        port_of(hang_up) as port,
        pytest.raises(SourceUnavailable, match="hung up"),
        desk.source(url=f"https://127.0.0.1:{port}/EWS/Exchange.asmx"),
    ):
        pass


def test_the_environment_is_not_asked(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for a proxy, nor for certificates, nor for passwords."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password eve\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    desk.deliver(1)
    with desk.source() as source:
        assert len(read(source)) == 1


def test_a_proxy_that_is_named_is_used(desk: Desk) -> None:
    """And is said to be away where it is, not the server behind it."""
    with pytest.raises(SourceError, match="the proxy") as caught:
        desk.source(proxy="http://127.0.0.1:1").__enter__()
    assert caught.value.suggestions == ("check proxy",)
    assert desk.server.calls == []


@pytest.mark.parametrize(
    ("url", "words", "setting"),
    [
        ("http://127.0.0.1:1/EWS/Exchange.asmx", "nothing listens on its port", "port in url"),
        ("https://a.invalid/EWS/Exchange.asmx", "its host name is not known", "host in url"),
    ],
)
def test_what_cannot_be_reached_is_said_step_by_step(
    desk: Desk, url: str, words: str, setting: str
) -> None:
    """The name and the port are different things to mend."""
    with pytest.raises(SourceUnavailable, match=words) as caught:
        desk.source(url=url).__enter__()

    assert any(setting in each for each in caught.value.suggestions)


def test_clear_text_on_a_port_with_tls_names_https(https: Desk) -> None:
    """The server hangs up, which tells nothing: the scheme is the first guess."""
    url = https.server.url.replace("https:", "http:")
    with pytest.raises(SourceUnavailable, match="hung up") as caught, https.source(url=url):
        pass

    assert caught.value.suggestions[0].startswith("set url to one with https")


def test_a_server_that_hangs_up_in_tls_is_not_told_of_https(https: Desk, tmp_path: Path) -> None:
    """It has https already."""
    https.server.fault = faults.hang_up(keep=0)
    source = https.source(ca_file=tmp_path / "cert.pem")
    with pytest.raises(SourceUnavailable) as caught, source:
        pass

    assert not any("https" in each for each in caught.value.suggestions)


@pytest.mark.parametrize(
    ("status", "words", "setting"),
    [(200, "a web page answers", "EWS/Exchange.asmx"), (407, "a proxy wants a login", "proxy")],
)
def test_what_wants_no_login_of_ours_is_no_endpoint(
    desk: Desk, status: int, words: str, setting: str
) -> None:
    """It is asked before a secret is sent, and gets none."""
    with HttpServer(lambda _: Answer(status, b"<html>welcome</html>")) as web:
        source = desk.source(url=f"{web.origin}/EWS/Exchange.asmx", method=None)
        with pytest.raises(ConfigurationError, match=words) as caught, source:
            pass

    assert any(setting in each for each in caught.value.suggestions)


def test_ntlm_without_a_challenge_is_a_refused_login(desk: Desk) -> None:
    """As a proxy gives it, or a server that has stopped half way."""
    answer = Answer(401, headers={"WWW-Authenticate": "NTLM"})
    with HttpServer(lambda _: answer) as server:
        source = desk.source(url=f"{server.origin}/EWS/Exchange.asmx", method=None)
        with pytest.raises(AuthenticationFailed, match="ntlm") as caught, source:
            pass

    assert any("Extended Protection" in each for each in caught.value.suggestions)


def test_administrators_can_tell_us_by_our_name(desk: Desk) -> None:
    """In lists of allowed programs; and the mailbox is named for the way to its server."""
    seen: list[tuple[str, str | None]] = []

    def note(call: Call) -> bool:
        seen.append((call.headers["User-Agent"], call.headers.get("X-AnchorMailbox")))
        return False

    desk.server.fault = note
    with desk.source():
        pass
    assert {(agent, anchor) for agent, anchor in seen} == {("mailarchive", ALICE)}


def test_no_secret_and_no_address_is_shown(desk: Desk) -> None:
    """Not in names, reprs, errors or their causes; and nothing with a secret is pickled."""
    desk.server.fault = faults.refused("ErrorAccessDenied")
    source = desk.source()
    with pytest.raises(SourceError) as caught, source:
        pass
    shown = f"{caught.value!r} {caught.value.suggestions} {caught.value.__cause__!r} {source!r}"
    shown += f"{source.name} {source._pool.endpoint!r} {source._line.place!r} {Kerberos()!r}"
    shown += repr(source._line._manner)

    assert ALICE not in shown
    assert SECRET not in shown
    assert pickle.loads(pickle.dumps(caught.value)).suggestions == caught.value.suggestions


def test_passwords_are_asked_for_anew_on_every_connect(desk: Desk) -> None:
    """One that was rotated is taken up after a break."""
    desk.deliver(3)
    given: list[str] = []

    def password() -> str:
        given.append(SECRET)
        return given[-1]

    desk.server.fault = faults.on("GetItem", faults.times(1, faults.hang_up()))
    with desk.source(auth=Password(ALICE, password)) as source:
        assert len(read(source)) == 3

    assert len(given) == 2


def test_a_token_that_cannot_be_had_is_our_error(desk: Desk) -> None:
    """Whatever the callable raised, and without its text."""

    def broken() -> str:
        raise RuntimeError("secret details")

    source = desk.source(auth=OAuth(ALICE, broken), method=None)
    with pytest.raises(AuthenticationFailed) as caught, source:
        pass

    assert "details" not in f"{caught.value!r}"


def test_a_session_is_kept_for_all_requests(desk: Desk) -> None:
    """One login for a whole run, as NTLM needs."""
    desk.deliver(9)
    ports: set[object] = set()

    def note(call: Call) -> bool:
        ports.add(call._handler.client_address)
        return False

    desk.server.fault = note
    with desk.source(limits=evolve(desk.source()._limits, items=1)) as source:
        read(source)

    assert len(ports) == 1
