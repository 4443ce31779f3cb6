"""Volumes, attachments and snapshots behave as EC2's do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import QUICK
from support import ZONE, code_of, make_snapshot, make_volume, tagged, volume_state

from localec2 import Effect, Fault, LocalEc2, Settings
from localec2.storage import SparseStore


def attachment_state(ec2: Any, volume_id: str) -> str:
    volume = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
    return str(volume["Attachments"][0]["State"]) if volume["Attachments"] else "detached"


def path_of(cloud: LocalEc2, resource_id: str) -> Path:
    assert isinstance(cloud.store, SparseStore)
    return cloud.store.path(resource_id)


def test_a_volume_is_creating_before_it_is_available(cloud: LocalEc2, ec2: Any) -> None:
    created = ec2.create_volume(Size=2, AvailabilityZone=ZONE, VolumeType="gp3")
    assert created["State"] == "creating"
    assert volume_state(ec2, created["VolumeId"]) == "creating"
    cloud.wait("volume", lambda: volume_state(ec2, created["VolumeId"]) == "available", 10)
    assert path_of(cloud, created["VolumeId"]).stat().st_size == 2 << 30


def test_a_created_volume_is_unknown_for_a_while(start: Callable[[Settings], LocalEc2]) -> None:
    cloud = start(replace(QUICK, visibility_seconds=0.5))
    ec2 = cloud.client("ec2")
    volume_id = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    with pytest.raises(ClientError) as refused:
        ec2.describe_volumes(VolumeIds=[volume_id])
    assert code_of(refused) == "InvalidVolume.NotFound"
    assert ec2.describe_volumes()["Volumes"] == []
    with pytest.raises(ClientError) as refused:
        ec2.create_tags(Resources=[volume_id], Tags=[{"Key": "a", "Value": "b"}])
    assert code_of(refused) == "InvalidVolume.NotFound"
    cloud.wait("volume", lambda: volume_state(ec2, volume_id) == "available", 10)


def test_the_same_client_token_makes_one_volume(ec2: Any) -> None:
    given = {"Size": 1, "AvailabilityZone": ZONE, "ClientToken": "token-1"}
    first = ec2.create_volume(**given)["VolumeId"]
    assert ec2.create_volume(**given)["VolumeId"] == first
    assert len(ec2.describe_volumes()["Volumes"]) == 1
    with pytest.raises(ClientError) as refused:
        ec2.create_volume(**{**given, "Size": 2})
    assert code_of(refused) == "IdempotentParameterMismatch"
    assert ec2.create_volume(**{**given, "ClientToken": "token-2"})["VolumeId"] != first


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound"),
        ({"Size": 0}, "InvalidParameterValue"),
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"SnapshotId": "snap-x"}, "InvalidSnapshotID.Malformed"),
        ({"VolumeType": "gp9"}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("snapshot", a="b")}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("volume", aws_mine="b")}, "InvalidParameterValue"),
    ],
)
def test_create_volume_refuses(ec2: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        ec2.create_volume(**{"Size": 1, "AvailabilityZone": ZONE, **options})
    assert code_of(refused) == code


def test_a_volume_of_a_snapshot_has_its_content(cloud: LocalEc2, ec2: Any) -> None:
    source = make_volume(cloud, ec2)
    with open(path_of(cloud, source), "r+b") as file:
        file.seek(1 << 20)
        file.write(b"before")
    snapshot = make_snapshot(cloud, ec2, source)
    with open(path_of(cloud, source), "r+b") as file:
        file.seek(1 << 20)
        file.write(b"after!")
    copy = make_volume(cloud, ec2, SnapshotId=snapshot, Size=2)
    with open(path_of(cloud, copy), "rb") as file:
        file.seek(1 << 20)
        assert file.read(6) == b"before"
    assert path_of(cloud, copy).stat().st_blocks < 4096, "holes must stay holes"
    with pytest.raises(ClientError) as refused:
        big = make_snapshot(cloud, ec2, copy)
        ec2.create_volume(Size=1, AvailabilityZone=ZONE, SnapshotId=big)
    assert code_of(refused) == "InvalidParameterValue"


def test_a_pending_snapshot_makes_no_volume(cloud: LocalEc2, ec2: Any) -> None:
    volume_id = make_volume(cloud, ec2)
    snapshot = ec2.create_snapshot(VolumeId=volume_id)
    assert (snapshot["State"], snapshot["Progress"]) == ("pending", "0%")
    with pytest.raises(ClientError) as refused:
        ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot["SnapshotId"])
    assert code_of(refused) == "IncorrectState"


def test_attach_and_detach_go_through_their_states(
    cloud: LocalEc2, ec2: Any, helper_instance: str
) -> None:
    volume_id = make_volume(cloud, ec2)
    attached = ec2.attach_volume(VolumeId=volume_id, InstanceId=helper_instance, Device="/dev/sdf")
    assert attached["State"] == "attaching"
    assert volume_state(ec2, volume_id) == "in-use"
    cloud.wait("attach", lambda: attachment_state(ec2, volume_id) == "attached", 10)
    with pytest.raises(ClientError) as refused:
        ec2.delete_volume(VolumeId=volume_id)
    assert code_of(refused) == "VolumeInUse"
    # InstanceId is optional in the API.
    assert ec2.detach_volume(VolumeId=volume_id)["State"] == "detaching"
    assert volume_state(ec2, volume_id) == "in-use"
    cloud.wait("detach", lambda: volume_state(ec2, volume_id) == "available", 10)
    ec2.delete_volume(VolumeId=volume_id)
    cloud.wait("delete", lambda: volume_state(ec2, volume_id) == "gone", 10)
    assert not path_of(cloud, volume_id).exists()


def test_attach_volume_refuses(cloud: LocalEc2, ec2: Any, helper_instance: str) -> None:
    first, second = make_volume(cloud, ec2), make_volume(cloud, ec2)
    elsewhere = make_volume(cloud, ec2, AvailabilityZone="us-east-1b")

    def refusal(volume_id: str, device: str, instance: str = helper_instance) -> str:
        with pytest.raises(ClientError) as refused:
            ec2.attach_volume(VolumeId=volume_id, InstanceId=instance, Device=device)
        return code_of(refused)

    ec2.attach_volume(VolumeId=first, InstanceId=helper_instance, Device="/dev/sdf")
    assert refusal(first, "/dev/sdg") == "VolumeInUse"
    assert refusal(second, "/dev/sdf") == "InvalidParameterValue"
    assert refusal(second, "xvdf") == "InvalidParameterValue"  # the same attachment point
    assert refusal(second, "/dev/nvme1n1") == "InvalidParameterValue"
    assert refusal(elsewhere, "/dev/sdg") == "InvalidVolume.ZoneMismatch"
    assert refusal(second, "/dev/sdg", "i-0123456789abcdef0") == "InvalidInstanceID.NotFound"
    creating = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    assert refusal(creating, "/dev/sdg") == "IncorrectState"
    ec2.terminate_instances(InstanceIds=[helper_instance])
    assert refusal(second, "/dev/sdg") == "IncorrectState"


def test_detach_volume_refuses(cloud: LocalEc2, ec2: Any, helper_instance: str) -> None:
    volume_id = make_volume(cloud, ec2)
    with pytest.raises(ClientError) as refused:
        ec2.detach_volume(VolumeId=volume_id, InstanceId=helper_instance)
    assert code_of(refused) == "IncorrectState"
    ec2.attach_volume(VolumeId=volume_id, InstanceId=helper_instance, Device="/dev/sdf")
    with pytest.raises(ClientError) as refused:
        ec2.detach_volume(VolumeId=volume_id, InstanceId="i-0123456789abcdef0")
    assert code_of(refused) == "InvalidAttachment.NotFound"
    instance = ec2.describe_instances(InstanceIds=[helper_instance])["Reservations"][0]
    mappings = instance["Instances"][0]["BlockDeviceMappings"]
    root = next(m for m in mappings if m["DeviceName"] == "/dev/xvda")["Ebs"]["VolumeId"]
    with pytest.raises(ClientError) as refused:
        ec2.detach_volume(VolumeId=root)
    assert code_of(refused) == "OperationNotPermitted"


def test_a_busy_volume_is_detached_by_force_only(
    cloud: LocalEc2, ec2: Any, helper_instance: str
) -> None:
    volume_id = make_volume(cloud, ec2)
    ec2.attach_volume(VolumeId=volume_id, InstanceId=helper_instance, Device="/dev/sdf")
    cloud.wait("attach", lambda: attachment_state(ec2, volume_id) == "attached", 10)
    cloud.faults.add(Fault("DetachVolume", Effect.busy))
    assert ec2.detach_volume(VolumeId=volume_id)["State"] == "busy"
    assert ec2.detach_volume(VolumeId=volume_id)["State"] == "busy"
    ec2.detach_volume(VolumeId=volume_id, Force=True)
    cloud.wait("detach", lambda: volume_state(ec2, volume_id) == "available", 10)


def test_injected_failures_of_resources(cloud: LocalEc2, ec2: Any, helper_instance: str) -> None:
    cloud.faults.add(Fault("CreateVolume", Effect.failed))
    failed = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    cloud.wait("failure", lambda: volume_state(ec2, failed) == "error", 10)
    volume_id = make_volume(cloud, ec2)
    cloud.faults.add(Fault("CreateSnapshot", Effect.failed))
    snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]

    def snapshot() -> Any:
        return ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]

    cloud.wait("failure", lambda: snapshot()["State"] == "error", 10)
    assert snapshot()["StateMessage"]
    cloud.faults.add(Fault("AttachVolume", Effect.stuck))
    ec2.attach_volume(VolumeId=volume_id, InstanceId=helper_instance, Device="/dev/sdf")
    cloud.pause(0.6)
    assert attachment_state(ec2, volume_id) == "attaching"


def test_a_snapshot_outlives_its_volume_but_not_its_image(cloud: LocalEc2, ec2: Any) -> None:
    volume_id = make_volume(cloud, ec2)
    snapshot_id = make_snapshot(
        cloud, ec2, volume_id, Description="d", TagSpecifications=tagged("snapshot", a="b")
    )
    ec2.delete_volume(VolumeId=volume_id)
    cloud.wait("delete", lambda: volume_state(ec2, volume_id) == "gone", 10)
    found = ec2.describe_snapshots(Filters=[{"Name": "tag:a", "Values": ["b"]}])["Snapshots"][0]
    assert (found["SnapshotId"], found["VolumeId"]) == (snapshot_id, volume_id)
    image = cloud.register_source(snapshot_id, "source")
    with pytest.raises(ClientError) as refused:
        ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert code_of(refused) == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert ec2.describe_snapshots()["Snapshots"] == []


def test_listings_come_in_pages(cloud: LocalEc2, ec2: Any) -> None:
    for _ in range(7):
        ec2.create_volume(Size=1, AvailabilityZone=ZONE)
    first = ec2.describe_volumes(MaxResults=5)
    second = ec2.describe_volumes(MaxResults=5, NextToken=first["NextToken"])
    assert (len(first["Volumes"]), len(second["Volumes"])) == (5, 2)
    assert "NextToken" not in second


def test_tags_have_limits(cloud: LocalEc2, ec2: Any) -> None:
    volume_id = make_volume(cloud, ec2)

    def refusal(resource: str, key: str, value: str) -> str:
        with pytest.raises(ClientError) as refused:
            ec2.create_tags(Resources=[resource], Tags=[{"Key": key, "Value": value}])
        return code_of(refused)

    assert refusal(volume_id, "k", "v" * 257) == "InvalidParameterValue"
    assert refusal(volume_id, "k" * 129, "v") == "InvalidParameterValue"
    assert refusal(volume_id, "aws:k", "v") == "InvalidParameterValue"
    assert refusal("i-0123456789abcdef0", "k", "v") == "InvalidInstanceID.NotFound"
    ec2.create_tags(Resources=[volume_id], Tags=[{"Key": "k", "Value": "v" * 256}])
    tags = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [volume_id]}])["Tags"]
    assert [(tag["Key"], tag["ResourceType"]) for tag in tags] == [("k", "volume")]
