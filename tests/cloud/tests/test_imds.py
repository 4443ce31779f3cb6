"""The metadata service speaks IMDSv2 and nothing else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import QUICK

from localec2 import HELPER_ROLE, Effect, Fault, Keys, LocalEc2, Settings

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"


class Client:
    """A metadata client with one kept-alive connection."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        self.connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        reply = self.connection.getresponse()
        return reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()}

    def token(self, seconds: int = 60) -> str:
        status, body, _ = self.ask("PUT", "/latest/api/token", **{TTL: str(seconds)})
        assert status == 200
        return body.decode()

    def get(self, path: str, token: str) -> str:
        status, body, _ = self.ask("GET", path, **{TOKEN: token})
        assert status == 200, path
        return body.decode()


@pytest.fixture
def imds(cloud: LocalEc2, helper_instance: str) -> Client:
    url = cloud.metadata_url(helper_instance)
    assert url is not None
    return Client(url)


def test_a_token_is_needed(imds: Client) -> None:
    path = "/latest/meta-data/instance-id"
    assert imds.ask("GET", path)[0] == 401
    assert imds.ask("GET", path, **{TOKEN: "wrong"})[0] == 401
    assert imds.get(path, imds.token()).startswith("i-")


@pytest.mark.parametrize("ttl", ["0", "21601", "-1", "many", ""])
def test_the_lifetime_of_a_token_is_checked(imds: Client, ttl: str) -> None:
    assert imds.ask("PUT", "/latest/api/token", **{TTL: ttl})[0] == 400


def test_forwarded_and_dated_token_requests_are_refused(imds: Client) -> None:
    forwarded = {TTL: "60", "X-Forwarded-For": "10.0.0.1"}
    assert imds.ask("PUT", "/latest/api/token", **forwarded)[0] == 403
    assert imds.ask("PUT", "/2021-07-15/api/token", **{TTL: "60"})[0] == 403
    assert imds.ask("POST", "/latest/api/token", **{TTL: "60"})[0] == 405


def test_a_token_ends(cloud: LocalEc2, imds: Client) -> None:
    token = imds.token(1)
    status, _, headers = imds.ask("GET", "/latest/meta-data/", **{TOKEN: token})
    assert status == 200
    assert int(headers[TTL.lower()]) <= 1
    cloud.pause(1.1)
    assert imds.ask("GET", "/latest/meta-data/", **{TOKEN: token})[0] == 401


def test_the_data_is_the_instance_s(cloud: LocalEc2, imds: Client, helper_instance: str) -> None:
    token = imds.token()
    instance = cloud.backend.get_instance(helper_instance)
    expected = {
        "instance-id": helper_instance,
        "ami-id": instance.image_id,
        "instance-type": "t3.small",
        "local-ipv4": instance.private_ip_address,
        "placement/region": "us-east-1",
        "placement/availability-zone": "us-east-1a",
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        "iam/security-credentials/": HELPER_ROLE,
    }
    for path, value in expected.items():
        assert imds.get(f"/latest/meta-data/{path}", token) == value
    listing = imds.get("/latest/meta-data/", token).splitlines()
    assert "placement/" in listing
    assert "instance-id" in listing
    document = json.loads(imds.get("/latest/dynamic/instance-identity/document", token))
    assert (document["instanceId"], document["region"]) == (helper_instance, "us-east-1")
    for path in ("meta-data/nothing", "meta-data/iam/security-credentials/other", "user-data"):
        assert imds.ask("GET", f"/latest/{path}", **{TOKEN: token})[0] == 404


def test_user_data_comes_as_bytes(cloud: LocalEc2, blank: Path) -> None:
    image = cloud.register_helper(cloud.import_image(blank), blank)
    data = "#amilift\nsource: {ami: ami-é}\r\n"
    instance = cloud.run_instance(image, user_data=data)
    cloud.wait_state(instance, "running", 10)
    url = cloud.metadata_url(instance)
    assert url is not None
    imds = Client(url)
    token = imds.token()
    assert imds.ask("GET", "/latest/user-data", **{TOKEN: token})[1] == data.encode()
    # No profile: no role.
    assert (
        imds.ask("GET", "/latest/meta-data/iam/security-credentials/", **{TOKEN: token})[0] == 404
    )


def test_role_credentials_work_and_are_renewed(
    start: Callable[[Settings], LocalEc2], blank: Path
) -> None:
    cloud = start(replace(QUICK, credential_seconds=2))
    image = cloud.register_helper(cloud.import_image(blank), blank)
    instance = cloud.run_instance(image, profile=HELPER_ROLE)
    cloud.wait_state(instance, "running", 10)
    imds = Client(cloud.metadata_url(instance) or "")
    token = imds.token()
    path = f"/latest/meta-data/iam/security-credentials/{HELPER_ROLE}"

    def credentials() -> dict[str, str]:
        found: dict[str, str] = json.loads(imds.get(path, token))
        return found

    first = credentials()
    assert first["Code"] == "Success"
    assert credentials() == first
    keys = Keys(first["AccessKeyId"], first["SecretAccessKey"], first["Token"])
    who = cloud.client("sts", keys).get_caller_identity()["Arn"]
    assert who.endswith(f":assumed-role/{HELPER_ROLE}/{instance}")
    cloud.pause(1.2)
    assert credentials()["AccessKeyId"] != first["AccessKeyId"]


def test_instance_tags_when_enabled(cloud: LocalEc2, imds: Client, helper_instance: str) -> None:
    token = imds.token()
    ec2 = cloud.client("ec2")
    ec2.create_tags(Resources=[helper_instance], Tags=[{"Key": "Name", "Value": "helper"}])
    path = "/latest/meta-data/tags/instance/Name"
    assert imds.ask("GET", path, **{TOKEN: token})[0] == 404
    ec2.modify_instance_metadata_options(
        InstanceId=helper_instance, HttpEndpoint="enabled", InstanceMetadataTags="enabled"
    )
    assert imds.get(path, token) == "helper"


def test_a_disabled_endpoint_refuses_everything(
    cloud: LocalEc2, imds: Client, helper_instance: str
) -> None:
    cloud.client("ec2").modify_instance_metadata_options(
        InstanceId=helper_instance, HttpEndpoint="disabled"
    )
    assert imds.ask("PUT", "/latest/api/token", **{TTL: "60"})[0] == 403


def test_metadata_faults(cloud: LocalEc2, imds: Client) -> None:
    cloud.faults.add(Fault("imds:PUT /latest/api/token", Effect.error, count=2, status=503))
    assert [imds.ask("PUT", "/latest/api/token", **{TTL: "60"})[0] for _ in range(3)] == [
        503,
        503,
        200,
    ]
    token = imds.token()
    cloud.faults.add(Fault("imds:GET /latest/meta-data/*", Effect.drop))
    with pytest.raises(http.client.RemoteDisconnected):
        imds.get("/latest/meta-data/instance-id", token)
    imds.connection.close()
    assert imds.get("/latest/meta-data/instance-id", token)
    assert cloud.faults.remaining() == []
