"""Images as EC2 treats them; part of the backend."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

from moto.ec2.utils import generic_filter, random_ami_id

from . import context
from .ebs import check_id
from .errors import ec2_error
from .faults import Effect
from .models import LocalImage, LocalSnapshot

_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\\'@_-]{3,128}")
_CHOICES = {
    "Architecture": ("i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"),
    "VirtualizationType": ("paravirtual", "hvm"),
    "BootMode": ("legacy-bios", "uefi", "uefi-preferred"),
    "ImdsSupport": ("v2.0",),
    "TpmSupport": ("v2.0",),
    "SriovNetSupport": ("simple",),
}
_MAX_DESCRIPTION = 255
_POLL_SECONDS = 0.05

#: AKIs of Amazon: boot loaders of paravirtual images, by id. The same in every Region, which those
#: of EC2 are not.
_AMAZON_KERNELS: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("amazon_kernels.json").read_text("utf-8")
)
PV_GRUB_X86_64 = "aki-919dcaf8"


class ImageMixin:
    """Overrides moto's AmiBackend. State is guarded by the cloud's state lock."""

    amis: dict[str, LocalImage]
    deleted_amis: list[str]
    snapshots: dict[str, LocalSnapshot]

    def describe_images(
        self,
        ami_ids: list[str] | None = None,
        filters: dict[str, Any] | None = None,
        exec_users: list[str] | None = None,
        owners: list[str] | None = None,
    ) -> list[LocalImage]:
        """Images by ID, or all that match; AKIs too when they or Amazon's images are asked for."""
        images = [image for image in self.amis.values() if image.visible]
        if owners and "amazon" in owners:
            images += [self._kernel(kernel_id) for kernel_id in _AMAZON_KERNELS]
        if ami_ids:
            images = [image for image_id in ami_ids for image in self._by_id(image_id)]
        if owners:
            wanted = {
                self.account_id if owner == "self" else owner  # type: ignore[attr-defined]
                for owner in owners
            }
            images = [i for i in images if i.owner_id in wanted or i.owner_alias in wanted]
        if exec_users:
            images = [image for image in images if image.is_public]
        return generic_filter(filters, images) if filters else images

    def _by_id(self, image_id: str) -> list[LocalImage]:
        if image_id.startswith("aki-"):
            return [self._kernel(image_id)]
        if image_id in self.deleted_amis:
            return []
        return [self.get_image(image_id)]

    def get_image(self, image_id: str) -> LocalImage:
        """The image, if requests know it by now."""
        check_id(image_id, "ami", "imageId", "InvalidAMIID.Malformed")
        image = self.amis.get(image_id)
        if image_id in self.deleted_amis:
            raise ec2_error(
                "InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available"
            )
        if image is None or not image.visible:
            raise ec2_error("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        return image

    def _kernel(self, kernel_id: str) -> LocalImage:
        known = _AMAZON_KERNELS.get(kernel_id)
        if known is None:
            raise ec2_error("InvalidAMIID.NotFound", f"The image id '[{kernel_id}]' does not exist")
        name = known["name"]
        kernel = LocalImage(
            self,
            kernel_id,
            name,
            {
                "Architecture": known["architecture"],
                "ImageType": "kernel",
                "RootDeviceType": "instance-store",
                "OwnerId": "137112412989",
                "OwnerAlias": "amazon",
                "ImageLocation": f"ec2-public-images-us-east-1/{name}.manifest.xml",
                "Public": True,
            },
        )
        kernel.state = "available"
        return kernel

    def register_image(self, name: str | None = None, **fields: Any) -> LocalImage:
        """RegisterImage with every check that a caller can run into, keeping every field."""
        cloud = context.active()
        name = self._check_name(name)
        self._check_fields(fields)
        fields["BlockDeviceMappings"] = self._check_mappings(fields)
        image = LocalImage(self, random_ami_id(), name, fields)
        image.hide_for(cloud.settings.visibility_seconds)
        self.amis[image.id] = image
        fault = cloud.faults.take("RegisterImage", {"Name": name}, http=False)
        effect = fault.effect if fault else None

        def finish() -> None:
            if effect is Effect.stuck:
                return
            while (state := self._snapshots_state(image)) == "pending":
                cloud.pause(_POLL_SECONDS)
            cloud.pause(cloud.settings.image_seconds)
            with cloud.state_lock:
                if effect is Effect.failed:
                    image.fail("The image failed: injected by the test.")
                elif state != "completed":
                    image.fail(f"A snapshot of the image is in state {state}.")
                else:
                    image.state = "available"

        cloud.start_task(f"register {image.id}", finish)
        return image

    def _check_name(self, name: str | None) -> str:
        if not name:
            raise ec2_error("MissingParameter", "The request must contain the parameter name")
        if not _NAME.fullmatch(name):
            raise ec2_error(
                "InvalidAMIName.Malformed",
                "AMI names must be between 3 and 128 characters long, and may contain letters, "
                "numbers, '(', ')', '.', '-', '/' and '_'",
            )
        taken = next((image for image in self.amis.values() if image.name == name), None)
        if taken is not None:
            raise ec2_error(
                "InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {taken.id}"
            )
        return name

    @staticmethod
    def _check_fields(fields: dict[str, Any]) -> None:
        for field, choices in _CHOICES.items():
            value = fields.get(field)
            if value is not None and value not in choices:
                raise ec2_error(
                    "InvalidParameterValue",
                    f"Value ({value}) for parameter {field} is invalid. Expected: {choices}",
                )
        description = fields.get("Description") or ""
        if len(description) > _MAX_DESCRIPTION:
            raise ec2_error(
                "InvalidParameterValue",
                f"Description has {len(description)} characters, expected {_MAX_DESCRIPTION}",
            )
        hvm = fields.get("VirtualizationType", "paravirtual") == "hvm"
        if hvm and (fields.get("KernelId") or fields.get("RamdiskId")):
            raise ec2_error(
                "InvalidParameterCombination", "hvm images take neither a kernel nor a ramdisk."
            )
        if fields.get("KernelId"):
            ImageMixin._check_kernel(fields)
        if fields.get("TpmSupport") and fields.get("BootMode") != "uefi":
            raise ec2_error("InvalidParameterCombination", "TpmSupport needs BootMode uefi.")

    @staticmethod
    def _check_kernel(fields: dict[str, Any]) -> None:
        kernel_id = fields["KernelId"]
        kernel = _AMAZON_KERNELS.get(kernel_id)
        if kernel is None:
            raise ec2_error("InvalidAMIID.NotFound", f"The image id '[{kernel_id}]' does not exist")
        architecture = fields.get("Architecture", "i386")
        if kernel["architecture"] != architecture:
            raise ec2_error(
                "InvalidParameterValue",
                f"The kernel '{kernel_id}' is of architecture {kernel['architecture']}, the image "
                f"of {architecture}.",
            )
        for field in ("EnaSupport", "BootMode"):
            if fields.get(field):
                raise ec2_error(
                    "InvalidParameterCombination", f"{field} needs VirtualizationType hvm."
                )

    def _check_mappings(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        """The block device mappings, completed from their snapshots."""
        fields.setdefault("RootDeviceName", "/dev/sda1")
        mappings: list[dict[str, Any]] = copy.deepcopy(fields.get("BlockDeviceMappings") or [])
        if fields.get("RootDeviceType", "ebs") == "instance-store":
            return mappings
        devices = [mapping.get("DeviceName") for mapping in mappings]
        if fields["RootDeviceName"] not in devices:
            raise ec2_error(
                "InvalidBlockDeviceMapping",
                f"Block device mapping {devices} does not contain the root device "
                f"{fields['RootDeviceName']}",
            )
        if len(set(devices)) != len(devices):
            raise ec2_error("InvalidBlockDeviceMapping", f"Duplicate device in {devices}")
        for mapping in mappings:
            if "Ebs" in mapping:
                self._complete(mapping["Ebs"], mapping["DeviceName"])
        root = mappings[devices.index(fields["RootDeviceName"])]
        if not root.get("Ebs", {}).get("SnapshotId"):
            raise ec2_error(
                "InvalidBlockDeviceMapping",
                f"The root device {fields['RootDeviceName']} needs a snapshot",
            )
        return mappings

    def _complete(self, ebs: dict[str, Any], device: str) -> None:
        snapshot_id = ebs.get("SnapshotId")
        ebs.setdefault("DeleteOnTermination", True)
        ebs.setdefault("VolumeType", "gp2")
        if snapshot_id is None:
            if "VolumeSize" not in ebs:
                raise ec2_error("MissingParameter", f"{device}: size or snapshotId is required")
            return
        snapshot = self.get_snapshot(snapshot_id)  # type: ignore[attr-defined]
        if "Encrypted" in ebs or "KmsKeyId" in ebs:
            raise ec2_error(
                "InvalidParameter",
                f"{device}: the encrypted flag cannot be specified with a snapshot",
            )
        ebs.setdefault("VolumeSize", snapshot.volume_size)
        if int(ebs["VolumeSize"]) < snapshot.volume_size:
            raise ec2_error(
                "InvalidBlockDeviceMapping",
                f"Volume of size {ebs['VolumeSize']}GB is smaller than snapshot '{snapshot_id}', "
                f"expect size >= {snapshot.volume_size}GB",
            )
        ebs["Encrypted"] = snapshot.encrypted

    def _snapshots_state(self, image: LocalImage) -> str:
        states = {
            self.snapshots[snapshot_id].status if snapshot_id in self.snapshots else "deleted"
            for snapshot_id in image.snapshot_ids()
        }
        bad = states - {"pending", "completed"}
        return bad.pop() if bad else "pending" if "pending" in states else "completed"

    def deregister_image(self, ami_id: str) -> LocalImage:
        """DeregisterImage. Its snapshots stay."""
        image = self.get_image(ami_id)
        del self.amis[ami_id]
        self.tags.pop(ami_id, None)  # type: ignore[attr-defined]
        self.deleted_amis.append(ami_id)
        return image

    def create_image(self, *args: Any, **kwargs: Any) -> LocalImage:
        """CreateImage is not offered: amilift registers from snapshots."""
        raise ec2_error("UnsupportedOperation", "The Local EC2 does not offer CreateImage.")

    def copy_image(self, *args: Any, **kwargs: Any) -> LocalImage:
        """CopyImage is not offered: amilift works within one region."""
        raise ec2_error("UnsupportedOperation", "The Local EC2 does not offer CopyImage.")
