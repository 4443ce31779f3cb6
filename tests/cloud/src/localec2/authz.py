"""Which permissions an API call needs: actions, resource ARNs and condition keys.

The table follows the "Actions, resources, and condition keys" pages of the Service Authorization
Reference for the calls that amilift makes. A call that is not in it needs its action on `*`,
which a policy with narrower resources does not grant: unknown means refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .iam import Access
from .settings import ACCOUNT_ID
from .wire import ApiRequest

#: Resource types whose ARNs carry no account number.
_OWNERLESS = ("snapshot", "image")

_TYPE_OF_PREFIX = {"vol": "volume", "snap": "snapshot", "ami": "image", "i": "instance"}


class ResourceView(Protocol):
    """What has to be known of existing EC2 resources. All calls answer None for unknown IDs."""

    def tags_of(self, resource_id: str) -> dict[str, str] | None:
        """Tags of a resource."""

    def attributes_of(self, resource_id: str) -> dict[str, str]:
        """Condition keys of a resource besides its tags, such as `ec2:VolumeSize`."""

    def group_of_instance(self, instance_id: str) -> str | None:
        """ARN of the Auto Scaling group that an instance belongs to."""


@dataclass(frozen=True)
class Caller:
    """Who calls: condition keys of the principal, such as `aws:userid`."""

    name: str
    arn: str
    user_id: str
    source_instance_arn: str | None = None

    def context(self) -> dict[str, str]:
        """The principal's condition keys."""
        keys = {"aws:PrincipalArn": self.arn, "aws:userid": self.user_id}
        if self.source_instance_arn:
            keys["ec2:SourceInstanceARN"] = self.source_instance_arn
        return keys


class Requirements:
    """Works out the permissions that requests need."""

    def __init__(self, region: str, view: ResourceView) -> None:
        self._region = region
        self._view = view
        self._ec2: dict[str, Callable[[ApiRequest], Iterator[Access]]] = {
            "CreateVolume": self._create_volume,
            "CreateSnapshot": self._create_snapshot,
            "RegisterImage": self._register_image,
            "RunInstances": self._run_instances,
            "AttachVolume": self._attachment,
            "DetachVolume": self._attachment,
            "DeleteVolume": lambda r: self._existing(r, [r.params.get("VolumeId", "")]),
            "DeleteSnapshot": lambda r: self._existing(r, [r.params.get("SnapshotId", "")]),
            "DeregisterImage": lambda r: self._existing(r, [r.params.get("ImageId", "")]),
            "GetConsoleOutput": lambda r: self._existing(r, [r.params.get("InstanceId", "")]),
            "ModifyInstanceAttribute": self._modify_instance,
            "TerminateInstances": lambda r: self._existing(r, r.indexed("InstanceId")),
            "StopInstances": lambda r: self._existing(r, r.indexed("InstanceId")),
            "StartInstances": lambda r: self._existing(r, r.indexed("InstanceId")),
            "CreateTags": self._tags,
            "DeleteTags": self._tags,
        }

    def of(self, request: ApiRequest, caller: Caller) -> list[Access]:
        """Every permission that `request` needs. All of them have to be granted."""
        common = {
            **caller.context(),
            "aws:RequestedRegion": self._region,
            "aws:SecureTransport": "true",
        }
        if request.service == "ec2":
            common["ec2:Region"] = self._region
            needed = self._ec2.get(request.action, self._anything)(request)
        elif request.service == "s3":
            needed = self._s3(request)
        elif request.service == "sqs":
            needed = self._sqs(request)
        elif request.service == "autoscaling":
            needed = self._autoscaling(request)
        elif request.service == "sts":
            needed = iter([Access(f"sts:{request.action}", request.params.get("RoleArn", "*"))])
        else:
            needed = self._anything(request)
        return [Access(a.action, a.resource, {**common, **a.context}) for a in needed]

    # --- ec2 -------------------------------------------------------------------------------

    def _anything(self, request: ApiRequest) -> Iterator[Access]:
        yield Access(f"{request.service}:{request.action}")

    def _existing(
        self, request: ApiRequest, ids: list[str], extra: dict[str, str] | None = None
    ) -> Iterator[Access]:
        # EC2 answers "not found" rather than "not authorized" for what does not exist, so an
        # unknown resource needs the action on its type only and the backend then refuses it.
        for resource_id in ids:
            context = dict(extra or {})
            tags = self._view.tags_of(resource_id)
            for key, value in (tags or {}).items():
                context[f"aws:ResourceTag/{key}"] = value
                context[f"ec2:ResourceTag/{key}"] = value
            context.update(self._view.attributes_of(resource_id))
            if tags is not None:
                yield Access(f"ec2:{request.action}", self.arn(resource_id), context)

    def _created(
        self, request: ApiRequest, kind: str, extra: dict[str, str] | None = None
    ) -> Iterator[Access]:
        """A new resource of type `kind`, and CreateTags when it is created with tags."""
        tags = specified_tags(request, kind)
        context: dict[str, str | list[str]] = dict(extra or {})
        if tags:
            context.update({f"aws:RequestTag/{key}": value for key, value in tags.items()})
            context["aws:TagKeys"] = sorted(tags)
        yield Access(f"ec2:{request.action}", self._new_arn(kind), context)
        if tags:
            create = {**context, "ec2:CreateAction": request.action}
            yield Access("ec2:CreateTags", self._new_arn(kind), create)

    def _create_volume(self, request: ApiRequest) -> Iterator[Access]:
        extra = {"ec2:VolumeType": request.params.get("VolumeType", "gp2")}
        for parameter, key in (("Size", "ec2:VolumeSize"), ("SnapshotId", "ec2:ParentSnapshot")):
            if parameter in request.params:
                extra[key] = request.params[parameter]
        extra["ec2:Encrypted"] = request.params.get("Encrypted", "false").lower()
        if "SnapshotId" in request.params:
            extra["ec2:ParentSnapshot"] = self.arn(request.params["SnapshotId"])
            yield from self._existing(request, [request.params["SnapshotId"]])
        yield from self._created(request, "volume", extra)

    def _create_snapshot(self, request: ApiRequest) -> Iterator[Access]:
        volume = request.params.get("VolumeId", "")
        yield from self._existing(request, [volume])
        yield from self._created(request, "snapshot", {"ec2:ParentVolume": self.arn(volume)})

    def _register_image(self, request: ApiRequest) -> Iterator[Access]:
        snapshots = [
            value
            for name, value in request.params.items()
            if name.startswith("BlockDeviceMapping.") and name.endswith(".Ebs.SnapshotId")
        ]
        yield from self._existing(request, snapshots)
        yield from self._created(request, "image")

    def _run_instances(self, request: ApiRequest) -> Iterator[Access]:
        yield from self._existing(request, [request.params.get("ImageId", "")])
        extra = {"ec2:InstanceType": request.params.get("InstanceType", "m1.small")}
        yield from self._created(request, "instance", extra)
        yield from self._created(request, "volume")
        for kind in ("network-interface", "subnet", "security-group"):
            yield Access("ec2:RunInstances", self._new_arn(kind))

    def _attachment(self, request: ApiRequest) -> Iterator[Access]:
        ids = [request.params.get(name, "") for name in ("VolumeId", "InstanceId")]
        return self._existing(request, [resource_id for resource_id in ids if resource_id])

    def _modify_instance(self, request: ApiRequest) -> Iterator[Access]:
        named = request.params.get("Attribute")
        attributes = {
            name.partition(".")[0]
            for name in request.params
            if "." in name and not name.startswith("Tag")
        }
        attribute = named or next(iter(sorted(attributes)), "")
        return self._existing(
            request, [request.params.get("InstanceId", "")], {"ec2:Attribute": attribute}
        )

    def _tags(self, request: ApiRequest) -> Iterator[Access]:
        context: dict[str, str] = {}
        keys = []
        index = 1
        while (key := request.params.get(f"Tag.{index}.Key")) is not None:
            keys.append(key)
            context[f"aws:RequestTag/{key}"] = request.params.get(f"Tag.{index}.Value", "")
            index += 1
        for access in self._existing(request, request.indexed("ResourceId"), context):
            yield Access(access.action, access.resource, {**access.context, "aws:TagKeys": keys})

    # --- the other services ----------------------------------------------------------------

    def _s3(self, request: ApiRequest) -> Iterator[Access]:
        bucket, key = request.params.get("Bucket", ""), request.params.get("Key", "")
        action = {"HeadObject": "GetObject", "HeadBucket": "ListBucket"}.get(
            request.action, request.action
        )
        resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket or '*'}"
        yield Access(f"s3:{action}", resource)

    def _sqs(self, request: ApiRequest) -> Iterator[Access]:
        queue = request.params.get("QueueUrl", "").rstrip("/").rpartition("/")[2]
        queue = queue or request.params.get("QueueName", "*")
        yield Access(f"sqs:{request.action}", f"arn:aws:sqs:{self._region}:{ACCOUNT_ID}:{queue}")

    def _autoscaling(self, request: ApiRequest) -> Iterator[Access]:
        instances = [request.params.get("InstanceId", "")] + [
            value for name, value in request.params.items() if name.startswith("InstanceIds.member")
        ]
        arns = {self._view.group_of_instance(instance) for instance in instances if instance}
        known = sorted(arn for arn in arns if arn)
        for resource in known or ["*"]:
            yield Access(f"autoscaling:{request.action}", resource)

    # --- ARNs ------------------------------------------------------------------------------

    def arn(self, resource_id: str) -> str:
        """ARN of an EC2 resource, from its ID alone."""
        kind = _TYPE_OF_PREFIX.get(resource_id.partition("-")[0], "unknown")
        owner = "" if kind in _OWNERLESS else ACCOUNT_ID
        return f"arn:aws:ec2:{self._region}:{owner}:{kind}/{resource_id}"

    def _new_arn(self, kind: str) -> str:
        owner = "" if kind in _OWNERLESS else ACCOUNT_ID
        return f"arn:aws:ec2:{self._region}:{owner}:{kind}/*"


def specified_tags(request: ApiRequest, kind: str) -> dict[str, str]:
    """Tags that `TagSpecification.N` gives to new resources of type `kind`."""
    tags: dict[str, str] = {}
    index = 1
    while (named := request.params.get(f"TagSpecification.{index}.ResourceType")) is not None:
        if named == kind:
            prefix = f"TagSpecification.{index}.Tag"
            tag = 1
            while (key := request.params.get(f"{prefix}.{tag}.Key")) is not None:
                tags[key] = request.params.get(f"{prefix}.{tag}.Value", "")
                tag += 1
        index += 1
    return tags
