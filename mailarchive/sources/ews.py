r"""A mailbox on an Exchange server, over Exchange Web Services (EWS).

The whole of it::

    EwsSource(
        "https://mail.example.com/EWS/Exchange.asmx",
        auth=Password("EXAMPLE\\archive", secret),
        access=Access.IMPERSONATION,
        mailbox="alice@example.com",
    )

Exchange keeps no MIME and makes it anew on each request, so messages are `RENDERED`.  A
checkpoint is the folder's sync state; where the server knows it no more the scan raises
`CheckpointInvalid`, and the folder is listed again.  exchangelib, on whose sessions and
logins this stands, takes a second and a half to import: so does this module.
"""

from __future__ import annotations

import hashlib
import re
import time
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from typing_extensions import override

from mailarchive._model import (
    Address,
    CoverageGap,
    Fidelity,
    FolderRole,
    SourceCapabilities,
    Unavailable,
)
from mailarchive.abc import Source
from mailarchive.auth import Kerberos, OAuth, Password, TokenProvider, any_scope, checked_name
from mailarchive.errors import AuthenticationFailed, ConfigurationError, SourceError
from mailarchive.events import SourceNotice
from mailarchive.sources._ews_connect import Endpoint, Pool
from mailarchive.sources._ews_discover import ask, candidates
from mailarchive.sources._ews_errors import EWS_ENDS, Place
from mailarchive.sources._ews_fetch import Fetching
from mailarchive.sources._ews_folders import Contents, Folders, Listed, Store
from mailarchive.sources._ews_identity import Access, check_identity
from mailarchive.sources._ews_limits import EwsLimits
from mailarchive.sources._ews_line import Line, Manner
from mailarchive.sources._ews_remove import Disposal, Removing
from mailarchive.sources._ews_scan import Scanning
from mailarchive.sources._folder_choice import FolderChoice
from mailarchive.sources._foreign_key import not_read, not_removed
from mailarchive.sources._tls import verified

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    from mailarchive._model import (
        Archived,
        Folder,
        MessageRef,
        Page,
        RemovalResult,
        SourceMessage,
    )

__all__ = [
    "Access",
    "Contents",
    "Disposal",
    "EwsAuth",
    "EwsLimits",
    "EwsSource",
    "ExchangeOnlineWarning",
    "FolderChoice",
    "Store",
    "discover",
]

EwsAuth: TypeAlias = Password | OAuth | Kerberos | TokenProvider
"""Everything that an EWS source can log in with."""

VERSION = "Exchange2013"
"""The schema that is spoken: every server since Exchange 2013 takes it."""

_AGENT = "mailarchive"
_KEY = re.compile(r"[A-Za-z0-9+/=_-]{1,2048}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%\[\]-]{1,255}\Z")
_METHODS = ("ntlm", "basic")


class ExchangeOnlineWarning(FutureWarning):
    """EWS at Exchange Online: off by default since 1 October 2026, gone on 1 April 2027."""


def _now() -> datetime:
    return datetime.now(UTC)


class EwsSource(Source):
    """One mailbox on an Exchange server: its folders, perhaps its archive, and no trace.

    Reading marks nothing as read.  `mailbox` is the primary SMTP address.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: EwsAuth,
        access: Access | str,
        mailbox: str,
        method: str | None = None,
        folders: FolderChoice | None = None,
        contents: Contents | None = None,
        disposal: Disposal | str = Disposal.DELETED_ITEMS,
        version: str = VERSION,
        allow_plaintext: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        ca_file: str | PathLike[str] | None = None,
        proxy: str | None = None,
        name: str | None = None,
        limits: EwsLimits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take everything that says which mailbox; nothing is connected yet.

        `method` is how a password is sent, `"ntlm"` or `"basic"`; unless it is given the
        server is asked what it takes, before any secret is sent, and NTLM is preferred.
        Certificates are verified against the system's authorities, or `ca_file`, or as
        `ssl_context` says.  `disposal` is where removed items go.  `clock` tells how long a
        Retry-After with a date is, `sleep` waits.  Raises `ConfigurationError`.
        """
        host = _host(url, allow_plaintext=allow_plaintext)
        whose = _primary(mailbox)
        self.name: str = name or _default_name(host, whose)
        self.mailbox: Address | None = Address.parse(whose)
        self.capabilities: SourceCapabilities = SourceCapabilities(Fidelity.RENDERED, removes=True)
        self._access = _access(access)
        self._whose = whose
        self._choice, self._contents = folders or FolderChoice(), contents or Contents()
        self._disposal = _disposal(disposal)
        self._limits = limits or EwsLimits()
        place = Place(self.name, host)
        self._lacking: tuple[Store, ...] = ()
        self._bins: frozenset[str] | None = None
        self._login = auth.username if isinstance(auth, Password | OAuth) else None
        context = _tls(url, ssl_context, ca_file)
        self._pool = Pool(
            _endpoint(
                place,
                url,
                auth,
                method,
                context=context,
                proxy=proxy,
                limits=self._limits,
                now=clock,
            )
        )
        acting = whose if self._access is Access.IMPERSONATION else None
        manner = Manner(version, acting, whose)
        self._line = Line(place, self._limits, self._pool, manner, sleep)
        self.notices: tuple[SourceNotice, ...] = ()
        if place.online:
            self.notices = (SourceNotice(self.name, "ews-ends", EWS_ENDS),)
            warnings.warn(EWS_ENDS, ExchangeOnlineWarning, stacklevel=2)

    @override
    def _open(self) -> None:
        by_token = self._pool.endpoint.tokens is not None
        check_identity(self._line, self._access, self._whose, self._login, by_token=by_token)

    @override
    def _close(self) -> None:
        self._line.drop()

    @override
    def _folders(self) -> Iterable[Folder]:
        folders = Folders(self._line, self._whose, self._contents.stores)
        listed = folders.listed()
        self._lacking = folders.lacking
        self._bins = frozenset(each.folder.key for each in listed if self._is_bin(each))
        known = [each.folder for each in listed]
        chosen = self._choice.among(known, self._line.place)
        self.unmatched: tuple[str, ...] = chosen.unmatched
        mail = {each.folder.key for each in listed if self._contents.takes_folder(each.found)}
        self.left_out: tuple[Folder, ...] = chosen.left_out + tuple(
            folder for folder in chosen.taken if folder.key not in mail
        )
        return [folder for folder in chosen.taken if folder.key in mail]

    @override
    def _gaps(self) -> Iterable[CoverageGap]:
        for store in self._lacking:
            yield CoverageGap(
                "store-missing",
                f"the mailbox has no {store} store, so there is none to archive",
                (f'leave "{store}" out of stores', "or give the mailbox one"),
            )

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        return Scanning(self._line, folder, self._contents).pages(after)

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        ours = []
        for ref in refs:
            if _KEY.match(ref.key):
                ours.append(ref)
            else:
                yield not_read(ref)
        yield from Fetching(self._line, ours)

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        ours = []
        for each in archived:
            if _KEY.match(each.ref.key):
                ours.append(each)
            else:
                yield not_removed(each.ref)
        if self._bins is None:
            self._folders()
        bins = self._bins or frozenset()
        yield from Removing(self._line, ours, self._disposal, bins).results()

    def _is_bin(self, listed: Listed) -> bool:
        """Return whether nothing is removed from a folder; see `_ews_remove`."""
        trash = listed.folder.role is FolderRole.TRASH
        return listed.recoverable or (trash and self._disposal is Disposal.DELETED_ITEMS)


def discover(
    address: str,
    *,
    auth: EwsAuth,
    method: str | None = None,
    at: Iterable[str] = (),
    ssl_context: ssl.SSLContext | None = None,
    ca_file: str | PathLike[str] | None = None,
    proxy: str | None = None,
    allow_plaintext: bool = False,
    limits: EwsLimits | None = None,
    clock: Callable[[], datetime] = _now,
) -> str:
    """Return the EWS endpoint that the domain of an address names (Autodiscover, MS-OXDSCLI).

    Asked are the two hosts of the address's domain over HTTPS, or the places in `at`; no
    redirect and no DNS record is followed.  What it returns is for a person to look at and
    to put into the settings.  Raises the error of the last place that was asked.
    """
    checked_name(address, "address")
    failed: SourceError | ConfigurationError | None = None
    for url in tuple(at) or candidates(address):
        host = _host(url, allow_plaintext=allow_plaintext)
        place, context = Place(f"autodiscover:{host}", host), _tls(url, ssl_context, ca_file)
        some = limits or EwsLimits()
        pool = Pool(
            _endpoint(
                place, url, auth, method, context=context, proxy=proxy, limits=some, now=clock
            )
        )
        try:
            return ask(pool, address)
        except AuthenticationFailed:
            raise
        except (SourceError, ConfigurationError) as error:
            failed = error
        finally:
            pool.drop()
    assert failed is not None
    raise failed


def _endpoint(
    place: Place,
    url: str,
    auth: EwsAuth,
    method: str | None,
    *,
    context: ssl.SSLContext | None,
    proxy: str | None,
    limits: EwsLimits,
    now: Callable[[], datetime],
) -> Endpoint:
    return Endpoint(
        place=place,
        url=url,
        method=_method(auth, method),
        password=auth if isinstance(auth, Password) else None,
        tokens=_tokens(auth),
        scope=f"https://{place.host}/.default",
        context=context,
        proxy=proxy,
        agent=_AGENT,
        limits=limits,
        now=now,
    )


def _default_name(host: str, whose: str) -> str:
    digits = hashlib.sha256(whose.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"ews:{host.lower()}/{digits}"


def _primary(mailbox: str) -> str:
    if "@" not in checked_name(mailbox, "mailbox"):
        raise ConfigurationError(
            "mailbox is no address",
            suggestions=["set mailbox to the primary SMTP address of the mailbox"],
        )
    return mailbox


def _host(url: str, *, allow_plaintext: bool) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if (
        host is None
        or not _HOST.match(host)
        or parts.scheme not in {"https", "http"}
        or "@" in url
    ):
        raise ConfigurationError(
            "the url of an EWS source is none",
            suggestions=["set url to the endpoint, mostly https://HOST/EWS/Exchange.asmx"],
        )
    if parts.scheme == "http" and not allow_plaintext:
        raise ConfigurationError(
            "a connection in clear text shows the password and every mail to the network",
            suggestions=[
                "set url to one with https",
                "set allow_plaintext = true where the network is yours alone",
            ],
        )
    return host


def _access(access: Access | str) -> Access:
    try:
        return Access(access)
    except ValueError:
        raise ConfigurationError(
            "access is none of own, delegate and impersonation",
            suggestions=["say what the login is to the mailbox"],
        ) from None


def _disposal(disposal: Disposal | str) -> Disposal:
    try:
        return Disposal(disposal)
    except ValueError:
        raise ConfigurationError(
            "disposal is none of " + ", ".join(Disposal),
            suggestions=["leave it out: removed items then go to Deleted Items"],
        ) from None


def _tokens(auth: EwsAuth) -> TokenProvider | None:
    if isinstance(auth, OAuth):
        return any_scope(auth.token)
    return None if isinstance(auth, Password | Kerberos) else auth


def _method(auth: EwsAuth, method: str | None) -> str | None:
    """Return how exchangelib logs in; `None` where the server is to be asked, or for a token."""
    if isinstance(auth, Kerberos):
        return "kerberos"
    if method is not None and (method not in _METHODS or not isinstance(auth, Password)):
        raise ConfigurationError(
            "method says how a password is sent: ntlm or basic",
            suggestions=["leave method out: the server is asked what it takes"],
        )
    return method


def _tls(
    url: str, context: ssl.SSLContext | None, ca_file: str | PathLike[str] | None
) -> ssl.SSLContext | None:
    return None if url.startswith("http:") else verified(context, ca_file)
