"""Microsoft's clouds: where each logs in, and where its mail is.

The hosts are those of Microsoft's pages on national clouds: "Microsoft Graph deployments",
"Azure AD authentication endpoints" and "Exchange Online endpoints".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    from attrs import Attribute

_ORIGIN = re.compile(r"https://[A-Za-z0-9.\[\]:-]{1,255}\Z|http://127\.0\.0\.1:\d{1,5}\Z")
"""Clear text never leaves the machine: it is for a server in a test."""


def _origin(instance: object, attribute: Attribute[str], value: str) -> None:
    del instance
    if not _ORIGIN.match(value):
        raise ConfigurationError(
            f"{attribute.name} of a cloud is no https://host",
            suggestions=[f"write {attribute.name} as https:// and a host name, without a path"],
        )


@frozen
class Cloud:
    """Three origins, each `https://` and a host: who gives tokens, and who takes them."""

    login: str = field(validator=_origin)
    """Who gives tokens."""
    graph: str = field(validator=_origin)
    """Microsoft Graph."""
    exchange: str = field(validator=_origin)
    """Exchange Online, over EWS and IMAP."""

    @property
    def graph_scope(self) -> str:
        """The scope of a token for Graph: whatever was granted to the application."""
        return f"{self.graph}/.default"

    @property
    def exchange_scope(self) -> str:
        """The scope of a token for EWS and IMAP."""
        return f"{self.exchange}/.default"


GLOBAL = Cloud(
    "https://login.microsoftonline.com",
    "https://graph.microsoft.com",
    "https://outlook.office365.com",
)
"""Everybody's, the GCC of the United States included."""

US_GOV = Cloud(
    "https://login.microsoftonline.us",
    "https://graph.microsoft.us",
    "https://outlook.office365.us",
)
"""The United States' government, L4 (GCC High)."""

US_DOD = Cloud(
    "https://login.microsoftonline.us",
    "https://dod-graph.microsoft.us",
    "https://outlook-dod.office365.us",
)
"""The United States' department of defense, L5."""

CHINA = Cloud(
    "https://login.chinacloudapi.cn",
    "https://microsoftgraph.chinacloudapi.cn",
    "https://partner.outlook.cn",
)
"""China, run by 21Vianet."""
