"""What a login may do in a folder, where the server tells (ACL, RFC 4314).

Asked before a removal reads every message once more: without the rights that would be for
nothing, in each run anew.  A server that does not tell is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailarchive.sources._imap_errors import is_worth_waiting
from mailarchive.sources._imap_session import Refused, mailbox_name

if TYPE_CHECKING:
    from mailarchive.sources._imap_session import Session

_REMOVE: Final = frozenset(b"te")
"""To mark as deleted, and to expunge what is; a MOVE needs both as well (RFC 6851, 4.3)."""
_REMOVE_AS_OF_OLD: Final = frozenset(b"d")
"""Both in one (RFC 2086), where no RIGHTS= says that the server knows the new ones."""
_INSERT: Final = frozenset(b"i")


class Rights:
    """The rights in folders, each asked for once a run: the next one sees what was granted."""

    def __init__(self) -> None:
        """Know of none."""
        self._known: dict[str, frozenset[int] | None] = {}

    def missing(self, session: Session, folder: str, target: str | None) -> str | None:
        """Return why nothing can be removed from the folder, or `None` where it may be.

        Raises `Broken`, and `Refused` for a server that asks for a pause.
        """
        if "ACL" not in session.capabilities:
            return None
        mine = self._of(session, folder)
        split = any(word.startswith("RIGHTS=") for word in session.capabilities)
        if mine is not None and not (mine >= _REMOVE or (mine >= _REMOVE_AS_OF_OLD and not split)):
            return "this login may not remove here (it needs the rights t and e)"
        there = None if target is None else self._of(session, target)
        if there is not None and not there >= _INSERT:
            return "this login may not put messages into the folder of remove_to (the right i)"
        return None

    def _of(self, session: Session, folder: str) -> frozenset[int] | None:
        """Return the letters of the rights; `None` where the server does not tell."""
        if folder not in self._known:
            self._known[folder] = _told(session, folder)
        return self._known[folder]


def _told(session: Session, folder: str) -> frozenset[int] | None:
    try:
        answer = session.command(b"MYRIGHTS", mailbox_name(folder))
    except Refused as error:
        if is_worth_waiting(error):
            raise
        return None
    for untagged in answer:
        if untagged.kind == b"MYRIGHTS":
            values = untagged.values()
            last = values[-1] if values else None
            return frozenset(last) if isinstance(last, bytes) else None
    return None
