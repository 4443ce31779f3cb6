"""What makes an image boot, amilift's way and the usual way, on the same images.

amilift edits files of an image and never starts a program of it. The usual way is a chroot:
update-initramfs or dracut makes the whole initramfs anew, grub-install writes the boot loader.
"""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path
from typing import Any

from .conversion import converted
from .host import GIB, ROOT, CannotMeasure, loop_device, run

#: Of build-source. Their initramfs has the disks of Xen instances only: it needs a repair.
IMAGES = {
    "paravirtual, ext4": ["--kernel", "xen", "--filesystem", "ext4", "--menu", "amazon"],
    "HVM of Xen, ext3": ["--kernel", "xen", "--disk", "mbr"],
    "paravirtual, ext4, dracut": ["--kernel", "dracut", "--filesystem", "ext4", "--menu", "amazon"],
}
#: Of a quick run: one that other tests have made already.
QUICK = "paravirtual, ext4"
#: The steps that come before: what follows the last of them is the repair.
BEFORE = ("partition:", "copy:", "disk-copy:", "grow:", "disk-grow:")
DISK_BYTES = 3 * GIB
#: Mounts of a namespace of their own, which vanish with it. Prints when each program began and ended.
CHROOT = r"""
set -eu
disk=$1 partition=$2 tree=$3
mount -o noatime "$partition" "$tree"
mount -t proc proc "$tree/proc"
mount --bind /sys "$tree/sys"
mount --bind /dev "$tree/dev"
for version in "$tree"/lib/modules/*; do version=${version##*/}; done
start=$EPOCHREALTIME
if [ -x "$tree/usr/sbin/update-initramfs" ]; then
    chroot "$tree" /usr/sbin/update-initramfs -u -k "$version" >&2
else
    chroot "$tree" /usr/bin/dracut --force --kver "$version" >&2
fi
middle=$EPOCHREALTIME
grub-install --target=i386-pc --no-floppy --boot-directory="$tree/boot" "$disk" >&2
sync --file-system "$tree/boot"
end=$EPOCHREALTIME
echo "$start $middle $end"
"""


def measure_repairs(quick: bool, rounds: int | None) -> dict[str, Any]:
    """Both ways for each image; the chroot works on what amilift has made."""
    rounds = rounds or (1 if quick else 5)
    images = {QUICK: IMAGES[QUICK]} if quick else IMAGES
    return {
        "images": [_measure(name, recipe, rounds) for name, recipe in images.items()],
        "rounds": rounds,
    }


def _measure(name: str, recipe: list[str], rounds: int) -> dict[str, Any]:
    answer = run(ROOT / "tests" / "cloud" / "images" / "build-source", *recipe, timeout=3600)
    image = Path(answer.rpartition("source=")[2])
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        with converted(image, DISK_BYTES) as (conversion, disk):
            steps = [
                (text, seconds)
                for text, seconds in conversion.steps()
                if not text.startswith(BEFORE)
            ]
            look = conversion.began("stage", "apply") - conversion.began("stage", "inspect")
            repair = sum(seconds for _, seconds in steps)
            proof = conversion.seconds - conversion.began("stage", "verify")
            initramfs, grub = _by_chroot(disk)
        runs.append(
            {
                "look_seconds": look,
                "repair_seconds": repair,
                "proof_seconds": proof,
                "initramfs_seconds": initramfs,
                "grub_install_seconds": grub,
                "steps": [[text.partition("\n")[0], round(seconds, 4)] for text, seconds in steps],
            }
        )
        print(
            f"{name}, round {number + 1}/{rounds}: amilift: {look + repair:.2f} s, "
            f"chroot: {initramfs + grub:.2f} s",
            flush=True,
        )

    def median(*keys: str) -> float:
        return statistics.median(float(sum(one[key] for key in keys)) for one in runs)

    return {
        "name": name,
        "amilift_seconds": median("look_seconds", "repair_seconds"),
        "look_seconds": median("look_seconds"),
        "repair_seconds": median("repair_seconds"),
        "proof_seconds": median("proof_seconds"),
        "chroot_seconds": median("initramfs_seconds", "grub_install_seconds"),
        "initramfs_seconds": median("initramfs_seconds"),
        "grub_install_seconds": median("grub_install_seconds"),
        "runs": runs,
    }


def _by_chroot(disk: Path) -> tuple[float, float]:
    tree = disk.parent / "tree"
    tree.mkdir()
    with loop_device(disk) as device:
        # Not losetup --partscan: it asks for a kernel that reads partition tables by itself. One
        # that has read them already makes partx fail; what counts is that the partition is there.
        subprocess.run(["partx", "--add", device], capture_output=True, check=False)
        partition = f"{device}p1"
        try:
            if not Path(partition).is_block_device():
                raise CannotMeasure(f"there is no {partition}")
            script: list[str | Path] = ["bash", "-c", CHROOT, "chroot", device, partition, tree]
            answer = run("unshare", "--mount", "--propagation", "private", "--", *script)
        finally:
            subprocess.run(["partx", "--delete", device], capture_output=True, check=False)
    start, middle, end = (float(word) for word in answer.splitlines()[-1].split())
    return middle - start, end - middle


def repair_table(group: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| image | amilift | of it: look and plan | repair | proof, besides "
        "| `update-initramfs` or `dracut` | `grub-install` | chroot / amilift |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {image['name']} | {image['amilift_seconds']:.2f} s | {image['look_seconds']:.2f} s "
        f"| {image['repair_seconds']:.2f} s | {image['proof_seconds']:.2f} s "
        f"| {image['initramfs_seconds']:.1f} s "
        f"| {image['grub_install_seconds']:.1f} s "
        f"| {image['chroot_seconds'] / image['amilift_seconds']:.1f} |"
        for image in group["images"]
    ]
    return "\n".join(lines)
