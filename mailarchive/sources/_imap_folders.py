"""Which folders a mailbox has, and what each is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from mailarchive._model import Folder, FolderRole
from mailarchive.sources._folder_choice import composed
from mailarchive.sources._imap_errors import is_worth_waiting
from mailarchive.sources._imap_session import Refused, grammar
from mailarchive.sources._imap_syntax import BadSyntax, folder_text, quoted
from mailarchive.sources._imap_wire import Broken, Garbled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailarchive.sources._imap_limits import ImapLimits
    from mailarchive.sources._imap_session import Session, Untagged
    from mailarchive.sources._imap_syntax import Value

_OCTETS_OF_A_FOLDER = 1_024

_NAMESPACES = 1_000
"""A command each, where nothing below it is listed; a server has a handful."""

_CLOSED = frozenset({b"\\NOSELECT", b"\\NONEXISTENT"})

_ROLES = {
    b"\\SENT": FolderRole.SENT,
    b"\\DRAFTS": FolderRole.DRAFTS,
    b"\\JUNK": FolderRole.JUNK,
    b"\\TRASH": FolderRole.TRASH,
    b"\\ARCHIVE": FolderRole.ARCHIVE,
    b"\\ALL": FolderRole.ALL,
    b"\\FLAGGED": FolderRole.FLAGGED,
}

_BY_NAME = {
    name: role
    for role, names in {
        FolderRole.SENT: "Sent|Sent Items|Sent Messages|Sent Mail|Gesendet|Gesendete Elemente|"
        "Gesendete Objekte|Éléments envoyés|Elementos enviados|Posta inviata|Verzonden items",
        FolderRole.DRAFTS: "Drafts|Draft|Entwürfe|Brouillons|Borradores|Bozze|Concepten|Rascunhos",
        FolderRole.JUNK: "Junk|Junk Email|Junk E-mail|Junk-E-Mail|Spam|Courrier indésirable|"
        "Correo no deseado|Posta indesiderata|Ongewenste e-mail|Lixo Eletrônico",
        FolderRole.TRASH: "Trash|Deleted|Deleted Items|Deleted Messages|Gelöscht|"
        "Gelöschte Elemente|Gelöschte Objekte|Papierkorb|Éléments supprimés|Corbeille|"
        "Elementos eliminados|Posta eliminata|Verwijderde items|Itens Excluídos",
    }.items()
    for name in names.casefold().split("|")
}
"""What Exchange and older servers, which tell no purposes, name such folders by default."""


@frozen
class _Listed:
    key: bytes
    path: tuple[str, ...]
    words: frozenset[bytes]

    @property
    def selectable(self) -> bool:
        return not self.words & _CLOSED

    def beside(self, other: _Listed) -> _Listed:
        """Return what two lines say of one folder; it is closed only where both say so."""
        both = self.words & other.words
        return evolve(self, words=(self.words | other.words) - (_CLOSED - both))


@frozen
class _Space:
    """A namespace: what its folders' names begin with."""

    prefix: bytes
    delimiter: bytes

    def holds(self, key: bytes) -> bool:
        """Whether a folder is in it.

        Behind a prefix like `Public` comes the delimiter, or `Publications` would be in it;
        behind one like `~` comes a name.
        """
        if not self.prefix[-1:].isalnum():
            return key.startswith(self.prefix)
        return (key + self.delimiter).startswith(self.prefix + self.delimiter)


def folders(session: Session, limits: ImapLimits, *, shared: bool = False) -> list[Folder]:
    """Return every folder that can be opened, with what it is for; raises `Broken` for none."""
    own, foreign = _namespaces(session)
    listed: dict[bytes, _Listed] = {}
    _list(session, b"", limits, listed)
    for space in (*own, *foreign) if shared else own:
        if space.prefix and not any(space.holds(key) for key in listed):
            _list(session, space.prefix, limits, listed)
    if not listed:  # INBOX is always there (RFC 3501, 5.1)
        raise Broken("the server lists no folder at all")
    taken = [each for each in listed.values() if shared or _is_own(each.key, own, foreign)]
    return _with_roles([each for each in taken if each.selectable])


def _is_own(key: bytes, own: Iterable[_Space], foreign: Iterable[_Space]) -> bool:
    """Whether a folder is one's own: the longest prefix that fits says whose it is.

    Cyrus keeps what is everybody's at the root, below no prefix, and one's own below INBOX.
    """
    if key == b"INBOX":
        return True
    mine, others = (
        max((len(space.prefix) for space in spaces if space.holds(key)), default=-1)
        for spaces in (own, foreign)
    )
    return mine >= others


def _with_roles(listed: Sequence[_Listed]) -> list[Folder]:
    told = any(each.words & _ROLES.keys() for each in listed)
    found = [
        Folder(each.key.decode("latin-1"), each.path, _role(each, by_name=not told))
        for each in listed
    ]
    # Servers list in any order; a person expects the inbox first and then the alphabet.
    return sorted(found, key=lambda folder: (folder.role is not FolderRole.INBOX, folder.path))


def _role(listed: _Listed, *, by_name: bool) -> FolderRole | None:
    if listed.key == b"INBOX":
        return FolderRole.INBOX
    for word in sorted(listed.words & _ROLES.keys()):
        return _ROLES[word]
    below_inbox = len(listed.path) > 1 and listed.path[0].upper() == "INBOX"
    own = listed.path[1:] if below_inbox else listed.path
    return _BY_NAME.get(composed(own[0]).casefold()) if by_name and len(own) == 1 else None


def _list(
    session: Session, prefix: bytes, limits: ImapLimits, found: dict[bytes, _Listed]
) -> None:
    """Add the folders below a prefix to those that were found; the limit is for all of them."""
    with grammar():
        parts = [b"LIST", b'""', quoted(prefix + b"*")]
    if session.capabilities >= {"LIST-EXTENDED", "SPECIAL-USE"}:
        parts.append(b"RETURN (SPECIAL-USE)")
    octets = _OCTETS_OF_A_FOLDER * limits.folders
    for untagged in session.stream(*parts, octets=octets):
        if untagged.kind == b"LIST":
            each = _listed(untagged)
            found[each.key] = each.beside(found.get(each.key, each))
            if len(found) > limits.folders:
                raise Garbled(f"the server lists more than the limit folders = {limits.folders}")


def _listed(untagged: Untagged) -> _Listed:
    told = untagged.values()
    with grammar():
        if len(told) < _LIST_VALUES or not isinstance(told[0], list):
            raise BadSyntax("no folder")
        words = frozenset(word.upper() for word in told[0] if isinstance(word, bytes))
        delimiter = told[1] if isinstance(told[1], bytes) else None
        name = _name(told[2:])
    if name.upper() == b"INBOX":
        name = b"INBOX"
    if b"\0" in name or not name:
        words |= {b"\\NOSELECT"}
    return _Listed(name, _path(name, delimiter), words)


_LIST_VALUES = 3


def _name(told: Sequence[Value]) -> bytes:
    """Return a folder's name out of what stands where it should, and behind it.

    A folder may be called NIL, or `Sent Items`, and some server will not quote it: of the
    second one only the first word would be left, which may be another folder's name.
    """
    if isinstance(told[0], list):
        raise BadSyntax("no name")
    # A list behind it is what an extension tells (RFC 5258).
    words = [each for each in told if not isinstance(each, list)]
    return b" ".join(b"NIL" if each is None else each for each in words)


def _path(name: bytes, delimiter: bytes | None) -> tuple[str, ...]:
    text = folder_text(name)
    if not delimiter:
        return (text,)
    # A trailing delimiter would make an empty part.
    return tuple(part for part in text.split(folder_text(delimiter)) if part) or (text,)


def _namespaces(session: Session) -> tuple[list[_Space], list[_Space]]:
    """Return the namespaces of one's own folders, and of other people's."""
    if "NAMESPACE" not in session.capabilities:
        return [], []
    try:
        answer = session.command(b"NAMESPACE")
    except Refused as error:
        if is_worth_waiting(error):
            raise
        # Some server offers it and does not know it; then LIST alone tells what there is.
        return [], []
    for untagged in answer:
        if untagged.kind == b"NAMESPACE":
            told = [*untagged.values(), None, None, None]
            own, *foreign = (_spaces(each) for each in told[:3])
            if len(own) + sum(map(len, foreign)) > _NAMESPACES:
                raise Garbled(f"the server names more than {_NAMESPACES} namespaces")
            return own, [space for each in foreign for space in each]
    return [], []


def _spaces(value: Value) -> list[_Space]:
    each: Iterable[Value] = value if isinstance(value, list) else ()
    told = [[*item, None, None] for item in each if isinstance(item, list)]
    return [
        _Space(prefix, delimiter if isinstance(delimiter, bytes) else b"")
        for prefix, delimiter, *_ in told
        if isinstance(prefix, bytes)
    ]
