"""Whether the mailbox that was opened is the one that was meant.

Some servers answer with the login's own mailbox where another one was asked for, or take no
notice of an impersonation.  The id of a mailbox's top folder tells mailboxes apart, so it is
asked for in every way there is, and the answers are compared.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mailarchive.errors import AuthenticationFailed, SourceError, Transient
from mailarchive.sources._ews_errors import back_off_of, broken, code_of, other_mailbox, refusal
from mailarchive.sources._ews_line import succeeded
from mailarchive.sources._ews_requests import Target, get_folders

if TYPE_CHECKING:
    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_line import Line

_TOP = "msgfolderroot"
_OPENING = "opening the mailbox"


class Access(StrEnum):
    """What the login is to the mailbox; always said, never guessed."""

    OWN = "own"
    """The mailbox is the login's own."""
    DELEGATE = "delegate"
    """The login has rights in somebody's mailbox, or in a shared one."""
    IMPERSONATION = "impersonation"
    """The login acts as whoever has the mailbox (the role ApplicationImpersonation, or an
    application's own permission)."""


def check_identity(
    line: Line, access: Access, mailbox: str, login: str | None, *, by_token: bool
) -> None:
    """Raise `MailboxNotFound`, or another of our errors, unless it is the right mailbox.

    `login` is whom the login is of, where that is known.  One by a token may be an
    application's, which has no mailbox of its own to compare with.
    """
    is_own = login is not None and login.casefold() == mailbox.casefold()
    named, own = _tops(line, [Target(distinguished=_TOP, mailbox=mailbox), Target(None, _TOP)])
    if named is None:
        raise other_mailbox(line.place, "the server does not say which one it opened")
    if is_own:
        return
    if access is Access.DELEGATE:
        if named == own:
            raise other_mailbox(line.place, "the server opens the login's own")
        return
    if own is not None and named != own:
        raise other_mailbox(line.place, "the login's own is another one")
    if access is Access.IMPERSONATION and not by_token and named == _of_the_login(line):
        raise other_mailbox(line.place, "the server takes no notice of the impersonation")


def _tops(line: Line, targets: list[Target]) -> tuple[str | None, str | None]:
    """Return the ids of the named top and of the login's own, which may have no mailbox."""
    replies = line.ask(get_folders(targets), _OPENING)
    if len(replies) != len(targets):
        raise broken(line.place, "the answer has not the parts that were asked for")
    named, own = replies
    if not succeeded(named):
        raise refusal(line.place, _OPENING, code_of(named), back_off_of(named))
    return _id_in(named), _id_in(own) if succeeded(own) else None


def _of_the_login(line: Line) -> str | None:
    """Return the top of the mailbox that the login itself has; `None` where it has none."""
    try:
        replies = line.ask(get_folders([Target(None, _TOP)]), _OPENING, as_login=True)
    except (Transient, AuthenticationFailed):
        raise
    except SourceError:
        return None
    return _id_in(replies[0]) if replies and succeeded(replies[0]) else None


def _id_in(reply: Node) -> str | None:
    for each in reply.all("FolderId"):
        return each.attributes.get("Id")
    return None
