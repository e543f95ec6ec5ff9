"""Handing over by LMTP: to a real Dovecot, and to a server that only knows DATA."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from typing_extensions import override

from mailarchive import Durability, Receipt, Rejected, Stored
from mailarchive.errors import (
    ConfigurationError,
    SinkCorrupt,
    SinkError,
    SinkUnavailable,
    Transient,
    Unsupported,
)
from mailarchive.sinks.lmtp import LmtpSink
from mailarchive.testing.dovecot import Dovecot, dovecot
from mailarchive.testing.entries import entry, mail
from mailarchive.testing.sink_contract import SinkContract
from mailarchive.testing.sink_laws import ODD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailarchive.testing.sink_laws import SinkMaker

QUOTA = """
mail_plugins = $mail_plugins quota
plugin {
  quota = maildir:User quota
  quota_rule = *:bytes=3000
  quota_grace = 0
}
quota_full_tempfail = %s
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """A Dovecot that takes mail for everybody."""
    with dovecot() as running:
        yield running


class TestLmtp(SinkContract):
    """It keeps every law that one can keep who cannot be read back."""

    largest = 16 << 20

    @pytest.fixture
    def open_sink(self, server: Dovecot, tmp_path: Path) -> SinkMaker:
        """A mailbox that nobody has used, and a new ledger."""
        user = server.new_user()
        return lambda: at(server, tmp_path, user)


def at(server: Dovecot, folder: Path, *recipients: str, **settings: Any) -> LmtpSink:
    """Return a sink to some mailboxes of the server."""
    return LmtpSink(
        server.host,
        server.lmtp_port,
        recipients=recipients,
        ledger=folder / "handed.db",
        **settings,
    )


def mailbox(server: Dovecot, user: str) -> list[bytes]:
    """Return what the server has stored for a user, in the order it came."""
    folder = server.folder / "home" / user / "Maildir"
    files = [*folder.glob("new/*"), *folder.glob("cur/*")]
    return [file.read_bytes() for file in sorted(files, key=lambda file: file.name)]


def _lines(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n")


def receipt(answer: Receipt | Rejected) -> Receipt:
    """Return the answer, a receipt."""
    assert isinstance(answer, Receipt)
    return answer


def test_every_byte_reaches_the_other_archive(server: Dovecot, tmp_path: Path) -> None:
    """Behind the lines that a receiver puts on top; what line ends become is its own affair.

    Dovecot keeps mail with LF, and leaves out a CR before one and at the very end.
    """
    user = server.new_user()
    with at(server, tmp_path, user) as sink:
        for what, raw in ODD.items():
            receipt(sink.put(entry(raw, key=what)))

    stored = mailbox(server, user)
    assert len(stored) == len(ODD)
    altered = {
        what
        for what, raw in ODD.items()
        if not any(_lines(each).endswith(_lines(raw)) for each in stored)
    }
    assert altered == {"CR CR LF", "bare CR"}


def test_an_entry_is_handed_over_once(server: Dovecot, tmp_path: Path) -> None:
    """However often it is put, and by how many runs."""
    user, other = server.new_user(), server.new_user()
    for _ in range(2):
        with at(server, tmp_path, user, other) as sink:
            sink.put_many([entry(mail(1), key="1"), entry(mail(2), key="2")])
            assert receipt(sink.put(entry(mail(1), key="1"))).outcome is Stored.PRESENT

    assert len(mailbox(server, user)) == len(mailbox(server, other)) == 2


def test_recipients_may_be_those_of_the_entry(server: Dovecot, tmp_path: Path) -> None:
    """Each owner's mailbox gets what is theirs; an entry of nobody is rejected."""
    users = {"alice": server.new_user(), "bob": server.new_user()}
    sink = LmtpSink(
        server.host,
        server.lmtp_port,
        recipients=lambda each: [users[user] for user in sorted(each.ownership.users)],
        ledger=tmp_path / "handed.db",
    )
    with sink:
        receipt(sink.put(entry(mail(1), key="1", users=("alice", "bob"))))
        receipt(sink.put(entry(mail(2), key="2", users=("bob",))))
        nobody = entry(mail(3), key="3", users=())
        assert sink.put(nobody) == Rejected(nobody.id, "nobody to hand it over to")

    assert len(mailbox(server, users["alice"])) == 1
    assert len(mailbox(server, users["bob"])) == 2


def test_one_who_is_to_be_tried_later_is_tried_alone(tmp_path: Path) -> None:
    """The others have it already; the put is transient, and the next one ends it."""
    with dovecot(extra=QUOTA % "yes") as server:
        full, empty = "alice@example.com", "bob@example.com"
        with at(server, tmp_path, full, name="fill") as sink:
            receipt(sink.put(entry(mail(0, octets=2500), key="fill")))
        with at(server, tmp_path, full, empty) as sink:
            with pytest.raises(SinkUnavailable, match="answered 452") as caught:
                sink.put(entry(mail(1, octets=1000), key="1"))
            assert isinstance(caught.value, Transient)
            assert "@" not in str(caught.value)
            assert len(mailbox(server, empty)) == 1
            server.doveadm("expunge", "-u", full, "mailbox", "INBOX", "all")
            assert receipt(sink.put(entry(mail(1, octets=1000), key="1"))).outcome is Stored.STORED
        assert len(mailbox(server, empty)) == len(mailbox(server, full)) == 1


def test_one_who_is_refused_for_good_makes_the_entry_rejected(tmp_path: Path) -> None:
    """With the number of the answer, and none of its words."""
    with dovecot(extra=QUOTA % "no") as server, at(server, tmp_path, "alice@example.com") as sink:
        one = entry(mail(1, octets=5000))
        assert sink.put(one) == Rejected(one.id, "the other archive answered 552")
        receipt(sink.put(entry(mail(2), key="2")))


def test_a_server_that_went_away_is_tried_again(server: Dovecot, tmp_path: Path) -> None:
    """The error is transient, and the next put connects anew."""
    with at(server, tmp_path, server.new_user()) as sink:
        receipt(sink.put(entry(mail(1), key="1")))
        assert sink._client is not None
        assert sink._client.sock is not None
        sink._client.sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(SinkUnavailable, match="the connection broke"):
            sink.put(entry(mail(2), key="2"))
        assert receipt(sink.put(entry(mail(2), key="2"))).outcome is Stored.STORED


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    """Before anything is put."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        sink = LmtpSink(*probe.getsockname(), recipients=["a@b"], ledger=tmp_path / "l")
        with pytest.raises(SinkUnavailable, match="cannot connect: ConnectionRefusedError"), sink:
            pass


class Takes:
    """Keeps what it is handed, and refuses what it is told to."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Answer for a recipient."""
        if address.startswith("no"):
            return "550 there is no <nobody@example.com>"
        if address.startswith("later"):
            return "450 come again"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a message."""
        self.contents.append(envelope.original_content)
        return "250 fine"


class Plain(Controller):
    """A server of LMTP that offers no CHUNKING."""

    @override
    def factory(self) -> LMTP:
        """Make it."""
        return LMTP(self.handler, enable_SMTPUTF8=False)


@pytest.fixture
def plain() -> Iterator[tuple[Takes, int]]:
    """Such a server, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    handler = Takes()
    controller = Plain(handler, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield handler, port
    finally:
        controller.stop()


def test_without_chunking_lines_end_in_crlf(plain: tuple[Takes, int], tmp_path: Path) -> None:
    """And dots at their beginning arrive as they were, however the lines ended."""
    handler, port = plain
    raws = [
        b"Subject: x\n\n.\n..\n.\rmore\r\n.end",
        b".\r\n",
        b"",
        b"Subject: smuggled\n\n\r\n.\nMAIL FROM:<a@b>\n.\r\n",
    ]
    with LmtpSink("127.0.0.1", port, recipients=["a@example.com"], ledger=tmp_path / "l") as sink:
        for number, raw in enumerate(raws):
            receipt(sink.put(entry(raw, key=str(number))))

    assert handler.contents == [
        b"Subject: x\r\n\r\n.\r\n..\r\n.\r\nmore\r\n.end\r\n",
        b".\r\n",
        b"\r\n",
        b"Subject: smuggled\r\n\r\n\r\n.\r\nMAIL FROM:<a@b>\r\n.\r\n",
    ]


@pytest.mark.parametrize(
    ("recipients", "answer"),
    [
        (["no@example.com"], "rejected 550"),
        (["a@example.com", "no@example.com"], "rejected 550"),
        (["later@example.com", "no@example.com"], "later 450"),
        (["later@example.com", "a@example.com"], "later 450"),
        (["gr\xfcn@example.com"], "rejected"),
    ],
)
def test_each_recipient_is_answered_by_itself(
    plain: tuple[Takes, int], recipients: list[str], answer: str, tmp_path: Path
) -> None:
    """A refusal now comes before one for good: nothing is given up too early."""
    with LmtpSink("127.0.0.1", plain[1], recipients=recipients, ledger=tmp_path / "l") as sink:
        kind, _, code = answer.partition(" ")
        if kind == "later":
            with pytest.raises(SinkUnavailable, match=code):
                sink.put(entry(mail(1)))
            return
        found = sink.put(entry(mail(1)))
    assert isinstance(found, Rejected)
    assert code in found.reason
    assert "nobody" not in found.reason


def test_it_says_that_it_cannot_be_read_back(server: Dovecot, tmp_path: Path) -> None:
    """And promises no more than it is told of the other side."""
    sink = at(server, tmp_path, server.new_user(), durability=Durability.REPLICATED)
    with sink:
        got = receipt(sink.put(entry(mail(1))))
        assert got.durability is Durability.REPLICATED
        with pytest.raises(Unsupported):
            sink.read(got)
    assert not sink.capabilities.reads


@pytest.mark.parametrize("recipients", [[], "archive@example.com"])
def test_recipients_are_a_list(recipients: Any, tmp_path: Path) -> None:
    """A text would be taken for its letters."""
    with pytest.raises(ConfigurationError, match="list of addresses"):
        LmtpSink("127.0.0.1", recipients=recipients, ledger=tmp_path / "l")


def test_a_ledger_that_is_none_is_said_to_be_one(server: Dovecot, tmp_path: Path) -> None:
    """And is not written to."""
    (tmp_path / "handed.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(SinkCorrupt, match="SQLITE_NOTADB"), at(server, tmp_path, "a@b"):
        pass
    with pytest.raises(SinkError, match="not open"):
        at(server, tmp_path, "a@b").put(entry(mail(1)))


def test_an_answer_that_never_comes_is_waited_for_only_so_long(tmp_path: Path) -> None:
    """Then the put is transient."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(listener.accept()[0]))
        thread.start()
        sink = LmtpSink(
            *listener.getsockname(), recipients=["a@b"], ledger=tmp_path / "l", timeout=0.05
        )
        with pytest.raises(SinkUnavailable, match="cannot connect"), sink:
            pass
        thread.join()
        with contextlib.ExitStack() as stack:
            for each in taken:
                stack.enter_context(each)


@pytest.mark.parametrize(
    "said",
    [
        b"yes, gladly\r\n",
        b"2 fine\r\n",
        b"354 go on\r\n",
        b"999 fine\r\n",
        b"\r\n",
        b"250-fine\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
def test_what_is_no_answer_is_no_yes(at: str, said: bytes, tmp_path: Path) -> None:
    """A server that says something else, or nothing, has not taken the message."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb", buffering=0) as line:
            line.write(b"220 hello\r\n")
            while command := line.readline():
                word = command[:4].decode().upper().strip()
                if word == "DATA":
                    line.write(b"354 go on\r\n")
                    while line.readline() not in {b".\r\n", b""}:
                        pass
                line.write(said if word == at else b"250 fine\r\n")
                if word == at and said in {b"", b"250-fine\r\n"}:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: serve(listener.accept()[0]))
        thread.start()
        sink = LmtpSink(*listener.getsockname(), recipients=["a@b"], ledger=tmp_path / "l")
        with sink, pytest.raises(SinkUnavailable, match="the connection broke"):
            sink.put(entry(mail(1)))
        thread.join()


def test_a_recipient_with_a_line_end_is_no_address(server: Dovecot, tmp_path: Path) -> None:
    """And speaks to no server."""
    with at(server, tmp_path, "a@b>\r\nRCPT TO:<c@d") as sink:
        answer = sink.put(entry(mail(1)))
    assert isinstance(answer, Rejected)
    assert answer.reason == "a recipient that is no address"
