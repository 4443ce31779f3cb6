"""The command line, as another program uses it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from localec2.cli import main

PROGRAM = Path(__file__).resolve().parents[1] / "localec2"


class Child:
    """A Local EC2 in a child process, as a C++ test would start it."""

    def __init__(self, cache: Path, *options: str) -> None:
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "up", "--no-qemu", "--json", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"AMILIFT_CACHE": str(cache), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.seconds = time.monotonic() - begin
        self.facts: dict[str, Any] = json.loads(line)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.facts["endpoint"],
            aws_access_key_id=self.facts["access_key"],
            aws_secret_access_key=self.facts["secret_key"],
            region_name=self.facts["region"],
        )

    def control(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.facts["control"] + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def close(self) -> int:
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        return self.process.wait(timeout=20)


@pytest.fixture
def child(cache: Path, tmp_path: Path) -> Iterator[Child]:
    (tmp_path / "job.yaml").write_text("#amilift\n")
    options = ["--instance", "--user-data", str(tmp_path / "job.yaml")]
    child = Child(cache, *options, "--set", "visibility_seconds=0", "--fault", "StopInstances=drop")
    try:
        yield child
        child.close()
    finally:
        child.process.kill()
        child.process.wait()


def test_a_child_process_says_where_it_is_and_ends_with_its_stdin(child: Child) -> None:
    assert child.seconds < 10, "the API alone starts in a few seconds, also on a busy machine"
    ec2 = child.client("ec2")
    instance = ec2.describe_instances()["Reservations"][0]["Instances"][0]
    assert instance["InstanceId"] == child.facts["instance"]
    assert Path(child.facts["ca"]).is_file()
    token = urllib.request.Request(
        child.facts["metadata"] + "/latest/api/token",
        headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"},
        method="PUT",
    )
    with urllib.request.urlopen(token, timeout=10) as reply:
        assert len(reply.read()) > 20
    assert child.close() == 0
    assert not Path(child.facts["directory"]).exists()


def test_a_child_process_is_steered_over_http(child: Child) -> None:
    ec2 = child.client("ec2")
    child.control("POST", "faults", {"action": "DescribeVolumes", "effect": "error", "count": 2})
    assert ec2.describe_volumes()["Volumes"], "boto3 retries"
    # One fault is left: the one from the command line.
    assert [fault["action"] for fault in child.control("GET", "faults")] == ["StopInstances"]
    codes = [c["status"] for c in child.control("GET", "wire") if c["action"] == "DescribeVolumes"]
    assert codes == [503, 503, 200]
    instance = child.facts["instance"]
    child.control("POST", f"instances/{instance}/console", {"text": "login:"})
    assert ec2.get_console_output(InstanceId=instance)["Output"] == "login:"
    child.control("POST", f"instances/{instance}/power-off")
    waiter = ec2.get_waiter("instance_terminated")
    waiter.wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    with pytest.raises(urllib.error.HTTPError) as refused:
        child.control("POST", "faults", {"action": "X", "effect": "explode"})
    assert "explode" in refused.value.read().decode()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--fault", "nonsense"], "ACTION"),
        (["--set", "snapshot_seconds=soon"], "not a number"),
        (["--set", "colour=red"], "SETTING=VALUE"),
        (["--helper", "x.img"], "belong together"),
        (["--source", "/nonexistent.img"], "no such file"),
    ],
)
def test_mistakes_are_explained(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    options: list[str],
    complaint: str,
) -> None:
    monkeypatch.setenv("AMILIFT_CACHE", str(cache))
    assert main(["up", "--no-qemu", *options]) == 1
    assert complaint in capsys.readouterr().err
