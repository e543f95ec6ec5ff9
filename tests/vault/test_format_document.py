"""The description of the format is enough: what it says, and its reader, hold of our vaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import entries, entry, journaled, mail, to

from mailarchive import Copy, Digest, Fidelity, Provenance, entry_id
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from mailarchive import ArchiveEntry

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "vault-format.md"


def _block(word: str) -> str:
    """The block of the document in which this stands."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    (found,) = (each for each in blocks if word in each)
    return str(found)


def _read(top: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The mail that the reader of the document finds in the vault in `top`."""
    monkeypatch.chdir(top)
    code, _, rest = _block("mail = {}").partition("\nassert len(mail)")
    assert rest == " == 284\n"
    names: dict[str, Any] = {}
    exec(code, names)
    found: dict[str, bytes] = names["mail"]
    return found


def _of(every: list[ArchiveEntry]) -> dict[str, bytes]:
    return {each.id.hex: each.raw for each in every}


COPIES = [
    Copy("journal", "INBOX", "1"),
    Copy("ews", "folder\0", "key", "revision"),
    Copy("bücher", "\ud800", "😀", ""),
]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("fidelity", Fidelity)
def test_an_id_is_what_the_document_says(tmp_path: Path, copy: Copy, fidelity: Fidelity) -> None:
    """Its formula, given a line of a manifest, gives the id on that line."""
    names: dict[str, Any] = {}
    exec(_block("def entry_id"), names)
    id_ = entry_id(copy, Digest.of(mail(1)), fidelity)
    one = entry(mail(1), copy=copy, id=id_, provenance=Provenance(fidelity))
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        vault.put(one)

    (line,) = (it for it in forged.manifests(tmp_path / "acme.vault")[0] if it["kind"] == "entry")
    assert names["entry_id"](line) == line["id"] == id_.hex


def test_its_reader_reads_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything, with what was stored twice, in several volumes, and put again."""
    every = [*entries(9), entry(mail(1), key="x"), journaled(mail(20), [to("bob@example.com")])]
    with Vault(tmp_path / "acme.vault", keys=None, pack_size=4_000, volume_size=4_000) as vault:
        for each in every:
            vault.put(each)

    assert _read(tmp_path, monkeypatch) == _of(every)


def test_its_reader_passes_over_what_was_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where others need the same bytes, or they were stored anew."""
    every = [*entries(4), entry(mail(1), key="same")]
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        vault.put_many(every)
        vault.keeper("Ada", "request").erase(every[0].id, every[1].id)
        vault.put(again := entry(mail(0), key="again"))

    assert _read(tmp_path, monkeypatch) == _of([*every[2:], again])


def test_its_reader_passes_over_what_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack that ends in the middle of a header or a member, or holds nothing at all."""
    every = entries(3)
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        vault.put_many(every)
    (pack,) = tmp_path.rglob("*.tar")
    whole = pack.read_bytes()
    for n, end in enumerate((0, 100, 600, 1300, len(whole) - 700)):
        pack.with_name(f"20991231T000000Z-1-0123456789a{n}.tar").write_bytes(whole[:end])
    pack.write_bytes(whole + whole[:700])

    assert _read(tmp_path, monkeypatch) == _of(every)


def test_its_reader_passes_over_what_was_poisoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch behind the length of a poisoned pack does not count, however whole it is."""
    folder, every = tmp_path / "acme.vault", entries(3)
    with Vault(folder, keys=None) as vault:
        vault.put_many(every)
        (pack,) = folder.rglob("*.tar")
        length = pack.stat().st_size
        vault.put(failed := entry(mail(9), key="9"))
    (first, _), said = forged.manifests(folder), {"kind": "poisoned", "pack": pack.stem}
    behind = {"sequence": 2, "previous": forged.digest(first)}
    later = forged.append(folder, {**said, "length": length}, **behind)

    assert _read(tmp_path, monkeypatch) == _of(every)

    later.unlink()
    forged.append(folder, {**said, "length": 0})
    assert _read(tmp_path, monkeypatch) == _of([*every, failed]), "a batch names it"


def test_its_reader_fails_at_what_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is missing is passed over in silence."""
    with Vault(tmp_path / "acme.vault", keys=None) as vault:
        vault.put_many(every := entries(3))
    folder = tmp_path / "acme.vault"
    forged.empty(folder, forged.place_of(folder, every[1].raw_digest.hex))

    with pytest.raises(KeyError):
        _read(tmp_path, monkeypatch)
