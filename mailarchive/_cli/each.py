"""`mailarchive run` for an organisation: its mailboxes one after the other, each reported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mailarchive._cli._text import columns, counted, safe
from mailarchive._cli.progress import idle
from mailarchive.archiver import RunReport
from mailarchive.errors import AuthenticationFailed, SourceError, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive._cli.config import Job
    from mailarchive.abc import Sink
    from mailarchive.archiver import Archiver
    from mailarchive.users.mailboxes import Mailbox, Plan

UNREACHABLE_AT_MOST = 3
"""So many mailboxes in a row that cannot be reached: it is the server that is away."""


def each_mailbox(
    job: Job,
    made: Plan,
    archive: Sink,
    follow: Callable[[Archiver], object],
    settings: dict[str, Any],
    *,
    reports: list[RunReport],
) -> None:
    """Archive what is new of each chosen mailbox; one that fails is told, and the others go on.

    `follow` adds its report to `reports`, also where it raises: what a mailbox had archived
    before it broke counts.
    """
    unreachable = 0
    for mailbox in made.taken:
        print(f"{_named(mailbox)}:")
        source = job.organisation.source_of(mailbox)
        before = len(reports)
        try:
            follow(job.archiver(archive, source, **settings))
        except AuthenticationFailed:
            raise  # the login is the same for all of them
        except SourceError as error:
            unreachable = unreachable + 1 if isinstance(error, SourceUnavailable) else 0
            if unreachable >= UNREACHABLE_AT_MOST:
                raise
            words = "; ".join([str(error), *error.suggestions])
            print(f"  not archived: {safe(words)}", file=sys.stderr)
            if len(reports) == before:
                reports.append(RunReport(source.name))
        else:
            unreachable = 0
    print(summed_up(made, reports))


def summed_up(made: Plan, reports: list[RunReport]) -> str:
    """Return what became of the organisation's mailboxes, those left out with the reason."""
    good = sum(report.ok for report in reports)
    lines = [f"{counted(len(made.taken), 'mailbox', 'mailboxes')}, {good} in full"]
    stored = sum(report.stored for report in reports)
    lines.append(f"{counted(stored, 'message')} newly archived")
    if made.excluded:
        lines.append(f"{len(made.excluded)} left out:")
        lines.append(columns((_named(each.mailbox), each.why) for each in made.excluded))
    return "\n".join(filter(None, [*lines, idle("mailbox", made.unmatched)]))


def _named(mailbox: Mailbox) -> str:
    return safe(mailbox.key if mailbox.address is None else mailbox.address.spec)
