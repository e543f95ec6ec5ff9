"""The public face: what it names, what it loads, and what it never shows."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailarchive
from mailarchive import (
    Address,
    AddressKind,
    Archived,
    ArchiveEntry,
    Checkpoint,
    Copy,
    Digest,
    Envelope,
    Fidelity,
    Folder,
    MessageRef,
    Owner,
    Ownership,
    Receipt,
    Recipient,
    Redirection,
    Retry,
    SourceMessage,
    Span,
    User,
    UserId,
    entry_id,
    errors,
)
from mailarchive.archiver import RunReport
from mailarchive.sources.imap import FolderChoice

HEAVY = ["imapclient", "exchangelib", "lxml", "requests", "ssl", "asyncio", "pytest"]


def test_importing_the_face_loads_no_protocol_client() -> None:
    """`import mailarchive` is quick, because it loads values and interfaces alone."""
    program = f"import sys, mailarchive; print([each for each in {HEAVY} if each in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )

    assert done.stdout.strip() == "[]"


def test_every_name_of_the_face_is_there() -> None:
    """`__all__` names what can be imported, and `dir` shows it, loaded or not."""
    assert sorted(mailarchive.__all__) == dir(mailarchive)
    for name in mailarchive.__all__:
        assert getattr(mailarchive, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any other module."""
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = mailarchive.nothing_of_that_name


SECRET = "salary-of-ann@corp.example"
WHEN = datetime(2026, 11, 1, tzinfo=UTC)
REF = MessageRef("source", SECRET, "1.1", 3)
ADDRESS = Address(SECRET)
ENVELOPE = Envelope(
    ADDRESS,
    ADDRESS,
    (Recipient(ADDRESS, history=(Redirection("expanded", ADDRESS),)),),
    SECRET,
    f"<{SECRET}>",
)
OWNERSHIP = Ownership((Owner(UserId("u1"), frozenset({ADDRESS})),), frozenset({ADDRESS}))
RECEIPT = Receipt("sink", Digest.of(b"id"), Digest.of(b"raw"), "pack/1")
FOLDER = Folder(SECRET, (SECRET,))
VALUES = [
    ADDRESS,
    REF,
    FOLDER,
    ENVELOPE,
    OWNERSHIP,
    RECEIPT,
    Archived(REF, RECEIPT),
    SourceMessage(REF, SECRET.encode(), WHEN),
    User(UserId("u1"), SECRET, (ADDRESS,)),
    RunReport("source", left_out=(FOLDER,), unmatched=(f"{SECRET}/*",)),
    FolderChoice([f"{SECRET}/*"], [f"{SECRET}/Junk"]),
    FolderChoice([f"{SECRET}/*"]).among([FOLDER], "source"),
    Checkpoint("source", SECRET, "1.1", (Archived(REF, RECEIPT),), (Retry(REF, "no", 1, WHEN),)),
    ArchiveEntry(
        id=Digest.of(b"id"),
        raw=SECRET.encode(),
        raw_digest=Digest.of(b"raw"),
        originals=(SECRET.encode(), Span(0, 3)),
        envelope=ENVELOPE,
        ownership=OWNERSHIP,
        copy=Copy.of(REF),
        folder=FOLDER,
        fork_key=Digest.of(b"fork"),
    ),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_no_repr_shows_an_address_a_subject_or_a_body(value: object) -> None:
    """(8) Reprs end up in logs."""
    assert SECRET not in repr(value)
    assert "corp.example" not in repr(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_value_is_hashable_and_survives_pickling(value: object) -> None:
    """Values may be members of sets and travel to other processes."""
    assert {value} == {pickle.loads(pickle.dumps(value))}


EVERY_ERROR = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, errors.MailArchiveError)
]


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_every_error_survives_pickling(kind: type[errors.MailArchiveError]) -> None:
    """What went wrong on a worker is told where it was started, suggestions and all."""
    wait = {"retry_after": 1.5} if issubclass(kind, errors.Transient) else {}
    error = kind("what and where", suggestions=["do this"], **wait)
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), again.suggestions) == (kind, "what and where", ("do this",))
    assert getattr(again, "retry_after", None) == wait.get("retry_after")


def test_every_error_is_named_in_the_tree() -> None:
    """The docstring draws the whole tree, and nothing that is not there."""
    assert sorted(errors.__all__) == sorted(each.__name__ for each in EVERY_ERROR)
    for each in EVERY_ERROR:
        assert each.__name__ in (errors.__doc__ or "")


def test_codes_are_unique() -> None:
    """A program can tell errors apart by their code."""
    codes = [each.code for each in EVERY_ERROR if each is not errors.Transient]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob@Example.COM", "bob@example.com"),
        ("bob@example.com.", "bob@example.com"),
        (' "bob"@example.com ', "bob@example.com"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("jo\u0308rg@example.com", "j\u00f6rg@example.com"),
    ],
)
def test_spellings_of_one_address_are_equal(one: str, other: str) -> None:
    """Equality and hash are those of the normal form; the spelling is kept."""
    assert Address(one) == Address(other)
    assert hash(Address(one)) == hash(Address(other))
    assert str(Address(one)) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("strasse@example.com", "straße@example.com"),
        ('"b ob"@example.com', "b ob@example.com"),
        ("bob@example.com", "bob@example.org"),
    ],
)
def test_different_addresses_stay_different(one: str, other: str) -> None:
    """No two people are folded into one."""
    assert Address(one) != Address(other)


@given(st.text())
def test_any_text_is_an_address_of_some_kind(text: str) -> None:
    """Whatever stands in a mail makes an address and no error; parsing it twice is once."""
    address = Address.parse(text)

    assert Address(address.normal, address.kind).normal == address.normal
    assert address.kind in AddressKind


@given(st.binary())
def test_a_digest_survives_its_text(data: bytes) -> None:
    """`parse` takes what `str` wrote."""
    digest = Digest.of(data)

    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text", ["", "sha256:", "md5:" + "0" * 64, "sha256:" + "0" * 63, "0" * 64]
)
def test_no_other_text_is_a_digest(text: str) -> None:
    """A damaged digest is an error, never another digest."""
    with pytest.raises(ValueError, match=r"."):
        Digest.parse(text)


names = st.text(st.characters(codec=None), max_size=8)


@given(st.lists(st.tuples(names, names, names, st.none() | names), min_size=2, max_size=2))
def test_two_copies_never_share_a_name(parts: list[tuple[str, str, str, str | None]]) -> None:
    """Names are joined with their lengths, so that no two joinings are equal."""
    one, other = (Copy(*each) for each in parts)
    same = [(*p[:3], p[3] or "") for p in parts]

    assert (one.digest == other.digest) is (same[0] == same[1])


def test_identity_depends_on_bytes_only_where_they_are_wire() -> None:
    """Other bytes of one item are another entry, unless the source renders them anew."""
    copy, one, other = Copy.of(REF), Digest.of(b"1"), Digest.of(b"2")

    assert entry_id(copy, one, Fidelity.WIRE) != entry_id(copy, other, Fidelity.WIRE)
    assert entry_id(copy, one, Fidelity.RENDERED) == entry_id(copy, other, Fidelity.RENDERED)
    assert entry_id(copy, one, Fidelity.WIRE) != entry_id(copy, one, Fidelity.RENDERED)
