"""A mailbox on a real server, as the library sees it and as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from attrs import frozen
from typing_extensions import override

from mailarchive import Archived, Digest, Receipt, SourceMessage
from mailarchive.auth import Password
from mailarchive.sources.imap import ImapLimits, ImapSource
from mailarchive.testing.cyrus import Cyrus
from mailarchive.testing.dovecot import Dovecot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailarchive import Page
    from mailarchive.testing._raw_imap import RawImap
    from mailarchive.testing.imap_server import ImapServer

QUICK = ImapLimits(connect_timeout=5, read_timeout=5, first_backoff=0)


S = TypeVar("S", Dovecot, Cyrus)


@frozen
class AnyMailbox(Generic[S]):
    """A mailbox that nobody else uses, and how to look at it from outside."""

    server: S
    user: str

    def put(
        self, messages: Iterable[bytes], folder: str = "INBOX", flags: Iterable[str] = ()
    ) -> None:
        """Append messages."""
        self.server.put(self.user, messages, folder, flags)

    def raw(self) -> RawImap:
        """A connection to look at it, or change it, behind the library's back."""
        return self.server.raw(self.user)

    def source(self, kind: type[ImapSource] = ImapSource, /, **settings: Any) -> ImapSource:
        """The mailbox as the library sees it."""
        return kind(
            self.server.host,
            **{
                "auth": Password(self.user, self.server.password),
                "limits": QUICK,
                "sleep": _no_sleep,
                **self.protection(),
                **settings,
            },
        )

    def protection(self) -> dict[str, Any]:
        """How the server is reached unless a test says otherwise."""
        raise NotImplementedError

    def state(self, folder: str = "INBOX") -> list[bytes]:
        """What the server says of every message: UID, flags, size, date."""
        with self.raw() as connection:
            connection.command(f'EXAMINE "{folder}"')
            answer = connection.command("UID FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)")
            return [line for line in answer if b" FETCH " in line]


@frozen
class Mailbox(AnyMailbox[Dovecot]):
    """A mailbox on Dovecot, over TLS."""

    @override
    def protection(self) -> dict[str, Any]:
        """TLS, and the server's own certificate to trust."""
        return {"port": self.server.imaps_port, "ca_file": self.server.ca_file}


@frozen
class PlainMailbox(AnyMailbox[Cyrus]):
    """A mailbox on Cyrus, in clear text."""

    @override
    def protection(self) -> dict[str, Any]:
        """None, and asked for twice."""
        return {"port": self.server.port, "security": "plain", "allow_plaintext": True}


def _no_sleep(seconds: float) -> None:
    """Waiting is a setting; a test does not wait."""


class Numbered(Protocol):
    """Makes messages."""

    def __call__(self, count: int, size: int = 0) -> list[bytes]:
        """So many, all different, each at least so large."""
        ...


def read_all(source: ImapSource, folder: str = "INBOX") -> list[SourceMessage]:
    """Every message of a folder, in the order of the pages."""
    chosen = next(each for each in source.folders() if each.name == folder)
    found = [item for page in source.scan(chosen) for item in source.fetch(page.refs)]
    assert all(isinstance(item, SourceMessage) for item in found)
    return [item for item in found if isinstance(item, SourceMessage)]


def archived(message: SourceMessage) -> Archived:
    """A message with the receipt of an archive that has its bytes."""
    digest = Digest.of(message.raw)
    return Archived(message.ref, Receipt("test", digest, digest, "somewhere"))


def scripted(server: ImapServer, **settings: Any) -> ImapSource:
    """The mailbox of a scripted server, as the library sees it."""
    return ImapSource(
        server.host,
        **{
            "auth": Password("alice@example.com", "alice's secret"),
            "port": server.port,
            "security": "plain",
            "allow_plaintext": True,
            "limits": QUICK,
            "sleep": _no_sleep,
            **settings,
        },
    )


def inbox_of(source: ImapSource) -> tuple[Page, ...]:
    """All pages of the inbox."""
    return tuple(source.scan(source.folders()[0]))
