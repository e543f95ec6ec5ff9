"""The envelope text of Exchange 2000 and 2003, and of their imitators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailarchive._model import Role
from mailarchive.journal import Kind
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.journal import JournalReport

    Look = Callable[[bytes], JournalReport | None]

ID = "<1@example.com>"
ORIGINAL = messages.message(message_id=ID)
SENDER = 'Sender: "Alice Example" <smtp:alice@example.com>'
ID_LINE = f"Message-ID: {ID}"
LIST = ("Recipients:", "b@x.example")
MARKER = [("Content-Identifer", "ExJournalReport")]


def text_of(text: str, kind: str = "text/plain") -> bytes:
    """Return an Exchange 2003 report with this envelope text."""
    raw = reports.with_text(text, original=ORIGINAL, content_type=kind, headers=MARKER)
    return raw.replace(b"X-MS-Journal-Report: \r\n", b"")


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def addresses(report: JournalReport | None) -> list[str]:
    """Return the addresses of the recipients, as they were written."""
    assert report is not None
    return [line.written for line in report.recipients]


LISTS = [
    ('"Bob" <smtp:bob@x.y>', "bob@x.y"),
    ('"Bob" <SMTP:bob@x.y>,\n"Carol" <smtp:carol@x.y>', "bob@x.y | carol@x.y"),
    ("<smtp:bob@x.y>", "bob@x.y"),
    ("Bob <bob@x.y>", "bob@x.y"),
    ("bob@x.y", "bob@x.y"),
    ("smtp:bob@x.y", "bob@x.y"),
    ('mailto:bob@x.y, "C" <MAILTO:carol@x.y>', "bob@x.y | carol@x.y"),
    ("\tbob@x.y\n\tcarol@x.y", "bob@x.y | carol@x.y"),
    ("bob@x.y carol@x.y\n\tdan@x.y", "bob@x.y | carol@x.y | dan@x.y"),
    ('CORP\\bob@x.y, "C \\" <smtp:carol@x.y>', "CORP\\bob@x.y | carol@x.y"),
    ("bob@x.y, carol@x.y; dan@x.y", "bob@x.y | carol@x.y | dan@x.y"),
    ('"Bob" <smtp:bob@x.y>, "Carol, Dr." <smtp:carol@x.y>', "bob@x.y | carol@x.y"),
    ("Carol, Dr. <smtp:carol@x.y>", "carol@x.y"),
    (
        '"A Very Long Name\n That Wraps" <smtp:bob@x.y>,\n"C" <smtp:carol@x.y>',
        "bob@x.y | carol@x.y",
    ),
    ('"Bob"\n<smtp:bob@x.y>,\n"Carol"\n   <smtp:carol@x.y>', "bob@x.y | carol@x.y"),
    ('"Bob" <smtp:\nbob@x.y>', "bob@x.y"),
    ('"Bob" <smtp:bob\n @x.y>', "bob@x.y"),
    (
        '"Old" <ex:/o=C/ou=First Group/cn=Recipients/cn=old>',
        "EX:/o=C/ou=First Group/cn=Recipients/cn=old",
    ),
    (
        '"Old" <EX:/o=C/ou=First\nGroup/cn=Recipients/\ncn=old>',
        "EX:/o=C/ou=First Group/cn=Recipients/cn=old",
    ),
    (
        '"Old" <EX:/o=C/ou=First\n  Group\n/cn=Recipients/cn=old>',
        "EX:/o=C/ou=First Group/cn=Recipients/cn=old",
    ),
    (
        '"X" <x400:c=us;a= ;p=C;o=Ex;s=Doe;g=J;>, <smtp:b@x.example>',
        "X400:c=us;a= ;p=C;o=Ex;s=Doe;g=J; | b@x.example",
    ),
    ('"F" <fax:Doe@+43 1 234>', "FAX:Doe@+43 1 234"),
    ('"N" <notes:CN=J Doe/O=C@C>', "NOTES:CN=J Doe/O=C@C"),
    ("</o=C/ou=First Group/cn=old>", "/o=C/ou=First Group/cn=old"),
    ('"victim@x.y" <smtp:bob@x.y>', "bob@x.y"),
    ('"Name <smtp:victim@x.y>" <smtp:bob@x.y>', "bob@x.y"),
    ('"Name \\" <smtp:victim@x.y>" <smtp:bob@x.y>', "bob@x.y"),
    ('"left open <smtp:bob@x.y>,\n"Carol" <smtp:carol@x.y>', "bob@x.y | carol@x.y"),
    ("Some\nOne\nWith\nMany\nLines\n<smtp:bob@x.y>", "bob@x.y"),
    ('\n\n"Bob" <smtp:bob@x.y>\n\n"Carol" <smtp:carol@x.y>\n\n', "bob@x.y | carol@x.y"),
    ('"quoted local" <smtp:"bob b"@x.y>', '"bob b"@x.y'),
]


@pytest.mark.parametrize(("listed", "expected"), LISTS)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_list_gives_each_address_once_however_it_wraps(
    listed: str, expected: str, end: str, look: Look
) -> None:
    """A line end means a blank; names in quotes hold no recipient; types are kept."""
    text = end.join([SENDER, f"Message-ID: {ID}", "Recipients:", listed.replace("\n", end), ""])
    report = look(text_of(text))

    assert codes(report) == set()
    assert addresses(report) == expected.split(" | ")
    assert report is not None
    assert report.kind is Kind.EXCHANGE_2003
    assert {line.role for line in report.recipients} == {Role.UNKNOWN}
    assert report.text.sender == "alice@example.com"
    assert report.message_id == ID
    assert report.subject is None


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0), (0, 2, 1), (1, 0, 2)]
)
def test_the_three_sections_come_in_any_order(order: tuple[int, ...], look: Look) -> None:
    """And their labels in any case."""
    sections = [SENDER, f"MESSAGE-id: {ID}", 'recipients:\r\n"Bob" <smtp:bob@example.com>']
    report = look(text_of("\r\n".join(sections[place] for place in order)))

    assert codes(report) == set()
    assert addresses(report) == ["bob@example.com"]
    assert report is not None
    assert report.text.sender == "alice@example.com"


@pytest.mark.parametrize(
    "sender",
    [
        "Sender: alice <alice@example.com>",
        "Sender: alice@example.com",
        "Sender: smtp:alice@example.com",
        'Sender:\r\n"Alice"\r\n <smtp:alice@example.com>',
        'Sender: "Alice, Dr. \r\n Example" <smtp:alice@example.com>',
    ],
)
def test_the_sender_may_wrap_and_have_a_name_or_none(sender: str, look: Look) -> None:
    """Names and types belong to this grammar and are no defect."""
    report = look(
        text_of("\r\n".join([sender, f"Message-ID: {ID}", "Recipients:", "b@x.example"]))
    )

    assert codes(report) == set()
    assert report is not None
    assert report.text.sender == "alice@example.com"


@pytest.mark.parametrize(
    "written",
    [
        "<1@example.com>",
        "\r\n<1@example.com>",
        "\r\n\t<1@\r\n\texample.com>",
        "<1@ex\r\nample.com>",
    ],
)
def test_the_message_id_may_be_broken_anywhere(written: str, look: Look) -> None:
    """It is put together without what the wrapping added."""
    report = look(
        text_of("\r\n".join([SENDER, f"Message-ID: {written}", "Recipients:", "b@x.example"]))
    )

    assert codes(report) == set()
    assert report is not None
    assert report.message_id == ID


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((ID_LINE, *LIST), {"sender_missing"}),
        (("Sender: Unspecified Address", ID_LINE, *LIST), {"sender_missing"}),
        (("Sender: <>", ID_LINE, *LIST), {"sender_missing"}),
        ((SENDER, *LIST), {"message_id_missing"}),
        ((SENDER, "Message-ID: Unknown Message-ID", *LIST), {"message_id_missing"}),
        ((SENDER, ID_LINE, "Recipients:"), {"no_recipients"}),
        ((SENDER, ID_LINE), {"no_recipients"}),
        (("Journal", SENDER, ID_LINE, *LIST), {"unknown_line"}),
        ((SENDER, ID_LINE, "stray", *LIST), {"unknown_line"}),
        ((SENDER, ID_LINE, *LIST, "This is confidential."), {"unknown_line"}),
        ((SENDER, ID_LINE, *LIST, "see our page, or info@x.example"), {"unknown_line"}),
        ((SENDER, ID_LINE, *LIST, '"Bob" <>'), {"unknown_line"}),
        ((SENDER, ID_LINE, *LIST, '"Bob" <nothing>'), {"unknown_line"}),
    ],
)
def test_what_departs_is_noted_and_the_rest_is_read(
    texts: tuple[str, ...], expected: set[str], look: Look
) -> None:
    """Missing values, stray lines, a footer, a name without an address."""
    report = look(text_of("\r\n".join(texts)))

    assert codes(report) == expected
    assert addresses(report) == ([] if "no_recipients" in expected else ["b@x.example"])


@pytest.mark.parametrize(
    "markup",
    [
        "<html><body><p>{0}<br>\r\n{1}<br>\r\nRecipients:<br>\r\n{2}<br>\r\n{3}<br>\r\n</p></body></html>",
        "<div>{0}</div><div>{1}</div><div>Recipients:</div><div>{2}</div><div>{3}</div>",
        "<pre>{0}\r\n{1}\r\nRecipients:\r\n{2}\r\n{3}\r\n</pre>",
        "<FONT FACE='Arial'><P>{0}</P>\r\n<P>{1}</P>\r\n<P>Recipients:<BR>{2}<BR>{3}</P></FONT>",
    ],
)
@pytest.mark.parametrize("escaped", [True, False])
def test_html_belongs_to_this_grammar(markup: str, escaped: bool, look: Look) -> None:
    """Also where somebody left the angle brackets as they were."""
    texts = [
        SENDER,
        f"Message-ID: {ID}",
        '"Bob" <smtp:bob@example.com>,',
        "<EX:/o=C/ou=A B/cn=old>",
    ]
    if escaped:
        texts = [
            each.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;") for each in texts
        ]
    report = look(text_of(markup.format(*texts), "text/html; charset=us-ascii"))

    assert addresses(report) == ["bob@example.com", "EX:/o=C/ou=A B/cn=old"]
    assert codes(report) <= ({"message_id_missing"} if not escaped else set())


def test_a_name_never_swallows_the_recipients_behind_it(look: Look) -> None:
    """Whatever stands around them, as many addresses come out as angle brackets went in."""
    names = ['"', '""', '"a"b"', "\\", "a\\", "(", ")", ",", ";", ":", "a@b", "=", "<", '"<', "Ω"]
    listed = "\r\n".join(f"{name} <smtp:r{n}@example.com>," for n, name in enumerate(names))
    report = look(text_of("\r\n".join([SENDER, f"Message-ID: {ID}", "Recipients:", listed])))

    assert [f"r{n}@example.com" for n in range(len(names))] == addresses(report)


def test_no_list_of_recipients_hides_another(look: Look) -> None:
    """A name with a line break could forge a list; the real one counts all the same."""
    forged = 'Sender: "x\r\nRecipients:\r\nvictim@x.example\r\n" <smtp:alice@example.com>'
    report = look(text_of("\r\n".join([forged, ID_LINE, *LIST])))

    assert {"field_order"} <= codes(report)
    assert "b@x.example" in addresses(report)


@pytest.mark.parametrize("line", ["Sender: <smtp:mallory@x.example>", "Message-ID: <2@x>"])
def test_of_a_field_that_comes_twice_the_first_counts(line: str, look: Look) -> None:
    """The second is kept among the extra lines."""
    report = look(text_of("\r\n".join([SENDER, ID_LINE, line, *LIST])))

    assert codes(report) == {"field_order", "unknown_line"}
    assert report is not None
    assert report.text.sender == "alice@example.com"
    assert report.message_id == ID


def test_workmail_may_write_the_older_grammar(look: Look) -> None:
    """Its text is compatible with Exchange's, and nobody says with which."""
    text = "\r\n".join([SENDER, ID_LINE, *LIST])
    raw = reports.with_text(text, original=ORIGINAL, headers=[("X-WM-Journal-Report", "journal")])
    report = look(raw.replace(b"X-MS-Journal-Report: \r\n", b""))

    assert codes(report) == set()
    assert report is not None
    assert report.kind is Kind.WORKMAIL
    assert addresses(report) == ["b@x.example"]
