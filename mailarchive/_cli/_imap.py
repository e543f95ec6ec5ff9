"""`[source] kind = "imap"`: a mailbox on an IMAP server, or those that one login may open."""

from __future__ import annotations

import ssl
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from mailarchive._cli._limits import limits
from mailarchive._cli._organisation import (
    Organisation,
    chosen,
    local_part,
    refuse_without_mailboxes,
)
from mailarchive._cli._secret import readable, secret
from mailarchive._model import Address, Fidelity, FolderRole
from mailarchive.auth import ClientCertificate, OAuth, OAuthMechanism, Password, scoped
from mailarchive.sources.imap import FolderChoice, ImapLimits, ImapSource, Recheck, Ripe, Security

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._cli._toml import Table
    from mailarchive.auth import Auth
    from mailarchive.users.mailboxes import Mailbox

_LOGINS = ("password", "token", "certificate", "auth")
_MOST_DAYS = 36_500
"""A century: no mail is older, and no date may be told of much earlier."""


def imap(table: Table, here: Path, *, journal: bool) -> ImapSource | Organisation:
    """Return the source, or the sources, that the table describes; paths are below `here`."""
    fidelity = table.maybe("fidelity", [each.value for each in Fidelity])
    recheck = table.maybe("recheck", [each.value for each in Recheck])
    source_of: Callable[..., ImapSource] = partial(
        ImapSource,
        table.need("host", str),
        port=table.get("port", int),
        security=table.choice("security", [each.value for each in Security], "ssl"),
        allow_plaintext=bool(table.get("allow_plaintext", bool)),
        folders=choice(table, journal=journal),
        remove_to=table.get("remove_to", str),
        recheck=None if recheck is None else Recheck(recheck),
        fidelity=None if fidelity is None else Fidelity(fidelity),
        ripe=_ripe(table),
        limits=limits(table, ImapLimits),
        **_login(table, here),
    )
    if "mailboxes" in table:
        return _organisation(table, source_of)
    refuse_without_mailboxes(table, "named_by", "without_mailboxes")
    address = table.get("address", str)
    return source_of(
        mailbox=table.get("mailbox", str),
        address=None if address is None else Address.parse(address),
        name=table.get("name", str),
    )


def _organisation(table: Table, source_of: Callable[..., ImapSource]) -> Organisation:
    """Return a source for each mailbox, called as the server knows it."""
    which = chosen(table)
    local = table.choice("named_by", ("address", "local-part"), "address") == "local-part"
    names = source_of().name.rpartition("/")[0]  # a wrong setting is found here, not in the run

    def one(mailbox: Mailbox) -> ImapSource:
        called = local_part(mailbox) if local else mailbox.key
        return source_of(mailbox=called, address=mailbox.address)

    return Organisation(which, one, f"{names}/", each_logs_in=True, by_local_part=local)


def choice(table: Table, *, journal: bool) -> FolderChoice:
    """Return which folders are archived: all of a journal's, and most of a mailbox's."""
    names, roles = table.texts("folders"), _roles(table, "roles")
    without_roles = _roles(table, "without_roles")
    for key, given in (("folders", names), ("roles", roles)):
        if given is not None and not given:
            raise table.wrong(f"{key} is empty, which takes no folder", f"leave {key} out")
    if names is not None:
        chosen = FolderChoice.only(*names)
    else:
        chosen = FolderChoice.everything() if journal or roles else FolderChoice()
    return FolderChoice(
        chosen.names,
        table.texts("without_folders") or (),
        roles,
        chosen.without_roles if without_roles is None else without_roles,
        bool(table.get("shared", bool)),
    )


def _roles(table: Table, key: str) -> frozenset[FolderRole] | None:
    words = table.texts(key)
    known = [each.value for each in FolderRole]
    for word in words or ():
        if word not in known:
            raise table.wrong(
                f"{key} has a word that names no purpose of a folder",
                f"use {', '.join(known[:-1])} or {known[-1]}",
            )
    return None if words is None else frozenset(map(FolderRole, words))


def _ripe(table: Table) -> Ripe | None:
    days = table.get("older_than_days", int)
    flags, unwanted = table.texts("with_flags"), table.texts("without_flags")
    if days is not None and days < 0:
        raise table.wrong("older_than_days must not be negative")
    if days is not None and days > _MOST_DAYS:
        raise table.wrong(f"older_than_days must be at most {_MOST_DAYS:_}")
    if days is None and not flags and not unwanted:
        return None
    older_than = None if days is None else timedelta(days=days)
    return Ripe(
        older_than=older_than,
        with_flags=frozenset(_flag(table, "with_flags", each) for each in flags or ()),
        without_flags=frozenset(_flag(table, "without_flags", each) for each in unwanted or ()),
    )


def _flag(table: Table, key: str, word: str) -> str:
    """A flag of the system has a backslash, which TOML takes in single quotes."""
    bare = word.removeprefix("\\")
    system = {"seen", "answered", "flagged", "deleted", "draft"}
    if not bare or not bare.isascii() or not bare.replace("$", "a").replace("-", "a").isalnum():
        raise table.wrong(f"{key} has a word that is no flag", "write '\\Seen', or a keyword")
    if word == bare and bare.lower() in system:
        raise table.wrong(
            f"{key}: a flag of the system begins with a backslash",
            f"write '\\{bare.capitalize()}', in single quotes",
        )
    return word


def _login(table: Table, here: Path) -> dict[str, Any]:
    """Who logs in and how, and what TLS needs to know for it."""
    given = [key for key in _LOGINS if key in table]
    if not given:
        for key in (*_LOGINS, "user", "ca_file"):
            table.raw(key)
        table.done()  # a misspelt one finds its name before it is missed
    if len(given) != 1:
        raise table.wrong(
            f"{' and '.join(given)} are two logins"
            if given
            else "there is no login: password, token, certificate or auth is missing",
            'write password = { file = "..." } or token = { command = ["...", "..."] }',
        )
    user, ca_file = table.need("user", str), table.get("ca_file", str)
    authority = None if ca_file is None else here / ca_file
    if given == ["certificate"]:
        return {"auth": ClientCertificate(user), "ssl_context": _certified(table, here, authority)}
    return {"auth": _secret_login(table, here, user), "ca_file": authority}


def _secret_login(table: Table, here: Path, user: str) -> Auth:
    if "token" in table or "auth" in table:
        mechanism = table.maybe("mechanism", [each.value for each in OAuthMechanism])
        chosen = None if mechanism is None else OAuthMechanism(mechanism)
        return OAuth(user, _token(table, here), mechanism=chosen)
    separator = table.get("master_separator", str)
    if separator is not None and "mailbox" not in table and "mailboxes" not in table:
        raise table.wrong(
            "master_separator is for a login to another mailbox, and none is named",
            'add mailbox = "somebody@example.com", or mailboxes = "all"',
        )
    return Password(user, secret(table, "password", here), master_separator=separator)


def _token(table: Table, here: Path) -> Callable[[], str]:
    """A token from a file or a command, or from Microsoft's identity platform."""
    if "token" in table:
        return secret(table, "token", here)
    from mailarchive._cli._msal import cloud_of, tokens_of

    inner = table.table("auth")
    cloud, authority = cloud_of(inner), readable(inner, "ca_file", here)
    whom = {"cloud": cloud, "ca_file": authority, "proxy": inner.get("proxy", str)}
    tokens = tokens_of(inner, here, whom)
    inner.done()
    return scoped(tokens, cloud.exchange_scope)


def _certified(table: Table, here: Path, authority: Path | None) -> ssl.SSLContext:
    certificate, key = table.need("certificate", str), table.get("key", str)
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError:
        raise table.wrong(
            "ca_file cannot be read, or holds no certificate in PEM form",
            "set ca_file to a PEM file with the authority's certificate",
        ) from None
    try:
        context.load_cert_chain(
            here / certificate,
            None if key is None else here / key,
            lambda: "",  # a key that is locked fails, rather than OpenSSL ask the terminal
        )
    except OSError:
        raise table.wrong(
            "certificate or key cannot be read, or they do not belong together",
            "set certificate and key to files in PEM form, the key without a passphrase",
        ) from None
    return context
