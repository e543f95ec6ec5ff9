"""Limits are typed errors; time is linear, and an original is never copied."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from mailarchive import journal
from mailarchive.errors import LimitExceeded, MalformedReport, NotAJournalReport
from mailarchive.journal import Limits
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1 << 20
MESSAGE = messages.message()
PEOPLE = [f"user{n}@x.example" for n in range(50)]


@pytest.mark.parametrize(
    ("limits", "raw"),
    [
        (Limits(header_bytes=200), reports.report()),
        (
            Limits(header_bytes=1_000),
            reports.report(messages.message(headers=[("X", "y" * 2_000)])),
        ),
        (Limits(parts=2), reports.report(defects=["extra_part"])),
        (Limits(text_bytes=50), reports.report()),
        (Limits(text_lines=3), reports.report(defects=["unknown_line"])),
        (Limits(text_lines=3), reports.report(dialect="exchange2003")),
        (Limits(encoded_bytes=50), reports.report(defects=["rfc822_cte"])),
        (Limits(encoded_bytes=50), reports.report(defects=["original_is_msg"])),
        (Limits(recipients=49), reports.report(recipients=PEOPLE)),
        (Limits(recipients=49), reports.report(recipients=PEOPLE, defects=["unknown_line"])),
        (Limits(recipients=49), reports.report(recipients=PEOPLE, dialect="exchange2003")),
        (Limits(recipients=49), reports.report(recipients=PEOPLE, dialect="citadel")),
    ],
)
def test_a_crossed_limit_is_a_typed_error(limits: Limits, raw: bytes) -> None:
    """One more than allowed of anything, and never a shorter list instead."""
    assert isinstance(journal.decode(raw), journal.JournalReport)
    with pytest.raises(LimitExceeded):
        journal.decode(raw, limits=limits)


@pytest.mark.parametrize(
    "limits",
    [Limits(recipients=50), Limits(parts=2), Limits(text_bytes=2_000), Limits(header_bytes=1_300)],
)
def test_what_is_just_allowed_is_read(limits: Limits) -> None:
    """A limit is the most that may be."""
    report = journal.decode(reports.report(recipients=PEOPLE), limits=limits)

    assert len(report.recipients) == 50


def test_deeper_wrapping_than_the_limit_is_not_opened() -> None:
    """What lies deeper is one opaque part, so the report's own parts are missing."""
    raw = reports.wrapped(reports.report())

    assert journal.decode(raw, limits=Limits(depth=2)).originals
    with pytest.raises(MalformedReport):
        journal.decode(raw, limits=Limits(depth=1))


@pytest.mark.parametrize(
    "raw",
    [
        messages.forward(*[MESSAGE] * 100),
        messages.message(attachments=[messages.attachment(b"x", f"{n}") for n in range(100)]),
        messages.bounce(messages.forward(*[MESSAGE] * 100)),
        reports.report(MESSAGE, copies=[MESSAGE] * 100, defects=["marker_missing"]),
    ],
)
def test_ordinary_mail_crosses_no_limit(raw: bytes) -> None:
    """The limits are of reports: a mail with a hundred attachments is a mail."""
    with pytest.raises(NotAJournalReport):
        journal.decode(raw)


def test_a_limit_is_at_least_one() -> None:
    """A limit of nothing is a mistake."""
    with pytest.raises(ValueError, match="recipients"):
        Limits(recipients=0)


def allocated(call: Callable[[], object]) -> int:
    """Return the most memory in bytes that the call held at any time."""
    gc.collect()
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        del result


@pytest.mark.slow
@pytest.mark.parametrize("departing", [False, True])
def test_a_large_original_is_never_copied(departing: bool) -> None:
    """150 MB in, and less than a mebibyte more is held; by either way."""
    body = b"A" * 74 + b"_\r\n"
    large = messages.message(body=body * (150_000_000 // len(body)))
    raw = reports.report(large, defects=["unknown_line"] if departing else [])
    del large
    report = journal.decode(raw)

    assert len(report.view()) > 150_000_000
    assert allocated(lambda: journal.decode(raw)) < MEBIBYTE
    assert allocated(lambda: report.view()[1_000_000:]) < MEBIBYTE


def cpu(call: Callable[[], object]) -> float:
    """Return the least CPU seconds of a few calls."""
    times = []
    for _ in range(3):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def nested(depth: int) -> bytes:
    """Return a message of so many multiparts in one another, each with a message inside."""
    head = 'From: a@b.example\r\nContent-Type: multipart/mixed; boundary="n{0}"\r\n\r\n--n{0}\r\n'
    opening = "".join(
        head.format(level) + "Content-Type: message/rfc822\r\n\r\n" for level in range(depth)
    )
    return opening.encode() + b"From: a@b.example\r\n\r\nx\r\n"


HEAD = "Sender: a@b.c\nMessage-Id: <1@x>\n"
DELIMITER = b"\r\n--" + reports.BOUNDARY.encode()


def newer(
    repeated: str, before: str = HEAD, content_type: str = "text/plain"
) -> Callable[[int], bytes]:
    """Return a maker of reports whose text repeats something so many times."""
    return lambda n: reports.with_text(before + repeated * n, content_type=content_type)


def older(repeated: str) -> Callable[[int], bytes]:
    """Return the same for the older grammar."""
    return newer(repeated, f"{HEAD}Recipients:\n")


def markup(repeated: str) -> Callable[[int], bytes]:
    """Return the same for HTML."""
    return newer(repeated, "", content_type="text/html")


def inside(repeated: bytes) -> Callable[[int], bytes]:
    """Return the same for the body of the original."""
    return lambda n: reports.report(messages.message(body=repeated * n))


def header(name: str, repeated: str) -> Callable[[int], bytes]:
    """Return the same for a header field of the original."""
    return lambda n: reports.report(messages.message(headers=[(name, repeated * n)]))


def users(count: int) -> list[str]:
    """Return so many addresses."""
    return [f"u{number}@x.example" for number in range(count)]


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "recipients": lambda n: reports.report(recipients=users(n)),
    "recipients, departing": newer('To: "U" <u@x.example>, Expanded: dl@x.example\n'),
    "recipients, 2003": lambda n: reports.report(recipients=users(n), dialect="exchange2003"),
    "a failed recipient": lambda n: messages.bounce(reports.report(), failed=["a" * n]),
    "failed recipients": lambda n: messages.bounce(reports.report(), failed=users(n)),
    "levels": lambda n: reports.report(nested(n)),
    "underscores": inside(b"_" * 20),
    "nearly delimiters": inside(DELIMITER[:-1]),
    "delimiters with more": inside(DELIMITER + b"x"),
    "subject lines": lambda n: reports.with_text(
        "Sender: a@b.c\nSubject: x\n" + "To: y\n" * n + "Message-Id: <1@x>\n"
    ),
    "open subject lines": newer("x\n", f"{HEAD}Subject: x\n"),
    "unknown lines": newer("x\n"),
    "folded lines": newer(" x\n", f"{HEAD}To: a@b.c\n"),
    "commas": newer("a, ", f"{HEAD}To: "),
    "histories": newer(", Expanded: d@b.c", f"{HEAD}To: a@b.c"),
    "quotes": newer('"<', f"{HEAD}To: "),
    "backslashes": newer("\\", f'{HEAD}To: "'),
    "brackets": newer("([<", f"{HEAD}To: "),
    "blanks": newer(" ", f"{HEAD}To: a"),
    "blanks behind a comma": newer(" ", f"{HEAD}To: a@b.c, x"),
    "words behind a comma": newer(" xy", f"{HEAD}To: a@b.c, x"),
    "commas, 2003": older("a b,"),
    "quotes, 2003": older('"<"'),
    "open quotes, 2003": older('"\n'),
    "brackets, 2003": older('<"'),
    "blanks, 2003": older(" "),
    "blanks in brackets, 2003": newer(" ", f"{HEAD}Recipients:\n<EX:/o=a"),
    "lines in brackets, 2003": newer(" x \n", f"{HEAD}Recipients:\n<EX:/o=a"),
    "names, 2003": older("a b c\n"),
    "tags": markup("<p "),
    "comments": markup("<!--<!["),
    "scripts": markup("<script>"),
    "spaces": markup(" <br>\n "),
    "entities": markup("&amp"),
    "digits": lambda n: reports.with_text("&#" + "9" * n, content_type="text/html"),
    "parameters": lambda n: reports.with_text("x", content_type="text/plain" + ";a=b" * n),
    "header lines": lambda n: reports.report(messages.message(headers=[("X-MS", "y")] * n)),
    "folded headers": header("From", "\r\n x"),
    "angle in From": header("From", "<a "),
    "open angle in From": lambda n: reports.report(messages.message(sender="<" + 'a"b" ' * n)),
    "words in From": lambda n: reports.report(messages.message(sender='a"b"' * n)),
    "comments in From": header("From", "("),
    "blanks in From": lambda n: reports.report(
        messages.message(sender=" " * n + "x"), sender="x@y.z"
    ),
    "quotes in From": header("From", '"\\"'),
    "encoded words": header("Subject", "=?u?q?a?= "),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear(name: str) -> None:
    """Eight times as much of anything takes about eight times as long, not sixty-four."""
    small, large = HOSTILE[name](2_000), HOSTILE[name](16_000)
    limits = Limits(header_bytes=64 * MEBIBYTE)

    def look(raw: bytes) -> None:
        try:
            journal.decode(raw, limits=limits)
        except (MalformedReport, NotAJournalReport):
            return

    assert cpu(lambda: look(large)) < 24 * cpu(lambda: look(small)) + 0.05
