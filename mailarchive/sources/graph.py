"""A mailbox in Exchange Online, read over Microsoft Graph.

The whole of it::

    tokens = MsalTokens("contoso.com", client_id, ClientSecret(read_the_secret))
    GraphSource("ann@contoso.com", tokens)

Folders are listed by delta queries with immutable ids, and checked against plain listings;
messages are read as MIME, which Exchange makes anew each time, so that they are `rendered`.
Four requests are in flight at a time, as many as Graph allows for one mailbox.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from typing_extensions import override

from mailarchive import _web
from mailarchive._graph.errors import Damaged, Kind, Refused, damaged, explained
from mailarchive._graph.limits import GraphLimits
from mailarchive._graph.wire import Place, Wire
from mailarchive._model import (
    Address,
    CoverageGap,
    Fidelity,
    SourceCapabilities,
)
from mailarchive.abc import Source
from mailarchive.auth import CHINA, GLOBAL, Cloud
from mailarchive.errors import ConfigurationError, MailboxNotFound, SourceError
from mailarchive.sources._folder_choice import FolderChoice
from mailarchive.sources._graph_fetch import Fetching
from mailarchive.sources._graph_folders import folders as list_folders
from mailarchive.sources._graph_remove import TRASH, Removing
from mailarchive.sources._graph_scan import Notes, Scanning
from mailarchive.sources._graph_seen import SeenIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike
    from typing import Any

    from mailarchive._model import (
        Archived,
        Folder,
        MessageRef,
        Page,
        RemovalResult,
        SourceMessage,
        Unavailable,
    )
    from mailarchive.auth import TokenProvider

__all__ = ["FolderChoice", "GraphLimits", "GraphSource", "SeenIds"]

_MAILBOX: Final = re.compile(r"[^\x00-\x20\x7f/\\?#%&\"<>]{1,320}\Z")
_WHO: Final = "id,mail,userPrincipalName,proxyAddresses"


def _now() -> datetime:
    return datetime.now(UTC)


class GraphSource(Source):
    """One mailbox in Exchange Online, with its folders.

    `mailbox` is an address of the user's, the principal name or the object id.  With
    `seen` in a file, runs in different processes can be checked against plain listings.
    """

    def __init__(
        self,
        mailbox: str,
        tokens: TokenProvider,
        *,
        address: Address | None = None,
        cloud: Cloud = GLOBAL,
        folders: FolderChoice | None = None,
        hidden: bool = False,
        recoverable: bool = False,
        remove_to: str | None = TRASH,
        seen: SeenIds | None = None,
        reconcile_after: timedelta = timedelta(days=7),
        ca_file: str | PathLike[str] | None = None,
        proxy: str | None = None,
        name: str | None = None,
        limits: GraphLimits | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take everything that says which mailbox; nothing is connected yet.

        `address` is the mailbox's own where `mailbox` is an object id.
        `hidden` folders, and `recoverable` items (what users deleted and can still
        recover), are read where that is asked for.  A message that is removed is moved to
        the folder `remove_to`, a well-known name or an id; `None` deletes it softly.  A
        folder is listed in full where its count is not what it should be, and when
        `reconcile_after` has passed.  Raises `ConfigurationError`.
        """
        self.name: str = name or _default_name(cloud, _mailbox(mailbox))
        own = Address.parse(mailbox) if "@" in mailbox else None
        self.mailbox: Address | None = address or own
        self.capabilities: SourceCapabilities = SourceCapabilities(Fidelity.RENDERED, removes=True)
        self._whose, self._user = mailbox, quote(mailbox, safe="@")
        self._choice, self._hidden = folders or FolderChoice(), hidden
        self._recoverable, self._remove_to = recoverable, remove_to
        self._reconcile_after, self._clock = reconcile_after, clock
        self._delta = cloud != CHINA  # Microsoft's page on message: delta leaves it out
        self._seen = seen or SeenIds()
        limits = limits or GraphLimits()
        web = _web.Web(
            ca_file=ca_file,
            proxy=proxy,
            connections=limits.in_flight,
            connect_timeout=limits.connect_timeout,
            read_timeout=limits.read_timeout,
            slowest_octets=limits.slowest_octets,
        )
        self._wire = Wire(
            Place(self.name),
            cloud,
            tokens,
            limits,
            web,
            clock=clock,
            sleep=sleep,
        )
        self._threads: ThreadPoolExecutor | None = None
        self._notes = Notes()
        self._bad = 0
        self._verified = False

    @override
    def _open(self) -> None:
        self._notes, self._bad = Notes(), 0
        in_flight = self._wire.limits.in_flight
        self._threads = ThreadPoolExecutor(in_flight, thread_name_prefix="mailarchive-graph")
        self._check_whose()

    @override
    def _close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        self._wire.close()
        self._seen.close()

    @override
    def _folders(self) -> Iterable[Folder]:
        listed = list_folders(
            self._wire, self._user, hidden=self._hidden, recoverable=self._recoverable
        )
        known = [each.folder for each in listed if not each.search]
        chosen = self._choice.among(known, self._wire.place)
        self.unmatched: tuple[str, ...] = chosen.unmatched
        self.left_out: tuple[Folder, ...] = chosen.left_out
        return chosen.taken

    @override
    def _scan(self, folder: Folder, after: str | None) -> Iterator[Page]:
        scanning = Scanning(
            self._wire,
            self._user,
            folder,
            self._seen,
            self._notes,
            self.name,
            self._clock,
            self._reconcile_after,
            self._delta,
        )
        return scanning.pages(after)

    @override
    def _fetch(self, refs: Sequence[MessageRef]) -> Iterator[SourceMessage | Unavailable]:
        if self._threads is None:
            raise _closed(self._wire.place)
        fetching = Fetching(self._wire, self._user, self._notes.metas, self._threads)
        try:
            yield from fetching.items(refs)
        finally:
            self._bad += fetching.bad

    @override
    def _remove(self, archived: Sequence[Archived]) -> Iterator[RemovalResult]:
        return Removing(self._wire, self._user, self._remove_to).results(archived)

    @override
    def _gaps(self) -> Iterator[CoverageGap]:
        yield from _BEYOND
        yield from _counted(
            "unconvertible",
            "messages that Exchange cannot make MIME of, such as encrypted S/MIME",
            self._bad,
        )
        yield from _counted(
            "unlistable", "messages that break every listing", sum(self._notes.unlisted.values())
        )
        yield from _counted(
            "no-mail",
            "items in mail folders that are no mail to Graph, such as contacts",
            sum(self._notes.others.values()),
        )
        if self._notes.unreconciled:
            yield CoverageGap(
                "not-reconciled",
                "folders whose delta queries could not be checked against a listing",
                ("give the source a file to remember what it has seen: seen=SeenIds(path)",),
                len(self._notes.unreconciled),
            )
        if not self._verified:
            yield CoverageGap(
                "mailbox-not-verified",
                "whether Graph opened the mailbox that was meant could not be asked",
                ("grant the application User.Read.All as well",),
            )

    def _check_whose(self) -> None:
        """Compare whom Graph answers for with whom we meant; raises `MailboxNotFound`."""
        doing = "opening the mailbox"
        try:
            told = self._wire.get(f"users/{self._user}?$select={_WHO}")
        except Refused as error:
            if error.kind is not Kind.DENIED or not error.codes:
                raise explained(self._wire.place, doing, error) from None
            told = self._wire.told(f"users/{self._user}/mailFolders/inbox?$select=id", doing)
            self._verified = False
            return
        except Damaged as error:
            raise damaged(self._wire.place, doing, error) from None
        if self._whose.casefold() not in _names(told):
            raise MailboxNotFound(
                f"{self._wire.place}: Graph opens another mailbox than the one that was meant",
                suggestions=["set mailbox to the user's primary address"],
            )
        self._verified = True


_BEYOND: Final = (
    CoverageGap(
        "in-place-archive",
        "an in-place archive mailbox, if the user has one: Graph's mail does not reach it",
        ("export it from Microsoft Purview, or on premises over EWS",),
    ),
    CoverageGap(
        "public-folders",
        "public folders, if the organisation has any: Graph's mail does not reach them",
        ("read them over EWS or IMAP",),
    ),
)
"""What is never a part of a mailbox to Graph, whatever is in it."""


def _counted(code: str, what: str, count: int) -> Iterator[CoverageGap]:
    if count:
        yield CoverageGap(
            code, f"{count} {what}", ("read the mailbox over EWS or IMAP as well",), count
        )


def _names(told: dict[str, Any]) -> set[str]:
    """Return everything that a user is called, in small letters."""
    proxies = told.get("proxyAddresses")
    listed = proxies if isinstance(proxies, list) else []
    smtp = [str(each)[5:] for each in listed if str(each)[:5].lower() == "smtp:"]
    names = [told.get("id"), told.get("mail"), told.get("userPrincipalName"), *smtp]
    return {name.casefold() for name in names if isinstance(name, str)}


def _mailbox(text: str) -> str:
    if not _MAILBOX.match(text):
        raise ConfigurationError(
            "the mailbox of a Graph source is no address, principal name or object id",
            suggestions=["set mailbox to the user's primary address"],
        )
    return text


def _default_name(cloud: Cloud, whose: str) -> str:
    digits = hashlib.sha256(whose.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"graph:{cloud.graph.partition('://')[2]}/{digits}"


def _closed(place: Place) -> SourceError:
    return SourceError(
        f"{place}: it is not open", suggestions=["use the source as a context manager"]
    )
