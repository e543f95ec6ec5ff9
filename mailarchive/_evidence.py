"""A delivery as JSON: one form for the archive and for the quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailarchive._model import Address, Delivery, Envelope, Origin, Recipient, Role

if TYPE_CHECKING:
    from collections.abc import Mapping


def dump(delivery: Delivery | None) -> dict[str, Any] | None:
    """Return the delivery as a tree for JSON; what is empty is left out."""
    if delivery is None:
        return None
    envelope = delivery.envelope
    tree = {
        "from": None if envelope.sender is None else envelope.sender.spec,
        "to": [each.address.spec for each in envelope.recipients],
        "client": delivery.client,
        "greeting": delivery.greeting,
        "protection": delivery.protection,
        "login": delivery.login,
    }
    return {name: value for name, value in tree.items() if value}


def load(tree: Mapping[str, Any] | None) -> Delivery | None:
    """Return what `dump` wrote; raises `KeyError`, `TypeError`, `AttributeError`."""
    if tree is None:
        return None
    sender = tree.get("from")
    return Delivery(
        Envelope(
            sender=None if sender is None else Address.parse(sender),
            recipients=tuple(
                Recipient(Address.parse(each), Role.RECIPIENT) for each in tree.get("to", ())
            ),
            origin=Origin.SMTP,
        ),
        str(tree["client"]),
        str(tree.get("greeting", "")),
        tree.get("protection"),
        tree.get("login"),
    )
