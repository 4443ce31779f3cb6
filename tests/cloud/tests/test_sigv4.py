"""Signatures are verified on the bytes that arrived."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localec2.errors import ApiError
from localec2.sigv4 import RawRequest, Signature, parse_authorization, verify

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def signed(service: str, method: str, target: str, body: bytes = b"", **headers: str) -> RawRequest:
    """A request that botocore signed."""
    host = f"{service}.us-east-1.amazonaws.com"
    request = AWSRequest(method=method, url=f"https://{host}{target}", data=body, headers=headers)
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    kind(Credentials("AKIDEXAMPLE", SECRET, "a-token"), service, "us-east-1").add_auth(request)
    items = [("host", host)] + [(k.lower(), v) for k, v in request.headers.items()]
    return RawRequest(method, target, tuple(items), body)


def check(request: RawRequest, now: datetime.datetime | None = None, secret: str = SECRET) -> None:
    signature = parse_authorization(request)
    assert signature is not None
    moment = now or datetime.datetime.now(datetime.UTC)
    verify(request, signature, secret, skew_seconds=300, now=lambda: moment)


def changed(request: RawRequest, name: str, value: str | None) -> RawRequest:
    """The request with one header replaced, or removed."""
    others = tuple((k, v) for k, v in request.headers if k != name)
    return replace(request, headers=others if value is None else (*others, (name, value)))


QUERY = b"Action=DescribeImages&Version=2016-11-15&Filter.1.Value.1=a%20b"


@pytest.mark.parametrize(
    ("service", "method", "target", "body"),
    [
        ("ec2", "POST", "/", QUERY),
        ("ec2", "GET", "/?Version=2016-11-15&Action=DescribeTags&Empty=", b""),
        ("sqs", "POST", "/", b'{"QueueUrl": "https://x"}'),
        ("s3", "GET", "/bucket/jobs/a%20b%2Bc//d.yaml?versionId=x%3D", b""),
        ("s3", "PUT", "/bucket/key", b"content"),
        ("ebs", "GET", "/snapshots/snap-1/blocks?maxResults=100&pageToken=a%2Fb", b""),
    ],
)
def test_what_botocore_signs_is_accepted(
    service: str, method: str, target: str, body: bytes
) -> None:
    check(signed(service, method, target, body))


def test_a_published_example_is_accepted() -> None:
    # "get-vanilla-query-order-key-case" of the AWS SigV4 test suite.
    request = RawRequest(
        "GET",
        "/?Param2=value2&Param1=value1",
        (
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                "SignedHeaders=host;x-amz-date, "
                "Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ),
        b"",
    )
    check(request, datetime.datetime(2015, 8, 30, 12, 36, tzinfo=datetime.UTC))


def refusal(request: RawRequest, **options: object) -> str:
    with pytest.raises(ApiError) as refused:
        check(request, **options)  # type: ignore[arg-type]
    return refused.value.code


def test_any_change_is_noticed() -> None:
    request = signed("ec2", "POST", "/", QUERY)
    assert refusal(request, secret=SECRET.lower()) == "AuthFailure"
    assert refusal(replace(request, body=QUERY + b"x")) == "AuthFailure"
    assert refusal(replace(request, target="/other")) == "AuthFailure"
    assert refusal(changed(request, "x-amz-security-token", "another")) == "AuthFailure"


def test_unsigned_amz_headers_are_refused() -> None:
    request = signed("ec2", "POST", "/", QUERY)
    assert refusal(changed(request, "x-amz-extra", "1")) == "SignatureDoesNotMatch"
    assert refusal(changed(request, "host", None)) == "SignatureDoesNotMatch"


def test_s3_needs_the_hash_of_the_body() -> None:
    request = signed("s3", "PUT", "/bucket/key", b"content")
    assert refusal(replace(request, body=b"Content")) == "XAmzContentSHA256Mismatch"
    assert refusal(changed(request, "x-amz-content-sha256", None)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("service", "code"),
    [("ec2", "RequestExpired"), ("s3", "RequestTimeTooSkewed"), ("sqs", "SignatureDoesNotMatch")],
)
def test_a_clock_that_is_wrong_is_refused(service: str, code: str) -> None:
    request = signed(service, "GET", "/")
    now = datetime.datetime.now(datetime.UTC)
    check(request, now=now + datetime.timedelta(minutes=4))
    assert refusal(request, now=now + datetime.timedelta(minutes=6)) == code
    assert refusal(request, now=now - datetime.timedelta(minutes=6)) == code


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/ec2, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=A/20150830/us-east-1/ec2/aws4_request, Signature=" + "0" * 64,
    ],
)
def test_a_malformed_header_is_refused(header: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_authorization(RawRequest("GET", "/", (("authorization", header),), b""))
    assert refused.value.code == "IncompleteSignature"


def test_other_schemes_are_not_signatures() -> None:
    basic = RawRequest("GET", "/", (("authorization", "Basic eA=="),), b"")
    assert parse_authorization(basic) is None
    assert parse_authorization(RawRequest("GET", "/", (), b"")) is None


def test_the_scope_is_read() -> None:
    signature = parse_authorization(signed("ec2", "POST", "/", QUERY))
    assert isinstance(signature, Signature)
    assert (signature.access_key, signature.service) == ("AKIDEXAMPLE", "ec2")
