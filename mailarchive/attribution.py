"""Which addresses of an envelope make an owner, and whose a message is.  Pure.

An `Attribution` picks addresses; the `UserMap` turns them into users; `own` puts the two
together.  What happens to a message that nobody owns is the caller's choice, one of the
`Unknown` values; a message is never dropped for want of an owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from attrs import field, frozen
from attrs.validators import min_len

from mailarchive._model import Owner, Ownership, normal_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailarchive._model import Address, Envelope, UserId


class Attribution(Protocol):
    """Picks the addresses whose users own a message."""

    def __call__(self, envelope: Envelope, mailbox: Address | None, /) -> frozenset[Address]:
        """Return the addresses; `mailbox` is that of the source, where it has one."""
        ...


def all_participants(envelope: Envelope, mailbox: Address | None = None, /) -> frozenset[Address]:
    """Everybody who sent or received the message owns it; the choice for a journal.

    Whom a message was forwarded *from* did not receive it, and is no participant.
    """
    del mailbox
    return envelope.participants


def recipients_only(envelope: Envelope, mailbox: Address | None = None, /) -> frozenset[Address]:
    """Everybody who received the message owns it; who sent it does not."""
    del mailbox
    return frozenset(recipient.address for recipient in envelope.recipients)


def mailbox_owner(envelope: Envelope, mailbox: Address | None = None, /) -> frozenset[Address]:
    """Whoever has the mailbox owns what is in it; the choice for a person's mailbox.

    The envelope of such mail is only what its headers say, and anybody can write those.
    """
    del envelope
    return frozenset() if mailbox is None else frozenset({mailbox})


@frozen
class KeepUnowned:
    """A message that nobody owns is archived, and only an auditor sees it."""


@frozen
class CatchAll:
    """A message that nobody owns goes to one user."""

    user: UserId = field(repr=False)


@frozen
class HoldUnowned:
    """A message that nobody owns goes to the quarantine."""


def _normal(domains: frozenset[str]) -> frozenset[str]:
    return frozenset(map(normal_domain, domains))


@frozen
class CreateUsers:
    """An unknown address in one of the own `domains` becomes a user, made by `create`.

    `create` is called once for an address and run, and must make the user durable.
    """

    create: Callable[[Address], UserId] = field(repr=False)
    domains: frozenset[str] = field(converter=_normal, validator=min_len(1))


Unknown: TypeAlias = KeepUnowned | CatchAll | HoldUnowned | CreateUsers
"""What to do where an address, or a whole message, belongs to nobody known."""


def own(
    addresses: frozenset[Address],
    users: Mapping[Address, frozenset[UserId]],
    named: frozenset[Address] = frozenset(),
) -> Ownership:
    """Return who owns a message with these addresses, and which of them nobody knew.

    What else the message has `named` makes nobody an owner; where it is another address of
    one, it is said to be theirs, so that what they sent or received by it is theirs too.
    """
    owned: dict[UserId, set[Address]] = {}
    for address in addresses:
        for user in users.get(address, ()):
            owned.setdefault(user, set()).add(address)
    for address in named - addresses:
        for user in users.get(address, ()):
            if user in owned:
                owned[user].add(address)
    unresolved = frozenset(address for address in addresses if not users.get(address))
    owners = [Owner(user, frozenset(his)) for user, his in owned.items()]
    return Ownership(owners, unresolved)
