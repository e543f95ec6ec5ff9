"""Storing mail durably: the vault beside plainer ways, in one run, as ratios.

    python tests/benchmarks/bench_vault.py --count 2000 --rounds 5
    python tests/benchmarks/bench_vault.py --views 100000
    python tests/benchmarks/bench_vault.py --size --count 20000

Contenders take turns on the same messages, made beforehand; medians are printed, and under
them a row for each target: the median of the ratios within each turn.  Everything is put in
batches of `--batch`, the next one foreseen, as a run does it.  Where a folder is named with
`--folder`, its disk is measured.  `--size` compares the room taken with borg's.

The contender that hashes and compresses in threads and notes nothing shows how far a vault
can come at most on this machine: where that is under a target, the target is out of reach.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from mailarchive import (
    Address,
    ArchiveEntry,
    Copy,
    Digested,
    Fidelity,
    Folder,
    Owner,
    Ownership,
    UserId,
    entry_id,
    headers,
)
from mailarchive._portions import portions
from mailarchive.vault import Vault
from mailarchive.vault._packing import Packing
from mailarchive.vault._zstd import USUAL, compress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VAULT = "vault"
READ_BACK = "vault, read back"
FILE = "one file, one fsync"
FILE_ZSTD = "one file of zstd frames, one fsync"
LEAST = "one file of hashed zstd frames, in threads"
LOOSE = "a file a message, fsync"
LOOSE_FOLDER = "a file a message, fsync, folder fsync"
BLOBS = "SQLite blobs"
BLOBS_ZSTD = "SQLite blobs of zstd frames"
AGAIN = "vault, the same again"
QUICK = "vault, verify quick"
VERIFY = "vault, verify stored"
SHA256 = "SHA-256 of its packs"


def entries(raws: Iterator[bytes]) -> list[ArchiveEntry]:
    """Return entries as the archiver would make them, each owned by two or three users."""
    return [_entry(n, raw) for n, raw in enumerate(raws)]


def _entry(n: int, raw: bytes) -> ArchiveEntry:
    digested, copy = Digested(raw), Copy("bench", "INBOX", str(n))
    digest = digested.digest
    envelope = headers.envelope(raw)
    people = [Address(f"user{(n * 7 + k) % 40}@example.com") for k in range(2 + n % 2)]
    owners = tuple(Owner(UserId(each.spec), frozenset({each})) for each in people)
    return ArchiveEntry(
        id=entry_id(copy, digest, Fidelity.WIRE),
        raw=raw,
        raw_digest=digest,
        originals=(),
        envelope=envelope,
        ownership=Ownership(owners),
        copy=copy,
        folder=Folder("INBOX", ("INBOX",)),
        fork_key=headers.fork_key(raw),
        received_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n),
        digested=digested,
    )


def batches(all_of_them: list[ArchiveEntry], size: int) -> Iterator[list[ArchiveEntry]]:
    """Yield the entries, so many at a time."""
    rest = iter(all_of_them)
    while batch := list(islice(rest, size)):
        yield batch


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def one_file(every: list[ArchiveEntry], folder: Path, batch: int, *, zstd: bool = False) -> float:
    """Append everything to one file, and sync it once at the very end."""
    del batch

    def work() -> None:
        handle = os.open(folder / "all", os.O_WRONLY | os.O_CREAT)
        for entry in every:
            _write(handle, compress(entry.raw, 3) if zstd else entry.raw)
        os.fsync(handle)
        os.close(handle)

    return timed(work)


def least(every: list[ArchiveEntry], folder: Path, batch: int) -> float:
    """Only what no vault can leave out: compressed as ours, hashed, written; nothing is noted."""
    del batch
    packing = Packing(USUAL, lambda _: ())

    def frame(some: list[ArchiveEntry]) -> list[bytes]:
        return [packing.pack(entry.raw_digest, entry.raw).frame for entry in some]

    def work() -> None:
        handle = os.open(folder / "all", os.O_WRONLY | os.O_CREAT)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for frames in threads.map(frame, portions(every, lambda entry: len(entry.raw))):
                _write(handle, b"".join(frames))
        os.fsync(handle)
        os.close(handle)

    took = timed(work)
    packing.close()
    return took


def loose(every: list[ArchiveEntry], folder: Path, batch: int, *, names: bool = False) -> float:
    """Write each message to a file of its own and sync it, perhaps with its name."""
    del batch

    def work() -> None:
        above = os.open(folder, os.O_RDONLY)
        for n, entry in enumerate(every):
            handle = os.open(folder / f"{n}.eml", os.O_WRONLY | os.O_CREAT)
            _write(handle, entry.raw)
            os.fsync(handle)
            os.close(handle)
            if names:
                os.fsync(above)
        os.close(above)

    return timed(work)


def blobs(every: list[ArchiveEntry], folder: Path, batch: int, *, zstd: bool = False) -> float:
    """Insert each message into an SQLite table, durably a batch at a time."""

    def work() -> None:
        with closing(sqlite3.connect(folder / "mail.db", isolation_level=None)) as db, db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE mail (id BLOB PRIMARY KEY, raw BLOB)")
            for some in batches(every, batch):
                db.execute("BEGIN")
                db.executemany(
                    "INSERT INTO mail VALUES (?, ?)",
                    [(e.id.value, compress(e.raw, 3) if zstd else e.raw) for e in some],
                )
                db.execute("COMMIT")
        db.close()

    return timed(work)


def put_all(vault: Vault, every: list[ArchiveEntry], batch: int) -> None:
    """Put everything, each batch once the next one was foreseen."""
    ahead: list[ArchiveEntry] = []
    for some in batches(every, batch):
        vault.foresee(some)
        vault.put_many(ahead)
        ahead = some
    vault.put_many(ahead)


def store(every: list[ArchiveEntry], folder: Path, batch: int, *, read_back: bool) -> float:
    """Put everything into a new vault."""

    def work() -> None:
        with Vault(folder / "v", keys=None, read_back=read_back) as vault:
            put_all(vault, every, batch)

    return timed(work)


def afterwards(every: list[ArchiveEntry], folder: Path, batch: int) -> dict[str, float]:
    """Time what is done with the vault that `store` left."""
    packs = [path.read_bytes() for path in (folder / "v").rglob("*.tar")]
    with Vault(folder / "v") as vault:
        return {
            AGAIN: timed(lambda: put_all(vault, every, batch)),
            QUICK: timed(lambda: _verified(vault, "quick")),
            VERIFY: timed(lambda: _verified(vault, "stored")),
            SHA256: timed(lambda: [hashlib.sha256(pack).digest() for pack in packs]),
        }


def _verified(vault: Vault, level: str) -> None:
    report = vault.verify(level)
    if not report.ok:
        raise SystemExit(f"the vault is damaged: {report.findings[0]}")


def compare(options: argparse.Namespace) -> None:
    """Let the contenders take turns, and print medians and ratios."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.corpus import messages

    every = entries(messages(options.count))
    size = sum(len(entry.raw) for entry in every)
    contenders: dict[str, Callable[[list[ArchiveEntry], Path, int], float]] = {
        FILE: one_file,
        FILE_ZSTD: lambda e, f, b: one_file(e, f, b, zstd=True),
        LEAST: least,
        LOOSE: loose,
        LOOSE_FOLDER: lambda e, f, b: loose(e, f, b, names=True),
        BLOBS: blobs,
        BLOBS_ZSTD: lambda e, f, b: blobs(e, f, b, zstd=True),
        VAULT: lambda e, f, b: store(e, f, b, read_back=False),
        READ_BACK: lambda e, f, b: store(e, f, b, read_back=True),
    }
    took: dict[str, list[float]] = {}
    on_disk = 0
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            folder = Path(tempfile.mkdtemp(dir=options.folder))
            os.sync()
            took.setdefault(name, []).append(contender(every, folder, options.batch))
            if name == READ_BACK:
                for what, seconds in afterwards(every, folder, options.batch).items():
                    took.setdefault(what, []).append(seconds)
                on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)
    medians = {name: statistics.median(times) for name, times in took.items()}
    out = [f"{options.count:,} messages, {size / 1e6:,.1f} MB, batches of {options.batch}"]
    for name, seconds in medians.items():
        speed = f"{options.count / seconds:9,.0f} msgs/s {size / seconds / 1e6:7,.0f} MB/s"
        out.append(f"{name:40} {seconds:7.2f} s {speed}")
    out.append(f"on disk {on_disk / size:.3f} of the messages")
    sys.stdout.write("\n".join([*out, *targets(took)]) + "\n")


def targets(took: dict[str, list[float]]) -> Iterator[str]:
    """A row for each target: the median of the turns, what was wanted, and whether it is met."""
    for what, slower, faster, least in (
        ("speed of the vault / one file with one fsync", FILE, VAULT, 0.5),
        ("speed of the vault / one file of zstd frames", FILE_ZSTD, VAULT, 0.5),
        ("speed of the vault / a file a message with fsync", LOOSE, VAULT, 4.0),
        ("the same, with the folder's fsync", LOOSE_FOLDER, VAULT, 4.0),
        ("read back, / a file a message with fsync", LOOSE, READ_BACK, 2.5),
        ("read back, with the folder's fsync", LOOSE_FOLDER, READ_BACK, 2.5),
        ("speed of the vault / SQLite blobs", BLOBS, VAULT, 1.0),
        ("the same, both compressed", BLOBS_ZSTD, VAULT, 1.0),
        ("speed of the same again / the first time", READ_BACK, AGAIN, 5.0),
        ("speed of verify stored / SHA-256", SHA256, VERIFY, 0.5),
    ):
        yield row(what, ratio(took, slower, faster), least)
    ceiling = ratio(took, FILE, LEAST)
    yield f"         the most of that one file's speed for any vault: {ceiling:.2f}"


def ratio(took: dict[str, list[float]], slower: str, faster: str) -> float:
    """How many times as fast one was as the other: the median of the turns."""
    pairs = zip(took[slower], took[faster], strict=True)
    return statistics.median(a / b for a, b in pairs)


def row(what: str, found: float, least: float) -> str:
    """One target."""
    return f"{'met' if found >= least else 'MISSED':>7}  {what}: {found:.2f}, at least {least:.2f}"


def room(options: argparse.Namespace) -> None:
    """Compare what the vault takes of the disk with what borg does, both with zstd-3."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.corpus import messages, write_maildir

    folder = Path(tempfile.mkdtemp(dir=options.folder))
    write_maildir(folder / "mail", messages(options.count))
    paths = sorted((folder / "mail").glob("cur/*"))
    with Vault(folder / "vault", keys=None, read_back=False) as vault:
        made = (_entry(n, path.read_bytes()) for n, path in enumerate(paths))
        while some := list(islice(made, options.batch)):
            vault.put_many(some)
    repository = str(folder / "borg")
    words = {**os.environ, "BORG_BASE_DIR": str(folder / "base")}
    words["BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK"] = "yes"
    making = ["borg", "create", "--compression", "zstd,3", f"{repository}::all", "."]
    subprocess.run(["borg", "init", "-e", "none", repository], env=words, check=True)
    subprocess.run(making, env=words, cwd=folder / "mail", check=True)
    ours, theirs = (_room(folder / name) for name in ("vault", "borg"))
    shutil.rmtree(folder)
    met = "met" if ours <= 1.1 * theirs else "MISSED"
    sys.stdout.write(
        f"{options.count:,} messages: vault {ours / 1e6:,.1f} MB, borg {theirs / 1e6:,.1f} MB\n"
        f"{met:>7}  room of the vault / borg: {ours / theirs:.3f}, at most 1.100\n"
    )


def _room(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def views(options: argparse.Namespace) -> None:
    """Give one user so many small messages, and time the ways to look at them."""
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    user = UserId("user@example.com")
    with Vault(folder / "v", keys=None, read_back=False) as vault:
        small = (
            b"Subject: Message %d\r\nFrom: a%d@example.com\r\n\r\nx\r\n" % (n, n % 97)
            for n in range(options.views)
        )
        made = (_owned(_entry(n, raw), user) for n, raw in enumerate(small))
        began = time.perf_counter()
        while some := list(islice(made, 500)):
            vault.put_many(some)
        took = time.perf_counter() - began
        view = vault.view(user)
        last = list(view.messages(limit=100))[-1].key
        looks: dict[str, Callable[[], object]] = {
            "first page of 100": lambda: list(view.messages(limit=100)),
            "second page": lambda: list(view.messages(limit=100, after=last)),
            "count": view.count,
            "text, first page": lambda: list(view.messages(text="message 77", limit=100)),
            "text, nothing found": lambda: list(view.messages(text="nowhere", limit=100)),
            "sender, first page": lambda: list(view.messages(sender="a5@example.com", limit=100)),
            "one message": lambda: next(view.messages(limit=1)).content(),
        }
        out = [f"{options.views:,} messages of one user, put in {took:.0f} s"]
        for name, look in looks.items():
            best = statistics.median(timed(look) for _ in range(5))
            out.append(f"{name:25} {best * 1000:8.1f} ms")
    index = folder / "v" / "volumes" / "0001" / "index.db"
    out.append(f"index {index.stat().st_size / options.views:,.0f} bytes a message")
    shutil.rmtree(folder)
    sys.stdout.write("\n".join(out) + "\n")


def _owned(entry: ArchiveEntry, user: UserId) -> ArchiveEntry:
    owners = (*entry.ownership.owners[:1], Owner(user, frozenset({Address(str(user))})))
    return evolve(entry, ownership=Ownership(owners))


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="How fast a vault stores, beside other ways.")
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--folder", help="on the disk to measure; a temporary folder")
    parser.add_argument("--size", action="store_true", help="the room taken, beside borg's")
    parser.add_argument("--views", type=int, default=0, metavar="MESSAGES")
    options = parser.parse_args()
    (views if options.views else room if options.size else compare)(options)


if __name__ == "__main__":
    main()
