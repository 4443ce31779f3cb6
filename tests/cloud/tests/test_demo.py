"""demo.py: what it tells is asserted; any failure says where it was, and leaves logs only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import demo

from localec2 import LocalEc2, Settings
from localec2.wire import Call, EgressLog

HELPER = "i-0123456789abcdef0"
SETTINGS = Settings(endpoints=demo.ENDPOINTS)


def call(action: str, status: int, origin: str = HELPER) -> Call:
    return Call(0.0, origin, "amilift-helper/x", "ec2", action, {}, status, "")


def cloud_with(calls: list[Call], names: list[tuple[str, str]]) -> Any:
    """What _check_calls reads of a Local EC2."""
    egress = EgressLog()
    for who, name in names:
        egress.add(who, name, name in SETTINGS.endpoint_names())
    wire = SimpleNamespace(calls=lambda accept: [c for c in calls if accept(c)])
    return SimpleNamespace(wire=wire, egress=egress, settings=SETTINGS)


def test_what_is_allowed_passes() -> None:
    names = [(HELPER, "ec2.us-east-1.amazonaws.com"), ("i-other", "pool.ntp.org")]
    calls = [call("CreateVolume", 200), call("RunInstances", 403, origin="host")]
    demo._check_calls(cloud_with(calls, names), demo.Story(), HELPER)


@pytest.mark.parametrize(
    ("calls", "names", "complaint"),
    [
        ([call("CopyImage", 403)], [], "refused CopyImage"),
        ([], [(HELPER, "pool.ntp.org")], r"looked up pool\.ntp\.org"),
        ([], [(HELPER, "s3.us-east-1.amazonaws.com")], r"looked up s3\."),
    ],
)
def test_what_is_not_allowed_fails(
    calls: list[Call], names: list[tuple[str, str]], complaint: str
) -> None:
    with pytest.raises(demo.DemoFailure, match=complaint):
        demo._check_calls(cloud_with(calls, names), demo.Story(), HELPER)


@pytest.mark.parametrize(
    "error",
    [
        subprocess.TimeoutExpired("debugfs", 60),
        OSError(28, "No space left on device"),
        KeyError("Images"),
        KeyboardInterrupt(),
        SystemExit(143),
        demo.DemoFailure("volumes are left"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_failure_names_the_part_and_the_logs(
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def play(cloud: LocalEc2, story: demo.Story, options: Any) -> str:
        story.head(3, "the helper works")
        cloud.store.create("vol-1", 1, None)
        raise error

    monkeypatch.setattr(demo, "_play", play)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["demo", "--helper=h", "--kernel=k", "--source=s"])
    assert demo.main() == 1
    said = capsys.readouterr().err
    assert "FAILED in 'the helper works': " in said
    [directory] = tmp_path.iterdir()
    assert f"are in {directory}" in said
    left = {path.name for path in directory.iterdir()}
    expected = {"wire.json", "egress.json", "errors.txt"}
    if not isinstance(error, demo.DemoFailure):
        expected.add("traceback.txt")
        assert type(error).__name__ in (directory / "traceback.txt").read_text("utf-8")
    assert left - {"guests"} == expected
