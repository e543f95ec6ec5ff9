"""A view never shows another's blind copy: by no reading, list, search, size or file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.vaults import entry, journaled, mail, to

from mailarchive import Address, Recipient, Redirection, Role, UserId
from mailarchive._cli import main
from mailarchive.decoding import JournalMailbox
from mailarchive.errors import Withheld
from mailarchive.journal import DefectCode
from mailarchive.testing import messages, reports
from mailarchive.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.vault import ViewedMessage

ALICE, BOB, DAVE = map(UserId, ("alice", "bob", "dave"))
OWN = {
    "alice": ("alice@example.com",),
    "bob": ("bob@example.com",),
    "dave": ("dave@example.com",),
}
BLIND = [to("bob@example.com", Role.TO), to("dave@example.com", Role.BCC)]
OPAQUE = {
    "msg": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"dave@example.com canary" * 9,
    "tnef": b"\x78\x9f\x3e\x22" + b"dave@example.com canary" * 9,
    "utf-16": "To: bob@example.com\r\nX: dave@example.com canary\r\n\r\n".encode("utf-16"),
    "tnef for a body": (
        b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: canary\r\n"
        b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n"
        b"\x78\x9f\x3e\x22 dave@example.com"
    ),
}


def _one(vault: Vault, user: UserId) -> ViewedMessage:
    (found,) = vault.view(user).messages()
    return found


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("kind", OPAQUE)
def test_an_opaque_original_is_withheld_from_who_could_find_another_in_it(
    vault: Vault, kind: str, encoded: bool
) -> None:
    """The sender, an auditor and the only blind recipient read it whole; nobody else does."""
    original = OPAQUE[kind]
    vault.put(journaled(original, BLIND, encoded=encoded, owners=OWN))
    vault.rebuild()
    sender, other, blind = (_one(vault, user) for user in (ALICE, BOB, DAVE))

    assert (sender.content(), sender.redacted, sender.withheld) == (original, False, False)
    assert (blind.content(), blind.redacted, blind.withheld) == (original, False, False)
    assert (other.redacted, other.withheld, other.size) == (True, True, 0)
    with pytest.raises(Withheld) as caught:
        other.content()
    assert caught.value.suggestions
    (audited,) = vault.auditor("me", "why").entries()
    assert audited.content() == original


@pytest.mark.parametrize("extra", ["Bcc: dave@example.com", "B\0cc: dave@example.com"])
def test_what_cannot_be_cut_and_looks_as_if_it_should_be_is_withheld(
    vault: Vault, extra: str
) -> None:
    """Half of a file helps nobody, and the envelope may not know whom it names."""
    original = f"{extra}\r\n\r\n".encode("utf-16")
    vault.put(journaled(original, [to("bob@example.com", Role.TO)], owners=OWN))

    assert _one(vault, ALICE).content() == original
    assert _one(vault, BOB).withheld


def test_two_who_are_hidden_are_hidden_from_one_another(vault: Vault) -> None:
    """An original that names both is for neither of them."""
    lines = [*BLIND, to("eve@example.com", Role.BCC)]
    vault.put(journaled(OPAQUE["msg"], lines, owners={**OWN, "eve": ("eve@example.com",)}))

    assert [_one(vault, UserId(user)).withheld for user in ("alice", "bob", "dave", "eve")] == [
        False,
        True,
        True,
        True,
    ]


LIST = Address("list@example.com")
OPEN: dict[str, list[Recipient]] = {
    "nobody else": [to("bob@example.com", Role.TO)],
    "in To and Cc, as the journal says": [
        to("bob@example.com", Role.TO),
        to("dave@example.com", Role.CC),
    ],
}
HIDDEN: dict[str, list[Recipient]] = {
    "blind": BLIND,
    "a role that nobody verified": [to("bob@example.com"), to("dave@example.com")],
    "through a list that is not shown": [
        to("bob@example.com", Role.TO),
        Recipient(Address("dave@example.com"), Role.RECIPIENT, (Redirection("expanded", LIST),)),
    ],
}


@pytest.mark.parametrize("name", [*OPEN, *HIDDEN])
def test_it_is_withheld_only_where_somebody_may_be_hidden(vault: Vault, name: str) -> None:
    """Who stands in To or Cc is hidden from nobody."""
    vault.put(journaled(OPAQUE["msg"], {**OPEN, **HIDDEN}[name], owners=OWN))

    assert _one(vault, BOB).withheld is (name in HIDDEN)


def test_members_of_a_list_that_is_shown_are_not_hidden(vault: Vault) -> None:
    """What the message names is the list, which everybody sees."""
    original = OPAQUE["tnef for a body"].replace(b"To: bob@", b"To: list@")
    lines = [
        Recipient(Address(f"{who}@example.com"), Role.RECIPIENT, (Redirection("expanded", LIST),))
        for who in ("bob", "dave")
    ]
    vault.put(journaled(original, [to("list@example.com", Role.TO), *lines], owners=OWN))

    assert _one(vault, BOB).content() == original


def test_no_search_says_what_a_withheld_message_holds(vault: Vault) -> None:
    """Neither its words nor the hidden address find it, for anybody who may not read it."""
    vault.put(journaled(OPAQUE["tnef for a body"], BLIND, owners=OWN))

    for user in (BOB, UserId("carol")):
        view = vault.view(user)
        assert view.count(words="dave") == view.count(text="dave") == 0
    assert vault.view(BOB).count(text="the plan") == 1


def test_no_word_of_a_withheld_message_finds_it(vault: Vault) -> None:
    """The text beside TNEF is as hidden as the TNEF: what cannot be read is not found."""
    original = (
        b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: open\r\n"
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ncanary\r\n--x\r\n"
        b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n\x78\x9f\x3e\x22\r\n--x--\r\n"
    )
    view = vault.view(BOB)
    vault.put(journaled(original, BLIND, owners=OWN))
    assert (view.count(words="plan"), view.count(words="canary")) == (1, 0)

    vault.put(journaled(original + b"\r\n", [to("bob@example.com", Role.TO)], key="2", owners=OWN))
    assert (view.count(words="plan"), view.count(words="canary")) == (2, 1)


SMUGGLED = {
    "bare CR": b"From: alice@example.com\rTo: bob@example.com\rBcc: dave@example.com\r\rcanary",
    "an empty line first": (
        b"\r\nFrom: alice@example.com\r\nTo: bob@example.com\r\n"
        b"Bcc: dave@example.com\r\n\r\ncanary"
    ),
    "bare CR in To": b"To: bob@example.com\rBcc: dave@example.com\r\nX: y\r\n\r\ncanary",
    "bare CR in Bcc": b"To: bob@example.com\r\nBcc: x,\rdave@example.com\r\nX: y\r\n\r\ncanary",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_is_smuggled_into_the_header_gets_out_by_no_exit(vault: Vault, name: str) -> None:
    """Content, recipients, size, and both kinds of search are of the message that was cut."""
    vault.put(journaled(SMUGGLED[name], BLIND, owners=OWN))
    view, seen = vault.view(BOB), _one(vault, BOB)

    assert b"dave" not in seen.content()
    assert b"canary" in seen.content()
    assert (seen.redacted, seen.size) == (True, len(seen.content()))
    assert "dave@example.com" not in [str(each.address) for each in seen.recipients]
    assert view.count(text="dave") == view.count(words="dave") == 0
    assert view.count(words="canary") == (0 if name == "bare CR" else 1)  # it has no body then
    assert _one(vault, ALICE).content() == SMUGGLED[name]


def test_a_fork_that_holds_something_back_makes_its_message_redacted(vault: Vault) -> None:
    """Whichever copy it is: what is listed is said of all of them."""
    extra = b"Bcc: dave@example.com\r\n"
    for n, original in enumerate((mail(), mail(extra=extra))):
        vault.put(journaled(original, BLIND, key=str(n), owners=OWN))
    seen = _one(vault, BOB)

    assert (seen.copies, seen.redacted, seen.withheld) == (2, True, False)
    assert [seen.content(n) for n in range(2)] == [mail(), mail()]


@pytest.mark.parametrize(
    "defect",
    [
        None,
        DefectCode.RFC822_CTE,
        DefectCode.ORIGINAL_AS_OCTET_STREAM,
        DefectCode.ORIGINAL_IS_MSG,
        DefectCode.ORIGINAL_IS_TNEF,
        DefectCode.ORIGINAL_MALFORMED,
        DefectCode.SECOND_ORIGINAL_UNEXPLAINED,
        DefectCode.TRUNCATED,
    ],
)
def test_no_report_gives_a_blind_copy_away(vault: Vault, defect: DefectCode | None) -> None:
    """However the original is attached to the report, encoded or as a file of a name."""
    original = messages.message(bcc=["dave@example.com"])
    people = [reports.recipient("bob@example.com"), reports.recipient("dave@example.com", "bcc")]
    raw = reports.report(original, recipients=people, defects=[] if defect is None else [defect])
    decoded = JournalMailbox()(raw)
    vault.put(entry(raw, owners=OWN, envelope=decoded.envelope, originals=decoded.originals))
    seen = _one(vault, BOB)

    content = b"" if seen.withheld else seen.content()
    assert b"dave" not in content
    assert seen.redacted
    assert len(content) == seen.size
    assert vault.view(BOB).count(words="dave") == vault.view(BOB).count(text="dave") == 0
    assert b"dave" in _one(vault, ALICE).content()


@pytest.mark.parametrize("command", ["show", "export"])
def test_no_command_gives_a_withheld_message_away(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], command: str
) -> None:
    """Neither on the terminal nor in a file; and both say so."""
    path = tmp_path / "v"
    with Vault(path, keys=None) as vault:
        vault.put(journaled(OPAQUE["msg"], BLIND, owners=OWN))
        key = _one(vault, BOB).key
    words = {
        "show": ["show", str(path), "--user", "bob", "--message", key],
        "export": ["export", str(path), "--user", "bob", "--to", str(tmp_path / "out")],
    }[command]

    status = main(words)

    out, err = capfdbinary.readouterr()
    files = [each.read_bytes() for each in (tmp_path / "out").glob("*")]
    assert b"dave" not in b"".join([out, err, *files])
    assert b"withheld" in out or b"blind-copied" in err
    assert status == {"show": 1, "export": 0}[command]
