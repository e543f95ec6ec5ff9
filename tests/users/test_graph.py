"""The users and mailboxes of a tenant, from the loopback Graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from mailarchive import Address, AddressKind
from mailarchive.errors import DirectoryError
from mailarchive.testing.graph_server import (
    GraphServer,
    html_page,
    refused,
    silent_refusal,
    throttled,
)
from mailarchive.users import DirectoryMap
from mailarchive.users.graph import GraphDirectory
from mailarchive.users.mailboxes import MailboxKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailarchive.testing.graph_server import Fault

NO_LICENCE: dict[str, list[object]] = {"assignedPlans": []}


@pytest.fixture
def server() -> Iterator[GraphServer]:
    """A tenant with nobody in it."""
    with GraphServer([]) as running:
        yield running
    assert running.violations == []


def directory(server: GraphServer) -> GraphDirectory:
    """The directory of the tenant."""
    return GraphDirectory(server.tokens, cloud=server.cloud, sleep=lambda _: None)


def kinds(server: GraphServer) -> dict[str, MailboxKind]:
    """What each account is, by the local part of its address."""
    return {
        each.address.spec.partition("@")[0] if each.address else "": each.kind
        for each in directory(server).mailboxes()
    }


def test_every_address_of_a_user_is_known(server: GraphServer) -> None:
    """Aliases and X.500 names too; and no address of something else than mail."""
    proxies = ["smtp:a.n@contoso.example", "SMTP:Ann@contoso.example", "SIP:ann@contoso.example"]
    proxies += ["X500:/o=Contoso/cn=ann", "x400:c=us", "EUM:42"]
    store = server.add_user("upn@contoso.example", mail="ann@contoso.example")
    store.user["proxyAddresses"] = proxies
    (user,) = directory(server).users()

    assert user.id == store.user["id"]
    assert user.addresses[0] == Address("ann@contoso.example")
    assert set(user.addresses) == {
        Address("ann@contoso.example"),
        Address("a.n@contoso.example"),
        Address("/o=Contoso/cn=ann", AddressKind.X500),
    }


def test_a_tenant_of_thousands_is_read_to_the_end(server: GraphServer) -> None:
    """Graph lists fewer than a thousand at a time."""
    for number in range(2_500):
        server.add_user(f"u{number}@contoso.example")
    users = directory(server).users()

    assert len(users) == 2_500
    assert len(server.asked) == 3


def test_what_each_account_is_is_told(server: GraphServer) -> None:
    """The mailbox is asked only where the directory cannot tell."""
    server.add_user("ann@contoso.example")
    server.add_user("guest_partner@contoso.example", userType="Guest")
    off = {"accountEnabled": False, **NO_LICENCE}
    for purpose in ("shared", "room", "equipment"):
        server.add_user(f"{purpose}@contoso.example", **off).settings = {"userPurpose": purpose}
    server.add_user("left@contoso.example", accountEnabled=False)
    server.add_user("new@contoso.example", **NO_LICENCE).broken = (
        404,
        "MailboxNotEnabledForRESTAPI",
    )
    server.add_user("admin@contoso.example", mail=None, proxyAddresses=[], **NO_LICENCE)

    assert kinds(server) == {
        "ann": MailboxKind.USER,
        "guest_partner": MailboxKind.GUEST,
        "shared": MailboxKind.SHARED,
        "room": MailboxKind.ROOM,
        "equipment": MailboxKind.EQUIPMENT,
        "left": MailboxKind.DISABLED,
        "new": MailboxKind.UNLICENSED,
        "": MailboxKind.UNLICENSED,
    }
    assert len(server.asked) == 1 + 5


def test_without_the_right_to_read_settings_a_closed_account_is_just_that(
    server: GraphServer,
) -> None:
    """It is asked once, and then no more."""
    for name in ("info", "left"):
        server.add_user(f"{name}@contoso.example", accountEnabled=False)
    server.faults.append(refused("mailboxSettings", 403, "ErrorAccessDenied", times=9))

    assert set(kinds(server).values()) == {MailboxKind.DISABLED}
    assert len(server.asked) == 2


def test_a_guest_is_no_user(server: GraphServer) -> None:
    """Their mail is somewhere else, and nothing here is theirs by that address."""
    server.add_user("ann@contoso.example")
    server.add_user("guest@partner.example", userType="Guest")

    assert len(directory(server).users()) == 1


def test_a_directory_is_a_user_map(server: GraphServer) -> None:
    """As any other directory."""
    store = server.add_user("ann@contoso.example")
    ann = Address("ANN@contoso.example")
    found = DirectoryMap(directory(server)).resolve([ann])

    assert found == {ann: frozenset({store.user["id"]})}


@pytest.mark.parametrize(
    "fault",
    [
        refused("users", 403, "Authorization_RequestDenied"),
        silent_refusal("users", 403),
        silent_refusal("users", 503, times=99),
        html_page("users", times=99),
        throttled("users", "3600"),
    ],
)
def test_a_directory_that_cannot_be_read_is_one_error(server: GraphServer, fault: Fault) -> None:
    """Half a directory is none."""
    server.add_user("ann@contoso.example")
    server.faults.append(fault)
    with pytest.raises(DirectoryError) as caught:
        directory(server).users()

    assert caught.value.suggestions
    assert "contoso" not in str(caught.value)


def test_a_directory_shows_nothing_of_its_token() -> None:
    """A repr ends up in a log."""
    assert repr(GraphDirectory(lambda scope, refused=None: "hunter2")) == "GraphDirectory(...)"


def test_a_damaged_entry_is_refused(server: GraphServer) -> None:
    """Without an id nobody can be told from anybody."""
    from mailarchive.testing.graph_server import Fault

    server.faults.append(
        Fault("users", lambda _, honest: evolve(honest, body=b'{"value": [{"id": null}]}'))
    )
    with pytest.raises(DirectoryError):
        directory(server).users()
