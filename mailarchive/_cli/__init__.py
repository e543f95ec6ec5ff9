"""The command line: thin, it composes what the library has from a TOML file.

Exit status: 0 all is accounted for; 1 it was attempted, and something failed, waits or was
found damaged; 2 the command, its configuration or a file that these name is wrong, which was
found before anything was done; 130 and 143 a signal ended it.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from mailarchive import heap
from mailarchive._cli import _evidence, _filters, _keeping
from mailarchive._cli._out import Output, guarded
from mailarchive._cli._text import CLOSED, safe, symbol
from mailarchive.errors import (
    ConfigurationError,
    KeyUnavailable,
    MailArchiveError,
    Unsupported,
    Withheld,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, FAILED, WRONG, STOPPED = 0, 1, 2, 130

WRONG_ERRORS = (ConfigurationError, KeyUnavailable, Unsupported)
"""What whoever wrote the command or the configuration must mend, found before all else."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; every error is one line."""
    heap.give_back()
    with guarded() as out:
        try:
            arguments = parser().parse_args(argv)
        except SystemExit as end:
            raise SystemExit(_printed(out, int(end.code or OK))) from None
        return _printed(out, _perform(arguments))


def _perform(arguments: argparse.Namespace) -> int:
    try:
        return _commanded(arguments)
    except MailArchiveError as error:
        wrong = isinstance(error, WRONG_ERRORS) and not isinstance(error, Withheld)
        status = WRONG if wrong else FAILED
        return _say(arguments, status, error.code, str(error), error.suggestions)
    except ImportError as error:
        if "mailarchive[" not in str(error):
            raise
        return _say(arguments, WRONG, "missing-extra", str(error))
    except OSError as error:
        return _refused(arguments, error)
    except KeyboardInterrupt as stop:
        resumes = getattr(arguments, "resumes", False)
        how = "; run it again to go on where it was" if resumes else " before the end"
        return _say(arguments, int(getattr(stop, "status", STOPPED)), "stopped", f"stopped{how}")


def _refused(arguments: argparse.Namespace, error: OSError) -> int:
    """The library gives such errors a type of its own: this came of a look at what was named."""
    named = error.filename if isinstance(error.filename, str) else ""
    what = safe(Path(named).name) or "something"
    if isinstance(error, PermissionError):
        hint, status = CLOSED, WRONG
    else:
        hint, status = "check that it is there, whole, and has room", FAILED
    words = f"the system refused the use of {what} ({symbol(error)})"
    return _say(arguments, status, symbol(error), words, [hint])


def _commanded(arguments: argparse.Namespace) -> int:
    for path in (getattr(arguments, name, None) for name in ("vault", "source")):
        if isinstance(path, Path):
            from mailarchive._cli._places import check_vault

            check_vault(path, or_state=hasattr(arguments, "or_state"))
    if arguments.key_file is None:
        return int(arguments.command(arguments))
    from mailarchive._cli import _vaults
    from mailarchive.vault import FileKeys

    FileKeys(arguments.key_file).check()
    with _vaults.key_file(arguments.key_file):
        return int(arguments.command(arguments))


def _printed(out: Output, status: int) -> int:
    """Whoever stopped reading changes nothing; a full disk makes a success none."""
    out.flush()
    if out.error is None or isinstance(out.error, BrokenPipeError):
        return status
    print(f"mailarchive: the output could not be written ({symbol(out.error)})", file=sys.stderr)
    return status or FAILED


def _say(
    arguments: argparse.Namespace,
    status: int,
    code: str,
    message: str,
    suggestions: Sequence[str] = (),
) -> int:
    """Say what went wrong, in a line; beside it as JSON to whoever asked for that."""
    if getattr(arguments, "json", False):
        error = {"code": code, "message": safe(message), "suggestions": [*map(safe, suggestions)]}
        print(json.dumps({"ok": False, "error": error}, indent=2))
    print(f"mailarchive: {safe('; '.join([message, *suggestions]))}", file=sys.stderr)
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command imports what it needs only when it is run."""
    top = argparse.ArgumentParser(
        prog="mailarchive", description="Archive mail, and prove that nothing was lost."
    )
    top.add_argument("--version", action="version", version=_version())
    top.add_argument(
        "--key-file", type=_filters.place, metavar="FILE", help="the keys of the encrypted vault"
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    _add_receive(commands)
    _add_new_address(commands)
    _add_new_key(commands)
    _add_reattribute(commands)
    _add_retries(commands)
    _evidence.add(commands)
    _add_show(commands)
    _add_export(commands)
    _add_quarantine(commands)
    _keeping.add(commands)
    _add_decode(commands)
    return top


def _version() -> str:
    try:
        return version("mailarchive")
    except PackageNotFoundError:
        return "not installed: run from its source"


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse names it nowhere else


def _demo(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.demo import demo

    return demo(arguments.folder)


def _add_demo(commands: Commands) -> None:
    add = commands.add_parser("demo", help="archive a sample journal mailbox and show the result")
    add.add_argument(
        "--folder",
        type=_filters.place,
        metavar="FOLDER",
        help="a new folder to work in (default: a temporary one)",
    )
    add.set_defaults(command=_demo)


def _run(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.run import run

    return run(
        arguments.config,
        dry_run=arguments.dry_run,
        retry_now=arguments.retry_now,
        fail_on_quarantine=arguments.fail_on_quarantine,
        quiet=arguments.quiet,
    )


def _add_run(commands: Commands) -> None:
    add = commands.add_parser("run", help="archive what is new, as a TOML file says")
    add.add_argument("config", type=_filters.place, metavar="ARCHIVE.TOML")
    add.add_argument("--dry-run", action="store_true", help="change nothing, say what would be")
    add.add_argument("--retry-now", action="store_true", help="take all retries, due or not")
    add.add_argument(
        "--fail-on-quarantine", action="store_true", help="exit 1 where anything was quarantined"
    )
    add.add_argument("--quiet", action="store_true", help="show no progress")
    add.set_defaults(command=_run, resumes=True)


def _receive(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.receive import receive

    return receive(arguments.config, quiet=arguments.quiet)


def _add_receive(commands: Commands) -> None:
    add = commands.add_parser("receive", help="archive what arrives by SMTP, as a TOML file says")
    add.add_argument("config", type=_filters.place, metavar="ARCHIVE.TOML")
    add.add_argument("--quiet", action="store_true", help="show no progress")
    add.set_defaults(command=_receive, resumes=True)


def _new_address(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.receive import new_address

    return new_address(arguments.domain)


def _add_new_address(commands: Commands) -> None:
    add = commands.add_parser("new-address", help="print an address that nobody guesses")
    add.add_argument("domain", metavar="DOMAIN")
    add.set_defaults(command=_new_address)


def _new_key(arguments: argparse.Namespace) -> int:
    from mailarchive._cli._vaults import new_key

    new_key(arguments.file)
    return OK


def _add_new_key(commands: Commands) -> None:
    add = commands.add_parser("new-key", help="make a key file for a vault that is encrypted")
    add.add_argument("file", type=_filters.place, metavar="FILE")
    add.set_defaults(command=_new_key)


def _reattribute(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.run import reattribute

    return reattribute(arguments.config)


def _add_reattribute(commands: Commands) -> None:
    add = commands.add_parser(
        "reattribute", help="give mail of nobody to the users that the TOML file names by now"
    )
    add.add_argument("config", type=_filters.place, metavar="ARCHIVE.TOML")
    add.set_defaults(command=_reattribute, resumes=True)


def _retries(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.run import retries

    return retries(arguments.config, arguments.give_up)


def _add_retries(commands: Commands) -> None:
    add = commands.add_parser("retries", help="list the messages that wait to be fetched again")
    add.add_argument("config", type=_filters.place, metavar="ARCHIVE.TOML")
    add.add_argument("--give-up", metavar="ID", help="take one off the list for good")
    add.set_defaults(command=_retries)


def _show(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import reading

    who = reading.Who(arguments.user, arguments.auditor, arguments.reason)
    return reading.show(
        arguments.vault,
        who,
        filters=_filters.chosen(arguments),
        limit=arguments.limit,
        message=arguments.message,
        copy=arguments.copy,
        every=arguments.every,
    )


def _add_show(commands: Commands) -> None:
    add = commands.add_parser("show", help="list what a user sees, or print one message")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    _add_who(add)
    _filters.add(add)
    add.add_argument(
        "--limit", type=_filters.positive, default=50, help="how many at most (default: 50)"
    )
    add.add_argument(
        "--every", action="store_true", help="with --auditor: list every entry, not only nobody's"
    )
    add.add_argument("--message", metavar="KEY", help="print this message, byte for byte")
    add.add_argument(
        "--copy", type=int, metavar="N", help="with --message: which of its copies (default: 1)"
    )
    add.set_defaults(command=_show)


def _add_who(add: argparse.ArgumentParser) -> None:
    who = add.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", type=_filters.user, metavar="U", help="see what this user may see")
    who.add_argument("--auditor", metavar="NAME", help="see everything; this is put on record")
    add.add_argument("--reason", metavar="WHY", help="why, with --auditor")


def _export(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.reading import export

    return export(
        arguments.vault,
        arguments.user,
        arguments.to,
        form=arguments.form,
        filters=_filters.chosen(arguments),
    )


def _add_export(commands: Commands) -> None:
    add = commands.add_parser("export", help="write what a user sees to files")
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    add.add_argument("--user", type=_filters.user, metavar="U", required=True)
    add.add_argument("--to", type=_filters.place, metavar="PATH", required=True)
    add.add_argument(
        "--form",
        choices=("eml", "maildir", "mbox", "bag"),
        default="eml",
        help="EML files (the default), a Maildir, one mbox file, or a BagIt bag with proofs",
    )
    _filters.add(add)
    add.set_defaults(command=_export, resumes=True)


def _quarantine(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.held import quarantine

    return quarantine(
        arguments.vault,
        read=arguments.read,
        let_go=arguments.release,
        owners=arguments.owner,
        new_user=arguments.new_user,
    )


def _add_quarantine(commands: Commands) -> None:
    add = commands.add_parser(
        "quarantine", help="list, read or release what could not be archived"
    )
    add.add_argument("vault", type=_filters.place, metavar="VAULT")
    what = add.add_mutually_exclusive_group()
    what.add_argument("--read", metavar="ID", help="print the message, byte for byte")
    what.add_argument("--release", metavar="ID", help="archive it after all, as it is")
    add.add_argument(
        "--owner",
        type=_filters.user,
        metavar="U",
        action="append",
        default=[],
        help="whose it is, with --release; may be repeated; nobody's unless given",
    )
    _filters.add_new_user(add)
    add.set_defaults(command=_quarantine, or_state=True)


def _decode(arguments: argparse.Namespace) -> int:
    from mailarchive._cli.decode import decode

    return decode(arguments.file, as_json=arguments.json)


def _add_decode(commands: Commands) -> None:
    add = commands.add_parser("decode", help="say what a journal report says")
    add.add_argument("file", type=_filters.place, metavar="FILE.EML")
    add.add_argument("--json", action="store_true", help="as JSON")
    add.set_defaults(command=_decode)
