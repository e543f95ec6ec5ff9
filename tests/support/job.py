"""A job on disk for the real command: a folder with a TOML file, users and a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import journal

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive.testing.dovecot import Dovecot

PORTS = {"ssl": "imaps_port", "starttls": "imap_port", "plain": "imap_port"}


def write(
    folder: Path,
    server: Dovecot,
    mailbox: str,
    *,
    security: str = "ssl",
    remove: bool = False,
    **source: object,
) -> Path:
    """Write `archive.toml` and what it names into the folder; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.csv").write_text(journal.CSV)
    (folder / "secret").write_text(f"{server.password}\n")
    settings: dict[str, object] = {
        "host": server.host,
        "port": getattr(server, PORTS[security]),
        "security": security,
        "user": mailbox,
        **source,
    }
    if security == "plain":
        settings.setdefault("allow_plaintext", True)
    else:
        settings.setdefault("ca_file", str(server.ca_file))
    file = folder / "archive.toml"
    lines = [f"{key} = {_written(value)}" for key, value in settings.items()]
    file.write_text(
        "[source]\n"
        + "\n".join(lines)
        + '\npassword = { file = "secret" }\n'
        + '[users]\ncsv = "users.csv"\n[vault]\npath = "acme.vault"\nencryption = "none"\n'
        + f'[removal]\nwhen = "{"archived" if remove else "never"}"\n'
    )
    return file


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
