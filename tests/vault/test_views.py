"""A view is one user's: what is theirs, as much of it as they may know, and nothing beside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.vaults import entries, entry, journaled, mail, receipts, to

from mailarchive import (
    Address,
    Digest,
    Envelope,
    Provenance,
    Recipient,
    Redirection,
    Role,
    UserId,
)
from mailarchive._model import Fidelity
from mailarchive.errors import SinkError, Unsupported
from mailarchive.vault import PRIVATE_HEADERS, FileKeys, Vault, View, ViewedMessage, _loading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from support.vaults import OpenVault

    from mailarchive.vault._record import Summary

ALICE, BOB, CAROL, DAVE, EVE = map(UserId, ("alice", "bob", "carol", "dave", "eve"))
OWN = {
    "alice": ("alice@example.com",),
    "bob": ("bob@example.com",),
    "dave": ("dave@example.com",),
}
"""The sender, somebody in To, and somebody who was blind-copied."""

HOSTILE = [
    "../../etc/passwd",
    "",
    "\0",
    "a\0b",
    "😀",
    "x" * 10_000,
    "' OR 1=1 --",
    "\ud800",
    "alice\n",
    "ALICE",
    " alice",
    "%",
]


def _one(view: View) -> ViewedMessage:
    (found,) = view.messages()
    return found


# -- isolation ----------------------------------------------------------------------------


@pytest.mark.parametrize("user", HOSTILE)
def test_any_text_is_a_user(vault: Vault, user: str) -> None:
    """A user's id is compared and nothing else: it names no file, no query, no other user."""
    vault.put_many(entries(2))
    assert list(vault.view(UserId(user)).messages()) == []

    vault.put(entry(mail(5), key="5", owners={user: ("x@example.com",)}))
    vault.rebuild()

    seen = _one(vault.view(UserId(user)))
    assert (seen.content(), vault.auditor("me", "why").users()[UserId(user)]) == (mail(5), 1)
    assert vault.view(ALICE).count() == 2


def test_halves_of_a_character_are_the_whole_one(vault: Vault) -> None:
    """A text that JSON cannot tell from another one is that one, from the start."""
    halves, whole = "\ud83d\ude00", "\N{GRINNING FACE}"
    envelope = Envelope(Address(f"{halves}@example.com"), subject=halves)
    vault.put(entry(mail(), owners={halves: (f"{halves}@example.com",)}, envelope=envelope))

    def seen() -> list[tuple[str | None, int]]:
        views = [vault.view(UserId(user)) for user in (halves, whole)]
        return [(_one(view).subject, view.count(text=whole)) for view in views]

    before = seen()
    assert vault.verify().ok
    vault.rebuild()
    assert seen() == before == [(whole, 1)] * 2
    assert _one(vault.view(UserId(halves))).content() == mail()


@given(st.text(max_size=8), st.text(max_size=8))
def test_no_two_users_are_one(
    tmp_path_factory: pytest.TempPathFactory, one: str, other: str
) -> None:
    """However alike two ids are, neither sees the other's mail."""
    with Vault(tmp_path_factory.mktemp("v") / "v", keys=None) as vault:
        vault.put(entry(mail(1), owners={one: ()}))

        assert vault.view(UserId(other)).count() == (1 if one == other else 0)


def test_what_is_not_owned_cannot_be_had_by_any_way(vault: Vault) -> None:
    """Neither a key, nor a filter, nor an equal Message-ID gives a user another's mail."""
    vault.put_many(entries(3))
    vault.put(entry(mail(1, body=b"eve's own"), key="9", owners={"eve": ("eve@example.com",)}))
    view = vault.view(EVE)
    theirs = [each.key for each in vault.view(BOB).messages()]

    assert [each.content() for each in view.messages()] == [mail(1, body=b"eve's own")]
    assert [view.get(key) for key in theirs] == [None] * 3
    assert view.count() == view.count(sender="alice@example.com") == view.count(text="") == 1
    assert view.count(text="message 2") == 0
    assert view.count(until=datetime(2100, 1, 1, tzinfo=UTC)) == 1
    for key in theirs:
        with pytest.raises(SinkError):
            view.messages(after=key)


def test_one_message_has_another_key_for_each_owner(vault: Vault) -> None:
    """Keys of two owners of one message have nothing in common, and lead nowhere for the other."""
    vault.put(entry(mail()))
    mine, theirs = _one(vault.view(ALICE)), _one(vault.view(BOB))

    assert mine.key != theirs.key
    assert vault.view(ALICE).get(theirs.key) is None
    assert vault.view(ALICE).get(mine.key) == mine


@pytest.mark.parametrize("key", ["", "x", "é", "\0", "../x", "\ud800", "%" * 10_000])
def test_a_key_that_is_none_finds_nothing(vault: Vault, key: str) -> None:
    """Whatever is asked for, an unknown key is an answer and no error."""
    vault.put(entry(mail()))

    assert vault.view(ALICE).get(key) is None


def test_a_message_object_is_its_view_s(vault: Vault) -> None:
    """A message made up with another's key reads nothing."""
    vault.put(entry(mail()))
    vault.put(entry(mail(2), key="2", owners={"eve": ()}))
    forged = evolve(_one(vault.view(EVE)), key=_one(vault.view(BOB)).key)

    with pytest.raises(SinkError):
        forged.content()


# -- what an owner may know ---------------------------------------------------------------


def _blind(vault: Vault, original: bytes) -> None:
    lines = [
        to("bob@example.com", Role.TO),
        Recipient(
            Address("dave@example.com"),
            Role.BCC,
            (Redirection("expanded", Address("list@example.com")),),
        ),
        to("secret@example.com", Role.BCC),
        Recipient(
            Address("carol@example.com"),
            Role.RECIPIENT,
            (Redirection("forwarded", Address("boss@example.com")),),
        ),
    ]
    vault.put(journaled(original, lines, owners=OWN))


def _known(view: View) -> list[tuple[str, Role, int]]:
    return [(str(r.address), r.role, len(r.history)) for r in _one(view).recipients]


def test_a_recipient_knows_what_the_message_shows(vault: Vault) -> None:
    """To and Cc of the message itself are everybody's; how a line came about is not."""
    _blind(vault, mail())

    assert _known(vault.view(BOB)) == [
        ("bob@example.com", Role.TO, 0),
        ("carol@example.com", Role.CC, 0),
    ]


def test_who_was_blind_copied_knows_that_alone(vault: Vault) -> None:
    """A blind-copied owner knows their own line whole, and no other hidden one."""
    _blind(vault, mail())

    assert _known(vault.view(DAVE)) == [
        ("bob@example.com", Role.TO, 0),
        ("dave@example.com", Role.BCC, 1),
        ("carol@example.com", Role.CC, 0),
    ]


def test_the_sender_knows_all(vault: Vault) -> None:
    """The sender knows every recipient, every role and every history."""
    _blind(vault, mail())

    assert _known(vault.view(ALICE)) == [
        ("bob@example.com", Role.TO, 0),
        ("dave@example.com", Role.BCC, 1),
        ("secret@example.com", Role.BCC, 0),
        ("carol@example.com", Role.RECIPIENT, 1),
    ]


def test_an_owner_without_an_address_knows_what_is_shown(vault: Vault) -> None:
    """A catch-all user, whom no address made an owner, knows what the message shows."""
    lines = [to("bob@example.com"), to("dave@example.com", Role.BCC)]
    vault.put(journaled(mail(), lines, owners={"archive": ()}))

    assert _known(vault.view(UserId("archive"))) == [("bob@example.com", Role.TO, 0)]


def test_on_whose_behalf_is_a_sender_too(vault: Vault) -> None:
    """Somebody for whom the message was sent knows what the sender knows."""
    envelope = Envelope(
        Address("assistant@example.com"),
        Address("dave@example.com"),
        (to("x@example.com", Role.BCC),),
    )
    vault.put(journaled(mail(), [], envelope=envelope, owners=OWN))

    assert _known(vault.view(DAVE)) == [("x@example.com", Role.BCC, 0)]
    assert _known(vault.view(BOB)) == []


def test_nobody_finds_by_what_they_may_not_know(vault: Vault) -> None:
    """A search says nothing of a recipient whom this user may not know."""
    _blind(vault, mail())

    def finders(text: str) -> list[str]:
        return [user for user in OWN if vault.view(UserId(user)).count(text=text)]

    assert finders("secret@") == ["alice"]
    assert finders("dave@example") == ["alice", "dave"]
    assert finders("carol") == finders("THE PLAN") == list(OWN)
    assert finders("boss") == finders("list@") == []


@pytest.mark.parametrize("name", PRIVATE_HEADERS)
def test_a_private_header_is_cut_for_all_but_the_sender(vault: Vault, name: str) -> None:
    """What names blind-copied recipients in the message is left out, and nothing else."""
    extra = f"{name}: secret@example.com,\r\n\tother@example.com\r\n".encode()
    whole, cut = mail(extra=extra, body=extra), mail(body=extra)
    _blind(vault, whole)
    sender, other = _one(vault.view(ALICE)), _one(vault.view(BOB))

    assert (sender.content(), sender.redacted) == (whole, False)
    assert (other.content(), other.redacted) == (cut, True)
    assert (sender.size, other.size) == (len(whole), len(cut))


def test_private_headers_are_found_in_any_spelling(vault: Vault) -> None:
    """The name of a header field is the same in any case and with blanks before the colon."""
    _blind(vault, mail(extra=b"bCC : secret@example.com\r\nBCC:x@example.com\r\n"))

    seen = _one(vault.view(BOB))
    assert (seen.redacted, b"secret" in seen.content(), b"x@ex" in seen.content()) == (
        True,
        False,
        False,
    )


def test_the_report_is_for_the_sender_alone(vault: Vault) -> None:
    """The report, which names everybody, is given to the sender and refused to the others."""
    _blind(vault, mail())
    report = next(iter(vault.auditor("me", "to compare").entries())).raw()

    assert _one(vault.view(ALICE)).report() == report
    for user in (BOB, DAVE):
        with pytest.raises(Unsupported):
            _one(vault.view(user)).report()


def test_ordinary_mail_has_no_report(vault: Vault) -> None:
    """Where there is no report, even the sender is told so."""
    vault.put(entry(mail()))

    with pytest.raises(Unsupported):
        _one(vault.view(ALICE)).report()


def test_a_report_without_a_message_is_not_shown_in_its_place(vault: Vault) -> None:
    """A report that holds no message is never handed out as if it were one."""
    report = entry(
        b"Sender: alice@example.com\r\nBcc: secret@example.com\r\n",
        envelope=Envelope(Address("alice@example.com"), recipients=(to("secret@example.com"),)),
        provenance=Provenance(Fidelity.WIRE, is_report=True),
    )
    vault.put(report)
    other = _one(vault.view(BOB))

    assert (other.size, other.recipients) == (0, ())
    for read in (other.content, other.report, _one(vault.view(ALICE)).content):
        with pytest.raises(Unsupported):
            read()
    assert _one(vault.view(ALICE)).report() == report.raw


def test_a_folder_is_told_to_those_whose_mailbox_it_is(vault: Vault) -> None:
    """A folder's name is known where one address made every owner, and not beyond."""
    shared = {"bob": ("team@example.com",), "dave": ("team@example.com",)}
    path = ("Clients", "Secret")
    vault.put(entry(mail(1), key="1", owners={"bob": ("bob@example.com",)}, path=path))
    vault.put(entry(mail(2), key="2", owners=shared, path=path))
    vault.put(entry(mail(3), key="3", owners=OWN, path=path))

    seen = {each.subject: each.folders for each in vault.view(BOB).messages()}

    assert seen == {
        "Message 1": ("Clients/Secret",),
        "Message 2": ("Clients/Secret",),
        "Message 3": (),
    }
    assert vault.view(BOB).count(folder="Clients/Secret") == 2
    assert vault.view(UserId("alice")).count(folder="Clients/Secret") == 0


def test_nothing_of_a_mail_is_in_a_repr(vault: Vault) -> None:
    """A viewed message in a log line tells no address, subject or folder."""
    vault.put(entry(mail(extra=b"Canary: 1\r\n"), owners={"bob": ()}, path=("Canary",)))

    told = repr(_one(vault.view(BOB)))

    assert not [word for word in ("Message 0", "example", "Canary") if word in told]


# -- forks --------------------------------------------------------------------------------


def _forks(vault: Vault) -> None:
    original = mail(body=b"to all")
    owners: list[dict[str, tuple[str, ...]]] = [
        {"alice": ("alice@example.com",), "bob": ("bob@example.com",)},
        {"alice": ("alice@example.com",), "dave": ("dave@example.com",)},
        {"carol": ("carol@example.com",)},
    ]
    for n, (who, its) in enumerate(zip(("bob", "dave", "carol"), owners, strict=True)):
        copy = b"Received: by host %d\r\n" % n + original
        vault.put(journaled(copy, [to(f"{who}@example.com")], key=str(n), owners=its))


def test_forks_are_one_message_with_the_copies_behind_it(vault: Vault) -> None:
    """Several reports of one message are all kept, shown as one, and each can be read."""
    _forks(vault)
    vault.rebuild()
    seen = _one(vault.view(ALICE))

    assert seen.copies == 2
    assert [str(recipient.address) for recipient in seen.recipients] == [
        "bob@example.com",
        "dave@example.com",
    ]
    assert [b"host %d" % n in seen.content(n) for n in range(2)] == [True, True]
    assert [b"Recipient: dave" in seen.report(n) for n in range(2)] == [False, True]
    for other in (2, -1):
        with pytest.raises(SinkError):
            seen.content(other)


def test_a_view_groups_only_what_the_user_owns(vault: Vault) -> None:
    """Of forks that somebody else got, a user learns nothing, not even their number."""
    _forks(vault)
    seen = {user: _one(vault.view(UserId(user))) for user in ("bob", "dave", "carol")}

    assert [each.copies for each in seen.values()] == [1, 1, 1]
    assert b"host 2" in seen["carol"].content()
    assert [str(each.address) for each in seen["bob"].recipients] == ["bob@example.com"]


def test_equal_message_ids_are_not_one_message(vault: Vault) -> None:
    """Two messages with one Message-ID and other bytes are two, for everybody."""
    vault.put_many([entry(mail(1)), entry(mail(1, body=b"other"), key="2")])

    assert vault.view(BOB).count() == 2


def _many(vault: Vault, count: int) -> None:
    """Archive a message again and again: to one more recipient and in one more folder each."""
    original = mail(body=b"to all")
    for start in range(0, count, 100):
        vault.put_many(
            [
                journaled(
                    b"Received: by host %d\r\n" % n + original,
                    [to(f"r{n}@example.com")],
                    key=str(n),
                    owners={"alice": ("alice@example.com",)},
                    path=(f"Folder {n}",),
                )
                for n in range(start, min(start + 100, count))
            ]
        )


@pytest.mark.parametrize("encrypted", [False, True])
def test_every_copy_counts(open_vault: OpenVault, tmp_path: Path, *, encrypted: bool) -> None:
    """What any copy lets the user know is told, however many there are before it."""
    keys = FileKeys.create(tmp_path / "keys") if encrypted else None
    vault = open_vault(keys=keys)
    _many(vault, 450)
    seen = _one(vault.view(ALICE))

    assert seen.copies == 450
    assert [each.address.spec for each in seen.recipients] == [
        f"r{n}@example.com" for n in range(450)
    ]
    assert seen.folders == tuple(f"Folder {n}" for n in range(450))
    assert vault.view(ALICE).get(seen.key) == seen
    for n in (0, 99, 100, 449):
        assert list(vault.view(ALICE).messages(folder=f"Folder {n}")) == [seen]


def test_what_is_kept_back_of_any_copy_is_told(vault: Vault) -> None:
    """Also where a hundred others hide nothing."""
    bob = {"bob": ("bob@example.com",)}
    for n in range(150):
        copy = b"Received: by host %d\r\n" % n + mail(extra=b"Bcc: x@y.example\r\n" * (n == 140))
        vault.put(entry(copy, key=str(n), owners=bob))
        assert _one(vault.view(BOB)).redacted is (n >= 140)


def test_a_message_costs_no_more_than_its_copies(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each copy is looked at once a listing, and those that say the same not even that."""
    _many(vault, 250)
    for n in range(250):
        vault.put(entry(mail(7), key=f"again {n}"))
    loaded: list[object] = []
    load = _loading.load_summary

    def counted(tree: dict[str, Any]) -> Summary:
        loaded.append(tree)
        return load(tree)

    monkeypatch.setattr(_loading, "load_summary", counted)
    list(vault.view(ALICE).messages())

    assert len(loaded) <= 250 + 10


# -- lists --------------------------------------------------------------------------------


def _dated(n: int, **more: Any) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n)
    return {"received_at": at, "key": str(n), **more}


def _subjects(found: Iterable[ViewedMessage]) -> list[str | None]:
    return [each.subject for each in found]


def test_a_list_is_newest_first_in_stable_pages(vault: Vault) -> None:
    """Pages follow one another without gap or repetition, whatever arrives meanwhile."""
    for n in range(10):
        vault.put(entry(mail(n), **_dated(n % 5, key=str(n))))
    view = vault.view(BOB)
    whole = _subjects(view.messages())
    pages: list[str | None] = []
    after = None
    while page := list(view.messages(limit=3, after=after)):
        pages += _subjects(page)
        after = page[-1].key
        vault.put(entry(mail(100 + len(pages)), **_dated(1000 + len(pages))))

    assert pages == whole == [f"Message {n}" for n in (9, 4, 8, 3, 7, 2, 6, 1, 5, 0)]


def test_a_long_list_is_read_in_pages(vault: Vault) -> None:
    """A list without a limit gives everything, also beyond what is looked up at once."""
    vault.put_many(entries(450))
    view = vault.view(BOB)

    assert len({each.key for each in view.messages()}) == view.count() == 450
    assert len(list(view.messages(limit=300))) == 300
    assert list(view.messages(limit=0)) == []


def test_a_list_sorts_by_the_date_but_not_beyond_the_arrival(
    vault: Vault, clock: Callable[[], datetime]
) -> None:
    """A message is listed by its own date, unless that is later than it can have been written."""
    future, past = datetime(9999, 12, 31, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    for n, (date, received) in enumerate(
        [
            (future, past),
            (past, None),
            (None, past + timedelta(days=1)),
            (future, None),
            (None, None),
        ]
    ):
        envelope = Envelope(subject=str(n), date=date)
        vault.put(entry(mail(n), key=str(n), envelope=envelope, received_at=received))

    assert _subjects(vault.view(BOB).messages()) == ["4", "3", "2", "1", "0"]
    assert vault.view(BOB).count(since=past, until=past + timedelta(seconds=1)) == 2
    assert vault.view(BOB).count(until=clock()) == 3


FILTERS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "since, included": ({"since": datetime(2026, 1, 3, tzinfo=UTC)}, [4, 3, 2]),
    "until, not included": ({"until": datetime(2026, 1, 3, tzinfo=UTC)}, [1, 0]),
    "sender": ({"sender": "ALICE@Example.com"}, [4, 2, 0]),
    "sender as an address": ({"sender": Address("zoe@example.com")}, [3, 1]),
    "text in the subject": ({"text": "sTRASSE 3"}, [3]),
    "text in a recipient": ({"text": "CAROL@"}, [4, 3, 2, 1, 0]),
    "text, nothing special in it": ({"text": "%"}, []),
    "several": ({"sender": "alice@example.com", "text": "2", "until": None}, [2]),
    "folder": ({"folder": "Inbox/3"}, [3]),
    "limit": ({"limit": 2}, [4, 3]),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_choose(vault: Vault, name: str) -> None:
    """Each filter gives exactly what it says, alone and together, and the count agrees."""
    for n in range(5):
        sender = Address("alice@example.com" if n % 2 == 0 else "zoe@example.com")
        envelope = Envelope(sender, recipients=(to("carol@example.com"),), subject=f"Straße {n}")
        more = _dated(n, envelope=envelope, owners={"bob": ()}, path=("Inbox", str(n)))
        vault.put(entry(mail(n), **more))
    chosen, wanted = FILTERS[name]
    view = vault.view(BOB)

    assert _subjects(view.messages(**chosen)) == [f"Straße {n}" for n in wanted]
    if "limit" not in chosen:
        assert view.count(**chosen) == len(wanted)


def test_a_time_without_a_zone_is_refused(vault: Vault) -> None:
    """A bound that could mean any hour of the day is an error, not a guess."""
    with pytest.raises(Unsupported):
        vault.view(BOB).count(since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(Unsupported):
        vault.view(BOB).messages(until=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_filter_that_there_is_not_is_refused(vault: Vault) -> None:
    """A slip in the name of a filter gives an error, and not all that the user has."""
    slip: Any = {"before": None}
    with pytest.raises(TypeError, match="before"):
        vault.view(BOB).messages(**slip)
    with pytest.raises(TypeError, match="before"):
        vault.view(BOB).count(**slip)


def test_a_view_reads_what_is_committed_now(vault: Vault) -> None:
    """A view that was opened before shows what came later."""
    view = vault.view(BOB)
    receipts(vault.put_many(entries(1)))

    assert view.count() == 1
    assert Digest.of(_one(view).content()) == Digest.of(mail(0))


@pytest.mark.parametrize("copy", [-1, 1, 2**70])
def test_a_copy_that_is_not_there_is_an_error_of_ours(vault: Vault, copy: int) -> None:
    """Any number may be asked for."""
    vault.put_many(entries(1))
    (message,) = vault.view(BOB).messages()

    with pytest.raises(SinkError, match="no such copy"):
        message.content(copy)
