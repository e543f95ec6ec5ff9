"""Access tokens: one way to have them, for every protocol that takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from typing_extensions import override

from mailarchive.auth._secrets import Unpicklable, ask
from mailarchive.errors import AuthenticationFailed

if TYPE_CHECKING:
    from collections.abc import Callable


class TokenProvider(Protocol):
    """Gives access tokens; asked on every connect, and again when one was refused.

    Called from several threads at once.
    """

    def __call__(self, scope: str, /, *, refused: str | None = None) -> str:
        """Return a token for the scope that is good now, and is not the `refused` one.

        A server refuses a token before its time where it was revoked, or clocks differ.
        The provider may have a newer one already, as another thread asked first.
        Raises `AuthenticationFailed`, and `SourceUnavailable` where it cannot be asked.
        """
        ...


def checked_token(secret: Callable[[], str]) -> str:
    """Return the callable's token; raises `AuthenticationFailed` where it is none."""
    token = ask(secret, "access token")
    if not (token.isascii() and token.isprintable()):
        raise AuthenticationFailed(
            "the access token holds characters that no token has (RFC 6750)",
            suggestions=["make the callable return the bare token"],
        )
    return token


def token_for(provider: TokenProvider, scope: str, *, refused: str | None = None) -> str:
    """Return the provider's token, checked; only our errors leave, and none tells of it.

    Raises `AuthenticationFailed`, also where the provider insists on the `refused` one.
    """
    token = checked_token(lambda: provider(scope, refused=refused))
    if token == refused:
        raise AuthenticationFailed(
            "the server refused the access token, and there is no other",
            suggestions=[
                "check that the token is for this server (its scope) and was not revoked",
                "make the token's callable return a fresh one",
            ],
        )
    return token


@frozen(repr=False)
class Scoped(Unpicklable):
    """What `scoped` returns."""

    _provider: TokenProvider
    _scope: str

    def __call__(self, *, refused: str | None = None) -> str:
        """Return the provider's token for the scope, and not the refused one."""
        return self._provider(self._scope, refused=refused)

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "scoped(...)"


def scoped(provider: TokenProvider, scope: str) -> Callable[[], str]:
    """Return a callable that asks the provider for tokens of one scope: for `OAuth`."""
    return Scoped(provider, scope)


@frozen(repr=False)
class _AnyScope(Unpicklable):
    _token: Callable[[], str]

    def __call__(self, scope: str, /, *, refused: str | None = None) -> str:
        del scope, refused
        return self._token()

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "any_scope(...)"


def any_scope(token: Callable[[], str]) -> TokenProvider:
    """Return a provider that gives what the callable returns, whatever the scope."""
    return _AnyScope(token)
