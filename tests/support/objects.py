"""Object vaults on servers that are running."""

from __future__ import annotations

from typing import Any

from mailarchive.testing.s3_server import S3Server
from mailarchive.vault.objects import ObjectVault


def object_vault(port: int, bucket: str, database: str, **settings: Any) -> ObjectVault:
    """Return a vault in a bucket of the server at a port; a partial of it can be pickled."""
    return ObjectVault(S3Server(port).store(bucket), database, **settings)
