#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What compare_trees.py sees of two disks, and what is no difference. Needs root, as that does: exit code 77 without."""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / 'compare_trees.py'
#: Flags as the inode has them (fs/ext4/ext4.h).
IMMUTABLE, APPEND, NODUMP, EXTENTS = 0x10, 0x20, 0x40, 0x80000


class CompareTrees(unittest.TestCase):
    """Two filesystems with the same files."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix='amilift-compare-test-')
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)
        self.tree = self.work / 'tree'
        (self.tree / 'etc').mkdir(parents=True)
        for name in ('plain', 'fstab', 'log'):
            (self.tree / 'etc' / name).write_text(name)
        (self.tree / 'var/lib/amilift').mkdir(parents=True)
        (self.tree / 'var/lib/amilift/manifest.json').write_text('{"entries": []}')

    def disk(self, name: str, kind: str, flags: dict[str, int] | None = None) -> Path:
        """An image of the tree; its files lie in extents on ext4, in lists of blocks on ext3."""
        image = self.work / name
        subprocess.run(['mke2fs', '-q', '-t', kind, '-d', self.tree, image, '8M'], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        layout = EXTENTS if kind == 'ext4' else 0
        for path, value in (flags or {}).items():
            subprocess.run(['debugfs', '-w', '-R', f'set_inode_field {path} flags {value | layout:#x}', image],
                           check=True, stderr=subprocess.DEVNULL)
        return image

    def compare(self, source: Path, converted: Path) -> tuple[int, list[str]]:
        """The exit code, and the differences."""
        run = subprocess.run([sys.executable, '-B', PROGRAM, source, converted, '--converted-mount', '/=0:0'],
                             stdout=subprocess.PIPE, text=True)
        return run.returncode, run.stdout.splitlines()[:-1]

    def test_a_flag_that_is_lost_is_a_difference(self) -> None:
        flags = {'/etc/fstab': IMMUTABLE, '/etc/log': APPEND | NODUMP, '/etc': NODUMP}
        source = self.disk('source', 'ext4', flags)
        self.assertEqual(self.compare(source, self.disk('same', 'ext4', flags)), (0, []))
        self.assertEqual(self.compare(source, self.disk('lost', 'ext4')), (1, [
            "/etc: flags was '0x40', is '0x0'",
            "/etc/fstab: flags was '0x10', is '0x0'",
            "/etc/log: flags was '0x60', is '0x0'"]))

    def test_how_a_filesystem_lays_files_out_is_none(self) -> None:
        flags = {'/etc/fstab': IMMUTABLE}
        self.assertEqual(self.compare(self.disk('lists', 'ext3', flags), self.disk('extents', 'ext4', flags)), (0, []))

    def test_other_text_is_a_difference(self) -> None:
        source = self.disk('source', 'ext4')
        # Of the same size and time.
        times = (self.tree / 'etc/plain').stat()
        (self.tree / 'etc/plain').write_text('PLAIN')
        os.utime(self.tree / 'etc/plain', ns=(times.st_atime_ns, times.st_mtime_ns))
        code, lines = self.compare(source, self.disk('other', 'ext4'))
        self.assertEqual(code, 1)
        self.assertEqual([line.split(' was ')[0] for line in lines], ['/etc/plain: content'])


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('needs root')
        sys.exit(77)
    unittest.main()
