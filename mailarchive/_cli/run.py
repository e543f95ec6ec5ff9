"""`mailarchive run` and `mailarchive retries`."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from mailarchive import archiver
from mailarchive._cli import FAILED, OK, WRONG_ERRORS, _vaults, config
from mailarchive._cli._checks import belongs_to_nobody, check, check_users
from mailarchive._cli._signals import Signals, Watch
from mailarchive._cli._text import columns, counted, safe
from mailarchive._cli.each import each_mailbox
from mailarchive._cli.progress import Progress, render, unmatched
from mailarchive._model import Copy, UserId
from mailarchive.abc import Intake, Source
from mailarchive.errors import MailArchiveError, StateError
from mailarchive.sinks import Tee
from mailarchive.users.mailboxes import Plan
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mailarchive._cli.config import Job
    from mailarchive._model import MessageRef, Retry
    from mailarchive.abc import Sink
    from mailarchive.archiver import Archiver, RunReport


def run(
    path: Path,
    *,
    dry_run: bool = False,
    retry_now: bool = False,
    fail_on_quarantine: bool = False,
    quiet: bool = False,
) -> int:
    """Run the job of a TOML file once; only one run of it at a time."""
    job = config.load(path)
    check(job)  # what cannot be read is said also when nothing is new
    stray = not job.says_unknown and belongs_to_nobody(job)
    if stray:
        print(_STRAY, file=sys.stderr)
    progress = None if quiet else Progress()
    reports: list[RunReport] = []
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        watch = partial(follow, progress=progress, signals=signals, seen=reports)
        settings = {"observer": Watch(signals, progress), "retry_now": retry_now}
        stack.enter_context(_begun(reports, signals))
        _run(job, watch, reports, {**settings, "dry_run": dry_run}, stack)
    for line in filter(None, (unmatched(reports), _verdict(job, reports, stray=stray))):
        print(line)
    bad = fail_on_quarantine and any(report.quarantined for report in reports)
    bad = bad or stray or _chose_nothing(reports)
    return OK if all(report.ok for report in reports) and not bad else FAILED


def _reach(job: Job) -> None:
    """Raise where the source cannot be opened, before a vault is made for nothing."""
    if isinstance(job.source, Source) and _vaults.is_new(job.vault):
        with job.source:
            pass  # it is opened again by the run, as every source here can be


_STRAY = (
    "mailarchive: the mailbox in [source] has an address that [users] does not know, so nobody"
    " known owns its mail; mend either, or say with unknown in [users] what becomes of it"
)


_REMOVES = "[removal] is on: a run removes at the source what it lists, archives and reads back."


def _run(
    job: Job,
    watch: Callable[[Archiver], object],
    reports: list[RunReport],
    settings: dict[str, Any],
    stack: contextlib.ExitStack,
) -> None:
    """Run the job in the archive, which is made and closed with the stack; `watch` reports."""
    archive = job.archive()
    one = isinstance(job.source, Source | Intake)
    plan = job.archiver(archive, **settings) if one else job.organisation.plan()
    if settings["dry_run"]:
        _look(job, archive)
    else:
        stack.enter_context(job.lock)
        _reach(job)
        job.announce()
        stack.enter_context(archive)
    if isinstance(plan, Plan):
        each_mailbox(job, plan, archive, watch, settings, reports=reports)
    else:
        watch(plan)


@contextlib.contextmanager
def _begun(reports: Sequence[RunReport], signals: Signals) -> Iterator[None]:
    """Once mail was read, what is wrong with a setting is a failure of the run.

    After a signal what fails may be of its making, such as a command that it ended too: then
    the signal is told.  What was none of it is met again by the next run.
    """
    try:
        yield
    except MailArchiveError as error:
        signals.check()
        read = any(report.listed or report.retried for report in reports)
        if not read or not isinstance(error, WRONG_ERRORS):
            raise
        raise MailArchiveError(str(error), suggestions=error.suggestions) from error


def _look(job: Job, archive: Sink) -> None:
    """Raise what a run would raise about the vault, and change nothing in it."""
    if _vaults.is_new(job.vault) or not isinstance(archive, Vault | Tee):
        return  # a run makes it, or there is none
    with Vault(job.vault, keys=job.keys, create=False, read_only=True) as vault:
        vault.view(UserId("")).count()


def follow(
    plan: Archiver,
    progress: Progress | None,
    signals: Signals | None = None,
    seen: list[RunReport] | None = None,
) -> RunReport:
    """Run to the end and print the report, also where the run has to stop.

    Raises `Stopped` after a signal: between two pages, where all is accounted for.
    """
    heed = Signals() if signals is None else signals
    heed.check()
    with plan.outcomes() as outcomes:
        try:
            for _ in outcomes:
                heed.check()
        finally:
            if progress is not None:
                progress.close()
            report = outcomes.report
            if seen is not None:
                seen.append(report)
            if report.finished or report.listed or report.retried or report.failures:
                print(render(report))
                sys.stdout.flush()
    return report


def _chose_nothing(reports: Sequence[RunReport]) -> bool:
    """Whether there was no folder to look into, so that nothing can ever be archived."""
    return all(report.finished and not report.folders for report in reports)


def _verdict(job: Job, reports: Sequence[RunReport], *, stray: bool) -> str:
    if _chose_nothing(reports):
        return (
            "Nothing was archived: no folder is chosen. Mend folders, without_folders, roles or"
            " without_roles in [source]."
        )
    if any(report.dry_run for report in reports):
        said = "This was a dry run: nothing was stored, saved or removed."
        return f"{said}\n{_REMOVES}" if job.removal.enabled else said
    if not all(report.ok for report in reports):
        said = "Not everything could be archived. What failed is tried again by the next run."
        waiting = any(report.waiting for report in reports)
        return f"{said}\nSee what waits: mailarchive retries ARCHIVE.TOML" if waiting else said
    return "\n".join(["All is accounted for.", *_looks(job, reports, stray=stray)])


def _looks(job: Job, reports: Sequence[RunReport], *, stray: bool) -> Iterator[str]:
    """Yield what there is to look at where all went well, each cause in its own words."""
    if stray or (not job.says_unknown and any(map(_of_nobody, reports))):
        yield (
            "Nobody owns what was archived: does [users] know the address of the mailbox, or"
            " those in the mail? Mend it, then: mailarchive reattribute ARCHIVE.TOML"
        )
    if any(report.quarantined for report in reports):
        name = safe(job.vault.name)
        yield f"See what is quarantined, and why: mailarchive quarantine {name}"


def _of_nobody(report: RunReport) -> bool:
    """Whether the list of users looks wrong; where most was held back, that is the matter."""
    return 0 < report.archived == report.unowned > report.quarantined


def reattribute(path: Path) -> int:
    """Give mail to those whom the list of users names by now."""
    job = config.load(path)
    job.place.check_readable()
    check_users(job)
    with _vaults.opened(job.vault, job.keys, create=False) as vault:
        given = vault.reattribute(job.users)
    print(f"{counted(given, 'message')} got an owner." if given else "Nobody new owns anything.")
    return OK


def retries(path: Path, id_: str | None = None) -> int:
    """List what waits on the retry lists of a job, or take one message off for good."""
    job = config.load(path)
    job.place.check_readable()
    waiting = {
        _short(retry.ref): retry
        for checkpoint in job.state.all()
        if job.has(checkpoint.source)
        for retry in checkpoint.retry
    }
    if id_ is None:
        rows = [(short, *_waits(job, each)) for short, each in waiting.items()]
        print(columns(rows) if rows else "Nothing waits.")
        return OK
    if id_ not in waiting:
        raise StateError(
            "no message with this id waits",
            suggestions=["list the ids with: mailarchive retries ARCHIVE.TOML"],
        )
    with job.lock:
        archiver.give_up(job.state, waiting[id_].ref)
    print(f"{id_} is given up: it will not be fetched again.")
    return OK


def _waits(job: Job, retry: Retry) -> tuple[str, ...]:
    """Say of a message where it is, as its source names it, and when it is fetched again."""
    ref = retry.ref
    one = isinstance(job.source, Source | Intake)
    return (
        *(() if one else (safe(ref.source),)),
        safe(ref.folder),
        safe(ref.key),
        counted(retry.attempts, "try", "tries"),
        f"next {retry.not_before.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        safe(retry.reason),
    )


def _short(ref: MessageRef) -> str:
    return Copy.of(ref).digest.hex[:12]
