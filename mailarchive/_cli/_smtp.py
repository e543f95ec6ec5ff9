"""`[source] kind = "smtp"`: a receiver, which `mailarchive receive` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._cli._limits import limits
from mailarchive._cli._secret import secret
from mailarchive.sources.smtp import Security, SmtpIntake, SmtpLimits

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive._cli._toml import Table


def smtp(table: Table, here: Path) -> SmtpIntake:
    """Return the intake that the table describes, with paths relative to `here`."""
    certificate, key = table.get("certificate", str), table.get("key", str)
    words = secret(table, "addresses", here, whole=True)().split()
    return SmtpIntake(
        words,
        host=table.get("host", str) or "127.0.0.1",
        port=25 if (port := table.get("port", int)) is None else port,
        security=table.choice("security", [each.value for each in Security], "starttls"),
        allow_plaintext=bool(table.get("allow_plaintext", bool)),
        certificate=None if certificate is None else here / certificate,
        key=None if key is None else here / key,
        networks=table.texts("networks") or (),
        logins=_logins(table.table("logins"), here),
        hostname=table.get("hostname", str),
        mailbox=table.get("mailbox", str),
        name=table.get("name", str) or "smtp",
        limits=limits(table, SmtpLimits),
    )


def _logins(table: Table, here: Path) -> dict[str, str]:
    return {name: secret(table, name, here, within="logins")() for name in table.names()}
