"""Every sample report reads as its answer says, with any line ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailarchive import journal
from mailarchive.errors import MalformedReport, NotAJournalReport

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[1] / "corpus" / "journal" / "golden"
NOT_ASSERTED = {"recipients_any", "defects", "recipients"}


def answer(report: journal.JournalReport | None) -> dict[str, Any]:
    """Return a report, or that there is none, in the words of the answers."""
    if report is None:
        return {"is_journal": False, "kind": None, "disposition": "not_journal"}
    return report.to_dict()


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_every_sample_reads_as_its_answer_says(
    sample: str,
    line_end: bytes,
    samples: dict[str, bytes],
    expected: dict[str, dict[str, Any]],
    look: Callable[[bytes], journal.JournalReport | None],
) -> None:
    """Each key of the answer is exactly what the decoder says; digests are of CRLF bytes."""
    wanted = expected[sample]
    got = answer(look(samples[sample].replace(b"\r\n", line_end)))
    skipped = NOT_ASSERTED | ({"originals"} if line_end == b"\n" else set())

    for key in wanted.keys() - skipped:
        if key != "subject" or wanted[key] != "*":
            assert wanted[key] == got.get(key), key
    assert sorted(wanted.get("defects", got.get("defects", []))) == sorted(got.get("defects", []))
    if "recipients" in wanted:
        assert got["recipients"] in (wanted["recipients"], wanted.get("recipients_any"))


def test_the_exception_says_what_the_disposition_says(
    sample: str, samples: dict[str, bytes], expected: dict[str, dict[str, Any]]
) -> None:
    """Quarantine is `MalformedReport`, ordinary mail is `NotAJournalReport`, the rest a value."""
    disposition = expected[sample]["disposition"]
    errors = {"quarantine": MalformedReport, "not_journal": NotAJournalReport}
    if disposition in errors:
        with pytest.raises(errors[disposition]):
            journal.decode(samples[sample])
    else:
        assert disposition == str(journal.decode(samples[sample]).disposition)


def test_all_that_is_said_of_a_sample_is_known(
    sample: str,
    samples: dict[str, bytes],
    look: Callable[[bytes], journal.JournalReport | None],
) -> None:
    """The places of defects, lines and spans change only with the golden files."""
    golden = json.loads((GOLDEN / f"{sample}.json").read_bytes())
    report = look(samples[sample])
    if report is None:
        assert golden == {"is_journal": False}
        return
    got = answer(report)
    places = [[str(each.code), each.line, each.offset] for each in report.defects]
    spans = [
        [original.start, original.end] if isinstance(original, journal.Span) else None
        for original in report.originals
    ]

    assert {key: golden[key] for key in got} == got
    assert golden["places"] == places
    assert golden["spans"] == spans
    assert golden["lines"] == [line.line for line in report.recipients]


def test_an_original_that_was_not_encoded_is_a_slice_of_the_input(
    sample: str,
    samples: dict[str, bytes],
    look: Callable[[bytes], journal.JournalReport | None],
) -> None:
    """A span's view shares memory with the input, and nothing was copied."""
    report = look(samples[sample])
    if report is None or report.opaque:
        return
    for index, original in enumerate(report.originals):
        if isinstance(original, journal.Span):
            assert report.view(index).obj is samples[sample]
            assert original.of(samples[sample]) == report.view(index)
        else:
            assert journal.DefectCode.RFC822_CTE in report.defect_codes


def test_no_repr_and_no_error_text_shows_what_a_report_says(
    sample: str,
    samples: dict[str, bytes],
    look: Callable[[bytes], journal.JournalReport | None],
) -> None:
    """A repr, and the text of an error, name neither an address nor a subject."""
    report = look(samples[sample])
    shown = repr(report)
    try:
        journal.decode(samples[sample])
    except (MalformedReport, NotAJournalReport) as error:
        shown += str(error) + repr(error)

    assert "@" not in shown
    assert "Quarterly" not in shown
