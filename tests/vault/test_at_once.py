"""Several at once: threads, forks, interruptions, and an erasure while somebody reads."""

from __future__ import annotations

import os
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import pytest
from support.vaults import entries, entry, mail

from mailarchive import Receipt, UserId
from mailarchive.errors import SinkError
from mailarchive.users import StaticMap
from mailarchive.vault import FileKeys, Vault, _writer
from mailarchive.vault._index import Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOB = UserId("bob")
PRECIOUS = b"precious data " * 2000


class At:
    """A fuse that holds whoever comes to a step, until it is let go."""

    def __init__(self, step: str) -> None:
        """Nobody is held before it is armed."""
        self.step, self.armed = step, False
        self.here, self.go = threading.Event(), threading.Event()

    def __call__(self, step: str) -> None:
        """Hold the first one."""
        if self.armed and step == self.step and not self.here.is_set():
            self.here.set()
            assert self.go.wait(20)


def _in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except SinkError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


@pytest.mark.parametrize("step", ["write", "sync file", "commit index"])
def test_closing_waits_for_a_put_that_is_under_way(tmp_path: Path, step: str) -> None:
    """A handle that was closed is soon another file's: nothing of ours may be written to it."""
    fuse = At(step)
    vault = Vault(tmp_path / "v", keys=None, fuse=fuse)
    with vault:
        vault.put(entry(mail(1), key="1"))
        fuse.armed = True
        putting, stored = _in_thread(lambda: vault.put(entry(mail(2), key="2")))
        assert fuse.here.wait(20)
        closing, _ = _in_thread(lambda: vault.__exit__(None, None, None))
        others = [tmp_path / f"precious{n}" for n in range(20)]
        for each in others:
            each.write_bytes(PRECIOUS)
        handles = [os.open(each, os.O_RDWR) for each in others]
        fuse.go.set()
        putting.join(20)
        closing.join(20)
        for handle in handles:
            os.close(handle)

    assert isinstance(stored[0], Receipt)
    assert {each.read_bytes() for each in others} == {PRECIOUS}


def test_a_put_into_a_vault_that_was_closed_is_told_so(tmp_path: Path) -> None:
    """Whatever it met with on the way is of no interest."""
    with Vault(tmp_path / "v", keys=None) as vault:
        pass
    with pytest.raises(SinkError, match="not open"):
        vault.put(entry(mail(1)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is nothing to fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_may_not_use_the_vault_of_its_parent(tmp_path: Path) -> None:
    """The kernel takes both for one, and no lock keeps them apart."""
    with Vault(tmp_path / "v", keys=None) as vault:
        vault.put(entry(mail(1), key="1"))
        child = os.fork()
        if not child:
            try:
                vault.put(entry(mail(2), key="2"))
            except SinkError as error:
                os._exit(7 if "forked" in str(error) else 8)
            os._exit(9)
        _, status = os.waitpid(child, 0)
        vault.put(entry(mail(3), key="3"))

        assert os.waitstatus_to_exitcode(status) == 7
        assert vault.view(BOB).count() == 2
        assert vault.verify("content").ok


def test_an_interruption_waits_for_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may go on after it finds no write under way, however often it is interrupted."""
    monkeypatch.setattr(_writer, "_LITTLE", 0)
    fuse = At("write")
    with Vault(tmp_path / "v", keys=None, fuse=fuse) as vault:
        vault.put(entry(mail(0), key="0"))
        fuse.armed = True
        interruptions = iter([KeyboardInterrupt, KeyboardInterrupt])
        ordinary = futures.wait

        def wait(waiting: Any) -> Any:
            if (again := next(interruptions, None)) is not None:
                raise again
            fuse.go.set()
            return ordinary(waiting)

        def interrupted(*_: object, **__: object) -> None:
            assert fuse.here.wait(20)
            raise KeyboardInterrupt

        monkeypatch.setattr(Index, "apply", interrupted)
        monkeypatch.setattr(futures, "wait", wait)
        with pytest.raises(KeyboardInterrupt):
            vault.put(entry(mail(1), key="1"))
        monkeypatch.undo()
        again = vault.put_many([entry(mail(n), key=str(n)) for n in range(3)])

        assert all(isinstance(each, Receipt) for each in again)
        assert vault.view(BOB).count() == 3
        assert vault.verify("content").ok
    with Vault(tmp_path / "v") as vault:
        vault.rebuild()
        assert vault.verify("content").ok


def test_what_is_erased_while_it_is_listed_is_passed_over(tmp_path: Path) -> None:
    """The list was read before; it accuses nobody, and the others come."""
    with Vault(tmp_path / "v", keys=None) as vault:
        every = entries(6)
        vault.put_many(every)
        listing = vault.view(BOB).messages()
        first = next(listing)
        keeper = vault.keeper("officer", "case")
        keeper.erase(*(each.id for each in every if each.raw != first.content()))

        assert list(listing) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_was_granted_and_then_erased_is_listed_as_erased(
    tmp_path: Path, *, encrypted: bool
) -> None:
    """The key to the grant went with the key to the message."""
    keys = FileKeys.create(tmp_path / "acme.key") if encrypted else None
    with Vault(tmp_path / "v", keys=keys) as vault:
        raw = b"To: new@example.com\r\n\r\nhello\r\n"
        one = entry(raw, owners={}, unresolved=("new@example.com",), key="new")
        vault.put_many([one, *entries(2)])
        assert vault.reattribute(StaticMap({"new@example.com": "new"})) == 1
        vault.keeper("officer", "case").erase(one.id)

        listed = list(vault.auditor("officer", "case").entries())

    assert [each.erased for each in listed] == [True, False, False]


def test_an_index_made_anew_after_an_erasure_is_not_accused(tmp_path: Path) -> None:
    """The bytes of the newest batch of a pack are looked at then, and may be gone on purpose."""
    with Vault(tmp_path / "v", keys=None, pack_size=4096) as vault:
        for n in range(6):
            vault.put(entry(mail(n, body=os.urandom(3000)), key=str(n)))
        for each in list(vault.auditor("officer", "case").entries()):
            vault.keeper("officer", "case").erase(each.id)
        vault.rebuild()

        assert [vault.verify(level).findings for level in ("stored", "content", "log")] == [()] * 3


@pytest.mark.parametrize("level", ["stored", "content", "log"])
def test_what_is_erased_while_it_is_verified_is_no_damage(tmp_path: Path, level: str) -> None:
    """Others may go on writing; what was changed behind everybody's back is found all the same."""
    every = entries(6)
    with (
        Vault(tmp_path / "v", keys=None) as vault,
        Vault(tmp_path / "v", read_only=True) as reader,
    ):
        for each in every:
            vault.put(each)
        todo = [every[4]]

        def meanwhile(done: int, of: int) -> None:
            del done, of
            while todo:
                vault.keeper("officer", "case").erase(todo.pop().id)

        assert reader.verify(level, on_progress=meanwhile).findings == ()
        assert reader.verify(level).findings == ()
        (pack,) = (tmp_path / "v").rglob("*.tar")
        data = bytearray(pack.read_bytes())
        data[600] ^= 1
        pack.write_bytes(data)
        todo.append(every[5])
        found = reader.verify(level, on_progress=meanwhile).findings

    assert "digest" in {each.kind for each in found}
