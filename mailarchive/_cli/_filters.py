"""The arguments that say which messages are meant."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
    parser.add_argument("--sender", metavar="ADDRESS", help="only messages from this address")
    parser.add_argument("--folder", metavar="NAME", help="only messages of this folder")
    parser.add_argument("--text", help="only messages with this in the subject or an address")
    parser.add_argument(
        "--words", help="only messages that hold all these words, anywhere in them"
    )


def chosen(arguments: argparse.Namespace) -> Filters:
    """Return the filters that were given."""
    return {
        "since": arguments.since,
        "until": arguments.until,
        "sender": arguments.sender,
        "folder": arguments.folder,
        "text": arguments.text,
        "words": arguments.words,
    }
