"""Instances without guests: checks at launch, states, volumes, attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from support import code_of, make_volume, root_mapping

from localec2 import HELPER_ROLE, LocalEc2
from localec2.machine import NoGuest


def instance_of(ec2: Any, instance_id: str) -> dict[str, Any]:
    reservations = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    found: dict[str, Any] = reservations[0]["Instances"][0]
    return found


def guest_of(cloud: LocalEc2, instance_id: str) -> NoGuest:
    machine = cloud.backend.get_instance(instance_id).local.machine  # type: ignore[attr-defined]
    assert isinstance(machine, NoGuest)
    return machine


def register(cloud: LocalEc2, ec2: Any, blank: Path, **options: Any) -> str:
    given = {"Name": "image", "Architecture": "x86_64", "VirtualizationType": "hvm", **options}
    image_id = str(
        ec2.register_image(**{**root_mapping(cloud.import_image(blank)), **given})["ImageId"]
    )
    image = cloud.backend.get_image(image_id)
    cloud.wait("image", lambda: image.state == "available", 10)
    return image_id


def run(ec2: Any, image_id: str, **options: Any) -> Any:
    return ec2.run_instances(
        **{"ImageId": image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", **options}
    )


def test_an_image_without_ena_does_not_run_on_nitro(cloud: LocalEc2, ec2: Any, blank: Path) -> None:
    image = register(cloud, ec2, blank)
    with pytest.raises(ClientError) as refused:
        run(ec2, image)
    assert code_of(refused) == "InvalidParameterCombination"
    assert "ENA" in str(refused.value)
    run(ec2, image, InstanceType="m3.medium")


def test_a_paravirtual_image_runs_on_old_types_only(cloud: LocalEc2, ec2: Any, blank: Path) -> None:
    image = cloud.register_source(cloud.import_image(blank), "old-pv")
    with pytest.raises(ClientError) as refused:
        run(ec2, image)
    assert code_of(refused) == "InvalidParameterCombination"
    run(ec2, image, InstanceType="m1.small")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "t99.huge"}, "InvalidParameterValue"),
        ({"UserData": "x" * (16 * 1024 + 1)}, "InvalidParameterValue"),
    ],
)
def test_run_instances_refuses(
    cloud: LocalEc2, ec2: Any, blank: Path, options: dict[str, Any], code: str
) -> None:
    image = register(cloud, ec2, blank, EnaSupport=True)
    with pytest.raises(ClientError) as refused:
        run(ec2, image, **options)
    assert code_of(refused) == code


def test_a_pending_image_does_not_run(cloud: LocalEc2, ec2: Any, blank: Path) -> None:
    image = ec2.register_image(
        Name="image",
        Architecture="x86_64",
        VirtualizationType="hvm",
        EnaSupport=True,
        **root_mapping(cloud.import_image(blank)),
    )["ImageId"]
    with pytest.raises(ClientError) as refused:
        run(ec2, image)
    assert code_of(refused) == "InvalidAMIID.Unavailable"


def test_the_same_client_token_starts_one_instance(cloud: LocalEc2, ec2: Any, blank: Path) -> None:
    image = register(cloud, ec2, blank, EnaSupport=True)
    first = run(ec2, image, ClientToken="t")["Instances"][0]["InstanceId"]
    assert run(ec2, image, ClientToken="t")["Instances"][0]["InstanceId"] == first
    with pytest.raises(ClientError) as refused:
        run(ec2, image, ClientToken="t", InstanceType="t3.large")
    assert code_of(refused) == "IdempotentParameterMismatch"
    cloud.wait_state(first, "running", 10)
    ec2.terminate_instances(InstanceIds=[first])
    cloud.wait_state(first, "terminated", 10)
    with pytest.raises(ClientError) as refused:
        run(ec2, image, ClientToken="t")
    assert code_of(refused) == "IdempotentInstanceTerminated"


def test_the_root_volume_goes_with_the_instance_others_stay(
    cloud: LocalEc2, ec2: Any, helper_instance: str
) -> None:
    kept, dropped = make_volume(cloud, ec2), make_volume(cloud, ec2)
    for volume, device in ((kept, "/dev/sdf"), (dropped, "/dev/sdg")):
        ec2.attach_volume(VolumeId=volume, InstanceId=helper_instance, Device=device)
    ec2.modify_instance_attribute(
        InstanceId=helper_instance,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdg", "Ebs": {"DeleteOnTermination": True}}],
    )
    with pytest.raises(ClientError) as refused:
        ec2.modify_instance_attribute(
            InstanceId=helper_instance,
            BlockDeviceMappings=[{"DeviceName": "/dev/sdz", "Ebs": {"DeleteOnTermination": True}}],
        )
    assert code_of(refused) == "InvalidInstanceAttributeValue"
    mappings = instance_of(ec2, helper_instance)["BlockDeviceMappings"]
    flags = {m["DeviceName"]: m["Ebs"]["DeleteOnTermination"] for m in mappings}
    assert flags == {"/dev/xvda": True, "/dev/sdf": False, "/dev/sdg": True}
    before = ec2.terminate_instances(InstanceIds=[helper_instance])["TerminatingInstances"][0]
    assert before["PreviousState"]["Name"] == "running"
    assert cloud.instance_state(helper_instance) == "shutting-down"
    cloud.wait_state(helper_instance, "terminated", 10)
    cloud.wait("volumes", lambda: len(ec2.describe_volumes()["Volumes"]) == 1, 10)
    left = ec2.describe_volumes()["Volumes"][0]
    assert (left["VolumeId"], left["State"]) == (kept, "available")


@pytest.mark.parametrize(("behavior", "state"), [("terminate", "terminated"), ("stop", "stopped")])
def test_what_a_guest_poweroff_means(
    cloud: LocalEc2, ec2: Any, blank: Path, behavior: str, state: str
) -> None:
    image = register(cloud, ec2, blank, EnaSupport=True)
    instance = cloud.run_instance(image, shutdown=behavior)
    cloud.wait_state(instance, "running", 10)
    guest_of(cloud, instance).write_console(b"bye\n")
    guest_of(cloud, instance).press_off()
    cloud.wait_state(instance, state, 10)
    reason = instance_of(ec2, instance)["StateReason"]["Code"]
    assert reason == "Client.InstanceInitiatedShutdown"
    # boto3 has decoded it already.
    assert ec2.get_console_output(InstanceId=instance)["Output"] == "bye\n"


def test_a_stopped_instance_starts_with_its_volumes(
    cloud: LocalEc2, ec2: Any, helper_instance: str
) -> None:
    ec2.stop_instances(InstanceIds=[helper_instance])
    cloud.wait_state(helper_instance, "stopped", 10)
    assert len(instance_of(ec2, helper_instance)["BlockDeviceMappings"]) == 1
    ec2.start_instances(InstanceIds=[helper_instance])
    cloud.wait_state(helper_instance, "running", 10)
    ec2.terminate_instances(InstanceIds=[helper_instance])
    cloud.wait_state(helper_instance, "terminated", 10)
    with pytest.raises(ClientError) as refused:
        ec2.start_instances(InstanceIds=[helper_instance])
    assert code_of(refused) == "IncorrectInstanceState"


def test_protection_and_shutdown_behavior_can_be_changed(
    cloud: LocalEc2, ec2: Any, helper_instance: str
) -> None:
    groups = instance_of(ec2, helper_instance)["SecurityGroups"]
    ec2.modify_instance_attribute(InstanceId=helper_instance, DisableApiTermination={"Value": True})
    with pytest.raises(ClientError) as refused:
        ec2.terminate_instances(InstanceIds=[helper_instance])
    assert code_of(refused) == "OperationNotPermitted"
    ec2.modify_instance_attribute(
        InstanceId=helper_instance, InstanceInitiatedShutdownBehavior={"Value": "stop"}
    )
    assert instance_of(ec2, helper_instance)["SecurityGroups"] == groups
    guest_of(cloud, helper_instance).press_off()
    cloud.wait_state(helper_instance, "stopped", 10)


def test_the_console_keeps_its_last_64_kib(cloud: LocalEc2, ec2: Any, helper_instance: str) -> None:
    guest_of(cloud, helper_instance).write_console(b"x" * 100_000 + b"\xff\x00end")
    output = ec2.get_console_output(InstanceId=helper_instance)["Output"]
    assert output.endswith("end")
    assert len(output) == 64 * 1024


def test_a_launch_template_gives_profile_and_shutdown_behavior(
    cloud: LocalEc2, ec2: Any, blank: Path
) -> None:
    image = register(cloud, ec2, blank, EnaSupport=True)
    ec2.create_launch_template(
        LaunchTemplateName="helper",
        LaunchTemplateData={
            "ImageId": image,
            "InstanceType": "t3.small",
            "InstanceInitiatedShutdownBehavior": "terminate",
            "IamInstanceProfile": {"Name": HELPER_ROLE},
        },
    )
    cloud.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="helpers",
        MinSize=0,
        MaxSize=1,
        DesiredCapacity=1,
        AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateName": "helper", "Version": "$Default"},
    )
    reservation = ec2.describe_instances()["Reservations"][0]
    instance = reservation["Instances"][0]["InstanceId"]
    cloud.wait_state(instance, "running", 10)
    local = cloud.backend.get_instance(instance).local  # type: ignore[attr-defined]
    assert local.role_name == HELPER_ROLE
    cloud.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=instance, ShouldDecrementDesiredCapacity=True
    )
    cloud.wait_state(instance, "terminated", 10)
    assert len(ec2.describe_instances()["Reservations"]) == 1
