"""The laws of trouble: a place that breaks is said to be broken, and is never taken for empty.

Nor is a message that cannot be read taken for gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from mailarchive._model import Fidelity, Kept, SourceMessage, Unavailable
from mailarchive.errors import MailArchiveError, Transient
from mailarchive.testing._source_kit import (
    SourceWorld,
    archived,
    is_honest,
    law,
    names_nobody,
    pages_of,
    raws_of,
    read,
    refs_of,
    scanned,
    two_pages,
    untried,
)
from mailarchive.testing._source_mail import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from mailarchive._model import Folder, MessageRef, Page
    from mailarchive.abc import Source

T = TypeVar("T")


@law
def only_our_errors_come_out(world: SourceWorld) -> str | None:
    """A place that breaks is an error of ours, and nothing is taken for gone or for removed.

    It breaks before a call, between two pages and between two messages.  Once it is whole
    again everything is read from where it was: by a source that is opened then, and where
    all errors were `Transient` by the one that met them.
    """
    if world.broken() is None:
        return untried(world, "broken", "the world cannot break its place: give it `broken`")
    two_pages(world)
    for trouble in (_before_each_call, _between_pages, _between_messages):
        _met(world, trouble)
    _at_the_opening(world)
    _removal(world)
    return None


def _met(world: SourceWorld, trouble: Callable[[_Notes, Source], None]) -> None:
    """Let a source meet trouble; see that it goes on afterwards, or another one does."""
    with world.source() as source:
        notes = _Notes(world, pages_of(world, source))
        trouble(notes, source)
        if notes.passes:
            notes.check_rest(source)
    with world.source() as source:
        notes.check_rest(source)


@define
class _Notes:
    """What there is to read, how far it was listed, and whether what came out may pass."""

    world: SourceWorld
    pages: Sequence[Page]
    token: str = field(init=False)
    passes: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        """Have listed the first page."""
        self.token = self.pages[0].token

    @property
    def refs(self) -> list[MessageRef]:
        """Everything that is there."""
        return refs_of(self.pages)

    @property
    def rest(self) -> list[MessageRef]:
        """Everything behind the first page."""
        return refs_of(self.pages[1:])

    def broken(self) -> AbstractContextManager[None]:
        """Break the place."""
        context = self.world.broken()
        assert context is not None, "the world cannot break its place any more"
        return context

    def tried(self, call: Callable[[], T]) -> T | None:
        """Return what a call gives; `None` where it raises an error of ours."""
        try:
            return call()
        except MailArchiveError as error:
            met = error
        is_honest(met)
        self.passes = self.passes and isinstance(met, Transient)
        return None

    def check_listed(self, pages: Iterable[Page], refs: Sequence[MessageRef]) -> None:
        """List from a broken place: all of it, or an error."""
        found = self.tried(lambda: refs_of(list(pages)))
        assert found is None or _keys(found) == _keys(refs), (
            "a place that is broken was taken for an empty one"
        )

    def check_read(
        self, items: Iterable[SourceMessage | Unavailable], refs: Iterable[MessageRef]
    ) -> None:
        """Read from a broken place: all of it, or an error; nothing is gone, or given up."""
        found = self.tried(lambda: list(items))
        if found is None:
            return
        assert {item.ref for item in found} >= set(refs), (
            "what a broken place does not hand over was taken for gone"
        )
        unread = [item for item in found if isinstance(item, Unavailable)]
        for item in unread:
            names_nobody(item.reason, "the reason of an Unavailable")
        lost = [item for item in unread if item.permanent]
        assert not lost, "what a broken place does not hand over was given up for good"

    def check_rest(self, source: Source) -> None:
        """Go on after the trouble, with a token and refs from before it."""
        rest = refs_of(pages_of(self.world, source, self.token))
        found = raws_of(list(source.fetch(self.refs)))
        assert _keys(rest) == _keys(self.rest), (
            "after the trouble a scan does not go on from where it was"
        )
        assert len(found) == len(self.refs), "after the trouble not everything is read"


def _keys(refs: Iterable[MessageRef]) -> list[str]:
    return [ref.key for ref in refs]


def _before_each_call(notes: _Notes, source: Source) -> None:
    folder = notes.world.folder(source)
    with notes.broken():
        folders = notes.tried(source.folders)
    assert folders != (), "a place that is broken has no folders any more, and no error"
    with notes.broken():
        notes.check_listed(scanned(source, folder, notes.token), notes.rest)
    with notes.broken():
        notes.check_read(source.fetch(notes.refs), notes.refs)


def _at_the_opening(world: SourceWorld) -> None:
    with world.source() as source:
        folder = world.folder(source)
        notes = _Notes(world, pages_of(world, source))
    with notes.broken():
        notes.tried(lambda: _open_and_list(notes, folder))
    with world.source() as source:
        notes.check_rest(source)


def _open_and_list(notes: _Notes, folder: Folder) -> None:
    with notes.world.source() as another:
        notes.check_listed(scanned(another, folder, notes.token), notes.rest)


def _between_pages(notes: _Notes, source: Source) -> None:
    scan = scanned(source, notes.world.folder(source))
    notes.token = next(scan).token
    with notes.broken():
        notes.check_listed(scan, notes.rest)


def _between_messages(notes: _Notes, source: Source) -> None:
    items = source.fetch(notes.refs)
    first = next(items)
    with notes.broken():
        notes.check_read(items, set(notes.refs) - {first.ref})


def _removal(world: SourceWorld) -> None:
    """Ask for the removal of some; what is said of each must be what became of it."""
    with world.source() as source:
        if not source.capabilities.removes:
            return
        notes = _Notes(world, pages_of(world, source))
        some = [archived(each) for each in read(world, source)[:2]]
        with notes.broken():
            results = notes.tried(lambda: source.remove(some))
    with world.source() as source:
        left = {message.ref for message in read(world, source)}

    gone = {each.ref for each in results or () if not isinstance(each, Kept)}
    others = set(notes.refs) - {each.ref for each in some}
    assert not gone & left, "what a broken place did not remove was taken for removed, or gone"
    assert left >= others, "after the trouble not everything is read"


@law
def a_message_that_cannot_be_read_harms_no_other(world: SourceWorld) -> str | None:
    """It is no message that is gone: it is told with a reason, and comes once it can be read.

    Neither does it hold up the others, which all come, nor is it given up for good.
    """
    world.deliver(messages(4))
    with world.source() as source:
        there = {item.ref: item.raw for item in read(world, source)}
        ref = refs_of(pages_of(world, source))[1]
    context = world.spoiled(ref)
    if context is None:
        words = (
            "the world cannot make a message unreadable: give it `spoiled`, or say in `cannot`"
            " why nobody could"
        )
        return untried(world, "spoiled", words)
    with context, world.source() as source:
        found = {item.ref: item for item in source.fetch(list(there))}
    _is_told(found.pop(ref, None))
    assert found.keys() == there.keys() - {ref}, "what cannot be read keeps others from being read"
    raws_of(list(found.values()))
    with world.source() as source:
        again = raws_of(list(source.fetch([ref])))
        wire = source.capabilities.fidelity is Fidelity.WIRE

    assert again == [there[ref]] or (again and not wire), "what can be read again does not come"
    return None


def _is_told(item: SourceMessage | Unavailable | None) -> None:
    """What cannot be read now is told so, with a reason, and tried again later."""
    assert item is not None, (
        "a message that cannot be read is taken for gone: it would never be read again"
    )
    assert isinstance(item, Unavailable), "a message that cannot be read was handed over"
    assert item.reason, "what is not available is so for a reason"
    names_nobody(item.reason, "the reason of an Unavailable")
    assert not item.permanent, "a message that cannot be read for a while was given up for good"


LAWS = (only_our_errors_come_out, a_message_that_cannot_be_read_harms_no_other)
"""Every one of them, in the order to read them."""
