"""Sinks made of sinks keep the laws that their parts keep, and promise no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from typing_extensions import override

from mailarchive import Durability, Fidelity, Receipt, Rejected, Stored, Vault
from mailarchive.errors import (
    ConfigurationError,
    ReceiptMismatch,
    SinkCorrupt,
    Unsupported,
)
from mailarchive.retry import RetryingSink
from mailarchive.sinks import ReadBack, Router, Tee, sink
from mailarchive.sinks.files import EmlTree, MaildirTree, MboxFile
from mailarchive.testing.broken_sinks import OneFileEach, StopsAtNul
from mailarchive.testing.entries import entry, mail
from mailarchive.testing.memory import MemorySink
from mailarchive.testing.sink_contract import SinkContract

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive import ArchiveEntry, Sink
    from mailarchive.testing.sink_laws import SinkMaker


def by_first_digit(entry: ArchiveEntry) -> str:
    """Choose a part by the digest of the copy, as nothing in a mail can."""
    return "low" if entry.copy.digest.hex < "8" else "high"


class TestTee(SinkContract):
    """Two archives of different kinds."""

    largest = 4 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A Maildir and an mbox."""
        return lambda: Tee(one=MaildirTree(tmp_path / "a"), two=MboxFile(tmp_path / "b"))


class TestRouter(SinkContract):
    """Two archives that share the mail."""

    largest = 4 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """Two trees of files."""
        return lambda: Router(
            by_first_digit, low=EmlTree(tmp_path / "a"), high=EmlTree(tmp_path / "b")
        )


class TestReadBack(SinkContract):
    """An archive that is read after each put."""

    largest = 4 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A tree of files."""
        return lambda: ReadBack(EmlTree(tmp_path))


class TestRetrying(SinkContract):
    """An archive that is tried again; its name is known once it is open."""

    largest = 4 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """A vault."""
        return lambda: RetryingSink(Vault(tmp_path / "acme.vault", keys=None))


class TestFunction(SinkContract):
    """A sink made of two functions."""

    largest = 4 << 20

    @pytest.fixture
    def open_sink(self, tmp_path: Path) -> SinkMaker:
        """Functions that know where to store."""
        files = OneFileEach(tmp_path)
        files._open()
        return lambda: functions(files)


def functions(files: OneFileEach) -> Sink:
    """Return a sink made of functions that keep files as `OneFileEach` does."""

    @sink("functions", durability=Durability.MEDIA)
    def put(entry: ArchiveEntry) -> Receipt:
        return evolve(files._put(entry), sink="functions")

    return put.reader(files._read)


def receipt(answer: Receipt | Rejected) -> Receipt:
    """Return the answer, a receipt."""
    assert isinstance(answer, Receipt)
    return answer


def test_the_worst_receipt_of_a_tee_counts() -> None:
    """The least durable, the least verified; and it cannot be read where one part cannot."""
    parts = [
        MemorySink("one", durability=Durability.REPLICATED),
        MemorySink("two", durability=Durability.PROCESS, reads=False),
    ]
    with Tee(one=parts[0], two=parts[1]) as tee:
        got = receipt(tee.put(entry(mail(1))))

    assert got.durability is Durability.PROCESS
    assert not got.verified
    assert tee.capabilities == evolve(parts[1].capabilities)
    with pytest.raises(Unsupported):
        tee.read(got)


def test_a_tee_fills_the_part_that_lacks_something() -> None:
    """An entry that one part has and another has not is stored, and then present."""
    one, two = MemorySink("one"), MemorySink("two")
    one.put(entry(mail(1)))
    with Tee(one=one, two=two) as tee:
        assert receipt(tee.put(entry(mail(1)))).outcome is Stored.STORED
        assert receipt(tee.put(entry(mail(1)))).outcome is Stored.PRESENT
    assert two.entries.keys() == one.entries.keys()


def test_a_part_that_is_filled_later_gets_the_first_rendering() -> None:
    """So that all parts hold the same bytes of a rendered item."""
    one, two = MemorySink("one"), MemorySink("two")
    first, again = (entry(mail(n), fidelity=Fidelity.RENDERED) for n in (1, 2))
    one.put(first)
    with Tee(one=one, two=two) as tee:
        got = receipt(tee.put(again))

        assert (got.stored_digest, got.outcome) == (first.raw_digest, Stored.PRESENT)
        assert tee.read(got) == first.raw
    assert [each.raw for each in two.entries.values()] == [first.raw]


@pytest.mark.parametrize("holds", ["one", "two", "both"])
def test_an_earlier_rendering_in_any_part_gives_a_receipt_that_can_be_read(holds: str) -> None:
    """Each part gives what it has; what counts is what the first one has."""
    parts = {name: MemorySink(name) for name in ("one", "two", "three")}
    renderings = [entry(mail(n), fidelity=Fidelity.RENDERED) for n in range(3)]
    for number, name in enumerate(("one", "two")):
        if holds in {name, "both"}:
            parts[name].put(renderings[number])
    new = renderings[2]
    counts = renderings[0] if holds != "two" else new
    with Tee(**parts) as tee:
        got, again = receipt(tee.put(new)), receipt(tee.put(new))
        assert got.stored_digest == again.stored_digest == counts.raw_digest
        assert tee.read(got) == tee.read(again) == counts.raw
        assert [each.raw for each in parts["three"].entries.values()] == [counts.raw]
        parts["two"].damage(next(iter(parts["two"].receipts.values())), counts.raw + b"x")
        with pytest.raises(SinkCorrupt, match="two gives other bytes"):
            tee.read(got)


def test_a_removal_may_rest_on_a_tee_with_an_earlier_rendering(tmp_path: Path) -> None:
    """Also where the parts are files, which compare for themselves, and one in another."""
    first, again = (entry(mail(n), fidelity=Fidelity.RENDERED) for n in (1, 2))
    with EmlTree(tmp_path / "old") as old:
        old.put(first)
    inner = Tee(new=MaildirTree(tmp_path / "new"), old=EmlTree(tmp_path / "old"))
    with Tee(inner=inner, newer=MboxFile(tmp_path / "newer")) as tee:
        for outcome in (Stored.STORED, Stored.PRESENT):
            got = receipt(tee.put(again))
            assert (got.outcome, tee.read(got)) == (outcome, again.raw)


def test_one_damaged_part_makes_the_reading_of_a_tee_fail() -> None:
    """A removal would rest on both."""
    one, two = MemorySink("one"), MemorySink("two")
    with Tee(one=one, two=two) as tee:
        got = receipt(tee.put(entry(mail(1))))
        two.damage(next(iter(two.receipts.values())), b"other")
        with pytest.raises(SinkCorrupt, match="two gives other bytes"):
            tee.read(got)


class Picky(MemorySink):
    """Rejects everything."""

    @override
    def _put_many(self, entries: Any) -> Any:
        return [Rejected(each.id, "too odd") for each in entries]


def test_what_one_part_rejects_is_rejected() -> None:
    """Though another has it."""
    with Tee(one=MemorySink("one"), two=Picky("two")) as tee:
        assert tee.put(entry(mail(1))) == Rejected(entry(mail(1)).id, "too odd")


def test_a_router_rejects_what_it_has_no_part_for() -> None:
    """And the rest of the batch goes on."""
    with Router(lambda each: each.copy.key, a=MemorySink("a")) as router:
        answers = router.put_many([entry(mail(1), key="a"), entry(mail(2), key="b")])

    assert isinstance(answers[0], Receipt)
    assert answers[1] == Rejected(entry(mail(2), key="b").id, "no part of the router is for it")


def test_a_router_puts_each_entry_into_its_part_alone() -> None:
    """And reads it from there."""
    parts = {"a": MemorySink("a"), "b": MemorySink("b")}
    entries = [entry(mail(n), key="ab"[n % 2]) for n in range(5)]
    with Router(lambda each: each.copy.key, **parts) as router:
        got = [receipt(each) for each in router.put_many(entries)]
        assert [router.read(each) for each in got] == [each.raw for each in entries]

    assert [len(part.entries) for part in parts.values()] == [3, 2]


NO_PLACES = ["", "[]", "{}", '["nobody", "x", "y"]', "\\0", "[" * 5000]
NO_PLACES += [f'{{"a": {each}}}' for each in ("7", '["x"]', '["x", "y", "zz"]', '["x", "y", 7]')]


@pytest.mark.parametrize("location", NO_PLACES)
def test_a_receipt_of_other_parts_is_said_to_be_one(location: str) -> None:
    """Whatever stands where the place of an entry should."""
    for made in (Tee(a=MemorySink()), Router(lambda _: "a", a=MemorySink())):
        with made as combined:
            got = receipt(combined.put(entry(mail(1))))
            with pytest.raises(SinkCorrupt, match="gave this receipt"):
                combined.read(evolve(got, location=location))


def test_reading_back_verifies_and_notices(tmp_path: Path) -> None:
    """What is not given back as it was put gets no receipt."""
    with ReadBack(EmlTree(tmp_path / "good")) as good:
        assert receipt(good.put(entry(mail(1)))).verified
    with ReadBack(Loses("loses")) as bad, pytest.raises(ReceiptMismatch, match="other bytes back"):
        bad.put(entry(mail(1)))
    with ReadBack(StopsAtNul(tmp_path)) as noticed, pytest.raises(SinkCorrupt):
        noticed.put(entry(b"a\0b"))


class Loses(MemorySink):
    """Gives less back than it was given."""

    @override
    def _read(self, receipt: Receipt) -> bytes:
        return super()._read(receipt)[:-1]


def test_what_cannot_be_is_refused_at_once() -> None:
    """Before anything is opened."""
    with pytest.raises(Unsupported, match="cannot be read back"):
        ReadBack(MemorySink(reads=False))
    with pytest.raises(ConfigurationError, match="no part"):
        Tee()
    with pytest.raises(ConfigurationError, match="no part"):
        Router(lambda _: "a")
    same = MemorySink()
    for twice in (
        lambda: Tee(a=same, b=same),
        lambda: Router(lambda _: "a", a=same, b=same),
        lambda: Tee(a=same, b=ReadBack(same)),
        lambda: Tee(a=Tee(a=same), b=Tee(b=same)),
    ):
        with pytest.raises(ConfigurationError, match="same part twice"):
            twice()


def test_the_parts_are_closed_again_where_one_does_not_open(tmp_path: Path) -> None:
    """And the error is the one of the part."""
    (tmp_path / "file").write_bytes(b"no folder")
    closed: list[str] = []

    class Noted(MemorySink):
        """Notes that it was closed."""

        @override
        def _close(self) -> None:
            closed.append(self.name)

    with (
        pytest.raises(Exception, match="eml"),
        Tee(one=Noted("one"), two=EmlTree(tmp_path / "file")),
    ):
        pass
    assert closed == ["one"]


def test_a_function_without_a_reader_cannot_be_read_back() -> None:
    """And can reject."""

    @sink("picky")
    def picky(entry: ArchiveEntry) -> Receipt | Rejected:
        """Takes short messages."""
        if len(entry.raw) > 200:
            return Rejected(entry.id, "too long")
        return Receipt.for_entry(entry, sink="picky", location="somewhere")

    with picky:
        assert receipt(picky.put(entry(mail(1)))).location == "somewhere"
        assert isinstance(picky.put(entry(mail(1, octets=500))), Rejected)
        with pytest.raises(Unsupported):
            picky.read(receipt(picky.put(entry(mail(1)))))


@pytest.mark.parametrize(
    ("says", "match"),
    [
        ({"sink": "other"}, "of another sink"),
        ({"durability": Durability.REPLICATED}, "promises REPLICATED, and the sink MEDIA"),
        ({"durability": Durability.BUFFERED}, "promises BUFFERED, and the sink MEDIA"),
    ],
)
def test_a_function_promises_for_its_own_sink_and_what_that_promises(
    says: dict[str, Any], match: str
) -> None:
    """A removal would rest on a promise that nobody has made."""

    @sink("ours", durability=Durability.MEDIA)
    def ours(entry: ArchiveEntry) -> Receipt:
        given = Receipt.for_entry(entry, sink="ours", location="x", durability=Durability.MEDIA)
        return evolve(given, **says)

    with ours, pytest.raises(ReceiptMismatch, match=match):
        ours.put(entry(mail(1)))


def test_a_function_without_a_name_is_no_sink() -> None:
    """The decorator alone would take the function for the name."""
    with pytest.raises(ConfigurationError, match="has no name"):
        sink(lambda entry: entry)  # type: ignore[arg-type]  # as it is written by mistake
