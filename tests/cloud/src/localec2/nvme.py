"""Give an emulated NVMe controller the identity of an EBS volume.

QEMU has no option for the model number and the vendor specific area of its NVMe controllers. The
Identify Controller data is a plain struct in QEMU's heap (NvmeCtrl.id_ctrl), so it is rewritten
there, with the guest stopped, between device_add and the guest's first look.

Layout after NVM Express Base Specification 1.4, figure 247, and the `ebsnvme` tool of
amazon-ec2-utils for the vendor area.
"""

from __future__ import annotations

import struct

from .errors import LocalEc2Error

AMAZON_VENDOR_ID = 0x1D0F
EBS_MODEL = b"Amazon Elastic Block Store"

_QEMU_MODEL = b"QEMU NVMe Ctrl".ljust(40)
_SERIAL_OFFSET = 4
_MODEL_OFFSET = 24
_VENDOR_AREA_OFFSET = 3072
_DEVICE_NAME_BYTES = 32
# The guest's memory and QEMU's translation buffer are bigger; the heap's arenas are not.
_MAX_REGION = 130 << 20


def serial_of(volume_id: str) -> str:
    """The serial number of a volume's controller: its ID without the hyphen."""
    return volume_id.replace("-", "")


def rewrite_identity(pid: int, serial: str, device: str) -> None:
    """Rewrite the controller with `serial` in the QEMU process `pid`.

    `device` is the name that the volume was attached under; it goes to the vendor area. Raises
    LocalEc2Error unless exactly one controller was found.
    """
    needle = serial.encode().ljust(20) + _QEMU_MODEL
    found = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps:
        regions = [line.split() for line in maps]
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for fields in regions:
            low, high = (int(part, 16) for part in fields[0].split("-"))
            anonymous = fields[1] == "rw-p" and fields[4] == "0"
            if not anonymous or high - low >= _MAX_REGION:
                continue
            try:
                memory.seek(low)
                content = memory.read(high - low)
            except (OSError, OverflowError):
                continue  # a guard page, or a region that is gone
            position = content.find(needle)
            while position >= 0:
                _write(memory, low + position - _SERIAL_OFFSET, device)
                found += 1
                position = content.find(needle, position + 1)
    if found != 1:
        raise LocalEc2Error(
            f"expected one NVMe controller with serial {serial!r} in QEMU process {pid}, "
            f"found {found}"
        )


def _write(memory: object, base: int, device: str) -> None:
    patches = (
        (base, struct.pack("<HH", AMAZON_VENDOR_ID, AMAZON_VENDOR_ID)),
        (base + _MODEL_OFFSET, EBS_MODEL.ljust(40)),
        (base + _VENDOR_AREA_OFFSET, device.encode().ljust(_DEVICE_NAME_BYTES)),
    )
    for address, content in patches:
        memory.seek(address)  # type: ignore[attr-defined]
        memory.write(content)  # type: ignore[attr-defined]
