"""A manifest that is longer than any of ours costs nobody memory, and is named."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import forged
from support.objects import reading
from support.vaults import entries, journaled, mail, receipts, to

from mailarchive import Digest, Receipt, Rejected, UserId
from mailarchive.errors import SinkError
from mailarchive.vault import (
    FileKeys,
    Selection,
    Vault,
    _erasing,
    _manifest,
    _manifest_bounds,
    _object_manifests,
    _session,
    _tar,
)
from mailarchive.vault._errors import Damage
from mailarchive.vault._recovery import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive import ArchiveEntry

LINE = '{"kind":"x"}'
NAME = "20260101T000000Z-1-0123456789ab"


def _peak(work: Callable[[], object]) -> int:
    """The most bytes that Python had at a time while it worked."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _filled(folder: Path) -> None:
    with Vault(folder, keys=None) as vault:
        assert len(receipts(vault.put_many(entries(2)))) == 2


def _bound(monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    monkeypatch.setattr(_manifest_bounds, "MOST_LINES", lines)


def test_millions_of_lines_cost_less_than_they_take(folder: Path) -> None:
    """Whoever opens, verifies or rebuilds the vault never has such a manifest in memory."""
    _filled(folder)
    pack = forged.append(folder, "\n".join(["{}"] * 3_000_000))
    said: list[tuple[str, str | None]] = []

    def adopted() -> None:
        with Vault(folder) as vault:
            said.extend((it.kind, it.pack) for it in vault.verify("quick").findings)

    def rebuilt() -> None:
        with Vault(folder) as vault:
            vault.rebuild()
            said.extend((it.kind, it.pack) for it in vault.verify("content").findings)

    peaks = [_peak(adopted), _peak(rebuilt)]

    assert said == [("manifest", pack.stem)] * 2
    assert max(peaks) < 6 << 20 < pack.stat().st_size


def _batches(vault: str, count: int, lines: int) -> bytes:
    """A pack of so many manifests, each with so many lines that mean nothing."""
    data, offset = b"", 0
    for n in range(count):
        head = (
            f'{{"kind":"batch","format":1,"vault":"{vault}","volume":"0001","pack":"{NAME}",'
            f'"offset":{offset},"sequence":{n + 1},"previous":null,"at":"{forged.AT}",'
            f'"objects":0,"salt":"{"00" * 32}"}}\n'
        )
        text = head.encode() + f"{LINE}\n".encode() * lines
        data += b"".join(_tar.member(_tar.MANIFEST.format(Digest.of(text).hex), text))
        offset = len(data)
    return data


def test_many_manifests_are_looked_at_one_by_one(folder: Path) -> None:
    """A pack of nothing but manifests costs as much memory as two of them."""
    _filled(folder)
    with Vault(folder, read_only=True) as vault:
        packs = vault._opened().packs
        made = folder / "volumes" / "0001" / "packs" / f"{NAME}.tar"
        found: list[int] = []

        def looked(count: int) -> int:
            made.write_bytes(_batches(packs.vault, count, 20_000))
            with packs.open(NAME) as pack:
                return _peak(lambda: found.append(len(survey(pack).found)))

        few, many = looked(3), looked(30)

    assert found == [3, 30]
    assert many < 2 * few


def test_the_bound_itself_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line more is refused, where a manifest is counted beforehand and where it is not."""
    _filled(folder)
    forged.append(folder, *[LINE] * 9)
    _bound(monkeypatch, 10)
    with Vault(folder) as vault:
        vault.rebuild()
        assert vault.verify("content").findings == ()
        _bound(monkeypatch, 9)
        kinds = {(it.kind, it.words.rpartition(": ")[2]) for it in vault.verify("quick").findings}
        words = "a manifest of more than 9 lines, which none of ours has"

    assert ("manifest", words) in kinds
    data = f"{LINE}\n".encode() * 10
    with pytest.raises(ValueError, match="more than a manifest has"):
        _manifest.Manifest.read(data, 0)


def test_a_pack_in_a_store_keeps_the_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is damaged, and named so, before its lines are looked at."""
    data = _batches("v", 1, 9)

    assert _object_manifests.whole("v", NAME, reading(data)).log_lines == 10
    _bound(monkeypatch, 9)
    with pytest.raises(Damage) as caught:
        _object_manifests.whole("v", NAME, reading(data))

    assert caught.value.kind == "manifest"


def test_the_format_says_the_bounds() -> None:
    """In the description that other readers are written from."""
    page = (Path(__file__).parents[2] / "docs/reference/vault-format.md").read_text("utf-8")
    bounds = (
        f"{_manifest_bounds.MOST_LINES:,} lines and {_manifest_bounds.LARGEST >> 30} GiB at most"
    )
    line = f"{_manifest_bounds.LONGEST_LINE >> 20} MiB at most"
    places = f"a `reclaimed` names {_erasing._MOST_PLACES:,} places"

    assert bounds in page
    assert line in page
    assert f"{_session._MOST_ENTRIES:,} facts at most" in page
    assert places in page


def test_nothing_is_written_that_would_not_be_read(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two messages have a head, two objects and two entries; three are too many here."""
    _bound(monkeypatch, 5)
    vault.put_many(entries(2))
    with pytest.raises(SinkError, match="too large"):
        vault.put_many(entries(3, start=10))
    vault.put_many(entries(2, start=20))

    assert vault.verify("content").findings == ()


# -- one line -----------------------------------------------------------------------------

SHORT = 2 << 20
"""The bound of a line, where a test would else write hundreds of megabytes."""


def _lists(size: int) -> str:
    """A fact of so many bytes, most of which take 25 times their size in memory."""
    return f'{{"kind":"x","y":[{",".join(["[]"] * (size // 3))}]}}'


def test_a_long_line_costs_less_than_it_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens, verifies or rebuilds the vault has no more than a piece of it in memory."""
    _filled(folder)
    pack = forged.append(folder, _lists(12 << 20))
    monkeypatch.setattr(_manifest_bounds, "LONGEST_LINE", SHORT)
    said: list[tuple[str, str | None]] = []

    def work() -> None:
        with Vault(folder) as vault:
            said.extend((it.kind, it.pack) for it in vault.verify("quick").findings)
            vault.rebuild()
            said.extend((it.kind, it.pack) for it in vault.verify("content").findings)

    peak = _peak(work)

    assert said == [("manifest", pack.stem)] * 2
    assert peak < 6 << 20 < pack.stat().st_size


def test_a_line_beyond_the_bound_itself_is_not_read_whole(folder: Path) -> None:
    """A file of that size which takes no room: what is in it is looked at a piece at a time."""
    _filled(folder)
    size = _manifest_bounds.LONGEST_LINE + 1
    pack = next(folder.rglob("*.tar")).with_name(f"{NAME}.tar")
    pack.write_bytes(_tar.header(f"m/{'0' * 64}.jsonl", size))
    os.truncate(pack, _tar.member_size(size))
    with Vault(folder, read_only=True) as vault:
        packs = vault._opened().packs
        with packs.open(NAME) as opened:

            def read() -> None:
                with pytest.raises(Damage, match="a line of more than 268,435,456 bytes"):
                    opened.manifest(0)

            assert _peak(read) < 6 << 20


@pytest.mark.parametrize("before", [0, 1, 5000])
@pytest.mark.parametrize("more", [0, 1])
def test_a_line_of_the_bound_is_read(
    monkeypatch: pytest.MonkeyPatch, before: int, more: int
) -> None:
    """One byte more is refused, whichever pieces it is in."""
    monkeypatch.setattr(_manifest_bounds, "LONGEST_LINE", SHORT)
    line = _lists(SHORT - 100)
    line += " " * (SHORT + more - len(line))
    data = f"{LINE}\n".encode() * before + f"{line}\n{LINE}\n".encode()

    assert _manifest_bounds.fits(data) == (not more)


def _named(count: int) -> ArchiveEntry:
    """Mail to so many that its line is longer than the bound of this test."""
    recipients = [to(f"{'x' * 200}{n}@example.com") for n in range(count)]
    return journaled(mail(7), recipients, key="many")


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_entry_that_says_too_much_is_rejected_by_itself(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool
) -> None:
    """The others of its batch are stored, and what was stored can be read."""
    keys = FileKeys.create(tmp_path / "keys") if encrypted else None
    monkeypatch.setattr(_manifest_bounds, "LONGEST_LINE", SHORT)
    monkeypatch.setattr(_manifest_bounds, "LONGEST_ENTRY", (SHORT - 4096) // 4 * 3)
    with Vault(folder, keys=keys) as vault:
        long, fit = _named(8_000), _named(2_000)
        rejected, *stored = sorted(
            vault.put_many([*entries(2), long]), key=lambda each: isinstance(each, Receipt)
        )
        assert rejected == Rejected(
            long.id, "more addresses and names than a vault keeps of one message"
        )
        assert len(receipts(stored)) == 2
        (kept,) = receipts(vault.put_many([fit]))
        assert vault.read(kept) == fit.raw
        assert vault.verify("content").ok


def test_a_fact_that_says_too_much_is_refused(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is written."""
    vault.put_many(entries(2))
    monkeypatch.setattr(_manifest_bounds, "LONGEST_LINE", SHORT)
    users = frozenset(UserId(f"{'x' * 300}{n}") for n in range(9_000))

    with pytest.raises(SinkError, match="too large"):
        vault.keeper("Ada", "a case").hold("m", Selection(users=users))

    assert vault.keeper("Ada", "a case").holds() == ()
    assert vault.verify("content").ok
