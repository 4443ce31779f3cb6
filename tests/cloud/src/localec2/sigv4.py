"""Verification of AWS Signature Version 4 on the bytes that arrived.

moto has a check of its own, but it rebuilds form bodies before hashing them and so refuses
requests that AWS accepts (a space sent as `%20`). Here the raw target, headers and body count.
The rules follow the "Create a signed AWS API request" page of the IAM user guide.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from .errors import ApiError

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Signature:
    """The parts of an Authorization header."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class RawRequest:
    """A request as it came over the wire. Header names are lower case, values as sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


def parse_authorization(request: RawRequest) -> Signature | None:
    """The request's signature, or None when the request is not signed with SigV4 at all."""
    header = request.header("authorization")
    if header is None or not header.startswith(_ALGORITHM):
        return None
    match = _AUTHORIZATION.fullmatch(header.strip())
    if match is None:
        raise ApiError(
            400, "IncompleteSignature", f"Authorization header is not well formed: {header[:60]!r}"
        )
    key, date, region, service, signed, signature = match.groups()
    return Signature(key, date, region, service, tuple(signed.split(";")), signature)


def verify(
    request: RawRequest,
    signature: Signature,
    secret: str,
    *,
    skew_seconds: int,
    now: Callable[[], datetime.datetime],
) -> None:
    """Raise ApiError unless `signature` was made with `secret` over exactly this request."""
    stamp = _timestamp(request, signature, skew_seconds, now())
    _check_signed_headers(request, signature)
    payload_hash = _payload_hash(request, signature.service)
    canonical = canonical_request(request, signature, payload_hash)
    scope = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    key = f"AWS4{secret}".encode()
    for part in (signature.date, signature.region, signature.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature.signature):
        code = "AuthFailure" if signature.service == "ec2" else "SignatureDoesNotMatch"
        raise ApiError(
            401 if signature.service == "ec2" else 403,
            code,
            "The request signature we calculated does not match the signature you provided. "
            f"The canonical request should have been {canonical!r}",
        )


def _timestamp(
    request: RawRequest, signature: Signature, skew_seconds: int, now: datetime.datetime
) -> str:
    stamp = request.header("x-amz-date") or ""
    try:
        moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise ApiError(
            400, "IncompleteSignature", f"X-Amz-Date is {stamp!r}, expected YYYYMMDDTHHMMSSZ"
        ) from None
    if not stamp.startswith(signature.date):
        raise ApiError(
            403,
            "SignatureDoesNotMatch",
            f"Date in Credential scope {signature.date!r} does not match X-Amz-Date {stamp!r}",
        )
    if abs((now - moment).total_seconds()) > skew_seconds:
        codes = {"ec2": "RequestExpired", "s3": "RequestTimeTooSkewed"}
        raise ApiError(
            403 if signature.service == "s3" else 400,
            codes.get(signature.service, "SignatureDoesNotMatch"),
            f"Signature not yet current or expired: request time {stamp}, "
            f"server time {now:%Y%m%dT%H%M%SZ}",
        )
    return stamp


def _check_signed_headers(request: RawRequest, signature: Signature) -> None:
    present = {name for name, _ in request.headers}
    required = {"host"} | {name for name in present if name.startswith("x-amz-")}
    missing = sorted(required - set(signature.signed_headers))
    if missing:
        raise ApiError(
            403,
            "AccessDenied" if signature.service == "s3" else "SignatureDoesNotMatch",
            f"There were headers present in the request which were not signed: {missing}",
        )
    absent = sorted(set(signature.signed_headers) - present)
    if absent:
        raise ApiError(
            403,
            "SignatureDoesNotMatch",
            f"SignedHeaders names headers that were not sent: {absent}",
        )


def _payload_hash(request: RawRequest, service: str) -> str:
    declared = request.header("x-amz-content-sha256")
    actual = hashlib.sha256(request.body).hexdigest()
    if declared is None:
        if service == "s3":
            raise ApiError(
                400,
                "InvalidRequest",
                "Missing required header for this request: x-amz-content-sha256",
            )
        return actual
    if declared not in _UNSIGNED and declared != actual:
        raise ApiError(
            400,
            "XAmzContentSHA256Mismatch",
            f"x-amz-content-sha256 is {declared!r}, the body's hash is {actual!r}",
        )
    return declared


def canonical_request(request: RawRequest, signature: Signature, payload_hash: str) -> str:
    """The canonical request of the specification, from the raw request."""
    path, _, query = request.target.partition("?")
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(" ".join(value.split()))
    lines = "".join(
        f"{name}:{','.join(headers.get(name, []))}\n" for name in signature.signed_headers
    )
    return "\n".join(
        (
            request.method,
            _canonical_path(path, signature.service),
            _canonical_query(query),
            lines,
            ";".join(signature.signed_headers),
            payload_hash,
        )
    )


def _canonical_path(path: str, service: str) -> str:
    # S3 takes the path literally and encodes it once; the others normalise and encode again.
    if service == "s3":
        return quote(unquote(path), safe="/-_.~") or "/"
    normal = posixpath.normpath("/" + path.lstrip("/"))
    if path.endswith("/") and normal != "/":
        normal += "/"
    return quote(normal, safe="/-_.~")


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def lower_headers(
    headers: Mapping[str, str] | list[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """Headers with lower-case names, order and repetitions kept."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name.lower(), value) for name, value in items)
