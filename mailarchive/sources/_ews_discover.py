"""Finding the endpoint of a mailbox by asking its domain: Autodiscover, as an opt-in.

The plain-XML protocol (MS-OXDSCLI) over HTTPS alone, at the two hosts that it names first;
no DNS record and no redirect is followed, so that a secret goes nowhere that the address
does not name.  exchangelib's own autodiscover is not used: it keeps what it found in a file
for every program of the machine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from mailarchive.errors import MailboxNotFound, SourceError
from mailarchive.sources._ews_answer import Damaged, document
from mailarchive.sources._ews_connect import Refused
from mailarchive.sources._ews_errors import broken

if TYPE_CHECKING:
    from mailarchive.sources._ews_answer import Node
    from mailarchive.sources._ews_connect import Pool

_SCHEMA = "http://schemas.microsoft.com/exchange/autodiscover/outlook"
_REQUEST = (
    '<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="%s/requestschema/2006"><Request>'
    "<EMailAddress>%s</EMailAddress>"
    "<AcceptableResponseSchema>%s/responseschema/2006a</AcceptableResponseSchema>"
    "</Request></Autodiscover>"
)
_PATH = "/autodiscover/autodiscover.xml"
_EXTERNAL, _INTERNAL = "EXPR", "EXCH"


def candidates(address: str) -> tuple[str, ...]:
    """Return where Autodiscover of an address may be."""
    domain = address.rpartition("@")[2].lower()
    return (f"https://autodiscover.{domain}{_PATH}", f"https://{domain}{_PATH}")


def ask(pool: Pool, address: str) -> str:
    """Return the EWS endpoint that one place names; raises our errors."""
    content = (_REQUEST % (_SCHEMA, escape(address), _SCHEMA)).encode()
    place = pool.endpoint.place
    try:
        with pool.post(content, {}) as pieces:
            answer = document(pieces, "Autodiscover", pool.endpoint.limits)
    except Refused as error:
        raise error.error from None
    except Damaged as error:
        raise broken(place, error.reason) from None
    found = _endpoint(answer)
    if found is None:
        raise MailboxNotFound(
            f"{place}: Autodiscover names no EWS endpoint for this address",
            suggestions=["set url to the endpoint, mostly https://HOST/EWS/Exchange.asmx"],
        )
    if not found.lower().startswith("https://"):
        raise SourceError(
            f"{place}: Autodiscover names an endpoint without TLS",
            suggestions=["set url to the endpoint where it is right"],
        )
    return found


def _endpoint(answer: Node) -> str | None:
    """Return the endpoint for programs outside of the network, else the one inside."""
    told = {
        protocol.at("Type"): protocol.at("EwsUrl")
        for protocol in reversed(list(answer.all("Protocol")))
        if protocol.at("EwsUrl")
    }
    return next((told[kind] for kind in (_EXTERNAL, _INTERNAL) if told.get(kind)), None)
