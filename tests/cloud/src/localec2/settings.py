"""Everything about one Local EC2 that a test may want to change, in one immutable record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

#: The account that owns everything in a Local EC2 (moto's default account).
ACCOUNT_ID = "123456789012"

#: Link-local addresses of EC2: instance metadata and the VPC resolver.
IMDS_ADDRESS = "169.254.169.254"
DNS_ADDRESS = "169.254.169.253"

#: Names of the role, the instance profile and the bucket that a Local EC2 starts with.
HELPER_ROLE = "amilift-helper"
JOB_BUCKET = "amilift-jobs-local"

#: The services that a helper's VPC has endpoints for. Each gets its own address, so that the
#: absence of one endpoint is visible in the DNS log and nowhere else.
DEFAULT_ENDPOINTS = ("ec2", "s3", "sts", "sqs", "autoscaling", "ebs")


def project_root() -> Path:
    """The checkout that this package belongs to (tests/cloud/src/localec2 is four levels down)."""
    return Path(__file__).resolve().parents[4]


@dataclass(frozen=True)
class Settings:
    """How a Local EC2 behaves. Times are seconds of real time, sizes are MiB unless named."""

    region: str = "us-east-1"
    qemu: bool = True
    #: Time that a volume spends in `creating`.
    volume_seconds: float = 0.2
    #: Time that an attachment spends in `attaching` or `detaching` when no guest does the work.
    attach_seconds: float = 0.2
    #: Time that a snapshot spends in `pending`. Its content is fixed before CreateSnapshot replies.
    snapshot_seconds: float = 1.0
    #: Time that an image spends in `pending` after its snapshots are complete.
    image_seconds: float = 0.5
    #: Time that an instance spends in `pending` and in `shutting-down` when there is no guest.
    instance_seconds: float = 0.2
    #: How long a created volume, snapshot or image is still unknown to every later request.
    visibility_seconds: float = 0.3
    #: Lifetime of the role credentials that the metadata service hands out.
    credential_seconds: int = 6 * 3600
    #: How long a guest may take for an orderly shutdown before it is switched off.
    power_off_seconds: float = 3.0
    guest_memory_mib: int = 512
    guest_cpus: int = 2
    #: NVMe slots of a guest, the root volume included.
    guest_slots: int = 12
    endpoints: tuple[str, ...] = DEFAULT_ENDPOINTS
    #: The policy that the helper role carries: the file that users install.
    helper_policy: Path = field(
        default_factory=lambda: project_root() / "conf" / "iam" / "helper-policy.json"
    )
    #: Reject requests whose X-Amz-Date is further away than this, as AWS does.
    clock_skew_seconds: int = 300

    @property
    def zones(self) -> tuple[str, ...]:
        """The availability zones of the region that moto knows for certain."""
        return tuple(f"{self.region}{letter}" for letter in "abc")

    def endpoint_addresses(self) -> dict[str, str]:
        """Service -> private address of its VPC endpoint, as the guests see it."""
        return {
            service: f"192.168.200.{10 + index}" for index, service in enumerate(self.endpoints)
        }

    def endpoint_names(self) -> dict[str, str]:
        """DNS name -> address, for every endpoint; a leading `*.` matches any label before it."""
        names = {}
        for service, address in self.endpoint_addresses().items():
            names[f"{service}.{self.region}.amazonaws.com"] = address
            if service == "s3":
                names[f"*.s3.{self.region}.amazonaws.com"] = address
        return names
