"""Hypothesis strategies for messages and journal reports: `pip install 'mailarchive[testing]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen
from hypothesis import strategies as st

from mailarchive._model import Address as _Address
from mailarchive._model import Recipient, Redirection, Role
from mailarchive.journal import DefectCode
from mailarchive.testing import messages, reports

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DefectCase",
    "ReportCase",
    "addresses",
    "damaged",
    "defect_cases",
    "message_ids",
    "originals",
    "recipients",
    "report_cases",
    "subjects",
]

_ATOM: Final = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$&'*+-/=?^_`{|}~éßжφ数"
_LABEL: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_LINE_ENDS: Final = "\r\n"
_ROLES: Final = (Role.TO, Role.CC, Role.BCC, Role.RECIPIENT)


def addresses() -> st.SearchStrategy[str]:
    """Return a strategy for SMTP addresses: plain, quoted, and with letters of any script."""
    atoms = st.text(_ATOM, min_size=1, max_size=12)
    local = st.lists(atoms, min_size=1, max_size=3).map(".".join)
    quoted = st.text(_LABEL + " ,:;<>()@", min_size=1, max_size=9).map(lambda text: f'"{text}"')
    labels = st.text(_LABEL, min_size=1, max_size=9)
    domain = st.lists(labels, min_size=1, max_size=3).map(
        lambda all_: ".".join([*all_, "example"])
    )
    return st.builds(lambda name, at: f"{name}@{at}", local | quoted, domain)


def recipients() -> st.SearchStrategy[Recipient]:
    """Return a strategy for recipients with a role and up to three redirections."""
    words = st.sampled_from(("expanded", "forwarded"))
    steps = st.builds(Redirection, words, addresses().map(_Address))
    return st.builds(
        Recipient,
        addresses().map(_Address),
        st.sampled_from(_ROLES),
        st.lists(steps, max_size=3).map(tuple),
    )


def subjects() -> st.SearchStrategy[str]:
    """Return a strategy for subjects of one line, with any other character of Unicode."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters=_LINE_ENDS)
    return st.text(characters, max_size=60).map(lambda text: text.strip(" \t").lstrip("\ufeff"))


def message_ids() -> st.SearchStrategy[str]:
    """Return a strategy for Message-IDs."""
    return st.text(_LABEL, min_size=1, max_size=30).map(lambda text: f"<{text}@id.example>")


def originals() -> st.SearchStrategy[bytes]:
    """Return a strategy for messages: any bytes for a body, plain or with what it is called."""
    kinds = st.sampled_from(
        ('text/plain; charset="utf-8"', "message/rfc822", "multipart/mixed; boundary=x", "x/y")
    )
    return st.builds(
        messages.message,
        subject=subjects(),
        body=st.binary(max_size=400),
        message_id=message_ids(),
        content_type=kinds,
    )


@frozen
class ReportCase:
    """A report and what must be read from it."""

    raw: bytes
    original: bytes
    sender: str
    subject: str | None
    message_id: str
    recipients: tuple[Recipient, ...]
    dialect: reports.Dialect


@st.composite
def report_cases(draw: st.DrawFn) -> ReportCase:
    """Return a strategy for reports without defects, of every dialect, with their answer."""
    dialect = draw(st.sampled_from(reports.Dialect))
    people = draw(st.lists(recipients(), min_size=1, max_size=6))
    sender, subject, message_id = draw(addresses()), draw(subjects()), draw(message_ids())
    original = messages.message(
        sender=sender, subject=subject, message_id=message_id, body=draw(st.binary(max_size=200))
    )
    encoding = draw(st.sampled_from(("8bit", "quoted-printable", "base64")))
    raw = reports.report(
        original,
        sender=sender,
        subject=subject,
        recipients=people,
        dialect=dialect,
        charset="utf-8",
        encoding=encoding,
    )
    said = None if dialect.is_2003 else subject
    named = _as_read(people, dialect)
    return ReportCase(raw, original, sender, said, message_id, named, dialect)


@frozen
class DefectCase:
    """A report with one defect, and what must be read from it all the same."""

    raw: bytes
    code: DefectCode
    recipients: tuple[Recipient, ...]
    dialect: reports.Dialect


@st.composite
def defect_cases(draw: st.DrawFn) -> DefectCase:
    """Return a strategy for reports with one defect, of every dialect that can have it."""
    dialect = draw(st.sampled_from(reports.Dialect))
    code = draw(st.sampled_from(sorted(reports.defects_of(dialect))))
    people = draw(st.lists(recipients(), min_size=1, max_size=4))
    sender, message_id = draw(addresses()), draw(message_ids())
    original = messages.message(sender=sender, message_id=message_id)
    raw = reports.report(
        original,
        sender=sender,
        recipients=people,
        dialect=dialect,
        charset="utf-8",
        defects=[code],
    )
    if code in {DefectCode.NO_RECIPIENTS, DefectCode.ENVELOPE_MISSING}:
        people = []
    return DefectCase(raw, code, _as_read(people, dialect), dialect)


def _as_read(people: list[Recipient], dialect: reports.Dialect) -> tuple[Recipient, ...]:
    """Return the recipients as the dialect names them: in its order, with what it knows."""
    if dialect.is_2003:
        return tuple(Recipient(each.address, Role.UNKNOWN) for each in people)
    if dialect is reports.Dialect.MANAGED_FOLDER:
        return tuple(people)
    return tuple(sorted(people, key=lambda each: _ROLES.index(each.role)))


@st.composite
def damaged(draw: st.DrawFn, made: st.SearchStrategy[bytes]) -> bytes:
    """Return a strategy for the bytes of another one with a few small changes."""
    raw = draw(made)
    for _ in range(draw(st.integers(1, 8))):
        raw = draw(st.sampled_from(_CHANGES))(draw, raw)
    return raw


def _flip(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, max(len(raw) - 1, 0)))
    return raw[:place] + draw(st.binary(min_size=1, max_size=1)) + raw[place + 1 :]


def _cut_out(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, len(raw)))
    return raw[:place] + raw[place + draw(st.integers(1, 80)) :]


def _repeat(draw: st.DrawFn, raw: bytes) -> bytes:
    place, length = draw(st.integers(0, len(raw))), draw(st.integers(1, 200))
    return raw[: place + length] + raw[place:]


def _break_line(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, len(raw)))
    return raw[:place] + draw(st.sampled_from((b"\r\n", b"\n", b"\r", b"\r\n\r\n"))) + raw[place:]


def _stop(draw: st.DrawFn, raw: bytes) -> bytes:
    return raw[: draw(st.integers(0, len(raw)))]


_CHANGES: Final[tuple[Callable[[st.DrawFn, bytes], bytes], ...]] = (
    _flip,
    _cut_out,
    _repeat,
    _break_line,
    _stop,
)
