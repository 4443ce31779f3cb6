"""Contents of volumes and snapshots: chains of qcow2 layers, or sparse files without QEMU."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Protocol

from .errors import LocalEc2Error

_COMMAND_SECONDS = 120
_GIB = 1 << 30


class Store(Protocol):
    """Where volumes and snapshots live. Sizes are in GiB, as in the EC2 API."""

    def import_image(self, snapshot_id: str, path: Path) -> int:
        """Make the raw image at `path` a snapshot without copying it; returns its size in GiB.

        The file must stay as it is for as long as the Local EC2 runs.
        """

    def create(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        """Create a volume, empty or with the content of a snapshot."""

    def delete(self, volume_id: str) -> None:
        """Delete a volume. Snapshots made from it stay."""

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """Freeze the present content of a volume that no guest has open."""

    def copy_snapshot(self, source_id: str, target_id: str) -> None:
        """Give the content of one snapshot a second name."""

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Forget a snapshot. Volumes made from it stay."""

    def export_snapshot(self, snapshot_id: str, path: Path) -> None:
        """Write the content of a snapshot to a raw, sparse file."""


class QcowStore:
    """A volume is the top of a chain of qcow2 layers; a snapshot is a frozen layer.

    The host's filesystem need not be able to share extents. Layers under a deleted snapshot
    stay until the directory is removed: later layers may need them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._count = 0
        self._tops: dict[str, Path] = {}
        self._frozen: dict[str, tuple[Path, str]] = {}

    def import_image(self, snapshot_id: str, path: Path) -> int:
        """See Store."""
        if not path.is_file():
            raise LocalEc2Error(f"cannot import '{path}' as {snapshot_id}: no such file")
        with self._lock:
            self._frozen[snapshot_id] = (path.resolve(), "raw")
        return -(-path.stat().st_size // _GIB)

    def create(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        """See Store."""
        layer = self._new_layer(volume_id)
        backing: list[str] = []
        if snapshot_id is not None:
            path, kind = self._snapshot(snapshot_id)
            backing = ["-b", str(path), "-F", kind]
        run_qemu_img("create", "-q", "-f", "qcow2", *backing, str(layer), f"{size_gib}G")
        with self._lock:
            self._tops[volume_id] = layer

    def delete(self, volume_id: str) -> None:
        """See Store."""
        with self._lock:
            layer = self._tops.pop(volume_id, None)
        if layer is not None:
            layer.unlink(missing_ok=True)

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """See Store."""
        old, new = self.top(volume_id), self._new_layer(volume_id)
        run_qemu_img("create", "-q", "-f", "qcow2", "-b", str(old), "-F", "qcow2", str(new))
        self.freeze(volume_id, snapshot_id, new)

    def copy_snapshot(self, source_id: str, target_id: str) -> None:
        """See Store."""
        source = self._snapshot(source_id)
        with self._lock:
            self._frozen[target_id] = source

    def delete_snapshot(self, snapshot_id: str) -> None:
        """See Store."""
        with self._lock:
            self._frozen.pop(snapshot_id, None)

    def export_snapshot(self, snapshot_id: str, path: Path) -> None:
        """See Store."""
        source, kind = self._snapshot(snapshot_id)
        run_qemu_img("convert", "-U", "-f", kind, "-O", "raw", str(source), str(path))

    def top(self, volume_id: str) -> Path:
        """The layer that a guest has to open for a volume."""
        with self._lock:
            layer = self._tops.get(volume_id)
        if layer is None:
            raise LocalEc2Error(f"volume {volume_id} has no storage")
        return layer

    def prepare_online_layer(self, volume_id: str) -> Path:
        """Name of the layer that a running guest shall write to after a snapshot."""
        return self._new_layer(volume_id)

    def freeze(self, volume_id: str, snapshot_id: str, new_top: Path) -> None:
        """Record that the top of a volume became a snapshot and `new_top` lies over it."""
        with self._lock:
            self._frozen[snapshot_id] = (self._tops[volume_id], "qcow2")
            self._tops[volume_id] = new_top

    def _new_layer(self, volume_id: str) -> Path:
        with self._lock:
            self._count += 1
            return self._directory / f"{volume_id}.{self._count:04d}.qcow2"

    def _snapshot(self, snapshot_id: str) -> tuple[Path, str]:
        with self._lock:
            found = self._frozen.get(snapshot_id)
        if found is None:
            raise LocalEc2Error(f"snapshot {snapshot_id} has no storage")
        return found


class SparseStore:
    """Volumes and snapshots as sparse raw files, for a Local EC2 without guests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._imported: dict[str, Path] = {}

    def import_image(self, snapshot_id: str, path: Path) -> int:
        """See Store."""
        if not path.is_file():
            raise LocalEc2Error(f"cannot import '{path}' as {snapshot_id}: no such file")
        self._imported[snapshot_id] = path.resolve()
        return -(-path.stat().st_size // _GIB)

    def create(self, volume_id: str, size_gib: int, snapshot_id: str | None) -> None:
        """See Store."""
        target = self.path(volume_id)
        if snapshot_id is None:
            target.touch()
        else:
            copy_sparse(self.path(snapshot_id), target)
        os.truncate(target, size_gib * _GIB)

    def delete(self, volume_id: str) -> None:
        """See Store."""
        self.path(volume_id).unlink(missing_ok=True)

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """See Store."""
        copy_sparse(self.path(volume_id), self.path(snapshot_id))

    def copy_snapshot(self, source_id: str, target_id: str) -> None:
        """See Store."""
        copy_sparse(self.path(source_id), self.path(target_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        """See Store."""
        if self._imported.pop(snapshot_id, None) is None:
            self.path(snapshot_id).unlink(missing_ok=True)

    def export_snapshot(self, snapshot_id: str, path: Path) -> None:
        """See Store."""
        copy_sparse(self.path(snapshot_id), path)

    def path(self, resource_id: str) -> Path:
        """The file that holds a volume or snapshot."""
        return self._imported.get(resource_id) or self._directory / f"{resource_id}.raw"


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file and keep its holes. Both lie in filesystems that know SEEK_DATA."""
    with open(source, "rb", buffering=0) as reader, open(target, "wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            remaining = end - start
            while remaining:
                block = reader.read(min(remaining, 1 << 20))
                if not block:
                    raise LocalEc2Error(f"'{source}' became shorter while it was copied")
                writer.write(block)
                remaining -= len(block)
            position = end
        writer.truncate(size)


def run_qemu_img(*arguments: str) -> None:
    """Run qemu-img; raise LocalEc2Error with its message when it fails."""
    program = shutil.which("qemu-img")
    if program is None:
        raise LocalEc2Error("qemu-img is not installed: run packaging/setup test")
    result = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode != 0:
        raise LocalEc2Error(f"qemu-img {' '.join(arguments)}: {result.stderr.strip()}")
