"""Addresses are equal where a mail system would deliver to one mailbox, and hash equal then."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailarchive import Address, AddressKind, UserId
from mailarchive.attribution import CreateUsers

SAME = [
    ("a@münchen.example", "a@MÜNCHEN.Example"),
    ("a@münchen.example", "a@xn--mnchen-3ya.example"),
    ("a@münchen.example", "a@XN--MNCHEN-3YA.EXAMPLE"),
    (
        "a@mu\N{COMBINING DIAERESIS}nchen.example",
        "a@m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.example",
    ),
    ("a@münchen.example.", "a@münchen.example"),
    ("a@straße.example", "a@xn--strae-oqa.example"),
    ("a@corp.example", "a@\uff43\uff4f\uff52\uff50\u3002example\uff0e"),
    ("a@corp.example", "a@co\N{SOFT HYPHEN}rp.example"),
    ("a@\N{LATIN SMALL LIGATURE FI}x.example", "a@fix.example"),
    ("a@βόλος.example", "a@xn--nxasmm1c.example"),
    ("a@💩.example", "a@xn--ls8h.example"),
    ("ä@münchen.example", "Ä@xn--mnchen-3ya.example"),
]
OTHER = [
    ("a@straße.example", "a@strasse.example"),
    ("a@βόλος.example", "a@βόλοσ.example"),
    ("a@a\N{ZERO WIDTH JOINER}b.example", "a@ab.example"),
    ("a@क्\N{ZERO WIDTH JOINER}ष.example", "a@क्ष.example"),
    ("a@münchen.example", "a@munchen.example"),
    ("a@xn--a.example", "a@a.example"),
    ("a@p\N{CYRILLIC SMALL LETTER A}ypal.example", "a@paypal.example"),
    ("a@" + "ü" * 64 + ".example", "a@" + "ü" * 65 + ".example"),
    ("a@\u2ff0.example", "a@\u2ff1.example"),
    ("ß@x.example", "ss@x.example"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_of_one_mailbox_are_equal(one: str, other: str) -> None:
    """UTS 46 and IDNA 2008: case, width, composition, A-label and U-label say the same."""
    assert Address(one) == Address(other)
    assert hash(Address(one)) == hash(Address(other))
    assert Address(one).domain.isascii()


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_two_mailboxes_are_not_equal(one: str, other: str) -> None:
    """What IDNA 2003 took for one domain, `ß` and `ss`, has had two owners since 2010."""
    assert Address(one) != Address(other)


@given(st.text(max_size=40), st.sampled_from(AddressKind))
@example("a@ .", AddressKind.SMTP)
@example("a@\xa0.\N{IDEOGRAPHIC FULL STOP}\N{IDEOGRAPHIC SPACE}", AddressKind.SMTP)
def test_the_normal_form_is_its_own(text: str, kind: AddressKind) -> None:
    """Whatever is written, an address is equal to its normal form, and keeps its spelling."""
    once = Address(text, kind)

    assert Address(once.normal, kind) == once
    assert once.spec == text


@given(st.text(alphabet=st.characters(blacklist_characters="@\0", codec="utf-8"), max_size=30))
def test_any_domain_has_a_form_that_does_not_mind_its_spelling(domain: str) -> None:
    """Case and composition of a domain never make another address, and nothing is raised."""
    address = Address(f"a@{domain}")

    for spelling in (unicodedata.normalize("NFC", domain), unicodedata.normalize("NFD", domain)):
        assert Address(f"a@{spelling}") == address


@pytest.mark.parametrize("text", ["a@\ud800.example", "a@" + "ü" * 100_000, "a@" + "ü." * 100_000])
def test_what_is_no_domain_is_compared_as_it_is(text: str) -> None:
    """Neither half a character nor a name without end is an error, or takes long."""
    assert Address(text) == Address(text.upper())


def test_users_are_made_for_a_domain_in_any_spelling() -> None:
    """A configuration may name the domain as people write it."""
    unknown = CreateUsers(lambda _: UserId("x"), frozenset({"MÜNCHEN.example"}))

    assert Address("a@xn--mnchen-3ya.example").domain in unknown.domains


def test_the_tables_of_unicode_are_loaded_only_when_needed() -> None:
    """An address in ASCII costs nothing of it."""
    code = (
        "import sys, mailarchive; a = mailarchive.Address('A@XN--MNCHEN-3YA.example');"
        "assert 'idna' not in sys.modules; mailarchive.Address('a@ü.example').normal;"
        "assert 'idna' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
