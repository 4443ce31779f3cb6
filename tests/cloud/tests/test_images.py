"""RegisterImage and DescribeImages behave as EC2's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from support import code_of, make_snapshot, make_volume, root_mapping, tagged

from localec2 import Effect, Fault, LocalEc2


def describe(ec2: Any, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    return found


@pytest.fixture
def snapshot(cloud: LocalEc2, blank: Path) -> str:
    return cloud.import_image(blank)


def test_every_field_is_kept(cloud: LocalEc2, ec2: Any, snapshot: str) -> None:
    image_id = ec2.register_image(
        Name="all fields (1)",
        Description="text",
        Architecture="x86_64",
        VirtualizationType="hvm",
        EnaSupport=True,
        SriovNetSupport="simple",
        BootMode="legacy-bios",
        ImdsSupport="v2.0",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {"SnapshotId": snapshot, "VolumeSize": 3, "VolumeType": "gp3"},
            },
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        ],
        TagSpecifications=tagged("image", amilift_job="j"),
    )["ImageId"]
    assert describe(ec2, image_id)["State"] == "pending"
    cloud.wait("image", lambda: describe(ec2, image_id)["State"] == "available", 10)
    image = describe(ec2, image_id)
    expected = {
        "Name": "all fields (1)",
        "Description": "text",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "EnaSupport": True,
        "SriovNetSupport": "simple",
        "BootMode": "legacy-bios",
        "ImdsSupport": "v2.0",
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "Tags": [{"Key": "amilift:job", "Value": "j"}],
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "SnapshotId": snapshot,
                    "VolumeSize": 3,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": False,
                },
            },
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        ],
    }
    assert {name: image.get(name) for name in expected} == expected


def test_the_defaults_are_the_old_ones(cloud: LocalEc2, ec2: Any, snapshot: str) -> None:
    image = describe(
        ec2, ec2.register_image(Name="old", **root_mapping(snapshot, "/dev/sda1"))["ImageId"]
    )
    assert (image["Architecture"], image["VirtualizationType"]) == ("i386", "paravirtual")
    assert "EnaSupport" not in image


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"Name": "ab"}, "InvalidAMIName.Malformed"),
        ({"Name": "a" * 129}, "InvalidAMIName.Malformed"),
        ({"Name": "what?"}, "InvalidAMIName.Malformed"),
        ({"Name": "taken"}, "InvalidAMIName.Duplicate"),
        (root_mapping("snap-0123456789abcdef0"), "InvalidSnapshot.NotFound"),
        ({"RootDeviceName": "/dev/sda1"}, "InvalidBlockDeviceMapping"),
        ({"Architecture": "pdp11"}, "InvalidParameterValue"),
        ({"BootMode": "floppy"}, "InvalidParameterValue"),
        ({"TpmSupport": "v2.0"}, "InvalidParameterCombination"),
        ({"VirtualizationType": "hvm", "KernelId": "aki-919dcaf8"}, "InvalidParameterCombination"),
        ({"Description": "d" * 256}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("volume", a="b")}, "InvalidParameterValue"),
    ],
)
def test_register_image_refuses(
    cloud: LocalEc2, ec2: Any, snapshot: str, options: dict[str, Any], code: str
) -> None:
    cloud.register_source(snapshot, "taken")
    with pytest.raises(ClientError) as refused:
        ec2.register_image(**{"Name": "fine", **root_mapping(snapshot), **options})
    assert code_of(refused) == code


@pytest.mark.parametrize(
    ("ebs", "code"),
    [
        ({"Encrypted": False}, "InvalidParameter"),
        ({"VolumeSize": 1}, "InvalidBlockDeviceMapping"),
    ],
)
def test_register_image_checks_the_root_volume(
    cloud: LocalEc2, ec2: Any, ebs: dict[str, Any], code: str
) -> None:
    snapshot = make_snapshot(cloud, ec2, make_volume(cloud, ec2, Size=2))
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, **ebs}}
    with pytest.raises(ClientError) as refused:
        ec2.register_image(Name="fine", RootDeviceName="/dev/xvda", BlockDeviceMappings=[mapping])
    assert code_of(refused) == code


def test_an_image_waits_for_its_snapshot(cloud: LocalEc2, ec2: Any) -> None:
    volume = make_volume(cloud, ec2)
    cloud.faults.add(Fault("CreateSnapshot", Effect.stuck))
    pending = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    image_id = ec2.register_image(Name="early", **root_mapping(pending))["ImageId"]
    cloud.pause(0.6)
    assert describe(ec2, image_id)["State"] == "pending"


def test_an_image_of_a_failed_snapshot_fails(cloud: LocalEc2, ec2: Any) -> None:
    volume = make_volume(cloud, ec2)
    cloud.faults.add(Fault("CreateSnapshot", Effect.failed))
    failing = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    image_id = ec2.register_image(Name="early", **root_mapping(failing))["ImageId"]
    cloud.wait("failure", lambda: describe(ec2, image_id)["State"] == "failed", 10)
    assert describe(ec2, image_id)["StateReason"]["Message"]


def test_a_paravirtual_source_names_its_kernel(cloud: LocalEc2, ec2: Any, snapshot: str) -> None:
    image = describe(ec2, cloud.register_source(snapshot, "debian-6"))
    assert (image["VirtualizationType"], image["State"]) == ("paravirtual", "available")
    kernel = describe(ec2, image["KernelId"])
    assert kernel["Name"] == "pv-grub-hd0_1.05-x86_64.gz"
    assert kernel["ImageOwnerAlias"] == "amazon"
    assert kernel["ImageType"] == "kernel"


def test_amazons_kernels_are_found_by_name(ec2: Any) -> None:
    filters = [
        {"Name": "image-type", "Values": ["kernel"]},
        {"Name": "name", "Values": ["pv-grub-hd0_*"]},
    ]
    found = ec2.describe_images(Owners=["amazon"], Filters=filters, IncludeDeprecated=True)
    names = {image["Name"]: image for image in found["Images"]}
    assert {"pv-grub-hd0_1.05-x86_64.gz", "pv-grub-hd0_1.04-i386.gz"} <= set(names)
    assert all(name.startswith("pv-grub-hd0_") for name in names)
    newest = names["pv-grub-hd0_1.05-i386.gz"]
    assert (newest["Architecture"], newest["State"]) == ("i386", "available")
    assert describe(ec2, newest["ImageId"])["Name"] == newest["Name"]
    assert ec2.describe_images(Owners=["self"], Filters=filters)["Images"] == []


def test_a_paravirtual_image_is_registered_with_its_kernel(
    cloud: LocalEc2, ec2: Any, snapshot: str
) -> None:
    kind = {"VirtualizationType": "paravirtual", "Architecture": "x86_64"}
    mapping = root_mapping(snapshot, "/dev/sda1")
    image_id = ec2.register_image(Name="pv one", KernelId="aki-919dcaf8", **kind, **mapping)["ImageId"]
    image = describe(ec2, image_id)
    assert (image["KernelId"], image["VirtualizationType"]) == ("aki-919dcaf8", "paravirtual")
    for options, code in [
        ({"KernelId": "aki-8f9dcae6"}, "InvalidParameterValue"),
        ({"KernelId": "aki-00000000"}, "InvalidAMIID.NotFound"),
        ({"KernelId": "aki-919dcaf8", "EnaSupport": True}, "InvalidParameterCombination"),
    ]:
        with pytest.raises(ClientError) as refused:
            ec2.register_image(Name="other", **kind, **mapping, **options)
        assert code_of(refused) == code


def test_foreign_images_show_why_they_are_refused(cloud: LocalEc2, ec2: Any) -> None:
    store = cloud.register_foreign("s3-backed", RootDeviceType="instance-store")
    assert describe(ec2, store)["RootDeviceType"] == "instance-store"
    code = {"ProductCodeId": "abc123", "ProductCodeType": "marketplace"}
    bought = cloud.register_foreign("bought", ProductCodes=[code], OwnerId="679593333241")
    assert describe(ec2, bought)["ProductCodes"] == [code]
    billed = cloud.register_foreign(
        "rhel", UsageOperation="RunInstances:0010", PlatformDetails="Red Hat Enterprise Linux"
    )
    assert describe(ec2, billed)["UsageOperation"] == "RunInstances:0010"
    own = {image["ImageId"] for image in ec2.describe_images(Owners=["self"])["Images"]}
    assert own == {store, billed}


def test_images_are_found_by_name_and_tag(cloud: LocalEc2, ec2: Any, snapshot: str) -> None:
    first, second = (cloud.register_source(snapshot, name) for name in ("one", "two"))
    ec2.create_tags(Resources=[second], Tags=[{"Key": "amilift:job", "Value": "j"}])

    def found(name: str, value: str) -> list[str]:
        filters = [{"Name": name, "Values": [value]}]
        return [image["ImageId"] for image in ec2.describe_images(Filters=filters)["Images"]]

    assert found("name", "one") == [first]
    assert found("tag:amilift:job", "j") == [second]
    assert found("state", "available") == [first, second]


def test_a_deregistered_image_is_unavailable(cloud: LocalEc2, ec2: Any, snapshot: str) -> None:
    image = cloud.register_source(snapshot, "gone")
    ec2.deregister_image(ImageId=image)
    with pytest.raises(ClientError) as refused:
        ec2.deregister_image(ImageId=image)
    assert code_of(refused) == "InvalidAMIID.Unavailable"
    with pytest.raises(ClientError) as refused:
        ec2.describe_images(ImageIds=["ami-0123456789abcdef0"])
    assert code_of(refused) == "InvalidAMIID.NotFound"
    cloud.register_source(snapshot, "gone")  # the name is free again
