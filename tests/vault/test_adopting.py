"""Whatever a stranger appends, the vault opens, takes mail, shows it, and says what is wrong."""

from __future__ import annotations

import sqlite3
import tempfile
import tracemalloc
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import forged
from support.vaults import Clock, entries, entry, mail, receipts
from typing_extensions import override

from mailarchive import (
    Address,
    Delivery,
    Envelope,
    Owner,
    Ownership,
    Recipient,
    Redirection,
    Rejected,
    Role,
    Span,
    UserId,
)
from mailarchive.errors import SinkCorrupt, SinkError
from mailarchive.vault import FileKeys, FileSigner, Vault, _apply, _record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from support.vaults import OpenVault

ALICE, BOB = UserId("alice"), UserId("bob")
LEVELS = ("quick", "stored", "content", "log")
A, B = (frozenset({Address(spec)}) for spec in ("bob@example.com", "carol@example.com"))


def _granted(entry_id: str, **changes: Any) -> dict[str, Any]:
    owners = [{"user": "mallory", "addresses": ["mallory@example.com"]}]
    fact = {"kind": "granted", "entry": entry_id, "owners": owners, "fork": "00" * 32}
    return {**fact, "at": forged.AT, **changes}


def _first(folder: Path) -> str:
    """The id of the first entry of a vault, as its manifest has it."""
    lines = (line for batch in forged.manifests(folder) for line in batch)
    return next(str(line["id"]) for line in lines if line["kind"] == "entry")


# -- an owner who is named twice ---------------------------------------------------------------

TWICE = {
    "one id": ("bob", "bob"),
    "one character in two halves": ("\ud83d\ude00", "\U0001f600"),
}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("name", TWICE)
def test_who_is_named_twice_owns_it_once(folder: Path, name: str, encrypted: bool) -> None:
    """A user is an owner once, by all addresses, and the vault takes what comes after."""
    first, second = map(UserId, TWICE[name])
    keys = FileKeys.create(folder.parent / "key") if encrypted else None
    ownership = Ownership((Owner(first, A), Owner(second, B)))
    with Vault(folder, keys=keys) as vault:
        receipts([vault.put(entry(mail(), ownership=ownership))])
        receipts([vault.put(entry(mail(1), key="2"))])
        vault.rebuild()
    forged.forget_index(folder)

    with Vault(folder, keys=keys) as vault:
        assert vault.view(second).count() == (2 if second == BOB else 1)
        found = vault.auditor("Ada", "to look").entries()
        assert [each.addresses for each in next(found).ownership.owners] == [A | B]
        assert vault.verify("content").ok


def test_who_is_found_under_two_spellings_is_given_mail_once(vault: Vault) -> None:
    """A user map that spells a user in two ways makes one owner, and no grant a second time."""

    class Map:
        """Knows everybody as one user."""

        def resolve(self, addresses: Collection[Address], /) -> dict[Address, frozenset[UserId]]:
            """Return the user under both spellings."""
            return {
                each: frozenset(map(UserId, TWICE["one character in two halves"]))
                for each in addresses
            }

    vault.put(entry(mail(), unresolved=("late@example.com", "later@example.com")))

    assert [vault.reattribute(Map()), vault.reattribute(Map())] == [1, 0]
    assert vault.view(UserId("\U0001f600")).count() == 1
    assert vault.verify("content").ok


# -- what a stranger appends ---------------------------------------------------------------

APPENDED: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "a grant twice": lambda id_: [_granted(id_), _granted(id_)],
    "a grant to one user twice": lambda id_: [
        _granted(id_, owners=[{"user": "m", "addresses": [each]} for each in ("a@b", "c@d")])
    ],
    "a grant of a short id": lambda id_: [_granted(id_[:-1])],
    "a grant of a long id": lambda id_: [_granted(id_ + "zz")],
    "a grant to nobody": lambda id_: [_granted(id_, owners=5)],
    "a grant at no time": lambda id_: [_granted(id_, at="today")],
    "a reading without a reader": lambda _: [{"kind": "reading"}],
    "commitments that are none": lambda _: [{"kind": "held", "encrypted": "", "commitments": 5}],
}
NAMED = {"fact", "manifest", "forged", "hidden"}


@pytest.mark.parametrize("name", APPENDED)
def test_a_line_that_is_nonsense_harms_itself_alone(
    folder: Path, clock: Clock, tmp_path: Path, name: str
) -> None:
    """Mail goes in and comes out as before, a seal is made, and `verify` names what it can."""
    with Vault(folder, keys=None, clock=clock) as vault:
        vault.put_many(entries(2))
    forged.append(folder, *APPENDED[name](_first(folder)))

    _works(folder, None, clock)

    with Vault(folder, clock=clock) as vault:
        assert vault.seal(FileSigner(tmp_path / "signer")).added
        kinds = {each.kind for each in vault.verify("content").findings}
    assert kinds <= NAMED
    assert bool(kinds) == (name not in {"a grant twice", "a grant to one user twice"})


def _works(folder: Path, keys: FileKeys | None, clock: Clock) -> None:
    """Open a vault of two messages, put, rebuild, look and verify: nothing of it may raise."""
    with Vault(folder, keys=keys, clock=clock) as vault:
        put = _put(vault, 50, refuses=keys is not None)
        vault.rebuild()
        put += _put(vault, 51, refuses=keys is not None)
        assert vault.view(BOB).count() >= 2 + put
    forged.forget_index(folder)
    with Vault(folder, keys=keys, clock=clock, read_only=True) as vault:
        assert len(list(vault.view(BOB).messages())) >= 2 + put
        for level in LEVELS:
            vault.verify(level)
    with Vault(folder, keys=keys, clock=clock) as vault:
        assert vault.view(BOB).count() >= 2 + put


def _put(vault: Vault, n: int, *, refuses: bool) -> int:
    """Put one message; return how many were stored.

    What is encrypted and cannot be opened may be mail of which the keys are lost: nothing is
    put then, and it is said.
    """
    try:
        return len(receipts([vault.put(entry(mail(n), key=str(n)))]))
    except SinkError:
        assert refuses
        return 0


# -- any line at all ---------------------------------------------------------------

_leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["00" * 32, "ab" * 31, forged.AT, "entry", "a@b", "0001-01-01T00:00:00+23:59"]
    ),
)
_value = st.recursive(
    _leaf,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["user", "addresses", "raw", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def _templates() -> list[dict[str, Any]]:
    who = {"actor": "x", "reason": "y", "at": forged.AT}
    place = [{"pack": "20260101T000000Z-1-0123456789ab", "offset": 0}]
    return [
        _record.dump(_record.record_of(entry(mail(7), key="7"), {})),
        _granted("ENTRY"),
        {"kind": "reading", **who},
        {"kind": "held", "matter": "m", "selection": {}, **who},
        {"kind": "released", "matter": "m", **who},
        {"kind": "retained", "selection": {}, "days": 5, **who},
        {"kind": "erased", "entry": "11" * 32, **who},
        {"kind": "reclaimed", "objects": place},
        {"kind": "poisoned", "pack": "20260101T000000Z-1-0123456789ab", "length": 0},
        {"kind": "another"},
    ]


@st.composite
def _line(draw: st.DrawFn) -> dict[str, Any]:
    line = draw(st.sampled_from(_templates()))
    names = st.sampled_from([*line, "encrypted", "commitments", "key", "parts"])
    changes = draw(st.dictionaries(names, _value, max_size=2))
    left_out = draw(st.sets(st.sampled_from([*line]), max_size=1))
    return {name: value for name, value in {**line, **changes}.items() if name not in left_out}


_lines = st.lists(st.one_of(_line(), _value), min_size=1, max_size=4)


@pytest.mark.parametrize("encrypted", [False, True])
@given(lines=_lines, again=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_appended_the_vault_goes_on(
    encrypted: bool, lines: list[Any], again: bool
) -> None:
    """For any lines of JSON nothing raises: what is wrong is a finding, and mail goes on."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "vault"
        keys = FileKeys.create(Path(made) / "key") if encrypted else None
        with Vault(folder, keys=keys, clock=clock) as vault:
            vault.put_many(entries(2))
        id_ = _first(folder)
        texts = [forged._line(each).replace('"ENTRY"', f'"{id_}"') for each in lines]
        forged.append(folder, *texts * (2 if again else 1))

        _works(folder, keys, clock)


def test_a_batch_that_the_index_refuses_is_not_left_to_be_taken_in(
    open_vault: OpenVault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pack is poisoned, so that neither the next put nor a rebuild meets it again."""

    def refuse(self: object, *args: object, **more: object) -> None:
        raise sqlite3.IntegrityError

    vault = open_vault()
    vault.put_many(entries(2))
    with monkeypatch.context() as patch:
        patch.setattr(_apply.Applying, "batch", refuse)
        with pytest.raises(SinkCorrupt):
            vault.put(entry(mail(9), key="9"))

    receipts([vault.put(entry(mail(10), key="10"))])
    vault.rebuild()

    assert vault.view(BOB).count() == 3
    forged.forget_index(folder)
    with Vault(folder) as again:
        assert again.view(BOB).count() == 3
        assert again.verify("content").ok


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("pack", [0, -1])
def test_nothing_that_was_acknowledged_is_poisoned_later(
    tmp_path: Path, pack: int, encrypted: bool
) -> None:
    """Anybody can append that a write failed: what another batch names counts all the same."""
    folder = tmp_path / "v"
    keys = FileKeys.create(tmp_path / "key") if encrypted else None
    with Vault(folder, keys=keys, pack_size=1) as vault:
        for n in range(3):
            vault.put_many(entries(2, start=10 * n))
        sealed = vault.seal(FileSigner(tmp_path / "s")).checkpoint
    heads = [lines[0] for lines in forged.manifests(folder)]
    forged.append(folder, {"kind": "poisoned", "pack": heads[pack]["pack"], "length": 0})

    for count in (6, 7):
        with Vault(folder, keys=keys) as vault:
            assert vault.view(BOB).count() == count
            assert vault.verify("log", checkpoints=[sealed]).findings == ()
            receipts([vault.put(entry(mail(90), key="90"))])
            vault.rebuild()
            assert vault.view(BOB).count() == 7
        forged.forget_index(folder)


# -- numbers that nobody can follow ---------------------------------------------------------

LAST = (1 << 62) - 1


def test_a_number_that_contradicts_the_batch_before_takes_none_away(
    folder: Path, clock: Clock
) -> None:
    """A batch that names one and is not numbered after it is left out, and what follows it."""
    with Vault(folder, keys=None, clock=clock) as vault:
        vault.put_many(entries(2))
    first = forged.append(folder, {"kind": "note"}, sequence=LAST - 1)
    second = forged.append(folder, {"kind": "note"})

    with Vault(folder, clock=clock) as vault:
        put = [vault.put(entry(mail(n), key=str(n))) for n in range(10, 13)]
        assert [vault.read(each) for each in receipts(put)] == [mail(n) for n in range(10, 13)]
        for level in LEVELS:
            found = {(each.kind, each.pack) for each in vault.verify(level).findings}
            assert found == {("hidden", pack.stem) for pack in (first, second)}
    forged.forget_index(folder)
    with Vault(folder, read_only=True) as vault:
        assert vault.view(BOB).count() == 5
        assert {each.kind for each in vault.verify().findings} == {"order"}
    for pack in (first, second):
        pack.unlink()
    with Vault(folder) as vault:
        assert [vault.read(each) for each in receipts(put)] == [mail(n) for n in range(10, 13)]
        assert vault.verify("content").ok


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("number", [10**8, LAST])
def test_a_number_behind_a_gap_is_waited_for(folder: Path, number: int, index: bool) -> None:
    """Something is missing, or forged: nothing is written, in little memory, until it is away."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    pack = forged.append(folder, {"kind": "note"}, sequence=number, previous="11" * 32)
    if not index:
        forged.forget_index(folder)

    tracemalloc.start()
    with Vault(folder) as vault:
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
        tracemalloc.stop()
        assert vault.view(BOB).count() == 2
        with pytest.raises(SinkCorrupt, match=f"batch 2 and {number - 3} more"):
            vault.put(entry(mail(9), key="9"))
        assert "gap" in {each.kind for each in vault.verify().findings}
    pack.unlink()
    forged.forget_index(folder)
    with Vault(folder) as vault:
        receipts([vault.put(entry(mail(9), key="9"))])
        assert vault.verify("content").ok


def test_behind_the_last_number_nothing_is_written(folder: Path) -> None:
    """Where a gap was given up for good, no receipt is given for what no reader would take."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    pack = forged.append(folder, {"kind": "note"}, sequence=LAST, previous="11" * 32)

    with Vault(folder) as vault:
        vault.rebuild(without_missing=True)
        with pytest.raises(SinkCorrupt, match="a number that none can follow"):
            vault.put(entry(mail(9), key="9"))
    pack.unlink()
    forged.forget_index(folder)
    with Vault(folder) as vault:
        receipts([vault.put(entry(mail(9), key="9"))])


def test_no_batch_has_the_number_zero(folder: Path) -> None:
    """It could be neither the first one nor behind another."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    forged.append(folder, {"kind": "note"}, sequence=0, previous=None)

    with Vault(folder) as vault:
        receipts([vault.put(entry(mail(9), key="9"))])
        assert {each.kind for each in vault.verify().findings} == {"manifest"}


# -- sizes that nobody has room for -------------------------------------------------------------

SPARSE = 1 << 40
"""Bytes of a file that takes no room; to read it would take an hour."""


def _stretch(pack: Path) -> None:
    with pack.open("r+b") as file:
        file.truncate(SPARSE)


def test_a_hole_takes_no_time(folder: Path) -> None:
    """A pack that is all hole, or ends in one, is passed over, and named where it counts."""
    with Vault(folder, keys=None) as vault:
        (put,) = receipts([vault.put(entry(mail()))])
    (known,) = folder.glob("volumes/*/packs/*.tar")
    stray = known.with_name("20260101T000000Z-1-0123456789ab.tar")
    stray.write_bytes(b"x")
    for pack in (known, stray):
        _stretch(pack)

    with Vault(folder) as vault:
        receipts([vault.put(entry(mail(1), key="2"))])
        vault.rebuild()
        for level in LEVELS:
            assert {each.kind for each in vault.verify(level).findings} <= {"trailer", "header"}
        assert vault.read(put) == mail()


@pytest.mark.parametrize("most", [{"size": (2 << 30) + 1}, {"stored_size": 5 << 30}])
def test_an_object_larger_than_any_is_not_even_read(folder: Path, most: dict[str, int]) -> None:
    """A manifest that claims one is refused, before any memory is asked for."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(entries(2))
    sizes = {"size": 10, "stored_size": 10, **most}
    name = {"stored": "11" * 32, "raw": "22" * 32, "suite": "zstd", "offset": 0}
    pack = forged.append(folder, {"kind": "object", **name, **sizes}, objects=1)

    with Vault(folder) as vault:
        receipts([vault.put(entry(mail(9), key="9"))])
        named = {(each.kind, each.pack) for each in vault.verify("content").findings}
        assert named == {("manifest", pack.stem)}


def test_a_message_is_compared_in_little_memory(folder: Path) -> None:
    """However much a small frame unpacks to, a verification needs no room for all of it."""
    large = bytes(96 << 20)
    with Vault(folder, keys=None) as vault:
        vault.put(entry(large))
        tracemalloc.start()
        assert vault.verify("content").ok
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert used < 32 << 20


# -- values that are none ---------------------------------------------------------------


class _Nowhere(tzinfo):
    """A zone that knows no offset."""

    @override
    def utcoffset(self, when: datetime | None, /) -> None:
        """Nothing."""

    @override
    def dst(self, when: datetime | None, /) -> None:
        """Nothing."""

    @override
    def tzname(self, when: datetime | None, /) -> None:
        """Nothing."""


WRONG: dict[str, Callable[[], dict[str, Any]]] = {
    "a number for a Message-ID": lambda: {"envelope": Envelope(message_id=5)},  # type: ignore[arg-type]  # the fault
    "bytes for a subject": lambda: {"envelope": Envelope(subject=b"x")},  # type: ignore[arg-type]  # the fault
    "a text for a date": lambda: {"envelope": Envelope(date="today")},  # type: ignore[arg-type]  # the fault
    "no envelope": lambda: {"envelope": None},
    "a text for a recipient": lambda: {"envelope": Envelope(recipients=("a@b",))},  # type: ignore[arg-type]  # the fault
    "a number for a word": lambda: {
        "envelope": Envelope(
            recipients=(Recipient(Address("a@b"), Role.TO, (Redirection(5, Address("c@d")),)),)  # type: ignore[arg-type]  # the fault
        )
    },
    "numbers for a path": lambda: {"path": (1, 2)},
    "a number for a flag": lambda: {"flags": frozenset({1, "a"})},
    "a text for an address": lambda: {"ownership": Ownership((Owner(BOB, frozenset({"b"})),))},  # type: ignore[arg-type]  # the fault
    "a span of fractions": lambda: {"originals": (Span(0.0, 2.0),)},  # type: ignore[arg-type]  # the fault
    "a number for a client": lambda: {
        "provenance": entry(mail()).provenance.__class__(
            entry(mail()).provenance.fidelity,
            delivery=Delivery(Envelope(), 5),  # type: ignore[arg-type]  # the fault
        )
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_what_could_not_be_read_again_is_refused(vault: Vault, name: str) -> None:
    """An entry with a value of a wrong type is rejected alone, and nothing of it is written."""
    broken = WRONG[name]()
    answers = vault.put_many([entry(mail(), key="1"), _wrong(broken), entry(mail(2), key="3")])

    assert [type(each) is Rejected for each in answers] == [False, True, False]
    vault.rebuild()
    assert vault.view(BOB).count() == 2
    assert vault.verify("content").ok


def _wrong(broken: dict[str, Any]) -> Any:
    originals = broken.pop("originals", None)
    made = entry(mail(1), key="2", **broken)
    if originals is not None:
        object.__setattr__(made, "originals", originals)
    return made


@pytest.mark.parametrize("when", [datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=_Nowhere())])  # noqa: DTZ001 - the fault
def test_a_time_without_an_offset_is_in_utc(vault: Vault, when: datetime) -> None:
    """As the format has it, also where it has a zone that knows none."""
    receipts([vault.put(entry(mail(), received_at=when))])

    (seen,) = vault.view(BOB).messages(until=datetime(2020, 1, 2, tzinfo=UTC))
    assert seen.content() == mail()


def test_no_id_of_a_user_is_a_number() -> None:
    """An id that is no text is refused where it is made."""
    with pytest.raises(TypeError):
        Owner(5)  # type: ignore[arg-type]  # the fault
