"""The keys that say which application asks Microsoft's identity platform for tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailarchive._cli._secret import secret
from mailarchive.auth import CHINA, GLOBAL, US_DOD, US_GOV, Cloud
from mailarchive.auth.msal import Certificate, ClientSecret, DeviceCode, MsalTokens, TokenFile

if TYPE_CHECKING:
    from pathlib import Path

    from mailarchive._cli._toml import Table
    from mailarchive.auth.msal import Credential

_CLOUDS = {"global": GLOBAL, "us-gov": US_GOV, "us-dod": US_DOD, "china": CHINA}
_LOGINS = ("secret", "certificate", "device_code")


def cloud_of(table: Table) -> Cloud:
    """One of Microsoft's clouds by its name, or three origins of one that has none here."""
    if not isinstance(table.raw("cloud"), dict):
        return _CLOUDS[table.choice("cloud", _CLOUDS, "global")]
    inner = table.table("cloud")
    origins = [inner.get(each, str) for each in ("login", "graph", "exchange")]
    usual = (GLOBAL.login, GLOBAL.graph, GLOBAL.exchange)
    inner.done()
    return Cloud(*(given or known for given, known in zip(origins, usual, strict=True)))


def tokens_of(table: Table, here: Path, whom: dict[str, Any]) -> MsalTokens:
    """Return the tokens of the application that the table describes."""
    cache = table.get("token_cache", str)
    file = None if cache is None else TokenFile(here / cache)
    tenant, client = table.need("tenant", str), table.need("client_id", str)
    return MsalTokens(tenant, client, _credential(table, here), cache=file, **whom)


def _credential(table: Table, here: Path) -> Credential:
    given = [key for key in _LOGINS if key in table]
    if len(given) != 1:
        raise table.wrong(
            f"{' and '.join(given)} are two logins"
            if given
            else "there is no login: secret, certificate or device_code is missing",
            'write certificate = { file = "..." } or secret = { command = ["...", "..."] }',
        )
    if given == ["secret"]:
        return ClientSecret(secret(table, "secret", here))
    if given == ["certificate"]:
        passphrase = secret(table, "passphrase", here) if "passphrase" in table else None
        return Certificate(secret(table, "certificate", here, whole=True), passphrase)
    if not table.get("device_code", bool) or "token_cache" not in table:
        raise table.wrong(
            "device_code = true needs a file to stay signed in with",
            'add token_cache = "tokens.json"',
        )
    return DeviceCode(_prompt)


def _prompt(sentence: str) -> None:
    """Tell a person who is there where to sign in."""
    import sys

    print(sentence, file=sys.stderr)
