"""A mailbox on an IMAP server (RFC 3501), read without a trace, removed from with care.

The whole of it::

    ImapSource("imap.example.com", auth=Password("journal@example.com", secret))

Folders are opened with EXAMINE and messages read with BODY.PEEK, so that nothing is marked.
A checkpoint names the folder's UIDVALIDITY and the last UID; where a server numbers a folder
anew the scan raises `CheckpointInvalid`, and it is listed again.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from mailarchive._model import (
    Address,
    AddressKind,
    Fidelity,
    MessageRef,
    Page,
    SourceCapabilities,
    Unavailable,
)
from mailarchive.abc import Source
from mailarchive.auth import checked_name
from mailarchive.errors import ConfigurationError, MailboxNotFound
from mailarchive.sources._folder_choice import FolderChoice, composed
from mailarchive.sources._foreign_key import not_read, not_removed
from mailarchive.sources._imap_ahead import Ahead, Some
from mailarchive.sources._imap_connect import connect
from mailarchive.sources._imap_errors import (
    PORTS,
    USE_SSL,
    Place,
    Security,
)
from mailarchive.sources._imap_fetch import Fetching
from mailarchive.sources._imap_folders import folders
from mailarchive.sources._imap_limits import ImapLimits
from mailarchive.sources._imap_line import Line
from mailarchive.sources._imap_login import log_in, secret_of
from mailarchive.sources._imap_remove import Recheck, Removing
from mailarchive.sources._imap_rights import Rights
from mailarchive.sources._imap_scan import Ripe, Scanning
from mailarchive.sources._imap_syntax import LARGEST_NUMBER
from mailarchive.sources._tls import verified

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    from mailarchive._model import Archived, Folder, RemovalResult, SourceMessage
    from mailarchive.auth import Auth
    from mailarchive.sources._imap_session import Session

__all__ = ["FolderChoice", "ImapLimits", "ImapSource", "Recheck", "Ripe", "Security"]

_KEY = re.compile(r"(\d{1,10})\.(\d{1,10})\Z")
_LAST_PORT = 65_535
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}\Z")


def _now() -> datetime:
    return datetime.now(UTC)


class ImapSource(Source):
    """One mailbox on an IMAP server, with its folders.

    `mailbox` is whose mailbox it is where the login is not its own: an authorisation
    identity, a shared mailbox, or the user before a master user's separator.  `address` is
    the mailbox's own where the name that the server knows it by is none, as `alice`.
    """

    def __init__(
        self,
        host: str,
        *,
        auth: Auth,
        mailbox: str | None = None,
        address: Address | None = None,
        port: int | None = None,
        security: Security | str = Security.SSL,
        allow_plaintext: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | PathLike[str] | None = None,
        folders: FolderChoice | None = None,
        remove_to: str | None = None,
        recheck: Recheck | None = None,
        fidelity: Fidelity | None = None,
        ripe: Ripe | None = None,
        name: str | None = None,
        limits: ImapLimits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take everything that says which mailbox; nothing is connected yet.

        Certificates are verified against the system's authorities, or `ca_file`, or as
        `ssl_context` says.  `fidelity` says whether the server keeps bytes as they came;
        unless it is given, one that greets as Exchange does not.  `recheck` is `BYTES`
        where it does, else `SIZE`.  `remove_to` names a folder that removed messages are
        moved to; that folder is then not archived.  `ripe` lets messages wait, by age or
        by flags.  Raises `ConfigurationError`.
        """
        whose = auth.username if mailbox is None else checked_name(mailbox, "mailbox")
        protection = _security(security, allow_plaintext=allow_plaintext)
        self.name: str = name or _default_name(host, whose)
        own = Address.parse(whose) if "@" in whose else None
        self.mailbox: Address | None = own if address is None else _smtp(address)
        self._place = Place(self.name, _host(host), _port(port, protection), protection)
        self._auth, self._named = auth, mailbox
        self._context = _tls(self._place, ssl_context, ca_file)
        self._choice = folders or FolderChoice()
        self._remove_to, self._recheck, self._fidelity = remove_to, recheck, fidelity
        self._ripe, self._clock = ripe, clock
        self._limits = limits or ImapLimits()
        self._known: list[Folder] | None = None
        self._epochs: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._ahead, self._rights = Ahead(self._limits), Rights()
        self._line = Line(self._place, self._limits, self._connect, sleep)

    @override
    def _open(self) -> None:
        self._ahead, self._waiting, self._rights = Ahead(self._limits), {}, Rights()
        session = self._line.first()
        can = session.capabilities
        fidelity = Fidelity.RENDERED if session.exchange else Fidelity.WIRE
        rev2 = "IMAP4REV2" in can
        moves = self._remove_to is not None and "MOVE" in can
        self.capabilities: SourceCapabilities = SourceCapabilities(
            fidelity=self._fidelity or fidelity,
            removes=rev2 or moves or "UIDPLUS" in can,
        )

    @override
    def _close(self) -> None:
        self._line.close()

    @override
    def _folders(self) -> Iterable[Folder]:
        known = self._list_folders()
        chosen = self._choice.among(known, self._place)
        self.unmatched: tuple[str, ...] = chosen.unmatched
        target = None if self._remove_to is None else self._target()
        self.left_out: tuple[Folder, ...] = chosen.left_out + tuple(
            folder for folder in chosen.taken if folder.key == target
        )
        return [folder for folder in chosen.taken if folder.key != target]

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        scanning = Scanning(
            self._line, folder, (self._ripe, self._clock), (self._epochs, self._ahead)
        )
        yield from scanning.pages(after)
        self._waiting[folder.key] = scanning.waiting

    @override
    def _unripe(self) -> int:
        return sum(self._waiting.values())

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        grouped: dict[tuple[str, int], dict[int, MessageRef]] = {}
        for ref in refs:
            if (key := _parse(ref.key)) is None:
                yield not_read(ref)
            else:
                grouped.setdefault((ref.folder, key[0]), {})[key[1]] = ref
        for (folder, epoch), group in grouped.items():
            just_listed = self._epochs.get(folder) == epoch
            some = Some(folder, epoch, group)
            yield from Fetching(self._line, some, self._ahead, just_listed=just_listed)

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        self._ahead.stop()
        recheck = self._recheck or _recheck_for(self.capabilities)
        target = self._target() if self._remove_to is not None else None
        grouped: dict[tuple[str, int], dict[int, Archived]] = {}
        for each in archived:
            if (key := _parse(each.ref.key)) is None:
                yield not_removed(each.ref)
            else:
                grouped.setdefault((each.ref.folder, key[0]), {})[key[1]] = each
        for (folder, epoch), group in grouped.items():
            removing = Removing(
                self._line,
                folder,
                epoch,
                group,
                recheck=recheck,
                rights=self._rights,
                too_young=self._is_too_young,
                target=target,
            )
            yield from removing.results()

    def _is_too_young(self, received_at: datetime | None) -> bool:
        return self._ripe is not None and self._ripe.is_too_young(received_at, self._clock())

    def _connect(self) -> Session:
        secret = secret_of(self._auth)
        session = connect(self._place, self._limits, self._context)
        try:
            log_in(session, self._place, self._auth, self._named, secret)
        except BaseException:
            session.drop()
            raise
        return session

    def _list_folders(self) -> list[Folder]:
        listing = partial(folders, limits=self._limits, shared=self._choice.shared)
        self._known = self._line.run(listing, "listing the folders")
        return self._known

    def _target(self) -> str:
        """Return the key of the folder that removed messages go to."""
        known = self._known or self._list_folders()
        for same in (str, composed):  # to the letter, where there are both
            for folder in known:
                if same(folder.name) == same(str(self._remove_to)):
                    return folder.key
        raise MailboxNotFound(
            f"{self._place}: the folder to move messages to is not there",
            suggestions=["create the folder that remove_to names, its parts joined by /"],
        )


def _parse(key: str) -> tuple[int, int] | None:
    """Return the UIDVALIDITY and the UID in a key or a token."""
    found = _KEY.match(key)
    if found is None:
        return None
    epoch, uid = int(found[1]), int(found[2])
    return (epoch, uid) if max(epoch, uid) <= LARGEST_NUMBER else None


def _recheck_for(capabilities: SourceCapabilities) -> Recheck:
    return Recheck.BYTES if capabilities.fidelity is Fidelity.WIRE else Recheck.SIZE


def _default_name(host: str, whose: str) -> str:
    """Name the mailbox, not the way to it: 143 and 993 lead to the same messages."""
    digits = hashlib.sha256(whose.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"imap:{host.lower()}/{digits}"


def _smtp(address: Address) -> Address:
    checked_name(address.spec, "address")
    if address.kind is not AddressKind.SMTP:
        raise ConfigurationError(
            "address is no address",
            suggestions=["set address to the primary SMTP address of the mailbox"],
        )
    return address


def _host(host: str) -> str:
    if not _is_host(host):
        raise ConfigurationError(
            "the host of an IMAP source is no host name",
            suggestions=[
                "set host to a name or an IP address, without a scheme or a port",
                "a port has a setting of its own, port",
                "write a name with other letters in its xn-- form",
            ],
        )
    return host


def _is_host(host: str) -> bool:
    """Whether it can be looked up, or is an address; with one colon it is a name and a port."""
    try:
        host.encode("idna")  # what the lookup does: no part may be empty, or have 64 letters
    except UnicodeError:
        return False
    return bool(_HOST.match(host)) and host.count(":") != 1


def _port(port: int | None, protection: Security) -> int:
    if port is None:
        return PORTS[protection]
    if not 0 < port <= _LAST_PORT:
        raise ConfigurationError(
            f"port is no number from 1 to {_LAST_PORT}",
            suggestions=["leave port out: it is 993 for ssl, and 143 for starttls"],
        )
    return port


def _security(security: Security | str, *, allow_plaintext: bool) -> Security:
    try:
        protection = Security(security)
    except ValueError:
        raise ConfigurationError(
            "security is none of ssl, starttls and plain",
            suggestions=[USE_SSL],
        ) from None
    if protection is Security.PLAIN and not allow_plaintext:
        raise ConfigurationError(
            "a connection in clear text shows the password and every mail to the network",
            suggestions=[USE_SSL, "set allow_plaintext = true where the network is yours alone"],
        )
    return protection


def _tls(
    place: Place, context: ssl.SSLContext | None, ca_file: str | PathLike[str] | None
) -> ssl.SSLContext | None:
    return None if place.security is Security.PLAIN else verified(context, ca_file)
