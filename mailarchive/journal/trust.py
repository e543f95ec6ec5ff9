"""Should a report be believed?  A separate step, and a pure one.

Nothing inside a message proves where it comes from: whoever can mail the journal address
can write every header that Exchange writes.  What counts is the channel by which it came,
Exchange's own verdict where the store gives one, and what the receiving server stamped
above everything foreign.  What the message says of its tenant is good for noticing a
mistake, and never proof; a DMARC result is expected to fail (the report has the original's
`From:`) and is only noted.
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

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
_CHOSEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|\([^()]*\)')
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


@frozen
class Policy:
    """What is expected of a report that comes in here; an empty expectation is not checked.

    `trusted_channel`: only Exchange can bring mail here.  `return_paths`: the configured
    `JournalingReportNdrTo` (an empty string for `<>`).  `authserv_id` and `own_hosts`: the
    name our server writes into `Authentication-Results`, and its names in `Received`.
    `tenants`: domains and tenant GUIDs of the organisation.
    """

    trusted_channel: bool = False
    return_paths: frozenset[str] = field(default=frozenset(), converter=_lowered, repr=False)
    authserv_id: str | None = None
    own_hosts: frozenset[str] = field(default=frozenset(), converter=_lowered)
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
    """Yield what our own server stamped: only the lines above the first foreign Received."""
    results, received, return_path = _own_lines(report.raw, policy)
    spf = _result(results, "spf")
    if spf is not None:
        yield Evidence(Sign.SPF, Strength.NOTED, agrees=None)
    if (dmarc := _result(results, "dmarc")) is not None:
        yield Evidence(Sign.DMARC, Strength.NOTED, agrees=True if dmarc == "pass" else None)
    if any(_came_from(line).endswith(_SERVICE) for line in received):
        yield Evidence(Sign.HOST, Strength.WEAK, agrees=True)
    if policy.return_paths and return_path is not None:
        strength = Strength.MEDIUM if spf == "pass" else Strength.WEAK
        yield Evidence(Sign.RETURN_PATH, strength, agrees=return_path in policy.return_paths)


def _own_lines(raw: bytes, policy: Policy) -> tuple[list[str], list[str], str | None]:
    """Return our Authentication-Results, our Received lines, and the return path."""
    results: list[str] = []
    received: list[str] = []
    return_path = None
    for name, value in Block(raw, _TRACE).unfolded():
        text = decode_text(value)[0]
        if name == b"received":
            by = _BY.search(text)
            if by is None or by[1].lower() not in policy.own_hosts:
                break
            received.append(text)
        elif name == b"return-path":
            return_path = text.strip().strip("<>").lower() if return_path is None else return_path
        elif policy.authserv_id and _authserv_id(text) == policy.authserv_id.lower():
            results.append(text)
    return results, received, return_path


def _authserv_id(text: str) -> str:
    """Return the name of the server that wrote the results (RFC 8601, section 2.2)."""
    return text.split(";", 1)[0].strip().split(" ", 1)[0].lower()


def _result(results: list[str], method: str) -> str | None:
    """Return the result of a method in the topmost line that has one.

    Quoted strings and comments may hold what the sender chose, and are passed over.
    """
    for text in results:
        plain = _CHOSEN.sub("", text)
        found = re.search(rf";\s*{method}\s*=\s*([a-z]+)", plain, re.IGNORECASE)
        if found is not None:
            return found[1].lower()
    return None


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
