"""Check a vault, with nothing of what wrote it: verify_vault.py VAULT CHECKPOINT ["KEY"]

The packs must give the log (RFC 6962) of the checkpoint, and all messages; KEY is who signed it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sys
import tarfile
from contextlib import suppress
from pathlib import Path


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def check(right: object, words: str) -> None:
    if not right:
        sys.exit(f"NOT what was sealed: {words}")


def leaves(data: bytes) -> list[bytes]:
    """The leaves of one manifest, as docs/reference/vault-format.md describes them."""
    top = json.loads((lines := data.splitlines())[0])
    batch = {"batch": top["sequence"]}
    made = [{"kind": "batch", "manifest": sha256(data).hex(), "pack": top["pack"], **batch}]
    for number, line in enumerate(lines[1 + top["objects"] :], 1 + top["objects"]):
        values, tree = {"record": line}, json.loads(line)
        if tree["kind"] == "entry" and "encrypted" not in tree:
            first = (tree.get("originals") or [{}])[0]
            whole = first.get("raw") or (not tree.get("is_report") and tree["raw"])
            digests = {"raw": tree["raw"], "content": tree.get("content") or whole}
            values |= {label: bytes.fromhex(each) for label, each in digests.items() if each}
        kind = "entry" if tree["kind"] == "entry" else "fact"
        made.append(leaf := {"kind": kind, "line": number, **batch, **tree.get("commitments", {})})
        for label, value in values.items():
            salt = hmac.digest(bytes.fromhex(top["salt"]), f"{label}:{number}".encode(), "sha256")
            leaf[label] = sha256(salt, value).hex()
    return [json.dumps(each, sort_keys=True, separators=(",", ":")).encode() for each in made]


def root(hashes: list[bytes]) -> bytes:
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256()
    cut = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1", root(hashes[:cut]), root(hashes[cut:]))


vault, (text, _, signed) = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes().partition(b"\n\n")
origin, size, expected = text.decode().splitlines()
PACK = re.compile(r"/(?!0+/)[0-9]{4,8}/packs/[0-9]{8}T[0-9]{6}Z-[0-9]{1,10}-[0-9a-f]{12}\.tar\Z")
packs = [each for each in vault.glob("volumes/*/packs/*.tar") if PACK.search(each.as_posix())]
check(all(map(Path.is_file, (vault / "vault.json", *packs))), "a pack or vault.json is no file")
check(json.loads((vault / "vault.json").read_bytes())["origin"] == origin, "it is another vault")
if len(sys.argv) > 3:  # noqa: PLR2004 - the key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key, mark = map(base64.b64decode, (sys.argv[3].split("+", 2)[2], signed.split()[2]))
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(mark[4:], text + b"\n")

stored, manifests, ends, log, objects, entries, erased = {}, {}, {}, [], [], {}, {}
for pack in packs:
    # An end that tar cannot read was never acknowledged, or the root will miss it.
    with suppress(tarfile.TarError), pack.open("rb") as file, tarfile.open(fileobj=file) as tar:
        while member := tar.next():
            file.seek(member.offset_data)
            digest = sha256(data := file.read(member.size)).hex()
            stored[pack.stem, member.offset] = digest if any(data) else "zeros"
            if member.name == f"m/{digest}.jsonl":
                lines = [json.loads(line) for line in data.splitlines()]
                manifests[digest] = lines[0]["sequence"], member.offset, data, lines
                ends |= {it["pack"]: it["length"] for it in lines if it["kind"] == "poisoned"}
named = {lines[0]["previous"] for *_, lines in manifests.values()}
for _, offset, data, (head, *lines) in sorted(manifests.values(), key=lambda each: each[:3]):
    if offset < ends.get(head["pack"], offset + 1) or sha256(data).hex() in named:
        if sealed := len(log) < int(size):
            log += [sha256(b"\0", leaf) for leaf in leaves(data)]
        for each in lines:
            if each["kind"] == "erased" and each["entry"] in entries:
                erased.setdefault(each["entry"], sealed)
            elif each["kind"] == "object" and sealed:
                objects.append((each["raw"], (head["pack"], each["offset"]), each["stored"]))
            elif each["kind"] == "entry" and sealed:
                parts = {one["raw"] for one in each.get("originals", ()) if "raw" in one}
                entries.setdefault(each["id"], {each["raw"], *parts, *each.get("parts", ())})
there = {raw for raw, place, digest in objects if stored.get(place) == digest}
lost = {raw for each in entries.keys() - erased for raw in entries[each]} - there
for raw, place, digest in objects:
    check(stored.get(place) in {digest, raw in lost or "zeros"}, f"a message in {place[0]}")
check(len(log) >= int(size), f"{size} lines were sealed, and only {len(log)} are there")
check(base64.b64encode(root(log[: int(size)])).decode() == expected, "its lines are others")
but = f", but {len(erased)} erased, {sum(not s for s in erased.values())} since," if erased else ""
print(f"{size} lines, and every message of theirs{but} are as they were sealed under {origin}")
