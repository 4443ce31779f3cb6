"""Volumes, attachments and snapshots as EC2 treats them; part of the backend."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from moto.ec2.utils import generic_filter, random_snapshot_id, random_volume_id
from moto.packages.boto.ec2.blockdevicemapping import BlockDeviceType

from . import context
from .errors import ec2_error
from .faults import Effect
from .machine import Disk
from .models import LocalAttachment, LocalSnapshot, LocalVolume

_DEVICE = re.compile(r"(/dev/)?(sd[a-z][0-9]{0,2}|xvd[a-z]{1,2}[0-9]{0,2})")
_IOPS_TYPES = ("io1", "io2", "gp3")
_VOLUME_TYPES = ("standard", "gp2", "gp3", "io1", "io2", "st1", "sc1")
_MAX_GIB = 65536
_SNAPSHOT_STEPS = 5


def check_id(resource_id: str | None, prefix: str, parameter: str, malformed: str) -> str:
    """The ID, if it is one of its kind; EC2 tells missing, malformed and unknown apart."""
    if not resource_id:
        raise ec2_error("MissingParameter", f"The request must contain the parameter {parameter}")
    if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8}}([0-9a-f]{{9}})?", resource_id):
        raise ec2_error(malformed, f'Invalid id: "{resource_id}" (expecting "{prefix}-...")')
    return resource_id


class EbsMixin:
    """Overrides moto's EBSBackend. State is guarded by the cloud's state lock."""

    volumes: dict[str, LocalVolume]
    snapshots: dict[str, LocalSnapshot]
    amis: dict[str, Any]

    # --- volumes ---------------------------------------------------------------------------

    def get_volume(self, volume_id: str) -> LocalVolume:
        """The volume, if requests know it by now."""
        check_id(volume_id, "vol", "volumeId", "InvalidParameterValue")
        volume = self.volumes.get(volume_id)
        if volume is None or not volume.visible:
            raise ec2_error("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
        return volume

    def describe_volumes(
        self, volume_ids: list[str] | None = None, filters: Any = None
    ) -> list[LocalVolume]:
        """Volumes by ID, or all; narrowed by filters."""
        if volume_ids:
            found = [self.get_volume(volume_id) for volume_id in volume_ids]
        else:
            found = [volume for volume in self.volumes.values() if volume.visible]
        return generic_filter(filters, found) if filters else found

    def create_volume(
        self,
        size: int | str | None,
        zone_name: str,
        snapshot_id: str | None = None,
        encrypted: bool = False,
        kms_key_id: str | None = None,
        volume_type: str | None = None,
        iops: int | None = None,
        throughput: int | None = None,
        multi_attach_enabled: bool | None = None,
    ) -> LocalVolume:
        """CreateVolume. The volume becomes available, and known, a little later."""
        cloud = context.active()
        zone = self.get_zone_by_name(zone_name)  # type: ignore[attr-defined]
        if zone is None:
            raise ec2_error("InvalidZone.NotFound", f"The zone '{zone_name}' does not exist.")
        volume_type = volume_type or "gp2"
        if volume_type not in _VOLUME_TYPES:
            raise ec2_error(
                "InvalidParameterValue",
                f"Value ({volume_type}) for parameter volumeType is invalid.",
            )
        if iops and volume_type not in _IOPS_TYPES:
            raise ec2_error(
                "InvalidParameterCombination",
                f"The parameter iops is not supported for {volume_type} volumes.",
            )
        size_gib = int(size) if size is not None else None
        if snapshot_id:
            snapshot = self.get_snapshot(snapshot_id)
            if snapshot.status != "completed":
                raise ec2_error(
                    "IncorrectState", f"Snapshot is in invalid state - {snapshot.status}"
                )
            size_gib = snapshot.volume_size if size_gib is None else size_gib
            if size_gib < snapshot.volume_size:
                raise ec2_error(
                    "InvalidParameterValue",
                    f"Volume of {size_gib}GiB is smaller than snapshot '{snapshot_id}', "
                    f"expect size>= {snapshot.volume_size}GiB",
                )
            encrypted = encrypted or snapshot.encrypted
        if size_gib is None:
            raise ec2_error(
                "MissingParameter", "The request must contain the parameter size/snapshot"
            )
        if not 1 <= size_gib <= _MAX_GIB:
            raise ec2_error("InvalidParameterValue", f"Volume size of {size_gib} GiB is invalid.")
        volume = self.new_volume(
            size_gib,
            zone,
            snapshot_id=snapshot_id,
            encrypted=encrypted,
            kms_key_id=kms_key_id,
            volume_type=volume_type,
            iops=iops or (3000 if volume_type == "gp3" else None),
            throughput=throughput or (125 if volume_type == "gp3" else None),
            multi_attach_enabled=multi_attach_enabled,
        )
        volume.hide_for(cloud.settings.visibility_seconds)
        fault = cloud.faults.take(
            "CreateVolume", {"SnapshotId": snapshot_id or "", "Size": str(size_gib)}, http=False
        )
        effect = fault.effect if fault else None

        def finish() -> None:
            cloud.store.create(volume.id, size_gib, snapshot_id)
            cloud.pause(cloud.settings.volume_seconds)
            with cloud.state_lock:
                if effect is Effect.failed:
                    volume.phase = "error"
                elif effect is not Effect.stuck and volume.phase == "creating":
                    volume.phase = "available"

        cloud.start_task(f"create {volume.id}", finish)
        return volume

    def new_volume(self, size_gib: int, zone: Any, **options: Any) -> LocalVolume:
        """A volume in state `creating` and without storage yet."""
        volume = LocalVolume(self, random_volume_id(), size_gib, zone, **options)
        self.volumes[volume.id] = volume
        return volume

    def delete_volume(self, volume_id: str) -> LocalVolume:
        """DeleteVolume. The volume is `deleting` for a moment, then unknown."""
        cloud = context.active()
        volume = self.get_volume(volume_id)
        if volume.attachment is not None:
            raise ec2_error(
                "VolumeInUse",
                f"Volume {volume_id} is currently attached to {volume.attachment.instance_id}",
            )
        if volume.phase not in ("available", "error"):
            raise ec2_error("IncorrectState", f"The volume '{volume_id}' is '{volume.status}'.")
        volume.phase = "deleting"

        def finish() -> None:
            cloud.pause(cloud.settings.volume_seconds / 2)
            self.drop_volume(volume)

        cloud.start_task(f"delete {volume_id}", finish)
        return volume

    def drop_volume(self, volume: LocalVolume) -> None:
        """Remove a volume and its storage for good."""
        cloud = context.active()
        with cloud.state_lock:
            self.volumes.pop(volume.id, None)
            self.tags.pop(volume.id, None)  # type: ignore[attr-defined]
        cloud.store.delete(volume.id)

    # --- attachments -----------------------------------------------------------------------

    def attach_volume(
        self,
        volume_id: str,
        instance_id: str,
        device_path: str,
        delete_on_termination: bool = False,
    ) -> LocalAttachment:
        """AttachVolume, with EC2's checks of states, zone and device name."""
        cloud = context.active()
        volume = self.get_volume(volume_id)
        check_id(instance_id, "i", "instanceId", "InvalidInstanceID.Malformed")
        instance = self.get_instance(instance_id)  # type: ignore[attr-defined]
        self._check_attachable(volume, instance, device_path)
        attachment = self.record_attachment(volume, instance, device_path, delete_on_termination)
        disk = Disk(volume_id, device_path)
        fault = cloud.faults.take(
            "AttachVolume",
            {"VolumeId": volume_id, "InstanceId": instance_id, "Device": device_path},
            http=False,
        )
        effect = fault.effect if fault else None
        plug = instance.state == "running" and effect is not Effect.invisible

        def finish() -> None:
            if effect is Effect.stuck:
                return
            cloud.pause(cloud.settings.attach_seconds)
            # An instance that was terminated meanwhile has no machine any more.
            machine = instance.local.machine
            if plug and machine is not None:
                machine.attach(disk)
            with cloud.state_lock:
                if attachment.status == "attaching":
                    attachment.set_status("attached")

        cloud.start_task(f"attach {volume_id}", finish)
        return attachment

    def _check_attachable(self, volume: LocalVolume, instance: Any, device: str) -> None:
        if not device:
            raise ec2_error("MissingParameter", "The request must contain the parameter device")
        if not _DEVICE.fullmatch(device):
            raise ec2_error(
                "InvalidParameterValue",
                f"Value ({device}) for parameter device is invalid. "
                f"{device} is not a valid EBS device name.",
            )
        if volume.attachment is not None:
            raise ec2_error("VolumeInUse", f"{volume.id} is already attached to an instance")
        if volume.phase != "available":
            raise ec2_error("IncorrectState", f"Volume '{volume.id}' is not 'available'.")
        if instance.state not in ("running", "stopped"):
            raise ec2_error("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
        if volume.availability_zone != instance.placement.zone:
            raise ec2_error(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume.id}' is not in the same availability zone as "
                f"instance '{instance.id}'",
            )
        if _short(device) in {_short(used) for used in instance.block_device_mapping}:
            raise ec2_error(
                "InvalidParameterValue",
                f"Invalid value '{device}' for unixDevice. Attachment point {device} is already "
                "in use",
            )
        limit = context.active().settings.guest_slots
        if len(instance.block_device_mapping) >= limit:
            raise ec2_error(
                "AttachmentLimitExceeded",
                f"You have exceeded the limit of {limit} volume attachments per instance",
            )

    def record_attachment(
        self, volume: LocalVolume, instance: Any, device: str, delete_on_termination: bool
    ) -> LocalAttachment:
        """Note on both sides that a volume is being attached."""
        attachment = LocalAttachment(volume, instance, device, delete_on_termination)
        volume.attachment = attachment
        instance.block_device_mapping[device] = BlockDeviceType(
            volume_id=volume.id,
            status="attaching",
            size=volume.size,
            attach_time=attachment.attach_time,
            delete_on_termination=delete_on_termination,
        )
        return attachment

    def detach_volume(
        self,
        volume_id: str,
        instance_id: str | None = None,
        device_path: str | None = None,
        force: bool = False,
    ) -> LocalAttachment:
        """DetachVolume. The attachment is `detaching` until the guest has let go."""
        cloud = context.active()
        volume = self.get_volume(volume_id)
        attachment = volume.attachment
        if attachment is None:
            raise ec2_error(
                "IncorrectState", f"Volume '{volume_id}' is in the '{volume.status}' state."
            )
        instance = attachment.instance
        if instance_id not in (None, instance.id) or device_path not in (None, attachment.device):
            raise ec2_error(
                "InvalidAttachment.NotFound",
                f"Volume '{volume_id}' is attached to '{instance.id}' as '{attachment.device}', "
                f"not to '{instance_id or instance.id}' as '{device_path or attachment.device}'.",
            )
        if attachment.device == instance.root_device_name and instance.state != "stopped":
            raise ec2_error(
                "OperationNotPermitted",
                f"Unable to detach root volume '{attachment.device}' from instance '{instance.id}'",
            )
        if attachment.status in ("detaching", "busy") and not force:
            return attachment
        fault = cloud.faults.take(
            "DetachVolume", {"VolumeId": volume_id, "InstanceId": instance.id}, http=False
        )
        effect = fault.effect if fault and not force else None
        attachment.set_status("busy" if effect is Effect.busy else "detaching")

        def finish() -> None:
            if effect in (Effect.busy, Effect.stuck):
                return
            cloud.pause(cloud.settings.attach_seconds)
            if instance.local.machine is not None:
                instance.local.machine.detach(volume_id)
            with cloud.state_lock:
                self.forget_attachment(volume)

        cloud.start_task(f"detach {volume_id}", finish)
        return attachment

    def forget_attachment(self, volume: LocalVolume) -> None:
        """Note on both sides that a volume is no longer attached."""
        attachment = volume.attachment
        if attachment is not None:
            attachment.instance.block_device_mapping.pop(attachment.device, None)
            attachment.status = "detached"
            volume.attachment = None

    # --- snapshots -------------------------------------------------------------------------

    def get_snapshot(self, snapshot_id: str) -> LocalSnapshot:
        """The snapshot, if requests know it by now."""
        check_id(snapshot_id, "snap", "snapshotId", "InvalidSnapshotID.Malformed")
        snapshot = self.snapshots.get(snapshot_id)
        if snapshot is None or not snapshot.visible:
            raise ec2_error(
                "InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist."
            )
        return snapshot

    def describe_snapshots(
        self, snapshot_ids: list[str] | None = None, filters: Any = None
    ) -> list[LocalSnapshot]:
        """Snapshots by ID, or all; narrowed by filters."""
        if snapshot_ids:
            found = [self.get_snapshot(snapshot_id) for snapshot_id in snapshot_ids]
        else:
            found = [snapshot for snapshot in self.snapshots.values() if snapshot.visible]
        return generic_filter(filters, found) if filters else found

    def create_snapshot(
        self,
        volume_id: str,
        description: str | None,
        owner_id: str | None = None,
        from_ami: str | None = None,
    ) -> LocalSnapshot:
        """CreateSnapshot. The content is the volume's at the time of the reply."""
        cloud = context.active()
        volume = self.get_volume(volume_id)
        if volume.phase != "available":
            raise ec2_error("IncorrectState", f"Volume '{volume_id}' is '{volume.status}'.")
        snapshot = self.new_snapshot(description or "", volume.size, volume_id, volume.encrypted)
        machine = volume.attachment.instance.local.machine if volume.attachment else None
        if machine is not None:
            machine.snapshot(volume_id, snapshot.id)
        else:
            cloud.store.snapshot(volume_id, snapshot.id)
        fault = cloud.faults.take("CreateSnapshot", {"VolumeId": volume_id}, http=False)
        self._complete_later(snapshot, fault.effect if fault else None)
        return snapshot

    def copy_snapshot(
        self,
        source_snapshot_id: str,
        source_region: str,
        description: str | None,
        kms_key_id: str | None,
    ) -> LocalSnapshot:
        """CopySnapshot within the region."""
        if source_region != self.region_name:  # type: ignore[attr-defined]
            raise ec2_error(
                "UnsupportedOperation", "The Local EC2 copies snapshots within one region only."
            )
        source = self.get_snapshot(source_snapshot_id)
        if source.status != "completed":
            raise ec2_error("IncorrectState", f"Snapshot is in invalid state - {source.status}")
        copy = self.new_snapshot(description or "", source.volume_size, encrypted=bool(kms_key_id))
        context.active().store.copy_snapshot(source.id, copy.id)
        self._complete_later(copy, None)
        return copy

    def create_snapshots(
        self, instance_spec: dict[str, Any], description: str, tags: dict[str, str]
    ) -> list[LocalSnapshot]:
        """CreateSnapshots is not offered: amilift does not use it."""
        raise ec2_error("UnsupportedOperation", "The Local EC2 does not offer CreateSnapshots.")

    def new_snapshot(
        self,
        description: str,
        size_gib: int,
        volume_id: str | None = None,
        encrypted: bool = False,
    ) -> LocalSnapshot:
        """A pending snapshot, still unknown to requests."""
        options = {"volume_id": volume_id} if volume_id else {}
        snapshot = LocalSnapshot(
            self,
            random_snapshot_id(),
            description=description,
            size_gib=size_gib,
            encrypted=encrypted,
            **options,
        )
        snapshot.hide_for(context.active().settings.visibility_seconds)
        self.snapshots[snapshot.id] = snapshot
        return snapshot

    def _complete_later(self, snapshot: LocalSnapshot, effect: Effect | None) -> None:
        cloud = context.active()

        def finish() -> None:
            for step in range(1, _SNAPSHOT_STEPS + 1):
                cloud.pause(cloud.settings.snapshot_seconds / _SNAPSHOT_STEPS)
                if step == _SNAPSHOT_STEPS and effect is Effect.stuck:
                    return
                with cloud.state_lock:
                    if step == _SNAPSHOT_STEPS and effect is Effect.failed:
                        snapshot.fail("The snapshot failed: injected by the test.")
                    else:
                        snapshot.advance(100 * step // _SNAPSHOT_STEPS)

        cloud.start_task(f"complete {snapshot.id}", finish)

    def delete_snapshot(self, snapshot_id: str) -> LocalSnapshot:
        """DeleteSnapshot, unless an image needs it."""
        snapshot = self.get_snapshot(snapshot_id)
        users = self._users(snapshot_id)
        if users:
            raise ec2_error(
                "InvalidSnapshot.InUse",
                f"The snapshot {snapshot_id} is currently in use by {users[0]}",
            )
        del self.snapshots[snapshot_id]
        self.tags.pop(snapshot_id, None)  # type: ignore[attr-defined]
        context.active().store.delete_snapshot(snapshot_id)
        return snapshot

    def _users(self, snapshot_id: str) -> list[str]:
        images: Iterable[Any] = self.amis.values()
        return [image.id for image in images if snapshot_id in image.snapshot_ids()]


def _short(device: str) -> str:
    # /dev/sdf, sdf and xvdf are one attachment point.
    name = device.removeprefix("/dev/")
    return name.removeprefix("xv").removeprefix("s")
