"""Which mailboxes of an organisation are archived; everything else is said with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive import Address, AddressKind, User, UserId
from mailarchive.errors import ConfigurationError, MailboxNotFound
from mailarchive.users.mailboxes import (
    Mailbox,
    MailboxChoice,
    MailboxKind,
    mailboxes_of,
    plan,
)


def mailbox(name: str, kind: MailboxKind = MailboxKind.USER, *aliases: str) -> Mailbox:
    """A mailbox at Contoso."""
    more = tuple(Address(f"{each}@contoso.example") for each in aliases)
    return Mailbox(f"id-{name}", Address(f"{name}@contoso.example"), kind, more)


ANN, BOB = mailbox("ann", MailboxKind.USER, "a.n"), mailbox("bob")
SHARED, ROOM = mailbox("info", MailboxKind.SHARED), mailbox("room", MailboxKind.ROOM)
GONE, GUEST = mailbox("gone", MailboxKind.DISABLED), mailbox("guest", MailboxKind.GUEST)
NONE = mailbox("none", MailboxKind.UNLICENSED)
EVERY = [ROOM, GONE, GUEST, NONE, SHARED, BOB, ANN]


def test_all_mailboxes_are_taken_and_the_rest_is_said() -> None:
    """Guests, people who left and accounts without a mailbox are no errors."""
    made = plan(EVERY, MailboxChoice())

    assert made.taken == (ANN, BOB, SHARED, ROOM)
    assert {each.mailbox for each in made.excluded} == {GONE, GUEST, NONE}
    assert all(each.why for each in made.excluded)


def test_only_some_are_taken() -> None:
    """By address or alias, in any letters, or by a pattern."""
    assert plan(EVERY, MailboxChoice(("A.N@Contoso.example",))).taken == (ANN,)
    assert plan(EVERY, MailboxChoice(("*@contoso.example",))).taken == (ANN, BOB, SHARED, ROOM)
    assert plan(EVERY, MailboxChoice(("b*",))).taken == (BOB,)


def test_who_is_named_is_taken_whatever_the_account_is() -> None:
    """As the mailbox of somebody who left; but not where there is no mailbox."""
    assert plan(EVERY, MailboxChoice(("gone@contoso.example",))).taken == (GONE,)
    assert plan(EVERY, MailboxChoice(("guest@contoso.example",))).taken == ()


def test_some_are_left_out() -> None:
    """By name, also where something else takes them."""
    made = plan(EVERY, MailboxChoice(without=["bob@*"], kinds=[MailboxKind.USER]))

    assert made.taken == (ANN,)
    reasons = {each.mailbox: each.why for each in made.excluded}
    assert reasons[BOB] == "left out by name"
    assert reasons[ROOM] == "room: not asked for"


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (MailboxChoice(("bob@contoso.example", "anm@contoso.example")), "mailboxes: .* entry 2 "),
        (MailboxChoice(("x@y.example", "*", "x@z.example")), "mailboxes: .* entry 1, 3 "),
        (MailboxChoice(without=("anm@contoso.example",)), "without_mailboxes: .* entry 1 "),
    ],
)
def test_a_name_that_nobody_has_is_an_error(choice: MailboxChoice, told: str) -> None:
    """It would be archived by nobody, or against somebody's will; its place is shown alone."""
    with pytest.raises(MailboxNotFound, match=told) as caught:
        plan(EVERY, choice)

    assert "anm" not in str(caught.value)
    assert "example" not in f"{caught.value} {caught.value.suggestions}"


def test_patterns_that_fit_nobody_are_said() -> None:
    """One of them may be misspelt; what fits somebody who has no mailbox is not."""
    made = plan(EVERY, MailboxChoice(("*@contoso.example", "*@sales.*", "guest*"), ["bop*"]))

    assert made.unmatched == ("*@sales.*", "bop*")
    assert "sales" not in repr(made)


def test_a_pattern_is_read_once_for_all_mailboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of mailboxes and hundreds of names are the rule."""
    read: list[str] = []
    parse = Address.parse

    def counted(text: str) -> Address:
        read.append(text)
        return parse(text)

    monkeypatch.setattr(Address, "parse", counted)
    many = [mailbox(f"m{number}") for number in range(20)]
    plan(many, MailboxChoice(("m1@contoso.example", "m*"), ["*9@contoso.example"]))

    assert sorted(read) == ["*9@contoso.example", "m*", "m1@contoso.example"]


@pytest.mark.parametrize("given", [{"only": ()}, {"kinds": ()}])
def test_a_choice_of_nothing_is_refused(given: dict[str, tuple[()]]) -> None:
    """It is nearly always a mistake."""
    with pytest.raises(ConfigurationError):
        MailboxChoice(**given)


@given(
    st.lists(st.sampled_from(EVERY), unique=True),
    st.sampled_from([None, ("*",), ("a*", "room@*")]),
    st.sampled_from([(), ("b*",), ("*",)]),
    st.sets(st.sampled_from(list(MailboxKind)), min_size=1),
)
def test_each_mailbox_is_either_taken_or_said(
    mailboxes: list[Mailbox],
    only: tuple[str, ...] | None,
    without: tuple[str, ...],
    kinds: set[MailboxKind],
) -> None:
    """None is forgotten, none is in both, and the order of the directory does not matter."""
    choice = MailboxChoice(only, without, kinds)
    made = plan(mailboxes, choice)
    excluded = [each.mailbox for each in made.excluded]

    assert sorted([*made.taken, *excluded], key=id) == sorted(mailboxes, key=id)
    assert made == plan(reversed(mailboxes), choice)


def test_a_choice_shows_no_address() -> None:
    """Its repr may end up in a log."""
    choice = MailboxChoice(("ann@contoso.example",), ["bob@contoso.example"])

    assert "contoso" not in repr(choice)
    assert "contoso" not in repr(plan(EVERY, MailboxChoice()))


def test_a_list_of_users_is_a_list_of_mailboxes() -> None:
    """Named by the first address; a shared one is one mailbox, and who has none is said."""

    class Users:
        """A list of users."""

        def users(self) -> list[User]:
            """Two people, one mailbox; and somebody without."""
            shared = (Address("info@contoso.example"), Address("desk@contoso.example"))
            x500 = (Address("/o=x", AddressKind.X500),)
            return [
                User(UserId("u1"), "", shared),
                User(UserId("u2"), "", shared[:1]),
                User(UserId("u3"), "", x500),
            ]

    made = plan(mailboxes_of(Users()), MailboxChoice())

    assert [each.key for each in made.taken] == ["info@contoso.example"]
    ((key, why),) = [(each.mailbox.key, each.why) for each in made.excluded]
    assert key == "u3"
    assert why == "the list of users gives no address, so no mailbox"
