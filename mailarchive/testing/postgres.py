"""A real PostgreSQL on a random loopback port, for as long as a test needs it.

::

    with postgres() as server:
        psycopg.connect(server.new_database())

It needs the server of the system: Debian's package is `postgresql`; a machine without it
gets `ServerMissing`, never a skipped test.  The server keeps nothing durable, and refuses
to run as root, so a test run as root runs it as the system's user `postgres`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailarchive.testing.dovecot import ServerMissing, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Postgres", "postgres"]

_START = 30.0
_FAST = (
    *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
    *("-c", "shared_buffers=32MB", "-c", "max_connections=60"),
)


@frozen
class Postgres:
    """A running server."""

    folder: Path
    port: int
    _numbers: Iterator[int] = field(factory=count, repr=False)

    def conninfo(self, database: str = "postgres") -> str:
        """Return what psycopg connects to a database with."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def new_database(self) -> str:
        """Make an empty database and return what psycopg connects to it with."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.conninfo(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement with the server's own client and return what it printed."""
        done = subprocess.run(
            [str(_programs() / "psql"), "-XAtq", self.conninfo(database), "-c", statement],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


def _programs() -> Path:
    """Where the newest server of the system has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise ServerMissing("apt-get install --no-install-recommends postgresql")
    return Path(on_path).parent


def _version(program: Path) -> int:
    digits = program.parent.parent.name
    return int(digits) if digits.isdecimal() else 0


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server, yield it when it answers, and stop it."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="mailarchive-postgres-"))
    whose: dict[str, Any] = {}
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        whose = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, port = folder / "data", free_port()
    make = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"]
    start = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
    start += ["-c", "listen_addresses=127.0.0.1", *_FAST]
    try:
        subprocess.run(
            [*make, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
            check=True,
            capture_output=True,
            cwd=folder,
            **whose,
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(start, stderr=log, stdout=log, cwd=folder, **whose)
            try:
                _wait(programs, port, process)
                yield Postgres(folder, port)
            finally:
                process.kill()  # what it holds is thrown away
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(programs: Path, port: int, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + _START
    ready = [
        str(programs / "pg_isready"),
        "-q",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-U",
        "postgres",
    ]
    while time.monotonic() < deadline and process.poll() is None:
        if subprocess.run(ready, check=False).returncode == 0:
            return
        time.sleep(0.02)
    raise RuntimeError("PostgreSQL does not start")
