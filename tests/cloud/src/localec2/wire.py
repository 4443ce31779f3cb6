"""What came over the wire: the request as the Local EC2 understands it, and the log of calls."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from .sigv4 import RawRequest, Signature

_XML_CODE = re.compile(rb"<Code>([^<]+)</Code>")
_S3_OBJECT_ACTIONS = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}
_S3_BUCKET_ACTIONS = {
    "GET": "ListBucket",
    "HEAD": "HeadBucket",
    "PUT": "CreateBucket",
    "DELETE": "DeleteBucket",
}


@dataclass(frozen=True)
class ApiRequest:
    """One API call: the raw request, and service, action and parameters read from it."""

    raw: RawRequest
    signature: Signature | None
    service: str
    action: str
    params: dict[str, str]

    def indexed(self, name: str) -> list[str]:
        """Values of the flattened list `name.1`, `name.2`, ... of the query protocols."""
        values = []
        index = 1
        while (value := self.params.get(f"{name}.{index}")) is not None:
            values.append(value)
            index += 1
        return values


def understand(raw: RawRequest, signature: Signature | None, region: str) -> ApiRequest:
    """Find out service, action and parameters of a request, without judging it."""
    service = signature.service if signature else _service_of_host(raw.header("host") or "", region)
    path, _, query = raw.target.partition("?")
    params = dict(parse_qsl(query, keep_blank_values=True))
    target = raw.header("x-amz-target")
    if service == "s3":
        action = _s3(raw, path, params)
    elif target is not None:
        action = target.rpartition(".")[2]
        params.update(_json_params(raw.body))
    else:
        if raw.body and service != "ebs":
            params.update(parse_qsl(raw.body.decode("utf-8", "replace"), keep_blank_values=True))
        action = params.get("Action") or f"{raw.method} {path}"
    return ApiRequest(raw, signature, service, action, params)


def _service_of_host(host: str, region: str) -> str:
    name = host.partition(":")[0].removesuffix(f".{region}.amazonaws.com")
    return name.rpartition(".")[2] if name != host else "unknown"


def _s3(raw: RawRequest, path: str, params: dict[str, str]) -> str:
    host = (raw.header("host") or "").partition(":")[0]
    bucket, dot, _ = host.partition(".s3.")
    key = unquote(path).lstrip("/")
    if not dot:
        bucket, _, key = key.partition("/")
    params["Bucket"], params["Key"] = bucket, key
    if key:
        action = _S3_OBJECT_ACTIONS.get(raw.method, raw.method)
        if action in ("GetObject", "HeadObject") and params.get("versionId"):
            action = "GetObjectVersion"
        return action
    if not bucket:
        return "ListAllMyBuckets"
    if raw.method == "PUT" and "versioning" in params:
        return "PutBucketVersioning"
    return _S3_BUCKET_ACTIONS.get(raw.method, raw.method)


def _json_params(body: bytes) -> dict[str, str]:
    try:
        fields = json.loads(body or b"{}")
    except ValueError:
        return {}
    if not isinstance(fields, dict):
        return {}
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}


@dataclass(frozen=True)
class Call:
    """One line of the wire log. `who` is a user name, or role/session for role credentials."""

    time: float
    origin: str
    who: str
    service: str
    action: str
    params: dict[str, str]
    status: int
    code: str

    def as_dict(self) -> dict[str, Any]:
        """The call as plain data for JSON."""
        return asdict(self)


def error_code(service: str, status: int, body: bytes) -> str:
    """The AWS error code in a reply, or '' for a success or a reply without one."""
    if status < 400:
        return ""
    match = _XML_CODE.search(body[:4096])
    if match:
        return match.group(1).decode()
    try:
        return str(json.loads(body).get("__type", "")).rpartition("#")[2]
    except (ValueError, AttributeError):
        return ""


@dataclass
class WireLog:
    """Every call in order of completion. Safe to use from several threads."""

    _calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: ApiRequest, *, origin: str, who: str, status: int, code: str) -> None:
        """Record a finished call; status 0 means that no answer was sent."""
        call = Call(
            time.time(), origin, who, request.service, request.action, request.params, status, code
        )
        with self._lock:
            self._calls.append(call)

    def calls(self, accept: Callable[[Call], bool] | None = None) -> list[Call]:
        """All calls so far, or those that `accept` says yes to."""
        with self._lock:
            calls = list(self._calls)
        return calls if accept is None else [call for call in calls if accept(call)]

    def actions(self, who: str | None = None) -> list[str]:
        """Names of the actions called, in order; of one principal when `who` is given."""
        return [call.action for call in self.calls() if who is None or call.who == who]

    def clear(self) -> None:
        """Forget the calls so far."""
        with self._lock:
            self._calls.clear()


class EgressLog:
    """DNS names that guests asked for, with the guest and whether there was an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._questions: list[tuple[str, str, bool]] = []

    def add(self, instance_id: str, name: str, answered: bool) -> None:
        """Record one question."""
        with self._lock:
            self._questions.append((instance_id, name, answered))

    def questions(self) -> list[tuple[str, str, bool]]:
        """(instance id, name, answered) in order of arrival."""
        with self._lock:
            return list(self._questions)

    def refused(self) -> list[str]:
        """Names that nothing in the VPC answers for: attempts to leave it."""
        return sorted({name for _, name, answered in self.questions() if not answered})
