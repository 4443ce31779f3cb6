"""The EC2 backend: moto's, with volumes, images and instances that behave as EC2's do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.autoscaling import autoscaling_backends
from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2 import urls as ec2_urls
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.responses import EC2Response
from moto.ec2.utils import random_ami_id

from .ebs import EbsMixin
from .errors import ec2_error
from .images import ImageMixin
from .instances import InstanceMixin

_MAX_TAG_KEY = 128
_MAX_TAG_VALUE = 256
_IMAGE_FIELDS = (
    "Description",
    "ImageLocation",
    "Architecture",
    "KernelId",
    "RamdiskId",
    "RootDeviceName",
    "BlockDeviceMappings",
    "VirtualizationType",
    "SriovNetSupport",
    "EnaSupport",
    "BootMode",
    "ImdsSupport",
    "TpmSupport",
)


class LocalBackend(EbsMixin, ImageMixin, InstanceMixin, EC2Backend):
    """State of EC2 in one region. See the mixins for what differs from moto."""

    # moto finds the URLs of a backend through the name of its class's module.
    __module__ = "moto.ec2.models"

    def __init__(self, region_name: str, account_id: str):
        self._tokens: dict[tuple[str, str], tuple[str, Any]] = {}
        super().__init__(region_name, account_id)

    def once(
        self, action: str, token: str | None, fingerprint: str, carry_out: Callable[[], Any]
    ) -> Any:
        """Carry a request out, or return what an earlier one with the same ClientToken did."""
        if not token:
            return carry_out()
        known = self._tokens.get((action, token))
        if known is None:
            result = carry_out()
            self._tokens[(action, token)] = (fingerprint, result)
            return result
        if known[0] != fingerprint:
            raise ec2_error(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request.",
            )
        return known[1]

    def do_resources_exist(self, resource_ids: list[str]) -> bool:
        """Raise the NotFound error of the first resource that requests do not know."""
        for resource_id in resource_ids:
            if resource_id.startswith("i-"):
                self.get_instance(resource_id)
            elif resource_id.startswith("ami-"):
                self.get_image(resource_id)
        others = [r for r in resource_ids if not r.startswith(("i-", "ami-"))]
        return bool(super().do_resources_exist(others))


class LocalResponse(EC2Response):
    """Requests of EC2: reads what moto leaves unread, refuses what EC2 refuses."""

    def _once(self, action: str, carry_out: Callable[[], ActionResult]) -> ActionResult:
        token = self._get_param("ClientToken")
        fingerprint = json.dumps(
            {k: v for k, v in self._get_params().items() if k not in ("ClientToken", "DryRun")},
            sort_keys=True,
            default=str,
        )
        result: ActionResult = self.ec2_backend.once(action, token, fingerprint, carry_out)
        return result

    def create_volume(self) -> ActionResult:
        self._check_tag_specification("volume")
        return self._once("CreateVolume", super().create_volume)

    def create_snapshot(self) -> ActionResult:
        self._check_tag_specification("snapshot")
        return super().create_snapshot()

    def run_instances(self) -> ActionResult:
        result = self._once("RunInstances", super().run_instances)
        instances = result.result.instances
        if all(instance.state == "terminated" for instance in instances):
            raise ec2_error(
                "IdempotentInstanceTerminated",
                "The instances that this client token started are terminated.",
            )
        return result

    def _parse_block_device_mapping(self) -> list[dict[str, Any]]:
        # moto fills in defaults that hide which fields the caller gave.
        return self._get_param("BlockDeviceMappings", [])  # type: ignore[no-any-return]

    def detach_volume(self) -> ActionResult:
        volume_id = self._get_param("VolumeId")
        self.error_on_dryrun()
        attachment = self.ec2_backend.detach_volume(
            volume_id,
            self._get_param("InstanceId"),
            self._get_param("Device"),
            force=self._get_bool_param("Force", False),
        )
        return ActionResult(
            {
                "VolumeId": volume_id,
                "InstanceId": attachment.instance_id,
                "Device": attachment.device,
                "State": attachment.status,
                "AttachTime": attachment.attach_time,
            }
        )

    def register_image(self) -> ActionResult:
        self._check_tag_specification("image", "snapshot")
        fields = {name: self._get_param(name) for name in _IMAGE_FIELDS}
        self.error_on_dryrun()
        given = {name: value for name, value in fields.items() if value is not None}
        image = self.ec2_backend.register_image(self._get_param("Name"), **given)
        tags = self._parse_tag_specification()
        image.add_tags(tags.get("image", {}))
        return ActionResult({"ImageId": image.id})

    def deregister_image(self) -> ActionResult:
        delete_snapshots = self._get_bool_param("DeleteAssociatedSnapshots", False)
        self.error_on_dryrun()
        image = self.ec2_backend.deregister_image(self._get_param("ImageId"))
        deleted = image.snapshot_ids() if delete_snapshots else []
        for snapshot_id in deleted:
            self.ec2_backend.delete_snapshot(snapshot_id)
        results = [{"SnapshotId": s, "ReturnCode": "success"} for s in deleted]
        return ActionResult({"Return": True, "DeleteSnapshotResults": results})

    def describe_volumes(self) -> ActionResult:
        return self._page(super().describe_volumes(), "Volumes")

    def describe_snapshots(self) -> ActionResult:
        return self._page(super().describe_snapshots(), "Snapshots")

    def describe_images(self) -> ActionResult:
        return self._page(super().describe_images(), "Images")

    def describe_tags(self) -> ActionResult:
        return self._page(super().describe_tags(), "Tags")

    def _page(self, whole: ActionResult, member: str) -> ActionResult:
        """Cut a listing into pages of MaxResults, chained by NextToken."""
        items = list(whole.result[member])
        token = self._get_param("NextToken") or "0"
        size = self._get_int_param("MaxResults")
        if not token.isdecimal() or int(token) > len(items):
            raise ec2_error("InvalidParameterValue", f"Unable to parse pagination token {token!r}")
        if size is not None and not 5 <= size <= 1000:
            raise ec2_error(
                "InvalidParameterValue",
                f"Value ({size}) for parameter maxResults is invalid. Expecting a value of 5 to "
                "1000.",
            )
        start = int(token)
        end = len(items) if size is None else min(len(items), start + size)
        result: dict[str, Any] = {member: items[start:end]}
        if end < len(items):
            result["NextToken"] = str(end)
        return ActionResult(result)

    def create_tags(self) -> ActionResult:
        for tag in self._get_param("Tags", []):
            _check_tag(tag.get("Key"), tag.get("Value", ""))
        return super().create_tags()

    def _check_tag_specification(self, *kinds: str) -> None:
        for specification in self._get_param("TagSpecifications", []) or []:
            kind = specification.get("ResourceType")
            if kind not in kinds:
                raise ec2_error(
                    "InvalidParameterValue",
                    f"'{kind}' is not a valid taggable resource type for this operation.",
                )
            for tag in specification.get("Tags", []):
                _check_tag(tag.get("Key"), tag.get("Value", ""))

    def modify_instance_attribute(self) -> ActionResult:
        instance_id = self._get_param("InstanceId")
        mappings = self._get_param("BlockDeviceMappings", [])
        behavior = self._get_param("InstanceInitiatedShutdownBehavior.Value")
        self.ec2_backend.get_instance(instance_id)
        if mappings:
            self.error_on_dryrun()
            for mapping in mappings:
                value = mapping.get("Ebs", {}).get("DeleteOnTermination")
                if value is not None:
                    self.ec2_backend.set_delete_on_termination(
                        instance_id, mapping.get("DeviceName"), value
                    )
            return EmptyResult()
        if behavior is not None:
            if behavior not in ("stop", "terminate"):
                raise ec2_error(
                    "InvalidParameterValue",
                    f"Value ({behavior}) for parameter instanceInitiatedShutdownBehavior is "
                    "invalid.",
                )
            self.error_on_dryrun()
            self.ec2_backend.modify_instance_attribute(
                instance_id, "instance_initiated_shutdown_behavior", behavior
            )
            return EmptyResult()
        handled = self._attribute_value_handler() or self._dot_value_instance_attribute_handler()
        if not handled and self._get_param("Groups"):
            handled = self._security_grp_instance_attribute_handler()
        if not handled:
            # moto would answer yes and empty the instance's security groups.
            raise ec2_error(
                "UnsupportedOperation", "The Local EC2 cannot modify this instance attribute."
            )
        return EmptyResult()

    def get_console_output(self) -> ActionResult:
        instance_id = self._get_param("InstanceId")
        self.error_on_dryrun()
        output = self.ec2_backend.console_output(instance_id)
        encoded = Base64EncodedString.from_raw_string(output.decode("latin-1"), "latin-1")
        return ActionResult({"InstanceId": instance_id, "Timestamp": utcnow(), "Output": encoded})


def _check_tag(key: str | None, value: str) -> None:
    if not key:
        raise ec2_error("MissingParameter", "The request must contain the parameter tag key")
    if key.lower().startswith("aws:"):
        raise ec2_error(
            "InvalidParameterValue",
            f"Tag keys starting with 'aws:' are reserved for internal use: {key}",
        )
    for what, text, limit in (("key", key, _MAX_TAG_KEY), ("value", value, _MAX_TAG_VALUE)):
        if len(text) > limit:
            raise ec2_error(
                "InvalidParameterValue",
                f"Tag {what} exceeds the maximum length of {limit} characters: it has {len(text)}",
            )


class BackendView:
    """What authorization has to know of the resources; see authz.ResourceView."""

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend

    def tags_of(self, resource_id: str) -> dict[str, str] | None:
        """Tags, or None when the resource does not exist."""
        backend = self._backend
        known: tuple[dict[str, Any], ...] = (backend.volumes, backend.snapshots, backend.amis)
        exists = any(resource_id in resources for resources in known)
        if not exists and backend.get_instance_by_id(resource_id) is None:
            return None
        return dict(backend.tags.get(resource_id, {}))

    def attributes_of(self, resource_id: str) -> dict[str, str]:
        """Condition keys besides the tags."""
        volume = self._backend.volumes.get(resource_id)
        if volume is not None:
            return {
                "ec2:VolumeID": volume.id,
                "ec2:VolumeSize": str(volume.size),
                "ec2:VolumeType": volume.volume_type,
                "ec2:Encrypted": str(volume.encrypted).lower(),
            }
        snapshot = self._backend.snapshots.get(resource_id)
        if snapshot is not None:
            return {
                "ec2:SnapshotID": snapshot.id,
                "ec2:VolumeSize": str(snapshot.volume_size),
                "ec2:Owner": snapshot.owner_id,
            }
        image = self._backend.amis.get(resource_id)
        if image is not None:
            return {"ec2:ImageID": image.id, "ec2:Owner": image.owner_id}
        instance = self._backend.get_instance_by_id(resource_id)
        if instance is not None:
            return {
                "ec2:InstanceID": instance.id,
                "ec2:InstanceType": instance.instance_type,
                "ec2:AvailabilityZone": instance.placement.zone,
            }
        return {}

    def group_of_instance(self, instance_id: str) -> str | None:
        """ARN of the Auto Scaling group of an instance."""
        groups = autoscaling_backends[self._backend.account_id][self._backend.region_name]
        for group in groups.autoscaling_groups.values():
            if any(state.instance.id == instance_id for state in group.instance_states):
                return str(group.arn)
        return None


def install() -> None:
    """Make moto use this backend and these responses. To be called before the first request."""
    ec2_backends.backend = LocalBackend
    ec2_urls.url_paths["{0}/"] = LocalResponse.dispatch


def new_image_id() -> str:
    """A random image ID."""
    return str(random_ami_id())
