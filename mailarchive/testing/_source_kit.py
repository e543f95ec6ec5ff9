"""What the laws of a source have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from traceback import walk_tb
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from mailarchive._guarding import SourceDefect
from mailarchive._model import (
    Archived,
    Digest,
    Folder,
    MessageRef,
    Receipt,
    SourceMessage,
    Unavailable,
)
from mailarchive.errors import MailArchiveError
from mailarchive.testing._source_mail import check_came, messages, numbered
from mailarchive.testing._traced import NotTried

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mailarchive._model import Page
    from mailarchive.abc import Source
    from mailarchive.testing._source_mail import Odd


class SourceWorld(ABC):
    """A place with mail in it, as the source under test sees it and as it is.

    Fresh and empty for each law.  All mail is in one folder, `folder` picks it; what
    `elsewhere` returns has its mail in another one.
    """

    large: int = 16 << 20
    """Octets of one large message that the place takes; 0 where it takes none."""

    takes: frozenset[Odd] | None = None
    """The odd mail that the place takes in as it is; `None` says nothing, and none is tried."""

    cannot: Mapping[str, str] = MappingProxyType({})
    """The hooks that nobody could give for such a place, by name, each with the reason."""

    @abstractmethod
    def source(self) -> Source:
        """Return a source that reads this place, not yet opened; asked several times."""

    @abstractmethod
    def deliver(self, raws: Sequence[bytes]) -> None:
        """Put messages into the folder; their lines end in CRLF."""

    @abstractmethod
    def lose(self, ref: MessageRef) -> None:
        """Take one message away, as somebody else would."""

    @abstractmethod
    def look(self) -> object:
        """Return everything about the place that reading may not change, to be compared.

        Nor may the removal of a message change what it tells of the others; where the place
        keeps what was removed, in a bin, it tells nothing of the bin.
        """

    def flag(self, ref: MessageRef) -> None:
        """Flag one message, as a person does who wants to come back to it.

        Only a source that removes is asked for this.
        """
        raise NotImplementedError

    def mark_deleted(self, ref: MessageRef) -> None:
        r"""Mark one message for deletion, as somebody does who has not taken it away yet.

        IMAP's `\Deleted`, a Maildir's `T`.  Nothing is done where the place has no such
        mark.  Only a source that removes is asked for this.
        """

    def change(self, ref: MessageRef, raw: bytes) -> None:
        """Put other bytes in the place of one message, which keeps its name.

        As somebody does who edits it where it is.  Only a source that removes is asked.
        """
        raise NotImplementedError

    def renumber(self) -> None:
        """Make the folder anew, with the messages that are in it now.

        From then on old names mean nothing, or, if the place gives names again, others.
        """
        raise NotImplementedError

    def deliver_young(self, raws: Sequence[bytes]) -> Callable[[], None]:
        """Deliver messages that the source leaves for later, and return what lets time pass.

        Only where the source says what it leaves for later, by `_unripe`.
        """
        raise NotImplementedError

    def broken(self) -> AbstractContextManager[None] | None:
        """Return a context in which the place is broken, and after which it is as before.

        The server is gone or answers 500, the folder is moved away or cannot be read: what
        happens to such a place one day.  Asked several times.  `None` where nobody can break
        it; then it is said that the law of it was not tried.
        """
        return None

    def spoiled(self, ref: MessageRef) -> AbstractContextManager[None] | None:
        """Return a context in which one message cannot be read, and every other one can.

        The server refuses it, its file may not be read: what happens to a message that is
        locked, or damaged.  `None` where nobody can do that to a message.
        """
        del ref
        return None

    def elsewhere(self) -> SourceWorld | None:
        """Return the same place with its hands in another folder, fresh and empty too.

        Its `source` reads this folder as well, as does the source of this world that one;
        once a law.  `None` where the place has one folder alone.
        """
        return None

    def stored(self, raw: bytes) -> bytes:
        """Return what the place keeps of a message, where it adds to it: a header of its own."""
        return raw

    def folder_path(self) -> tuple[str, ...] | None:
        """Return the path of the folder as people know it; `None` says nothing."""
        return None

    def folder(self, source: Source) -> Folder:
        """Return the folder that `deliver` puts messages into."""
        return source.folders()[0]


Law: TypeAlias = Callable[[SourceWorld], str | None]
"""Returns where the law holds, and a text that says what was not promised, so not tried.

The text is a `NotTried` where only the world lacks what the law needs.  Raises
`AssertionError` where it is broken; the text names the fault.
"""

_QUIET, _MOST = 100, 10_000
"""Pages in a row that name nothing new, and refs, after which a scan counts as endless.

No law has a thousand messages in a folder.
"""

_ENOUGH_FOR_TWO_PAGES: Final = (12, 60, 520)

NOTHING_LISTED: Final = "a scan lists nothing of a folder with mail in it"

CANNOT_REMOVE: Final = "it says that it cannot remove"
"""What the laws of removing return for a source that says so."""


def law(function: Law) -> Law:
    """Make a law of a function: whatever it raises says that the law is broken."""

    @wraps(function)
    def hold(world: SourceWorld) -> str | None:
        try:
            return function(world)
        except MailArchiveError as error:
            raise AssertionError(_said(error)) from error
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(_of_the_world(error)) from error

    return hold


def lacking(world: SourceWorld, hook: str) -> str | None:
    """Return what a law says that needs a hook which the world does not have."""
    if hook not in world.cannot and getattr(type(world), hook) is not getattr(SourceWorld, hook):
        return None
    words = f"the world has no `{hook}`: give it, or say in `cannot` why nobody could"
    return untried(world, hook, words)


def untried(world: SourceWorld, hook: str, words: str) -> str:
    """Return why nobody could give a hook, or in these words that the world has not."""
    return world.cannot.get(hook) or NotTried(words)


def _of_the_world(error: Exception) -> str:
    """Say which hook raised what is no error of ours: the source did not."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    hooks = [
        frame.f_code.co_name
        for frame in frames
        if isinstance(frame.f_locals.get("self"), SourceWorld)
    ]
    where = f"the world's `{hooks[0]}`" if hooks else "the law, or the world,"
    return f"{where} raises {type(error).__name__}"


def _said(error: MailArchiveError) -> str:
    """Tell an honest error from one that `Source` had to make of what the adapter did."""
    if isinstance(error, SourceDefect):
        foreign = error.__cause__
        let = f"lets a foreign {type(foreign).__name__} out"
        return f"the adapter {let if foreign else 'breaks its promise'}: {error}"
    return f"a call that must succeed raises {type(error).__name__}: {error}"


def is_honest(error: MailArchiveError) -> None:
    """An error that a law expects: one of the adapter's own, with something to do about it."""
    kind = type(error).__name__
    assert not isinstance(error, SourceDefect), _said(error)
    assert error.suggestions, f"{kind} does not say what to do"
    names_nobody(" ".join([str(error), *error.suggestions]), f"a {kind}")


def names_nobody(text: str, what: str) -> None:
    """What goes into logs holds no address."""
    assert "@" not in text, f"{what} may hold an address"


def refs_of(pages: Sequence[Page]) -> list[MessageRef]:
    """Return the refs of all pages of a scan."""
    refs = [ref for page in pages for ref in page.refs]
    assert len(set(refs)) == len(refs), "an item was named on two pages"
    return refs


def places(world: SourceWorld) -> list[SourceWorld]:
    """Return the folders of a world: one, or two."""
    other = world.elsewhere()
    return [world] if other is None else [world, other]


def two_pages(world: SourceWorld, *, start: int = 0, before: int = 0) -> list[Page]:
    """Deliver until a scan takes two pages, and return them all; some may be there before."""
    there = 0
    for count in _ENOUGH_FOR_TWO_PAGES:
        world.deliver(messages(count - there, start=start + there))
        there = count
        with world.source() as source:
            pages = pages_of(world, source)
        assert len(refs_of(pages)) == before + there, "a scan does not list everything"
        if len([page for page in pages if page.refs]) > 1:
            return pages
    raise AssertionError(
        f"{there} messages make one page: give the source of the world small pages, or no law"
        " ever sees where one ends"
    )


def pages_of(world: SourceWorld, source: Source, after: str | None = None) -> list[Page]:
    """Return all pages after a token."""
    return list(scanned(source, world.folder(source), after))


def last_token(pages: Sequence[Page]) -> str:
    """Return the token behind all mail of a folder in which some is."""
    assert pages, NOTHING_LISTED
    return pages[-1].token


def scanned(source: Source, folder: Folder, after: str | None = None) -> Iterator[Page]:
    """Yield the pages after a token, and wait for the end of a scan no longer than a law can.

    Every law lists by this, so that none of them waits for ever.
    """
    seen: set[MessageRef] = set()
    quiet = 0
    for page in source.scan(folder, after):
        quiet = quiet + 1 if seen.issuperset(page.refs) else 0
        seen.update(page.refs)
        assert quiet <= _QUIET, (
            f"a scan has no end: {quiet} pages in a row name nothing new, and the token changes"
            " from one to the next although nothing else does"
        )
        assert len(seen) <= _MOST, (
            f"a scan has no end: it names more than {_MOST} messages, and so many are not there"
        )
        yield page


def raws_of(items: Sequence[SourceMessage | Unavailable]) -> list[bytes]:
    """Return the bytes of all items, each of which must have been handed over."""
    lacking = [item for item in items if isinstance(item, Unavailable)]
    for item in lacking:
        names_nobody(item.reason, "the reason of an Unavailable")
    assert not lacking, "a message that is there was not handed over"
    return [item.raw for item in items if isinstance(item, SourceMessage)]


def kept(world: SourceWorld, raws: Sequence[bytes]) -> list[bytes]:
    """Return what the place keeps of messages, in order."""
    return sorted(map(world.stored, raws))


def check_kept(
    world: SourceWorld, found: Sequence[bytes], raws: Sequence[bytes], *names: str
) -> None:
    """Exactly what the place keeps of these messages came; the last have names."""
    named = numbered(raws[: len(raws) - len(names)])
    named += zip(names, raws[len(named) :], strict=True)
    check_came(found, [(name, world.stored(raw)) for name, raw in named])


def read(world: SourceWorld, source: Source) -> list[SourceMessage]:
    """Return every message of the folder, read as a run does."""
    found: list[SourceMessage] = []
    for page in scanned(source, world.folder(source)):
        found += [item for item in source.fetch(page.refs) if isinstance(item, SourceMessage)]
    return found


def archived(message: SourceMessage) -> Archived:
    """Return a message with a receipt for its very bytes."""
    digest = Digest.of(message.raw)
    return Archived(message.ref, Receipt("contract", digest, digest, "somewhere"))
