"""Small helpers that several test files use."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localec2 import LocalEc2

ZONE = "us-east-1a"


def tagged(kind: str, **tags: str) -> list[dict[str, Any]]:
    """TagSpecifications; underscores in names become colons (`amilift_job`)."""
    pairs = [{"Key": key.replace("_", ":"), "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": pairs}]


def code_of(refused: pytest.ExceptionInfo[ClientError]) -> str:
    """The AWS error code of a refused call."""
    return str(refused.value.response["Error"]["Code"])


def status_of(refused: pytest.ExceptionInfo[ClientError]) -> int:
    """The HTTP status of a refused call."""
    return int(refused.value.response["ResponseMetadata"]["HTTPStatusCode"])


def volume_state(ec2: Any, volume_id: str) -> str:
    """State of a volume, or `gone`."""
    volumes = ec2.describe_volumes()["Volumes"]
    return next((v["State"] for v in volumes if v["VolumeId"] == volume_id), "gone")


def make_volume(cloud: LocalEc2, ec2: Any, **options: Any) -> str:
    """A volume of 1 GiB that is available."""
    given = {"Size": 1, "AvailabilityZone": ZONE, "VolumeType": "gp3", **options}
    volume_id = str(ec2.create_volume(**given)["VolumeId"])
    cloud.wait(volume_id, lambda: volume_state(ec2, volume_id) == "available", 10)
    return volume_id


def make_snapshot(cloud: LocalEc2, ec2: Any, volume_id: str, **options: Any) -> str:
    """A snapshot that is completed."""
    snapshot_id = str(ec2.create_snapshot(VolumeId=volume_id, **options)["SnapshotId"])

    def completed() -> bool:
        found = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        return bool(found[0]["State"] == "completed")

    cloud.wait(snapshot_id, completed, 10)
    return snapshot_id


def root_mapping(snapshot_id: str, device: str = "/dev/xvda") -> dict[str, Any]:
    """RegisterImage parameters for one root snapshot."""
    return {
        "RootDeviceName": device,
        "BlockDeviceMappings": [{"DeviceName": device, "Ebs": {"SnapshotId": snapshot_id}}],
    }
