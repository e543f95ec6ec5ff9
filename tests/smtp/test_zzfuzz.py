"""Whatever is said, and in whatever order: what got a 250 is kept, and nothing else is."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.smtp import ADDRESS, SENDER, mail, plain, receiving

LINES = st.sampled_from(
    [
        b"EHLO a",
        b"HELO a",
        f"MAIL FROM:<{SENDER}>".encode(),
        b"MAIL FROM:<>",
        b"MAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME SMTPUTF8",
        f"RCPT TO:<{ADDRESS}>".encode(),
        b"RCPT TO:<stranger@example.com>",
        b"DATA",
        b"Subject: a",
        b"",
        b".",
        b"..",
        b"RSET",
        b"NOOP",
        b"STARTTLS",
        b"AUTH PLAIN AGEAYg==",
        b"AUTH LOGIN",
        b"VRFY a",
        b"HELP",
        b"EXPN a",
        b"\x00\xff",
    ]
)


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=25))
def test_what_is_answered_for_is_what_is_kept(lines: list[bytes]) -> None:
    """Each line ends in CR LF; the next client is served whatever this one did."""
    with receiving(plain()) as running:
        with running.raw() as client, contextlib.suppress(OSError):
            client.send(b"\r\n".join([*lines, b".", b"QUIT", b""]))
            kept = sum(b"kept as" in reply for reply in iter(client.reply, b""))
        running.send(mail(1))
    assert running.done is not None

    assert running.error is None
    # Two messages with the same bytes and envelope are one copy.
    assert running.done.stored + running.done.present == kept + 1
    assert running.done.put_off == 0
    assert len(running.sink.entries) == running.done.stored
