#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots the root volume of a paravirtual AMI as a paravirtual guest of Xen.

    pv_boot.py [IMAGE] [--timeout SECONDS]

IMAGE is a filesystem without a partition table, with its own /boot/grub/menu.lst (`root (hd0)`); it stays as it is. Without
one, the source of tests/cloud/images/build-source is booted. Xen runs in QEMU, without KVM, with the dom0 that build-dom0
makes (cached); the guest sees the image as xvda1, swap as xvda3 and an empty disk as xvdb, as an m1 instance did, and is
read on its console, hvc0, until it asks for a login. Ends with 77 (skipped, with the reason) where this cannot run, with 1
where the guest does not boot; the end of its console, and of dom0's where dom0 has the reason, are printed then.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import console  # noqa: E402

BUILD_SOURCE = HERE.parents[1] / 'cloud/images/build-source'
# Two minutes on idle cores, for dom0 and the guest together; a busy machine takes many times that.
TIMEOUT = 2400.0
# Enough for dom0 and a guest with a large initramfs; QEMU takes what is used only.
MEMORY_MIB, DOM0_MIB = 2304, 1024
INSTANCE_STORAGE_MIB = 64
# Of each log, after a failure.
LOG_SHOWN = 6000
# What PV-GRUB reads, and what pygrub would read before that.
PV_MENU, GRUB2_CONFIGS = '/boot/grub/menu.lst', ('/boot/grub/grub.cfg', '/boot/grub2/grub.cfg')
# What a guest that does not boot says.
FAILURES = re.compile(rb'Kernel panic|ALERT!|Dropping to a shell|emergency mode')
PROGRAMS = {'qemu-system-x86_64': 'qemu-system-x86', 'setpriv': 'util-linux', 'debootstrap': 'debootstrap'}


class CannotRun(RuntimeError):
    """This machine lacks something; says what."""


class BuildFailed(RuntimeError):
    """An image could not be made; its script has said why."""


def build(script: Path) -> dict[str, Path]:
    """What `script` says that it made: `name=path` lines."""
    if os.geteuid() != 0:
        raise CannotRun(f'{script.name} needs root')
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            raise CannotRun(f'{program} is not installed (package {package})')
    built = subprocess.run([script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=2400)
    if built.returncode != 0:
        raise BuildFailed(f'{script.name} failed')
    return {name: Path(path) for name, path in (line.split('=', 1) for line in built.stdout.splitlines())}


def make_instance_storage(directory: Path) -> tuple[Path, Path]:
    """The disks that an instance had besides its root, and that its fstab waits for: swap, and an empty ext3."""
    swap, ephemeral = directory / 'swap', directory / 'ephemeral'
    for disk, command in ((swap, ['mkswap']), (ephemeral, ['mke2fs', '-q', '-F', '-t', 'ext3'])):
        with open(disk, 'wb') as file:
            file.truncate(INSTANCE_STORAGE_MIB << 20)
        subprocess.run([*command, disk], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return swap, ephemeral


def as_pv_grub_sees(image: Path, directory: Path) -> Path:
    """`image`, or a copy of it without grub.cfg: pygrub prefers that to a menu.lst, PV-GRUB does not know it."""
    def debugfs(disk: Path, request: str, *options: str) -> str:
        return subprocess.run(['debugfs', *options, '-R', request, disk], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True).stdout

    menu, *others = ('Inode:' in debugfs(image, f'stat {path}') for path in (PV_MENU, *GRUB2_CONFIGS))
    if not menu or not any(others):
        return image
    copy = directory / 'image'
    subprocess.run(['cp', '--sparse=always', '--reflink=auto', image, copy], check=True)
    for path, is_there in zip(GRUB2_CONFIGS, others):
        if is_there:
            debugfs(copy, f'rm {path}', '-w')
    return copy


def boot(image: Path, timeout: float = TIMEOUT) -> tuple[bool, bytes, float]:
    """Boots `image` (which stays as it is) until login, failure or `timeout` seconds: success, console text, seconds taken.

    The console is the guest's; after a failure the end of dom0's follows it. Making dom0 for the first time is not part of
    the seconds. Raises CannotRun or BuildFailed. QEMU does not outlive the calling thread.
    """
    dom0 = build(HERE / 'build-dom0')
    with tempfile.TemporaryDirectory(prefix='amilift-xen-') as directory:
        dom0_log, qemu_log = Path(directory) / 'dom0', Path(directory) / 'qemu'
        swap, ephemeral = make_instance_storage(Path(directory))
        image = as_pv_grub_sees(image, Path(directory))
        # Of QEMU's processors, dom0 starts on this one and crashes on "max" (Xen 4.17, QEMU 7.2).
        command = ['qemu-system-x86_64', '-accel', 'tcg',
                   '-cpu', 'Haswell-noTSX', '-smp', '2', '-m', str(MEMORY_MIB), '-nodefaults', '-no-user-config', '-no-reboot',
                   '-display', 'none', '-serial', f'file:{dom0_log}', '-serial', 'stdio', '-kernel', dom0['xen'],
                   '-append', f'console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus=1 '
                   'bootscrub=0 spec-ctrl=no xpti=off',
                   '-initrd', f'{dom0["kernel"]} root=/dev/vda rw console=hvc0 quiet mitigations=off nowatchdog '
                   f'init=/usr/local/sbin/dom0-init,{dom0["initrd"]}',
                   '-drive', f'file={dom0["dom0"]},format=raw,if=virtio,snapshot=on',
                   *(word for file in (image, swap, ephemeral)
                     for word in ('-drive', f'file={file},format=raw,if=virtio,snapshot=on'))]
        with open(qemu_log, 'wb') as errors:
            booted, text, seconds = console.boot(command, FAILURES, timeout, errors)
        if not booted:
            for log in (dom0_log, qemu_log):
                if log.exists() and log.stat().st_size:
                    text += b'\n--- %s:\n' % log.name.encode() + console.plain(log.read_bytes())[-LOG_SHOWN:]
    return booted, text, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image', type=Path, nargs='?', metavar='IMAGE')
    parser.add_argument('--timeout', type=float, default=TIMEOUT, help='seconds for the boot')
    arguments = parser.parse_args()
    # As an exception, so that QEMU ends and the logs vanish.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        image = arguments.image or build(BUILD_SOURCE)['source']
        if not image.is_file():
            sys.exit(f"FAILED: there is no image '{image}'")
        booted, text, seconds = boot(image, arguments.timeout)
    except CannotRun as reason:
        print(f'SKIPPED: {reason}')
        sys.exit(SKIPPED)
    except BuildFailed as reason:
        sys.exit(f'FAILED: {reason}')
    if not booted:
        sys.stdout.buffer.write(text[-12000:] + b'\n')
        sys.exit(f'FAILED: no login of the guest after {seconds:.0f} s')
    print(f'login on hvc0 after {seconds:.1f} s')


if __name__ == '__main__':
    main()
