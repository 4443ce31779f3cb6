"""Volumes, snapshots and images with the states and fields that moto's own models lack."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models.amis import Ami
from moto.ec2.models.elastic_block_store import Snapshot, Volume, VolumeAttachment

from .machine import Machine

#: The volume ID that EC2 reports for snapshots that no volume of the account was made into.
NO_VOLUME = "vol-ffffffff"


class Visible:
    """Something that later requests may not know yet: EC2 is eventually consistent."""

    _visible_at = 0.0

    def hide_for(self, seconds: float) -> None:
        """Stay unknown for `seconds` from now on."""
        self._visible_at = time.monotonic() + seconds

    @property
    def visible(self) -> bool:
        """Whether requests that arrive now know the resource."""
        return time.monotonic() >= self._visible_at


class LocalVolume(Volume, Visible):
    """A volume with the states before `available` and after it."""

    attachment: LocalAttachment | None

    def __init__(self, backend: Any, volume_id: str, size_gib: int, zone: Any, **options: Any):
        super().__init__(backend, volume_id, size_gib, zone, **options)
        #: creating, available, deleting, error; `in-use` follows from the attachment.
        self.phase = "creating"

    @property
    def status(self) -> str:
        """State as DescribeVolumes reports it."""
        if self.phase != "available":
            return self.phase
        return "in-use" if self.attachment else "available"


class LocalAttachment(VolumeAttachment):
    """An attachment that knows whether its volume goes with the instance."""

    def __init__(self, volume: Any, instance: Any, device: str, delete_on_termination: bool):
        super().__init__(volume, instance, device, "attaching")
        self.delete_on_termination = delete_on_termination

    def set_status(self, status: str) -> None:
        """Change the state here and in the instance's block device mapping."""
        self.status = status
        block = self.instance.block_device_mapping.get(self.device)
        if block is not None:
            block.status = status


class LocalSnapshot(Snapshot, Visible):
    """A snapshot that takes time, and that remembers the volume it was made from."""

    def __init__(
        self,
        backend: Any,
        snapshot_id: str,
        *,
        description: str,
        size_gib: int,
        volume_id: str = NO_VOLUME,
        encrypted: bool = False,
    ):
        super().__init__(backend, snapshot_id, None, description or "", encrypted=encrypted)
        self.status = "pending"
        self.status_message: str | None = None
        self._progress = 0
        self._volume_id = volume_id
        self.size_gib = size_gib

    @property
    def volume_id(self) -> str:
        """The volume that was snapshotted, even if it is gone."""
        return self._volume_id

    @property
    def volume_size(self) -> int:
        """Size of the volume at the time of the snapshot, in GiB."""
        return self.size_gib

    @property
    def progress(self) -> str:
        """Progress in percent, as EC2 writes it."""
        return f"{self._progress}%"

    def advance(self, percent: int) -> None:
        """Report `percent` from now on; 100 completes the snapshot."""
        self._progress = percent
        if percent >= 100:
            self.status = "completed"

    def fail(self, message: str) -> None:
        """End in the state `error`."""
        self.status = "error"
        self.status_message = message

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        """Values for DescribeSnapshots filters."""
        own = {
            "volume-id": self._volume_id,
            "volume-size": str(self.size_gib),
            "progress": self.progress,
        }
        if filter_name in own:
            return own[filter_name]
        return super().get_filter_value(filter_name, method_name)


class LocalImage(Ami, Visible):
    """An image that keeps every field it was registered with.

    moto's constructor is not used: it invents a volume and a snapshot for every image.
    """

    def __init__(self, backend: Any, image_id: str, name: str, fields: dict[str, Any]):
        self.ec2_backend = backend
        self.id = image_id
        self.name = name
        self.state = "pending"
        self.state_reason: dict[str, str] | None = None
        self.creation_date = utcnow()
        self.description = fields.get("Description", "")
        self.architecture = fields.get("Architecture", "i386")
        self.virtualization_type = fields.get("VirtualizationType", "paravirtual")
        self.image_type = fields.get("ImageType", "machine")
        self.kernel_id = fields.get("KernelId")
        self.ramdisk_id = fields.get("RamdiskId")
        self.root_device_name = fields.get("RootDeviceName")
        self.root_device_type = fields.get("RootDeviceType", "ebs")
        self.ena_support = fields.get("EnaSupport")
        self.sriov = fields.get("SriovNetSupport")
        self.boot_mode = fields.get("BootMode")
        self.imds_support = fields.get("ImdsSupport")
        self.tpm_support = fields.get("TpmSupport")
        self.platform = fields.get("Platform")
        self.platform_details = fields.get("PlatformDetails", "Linux/UNIX")
        self.usage_operation = fields.get("UsageOperation", "RunInstances")
        self.hypervisor = "xen"
        self.owner_id = fields.get("OwnerId", backend.account_id)
        self.owner_alias = fields.get("OwnerAlias")
        self.image_location = fields.get("ImageLocation", f"{self.owner_id}/{name}")
        self.instance_id = None
        self.launch_permissions: list[dict[str, str]] = []
        if fields.get("Public"):
            self.launch_permissions.append({"Group": "all"})
        self._product_codes: list[dict[str, str]] = fields.get("ProductCodes", [])
        self._mappings: list[dict[str, Any]] = fields.get("BlockDeviceMappings", [])
        #: A kernel to boot instances of the image with, instead of its own boot loader.
        self.boot_kernel: str | None = fields.get("boot_kernel")
        self.boot_arguments: str = fields.get("boot_arguments", "")

    # The serializer looks for these names.
    @property
    def image_owner_alias(self) -> str | None:
        """ImageOwnerAlias: `amazon`, or None for the account's own."""
        return self.owner_alias

    @property
    def sriov_net_support(self) -> str | None:
        """SriovNetSupport: `simple` or None."""
        return self.sriov

    @property
    def public(self) -> bool:
        """Whether everybody may launch the image."""
        return bool(self.is_public)

    @property
    def product_codes(self) -> list[dict[str, str]]:
        """ProductCodes: dictionaries with ProductCodeId and ProductCodeType."""
        return self._product_codes

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """BlockDeviceMappings as registered, completed from the snapshots."""
        return self._mappings

    def snapshot_ids(self) -> list[str]:
        """Snapshots that the image is made of."""
        mappings = (mapping.get("Ebs", {}) for mapping in self._mappings)
        return [ebs["SnapshotId"] for ebs in mappings if ebs.get("SnapshotId")]

    def fail(self, message: str) -> None:
        """End in the state `failed`."""
        self.state = "failed"
        self.state_reason = {"Code": "Server.InternalError", "Message": message}

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        """Values for DescribeImages filters."""
        if filter_name == "product-code":
            return [code["ProductCodeId"] for code in self._product_codes]
        if filter_name == "block-device-mapping.snapshot-id":
            return self.snapshot_ids()
        return super().get_filter_value(filter_name, method_name)


@dataclass
class InstanceParts:
    """What a Local EC2 knows of an instance beyond moto's fields; kept as `instance.local`."""

    image: LocalImage
    user_data: bytes | None
    role_name: str | None
    machine: Machine | None = None
    #: The serial console of the machine that the instance had last.
    console: bytes = b""
