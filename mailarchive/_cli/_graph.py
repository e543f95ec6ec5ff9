"""`[source] kind = "graph"`: one mailbox, or those of a whole organisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailarchive._cli._imap import choice
from mailarchive._cli._limits import limits
from mailarchive._cli._msal import cloud_of, tokens_of
from mailarchive._cli._organisation import Organisation, chosen, refuse_without_mailboxes
from mailarchive._cli._secret import readable
from mailarchive.sources.graph import GraphLimits, GraphSource, SeenIds
from mailarchive.users.graph import GraphDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive._cli._toml import Table
    from mailarchive.users.mailboxes import Mailbox

SEEN = "graph-seen.db"
"""Beside the checkpoints in the vault's folder: what has been listed."""


def graph(
    table: Table, here: Path, vault: Path, *, journal: bool
) -> tuple[GraphSource | Organisation, GraphDirectory]:
    """Return the source, or the sources, that the table describes, and the tenant's users."""
    cloud = cloud_of(table)
    whom: dict[str, Any] = {
        "cloud": cloud,
        "ca_file": readable(table, "ca_file", here),
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

    directory = GraphDirectory(tokens, limits=bounds, **whom)

    def source_of(mailbox: Mailbox) -> GraphSource:
        """The object id names a mailbox whatever its address becomes."""
        return GraphSource(mailbox.key, tokens, address=mailbox.address, **settings, **whom)

    if "mailboxes" in table:
        names = f"graph:{cloud.graph.partition('://')[2]}/"
        return Organisation(chosen(table), source_of, names, directory.mailboxes), directory
    refuse_without_mailboxes(table, "without_mailboxes", "kinds")
    mailbox, name = table.need("mailbox", str), table.get("name", str)
    return GraphSource(mailbox, tokens, name=name, **settings, **whom), directory
