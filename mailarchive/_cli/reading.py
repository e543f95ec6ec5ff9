"""`mailarchive show`, `export` and `verify`: what comes out of a vault again."""

from __future__ import annotations

import contextlib
import sys
from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen

from mailarchive import export as exporting
from mailarchive._cli import FAILED, OK, _vaults
from mailarchive._cli._places import check_target
from mailarchive._cli._text import columns, counted, safe, size
from mailarchive._model import UserId
from mailarchive.errors import ConfigurationError, SinkNotWritable, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mailarchive._model import Address
    from mailarchive.export import Exported
    from mailarchive.vault import (
        AuditedEntry,
        Auditor,
        Filters,
        Vault,
        VerifyReport,
        View,
        ViewedMessage,
    )


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
    copy: int | None = None,
    every: bool = False,
) -> int:
    """List messages as somebody may see them, or print one, byte for byte."""
    _check(who, filters, every=every)
    _check_one(who, filters, message, copy)
    with _opened(path, filters, read_only=who.user is not None) as vault:
        if who.user is None:
            auditor = vault.auditor(who.auditor or "", who.reason or "")
            if message is not None:
                return _print(auditor, message)
            return _show_every(auditor, limit) if every else _show_all(auditor, limit)
        _vaults.refuse_strangers(vault, [who.user])
        view = vault.view(UserId(who.user))
        if message is not None:
            which = 1 if copy is None else copy
            sys.stdout.buffer.write(found(view, message, which).content(which - 1))
            return OK
        return _show_user(view, who.user, filters, limit)


def _check(who: Who, filters: Filters, *, every: bool) -> None:
    """Refuse what would be passed over: an auditor who searches must not get everything."""
    given = [f"--{name}" for name, value in filters.items() if value is not None]
    if who.user is None and given:
        raise ConfigurationError(
            f"{' and '.join(given)} cannot be combined with --auditor, who sees every entry",
            suggestions=["leave it out, or look with --user as somebody who owns the mail"],
        )
    if who.user is not None and (every or who.reason is not None):
        raise ConfigurationError(
            "--every and --reason are for an auditor", suggestions=["give --auditor, or neither"]
        )


def _check_one(who: Who, filters: Filters, message: str | None, copy: int | None) -> None:
    """Refuse what chooses nothing where one message is named, or where none is."""
    if copy is not None and (message is None or who.user is None):
        raise ConfigurationError(
            "--copy says which copy of one message a user is shown",
            suggestions=["give --user and --message KEY with it, or leave it out"],
        )
    given = [f"--{name}" for name, value in filters.items() if value is not None]
    if message is not None and given:
        raise ConfigurationError(
            f"{' and '.join(given)} cannot be combined with --message, which names one message",
            suggestions=["leave out the one or the other"],
        )


@contextlib.contextmanager
def _opened(path: Path, filters: Filters, *, read_only: bool) -> Iterator[Vault]:
    """Open a vault; a search keeps what it reads of the messages, where it may write."""
    with contextlib.ExitStack() as stack:
        vault = None
        if read_only and filters.get("words"):
            with contextlib.suppress(SinkNotWritable):
                vault = stack.enter_context(_vaults.opened(path, create=False))
        if vault is None:
            vault = stack.enter_context(_vaults.opened(path, create=False, read_only=read_only))
        yield vault


def found(view: View, key: str, copy: int) -> ViewedMessage:
    """Return the message with a key that has such a copy, counted from 1; raises `StateError`."""
    message = view.get(key)
    if message is None:
        raise StateError(
            "this user has no message with such a key",
            suggestions=["list the keys with: mailarchive show VAULT --user U"],
        )
    if not 1 <= copy <= message.copies:
        raise StateError(
            f"this message has {counted(message.copies, 'copy', 'copies')}",
            suggestions=[f"give --copy a number from 1 to {message.copies}"],
        )
    return message


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
    seen = f"{safe(user)} sees {counted(count, 'message')}."
    print(seen if count else f"Nothing that {safe(user)} sees is as asked for.")
    _table(rows, count)
    if filters.get("words") and (unsearched := view.unsearched()):
        damaged = view.unsearched(damaged_only=True)
        why = f"; {damaged:,} are damaged, see mailarchive verify" if damaged else ""
        print(f"  {unsearched:,} were not searched in full{why}")
        return FAILED if damaged else OK
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


def _show_every(auditor: Auditor, limit: int) -> int:
    count = auditor.count()
    print(
        f"{count:,} archived in all, the oldest first, with the ids that --message and erase take:"
    )
    _table([audited(each) for each in islice(auditor.entries(), limit)], count)
    return OK


def audited(each: AuditedEntry) -> tuple[str, ...]:
    """Return an entry as a line of a list: id, time, sender, subject."""
    envelope = each.envelope
    moment = envelope.date or each.received_at
    if each.erased:
        return (each.id.hex[:12], _day(moment), "-", "(erased)")
    return (each.id.hex[:12], _day(moment), _who(envelope.sender), safe(envelope.subject, 50))


def export(path: Path, user: str, to: Path, *, form: str, filters: Filters) -> int:
    """Write what a user sees to files; a file that is there already stays as it is."""
    check_target(to, "the export")
    with _vaults.opened(path, create=False, read_only=True) as vault:
        _vaults.refuse_strangers(vault, [user])
        done = exporting.export(vault.view(UserId(user)), to, form, **filters)
    print(exported(done))
    return OK if done.ok else FAILED


def exported(done: Exported) -> str:
    """Return what an export did, in words."""
    written = counted(done.written, "file")
    lines = [
        f"{counted(done.messages, 'message')}: {written} written, {done.present:,} were there."
    ]
    notes = (
        (done.withheld, "withheld: others could be read in them; ask an auditor"),
        (done.empty, "reports without a message"),
        (done.damaged, "damaged, and left out: see mailarchive verify"),
        (done.unproven, "without a proof: not sealed yet, or not seen whole"),
    )
    return "\n".join([*lines, *(f"  {count:,} {words}" for count, words in notes if count)])


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
    gone = (
        f"\n  {counted(report.erased, 'message')} erased, {report.erased_since:,} of them since"
        " the newest checkpoint"
    )
    verdict = "whole and unaltered" if report.ok else f"{counted(len(found), 'finding')}:"
    notes = f"{torn if report.torn else ''}{gone if report.erased else ''}"
    lines = f"Verified ({report.level}): {looked}: {verdict}{notes}"
    return f"{lines}\n{columns(found)}" if found else lines
