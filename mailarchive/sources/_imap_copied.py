"""What lies in another folder already, copied there by an attempt that broke off.

Servers without MOVE (RFC 6851) copy and then expunge: whoever comes back after a break in
between looks here first, or there would be one more copy each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._model import Digest
from mailarchive.sources._imap_body import bodies, wanted
from mailarchive.sources._imap_commands import look, opened, uids_from
from mailarchive.sources._imap_looking import LISTED_AT_ONCE
from mailarchive.sources._imap_syntax import uid_sets

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailarchive.sources._imap_line import Line
    from mailarchive.sources._imap_session import Session

_READ_AT_ONCE = 100


def digests_in(
    session: Session, line: Line, folder: str, sizes: Collection[int]
) -> frozenset[Digest]:
    """Return the digests of those messages of a folder that have one of these sizes.

    The folder is open afterwards.  One message is held at a time.
    """
    opened(session, line.place, folder)
    found: set[Digest] = set()
    alike = _of_size(session, line, sizes)
    for text, uids in uid_sets(alike, line.limits.command_octets, _READ_AT_ONCE):
        tag = session.ask(*wanted(text))
        for body in bodies(session, tag, uids, line.limits):
            if body.raw is not None:
                found.add(Digest.of(body.raw))
    return frozenset(found)


def _of_size(session: Session, line: Line, sizes: Collection[int]) -> list[int]:
    alike: list[int] = []
    there = uids_from(session, 1, line.limits)
    for text, uids in uid_sets(there, line.limits.command_octets, LISTED_AT_ONCE):
        seen = look(session, text, uids, closely=False)
        alike += [uid for uid, each in seen if each.size in sizes]
    return sorted(set(alike))
