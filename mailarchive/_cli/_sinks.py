"""`[sink]`: an archive other than the vault, or beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailarchive._cli._secret import secret
from mailarchive.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from mailarchive._cli._toml import Table
    from mailarchive.abc import Sink

KINDS = ("eml", "maildir", "mbox", "lmtp", "objects")


def sink(table: Table, here: Path) -> Callable[[], Sink]:
    """Return what makes the sink that the table describes, with paths relative to `here`.

    Everything is checked now; a secret is read, and a server's client is made, when the
    sink is.
    """
    kind = table.choice("kind", KINDS, "")
    if kind == "lmtp":
        return _lmtp(table, here)
    if kind == "objects":
        return _objects(table, here)
    path = here / table.need("path", str)
    return lambda: _files(kind, path)


def _files(kind: str, path: Path) -> Sink:
    from mailarchive.sinks.files import EmlTree, MaildirTree, MboxFile

    makers: dict[str, Callable[[Path], Sink]] = {
        "eml": EmlTree,
        "maildir": MaildirTree,
        "mbox": MboxFile,
    }
    return makers[kind](path)


def _lmtp(table: Table, here: Path) -> Callable[[], Sink]:
    host, port = table.need("host", str), table.get("port", int)
    recipients = table.texts("recipients")
    if not recipients:
        raise table.wrong("recipients is missing", 'add recipients = ["archive@example.com"]')
    ledger = here / table.need("ledger", str)
    sender = table.get("sender", str, empty=True) or ""
    starttls, ca_file = bool(table.get("starttls", bool)), table.get("ca_file", str)

    def make() -> Sink:
        from mailarchive.sinks.lmtp import LmtpSink

        return LmtpSink(
            host,
            24 if port is None else port,
            recipients=recipients,
            ledger=ledger,
            sender=sender,
            tls=_tls(None if ca_file is None else here / ca_file) if starttls else None,
        )

    return make


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"ca_file of [sink] cannot be read: {type(error).__name__}",
            suggestions=["name a PEM file with the authority that signed the certificate"],
        ) from None


def _objects(table: Table, here: Path) -> Callable[[], Sink]:
    bucket, database = table.need("bucket", str), secret(table, "database", here, whole=True)
    key = secret(table, "secret_key", here)
    options = {
        "access_key_id": table.need("access_key", str),
        "region": table.get("region", str) or "us-east-1",
        "checksum_algorithm": "SHA256",
    }
    endpoint = table.get("endpoint", str)
    if endpoint is not None:
        options["endpoint"] = endpoint
    plain = bool(table.get("allow_plaintext", bool))
    prefix, locked = table.get("prefix", str, empty=True) or "", bool(table.get("locked", bool))

    def make() -> Sink:
        from mailarchive.vault.objects import ObjectVault, S3Store

        store = S3Store(
            bucket,
            secret_access_key=key(),
            client_options={"allow_http": plain},
            **options,  # type: ignore[arg-type]  # its keywords are those of a typed dictionary
        )
        return ObjectVault(store, database(), prefix=prefix, locked=locked)

    return make
