"""What goes wrong with Exchange, scripted: faults for `mailarchive.testing.ews_server`.

Each function returns a `Fault`; the first ones say when another strikes::

    server.fault = on("GetItem", times(2, busy(milliseconds=250)))
    server.fault = first_of(on("SyncFolderItems", early_end()), every(7, hang_up()))

An item that cannot be had as MIME is no fault but a property of the item: `EwsItem.error`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from mailarchive.testing.ews_server import Call, EwsItem, Fault, Hangup, fault_xml

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "answers_html",
    "busy",
    "cut_xml",
    "damaged",
    "doctype_bomb",
    "early_end",
    "every",
    "first_of",
    "forbidden",
    "hang_up",
    "impersonation_denied",
    "item_error",
    "items_swapped",
    "mailbox_not_found",
    "on",
    "redirected",
    "refused",
    "status",
    "times",
    "too_many_requests",
    "truncated",
    "unauthorized",
    "with_item",
]

_MIME = re.compile(rb"(<t:MimeContent[^>]*>)([^<]*)(</t:MimeContent>)")
MARKER = b"=== Truncated Data ==="
"""What Exchange writes where it cut an answer short."""


# When a fault strikes.


def on(operation: str, fault: Fault) -> Fault:
    """Strike calls of one operation."""
    return lambda call: call.operation == operation and fault(call)


def with_item(item: EwsItem, fault: Fault) -> Fault:
    """Strike calls that ask for one item."""
    return lambda call: item.id in call.ids and fault(call)


def times(count: int, fault: Fault) -> Fault:
    """Strike so many times, and never again."""
    lock, left = threading.Lock(), [count]

    def limited(call: Call) -> bool:
        with lock:
            if not left[0]:
                return False
            left[0] -= 1
        if fault(call):
            return True
        with lock:
            left[0] += 1
        return False

    return limited


def every(count: int, fault: Fault) -> Fault:
    """Strike each time that so many calls have come."""
    lock, seen = threading.Lock(), [0]

    def counted(call: Call) -> bool:
        with lock:
            seen[0] += 1
            strikes = seen[0] % count == 0
        return strikes and fault(call)

    return counted


def first_of(*faults: Fault) -> Fault:
    """Strike with the first fault that has something to say to a call."""
    return lambda call: any(fault(call) for fault in faults)


# What the server says of the whole request.


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer with a bare HTTP status."""
    return lambda call: call.send(body, code, {"Content-Type": "text/html", **(headers or {})})


def forbidden() -> Fault:
    """Answer 403 with no body, as Exchange Online does where EWS is not allowed."""
    return status(403, {"X-BeSku": "WCS7", "X-Proxy-BackendServerStatus": "403"})


def unauthorized() -> Fault:
    """Answer 401."""
    return status(401, {"WWW-Authenticate": 'Basic realm="loopback"'})


def too_many_requests(retry_after: str) -> Fault:
    """Answer 429 with a Retry-After in either of its forms."""
    return status(429, {"Retry-After": retry_after})


def redirected(url: str) -> Fault:
    """Answer that the endpoint is elsewhere."""
    return status(302, {"Location": url})


def answers_html() -> Fault:
    """Answer 200 with the page of a portal."""
    page = b"<html><head><title>Log in</title></head><body>please</body></html>"
    return lambda call: call.send(page, 200, {"Content-Type": "text/html"})


def refused(code: str, values: Mapping[str, str] | None = None) -> Fault:
    """Refuse the whole request with a SOAP fault."""
    return lambda call: call.send(fault_xml(code, code, values), 500)


def busy(milliseconds: int) -> Fault:
    """Ask for a pause, as throttling does."""
    return refused("ErrorServerBusy", {"BackOffMilliseconds": str(milliseconds)})


def mailbox_not_found() -> Fault:
    """Know nothing of the mailbox."""
    return refused("ErrorNonExistentMailbox")


def impersonation_denied() -> Fault:
    """Let nobody act as somebody else."""
    return refused("ErrorImpersonateUserDenied")


def item_error(code: str) -> Fault:
    """Answer for each part of the request with an error of this code."""
    return lambda call: call.send(call.refuse(code))


# What arrives is not what was sent.

Damage: TypeAlias = Callable[[bytes], bytes]
"""Makes something else of the base64 of a message."""


def damaged(damage: Damage, item: EwsItem | None = None) -> Fault:
    """Let the MIME of an item, or of every item, arrive otherwise."""

    def strike(call: Call) -> bool:
        if call.operation != "GetItem" or (item is not None and item.id not in call.ids):
            return False
        parts = list(call.parts())
        if not _MIME.search(b"".join(parts)):
            return False
        for at, id_ in enumerate(call.ids, 1):
            if item is None or item.id == id_:
                parts[at] = _MIME.sub(
                    lambda found: found[1] + damage(found[2]) + found[3], parts[at]
                )
        return call.send(b"".join(parts))

    return strike


def truncated(item: EwsItem | None = None, *, keep: int = 40) -> Fault:
    """Cut the base64 of a message and say so, as Exchange does."""
    return damaged(lambda text: text[:keep] + MARKER, item)


def cut_xml(keep: Callable[[bytes], int] = lambda answer: len(answer) * 2 // 3) -> Fault:
    """End the answer early, in a response that is otherwise whole."""

    def strike(call: Call) -> bool:
        answer = call.answer()
        return call.send(answer[: keep(answer)])

    return strike


def hang_up(keep: int = 200) -> Fault:
    """Promise a whole answer and hang up after so many octets of it."""

    def strike(call: Call) -> bool:
        answer = call.answer()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(answer)}\r\n"
        call.send_raw(f"{head}\r\n".encode() + answer[:keep])
        raise Hangup

    return strike


def doctype_bomb() -> Fault:
    """Put a document type with entities that swell before the answer."""
    entities = "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "lol" * 10}">' for n in range(9)
    )
    doctype = f"<!DOCTYPE s [{entities}]>".encode()

    def strike(call: Call) -> bool:
        answer = call.answer()
        declared = answer.index(b"?>") + 2
        bomb = answer.replace(b"<m:ResponseMessages>", b"<m:ResponseMessages>&a8;", 1)
        return call.send(bomb[:declared] + doctype + bomb[declared:])

    return strike


def items_swapped() -> Fault:
    """Answer for the items in another order than they were asked for."""

    def strike(call: Call) -> bool:
        head, *parts, tail = call.parts()
        return len(parts) > 1 and call.send(b"".join([head, *reversed(parts), tail]))

    return on("GetItem", strike)


def early_end() -> Fault:
    """Say that a round of SyncFolderItems tells everything, though it does not."""

    def strike(call: Call) -> bool:
        tag = b"IncludesLastItemInRange>"
        answer = call.answer()
        told = answer.replace(tag + b"false", tag + b"true")
        return told != answer and call.send(told)

    return on("SyncFolderItems", strike)
