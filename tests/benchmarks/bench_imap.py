"""Reading a mailbox from a loopback Dovecot, beside mbsync: pairs in one run.

    python tests/benchmarks/bench_imap.py --count 2000 --rounds 3

Each contender is a process of its own, whose wall time, CPU time and peak memory are taken
from the kernel; contenders take turns, and the medians and the ratios to `mbsync` without
fsync are printed.  `--latency 25` puts so many milliseconds each way between client and
server; `--tls` uses TLS on both sides; `--again` measures a second run with nothing new.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mailarchive.auth import Password
from mailarchive.sources.imap import FolderChoice, ImapSource
from mailarchive.testing._raw_imap import RawImap
from mailarchive.testing.dovecot import USERS, dovecot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


USER = "alice@example.com"
BASE = "mbsync"


class Cost(NamedTuple):
    """What a process took."""

    wall: float
    cpu: float
    memory: float


# -- the contenders, each in a process of its own ------------------------------------------


def source(port: int, ca_file: str) -> ImapSource:
    """The mailbox, over TLS where there is a certificate to trust."""
    return ImapSource(
        "127.0.0.1",
        port=port,
        auth=Password(USER, USERS[USER]),
        security="ssl" if ca_file else "plain",
        allow_plaintext=True,
        ca_file=ca_file or None,
        folders=FolderChoice.only("INBOX"),
    )


def read_into_memory(port: int, ca_file: str, work: Path) -> int:
    """List and read everything, and keep nothing but the token."""
    place, count = work / "token", 0
    token = place.read_text() if place.exists() else None
    with source(port, ca_file) as mailbox:
        (inbox,) = mailbox.folders()
        for page in mailbox.scan(inbox, token):
            count += sum(1 for _ in mailbox.fetch(page.refs))
            token = page.token
    place.write_text(token or "")
    return count


def read_into_vault(port: int, ca_file: str, work: Path) -> int:
    """The whole path: hashed, decoded, owned, compressed, durable, with a checkpoint."""
    from mailarchive.archiver import Archiver
    from mailarchive.quarantine import QuarantineFolder
    from mailarchive.state import SqliteCheckpoints
    from mailarchive.users import StaticMap
    from mailarchive.vault import Vault

    with Vault(work / "vault", read_back=False) as vault:
        archiver = Archiver(
            source(port, ca_file),
            vault,
            StaticMap({}),
            state=SqliteCheckpoints(work / "state.db"),
            quarantine=QuarantineFolder(work / "quarantine"),
        )
        report = archiver.run()
    if report.archived != report.listed:
        raise SystemExit(f"{report.listed - report.archived} messages were not archived")
    return report.archived


def count_bytes(port: int, ca_file: str, work: Path) -> int:
    """The floor: one command, and its answer counted."""
    del ca_file, work
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        command = f'a LOGIN "{USER}" "{USERS[USER]}"\r\nb EXAMINE INBOX\r\n'
        sock.sendall(command.encode() + b"c UID FETCH 1:* (UID BODY.PEEK[])\r\n")
        buffer, tail, count = bytearray(1 << 18), b"", 0
        while b"\r\nc OK" not in tail:
            size = sock.recv_into(buffer)
            tail = (tail + buffer[:size])[-200:]
            count += size
        return count


CONTENDERS: dict[str, Callable[[int, str, Path], int]] = {
    "memory": read_into_memory,
    "vault": read_into_vault,
    "floor": count_bytes,
}


def mbsync(port: int, ca_file: str, work: Path, *, sync: bool) -> list[str]:
    """The command line of mbsync, pulling the inbox into a Maildir."""
    (work / "near").mkdir(parents=True, exist_ok=True)
    tls = f"SSLType IMAPS\nCertificateFile {ca_file}" if ca_file else "SSLType None"
    (work / "mbsyncrc").write_text(
        f"""FSync {"yes" if sync else "no"}
IMAPAccount far
Host {"localhost" if ca_file else "127.0.0.1"}
Port {port}
User {USER}
Pass "{USERS[USER]}"
AuthMechs LOGIN
{tls}

IMAPStore far
Account far

MaildirStore near
Path {work}/near/
Inbox {work}/near/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
"""
    )
    return ["mbsync", "-q", "-c", str(work / "mbsyncrc"), "all"]


def command(name: str, port: int, ca_file: str, work: Path) -> list[str]:
    """The command line of a contender."""
    if name.startswith(BASE):
        return mbsync(port, ca_file, work, sync=name.endswith("+fsync"))
    return [sys.executable, __file__, "--be", name, str(port), ca_file, str(work)]


def measure(name: str, port: int, ca_file: str, work: Path) -> Cost:
    """Run a contender and return what it took."""
    began = time.perf_counter()
    process = subprocess.Popen(command(name, port, ca_file, work), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(time.perf_counter() - began, cpu, usage.ru_maxrss / 1024)


# -- the way between ---------------------------------------------------------------------


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to another one, so many seconds later in each direction."""
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what comes, each piece late."""
        while data := await reader.read(1 << 18):
            loop.call_later(seconds, writer.write, data)
        loop.call_later(seconds, writer.close)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client with the server."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(meet, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def fill(port: int, count: int) -> int:
    """Put the corpus into the inbox; return its octets."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.corpus import messages

    total = 0

    def counted() -> Iterator[bytes]:
        nonlocal total
        for raw in messages(count):
            total += len(raw)
            yield raw

    with RawImap("127.0.0.1", port) as connection:
        connection.log_in(USER, USERS[USER])
        connection.append("INBOX", counted())
    return total


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.0, metavar="MILLISECONDS")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--again", action="store_true", help="a second run with nothing new")
    parser.add_argument(
        "--only", nargs="*", default=["floor", BASE, "memory", "vault", f"{BASE}+fsync"]
    )
    parser.add_argument("--be", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--fill", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        print(fill(*options.fill))
        return
    if options.be:
        name, port, ca_file, work = options.be
        Path(work).mkdir(parents=True, exist_ok=True)
        print(CONTENDERS[name](int(port), ca_file, Path(work)))
        return
    compete(options)


def compete(options: argparse.Namespace) -> None:
    """Let the contenders take turns."""
    names = [name for name in options.only if not (options.tls and name == "floor")]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with ExitStack() as stack:
        server = stack.enter_context(dovecot(names=["localhost"]))
        # In a process of its own: a child begins with its parent's peak of memory.
        filling = [sys.executable, __file__, "--fill", str(server.imap_port), str(options.count)]
        octets = int(subprocess.run(filling, check=True, capture_output=True).stdout)
        port = server.imaps_port if options.tls else server.imap_port
        ca_file = str(server.ca_file) if options.tls else ""
        if options.latency:
            port = stack.enter_context(delayed(port, options.latency / 1000))
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for turn in range(options.rounds):
            for name, found in costs.items():
                work = root / f"{turn}-{name}"
                cost = measure(name, port, ca_file, work)
                found.append(measure(name, port, ca_file, work) if options.again else cost)
                shutil.rmtree(work, ignore_errors=True)
    print(table(costs, options.count, octets))


def table(costs: dict[str, list[Cost]], count: int, octets: int) -> str:
    """The medians, a line each."""
    lines = [f"{count:,} messages, {octets / 1e6:,.1f} MB, median of {len(costs[BASE])}"]
    base = statistics.median(cost.wall for cost in costs[BASE])
    for name, found in costs.items():
        wall = statistics.median(cost.wall for cost in found)
        cpu = statistics.median(cost.cpu for cost in found)
        memory = max(cost.memory for cost in found)
        lines.append(
            f"{name:>14}  {wall:7.2f} s  {count / wall:7,.0f}/s  {octets / wall / 1e6:6.0f} MB/s"
            f"  cpu {cpu:6.2f} s  {memory:5.0f} MiB  {wall / base:5.2f} x"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
