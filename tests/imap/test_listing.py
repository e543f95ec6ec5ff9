"""What a listing of folders may hold, and that none is lost for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import normalize

import pytest
from attrs import evolve
from support.imap import QUICK, scripted

from mailarchive import Folder, FolderRole
from mailarchive.errors import SourceError
from mailarchive.sources.imap import FolderChoice
from mailarchive.testing.imap_server import CAPABILITIES, ImapServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailarchive.testing.imap_server import Command, Lie, Talk

INBOX = b'() "/" INBOX'
ACCENTS = ["Priv\u00e9", "Prive\u0301"]


def listing(*lines: bytes) -> Lie:
    """Answer each LIST with these folders."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name != "LIST":
            return False
        talk.send(b"".join(b"* LIST " + line + b"\r\n" for line in lines))
        talk.ok(command)
        return True

    return lie


def folders_of(*lines: bytes, choice: FolderChoice | None = None) -> Sequence[Folder]:
    """The folders that are archived of a mailbox with this listing."""
    with (
        ImapServer({}, listing(*lines)) as server,
        scripted(server, folders=choice or FolderChoice.everything()) as source,
    ):
        return source.folders()


@pytest.mark.parametrize("turned", [False, True])
def test_a_folder_that_is_listed_twice_is_what_both_lines_say(turned: bool) -> None:
    """The last one counted, and an INBOX that was also a mere name was archived no more."""
    lines = [INBOX, b'(\\Noselect) "/" Inbox', b'(\\Sent) "/" Out', b'() "/" Out']
    found = folders_of(*(reversed(lines) if turned else lines))

    assert [(each.name, each.role) for each in found] == [
        ("INBOX", FolderRole.INBOX),
        ("Out", FolderRole.SENT),
    ]


def test_a_folder_that_twice_cannot_be_opened_is_not_there() -> None:
    """Both lines say so, in whatever words."""
    found = folders_of(INBOX, *[b'(\\NoSelect) "/" "[Gmail]"'] * 2)

    assert [each.name for each in found] == ["INBOX"]


def test_a_name_that_is_not_quoted_loses_none_of_its_words() -> None:
    """By its first word alone it would be another folder, and come in its place."""
    found = folders_of(INBOX, b'() "/" Sent', b'() "/" Sent Items ("CHILDINFO" ("SUBSCRIBED"))')

    assert [each.key for each in found] == ["INBOX", "Sent", "Sent Items"]


@pytest.mark.parametrize("sent", ACCENTS)
@pytest.mark.parametrize("written", ACCENTS)
def test_it_makes_no_difference_how_an_accent_is_sent_or_written(sent: str, written: str) -> None:
    """Nobody sees it: what is left out stays out, and what is chosen is there."""
    line = b'() "/" "%s/2024"' % sent.encode()

    chosen = folders_of(INBOX, line, choice=FolderChoice.only(f"{written}/2024"))
    without = folders_of(INBOX, line, choice=FolderChoice().excluding(f"{written}/*"))

    assert [each.name for each in chosen] == [f"{sent}/2024"]
    assert [each.name for each in without] == ["INBOX"]


def test_a_purpose_is_known_by_a_name_whose_accents_follow_their_letters() -> None:
    """Where a server tells no purposes."""
    line = b'() "/" "%s"' % normalize("NFD", "Entw\u00fcrfe").encode()

    (_, drafts) = folders_of(INBOX, line)

    assert drafts.role is FolderRole.DRAFTS


@pytest.mark.parametrize("there", [ACCENTS, ACCENTS[:1], ACCENTS[1:]])
def test_the_folder_to_move_to_is_the_one_to_the_letter_where_there_are_two(
    there: list[str],
) -> None:
    """And else the one that looks the same."""
    lines = [b'() "/" "%s"' % name.encode() for name in there]
    with (
        ImapServer({}, listing(INBOX, *lines)) as server,
        scripted(server, remove_to=ACCENTS[1]) as source,
    ):
        names = [each.name for each in source.folders()]
        (target,) = source.left_out

    assert target.name == (ACCENTS[1] if ACCENTS[1] in there else ACCENTS[0])
    assert len(names) == len(there)


def spaces(count: int, below: Callable[[int], bytes]) -> Lie:
    """Tell so many namespaces of one's own, and list below each what `below` returns."""
    prefixes = b"".join(b'("p%d/" "/")' % number for number in range(count))

    def lie(talk: Talk, command: Command) -> bool:
        if command.name == "NAMESPACE":
            talk.send(b"* NAMESPACE (" + prefixes + b") NIL NIL\r\n")
        elif command.name != "LIST":
            return False
        elif command.arguments.startswith(b'"" "*"'):
            talk.send(b"* LIST " + INBOX + b"\r\n")
        else:
            talk.send(below(int(command.arguments[5:].partition(b"/")[0])))
        talk.ok(command)
        return True

    return lie


def test_the_limit_of_folders_is_for_all_namespaces_together() -> None:
    """It held for each of them, and a server may tell of thousands."""

    def ten(number: int) -> bytes:
        return b"".join(b'* LIST () "/" p%d/%d\r\n' % (number, each) for each in range(10))

    limits = evolve(QUICK, folders=25, reconnects=0)
    capabilities = CAPABILITIES + " NAMESPACE"
    with (
        ImapServer({}, spaces(50, ten), capabilities=capabilities) as server,
        scripted(server, limits=limits) as source,
        pytest.raises(SourceError, match="the limit folders = 25"),
    ):
        source.folders()

    assert [each.name for each in server.commands].count("LIST") == 4


def test_a_server_with_thousands_of_namespaces_is_given_up() -> None:
    """Each would cost a command, and each folder a look at all of them."""
    limits = evolve(QUICK, reconnects=0)
    capabilities = CAPABILITIES + " NAMESPACE"
    with (
        ImapServer({}, spaces(1_001, lambda _: b""), capabilities=capabilities) as server,
        scripted(server, limits=limits) as source,
        pytest.raises(SourceError, match="namespaces"),
    ):
        source.folders()

    assert "LIST" not in {each.name for each in server.commands}
