"""One address, many spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Address, AddressKind
from mailarchive.errors import ConfigurationError
from mailarchive.users import canonical, legacy_dn
from mailarchive.users._addresses import checked_separator, parent


def encapsulated(name: str, domain: str = "example.com") -> str:
    """Write an X.500 name as Exchange does (MS-OXCMAIL 2.1.3.1.8)."""
    plain = {
        ord(sign) for sign in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-="
    }
    signs = (chr(o) if o in plain else "_" if o == 0x2F else f"+{o:02X}" for o in name.encode())
    return f"IMCEAEX-{''.join(signs)}@{domain}"


@given(st.text("/oucn=ABC xyz_+()é€'.@", min_size=1, max_size=40))
def test_an_encapsulated_name_comes_out_as_it_went_in(name: str) -> None:
    """Whatever an X.500 name holds is read back from the address that carries it."""
    assert name == legacy_dn(encapsulated(name))


@pytest.mark.parametrize(
    "spec",
    [
        "bob@example.com",
        "IMCEAEX-@example.com",
        "IMCEAEX-_o=A",
        "IMCEAFAX-_o=A@example.com",
        "IMCEAEX-_o=A B@example.com",
        "x IMCEAEX-_o=A@example.com",
        "",
    ],
)
def test_an_ordinary_address_holds_no_name(spec: str) -> None:
    """Only an encapsulated X.500 name is taken apart."""
    assert legacy_dn(spec) is None


def test_an_octet_that_is_no_utf_8_is_latin_1() -> None:
    """A name from before UTF-8 is read all the same."""
    assert legacy_dn("imceaex-_o=J+FCrgen@example.com") == "/o=Jürgen"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob@Example.COM", "bob@example.com"),
        ("SMTP:Bob@example.com", "bob@example.com"),
        ("smtp: bob@example.com", "bob@example.com"),
        ("/o=A/cn=Bob", "x500:/O=a/CN=bob"),
        ("EX:/o=A/cn=Bob", "/o=a/cn=bob"),
        ("IMCEAEX-_o=A_ou=B+20C_cn=Bob@example.com", "/o=a/ou=b c/cn=bob"),
        ("smtp:imceaex-_O=A@example.com", "X500:/o=a"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
    ],
)
def test_two_spellings_have_one_form(one: str, other: str) -> None:
    """A prefix, the case and the encapsulation make no other address."""
    assert canonical(Address.parse(one)) == canonical(Address.parse(other))


@given(st.text(max_size=40), st.sampled_from(list(AddressKind)))
def test_the_common_form_of_a_common_form_is_itself(text: str, kind: AddressKind) -> None:
    """Taking the form of any text at all raises nothing and is final but for nesting."""
    once = canonical(Address(text, kind))

    assert isinstance(once, Address)
    if canonical(once) != once:
        assert len(canonical(once).spec) < len(once.spec)


@pytest.mark.parametrize(
    ("spec", "separator", "expected"),
    [
        ("bob+news@example.com", "+", "bob@example.com"),
        ("bob+a+b@example.com", "+", "bob@example.com"),
        ("bob-news@example.com", "-", "bob@example.com"),
        ("bob@example.com", "+", None),
        ("+news@example.com", "+", None),
        ("bob+news", "+", None),
        ('"bob+news"@example.com', "+", None),
        ("bob+news@example.com", "", None),
        ("bob@ex+ample.com", "+", None),
    ],
)
def test_a_subaddress_belongs_to_what_stands_before_it(
    spec: str, separator: str, expected: str | None
) -> None:
    """The part from the separator on goes, where there is one and something before it."""
    wanted = None if expected is None else Address(expected)

    assert wanted == parent(Address(spec, AddressKind.SMTP), separator)


@pytest.mark.parametrize("separator", ["++", "a", "1", "@", ".", " ", '"', "ä"])
def test_an_unfit_separator_is_refused(separator: str) -> None:
    """Letters, digits, dots, quotes and the @ separate nothing."""
    with pytest.raises(ConfigurationError):
        checked_separator(separator)
