"""The values that flow through a run: frozen, comparable, hashable, picklable.

They know no clock, no file and no socket.  A repr of any of them shows no address, no
subject and no byte of a message, because reprs end up in logs.
"""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NewType, TypeAlias

from attrs import field, frozen
from attrs.validators import instance_of
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Self

UserId = NewType("UserId", str)
"""Whom the archive knows a person as; chosen by the directory, never read from a mail."""


_SHA256 = 32


def _is_digest(digest: Digest, attribute: object, value: Any) -> None:
    """Refuse anything else; many are made of each message, so this asks but once."""
    del digest, attribute
    if not isinstance(value, bytes):
        msg = "a digest is made of bytes"
        raise TypeError(msg)
    if len(value) != _SHA256:
        msg = "a SHA-256 has 32 bytes"
        raise ValueError(msg)


@frozen(repr=False, order=True)
class Digest:
    """The SHA-256 of some bytes."""

    value: bytes = field(validator=_is_digest)

    @classmethod
    def of(cls, buffer: bytes | memoryview) -> Self:
        """Return the digest of the bytes in `buffer`."""
        return cls(hashlib.sha256(buffer).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that `str` wrote; raises `ValueError` for anything else."""
        algorithm, _, digits = text.partition(":")
        if algorithm != "sha256":
            msg = "a digest is written sha256:<64 hexadecimal digits>"
            raise ValueError(msg)
        return cls(bytes.fromhex(digits))

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits alone, as `sha256sum` prints them."""
        return self.value.hex()

    @override
    def __hash__(self) -> int:
        """Return the hash of the bytes."""
        return hash(self.value)

    @override
    def __str__(self) -> str:
        """Return `sha256:` and 64 hexadecimal digits."""
        return f"sha256:{self.value.hex()}"

    @override
    def __repr__(self) -> str:
        """Show as much as a person can compare."""
        return f"Digest({self.value.hex()[:12]}...)"


class AddressKind(StrEnum):
    """What sort of address a text is."""

    SMTP = "smtp"
    X500 = "x500"
    OTHER = "other"


_ATOM = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*\Z")


_ENDS = (
    ". \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""The dot of the root, and what `str.strip` takes for white space."""
_LONGEST_LABEL = 63
_LONGEST_DOMAIN = 255


def normal_domain(domain: str) -> str:
    """Return the form in which domains are compared: in lower case, and in ASCII.

    Letters beyond ASCII are mapped as Unicode's UTS 46 says, non-transitional, so that `ß`
    is no `ss`, and each label becomes its A-label (RFC 5890): `münchen.example` and
    `xn--mnchen-3ya.example` are one domain.  Whether a label may be registered is not
    asked; what is too long to be a name keeps its letters.
    """
    domain = domain.rstrip(_ENDS).lower()
    if domain.isascii() or len(domain) > _LONGEST_DOMAIN:
        return domain
    return ".".join(map(_a_label, _mapped(domain).rstrip(_ENDS).split(".")))


def _mapped(domain: str) -> str:
    import idna  # seldom needed, and its tables are large

    try:
        return idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except idna.IDNAError:
        return domain  # a character that stands in no name is compared as it is


def _a_label(label: str) -> str:
    if label.isascii() or len(label) > _LONGEST_LABEL:
        return label
    return f"xn--{label.encode('punycode').decode('ascii')}"


def _normal_smtp(spec: str) -> str:
    local, at, domain = spec.rpartition("@")
    if not at:
        return spec.lower()
    if len(local) > 1 and local[0] == local[-1] == '"' and _ATOM.match(local[1:-1]):
        local = local[1:-1]
    return f"{local.lower()}@{normal_domain(domain)}"


def _normal_form(spec: str, kind: AddressKind) -> str:
    text = spec.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _normal_smtp(text) if kind is AddressKind.SMTP else text.lower()


def _fingerprint(text: str) -> str:
    """A short word that lets two log lines be compared and no address be read."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


@frozen(repr=False)
class Address:
    """An address as it was written; equal to another where their normal forms are equal.

    Letters are compared without case, on both sides of the `@`: no directory in the
    field tells `Bob@` from `bob@`.  A domain is compared in its ASCII form, as mail systems
    do: UTS 46, IDNA 2008 (RFC 5890).
    """

    spec: str = field(eq=False, validator=instance_of(str))
    kind: AddressKind = AddressKind.SMTP
    normal: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Derive the normal form once; every comparison uses it."""
        object.__setattr__(self, "normal", _normal_form(self.spec, self.kind))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return `text` as an address, of the kind that its shape says."""
        spec = text.strip()
        lowered = spec[:8].lower()
        if lowered.startswith(("/o=", "ex:", "x500:")):
            return cls(spec, AddressKind.X500)
        return cls(spec, AddressKind.SMTP if "@" in spec else AddressKind.OTHER)

    @property
    def domain(self) -> str:
        """The part behind the `@` in normal form; empty where there is none."""
        return self.normal.rpartition("@")[2] if "@" in self.normal else ""

    @override
    def __hash__(self) -> int:
        """Return the hash of the normal form: equal addresses share it."""
        return hash(self.normal)

    @override
    def __str__(self) -> str:
        """Return the address as it was written.  Not for a log line."""
        return self.spec

    @override
    def __repr__(self) -> str:
        """Show the kind and a fingerprint, never the address."""
        return f"Address({self.kind}, #{_fingerprint(self.normal)})"


class FolderRole(StrEnum):
    """What a folder is for, where the source says (RFC 6154)."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    JUNK = "junk"
    TRASH = "trash"
    ARCHIVE = "archive"
    ALL = "all"
    FLAGGED = "flagged"


@frozen
class Folder:
    """A folder of a source: `key` is the source's own name for it, `path` for people."""

    key: str = field(repr=lambda key: "#" + _fingerprint(key))
    path: tuple[str, ...] = field(repr=False)
    role: FolderRole | None = None

    @property
    def name(self) -> str:
        """The path in one line, parts joined by a slash."""
        return "/".join(self.path)


@frozen
class MessageRef:
    """One item in one folder of one source; `key` is opaque to all but the source.

    `key` holds the folder's epoch too (a UIDVALIDITY), so that a reused number is another
    key.  `revision` is the change key or ETag where the source has one.  `size` is in
    bytes, and an estimate with some servers.
    """

    source: str
    folder: str = field(repr=lambda key: "#" + _fingerprint(key))
    key: str
    size: int | None = field(default=None, eq=False)
    revision: str | None = None


@frozen
class Page:
    """Some items of a folder in the order to read them; `token` resumes right after."""

    folder: Folder
    refs: tuple[MessageRef, ...] = field(repr=lambda refs: f"<{len(refs)}>")
    token: str


@frozen
class SourceMessage:
    """An item and the exact bytes that the source handed over.

    `delivery` says who handed it to us, where it came by itself (SMTP).
    """

    ref: MessageRef
    raw: bytes = field(repr=False)
    received_at: datetime | None = None
    flags: frozenset[str] = frozenset()
    delivery: Delivery | None = None


@frozen
class Unavailable:
    """The source could not hand this item over now, or (`permanent`) ever."""

    ref: MessageRef
    reason: str
    permanent: bool = False


@frozen
class Vanished:
    """The item is gone from the source.  Both what a source says and an outcome."""

    ref: MessageRef


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
        return tuple(a for a in (self.sender, self.on_behalf_of) if a is not None)

    @property
    def participants(self) -> frozenset[Address]:
        """Everybody who sent or received; whom it was redirected *from* is no participant."""
        return frozenset(self.senders) | {each.address for each in self.recipients}


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


@frozen
class User:
    """A person in the directory, with every address that is theirs."""

    id: UserId
    name: str = field(default="", repr=False)
    addresses: tuple[Address, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")


@frozen
class Owner:
    """A user who may see a message, and the addresses in it that made them one."""

    user: UserId
    addresses: frozenset[Address] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")


def _by_user(owners: Iterable[Owner]) -> tuple[Owner, ...]:
    return tuple(sorted(owners, key=lambda owner: owner.user))


@frozen
class Ownership:
    """Whose a message is, and the addresses that nobody knew."""

    owners: tuple[Owner, ...] = field(default=(), converter=_by_user)
    unresolved: frozenset[Address] = field(default=frozenset(), repr=lambda them: f"<{len(them)}>")

    @property
    def users(self) -> frozenset[UserId]:
        """Every user who may see the message."""
        return frozenset(owner.user for owner in self.owners)


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


class Fidelity(StrEnum):
    """Whether a source stores the bytes that it hands over, or makes them on request."""

    WIRE = "wire"
    RENDERED = "rendered"


@frozen
class Provenance:
    """Where an entry's bytes come from and what was noticed while reading them."""

    fidelity: Fidelity
    is_report: bool = False
    defects: tuple[str, ...] = ()
    delivery: Delivery | None = None


@frozen
class Copy:
    """Which copy at which source this is; made by the core, never by a sink."""

    source: str
    folder: str = field(repr=lambda key: "#" + _fingerprint(key))
    key: str
    revision: str | None = None

    @classmethod
    def of(cls, ref: MessageRef) -> Self:
        """Return the copy that `ref` points at."""
        return cls(ref.source, ref.folder, ref.key, ref.revision)

    @property
    def digest(self) -> Digest:
        """A name for this copy that is safe anywhere; no two copies share it."""
        return Digest.of(_length_prefixed([b"mailarchive/1", *self._parts()]))

    def _parts(self) -> Iterable[bytes]:
        for name in (self.source, self.folder, self.key, self.revision or ""):
            yield name.encode("utf-8", "surrogatepass")


def _length_prefixed(parts: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)


def entry_id(copy: Copy, raw_digest: Digest, fidelity: Fidelity) -> Digest:
    """Return the identity of an entry; a Message-ID is no part of it.

    `WIRE` bytes are part of the identity: other bytes of one item are another entry.
    `RENDERED` bytes are not, since two fetches of one unchanged item may differ.
    """
    if fidelity is Fidelity.RENDERED:
        return copy.digest
    return Digest.of(_length_prefixed([copy.digest.value, raw_digest.value]))


@frozen(eq=False)
class Digested:
    """Bytes and the digest that was taken of them; nothing else can be said by it."""

    raw: bytes = field(repr=False)
    digest: Digest = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Take the digest."""
        object.__setattr__(self, "digest", Digest.of(self.raw))


@frozen
class ArchiveEntry:
    """A message on its way into an archive, with everything that is known about it.

    `raw` is the record.  `fork_key` is equal for forks of one message (several journal
    reports of it, or its copies in several mailboxes), so that a view can show them once;
    it is no identity, and nothing is ever dropped for its sake.  `digested`, where it is
    given, spares a sink that trusts nobody to take the digest once more.
    """

    id: Digest
    raw: bytes = field(repr=False)
    raw_digest: Digest
    originals: tuple[Original, ...] = field(repr=False)
    envelope: Envelope
    ownership: Ownership
    copy: Copy
    folder: Folder
    fork_key: Digest
    received_at: datetime | None = None
    flags: frozenset[str] = frozenset()
    provenance: Provenance = Provenance(Fidelity.WIRE)
    digested: Digested | None = field(default=None, repr=False, eq=False)

    def has_its_digest(self) -> bool:
        """Whether `raw_digest` is that of `raw`."""
        known = self.digested
        if known is not None and known.raw is self.raw:
            return known.digest == self.raw_digest
        return Digest.of(self.raw) == self.raw_digest

    @property
    def content(self) -> bytes:
        """The message that people read: the first original, else the raw bytes."""
        if not self.originals:
            return self.raw
        first = self.originals[0]
        return first.of(self.raw) if isinstance(first, Span) else first


class Stored(StrEnum):
    """Whether a put stored something, or found it there already."""

    STORED = "stored"
    PRESENT = "present"


class Durability(IntEnum):
    """What a stored message survives; a larger number survives more."""

    BUFFERED = 0
    """Nothing: the process may not even have written it."""
    PROCESS = 5
    """The end of the process, but no loss of power."""
    MEDIA = 10
    """Loss of power: the bytes are on the medium."""
    REPLICATED = 20
    """Loss of the machine."""


@frozen
class Receipt:
    """A sink's word that it has an entry: what, where, and what it survives.

    `stored_digest` is of the raw bytes that the sink will give back.  `verified` says
    that the sink has read them back from where they are stored, and compared.
    """

    sink: str
    entry_id: Digest
    stored_digest: Digest
    location: str
    outcome: Stored = Stored.STORED
    durability: Durability = Durability.BUFFERED
    verified: bool = False

    @classmethod
    def for_entry(
        cls,
        entry: ArchiveEntry,
        *,
        sink: str,
        location: str,
        outcome: Stored = Stored.STORED,
        durability: Durability = Durability.BUFFERED,
        verified: bool = False,
    ) -> Self:
        """Return the receipt for an entry whose raw bytes were stored as they are."""
        return cls(sink, entry.id, entry.raw_digest, location, outcome, durability, verified)


@frozen
class Rejected:
    """The sink will not take this one entry, now or later; others may go on."""

    entry_id: Digest
    reason: str


@frozen
class Archived:
    """In the archive, with its receipt."""

    ref: MessageRef
    receipt: Receipt


@frozen
class Quarantined:
    """Kept whole and apart, for the reason given."""

    ref: MessageRef
    receipt: Receipt
    reason: str


@frozen
class Skipped:
    """Left out on purpose."""

    ref: MessageRef
    why: str


@frozen
class Failed:
    """Not archived; waits on the checkpoint's retry list."""

    ref: MessageRef
    reason: str


Outcome: TypeAlias = Archived | Quarantined | Skipped | Vanished | Failed
"""What became of one listed message."""


@frozen
class Removed:
    """Removed at the source."""

    ref: MessageRef


@frozen
class Kept:
    """Still at the source, because of `why`: flagged, changed, not allowed."""

    ref: MessageRef
    why: str


RemovalResult: TypeAlias = Removed | Kept | Vanished
"""What became of one removal at the source."""


@frozen
class Retry:
    """A message to fetch again, from `not_before` on."""

    ref: MessageRef
    reason: str
    attempts: int
    not_before: datetime


@frozen
class Checkpoint:
    """How far a folder is done, and what is still owed.

    Every message up to `token` is archived, quarantined, skipped, vanished or on `retry`.
    `removing` are removals that were decided and not yet confirmed.  `token` is `None`
    until the first page is done.
    """

    source: str
    folder: str = field(repr=lambda key: "#" + _fingerprint(key))
    token: str | None = None
    removing: tuple[Archived, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")
    retry: tuple[Retry, ...] = field(default=(), repr=lambda them: f"<{len(them)}>")


@frozen
class SourceCapabilities:
    """What a source can do, decided when it is open, since a server decides it."""

    fidelity: Fidelity = Fidelity.WIRE
    removes: bool = False


@frozen
class CoverageGap:
    """Mail that is, or may be, in a mailbox and cannot be reached in this way.

    `code` is a stable word for programs; `message` says what, `count` how many items where
    that is known, and `suggestions` how they can be had.  No word of a mail is in it.
    """

    code: str
    message: str
    suggestions: tuple[str, ...] = ()
    count: int | None = None


@frozen
class SinkCapabilities:
    """What a sink promises of every receipt it gives."""

    reads: bool = False
    durability: Durability = Durability.BUFFERED
    concurrent_puts: bool = False
