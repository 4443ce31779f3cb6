# SPDX-License-Identifier: Apache-2.0
"""A small paravirtual image that can be inspected and converted; nothing in it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

KERNEL = "6.1.0-test"


def bz_image(version: str, packed: bytes = b"\xfd7zXZ\0") -> bytes:
    """The start of a bzImage of protocol 2.15 with an EFI stub and a packed kernel."""
    image = bytearray(8192)
    image[0:2] = b"MZ"
    image[0x3C] = 0x40
    image[0x40:0x44] = b"PE\0\0"
    image[0x1F1] = 4
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = b"\x0f\x02"
    image[0x20E:0x210] = b"\x00\x04"
    image[0x236] = 1
    image[0x248:0x24C] = (0x100).to_bytes(4, "little")
    image[0x24C:0x250] = (100).to_bytes(4, "little")
    payload = 5 * 512 + 0x100
    image[payload : payload + len(packed)] = packed
    text = version.encode() + b" (builder@host) #1\0"
    image[0x600 : 0x600 + len(text)] = text
    return bytes(image)


def tree_of(directory: Path) -> Path:
    """An image whose only kernel has every driver built in."""
    tree = directory / "tree"
    modules = tree / "lib/modules" / KERNEL
    for folder in (tree / "boot/grub", tree / "etc", modules):
        folder.mkdir(parents=True)
    (tree / "sbin").mkdir()
    (tree / "sbin/init").write_bytes(b"never run")
    (tree / f"boot/vmlinuz-{KERNEL}").write_bytes(bz_image(KERNEL))
    (tree / f"boot/config-{KERNEL}").write_text("CONFIG_XEN=y\nCONFIG_XEN_PV=y\nCONFIG_X86_64=y\n")
    (tree / f"boot/initrd.img-{KERNEL}").write_bytes(bytes(512))
    (tree / "boot/grub/menu.lst").write_text(
        "default 0\ntimeout 0\n"
        f"title the one\nroot (hd0)\nkernel /boot/vmlinuz-{KERNEL} ro root=LABEL=/ console=hvc0\n"
        f"initrd /boot/initrd.img-{KERNEL}\n"
        "title other\nroot (hd0)\nchainloader +1\n"
    )
    (tree / "etc/fstab").write_text("LABEL=/ / ext3 defaults 0 1\n")
    (tree / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Test \u2603 <b>"\n')
    names = ("drivers/nvme/host/nvme.ko", "drivers/nvme/host/nvme-core.ko", "drivers/block/xen-blkfront.ko",
             "drivers/net/xen-netfront.ko", "drivers/net/ethernet/amazon/ena/ena.ko")  # fmt: skip
    (modules / "modules.builtin").write_text("".join(f"kernel/{name}\n" for name in names))
    (modules / "modules.dep").write_text("")
    return tree


def image_of(tree: Path, size_mib: int = 16) -> Path:
    """A bare ext3 filesystem with the tree."""
    image = tree.parent / "source.img"
    with open(image, "wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext3", "-L", "/", "-d", tree, image], check=True, timeout=60)
    return image
