"""Builders of journal reports: every dialect, and every defect that a decoder must name.

The same arguments always give the same bytes.  Line ends are CRLF.
"""

from __future__ import annotations

import base64
import binascii
import html
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import define, field

from mailarchive import headers
from mailarchive._model import Address, AddressKind, Recipient, Redirection, Role
from mailarchive.testing import _defects, messages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailarchive.journal import DefectCode

__all__ = ["Dialect", "defects_of", "recipient", "report", "with_text", "wrapped"]

BOUNDARY: Final = "_4f0a1f4e-3a5c-4c33-9d8a-0c5d6e7f8a9b_"
SYSTEM: Final = "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e"
LABEL: Final = "Finance 7y"


class Dialect(StrEnum):
    """Who writes the report."""

    TRANSPORT = "transport"
    """Exchange 2007 and later, and Exchange Online."""
    MANAGED_FOLDER = "managed-folder"
    """The other writer of Exchange 2007 and 2010: Message-ID first, label, mailbox, times."""
    INTERCEPT = "intercept"
    """The transport writer's lawful-intercept form, with further lines."""
    EXCHANGE_2003 = "exchange2003"
    EXCHANGE_2003_HTML = "exchange2003-html"
    EXCHANGE_2003_ALTERNATIVE = "exchange2003-alternative"
    CITADEL = "citadel"
    """An imitator of Exchange 2003."""
    WORKMAIL = "workmail"

    @property
    def is_2003(self) -> bool:
        """Whether the envelope text has the older grammar."""
        return self in _OLD


_OLD: Final = frozenset(
    {
        Dialect.EXCHANGE_2003,
        Dialect.EXCHANGE_2003_HTML,
        Dialect.EXCHANGE_2003_ALTERNATIVE,
        Dialect.CITADEL,
    }
)
_ROLES: Final = {Role.TO: "To", Role.CC: "Cc", Role.BCC: "Bcc", Role.RECIPIENT: "Recipient"}
_BUCKETS: Final = (Role.TO, Role.CC, Role.BCC, Role.RECIPIENT, Role.UNKNOWN)
_INTERCEPTED: Final = (
    "Rule-Names: case 42, case 43",
    "Received: from a by b; Mon, 5 May 2025 08:00:01 +0000",
    "Mapi-Message-Class: IPM.Note",
    "Original-Authenticator: ",
    "Original-Message-Size: 1234",
)
_CODECS: Final = {
    "gb2312": "gb18030",
    "iso-8859-1": "cp1252",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "windows-874": "cp874",
    "x-sjis": "cp932",
}
"""What those labels mean to the writers that use them."""


def defects_of(dialect: Dialect | str) -> frozenset[DefectCode]:
    """Return the defects that `report` can put into a report of the dialect."""
    return _defects.possible(Dialect(dialect))


def recipient(
    address: str,
    role: Role | str = Role.TO,
    *,
    expanded: str | None = None,
    forwarded: str | None = None,
) -> Recipient:
    """Return a recipient, and the list or the mailbox by which the message came to it."""
    steps = (("forwarded", forwarded), ("expanded", expanded))
    history = tuple(Redirection(word, Address.parse(each)) for word, each in steps if each)
    return Recipient(Address.parse(address), Role(role), history)


@define
class Draft:
    """A report before it is put together; a defect changes something in it."""

    dialect: Dialect
    boundary: str
    top: list[tuple[str, str]]
    lines: list[str]
    originals: list[bytes]
    charset: str = "us-ascii"
    encoding: str = "7bit"
    text_type: str = "text/plain"
    close: bool = True
    text_missing: bool = False
    original_parts: list[bytes] | None = None
    more_parts: list[bytes] = field(factory=list)


def report(
    original: bytes | None = None,
    *,
    sender: str | None = None,
    on_behalf_of: str | None = None,
    subject: str | None = None,
    message_id: str | None = None,
    recipients: Iterable[Recipient | str] = ("bob@example.com",),
    dialect: Dialect | str = Dialect.TRANSPORT,
    defects: Iterable[DefectCode | str] = (),
    charset: str | None = None,
    encoding: str | None = None,
    tenant: str = "example.onmicrosoft.com",
    copies: Iterable[bytes] = (),
) -> bytes:
    """Return a journal report of the original, or of a message made for it.

    What is not given is taken from the original's header; a plain string is a `To:`
    recipient.  `charset` and `encoding` (7bit, 8bit, quoted-printable, base64) are of the
    envelope text, and chosen as Exchange would.  `copies` are further originals, such as
    a decrypted one.  Each of `defects` is put in, and `journal.decode` finds it; raises
    `ValueError` for one that is not among `defects_of` the dialect.
    """
    people = [each if isinstance(each, Recipient) else recipient(each) for each in recipients]
    if original is None:
        original = _made(sender, on_behalf_of, subject, message_id, people)
    said = headers.envelope(original)
    about = _About(
        sender=sender or (said.sender.spec if said.sender else "Unspecified Address"),
        on_behalf_of=on_behalf_of or (said.on_behalf_of.spec if said.on_behalf_of else None),
        subject=(said.subject or "") if subject is None else subject,
        message_id=message_id or said.message_id or "Unknown Message-ID",
        people=people,
    )
    dialect = Dialect(dialect)
    originals = [original, *copies]
    boundary = messages.free_boundary(originals, BOUNDARY)
    top = _top(dialect, boundary, said.subject or "", about, tenant)
    draft = Draft(dialect, boundary, top, _lines(dialect, about), originals)
    draft.charset, draft.encoding = _best_fit(draft.lines, charset, encoding)
    if dialect is Dialect.EXCHANGE_2003_HTML:
        draft.text_type = "text/html"
    for code in defects:
        _defects.put_in(draft, code)
    return _rendered(draft)


@define
class _About:
    sender: str
    on_behalf_of: str | None
    subject: str
    message_id: str
    people: list[Recipient]


def _made(
    sender: str | None,
    on_behalf_of: str | None,
    subject: str | None,
    message_id: str | None,
    people: list[Recipient],
) -> bytes:
    """Return an original; whom a list expanded to stands in no header, nor does a Bcc."""
    by_role = {role: [each.address.spec for each in people if each.role is role] for role in Role}
    return messages.message(
        sender=sender or "alice@example.com",
        on_behalf_of=on_behalf_of,
        to=by_role[Role.TO] or ["undisclosed-recipients:;"],
        cc=by_role[Role.CC],
        subject="Quarterly numbers" if subject is None else subject,
        message_id=message_id or "",
    )


def _top(
    dialect: Dialect, boundary: str, subject: str, about: _About, tenant: str
) -> list[tuple[str, str]]:
    made = messages.made_id(about.message_id, str(dialect), domain="journal.report.generator")
    top = [
        ("Return-Path", f"<journalndr@{tenant}>"),
        ("Content-Type", f'multipart/mixed;\r\n\tboundary="{boundary}"'),
        ("Subject", messages.encoded_word(subject)),
        ("From", about.on_behalf_of or about.sender),
        ("MIME-Version", "1.0"),
    ]
    if dialect.is_2003:
        name = "Content-Identifer"
        return [*top, (name, "ExJournalReport"), ("Content-class", "urn:content-classes:message")]
    if dialect is Dialect.WORKMAIL:
        return [*top, ("Message-ID", made), ("X-WM-Journal-Report", "journal")]
    top += [
        ("Sender", f"<{SYSTEM}@{tenant}>"),
        ("Message-ID", made),
        ("Date", messages.written(messages.LONG_AGO)),
        ("X-MS-Journal-Report", ""),
        ("X-MS-Exchange-Parent-Message-Id", messages.encoded_word(about.message_id)),
        ("Auto-Submitted", "auto-generated"),
        ("X-MS-Exchange-Generated-Message-Source", "Journal Agent"),
        ("X-OriginatorOrg", tenant),
    ]
    return [*top, ("X-MS-Gcc-Journal-Report", "")] if dialect is Dialect.INTERCEPT else top


def _lines(dialect: Dialect, about: _About) -> list[str]:
    if dialect.is_2003:
        return _lines_2003(dialect, about)
    lines = [f"Sender: {about.sender}"]
    if about.on_behalf_of is not None:
        lines.append(f"On-Behalf-Of: {about.on_behalf_of}")
    if dialect is Dialect.MANAGED_FOLDER:
        lines += [f"Message-ID: {about.message_id}", f"Subject: {about.subject}"]
        lines += [f"Label: {LABEL}", f"Mailbox: {about.people[0].address}" if about.people else ""]
        lines += map(_recipient_line, about.people)
        return [*lines, "SentUtc: 5/5/2025 8:00:00 AM", "ReceivedUtc: 5/5/2025 8:00:02 AM"]
    lines.append(f"Subject: {about.subject}")
    if dialect is Dialect.INTERCEPT:
        lines += [*_INTERCEPTED, f"Recipient-Count: {len(about.people)}"]
    lines.append(f"Message-Id: {about.message_id}")
    in_order = sorted(about.people, key=lambda each: _BUCKETS.index(each.role))
    return [*lines, *map(_recipient_line, in_order)]


def _recipient_line(person: Recipient) -> str:
    history = "".join(f", {each.word.capitalize()}: {each.address}" for each in person.history)
    return f"{_ROLES.get(person.role, 'Recipient')}: {person.address}{history}"


def _lines_2003(dialect: Dialect, about: _About) -> list[str]:
    if dialect is Dialect.CITADEL:
        lines = [f"Sender: someone <{about.sender}>", f"Message-ID: {about.message_id}"]
        return [*lines, "Recipients:", *(f"\t{each.address}" for each in about.people)]
    lines = [f'Sender: "Some One" <smtp:{about.sender}>', f"Message-ID: {about.message_id}"]
    listed = [_typed(each.address) for each in about.people]
    return [*lines, "Recipients:", *(f"{each}," for each in listed[:-1]), *listed[-1:]]


def _typed(address: Address) -> str:
    if address.kind is AddressKind.SMTP:
        return f'"Some, One" <smtp:{address}>'
    return f'"Old One" <{str(address)[:1].lower()}{str(address)[1:]}>'


def _best_fit(lines: list[str], charset: str | None, encoding: str | None) -> tuple[str, str]:
    """Choose as Exchange does: plain ASCII if it can be, else UTF-8, quoted-printable."""
    text = "".join(lines)
    charset = charset or ("us-ascii" if text.isascii() else "utf-8")
    if encoding is None:
        encoding = "7bit" if _encoded(text, charset).isascii() else "quoted-printable"
    return charset, encoding


def _encoded(text: str, charset: str) -> bytes:
    return text.encode(_CODECS.get(charset.lower(), charset))


def _transferred(data: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.encodebytes(data).replace(b"\n", b"\r\n")
    return binascii.b2a_qp(data) if encoding == "quoted-printable" else data


def _rendered(draft: Draft) -> bytes:
    parts = [] if draft.text_missing else [_text_part(draft)]
    if draft.original_parts is None:
        parts += [messages.part(each, "message/rfc822") for each in draft.originals]
    else:
        parts += draft.original_parts
    body = messages.multipart(
        [*parts, *draft.more_parts], boundary=draft.boundary, close=draft.close
    )
    return messages.fields(draft.top) + b"\r\n" + body


def _text_part(draft: Draft) -> bytes:
    if draft.dialect is not Dialect.EXCHANGE_2003_ALTERNATIVE:
        return _form(draft, draft.text_type)
    forms = [_form(draft, "text/plain"), _form(draft, "text/html")]
    content = messages.multipart(forms, boundary="alternative_forms")
    return messages.part(content, 'multipart/alternative; boundary="alternative_forms"')


def _form(draft: Draft, text_type: str) -> bytes:
    text = "\r\n".join(draft.lines) + "\r\n"
    if text_type == "text/html":
        marked = "<br>\r\n".join(html.escape(line) for line in draft.lines)
        text = f"<html><body><p>{marked}</p></body></html>\r\n"
    known = draft.charset if draft.charset != _defects.UNKNOWN_CHARSET else "utf-8"
    encoding = draft.encoding
    return messages.part(
        _transferred(_encoded(text, known), encoding),
        f'{text_type}; charset="{draft.charset}"',
        [("Content-Transfer-Encoding", encoding)],
    )


def with_text(
    text: bytes | str,
    *,
    original: bytes | None = None,
    content_type: str = 'text/plain; charset="utf-8"',
    encoding: str = "8bit",
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return a report with this envelope text, to the byte, however wrong it is.

    `text` is already in the charset of `content_type` and in the transfer `encoding`.
    """
    data = text.encode() if isinstance(text, str) else text
    if original is None:
        original = messages.message()
    part = messages.part(data, content_type, [("Content-Transfer-Encoding", encoding)])
    boundary = messages.free_boundary([original], BOUNDARY)
    top = [("Content-Type", f'multipart/mixed; boundary="{boundary}"'), *headers]
    parts = [part, messages.part(original, "message/rfc822")]
    body = messages.multipart(parts, boundary=boundary)
    return messages.fields([("X-MS-Journal-Report", ""), *top]) + b"\r\n" + body


def wrapped(inner: bytes, *, footer: str = "This message was scanned.\r\n") -> bytes:
    """Return a report as a gateway sends it on: all in one more multipart, with a footer."""
    top, _, body = inner.partition(b"\r\n\r\n")
    content_type = f'multipart/mixed;\r\n\tboundary="{BOUNDARY}"'.encode()
    outer = top.replace(content_type, b'multipart/mixed; boundary="wrapped_once_more"')
    inside = messages.part(body, content_type.decode())
    content = messages.multipart([inside, messages.part(footer)], boundary="wrapped_once_more")
    return outer + b"\r\n\r\n" + content
