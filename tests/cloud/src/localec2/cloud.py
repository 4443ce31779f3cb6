"""The Local EC2 itself: starts and ends everything, and is what tests talk to."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

# moto reads these when it is imported.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from moto.backends import get_backend  # noqa: E402
from moto.ec2.models import ec2_backends  # noqa: E402
from moto.iam.models import iam_backends  # noqa: E402
from moto.sts.models import sts_backends  # noqa: E402

from . import backend as local_backend  # noqa: E402
from . import context, iam  # noqa: E402
from .authz import Requirements  # noqa: E402
from .errors import LocalEc2Error  # noqa: E402
from .faults import Fault, FaultPlan  # noqa: E402
from .frontend import Frontend  # noqa: E402
from .guest import QemuHypervisor  # noqa: E402
from .httpd import HttpServer  # noqa: E402
from .images import PV_GRUB_X86_64  # noqa: E402
from .machine import Hypervisor, NoGuest, NoHypervisor  # noqa: E402
from .models import LocalImage, LocalSnapshot  # noqa: E402
from .pki import ensure_authority, server_context  # noqa: E402
from .settings import ACCOUNT_ID, HELPER_ROLE, JOB_BUCKET, Settings  # noqa: E402
from .storage import QcowStore, SparseStore, Store  # noqa: E402
from .wire import EgressLog, WireLog  # noqa: E402

_PARTITION = "aws"
_USED_SERVICES = ("ec2", "iam", "sts", "s3", "sqs", "autoscaling")
_JOIN_SECONDS = 10.0
_POLL_SECONDS = 0.1
_HELPER_ARGUMENTS = "root=/dev/nvme0n1 rw console=ttyS0 quiet"
_EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
_EC2_MAY_ASSUME = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def default_cache() -> Path:
    """Directory for what outlasts a run: AMILIFT_CACHE, or the user's cache directory."""
    explicit = os.environ.get("AMILIFT_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "amilift"


@dataclass(frozen=True)
class Keys:
    """Credentials of a user or a session."""

    access_key: str
    secret_key: str
    token: str | None = None


class LocalEc2:
    """EC2, S3, STS, SQS and Auto Scaling on this machine, with QEMU guests as instances.

        with LocalEc2() as cloud:
            snapshot = cloud.import_image(Path("root.img"))
            image = cloud.register_source(snapshot, "old-debian")
            ec2 = cloud.client("ec2")

    Leaving the block removes every process, network namespace and file, whatever happened inside.
    There can be one Local EC2 per process, because moto's state is global.

    `directory` is kept when it is given; otherwise a temporary one is used and removed. `cache`
    holds the certificate authority. `port` 0 takes a free one.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        cache: Path | None = None,
        settings: Settings | None = None,
        port: int = 0,
    ) -> None:
        self.settings = settings or Settings()
        self.faults = FaultPlan()
        self.wire = WireLog()
        self.egress = EgressLog()
        self.state_lock = threading.RLock()
        #: Tracebacks of background work that failed. A test should find it empty at its end.
        self.errors: list[str] = []
        self._cache = cache or default_cache()
        self._given_directory = directory
        self._port = port
        self._stack = contextlib.ExitStack()
        self._closing = threading.Event()
        self._tasks_lock = threading.Lock()
        self._tasks: set[threading.Thread] = set()
        self.directory: Path
        self.store: Store
        self.hypervisor: Hypervisor

    # --- start and end ---------------------------------------------------------------------

    def __enter__(self) -> LocalEc2:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._stack.enter_context(context.activated(self))
        self._stack.callback(_forget_state)
        self._stack.enter_context(_sigterm_raises())
        self.directory = self._make_directory()
        self._stack.callback(self._join_tasks)
        local_backend.install()
        _forget_state()
        self.authority = ensure_authority(self._cache / "ca")
        names = [f"{s}.{self.settings.region}.amazonaws.com" for s in self.settings.endpoints]
        names.append(f"*.s3.{self.settings.region}.amazonaws.com")
        tls = server_context(self.authority, names, self.directory / "tls")
        self._set_up_iam()
        requirements = Requirements(self.settings.region, local_backend.BackendView(self.backend))
        self._frontend = Frontend(self, requirements, self.wire, self._control)
        if self.settings.qemu:
            qcow = QcowStore(self.directory / "store")
            self.store = qcow
            self.hypervisor = QemuHypervisor(
                self.directory / "guests",
                self.settings,
                qcow,
                tls,
                self._frontend.handler,
                self.egress,
            )
        else:
            self.store = SparseStore(self.directory / "store")
            self.hypervisor = NoHypervisor(self.store)
        self._stack.callback(self.hypervisor.close)
        handler = self._frontend.handler("host")
        plain = HttpServer(
            socket.create_server(("127.0.0.1", self._port)), handler, name="endpoint"
        )
        self._stack.callback(plain.close)
        secure = HttpServer(
            socket.create_server(("127.0.0.1", 0)), handler, name="tls-endpoint", tls=tls
        )
        self._stack.callback(secure.close)
        self.endpoint = f"http://127.0.0.1:{plain.port}"
        self.tls_endpoint = f"https://127.0.0.1:{secure.port}"
        self._stack.callback(self._closing.set)

    def close(self) -> None:
        """End everything; may be called more than once."""
        self._closing.set()
        self._stack.close()

    def _make_directory(self) -> Path:
        if self._given_directory is not None:
            self._given_directory.mkdir(parents=True, exist_ok=True)
            return self._given_directory.resolve()
        # UNIX socket paths are limited to 107 bytes, so nothing deep.
        directory = Path(tempfile.mkdtemp(prefix="localec2-"))
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def _join_tasks(self) -> None:
        deadline = time.monotonic() + _JOIN_SECONDS
        with self._tasks_lock:
            tasks = list(self._tasks)
        for task in tasks:
            task.join(max(0.0, deadline - time.monotonic()))

    # --- the services that the backend uses (context.Cloud) ---------------------------------

    def start_task(self, name: str, work: Callable[[], None]) -> None:
        """See context.Cloud."""

        def run() -> None:
            try:
                work()
            except context.Closing:
                pass
            except Exception:
                if not self._closing.is_set():
                    self.errors.append(f"{name}: {traceback.format_exc()}")
                    print(f"Local EC2: {self.errors[-1]}", file=sys.stderr)
            finally:
                with self._tasks_lock:
                    self._tasks.discard(threading.current_thread())

        task = threading.Thread(target=run, name=name, daemon=True)
        with self._tasks_lock:
            self._tasks.add(task)
        task.start()

    def pause(self, seconds: float) -> None:
        """See context.Cloud."""
        if self._closing.wait(seconds):
            raise context.Closing

    def mint_credentials(self, instance_id: str, role_name: str) -> dict[str, Any]:
        """See context.Cloud."""
        role = sts_backends[ACCOUNT_ID][_PARTITION].assume_role(
            region_name=self.settings.region,
            role_session_name=instance_id,
            role_arn=f"arn:aws:iam::{ACCOUNT_ID}:role/{role_name}",
            policy="",
            duration=self.settings.credential_seconds,
            external_id="",
        )
        return {
            "AccessKeyId": role.access_key_id,
            "SecretAccessKey": role.secret_access_key,
            "Token": role.session_token,
            "Expiration": role.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    # --- identities ------------------------------------------------------------------------

    def _set_up_iam(self) -> None:
        """The administrator, the helper's role, and a user with just the helper's policy."""
        policy_text = self.settings.helper_policy.read_text("utf-8")
        iam.check_policy(json.loads(policy_text))
        backend = iam_backends[ACCOUNT_ID][_PARTITION]
        self.admin = self._add_user("admin", json.dumps(_EVERYTHING))
        self.helper_user = self._add_user("helper", policy_text)
        backend.create_role(
            HELPER_ROLE, json.dumps(_EC2_MAY_ASSUME), "/", None, "The amilift helper", [], "43200"
        )
        backend.put_role_policy(HELPER_ROLE, "amilift", policy_text)
        backend.create_instance_profile(HELPER_ROLE, "/", [HELPER_ROLE])

    def _add_user(self, name: str, policy: str) -> Keys:
        backend = iam_backends[ACCOUNT_ID][_PARTITION]
        backend.create_user(self.settings.region, name)
        backend.put_user_policy(name, "policy", policy)
        key = backend.create_access_key(name)
        return Keys(key.access_key_id, key.secret_access_key)

    def client(self, service: str, keys: Keys | None = None, *, tls: bool = False) -> Any:
        """A boto3 client of this Local EC2; the administrator's unless `keys` are given."""
        keys = keys or self.admin
        with _session_lock:
            return _session().client(
                service,
                aws_access_key_id=keys.access_key,
                aws_secret_access_key=keys.secret_key,
                aws_session_token=keys.token,
                region_name=self.settings.region,
                endpoint_url=self.tls_endpoint if tls else self.endpoint,
                verify=str(self.authority.certificate_path) if tls else None,
                config=Config(
                    retries={"total_max_attempts": 1},
                    connect_timeout=5,
                    read_timeout=60,
                    # What is wrong with a request is for the Local EC2 to say.
                    parameter_validation=False,
                    s3={"addressing_style": "path"},
                ),
            )

    # --- images ----------------------------------------------------------------------------

    @property
    def backend(self) -> local_backend.LocalBackend:
        """State of EC2 in the region, for tests that look behind the API."""
        backend: local_backend.LocalBackend = ec2_backends[ACCOUNT_ID][self.settings.region]
        return backend

    def import_image(self, path: Path, description: str = "imported image") -> str:
        """Make a raw image file a completed snapshot; returns the snapshot's ID."""
        with self.state_lock:
            snapshot: LocalSnapshot = self.backend.new_snapshot(description, 1)
            snapshot.size_gib = self.store.import_image(snapshot.id, path)
            snapshot.advance(100)
            snapshot.hide_for(0)
            return str(snapshot.id)

    def register_helper(self, snapshot_id: str, kernel: Path, name: str = "amilift-helper") -> str:
        """Register a helper image, which boots `kernel` directly; returns the image's ID."""
        image = self._register(
            name,
            snapshot_id,
            "/dev/xvda",
            Architecture="x86_64",
            VirtualizationType="hvm",
            EnaSupport=True,
            ImdsSupport="v2.0",
        )
        image.boot_kernel = str(kernel.resolve())
        image.boot_arguments = _HELPER_ARGUMENTS
        return image.id

    def register_source(self, snapshot_id: str, name: str, **fields: Any) -> str:
        """Register a paravirtual image as they were before HVM, with a pv-grub kernel."""
        return self._register(
            name,
            snapshot_id,
            "/dev/sda1",
            **{
                "Architecture": "x86_64",
                "VirtualizationType": "paravirtual",
                "KernelId": PV_GRUB_X86_64,
                **fields,
            },
        ).id

    def register_hvm_source(self, snapshot_id: str, name: str, **fields: Any) -> str:
        """Register an HVM image as they were before Nitro: no EnaSupport, started by BIOS."""
        return self._register(
            name,
            snapshot_id,
            "/dev/xvda",
            **{"Architecture": "x86_64", "VirtualizationType": "hvm", **fields},
        ).id

    def register_foreign(self, name: str, **fields: Any) -> str:
        """Register an image without checks: instance-store images, product codes and the like.

        `fields` are RegisterImage parameters, and the fields of DescribeImages that nobody can
        set himself: RootDeviceType, ProductCodes, Platform, PlatformDetails, UsageOperation,
        OwnerId, OwnerAlias, Public.
        """
        with self.state_lock:
            backend = self.backend
            image = LocalImage(backend, local_backend.new_image_id(), name, fields)
            image.state = "available"
            backend.amis[image.id] = image
            return image.id

    def _register(self, name: str, snapshot_id: str, root: str, **fields: Any) -> LocalImage:
        with self.state_lock:
            image: LocalImage = self.backend.register_image(
                name,
                RootDeviceName=root,
                BlockDeviceMappings=[{"DeviceName": root, "Ebs": {"SnapshotId": snapshot_id}}],
                **fields,
            )
            image.hide_for(0)
            image.state = "available"
            return image

    # --- instances -------------------------------------------------------------------------

    def run_instance(
        self,
        image_id: str,
        *,
        user_data: str | None = None,
        instance_type: str = "t3.small",
        profile: str | None = None,
        shutdown: str = "terminate",
        tags: dict[str, str] | None = None,
    ) -> str:
        """RunInstances of one instance by the administrator; returns the instance's ID."""
        options: dict[str, Any] = {}
        if user_data is not None:
            options["UserData"] = user_data
        if profile is not None:
            options["IamInstanceProfile"] = {"Name": profile}
        if tags:
            pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
            options["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
        reply = self.client("ec2").run_instances(
            ImageId=image_id,
            MinCount=1,
            MaxCount=1,
            InstanceType=instance_type,
            InstanceInitiatedShutdownBehavior=shutdown,
            Placement={"AvailabilityZone": self.settings.zones[0]},
            **options,
        )
        return str(reply["Instances"][0]["InstanceId"])

    def instance_state(self, instance_id: str) -> str:
        """State of an instance by name."""
        with self.state_lock:
            return str(self.backend.get_instance(instance_id).state)

    def console(self, instance_id: str) -> str:
        """Text of the serial console, the last 64 KiB, without carriage returns."""
        with self.state_lock:
            output = self.backend.console_output(instance_id)
        return output.decode("utf-8", "replace").replace("\r", "")

    def wait(self, what: str, condition: Callable[[], bool], seconds: float) -> float:
        """Wait until `condition()` holds; returns the seconds it took.

        Raises LocalEc2Error after `seconds`, and at once when background work failed.
        """
        start = time.monotonic()
        while not condition():
            if self.errors:
                raise LocalEc2Error(f"waiting for {what}: {self.errors[-1]}")
            if time.monotonic() - start > seconds:
                raise LocalEc2Error(f"waited {seconds} s in vain for {what}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - start

    def wait_state(self, instance_id: str, state: str, seconds: float) -> float:
        """Wait until an instance is in `state`; returns the seconds it took."""
        return self.wait(
            f"{instance_id} to be {state}",
            lambda: self.instance_state(instance_id) == state,
            seconds,
        )

    def wait_console(self, instance_id: str, text: str, seconds: float) -> float:
        """Wait until `text` is on the console; returns the seconds it took.

        A machine that ends without having printed it ends the waiting.
        """

        def printed() -> bool:
            ended = self.instance_state(instance_id) in ("terminated", "stopped")
            found = text in self.console(instance_id)
            if ended and not found:
                raise LocalEc2Error(
                    f"{instance_id} ended without {text!r} on its console, which ends with: "
                    f"{self.console(instance_id)[-1000:]}"
                )
            return found

        return self.wait(f"{text!r} on the console of {instance_id}", printed, seconds)

    def metadata_url(self, instance_id: str) -> str | None:
        """URL of an instance's metadata service; None unless there is no guest (qemu=False)."""
        with self.state_lock:
            machine = self.backend.get_instance(instance_id).local.machine
        return machine.metadata_url() if machine is not None else None

    def put_job(self, key: str, document: bytes) -> None:
        """Put an object into the job bucket, which is made on first use."""
        s3 = self.client("s3")
        names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        if JOB_BUCKET not in names:
            s3.create_bucket(Bucket=JOB_BUCKET)
            s3.put_bucket_versioning(
                Bucket=JOB_BUCKET, VersioningConfiguration={"Status": "Enabled"}
            )
        s3.put_object(Bucket=JOB_BUCKET, Key=key, Body=document)

    # --- steering by another process (see README) -------------------------------------------

    def _control(self, method: str, path: str, body: Any) -> Any:
        parts = path.strip("/").split("/")
        if parts == ["faults"] and method == "POST":
            self.faults.add(Fault.from_dict(body))
            return {}
        if parts == ["faults"] and method == "DELETE":
            self.faults.clear()
            return {}
        if parts == ["faults"] and method == "GET":
            return [{**asdict(f), "effect": f.effect.value} for f in self.faults.remaining()]
        if parts == ["wire"] and method == "GET":
            return [call.as_dict() for call in self.wire.calls()]
        if parts == ["wire"] and method == "DELETE":
            self.wire.clear()
            return {}
        if parts == ["egress"] and method == "GET":
            return [list(question) for question in self.egress.questions()]
        if parts == ["errors"] and method == "GET":
            return self.errors
        if len(parts) == 3 and parts[0] == "instances":
            return self._control_instance(method, parts[1], parts[2], body)
        raise LocalEc2Error(f"no such control request: {method} {path}")

    def _control_instance(self, method: str, instance_id: str, verb: str, body: Any) -> Any:
        with self.state_lock:
            instance = self.backend.get_instance_by_id(instance_id)
            machine = instance.local.machine if instance is not None else None
        if verb == "metadata" and method == "GET":
            return {"url": machine.metadata_url() if machine is not None else None}
        if isinstance(machine, NoGuest) and method == "POST":
            if verb == "console":
                machine.write_console(str(body["text"]).encode())
                return {}
            if verb == "power-off":
                machine.press_off()
                return {}
        raise LocalEc2Error(f"cannot {method} '{verb}' of instance '{instance_id}'")


_session_lock = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    """One session for all clients: it keeps the service descriptions, which are slow to read."""
    return boto3.session.Session()


def _forget_state() -> None:
    """Empty moto: its state is global, and the next Local EC2 shall not see this one's."""
    for service in _USED_SERVICES:
        if f"moto.{service}.models" in sys.modules:
            get_backend(service).reset()


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that `with` blocks clean up; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
