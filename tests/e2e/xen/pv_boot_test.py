#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests what pv_boot makes of a console, with a program in QEMU's place: no Xen, no root."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import pv_boot

# Says what it was started with, then does what the test wants with the console of the guest on stdout. The file is dom0's.
QEMU = """#!/bin/bash
printf '%s\\n' "$@" >"$RECORD/arguments"
echo $$ >"$RECORD/pid"
for argument; do [[ $argument != file:* ]] || dom0=${argument#file:}; done
"""


class PvBoot(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix='amilift-pv-boot-test-')
        self.addCleanup(directory.cleanup)
        self.record = Path(directory.name)
        files = {name: self.record / name for name in ('dom0', 'xen', 'kernel', 'initrd')}
        self.build = self.entered(mock.patch.object(pv_boot, 'build', return_value=files))
        self.entered(mock.patch.dict(os.environ, PATH=f'{self.record}:{os.environ["PATH"]}', RECORD=str(self.record)))

    def entered(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def boot(self, script: str, timeout: float = 60) -> tuple[bool, bytes]:
        qemu = self.record / 'qemu-system-x86_64'
        qemu.write_text(QEMU + script)
        qemu.chmod(0o755)
        booted, console, _ = pv_boot.boot(Path('/image'), timeout)
        pid = self.record / 'pid'
        # Not there yet when the time limit was short.
        if pid.exists() and pid.read_text():
            with self.assertRaises(ProcessLookupError):
                os.kill(int(pid.read_text()), 0)
        return booted, console

    def test_what_pv_grub_does_not_read_is_out_of_sight(self) -> None:
        tree, image = self.record / 'tree', self.record / 'image'
        (tree / 'boot/grub').mkdir(parents=True)
        (tree / 'boot/grub/grub.cfg').write_text('of GRUB 2')
        command = ['mke2fs', '-q', '-F', '-t', 'ext3', '-d', tree, image, '8M']
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(pv_boot.as_pv_grub_sees(image, self.record), image)
        (tree / 'boot/grub/menu.lst').write_text('title Linux')
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        copy = self.record / 'copy'
        copy.mkdir()
        seen = pv_boot.as_pv_grub_sees(image, copy)
        for disk, names in ((image, {'grub.cfg', 'menu.lst'}), (seen, {'menu.lst'})):
            listed = subprocess.run(['debugfs', '-R', 'ls -p /boot/grub', disk], check=True, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, text=True).stdout
            self.assertEqual({name for name in ('grub.cfg', 'menu.lst') if f'/{name}/' in listed}, names)

    def test_a_login_prompt_among_control_sequences_is_success_and_ends_qemu(self) -> None:
        booted, console = self.boot(r"printf 'Debian\r\n\r\nip-172 \033[1mlog\033[0min: '; exec sleep infinity")
        self.assertTrue(booted)
        self.assertEqual(console, b'Debian\n\nip-172 login: ')

    def test_a_panic_is_failure_before_the_time_limit_and_shows_dom0(self) -> None:
        booted, console = self.boot(
            r"echo '(XEN) domain 1' >$dom0; echo 'Kernel panic - not syncing: VFS'; exec sleep infinity")
        self.assertFalse(booted)
        self.assertIn(b'Kernel panic - not syncing: VFS\n', console)
        self.assertTrue(console.endswith(b'--- dom0:\n(XEN) domain 1\n'), console)

    def test_a_machine_that_ends_is_failure_with_the_words_of_dom0_and_qemu(self) -> None:
        booted, console = self.boot("echo 'dom0: the guest ended' >$dom0; echo 'qemu: no such device' >&2; exit 1")
        self.assertFalse(booted)
        self.assertIn(b'dom0: the guest ended\n', console)
        self.assertIn(b'qemu: no such device\n', console)

    def test_a_login_prompt_of_dom0_is_no_success(self) -> None:
        self.assertFalse(self.boot("echo 'dom0 login: ' >$dom0; exit")[0])

    def test_a_silent_machine_is_ended_at_the_time_limit(self) -> None:
        self.assertFalse(self.boot('exec sleep infinity', timeout=1.5)[0])

    def test_the_image_stays_as_it_is(self) -> None:
        self.boot('exit')
        arguments = (self.record / 'arguments').read_text().splitlines()
        self.assertIn('file=/image,format=raw,if=virtio,snapshot=on', arguments)


class Build(unittest.TestCase):
    def test_without_root_or_a_program_it_cannot_run_and_says_why(self) -> None:
        with mock.patch('os.geteuid', return_value=1000), self.assertRaisesRegex(pv_boot.CannotRun, 'build-dom0 needs root'):
            pv_boot.build(pv_boot.HERE / 'build-dom0')
        with mock.patch('os.geteuid', return_value=0), mock.patch('shutil.which', return_value=None), \
                self.assertRaisesRegex(pv_boot.CannotRun, r'is not installed \(package'):
            pv_boot.build(pv_boot.HERE / 'build-dom0')

    def test_a_script_that_fails_is_no_reason_to_skip(self) -> None:
        with mock.patch('os.geteuid', return_value=0), mock.patch('shutil.which', return_value='/usr/bin/true'), \
                self.assertRaisesRegex(pv_boot.BuildFailed, 'false failed'):
            pv_boot.build(Path('/bin/false'))


if __name__ == '__main__':
    unittest.main()
