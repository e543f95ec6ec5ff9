"""What is held stays, what must be kept is kept, and what is erased is gone, on record."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from support import forged
from support.vaults import Clock, entries, entry, everything, journaled, mail, to

from mailarchive import Digest, Rejected, UserId
from mailarchive.errors import (
    ConfigurationError,
    Erased,
    SinkCorrupt,
    SinkError,
    SinkNotWritable,
    UnderHold,
    UnderRetention,
    Unsupported,
)
from mailarchive.testing.fuse import Crash, Fuse
from mailarchive.vault import FileKeys, Keeper, Selection, Vault

if TYPE_CHECKING:
    from pathlib import Path

    from support.vaults import OpenVault

ALICE, BOB, CAROL = map(UserId, ("alice", "bob", "carol"))
EVERYTHING = Selection()
FIRST, LAST = (each.replace(tzinfo=UTC) for each in (datetime.min, datetime.max))  # noqa: DTZ901
BODY = b"a secret that must not be found in any file " * 20


def _keeper(vault: Vault) -> Keeper:
    return vault.keeper("officer", "case 7")


def _expired(keeper: Keeper) -> list[Digest]:
    return [each.id for each in keeper.expired()]


# -- holds --------------------------------------------------------------------------------


def test_what_is_held_cannot_be_erased_until_it_is_released(vault: Vault) -> None:
    """A hold wins; of two matters both must be released."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    keeper.hold("first", Selection(users=[BOB]))
    keeper.hold("second", Selection(entries=[one.id]))

    for matter in ("first", "second"):
        with pytest.raises(UnderHold):
            keeper.erase(one.id)
        keeper.release(matter)
    keeper.erase(one.id)

    assert vault.view(BOB).count() == 0


def test_a_hold_covers_what_comes_later(vault: Vault) -> None:
    """Mail of a custodian that arrives under the hold is held too, and no other's."""
    keeper = _keeper(vault)
    keeper.hold("matter", Selection(users=[CAROL]))
    vault.put(hers := entry(mail(1), owners={"carol": ("carol@example.com",)}, key="1"))
    vault.put(his := entry(mail(2), owners={"bob": ("bob@example.com",)}, key="2"))

    with pytest.raises(UnderHold):
        keeper.erase(his.id, hers.id)
    assert vault.view(BOB).count() == 1
    assert keeper.status(hers.id).matters == ("matter",)
    assert keeper.status(his.id).matters == ()
    keeper.erase(his.id)


def test_holds_are_facts(open_vault: OpenVault) -> None:
    """Who, why, when and what are on record, and stand again in another process."""
    keeper = _keeper(open_vault())
    since = datetime(2026, 1, 1, tzinfo=UTC)
    held = keeper.hold("matter", Selection(users=[BOB], since=since))

    (again,) = _keeper(open_vault()).holds()
    assert again == held
    assert (again.matter, again.actor, again.reason) == ("matter", "officer", "case 7")
    assert keeper.release("matter") == (held,)
    assert _keeper(open_vault()).holds() == ()
    with pytest.raises(SinkError):
        keeper.release("matter")


# -- retention ----------------------------------------------------------------------------


def test_retention_is_only_extended(vault: Vault, clock: Clock) -> None:
    """The longest that was ever said of a message counts."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    keeper.retain(EVERYTHING, until=clock.now + timedelta(days=10))
    keeper.retain(EVERYTHING, until=clock.now + timedelta(days=2))

    clock.advance(days=9)
    with pytest.raises(UnderRetention):
        keeper.erase(one.id)
    assert _expired(keeper) == []
    clock.advance(days=2)
    assert _expired(keeper) == [one.id]
    keeper.erase(one.id)
    assert _expired(keeper) == []


def test_days_count_from_the_archiving(vault: Vault, clock: Clock) -> None:
    """A date that a sender chose shortens nothing."""
    keeper = _keeper(vault)
    keeper.retain(EVERYTHING, days=30)
    vault.put(early := entry(mail(1), key="1"))
    clock.advance(days=20)
    vault.put(late := entry(mail(2), key="2"))

    clock.advance(days=11)
    assert _expired(keeper) == [early.id]
    with pytest.raises(UnderRetention):
        keeper.erase(late.id)
    assert keeper.status(late.id).until == clock.now + timedelta(days=19)


def test_for_ever_is_for_ever(vault: Vault, clock: Clock) -> None:
    """With neither a time nor days, and of what nobody spoke, there is no candidate."""
    vault.put(one := entry(mail(1), key="1", owners={"bob": ("bob@example.com",)}))
    vault.put(entry(mail(2), key="2", owners={"carol": ("carol@example.com",)}))
    keeper = _keeper(vault)
    keeper.retain(Selection(users=[BOB]))

    clock.advance(days=365 * 100)
    assert _expired(keeper) == []
    with pytest.raises(UnderRetention):
        keeper.erase(one.id)


def test_what_was_said_of_one_owner_erases_nothing_of_the_others(
    vault: Vault, clock: Clock
) -> None:
    """A message goes for all of its owners, so something must be said of the mail of each."""
    shared, his, nobodys = (
        entry(mail(n), key=str(n), owners={user: (f"{user}@example.com",) for user in users})
        for n, users in enumerate((["alice", "bob"], ["bob"], []))
    )
    vault.put_many([shared, his, nobodys])
    keeper = _keeper(vault)
    keeper.retain(Selection(users=[BOB]), days=1)
    clock.advance(days=2)

    assert _expired(keeper) == [his.id]
    assert keeper.status(shared.id).undecided == {ALICE}
    keeper.retain(Selection(users=[ALICE]), days=5)
    assert _expired(keeper) == [his.id]
    assert keeper.status(shared.id).undecided == frozenset()
    clock.advance(days=4)
    assert _expired(keeper) == [shared.id, his.id]
    keeper.retain(EVERYTHING, days=1)
    assert _expired(keeper) == [shared.id, his.id, nobodys.id]


def test_a_rule_for_other_mail_of_an_owner_is_none_for_this(vault: Vault, clock: Clock) -> None:
    """Dates and ids bound what is said of each owner as well."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    keeper.retain(Selection(users=[BOB]), days=1)
    keeper.retain(Selection(users=[ALICE], until=datetime(2000, 1, 1, tzinfo=UTC)), days=1)
    keeper.retain(Selection(entries=[Digest.of(b"another")]), days=1)
    clock.advance(days=2)

    assert _expired(keeper) == []
    keeper.retain(Selection(users=[ALICE], entries=[one.id]), days=1)
    assert _expired(keeper) == [one.id]


def test_retention_does_not_end_before_it_is_said(vault: Vault, clock: Clock) -> None:
    """A time that is over keeps nothing, and would only let mail go."""
    vault.put(entry(mail(1)))
    keeper = _keeper(vault)

    for until in (clock.now, clock.now - timedelta(days=2000)):
        with pytest.raises(ConfigurationError):
            keeper.retain(EVERYTHING, until=until)
    assert (keeper.retentions(), _expired(keeper)) == ((), [])


def test_candidates_say_what_a_person_judges_by(vault: Vault, clock: Clock) -> None:
    """Whose, how old and how large; of a selection alone, and of entries by their ids."""
    vault.put_many(some := entries(2))
    keeper = _keeper(vault)
    keeper.retain(EVERYTHING, days=1)
    clock.advance(days=2)

    (found,) = keeper.expired(Selection(entries=[some[1].id]))
    assert (found.id, found.owners, found.size) == (
        some[1].id,
        frozenset({ALICE, BOB}),
        len(some[1].raw),
    )
    assert found.at == some[1].received_at
    assert "bob" not in repr(found)
    assert keeper.candidates(some[1].id, some[1].id) == (found,)
    keeper.erase(some[1].id)
    assert keeper.candidates(some[1].id) == ()
    keeper.hold("matter", EVERYTHING)
    with pytest.raises(UnderHold):
        keeper.candidates(some[0].id)


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_entry_is_found_by_the_beginning_of_its_id(tmp_path: Path, *, encrypted: bool) -> None:
    """As an auditor's list has it, also where the vault calls it something else."""
    FileKeys.create(tmp_path / "key")
    keys = FileKeys(tmp_path / "key") if encrypted else None
    with Vault(tmp_path / "vault", keys=keys) as vault:
        vault.put_many(some := entries(2))
        keeper = _keeper(vault)
        for beginning in (some[1].id.hex, some[1].id.hex[:12].upper()):
            assert keeper.entry(beginning) == some[1].id
        for nobodys in ("0" * 64, "0" * 8):
            with pytest.raises(SinkError):
                keeper.entry(nobodys)
        for nonsense in ("", "nonsense", some[1].id.hex[:7], "%" * 8):
            with pytest.raises(ConfigurationError):
                keeper.entry(nonsense)


def test_a_hold_outlasts_retention(vault: Vault, clock: Clock) -> None:
    """What is held is no candidate, however long its retention is over."""
    vault.put(one := entry(mail(1)))
    keeper = _keeper(vault)
    keeper.retain(EVERYTHING, days=1)
    keeper.hold("matter", EVERYTHING)
    clock.advance(days=5)

    assert _expired(keeper) == []
    keeper.release("matter")
    assert _expired(keeper) == [one.id]


RULE = st.tuples(st.sampled_from([None, "bob", "carol"]), st.integers(1, 6), st.booleans())


@given(st.lists(RULE, max_size=4), st.lists(st.sampled_from(["bob", "carol"]), max_size=2))
@settings(max_examples=25, deadline=None)
def test_candidates_are_what_may_be_erased(
    tmp_path_factory: pytest.TempPathFactory, rules: list[Any], held: list[str]
) -> None:
    """`expired` yields exactly those whose status says: ended, and held by nobody."""
    clock = Clock()
    with Vault(tmp_path_factory.mktemp("v") / "vault", keys=None, clock=clock) as vault:
        every = [
            entry(mail(n), key=str(n), owners={user: (f"{user}@example.com",) for user in users})
            for n, users in enumerate((["bob"], ["carol"], ["dave"], ["bob", "carol"], []))
        ]
        vault.put_many(every)
        keeper = _keeper(vault)
        for user, days, absolute in rules:
            selection = Selection(users=None if user is None else [UserId(user)])
            if absolute:
                keeper.retain(selection, until=clock.now + timedelta(days=days))
            else:
                keeper.retain(selection, days=days)
        for user in held:
            keeper.hold(f"of {user}", Selection(users=[UserId(user)]))
        clock.advance(days=3, seconds=1)

        statuses = {each.id: keeper.status(each.id) for each in every}
        ended = {
            id_
            for id_, it in statuses.items()
            if it.until is not None
            and it.until <= clock.now
            and not it.matters
            and not it.undecided
        }
        assert set(_expired(keeper)) == ended


# -- erasing ------------------------------------------------------------------------------


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_erased_is_gone(open_vault: OpenVault, folder: Path) -> None:
    """No view, search or auditor has it, and its bytes are in no file; the rest stays."""
    vault = open_vault(compression_level=1)
    one = entry(mail(1, body=BODY), key="1")
    vault.put_many([one, *entries(3, start=2)])
    vault.update_search()
    packs = [path.read_bytes() for path in folder.rglob("*.tar")]
    (stored,) = (m for m in vault.auditor("x", "y").entries() if m.id == one.id)
    assert stored.location is not None
    name = stored.location.rpartition("/")[2].removesuffix(".zst")

    done = _keeper(vault).erase(one.id)

    assert [each.hex for each in done.overwritten] == [name]
    assert vault.view(BOB).count() == 3
    assert vault.view(BOB).count(words="secret") == 0
    (audited,) = (m for m in vault.auditor("x", "y").entries() if m.id == one.id)
    assert (audited.erased, audited.location) == (True, None)
    for read in (audited.raw, audited.content, audited.originals):
        with pytest.raises(Erased):
            read()
    frame = _member(packs[0], name)
    assert frame not in _bytes(folder)
    assert vault.verify("content").findings == ()


def _member(pack: bytes, name: str) -> bytes:
    at = pack.index(name.encode())
    size = int(pack[at - 2 + 124 : at - 2 + 135], 8)
    return pack[at - 2 + 512 : at - 2 + 512 + size]


def test_bytes_that_another_entry_needs_stay(vault: Vault) -> None:
    """The same bytes of another copy are read as before; with the last one they go."""
    same = [entry(mail(1), key=str(n)) for n in range(2)]
    vault.put_many(same)
    keeper = _keeper(vault)

    assert keeper.erase(same[0].id).overwritten == ()
    (left,) = vault.view(BOB).messages()
    assert left.content() == mail(1)
    assert vault.verify("content").ok
    assert len(keeper.erase(same[1].id).overwritten) == 1
    assert vault.view(BOB).count() == 0


def test_a_fork_that_stays_is_still_shown(vault: Vault) -> None:
    """Of two forks one is erased: the message keeps its key, with the other behind."""
    other = mail(1).replace(b"Subject", b"Received: by x\r\nSubject")
    forks = [entry(mail(1), key="1"), entry(other, key="2"), entry(other, key="3")]
    vault.put_many(forks)
    (before,) = vault.view(BOB).messages()
    keeper = _keeper(vault)

    keeper.erase(forks[0].id)

    (after,) = vault.view(BOB).messages()
    assert (after.key, after.copies, after.content()) == (before.key, 1, other)
    keeper.erase(forks[1].id)
    (last,) = vault.view(BOB).messages()
    assert (last.copies, last.content()) == (1, other)


def test_originals_of_their_own_go_too(vault: Vault) -> None:
    """What was transfer-encoded in its report is overwritten with it."""
    vault.put(one := journaled(mail(1), [to("bob@example.com")], encoded=True))

    assert len(_keeper(vault).erase(one.id).overwritten) == 2
    assert vault.verify("content").ok


def test_what_was_erased_is_not_taken_again(vault: Vault) -> None:
    """The same item is refused, and so goes to no view; another item with its bytes is new."""
    vault.put(one := entry(mail(1), key="1"))
    _keeper(vault).erase(one.id)

    assert isinstance(vault.put(one), Rejected)
    assert vault.view(BOB).count() == 0
    vault.put(entry(mail(1), key="2"))
    (found,) = vault.view(BOB).messages()
    assert found.content() == mail(1)
    assert vault.verify("content").ok


def test_a_receipt_of_what_was_erased_reads_nothing(vault: Vault) -> None:
    """Reading it back says that it was erased, and is no damage."""
    receipt = vault.put(one := entry(mail(1)))
    _keeper(vault).erase(one.id)

    assert not isinstance(receipt, Rejected)
    with pytest.raises(Erased):
        vault.read(receipt)


def test_erasing_again_changes_nothing(vault: Vault) -> None:
    """What is erased stays so; an id that never was is an error, and nothing is erased."""
    vault.put_many(some := entries(2))
    keeper = _keeper(vault)
    with pytest.raises(SinkError):
        keeper.erase(some[0].id, Digest.of(b"never"))
    assert vault.view(BOB).count() == 2
    keeper.erase(some[0].id)
    before = vault.verify().size

    assert keeper.erase(some[0].id).overwritten == ()
    assert vault.verify().size == before


def test_a_rebuild_forgets_as_well(open_vault: OpenVault, folder: Path) -> None:
    """What was erased follows from the packs alone."""
    vault = open_vault()
    vault.put_many(some := entries(6))
    other = mail(3).replace(b"Subject", b"Received: by x\r\nSubject")
    vault.put(entry(other, key="x"))
    keeper = _keeper(vault)
    keeper.erase(some[1].id, some[3].id)
    vault.put(entry(mail(1), key="y"))
    before = everything_but_erased(vault)

    vault.rebuild()

    assert everything_but_erased(vault) == before
    assert vault.verify("content").findings == ()


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_left_of_a_message_has_its_own_time(tmp_path: Path, *, encrypted: bool) -> None:
    """An index that is made anew lists it where it was: the keys of what was erased are gone."""
    FileKeys.create(tmp_path / "key")
    keys = FileKeys(tmp_path / "key") if encrypted else None
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (5, 10, 20)]
    one, between, other = (
        evolve(it, envelope=evolve(it.envelope, date=day))
        for it, day in zip(entries(3), days, strict=True)
    )
    other = evolve(other, fork_key=one.fork_key)
    with Vault(tmp_path / "v", keys=keys) as vault:
        vault.put_many([one, between, other])
        _keeper(vault).erase(one.id)
        view = vault.view(BOB)
        before = list(view.messages())

        vault.rebuild()

        assert list(view.messages()) == before
        assert [it.date for it in before] == [days[2], days[1]]
        assert view.count(since=days[2]) == 1
        assert vault.verify("content").ok


@pytest.mark.parametrize(
    ("date", "at"),
    [
        (FIRST.replace(tzinfo=timezone(timedelta(hours=14))), FIRST),
        (FIRST, FIRST),
        (LAST.replace(tzinfo=timezone(-timedelta(hours=12))), datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_no_date_of_a_message_keeps_the_others_from_being_listed(
    vault: Vault, clock: Clock, date: datetime, at: datetime
) -> None:
    """A date may have no name in UTC; what may go is listed all the same."""
    some = entries(2)
    vault.put(evolve(some[0], envelope=evolve(some[0].envelope, date=date)))
    vault.put(some[1])
    keeper = _keeper(vault)
    keeper.retain(Selection(), days=1)
    clock.advance(days=2)

    assert next(keeper.expired()).at == at
    assert len(keeper.candidates(*(it.id for it in some))) == 2


def everything_but_erased(vault: Vault) -> Any:
    """Return what users see, and what the auditor sees of every entry."""
    auditor = vault.auditor("x", "y")
    seen = {
        user: [(each, each.content()) for each in vault.view(user).messages()]
        for user in auditor.users()
    }
    return seen, list(auditor.entries())


def test_an_old_copy_put_back_shows(open_vault: OpenVault, folder: Path) -> None:
    """Bytes that were erased and are there again are a finding, and so are zeros elsewhere."""
    vault = open_vault()
    vault.put_many(some := entries(2))
    (pack,) = folder.rglob("*.tar")
    before = pack.read_bytes()
    _keeper(vault).erase(some[0].id)
    after = pack.read_bytes()

    pack.write_bytes(before + after[len(before) :])
    assert {each.kind for each in vault.verify("stored").findings} == {"unerased"}
    assert vault.verify("quick").ok

    start = after.index(b"b/") + 512
    other = after.index(b"b/", start) + 512
    pack.write_bytes(after[:other] + bytes(64) + after[other + 64 :])
    assert {each.kind for each in vault.verify("stored").findings} == {"digest"}


@pytest.mark.parametrize("pack_size", [1, 512 << 20])
@pytest.mark.parametrize("lost", [False, True])
def test_a_crash_leaves_it_there_or_gone(
    folder: Path, clock: Clock, pack_size: int, *, lost: bool
) -> None:
    """At every step: afterwards it is whole, or opening the vault finishes the erasing."""
    for at in range(200):
        here = folder.with_name(f"{at}.vault")
        how: dict[str, Any] = {"clock": clock, "pack_size": pack_size}
        with Vault(here, keys=None, **how) as vault:
            vault.put_many(some := entries(3))
        try:
            with Vault(here, fuse=Fuse(at), **how) as vault:
                _keeper(vault).erase(some[1].id)
        except Crash:
            pass
        else:
            assert at > 5
            return
        if lost:
            forged.forget_index(here)
        with Vault(here, **how) as vault:
            assert vault.verify("content").findings == ()
            gone = _keeper(vault).status(some[1].id).erased
            assert vault.view(BOB).count() == (2 if gone else 3)
            _keeper(vault).erase(some[1].id)
            assert vault.view(BOB).count() == 2
    pytest.fail("the fuse never held")


def test_bytes_that_are_half_overwritten_are_overwritten_to_the_end(
    folder: Path, clock: Clock
) -> None:
    """Power failed meanwhile, and the index is gone too: what the packs say is enough."""
    how: dict[str, Any] = {"clock": clock, "pack_size": 1}
    with Vault(folder, keys=None, **how) as vault:
        vault.put_many(some := entries(3))
        _keeper(vault).erase(some[1].id)
    pack, offset = place = forged.place_of(folder, some[1].raw_digest.hex)
    (said,) = (it for it in folder.rglob("*.tar") if b'"kind":"reclaimed"' in it.read_bytes())
    said.unlink()  # it was not written yet
    (file,) = folder.rglob(f"{pack}.tar")
    with file.open("r+b") as half:
        half.seek(offset + 512)
        half.write(b"half")
    forged.forget_index(folder)

    with Vault(folder, **how) as vault:
        assert vault.verify("content").findings == ()
        assert vault.view(BOB).count() == 2
    with file.open("rb") as read:
        read.seek(offset + 512)
        assert read.read(4) == bytes(4)
    assert forged.place_of(folder, some[1].raw_digest.hex) == place


def test_an_index_alone_erases_nothing(open_vault: OpenVault, folder: Path) -> None:
    """A forged index makes a vault overwrite nothing: a fact in a pack must say so too."""
    with Vault(folder, keys=None) as vault:
        vault.put_many(some := entries(3))
    with closing(sqlite3.connect(folder / "volumes" / "0001" / "index.db")) as index, index:
        index.execute("UPDATE entry SET erased = 1 WHERE id = ?", (some[1].id.value,))
        index.execute(
            "INSERT INTO gone (batch, offset, stored, stored_size, reclaimed)"
            " SELECT batch, offset, stored, stored_size, 0 FROM object"
        )
    index.close()

    with pytest.raises(SinkCorrupt):
        open_vault()
    (folder / "volumes" / "0001" / "index.db").unlink()
    assert open_vault().verify("content").ok
    assert open_vault().view(BOB).count() == 3


# -- who ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("who", " ")])
def test_nobody_decides_without_a_name(vault: Vault, actor: str, reason: str) -> None:
    """An act without who and why is refused."""
    with pytest.raises(Unsupported):
        vault.keeper(actor, reason)


def test_what_cannot_be_meant_is_refused(vault: Vault) -> None:
    """Times without a zone, no day at all, and selections without a bound."""
    keeper = _keeper(vault)
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(ConfigurationError):
        keeper.retain(EVERYTHING, until=naive)
    with pytest.raises(ConfigurationError):
        keeper.retain(EVERYTHING, days=0)
    with pytest.raises(ConfigurationError):  # on record it could not be read, and kept for ever
        keeper.retain(EVERYTHING, days=True)
    assert vault.verify().ok
    assert not keeper.retentions()
    with pytest.raises(ConfigurationError):
        keeper.hold("m", Selection(since=naive))
    with pytest.raises(ConfigurationError):
        keeper.hold("m", Selection(users=[UserId(str(n)) for n in range(10_001)]))
    keeper.hold("m", Selection(entries=[Digest.of(b"%d" % n) for n in range(10_000)]))
    with pytest.raises(SinkError):
        keeper.status(Digest.of(b"1"))


def test_reading_alone_decides_nothing(open_vault: OpenVault) -> None:
    """A vault opened for reading states no facts, and shows those that stand."""
    keeper = _keeper(open_vault())
    keeper.hold("m", EVERYTHING)

    reader = _keeper(open_vault(read_only=True))
    assert len(reader.holds()) == 1
    for act in (
        lambda: reader.hold("n", EVERYTHING),
        lambda: reader.release("m"),
        lambda: reader.retain(EVERYTHING, days=1),
        reader.erase,
    ):
        with pytest.raises(SinkNotWritable):
            act()


@pytest.mark.parametrize("user", ["../../x", "\0", "' OR 1=1 --", "\ud800", "😀"])
def test_any_user_can_be_selected(vault: Vault, user: str) -> None:
    """An id is any text, and only itself."""
    vault.put(one := entry(mail(1), owners={user: ("x@example.com",)}))
    keeper = _keeper(vault)
    keeper.hold("m", Selection(users=[UserId(user)]))

    assert keeper.status(one.id).matters == ("m",)
    assert everything(vault)
