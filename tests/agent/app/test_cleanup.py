# SPDX-License-Identifier: Apache-2.0
"""`amilift cleanup` against the Local EC2: it removes what one job left, all of it, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cloud" / "src"))
pytest.importorskip("moto")
pytest.importorskip("boto3")

from localec2 import LocalEc2, Settings
from localec2.faults import Fault

AMILIFT = Path(os.environ.get("AMILIFT_BUILD_DIR", "build")).resolve() / "amilift"
INVALID_INPUT = 3


class Account:
    """What jobs have left in an account."""

    def __init__(self, cloud: LocalEc2, directory: Path) -> None:
        self.cloud = cloud
        self.ec2 = cloud.client("ec2")
        blank = directory / "blank.img"
        with open(blank, "wb") as file:
            file.truncate(1 << 30)
        self.snapshot = cloud.import_image(blank)
        self.helper = cloud.run_instance(cloud.register_helper(self.snapshot, blank))
        cloud.wait_state(self.helper, "running", 30)

    def tags(self, kind: str, job: str) -> list[Any]:
        return [{"ResourceType": kind, "Tags": [{"Key": "amilift:job", "Value": job}]}]

    def leave(self, job: str) -> None:
        """An attached volume, a free one, a snapshot without an AMI, and the job's AMI with its snapshot."""
        zone = self.ec2.describe_instances(InstanceIds=[self.helper])["Reservations"][0]["Instances"][0]["Placement"]
        volumes = [
            self.ec2.create_volume(
                AvailabilityZone=zone["AvailabilityZone"], Size=1, TagSpecifications=self.tags("volume", job)
            )["VolumeId"]
            for _ in range(2)
        ]
        self.cloud.wait("the volumes", lambda: self.states("volumes", job) == ["available"] * 2, 10)
        snapshots = [
            self.ec2.create_snapshot(VolumeId=volumes[0], TagSpecifications=self.tags("snapshot", job))["SnapshotId"]
            for _ in range(2)
        ]
        self.cloud.wait("the snapshots", lambda: self.states("snapshots", job) == ["completed"] * 2, 10)
        self.ec2.register_image(
            Name=f"result of {job}", Architecture="x86_64", VirtualizationType="hvm", RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshots[0]}}],
            TagSpecifications=self.tags("image", job),
        )  # fmt: skip
        self.cloud.wait("the AMI", lambda: self.states("images", job) == ["available"], 10)
        used = len(self.attached())
        self.ec2.attach_volume(VolumeId=volumes[1], InstanceId=self.helper, Device=f"/dev/sd{'fghi'[used]}")
        self.cloud.wait("the attachment", lambda: len(self.attached()) == used + 1, 10)

    def attached(self) -> list[Any]:
        reply = self.ec2.describe_volumes(Filters=[{"Name": "tag-key", "Values": ["amilift:job"]}])
        return [v for v in reply["Volumes"] if any(a["State"] == "attached" for a in v["Attachments"])]

    def states(self, kind: str, job: str) -> list[str]:
        """The states of a job's objects."""
        filters = [{"Name": "tag:amilift:job", "Values": [job]}]
        owner = {"volumes": {}, "snapshots": {"OwnerIds": ["self"]}, "images": {"Owners": ["self"]}}[kind]
        reply = getattr(self.ec2, f"describe_{kind}")(Filters=filters, **owner)
        return sorted(item["State"] for item in reply[kind.capitalize()])

    def count(self, job: str) -> tuple[int, int, int]:
        """How many volumes, snapshots and AMIs a job has."""
        volumes, snapshots, images = (len(self.states(kind, job)) for kind in ("volumes", "snapshots", "images"))
        return volumes, snapshots, images

    def clean_up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [AMILIFT, "cleanup", "--region", self.cloud.settings.region, "--endpoint", self.cloud.endpoint, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "AWS_ACCESS_KEY_ID": self.cloud.admin.access_key,
                "AWS_SECRET_ACCESS_KEY": self.cloud.admin.secret_key,
            },
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture
def account(tmp_path: Path) -> Any:
    settings = Settings(qemu=False, visibility_seconds=0.1, instance_seconds=0.1, snapshot_seconds=0.2)
    with LocalEc2(cache=tmp_path / "cache", settings=settings) as cloud:
        yield Account(cloud, tmp_path)
        assert not cloud.errors


def test_removes_what_one_job_left(account: Account) -> None:
    account.leave("web-1")
    account.leave("web-2")

    dry = account.clean_up("--job", "web-1", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    lines = dry.stdout.splitlines()
    assert len([line for line in lines if line.startswith("would remove volume")]) == 2, lines
    assert len([line for line in lines if line.startswith("would remove snapshot")]) == 1, lines
    assert account.count("web-1") == (2, 2, 1)

    done = account.clean_up("--job", "web-1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["removed"] is True
    assert len(document["resources"]) == 3
    account.cloud.wait("the volumes to be gone", lambda: account.count("web-1") == (0, 1, 1), 10)
    assert account.count("web-2") == (2, 2, 1)

    again = account.clean_up("--job", "web-1")
    assert again.returncode == 0, again.stderr
    assert "nothing is left" in again.stdout


@pytest.mark.parametrize("pattern", ["*", "web-*", "web-?", ""])
def test_a_job_id_is_no_pattern(account: Account, pattern: str) -> None:
    account.leave("web-1")
    done = account.clean_up("--job", pattern)
    assert done.returncode == INVALID_INPUT, (done.stdout, done.stderr)
    assert "job id" in done.stderr
    assert account.count("web-1") == (2, 2, 1)


def test_one_refused_removal_leaves_no_more_than_that(account: Account) -> None:
    account.leave("web-1")
    account.cloud.faults.add(Fault.parse("DeleteVolume@1=403:UnauthorizedOperation"))
    done = account.clean_up("--job", "web-1")
    assert done.returncode != 0
    assert "UnauthorizedOperation" in done.stderr
    account.cloud.wait("the rest to be gone", lambda: account.count("web-1") == (1, 1, 1), 10)
