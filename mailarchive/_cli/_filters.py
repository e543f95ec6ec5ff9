"""The arguments that say which messages are meant."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from mailarchive.vault import Filters


def positive(text: str) -> int:
    """Return a number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("a number from 1 on is wanted")
    return int(text)


def day(text: str) -> datetime:
    """Return the beginning of a day, UTC, that is written YYYY-MM-DD."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a day is written YYYY-MM-DD") from error


def _some(text: str) -> str:
    """Return a text that chooses something: an empty one is often a variable that is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty text chooses nothing; leave it out for all")
    return text


def user(text: str) -> str:
    """Return the id of a user, which an empty text is of nobody."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty text is no user; give the id of one")
    return text


def place(text: str) -> Path:
    """Return a path; an empty one would be the folder that the command is started in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty text is no path; give a path, or . for here")
    return Path(text)


def add_days(parser: argparse.ArgumentParser) -> None:
    """Add `--since` and `--until`."""
    parser.add_argument("--since", type=day, metavar="YYYY-MM-DD", help="from that day on")
    parser.add_argument("--until", type=day, metavar="YYYY-MM-DD", help="before that day")


def add_new_user(parser: argparse.ArgumentParser) -> None:
    """Add `--new-user`, without which a user who owns nothing is taken for misspelt."""
    parser.add_argument(
        "--new-user", action="store_true", help="a user may own nothing yet, and is meant"
    )


def add(parser: argparse.ArgumentParser) -> None:
    """Add every filter of a view."""
    add_days(parser)
    for name, metavar, words in (
        ("--sender", "ADDRESS", "only messages from this address"),
        ("--folder", "NAME", "only messages of this folder"),
        ("--text", "TEXT", "only messages with this in the subject or an address"),
        ("--words", "WORDS", "only messages that hold all these words, anywhere in them"),
    ):
        parser.add_argument(name, type=_some, metavar=metavar, help=words)


def chosen(arguments: argparse.Namespace) -> Filters:
    """Return the filters that were given; raises where no time is within both days."""
    since, until = arguments.since, arguments.until
    if since is not None and until is not None and since >= until:
        raise ConfigurationError(
            "no time is both since the one day and before the other",
            suggestions=["give --since the earlier day, and --until the later one"],
        )
    return {
        "since": since,
        "until": until,
        "sender": arguments.sender,
        "folder": arguments.folder,
        "text": arguments.text,
        "words": arguments.words,
    }
