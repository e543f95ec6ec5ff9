"""A mail corpus in which message `n` depends only on the seed and on `n`.

It has the shape of a company's mail: sizes from a kilobyte to 25 MB (median about 30 KB,
mean about 92 KB), about 15 % copies, twelve charsets, header blocks as Microsoft 365
writes them, and a few per cent of awkward but real shapes.  Line ends are CRLF.  It is
put together from blocks that are made once, so that it costs little beside what it measures.

Run `python tests/benchmarks/corpus.py --stats` to see the distribution.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import math
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IDENTICAL = 0.106
"""Share of messages that are byte for byte an earlier one."""
COPIES = 0.154
"""The same, and those that have an earlier one's content under new transport headers."""
MEDIAN = 30_500
SPREAD = 1.37
HUGE = 0.0012
"""Share of messages of 5 to 25 MB, beside the log-normal rest."""

_FIRST_DAY = datetime(2024, 1, 1, 7, tzinfo=UTC)
# ruff: noqa: RUF001  # other alphabets are what these words are for
_LATIN = "Grüße café naïve façade Übergröße señor português àéîõü Straße"
_TEXTS = {
    "us-ascii": "quarter invoice meeting the and of shipment draft please review budget",
    "utf-8": _LATIN + " 数字 отчёт 日本 € naïve and the with",
    "iso-8859-1": _LATIN + " und der con para",
    "windows-1252": _LATIN + " “quoted” — € and",
    "iso-8859-15": _LATIN + " € œuvre et",
    "iso-8859-2": "zażółć gęślą jaźń příliš žluťoučký kůň úpěl ďábelské ódy i na",
    "koi8-r": "счёт договор собрание отчёт просьба проверить и на бюджет",
    "windows-1251": "рахунок договор нарада звіт перевірити і на бюджет",
    "iso-2022-jp": "会議 請求書 予算 報告 確認 お願いします よろしく",
    "shift_jis": "会議 請求書 予算 報告 確認 カタカナ よろしく",
    "euc-kr": "회의 청구서 예산 보고 확인 부탁드립니다 감사",
    "gb2312": "会议 发票 预算 报告 确认 请 谢谢",
}
_WORDS = {charset: text.split() for charset, text in _TEXTS.items()}
CHARSETS = tuple(_WORDS)
_CHARSET_WEIGHTS = (30, 35, 8, 6, 2, 3, 3, 3, 3, 2, 2, 3)
_AWKWARD = 0.04


class Person(NamedTuple):
    """Somebody in the company: an id, a name, and addresses with the primary one first."""

    id: str
    name: str
    addresses: tuple[str, ...]


class _Plan(NamedTuple):
    """Which message's content and which message's transport headers make this one."""

    content: int
    transport: int


class _Mail(NamedTuple):
    """What the headers and the journal's envelope have to agree on."""

    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    charset: str
    message_id: str
    date: str


LISTS = {
    "sales@example.com": ("user03@example.com", "user07@example.com", "user11@example.com"),
    "all@example.com": tuple(f"user{n:02}@example.com" for n in range(0, 40, 5)),
}
"""Distribution lists and whom they reach."""


@cache
def people() -> tuple[Person, ...]:
    """Return the forty users of the company, every third with aliases."""
    return tuple(_person(n) for n in range(40))


def _person(n: int) -> Person:
    first = f"user{n:02}@example.com"
    aliases = (f"User.Name{n:02}@example.com", f"u{n}@old.example.com") if n % 3 == 0 else ()
    return Person(f"u{n:04}", f"User Name {n:02}", (first, *aliases))


# -- blocks that are made once ------------------------------------------------------------


@cache
def _noise() -> bytes:
    """Return 8 MB of base64 lines that compress like a PDF or a PNG: hardly."""
    return base64.encodebytes(Random("noise").randbytes(6_000_000)).replace(b"\n", b"\r\n")


@cache
def _document() -> bytes:
    """Return 4 MB of base64 lines that compress like a table or a bitmap: well."""
    rng = Random("document")
    rows = (f"{rng.randrange(90_000)};{rng.choice('ABCD')};0,00;\r\n" for _ in range(190_000))
    return base64.encodebytes("".join(rows).encode()).replace(b"\n", b"\r\n")


@cache
def _lines(charset: str) -> tuple[bytes, ...]:
    """Return 2,000 lines of text, each encoded by itself so that any run of them is valid."""
    rng = Random(f"lines/{charset}")
    words = _WORDS[charset]
    return tuple(_line(rng, words).encode(charset) for _ in range(2_000))


def _line(rng: Random, words: list[str]) -> str:
    chosen = rng.choices(words, k=rng.randint(4, 9))
    return " ".join([*chosen, str(rng.randrange(10_000_000)), rng.choice(words)])


@cache
def _average(charset: str) -> int:
    lines = _lines(charset)
    return sum(map(len, lines)) // len(lines) + 2


def _cut(block: bytes, rng: Random, size: int) -> bytes:
    """Return about `size` bytes of whole 78-byte lines of the block."""
    count = max(1, size // 78)
    there = len(block) // 78 - 1
    parts = []
    while count > 0:
        taken = min(count, there // 2)
        start = rng.randrange(there - taken) * 78
        parts.append(block[start : start + taken * 78])
        count -= taken
    return b"".join(parts)


def _token(rng: Random, size: int) -> str:
    start = rng.randrange(100_000) * 78
    return _noise()[start : start + size + size // 30].replace(b"\r\n", b"")[:size].decode()


# -- parts -------------------------------------------------------------------------------


def _text(rng: Random, charset: str, size: int, subtype: str = "plain") -> bytes:
    plain = "7bit" if charset in {"us-ascii", "iso-2022-jp"} else "8bit"
    how = rng.choice([plain, plain, "quoted-printable", "base64"])
    between = _BETWEEN[subtype]
    lines, line = _lines(charset), _average(charset) + len(between) - 2
    count = max(1, int(size / line / _growth(charset, how)))
    start = rng.randrange(len(lines))
    run = (lines * (1 + (start + count) // len(lines)))[start : start + count]
    body = between.join((f"ref {rng.getrandbits(64):016x}".encode(), *run)) + b"\r\n"
    head = f'Content-Type: text/{subtype}; charset="{charset}"\r\nContent-Transfer-Encoding: {how}'
    return head.encode() + b"\r\n\r\n" + _encoded(body, how)


_BETWEEN = {"plain": b"\r\n", "html": b'</p>\r\n<p class="MsoNormal">'}


def _encoded(body: bytes, how: str) -> bytes:
    if how == "quoted-printable":
        return binascii.b2a_qp(body)
    if how == "base64":
        return base64.encodebytes(body).replace(b"\n", b"\r\n")
    return body


@cache
def _growth(charset: str, how: str) -> float:
    """Return how much longer a text gets by its transfer encoding."""
    sample = b"\r\n".join(_lines(charset)[:100])
    return len(_encoded(sample, how)) / len(sample)


def _multipart(rng: Random, kind: str, parts: list[bytes], *, closed: bool = True) -> bytes:
    boundary = f"_00{rng.randrange(10)}_{rng.getrandbits(96):024X}_".encode()
    head = f"Content-Type: multipart/{kind};\r\n\tboundary=".encode() + b'"' + boundary + b'"'
    inside = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return head + b"\r\n\r\n" + inside + (b"--" + boundary + b"--\r\n" if closed else b"")


def _attachment(rng: Random, size: int, kind: str = "application/pdf") -> bytes:
    block = _document() if rng.random() < 0.25 else _noise()
    name = f"file-{rng.getrandbits(32):08x}"
    head = (
        f'Content-Type: {kind}; name="{name}"\r\nContent-Description: {name}\r\n'
        f'Content-Disposition: attachment; filename="{name}"; size={size}\r\n'
        f"Content-ID: <{name}>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode() + _cut(block, rng, size)


def _plain(rng: Random, charset: str, size: int) -> bytes:
    return _text(rng, charset, size)


def _alternative(rng: Random, charset: str, size: int) -> bytes:
    parts = [_text(rng, charset, size // 4), _text(rng, charset, size - size // 4, "html")]
    return _multipart(rng, "alternative", parts, closed=rng.random() > _AWKWARD)


def _related(rng: Random, charset: str, size: int) -> bytes:
    text = min(size // 3, 40_000)
    parts = [_text(rng, charset, text, "html"), _attachment(rng, size - text, "image/png")]
    return _multipart(rng, 'related; type="text/html"', parts)


def _mixed(rng: Random, charset: str, size: int) -> bytes:
    text, files = min(size // 5, 20_000), rng.randint(1, 5)
    each = [_attachment(rng, (size - text) // files) for _ in range(files)]
    return _multipart(rng, "mixed", [_alternative(rng, charset, text), *each])


def _forward(rng: Random, charset: str, size: int) -> bytes:
    inner = _content(rng, _mail(rng, rng.randrange(1_000)), size - 2_000)
    parts = [_text(rng, charset, 500), b"Content-Type: message/rfc822\r\n\r\n" + inner]
    return _multipart(rng, "mixed", parts)


def _signed(rng: Random, charset: str, size: int) -> bytes:
    how = 'signed; protocol="application/pkcs7-signature"; micalg=sha-256'
    signature = _attachment(rng, 4_000, "application/pkcs7-signature")
    return _multipart(rng, how, [_alternative(rng, charset, size - 4_500), signature])


def _calendar(rng: Random, charset: str, size: int) -> bytes:
    event = f"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{_token(rng, 80)}\r\n"
    event += "DTSTART:20240101T070000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    head = 'Content-Type: text/calendar; charset="utf-8"; method=REQUEST\r\n\r\n'
    parts = [_text(rng, charset, size - 600, "html"), (head + event).encode()]
    return _multipart(rng, "alternative", parts)


_SMALL: tuple[Callable[[Random, str, int], bytes], ...] = (_plain, _alternative, _calendar)
_MIDDLE = (_plain, _alternative, _alternative, _related, _mixed, _forward, _signed)
_LARGE = (_mixed, _mixed, _related, _mixed, _forward)


def _body(rng: Random, charset: str, size: int) -> bytes:
    kinds = _SMALL if size < 9_000 else _MIDDLE if size < 80_000 else _LARGE
    return rng.choice(kinds)(rng, charset, size)


# -- headers -----------------------------------------------------------------------------


def _mail(rng: Random, n: int) -> _Mail:
    """Draw who wrote to whom; at least one of them is one of the company's people."""
    sender, first = _someone(rng), _address(rng.choice(people()), rng)
    to = (first, *(_someone(rng) for _ in range(rng.choice((0, 0, 0, 1, 2, 6)))))
    if rng.random() < 0.06:
        to = (*to, rng.choice(tuple(LISTS)))
    cc = tuple(_someone(rng) for _ in range(rng.choice((0, 0, 0, 1, 3))))
    bcc = (rng.choice(people()).addresses[0],) if rng.random() < 0.05 else ()
    charset = rng.choices(CHARSETS, _CHARSET_WEIGHTS)[0]
    subject = " ".join([*rng.choices(_WORDS[charset], k=rng.randint(2, 7)), str(n)])
    date = _FIRST_DAY + timedelta(seconds=97 * n)
    message_id = f"<{_token(rng, 40).replace('/', '-')}{n}@{sender.partition('@')[2]}>"
    return _Mail(sender, to, cc, bcc, subject, charset, message_id, format_datetime(date))


def _someone(rng: Random) -> str:
    if rng.random() < 0.5:
        return _address(rng.choice(people()), rng)
    return f"person{rng.randrange(400)}@partner{rng.randrange(30)}.example"


def _address(person: Person, rng: Random) -> str:
    return rng.choice(person.addresses)


def _subject(rng: Random, mail: _Mail) -> bytes:
    raw = mail.subject.encode(mail.charset)
    if raw.isascii() and mail.charset != "iso-2022-jp":
        return b"Subject: " + raw
    if rng.random() < _AWKWARD:
        return b"Subject: " + raw
    words = [
        mail.subject[i : i + 12].encode(mail.charset) for i in range(0, len(mail.subject), 12)
    ]
    coded = (f"=?{mail.charset}?B?{base64.b64encode(w).decode()}?=" for w in words)
    return b"Subject: " + "\r\n ".join(coded).encode()


def _people_header(name: str, addresses: tuple[str, ...]) -> bytes:
    each = (f'"{address.partition("@")[0]}" <{address}>' for address in addresses)
    return f"{name}: ".encode() + ",\r\n\t".join(each).encode()


def _content(rng: Random, mail: _Mail, size: int) -> bytes:
    """Return the author's headers and the body: what all copies of a message share."""
    head = [
        _people_header("From", (mail.sender,)),
        _people_header("To", mail.to),
        _subject(rng, mail),
        f"Date: {mail.date}\r\nMessage-ID: {mail.message_id}\r\nMIME-Version: 1.0".encode(),
    ]
    if mail.cc:
        head.insert(2, _people_header("Cc", mail.cc))
    if rng.random() < 0.6:
        head.append(b"Accept-Language: en-US\r\nX-MS-Has-Attach:\r\nX-MS-TNEF-Correlator:")
    if rng.random() < _AWKWARD:
        head.append(rng.choice(_AWKWARD_HEADERS))
    top = b"\r\n".join(head) + b"\r\n"
    return top + _body(rng, mail.charset, max(300, size - len(top)))


_AWKWARD_HEADERS = (
    b"this header line has no colon",
    b"X-Folded: first\r\n \t \r\n second",
    b"X-Tabbed:\tafter the colon",
    b"X-Eight-Bit: gr\xfc\xdfe",
    b"X-Empty:",
    b"X-Very-Long: " + b"n" * 1_500,
)


def _transport(rng: Random) -> bytes:
    """Return what the servers on the way wrote; other for every copy that went another way."""
    hops = (
        f"Received: from MB{rng.randrange(9_999):04}.example.com (2603:10a6::{hop:x}) by"
        f"\r\n GV{rng.randrange(9_999):04}.example.net with HTTPS; "
        f"Mon, 1 Jan 2024 07:{rng.randrange(60):02}:00 +0000\r\n"
        for hop in range(rng.randint(1, 4))
    )
    received = "".join(hops)
    if rng.random() < 0.25:
        return received.encode()
    return (
        f"{received}ARC-Seal: i=1; a=rsa-sha256; s=arcselector; d=example.net; cv=none;\r\n"
        f" b={_token(rng, 344)}\r\n"
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1;\r\n"
        f" h=From:Date:Subject:Message-ID; bh={_token(rng, 43)};\r\n b={_token(rng, 344)}\r\n"
        f"Authentication-Results: spf=pass; dkim=pass; dmarc=pass action=none\r\n"
        f"X-Forefront-Antispam-Report: CIP:192.0.2.{rng.randrange(255)};CTRY:;LANG:en;\r\n"
        f"X-MS-Exchange-Organization-Network-Message-Id: {rng.getrandbits(128):032x}\r\n"
        f"X-Microsoft-Antispam-Message-Info: {_token(rng, rng.randint(900, 1_900))}\r\n"
    ).encode()


# -- the corpus --------------------------------------------------------------------------


def _plan(n: int, seed: int) -> _Plan:
    rng = Random(f"{seed}/plan/{n}")
    roll = rng.random()
    if n == 0 or roll >= COPIES:
        return _Plan(n, n)
    earlier = _plan(rng.randrange(n), seed)
    return earlier if roll < IDENTICAL else _Plan(earlier.content, n)


def _size(rng: Random) -> int:
    if rng.random() < HUGE:
        return int(5e6 * 5 ** rng.random())
    return min(25_000_000, int(rng.lognormvariate(math.log(MEDIAN), SPREAD)))


def _drawn(n: int, seed: int) -> tuple[Random, _Mail]:
    rng = Random(f"{seed}/content/{n}")
    return rng, _mail(rng, n)


def message(n: int, *, seed: int = 1) -> bytes:
    """Return message `n`; the same for the same seed, whatever was made before."""
    plan = _plan(n, seed)
    rng, mail = _drawn(plan.content, seed)
    transport = _transport(Random(f"{seed}/transport/{plan.transport}"))
    return transport + _content(rng, mail, _size(rng) - 2_500)


def messages(count: int, *, seed: int = 1) -> Iterator[bytes]:
    """Yield messages 0 to `count` - 1."""
    return (message(n, seed=seed) for n in range(count))


def journal_report(n: int, *, seed: int = 1) -> bytes:
    """Return the Exchange 2007-and-later journal report whose original is `message(n)`."""
    _, mail = _drawn(_plan(n, seed).content, seed)
    rng = Random(f"{seed}/report/{n}")
    boundary = f"_{rng.getrandbits(128):032x}_".encode()
    head = (
        b'Content-Type: multipart/mixed;\r\n\tboundary="' + boundary + b'"\r\n',
        b"Subject: journaled\r\n" + _people_header("To", mail.to[:1]) + b"\r\n",
        _people_header("From", (mail.sender,)) + b"\r\nMIME-Version: 1.0\r\n",
        b"Sender: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.com>\r\n",
        f"Message-ID: <{rng.getrandbits(128):032x}@journal.report.generator>\r\n".encode(),
        f"Date: {mail.date}\r\nX-MS-Journal-Report:\r\n".encode(),
        f"X-MS-Exchange-Parent-Message-Id: {mail.message_id}\r\n".encode(),
        b"Auto-Submitted: auto-generated\r\n",
        b"X-MS-Exchange-Generated-Message-Source: Journal Agent\r\n\r\n",
    )
    envelope = _coded_envelope(rng, "\r\n".join(_envelope(rng, mail)) + "\r\n")
    begin, end = b"--" + boundary + b"\r\n", b"--" + boundary + b"--\r\n"
    original = b"Content-Type: message/rfc822\r\n\r\n" + message(n, seed=seed)
    return b"".join((*head, begin, envelope, b"\r\n", begin, original, b"\r\n", end))


def _envelope(rng: Random, mail: _Mail) -> Iterator[str]:
    yield f"Sender: {mail.sender}"
    yield f"Subject: {mail.subject}"
    yield f"Message-Id: {mail.message_id}"
    inbound = not mail.sender.endswith("example.com")
    for word, addresses in (("To", mail.to), ("Cc", mail.cc), ("Bcc", mail.bcc)):
        role = "Recipient" if inbound else word
        for address in addresses:
            yield from (f"{role}: {one}" for one in _reached(rng, address))


def _reached(rng: Random, address: str) -> Iterator[str]:
    """Yield a recipient's lines: the members of a list, now and then a forwarding."""
    if address in LISTS:
        yield from (f"{member}, Expanded: {address}" for member in LISTS[address])
    elif address.endswith("example.com") and rng.random() < 0.01:
        yield f"{rng.choice(people()).addresses[0]}, Forwarded: {address}"
    else:
        yield address


def _coded_envelope(rng: Random, text: str) -> bytes:
    charset, how, roll = "us-ascii", "7bit", rng.random()
    if not text.isascii():
        charset, how = "utf-8", "8bit"
    body = text.encode(charset)
    if roll < 0.05:
        how, body = "quoted-printable", binascii.b2a_qp(body)
    elif roll < 0.08:
        how, body = "base64", base64.encodebytes(body).replace(b"\n", b"\r\n")
    head = f'Content-Type: text/plain; charset="{charset}"\r\nContent-Transfer-Encoding: {how}'
    return head.encode() + b"\r\n\r\n" + body


def journal_reports(count: int, *, seed: int = 1) -> Iterator[bytes]:
    """Yield the reports around messages 0 to `count` - 1, in that order."""
    return (journal_report(n, seed=seed) for n in range(count))


def write_maildir(path: str | os.PathLike[str], messages: Iterable[bytes]) -> int:
    """Write the messages, read and unflagged, into a Maildir; return how many there were."""
    root = Path(path)
    for part in ("cur", "new", "tmp"):
        (root / part).mkdir(parents=True, exist_ok=True)
    count = 0
    for count, raw in enumerate(messages, 1):
        when = int(_FIRST_DAY.timestamp()) + 97 * count
        file = root / "cur" / f"{when}.M{count}P1.corpus:2,S"
        file.write_bytes(raw)
        os.utime(file, (when, when))
    return count


# -- a look at it ------------------------------------------------------------------------


def _stats(made: Iterable[bytes]) -> str:
    began, sizes, seen, same = time.perf_counter(), [], set[bytes](), 0
    for raw in made:
        digest = hashlib.sha256(raw).digest()
        same += digest in seen
        seen.add(digest)
        sizes.append(len(raw))
    took, count, ordered = time.perf_counter() - began, len(sizes), sorted(sizes)
    rows = {
        "messages": f"{count:,}",
        "total": f"{sum(sizes) / 1e6:,.1f} MB",
        "median": f"{statistics.median(sizes) / 1e3:,.1f} KB",
        "mean": f"{statistics.mean(sizes) / 1e3:,.1f} KB",
        "p90": f"{ordered[int(count * 0.9)] / 1e3:,.0f} KB",
        "p99": f"{ordered[int(count * 0.99)] / 1e3:,.0f} KB",
        "max": f"{ordered[-1] / 1e6:,.1f} MB",
        "min": f"{ordered[0]:,} bytes",
        "byte-identical": f"{same / count:.1%}",
        "made and hashed in": f"{took:.1f} s",
    }
    return "".join(f"{name:>20}  {value}\n" for name, value in rows.items())


def main() -> None:
    """Print the distribution, or write a Maildir."""
    parser = argparse.ArgumentParser(description="A deterministic mail corpus.")
    parser.add_argument("--stats", action="store_true", help="print the distribution")
    parser.add_argument("--maildir", metavar="PATH", help="write a Maildir")
    parser.add_argument("--journal", action="store_true", help="journal reports, not messages")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    make = journal_reports if options.journal else messages
    if options.maildir:
        write_maildir(options.maildir, make(options.count, seed=options.seed))
    if options.stats or not options.maildir:
        sys.stdout.write(_stats(make(options.count, seed=options.seed)))


if __name__ == "__main__":
    main()
