"""The whole path: a journal mailbox on a loopback Dovecot into a vault, by the real command.

    python tests/benchmarks/bench_path.py --count 2000

Messages and megabytes a second, CPU time and peak memory of the command, from the kernel;
beside it the same mailbox read by the source alone, with every byte dropped, so that the
ratio says what decoding, mapping, hashing, compressing and storing durably cost together.
A second run with nothing new closes the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import corpus

from mailarchive.testing.dovecot import USERS, Dovecot, dovecot

USER = "alice@example.com"
READER = """
import sys
from mailarchive.auth import Password
from mailarchive.sources.imap import FolderChoice, ImapSource
host, port, user, password, ca = sys.argv[1:]
with ImapSource(host, port=int(port), auth=Password(user, password), ca_file=ca or None,
                security="ssl" if ca else "plain", allow_plaintext=True,
                folders=FolderChoice.only("INBOX")) as source:
    for folder in source.folders():
        for page in source.scan(folder):
            for message in source.fetch(page.refs):
                pass
"""


class Cost(NamedTuple):
    """What a process took: seconds on the clock, of the processor, and MiB at its peak."""

    wall: float
    cpu: float
    memory: float


def measure(*words: str) -> Cost:
    """Run a command to its end and return what it took; it must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[2]} failed")
    wall = time.perf_counter() - start
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def job(folder: Path, server: Dovecot, *, tls: bool) -> Path:
    """Write a job that archives the mailbox."""
    rows = [f"{each.id},{each.name},{'; '.join(each.addresses)}" for each in corpus.people()]
    (folder / "users.csv").write_text("\n".join(["id,name,addresses", *rows, ""]))
    (folder / "secret").write_text(USERS[USER])
    way = (
        f'port = {server.imaps_port}\nca_file = "{server.ca_file}"\n'
        if tls
        else f'port = {server.imap_port}\nsecurity = "plain"\nallow_plaintext = true\n'
    )
    file = folder / "archive.toml"
    file.write_text(
        f'[source]\nkind = "imap"\nhost = "{server.host}"\nuser = "{USER}"\n'
        f'password = {{ file = "secret" }}\nfolders = ["INBOX"]\n{way}'
        '[users]\ncsv = "users.csv"\n[vault]\npath = "bench.vault"\nencryption = "none"\n'
    )
    return file


def fill(server: Dovecot, count: int) -> int:
    """Put the reports where Dovecot finds them; return how many bytes."""
    maildir = server.folder / "home" / USER / "Maildir"
    # In a process of its own: a child's peak memory begins with that of its parent.
    making = (
        f"import corpus; corpus.write_maildir({str(maildir)!r}, corpus.journal_reports({count}))"
    )
    subprocess.run([sys.executable, "-c", making], cwd=Path(__file__).parent, check=True)
    size = sum(each.stat().st_size for each in (maildir / "cur").iterdir())
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "dovecot:", str(maildir.parent)], check=True)
    return size


def line(name: str, cost: Cost, count: int, size: int) -> str:
    """Return a row of the table."""
    rate, speed = count / cost.wall, size / cost.wall / 1e6
    return (
        f"{name:24} {cost.wall:7.2f} s {cost.cpu:7.2f} CPU s {rate:8.0f} messages/s "
        f"{speed:7.1f} MB/s {cost.memory:6.0f} MiB"
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mailarchive-bench-"))
    try:
        with dovecot() as server:
            table(folder, server, arguments.count, tls=arguments.tls)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(folder: Path, server: Dovecot, count: int, *, tls: bool) -> None:
    """Print one row a measurement, and the ratios."""
    size = fill(server, count)
    port = server.imaps_port if tls else server.imap_port
    ca_file = str(server.ca_file) if tls else ""
    reader = (sys.executable, "-c", READER, server.host, str(port), USER, USERS[USER], ca_file)
    measure(*reader)  # so that Dovecot's index and the page cache are warm for both
    alone = measure(*reader)
    run = (sys.executable, "-m", "mailarchive", "run", str(job(folder, server, tls=tls)))
    whole = measure(*run, "--quiet")
    again = measure(*run, "--quiet")
    stored = sum(each.stat().st_size for each in folder.rglob("*.tar"))
    print(f"{count:,} reports, {size / 1e6:,.1f} MB, {'TLS' if tls else 'plain TCP'}")
    print(line("read and dropped", alone, count, size))
    print(line("archived", whole, count, size))
    print(line("second run, nothing new", again, 0, 0))
    print(f"archived / read: {whole.wall / alone.wall:.2f} wall, {whole.cpu / alone.cpu:.2f} CPU")
    print(f"stored: {stored / size:.3f} of the size")


if __name__ == "__main__":
    main()
