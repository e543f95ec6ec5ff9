"""Tokens by MSAL itself, from an identity platform on loopback."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.auth import OAuth, any_scope, scoped, token_for
from mailarchive.auth.msal import Certificate, ClientSecret, DeviceCode, MsalTokens, TokenFile
from mailarchive.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MailArchiveError,
    SourceUnavailable,
    Throttled,
    Unsupported,
)
from mailarchive.testing.certificates import self_signed
from mailarchive.testing.entra_server import EntraServer, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive.auth.msal import Credential

GRAPH = "https://graph.microsoft.com"
SCOPE = f"{GRAPH}/.default"
SECRETS = ("the application's secret", "contoso", "ann@")


@pytest.fixture
def login() -> Iterator[EntraServer]:
    """An identity platform."""
    with EntraServer() as server:
        yield server


def tokens(login: EntraServer, credential: Credential | None = None, **given: Any) -> MsalTokens:
    """The provider under test."""
    credential = credential or ClientSecret(login.secret)
    given = {"cloud": login.cloud(), "ca_file": login.ca_file} | given
    return MsalTokens(login.tenant, login.client_id, credential, **given)


def test_an_application_has_a_token_by_its_secret_and_asks_once(login: EntraServer) -> None:
    """A token is kept until it is about to expire, and is for the scope that was asked for."""
    provider = tokens(login)
    found = {provider(SCOPE) for _ in range(3)}

    assert len(found) == 1
    assert login.is_good(found.pop(), GRAPH)
    assert login.asked == ["client_credentials"]


def test_a_certificate_proves_the_application_without_its_key_on_the_wire(
    login: EntraServer, tmp_path: Path
) -> None:
    """The proof names the certificate by its thumbprint."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = _rsa(rsa.generate_private_key(65537, 2048))
    provider = tokens(login, Certificate(pem))

    assert login.is_good(provider(SCOPE), GRAPH)
    assert "x5t#S256" in login.assertions[0]


def _rsa(key: Any) -> str:
    """A certificate with an RSA key, which is what the platform takes."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "archive")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now, now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    both: bytes = secret + made.public_bytes(serialization.Encoding.PEM)
    return both.decode()


@pytest.mark.parametrize("pem", ["", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_a_certificate_that_cannot_be_used_is_told(login: EntraServer, pem: str) -> None:
    """Before anything is sent."""
    with pytest.raises(AuthenticationFailed) as caught:
        tokens(login, Certificate(pem))(SCOPE)

    assert caught.value.suggestions


def test_a_certificate_whose_key_is_none_of_rsa_is_told(login: EntraServer) -> None:
    """Microsoft takes no other, and its library ended with an error of its own."""
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = _rsa(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(AuthenticationFailed, match="none of RSA") as caught:
        tokens(login, Certificate(pem))(SCOPE)

    assert "RSA key" in caught.value.suggestions[0]
    assert login.asked == []


def test_a_key_with_a_wrong_passphrase_is_told(login: EntraServer, tmp_path: Path) -> None:
    """And neither the key nor the passphrase is in the error."""
    names = self_signed(tmp_path, ["DNS:archive.example"])
    pem = "".join(file.read_text() for file in names)
    with pytest.raises(AuthenticationFailed, match="passphrase") as caught:
        tokens(login, Certificate(pem, "hunter2"))(SCOPE)

    assert "hunter2" not in str(caught.value)


def test_a_person_signs_in_with_a_device_code_and_stays_signed_in(
    login: EntraServer, tmp_path: Path
) -> None:
    """The next process needs nobody: the file of tokens has what it needs."""
    login.polls_before_sign_in = 2
    said: list[str] = []
    cache = TokenFile(tmp_path / "tokens")
    first = tokens(login, DeviceCode(said.append), cache=cache)(SCOPE)
    second = tokens(login, DeviceCode(None), cache=TokenFile(tmp_path / "tokens"))
    renewed = second(SCOPE, refused=first)

    assert said == ["Open https://login.example/device and enter ABCD1234"]
    assert login.is_good(renewed, GRAPH)
    assert renewed != first
    assert login.asked[-1] == "refresh_token"


def test_where_nobody_is_signed_in_and_nobody_can_it_is_told(login: EntraServer) -> None:
    """A run from a timer must not wait for a person."""
    with pytest.raises(AuthenticationFailed, match="nobody is signed in") as caught:
        tokens(login, DeviceCode(None))(SCOPE)

    assert caught.value.suggestions


def test_a_file_of_tokens_is_for_its_owner_alone(login: EntraServer, tmp_path: Path) -> None:
    """Whatever the umask says; and one that others can read is refused."""
    before = os.umask(0)
    try:
        tokens(login, cache=TokenFile(tmp_path / "tokens"))(SCOPE)
    finally:
        os.umask(before)
    file = tmp_path / "tokens"

    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["tokens"]
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="read by others"):
        tokens(login, cache=TokenFile(file))(SCOPE)


def test_another_process_takes_the_token_from_the_file(login: EntraServer, tmp_path: Path) -> None:
    """Nothing is asked twice."""
    cache = TokenFile(tmp_path / "tokens")

    assert tokens(login, cache=cache)(SCOPE) == tokens(login, cache=cache)(SCOPE)
    assert len(login.asked) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_file_of_tokens_is_an_empty_one(
    login: EntraServer, tmp_path: Path, damage: bytes
) -> None:
    """It is a cache: what it has lost is asked for again."""
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_bytes(damage)

    assert login.is_good(tokens(login, cache=TokenFile(file))(SCOPE), GRAPH)
    assert json.loads(file.read_bytes())


def test_a_file_of_tokens_that_cannot_be_written_is_a_setting(
    login: EntraServer, tmp_path: Path
) -> None:
    """Named, and not its path."""
    with pytest.raises(ConfigurationError) as caught:
        tokens(login, cache=TokenFile(tmp_path / "no folder" / "tokens"))(SCOPE)

    assert "no folder" not in str(caught.value)
    assert "token_cache" in caught.value.suggestions[0]


def test_a_refused_token_is_renewed_once_for_all_threads(login: EntraServer) -> None:
    """Whoever comes later with the same refusal is given the one that was had meanwhile."""
    provider = tokens(login)
    old = provider(SCOPE)
    login.revoke()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(provider(SCOPE, refused=old)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert login.is_good(found[0], GRAPH)
    assert len(login.asked) == 2


def test_a_replaced_secret_is_read_anew(login: EntraServer) -> None:
    """A rotated secret needs no new process."""
    answers = iter(["the old one", login.secret])
    provider = tokens(login, ClientSecret(lambda: next(answers)))
    with pytest.raises(AuthenticationFailed):
        provider(SCOPE)

    assert login.is_good(provider(SCOPE), GRAPH)


@pytest.mark.parametrize(
    ("refusal", "kind", "hint"),
    [
        (Refusal(), AuthenticationFailed, "value"),
        (Refusal("invalid_client", 7000222), AuthenticationFailed, "expired"),
        (Refusal("invalid_client", 700027), AuthenticationFailed, "certificate"),
        (Refusal("unauthorized_client", 700016), AuthenticationFailed, "client_id"),
        (Refusal("invalid_grant", 50076), AuthenticationFailed, "device code"),
        (Refusal("invalid_grant", 53003), AuthenticationFailed, "Conditional Access"),
        (Refusal("invalid_grant", 65001), AuthenticationFailed, "administrator"),
        (Refusal("invalid_scope", 70011), AuthenticationFailed, ".default"),
        (Refusal("invalid_resource", 500011), AuthenticationFailed, "cloud"),
        (Refusal("something_new", 1), AuthenticationFailed, "client_id"),
        (Refusal("temporarily_unavailable", 90033), SourceUnavailable, "later"),
        (Refusal("server_error", 1, 503), SourceUnavailable, "later"),
        (Refusal("throttled", 1, 429), Throttled, "later"),
    ],
)
def test_a_refusal_has_a_class_and_says_what_to_do(
    login: EntraServer, refusal: Refusal, kind: type[MailArchiveError], hint: str
) -> None:
    """The OAuth error decides the class, the AADSTS number the suggestion; no name is told."""
    login.refusals = [refusal]
    with pytest.raises(MailArchiveError) as caught:
        tokens(login)(SCOPE)

    assert type(caught.value) is kind
    assert hint in " ".join(caught.value.suggestions)
    assert not [each for each in SECRETS if each in f"{caught.value} {caught.value.suggestions}"]


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_the_platform_asks_for_is_handed_on(
    login: EntraServer, status: int
) -> None:
    """To whoever tries again."""
    login.refusals = [Refusal("busy", 1, status, "17")]
    with pytest.raises((Throttled, SourceUnavailable)) as caught:
        tokens(login)(SCOPE)

    assert caught.value.retry_after == 17.0


def test_a_tenant_that_is_not_there_is_told(login: EntraServer) -> None:
    """With the setting to change."""
    provider = MsalTokens(
        "nobody.example",
        login.client_id,
        ClientSecret(login.secret),
        cloud=login.cloud(),
        ca_file=login.ca_file,
    )
    with pytest.raises(AuthenticationFailed, match="tenant") as caught:
        provider(SCOPE)

    assert "tenant" in caught.value.suggestions[0]


def test_a_login_host_that_is_away_is_unavailable(login: EntraServer) -> None:
    """Not a wrong password."""
    with EntraServer() as away:
        cloud = away.cloud()
    with pytest.raises(SourceUnavailable):
        tokens(login, cloud=cloud)(SCOPE)


def test_a_certificate_of_a_stranger_gets_no_secret(login: EntraServer) -> None:
    """The login host proves who it is first."""
    with pytest.raises(SourceUnavailable):
        tokens(login, ca_file=None)(SCOPE)

    assert login.asked == []


@pytest.mark.parametrize(
    ("tenant", "client"),
    [("common", "1"), ("a/b", "1"), ("", "1"), ("contoso.example", ""), ("x", "1?2")],
)
def test_a_wrong_setting_is_told_at_once(tenant: str, client: str) -> None:
    """Nothing of it reaches an address."""
    with pytest.raises(ConfigurationError) as caught:
        MsalTokens(tenant, client, ClientSecret("x"))

    assert caught.value.suggestions


@pytest.mark.parametrize(
    "secretive",
    [
        ClientSecret("hunter2"),
        Certificate("hunter2", "hunter2"),
        DeviceCode(None, "hunter2"),
        MsalTokens("hunter2", "hunter2", ClientSecret("hunter2")),
        TokenFile("hunter2"),
        scoped(any_scope(lambda: "hunter2"), "hunter2"),
        any_scope(lambda: "hunter2"),
    ],
)
def test_nothing_secret_is_shown(secretive: object) -> None:
    """A repr ends up in a log."""
    assert "hunter2" not in repr(secretive)
    if not isinstance(secretive, TokenFile):
        with pytest.raises(Unsupported):
            pickle.dumps(secretive)


def test_one_provider_serves_imap_too(login: EntraServer) -> None:
    """`scoped` makes it the callable that an IMAP login takes."""
    cloud = login.cloud()
    auth = OAuth("ann@contoso.example", scoped(tokens(login), cloud.exchange_scope))

    assert login.is_good(auth.access_token(), cloud.exchange)


def test_a_provider_that_insists_on_a_refused_token_fails() -> None:
    """Rather than to try it for ever."""
    with pytest.raises(AuthenticationFailed) as caught:
        token_for(any_scope(lambda: "same"), SCOPE, refused="same")

    assert caught.value.suggestions


def test_without_msal_the_import_says_what_to_install() -> None:
    """In one line."""
    program = "import sys; sys.modules['msal'] = None\nimport mailarchive.auth.msal"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )

    assert "pip install 'mailarchive[oauth]'" in done.stderr.splitlines()[-1]
