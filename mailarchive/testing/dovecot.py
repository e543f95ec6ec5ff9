r"""A real Dovecot 2.3 on random loopback ports, with its own configuration and no privileges.

For tests of what reads or feeds an IMAP server::

    with dovecot() as server:
        server.put("alice@example.com", [b"Subject: hello\r\n\r\nhello\r\n"])
        ImapSource(server.host, port=server.imaps_port, ca_file=server.ca_file, auth=...)

It runs as whoever starts it.  Dovecot refuses to serve mail as root, so a test run as root
serves it as the system's `dovecot` user, with logins as `dovenull`.  Debian's packages are
`dovecot-imapd` and `dovecot-lmtpd`; a machine without them gets `ServerMissing`, never a
skipped test.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from mailarchive.testing._introspection import Introspection
from mailarchive.testing._raw_imap import RawImap
from mailarchive.testing.certificates import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["USERS", "Dovecot", "ServerMissing", "dovecot"]

USERS = {"alice@example.com": "alice's secret", "bob@example.com": "bob's secret"}
"""The mailboxes of a server that is not told otherwise, and their passwords."""

MASTERS = {"admin": "the master's secret"}
"""The master users, who may open every mailbox."""

SPARE = 1_000
"""Mailboxes beside the named ones, for `new_user`: Dovecot reads its list once a second."""

SPARE_PASSWORD = "a new user's secret"  # noqa: S105  # it opens a throw-away server

_START = 15.0


class ServerMissing(RuntimeError):
    """A server that tests need is not installed."""


_CONFIGURATION = """
base_dir = {run}/run
state_dir = {run}/state
instance_name = mailarchive-test
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = {host}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login_user}
first_valid_uid = 0
first_valid_gid = 0
mail_uid = {uid}
mail_gid = {gid}
mail_home = {folder}/home/%u
mail_location = maildir:~/Maildir
mail_fsync = never
mailbox_list_index = yes
disable_plaintext_auth = {no_plaintext}
auth_mechanisms = plain login external xoauth2 oauthbearer
auth_master_user_separator = *
auth_cache_size = 0
auth_failure_delay = 0
auth_ssl_username_from_cert = yes
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
ssl_ca = <{folder}/cert.pem
ssl_verify_client_cert = yes
ssl_require_crl = no
ssl_cert_username_field = commonName
ssl_min_protocol = TLSv1.2
mail_max_userip_connections = {connections}
verbose_proctitle = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
  mechanisms = plain login
}}
passdb {{
  driver = static
  args = nopassword=y
  mechanisms = external
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    special_use = \\Drafts
    auto = create
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
  mailbox "Sent Items" {{
    special_use = \\Sent
    auto = create
  }}
  mailbox "Deleted Items" {{
    special_use = \\Trash
    auto = create
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  process_min_avail = 0
  inet_listener imap {{
    address = {host}
    port = {imap_port}
  }}
  inet_listener imaps {{
    address = {host}
    port = {imaps_port}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = {host}
    port = {lmtp_port}
  }}
}}
{extra}
"""

_OAUTH = """
introspection_mode = post
introspection_url = http://dovecot:secret@127.0.0.1:{port}/introspect
username_attribute = email
active_attribute = active
active_value = true
timeout_msecs = 3000
max_idle_time_msecs = 1000
"""

_ASKED_AT_MOST = 50
"""Times that Dovecot is asked for a session, each of which takes it some milliseconds."""


@frozen
class Dovecot:
    """A running server; `doveadm` administers it, `put` and `folders` fill it."""

    folder: Path
    host: str
    imap_port: int
    imaps_port: int
    lmtp_port: int
    tokens: dict[str, str] = field(repr=False)
    """Access tokens that are valid now, and whose they are; tests add to it."""
    password: str = SPARE_PASSWORD
    """The password of everybody that `new_user` names."""
    _spare: Iterator[str] = field(factory=lambda: iter(_spare_users()), repr=False)

    @property
    def ca_file(self) -> Path:
        """The certificate to trust: the server signed it itself, for its address."""
        return self.folder / "cert.pem"

    @property
    def log(self) -> str:
        """What the server wrote to its log."""
        return (self.folder / "dovecot.log").read_text("utf-8", "replace")

    def doveadm(self, *arguments: str) -> str:
        """Run an administration command and return what it printed."""
        command = ["doveadm", "-c", str(self.folder / "dovecot.conf"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def raw(self, user: str) -> RawImap:
        """Return a plain connection logged in as one of `USERS`, to set the scene with."""
        connection = RawImap(self.host, self.imap_port)
        connection.log_in(user, _passwords(self.folder)[user])
        return connection

    def put(
        self,
        user: str,
        messages: Iterable[bytes],
        folder: str = "INBOX",
        flags: Iterable[str] = (),
    ) -> None:
        """Append messages to a folder, which is made if it is not there.

        The bytes come back as they are where their lines end in CRLF.
        """
        with self.raw(user) as connection:
            connection.append(folder, messages, flags)

    def new_user(self) -> str:
        """Return the name of a mailbox that nobody has used yet; there are `SPARE` of them."""
        return next(self._spare)

    def processes(self, user: str) -> list[int]:
        """Return the ids of the processes that serve a user's IMAP sessions.

        Dovecot learns of a session a moment after the login: it is asked until it knows one,
        and a user without any has an empty list.
        """
        for _ in range(_ASKED_AT_MOST):
            lines = self.doveadm("who", "-1", user).splitlines()[1:]
            if found := [int(line.split()[2]) for line in lines if " imap " in line]:
                return found
        return []

    def kick(self, user: str) -> None:
        """Have the server disconnect the sessions of a user, who must have one."""
        self.processes(user)  # it kicks only those that it knows of
        self.doveadm("kick", user)


def _spare_users() -> list[str]:
    return [f"user-{number}@example.com" for number in range(SPARE)]


def _passwords(folder: Path) -> dict[str, str]:
    lines = (folder / "users").read_text().splitlines()
    return dict(line.split(":")[:2] for line in lines)


@contextlib.contextmanager
def dovecot(
    *,
    users: Mapping[str, str] | None = None,
    masters: Mapping[str, str] | None = None,
    plaintext: bool = True,
    connections: int = 50,
    names: Iterable[str] = (),
    extra: str = "",
) -> Iterator[Dovecot]:
    """Start a server, yield it when it answers, and stop it.

    `plaintext=False` makes it refuse passwords before TLS (LOGINDISABLED); `connections`
    is how many one user may have; `names` are in its
    certificate beside its address; `extra` is put at the end of its configuration.
    """
    if shutil.which("dovecot", path=_path()) is None or shutil.which("doveadm") is None:
        raise ServerMissing("apt-get install --no-install-recommends dovecot-imapd dovecot-lmtpd")
    root = Path(tempfile.mkdtemp(prefix="mailarchive-dovecot-"))
    try:
        with Introspection() as provider:
            settings = {
                "no_plaintext": "no" if plaintext else "yes",
                "connections": connections,
                "extra": extra,
            }
            everybody = {**(users or USERS), **dict.fromkeys(_spare_users(), SPARE_PASSWORD)}
            # Dovecot takes a connection between equal addresses to be protected.
            host = "127.0.0.1" if plaintext else "127.0.0.2"
            self_signed(root, [f"IP:{host}", *(f"DNS:{name}" for name in names)])
            _prepare(root, everybody, masters or MASTERS, provider.port)
            with _running(root, host, settings, provider.tokens) as server:
                yield server
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


def _prepare(
    root: Path, users: Mapping[str, str], masters: Mapping[str, str], provider: int
) -> None:
    root.chmod(0o755)
    for name in ("run", "state", "home"):
        (root / name).mkdir()
    (root / "users").write_text("".join(f"{u}:{p}::::::\n" for u, p in users.items()))
    (root / "masters").write_text("".join(f"{u}:{p}::::::\n" for u, p in masters.items()))
    (root / "oauth2.conf").write_text(_OAUTH.format(port=provider))
    if os.getuid() == 0:
        owner = pwd.getpwnam("dovecot")
        for name in ("home", "state"):
            os.chown(root / name, owner.pw_uid, owner.pw_gid)


def free_port() -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(
    root: Path, host: str, settings: Mapping[str, object], tokens: dict[str, str]
) -> Iterator[Dovecot]:
    mail_owner = pwd.getpwuid(os.getuid())
    login_user = mail_owner.pw_name
    if os.getuid() == 0:
        mail_owner, login_user = pwd.getpwnam("dovecot"), "dovenull"
    server = Dovecot(root, host, free_port(), free_port(), free_port(), tokens)
    configuration = _CONFIGURATION.format(
        run=root,
        host=host,
        folder=root,
        user=mail_owner.pw_name,
        group=grp.getgrgid(mail_owner.pw_gid).gr_name,
        login_user=login_user,
        uid=mail_owner.pw_uid,
        gid=mail_owner.pw_gid,
        imap_port=server.imap_port,
        imaps_port=server.imaps_port,
        lmtp_port=server.lmtp_port,
        **settings,
    )
    (root / "dovecot.conf").write_text(configuration)
    with (root / "out.log").open("wb") as out:
        process = subprocess.Popen(
            ["dovecot", "-F", "-c", str(root / "dovecot.conf")],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": _path()},
            start_new_session=True,
        )
        try:
            _wait(server, process)
            yield server
        finally:
            _stop(process)


def _wait(server: Dovecot, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((server.host, server.imap_port), 1) as probe,
        ):
            if probe.recv(4) == b"* OK":
                return
        time.sleep(0.01)
    said = (server.folder / "out.log").read_text("utf-8", "replace")
    log = server.folder / "dovecot.log"
    raise RuntimeError(f"Dovecot does not start: {said}{log.read_text() if log.exists() else ''}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and every process that it started: what it holds is thrown away."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
