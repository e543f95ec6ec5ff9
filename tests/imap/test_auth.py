"""Logins hold secrets: they show none and travel nowhere."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.auth import ClientCertificate, OAuth, OAuthMechanism, Password
from mailarchive.errors import AuthenticationFailed, ConfigurationError, Unsupported

if TYPE_CHECKING:
    from mailarchive.auth import Auth

LOGINS = [
    Password("alice@example.com", "hunter2"),
    Password("alice@example.com", lambda: "hunter2", master_separator="*"),
    OAuth("alice@example.com", lambda: "hunter2", mechanism=OAuthMechanism.XOAUTH2),
    ClientCertificate("alice@example.com"),
]


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_shows_neither_name_nor_secret(login: Auth) -> None:
    """A repr ends up in a log."""
    assert "alice" not in repr(login)
    assert "hunter2" not in repr(login)
    assert "hunter2" not in str(login)


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_login_is_never_pickled(login: Auth, protocol: int) -> None:
    """A job that travels carries the place of a secret."""
    with pytest.raises(Unsupported) as caught:
        pickle.dumps(login, protocol)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_is_its_own_copy(login: Auth) -> None:
    """It is frozen."""
    assert copy.copy(login) is login
    assert copy.deepcopy([login]) == [login]


def test_a_secret_that_may_change_is_asked_for_each_time() -> None:
    """A callable is called, and a text is itself."""
    answers = iter(["one", "two"])
    login = Password("alice", lambda: next(answers))

    assert [login.password(), login.password()] == ["one", "two"]
    assert Password("alice", "three").password() == "three"


def broken() -> str:
    """A callable whose error says too much."""
    raise RuntimeError("no such secret: hunter2")


@pytest.mark.parametrize(
    "secret", [broken, lambda: "", lambda: "a\0b", lambda: b"bytes", lambda: "\ud800"]
)
def test_a_secret_that_cannot_be_had_is_a_failed_login(secret: object) -> None:
    """And what its callable said goes no further."""
    for ask in (
        Password("alice", secret).password,  # type: ignore[arg-type]  # what a program may do all the same
        OAuth("alice", secret).access_token,  # type: ignore[arg-type]  # likewise
    ):
        with pytest.raises(AuthenticationFailed) as caught:
            ask()
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.suggestions


@pytest.mark.parametrize("token", ["with space\x01", "line\r\nend", "ümlaut"])
def test_a_token_holds_nothing_that_could_end_it(token: str) -> None:
    """The forms that carry it separate their parts by control characters."""
    with pytest.raises(AuthenticationFailed):
        OAuth("alice", lambda: token).access_token()


@pytest.mark.parametrize("separator", ["", "\0", "*\r\n", "123456789", 1])
def test_a_separator_is_one_that_a_server_may_have(separator: Any) -> None:
    """Whatever a job says is one of our errors, and none of attrs'."""
    with pytest.raises(ConfigurationError, match="master_separator"):
        Password("admin", "secret", master_separator=separator)

    assert Password("admin", "secret", master_separator="12345678").master_separator


@pytest.mark.parametrize("name", ["", "a\0b", "a\1b", "a\r\nb"])
def test_a_name_holds_nothing_that_could_end_it(name: str) -> None:
    """The same for names, at construction."""
    for make in (Password, OAuth):
        with pytest.raises(ConfigurationError) as caught:
            make(name, lambda: "secret")
        assert caught.value.suggestions
