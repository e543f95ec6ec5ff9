"""`mailarchive receive` and `mailarchive new-address`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mailarchive._cli import OK, config
from mailarchive._cli._checks import check
from mailarchive._cli._signals import Signals
from mailarchive._cli._text import columns, size
from mailarchive._cli.progress import Progress
from mailarchive.errors import ConfigurationError
from mailarchive.events import BatchPutOff, RunStarted

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.events import Event
    from mailarchive.receiver import Received


def receive(path: Path, *, quiet: bool = False) -> int:
    """Receive, as the TOML file says, until a signal."""
    from mailarchive.sources.smtp import SmtpIntake

    job = config.load(path)
    intake = job.source
    if not isinstance(intake, SmtpIntake):
        raise ConfigurationError(
            f'{path.name}: [source] is read and does not receive: its kind is not "smtp"',
            suggestions=["run it with: mailarchive run ARCHIVE.TOML"],
        )
    check(job)  # a list of users that cannot be read is said before anything comes
    intake.check()  # before a vault is made for nothing
    progress = Progress()

    def tell(event: Event) -> None:
        if isinstance(event, RunStarted):
            print(f"Listening on port {intake.port}.", file=sys.stderr)
        elif isinstance(event, BatchPutOff):
            words = f"{event.messages} put off ({event.code}); they come again"
            print(words, file=sys.stderr)
        elif not quiet:
            progress(event)

    job.announce()
    with job.archive() as archive:
        receiver = job.receiver(archive, observer=tell)
        with Signals(receiver.stop):
            done = receiver.run()
    progress.close()
    print(_render(done))
    return OK


def _render(done: Received) -> str:
    rows = [
        (f"{done.arrived:,}", "messages arrived"),
        (f"{done.stored:,}", f"newly archived ({size(done.size)})"),
        (f"{done.present:,}", "in the archive already"),
        (f"{done.unowned:,}", "of nobody known (an auditor sees them)"),
        (f"{done.quarantined:,}", "quarantined, whole and apart"),
        (f"{done.unexpected:,}", "no journal report"),
        (f"{done.put_off:,}", "put off: their senders keep them and come again"),
    ]
    shown = [row for row in rows if row[0] != "0"] or [("0", "messages arrived")]
    return str(columns((number.rjust(9), words) for number, words in shown))


def new_address(domain: str) -> int:
    """Print an address that nobody guesses."""
    from mailarchive.sources.smtp import new_address as make

    print(make(domain))
    return OK
