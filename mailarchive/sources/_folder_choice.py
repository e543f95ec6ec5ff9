"""Which folders of a mailbox are archived, whatever the protocol."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Self
from unicodedata import normalize

from attrs import evolve, field, frozen

from mailarchive._bounds import several
from mailarchive._model import Folder, FolderRole
from mailarchive.errors import ConfigurationError, MailboxNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LEFT_OUT = frozenset({FolderRole.DRAFTS, FolderRole.JUNK, FolderRole.TRASH})


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    return several("patterns of folders", names, 'a list, as in without=["Private/*"]')


def _how_many(names: Sequence[str]) -> str:
    """Folders that are shared are called after addresses, and a repr ends up in logs."""
    return f"<{len(names)}>"


def _purposes(roles: Iterable[FolderRole]) -> frozenset[FolderRole]:
    return frozenset(roles)


@frozen
class Chosen:
    """What a choice comes to in one mailbox; the folders are in the order they came in.

    `unmatched` has the patterns and the purposes asked for that no folder fits.  One of
    them may be misspelt: it takes nothing, or leaves out nothing.
    """

    taken: tuple[Folder, ...]
    left_out: tuple[Folder, ...]
    unmatched: tuple[str, ...] = field(repr=_how_many)


@frozen
class FolderChoice:
    """Which folders of a mailbox are archived; the default leaves out Drafts, Junk and Trash.

    A pattern is a folder's path with its parts joined by `/`: `INBOX`, `Projects/*`.  A `*`
    stands for any text, a `/` included, and `?` for one character, and nothing else for
    anything but itself; a folder whose path is the pattern to the letter always fits.
    Whether an accent is part of its letter or follows it makes no difference.
    Raises `ConfigurationError` for a choice of nothing, and for a text, whose letters would
    be the patterns.
    """

    names: tuple[str, ...] = field(default=("*",), converter=_texts, repr=_how_many)
    """Patterns of the folders that are taken."""

    without: tuple[str, ...] = field(default=(), converter=_texts, repr=_how_many)
    """Patterns of the folders that are left out all the same."""

    roles: frozenset[FolderRole] | None = None
    """Where set, only folders for one of these purposes are taken."""

    without_roles: frozenset[FolderRole] = field(default=_LEFT_OUT, converter=_purposes)
    """Purposes whose folders, and the folders below them, are left out."""

    shared: bool = False
    """Whether folders that other people share with this mailbox are taken as well."""

    def __attrs_post_init__(self) -> None:
        """Refuse a choice of nothing, which is nearly always a mistake."""
        if not self.names or (self.roles is not None and not self.roles):
            raise ConfigurationError(
                "a choice of folders that takes none",
                suggestions=["name folders, or purposes of folders, or leave the choice out"],
            )

    @classmethod
    def everything(cls) -> Self:
        """Every folder: the choice for a journal mailbox."""
        return cls(without_roles=frozenset())

    @classmethod
    def only(cls, *names: str) -> Self:
        """The folders that fit one of the patterns, whatever they are for."""
        return cls(names, without_roles=frozenset())

    @classmethod
    def of(cls, *roles: FolderRole) -> Self:
        """The folders for one of these purposes, as the server tells (RFC 6154)."""
        return cls(roles=frozenset(roles), without_roles=frozenset())

    def excluding(self, *names: str) -> Self:
        """Return this choice without the folders that fit one of the patterns."""
        return evolve(self, without=(*self.without, *names))

    def among(self, folders: Sequence[Folder], place: object) -> Chosen:
        """Return what the choice comes to in a mailbox with these folders.

        Raises `MailboxNotFound`, which names `place`, where a name without a `*` or `?` is
        that of no folder: nothing would be archived of it, and nobody would notice.
        """
        lacking = [
            name
            for name in self.names
            if not set(name) & {"*", "?"} and not any(_fits(f, name) for f in folders)
        ]
        if lacking:
            raise _missing(place, lacking)
        dropped = frozenset(f.path for f in folders if f.role in self.without_roles)
        taken: list[Folder] = []
        left_out: list[Folder] = []
        for folder in folders:
            (taken if self._takes(folder, dropped) else left_out).append(folder)
        return Chosen(tuple(taken), tuple(left_out), self._unmatched(folders))

    def _unmatched(self, folders: Sequence[Folder]) -> tuple[str, ...]:
        patterns = dict.fromkeys((*self.names, *self.without))
        idle = [each for each in patterns if not any(_fits(f, each) for f in folders)]
        asked = () if self.roles is None else self.roles - {f.role for f in folders}
        return (*idle, *sorted(str(role) for role in asked))

    def _takes(self, folder: Folder, dropped: frozenset[tuple[str, ...]]) -> bool:
        if self.roles is not None and folder.role not in self.roles:
            return False
        if any(folder.path[:depth] in dropped for depth in range(1, len(folder.path) + 1)):
            return False
        return any(_fits(folder, name) for name in self.names) and not any(
            _fits(folder, name) for name in self.without
        )


def composed(name: str) -> str:
    """Return a name with each letter and its accents as one character, where there is one.

    A server may send either form, and nobody sees which.
    """
    return normalize("NFC", name)


def _fits(folder: Folder, pattern: str) -> bool:
    name, pattern = composed(folder.name), composed(pattern)
    if pattern.upper() == "INBOX":
        return name.upper() == "INBOX"
    # Of what `fnmatch` knows, `[` has no meaning here: folders are called [Gmail].
    return name == pattern or fnmatchcase(name, pattern.replace("[", "[[]"))


def _missing(place: object, names: Sequence[str]) -> MailboxNotFound:
    """A folder that was asked for by name is not there; its name is said where it may be.

    An error ends up in logs, where no address belongs.  A run's summary, which is for whoever
    wrote the names, shows them, and `RunReport.unmatched` has them for it.
    """
    told = ", ".join(f'"{name}"' for name in names if "@" not in name)
    which = f": {told}" if told else ""
    return MailboxNotFound(
        f"{place}: {len(names)} of the chosen folders are not in this mailbox",
        suggestions=[
            f"check the names in folders{which}",
            "letters count, and the parts of a path are joined by /",
            "check mailbox, where it is set: it decides whose folders these are",
        ],
    )
