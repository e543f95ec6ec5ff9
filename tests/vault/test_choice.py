"""Whether a vault is encrypted is said by whoever makes it, and nothing is made before."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from support.vaults import entries, receipts

from mailarchive import UserId
from mailarchive.errors import ConfigurationError, KeyUnavailable, SinkError
from mailarchive.vault import FileKeys, Vault
from mailarchive.vault._choice import UNDECIDED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    """Keys in a file beside the vault."""
    return FileKeys.create(tmp_path / "acme.key")


def _all(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_nothing_is_written_while_it_is_undecided(tmp_path: Path) -> None:
    """Neither the folder, nor one above it; and the error says both ways out."""
    with (
        pytest.raises(ConfigurationError, match="encrypted") as caught,
        Vault(tmp_path / "deep" / "acme.vault"),
    ):
        pass

    assert "None for keys" in caught.value.suggestions[0]
    assert "give keys" in caught.value.suggestions[0]
    assert "cannot be changed later" in caught.value.suggestions[1]
    assert str(tmp_path) not in f"{caught.value} {caught.value.suggestions}"
    assert _all(tmp_path) == []


@pytest.mark.parametrize("beside", [None, "state.db"])
def test_an_empty_folder_stays_as_it_is(folder: Path, beside: str | None) -> None:
    """Also one that holds what a run puts there before there is a vault."""
    folder.mkdir()
    if beside is not None:
        (folder / beside).touch()
    before = _all(folder)
    with pytest.raises(ConfigurationError, match="encrypted"), Vault(folder):
        pass

    assert _all(folder) == before


def test_what_is_no_vault_is_told_as_ever(folder: Path) -> None:
    """A decision would not help: the folder of something else is refused for what it is."""
    folder.mkdir()
    (folder / "letter.txt").touch()
    with pytest.raises(SinkError, match="no vault"), Vault(folder):
        pass


@pytest.mark.parametrize("setting", ["create", "read_only"])
def test_who_makes_none_need_not_decide(folder: Path, setting: str) -> None:
    """Where none would be made the vault is missing, and that is all there is to say."""
    with (
        pytest.raises(SinkError, match="there is no vault"),
        Vault(folder, create=setting != "create", read_only=setting == "read_only"),
    ):
        pass

    assert not folder.exists()


def test_a_vault_that_exists_opens_without_saying_it_again(folder: Path) -> None:
    """For writing, for reading alone, and where none is to be made."""
    with Vault(folder, keys=None) as vault:
        receipts(vault.put_many(entries(1)))
    with Vault(folder) as vault:
        receipts(vault.put_many(entries(1, start=1)))
    with Vault(folder, create=False) as vault:
        assert vault.view(UserId("bob")).count() == 2
    with Vault(folder, read_only=True) as vault:
        assert vault.view(UserId("bob")).count() == 2
    with Vault(folder, keys=None, read_only=True) as vault:
        assert vault.view(UserId("bob")).count() == 2


def test_an_encrypted_vault_is_closed_until_its_keys_are_given(
    folder: Path, keys: FileKeys
) -> None:
    """Without keys it can be verified; a word that it has none is not taken."""
    with Vault(folder, keys=keys) as vault:
        receipts(vault.put_many(entries(1)))
    before = (folder / "vault.json").read_bytes()

    with Vault(folder) as vault:
        assert vault.verify("stored").ok
        with pytest.raises(KeyUnavailable, match="without its keys"):
            vault.view(UserId("bob"))
    with pytest.raises(KeyUnavailable, match="as one that is not"), Vault(folder, keys=None):
        pass
    with Vault(folder, keys=keys) as vault:
        assert vault.view(UserId("bob")).count() == 1
    assert (folder / "vault.json").read_bytes() == before


def test_keys_are_refused_by_a_vault_that_has_none(folder: Path, keys: FileKeys) -> None:
    """What was decided once stays so."""
    with Vault(folder, keys=None):
        pass
    with pytest.raises(ConfigurationError, match="without encryption"), Vault(folder, keys=keys):
        pass


def test_what_stands_for_undecided_is_one_value_and_says_so() -> None:
    """A signature shows it as what it is, and a copy of it is itself."""
    assert repr(UNDECIDED) == "UNDECIDED"
    assert pickle.loads(pickle.dumps(UNDECIDED)) is UNDECIDED
