"""`[source] kind = "graph"`: one mailbox, or those of a whole organisation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailarchive._cli._imap import choice
from mailarchive._cli._limits import limits
from mailarchive._cli._msal import cloud_of, tokens_of
from mailarchive.sources.graph import GraphLimits, GraphSource, SeenIds
from mailarchive.users.graph import GraphDirectory
from mailarchive.users.mailboxes import MailboxChoice, MailboxKind, plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._cli._toml import Table
    from mailarchive.users.mailboxes import Mailbox, Plan

SEEN = "graph-seen.db"
"""Beside the checkpoints in the vault's folder: what has been listed."""


@frozen(repr=False)
class Organisation:
    """The mailboxes of a tenant: which, and a source for each."""

    directory: GraphDirectory
    chosen: MailboxChoice
    source_of: Callable[..., GraphSource] = field(repr=False)
    names: str
    """What the name of every mailbox's source begins with."""

    def plan(self) -> Plan:
        """Ask the directory what there is; raises `DirectoryError`, `MailboxNotFound`."""
        return plan(self.directory.mailboxes(), self.chosen)

    def source(self, mailbox: Mailbox) -> GraphSource:
        """Return the source of one mailbox; the object id names it whatever it is called."""
        return self.source_of(mailbox.key, address=mailbox.address)


def graph(
    table: Table, here: Path, vault: Path, *, journal: bool
) -> tuple[GraphSource | Organisation, GraphDirectory]:
    """Return the source, or the sources, that the table describes, and the tenant's users."""
    cloud, ca_file = cloud_of(table), table.get("ca_file", str)
    whom: dict[str, Any] = {
        "cloud": cloud,
        "ca_file": None if ca_file is None else here / ca_file,
        "proxy": table.get("proxy", str),
    }
    tokens = tokens_of(table, here, whom)
    bounds = limits(table, GraphLimits)
    settings: dict[str, Any] = {
        "folders": choice(table, journal=journal),
        "hidden": bool(table.get("hidden", bool)),
        "recoverable": bool(table.get("recoverable", bool)),
        "seen": SeenIds(vault / SEEN),
        "limits": bounds,
        **({"remove_to": table.get("remove_to", str)} if "remove_to" in table else {}),
    }

    source_of: Callable[..., GraphSource] = partial(GraphSource, tokens=tokens, **settings, **whom)
    directory = GraphDirectory(tokens, limits=bounds, **whom)
    if "mailboxes" in table:
        names = f"graph:{cloud.graph.partition('://')[2]}/"
        return Organisation(directory, _choice(table), source_of, names), directory
    return source_of(table.need("mailbox", str), name=table.get("name", str)), directory


def _choice(table: Table) -> MailboxChoice:
    if "mailbox" in table:
        raise table.wrong("mailbox and mailboxes contradict each other", "drop one of them")
    value = table.raw("mailboxes")
    if value != "all" and not (isinstance(value, list) and all(isinstance(x, str) for x in value)):
        raise table.wrong('mailboxes must be "all" or a list of addresses in quotes')
    only = None if value == "all" else table.texts("mailboxes")
    words = table.texts("kinds")
    known = [each.value for each in MailboxKind]
    if not set(words or ()) <= set(known):
        raise table.wrong(f"kinds must be some of {', '.join(known)}")
    kinds = {} if words is None else {"kinds": frozenset(map(MailboxKind, words))}
    return MailboxChoice(only, table.texts("without_mailboxes") or (), **kinds)
