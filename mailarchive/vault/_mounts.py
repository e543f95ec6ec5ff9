"""Which file system a path is on, and whether other machines write to it too."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from mailarchive.errors import Unsupported

MOUNTS = "/proc/self/mountinfo"
NETWORK = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "pvfs2",
        "smb3",
        "smbfs",
        "fuse.blobfuse",
        "fuse.blobfuse2",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.curlftpfs",
        "fuse.davfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.gvfsd-fuse",
        "fuse.juicefs",
        "fuse.mfs",
        "fuse.mountpoint-s3",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.smbnetfs",
        "fuse.sshfs",
    }
)
"""File systems that other machines write to: their locks and syncs are not what we rely on."""
KERNEL = frozenset({"cgroup", "cgroup2", "devpts", "proc", "sysfs"})
"""File systems in which the kernel shows itself: nobody can keep a file there."""


def refuse_unfit(path: Path, mounts: str | None = None) -> None:
    """Raise `Unsupported` where the path is on no file system that a vault can live on.

    `mounts` is in the form of /proc/self/mountinfo (proc(5)).  Where there is none, as
    outside Linux, nothing is known and nothing refused.
    """
    if mounts is None and sys.platform == "linux":
        mounts = _mounts()
    found = file_system(os.path.realpath(path), mounts or "")
    if found in NETWORK:
        raise Unsupported(
            f"a vault cannot live on a network file system ({found})",
            suggestions=[_ELSEWHERE],
        )
    if found in KERNEL:
        raise Unsupported(
            f"a vault cannot live where the kernel shows itself ({found})",
            suggestions=[_ELSEWHERE],
        )


_ELSEWHERE = "choose a folder on a disk of this machine"


def _mounts() -> str:
    try:
        return Path(MOUNTS).read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def file_system(path: str, mounts: str) -> str | None:
    """Return the type of the file system that `path` is on, as far as `mounts` tells."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        names = fields.split(" ")
        if len(names) < 5 or not rest:  # noqa: PLR2004 - proc(5): the fifth field is the mount point
            continue
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), names[4]).rstrip("/")
        covers = path == point or path.startswith(f"{point}/")
        # A later mount at the same point hides the earlier one.
        if covers and (best is None or len(point) >= best[0]):
            best = (len(point), _kind(*rest.split(" ")[:2]))
    return None if best is None else best[1]


def _kind(name: str, source: str = "") -> str:
    """The type by name; davfs2 leaves its own out, and says only of what URL it is."""
    return "davfs" if name == "fuse" and "://" in source else name


_OCTAL = re.compile(r"\\([0-7]{3})")
