"""Which folders there are, what they are for, and which are archived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from support.imap import Mailbox, read_all, scripted

from mailarchive import Folder, FolderRole
from mailarchive.errors import ConfigurationError, MailboxNotFound
from mailarchive.sources.imap import FolderChoice
from mailarchive.testing.dovecot import dovecot
from mailarchive.testing.imap_server import CAPABILITIES, Command, ImapServer, Talk
from mailarchive.users.mailboxes import MailboxChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.imap import Numbered

    from mailarchive.sources.imap import ImapSource


def folder(name: str, role: FolderRole | None = None) -> Folder:
    """A folder of that path."""
    return Folder(name, tuple(name.split("/")), role)


FOLDERS = [
    folder("INBOX", FolderRole.INBOX),
    folder("Drafts", FolderRole.DRAFTS),
    folder("Junk", FolderRole.JUNK),
    folder("Junk/Old"),
    folder("Projects/Alpha"),
    folder("Projects/Beta"),
    folder("[Gmail]/All Mail", FolderRole.ALL),
]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (FolderChoice(), {"INBOX", "Projects/Alpha", "Projects/Beta", "[Gmail]/All Mail"}),
        (FolderChoice.everything(), {each.name for each in FOLDERS}),
        (FolderChoice.only("inbox"), {"INBOX"}),
        (FolderChoice.only("Projects/*"), {"Projects/Alpha", "Projects/Beta"}),
        (FolderChoice.only("Projects/?eta"), {"Projects/Beta"}),
        (FolderChoice.only("[Gmail]/All Mail"), {"[Gmail]/All Mail"}),
        (FolderChoice.only("[Gmail]/*"), {"[Gmail]/All Mail"}),
        (FolderChoice.only("?Gmail]*"), {"[Gmail]/All Mail"}),
        (FolderChoice.only("[A-Z]NBO*", "[!x]NBO*", "Junk", "[*"), {"Junk", "[Gmail]/All Mail"}),
        (FolderChoice().excluding("[Gmail]/*"), {"INBOX", "Projects/Alpha", "Projects/Beta"}),
        (FolderChoice.only("Junk"), {"Junk"}),
        (FolderChoice.of(FolderRole.ALL, FolderRole.INBOX), {"INBOX", "[Gmail]/All Mail"}),
        (
            FolderChoice.everything().excluding("Projects/*", "Junk*"),
            {"INBOX", "Drafts", "[Gmail]/All Mail"},
        ),
    ],
)
def test_a_choice_takes_what_it_says(choice: FolderChoice, names: set[str]) -> None:
    """By pattern and by purpose; what is below a folder that is left out is left out too.

    A `*` and a `?` alone stand for something else: folders are called `[Gmail]`.
    """
    chosen = choice.among(FOLDERS, "here")

    assert {each.name for each in chosen.taken} == names
    assert {*chosen.taken, *chosen.left_out} == set(FOLDERS)
    assert len(chosen.taken) + len(chosen.left_out) == len(FOLDERS)


@pytest.mark.parametrize("choose", [FolderChoice.only, FolderChoice.of])
def test_a_choice_of_nothing_is_a_mistake(choose: Callable[[], FolderChoice]) -> None:
    """It would archive nothing, and say that all went well."""
    with pytest.raises(ConfigurationError):
        choose()


def test_a_name_that_fits_nothing_is_noticed() -> None:
    """A pattern may fit nothing; a name that was meant exactly may not."""
    choice = FolderChoice.only("INBOX", "Nothing/*", "Projects/Gamma", "bob@example.com")

    with pytest.raises(MailboxNotFound, match=r"here: 2 of the chosen folders") as caught:
        choice.among(FOLDERS, "here")

    told = str(caught.value.suggestions)
    assert "Projects/Gamma" in told
    assert "Nothing" not in told
    assert "example.com" not in told


def test_what_fits_no_folder_is_known() -> None:
    """Patterns that take, patterns that leave out and purposes; what stands twice once."""
    choice = FolderChoice(
        ["INBOX", "Nothing/*"],
        ["Nothing/*", "Junk", "Privat"],
        frozenset({FolderRole.INBOX, FolderRole.SENT}),
    )

    assert choice.among(FOLDERS, "here").unmatched == ("Nothing/*", "Privat", "sent")
    assert FolderChoice().among(FOLDERS, "here").unmatched == ()


def test_a_real_server_has_what_fits_and_lacks_the_rest(mailbox: Mailbox) -> None:
    """The source knows after it has listed the folders; a default is no wish."""
    roles = frozenset({FolderRole.INBOX, FolderRole.FLAGGED})
    choice = FolderChoice(without=["Junk", "Jnuk"], roles=roles)
    with mailbox.source(folders=choice) as source:
        source.folders()
        assert source.unmatched == ("Jnuk", "flagged")
    with mailbox.source() as source:
        source.folders()
        assert source.unmatched == ()


def test_names_come_from_a_real_server_as_people_wrote_them(
    mailbox: Mailbox, numbered: Numbered
) -> None:
    """Modified UTF-7, spaces and quotes; the key opens the folder again."""
    with mailbox.raw() as connection:
        for wire in ("Gel&APY-scht/&ZeVnLIqe-", 'with \\"quotes\\" and \\\\', "a&-b"):
            connection.command(f'CREATE "{wire}"')
            connection.append(wire, numbered(1))

    with mailbox.source() as source:
        names = {each.name for each in source.folders()}
        for name in ("Gelöscht/日本語", 'with "quotes" and \\', "a&b"):
            assert name in names
            assert len(read_all(source, name)) == 1


def test_a_real_server_tells_what_folders_are_for(mailbox: Mailbox) -> None:
    """SPECIAL-USE (RFC 6154)."""
    with mailbox.source(folders=FolderChoice.everything()) as source:
        roles = {each.name: each.role for each in source.folders()}

    assert roles == {
        "INBOX": FolderRole.INBOX,
        "Drafts": FolderRole.DRAFTS,
        "Junk": FolderRole.JUNK,
        "Sent Items": FolderRole.SENT,
        "Deleted Items": FolderRole.TRASH,
    }


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        ("Gelöscht".encode().decode("latin-1"), ("Gelöscht",)),
        ("\xff\xfe", ("ÿþ",)),
        ("Entw&APw-rfe/x", ("Entwürfe", "x")),
        ("/leading//double/", ("leading", "double")),
        ("/", ("/",)),
        ("line\r\nend", ("line\r\nend",)),
        ("NIL", ("NIL",)),
        ("../../etc/passwd", ("..", "..", "etc", "passwd")),
        ('"', ('"',)),
    ],
)
def test_a_folder_of_any_name_can_be_read(wire: str, path: tuple[str, ...]) -> None:
    """Its key is what the server called it, byte for byte."""

    def by_literal(talk: Talk, command: Command) -> bool:
        if command.name != "LIST":
            return False
        raw = wire.encode("latin-1")
        sent = b"NIL" if wire == "NIL" else b"{%d}\r\n%s" % (len(raw), raw)
        talk.send(b'* LIST (\\HasNoChildren) "/" ' + sent + b"\r\n")
        talk.ok(command)
        return True

    raws = [b"Subject: a\r\n\r\n"]
    for capabilities in (CAPABILITIES, CAPABILITIES.replace(" LITERAL+", "")):
        with (
            ImapServer({wire: raws}, by_literal, capabilities=capabilities) as server,
            scripted(server, folders=FolderChoice.everything()) as source,
        ):
            (found,) = source.folders()
            assert found.path == path
            assert found.key == wire
            assert [item.raw for item in read_all(source, found.name)] == raws


def listing(
    lines: list[bytes], extra: dict[str, bytes] | None = None
) -> tuple[ImapSource, ImapServer]:
    """A source on a server that lists these folders."""

    def lie(talk: Talk, command: Command) -> bool:
        if command.name == "LIST":
            for line in lines:
                talk.send(b"* LIST " + line + b"\r\n")
        elif command.name in (extra or {}):
            talk.send((extra or {})[command.name] + b"\r\n")
        else:
            return False
        talk.ok(command)
        return True

    server = ImapServer({}, lie, capabilities=CAPABILITIES + " NAMESPACE")
    return scripted(server, folders=FolderChoice.everything()), server


def test_folders_that_cannot_be_opened_are_not_there() -> None:
    """`\\Noselect` and `\\NonExistent`."""
    source, server = listing(
        [
            b'(\\Noselect) "/" "[Gmail]"',
            b'(\\NonExistent) "/" gone',
            b"() NIL flat",
            b'() "/" inbox',
        ]
    )
    with server, source:
        found = source.folders()

    assert [(each.key, each.path, each.role) for each in found] == [
        ("INBOX", ("INBOX",), FolderRole.INBOX),
        ("flat", ("flat",), None),
    ]


def test_where_a_server_tells_no_purposes_the_usual_names_do() -> None:
    """Exchange has no SPECIAL-USE; its names are in the language of the mailbox."""
    source, server = listing(
        [
            b'() "/" INBOX',
            b'() "/" "Gel&APY-schte Elemente"',
            b'() "/" "Deleted Items"',
            b'() "/" "Projects/Drafts"',
            b'() "." INBOX.Spam',
        ]
    )
    with server, source:
        roles = {each.name: each.role for each in source.folders()}

    assert roles == {
        "INBOX": FolderRole.INBOX,
        "Gelöschte Elemente": FolderRole.TRASH,
        "Deleted Items": FolderRole.TRASH,
        "Projects/Drafts": None,
        "INBOX/Spam": FolderRole.JUNK,
    }


def test_where_a_server_tells_purposes_names_mean_nothing() -> None:
    """A folder called Spam is what its owner says it is."""
    source, server = listing([b'(\\Junk) "/" "Unwanted"', b'() "/" Spam'])
    with server, source:
        roles = {each.name: each.role for each in source.folders()}

    assert roles == {"Unwanted": FolderRole.JUNK, "Spam": None}


def test_other_peoples_folders_are_left_alone_unless_asked_for() -> None:
    """RFC 2342: what is shared with this mailbox is somebody else's mail."""
    spaces = {"NAMESPACE": b'* NAMESPACE (("" "/")) (("~" "/")) (("#shared/" "/")("" "/"))'}
    lines = [b'() "/" INBOX', b'() "/" "~bob/INBOX"', b'() "/" "#shared/all"']
    source, server = listing(lines, spaces)
    with server, source:
        assert {each.name for each in source.folders()} == {"INBOX"}

    source, server = listing(lines, spaces)
    source._choice = FolderChoice(shared=True)
    with server, source:
        assert {each.name for each in source.folders()} == {"INBOX", "~bob/INBOX", "#shared/all"}


@pytest.mark.parametrize(
    ("spaces", "theirs"),
    [
        (b'(("INBOX/" "/")) (("user/" "/")) (("" "/"))', {"Sales", "user/bob"}),
        (b'(("" "/")) (("user/" "/")) (("Sales" "/"))', {"Sales", "user/bob"}),
        (b'(("" "/")("user/" "/")) NIL (("" "/"))', set()),
        (b'(("INBOX/" "/")) NIL NIL', set()),
        (b'NIL NIL (("" "/"))', {"Sales", "user/bob", "INBOX/Own"}),
        (b'(("" "/")) NIL (("Sal" "/")("us" NIL))', {"user/bob"}),
        (b'(("" "/")) (("user" "/")) (("Sales" "/")(NIL "/")())', {"Sales", "user/bob"}),
    ],
)
def test_the_longest_prefix_says_whose_a_folder_is(spaces: bytes, theirs: set[str]) -> None:
    """INBOX is always one's own, and so is what no namespace, or one's own too, lays claim to."""
    names = {"INBOX", "INBOX/Own", "user/bob", "Sales"}
    lines = [b'() "/" "%s"' % name.encode() for name in names]
    source, server = listing(lines, {"NAMESPACE": b"* NAMESPACE " + spaces})
    with server, source:
        assert {each.name for each in source.folders()} == names - theirs

    source, server = listing(lines, {"NAMESPACE": b"* NAMESPACE " + spaces})
    source._choice = FolderChoice(shared=True)
    with server, source:
        assert {each.name for each in source.folders()} == names


@pytest.mark.parametrize("shared", [False, True])
def test_every_namespace_that_is_wanted_is_asked_for(shared: bool) -> None:
    """What other people share comes beside one's own folders, not instead of some."""
    at = {b"#mh/": b"#mh/mine", b"~": b"~bob/INBOX"}

    def below_their_prefixes(talk: Talk, command: Command) -> bool:
        if command.name == "NAMESPACE":
            talk.send(b'* NAMESPACE (("" "/")("#mh/" "/")) (("~" "/")) NIL\r\n')
        elif command.name == "LIST":
            found = [name for prefix, name in at.items() if prefix in command.arguments]
            talk.send(b'* LIST () "/" ' + (found or [b"INBOX"])[0] + b"\r\n")
        else:
            return False
        talk.ok(command)
        return True

    capabilities = CAPABILITIES + " NAMESPACE"
    with (
        ImapServer({}, below_their_prefixes, capabilities=capabilities) as server,
        scripted(server, folders=FolderChoice(shared=shared)) as source,
    ):
        names = {each.name for each in source.folders()}

    assert names == {"INBOX", "#mh/mine"} | ({"~bob/INBOX"} if shared else set())


def test_a_chosen_folder_that_is_not_there_is_an_error() -> None:
    """Nothing is archived under a name that was a mistake."""
    source, server = listing([b'() "/" INBOX'])
    source._choice = FolderChoice.only("Jounral")
    with server, source, pytest.raises(MailboxNotFound):
        source.folders()


def test_a_real_servers_public_folders_are_left_alone(numbered: Numbered) -> None:
    """Dovecot lists them below a prefix that it tells."""
    public = """
namespace public {
  type = public
  prefix = Public/
  separator = /
  location = maildir:~/public
  subscriptions = no
}
"""
    with dovecot(extra=public) as server:
        mailbox = Mailbox(server, server.new_user())
        mailbox.put(numbered(1), "Public/News")
        with mailbox.source() as source:
            own = {each.name for each in source.folders()}
        with mailbox.source(folders=FolderChoice(shared=True)) as source:
            everything = {each.name for each in source.folders()}
            read = read_all(source, "Public/News")

    assert own == {"INBOX", "Sent Items"}
    assert everything == own | {"Public/News"}
    assert len(read) == 1


@pytest.mark.parametrize(
    "made",
    [
        lambda: FolderChoice("INBOX"),
        lambda: FolderChoice(without="Private/*"),
        lambda: MailboxChoice(without="info@*"),
        lambda: MailboxChoice(cast("Any", "alice@example.com")),
    ],
)
def test_a_text_is_no_list_of_patterns(made: Callable[[], object]) -> None:
    """Each of its letters would be one, and a `*` among them would take or leave out all."""
    with pytest.raises(ConfigurationError, match="one text, and are to be several") as caught:
        made()

    assert "put it into a list" in caught.value.suggestions[0]
