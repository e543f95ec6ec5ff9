"""What the loopback Graph server answers to each path, as strictly as Graph's pages say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote

from attrs import define

from mailarchive.testing._http_server import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailarchive.testing._graph_store import Box, Item, MailboxStore

MOST = 1_000
"""The largest `$top`, and page of a delta query."""
_DEFAULT_PAGE = 10
_JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false"


class Refusal(Exception):
    """An error that Graph answers with."""

    def __init__(self, status: int, code: str, *inner: str) -> None:
        """Take the status and the codes from the outermost to the innermost."""
        super().__init__(status, code)
        self.status, self.codes = status, (code, *inner)

    def answer(self, headers: dict[str, str] | None = None) -> Answer:
        """Return it in Graph's form, with a sentence that must not be shown to anybody."""
        told: dict[str, Any] = {}
        for code in reversed(self.codes):
            said = {"code": code, "message": "Something about ann@contoso.example."}
            told = said | ({"innerError": told} if told else {})
        return as_json({"error": told}, self.status, headers)


class Violation(Exception):
    """The client did what no client of Graph's may do; the server keeps a list of them."""


def as_json(told: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Return an object as Graph does."""
    return Answer(status, json.dumps(told).encode(), {"Content-Type": _JSON, **(headers or {})})


@define
class Talk:
    """One request to one mailbox."""

    request: Request
    store: MailboxStore
    origin: str
    query: dict[str, str]

    def names(self) -> list[str]:
        """Return the properties that `$select` names."""
        return [name for name in self.query.get("$select", "").split(",") if name]

    def number(self, name: str, default: int, *, least: int = 0, most: int = 1 << 40) -> int:
        """Return a number of the query; raises `Refusal` where it is out of bounds."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isdecimal() or not least <= int(text) <= most:
            raise Refusal(400, "ErrorInvalidUrlQuery")
        return int(text)

    def link(self, **query: object) -> str:
        """Return a link to this path with another query."""
        words = "&".join(f"${name}={quote(str(value))}" for name, value in query.items())
        return f"{self.origin}{self.request.path}?{words}"


Route: TypeAlias = "Callable[[Talk, tuple[str, ...]], Answer]"


def _folder(talk: Talk, key: str) -> Box:
    found = talk.store.box(key)
    if found is None:
        raise Refusal(404, "ErrorItemNotFound")
    return found


def _item(talk: Talk, id_: str) -> Item:
    if not re.fullmatch(r"AA[A-Za-z0-9+/=_-]{4,}", id_):
        raise Refusal(400, "ErrorInvalidIdMalformed")
    found = talk.store.items.get(id_)
    if found is None:
        raise Refusal(404, "ErrorItemNotFound")
    return found


def _told(talk: Talk, box: Box) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": box.id,
        "displayName": box.name,
        "childFolderCount": len(talk.store.children(box.id)),
        "totalItemCount": len(box.items) + box.others,
        "isHidden": box.hidden,
    }
    kind = {"@odata.type": "#microsoft.graph.mailSearchFolder"} if box.search else {}
    names = talk.names()
    return kind | {name: told[name] for name in told if name == "id" or name in names}


def user(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/users/{id}`."""
    del parts
    told = talk.store.answers_as or talk.store.user
    return as_json({name: told.get(name) for name in ["id", *talk.names()]})


def settings(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/users/{id}/mailboxSettings`."""
    del parts
    return as_json({name: talk.store.settings.get(name) for name in talk.names()})


def folders(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/mailFolders` and `/mailFolders/{id}/childFolders`, a page at a time."""
    parent = _folder(talk, parts[0]).id if parts else None
    hidden = talk.query.get("includeHiddenFolders") == "true"
    every = [box for box in talk.store.children(parent) if hidden or not box.hidden]
    top, skip = talk.number("$top", _DEFAULT_PAGE, least=1, most=MOST), talk.number("$skip", 0)
    told: dict[str, Any] = {"value": [_told(talk, box) for box in every[skip : skip + top]]}
    if skip + top < len(every):
        told["@odata.nextLink"] = talk.link(select=talk.query["$select"], top=top, skip=skip + top)
        if hidden:
            told["@odata.nextLink"] += "&includeHiddenFolders=true"
    return as_json(told)


def folder(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/mailFolders/{id}`, by a well-known name too."""
    return as_json(_told(talk, _folder(talk, parts[0])))


def messages(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/mailFolders/{id}/messages`, newest first."""
    box = _folder(talk, parts[0])
    every = sorted(box.items.values(), key=lambda item: item.received_at, reverse=True)
    top, skip = talk.number("$top", _DEFAULT_PAGE, least=1, most=MOST), talk.number("$skip", 0)
    page = every[skip : skip + top]
    _break(page, "id" if talk.names() == ["id"] else "list")
    told: dict[str, Any] = {"value": [item.told(talk.names()) for item in page]}
    if skip + top < len(every):
        told["@odata.nextLink"] = talk.link(select=talk.query["$select"], top=top, skip=skip + top)
    return as_json(told)


def delta(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/mailFolders/{id}/messages/delta`: what changed, in the order in which it did."""
    box = _folder(talk, parts[0])
    select, since, begun = _delta_token(talk, box.epoch)
    page = _maximum(talk.request)
    changed = [(id_, n) for id_, n in box.journal.items() if abs(n) > since]
    some, more = changed[:page], len(changed) > page
    there = {id_ for id_, n in some if id_ in box.items and (n > 0 or not begun)}
    told = [
        box.items[id_].told(select)
        if id_ in there
        else {"id": id_, "@removed": {"reason": "changed"}}
        for id_, _ in some
        if begun or id_ in there
    ]
    _break([box.items[id_] for id_ in there], "delta")
    last = abs(some[-1][1]) if some else since
    if more and box.closes_early:
        box.closes_early -= 1
        more, last = False, abs(changed[-1][1])
    words = f"{box.epoch}.{','.join(select)}"
    link = (
        {"@odata.nextLink": talk.link(skiptoken=f"{last}.{int(begun)}.{words}")}
        if more
        else {"@odata.deltaLink": talk.link(deltatoken=f"{last}.1.{words}")}
    )
    return as_json({"@odata.context": "#", "value": told} | link)


def _delta_token(talk: Talk, epoch: int) -> tuple[list[str], int, bool]:
    """Return what is selected, after which change, and whether removals are told."""
    token = talk.query.get("$skiptoken") or talk.query.get("$deltatoken")
    if token is None:
        return talk.names(), 0, False
    found = re.fullmatch(r"(\d+)\.([01])\.(\d+)\.([A-Za-z,]*)", token)
    if found is None:
        raise Refusal(400, "SyncStateInvalid")
    if int(found[3]) != epoch:
        raise Refusal(410, "SyncStateNotFound")
    return found[4].split(","), int(found[1]), found[2] == "1"


def _maximum(request: Request) -> int:
    found = re.search(r"odata\.maxpagesize=(\d+)", request.headers.get("prefer", ""))
    return min(int(found[1]), MOST) if found else _DEFAULT_PAGE


def _break(page: list[Item], listing: str) -> None:
    if any(listing in item.breaks for item in page):
        raise Refusal(500, "ErrorCorruptData")


def message(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/messages/{id}`: read it, or delete it softly."""
    item = _item(talk, parts[0])
    if talk.request.method == "DELETE":
        _check_version(talk, item)
        talk.store.move(item.id, "recoverableitemsdeletions")
        return Answer(204)
    return as_json(item.told(talk.names()))


def mime(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/messages/{id}/$value`: the message as MIME, made anew on each request."""
    item = _item(talk, parts[0])
    if item.refused is not None:
        raise Refusal(*item.refused)
    return Answer(200, item.raw, {"Content-Type": "text/plain"})


def wrong_mime(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """The variant below a folder, which is documented and does not work (docs-contrib#776)."""
    del talk, parts
    raise Refusal(405, "ErrorInvalidRequest")


def move(talk: Talk, parts: tuple[str, ...]) -> Answer:
    """`/messages/{id}/move`."""
    item = _item(talk, parts[0])
    _check_version(talk, item)
    try:
        target = json.loads(talk.request.body)["destinationId"]
    except (KeyError, TypeError, ValueError):
        raise Refusal(400, "ErrorInvalidRequest") from None
    moved = talk.store.move(item.id, _folder(talk, target).id)
    return as_json(moved.told(["changeKey", "parentFolderId"]), 201)


def _check_version(talk: Talk, item: Item) -> None:
    wanted = talk.request.headers.get("if-match")
    if wanted is None:
        raise Violation("removed a message without If-Match")
    if wanted != f'W/"{item.change_key}"':
        raise Refusal(412, "ErrorIrresolvableConflict")


_MAILBOX = r"/v1\.0/users/([^/]+)"
_SELECT = frozenset({"$select"})
_PAGES = frozenset({"$select", "$top", "$skip"})
ROUTES: list[tuple[str, re.Pattern[str], frozenset[str], Route]] = [
    (method, re.compile(_MAILBOX + path + r"\Z"), allowed, route)
    for method, path, allowed, route in (
        ("GET", "", _SELECT, user),
        ("GET", "/mailboxSettings", _SELECT, settings),
        ("GET", "/mailFolders", _PAGES | {"includeHiddenFolders"}, folders),
        ("GET", "/mailFolders/([^/]+)", _SELECT, folder),
        (
            "GET",
            "/mailFolders/([^/]+)/childFolders",
            _PAGES | {"includeHiddenFolders"},
            folders,
        ),
        ("GET", "/mailFolders/([^/]+)/messages", _PAGES, messages),
        (
            "GET",
            "/mailFolders/([^/]+)/messages/delta",
            _SELECT | {"$skiptoken", "$deltatoken"},
            delta,
        ),
        (
            "GET",
            r"/mailFolders/([^/]+)/messages/([^/]+)/\$value",
            frozenset(),
            wrong_mime,
        ),
        ("GET", "/messages/([^/]+)", _SELECT, message),
        ("DELETE", "/messages/([^/]+)", frozenset(), message),
        ("GET", r"/messages/([^/]+)/\$value", frozenset(), mime),
        ("POST", "/messages/([^/]+)/move", frozenset(), move),
    )
]
"""Method, path, the query options that Graph knows there, and what answers."""


def route(request: Request) -> tuple[Route, str, tuple[str, ...]]:
    """Return what answers a request, the user, and the other parts; raises `Violation`."""
    for method, path, allowed, answers in ROUTES:
        found = path.match(request.path)
        if found is None or method != request.method:
            continue
        names = [name for name, _ in request.query]
        if unknown := set(names) - allowed:
            raise Violation(f"asked for {sorted(unknown)} where Graph knows no such option")
        if len(set(names)) < len(names):
            raise Violation("gave a query option twice")
        tokens = {"$skiptoken", "$deltatoken"} & set(names)
        if tokens and len(names) > 1:
            raise Violation("added to a link that Graph had given")
        whose, *parts = (unquote(each) for each in found.groups())
        return answers, whose, tuple(parts)
    raise Violation(f"{request.method} of a path that Graph does not have")
