"""Policies are evaluated with their resources and conditions, and the helper's is tight."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from support import ZONE, code_of, make_snapshot, make_volume, root_mapping, status_of, tagged

from localec2 import Keys, LocalEc2, Settings
from localec2.iam import Access, PolicyError, check_policy, is_allowed


def policy(**statement: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Resource": "*", **statement}}


def allows(document: dict[str, Any], action: str, resource: str = "*", **context: Any) -> bool:
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    return is_allowed([document], Access(action, resource, keys))


def test_actions_and_resources_match_by_pattern() -> None:
    document = policy(Action=["ec2:Describe*", "s3:GetObject"], Resource="arn:aws:s3:::jobs-*/j/*")
    assert allows(document, "s3:GetObject", "arn:aws:s3:::jobs-1/j/a/b")
    assert allows(document, "S3:getobject", "arn:aws:s3:::jobs-1/j/a")
    assert not allows(document, "s3:GetObject", "arn:aws:s3:::jobs-1/k/a")
    assert not allows(document, "s3:GetObjectVersion", "arn:aws:s3:::jobs-1/j/a")


def test_a_denial_wins() -> None:
    allow, deny = policy(Action="*"), policy(Action="ec2:Run*")
    deny["Statement"]["Effect"] = "Deny"
    assert is_allowed([allow], Access("ec2:RunInstances"))
    assert not is_allowed([allow, deny], Access("ec2:RunInstances"))
    assert not is_allowed([deny, allow], Access("ec2:RunInstances"))
    assert not is_allowed([], Access("ec2:RunInstances"))


@pytest.mark.parametrize(
    ("operator", "values", "actual", "expected"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringLike", "vol-*", "vol-1", True),
        ("StringLike", "*", None, False),
        ("NumericLessThanEquals", "5", "5", True),
        ("NumericLessThanEquals", "5", "6", False),
        ("Bool", "true", "True", True),
        ("Null", "false", "x", True),
        ("Null", "true", "x", False),
        ("Null", "true", None, True),
        ("ForAllValues:StringLike", "amilift:*", ["amilift:a", "amilift:b"], True),
        ("ForAllValues:StringLike", "amilift:*", ["amilift:a", "b"], False),
        ("ForAllValues:StringLike", "amilift:*", None, True),
        ("ForAnyValue:StringEquals", "a", ["b", "a"], True),
        ("ForAnyValue:StringEquals", "a", None, False),
    ],
)
def test_conditions(operator: str, values: Any, actual: Any, expected: bool) -> None:
    document = policy(Action="*", Condition={operator: {"aws:Key": values}})
    context = {} if actual is None else {"AWS__KEY": actual}
    assert allows(document, "ec2:RunInstances", **context) is expected


def test_policy_variables_are_replaced() -> None:
    condition = {"ArnLike": {"ec2:Source": "arn:aws:ec2:*:*:instance/${ec2:InstanceID}"}}
    document = policy(Action="*", Condition=condition)
    source = "arn:aws:ec2:us-east-1:1:instance/i-1"
    assert allows(document, "ec2:X", ec2__Source=source, ec2__InstanceId="i-1")
    assert not allows(document, "ec2:X", ec2__Source=source, ec2__InstanceId="i-2")
    assert not allows(document, "ec2:X", ec2__Source=source)


@pytest.mark.parametrize(
    "statement",
    [
        {"Action": "*", "Condition": {"StringAlmostEquals": {"a": "b"}}},
        {"Action": "*", "Condition": {"SomeValues:StringEquals": {"a": "b"}}},
        {"Action": "*", "Principal": "*"},
        {"Action": "*", "NotAction": "*"},
        {"Resource": "*"},
        {"Action": "*", "Effect": "Maybe"},
    ],
)
def test_what_is_not_understood_is_an_error(statement: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        check_policy(policy(**statement))


# --- the helper's own policy, over the wire ----------------------------------------------------


def refusal(call: Any, **options: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**options)
    assert status_of(refused) == 403
    return code_of(refused)


def test_the_helper_can_do_its_job(
    cloud: LocalEc2, ec2: Any, helper_instance: str, helper_keys: Keys
) -> None:
    mine = cloud.client("ec2", helper_keys)
    source = make_snapshot(cloud, ec2, make_volume(cloud, ec2))
    volume = make_volume(
        cloud,
        mine,
        SnapshotId=source,
        TagSpecifications=tagged("volume", amilift_job="j", Name="n"),
    )
    mine.attach_volume(VolumeId=volume, InstanceId=helper_instance, Device="/dev/sdf")
    mine.modify_instance_attribute(
        InstanceId=helper_instance,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}],
    )
    snapshot = make_snapshot(
        cloud, mine, volume, TagSpecifications=tagged("snapshot", amilift_job="j")
    )
    image = mine.register_image(
        Name="result",
        **root_mapping(snapshot),
        TagSpecifications=tagged("image", amilift_job="j", Project="p"),
    )["ImageId"]
    state = [{"Key": "amilift:state", "Value": "succeeded"}]
    mine.create_tags(Resources=[helper_instance], Tags=state)
    # What it made keeps the tags that it was made with.
    for made in (image, snapshot, volume):
        assert refusal(mine.create_tags, Resources=[made], Tags=state) == "UnauthorizedOperation"
    mine.detach_volume(VolumeId=volume, InstanceId=helper_instance)
    cloud.wait(
        "detach",
        lambda: mine.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "available",
        10,
    )
    mine.delete_volume(VolumeId=volume)
    mine.deregister_image(ImageId=image)
    mine.delete_snapshot(SnapshotId=snapshot)
    mine.terminate_instances(InstanceIds=[helper_instance])


def test_the_helper_touches_nothing_without_the_job_tag(
    cloud: LocalEc2, ec2: Any, helper_instance: str, helper_keys: Keys
) -> None:
    mine = cloud.client("ec2", helper_keys)
    volume = make_volume(cloud, ec2)
    snapshot = make_snapshot(cloud, ec2, volume)
    image = cloud.register_source(snapshot, "somebody's")
    job = [{"Key": "amilift:job", "Value": "j"}]
    for call, options in (
        (mine.create_volume, {"Size": 1, "AvailabilityZone": ZONE}),
        (
            mine.create_volume,
            {"Size": 1, "AvailabilityZone": ZONE, "TagSpecifications": tagged("volume", a="b")},
        ),
        (mine.attach_volume, {"VolumeId": volume, "InstanceId": helper_instance, "Device": "xvdf"}),
        (mine.delete_volume, {"VolumeId": volume}),
        (mine.create_snapshot, {"VolumeId": volume}),
        (mine.delete_snapshot, {"SnapshotId": snapshot}),
        (mine.deregister_image, {"ImageId": image}),
        (mine.register_image, {"Name": "mine", **root_mapping(snapshot)}),
        (mine.create_tags, {"Resources": [volume], "Tags": job}),
        (mine.create_tags, {"Resources": [image], "Tags": job}),
    ):
        assert refusal(call, **options) == "UnauthorizedOperation"
    assert len(ec2.describe_volumes(VolumeIds=[volume])["Volumes"]) == 1


def test_the_helper_touches_no_other_instance(
    cloud: LocalEc2, ec2: Any, helper_instance: str, helper_keys: Keys
) -> None:
    image = cloud.backend.get_instance(helper_instance).image_id
    other = cloud.run_instance(image, tags={"amilift:job": "j", "amilift:role": "helper"})
    mine = cloud.client("ec2", helper_keys)
    volume = make_volume(cloud, mine, TagSpecifications=tagged("volume", amilift_job="j"))
    assert refusal(mine.terminate_instances, InstanceIds=[other]) == "UnauthorizedOperation"
    assert refusal(mine.stop_instances, InstanceIds=[other]) == "UnauthorizedOperation"
    assert (
        refusal(mine.terminate_instances, InstanceIds=[helper_instance, other])
        == "UnauthorizedOperation"
    )
    attach = {"VolumeId": volume, "InstanceId": other, "Device": "/dev/sdf"}
    assert refusal(mine.attach_volume, **attach) == "UnauthorizedOperation"
    for key, resource in (("amilift:state", other), ("Name", helper_instance)):
        tags = [{"Key": key, "Value": "v"}]
        assert refusal(mine.create_tags, Resources=[resource], Tags=tags) == "UnauthorizedOperation"
    assert refusal(mine.run_instances, ImageId=image, MinCount=1, MaxCount=1)
    assert refusal(mine.get_console_output, InstanceId=other)


def test_the_helper_reads_job_documents_only(cloud: LocalEc2, helper_keys: Keys) -> None:
    cloud.put_job("jobs/one.yaml", b"job")
    cloud.put_job("private/two.yaml", b"not a job")
    mine = cloud.client("s3", helper_keys)
    bucket = "amilift-jobs-local"
    reply = mine.get_object(Bucket=bucket, Key="jobs/one.yaml")
    assert reply["Body"].read() == b"job"
    version = reply["VersionId"]
    again = mine.get_object(Bucket=bucket, Key="jobs/one.yaml", VersionId=version)
    assert again["Body"].read() == b"job"
    assert refusal(mine.get_object, Bucket=bucket, Key="private/two.yaml") == "AccessDenied"
    assert refusal(mine.list_objects_v2, Bucket=bucket) == "AccessDenied"
    assert refusal(mine.put_object, Bucket=bucket, Key="jobs/x", Body=b"") == "AccessDenied"
    assert refusal(cloud.client("sqs", helper_keys).create_queue, QueueName="q") == "AccessDenied"


def test_a_dry_run_asks_for_permission_only(cloud: LocalEc2, ec2: Any, helper_keys: Keys) -> None:
    with pytest.raises(ClientError) as refused:
        ec2.create_volume(Size=1, AvailabilityZone=ZONE, DryRun=True)
    assert (code_of(refused), status_of(refused)) == ("DryRunOperation", 412)
    mine = cloud.client("ec2", helper_keys)
    dry = {"Size": 1, "AvailabilityZone": ZONE, "DryRun": True}
    assert refusal(mine.create_volume, **dry) == "UnauthorizedOperation"
    assert ec2.describe_volumes()["Volumes"] != []  # the instance's root
    assert len(ec2.describe_volumes()["Volumes"]) == 1


def test_the_shipped_policy_is_valid() -> None:
    document = json.loads(Settings().helper_policy.read_text("utf-8"))
    check_policy(document)
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids)
    readme = Settings().helper_policy.with_name("README.md").read_text("utf-8")
    assert [sid for sid in sids if f"`{sid}`" not in readme] == []
    # IAM limits an inline role policy to 10 240 characters without white space.
    assert len(json.dumps(document, separators=(",", ":"))) < 10240
