"""Microsoft's schema is kept, and would say so where it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from support.ews import Desk, listed, read, receipt_for

from mailarchive import SourceMessage
from mailarchive.sources._ews_requests import Target, envelope, move_items
from mailarchive.sources.ews import Contents, Disposal, FolderChoice, Store

if TYPE_CHECKING:
    from support.ews_schema import Schema

EVERYTHING = Contents(
    stores=tuple(Store), folder_classes=("*",), hidden_folders=True, associated=True
)


def test_every_request_and_answer_of_a_whole_day_keeps_to_the_schema(
    desk: Desk, schema: Schema
) -> None:
    """Folders of every store, items of every class, errors, pages and removal."""
    box, public = desk.mailbox, desk.server.world.public
    forum = public.add_folder("Forum", desk.server.public_top)
    public.deliver(b"Subject: p\r\n\r\n", public.add_folder("Sub <&>", forum))
    for item_class in ("IPM.Note", "IPM.Appointment", "IPM.Contact", "IPM.Task", "IPM.Post", "X"):
        box.deliver(
            b'Subject: \xc3\xbc <&> \x01\r\nFrom: "A, B" <a@x.example>\r\n\r\n',
            item_class=item_class,
            received_at=datetime(2026, 1, 2, tzinfo=UTC),
        )
    box.deliver(b"Subject: rule\r\n\r\n", associated=True)
    box.read(box.deliver(b"Subject: read\r\n\r\n"))
    with desk.source(contents=EVERYTHING, folders=FolderChoice.everything()) as source:
        names = {folder.name for folder in source.folders()}
        items = read(source)
        gone = listed(source)[0]
        box.delete(box.folder("inbox").items[gone.key])
        assert list(source.fetch([gone])) == []
        source.remove([receipt_for(i) for i in items[2:5] if isinstance(i, SourceMessage)])
    with desk.source(disposal=Disposal.SOFT) as source:
        again = [item for item in read(source) if isinstance(item, SourceMessage)]
        source.remove([receipt_for(again[0])])

    assert {"Inbox", "Calendar", "Public Folders/Forum/Sub <&>"} <= names
    assert "In-Place Archive Recoverable Items/Purges" in names
    assert len(items) == 8
    schema.check(desk.server.transcript)  # the fixture does too; this names the culprit


@pytest.mark.parametrize(
    "target", [Target("AAMk"), Target(distinguished="deleteditems", mailbox="a&b@x.example")]
)
def test_what_the_source_may_send_keeps_to_the_schema(schema: Schema, target: Target) -> None:
    """Also impersonating, and with an address that XML must escape."""
    body = move_items([("AAMk", "CQAA"), ("AAMl", None)], target)

    assert schema.faults(envelope(body, "Exchange2013", "o'b&c@x.example")) == []


def test_the_schema_bites(desk: Desk, schema: Schema) -> None:
    """An element out of its place, a code that there is not and a missing one are found."""
    desk.deliver(1)
    with desk.source() as source:
        read(source)
    answer = next(a for _, a in desk.server.transcript if b"<t:MimeContent" in a)

    assert schema.faults(answer) == []
    for old, new in [
        (b"NoError", b"ErrorOfOurs"),
        (b"<t:ItemId ", b"<t:Subject>x</t:Subject><t:ItemId "),
        (b' ResponseClass="Success"', b""),
        (b"<s:Body>", b"<s:Bode>"),
    ]:
        changed = answer.replace(old, new, 1).replace(b"</s:Body>", b"</s:Body>", 1)
        if new == b"<s:Bode>":
            changed = changed.replace(b"</s:Body>", b"</s:Bode>")
        assert schema.faults(changed), new
