"""The laws of every checkpoint store: what was saved comes back, and only that."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import suppress
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.file_sources import lesser_user

from mailarchive import (
    Archived,
    Checkpoint,
    Digest,
    Durability,
    MessageRef,
    Receipt,
    Retry,
    Stored,
)
from mailarchive.errors import AlreadyRunning, StateError
from mailarchive.state import FileCheckpoints, JobLock, SqliteCheckpoints, _json
from mailarchive.testing.fuse import Crash, Fuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._durable import Fuse as FuseLike

Store: TypeAlias = FileCheckpoints | SqliteCheckpoints

texts = st.text(max_size=30)
digests = st.binary(min_size=32, max_size=32).map(Digest)
receipts = st.builds(
    Receipt,
    sink=texts,
    entry_id=digests,
    stored_digest=digests,
    location=texts,
    outcome=st.sampled_from(Stored),
    durability=st.sampled_from(Durability),
    verified=st.booleans(),
)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Any checkpoint; its refs are of its own folder."""
    source, folder = draw(texts), draw(texts)
    refs = st.builds(
        MessageRef,
        source=st.just(source),
        folder=st.just(folder),
        key=texts,
        size=st.none() | st.integers(0),
        revision=st.none() | texts,
    )
    when = st.datetimes(timezones=st.just(UTC))
    retries = st.builds(Retry, ref=refs, reason=texts, attempts=st.integers(1), not_before=when)
    return Checkpoint(
        source,
        folder,
        draw(st.none() | texts),
        tuple(draw(st.lists(st.builds(Archived, ref=refs, receipt=receipts), max_size=3))),
        tuple(draw(st.lists(retries, max_size=3))),
    )


@given(checkpoints())
def test_a_checkpoint_survives_json(checkpoint: Checkpoint) -> None:
    """What is written is read again, whatever the names hold."""
    assert _json.load(_json.dump(checkpoint)) == checkpoint


@given(checkpoints(), st.data())
def test_a_cut_checkpoint_is_refused(checkpoint: Checkpoint, data: st.DataObject) -> None:
    """A damaged checkpoint is an error that says what to do, never a wrong answer."""
    whole = _json.dump(checkpoint)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(StateError, match="damaged"):
        _json.load(whole[:cut])


def test_a_checkpoint_of_a_later_release_is_refused() -> None:
    """It may owe something that this release does not know."""
    later = _json.dump(Checkpoint("s", "f")).replace(b'"format":1', b'"format":2')
    with pytest.raises(StateError, match="later release"):
        _json.load(later)


MAKERS: dict[str, Callable[[Path, FuseLike], Store]] = {
    "files": lambda path, fuse: FileCheckpoints(path / "deep" / "state", fuse=fuse),
    "sqlite": lambda path, fuse: SqliteCheckpoints(path / "deep" / "state.db", fuse=fuse),
}


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[FuseLike], Store]:
    """A maker of stores over one place on disk."""
    return lambda fuse: MAKERS[request.param](tmp_path, fuse)


NAMES = ["INBOX", "", "../../etc", "a/b", "nul\0", "\udcff", "ä" * 300, "inbox"]


def test_folders_never_meet(make: Callable[[FuseLike], Store]) -> None:
    """Each pair of names has its own checkpoint, even where they join to one text."""
    store = make(lambda step: None)
    pairs = [(source, folder) for source in (*NAMES, "IN") for folder in (*NAMES, "BOX")]
    for number, (source, folder) in enumerate(pairs):
        store.save(Checkpoint(source, folder, str(number)))

    again = make(lambda step: None)
    for number, (source, folder) in enumerate(pairs):
        found = again.load(source, folder)
        assert found is not None
        assert found.token == str(number)
    assert len(again.all()) == len(pairs)


def test_what_was_never_saved_is_none(make: Callable[[FuseLike], Store]) -> None:
    """An empty store knows nothing, and makes nothing to find that out."""
    store = make(lambda step: None)

    assert store.load("source", "folder") is None
    assert store.all() == ()


def test_a_crash_at_any_step_leaves_the_old_or_the_new(
    make: Callable[[FuseLike], Store],
) -> None:
    """A checkpoint is replaced whole or not at all."""
    make(lambda step: None).save(Checkpoint("s", "f", "old"))
    fuse = Fuse()
    make(fuse).save(Checkpoint("s", "f", "old"))
    for at in range(len(fuse.steps)):
        with suppress(Crash):
            make(Fuse(at)).save(Checkpoint("s", "f", "new"))
        found = make(lambda step: None).load("s", "f")
        assert found is not None
        assert found.token in {"old", "new"}
    make(lambda step: None).save(Checkpoint("s", "f", "newest"))
    found = make(lambda step: None).load("s", "f")
    assert found is not None
    assert found.token == "newest"


def test_a_place_that_cannot_be_written_is_our_error(
    make: Callable[[FuseLike], Store], tmp_path: Path
) -> None:
    """A file where the folder should be gives a typed error without a path in it."""
    (tmp_path / "deep").write_text("")
    with pytest.raises(StateError) as caught:
        make(lambda step: None).save(Checkpoint("s", "f"))
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.suggestions


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """By its file alone: there may be no state folder."""
    (tmp_path / "deep").write_text("")
    with pytest.raises(StateError) as caught, JobLock(tmp_path / "deep" / "run.lock"):
        pass
    assert "may write run.lock" in caught.value.suggestions[0]
    assert str(tmp_path) not in f"{caught.value} {caught.value.suggestions}"


def test_a_store_can_be_pickled(tmp_path: Path) -> None:
    """A store may travel to a worker."""
    store = SqliteCheckpoints(tmp_path / "state.db")
    pickle.loads(pickle.dumps(store)).save(Checkpoint("s", "f", "1"))

    found = store.load("s", "f")
    assert found is not None


def test_a_sqlite_store_syncs_before_save_returns(tmp_path: Path) -> None:
    """Each connection runs with the setting that survives a loss of power."""
    store = SqliteCheckpoints(tmp_path / "state.db")
    with store._connection("looking") as connection:
        (level,) = connection.execute("PRAGMA synchronous").fetchone()

    assert level == 3


def test_a_file_that_is_no_database_is_our_error(tmp_path: Path) -> None:
    """SQLite's own errors never come out."""
    (tmp_path / "state.db").write_bytes(b"no database at all, but long enough to be looked at" * 9)
    with pytest.raises(StateError) as caught:
        SqliteCheckpoints(tmp_path / "state.db").load("s", "f")
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert "state.db: SQLITE_NOTADB" in str(caught.value)
    assert "move state.db away" in caught.value.suggestions[0]


def test_a_place_that_may_not_be_entered_is_our_error() -> None:
    """Whether there is a checkpoint cannot even be asked."""
    with lesser_user() as place:
        (place / "closed").mkdir(mode=0)
        store = SqliteCheckpoints(place / "closed" / "state.db")
        for ask in (partial(store.load, "s", "f"), store.all):
            with pytest.raises(StateError, match=r"state\.db: PermissionError") as caught:
                ask()
            assert "may write state.db" in caught.value.suggestions[0]


def test_only_one_run_has_the_lock(tmp_path: Path) -> None:
    """The second one is told at once; the lock is free again when the first ends."""
    path = tmp_path / "deep" / "run.lock"
    with JobLock(path), pytest.raises(AlreadyRunning, match="same vault or state"), JobLock(path):
        pass
    with JobLock(path):
        assert path.stat().st_mode & 0o777 == 0o600
