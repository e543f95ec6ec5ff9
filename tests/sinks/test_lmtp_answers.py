"""Each answer of an LMTP server counts from when it is heard, whatever comes after it."""

from __future__ import annotations

import socket
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from attrs import define, field

from mailarchive import Fidelity, Receipt, Rejected, Stored
from mailarchive.errors import SinkFull, SinkUnavailable
from mailarchive.sinks import _ledger
from mailarchive.sinks.lmtp import LmtpSink
from mailarchive.testing.entries import entry, mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C = "a@example.com", "b@example.com", "c@example.com"
DROP = "drop"
FINE = "250 fine"


@define
class Scripted:
    """A server whose answers to RCPT, and to a message, are those of a script, in turn.

    Where a script has ended everything is taken.
    """

    rcpt: dict[str, list[str]] = field(factory=dict)
    data: dict[str, list[str]] = field(factory=dict)
    chunking: bool = False
    port: int = 0
    called: int = 0
    asked: list[str] = field(factory=list)
    took: list[str] = field(factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Answer until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.called += 1
            opened = connection.makefile("rwb", buffering=0)
            # Who hangs up may leave unread what was said.
            with connection, opened as line, suppress(ConnectionError):
                self._talk(line)

    def _talk(self, line: socket.SocketIO) -> None:
        line.write(b"220 hello\r\n")
        to: list[str] = []
        while command := line.readline().decode():
            answer = FINE
            if command.upper().startswith("RSET"):
                to = []
            elif command.upper().startswith("LHLO") and self.chunking:
                answer = "250-hello\r\n250 CHUNKING"
            elif command.upper().startswith("BDAT"):
                left = int(command.split()[1])
                while left and (piece := line.read(left)):
                    left -= len(piece)
                self._take(line, to)
                to = []
                continue
            elif command.upper().startswith("RCPT"):
                address = command.partition("<")[2].partition(">")[0].lower()
                self.asked.append(address)
                answer = self._next(self.rcpt, address)
                to += [address] if answer.startswith(FINE) else []
            elif command.upper().startswith("DATA"):
                line.write(b"354 go on\r\n")
                while line.readline() not in {b".\r\n", b""}:
                    pass
                if not self._take(line, to):
                    return
                to = []
                continue
            line.write(answer.encode() + b"\r\n")

    def _take(self, line: socket.SocketIO, to: list[str]) -> bool:
        for address in to:
            answer = self._next(self.data, address)
            if answer == DROP:
                return False
            self.took += [address] if answer == FINE else []
            line.write(answer.encode() + b"\r\n")
        return True

    def _next(self, script: dict[str, list[str]], address: str) -> str:
        return script[address].pop(0) if script.get(address) else FINE


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that runs, with nothing in its script."""
    server = Scripted()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve, args=(listener,))
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def at(server: Scripted, folder: Path, *recipients: str) -> LmtpSink:
    """Return a sink to the server."""
    return LmtpSink("127.0.0.1", server.port, recipients=recipients, ledger=folder / "ledger")


@pytest.mark.parametrize("reopened", [False, True])
def test_who_has_answered_before_the_connection_broke_is_not_asked_again(
    server: Scripted, tmp_path: Path, *, reopened: bool
) -> None:
    """Neither by this process nor by the next; the others are."""
    server.data = {B: [DROP]}
    one = entry(mail(1))
    with at(server, tmp_path, A, B, C) as sink:
        with pytest.raises(SinkUnavailable, match="connection broke"):
            sink.put(one)
        assert server.took == [A]
        if not reopened:
            sink.put(one)
    with at(server, tmp_path, A, B, C) as sink:
        answer = sink.put(one)

    assert isinstance(answer, Receipt)
    assert server.took == [A, B, C]


def test_who_is_refused_for_good_is_not_asked_while_another_is_waited_for(
    server: Scripted, tmp_path: Path
) -> None:
    """The next put asks for the one alone; and one after the end asks for the refused one."""
    server.rcpt = {B: ["550 no"], C: ["450 later", "450 later"]}
    one = entry(mail(1))
    with at(server, tmp_path, A, B, C) as sink:
        for _ in range(2):
            with pytest.raises(SinkUnavailable, match="answered 450"):
                sink.put(one)
        assert server.asked == [A, B, C, C]
        assert sink.put(one) == Rejected(one.id, "the other archive answered 550")
        assert server.asked == [A, B, C, C, C]
        answer = sink.put(one)

    assert isinstance(answer, Receipt)
    assert server.took == [A, C, B]


def test_the_ledger_is_committed_with_each_entry(server: Scripted, tmp_path: Path) -> None:
    """So that a process that is killed in a batch hands over one entry again, not all."""
    server.data = {A: [FINE, FINE, DROP]}
    entries = [entry(mail(number), key=str(number)) for number in range(3)]
    seen = []

    def recipients(_: object) -> list[str]:
        with closing(sqlite3.connect(f"file:{tmp_path / 'ledger'}?mode=ro", uri=True)) as base:
            seen.append(base.execute("SELECT count(*) FROM handed").fetchone()[0])
        return [A]

    sink = LmtpSink("127.0.0.1", server.port, recipients=recipients, ledger=tmp_path / "ledger")
    with sink, pytest.raises(SinkUnavailable):
        sink.put_many(entries)

    assert seen == [0, 1, 2]


def test_a_rendering_that_comes_later_ends_what_another_began(
    server: Scripted, tmp_path: Path
) -> None:
    """The receipt is of what went out first, and is no mismatch."""
    server.data = {B: [DROP]}
    first, again = (entry(mail(number), fidelity=Fidelity.RENDERED) for number in (1, 2))
    with at(server, tmp_path, A, B) as sink:
        with pytest.raises(SinkUnavailable):
            sink.put(first)
        answer = sink.put(again)

    assert isinstance(answer, Receipt)
    assert (answer.stored_digest, answer.outcome) == (first.raw_digest, Stored.PRESENT)
    assert server.took == [A, B]


@pytest.mark.parametrize("reopened", [False, True])
def test_what_was_noted_outlives_who_reads_the_ledger(
    server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, reopened: bool
) -> None:
    """A backup keeps it from being committed: it is tried later, and nobody has mail twice."""
    monkeypatch.setattr(_ledger, "_BUSY_SECONDS", 0.0)
    one, two = (entry(mail(number), key=str(number)) for number in range(2))
    with at(server, tmp_path, A) as sink:
        with closing(sqlite3.connect(tmp_path / "ledger", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM handed").fetchall()
            for _ in range(2):
                with pytest.raises(SinkUnavailable, match="SQLITE_BUSY"):
                    sink.put(one)
        if not reopened:
            sink.put_many([one, two])
    with at(server, tmp_path, A) as sink:
        answers = sink.put_many([one, two])

    assert all(isinstance(each, Receipt) for each in answers)
    assert server.took == [A, A]


def test_a_server_that_closes_is_called_anew(server: Scripted, tmp_path: Path) -> None:
    """After 421 nobody listens any more (RFC 5321, 3.8)."""
    server.rcpt = {A: ["421 closing"]}
    one = entry(mail(1))
    with at(server, tmp_path, A) as sink:
        with pytest.raises(SinkUnavailable, match="answered 421"):
            sink.put(one)
        assert isinstance(sink.put(one), Receipt)

    assert server.called == 2


def test_an_answer_without_an_end_is_not_read_to_its_end(server: Scripted, tmp_path: Path) -> None:
    """Else it would be kept until there is no memory left; later the same is handed over."""
    endless = "\r\n".join(["250-and more"] * 1_000)
    server.rcpt[A] = [f"{endless}\r\n{FINE}", FINE]
    with at(server, tmp_path, A) as sink:
        with pytest.raises(SinkUnavailable, match="SMTPServerDisconnected"):
            sink.put(entry(mail(1)))
        receipt = sink.put(entry(mail(1)))

    assert isinstance(receipt, Receipt)
    assert receipt.outcome is Stored.STORED
    assert server.called == 2


@pytest.mark.parametrize("where", ["rcpt", "data"])
def test_an_answer_to_nothing_is_no_answer_to_the_next_question(
    server: Scripted, tmp_path: Path, where: str
) -> None:
    """A server that says yes once too often is not taken to have said it of the next entry."""
    server.chunking, twice = True, f"{FINE}\r\n{FINE}"
    refused = entry(mail(2))
    with at(server, tmp_path, A) as sink:
        if where == "data":
            server.data[A] = [twice, "550 no"]
            assert isinstance(sink.put(entry(mail(1))), Receipt)
        else:
            server.rcpt[A], server.data[A] = [twice], ["550 no"]
            with pytest.raises(SinkUnavailable):
                sink.put(refused)
        answer = sink.put(refused)

    assert answer == Rejected(refused.id, "the other archive answered 550")


def test_nothing_goes_on_where_a_conversation_was_left(
    server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger fails between two answers: the rest of them is none to what is asked next."""
    server.rcpt = {B: ["550 no"]}
    one, two = (entry(mail(number), key=str(number)) for number in range(2))
    with at(server, tmp_path, B, A) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(_ledger.Ledger, "note_refused", _full)
            with pytest.raises(SinkFull):
                sink.put(one)
        assert isinstance(sink.put(two), Receipt)

    assert server.called == 2


def _full(*_: object) -> None:
    raise SinkFull("the ledger: no room")


def test_who_is_refused_in_several_ways_is_told_of_the_least(
    server: Scripted, tmp_path: Path
) -> None:
    """Always of the same one, in whatever order they are asked."""
    server.rcpt = {A: ["554 never"], B: ["550 no"], C: ["552 full"]}
    one = entry(mail(1))
    with at(server, tmp_path, A, B, C) as sink:
        answer = sink.put(one)

    assert answer == Rejected(one.id, "the other archive answered 550")
