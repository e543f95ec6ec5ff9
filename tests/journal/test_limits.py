"""Limits are typed errors; memory is linear, and an original is never copied."""

from __future__ import annotations

import contextlib
import gc
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

import pytest
from attrs import fields
from support.hostile import HOSTILE, nested

from mailarchive import journal
from mailarchive.errors import LimitExceeded, MalformedReport, NotAJournalReport
from mailarchive.journal import Limits, _decode
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1 << 20
SECONDS = 5.0
MESSAGE = messages.message()
PEOPLE = [f"user{n}@x.example" for n in range(50)]


@pytest.mark.parametrize(
    ("name", "most", "raw"),
    [
        ("header_bytes", 200, reports.report()),
        ("header_bytes", 1_000, reports.report(messages.message(headers=[("X", "y" * 2_000)]))),
        (
            "header_bytes",
            900,
            reports.with_text("Sender: a@b.c\nMessage-Id: <1@x>", headers=[("X", "y" * 900)]),
        ),
        (
            "header_bytes",
            1_500,
            reports.with_text("x", content_type="text/plain; x=" + "y" * 1_500),
        ),
        ("parts", 2, reports.report(defects=["extra_part"])),
        ("text_bytes", 50, reports.report()),
        ("text_lines", 3, reports.report(defects=["unknown_line"])),
        ("text_lines", 3, reports.report()),
        ("text_lines", 3, reports.report(dialect="exchange2003")),
        ("encoded_bytes", 50, reports.report(defects=["rfc822_cte"])),
        ("encoded_bytes", 50, reports.report(defects=["original_is_msg"])),
        ("recipients", 49, reports.report(recipients=PEOPLE)),
        ("recipients", 49, reports.report(recipients=PEOPLE, defects=["unknown_line"])),
        ("recipients", 49, reports.report(recipients=PEOPLE, dialect="exchange2003")),
        ("recipients", 49, reports.report(recipients=PEOPLE, dialect="citadel")),
    ],
)
def test_a_crossed_limit_is_a_typed_error_that_names_it(name: str, most: int, raw: bytes) -> None:
    """One more than allowed of anything, and never a shorter list instead."""
    with contextlib.suppress(MalformedReport):
        assert isinstance(journal.decode(raw), journal.JournalReport)
    for line_end in (b"\r\n", b"\n"):
        with pytest.raises(LimitExceeded, match=name) as caught:
            journal.decode(raw.replace(b"\r\n", line_end), limits=Limits(**{name: most}))
        assert name in caught.value.suggestions[0]


def test_every_limit_is_tried() -> None:
    """`depth` bounds what is opened, and `nesting` what is unwrapped: each has its own test."""
    tried = {"header_bytes", "parts", "text_bytes", "text_lines", "encoded_bytes", "recipients"}

    assert {field.name for field in fields(Limits)} == tried | {"depth", "nesting"}


def test_reports_in_one_another_are_opened_so_many_times() -> None:
    """One more is a typed error."""
    raw = reports.report(MESSAGE)
    for _ in range(3):
        raw = reports.report(raw)
    opened = journal.decode(raw)
    for depth in (2, 3):
        opened = journal.unwrap(opened, limits=Limits(nesting=3))
        assert opened.depth == depth
    with pytest.raises(LimitExceeded, match="nesting"):
        journal.unwrap(opened, limits=Limits(nesting=3))


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


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_report_ends_in_a_value_or_a_typed_error(name: str) -> None:
    """That its time is linear is for `tests/benchmarks/bench_hostile.py` to measure."""
    raw = HOSTILE[name](2_000)
    results: list[object] = []
    for decode in (journal.decode, _decode.step_by_step):
        try:
            results.append(decode(raw))
        except (MalformedReport, NotAJournalReport, LimitExceeded) as error:
            results.append(type(error))

    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["escaped quotes", "escaped quotes, 2003", "separators, 2003"])
def test_what_is_never_closed_or_separates_nothing_is_looked_for_once(name: str) -> None:
    """The bound is against a hang: what grows with the square takes minutes."""
    began = time.thread_time()
    with contextlib.suppress(MalformedReport, NotAJournalReport, LimitExceeded):
        journal.decode(HOSTILE[name](30_000))

    assert time.thread_time() - began < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("departing", [False, True])
@pytest.mark.parametrize("dialect", ["transport", "exchange2003"])
def test_memory_grows_with_the_recipients_and_not_faster(dialect: str, departing: bool) -> None:
    """Twice as many recipients are twice as much memory; none is counted twice."""
    defects = ["unknown_line"] if departing else []
    peaks = []
    for count in (6_000, 12_000):
        people = [f"user{number:05}@x.example" for number in range(count)]
        raw = reports.report(recipients=people, dialect=dialect, defects=defects)
        assert len(journal.decode(raw).recipients) == count
        peaks.append(allocated(partial(journal.decode, raw)))

    assert 1.7 < peaks[1] / peaks[0] < 2.3
    assert peaks[1] < 12_000 * 1_200


@pytest.mark.slow
def test_what_is_nested_costs_no_more_than_its_length() -> None:
    """An original of 120 levels is a slice like any other: the decoder opens none of them."""
    deep, flat = (reports.report(nested(levels)) for levels in (120, 1))

    assert len(journal.decode(deep).view()) > 60 * len(journal.decode(flat).view())
    assert allocated(lambda: journal.decode(deep)) < 2 * allocated(lambda: journal.decode(flat))
