"""A client that keeps to no rule costs a bounded amount, and harms nobody else."""

from __future__ import annotations

import contextlib
import logging
import smtplib
import socket
import ssl
import tracemalloc
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from support.smtp import ADDRESS, QUICK, SENDER, Raw, mail, plain, receiving
from support.world import START

from mailarchive.sources._smtp_data import Intake
from mailarchive.sources._smtp_gate import one_client
from mailarchive.sources.smtp import SmtpIntake
from mailarchive.testing.certificates import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from support.smtp import Running

    from mailarchive.sources._smtp_listener import Listener


def test_a_message_beyond_the_limit_is_refused_for_good() -> None:
    """As soon as its size is announced, or once it is there; the connection goes on."""
    intake = plain(limits=evolve(QUICK, message_octets=2_000))
    with receiving(intake) as running, running.raw() as client:
        client.hello()
        assert client.say(f"MAIL FROM:<{SENDER}> SIZE=2001").startswith(b"552")
        assert client.envelope().data(mail(1, size=3_000) + b".\r\n").startswith(b"552")

        assert client.envelope().data(mail(1) + b".\r\n").startswith(b"250")
    assert [entry.raw for entry in running.sink.entries.values()] == [mail(1)]


def test_a_message_without_end_is_given_up() -> None:
    """Past twice the limit nobody listens any more."""
    intake = plain(limits=evolve(QUICK, message_octets=100_000))
    with receiving(intake) as running, running.raw() as client:
        client.hello().envelope()
        assert client.say("DATA").startswith(b"354")
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                client.send(b"x" * 10_000)

        assert client.reply()[:3] in {b"421", b""}
    assert not running.sink.entries


@pytest.mark.slow
def test_memory_is_bounded_however_many_send_at_once() -> None:
    """More than `memory_octets` of messages is asked to come again, and holds nothing."""
    octets = 1 << 20
    limits = evolve(QUICK, message_octets=4 * octets, memory_octets=4 * octets)
    with receiving(plain(limits=limits)) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.raw()) for _ in range(12)]
        for client in clients:
            client.hello().envelope()
            assert client.say("DATA").startswith(b"354")
        tracemalloc.start()
        try:
            for client in clients:
                client.send((b"x" * 1_022 + b"\r\n") * 1_024)
            for client in clients:
                client.send(b".\r\n")
            replies = [client.reply()[:3] for client in clients]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert set(replies) <= {b"250", b"452"}
        assert b"250" in replies
        assert b"452" in replies
        assert peak < 4 * limits.memory_octets
        # Everybody has let go: there is room for one as large as all of it.
        assert clients[0].envelope().data(b"y" * 4_000_000, b"\r\n.\r\n").startswith(b"250")


def test_a_size_that_finds_no_room_is_put_off_before_it_is_sent() -> None:
    """What is announced is held for it."""
    limits = evolve(QUICK, message_octets=2_000, memory_octets=2_000)
    with receiving(plain(limits=limits)) as running, running.raw() as one, running.raw() as two:
        for client in (one, two):
            client.hello()
            client.say(f"MAIL FROM:<{SENDER}> SIZE=1500")
            client.say(f"RCPT TO:<{ADDRESS}>")
        assert one.say("DATA").startswith(b"354")
        assert two.say("DATA").startswith(b"452")
        one.send(mail(1) + b".\r\n")
        assert one.reply().startswith(b"250")

        assert two.data(mail(2) + b".\r\n").startswith(b"250")


@pytest.mark.parametrize("said", ["SIZE=99999999999999999999", "SIZE=x", "SIZE="])
def test_a_size_may_be_anything(said: str) -> None:
    """It is refused, or not believed."""
    with receiving() as running, running.raw() as client:
        client.hello()

        assert client.say(f"MAIL FROM:<{SENDER}> {said}")[:1] == b"5"


def test_connections_are_bounded() -> None:
    """All together, and of one client; whoever leaves makes room."""
    limits = evolve(QUICK, connections_of_a_client=3)
    with receiving(plain(limits=limits)) as running:
        clients = [running.raw() for _ in range(3)]
        for client in clients:
            client.hello()
        with running.raw() as further:
            assert further.reply().startswith(b"421")
        leaving = clients.pop()
        assert leaving.say("QUIT").startswith(b"221")
        leaving.close()
        replies = set()
        for _ in range(500):
            with running.raw() as further:
                replies.add(further.reply()[:3])
            if b"220" in replies:
                break
        for client in clients:
            client.close()

    assert b"220" in replies


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_is_one_client(client: str, counted: str) -> None:
    """Whoever has one address of it has them all; an IPv4 client stays one by itself."""
    assert counted == one_client(client)


def test_a_client_with_many_addresses_is_bounded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its connections comes from another one; all are forgotten once they are over."""
    numbers = count(1)
    with receiving(plain(limits=evolve(QUICK, connections_of_a_client=2))) as running:
        loop = listener_of(running)._loop
        accept = loop.sock_accept

        async def accepted(sock: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
            client, _ = await accept(sock)
            return client, (f"2001:db8::{next(numbers)}", 25)

        monkeypatch.setattr(loop, "sock_accept", accepted)
        with running.raw() as first:  # may have been waited for before
            first.hello()
        assert running.is_empty()
        with running.raw() as one, running.raw() as two, running.raw() as three:
            for client in (one, two):
                client.hello()
            assert three.reply().startswith(b"421")
        assert running.is_empty()


def test_those_who_are_here_have_their_turn_however_many_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody who connects again and again, and is turned away each time, keeps none waiting."""
    turns: list[int] = []
    others: list[socket.socket] = []
    with receiving(plain(networks=["127.0.0.0/8"])) as running, contextlib.ExitStack() as stack:
        loop = listener_of(running)._loop
        accept = loop.sock_accept

        async def accepted(sock: socket.socket) -> tuple[socket.socket, Any]:
            if len(others) == 100:
                return await accept(sock)
            ours, theirs = socket.socketpair()
            others.append(stack.enter_context(theirs))
            if len(others) == 1:
                loop.call_soon(lambda: turns.append(len(others)))
            return ours, ("192.0.2.1", 25)

        monkeypatch.setattr(loop, "sock_accept", accepted)
        with running.raw() as first:  # may have been waited for before
            first.hello()
        running.send(mail(1))
    assert turns == [1]


def listener_of(running: Running) -> Listener:
    """Return what accepts clients."""
    listener = running.intake._listener
    assert listener is not None
    return listener


def test_messages_over_one_connection_are_bounded() -> None:
    """Then it has to connect again."""
    limits = evolve(QUICK, messages=2)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello()
        for number in range(2):
            assert client.envelope().data(mail(number) + b".\r\n").startswith(b"250")
        assert client.say(f"MAIL FROM:<{SENDER}>").startswith(b"421")

        assert client.reply() == b""


def test_recipients_are_bounded() -> None:
    """The others are put off, as RFC 5321, 4.5.3.1.10, says."""
    limits = evolve(QUICK, recipients=2)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello().envelope()
        assert client.say(f"RCPT TO:<{ADDRESS}>").startswith(b"250")

        assert client.say(f"RCPT TO:<{ADDRESS}>").startswith(b"452")


@pytest.mark.parametrize("command", ["NOOP", "RSET", "EHLO x", "HELO x", "VRFY x", "FOO", "HELP"])
def test_idle_talk_has_an_end(command: str) -> None:
    """Nobody can keep a connection busy with nothing for ever."""
    limits = evolve(QUICK, messages=10)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello()
        for _ in range(50):
            if not client.say(command):
                break
        else:
            raise AssertionError("it goes on and on")


def test_silence_is_given_up() -> None:
    """A client that says nothing, or drips, holds a connection for a bounded time."""
    limits = evolve(QUICK, command_seconds=0.1)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello()
        client.send(b"RSE")

        assert client.reply() == b""


def test_a_message_that_drips_is_given_up() -> None:
    """64 KiB, or its end, must come in `piece_seconds`: an octet now and then does not count."""
    limits = evolve(QUICK, piece_seconds=0.2)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello().envelope()
        assert client.say("DATA").startswith(b"354")
        client.send(b"Subject: a")
        with contextlib.suppress(OSError):
            while client.is_silent():
                client.send(b"x")

        assert client.reply() == b""
    assert not running.sink.entries


def test_a_session_lasts_only_so_long() -> None:
    """Also of a client that keeps to every other bound, and says something now and then."""
    limits = evolve(QUICK, session_seconds=0.2)
    with receiving(plain(limits=limits)) as running:
        with running.raw() as client:
            client.hello()

            assert client.reply().startswith(b"421 4.4.2")
            assert client.reply() == b""
        running.send(mail(1))
    assert len(running.sink.entries) == 1


def test_a_connection_without_a_message_ends() -> None:
    """Whatever else is said over it; one with a message under way goes on."""
    with (
        receiving(plain(limits=evolve(QUICK, quiet_seconds=1))) as running,
        running.raw() as busy,
        running.raw() as idle,
    ):
        busy.hello().envelope()
        assert busy.say("DATA").startswith(b"354")
        assert idle.reply().startswith(b"220")
        assert idle.say("NOOP").startswith(b"250")
        assert idle.reply().startswith(b"421 4.4.2")

        busy.send(mail(1) + b".\r\n")
        assert busy.reply().startswith(b"250")
        assert busy.reply().startswith(b"421 4.4.2")
    assert len(running.sink.entries) == 1


def test_a_message_that_drips_ends_with_its_session() -> None:
    """It has as long to end as an answer may take, and not as long as its pieces might."""
    limits = evolve(QUICK, session_seconds=0.2, answer_seconds=0.2, piece_seconds=3_600)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello().envelope()
        assert client.say("DATA").startswith(b"354")
        client.send(b"Subject: a")

        assert client.reply() == b""
    assert not running.sink.entries


def test_a_line_without_end_is_given_up() -> None:
    """It is read past, in bounded time and memory."""
    limits = evolve(QUICK, command_seconds=0.3)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello()
        tracemalloc.start()
        try:
            with contextlib.suppress(OSError):
                for _ in range(100_000):
                    client.send(b"x" * 10_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 4 << 20
        with contextlib.suppress(OSError):
            client.reply()
        running.send(mail(1))
    assert len(running.sink.entries) == 1


def test_nothing_is_kept_of_words_that_are_no_command() -> None:
    """Each is another one, as long as a line can be, and as many as somebody likes."""
    with receiving() as running, running.raw() as client:
        client.hello()
        tracemalloc.start()
        try:
            for number in range(100):
                client.send(b"%03d" % number + b"x" * 60_000 + b"\r\n")
                assert client.reply().startswith(b"500")
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert held < 1 << 20, held


def test_commands_may_come_all_at_once() -> None:
    """Each is answered in its turn; nothing is lost and nothing read twice."""
    with receiving() as running, running.raw() as client:
        client.hello()
        start = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{ADDRESS}>\r\nDATA\r\n".encode()
        for number in range(3):
            client.send(start + mail(number) + b".\r\n")
        client.send(b"QUIT\r\n")
        replies = [client.reply()[:3] for _ in range(13)]

    assert replies == [b"250", b"250", b"354", b"250"] * 3 + [b"221"]
    assert sorted(e.raw for e in running.sink.entries.values()) == [mail(n) for n in range(3)]


def test_data_before_an_envelope_is_refused() -> None:
    """And what follows is taken for commands, which end the connection."""
    with receiving() as running, running.raw() as client:
        client.hello()
        assert client.say("DATA").startswith(b"503")
        assert client.say(f"MAIL FROM:<{SENDER}>").startswith(b"250")
        assert client.say("DATA").startswith(b"503")
        client.say(f"RCPT TO:<{ADDRESS}>")
        assert client.say("DATA now").startswith(b"501")
    assert not running.sink.entries


def test_a_message_that_cannot_be_let_in_holds_nothing() -> None:
    """Its client hears that it was not kept, and there is room for the next one."""
    times: Iterator[datetime | OSError] = iter([OSError(), START])

    def clock() -> datetime:
        time = next(times)
        if isinstance(time, OSError):
            raise time
        return time

    intake = plain(limits=evolve(QUICK, waiting=1), clock=clock)
    with receiving(intake) as running, running.raw() as client:
        client.hello()
        replies = [client.envelope().data(mail(number) + b".\r\n")[:3] for number in range(2)]

    assert replies == [b"451", b"250"]
    assert len(running.sink.entries) == 1


@pytest.mark.parametrize("error", [MemoryError, OSError, ValueError])
def test_nothing_in_a_message_is_a_command_where_something_breaks(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """The connection ends: what is left of the message could say MAIL, RCPT and DATA."""

    def add(intake: Intake, piece: bytes) -> None:
        monkeypatch.undo()
        raise error

    forged = f"MAIL FROM:<boss@corp.example>\r\nRCPT TO:<{ADDRESS}>\r\nDATA\r\n".encode()
    with receiving() as running, running.raw() as client:
        client.hello().envelope()
        monkeypatch.setattr(Intake, "add", add)
        reply = client.data(b"x\r\n" + forged + mail(1) + b".\r\n")

        assert reply.startswith(b"421")
        while client.reply():
            pass
        memory = running.intake._memory
        assert memory._places == QUICK.waiting
        assert memory._free == QUICK.memory_octets
    assert not running.sink.entries


def test_who_hangs_up_in_the_middle_has_sent_nothing() -> None:
    """Half a message is none."""
    with receiving() as running:
        with running.raw() as client:
            client.hello().envelope()
            assert client.say("DATA").startswith(b"354")
            client.send(mail(1)[:30])
        running.send(mail(2))

    assert [entry.raw for entry in running.sink.entries.values()] == [mail(2)]


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<" + b"a" * 600 + b"@example.com>",
        b"MAIL FROM:<a@example.com> AUTH=<> FOO=1",
        b"MAIL FROM:a\x00b",
        b"MAIL FROM:<\xff\xfe@example.com>",
        b"RCPT TO:<>",
        b"\xff\xff\xff",
        b"",
        b"EHLO",
        b"STARTTLS",
        b"BDAT 10 LAST",
        b"XEXCH50 2 2",
        b"AUTH GSSAPI",
        b"AUTH PLAIN !!!",
    ],
)
def test_only_replies_come_out(line: bytes) -> None:
    """Whatever is said, the answer is a reply code, and says nothing of our insides."""
    with receiving() as running, running.raw() as client:
        client.hello()
        client.send(line + b"\r\n")
        said = client.reply()

        assert said[:3].isdigit()
        assert b"Error: (" not in said
        running.send(mail(1))


def test_a_relay_may_say_who_logged_in_there() -> None:
    """`AUTH=` on MAIL is taken and means nothing (RFC 4954, 5)."""
    with receiving() as running, running.raw() as client:
        client.hello()

        assert client.say(f"MAIL FROM:<{SENDER}> AUTH=<> SIZE=10").startswith(b"250")


def test_tls_that_fails_takes_no_mail(tmp_path: Path) -> None:
    """And the next client is served."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake([ADDRESS], port=0, certificate=certificate, key=key, limits=QUICK)
    with receiving(intake) as running:
        with running.raw() as client:
            client.hello()
            assert client.say("STARTTLS").startswith(b"220")
            client.send(b"this is no TLS\r\n" * 10)
            assert client.reply() != b"250"
        with running.client() as friend:
            friend.starttls(context=ssl.create_default_context(cafile=str(certificate)))
            friend.sendmail(SENDER, [ADDRESS], mail(1))

    assert len(running.sink.entries) == 1


def test_what_comes_in_clear_text_behind_starttls_is_not_read(tmp_path: Path) -> None:
    """Somebody on the way could have put it there."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake([ADDRESS], port=0, certificate=certificate, key=key, limits=QUICK)
    with receiving(intake) as running, Raw(running.intake.port) as client:
        client.hello()
        client.send(b"STARTTLS\r\nMAIL FROM:<mallory@example.net>\r\n")
        assert client.reply().startswith(b"220")
        with client.starttls(certificate) as tls:
            tls.send(b"EHLO client.example\r\nRCPT TO:<" + ADDRESS.encode() + b">\r\n")
            assert tls.reply().startswith(b"250")

            assert tls.reply().startswith(b"503")


def test_tls_begins_once(tmp_path: Path) -> None:
    """Within TLS there is no other one: each would take room, however many were asked for."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake([ADDRESS], port=0, certificate=certificate, key=key, limits=QUICK)
    with receiving(intake) as running, running.raw() as client:
        client.hello()
        assert client.say("STARTTLS").startswith(b"220")
        with client.starttls(certificate) as tls:
            assert tls.say("EHLO client.example").startswith(b"250")
            assert tls.say("STARTTLS").startswith(b"503")

            assert tls.envelope().data(mail(1) + b".\r\n").startswith(b"250")
    assert len(running.sink.entries) == 1


def test_a_handshake_that_never_comes_is_given_up(tmp_path: Path) -> None:
    """It holds one of the connections, and not for long."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    limits = evolve(QUICK, handshake_seconds=0.1)
    intake = SmtpIntake(
        [ADDRESS], port=0, security="ssl", certificate=certificate, key=key, limits=limits
    )
    with receiving(intake) as running, running.raw() as client:
        assert client.reply() == b""


def test_no_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even by the library that speaks SMTP; other users of it log on."""
    caplog.set_level(logging.DEBUG)
    with receiving() as running:
        running.send(mail(1))
        with contextlib.suppress(smtplib.SMTPException):
            running.send(mail(1), to="stranger@archive.example")
        logging.getLogger("mail.log").info("somebody else")

    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "somebody else" in said
    assert "corp.example" not in said
    assert "archive.example" not in said


@pytest.mark.slow
def test_little_lines_cost_no_more_than_their_octets() -> None:
    """A message of lines that begin with a dot comes in pieces of a few octets each."""
    with receiving() as running, running.raw() as client:
        client.hello().envelope()
        assert client.say("DATA").startswith(b"354")
        client.send(b"Subject: dots\r\n\r\n")
        lines = b"..\r\n" * 40_000
        tracemalloc.start()
        try:
            client.send(lines)
            client.send(b".\r\n")
            assert client.reply().startswith(b"250")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    (entry,) = running.sink.entries.values()
    assert entry.raw == b"Subject: dots\r\n\r\n" + b".\r\n" * 40_000
    assert peak < 1_200_000, peak


def test_a_handshake_that_stops_half_way_is_given_up(tmp_path: Path) -> None:
    """After STARTTLS as well, where the first part was in clear text."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    limits = evolve(QUICK, command_seconds=0.2)
    intake = SmtpIntake([ADDRESS], port=0, certificate=certificate, key=key, limits=limits)
    with receiving(intake) as running, running.raw() as client:
        client.hello()
        assert client.say("STARTTLS").startswith(b"220")
        client.send(b"\x16\x03\x01")

        assert client.reply() == b""
        assert running.is_empty(), "it still counts among the connections"


def test_guessing_takes_its_time() -> None:
    """Each wrong recipient costs `mistake_seconds`, and a right one nothing."""
    limits = evolve(QUICK, mistake_seconds=0.1)
    with receiving(plain(limits=limits)) as running, running.raw() as client:
        client.hello()
        client.say(f"MAIL FROM:<{SENDER}>")
        client.send(b"RCPT TO:<a@archive.example>\r\nNOOP\r\n")
        assert client.reply().startswith(b"550")
        assert client.is_silent()

        assert client.reply().startswith(b"250")
