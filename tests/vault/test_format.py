"""What a vault writes can be read for ever: by us to the byte, and without us."""

from __future__ import annotations

import json
import shutil
import subprocess
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.vaults import entries, entry, mail

from mailarchive import (
    Address,
    AddressKind,
    Copy,
    Digest,
    Envelope,
    Fidelity,
    Folder,
    FolderRole,
    Origin,
    Owner,
    Ownership,
    Provenance,
    Recipient,
    Redirection,
    Role,
    Span,
    UserId,
)
from mailarchive.vault import _loading, _manifest, _record, _zstd
from mailarchive.vault._record import Record, StoredOriginal

if TYPE_CHECKING:
    from pathlib import Path

    from support.vaults import OpenVault

text = st.text(max_size=20) | st.sampled_from(["\0", "\ud800", "😀", "../../x", "\n{}", '"kind"'])
digests = st.binary(min_size=32, max_size=32).map(Digest)
sizes = st.integers(0, 1 << 40)
addresses = st.builds(Address, text, st.sampled_from(AddressKind))
times = st.none() | st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5, minutes=-30))])
)
recipients = st.builds(
    Recipient,
    addresses,
    st.sampled_from(Role),
    st.lists(st.builds(Redirection, text, addresses), max_size=2).map(tuple),
)
shown_recipients = st.lists(
    st.tuples(recipients, st.sampled_from([None, Role.TO, Role.CC])), max_size=3
)
owners = st.lists(
    st.builds(Owner, text.map(UserId), st.frozensets(addresses, max_size=2)), max_size=3
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Any record that there can be."""
    people = draw(shown_recipients)
    return Record(
        id=draw(digests),
        raw=draw(digests),
        size=draw(sizes),
        content_size=draw(st.none() | sizes),
        content=draw(st.none() | digests),
        originals=draw(
            st.lists(
                st.builds(Span, sizes, sizes) | st.builds(StoredOriginal, digests, sizes),
                max_size=2,
            ).map(tuple)
        ),
        envelope=Envelope(
            sender=draw(st.none() | addresses),
            on_behalf_of=draw(st.none() | addresses),
            recipients=tuple(recipient for recipient, _ in people),
            subject=draw(st.none() | text),
            message_id=draw(st.none() | text),
            date=draw(times),
            origin=draw(st.sampled_from(Origin)),
        ),
        shown=tuple(role for _, role in people),
        private=draw(st.integers(0, 10_000)),
        opaque=draw(st.booleans()),
        ownership=Ownership(tuple(draw(owners)), draw(st.frozensets(addresses, max_size=2))),
        copy=draw(st.builds(Copy, text, text, text, st.none() | text)),
        folder=draw(
            st.builds(
                Folder,
                text,
                st.lists(text, max_size=2).map(tuple),
                st.none() | st.sampled_from(FolderRole),
            )
        ),
        fork_key=draw(digests),
        received_at=draw(times),
        flags=draw(st.frozensets(text, max_size=2)),
        provenance=draw(
            st.builds(
                Provenance,
                st.sampled_from(Fidelity),
                st.booleans(),
                st.lists(text, max_size=2).map(tuple),
            )
        ),
    )


def _head(objects: int = 0) -> _manifest.Head:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    pack = "20260301T120000Z-1-0123456789ab"
    return _manifest.Head("0" * 32, "0001", pack, 0, 1, None, at, objects, bytes(32))


@given(records())
def test_a_record_comes_back_equal(record: Record) -> None:
    """What a manifest keeps of an entry is read back as the same value, whatever is in it."""
    data = _manifest.write(_head(), (), (record,))

    ((_, found),) = _manifest.Manifest.read(data, 0).contents

    assert found == record


@given(records())
def test_equal_facts_are_equal_bytes(record: Record) -> None:
    """A manifest is a function of what it says, in ASCII, a line each."""
    data = _manifest.write(_head(), (), (record,))
    again = _manifest.write(_head(), (), (_loading.load(json.loads(data.split(b"\n")[1])),))

    assert (again, data.isascii(), data.count(b"\n")) == (data, True, 2)


@given(records())
def test_a_repr_shows_no_address_and_no_subject(record: Record) -> None:
    """A record that ends up in a log tells nothing of the mail."""
    secret = Envelope(Address("canary@example.com"), subject="canary", message_id="canary")
    folder = Folder("canary", ("canary",))
    people = Ownership((), frozenset({Address("canary@example.com")}))

    told = repr(evolve(record, envelope=secret, folder=folder, ownership=people))

    assert "canary" not in told


def test_words_of_a_later_release_read_as_the_weakest() -> None:
    """A role, a kind or an origin that this release does not know is no error."""
    record = _record.record_of(entry(mail()), {})
    tree = _record.dump(record)
    tree["recipients"][0]["role"] = "resent-to"
    tree["recipients"][1]["address"] = {"phone": "123"}
    tree |= {"origin": "telepathy", "role": "snoozed", "another": {"thing": 1}}

    found = _loading.load(tree)

    assert found.envelope.recipients[0].role is Role.UNKNOWN
    assert found.envelope.recipients[1].address.kind is AddressKind.OTHER
    assert (found.envelope.origin, found.folder.role) == (Origin.HEADERS, None)


BROKEN = [
    b"",
    b"\n",
    b"{}\n",
    b"[]\n",
    b"no json\n",
    b'{"kind":"batch"}',
    b"[" * 100_000 + b"\n",
    b'{"kind":"batch","format":2}\n',
    _manifest.write(_head(), (), ())[:-1],
    _manifest.write(_head(), (), ()).replace(b'"offset":0', b'"offset":-1'),
    _manifest.write(_head(), (), ()).replace(b'"offset":0', b'"offset":1e400'),
    _manifest.write(_head(), (), ()).replace(b'"sequence":1', b'"sequence":"1"'),
]


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_no_manifest_raises_what_is_said(data: bytes) -> None:
    """Bytes that are no manifest raise one of a few errors, and never anything else."""
    with pytest.raises(_manifest.BAD_JSON):
        _manifest.Manifest.read(data, 0)


@given(st.binary(max_size=200_000) | st.just(bytes(3_000_000)), st.integers(-5, 5))
def test_a_frame_gives_back_its_bytes(data: bytes, level: int) -> None:
    """A compressed message is one frame that knows its size, and unpacks to the same."""
    frame = _zstd.compress(data, level)

    assert _zstd.decompress(frame, len(data)) == data


@pytest.mark.parametrize("wrong", [0, 9_999, 10_001, _zstd.LARGEST + 1, -1])
def test_a_frame_of_another_size_is_refused(wrong: int) -> None:
    """Nothing unpacks to more, or to less, than the manifest says."""
    with pytest.raises(ValueError, match="another size"):
        _zstd.decompress(_zstd.compress(bytes(10_000), 3), wrong)


def _bombs() -> dict[str, bytes]:
    big = _zstd.compress(bytes(50_000_000), 3)
    piped = subprocess.run(["zstd", "-c"], input=bytes(9_999_999), check=True, capture_output=True)
    return {
        "lies about its size": big[:4] + b"\x20\x0a" + big[5:],
        "says no size": piped.stdout,
        "two frames": _zstd.compress(bytes(10), 3) * 2,
        "skippable": b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
        "no frame": b"hello",
        "cut": _zstd.compress(b"hello" * 10, 3)[:-3],
        "empty": b"",
        "changed": _zstd.compress(bytes(range(256)), 3)[:-1] + b"\0",
    }


@pytest.mark.parametrize(
    "name",
    [
        "lies about its size",
        "says no size",
        "two frames",
        "skippable",
        "no frame",
        "cut",
        "empty",
        "changed",
    ],
)
def test_a_hostile_frame_is_refused(name: str) -> None:
    """A frame that is not exactly one message of its size is an error, and no memory."""
    with pytest.raises(ValueError, match="zstd frame"):
        _zstd.decompress(_bombs()[name], 10)


def test_a_frame_that_lies_takes_no_memory() -> None:
    """A frame that says ten bytes and holds fifty million is given up before they are made."""
    # RFC 8878, 3.1.1: 4-byte content size, 8 MiB window, then blocks of one repeated byte.
    block = (131_072 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    frame = b"\x28\xb5\x2f\xfd\x80\x68" + (10).to_bytes(4, "little") + block * 400
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="zstd frame"):
            _zstd.decompress(frame, 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000


def test_tar_and_zstd_alone_give_everything_back(
    open_vault: OpenVault, folder: Path, tmp_path: Path
) -> None:
    """Two programs that everybody has bring back each message, and say nothing bad."""
    originals = [mail(n, body=bytes([n]) * 5000) for n in range(5)]
    open_vault(pack_size=4000).put_many([entry(raw, key=str(raw)) for raw in originals[:3]])
    open_vault().put_many([entry(raw, key=str(raw)) for raw in originals[3:]])
    tar, zstd = shutil.which("tar"), shutil.which("zstd")
    assert tar is not None
    assert zstd is not None

    for pack in folder.rglob("*.tar"):
        said = _run(tar, "xvf", pack, "-C", tmp_path)
        assert "b/" in said
    unpacked = [
        subprocess.run([zstd, "-dcq", file], check=True, capture_output=True).stdout
        for file in (tmp_path / "b").iterdir()
    ]

    assert sorted(unpacked) == sorted(originals)
    assert _run("sha256sum", *(tmp_path / "b").iterdir()).count("\n") == len(originals)


def _run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout


def test_lines_of_a_later_release_are_passed_over(open_vault: OpenVault) -> None:
    """A kind of line that this release does not know stays in its pack and harms nothing."""
    vault = open_vault()
    vault.put_many(entries(2))
    vault._opened().state(_manifest.Fact("hold", {"matter": "M-1", "entries": [1, None]}))
    vault.put_many(entries(2, start=2))
    vault.rebuild()

    assert vault.view(UserId("bob")).count() == 4
    assert vault.verify("content").ok
