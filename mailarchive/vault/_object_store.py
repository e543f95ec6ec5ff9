"""Objects that are written once, in any store that obstore reaches."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPException
from typing import TYPE_CHECKING, Final

from mailarchive._model import Durability
from mailarchive._paced import Pace, handlers
from mailarchive.errors import (
    ConfigurationError,
    SinkCorrupt,
    SinkError,
    SinkNotWritable,
    SinkUnavailable,
    Unsupported,
)

try:
    import obstore
    from obstore import exceptions
    from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
except ImportError as error:  # pragma: no cover - there is no test without it
    raise ImportError("obstore is missing: pip install 'mailarchive[objects]'") from error
from mailarchive.vault._header import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import GetResult
    from obstore.store import ObjectStore

__all__ = ["Objects", "Reading", "S3Store", "durability_of", "missing"]

_PROBE: Final = "probe"
_PIECE: Final = 1 << 20
"""Bytes of an object that are in memory at a time, where it is read from end to end."""
_LOOK_SECONDS: Final = 30
_LOOK: Final = Pace(_LOOK_SECONDS, octets=1 << 20)
_REFUSALS: Final = range(400, 500)
_LATER: Final = frozenset({408, 429})
"""What a server answers that is busy: that says nothing of a lock."""


def durability_of(store: ObjectStore) -> Durability:
    """Return what an object survives in a store of this kind, and no more than is known."""
    if isinstance(store, (S3Store, AzureStore, GCSStore)):
        return Durability.MEDIA
    if isinstance(store, LocalStore):
        return Durability.PROCESS  # it is written and linked, and never synced
    return Durability.BUFFERED


class Reading:
    """An object on its way, read once and in pieces; `size` is what the store gives of it."""

    def __init__(self, found: GetResult) -> None:
        """Take the store's answer, of whose content nothing has been read."""
        self.size: int = found.meta["size"]
        self._stream = iter(found.stream(min_chunk_size=_PIECE))
        self._rest = memoryview(b"")

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield the next `size` bytes, fewer where the object ends before."""
        while size:
            if not self._rest:
                with _errors("reading an object"):
                    self._rest = memoryview(next(self._stream, b""))
            piece, self._rest = self._rest[:size], self._rest[size:]
            if not piece:
                return
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer where the object ends before."""
        return b"".join(self.pieces(size))

    def is_equal(self, data: bytes) -> bool:
        """Whether the object is these bytes, and nothing behind them."""
        if self.size != len(data):
            return False
        at = 0
        for piece in self.pieces(len(data) + 1):
            if bytes(piece) != data[at : at + len(piece)]:
                return False
            at += len(piece)
        return at == len(data)


class Objects:
    """What a vault needs of a store: to create, never to replace; to read; to list."""

    def __init__(self, store: ObjectStore, prefix: str, *, locked: bool = False) -> None:
        """Use the objects whose names begin with `prefix`; the store must keep them `locked`."""
        self.locked = locked
        self._store = store
        self._prefix = _folder(prefix)

    def create(self, name: str, data: bytes) -> bool:
        """Create an object, whole or not at all; `False` where there was one already.

        The answer to a request that was repeated may be `False` though the first one made
        it: whoever asks has to compare.
        """
        with _errors("storing an object"):
            try:
                obstore.put(self._store, self._prefix + name, data, mode="create")
            except exceptions.AlreadyExistsError:
                return False
        return True

    def get(self, name: str) -> bytes | None:
        """Return an object, of a large one the beginning alone; `None` where there is none."""
        with _errors("reading an object"):
            try:
                return Reading(obstore.get(self._store, self._prefix + name)).read(LARGEST)
            except (exceptions.NotFoundError, FileNotFoundError):
                return None

    def reading(self, name: str) -> Reading | None:
        """Return an object that is too large to be held whole, or `None` where there is none."""
        with _errors("reading an object"):
            try:
                return Reading(obstore.get(self._store, self._prefix + name))
            except (exceptions.NotFoundError, FileNotFoundError):
                return None

    def size(self, name: str) -> int | None:
        """Return how large the store says an object is; `None` where there is none."""
        with _errors("looking at an object"):
            try:
                return int(obstore.head(self._store, self._prefix + name)["size"])
            except (exceptions.NotFoundError, FileNotFoundError):
                return None

    def listed(self, name: str) -> int | None:
        """Return how large an object is in a listing that begins at it; `None` for none."""
        whole, folder = self._prefix + name, (self._prefix + name).rpartition("/")[0]
        with _errors("listing objects"):
            for some in obstore.list(self._store, prefix=folder, offset=whole[:-1]):
                for each in some:
                    if each["path"] == whole:
                        return int(each["size"])
        return None

    def part(self, name: str, start: int, size: int) -> memoryview | None:
        """Return bytes of an object, fewer at its end; `None` where there is no object."""
        with _errors("reading an object"):
            try:
                found = obstore.get_range(
                    self._store, self._prefix + name, start=start, length=size
                )
            except (exceptions.NotFoundError, FileNotFoundError):
                return None
            except exceptions.GenericError:
                if obstore.head(self._store, self._prefix + name)["size"] >= start + size:
                    raise
                return memoryview(b"")  # it has become shorter than it was
        return memoryview(found)

    def names(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield the objects of a folder by their names in it, each with its size."""
        start = f"{self._prefix}{folder}/"
        with _errors("listing objects"):
            for some in obstore.list(self._store, prefix=start.rstrip("/")):
                for each in some:
                    yield each["path"].removeprefix(start), each["size"]

    def probe(self) -> None:
        """Refuse a store that would replace what is there, or check no upload.

        Writes one small object and tries to replace it: the same one each time, but a new
        one where objects must be locked, since an old one tells nothing of what the bucket
        does now.  Raises `Unsupported`.
        """
        _check_upload(self._store)
        if self.locked and not isinstance(self._store, S3Store):
            raise _without_lock()
        name = f"{_PROBE}s/{secrets.token_hex(8)}" if self.locked else _PROBE
        self.create(name, b"first")
        again = self.create(name, b"second")
        if again or self.get(name) != b"first":
            raise Unsupported(
                "the store replaces an object that it was told to create only",
                suggestions=["choose a store with conditional writes (If-None-Match: *)"],
            )
        if not self.kept(name):
            raise _without_lock()

    def kept(self, name: str) -> bool:
        """Whether an object is locked as it must be: by a retention that nobody can take away.

        Asks nothing, and is true, where no lock is wanted.
        """
        return not self.locked or self._lock(name) == "COMPLIANCE"

    def _lock(self, name: str) -> str | None:
        """Return the mode of an object's retention, where there is one and it may be seen."""
        assert isinstance(self._store, S3Store)
        with _errors("looking for a lock"):
            address = obstore.sign(
                self._store, "HEAD", self._prefix + name, timedelta(seconds=_LOOK_SECONDS)
            )
        asked = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the store's own address
        try:
            opener = urllib.request.build_opener(_proxies(self._store), *handlers(_LOOK))
            with opener.open(asked, timeout=_LOOK_SECONDS) as answer:
                return str(answer.headers.get("x-amz-object-lock-mode"))
        except (OSError, HTTPException) as error:
            if _is_refused(error):
                return None
            raise SinkUnavailable(
                f"{type(error).__name__} of the object store: asked whether an object is locked",
                suggestions=["see that it can be reached, and run again"],
            ) from None  # the address is signed, and so a secret


def _proxies(store: S3Store) -> urllib.request.ProxyHandler:
    """Return the way on which the store itself is asked: its own proxy, or the environment's."""
    own = (store.client_options or {}).get("proxy_url")
    return urllib.request.ProxyHandler({"http": str(own), "https": str(own)} if own else None)


def _is_refused(error: Exception) -> bool:
    """Whether the store has understood the question, and says no.

    One that points elsewhere says nothing: another host may say anything of a lock.
    """
    return (
        isinstance(error, urllib.error.HTTPError)
        and error.code in _REFUSALS
        and error.code not in _LATER
    )


def _folder(prefix: str) -> str:
    """Return what the names of all objects begin with; raises `ConfigurationError`."""
    inner = prefix.strip("/")
    parts = inner.split("/") if inner else []
    if not all(each.isprintable() and each not in {"", ".", ".."} for each in parts):
        raise ConfigurationError(
            "the prefix of an object vault has a part that is empty, dots or not printable",
            suggestions=["give names with / between them, such as mail/2026"],
        )
    return "".join(f"{each}/" for each in parts)


def _without_lock() -> Unsupported:
    return Unsupported(
        "the store does not lock what is written to it",
        suggestions=[
            "turn on Object Lock for the bucket, with a default retention in COMPLIANCE mode",
            "let whoever writes see it (s3:GetObjectRetention)",
            "or leave locked out",
        ],
    )


def _check_upload(store: ObjectStore) -> None:
    if isinstance(store, S3Store) and not store.config.get("checksum_algorithm"):
        raise Unsupported(
            "uploads to this store carry no checksum, and might arrive changed",
            suggestions=['give the S3Store checksum_algorithm="SHA256"'],
        )


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Give what obstore raises one of our types, by its class and never by its text."""
    try:
        yield
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise SinkNotWritable(
            f"the object store refuses {doing}",
            suggestions=["check the credentials, and what they may do in this bucket"],
        ) from error
    except exceptions.NotFoundError as error:
        raise SinkError(
            f"the object store knows no such place: {doing}",
            suggestions=["check the name of the bucket"],
        ) from error
    except exceptions.InvalidPathError as error:
        raise SinkError(
            f"a name that no object of a vault can have: {doing}",
            suggestions=[
                "remove objects with // or /../ in their names from beside the packs",
                "or go on in a vault under another prefix",
            ],
        ) from error
    except exceptions.GenericError as error:
        raise SinkUnavailable(
            f"the object store did not answer as it should: {doing}",
            suggestions=["see that it can be reached, and run again"],
        ) from error
    except exceptions.BaseError as error:
        raise SinkError(
            f"{type(error).__name__} of the object store: {doing}",
            suggestions=["check the store's own log"],
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what a library in Rust ends with
            raise
        raise SinkError(
            f"the client of the object store broke: {doing}",
            suggestions=["run again; if it comes back, report it to obstore"],
        ) from error


def missing(name: str) -> SinkCorrupt:
    """Return the error for an object that was stored and is not there."""
    return SinkCorrupt(
        f"the object {name} is not in the store",
        suggestions=["restore it from a copy or an older version of the bucket"],
    )
