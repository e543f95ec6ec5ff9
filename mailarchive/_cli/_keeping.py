"""The arguments of the commands that decide what stays and what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._cli import _filters

if TYPE_CHECKING:
    import argparse

    from mailarchive._cli import Commands
    from mailarchive._cli.keeping import Act
    from mailarchive.vault import Selection


def add(commands: Commands) -> None:
    """Add the commands; each imports what it needs only when it is run."""
    hold = _deciding(commands, "hold", "put mail under a legal hold: nothing erases it")
    hold.add_argument("matter", metavar="MATTER")
    _selecting(hold)
    hold.set_defaults(command=_hold)
    release = _deciding(commands, "release", "end all legal holds of a matter")
    release.add_argument("matter", metavar="MATTER")
    release.set_defaults(command=_release)
    retain = _deciding(commands, "retain", "say how long mail is kept; nothing shortens it")
    how_long = retain.add_mutually_exclusive_group(required=True)
    how_long.add_argument(
        "--days", type=_filters.positive, metavar="N", help="after it was archived"
    )
    how_long.add_argument("--keep-until", type=_filters.day, metavar="YYYY-MM-DD")
    how_long.add_argument("--for-ever", action="store_true", help="nothing takes it back")
    _selecting(retain)
    retain.set_defaults(command=_retain)
    erase = _deciding(commands, "erase", "erase messages for good")
    erase.add_argument("ids", nargs="*", metavar="ID", help="its first digits, 8 at least")
    erase.add_argument("--expired", action="store_true", help="everything that `expired` lists")
    erase.add_argument("--dry-run", action="store_true", help="change nothing, list what would go")
    erase.set_defaults(command=_erase)
    for name, command, words in (
        ("kept", _kept, "list holds and retention"),
        ("expired", _expired, "list what may be erased: kept long enough, and held by nobody"),
    ):
        listing = commands.add_parser(name, help=words)
        listing.add_argument("vault", type=_filters.place, metavar="VAULT")
        listing.set_defaults(command=command)


def _deciding(commands: Commands, name: str, words: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words)
    parser.add_argument("vault", type=_filters.place, metavar="VAULT")
    parser.add_argument("--actor", required=True, help="who decides; put on record")
    parser.add_argument("--reason", required=True, help="why; put on record")
    return parser


def _selecting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user",
        type=_filters.user,
        metavar="U",
        action="append",
        help="mail of this user; may be repeated",
    )
    _filters.add_new_user(parser)
    _filters.add_days(parser)
    parser.add_argument("--all", action="store_true", help="all mail, what is to come included")


def _selection(arguments: argparse.Namespace) -> Selection:
    from mailarchive.errors import ConfigurationError
    from mailarchive.vault import Selection

    chosen = bool(arguments.user or arguments.since or arguments.until)
    if chosen == arguments.all:
        raise ConfigurationError(
            "what is meant must be said, and once",
            suggestions=["give --user, --since or --until, or --all for all mail"],
        )
    return Selection(users=arguments.user, since=arguments.since, until=arguments.until)


def _known(arguments: argparse.Namespace) -> list[str]:
    """The users who must own something, as they were typed."""
    return [] if arguments.new_user else arguments.user or []


def _act(arguments: argparse.Namespace) -> Act:
    from mailarchive._cli.keeping import Act

    return Act(arguments.vault, arguments.actor, arguments.reason)


def _hold(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import keeping

    return keeping.hold(
        _act(arguments), arguments.matter, _selection(arguments), _known(arguments)
    )


def _release(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import keeping

    return keeping.release(_act(arguments), arguments.matter)


def _retain(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import keeping

    return keeping.retain(
        _act(arguments),
        _selection(arguments),
        _known(arguments),
        until=arguments.keep_until,
        days=arguments.days,
    )


def _erase(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import keeping

    return keeping.erase(
        _act(arguments), arguments.ids, all_expired=arguments.expired, dry_run=arguments.dry_run
    )


def _kept(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import keeping

    return keeping.kept(arguments.vault)


def _expired(arguments: argparse.Namespace) -> int:
    from mailarchive._cli import keeping

    return keeping.expired(arguments.vault)
