"""Builders of ordinary messages: the same arguments always give the same bytes.

Line ends are CRLF.  Nothing here needs more than the standard library.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "LONG_AGO",
    "attachment",
    "bounce",
    "digest",
    "encrypted",
    "forward",
    "message",
    "multipart",
    "part",
    "read_receipt",
    "signed",
]

BOUNDARY: Final = "=_mailarchive_part_="
LONG_AGO: Final = datetime(2025, 5, 5, 8, 0, tzinfo=UTC)
"""The date of a message that is given none."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"


def encoded_word(text: str) -> str:
    """Return the text as it may stand in a header (RFC 2047)."""
    if text.isascii() and text.isprintable():
        return text
    payload = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return f"=?utf-8?B?{payload}?="


def written(moment: datetime) -> str:
    """Return a moment as a `Date:` header has it, in UTC."""
    utc = moment.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[3 * utc.month - 3 : 3 * utc.month]
    return f"{day}, {utc.day} {month} {utc.year:04} {utc:%H:%M:%S} +0000"


def made_id(*about: object, domain: str = "example.com") -> str:
    """Return a Message-ID that depends on the arguments alone."""
    name = hashlib.sha256(repr(about).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return f"<{name}@{domain}>"


def fields(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return header fields as bytes, without the empty line behind them."""
    return "".join(f"{name}: {value}\r\n" for name, value in pairs).encode(
        "utf-8", "surrogatepass"
    )


def part(
    content: bytes | str,
    content_type: str = 'text/plain; charset="utf-8"',
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return a MIME part: its header and its content, which is not encoded."""
    body = content.encode() if isinstance(content, str) else content
    return fields([("Content-Type", content_type), *headers]) + b"\r\n" + body


def attachment(content: bytes, name: str, content_type: str = "application/octet-stream") -> bytes:
    """Return a MIME part that holds a file in base64."""
    headers = [
        ("Content-Disposition", f'attachment; filename="{name}"'),
        ("Content-Transfer-Encoding", "base64"),
    ]
    return part(_base64(content), f'{content_type}; name="{name}"', headers)


def _base64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def free_boundary(parts: Iterable[bytes], boundary: str = BOUNDARY) -> str:
    """Return the boundary, made longer until no part holds it."""
    whole = b"".join(parts)
    while boundary.encode() in whole:
        boundary = f"{boundary[:-1]}0{boundary[-1]}"
    return boundary


def multipart(
    parts: Iterable[bytes],
    *,
    boundary: str = BOUNDARY,
    close: bool = True,
) -> bytes:
    """Return the body of a multipart, with its closing delimiter or (`close`) without."""
    mark = boundary.encode()
    body = b"".join(b"--" + mark + b"\r\n" + each + b"\r\n" for each in parts)
    return body + (b"--" + mark + b"--\r\n" if close else b"")


def message(
    *,
    sender: str = "alice@example.com",
    to: Iterable[str] = ("bob@example.com",),
    cc: Iterable[str] = (),
    bcc: Iterable[str] = (),
    on_behalf_of: str | None = None,
    subject: str = "Quarterly numbers",
    body: str | bytes = "Hello,\r\nhere are the numbers.\r\n",
    message_id: str | None = "",
    date: datetime | None = LONG_AGO,
    content_type: str = 'text/plain; charset="utf-8"',
    headers: Iterable[tuple[str, str]] = (),
    attachments: Iterable[bytes] = (),
) -> bytes:
    """Return a message; an empty `message_id` is made from the rest, `None` leaves it out.

    `on_behalf_of` becomes the `From:`, and `sender` the `Sender:`.  `attachments` are
    parts; `headers` stand in front, where a server adds its own.
    """
    lists = {"To": ", ".join(to), "Cc": ", ".join(cc), "Bcc": ", ".join(bcc)}
    if not message_id and message_id is not None:
        message_id = made_id(sender, lists, subject, body, date)
    pairs = [*headers, ("From", sender if on_behalf_of is None else on_behalf_of)]
    if on_behalf_of is not None:
        pairs.append(("Sender", sender))
    pairs += [(name, value) for name, value in lists.items() if value]
    pairs.append(("Subject", encoded_word(subject)))
    if message_id is not None:
        pairs.append(("Message-ID", message_id))
    if date is not None:
        pairs.append(("Date", written(date)))
    pairs.append(("MIME-Version", "1.0"))
    return _with_body(pairs, body, content_type, tuple(attachments))


def _with_body(
    pairs: list[tuple[str, str]],
    body: str | bytes,
    content_type: str,
    attachments: tuple[bytes, ...],
) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    if attachments:
        parts = [part(content, content_type), *attachments]
        boundary = free_boundary(parts)
        content = multipart(parts, boundary=boundary)
        content_type = f'multipart/mixed; boundary="{boundary}"'
    return fields([*pairs, ("Content-Type", content_type)]) + b"\r\n" + content


def _multipart_message(
    kind: str,
    parts: Iterable[bytes],
    *,
    sender: str,
    to: Iterable[str],
    subject: str,
    **extra: str,
) -> bytes:
    """Return a message whose body is a multipart of this kind; `extra` are more headers."""
    parts = tuple(parts)
    boundary = free_boundary(parts)
    return message(
        sender=sender,
        to=to,
        subject=subject,
        body=multipart(parts, boundary=boundary),
        content_type=f'multipart/{kind}; boundary="{boundary}"',
        headers=[(name.replace("_", "-"), value) for name, value in extra.items()],
    )


def forward(
    *inner: bytes,
    note: str = "Please see below.\r\n",
    sender: str = "bob@example.com",
    to: Iterable[str] = ("carol@example.com",),
    subject: str = "FW: Quarterly numbers",
) -> bytes:
    """Return a mail that forwards others as attachments."""
    attached = [("Content-Disposition", "attachment")]
    parts = [part(note), *(part(each, "message/rfc822", attached) for each in inner)]
    return _multipart_message("mixed", parts, sender=sender, to=to, subject=subject)


def digest(*inner: bytes, sender: str = "list@example.org") -> bytes:
    """Return a mailing list's digest (RFC 2046, section 5.1.5)."""
    parts = [part("Two messages today.\r\n"), *(part(each, "message/rfc822") for each in inner)]
    return _multipart_message(
        "digest", parts, sender=sender, to=("list@example.org",), subject="Digest, Vol 7"
    )


def signed(body: str = "Hello,\r\nthis is signed.\r\n") -> bytes:
    """Return an S/MIME-signed mail."""
    signature = attachment(b"no real signature", "smime.p7s", "application/pkcs7-signature")
    return _multipart_message(
        'signed; protocol="application/pkcs7-signature"; micalg=sha-256',
        [part(body), signature],
        sender="alice@example.com",
        to=("bob@example.com",),
        subject="Signed",
    )


def encrypted(content: bytes = b"no real cipher text") -> bytes:
    """Return an OpenPGP-encrypted mail (RFC 3156)."""
    return _multipart_message(
        'encrypted; protocol="application/pgp-encrypted"',
        [part("Version: 1\r\n", "application/pgp-encrypted"), attachment(content, "msg.asc")],
        sender="alice@example.com",
        to=("bob@example.com",),
        subject="...",
    )


def bounce(
    returned: bytes,
    *,
    failed: Iterable[str] = ("archive@example.net",),
    subject: str = "Undeliverable: Quarterly numbers",
    text: str = "Delivery has failed to these recipients or groups:\r\n",
    only_headers: bool = False,
    is_report: bool = True,
) -> bytes:
    """Return a bounce (RFC 3464) of a message, or of its header alone (`only_headers`).

    Without `is_report` it has the older form: a multipart/mixed without delivery status.
    """
    addresses = tuple(failed)
    parts = [part(text + "".join(f"\r\n{each}\r\n" for each in addresses))]
    if is_report:
        groups = (
            f"Final-Recipient: rfc822;{each}\r\nAction: failed\r\nStatus: 5.7.1\r\n"
            for each in addresses
        )
        status = "Reporting-MTA: dns;mail.example.com\r\n\r\n" + "\r\n".join(groups)
        parts.append(part(status, "message/delivery-status"))
    if only_headers:
        parts.append(part(returned.partition(b"\r\n\r\n")[0] + b"\r\n", "text/rfc822-headers"))
    else:
        parts.append(part(returned, "message/rfc822"))
    return _multipart_message(
        "report; report-type=delivery-status" if is_report else "mixed",
        parts,
        sender="postmaster@example.com",
        to=("alice@example.com",),
        subject=subject,
        Return_Path="<>",
        Auto_Submitted="auto-replied",
    )


def read_receipt(original: bytes) -> bytes:
    """Return a read receipt (RFC 8098) that brings the original back."""
    disposition = (
        "Final-Recipient: rfc822;bob@example.com\r\nDisposition: manual-action; displayed\r\n"
    )
    parts = [
        part("Your message was read.\r\n"),
        part(disposition, "message/disposition-notification"),
        part(original, "message/rfc822"),
    ]
    return _multipart_message(
        "report; report-type=disposition-notification",
        parts,
        sender="bob@example.com",
        to=("alice@example.com",),
        subject="Read: Quarterly numbers",
    )
