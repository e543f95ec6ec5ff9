"""Digests taken in threads are the digests taken one after the other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Digest, Span, headers
from mailarchive._digesting import Digesting
from mailarchive.errors import SinkError

if TYPE_CHECKING:
    from support.world import World

SIZES = st.lists(st.integers(0, 300_000), max_size=12)


@given(SIZES)
def test_threads_change_nothing(sizes: list[int]) -> None:
    """Each message has its own digest and fork key, in the order given."""
    raws = [b"Subject: %d\r\n\r\n" % n + bytes([n]) * size for n, size in enumerate(sizes)]
    with Digesting.in_threads() as digesting:
        found = list(digesting.all(((raw, ()) for raw in raws), headers.fork_key))

    assert [digests.raw.digest for digests in found] == [Digest.of(raw) for raw in raws]
    assert [digests.fork_key for digests in found] == [headers.fork_key(raw) for raw in raws]
    assert all(digests.raw.raw is raw for digests, raw in zip(found, raws, strict=True))


@pytest.mark.parametrize("original", [Span(3, 40), b"Subject: inside\r\n\r\nbody"])
def test_the_fork_key_is_that_of_the_message_inside(original: Span | bytes) -> None:
    """A report and the bare message have one fork key, whether it is a part or stands beside."""
    raw = b"xx\nMessage-ID: <1@example.com>\r\n\r\nHello\r\nrest"
    content = original.of(raw) if isinstance(original, Span) else original

    (found,) = Digesting().all([(raw, (original,))], headers.fork_key)

    assert found.fork_key == headers.fork_key(content)


def test_no_thread_outlives_it() -> None:
    """Leaving the block joins what was started."""
    with Digesting.in_threads() as digesting:
        list(digesting.all([(bytes(600_000), ())] * 4, headers.fork_key))

    assert not [t for t in threading.enumerate() if t.name.startswith("mailarchive-sha256")]


def test_a_message_too_large_for_the_process_ends_a_run_as_an_error_of_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(7) It says what to do; the next run, with more memory, has it all."""
    messages = world.fill(3)
    with monkeypatch.context() as patch:
        patch.setattr(headers, "fork_key", failing)
        with pytest.raises(SinkError, match="no memory left"):
            world.run()

    world.run()

    assert messages == world.archived()


def failing(_: bytes) -> Digest:
    """Take more memory than there is."""
    raise MemoryError
