"""What a verification is given to look at: the packs, and index and log as they are now."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive.errors import SinkCorrupt
from mailarchive.vault import _verify_fulltext
from mailarchive.vault._erasing import pending
from mailarchive.vault._errors import no_keys
from mailarchive.vault._findings import Finding, Level
from mailarchive.vault._lines import Lines
from mailarchive.vault._log import LogFolder
from mailarchive.vault._opened import OpenedReading
from mailarchive.vault._restoring import bad_intent
from mailarchive.vault._verify import Verification
from mailarchive.vault._verify_keys import KeyCheck
from mailarchive.vault._verify_log import LogCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailarchive.vault._disk import Disk
    from mailarchive.vault._encrypting import Encryption
    from mailarchive.vault._findings import Looking, VerifyReport
    from mailarchive.vault._index import Index
    from mailarchive.vault._index_file import IndexFile
    from mailarchive.vault._note import LogCheckpoint, VerifierKey
    from mailarchive.vault._packs import Packs
    from mailarchive.vault._place import Place
    from mailarchive.vault._reading import Reading


class Verifying:
    """Verifies one open vault; others may go on writing to it."""

    def __init__(
        self,
        parts: tuple[Place, Packs, IndexFile],
        stored: Index,
        reading: Reading,
        disk: Disk,
        encryption: Encryption | None,
    ) -> None:
        """Look at the parts; `stored` is the index as it is open, `reading` reads by it."""
        self._place, self._packs, self._file = parts
        self._stored = stored
        self._reading = reading
        self._disk = disk
        self._encryption = encryption

    def run(
        self, looking: Looking, kept: Sequence[LogCheckpoint], key: VerifierKey | None
    ) -> VerifyReport:
        """Compare the packs, and index and log on the disk as they are now; raises `OSError`."""
        with ExitStack() as stack:
            # Before the index: what is sealed meanwhile may be more than it knows.
            log, damage = self._log()
            if log is not None:
                stack.enter_context(log)
            if looking.level is Level.LOG:
                check = LogCheck(log, self._place.identity.origin, kept, key)
                looking = evolve(looking, log=check)
            elif log is not None:
                newest = log.newest()
                looking = evolve(looking, signed=0 if newest is None else newest.size)
            report = _with(self._verify(looking), "log", damage)
            return self._with_fulltext(report)

    def _log(self) -> tuple[LogFolder | None, str | None]:
        """The log, and what stands in its place: the packs can be looked at all the same."""
        try:
            return LogFolder.open(self._place.volume(), self._disk), None
        except SinkCorrupt as error:
            return None, str(error)

    def _verify(self, looking: Looking) -> VerifyReport:
        opened = self._reading if isinstance(self._reading, OpenedReading) else None
        if looking.level is Level.CONTENT and self._place.identity.is_encrypted and not opened:
            raise no_keys()
        lines = Lines(self._place.identity.is_encrypted) if opened is None else opened.lines
        looking = evolve(looking, opener=opened, lines=lines)
        index, damage = None, None
        try:
            index = self._file.committed()
            if index is not None:
                index.snapshot()
        except SinkCorrupt as error:
            damage = str(error)
        if index is not None:
            looking = evolve(looking, erased_since=partial(self._erased_since, index))
        try:
            report = Verification(self._packs, index, looking, damage).run()
            return self._with_keys(self._with_intent(report))
        finally:
            if index is not None:
                index.close()

    def _erased_since(self, then: Index) -> frozenset[tuple[str, int]]:
        """Where bytes are that were erased, if any batch has come since."""
        newest = "SELECT sequence, digest FROM batch ORDER BY sequence DESC, n DESC LIMIT 1"
        if self._stored.rows(newest) == then.rows(newest):
            return frozenset()
        rows = self._stored.rows(
            "SELECT p.name, g.offset FROM gone g JOIN batch b ON b.n = g.batch"
            " JOIN pack p ON p.n = b.pack"
        )
        return frozenset((pack, offset) for pack, offset in rows)

    def _with_intent(self, report: VerifyReport) -> VerifyReport:
        """Say too that something stands where a repair leaves what it is about to do."""
        return _with(report, "repair", bad_intent(self._place))

    def _with_fulltext(self, report: VerifyReport) -> VerifyReport:
        """Say too that the full text is damaged, where there is one on the disk."""
        if report.level is not Level.CONTENT or self._place.identity.is_encrypted:
            return report
        return _with(report, "fulltext", _verify_fulltext.doubt(self._place.fulltext))

    def _with_keys(self, report: VerifyReport) -> VerifyReport:
        """Say too what `keys.db` lacks or has too much of, where that was looked at."""
        if report.level is not Level.CONTENT or self._encryption is None:
            return report
        assert isinstance(self._reading, OpenedReading)
        is_erasing = bool(pending(self._stored))
        for words in KeyCheck(self._reading, self._encryption, is_erasing).doubts():
            report = _with(report, "key", words)
        return report


def _with(report: VerifyReport, kind: str, words: str | None) -> VerifyReport:
    """The report with one more finding, about no one place in a pack, if there is any."""
    if words is None:
        return report
    return evolve(report, findings=(*report.findings, Finding(kind, None, None, words)))
