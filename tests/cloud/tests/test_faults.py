"""Injected faults hit the calls that they should, and look as they should."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError
from support import ZONE, code_of, status_of

from localec2 import Effect, Fault, LocalEc2, LocalEc2Error
from localec2.faults import FaultPlan


def test_the_nth_call_and_no_other(cloud: LocalEc2, ec2: Any) -> None:
    cloud.faults.add(Fault("DescribeVolumes", Effect.error, nth=2, status=503))
    ec2.describe_snapshots()
    ec2.describe_volumes()
    with pytest.raises(ClientError) as refused:
        ec2.describe_volumes()
    assert (code_of(refused), status_of(refused)) == ("RequestLimitExceeded", 503)
    ec2.describe_volumes()
    assert cloud.faults.remaining() == []


def test_faults_count_calls_of_a_pattern_with_a_parameter() -> None:
    plan = FaultPlan()
    fault = plan.add(
        Fault("Describe*", Effect.drop, nth=2, count=0, where={"VolumeId.1": "vol-1*"})
    )
    calls = [
        plan.take(action, {"VolumeId.1": volume}, http=True)
        for action, volume in [
            ("DescribeVolumes", "vol-10"),
            ("DescribeVolumes", "vol-20"),
            ("CreateVolume", "vol-10"),
            ("DescribeTags", "vol-11"),
            ("DescribeVolumes", "vol-12"),
        ]
    ]
    assert calls == [None, None, None, fault, fault]
    assert plan.remaining() == []


@pytest.mark.parametrize("after", [False, True])
def test_a_lost_answer_before_and_after_the_act(cloud: LocalEc2, ec2: Any, after: bool) -> None:
    cloud.faults.add(Fault("CreateVolume", Effect.drop, after=after))
    with pytest.raises(ConnectionClosedError):
        ec2.create_volume(Size=1, AvailabilityZone=ZONE)
    assert len(ec2.describe_volumes()["Volumes"]) == (1 if after else 0)
    assert [c.status for c in cloud.wire.calls() if c.action == "CreateVolume"] == [0]


def test_answers_that_are_no_answers(cloud: LocalEc2, ec2: Any) -> None:
    cloud.faults.add(Fault("DescribeVolumes", Effect.garbage, status=200))
    with pytest.raises(ResponseParserError):
        ec2.describe_volumes()
    cloud.faults.add(Fault("DescribeVolumes", Effect.truncate))
    with pytest.raises((ResponseParserError, IncompleteReadError, ConnectionClosedError)):
        ec2.describe_volumes()
    ec2.describe_volumes()


def test_delays_and_hangs_take_time(cloud: LocalEc2, ec2: Any) -> None:
    start = time.monotonic()
    cloud.faults.add(Fault("DescribeVolumes", Effect.delay, seconds=0.5))
    ec2.describe_volumes()
    assert 0.5 <= time.monotonic() - start < 5
    cloud.faults.add(Fault("DescribeVolumes", Effect.hang, seconds=0.5))
    with pytest.raises(ConnectionClosedError):
        ec2.describe_volumes()
    assert time.monotonic() - start >= 1.0


def test_a_hang_does_not_hold_other_calls_or_the_end(cloud: LocalEc2, ec2: Any) -> None:
    cloud.faults.add(Fault("DescribeVolumes", Effect.hang, seconds=60))
    failures: list[Exception] = []

    def hang() -> None:
        try:
            ec2.describe_volumes()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    start = time.monotonic()
    cloud.client("ec2").describe_snapshots()
    cloud.close()
    thread.join(10)
    assert len(failures) == 1
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CreateVolume=503:RequestLimitExceeded", Fault("CreateVolume", Effect.error)),
        (
            "Describe*@2x3=500",
            Fault("Describe*", Effect.error, nth=2, count=3, status=500, code="InternalError"),
        ),
        ("CreateVolume@2=drop-after", Fault("CreateVolume", Effect.drop, nth=2, after=True)),
        ("X@1x0=hang:2.5", Fault("X", Effect.hang, count=0, seconds=2.5)),
        ("DetachVolume=busy", Fault("DetachVolume", Effect.busy)),
        (
            "imds:PUT /latest/api/token=503",
            Fault("imds:PUT /latest/api/token", Effect.error, code="InternalError"),
        ),
    ],
)
def test_the_short_form(text: str, expected: Fault) -> None:
    assert Fault.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["CreateVolume", "X=explode", "X@0=drop", "CreateVolume=busy", "=drop"]
)
def test_a_wrong_short_form_is_refused(text: str) -> None:
    with pytest.raises(LocalEc2Error):
        Fault.parse(text)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(LocalEc2Error, match="nht"):
        Fault.from_dict({"action": "X", "effect": "drop", "nht": 2})
