"""A mailbox that is archived over one protocol and continued over another shows no mail twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.graph import ANN, QUICK
from support.rendering import Letter, Rendering, render

from mailarchive import Address, Archiver, Fidelity, UserId, Vault
from mailarchive.auth import Password
from mailarchive.quarantine import QuarantineFolder
from mailarchive.sources.ews import EwsSource
from mailarchive.sources.graph import FolderChoice, GraphSource
from mailarchive.sources.imap import ImapSource
from mailarchive.state import SqliteCheckpoints
from mailarchive.testing.ews_server import EwsServer
from mailarchive.testing.graph_server import GraphServer
from mailarchive.testing.imap_server import ImapServer
from mailarchive.users import StaticMap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive import RunReport
    from mailarchive.abc import Source

LETTERS = [Letter(message_id=f"<{n}@contoso.example>", plain=f"letter {n}\n") for n in range(5)]
CORRECTED = evolve(LETTERS[0], plain="letter 0, corrected\n")
"""Has the Message-ID of the first letter, and is another one."""

BY_IMAP = Rendering(charset="iso-8859-1", encoding="quoted-printable", boundary="_imap_")
BY_GRAPH = Rendering(zone=2, boundary="_graph_", transport=("Exchange", "Id"), head=True)
BY_EWS = Rendering(boundary="_ews_", wrapped=True, turned=True, tnef=True, padded=True)
INBOX = FolderChoice.only("Inbox")


@pytest.fixture
def sources() -> Iterator[dict[str, Source]]:
    """Ann's mailbox over each protocol, each with its own rendering of the same letters."""
    with (
        ImapServer({"INBOX": [render(each, BY_IMAP) for each in LETTERS]}) as imap,
        GraphServer([ANN]) as graph,
        EwsServer() as ews,
    ):
        box = ews.add_mailbox(ANN, password="secret")
        for each in [*LETTERS, CORRECTED]:
            graph.mailbox(ANN).deliver(render(each, BY_GRAPH))
            box.deliver(render(each, BY_EWS))
        login = Password(ANN, "secret")
        yield {
            "imap": ImapSource(
                imap.host,
                port=imap.port,
                auth=login,
                security="plain",
                allow_plaintext=True,
                fidelity=Fidelity.RENDERED,
            ),
            "graph": GraphSource(
                ANN, graph.tokens, cloud=graph.cloud, folders=INBOX, limits=QUICK
            ),
            "ews": EwsSource(
                ews.url,
                auth=login,
                access="own",
                mailbox=ANN,
                folders=INBOX,
                allow_plaintext=True,
            ),
        }


def archived(source: Source, vault: Vault, here: Path) -> RunReport:
    """Archive a mailbox for its owner."""
    users = StaticMap({ANN: "ann"})
    from mailarchive.attribution import mailbox_owner

    return Archiver(
        source,
        vault,
        users,
        attribution=mailbox_owner,
        state=SqliteCheckpoints(here / "state.db"),
        quarantine=QuarantineFolder(here / "quarantine"),
        clock=lambda: datetime(2026, 11, 25, tzinfo=UTC),
    ).run()


@pytest.mark.parametrize(
    "order", [("imap", "graph", "ews"), ("ews", "graph", "imap"), ("graph", "imap", "ews")]
)
def test_no_message_is_shown_twice_and_none_is_lost(
    sources: dict[str, Source], tmp_path: Path, order: tuple[str, ...]
) -> None:
    """The bytes differ by protocol; the fingerprint does not.  All renderings are kept."""
    with Vault(tmp_path / "ann.vault", keys=None) as vault:
        for name in order:
            report = archived(sources[name], vault, tmp_path)
            assert report.ok
            assert report.stored == len(LETTERS) + (name != "imap")
        view = vault.view(UserId("ann"))
        shown = list(view.messages())

        assert view.count() == len(LETTERS) + 1
        assert sorted(each.copies for each in shown) == [2, 3, 3, 3, 3, 3]
        assert {Address(ANN)} >= {source.mailbox for source in sources.values()}
        texts = {shown[n].content() for n in range(len(shown))}
        assert len(texts) == len(LETTERS) + 1
