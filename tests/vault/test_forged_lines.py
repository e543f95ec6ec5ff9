"""In an encrypted vault nothing counts that nobody with its keys wrote, and all of it is named."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support import forged
from support.vaults import Clock, entry, mail, receipts

from mailarchive import UserId
from mailarchive.errors import MailArchiveError
from mailarchive.vault import FileKeys, Level, Selection, Vault, _record, _recovery, _verify
from mailarchive.vault._encrypting import Encryption

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.vault._keyring import EntryKey

ALICE, MALLORY = UserId("alice"), UserId("mallory")
FROM_ALICE = {"alice": ("alice@example.com",)}
SECRET = mail(1, body=b"Merger.\r\n", extra=b"Bcc: secret@example.com\r\n")


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    """What the folder's writer lacks."""
    return FileKeys.create(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path, keys: FileKeys, clock: Clock) -> Path:
    """A vault with two messages of Alice's, of which one is under a hold."""
    folder = tmp_path / "v"
    with Vault(folder, keys=keys, clock=clock) as vault:
        vault.put(entry(SECRET, key="1", owners=FROM_ALICE))
        vault.put(entry(mail(2), key="2", owners=FROM_ALICE))
        keeper = vault.keeper("counsel", "case 17")
        keeper.hold("case 17", Selection())
        keeper.release("case 17")
        keeper.hold("case 17", Selection())
    return folder


def _lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [line for lines in forged.manifests(folder) for line in lines if line["kind"] == kind]


def _granted(folder: Path, clock: Clock) -> list[dict[str, Any]]:
    """Lines by which each entry would be Mallory's, as if Mallory had sent it."""
    owner = {"user": "mallory", "addresses": ["alice@example.com"]}
    return [
        {
            "kind": "granted",
            "entry": line["id"],
            "owners": [owner],
            "fork": f"{n:064x}",
            "at": clock().isoformat(),
        }
        for n, line in enumerate(_lines(folder, "entry"))
    ]


def _found(vault: Vault) -> list[list[str]]:
    """What each level finds that can be asked for."""
    closed = vault._opened().encryption is None
    levels = [level for level in Level if level is not Level.CONTENT or not closed]
    return [[each.kind for each in vault.verify(level).findings] for level in levels]


def _named(folder: Path, keys: FileKeys, clock: Clock) -> bool:
    """Whether every level names it, with keys and without, with the index and without one."""
    found: list[list[str]] = []
    for _ in range(2):
        with Vault(folder, clock=clock, read_only=True, keys=keys) as vault:
            found += _found(vault)
        with Vault(folder, clock=clock, read_only=True) as vault:
            found += _found(vault)
        forged.forget_index(folder)
    return all("forged" in each for each in found)


def test_an_honest_vault_is_accused_of_nothing(folder: Path, keys: FileKeys, clock: Clock) -> None:
    """However often the same is held and released."""
    with Vault(folder, clock=clock, keys=keys) as vault:
        keeper = vault.keeper("counsel", "case 17")
        for _ in range(3):
            keeper.release("case 17")
            keeper.hold("case 17", Selection())
        vault.auditor("auditor", "audit")
        vault.auditor("auditor", "audit")
        assert _found(vault) == [[]] * len(Level)


def test_a_grant_in_clear_shows_nobody_anything(
    folder: Path, keys: FileKeys, clock: Clock
) -> None:
    """Names of entries are no secret in the manifests; what they are an envelope of is."""
    forged.append(folder, *_granted(folder, clock))

    for read_only in (False, True):
        with Vault(folder, clock=clock, keys=keys, read_only=read_only) as vault:
            view = vault.view(MALLORY)
            assert view.count() == view.count(words="merger") == 0
            assert not list(view.messages())
            assert vault.view(ALICE).count() == 2
    assert _named(folder, keys, clock)


def test_a_grant_in_clear_keeps_nobody_from_erasing(
    folder: Path, keys: FileKeys, clock: Clock
) -> None:
    """Nobody need ask whether an owner whom nobody wrote is held."""
    forged.append(folder, *_granted(folder, clock))

    with Vault(folder, clock=clock, keys=keys) as vault:
        keeper = vault.keeper("counsel", "case 17")
        keeper.release("case 17")
        keeper.hold("another", Selection(users=[MALLORY]))
        one = next(iter(vault.auditor("counsel", "erasing").entries()))
        assert keeper.erase(one.id).overwritten


def test_an_entry_in_clear_is_nobodys(folder: Path, keys: FileKeys, clock: Clock) -> None:
    """Nor does it come between a reader and what is really there."""
    victim = _lines(folder, "entry")[0]
    mine = _record.record_of(entry(mail(7), key="7", owners={"mallory": ("m@example.com",)}), {})
    line = {**_record.dump(mine), "raw": victim["raw"], "size": victim["size"]}
    forged.append(folder, line)

    with Vault(folder, clock=clock, keys=keys) as vault:
        assert vault.view(MALLORY).count() == 0
        assert receipts([vault.put(entry(mail(8), key="8"))])
        assert [each.content() for each in vault.view(ALICE).messages()].count(SECRET) == 1
    assert _named(folder, keys, clock)


def _recoded(line: dict[str, Any]) -> dict[str, Any]:
    """The same line, encrypted to the same bytes in another text, where there is one."""
    text = line["encrypted"]
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        stem = text.rstrip("=")
        other = stem[:-1] + last + "=" * (len(text) - len(stem))
        if other != text and base64.b64decode(other) == base64.b64decode(text):
            return {**line, "encrypted": other}
    return line


@pytest.mark.parametrize("recoded", [False, True])
def test_a_fact_counts_once(folder: Path, keys: FileKeys, clock: Clock, recoded: bool) -> None:
    """An old release, put in again behind a new hold, releases nothing and is named."""
    (line,) = _lines(folder, "released")
    forged.append(folder, _recoded(line) if recoded else line)

    with Vault(folder, clock=clock, keys=keys) as vault:
        keeper = vault.keeper("counsel", "case 17")
        assert [each.matter for each in keeper.holds()] == ["case 17"]
        one = next(iter(vault.auditor("counsel", "erasing").entries()))
        with pytest.raises(MailArchiveError):
            keeper.erase(one.id)
        assert vault.view(ALICE).count() == 2
    assert _named(folder, keys, clock)


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "released", "matter": "case 17"},
        {"kind": "released", "encrypted": "AAAA"},
        {"kind": "reading", "actor": "nobody", "reason": "", "at": forged.AT},
        {"kind": "entry", "id": "0" * 64, "raw": "1" * 64, "size": 1, "encrypted": "AAAA"},
        {"kind": "granted", "entry": "0" * 64, "owners": [], "encrypted": "?"},
    ],
)
def test_what_does_not_open_does_not_count(
    folder: Path, keys: FileKeys, clock: Clock, line: dict[str, Any]
) -> None:
    """Nor does it keep anybody from putting more."""
    forged.append(folder, line)

    with Vault(folder, clock=clock, keys=keys) as vault:
        assert [each.matter for each in vault.keeper("a", "b").holds()] == ["case 17"]
        assert receipts([vault.put(entry(mail(9), key="9"))])
        assert all("forged" in each for each in _found(vault))


def _intent(folder: Path, text: str) -> None:
    damaged = folder / "volumes" / "0001" / "damaged"
    damaged.mkdir(exist_ok=True)
    (damaged / "repair.json").write_text(text)


def _repair(folder: Path, **more: object) -> dict[str, object]:
    pack = next(folder.glob("volumes/*/packs/*.tar")).stem
    return {
        "kind": "repair",
        "pack": pack,
        "damaged": None,
        "members": 1,
        "actor": "counsel",
        "reason": "closed",
        "at": forged.AT,
        **more,
    }


INTENTS: dict[str, dict[str, object]] = {
    "a release": {"kind": "released", "matter": "case 17"},
    "a release that looks like a repair": {"matter": "case 17"},
    "a grant": {"kind": "granted", "entry": "0" * 64, "owners": []},
    "no pack": {"pack": "../../../etc/passwd"},
    "no digest": {"damaged": 5},
    "no number": {"members": "many"},
    "no time": {"at": "yesterday"},
    "no zone": {"at": "2026-03-01T12:00:00"},
    "no text": {"reason": ["closed"]},
}


@pytest.mark.parametrize("what", INTENTS)
def test_an_intent_of_no_repair_has_nothing_written(
    folder: Path, keys: FileKeys, clock: Clock, what: str
) -> None:
    """The vault would encrypt it with its own keys; it is named, and left where it is."""
    _intent(folder, json.dumps([_repair(folder, **INTENTS[what])]))
    before = len(forged.manifests(folder))

    with Vault(folder, clock=clock, keys=keys) as vault:
        assert [each.matter for each in vault.keeper("a", "b").holds()] == ["case 17"]
        assert _found(vault) == [["repair"]] * len(Level)
    assert len(forged.manifests(folder)) == before


@pytest.mark.parametrize(
    "text",
    ["5", "[5]", "[{}]", "{}", '{"a":1}', '""', '"x"', "null", "[" * 100_000, "", "\x00"],
)
def test_an_intent_that_cannot_be_read_keeps_nobody_out(
    folder: Path, keys: FileKeys, clock: Clock, text: str
) -> None:
    """Nothing was replaced, as far as anybody can tell."""
    _intent(folder, text)

    with Vault(folder, clock=clock, keys=keys) as vault:
        assert vault.view(ALICE).count() == 2
        assert _found(vault) == [["repair"]] * len(Level)


# -- once ---------------------------------------------------------------------------------


def test_a_fact_is_decrypted_once_to_be_judged(
    folder: Path, keys: FileKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it opens shows that it is genuine: it is not opened again to be read."""
    decrypted: Counter[str] = Counter()
    whole = Encryption.opened

    def counting(self: Encryption, tree: dict[str, Any], key: EntryKey | None) -> dict[str, Any]:
        decrypted[tree["encrypted"]] += 1
        return whole(self, tree, key)

    with Vault(folder, keys=keys, clock=clock) as vault:
        name = vault._opened().index.name(entry(SECRET, key="1", owners=FROM_ALICE).id)
        monkeypatch.setattr(Encryption, "opened", counting)
        said = vault._opened().decided([name])

        assert said.is_known(name)
        assert said.against(name, clock()) == {"hold"}
    facts = [line["encrypted"] for kind in ("held", "released") for line in _lines(folder, kind)]
    assert [decrypted[each] for each in facts] == [1, 1, 1]


def test_misnumbered_batches_are_worked_out_once(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What verifies names them, and leaves them out, by the same answer."""
    asked: list[int] = []
    misnumbered = _recovery.misnumbered

    def counting(tails: Any, *numbers: Any) -> Any:
        asked.append(1)
        return misnumbered(tails, *numbers)

    with Vault(folder, clock=clock, read_only=True) as vault:
        for module in (_recovery, _verify):
            monkeypatch.setattr(module, "misnumbered", counting)
        assert vault.verify("quick").findings == ()

    assert asked == [1]
