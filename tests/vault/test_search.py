"""The full text: what is found, by whom, and that nothing hangs on its file."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vaults import entry, journaled, mail, to

from mailarchive import Role, UserId
from mailarchive._readable import readable, text_of
from mailarchive.vault import Vault
from mailarchive.vault._fulltext import match, searched

if TYPE_CHECKING:
    from pathlib import Path

    from support.vaults import OpenVault

ALICE, BOB, EVE = map(UserId, ("alice", "bob", "eve"))

HTML = "<html><style>p{color:red}</style><p>Gr&uuml;&szlig;e <b>aus</b> K&ouml;ln</p></html>"
RICH = (
    b'Content-Type: multipart/mixed; boundary="=_1"\r\n\r\n'
    b"--=_1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    b"\r\n" + b64encode(HTML.encode()) + b"\r\n"
    b"--=_1\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: =?iso-8859-1?q?=FCberall?=\r\n\r\nforwarded words\r\n"
    b'--=_1\r\nContent-Type: application/pdf; name="budget.pdf"\r\n\r\n%PDF secretword\r\n'
    b"--=_1--\r\n"
)


def found(vault: Vault, words: str, user: UserId = BOB) -> set[str | None]:
    """Return the subjects that a user finds, which must be as many as are counted."""
    view = vault.view(user)
    subjects = [each.subject for each in view.messages(words=words)]
    assert len(subjects) == view.count(words=words)
    return set(subjects)


@pytest.mark.parametrize(
    ("words", "hit"),
    [
        ("grüsse", True),
        ("GRÜSSE köln", True),
        ('"aus koln"', True),
        ('"koln aus"', False),
        ("uberall", True),
        ("forwarded", True),
        ("budget", True),
        ("bud*", True),
        ("bud", False),
        ("color", False),
        ("secretword", False),
        ("alice@example.com", True),
        ("carol@example.com", True),
        ("budget nowhere", False),
        ("", True),
        ("?!", False),
        ('" OR words:x NEAR(', False),
        ("*", False),
        ("a" * 10_000, False),
        ("\0", False),
        ("\ud800", False),
    ],
)
def test_what_a_person_would_read_is_found(vault: Vault, words: str, *, hit: bool) -> None:
    """Bodies of every kind, subjects within and names of attachments; no markup and no data."""
    raw = mail(1).partition(b"\r\n\r\n")[0] + b"\r\n" + RICH
    vault.put(entry(raw))

    assert found(vault, words) == ({"Message 1"} if hit else set())


def test_scripts_without_blanks_are_found_by_any_part(vault: Vault) -> None:
    """A word of Chinese or Japanese is found within a sentence."""
    vault.put(entry(mail(1, body="明日の会議は東京で行います".encode())))

    assert found(vault, "会議") == {"Message 1"}
    assert found(vault, "東京で") == {"Message 1"}
    assert found(vault, "京東") == set()


@pytest.mark.parametrize(
    ("sentence", "word", "other"),
    [
        ("กฎหมายไทยและสัญญา", "ไทย", "ไยท"),
        ("ສັນຍາເຊົ່າເຮືອນ", "ເຮືອນ", "ອນເຮື"),
        ("စာချုပ်ငှားရမ်း", "ငှား", "ရားငှ"),
        ("កិច្ចសន្យាជួលផ្ទះ", "ជួល", "លជួ"),
    ],
)
def test_thai_and_its_neighbours_put_no_blanks_either(
    vault: Vault, sentence: str, word: str, other: str
) -> None:
    """A word of Thai, Lao, Burmese or Khmer is found within a sentence."""
    raw = mail(1, extra=b"Content-Type: text/plain; charset=utf-8\r\n", body=sentence.encode())
    vault.put(entry(raw))

    assert found(vault, word) == {"Message 1"}
    assert found(vault, other) == set()


def test_nobody_finds_what_is_not_theirs(vault: Vault) -> None:
    """Words of others' mail find nothing, and no count tells of it."""
    vault.put(entry(mail(1, body=b"zebra"), owners={"eve": ("eve@example.com",)}, key="1"))
    vault.put(entry(mail(2, body=b"zebra"), key="2"))

    assert found(vault, "zebra", BOB) == {"Message 2"}
    assert found(vault, "zebra", EVE) == {"Message 1"}
    assert found(vault, "zebra", UserId("nobody")) == set()


def test_blind_recipients_are_found_by_nobody(vault: Vault) -> None:
    """Neither a `Bcc` field of the original nor a line of the report is in the full text."""
    original = mail(1, extra=b"Bcc: hidden@example.com\r\n")
    vault.put(journaled(original, [to("bob@example.com"), to("secretly@example.com", Role.BCC)]))

    for words in ("hidden", "secretly", "hidden@example.com"):
        assert found(vault, words, BOB) == set()
    assert found(vault, "hello", BOB) == {"The plan"}


def test_what_comes_later_is_found_too(open_vault: OpenVault) -> None:
    """A search sees everything that was put before it, also by another process."""
    vault = open_vault()
    vault.put(entry(mail(1, body=b"apple"), key="1"))
    assert found(vault, "apple") == {"Message 1"}

    open_vault().put(entry(mail(2, body=b"apple"), key="2"))

    assert found(vault, "apple") == {"Message 1", "Message 2"}


def test_other_filters_hold_beside_words(vault: Vault) -> None:
    """Words and the rest must all be true."""
    own = {"bob": ("bob@example.com",)}
    vault.put(entry(mail(1, body=b"apple"), key="1", path=("Here",), owners=own))
    vault.put(entry(mail(2, body=b"apple"), key="2", path=("There",), owners=own))

    view = vault.view(BOB)
    assert [each.subject for each in view.messages(words="apple", folder="There")] == ["Message 2"]
    assert view.count(words="apple", text="message 1") == 1
    assert view.count(words="pear", folder="There") == 0


def test_updating_says_how_many_are_new(vault: Vault) -> None:
    """`update_search` takes in each message once and tells of its progress."""
    vault.put_many([entry(mail(n), key=str(n)) for n in range(450)])
    told: list[int] = []

    assert vault.update_search(on_progress=told.append) == 450
    assert told == [200, 400, 450]
    assert vault.update_search() == 0


def test_a_file_that_another_process_threw_away_is_not_asked(open_vault: OpenVault) -> None:
    """Erasing makes the full text anew; whoever has the old one open goes over to it."""
    first, second = open_vault(), open_vault()
    first.put(one := entry(mail(1, body=b"apple"), key="1"))
    assert found(first, "apple") == found(second, "apple") == {"Message 1"}

    second.keeper("officer", "case").erase(one.id)
    second.put(entry(mail(2, body=b"apple"), key="2"))

    assert found(first, "apple") == found(second, "apple") == {"Message 2"}


def _fts(folder: Path) -> Path:
    return folder / "volumes" / "0001" / "fts.db"


@pytest.mark.parametrize("damage", ["gone", "garbage", "another", "emptied", "forged"])
def test_nothing_hangs_on_the_file(open_vault: OpenVault, folder: Path, damage: str) -> None:
    """Deleted, damaged or exchanged, the full text is made again from the packs."""
    first = Vault(folder, keys=None)
    with first:
        first.put(entry(mail(1, body=b"apple")))
        assert found(first, "apple") == {"Message 1"}
    file = _fts(folder)
    if damage == "gone":
        file.unlink()
    elif damage == "garbage":
        file.write_bytes(b"no database" * 1000)
    else:
        db = sqlite3.connect(file)
        db.execute(
            {
                "another": "UPDATE about SET vault = 'x'",
                "emptied": "DELETE FROM about",
                "forged": "UPDATE about SET entry = x'00'",
            }[damage]
        )
        db.commit()
        db.close()

    for read_only in (True, False):
        assert found(open_vault(read_only=read_only), "apple") == {"Message 1"}


def test_reading_alone_writes_nothing(open_vault: OpenVault, folder: Path) -> None:
    """A vault opened for reading finds what its file lacks, and leaves the file as it is."""
    vault = open_vault()
    vault.put(entry(mail(1, body=b"apple"), key="1"))
    vault.update_search()
    vault.put(entry(mail(2, body=b"apple"), key="2"))
    before = _fts(folder).read_bytes()

    reader = open_vault(read_only=True)

    assert found(reader, "apple") == {"Message 1", "Message 2"}
    assert found(reader, "apple") == {"Message 1", "Message 2"}
    assert _fts(folder).read_bytes() == before


def test_what_two_processes_took_in_is_counted_once(open_vault: OpenVault) -> None:
    """A reader keeps what the file lacks, and another process then writes it there as well."""
    vault = open_vault()
    vault.put(entry(mail(1), key="1"))
    vault.update_search()
    view = open_vault(read_only=True).view(BOB)
    assert view.unsearched() == 0

    vault.put(entry(mail(2, extra=b"Content-Type: multipart/mixed\r\n"), key="2"))
    assert vault.view(BOB).unsearched() == 1

    assert view.unsearched() == 1


@given(st.text(max_size=60))
def test_any_text_is_a_question(words: str) -> None:
    """Whatever is typed makes a query that SQLite takes, or none."""
    query = match(words)
    if query is None:
        return
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        db.execute("INSERT INTO words VALUES (?)", (searched(words),))
        db.execute("SELECT rowid FROM words WHERE text MATCH ?", (query,)).fetchall()


@given(st.binary(max_size=400))
def test_any_bytes_have_a_text(data: bytes) -> None:
    """Reading never raises, and gives text that can be stored."""
    searched(text_of(data)).encode()
    searched(text_of(RICH[:200] + data)).encode()


def test_a_bomb_ends() -> None:
    """Levels and sizes have a bound."""
    part = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    assert text_of(part * 5_000) == ""
    long = b"Content-Type: text/plain\r\n\r\n" + b"word " * 700_000
    assert len(text_of(long)) == 1 << 20
    assert text_of(b"Content-Type: text/plain\r\n\r\n" + b"x" * (5 << 20)) == ""


def test_what_is_damaged_is_counted(open_vault: OpenVault, folder: Path) -> None:
    """A search says how many of the user's messages it cannot look into, and of nobody else's."""
    vault = open_vault()
    vault.put_many([entry(mail(n, body=b"apple%d" % n), key=str(n)) for n in range(3)])
    vault.put(entry(mail(9), owners={"eve": ("eve@example.com",)}, key="9"))
    (pack,) = folder.rglob("*.tar")
    data = bytearray(pack.read_bytes())
    data[data.index(b"b/") + 512 + 20] ^= 1
    pack.write_bytes(data)

    assert found(vault, "apple1") == {"Message 1"}
    assert vault.view(BOB).unsearched() == 1
    assert vault.view(BOB).unsearched(damaged_only=True) == 1
    assert vault.view(EVE).unsearched() == 0
    assert found(vault, "\ue000") == set()
    assert open_vault(read_only=True).view(BOB).unsearched() == 1


def _multipart(parts: list[bytes], name: bytes = b"=_1") -> bytes:
    body = b"".join(b"--%b\r\n%b\r\n" % (name, part) for part in parts)
    head = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n' % name
    return head + body + b"--%b--\r\n" % name


def _nested(depth: int) -> bytes:
    message = b"Content-Type: text/plain\r\n\r\ndeep words\r\n"
    for n in range(depth):
        message = _multipart([message], b"=_%d_" % n)
    return message


def _text(size: int, more: bytes = b"") -> bytes:
    return b"Content-Type: text/plain\r\n%b\r\n" % more + (b"word " * (size // 5 + 1))[:size]


ENCODED = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3Vi\r\n"
WHOLE = {
    "parts": _multipart([_text(5)] * 1_000),
    "depth": _nested(10),
    "text": _text(1 << 20),
    "header": _text(5, b"X-Long: " + b"x" * (1 << 19) + b"\r\n"),
    "data": _multipart([_text(5), b"Content-Type: image/png\r\n\r\n" + b"x" * (5 << 20)]),
}
LEFT_OUT = {
    "parts": _multipart([_text(5)] * 1_001),
    "depth": _nested(11),
    "characters": _text((1 << 20) + 1),
    "characters in two": _multipart([_text(1 << 20), _text(5)]),
    "text": _text((4 << 20) + 1),
    "header": _text(5, b"X-Long: " + b"x" * (1 << 20) + b"\r\n"),
    "header of a part": _multipart([_text(5, b"X-Long: " + b"x" * (1 << 20) + b"\r\n")]),
    "header of a message within": b"Content-Type: message/rfc822\r\n\r\n"
    + _text(5, b"X-Long: " + b"x" * (1 << 20) + b"\r\n"),
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n" + _text(5),
    "encoded": _multipart([_text(5), ENCODED]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_within_the_bounds_is_whole(name: str) -> None:
    """Nobody is warned of a message whose every word is found."""
    assert readable(WHOLE[name]).whole


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_not_searched_in_full_is_counted(vault: Vault, name: str) -> None:
    """Who searches learns that something was passed over: in their own mail, once a copy."""
    header = mail(1).partition(b"\r\n\r\n")[0] + b"\r\n"
    vault.put(entry(header + LEFT_OUT[name]))
    vault.put(entry(header + LEFT_OUT[name], key="again"))
    vault.put(entry(mail(2), owners={"eve": ("eve@example.com",)}, key="2"))

    assert not readable(LEFT_OUT[name]).whole
    assert vault.view(BOB).unsearched() == 1
    assert vault.view(BOB).unsearched(damaged_only=True) == 0
    assert vault.view(EVE).unsearched() == 0
    assert found(vault, "carol@example.com") == {"Message 1"}
    assert found(vault, "\ue001") == set()


def test_what_only_some_may_read_is_not_searched(vault: Vault) -> None:
    """What may name a blind recipient is in nobody's full text, and counted for its owners."""
    hidden = [to("bob@example.com", Role.TO), to("carol@example.com")]
    vault.put(journaled(b"\xd0\xcf\x11\xe0 a .msg file", hidden))

    assert vault.view(BOB).unsearched() == 1
    assert vault.view(EVE).unsearched() == 0


def test_a_private_field_is_no_news(vault: Vault) -> None:
    """How much was cut out of a message is not told by what is counted."""
    recipients = b", ".join(b"x%d@example.com" % n for n in range(60_000))
    vault.put(entry(mail(1, extra=b"Bcc: " + recipients + b"\r\n")))

    assert len(recipients) > 1 << 20
    assert vault.view(BOB).unsearched() == 0
