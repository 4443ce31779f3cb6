"""Small helpers that several test files use."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localec2 import LocalEc2

ZONE = "us-east-1a"
#: Where a guest's own units go before those of its packages.
UNITS = "/etc/systemd/system"

_UNIT = """[Unit]
After=systemd-networkd.service
[Service]
ExecStart=/bin/bash /etc/localec2-test
StandardOutput=journal+console
StandardError=journal+console
"""


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


def edit_filesystem(image: Path, commands: list[str]) -> None:
    """Carry out debugfs commands on an image with an ext filesystem, without mounting it."""
    result = subprocess.run(
        ["debugfs", "-w", "-f", "-", str(image)],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = result.stderr.splitlines()[1:]  # the first line is debugfs's version
    assert complaints == [], complaints


def unit_commands(directory: Path, script: str) -> list[str]:
    """debugfs commands that let a guest run the Bash script `directory`/`script` at its start."""
    (directory / "unit").write_text(_UNIT)
    return [
        f"write {directory / script} /etc/localec2-test",
        f"write {directory / 'unit'} {UNITS}/localec2-test.service",
        f"symlink {UNITS}/multi-user.target.wants/localec2-test.service "
        f"{UNITS}/localec2-test.service",
    ]
