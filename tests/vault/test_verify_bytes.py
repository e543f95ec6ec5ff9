"""Bytes are compared in several threads, and what these doubt is named as by one."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, entry, mail

from mailarchive.vault import Vault
from mailarchive.vault._verify_bytes import Comparing

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.vault._packs import Member, Pack, Packs

LARGE = 3 << 20
"""Bytes of a message that is compared in pieces."""


@pytest.fixture
def filled(folder: Path) -> Path:
    """A vault of one pack, with small messages around a large one that does not compress."""
    large = entry(mail(4) + Random(1).randbytes(LARGE), key="large")
    with Vault(folder, keys=None) as vault:
        vault.put_many([*entries(4), large, *entries(4, start=5)])
    return folder


def _members(pack: Pack) -> list[Member]:
    (batch,) = pack.batches()
    assert isinstance(batch, tuple)
    return batch[1]


def _open(vault: Vault) -> Packs:
    return vault._readable().packs


def test_every_member_of_a_whole_pack_is_whole(filled: Path) -> None:
    """Small ones and large ones, in the order in which they were asked about."""
    with Vault(filled) as vault, Comparing() as comparing:
        packs = _open(vault)
        (name,) = packs.names()
        with packs.open(name) as pack:
            members = _members(pack)
            assert max(size for _, _, size in members) > 1 << 20
            assert list(comparing.whole(pack, members)) == [True] * 9
            assert list(comparing.whole(pack, ())) == []


@pytest.mark.parametrize("position", [0, 4, 8])
def test_a_changed_byte_makes_doubt_of_its_member_alone(filled: Path, position: int) -> None:
    """And the verification says where it is, as it always did."""
    with Vault(filled) as vault, Comparing() as comparing:
        packs = _open(vault)
        (name,) = packs.names()
        with packs.open(name) as pack:
            members = _members(pack)
        offset, _, size = members[position]
        (path,) = filled.rglob("*.tar")
        data = bytearray(path.read_bytes())
        data[offset + 512 + size - 1] ^= 1
        path.write_bytes(data)
        with packs.open(name) as pack:
            whole = list(comparing.whole(pack, members))
        assert whole == [n != position for n in range(9)]
        (finding,) = vault.verify("stored").findings
        assert (finding.kind, finding.pack, finding.offset) == ("digest", name, offset)


def test_a_member_beyond_the_end_is_doubted_and_not_raised(filled: Path) -> None:
    """A thread only doubts; it never ends the verification."""
    with Vault(filled) as vault, Comparing() as comparing:
        packs = _open(vault)
        (name,) = packs.names()
        with packs.open(name) as pack:
            beyond = (pack.size, "o/" + "0" * 64 + ".zst", 10)
            assert list(comparing.whole(pack, [beyond])) == [False]


@pytest.mark.parametrize("level", ["quick", "stored", "content", "log"])
def test_a_verification_leaves_no_thread_behind(filled: Path, level: str) -> None:
    """However often it is asked for."""
    with Vault(filled) as vault:
        before = set(threading.enumerate())
        assert vault.verify(level).ok
        assert vault.verify(level).ok
        assert set(threading.enumerate()) == before
