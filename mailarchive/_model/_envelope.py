"""Who sent a message to whom, and what a decoder reads from it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    from datetime import datetime

    from mailarchive._model._address import Address


class Role(StrEnum):
    """How a recipient was addressed, as far as the evidence says.

    `RECIPIENT` is the journal's own word for "To, Cc, Bcc or by a list: not verified".
    """

    TO = "to"
    CC = "cc"
    BCC = "bcc"
    RECIPIENT = "recipient"
    UNKNOWN = "unknown"


@frozen
class Redirection:
    """How a message reached a recipient: `word` is `expanded`, `forwarded` or verbatim."""

    word: str
    address: Address


@frozen
class Recipient:
    """One recipient, the role, and the redirections in the order they were written."""

    address: Address
    role: Role = Role.UNKNOWN
    history: tuple[Redirection, ...] = ()


class Origin(StrEnum):
    """What an envelope was read from."""

    JOURNAL = "journal"
    HEADERS = "headers"
    SMTP = "smtp"


@frozen
class Envelope:
    """Who sent a message to whom, as the evidence named by `origin` says."""

    sender: Address | None = None
    on_behalf_of: Address | None = None
    recipients: tuple[Recipient, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    subject: str | None = field(default=None, repr=False)
    message_id: str | None = field(default=None, repr=False)
    date: datetime | None = None
    origin: Origin = Origin.HEADERS

    @property
    def senders(self) -> tuple[Address, ...]:
        """The sender, and on whose behalf."""
        first, second = self.sender, self.on_behalf_of
        if second is None:
            return () if first is None else (first,)
        return (second,) if first is None else (first, second)

    @property
    def participants(self) -> frozenset[Address]:
        """Everybody who sent or received; whom it was redirected *from* is no participant."""
        return frozenset(self.senders) | {each.address for each in self.recipients}


@frozen
class Delivery:
    """Who handed a message over, and with what envelope (RFC 5321): evidence, no more.

    It stands beside the envelope that a decoder reads in the message and never in its
    place: whose a message is, is what its report or its headers say.  In `envelope` the
    sender is MAIL FROM, `None` where that was empty, and the recipients are RCPT TO.
    `client` is the address that connected and `greeting` the name it gave itself;
    `protection` names the version of TLS, and `login` who proved a password.
    """

    envelope: Envelope
    client: str = field(repr=False)
    greeting: str = field(default="", repr=False)
    protection: str | None = None
    login: str | None = field(default=None, repr=False)


@frozen
class Span:
    """A part of the raw bytes: `raw[start:end]`."""

    start: int
    end: int

    def of(self, raw: bytes) -> bytes:
        """Return the part of `raw` that this span names."""
        return raw[self.start : self.end]


Original: TypeAlias = "Span | bytes"
"""A message inside a report: a part of it, or bytes where it was transfer-encoded."""


@frozen
class Decoded:
    """What a decoder read from raw bytes.

    `originals` is empty for ordinary mail, whose content is the raw bytes themselves.
    `report` is what a journal decoder knows beyond the envelope; `None` says that the
    message is no report.  `defects` are stable words.  `unexpected` says why a message
    does not belong in this source, such as ordinary mail in a journal mailbox: it is
    archived, listed in the run's report, and never removed.
    """

    envelope: Envelope
    originals: tuple[Original, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    report: object | None = field(default=None, repr=lambda it: str(it is not None))
    defects: tuple[str, ...] = ()
    unexpected: str | None = None
