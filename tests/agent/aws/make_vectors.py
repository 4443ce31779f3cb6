#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files of tests/data/aws from botocore, the reference implementation.

  make_vectors.py            write requests.json, signatures.json, responses.json and modelled replies
  make_vectors.py --check    write nothing; exit 1 if a file differs from what would be written,
                             77 if botocore is not there in the pinned version
  make_vectors.py --suite D  also turn AWS's Signature Version 4 test suite (directory
                             tests/unit/auth/aws4_testsuite of botocore's sdist) into suite.json

The C++ tests build the same requests with amilift's own code and compare.
"""

import argparse
import datetime
import json
import pathlib
import re
import sys
import urllib.parse
from unittest import mock

PINNED = "1.43.11"
DATA = pathlib.Path(__file__).resolve().parents[2] / "data" / "aws"
TIME = datetime.datetime(2026, 11, 21, 9, 30, 0, tzinfo=datetime.timezone.utc)
# Published example keys; they open nothing.
KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJHMEUCIQ=="

# --- requests -----------------------------------------------------------------------------------

AWKWARD = "a b+c&d=e/f?g:h%20~*'()\"<>é日本\t."
REQUESTS = {
    "describe_images_by_id": ("DescribeImages", {
        "ImageIds": ["ami-11111111", "ami-0123456789abcdef0"], "IncludeDeprecated": True}),
    "describe_images_by_owner_and_filter": ("DescribeImages", {
        "Owners": ["self", "123456789012"],
        "Filters": [{"Name": "name", "Values": ["web-2011*", AWKWARD]},
                    {"Name": "tag:amilift:job", "Values": ["web-2011"]}],
        "IncludeDeprecated": True, "MaxResults": 500}),
    "describe_images_of_pv_grub": ("DescribeImages", {
        "Owners": ["amazon"],
        "Filters": [{"Name": "image-type", "Values": ["kernel"]},
                    {"Name": "name", "Values": ["pv-grub-hd0_*"]}],
        "IncludeDeprecated": True, "MaxResults": 500}),
    "describe_volumes_by_filter_second_page": ("DescribeVolumes", {
        "Filters": [{"Name": "tag:amilift:job", "Values": ["web-2011"]}],
        "MaxResults": 500, "NextToken": "AAMA/+=="}),
    "describe_volumes_by_id": ("DescribeVolumes", {"VolumeIds": ["vol-1", "vol-2", "vol-3"]}),
    "describe_snapshots_by_id": ("DescribeSnapshots", {"SnapshotIds": ["snap-1"]}),
    "describe_snapshots_by_filter": ("DescribeSnapshots", {
        "OwnerIds": ["self"], "Filters": [{"Name": "status", "Values": ["pending", "completed"]}],
        "MaxResults": 500}),
    "describe_instances_by_id": ("DescribeInstances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    "describe_instances_by_filter": ("DescribeInstances", {
        "Filters": [{"Name": "instance-state-name", "Values": ["running"]}], "MaxResults": 500}),
    "create_volume_minimal": ("CreateVolume", {
        "AvailabilityZone": "eu-west-1a", "Size": 11, "VolumeType": "gp3"}),
    "create_volume_full": ("CreateVolume", {
        "AvailabilityZone": "eu-west-1a", "SnapshotId": "snap-0123456789abcdef0", "Size": 11,
        "VolumeType": "gp3", "Encrypted": True, "KmsKeyId": "alias/amilift key",
        "ClientToken": "web-2011-target-1",
        "TagSpecifications": [{"ResourceType": "volume", "Tags": [
            {"Key": "amilift:job", "Value": "web-2011"}, {"Key": "note", "Value": AWKWARD}]}]}),
    "attach_volume": ("AttachVolume", {
        "VolumeId": "vol-1", "InstanceId": "i-1", "Device": "/dev/sdf"}),
    "detach_volume": ("DetachVolume", {"VolumeId": "vol-1", "InstanceId": "i-1"}),
    "detach_volume_forced": (
        "DetachVolume", {"VolumeId": "vol-1", "InstanceId": "i-1", "Force": True}),
    "delete_volume": ("DeleteVolume", {"VolumeId": "vol-1"}),
    "delete_volume_on_termination": ("ModifyInstanceAttribute", {
        "InstanceId": "i-1",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}]}),
    "create_snapshot_minimal": ("CreateSnapshot", {"VolumeId": "vol-1"}),
    "create_snapshot_full": ("CreateSnapshot", {
        "VolumeId": "vol-1", "Description": AWKWARD,
        "TagSpecifications": [{"ResourceType": "snapshot", "Tags": [
            {"Key": "amilift:job", "Value": "web-2011"}]}]}),
    "delete_snapshot": ("DeleteSnapshot", {"SnapshotId": "snap-1"}),
    "register_image_minimal": ("RegisterImage", {
        "Name": "web-hvm", "Architecture": "x86_64", "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda"}),
    "register_image_full": ("RegisterImage", {
        "Name": "web (2011) [hvm] ./-'@_", "Description": "HVM conversion of ami-1",
        "Architecture": "x86_64", "VirtualizationType": "hvm", "RootDeviceName": "/dev/xvda",
        "EnaSupport": True, "BootMode": "uefi", "TpmSupport": "v2.0", "ImdsSupport": "v2.0",
        "SriovNetSupport": "simple",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {
                "SnapshotId": "snap-1", "VolumeSize": 11, "VolumeType": "gp3", "Iops": 3000,
                "Throughput": 125, "DeleteOnTermination": True}},
            {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
            {"DeviceName": "/dev/sdc", "NoDevice": ""},
            {"DeviceName": "/dev/sdd", "Ebs": {
                "VolumeSize": 100, "DeleteOnTermination": False, "Encrypted": True}}],
        "TagSpecifications": [{"ResourceType": "image", "Tags": [
            {"Key": "Name", "Value": "web"}, {"Key": "amilift:job", "Value": "web-2011"}]}]}),
    "register_image_paravirtual": ("RegisterImage", {
        "Name": "web-pv", "Architecture": "i386", "VirtualizationType": "paravirtual",
        "RootDeviceName": "/dev/sda1", "KernelId": "aki-8f9dcae6",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-1"}}]}),
    "deregister_image": ("DeregisterImage", {"ImageId": "ami-1"}),
    "create_tags": ("CreateTags", {
        "Resources": ["vol-1", "snap-1"],
        "Tags": [{"Key": "amilift:state", "Value": "copying"},
                 {"Key": "empty", "Value": ""}, {"Key": "note", "Value": AWKWARD}]}),
    "terminate_instance": ("TerminateInstances", {"InstanceIds": ["i-1"]}),
    "stop_instance": ("StopInstances", {"InstanceIds": ["i-1"]}),
}


def service_model(name):
    import botocore.session

    return botocore.session.Session().get_service_model(name)


def serialized(model, operation, params):
    import botocore.serialize

    serializer = botocore.serialize.create_serializer(model.metadata["protocol"])
    request = serializer.serialize_to_request(params, model.operation_model(operation))
    assert request["method"] == "POST" and request["url_path"] == "/", request
    return {name: wire_value(value) for name, value in sorted(request["body"].items())}


def wire_value(value):
    """What botocore's HTTP layer writes for a parameter."""
    return value if isinstance(value, str) else str(value)


def make_requests():
    ec2 = service_model("ec2")
    return {name: serialized(ec2, op, params) for name, (op, params) in REQUESTS.items()}


# --- signatures ---------------------------------------------------------------------------------

SIGNATURES = [
    # name, service, method, host, path as on the wire, query, headers, body, session token
    ("ec2_post", "ec2", "POST", "ec2.eu-west-1.amazonaws.com", "/", [],
     [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
     "Action=DescribeVolumes&Version=2016-11-15", ""),
    ("ec2_post_with_token", "ec2", "POST", "ec2.eu-west-1.amazonaws.com", "/", [],
     [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
     "Action=DescribeVolumes&Version=2016-11-15", TOKEN),
    ("endpoint_with_port", "ec2", "POST", "vpce-0a1b-2c3d.ec2.eu-west-1.vpce.amazonaws.com:8443",
     "/", [], [], "Action=DescribeImages", TOKEN),
    ("sts_post", "sts", "POST", "sts.eu-west-1.amazonaws.com", "/", [], [],
     "Action=GetCallerIdentity&Version=2011-06-15", TOKEN),
    ("headers_with_spaces", "ec2", "POST", "ec2.eu-west-1.amazonaws.com", "/", [],
     [("X-Amz-Note", "  two   spaces  inside  "), ("x-amz-empty", ""), ("Te", "trailers"),
      ("User-Agent", "amilift"), ("X-Amz", "prefix of another name")], "", ""),
    ("path_is_normalized_and_encoded_again", "ebs", "GET", "ebs.eu-west-1.amazonaws.com",
     "/snapshots/./a%20b//c/../snap-1/", [("maxResults", "100"), ("pageToken", "a+b/c=="),
                                          ("Upper", "1"), ("empty", "")], [], "", TOKEN),
    ("query_is_sorted_after_encoding", "ebs", "GET", "ebs.eu-west-1.amazonaws.com", "/",
     [("b", "2"), ("a b", "x y"), ("a", "é"), ("a-", "~"), ("aB", "*")], [], "", ""),
    ("s3_plain", "s3", "GET", "jobs.s3.eu-west-1.amazonaws.com", "/web/job.yaml", [], [], "", TOKEN),
    ("s3_version", "s3", "GET", "jobs.s3.eu-west-1.amazonaws.com", "/web/job.yaml",
     [("versionId", "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY")], [], "", ""),
    ("s3_path_is_verbatim", "s3", "GET", "127.0.0.1:5000",
     "/jobs/a%20b//./../%C3%A9%2B%28x%29~'", [], [], "", TOKEN),
]


def make_signatures():
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    result = []
    for name, service, method, host, path, query, headers, body, token in SIGNATURES:
        encoded = urllib.parse.urlencode(query, quote_via=urllib.parse.quote, safe="-_.~")
        request = AWSRequest(method=method, url=f"https://{host}{path}" + f"?{encoded}" * bool(query),
                             headers=dict(headers), data=body)
        signer_class = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
        signer = signer_class(Credentials(KEY_ID, SECRET, token or None), service, "eu-west-1")
        canonical = []

        def remember(signed, signer=signer, canonical=canonical, real=signer.canonical_request):
            canonical.append(real(signed))
            return canonical[-1]

        with mock.patch.object(signer, "canonical_request", remember), \
                mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: TIME):
            signer.add_auth(request)
        authorization = request.headers["Authorization"]
        sent = [[key, value] for key, value in request.headers.items() if key != "Authorization"]
        result.append({
            "name": name, "service": service, "region": "eu-west-1", "time": int(TIME.timestamp()),
            "key_id": KEY_ID, "secret": SECRET, "method": method, "path": path,
            "query": [list(pair) for pair in query], "headers": [["Host", host], *sent],
            "body": body, "canonical_request": canonical[0], "authorization": authorization,
        })
    return result


def make_suite(directory):
    """AWS's own suite: *.req, *.creq (canonical request), *.sts (string to sign), *.authz."""
    result = []
    for req in sorted(pathlib.Path(directory).rglob("*.req")):
        head, _, body = req.read_text("utf-8").partition("\n\n")
        lines = head.split("\n")
        method, target = lines[0].split(" ", 1)
        target = target.rsplit(" ", 1)[0]
        path, _, query = target.partition("?")
        headers = []
        for line in lines[1:]:
            if line[:1] in (" ", "\t"):  # a folded header
                headers[-1][1] += "\n" + line
            elif line:
                headers.append(line.split(":", 1))
        # One case has its session token only in the expected request.
        creq = req.with_suffix(".creq").read_text("utf-8")
        tokens = re.findall("^(x-amz-security-token):(.*)$", creq, re.MULTILINE)
        known = {name.lower() for name, _ in headers}
        headers += [list(token) for token in tokens if token[0] not in known]
        pairs = [[urllib.parse.unquote(part) for part in item.partition("=")[::2]]
                 for item in query.split("&") if item]
        result.append({
            "name": req.stem, "service": "service", "region": "us-east-1",
            "time": int(datetime.datetime(2015, 8, 30, 12, 36,
                                          tzinfo=datetime.timezone.utc).timestamp()),
            "key_id": KEY_ID, "secret": SECRET, "method": method, "path": path, "query": pairs,
            "headers": headers, "body": body,
            "canonical_request": creq,
            "string_to_sign": req.with_suffix(".sts").read_text("utf-8"),
            "authorization": req.with_suffix(".authz").read_text("utf-8"),
        })
    assert len(result) >= 30, "this is not the suite"
    return result


# --- replies ------------------------------------------------------------------------------------

MODELLED = ["DescribeImages", "DescribeVolumes", "DescribeSnapshots", "DescribeInstances",
            "CreateVolume", "CreateSnapshot", "RegisterImage"]


def modelled_reply(model, operation):
    """A reply with every element that EC2's model knows; outer lists have two entries."""
    shape = model.operation_model(operation).output_shape
    counter = iter(range(1, 1_000_000))

    def element(name, shape, seen):
        indent = "  " * (len(seen) + 1)
        if shape.type_name == "structure":
            if seen.count(shape.name) > 0:
                return ""
            inner = "".join(element(member.serialization.get("name", key), member,
                                    seen + [shape.name])
                            for key, member in shape.members.items())
            return f"{indent}<{name}>\n{inner}{indent}</{name}>\n"
        if shape.type_name == "list":
            # Two of each would double the size with every level.
            count = 2 if seen.count("list") < 2 else 1
            items = "".join(element("item", shape.member, seen + ["list"]) for _ in range(count))
            return f"{indent}<{name}>\n{items}{indent}</{name}>\n"
        number = next(counter)
        if shape.type_name == "boolean":
            value = "true" if number % 2 else "false"
        elif shape.type_name in ("integer", "long", "float", "double"):
            value = str(number)
        elif shape.type_name == "timestamp":
            value = "2026-11-21T09:30:00.000Z"
        elif getattr(shape, "enum", None):
            value = shape.enum[number % len(shape.enum)]
        else:
            value = f"{name} {number} &lt;&amp;&gt; é"
        return f"{indent}<{name}>{value}</{name}>\n"

    inner = "".join(element(member.serialization.get("name", key), member, [])
                    for key, member in shape.members.items())
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation}Response '
            f'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">\n  <requestId>req-1</requestId>\n'
            f"{inner}</{operation}Response>\n")


def tags_of(parsed):
    return {tag["Key"]: tag["Value"] for tag in parsed.get("Tags", [])}


def mapping_of(parsed):
    ebs = parsed.get("Ebs", {})
    return {
        "device_name": parsed.get("DeviceName", ""), "virtual_name": parsed.get("VirtualName"),
        "no_device": "NoDevice" in parsed, "snapshot_id": ebs.get("SnapshotId"),
        "volume_size_gib": ebs.get("VolumeSize"), "volume_type": ebs.get("VolumeType"),
        "iops": ebs.get("Iops"), "throughput_mibps": ebs.get("Throughput"),
        "delete_on_termination": ebs.get("DeleteOnTermination"), "encrypted": ebs.get("Encrypted"),
    }


def image_of(parsed):
    names = {
        "id": "ImageId", "name": "Name", "description": "Description", "state": "State",
        "architecture": "Architecture", "virtualization_type": "VirtualizationType",
        "root_device_type": "RootDeviceType", "root_device_name": "RootDeviceName",
        "kernel_id": "KernelId", "ramdisk_id": "RamdiskId", "owner_id": "OwnerId",
        "platform": "Platform", "platform_details": "PlatformDetails",
        "usage_operation": "UsageOperation", "boot_mode": "BootMode",
        "tpm_support": "TpmSupport", "imds_support": "ImdsSupport",
        "sriov_net_support": "SriovNetSupport",
    }
    image = {ours: parsed.get(theirs, "") for ours, theirs in names.items()}
    image["state_reason"] = parsed.get("StateReason", {}).get("Message", "")
    image["ena_support"] = parsed.get("EnaSupport", False)
    image["product_codes"] = [code["ProductCodeId"] for code in parsed.get("ProductCodes", [])]
    image["block_devices"] = [mapping_of(m) for m in parsed.get("BlockDeviceMappings", [])]
    image["tags"] = tags_of(parsed)
    return image


def volume_of(parsed):
    return {
        "id": parsed["VolumeId"], "state": parsed.get("State", ""),
        "snapshot_id": parsed.get("SnapshotId", ""),
        "availability_zone": parsed.get("AvailabilityZone", ""),
        "size_gib": parsed.get("Size", 0),
        "attachments": [{"instance_id": a.get("InstanceId", ""), "device": a.get("Device", ""),
                         "state": a.get("State", ""),
                         "delete_on_termination": a.get("DeleteOnTermination", False)}
                        for a in parsed.get("Attachments", [])],
        "tags": tags_of(parsed),
    }


def snapshot_of(parsed):
    return {
        "id": parsed["SnapshotId"], "state": parsed.get("State", ""),
        "state_message": parsed.get("StateMessage", ""), "progress": parsed.get("Progress", ""),
        "volume_id": parsed.get("VolumeId", ""), "description": parsed.get("Description", ""),
        "size_gib": parsed.get("VolumeSize", 0), "encrypted": parsed.get("Encrypted", False),
        "tags": tags_of(parsed),
    }


def instance_of(parsed):
    return {
        "id": parsed["InstanceId"], "state": parsed.get("State", {}).get("Name", ""),
        "availability_zone": parsed.get("Placement", {}).get("AvailabilityZone", ""),
        "instance_type": parsed.get("InstanceType", ""),
        "block_devices": [mapping_of(m) for m in parsed.get("BlockDeviceMappings", [])],
        "tags": tags_of(parsed),
    }


PROJECTIONS = {
    "DescribeImages": lambda p: [image_of(i) for i in p.get("Images", [])],
    "DescribeVolumes": lambda p: [volume_of(v) for v in p.get("Volumes", [])],
    "DescribeSnapshots": lambda p: [snapshot_of(s) for s in p.get("Snapshots", [])],
    "DescribeInstances": lambda p: [instance_of(i) for r in p.get("Reservations", [])
                                    for i in r.get("Instances", [])],
    "CreateVolume": volume_of,
    "CreateSnapshot": snapshot_of,
    "RegisterImage": lambda p: p["ImageId"],
}


def make_responses(modelled):
    """What botocore reads from each reply, in the form of amilift's structs."""
    import botocore.parsers

    model = service_model("ec2")
    parser = botocore.parsers.create_parser("ec2")
    replies = {path.name: path.read_text("utf-8")
               for path in (DATA / "responses").glob("*.xml")} | modelled
    result = {}
    for name, xml in sorted(replies.items()):
        operation = name.split("-")[0]
        parsed = parser.parse({"status_code": 200, "headers": {}, "body": xml.encode()},
                              model.operation_model(operation).output_shape)
        result[name] = {"value": PROJECTIONS[operation](parsed),
                        "next_token": parsed.get("NextToken", "")}
    return result


# --- main ---------------------------------------------------------------------------------------

def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--suite", metavar="DIR")
    options = arguments.parse_args()
    try:
        import botocore
    except ImportError:
        print("skipped: botocore is not installed", file=sys.stderr)
        return 77
    if botocore.__version__ != PINNED:
        print(f"skipped: botocore {botocore.__version__} is installed, the golden files are made "
              f"with {PINNED}", file=sys.stderr)
        return 77

    ec2 = service_model("ec2")
    modelled = {f"{op}-modelled.xml": modelled_reply(ec2, op) for op in MODELLED}
    files = {f"responses/{name}": text for name, text in modelled.items()}
    documents = {"requests.json": make_requests(), "signatures.json": make_signatures(),
                 "responses.json": make_responses(modelled)}
    if options.suite:
        documents["suite.json"] = make_suite(options.suite)
    for name, document in documents.items():
        files[name] = json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    stale = [name for name, text in files.items()
             if not (DATA / name).exists() or (DATA / name).read_text("utf-8") != text]
    if options.check:
        for name in stale:
            print(f"tests/data/aws/{name} is not what botocore {PINNED} gives: run "
                  "tests/agent/aws/make_vectors.py", file=sys.stderr)
        return 1 if stale else 0
    (DATA / "responses").mkdir(parents=True, exist_ok=True)
    for name in stale:
        (DATA / name).write_text(files[name], "utf-8")
        print(f"wrote tests/data/aws/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
