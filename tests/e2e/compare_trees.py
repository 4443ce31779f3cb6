#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the files of a source disk with those of its conversion.

    compare_trees.py SOURCE CONVERTED [--source-mount PATH=START:BYTES ...] [--converted-mount PATH=START:BYTES ...]

Every path that the manifest of the conversion does not name, or names as new though the source has it (of another partition),
must be the same: kind, mode, owner, size, content, link text,
device number, extended attributes (and with them ACLs and labels), inode flags (lsattr: immutable, append-only, no dump and
the like), time of the last change, and which names are hard links of one file. Prints each difference; ends with 1 if there is one. Needs root: both are mounted read-only, one after the
other, in a mount namespace of this program's own.
"""
import argparse
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

MANIFEST = '/var/lib/amilift/manifest.json'
CLONE_NEWNS = 0x00020000
CHUNK = 1 << 20
FS_IOC_GETFLAGS = 0x80086601
#: Flags of linux/fs.h and fs/ext4/ext4.h that say how the filesystem has laid a file out, not what somebody wanted of it:
#: compressed blocks (two), an index of a directory, a huge file, extents, attributes in an inode, blocks behind the end,
#: data inside of the inode.
LAYOUT_FLAGS = 0x100 | 0x200 | 0x1000 | 0x40000 | 0x80000 | 0x200000 | 0x400000 | 0x10000000


def leave_mount_namespace() -> None:
    """No mount of this process is seen outside of it, and none outlives it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        sys.exit(f'cannot make a mount namespace: {os.strerror(ctypes.get_errno())}; run as root')
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)


def mount(image: Path, place: tuple[int, int], directory: Path) -> None:
    """`place` is the first byte and the number of bytes; 0 bytes: all that follow."""
    loop = subprocess.run(['losetup', '--find', '--show', '--read-only', '--offset', str(place[0]), '--sizelimit', str(place[1]), image],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    try:
        kind = subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'TYPE', loop], stdout=subprocess.PIPE, text=True).stdout.strip()
        options = {'xfs': 'ro,norecovery,nouuid', 'ext2': 'ro', 'btrfs': 'ro,rescue=nologreplay,subvol=@'}.get(kind, 'ro,noload')
        subprocess.run(['mount', '-t', kind, '-o', options, loop, directory], check=True)
    finally:
        # While it is mounted, this says only that the unmounting shall do it.
        subprocess.run(['losetup', '--detach', loop], check=True)


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All paths below `root`, as the image names them, each with its status. The lost+found of a filesystem is no file of the
    image: another filesystem has its own."""
    pending = [str(root)]
    while pending:
        directory = pending.pop()
        for entry in os.scandir(directory):
            if entry.name == 'lost+found' and os.path.ismount(directory):
                continue
            status = entry.stat(follow_symlinks=False)
            yield entry.path[len(str(root)):], status
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)


def digest(path: str) -> str:
    total = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def flags_of(path: str) -> str:
    """The inode flags of a regular file or a directory; empty where the filesystem has none. What else has some would not
    be opened without effect."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        # The kernel writes an int, whatever the number of the call says.
        (flags,) = struct.unpack('i', fcntl.ioctl(file, FS_IOC_GETFLAGS, struct.pack('i', 0)))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        return ''
    finally:
        os.close(file)
    return hex(flags & 0xffffffff & ~LAYOUT_FLAGS)


def describe(root: Path) -> dict[str, dict[str, object]]:
    paths: dict[str, dict[str, object]] = {}
    names_of: dict[tuple[int, int], list[str]] = {}
    for path, status in walk(root):
        real = f'{root}{path}'
        mode = status.st_mode
        facts: dict[str, object] = {
            'mode': oct(mode), 'owner': (status.st_uid, status.st_gid), 'mtime': status.st_mtime_ns,
            'attributes': {name: os.getxattr(real, name, follow_symlinks=False)
                           for name in sorted(os.listxattr(real, follow_symlinks=False))},
        }
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            facts['flags'] = flags_of(real)
        if stat.S_ISREG(mode):
            facts['content'] = digest(real)
            facts['size'] = status.st_size
        elif stat.S_ISLNK(mode):
            facts['text'] = os.readlink(real)
        elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            facts['device'] = status.st_rdev
        if not stat.S_ISDIR(mode):
            names_of.setdefault((status.st_dev, status.st_ino), []).append(path)
        paths[path] = facts
    for names in names_of.values():
        for path in names:
            paths[path]['names'] = sorted(names)
    return paths


def read_disk(image: Path, mounts: dict[str, tuple[int, int]]) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    """The paths of a disk whose filesystems are mounted as `mounts` says (path: place), and its manifest or nothing."""
    with tempfile.TemporaryDirectory(prefix='amilift-compare-') as directory:
        root, mounted = Path(directory), []
        try:
            # A mount point comes before what is mounted below it.
            for path, place in sorted(mounts.items()):
                mount(image, place, root / path.lstrip('/'))
                mounted.append(root / path.lstrip('/'))
            manifest = root / MANIFEST.lstrip('/')
            return describe(root), json.loads(manifest.read_text()) if manifest.is_file() else {}
        finally:
            for place in reversed(mounted):
                subprocess.run(['umount', place], check=True)


def differences(before: dict[str, dict[str, object]], after: dict[str, dict[str, object]], named: set[str]) -> list[str]:
    """What differs outside of the paths `named`."""
    found = []
    for path in sorted((before.keys() | after.keys()) - named):
        if path not in after or path not in before:
            found.append(f'{path}: only in the {"source" if path in before else "converted disk"}')
            continue
        for fact in before[path].keys() | after[path].keys():
            old, new = before[path].get(fact), after[path].get(fact)
            if old != new:
                found.append(f'{path}: {fact} was {old!r}, is {new!r}')
    return found


def a_mount(text: str) -> tuple[str, tuple[int, int]]:
    path, _, place = text.rpartition('=')
    start, _, size = place.partition(':')
    if not path.startswith('/'):
        raise ValueError(text)
    return path, (int(start), int(size))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('converted', type=Path)
    for which, default in (('source', 0), ('converted', 1 << 20)):
        parser.add_argument(f'--{which}-mount', type=a_mount, action='append', metavar='PATH=START:BYTES',
                            help=f'a filesystem of that disk: where it is mounted, its place (default /={default}:0, 0 is all)')
    arguments = parser.parse_args()
    leave_mount_namespace()
    before, _ = read_disk(arguments.source, dict(arguments.source_mount or [('/', (0, 0))]))
    after, manifest = read_disk(arguments.converted, dict(arguments.converted_mount or [('/', (1 << 20, 0))]))
    if not manifest:
        sys.exit(f'the converted disk has no {MANIFEST}')
    named = {entry['path'] for entry in manifest['entries'] if 'before' in entry or entry['path'] not in before}
    found = differences(before, after, named | {MANIFEST})
    for line in found:
        print(line)
    print(f'{len(before)} paths compared, {len(found)} differences outside of the manifest')
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
