"""What is looked at before a job begins, so that what is written wrong costs nothing.

Whatever is found here is a `ConfigurationError`: nothing was made, locked or asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailarchive._cli._organisation import Organisation
from mailarchive.abc import Intake, Source
from mailarchive.attribution import CatchAll, mailbox_owner
from mailarchive.errors import ConfigurationError, DirectoryError, SourceError, Transient
from mailarchive.users.csv import CsvDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive._cli.config import Job
    from mailarchive.errors import MailArchiveError


def check(job: Job) -> None:
    """Raise `ConfigurationError` for what the job names and cannot be read here."""
    for each in job.checks:
        each()
    job.place.check()
    job.refuse_undecided()
    if job.local and isinstance(job.source, Source):
        with _written_wrong(SourceError), job.source:
            removes = job.source.capabilities.removes
        if job.removal.enabled and not removes:
            raise ConfigurationError(
                "[removal]: nothing can be removed from a source of files",
                suggestions=["leave removal off for this source"],
            )
    check_users(job)
    if isinstance(job.source, Organisation) and job.source.listed_here:
        with _written_wrong(SourceError):
            job.source.plan()


def check_users(job: Job) -> None:
    """Read the list of users; a directory on a server that fails is no fault of the job."""
    if isinstance(job.directory, CsvDirectory):
        with _written_wrong(DirectoryError):
            job.users.refresh()
    else:
        job.users.refresh()
    if isinstance(job.unknown, CatchAll) and not job.users.lists(job.unknown.user):
        raise ConfigurationError(
            "[users]: catch_all is the id of nobody in the list of users",
            suggestions=["mend it, or add a line with this id to the list: it needs no address"],
        )


def belongs_to_nobody(job: Job) -> bool:
    """Return whether whoever has the mailbox owns its mail, and nobody known has it."""
    source = job.source
    if job.attribution is not mailbox_owner or not isinstance(source, Source | Intake):
        return False
    whose = source.mailbox
    return whose is not None and not job.users.resolve((whose,)).get(whose)


@contextmanager
def _written_wrong(kind: type[MailArchiveError]) -> Iterator[None]:
    """Say of these errors that the configuration is wrong; what may pass by itself is not."""
    try:
        yield
    except Transient:
        raise
    except kind as error:
        raise ConfigurationError(str(error), suggestions=error.suggestions) from error
