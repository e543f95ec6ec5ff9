"""`mailarchive run` for an organisation: its mailboxes one after the other, each reported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from attrs import define

from mailarchive._cli._text import columns, counted, safe
from mailarchive._cli.progress import idle
from mailarchive.archiver import RunReport
from mailarchive.errors import AuthenticationFailed, SourceError, SourceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive._cli._organisation import Organisation
    from mailarchive._cli.config import Job
    from mailarchive.abc import Sink
    from mailarchive.archiver import Archiver
    from mailarchive.users.mailboxes import Mailbox, Plan

UNREACHABLE_AT_MOST = 3
"""So many mailboxes in a row that cannot be reached: it is the server that is away."""
REFUSED_AT_MOST = 3
"""So many in a row that the login may not open: it may be the login that is wrong."""


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
    patience = _Patience(job.organisation)
    for mailbox in made.taken:
        print(f"{_named(mailbox)}:")
        source = job.organisation.source_of(mailbox)
        before = len(reports)
        try:
            follow(job.archiver(archive, source, **settings))
        except SourceError as error:
            patience.bear(error)
            words = "; ".join([str(error), *error.suggestions])
            print(f"  not archived: {safe(words)}", file=sys.stderr)
            if len(reports) == before:
                reports.append(RunReport(source.name))
        else:
            patience.opened(mailbox)
    print(summed_up(made, reports))


@define
class _Patience:
    """Tells a mailbox that fails alone from a server, or a login, that fails for all of them."""

    organisation: Organisation
    good: Mailbox | None = None
    unreachable: int = 0
    refused: int = 0

    def opened(self, mailbox: Mailbox) -> None:
        """Take it down: all is well with the server and the login."""
        self.good, self.unreachable, self.refused = mailbox, 0, 0

    def bear(self, error: SourceError) -> None:
        """Return where the error may be one mailbox's alone, else raise it."""
        if isinstance(error, AuthenticationFailed):
            self._bear_refusal(error)
            return
        self.refused = 0
        self.unreachable = self.unreachable + 1 if isinstance(error, SourceUnavailable) else 0
        if self.unreachable >= UNREACHABLE_AT_MOST:
            raise error

    def _bear_refusal(self, error: AuthenticationFailed) -> None:
        """Try the mailbox that opened last, once in a while: many a refusal locks an account."""
        if not self.organisation.each_logs_in:
            raise error  # the login is the same for all of them
        self.unreachable = 0
        self.refused += 1
        if self.refused < REFUSED_AT_MOST:
            return
        if self.good is None:
            raise AuthenticationFailed(
                str(error),
                suggestions=[
                    *error.suggestions,
                    "name in without_mailboxes who has no mailbox on this server",
                ],
            ) from error
        with self.organisation.source_of(self.good):
            self.refused = 0


def summed_up(made: Plan, reports: list[RunReport]) -> str:
    """Return what became of the organisation's mailboxes, those left out with the reason."""
    good = sum(report.ok for report in reports)
    lines = [f"{counted(len(made.taken), 'mailbox', 'mailboxes')}, {good} in full"]
    stored = sum(report.stored for report in reports)
    if any(report.dry_run for report in reports):
        would = sum(report.would_archive for report in reports)
        lines.append(f"{counted(would, 'message')} would be archived")
    else:
        lines.append(f"{counted(stored, 'message')} newly archived")
    if made.excluded:
        lines.append(f"{len(made.excluded)} left out:")
        lines.append(columns((_named(each.mailbox), each.why) for each in made.excluded))
    return "\n".join(filter(None, [*lines, idle("mailbox", made.unmatched)]))


def _named(mailbox: Mailbox) -> str:
    return safe(mailbox.key if mailbox.address is None else mailbox.address.spec)
