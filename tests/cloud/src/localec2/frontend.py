"""The API endpoint: understands a request, applies faults, authenticates, authorises, and lets
moto carry it out."""

from __future__ import annotations

import datetime
import io
import json
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from moto.iam.access_control import AssumedRoleAccessKey, IAMUserAccessKey
from moto.iam.models import Policy, iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sts.models import sts_backends

from . import iam
from .authz import Caller, Requirements
from .context import Closing, Cloud
from .errors import ApiError, LocalEc2Error, render_error
from .faults import Effect, Fault
from .httpd import Dropped, Handler, Reply
from .settings import ACCOUNT_ID
from .sigv4 import RawRequest, Signature, parse_authorization, verify
from .wire import ApiRequest, WireLog, error_code, understand

#: Paths that a test uses to steer the Local EC2; reachable from the host only.
CONTROL_PREFIX = "/_localec2/"

#: Answers to control requests: path without the prefix -> function of the decoded JSON body.
Control = Callable[[str, str, Any], Any]

_PARTITION = "aws"
_ALWAYS_ALLOWED = "sts:GetCallerIdentity"


class Frontend:
    """Turns raw requests into replies. Safe to use from several threads."""

    def __init__(
        self, cloud: Cloud, requirements: Requirements, wire: WireLog, control: Control
    ) -> None:
        self._cloud = cloud
        self._requirements = requirements
        self._wire = wire
        self._control = control
        self._moto = DomainDispatcherApplication(create_backend_app)

    def handler(self, origin: str) -> Handler:
        """A handler for requests that come from `origin`: `host`, or an instance ID."""
        return lambda raw: self.handle(raw, origin)

    def handle(self, raw: RawRequest, origin: str) -> Reply:
        """Answer one request and log it."""
        if origin == "host" and raw.target.startswith(CONTROL_PREFIX):
            return self._steer(raw)
        try:
            signature = parse_authorization(raw)
        except ApiError as error:
            signature, request = None, understand(raw, None, self._cloud.settings.region)
            return self._refuse(request, origin, "", error)
        request = understand(raw, signature, self._cloud.settings.region)
        fault = self._cloud.faults.take(request.action, request.params, http=True)
        who = ""
        try:
            if fault is not None and not fault.after:
                reply = self._fail(request, fault)
                if reply is not None:
                    self._log(request, origin, who, reply)
                    return reply
            caller, allowed = self._authenticate(request, signature)
            who = caller.name
            self._authorise(request, caller, allowed)
            if request.service == "ec2" and request.params.get("DryRun", "").lower() == "true":
                raise ApiError(
                    412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."
                )
            reply = self._carry_out(request)
            if fault is not None and fault.after:
                reply = self._fail(request, fault) or reply
            elif fault is not None and fault.effect is Effect.truncate:
                reply = Reply(reply.status, reply.body, reply.headers, truncate=True)
        except ApiError as error:
            return self._refuse(request, origin, who, error)
        except (Dropped, Closing):
            self._wire.add(request, origin=origin, who=who, status=0, code="dropped")
            raise Dropped from None
        self._log(request, origin, who, reply)
        return reply

    # --- steering by tests -----------------------------------------------------------------

    def _steer(self, raw: RawRequest) -> Reply:
        try:
            body = json.loads(raw.body) if raw.body else None
            path = raw.target.removeprefix(CONTROL_PREFIX).partition("?")[0]
            status, answer = 200, self._control(raw.method, path, body)
        except (LocalEc2Error, ValueError, TypeError) as error:
            status, answer = 400, {"error": str(error)}
        return Reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    # --- faults ----------------------------------------------------------------------------

    def _fail(self, request: ApiRequest, fault: Fault) -> Reply | None:
        """The wrong answer, or None when the request shall go on."""
        if fault.effect is Effect.error:
            return self._error(request, fault.status, fault.code, fault.message)
        if fault.effect is Effect.garbage:
            return Reply(
                fault.status, b"\x00\xff<html>not a service", {"Content-Type": "text/html"}
            )
        if fault.effect in (Effect.delay, Effect.hang):
            self._cloud.pause(fault.seconds)
        if fault.effect in (Effect.hang, Effect.drop):
            raise Dropped
        return None

    # --- who and whether -------------------------------------------------------------------

    def _authenticate(
        self, request: ApiRequest, signature: Signature | None
    ) -> tuple[Caller, list[dict[str, Any]]]:
        """The caller and its policies; ApiError when the signature or token is not good."""
        if signature is None:
            code = {"ec2": "AuthFailure", "s3": "AccessDenied"}.get(request.service)
            raise ApiError(
                401 if code == "AuthFailure" else 403,
                code or "MissingAuthenticationToken",
                "The request is not signed with AWS Signature Version 4.",
            )
        if signature.region != self._cloud.settings.region:
            raise ApiError(
                400 if request.service == "s3" else 403,
                "AuthorizationHeaderMalformed" if request.service == "s3" else "AuthFailure",
                f"Credential should be scoped to a valid region: expecting "
                f"'{self._cloud.settings.region}', it is '{signature.region}'",
            )
        token = request.raw.header("x-amz-security-token")
        if token is None:
            caller, secret, policies = self._user(request, signature)
        else:
            caller, secret, policies = self._session(request, signature, token)
        verify(
            request.raw,
            signature,
            secret,
            skew_seconds=self._cloud.settings.clock_skew_seconds,
            now=lambda: datetime.datetime.now(datetime.UTC),
        )
        return caller, policies

    def _user(
        self, request: ApiRequest, signature: Signature
    ) -> tuple[Caller, str, list[dict[str, Any]]]:
        backend = iam_backends[ACCOUNT_ID][_PARTITION]
        user = backend.get_user_from_access_key_id(signature.access_key)
        if user is None:
            raise _unknown_key(request.service)
        key = IAMUserAccessKey(ACCOUNT_ID, _PARTITION, signature.access_key, {})
        caller = Caller(user.name, user.arn, user.id)
        return caller, key.create_credentials().secret_key, _documents(key.collect_policies())

    def _session(
        self, request: ApiRequest, signature: Signature, token: str
    ) -> tuple[Caller, str, list[dict[str, Any]]]:
        sessions = sts_backends[ACCOUNT_ID][_PARTITION].assumed_roles
        session = next((s for s in sessions if s.access_key_id == signature.access_key), None)
        if session is None or session.session_token != token:
            raise _unknown_key(request.service)
        if session.expiration < datetime.datetime.now(datetime.UTC).replace(
            tzinfo=session.expiration.tzinfo
        ):
            code = "RequestExpired" if request.service == "ec2" else "ExpiredToken"
            raise ApiError(400, code, "The security token included in the request is expired.")
        key = AssumedRoleAccessKey(
            ACCOUNT_ID, _PARTITION, signature.access_key, {"X-Amz-Security-Token": token}
        )
        role = session.role_arn.rpartition("/")[2]
        instance = session.session_name if session.session_name.startswith("i-") else None
        caller = Caller(
            f"{role}/{session.session_name}",
            session.arn,
            session.user_id,
            self._requirements.arn(instance) if instance else None,
        )
        return caller, session.secret_access_key, _documents(key.collect_policies())

    def _authorise(
        self, request: ApiRequest, caller: Caller, policies: list[dict[str, Any]]
    ) -> None:
        if f"{request.service}:{request.action}" == _ALWAYS_ALLOWED:
            return
        with self._cloud.state_lock:
            needed = self._requirements.of(request, caller)
        for access in needed:
            if not iam.is_allowed(policies, access):
                code = "UnauthorizedOperation" if request.service == "ec2" else "AccessDenied"
                raise ApiError(
                    403,
                    code,
                    f"User: {caller.arn} is not authorized to perform: {access.action} on "
                    f"resource: {access.resource}",
                )

    # --- the request itself ----------------------------------------------------------------

    def _carry_out(self, request: ApiRequest) -> Reply:
        if request.service == "ec2":
            # One request at a time changes EC2's state. Other services may wait (long polls).
            with self._cloud.state_lock:
                return self._call_moto(request)
        return self._call_moto(request)

    def _call_moto(self, request: ApiRequest) -> Reply:
        raw = request.raw
        path, _, query = raw.target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": raw.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": raw.target,
            "REQUEST_URI": raw.target,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(raw.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(raw.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in raw.headers:
            if name == "content-type":
                environ["CONTENT_TYPE"] = value
            elif name not in ("content-length", "transfer-encoding"):
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            started.append((status, headers))
            return lambda data: None

        chunks: Iterable[bytes] = self._moto(environ, start_response)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        status, headers = started[-1]
        dropped = ("content-length", "connection", "date", "transfer-encoding")
        kept = {name: value for name, value in headers if name.lower() not in dropped}
        if raw.method == "HEAD":
            length = next((v for n, v in headers if n.lower() == "content-length"), None)
            kept.update({"Content-Length": length} if length else {})
        return Reply(int(status.split()[0]), body, kept)

    # --- answers ---------------------------------------------------------------------------

    def _refuse(self, request: ApiRequest, origin: str, who: str, error: ApiError) -> Reply:
        reply = self._error(request, error.status, error.code, error.message)
        self._log(request, origin, who, reply)
        return reply

    @staticmethod
    def _error(request: ApiRequest, status: int, code: str, message: str) -> Reply:
        request_id = str(uuid.uuid4())
        kind, body = render_error(request.service, code, message, request_id)
        headers = {"Content-Type": kind, "x-amzn-RequestId": request_id, "Server": "AmazonEC2"}
        return Reply(status, body, headers)

    def _log(self, request: ApiRequest, origin: str, who: str, reply: Reply) -> None:
        code = error_code(request.service, reply.status, reply.body)
        self._wire.add(request, origin=origin, who=who, status=reply.status, code=code)


def _unknown_key(service: str) -> ApiError:
    if service == "ec2":
        return ApiError(
            401, "AuthFailure", "AWS was not able to validate the provided access credentials"
        )
    code = "InvalidAccessKeyId" if service == "s3" else "InvalidClientTokenId"
    return ApiError(403, code, "The security token included in the request is invalid.")


_documents_lock = threading.Lock()
_documents_cache: dict[str, dict[str, Any]] = {}


def _documents(policies: list[Any]) -> list[dict[str, Any]]:
    """Decoded policy documents from what moto's IAM returns: text, inline or managed policies."""
    decoded = []
    for policy in policies:
        if isinstance(policy, Policy):
            text = next(v.document for v in policy.versions if v.is_default)
        elif isinstance(policy, str):
            text = policy
        else:
            text = policy["policy_document"]
        with _documents_lock:
            if text not in _documents_cache:
                _documents_cache[text] = json.loads(text)
            decoded.append(_documents_cache[text])
    return decoded
