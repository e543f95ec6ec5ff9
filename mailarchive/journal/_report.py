"""What a journal report says: facts with their place, and no claim that they are true."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import field, frozen
from attrs.validators import ge
from typing_extensions import override

from mailarchive._model import Digest, Envelope, Origin, Recipient, Redirection, Role, Span
from mailarchive.errors import LimitExceeded
from mailarchive.journal._legacy import LegacyAddress, address_of, legacy

if TYPE_CHECKING:
    from mailarchive._model import Address, Original

__all__ = [
    "Bounce",
    "Defect",
    "DefectCode",
    "Disposition",
    "EnvelopeText",
    "ExtraLine",
    "JournalReport",
    "Kind",
    "Limits",
    "RecipientLine",
    "Step",
]


class Kind(StrEnum):
    """What was recognised, by its marker (or by other signs, where `marker_missing`)."""

    EXCHANGE_2007 = "exchange2007+"
    EXCHANGE_2003 = "exchange2003"
    WORKMAIL = "workmail"
    BOUNCE = "ndr_of_journal"


class Disposition(StrEnum):
    """What may be done with a report; it follows from the defects alone."""

    OK = "ok"
    DEGRADED = "degraded"
    QUARANTINE = "quarantine"


class DefectCode(StrEnum):
    """Every way in which a report can depart from its grammar.  A closed list.

    The last three mean quarantine: keep the bytes, claim nothing.
    """

    MARKER_MISSING = "marker_missing"
    BOTH_MARKERS = "both_markers"
    CHARSET_GUESSED = "charset_guessed"
    HTML_ENVELOPE = "html_envelope"
    FOLDED_LINE = "folded_line"
    FIELD_ORDER = "field_order"
    UNKNOWN_LINE = "unknown_line"
    UNKNOWN_HISTORY = "unknown_history"
    ADDRESS_PREFIX = "address_prefix"
    ADDRESS_FORM = "address_form"
    SUBJECT_MULTILINE = "subject_multiline"
    SENDER_MISSING = "sender_missing"
    MESSAGE_ID_MISSING = "message_id_missing"
    SENDER_MISMATCH = "sender_mismatch"
    MESSAGE_ID_MISMATCH = "message_id_mismatch"
    NO_RECIPIENTS = "no_recipients"
    RFC822_CTE = "rfc822_cte"
    ORIGINAL_AS_OCTET_STREAM = "original_as_octet_stream"
    ORIGINAL_IS_MSG = "original_is_msg"
    ORIGINAL_IS_TNEF = "original_is_tnef"
    ORIGINAL_MALFORMED = "original_malformed"
    SECOND_ORIGINAL_UNEXPLAINED = "second_original_unexplained"
    EXTRA_PART = "extra_part"
    TRUNCATED = "truncated"
    ENVELOPE_MISSING = "envelope_missing"
    ORIGINAL_MISSING = "original_missing"
    TOO_MANY_ORIGINALS = "too_many_originals"


_ORDER = {code: place for place, code in enumerate(DefectCode)}
_FATAL = frozenset(
    {DefectCode.ENVELOPE_MISSING, DefectCode.ORIGINAL_MISSING, DefectCode.TOO_MANY_ORIGINALS}
)


@frozen
class Defect:
    """One departure: `line` counts the envelope text's lines from 1; `offset` is in raw bytes.

    A departure that is of the report as a whole has neither.
    """

    code: DefectCode
    line: int | None = None
    offset: int | None = None


@frozen
class Limits:
    """The most that a report may have before `LimitExceeded` is raised.

    `header_bytes` is of one header block; `parts` and `depth` count MIME parts and levels
    of multipart around the original, which itself is never parsed; `text_bytes` and
    `text_lines` are of the envelope text; `encoded_bytes` is a transfer-encoded original;
    `nesting` is how many reports `unwrap` opens, one in the other.
    """

    header_bytes: int = field(default=1 << 20, validator=ge(1))
    parts: int = field(default=64, validator=ge(1))
    depth: int = field(default=3, validator=ge(1))
    text_bytes: int = field(default=64 << 20, validator=ge(1))
    text_lines: int = field(default=500_000, validator=ge(1))
    encoded_bytes: int = field(default=512 << 20, validator=ge(1))
    recipients: int = field(default=250_000, validator=ge(1))
    nesting: int = field(default=2, validator=ge(1))


def exceeded(what: str, limit: str) -> LimitExceeded:
    """Return the error for a crossed limit, which names it."""
    return LimitExceeded(
        f"{what} than the limit, {limit}",
        suggestions=(f"if the message is genuine, decode it in a program, with {limit} raised",),
    )


class Step(NamedTuple):
    """One redirection as it was written: `expanded`, `forwarded` or a word verbatim."""

    word: str
    written: str

    @override
    def __repr__(self) -> str:
        """Show the word if it is a known one, never the address."""
        return f"Step({self.word if self.word in {'expanded', 'forwarded'} else '...'})"


class RecipientLine(NamedTuple):
    """One recipient line as a fact; the same address may have several, and all are kept.

    `written` is the address verbatim.  A tuple, because a report may have thousands.
    """

    written: str
    role: Role
    history: tuple[Step, ...]
    line: int

    @property
    def address(self) -> Address:
        """The address, which compares by its normal form."""
        return address_of(self.written)

    @property
    def recipient(self) -> Recipient:
        """The recipient as the rest of the library knows one."""
        history = tuple(Redirection(step.word, address_of(step.written)) for step in self.history)
        return Recipient(address_of(self.written), self.role, history)

    @property
    def legacy(self) -> LegacyAddress | None:
        """The address inside an encapsulated or typed one (`IMCEAEX-`, `EX:`, `X400:`)."""
        return legacy(self.written)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipient for JSON."""
        history = [{"type": word.lower(), "from": written} for word, written in self.history]
        return {"address": self.written, "role": str(self.role), "history": history}

    @override
    def __repr__(self) -> str:
        """Show the role and the line, never the address."""
        return f"RecipientLine({self.role}, line={self.line})"


@frozen
class ExtraLine:
    """A line of the envelope text that is no field of the grammar."""

    text: str = field(repr=False)
    line: int


@frozen
class EnvelopeText:
    """What the envelope text says, verbatim; `None` where it does not, or a placeholder does.

    `sent_utc` and `received_utc` are raw: the writer's culture chose their format.
    """

    sender: str | None = field(default=None, repr=False)
    on_behalf_of: str | None = field(default=None, repr=False)
    subject: str | None = field(default=None, repr=False)
    message_id: str | None = field(default=None, repr=False)
    label: str | None = field(default=None, repr=False)
    mailbox: str | None = field(default=None, repr=False)
    recipients: tuple[RecipientLine, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    sent_utc: str | None = field(default=None, repr=False)
    received_utc: str | None = field(default=None, repr=False)
    extra: tuple[ExtraLine, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")


@frozen
class Bounce:
    """The bounce that brought a report back: to whom it could not be delivered.

    `kind` is what came back; `failed` is as the delivery status says (RFC 3464).
    """

    kind: Kind | None
    failed: tuple[Address, ...] = ()


@frozen
class JournalReport:
    """A journal report, read.  Its bytes are `raw`, the record; the rest refers to them.

    Each original is a `Span` of `raw`, or bytes where it was transfer-encoded.  The first
    is the record; `decrypted_copy_index` names a clear-text copy that the server added.
    `opaque` originals are no messages as such (`.msg`, TNEF, an octet stream).
    """

    raw: bytes = field(repr=False)
    kind: Kind
    text: EnvelopeText
    originals: tuple[Original, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    defects: tuple[Defect, ...] = ()
    decrypted_copy_index: int | None = None
    opaque: bool = False
    nested: bool = False
    bounce: Bounce | None = None
    extra_parts: tuple[Span, ...] = ()
    depth: int = 1

    @property
    def sender(self) -> Address | None:
        """The `Sender:` or else `From:` of the message; not its return path."""
        return _address(self.text.sender)

    @property
    def on_behalf_of(self) -> Address | None:
        """The `From:` of the message, where somebody else sent it."""
        return _address(self.text.on_behalf_of)

    @property
    def subject(self) -> str | None:
        """The subject, with a line feed where it had a line break."""
        return self.text.subject

    @property
    def message_id(self) -> str | None:
        """The Message-ID, as it was written."""
        return self.text.message_id

    @property
    def label(self) -> str | None:
        """The retention label, of the managed-folder writer."""
        return self.text.label

    @property
    def mailbox(self) -> Address | None:
        """Whose mailbox the item was in, of the managed-folder writer."""
        return _address(self.text.mailbox)

    @property
    def sent_utc(self) -> str | None:
        """When the item was sent, raw, of the managed-folder writer; see `moment`."""
        return self.text.sent_utc

    @property
    def received_utc(self) -> str | None:
        """When it was received, likewise."""
        return self.text.received_utc

    @property
    def extra(self) -> tuple[ExtraLine, ...]:
        """Lines of the envelope text that are no field of the grammar."""
        return self.text.extra

    @property
    def recipients(self) -> tuple[RecipientLine, ...]:
        """Every recipient line, in order; never cut short."""
        return self.text.recipients

    @property
    def disposition(self) -> Disposition:
        """What may be done with the report."""
        if not self.defects:
            return Disposition.OK
        fatal = any(defect.code in _FATAL for defect in self.defects)
        return Disposition.QUARANTINE if fatal else Disposition.DEGRADED

    @property
    def defect_codes(self) -> tuple[DefectCode, ...]:
        """The codes of the defects, each once, in the order of the enumeration."""
        return tuple(sorted({defect.code for defect in self.defects}, key=_ORDER.__getitem__))

    @property
    def envelope(self) -> Envelope:
        """Who sent the message to whom; its date is the original's to say, so it is `None`."""
        text = self.text
        recipients = tuple(line.recipient for line in text.recipients)
        return Envelope(
            sender=_address(text.sender),
            on_behalf_of=_address(text.on_behalf_of),
            recipients=recipients,
            subject=text.subject,
            message_id=text.message_id,
            origin=Origin.JOURNAL,
        )

    def view(self, index: int = 0) -> memoryview:
        """Return the bytes of an original without copying them."""
        original = self.originals[index]
        if isinstance(original, Span):
            return memoryview(self.raw)[original.start : original.end]
        return memoryview(original)

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON; takes the digest of each original.

        It holds addresses and the subject, so it is not for a log.
        """
        text = self.text
        return {
            "is_journal": True,
            "kind": str(self.kind),
            "disposition": str(self.disposition),
            "sender": text.sender,
            "on_behalf_of": text.on_behalf_of,
            "subject": text.subject,
            "message_id": text.message_id,
            "label": text.label,
            "mailbox": text.mailbox,
            "sent_utc": text.sent_utc,
            "received_utc": text.received_utc,
            "recipients": [recipient.to_dict() for recipient in text.recipients],
            "originals": [Digest.of(self.view(n)).hex for n in range(len(self.originals))],
            "decrypted_copy_index": self.decrypted_copy_index,
            "nested_journal": self.nested,
            "ndr_failed_recipients": [each.spec for each in self.bounce.failed]
            if self.bounce
            else [],
            "defects": [str(code) for code in self.defect_codes],
        }


def _address(written: str | None) -> Address | None:
    return None if written is None else address_of(written)
