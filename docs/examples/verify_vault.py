"""Check a vault against a checkpoint that was kept elsewhere, without what wrote either.

    python verify_vault.py acme.vault checkpoint.txt ["verifier key"]

Every leaf of the log is made anew from the packs; their root (RFC 6962) must be that of the
checkpoint, every message what its digest says.  The signature is checked if the key is given.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import tarfile
from contextlib import suppress
from pathlib import Path


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def check(right: object, words: str) -> None:
    if not right:
        sys.exit(f"NOT what was sealed: {words}")


def members(pack: Path) -> list[tuple[int, str, bytes]]:
    """Offset, name and content of all members, as far as tar can read them."""
    found = []
    with pack.open("rb") as file, tarfile.open(fileobj=file) as tar, suppress(tarfile.TarError):
        while member := tar.next():
            file.seek(member.offset_data)
            found.append((member.offset, member.name, file.read(member.size)))
    return found  # an end that tar cannot read was never acknowledged, or the root will miss it


def leaves(data: bytes) -> list[bytes]:
    """The leaves of one manifest, as docs/reference/vault-format.md describes them."""
    top = json.loads((lines := data.splitlines())[0])
    batch = {"batch": top["sequence"]}
    found = [{"kind": "batch", "manifest": sha256(data).hex(), "pack": top["pack"], **batch}]
    for number, line in enumerate(lines[1 + top["objects"] :], 1 + top["objects"]):
        values, tree = {"record": line}, json.loads(line)
        told = tree.get("commitments", {})  # of an encrypted line: then no key is needed
        if tree["kind"] == "entry" and "encrypted" not in tree:
            first = (tree.get("originals") or [{}])[0]
            whole = first.get("raw") or (not tree.get("is_report") and tree["raw"])
            digests = {"raw": tree["raw"], "content": tree.get("content") or whole}
            values |= {label: bytes.fromhex(each) for label, each in digests.items() if each}
        kind = "entry" if tree["kind"] == "entry" else "fact"
        leaf = {"kind": kind, "line": number, **batch, **told}
        for label, value in values.items():
            salt = hmac.digest(bytes.fromhex(top["salt"]), f"{label}:{number}".encode(), "sha256")
            leaf[label] = sha256(salt, value).hex()
        found.append(leaf)
    return [json.dumps(each, sort_keys=True, separators=(",", ":")).encode() for each in found]


def root(hashes: list[bytes]) -> bytes:
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256()
    cut = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1", root(hashes[:cut]), root(hashes[cut:]))


vault, checkpoint = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
text, _, signatures = checkpoint.partition(b"\n\n")
origin, size, expected = text.decode().splitlines()
check(json.loads((vault / "vault.json").read_bytes())["origin"] == origin, "it is another vault")
if len(sys.argv) > 3:  # noqa: PLR2004 - the key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = base64.b64decode(sys.argv[3].split("+", 2)[2])[1:]
    signature = base64.b64decode(signatures.split()[2])[4:]
    Ed25519PublicKey.from_public_bytes(public).verify(signature, text + b"\n")

stored, manifests, log = {}, [], []
for pack in vault.glob("volumes/*/packs/*.tar"):
    for offset, name, data in members(pack):
        stored[pack.stem, offset] = sha256(data).hex() if any(data) else "zeros"
        if name == f"m/{sha256(data).hex()}.jsonl":
            manifests.append((json.loads(data.splitlines()[0])["sequence"], offset, data))
facts = [fact for _, _, data in manifests for fact in map(json.loads, data.splitlines())]
ends = {fact["pack"]: fact["length"] for fact in facts if fact["kind"] == "poisoned"}
gone = [each for fact in facts if fact["kind"] == "reclaimed" for each in fact["objects"]]
for number, offset, data in sorted(manifests):
    head, *lines = map(json.loads, data.splitlines())
    if len(log) < int(size) and offset < ends.get(head["pack"], offset + 1):
        log += [sha256(b"\0", leaf) for leaf in leaves(data)]
        for each in lines[: head["objects"]]:
            place = head["pack"], each["offset"]
            empty = {"pack": head["pack"], "offset": each["offset"]} in gone and "zeros"
            check(stored.get(place) in {each["stored"], empty}, f"a message of batch {number}")
check(len(log) >= int(size), f"{size} lines were sealed, and only {len(log)} are there")
check(base64.b64encode(root(log[: int(size)])).decode() == expected, "its lines are others")
print(f"{size} lines, and every message of theirs, are as they were sealed under {origin}")
