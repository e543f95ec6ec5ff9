"""Verification names whatever was changed, and accuses nothing that is whole."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support import forged
from support.vaults import Clock, entries, entry, journaled, mail, to

from mailarchive import Digest, UserId
from mailarchive.errors import ConfigurationError, MailArchiveError, SinkCorrupt
from mailarchive.vault import Level, Vault, _manifest, _record, _tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from support.vaults import OpenVault

    from mailarchive.vault import VerifyReport

BOB = UserId("bob")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault of three packs with several batches each, to make copies of and to spoil."""
    folder = tmp_path_factory.mktemp("whole") / "v"
    clock = Clock()

    def ticking() -> datetime:
        clock.advance(seconds=1)
        return clock()

    with Vault(folder, keys=None, pack_size=30_000, clock=ticking) as vault:
        for n in range(0, 24, 3):
            vault.put_many(entries(3, start=n))
        vault.put(journaled(mail(50), [to("bob@example.com")], key="50", encoded=True))
        vault.auditor("me", "why")
        vault.put_many(entries(1, source="again"))
    assert len(_packs(folder)) == 3
    return folder


@pytest.fixture
def copy(whole: Path, folder: Path) -> Path:
    """A copy of that vault, for this test to spoil."""
    shutil.copytree(whole, folder)
    return folder


def _packs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tar"))


def _index(folder: Path) -> Path:
    return folder / "volumes" / "0001" / "index.db"


def _verified(folder: Path, level: str = "stored", *, index: bool = True) -> VerifyReport:
    if not index:
        for file in folder.rglob("index.db*"):
            file.unlink()
    with Vault(folder, read_only=True) as vault:
        return vault.verify(level)


def _kinds(report: VerifyReport) -> set[str]:
    assert report.ok == (not report.findings)
    return {finding.kind for finding in report.findings}


# -- what is whole ------------------------------------------------------------------------


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("level", list(Level))
def test_a_whole_vault_is_accused_of_nothing(copy: Path, level: Level, index: bool) -> None:
    """Every level finds nothing in a whole vault, with its index and without, and counts."""
    report = _verified(copy, level, index=index)

    assert report.findings == ()
    assert (report.packs, report.entries, report.objects) == (len(_packs(copy)), 26, 26)
    assert report.size == sum(pack.stat().st_size for pack in _packs(copy)) - (
        0 if not index else sum(len(_tar.TRAILER) for _ in _packs(copy)[:-1])
    )


def test_a_report_is_plain_values_too(copy: Path) -> None:
    """A report can be written as JSON, for a machine to read."""
    _packs(copy)[0].unlink()

    told = json.loads(json.dumps(_verified(copy).to_dict()))

    assert (told["ok"], told["level"], told["findings"][0]["kind"]) == (
        False,
        "stored",
        "missing-pack",
    )


def test_progress_goes_from_nothing_to_all(copy: Path) -> None:
    """Whoever watches is told bytes done, never fewer than before, of a fixed number."""
    told: list[tuple[int, int]] = []
    with Vault(copy) as vault:
        vault.verify("quick", on_progress=lambda done, of: told.append((done, of)))

    assert told == sorted(told)
    assert len({of for _, of in told}) == 1
    assert 0 < told[0][0] <= told[-1][0] <= told[-1][1]


def test_another_level_is_refused(vault: Vault) -> None:
    """A level that there is not is an error, not the laxest one."""
    with pytest.raises(ConfigurationError):
        vault.verify("thorough")


def test_every_kind_of_finding_is_in_the_reference() -> None:
    """Whoever reads a report by program knows all words that may stand in it."""
    top = Path(__file__).parents[2]
    table = (top / "docs/reference/vault.md").read_text().partition("| kind | what |")[2]
    words = set(re.findall(r"`([a-z-]+)`", table.partition("\n\n")[0]))
    code = "".join(each.read_text() for each in (top / "mailarchive/vault").glob("_*.py"))
    patterns = (
        r'_(?:find|note)\(\s*"([a-z-]+)"',
        r'yield "([a-z-]+)", ',
        r'\.damage\([^"]*?"([a-z-]+)"',
        r'Damage\.at\([^"]*?"([a-z-]+)"',
    )
    kinds = {kind for pattern in patterns for kind in re.findall(pattern, code)}

    assert len(kinds) > 25
    assert kinds <= words


def test_an_empty_vault_is_whole(vault: Vault) -> None:
    """Nothing is wrong with nothing."""
    assert vault.verify("content").ok


def test_verifying_while_another_writes(open_vault: OpenVault) -> None:
    """What is written meanwhile is not yet there, and is not accused."""
    vault, other = open_vault(pack_size=3000), open_vault(pack_size=3000)
    vault.put_many(entries(3))
    n = [3]

    def meanwhile(done: int, of: int) -> None:
        other.put_many(entries(3, start=n[0]))
        n[0] += 3

    vault.put_many(entries(3, start=100))

    assert vault.verify("content", on_progress=meanwhile).ok
    assert n[0] > 3


def test_verifying_writes_nothing(copy: Path) -> None:
    """No file of a vault is another one after it was verified; SQLite's own two may come."""

    def state() -> dict[str, int]:
        files = (f for f in copy.rglob("*") if f.is_file() and not f.name.startswith("index.db-"))
        return {str(f): zlib.crc32(f.read_bytes()) for f in files}

    before = state()
    _verified(copy, "content")

    assert state() == before


# -- what was changed ---------------------------------------------------------------------


@given(st.data())
def test_any_flipped_bit_is_named(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One bit changed anywhere in what counts of a pack is found, and in that pack."""
    folder = tmp_path_factory.mktemp("flip") / "v"
    shutil.copytree(whole, folder)
    pack = data.draw(st.sampled_from(_packs(folder)))
    raw = bytearray(pack.read_bytes())
    with Vault(folder, read_only=True) as vault:
        row = vault._opened().index.pack(pack.stem)
    assert row is not None
    bit = data.draw(st.integers(0, row.upto * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    pack.write_bytes(raw)

    report = _verified(folder)

    assert not report.ok
    assert pack.stem in {finding.pack for finding in report.findings}
    shutil.rmtree(folder)


@given(st.data())
def test_any_cut_is_named(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A pack cut off anywhere within what counts is found, and the vault still opens."""
    folder = tmp_path_factory.mktemp("cut") / "v"
    shutil.copytree(whole, folder)
    pack = data.draw(st.sampled_from(_packs(folder)))
    with Vault(folder, read_only=True) as vault:
        row = vault._opened().index.pack(pack.stem)
    assert row is not None
    pack.write_bytes(pack.read_bytes()[: data.draw(st.integers(0, row.upto - 1))])

    with Vault(folder) as vault:
        report = vault.verify("quick")
        assert ("truncated", pack.stem) in {(each.kind, each.pack) for each in report.findings}
        vault.put_many(entries(1, start=99))
        assert vault.view(BOB).count() >= 1
    shutil.rmtree(folder)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_pack_is_named(copy: Path, which: int, index: bool) -> None:
    """A pack that is gone is missed: by the index, and without it by the batches that follow."""
    _packs(copy)[which].unlink()

    kinds = _kinds(_verified(copy, "quick", index=index))

    assert ("missing-pack" if index else "gap") in kinds


def test_swapped_messages_are_named(copy: Path) -> None:
    """Two members that change places are found by the quick level, in both places."""
    pack = _packs(copy)[0]
    raw = pack.read_bytes()
    with Vault(copy, read_only=True) as vault, vault._opened().packs.open(pack.stem) as opened:
        (manifest, *_) = opened.manifests()
        assert isinstance(manifest, _manifest.Manifest)
        one, two, _ = manifest.objects
    first = raw[one.offset : two.offset]
    second = raw[two.offset : two.offset + _tar.member_size(two.stored_size)]
    pack.write_bytes(second + first + raw[len(first) + len(second) :])

    assert "misplaced" in _kinds(_verified(copy, "quick"))


def test_swapped_packs_are_named(copy: Path) -> None:
    """A pack under another's name is found: its manifests say which one they are of."""
    one, two, *_ = _packs(copy)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)

    assert "misplaced" in _kinds(_verified(copy, "quick"))
    assert "misplaced" in _kinds(_verified(copy, "quick", index=False))


def _forged(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace the first pack by one that is consistent in itself."""
    pack = _packs(folder)[0]
    with Vault(folder, read_only=True) as vault, vault._opened().packs.open(pack.stem) as opened:
        manifests = [each for each in opened.manifests() if isinstance(each, _manifest.Manifest)]
        members = [
            (
                each,
                b"".join(
                    opened.read(o.offset, _tar.member_size(o.stored_size)) for o in each.objects
                ),
            )
            for each in manifests
        ]
    made = b""
    previous: Digest | None = None
    for manifest, objects in members:
        lines = [json.loads(line) for line in manifest.lines]
        lines[0] |= {"previous": previous and previous.hex, "offset": len(made)}
        at = len(made)
        for line in lines[1 : 1 + manifest.head.objects]:
            line["offset"] = at
            at += _tar.member_size(line["stored_size"])
        data = change(b"".join(_record.as_line(line) for line in lines))
        previous = Digest.of(data)
        made += objects + b"".join(_tar.member(_tar.MANIFEST.format(previous.hex), data))
    pack.write_bytes(made)


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("index", [True, False])
def test_a_copy_of_a_pack_is_named(copy: Path, level: Level, index: bool) -> None:
    """Also where nobody has opened the vault for writing since, so that no index knows of it."""
    pack = _packs(copy)[0]
    other = pack.with_name(pack.name.replace("Z-", "Z-1", 1))
    shutil.copy(pack, other)

    report = _verified(copy, level, index=index)

    assert {(it.kind, it.pack) for it in report.findings} == {("misplaced", other.stem)}
    assert report.entries == 26


def test_a_line_that_cannot_be_read_is_named_where_no_index_knows_of_it(copy: Path) -> None:
    """What stands in a pack of somebody else's making is looked at, too."""
    forged.append(copy, '{"kind":"poisoned"}')

    assert "manifest" in _kinds(_verified(copy, "quick"))


@pytest.mark.parametrize("level", Level)
def test_packs_that_come_meanwhile_are_not_accused(copy: Path, level: Level) -> None:
    """Others go on writing: a new pack is not in the index as it was when it was opened."""
    before = set(_packs(copy))

    def write(*_: int) -> None:
        if set(_packs(copy)) == before:
            with Vault(copy, pack_size=1) as other:
                other.put_many(entries(2, start=500))
                other.put_many(entries(2, start=510))

    with Vault(copy, read_only=True) as vault:
        report = vault.verify(level, on_progress=write)

    assert len(_packs(copy)) == len(before) + 2
    assert report.findings == ()


@pytest.mark.parametrize("index", [True, False])
def test_a_pack_that_is_consistent_in_itself_is_named(copy: Path, index: bool) -> None:
    """A whole pack made anew with other owners breaks the order that the next one names."""
    _forged(copy, lambda data: data.replace(b'"user":"bob"', b'"user":"eve"'))
    found = _kinds(_verified(copy, "content", index=index))

    assert "order" in found
    assert not index or "missing-batch" in found


def test_an_older_copy_is_named_by_the_index(copy: Path, whole: Path) -> None:
    """Packs rolled back to an earlier state are shorter than the index knows."""
    pack = _packs(copy)[-1]
    assert pack.stat().st_size < 25_000
    with Vault(copy) as vault:
        vault.put_many(entries(2, start=70))
    shutil.copy(whole / pack.relative_to(copy), pack)

    assert "truncated" in _kinds(_verified(copy, "quick"))


INDEX_FORGERIES = {
    "an owner more": "INSERT INTO owner SELECT 7, head, entry, 1, 1, 1, own, search FROM owner"
    " WHERE entry = 1 LIMIT 1",
    "a message more": "INSERT INTO message SELECT 7, at, head, 'x', 1 FROM message LIMIT 1",
    "a message less": "DELETE FROM message WHERE head = 2",
    "another owner": "UPDATE user SET id = CAST('eve' AS BLOB) WHERE n = 2",
    "somebody made a sender": "UPDATE owner SET sender = 1",
    "an entry less": "DELETE FROM entry WHERE n = 4",
    "another subject": "UPDATE entry SET summary = replace(summary, 'Message 1', 'Message X')",
    "an object elsewhere": "UPDATE object SET offset = 0",
    "a batch less": "DELETE FROM batch WHERE sequence = 2",
    "a batch more": "INSERT INTO batch SELECT 99, 99, x'00', pack, offset, at, 1 FROM batch"
    " LIMIT 1",
    "an entry said to be erased": "UPDATE entry SET erased = 1 WHERE n = 1",
    "a pack less": "DELETE FROM pack WHERE n = 1",
    "a shorter pack": "UPDATE pack SET upto = 0 WHERE n = 1",
    "a reading less": "DELETE FROM fact",
}


@pytest.mark.parametrize("level", ["content", "log"])
@pytest.mark.parametrize("name", INDEX_FORGERIES)
def test_a_forged_row_of_the_index_is_named(copy: Path, name: str, level: str) -> None:
    """What the index says and the packs do not is found where it is derived once more."""
    with closing(sqlite3.connect(_index(copy))) as index, index:
        assert index.execute(INDEX_FORGERIES[name]).rowcount > 0
    index.close()

    report = _verified(copy, level)

    assert _kinds(report) & {"index", "missing-batch", "truncated"}
    with Vault(copy) as vault:
        vault.rebuild()
        assert vault.verify("content").ok


@pytest.mark.parametrize("level", ["quick", "stored"])
@pytest.mark.parametrize("name", ["a batch less", "a batch more", "a pack less", "a shorter pack"])
def test_an_index_with_other_batches_is_named_at_every_level(
    copy: Path, name: str, level: str
) -> None:
    """Which batches there are, and where, is compared without reading a single entry."""
    with closing(sqlite3.connect(_index(copy))) as index, index:
        index.execute(INDEX_FORGERIES[name])
    index.close()

    assert _kinds(_verified(copy, level)) & {"index", "missing-batch", "truncated"}


def test_hiding_the_newest_batch_is_named(copy: Path) -> None:
    """An index made to end earlier than its packs is contradicted by what stands there."""
    before = _index(copy).read_bytes()
    with Vault(copy) as vault:
        vault.put_many(entries(2, start=70))
    _index(copy).write_bytes(before)
    with closing(sqlite3.connect(_index(copy))) as index, index:
        index.execute("UPDATE pack SET sealed = 1")
    index.close()

    assert _kinds(_verified(copy, "quick")) == {"hidden"}


@pytest.mark.parametrize("name", INDEX_FORGERIES)
def test_a_forged_index_gives_nobody_a_message(copy: Path, name: str) -> None:
    """Whatever the index says, eve owns nothing, and reads nothing; nothing falls over."""
    with closing(sqlite3.connect(_index(copy))) as index, index:
        index.execute(INDEX_FORGERIES[name])
        index.execute("INSERT OR IGNORE INTO user VALUES (99, CAST('eve' AS BLOB))")
        index.execute(
            "INSERT INTO message SELECT 99, at, head, 'eve' || key, copies"
            " FROM message WHERE user = 1"
        )
        index.execute(
            "INSERT INTO owner SELECT 99, head, entry, 1, 1, 1, own, search"
            " FROM owner WHERE user = 1"
        )
    index.close()

    with Vault(copy) as vault:
        eve = vault.view(UserId("eve"))
        try:
            found = list(eve.messages())
        except SinkCorrupt:
            found = []
        for message in found:
            with pytest.raises(MailArchiveError):
                message.content()


@pytest.mark.parametrize("level", ["quick", "stored"])
def test_bytes_that_unpack_to_something_else_are_the_content_level_s(
    open_vault: OpenVault, folder: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Only unpacking shows that stored bytes never were the message; reading shows it too."""
    other = monkeypatch.context()
    with other as patch:
        patch.setattr("mailarchive.vault._zstd.compress", lambda data, level: b"no frame")
        open_vault().put(entry(mail()))
    with Vault(folder) as vault:
        (seen,) = vault.view(BOB).messages()
        assert vault.verify(level).ok
        assert _kinds(vault.verify("content")) == {"frame"}
        with pytest.raises(SinkCorrupt):
            seen.content()


def test_a_manifest_with_a_wrong_offset_is_named(
    open_vault: OpenVault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is not where the manifest says is found, and never read as another."""
    with monkeypatch.context() as patch:
        honest = _manifest.StoredObject.line
        patch.setattr(
            _manifest.StoredObject,
            "line",
            lambda self: honest(evolve(self, offset=1024 - self.offset)),
        )
        open_vault().put_many(entries(2))

    with Vault(folder) as vault:
        vault.rebuild()
        assert "misplaced" in _kinds(vault.verify("quick"))
        for seen in vault.view(BOB).messages():
            with pytest.raises(SinkCorrupt):
                seen.content()


def test_a_damage_costs_only_what_it_hit(copy: Path) -> None:
    """With a header and a manifest spoiled and no index, every other batch is still read."""
    pack = _packs(copy)[0]
    raw = bytearray(pack.read_bytes())
    raw[100] ^= 0xFF
    pack.write_bytes(raw)

    report = _verified(copy, "content", index=False)

    assert "header" in _kinds(report)
    with Vault(copy) as vault:
        readable = 0
        for seen in vault.view(BOB).messages():
            try:
                seen.content()
            except SinkCorrupt:
                continue
            readable += 1
        assert readable == 24
        vault.put_many(entries(3))
        assert len([each.content() for each in vault.view(BOB).messages()]) == 25
