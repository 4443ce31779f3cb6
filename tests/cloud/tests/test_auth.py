"""Requests need a known key, a good signature and a current session."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, SSLError
from conftest import QUICK
from support import code_of, status_of

from localec2 import HELPER_ROLE, Keys, LocalEc2, Settings


def refusal(client: Any) -> tuple[int, str]:
    service = client.meta.service_model.service_name
    calls = {"ec2": "describe_volumes", "s3": "list_buckets", "sqs": "list_queues"}
    with pytest.raises(ClientError) as refused:
        getattr(client, calls[service])()
    return status_of(refused), code_of(refused)


def test_a_wrong_secret_is_refused(cloud: LocalEc2) -> None:
    wrong = replace(cloud.admin, secret_key="wrong")
    assert refusal(cloud.client("ec2", wrong)) == (401, "AuthFailure")
    assert refusal(cloud.client("s3", wrong)) == (403, "SignatureDoesNotMatch")
    assert refusal(cloud.client("sqs", wrong)) == (403, "SignatureDoesNotMatch")


def test_an_unknown_key_is_refused(cloud: LocalEc2) -> None:
    unknown = Keys("AKIAXXXXXXXXXXXXXXXX", "x")
    assert refusal(cloud.client("ec2", unknown)) == (401, "AuthFailure")
    assert refusal(cloud.client("s3", unknown)) == (403, "InvalidAccessKeyId")
    assert refusal(cloud.client("sqs", unknown)) == (403, "InvalidClientTokenId")


def test_role_credentials_need_their_token(cloud: LocalEc2, helper_keys: Keys) -> None:
    assert cloud.client("ec2", helper_keys).describe_volumes()["Volumes"]
    for token in (None, "another"):
        wrong = replace(helper_keys, token=token)
        assert refusal(cloud.client("ec2", wrong)) == (401, "AuthFailure")


def test_role_credentials_expire(start: Callable[[Settings], LocalEc2]) -> None:
    cloud = start(replace(QUICK, credential_seconds=1))
    minted = cloud.mint_credentials("i-0123456789abcdef0", HELPER_ROLE)
    keys = Keys(minted["AccessKeyId"], minted["SecretAccessKey"], minted["Token"])
    cloud.client("ec2", keys).describe_volumes()
    cloud.pause(1.2)
    assert refusal(cloud.client("ec2", keys)) == (400, "RequestExpired")
    assert refusal(cloud.client("sqs", keys)) == (400, "ExpiredToken")


def test_an_unsigned_request_is_refused(cloud: LocalEc2) -> None:
    connection = http.client.HTTPConnection(urlsplit(cloud.endpoint).netloc, timeout=10)
    body = "Action=DescribeVolumes&Version=2016-11-15"
    connection.request("POST", "/", body, {"Host": "ec2.us-east-1.amazonaws.com"})
    reply = connection.getresponse()
    assert reply.status == 401
    assert b"<Code>AuthFailure</Code>" in reply.read()
    # The same connection goes on: keep-alive, also after an error.
    connection.request("GET", "/moto-api/data.json")
    assert connection.getresponse().status == 403


def test_another_region_is_refused(cloud: LocalEc2) -> None:
    client = cloud.client("ec2")
    client.meta.events.register(
        "choose-signer.ec2.*", lambda context, **_: context.update(signing={"region": "eu-west-1"})
    )
    assert refusal(client) == (403, "AuthFailure")


def test_the_log_says_who_called(cloud: LocalEc2, helper_instance: str, helper_keys: Keys) -> None:
    cloud.wire.clear()
    cloud.client("ec2", helper_keys).describe_volumes()
    refusal(cloud.client("ec2", replace(cloud.admin, secret_key="wrong")))
    first, second = cloud.wire.calls()
    assert (first.who, first.action, first.status) == (
        f"{HELPER_ROLE}/{helper_instance}",
        "DescribeVolumes",
        200,
    )
    assert (second.who, second.status, second.code) == ("", 401, "AuthFailure")


def test_tls_with_the_private_authority_only(cloud: LocalEc2) -> None:
    assert cloud.client("ec2", tls=True).describe_volumes()["Volumes"] == []
    stranger = cloud.client("ec2", tls=True)
    stranger._endpoint.http_session._verify = True
    with pytest.raises(SSLError):
        stranger.describe_volumes()
