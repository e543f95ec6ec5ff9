"""A mailbox on a loopback Dovecot, read and archived beside mbsync: pairs in one run.

    python tests/benchmarks/bench_imap.py --count 2000 --rounds 3
    python tests/benchmarks/bench_imap.py --count 20000 --rounds 3 --maildir /var/tmp/corpus
    python tests/benchmarks/bench_imap.py --latency 25
    python tests/benchmarks/bench_imap.py --tls
    python tests/benchmarks/bench_imap.py --again

Each contender is a process of its own, whose wall time, CPU time and peak memory are taken
from the kernel.  Contenders take turns, so that what disturbs one disturbs all; printed are
medians, and the medians of the ratios within each turn.  Under the table stands a row for
each target.

`vault` is the whole path with default settings: listed, read, decoded, attributed, hashed,
deduplicated, compressed, durable, read back, indexed, with a checkpoint.  `command` is the
same by `mailarchive run`, which also bounds what the C library holds back.  `least` does only
what no archive of that kind can leave out, and keeps nothing by which a message could be
found again.  `memory` reads and drops.  `floor` counts the octets of one FETCH.
`--latency` puts so many milliseconds each way between client and server, `--again` measures
a second run with nothing new.
`--maildir` keeps the corpus there, so that the next run need not make it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from mailarchive.auth import Password
from mailarchive.sources.imap import FolderChoice, ImapSource
from mailarchive.testing.dovecot import USERS, dovecot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailarchive.testing.dovecot import Dovecot

USER = "alice@example.com"
BASE = "mbsync"
SYNCED = f"{BASE}+fsync"
USUAL = ("floor", BASE, "memory", "least", "vault", "command", SYNCED)
MEMORY = 128.0
"""MiB that a run may take, beside two and a half times the largest message."""


class Cost(NamedTuple):
    """What a process took, and what it said of itself."""

    wall: float
    cpu: float
    memory: float
    said: dict[str, Any]


# -- the contenders, each in a process of its own ------------------------------------------


class Watched(ImapSource):
    """A source that notes what happened after its login."""

    def said(self) -> dict[str, float]:
        """Seconds and round trips after the login."""
        return {"seconds": self.seconds, "commands": self.commands}

    @override
    def _open(self) -> None:
        super()._open()
        self._before = self._line.session().commands
        self._began = time.perf_counter()

    @override
    def _close(self) -> None:
        self.seconds = time.perf_counter() - self._began
        self.commands = self._line.session().commands - self._before
        super()._close()


def source(port: int, ca_file: str) -> Watched:
    """The mailbox, over TLS where there is a certificate to trust."""
    return Watched(
        "127.0.0.1",
        port=port,
        auth=Password(USER, USERS[USER]),
        security="ssl" if ca_file else "plain",
        allow_plaintext=True,
        ca_file=ca_file or None,
        folders=FolderChoice.only("INBOX"),
    )


def read_into_memory(port: int, ca_file: str, work: Path) -> dict[str, float]:
    """List and read everything, and keep nothing but the token."""
    place = work / "token"
    token = place.read_text() if place.exists() else None
    with source(port, ca_file) as mailbox:
        (inbox,) = mailbox.folders()
        for page in mailbox.scan(inbox, token):
            for _ in mailbox.fetch(page.refs):
                pass
            token = page.token
    place.write_text(token or "")
    return mailbox.said()


def read_into_vault(port: int, ca_file: str, work: Path) -> dict[str, float]:
    """The whole path, with every setting as it comes."""
    from mailarchive.archiver import Archiver
    from mailarchive.quarantine import QuarantineFolder
    from mailarchive.state import SqliteCheckpoints
    from mailarchive.users import PatternMap
    from mailarchive.vault import Vault

    mailbox = source(port, ca_file)
    with Vault(work / "vault", keys=None) as vault:
        archiver = Archiver(
            mailbox,
            vault,
            PatternMap({"*@example.com": "{local}"}),
            state=SqliteCheckpoints(work / "state.db"),
            quarantine=QuarantineFolder(work / "quarantine"),
        )
        report = archiver.run()
    if report.archived != report.listed:
        raise SystemExit(f"{report.listed - report.archived} messages were not archived")
    return mailbox.said()


def run_a_job(port: int, ca_file: str, work: Path) -> dict[str, float]:
    """The whole path once more, by the command line."""
    from mailarchive._cli import main

    (work / "password").write_text(USERS[USER])
    (work / "users.csv").write_text(f"id,name,addresses\nalice,Alice,{USER}\n")
    over = f'ca_file = "{ca_file}"' if ca_file else 'security = "plain"\nallow_plaintext = true'
    (work / "job.toml").write_text(
        f"""[source]
kind = "imap"
host = "127.0.0.1"
port = {port}
user = "{USER}"
password = {{ file = "password" }}
folders = ["INBOX"]
{over}
[decoder]
kind = "ordinary"
[users]
csv = "users.csv"
[vault]
path = "vault"
encryption = "none"
"""
    )
    with redirect_stdout(sys.stderr):
        status = main(["run", "--quiet", str(work / "job.toml")])
    if status:
        raise SystemExit("not all was archived")
    return {}


def read_into_one_file(port: int, ca_file: str, work: Path) -> dict[str, float]:
    """The least: read, hashed, deduplicated, compressed, and durable a batch at a time."""
    from mailarchive._pages import batches
    from mailarchive._policy import Batching
    from mailarchive._reading import Worker, read_folder, size_of
    from mailarchive.vault._zstd import USUAL as LEVEL
    from mailarchive.vault._zstd import compress

    mailbox, batching = source(port, ca_file), Batching()
    known: set[bytes] = set()
    with (work / "pack").open("wb", 0) as pack, Worker(batching.read_ahead) as worker:
        worker.call(mailbox.__enter__)
        (inbox,) = worker.call(mailbox.folders)
        reading = worker.stream(lambda: read_folder(mailbox, inbox, None, ()), size_of)
        for _, batch in batches(reading, batching):
            new = {hashlib.sha256(message.raw).digest(): message.raw for message in batch}
            frames = [compress(raw, LEVEL) for digest, raw in new.items() if digest not in known]
            known.update(new)
            pack.write(b"".join(frames))
            os.fdatasync(pack.fileno())
        worker.call(lambda: mailbox.__exit__(None, None, None))
    return mailbox.said()


def count_bytes(port: int, ca_file: str, work: Path) -> dict[str, float]:
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
        return {"octets": count}


CONTENDERS: dict[str, Callable[[int, str, Path], dict[str, float]]] = {
    "memory": read_into_memory,
    "least": read_into_one_file,
    "vault": read_into_vault,
    "command": run_a_job,
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


def offlineimap(port: int, ca_file: str, work: Path) -> list[str]:
    """The command line of offlineimap3, without its fsync."""
    work.mkdir(parents=True, exist_ok=True)
    tls = f"ssl = yes\nsslcacertfile = {ca_file}" if ca_file else "ssl = no\nstarttls = no"
    (work / "rc").write_text(
        f"""[general]
accounts = all
metadata = {work}/state
fsync = False
[Account all]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {work}/near
[Repository far]
type = IMAP
readonly = True
remotehost = {"localhost" if ca_file else "127.0.0.1"}
remoteport = {port}
remoteuser = {USER}
remotepass = {USERS[USER]}
auth_mechanisms = LOGIN
folderfilter = lambda name: name == "INBOX"
{tls}
"""
    )
    return ["offlineimap", "-o", "-u", "quiet", "-c", str(work / "rc")]


def getmail(port: int, ca_file: str, work: Path) -> list[str]:
    """The command line of getmail6, which does not deliver as root."""
    parts = [work / "near", *(work / "near" / part for part in ("cur", "new", "tmp"))]
    for part in parts:
        part.mkdir(parents=True, exist_ok=True)
    other = ""
    if os.getuid() == 0:
        other = "user = nobody"
        for part in parts:
            shutil.chown(part, "nobody")
        for above in (work, work.parent):
            above.chmod(0o711)
    kind, tls = ("SimpleIMAPSSL", f"ca_certs = {ca_file}") if ca_file else ("SimpleIMAP", "")
    (work / "getmailrc").write_text(
        f"""[retriever]
type = {kind}Retriever
server = {"localhost" if ca_file else "127.0.0.1"}
port = {port}
username = {USER}
password = {USERS[USER]}
mailboxes = ("INBOX",)
{tls}
[destination]
type = Maildir
path = {work}/near/
{other}
[options]
read_all = false
delete = false
verbose = 0
"""
    )
    return ["getmail", "--getmaildir", str(work), "--rcfile", "getmailrc", "--quiet"]


PEERS: dict[str, Callable[[int, str, Path], list[str]]] = {
    BASE: lambda port, ca_file, work: mbsync(port, ca_file, work, sync=False),
    SYNCED: lambda port, ca_file, work: mbsync(port, ca_file, work, sync=True),
    "offlineimap": offlineimap,
    "getmail": getmail,
}


def command(name: str, port: int, ca_file: str, work: Path) -> list[str]:
    """The command line of a contender."""
    if name in PEERS:
        return PEERS[name](port, ca_file, work)
    return [sys.executable, __file__, "--be", name, str(port), ca_file, str(work)]


def measure(name: str, port: int, ca_file: str, work: Path) -> Cost:
    """Run a contender and return what it took."""
    words = command(name, port, ca_file, work)
    os.sync()
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name} failed")
        said.seek(0)
        told = json.loads(said.read()) if name in CONTENDERS else {}
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, told)


# -- the server, and the way to it -----------------------------------------------------------


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A port that leads to another one, so many seconds later in each direction.

    By a process of its own, which holds what is under way.
    """
    words = [sys.executable, __file__, "--delay", str(port), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as between:
        assert between.stdout is not None
        yield int(between.stdout.readline())
        between.kill()


async def delay(port: int, seconds: float) -> None:
    """Be the way between: print the port, and hand on what comes until killed."""
    loop = asyncio.get_running_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what comes, each piece late."""
        while data := await reader.read(1 << 18):
            loop.call_later(seconds, writer.write, data)
        loop.call_later(seconds, writer.close)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client with the server."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def fill(server: Dovecot, count: int, corpus: Path) -> list[int]:
    """Put the corpus where Dovecot finds it; return the sizes of its messages."""
    here = Path(__file__).parent
    if not corpus.exists():
        # In a process of its own: a child begins with its parent's peak of memory.
        making = [sys.executable, str(here / "corpus.py"), "--count", str(count)]
        subprocess.run([*making, "--maildir", str(corpus)], check=True)
    files = sorted(corpus.glob("cur/*"))
    if len(files) < count:
        raise SystemExit(f"{corpus} holds only {len(files)} messages: choose another folder")
    home = server.folder / "home" / USER
    inbox = home / "Maildir" / "cur"
    for part in ("cur", "new", "tmp"):
        (inbox.parent / part).mkdir(parents=True, exist_ok=True)
    for file in files[:count]:
        shutil.copy2(file, inbox)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "dovecot:", str(home)], check=True)
    return [file.stat().st_size for file in files[:count]]


# -- the run ------------------------------------------------------------------------------


def compete(options: argparse.Namespace) -> None:
    """Let the contenders take turns."""
    names = [name for name in options.only if not (options.tls and name == "floor")]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        server = stack.enter_context(dovecot(names=["localhost"]))
        sizes = fill(server, options.count, options.maildir or root / "corpus")
        port = server.imaps_port if options.tls else server.imap_port
        ca_file = str(server.ca_file) if options.tls else ""
        if options.latency:
            port = stack.enter_context(delayed(port, options.latency / 1000))
        warming = root / "warm"
        warming.mkdir()
        measure("memory", port, ca_file, warming)  # Dovecot's index, the page cache
        for turn in range(options.rounds):
            for name, found in costs.items():
                work = root / f"{turn}-{name}"
                cost = measure(name, port, ca_file, work)
                found.append(measure(name, port, ca_file, work) if options.again else cost)
                shutil.rmtree(work, ignore_errors=True)
    print(table(costs, sizes))
    print("\n".join(targets(costs, sizes, options)))


def ratio(costs: dict[str, list[Cost]], name: str, to: str) -> float:
    """How many times as long one took as the other: the median of the turns."""
    pairs = zip(costs[name], costs[to], strict=True)
    return statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)


def table(costs: dict[str, list[Cost]], sizes: list[int]) -> str:
    """The medians, a line each, and how each compares with the first peer."""
    count, octets = len(sizes), sum(sizes)
    base = BASE if BASE in costs else next(iter(costs))
    turns = len(costs[base])
    lines = [f"{count:,} messages, {octets / 1e6:,.1f} MB, median of {turns}; x of {base}"]
    for name, found in costs.items():
        wall = statistics.median(cost.wall for cost in found)
        cpu = statistics.median(cost.cpu for cost in found)
        memory = max(cost.memory for cost in found)
        lines.append(
            f"{name:>14}  {wall:7.2f} s  {count / wall:7,.0f}/s  {octets / wall / 1e6:6.0f} MB/s"
            f"  cpu {cpu:6.2f} s  {memory:5.0f} MiB  {ratio(costs, name, base):5.2f} x"
        )
    return "\n".join(lines)


def targets(
    costs: dict[str, list[Cost]], sizes: list[int], options: argparse.Namespace
) -> Iterator[str]:
    """A row for each target: what was measured, what was wanted, and whether it is met."""
    if "vault" not in costs:
        return
    ours = costs["vault"]
    if options.again:
        trips = max(cost.said["commands"] for cost in ours)
        seconds = statistics.median(cost.said["seconds"] for cost in ours)
        yield row("round trips of one folder, beside NAMESPACE and LIST", trips - 2, 1)
        yield row("second run, seconds after the login", seconds, 0.2)
        return
    for peer, most in ((BASE, 1.0), (SYNCED, 0.5)):
        if peer in costs:
            yield row(f"wall time of vault / {peer}", ratio(costs, "vault", peer), most)
    for name in ("vault", "command"):
        if name not in costs:
            continue
        peak = max(cost.memory for cost in costs[name])
        yield row(f"peak memory of {name}, MiB", peak, MEMORY + 2.5 * max(sizes) / (1 << 20))


def row(what: str, found: float, most: float) -> str:
    """One target."""
    return f"{'met' if found <= most else 'MISSED':>7}  {what}: {found:.2f}, at most {most:.2f}"


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.0, metavar="MILLISECONDS")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--again", action="store_true", help="a second run with nothing new")
    parser.add_argument("--only", nargs="*", default=USUAL, choices=[*CONTENDERS, *PEERS])
    parser.add_argument("--maildir", type=Path, help="a corpus to use, or to make and keep")
    parser.add_argument("--folder", help="on the disk to measure; a temporary folder")
    parser.add_argument("--be", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--delay", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.delay:
        port, seconds = options.delay
        asyncio.run(delay(int(port), float(seconds)))
        return
    if options.be:
        name, port, ca_file, work = options.be
        Path(work).mkdir(parents=True, exist_ok=True)
        print(json.dumps(CONTENDERS[name](int(port), ca_file, Path(work))))
        return
    compete(options)


if __name__ == "__main__":
    main()
