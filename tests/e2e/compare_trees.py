#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the files of a source disk with those of its conversion.

    compare_trees.py SOURCE CONVERTED [--source-offset BYTES] [--converted-offset BYTES]

Every path that the manifest of the conversion does not name must be the same: kind, mode, owner, size, content, link text,
device number, extended attributes (and with them ACLs and labels), time of the last change, and which names are hard links
of one file. Prints each difference; ends with 1 if there is one. Needs root: both are mounted read-only, in a mount
namespace of this program's own.
"""
import argparse
import ctypes
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

MANIFEST = '/var/lib/amilift/manifest.json'
CLONE_NEWNS = 0x00020000
CHUNK = 1 << 20


def leave_mount_namespace() -> None:
    """No mount of this process is seen outside of it, and none outlives it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        sys.exit(f'cannot make a mount namespace: {os.strerror(ctypes.get_errno())}; run as root')
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)


def mount(image: Path, offset: int, directory: Path) -> None:
    kind = subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'TYPE', '-O', str(offset), image], stdout=subprocess.PIPE, text=True).stdout.strip()
    options = {'xfs': 'ro,norecovery,nouuid', 'ext2': 'ro'}.get(kind, 'ro,noload')
    subprocess.run(['mount', '-t', kind, '-o', f'{options},loop,offset={offset}', image, directory], check=True)


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All paths below `root`, as the image names them, each with its status."""
    pending = [str(root)]
    while pending:
        directory = pending.pop()
        for entry in os.scandir(directory):
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


def describe(root: Path) -> dict[str, dict[str, object]]:
    paths: dict[str, dict[str, object]] = {}
    names_of: dict[int, list[str]] = {}
    for path, status in walk(root):
        real = f'{root}{path}'
        mode = status.st_mode
        facts: dict[str, object] = {
            'mode': oct(mode), 'owner': (status.st_uid, status.st_gid), 'mtime': status.st_mtime_ns,
            'attributes': {name: os.getxattr(real, name, follow_symlinks=False)
                           for name in sorted(os.listxattr(real, follow_symlinks=False))},
        }
        if stat.S_ISREG(mode):
            facts['content'] = digest(real)
            facts['size'] = status.st_size
        elif stat.S_ISLNK(mode):
            facts['text'] = os.readlink(real)
        elif stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            facts['device'] = status.st_rdev
        if not stat.S_ISDIR(mode):
            names_of.setdefault(status.st_ino, []).append(path)
        paths[path] = facts
    for names in names_of.values():
        for path in names:
            paths[path]['names'] = sorted(names)
    return paths


def differences(source: Path, converted: Path) -> tuple[list[str], int]:
    """What differs outside of the manifest, and how many paths were compared."""
    document = json.loads((converted / MANIFEST[1:]).read_text())
    named = {entry['path'] for entry in document['entries']} | {MANIFEST}
    before, after = describe(source), describe(converted)
    found = []
    for path in sorted(before.keys() | after.keys()):
        if path in named:
            continue
        if path not in after or path not in before:
            found.append(f'{path}: only in the {"source" if path in before else "converted disk"}')
            continue
        for fact in before[path].keys() | after[path].keys():
            old, new = before[path].get(fact), after[path].get(fact)
            if old != new:
                found.append(f'{path}: {fact} was {old!r}, is {new!r}')
    return found, len(before)


def compare(source: Path, converted: Path, source_offset: int = 0, converted_offset: int = 1 << 20) -> tuple[list[str], int]:
    """As `differences`, of two disks. Enters a mount namespace of its own: for a process that ends afterwards."""
    leave_mount_namespace()
    with tempfile.TemporaryDirectory(prefix='amilift-compare-') as directory:
        places = [Path(directory) / 'source', Path(directory) / 'converted']
        mounted = []
        try:
            for image, offset, place in zip((source, converted), (source_offset, converted_offset), places):
                place.mkdir()
                mount(image, offset, place)
                mounted.append(place)
            return differences(*places)
        finally:
            for place in mounted:
                subprocess.run(['umount', place], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('converted', type=Path)
    parser.add_argument('--source-offset', type=int, default=0, help='of the filesystem, in bytes (default 0)')
    parser.add_argument('--converted-offset', type=int, default=1 << 20, help='of the filesystem, in bytes (default 1 MiB)')
    arguments = parser.parse_args()
    found, count = compare(arguments.source, arguments.converted, arguments.source_offset, arguments.converted_offset)
    for line in found:
        print(line)
    print(f'{count} paths compared, {len(found)} differences outside of the manifest')
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
