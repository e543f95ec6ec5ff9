"""Laws that hold for any report, and for any bytes at all."""

from __future__ import annotations

import json
import pickle
import random
import time
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import journal
from mailarchive._model import Address, Origin
from mailarchive.errors import LimitExceeded, MalformedReport, NotAJournalReport
from mailarchive.journal import _decode
from mailarchive.testing import messages, reports, strategies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailarchive.testing.strategies import DefectCase, ReportCase

    Look = Callable[[bytes], journal.JournalReport | None]

pytestmark = pytest.mark.slow

MUTATIONS = 15_000
"""How many an ordinary run tries; `pytest tests/journal --mutations 1000000` is a long one."""
SECONDS = 5.0
"""Seconds of its own that one small report may take: a bound far beyond any, against a hang."""


def decoded_step_by_step(raw: bytes) -> journal.JournalReport | str:
    """Return what the long way says, without the one for plain reports."""
    return decoded(raw, _decode.step_by_step)


def decoded(
    raw: bytes, decode: Callable[[bytes], journal.JournalReport] = journal.decode
) -> journal.JournalReport | str:
    """Return the report, or the name of the error."""
    try:
        return decode(raw)
    except (NotAJournalReport, MalformedReport, LimitExceeded) as error:
        return type(error).__name__


@given(strategies.report_cases())
def test_what_was_built_is_what_is_read(case: ReportCase) -> None:
    """Decoding what a writer wrote gives what it was given, in every dialect."""
    report = journal.decode(case.raw)

    assert report.text.sender == case.sender
    assert report.subject == case.subject
    assert report.message_id == case.message_id
    assert report.view() == case.original
    envelope = report.envelope
    assert [str(each.address) for each in envelope.recipients] == [
        str(each.address) for each in case.recipients
    ]
    assert envelope.recipients == case.recipients
    assert envelope.origin is Origin.JOURNAL
    assert report.disposition is journal.Disposition.OK


@given(strategies.defect_cases())
def test_what_was_put_in_is_found_and_the_rest_is_read(look: Look, case: DefectCase) -> None:
    """The one defect, in every dialect that can have it, and every recipient all the same."""
    report = look(case.raw)

    assert report is not None
    assert case.code in report.defect_codes
    expected = [str(each.address) for each in case.recipients]
    assert [line.written for line in report.recipients] == expected


@given(strategies.report_cases(), st.lists(strategies.addresses(), min_size=1, max_size=3))
def test_a_bounce_says_what_its_report_says(case: ReportCase, failed: list[str]) -> None:
    """Opened one level: the same text and original, and to whom it did not come."""
    report, bounced = journal.decode(case.raw), journal.decode(messages.bounce(case.raw))

    assert bounced.kind is journal.Kind.BOUNCE
    assert bounced.bounce is not None
    assert bounced.bounce.kind is report.kind
    assert bounced.text == report.text
    assert bounced.view() == report.view() == case.original
    assert bounced.disposition is report.disposition
    returned = journal.decode(messages.bounce(case.raw, failed=failed)).bounce
    assert returned is not None
    assert set(returned.failed) == {Address(each) for each in failed}


@given(strategies.report_cases())
def test_a_report_in_a_report_is_opened_as_if_it_had_come_alone(case: ReportCase) -> None:
    """The outer one says that it is nested; the inner one's places are of the outer bytes."""
    outer = journal.decode(reports.report(case.raw))
    inner = journal.unwrap(outer)

    assert outer.nested
    assert outer.view() == case.raw
    assert inner.text == journal.decode(case.raw).text
    assert inner.view() == case.original


@given(strategies.report_cases())
def test_the_short_way_says_what_the_long_way_says(case: ReportCase) -> None:
    """A report that is read at once is read the same step by step, with either line end."""
    for raw in (case.raw, case.raw.replace(b"\r\n", b"\n")):
        assert decoded(raw) == decoded_step_by_step(raw)


EITHER_END = st.builds(
    lambda case, end: case.raw.replace(b"\r\n", end),
    strategies.report_cases(),
    st.sampled_from([b"\r\n", b"\n"]),
)


@given(strategies.damaged(EITHER_END))
def test_damage_ends_in_a_value_or_a_typed_error_the_same_either_way(raw: bytes) -> None:
    """Whatever is changed in a report, both ways agree and nothing else comes out."""
    assert decoded(raw) == decoded_step_by_step(raw)


@given(strategies.report_cases())
def test_a_report_is_a_value(case: ReportCase) -> None:
    """It compares, hashes, pickles, and goes into JSON."""
    report = journal.decode(case.raw)
    copy = pickle.loads(pickle.dumps(report))

    assert copy == report
    assert hash(copy) == hash(report)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


@given(strategies.report_cases())
def test_line_ends_do_not_matter_to_the_envelope(case: ReportCase) -> None:
    """With LF everywhere everything but the original's bytes is the same."""
    if b"\r" in case.original.replace(b"\r\n", b""):
        return
    with_lf = journal.decode(case.raw.replace(b"\r\n", b"\n"))
    with_crlf = journal.decode(case.raw)

    assert with_lf.envelope == with_crlf.envelope
    assert with_lf.view() == case.original.replace(b"\r\n", b"\n")


@given(
    st.binary(max_size=300),
    st.sampled_from(["", "X-MS-Journal-Report:", "Content-Identifer: ExJournalReport"]),
)
def test_any_bytes_end_in_a_value_or_a_typed_error(data: bytes, marker: str) -> None:
    """With a marker in front or without."""
    head = f"{marker}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".encode()
    decoded(data)
    decoded(head + data)
    decoded(head + b"\r\nSender: a@b.c\r\nMessage-Id: <1@x>\r\n--b\r\n" + data)


def test_every_prefix_ends_in_time(sample: str, samples: dict[str, bytes]) -> None:
    """However far a message came, it is a value or a typed error, and quickly."""
    raw = samples[sample]
    step = 1 if len(raw) < 4_000 else 7
    for end in range(0, len(raw), step):
        began = time.thread_time()
        decoded(raw[:end])
        assert time.thread_time() - began < SECONDS


def mutated(rng: random.Random, corpus: list[bytes]) -> Iterator[bytes]:
    """Yield reports with a few random changes, cut from others, joined and cut off."""
    interesting = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"--",
        b":",
        b'"',
        b"<",
        b">",
        b"=",
        b"\0",
        b"\xff",
    ]
    corpus = [*corpus, *(raw.replace(b"\r\n", b"\n") for raw in corpus)]
    while True:
        raw = bytearray(rng.choice(corpus))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(raw) + 1)
            kind = rng.randrange(6)
            if kind == 0 and place < len(raw):
                raw[place] = rng.randrange(256)
            elif kind == 1:
                raw[place:place] = rng.choice(interesting)
            elif kind == 2:
                del raw[place : place + rng.randint(1, 60)]
            elif kind == 3:
                other = rng.choice(corpus)
                begin = rng.randrange(len(other))
                raw[place:place] = other[begin : begin + rng.randint(1, 200)]
            elif kind == 4:
                raw[place:place] = raw[place : place + 100]
            else:
                del raw[place:]
        yield bytes(raw)


def test_random_mutations_end_in_a_value_or_a_typed_error(
    samples: dict[str, bytes], pytestconfig: pytest.Config
) -> None:
    """Every mutation of the corpus, within a time bound, the same by both ways."""
    count = int(pytestconfig.getoption("mutations", default=MUTATIONS))
    corpus = [raw for raw in samples.values() if len(raw) < 5_000]
    slowest = 0.0
    for _, raw in zip(range(count), mutated(random.Random(7), corpus), strict=False):
        began = time.process_time()
        result = decoded(raw)
        slowest = max(slowest, time.process_time() - began)
        assert result == decoded_step_by_step(raw)

    assert slowest < SECONDS


def test_the_decoder_gives_no_more_than_it_was_asked() -> None:
    """Two calls on the same bytes give equal values: there is no state."""
    raw = reports.report(messages.message())
    first, second = journal.decode(raw), journal.decode(raw)

    assert first == second
    assert first != evolve(first, nested=True)
    assert journal.decode.__kwdefaults__ == {"limits": _decode.DEFAULT}
