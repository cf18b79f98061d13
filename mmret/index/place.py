"""Where an index may be written: not on a network file system, and not where this user may only read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mmret.errors import IndexReadOnly, MmretError

MOUNTS = Path("/proc/self/mountinfo")
# Named one by one: an unknown type, a FUSE file system among them, is more often a local disk than not.
NETWORK_TYPES = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre", "beegfs", "davfs"),
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.goofys", "fuse.gcsfuse", "fuse.blobfuse", "fuse.davfs"),
        *("fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.smbnetfs", "fuse.curlftpfs", "fuse.juicefs"),
    )
)
_ESCAPE = re.compile(r"\\([0-7]{3})")  # how a mount point spells a space
# 9p joins virtual machines and containers to a disk of their own host, unless it goes over one of these
_NETWORK_9P = frozenset(("trans=tcp", "trans=rdma"))


def may_write(folder: Path) -> bool:
    """Whether this user can make files in a folder."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def read_only(folder: Path) -> IndexReadOnly:
    """What to tell whoever wants to change the index in a folder that cannot be written to."""
    return IndexReadOnly(
        f"{folder} cannot be written to by this user, so nothing was changed. Searching it works; to change it, copy "
        "it to a place of your own and use the copy"
    )


def refuse_network(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raise MmretError if writing in `folder` would go over a network; where the system tells nothing, it may."""
    kind = _network_type(folder.resolve(), mounts)
    if kind is not None:
        raise MmretError(
            f"{folder} lies on a network file system ({kind}), on which SQLite cannot keep an index whole. "
            "Nothing was written. Put the index on a local disk; the recordings may stay where they are"
        )


def _network_type(folder: Path, mounts: Path) -> str | None:
    """Type of the network file system that holds an absolute folder; None for any other."""
    try:
        lines = os.fsdecode(mounts.read_bytes()).splitlines()
    except OSError:
        return None
    nearest, depth = None, 0
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), before.split()[4]))
        if len(point.parts) >= depth and folder.is_relative_to(point):  # of two at one place the later lies on top
            nearest, depth = after.split(), len(point.parts)
    if nearest is None:
        return None
    kind, *_, options = nearest
    remote = kind in NETWORK_TYPES or (kind == "9p" and not _NETWORK_9P.isdisjoint(options.split(",")))
    return kind if remote else None
