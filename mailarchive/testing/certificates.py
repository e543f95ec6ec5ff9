"""Certificates that signed themselves, for servers on loopback.

Made by `openssl`, which every Debian has.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["self_signed"]


def self_signed(folder: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Make `cert.pem` and `key.pem` in the folder, and return their paths.

    Names are written as in a certificate, `IP:127.0.0.1` or `DNS:mail.example.com`; it is
    its own authority, good for two days.
    """
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=mailarchive-test", "-addext", f"subjectAltName={','.join(names)}"]
    out = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *subject, *out], check=True, capture_output=True)
    return certificate, key
