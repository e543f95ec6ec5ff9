r"""A real Cyrus IMAP server on a random loopback port: the second opinion beside Dovecot.

Debian's packages of the two cannot be installed together, so that this one is downloaded
(`apt-get download`, which needs no privileges) and unpacked into a folder of its own::

    with cyrus(cache=Path("debs")) as server:
        server.put("user0", [b"Subject: hello\r\n\r\nhello\r\n"])

It takes any password.  A machine without Debian's packages gets `ServerMissing`, never a
skipped test.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.testing._raw_imap import RawImap
from mailarchive.testing.dovecot import ServerMissing, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PACKAGES", "Cyrus", "ServerMissing", "cyrus"]

PACKAGES = (
    "cyrus-common",
    "cyrus-imapd",
    "libclamav12",
    "libical3",
    "libjansson4",
    "libpcre3",
    "libpq5",
    "libxapian30",
    "libzephyr4",
)
"""What is downloaded and unpacked; the rest is on every Debian 12."""

_START = 20.0

_IMAPD = """
configdirectory: {root}/lib
partition-default: {root}/spool
defaultpartition: default
proc_path: {root}/proc
cyrus_user: {user}
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
unixhierarchysep: yes
munge8bit: no
autocreate_quota: 0
autocreate_inbox_folders: Sent
tls_server_cert: disabled
"""

_MASTER = """
START {{
  recover cmd="{bin}/ctl_cyrusdb -C {root}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {root}/imapd.conf" listen="127.0.0.1:{port}" prefork=0
}}
EVENTS {{
}}
"""


@frozen
class Cyrus:
    """A running server; `put` fills it, `raw` changes it behind the library's back."""

    port: int
    host: str = "127.0.0.1"
    password: str = "any will do"  # noqa: S105  # it opens a throw-away server
    _users: Iterator[int] = field(factory=count, repr=False)

    def new_user(self) -> str:
        """Return the name of a mailbox that nobody has used; it is made at its first login."""
        return f"user{next(self._users)}"

    def raw(self, user: str) -> RawImap:
        """Return a plain connection logged in as a user, to set the scene with."""
        connection = RawImap(self.host, self.port)
        connection.log_in(user, self.password)
        return connection

    def put(
        self,
        user: str,
        messages: Iterable[bytes],
        folder: str = "INBOX",
        flags: Iterable[str] = (),
    ) -> None:
        """Append messages to a folder, which is made if it is not there."""
        with self.raw(user) as connection:
            connection.append(folder, messages, flags)


@contextlib.contextmanager
def cyrus(cache: Path, *, extra: str = "") -> Iterator[Cyrus]:
    """Start a server, yield it when it answers, and stop it; packages are kept in `cache`.

    `extra` is put at the end of its configuration, as `altnamespace: no`.
    """
    root = Path(tempfile.mkdtemp(prefix="mailarchive-cyrus-"))
    try:
        for package in _packages(cache):
            subprocess.run(["dpkg", "-x", str(package), str(root / "system")], check=True)
        server = Cyrus(free_port())
        with _running(root, server, extra):
            yield server
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _packages(cache: Path) -> list[Path]:
    """Return the packages, downloaded where they are not there yet."""
    lacking = [name for name in PACKAGES if not list(cache.glob(f"{name}_*.deb"))]
    if lacking:
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise ServerMissing("Cyrus comes from Debian's packages, and this is no Debian")
        loading = ["apt-get", "download", *lacking]
        done = subprocess.run(loading, cwd=cache, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerMissing(f"{' '.join(loading)}: {done.stderr.strip()}")
    return [next(cache.glob(f"{name}_*.deb")) for name in PACKAGES]


@contextlib.contextmanager
def _running(root: Path, server: Cyrus, extra: str) -> Iterator[None]:
    user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    root.chmod(0o755)
    folders = [root / name for name in ("lib", "spool", "proc")]
    for folder in folders:
        folder.mkdir()
        if os.getuid() == 0:
            shutil.chown(folder, user)
    binaries = root / "system" / "usr" / "lib" / "cyrus" / "bin"
    (root / "imapd.conf").write_text(_IMAPD.format(root=root, user=user) + extra)
    (root / "cyrus.conf").write_text(_MASTER.format(root=root, bin=binaries, port=server.port))
    libraries = [
        *(root / "system").glob("usr/lib/*-linux-gnu"),
        *(root / "system").glob("lib/*-linux-gnu"),
    ]
    with (root / "out.log").open("wb") as out:
        process = subprocess.Popen(
            [
                str(binaries / "master"),
                *("-D", "-C", str(root / "imapd.conf"), "-M", str(root / "cyrus.conf")),
                *("-p", str(root / "lib" / "master.pid")),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))},
            start_new_session=True,
        )
        try:
            _wait(server, process, root)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(server: Cyrus, process: subprocess.Popen[bytes], root: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((server.host, server.port), 5) as probe,
        ):
            if probe.recv(4) == b"* OK":
                return
        time.sleep(0.02)
    raise RuntimeError(f"Cyrus does not start: {(root / 'out.log').read_text('utf-8', 'replace')}")
