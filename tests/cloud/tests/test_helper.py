"""amilift's own helper when things go wrong: a refused image, an agent that hangs, no agent.

Needs root and the images that ./demo makes (see conftest.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import UNITS, unit_commands

from localec2 import HELPER_ROLE, LocalEc2, Settings

pytestmark = pytest.mark.vm

JOB = """\
#amilift
source: {{ami: {ami}}}
target: {{name: {name}}}
finish: {{on_success: terminate, on_failure: terminate}}
"""
END_SECONDS = 150

#: Stops the agent and its worker while both volumes are attached, and puts its deadline forward.
HANG = r"""#!/bin/bash
until [[ -e /dev/nvme2n1 ]]; do sleep 0.1; done
systemctl kill --signal=STOP amilift.service
echo "TEST deadline was $(</run/amilift/deadline)"
echo 30 >/run/amilift/deadline
pid=$(systemctl show --property=MainPID --value amilift.service)
# The signal takes effect when a thread of it next leaves the kernel.
until read -r _ _ state _ <"/proc/$pid/stat" && [[ $state == T ]]; do sleep 0.1; done
echo "TEST agent is $state"
"""


@pytest.fixture
def cloud() -> Any:
    """With the user's own cache: the helper image trusts its authority."""
    with LocalEc2(settings=Settings(endpoints=("ec2",))) as cloud:
        yield cloud
        assert cloud.errors == []


def tags_of(ec2: Any, resource: str) -> dict[str, str]:
    found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource]}])["Tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


def resources(ec2: Any) -> dict[str, set[str]]:
    """IDs of all that costs money, or would be a result."""
    return {
        "volumes": {volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"]},
        "snapshots": {
            snapshot["SnapshotId"]
            for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        },
        "images": {image["ImageId"] for image in ec2.describe_images(Owners=["self"])["Images"]},
    }


def expect_end(cloud: LocalEc2, ec2: Any, helpers: list[str], before: dict[str, set[str]]) -> None:
    """The helpers terminate by themselves, and nothing is there that was not there `before`."""
    for helper in helpers:
        cloud.wait_state(helper, "terminated", END_SECONDS)
    cloud.wait("volumes to be gone", lambda: not resources(ec2)["volumes"], 20)
    assert resources(ec2) == before


def attached_volumes(ec2: Any, helper: str) -> int:
    attachments = [a for v in ec2.describe_volumes()["Volumes"] for a in v["Attachments"]]
    return sum(a["InstanceId"] == helper for a in attachments)


def calls(cloud: LocalEc2, helper: str, action: str) -> int:
    return len(cloud.wire.calls(lambda c: c.origin == helper and c.action == action))


def test_an_image_that_is_refused_leaves_a_tag_and_nothing_else(
    cloud: LocalEc2,
    kernel: Path,
    helper_copy: Callable[[list[str]], Path],
    source_copy: Callable[[list[str]], Path],
) -> None:
    ec2 = cloud.client("ec2")
    # The menu leads out of the image. That is seen on the disk only, when volumes are attached.
    bad = source_copy(
        ["rm /boot/grub/menu.lst", "symlink /boot/grub/menu.lst ../../../menu.lst"]
    )
    source = cloud.register_source(cloud.import_image(bad), "source")
    image = cloud.register_helper(cloud.import_image(helper_copy([])), kernel)
    before = resources(ec2)
    job = JOB.format(ami=source, name="never")
    helper = cloud.run_instance(image, user_data=job, profile=HELPER_ROLE)
    expect_end(cloud, ec2, [helper], before)
    assert calls(cloud, helper, "AttachVolume") == 2
    assert calls(cloud, helper, "TerminateInstances") == 1
    tags = tags_of(ec2, helper)
    assert tags["amilift:state"] == "failed"
    assert "'/boot/grub/menu.lst' leads out of the image" in tags["amilift:error"]
    assert "amilift:result" not in tags


def test_a_helper_ends_whose_agent_hangs_or_never_starts(
    cloud: LocalEc2,
    kernel: Path,
    helper_copy: Callable[[list[str]], Path],
    source_copy: Callable[[list[str]], Path],
    tmp_path: Path,
) -> None:
    ec2 = cloud.client("ec2")
    source = cloud.register_source(cloud.import_image(source_copy([])), "source")
    (tmp_path / "hang").write_text(HANG)
    hanging = helper_copy(unit_commands(tmp_path, "hang"))
    # Up for half an hour, says the file that the check is told to read: no guest of a test is.
    (tmp_path / "uptime").write_text("1800.00 0.00\n")
    (tmp_path / "dropin").write_text("[Service]\nEnvironment=AMILIFT_UPTIME_FILE=/etc/uptime\n")
    dropins = f"{UNITS}/amilift-deadline.service.d"
    never = helper_copy(
        [
            f"symlink {UNITS}/amilift.service /dev/null",
            f"write {tmp_path}/uptime /etc/uptime",
            f"mkdir {dropins}",
            f"write {tmp_path}/dropin {dropins}/test.conf",
        ]
    )
    images = [
        cloud.register_helper(cloud.import_image(copy), kernel, copy.stem)
        for copy in (hanging, never)
    ]
    before = resources(ec2)
    # Both at once: each waits for the timer, a minute after its boot.
    helpers = [
        cloud.run_instance(
            image, user_data=JOB.format(ami=source, name=image), profile=HELPER_ROLE
        )
        for image in images
    ]
    cloud.wait_console(helpers[0], "TEST agent is T", END_SECONDS)
    # The other one may have ended by now.
    assert attached_volumes(ec2, helpers[0]) == 3
    expect_end(cloud, ec2, helpers, before)
    hung, absent = (cloud.console(helper) for helper in helpers)
    assert "the deadline was 30 s: powering off" in hung
    assert "the deadline was 1800 s: powering off" in absent
    # Nobody but the check ended them.
    for helper in helpers:
        assert calls(cloud, helper, "TerminateInstances") == 0
    assert calls(cloud, helpers[0], "AttachVolume") == 2
    assert cloud.wire.calls(lambda c: c.origin == helpers[1]) == []
    assert tags_of(ec2, helpers[0])["amilift:state"] not in ("failed", "succeeded")
