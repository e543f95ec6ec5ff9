"""The log of a vault: what sealing, proving and verifying cost, as ratios in one run.

    python tests/benchmarks/bench_log.py --count 100000
    python tests/benchmarks/bench_log.py --verify 2000 --rounds 3

The first fills a vault with so many small messages and seals it; the second compares
verification with plain SHA-256 over the same packs, on messages of the usual sizes.
Seconds are of the processor, unless they are said to be on the wall.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench_vault import batches, entries
from benchmarks.corpus import messages

from mailarchive import UserId
from mailarchive.vault import FileSigner, Vault, _leaf
from mailarchive.vault._manifest import Manifest
from mailarchive.vault._tiles import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH = 500


def cpu(work: Callable[[], object]) -> float:
    """Return the seconds of the processor that the work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def wall(work: Callable[[], object]) -> float:
    """Return the seconds on the wall that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def small(count: int) -> Iterator[bytes]:
    """Yield so many different small messages."""
    for n in range(count):
        yield (
            b"Subject: Message %d\r\nFrom: a%d@example.com\r\nTo: b%d@example.com\r\n"
            b"Message-ID: <%d@example.com>\r\n\r\nx\r\n" % (n, n % 97, n % 89, n)
        )


def manifests(vault: Vault) -> list[Manifest]:
    """Return every manifest of a vault."""
    packs = vault._opened().packs
    found: list[Manifest] = []
    for name in packs.names():
        with packs.open(name) as pack:
            found += [each for each in pack.manifests() if isinstance(each, Manifest)]
    return sorted(found, key=lambda each: each.head.sequence)


def sealing(options: argparse.Namespace) -> None:
    """Fill a vault, and time what its log costs."""
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    signer = FileSigner(folder / "signer")
    with Vault(folder / "v", keys=None, read_back=False) as vault:
        rest = small(options.count)
        put = 0.0
        while some := entries(islice(rest, BATCH)):
            put += cpu(lambda some=some: vault.put_many(some))  # type: ignore[misc] # bound now
        found = manifests(vault)
        leaves: list[bytes] = []
        derive = cpu(lambda: leaves.extend(leaf for each in found for leaf in _leaf.leaves(each)))
        tree = Tree()
        grow = cpu(lambda: [tree.add(leaf) for leaf in leaves])
        hashed = cpu(lambda: [hashlib.sha256(leaf).digest() for leaf in leaves])
        on_wall = 0.0

        def seal() -> None:
            nonlocal on_wall
            on_wall = wall(lambda: vault.seal(signer))

        first = cpu(seal)
        first_wall = on_wall
        assert vault.checkpoints()[-1].size == len(leaves) == tree.size
        assert vault.checkpoints()[-1].root == tree.root()
        vault.put_many(entries(islice(small(options.count + 1), options.count, None)))
        again = wall(lambda: vault.seal(signer))
        idle = wall(lambda: vault.seal(signer))
        message = next(vault.view(UserId("user1@example.com")).messages())
        proof = statistics.median(wall(message.proof) for _ in range(9))
        check = statistics.median(wall(message.proof().check) for _ in range(9))
        stored = cpu(lambda: vault.verify("stored"))
        log = cpu(lambda: vault.verify("log"))
    size = sum(each.stat().st_size for each in (folder / "v").rglob("log/**/*") if each.is_file())
    packs = sum(each.stat().st_size for each in (folder / "v").rglob("*.tar"))
    shutil.rmtree(folder)
    count = len(leaves)
    print(f"{options.count:,} small messages, {count:,} leaves, batches of {BATCH}")
    print(f"leaves from manifests   {count / derive:10,.0f} a second")
    print(
        f"tree and tiles          {count / grow:10,.0f} a second, {hashed / grow:.2f} of SHA-256"
    )
    print(f"first seal              {count / first:10,.0f} a second; {first:.1f} s, "
          f"{first_wall:.1f} s on the wall; {first / put:.2f} of putting them")  # fmt: skip
    print(f"a seal of one more      {again * 1e3:10.0f} ms on the wall")
    print(f"a seal of nothing       {idle * 1e3:10.0f} ms on the wall")
    print(f"a proof                 {proof * 1e3:10.1f} ms; checking it {check * 1e3:.2f} ms")
    print(f"verify log              {log / stored:10.2f} times verify stored")
    print(
        f"log on disk             {size / count:10.0f} bytes a leaf, {size / packs:.3f} of packs"
    )


def verifying(options: argparse.Namespace) -> None:
    """Compare verification with SHA-256 alone, turn by turn."""
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    every = entries(messages(options.verify))
    took: dict[str, list[float]] = {}
    with Vault(folder / "v", keys=None, read_back=False) as vault:
        for some in batches(every, 100):
            vault.put_many(some)
        vault.seal(FileSigner(folder / "signer"))
        packs = sorted((folder / "v").rglob("*.tar"))
        size = sum(pack.stat().st_size for pack in packs)
        looks: dict[str, Callable[[], object]] = {
            "SHA-256": lambda: [_hashed(pack) for pack in packs],
            "quick": lambda: vault.verify("quick"),
            "stored": lambda: vault.verify("stored"),
            "content": lambda: vault.verify("content"),
            "log": lambda: vault.verify("log"),
        }
        for _ in range(options.rounds):
            for name, look in looks.items():
                took.setdefault(name, []).append(cpu(look))
    shutil.rmtree(folder)
    medians = {name: statistics.median(times) for name, times in took.items()}
    print(f"{options.verify:,} messages, {size / 1e6:,.1f} MB of packs")
    for name, seconds in medians.items():
        share = medians["SHA-256"] / seconds
        print(f"{name:10} {size / seconds / 1e6:9,.0f} MB/s  {share:5.2f} of SHA-256's speed")


def _hashed(pack: Path) -> bytes:
    digest = hashlib.sha256()
    with pack.open("rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.digest()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="What the log of a vault costs.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--verify", type=int, default=0, metavar="MESSAGES")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="on the disk to measure; a temporary folder")
    options = parser.parse_args()
    (verifying if options.verify else sealing)(options)


if __name__ == "__main__":
    main()
