"""No damaged, short or garbled message is ever handed over.

The rows are what a stock client does with a broken answer: it hands out half a message, or
one with garbage in it, or nothing, and calls it a success.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ews import Desk, listed, raws, read

from mailarchive import Unavailable
from mailarchive.errors import SourceError
from mailarchive.sources._ews_answer import Damaged, replies
from mailarchive.sources._ews_limits import EwsLimits
from mailarchive.sources._ews_mime import Mime
from mailarchive.testing import ews_faults as faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mailarchive import SourceMessage
    from mailarchive.testing.ews_server import Fault

LASTING = 9
"""More often than any item is asked for."""


def told(items: list[SourceMessage | Unavailable]) -> list[str]:
    """Return the reasons for what could not be had."""
    return [item.reason for item in items if isinstance(item, Unavailable)]


@pytest.mark.parametrize("offset", range(4))
def test_a_truncation_marker_is_no_part_of_a_message(desk: Desk, offset: int) -> None:
    """At every offset of the base64; the others of the same answer come whole."""
    whole = desk.deliver(5)
    victim = desk.mailbox.deliver(b"Subject: victim\r\n\r\n" + b"x" * 300)
    desk.server.fault = faults.truncated(victim, keep=40 + offset)
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert told(items) == ["the server cut the message short and said so"]


def test_a_truncation_that_passes_costs_nothing(desk: Desk) -> None:
    """The item is asked for again, alone, and comes whole; the others are not read twice."""
    whole = desk.deliver(4)
    desk.server.fault = faults.times(1, faults.truncated())
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert desk.clock.waits == [1.0]


def test_xml_cut_inside_base64_gives_no_half_message(desk: Desk) -> None:
    """Where a lenient parser would take what came for the whole."""
    whole = desk.deliver(1, octets=3_000)

    def inside(answer: bytes) -> int:
        start = answer.index(b"<t:MimeContent")
        text = answer.index(b">", start) + 1
        return text + 1_000  # a multiple of four: the base64 that came is sound

    desk.server.fault = faults.on("GetItem", faults.times(2, faults.cut_xml(inside)))
    with desk.source() as source:
        items = read(source)

    assert raws(items) == whole


def test_xml_cut_in_the_last_item_harms_only_that_item(desk: Desk) -> None:
    """What was whole before the cut is handed over, and not asked for again."""
    whole = desk.deliver(4)
    cut = faults.cut_xml(lambda answer: answer.rindex(b"</t:Message>"))
    desk.server.fault = faults.on("GetItem", faults.times(1, cut))
    with desk.source() as source:
        items = read(source)
    (again,) = [asked for asked, _ in desk.server.transcript if b"IncludeMimeContent" in asked]

    assert raws(items) == sorted(whole)
    assert again.count(b"<t:ItemId ") == 1, "those that came whole were asked for again"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:20] + b"!*" + text[22:],
        lambda text: text[:20] + b"=" + text[21:],
        lambda text: text[:8] + b"QQ==" + text[8:],
        lambda text: text[:-1],
        lambda text: text + b"=",
        lambda text: b"=" + text,
        lambda text: text + b"QUJD" if text.endswith(b"=") else text + b"A",
        lambda text: b"",
        lambda text: text[:32] + b"<t:x/>" + text[32:],
        lambda text: text[:32] + b"<t:x>" + text[32:40] + b"</t:x>" + text[40:],
        lambda text: text[:30] + b"&#xFFFD;" + text[30:],
        lambda text: text[:30] + "\u00e9\u0142".encode() + text[30:],
    ],
    ids=range(12),
)
def test_wrong_base64_is_no_message(desk: Desk, damage: Callable[[bytes], bytes]) -> None:
    """Strange letters, padding in the middle, a missing or extra end, nothing at all."""
    whole = desk.deliver(3)
    victim = desk.mailbox.deliver(b"Subject: victim\r\n\r\n" + b"x" * 301)
    desk.server.fault = faults.damaged(damage, victim)
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert len(told(items)) == 1


def test_base64_in_lines_is_as_good_as_in_one(desk: Desk) -> None:
    """White space is no part of base64 (RFC 4648, 3.3 leaves it to the format; XML allows it)."""
    whole = desk.deliver(2, octets=500)
    desk.server.fault = faults.damaged(
        lambda text: b"\r\n ".join(text[at : at + 76] for at in range(0, len(text), 76))
    )
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        ("ErrorMimeContentConversionFailed", True),
        ("ErrorContentConversionFailed", True),
        ("ErrorUnsupportedMimeConversion", True),
        ("ErrorItemCorrupt", True),
        ("ErrorCorruptData", True),
        ("ErrorAccessDenied", False),
        ("ErrorMessageSizeExceeded", False),
        ("ErrorInternalServerError", False),
        ("ErrorVirusDetected", False),
    ],
)
def test_one_item_that_cannot_be_had_harms_no_other(
    desk: Desk, code: str, permanent: bool
) -> None:
    """Its code is the reason, and says whether it is worth asking again."""
    whole = desk.deliver(6)
    victim = desk.mailbox.deliver(b"Subject: victim\r\n\r\n")
    desk.mailbox.deliver(whole[0])
    victim.error = code
    with desk.source() as source:
        items = read(source)
    (unavailable,) = [item for item in items if isinstance(item, Unavailable)]

    assert raws(items) == sorted([*whole, whole[0]])
    assert code in unavailable.reason
    assert unavailable.permanent is permanent
    assert unavailable.ref.key == victim.id


def test_an_item_that_is_gone_is_left_out(desk: Desk) -> None:
    """It was moved or deleted after it was listed; its new place lists it."""
    desk.deliver(3)
    moved = desk.mailbox.deliver(b"Subject: moved\r\n\r\n")
    with desk.source() as source:
        refs = listed(source)
        desk.mailbox.move(moved, "sentitems")
        items = list(source.fetch(refs))

    assert len(items) == 3
    assert not told(items)


@pytest.mark.parametrize(
    "fault",
    [faults.doctype_bomb(), faults.answers_html(), faults.cut_xml(lambda answer: 0)],
    ids=["doctype", "html", "nothing"],
)
def test_what_is_no_answer_gives_no_message(desk: Desk, fault: Fault) -> None:
    """A document type is refused before it is read; a portal's page is no mail."""
    whole = desk.deliver(3)
    desk.server.fault = faults.on("GetItem", faults.times(1, fault))
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)


def test_items_are_never_taken_for_one_another(desk: Desk) -> None:
    """An answer in another order is damage, not a message under a wrong name."""
    desk.deliver(4)
    desk.server.fault = faults.times(LASTING, faults.items_swapped())
    with desk.source() as source:
        items = read(source)
    inbox = desk.mailbox.folder("inbox").items

    assert all(inbox[item.ref.key].raw == item.raw for item in items if hasattr(item, "raw"))
    assert len(raws(items)) == 4, "asked for one at a time they come"


def test_an_item_without_mime_is_no_empty_message(desk: Desk) -> None:
    """A success that leaves the MIME out has told nothing."""
    whole = desk.deliver(2)
    victim = desk.mailbox.deliver(b"")
    with desk.source() as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert [item.ref.key for item in items if isinstance(item, Unavailable)] == [victim.id]


def test_a_message_larger_than_the_limit_is_not_read(desk: Desk) -> None:
    """And the connection, half read, harms no other."""
    whole = desk.deliver(2)
    desk.mailbox.deliver(b"x" * 10_000)
    with desk.source(limits=EwsLimits(message_octets=5_000)) as source:
        items = read(source)

    assert raws(items) == sorted(whole)
    assert told(items) == ["larger than the limit of 5000 octets"]


@given(st.binary(max_size=200), st.integers(1, 9))
def test_base64_decodes_to_the_byte_however_it_arrives(raw: bytes, step: int) -> None:
    """In pieces of any size, what was encoded comes back."""
    text = base64.b64encode(raw).decode()
    mime = Mime(1_000)
    for at in range(0, len(text), step):
        mime.feed(text[at : at + step])

    assert mime.finish() == raw
    assert mime.damage is None


@given(st.binary(min_size=1, max_size=60), st.integers(1, 9), st.data())
def test_no_damage_of_base64_passes(raw: bytes, step: int, data: st.DataObject) -> None:
    """Whatever is cut off, put in or changed: never other bytes as if they were whole.

    A cut at a whole group of four, and a letter for another, are sound base64 of something
    else; the first is found by the end of the XML, the second by nobody.
    """
    text = base64.b64encode(raw).decode()
    at = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.text(alphabet="=!\u00e9 -_<", min_size=1, max_size=3))
    broken = text[:at] + junk + text[at:]
    mime = Mime(1_000)
    for start in range(0, len(broken), step):
        mime.feed(broken[start : start + step])
    got = mime.finish()

    assert mime.damage is not None or got == raw


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_break_the_reader(junk: bytes, step: int) -> None:
    """Whatever a server sends, the answer is read or is damaged, and nothing else happens."""
    envelope = b"<s:Envelope xmlns:s='s'><s:Body>%b</s:Body></s:Envelope>" % junk
    for text in (junk, envelope):
        pieces = (text[at : at + step] for at in range(0, len(text), step))
        with suppress(Damaged):
            list(replies(pieces, EwsLimits()))


def test_control_characters_in_a_name_do_no_harm(desk: Desk) -> None:
    """Exchange writes them as references that no parser takes; they are replaced."""
    odd = b"<s:Envelope xmlns:s='s'><XResponseMessage><a>&#x1;b&#2;&#xD;&#x1F600;&#xD800;</a>"
    whole = odd + b"</XResponseMessage></s:Envelope>"
    for step in (1, 2, 7, 1000):
        pieces = (whole[at : at + step] for at in range(0, len(whole), step))
        (reply,) = replies(pieces, EwsLimits())
        assert reply.at("a") == "\ufffdb\ufffd\r\U0001f600\ufffd"


@pytest.mark.parametrize(
    "flood",
    [
        lambda: (b"<a>" for _ in range(1_000)),
        lambda: (b"<XResponseMessage/>" for _ in range(100_000)),
        lambda: (b"<XResponseMessage><MimeContent>" + b"A" * 4_000,) + (b"A" * 4_000,) * 1_000,
        lambda: (b"<XResponseMessage><a>",) + (b"A" * 4_000,) * 1_000,
    ],
    ids=["depth", "parts", "mime", "text"],
)
def test_no_flood_is_read_to_its_end(flood: Callable[[], Iterable[bytes]]) -> None:
    """Depth, parts, text and messages have bounds that a server cannot exceed."""
    read_on: list[bytes] = []

    def pieces() -> Iterator[bytes]:
        yield b"<s:Envelope xmlns:s='s'><s:Body>"
        for piece in flood():
            read_on.append(piece)
            yield piece

    limits = EwsLimits(answer_octets=100_000, message_octets=100_000)
    with pytest.raises(Damaged):
        for _ in replies(pieces(), limits):
            pass
    assert sum(map(len, read_on)) < 1_000_000


def test_a_sync_state_larger_than_the_limit_is_not_kept(desk: Desk) -> None:
    """It would be saved with every page."""
    desk.deliver(1)
    end = b"</m:SyncState>"
    desk.server.fault = faults.on(
        "SyncFolderItems",
        lambda call: call.send(call.answer().replace(end, b"A" * 5_000 + end)),
    )
    source = desk.source(limits=EwsLimits(token_octets=1_000))
    with pytest.raises(SourceError, match="larger sync state"), source:
        read(source)
