"""What messages take of memory, counted by the interpreter: their octets, once, and a place."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from support.smtp import ADDRESS, QUICK, SENDER, Raw, plain, receiving
from typing_extensions import override

from mailarchive.sources._smtp_data import Intake
from mailarchive.sources._smtp_room import Memory, Share
from mailarchive.testing.memory import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailarchive import ArchiveEntry, Receipt, Rejected

MEBI = 1 << 20


class Stuck(MemorySink):
    """Stores nothing before it is let go."""

    def __init__(self) -> None:
        """Begin stuck."""
        super().__init__()
        self.go_on = threading.Event()

    @override
    def _put_many(self, entries: Sequence[ArchiveEntry]) -> list[Receipt | Rejected]:
        self.go_on.wait(30)
        return list(super()._put_many(entries))


@contextmanager
def counting() -> Iterator[Callable[[], tuple[int, int]]]:
    """Give what tells the octets that were taken since, and the most of them."""
    tracemalloc.start()
    try:
        yield tracemalloc.get_traced_memory
    finally:
        tracemalloc.stop()


def abandon(port: int) -> bytes:
    """Send the smallest message and hang up; return what DATA was answered."""
    client = Raw(port)
    client.send(f"EHLO x\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{ADDRESS}>\r\nDATA\r\n".encode())
    *_, reply = (client.reply() for _ in range(5))
    client.send(b"\r\n.\r\n")
    client.close()
    return reply[:3]


def test_a_message_is_held_once() -> None:
    """Handing it in makes no copy of it."""
    intake = Intake(64 * MEBI, Share(Memory(64 * MEBI)))
    piece = b"x" * 65_536
    with counting() as taken:
        for _ in range(16 * MEBI // len(piece)):
            intake.add(piece)
        whole = intake.message()
        held, peak = taken()

    assert len(whole) == 16 * MEBI
    assert held < 1.02 * len(whole)
    assert peak < 1.2 * len(whole)


@pytest.mark.slow
def test_a_large_message_takes_its_octets_once() -> None:
    """From the first octet to the receipt, what is between client and archive included."""
    line = b"x" * 998 + b"\r\n"
    octets = 16 * MEBI
    limits = evolve(QUICK, message_octets=octets, memory_octets=octets)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello().envelope()
        with counting() as taken:
            assert client.say("DATA").startswith(b"354")
            for _ in range(octets // len(line)):
                client.send(line)
            client.send(b".\r\n")
            assert client.reply().startswith(b"250")
            _, peak = taken()

    assert peak < 1.3 * octets, peak


@pytest.mark.slow
def test_messages_whose_clients_left_are_bounded() -> None:
    """However many send next to nothing and hang up while the archive is stuck."""
    sink = Stuck()
    limits = evolve(QUICK, waiting=40)
    with receiving(plain(limits=limits), sink=sink) as running:
        try:
            abandon(running.intake.port)  # what is loaded once is not what a message takes
            with counting() as taken:
                replies = [abandon(running.intake.port) for _ in range(200)]
                assert running.is_empty()
                gc.collect()  # what nobody holds any more does not count
                held, _ = taken()

            assert replies.count(b"354") <= 39
            assert set(replies) == {b"354", b"452"}
            assert held < 39 * 8_192, held
        finally:
            sink.go_on.set()
        wait_for(lambda: abandon(running.intake.port) == b"354")

    assert len(sink.entries) == 1  # all of them are the same copy


def test_who_leaves_before_the_end_takes_no_place() -> None:
    """A place is given back however the message ends: half sent, refused, or stored."""
    limits = evolve(QUICK, waiting=1, message_octets=1_024)
    with receiving(plain(limits=limits)) as running:
        for sent in (b"Subject: half", b"", b"x" * 1_025 + b"\r\n.\r\n", b"x" * 4_096):
            with running.raw() as client:
                client.hello().envelope()
                assert client.say("DATA").startswith(b"354"), sent
                client.send(sent)
                if sent.endswith(b".\r\n"):
                    client.reply()
            assert running.is_empty()
        for number in range(3):
            running.send(b"Subject: %d\r\n\r\n" % number)

        with running.raw() as one, running.raw() as other:
            assert one.hello().envelope().say("DATA").startswith(b"354")
            assert other.hello().envelope().say("DATA").startswith(b"452 4.3.1")


def wait_for(true: Callable[[], bool]) -> None:
    """Try until it is so."""
    for _ in range(400):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it does not come to that")
