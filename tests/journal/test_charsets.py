"""The envelope text from bytes: transfer encoding, charset, byte order mark, HTML."""

from __future__ import annotations

# ruff: noqa: RUF001  # the letters of other alphabets are what is tested
import base64
import binascii
import codecs
from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.journal import JournalReport

    Look = Callable[[bytes], JournalReport | None]

ID = "<1@example.com>"
USUAL = (
    "Sender: alice@example.com",
    "Subject: Numbers",
    f"Message-Id: {ID}",
    "To: bob@example.com",
)
ORIGINAL = messages.message(message_id=ID)


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def with_text(text: bytes | str, kind: str = "text/plain; charset=utf-8", **about: Any) -> bytes:
    """Return a report with this envelope text."""
    about.setdefault("original", ORIGINAL)
    return reports.with_text(text, content_type=kind, **about)


def addresses(report: JournalReport | None) -> list[str]:
    """Return the addresses of the recipients, as they were written."""
    assert report is not None
    return [line.written for line in report.recipients]


SPELT = [
    ("us-ascii", "ascii", "plain"),
    ("utf-8", "utf-8", "Grüße – 数字 отчёт 😀"),
    ("UTF8", "utf-8", "Grüße"),
    ("utf-16", "utf-16", "Grüße 数字"),
    ("utf-16", "utf-16-le", "Grüße 数字"),
    ("utf-16", "utf-16-be", "Grüße 数字"),
    ("utf-16le", "utf-16-le", "Grüße 数字"),
    ("utf-16be", "utf-16-be", "Grüße 数字"),
    ("unicode", "utf-16-le", "Grüße"),
    ("utf-32", "utf-32", "Grüße 😀"),
    ("iso-8859-1", "cp1252", "“Grüße” – €"),
    ("ISO_8859-1", "cp1252", "Grüße"),
    ("latin1", "latin-1", "Grüße"),
    ("iso-8859-2", "iso8859-2", "zażółć"),
    ("iso-8859-5", "iso8859-5", "отчёт"),
    ("iso-8859-8-i", "iso8859-8", "שלום"),
    ("iso-8859-9", "cp1254", "“ışık”"),
    ("iso-8859-15", "iso8859-15", "€ œ"),
    ("windows-1250", "cp1250", "Árvíztűrő"),
    ("windows-1251", "cp1251", "отчёт"),
    ("cp1252", "cp1252", "“x”"),
    ("windows-1255", "cp1255", "שלום"),
    ("windows-1256", "cp1256", "مرحبا"),
    ("windows-1258", "cp1258", "đô\u0300ng"),
    ("windows-874", "cp874", "สวัสดี"),
    ("tis-620", "cp874", "สวัสดี"),
    ("koi8-r", "koi8-r", "Счёт"),
    ("koi8-u", "koi8-u", "їжак"),
    ("ibm852", "cp852", "příliš"),
    ("cp866", "cp866", "отчёт"),
    ("macintosh", "mac-roman", "Grüße"),
    ("x-mac-roman", "mac-roman", "Grüße"),
    ("x-mac-cyrillic", "mac-cyrillic", "отчёт"),
    ("x-mac-ce", "mac-latin2", "příliš"),
    ("gb2312", "gb18030", "关于发票 囍"),
    ("GBK", "gbk", "关于"),
    ("gb18030", "gb18030", "关于 😀"),
    ("hz-gb-2312", "hz", "关于"),
    ("big5", "cp950", "關於發票"),
    ("big5", "big5hkscs", "㗎喺"),
    ("shift_jis", "cp932", "請求書ソ①㈱"),
    ("x-sjis", "cp932", "①"),
    ("windows-31j", "cp932", "①"),
    ("euc-jp", "euc-jp", "日本語"),
    ("iso-2022-jp", "iso2022-jp", "日本語の件名"),
    ("csISO2022JP", "iso2022_jp_ext", "ｶﾀｶﾅ"),
    ("euc-kr", "cp949", "똠방각하"),
    ("ks_c_5601-1987", "cp949", "똠방각하"),
    ("iso-2022-kr", "iso2022-kr", "회의"),
    ("johab", "johab", "회의"),
    ("x-windows-949", "cp949", "똠방각하"),
    ("DOS-862", "cp862", "שלום"),
    ("IBM00858", "cp858", "€"),
    ("x-IBM850", "cp850", "déjà"),
    ("iso_8859-1:1987", "latin-1", "déjà"),
    ("x-mac-japanese", "cp932", "日本"),
    ("x-mac-korean", "cp949", "회의"),
    ("x-mac-chinesesimp", "gb18030", "关于"),
    ("x-mac-chinesetrad", "cp950", "關於"),
]


@pytest.mark.parametrize(("label", "codec", "subject"), SPELT)
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_label_means_what_its_writers_mean(
    label: str, codec: str, subject: str, encoding: str, look: Look
) -> None:
    """Microsoft's code pages under their usual names; no guess, no defect."""
    text = "\r\n".join([USUAL[0], f"Subject: {subject}", *USUAL[2:], ""]).encode(codec)
    encoded = (
        base64.encodebytes(text) if encoding == "base64" else binascii.b2a_qp(text, istext=False)
    )
    report = look(with_text(encoded, f'text/plain; charset="{label}"', encoding=encoding))

    assert codes(report) == set()
    assert report is not None
    assert report.subject == subject


@pytest.mark.parametrize(
    ("label", "data", "subject"),
    [
        (None, "Grüße".encode(), "Grüße"),
        (None, "Grüße “x”".encode("cp1252"), "Grüße “x”"),
        ("us-ascii", "Grüße".encode(), "Grüße"),
        ("x-unknown", "Grüße".encode(), "Grüße"),
        ("x-unknown", b"plain", "plain"),
        ("unknown-8bit", "Grüße".encode("cp1252"), "Grüße"),
        ("utf-8", "Grüße".encode("cp1252"), "Grüße"),
        ("iso-2022-jp", "Grüße".encode(), "Grüße"),
        ("shift_jis", "é\x81".encode(), "é\x81"),
        ("utf-7", b"+AGE-", "+AGE-"),
        ("unicode_escape", b"a\\nTo: x@y.example", "a\\nTo: x@y.example"),
        ("raw-unicode-escape", b"a\\u000ab", "a\\u000ab"),
        ("rot13", b"plain", "plain"),
        ("punycode", b"plain", "plain"),
        ("idna", b"plain", "plain"),
        ("zlib", b"plain", "plain"),
        ("a\x00b", b"plain", "plain"),
        ("../../etc", b"plain", "plain"),
        ("a" * 10_000, b"plain", "plain"),
        ("us-ascii", codecs.encode("日本", "iso2022-jp"), "日本"),
        ("utf-8", b"a\xff\x81b", "aÿ\x81b"),
        ("iso-2022-jp", b"\x1b$BF|K\x1b(B", "\x1b$BF|K\x1b(B"),
    ],
)
def test_a_guess_is_noted_and_recipients_survive_it(
    label: str | None, data: bytes, subject: str, look: Look
) -> None:
    """Missing, unknown, refused or false: decoded by fallback, and nothing is lost."""
    head, tail = f"{USUAL[0]}\r\nSubject: ".encode(), "\r\n".join(["", *USUAL[2:], ""]).encode()
    kind = "text/plain" if label is None else f'text/plain; charset="{label}"'
    report = look(with_text(head + data + tail, kind))

    assert codes(report) == {"charset_guessed"}
    assert addresses(report) == ["bob@example.com"]
    assert report is not None
    assert report.subject == subject


@pytest.mark.parametrize(
    "label", ["us-ascii", "", "utf-8", "iso-8859-1", "shift_jis", "gb2312", "euc-kr"]
)
def test_plain_ascii_needs_no_guess(label: str, look: Look) -> None:
    """Without a label the text is ASCII (RFC 2045, 5.2), and it is so under these as well."""
    kind = f"text/plain; charset={label}" if label else "text/plain"

    assert codes(look(with_text("\r\n".join(USUAL), kind))) == set()


UNICODE = ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize(
    ("codec", "labelled"),
    [("gb18030", True), *((codec, told) for codec in UNICODE for told in (True, False))],
)
def test_a_byte_order_mark_goes_and_tells(codec: str, labelled: bool, look: Look) -> None:
    """It is no part of the text; where the label says otherwise, the mark is believed."""
    data = ("\ufeff" + "\r\n".join(USUAL)).encode(codec)
    label = codec.replace("-le", "le").replace("-be", "be") if labelled else "us-ascii"
    encoded = base64.encodebytes(data)
    report = look(with_text(encoded, f"text/plain; charset={label}", encoding="base64"))

    assert codes(report) == (set() if labelled else {"charset_guessed"})
    assert addresses(report) == ["bob@example.com"]


def test_iso_2022_jp_has_the_characters_of_nec_as_well(look: Look) -> None:
    """Microsoft writes them, and half-width katakana, and the standard knows neither."""
    data = "\r\n".join(USUAL).encode().replace(b"Numbers", b"\x1b$B-!F|\x1b(I1\x1b(Jx\x1b(B!")
    report = look(with_text(data, "text/plain; charset=iso-2022-jp"))

    assert codes(report) == set()
    assert report is not None
    assert report.subject == "①日ｱx!"


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        (b"\x0e6E\x0f", "ｶﾅ"),
        (b"\x1b$BF|K\\\x1b(B \x0e6E\x0f", "日本 ｶﾅ"),
        (b"\x1b$BF|K\\", "日本"),
        (b"\x1b$BF|K\\\x1b(J", "日本"),
    ],
)
def test_iso_2022_jp_is_read_as_it_is_written(data: bytes, subject: str, look: Look) -> None:
    """Katakana shifted in, a line that is left open, the old Roman set: no guess."""
    text = "\r\n".join(USUAL).encode().replace(b"Numbers", data)
    report = look(with_text(text, "text/plain; charset=iso-2022-jp"))

    assert codes(report) == set()
    assert addresses(report) == ["bob@example.com"]
    assert report is not None
    assert report.subject == subject


@pytest.mark.parametrize(
    ("subject", "read", "guessed"),
    [
        (b"x~", "x~", True),
        (b"~{VPND~}~", "~{VPND~}~", True),
        (b"~{VPND~}", "中文", False),
        (b"x~~", "x~", False),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_no_tilde_at_the_end_of_a_subject_takes_the_message_id_away(
    subject: bytes, read: str, guessed: bool, end: bytes, look: Look
) -> None:
    """HZ goes on with the next line there, and without that line a subject can forge others."""
    text = "\n".join(USUAL).encode().replace(b"Numbers", subject).replace(b"\n", end)
    report = look(with_text(text, "text/plain; charset=hz-gb-2312"))

    assert codes(report) == ({"charset_guessed"} if guessed else set())
    assert report is not None
    assert (report.subject, report.message_id) == (read, ID)


def test_utf_16_under_a_false_label_is_known_by_its_mark(look: Look) -> None:
    """Also where the label is the usual one."""
    data = base64.encodebytes("\r\n".join(USUAL).encode("utf-16"))
    report = look(with_text(data, "text/plain; charset=utf-8", encoding="base64"))

    assert codes(report) == {"charset_guessed"}
    assert addresses(report) == ["bob@example.com"]


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("utf-16", "utf-8"),
        ("utf-16le", "ascii"),
        ("unicode", "cp1252"),
        ("utf-16be", "utf-16-le"),
        ("utf-8", "utf-16-le"),
        ("us-ascii", "utf-16-be"),
        ("windows-1252", "utf-16-le"),
        ("", "utf-16-le"),
    ],
)
def test_a_label_that_makes_no_sense_of_the_text_is_not_believed(
    label: str, codec: str, html: bool, look: Look
) -> None:
    """It is read as its bytes say, and noted: addresses are ASCII, whatever a label is."""
    subject = "Preis" if codec == "ascii" else "Größe"
    text = "\r\n".join([USUAL[0], f"Subject: {subject}", *USUAL[2:]])
    if html:
        text = f"<pre>{text.replace('<', '&lt;')}</pre>"
    kind = ("text/html" if html else "text/plain") + (label and f"; charset={label}")
    data = base64.encodebytes(text.encode(codec))
    report = look(with_text(data, kind, encoding="base64"))

    assert codes(report) == {"charset_guessed", *["html_envelope"] * html}
    assert addresses(report) == ["bob@example.com"]
    assert report is not None
    assert report.subject == subject


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("text/plain; charset=utf-8 (Unicode)", "8bit"),
        ("text/plain; charset=utf-8(Unicode); format=flowed", "8bit"),
        ('text/plain; charset="utf-8"', "8bit (plain)"),
        ("text/plain; charset=utf-8", "base64 (as usual)"),
        ("text/plain; charset=utf-8", "base64;"),
    ],
)
def test_a_comment_behind_a_label_says_nothing(kind: str, encoding: str, look: Look) -> None:
    """Charset and transfer encoding are one word each (RFC 2045, section 5.1)."""
    text = "\r\n".join([*USUAL[:1], "Subject: Grüße", *USUAL[2:]]).encode()
    data = base64.encodebytes(text) if encoding.startswith("base64") else text
    report = look(with_text(data, kind, encoding=encoding))

    assert codes(report) == set()
    assert report is not None
    assert report.subject == "Grüße"


def test_the_transfer_encoding_is_undone_before_lines_are_split(look: Look) -> None:
    """Soft line breaks, and line ends that are themselves encoded."""
    address = "a" * 60 + "@" + "sub." * 30 + "example.com"
    text = "\r\n".join([*USUAL[:3], f"To: {address}, Expanded: {address}", ""])
    soft = binascii.b2a_qp(text.encode())
    hard = text.replace("\r\n", "=0D=0A").encode()
    padded = soft.replace(b"=\n", b"= \t\n").replace(b"=\r\n", b"=\t \r\n")
    assert padded != soft
    for data in (soft, hard, soft.replace(b"\r\n", b"\n"), padded):
        report = look(with_text(data, encoding="Quoted-Printable"))

        assert codes(report) == set()
        assert addresses(report) == [address]


@pytest.mark.parametrize("damage", [b"", b"=", b"!!", b"A", b"\r\n\r\nfooter"])
def test_sloppy_base64_is_read_as_far_as_it_goes(damage: bytes, look: Look) -> None:
    """Padding may be missing, and strange characters are passed over."""
    data = base64.encodebytes("\r\n".join([*USUAL, ""]).encode()).rstrip(b"=\n") + damage
    report = look(with_text(data, encoding="base64"))

    assert addresses(report)[:1] == ["bob@example.com"]


MARKUP = [
    ("br", "<html><body><div>{0}<br>\r\n{1}<br/>\r\n{2}<BR />\r\n{3}<br></div></body></html>"),
    ("p", "<p>{0}</p><p class='x'>{1}</p>\r\n<P>{2}</P><p>{3}</p>"),
    ("div", "<div>{0}</div><div>{1}</div><div>{2}</div><div><span>{3}</span></div>"),
    ("pre", "<html><body><pre>{0}\r\n{1}\r\n{2}\r\n{3}\r\n</pre></body></html>"),
    ("none", "<html><body><font size=2>{0}\r\n{1}\r\n{2}\r\n{3}\r\n</font></body></html>"),
    ("office", ("<html xmlns:o='x'><head><title>t</title><style>p {{ To: x }}</style></head>"
     "<body><p><o:p>{0}</o:p></p><p>{1}</p><p>{2}</p><p>{3}</p><!-- Cc: a@b --></body></html>")),
    ("table", ("<table><tr><td>{0}</td></tr><tr><td>{1}</td></tr>"
     "<tr><td>{2}</td></tr><tr><td>{3}</td></tr></table>")),
    ("numbers", "<p>{0}<br>{1}&#99999999999;&#" + "9" * 5_000 + ";<br>{2}<br>{3}</p>"),
    ("wrapped", "<p>{0}<br>{1}<br>{2}<br>To:\r\nbob@example.com</p>"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "markup"), MARKUP)
def test_an_html_text_is_read_by_what_it_shows(name: str, markup: str, look: Look) -> None:
    """Tags are cut, entities resolved; raw angle brackets around an address are no tag."""
    fields = [
        line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in USUAL
    ]
    fields[1] = "Subject: Quarterly &amp;&nbsp;&#78;umbers"
    for texts in (fields, [*fields[:3], USUAL[3]]):
        report = look(with_text(markup.format(*texts), "text/html; charset=utf-8"))

        assert codes(report) == {"html_envelope"}
        assert addresses(report) == ["bob@example.com"]
        assert report is not None
        assert report.subject == "Quarterly & Numbers"
        assert report.message_id == ID
