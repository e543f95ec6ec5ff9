"""Coverage-guided fuzzing of the journal decoder and of ordinary headers.

    python tests/fuzz/fuzz_journal.py SECONDS [CORPUS ...]

Needs `atheris` (the `fuzz` group).  It starts from the sample reports and from a report of
every dialect and defect.  What it finds of interest is kept in the first CORPUS folder, if
one is given, and an input that breaks a law is put in the temporary folder.  The laws,
whatever the bytes: a value or a typed error comes out, within a time bound; the short way
and the long way agree; an original is a slice of the input; no repr shows an address.
The number of executions is in the last lines that libFuzzer prints.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mailarchive"]):
    from mailarchive import headers, journal
    from mailarchive._model import Span
    from mailarchive.errors import LimitExceeded, MalformedReport, NotAJournalReport
    from mailarchive.journal import _decode, trust

from mailarchive.testing import messages, reports

SAMPLES = Path(__file__).parents[1] / "corpus" / "journal"
LIMITS = journal.Limits(header_bytes=1 << 16, text_bytes=1 << 16, recipients=500)
POLICY = trust.Policy(return_paths={"x@y.example"}, authserv_id="x", tenants={"example.com"})
LONGEST_INPUT = 16_384
SLOWEST_SECONDS = 5


def decoded(raw: bytes, *, at_once: bool) -> journal.JournalReport | str:
    """Return the report, or the name of the error."""
    try:
        if at_once:
            return journal.decode(raw, limits=LIMITS)
        return _decode.step_by_step(raw, LIMITS)
    except MalformedReport as error:
        assert isinstance(error.partial, journal.JournalReport)  # noqa: PT017  # no test
        examine(error.partial)
        return error.code
    except (NotAJournalReport, LimitExceeded) as error:
        return error.code


def examine(report: journal.JournalReport) -> None:
    """Ask a report for all that it offers."""
    report.to_dict()
    assert "@" not in repr(report)
    for index, original in enumerate(report.originals):
        if isinstance(original, Span):
            assert 0 <= original.start < original.end <= len(report.raw)
            assert report.view(index) == original.of(report.raw)
    journal.particulars(report)
    journal.suggested_roles(report)
    journal.union([report, report])
    trust.judge(report, POLICY)
    if report.nested:
        try:
            journal.unwrap(report, limits=LIMITS)
        except (NotAJournalReport, MalformedReport, LimitExceeded):
            return


def one_input(raw: bytes) -> None:
    """Hold the laws against some bytes."""
    report = decoded(raw, at_once=True)
    assert report == decoded(raw, at_once=False)
    if isinstance(report, journal.JournalReport):
        examine(report)
    headers.envelope(raw)
    headers.fork_key(raw)
    assert headers.without(headers.without(raw, ["Bcc"]), ["Bcc"]) == headers.without(raw, ["Bcc"])


def seeds(folder: Path) -> None:
    """Write the sample reports, and one of every dialect and defect, into the folder."""
    for sample in SAMPLES.glob("*.eml"):
        (folder / sample.name).write_bytes(sample.read_bytes())
    for dialect in reports.Dialect:
        (folder / f"{dialect}.eml").write_bytes(reports.report(dialect=dialect))
    for code in journal.DefectCode:
        raw = reports.report(defects=[code])
        (folder / f"{code}.eml").write_bytes(raw)
        (folder / f"{code}-bounce.eml").write_bytes(messages.bounce(raw))


def main() -> None:
    """Fuzz for as long as the first argument says."""
    seconds, folders = int(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as temporary:
        seeds(Path(temporary))
        arguments = [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST_INPUT}",
            f"-timeout={SLOWEST_SECONDS}",
            "-print_final_stats=1",
            f"-artifact_prefix={tempfile.gettempdir()}/",
            *folders,
            temporary,
        ]
        atheris.Setup(arguments, one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
