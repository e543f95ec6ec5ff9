"""`mailarchive decode`: what a journal report says, for people and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mailarchive import headers, journal
from mailarchive._cli import FAILED, OK
from mailarchive._cli._text import columns, counted, safe, size
from mailarchive._model import Span
from mailarchive.errors import ConfigurationError, MalformedReport, NotAJournalReport

if TYPE_CHECKING:
    from pathlib import Path


def decode(path: Path, *, as_json: bool = False) -> int:
    """Print what the file says; exit 1 where it is a report that must be quarantined."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the file cannot be read: {type(error).__name__}", suggestions=["give an EML file"]
        ) from error
    try:
        report = journal.decode(raw)
    except NotAJournalReport:
        print(_json({"is_journal": False}) if as_json else _ordinary(raw))
        return OK
    except MalformedReport as error:
        return _malformed(error, raw, as_json=as_json)
    print(_json(report.to_dict()) if as_json else _report(report, raw))
    return OK


def _malformed(error: MalformedReport, raw: bytes, *, as_json: bool) -> int:
    """Print why it is to be quarantined, and what could be read of it."""
    partial = error.partial
    read = partial.to_dict() if isinstance(partial, journal.JournalReport) else {}
    if as_json:
        print(_json({"is_journal": True, **read, "reason": str(error)}))
        return FAILED
    print(f"To be quarantined: {error}")
    if isinstance(partial, journal.JournalReport):
        print(_report(partial, raw))
    return FAILED


def _json(tree: dict[str, Any]) -> str:
    return json.dumps(tree, indent=2)


def _ordinary(raw: bytes) -> str:
    envelope = headers.envelope(raw)
    rows = [("From", safe(str(each))) for each in envelope.senders]
    rows += [(each.role.value, safe(str(each.address))) for each in envelope.recipients]
    rows.append(("Subject", safe(envelope.subject)))
    return "No journal report, but ordinary mail:\n" + columns(rows)


def _report(report: journal.JournalReport, raw: bytes) -> str:
    envelope = report.envelope
    rows = [("Sender", safe(str(envelope.sender or "-")))]
    if envelope.on_behalf_of is not None:
        rows.append(("On behalf of", safe(str(envelope.on_behalf_of))))
    rows.append(("Subject", safe(envelope.subject)))
    rows.append(("Message-ID", safe(envelope.message_id)))
    for recipient in envelope.recipients:
        way = "".join(
            f", {safe(each.word)} {safe(str(each.address))}" for each in recipient.history
        )
        rows.append((recipient.role.value.capitalize(), safe(str(recipient.address)) + way))
    for original in report.originals:
        content = original.of(raw) if isinstance(original, Span) else original
        rows.append(("Original", size(len(content))))
    rows.append(("Defects", ", ".join(str(each.code) for each in report.defects) or "none"))
    title = f"A journal report ({report.kind}), {counted(len(envelope.recipients), 'recipient')}:"
    return f"{title}\n{columns(rows)}"
