"""Instances whose life follows a machine; part of the backend."""

from __future__ import annotations

import base64
import copy
from typing import Any

from moto.autoscaling import autoscaling_backends
from moto.core.types import Base64EncodedString
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.iam.models import iam_backends

from . import context
from .errors import ec2_error
from .imds import InstanceMetadata
from .machine import Disk, Machine, MachineSpec
from .models import InstanceParts, LocalImage, LocalVolume

_STATES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
_MAX_USER_DATA = 16 * 1024


class InstanceMixin:
    """Overrides moto's InstanceBackend. State is guarded by the cloud's state lock."""

    volumes: dict[str, LocalVolume]

    def run_instances(
        self,
        image_id: str | None,
        count: int,
        user_data: Base64EncodedString | str | None,
        security_group_names: list[str],
        **options: Any,
    ) -> Any:
        """RunInstances: checks what EC2 checks, makes the volumes, starts the machines."""
        template = self._template(options.get("launch_template"))
        image = self.get_image(image_id or template.get("ImageId", ""))  # type: ignore[attr-defined]
        if image.state != "available":
            raise ec2_error("InvalidAMIID.Unavailable", f"The image {image.id} is {image.state}")
        data = _user_data(user_data or template.get("UserData"))
        kind = options.get("instance_type") or "m1.small"
        if options.get("is_instance_type_default") or not options.get("instance_type"):
            kind = template.get("InstanceType", kind)
        _check_bootable(image, kind, runs_guests=context.active().hypervisor.runs_guests)
        mappings = _merged_mappings(
            image,
            options.pop("block_device_mappings", None) or template.get("BlockDeviceMappings"),
        )
        behavior = options.get("instance_initiated_shutdown_behavior") or template.get(
            "InstanceInitiatedShutdownBehavior"
        )
        options["instance_initiated_shutdown_behavior"] = behavior
        options.setdefault("is_instance_type_default", False)
        tags = options.get("tags") or {}
        reservation = super().run_instances(  # type: ignore[misc]
            image.id,
            count,
            user_data,
            security_group_names,
            # moto would make an 8 GiB volume of its own.
            block_device_mappings=[],
            **options,
        )
        profile = options.get("iam_instance_profile_name") or options.get(
            "iam_instance_profile_arn"
        )
        profile = profile or next(iter(template.get("IamInstanceProfile", {}).values()), None)
        for instance in reservation.instances:
            self._prepare(instance, image, data, profile, mappings, tags.get("volume", {}))
        return reservation

    def _template(self, arguments: dict[str, Any] | None) -> dict[str, Any]:
        if not arguments:
            return {}
        version = self._get_template_from_args(arguments)  # type: ignore[attr-defined]
        return dict(version.data)

    def _prepare(
        self,
        instance: Instance,
        image: LocalImage,
        user_data: bytes | None,
        profile: str | None,
        mappings: list[dict[str, Any]],
        volume_tags: dict[str, str],
    ) -> None:
        """Give a new instance its volumes, its metadata and its machine."""
        set_state(instance, "pending")
        instance.local = InstanceParts(image, user_data, self._role_of(profile))
        instance.ena_support = image.ena_support
        instance.boot_mode = image.boot_mode
        instance.hypervisor = "xen"
        instance.root_device_name = image.root_device_name
        instance.product_codes = image.product_codes
        instance.kernel_id = image.kernel_id
        zone = self.get_zone_by_name(instance.placement.zone)  # type: ignore[attr-defined]
        for mapping in mappings:
            ebs = mapping["Ebs"]
            snapshot_id = ebs.get("SnapshotId")
            volume = self.new_volume(  # type: ignore[attr-defined]
                int(ebs["VolumeSize"]),
                zone,
                snapshot_id=snapshot_id,
                volume_type=ebs.get("VolumeType"),
                encrypted=bool(ebs.get("Encrypted")),
            )
            volume.add_tags(volume_tags)
            delete = str(ebs.get("DeleteOnTermination", True)).lower() != "false"
            self.record_attachment(  # type: ignore[attr-defined]
                volume, instance, mapping["DeviceName"], delete
            )
        self._start(instance)

    def _start(self, instance: Instance) -> None:
        cloud = context.active()

        def launch() -> None:
            try:
                self._launch(instance)
            except context.Closing:
                raise
            except Exception:
                with cloud.state_lock:
                    if instance.state != "pending":
                        return  # terminated meanwhile: whoever did that cleans up
                    instance.state_reason = StateReason(
                        "Server.InternalError: Internal error on launch", "Server.InternalError"
                    )
                    set_state(instance, "shutting-down")
                self._end(instance, "terminated")
                raise

        cloud.start_task(f"launch {instance.id}", launch)

    def _launch(self, instance: Instance) -> None:
        cloud = context.active()
        with cloud.state_lock:
            disks = self._disks(instance)
            volumes = [self.volumes[disk.volume_id] for disk in disks]
            image = instance.local.image
        for volume in volumes:
            if volume.phase == "creating":
                cloud.store.create(volume.id, volume.size, volume.snapshot_id)
                volume.phase = "available"
        spec = MachineSpec(
            instance.id,
            instance.private_ip_address,
            InstanceMetadata(instance, cloud).handle,
            kernel=image.boot_kernel,
            kernel_arguments=image.boot_arguments,
        )
        machine = cloud.hypervisor.machine(spec, lambda: self._guest_went_off(instance))
        with cloud.state_lock:
            if instance.state != "pending":
                return
            instance.local.machine = machine
        machine.start(disks)
        cloud.pause(cloud.settings.instance_seconds)
        with cloud.state_lock:
            for volume in volumes:
                if volume.attachment is not None and volume.attachment.status == "attaching":
                    volume.attachment.set_status("attached")
            if instance.state == "pending":
                set_state(instance, "running")

    def _role_of(self, profile: str | None) -> str | None:
        """Name of the role in an instance profile, which is given by name or ARN."""
        if not profile:
            return None
        iam = iam_backends[self.account_id][self.partition]  # type: ignore[attr-defined]
        if profile.startswith("arn:"):
            found = iam.get_instance_profile_by_arn(profile)
        else:
            found = iam.get_instance_profile(profile)
        return found.roles[0].name if found.roles else None

    @staticmethod
    def _disks(instance: Instance) -> list[Disk]:
        """Volumes of an instance, the root first."""
        devices = sorted(
            instance.block_device_mapping.items(),
            key=lambda item: (item[0] != instance.root_device_name, item[0]),
        )
        return [Disk(block.volume_id, device) for device, block in devices]

    # --- the end of an instance ------------------------------------------------------------

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """TerminateInstances: states before the call, the rest happens in the background."""
        instances = self.get_multi_instances_by_id(instance_ids)  # type: ignore[attr-defined]
        for instance in instances:
            if str(instance.disable_api_termination).lower() == "true":
                raise ec2_error(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its "
                    "'disableApiTermination' instance attribute and try again.",
                )
        return [
            (instance, self._halt(instance, "shutting-down", "terminated", _BY_USER))
            for instance in instances
        ]

    def stop_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """StopInstances: states before the call, the rest happens in the background."""
        instances = self.get_multi_instances_by_id(instance_ids)  # type: ignore[attr-defined]
        for instance in instances:
            if instance.state not in ("running", "stopping", "stopped"):
                raise _wrong_state(instance, "stopped")
        return [
            (instance, self._halt(instance, "stopping", "stopped", _BY_USER))
            for instance in instances
        ]

    def start_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """StartInstances of stopped instances; they keep their volumes."""
        instances = self.get_multi_instances_by_id(instance_ids)  # type: ignore[attr-defined]
        for instance in instances:
            if instance.state not in ("stopped", "running", "pending"):
                raise _wrong_state(instance, "started")
        previous = [(instance, copy.copy(instance.instance_state)) for instance in instances]
        for instance, before in previous:
            if before.name == "stopped":
                set_state(instance, "pending")
                instance.state_reason = StateReason()
                self._start(instance)
        return previous

    def _halt(
        self, instance: Instance, passing: str, final: str, reason: StateReason
    ) -> InstanceState:
        before = copy.copy(instance.instance_state)
        if instance.state in (passing, final, "terminated"):
            return before
        set_state(instance, passing)
        instance.state_reason = reason
        context.active().start_task(f"{final} {instance.id}", lambda: self._end(instance, final))
        return before

    def _guest_went_off(self, instance: Instance) -> None:
        """The guest shut itself down: do what the instance's shutdown behaviour says."""
        with context.active().state_lock:
            if instance.state not in ("running", "pending"):
                return
            if instance.instance_initiated_shutdown_behavior == "terminate":
                self._halt(instance, "shutting-down", "terminated", _BY_GUEST)
            else:
                self._halt(instance, "stopping", "stopped", _BY_GUEST)

    def _end(self, instance: Instance, final: str) -> None:
        """Switch the machine off and settle the volumes. Runs in the background."""
        cloud = context.active()
        machine: Machine | None = instance.local.machine
        if machine is not None:
            machine.power_off(cloud.settings.power_off_seconds)
            instance.local.console = machine.console()
        cloud.pause(cloud.settings.instance_seconds)
        dropped = []
        with cloud.state_lock:
            reason = instance.state_reason
            instance.local.machine = None
            if final == "terminated":
                dropped = self._release_volumes(instance)
                instance.terminate()
            else:
                instance.stop()
            instance.state_reason = reason
            set_state(instance, final)
        for volume in dropped:
            self.drop_volume(volume)  # type: ignore[attr-defined]
        if final == "terminated":
            region = self.region_name  # type: ignore[attr-defined]
            account = self.account_id  # type: ignore[attr-defined]
            autoscaling_backends[account][region].notify_terminate_instances([instance.id])

    def _release_volumes(self, instance: Instance) -> list[LocalVolume]:
        """Detach all volumes; returns those that end with the instance."""
        dropped = []
        for block in list(instance.block_device_mapping.values()):
            volume = self.volumes[block.volume_id]
            self.forget_attachment(volume)  # type: ignore[attr-defined]
            if block.delete_on_termination:
                volume.phase = "deleting"
                dropped.append(volume)
        return dropped

    # --- attributes ------------------------------------------------------------------------

    def set_delete_on_termination(self, instance_id: str, device: str, value: bool) -> None:
        """ModifyInstanceAttribute BlockDeviceMapping.N.Ebs.DeleteOnTermination."""
        instance = self.get_instance(instance_id)  # type: ignore[attr-defined]
        block = instance.block_device_mapping.get(device)
        if block is None:
            raise ec2_error(
                "InvalidInstanceAttributeValue", f"No device is currently mapped at {device}"
            )
        block.delete_on_termination = value
        attachment = self.volumes[block.volume_id].attachment
        if attachment is not None:
            attachment.delete_on_termination = value

    def console_output(self, instance_id: str) -> bytes:
        """The serial console, also of an instance that has ended."""
        instance = self.get_instance(instance_id)  # type: ignore[attr-defined]
        machine: Machine | None = instance.local.machine
        return machine.console() if machine is not None else instance.local.console


_BY_USER = StateReason(
    "Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown"
)
_BY_GUEST = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
    "Client.InstanceInitiatedShutdown",
)


def set_state(instance: Instance, name: str) -> None:
    """Put an instance into a state by name."""
    instance._state = InstanceState(name, _STATES[name])


def _wrong_state(instance: Instance, verb: str) -> Exception:
    return ec2_error(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {verb}: it is "
        f"{instance.state}.",
    )


def _user_data(data: Base64EncodedString | str | None) -> bytes | None:
    if data is None:
        return None
    encoded = data if isinstance(data, Base64EncodedString) else Base64EncodedString(data)
    raw = base64.b64decode(encoded.as_bytes())
    if len(raw) > _MAX_USER_DATA:
        raise ec2_error(
            "InvalidParameterValue",
            f"User data is limited to {_MAX_USER_DATA} bytes, these are {len(raw)}",
        )
    return raw


def _check_bootable(image: LocalImage, instance_type: str, *, runs_guests: bool) -> None:
    facts = INSTANCE_TYPES.get(instance_type)
    if facts is None:
        raise ec2_error(
            "InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType."
        )
    if image.image_type != "machine" or image.root_device_type != "ebs":
        raise ec2_error(
            "InvalidParameterCombination",
            f"The Local EC2 runs EBS-backed machine images only; {image.id} is a "
            f"{image.root_device_type} {image.image_type} image.",
        )
    if image.virtualization_type not in facts["SupportedVirtualizationTypes"]:
        raise ec2_error(
            "InvalidParameterCombination",
            f"Virtualization type '{image.virtualization_type}' is not supported for instances of "
            f"type '{instance_type}'.",
        )
    if runs_guests and image.virtualization_type == "paravirtual":
        raise ec2_error(
            "Unsupported", "The Local EC2 has no Xen: it cannot run paravirtual images."
        )
    if image.architecture not in facts["ProcessorInfo"]["SupportedArchitectures"]:
        raise ec2_error(
            "InvalidParameterValue",
            f"The architecture '{image.architecture}' of the specified image does not match the "
            f"architectures of instance type '{instance_type}'.",
        )
    if facts["NetworkInfo"].get("EnaSupport") == "required" and not image.ena_support:
        raise ec2_error(
            "InvalidParameterCombination",
            "Enhanced networking with the Elastic Network Adapter (ENA) is required for the "
            f"'{instance_type}' instance type. Ensure that you are using an AMI that is enabled "
            "for ENA.",
        )


def _merged_mappings(
    image: LocalImage, requested: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """The image's block devices, changed and extended by those of the request."""
    merged = {m["DeviceName"]: copy.deepcopy(m) for m in image.block_device_mappings}
    for mapping in requested or []:
        device = mapping["DeviceName"]
        if mapping.get("NoDevice") is not None:
            merged.pop(device, None)
            continue
        given = {k: v for k, v in mapping.get("Ebs", {}).items() if v is not None}
        target = merged.setdefault(device, {"DeviceName": device, "Ebs": {}})
        target.setdefault("Ebs", {}).update(given)
    return [mapping for mapping in merged.values() if "Ebs" in mapping]
