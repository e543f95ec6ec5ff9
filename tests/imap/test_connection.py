"""What the library relies on in imapclient and imaplib, and how often it asks a server."""

from __future__ import annotations

import imaplib
import ssl
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import imapclient
import pytest
from attrs import evolve
from support.imap import QUICK, Mailbox, archived, inbox_of, read_all, scripted

from mailarchive import Kept, Removed
from mailarchive.auth import ClientCertificate
from mailarchive.sources._imap_connect import QUIET, _Client
from mailarchive.sources._imap_errors import Place, Security
from mailarchive.testing.dovecot import dovecot
from mailarchive.testing.imap_server import ImapServer

if TYPE_CHECKING:
    from pathlib import Path

    from support.imap import Numbered


def test_imaplib_is_kept_from_formatting_every_message() -> None:
    """imapclient turns its debug level up; when it stops, `QUIET` may go, and this says so."""
    with ImapServer({"INBOX": []}) as server:
        place = Place("test", server.host, server.port, Security.PLAIN)
        as_shipped = imapclient.IMAPClient(server.host, server.port, ssl=False, timeout=5)
        ours = _Client(place, QUICK, None)
        try:
            assert as_shipped._imap.debug == 5
            assert ours._imap.debug == QUIET
        finally:
            as_shipped.shutdown()
            ours.shutdown()


def test_everything_that_is_read_comes_over_the_bounded_wire(mailbox: Mailbox) -> None:
    """imaplib's own reader, which has no bounds, is never used."""
    place = Place("test", "127.0.0.1", mailbox.server.imaps_port, Security.SSL)
    context = ssl.create_default_context(cafile=mailbox.server.ca_file)
    client = _Client(place, QUICK, context)
    try:
        assert client.wire.received > 0
        assert not hasattr(client._imap, "file")
        assert client._imap.read.__func__ is not imaplib.IMAP4.read
        assert client._imap.readline.__func__ is not imaplib.IMAP4.readline
    finally:
        client.shutdown()


def test_a_page_costs_one_command_and_a_listing_few(mailbox: Mailbox, numbered: Numbered) -> None:
    """Round trips decide on a long way: STATUS, EXAMINE, SEARCH, sizes, and one a page."""
    mailbox.put(numbered(25))
    with mailbox.source(limits=evolve(QUICK, page=10)) as source:
        source.folders()
        before = source._line.session().commands
        inbox = source.folders()[0]
        listing = source._line.session().commands - before
        messages = [item for page in source.scan(inbox) for item in source.fetch(page.refs)]
        total = source._line.session().commands - before - listing

    assert len(messages) == 25
    assert listing <= 2
    assert total == 4 + 3


def test_a_removal_costs_few_commands(mailbox: Mailbox, numbered: Numbered) -> None:
    """However many messages it takes away."""
    mailbox.put(numbered(50))
    with mailbox.source() as source:
        items = [archived(message) for message in read_all(source)]
        before = source._line.session().commands
        source.remove(items)

        assert source._line.session().commands - before == 9


def test_commands_stay_within_the_bound_of_a_line() -> None:
    """Scattered UIDs make many short sets, not one long line."""
    with ImapServer({"INBOX": [b"Subject: a\r\n\r\n"] * 800}) as server:
        box = server.boxes["INBOX"]
        for item in box.items:
            item.uid *= 1_000_003
        with scripted(server, limits=evolve(QUICK, command_octets=500)) as source:
            (page, *more) = inbox_of(source)
            found = [item for each in (page, *more) for item in source.fetch(each.refs)]

        longest = max(len(command.arguments) for command in server.commands)
        names = Counter(command.name for command in server.commands)
    assert len(found) == 800
    assert longest < 600
    assert names["UID FETCH"] >= 2 * 800 * 10 // 500


def test_a_message_that_changes_while_it_is_removed_stays(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """With CONDSTORE (RFC 7162) the server itself compares, at the moment of the mark."""
    mailbox.put(numbered(3))
    with mailbox.source() as source:
        items = [archived(message) for message in read_all(source)]
        session = source._line.session()
        stream = session.stream
        sent: list[bytes] = []

        def change_first(*parts: bytes, **settings: Any) -> object:
            if parts[0] == b"UID STORE" and not sent:
                sent.extend(parts)
                with mailbox.raw() as other:
                    other.command("SELECT INBOX")
                    other.command(r"UID STORE 2 +FLAGS.SILENT (\Answered)")
            return stream(*parts, **settings)

        session.stream = change_first  # type: ignore[method-assign,assignment]  # a race, made sure of
        results = {type(each): each for each in source.remove(items)}

    assert any(part.startswith(b"(UNCHANGEDSINCE ") for part in sent)
    kept = results[Kept]
    assert isinstance(kept, Kept)
    assert kept.ref == items[1].ref
    assert Removed in results
    (left,) = mailbox.state()
    assert b"\\Deleted" not in left


@pytest.fixture
def client_certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for `alice@example.com` that signed itself."""
    key, certificate = tmp_path / "client-key.pem", tmp_path / "client.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=alice@example.com"]
    out = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *out], check=True, capture_output=True)
    return key, certificate


def test_a_client_certificate_is_a_login(
    client_certificate: tuple[Path, Path], numbered: Numbered
) -> None:
    """SASL EXTERNAL: whose the certificate is says the server."""
    key, certificate = client_certificate
    user = "alice@example.com"
    with dovecot(extra=f"ssl_ca = <{certificate}\n") as server:
        server.put(user, numbered(2))
        context = ssl.create_default_context(cafile=server.ca_file)
        context.load_cert_chain(certificate, key)
        mailbox = Mailbox(server, user)
        settings = {"ca_file": None, "ssl_context": context, "auth": ClientCertificate(user)}
        with mailbox.source(**settings) as source:
            assert len(read_all(source)) == 2
