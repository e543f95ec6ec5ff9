"""Archives that are files: the laws of a sink, and what other programs see."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from mailarchive import Digest, Receipt, Rejected, SourceMessage, Stored
from mailarchive.auth import Password
from mailarchive.errors import SinkCorrupt, SinkError
from mailarchive.sinks.files import EmlTree, MaildirTree, MboxFile
from mailarchive.sources.files import EmlFolder, Maildir, Mbox
from mailarchive.sources.imap import ImapSource
from mailarchive.testing.dovecot import dovecot
from mailarchive.testing.entries import entry, mail
from mailarchive.testing.sink_contract import SinkContract
from mailarchive.testing.sink_laws import ODD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mailarchive import Sink, Source
    from mailarchive.testing.sink_laws import SinkMaker


class TestEmlTree(SinkContract):
    """A tree of `.eml` files keeps every law."""

    largest = 16 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A folder."""
        return partial(EmlTree, tmp_path / "deep" / "mail")


class TestMaildirTree(SinkContract):
    """A Maildir keeps every law."""

    largest = 16 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A folder."""
        return partial(MaildirTree, tmp_path / "deep" / "mail")


class TestMboxFile(SinkContract):
    """An mbox keeps every law, since what it quotes it can take back."""

    largest = 16 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A file."""
        return partial(MboxFile, tmp_path / "deep" / "mail.mbox")


KINDS = [
    (lambda folder: EmlTree(folder / "mail"), lambda folder: EmlFolder(folder / "mail")),
    (lambda folder: MaildirTree(folder / "mail"), lambda folder: Maildir(folder / "mail")),
    (
        lambda folder: MboxFile(folder / "mail.mbox"),
        lambda folder: Mbox(folder / "mail.mbox", variant="mboxrd"),
    ),
]
EACH = pytest.mark.parametrize(("sink_at", "source_at"), KINDS, ids=["eml", "maildir", "mbox"])
SINKS = pytest.mark.parametrize(
    "sink_at", [kind[0] for kind in KINDS], ids=["eml", "maildir", "mbox"]
)


def receipts(answers: Iterable[Receipt | Rejected]) -> list[Receipt]:
    """Return the answers, all receipts."""
    return [answer for answer in answers if isinstance(answer, Receipt)]


@EACH
def test_our_own_source_reads_back_what_the_sink_wrote(
    sink_at: Callable[[Path], Sink], source_at: Callable[[Path], Source], tmp_path: Path
) -> None:
    """To the byte, for every odd message that ends as a message does.

    But for packed ones, which a Maildir has where a server compresses what it keeps.
    """
    ends = b"" if source_at is not KINDS[2][1] else b"\n"
    raws = [
        raw
        for what, raw in ODD.items()
        if raw.endswith(ends)
        and len(raw) > 1
        and b"\r\r" not in raw
        and what not in {"a message that is gzip", "a message that is zstd"}
    ]
    with sink_at(tmp_path) as sink:
        sink.put_many([entry(raw, key=str(n)) for n, raw in enumerate(raws)])
    with source_at(tmp_path) as source:
        refs = [
            ref for folder in source.folders() for page in source.scan(folder) for ref in page.refs
        ]
        found = [item.raw for item in source.fetch(refs) if isinstance(item, SourceMessage)]

    assert sorted(found) == sorted(raws)


@SINKS
def test_two_writers_share_one_place(sink_at: Callable[[Path], Sink], tmp_path: Path) -> None:
    """Each sees at once what the other has put, also in the middle of its own puts."""
    entries = [entry(mail(n), key=str(n)) for n in range(6)]
    with sink_at(tmp_path) as one, sink_at(tmp_path) as other:
        for number, each in enumerate(entries):
            writers = (one, other) if number % 2 else (other, one)
            first, again = receipts(sink.put(each) for sink in writers)
            assert (first.outcome, again.outcome) == (Stored.STORED, Stored.PRESENT)
            assert one.read(again) == other.read(first) == each.raw


@SINKS
def test_what_is_damaged_is_said_and_not_handed_over(
    sink_at: Callable[[Path], Sink], tmp_path: Path
) -> None:
    """One changed byte, and neither is it read, nor is it taken for what was put."""
    one = entry(mail(1))
    with sink_at(tmp_path) as sink:
        (receipt,) = receipts([sink.put(one)])
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes().replace(b"Number 1", b"Number 7"))
    with sink_at(tmp_path) as sink, pytest.raises(SinkCorrupt, match="not what was stored"):
        sink.read(receipt)


@SINKS
def test_a_sink_that_is_not_open_says_so(sink_at: Callable[[Path], Sink], tmp_path: Path) -> None:
    """And writes nothing."""
    with pytest.raises(SinkError, match="not open"):
        sink_at(tmp_path).put(entry(mail(1)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [EmlTree, MaildirTree])
def test_a_file_has_the_time_at_which_the_message_was_received(
    kind: type[EmlTree | MaildirTree], tmp_path: Path
) -> None:
    """As mail servers keep it, who read it from there."""
    when = datetime(2020, 2, 29, 12, tzinfo=UTC)
    with kind(tmp_path) as sink:
        sink.put(evolve(entry(mail(1)), received_at=when))
    (file,) = (each for each in tmp_path.rglob(f"{entry(mail(1)).id.hex}*"))

    assert file.stat().st_mtime == when.timestamp()


def test_what_a_mail_program_does_to_a_maildir_is_borne(tmp_path: Path) -> None:
    """A file that it moved is found; one that it deleted is stored again."""
    moved, deleted = (entry(mail(n), key=str(n), flags=("\\Seen", "\\Flagged")) for n in (1, 2))
    with MaildirTree(tmp_path) as sink:
        first, second = receipts(sink.put_many((moved, deleted)))
        (tmp_path / "cur" / f"{moved.id.hex}:2,FS").rename(
            tmp_path / "cur" / f"{moved.id.hex}:2,R"
        )
        (tmp_path / "cur" / f"{deleted.id.hex}:2,FS").unlink()

        assert sink.read(first) == moved.raw
        with pytest.raises(SinkCorrupt, match="nothing that belongs"):
            sink.read(second)
        again = receipts(sink.put_many((moved, deleted)))
        assert [each.outcome for each in again] == [Stored.PRESENT, Stored.STORED]
        assert sink.read(second) == deleted.raw


def test_what_a_dead_writer_left_behind_is_swept_away(tmp_path: Path) -> None:
    """A file that never got its name; what other programs have there stays."""
    with EmlTree(tmp_path):
        pass
    (tmp_path / "tmp" / "mailarchive-0123").write_bytes(b"half a mess")
    (tmp_path / "tmp" / "1.2.host").write_bytes(b"somebody else's")
    with EmlTree(tmp_path):
        pass

    assert [each.name for each in (tmp_path / "tmp").iterdir()] == ["1.2.host"]


@pytest.mark.parametrize("cut", [1, 40, 150, 250, 300])
@pytest.mark.parametrize("tail", [b"", b"\0" * 700])
def test_a_torn_message_of_an_mbox_counts_for_nothing(
    cut: int, tail: bytes, tmp_path: Path
) -> None:
    """Wherever it was torn, and whatever stands there instead: the others are all there."""
    path = tmp_path / "mail.mbox"
    entries = [entry(mail(n), key=str(n)) for n in range(4)]
    with MboxFile(path) as sink:
        kept = receipts(sink.put_many(entries[:2]))
        whole = path.stat().st_size
        sink.put(entries[2])
    data = path.read_bytes()
    path.write_bytes(data[: whole + cut] + tail)
    with MboxFile(path) as sink:
        again = receipts(sink.put_many(entries))
        found = [each.outcome for each in again]
        assert found == [Stored.PRESENT, Stored.PRESENT, Stored.STORED, Stored.STORED]
    with MboxFile(path) as sink:
        assert [sink.read(each) for each in again] == [each.raw for each in entries]
        assert [sink.read(each) for each in kept] == [each.raw for each in entries[:2]]
        outcomes = {each.outcome for each in receipts(sink.put_many(entries))}
        assert outcomes == {Stored.PRESENT}


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 40, 69, 70, 133, 134, 140, 145, 160, 189, 190])
@pytest.mark.parametrize("tail", [b"", b"\0" * 700])
def test_a_first_message_of_an_mbox_may_be_torn_too(cut: int, tail: bytes, tmp_path: Path) -> None:
    """A loss of power in the very first put leaves a part of a line, or nothing but NULs."""
    path = tmp_path / "mail.mbox"
    entries = [entry(mail(n), key=str(n)) for n in range(3)]
    with MboxFile(path) as sink:
        sink.put(entries[0])
    data = path.read_bytes()
    path.write_bytes(data[:cut] + tail)
    with MboxFile(path) as sink:
        kept = receipts(sink.put_many(entries))
        assert {each.outcome for each in kept} == {Stored.STORED}
    with MboxFile(path) as sink:
        assert [sink.read(each) for each in kept] == [each.raw for each in entries]
        assert {each.outcome for each in receipts(sink.put_many(entries))} == {Stored.PRESENT}


@pytest.mark.parametrize("number", [0, 1, 3, 7], ids="message {}".format)
@pytest.mark.parametrize("part", [1, 2, 3, 4], ids=["entry", "digest", "size", "stored"])
def test_a_flipped_bit_in_an_mbox_costs_no_other_message(
    number: int, part: int, tmp_path: Path
) -> None:
    """Whatever a From_ line says since: nothing is changed, and all others are found.

    A wrong size does not even cost its own message, for that is known by its digest.
    """
    path = tmp_path / "mail.mbox"
    raws = [mail(0, octets=5000), mail(1), b"", b"From me\n\n>From you", *map(mail, range(4, 8))]
    entries = [entry(raw, key=str(n)) for n, raw in enumerate(raws)]
    with MboxFile(path) as sink:
        kept = receipts(sink.put_many(entries))
    data = path.read_bytes()
    line = list(re.finditer(rb"From (\w+)\.(\w+)\.(\d+)\.(\d+)@", data))[number]
    costs = {entries[number].id} if part in {1, 2} else set()
    for at in range(*line.span(part)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        before = path.read_bytes()
        no_line = number == 0 and data[at] in b"af"  # hexadecimal no more

        assert unreadable(path, kept) == (None if no_line else costs)
        assert path.read_bytes() == before


def unreadable(path: Path, kept: Iterable[Receipt]) -> set[Digest] | None:
    """Return the entries that an mbox says are damaged; `None` where it says so of itself."""
    lost = set()
    try:
        with MboxFile(path) as sink:
            for each in kept:
                try:
                    sink.read(each)
                except SinkCorrupt:
                    lost.add(each.entry_id)
    except SinkCorrupt as error:
        assert "at byte 0" in str(error)  # noqa: PT017 - it may also open
        return None
    return lost


def test_a_damaged_message_of_an_mbox_is_named_by_where_it_stands(tmp_path: Path) -> None:
    """And what was written to it is stored behind, where the source still has it."""
    path = tmp_path / "mail.mbox"
    with MboxFile(path) as sink:
        (receipt, _) = receipts(sink.put_many([entry(mail(n), key=str(n)) for n in (1, 2)]))
    path.write_bytes(path.read_bytes().replace(b"Number 1", b"Number 7"))
    where = path.read_bytes().index(b"\n") + 1
    with MboxFile(path) as sink:
        with pytest.raises(SinkCorrupt, match=f"at byte {where} is not what was stored"):
            sink.read(receipt)
        sink.put(entry(mail(1), key="1"))
        assert sink.read(receipt) == mail(1)


def test_a_message_cannot_pretend_to_be_another_in_an_mbox(tmp_path: Path) -> None:
    """A From_ line of this sink in a body is quoted, and found by nobody."""
    path = tmp_path / "mail.mbox"
    with MboxFile(path) as sink:
        sink.put(entry(mail(1)))
    forged = entry(b"Subject: x\n\n" + path.read_bytes() + b"\n\n" + path.read_bytes(), key="2")
    path.unlink()
    with MboxFile(path) as sink:
        (receipt,) = receipts([sink.put(forged)])
    with MboxFile(path) as sink:
        assert sink.read(receipt) == forged.raw
        (honest,) = receipts([sink.put(entry(mail(1)))])
        assert honest.outcome is Stored.STORED


def test_a_file_that_is_no_mbox_of_ours_is_left_alone(tmp_path: Path) -> None:
    """Somebody else's mail is neither read as ours nor written to."""
    path = tmp_path / "mail.mbox"
    path.write_bytes(b"From alice@example.com Thu Jan  1 00:00:00 1970\nSubject: x\n\nx\n\n")
    before = path.read_bytes()
    with pytest.raises(SinkCorrupt, match="did not write"), MboxFile(path):
        pass

    assert path.read_bytes() == before


def test_a_mail_server_serves_what_the_maildir_holds() -> None:
    """Dovecot lists every message with its flags, the time it was received, and its bytes."""
    when = datetime(2020, 2, 29, 12, tzinfo=UTC)
    entries = [
        evolve(entry(mail(n), key=str(n), flags=flags), received_at=when)
        for n, flags in enumerate([(), ("\\Seen",), ("\\Flagged", "\\Answered", "$Custom")])
    ]
    with dovecot() as server:
        user = server.new_user()
        home = server.folder / "home" / user
        with MaildirTree(home / "Maildir") as sink:
            sink.put_many(entries)
        owner = (server.folder / "home").stat()
        for path in (home, *home.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        table = server.doveadm("-f", "tab", "fetch", "-u", user, "flags date.received", "all")
        with ImapSource(
            server.host,
            port=server.imaps_port,
            ca_file=server.ca_file,
            auth=Password(user, server.password),
        ) as source:
            refs = [ref for page in source.scan(source.folders()[0]) for ref in page.refs]
            raws = [each.raw for each in source.fetch(refs) if isinstance(each, SourceMessage)]

    rows = [line.split("\t")[:2] for line in table.splitlines()[1:]]
    flagged = sorted(sorted({*flags.split()} - {"\\Recent"}) for flags, _ in rows)
    assert flagged == [[], ["\\Answered", "\\Flagged"], ["\\Seen"]]
    assert all("2020-02-29" in date for _, date in rows)
    assert sorted(raws) == sorted(each.raw for each in entries)


@pytest.mark.parametrize("year", [date.min, date.max])
@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_a_date_at_the_end_of_all_time_is_no_error(tmp_path: Path, year: date, hours: int) -> None:
    """A date of a year that UTC does not have is written as its own clock had it."""
    of_day = time.min if year == date.min else time.max
    when = datetime.combine(year, of_day, timezone(timedelta(hours=hours)))
    one = evolve(entry(mail(1)), received_at=when)
    with MboxFile(tmp_path / "mail.mbox") as sink:
        (receipt,) = sink.put_many([one])
        assert isinstance(receipt, Receipt)
    with MboxFile(tmp_path / "mail.mbox") as sink:
        assert sink.read(receipt) == one.raw
