"""A pack is a tar archive that every tar reads, and of which no bit can change unseen."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive.vault import _tar


def _name(content: bytes) -> str:
    return _tar.MESSAGE.format(hashlib.sha256(content).hexdigest())


@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_python_reads_what_we_write(contents: list[bytes]) -> None:
    """Another reader of tar finds exactly the members that were written, in order."""
    archive = b"".join(b"".join(_tar.member(_name(content), content)) for content in contents)

    with tarfile.open(fileobj=io.BytesIO(archive + _tar.TRAILER)) as tar:
        files = [tar.extractfile(member) for member in tar.getmembers()]
        found = [file.read() for file in files if file is not None]

    assert found == contents


@given(st.integers(0, 0o77777777777))
def test_a_header_is_read_as_it_was_written(size: int) -> None:
    """Name and size come back from a header, for every size that there can be."""
    name = _name(b"x")

    assert _tar.parse(_tar.header(name, size)) == (name, size)


@given(st.integers(0, 512 * 8 - 1))
def test_no_bit_of_a_header_can_change(bit: int) -> None:
    """A header with one bit changed is no header, or another member's."""
    good = _tar.header(_name(b"x"), 4711)
    changed = bytearray(good)
    changed[bit // 8] ^= 1 << bit % 8

    assert _tar.parse(bytes(changed)) is None


@pytest.mark.parametrize(
    "name",
    [
        "../etc/passwd",
        "/b/" + "0" * 64,
        "b/" + "0" * 63,
        "b/" + "0" * 64 + "/..",
        "b\n/" + "0" * 64,
    ],
)
def test_no_other_name_is_a_member(name: str) -> None:
    """A member is named by a kind and a digest; nothing that could be a path is read."""
    assert _tar.parse(_tar.header(name, 1)) is None


@pytest.mark.parametrize("size", [-1, 0o100000000000])
def test_a_size_that_tar_cannot_write_is_refused(size: int) -> None:
    """A header never says another size than it was asked to."""
    with pytest.raises(ValueError, match="8 GiB"):
        _tar.header(_name(b"x"), size)


@pytest.mark.parametrize(
    "name", ["..", "a/b", "20260301T120000Z-1-0123456789ab/..", "", "x" * 300]
)
def test_a_pack_has_a_name_that_is_no_path(name: str) -> None:
    """Only names that we make can be those of packs."""
    assert not _tar.is_pack(name)
