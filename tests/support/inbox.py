"""What is in a mailbox on the server, read with the standard library alone."""

from __future__ import annotations

import imaplib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailarchive.testing.dovecot import Dovecot


def contents(server: Dovecot, mailbox: str, folder: str = "INBOX") -> list[bytes]:
    """Return every message of the folder, sorted."""
    with imaplib.IMAP4(server.host, server.imap_port) as connection:
        connection.login(mailbox, server.password)
        connection.select(folder, readonly=True)
        _, answers = connection.fetch("1:*", "(BODY.PEEK[])")
        return sorted(each[1] for each in answers if isinstance(each, tuple))
