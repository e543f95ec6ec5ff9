"""Logging in, and as whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mailarchive.auth import ClientCertificate, OAuth, OAuthMechanism, Password
from mailarchive.errors import ConfigurationError, Unsupported
from mailarchive.sources._imap_errors import (
    OWN_CERTIFICATE,
    USE_SSL,
    USE_STARTTLS,
    broken,
    is_transient,
    is_worth_waiting,
    login_refused,
)
from mailarchive.sources._imap_session import Refused, grammar
from mailarchive.sources._imap_syntax import quoted
from mailarchive.sources._imap_wire import Broken

if TYPE_CHECKING:
    from mailarchive.auth import Auth
    from mailarchive.errors import MailArchiveError
    from mailarchive.sources._imap_errors import Place
    from mailarchive.sources._imap_session import Session


def secret_of(auth: Auth) -> str:
    """Return the password or the token, empty for a certificate; raises our errors only.

    It is had before there is a connection: a person who signs in, or opens a safe, may take
    longer than a server waits for a login, which is a minute at Exchange.
    """
    if isinstance(auth, Password):
        return auth.password()
    return auth.access_token() if isinstance(auth, OAuth) else ""


def log_in(session: Session, place: Place, auth: Auth, mailbox: str | None, secret: str) -> None:
    """Log in as `auth`, to `mailbox` where one is named; raises our errors only.

    A refused login is never tried again: that could lock the account.
    """
    if session.preauthenticated:
        if mailbox is not None:
            raise _let_in(place)
        return
    how = _mechanism(session, place, auth, mailbox)
    before = session.capabilities
    try:
        _present(session, place, auth, mailbox, how, secret=secret)
        if session.capabilities == before:
            session.tell(b"CAPABILITY")
    except Refused as error:
        raise login_refused(place, how, error, _settings(auth, mailbox)) from None
    except Broken as error:
        raise broken(place, error) from None


def _let_in(place: Place) -> MailArchiveError:
    """PREAUTH: nobody was asked who he is, and nothing says whose mailbox is open."""
    return Unsupported(
        f"{place}: the server lets everybody in without a login, so that mailbox has no effect",
        suggestions=[
            "leave mailbox out where this connection leads to that mailbox alone",
            "set port to one at which the server asks for a login",
        ],
    )


def _mechanism(session: Session, place: Place, auth: Auth, mailbox: str | None) -> str:
    offered = {word[5:] for word in session.capabilities if word.startswith("AUTH=")}
    if isinstance(auth, Password):
        return _for_password(session, place, auth, mailbox, offered)
    if isinstance(auth, OAuth):
        wanted = [auth.mechanism] if auth.mechanism else list(OAuthMechanism)
        for mechanism in wanted:
            if mechanism in offered:
                return str(mechanism)
        raise _not_offered(place, " or ".join(wanted))
    if "EXTERNAL" not in offered:
        raise _not_offered(place, "EXTERNAL", *OWN_CERTIFICATE)
    return "EXTERNAL"


def _for_password(
    session: Session, place: Place, auth: Password, mailbox: str | None, offered: set[str]
) -> str:
    closed = "LOGINDISABLED" in session.capabilities
    if closed and not place.protected:
        raise ConfigurationError(
            f"{place}: the server takes no password in clear text, and was sent none",
            suggestions=[USE_STARTTLS, USE_SSL],
        )
    if "PLAIN" in offered:
        return "PLAIN"
    if closed or (_acts_for(auth, mailbox) and not auth.master_separator):
        raise _not_offered(place, "PLAIN", *_settings(auth, mailbox))
    return "LOGIN"


def _acts_for(auth: Auth, mailbox: str | None) -> bool:
    return mailbox is not None and mailbox != auth.username


def _settings(auth: Auth, mailbox: str | None) -> list[str]:
    """What to check where the login is to somebody else's mailbox, besides name and password."""
    if not _acts_for(auth, mailbox):
        return []
    whose = "check mailbox: it must be a mailbox here, and this login must be allowed to open it"
    if not isinstance(auth, Password):
        return [whose]
    if auth.master_separator is None:
        return [whose, "where user is a master user of Dovecot's, set master_separator"]
    return [
        "check master_separator: it must be that of the server, auth_master_user_separator",
        whose,
    ]


def _not_offered(place: Place, what: str, *settings: str) -> MailArchiveError:
    return Unsupported(
        f"{place}: the server does not offer the login by {what}",
        suggestions=[*settings, "use another kind of login", "allow this one on the server"],
    )


def _present(
    session: Session, place: Place, auth: Auth, mailbox: str | None, how: str, *, secret: str
) -> None:
    if isinstance(auth, Password):
        _present_password(session, auth, mailbox, how, secret)
    elif isinstance(auth, OAuth):
        _present_token(session, place, auth, mailbox or auth.username, how, token=secret)
    elif isinstance(auth, ClientCertificate):
        session.authenticate(how, (mailbox or auth.username).encode())
    else:
        assert_never(auth)


def _present_password(
    session: Session, auth: Password, mailbox: str | None, how: str, secret: str
) -> None:
    username, authorization = auth.username, ""
    if mailbox is not None and _acts_for(auth, mailbox):
        if auth.master_separator is None:
            authorization = mailbox
        else:
            username = f"{mailbox}{auth.master_separator}{auth.username}"
    if how == "LOGIN":
        with grammar():
            words = [quoted(username.encode()), quoted(secret.encode())]
        session.tell(b"LOGIN", *words)
    else:
        parts = (authorization, username, secret)
        session.authenticate(how, "\0".join(parts).encode())


def _present_token(
    session: Session, place: Place, auth: OAuth, user: str, how: str, *, token: str
) -> None:
    """Log in with a token, and once more with another one where the first is refused.

    A cached token may have been revoked, or clocks differ; a token locks no account.
    """
    try:
        _send_token(session, place, token, user, how)
    except Refused as error:
        if is_worth_waiting(error) or is_transient(error):
            raise
        another = auth.access_token(refused=token)
        if another == token:
            raise
        _send_token(session, place, another, user, how)


def _send_token(session: Session, place: Place, token: str, user: str, how: str) -> None:
    if how == OAuthMechanism.XOAUTH2:
        session.authenticate(how, f"user={user}\1auth=Bearer {token}\1\1".encode())
        return
    # RFC 7628, 3.1; a comma and an equals sign in a name are written as codes (RFC 5801).
    name = user.replace("=", "=3D").replace(",", "=2C")
    text = f"n,a={name},\1host={place.host}\1port={place.port}\1auth=Bearer {token}\1\1"
    session.authenticate(how, text.encode(), goodbye=b"\1")
