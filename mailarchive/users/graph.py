"""The users and mailboxes of an organisation in Microsoft's directory, over Graph.

The permission is User.Read.All (application).  With MailboxSettings.Read as well it can be
told which of the accounts that nobody logs in to are shared mailboxes, rooms and equipment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from mailarchive import _web
from mailarchive._graph.errors import Damaged, Kind, Refused, explained
from mailarchive._graph.limits import GraphLimits
from mailarchive._graph.wire import Place, Wire, items
from mailarchive._model import Address, AddressKind, User, UserId
from mailarchive.auth import GLOBAL, Cloud
from mailarchive.errors import DirectoryError, SourceError
from mailarchive.users._addresses import canonical
from mailarchive.users.mailboxes import Mailbox, MailboxKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

    from mailarchive.auth import TokenProvider

__all__ = ["GraphDirectory"]

_SELECT: Final = (
    "id,userPrincipalName,mail,displayName,proxyAddresses,accountEnabled,userType,assignedPlans"
)
_AT_ONCE: Final = 999
"""Graph lists fewer than a thousand users at a time."""
_PURPOSES: Final = {
    "user": MailboxKind.USER,
    "linked": MailboxKind.USER,
    "shared": MailboxKind.SHARED,
    "room": MailboxKind.ROOM,
    "equipment": MailboxKind.EQUIPMENT,
}
_MAIL: Final = ("smtp", "x500")


def _now() -> datetime:
    return datetime.now(UTC)


class GraphDirectory:
    """Everybody in a tenant: a `Directory`, and what `plan` wants to know of each mailbox.

    A user's id is the object id, which stays when the person marries; the principal name
    does not, and may be given to somebody else.  The directory is read anew each time.
    """

    def __init__(
        self,
        tokens: TokenProvider,
        *,
        cloud: Cloud = GLOBAL,
        ca_file: str | PathLike[str] | None = None,
        proxy: str | None = None,
        limits: GraphLimits | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take who may ask; nothing is connected yet."""
        limits = limits or GraphLimits()
        web = _web.Web(
            ca_file=ca_file,
            proxy=proxy,
            connect_timeout=limits.connect_timeout,
            read_timeout=limits.read_timeout,
            slowest_octets=limits.slowest_octets,
        )
        place = Place("graph-directory")
        self._wire = Wire(place, cloud, tokens, limits, web, clock=clock, sleep=sleep)
        self._purposes_allowed = True

    @override
    def __repr__(self) -> str:
        """Show that there is one."""
        return "GraphDirectory(...)"

    def users(self) -> tuple[User, ...]:
        """Return everybody who has an address here, guests aside; raises `DirectoryError`."""
        found = []
        for told in self._listed():
            addresses = _addresses(told)
            if addresses and not _is_guest(told):
                found.append(
                    User(UserId(told["id"]), str(told.get("displayName") or ""), addresses)
                )
        return tuple(found)

    def mailboxes(self) -> tuple[Mailbox, ...]:
        """Return every account with what it is; raises `DirectoryError`."""
        self._purposes_allowed = True
        return tuple(self._mailbox(told) for told in self._listed())

    def _listed(self) -> list[dict[str, Any]]:
        try:
            return list(self._pages())
        except SourceError as error:
            raise DirectoryError(str(error), suggestions=error.suggestions) from error

    def _pages(self) -> Iterator[dict[str, Any]]:
        rest = f"users?$select={_SELECT}&$top={_AT_ONCE}"
        while rest:
            told = self._wire.told(rest, "listing the users")
            yield from items(self._wire, told)
            following = told.get("@odata.nextLink")
            rest = "" if following is None else self._wire.link(following)

    def _mailbox(self, told: dict[str, Any]) -> Mailbox:
        mine = [each for each in _addresses(told) if each.kind is AddressKind.SMTP]
        primary = mine[0] if mine else None
        return Mailbox(told["id"], primary, self._kind(told, primary), tuple(mine[1:]))

    def _kind(self, told: dict[str, Any], primary: Address | None) -> MailboxKind:
        """What an account is; the mailbox is asked only where the directory cannot tell."""
        if _is_guest(told):
            return MailboxKind.GUEST
        enabled, licensed = told.get("accountEnabled") is not False, _is_licensed(told)
        if enabled and licensed:
            return MailboxKind.USER
        if primary is None:
            return MailboxKind.UNLICENSED
        otherwise = MailboxKind.UNLICENSED if enabled else MailboxKind.DISABLED
        purpose = self._purpose(told["id"], otherwise)
        if purpose is MailboxKind.USER and not enabled:
            return MailboxKind.DISABLED
        return purpose

    def _purpose(self, key: str, otherwise: MailboxKind) -> MailboxKind:
        if not self._purposes_allowed:
            return otherwise
        try:
            told = self._wire.get(f"users/{key}/mailboxSettings?$select=userPurpose")
        except Refused as error:
            if error.kind is Kind.NO_MAILBOX:
                return MailboxKind.UNLICENSED
            self._purposes_allowed = error.kind is not Kind.DENIED
            if error.kind in {Kind.DENIED, Kind.GONE, Kind.ODD}:
                return otherwise
            failed = explained(self._wire.place, "asking what a mailbox is for", error)
            raise DirectoryError(str(failed), suggestions=failed.suggestions) from None
        except Damaged:
            return otherwise
        except SourceError as error:
            raise DirectoryError(str(error), suggestions=error.suggestions) from error
        return _PURPOSES.get(str(told.get("userPurpose")).lower(), otherwise)


def _is_guest(told: dict[str, Any]) -> bool:
    return str(told.get("userType")).lower() == "guest"


def _is_licensed(told: dict[str, Any]) -> bool:
    plans = told.get("assignedPlans")
    return isinstance(plans, list) and any(
        isinstance(each, dict)
        and str(each.get("service")).lower() == "exchange"
        and str(each.get("capabilityStatus")).lower() in {"enabled", "warning"}
        for each in plans
    )


def _addresses(told: dict[str, Any]) -> tuple[Address, ...]:
    """Return every address that mail can reach, the primary one first.

    In `proxyAddresses` that is the one with `SMTP:` in capitals; others, such as `SIP:`,
    are none of mail's.  A principal name looks like an address and need not be one.
    """
    proxies = told.get("proxyAddresses")
    listed = (
        [each for each in proxies if isinstance(each, str)] if isinstance(proxies, list) else []
    )
    primary = [each for each in listed if each.startswith("SMTP:")]
    mail = told.get("mail")
    named = [*primary, *([mail] if isinstance(mail, str) and "@" in mail else []), *listed]
    found = (canonical(Address.parse(each)) for each in named if _is_mail(each))
    return tuple(dict.fromkeys(found))


def _is_mail(text: str) -> bool:
    prefix, colon, _ = text.partition(":")
    return prefix.lower() in _MAIL if colon and "@" not in prefix else "@" in text
