#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Converts the image of a paravirtual AMI with the built amilift and boots the result.

    boot_test.py --amilift BUILD/amilift [--bus nvme|virtio|ide] [--bootloader grub2|grub-legacy] [--layout mbr|gpt|in-place]
                 [--firmware seabios|ovmf] [--keep DIRECTORY]

The source comes from tests/cloud/images/build-source (cached). The converted disk boots in QEMU from its own boot record,
with BIOS or UEFI and without any -kernel, until it asks for a login on the serial console. Ends with 77 (skipped, with the reason)
where the test cannot run, with 1 where the disk does not boot; the end of the console is printed then.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import console

SKIPPED = 77
# What says nothing of the disk, and is tried again. A kernel counts the ticks of the emulated timer during a moment of its
# boot, and QEMU without KVM may get no processor in that moment. One of some hundred boots ends with a request that QEMU's
# NVMe controller never answers; the kernel waits for it as long as on EC2, with nvme_core.io_timeout at its largest.
EMULATOR = re.compile(rb"IO-APIC \+ timer doesn't work|blocked for more than \d+ seconds")
TRIES = 3
ROOT = Path(__file__).resolve().parents[2]
BUSES = {
    'nvme': ['-device', 'nvme,drive=disk,serial=vol0123456789abcdef0'],
    'virtio': ['-device', 'virtio-blk-pci,drive=disk'],
    'ide': ['-device', 'ide-hd,drive=disk'],
}
# The path of Debian's package ovmf; None is QEMU's own SeaBIOS.
FIRMWARE = {'seabios': None, 'ovmf': Path('/usr/share/ovmf/OVMF.fd')}
# What a disk that does not boot says, from the firmware to init.
FAILURES = re.compile(rb'Kernel panic|No bootable device|ALERT!|grub rescue>|grub> |emergency mode|Error \d+:|'
                      rb'Geom Error|Read Error|Hard Disk Error|Dropping to a shell|UEFI Interactive Shell|'
                      rb'BdsDxe: No bootable option|'
                      rb'blocked for more than \d+ seconds|'
                      # systemd's: sources let it wait for half an hour, and a disk that is there has come before. What the
                      # boot can do without ("nofail") times out early and is no failure.
                      rb'Dependency failed for local-fs|job is running for [^\n(]*dev[^\n(]* \((?:[5-9]|\d\d)min')
# What report-address of a worn source says of an address of QEMU's DHCP server; it is the first that this gives.
ADDRESS = re.compile(rb'address after \d+ s: [^\n]* 10\.0\.2\.15/')
NO_ADDRESS = re.compile(rb'no card got an address|address after \d+ s: (?![^\n]* 10\.0\.2\.15/)[^\n]*\n')


def skip(reason: str) -> None:
    print(f'SKIPPED: {reason}')
    sys.exit(SKIPPED)


def build_source() -> Path:
    """The cached source image; a copy is not needed, because a conversion never writes to its source."""
    built = subprocess.run([ROOT / 'tests/cloud/images/build-source'], stdout=subprocess.PIPE, text=True, timeout=1500)
    if built.returncode != 0:
        skip('tests/cloud/images/build-source could not make the source image')
    for line in built.stdout.splitlines():
        if line.startswith('source='):
            return Path(line.removeprefix('source='))
    sys.exit(f'build-source did not say where the image is:\n{built.stdout}')


def boot(disk: Path, bus: str, seconds: float, firmware: str = 'seabios', card: str = '') -> tuple[bool, bytes, float]:
    """Boots `disk` (which stays as it is) until login, failure or timeout: success, console text, seconds taken.

    With a `card` the guest must also say that DHCP gave it an address; it reaches QEMU's DHCP server and nothing else.
    """
    network = ['-nic', f'user,model={card},restrict=on'] if card else ['-net', 'none']
    failures = re.compile(FAILURES.pattern + b'|' + NO_ADDRESS.pattern) if card else FAILURES
    wanted = (console.LOGIN, ADDRESS) if card else (console.LOGIN,)
    # Without cmpxchg16b: QEMU 7.2 now and then leaves wrong flags behind it, and Linux 6.12 panics in __kmalloc.
    command = ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'qemu64,-cx16', '-m', '768', '-nographic', '-no-reboot', *network,
               '-drive', f'file={disk},format=raw,if=none,id=disk,snapshot=on', *BUSES[bus]]
    if FIRMWARE[firmware]:
        command += ['-bios', FIRMWARE[firmware]]
    for _ in range(TRIES):
        booted, text, taken = console.boot(command, failures, seconds, wanted=wanted)
        trouble = EMULATOR.search(text)
        if not trouble:
            break
        print(f'{disk.name}: "{trouble[0].decode()}" after {taken:.0f} s: the emulator failed', flush=True)
    return booted, text, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--amilift', type=Path, required=True, help='the built program')
    parser.add_argument('--bus', choices=BUSES, default='nvme')
    parser.add_argument('--bootloader', choices=['grub2', 'grub-legacy'], default='grub2')
    parser.add_argument('--layout', choices=['mbr', 'gpt', 'in-place'], default='mbr')
    parser.add_argument('--firmware', choices=FIRMWARE, default='seabios')
    parser.add_argument('--source', type=Path, help='use this source image')
    parser.add_argument('--timeout', type=float, default=300, help='seconds for the boot')
    parser.add_argument('--keep', type=Path, help='leave the converted disk in this directory')
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        skip('needs root for loop devices')
    if not shutil.which('qemu-system-x86_64'):
        skip('qemu-system-x86_64 is not installed')
    firmware = FIRMWARE[arguments.firmware]
    if firmware and not firmware.exists():
        skip(f'{firmware} is not there (package ovmf)')
    source = arguments.source or build_source()

    with tempfile.TemporaryDirectory(prefix='amilift-boot-') as directory:
        disk = Path(arguments.keep or directory) / 'converted.img'
        job = Path(directory) / 'job.yaml'
        job.write_text(f'source:\n  ami: ami-0123456789abcdef0\ntarget:\n  layout: {arguments.layout}\n'
                       f'conversion:\n  bootloader: {arguments.bootloader}\n')
        command = [arguments.amilift, 'convert', '--source', source, '--output', disk, '--job', job]
        begun = time.monotonic()
        if subprocess.run(command, timeout=600).returncode != 0:
            sys.exit('FAILED: amilift convert')
        print(f'converted in {time.monotonic() - begun:.1f} s')
        booted, text, seconds = boot(disk, arguments.bus, arguments.timeout, arguments.firmware)
        if not booted:
            sys.stdout.buffer.write(text[-4000:] + b'\n')
            sys.exit(f'FAILED: no login on {arguments.firmware}, {arguments.bus} within {seconds:.0f} s')
        print(f'{arguments.layout} {arguments.bootloader} on {arguments.firmware}, {arguments.bus}: login after {seconds:.1f} s')


if __name__ == '__main__':
    main()
