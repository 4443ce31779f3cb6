"""The real agent against the Local EC2, with jobs that must fail before a disk is touched.

Each gives one clear error in the helper's tags, ends the helper, and leaves no volume. The agent runs on this
machine: metadata service, API, signatures and IAM policy are the Local EC2's, and `systemctl` is a script that
notes how it was called.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cloud" / "src"))
pytest.importorskip("moto")
pytest.importorskip("boto3")

from localec2 import HELPER_ROLE, LocalEc2, Settings
from localec2.faults import Fault

AMILIFT = Path(os.environ.get("AMILIFT_BUILD_DIR", "build")).resolve() / "amilift"
ROOT = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-0123456789abcdef0", "VolumeSize": 1}}
PV = {
    "Architecture": "x86_64",
    "VirtualizationType": "paravirtual",
    "RootDeviceName": "/dev/sda1",
    "RootDeviceType": "ebs",
    "BlockDeviceMappings": [ROOT],
}


class Helper:
    """A helper instance without a guest, and the agent that runs for it."""

    def __init__(self, cloud: LocalEc2, directory: Path) -> None:
        self.cloud = cloud
        self.directory = directory
        blank = directory / "blank.img"
        with open(blank, "wb") as file:
            file.truncate(1 << 30)
        self.image = cloud.register_helper(cloud.import_image(blank), blank)
        programs = directory / "programs"
        programs.mkdir()
        (programs / "systemctl").write_text('#!/bin/sh\necho "$@" >>"${0%/*}/../systemctl.log"\n')
        (programs / "systemctl").chmod(0o755)
        for name in ("state", "run"):
            (directory / name).mkdir()

    def work(self, user_data: str | None, timeout: float = 300, api_timeout: int = 5) -> dict[str, str]:
        """Run the agent to its end; gives the helper's tags."""
        self.instance = self.cloud.run_instance(self.image, user_data=user_data, profile=HELPER_ROLE)
        self.cloud.wait_state(self.instance, "running", 30)
        self.start_agent(timeout, api_timeout)
        reply = self.cloud.client("ec2").describe_instances(InstanceIds=[self.instance])
        self.state = reply["Reservations"][0]["Instances"][0]["State"]["Name"]
        tags = reply["Reservations"][0]["Instances"][0].get("Tags", [])
        return {tag["Key"]: tag["Value"] for tag in tags}

    def start_agent(self, timeout: float = 300, api_timeout: int = 5) -> None:
        """Run the agent once on the instance that is there."""
        environment = {"PATH": f"{self.directory}/programs:{os.environ['PATH']}"}
        self.agent = subprocess.run(
            [
                AMILIFT, "agent", "--throwaway", "--imds", str(self.cloud.metadata_url(self.instance)),
                "--endpoint", f"ec2={self.cloud.endpoint}", "--endpoint", f"s3={self.cloud.endpoint}",
                "--state-dir", self.directory / "state", "--runtime-dir", self.directory / "run",
                "--api-timeout", str(api_timeout),
            ],
            env=environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def volumes(self) -> list[Any]:
        """The volumes that carry a job's tag."""
        reply = self.cloud.client("ec2").describe_volumes()
        return [v for v in reply["Volumes"] if any(t["Key"] == "amilift:job" for t in v.get("Tags", []))]


@pytest.fixture
def helper(tmp_path: Path) -> Any:
    """A helper of its own for each test."""
    settings = Settings(qemu=False, visibility_seconds=0.1, instance_seconds=0.1)
    with LocalEc2(cache=tmp_path / "cache", settings=settings) as cloud:
        yield Helper(cloud, tmp_path)


def must_fail(helper: Helper, user_data: str | None, *words: str, api_timeout: int = 5) -> dict[str, str]:
    """The job fails with an error that has all the words; the helper is ended and no volume is left."""
    tags = helper.work(user_data, api_timeout=api_timeout)
    said = helper.agent.stdout + helper.agent.stderr
    assert helper.agent.returncode == 4, said
    assert tags["amilift:state"] == "failed", (tags, said)
    for word in words:
        assert word in tags["amilift:error"], tags
    assert "FAILED: " in helper.agent.stdout
    assert helper.state in ("shutting-down", "terminated"), helper.state
    assert (helper.directory / "systemctl.log").read_text() == "--no-block poweroff\n"
    helper.cloud.wait("the job's volumes to be gone", lambda: not helper.volumes(), 10)
    status = json.loads((helper.directory / "run" / "status.json").read_text())
    assert status["outcome"] == "failed"
    return tags


def job(ami: str, more: str = "") -> str:
    return f"#amilift\nsource: {{ami: {ami}}}\ntarget: {{name: result}}\n{more}"


def test_no_user_data(helper: Helper) -> None:
    must_fail(helper, None, "user-data")


def test_user_data_without_a_job(helper: Helper) -> None:
    must_fail(helper, "#!/bin/sh\necho hello\n", "job")


def test_typo(helper: Helper) -> None:
    must_fail(helper, "#amilift\nsuorce: {ami: ami-0123456789abcdef0}\n", "suorce", "source", ":2:1")


def test_unknown_ami(helper: Helper) -> None:
    must_fail(helper, job("ami-0123456789abcdef0"), "ami-0123456789abcdef0")


def test_instance_store_ami(helper: Helper) -> None:
    ami = helper.cloud.register_foreign("old", **{**PV, "RootDeviceType": "instance-store"})
    must_fail(helper, job(ami), ami, "instance-store")


def test_marketplace_ami(helper: Helper) -> None:
    codes = [{"ProductCodeId": "abc123product", "ProductCodeType": "marketplace"}]
    ami = helper.cloud.register_foreign("sold", **{**PV, "ProductCodes": codes})
    must_fail(helper, job(ami), ami, "abc123product")


def test_ami_that_is_hvm_already(helper: Helper) -> None:
    ami = helper.cloud.register_foreign("new", **{**PV, "VirtualizationType": "hvm"})
    must_fail(helper, job(ami), ami, "hvm")


def test_pv_grub_of_another_architecture(helper: Helper) -> None:
    blank = helper.directory / "blank.img"
    ami = helper.cloud.register_source(helper.cloud.import_image(blank), "old-pv")
    target = "target: {name: result, virtualization: paravirtual, aki: aki-8f9dcae6}\n"
    must_fail(helper, f"#amilift\nsource: {{ami: {ami}}}\n{target}", "aki-8f9dcae6", "i386")


def test_name_that_is_taken(helper: Helper) -> None:
    blank = helper.directory / "blank.img"
    ami = helper.cloud.register_source(helper.cloud.import_image(blank), "result")
    must_fail(helper, job(ami), "result", ami)


def test_creation_that_the_policy_forbids(helper: Helper) -> None:
    blank = helper.directory / "blank.img"
    ami = helper.cloud.register_source(helper.cloud.import_image(blank), "old-pv")
    helper.cloud.faults.add(Fault.parse("CreateVolume@2x0=403:UnauthorizedOperation"))
    must_fail(helper, job(ami), "CreateVolume")


def test_volume_that_ends_in_error(helper: Helper) -> None:
    blank = helper.directory / "blank.img"
    ami = helper.cloud.register_source(helper.cloud.import_image(blank), "old-pv")
    helper.cloud.faults.add(Fault.parse("CreateVolume@1=failed"))
    must_fail(helper, job(ami), "error")


@pytest.mark.parametrize("effect", ["503:RequestLimitExceeded", "garbage", "drop"])
def test_service_that_stumbles_is_asked_again(helper: Helper, effect: str) -> None:
    ami = helper.cloud.register_foreign("new", **{**PV, "VirtualizationType": "hvm"})
    helper.cloud.faults.add(Fault.parse(f"DescribeImages@1x2={effect}"))
    # The answer that is reached in the end is the refusal of the AMI.
    must_fail(helper, job(ami), ami, "hvm")


@pytest.mark.parametrize("effect", ["503:Unavailable", "garbage", "drop"])
def test_service_that_never_answers(helper: Helper, effect: str) -> None:
    helper.cloud.faults.add(Fault.parse(f"DescribeImages@1x0={effect}"))
    must_fail(helper, job("ami-0123456789abcdef0"), "DescribeImages")


def blank_source(helper: Helper) -> str:
    """An AMI whose volume EC2 makes and attaches; no disk appears on this machine."""
    return str(helper.cloud.register_source(helper.cloud.import_image(helper.directory / "blank.img"), "old-pv"))


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("AttachVolume@2x0=403:UnauthorizedOperation", "AttachVolume"),
        ("AttachVolume@2x0=503:Unavailable", "AttachVolume"),
        ("AttachVolume@2x0=garbage", "AttachVolume"),
        ("AttachVolume@2x0=hang:60", "AttachVolume"),
        ("AttachVolume@2=stuck", ""),
        ("AttachVolume@1=invisible", ""),
        ("ModifyInstanceAttribute@1x0=403:UnauthorizedOperation", "ModifyInstanceAttribute"),
        ("DetachVolume@1x2=503:Unavailable", ""),
        ("DeleteVolume@1=503:Unavailable", ""),
    ],
)
def test_what_fails_once_volumes_exist_leaves_none(helper: Helper, fault: str, word: str) -> None:
    ami = blank_source(helper)
    helper.cloud.faults.add(Fault.parse(fault))
    must_fail(helper, job(ami, "deadline: 15s\n"), word)
    actions = helper.cloud.wire.actions()
    assert actions.count("CreateVolume") == 2
    assert "AttachVolume" in actions


def test_volumes_die_with_a_helper_that_cannot_clean_up(helper: Helper) -> None:
    ami = blank_source(helper)
    helper.cloud.faults.add(Fault.parse("DetachVolume@1x0=403:UnauthorizedOperation"))
    tags = must_fail(helper, job(ami, "deadline: 15s\n"))
    assert "could not remove" in tags["amilift:error"] or tags["amilift:error"].endswith("...")
    assert "DeleteVolume" not in helper.cloud.wire.actions()


def test_helper_that_is_to_be_stopped(helper: Helper) -> None:
    ami = helper.cloud.register_foreign("new", **{**PV, "VirtualizationType": "hvm"})
    tags = helper.work(job(ami, "finish: {on_failure: stop}\n"))
    assert tags["amilift:state"] == "failed", tags
    helper.cloud.wait_state(helper.instance, "stopped", 10)
    assert "TerminateInstances" not in helper.cloud.wire.actions()
    assert (helper.directory / "systemctl.log").read_text() == "--no-block poweroff\n"
    record = json.loads((helper.directory / "state" / "flow.json").read_text())
    assert record["stopped_in_boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    # As after the next boot: it is kept, and nothing powers it off.
    record["stopped_in_boot"] = "an earlier boot"
    (helper.directory / "state" / "flow.json").write_text(json.dumps(record))
    helper.cloud.client("ec2").start_instances(InstanceIds=[helper.instance])
    helper.cloud.wait_state(helper.instance, "running", 10)
    helper.start_agent()
    assert "it is kept" in helper.agent.stdout, helper.agent.stdout
    assert helper.cloud.instance_state(helper.instance) == "running"
    assert (helper.directory / "systemctl.log").read_text() == "--no-block poweroff\n"
    assert (helper.directory / "run" / "deadline").read_text() == "never\n"


@pytest.mark.parametrize("text", ["{", '{"version": 99}'])
def test_record_that_cannot_be_read(helper: Helper, text: str) -> None:
    (helper.directory / "state" / "flow.json").write_text(text)
    must_fail(helper, job(blank_source(helper)), "flow.json")


@pytest.mark.parametrize("seconds", ["0", "121"])
def test_api_timeout_out_of_range(seconds: str) -> None:
    command = [AMILIFT, "agent", "--api-timeout", seconds]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 2
    assert "range 1 to 120" in refused.stderr


def begin_outage(cloud: LocalEc2, action: str, seconds: float) -> threading.Thread:
    """From the first call of `action` on, EC2 answers nothing but 503."""

    def run() -> None:
        while action not in cloud.wire.actions():
            time.sleep(0.02)
        cloud.faults.add(Fault.parse("[A-Z]*@1x0=503:Unavailable"))
        time.sleep(seconds)
        cloud.faults.clear()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_outage_of_ec2_once_volumes_exist(helper: Helper) -> None:
    ami = blank_source(helper)
    outage = begin_outage(helper.cloud, "CreateVolume", 12)
    # What fails the job in the end is that no disk appears here, or that there is no udev.
    # The back-off may wait 20 s more once the outage is over.
    tags = must_fail(helper, job(ami, "deadline: 60s\n"), api_timeout=120)
    outage.join(1)
    assert "Unavailable" not in tags["amilift:error"]
    actions = helper.cloud.wire.actions()
    assert actions.count("AttachVolume") == 2, "the job did not survive the outage"
    assert actions.count("DescribeVolumes") < 60, "a service that is down was hammered"


def test_outage_of_ec2_during_the_clean_up(helper: Helper) -> None:
    ami = blank_source(helper)
    outage = begin_outage(helper.cloud, "ModifyInstanceAttribute", 20)
    tags = must_fail(helper, job(ami, "deadline: 10s\n"), "deadline", api_timeout=2)
    outage.join(1)
    assert "Unavailable" not in tags["amilift:error"]
    assert "cleaning up is tried again" in helper.agent.stdout


def test_secrets_and_user_data_stay_out_of_what_is_told(helper: Helper) -> None:
    must_fail(helper, job("ami-0123456789abcdef0", "# the-secret-of-this-comment\n"))
    told = helper.agent.stdout + helper.agent.stderr
    for file in [*(helper.directory / "state").iterdir(), *(helper.directory / "run").iterdir()]:
        told += file.read_text()
    assert "the-secret-of-this-comment" not in told
    minted = helper.cloud.mint_credentials(helper.instance, HELPER_ROLE)
    assert minted["SecretAccessKey"] not in told


@pytest.mark.parametrize("pack", ["plain", "cloud-config", "base64"])
def test_job_is_found_however_it_is_packed(helper: Helper, pack: str) -> None:
    document = job("ami-0123456789abcdef0")
    if pack == "cloud-config":
        document = "#cloud-config\nssh_pwauth: false\namilift:\n  source: {ami: ami-0123456789abcdef0}\n"
    if pack == "base64":
        document = base64.b64encode(gzip.compress(document.encode())).decode()
    must_fail(helper, document, "ami-0123456789abcdef0")


def test_job_in_s3(helper: Helper) -> None:
    import hashlib

    from localec2.settings import JOB_BUCKET

    document = job("ami-0123456789abcdef0").encode()
    helper.cloud.put_job("jobs/one.yaml", document)
    digest = hashlib.sha256(document).hexdigest()
    pointer = f"#amilift\njob: {{s3: {JOB_BUCKET}/jobs/one.yaml, sha256: {digest}}}\n"
    must_fail(helper, pointer, "ami-0123456789abcdef0")


def test_job_in_s3_that_was_changed(helper: Helper) -> None:
    from localec2.settings import JOB_BUCKET

    helper.cloud.put_job("jobs/one.yaml", b"#amilift\nsource: {ami: ami-0123456789abcdef0}\n")
    pointer = f"#amilift\njob: {{s3: {JOB_BUCKET}/jobs/one.yaml, sha256: {'a' * 64}}}\n"
    must_fail(helper, pointer, "SHA-256")
