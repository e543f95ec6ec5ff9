"""Should a report be believed?  A separate step, and a pure one.

Nothing inside a message proves where it comes from: whoever can mail the journal address
can write every header that Exchange writes.  What counts is the channel by which it came,
Exchange's own verdict where the store gives one, and what the receiving server stamped
above everything that came in.  What the message says of its tenant is good for noticing a
mistake, and never proof; a DMARC result is expected to fail (the report has the original's
`From:`) and is only noted.
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import field, frozen
from attrs.validators import ge

from mailarchive._model import Address, Span
from mailarchive._rfc5322 import Block, Names, decode_text, mailboxes
from mailarchive.journal._report import DefectCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailarchive.journal._report import JournalReport

__all__ = ["Action", "Evidence", "Level", "Policy", "Sign", "Strength", "Verdict", "judge"]

_TRACE: Final = Names("Received", "Return-Path", "Authentication-Results")
_HINTS: Final = Names(
    "Sender", "X-OriginatorOrg", "X-LD-Processed", "X-MS-Exchange-CrossTenant-Id"
)
_INSIDE: Final = Names("X-MS-Exchange-Organization-Id")
_GUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_BY: Final = re.compile(r"\bby\s+([^\s;()]+)", re.IGNORECASE)
_FROM: Final = re.compile(r"\s*from\s+([^\s;()]+)", re.IGNORECASE)
_PIECE: Final = re.compile(r'\\.|["()]|[^"()\\]+|.', re.DOTALL)
_SERVICE: Final = ".outbound.protection.outlook.com"


class Sign(StrEnum):
    """What a piece of evidence is."""

    CHANNEL = "channel"
    """The caller vouches for the way it came: authenticated, or a closed mailbox."""
    STORE = "store"
    """Exchange itself marked the item as a report (over EWS, where it trusts the sender)."""
    SPF = "spf"
    """Our own server's Authentication-Results."""
    HOST = "host"
    """Our own server received it from Exchange Online; any tenant's mail does that."""
    RETURN_PATH = "return_path"
    """The return path is the configured `JournalingReportNdrTo`."""
    TENANT = "tenant"
    """What the report and the original say of the tenant."""
    DMARC = "dmarc"
    """Noted only."""
    ENVELOPE = "envelope"
    """Whether the envelope text agrees with the original."""


class Strength(IntEnum):
    """How much a sign proves when it agrees."""

    NOTED = 0
    WEAK = 1
    MEDIUM = 2
    STRONG = 3


@frozen
class Evidence:
    """One sign, how strong it is, and whether it agrees (`None`: it says neither)."""

    sign: Sign
    strength: Strength
    agrees: bool | None


class Action(StrEnum):
    """What the caller should do with a report."""

    ACCEPT = "accept"
    QUARANTINE = "quarantine"


class Level(StrEnum):
    """How far a report can be believed."""

    TRUSTED = "trusted"
    """A strong sign agrees, and nothing contradicts."""
    PLAUSIBLE = "plausible"
    """The receiving server's stamps agree, and nothing contradicts."""
    UNPROVEN = "unproven"
    CONTRADICTED = "contradicted"


def _lowered(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value.strip().strip("<>").lower() for value in values)


def _lower(value: str | None) -> str | None:
    return value.strip().lower() or None if value else None


@frozen
class Policy:
    """What is expected of a report that comes in here; an empty expectation is not checked.

    `trusted_channel`: only Exchange can bring mail here.  `return_paths`: the configured
    `JournalingReportNdrTo` (an empty string for `<>`).  `tenants`: domains and tenant GUIDs
    of the organisation.

    `hops`: how many `Received` lines our own servers put on top; `own_hosts`: the names in
    their `by`.  Everything above the last of them is ours, everything below came in and
    may say anything.  `authserv_id`: the name our server writes into its
    `Authentication-Results`.  `strips_results`: it writes them below its `Received` line,
    and takes away what came in under its name (RFC 8601, section 5).
    """

    trusted_channel: bool = False
    return_paths: frozenset[str] = field(default=frozenset(), converter=_lowered, repr=False)
    authserv_id: str | None = field(default=None, converter=_lower)
    own_hosts: frozenset[str] = field(default=frozenset(), converter=_lowered)
    hops: int = field(default=1, validator=ge(1))
    strips_results: bool = False
    tenants: frozenset[str] = field(default=frozenset(), converter=_lowered)
    on_mismatch: Action = Action.QUARANTINE
    on_unproven: Action = Action.ACCEPT


@frozen
class Verdict:
    """How far a report can be believed, what to do, and why."""

    level: Level
    action: Action
    evidence: tuple[Evidence, ...]


def judge(
    report: JournalReport, policy: Policy, *, marked_by_store: bool | None = None
) -> Verdict:
    """Weigh the evidence for a report.

    `marked_by_store` is what Exchange says when it was asked: whether the item has the
    named property `X-MS-Journal-Report`; `None` where it was not asked.
    """
    evidence = tuple(_evidence(report, policy, marked_by_store))
    level = _level(evidence)
    if level is Level.CONTRADICTED:
        action = policy.on_mismatch
    else:
        action = policy.on_unproven if level is Level.UNPROVEN else Action.ACCEPT
    return Verdict(level, action, evidence)


def _level(evidence: tuple[Evidence, ...]) -> Level:
    if any(each.agrees is False for each in evidence):
        return Level.CONTRADICTED
    best = max((each.strength for each in evidence if each.agrees), default=Strength.NOTED)
    if best is Strength.STRONG:
        return Level.TRUSTED
    return Level.PLAUSIBLE if best is Strength.MEDIUM else Level.UNPROVEN


def _evidence(
    report: JournalReport, policy: Policy, marked_by_store: bool | None
) -> Iterator[Evidence]:
    strong = policy.trusted_channel or marked_by_store is True
    if policy.trusted_channel:
        yield Evidence(Sign.CHANNEL, Strength.STRONG, agrees=True)
    if marked_by_store is not None:
        yield Evidence(Sign.STORE, Strength.STRONG, agrees=marked_by_store)
    yield from _stamps(report, policy)
    yield from _tenant(report, policy)
    codes = set(report.defect_codes)
    if not strong and codes & {DefectCode.SENDER_MISMATCH, DefectCode.MESSAGE_ID_MISMATCH}:
        yield Evidence(Sign.ENVELOPE, Strength.WEAK, agrees=False)


def _stamps(report: JournalReport, policy: Policy) -> Iterator[Evidence]:
    """Yield what our own servers stamped, and nothing that came in."""
    stamps = _own_lines(report.raw, policy)
    results = [text for text in stamps.results if _authserv_id(text) == policy.authserv_id]
    for sign, method in ((Sign.SPF, "spf"), (Sign.DMARC, "dmarc")):
        result = _result(results, method)
        if result is not None:
            yield Evidence(sign, Strength.NOTED, agrees=True if result == "pass" else None)
    if _came_from(stamps.border).endswith(_SERVICE):
        yield Evidence(Sign.HOST, Strength.WEAK, agrees=True)
    if policy.return_paths:
        yield _return_path(stamps.return_path, policy, passed=_result(results, "spf") == "pass")


def _return_path(found: str | None, policy: Policy, *, passed: bool) -> Evidence:
    if found is None:
        return Evidence(Sign.RETURN_PATH, Strength.NOTED, agrees=None)
    strength = Strength.MEDIUM if passed else Strength.WEAK
    return Evidence(Sign.RETURN_PATH, strength, agrees=found in policy.return_paths)


class _Stamps(NamedTuple):
    """What our servers wrote: the `Received` by which it came in, and what is above."""

    border: str = ""
    results: tuple[str, ...] = ()
    return_path: str | None = None


def _own_lines(raw: bytes, policy: Policy) -> _Stamps:
    """Return our lines; none where the trace is not as the policy has it.

    Counted, not recognised by what they say: who sends a message can write any
    `Received`, with the name of any host.
    """
    lines = [(name, decode_text(value)[0]) for name, value in Block(raw, _TRACE).unfolded()]
    hops = [place for place, (name, _) in enumerate(lines) if name == b"received"]
    if len(hops) < policy.hops or not all(
        _is_ours(lines[n][1], policy) for n in hops[: policy.hops]
    ):
        return _Stamps()
    border, following = (*hops, len(lines))[policy.hops - 1 : policy.hops + 1]
    ours = following if policy.strips_results else border
    paths = (text for name, text in lines[:border] if name == b"return-path")
    return _Stamps(
        border=lines[border][1],
        results=tuple(text for name, text in lines[:ours] if name == b"authentication-results"),
        return_path=next((text.strip().strip("<>").lower() for text in paths), None),
    )


def _is_ours(received: str, policy: Policy) -> bool:
    by = _BY.search(received)
    return not policy.own_hosts or (by is not None and by[1].lower() in policy.own_hosts)


def _authserv_id(text: str) -> str:
    """Return the name of the server that wrote the results (RFC 8601, section 2.2)."""
    return text.split(";", 1)[0].strip().split(" ", 1)[0].lower()


def _result(results: list[str], method: str) -> str | None:
    """Return `pass` where every result of a method is that, or else the first other one.

    Quoted strings and comments may hold what the sender chose, and are passed over; so is
    an SPF result for the name in the greeting, which is no return path (RFC 8601, 2.7.2).
    """
    pattern = re.compile(rf"\s*{method}(?:/\d+)?\s*=\s*([a-z]+)(.*)\Z", re.IGNORECASE | re.DOTALL)
    said = (pattern.match(each) for text in results for each in _unchosen(text).split(";")[1:])
    found = [each[1].lower() for each in said if each is not None and not _of_greeting(each[2])]
    return next((each for each in found if each != "pass"), "pass") if found else None


def _of_greeting(properties: str) -> bool:
    names = properties.lower()
    return "smtp.helo" in names and "smtp.mailfrom" not in names


def _unchosen(text: str) -> str:
    """Return the text without quoted strings and comments, which may lie in one another."""
    kept: list[str] = []
    depth, quoted = 0, False
    for piece in _PIECE.findall(text):
        if quoted:
            quoted = piece != '"'
        elif piece in {"(", ")"}:
            depth = max(depth + (1 if piece == "(" else -1), 0)
        elif not depth and piece == '"':
            quoted = True
        elif not depth:
            kept.append(piece)
    return "".join(kept)


def _came_from(received: str) -> str:
    match = _FROM.match(received)
    return "" if match is None else match[1].lower()


def _tenant(report: JournalReport, policy: Policy) -> Iterator[Evidence]:
    """Yield whether each hint names an expected tenant, where one of its kind is expected."""
    guids = {each for each in policy.tenants if _GUID.fullmatch(each)}
    domains = policy.tenants - guids
    for hint in _hints(report):
        expected = guids if _GUID.fullmatch(hint) else domains
        if expected:
            yield Evidence(Sign.TENANT, Strength.WEAK, agrees=hint in expected)


def _hints(report: JournalReport) -> Iterator[str]:
    top = Block(report.raw, _HINTS)
    for value in top.values(b"sender"):
        for spec in mailboxes(decode_text(value)[0]):
            yield Address.parse(spec).domain
    for value in top.values(b"x-originatororg"):
        yield decode_text(value)[0].strip().lower()
    guids = [*top.values(b"x-ld-processed"), *top.values(b"x-ms-exchange-crosstenant-id")]
    if report.originals and not report.opaque:
        guids += _inside(report)
    for value in guids:
        yield from _GUID.findall(decode_text(value)[0].lower())[:1]


def _inside(report: JournalReport) -> list[bytes]:
    original = report.originals[0]
    if isinstance(original, Span):
        block = Block(report.raw, _INSIDE, original.start, original.end)
    else:
        block = Block(original, _INSIDE)
    return block.values(b"x-ms-exchange-organization-id")
