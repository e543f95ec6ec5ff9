"""`python -m mailarchive.testing report MODULE:FACTORY`: which laws a sink keeps.

Prints the report as Markdown, or with `--json` as JSON.  The exit status is 0 where the
sink keeps the contract, 1 where it breaks a law, and 2 where it cannot be tried.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mailarchive.errors import MailArchiveError
from mailarchive.testing import sink_report

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT, BROKEN, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    wanted = _parser().parse_args(arguments)
    try:
        done = sink_report.report(
            sink_report.load(wanted.factory),
            waivers=dict(wanted.waive),
            largest=wanted.largest << 20,
            points=wanted.points,
            spawned=wanted.spawn,
        )
    except MailArchiveError as error:
        sys.stderr.write("\n  ".join((f"{error}", *error.suggestions)) + "\n")
        return USAGE
    sys.stdout.write(done.json() if wanted.json else done.markdown())
    return KEPT if done.holds else BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mailarchive.testing", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser(
        "report", help="try every law of a sink, and say what came of it"
    )
    command.add_argument(
        "factory", metavar="MODULE:FACTORY", help="takes a folder, returns a sink"
    )
    command.add_argument("--json", action="store_true", help="for programs")
    command.add_argument(
        "--waive",
        metavar="LAW=REASON",
        action="append",
        default=[],
        type=_waiver,
        help="a law that the sink cannot keep, and why; may be given several times",
    )
    command.add_argument(
        "--largest", metavar="MIB", type=int, default=200, help="size of the large message (200)"
    )
    command.add_argument(
        "--points",
        metavar="NUMBER",
        type=int,
        help="at about how many system calls a law kills and fails; each has its own number",
    )
    command.add_argument(
        "--spawn",
        action="store_true",
        help="use new interpreters instead of forks, for a sink with a runtime of its own",
    )
    return parser


def _waiver(text: str) -> tuple[str, str]:
    law, _, reason = text.partition("=")
    if not reason:
        raise argparse.ArgumentTypeError("a waiver is LAW=REASON")
    return law, reason


if __name__ == "__main__":
    sys.exit(main())
