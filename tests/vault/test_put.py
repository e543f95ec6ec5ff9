"""What a put promises: stored once, told apart by bytes, durable, and answered for."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.vaults import entries, entry, everything, journaled, mail, receipts, to

from mailarchive import (
    Digest,
    Digested,
    Durability,
    Fidelity,
    Receipt,
    Rejected,
    Span,
    Stored,
    UserId,
)
from mailarchive.errors import SinkCorrupt, SinkError, SinkNotWritable
from mailarchive.vault import Vault, _zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.vaults import OpenVault

    from mailarchive import ArchiveEntry

BOB = UserId("bob")

AWKWARD = {
    "nothing": b"",
    "a NUL": b"Subject: a\0b\r\n\r\n\0\0",
    "bare line feeds": b"Subject: x\n\nbody\n",
    "bare carriage returns": b"Subject: x\r\rbody\r",
    "no last line end": b"Subject: x\r\n\r\nbody",
    "From lines": b"From nobody\r\nSubject: x\r\n\r\nFrom here\r\n>From there\r\n.\r\n..\r\n",
    "no UTF-8": b"Subject: \xff\xfe\x80\r\nTo: \xc3\x28@\xff\r\n\r\n\xff",
    "a long line": b"Subject: " + b"x" * 100_000 + b"\r\n\r\n" + b"y" * 300_000,
    "no header": b"\r\n\r\nbody",
    "a tar archive": b"b/" + b"0" * 510 + bytes(2048),
    "all bytes": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("name", AWKWARD)
def test_bytes_come_back_as_they_were_put(vault: Vault, name: str) -> None:
    """Whatever the bytes are, exactly these come back: raw, to an owner, after a rebuild."""
    raw = AWKWARD[name]
    (receipt,) = receipts([vault.put(entry(raw))])
    vault.rebuild()

    (seen,) = vault.view(BOB).messages()

    assert (vault.read(receipt), seen.content(), seen.size) == (raw, raw, len(raw))


def test_a_large_message_comes_back(vault: Vault) -> None:
    """A message of 25 MB that does not compress is one like any other."""
    noise = b"".join(hashlib.sha512(n.to_bytes(4, "big")).digest() for n in range(400_000))
    (receipt,) = receipts([vault.put(entry(noise))])

    assert vault.read(receipt) == noise


@pytest.mark.parametrize(("chosen", "size", "level"), [(3, 100, 3), (3, 200, 1), (5, 200, 5)])
def test_a_large_message_is_packed_faster_unless_a_level_is_chosen(
    open_vault: OpenVault, folder: Path, chosen: int, size: int, level: int
) -> None:
    """What is stored is the frame of that level, to the byte; sizes are in thousands of bytes."""
    raw = mail(body=b"".join(b"line %d\r\n" % (n * n) for n in range(size * 80)))[: size * 1000]
    open_vault(compression_level=chosen).put(entry(raw))

    (pack,) = folder.rglob("*.tar")
    assert _zstd.compress(raw, level) in pack.read_bytes()


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_batch_is_answered_in_order(
    tmp_path_factory: pytest.TempPathFactory, raws: list[bytes]
) -> None:
    """Each entry of a batch has its own receipt, in the order of the batch, and reads back."""
    batch = [entry(raw, key=str(n)) for n, raw in enumerate(raws)]
    with Vault(tmp_path_factory.mktemp("v") / "v", keys=None) as vault:
        answers = receipts(vault.put_many(batch))

        assert [answer.entry_id for answer in answers] == [each.id for each in batch]
        assert [vault.read(answer) for answer in answers] == raws


def test_a_receipt_says_what_is_true(vault: Vault, folder: Path) -> None:
    """A receipt names the stored bytes, where they are, and what they survive."""
    (receipt,) = receipts([vault.put(entry(mail()))])
    volume, pack, member = receipt.location.split("/", 2)

    assert (folder / "volumes" / volume / "packs" / pack).is_file()
    assert member.startswith("b/")
    assert receipt.stored_digest == Digest.of(mail())
    assert (receipt.sink, receipt.outcome, receipt.verified) == (vault.name, Stored.STORED, True)
    assert receipt.durability is Durability.MEDIA
    assert vault.capabilities.durability is Durability.MEDIA


def test_without_reading_back_a_receipt_does_not_claim_it(open_vault: OpenVault) -> None:
    """Only what was read from the medium and compared is said to be verified."""
    (receipt,) = receipts([open_vault(read_back=False).put(entry(mail()))])

    assert not receipt.verified


def test_putting_again_gives_the_first_receipt_and_writes_nothing(
    open_vault: OpenVault, folder: Path
) -> None:
    """An entry id is stored once; the second time only the outcome of its receipt differs."""
    first = receipts(open_vault().put_many(entries(5)))
    size = sum(pack.stat().st_size for pack in folder.rglob("*.tar"))

    again = receipts(open_vault().put_many(entries(5)[::-1]))[::-1]

    assert again == [evolve(receipt, outcome=Stored.PRESENT) for receipt in first]
    assert sum(pack.stat().st_size for pack in folder.rglob("*.tar")) == size
    assert len(list(folder.rglob("*.tar"))) == 1


def test_one_id_twice_in_a_batch_is_one_entry(vault: Vault) -> None:
    """A batch that names an entry twice stores it once, and answers both."""
    one = entry(mail())

    assert len(set(vault.put_many([one, one]))) == 1
    assert vault.view(BOB).count() == 1


def test_other_bytes_of_one_item_are_both_kept(vault: Vault) -> None:
    """An item whose bytes changed is another entry, and both can be read."""
    vault.put_many([entry(mail(1)), entry(mail(2))])

    assert vault.view(BOB).count() == 2


def test_a_rendered_item_keeps_its_first_bytes(vault: Vault) -> None:
    """Where the source makes bytes on request, the item is there already, with its first bytes."""
    (first,) = receipts([vault.put(entry(mail(1), fidelity=Fidelity.RENDERED))])

    (again,) = receipts([vault.put(entry(mail(2), fidelity=Fidelity.RENDERED))])

    assert again == evolve(first, outcome=Stored.PRESENT)
    assert vault.read(again) == mail(1)


def test_equal_bytes_are_stored_once_and_all_owners_recorded(vault: Vault, folder: Path) -> None:
    """A second copy elsewhere adds owners and where it was found, and no second body."""
    raw = mail(body=hashlib.sha512(b"x").digest() * 500)
    body = {"carol": ("carol@example.com",)}
    vault.put(entry(raw, key="1"))
    before = _size(folder)

    (receipt,) = receipts([vault.put(entry(raw, key="2", source="mailbox", owners=body))])

    assert receipt.outcome is Stored.STORED
    assert _size(folder) - before < 3000
    assert [vault.view(UserId(u)).count() for u in ("alice", "bob", "carol")] == [1, 1, 1]
    copies = [each.copy.source for each in vault.auditor("me", "to see").entries()]
    assert copies == ["journal", "mailbox"]


def _size(folder: Path) -> int:
    return sum(pack.stat().st_size for pack in folder.rglob("*.tar"))


def test_a_full_crawl_again_makes_no_second_visible_copy(vault: Vault) -> None:
    """The same bytes of the same owner under another id are recorded, and shown once."""
    vault.put_many(entries(3))
    vault.put_many(entries(3, source="the same mailbox, UIDVALIDITY changed"))

    shown = list(vault.view(BOB).messages())

    assert [(each.copies, each.subject) for each in shown] == [
        (1, f"Message {n}") for n in (2, 1, 0)
    ]
    assert vault.auditor("me", "to see").count() == 6


def test_both_kinds_of_original_come_back_to_the_byte(vault: Vault) -> None:
    """A part of the report and an original that was transfer-encoded are given back alike."""
    original = mail(body=b"\xff\0 exactly")
    recipients = [to("bob@example.com")]
    part = journaled(original, recipients, key="1")
    beside = journaled(original, recipients, key="2", encoded=True)
    both = receipts(vault.put_many([part, beside]))
    vault.rebuild()
    auditor = vault.auditor("me", "to compare")

    found = {each.id: (each.raw(), each.originals()) for each in auditor.entries()}

    assert found == {
        part.id: (part.raw, (original,)),
        beside.id: (beside.raw, (original,)),
    }
    assert [vault.read(receipt) for receipt in both] == [part.raw, beside.raw]
    assert vault.verify("content").ok


REFUSED = {
    "another digest": evolve(entry(mail(1)), raw_digest=Digest.of(b"other")),
    "another digest beside the right one": evolve(
        entry(mail(1), digested=Digested(mail(1))), raw_digest=Digest.of(b"other")
    ),
    "the digest of other bytes": entry(
        mail(1), digested=Digested(b"other"), raw_digest=Digest.of(b"other")
    ),
    "a span behind the end": entry(mail(2), originals=(Span(3, 1 << 40),)),
    "a span the wrong way round": entry(mail(3), originals=(Span(9, 5),)),
    "a negative span": entry(mail(4), originals=(Span(-3, 5),)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_not_be_read_back_is_rejected(vault: Vault, name: str) -> None:
    """An entry that contradicts itself is refused with a reason, and the others are stored."""
    good = entry(mail(9), key="9")

    refused, stored = vault.put_many([REFUSED[name], good])

    assert isinstance(refused, Rejected)
    assert isinstance(stored, Receipt)
    assert vault.auditor("me", "to see").count() == 1


def test_a_wrong_digest_cannot_stand_for_other_bytes(vault: Vault) -> None:
    """Claiming the digest of what is stored does not get other bytes taken for stored."""
    vault.put(entry(mail(1)))
    liar = evolve(entry(mail(2), key="2"), raw_digest=Digest.of(mail(1)))

    assert isinstance(vault.put(liar), Rejected)


def digested(n: int, **more: Any) -> ArchiveEntry:
    """Return an entry with its digest, as a run makes it."""
    raw = Digested(mail(n))
    return entry(raw.raw, key=str(n), digested=raw, **more)


def _contents(folder: Path) -> dict[Path, bytes]:
    """Every file but the one in which SQLite's readers and writers meet."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.suffix != ".db-shm"}


def test_what_is_foreseen_is_stored_only_when_it_is_put(vault: Vault, folder: Path) -> None:
    """Being told changes nothing in the folder, and what was told is put as anything else."""
    before = _contents(folder)
    batches = [[digested(n) for n in range(start, start + 4)] for start in range(0, 20, 4)]
    for batch in batches:
        vault.foresee(batch)

    assert before == _contents(folder)
    found = receipts([answer for batch in batches for answer in vault.put_many(batch)])
    assert [vault.read(receipt) for receipt in found] == [mail(n) for n in range(20)]
    assert vault.verify("content").ok


def test_nothing_foreseen_can_stand_for_other_bytes(vault: Vault) -> None:
    """Whoever foresees bytes under another's digest changes nothing for the other."""
    liar = evolve(digested(2), raw_digest=Digest.of(mail(1)))
    vault.foresee([liar])

    (receipt,) = receipts([vault.put(digested(1))])

    assert vault.read(receipt) == mail(1)
    assert isinstance(vault.put(liar), Rejected)


def test_a_receipt_of_somewhere_else_reads_nothing(vault: Vault) -> None:
    """A receipt whose place, digest or entry is not the vault's is refused, whatever it names."""
    (receipt,) = receipts([vault.put(entry(mail()))])
    wrong = [
        evolve(receipt, location="../../etc/passwd"),
        evolve(receipt, location=receipt.location.replace("0001", "0002")),
        evolve(receipt, stored_digest=Digest.of(b"x")),
        evolve(receipt, entry_id=Digest.of(b"x")),
    ]

    for each in wrong:
        with pytest.raises(SinkCorrupt):
            vault.read(each)


def test_a_closed_vault_says_so(open_vault: OpenVault, folder: Path) -> None:
    """A vault that is not open raises one of our errors from everything."""
    with Vault(folder, keys=None) as vault:
        (receipt,) = receipts([vault.put(entry(mail()))])
        view, auditor = vault.view(BOB), vault.auditor("me", "to see")
        (seen,) = view.messages()
    uses: list[Callable[[], object]] = [
        lambda: vault.put(entry(mail())),
        lambda: vault.read(receipt),
        lambda: vault.view(BOB),
        lambda: vault.auditor("me", "why"),
        vault.verify,
        vault.rebuild,
        view.count,
        lambda: list(view.messages()),
        lambda: view.get(seen.key),
        seen.content,
        lambda: list(auditor.entries()),
        auditor.users,
    ]

    for use in uses:
        with pytest.raises(SinkError):
            use()


def test_a_vault_opened_for_reading_is_not_written(open_vault: OpenVault) -> None:
    """With `read_only` no put, no reading of an auditor and no rebuild is possible."""
    open_vault().put_many(entries(2))
    vault = open_vault(read_only=True)

    for use in (
        lambda: vault.put(entry(mail(7), key="7")),
        lambda: vault.auditor("me", "why"),
        vault.rebuild,
    ):
        with pytest.raises(SinkNotWritable):
            use()
    assert vault.view(BOB).count() == 2


def test_a_pack_is_closed_when_it_is_full(open_vault: OpenVault, folder: Path) -> None:
    """Batches go into new packs once one is as large as was asked for, and all are read."""
    vault = open_vault(pack_size=20_000)
    answers = []
    for n in range(0, 40, 4):
        answers += receipts(vault.put_many(entries(4, start=n)))
    packs = list(folder.rglob("*.tar"))

    assert len(packs) > 2
    assert all(pack.stat().st_size < 40_000 for pack in packs)
    assert len({receipt.location.split("/")[1] for receipt in answers}) == len(packs)
    assert [vault.read(receipt) for receipt in answers] == [mail(n) for n in range(40)]
    assert vault.verify("content").ok


def test_a_later_writer_goes_on_with_the_pack(open_vault: OpenVault, folder: Path) -> None:
    """Many short runs do not leave as many packs behind."""
    for n in range(5):
        with Vault(folder, keys=None) as vault:
            vault.put(entry(mail(n), key=str(n)))

    assert len(list(folder.rglob("*.tar"))) == 1
    assert open_vault().verify("content").batches == 5


def test_two_writers_have_a_pack_each(open_vault: OpenVault, folder: Path) -> None:
    """Writers at one time never touch each other's pack, and what one put the other finds."""
    one, two = open_vault(), open_vault()
    mine = receipts(one.put_many(entries(3)))
    receipts(two.put_many(entries(6)))
    receipts(one.put_many(entries(9)))

    again = receipts(two.put_many(entries(3)))

    assert len(list(folder.rglob("*.tar"))) == 2
    assert again == [evolve(receipt, outcome=Stored.PRESENT) for receipt in mine]
    assert one.view(BOB).count() == two.view(BOB).count() == 9
    assert one.verify("content").ok


def test_threads_may_share_a_vault(vault: Vault) -> None:
    """Puts of several threads are all stored, once each, while others read."""
    failed: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for n in range(start, start + 8, 2):
                vault.put_many(entries(2, start=n))
                list(vault.view(BOB).messages(limit=3))
        except BaseException as error:  # noqa: BLE001 - a thread's failure must fail the test
            failed.append(error)

    threads = [Thread(target=work, args=(start,)) for start in (0, 4, 4, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert vault.view(BOB).count() == 16
    assert vault.verify("content").ok


WRITER = """
import sys
from support.vaults import entries, receipts
from mailarchive.vault import Vault
with Vault(sys.argv[1], keys=None) as vault:
    for n in range(0, 60, 3):
        for receipt in receipts(vault.put_many(entries(3, start=n))):
            print(receipt.outcome.value, receipt.location, flush=True)
"""


def test_processes_may_write_at_one_time(open_vault: OpenVault, folder: Path) -> None:
    """Several processes that put the same mail store each message once between them."""
    processes = [_python(WRITER, folder) for _ in range(3)]
    said = [process.communicate()[0].splitlines() for process in processes]
    vault = open_vault()

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(line.startswith("stored") for lines in said for line in lines) == 60
    assert len({line.split()[1] for lines in said for line in lines}) == 60
    assert vault.view(BOB).count() == 60
    assert vault.auditor("me", "to count").count() == 60
    assert vault.verify("content").ok


def _python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )


def test_a_rebuild_changes_nothing_that_is_seen(open_vault: OpenVault, folder: Path) -> None:
    """The index deleted and made again from the packs gives identical views, to all."""
    with Vault(folder, keys=None, pack_size=5000) as vault:
        vault.put_many(entries(5))
        with Vault(folder) as other:
            other.put_many(entries(3, start=4))
            vault.put_many(entries(4, source="elsewhere", owners={"carol": ()}))
            other.put(journaled(mail(9), [to("bob@example.com")], key="9"))
        before = everything(vault)
    for file in folder.rglob("index.db*"):
        file.unlink()

    vault = open_vault()

    assert everything(vault) == before
    assert vault.verify("content").ok
