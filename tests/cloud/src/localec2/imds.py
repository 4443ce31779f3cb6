"""The instance metadata service, version 2 only, of one instance.

Behaviour after "Use the Instance Metadata Service" in the EC2 user guide: a PUT gives a token with
a lifetime, every GET needs one, replies carry the token's remaining seconds.
"""

from __future__ import annotations

import datetime
import json
import secrets
import threading
import time
from typing import Any

from .context import Cloud
from .faults import Effect
from .httpd import Dropped, Reply
from .sigv4 import RawRequest

_TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
_TOKEN_HEADER = "x-aws-ec2-metadata-token"
_TTL_MAX = 21600
#: Credentials are replaced when this part of their lifetime is over, as EC2 does.
_REFRESH_AFTER = 0.5


class InstanceMetadata:
    """Answers metadata requests of one instance. `requests` is a log of `METHOD path status`."""

    def __init__(self, instance: Any, cloud: Cloud) -> None:
        self._instance = instance
        self._cloud = cloud
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}
        self._credentials: dict[str, Any] | None = None
        self._minted = 0.0
        self.requests: list[str] = []

    def handle(self, request: RawRequest) -> Reply:
        """Answer one request."""
        path = request.target.partition("?")[0]
        fault = self._cloud.faults.take(f"imds:{request.method} {path}", {}, http=True)
        if fault is not None:
            if fault.effect is Effect.error:
                return self._log(request, Reply(fault.status, b""))
            if fault.effect is Effect.garbage:
                return self._log(request, Reply(fault.status, b"\x00\xff<not metadata"))
            if fault.effect in (Effect.hang, Effect.delay):
                self._cloud.pause(fault.seconds)
            if fault.effect in (Effect.hang, Effect.drop):
                raise Dropped
        reply = self._log(request, self._answer(request, path))
        if fault is not None and fault.effect is Effect.truncate:
            return Reply(reply.status, reply.body, reply.headers, truncate=True)
        return reply

    def _log(self, request: RawRequest, reply: Reply) -> Reply:
        with self._lock:
            self.requests.append(f"{request.method} {request.target} {reply.status}")
        return reply

    def _answer(self, request: RawRequest, path: str) -> Reply:
        if self._instance.metadata_options.http_endpoint == "disabled":
            return Reply(403)
        if request.method == "PUT":
            return self._new_token(request, path)
        if request.method != "GET":
            return Reply(405)
        remaining = self._remaining(request.header(_TOKEN_HEADER))
        if remaining is None:
            return Reply(401)
        body = self._datum(path)
        if body is None:
            return Reply(404)
        headers = {"Content-Type": "text/plain", "Server": "EC2ws", _TTL_HEADER: str(remaining)}
        return Reply(200, body, headers)

    def _new_token(self, request: RawRequest, path: str) -> Reply:
        if path != "/latest/api/token":
            return Reply(403)
        if request.header("x-forwarded-for") is not None:
            return Reply(403)
        ttl = request.header(_TTL_HEADER) or ""
        if not ttl.isdecimal() or not 1 <= int(ttl) <= _TTL_MAX:
            return Reply(400)
        token = secrets.token_urlsafe(40)
        with self._lock:
            self._tokens[token] = time.monotonic() + int(ttl)
        return Reply(200, token.encode(), {"Content-Type": "text/plain", _TTL_HEADER: ttl})

    def expire_tokens(self) -> None:
        """Make every token handed out so far invalid."""
        with self._lock:
            self._tokens.clear()

    def _remaining(self, token: str | None) -> int | None:
        with self._lock:
            ends = self._tokens.get(token or "")
        if ends is None:
            return None
        left = ends - time.monotonic()
        return int(left) if left > 0 else None

    # --- the data --------------------------------------------------------------------------

    def _datum(self, path: str) -> bytes | None:
        parts = path.strip("/").split("/")
        if parts[0] != "latest" or len(parts) < 2:
            return None
        if parts[1] == "user-data" and len(parts) == 2:
            data: bytes | None = self._instance.local.user_data
            return data
        if parts[1:] == ["dynamic", "instance-identity", "document"]:
            return json.dumps(self._identity(), indent=2).encode()
        if parts[1] != "meta-data":
            return None
        return self._metadata([part for part in parts[2:] if part])

    def _metadata(self, keys: list[str]) -> bytes | None:
        if keys[:2] == ["iam", "security-credentials"] and len(keys) == 3:
            role = self._instance.local.role_name
            if keys[2] != role:
                return None
            return json.dumps(self._role_credentials(role), indent=2).encode()
        node: Any = self._tree()
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        if isinstance(node, dict):
            lines = [f"{k}/" if isinstance(v, dict) and v else k for k, v in node.items()]
            return "\n".join(lines).encode()
        return str(node).encode()

    def _tree(self) -> dict[str, Any]:
        """The metadata as nested dictionaries."""
        instance = self._instance
        region = self._cloud.settings.region
        with self._cloud.state_lock:
            role = instance.local.role_name
            tree: dict[str, Any] = {
                "ami-id": instance.image_id,
                "ami-launch-index": instance.ami_launch_index,
                "hostname": instance.private_dns_name,
                "instance-action": "none",
                "instance-id": instance.id,
                "instance-life-cycle": instance.lifecycle or "on-demand",
                "instance-type": instance.instance_type,
                "local-hostname": instance.private_dns_name,
                "local-ipv4": instance.private_ip_address,
                "placement": {
                    "availability-zone": instance.placement.zone,
                    "availability-zone-id": f"use1-az{ord(instance.placement.zone[-1]) - 96}",
                    "region": region,
                },
                "profile": "default-hvm",
                "services": {"domain": "amazonaws.com", "partition": "aws"},
                "block-device-mapping": {
                    "ami": instance.root_device_name,
                    "root": instance.root_device_name,
                },
            }
            if role is not None:
                profile = instance.iam_instance_profile or {}
                info = {
                    "Code": "Success",
                    "LastUpdated": _stamp(_now()),
                    "InstanceProfileArn": profile.get("Arn", ""),
                    "InstanceProfileId": profile.get("Id", ""),
                }
                tree["iam"] = {"info": json.dumps(info), "security-credentials": {role: ""}}
            if instance.metadata_options.instance_metadata_tags == "enabled":
                tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
                tree["tags"] = {"instance": tags}
        return tree

    def _identity(self) -> dict[str, Any]:
        instance = self._instance
        return {
            "accountId": instance.owner_id,
            "architecture": instance.architecture,
            "availabilityZone": instance.placement.zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "kernelId": None,
            "pendingTime": _stamp(instance.launch_time.replace(tzinfo=datetime.UTC)),
            "privateIp": instance.private_ip_address,
            "ramdiskId": None,
            "region": self._cloud.settings.region,
            "version": "2017-09-30",
        }

    def _role_credentials(self, role: str) -> dict[str, Any]:
        lifetime = self._cloud.settings.credential_seconds
        with self._lock:
            age = time.monotonic() - self._minted
            if self._credentials is None or age > lifetime * _REFRESH_AFTER:
                minted = self._cloud.mint_credentials(self._instance.id, role)
                self._credentials = {
                    "Code": "Success",
                    "LastUpdated": _stamp(_now()),
                    "Type": "AWS-HMAC",
                    **minted,
                }
                self._minted = time.monotonic()
            return self._credentials


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
