"""Write the golden files: all that the decoder says of each sample report.

Run it after a change that is meant to change an answer, and read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mailarchive import journal
from mailarchive.errors import MalformedReport, NotAJournalReport

CORPUS = Path(__file__).parent / "journal"


def golden(raw: bytes) -> dict[str, Any]:
    """Return what the decoder says of `raw`, ready for JSON."""
    report: object
    try:
        report = journal.decode(raw)
    except NotAJournalReport:
        return {"is_journal": False}
    except MalformedReport as error:
        report = error.partial
    assert isinstance(report, journal.JournalReport)
    return report.to_dict() | {
        "places": [[str(each.code), each.line, each.offset] for each in report.defects],
        "lines": [line.line for line in report.recipients],
        "extra": [[line.line, line.text] for line in report.text.extra],
        "extra_parts": [[span.start, span.end] for span in report.extra_parts],
        "spans": [
            [original.start, original.end] if isinstance(original, journal.Span) else None
            for original in report.originals
        ],
    }


def text(raw: bytes) -> str:
    """Return the golden file of `raw`."""
    return json.dumps(golden(raw), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write a golden file for each sample."""
    (CORPUS / "golden").mkdir(exist_ok=True)
    for sample in sorted(CORPUS.glob("*.eml")):
        name = CORPUS / "golden" / f"{sample.stem}.json"
        name.write_text(text(sample.read_bytes()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
