"""Autodiscover, where somebody asks for it: over TLS, at the address's own domain, no further."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from exchangelib.autodiscover.cache import AUTODISCOVER_PERSISTENT_STORAGE
from exchangelib.protocol import CachingProtocol
from lxml import etree
from support.ews import ALICE, SECRET, Desk, read
from support.ews_schema import fetched

from mailarchive.auth import Password
from mailarchive.errors import (
    AuthenticationFailed,
    ConfigurationError,
    MailArchiveError,
    MailboxNotFound,
    SourceError,
    SourceUnavailable,
)
from mailarchive.sources._ews_discover import candidates
from mailarchive.sources.ews import discover

if TYPE_CHECKING:
    from collections.abc import Sequence


def found(desk: Desk, address: str = ALICE, password: str = SECRET, at: Sequence[str] = ()) -> str:
    """Ask the server on loopback."""
    return discover(
        address,
        auth=Password(ALICE, password),
        method="basic",
        at=at or [desk.server.autodiscover_url],
        allow_plaintext=True,
    )


def test_the_domain_of_an_address_names_its_endpoint(desk: Desk) -> None:
    """The one for programs outside of the network."""
    assert found(desk) == "https://mail.example.com/EWS/Exchange.asmx"


def test_only_the_addresss_own_domain_is_asked() -> None:
    """Over TLS; so a secret goes nowhere else."""
    assert candidates("Alice@Example.COM") == (
        "https://autodiscover.example.com/autodiscover/autodiscover.xml",
        "https://example.com/autodiscover/autodiscover.xml",
    )


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"password": "wrong"}, AuthenticationFailed),
        ({"address": "nobody@example.com"}, MailboxNotFound),
        ({"at": ["http://127.0.0.1:1/autodiscover/autodiscover.xml"]}, SourceUnavailable),
        ({"at": ["ftp://example.com/"]}, ConfigurationError),
    ],
    ids=["password", "address", "away", "place"],
)
def test_what_cannot_be_found_is_our_error(
    desk: Desk, change: dict[str, object], kind: type[MailArchiveError]
) -> None:
    """Said of the last place that was asked."""
    with pytest.raises(kind) as caught:
        found(desk, **change)  # type: ignore[arg-type]  # settings of several types

    assert caught.value.suggestions
    assert ALICE not in str(caught.value)


def test_the_next_place_is_asked_where_one_is_away(desk: Desk) -> None:
    """But not after a refused password."""
    away = "http://127.0.0.1:1/autodiscover/autodiscover.xml"
    here = desk.server.autodiscover_url

    assert found(desk, at=[away, here])
    with pytest.raises(AuthenticationFailed):
        found(desk, password="wrong", at=[here, here])
    assert desk.server.refused_logins == 1


def test_an_endpoint_without_tls_is_not_taken(desk: Desk) -> None:
    """Whoever said it."""
    desk.server.endpoint = "http://mail.example.com/EWS/Exchange.asmx"
    with pytest.raises(SourceError, match="without TLS"):
        found(desk)


def test_request_and_answer_keep_to_the_schema(desk: Desk, pytestconfig: pytest.Config) -> None:
    """Microsoft's, which has all of an answer in the namespace of its outermost element."""
    place = fetched(pytestconfig.rootpath / ".servers")
    seen: list[bytes] = []
    answer = desk.server.discovered

    def watched(request: bytes) -> bytes:
        seen.extend((request, answer(request)))
        return seen[-1]

    desk.server.discovered = watched  # type: ignore[method-assign]  # watches
    found(desk)
    with pytest.raises(MailboxNotFound):
        found(desk, "nobody@example.com")
    asked, told, _, refused = seen
    told = told.replace(b"outlook/responseschema/2006a", b"responseschema/2006")

    parts = {"request": asked, "response": told, "response.error": refused}
    for name, part in parts.items():
        schema = etree.XMLSchema(etree.parse(str(place / f"autodiscover.{name}.xsd")))
        assert schema.validate(etree.fromstring(part)), str(schema.error_log)[:500]


def test_nothing_is_left_behind_for_others(desk: Desk) -> None:
    """Neither in exchangelib's caches nor in its file."""
    folder = Path(AUTODISCOVER_PERSISTENT_STORAGE).parent
    before = {path.name for path in folder.glob("exchangelib*")}
    found(desk)
    desk.deliver(1)
    with desk.source() as source:
        read(source)

    assert not CachingProtocol._protocol_cache
    assert {path.name for path in folder.glob("exchangelib*")} == before
