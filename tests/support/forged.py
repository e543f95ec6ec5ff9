"""What somebody who can write in a vault, and has no key, puts into it by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mailarchive import Digest
from mailarchive.vault import _tar

if TYPE_CHECKING:
    from pathlib import Path

PACK = "20991231T000000Z-1-0123456789ab"
AT = "2026-03-01T12:00:00+00:00"


def members(pack: Path) -> list[tuple[int, str, bytes]]:
    """Return offset, name and content of each member of a pack."""
    data, offset, found = pack.read_bytes(), 0, []
    while (parsed := _tar.parse(data[offset : offset + 512])) is not None:
        name, size = parsed
        found.append((offset, name, data[offset + 512 : offset + 512 + size]))
        offset += _tar.member_size(size)
    return found


def manifests(folder: Path) -> list[list[dict[str, Any]]]:
    """Return the lines of each batch of a vault, in order."""
    found = [
        [json.loads(line) for line in data.splitlines()]
        for pack in folder.glob("volumes/*/packs/*.tar")
        for _, name, data in members(pack)
        if name.startswith("m/")
    ]
    return sorted(found, key=lambda lines: int(lines[0]["sequence"]))


def append(folder: Path, *lines: dict[str, Any] | str, **changes: Any) -> Path:
    """Put a batch with these lines into a new pack, behind all others; return the pack.

    `changes` are made in its head.
    """
    packs = sorted(folder.glob("volumes/*/packs/*.tar"))
    batches = [
        (json.loads(data.split(b"\n")[0]), data)
        for pack in packs
        for _, name, data in members(pack)
        if name.startswith("m/")
    ]
    head, last = max(batches, key=lambda each: int(each[0]["sequence"]))
    number = head["sequence"] + 1
    pack = f"{PACK[:-2]}{number % 100:02d}"
    mine = {"sequence": number, "previous": Digest.of(last).hex, "offset": 0, "objects": 0}
    texts = [each if isinstance(each, str) else _line(each) for each in lines]
    data = "\n".join([_line({**head, **mine, "pack": pack, **changes}), *texts, ""]).encode()
    made = packs[0].with_name(f"{pack}.tar")
    name = f"m/{Digest.of(data).hex}.jsonl"
    padding = bytes(_tar.padding(len(data)))
    made.write_bytes(_tar.header(name, len(data)) + data + padding + _tar.TRAILER)
    return made


def append_object(folder: Path, raw: bytes, frame: bytes) -> Path:
    """Put an object into a new pack that is said to be of `raw`; return the pack."""
    stored = Digest.of(frame).hex
    member = _tar.header(f"b/{stored}.zst", len(frame)) + frame + bytes(_tar.padding(len(frame)))
    line = {"kind": "object", "stored": stored, "stored_size": len(frame), "offset": 0}
    said = {"raw": Digest.of(raw).hex, "size": len(raw), "suite": "zstd"}
    made = append(folder, {**line, **said}, objects=1)
    made.write_bytes(member + made.read_bytes())
    return made


def digest(lines: list[dict[str, Any]]) -> str:
    """Return the digest of the manifest that has these lines."""
    return Digest.of("\n".join([*map(_line, lines), ""]).encode()).hex


def _line(tree: dict[str, Any]) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def erased(entry: str, at: str = AT) -> dict[str, Any]:
    """Return the fact that an entry was erased, as anybody can write it."""
    return {"kind": "erased", "entry": entry, "actor": "x", "reason": "y", "at": at}


def reclaimed(place: tuple[str, int]) -> dict[str, Any]:
    """Return the fact that bytes were overwritten."""
    return {"kind": "reclaimed", "objects": [{"pack": place[0], "offset": place[1]}]}


def place_of(folder: Path, raw: str) -> tuple[str, int]:
    """Return the pack and the offset of the bytes that a vault calls so."""
    return next(
        (lines[0]["pack"], line["offset"])
        for lines in manifests(folder)
        for line in lines
        if line["kind"] == "object" and line["raw"] == raw
    )


def empty(folder: Path, place: tuple[str, int]) -> None:
    """Overwrite a stored message with zeros."""
    (pack,) = folder.glob(f"volumes/*/packs/{place[0]}.tar")
    data = bytearray(pack.read_bytes())
    size = int(data[place[1] + 124 : place[1] + 135], 8)
    data[place[1] + 512 : place[1] + 512 + size] = bytes(size)
    pack.write_bytes(data)


def forget_index(folder: Path) -> None:
    """Delete the index, so that it is made anew from the packs."""
    for file in folder.glob("volumes/0001/index.db*"):
        file.unlink()
