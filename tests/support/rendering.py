"""A message as its author wrote it, and the many ways in which Exchange may render it."""

from __future__ import annotations

import base64
import quopri
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class Letter:
    """What the author wrote."""

    subject: str = "Quarterly figures"
    plain: str = "Dear Bob,\nthe figures are attached.\n"
    html: str = '<p>Dear <b>Bob</b>,</p><p>the <a href="https://x.example/q">figures</a></p>'
    attachment: bytes = b"1;2;3\r\n"
    sender: str = "ann@contoso.example"
    to: tuple[str, ...] = ("bob@contoso.example", "carol@contoso.example")
    cc: tuple[str, ...] = ()
    message_id: str = "<1@contoso.example>"
    second: int = 5


@frozen
class Rendering:
    """One of the ways to make MIME of it."""

    charset: str = "utf-8"
    encoding: str = "base64"
    boundary: str = "_000_abc_"
    zone: int = 0
    transport: tuple[str, ...] = ()
    upper: bool = False
    wrapped: bool = False
    turned: bool = False
    head: bool = False
    tnef: bool = False
    padded: bool = False


def render(letter: Letter, how: Rendering = Rendering()) -> bytes:  # it is frozen
    """Make MIME of a letter."""
    lines = [f"{name}: {value}" for name, value in _header(letter, how)]
    top = "\r\n".join([*(f"X-MS-{word}: {word}" for word in how.transport), *lines])
    parts = [
        _text("plain", letter.plain, how),
        _text("html", _markup(letter.html, how), how),
        _attached(letter.attachment),
    ]
    if how.tnef:
        parts.append(_part(b"application/ms-tnef", b"name=winmail.dat", b"AAAA"))
    if how.turned:
        parts = [parts[0], parts[-1], *parts[1:-1]]
    mark = how.boundary.encode()
    body = b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts)
    return top.encode() + b"\r\n\r\n" + body + b"--" + mark + b"--\r\n"


def _header(letter: Letter, how: Rendering) -> list[tuple[str, str]]:
    fold = "\r\n " if how.wrapped else " "
    sign = "+" if how.zone >= 0 else "-"
    hour = 12 + how.zone
    names = [
        ("From", f'"Ann"{fold}<{_cased(letter.sender, how)}>'),
        ("To", f",{fold}".join(_cased(each, how) for each in _turned(letter.to, how))),
        ("Cc", ", ".join(letter.cc)),
        ("Subject", _word(letter.subject, how)),
        ("Message-ID", letter.message_id),
        ("Date", f"Mon, 2 Nov 2026 {hour:02}:30:{letter.second:02} {sign}{abs(how.zone):02}00"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/mixed;{fold}boundary="{how.boundary}"'),
    ]
    present = [(name, value) for name, value in names if value]
    return [(name.upper() if how.upper else name, value) for name, value in present]


def _cased(address: str, how: Rendering) -> str:
    return address.title() if how.upper else address


def _turned(them: Sequence[str], how: Rendering) -> list[str]:
    return list(reversed(them)) if how.turned else list(them)


def _word(text: str, how: Rendering) -> str:
    charset = _charset(text, how)
    coded = base64.b64encode(text.encode(charset)).decode()
    return f"=?{charset}?B?{coded}?="


def _charset(text: str, how: Rendering) -> str:
    try:
        text.encode(how.charset)
    except UnicodeEncodeError:
        return "utf-8"
    return how.charset


def _markup(markup: str, how: Rendering) -> str:
    if not how.head:
        return markup
    style = '<style type="text/css">p { margin: 0 }</style>'
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={how.charset}">'
    return f"<html><head>\r\n{meta}{style}</head>\r\n<body>{markup}</body></html>"


def _text(kind: str, text: str, how: Rendering) -> bytes:
    charset = _charset(text, how)
    if how.padded and kind == "plain":
        text = "".join(f"{line}  \r\n" for line in text.split("\n"))
    data = text.replace("\r\n", "\n").replace("\n", "\r\n").encode(charset)
    encoding = "base64" if charset == "utf-16" else how.encoding
    head = f"Content-Type: text/{kind}; charset={charset}\r\n"
    head += f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    coded = base64.encodebytes(data) if encoding == "base64" else quopri.encodestring(data)
    return head.encode() + coded.rstrip(b"\n").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _attached(data: bytes) -> bytes:
    return _part(b"application/octet-stream", b'name="figures.bin"', base64.encodebytes(data))


def _part(kind: bytes, parameter: bytes, coded: bytes) -> bytes:
    head = b"Content-Type: %s; %s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head % (kind, parameter) + coded


WORDS = st.text("abc äß€ж漢 .", min_size=1, max_size=30).filter(str.strip)
ADDRESSES = st.from_regex(r"[a-z]{1,6}@[a-z]{1,5}\.example", fullmatch=True)
LETTERS = st.builds(
    Letter,
    subject=WORDS,
    plain=st.lists(WORDS, min_size=1, max_size=4).map("\n".join),
    html=WORDS.map(lambda text: f'<p>{text}</p><a href="https://x.example/">x</a>'),
    attachment=st.binary(min_size=1, max_size=60),
    sender=ADDRESSES,
    to=st.lists(ADDRESSES, min_size=1, max_size=3, unique=True).map(tuple),
    cc=st.lists(ADDRESSES, max_size=2, unique=True).map(tuple),
    second=st.integers(0, 59),
)
RENDERINGS = st.builds(
    Rendering,
    charset=st.sampled_from(["utf-8", "iso-8859-1", "windows-1251", "utf-16"]),
    encoding=st.sampled_from(["base64", "quoted-printable"]),
    boundary=st.from_regex(r"_[0-9a-f]{3,12}_", fullmatch=True),
    zone=st.integers(0, 9).map(lambda hours: hours),
    transport=st.lists(st.sampled_from(["Exchange", "Id", "Spam"]), max_size=3).map(tuple),
    upper=st.booleans(),
    wrapped=st.booleans(),
    turned=st.booleans(),
    head=st.booleans(),
    tnef=st.booleans(),
    padded=st.booleans(),
)

CHANGES = {
    "subject": Letter(subject="Quarterly figures, corrected"),
    "plain": Letter(plain="Dear Bob,\nthe figures are not attached.\n"),
    "html": Letter(html="<p>Dear <b>Bert</b></p>"),
    "link": Letter(
        html='<p>Dear <b>Bob</b>,</p><p>the <a href="https://evil.example/q">figures</a></p>'
    ),
    "attachment": Letter(attachment=b"1;2;4\r\n"),
    "sender": Letter(sender="eve@contoso.example"),
    "to": Letter(to=("bob@contoso.example",)),
    "cc": Letter(cc=("carol@contoso.example",)),
    "moved": evolve(Letter(), to=("bob@contoso.example",), cc=("carol@contoso.example",)),
    "message_id": Letter(message_id="<2@contoso.example>"),
    "second": Letter(second=6),
}
"""Letters that differ in one thing, and share a Message-ID but for one of them."""

__all__ = ["CHANGES", "LETTERS", "RENDERINGS", "Letter", "Rendering", "field", "render"]
