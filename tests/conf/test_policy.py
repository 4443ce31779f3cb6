# SPDX-License-Identifier: Apache-2.0
"""conf/iam grants the calls that the sources make, and no other."""

import fnmatch
import hashlib
import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).parents[2]
POLICY = json.loads((ROOT / "conf/iam/helper-policy.json").read_text())


def granted():
    """Every action that a statement allows: "ec2:CreateTags"."""
    actions = set()
    for statement in POLICY["Statement"]:
        assert statement["Effect"] == "Allow", statement["Sid"]
        listed = statement["Action"]
        actions |= {listed} if isinstance(listed, str) else set(listed)
    return actions


def test_what_is_granted_is_what_the_clients_ask_for():
    source = (ROOT / "agent/aws/ec2_requests.cpp").read_text()
    asked = re.findall(r'\baction\("(\w+)"\)', source)
    functions = set(re.findall(r"^QueryForm (\w+)\(", source, re.M)) - {"action"}
    assert len(asked) == len(functions) >= 16
    # An object of S3, or one version of it.
    assert granted() == {f"ec2:{name}" for name in asked} | {"s3:GetObject", "s3:GetObjectVersion"}


def test_the_pointer_example_is_readable_and_true():
    job = yaml.safe_load((ROOT / "conf/jobs/s3-pointer.yaml").read_text())["job"]
    (fetch,) = [statement for statement in POLICY["Statement"]
                if "s3:GetObject" in statement["Action"]]
    assert fnmatch.fnmatchcase(f"arn:aws:s3:::{job['s3']}", fetch["Resource"])
    document = ROOT / "conf/jobs" / job["s3"].rsplit("/", 1)[1]
    assert hashlib.sha256(document.read_bytes()).hexdigest() == job["sha256"]
