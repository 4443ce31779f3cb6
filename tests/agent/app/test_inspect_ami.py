# SPDX-License-Identifier: Apache-2.0
"""`amilift inspect ami-...` against the Local EC2, without a guest: no disk ever appears on this machine.

What can be tested so: that nothing is made in vain, and that the volume goes again, after a failure and after Ctrl-C.
The disk itself is inspected by the tests of the disk worker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cloud" / "src"))
pytest.importorskip("moto")
pytest.importorskip("boto3")

from localec2 import HELPER_ROLE, LocalEc2, Settings

AMILIFT = Path(os.environ.get("AMILIFT_BUILD_DIR", "build")).resolve() / "amilift"
INVALID_INPUT, REFUSED, NOT_FOUND = 3, 4, 5


class Helper:
    """An instance without a guest, and `amilift inspect` as if it ran there."""

    def __init__(self, cloud: LocalEc2, directory: Path) -> None:
        self.cloud = cloud
        blank = directory / "blank.img"
        with open(blank, "wb") as file:
            file.truncate(1 << 30)
        self.snapshot = cloud.import_image(blank)
        image = cloud.register_helper(self.snapshot, blank)
        self.instance = cloud.run_instance(image, profile=HELPER_ROLE)
        cloud.wait_state(self.instance, "running", 30)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin an inspection."""
        return subprocess.Popen(
            [AMILIFT, "inspect", "--imds", str(self.cloud.metadata_url(self.instance)),
             "--endpoint", self.cloud.endpoint, *arguments],
            env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def volumes(self) -> list[Any]:
        """The volumes of inspections."""
        reply = self.cloud.client("ec2").describe_volumes()
        return [v for v in reply["Volumes"] if any(t["Key"] == "amilift:job" for t in v.get("Tags", []))]


@pytest.fixture
def helper(tmp_path: Path) -> Any:
    """A helper of its own for each test."""
    settings = Settings(qemu=False, visibility_seconds=0.1, instance_seconds=0.1)
    with LocalEc2(cache=tmp_path / "cache", settings=settings) as cloud:
        yield Helper(cloud, tmp_path)


def test_elsewhere_it_says_where_it_can_be_done() -> None:
    """Without a metadata service there is an error that tells what to do."""
    run = subprocess.run(
        [AMILIFT, "inspect", "--imds", "http://127.0.0.1:9", "--json", "ami-0123456789abcdef0"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == INVALID_INPUT, run.stderr
    error = json.loads(run.stdout)["error"]
    assert "on an EC2 instance only" in error["message"]
    assert "inspect a copy of the disk" in json.dumps(error)


def test_an_unknown_ami_and_a_marketplace_one_cost_no_volume(helper: Helper) -> None:
    """Both are told apart by the exit code."""
    unknown = helper.start("ami-0123456789abcdef0")
    assert unknown.wait(60) == NOT_FOUND, unknown.communicate()
    bought = helper.cloud.register_foreign(
        "bought", VirtualizationType="hvm", Architecture="x86_64", RootDeviceName="/dev/sda1",
        RootDeviceType="ebs", ProductCodes=[{"ProductCodeId": "abc", "ProductCodeType": "marketplace"}],
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": helper.snapshot, "VolumeSize": 1}}],
    )  # fmt: skip
    refused = helper.start(bought)
    assert refused.wait(60) == REFUSED, refused.communicate()
    assert "CreateVolume" not in helper.cloud.wire.actions()


def test_ctrl_c_removes_the_volume(helper: Helper) -> None:
    """The volume carries the tag that `amilift cleanup` looks for, until it is gone."""
    source = helper.cloud.register_source(helper.snapshot, "old")
    process = helper.start(source)
    deadline = time.monotonic() + 60
    while "AttachVolume" not in helper.cloud.wire.actions():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGINT), output
    assert "amilift:job=inspect-" in output[1]
    assert "DeleteVolume" in helper.cloud.wire.actions()
    deadline = time.monotonic() + 30
    while helper.volumes():
        assert time.monotonic() < deadline, helper.volumes()
        time.sleep(0.1)
    assert not helper.cloud.errors
