"""An index is written on local disks only, and read wherever it is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mmret.errors import MmretError
from mmret.index import IndexStore, place
from mmret.index.migrations import migrate
from tests.index.made_up import DIM, add, new_store, unit_rows
from tests.index.old_formats import write_old_index

ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"


def mounted(folder: Path, kind: str, options: str = "rw", *, name: str | None = None) -> str:
    point = str(folder if name is None else folder / name).replace(" ", "\\040")
    return f"90 27 0:50 / {point} rw,relatime shared:7 - {kind} server:/export {options}"


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("nfs4", "rw,vers=4.2"),
        ("cifs", "rw"),
        ("smb3", "rw"),
        ("fuse.sshfs", "rw"),
        ("9p", "rw,trans=tcp,port=564"),
    ],
)
def test_a_network_file_system_is_refused_by_name(tmp_path: Path, mounts: Path, kind: str, options: str) -> None:
    mounts.write_text(f"{ROOT}\n{mounted(tmp_path, kind, options)}\n")
    for folder in (tmp_path, tmp_path / "not" / "made yet"):
        with pytest.raises(MmretError, match=rf"network file system \({kind}\).*local disk"):
            place.refuse_network(folder, mounts)
    place.refuse_network(tmp_path.parent, mounts)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, "rw") for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "virtiofs", "zfs", "fuseblk")),
        ("9p", "rw,trans=virtio,version=9p2000.L"),
        ("9p", "rw,trans=fd,rfdno=4,wfdno=4"),
        ("fuse.gocryptfs", "rw"),
        ("never_heard_of", "rw"),
    ],
)
def test_local_and_unknown_file_systems_are_taken(tmp_path: Path, mounts: Path, kind: str, options: str) -> None:
    mounts.write_text(f"{ROOT}\n{mounted(tmp_path, kind, options)}\n")
    place.refuse_network(tmp_path, mounts)


def test_the_innermost_and_the_topmost_mount_counts(tmp_path: Path, mounts: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a b")
    mounts.write_text("\n".join((mounted(tmp_path, "xfs", name="a b"), mounted(tmp_path, "nfs"), ROOT)))
    place.refuse_network(tmp_path / "a b", mounts)
    place.refuse_network(tmp_path / "link" / "index", mounts)
    with pytest.raises(MmretError):
        place.refuse_network(tmp_path / "a", mounts)
    for first, second, refused in (("nfs", "ext4", False), ("ext4", "nfs", True)):
        mounts.write_text("\n".join((ROOT, mounted(tmp_path, first), mounted(tmp_path, second))))
        if refused:
            with pytest.raises(MmretError):
                place.refuse_network(tmp_path, mounts)
        else:
            place.refuse_network(tmp_path, mounts)


def test_where_the_system_tells_nothing_the_folder_is_taken(tmp_path: Path, mounts: Path) -> None:
    place.refuse_network(tmp_path, mounts)
    mounts.write_text("")
    place.refuse_network(tmp_path, mounts)


def test_an_index_on_a_network_is_read_and_not_written(
    tmp_path: Path, mounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_rows(3)
    with closing(new_store(tmp_path / "index")) as store:
        add(store, "a.wav", vectors)
    old = write_old_index(tmp_path / "old", 1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*[!m]") if path.is_file()}
    mounts.write_text(mounted(tmp_path, "nfs"))
    monkeypatch.setattr(place.refuse_network, "__defaults__", (mounts,))
    with closing(IndexStore.open(tmp_path / "index")) as store:
        with store.snapshot() as snapshot:
            assert np.array_equal(snapshot.maps[0].vectors, vectors)
        with pytest.raises(MmretError, match="nfs"), store.writer():
            pass
    with pytest.raises(MmretError, match="nfs"):
        migrate(old)
    with pytest.raises(MmretError, match="nfs"):
        IndexStore.create(tmp_path / "new", dim=DIM, meta={})
    mounts.unlink()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*[!m]") if path.is_file()} == before
