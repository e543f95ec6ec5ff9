"""Which folders a mailbox has, by Graph, and what each is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from mailarchive._graph.errors import Damaged, Kind, Refused, damaged, explained
from mailarchive._graph.wire import escaped, is_id, items
from mailarchive._model import Folder, FolderRole
from mailarchive.errors import MailboxNotFound, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._graph.wire import Wire

_SELECT: Final = "id,displayName,childFolderCount"
_AT_ONCE: Final = 100

WELL_KNOWN: Final = {
    "inbox": FolderRole.INBOX,
    "sentitems": FolderRole.SENT,
    "drafts": FolderRole.DRAFTS,
    "junkemail": FolderRole.JUNK,
    "deleteditems": FolderRole.TRASH,
    "archive": FolderRole.ARCHIVE,
}
"""Names that mean the same in every language."""

RECOVERABLE: Final = "recoverableitemsdeletions"
"""What users have deleted out of Deleted Items, and can recover for some days."""


@frozen
class Listed:
    """A folder; what is in a `search` folder is in another one."""

    folder: Folder
    search: bool = False


def folders(wire: Wire, user: str, *, hidden: bool, recoverable: bool) -> list[Listed]:
    """Return every folder of the mailbox, parents before children; raises our errors."""
    roles = _roles(wire, user)
    tree = _Tree(wire, user, hidden, roles)
    found = list(tree.below(f"users/{user}/mailFolders", ()))
    if recoverable:
        found += tree.root(RECOVERABLE)
    return sorted(found, key=lambda each: each.folder.role is not FolderRole.INBOX)


def _roles(wire: Wire, user: str) -> dict[str, FolderRole]:
    found: dict[str, FolderRole] = {}
    for name, role in WELL_KNOWN.items():
        told = _well_known(wire, user, name)
        if told is not None and is_id(told.get("id")):
            found[told["id"]] = role
    return found


def _well_known(wire: Wire, user: str, name: str) -> dict[str, Any] | None:
    """Return the folder of this name, or `None` where the mailbox has none."""
    doing = "looking for the well-known folders"
    try:
        return wire.get(f"users/{user}/mailFolders/{name}?$select={_SELECT}")
    except Refused as error:
        if error.kind in {Kind.GONE, Kind.NO_FOLDER}:
            return None
        raise explained(wire.place, doing, error) from None
    except Damaged as error:
        raise damaged(wire.place, doing, error) from None


@frozen
class _Tree:
    """Walks down the folders."""

    wire: Wire
    user: str
    hidden: bool
    roles: dict[str, FolderRole]

    def root(self, name: str) -> Iterator[Listed]:
        """Yield a well-known folder that is in no listing, and what is below it."""
        told = _well_known(self.wire, self.user, name)
        if told is None:
            raise MailboxNotFound(
                f"{self.wire.place}: the mailbox has no recoverable items",
                suggestions=["leave recoverable off for this mailbox"],
            )
        yield from self._one(told, ())

    def below(self, path: str, names: tuple[str, ...]) -> Iterator[Listed]:
        """Yield the folders under a path, and theirs."""
        hidden = "&includeHiddenFolders=true" if self.hidden else ""
        rest = f"{path}?$select={_SELECT}&$top={_AT_ONCE}{hidden}"
        seen = 0
        while rest:
            told = self.wire.told(rest, "listing the folders")
            for each in items(self.wire, told):
                seen += 1
                if seen > self.wire.limits.folders:
                    raise SourceError(
                        f"{self.wire.place}: more folders than the limit allows",
                        suggestions=["raise folders in the limits"],
                    )
                yield from self._one(each, names)
            following = told.get("@odata.nextLink")
            rest = "" if following is None else self.wire.link(following)

    def _one(self, told: dict[str, Any], names: tuple[str, ...]) -> Iterator[Listed]:
        id_ = told["id"]
        path = (*names, str(told.get("displayName") or id_))
        search = str(told.get("@odata.type", "")).endswith("mailSearchFolder")
        yield Listed(Folder(id_, path, self.roles.get(id_)), search)
        if not search and len(path) < _DEEPEST and (told.get("childFolderCount") or self.hidden):
            children = f"users/{self.user}/mailFolders/{escaped(id_)}/childFolders"
            yield from self.below(children, path)


_DEEPEST: Final = 300
"""Exchange Online allows folders to be nested 300 deep."""
