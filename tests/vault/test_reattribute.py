"""Mail of nobody finds its owners later: by a fact, for those alone, and for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vaults import entry, everything, journaled, mail, to

from mailarchive import Address, Role, UserId
from mailarchive.errors import DirectoryError, SinkNotWritable
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.users import StaticMap
from mailarchive.vault import FileKeys, Vault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from support.vaults import OpenVault

    from mailarchive.vault._grants import Grant

BOB, DAVE, ERIN = map(UserId, ("bob", "dave", "erin"))
KNOWN = StaticMap({"dave@example.com": "dave", "bob@example.com": "bob"})


def test_who_is_known_later_gets_what_came_before(vault: Vault) -> None:
    """The new owner sees the message as if it had always been theirs; nobody else does."""
    vault.put(entry(mail(1), owners={}, unresolved=("dave@example.com", "x@else.org")))
    assert vault.view(DAVE).count() == 0

    assert vault.reattribute(KNOWN) == 1

    (found,) = vault.view(DAVE).messages()
    assert found.content() == mail(1)
    assert found.folders == ("Inbox",)
    assert vault.view(ERIN).count() == 0
    auditor = vault.auditor("test", "to look")
    assert list(auditor.unowned()) == []
    (audited,) = auditor.entries()
    assert audited.ownership.users == {DAVE}
    assert audited.ownership.unresolved == {Address("x@else.org")}


def test_again_it_changes_nothing(vault: Vault) -> None:
    """A second time, and for an address that is still unknown, no fact is written."""
    vault.put(entry(mail(1), owners={}, unresolved=("dave@example.com", "x@else.org")))
    vault.reattribute(KNOWN)
    before = vault.verify().size

    assert vault.reattribute(KNOWN) == 0
    assert vault.verify().size == before


def test_owners_there_keep_what_they_have(vault: Vault) -> None:
    """A further owner of a report sees their own line, and the others see what they saw."""
    report = journaled(
        mail(1),
        [to("bob@example.com"), to("dave@example.com", Role.BCC)],
        owners={"bob": ("bob@example.com",)},
        unresolved=("dave@example.com",),
    )
    vault.put(report)
    (before,) = vault.view(BOB).messages()

    assert vault.reattribute(KNOWN) == 1

    (bobs,) = vault.view(BOB).messages()
    (daves,) = vault.view(DAVE).messages()
    assert (bobs.recipients, bobs.key, bobs.folders) == (
        before.recipients,
        before.key,
        before.folders,
    )
    assert Address("dave@example.com") in {each.address for each in daves.recipients}
    assert Address("dave@example.com") not in {each.address for each in bobs.recipients}
    assert daves.folders == ()
    assert vault.view(DAVE).count(text="dave@example.com") == 1


def test_a_fork_that_was_theirs_stays_one_message(vault: Vault) -> None:
    """Granted another copy of what they have, they see one message, with that copy behind."""
    vault.put(entry(mail(1), owners={"dave": ("dave@example.com",)}, key="1"))
    other = mail(1).replace(b"Subject", b"Received: by x\r\nSubject")
    vault.put(entry(other, owners={}, unresolved=("dave@example.com",), key="2"))
    vault.put(entry(mail(1), owners={}, unresolved=("dave@example.com",), key="3"))

    assert vault.reattribute(KNOWN) == 2

    (found,) = vault.view(DAVE).messages()
    assert found.copies == 2
    assert {found.content(n) for n in range(2)} == {mail(1), other}


def test_a_rebuild_says_the_same(open_vault: OpenVault) -> None:
    """Grants follow from the packs alone, and verify finds nothing amiss."""
    vault = open_vault()
    vault.put_many(
        [
            entry(mail(n), owners={}, unresolved=("dave@example.com",), key=str(n))
            for n in range(700)
        ]
    )
    assert vault.reattribute(KNOWN) == 700
    before = everything(vault)

    vault.rebuild()

    assert everything(vault) == before
    assert vault.verify("content").findings == ()


@given(st.lists(st.sampled_from(["bob", "dave", "erin"]), unique=True))
@settings(max_examples=12, deadline=None)
def test_each_sees_exactly_what_their_addresses_made_theirs(
    tmp_path_factory: pytest.TempPathFactory, known: list[str]
) -> None:
    """Whoever is known later: the views are those of an archive that knew them at once."""
    both = ("dave@example.com", "erin@example.com", "bob@example.com")
    some = {each: each.partition("@")[0] for each in both if each.partition("@")[0] in known}
    with Vault(tmp_path_factory.mktemp("v") / "vault", keys=None) as vault:
        for n in range(3):
            vault.put(entry(mail(n), owners={}, unresolved=both[: n + 1], key=str(n)))
        vault.reattribute(StaticMap(some))

        for position, address in enumerate(both):
            user = address.partition("@")[0]
            expected = 3 - position if user in known else 0
            assert vault.view(UserId(user)).count() == expected


class _Broken:
    """A user map that raises what no user map may."""

    def resolve(self, addresses: Collection[Address], /) -> dict[Address, frozenset[UserId]]:
        """Fail with an address in the text."""
        raise KeyError(next(iter(addresses)).spec)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_what_is_erased_meanwhile_is_nobodys(
    tmp_path: Path, encrypted: bool, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process, while the map is asked or just before the grant is written."""
    keys = FileKeys.create(tmp_path / "keys") if encrypted else None
    with Vault(tmp_path / "v", keys=keys) as vault, Vault(tmp_path / "v", keys=keys) as other:
        vault.put_many(
            [
                entry(mail(n), key=str(n), owners={}, unresolved=("dave@example.com",))
                for n in range(2)
            ]
        )
        one = next(iter(vault.auditor("a", "b").entries()))

        def erase() -> None:
            other.keeper("a", "b").erase(one.id)

        class Asked:
            """A map that is slow enough."""

            def resolve(
                self, addresses: Collection[Address]
            ) -> Mapping[Address, frozenset[UserId]]:
                """Answer once the entry is gone, or soon will be."""
                if not late:
                    erase()
                return KNOWN.resolve(addresses)

        if late:
            session = vault._opened()
            give = session.give

            def then_give(some: Sequence[Grant]) -> int:
                erase()
                return give(some)

            monkeypatch.setattr(session, "give", then_give)
        assert vault.reattribute(Asked()) == 1
        assert vault.view(DAVE).count() == other.view(DAVE).count() == 1
        assert vault.verify("content").ok


def test_a_map_that_breaks_is_a_directory_error(vault: Vault) -> None:
    """Only our errors come out, without an address; nothing was given."""
    vault.put(entry(mail(1), owners={}, unresolved=("dave@example.com",)))

    with pytest.raises(DirectoryError) as caught:
        vault.reattribute(_Broken())
    assert "dave" not in str(caught.value)
    assert vault.view(DAVE).count() == 0


def test_reading_alone_gives_nothing(open_vault: OpenVault) -> None:
    """A vault opened for reading cannot state facts."""
    open_vault().put(entry(mail(1), owners={}, unresolved=("dave@example.com",)))

    with pytest.raises(SinkNotWritable):
        open_vault(read_only=True).reattribute(KNOWN)


def test_a_crash_gives_all_of_a_batch_or_nothing(folder: Path) -> None:
    """At every write: afterwards one more call completes it, and gives nothing twice."""
    for at in range(1, 60):
        here = folder.with_name(f"{at}.vault")
        with Vault(here, keys=None) as vault:
            for n in range(3):
                vault.put(entry(mail(n), owners={}, unresolved=("dave@example.com",), key=str(n)))
        fuse = Fuse(at)
        try:
            with Vault(here, fuse=fuse) as vault:
                vault.reattribute(KNOWN)
        except Crash:
            pass
        else:
            assert at > 3
            return
        with Vault(here) as vault:
            vault.reattribute(KNOWN)
            assert vault.view(DAVE).count() == 3
            assert vault.verify("content").ok
    pytest.fail("the fuse never held")
