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
        networks=_networks(table),
        logins=_logins(table, here),
        hostname=table.get("hostname", str),
        mailbox=table.get("mailbox", str),
        name=table.get("name", str) or "smtp",
        limits=limits(table, SmtpLimits),
    )


def _networks(table: Table) -> tuple[str, ...]:
    """Return the networks that may connect; a list of none must not let everybody in."""
    networks = table.texts("networks")
    if networks is not None and not networks:
        raise table.wrong(
            "networks is empty, which lets nobody connect",
            "name the networks, or leave networks out to let all connect",
        )
    return networks or ()


def _logins(table: Table, here: Path) -> dict[str, str]:
    """Return the passwords by name; a table of none must not let everybody send."""
    inner = table.table("logins")
    if "logins" in table and not inner:
        raise table.wrong(
            "[source.logins] is empty, which lets nobody log in",
            "name who may, or take it out where no login is needed",
        )
    return {name: secret(inner, name, here, within="logins")() for name in inner.names()}
