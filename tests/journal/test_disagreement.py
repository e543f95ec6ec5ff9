"""Where the envelope text and the original's header contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.journal import JournalReport

    Look = Callable[[bytes], JournalReport | None]

ID = "<1@example.com>"
USUAL = (
    "Sender: alice@example.com",
    "Subject: Numbers",
    f"Message-Id: {ID}",
    "To: bob@example.com",
)
ORIGINAL = messages.message(message_id=ID)


def codes(report: JournalReport | None) -> set[str]:
    """Return the codes of a report's defects."""
    assert report is not None
    return {str(code) for code in report.defect_codes}


def with_text(text: bytes | str, kind: str = "text/plain; charset=utf-8", **about: Any) -> bytes:
    """Return a report with this envelope text."""
    about.setdefault("original", ORIGINAL)
    return reports.with_text(text, content_type=kind, **about)


def lines(*texts: str, **about: Any) -> bytes:
    """Return a report with these lines for its envelope text."""
    return with_text("\r\n".join(texts) + "\r\n", **about)


@pytest.mark.parametrize(
    ("said", "written", "agrees"),
    [
        ("<1@example.com>", "<1@example.com>", True),
        ("<1 @example.com>", "<1@example.com>", True),
        ("<1@example.com>", "\r\n <1@exam\r\n ple.com>", True),
        ("1@example.com", "1@example.com", True),
        ("<1@example.com>", "<2@example.com>", False),
        ("<1@example.com>", "<1@EXAMPLE.com>", False),
        ("1@example.com", "<1@example.com>", False),
    ],
)
def test_message_ids_are_compared_without_white_space(
    said: str, written: str, agrees: bool, look: Look
) -> None:
    """And letter by letter otherwise."""
    original = messages.message(message_id=written)
    texts = "\r\n".join([*USUAL[:2], f"Message-Id: {said}", USUAL[3]])

    assert codes(look(with_text(texts, original=original))) == (
        set() if agrees else {"message_id_mismatch"}
    )


@pytest.mark.parametrize(
    ("said", "author", "sender", "agrees"),
    [
        ("alice@example.com", "alice@example.com", None, True),
        ("alice@example.com", "Alice <ALICE@Example.COM>", None, True),
        ("alice@example.com", '"Example, A" <alice@example.com>', None, True),
        ("alice@example.com", "x@example.com, alice@example.com", None, True),
        ("alice@example.com", "x@example.com", "alice@example.com", True),
        ("alice@example.com", "mallory@example.net", None, False),
        ("alice@example.com", '"alice@example.com" <mallory@example.net>', None, False),
        ("alice@example.com", "alice@example.com", "mallory@example.net", False),
        ("josé@example.com", "mallory@example.net", None, True),
        ("IMCEAEX-_o=C_cn=a@example.com", "alice@example.com", None, True),
        ("EX:/o=C/cn=a", "alice@example.com", None, True),
    ],
)
def test_the_sender_is_compared_where_it_can_be(
    said: str,
    author: str,
    sender: str | None,
    agrees: bool,
    look: Look,
) -> None:
    """With `Sender:`, or else `From:`; addresses that a header writes differently are not."""
    original = messages.message(
        sender=sender or author, on_behalf_of=author if sender else None, message_id=ID
    )
    texts = "\r\n".join([f"Sender: {said}", *USUAL[1:]])

    assert codes(look(with_text(texts, original=original))) == (
        set() if agrees else {"sender_mismatch"}
    )


def test_a_delegate_agrees_by_whom_it_sent_for(look: Look) -> None:
    """The principal is in From, and the delegate need not be in any header."""
    texts = ["Sender: assistant@example.com", "On-Behalf-Of: alice@example.com", *USUAL[1:]]

    assert codes(look(lines(*texts))) == set()


def test_a_principal_excuses_nobody_where_the_original_names_its_sender(look: Look) -> None:
    """Who sent for whom is both in the header then."""
    original = messages.message(
        sender="assistant@example.com", on_behalf_of="alice@example.com", message_id=ID
    )
    for said, expected in (("assistant", set()), ("mallory", {"sender_mismatch"})):
        texts = [f"Sender: {said}@example.com", "On-Behalf-Of: alice@example.com", *USUAL[1:]]

        assert codes(look(with_text("\r\n".join(texts), original=original))) == expected


def test_an_original_without_message_id_is_not_compared(look: Look) -> None:
    """Exchange adds one to every message: this is none that it handled as it stands."""
    original = messages.message(sender="x@y.example", message_id=None)

    assert codes(look(with_text("\r\n".join(USUAL), original=original))) == set()
