"""`mailarchive show`, `export` and `verify`: what comes out of a vault again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from mailarchive import _durable
from mailarchive._cli import FAILED, OK
from mailarchive._cli._text import columns, counted, safe, size
from mailarchive._model import Digest, UserId
from mailarchive.errors import SinkCorrupt, StateError, Unsupported, Withheld
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mailarchive._model import Address
    from mailarchive.vault import AuditedEntry, Auditor, Filters, VerifyReport, View, ViewedMessage


@frozen
class Who:
    """Who looks: a user, or an auditor with a reason."""

    user: str | None
    auditor: str | None
    reason: str | None


def show(
    path: Path,
    who: Who,
    *,
    filters: Filters,
    limit: int = 50,
    message: str | None = None,
    copy: int = 1,
) -> int:
    """List messages as somebody may see them, or print one, byte for byte."""
    with Vault(path, create=False, read_only=who.user is not None) as vault:
        if who.user is None:
            auditor = vault.auditor(who.auditor or "", who.reason or "")
            return _show_all(auditor, limit) if message is None else _print(auditor, message)
        view = vault.view(UserId(who.user))
        if message is not None:
            sys.stdout.buffer.write(_found(view, message).content(copy - 1))
            return OK
        return _show_user(view, who.user, filters, limit)


def _found(view: View, key: str) -> ViewedMessage:
    found = view.get(key)
    if found is None:
        raise StateError(
            "this user has no message with such a key",
            suggestions=["list the keys with: mailarchive show VAULT --user U"],
        )
    return found


def _print(auditor: Auditor, beginning: str) -> int:
    """Print what an auditor reads of the one entry whose id begins so."""
    found = [each for each in auditor.entries() if each.id.hex.startswith(beginning.lower())]
    if len(found) != 1 or not beginning:
        raise StateError(
            "no entry has such an id" if not found else "several entries have ids that begin so",
            suggestions=["list the ids with: mailarchive show VAULT --auditor NAME --reason WHY"],
        )
    sys.stdout.buffer.write(found[0].content())
    return OK


def _show_user(view: View, user: str, filters: Filters, limit: int) -> int:
    rows = [row(each) for each in view.messages(limit=limit, **filters)]
    count = view.count(**filters)
    print(f"{safe(user)} sees {counted(count, 'message')}.")
    _table(rows, count)
    return OK


def _table(rows: list[tuple[str, ...]], count: int) -> None:
    if rows:
        print(columns(rows))
    if len(rows) < count:
        print(f"  ... and {count - len(rows):,} more; raise --limit to see them")


def row(each: ViewedMessage) -> tuple[str, ...]:
    """Return a message as a line of a list: key, time, sender, subject."""
    notes = ["withheld"] if each.withheld else ["without Bcc"] if each.redacted else []
    notes += [f"{each.copies} copies"] if each.copies > 1 else []
    subject = safe(each.subject, 50) + (f"  ({', '.join(notes)})" if notes else "")
    return (each.key, _day(each.date or each.received_at), _who(each.sender), subject)


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _who(address: Address | None) -> str:
    return "-" if address is None else safe(str(address), 32)


def _show_all(auditor: Auditor, limit: int) -> int:
    rows = [(safe(user), counted(count, "message")) for user, count in auditor.users().items()]
    print(f"{auditor.count():,} archived in all. Users:")
    print(columns(sorted(rows)) if rows else "  none")
    unowned = list(auditor.unowned())
    print(f"Of nobody known: {len(unowned)}")
    _table([audited(each) for each in unowned[:limit]], len(unowned))
    return OK


def audited(each: AuditedEntry) -> tuple[str, ...]:
    """Return an entry as a line of a list: id, time, sender, subject."""
    envelope = each.envelope
    moment = envelope.date or each.received_at
    return (each.id.hex[:12], _day(moment), _who(envelope.sender), safe(envelope.subject, 50))


def export(path: Path, user: str, folder: Path) -> int:
    """Write what a user sees as EML files; a file that is there already stays as it is.

    Each fork of a message is a file, once where several have the same bytes.  Names are
    made of a date, a key and a number: nothing in a mail names a file.
    """
    done: Counter[str] = Counter()
    with Vault(path, create=False, read_only=True) as vault:
        try:
            _durable.make_folder(folder.absolute())
            for each in vault.view(UserId(user)).messages():
                done["messages"] += 1
                done.update(_write(each, folder))
        except OSError as error:
            raise StateError(
                f"cannot write there: {type(error).__name__}",
                suggestions=["give a folder that this user may write to, with room"],
            ) from error
    print(_exported(done))
    return FAILED if done["damaged"] else OK


def _exported(done: Counter[str]) -> str:
    written, there = counted(done["written"], "file"), f"{done['there']:,} were there"
    lines = [f"{counted(done['messages'], 'message')}: {written} written, {there}."]
    if done["withheld"]:
        lines.append(
            f"  {done['withheld']:,} withheld: others could be read in them; ask an auditor"
        )
    if done["empty"]:
        lines.append(f"  {counted(done['empty'], 'report')} without a message")
    if done["damaged"]:
        lines.append(f"  {done['damaged']:,} damaged, and left out: see mailarchive verify")
    return "\n".join(lines)


def _write(each: ViewedMessage, folder: Path) -> Iterator[str]:
    """Write each copy of a message and yield what became of it."""
    moment = each.date or each.received_at
    day = "undated" if moment is None else f"{moment:%Y%m%d-%H%M%S}"
    known: set[Digest] = set()
    for copy in range(each.copies):
        file = folder / f"{day}-{each.key}{f'-{copy + 1}' if copy else ''}.eml"
        if each.copies == 1 and file.exists():
            yield "there"
            continue
        try:
            content = each.content(copy)
        except Withheld:
            yield "withheld"
            continue
        except Unsupported:
            yield "empty"
            continue
        except SinkCorrupt:
            yield "damaged"
            continue
        digest = Digest.of(content)
        if digest in known:
            continue
        known.add(digest)
        if file.exists():
            yield "there"
        else:
            _durable.write_file(file, content)
            yield "written"


def verify(path: Path, level: str, *, as_json: bool = False) -> int:
    """Check a vault and print what was found; exit 1 where anything is wrong."""
    with Vault(path, create=False, read_only=True) as vault:
        report = vault.verify(level)
    print(json.dumps(asdict(report), indent=2) if as_json else verified(report))
    return OK if report.ok else FAILED


def verified(report: VerifyReport) -> str:
    """Return what was looked at and what was found, in words."""
    looked = (
        f"{counted(report.packs, 'pack')}, {report.entries:,} entries, "
        f"{counted(report.objects, 'stored message')}, {size(report.size)}"
    )
    torn = f"\n  {counted(report.torn, 'pack')} torn by a crash, which is no damage"
    found = [
        (each.kind, each.pack or "-", str(each.offset or "-"), safe(each.words))
        for each in report.findings
    ]
    verdict = "whole and unaltered" if report.ok else f"{counted(len(found), 'finding')}:"
    lines = f"Verified ({report.level}): {looked}: {verdict}{torn if report.torn else ''}"
    return f"{lines}\n{columns(found)}" if found else lines
