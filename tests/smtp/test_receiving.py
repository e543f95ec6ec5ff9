"""A receiver answers 250 for what is kept, and for nothing else."""

from __future__ import annotations

import errno
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.journal import CSV, mailbox
from support.smtp import ADDRESS, SENDER, mail, plain, receiving
from support.world import LocalParts
from typing_extensions import override

from mailarchive import Origin, Receipt, Receiver, Role, UserId, Vault, decoding
from mailarchive.attribution import HoldUnowned
from mailarchive.errors import (
    ConfigurationError,
    DirectoryError,
    ReceiptMismatch,
    SinkError,
    SinkFull,
    SinkUnavailable,
    SourceError,
    SourceUnavailable,
    StateError,
)
from mailarchive.events import BatchPutOff, BatchStored
from mailarchive.headers import without
from mailarchive.quarantine import QuarantineFolder
from mailarchive.sources.smtp import SmtpIntake, SmtpLimits, new_address
from mailarchive.testing.certificates import self_signed
from mailarchive.testing.memory import MemoryQuarantine, MemorySink
from mailarchive.users import DirectoryMap, StaticMap
from mailarchive.users.csv import CsvDirectory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from support.journal import Journaled
    from support.smtp import Running

    from mailarchive import ArchiveEntry
    from mailarchive.errors import MailArchiveError


def journal_users(folder: Path) -> DirectoryMap:
    """The users of the sample journal."""
    (folder / "users.csv").write_text(CSV)
    return DirectoryMap(CsvDirectory(folder / "users.csv"))


class Gated(MemorySink):
    """Says when it is given something, and stores it when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.go_on = threading.Event(), threading.Event()

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        self.writing.set()
        assert self.go_on.wait(20)
        return super()._put(entry)


class Picky(Gated):
    """Breaks at one message."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if entry.raw == mail(2):
            raise SinkError("not this one")
        return super()._put(entry)


class Lying(MemorySink):
    """Has a receipt for other bytes."""

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        return Receipt(self.name, entry.id, entry.id, "somewhere")


class Down:
    """A user map that nobody can ask."""

    def resolve(self, addresses: Collection[Any], /) -> Any:
        """Break."""
        raise ConnectionError


def _shown(mail: Journaled, user: str) -> bytes:
    """The original as the user may see it: a blind copy is the sender's own business."""
    if mail.bcc and user not in mail.senders:
        return without(mail.original, ("Bcc",))
    return mail.original


@pytest.mark.slow
def test_a_journal_comes_in_over_starttls_and_everybody_sees_what_is_theirs(
    tmp_path: Path,
) -> None:
    """Each report and each original come back to the byte; each view is what names the user."""
    mails = list(mailbox(60))
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake([ADDRESS], port=0, certificate=certificate, key=key)
    with receiving(
        intake,
        open_sink=lambda: Vault(tmp_path / "vault", keys=None),
        users=journal_users(tmp_path),
        decoder=decoding.JournalMailbox(),
    ) as running:
        context = ssl.create_default_context(cafile=str(certificate))
        with running.client() as client:
            client.starttls(context=context)
            for each in mails:
                assert client.sendmail("", [ADDRESS], each.raw, ["BODY=8BITMIME"]) == {}

    assert running.done is not None
    assert (running.done.stored, running.done.arrived) == (len(mails), len(mails))
    with Vault(tmp_path / "vault") as vault:
        entries = list(vault.auditor("test", "checking").entries())
        assert sorted(each.raw() for each in entries) == sorted(each.raw for each in mails)
        assert all(each.provenance.is_report for each in entries)
        for user in {user for each in mails for user in each.users}:
            seen = sorted(each.content() for each in vault.view(UserId(user)).messages())
            assert seen == sorted(_shown(each, user) for each in mails if user in each.users)


def test_who_handed_it_over_is_kept_as_evidence(tmp_path: Path) -> None:
    """MAIL FROM, RCPT TO, the client and its protection stand beside what the mail says."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake(
        [ADDRESS], port=0, security="ssl", certificate=certificate, key=key, logins={"hub": "pw"}
    )
    with receiving(intake, open_sink=lambda: Vault(tmp_path / "vault", keys=None)):
        context = ssl.create_default_context(cafile=str(certificate))
        with smtplib.SMTP_SSL("127.0.0.1", intake.port, "hub.example", context=context) as client:
            client.login("hub", "pw")
            client.sendmail(SENDER, [ADDRESS], mail(1))

    with Vault(tmp_path / "vault") as vault:
        (entry,) = vault.auditor("test", "checking").entries()
        delivery = entry.provenance.delivery
        assert delivery is not None
        assert delivery.envelope.origin is Origin.SMTP
        assert delivery.envelope.sender is not None
        assert delivery.envelope.sender.spec == SENDER
        (recipient,) = delivery.envelope.recipients
        assert (recipient.address.spec, recipient.role) == (ADDRESS, Role.RECIPIENT)
        assert (delivery.client, delivery.greeting) == ("127.0.0.1", "hub.example")
        assert (delivery.protection, delivery.login) == ("TLSv1.3", "hub")
        assert ADDRESS not in repr(delivery)
        # What people see is what the message says, and nothing of its way here.
        assert entry.envelope.origin is Origin.HEADERS
        assert {each.address.spec for each in entry.envelope.recipients} == {"bob@corp.example"}


def test_the_evidence_is_kept_in_quarantine_too(tmp_path: Path) -> None:
    """A poison message is held with everything that is known of it."""
    quarantine = QuarantineFolder(tmp_path)
    broken = b"X-MS-Journal-Report:\r\n\r\nno report\r\n"
    with receiving(quarantine=quarantine, decoder=decoding.JournalMailbox()) as running:
        running.send(broken)

    (held,) = quarantine.list()
    message = quarantine.read(held.id)
    assert message.raw == broken
    assert message.delivery is not None
    assert message.delivery.envelope.recipients[0].address.spec == ADDRESS


def test_an_answer_comes_after_the_receipt_and_not_before() -> None:
    """While the archive writes, the client has no word that it could take for yes."""
    sink = Gated()
    with receiving(sink=sink) as running, running.raw() as client:
        client.hello().envelope()
        assert client.say("DATA").startswith(b"354")
        client.send(mail(1) + b".\r\n")
        assert sink.writing.wait(20)
        assert client.is_silent()
        sink.go_on.set()

        assert client.reply().startswith(b"250 2.0.0 kept as ")


def test_the_answer_names_the_entry() -> None:
    """What a sender's log says can be found in the archive."""
    with receiving() as running, running.client() as client:
        client.ehlo()
        client.mail(SENDER)
        client.rcpt(ADDRESS)
        code, words = client.data(mail(1))

    (entry,) = running.sink.entries.values()
    assert (code, words.split()[-1].decode()) == (250, entry.id.hex[:16])


class Failing(MemorySink):
    """Raises what it is told, so many times."""

    def __init__(self, error: Exception, times: int = 1) -> None:
        super().__init__()
        self.error, self.times = error, times

    @override
    def _put(self, entry: ArchiveEntry) -> Receipt:
        if self.times:
            self.times -= 1
            raise self.error
        return super()._put(entry)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SinkUnavailable("gone"), 451),
        (SinkError("broken"), 451),
        (SinkFull("full"), 452),
        (OSError(28, "no room"), 452),
        (RuntimeError("a defect"), 451),
        (DirectoryError("no users"), 451),
        (StateError("no quarantine"), 451),
    ],
)
def test_what_cannot_be_kept_is_put_off_and_comes_again(error: Exception, code: int) -> None:
    """The client hears a 4xx, and the same delivery is taken once the archive works again."""
    with receiving(sink=Failing(error)) as running:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            running.send(mail(1))
        assert refused.value.smtp_code == code
        assert b"corp.example" not in refused.value.smtp_error
        running.send(mail(1))

    assert [entry.raw for entry in running.sink.entries.values()] == [mail(1)]
    assert running.done is not None
    assert (running.done.put_off, running.done.stored) == (1, 1)
    assert [each for each in running.events if isinstance(each, BatchPutOff)]


def test_users_that_cannot_be_asked_put_mail_off() -> None:
    """Nobody's mail is given to nobody because a directory is down."""

    with receiving(users=Down()) as running, pytest.raises(smtplib.SMTPDataError) as refused:
        running.send(mail(1))

    assert refused.value.smtp_code == 451
    assert not running.sink.entries


def test_an_archive_that_cannot_be_trusted_gets_no_more() -> None:
    """A receipt for other bytes ends the receiver, and its sender keeps the message."""

    with receiving(sink=Lying()) as running, pytest.raises(smtplib.SMTPException):
        running.send(mail(1))

    assert isinstance(running.error, ReceiptMismatch)


def _held(running: Running) -> list[bytes]:
    return [message.raw for message, _ in running.quarantine.held.values()]


def test_what_nobody_can_read_is_kept_apart_and_answered_for() -> None:
    """Its sender could do nothing about it, and would send it for days."""
    broken = b"X-MS-Journal-Report:\r\n\r\nno report\r\n"
    with receiving(decoder=decoding.JournalMailbox()) as running:
        running.send(broken)

    assert _held(running) == [broken]
    assert running.done is not None
    assert (running.done.quarantined, running.done.arrived) == (1, 1)


def test_unowned_mail_is_quarantined_where_that_is_asked_for() -> None:
    """As an archiver does."""
    with receiving(unknown=HoldUnowned(), users=StaticMap({})) as running:
        running.send(mail(1))

    assert not running.sink.entries
    assert len(running.quarantine.held) == 1


def test_the_same_delivery_is_stored_once(tmp_path: Path) -> None:
    """An answer that was lost on the way costs nothing but the way."""
    with receiving(open_sink=lambda: Vault(tmp_path / "vault", keys=None)) as running:
        running.send(mail(1))
        running.send(mail(1))
        running.send(mail(2))

    assert running.done is not None
    assert (running.done.stored, running.done.present) == (2, 1)
    with Vault(tmp_path / "vault") as vault:
        assert vault.view(UserId("bob")).count() == 2


def test_one_message_over_two_connections_at_once_is_stored_once() -> None:
    """Both clients hear of the same receipt."""
    sink = Gated()
    with (
        receiving(sink=sink) as running,
        running.raw() as first,
        running.raw() as one,
        running.raw() as two,
    ):
        for client, raw in ((first, mail(0)), (one, mail(1)), (two, mail(1))):
            client.hello().envelope()
            assert client.say("DATA").startswith(b"354")
            client.send(raw + b".\r\n")
            assert sink.writing.wait(20)
        running.wait_until_waiting(2)
        sink.go_on.set()
        assert first.reply().startswith(b"250")

        assert one.reply() == two.reply()
    assert len(running.sink.entries) == 2


def test_one_envelope_is_no_other() -> None:
    """The evidence of both deliveries is kept."""
    with receiving() as running, running.client() as client:
        client.sendmail(SENDER, [ADDRESS], mail(1))
        client.sendmail("other@corp.example", [ADDRESS], mail(1))

    assert len(running.sink.entries) == 2


def test_messages_that_wait_together_are_one_batch() -> None:
    """One question to the users and one sync of the disk for all of them."""
    sink = Gated()
    count = 6
    with receiving(sink=sink) as running:
        clients = [running.raw() for _ in range(count)]
        for number, client in enumerate(clients):
            client.hello().envelope()
            assert client.say("DATA").startswith(b"354")
            client.send(mail(number) + b".\r\n")
            assert sink.writing.wait(20)
        running.wait_until_waiting(count - 1)
        sink.go_on.set()
        for client in clients:
            assert client.reply().startswith(b"250")
            client.close()

    batches = [each.stored for each in running.events if isinstance(each, BatchStored)]
    assert batches == [1, count - 1]


def test_a_message_that_breaks_the_sink_holds_up_nobody_else() -> None:
    """A batch that fails is tried a message at a time."""
    sink = Picky()
    with receiving(sink=sink) as running:
        clients = [running.raw() for _ in range(4)]
        for number, client in enumerate(clients):
            client.hello().envelope()
            assert client.say("DATA").startswith(b"354")
            client.send(mail(number) + b".\r\n")
            assert sink.writing.wait(20)
        running.wait_until_waiting(3)
        sink.go_on.set()
        replies = [client.reply()[:3] for client in clients]
        for client in clients:
            client.close()

    assert replies == [b"250", b"250", b"451", b"250"]


# -- stopping ---------------------------------------------------------------------------------


def test_a_message_under_way_is_answered_before_the_end() -> None:
    """Whoever is in the middle of one is seen out; the idle are told to go."""
    with receiving() as running, running.raw() as busy, running.raw() as idle:
        idle.hello()
        busy.hello().envelope()
        assert busy.say("DATA").startswith(b"354")
        busy.send(mail(1)[:20])
        assert running.receiver is not None
        running.receiver.stop()
        assert idle.reply().startswith(b"421")
        busy.send(mail(1)[20:] + b".\r\n")

        assert busy.reply().startswith(b"250")
        assert busy.reply() == b""
    assert [entry.raw for entry in running.sink.entries.values()] == [mail(1)]


def test_who_is_stopped_before_it_listens_ends_at_once() -> None:
    """A signal may come while a name server is still asked for the host."""
    intake = plain()
    receiver = Receiver(intake, MemorySink(), LocalParts(), quarantine=MemoryQuarantine())
    receiver.stop()
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    try:
        thread.join(10)

        assert not thread.is_alive()
    finally:
        receiver.stop()
        thread.join(10)
    assert receiver.received.arrived == 0


def test_who_never_ends_does_not_keep_the_receiver(tmp_path: Path) -> None:
    """After `leaving_seconds` the connection is cut; nothing of it was promised."""
    intake = plain(limits=SmtpLimits(leaving_seconds=0.05))
    with receiving(intake) as running, running.raw() as client:
        client.hello().envelope()
        assert client.say("DATA").startswith(b"354")
        assert running.receiver is not None
        running.receiver.stop()

        assert client.reply() == b""
    assert running.error is None


@pytest.mark.parametrize(
    "domain", ["archive.example", "a.b-c.example", "localhost", "münchen.example", "x" * 63]
)
def test_an_address_is_made_at_a_domain(domain: str) -> None:
    """As it was written, and a receiver takes it."""
    made = new_address(domain)

    assert made.endswith(f"@{domain}")
    assert plain(addresses=[made])._gate.knows(made)


@pytest.mark.parametrize(
    "domain",
    [
        *("", " ", "not a domain", "foo@bar", ".", "a..b", "a.", "-a", "a-", "a,b", "a\n"),
        *("x" * 64, ".".join(["x" * 60] * 5), "[192.0.2.1]", "a_b.example", "mün chen.example"),
    ],
)
def test_no_address_is_made_at_what_is_no_domain(domain: str) -> None:
    """It would be put into a journal rule, and no report would ever arrive."""
    with pytest.raises(ConfigurationError) as told:
        new_address(domain)

    assert "archive.example.com" in told.value.suggestions[0]


def test_a_receiver_opens_once() -> None:
    """A stopped one is not started again by accident."""
    intake = plain()
    with intake:
        pass

    with pytest.raises(SourceError, match="once"), intake:
        pass


def test_a_port_that_is_taken_is_said() -> None:
    """With what to do about it; whoever has it may be on the way out."""
    with receiving() as running:
        other = plain(port=running.intake.port)
        with pytest.raises(SourceUnavailable, match=r"somebody else .*EADDRINUSE") as told, other:
            pass

    assert "another port" in told.value.suggestions[0]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("nohost.invalid", "the name in host is not known"),
        ("no..name", "the name in host is not known"),
        ("192.0.2.1", "no address of this machine .EADDRNOTAVAIL"),
        ("2001:db8::1", "E"),
        ("fe80::1", "E"),
    ],
)
def test_a_host_that_is_not_ours_is_a_wrong_setting(host: str, said: str) -> None:
    """Each is told from the other, and from a port that is taken."""
    with pytest.raises(ConfigurationError, match=rf"cannot listen on port 0: .*{said}") as told:
        plain(host=host).__enter__()

    assert "set host to an address of this machine" in told.value.suggestions[0]


def test_a_name_server_that_is_away_is_no_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name may be right; a service manager tries again."""

    def away(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "words of the system")

    monkeypatch.setattr(socket, "getaddrinfo", away)
    with pytest.raises(SourceUnavailable, match="could not be looked up") as told:
        plain(host="mail.example.com").check()

    assert "name server" in told.value.suggestions[0]


def test_an_empty_host_is_every_address() -> None:
    """As it is to the system."""
    with plain(host="") as intake:
        socket.create_connection(("127.0.0.1", intake.port), timeout=20).close()


@pytest.mark.parametrize(
    ("number", "kind", "todo"),
    [
        (errno.EACCES, ConfigurationError, "CAP_NET_BIND_SERVICE"),
        (errno.EMFILE, SourceUnavailable, "the system allows"),
    ],
)
def test_what_the_system_refuses_is_named(
    number: int, kind: type[MailArchiveError], todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its symbol, and with what would help."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "words of the system")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(kind, match=errno.errorcode[number]) as told:
        plain().__enter__()

    assert todo in told.value.suggestions[0]


# -- who may ----------------------------------------------------------------------------------


def test_only_our_addresses_get_mail() -> None:
    """Others hear the same 550 whatever they try, and few times."""
    with receiving() as running, running.raw() as client:
        client.hello()
        assert client.say(f"MAIL FROM:<{SENDER}>").startswith(b"250")
        for _ in range(4):
            assert client.say("RCPT TO:<journal@archive.example>").startswith(b"550")
        assert client.say("RCPT TO:<postmaster@archive.example>").startswith(b"421")

        assert client.reply() == b""
    assert not running.sink.entries


def test_an_address_is_known_without_regard_to_case() -> None:
    """As everywhere else."""
    with receiving() as running:
        running.send(mail(1), to=ADDRESS.upper())

    assert len(running.sink.entries) == 1


def test_no_mail_is_taken_before_tls(tmp_path: Path) -> None:
    """Nor a password."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake(
        [ADDRESS], port=0, certificate=certificate, key=key, logins={"hub": "password"}
    )
    with receiving(intake) as running, running.raw() as client:
        client.hello()

        assert client.say(f"MAIL FROM:<{SENDER}>").startswith(b"530")
        assert client.say("AUTH PLAIN AGh1YgBwYXNzd29yZA==")[:1] == b"5"


def test_a_renewed_certificate_is_taken_up(tmp_path: Path) -> None:
    """By the next connection; one that is half written waits until it is whole."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    intake = SmtpIntake([ADDRESS], port=0, security="ssl", certificate=certificate, key=key)
    with receiving(intake) as running:
        old = presented(running)
        whole = self_signed(make(tmp_path / "new"), ["IP:127.0.0.1"])
        certificate.write_bytes(whole[0].read_bytes()[:100])
        assert presented(running) == old
        certificate.write_bytes(whole[0].read_bytes())
        assert presented(running) == old, "a key that does not belong to it came into use"
        key.write_bytes(whole[1].read_bytes())
        new = presented(running)
        assert presented(running) == new

    assert new == ssl.PEM_cert_to_DER_cert(whole[0].read_text())
    assert new != old


def test_a_key_that_is_locked_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    """A service that waits for somebody at a terminal waits for ever."""
    certificate, key = self_signed(tmp_path, ["IP:127.0.0.1"])
    command = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:secret"]
    locked = tmp_path / "locked.pem"
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True)

    with pytest.raises(ConfigurationError, match="key"):
        SmtpIntake([ADDRESS], certificate=certificate, key=locked)


def make(folder: Path) -> Path:
    """Make a folder and return it."""
    folder.mkdir()
    return folder


def presented(running: Running) -> bytes:
    """The certificate that a client is shown."""
    context = ssl._create_unverified_context()
    with smtplib.SMTP_SSL("127.0.0.1", running.intake.port, context=context) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        shown = client.sock.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_a_login_is_needed_where_there_are_any() -> None:
    """And a wrong one is told few times."""
    with receiving(plain(logins={"hub": "pass"})) as running:
        with running.client() as client, pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(SENDER, [ADDRESS], mail(1))
        with running.client() as client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("hub", "guess")
        with running.client() as client:
            client.login("hub", "pass")
            client.sendmail(SENDER, [ADDRESS], mail(1))
        with running.raw() as guesser:
            guesser.hello()
            replies = [guesser.say("AUTH PLAIN AGh1YgB4")[:3] for _ in range(5)]

    assert replies == [b"535", b"535", b"535", b"535", b"421"]
    assert len(running.sink.entries) == 1


def test_a_receiver_without_logins_offers_none() -> None:
    """And takes none."""
    with receiving() as running, running.client() as client:
        client.ehlo()

        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGh1YgB4")[0] == 502


@pytest.mark.parametrize(
    ("networks", "taken"), [(["127.0.0.0/8"], True), (["192.0.2.0/24"], False)]
)
def test_only_the_networks_that_may_connect_do(networks: list[str], taken: bool) -> None:
    """Others hear nothing but a 554."""
    with receiving(plain(networks=networks)) as running, running.raw() as client:
        assert client.reply().startswith(b"220" if taken else b"554")


def test_a_mapped_address_is_in_its_network() -> None:
    """A socket that takes both versions of IP tells IPv4 in IPv6's words."""
    intake = plain(networks=["127.0.0.0/8"], host="::")
    with receiving(intake) as running, running.raw() as client:
        assert client.reply().startswith(b"220")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"addresses": []}, "without an address"),
        ({"addresses": ["journal@archive.example"]}, "guess"),
        ({"addresses": ["journal"]}, "no @"),
        ({"addresses": ["@archive.example"]}, "no @"),
        ({"addresses": ["\ufeff" + ADDRESS]}, "cannot be seen"),
        ({"addresses": [ADDRESS, ADDRESS.replace("@", "\u200b@")]}, "cannot be seen"),
        ({"networks": ["everywhere"]}, "network"),
        ({"networks": ["192.0.2.1/24"]}, "network"),
        ({"security": "tls"}, "security"),
        ({"allow_plaintext": False}, "clear text"),
        ({"security": "ssl"}, "certificate"),
        ({"security": "ssl", "certificate": "/nowhere", "key": "/nowhere"}, "certificate"),
        ({"port": 70_000}, "port"),
        ({"hostname": ""}, "no host name"),
        ({"hostname": "mx 1"}, "no host name"),
        ({"hostname": "mx\r\n250 ok"}, "no host name"),
        ({"hostname": "mx\n"}, "no host name"),
        ({"hostname": "mün chen"}, "no host name"),
        ({"logins": {"": "secret"}}, "login"),
        ({"logins": {"hub": "secret", "other": ""}}, "password"),
    ],
)
def test_a_setting_that_cannot_be_right_is_refused(settings: dict[str, Any], said: str) -> None:
    """At construction, with what to do."""
    with pytest.raises(ConfigurationError, match=said) as told:
        plain(**settings)

    assert told.value.suggestions
    assert "archive.example" not in str(told.value)


@pytest.mark.parametrize(
    ("settings", "greeted"),
    [
        ({}, b"archive.example"),
        ({"hostname": "MX_1"}, b"MX_1"),
        ({"addresses": [ADDRESS.replace("archive", "münchen")]}, b"xn--mnchen-3ya.example"),
    ],
)
def test_a_receiver_greets_with_a_word_of_ascii(settings: dict[str, Any], greeted: bytes) -> None:
    """As RFC 5321 has it: what is in another script is told in its xn-- form."""
    with receiving(plain(**settings)) as running, running.raw() as client:
        assert client.reply().startswith(b"220 " + greeted + b" ")


def test_an_address_that_could_be_guessed_is_taken_behind_a_guard() -> None:
    """Where networks or logins keep strangers out it may be any."""
    plain(addresses=["journal@archive.example"], networks=["192.0.2.0/24"])
    plain(addresses=["journal@archive.example"], logins={"hub": "secret"})


def test_a_new_address_is_unguessable() -> None:
    """And no two are the same."""
    made = {new_address("archive.example") for _ in range(100)}

    assert len(made) == 100
    plain(addresses=made)


def test_limits_that_contradict_each_other_are_refused() -> None:
    """The largest message must find room."""
    with pytest.raises(ConfigurationError, match="memory_octets"):
        SmtpLimits(message_octets=2_000, memory_octets=1_999)


@given(st.binary(max_size=300))
def test_a_message_is_the_same_copy_whenever_it_comes(raw: bytes) -> None:
    """Its key is made of its bytes and its envelope alone."""
    from mailarchive import Delivery, Envelope

    delivery = Delivery(Envelope(origin=Origin.SMTP), "192.0.2.1")
    first, second = plain(), plain(port=1)

    assert first._message(raw, delivery).ref == second._message(raw, delivery).ref


def test_a_message_that_the_archive_never_takes_is_quarantined_in_the_end() -> None:
    """While others are taken it is the message; its sender would give up, and it be lost."""
    sink = Picky()
    sink.go_on.set()
    with receiving(sink=sink) as running:
        for number in range(4):
            with pytest.raises(smtplib.SMTPDataError):
                running.send(mail(2))
            running.send(mail(100 + number))
        running.send(mail(2))

    assert _held(running) == [mail(2)]
    assert running.done is not None
    assert (running.done.put_off, running.done.quarantined) == (4, 1)


def test_an_archive_that_takes_nothing_quarantines_nothing() -> None:
    """Then it is the archive, and everything comes again."""
    with receiving(sink=Failing(SinkError("broken"), times=9)) as running:
        for _ in range(9):
            with pytest.raises(smtplib.SMTPDataError):
                running.send(mail(2))
        running.send(mail(2))

    assert not _held(running)
    assert len(running.sink.entries) == 1


def test_evidence_may_be_any_octets(tmp_path: Path) -> None:
    """What a client says of itself is kept as it is, in the archive and in the quarantine."""
    quarantine = QuarantineFolder(tmp_path / "quarantine")
    with (
        receiving(
            open_sink=lambda: Vault(tmp_path / "vault", keys=None),
            quarantine=quarantine,
            decoder=decoding.JournalMailbox(),
        ) as running,
        running.raw() as client,
    ):
        assert client.reply().startswith(b"220")
        client.send(b"EHLO \xff\x00\x1b[2J\r\n")
        assert client.reply().startswith(b"250")
        for raw in (mail(1), b"X-MS-Journal-Report:\r\n\r\nno report\r\n"):
            client.send(b"MAIL FROM:<\xc3\xa4\xff\x1b@example.com> SMTPUTF8\r\n")
            assert client.reply().startswith(b"250")
            client.send(f"RCPT TO:<{ADDRESS}>\r\n".encode())
            assert client.reply().startswith(b"250")
            assert client.data(raw + b".\r\n").startswith(b"250")

    with Vault(tmp_path / "vault") as vault:
        (entry,) = vault.auditor("test", "checking").entries()
    (held,) = quarantine.list()
    kept = entry.provenance.delivery
    assert kept is not None
    assert kept == quarantine.read(held.id).delivery
    assert kept.greeting.encode("utf-8", "surrogateescape") == b"\xff\x00\x1b[2J"


def test_without_aiosmtpd_the_import_says_what_to_install() -> None:
    """In one line."""
    program = "import sys; sys.modules['aiosmtpd.smtp'] = None\nimport mailarchive.sources.smtp"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )

    assert "pip install 'mailarchive[smtp]'" in done.stderr.splitlines()[-1]
