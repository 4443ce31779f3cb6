"""A real guest: metadata, hot-plug with the identity of EBS, snapshots, shutdown, leftovers.

Needs root and the helper image that tests/cloud/images/build-helper made (see conftest.py).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import UNITS, make_volume, unit_commands

from localec2 import HELPER_ROLE, LocalEc2, Settings

pytestmark = pytest.mark.vm

BOOT_SECONDS = 120
WRITES = 150
MIB = 1 << 20

#: Runs in the guest instead of amilift. Bash alone: the image has no HTTP client to spare.
SCRIPT = r"""#!/bin/bash
say() { echo "TEST $*"; }
ask() { # METHOD PATH HEADER -> body
    exec 3<>/dev/tcp/169.254.169.254/80 || return 1
    printf '%s %s HTTP/1.1\r\nHost: imds\r\nConnection: close\r\n%s\r\n\r\n' "$1" "$2" "$3" >&3
    local answer; answer=$(tr -d '\r' <&3); echo "${answer##*$'\n'}"
}
until token=$(ask PUT /latest/api/token 'X-aws-ec2-metadata-token-ttl-seconds: 60' 2>/dev/null); do
    sleep 0.2
done
say "instance $(ask GET /latest/meta-data/instance-id "X-aws-ec2-metadata-token: $token")"
(: </dev/tcp/1.1.1.1/443) 2>/dev/null && say "internet" || say "no internet"
until [[ -e /dev/nvme1n1 ]]; do sleep 0.1; done
udevadm settle
say "serial $(</sys/class/nvme/nvme1/serial) model $(</sys/class/nvme/nvme1/model)"
link=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$(</sys/class/nvme/nvme1/serial)
say "link $(readlink -f "$link")"
printf 'x%.0s' {1..4096} >/run/block
for ((i = 0; i < WRITES; i++)); do
    dd if=/run/block of=/dev/nvme1n1 bs=4096 seek=$((i * 256)) oflag=direct conv=notrunc 2>/dev/null
    ((i == 20)) && say "writing"
done
say "written"
while [[ -e /dev/nvme1n1 ]]; do sleep 0.1; done
say "gone"
systemctl poweroff
""".replace("WRITES", str(WRITES))


@pytest.fixture
def image(helper_copy: Callable[[list[str]], Path], tmp_path: Path) -> Path:
    """A copy of the helper image that runs the script instead of amilift."""
    (tmp_path / "script").write_text(SCRIPT)
    return helper_copy(
        [*unit_commands(tmp_path, "script"), f"symlink {UNITS}/amilift.service /dev/null"]
    )


def qemu_processes(directory: Path) -> list[int]:
    """Process IDs of QEMUs whose command line names `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in command and str(directory).encode() in command:
                found.append(int(entry.name))
    return found


def marks(path: Path) -> list[bool]:
    """For each MiB of a raw image: whether the guest wrote there."""
    with open(path, "rb") as file:
        result = []
        for index in range(WRITES):
            file.seek(index * MIB)
            result.append(file.read(4096) == b"x" * 4096)
        return result


def test_a_guest_from_launch_to_poweroff(
    start: Callable[[Settings], LocalEc2], image: Path, kernel: Path, tmp_path: Path
) -> None:
    cloud = start(Settings())
    ec2 = cloud.client("ec2")
    helper = cloud.register_helper(cloud.import_image(image), kernel)
    instance = cloud.run_instance(helper, profile=HELPER_ROLE)
    cloud.wait_console(instance, f"TEST instance {instance}", BOOT_SECONDS)
    cloud.wait_console(instance, "TEST no internet", 30)
    processes = qemu_processes(cloud.directory)
    assert len(processes) == 1

    volume = make_volume(cloud, ec2)
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    serial = volume.replace("-", "")
    cloud.wait_console(instance, f"TEST serial {serial} model Amazon Elastic Block Store", 60)
    cloud.wait_console(instance, "TEST link /dev/nvme1n1", 30)

    # A snapshot while the guest writes: what was written before it, and nothing after it.
    cloud.wait_console(instance, "TEST writing", 60)
    first = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    cloud.wait_console(instance, "TEST written", 120)
    second = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    cloud.store.export_snapshot(first, tmp_path / "first")
    cloud.store.export_snapshot(second, tmp_path / "second")
    early = marks(tmp_path / "first")
    assert early == sorted(early, reverse=True), "not a point in time"
    assert 20 <= sum(early) < WRITES
    assert sum(marks(tmp_path / "second")) == WRITES

    ec2.detach_volume(VolumeId=volume)
    cloud.wait_console(instance, "TEST gone", 60)
    cloud.wait_state(instance, "terminated", 60)
    assert "TEST gone" in ec2.get_console_output(InstanceId=instance)["Output"]
    volumes = ec2.describe_volumes()["Volumes"]
    assert [(v["VolumeId"], v["State"]) for v in volumes] == [(volume, "available")]
    assert qemu_processes(cloud.directory) == []
    assert cloud.egress.refused() == []


def test_terminate_ends_a_guest_that_does_not_listen(
    start: Callable[[Settings], LocalEc2], image: Path, kernel: Path
) -> None:
    cloud = start(Settings(power_off_seconds=0.5))
    helper = cloud.register_helper(cloud.import_image(image), kernel)
    instance = cloud.run_instance(helper)
    cloud.wait_state(instance, "running", 60)
    cloud.client("ec2").terminate_instances(InstanceIds=[instance])
    cloud.wait_state(instance, "terminated", 30)
    assert qemu_processes(cloud.directory) == []


def test_a_guest_that_cannot_start_is_terminated(
    start: Callable[[Settings], LocalEc2], image: Path, tmp_path: Path
) -> None:
    cloud = start(Settings())
    helper = cloud.register_helper(cloud.import_image(image), tmp_path / "no-kernel")
    instance = cloud.run_instance(helper)
    deadline = time.monotonic() + 60
    while cloud.instance_state(instance) != "terminated" and time.monotonic() < deadline:
        time.sleep(0.1)
    reservation = cloud.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"][0]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"
    assert reservation["Instances"][0]["StateReason"]["Code"] == "Server.InternalError"
    assert len(cloud.errors) == 1
    assert "no-kernel" in cloud.errors[0]
    cloud.errors.clear()


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from localec2 import LocalEc2
with LocalEc2(Path(sys.argv[2]), cache=Path(sys.argv[3])) as cloud:
    helper = cloud.register_helper(cloud.import_image(Path(sys.argv[4])), Path(sys.argv[5]))
    cloud.wait_state(cloud.run_instance(helper), "running", 60)
    print("running", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_guest_outlives_the_local_ec2(
    image: Path, kernel: Path, cache: Path, tmp_path: Path, number: signal.Signals
) -> None:
    source = Path(__file__).resolve().parents[1] / "src"
    directory = tmp_path / "cloud"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, (source, directory, cache, image, kernel))],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        assert len(qemu_processes(directory)) == 1
        child.send_signal(number)
        child.wait(timeout=30)
    finally:
        child.kill()
        child.wait()
    deadline = time.monotonic() + 10
    while qemu_processes(directory) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert qemu_processes(directory) == []
