"""`[source] kind = "ews"`: a mailbox on an Exchange server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mailarchive._cli._imap import choice
from mailarchive._cli._limits import limits
from mailarchive._cli._organisation import Organisation, chosen, refuse_without_mailboxes
from mailarchive._cli._secret import secret
from mailarchive.auth import Kerberos, OAuth, Password
from mailarchive.sources.ews import (
    VERSION,
    Access,
    Contents,
    Disposal,
    EwsLimits,
    EwsSource,
    Store,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._cli._toml import Table

_LOGINS = ("password", "token", "kerberos")


def ews(table: Table, here: Path, *, journal: bool) -> EwsSource | Organisation:
    """Return the source, or the sources, that the table describes; paths are below `here`."""
    auth = _login(table, here)
    ca_file = table.get("ca_file", str)
    many = "mailboxes" in table
    access = table.maybe("access", [each.value for each in Access])
    if access is None:
        raise table.wrong(
            "access is missing",
            'add access = "own", "delegate" or "impersonation": what user is to the mailbox',
        )
    if many and access == Access.OWN:
        raise table.wrong(
            "one login has one mailbox of its own",
            'set access = "impersonation" or "delegate"',
        )
    mailbox = table.get("mailbox", str)
    if mailbox is None and isinstance(auth, Kerberos) and not many:
        raise table.wrong("mailbox is missing", 'add mailbox = "somebody@example.com"')
    if mailbox is None and not isinstance(auth, Kerberos):
        mailbox = auth.username if "@" in auth.username else None
    if mailbox is None and not many:
        raise table.wrong(
            "mailbox is missing, and the user is no address",
            'add mailbox = "somebody@example.com", its primary address',
        )
    source_of: Callable[..., EwsSource] = partial(
        EwsSource,
        table.need("url", str),
        auth=auth,
        access=access,
        method=table.maybe("method", ("ntlm", "basic")),
        folders=choice(table, journal=journal),
        contents=_contents(table),
        disposal=table.choice(
            "disposal", [each.value for each in Disposal], Disposal.DELETED_ITEMS
        ),
        version=table.get("version", str) or VERSION,
        allow_plaintext=bool(table.get("allow_plaintext", bool)),
        ca_file=None if ca_file is None else here / ca_file,
        proxy=table.get("proxy", str),
        limits=limits(table, EwsLimits),
    )
    if many:
        return Organisation(chosen(table), lambda each: source_of(mailbox=each.key), "ews:")
    refuse_without_mailboxes(table, "without_mailboxes")
    assert mailbox is not None, "it was looked for above"
    return source_of(mailbox=mailbox, name=table.get("name", str))


def _login(table: Table, here: Path) -> Password | OAuth | Kerberos:
    given = [key for key in _LOGINS if key in table]
    if len(given) != 1:
        raise table.wrong(
            f"{' and '.join(given)} are two logins"
            if given
            else "there is no login: password, token or kerberos is missing",
            'write password = { file = "..." }, token = { command = ["...", "..."] } '
            "or kerberos = true",
        )
    if given == ["kerberos"]:
        if not table.need("kerberos", bool):
            raise table.wrong("kerberos = false is no login", "remove it, and add a password")
        return Kerberos()
    user = table.need("user", str)
    if given == ["token"]:
        return OAuth(user, secret(table, "token", here))
    return Password(user, secret(table, "password", here))


def _contents(table: Table) -> Contents:
    usual = Contents()
    stores = table.texts("stores")
    known = [each.value for each in Store]
    for word in stores or ():
        if word not in known:
            raise table.wrong(
                "stores has a word that names no store of a mailbox",
                f"use {', '.join(known[:-1])} or {known[-1]}",
            )
    folder_classes, item_classes = table.texts("folder_classes"), table.texts("item_classes")
    return Contents(
        stores=usual.stores if not stores else tuple(map(Store, stores)),
        folder_classes=usual.folder_classes if folder_classes is None else folder_classes,
        hidden_folders=bool(table.get("hidden_folders", bool)),
        item_classes=usual.item_classes if item_classes is None else item_classes,
        associated=bool(table.get("associated", bool)),
    )
