"""Several reports of one message: each names the recipients of its own fork only.

Exchange writes a report for each fork by design (many recipients, internal and external
ones, every hop of a hybrid organisation).  The union over all of them is who received the
message.  Nothing is ever dropped for being a duplicate: a fact keeps every report and
line that says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from attrs import field, frozen

from mailarchive._model import Address, Envelope, Origin, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from mailarchive._model import Recipient
    from mailarchive.journal._report import JournalReport, RecipientLine

    K = TypeVar("K", bound=Hashable)

_SUREST: Final = (Role.TO, Role.CC, Role.BCC, Role.RECIPIENT, Role.UNKNOWN)
"""`Recipient` says less than any of the first three."""


@frozen
class RecipientFacts:
    """All that some reports say of one address: (number of the report, line) for each fact."""

    address: Address
    facts: tuple[tuple[int, RecipientLine], ...] = field(repr=lambda them: f"<{len(them)}>")

    @property
    def roles(self) -> frozenset[Role]:
        """Every role that the address was given."""
        return frozenset(line.role for _, line in self.facts)

    @property
    def role(self) -> Role:
        """The surest of the roles, for a view that has room for one."""
        return min(self.roles, key=_SUREST.index)


def fold(reports: Sequence[JournalReport]) -> tuple[RecipientFacts, ...]:
    """Return each address once, in the order of first appearance, with all of its facts.

    The facts of all addresses together are the recipient lines of all reports, each once.
    """
    found: dict[Address, list[tuple[int, RecipientLine]]] = {}
    for number, report in enumerate(reports):
        for line in report.recipients:
            found.setdefault(line.address, []).append((number, line))
    return tuple(RecipientFacts(address, tuple(facts)) for address, facts in found.items())


def union(reports: Sequence[JournalReport]) -> Envelope:
    """Return one envelope with every recipient that any of the reports names.

    Each different recipient (address, role, history) is there once.  The order of the
    reports decides the order of the recipients and, where they disagree, which sender,
    subject and Message-ID stand for all; it decides nothing else.
    """
    recipients: dict[Recipient, None] = {}
    for report in reports:
        recipients.update(dict.fromkeys(line.recipient for line in report.recipients))
    return Envelope(
        sender=_first(report.sender for report in reports),
        on_behalf_of=_first(report.on_behalf_of for report in reports),
        recipients=tuple(recipients),
        subject=_first(report.subject for report in reports),
        message_id=_first(report.message_id for report in reports),
        origin=Origin.JOURNAL,
    )


T = TypeVar("T")


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def group(
    reports: Iterable[JournalReport], key: Callable[[JournalReport], K]
) -> dict[K, tuple[JournalReport, ...]]:
    """Return the reports by key, each in exactly one group, in the order they came.

    `key` says which reports are forks of one message.  `headers.fork_key` of the first
    original is made for it: the bytes of forks differ in transport headers, so neither
    their digest nor the Message-ID alone will do.
    """
    groups: dict[K, list[JournalReport]] = {}
    for report in reports:
        groups.setdefault(key(report), []).append(report)
    return {each: tuple(members) for each, members in groups.items()}
